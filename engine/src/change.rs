//! What `check_diff` compares, and conditions on what changed.

use crate::diff::{self, DiffLimits};
use crate::normalise::Normaliser;
use crate::numbers::Numbers;
use crate::pattern::{OsMatch, OsRegex, Pcre2};
use crate::source::Span;

/// The `check_diff` of a rule.
#[derive(Debug)]
pub(crate) struct CheckDiff {
    /// Where the rule says so.
    pub span: Span,
    /// What does not count as a change.
    pub normaliser: Normaliser,
}

/// A condition on the change that the rule's own `check_diff` found, or the nearest one above it that holds.
#[derive(Debug)]
pub(crate) struct ChangeCondition {
    pub test: ChangeTest,
    /// The element, for explanations.
    pub span: Span,
}

/// What is asked of a change.
#[derive(Debug)]
pub(crate) enum ChangeTest {
    /// `match`, `regex` or `pcre2` with `on="..."`: the pattern fits one of these lines, each by itself.
    AnyLine(ChangedLines, LinePattern),
    /// `added_lines`
    AddedLines(Numbers),
    /// `removed_lines`
    RemovedLines(Numbers),
}

/// Which lines a pattern is tried on, all of them normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangedLines {
    Added,
    Removed,
    /// All lines of the new output.
    Output,
}

/// A pattern for single lines.
#[derive(Debug)]
pub(crate) enum LinePattern {
    Match(OsMatch),
    Regex(OsRegex),
    /// One whose search is linear in the line.
    Pcre2(Pcre2),
}

/// What is different between two texts.
#[derive(Debug)]
pub(crate) struct Change {
    added: Vec<String>,
    removed: Vec<String>,
    /// The new text, normalised, without its header.
    output: Vec<u8>,
}

impl Change {
    /// From one output to another, without their headers.
    pub fn new(normaliser: &Normaliser, old: &[u8], new: &[u8]) -> Change {
        let (old, new) = (normaliser.apply(old), normaliser.apply(new));
        let limits = DiffLimits { text_bytes_max: usize::MAX, ..DiffLimits::default() };
        let diff = diff::diff(&old, &new, &limits);
        Change { added: diff.added, removed: diff.removed, output: new.into_owned() }
    }
}

impl ChangeTest {
    /// How much memory in bytes its pattern takes at most when it is compiled.
    pub fn pattern_bytes_max(&self) -> usize {
        match self {
            ChangeTest::AnyLine(_, pattern) => pattern.bytes_max(),
            ChangeTest::AddedLines(_) | ChangeTest::RemovedLines(_) => 0,
        }
    }

    /// Whether a change fulfils it.
    pub fn holds(&self, change: &Change) -> bool {
        let count = |lines: &[String]| lines.len().try_into().unwrap_or(i64::MAX);
        match self {
            ChangeTest::AnyLine(ChangedLines::Added, pattern) => pattern.fits_any(&change.added),
            ChangeTest::AnyLine(ChangedLines::Removed, pattern) => pattern.fits_any(&change.removed),
            ChangeTest::AnyLine(ChangedLines::Output, _) if change.output.is_empty() => false,
            ChangeTest::AnyLine(ChangedLines::Output, pattern) => {
                change.output.split(|byte| *byte == b'\n').any(|line| pattern.fits(line))
            }
            ChangeTest::AddedLines(numbers) => numbers.contains(count(&change.added)),
            ChangeTest::RemovedLines(numbers) => numbers.contains(count(&change.removed)),
        }
    }

    /// The name of its element, and of its attribute.
    pub fn name(&self) -> &'static str {
        match self {
            ChangeTest::AnyLine(lines, pattern) => match (pattern, lines) {
                (LinePattern::Match(_), ChangedLines::Added) => "match on=\"added\"",
                (LinePattern::Match(_), ChangedLines::Removed) => "match on=\"removed\"",
                (LinePattern::Match(_), ChangedLines::Output) => "match on=\"output\"",
                (LinePattern::Regex(_), ChangedLines::Added) => "regex on=\"added\"",
                (LinePattern::Regex(_), ChangedLines::Removed) => "regex on=\"removed\"",
                (LinePattern::Regex(_), ChangedLines::Output) => "regex on=\"output\"",
                (LinePattern::Pcre2(_), ChangedLines::Added) => "pcre2 on=\"added\"",
                (LinePattern::Pcre2(_), ChangedLines::Removed) => "pcre2 on=\"removed\"",
                (LinePattern::Pcre2(_), ChangedLines::Output) => "pcre2 on=\"output\"",
            },
            ChangeTest::AddedLines(_) => "added_lines",
            ChangeTest::RemovedLines(_) => "removed_lines",
        }
    }
}

impl LinePattern {
    /// How much memory in bytes it takes at most when it is compiled.
    pub fn bytes_max(&self) -> usize {
        match self {
            LinePattern::Match(pattern) => pattern.bytes_max(),
            LinePattern::Regex(pattern) => pattern.bytes_max(),
            LinePattern::Pcre2(pattern) => pattern.bytes_max(),
        }
    }

    fn fits_any(&self, lines: &[String]) -> bool {
        lines.iter().any(|line| self.fits(line.as_bytes()))
    }

    fn fits(&self, line: &[u8]) -> bool {
        match self {
            LinePattern::Match(pattern) => pattern.is_match(line),
            LinePattern::Regex(pattern) => pattern.is_match(line),
            LinePattern::Pcre2(pattern) => pattern.is_match(line),
        }
    }
}
