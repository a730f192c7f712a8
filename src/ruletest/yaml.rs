//! A rule test file as it is written. Types only; [`super::load`] checks what they say together.
//!
//! Unknown keys are refused, since a misspelt expectation would be one that can't fail.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_saphyr::Spanned;
use tripline_collector::Interval;
use tripline_schemas::Format;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Rule files, directories and patterns, relative to this file, in load order; or the word `shipped`.
    pub rules: Vec<Spanned<String>>,
    /// Decoder files, likewise.
    #[serde(default)]
    pub decoders: Vec<Spanned<String>>,
    /// Lists that the rules look up, and directories of lists. Those beside the rule files are found without it.
    #[serde(default)]
    pub lists: Vec<Spanned<String>>,
    /// Where the clock of `time` and `weekday` stands, such as `Europe/Berlin`; without it rules with these are an error.
    pub time_zone: Option<String>,
    /// Rules of at least this level are written as alerts, as `log_alert_level` of OSSEC; 1 when not set.
    pub log_level: Option<u16>,
    /// What holds for every test that does not say otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// The tests.
    pub tests: Vec<Test>,
}

/// What steps don't have to repeat.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    pub agent: Option<String>,
    pub address: Option<String>,
    pub command: Option<String>,
    pub format: Option<Format>,
    /// When the test starts, in RFC 3339.
    pub start: Option<Timestamp>,
}

/// One test: steps in the order of time, with a state of its own that starts empty.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub name: Spanned<String>,
    /// Before those of the file.
    #[serde(default)]
    pub defaults: Defaults,
    pub steps: Vec<Spanned<Step>>,
    /// Rule to how many alerts it must have given when the test ends.
    #[serde(default)]
    pub expect_total: BTreeMap<u32, Spanned<u64>>,
    /// Rules that must not be the result of anything, not even a silent one.
    #[serde(default)]
    pub never: Vec<Spanned<u32>>,
}

/// One thing that happens, and what must follow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When, since the start of the test; when absent, when the step before happened.
    pub at: Option<Spanned<Interval>>,
    pub repeat: Option<Spanned<Repeat>>,
    pub agent: Option<String>,
    pub address: Option<String>,
    pub command: Option<Spanned<String>>,
    pub format: Option<Spanned<Format>>,
    /// Names the collector that ran it, for agents under whose name two of them speak.
    pub spool: Option<Spanned<String>>,

    // What a run printed.
    pub output: Option<Spanned<String>>,
    pub file: Option<Spanned<String>>,
    pub same_as: Option<Spanned<usize>>,
    pub truncated_from: Option<Spanned<u64>>,
    pub stderr: Option<Spanned<String>>,
    /// How long it took; when absent, a run that timed out took its limit, and others no time.
    pub duration: Option<Spanned<Interval>>,
    // How it ended, when not with exit code 0.
    pub exit_code: Option<Spanned<i32>>,
    pub signal: Option<Spanned<i32>>,
    pub timed_out: Option<Spanned<Interval>>,
    pub interrupted: Option<Spanned<bool>>,
    pub not_started: Option<Spanned<String>>,

    // What is no run.
    pub log: Option<Spanned<String>>,
    pub location: Option<Spanned<String>>,
    pub gap: Option<Spanned<u64>>,
    pub forget: Option<Spanned<Forget>>,

    /// When absent, anything may follow.
    #[serde(default, deserialize_with = "given")]
    pub expect: Option<Spanned<Expect>>,
}

/// The same step several times.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    pub times: u32,
    pub every: Interval,
}

/// A person's order to forget what is remembered of the command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// Of this rule alone.
    pub rule: Option<Spanned<u32>>,
}

/// What must follow from a step.
#[derive(Debug)]
pub enum Expect {
    /// The word `none`: no alert.
    None,
    /// These alerts, in this order, and no others.
    Alerts(Vec<Spanned<Alert>>),
    /// Alerts, and results that are none.
    Results(Results),
}

/// Results of a step, alerts or not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// None when absent.
    #[serde(default)]
    pub alerts: Vec<Spanned<Alert>>,
    /// Rules that were held back by their ignore timer, in this order, and no others.
    pub suppressed: Option<Spanned<OneOrMany<Suppressed>>>,
    /// Rules that took a line without an alert: level 0, or not logged.
    pub silent: Option<Spanned<OneOrMany<u32>>>,
}

/// A rule that was held back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suppressed {
    pub rule: Spanned<u32>,
    /// When its timer ends, since the start of the test.
    pub until: Option<Spanned<Interval>>,
}

/// An alert. Only the fields that are named are compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    pub rule: Option<Spanned<u32>>,
    pub level: Option<Spanned<u16>>,
    #[serde(rename = "level__gte")]
    pub level_gte: Option<Spanned<u16>>,
    pub description: Option<Spanned<String>>,
    #[serde(rename = "description__contains")]
    pub description_contains: Option<Spanned<String>>,
    pub groups: Option<Spanned<Vec<String>>>,
    #[serde(rename = "groups__contains")]
    pub groups_contains: Option<Spanned<String>>,
    pub agent: Option<Spanned<String>>,
    pub location: Option<Spanned<String>>,
    pub mail: Option<Spanned<bool>>,
    pub firedtimes: Option<Spanned<u64>>,
    pub full_log: Option<Spanned<String>>,
    #[serde(rename = "full_log__contains")]
    pub full_log_contains: Option<Spanned<String>>,
    pub previous_output: Option<Spanned<String>>,
    #[serde(rename = "previous_output__contains")]
    pub previous_output_contains: Option<Spanned<String>>,
    pub diff: Option<Spanned<Diff>>,
    pub suppressed: Option<Spanned<u64>>,
    pub returned: Option<Spanned<u64>>,
}

/// Which lines came and went.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diff {
    pub added: Option<Spanned<Vec<String>>>,
    pub removed: Option<Spanned<Vec<String>>>,
}

/// One, or a list.
#[derive(Debug)]
pub struct OneOrMany<T>(pub Vec<T>);

/// A key with nothing behind it is a mistake, not an absent key.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Expect, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Expect;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none`, a list of alerts, or a mapping with `alerts`, `suppressed` and `silent`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Expect, E> {
                match text {
                    "none" => Ok(Expect::None),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Expect, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Expect::Alerts)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expect, A::Error> {
                Results::deserialize(MapAccessDeserializer::new(map)).map(Expect::Results)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Any<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one, or a list")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                T::deserialize(number.into_deserializer()).map(|one| OneOrMany(vec![one]))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                T::deserialize(number.into_deserializer()).map(|one| OneOrMany(vec![one]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMany(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
            }
        }
        deserializer.deserialize_any(Any(PhantomData))
    }
}
