//! Normalisers of `check_diff`: what of an output does not count as a change.
//!
//! Outputs are compared, and their difference is told, after the steps of the rule's normaliser; the baseline stays as
//! the command printed it. So a rule's steps can be edited without forgetting anything.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::pattern::OsRegex;

/// Bytes of lines, each counted once for every match in it, after which [`Step::Replace`] leaves the rest as it is: each
/// search may have to look at the whole line, and outputs are hostile. That is 1,000 matches in a line of 1 MiB, or a
/// million in lines of 1 KiB.
const REPLACE_BYTES_MAX: usize = 1 << 30;

/// The steps of one `check_diff`, in the order in which they are written. Without steps a text stays as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normaliser {
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// White space at both ends of each line goes.
    Trim,
    /// Lines in the order of their bytes.
    Sort,
    /// Of equal lines the first stays.
    Unique,
    /// This many lines at the start go.
    SkipHeader(usize),
    /// Lines in which the pattern is found go.
    IgnoreLines(OsRegex),
    /// Every place in which the pattern is found becomes the replacement.
    Replace(OsRegex, Replacement),
    /// Some of each line's columns go.
    Columns(Columns),
}

/// What stands for a match: literal bytes, and what groups of the pattern captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub parts: Vec<ReplacementPart>,
}

/// A part of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplacementPart {
    Literal(String),
    /// 0 is the whole match.
    Group(usize),
}

/// Which columns stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Columns from 1; the end is `usize::MAX` for all that follow.
    pub ranges: Vec<std::ops::RangeInclusive<usize>>,
    /// These stay, or all others do.
    pub keep: bool,
    /// What stands between columns; `None` for white space, however much. Columns that stay have it between them again,
    /// and one space for white space.
    pub separator: Option<String>,
}

impl Normaliser {
    /// How much memory in bytes its patterns take at most when they are compiled.
    pub fn pattern_bytes_max(&self) -> usize {
        let of_step = |step: &Step| match step {
            Step::IgnoreLines(pattern) | Step::Replace(pattern, _) => pattern.bytes_max(),
            Step::Trim | Step::Sort | Step::Unique | Step::SkipHeader(_) | Step::Columns(_) => 0,
        };
        self.steps.iter().map(of_step).sum()
    }

    /// One that changes no text.
    pub fn nothing() -> &'static Normaliser {
        static NOTHING: Normaliser = Normaliser { steps: Vec::new() };
        &NOTHING
    }

    /// Whether it changes no text.
    pub fn is_nothing(&self) -> bool {
        self.steps.is_empty()
    }

    /// The text after all steps. See [`REPLACE_BYTES_MAX`] for the one bound. Lines are separated by LF; a text has one line more than it has of those.
    pub fn apply<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        if self.is_nothing() || text.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut lines: Vec<Cow<'t, [u8]>> = text.split(|byte| *byte == b'\n').map(Cow::Borrowed).collect();
        let mut work_left = REPLACE_BYTES_MAX;
        for step in &self.steps {
            step.apply(&mut lines, &mut work_left);
        }
        Cow::Owned(lines.join(&b'\n'))
    }
}

impl Step {
    fn apply(&self, lines: &mut Vec<Cow<'_, [u8]>>, work_left: &mut usize) {
        match self {
            Step::Trim => each(lines, trim),
            Step::Sort => lines.sort(),
            Step::Unique => {
                let mut seen = HashSet::new();
                lines.retain(|line| seen.insert(line.clone()));
            }
            Step::SkipHeader(count) => drop(lines.drain(..lines.len().min(*count))),
            Step::IgnoreLines(pattern) => lines.retain(|line| !pattern.is_match(line)),
            Step::Replace(pattern, replacement) => each(lines, |line| replacement.apply(pattern, line, work_left)),
            Step::Columns(columns) => each(lines, |line| columns.apply(&line)),
        }
    }
}

fn each<'t>(lines: &mut [Cow<'t, [u8]>], mut change: impl FnMut(Cow<'t, [u8]>) -> Cow<'t, [u8]>) {
    for line in lines {
        *line = change(std::mem::take(line));
    }
}

fn trim(line: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match line {
        Cow::Borrowed(line) => Cow::Borrowed(line.trim_ascii()),
        Cow::Owned(line) => Cow::Owned(line.trim_ascii().to_vec()),
    }
}

impl Replacement {
    /// Reads `\0` to `\9` as what a group captured, `\\` as a backslash and everything else as itself. Fails with the
    /// place of a `\` that is followed by something else.
    pub fn parse(text: &str) -> Result<Replacement, usize> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.char_indices();
        while let Some((at, character)) = characters.next() {
            if character != '\\' {
                literal.push(character);
                continue;
            }
            match characters.next() {
                Some((_, '\\')) => literal.push('\\'),
                Some((_, digit)) if digit.is_ascii_digit() => {
                    if !literal.is_empty() {
                        parts.push(ReplacementPart::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(ReplacementPart::Group(digit as usize - '0' as usize));
                }
                _ => return Err(at),
            }
        }
        if !literal.is_empty() {
            parts.push(ReplacementPart::Literal(literal));
        }
        Ok(Replacement { parts })
    }

    fn apply<'t>(&self, pattern: &OsRegex, line: Cow<'t, [u8]>, work_left: &mut usize) -> Cow<'t, [u8]> {
        let matches = pattern.all_captures(&line, *work_left / line.len().max(1));
        *work_left -= matches.len() * line.len();
        let mut replaced = Vec::new();
        let mut at = 0;
        for groups in matches {
            // A pattern that fits the empty text is refused when the rule is loaded.
            let Some(whole) = groups[0].clone() else { continue };
            replaced.extend_from_slice(&line[at..whole.start]);
            for part in &self.parts {
                match part {
                    ReplacementPart::Literal(text) => replaced.extend_from_slice(text.as_bytes()),
                    ReplacementPart::Group(number) => {
                        let group = groups.get(*number).cloned().flatten();
                        replaced.extend_from_slice(group.map_or(&[], |group| &line[group]));
                    }
                }
            }
            at = whole.end;
        }
        if at == 0 {
            return line;
        }
        replaced.extend_from_slice(&line[at..]);
        Cow::Owned(replaced)
    }
}

