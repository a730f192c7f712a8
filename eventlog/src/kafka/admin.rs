//! Creates, describes and checks topics.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{ClientLog, KafkaSettings, REQUEST_TIMEOUT, errors};
use crate::LogError;
use crate::topics::{Cleanup, TopicSpec};

/// Kafka's own default bound of a topic, in bytes. The bound counts batches, and clients make batches of up to 1 MB: a
/// lower one would refuse batches of small records.
const BATCH_BYTES_MAX: usize = 1_048_588;

/// Room for a record's framing in a batch, in bytes.
const FRAMING_BYTES: usize = 4096;

/// A topic as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// On how many brokers each partition lies, the least of all partitions.
    pub replication: u32,
    /// Its configuration, defaults included.
    pub config: BTreeMap<String, String>,
}

/// Creates the topics that do not exist yet, and waits until all can be used. Returns the names of those created.
///
/// `replication` is the number of brokers that hold each partition; three or more is what a cluster in earnest has.
/// Topics that exist are left as they are, see [`check_topics`].
pub fn create_topics(settings: &KafkaSettings, specs: &[TopicSpec], replication: u32) -> Result<Vec<String>, LogError> {
    let cluster = Cluster::connect(settings)?;
    let configs: Vec<_> = specs.iter().map(|spec| config_of(spec, replication)).collect();
    let topics = specs.iter().zip(&configs).map(|(spec, config)| {
        let replication = TopicReplication::Fixed(replication as i32);
        let topic = NewTopic::new(&spec.name, spec.partitions as i32, replication);
        config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
    });
    let topics: Vec<NewTopic<'_>> = topics.collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let results = pollster::block_on(cluster.admin.create_topics(&topics, &options))
        .map_err(|error| cluster.error("creating topics", error))?;
    let mut created = Vec::new();
    for result in results {
        match result {
            Ok(name) => created.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                let doing = format!("creating topic `{name}` with {replication} replicas");
                return Err(cluster.error(&doing, KafkaError::AdminOp(code)));
            }
        }
    }
    for spec in specs {
        cluster.wait_for_leaders(&spec.name)?;
    }
    Ok(created)
}

/// What the cluster knows of these topics, in the order asked for. [`LogError::NoTopic`] when one is missing.
pub fn describe_topics(settings: &KafkaSettings, names: &[&str]) -> Result<Vec<TopicDescription>, LogError> {
    let cluster = Cluster::connect(settings)?;
    names.iter().map(|name| cluster.describe(name)?.ok_or(LogError::NoTopic { topic: (*name).to_owned() })).collect()
}

/// Where the cluster's topics differ from what they should be, one sentence each. Empty when all is well.
pub fn check_topics(settings: &KafkaSettings, specs: &[TopicSpec]) -> Result<Vec<String>, LogError> {
    let cluster = Cluster::connect(settings)?;
    let mut differences = Vec::new();
    for spec in specs {
        match cluster.describe(&spec.name)? {
            None => differences
                .push(format!("topic `{}` does not exist; create it with `tripline topics create`", spec.name)),
            Some(topic) => differences.extend(differences_of(spec, &topic)),
        }
    }
    Ok(differences)
}

