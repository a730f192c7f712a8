//! Line breaks in patterns.

use std::ops::Range;

use super::Dialect;
use crate::finding::{Finding, codes};
use crate::load::text::Text;

/// A line break in a pattern, as an editor or a wish for order puts it there.
pub(super) fn found(element: &str, dialect: Dialect, text: &Text) -> Option<Finding> {
    let pattern = text.value.as_str();
    if dialect == Dialect::Pcre2 && pattern.contains("(?x") {
        return None;
    }
    let is_space = |character: char| matches!(character, ' ' | '\t' | '\r' | '\n');
    // Each break with the white space around it.
    let mut breaks: Vec<Range<usize>> = Vec::new();
    for (at, _) in pattern.match_indices('\n') {
        let start = pattern[..at].trim_end_matches(is_space).len();
        let end = pattern.len() - pattern[at..].trim_start_matches(is_space).len();
        if breaks.last().is_none_or(|last| last.start != start) {
            breaks.push(start..end);
        }
    }
    let (first, last) = (breaks.first()?, breaks.last()?);
    let is_between = |range: &Range<usize>| {
        let (before, after) = (&pattern[..range.start], &pattern[range.end..]);
        before.is_empty() || after.is_empty() || before.ends_with('|') || after.starts_with('|')
    };
    let all = first.start..last.end;
    let is_certain = breaks.iter().all(is_between) && !pattern.trim_matches(is_space).is_empty();
    let corrected = (is_certain && text.is_exact(all.clone())).then(|| {
        let pairs = breaks.iter().zip(&breaks[1..]);
        pairs.map(|(one, next)| &pattern[one.end..next.start]).collect::<String>()
    });
    let help = match breaks.iter().all(is_between) {
        true => "write it in one line, without the white space around the break",
        false => {
            "write it in one line; a text over several lines is asked for by `<check_diff/>` with `on=\"...\"`, line by line"
        }
    };
    let finding = Finding::new(&codes::LINE_BREAK, format!("`{element}` holds a line break"))
        .at(text.span_of(all), "white space counts, and a break fits a break alone")
        .note("no line of a log or a `command` holds one; the output of a `full_command` fits only with the same break and white space")
        .help(help.to_owned());
    Some(Finding { replacement: corrected, ..finding })
}