impl Columns {
    fn apply<'t>(&self, line: &[u8]) -> Cow<'t, [u8]> {
        let stays = |number: usize| self.ranges.iter().any(|range| range.contains(&number)) == self.keep;
        let (columns, separator): (Vec<&[u8]>, &[u8]) = match &self.separator {
            Some(separator) => (split(line, separator.as_bytes()), separator.as_bytes()),
            None => (line.split(u8::is_ascii_whitespace).filter(|column| !column.is_empty()).collect(), b" "),
        };
        let kept: Vec<&[u8]> =
            (1..).zip(columns).filter(|(number, _)| stays(*number)).map(|(_, column)| column).collect();
        Cow::Owned(kept.join(separator))
    }
}

fn split<'t>(line: &'t [u8], separator: &[u8]) -> Vec<&'t [u8]> {
    let mut columns = Vec::new();
    let mut start = 0;
    for at in memchr::memmem::find_iter(line, separator) {
        columns.push(&line[start..at]);
        start = at + separator.len();
    }
    columns.push(&line[start..]);
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(pattern: &str, with: &str) -> Step {
        Step::Replace(OsRegex::new(pattern).unwrap(), Replacement::parse(with).unwrap())
    }

    fn columns(ranges: &[(usize, usize)], keep: bool, separator: Option<&str>) -> Step {
        let ranges = ranges.iter().map(|(from, to)| *from..=*to).collect();
        Step::Columns(Columns { ranges, keep, separator: separator.map(str::to_owned) })
    }

    fn check(steps: Vec<Step>, text: &str, expected: &str) {
        let normaliser = Normaliser { steps };
        let normalised = normaliser.apply(text.as_bytes());
        assert_eq!(String::from_utf8_lossy(&normalised), expected, "{text:?}");
    }

    #[test]
    fn each_step_does_what_it_says() {
        let any_end = usize::MAX;
        check(vec![], "b\na\n", "b\na\n");
        check(vec![Step::Trim], " a\t\r\n\n  b c ", "a\n\nb c");
        check(vec![Step::Sort], "b\na\nB\n", "\nB\na\nb");
        check(vec![Step::Unique], "b\na\nb\na", "b\na");
        check(vec![Step::SkipHeader(1)], "PID CMD\n1 init", "1 init");
        check(vec![Step::SkipHeader(9)], "a\nb", "");
        check(vec![Step::IgnoreLines(OsRegex::new(r"^#|^$").unwrap())], "#x\na\n\nb#", "a\nb#");
        check(vec![replace(r"\d+", "N")], "tcp 22 pid 4711\nnone", "tcp N pid N\nnone");
        check(vec![replace(r"(\w+)=(\w+)", r"\2\\\1")], "a=b, c=d", r"b\a, d\c");
        check(vec![replace(r"pid", "")], "pid 1 pid", " 1 ");
        check(vec![replace(r"^x", "y")], "xx", "yx");
        check(vec![replace(r"x$", r"<\0>")], "xx", "x<x>");
        check(vec![columns(&[(1, 1), (3, 3)], true, None)], "  a b\t\tc d", "a c");
        check(vec![columns(&[(2, any_end)], false, None)], "a b c\nd", "a\nd");
        check(vec![columns(&[(2, 2)], false, Some(":"))], "root:x:0::/root", "root:0::/root");
        check(vec![columns(&[(7, 9)], true, None)], "a b", "");
    }

    #[test]
    fn steps_come_in_their_order() {
        check(vec![Step::Unique, replace(r"\d+", "N")], "a1\na2", "aN\naN");
        check(vec![replace(r"\d+", "N"), Step::Unique], "a1\na2", "aN");
        check(vec![Step::SkipHeader(1), Step::Sort], "z\nb\na", "a\nb");
    }

    #[test]
    fn bytes_that_are_not_utf_8_stay() {
        let normaliser = Normaliser { steps: vec![replace(r"\d+", "N"), Step::Trim] };
        assert_eq!(&*normaliser.apply(b"\xff 12 \xfe7 "), b"\xff N \xfeN");
        let any = Normaliser { steps: vec![replace(r"a\.c\d", r"[\0]")] };
        assert_eq!(&*any.apply(b"\xff\xff a\xffc1 a\xffc2"), b"\xff\xff [a\xffc1] [a\xffc2]");
    }

    #[test]
    fn a_replacement_is_read_to_its_mistake() {
        assert_eq!(Replacement::parse(r"a\"), Err(1));
        assert_eq!(Replacement::parse(r"\x"), Err(0));
        let parts = vec![ReplacementPart::Literal(r"a\".to_owned()), ReplacementPart::Group(0)];
        assert_eq!(Replacement::parse(r"a\\\0"), Ok(Replacement { parts }));
    }
}
