//! Brings local stores up to the changelog.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tripline_eventlog::Stored;
use tripline_eventlog::kafka::{ClientLog, KafkaSettings, REQUEST_TIMEOUT, errors as log_errors, wire};

use super::member::role;
use super::settings::{KafkaBackendSettings, Step};
use super::store::{Change, PartitionStore};
use crate::backend::{BackendError, Partition};

/// The header of a changelog record that holds the input position of its transaction, in decimal digits.
pub(super) const INPUT_NEXT: &str = "input-next";

/// This much is applied to a store at once, in bytes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Beyond the transaction timeout, the coordinator needs this long to notice that a transaction is too old.
const ABORT_MARGIN: Duration = Duration::from_secs(30);

/// Reads the changelog of the partitions that are being restored.
///
/// A partition is restored when everything below the high watermark is decided and read. The high watermark and not the
/// last stable offset: the latter hides committed records that lie behind somebody's open transaction. And read until
/// the consumer says that it is at the end, not until some offset: transaction markers take offsets too.
pub(super) struct Restorer {
    kafka: KafkaSettings,
    topic: String,
    /// Reads committed records, and for it the end of a partition is the last stable offset.
    committed: BaseConsumer<ClientLog>,
    /// For it the end of a partition is the high watermark.
    uncommitted: BaseConsumer<ClientLog>,
    work: BTreeMap<Partition, Work>,
    /// The consumer reads the partitions in `work`.
    assigned: bool,
    patience: Duration,
    on_step: Option<fn(Step)>,
}

/// One partition being restored.
struct Work {
    store: PartitionStore,
    /// The high watermark when the restore began.
    target: u64,
    /// The last stable offset, once it had come to `target`.
    stable: Option<u64>,
    /// What was read and not yet applied.
    changes: Vec<Change>,
    bytes: usize,
    /// The next changelog offset to read.
    next: u64,
    input_next: u64,
    /// Open transactions must be decided by then.
    deadline: Instant,
    done: bool,
}

impl Restorer {
    pub(super) fn new(settings: &KafkaBackendSettings) -> Result<Restorer, BackendError> {
        let kafka = &settings.kafka;
        let failed = |error| log_errors::log_error(kafka, &ClientLog::default(), "creating a consumer", error);
        // Assigned by hand: the group is a name that librdkafka wants, and is never joined.
        let mut config = kafka.consumer_config(&role(settings, "restore"), &settings.application_id)?;
        config
            .set("enable.partition.eof", "true")
            // The end of a partition is told with the answer to a fetch, which an empty partition would keep waiting.
            .set("fetch.wait.max.ms", "20")
            .set("fetch.message.max.bytes", (8 * 1024 * 1024).to_string());
        let committed = config.create_with_context(ClientLog::default()).map_err(failed)?;
        config.set("isolation.level", "read_uncommitted");
        let uncommitted = config.create_with_context(ClientLog::default()).map_err(failed)?;
        Ok(Restorer {
            kafka: kafka.clone(),
            topic: settings.topics.changelog.clone(),
            committed,
            uncommitted,
            work: BTreeMap::new(),
            assigned: false,
            patience: settings.transaction_timeout + ABORT_MARGIN,
            on_step: settings.on_step,
        })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.work.is_empty()
    }

    /// Begins to restore a partition. Of a store that is [`Begun::Unrelated`] nothing begins: it must be put aside and an
    /// empty one restored instead.
    pub(super) fn begin(&mut self, partition: Partition, store: PartitionStore) -> Result<Begun, BackendError> {
        let (first, high) = self
            .uncommitted
            .fetch_watermarks(&self.topic, partition as i32, REQUEST_TIMEOUT)
            .map_err(|error| self.error(&self.uncommitted, error))?;
        let (first, high) = (first.max(0) as u64, high.max(0) as u64);
        let progress = store.progress();
        if progress.changelog_offset > high || (progress.changelog_offset < first && progress.changelog_offset > 0) {
            return Ok(Begun::Unrelated { offset: progress.changelog_offset, first, high });
        }
        self.work.insert(
            partition,
            Work {
                store,
                target: high,
                stable: None,
                changes: Vec::new(),
                bytes: 0,
                next: progress.changelog_offset.max(first),
                input_next: progress.input_next,
                deadline: Instant::now() + self.patience,
                done: false,
            },
        );
        self.assigned = false;
        Ok(Begun::Restoring)
    }

    /// Stops restoring a partition. What was applied to its store stays.
    pub(super) fn forget(&mut self, partition: Partition) {
        if self.work.remove(&partition).is_some() {
            self.assigned = false;
        }
    }

