//! Outputs, changelog and input positions: one transaction after the other, by one producer.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::bindings::{
    rd_kafka_error_code, rd_kafka_error_destroy, rd_kafka_error_is_fatal, rd_kafka_error_is_retriable,
    rd_kafka_error_string, rd_kafka_error_txn_requires_abort, rd_kafka_send_offsets_to_transaction,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use tripline_eventlog::kafka::{ClientLog, REQUEST_TIMEOUT, errors as log_errors, wire};
use tripline_schemas::Headers;

use super::errors::{Failure, TransactionError, backend_error};
use super::member::{Lease, role};
use super::node::Node;
use super::settings::KafkaBackendSettings;
use crate::backend::{BackendError, Partition};

/// How long a producer may take to fence its predecessor and finish or abort what that one left.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A commit that took longer may have been sent twice on the way, and the first copy may still arrive: during the next
/// transaction, which it would end. librdkafka 2.12 speaks the old transaction protocol, whose epoch does not change
/// between transactions; a new producer's does.
const SLOW_COMMIT: Duration = Duration::from_secs(2);

/// The producer of one shard.
pub(super) struct Transactor {
    producer: BaseProducer<Deliveries>,
    timeout: Duration,
    /// Committed or not, this producer may have a stray request under way. See [`SLOW_COMMIT`].
    stray: bool,
}

/// One record to send.
pub(super) struct Outgoing<'a> {
    pub topic: &'a str,
    pub partition: Partition,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a Headers,
    /// It is a changelog record: the offset it gets is remembered.
    pub is_changelog: bool,
}

impl Transactor {
    /// A producer that has fenced its predecessor; the predecessor's transaction is committed or aborted.
    pub(super) fn start(settings: &KafkaBackendSettings, node: &Node) -> Result<Transactor, BackendError> {
        let kafka = &settings.kafka;
        let timeout = settings.transaction_timeout;
        let mut config = kafka.producer_config(&role(settings, "producer"))?;
        config
            .set("transactional.id", format!("{}-{}", settings.application_id, node.name))
            .set("transaction.timeout.ms", timeout.as_millis().to_string())
            // Below the transaction's: when it is over, nothing of it may still be on its way.
            .set("message.timeout.ms", (timeout * 4 / 5).as_millis().to_string());
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(Deliveries::default())
            .map_err(|error| log_errors::log_error(kafka, &ClientLog::default(), "creating a producer", error))?;
        let transactor = Transactor { producer, timeout, stray: false };
        let deadline = Instant::now() + INIT_TIMEOUT;
        loop {
            match transactor.producer.init_transactions(REQUEST_TIMEOUT).map_err(TransactionError::from) {
                Ok(()) => {
                    tracing::info!("the transactional producer has taken over");
                    return Ok(transactor);
                }
                Err(error) if error.retriable && Instant::now() < deadline => transactor.producer.poll(Duration::ZERO),
                Err(error) => {
                    ClientLog::serve(|| transactor.producer.poll(Duration::ZERO));
                    let doing = "starting the transactional producer";
                    if log_errors::is_silence(error.code) {
                        let log = &transactor.producer.context().log;
                        return Err(log_errors::unreachable_cluster(kafka, log, doing, error.to_string()).into());
                    }
                    return Err(backend_error(error.code, doing, error));
                }
            }
        }
    }

    /// Whether a new producer must take over before the next transaction, though the last one went well.
    pub(super) fn is_stray(&self) -> bool {
        self.stray
    }

    pub(super) fn begin(&self) -> Result<(), Failure> {
        self.producer.context().reset();
        self.producer.begin_transaction().map_err(|error| failure(error, "beginning a transaction"))
    }

