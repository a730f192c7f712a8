//! What the processor remembers, and how it is keyed in the changelog.
//!
//! Per (agent, command) there is one small [`KeyState`], and one [`Text`](StateKey::Text) per distinct baseline text:
//! two rules that compare the same output share it. A text lives as long as a rule of its `KeyState` names its digest.
//! What composite rules count, and what rules have seen once, is in `recorded`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DecodeError, Key, KeyError, RunId, envelope};

pub use recorded::{Counted, HistoryBounds, HistoryKey, RecordedEvent, Scope, Seen, SeenKey, SeenKind, Twin};

/// Where a piece of state lies: the key in the state store, and in the changelog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateKey {
    /// [`KeyState`] of an agent and command.
    Key(Key),
    /// A baseline text, byte for byte.
    Text(Key, TextDigest),
    /// [`Cursor`] of an agent and command.
    Cursor(Key),
    /// [`Cursors`] of a partition.
    Cursors,
    /// [`Activation`] of a rule set in a partition.
    Activation,
    /// [`HistoryBounds`] of a history.
    History(HistoryKey),
    /// The [`RecordedEvent`] of this number in a history.
    HistoryEvent(HistoryKey, u64),
    /// [`Seen`]: something was seen before.
    Seen(SeenKey),
}

/// The keyed BLAKE3 digest of a baseline text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextDigest(pub [u8; 32]);

impl TextDigest {
    /// The digest of a text. The key only separates this use of BLAKE3 from others; it is no secret.
    pub fn of(text: &[u8]) -> TextDigest {
        const KEY: [u8; 32] = *b"tripline baseline text digest v1";
        TextDigest(*blake3::keyed_hash(&KEY, text).as_bytes())
    }
}

impl std::fmt::Debug for TextDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TextDigest({})", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl Serialize for TextDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl<'de> Deserialize<'de> for TextDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<TextDigest, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hash = blake3::Hash::from_hex(&text).map_err(serde::de::Error::custom)?;
        Ok(TextDigest(*hash.as_bytes()))
    }
}

/// What is remembered of one agent and command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KeyState {
    /// By rule id. A rule that has nothing to remember is absent.
    pub rules: BTreeMap<u32, RuleState>,
}

/// What is remembered of one rule for one agent and command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RuleState {
    /// When the rule last fired: the start of its ignore timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::json_schema::Time>")]
    pub fired: Option<Timestamp>,
    /// How many times it was the result, held-back ones included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fired_times: u64,
    /// How many times it was held back since it last fired.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_back: u64,
    /// How many times, while held back, the output was seen to have returned to the baseline.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub returned: u64,
    /// The last observation differed from the baseline and was held back. Set and cleared so that `returned` counts
    /// returns, not unchanged outputs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// What `check_diff` compares with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// For a rule with an `ignore_key`: its ignore timers, by the text that the key captured. `fired` and `held_back` of
    /// the rule itself are then unused. At most [`RuleState::TIMERS_MAX`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timers: BTreeMap<String, KeyedTimer>,
}

impl RuleState {
    /// How many timers one rule has for one agent and command; the one that started first gives way to one more.
    pub const TIMERS_MAX: usize = 1000;
}

/// An ignore timer of a rule for one captured text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KeyedTimer {
    /// When the rule last fired for this text: the start of the timer.
    #[schemars(with = "crate::json_schema::Time")]
    pub fired: Timestamp,
    /// How many times it was held back since then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_back: u64,
}

/// What `check_diff` compares with, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Baseline {
    /// The text's digest, under which it is stored.
    #[schemars(with = "String")]
    pub digest: TextDigest,
    /// Its size in bytes.
    pub size: u64,
    /// Its output was cut by the collector; it is never compared with an uncut one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// It was gathered from the lines of a `command` run. Only such a baseline is compared with the empty text when no
    /// line of a run reaches its rule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gathered: bool,
    /// The run it came from; absent for a text that is no run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// When that run started.
    #[schemars(with = "crate::json_schema::Time")]
    pub time: Timestamp,
}

/// How far the [`Cursor`]s of a partition are stored.
///
/// Cursors are a fold of the input: they are kept in memory, stored now and then, and folded again from here after a
/// crash, so that no event costs a state write by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Cursors {
    /// The input offset up to which (exclusive) every stored cursor of the partition is folded.
    pub position: u64,
}

/// What of each spool has been processed for one agent and command.
///
/// One per key and not one per partition: runs of one command never overlap, so their numbers only grow, while runs of
/// different commands may reach the log in another order than they were numbered. It also keeps the answers apart from
/// the partition count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Cursor {
    /// The spools that spoke for this key, the last one to speak first. At most [`Cursor::SPOOLS_MAX`]: the one that
    /// has been silent for longest is forgotten.
    pub spools: Vec<SpoolCursor>,
    /// The latest start among the runs of this key, each bounded by its append time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::json_schema::Time>")]
    pub started: Option<Timestamp>,
}

impl Cursor {
    /// How many spools are remembered for one key. A collector that loses its spool again and again has many.
    pub const SPOOLS_MAX: usize = 8;
}

