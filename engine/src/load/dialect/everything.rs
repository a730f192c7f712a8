//! Alternatives that fit every text.

use std::ops::Range;

use super::Dialect;
use crate::finding::{Finding, codes};
use crate::load::text::Text;

/// An alternative that fits every text beside others that do not.
pub(super) fn found(element: &str, dialect: Dialect, text: &Text) -> Option<Finding> {
    let pattern = text.value.as_str();
    let alternatives = alternatives(pattern, dialect)?;
    let is_everything = |range: &Range<usize>| match (&pattern[range.clone()], dialect) {
        ("", _) => true,
        ("^" | "$", Dialect::Match) => true,
        (_, Dialect::Match | Dialect::Pcre2) => false,
        (alternative, Dialect::Regex) => asks_for_nothing(alternative),
    };
    let found = alternatives.iter().position(is_everything)?;
    if alternatives.iter().all(is_everything) {
        return None;
    }
    let range = alternatives[found].clone();
    // With the `|` that parts it from its neighbour: an empty one has no other place.
    let (place, what) = match (range.is_empty(), range.start) {
        (false, _) => (range.clone(), format!("the alternative `{}`", &pattern[range.clone()])),
        (true, 0) => (0..1, "an empty alternative".to_owned()),
        (true, start) => (start - 1..start, "an empty alternative".to_owned()),
    };
    let is_removable = range.is_empty() && text.is_exact(place.clone());
    let finding = Finding::new(&codes::FITS_EVERYTHING, format!("`{element}` fits every text, by {what}"))
        .at(text.span_of(place), if range.is_empty() { "nothing stands beside this" } else { "fits every text" })
        .note("so the others ask for nothing, and the rule holds as if the element were not there")
        .help(if range.is_empty() { "remove the `|`" } else { "remove it" }.to_owned());
    Some(Finding { replacement: is_removable.then(String::new), ..finding })
}

/// The alternatives of a whole pattern, if it has several. `None` too where it can't be told.
fn alternatives(pattern: &str, dialect: Dialect) -> Option<Vec<Range<usize>>> {
    // In a class of PCRE2 `|` is a character.
    if dialect == Dialect::Pcre2 && pattern.contains(['[', '#']) || pattern.contains(r"\Q") {
        return None;
    }
    let mut bars = Vec::new();
    let (mut depth, mut escaped) = (0usize, false);
    for (at, byte) in pattern.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            // OS_Match has neither escapes nor groups.
            b'\\' if dialect != Dialect::Match => escaped = true,
            b'(' if dialect != Dialect::Match => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => bars.push(at),
            _ => {}
        }
    }
    let starts = std::iter::once(0).chain(bars.iter().map(|bar| bar + 1));
    let ends = bars.iter().copied().chain([pattern.len()]);
    (!bars.is_empty()).then(|| starts.zip(ends).map(|(start, end)| start..end).collect())
}

/// Whether an alternative of OS_Regex fits every text: nothing but `\d*` and its like, and at most one anchor.
fn asks_for_nothing(alternative: &str) -> bool {
    let mut rest = match (alternative.strip_prefix('^'), alternative.strip_suffix('$')) {
        (Some(_), Some(_)) if alternative.len() > 1 => return false,
        (Some(rest), _) | (None, Some(rest)) => rest,
        (None, None) => alternative,
    };
    while let [b'\\', _, b'*', ..] = rest.as_bytes() {
        let Some(after) = rest.get(3..) else { return false };
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_that_fit_everything_are_told_from_those_that_do_not() {
        for (dialect, pattern, fits) in [
            (Dialect::Match, "a||b", true),
            (Dialect::Match, "a|", true),
            (Dialect::Match, "|a", true),
            (Dialect::Match, "a|^", true),
            (Dialect::Match, "a|^$", false),
            (Dialect::Match, "", false),
            (Dialect::Match, "a|b", false),
            (Dialect::Regex, r"a|\.*", true),
            (Dialect::Regex, r"a|^\d*", true),
            (Dialect::Regex, r"a|^\d*$", false),
            (Dialect::Regex, r"(a|)b", false),
            (Dialect::Regex, r"a\|", false),
            (Dialect::Regex, r"\.*", false),
            (Dialect::Pcre2, "a|", true),
            (Dialect::Pcre2, "(a|)b", false),
            (Dialect::Pcre2, "[a|]", false),
        ] {
            let text = Text::of(pattern);
            let finding = found("match", dialect, &text);
            assert_eq!(finding.is_some(), fits, "{dialect:?} {pattern}");
            let is_true = match dialect {
                Dialect::Match => crate::pattern::OsMatch::new(pattern).map(|it| it.is_match(b"some other text")),
                Dialect::Regex => crate::pattern::OsRegex::new(pattern).map(|it| it.is_match(b"some other text")),
                Dialect::Pcre2 => continue,
            };
            assert!(!fits || is_true == Ok(true), "{pattern}");
        }
    }
}
