//! From a rule that fired to the alert that says so.
//!
//! An alert depends on the outputs, the rules and the settings alone; only `source` comes from the log.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tripline_schemas::alert::{self, Alert, AlertAgent, AlertDecoder, AlertRule, AlertRuleSet, AlertRun, Diff, Source};
use tripline_schemas::event::{Event, Gap};
use tripline_schemas::state::RecordedEvent;
use tripline_schemas::{Key, Run};
use uuid::Uuid;

use crate::decision::{Body, Input};
use crate::decoder::Fields;
use crate::diff::{self, DiffLimits, LineDiff};
use crate::evaluate::Timing;
use crate::line::{self, Line};
use crate::normalise::Normaliser;
use crate::predecode;
use crate::ruleset::{Rule, RuleSet, Settings};

/// What the lines of one event have in common.
#[derive(Debug)]
pub(crate) struct EventFacts<'a> {
    pub key: &'a Key,
    pub address: Option<&'a str>,
    /// When it happened, by its own clock.
    pub began: Timestamp,
    pub timing: Timing,
    pub run: Option<&'a Run>,
    gap: Option<&'a Gap>,
    /// Given with a line that is no command's output.
    location_given: Option<&'a str>,
    /// Otherwise made when it is asked for.
    location_made: OnceCell<String>,
    source: Option<&'a Source>,
    /// The bytes that there are to judge.
    pub size: usize,
}

impl<'a> EventFacts<'a> {
    /// `None` for a heartbeat, which is about no command.
    pub fn of(input: &Input<'a>, settings: &Settings) -> Option<EventFacts<'a>> {
        let facts = |key, address, began, took| EventFacts {
            key,
            address,
            began,
            timing: Timing::of(began, took, input, settings),
            run: None,
            gap: None,
            location_given: None,
            location_made: OnceCell::new(),
            source: input.source,
            size: 0,
        };
        let at_once = SignedDuration::ZERO;
        Some(match input.body {
            Body::Event(Event::Output(run)) => {
                let took = SignedDuration::from_millis(run.duration_ms.try_into().unwrap_or(i64::MAX));
                EventFacts {
                    run: Some(run),
                    size: run.output.len(),
                    ..facts(&run.key, run.address.as_deref(), run.started, took)
                }
            }
            Body::Event(Event::Gap(gap)) => {
                EventFacts { gap: Some(gap), ..facts(&gap.key, gap.address.as_deref(), gap.time, at_once) }
            }
            Body::Event(Event::Control(control)) => facts(&control.key, None, control.time, at_once),
            Body::Event(Event::Heartbeat(_)) => return None,
            Body::Log(log) => EventFacts {
                location_given: Some(&log.location),
                size: log.text.len(),
                ..facts(&log.key, log.address.as_deref(), log.time, at_once)
            },
        })
    }

    /// `(agent) address->command`, or `host->command`.
    pub fn location(&self) -> &str {
        let make = || alert::location(self.key.agent(), self.address, self.key.command());
        self.location_given.unwrap_or_else(|| self.location_made.get_or_init(make))
    }

    /// The host that rules see for a line whose header names this one.
    pub fn hostname<'h>(&'h self, in_header: Option<&'h [u8]>) -> &'h [u8] {
        let of_agent = self.address.map(|_| self.location().as_bytes());
        predecode::hostname(of_agent, in_header, self.key.agent())
    }

    /// The spool that the event comes from.
    pub fn spool(&self) -> Option<Uuid> {
        self.run.map(|run| run.id.spool).or(self.gap.map(|gap| gap.spool))
    }
}

/// A rule that fired, and what for.
#[derive(Debug)]
pub(crate) struct Firing<'a> {
    pub rule: &'a Rule,
    pub line: &'a Line<'a>,
    /// This one included.
    pub fired_times: u64,
    pub suppressed: u64,
    pub returned: u64,
    /// What the nearest `check_diff` compared with.
    pub previous: Option<Previous<'a>>,
    /// Of the events that the nearest composite rule counted, the second.
    pub second: Option<&'a RecordedEvent>,
}

/// What `check_diff` compared with, and how.
#[derive(Debug)]
pub(crate) struct Previous<'a> {
    pub text: Vec<u8>,
    pub normaliser: &'a Normaliser,
}

/// The alert of a rule that fired.
pub(crate) fn alert(rules: &RuleSet, event: &EventFacts<'_>, firing: Firing<'_>) -> Alert {
    let Firing { rule, line, fired_times, suppressed, returned, previous, second } = firing;
    let mut texts =
        Texts { bytes_max: rules.settings.alert_text_bytes_max, cut: BTreeMap::new(), not_utf8: Vec::new() };
    let full_log = texts.shown("full_log", line.full());
    let previous_output = match (&previous, second) {
        (Some(previous), _) => Some(texts.shown("previous_output", &previous.text)),
        (None, second) => second.map(|event| texts.earlier("previous_output", event)),
    };
    let fields = line.fields().into_iter().flat_map(Fields::iter);
    let data = fields.map(|(name, value)| (name.to_owned(), texts.shown(&format!("data.{name}"), value))).collect();
    let diff = previous.as_ref().map(|previous| texts.diff(event.key, previous, line.text));
    Alert {
        timestamp: event.timing.time,
        id: id(&rules.settings.application_id, event, line, rule, fired_times),
        rule: AlertRule {
            id: rule.id.to_string(),
            level: rule.level,
            description: rule.description.clone(),
            groups: rule.groups.clone(),
            firedtimes: fired_times,
            mail: rule.mail,
        },
        agent: AlertAgent {
            id: event.key.agent().to_owned(),
            name: event.key.agent().to_owned(),
            ip: event.address.map(str::to_owned),
        },
        command: event.key.command().to_owned(),
        location: event.location().to_owned(),
        decoder: AlertDecoder { name: line.decoder.unwrap_or_default().to_owned() },
        data,
        full_log,
        previous_output,
        diff,
        suppressed,
        returned,
        run: AlertRun {
            id: event.run.map(|run| run.id),
            line: line.part.number(),
            command_line: event.run.map(|run| run.command_line.clone()),
            format: event.run.map(|run| run.format),
            started: event.run.map(|run| run.started),
            duration_ms: event.run.map(|run| run.duration_ms),
            ending: event.run.map(|run| run.ending.clone()),
            truncated_from: event.run.and_then(|run| run.truncated_from),
            late: event.timing.late,
            clamped: event.timing.clamped,
        },
        ruleset: AlertRuleSet { digest: rules.digest_hex() },
        cut: texts.cut,
        not_utf8: texts.not_utf8,
        source: event.source.cloned(),
    }
}

