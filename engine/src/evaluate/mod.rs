//! From one event and what is remembered to a decision.
//!
//! Reading order: [`Evaluation::judge`] here is the main path; [`walk`] takes a line through the rule tree; [`diff`]
//! compares with baselines; [`gather`] does so for the lines of a `command` run; [`settle`] makes of a result what it
//! comes to (ignore timers, counters, alerts); [`memory`] is what all of them read and change. [`count`] and [`seen`] ask
//! about earlier events, which are [`records`]. [`prefilter`] and [`quiet`] save work.

mod context;
mod count;
mod diff;
mod fields;
mod gather;
mod literals;
mod memory;
mod prefilter;
mod quiet;
mod records;
mod seen;
mod settle;
pub(crate) mod timer;
mod walk;

use jiff::{SignedDuration, Timestamp};
use tripline_schemas::alert::Alert;
use tripline_schemas::event::{Event, Order};
use tripline_schemas::state::Baseline;
use tripline_schemas::{Format, Run};

use crate::alert::EventFacts;
use crate::decision::{Body, Decision, Input, LineDecision, Outcome, State, StateError, Verdict};
use crate::line::{self, Line, Part, Topic};
use crate::ruleset::{Rule, RuleIndex, RuleSet, Settings};

use context::Context;
use memory::Memory;
pub(crate) use prefilter::Prefilter;
pub use quiet::QuietCache;
use quiet::{Candidate, Validity};
use records::Records;
use walk::{Stop, Trail, Walk};

impl RuleSet {
    /// Judges one event. The decision's lines are those that came to something (an alert, held back, not logged),
    /// without texts and without the rules that were tried: what live processing needs, and no more.
    ///
    /// Fails when `state` does, or does not hold what it names. Then nothing was decided.
    pub fn evaluate(&self, input: &Input<'_>, state: &dyn State) -> Result<Decision, StateError> {
        self.decide(input, state, Detail::Outcome)
    }

    /// Judges one event, and says everything: all lines with their texts and every rule that was tried. Alerts and
    /// state changes are those of [`RuleSet::evaluate`].
    pub fn explain(&self, input: &Input<'_>, state: &dyn State) -> Result<Decision, StateError> {
        self.decide(input, state, Detail::Full)
    }

    /// As [`RuleSet::evaluate`], with a cache that knows of outputs that nothing comes of them. It changes no decision,
    /// only what one costs.
    pub fn evaluate_with(
        &self,
        input: &Input<'_>,
        state: &dyn State,
        cache: &mut QuietCache,
    ) -> Result<Decision, StateError> {
        let Some(facts) = EventFacts::of(input, &self.settings) else {
            return Ok(nothing_to_judge(input, &self.settings));
        };
        cache.take_up(&self.digest);
        let candidate = Candidate::of(input, facts.timing);
        if candidate.as_ref().is_some_and(|candidate| cache.knows(candidate)) {
            return Ok(nothing_comes_of(facts.timing));
        }
        let (decision, validity) = Evaluation::new(self, &facts, state, Detail::Outcome).judge(input)?;
        if let Some(candidate) = candidate.filter(|_| decision.is_quiet()) {
            cache.remember(&candidate, validity);
        }
        Ok(decision)
    }

    fn decide(&self, input: &Input<'_>, state: &dyn State, detail: Detail) -> Result<Decision, StateError> {
        match EventFacts::of(input, &self.settings) {
            Some(facts) => Ok(Evaluation::new(self, &facts, state, detail).judge(input)?.0),
            None => Ok(nothing_to_judge(input, &self.settings)),
        }
    }

    pub(crate) fn at(&self, index: RuleIndex) -> &Rule {
        &self.rules[index.0 as usize]
    }
}

/// How much a decision tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// What follows from the event.
    Outcome,
    /// How it came to that, too.
    Full,
}

/// When an event happened, as far as rules are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The event's own time, or the append time if that was much earlier.
    pub time: Timestamp,
    pub clamped: bool,
    pub late: bool,
}

