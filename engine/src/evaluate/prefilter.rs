//! One search of a line for the literals of all rules, instead of one search for every pattern.
//!
//! Most patterns can only fit a text that holds one of a few literals. A rule with such a pattern is a candidate for a
//! line when one of them is there; the others need not be tried. It changes no answer, only what it costs.
//!
//! What it costs must not grow with the number of rules that do not apply. So candidates are bits in the order in which
//! siblings are tried, and a walk gets from one to the next without a look at those between.

use std::collections::BTreeMap;

use super::literals::Literals;
use crate::ruleset::{Rule, RuleIndex, Test};

/// What every line of an output begins with tells none apart.
const HEADER: &[u8] = b"ossec: output: '";

/// The literals of a rule set.
#[derive(Debug)]
pub(crate) struct Prefilter {
    literals: Literals,
    /// By literal: the slots that wait for it.
    waiting: Vec<Vec<u32>>,
    /// By rule: the slot of its first child; the others follow in the order they are tried. Those of the roots are the
    /// first of all.
    first_child: Vec<u32>,
    /// The slots that are candidates for every line.
    always: Vec<u64>,
}

/// The slots of the rules worth trying, one bit each. A rule has a slot under each of its parents.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    bits: Vec<u64>,
    /// The words that differ from [`Prefilter::always`].
    changed: Vec<usize>,
}

impl Prefilter {
    /// Of the rules of a rule set, in their order, and of those that have no parent.
    pub fn new(rules: &[Rule], roots: &[RuleIndex]) -> Prefilter {
        let needed: Vec<Option<Vec<&[u8]>>> = rules.iter().map(needed_literals).collect();
        let mut by_literal = BTreeMap::<&[u8], Vec<u32>>::new();
        let mut always = Vec::new();
        let mut first_child = Vec::with_capacity(rules.len());
        let mut slot = 0_u32;
        for (siblings, is_roots) in
            std::iter::once((roots, true)).chain(rules.iter().map(|rule| (&*rule.children, false)))
        {
            if !is_roots {
                first_child.push(slot);
            }
            for rule in siblings {
                let (word, bit) = place(slot);
                always.resize(word + 1, 0);
                match &needed[rule.0 as usize] {
                    None => always[word] |= bit,
                    Some(literals) => {
                        for literal in literals {
                            by_literal.entry(literal).or_default().push(slot);
                        }
                    }
                }
                slot += 1;
            }
        }
        let literals = Literals::new(by_literal.keys().copied(), HEADER);
        Prefilter { literals, waiting: by_literal.into_values().collect(), first_child, always }
    }

    /// The candidates for a text.
    pub fn search(&self, text: &[u8], candidates: &mut Candidates) {
        for word in candidates.changed.drain(..) {
            candidates.bits[word] = self.always[word];
        }
        self.literals.find(text, |literal| {
            self.waiting[literal].iter().for_each(|slot| candidates.insert(*slot));
        });
    }

    /// Every rule is a candidate.
    pub fn every_rule(&self) -> Candidates {
        Candidates { bits: vec![u64::MAX; self.always.len()], changed: Vec::new() }
    }

    /// Those that are candidates for every text, to be searched with.
    pub fn candidates(&self) -> Candidates {
        Candidates { bits: self.always.clone(), changed: Vec::new() }
    }

    /// The slot of a rule's first child.
    pub fn first_child(&self, rule: RuleIndex) -> u32 {
        self.first_child[rule.0 as usize]
    }
}

/// The literals of the condition that tells lines apart best: a line without any of them can't fulfil the rule. `None`
/// when it may fulfil it whatever it holds.
fn needed_literals(rule: &Rule) -> Option<Vec<&[u8]>> {
    // A pattern that can give up must be tried, or it would give up in one mode and not in the other: what comes behind it
    // says nothing. Where its own literals are missing it can't give up.
    let conditions = &rule.conditions;
    let first = conditions.iter().position(|condition| condition.test.may_give_up());
    let tried = &conditions[..first.map_or(conditions.len(), |first| first + 1)];
    let needed = tried.iter().filter_map(|condition| match &condition.test {
        Test::Match(pattern) => pattern.required_literals(),
        Test::Regex(pattern) => pattern.required_literals(),
        Test::Pcre2(_, pattern) => pattern.required_literals(),
        _ => None,
    });
    let shortest = |literals: &[String]| literals.iter().map(String::len).min().unwrap_or(usize::MAX);
    let best = needed.max_by_key(|literals| shortest(literals))?;
    // A shorter one is in too many lines to tell them apart.
    (shortest(best) >= Literals::BYTES_MIN).then(|| best.iter().map(String::as_bytes).collect())
}

impl Candidates {
    /// The first candidate from one slot up to another, which is no longer meant.
    pub fn first_within(&self, from: u32, to: u32) -> Option<u32> {
        let (mut word, bit) = place(from);
        let mut bits = self.bits.get(word).copied().unwrap_or_default() & bit.wrapping_neg();
        while bits == 0 {
            word += 1;
            if word as u64 * 64 >= u64::from(to) {
                return None;
            }
            bits = self.bits[word];
        }
        let slot = word as u32 * 64 + bits.trailing_zeros();
        (slot < to).then_some(slot)
    }

    fn insert(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.changed.push(word);
        }
    }
}

/// A slot's word, and its bit there.
fn place(slot: u32) -> (usize, u64) {
    (slot as usize / 64, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_found_one_after_the_other_and_none_outside() {
        let mut candidates = Candidates { bits: vec![0; 4], changed: Vec::new() };
        let slots = [0, 1, 63, 64, 130, 191, 255];
        slots.iter().for_each(|slot| candidates.insert(*slot));
        for from in 0..=256 {
            for to in from..=256 {
                let expected = slots.iter().copied().find(|slot| (from..to).contains(slot));
                assert_eq!(candidates.first_within(from, to), expected, "{from}..{to}");
            }
        }
    }
}