    /// Goes on for about as long as `wait`. Returns the partitions that are restored now.
    pub(super) fn advance(&mut self, wait: Duration) -> Result<Vec<(Partition, PartitionStore)>, BackendError> {
        let until = Instant::now() + wait;
        while !self.work.values().all(|work| work.done) {
            if !self.wait_until_decided(until)? {
                return Ok(Vec::new());
            }
            if !self.assigned {
                self.assign()?;
            }
            match self.committed.poll(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50))) {
                Some(Ok(message)) => {
                    let stored = wire::to_stored(&message);
                    drop(message);
                    self.take(stored)?;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => self.finish(partition as Partition)?,
                Some(Err(error)) => self.interrupted(error)?,
                None => {}
            }
            if Instant::now() >= until {
                break;
            }
        }
        if self.work.values().all(|work| work.done) {
            return Ok(std::mem::take(&mut self.work).into_iter().map(|(p, work)| (p, work.store)).collect());
        }
        Ok(Vec::new())
    }

    /// Whether every transaction that was open when the restore began is committed or aborted.
    fn wait_until_decided(&mut self, until: Instant) -> Result<bool, BackendError> {
        loop {
            for (partition, work) in self.work.iter_mut().filter(|(_, work)| work.stable.is_none()) {
                let asked = self.committed.fetch_watermarks(&self.topic, *partition as i32, REQUEST_TIMEOUT);
                let stable = match asked {
                    Ok((_, stable)) => stable.max(0) as u64,
                    Err(error) => return Err(restore_error(&self.kafka, &self.topic, &self.committed, error)),
                };
                if stable >= work.target {
                    work.stable = Some(stable);
                    // Nothing to read: the consumer need not be asked.
                    work.done = work.next >= stable;
                    self.assigned = false;
                } else if Instant::now() > work.deadline {
                    return Err(BackendError::Retry {
                        what: format!(
                            "a transaction on topic `{}` partition {partition} is open since before offset {stable} and \
                             is neither committed nor aborted, which hides the state behind it; `kafka-transactions.sh \
                             find-hanging` shows it",
                            self.topic
                        ),
                        source: None,
                    });
                }
            }
            if self.work.values().all(|work| work.stable.is_some()) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn assign(&mut self) -> Result<(), BackendError> {
        let mut list = TopicPartitionList::new();
        for (partition, work) in self.work.iter().filter(|(_, work)| !work.done) {
            list.add_partition_offset(&self.topic, *partition as i32, Offset::Offset(work.next as i64))
                .map_err(|error| self.error(&self.committed, error))?;
        }
        self.committed.assign(&list).map_err(|error| self.error(&self.committed, error))?;
        self.assigned = true;
        Ok(())
    }

    fn take(&mut self, stored: Stored) -> Result<(), BackendError> {
        let Some(work) = self.work.get_mut(&stored.partition).filter(|work| !work.done) else { return Ok(()) };
        let Some(key) = stored.record.key else {
            return Err(BackendError::Fatal {
                what: format!(
                    "topic `{}` partition {} offset {} holds a record without a key, which no processor wrote; something \
                     else writes to this topic",
                    self.topic, stored.partition, stored.offset
                ),
                source: None,
            });
        };
        let position = stored.record.headers.text(INPUT_NEXT).and_then(|text| text.parse().ok());
        work.input_next = work.input_next.max(position.unwrap_or(0));
        work.bytes += key.len() + stored.record.value.as_ref().map_or(0, Vec::len);
        work.changes.push((key, stored.record.value));
        work.next = stored.offset + 1;
        if work.bytes >= BATCH_BYTES {
            work.apply()?;
            self.at_step();
        }
        Ok(())
    }

    /// The consumer is at the end of a partition, and so, since the decided part reached it, is the restore.
    fn finish(&mut self, partition: Partition) -> Result<(), BackendError> {
        let Some(work) = self.work.get_mut(&partition) else { return Ok(()) };
        if let Some(stable) = work.stable.filter(|_| !work.done) {
            work.next = work.next.max(stable);
            work.apply()?;
            work.done = true;
            self.at_step();
        }
        Ok(())
    }

    fn interrupted(&self, error: KafkaError) -> Result<(), BackendError> {
        match log_errors::code(&error) {
            // The broker is away; librdkafka goes on when it is back, and the deadline is the loop's business.
            Some(code) if log_errors::is_silence(code) => {
                tracing::warn!(%error, topic = self.topic, "restoring state is interrupted");
                Ok(())
            }
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Err(BackendError::Retry {
                what: format!("topic `{}` lost records while it was read", self.topic),
                source: Some(error.into()),
            }),
            _ => Err(self.error(&self.committed, error)),
        }
    }

    fn error(&self, client: &BaseConsumer<ClientLog>, error: KafkaError) -> BackendError {
        restore_error(&self.kafka, &self.topic, client, error)
    }

    fn at_step(&self) {
        if let Some(on_step) = self.on_step {
            on_step(Step::Restored);
        }
    }
}

/// What became of the wish to restore a partition.
pub(super) enum Begun {
    /// It is under way.
    Restoring,
    /// The store's changelog offset is not one of this changelog's, which was truncated, deleted or created anew.
    Unrelated { offset: u64, first: u64, high: u64 },
}

impl Work {
    fn apply(&mut self) -> Result<(), BackendError> {
        self.store.apply(self.changes.drain(..), self.next, self.input_next)?;
        self.bytes = 0;
        Ok(())
    }
}

fn restore_error(
    kafka: &KafkaSettings,
    topic: &str,
    client: &BaseConsumer<ClientLog>,
    error: KafkaError,
) -> BackendError {
    log_errors::log_error(kafka, client.context(), &format!("restoring state from topic `{topic}`"), error).into()
}
