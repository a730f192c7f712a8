//! Membership in the consumer group: which partitions are ours, their records, and the proof of ownership.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings::{
    rd_kafka_consumer_group_metadata, rd_kafka_consumer_group_metadata_destroy,
    rd_kafka_consumer_group_metadata_generation_id, rd_kafka_consumer_group_metadata_member_id,
    rd_kafka_consumer_group_metadata_t,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tripline_eventlog::kafka::admin::partition_count;
use tripline_eventlog::kafka::{ClientLog, KafkaSettings, REQUEST_TIMEOUT, errors as log_errors, wire};
use tripline_eventlog::{Bounds, LogError, Stored};

use super::errors::backend_error;
use super::node::Node;
use super::settings::KafkaBackendSettings;
use crate::backend::{BackendError, Partition};

/// How long a member may be silent before its partitions go to others.
const SESSION_TIMEOUT_MS: &str = "15000";

/// A member of the application's group, reading the outputs topic.
pub(super) struct Member {
    kafka: KafkaSettings,
    consumer: BaseConsumer<Context>,
    topic: String,
}

/// Partitions come and go, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rebalance {
    /// Ours from now on, and paused.
    Assigned(Vec<Partition>),
    /// Another's from now on.
    Revoked(Vec<Partition>),
}

/// What a poll of the member brought.
pub(super) enum Received {
    Record(Stored),
    /// Nothing within the wait; maybe a rebalance, see [`Member::rebalances`].
    Nothing,
    /// This member is of no use any more; only a new one goes on.
    Lost(Loss),
}

/// Why a member is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The position of some partition is not kept any more, so that librdkafka has stopped reading it.
    Position,
    /// Somebody joined under the same name. That may have been this member itself: a join whose answer was lost with a
    /// broker, and which was repeated.
    Name,
}

impl Member {
    /// Joins the group.
    pub(super) fn join(settings: &KafkaBackendSettings, node: &Node) -> Result<Member, BackendError> {
        let kafka = &settings.kafka;
        let mut config = kafka.consumer_config(&role(settings, "consumer"), &settings.application_id)?;
        if !kafka.properties.contains_key("session.timeout.ms") {
            config.set("session.timeout.ms", SESSION_TIMEOUT_MS);
        }
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("group.instance.id", &node.name)
            .set("enable.partition.eof", "false");
        let consumer: BaseConsumer<Context> = config
            .create_with_context(Context::default())
            .map_err(|error| log_errors::log_error(kafka, &ClientLog::default(), "creating a consumer", error))?;
        let topic = settings.topics.outputs.clone();
        tracing::info!(group = settings.application_id, name = node.name, "joining the group");
        consumer
            .subscribe(&[&topic])
            .map_err(|error| log_errors::log_error(kafka, &consumer.context().log, "joining the group", error))?;
        Ok(Member { kafka: kafka.clone(), consumer, topic })
    }

    /// The next record, or what else there is. Rebalances happen in here, and only in here.
    pub(super) fn poll(&self, wait: Duration) -> Result<Received, BackendError> {
        match self.consumer.poll(wait) {
            None => Ok(Received::Nothing),
            Some(Ok(message)) => Ok(Received::Record(wire::to_stored(&message))),
            Some(Err(error)) => self.classify(error),
        }
    }

