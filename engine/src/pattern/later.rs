//! Expressions of the crate `regex` that are compiled when they are first used.
//!
//! A rule set has thousands of patterns, and most of them never see a text that has their literals. Compiled, each takes
//! some 20 KB and a tenth of a millisecond.

use std::sync::OnceLock;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::{CACHE_BYTES_MAX, COMPILED_BYTES_MAX, syntax};

/// An expression, compiled or not.
#[derive(Clone, Debug)]
pub(super) struct Later {
    expression: String,
    bytes_max: usize,
    /// `None` in it would be an expression that is refused. None is: they are ours, and far below all bounds.
    regex: OnceLock<Option<Regex>>,
}

impl Later {
    /// An expression that takes so many bytes of memory at most when it is compiled.
    pub fn new(expression: String, bytes_max: usize) -> Later {
        Later { expression, bytes_max, regex: OnceLock::new() }
    }

    /// How much memory in bytes it takes at most when it is compiled.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }

    /// The groups of each place that fits, one after the other.
    pub fn captures_iter<'r, 't>(&'r self, text: &'t [u8]) -> impl Iterator<Item = Captures<'t>> + use<'r, 't> {
        self.regex().into_iter().flat_map(|regex| regex.captures_iter(text))
    }

    #[cfg(test)]
    pub fn is_compilable(&self) -> bool {
        self.regex().is_some()
    }

    fn regex(&self) -> Option<&Regex> {
        let compile = || {
            RegexBuilder::new(&self.expression)
                .case_insensitive(true)
                .dot_matches_new_line(true)
                // Each of our groups is two levels to it; see `syntax::GROUP_DEPTH_MAX`.
                .nest_limit(4 * syntax::GROUP_DEPTH_MAX as u32)
                .size_limit(COMPILED_BYTES_MAX)
                .dfa_size_limit(CACHE_BYTES_MAX)
                .build()
                .ok()
        };
        self.regex.get_or_init(compile).as_ref()
    }
}
