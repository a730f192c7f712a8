//! `tripline.toml`: the comments of these structs are its manual. `TRIPLINE_...` variables override the file, flags
//! override both. Only `read` looks at the environment.

mod differing;
mod read;
mod wrong;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tripline_collector::ossec_conf::{AlertLevel, AlertLevels};
use tripline_collector::{CommandSpec, Interval};
use tripline_eventlog::kafka::KafkaSettings;
use tripline_eventlog::topics::{Cleanup, TopicNames, TopicSpec};

pub use read::load_commands;

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Names this installation: consumer group, transactional id, state directory, changelog topic, and part of every
    /// alert's id.
    pub application_id: String,
    /// Directory of the embedded log, of state and of the spool.
    pub data_dir: PathBuf,
    /// Where the clock stands that `time` and `weekday` of rules mean, such as `Europe/Berlin`; without it, rules with
    /// these are an error. Also the time zone for times in text output, which is UTC when not set.
    pub time_zone: Option<String>,
    /// An OSSEC configuration: commands come from its `<localfile>` blocks, in addition to `[[command]]`, and rule files
    /// in the order of its `<rules>`.
    pub ossec_conf: Option<PathBuf>,
    pub agent: Agent,
    pub rules: Rules,
    pub lint: Lint,
    pub collector: tripline_collector::Settings,
    pub outputs: Outputs,
    pub alerts: Alerts,
    pub socket: Socket,
    pub topics: Topics,
    pub kafka: Kafka,
    /// Files of `[[command]]` tables to run in addition; `--commands` takes their place.
    #[serde(skip_serializing)]
    pub command_files: Vec<PathBuf>,
    /// The commands to run.
    #[serde(rename = "command", skip_serializing)]
    pub commands: Vec<CommandSpec>,
    /// The file that all this was read from, if any.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            application_id: "tripline".to_owned(),
            data_dir: PathBuf::from("tripline-data"),
            time_zone: None,
            ossec_conf: None,
            agent: Agent::default(),
            rules: Rules::default(),
            lint: Lint::default(),
            collector: tripline_collector::Settings::default(),
            outputs: Outputs::default(),
            alerts: Alerts::default(),
            socket: Socket::default(),
            topics: Topics::default(),
            kafka: Kafka::default(),
            command_files: Vec::new(),
            commands: Vec::new(),
            file: None,
        }
    }
}

/// Who this machine is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// Its name in keys and alerts; the host name when not set.
    pub name: Option<String>,
    /// Its address; makes alerts say `(name) address->command`.
    pub address: Option<String>,
}

/// Where rules come from.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Directories or files. In a directory, `*.xml` load in name order, `local_rules.xml` last.
    pub dirs: Vec<PathBuf>,
    /// Which of the shipped rules to load first. By default all when nothing else is named, else none.
    pub shipped: Option<Shipped>,
    /// What to do with rules whose parent is missing.
    pub orphans: Orphans,
    /// Decoder files, or directories of them, for lines that are no command's output. In a directory, `*.xml` load in
    /// name order, `local_decoder.xml` last.
    pub decoders: Vec<PathBuf>,
    /// Text lists that rules look up, or directories of them. Those beside the rule files are found without it.
    pub lists: Vec<PathBuf>,
}

/// What `tripline check` says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lint {
    /// Codes of warnings that it says nothing of, such as `TL0601`.
    pub allow: Vec<String>,
}

/// Which of the shipped rules to load: `true`, `false` or `"runs"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "ShippedValue", rename_all = "snake_case")]
pub enum Shipped {
    /// All.
    All,
    /// Those for lines about runs: beside OSSEC's own rules, whose ids the others have.
    Runs,
    /// None.
    None,
}

/// The setting as it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum ShippedValue {
    Flag(bool),
    Word(String),
}

impl TryFrom<ShippedValue> for Shipped {
    type Error = String;

    fn try_from(value: ShippedValue) -> Result<Shipped, String> {
        match value {
            ShippedValue::Flag(true) => Ok(Shipped::All),
            ShippedValue::Flag(false) => Ok(Shipped::None),
            ShippedValue::Word(word) if word == "runs" => Ok(Shipped::Runs),
            ShippedValue::Word(word) => Err(format!("`{word}` is none of true, false and \"runs\"")),
        }
    }
}

