//! OS_Regex: OSSEC's small regular expressions.

use std::ops::Range;

use super::later::Later;
use super::literal::{Fold, Literal};
use super::syntax::{self, Node, PUNCTUATION, Sequence, Set};
use super::{PatternError, beginning, check_length, required, size};

/// A compiled OS_Regex pattern.
///
/// `\w \d \s \p` and their kin name sets of characters, `\.` any character; `+` and `*` repeat only after an escape;
/// `|`, `( )`, `^` and `$` mean what they mean elsewhere, for the whole text and not for its lines. Case is ignored, by
/// Unicode; only a single anchored ASCII literal goes by ASCII, as in OSSEC.
#[derive(Clone, Debug)]
pub struct OsRegex {
    pattern: String,
    /// The pattern is a single ASCII literal with an anchor: then it decides, and not `regex`.
    anchored: Option<Literal>,
    regex: Later,
    groups: usize,
    /// A set of the pattern holds characters outside ASCII, so also bytes that are not UTF-8.
    takes_stray_bytes: bool,
    required: Option<Vec<String>>,
}

impl OsRegex {
    /// Compiles a pattern of 1 to [`PATTERN_BYTES_MAX`](super::PATTERN_BYTES_MAX) bytes.
    pub fn new(pattern: &str) -> Result<OsRegex, PatternError> {
        check_length(pattern)?;
        let alternatives = syntax::parse(pattern)?;
        let anchored = syntax::as_literal(&alternatives)
            .filter(|literal| literal.text.is_ascii() && (literal.at_start || literal.at_end));
        let required = match &anchored {
            Some(literal) => required::of_literals(std::slice::from_ref(literal), Fold::Ascii),
            None => required::of_sequences(&alternatives),
        };
        let mut expression = String::new();
        write_alternatives(&alternatives, &mut expression);
        let groups = alternatives.iter().flatten().map(groups).sum();
        let bytes_max = size::of_expression(size::of_alternatives(&alternatives), groups, pattern);
        Ok(OsRegex {
            pattern: pattern.to_owned(),
            anchored,
            regex: Later::new(expression, bytes_max),
            groups,
            takes_stray_bytes: alternatives.iter().flatten().any(takes_stray_bytes),
            required,
        })
    }

    /// Whether the text fits.
    pub fn is_match(&self, text: &[u8]) -> bool {
        if let Some(literal) = &self.anchored {
            return literal.is_at_anchor(text);
        }
        // Stray bytes can only add matches, so that a text with them is looked at twice only when needed.
        self.regex.is_match(text)
            || (self.takes_stray_bytes && Replaced::new(text).is_some_and(|it| self.regex.is_match(it.text.as_bytes())))
    }

    /// Where the text fits first: the whole match, then each group in the order of its `(`, as byte ranges of the
    /// text. A group that took no part has none.
    pub fn captures(&self, text: &[u8]) -> Option<Vec<Option<Range<usize>>>> {
        self.all_captures(text, 1).pop()
    }

    /// As [`OsRegex::captures`], of the first `count_max` places where it fits, one after the other.
    pub fn all_captures(&self, text: &[u8], count_max: usize) -> Vec<Vec<Option<Range<usize>>>> {
        if self.anchored.as_ref().is_some_and(|literal| !literal.is_at_anchor(text)) {
            return Vec::new();
        }
        let replaced = if self.takes_stray_bytes { Replaced::new(text) } else { None };
        let original = |at: usize| replaced.as_ref().map_or(at, |it| it.original(at));
        let places = self.regex.captures_iter(replaced.as_ref().map_or(text, |it| it.text.as_bytes())).take(count_max);
        places
            .map(|groups| groups.iter().map(|group| group.map(|it| original(it.start())..original(it.end()))).collect())
            .collect()
    }

    /// How many groups it has.
    pub fn group_count(&self) -> usize {
        self.groups
    }

