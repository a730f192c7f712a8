//! What reads like another dialect in OS_Regex.

use super::signs::{ANY_CHARACTER, Slip, class, option, times};

/// All of it, from left to right.
pub(super) fn signs(pattern: &str) -> Vec<Slip> {
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
                    Some(b'?') if bytes[place + 1] != b'?' && !is_meant(bytes, after) => {
                        Some(Slip::new(after..after + 1, "a question mark and nothing else", None))
                    }
                    Some(b'{') => {
                        times(bytes, after).map(|end| Slip::new(after..end, "these characters, braces and all", None))
                    }
                    _ if end > after && at(end) == Some(b'?') && !is_meant(bytes, end) => {
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
            b')' if matches!(at(place + 1), Some(b'+' | b'*' | b'?'))
                && !repeats(place + 1)
                && !(at(place + 1) == Some(b'?') && is_meant(bytes, place + 1)) =>
            {
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

/// Whether a `?` at this byte may well be one: something that can stand in the query of a URL follows.
fn is_meant(bytes: &[u8], place: usize) -> bool {
    bytes.get(place + 1).is_some_and(|byte| byte.is_ascii_alphanumeric() || br"\(_%=&".contains(byte))
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

#[cfg(test)]
mod tests {
    use super::super::signs::written;
    use super::signs;

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
            assert_eq!(written(signs(pattern), pattern), expected, "{pattern}");
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
            r"(GET|POST) /\S+?\w+=",
            r"/\S+?cmd=",
            r#""GET (/\S+)?(\S+) HTTP"#,
        ] {
            assert!(signs(pattern).iter().all(|slip| pattern == r"foo\.\d" && slip.instead.is_some()), "{pattern}");
        }
    }
}
