//! The clock that old records are dropped by. What is dropped does not come back, so a wall clock that was set far ahead is
//! believed only after it has stood for a while.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A clock further ahead than this, of what it should show, was set.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// At a start nothing tells how long the host was off. One that was off for longer than this, by its clock, has perhaps the
/// wrong time.
const OFF: SignedDuration = SignedDuration::from_hours(48);

/// So long a clock that was set ahead must stand.
const STANDS: Duration = Duration::from_secs(3_600);

/// Follows the wall clock, except where it was just set ahead.
#[derive(Debug)]
pub struct SettledClock {
    /// What it showed, and when that was by a clock that does not jump.
    shown: Timestamp,
    at: Duration,
    ahead: Option<Ahead>,
}

/// The wall clock is ahead, since then by a clock that does not jump.
#[derive(Debug)]
struct Ahead {
    by: SignedDuration,
    since: Duration,
}

impl SettledClock {
    /// At the start of a process. `last` is the last append time of the log.
    pub fn new(last: Option<Timestamp>, wall: Timestamp) -> SettledClock {
        let was_off = |last: &Timestamp| wall.duration_since(*last) > OFF;
        SettledClock { shown: last.filter(was_off).unwrap_or(wall), at: Duration::ZERO, ahead: None }
    }

    /// What it shows now, so long after the start. A wall clock that goes back is followed at once: less is dropped.
    pub fn read(&mut self, wall: Timestamp, since_start: Duration) -> Timestamp {
        // So far off that there is no such time: then the wall clock is behind.
        let expected = self.shown.checked_add(since_start.saturating_sub(self.at)).unwrap_or(Timestamp::MAX);
        let by = wall.duration_since(expected);
        if by > AHEAD {
            let stands = self.ahead.take().filter(|ahead| by - ahead.by <= AHEAD);
            let is_new = stands.is_none();
            let ahead = stands.unwrap_or(Ahead { by, since: since_start });
            let has_stood = since_start.saturating_sub(ahead.since) >= STANDS;
            self.ahead = Some(ahead);
            if !has_stood {
                if is_new {
                    tracing::warn!(
                        "the clock shows {wall:.0}, {} s more than expected (it was set, or the host was off for days); what \
                         is too old by it is dropped when it has stood for an hour",
                        by.as_secs()
                    );
                }
                return expected;
            }
        }
        *self = SettledClock { shown: wall, at: since_start, ahead: None };
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_000_000_000 + minutes * 60).unwrap()
    }

    /// A clock that is read every minute for so many, `ahead` minutes ahead.
    fn read(clock: &mut SettledClock, minutes: std::ops::Range<u32>, ahead: i64) -> Vec<i64> {
        let read = minutes.map(|minute| clock.read(at(i64::from(minute) + ahead), MINUTE * minute));
        read.map(|time| time.duration_since(at(0)).as_mins()).collect()
    }

    #[test]
    fn a_clock_that_is_wrong_for_less_than_an_hour_is_never_believed() {
        let mut clock = SettledClock::new(Some(at(-1)), at(0));
        for (minutes, ahead) in [(0..10, 0), (10..69, 43_200), (69..80, 0), (80..90, -1_440), (90..100, 0)] {
            let expected: Vec<i64> = minutes.clone().map(|minute| i64::from(minute) + ahead.min(0)).collect();
            // What comes after a clock that was behind is ahead of it.
            let expected = if minutes.start == 90 { (-1_350..-1_340).collect() } else { expected };
            assert_eq!(read(&mut clock, minutes, ahead), expected);
        }
    }

    #[test]
    fn a_clock_that_stands_for_an_hour_is_believed_and_one_that_goes_on_being_set_is_not() {
        let mut clock = SettledClock::new(None, at(0));
        assert_eq!(read(&mut clock, 0..60, 5_000), (0..60).collect::<Vec<_>>());
        assert_eq!(read(&mut clock, 60..62, 5_000), [5_060, 5_061]);
        let mut clock = SettledClock::new(None, at(0));
        for day in 1..6 {
            let minutes = day * 30..day * 30 + 30;
            let expected: Vec<i64> = minutes.clone().map(i64::from).collect();
            assert_eq!(read(&mut clock, minutes, i64::from(day) * 1_440), expected);
        }
    }

    #[test]
    fn a_host_that_was_off_for_days_must_show_its_time_for_an_hour_first() {
        let mut clock = SettledClock::new(Some(at(-43_200)), at(0));
        assert_eq!(read(&mut clock, 0..60, 0), (-43_200..-43_140).collect::<Vec<_>>());
        assert_eq!(read(&mut clock, 60..61, 0), [60]);
        let mut clock = SettledClock::new(Some(at(-1_440)), at(0));
        assert_eq!(read(&mut clock, 0..2, 0), [0, 1], "a day is believed");
    }
}
