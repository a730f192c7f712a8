//! How far a consumer group has come, asked from outside: the group is not joined.

use std::collections::BTreeMap;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{ClientLog, KafkaSettings, REQUEST_TIMEOUT, errors};
use crate::LogError;

/// The committed positions of a group in one topic.
pub struct GroupPositions {
    settings: KafkaSettings,
    consumer: BaseConsumer<ClientLog>,
    group: String,
    topic: String,
    partitions: u32,
}

impl GroupPositions {
    /// Positions of `group` in `topic`, which has so many partitions.
    pub fn open(
        settings: &KafkaSettings,
        group: &str,
        topic: &str,
        partitions: u32,
    ) -> Result<GroupPositions, LogError> {
        let config = settings.consumer_config("positions", group)?;
        let consumer = config
            .create_with_context(ClientLog::default())
            .map_err(|error| errors::log_error(settings, &ClientLog::default(), "creating a consumer", error))?;
        let (group, topic) = (group.to_owned(), topic.to_owned());
        Ok(GroupPositions { settings: settings.clone(), consumer, group, topic, partitions })
    }

    /// By partition: the first offset that is not done with. A partition of which nothing is committed is absent.
    pub fn committed(&self) -> Result<BTreeMap<u32, u64>, LogError> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition(&self.topic, partition as i32);
        }
        let doing = || format!("asking for the positions of group `{}` in topic `{}`", self.group, self.topic);
        let error = |error| errors::log_error(&self.settings, self.consumer.context(), &doing(), error);
        let found = self.consumer.committed_offsets(list, REQUEST_TIMEOUT).map_err(error)?;
        let mut committed = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(error)?;
            if let rdkafka::Offset::Offset(offset) = element.offset() {
                committed.insert(element.partition() as u32, offset.max(0) as u64);
            }
        }
        Ok(committed)
    }
}
