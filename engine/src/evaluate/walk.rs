//! The way of one line through the rule tree.
//!
//! Depth first: the first child that returns a result decides, a rule without such a child is the result itself, and
//! a `noalert` rule steps aside for its next sibling. Everything tested here depends on the line alone. Where a rule
//! asks about what is remembered, the walk stops and its caller answers with [`Walk::holds`] or [`Walk::fails`]; so a
//! line can also be put aside at such a rule and go on later.
//!
//! When nobody wants to know which rules were tried, those that the [prefilter](super::prefilter) rules out are not.

use std::sync::Arc;

use tripline_schemas::state::{Baseline, RecordedEvent};

use super::context::Context;
use super::prefilter::Candidates;
use crate::decision::{Outcome, Tried};
use crate::line::Line;
use crate::ruleset::{Condition, Rule, RuleIndex, RuleSet, Test};

/// A line's place in the tree, and how it came there.
#[derive(Debug)]
pub(super) struct Walk<'r> {
    rules: &'r RuleSet,
    context: Context<'r>,
    /// From the roots down. Empty when the line is through.
    frames: Vec<Frame<'r>>,
    /// The rules worth trying with the current line.
    candidates: Candidates,
    /// Whether `candidates` is to be found out for each line.
    filtered: bool,
    /// Whether it was, for the current line.
    searched: bool,
    /// The highest level of the composite rules that held for the current line.
    used_up: u16,
}

/// Some siblings, and how many of them are behind us.
#[derive(Clone, Debug)]
pub(super) struct Frame<'r> {
    siblings: &'r [RuleIndex],
    /// The first one's place among the candidates.
    first: u32,
    /// The sibling to try next. In frames above the last one it follows the rule that holds.
    next: usize,
    /// The rule that holds and whose children these are; `None` for the roots.
    parent: Option<&'r Rule>,
    /// The parent's baseline before this line changed it.
    before: Option<Baseline>,
    /// The second of the earlier events by which the parent, a composite rule, holds.
    second: Option<Arc<RecordedEvent>>,
}

