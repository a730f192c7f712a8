//! What tests may ask besides the line itself: the event's local time, and how much work is left for patterns.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::alert::EventFacts;
use crate::pattern::{GaveUp, Pcre2, Steps};
use crate::run_fact::RunFact;

/// Steps that the patterns of one rule may take for one event, whatever its size.
const STEPS: u64 = 10_000_000;

/// Steps more for each byte of the event.
const STEPS_PER_BYTE: u64 = 32;

/// The circumstances of one event. One for all its lines.
#[derive(Debug)]
pub(super) struct Context<'a> {
    facts: &'a EventFacts<'a>,
    zone: Option<&'a TimeZone>,
    local: OnceCell<Option<DateTime>>,
    /// What one rule may spend on one event.
    steps: u64,
    /// By rule: what its patterns have left. Only of rules whose patterns backtrack.
    left: RefCell<BTreeMap<u32, Steps>>,
}

impl<'a> Context<'a> {
    /// Of an event.
    pub fn new(facts: &'a EventFacts<'a>, zone: Option<&'a TimeZone>) -> Context<'a> {
        let steps = STEPS.saturating_add(STEPS_PER_BYTE.saturating_mul(facts.size as u64));
        Context { facts, zone, local: OnceCell::new(), steps, left: RefCell::default() }
    }

    /// The event's date and time of day where the rules' clock stands. `None` without a time zone.
    pub fn local_time(&self) -> Option<DateTime> {
        *self.local.get_or_init(|| Some(self.zone?.to_datetime(self.facts.timing.time)))
    }

    /// The host of a line that names none of its own.
    pub fn hostname(&self) -> &[u8] {
        self.facts.hostname(None)
    }

    /// A fact of the run that is judged, if it is known.
    pub fn run_fact(&self, fact: RunFact) -> Option<i64> {
        fact.of(self.facts)
    }

    /// Whether the run that is judged is late. `None` when there is no run.
    pub fn run_is_late(&self) -> Option<bool> {
        self.facts.run.map(|_| self.facts.timing.late)
    }

    /// Whether a text fits a rule's pattern. A pattern that takes too many steps does not fit, now and for the rest of
    /// the event; see [`Context::gave_up`].
    pub fn fits(&self, rule: u32, pattern: &Pcre2, text: &[u8]) -> bool {
        if !pattern.may_give_up() {
            return pattern.is_match(text);
        }
        let mut left = self.left.borrow_mut();
        let steps = left.entry(rule).or_insert_with(|| Steps::new(self.steps));
        pattern.try_match(text, steps) == Ok(true)
    }

    /// The rules whose patterns took too many steps, in the order of their ids.
    pub fn gave_up(&self) -> Vec<u32> {
        self.left.borrow().iter().filter(|(_, steps)| steps.check() == Err(GaveUp)).map(|(rule, _)| *rule).collect()
    }
}
