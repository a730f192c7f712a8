//! What was expected of a step against what came.

use std::fmt::Debug;

use jiff::Timestamp;
use serde_saphyr::Spanned;
use tripline_engine::decision::{Decision, LineDecision, Outcome, Verdict};
use tripline_schemas::alert;

use super::excerpt::{self, Place};
use super::time;
use super::yaml::{Alert, Expect, Results, Suppressed};
use crate::print;

/// At most this many lines of a text are shown.
const LINES_MAX: usize = 8;
/// At most this many characters of a line are shown.
const CHARACTERS_MAX: usize = 160;

/// Something that is not as expected.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// What, in one line.
    pub what: String,
    /// Where the expectation stands, and what to write beside it.
    pub place: Place,
    pub label: String,
    /// What was expected, one entry each.
    pub expected: Vec<String>,
    /// What came, one entry each; an entry may have several lines.
    pub got: Vec<String>,
    /// What is known of the reasons.
    pub why: Vec<String>,
}

impl Mismatch {
    /// A mismatch that one line says all about.
    pub fn plain(what: String) -> Mismatch {
        Mismatch { what, ..Mismatch::default() }
    }
}

/// The first thing that is not as expected.
pub fn compare(expect: &Spanned<Expect>, decision: &Decision, start: Timestamp, text: &str) -> Option<Mismatch> {
    let comparison = Comparison { decision, start, text, whole: excerpt::place(expect, text) };
    match &expect.value {
        Expect::None => comparison.alerts(&[]),
        Expect::Alerts(alerts) => comparison.alerts(alerts),
        Expect::Results(results) => comparison
            .alerts(&results.alerts)
            .or_else(|| comparison.held_back(results))
            .or_else(|| comparison.silent(results)),
    }
}

struct Comparison<'a> {
    decision: &'a Decision,
    start: Timestamp,
    text: &'a str,
    /// Where the whole expectation stands.
    whole: Place,
}

