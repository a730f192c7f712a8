//! `tripline.toml`: the comments of these structs are its manual. `TRIPLINE_...` variables override the file, flags
//! override both. This is the one place that reads the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use tripline_collector::{CommandSpec, Interval};
use tripline_eventlog::kafka::KafkaSettings;
use tripline_eventlog::topics::{Cleanup, TopicNames, TopicSpec};

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
    /// Rules of at least this level are written as alerts; `log_alert_level` in OSSEC.
    pub log_level: u16,
    /// Rules of at least this level are marked for mail; `email_alert_level` in OSSEC.
    pub mail_level: u16,
    /// Each text in an alert is cut to this many bytes, and says so.
    pub text_bytes_max: usize,
    /// Alerts are kept this long.
    pub keep: Interval,
}

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts { log_level: 1, mail_level: 7, text_bytes_max: 64 * 1024, keep: Interval::from_secs(90 * 86_400) }
    }
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

/// Where settings are looked for when no file is named; the first that is there counts.
const DEFAULT_FILES: [&str; 2] = ["tripline.toml", "/etc/tripline/tripline.toml"];
/// `TRIPLINE_` variables that are no settings: the mark of a collector's commands, and the tests' own.
const NOT_SETTINGS: [&str; 9] =
    ["RUN", "SHARED", "BLESS", "SEEDS", "KILLS", "CACHE", "SOAK_SECONDS", "RUNS", "FUZZ_SECONDS"];
const PREFIX: &str = "TRIPLINE_";

/// As Kafka has it.
const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Far beyond what one cluster does well with.
const PARTITIONS_MAX: u64 = 10_000;
/// The highest level that a rule can have.
const LEVEL_MAX: u64 = 16;
/// Of an alert's text: an alert of the largest size still fits into a record of its topic.
const TEXT_BYTES_MAX: u64 = 128 * 1024;

