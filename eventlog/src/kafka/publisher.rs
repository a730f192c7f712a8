//! Appends to topics: idempotent, acknowledged by all replicas in sync.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use tripline_schemas::Record;
use tripline_schemas::partition::partition_for;

use super::settings::RECORD_BYTES_MAX;
use super::{ClientLog, KafkaSettings, admin, errors, wire};
use crate::{LogError, Publisher};

/// How long a record may take until it is acknowledged; then the publish fails, and the caller tries again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Publishes to Kafka. Each record goes to the partition of its key, one without a key to partition 0.
pub struct KafkaPublisher {
    settings: KafkaSettings,
    /// None until first needed, and after a failure: a new one starts without the old one's leftovers.
    producer: Option<BaseProducer<Deliveries>>,
    /// Partition counts never change.
    partitions: HashMap<String, u32>,
}

impl KafkaPublisher {
    /// A publisher; connects when it first publishes.
    pub fn new(settings: KafkaSettings) -> Result<KafkaPublisher, LogError> {
        settings.client_config("publisher")?;
        Ok(KafkaPublisher { settings, producer: None, partitions: HashMap::new() })
    }

    fn producer(&mut self) -> Result<BaseProducer<Deliveries>, LogError> {
        if let Some(producer) = self.producer.take() {
            return Ok(producer);
        }
        let mut config = self.settings.producer_config("publisher")?;
        config
            .set("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
            // A lost record would leave those behind it in place. So that a failed publish has appended a prefix, a gap
            // is the end of the producer.
            .set("enable.gapless.guarantee", "true");
        config
            .create_with_context(Deliveries::default())
            .map_err(|error| errors::log_error(&self.settings, &ClientLog::default(), "creating a producer", error))
    }

    fn partition_count(&mut self, producer: &BaseProducer<Deliveries>, topic: &str) -> Result<u32, LogError> {
        if let Some(count) = self.partitions.get(topic) {
            return Ok(*count);
        }
        let doing = || format!("asking for the partitions of topic `{topic}`");
        let count = match admin::partition_count(producer.client(), topic) {
            Ok(count) => count.ok_or_else(|| LogError::NoTopic { topic: topic.to_owned() })?,
            Err(error) => {
                // The reason lies in an event that nobody has served yet.
                ClientLog::serve(|| producer.poll(Duration::ZERO));
                return Err(errors::log_error(&self.settings, &producer.context().log, &doing(), error));
            }
        };
        self.partitions.insert(topic.to_owned(), count);
        Ok(count)
    }

    fn send_all(
        &self,
        producer: &BaseProducer<Deliveries>,
        topic: &str,
        partitions: u32,
        records: &[Record],
    ) -> Result<(), LogError> {
        for (index, record) in records.iter().enumerate() {
            let partition = record.key.as_deref().map_or(0, |key| partition_for(key, partitions));
            let mut message: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(topic, index)
                .partition(partition as i32)
                .headers(wire::to_headers(&record.headers));
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            while let Err((error, unsent)) = producer.send(message) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(self.failure(producer, topic, record, error));
                }
                message = unsent;
                producer.poll(Duration::from_millis(10));
            }
        }
        // Not `flush`: it sleeps in steps of 100 ms. This ends, since every message is acknowledged or times out.
        while producer.in_flight_count() > 0 && !producer.context().failed() {
            producer.poll(Duration::from_millis(1));
        }
        match producer.context().take_failure() {
            None => Ok(()),
            Some((index, code)) => {
                Err(self.failure(producer, topic, &records[index], KafkaError::MessageProduction(code)))
            }
        }
    }

    fn failure(
        &self,
        producer: &BaseProducer<Deliveries>,
        topic: &str,
        record: &Record,
        error: KafkaError,
    ) -> LogError {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => LogError::TooLarge {
                topic: topic.to_owned(),
                size: wire::size(record),
                max: admin::record_bytes_max(&self.settings, topic).unwrap_or(RECORD_BYTES_MAX),
            },
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                LogError::NoTopic { topic: topic.to_owned() }
            }
            _ => {
                let doing = format!("publishing to topic `{topic}`");
                errors::log_error(&self.settings, &producer.context().log, &doing, error)
            }
        }
    }
}

impl Publisher for KafkaPublisher {
    fn publish(&mut self, topic: &str, records: &[Record]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let producer = self.producer()?;
        let partitions = self.partition_count(&producer, topic)?;
        self.send_all(&producer, topic, partitions, records)?;
        self.producer = Some(producer);
        Ok(())
    }
}

/// Notes the first record that could not be delivered.
#[derive(Default)]
pub(super) struct Deliveries {
    pub(super) log: ClientLog,
    failure: Mutex<Option<(usize, RDKafkaErrorCode)>>,
}

impl Deliveries {
    fn failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_some()
    }

    fn take_failure(&self) -> Option<(usize, RDKafkaErrorCode)> {
        self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
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

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert((index, code));
        }
    }
}
