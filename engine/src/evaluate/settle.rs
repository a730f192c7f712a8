//! What a result comes to: silence, held back, not logged, an alert.
//!
//! | result | baselines of the `check_diff` rules on the way | timer, counters |
//! | --- | --- | --- |
//! | level 0 | moved | none |
//! | within the time of `ignore`, or by `check_if_ignored` | put back, the change is still to be told | counted, timer not extended |
//! | not to be logged | moved | fires |
//! | alert | moved | fires; tells what was held back |

use jiff::Timestamp;

use super::Evaluation;
use super::timer::{self, Timer};
use crate::alert::{self, Firing, Previous};
use crate::decision::{StateError, Verdict};
use crate::ignore_key;
use crate::line::Line;
use crate::normalise::Normaliser;
use crate::ruleset::Rule;

impl<'a> Evaluation<'a> {
    /// The rule is the result of the line at which the walk stands.
    pub(super) fn settle(&mut self, rule: &'a Rule, line: &Line<'_>) -> Result<Verdict, StateError> {
        if rule.level == 0 {
            return Ok(Verdict::Silent(rule.id));
        }
        let changed: Vec<_> = self.walk.changed().map(|(rule, before)| (rule.id, before.clone())).collect();
        let now = self.facts.timing.time;
        let pattern = rule.ignore_key.as_ref().filter(|_| rule.ignore_seconds > 0);
        let key = pattern.map(|pattern| ignore_key::key(pattern, line.text));
        let is_stored = self.is_stored(rule, line)?;
        let state = self.memory.rule_mut(rule.id)?;
        state.fired_times += 1;
        let fired_times = state.fired_times;
        let mut timer = Timer::of(state, key.as_deref());
        let until = timer.held_back_until(rule.ignore_seconds, now).or(is_stored.then_some(Timestamp::MAX));
        if let Some(until) = until {
            timer.held_back += 1;
            timer.put(state, key.as_deref());
            for (rule, before) in changed {
                let state = self.memory.rule_mut(rule)?;
                state.baseline = Some(before);
                state.away = true;
            }
            return Ok(Verdict::HeldBack { rule: rule.id, until });
        }
        let suppressed = timer.held_back;
        Timer { fired: Some(now), held_back: 0 }.put(state, key.as_deref());
        timer::tidy(state, rule.ignore_seconds, now);
        self.store(rule, line)?;
        self.record(rule, line)?;
        if !rule.log {
            return Ok(Verdict::NotLogged(rule.id));
        }
        let mut returned = 0;
        for (rule, _) in &changed {
            returned += std::mem::take(&mut self.memory.rule_mut(*rule)?.returned);
        }
        // The nearest text on the way is the one that the result is about.
        let previous = match (self.walk.changed().next_back(), changed.last()) {
            (Some((nearest, _)), Some((id, before))) => Some(Previous {
                text: self.memory.text(*id, before)?,
                normaliser: nearest.check_diff.as_ref().map_or(Normaliser::nothing(), |compared| &compared.normaliser),
            }),
            _ => None,
        };
        let second = self.walk.second_event().map(|event| &**event);
        let firing = Firing { rule, line, fired_times, suppressed, returned, previous, second };
        let index = self.alerts.len();
        self.alerts.push(alert::alert(self.rules, self.facts, firing));
        Ok(Verdict::Alert { rule: rule.id, index })
    }
}
