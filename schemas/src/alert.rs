//! What a fired rule appends to the alerts topic.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Attributes};
use crate::run::display_name;
use crate::{DecodeError, Ending, Format, Record, RunId};

/// An alert, as JSON on the wire, with Wazuh 4's names where Wazuh has one.
///
/// Everything in it but `source` depends on the outputs and the rules alone: not on the log, the partition count, the
/// batch or the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Alert {
    /// When the run started (clamped, see `run.late`), in UTC: `2025-08-14T13:52:16.026+0000`, as Wazuh writes it.
    #[serde(with = "wazuh_time")]
    #[schemars(with = "String")]
    pub timestamp: Timestamp,
    /// 32 hex digits: a BLAKE3 hash of application id, agent, command, run id, line number and rule id.
    pub id: String,
    /// The rule that fired.
    pub rule: AlertRule,
    /// The monitored host.
    pub agent: AlertAgent,
    /// The command's alias, or its command line.
    pub command: String,
    /// `(agent) address->command`, or `host->command` for a collector without a configured address.
    pub location: String,
    /// Who understood the line: `ossec` for command outputs, `tripline` for lines about runs, else the decoder.
    pub decoder: AlertDecoder,
    /// What the decoder found in the line, by name: `srcip`, `dstuser`, `url`, and the names of its own fields. Absent for
    /// outputs of commands and for lines in which it found nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// The log line, capped (see `cut`); bytes that are not UTF-8 are shown as U+FFFD (see `not_utf8`).
    pub full_log: String,
    /// For `check_diff`: the text it was compared with, in the same form as `full_log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_output: Option<String>,
    /// For `check_diff`: which lines came and went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Diff>,
    /// How many times the rule was held back by its ignore timer since its last alert.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suppressed: u64,
    /// How many of those showed an output that had returned to the baseline in between.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub returned: u64,
    /// The run that was judged.
    pub run: AlertRun,
    /// The rule set that judged it.
    pub ruleset: AlertRuleSet,
    /// Texts that were cut to the cap: name of the field to its full size in bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut: BTreeMap<String, u64>,
    /// Fields in which bytes were not UTF-8 and are shown as U+FFFD.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_utf8: Vec<String>,
    /// The input record. The only part that differs between logs and partition counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// The rule of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AlertRule {
    /// The rule's id; text, as Wazuh writes it.
    pub id: String,
    /// 1 and up; 0 never alerts.
    pub level: u16,
    /// What the rule says. Absent when the rule has no description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The rule's groups.
    pub groups: Vec<String>,
    /// How many times this rule was the result for this agent and command, this one and held-back ones included.
    pub firedtimes: u64,
    /// Marked for mail: by the level, or by the rule's options.
    pub mail: bool,
}

/// The agent of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AlertAgent {
    /// The agent's name again: Tripline numbers no agents.
    pub id: String,
    /// The agent's name.
    pub name: String,
    /// Its address, when the collector has one configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

/// The decoder of an alert's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AlertDecoder {
    /// `ossec`, `tripline`, or the name of a decoder; empty when none understood the line.
    pub name: String,
}

/// The line difference between two texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Diff {
    /// Lines that are new, in their order.
    pub added: Vec<String>,
    /// Lines that are gone, in their order.
    pub removed: Vec<String>,
    /// Unified format, three lines of context, without file names.
    pub unified: String,
    /// The rule normalises outputs before it compares them: these are lines of the normalised ones, while `full_log` and
    /// `previous_output` are as the command printed them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub normalised: bool,
}

/// The run of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AlertRun {
    /// The run's id; look its raw output up with it. Absent for lines that are no run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RunId>,
    /// Which line of the run, from 1; 0 stands for the run as a whole.
    pub line: u32,
    /// What was executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// How the output became lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// When it started, by the collector's clock, before any clamping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::json_schema::Time>")]
    pub started: Option<Timestamp>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// The full size of the output in bytes, when only its beginning was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_from: Option<u64>,
    /// An earlier-started run of the same command was already judged, or the run reached the log much later than it
    /// started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// The run claimed to start later than the log's append time, and was judged at the append time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clamped: bool,
}

/// The rule set of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AlertRuleSet {
    /// 64 hex digits, the key of the rule set in the rule set topic.
    pub digest: String,
}

/// An input record's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Source {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Alert {
    /// The record to append to the alerts topic, keyed as its input.
    pub fn to_record(&self) -> Record {
        let headers = Attributes {
            kind: envelope::ALERT,
            id: &self.id,
            source: envelope::agent_source(&self.agent.name),
            subject: Some(&self.command),
            time: Some(self.timestamp),
            content_type: "application/json",
        };
        Record { key: Some(self.key()), value: Some(envelope::to_json(self)), headers: headers.to_headers() }
    }

    /// Reads a record of the alerts topic.
    pub fn from_record(record: &Record) -> Result<Alert, DecodeError> {
        envelope::expect_kind(record, envelope::ALERT)?;
        let alert: Alert = envelope::json(envelope::value(record)?)?;
        envelope::expect_key(record, &alert.key())?;
        Ok(alert)
    }

    /// `agent NUL command`.
    fn key(&self) -> Vec<u8> {
        [self.agent.name.as_bytes(), self.command.as_bytes()].join(&0)
    }
}

/// Where a line came from, as OSSEC shows it: `(agent) address->NAME`, or `agent->NAME` for an agent without a
/// configured address. NAME is [`display_name`] of the command.
pub fn location(agent: &str, address: Option<&str>, name: &str) -> String {
    let name = display_name(name);
    match address {
        Some(address) => format!("({agent}) {address}->{name}"),
        None => format!("{agent}->{name}"),
    }
}

/// `2025-08-14T13:52:16.026+0000`: milliseconds, and a zone without a colon.
mod wazuh_time {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", &text).map_err(serde::de::Error::custom)
    }
}
