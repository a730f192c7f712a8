//! OS_Match: literal alternatives with anchors.

use super::later::Later;
use super::literal::{Fold, Literal};
use super::{PatternError, beginning, check_length, required, size};

/// A compiled OS_Match pattern: literals separated by `|`, each with an optional `^` before it and `$` after it.
///
/// Everything else stands for itself, `\`, `.`, `*` and `!` too. Case is ignored: Unicode's for patterns with `|` or
/// without anchors, that of ASCII for a single anchored literal, as in OSSEC. An anchor that no text can fulfil
/// (`a$b`) makes its alternative one that never fits; an empty alternative fits every text.
#[derive(Clone, Debug)]
pub struct OsMatch {
    pattern: String,
    search: Search,
    required: Option<Vec<String>>,
}

/// How a text is searched.
#[derive(Clone, Debug)]
enum Search {
    /// Every text fits.
    Everything,
    /// No text fits.
    Nothing,
    /// A single literal with an anchor: compared in place.
    Anchored(Literal),
    /// For the rest the crate `regex` is faster than a loop over literals, as it searches for all of them at once with
    /// vector instructions.
    Regex(Later),
}

impl OsMatch {
    /// Compiles a pattern of at most [`PATTERN_BYTES_MAX`](super::PATTERN_BYTES_MAX) bytes.
    pub fn new(pattern: &str) -> Result<OsMatch, PatternError> {
        check_length(pattern)?;
        let anchored = pattern.starts_with('^') || pattern.ends_with('$');
        let fold = if anchored && !pattern.contains('|') { Fold::Ascii } else { Fold::Unicode };
        let mut literals: Vec<Literal> = pattern.split('|').filter_map(literal).collect();
        let required = required::of_literals(&literals, fold);
        let search = if literals.iter().any(Literal::is_everywhere) {
            Search::Everything
        } else if fold == Fold::Ascii {
            literals.pop().map_or(Search::Nothing, Search::Anchored)
        } else if literals.is_empty() {
            Search::Nothing
        } else {
            let expressions: Vec<String> = literals.iter().map(Literal::expression).collect();
            let parts = literals.iter().map(|literal| size::of_literal(&literal.text)).sum();
            Search::Regex(Later::new(expressions.join("|"), size::of_expression(parts, 0, pattern)))
        };
        Ok(OsMatch { pattern: pattern.to_owned(), search, required })
    }

    /// Whether the text fits.
    pub fn is_match(&self, text: &[u8]) -> bool {
        match &self.search {
            Search::Everything => true,
            Search::Nothing => false,
            Search::Anchored(literal) => literal.is_at_anchor(text),
            Search::Regex(regex) => regex.is_match(text),
        }
    }

    /// How much memory in bytes it takes at most when it is compiled. What a thread keeps of its searches comes on top.
    pub fn bytes_max(&self) -> usize {
        match &self.search {
            Search::Regex(regex) => regex.bytes_max(),
            Search::Everything | Search::Nothing | Search::Anchored(_) => 0,
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Literals of which a text that fits has at least one, when the text's A-Z are made a-z; they are so already.
    /// An empty list says that no text fits, `None` that nothing is known.
    pub fn required_literals(&self) -> Option<&[String]> {
        self.required.as_deref()
    }

    /// Texts with one of which every text begins that fits, in whatever case. `None` says that nothing is known.
    pub(crate) fn beginnings(&self) -> Option<Vec<String>> {
        beginning::of_literals(&self.pattern.split('|').filter_map(literal).collect::<Vec<_>>())
    }
}

/// Reads one alternative. `None` when it can never fit: an anchor with text on its wrong side.
fn literal(written: &str) -> Option<Literal> {
    let text = written.trim_start_matches('^').trim_end_matches('$');
    if text.trim_matches(['^', '$']).is_empty() {
        // Nothing but anchors, in whatever order.
        let [at_start, at_end] = [written.contains('^'), written.contains('$')];
        return Some(Literal { text: String::new(), at_start, at_end });
    }
    let [at_start, at_end] = [written.starts_with('^'), written.ends_with('$')];
    (!text.contains(['^', '$'])).then(|| Literal { text: text.to_owned(), at_start, at_end })
}
