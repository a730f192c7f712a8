//! Rules that no line comes to.

use std::collections::BTreeMap;

use super::implies::Conditions;
use super::{families, is_own};
use crate::field_condition::{FieldCondition, LineField, ListLookup};
use crate::finding::{Finding, Findings, codes};
use crate::line::{DECODER_OSSEC, DECODER_TRIPLINE};
use crate::load::Tree;
use crate::ruleset::{Category, Rule, RuleIndex, Test};

/// Pairs of siblings that are compared, at most: then thousands of siblings take seconds and not minutes.
const PAIRS_MAX: usize = 2_000_000;

/// Rules whose earlier siblings take every line that they could match, wherever they hang; and siblings that are copies.
pub(super) fn never_reached(tree: &Tree, findings: &mut Findings) {
    let mut places = vec![0usize; tree.rules.len()];
    // By rule: in how many places it is shadowed, and by which rule in the first of them.
    let mut shadowed: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut copies: BTreeMap<usize, usize> = BTreeMap::new();
    let conditions: Vec<Conditions<'_>> = tree.rules.iter().map(Conditions::of).collect();
    let takes: Vec<bool> = tree.rules.iter().map(takes_what_it_fits).collect();
    let mut pairs = 0;
    for siblings in families(tree) {
        for (position, RuleIndex(at)) in siblings.iter().enumerate() {
            let at = *at as usize;
            places[at] += 1;
            if tree.is_broken(at) || pairs > PAIRS_MAX {
                continue;
            }
            for RuleIndex(earlier) in &siblings[..position] {
                pairs += 1;
                let earlier = *earlier as usize;
                if tree.is_broken(earlier) {
                    continue;
                }
                let (rule, before) = (&tree.rules[at], &tree.rules[earlier]);
                if takes[earlier] && conditions[at].imply(&conditions[earlier]) {
                    shadowed.entry(at).or_insert((0, earlier)).0 += 1;
                    break;
                }
                if may_be_copy(rule, before) && conditions[at].are(&conditions[earlier]) {
                    copies.entry(at).or_insert(earlier);
                }
            }
        }
    }
    // A rule that fits no text asks for more than any other: who takes its lines is no matter.
    let said = [codes::NEVER_REACHED, codes::NEVER_FITS, codes::NEVER_HOLDS].map(|code| findings.rules_with(code.code));
    let is_said = |at: usize| said.iter().any(|rules| rules.contains(&tree.rules[at].id));
    let is_reported = |at: usize| is_own(&tree.rules[at]) && !is_said(at);
    // One that takes every line by a mistake is told as that mistake.
    let takes_all = findings.rules_with(codes::FITS_EVERYTHING.code);
    for (at, (count, by)) in shadowed {
        copies.remove(&at);
        if count == places[at] && is_reported(at) && !takes_all.contains(&tree.rules[by].id) {
            findings.push(never_reached_finding(&tree.rules[at], &tree.rules[by]));
        }
    }
    for (at, by) in copies.into_iter().filter(|(at, _)| is_reported(*at)) {
        let (rule, by) = (&tree.rules[at], &tree.rules[by]);
        findings.push(
            Finding::new(&codes::SAME_CONDITIONS, format!("rules {} and {} have the same conditions", by.id, rule.id))
                .at(rule.span, "tried after the other")
                .related(by.span, "the other")
                .rule(Some(rule.id))
                .help("change one of them, or remove it".to_owned()),
        );
    }
}

fn never_reached_finding(rule: &Rule, by: &Rule) -> Finding {
    let why = match (by.level, rule.level) {
        (0, _) => "it is silent, so it is tried first".to_owned(),
        (one, other) if one == other => "it has the same level and was loaded first".to_owned(),
        (one, other) => format!("its level, {one}, is above {other}, so it is tried first"),
    };
    let message = format!("rule {} is never reached: rule {} takes every line it could match", rule.id, by.id);
    Finding::new(&codes::SHADOWED, message)
        .at(rule.span, "never reached")
        .related(by.span, why)
        .rule(Some(rule.id))
        .help(format!("write `<if_sid>{}</if_sid>` to try it below that rule", by.id))
}

/// Whether every line that fulfils the rule's conditions ends with it or a rule below it.
fn takes_what_it_fits(rule: &Rule) -> bool {
    let may_give_up = rule.conditions.iter().any(|condition| condition.test.may_give_up());
    !rule.noalert && !asks_for_more(rule) && !may_give_up
}

/// Whether it asks for something else than its conditions on the line.
fn asks_for_more(rule: &Rule) -> bool {
    // All fields are named, so that nobody adds one and forgets to decide about it here.
    let Rule {
        check_diff,
        on_change,
        memory,
        // Tested by the caller.
        noalert: _,
        conditions: _,
        // What follows once it holds: even a result that is held back takes the line.
        id: _,
        level: _,
        ignore_seconds: _,
        ignore_key: _,
        log: _,
        mail: _,
        groups: _,
        group_text: _,
        description: _,
        children: _,
        span: _,
    } = rule;
    check_diff.is_some() || !on_change.is_empty() || memory.asks()
}

