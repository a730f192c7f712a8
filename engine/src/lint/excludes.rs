//! Rules that never hold, since two of their conditions, or one and one of the rules above, exclude each other.

use super::{is_own, parents};
use crate::finding::{Finding, Findings, codes};
use crate::load::{DEPTH_MAX, Tree};
use crate::ruleset::{Condition, Rule, Test};

pub(super) fn never_hold(tree: &Tree, findings: &mut Findings) {
    let parents = parents(tree);
    for (at, rule) in tree.rules.iter().enumerate().filter(|(at, rule)| is_own(rule) && !tree.is_broken(*at)) {
        let own: Vec<&Condition> = rule.conditions.iter().filter(|condition| may_exclude(&condition.test)).collect();
        let among = |(number, one): (usize, &&Condition)| {
            own[..number].iter().find(|before| exclude(&before.test, &one.test)).map(|before| (one.span, *before, rule))
        };
        let above = || {
            let above =
                lines_above(tree, &parents, at).flat_map(|rule| rule.conditions.iter().map(move |it| (it, rule)));
            above.filter(|(condition, _)| may_exclude(&condition.test)).find_map(|(condition, above)| {
                own.iter().find(|one| exclude(&condition.test, &one.test)).map(|one| (one.span, condition, above))
            })
        };
        let Some((span, other, of)) = own.iter().enumerate().find_map(|(n, one)| among((n, one))).or_else(above) else {
            continue;
        };
        let (name, where_) =
            (other.test.name(), if of.id == rule.id { String::new() } else { format!(" of rule {}", of.id) });
        findings.push(
            Finding::new(
                &codes::NEVER_HOLDS,
                format!("rule {} never holds: two conditions exclude each other", rule.id),
            )
            .at(span, "not at once with the other")
            .related(other.span, format!("`{name}`{where_}"))
            .rule(Some(rule.id))
            .help("correct one of them; alternatives stand in one element, or in rules of their own".to_owned()),
        );
    }
}

/// The rules above one whose conditions its lines fulfil for certain: as long as there is one parent and no other.
fn lines_above<'t>(tree: &'t Tree, parents: &'t [Vec<usize>], at: usize) -> impl Iterator<Item = &'t Rule> {
    let only = |at: &usize| match parents[*at][..] {
        [parent] if !tree.is_broken(parent) => Some(parent),
        _ => None,
    };
    // Circles are errors of their own.
    std::iter::successors(only(&at), only).take(DEPTH_MAX).map(|at| &tree.rules[at])
}

fn may_exclude(test: &Test) -> bool {
    matches!(test, Test::DecodedAs(_) | Test::Run(..) | Test::RunLate(_))
}

/// Whether no line fulfils both.
fn exclude(one: &Test, other: &Test) -> bool {
    match (one, other) {
        (Test::DecodedAs(one), Test::DecodedAs(other)) => one != other,
        (Test::Run(fact, one), Test::Run(other_fact, other)) => fact == other_fact && !one.meets(other),
        (Test::RunLate(one), Test::RunLate(other)) => one != other,
        _ => false,
    }
}
