//! What tests may ask besides the line itself: the event's local time, facts of its run, and how much work is left for
//! patterns. What they ask is noted, for [`quiet`](super::quiet).

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::quiet::Validity;
use crate::alert::EventFacts;
use crate::calendar::{self, TimeRange, Weekdays};
use crate::numbers::Numbers;
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
    /// For which other events the answers so far are the same, edges of the calendar aside.
    validity: Cell<Validity>,
    /// In so many minutes of local time the next answer about the calendar changes. `None` when nobody asked.
    minutes_left: Cell<Option<u16>>,
}

impl<'a> Context<'a> {
    /// Of an event.
    pub fn new(facts: &'a EventFacts<'a>, zone: Option<&'a TimeZone>) -> Context<'a> {
        let steps = STEPS.saturating_add(STEPS_PER_BYTE.saturating_mul(facts.size as u64));
        Context {
            facts,
            zone,
            local: OnceCell::new(),
            steps,
            left: RefCell::default(),
            validity: Cell::new(Validity::ALWAYS),
            minutes_left: Cell::new(None),
        }
    }

    /// Whether the event's time of day lies in a range. Never without a time zone.
    pub fn is_within(&self, range: &TimeRange) -> bool {
        self.local_time().is_some_and(|local| {
            self.note_edge(range.minutes_to_edge(local.time()));
            range.contains(local.time())
        })
    }

    /// Whether the event's day is one of these. Never without a time zone.
    pub fn is_on(&self, days: &Weekdays) -> bool {
        self.local_time().is_some_and(|local| {
            self.note_edge(calendar::minutes_to_midnight(local.time()));
            days.contains(local.weekday())
        })
    }

    /// The event's date and time of day where the rules' clock stands. `None` without a time zone.
    fn local_time(&self) -> Option<DateTime> {
        *self.local.get_or_init(|| Some(self.zone?.to_datetime(self.facts.timing.time)))
    }

    fn note_edge(&self, minutes: u16) {
        self.minutes_left.set(Some(self.minutes_left.get().map_or(minutes, |left| left.min(minutes))));
    }

    /// The host of a line that names none of its own.
    pub fn hostname(&self) -> &[u8] {
        self.facts.hostname(None)
    }

    /// Whether a fact of the run that is judged is known, and one of these numbers.
    pub fn run_fact_is_in(&self, fact: RunFact, numbers: &Numbers) -> bool {
        let Some(number) = fact.of(self.facts) else { return false };
        if fact == RunFact::Duration {
            let validity = self.validity.get();
            let ((shortest, longest), alike) = (validity.durations, numbers.alike(number));
            let durations = (shortest.max(*alike.start()), longest.min(*alike.end()));
            self.validity.set(Validity { durations, ..validity });
        }
        numbers.contains(number)
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

    /// An answer that stays the same as time goes on, but was perhaps another before.
    pub fn holds_from_now_on(&self) {
        let validity = self.validity.get();
        self.validity.set(Validity { from: validity.from.max(self.facts.timing.time), ..validity });
    }

    /// An answer that may be another at any other time.
    pub fn holds_for_now(&self) {
        self.validity.set(Validity::NEVER);
    }

    /// For which other events all answers are the same.
    pub fn validity(&self) -> Validity {
        if self.minutes_left.get().is_some() {
            self.holds_from_now_on();
        }
        let validity = self.validity.get();
        Validity { until: self.next_edge().map_or(validity.until, |edge| edge.min(validity.until)), ..validity }
    }

    /// When an answer about the calendar changes next, or may: local time runs on evenly to the next transition of its
    /// zone.
    fn next_edge(&self) -> Option<Timestamp> {
        let (minutes, zone, local) = (self.minutes_left.get()?, self.zone?, self.local_time()?.time());
        let into_minute = SignedDuration::new(local.second().into(), local.subsec_nanosecond());
        let left = SignedDuration::from_mins(minutes.into()) - into_minute;
        let now = self.facts.timing.time;
        let edge = now.checked_add(left).unwrap_or(Timestamp::MAX);
        let transition = zone.following(now).next().map(|transition| transition.timestamp());
        Some(transition.map_or(edge, |transition| edge.min(transition)))
    }

    /// The rules whose patterns took too many steps, in the order of their ids.
    pub fn gave_up(&self) -> Vec<u32> {
        self.left.borrow().iter().filter(|(_, steps)| steps.check() == Err(GaveUp)).map(|(rule, _)| *rule).collect()
    }
}
