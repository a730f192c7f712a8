//! Numbers that a condition asks for: `0`, `1-5`, `>= 30s`, `1, 2, 10-19`, `!0`.

use std::ops::{Range, RangeInclusive};

/// A set of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// In order, without overlaps, none next to another.
    ranges: Vec<RangeInclusive<i64>>,
}

/// What numbers count, which decides on their units and their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Exit codes: whole numbers, also negative ones (Windows).
    Code,
    /// Things: whole numbers from 0.
    Count,
    /// Time, kept in milliseconds: `ms`, `s`, `m`, `h`, `d`; seconds when no unit is given.
    Milliseconds,
    /// Sizes in bytes: `B`, `KiB`, `MiB`, `GiB`; bytes when no unit is given.
    Bytes,
}

/// Why a text is no set of numbers, and where in it (byte offsets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NumbersError {
    pub place: Range<usize>,
    /// Lower case, no final period.
    pub message: String,
    /// What to write instead.
    pub help: &'static str,
}

impl Unit {
    fn domain(self) -> RangeInclusive<i64> {
        match self {
            Unit::Code => i32::MIN.into()..=i32::MAX.into(),
            Unit::Count | Unit::Milliseconds | Unit::Bytes => 0..=i64::MAX,
        }
    }

    /// The units, with what each is worth. The first counts when none is given.
    fn factors(self) -> &'static [(&'static str, i64)] {
        match self {
            Unit::Code | Unit::Count => &[],
            Unit::Milliseconds => {
                &[("s", 1000), ("ms", 1), ("m", 60 * 1000), ("h", 3600 * 1000), ("d", 24 * 3600 * 1000)]
            }
            Unit::Bytes => &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)],
        }
    }

    fn help(self) -> &'static str {
        match self {
            Unit::Code => {
                "write a number (`0`), a range (`1-5`), a comparison (`>= 2`), or several with commas between"
            }
            Unit::Count => {
                "write a number (`1`), a range (`1-5`), a comparison (`>= 2`), or several with commas between"
            }
            Unit::Milliseconds => {
                "write a comparison (`>= 30s`) or a range (`1s-5s`); units are `ms`, `s`, `m`, `h`, `d`"
            }
            Unit::Bytes => {
                "write a number of bytes (`0`), a comparison (`>= 1MiB`) or a range; units are `B`, `KiB`, `MiB`, `GiB`"
            }
        }
    }
}

impl Numbers {
    /// Reads a set: parts separated by commas, of which one must fit, or none when `!` stands before the first. A part is
    /// a number, a range with both its ends (`1-5`), or a comparison (`>`, `>=`, `<`, `<=`, `=`). `\<` is read as `<`,
    /// since rule files can't hold a bare one.
    pub fn parse(text: &str, unit: Unit) -> Result<Numbers, NumbersError> {
        let mut reader = Reader { text, at: 0, unit };
        let negated = reader.eat("!");
        if negated {
            reader.eat("=");
        }
        let mut ranges = vec![reader.part()?];
        while reader.eat(",") {
            ranges.push(reader.part()?);
        }
        reader.skip_spaces();
        if reader.at < text.len() {
            return Err(reader.error(reader.at..text.len(), "this is no part of a number"));
        }
        let domain = unit.domain();
        let ranges =
            ranges.into_iter().map(|range| *range.start().max(domain.start())..=*range.end().min(domain.end()));
        let mut numbers = Numbers::union(ranges.collect());
        if negated {
            numbers = numbers.complement(&domain);
        }
        if numbers.ranges.is_empty() {
            return Err(reader.error(0..text.len(), "no number fits"));
        }
        Ok(numbers)
    }

    /// Whether the number is one of them.
    pub fn contains(&self, number: i64) -> bool {
        let after = self.ranges.partition_point(|range| *range.start() <= number);
        after > 0 && self.ranges[after - 1].contains(&number)
    }

