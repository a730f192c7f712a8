//! Durations and points in time as people type them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tripline_collector::Interval;

/// Reads a duration as in settings: `90s`, `10m`, `1h30m`, or a number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Interval>().map(|interval| interval.0).map_err(|error| error.to_string())
}

/// Reads RFC 3339, a date (midnight UTC), or an age before now such as `2h`.
pub fn point_in_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        return date.to_zoned_datetime(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|e| e.to_string());
    }
    let age = duration(text).map_err(|_| {
        format!("`{text}` is not a time: write RFC 3339 (2026-11-24T10:00:00Z), a date, or an age such as 2h or 7d")
    })?;
    Timestamp::now().checked_sub(age).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_take_dates_and_rfc_3339_and_ages() {
        assert_eq!(point_in_time("2026-11-24").unwrap().to_string(), "2026-11-24T00:00:00Z");
        assert_eq!(point_in_time("2026-11-24T10:00:00+01:00").unwrap().to_string(), "2026-11-24T09:00:00Z");
        assert!(point_in_time("2h").unwrap() < Timestamp::now());
        assert!(point_in_time("yesterday-ish").is_err());
    }
}
