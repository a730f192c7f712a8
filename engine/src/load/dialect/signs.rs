//! Signs of another dialect: how they are told, and what they have in common in OS_Match and OS_Regex.

use std::ops::Range;

use super::{Dialect, in_match, in_regex};
use crate::finding::{Finding, codes, shown};
use crate::load::text::Text;
use crate::pattern::Pcre2;

/// Elements whose patterns can be written as PCRE2 too, with the name of the element for that.
const TWINS: [(&str, &str); 12] = [
    ("match", "match_pcre2"),
    ("regex", "pcre2"),
    ("prematch", "prematch_pcre2"),
    ("program_name", "program_name_pcre2"),
    ("hostname", "hostname_pcre2"),
    ("user", "user_pcre2"),
    ("id", "id_pcre2"),
    ("status", "status_pcre2"),
    ("url", "url_pcre2"),
    ("extra_data", "extra_data_pcre2"),
    ("srcport", "srcport_pcre2"),
    ("dstport", "dstport_pcre2"),
];

/// What `\.` is in OS_Regex.
pub(super) const ANY_CHARACTER: &str = "any character, not just a dot";

/// A stretch of a pattern that reads like another dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slip {
    pub range: Range<usize>,
    /// What it is in the dialect that counts.
    pub means: &'static str,
    /// What to put in its place, where that is certain.
    pub instead: Option<String>,
    /// What to do when it is not.
    pub advice: Option<&'static str>,
}

impl Slip {
    pub fn new(range: Range<usize>, means: &'static str, instead: Option<&str>) -> Slip {
        Slip { range, means, instead: instead.map(str::to_owned), advice: None }
    }
}

/// What reads like another dialect in a pattern. `takes_groups`: what its groups capture is taken in their order.
pub(super) fn found(element: &str, dialect: Dialect, text: &Text, takes_groups: bool) -> Option<Finding> {
    let pattern = text.value.as_str();
    let slips = match dialect {
        Dialect::Match => in_match::signs(pattern),
        Dialect::Regex => in_regex::signs(pattern),
        Dialect::Pcre2 => return None,
    };
    let (first, last) = (slips.first()?, slips.last()?);
    let message = told(element, pattern, &slips);
    // One correction, where all of it is certain and stands in the file as it is here.
    let all = first.range.start..last.range.end;
    // A group that captures where none did moves what those behind it capture.
    let is_certain = !(takes_groups && slips.iter().any(|slip| pattern[slip.range.clone()].starts_with("(?:")));
    let corrected = slips.iter().map(|slip| slip.instead.as_deref()).collect::<Option<Vec<_>>>();
    let corrected = corrected.filter(|_| is_certain && text.is_exact(all.clone())).map(|parts| {
        let mut corrected = String::new();
        let mut at = all.start;
        for (slip, part) in slips.iter().zip(parts) {
            corrected.extend([&pattern[at..slip.range.start], part]);
            at = slip.range.end;
        }
        corrected
    });
    // An empty pattern fits everything, which was not meant.
    let corrected = corrected.filter(|corrected| !corrected.is_empty() || all.len() < pattern.len());
    let place = if corrected.is_some() { all } else { first.range.clone() };
    let note = match dialect {
        Dialect::Match => {
            "`|` parts alternatives, `^` and `$` anchor them; every other character stands for itself, a backslash too"
        }
        _ => {
            r"`\.` is any character and `.` a dot; `+` and `*` repeat only what is written with a backslash: `\d+`, `\.*`"
        }
    };
    let help = match (&corrected, first.advice) {
        (Some(corrected), _) => {
            let whole = [&pattern[..first.range.start], corrected, &pattern[last.range.end..]].concat();
            format!("write `{}`", shown(&whole))
        }
        (None, Some(advice)) => advice.to_owned(),
        (None, None) => as_pcre2(element, pattern, &slips),
    };
    let finding = Finding::new(&codes::OTHER_DIALECT, message).at(text.span_of(place), first.means).note(note);
    Some(Finding { replacement: corrected, ..finding.help(help) })
}

/// What is wrong: the stretches that stand for themselves, each once. `\.` is something else.
fn told(element: &str, pattern: &str, slips: &[Slip]) -> String {
    const NAMED_MAX: usize = 3;
    let mut names: Vec<&str> = Vec::new();
    for slip in slips.iter().filter(|slip| slip.means != ANY_CHARACTER) {
        let name = &pattern[slip.range.clone()];
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match names[..] {
        [] => format!(r"`\.` in `{element}` fits any character"),
        [name] => format!("`{}` stands for itself in `{element}`", shown(name)),
        _ => {
            let names: Vec<String> = names.iter().take(NAMED_MAX).map(|name| format!("`{}`", shown(name))).collect();
            format!("{}{more} stand for themselves in `{element}`", names.join(", "))
        }
    }
}

/// The element that holds PCRE2 in place of this one. Conditions on a change have one alone.
pub(in crate::load) fn pcre2_twin(element: &str) -> Option<&'static str> {
    match TWINS.iter().find(|(plain, _)| *plain == element) {
        Some((_, twin)) => Some(twin),
        None => element.contains(" on=").then_some("pcre2"),
    }
}

