//! Ignore timers: one for each rule, or for each text that the rule's `ignore_key` captures.

use jiff::Timestamp;
use tripline_schemas::state::{KeyedTimer, RuleState};

/// A timer and what it held back. Read with [`Timer::of`], changed, and put back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    pub fired: Option<Timestamp>,
    pub held_back: u64,
}

impl Timer {
    /// The timer of a rule, or its timer for a captured text.
    pub fn of(state: &RuleState, key: Option<&str>) -> Timer {
        match key {
            None => Timer { fired: state.fired, held_back: state.held_back },
            Some(key) => state
                .timers
                .get(key)
                .map_or_else(Timer::default, |timer| Timer { fired: Some(timer.fired), held_back: timer.held_back }),
        }
    }

    /// When it ends; `None` when it does not hold the rule back now.
    ///
    /// In whole seconds, as OSSEC counts. A clock that went back to before the firing holds the rule back as well, until
    /// it has passed the end.
    pub fn held_back_until(self, ignore_seconds: u32, now: Timestamp) -> Option<Timestamp> {
        let fired = self.fired?;
        let held_back = ignore_seconds > 0 && whole_seconds(now) < end(fired, ignore_seconds);
        held_back.then(|| end_of(fired, ignore_seconds))
    }

    /// Remembers it.
    pub fn put(self, state: &mut RuleState, key: Option<&str>) {
        match (key, self.fired) {
            (None, fired) => {
                state.fired = fired;
                state.held_back = self.held_back;
            }
            (Some(key), Some(fired)) => {
                state.timers.insert(key.to_owned(), KeyedTimer { fired, held_back: self.held_back });
            }
            (Some(key), None) => drop(state.timers.remove(key)),
        }
    }
}

/// Keeps the timers by captured text few: those that are over and have nothing to tell go, and while there are too many the
/// one that started first, the first by its text among equals.
pub(super) fn tidy(state: &mut RuleState, ignore_seconds: u32, now: Timestamp) {
    state.timers.retain(|_, timer| timer.held_back > 0 || whole_seconds(now) < end(timer.fired, ignore_seconds));
    while state.timers.len() > RuleState::TIMERS_MAX {
        let first = state.timers.iter().min_by_key(|(_, timer)| timer.fired).map(|(key, _)| key.clone());
        first.and_then(|key| state.timers.remove(&key));
    }
}

/// When a timer ends that began at this firing.
pub(crate) fn end_of(fired: Timestamp, ignore_seconds: u32) -> Timestamp {
    Timestamp::from_second(end(fired, ignore_seconds)).unwrap_or(Timestamp::MAX)
}

fn end(fired: Timestamp, ignore_seconds: u32) -> i64 {
    whole_seconds(fired).saturating_add(ignore_seconds.into())
}

/// Seconds since the epoch, rounded down, also before the epoch.
pub(super) fn whole_seconds(time: Timestamp) -> i64 {
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_and_rounded_down_before_the_epoch_too() {
        let seconds = |milliseconds| whole_seconds(Timestamp::from_millisecond(milliseconds).unwrap());
        assert_eq!([1999, 1000, 999, 0, -1, -1000, -1001].map(seconds), [1, 1, 0, 0, -1, -1, -2]);
    }

    #[test]
    fn the_timers_that_started_first_give_way() {
        let mut state = RuleState::default();
        let at = |second: usize| Timestamp::from_second(second as i64).unwrap();
        for number in 0..RuleState::TIMERS_MAX + 3 {
            let timer = Timer { fired: Some(at(number)), held_back: 0 };
            timer.put(&mut state, Some(&format!("{number:04}")));
            tidy(&mut state, 100_000, at(number));
        }
        assert_eq!(state.timers.len(), RuleState::TIMERS_MAX);
        assert_eq!(state.timers.keys().next().map(String::as_str), Some("0003"));
    }

    #[test]
    fn a_timer_that_is_over_goes_unless_it_has_something_to_tell() {
        let mut state = RuleState::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        Timer { fired: Some(at(0)), held_back: 0 }.put(&mut state, Some("over"));
        Timer { fired: Some(at(0)), held_back: 1 }.put(&mut state, Some("tells"));
        Timer { fired: Some(at(5)), held_back: 0 }.put(&mut state, Some("runs"));
        tidy(&mut state, 10, at(10));
        assert_eq!(state.timers.keys().collect::<Vec<_>>(), ["runs", "tells"]);
    }
}
