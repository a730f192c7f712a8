//! Times of day and days of the week, as `time` and `weekday` write them.

use jiff::civil::{Time, Weekday};

/// A stretch of the day, compared to the minute. It may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRange {
    /// Minutes since midnight, the earlier of the two ends.
    from: u16,
    /// Minutes since midnight, the later of the two ends.
    to: u16,
    /// Outside of the two ends, not between them. The ends themselves count as between.
    outside: bool,
}

/// A `time` as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrittenTime {
    pub range: TimeRange,
    /// A `!` stands before it that has no effect, since the range goes over midnight.
    pub negation_lost: bool,
    /// `12 am` stands in it, which is read as noon.
    pub noon_for_midnight: bool,
}

/// Why a `time` or `weekday` can't be read, and where in its text (byte offset).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    pub at: usize,
    pub message: &'static str,
}

impl TimeRange {
    /// Reads `H[:MM][am|pm] - H[:MM][am|pm]`, with `!` before it for the opposite and spaces wherever one likes.
    ///
    /// As in OSSEC a range over midnight is stored as "not between its ends", so it leaves out both end minutes and can't
    /// be negated; and `12 am` is noon.
    pub fn read(text: &str) -> Result<WrittenTime, Misread> {
        let mut reader = Reader { text, at: 0 };
        let negated = reader.takes(b'!');
        let first = reader.time()?;
        if !reader.takes(b'-') {
            return Err(reader.misread("expected `-` and a second time"));
        }
        let second = reader.time()?;
        reader.skip_spaces();
        if reader.at < text.len() {
            return Err(reader.misread("nothing may follow the second time"));
        }
        let over_midnight = first.minutes > second.minutes;
        let (from, to) = if over_midnight { (second, first) } else { (first, second) };
        Ok(WrittenTime {
            range: TimeRange { from: from.minutes, to: to.minutes, outside: over_midnight || negated },
            negation_lost: over_midnight && negated,
            noon_for_midnight: first.is_12_am || second.is_12_am,
        })
    }

    /// Whether a time of day lies in it. Seconds do not count.
    pub fn contains(&self, time: Time) -> bool {
        (self.from..=self.to).contains(&minute_of(time)) != self.outside
    }

    /// How many minutes after the one that a time of day lies in the range begins or ends next: at least 1, at most a
    /// whole day.
    pub fn minutes_to_edge(&self, time: Time) -> u16 {
        [self.from, self.to + 1].map(|edge| minutes_between(minute_of(time), edge)).into_iter().min().unwrap_or(DAY)
    }
}

/// The minutes of a day that has as many as most have.
const DAY: u16 = 24 * 60;

/// How many minutes after the one that a time of day lies in the next day begins.
pub(crate) fn minutes_to_midnight(time: Time) -> u16 {
    DAY - minute_of(time)
}

fn minute_of(time: Time) -> u16 {
    time.hour() as u16 * 60 + time.minute() as u16
}

/// From a minute of the day to the next time that another one comes.
fn minutes_between(from: u16, to: u16) -> u16 {
    match (to + DAY - from) % DAY {
        0 => DAY,
        minutes => minutes,
    }
}

#[derive(Clone, Copy)]
struct WrittenMinute {
    minutes: u16,
    is_12_am: bool,
}

/// Reads the parts of a `time`.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn misread(&self, message: &'static str) -> Misread {
        Misread { at: self.at, message }
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(' ').len();
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.skip_spaces();
        let taken = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(taken);
        taken
    }

    /// One or two digits.
    fn number(&mut self) -> Option<u16> {
        let digits = self.text.as_bytes()[self.at..].iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
        let number = self.text[self.at..self.at + digits].parse().ok()?;
        self.at += digits;
        Some(number)
    }

    fn time(&mut self) -> Result<WrittenMinute, Misread> {
        self.skip_spaces();
        let start = self.at;
        let mut hour = self.number().ok_or_else(|| self.misread("expected a time, such as `8:30` or `6 pm`"))?;
        let mut minute = 0;
        if self.text.as_bytes().get(self.at) == Some(&b':') {
            self.at += 1;
            minute = self.number().ok_or_else(|| self.misread("expected minutes"))?;
        }
        self.skip_spaces();
        let half = self.text.get(self.at..self.at + 2).map(str::to_ascii_lowercase);
        let is_12_am = hour == 12 && half.as_deref() == Some("am");
        match half.as_deref() {
            Some("am") => self.at += 2,
            Some("pm") => {
                self.at += 2;
                if hour < 12 {
                    hour += 12;
                }
            }
            _ => {}
        }
        if hour > 23 || minute > 59 {
            return Err(Misread { at: start, message: "the day has no such time" });
        }
        Ok(WrittenMinute { minutes: hour * 60 + minute, is_12_am })
    }
}

/// Some days of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weekdays([bool; 7]);

