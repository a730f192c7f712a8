//! PCRE2, as OSSEC uses it: any case unless the expression says otherwise, bytes instead of characters, anywhere in the
//! text.
//!
//! [`syntax`] reads an expression. Most can be written for the crate `regex` ([`translate`]), whose cost is linear in
//! the text whatever the text is. Those with look-around, references, atomic groups and the like are searched by trying
//! one way after the other ([`backtrack`]). The steps of that are counted, down to each byte that is looked at, so that
//! no text can make a search take longer than it may. A text without a literal that the expression needs is not searched
//! in this way at all.
//!
//! Unlike in OSSEC, where a text never holds a line break: `.` takes one too (`(?-s)` changes that), and `$` is the very
//! end of the text. Not supported are verbs that steer backtracking (`(*SKIP)`) or set options (`(*UTF)`), and
//! look-arounds that are not atomic.

mod backtrack;
mod program;
mod set;
mod syntax;
mod translate;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
pub use backtrack::{GaveUp, Steps};
use program::{Program, TooLarge};
use syntax::Expression;

use super::{PatternError, size};

/// The longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 16 * 1024;

/// What the search for literals takes for each byte of them, in bytes of memory.
const LITERAL_BYTES: usize = 100;

/// Steps of a search by itself.
const STEPS: u64 = 10_000_000;

/// A compiled PCRE2 expression.
#[derive(Clone, Debug)]
pub struct Pcre2 {
    pattern: String,
    search: Search,
    groups: usize,
    required: Option<Vec<String>>,
}

/// How a text is searched.
#[derive(Clone, Debug)]
enum Search {
    Linear(translate::Linear),
    Backtrack(Box<Backtrack>),
}

/// A search that can take too many steps, made ready when it is first used, as [`translate::Linear`] is.
#[derive(Clone, Debug, Default)]
struct Backtrack {
    bytes_max: usize,
    ready: OnceLock<Option<Ready>>,
}

#[derive(Clone, Debug)]
struct Ready {
    /// Finds whether a text has one of the literals that the expression needs, in one pass.
    literals: Option<AhoCorasick>,
    program: Program,
}

impl Ready {
    /// `None` would be an expression that is refused, which is found out before.
    fn new(pattern: &str, required: Option<&[String]>) -> Option<Ready> {
        let program = Program::new(&syntax::parse(pattern).ok()?).ok()?;
        let build = |literals: &[String]| {
            AhoCorasick::builder()
                // Slower than what it would choose for few literals, and far smaller for long ones.
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .ascii_case_insensitive(true)
                .build(literals)
                .ok()
        };
        Some(Ready { literals: required.and_then(build), program })
    }
}

impl Backtrack {
    fn new(expression: &Expression, required: Option<&[String]>) -> Result<Backtrack, TooLarge> {
        let literals = required.map_or(0, |literals| literals.iter().map(String::len).sum());
        let parts = Program::bytes_max(expression)? + literals * LITERAL_BYTES;
        let bytes_max = size::of_expression(parts, 0, "");
        Ok(Backtrack { bytes_max, ready: OnceLock::new() })
    }
}

impl Pcre2 {
    /// Compiles an expression of 1 to 16,384 bytes.
    pub fn new(pattern: &str) -> Result<Pcre2, PatternError> {
        let whole = 0..pattern.len();
        if pattern.is_empty() {
            return Err(PatternError::new(whole, "the pattern is empty", "leave the element out to match every text"));
        }
        if pattern.len() > EXPRESSION_BYTES_MAX {
            let message = format!("the pattern is {} bytes long, more than {EXPRESSION_BYTES_MAX}", pattern.len());
            return Err(PatternError::new(whole, message, "split it into several rules, or use a list"));
        }
        let expression = syntax::parse(pattern)?;
        let required = translate::required(&expression.node);
        let search = match translate::Linear::new(&expression, pattern) {
            Some(linear) => Search::Linear(linear),
            None => {
                let backtrack = Backtrack::new(&expression, required.as_deref()).map_err(|TooLarge| {
                    let message = "the pattern is too large when its repeats are written out";
                    PatternError::new(whole, message, "count less in `{ }`")
                })?;
                Search::Backtrack(Box::new(backtrack))
            }
        };
        Ok(Pcre2 { pattern: pattern.to_owned(), search, groups: expression.groups as usize, required })
    }

    /// Whether the text fits. A search that takes too many steps does not.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.try_match(text, &mut Steps::new(STEPS)) == Ok(true)
    }

    /// Whether the text fits, found in so many steps.
    pub fn try_match(&self, text: &[u8], steps: &mut Steps) -> Result<bool, GaveUp> {
        match &self.search {
            Search::Linear(linear) => Ok(linear.is_match(text)),
            Search::Backtrack(backtrack) => Ok(!self.backtrack(backtrack, text, steps)?.is_empty()),
        }
    }

    /// Where the text fits first: the whole match, then each group in the order of its number, as byte ranges of the
    /// text. A group that took no part has none. `None` also for a search that takes too many steps.
    pub fn captures(&self, text: &[u8]) -> Option<Vec<Option<Range<usize>>>> {
        self.try_captures(text, &mut Steps::new(STEPS)).ok().flatten()
    }

    /// The same, found in so many steps.
    pub fn try_captures(&self, text: &[u8], steps: &mut Steps) -> Result<Option<Vec<Option<Range<usize>>>>, GaveUp> {
        match &self.search {
            Search::Linear(linear) => {
                let captures = linear.captures(text);
                Ok(captures.map(|all| all.iter().map(|group| group.map(|it| it.range())).collect()))
            }
            Search::Backtrack(backtrack) => {
                let groups = self.backtrack(backtrack, text, steps)?;
                let ranges = || groups.iter().map(|group| group.map(|(start, end)| start..end)).collect();
                Ok((!groups.is_empty()).then(ranges))
            }
        }
    }

    /// As [`Program::search`]: nothing found in a text without any of the literals, whatever is left of the steps.
    fn backtrack(
        &self,
        backtrack: &Backtrack,
        text: &[u8],
        steps: &mut Steps,
    ) -> Result<Vec<Option<(usize, usize)>>, GaveUp> {
        let ready = backtrack.ready.get_or_init(|| Ready::new(&self.pattern, self.required_literals()));
        match ready {
            Some(Ready { literals: Some(literals), .. }) if !literals.is_match(text) => Ok(Vec::new()),
            Some(Ready { program, .. }) => program.search(text, steps),
            None => Ok(Vec::new()),
        }
    }

    /// How much memory in bytes it takes at most when it is compiled. What a thread keeps of its searches comes on top.
    pub fn bytes_max(&self) -> usize {
        match &self.search {
            Search::Linear(linear) => linear.bytes_max(),
            Search::Backtrack(backtrack) => backtrack.bytes_max,
        }
    }

    /// Whether a search can take too many steps. If not, its cost is linear in the text. It can't in a text that has none
    /// of the [`Pcre2::required_literals`].
    pub fn may_give_up(&self) -> bool {
        matches!(self.search, Search::Backtrack(_))
    }

    /// How many groups it has that capture.
    pub fn group_count(&self) -> usize {
        self.groups
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Literals of which a text that fits has at least one, when the text's A-Z are made a-z; they are so already.
    /// `None` says that nothing is known.
    pub fn required_literals(&self) -> Option<&[String]> {
        self.required.as_deref()
    }

    /// Texts with one of which every text begins that fits, in whatever case. `None` says that nothing is known.
    pub(crate) fn beginnings(&self) -> Option<Vec<String>> {
        translate::beginnings(&syntax::parse(&self.pattern).ok()?.node)
    }
}