impl Settings {
    /// Reads the file (`None`: the default places), then the variables.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Settings> {
        let (path, text) = match file {
            Some(path) => (Some(path.to_owned()), read(path)?),
            None => match DEFAULT_FILES.map(Path::new).iter().find(|path| !is_missing(path)) {
                Some(path) => (Some((*path).to_owned()), read(path)?),
                None => (None, String::new()),
            },
        };
        let name = path.as_deref().map_or_else(|| "tripline.toml".to_owned(), |path| path.display().to_string());
        let mut settings = parse(&name, &text)?;
        #[allow(clippy::disallowed_methods)] // The one place.
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        settings = overlay(settings, &text, variables)?;
        if let Some(dir) = path.as_deref().and_then(Path::parent) {
            settings.resolve(dir);
        }
        settings.file = path;
        let wrong = settings.wrong();
        if !wrong.is_empty() {
            bail!("{name}: {}", wrong.join(&format!("\n{name}: ")));
        }
        Ok(settings)
    }

    /// Reads the same file again, or looks for one when there was none.
    pub fn again(&self) -> anyhow::Result<Settings> {
        Settings::load(self.file.as_deref())
    }

    /// Where the settings come from: their file, or those that are looked for.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.file {
            Some(file) => vec![file.clone()],
            None => DEFAULT_FILES.map(PathBuf::from).to_vec(),
        }
    }

    /// These settings, with the commands of others.
    pub fn with_commands_of(&self, other: &Settings) -> Settings {
        let (commands, command_files) = (other.commands.clone(), other.command_files.clone());
        Settings { commands, command_files, ..self.clone() }
    }

    /// The settings, such as `agent.name`, that have another value in `other`. What is said of commands does not count.
    pub fn differing(&self, other: &Settings) -> anyhow::Result<Vec<String>> {
        let table = |settings: &Settings| toml::Table::try_from(settings).context("comparing settings");
        let mut names = Vec::new();
        differing(&table(self)?, &table(other)?, "", &mut names);
        Ok(names)
    }

    /// What can't be as it is, though each value is of its type.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Err(error) = self.zone() {
            wrong.push(error.to_string());
        }
        let names = self.topic_names();
        let all = [&names.outputs, &names.alerts, &names.dead_letters, &names.rulesets, &names.changelog];
        for (at, name) in all.iter().enumerate() {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if !(1..=TOPIC_NAME_BYTES_MAX).contains(&name.len()) || !name.chars().all(is_plain) {
                wrong.push(format!(
                    "`{name}` can't name a topic: 1 to {TOPIC_NAME_BYTES_MAX} letters, digits, `.`, `_` and `-` can \
                     (`[topics]` and `application_id` make the names)"
                ));
            }
            if all[..at].contains(name) {
                wrong.push(format!("two topics are named `{name}` (`[topics]` and `application_id` make the names)"));
            }
        }
        let mut within = |setting: &str, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                wrong.push(format!("setting `{setting}` is {value}; it can be {min} to {max}"));
            }
        };
        within("topics.partitions", self.topics.partitions.unwrap_or(1).into(), 1, PARTITIONS_MAX);
        within("alerts.log_level", self.alerts.log_level.into(), 0, LEVEL_MAX);
        within("alerts.mail_level", self.alerts.mail_level.into(), 0, LEVEL_MAX);
        within("alerts.text_bytes_max", self.alerts.text_bytes_max as u64, 1, TEXT_BYTES_MAX);
        within("outputs.bytes_max", self.outputs.bytes_max as u64, 1, tripline_collector::OUTPUT_BYTES_MAX as u64);
        wrong.extend(
            self.kafka_settings(String::new()).check().into_iter().map(|what| format!("[kafka.properties]: {what}")),
        );
        wrong
    }

    fn kafka_settings(&self, bootstrap: String) -> KafkaSettings {
        let mut kafka = KafkaSettings::new(bootstrap);
        kafka.properties.clone_from(&self.kafka.properties);
        kafka
    }

    /// Paths in a settings file are relative to the file.
    fn resolve(&mut self, dir: &Path) {
        let Rules { dirs, decoders, lists, .. } = &mut self.rules;
        let rules = dirs.iter_mut().chain(decoders).chain(lists);
        let paths = rules.chain(&mut self.command_files).chain(&mut self.ossec_conf);
        for path in paths.chain([&mut self.data_dir]) {
            *path = dir.join(&*path);
        }
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

    /// What of the settings changes the answers of rules.
    pub fn engine(&self, partitions: u32) -> tripline_engine::Settings {
        tripline_engine::Settings {
            application_id: self.application_id.clone(),
            log_alert_level: self.alerts.log_level,
            email_alert_level: self.alerts.mail_level,
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

/// Whether there is no such file. One that this user may not look at is there: it can't be passed over.
fn is_missing(path: &Path) -> bool {
    path.try_exists().is_ok_and(|exists| !exists)
}

/// Reads a file of `[[command]]` tables alone.
pub fn load_commands(path: &Path) -> anyhow::Result<Vec<CommandSpec>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Commands {
        #[serde(default, rename = "command")]
        commands: Vec<CommandSpec>,
    }
    let text = read(path)?;
    let mut commands: Commands =
        toml::from_str(&text).map_err(|error| anyhow!("{}: {}", path.display(), explained(&error.to_string())))?;
    for (index, command) in commands.commands.iter_mut().enumerate() {
        command.origin = Some(format!("{}, command {}", path.display(), index + 1));
    }
    Ok(commands.commands)
}

/// Adds the names of values that differ, in order; `within` is the name of the table and a dot.
fn differing(one: &toml::Table, other: &toml::Table, within: &str, names: &mut Vec<String>) {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for key in keys {
        match (one.get(key), other.get(key)) {
            (Some(toml::Value::Table(one)), Some(toml::Value::Table(other))) => {
                differing(one, other, &format!("{within}{key}."), names);
            }
            (one, other) if one != other => names.push(format!("{within}{key}")),
            _ => {}
        }
    }
}

fn seconds(interval: Interval) -> u32 {
    u32::try_from(interval.0.as_secs()).unwrap_or(u32::MAX)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()))
}

fn parse(name: &str, text: &str) -> anyhow::Result<Settings> {
    toml::from_str(text).map_err(|error| anyhow!("{name}: {}", explained(&error.to_string())))
}

/// Puts `TRIPLINE_DATA_DIR`, `TRIPLINE_KAFKA__BOOTSTRAP` (two underscores between levels) over the file, one after the
/// other, so that a wrong one can be named.
fn overlay(file: Settings, text: &str, mut variables: Vec<(String, String)>) -> anyhow::Result<Settings> {
    variables.retain(|(name, _)| {
        name.strip_prefix(PREFIX).is_some_and(|rest| !NOT_SETTINGS.contains(&rest) && !rest.starts_with("TEST_"))
    });
    if variables.is_empty() {
        return Ok(file);
    }
    variables.sort();
    let mut table: toml::Table = text.parse().context("settings file")?;
    let mut settings = file;
    for (name, value) in variables {
        let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
        settings = [as_toml(&value), toml::Value::String(value.clone())]
            .into_iter()
            .map(|value| {
                let mut with = table.clone();
                put(&mut with, &path, value)?;
                let settings: Settings = with.clone().try_into().map_err(|e| anyhow!("{e}"))?;
                Ok((with, settings))
            })
            .reduce(|first: anyhow::Result<_>, second| first.or(second))
            .expect("two attempts")
            .map(|(with, settings)| {
                table = with;
                settings
            })
            .map_err(|error| anyhow!("variable {name}: {}", explained(&error.to_string())))?;
    }
    Ok(settings)
}

