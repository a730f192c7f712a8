//! Durations as people write them: `30s`, `5m`, `1h30m`, `hourly`, `daily`, or plain seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The longest duration that is taken: a hundred years. Some must keep alerts for ten.
pub const DURATION_MAX: Duration = Duration::from_secs(36_525 * 86_400);

/// A duration in a settings file: a text with units such as `30s`, `5m` or `1h30m`, the words `hourly` and `daily`, or
/// a number of seconds. Not negative, at most [`DURATION_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(pub Duration);

impl Interval {
    /// An interval of whole seconds.
    pub const fn from_secs(seconds: u64) -> Interval {
        Interval(Duration::from_secs(seconds))
    }
}

/// A text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// Not in any of the forms.
    #[error(
        "`{0}` is not a duration; write for example `30s`, `5m`, `1h30m`, `hourly`, `daily` or a number of seconds"
    )]
    Malformed(String),
    /// Negative or longer than [`DURATION_MAX`].
    #[error("`{0}` is out of range; a duration is between 0 and 36525 days")]
    OutOfRange(String),
}

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Interval, IntervalError> {
        let text = text.trim();
        let duration = match text {
            "hourly" => Duration::from_secs(3_600),
            "daily" => Duration::from_secs(86_400),
            _ if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                Duration::from_secs(text.parse().map_err(|_| IntervalError::OutOfRange(text.to_owned()))?)
            }
            _ => {
                let span: Span = text.parse().map_err(|_| IntervalError::Malformed(text.to_owned()))?;
                let signed = span
                    .to_duration(SpanRelativeTo::days_are_24_hours())
                    .map_err(|_| IntervalError::Malformed(text.to_owned()))?;
                signed.try_into().map_err(|_| IntervalError::OutOfRange(text.to_owned()))?
            }
        };
        if duration > DURATION_MAX {
            return Err(IntervalError::OutOfRange(text.to_owned()));
        }
        Ok(Interval(duration))
    }
}

impl fmt::Display for Interval {
    /// Seconds with their unit, as `30s` or `1.5s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64())
    }
}

impl Serialize for Interval {
    /// As it is shown.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Interval, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Interval;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"30s\", \"5m\", \"hourly\", or a number of seconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Interval, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Interval, E> {
                seconds.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Interval, E> {
                let seconds =
                    u64::try_from(seconds).map_err(|_| E::custom(IntervalError::OutOfRange(seconds.to_string())))?;
                self.visit_u64(seconds)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_form_people_write() {
        for (text, millis) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1w", 604_800_000),
            ("3653d", 315_619_200_000),
            ("250ms", 250),
            ("360", 360_000),
            ("hourly", 3_600_000),
            ("daily", 86_400_000),
            (" 10 s ", 10_000),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Interval(Duration::from_millis(millis))), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_durations_are_refused() {
        for text in ["", "soon", "5 parsecs", "-5s", "40000d", "1mo", "99999999999999999999"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_settings_file_may_give_text_or_seconds() {
        #[derive(Deserialize)]
        struct Table {
            every: Interval,
        }
        assert_eq!(toml::from_str::<Table>("every = 90").unwrap().every, Interval::from_secs(90));
        assert_eq!(toml::from_str::<Table>("every = '90s'").unwrap().every, Interval::from_secs(90));
        assert!(toml::from_str::<Table>("every = -1").is_err());
        assert!(toml::from_str::<Table>("every = 1.5").is_err());
    }
}
