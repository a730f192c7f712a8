//! One execution of a command, and the facts known of it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Key;

/// Names one run for ever: the spool that numbered it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId {
    /// Made by a collector when it creates its spool; a reinstalled collector has a new one.
    pub spool: Uuid,
    /// Counts the runs of one spool from 1, without gaps.
    pub sequence: u64,
}

/// A run id is not `UUID/NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run id: expected a UUID, `/` and a number")]
pub struct RunIdError(String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.spool, self.sequence)
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<RunId, RunIdError> {
        let parts = text
            .split_once('/')
            .and_then(|(spool, sequence)| Some(RunId { spool: spool.parse().ok()?, sequence: sequence.parse().ok()? }));
        parts.ok_or_else(|| RunIdError(text.to_owned()))
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<RunId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for RunId {
    fn schema_name() -> Cow<'static, str> {
        "RunId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Spool id (a UUID), `/`, and the run's number in that spool.",
            "pattern": "^[0-9a-f-]{36}/[0-9]+$"
        })
    }
}

/// How an output becomes log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One log line per output line that is not empty.
    #[default]
    Command,
    /// The whole output is one log line.
    FullCommand,
}

impl Format {
    /// The word OSSEC's `log_format` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Command => "command",
            Format::FullCommand => "full_command",
        }
    }
}

impl FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Format, ()> {
        match text {
            "command" => Ok(Format::Command),
            "full_command" => Ok(Format::FullCommand),
            _ => Err(()),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The command exited by itself with this code. 126 and 127 mean that the shell could not start it, see
    /// [`Run::failure`].
    Exited(i32),
    /// A signal that the collector did not send ended it.
    Signalled(i32),
    /// It was ended after this many milliseconds, its time limit.
    TimedOut(u64),
    /// The collector or its host went down while it ran: there is an intent in the spool, and no end.
    Interrupted,
    /// The operating system refused to start it, for this reason.
    NotStarted(String),
}

/// One execution of a command, successful or not, with its raw output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Names the run.
    pub id: RunId,
    /// Whose run, of which command.
    pub key: Key,
    /// The agent's address, when the collector has one configured.
    pub address: Option<String>,
    /// What was executed: the shell's text, or the arguments joined by spaces.
    pub command_line: String,
    /// Set when the command has an alias; then it is the key's command too.
    pub alias: Option<String>,
    /// How the output becomes log lines.
    pub format: Format,
    /// When the run started, by the collector's clock. Rules use this time.
    pub started: Timestamp,
    /// How long it took, in milliseconds, by a clock that does not jump.
    pub duration_ms: u64,
    /// How long after it was due the run started, in milliseconds, by a clock that does not jump: it waited for a place
    /// among the concurrent commands, for its own last run, for the disk, or for a host that slept. `None` when nobody
    /// measured it: in runs that were not planned, that were interrupted, or that an earlier version wrote.
    pub start_delay_ms: Option<u64>,
    /// How it ended.
    pub ending: Ending,
    /// The full size of the output in bytes, when `output` holds only its beginning.
    pub truncated_from: Option<u64>,
    /// The end of what the command wrote to standard error, at most 4 KiB.
    pub stderr_tail: Vec<u8>,
    /// The version of the collector that ran it.
    pub collector: String,
    /// What the command wrote to standard output, byte for byte, up to the collector's limit.
    pub output: Vec<u8>,
}

/// A command's name as lines and locations show it: every `:` is a backslash, since OSSEC writes it so (a location ends
/// at the first colon) and rule authors match it so. Never cut. Keys and `command` fields keep the original.
pub fn display_name(name: &str) -> Cow<'_, str> {
    if name.contains(':') { Cow::Owned(name.replace(':', "\\")) } else { Cow::Borrowed(name) }
}

/// Why a run is not an observation: its output reaches no rule under 530 and no baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure<'a> {
    /// Ended at its time limit, in milliseconds.
    TimedOut(u64),
    /// Killed by this signal.
    Signalled(i32),
    /// The collector went down while it ran.
    Interrupted,
    /// The operating system refused to start it.
    NotStarted(&'a str),
    /// The shell could not start it: 126 not executable, 127 not found.
    ShellCouldNotStart(i32),
}

impl Run {
    /// Why the run failed; `None` when its output is an observation. A non-zero exit code alone, such as grep's 1, is
    /// not a failure.
    pub fn failure(&self) -> Option<Failure<'_>> {
        match &self.ending {
            Ending::Exited(code @ (126 | 127)) => Some(Failure::ShellCouldNotStart(*code)),
            Ending::Exited(_) => None,
            Ending::Signalled(signal) => Some(Failure::Signalled(*signal)),
            Ending::TimedOut(after) => Some(Failure::TimedOut(*after)),
            Ending::Interrupted => Some(Failure::Interrupted),
            Ending::NotStarted(reason) => Some(Failure::NotStarted(reason)),
        }
    }
}