/// The alert's id: 128 bits over application, agent, command, run, part of the run and rule.
///
/// Every part of a run has a number of its own, so one run never gives the same id twice. A gap stands for its run. A
/// line that is no run's is told apart by its time, its text and the count of the rule's results.
fn id(application_id: &str, event: &EventFacts<'_>, line: &Line<'_>, rule: &Rule, fired_times: u64) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("tripline alert id v1");
    // Each field follows its length, so that no two lists of fields give the same bytes.
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(application_id.as_bytes());
    field(event.key.agent().as_bytes());
    field(event.key.command().as_bytes());
    if let Some(run) = event.run {
        field(run.id.spool.as_bytes());
        field(&run.id.sequence.to_le_bytes());
    } else if let Some(gap) = event.gap {
        field(gap.spool.as_bytes());
        field(&gap.first.to_le_bytes());
        field(&gap.last.to_le_bytes());
    } else {
        field(&event.began.as_nanosecond().to_le_bytes());
        field(line.full());
        field(&fired_times.to_le_bytes());
    }
    let (kind, number) = line.part.code();
    field(&kind.to_le_bytes());
    field(&number.to_le_bytes());
    field(&rule.id.to_le_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Makes texts fit to be shown, and keeps account of what that cost.
struct Texts {
    /// No text is longer than this.
    bytes_max: usize,
    cut: BTreeMap<String, u64>,
    not_utf8: Vec<String>,
}

impl Texts {
    /// A text as far as it may be shown. Bytes that are not UTF-8 become U+FFFD; a character is never cut in two.
    fn shown(&mut self, field: &str, text: &[u8]) -> String {
        let end = character_start(text, self.bytes_max);
        // Nearly all texts are UTF-8, and to see that is much faster than to look for what is not.
        let mut shown = match std::str::from_utf8(&text[..end]) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                self.not_utf8.push(field.to_owned());
                String::from_utf8_lossy(&text[..end]).into_owned()
            }
        };
        let is_cut = end < text.len() || shown.len() > self.bytes_max;
        if is_cut {
            self.cut.insert(field.to_owned(), text.len() as u64);
            // A byte that is not UTF-8 took one byte of the text, and takes three as U+FFFD.
            shown.truncate(character_start(shown.as_bytes(), self.bytes_max));
        }
        shown
    }

    /// The text of an earlier event, of which only a beginning may have been kept.
    fn earlier(&mut self, field: &str, event: &RecordedEvent) -> String {
        let shown = self.shown(field, event.text.as_bytes());
        if event.not_utf8 {
            self.not_utf8.push(field.to_owned());
        }
        if event.cut_from > 0 {
            self.cut.insert(field.to_owned(), event.cut_from);
        }
        shown
    }

    /// Which lines came and went, of the texts as they were compared.
    fn diff(&mut self, key: &Key, previous: &Previous<'_>, text: &[u8]) -> Diff {
        let Previous { text: previous, normaliser } = previous;
        let (old, new) = line::without_header(key, previous, text);
        let (old, new) = (&*normaliser.apply(old), &*normaliser.apply(new));
        let limits = DiffLimits { text_bytes_max: self.bytes_max, ..DiffLimits::default() };
        let LineDiff { added, removed, unified, full, .. } = diff::diff(old, new, &limits);
        let bytes = |lines: &[String]| lines.iter().map(|line| line.len() + 1).sum();
        for (field, shown, full) in [
            ("diff.added", bytes(&added), full.added_bytes),
            ("diff.removed", bytes(&removed), full.removed_bytes),
            ("diff.unified", unified.len(), full.unified_bytes),
        ] {
            // A cut unified text ends with a remark, so it has another size, not always a smaller one.
            if shown != full {
                self.cut.insert(field.to_owned(), full as u64);
            }
        }
        let replaced = unified.contains(char::REPLACEMENT_CHARACTER);
        if replaced && [old, new].iter().any(|text| std::str::from_utf8(text).is_err()) {
            self.not_utf8.push("diff".to_owned());
        }
        Diff { added, removed, unified, normalised: !normaliser.is_nothing() }
    }
}

/// The last place up to `at` where a character of UTF-8 can begin, or `at` when the text is not UTF-8 there.
fn character_start(text: &[u8], at: usize) -> usize {
    const CHARACTER_BYTES_MAX: usize = 4;
    if at >= text.len() {
        return text.len();
    }
    let is_start = |at: &usize| text[*at] & 0b1100_0000 != 0b1000_0000;
    (at.saturating_sub(CHARACTER_BYTES_MAX - 1)..=at).rev().find(is_start).unwrap_or(at)
}
