//! `ignore_key`: the text by which one rule has several ignore timers.

use crate::pattern::OsRegex;

/// A key of this many bytes or fewer is kept as it is.
const KEY_BYTES_MAX: usize = 256;

/// What the pattern captures of a text: its groups with a space between, the whole match when it has none, and the empty
/// text when it does not fit. So texts without a key share one timer.
///
/// Two texts that are captured never give the same key: bytes that are not UTF-8 are written as `\xNN`, a backslash as
/// `\\`, and what separates groups can't be in a group unescaped. A long key is its beginning and a digest.
pub(crate) fn key(pattern: &OsRegex, text: &[u8]) -> String {
    let Some(captures) = pattern.captures(text) else { return String::new() };
    let groups = if captures.len() > 1 { &captures[1..] } else { &captures[..] };
    let mut key = String::new();
    for (number, group) in groups.iter().enumerate() {
        if number > 0 {
            key.push(' ');
        }
        push_escaped(&mut key, group.clone().map_or(&[], |group| &text[group]), groups.len() > 1);
    }
    if key.len() <= KEY_BYTES_MAX {
        return key;
    }
    let digest = blake3::hash(key.as_bytes()).to_hex();
    key.truncate(key.floor_char_boundary(KEY_BYTES_MAX / 2));
    format!("{key}... {digest}")
}

fn push_escaped(key: &mut String, text: &[u8], escape_spaces: bool) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => key.push_str("\\\\"),
                ' ' if escape_spaces => key.push_str("\\ "),
                _ => key.push(character),
            }
        }
        for byte in chunk.invalid() {
            key.push_str(&format!("\\x{byte:02x}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(pattern: &str, text: &[u8]) -> String {
        key(&OsRegex::new(pattern).unwrap(), text)
    }

    #[test]
    fn a_key_is_what_the_pattern_captures() {
        assert_eq!(key_of(r"/dev/\S+", b"x: /dev/sda1 100%"), "/dev/sda1");
        assert_eq!(key_of(r"/dev/(\S+)", b"x: /dev/sda1 100%"), "sda1");
        assert_eq!(key_of(r"(\w+)=(\w+)", b"a=b"), "a b");
        assert_eq!(key_of(r"(\w+)=(\w+)|(c)", b"c"), "  c");
        assert_eq!(key_of(r"/dev/\S+", b"tmpfs"), "");
    }

    #[test]
    fn different_texts_have_different_keys() {
        let texts: [&[u8]; 6] = [b"a\xff|b", b"a\xfe|b", b"a\\xff|b", "a\u{fffd}|b".as_bytes(), b"a |b", b"a| b"];
        let keys: std::collections::BTreeSet<String> =
            texts.iter().map(|text| key_of(r"^(\.+)\|(\.+)$", text)).collect();
        assert_eq!(keys.len(), texts.len(), "{keys:?}");
        let long = |end: char| format!("{}{end}", "x".repeat(1000));
        let (one, other) = (key_of(r"\w+", long('a').as_bytes()), key_of(r"\w+", long('b').as_bytes()));
        assert_ne!(one, other);
        assert!(one.len() < KEY_BYTES_MAX, "{one}");
    }
}