/// What to do with rules whose parent is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Orphans {
    /// Refuse the rule set.
    #[default]
    Error,
    /// Set such rules aside, and list them.
    Warn,
}

/// Raw outputs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outputs {
    /// An output is cut to this many bytes, and says so.
    pub bytes_max: usize,
    /// Outputs are kept this long.
    pub keep: Interval,
    /// A start time later than the append time by more than this is clamped to it.
    pub clock_skew_max: Interval,
    /// A run that reached the log this long after its end is marked late.
    pub late_after: Interval,
}

impl Default for Outputs {
    fn default() -> Outputs {
        Outputs {
            bytes_max: 1024 * 1024,
            keep: Interval::from_secs(14 * 86_400),
            clock_skew_max: Interval::from_secs(60),
            late_after: Interval::from_secs(300),
        }
    }
}

/// Alerts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Rules of at least this level are written as alerts; `log_alert_level` in OSSEC, whose configuration is asked when
    /// this is not set. 1 when neither says.
    pub log_level: Option<u16>,
    /// Rules of at least this level are marked for mail; `email_alert_level` in OSSEC, likewise. 7 when neither says.
    pub mail_level: Option<u16>,
    /// Each text in an alert is cut to this many bytes, and says so.
    pub text_bytes_max: usize,
    /// Alerts are kept this long.
    pub keep: Interval,
}

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts { log_level: None, mail_level: None, text_bytes_max: 64 * 1024, keep: Interval::from_secs(90 * 86_400) }
    }
}

/// Who may ask a running Tripline on this machine, beside the user that it runs as and root.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Socket {
    /// The members of this group; nobody when not set.
    pub group: Option<String>,
    /// What they may.
    pub group_may: GroupMay,
}

/// What the members of the socket's group may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMay {
    /// Look: alerts, outputs, state.
    #[default]
    Read,
    /// Append too: import outputs, give orders such as `state forget`.
    Write,
}

/// Names of topics, and their partition counts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topics {
    /// Raw outputs; `tripline.outputs` when not set.
    pub outputs: Option<String>,
    /// Alerts; `tripline.alerts` when not set.
    pub alerts: Option<String>,
    /// Records that could not be decoded; `tripline.dead-letters` when not set.
    pub dead_letters: Option<String>,
    /// Rule sets; `tripline.rulesets` when not set.
    pub rulesets: Option<String>,
    /// How many partitions new topics get: 12 on Kafka and 1 in the embedded log when not set. Fixed for life.
    pub partitions: Option<u32>,
}

/// The Kafka cluster.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// Use Kafka instead of the embedded log.
    pub enabled: bool,
    /// Brokers to contact first, as `host:port`.
    pub bootstrap: Vec<String>,
    /// On how many brokers `topics create` puts each partition.
    pub replication: u32,
    /// Passed to librdkafka as it is; the keys that exactly-once depends on are refused.
    pub properties: BTreeMap<String, String>,
}

impl Default for Kafka {
    fn default() -> Kafka {
        Kafka { enabled: false, bootstrap: Vec::new(), replication: 3, properties: BTreeMap::new() }
    }
}

impl Settings {
    fn kafka_settings(&self, bootstrap: String) -> KafkaSettings {
        let mut kafka = KafkaSettings::new(bootstrap);
        kafka.properties.clone_from(&self.kafka.properties);
        kafka
    }

    /// This machine's name in keys and alerts.
    pub fn agent_name(&self) -> anyhow::Result<String> {
        if let Some(name) = &self.agent.name {
            tripline_schemas::key::check_agent(name).context("setting `agent.name`")?;
            return Ok(name.clone());
        }
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let short = name.split('.').next().unwrap_or_default();
        if short.is_empty() {
            bail!("this host has no name: set `agent.name` in tripline.toml");
        }
        Ok(short.to_owned())
    }

