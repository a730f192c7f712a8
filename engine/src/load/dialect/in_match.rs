//! What reads like a regular expression in OS_Match.

use super::signs::{Slip, class, option, quantified, times};

/// All of it, from left to right.
pub(super) fn signs(pattern: &str) -> Vec<Slip> {
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

#[cfg(test)]
mod tests {
    use super::super::signs::written;
    use super::signs;

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
            assert_eq!(written(signs(pattern), pattern), expected, "{pattern}");
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
            assert_eq!(signs(pattern), [], "{pattern}");
        }
    }
}
