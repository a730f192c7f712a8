//! What the Kafka backend is told.

use std::path::PathBuf;
use std::time::Duration;

use tripline_eventlog::kafka::KafkaSettings;
use tripline_eventlog::topics::TopicNames;

use crate::backend::BackendError;

/// How one shard works on Kafka.
#[derive(Clone, Debug)]
pub struct KafkaBackendSettings {
    /// The cluster.
    pub kafka: KafkaSettings,
    /// Names the consumer group, the producers' transactional ids and the state directory. Another id is another
    /// application, which starts at the beginning with no state.
    pub application_id: String,
    /// The topics. Outputs, alerts, dead letters and changelog have the same number of partitions.
    pub topics: TopicNames,
    /// The local stores lie in `state_dir/application_id/partition`. They may be deleted while nothing runs.
    pub state_dir: PathBuf,
    /// Which of this process's shards this is, from 0.
    pub shard: u32,
    /// A transaction that is open for longer is aborted by the cluster; also how long a crashed process's open
    /// transaction may hide its partitions from another one.
    pub transaction_timeout: Duration,
    /// Called at each step of the protocol. Tests end the process there.
    pub on_step: Option<fn(Step)>,
}

/// A step of the protocol: what has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Records were handed out.
    Polled,
    /// A transaction was begun.
    Begun,
    /// Outputs and changelog records were handed to the producer.
    Sent,
    /// The cluster has them.
    Delivered,
    /// The input positions are part of the transaction.
    OffsetsSent,
    /// The transaction is committed; the local store does not know yet.
    Committed,
    /// The local store knows.
    Applied,
    /// Some of the changelog was applied to a local store.
    Restored,
    /// A partition is about to be handed out.
    Assigned,
}

impl Step {
    /// All steps, in the order of a first batch.
    pub const ALL: [Step; 9] = [
        Step::Restored,
        Step::Assigned,
        Step::Polled,
        Step::Begun,
        Step::Sent,
        Step::Delivered,
        Step::OffsetsSent,
        Step::Committed,
        Step::Applied,
    ];
}

impl KafkaBackendSettings {
    /// Settings with the defaults: topics named after the application, one shard, transactions of at most 10 s.
    pub fn new(kafka: KafkaSettings, application_id: &str, state_dir: impl Into<PathBuf>) -> KafkaBackendSettings {
        KafkaBackendSettings {
            kafka,
            application_id: application_id.to_owned(),
            topics: TopicNames::new(application_id),
            state_dir: state_dir.into(),
            shard: 0,
            transaction_timeout: Duration::from_secs(10),
            on_step: None,
        }
    }

    /// The application id becomes part of topic names and paths.
    pub(super) fn check(&self) -> Result<(), BackendError> {
        const BYTES_MAX: usize = 200;
        let id = &self.application_id;
        let letters = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if letters && !id.is_empty() && id.len() <= BYTES_MAX && id != "." && id != ".." {
            return Ok(());
        }
        Err(BackendError::Fatal {
            what: format!(
                "application id `{id}` can't be used: it takes letters, digits, `.`, `_` and `-`, at most {BYTES_MAX}"
            ),
            source: None,
        })
    }

    pub(super) fn at(&self, step: Step) {
        if let Some(on_step) = self.on_step {
            on_step(step);
        }
    }
}
