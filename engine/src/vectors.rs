//! Conformance vectors: what the real OSSEC answered, against what this engine answers.
//!
//! A vector file is a JSON list of cases. Each has rules, events (in order, by arrival time) and, per event, what the
//! daemon recorded; or no answers at all, when it refused the rules. [`run`] loads each case's rules, feeds its events
//! to [`RuleSet::explain`] and [`RuleSet::evaluate`] with an empty memory of its own, and names the first difference.
//!
//! Two differences are no differences: OSSEC strips control characters from the text before, and answers that are no
//! alert (no rule, level 0, held back) count as the same unless the case tells them apart.

mod differences;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use jiff::Timestamp;
use serde::Deserialize;
use tripline_schemas::Key;
use tripline_schemas::alert::Alert;

use crate::decision::{Decision, Input, LineDecision, LineFields, LogLine, Verdict};
use crate::decoder::KnownField;
use crate::finding::codes;
use crate::load::CompileInputs;
use crate::memory_state::MemoryState;
use crate::ruleset::{RuleSet, Settings};
use crate::source::SourceFile;

pub use differences::{Difference, Standing, differences, judge};

/// The name of the machine on which the vectors were recorded, for events without an agent.
const MANAGER: &str = "manager";
/// The location of events that name none.
const LOCATION: &str = "oracle";

/// A file of vectors can't be read.
#[derive(Debug, thiserror::Error)]
#[error("not a list of conformance cases")]
pub struct VectorsError(#[source] serde_json::Error);

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseReport {
    /// The case's name.
    pub name: String,
    /// What of the language it is about.
    pub area: String,
    /// `None` when every answer was the expected one, otherwise the first difference.
    pub failure: Option<Failure>,
    /// The differences after the first one.
    pub more: Vec<Failure>,
}

impl CaseReport {
    /// All differences, from the first one on.
    pub fn differences(&self) -> impl Iterator<Item = &Failure> {
        self.failure.iter().chain(&self.more)
    }
}

/// Why a case failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The case could not be tried: it is not what the format says, or says more than this runner knows.
    Unusable(String),
    /// The case could not be tried: its rules were refused, though they are good, or use what is not supported yet.
    NotLoaded(String),
    /// The rules were loaded, though OSSEC refuses them.
    NotRefused,
    /// The first answer that differs.
    Differs {
        /// Counted from 1.
        event: usize,
        /// What differs, and how.
        what: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unusable(why) => write!(f, "the case can't be tried: {why}"),
            Failure::NotLoaded(why) => write!(f, "could not load: {why}"),
            Failure::NotRefused => write!(f, "the rules were loaded, expected them to be refused"),
            Failure::Differs { event, what } => write!(f, "event {event}: {what}"),
        }
    }
}

/// Runs every case of a vector file, given as its text.
pub fn run(text: &str) -> Result<Vec<CaseReport>, VectorsError> {
    let cases: Vec<Case> = serde_json::from_str(text).map_err(VectorsError)?;
    let report = |case: Case| {
        let mut failures = case.run().into_iter();
        CaseReport { failure: failures.next(), more: failures.collect(), name: case.name, area: case.area }
    };
    Ok(cases.into_iter().map(report).collect())
}

/// Fields that this runner does not know, by their names. What they ask for would go unnoticed.
type Unknown = BTreeMap<String, serde_json::Value>;

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    area: String,
    #[serde(default, rename = "note")]
    _note: Option<String>,
    rules: String,
    #[serde(default)]
    decoders: Option<String>,
    #[serde(default)]
    lists: BTreeMap<String, String>,
    #[serde(default)]
    options: Options,
    events: Vec<CaseEvent>,
    /// `None` when the daemon gave no answers: it refused the rules, crashed or hung.
    expected: Option<Vec<Option<Expected>>>,
    /// The daemon refused the rules.
    #[serde(default)]
    load_error: bool,
    /// The daemon crashed. Not to be copied: any answer will do.
    #[serde(default)]
    crash: bool,
    /// The daemon hung. Not to be copied: any answer will do.
    #[serde(default)]
    hang: bool,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
struct Options {
    log_level: Option<u16>,
    email_level: Option<u16>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Deserialize)]