    /// The time zone of times in text output.
    pub fn zone(&self) -> anyhow::Result<jiff::tz::TimeZone> {
        match &self.time_zone {
            None => Ok(jiff::tz::TimeZone::UTC),
            Some(name) => jiff::tz::TimeZone::get(name)
                .with_context(|| format!("setting `time_zone`: `{name}` is no time zone, such as `Europe/Berlin`")),
        }
    }

    /// The names of the topics.
    pub fn topic_names(&self) -> TopicNames {
        let mut names = TopicNames::new(&self.application_id);
        let set = |name: &mut String, setting: &Option<String>| {
            if let Some(setting) = setting {
                name.clone_from(setting);
            }
        };
        set(&mut names.outputs, &self.topics.outputs);
        set(&mut names.alerts, &self.topics.alerts);
        set(&mut names.dead_letters, &self.topics.dead_letters);
        set(&mut names.rulesets, &self.topics.rulesets);
        names
    }

    /// What each topic needs, with this many partitions unless a setting says otherwise.
    pub fn topic_specs(&self, partitions: u32) -> Vec<TopicSpec> {
        let names = self.topic_names();
        let mut specs = names.specs(self.topics.partitions.unwrap_or(partitions), self.outputs.bytes_max);
        for spec in &mut specs {
            let keep = match &spec.name {
                name if *name == names.outputs => self.outputs.keep,
                name if *name == names.alerts => self.alerts.keep,
                _ => continue,
            };
            if let Cleanup::Delete { age, .. } = &mut spec.cleanup {
                *age = keep.0;
            }
        }
        specs
    }

    /// The brokers that flags or settings name.
    pub fn kafka(&self, brokers: Option<&str>) -> anyhow::Result<KafkaSettings> {
        let bootstrap = match brokers {
            Some(brokers) if !brokers.is_empty() => brokers.to_owned(),
            _ => self.kafka.bootstrap.join(","),
        };
        if bootstrap.is_empty() {
            bail!("no Kafka brokers are named: write --kafka HOST:PORT, or set `kafka.bootstrap` in tripline.toml");
        }
        Ok(self.kafka_settings(bootstrap))
    }

    /// What of the settings changes the answers of rules. `conf` are the levels that OSSEC's configuration has for alerts.
    pub fn engine(&self, partitions: u32, conf: AlertLevels) -> tripline_engine::Settings {
        let default = tripline_engine::Settings::default();
        let level = |set: Option<u16>, conf: Option<AlertLevel>| set.or(conf.map(|said| said.level));
        tripline_engine::Settings {
            application_id: self.application_id.clone(),
            log_alert_level: level(self.alerts.log_level, conf.log).unwrap_or(default.log_alert_level),
            email_alert_level: level(self.alerts.mail_level, conf.mail).unwrap_or(default.email_alert_level),
            alert_text_bytes_max: self.alerts.text_bytes_max,
            clock_skew_seconds_max: seconds(self.outputs.clock_skew_max),
            late_after_seconds: seconds(self.outputs.late_after),
            time_zone: self.time_zone.clone(),
            partitions,
        }
    }

    /// How many partitions a new outputs topic gets.
    pub fn partitions(&self, on_kafka: bool) -> u32 {
        self.topics.partitions.unwrap_or(match on_kafka {
            true => crate::topics::PARTITIONS_KAFKA,
            false => crate::topics::PARTITIONS_EMBEDDED,
        })
    }
}

fn seconds(interval: Interval) -> u32 {
    u32::try_from(interval.0.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::read::parse;
    use super::*;

    #[test]
    fn the_shipped_rules_can_be_all_none_or_those_for_runs() {
        let shipped =
            |value| parse("t", &format!("[rules]\nshipped = {value}\n")).map(|settings| settings.rules.shipped);
        assert_eq!(shipped("true").unwrap(), Some(Shipped::All));
        assert_eq!(shipped("false").unwrap(), Some(Shipped::None));
        assert_eq!(shipped("\"runs\"").unwrap(), Some(Shipped::Runs));
        let error = shipped("\"run\"").unwrap_err().to_string();
        assert!(error.contains("`run` is none of true, false and \"runs\""), "{error}");
    }
}
