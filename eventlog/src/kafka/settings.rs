//! Where the cluster is, and what is passed on to librdkafka.

use std::collections::BTreeMap;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use crate::LogError;

/// The largest record a client takes, in bytes. Far above every topic's own bound, which decides: this one only keeps
/// librdkafka's default of 1 MB out of the way.
pub const RECORD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Where a Kafka cluster is and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Brokers to contact first: `host:port`, several separated by commas.
    pub bootstrap: String,
    /// The name under which brokers log and meter this client.
    pub client_id: String,
    /// Passed to librdkafka as they are, for all clients: security, addresses, buffers, timeouts. The keys that
    /// delivery promises depend on are refused, see [`KafkaSettings::check`].
    pub properties: BTreeMap<String, String>,
}

/// Properties nobody may set, and why.
const PROTECTED: &[(&[&str], &str)] = &[
    (&["bootstrap.servers", "metadata.broker.list"], "set `bootstrap` instead"),
    (&["client.id"], "set `client_id` instead"),
    (
        &["group.id", "group.instance.id", "group.protocol", "group.remote.assignor"],
        "the application id names the group, and its members are named so that a restart does not move partitions",
    ),
    (&["partition.assignment.strategy"], "the processor's hand-over of partitions is built on `cooperative-sticky`"),
    (
        &["enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store"],
        "input positions are committed in the same transaction as what they produced",
    ),
    (&["auto.offset.reset"], "a lost position must be an error, never a silent jump over outputs"),
    (&["isolation.level"], "only committed records may be seen"),
    (&["enable.partition.eof"], "it tells when a partition is read to its end"),
    (&["check.crcs"], "damaged records must be noticed"),
    (&["transactional.id"], "it is made of the application id, so that a restart fences its predecessor"),
    (&["transaction.timeout.ms"], "it is a setting of the processor"),
    (
        &["message.timeout.ms", "delivery.timeout.ms"],
        "it must stay below the transaction timeout, and bounds how long a publisher waits",
    ),
    (
        &[
            "enable.idempotence",
            "enable.gapless.guarantee",
            "acks",
            "request.required.acks",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "retries",
            "message.send.max.retries",
        ],
        "without it records could be lost, doubled or out of order",
    ),
    (&["partitioner"], "a key must lie in the same partition for every client: murmur2, as Kafka's Java client"),
    (&["message.max.bytes", "batch.size"], "sizes follow from the largest output"),
];

impl KafkaSettings {
    /// Settings for these brokers, `host:port` separated by commas.
    pub fn new(bootstrap: impl Into<String>) -> KafkaSettings {
        KafkaSettings { bootstrap: bootstrap.into(), client_id: "tripline".to_owned(), properties: BTreeMap::new() }
    }

    /// Everything that is wrong with the properties, one sentence each: protected keys with the reason, and what
    /// librdkafka does not know or take.
    pub fn check(&self) -> Vec<String> {
        let protected = |key: &str| PROTECTED.iter().find(|(keys, _)| keys.contains(&key)).map(|(_, why)| *why);
        let mut wrong = Vec::new();
        for (key, value) in &self.properties {
            if let Some(why) = protected(key) {
                wrong.push(format!("Kafka property `{key}` can't be set: {why}"));
                continue;
            }
            match ClientConfig::new().set(key, value).create_native_config() {
                Err(KafkaError::ClientConfig(_, reason, ..)) => {
                    wrong.push(format!("Kafka property `{key}` can't be `{value}`: {reason}"));
                }
                Err(error) => wrong.push(format!("Kafka property `{key}` can't be `{value}`: {error}")),
                Ok(_) => {}
            }
        }
        wrong
    }

    /// The configuration of one client, whose `role` is appended to the client id. The caller adds what the role needs.
    pub fn client_config(&self, role: &str) -> Result<ClientConfig, LogError> {
        let wrong = self.check();
        if !wrong.is_empty() {
            return Err(LogError::Failed { what: wrong.join("; "), source: None });
        }
        let mut config = ClientConfig::new();
        // A broker that comes back should be noticed soon; librdkafka's default waits up to 10 s.
        config.set("reconnect.backoff.max.ms", "2000");
        config.set("socket.keepalive.enable", "true");
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.bootstrap);
        config.set("client.id", format!("{}-{role}", self.client_id));
        config.set_log_level(RDKafkaLogLevel::Info);
        Ok(config)
    }

    /// Adds what every producer needs: nothing lost, doubled or reordered, and Kafka's own partitioner.
    pub fn producer_config(&self, role: &str) -> Result<ClientConfig, LogError> {
        let mut config = self.client_config(role)?;
        let default = |config: &mut ClientConfig, key: &str, value: &str| {
            if !self.properties.contains_key(key) {
                config.set(key, value);
            }
        };
        default(&mut config, "compression.type", "zstd");
        default(&mut config, "linger.ms", "5");
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", RECORD_BYTES_MAX.to_string());
        Ok(config)
    }

    /// Adds what every consumer needs: committed and undamaged records only, and no moves behind our back.
    pub fn consumer_config(&self, role: &str, group: &str) -> Result<ClientConfig, LogError> {
        let mut config = self.client_config(role)?;
        if !self.properties.contains_key("fetch.queue.backoff.ms") {
            // librdkafka's default of 1 s stalls a consumer that is faster than its queue.
            config.set("fetch.queue.backoff.ms", "10");
        }
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true");
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(key: &str, value: &str) -> Vec<String> {
        let mut settings = KafkaSettings::new("localhost:9092");
        settings.properties.insert(key.to_owned(), value.to_owned());
        settings.check()
    }

    #[test]
    fn keys_that_exactly_once_depends_on_are_refused_with_the_reason() {
        assert_eq!(
            wrong("enable.idempotence", "false"),
            ["Kafka property `enable.idempotence` can't be set: without it records could be lost, doubled or out of \
                 order"]
        );
        for (keys, _) in PROTECTED {
            for key in *keys {
                assert_eq!(wrong(key, "x").len(), 1, "{key}");
            }
        }
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_refused() {
        let unknown = wrong("socket.timeot.ms", "1");
        assert!(unknown[0].starts_with("Kafka property `socket.timeot.ms` can't be `1`: "), "{unknown:?}");
        let impossible = wrong("socket.timeout.ms", "soon");
        assert!(impossible[0].contains("`socket.timeout.ms` can't be `soon`"), "{impossible:?}");
    }

    #[test]
    fn security_and_buffers_pass() {
        assert_eq!(wrong("security.protocol", "ssl"), [] as [&str; 0]);
        assert_eq!(wrong("queued.max.messages.kbytes", "1024"), [] as [&str; 0]);
    }
}