    fn classify(&self, error: KafkaError) -> Result<Received, BackendError> {
        let code = log_errors::code(&error).unwrap_or(RDKafkaErrorCode::Fail);
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                Ok(Received::Lost(Loss::Position))
            }
            RDKafkaErrorCode::FencedInstanceId => Ok(Received::Lost(Loss::Name)),
            code if log_errors::is_final(code) || matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(backend_error(code, &format!("reading topic `{}`", self.topic), error))
            }
            // Brokers down, coordinator moves, a poll that came late: librdkafka goes on by itself, and what it means for
            // ownership comes as a rebalance.
            _ => {
                tracing::warn!(%error, topic = self.topic, "reading the outputs is interrupted");
                Ok(Received::Nothing)
            }
        }
    }

    /// Why this member is of no use any more, when a call that failed does not say.
    pub(super) fn loss(&self) -> Option<Loss> {
        let (code, _) = self.consumer.client().fatal_error()?;
        (code == RDKafkaErrorCode::FencedInstanceId).then_some(Loss::Name)
    }

    /// What has changed since this was last asked.
    pub(super) fn rebalances(&self) -> Vec<Rebalance> {
        let context = self.consumer.context();
        if !context.changed.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        context.rebalances.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).drain(..).collect()
    }

    /// The committed position of each partition; None where nothing was ever committed. Waits for transactions that are
    /// about to commit one.
    pub(super) fn committed(&self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Option<u64>>, BackendError> {
        let list = self.list(partitions);
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            let answer = self.consumer.committed_offsets(list.clone(), REQUEST_TIMEOUT).and_then(|answer| {
                let committed: KafkaResult<_> = answer
                    .elements()
                    .into_iter()
                    .map(|element| {
                        element.error()?;
                        let position = match element.offset() {
                            Offset::Offset(offset) => Some(offset as u64),
                            _ => None,
                        };
                        Ok((element.partition() as Partition, position))
                    })
                    .collect();
                committed
            });
            match answer {
                Err(error)
                    if log_errors::code(&error) == Some(RDKafkaErrorCode::UnstableOffsetCommit)
                        && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(50));
                }
                answer => return answer.map_err(|error| self.error("asking for the committed positions in", error)),
            }
        }
    }

    /// What a partition of the input holds.
    pub(super) fn bounds(&self, partition: Partition) -> Result<Bounds, BackendError> {
        let asked = self.consumer.fetch_watermarks(&self.topic, partition as i32, REQUEST_TIMEOUT);
        let (first, end) = asked.map_err(|error| self.error("asking for the bounds of", error))?;
        Ok(Bounds { first: first.max(0) as u64, end: end.max(0) as u64 })
    }

    /// Stops handing out records of these partitions.
    pub(super) fn pause(&self, partitions: &BTreeSet<Partition>) -> Result<(), BackendError> {
        self.consumer.pause(&self.list(partitions)).map_err(|error| self.error("pausing", error))
    }

    /// Hands out a paused partition's records from `offset` on.
    pub(super) fn resume_at(&self, partition: Partition, offset: u64) -> Result<(), BackendError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            match self.consumer.seek(&self.topic, partition as i32, Offset::Offset(offset as i64), REQUEST_TIMEOUT) {
                Ok(()) => break,
                // Just assigned: the partition's fetcher has not started yet.
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(self.error("positioning in", error)),
            }
        }
        self.consumer.resume(&self.list(&[partition])).map_err(|error| self.error("resuming", error))
    }

    fn list<'a>(&self, partitions: impl IntoIterator<Item = &'a Partition>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, *partition as i32);
        }
        list
    }

    /// What proves, at this moment, that the assigned partitions are ours.
    ///
    /// Read anew for every transaction: a rebalance can raise the generation without changing our partitions and without
    /// a callback. And checked, because after a lost session librdkafka answers with generation -1 or without a member
    /// id, and the coordinator takes such a transaction without checking anything.
    pub(super) fn lease(&self) -> Result<Lease, BackendError> {
        let lost = |why: &str| BackendError::Fenced(format!("the membership in the group is lost: {why}"));
        // SAFETY: the client lives as long as the consumer. The answer is ours to free.
        let native = unsafe { rd_kafka_consumer_group_metadata(self.consumer.client().native_ptr()) };
        let lease = Lease(NonNull::new(native).ok_or_else(|| lost("there is no member id"))?);
        if lease.generation() < 0 {
            return Err(lost("there is no generation"));
        }
        if lease.member_id().is_empty() {
            return Err(lost("the member id is empty"));
        }
        Ok(lease)
    }

    /// How many partitions a topic has.
    pub(super) fn partition_count(&self, topic: &str) -> Result<u32, BackendError> {
        match partition_count(self.consumer.client(), topic) {
            Ok(Some(count)) => Ok(count),
            Ok(None) => Err(LogError::NoTopic { topic: topic.to_owned() }.into()),
            Err(error) => {
                let doing = format!("asking for the partitions of topic `{topic}`");
                Err(log_errors::log_error(&self.kafka, &self.consumer.context().log, &doing, error).into())
            }
        }
    }

    /// The cluster's id.
    pub(super) fn cluster_id(&self) -> Result<String, BackendError> {
        self.consumer.client().fetch_cluster_id(REQUEST_TIMEOUT).ok_or_else(|| {
            // The reason lies in an event that nobody has served yet.
            ClientLog::serve(|| drop(self.consumer.poll(Duration::ZERO)));
            let log = &self.consumer.context().log;
            log_errors::unreachable_cluster(&self.kafka, log, "connecting", "timed out".to_owned()).into()
        })
    }

    fn error(&self, doing: &str, error: KafkaError) -> BackendError {
        let doing = format!("{doing} topic `{}`", self.topic);
        log_errors::log_error(&self.kafka, &self.consumer.context().log, &doing, error).into()
    }
}

