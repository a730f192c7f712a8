//! `check_diff` rules that several commands reach: OSSEC keeps one text for each agent and rule.

use std::collections::BTreeSet;

use super::is_own;
use crate::finding::{Finding, Findings, codes, shown};
use crate::line;
use crate::load::Tree;
use crate::pattern::OsMatch;
use crate::ruleset::{Category, Rule, RuleIndex, Test};

/// What comes before a command's name in each line of its output; a literal that holds it speaks of the name.
const MARK: &str = "output: '";

pub(super) fn shared(tree: &Tree, commands: &[String], findings: &mut Findings) {
    let names: BTreeSet<&str> = commands.iter().map(String::as_str).collect();
    let headers: Vec<(&str, String)> = names
        .into_iter()
        .map(|name| (name, String::from_utf8_lossy(&line::output_header(name)).to_ascii_lowercase()))
        .collect();
    // By rule: which commands' lines may come to it, and hold.
    let mut reached: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); tree.rules.len()];
    for (number, (_, header)) in headers.iter().enumerate() {
        let mut next: Vec<RuleIndex> = tree.roots.clone();
        while let Some(RuleIndex(at)) = next.pop() {
            let rule = &tree.rules[at as usize];
            if !reached[at as usize].contains(&number) && may_hold(rule, header) {
                reached[at as usize].insert(number);
                next.extend(&rule.children);
            }
        }
    }
    for (at, rule) in tree.rules.iter().enumerate().filter(|(at, rule)| is_own(rule) && !tree.is_broken(*at)) {
        let Some(check_diff) = &rule.check_diff else { continue };
        if reached[at].len() > 1 {
            let names: Vec<String> =
                reached[at].iter().take(4).map(|number| format!("`{}`", shown(headers[*number].0))).collect();
            let others = reached[at].len() - names.len();
            let others = if others > 0 { format!(" and {others} more") } else { String::new() };
            let message = format!("rule {} compares the outputs of {}{others}", rule.id, names.join(", "));
            findings.push(
                Finding::new(&codes::SHARED_BASELINE, message)
                    .at(check_diff.span, "OSSEC would keep one text for all of them")
                    .rule(Some(rule.id))
                    .note("Tripline keeps one for each command"),
            );
        }
    }
}

/// Whether a line with this header may fulfil the rule's conditions, as far as the header alone says.
fn may_hold(rule: &Rule, header: &str) -> bool {
    rule.conditions.iter().all(|condition| match &condition.test {
        Test::Category(category) => *category == Category::Ossec,
        Test::DecodedAs(name) => name == line::DECODER_OSSEC,
        Test::Never(_) => false,
        Test::Match(pattern) => match_may_fit(pattern, header),
        Test::Regex(pattern) => literals_may_fit(pattern.required_literals(), header),
        Test::Pcre2(_, pattern) => literals_may_fit(pattern.required_literals(), header),
        _ => true,
    })
}

fn match_may_fit(pattern: &OsMatch, header: &str) -> bool {
    pattern.as_str().split('|').any(|written| {
        let literal = written.trim_start_matches('^').trim_end_matches('$').to_ascii_lowercase();
        if written.starts_with('^') { agree(&literal, header) } else { may_be_in(&literal, header) }
    })
}

fn literals_may_fit(literals: Option<&[String]>, header: &str) -> bool {
    literals.is_none_or(|literals| literals.iter().any(|literal| may_be_in(literal, header)))
}

/// A literal that speaks of the command's name must agree with it; any other may come from the output.
fn may_be_in(literal: &str, header: &str) -> bool {
    let (Some(in_literal), Some(in_header)) = (literal.find(MARK), header.find(MARK)) else { return true };
    agree(&literal[in_literal..], &header[in_header..]) && header[..in_header].ends_with(&literal[..in_literal])
}

/// Whether one begins with the other.
fn agree(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
