//! OS_Match: a pattern, and a text.

use tripline_engine::pattern::OsMatch;

use crate::{harness, reference};

pub const WORDS: &[&str] = &[
    "|", "^", "$", "^$", "||", "\\|", "K", "\u{212a}", "\u{e9}", "\u{c9}", "\u{17f}", "\u{df}", "\u{1e9e}", "error",
    "\n====\n",
];

pub fn target(input: &[u8]) {
    let (pattern, text) = harness::text_and_bytes(input);
    let compiled = OsMatch::new(&pattern).expect("a short pattern is never refused");
    let fits = compiled.is_match(text);
    assert_eq!(fits, reference::os_match(&pattern, text), "`{pattern}`");
    if let Some(required) = compiled.required_literals() {
        let lower = String::from_utf8_lossy(text).to_lowercase();
        let has_one = required.iter().any(|literal| lower.contains(literal.as_str()));
        assert!(!fits || has_one || !text.is_ascii(), "`{pattern}` without any of {required:?}");
    }
}
