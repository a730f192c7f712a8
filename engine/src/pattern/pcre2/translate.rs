//! Expressions in the language of the crate `regex`, where they mean the same there.

use std::fmt::Write;
use std::sync::OnceLock;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::super::required::{any_of, better};
use super::super::{CACHE_BYTES_MAX, COMPILED_BYTES_MAX};
use super::program::is_nullable;
use super::set::ByteSet;
use super::syntax::{Assertion, Expression, Kind, Node};

/// Up to this size an expression is compiled when it is first used: rule sets have thousands of them, and most never
/// see a text that has their literals. Compiled, an expression of this size stays far below the bound.
const SIZE_OF_LATER_MAX: usize = 20_000;

/// An expression that is searched by the crate `regex`.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    text: String,
    /// `None` in it would be an expression that is too large, which is found out before.
    regex: OnceLock<Option<Regex>>,
}

impl Linear {
    /// The expression, if it means the same and is not too large.
    pub fn new(expression: &Expression) -> Option<Linear> {
        if expression.shared_numbers {
            return None;
        }
        let mut text = String::new();
        write(&expression.node, &mut text)?;
        let linear = Linear { text, regex: OnceLock::new() };
        (size(&expression.node) <= SIZE_OF_LATER_MAX || linear.regex().is_some()).then_some(linear)
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

/// How many ranges of bytes an expression has when its repeats are written out.
fn size(node: &Node) -> usize {
    match node {
        Node::Set(set) => set.ranges().len(),
        Node::Concat(nodes) | Node::Alternate(nodes) => {
            nodes.iter().fold(1, |sum: usize, node| sum.saturating_add(size(node)))
        }
        Node::Capture(_, node) => size(node).saturating_add(1),
        Node::Repeat { node, min, max, .. } => {
            let times = max.unwrap_or(min.saturating_add(1)).max(1) as usize;
            size(node).saturating_add(1).saturating_mul(times)
        }
        _ => 1,
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