    /// Hands a record to the producer.
    pub(super) fn send(&self, record: &Outgoing<'_>) -> Result<(), Failure> {
        let opaque = if record.is_changelog { 1 } else { 0 };
        let mut message: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(record.topic, opaque)
            .partition(record.partition as i32)
            .headers(wire::to_headers(record.headers));
        message.key = record.key;
        message.payload = record.value;
        while let Err((error, unsent)) = self.producer.send(message) {
            let code = log_errors::code(&error).unwrap_or(RDKafkaErrorCode::Fail);
            // A full queue drains, or its messages time out and the transaction fails.
            if code != RDKafkaErrorCode::QueueFull || self.producer.context().failure().is_some() {
                return Err(send_failure(code, record.topic, error));
            }
            message = unsent;
            self.producer.poll(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits until the cluster has everything that was sent.
    ///
    /// Not by `flush`, and before anything that flushes: it sleeps 100 ms while anything is in flight.
    pub(super) fn drain(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout * 2;
        while self.producer.in_flight_count() > 0 {
            // Messages time out long before; this is for what must not happen.
            if Instant::now() > deadline {
                let what = "the cluster neither takes nor refuses the transaction's records".to_owned();
                return Err(Failure::Rebuild(BackendError::Retry { what, source: None }));
            }
            self.producer.poll(Duration::from_millis(1));
        }
        match self.producer.context().failure() {
            None => Ok(()),
            Some((topic, code)) => Err(send_failure(code, &topic, KafkaError::MessageProduction(code))),
        }
    }

    /// Makes the input positions part of the transaction, under the lease.
    pub(super) fn send_positions(
        &self,
        topic: &str,
        positions: &[(Partition, u64)],
        lease: &Lease,
    ) -> Result<(), Failure> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in positions {
            list.add_partition_offset(topic, *partition as i32, Offset::Offset(*next as i64))
                .map_err(|error| failure(error, "committing input positions"))?;
        }
        self.retrying("committing input positions", || {
            // SAFETY: client, list and metadata are valid for the call; the error is ours to free.
            unsafe {
                let error = rd_kafka_send_offsets_to_transaction(
                    self.producer.client().native_ptr(),
                    list.ptr(),
                    lease.as_ptr(),
                    REQUEST_TIMEOUT.as_millis() as i32,
                );
                if error.is_null() {
                    return Ok(());
                }
                let told = TransactionError {
                    code: rd_kafka_error_code(error).into(),
                    text: CStr::from_ptr(rd_kafka_error_string(error)).to_string_lossy().into_owned(),
                    fatal: rd_kafka_error_is_fatal(error) != 0,
                    retriable: rd_kafka_error_is_retriable(error) != 0,
                    requires_abort: rd_kafka_error_txn_requires_abort(error) != 0,
                };
                rd_kafka_error_destroy(error);
                Err(told)
            }
        })
    }

    /// Commits. When it fails with [`Failure::Rebuild`], the outcome is not known.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        let since = Instant::now();
        let done = self.retrying("committing the transaction", || {
            // Never: as long as the transaction lives.
            self.producer.commit_transaction(Timeout::Never).map_err(TransactionError::from)
        });
        self.stray = since.elapsed() > SLOW_COMMIT;
        done
    }

    /// Aborts, so that the producer can begin again.
    pub(super) fn abort(&self) -> Result<(), Failure> {
        // With delivery reports as events, an abort waits for reports that somebody must poll: so there must be none left.
        self.producer.purge(PurgeConfig::default().queue());
        let deadline = Instant::now() + self.timeout;
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.poll(Duration::from_millis(1));
        }
        self.retrying("aborting the transaction", || {
            self.producer.abort_transaction(self.timeout).map_err(TransactionError::from)
        })
    }

    /// Per partition: the offset after the last changelog record of the last transaction.
    pub(super) fn changelog_ends(&self) -> BTreeMap<Partition, u64> {
        self.producer.context().lock().changelog_ends.clone()
    }

    /// Makes a call again as long as librdkafka says that it goes on where it stopped, and the transaction can still be
    /// alive.
    fn retrying(&self, doing: &str, mut call: impl FnMut() -> Result<(), TransactionError>) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(error) if error.retriable && !error.fatal && Instant::now() < deadline => {
                    self.producer.poll(Duration::from_millis(10));
                }
                Err(error) => return Err(error.into_failure(doing)),
            }
        }
    }
}

fn failure(error: KafkaError, doing: &str) -> Failure {
    TransactionError::from(error).into_failure(doing)
}

/// A record that did not get through fails its transaction, which can be aborted unless the producer is dead.
fn send_failure(code: RDKafkaErrorCode, topic: &str, error: KafkaError) -> Failure {
    let doing = match code {
        RDKafkaErrorCode::MessageSizeTooLarge => {
            format!("writing to topic `{topic}`, whose `max.message.bytes` is too small for its records,")
        }
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
            format!("writing to topic `{topic}`, which does not exist or has too few partitions,")
        }
        _ => format!("writing to topic `{topic}`"),
    };
    let error = backend_error(code, &doing, error);
    if code == RDKafkaErrorCode::Fatal { Failure::Rebuild(error) } else { Failure::Abort(error) }
}

/// What became of the records of the current transaction.
#[derive(Default)]
struct Deliveries {
    log: ClientLog,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
struct Outcome {
    /// The first record that did not get through: its topic and why.
    failure: Option<(String, RDKafkaErrorCode)>,
    changelog_ends: BTreeMap<Partition, u64>,
}

impl Deliveries {
    fn lock(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn reset(&self) {
        *self.lock() = Outcome::default();
    }

    fn failure(&self) -> Option<(String, RDKafkaErrorCode)> {
        self.lock().failure.clone()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, is_changelog: usize) {
        let mut outcome = self.lock();
        match result {
            Ok(message) if is_changelog == 1 => {
                let end = outcome.changelog_ends.entry(message.partition() as Partition).or_default();
                *end = (*end).max(message.offset() as u64 + 1);
            }
            Ok(_) => {}
            Err((error, message)) => {
                let code = log_errors::code(error).unwrap_or(RDKafkaErrorCode::Fail);
                outcome.failure.get_or_insert_with(|| (message.topic().to_owned(), code));
            }
        }
    }
}