/// Whether two siblings ask for the same besides their conditions on the line, and the first may step aside.
fn may_be_copy(rule: &Rule, before: &Rule) -> bool {
    let plain_diff = |rule: &Rule| rule.check_diff.as_ref().map(|check_diff| check_diff.normaliser.is_nothing());
    rule.noalert == before.noalert
        && [rule, before].iter().all(|rule| rule.on_change.is_empty() && !rule.memory.asks())
        && plain_diff(rule) == plain_diff(before)
        && plain_diff(rule) != Some(false)
        && (plain_diff(rule).is_some() || rule.noalert)
}

/// How many rules a file has, and which of them judge neither outputs nor lines about runs, each with whether it judges
/// log lines.
type OfFile<'t> = (usize, Vec<(&'t Rule, bool)>);

/// Rules that neither outputs nor lines about runs come to: one finding for each file.
pub(super) fn not_for_outputs(tree: &Tree, findings: &mut Findings) {
    // Rules that a finding says hang nowhere are not known to judge anything.
    let hung = reached(tree, &[], |_| true);
    // Where a rule hangs that could not be read, and what it asks for, is not known: any line may come to it.
    let unknown: Vec<RuleIndex> =
        (0..tree.rules.len() as u32).map(RuleIndex).filter(|RuleIndex(at)| tree.is_broken(*at as usize)).collect();
    let for_outputs = reached(tree, &unknown, |rule| !is_excluded(rule, DECODER_OSSEC));
    let for_runs = reached(tree, &unknown, |rule| !is_excluded(rule, DECODER_TRIPLINE));
    let for_logs = reached(tree, &unknown, |rule| !is_for_own_lines(rule));
    let said = findings.rules_with(codes::NEVER_HOLDS.code);
    let mut by_file: BTreeMap<u32, OfFile<'_>> = BTreeMap::new();
    for (at, rule) in tree.rules.iter().enumerate().filter(|(_, rule)| is_own(rule)) {
        let (count, never) = by_file.entry(rule.span.file).or_default();
        *count += 1;
        let is_judge = for_outputs[at] || for_runs[at] || tree.is_broken(at);
        if hung[at] && !is_judge && !said.contains(&rule.id) {
            never.push((rule, for_logs[at]));
        }
    }
    for (count, never) in by_file.into_values() {
        let Some((first, _)) = never.first() else { continue };
        let message = match never.len() {
            1 => format!("rule {} can never match the output of a command", first.id),
            all if all == count => format!("none of the {count} rules of this file can match the output of a command"),
            some => format!("{some} of the {count} rules of this file can never match the output of a command"),
        };
        let ids: Vec<String> = never.iter().take(8).map(|(rule, _)| rule.id.to_string()).collect();
        let more = if never.len() > ids.len() { ", ..." } else { "" };
        let finding = Finding::new(&codes::NOT_FOR_OUTPUTS, message)
            .at(first.span, if never.len() == 1 { "" } else { "the first of them" })
            .rule(Some(first.id));
        let ids = ids.join(", ");
        let judge_logs = never.iter().filter(|(_, for_logs)| *for_logs).count();
        findings.push(finding.note(match (never.len(), judge_logs) {
            (1, 1) => "it judges log lines alone".to_owned(),
            (1, _) => "nor any other line: none has all that it and the rules above it ask for".to_owned(),
            (_, 0) => {
                format!("nor any other line: none has all that they and the rules above them ask for: {ids}{more}")
            }
            (all, some) if all == some => format!("they judge log lines alone: {ids}{more}"),
            (_, some) => {
                let judge = if some == 1 { "judges" } else { "judge" };
                format!("{some} of them {judge} log lines alone, the others nothing: {ids}{more}")
            }
        }));
    }
}

/// The rules below the roots to which such rules lead, and those that are taken to hold with what is below them.
fn reached(tree: &Tree, taken: &[RuleIndex], may_hold: impl Fn(&Rule) -> bool) -> Vec<bool> {
    let mut reached = vec![false; tree.rules.len()];
    let mut next: Vec<RuleIndex> = tree.roots.iter().chain(taken).copied().collect();
    while let Some(RuleIndex(at)) = next.pop() {
        let rule = &tree.rules[at as usize];
        if !reached[at as usize] && (may_hold(rule) || tree.is_broken(at as usize)) {
            reached[at as usize] = true;
            next.extend(&rule.children);
        }
    }
    reached
}

fn is_excluded(rule: &Rule, decoder: &str) -> bool {
    rule.conditions.iter().any(|condition| excludes(&condition.test, decoder))
}

/// Whether it asks for what only outputs and lines about runs have, or for what nothing has.
fn is_for_own_lines(rule: &Rule) -> bool {
    rule.conditions.iter().any(|condition| match &condition.test {
        Test::DecodedAs(name) => name == DECODER_OSSEC || name == DECODER_TRIPLINE,
        Test::Never(_) => true,
        _ => false,
    })
}

/// Whether no line of this decoder, Tripline's own or that of outputs, fulfils the test.
fn excludes(test: &Test, decoder: &str) -> bool {
    match test {
        Test::Category(category) => *category != Category::Ossec,
        Test::DecodedAs(name) => name != decoder,
        Test::Never(_) => true,
        // Such lines have a host and no other field.
        Test::Field(FieldCondition::Text { field, .. } | FieldCondition::List(ListLookup { field, .. })) => {
            *field != LineField::Host
        }
        Test::Field(_) => true,
        _ => false,
    }
}