    /// How much memory in bytes it takes at most when it is compiled. What a thread keeps of its searches comes on top.
    pub fn bytes_max(&self) -> usize {
        self.regex.bytes_max()
    }

    #[cfg(test)]
    pub(super) fn is_compilable(&self) -> bool {
        self.regex.is_compilable()
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
        beginning::of_sequences(&syntax::parse(&self.pattern).ok()?)
    }
}

fn write_alternatives(alternatives: &[Sequence], expression: &mut String) {
    for (place, sequence) in alternatives.iter().enumerate() {
        if place > 0 {
            expression.push('|');
        }
        for node in sequence {
            write_node(node, expression);
        }
    }
}

fn write_node(node: &Node, expression: &mut String) {
    match node {
        Node::Literal(character) => expression.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
        // Without case folding: it would add U+017F and U+212A to a-z.
        Node::Set(set) => match set {
            Set::Any => expression.push('.'),
            Set::Word => expression.push_str("(?-i:[A-Za-z0-9_@-])"),
            Set::NotWord => expression.push_str("(?-i:[^A-Za-z0-9_@-])"),
            Set::Digit => expression.push_str("[0-9]"),
            Set::NotDigit => expression.push_str("[^0-9]"),
            Set::NotSpace => expression.push_str("[^ ]"),
            Set::Punctuation => {
                expression.push('[');
                expression.push_str(&regex::escape(PUNCTUATION));
                expression.push(']');
            }
        },
        Node::Start => expression.push('^'),
        Node::End => expression.push('$'),
        Node::Group(alternatives) => {
            expression.push('(');
            write_alternatives(alternatives, expression);
            expression.push(')');
        }
        Node::Repeat { node, at_least, greedy } => {
            write_node(node, expression);
            expression.push(if *at_least == 0 { '*' } else { '+' });
            if !greedy {
                expression.push('?');
            }
        }
    }
}

/// How many groups there are in a node.
fn groups(node: &Node) -> usize {
    match node {
        Node::Group(alternatives) => 1 + alternatives.iter().flatten().map(groups).sum::<usize>(),
        Node::Repeat { node, .. } => groups(node),
        Node::Literal(_) | Node::Set(_) | Node::Start | Node::End => 0,
    }
}

fn takes_stray_bytes(node: &Node) -> bool {
    match node {
        Node::Set(set) => matches!(set, Set::Any | Set::NotWord | Set::NotDigit | Set::NotSpace),
        Node::Group(alternatives) => alternatives.iter().flatten().any(takes_stray_bytes),
        Node::Repeat { node, .. } => takes_stray_bytes(node),
        Node::Literal(_) | Node::Start | Node::End => false,
    }
}

/// A text in which each byte that is not UTF-8 became a character of its own, from the end of the private use area.
struct Replaced {
    text: String,
    /// Where those bytes were in the original, ascending.
    bytes: Vec<usize>,
}

impl Replaced {
    /// `None` when the text is UTF-8 throughout.
    fn new(original: &[u8]) -> Option<Replaced> {
        if std::str::from_utf8(original).is_ok() {
            return None;
        }
        let mut replaced = Replaced { text: String::with_capacity(2 * original.len()), bytes: Vec::new() };
        let mut at = 0;
        for chunk in original.utf8_chunks() {
            replaced.text.push_str(chunk.valid());
            at += chunk.valid().len();
            for byte in chunk.invalid() {
                replaced.bytes.push(at);
                replaced.text.extend(char::from_u32(0x10_FF00 + u32::from(*byte)));
                at += 1;
            }
        }
        Some(replaced)
    }

    /// The place in the original of a character's start in the replaced text.
    fn original(&self, at: usize) -> usize {
        // Each replaced byte before it takes four bytes instead of one.
        let mut low = 0;
        let mut high = self.bytes.len();
        while low < high {
            let middle = low + (high - low) / 2;
            if self.bytes[middle] + 3 * middle < at { low = middle + 1 } else { high = middle }
        }
        at - 3 * low
    }
}
