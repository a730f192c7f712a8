//! How much memory patterns take at most when they are compiled: what `regex` 1.13 takes for each part, measured, and
//! something on top. Here are those of OSSEC's own dialects, and what all have in common.

use super::literal::folds_outside_ascii;
use super::syntax::{Node, Sequence, Set};

/// What an expression takes in any case, in bytes.
const BASE_BYTES: usize = 16 << 10;

/// The most that `regex` takes for the table by which it finds groups, in bytes; it does without a larger one.
const GROUP_TABLE_BYTES_MAX: usize = 1 << 20;

/// A part that fits one byte is said to take at least so much.
const BYTES_PER_STATE: usize = 60;

/// Of a whole expression whose parts take so many bytes. With groups there can be a table: for each state of the expression
/// an entry of eight bytes for each class of bytes that it tells apart. `pattern` is what it is made from.
pub(super) fn of_expression(parts: usize, groups: usize, pattern: &str) -> usize {
    let whole = BASE_BYTES.saturating_add(parts);
    if groups == 0 {
        return whole;
    }
    let mut bytes: Vec<u8> = pattern.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    bytes.sort_unstable();
    bytes.dedup();
    // A byte and its other case each part the rest in two; sets part it at a few more places.
    let classes = (4 * bytes.len() + 32).min(257).next_power_of_two();
    let table = (parts / BYTES_PER_STATE).saturating_mul(8 * classes);
    whole.saturating_add(table.min(GROUP_TABLE_BYTES_MAX))
}

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
