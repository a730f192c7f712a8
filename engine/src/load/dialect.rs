//! Patterns that compile and mean something else than they seem to: signs of another dialect, line breaks, alternatives
//! that fit everything.
//!
//! Whoever knows other regular expressions writes `.*`, `[0-9]+` or `\.` where they stand for themselves. Such a rule
//! loads, and then never holds. These are lints: nothing is said of what may well be meant, such as `select+` in a URL,
//! `[drivers]` or a path of Windows.

use std::ops::Range;

use super::elements::Occurrence;
use super::text::Text;
use crate::finding::{Finding, Findings, codes, shown};
use crate::pattern::Pcre2;

/// In which of the three dialects a pattern is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Literals alone.
    Match,
    /// OSSEC's small regular expressions.
    Regex,
    /// What everybody knows.
    Pcre2,
}

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
const ANY_CHARACTER: &str = "any character, not just a dot";

/// A stretch of a pattern that reads like another dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slip {
    range: Range<usize>,
    /// What it is in the dialect that counts.
    means: &'static str,
    /// What to put in its place, where that is certain.
    instead: Option<String>,
    /// What to do when it is not.
    advice: Option<&'static str>,
}

/// Looks at the pattern of elements that are joined, as [`look`]; what stands in one that is not closed is not known.
pub(super) fn look_at(
    elements: &[Occurrence<'_>],
    dialect: Dialect,
    text: &Text,
    rule: Option<u32>,
    findings: &mut Findings,
) {
    if !elements.iter().all(|occurrence| occurrence.element.closed) || !findings.looks_for_lints() {
        return;
    }
    let name = &elements[0].element.name;
    if text.value.is_empty() {
        findings.push(
            Finding::new(&codes::FITS_EVERYTHING, format!("`{name}` is empty, and fits every text"))
                .at(elements[0].element.tag, "asks for nothing")
                .rule(rule)
                .help("write what is meant, or remove the element".to_owned()),
        );
    }
    look(name, dialect, text, rule, findings);
}

/// Looks at the pattern of an element, or of an attribute, that has been compiled.
pub(super) fn look(element: &str, dialect: Dialect, text: &Text, rule: Option<u32>, findings: &mut Findings) {
    if !findings.looks_for_lints() {
        return;
    }
    let found = [
        line_breaks(element, dialect, text),
        signs_of_another(element, dialect, text),
        fits_everything(element, dialect, text),
    ];
    found.into_iter().flatten().for_each(|finding| findings.push(finding.rule(rule)));
}

fn signs_of_another(element: &str, dialect: Dialect, text: &Text) -> Option<Finding> {
    let pattern = text.value.as_str();
    let slips = match dialect {
        Dialect::Match => in_match(pattern),
        Dialect::Regex => in_regex(pattern),
        Dialect::Pcre2 => return None,
    };
    let (first, last) = (slips.first()?, slips.last()?);
    let message = told(element, pattern, &slips);
    // One correction, where all of it is certain and stands in the file as it is here.
    let all = first.range.start..last.range.end;
    let corrected = slips.iter().map(|slip| slip.instead.as_deref()).collect::<Option<Vec<_>>>();
    let corrected = corrected.filter(|_| text.is_exact(all.clone())).map(|parts| {
        let mut corrected = String::new();
        let mut at = all.start;
        for (slip, part) in slips.iter().zip(parts) {
            corrected.extend([&pattern[at..slip.range.start], part]);
            at = slip.range.end;
        }
        corrected
    });
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
        (None, None) => as_pcre2(element, pattern),
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

/// How to say it in the dialect that it was written in.
fn as_pcre2(element: &str, pattern: &str) -> String {
    let twin = TWINS.iter().find(|(plain, _)| *plain == element).map(|(_, twin)| twin);
    match twin {
        Some(twin) if Pcre2::new(pattern).is_ok() => {
            format!("write it as `{twin}`, where it means what it seems to")
        }
        Some(twin) => format!("write it as `{twin}`, where `[ ]`, `{{ }}`, `?` and `.*` mean what they seem to"),
        None => "write the texts that are meant, with `|` between them".to_owned(),
    }
}

/// What reads like a regular expression in OS_Match.
fn in_match(pattern: &str) -> Vec<Slip> {
    let bytes = pattern.as_bytes();
    let at = |place: usize| bytes.get(place).copied();
    let before = |place: usize| place.checked_sub(1).and_then(at);
    let mut slips = Vec::new();
    if let Some(slip) = negation(bytes) {
        slips.push(slip);
    }
    let mut place = 0;
    while place < bytes.len() {
        let slip = match bytes[place] {
            b'.' if matches!(at(place + 1), Some(b'*' | b'+')) => Some(anything(bytes, place)),
            b'[' => class(bytes, place).map(|end| Slip::new(place..end, "these characters, brackets and all", None)),
            b'(' if at(place + 1) == Some(b'?') => option(bytes, place),
            b'(' => group(pattern, place),
            b')' | b']' if matches!(at(place + 1), Some(b'+' | b'*')) && before(place) != Some(b'\\') => {
                Some(Slip::new(place..place + 2, "these two characters", None))
            }
            b'{' if before(place).is_some_and(|before| before.is_ascii_alphanumeric() || b")]".contains(&before)) => {
                times(bytes, place).map(|end| Slip::new(place..end, "these characters, braces and all", None))
            }
            // Two are what a share of Windows begins with.
            b'\\' if at(place + 1) == Some(b'\\') => {
                place += 2;
                continue;
            }
            b'\\' => escape_in_match(bytes, place),
            _ => None,
        };
        place = slip.as_ref().map_or(place + 1, |slip| slip.range.end);
        slips.extend(slip);
    }
    slips
}

/// `!` before the whole text, which negates addresses, lists of numbers and times, and no text.
fn negation(bytes: &[u8]) -> Option<Slip> {
    let [b'!', next, ..] = bytes else { return None };
    next.is_ascii_alphanumeric().then(|| Slip {
        advice: Some(
            "there is no negation here: give the lines that are not meant a rule of level 0 with this text, beside this one, or \
             write `pcre2` with `^(?!.*TEXT)`",
        ),
        ..Slip::new(0..1, "an exclamation mark", None)
    })
}

/// `.*` or `.+`. A text is searched anyway, so at the ends of an alternative `.*` asks for nothing.
fn anything(bytes: &[u8], place: usize) -> Slip {
    let is_end = |end: usize| bytes.get(end).is_none_or(|byte| *byte == b'|');
    let is_start = |start: usize| start == 0 || bytes[start - 1] == b'|';
    let lazy = usize::from(bytes.get(place + 2) == Some(&b'?'));
    let (mut start, mut end) = (place, place + 2 + lazy);
    let is_needless = bytes[place + 1] == b'*' && {
        let anchored = [
            start > 0 && bytes[start - 1] == b'^' && is_start(start - 1),
            bytes.get(end) == Some(&b'$') && is_end(end + 1),
        ];
        let at_ends = [is_start(start) || anchored[0], is_end(end) || anchored[1]];
        start -= usize::from(anchored[0]);
        end += usize::from(anchored[1]);
        // `.*` alone fits everything: whatever was meant, it was not the empty text.
        at_ends[0] != at_ends[1]
    };
    if !is_needless {
        (start, end) = (place, place + 2 + lazy);
    }
    let means = if bytes[place + 1] == b'*' { "a dot and a star" } else { "a dot and a plus" };
    Slip::new(start..end, means, is_needless.then_some(""))
}

/// `[0-9]`, `[a-z_]+`, `[^ ]*`: where it ends, its repetition included. Texts in brackets are something else.
fn class(bytes: &[u8], place: usize) -> Option<usize> {
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
fn quantified(bytes: &[u8], place: usize) -> usize {
    match bytes.get(place) {
        Some(b'+' | b'*' | b'?') => place + 1,
        Some(b'{') => times(bytes, place).unwrap_or(place),
        _ => place,
    }
}

/// `{3}`, `{3,}`, `{3,5}`: where it ends.
fn times(bytes: &[u8], place: usize) -> Option<usize> {
    let inside = place + 1;
    let length = bytes[inside..].iter().take(12).position(|byte| *byte == b'}')?;
    let inner = std::str::from_utf8(&bytes[inside..inside + length]).ok()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (from, to) = inner.split_once(',').unwrap_or((inner, ""));
    (is_number(from) && (to.is_empty() || is_number(to))).then_some(inside + length + 1)
}

/// `(?i)`, `(?:`, `(?=` and the like.
fn option(bytes: &[u8], place: usize) -> Option<Slip> {
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

/// `(a|b)`: in OS_Match `|` parts the whole pattern, and so the parenthesis from its end.
fn group(pattern: &str, place: usize) -> Option<Slip> {
    let rest = &pattern[place + 1..];
    let end = rest.find(['(', ')']).filter(|end| rest[*end..].starts_with(')'))?;
    let inner = &rest[..end];
    if !inner.contains('|') {
        return None;
    }
    let (head, tail) = (&pattern[..place], &rest[end + 1..]);
    let means = "a parenthesis: `|` parts the whole text, so one alternative ends in the middle of this";
    // One group and nothing else that has a meaning elsewhere can be written out.
    let is_plain = |part: &str| !part.contains(['|', '(', ')', '[', '\\', '*', '+', '?', '{']);
    if is_plain(head) && is_plain(tail) && inner.split('|').all(is_plain) {
        let whole: Vec<String> = inner.split('|').map(|one| format!("{head}{one}{tail}")).collect();
        return Some(Slip::new(0..pattern.len(), means, Some(&whole.join("|"))));
    }
    Some(Slip::new(place..place + end + 2, means, None))
}

/// A backslash that is meant to give the next character a meaning, or to take it.
fn escape_in_match(bytes: &[u8], place: usize) -> Option<Slip> {
    let next = *bytes.get(place + 1)?;
    let before = place.checked_sub(1).map(|before| bytes[before]);
    let range = place..place + 2;
    match next {
        b'<' => Some(Slip {
            advice: Some(r"write it as `regex`, where `\<` fits `<`"),
            ..Slip::new(range, "a backslash and a `<`", None)
        }),
        b'|' => Some(Slip {
            advice: Some(r"write it as `regex`, where `\|` fits `|`"),
            ..Slip::new(range, "a backslash at the end of an alternative", None)
        }),
        b'.' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'+' | b'?' | b'>' | b'/' | b'-' | b':' => {
            let literal = char::from(next).to_string();
            Some(Slip::new(range, "a backslash and this character", Some(&literal)))
        }
        b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'b' | b'B' | b't' | b'n' | b'r' => {
            let end = quantified(bytes, place + 2);
            let is_repeated = end > place + 2;
            let parts_path =
                |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b":.\\_-)%$~".contains(&byte);
            let after = bytes.get(end).copied();
            let is_path = before.is_some_and(parts_path)
                || after.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"\\_".contains(&byte));
            // No folder is called `d` and stands behind a digit, or has one such letter at the end of a text.
            let is_after = |is: fn(&u8) -> bool| before.as_ref().is_some_and(is);
            let is_digit =
                next == b'd' && is_after(u8::is_ascii_digit) && after.is_none_or(|byte| !byte.is_ascii_alphanumeric());
            let is_last = matches!(next, b'b' | b'd' | b'w')
                && is_after(u8::is_ascii_alphanumeric)
                && after.is_none_or(|byte| byte == b'|' || byte == b'$');
            let is_path = is_path && !is_digit && !is_last;
            let instead = (next == b's' && !is_repeated).then_some(" ");
            (is_repeated || !is_path).then(|| Slip::new(place..end, "a backslash and these characters", instead))
        }
        _ => None,
    }
}

/// What reads like another dialect in OS_Regex.
fn in_regex(pattern: &str) -> Vec<Slip> {
    let bytes = pattern.as_bytes();
    let at = |place: usize| bytes.get(place).copied();
    // As OSSEC tells it: see `pattern::syntax`.
    let repeats = |place: usize| matches!(at(place), Some(b'+' | b'*')) && place >= 2 && bytes[place - 2] == b'\\';
    let mut slips = Vec::new();
    let mut place = 0;
    while place < bytes.len() {
        let slip = match bytes[place] {
            b'\\' => {
                let after = place + 2;
                let end = after + usize::from(repeats(after));
                match at(after) {
                    Some(b'?') if bytes[place + 1] != b'?' => {
                        Some(Slip::new(after..after + 1, "a question mark and nothing else", None))
                    }
                    Some(b'{') => {
                        times(bytes, after).map(|end| Slip::new(after..end, "these characters, braces and all", None))
                    }
                    _ if end > after && at(end) == Some(b'?') => {
                        Some(Slip::new(end..end + 1, "a question mark and nothing else", None))
                    }
                    _ if bytes.get(place + 1) == Some(&b'.') && end == after && is_dot(bytes, place) => {
                        Some(Slip::new(place..after, ANY_CHARACTER, Some(".")))
                    }
                    _ => {
                        place = end.max(place + 1);
                        continue;
                    }
                }
            }
            b'.' if matches!(at(place + 1), Some(b'*' | b'+')) && !repeats(place + 1) => {
                let lazy = usize::from(at(place + 2) == Some(b'?'));
                let (means, instead) = match at(place + 1) {
                    Some(b'*') => ("a dot and a star", r"\.*"),
                    _ => ("a dot and a plus", r"\.+"),
                };
                Some(Slip::new(place..place + 2 + lazy, means, Some(instead)))
            }
            b'[' => class(bytes, place).map(|end| {
                let instead = match &pattern[place..end] {
                    "[0-9]" => Some(r"\d"),
                    "[0-9]+" => Some(r"\d+"),
                    "[0-9]*" => Some(r"\d*"),
                    "[^ ]" => Some(r"\S"),
                    "[^ ]+" => Some(r"\S+"),
                    "[^ ]*" => Some(r"\S*"),
                    _ => None,
                };
                Slip::new(place..end, "these characters, brackets and all", instead)
            }),
            b'(' if bytes[place..].starts_with(b"(?:") => {
                Some(Slip::new(place..place + 3, "a group that begins with these two characters", Some("(")))
            }
            b'(' if at(place + 1) == Some(b'?') => option(bytes, place),
            b')' if matches!(at(place + 1), Some(b'+' | b'*' | b'?')) && !repeats(place + 1) => {
                Some(Slip::new(place + 1..place + 2, "this character: a group can't be repeated", None))
            }
            b'{' => times(bytes, place).map(|end| Slip::new(place..end, "these characters, braces and all", None)),
            _ => None,
        };
        place = slip.as_ref().map_or(place + 1, |slip| slip.range.end);
        slips.extend(slip);
    }
    slips
}

/// Whether `\.` at this byte stands where a dot is meant: between letters or digits.
fn is_dot(bytes: &[u8], place: usize) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric();
    let before = match bytes[..place] {
        [.., b'\\', b'd' | b'w', b'+' | b'*'] => true,
        [.., b'\\', b'd' | b'w'] => true,
        [.., b'\\', _] => false,
        [.., byte] => is_word(byte),
        [] => false,
    };
    let after = match bytes[place + 2..] {
        [b'\\', b'd' | b'w', ..] => true,
        [byte, ..] => is_word(byte),
        [] => false,
    };
    before && after
}

/// A line break in a pattern, as an editor or a wish for order puts it there.
fn line_breaks(element: &str, dialect: Dialect, text: &Text) -> Option<Finding> {
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

/// An alternative that fits every text beside others that do not.
fn fits_everything(element: &str, dialect: Dialect, text: &Text) -> Option<Finding> {
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

impl Slip {
    fn new(range: Range<usize>, means: &'static str, instead: Option<&str>) -> Slip {
        Slip { range, means, instead: instead.map(str::to_owned), advice: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(slips: Vec<Slip>, pattern: &str) -> Vec<(String, Option<String>)> {
        slips.into_iter().map(|slip| (pattern[slip.range].to_owned(), slip.instead)).collect()
    }

    #[test]
    fn signs_of_regular_expressions_are_found_in_a_match() {
        for (pattern, found) in [
            ("foo.*bar", &[(".*", None)][..]),
            ("foo.*", &[(".*", Some(""))]),
            ("^.*foo", &[("^.*", Some(""))]),
            ("foo.*$|bar", &[(".*$", Some(""))]),
            (".*", &[(".*", None)]),
            (r"id=[0-9]+ x", &[("[0-9]+", None)]),
            ("[^ ]+", &[("[^ ]+", None)]),
            (r"10\.1\.2\.", &[(r"\.", Some(".")), (r"\.", Some(".")), (r"\.", Some("."))]),
            (r"a\<b", &[(r"\<", None)]),
            (r"a\|b", &[(r"\|", None)]),
            (r"port=\d+", &[(r"\d+", None)]),
            (r"failed \d times", &[(r"\d", None)]),
            (r"^4\d\d", &[(r"\d", None), (r"\d", None)]),
            (r"^cron\d", &[(r"\d", None)]),
            (r"\bfoo\b", &[(r"\b", None)]),
            (r"to\s+be", &[(r"\s+", None)]),
            ("^(foo|bar) baz$", &[("^(foo|bar) baz$", Some("^foo baz$|^bar baz$"))]),
            ("(a|b) (c|d)", &[("(a|b)", None), ("(c|d)", None)]),
            ("(?i)foo", &[("(?i)", Some(""))]),
            ("!foo", &[("!", None)]),
            ("ab{3}", &[("{3}", None)]),
            ("(ab)+", &[(")+", None)]),
        ] {
            let expected: Vec<_> =
                found.iter().map(|(text, instead)| ((*text).to_owned(), instead.map(str::to_owned))).collect();
            assert_eq!(written(in_match(pattern), pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_may_be_meant_literally_in_a_match_is_left_alone() {
        for pattern in [
            "select+|insert+",
            r"C:\windows\system32\drivers",
            r"\\server\share",
            r"C:\$Recycle.Bin",
            r"CORP\dave",
            r"D:\w|C:\data1\done",
            "[drivers] failed",
            "[**] [1:",
            "(null)|(none)",
            "Continue (y/n)?",
            "*** ALERT ***",
            "!!! WARNING",
            "100% of {0}",
            "a.b.c",
            "C++",
            r#"{"a":"b\"c"}"#,
        ] {
            assert_eq!(in_match(pattern), [], "{pattern}");
        }
    }

    #[test]
    fn signs_of_other_dialects_are_found_in_a_regex() {
        for (pattern, found) in [
            ("foo.*bar.+", &[(".*", Some(r"\.*")), (".+", Some(r"\.+"))][..]),
            (".*?", &[(".*?", Some(r"\.*"))]),
            ("[0-9]+", &[("[0-9]+", Some(r"\d+"))]),
            ("[a-z]+", &[("[a-z]+", None)]),
            (r#""([^"]*)""#, &[(r#"[^"]*"#, None)]),
            (r"\d{3}", &[("{3}", None)]),
            (r"\d?", &[("?", None)]),
            (r"\S+?", &[("?", None)]),
            (r"(\d)?", &[("?", None)]),
            ("(ab)+", &[("+", None)]),
            ("(?i)foo", &[("(?i)", Some(""))]),
            ("(?:a|b)", &[("(?:", Some("("))]),
            (r"10\.1\.2\.3", &[(r"\.", Some(".")), (r"\.", Some(".")), (r"\.", Some("."))]),
            (r"\d+\.\d+", &[(r"\.", Some("."))]),
        ] {
            let expected: Vec<_> =
                found.iter().map(|(text, instead)| ((*text).to_owned(), instead.map(str::to_owned))).collect();
            assert_eq!(written(in_regex(pattern), pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_may_be_meant_in_a_regex_is_left_alone() {
        for pattern in [
            r"^\S+ \.* \d+",
            r"^[**] [\d+:\d+:\d+] ",
            r"\(\d+\)+",
            "select+|index.php?id",
            r"(\.*) foo",
            r" +\d\d\d\d]",
            r"foo\.\d",
            r"^%PIX-\d-\d+: ",
            r"a\\.b",
        ] {
            assert!(in_regex(pattern).iter().all(|slip| pattern == r"foo\.\d" && slip.instead.is_some()), "{pattern}");
        }
    }

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
            let finding = fits_everything("match", dialect, &text);
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
