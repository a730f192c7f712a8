//! What rules remember beside baselines and timers: the events that composite rules count, and what was seen once.
//!
//! A *history* holds the last results that some composite rule counts. It is a ring: a small value says which numbers
//! are live, and each event lies under its own number, so that one more event costs two small writes, not a history.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{TextDigest, is_zero};
use crate::{DecodeError, Key, KeyError, envelope};

/// Whose events a history holds, or whose lines were seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// All agents and commands of the partition.
    Partition,
    /// One agent and command.
    Key(Key),
}

/// Which events a history holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Those whose result was this rule.
    Rule(u32),
    /// Those that the `if_matched_group` of this composite rule counts.
    Group(u32),
    /// Those that the `if_matched_regex` of this composite rule counts.
    Regex(u32),
}

/// A history's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HistoryKey {
    /// Which events.
    pub counted: Counted,
    /// Whose.
    pub scope: Scope,
}

/// Which events of a history are live: every number from `first` up to, and without, `next`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HistoryBounds {
    /// The oldest event that is kept.
    pub first: u64,
    /// The number that the next event gets.
    pub next: u64,
}

/// One event of a history: what composite rules ask of it, and what alerts show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecordedEvent {
    /// The time rules used.
    #[schemars(with = "crate::json_schema::Time")]
    pub time: Timestamp,
    /// The rule that was its result.
    pub rule: u32,
    /// The highest level of the composite rules that used it up; 0 when none did.
    #[serde(default, skip_serializing_if = "is_unused")]
    pub used: u16,
    /// Its text, at most [`RecordedEvent::TEXT_BYTES_MAX`]. Bytes that are not UTF-8 are U+FFFD.
    pub text: String,
    /// The size of the full text in bytes, when `text` is only its beginning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut_from: u64,
    /// The text is not UTF-8.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_utf8: bool,
    /// What `same_...` and `different_...` compare, by the field's name; a field that the event has not is absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// The same event in other histories. What uses it up does so there as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<Twin>,
}

impl RecordedEvent {
    /// The longest text that is kept, in bytes. OSSEC shows 1256 bytes of it.
    pub const TEXT_BYTES_MAX: usize = 4096;
}

/// An event's place in another history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Twin {
    /// Which events that history holds.
    pub counted: Counted,
    /// Whose; absent for all of the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::event::KeySchema>")]
    pub key: Option<Key>,
    /// Its number there.
    pub number: u64,
}

impl Twin {
    /// At this place.
    pub fn new(at: &HistoryKey, number: u64) -> Twin {
        let key = match &at.scope {
            Scope::Partition => None,
            Scope::Key(key) => Some(key.clone()),
        };
        Twin { counted: at.counted, key, number }
    }

    /// The history.
    pub fn history(&self) -> HistoryKey {
        let scope = self.key.clone().map_or(Scope::Partition, Scope::Key);
        HistoryKey { counted: self.counted, scope }
    }
}

/// What was seen once and is never forgotten: a first-time key, or the fields that an `ignore` element stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeenKey {
    /// Of which kind.
    pub kind: SeenKind,
    /// Whose.
    pub scope: Scope,
    /// The digest of [`Seen::what`].
    pub digest: TextDigest,
}

/// What a [`SeenKey`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SeenKind {
    /// A decoder's first-time-seen key, for `if_fts`.
    FirstTime,
    /// Fields that a rule with an `ignore` element stored, for `check_if_ignored`.
    Ignored,
}

/// When something was seen first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Seen {
    /// What it was, for people.
    pub what: String,
    /// When.
    #[schemars(with = "crate::json_schema::Time")]
    pub time: Timestamp,
    /// The rule that noted it.
    pub rule: u32,
}

state_value!(HistoryBounds, "the bounds of a history");
state_value!(RecordedEvent, "a recorded event");
state_value!(Seen, "what was seen once");

fn is_unused(level: &u16) -> bool {
    *level == 0
}

impl Counted {
    /// A byte for the kind and the rule's id, big end first.
    fn to_bytes(self) -> [u8; 5] {
        let (kind, rule) = match self {
            Counted::Rule(rule) => (1, rule),
            Counted::Group(rule) => (2, rule),
            Counted::Regex(rule) => (3, rule),
        };
        let [a, b, c, d] = rule.to_be_bytes();
        [kind, a, b, c, d]
    }

    fn from_bytes([kind, rule @ ..]: [u8; 5]) -> Result<Counted, KeyError> {
        let rule = u32::from_be_bytes(rule);
        match kind {
            1 => Ok(Counted::Rule(rule)),
            2 => Ok(Counted::Group(rule)),
            3 => Ok(Counted::Regex(rule)),
            _ => Err(KeyError::Malformed),
        }
    }
}

impl Scope {
    /// Nothing, or `agent NUL command`.
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Scope::Partition => Vec::new(),
            Scope::Key(key) => key.to_bytes(),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Scope, KeyError> {
        if bytes.is_empty() { Ok(Scope::Partition) } else { Ok(Scope::Key(Key::from_bytes(bytes)?)) }
    }
}

impl HistoryKey {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&self.counted.to_bytes()[..], &self.scope.to_bytes()].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<HistoryKey, KeyError> {
        let (counted, scope) = bytes.split_first_chunk().ok_or(KeyError::Malformed)?;
        Ok(HistoryKey { counted: Counted::from_bytes(*counted)?, scope: Scope::from_bytes(scope)? })
    }

    /// The key of one event. The number may hold any byte, the scope no NUL at its end: so it is told by its length.
    pub(super) fn event_to_bytes(&self, number: u64) -> Vec<u8> {
        [&self.to_bytes()[..], &[0], &number.to_be_bytes()].concat()
    }

    pub(super) fn event_from_bytes(bytes: &[u8]) -> Result<(HistoryKey, u64), KeyError> {
        let (history, number) = bytes.split_last_chunk().ok_or(KeyError::Malformed)?;
        let history = history.strip_suffix(&[0]).ok_or(KeyError::Malformed)?;
        Ok((HistoryKey::from_bytes(history)?, u64::from_be_bytes(*number)))
    }
}

impl SeenKey {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let kind = match self.kind {
            SeenKind::FirstTime => 1,
            SeenKind::Ignored => 2,
        };
        [&[kind][..], &self.scope.to_bytes(), &[0], &self.digest.0].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<SeenKey, KeyError> {
        let (kind, rest) = bytes.split_first().ok_or(KeyError::Malformed)?;
        let kind = match kind {
            1 => SeenKind::FirstTime,
            2 => SeenKind::Ignored,
            _ => return Err(KeyError::Malformed),
        };
        let (scope, digest) = rest.split_last_chunk().ok_or(KeyError::Malformed)?;
        let scope = scope.strip_suffix(&[0]).ok_or(KeyError::Malformed)?;
        Ok(SeenKey { kind, scope: Scope::from_bytes(scope)?, digest: TextDigest(*digest) })
    }
}