/// Why a walk stopped.
#[derive(Debug)]
pub(super) enum Stop<'r> {
    /// All conditions of this rule hold that come before `check_diff`; whether that does, and what comes after it, is for
    /// the caller to say.
    CheckDiff(&'r Rule),
    /// All conditions of this rule hold but those on the change that a rule above found ([`Walk::changed`]); whether
    /// these do is for the caller to say.
    OnChange(&'r Rule),
    /// All other conditions of this rule hold; whether those on earlier events do is for the caller to say.
    Memory(&'r Rule),
    /// This rule is the line's result.
    Result(&'r Rule),
    /// No rule is.
    NoRule,
}

/// The rules that were tried, when somebody wants to know.
#[derive(Debug, Default)]
pub(super) struct Trail(Option<Vec<Tried>>);

impl Trail {
    pub fn new(wanted: bool) -> Trail {
        Trail(wanted.then(Vec::new))
    }

    pub fn push(&mut self, rule: &Rule, depth: usize, outcome: Outcome) {
        if let Some(tried) = &mut self.0 {
            tried.push(Tried { rule: rule.id, depth: depth.try_into().unwrap_or(u16::MAX), outcome });
        }
    }

    pub fn into_tried(self) -> Vec<Tried> {
        self.0.unwrap_or_default()
    }
}

impl<'r> Walk<'r> {
    /// Tries every rule that a line meets, or only those that are worth it.
    pub fn new(rules: &'r RuleSet, context: Context<'r>, filtered: bool) -> Walk<'r> {
        Walk {
            rules,
            context,
            frames: Vec::new(),
            candidates: if filtered { rules.prefilter.candidates() } else { rules.prefilter.every_rule() },
            filtered,
            searched: false,
            used_up: 0,
        }
    }

    /// Starts anew at the roots.
    pub fn start(&mut self) {
        self.leave();
        let siblings = &self.rules.roots;
        self.frames.push(Frame { siblings, first: 0, next: 0, parent: None, before: None, second: None });
    }

    /// Starts anew below a rule that holds for a gathered text: only its children are tried, and then itself.
    pub fn start_below(&mut self, rule: &'r Rule, before: Baseline) {
        self.leave();
        self.frames.push(Frame { siblings: &[], first: 0, next: 0, parent: None, before: None, second: None });
        self.enter(self.rules.by_id[&rule.id], Some(before));
    }

    /// Goes on where another walk stopped.
    pub fn resume(&mut self, place: &[Frame<'r>]) {
        self.leave();
        self.frames.extend_from_slice(place);
        let composite = |rule: &&Rule| rule.memory.composite.is_some();
        self.used_up =
            place.iter().filter_map(|frame| frame.parent).filter(composite).map(Rule::rank).max().unwrap_or(0);
    }

    /// Where it stopped.
    pub fn place(&self) -> &[Frame<'r>] {
        &self.frames
    }

    /// What its tests ask besides the line.
    pub fn context(&self) -> &Context<'r> {
        &self.context
    }

    /// Goes on to the next rule that needs an answer, or to the end.
    pub fn next_stop(&mut self, line: &Line<'_>, trail: &mut Trail) -> Stop<'r> {
        if self.filtered && !self.searched {
            self.rules.prefilter.search(line.text, &mut self.candidates);
            self.searched = true;
        }
        while let Some(frame) = self.frames.last_mut() {
            let (next, end) = (frame.first + frame.next as u32, frame.first + frame.siblings.len() as u32);
            frame.next = (self.candidates.first_within(next, end).unwrap_or(end) - frame.first) as usize;
            if let Some(index) = frame.siblings.get(frame.next) {
                let rule = self.rules.at(*index);
                let (conditions, _) = rule.conditions_around_memory();
                match first_failing(rule, conditions, line, &self.context) {
                    Some(test) => self.fails(Outcome::Fails(test.name()), trail),
                    None if rule.check_diff.is_some() => return Stop::CheckDiff(rule),
                    None if !rule.on_change.is_empty() => {
                        if self.has_change() {
                            return Stop::OnChange(rule);
                        }
                        self.fails(Outcome::Fails(rule.on_change[0].test.name()), trail);
                    }
                    None if rule.memory.asks() => return Stop::Memory(rule),
                    None => self.holds(None, trail),
                }
            } else {
                match frame.parent {
                    Some(rule) if !rule.noalert => return Stop::Result(rule),
                    _ => self.frames.pop(),
                };
            }
        }
        Stop::NoRule
    }

    /// The rule at which the walk stopped does not hold: on to its next sibling.
    pub fn fails(&mut self, outcome: Outcome, trail: &mut Trail) {
        self.advance(outcome, trail);
    }

    /// The rule at which the walk stopped holds: on to its children. `before` is the baseline that it had.
    pub fn holds(&mut self, before: Option<Baseline>, trail: &mut Trail) {
        let rule = self.advance(Outcome::Holds, trail);
        self.enter(rule, before);
    }

    /// The `check_diff` rules that hold on the way to the result, the result included, from the top, each with the
    /// baseline it had.
    pub fn changed(&self) -> impl DoubleEndedIterator<Item = (&'r Rule, &Baseline)> {
        self.frames.iter().filter_map(|frame| Some((frame.parent?, frame.before.as_ref()?)))
    }

    /// The rule that was just entered is a composite rule of this level (as marks have it), and holds by earlier events
    /// of which this is the second.
    pub fn use_up(&mut self, level: u16, second: Option<Arc<RecordedEvent>>) {
        self.used_up = self.used_up.max(level);
        if let Some(frame) = self.frames.last_mut() {
            frame.second = second;
        }
    }

    /// The highest level of the composite rules that the line has made hold; 0 when there was none.
    pub fn used_up(&self) -> u16 {
        self.used_up
    }

    /// Of the earlier events by which the nearest composite rule on the way to the result holds, the second.
    pub fn second_event(&self) -> Option<&Arc<RecordedEvent>> {
        self.frames.iter().rev().find_map(|frame| frame.second.as_ref())
    }

    fn has_change(&self) -> bool {
        self.changed().next().is_some()
    }

    fn leave(&mut self) {
        self.frames.clear();
        self.searched = false;
        self.used_up = 0;
    }

    fn enter(&mut self, index: RuleIndex, before: Option<Baseline>) {
        let (rule, first) = (self.rules.at(index), self.rules.prefilter.first_child(index));
        self.frames.push(Frame { siblings: &rule.children, first, next: 0, parent: Some(rule), before, second: None });
    }

    /// Leaves the rule at which the walk stands behind.
    fn advance(&mut self, outcome: Outcome, trail: &mut Trail) -> RuleIndex {
        let depth = self.frames.len() - 1;
        let frame = &mut self.frames[depth];
        let index = frame.siblings[frame.next];
        frame.next += 1;
        trail.push(self.rules.at(index), depth, outcome);
        index
    }
}

/// The place of the rule that was left behind last, for comparing: rules that are tried earlier come first.
pub(super) fn order<'p>(place: &'p [Frame<'_>]) -> impl Iterator<Item = usize> + 'p {
    place.iter().map(|frame| frame.next - 1)
}

/// The first of these conditions of a rule that does not hold for a line.
pub(super) fn first_failing<'r>(
    rule: &Rule,
    conditions: &'r [Condition],
    line: &Line<'_>,
    context: &Context<'_>,
) -> Option<&'r Test> {
    conditions.iter().map(|condition| &condition.test).find(|test| !test.holds(rule.id, line, context))
}

impl Test {
    /// Whether a line fulfils it, as a condition of the rule of this id.
    fn holds(&self, rule: u32, line: &Line<'_>, context: &Context<'_>) -> bool {
        match self {
            Test::Category(category) => line.category == *category,
            Test::DecodedAs(name) => line.decoder == Some(name.as_str()),
            Test::Match(pattern) => pattern.is_match(line.text),
            Test::Regex(pattern) => pattern.is_match(line.text),
            Test::Pcre2(_, pattern) => context.fits(rule, pattern, line.text),
            Test::SizeMin(bytes) => line.text.len() >= *bytes as usize,
            Test::Time(range) => context.is_within(range),
            Test::Weekday(days) => context.is_on(days),
            Test::Never(_) => false,
            Test::Field(condition) => condition.holds(rule, line, context),
            Test::Run(fact, numbers) => context.run_fact_is_in(*fact, numbers),
            Test::RunLate(late) => context.run_is_late() == Some(*late),
        }
    }

    /// The name of its element.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Test::Category(_) => "category",
            Test::DecodedAs(_) => "decoded_as",
            Test::Match(_) => "match",
            Test::Regex(_) => "regex",
            Test::Pcre2(name, _) | Test::Never(name) => name,
            Test::Field(condition) => condition.element(),
            Test::SizeMin(_) => "maxsize",
            Test::Time(_) => "time",
            Test::Weekday(_) => "weekday",
            Test::Run(fact, _) => fact.element(),
            Test::RunLate(_) => "run_late",
        }
    }
}