/// How many partitions a topic has; None when there is no such topic.
pub fn partition_count<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<Option<u32>, KafkaError> {
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    loop {
        let metadata = client.fetch_metadata(Some(topic), REQUEST_TIMEOUT)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let error = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
        match (found, error) {
            (Some(found), None) if !found.partitions().is_empty() => return Ok(Some(found.partitions().len() as u32)),
            (None, _) | (_, Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                return Ok(None);
            }
            // A topic without leaders yet: just created, or a broker starts.
            (_, Some(code)) if code != RDKafkaErrorCode::LeaderNotAvailable => {
                return Err(KafkaError::MetadataFetch(code));
            }
            _ if Instant::now() > deadline => {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
            }
            _ => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The largest record a topic takes, in bytes; None when it can't be found out.
pub(super) fn record_bytes_max(settings: &KafkaSettings, topic: &str) -> Option<usize> {
    let cluster = Cluster::connect(settings).ok()?;
    cluster.describe(topic).ok()??.config.get("max.message.bytes")?.parse().ok()
}

/// What a topic is configured with.
fn config_of(spec: &TopicSpec, replication: u32) -> Vec<(&'static str, String)> {
    const DAY_MS: u64 = 86_400_000;
    let mut config = vec![
        ("max.message.bytes", message_bytes_max(spec).to_string()),
        // When the log took a record is what event times are held against; a producer's clock can't be.
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("min.insync.replicas", if replication >= 3 { "2" } else { "1" }.to_owned()),
    ];
    match spec.cleanup {
        Cleanup::Delete { age, bytes } => config.extend([
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", age.as_millis().to_string()),
            ("retention.bytes", bytes.map_or("-1".to_owned(), |bytes| bytes.to_string())),
        ]),
        Cleanup::Compact => config.extend([
            ("cleanup.policy", "compact".to_owned()),
            // A restore reads it all, so keep it short: clean often, in small segments.
            ("min.cleanable.dirty.ratio", "0.2".to_owned()),
            ("segment.bytes", (128 * 1024 * 1024).to_string()),
            ("max.compaction.lag.ms", DAY_MS.to_string()),
            // A processor whose local state is older than this rebuilds it: it may have missed removals.
            ("delete.retention.ms", (7 * DAY_MS).to_string()),
        ]),
    }
    config
}

fn message_bytes_max(spec: &TopicSpec) -> usize {
    (spec.record_bytes_max + FRAMING_BYTES).max(BATCH_BYTES_MAX)
}

fn differences_of(spec: &TopicSpec, topic: &TopicDescription) -> Vec<String> {
    let name = &spec.name;
    let mut differences = Vec::new();
    if topic.partitions != spec.partitions {
        differences.push(format!(
            "topic `{name}` has {} partitions instead of {}; the number is fixed for life, since keys would move",
            topic.partitions, spec.partitions
        ));
    }
    let at_least = |key: &str, wanted: u64, differences: &mut Vec<String>| {
        let found = topic.config.get(key).and_then(|value| value.parse::<u64>().ok());
        if found.is_none_or(|found| found < wanted) {
            let found = topic.config.get(key).map_or("nothing", String::as_str);
            differences.push(format!("topic `{name}` has `{key}` {found}; {wanted} or more is needed"));
        }
    };
    at_least("max.message.bytes", message_bytes_max(spec) as u64, &mut differences);
    for (key, wanted) in config_of(spec, topic.replication) {
        let must_equal = match key {
            "cleanup.policy" | "message.timestamp.type" => true,
            "retention.ms" | "retention.bytes" => matches!(spec.cleanup, Cleanup::Delete { .. }),
            // How a cluster is run is its owner's business.
            _ => false,
        };
        let found = topic.config.get(key).map_or("", String::as_str);
        if must_equal && found != wanted {
            differences.push(format!("topic `{name}` has `{key}` {found} instead of {wanted}"));
        }
    }
    differences
}

/// A connection for questions and commands about topics.
struct Cluster<'a> {
    settings: &'a KafkaSettings,
    /// For metadata: unlike the admin client it tells why nobody answers.
    probe: BaseConsumer<ClientLog>,
    admin: AdminClient<ClientLog>,
}

impl Cluster<'_> {
    fn connect(settings: &KafkaSettings) -> Result<Cluster<'_>, LogError> {
        let config = settings.client_config("admin")?;
        let failed = |error| errors::log_error(settings, &ClientLog::default(), "creating an admin client", error);
        let cluster = Cluster {
            settings,
            probe: config.create_with_context(ClientLog::default()).map_err(failed)?,
            admin: config.create_with_context(ClientLog::default()).map_err(failed)?,
        };
        // Says clearly that nobody answers, where there is nobody.
        let answer = cluster.probe.client().fetch_cluster_id(REQUEST_TIMEOUT);
        if answer.is_none() {
            ClientLog::serve(|| drop(cluster.probe.poll(Duration::ZERO)));
            let log = cluster.probe.context();
            return Err(errors::unreachable_cluster(settings, log, "connecting", "timed out".to_owned()));
        }
        Ok(cluster)
    }

    fn describe(&self, name: &str) -> Result<Option<TopicDescription>, LogError> {
        let doing = format!("describing topic `{name}`");
        let partitions = partition_count(self.probe.client(), name).map_err(|error| self.error(&doing, error))?;
        let Some(partitions) = partitions else {
            return Ok(None);
        };
        let metadata =
            self.probe.fetch_metadata(Some(name), REQUEST_TIMEOUT).map_err(|error| self.error(&doing, error))?;
        let replicas = metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|p| p.replicas().len() as u32);
        let replication = replicas.min().unwrap_or(0);
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let resource = ResourceSpecifier::Topic(name);
        let described = pollster::block_on(self.admin.describe_configs([&resource], &options))
            .map_err(|error| self.error(&doing, error))?;
        let mut config = BTreeMap::new();
        for resource in described {
            let resource = resource.map_err(|code| self.error(&doing, KafkaError::AdminOp(code)))?;
            config.extend(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))));
        }
        Ok(Some(TopicDescription { name: name.to_owned(), partitions, replication, config }))
    }

    fn wait_for_leaders(&self, name: &str) -> Result<(), LogError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let doing = format!("waiting for topic `{name}`");
        loop {
            let metadata =
                self.probe.fetch_metadata(Some(name), REQUEST_TIMEOUT).map_err(|error| self.error(&doing, error))?;
            let ready = metadata.topics().iter().any(|topic| {
                let partitions = topic.partitions();
                topic.error().is_none() && !partitions.is_empty() && partitions.iter().all(|p| p.leader() >= 0)
            });
            if ready {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.error(&doing, KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable)));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn error(&self, doing: &str, error: KafkaError) -> LogError {
        ClientLog::serve(|| drop(self.probe.poll(Duration::ZERO)));
        errors::log_error(self.settings, self.probe.context(), doing, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::TopicNames;

    fn described(spec: &TopicSpec) -> TopicDescription {
        let config = config_of(spec, 3).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        TopicDescription { name: spec.name.clone(), partitions: spec.partitions, replication: 3, config }
    }

    #[test]
    fn a_topic_made_as_it_should_be_shows_no_difference() {
        for spec in TopicNames::new("app").specs(12, 1024 * 1024) {
            assert_eq!(differences_of(&spec, &described(&spec)), [] as [&str; 0]);
        }
    }

    #[test]
    fn differences_are_told_in_words() {
        let spec = &TopicNames::new("app").specs(12, 1024 * 1024)[0];
        let mut topic = described(spec);
        topic.partitions = 3;
        topic.config.insert("max.message.bytes".to_owned(), "1000".to_owned());
        topic.config.insert("cleanup.policy".to_owned(), "compact".to_owned());
        topic.config.remove("retention.ms");
        assert_eq!(
            differences_of(spec, &topic),
            [
                "topic `tripline.outputs` has 3 partitions instead of 12; the number is fixed for life, since keys would \
                 move",
                "topic `tripline.outputs` has `max.message.bytes` 1000; 1314816 or more is needed",
                "topic `tripline.outputs` has `cleanup.policy` compact instead of delete",
                "topic `tripline.outputs` has `retention.ms`  instead of 1209600000",
            ]
        );
    }

    #[test]
    fn a_topic_takes_whole_batches_of_small_records() {
        for spec in TopicNames::new("app").specs(12, 1000) {
            assert!(message_bytes_max(&spec) >= 1_000_000, "{}", spec.name);
        }
    }
}