struct CaseEvent {
    /// Seconds since the epoch.
    time: i64,
    #[serde(default)]
    log: Option<String>,
    #[serde(default)]
    log_b64: Option<String>,
    #[serde(default)]
    agent: Option<String>,
    #[serde(default)]
    ip: Option<String>,
    #[serde(default)]
    location: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// An answer of the daemon. Fields that are not given are not compared.
#[derive(Debug, Deserialize)]
struct Expected {
    rule: u32,
    #[serde(default)]
    level: Option<u16>,
    #[serde(default)]
    alert: Option<bool>,
    #[serde(default)]
    suppressed: bool,
    #[serde(default)]
    email: Option<bool>,
    #[serde(default)]
    previous_output: Option<String>,
    #[serde(default)]
    groups: Option<Vec<String>>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    firedtimes: Option<u64>,
    #[serde(default)]
    location: Option<String>,
    #[serde(default)]
    log: Option<String>,
    #[serde(default, deserialize_with = "given")]
    decoder: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    hostname: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    program_name: Option<Option<String>>,
    /// Without those that have no place of their own.
    #[serde(default)]
    fields: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    unknown: Unknown,
}

impl Case {
    /// What differs.
    fn run(&self) -> Vec<Failure> {
        if let Some(why) = self.unusable() {
            return vec![Failure::Unusable(why)];
        }
        let rules = match self.compile() {
            // Refused by OSSEC and by this engine; but not because this engine knows less.
            Err(Refusal { unsupported: false, .. }) if self.load_error => return Vec::new(),
            Err(refusal) => return vec![Failure::NotLoaded(refusal.message)],
            Ok(_) if self.load_error => return vec![Failure::NotRefused],
            Ok(rules) => rules,
        };
        let mut state = MemoryState::default();
        let judged = (1..).zip(&self.events).map(|(event, it)| (event, self.judge(event, it, &rules, &mut state)));
        judged.filter_map(|(event, answer)| answer.err().map(|what| Failure::Differs { event, what })).collect()
    }

    /// Why there is nothing to be learned from the case.
    fn unusable(&self) -> Option<String> {
        let name = |place: String, unknown: &Unknown| {
            unknown.keys().next().map(|name| format!("{place} has a field `{name}`, which is not known"))
        };
        let of_event = |(number, event): (usize, &CaseEvent)| name(format!("event {number}"), &event.unknown);
        let of_answer = |(number, answer): (usize, &Option<Expected>)| {
            name(format!("the answer to event {number}"), &answer.as_ref()?.unknown)
        };
        name("it".to_owned(), &self.unknown)
            .or_else(|| name("`options`".to_owned(), &self.options.unknown))
            .or_else(|| (1..).zip(&self.events).find_map(of_event))
            .or_else(|| (1..).zip(self.expected.iter().flatten()).find_map(of_answer))
            .or_else(|| match &self.expected {
                Some(expected) if expected.len() != self.events.len() => {
                    Some(format!("it has {} answers for {} events", expected.len(), self.events.len()))
                }
                None if !(self.load_error || self.crash || self.hang) => {
                    Some("it has neither answers nor one of `load_error`, `crash`, `hang`".to_owned())
                }
                _ => None,
            })
    }

    /// What differs in the answer to one event, counted from 1.
    fn judge(&self, number: usize, event: &CaseEvent, rules: &RuleSet, state: &mut MemoryState) -> Result<(), String> {
        let line = event.log_line()?;
        let input = Input::log(&line);
        let decision = rules.explain(&input, state).map_err(|error| error.to_string())?;
        let brief = rules.evaluate(&input, state).map_err(|error| error.to_string())?;
        if (&brief.alerts, &brief.changes) != (&decision.alerts, &decision.changes) {
            return Err("judged briefly and with an explanation it gives different answers".to_owned());
        }
        state.apply(&decision.changes);
        let Some(expected) = &self.expected else { return Ok(()) };
        self.compare(expected[number - 1].as_ref(), Answer::of(&decision), rules)
    }

    fn compile(&self) -> Result<RuleSet, Refusal> {
        let settings = Settings::default();
        let settings = Settings {
            log_alert_level: self.options.log_level.unwrap_or(settings.log_alert_level),
            email_alert_level: self.options.email_level.unwrap_or(settings.email_alert_level),
            time_zone: Some("UTC".to_owned()),
            ..settings
        };
        let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.as_bytes().to_vec() };
        let inputs = CompileInputs {
            rules: vec![file("rules.xml", &self.rules)],
            decoders: self.decoders.iter().map(|text| file("decoders.xml", text)).collect(),
            lists: self.lists.iter().map(|(name, text)| (format!("lists/{name}"), file(name, text))).collect(),
        };
        crate::compile_inputs(&inputs, &settings).map_err(|findings| {
            let unsupported = findings.iter().find(|finding| finding.code == codes::NOT_SUPPORTED.code);
            let first = unsupported.or(findings.first());
            Refusal {
                unsupported: unsupported.is_some(),
                message: first.map_or_else(String::new, |finding| format!("{}: {}", finding.code, finding.message)),
            }
        })
    }

    /// What differs between the daemon's answer and this engine's.
    fn compare(&self, expected: Option<&Expected>, answer: Answer<'_>, rules: &RuleSet) -> Result<(), String> {
        let mut answers = self.expected.iter().flatten().flatten();
        let is_silent = |answer: &Expected| match answer.level {
            Some(level) => level == 0,
            None => rules.rule(answer.rule).is_some_and(|rule| rule.level == 0),
        };
        let answer = match answer.verdict {
            Verdict::NoRule => None,
            Verdict::Silent(_) if !answers.any(is_silent) => None,
            Verdict::HeldBack { .. } if !answers.any(|answer| answer.suppressed) => None,
            _ => Some(answer),
        };
        match (expected, answer) {
            (None, None) => Ok(()),
            (None, Some(answer)) => Err(format!("rule {} is the result, expected none", answer.rule())),
            (Some(expected), None) => Err(format!("no rule is the result, expected rule {}", expected.rule)),
            (Some(expected), Some(answer)) => expected.compare(&answer, rules),
        }
    }
}

