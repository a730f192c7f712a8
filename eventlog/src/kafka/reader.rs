//! Reads a topic from chosen offsets: committed records only, without a group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::{ClientLog, KafkaSettings, REQUEST_TIMEOUT, admin, errors, wire};
use crate::{Bounds, LogError, Reader, Stored};

/// Reads one topic.
pub struct KafkaReader {
    settings: KafkaSettings,
    topic: String,
    partitions: u32,
    consumer: BaseConsumer<ClientLog>,
    positions: BTreeMap<u32, Position>,
    /// Positions were set since the consumer was last told. It is told when it reads: one assignment sets them all, and
    /// drops what was fetched for the old ones.
    moved: bool,
    /// Records came before it; told by the next read.
    failure: Option<LogError>,
}

/// Where a partition is read next.
struct Position {
    next: u64,
    /// The partition's end when the position was set. An end of partition seen since then lies at or behind it, however
    /// many of the last offsets hold transaction markers instead of records.
    end_when_set: u64,
}

impl KafkaReader {
    /// A reader of a topic. Nothing is positioned yet.
    pub fn open(settings: &KafkaSettings, topic: &str) -> Result<KafkaReader, LogError> {
        // librdkafka wants a group before it assigns; it is never joined, and nothing is committed to it.
        let mut config = settings.consumer_config("reader", "tripline-reader")?;
        config.set("enable.partition.eof", "true");
        let consumer: BaseConsumer<ClientLog> = config
            .create_with_context(ClientLog::default())
            .map_err(|error| errors::log_error(settings, &ClientLog::default(), "creating a consumer", error))?;
        let mut reader = KafkaReader {
            settings: settings.clone(),
            topic: topic.to_owned(),
            partitions: 0,
            consumer,
            positions: BTreeMap::new(),
            moved: false,
            failure: None,
        };
        let count = admin::partition_count(reader.consumer.client(), topic);
        let count = count.map_err(|error| reader.error("asking for the partitions of", error))?;
        reader.partitions = count.ok_or_else(|| LogError::NoTopic { topic: topic.to_owned() })?;
        Ok(reader)
    }

    fn watermarks(&self, partition: u32) -> Result<Bounds, LogError> {
        // Asked by a client that reads committed records, so the end is that of the committed ones.
        let (first, end) = self
            .consumer
            .fetch_watermarks(&self.topic, partition as i32, REQUEST_TIMEOUT)
            .map_err(|error| self.error("asking for the bounds of", error))?;
        Ok(Bounds { first: first.max(0) as u64, end: end.max(0) as u64 })
    }

    fn assign(&mut self) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        for (partition, position) in &self.positions {
            list.add_partition_offset(&self.topic, *partition as i32, Offset::Offset(position.next as i64))
                .map_err(|error| self.error("positioning in", error))?;
        }
        self.consumer.assign(&list).map_err(|error| self.error("positioning in", error))?;
        self.moved = false;
        Ok(())
    }

    fn position_lost(&self, error: KafkaError) -> LogError {
        for (&partition, position) in &self.positions {
            match self.watermarks(partition) {
                Err(error) => return error,
                Ok(bounds) if position.next < bounds.first || position.next > bounds.end => {
                    return self.out_of_range(partition, position.next, bounds);
                }
                Ok(_) => {}
            }
        }
        self.error("reading", error)
    }

    fn out_of_range(&self, partition: u32, offset: u64, Bounds { first, end }: Bounds) -> LogError {
        LogError::OutOfRange { topic: self.topic.clone(), partition, offset, first, end }
    }

    fn error(&self, doing: &str, error: KafkaError) -> LogError {
        if errors::code(&error).is_some_and(errors::is_silence) && self.positions.is_empty() {
            // The reason lies in an event that may not have been served yet; with nothing assigned, no record is lost.
            ClientLog::serve(|| drop(self.consumer.poll(Duration::ZERO)));
        }
        let doing = format!("{doing} topic `{}`", self.topic);
        errors::log_error(&self.settings, self.consumer.context(), &doing, error)
    }
}

impl Reader for KafkaReader {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn bounds(&mut self, partition: u32) -> Result<Bounds, LogError> {
        let bounds = self.watermarks(partition)?;
        if let Some(position) = self.positions.get_mut(&partition) {
            position.end_when_set = bounds.end;
            self.moved = true;
        }
        Ok(bounds)
    }

    fn offset_at(&mut self, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        let mut list = TopicPartitionList::new();
        let millis = Offset::Offset(time.as_millisecond().max(0));
        list.add_partition_offset(&self.topic, partition as i32, millis)
            .map_err(|error| self.error("looking up a time in", error))?;
        let found = self
            .consumer
            .offsets_for_times(list, REQUEST_TIMEOUT)
            .map_err(|error| self.error("looking up a time in", error))?;
        match found.elements().first().map(|element| (element.error(), element.offset())) {
            Some((Ok(()), Offset::Offset(offset))) => Ok(offset.max(0) as u64),
            Some((Err(error), _)) => Err(self.error("looking up a time in", error)),
            _ => Ok(self.watermarks(partition)?.end),
        }
    }

    fn seek(&mut self, partition: u32, offset: u64) -> Result<(), LogError> {
        let bounds = self.watermarks(partition)?;
        if offset < bounds.first || offset > bounds.end {
            return Err(self.out_of_range(partition, offset, bounds));
        }
        self.positions.insert(partition, Position { next: offset, end_when_set: bounds.end });
        self.moved = true;
        self.failure = None;
        Ok(())
    }

    fn position(&self, partition: u32) -> Option<u64> {
        self.positions.get(&partition).map(|position| position.next)
    }

    fn read(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.moved {
            self.assign()?;
        }
        let deadline = Instant::now() + wait;
        let mut records = Vec::new();
        while records.len() < max {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(if records.is_empty() { left } else { Duration::ZERO }) {
                Some(Ok(message)) => {
                    let stored = wire::to_stored(&message);
                    if let Some(position) = self.positions.get_mut(&stored.partition) {
                        position.next = stored.offset + 1;
                        records.push(stored);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    let Some(position) = self.positions.get_mut(&(partition as u32)) else { continue };
                    if position.next < position.end_when_set {
                        position.next = position.end_when_set;
                        // Somebody who reads to the end has arrived.
                        break;
                    }
                }
                Some(Err(error)) => {
                    let failure = match errors::code(&error) {
                        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                            self.position_lost(error)
                        }
                        _ => self.error("reading", error),
                    };
                    if records.is_empty() {
                        return Err(failure);
                    }
                    self.failure = Some(failure);
                    break;
                }
                None if records.is_empty() && Instant::now() < deadline => {}
                None => break,
            }
        }
        Ok(records)
    }
}