    /// The numbers around this one that are in the set as it is, or like it are not, without a gap.
    pub fn alike(&self, number: i64) -> RangeInclusive<i64> {
        let after = self.ranges.partition_point(|range| *range.start() <= number);
        let before = after.checked_sub(1).map(|at| &self.ranges[at]);
        if let Some(range) = before.filter(|range| range.contains(&number)) {
            return range.clone();
        }
        let from = before.map_or(i64::MIN, |range| range.end().saturating_add(1));
        let to = self.ranges.get(after).map_or(i64::MAX, |range| range.start().saturating_sub(1));
        from..=to
    }

    /// Whether some number is in both sets.
    pub fn meets(&self, other: &Numbers) -> bool {
        let meet = |one: &RangeInclusive<i64>, other: &RangeInclusive<i64>| {
            one.start() <= other.end() && other.start() <= one.end()
        };
        self.ranges.iter().any(|one| other.ranges.iter().any(|other| meet(one, other)))
    }

    /// Whether all numbers of the other set are in this one.
    pub fn covers(&self, other: &Numbers) -> bool {
        let covers = |range: &RangeInclusive<i64>| {
            self.ranges.iter().any(|own| own.contains(range.start()) && own.contains(range.end()))
        };
        other.ranges.iter().all(covers)
    }

    fn union(mut ranges: Vec<RangeInclusive<i64>>) -> Numbers {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_by_key(|range| *range.start());
        let mut union: Vec<RangeInclusive<i64>> = Vec::new();
        for range in ranges {
            match union.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => union.push(range),
            }
        }
        Numbers { ranges: union }
    }

    fn complement(&self, domain: &RangeInclusive<i64>) -> Numbers {
        let mut rest = Vec::new();
        let mut start = Some(*domain.start());
        for range in &self.ranges {
            if let Some(start) = start.filter(|start| start < range.start()) {
                rest.push(start..=*range.start() - 1);
            }
            start = range.end().checked_add(1);
        }
        if let Some(start) = start.filter(|start| start <= domain.end()) {
            rest.push(start..=*domain.end());
        }
        Numbers { ranges: rest }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    unit: Unit,
}

/// A number before its unit is applied.
struct Raw {
    place: Range<usize>,
    /// In thousandths.
    thousandths: i128,
    unit: Option<i64>,
}

impl<'a> Reader<'a> {
    fn part(&mut self) -> Result<RangeInclusive<i64>, NumbersError> {
        self.skip_spaces();
        let start = self.at;
        for (sign, below, equal) in [(">=", false, true), (">", false, false), ("<=", true, true), ("<", true, false)] {
            if self.eat(sign) || below && self.eat(&format!("\\{sign}")) {
                let number = self.number()?;
                let number = self.value(&number, None)?;
                return Ok(match (below, equal) {
                    (false, true) => number..=i64::MAX,
                    (false, false) => number.saturating_add(1)..=i64::MAX,
                    (true, true) => i64::MIN..=number,
                    (true, false) => i64::MIN..=number.saturating_sub(1),
                });
            }
        }
        let is_comparison = self.eat("=");
        let first = self.number()?;
        if is_comparison || !self.eat("-") {
            let number = self.value(&first, None)?;
            return Ok(number..=number);
        }
        let second = self.number()?;
        // `1-5s` are seconds at both ends.
        let range = self.value(&first, second.unit)?..=self.value(&second, None)?;
        if range.is_empty() {
            return Err(self.error(start..self.at, "the range ends before it begins"));
        }
        Ok(range)
    }