struct Refusal {
    /// The rules use what a later version will know.
    unsupported: bool,
    message: String,
}

/// This engine's answer to one event.
struct Answer<'d> {
    verdict: &'d Verdict,
    line: &'d LineDecision,
    alert: Option<&'d Alert>,
}

impl<'d> Answer<'d> {
    fn of(decision: &'d Decision) -> Answer<'d> {
        let line = &decision.lines[0];
        Answer { verdict: &line.verdict, line, alert: decision.alerts.first() }
    }

    fn rule(&self) -> u32 {
        match self.verdict {
            Verdict::NoRule => 0,
            Verdict::Silent(rule) | Verdict::NotLogged(rule) | Verdict::Gathered(rule) => *rule,
            Verdict::HeldBack { rule, .. } | Verdict::Alert { rule, .. } => *rule,
        }
    }
}

impl Expected {
    fn compare(&self, answer: &Answer<'_>, rules: &RuleSet) -> Result<(), String> {
        same("rule", &answer.rule(), &self.rule)?;
        let rule = rules.rule(self.rule).expect("a result is a rule of the set");
        if let Some(level) = &self.level {
            same("level", &rule.level, level)?;
        }
        if let Some(alert) = &self.alert {
            same("alert", &answer.alert.is_some(), alert)?;
        }
        same("suppressed", &matches!(answer.verdict, Verdict::HeldBack { .. }), &self.suppressed)?;
        if let Some(groups) = &self.groups {
            same("groups", &rule.groups, &groups.as_slice())?;
        }
        if let Some(description) = &self.description {
            same("description", &rule.description.unwrap_or_default(), &description.as_str())?;
        }
        if let Some(log) = &self.log {
            same("log", &stripped(&String::from_utf8_lossy(&answer.line.text)), &stripped(log))?;
        }
        let told = answer.line.decoded.clone().unwrap_or_default();
        if let Some(hostname) = &self.hostname {
            same("hostname", &Some(&told.hostname), &hostname.as_ref())?;
        }
        if let Some(program_name) = &self.program_name {
            same("program_name", &told.program_name, program_name)?;
        }
        if let Some(decoder) = &self.decoder {
            same("decoder", &told.decoder, decoder)?;
        }
        if let Some(fields) = &self.fields {
            same("fields", &shown_fields(&told), fields)?;
        }
        let Some(alert) = answer.alert else { return Ok(()) };
        if let Some(email) = &self.email {
            same("email", &alert.rule.mail, email)?;
        }
        if let Some(fired_times) = &self.firedtimes {
            same("firedtimes", &alert.rule.firedtimes, fired_times)?;
        }
        if let Some(location) = &self.location {
            same("location", &alert.location, location)?;
        }
        if alert.diff.is_none() && self.previous_output.is_none() {
            // The second event that a composite rule counted: most cases do not tell it.
            return Ok(());
        }
        let (previous, expected) = (alert.previous_output.as_deref(), self.previous_output.as_deref());
        same("previous_output", &previous.map(stripped), &expected.map(stripped))
    }
}

impl CaseEvent {
    fn log_line(&self) -> Result<LogLine, String> {
        let text = match (&self.log, &self.log_b64) {
            (Some(log), None) => log.clone().into_bytes(),
            (None, Some(log)) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(log);
                decoded.map_err(|error| format!("`log_b64` is not base64: {error}"))?
            }
            _ => return Err("it has no log, or two".to_owned()),
        };
        let agent = self.agent.as_deref().unwrap_or(MANAGER);
        // An agent's event has an address in its location, known or not.
        let address = self.agent.as_ref().map(|_| self.ip.clone().unwrap_or_else(|| "any".to_owned()));
        let place = self.location.as_deref().unwrap_or(LOCATION);
        let location = match &address {
            Some(address) => format!("({agent}) {address}->{place}"),
            None => format!("{MANAGER}->{place}"),
        };
        Ok(LogLine {
            key: Key::new(agent, place).map_err(|error| error.to_string())?,
            address,
            location,
            time: Timestamp::from_second(self.time).map_err(|error| error.to_string())?,
            text,
        })
    }
}

/// A field that is given, as null too.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The fields of a line as OSSEC's alerts show them: the program among them, and none that only rules can ask for.
fn shown_fields(told: &LineFields) -> BTreeMap<String, String> {
    let known = told.fields.iter().filter(|(name, _)| KnownField::ALL.iter().any(|field| field.name() == name));
    let program = told.program_name.iter().map(|program| ("program_name".to_owned(), program.clone()));
    known.cloned().chain(program).collect()
}

/// A text without the characters that OSSEC removes on arrival.
fn stripped(text: &str) -> String {
    text.chars().filter(|character| !character.is_ascii_control()).collect()
}

fn same<T: PartialEq + fmt::Debug>(name: &str, actual: &T, expected: &T) -> Result<(), String> {
    if actual == expected { Ok(()) } else { Err(format!("`{name}` is {actual:?}, expected {expected:?}")) }
}