/// How to say it in the dialect that it was written in.
fn as_pcre2(element: &str, pattern: &str, slips: &[Slip]) -> String {
    let twin = pcre2_twin(element);
    let is_of_slip = |at: usize| slips.iter().any(|slip| slip.range.contains(&at));
    let has_others = pattern.bytes().enumerate().any(|(at, byte)| br".?*+()[]{}\".contains(&byte) && !is_of_slip(at));
    match twin {
        Some(twin) if Pcre2::new(pattern).is_ok() && has_others => {
            format!("write it as `{twin}`, and look at the whole of it: other signs mean something else there too")
        }
        Some(twin) if Pcre2::new(pattern).is_ok() => {
            format!("write it as `{twin}`, where it means what it seems to")
        }
        Some(twin) => format!("write it as `{twin}`, where `[ ]`, `{{ }}`, `?` and `.*` mean what they seem to"),
        None => "write the texts that are meant, with `|` between them".to_owned(),
    }
}

/// `[0-9]`, `[a-z_]+`, `[^ ]*`: where it ends, its repetition included. Texts in brackets are something else.
pub(super) fn class(bytes: &[u8], place: usize) -> Option<usize> {
    let inside = place + 1;
    let length = bytes[inside..].iter().take(40).position(|byte| *byte == b']').filter(|length| *length > 0)?;
    let inner = &bytes[inside..inside + length];
    let is_class = match inner {
        [b'^', _, ..] => true,
        _ => {
            let is_range = |range: &[u8]| {
                let same = |is: fn(&u8) -> bool| is(&range[0]) && is(&range[2]);
                range[1] == b'-'
                    && range[0] < range[2]
                    && (same(u8::is_ascii_digit) || same(u8::is_ascii_lowercase) || same(u8::is_ascii_uppercase))
            };
            let is_of_class = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.\\@/".contains(byte);
            inner.windows(3).any(is_range) && inner.iter().all(is_of_class)
        }
    };
    is_class.then(|| quantified(bytes, inside + length + 1))
}

/// Where the repetition ends that may stand here.
pub(super) fn quantified(bytes: &[u8], place: usize) -> usize {
    match bytes.get(place) {
        Some(b'+' | b'*' | b'?') => place + 1,
        Some(b'{') => times(bytes, place).unwrap_or(place),
        _ => place,
    }
}

/// `{3}`, `{3,}`, `{3,5}`: where it ends.
pub(super) fn times(bytes: &[u8], place: usize) -> Option<usize> {
    let inside = place + 1;
    let length = bytes[inside..].iter().take(12).position(|byte| *byte == b'}')?;
    let inner = std::str::from_utf8(&bytes[inside..inside + length]).ok()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (from, to) = inner.split_once(',').unwrap_or((inner, ""));
    (is_number(from) && (to.is_empty() || is_number(to))).then_some(inside + length + 1)
}

/// `(?i)`, `(?:`, `(?=` and the like.
pub(super) fn option(bytes: &[u8], place: usize) -> Option<Slip> {
    if bytes[place..].starts_with(b"(?i)") {
        return Some(Slip::new(
            place..place + 4,
            "a group with these two characters: case is ignored anyway",
            Some(""),
        ));
    }
    let begins = bytes.get(place + 2).is_some_and(|byte| b":=!<P'>#i".contains(byte));
    begins.then(|| Slip::new(place..place + 3, "these characters themselves", None))
}

#[cfg(test)]
pub(super) fn written(slips: Vec<Slip>, pattern: &str) -> Vec<(String, Option<String>)> {
    slips.into_iter().map(|slip| (pattern[slip.range].to_owned(), slip.instead)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_correction_moves_a_group_that_is_taken_and_none_leaves_nothing() {
        let corrected = |dialect, pattern, takes_groups| {
            found("regex", dialect, &Text::of(pattern), takes_groups).expect(pattern).replacement
        };
        let group = r"^(?:GET|POST) (\S+)";
        assert_eq!(corrected(Dialect::Regex, group, false).as_deref(), Some("("));
        assert_eq!(corrected(Dialect::Regex, group, true), None);
        assert_eq!(corrected(Dialect::Match, ".*x", true).as_deref(), Some(""));
        assert_eq!(corrected(Dialect::Match, "(?i)", false), None);
    }
}
