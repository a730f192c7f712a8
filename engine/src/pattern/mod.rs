//! The three pattern dialects of rules: OSSEC's own [`OsMatch`] and [`OsRegex`], and [`Pcre2`], which has a page of its
//! own (`pcre2`).
//!
//! OSSEC's own ignore case and see a text as bytes in which valid UTF-8 sequences are characters. A byte that belongs to no
//! valid sequence is a character of its own that no pattern can name; patterns match around it. (OSSEC lets most
//! patterns fail on a text with one such byte, so that a process could hide by its name.)
//!
//! [`syntax`] reads OS_Regex. Single anchored literals are compared in place ([`literal`]), everything else is
//! translated for the crate `regex`, whose cost is linear in the text whatever the text is, and compiled [`later`]. How much
//! memory that will take at most is known before ([`size`]).
//! [`required`] says which literals a text must hold for a pattern to fit, [`beginning`] how it must begin.

pub(crate) mod beginning;
mod later;
mod literal;
mod os_match;
mod os_regex;
mod pcre2;
mod required;
mod size;
mod syntax;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use os_match::OsMatch;
pub use os_regex::OsRegex;
pub use pcre2::{GaveUp, Pcre2, Steps};

/// The longest pattern, in bytes, as in OSSEC. Only joined texts are as long: one element has less.
pub const PATTERN_BYTES_MAX: usize = 2048;

/// The most memory a compiled pattern may take, in bytes. How much one takes at most is known before it is compiled. Of
/// OSSEC's own dialects the longest pattern of the costliest token stays far below it.
const COMPILED_BYTES_MAX: usize = 16 << 20;

/// The memory in bytes in which one thread may keep what it learned about a pattern while matching.
const CACHE_BYTES_MAX: usize = 1 << 20;

/// Why a pattern is refused, and where in its text (byte offsets).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// First byte of the part that is wrong.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// What is wrong: lower case, no final period.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// OSSEC accepts it; it is this version of Tripline that does not know it.
    pub unsupported: bool,
}

impl PatternError {
    fn new(place: std::ops::Range<usize>, message: impl Into<String>, help: impl Into<String>) -> PatternError {
        PatternError {
            start: place.start,
            end: place.end,
            message: message.into(),
            help: Some(help.into()),
            unsupported: false,
        }
    }
}

/// Refuses a pattern longer than [`PATTERN_BYTES_MAX`].
fn check_length(pattern: &str) -> Result<(), PatternError> {
    if pattern.len() <= PATTERN_BYTES_MAX {
        return Ok(());
    }
    let start = pattern.floor_char_boundary(PATTERN_BYTES_MAX);
    Err(PatternError::new(
        start..pattern.len(),
        format!("the pattern is {} bytes long, more than {PATTERN_BYTES_MAX}", pattern.len()),
        "split it into several rules, or use a list",
    ))
}
