//! One search of a line for the literals of all rules, instead of one search for every pattern.
//!
//! Most patterns can only fit a text that holds one of a few literals. A rule with such a pattern is a candidate for a
//! line when one of them is there; the others need not be tried. It changes no answer, only what it costs.

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::ruleset::{Rule, RuleIndex, Test};

/// A literal shorter than this is in too many lines to tell them apart.
const LITERAL_BYTES_MIN: usize = 3;

/// Up to this many bytes of literals are searched in the fastest way. It takes some hundred bytes of memory for each.
const FAST_BYTES_MAX: usize = 64 * 1024;

/// The literals of a rule set.
#[derive(Debug)]
pub(crate) struct Prefilter {
    /// Finds all literals in any case of A-Z. `None` when there are none, or too many: then every rule is a candidate.
    literals: Option<AhoCorasick>,
    /// By literal: the rules that wait for it.
    rules: Vec<Vec<RuleIndex>>,
    /// The rules that are candidates for every line.
    always: RuleBits,
}

/// A set of rules, one bit each.
#[derive(Clone, Debug)]
pub(crate) struct RuleBits(Vec<u64>);

impl Prefilter {
    /// Of the rules of a rule set, in their order.
    pub fn new(rules: &[Rule]) -> Prefilter {
        let mut by_literal = std::collections::BTreeMap::<&str, Vec<RuleIndex>>::new();
        let mut always = RuleBits::all(rules.len());
        for (rule, index) in rules.iter().zip((0..).map(RuleIndex)) {
            if let Some(literals) = needed_literals(rule) {
                always.remove(index);
                for literal in literals {
                    by_literal.entry(literal).or_default().push(index);
                }
            }
        }
        let size: usize = by_literal.keys().map(|literal| literal.len()).sum();
        let kind = (size <= FAST_BYTES_MAX).then_some(AhoCorasickKind::DFA);
        match AhoCorasick::builder().ascii_case_insensitive(true).kind(kind).build(by_literal.keys()) {
            Ok(literals) => Prefilter { literals: Some(literals), rules: by_literal.into_values().collect(), always },
            Err(_) => Prefilter { literals: None, rules: Vec::new(), always: RuleBits::all(rules.len()) },
        }
    }

    /// The candidates for a text, into a set of [`Prefilter::every_rule`]'s size.
    pub fn search(&self, text: &[u8], candidates: &mut RuleBits) {
        candidates.0.copy_from_slice(&self.always.0);
        let Some(literals) = &self.literals else { return };
        for found in literals.find_overlapping_iter(text) {
            for rule in &self.rules[found.pattern()] {
                candidates.insert(*rule);
            }
        }
    }

    /// Every rule is a candidate.
    pub fn every_rule(&self) -> RuleBits {
        RuleBits(vec![u64::MAX; self.always.0.len()])
    }
}

/// The literals of the condition that tells lines apart best: a line without any of them can't fulfil the rule. `None`
/// when it may fulfil it whatever it holds.
fn needed_literals(rule: &Rule) -> Option<impl Iterator<Item = &str>> {
    // A pattern that can give up must be tried, or it would give up in one mode and not in the other.
    let tried = rule.conditions.iter().take_while(|condition| !condition.test.may_give_up());
    let needed = tried.filter_map(|condition| match &condition.test {
        Test::Match(pattern) => pattern.required_literals(),
        Test::Regex(pattern) => pattern.required_literals(),
        Test::Pcre2(_, pattern) => pattern.required_literals(),
        _ => None,
    });
    let shortest = |literals: &[String]| literals.iter().map(String::len).min().unwrap_or(usize::MAX);
    let best = needed.max_by_key(|literals| shortest(literals))?;
    (shortest(best) >= LITERAL_BYTES_MIN).then(|| best.iter().map(String::as_str))
}

impl RuleBits {
    fn all(count: usize) -> RuleBits {
        RuleBits(vec![u64::MAX; count.div_ceil(64)])
    }

    pub fn contains(&self, rule: RuleIndex) -> bool {
        let (word, bit) = RuleBits::place(rule);
        self.0[word] & bit != 0
    }

    fn insert(&mut self, rule: RuleIndex) {
        let (word, bit) = RuleBits::place(rule);
        self.0[word] |= bit;
    }

    fn remove(&mut self, rule: RuleIndex) {
        let (word, bit) = RuleBits::place(rule);
        self.0[word] &= !bit;
    }

    fn place(rule: RuleIndex) -> (usize, u64) {
        (rule.0 as usize / 64, 1 << (rule.0 % 64))
    }
}
