//! What `tripline logtest` shows.

use std::io::Write;

use jiff::tz::TimeZone;
use tripline_engine::decision::{Decision, LineDecision, LineFields, Outcome as RuleOutcome, Verdict};
use tripline_engine::{RuleSet, format};
use tripline_processor::shard::Observer;
use tripline_processor::task::{Arrival, Content, Judged};
use tripline_schemas::event::Event;

use crate::outputs;
use crate::print;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only alerts.
    Alerts,
    /// The rules that a line passed, and those that it could have passed by its decoder and program.
    Candidates,
    /// Every rule that was tried.
    AllRules,
}

/// What keeps a rule for other kinds of lines from being asked further: of no interest to who wonders about this line.
const FOR_OTHER_LINES: [&str; 4] = ["category", "decoded_as", "program_name", "program_name_pcre2"];

/// Prints what the rules said.
pub struct View<'a> {
    rules: &'a RuleSet,
    zone: TimeZone,
    detail: Detail,
    printed: u64,
    failed: Option<std::io::Error>,
}

impl Observer for View<'_> {
    fn judged(&mut self, arrival: &Arrival, judged: &Judged) {
        let text = match judged {
            Judged::Decided(decision) => self.heading(arrival) + &self.decision(decision),
            Judged::DeadLetter(reason) => format!("could not be judged: {reason}\n"),
            Judged::Folded | Judged::Seen => String::new(),
        };
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            self.failed.get_or_insert(error);
        }
    }

    fn wants_detail(&self) -> bool {
        true
    }
}

impl<'a> View<'a> {
    /// A view of decisions by `rules`, with times in `zone`.
    pub fn new(rules: &'a RuleSet, zone: TimeZone, detail: Detail) -> View<'a> {
        View { rules, zone, detail, printed: 0, failed: None }
    }

    /// Why something could not be printed.
    pub fn failure(self) -> Option<std::io::Error> {
        self.failed
    }

    /// Which run is judged, where that is not what somebody just pasted.
    fn heading(&self, arrival: &Arrival) -> String {
        let Content::Record(record) = &arrival.content else { return String::new() };
        match Event::from_record(record) {
            Ok(Event::Output(run)) if self.detail != Detail::Alerts && !run.id.spool.is_nil() => {
                format!("{}\n", outputs::heading(&run, &self.zone))
            }
            _ => String::new(),
        }
    }

    fn decision(&mut self, decision: &Decision) -> String {
        let mut text = String::new();
        if self.detail != Detail::Alerts {
            for line in &decision.lines {
                text.push_str(&self.line(line));
            }
        }
        for alert in &decision.alerts {
            text.push_str(&format::ossec(alert, self.printed, &self.zone));
            self.printed += 1;
        }
        text
    }

    /// The line, the rules that were tried, what came of it.
    fn line(&self, line: &LineDecision) -> String {
        let mut text = format!("{}\n", print::escaped(&line.text));
        text.push_str(&line.decoded.as_ref().map(decoded).unwrap_or_default());
        let mut others = 0;
        for tried in &line.tried {
            let outcome = match &tried.outcome {
                RuleOutcome::Holds => "holds".to_owned(),
                RuleOutcome::Fails(element) if self.detail != Detail::AllRules && FOR_OTHER_LINES.contains(element) => {
                    others += 1;
                    continue;
                }
                RuleOutcome::Fails(element) => format!("does not hold: {element}"),
                RuleOutcome::FirstSight => "first sight: stored, does not hold".to_owned(),
                RuleOutcome::Unchanged => "unchanged, does not hold".to_owned(),
                RuleOutcome::NotComparable => "not comparable: one of the two texts is cut".to_owned(),
                RuleOutcome::PutAside => "put aside until the run's last line".to_owned(),
                RuleOutcome::Incomplete => "not compared: an earlier result took some of its lines".to_owned(),
            };
            text.push_str(&format!("  {}{} {outcome}\n", "  ".repeat(tried.depth.into()), tried.rule));
        }
        if others > 0 {
            let count = print::count(others, "rule");
            text.push_str(&format!("  ({count} for other kinds of lines: --all-rules shows them)\n"));
        }
        let verdict = match &line.verdict {
            Verdict::NoRule => "no rule".to_owned(),
            Verdict::Silent(rule) => format!("rule {} takes it, silently (level 0)", self.named(*rule)),
            Verdict::NotLogged(rule) => format!("rule {} takes it, not logged (options or level)", self.named(*rule)),
            Verdict::HeldBack { rule, until } => {
                let until = until.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
                format!("rule {} takes it, held back by its ignore timer until {until}", self.named(*rule))
            }
            Verdict::Alert { rule, .. } => format!("rule {} takes it: ALERT", self.named(*rule)),
            Verdict::Gathered(rule) => format!("part of the text that rule {} compares", self.named(*rule)),
        };
        text.push_str(&format!("=> {verdict}\n\n"));
        text
    }

    fn named(&self, id: u32) -> String {
        match self.rules.rule(id).and_then(|rule| rule.description) {
            Some(description) => format!("{id} \"{}\"", format::escaped_line(description)),
            None => id.to_string(),
        }
    }
}

/// What header and decoder tell.
fn decoded(fields: &LineFields) -> String {
    let mut text = format!("  host {}", format::escaped_line(&fields.hostname));
    if let Some(program) = &fields.program_name {
        text.push_str(&format!(", program {}", format::escaped_line(program)));
    }
    match &fields.decoder {
        Some(decoder) => text.push_str(&format!(", decoder {}", format::escaped_line(decoder))),
        None => text.push_str(", no decoder fits"),
    }
    if fields.gave_up {
        text.push_str(" (some took too many steps, and were taken not to fit)");
    }
    text.push('\n');
    for (name, value) in &fields.fields {
        text.push_str(&format!("  {} = {}\n", format::escaped_line(name), format::escaped_line(value)));
    }
    text
}
