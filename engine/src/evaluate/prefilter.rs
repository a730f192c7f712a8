//! One search of a line for the literals of all rules, instead of one search for every pattern.
//!
//! Most patterns can only fit a text that holds one of a few literals. A rule with such a pattern is a candidate for a
//! line when one of them is there; the others need not be tried. It changes no answer, only what it costs.
//!
//! What it costs must not grow with the number of rules that do not apply. So of a long literal only a part is searched,
//! the one that the fewest other literals have too, which keeps the automaton small; and candidates are bits in the order
//! in which siblings are tried, so that a walk gets from one to the next without a look at those between.

use std::collections::{BTreeMap, HashMap};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::ruleset::{Rule, RuleIndex, Test};

/// A literal shorter than this is in too many lines to tell them apart.
const LITERAL_BYTES_MIN: usize = 3;

/// So many bytes of a literal are searched.
const PART_BYTES: usize = 8;

/// What every line of an output begins with tells none apart.
const HEADER: &[u8] = b"ossec: output: '";

/// Up to this many bytes of literals are searched in the fastest way. It takes some hundred bytes of memory for each.
const FAST_BYTES_MAX: usize = 64 * 1024;

/// The literals of a rule set.
#[derive(Debug)]
pub(crate) struct Prefilter {
    /// Finds all literals in any case of A-Z. `None` when there are none, or too many: then every rule is a candidate.
    literals: Option<AhoCorasick>,
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
        let parts = Parts::of(needed.iter().flatten().flatten().copied());
        let mut by_part = BTreeMap::<&[u8], Vec<u32>>::new();
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
                            by_part.entry(parts.rarest(literal)).or_default().push(slot);
                        }
                    }
                }
                slot += 1;
            }
        }
        let size: usize = by_part.keys().map(|part| part.len()).sum();
        let kind = (size <= FAST_BYTES_MAX).then_some(AhoCorasickKind::DFA);
        // Its own prefilter looks for rare bytes, which are not rare in outputs: most of the time went there.
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).kind(kind).prefilter(false);
        match builder.build(by_part.keys()) {
            Ok(literals) => {
                Prefilter { literals: Some(literals), waiting: by_part.into_values().collect(), first_child, always }
            }
            Err(_) => {
                always.fill(u64::MAX);
                Prefilter { literals: None, waiting: Vec::new(), first_child, always }
            }
        }
    }

    /// The candidates for a text.
    pub fn search(&self, text: &[u8], candidates: &mut Candidates) {
        for word in candidates.changed.drain(..) {
            candidates.bits[word] = self.always[word];
        }
        let Some(literals) = &self.literals else { return };
        for found in literals.find_overlapping_iter(text) {
            for slot in &self.waiting[found.pattern()] {
                candidates.insert(*slot);
            }
        }
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
    (shortest(best) >= LITERAL_BYTES_MIN).then(|| best.iter().map(String::as_bytes).collect())
}

/// How many literals have each part of [`PART_BYTES`] bytes, long ones more than once if it comes again.
struct Parts<'l>(HashMap<&'l [u8], u32>);

impl<'l> Parts<'l> {
    fn of(literals: impl Iterator<Item = &'l [u8]>) -> Parts<'l> {
        let mut parts = HashMap::new();
        literals.flat_map(|literal| literal.windows(PART_BYTES)).for_each(|part| *parts.entry(part).or_default() += 1);
        parts.extend(HEADER.windows(PART_BYTES).map(|part| (part, u32::MAX)));
        Parts(parts)
    }

    /// The part of a literal that the fewest literals have, the first of several; all of a short one.
    fn rarest<'p>(&self, literal: &'p [u8]) -> &'p [u8] {
        let count = |part: &&[u8]| self.0.get(part).copied().unwrap_or_default();
        literal.windows(PART_BYTES).min_by_key(count).unwrap_or(literal)
    }
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

    #[test]
    fn of_a_long_literal_the_part_is_searched_that_others_do_not_have() {
        let literals = ["the output of one", "the output of two", "short"].map(str::as_bytes);
        let parts = Parts::of(literals.into_iter());
        assert_eq!(parts.rarest(literals[0]), b"put of o");
        assert_eq!(parts.rarest(literals[1]), b"put of t");
        assert_eq!(parts.rarest(literals[2]), b"short");
        assert_eq!(Parts::of(std::iter::empty()).rarest(b"ossec: output: 'df -P': "), b"tput: 'd");
    }
}
