//! OS_Regex: an expression, and a text.

use tripline_engine::pattern::OsRegex;

use crate::harness;
use crate::reference::Reference;

pub const WORDS: &[&str] = &[
    "\\w+",
    "\\d*",
    "\\.*",
    "\\S+",
    "\\s",
    "\\p",
    "\\W",
    "\\D",
    "\\t",
    "\\\\",
    "\\$",
    "\\(",
    "\\)",
    "\\<",
    "\\|",
    "(",
    ")",
    "|",
    "^",
    "$",
    "+",
    "*",
    "a\\\\d+",
    "\u{e9}",
    "\u{212a}",
    "\u{17f}",
    "\u{e9}\u{c9}",
    "abc",
    "@",
    "_",
    "-",
    "/",
    "~",
    "`",
    "\t",
    " ",
    "7",
    "Z",
    "\n====\n",
];

/// The reference tries every way, so it sees short texts and few repeats only.
const TEXT_BYTES_MAX: usize = 20;
const REPEATS_MAX: usize = 4;
/// Deeper groups are refused, which the reference does not know of.
const PATTERN_BYTES_MAX: usize = 60;

pub fn target(input: &[u8]) {
    let (pattern, text) = harness::text_and_bytes(input);
    let compiled = OsRegex::new(&pattern);
    if let Ok(compiled) = &compiled {
        // Whatever the size, the search ends.
        compiled.captures(text);
    }
    if pattern.len() > PATTERN_BYTES_MAX || pattern.matches(['+', '*']).count() > REPEATS_MAX {
        return;
    }
    let plain = Reference::read(&pattern);
    assert_eq!(compiled.is_ok(), plain.is_some(), "`{pattern}`: {compiled:?}");
    let (Ok(compiled), Some(plain)) = (compiled, plain) else { return };
    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
    let expected = plain.captures(text);
    assert_eq!(compiled.is_match(text), expected.is_some(), "`{pattern}`");
    if !plain.repeats_a_group {
        assert_eq!(compiled.captures(text), expected, "`{pattern}`");
    }
}
