//! Expressions of the crate `regex` that are compiled when they are first used.
//!
//! A rule set has thousands of patterns, and most of them never see a text that has their literals. Compiled, each takes
//! some 20 KB and a tenth of a millisecond.

use std::sync::OnceLock;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::{CACHE_BYTES_MAX, COMPILED_BYTES_MAX, PatternError, syntax};

/// Up to this length in bytes of the pattern it is made from an expression is compiled later. It stays far below all bounds:
/// even [`PATTERN_BYTES_MAX`](super::PATTERN_BYTES_MAX) of the costliest token do.
const LATER_BYTES_MAX: usize = 512;

/// An expression, compiled or not.
#[derive(Clone, Debug)]
pub(super) struct Later {
    expression: String,
    /// `None` in it would be an expression that is refused, which is found out before.
    regex: OnceLock<Option<Regex>>,
}

impl Later {
    /// An expression that was made from `pattern`.
    pub fn new(expression: String, pattern: &str) -> Result<Later, PatternError> {
        let regex = OnceLock::new();
        if pattern.len() > LATER_BYTES_MAX {
            let compiled = compile(&expression).map_err(|error| refused(error, pattern))?;
            return Ok(Later { expression, regex: OnceLock::from(Some(compiled)) });
        }
        Ok(Later { expression, regex })
    }

    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }

    /// The groups of each place that fits, one after the other.
    pub fn captures_iter<'r, 't>(&'r self, text: &'t [u8]) -> impl Iterator<Item = Captures<'t>> + use<'r, 't> {
        self.regex().into_iter().flat_map(|regex| regex.captures_iter(text))
    }

    /// How many groups it has.
    pub fn group_count(&self) -> usize {
        self.regex().map_or(0, |regex| regex.captures_len() - 1)
    }

    #[cfg(test)]
    pub fn is_compilable(&self) -> bool {
        self.regex().is_some()
    }

    fn regex(&self) -> Option<&Regex> {
        self.regex.get_or_init(|| compile(&self.expression).ok()).as_ref()
    }
}

fn compile(expression: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(expression)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        // Each of our groups is two levels to it; see `syntax::GROUP_DEPTH_MAX`.
        .nest_limit(4 * syntax::GROUP_DEPTH_MAX as u32)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(CACHE_BYTES_MAX)
        .build()
}

fn refused(error: regex::Error, pattern: &str) -> PatternError {
    match error {
        regex::Error::CompiledTooBig(bytes) => PatternError::new(
            0..pattern.len(),
            format!("the pattern needs more than {bytes} bytes when compiled"),
            "make it shorter, or split it into several rules",
        ),
        other => PatternError::new(
            0..pattern.len(),
            format!("the pattern cannot be compiled: {other}"),
            "simplify the pattern",
        ),
    }
}
