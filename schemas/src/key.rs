//! The key of everything: an agent and one of its commands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An agent's name is at most this many bytes.
pub const AGENT_BYTES_MAX: usize = 255;
/// A command's name is at most this many bytes.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// An agent and one of its commands: the key of records, state and order.
///
/// Neither part is empty or holds a NUL byte, since NUL separates them on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "RawKey", into = "RawKey")]
pub struct Key {
    agent: String,
    command: String,
}

/// Why a text can't be part of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The agent or command name has no characters.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// The agent or command name holds a NUL byte.
    #[error("the {0} holds a NUL byte")]
    Nul(&'static str),
    /// The agent or command name is longer than its bound.
    #[error("the {part} is {len} bytes long; at most {max} are allowed")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The bound in bytes.
        max: usize,
    },
    /// The record's key is not `agent NUL command` in UTF-8.
    #[error("the record's key is not `agent NUL command` in UTF-8")]
    Malformed,
}

impl Key {
    /// A key of these two names; `command` is the alias, or the command line when there is none.
    pub fn new(agent: impl Into<String>, command: impl Into<String>) -> Result<Key, KeyError> {
        let (agent, command) = (agent.into(), command.into());
        check("agent", &agent, AGENT_BYTES_MAX)?;
        check("command", &command, COMMAND_BYTES_MAX)?;
        Ok(Key { agent, command })
    }

    /// The monitored host's name.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The command's alias, or its command line when it has none.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The record key: `agent NUL command`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.agent.len() + 1 + self.command.len());
        bytes.extend_from_slice(self.agent.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(self.command.as_bytes());
        bytes
    }

    /// Reads a record key written by [`Key::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Key, KeyError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeyError::Malformed)?;
        let (agent, command) = text.split_once('\0').ok_or(KeyError::Malformed)?;
        Key::new(agent, command)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}) {}", self.agent, self.command)
    }
}

/// Checks an agent name alone, as heartbeats carry it.
pub fn check_agent(agent: &str) -> Result<(), KeyError> {
    check("agent", agent, AGENT_BYTES_MAX)
}

fn check(part: &'static str, text: &str, max: usize) -> Result<(), KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty(part));
    }
    if text.contains('\0') {
        return Err(KeyError::Nul(part));
    }
    if text.len() > max {
        return Err(KeyError::TooLong { part, len: text.len(), max });
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct RawKey {
    agent: String,
    command: String,
}

impl TryFrom<RawKey> for Key {
    type Error = KeyError;

    fn try_from(raw: RawKey) -> Result<Key, KeyError> {
        Key::new(raw.agent, raw.command)
    }
}

impl From<Key> for RawKey {
    fn from(key: Key) -> RawKey {
        RawKey { agent: key.agent, command: key.command }
    }
}
