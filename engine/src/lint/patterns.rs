//! Patterns that never fit, and patterns that cost.

use super::own_rules;
use crate::finding::{Finding, Findings, codes};
use crate::load::Tree;
use crate::ruleset::Test;

/// A literal shorter than this does not tell lines apart.
const LITERAL_BYTES_MIN: usize = 3;

pub(super) fn lint(tree: &Tree, findings: &mut Findings) {
    // What is said of these already tells why no literal is known.
    let said = [codes::OTHER_DIALECT.code, codes::FITS_EVERYTHING.code].map(|code| findings.rules_with(code));
    for rule in own_rules(tree) {
        let mut first_pattern = None;
        let mut has_literal = false;
        for condition in &rule.conditions {
            let Some(literals) = literals(&condition.test) else { continue };
            first_pattern = first_pattern.or(Some(condition.span));
            match literals {
                Some([]) => findings.push(
                    Finding::new(&codes::NEVER_FITS, format!("`{}` fits no text", condition.test.name()))
                        .at(condition.span, "an anchor can never be fulfilled")
                        .rule(Some(rule.id))
                        .note("so the rule never holds")
                        .help("put `^` at the start of an alternative and `$` at its end; the characters themselves are `\\$` in `regex` and `\\^` in `pcre2`".to_owned()),
                ),
                Some(literals) => has_literal |= literals.iter().all(|literal| literal.len() >= LITERAL_BYTES_MIN),
                None => {}
            }
            has_literal |= literals.is_some_and(|literals| literals.is_empty());
        }
        if let Some(span) = first_pattern.filter(|_| !has_literal && !said.iter().any(|rules| rules.contains(&rule.id)))
        {
            let message =
                format!("rule {} can't be looked up by a literal of {LITERAL_BYTES_MIN} characters or more", rule.id);
            findings.push(
                Finding::new(&codes::NO_LITERAL, message)
                    .at(span, "none is known to be in every text that fits")
                    .rule(Some(rule.id))
                    .note("it is tried with every line that comes to its parent")
                    .help("add a `match` with a text that every such line holds".to_owned()),
            );
        }
    }
}

/// Of a pattern: the literals of which a text needs one, if they are known.
fn literals(test: &Test) -> Option<Option<&[String]>> {
    match test {
        Test::Match(pattern) => Some(pattern.required_literals()),
        Test::Regex(pattern) => Some(pattern.required_literals()),
        Test::Pcre2(_, pattern) => Some(pattern.required_literals()),
        _ => None,
    }
}