impl Comparison<'_> {
    fn alerts(&self, expected: &[Spanned<Alert>]) -> Option<Mismatch> {
        let got = &self.decision.alerts;
        let (expected_text, got_text) = (expected.iter().map(shown_expected), got.iter().map(shown_alert));
        let mismatch = |what, place, label| Mismatch {
            what,
            place,
            label,
            expected: expected_text.clone().collect(),
            got: got_text.clone().collect(),
            why: self.why(expected),
        };
        if got.len() != expected.len() {
            let what = match expected.len() {
                0 => format!("expected no alert, got {}", alerts(got.len())),
                n => format!(
                    "expected {}, got {}",
                    alerts(n),
                    if got.is_empty() { "none".to_owned() } else { got.len().to_string() }
                ),
            };
            return Some(mismatch(what, self.whole.clone(), String::new()));
        }
        for (expected, got) in expected.iter().zip(got) {
            if let Some(Difference { field, expected, got: value, place }) = self.difference(&expected.value, got) {
                let what = format!("`{field}` of the alert of rule {} is {value}, expected {expected}", got.rule.id);
                return Some(mismatch(what, place, format!("got {value}")));
            }
        }
        None
    }

    /// The first field that differs.
    fn difference(&self, expected: &Alert, got: &alert::Alert) -> Option<Difference> {
        let mut fields = Fields { text: self.text, first: None };
        let description = got.rule.description.as_deref().unwrap_or_default();
        let previous = got.previous_output.as_deref().unwrap_or_default();
        fields.equal("rule", &expected.rule, got.rule.id.parse().unwrap_or_default());
        fields.equal("level", &expected.level, got.rule.level);
        fields.holds("level__gte", &expected.level_gte, got.rule.level, |least| got.rule.level >= *least);
        fields.text("description", &expected.description, description);
        fields.contains("description__contains", &expected.description_contains, description);
        fields.equal("groups", &expected.groups, got.rule.groups.clone());
        fields.holds("groups__contains", &expected.groups_contains, got.rule.groups.clone(), |group| {
            got.rule.groups.contains(group)
        });
        fields.text("agent", &expected.agent, &got.agent.name);
        fields.text("location", &expected.location, &got.location);
        fields.equal("mail", &expected.mail, got.rule.mail);
        fields.equal("firedtimes", &expected.firedtimes, got.rule.firedtimes);
        fields.text("full_log", &expected.full_log, &got.full_log);
        fields.contains("full_log__contains", &expected.full_log_contains, &got.full_log);
        fields.text("previous_output", &expected.previous_output, previous);
        fields.contains("previous_output__contains", &expected.previous_output_contains, previous);
        if let Some(expected) = &expected.diff {
            let (added, removed) = got.diff.clone().map(|diff| (diff.added, diff.removed)).unwrap_or_default();
            fields.equal("diff.added", &expected.value.added, added);
            fields.equal("diff.removed", &expected.value.removed, removed);
            fields.holds("diff", &some(expected), "absent", |_| got.diff.is_some());
        }
        fields.equal("suppressed", &expected.suppressed, got.suppressed);
        fields.equal("returned", &expected.returned, got.returned);
        fields.first
    }

    fn held_back(&self, results: &Results) -> Option<Mismatch> {
        let expected = results.suppressed.as_ref()?;
        let got: Vec<(u32, Timestamp)> = self.decision.lines.iter().filter_map(held_back).collect();
        let fits = |(expected, got): (&Suppressed, &(u32, Timestamp))| {
            let until = expected.until.as_ref().map(|until| until.value.0);
            expected.rule.value == got.0 && until.is_none_or(|until| until == time::since(self.start, got.1))
        };
        let list = &expected.value.0;
        if list.len() == got.len() && list.iter().zip(&got).all(fits) {
            return None;
        }
        let expected_text = list.iter().map(|expected| {
            let until = expected.until.as_ref().map(|until| format!(" until {}", time::shown(until.value.0)));
            format!("rule {} held back{}", expected.rule.value, until.unwrap_or_default())
        });
        let got_text = got.iter().map(|(rule, until)| {
            format!("rule {rule} held back until {}", time::shown(time::since(self.start, *until)))
        });
        Some(Mismatch {
            what: "what the ignore timers held back is not as expected".to_owned(),
            place: excerpt::place(expected, self.text),
            expected: expected_text.collect(),
            got: got_text.chain(self.decision.alerts.iter().map(shown_alert)).collect(),
            why: list.iter().filter_map(|expected| self.why_not(expected.rule.value)).collect(),
            ..Mismatch::default()
        })
    }

    fn silent(&self, results: &Results) -> Option<Mismatch> {
        let expected = results.silent.as_ref()?;
        let is_silent = |rule: u32| {
            let fits =
                |line: &LineDecision| matches!(line.verdict, Verdict::Silent(r) | Verdict::NotLogged(r) if r == rule);
            self.decision.lines.iter().any(fits)
        };
        let missing = *expected.value.0.iter().find(|rule| !is_silent(**rule))?;
        Some(Mismatch {
            what: format!("expected rule {missing} to take a line silently"),
            place: excerpt::place(expected, self.text),
            why: self.why_not(missing).into_iter().collect(),
            ..Mismatch::default()
        })
    }

    /// Why expected rules gave no alert.
    fn why(&self, expected: &[Spanned<Alert>]) -> Vec<String> {
        let alerted = |rule: u32| self.decision.alerts.iter().any(|alert| alert.rule.id == rule.to_string());
        let mut rules: Vec<u32> = expected.iter().filter_map(|alert| Some(alert.value.rule.as_ref()?.value)).collect();
        rules.dedup();
        rules.into_iter().filter(|rule| !alerted(*rule)).filter_map(|rule| self.why_not(rule)).collect()
    }

    /// What became of a rule in the step; `None` when it gave an alert after all.
    fn why_not(&self, rule: u32) -> Option<String> {
        let lines = &self.decision.lines;
        let mut reasons: Vec<String> = Vec::new();
        for line in lines {
            let Some(tried) = line.tried.iter().rfind(|tried| tried.rule == rule) else { continue };
            let reason = match (&tried.outcome, &line.verdict) {
                (_, Verdict::HeldBack { rule: held, until }) if *held == rule => {
                    format!("held back by its ignore timer until {}", time::shown(time::since(self.start, *until)))
                }
                (_, Verdict::Alert { rule: taken, .. }) if *taken == rule => return None,
                (_, Verdict::Silent(taken)) if *taken == rule => "took a line, silently: its level is 0".to_owned(),
                (_, Verdict::NotLogged(taken)) if *taken == rule => {
                    "took a line, but its options keep it out of the alerts".to_owned()
                }
                (Outcome::Holds, verdict) => format!("held, but {}", taken(verdict)),
                (Outcome::Fails(element), _) => format!("its `{element}` does not hold"),
                (Outcome::FirstSight, _) => {
                    "first sight of this output: it was stored, nothing to compare with".to_owned()
                }
                (Outcome::Unchanged, _) => "the output is the one before: no change".to_owned(),
                (Outcome::NotComparable, _) => "cannot compare: one of the outputs is cut".to_owned(),
                (Outcome::PutAside, _) => continue,
                (Outcome::Incomplete, _) => "another rule took lines that it compares".to_owned(),
            };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        if reasons.is_empty() {
            let mut results: Vec<String> = lines.iter().map(|line| taken(&line.verdict)).collect();
            results.dedup();
            let results = if results.is_empty() { "there was no line to judge".to_owned() } else { results.join("; ") };
            reasons.push(format!("was never tried: {results}"));
        }
        Some(format!("rule {rule}: {}", reasons.join("; ")))
    }
}

/// A field that differs.
struct Difference {
    field: &'static str,
    expected: String,
    got: String,
    place: Place,
}

/// Compares fields one after the other, and keeps the first that differs.
struct Fields<'a> {
    text: &'a str,
    first: Option<Difference>,
}

