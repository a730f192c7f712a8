//! Rules that never hold, since two of their conditions, or one and one of the rules above, exclude each other.

use std::cell::Cell;

use super::{is_own, parents};
use crate::finding::{Finding, Findings, codes};
use crate::load::{DEPTH_MAX, Tree};
use crate::pattern::beginning;
use crate::ruleset::{Condition, Rule, Test};

/// Pairs of alternatives that are compared, at most: then long patterns below each other take no longer than others.
const PAIRS_MAX: usize = 20_000_000;

/// How the lines of outputs begin.
const OUTPUT: &str = "ossec: output:";

/// A condition that may exclude others, made ready for many comparisons.
struct Prepared<'t> {
    condition: &'t Condition,
    /// Of a pattern: how every line begins that fits.
    beginnings: Option<Vec<String>>,
    /// The same, to the end of a command's name: what a rule below a `check_diff` sees begins like the lines that were
    /// gathered for it no further.
    headers: Option<Vec<String>>,
}

pub(super) fn never_hold(tree: &Tree, findings: &mut Findings) {
    let parents = parents(tree);
    let prepared: Vec<Vec<Prepared<'_>>> =
        tree.rules.iter().map(|rule| rule.conditions.iter().filter_map(Prepared::of).collect()).collect();
    // What these are meant to say is not known before they are mended.
    let said = findings.rules_with(codes::OTHER_DIALECT.code);
    let is_known = |rule: &Rule| !said.contains(&rule.id);
    let pairs = Cell::new(0);
    let exclude = |one: &Prepared<'_>, other: &Prepared<'_>, gathered| {
        pairs.set(pairs.get() + one.alternatives() * other.alternatives());
        exclude(one, other, gathered)
    };
    let is_looked_at =
        |at: usize, rule: &Rule| is_own(rule) && !tree.is_broken(at) && is_known(rule) && pairs.get() <= PAIRS_MAX;
    for (at, rule) in tree.rules.iter().enumerate().filter(|(at, rule)| is_looked_at(*at, rule)) {
        let own = &prepared[at];
        let among = |(number, one)| {
            own[..number].iter().find(|before| exclude(before, one, false)).map(|before| (one, before, rule))
        };
        let above = || {
            let mut gathered = false;
            above(tree, &parents, at).find_map(|above| {
                let rule = &tree.rules[above];
                gathered |= rule.check_diff.is_some();
                let of_it = prepared[above].iter().filter(|_| is_known(rule));
                let mut with_own = of_it.flat_map(|it| own.iter().map(move |one| (one, it)));
                with_own.find(|(one, it)| exclude(it, one, gathered)).map(|(one, it)| (one, it, rule))
            })
        };
        if let Some((one, other, of)) = own.iter().enumerate().find_map(among).or_else(above) {
            findings.push(finding(rule, one, other, of));
        }
    }
}

fn finding(rule: &Rule, one: &Prepared<'_>, other: &Prepared<'_>, of: &Rule) -> Finding {
    let (name, where_) =
        (other.condition.test.name(), if of.id == rule.id { String::new() } else { format!(" of rule {}", of.id) });
    let message = format!("rule {} never holds: two conditions exclude each other", rule.id);
    let finding = Finding::new(&codes::NEVER_HOLDS, message)
        .at(one.condition.span, "not at once with the other")
        .related(other.condition.span, format!("`{name}`{where_}"))
        .rule(Some(rule.id));
    let (Some(beginnings), Some(others)) = (&one.beginnings, &other.beginnings) else {
        return finding
            .help("correct one of them; alternatives stand in one element, or in rules of their own".to_owned());
    };
    let help = match (is_output(beginnings), is_output(others)) {
        (true, true) if of.id != rule.id => {
            "hang the rule beside the other one, not below it: no line begins in both ways"
        }
        (false, true) => {
            "leave out the `^`: the line of an output begins with `ossec: output: 'NAME':`, and what the command printed follows"
        }
        _ => "correct one of them, or leave out the `^` where the text may stand further on",
    };
    finding.note("`^` is the start of the whole line, and each of them asks for another").help(help.to_owned())
}

fn is_output(beginnings: &[String]) -> bool {
    beginnings.iter().all(|text| text.to_ascii_lowercase().starts_with(OUTPUT))
}

impl<'t> Prepared<'t> {
    fn of(condition: &'t Condition) -> Option<Prepared<'t>> {
        let beginnings = match &condition.test {
            Test::Match(pattern) => Some(pattern.beginnings()?),
            Test::Regex(pattern) => Some(pattern.beginnings()?),
            Test::Pcre2(_, pattern) => Some(pattern.beginnings()?),
            Test::DecodedAs(_) | Test::Run(..) | Test::RunLate(_) => None,
            _ => return None,
        };
        let header = |text: &String| text.split_inclusive("':").next().unwrap_or_default().to_owned();
        let headers = beginnings.as_ref().map(|texts| texts.iter().map(header).collect());
        Some(Prepared { condition, beginnings, headers })
    }

    fn alternatives(&self) -> usize {
        self.beginnings.as_ref().map_or(1, Vec::len)
    }
}

/// The rules above one whose conditions its lines fulfil for certain: as long as there is one parent and no other.
fn above(tree: &Tree, parents: &[Vec<usize>], at: usize) -> impl Iterator<Item = usize> {
    let only = |at: &usize| match parents[*at][..] {
        [parent] if !tree.is_broken(parent) => Some(parent),
        _ => None,
    };
    // Circles are errors of their own.
    std::iter::successors(only(&at), only).take(DEPTH_MAX)
}

/// Whether no line fulfils both; or, if there are lines that were gathered under the first, whether none of them and not
/// what came of them does.
fn exclude(one: &Prepared<'_>, other: &Prepared<'_>, gathered: bool) -> bool {
    let beginnings = if gathered { &one.headers } else { &one.beginnings };
    if let (Some(one), Some(other)) = (beginnings, &other.beginnings) {
        return beginning::exclude(one, other);
    }
    match (&one.condition.test, &other.condition.test) {
        (Test::DecodedAs(one), Test::DecodedAs(other)) => one != other,
        (Test::Run(fact, one), Test::Run(other_fact, other)) => fact == other_fact && !one.meets(other),
        (Test::RunLate(one), Test::RunLate(other)) => one != other,
        _ => false,
    }
}