impl Weekdays {
    /// The words that name days, in order of their first letters; each day also has a name of three letters.
    pub const NAMES: [&str; 9] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "weekdays", "weekends"];

    /// Reads names of days, in any case, separated by commas or spaces.
    pub fn read(text: &str) -> Result<Weekdays, Misread> {
        let mut days = Weekdays::default();
        let mut at = 0;
        for word in text.split([',', ' ']) {
            if !word.is_empty() {
                let days_of_word = Weekdays::of(word).ok_or(Misread { at, message: "this names no day" })?;
                for day in days_of_word {
                    days.0[day] = true;
                }
            }
            at += word.len() + 1;
        }
        match days {
            Weekdays([false, false, false, false, false, false, false]) => {
                Err(Misread { at: 0, message: "no day is named" })
            }
            days => Ok(days),
        }
    }

    /// Whether a day is among them.
    pub fn contains(&self, day: Weekday) -> bool {
        self.0[usize::try_from(day.to_monday_zero_offset()).unwrap_or(0)]
    }

    fn of(word: &str) -> Option<std::ops::Range<usize>> {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "weekdays" => Some(0..5),
            "weekends" => Some(5..7),
            _ => {
                let day = Weekdays::NAMES[..7].iter().position(|name| *name == word || name[..3] == word)?;
                Some(day..day + 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(range: &str, hour: i8, minute: i8) -> bool {
        let written = TimeRange::read(range).unwrap_or_else(|error| panic!("{range}: {error:?}"));
        written.range.contains(jiff::civil::time(hour, minute, 59, 0))
    }

    #[test]
    fn both_ends_of_a_range_are_in_it_to_the_minute() {
        for range in ["9 - 17", "9:00-17:00", " 9 am -5pm ", "09:00 AM - 5:00 PM", "9:0-17:0"] {
            let held: Vec<_> =
                [(8, 59), (9, 0), (12, 0), (17, 0), (17, 1)].map(|(hour, minute)| holds(range, hour, minute)).into();
            assert_eq!(held, [false, true, true, true, false], "{range}");
            let opposite = format!("! {range}");
            assert!(holds(&opposite, 8, 59) && !holds(&opposite, 9, 0) && !holds(&opposite, 17, 0), "{opposite}");
        }
    }

    #[test]
    fn a_range_over_midnight_leaves_out_both_end_minutes_and_loses_its_negation() {
        for range in ["22:00 - 6:00", "!22:00 - 6:00"] {
            let times = [(21, 59), (22, 0), (22, 1), (0, 0), (5, 59), (6, 0), (6, 1)];
            let held = times.map(|(hour, minute)| holds(range, hour, minute));
            assert_eq!(held, [false, false, true, true, true, false, false], "{range}");
        }
        assert!(TimeRange::read("!22:00 - 6:00").is_ok_and(|written| written.negation_lost));
        assert!(TimeRange::read("!6:00 - 22:00").is_ok_and(|written| !written.negation_lost));
    }

    #[test]
    fn a_range_begins_and_ends_at_its_edges_and_nowhere_between() {
        let at = |minute: u16| jiff::civil::time((minute / 60 % 24) as i8, (minute % 60) as i8, 30, 0);
        for text in ["9 - 17", "!9 - 17", "22 - 6", "0:00 - 23:59", "0:00 - 0:00", "8:15 - 8:15", "!23:59 - 23:59"] {
            let range = TimeRange::read(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).range;
            for minute in 0..DAY {
                let left = range.minutes_to_edge(at(minute));
                assert!((1..=DAY).contains(&left), "{text}");
                let mut until_then = (minute..minute + left).map(|minute| range.contains(at(minute)));
                assert!(until_then.all(|holds| holds == range.contains(at(minute))), "{text} from minute {minute}");
                let changes = range.contains(at(minute + left)) != range.contains(at(minute));
                assert!(changes || text.contains("0:00 - 23:59"), "{text} from minute {minute}");
            }
        }
    }

    #[test]
    fn twelve_o_clock_is_noon_whichever_half_of_the_day_it_says() {
        for range in ["12 am - 1 pm", "12 pm - 1 pm", "12 - 13"] {
            assert!(
                !holds(range, 0, 30) && holds(range, 12, 0) && holds(range, 13, 0) && !holds(range, 13, 1),
                "{range}"
            );
        }
        assert!(TimeRange::read("12 am - 1 pm").is_ok_and(|written| written.noon_for_midnight));
        assert!(holds("6 pm - 8:30 am", 18, 1) && holds("6 pm - 8:30 am", 8, 29) && !holds("6 pm - 8:30 am", 8, 30));
    }

    #[test]
    fn what_is_no_range_is_refused_with_its_place() {
        let cases = [
            ("", 0),
            ("9:00", 4),
            ("9:00 - 10:00 x", 13),
            ("24:00 - 1:00", 0),
            ("9:60 - 10:00", 0),
            ("9: - 10", 2),
            ("9 - ", 4),
            ("nine - ten", 0),
            ("9 - 123", 6),
            ("!! 9 - 10", 1),
            ("9 - 10é", 6),
        ];
        for (text, at) in cases {
            assert_eq!(TimeRange::read(text).map_err(|error| error.at), Err(at), "{text}");
        }
    }

    #[test]
    fn days_are_named_in_full_in_three_letters_or_as_a_part_of_the_week() {
        let on = |text: &str| {
            let days = Weekdays::read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            let mut day = Weekday::Monday;
            let mut held = String::new();
            for letter in "mtwTfsS".chars() {
                if days.contains(day) {
                    held.push(letter);
                }
                day = day.next();
            }
            held
        };
        assert_eq!(on("mon tue, fri"), "mtf");
        assert_eq!(on("SunDay"), "S");
        assert_eq!(on("weekdays"), "mtwTf");
        assert_eq!(on("WEEKENDS,wed"), "wsS");
        for (text, at) in [("someday", 0), ("!sunday", 0), ("monday,tues", 7), ("", 0), (" , ", 0)] {
            assert_eq!(Weekdays::read(text).map_err(|error| error.at), Err(at), "{text}");
        }
    }
}