impl Fields<'_> {
    fn equal<T: PartialEq + Debug>(&mut self, field: &'static str, expected: &Option<Spanned<T>>, got: T) {
        let Some(expected) = expected else { return };
        if expected.value != got {
            self.note(field, expected, &got);
        }
    }

    fn text(&mut self, field: &'static str, expected: &Option<Spanned<String>>, got: &str) {
        let Some(expected) = expected else { return };
        if without_break(&expected.value) != got {
            self.note(field, expected, &got);
        }
    }

    fn contains(&mut self, field: &'static str, expected: &Option<Spanned<String>>, got: &str) {
        let Some(expected) = expected else { return };
        if !got.contains(without_break(&expected.value)) {
            self.note(field, expected, &got);
        }
    }

    fn holds<T: Debug>(
        &mut self,
        field: &'static str,
        expected: &Option<Spanned<T>>,
        got: impl Debug,
        holds: impl Fn(&T) -> bool,
    ) {
        let Some(expected) = expected else { return };
        if !holds(&expected.value) {
            self.note(field, expected, &got);
        }
    }

    fn note<T: Debug>(&mut self, field: &'static str, expected: &Spanned<T>, got: &dyn Debug) {
        let place = excerpt::place(expected, self.text);
        let (expected, got) = (short(&format!("{:?}", expected.value)), short(&format!("{got:?}")));
        self.first.get_or_insert(Difference { field, expected, got, place });
    }
}

/// Wraps what stands in the test, so that it can be compared like a field.
fn some<T>(value: &Spanned<T>) -> Option<Spanned<&'static str>> {
    Some(Spanned::new("lines that came or went", value.referenced, value.defined))
}

/// A block of text in YAML ends with a line break; a log line does not.
fn without_break(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

fn held_back(line: &LineDecision) -> Option<(u32, Timestamp)> {
    match line.verdict {
        Verdict::HeldBack { rule, until } => Some((rule, until)),
        _ => None,
    }
}

fn taken(verdict: &Verdict) -> String {
    match verdict {
        Verdict::NoRule => "no rule took the line".to_owned(),
        Verdict::Silent(rule) => format!("rule {rule} took the line, silently"),
        Verdict::NotLogged(rule) => format!("rule {rule} took the line, not logged"),
        Verdict::HeldBack { rule, .. } => format!("rule {rule} took the line, held back by its ignore timer"),
        Verdict::Alert { rule, .. } => format!("rule {rule} took the line"),
        Verdict::Gathered(rule) => format!("the line became part of what rule {rule} compares"),
    }
}

/// The named fields of an expected alert.
fn shown_expected(alert: &Spanned<Alert>) -> String {
    let alert = &alert.value;
    let mut parts = Vec::new();
    let mut part = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            parts.push(short(&format!("{name} {value}")));
        }
    };
    fn value<T: Debug>(field: &Option<Spanned<T>>) -> Option<String> {
        field.as_ref().map(|field| format!("{:?}", field.value))
    }
    part("rule", value(&alert.rule));
    part("level", value(&alert.level));
    part("level at least", value(&alert.level_gte));
    part("description", value(&alert.description));
    part("description with", value(&alert.description_contains));
    part("groups", value(&alert.groups));
    part("group", value(&alert.groups_contains));
    part("agent", value(&alert.agent));
    part("location", value(&alert.location));
    part("mail", value(&alert.mail));
    part("firedtimes", value(&alert.firedtimes));
    part("full_log", value(&alert.full_log));
    part("full_log with", value(&alert.full_log_contains));
    part("previous_output", value(&alert.previous_output));
    part("previous_output with", value(&alert.previous_output_contains));
    if let Some(diff) = &alert.diff {
        part("added", value(&diff.value.added));
        part("removed", value(&diff.value.removed));
    }
    part("suppressed", value(&alert.suppressed));
    part("returned", value(&alert.returned));
    if parts.is_empty() { "any alert".to_owned() } else { parts.join(", ") }
}

/// An alert with the beginning of its text.
fn shown_alert(alert: &alert::Alert) -> String {
    let description = alert.rule.description.as_deref().unwrap_or_default();
    let mut text = format!("rule {}, level {}, {description:?}", alert.rule.id, alert.rule.level);
    let mut lines = alert.full_log.lines();
    for line in lines.by_ref().take(LINES_MAX) {
        text.push_str(&format!("\n    {}", short(line)));
    }
    match lines.count() {
        0 => {}
        more => text.push_str(&format!("\n    ... {more} more")),
    }
    if let Some(diff) = &alert.diff {
        text.push_str(&short(&format!("\n    added {:?}, removed {:?}", diff.added, diff.removed)));
    }
    text
}

/// The beginning of a line that was judged.
pub fn line_text(line: &LineDecision) -> String {
    let text = print::escaped(&line.text);
    short(text.lines().next().unwrap_or_default())
}

/// So much of a text as fits on a line.
fn short(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn alerts(count: usize) -> String {
    print::count(count as u64, "alert")
}