impl Timing {
    /// Of something that began and took so long by its own clock.
    pub fn of(began: Timestamp, took: SignedDuration, input: &Input<'_>, settings: &Settings) -> Timing {
        let ahead = began.duration_since(input.append_time);
        let behind = SignedDuration::ZERO.saturating_sub(ahead).saturating_sub(took);
        let clamped = ahead > SignedDuration::from_secs(settings.clock_skew_seconds_max.into());
        Timing {
            time: if clamped { input.append_time } else { began },
            clamped,
            late: input.overtaken || behind > SignedDuration::from_secs(settings.late_after_seconds.into()),
        }
    }
}

/// A heartbeat says nothing that rules could judge.
fn nothing_to_judge(input: &Input<'_>, settings: &Settings) -> Decision {
    let time = match input.body {
        Body::Event(Event::Heartbeat(heartbeat)) => heartbeat.time,
        _ => input.append_time,
    };
    nothing_comes_of(Timing::of(time, SignedDuration::ZERO, input, settings))
}

fn nothing_comes_of(Timing { time, clamped, late }: Timing) -> Decision {
    Decision { time, clamped, late, lines: Vec::new(), alerts: Vec::new(), changes: Vec::new() }
}

/// One event on its way to a decision.
struct Evaluation<'a> {
    rules: &'a RuleSet,
    facts: &'a EventFacts<'a>,
    detail: Detail,
    memory: Memory<'a>,
    /// What composite rules count, and what was seen once.
    records: Records<'a>,
    /// Where the current line is. One for all lines, so that a line costs no allocation.
    walk: Walk<'a>,
    /// The change that was asked about last.
    change: Option<diff::Found>,
    /// Lines about the run, each topic once; judged after all others.
    about: Vec<(Topic, Vec<u8>)>,
    lines: Vec<(Part, LineDecision)>,
    alerts: Vec<Alert>,
}

