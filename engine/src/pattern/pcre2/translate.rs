//! Expressions in the language of the crate `regex`, where they mean the same there.

use std::fmt::Write;
use std::sync::OnceLock;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::super::beginning::one_each;
use super::super::required::{any_of, better};
use super::super::{CACHE_BYTES_MAX, COMPILED_BYTES_MAX, size};
use super::program::is_nullable;
use super::set::ByteSet;
use super::syntax::{Assertion, Expression, Kind, Node};

/// An expression that is searched by the crate `regex`, compiled when it is first used: rule sets have thousands of them,
/// and most never see a text that has their literals.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    text: String,
    bytes_max: usize,
    /// `None` in it would be an expression that is too large, which is found out before.
    regex: OnceLock<Option<Regex>>,
}

impl Linear {
    /// The expression, if it means the same and is not too large.
    pub fn new(expression: &Expression, pattern: &str) -> Option<Linear> {
        if expression.shared_numbers {
            return None;
        }
        let bytes_max = size::of_expression(bytes_max(&expression.node), expression.groups as usize, pattern);
        if bytes_max > COMPILED_BYTES_MAX {
            return None;
        }
        let mut text = String::new();
        write(&expression.node, &mut text)?;
        Some(Linear { text, bytes_max, regex: OnceLock::new() })
    }

    /// How much memory in bytes it takes at most when it is compiled.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }

    pub fn captures<'t>(&self, text: &'t [u8]) -> Option<Captures<'t>> {
        self.regex()?.captures(text)
    }

    #[cfg(test)]
    pub fn is_compilable(&self) -> bool {
        self.regex().is_some()
    }

    fn regex(&self) -> Option<&Regex> {
        let compile = || {
            RegexBuilder::new(&self.text)
                .unicode(false)
                .nest_limit(2_000)
                .size_limit(COMPILED_BYTES_MAX)
                .dfa_size_limit(CACHE_BYTES_MAX)
                .build()
                .ok()
        };
        self.regex.get_or_init(compile).as_ref()
    }
}

/// How much memory in bytes an expression takes at most: what `regex` 1.13 takes for it, measured, and something on top. Its
/// repeats are written out there.
fn bytes_max(node: &Node) -> usize {
    match node {
        Node::Set(set) => 60 + 20 * set.ranges().len(),
        Node::Concat(nodes) => nodes.iter().map(bytes_max).fold(0, usize::saturating_add),
        Node::Alternate(nodes) => {
            nodes.iter().map(|node| bytes_max(node).saturating_add(60)).fold(0, usize::saturating_add)
        }
        Node::Capture(_, node) => bytes_max(node).saturating_add(150),
        Node::Repeat { node, min, max, .. } => {
            let times = max.unwrap_or(min.saturating_add(1)).max(1) as usize;
            bytes_max(node).saturating_add(100).saturating_mul(times)
        }
        _ => 60,
    }
}

fn write(node: &Node, text: &mut String) -> Option<()> {
    match node {
        Node::Empty => text.push_str("(?:)"),
        Node::Set(set) => write_set(set, text),
        Node::Assert(assertion) => text.push_str(match assertion {
            Assertion::TextStart => r"\A",
            Assertion::TextEnd => r"\z",
            Assertion::WordBoundary => r"\b",
            Assertion::NotWordBoundary => r"\B",
            Assertion::LastLineEnd | Assertion::LineStart | Assertion::LineEnd => return None,
        }),
        Node::Concat(nodes) => nodes.iter().try_for_each(|node| write(node, text))?,
        Node::Alternate(nodes) => {
            text.push_str("(?:");
            for (at, node) in nodes.iter().enumerate() {
                if at > 0 {
                    text.push('|');
                }
                write(node, text)?;
            }
            text.push(')');
        }
        Node::Capture(_, node) => {
            text.push('(');
            write(node, text)?;
            text.push(')');
        }
        Node::Repeat { node, min, max, kind } => {
            // What the last, empty turn of a loop took is where the two differ.
            if *kind == Kind::Possessive || captures(node) && (is_nullable(node) || *max == Some(0)) {
                return None;
            }
            text.push_str("(?:");
            write(node, text)?;
            text.push(')');
            // Into a string, so it can't fail.
            let _ = match (min, max) {
                (0, None) => write!(text, "*"),
                (1, None) => write!(text, "+"),
                (min, None) => write!(text, "{{{min},}}"),
                (min, Some(max)) => write!(text, "{{{min},{max}}}"),
            };
            if *kind == Kind::Lazy {
                text.push('?');
            }
        }
        Node::Fail
        | Node::Atomic(_)
        | Node::Look(_)
        | Node::Reference { .. }
        | Node::Call(_)
        | Node::Conditional { .. }
        | Node::Keep => return None,
    }
    Some(())
}

fn write_set(set: &ByteSet, text: &mut String) {
    let ranges = set.ranges();
    // Into a string, so it can't fail.
    let _ = match ranges[..] {
        [] => write!(text, r"[^\x00-\xFF]"),
        [(byte, end)] if byte == end => write!(text, r"\x{byte:02X}"),
        _ => {
            text.push('[');
            for (start, end) in ranges {
                let _ = write!(text, r"\x{start:02X}-\x{end:02X}");
            }
            write!(text, "]")
        }
    };
}

fn captures(node: &Node) -> bool {
    match node {
        Node::Capture(..) => true,
        Node::Concat(nodes) | Node::Alternate(nodes) => nodes.iter().any(captures),
        Node::Repeat { node, .. } | Node::Atomic(node) => captures(node),
        _ => false,
    }
}

/// Literals of which a text that fits has one; see [`Pcre2::required_literals`](super::Pcre2::required_literals).
pub(super) fn required(node: &Node) -> Option<Vec<String>> {
    match node {
        Node::Concat(nodes) => {
            let mut best = None;
            let mut text = String::new();
            for node in nodes {
                match node {
                    Node::Set(set) if let Some(character) = set.as_ascii() => text.push(character),
                    // Takes no room: what is before and after it stays together.
                    Node::Assert(_) | Node::Look(_) | Node::Empty | Node::Keep => {}
                    _ => {
                        best = better(best, of_text(&mut text));
                        best = better(best, required(node));
                    }
                }
            }
            better(best, of_text(&mut text))
        }
        Node::Set(set) => set.as_ascii().map(|character| vec![character.to_string()]),
        Node::Alternate(nodes) => any_of(nodes.iter().map(required)),
        Node::Capture(_, node) | Node::Atomic(node) => required(node),
        Node::Repeat { node, min, .. } if *min > 0 => required(node),
        _ => None,
    }
}

fn of_text(text: &mut String) -> Option<Vec<String>> {
    let text = std::mem::take(text);
    (!text.is_empty()).then(|| vec![text])
}

/// How every text begins that fits; see [`Pcre2::beginnings`](super::Pcre2::beginnings).
pub(super) fn beginnings(node: &Node) -> Option<Vec<String>> {
    match node {
        Node::Alternate(nodes) => one_each(nodes.iter().map(beginning)),
        Node::Capture(_, node) => beginnings(node),
        node => one_each(std::iter::once(beginning(node))),
    }
}

fn beginning(node: &Node) -> Option<String> {
    let Node::Concat(nodes) = node else { return None };
    let [Node::Assert(Assertion::TextStart), rest @ ..] = &nodes[..] else { return None };
    let literal = |node: &Node| if let Node::Set(set) = node { set.as_ascii() } else { None };
    Some(rest.iter().map_while(literal).collect())
}