/// The last run seen of one spool and key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpoolCursor {
    /// The spool.
    #[schemars(with = "String")]
    pub spool: uuid::Uuid,
    /// The number of its last run.
    pub sequence: u64,
    /// It was part of an alternation that was reported: two collectors under one agent name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reported: bool,
}

/// From which input offset on a rule set judges a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Activation {
    /// The rule set's digest, 64 hex digits.
    pub digest: String,
    /// The first input offset it judges.
    pub from_offset: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// First bytes of state keys. In the order of [`StateKey`]'s variants, so that keys and their bytes sort alike.
mod tag {
    pub const KEY: u8 = 1;
    pub const TEXT: u8 = 2;
    pub const CURSOR: u8 = 3;
    pub const CURSORS: u8 = 4;
    pub const ACTIVATION: u8 = 5;
    pub const HISTORY: u8 = 6;
    pub const HISTORY_EVENT: u8 = 7;
    pub const SEEN: u8 = 8;
}

impl StateKey {
    /// The bytes of the key: a tag for the kind, then `agent NUL command`, for a text then NUL and the digest. Those of
    /// histories begin with what is counted. They sort as the keys do: of one kind, by agent and command.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tagged = |tag, key: &Key| [&[tag][..], &key.to_bytes()].concat();
        match self {
            StateKey::Key(key) => tagged(tag::KEY, key),
            StateKey::Text(key, digest) => [&tagged(tag::TEXT, key)[..], &[0], &digest.0].concat(),
            StateKey::Cursor(key) => tagged(tag::CURSOR, key),
            StateKey::Cursors => vec![tag::CURSORS],
            StateKey::Activation => vec![tag::ACTIVATION],
            StateKey::History(history) => [&[tag::HISTORY][..], &history.to_bytes()].concat(),
            StateKey::HistoryEvent(history, number) => {
                [&[tag::HISTORY_EVENT][..], &history.event_to_bytes(*number)].concat()
            }
            StateKey::Seen(seen) => [&[tag::SEEN][..], &seen.to_bytes()].concat(),
        }
    }

    /// Reads a key written by [`StateKey::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<StateKey, DecodeError> {
        match bytes {
            [tag::KEY, key @ ..] => Ok(StateKey::Key(Key::from_bytes(key)?)),
            [tag::TEXT, rest @ ..] => {
                // The digest may hold any byte, a command no NUL: so the digest is told by its length.
                let (key, digest) = rest.split_last_chunk::<32>().ok_or(KeyError::Malformed)?;
                let key = key.strip_suffix(&[0]).ok_or(KeyError::Malformed)?;
                Ok(StateKey::Text(Key::from_bytes(key)?, TextDigest(*digest)))
            }
            [tag::CURSOR, key @ ..] => Ok(StateKey::Cursor(Key::from_bytes(key)?)),
            [tag::CURSORS] => Ok(StateKey::Cursors),
            [tag::ACTIVATION] => Ok(StateKey::Activation),
            [tag::HISTORY, history @ ..] => Ok(StateKey::History(HistoryKey::from_bytes(history)?)),
            [tag::HISTORY_EVENT, event @ ..] => {
                let (history, number) = HistoryKey::event_from_bytes(event)?;
                Ok(StateKey::HistoryEvent(history, number))
            }
            [tag::SEEN, seen @ ..] => Ok(StateKey::Seen(SeenKey::from_bytes(seen)?)),
            _ => Err(DecodeError::Key(KeyError::Malformed)),
        }
    }
}

/// The format version that this program writes into state values, and the newest it reads.
pub const STATE_VERSION: u32 = 1;

/// A state value on disk and in the changelog: JSON, with the version of its format.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct Versioned<T> {
    /// The version of the format. A program that does not know it refuses the value.
    pub version: u32,
    /// The value.
    pub state: T,
}

macro_rules! state_value {
    ($type:ident, $what:literal) => {
        impl $type {
            /// The bytes to store: JSON with a format version.
            pub fn to_bytes(&self) -> Vec<u8> {
                envelope::to_json(&$crate::state::Versioned { version: $crate::state::STATE_VERSION, state: self })
            }

            /// Reads a value written by `to_bytes`. A newer format is refused.
            pub fn from_bytes(bytes: &[u8]) -> Result<$type, DecodeError> {
                $crate::state::from_versioned(bytes, $what)
            }
        }
    };
}

mod recorded;

state_value!(KeyState, "the state of an agent and command");
state_value!(Cursor, "the cursor of an agent and command");
state_value!(Cursors, "the cursor position");
state_value!(Activation, "the rule set activation");

fn from_versioned<'de, T: Deserialize<'de>>(bytes: &'de [u8], what: &'static str) -> Result<T, DecodeError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let decoded = envelope::json::<Versioned<T>>(bytes);
    // What a later version means by its fields is not known, whether or not they look like ours.
    let version = match &decoded {
        Ok(value) => value.version,
        Err(_) => envelope::json::<Version>(bytes)?.version,
    };
    if version > STATE_VERSION {
        return Err(DecodeError::NewerVersion { what, version, supported: STATE_VERSION });
    }
    decoded.map(|value| value.state)
}