/// `true`, `5` and `["a"]` are taken as TOML, anything else as text.
fn as_toml(value: &str) -> toml::Value {
    format!("v = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()))
}

fn put(table: &mut toml::Table, path: &[String], value: toml::Value) -> anyhow::Result<()> {
    let [first, rest @ ..] = path else { bail!("it names no setting") };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return Ok(());
    }
    match table.entry(first.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new())) {
        toml::Value::Table(inner) => put(inner, rest, value),
        _ => bail!("`{first}` is no table"),
    }
}

/// Adds "did you mean" to serde's message about an unknown field.
fn explained(message: &str) -> String {
    let message = message.trim_end();
    let suggestion = message.split_once("unknown field `").and_then(|(_, rest)| {
        let (unknown, rest) = rest.split_once('`')?;
        let known = rest.split('`').skip(1).step_by(2);
        let (distance, best) =
            known.map(|known| (strsim::damerau_levenshtein(unknown, known), known)).min_by_key(|(d, _)| *d)?;
        (distance <= 3.max(unknown.len() / 3)).then(|| format!("\nhelp: did you mean `{best}`?"))
    });
    format!("{message}{}", suggestion.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_a_suggestion() {
        let error = parse("tripline.toml", "[alerts]\nmail_levle = 9\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("did you mean `mail_level`?"), "{error}");
    }

    #[test]
    fn an_ill_typed_value_is_refused_with_its_place() {
        let error = parse("tripline.toml", "[outputs]\nbytes_max = \"much\"\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let error = parse("tripline.toml", "[outputs]\nkeep = \"14 fortnights\"\n").unwrap_err().to_string();
        assert!(error.contains("is not a duration"), "{error}");
    }

    #[test]
    fn values_that_can_not_be_are_all_named() {
        let text = "time_zone = \"Mars\"\n[topics]\noutputs = \"a/b\"\npartitions = 0\n[alerts]\nlog_level = 17\n\
                    text_bytes_max = 3000000\n[kafka.properties]\n\"group.id\" = \"x\"\n";
        let wrong = parse("t", text).unwrap().wrong();
        let parts =
            ["Mars", "`a/b` can't name a topic", "topics.partitions", "log_level` is 17", "text_bytes_max", "group.id"];
        assert_eq!(wrong.len(), parts.len(), "{wrong:?}");
        for (wrong, part) in wrong.iter().zip(parts) {
            assert!(wrong.contains(part), "{wrong}");
        }
        assert!(Settings::default().wrong().is_empty());
    }

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

    #[test]
    fn variables_override_the_file_and_keep_the_rest() {
        let text = "data_dir = \"a\"\n[alerts]\nlog_level = 3\n";
        let variables = vars(&[
            ("TRIPLINE_DATA_DIR", "b"),
            ("TRIPLINE_ALERTS__MAIL_LEVEL", "9"),
            ("TRIPLINE_KAFKA__BOOTSTRAP", "[\"k:9092\"]"),
            ("TRIPLINE_AGENT__NAME", "42"),
            ("TRIPLINE_SHARED", "no setting"),
            ("TRIPLINE_TEST_KAFKA", "no setting"),
            ("PATH", "/bin"),
        ]);
        let settings = overlay(parse("t", text).unwrap(), text, variables).unwrap();
        assert_eq!(settings.data_dir, Path::new("b"));
        assert_eq!((settings.alerts.log_level, settings.alerts.mail_level), (3, 9));
        assert_eq!(settings.kafka.bootstrap, ["k:9092"]);
        assert_eq!(settings.agent.name.as_deref(), Some("42"), "a number is a fine name");
    }

    #[test]
    fn settings_that_differ_are_named_and_commands_are_left_out() {
        let one = parse("t", "data_dir = \"a\"\n[collector]\nsplay = 0.1\n").unwrap();
        let text = "data_dir = \"b\"\ncommand_files = [\"c\"]\n[agent]\nname = \"w\"\n[collector]\nsplay = 0.1\n\
                    stop_grace = \"3s\"\n[kafka.properties]\na = \"b\"\n[[command]]\ncommand = \"w\"\n";
        let names = one.differing(&parse("t", text).unwrap()).unwrap();
        assert_eq!(names, ["agent.name", "collector.stop_grace", "data_dir", "kafka.properties.a"]);
        assert_eq!(one.differing(&one).unwrap(), [""; 0]);
    }

    #[test]
    fn a_variable_that_is_no_setting_is_refused_by_name() {
        let error = overlay(Settings::default(), "", vars(&[("TRIPLINE_DATA_DIRR", "b")])).unwrap_err().to_string();
        assert!(error.contains("TRIPLINE_DATA_DIRR") && error.contains("did you mean `data_dir`?"), "{error}");
    }
}
