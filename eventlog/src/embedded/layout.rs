//! How the log lies in RocksDB: column families, keys, values. Integers are big endian, so that keys sort by number.
//!
//! | column family | key | value |
//! | --- | --- | --- |
//! | `default` | `t` topic name | JSON of the [`TopicSpec`] |
//! | | `b` partition (4) topic name | [`Tail`] and first offset, see [`Kept`] |
//! | | `p` partition (4) group | offset (8) |
//! | | `r` partition (4) group | offset (8): how far the group had told when its state was thrown away, see `rebuild` |
//! | | `w` | group: its state is being thrown away |
//! | `state` | partition (4) key | value |
//! | `topic:NAME` | partition (4) offset (8) | [`RecordHead`], then the record as [`codec`](super::codec) writes it |
//!
//! One column family per topic: each has files of its own, so that dropping the old records of one topic gives whole
//! files back although another topic keeps its records longer.
//!
//! A change of anything here raises [`FORMAT_VERSION`](super::open::FORMAT_VERSION).

use jiff::Timestamp;

use crate::topics::TopicSpec;

/// State values.
pub(super) const STATE: &str = "state";

/// The column families that are there before any topic is made.
pub(super) const FAMILIES: [&str; 2] = [rocksdb::DEFAULT_COLUMN_FAMILY_NAME, STATE];

/// What a log without state is, unless a rebuild has thrown it away.
pub(super) const NO_STATE: &str = "column family `state` is missing";

/// The column family of a topic.
pub(super) fn topic_cf(topic: &str) -> String {
    format!("topic:{topic}")
}

/// All topics lie under this prefix.
pub(super) const TOPIC_PREFIX: &[u8] = b"t";

pub(super) fn topic_key(topic: &str) -> Vec<u8> {
    [TOPIC_PREFIX, topic.as_bytes()].concat()
}

pub(super) fn kept_key(topic: &str, partition: u32) -> Vec<u8> {
    [b"b", partition.to_be_bytes().as_slice(), topic.as_bytes()].concat()
}

/// All positions lie under this prefix.
pub(super) const POSITION_PREFIX: &[u8] = b"p";

/// The partition and the group in a position's key.
pub(super) fn position_from_key(key: &[u8]) -> Option<(u32, &[u8])> {
    let (partition, group) = key.strip_prefix(POSITION_PREFIX)?.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*partition), group))
}

pub(super) fn told_key(group: &str, partition: u32) -> Vec<u8> {
    [b"r", partition.to_be_bytes().as_slice(), group.as_bytes()].concat()
}

/// The mark that state is being thrown away.
pub(super) const DOOMED_STATE: &[u8] = b"w";

pub(super) fn position_key(group: &str, partition: u32) -> Vec<u8> {
    [b"p", partition.to_be_bytes().as_slice(), group.as_bytes()].concat()
}

pub(super) fn state_key(partition: u32, key: &[u8]) -> Vec<u8> {
    [partition.to_be_bytes().as_slice(), key].concat()
}

pub(super) fn record_key(partition: u32, offset: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The offset in a record's key.
pub(super) fn record_offset(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(4..12)?.try_into().ok()?))
}

/// What stands before each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    /// When the log took it, in milliseconds since 1970, as Kafka counts. Never goes back, from topic to topic neither.
    pub(super) time_ms: i64,
    /// The size of all records before it in its partition since the beginning, dropped ones included: the size between
    /// two offsets is a subtraction.
    pub(super) bytes_before: u64,
}

impl RecordHead {
    pub(super) const SIZE: usize = 16;

    pub(super) fn write(self, value: &mut [u8]) {
        value[..8].copy_from_slice(&self.time_ms.to_be_bytes());
        value[8..Self::SIZE].copy_from_slice(&self.bytes_before.to_be_bytes());
    }

    /// The head and the record's bytes.
    pub(super) fn split(value: &[u8]) -> Option<(RecordHead, &[u8])> {
        let (time, rest) = value.split_first_chunk::<8>()?;
        let (bytes, record) = rest.split_first_chunk::<8>()?;
        let head = RecordHead { time_ms: i64::from_be_bytes(*time), bytes_before: u64::from_be_bytes(*bytes) };
        Some((head, record))
    }

    pub(super) fn append_time(self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.time_ms).ok()
    }
}

/// Where a partition's next record goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// Its offset.
    pub(super) next: u64,
    /// The append time of the record before it, in milliseconds: the next one's is not earlier.
    pub(super) time_ms: i64,
    /// The size of all records so far, see [`RecordHead::bytes_before`].
    pub(super) bytes: u64,
}

/// What retention leaves behind: the first offset kept, and the tail, which the records no longer tell when all of them
/// are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) first: u64,
    pub(super) tail: Tail,
}

impl Kept {
    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.first.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.tail.next.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.tail.time_ms.to_be_bytes());
        bytes[24..].copy_from_slice(&self.tail.bytes.to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Kept> {
        let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if bytes.len() != 32 {
            return None;
        }
        let time_ms = number(16)?.cast_signed();
        Some(Kept { first: number(0)?, tail: Tail { next: number(8)?, time_ms, bytes: number(24)? } })
    }
}

/// The JSON of a topic.
pub(super) fn topic_value(spec: &TopicSpec) -> Vec<u8> {
    serde_json::to_vec(spec).expect("a topic's settings are plain values")
}

pub(super) fn topic_from_value(value: &[u8]) -> Option<TopicSpec> {
    serde_json::from_slice(value).ok()
}
