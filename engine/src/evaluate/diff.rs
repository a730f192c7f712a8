//! `check_diff`: a text against the baseline of a rule, and conditions on what changed.

use std::rc::Rc;

use tripline_schemas::state::{Baseline, TextDigest};

use super::Evaluation;
use crate::change::{Change, ChangeTest};
use crate::decision::{Outcome, StateError};
use crate::line::{self, Cut, Line, Part, Topic};
use crate::normalise::Normaliser;
use crate::ruleset::Rule;

/// A change that was worked out, for the next rule that asks about it.
pub(super) struct Found {
    rule: u32,
    before: TextDigest,
    now: TextDigest,
    change: Rc<Change>,
}

impl<'a> Evaluation<'a> {
    /// Whether a text differs from the rule's baseline, and in such a way as its conditions on the change want it. If it
    /// differs it is the baseline from now on, as OSSEC has it, and the answer is what it was before; a result that is
    /// held back puts it back (see `settle`). If not, the answer is why the rule does not hold.
    pub(super) fn compare(&mut self, rule: &Rule, line: &Line<'_>) -> Result<Result<Baseline, Outcome>, StateError> {
        let remembered = self.memory.rule(rule.id)?;
        let away = remembered.is_some_and(|state| state.away);
        let Some(before) = remembered.and_then(|state| state.baseline.clone()) else {
            self.set_baseline(rule, line)?;
            return Ok(Err(Outcome::FirstSight));
        };
        if before.truncated != line.truncated {
            let cut = if before.truncated { Cut::Baseline } else { Cut::Output };
            self.note_not_comparable(rule, cut);
            return Ok(Err(Outcome::NotComparable));
        }
        if before.digest == line.digest() || self.is_same_normalised(rule, &before, line)? {
            if away {
                let state = self.memory.rule_mut(rule.id)?;
                state.away = false;
                state.returned += 1;
            }
            return Ok(Err(Outcome::Unchanged));
        }
        let failing = self.failing(rule, rule, &before, line)?;
        self.set_baseline(rule, line)?;
        Ok(match failing {
            Some(test) => Err(Outcome::Fails(test.name())),
            None => Ok(before),
        })
    }

    /// The first of a rule's conditions on the change found above it that does not hold.
    pub(super) fn first_failing_on_change<'r>(
        &mut self,
        rule: &'r Rule,
        line: &Line<'_>,
    ) -> Result<Option<&'r ChangeTest>, StateError> {
        let nearest = self.walk.changed().next_back().map(|(found_by, before)| (found_by, before.clone()));
        match nearest {
            Some((found_by, before)) => self.failing(rule, found_by, &before, line),
            None => Ok(rule.on_change.first().map(|condition| &condition.test)),
        }
    }

    fn failing<'r>(
        &mut self,
        rule: &'r Rule,
        found_by: &Rule,
        before: &Baseline,
        line: &Line<'_>,
    ) -> Result<Option<&'r ChangeTest>, StateError> {
        if rule.on_change.is_empty() {
            return Ok(None);
        }
        let change = self.change(found_by, before, line)?;
        Ok(rule.on_change.iter().map(|condition| &condition.test).find(|test| !test.holds(&change)))
    }

    /// The change from a rule's baseline to a text, worked out once for all rules that ask in a row.
    fn change(&mut self, rule: &Rule, before: &Baseline, line: &Line<'_>) -> Result<Rc<Change>, StateError> {
        let key = (rule.id, before.digest, line.digest());
        if let Some(found) = self.change.as_ref().filter(|found| (found.rule, found.before, found.now) == key) {
            return Ok(found.change.clone());
        }
        let text = self.memory.text(rule.id, before)?;
        let (old, new) = line::without_header(self.facts.key, &text, line.text);
        let normaliser = rule.check_diff.as_ref().map_or(Normaliser::nothing(), |check_diff| &check_diff.normaliser);
        let change = Rc::new(Change::new(normaliser, old, new));
        let (rule, before, now) = key;
        self.change = Some(Found { rule, before, now, change: change.clone() });
        Ok(change)
    }

    /// Whether the rule's normaliser leaves no difference between its baseline and a text.
    fn is_same_normalised(&self, rule: &Rule, before: &Baseline, line: &Line<'_>) -> Result<bool, StateError> {
        let Some(check_diff) = rule.check_diff.as_ref().filter(|check_diff| !check_diff.normaliser.is_nothing()) else {
            return Ok(false);
        };
        let text = self.memory.text(rule.id, before)?;
        let (old, new) = line::without_header(self.facts.key, &text, line.text);
        Ok(check_diff.normaliser.apply(old) == check_diff.normaliser.apply(new))
    }

    fn set_baseline(&mut self, rule: &Rule, line: &Line<'_>) -> Result<(), StateError> {
        let baseline = Baseline {
            digest: line.digest(),
            size: line.text.len() as u64,
            truncated: line.truncated,
            gathered: matches!(line.part, Part::Gathered(by) if by == rule.id),
            run: self.facts.run.map(|run| run.id),
            time: self.facts.began,
        };
        self.memory.set_baseline(rule.id, baseline, line.text)?;
        self.memory.rule_mut(rule.id)?.away = false;
        Ok(())
    }

    /// One line about it, however often the rule was reached.
    fn note_not_comparable(&mut self, rule: &Rule, cut: Cut) {
        let topic = Topic::NotComparable(rule.id);
        if self.about.iter().all(|(other, _)| *other != topic) {
            self.about.push((topic, line::not_comparable(self.facts.key, rule.id, cut)));
        }
    }
}
