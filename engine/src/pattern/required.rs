//! Literals that a text must hold for a pattern to fit, for a search of one text for many patterns at once.

use super::literal::{Fold, Literal, folds_outside_ascii};
use super::syntax::{Node, Sequence};

/// More literals than this for one pattern are worth less than they cost.
const LITERALS_MAX: usize = 256;

/// How many letters of a literal may be spelled in two ways, the second outside ASCII: 2 to the power of this are the
/// literals it becomes.
const SPELLED_TWICE_MAX: usize = 2;

/// Of a pattern that is nothing but literals.
pub(super) fn of_literals(literals: &[Literal], fold: Fold) -> Option<Vec<String>> {
    any_of(literals.iter().map(|one| match fold {
        _ if one.text.is_empty() => None,
        Fold::Ascii => Some(vec![one.text.to_ascii_lowercase()]),
        Fold::Unicode => of_text(&one.text),
    }))
}

/// Of the alternatives of an OS_Regex.
pub(super) fn of_sequences(alternatives: &[Sequence]) -> Option<Vec<String>> {
    any_of(alternatives.iter().map(of_sequence))
}

/// One of several alternatives fits, so the literals of all of them are needed.
pub(super) fn any_of(alternatives: impl Iterator<Item = Option<Vec<String>>>) -> Option<Vec<String>> {
    let mut literals = Vec::new();
    for one in alternatives {
        literals.extend(one?);
        if literals.len() > LITERALS_MAX {
            return None;
        }
    }
    literals.sort();
    literals.dedup();
    Some(literals)
}

/// All parts of a sequence fit, so the best of them will do.
fn of_sequence(sequence: &Sequence) -> Option<Vec<String>> {
    let mut best = None;
    let mut text = String::new();
    for node in sequence {
        match node {
            Node::Literal(character) => {
                text.push(*character);
                continue;
            }
            // Takes no room: what is before and after it stays together.
            Node::Start | Node::End => continue,
            Node::Set(_) => {}
            Node::Group(alternatives) => best = better(best, of_sequences(alternatives)),
            Node::Repeat { node, at_least, .. } => {
                if *at_least > 0 {
                    best = better(best, of_sequence(&vec![(**node).clone()]));
                }
            }
        }
        best = better(best, of_text(&std::mem::take(&mut text)));
    }
    better(best, of_text(&text))
}

/// Longer literals are rarer, and so are fewer of them.
pub(super) fn better(one: Option<Vec<String>>, other: Option<Vec<String>>) -> Option<Vec<String>> {
    let worth = |literals: &Vec<String>| {
        let shortest = literals.iter().map(String::len).min().unwrap_or(usize::MAX);
        (shortest, usize::MAX - literals.len())
    };
    match (one, other) {
        (Some(one), Some(other)) => Some(if worth(&one) >= worth(&other) { one } else { other }),
        (one, other) => one.or(other),
    }
}

/// The longest part of a literal whose spellings are few, in each of them.
fn of_text(text: &str) -> Option<Vec<String>> {
    let mut best = "";
    for run in text.split(|character: char| !character.is_ascii()) {
        // Where the current part may start: after each letter with two spellings, lest there are too many.
        let mut start = 0;
        let mut spelled_twice = std::collections::VecDeque::new();
        for (at, character) in run.char_indices() {
            if folds_outside_ascii(character) {
                spelled_twice.push_back(at);
                if spelled_twice.len() > SPELLED_TWICE_MAX {
                    start = spelled_twice.pop_front().map_or(start, |first| first + 1);
                }
            }
            if at + 1 - start > best.len() {
                best = &run[start..=at];
            }
        }
    }
    if best.is_empty() {
        return None;
    }
    let mut spellings = vec![String::new()];
    for character in best.to_ascii_lowercase().chars() {
        let other = match character {
            's' => Some('\u{17F}'),
            'k' => Some('\u{212A}'),
            _ => None,
        };
        let again = other.map(|other| spellings.iter().map(|one| format!("{one}{other}")).collect::<Vec<_>>());
        spellings.iter_mut().for_each(|one| one.push(character));
        spellings.extend(again.into_iter().flatten());
    }
    Some(spellings)
}
