//! PCRE2: an expression, and a text.

use tripline_engine::pattern::{Pcre2, Steps};

use crate::harness;

pub const WORDS: &[&str] = &[
    "(?=",
    "(?!",
    "(?<=",
    "(?<!",
    "(?>",
    "(?:",
    "(?<n>",
    "\\k<n>",
    "\\1",
    "\\g{-1}",
    "(?1)",
    "(?R)",
    "(?i)",
    "(?-s)",
    "(?x)",
    "[[:alpha:]]",
    "[^a-z]",
    "[]",
    "\\Q",
    "\\E",
    "\\K",
    "\\b",
    "\\B",
    "\\R",
    "\\h",
    "\\x{ff}",
    "\\p{L}",
    "{1,}",
    "{0,65535}",
    "{3}",
    "*+",
    "+?",
    "*",
    "+",
    "|",
    ")",
    "(",
    "^",
    "$",
    "\\A",
    "\\z",
    "(a|b)",
    "(?(1)a|b)",
    "(*SKIP)",
    "(?#x)",
    "\n====\n",
];

/// Enough to end in milliseconds.
const STEPS: u64 = 200_000;

pub fn target(input: &[u8]) {
    let (pattern, text) = harness::text_and_bytes(input);
    let compiled = match Pcre2::new(&pattern) {
        Ok(compiled) => compiled,
        Err(error) => {
            assert!(error.start <= error.end && error.end <= pattern.len(), "`{pattern}`: {error:?}");
            return;
        }
    };
    let fits = compiled.try_match(text, &mut Steps::new(STEPS));
    let captured = compiled.try_captures(text, &mut Steps::new(STEPS));
    if !compiled.may_give_up() {
        assert!(fits.is_ok() && captured.is_ok(), "`{pattern}`");
    }
    if let (Ok(fits), Ok(captured)) = (fits, captured) {
        assert_eq!(fits, captured.is_some(), "`{pattern}`");
        for range in captured.into_iter().flatten().flatten() {
            assert!(range.start <= range.end && range.end <= text.len(), "`{pattern}`: {range:?}");
        }
    }
}
