//! Durations and points in time as people type them.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tripline_collector::Interval;

/// Reads a duration as in settings: `90s`, `10m`, `1h30m`, or a number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Interval>().map(|interval| interval.0).map_err(|error| error.to_string())
}

/// A point in time as it was typed. What a date means is known with the time zone of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// A moment.
    At(Timestamp),
    /// What clocks show, somewhere.
    Local(DateTime),
}

impl When {
    /// The moment, where clocks show this zone's time. A time that they skip or show twice is the earlier reading
    /// of its kind, as RFC 5545 wants.
    pub fn in_zone(self, zone: &TimeZone) -> anyhow::Result<Timestamp> {
        match self {
            When::At(time) => Ok(time),
            When::Local(time) => Ok(time.to_zoned_datetime(zone.clone())?.timestamp()),
        }
    }
}

impl FromStr for When {
    type Err = String;

    /// Reads RFC 3339, a date (its midnight) with or without a time of day, or an age before now such as `2h`.
    fn from_str(text: &str) -> Result<When, String> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(When::At(time));
        }
        if let Ok(time) = text.parse::<DateTime>() {
            return Ok(When::Local(time));
        }
        let age = duration(text).map_err(|_| {
            format!("`{text}` is not a time: write RFC 3339 (2026-11-24T10:00:00Z), a date, or an age such as 2h or 7d")
        })?;
        tripline_faults::now().checked_sub(age).map(When::At).map_err(|error| error.to_string())
    }
}

/// The time from `since` up to `until`, which is not part of it. Open where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// The first moment.
    pub since: Option<Timestamp>,
    /// The first moment after it.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether a time is part of it.
    pub fn holds(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_take_dates_and_rfc_3339_and_ages() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let in_berlin = |text: &str| text.parse::<When>().unwrap().in_zone(&berlin).unwrap().to_string();
        assert_eq!(in_berlin("2026-11-24"), "2026-11-23T23:00:00Z");
        assert_eq!(in_berlin("2026-07-01T10:00"), "2026-07-01T08:00:00Z");
        assert_eq!(in_berlin("2026-11-24T10:00:00+00:00"), "2026-11-24T10:00:00Z");
        assert!("2h".parse::<When>().unwrap().in_zone(&berlin).unwrap() < tripline_faults::now());
        assert!("yesterday-ish".parse::<When>().is_err());
    }
}
