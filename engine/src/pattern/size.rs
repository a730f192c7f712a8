//! How much memory patterns of OSSEC's own dialects take at most when they are compiled: what `regex` 1.13 takes for each
//! part, measured, and something on top.

use super::literal::folds_outside_ascii;
use super::syntax::{Node, Sequence, Set};

/// What an expression takes in any case, in bytes.
pub(super) const BASE_BYTES: usize = 16 << 10;

/// An anchor, or a way to another alternative.
const STEP_BYTES: usize = 150;

/// Of a pattern's alternatives.
pub(super) fn of_alternatives(alternatives: &[Sequence]) -> usize {
    alternatives.iter().map(|sequence| STEP_BYTES + sequence.iter().map(of_node).sum::<usize>()).sum()
}

/// Of a literal with two anchors.
pub(super) fn of_literal(text: &str) -> usize {
    2 * STEP_BYTES + text.chars().map(of_character).sum::<usize>()
}

fn of_node(node: &Node) -> usize {
    match node {
        Node::Literal(character) => of_character(*character),
        // What is outside ASCII takes one step for each byte, and ranges of them one for each length.
        Node::Set(Set::Any | Set::NotWord | Set::NotDigit | Set::NotSpace) => 2000,
        Node::Set(Set::Word | Set::Punctuation) => 250,
        Node::Set(Set::Digit) => 120,
        Node::Start | Node::End => STEP_BYTES,
        Node::Group(alternatives) => 2 * STEP_BYTES + of_alternatives(alternatives),
        Node::Repeat { node, .. } => 2 * STEP_BYTES + of_node(node),
    }
}

/// In each way that it can be spelled.
fn of_character(character: char) -> usize {
    if folds_outside_ascii(character) { 400 } else { 120 }
}
