//! What the shard loop needs of a log: input, outputs and state together, since they commit together.

use std::time::Duration;

use jiff::Timestamp;
use tripline_engine::decision::LogLine;
use tripline_eventlog::{LogError, Stored};
use tripline_schemas::{DecodeError, Record};

/// A partition of the input topic. Its state is its own and moves with it.
pub type Partition = u32;

/// Input, outputs and state of one shard.
///
/// The loop's contract: after any error but a fatal one it forgets everything it holds in memory and calls
/// [`Backend::recover`]; there is one recovery path for crash, fence, unknown commit and rebalance.
pub trait Backend {
    /// The next things to do, waiting up to `wait` when there is nothing. Assignment changes come alone and before the
    /// records they concern: a partition's records follow its [`Polled::Assigned`] and end with its
    /// [`Polled::Revoked`].
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, BackendError>;

    /// A committed state value of an assigned partition.
    fn state(&self, partition: Partition, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError>;

    /// Makes the unit durable, or nothing of it. After `Ok` the next [`Backend::state`] sees its changes.
    fn commit(&mut self, unit: CommitUnit) -> Result<(), BackendError>;

    /// How long a batch that holds an alert waits for others, when that is less than the age at which any batch is
    /// committed: about what a commit costs, so that waiting at most doubles it.
    fn alert_wait(&self) -> Duration {
        Duration::MAX
    }

    /// Finds out what was really committed, and starts again from there: assigned partitions come again as
    /// [`Polled::Assigned`].
    fn recover(&mut self) -> Result<(), BackendError>;
}

/// What a poll brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Nothing within the wait.
    Nothing,
    /// Records, in offset order per partition.
    Records(Vec<Stored>),
    /// Lines that are no command's output and have no record, in offset order. Only histories hold them.
    Lines(Vec<StoredLine>),
    /// These partitions are this shard's now, their state restored.
    Assigned(Vec<Assigned>),
    /// These partitions are another's now. What was not committed is void.
    Revoked(Vec<Partition>),
    /// There will never be more. Only bounded inputs end.
    End,
}

/// A line that is no command's output, with its place in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLine {
    /// The partition it counts as.
    pub partition: Partition,
    /// Its place among the records and lines of that partition.
    pub offset: u64,
    /// When it arrived.
    pub append_time: Timestamp,
    /// The line itself.
    pub line: LogLine,
}

/// A partition that became this shard's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The partition.
    pub partition: Partition,
    /// The committed input position: the first record that was not processed. Records before it may come first, from
    /// the last checkpoint of the cursors on ([`crate::cursors::fold_from`]); they are folded into the cursors and not
    /// judged.
    pub position: u64,
}

/// Everything that one batch changes. Durable together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitUnit {
    /// Per partition: the next input offset to process. Every partition that `outputs` or `state` name is here, except
    /// that rule sets go to partition 0 of their topic whoever publishes them.
    pub positions: Vec<(Partition, u64)>,
    /// Records for output topics, in order. Alerts and dead letters go to the partition of their input.
    pub outputs: Vec<OutputRecord>,
    /// State values, at most one per partition and key; `None` removes.
    pub state: Vec<StateWrite>,
}

/// One record for an output topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRecord {
    /// Which topic.
    pub topic: OutputTopic,
    /// Which partition: the input's; 0 for rule sets.
    pub partition: Partition,
    /// The record.
    pub record: Record,
}

/// The topics a processor writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutputTopic {
    /// Alerts.
    Alerts,
    /// Records that could not be decoded.
    DeadLetters,
    /// Rule sets by digest; partition 0.
    RuleSets,
}

/// One state value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    /// Whose state.
    pub partition: Partition,
    /// The key, see `tripline_schemas::state::StateKey`.
    pub key: Vec<u8>,
    /// The value; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

/// Why a backend did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Another process owns the partitions now, or a rebalance came in between. Nothing was committed. An ordinary
    /// event: recover.
    #[error("fenced: {0}")]
    Fenced(String),
    /// It did not work, or it is not known whether it did; trying again after a pause may help: recover, which finds
    /// out.
    #[error("{what}")]
    Retry {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Somebody must do something first: the message says what.
    #[error("{what}")]
    Fatal {
        /// What was tried, and what to do.
        what: String,
        /// Why it failed.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl BackendError {
    /// Whether somebody must do something before it can work.
    pub fn is_fatal(&self) -> bool {
        matches!(self, BackendError::Fatal { .. })
    }

    /// A stored state value is not what this version writes.
    pub fn unreadable_state(err: DecodeError) -> BackendError {
        let what = "a stored state value can't be read: it is damaged, or a newer version wrote it".to_owned();
        BackendError::Fatal { what, source: Some(err.into()) }
    }
}

impl From<LogError> for BackendError {
    /// What may work when tried again is retried; the rest is for somebody to repair, and the log's message says what.
    fn from(err: LogError) -> BackendError {
        let temporary = match &err {
            LogError::Unavailable { .. } => true,
            // Retention has overtaken the reader: a new one starts at the first record that is kept.
            LogError::OutOfRange { .. } => true,
            LogError::NoTopic { .. } | LogError::TooLarge { .. } | LogError::Failed { .. } => false,
        };
        let (what, source) = match err {
            LogError::Unavailable { what, source } | LogError::Failed { what, source } => (what, source),
            err => (err.to_string(), None),
        };
        if temporary { BackendError::Retry { what, source } } else { BackendError::Fatal { what, source } }
    }
}