    fn number(&mut self) -> Result<Raw, NumbersError> {
        self.skip_spaces();
        let start = self.at;
        let is_negative = self.unit == Unit::Code && self.eat("-");
        let whole = self.digits();
        let mut fraction = "";
        if self.unit != Unit::Code && self.unit != Unit::Count && !whole.is_empty() && self.rest().starts_with('.') {
            self.at += 1;
            fraction = self.digits();
        }
        if whole.is_empty() {
            let rest = self.rest();
            let length = rest.find(',').unwrap_or(rest.len()).max(usize::from(!rest.is_empty()));
            let place = if rest.is_empty() { start..self.at } else { self.at..self.at + length };
            return Err(self.error(place, "a number is missing"));
        }
        // 15 digits stay below 10^15, and the largest factor below 2^31: nothing overflows.
        if whole.len() > 15 || fraction.len() > 3 {
            return Err(self.error(start..self.at, "the number has too many digits"));
        }
        let thousandths = format!("{whole}{fraction:0<3}").parse::<i128>().unwrap_or(i128::MAX);
        let number_end = self.at;
        self.skip_spaces();
        let unit_start = self.at;
        let rest = self.rest();
        let name = &rest[..rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len())];
        self.at += name.len();
        let unit = if name.is_empty() {
            self.at = number_end;
            None
        } else {
            let known = self.unit.factors().iter().find(|(unit, _)| unit.eq_ignore_ascii_case(name));
            Some(known.ok_or_else(|| self.error(unit_start..self.at, "this is no unit"))?.1)
        };
        let thousandths = if is_negative { -thousandths } else { thousandths };
        Ok(Raw { place: start..self.at, thousandths, unit })
    }

    /// `unit` is for a number that names none.
    fn value(&self, number: &Raw, unit: Option<i64>) -> Result<i64, NumbersError> {
        let factor =
            number.unit.or(unit).unwrap_or_else(|| self.unit.factors().first().map_or(1, |(_, factor)| *factor));
        let thousandths = number.thousandths * i128::from(factor);
        if thousandths % 1000 != 0 {
            return Err(self.error(number.place.clone(), "this is no whole number of the smallest unit"));
        }
        i64::try_from(thousandths / 1000).map_err(|_| self.error(number.place.clone(), "the number is too large"))
    }

    fn digits(&mut self) -> &'a str {
        let start = self.at;
        self.at += self.rest().bytes().take_while(u8::is_ascii_digit).count();
        &self.text[start..self.at]
    }

    fn eat(&mut self, sign: &str) -> bool {
        self.skip_spaces();
        let is_there = self.rest().starts_with(sign);
        self.at += if is_there { sign.len() } else { 0 };
        is_there
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().bytes().take_while(u8::is_ascii_whitespace).count();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, place: Range<usize>, message: &str) -> NumbersError {
        NumbersError { place, message: message.to_owned(), help: self.unit.help() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of -2 to 12 are in the set.
    fn members(text: &str, unit: Unit) -> Vec<i64> {
        let numbers = Numbers::parse(text, unit).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        (-2..=12).filter(|number| numbers.contains(*number)).collect()
    }

    #[test]
    fn numbers_that_are_alike_have_no_gap_between_them() {
        for text in ["0", "1-3", "!1-3", "-2, 5-7, 9-10", "> 4", "!> 4"] {
            let numbers = Numbers::parse(text, Unit::Code).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            for number in -4..=12 {
                let alike = numbers.alike(number);
                assert!(alike.contains(&number), "{text}: {number}");
                let near = |number: &i64| (-6..=14).contains(number);
                let (from, to) = (*alike.start(), *alike.end());
                let inside =
                    (from.max(-6)..=to.min(14)).all(|other| numbers.contains(other) == numbers.contains(number));
                let edges = [from.saturating_sub(1), to.saturating_add(1)].into_iter().filter(near);
                assert!(inside, "{text}: {number}");
                for outside in edges {
                    assert_ne!(numbers.contains(outside), numbers.contains(number), "{text}: {number}, {outside}");
                }
            }
        }
    }

    #[test]
    fn a_set_is_what_its_parts_say() {
        for (text, expected) in [
            ("0", vec![0]),
            (" 3 ", vec![3]),
            ("= 3", vec![3]),
            ("1-3", vec![1, 2, 3]),
            ("1 - 3", vec![1, 2, 3]),
            ("-2--1", vec![-2, -1]),
            ("-1", vec![-1]),
            (">= 11", vec![11, 12]),
            ("> 11", vec![12]),
            ("<0", vec![-2, -1]),
            ("\\<0", vec![-2, -1]),
            ("\\<= 0", vec![-2, -1, 0]),
            ("1, 5-6, > 11", vec![1, 5, 6, 12]),
            ("5,4,6,5", vec![4, 5, 6]),
            ("!0", vec![-2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            ("!= 0, > 1", vec![-2, -1, 1]),
            ("! <= 10", vec![11, 12]),
        ] {
            assert_eq!(members(text, Unit::Code), expected, "{text}");
        }
        assert_eq!(members("\\< 2", Unit::Count), [0, 1]);
    }

    #[test]
    fn units_count() {
        for (text, unit, inside, outside) in [
            (">= 30s", Unit::Milliseconds, 30_000, 29_999),
            (">= 30", Unit::Milliseconds, 30_000, 29_999),
            ("> 1.5s", Unit::Milliseconds, 1501, 1500),
            ("\\< 250ms", Unit::Milliseconds, 249, 250),
            ("1-5s", Unit::Milliseconds, 5000, 5001),
            ("1m-1h", Unit::Milliseconds, 60_000, 59_999),
            ("<= 1 D", Unit::Milliseconds, 86_400_000, 86_400_001),
            (">= 1MiB", Unit::Bytes, 1 << 20, (1 << 20) - 1),
            ("0", Unit::Bytes, 0, 1),
            (">= 1.5KiB", Unit::Bytes, 1536, 1535),
            ("1-2KiB", Unit::Bytes, 2048, 1023),
        ] {
            let numbers = Numbers::parse(text, unit).unwrap();
            assert!(numbers.contains(inside) && !numbers.contains(outside), "{text}");
        }
    }

    #[test]
    fn what_is_no_set_is_refused_with_its_place() {
        for (text, unit, place, message) in [
            ("", Unit::Code, 0..0, "a number is missing"),
            ("  ", Unit::Code, 2..2, "a number is missing"),
            ("yes", Unit::Code, 0..3, "a number is missing"),
            ("1,", Unit::Code, 2..2, "a number is missing"),
            ("1-", Unit::Code, 2..2, "a number is missing"),
            ("1 2", Unit::Code, 2..3, "this is no part of a number"),
            ("1,,2", Unit::Code, 2..3, "a number is missing"),
            ("é", Unit::Code, 0..2, "a number is missing"),
            ("1é", Unit::Code, 1..3, "this is no part of a number"),
            ("5s", Unit::Code, 1..2, "this is no unit"),
            (">= 5 years", Unit::Milliseconds, 5..10, "this is no unit"),
            ("5-1", Unit::Code, 0..3, "the range ends before it begins"),
            ("1.5", Unit::Count, 1..3, "this is no part of a number"),
            ("1.5", Unit::Bytes, 0..3, "this is no whole number of the smallest unit"),
            ("-1", Unit::Count, 0..2, "a number is missing"),
            ("\\< 0", Unit::Count, 0..4, "no number fits"),
            ("! >= 0", Unit::Count, 0..6, "no number fits"),
            ("9999999999999999", Unit::Code, 0..16, "the number has too many digits"),
            ("999999999999999d", Unit::Milliseconds, 0..16, "the number is too large"),
        ] {
            let error = Numbers::parse(text, unit).expect_err(text);
            assert_eq!((error.place, error.message.as_str()), (place, message), "{text}");
        }
    }

    #[test]
    fn one_set_covers_another_when_it_holds_all_of_it() {
        let parse = |text| Numbers::parse(text, Unit::Code).unwrap();
        for (large, small, expected) in [
            ("1-5", "2-3", true),
            ("1-5", "1-5", true),
            ("1-5", "5-6", false),
            ("1-3, 4-5", "3-4", true),
            ("!0", "1, 7", true),
            ("!0", ">= 0", false),
            (">= 1", "> 0", true),
        ] {
            assert_eq!(parse(large).covers(&parse(small)), expected, "{large} {small}");
        }
    }
}
