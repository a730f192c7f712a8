//! The test clock: times since the start of a test.

use std::time::Duration;

use jiff::Timestamp;

/// Tests start here when they don't say when: a fixed time, so that they give the same answer every day.
pub const START: &str = "2026-01-01T00:00:00Z";

/// A duration for people, as they write it in a test: `0s`, `90s` as `1m30s`, `2h`.
pub fn shown(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    let mut text = String::new();
    for (unit, count) in [("h", seconds / 3_600), ("m", seconds / 60 % 60)] {
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    let seconds = seconds % 60;
    match millis {
        0 if seconds == 0 && !text.is_empty() => {}
        0 => text.push_str(&format!("{seconds}s")),
        _ => text.push_str(format!("{seconds}.{millis:03}").trim_end_matches('0')),
    }
    if millis > 0 {
        text.push('s');
    }
    text
}

/// How long after the start of the test a time is.
pub fn since(start: Timestamp, time: Timestamp) -> Duration {
    time.duration_since(start).try_into().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_people_write_them() {
        for (millis, expected) in
            [(0, "0s"), (30_000, "30s"), (90_000, "1m30s"), (7_200_000, "2h"), (7_230_000, "2h30s"), (1_500, "1.5s")]
        {
            assert_eq!(shown(Duration::from_millis(millis)), expected);
        }
    }
}
