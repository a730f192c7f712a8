//! Topics and records, on two logs: Kafka, and an embedded one in RocksDB for one machine.
//!
//! The collector and the command line see only two small interfaces:
//!
//! * [`Publisher`] appends records and returns when they are durable;
//! * [`Reader`] reads partitions from chosen offsets.
//!
//! [`embedded`] has the embedded log with its state store and its local server, [`kafka`] the client of a Kafka cluster.
//! Processing records with exactly-once effects is the work of `tripline-processor`, whose backends own input, outputs
//! and state together.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tripline_schemas::Record;

pub mod embedded;
pub mod kafka;
pub mod topics;

/// A record as read from a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The partition it lies in.
    pub partition: u32,
    /// Its offset. Without gaps in the embedded log, compacted topics apart; with gaps on Kafka.
    pub offset: u64,
    /// When the log took it.
    pub append_time: Timestamp,
    /// The record itself.
    pub record: Record,
}

/// Appends records. One publisher has one thread.
pub trait Publisher: Send {
    /// Appends records to a topic, in order per key, each to the partition of its key, and returns when all are
    /// durable. After an error any prefix per partition may have been appended: the caller publishes again and readers
    /// drop what they have seen.
    fn publish(&mut self, topic: &str, records: &[Record]) -> Result<(), LogError>;
}

/// Reads a topic. Sees only durable records, on Kafka only committed ones.
pub trait Reader: Send {
    /// How many partitions the topic has.
    fn partitions(&self) -> u32;
    /// The first offset still kept, and the one after the last: equal when the partition is empty.
    fn bounds(&mut self, partition: u32) -> Result<Bounds, LogError>;
    /// The first offset whose append time is not before `time`; the end when there is none.
    fn offset_at(&mut self, partition: u32, time: Timestamp) -> Result<u64, LogError>;
    /// Where to read a partition next. Partitions that were never positioned are not read.
    fn seek(&mut self, partition: u32, offset: u64) -> Result<(), LogError>;
    /// The offset a partition is read from next. It moves past offsets that hold no record, as Kafka's transaction markers
    /// do, once the end of the partition was seen: with it a reader can tell that it has come to
    /// [`Bounds::end`]. `None` when the partition was never positioned, and in logs whose offsets have no gaps, where the
    /// last record read tells.
    fn position(&self, partition: u32) -> Option<u64> {
        let _ = partition;
        None
    }
    /// The next records, at most `max`, in offset order per partition. Waits up to `wait` when there are none, and
    /// returns an empty list when there are none still. An offset that retention has dropped is an error
    /// ([`LogError::OutOfRange`]).
    fn read(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError>;
}

/// What a partition holds: offsets `first..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The first offset still kept.
    pub first: u64,
    /// One past the last.
    pub end: u64,
}

/// Why a log did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The topic is not there.
    #[error("topic `{topic}` does not exist; create it with `tripline topics create`")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// The offset asked for is no longer kept, or not yet written.
    #[error("offset {offset} of `{topic}` partition {partition} is not kept: it holds {first} to {end}")]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: u64,
        /// The first one kept.
        first: u64,
        /// One past the last.
        end: u64,
    },
    /// A record is larger than the topic takes.
    #[error("a record of {size} bytes is larger than `{topic}` takes ({max} bytes)")]
    TooLarge {
        /// The topic.
        topic: String,
        /// The record's size in bytes.
        size: usize,
        /// The bound in bytes.
        max: usize,
    },
    /// The log can't be reached at the moment; trying again may help.
    #[error("{what}")]
    Unavailable {
        /// What was tried, and what to do.
        what: String,
        /// Why it failed.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The log is damaged, full, not writable, or refused the request for good.
    #[error("{what}")]
    Failed {
        /// What was tried, and what to do.
        what: String,
        /// Why it failed.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl LogError {
    /// Whether trying again, without anybody doing anything, may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, LogError::Unavailable { .. })
    }
}