impl<'a> Evaluation<'a> {
    fn new(rules: &'a RuleSet, facts: &'a EventFacts<'a>, state: &'a dyn State, detail: Detail) -> Evaluation<'a> {
        Evaluation {
            rules,
            facts,
            detail,
            memory: Memory::new(facts.key, state),
            records: Records::new(state),
            walk: Walk::new(rules, Context::new(facts, rules.time_zone.as_ref()), detail == Detail::Outcome),
            change: None,
            about: Vec::new(),
            lines: Vec::new(),
            alerts: Vec::new(),
        }
    }

    /// The decision, and for which other events it would be the same.
    fn judge(mut self, input: &Input<'_>) -> Result<(Decision, Validity), StateError> {
        match input.body {
            Body::Event(Event::Output(run)) => self.judge_run(run)?,
            Body::Event(Event::Gap(gap)) => self.about.push((Topic::Gap, line::gap(gap))),
            Body::Event(Event::Control(control)) => match control.order {
                Order::Forget { rule } => self.forget(rule)?,
            },
            Body::Event(Event::Heartbeat(_)) => {}
            Body::Log(log) => {
                let text = line::log_text(&log.text);
                let decoded = self.rules.decoders.decode(&text);
                self.judge_line(&Line::log(&decoded, self.facts.hostname(decoded.header.host)))?;
            }
        }
        if let (Some(other), Some(this)) = (input.duplicate_agent, self.facts.spool()) {
            let text = line::duplicate_agent(self.facts.key.agent(), other, this);
            self.about.push((Topic::DuplicateAgent, text));
        }
        // One of these lines can bring about another, but none twice, since each topic is in the list once.
        let mut at = 0;
        loop {
            self.note_gave_up();
            if at == self.about.len() {
                break;
            }
            let topic = self.about[at].0;
            let text = std::mem::take(&mut self.about[at].1);
            self.judge_line(&Line::about(topic, &text))?;
            at += 1;
        }
        let validity = Validity { shared: self.records.were_asked(), ..self.walk.context().validity() };
        Ok((self.finish(), validity))
    }

    /// One line about each rule whose pattern was given up, however often.
    fn note_gave_up(&mut self) {
        for rule in self.walk.context().gave_up() {
            let topic = Topic::GaveUp(rule);
            if self.about.iter().all(|(other, _)| *other != topic) {
                self.about.push((topic, line::gave_up(self.facts.key, rule)));
            }
        }
    }

    /// Judges the output of a run, or finds why there is none to judge.
    fn judge_run(&mut self, run: &Run) -> Result<(), StateError> {
        if let Some(text) = line::failed_run(run) {
            self.about.push((Topic::Failed, text));
            return Ok(());
        }
        if let Some(text) = line::truncated_run(run) {
            self.about.push((Topic::Truncated, text));
        }
        let header = line::output_header(run.key.command());
        let truncated = run.truncated_from.is_some();
        match run.format {
            Format::FullCommand => {
                let text = line::full_command_text(&header, &run.output);
                self.judge_line(&Line::output(Part::Output(0), &text, truncated))
            }
            Format::Command => self.judge_lines(&header, &run.output, truncated),
        }
    }

    /// Judges a line that is compared by itself.
    fn judge_line(&mut self, line: &Line<'_>) -> Result<(), StateError> {
        let mut trail = self.trail();
        self.walk.start();
        let verdict = self.walk_to_end(line, &mut trail)?;
        self.note(line, trail, verdict);
        Ok(())
    }

    /// Takes a line from where it is to its end, comparing it by itself wherever a rule asks for that.
    fn walk_to_end(&mut self, line: &Line<'_>, trail: &mut Trail) -> Result<Verdict, StateError> {
        loop {
            match self.walk.next_stop(line, trail) {
                Stop::CheckDiff(rule) => match self.compare(rule, line)? {
                    Ok(before) => self.hold(rule, line, Some(before), trail)?,
                    Err(outcome) => self.walk.fails(outcome, trail),
                },
                Stop::OnChange(rule) => match self.first_failing_on_change(rule, line)? {
                    None => self.hold(rule, line, None, trail)?,
                    Some(test) => self.walk.fails(Outcome::Fails(test.name()), trail),
                },
                Stop::Memory(rule) => self.hold(rule, line, None, trail)?,
                Stop::Result(rule) => return self.settle(rule, line),
                Stop::NoRule => return Ok(Verdict::NoRule),
            }
        }
    }

    /// All conditions of the rule hold but those on earlier events, which are asked last. `before` is the baseline that
    /// it had, when it compared.
    fn hold(
        &mut self,
        rule: &'a Rule,
        line: &Line<'_>,
        before: Option<Baseline>,
        trail: &mut Trail,
    ) -> Result<(), StateError> {
        match self.remembers(rule, line)? {
            Ok(row) => {
                self.walk.holds(before, trail);
                self.use_up(rule, row)?;
            }
            Err(outcome) => self.walk.fails(outcome, trail),
        }
        Ok(())
    }

    /// A person's order: forgets what is remembered of the agent and command, or of one of its rules.
    fn forget(&mut self, rule: Option<u32>) -> Result<(), StateError> {
        self.memory.forget(rule)?;
        let plans = self.rules.histories.plans.iter();
        for plan in plans.filter(|plan| plan.per_key && rule.is_none_or(|rule| rule == plan.rule())) {
            self.records.forget(&plan.key(self.facts.key))?;
        }
        Ok(())
    }

    fn trail(&self) -> Trail {
        Trail::new(self.detail == Detail::Full)
    }

    /// Writes a line's verdict down, as far as it is wanted.
    fn note(&mut self, line: &Line<'_>, trail: Trail, verdict: Verdict) {
        let text = match (self.detail, &verdict) {
            (Detail::Full, _) => line.text.to_vec(),
            (Detail::Outcome, Verdict::Alert { .. } | Verdict::HeldBack { .. } | Verdict::NotLogged(_)) => Vec::new(),
            (Detail::Outcome, Verdict::NoRule | Verdict::Silent(_) | Verdict::Gathered(_)) => return,
        };
        let (number, kind) = (line.part.number(), line.part.kind());
        let decoded = if self.detail == Detail::Full { line.line_fields() } else { None };
        self.lines.push((line.part, LineDecision { number, kind, text, decoded, tried: trail.into_tried(), verdict }));
    }

    fn finish(mut self) -> Decision {
        self.lines.sort_by_key(|(part, _)| match part {
            // Lines that were put aside come back in their place; the others stay in the order of their evaluation.
            Part::Output(number) => (0, *number),
            Part::Log | Part::Gathered(_) | Part::About(_) => (1, 0),
        });
        let Timing { time, clamped, late } = self.facts.timing;
        Decision {
            time,
            clamped,
            late,
            lines: self.lines.into_iter().map(|(_, line)| line).collect(),
            alerts: self.alerts,
            changes: self.memory.into_changes().into_iter().chain(self.records.into_changes()).collect(),
        }
    }
}