/// A client's role in names that brokers log: `APP-0-consumer`.
pub(super) fn role(settings: &KafkaBackendSettings, role: &str) -> String {
    format!("{}-{}-{role}", settings.application_id, settings.shard)
}

/// The group's generation and our member id: without them a transaction is not ours to commit.
///
/// The crate has a type for it too, but one whose content can't be looked at; and what is checked must be what is sent.
pub(super) struct Lease(NonNull<rd_kafka_consumer_group_metadata_t>);

impl Lease {
    pub(super) fn as_ptr(&self) -> *const rd_kafka_consumer_group_metadata_t {
        self.0.as_ptr()
    }

    pub(super) fn generation(&self) -> i32 {
        // SAFETY: valid until dropped.
        unsafe { rd_kafka_consumer_group_metadata_generation_id(self.as_ptr()) }
    }

    pub(super) fn member_id(&self) -> String {
        // SAFETY: valid until dropped, and the member id is never null and ends with NUL.
        unsafe { CStr::from_ptr(rd_kafka_consumer_group_metadata_member_id(self.as_ptr())) }
            .to_string_lossy()
            .into_owned()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // SAFETY: ours, and not used afterwards.
        unsafe { rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

/// Takes part in rebalances. The callbacks run on the thread that polls.
#[derive(Default)]
struct Context {
    log: ClientLog,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// There is something in `rebalances`; looked at after each poll, so it must be cheap.
    changed: AtomicBool,
}

impl Context {
    fn note(&self, rebalance: Rebalance) {
        self.rebalances.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push_back(rebalance);
        self.changed.store(true, Ordering::Release);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(error, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<_> = list.elements().iter().map(|element| element.partition() as Partition).collect();
        let assigns = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let done = if assigns {
            // Where to start is known only after the restore; until then nothing is fetched. Not a logical offset such as
            // the end: librdkafka repeats its lookup 500 ms after a seek has overtaken it, and then jumps there, over
            // records. Where the topic begins is a real offset, and one that a stray fetch may ask for.
            begin_at_first(consumer, list)
                .and_then(|()| consumer.incremental_assign(list))
                .and_then(|()| consumer.pause(list))
        } else {
            // The callback only notes it. Nothing uncommitted can slip out afterwards: whoever commits looks at the
            // notes first.
            consumer.incremental_unassign(list)
        };
        if let Err(error) = done {
            tracing::warn!(%error, ?partitions, assigns, "a change of partitions did not work");
        }
        self.note(if assigns { Rebalance::Assigned(partitions) } else { Rebalance::Revoked(partitions) });
    }
}

/// Sets each partition's offset to the first one its topic holds; to 0 when nobody answers, since the group waits.
fn begin_at_first(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> KafkaResult<()> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let mut silent = false;
    for mut element in list.elements() {
        let mut first = 0;
        if !silent {
            match consumer.fetch_watermarks(element.topic(), element.partition(), PATIENCE) {
                Ok((low, _)) => first = low.max(0),
                Err(_) => silent = true,
            }
        }
        element.set_offset(Offset::Offset(first))?;
    }
    Ok(())
}
