//! Hangs rules under their parents and puts siblings into the order they are tried.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::draft::{Draft, ParentId, ROOT_IDS_END};
use super::{Orphans, change, composite, order, shipped_help};
use crate::composite::Histories;
use crate::finding::{Finding, Findings, codes, shown};
use crate::ruleset::{Category, Rule, RuleIndex, Test};
use crate::source::Span;

/// A rule may have this many rules above it, the root included.
pub(crate) const DEPTH_MAX: usize = 64;

/// Ids that do not exist, for which one that was meant is looked for: nobody reads more, and looking takes time.
const SUGGESTIONS_MAX: usize = 1_000;

/// All rules, hung.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub rules: Vec<Rule>,
    pub by_id: HashMap<u32, RuleIndex>,
    pub roots: Vec<RuleIndex>,
    pub histories: Histories,
    /// By rule: something in it could not be read, and a finding says so.
    pub broken: Vec<bool>,
}

impl Tree {
    /// Whether something in the rule could not be read.
    pub fn is_broken(&self, rule: usize) -> bool {
        self.broken.get(rule).copied().unwrap_or(false)
    }
}

/// Builds the tree. Parents may stand behind their children, in any file.
pub(crate) fn hang(drafts: Vec<Draft>, orphans: Orphans, findings: &mut Findings) -> Tree {
    let drafts = order::settle(drafts, orphans, findings);
    let mut drafts = with_parents(drafts, orphans, findings);
    let by_id: HashMap<u32, RuleIndex> =
        drafts.iter().enumerate().filter_map(|(at, draft)| Some((draft.id?, RuleIndex(at as u32)))).collect();
    let mut children: Vec<Vec<RuleIndex>> = drafts.iter().map(|_| Vec::new()).collect();
    let mut roots = Vec::new();
    for (at, draft) in drafts.iter().enumerate() {
        let rule = RuleIndex(at as u32);
        if draft.is_root() {
            roots.push(rule);
            continue;
        }
        for parent in draft.parent_ids().filter_map(|id| by_id.get(&id)) {
            children[parent.0 as usize].push(rule);
        }
        if draft.parent_ids().next().is_none() && !draft.parents_unknown || draft.also_under_root {
            match root_of(draft, &drafts) {
                // Listed in `if_sid` as well.
                Some(root) if children[root].last() == Some(&rule) => {}
                Some(root) => children[root].push(rule),
                None => findings.push(no_root(draft)),
            }
        }
    }
    for siblings in children.iter_mut().chain([&mut roots]) {
        // Stable: equal levels stay in load order.
        siblings.sort_by_key(|rule| std::cmp::Reverse(drafts[rule.0 as usize].rank));
    }
    cycles_and_depth(&drafts, &children, &roots, findings);
    lints(&drafts, &children, &by_id, findings);
    change::need_a_change(&drafts, &children, findings);
    let broken = drafts.iter().map(|draft| draft.broken).collect();
    let categories = categories(&drafts, &children, &roots);
    other_category(&drafts, &categories, findings);
    let histories = composite::plan(&mut drafts, &by_id, &categories, orphans, findings);
    let rules = drafts.into_iter().zip(children).map(|(draft, children)| Rule { children, ..draft.rule }).collect();
    Tree { rules, by_id, roots, histories, broken }
}

/// Reports parents that do not exist, or takes them out and with them the rules that have no parent left.
fn with_parents(mut drafts: Vec<Draft>, orphans: Orphans, findings: &mut Findings) -> Vec<Draft> {
    let mut known: BTreeMap<u32, String> =
        drafts.iter().filter_map(|draft| Some((draft.id?, draft.rule.group_text.clone()))).collect();
    let mut set_aside = BTreeSet::new();
    if orphans == Orphans::SetAside {
        set_aside.extend(left_alone(&drafts, &known));
        known.retain(|id, _| !set_aside.contains(id));
    }
    let parents: HashMap<u32, Vec<u32>> =
        drafts.iter().filter_map(|draft| Some((draft.id?, draft.parent_ids().collect()))).collect();
    let mut suggestions = 0;
    for draft in &drafts {
        let (present, missing): (Vec<_>, Vec<_>) =
            draft.parents.iter().partition(|parent| known.contains_key(&parent.id));
        for parent in missing {
            let written = shown(&parent.written);
            let why = match set_aside.contains(&parent.id) {
                true => format!("rule {written} is set aside"),
                false => format!("there is no rule {written}"),
            };
            suggestions += 1;
            let suggested = (suggestions <= SUGGESTIONS_MAX).then(|| near(draft, parent, &known, &parents)).flatten();
            let finding = match orphans {
                Orphans::Error => match shipped_help(parent.id) {
                    Some(help) => Finding::new(&codes::MISSING_PARENT, why).help(help),
                    None => Finding::new(&codes::MISSING_PARENT, why).meant(suggested),
                },
                Orphans::SetAside if present.is_empty() && !draft.also_under_root => {
                    Finding::new(&codes::SET_ASIDE, format!("the rule is set aside: {why}"))
                }
                Orphans::SetAside => Finding::new(&codes::SET_ASIDE, format!("a parent is left out: {why}")),
            };
            let label = if set_aside.contains(&parent.id) { "set aside as well" } else { "no rule has this id" };
            let finding = finding.at(parent.span, label).rule(draft.id);
            findings.push(match parent.joined {
                true => finding
                    .note("the texts of several `if_sid` elements are joined with nothing between, as in OSSEC")
                    .help("write all ids in one element: `<if_sid>530, 531</if_sid>`".to_owned()),
                false => finding,
            });
        }
        // What `if_group` and `if_level` found exists, unless all of it was set aside.
        let lost = !draft.found_parents.is_empty() && draft.id.is_some_and(|id| set_aside.contains(&id));
        if let Some((element, span)) = draft.hung_by().filter(|_| lost) {
            let why = format!("the rule is set aside: all rules that `{element}` finds are set aside");
            findings.push(Finding::new(&codes::SET_ASIDE, why).at(span, "finds nothing else").rule(draft.id));
        }
    }
    if orphans == Orphans::SetAside {
        drafts.retain_mut(|draft| {
            let hung = draft.parent_ids().next().is_some();
            draft.parents.retain(|parent| known.contains_key(&parent.id));
            draft.found_parents.retain(|id| known.contains_key(id));
            !hung || draft.parent_ids().next().is_some() || draft.also_under_root
        });
    }
    drafts
}

/// The rules that have no parent left once missing ones are taken out, and those that have none left because of these.
fn left_alone(drafts: &[Draft], known: &BTreeMap<u32, String>) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut left: Vec<usize> = Vec::new();
    let mut alone = Vec::new();
    for (at, draft) in drafts.iter().enumerate() {
        let present: Vec<_> = draft.parent_ids().filter(|id| known.contains_key(id)).collect();
        present.iter().for_each(|id| children.entry(*id).or_default().push(at));
        left.push(present.len() + usize::from(draft.also_under_root));
        if left[at] == 0 && draft.parent_ids().next().is_some() {
            alone.extend(draft.id);
        }
    }
    let mut next = 0;
    while let Some(id) = alone.get(next) {
        next += 1;
        for child in children.remove(id).unwrap_or_default() {
            left[child] -= 1;
            if left[child] == 0 {
                alone.extend(drafts[child].id);
            }
        }
    }
    alone
}

/// A rule whose id is one slip of the finger away, one of the same group if there is one.
fn near(
    draft: &Draft,
    parent: &ParentId,
    known: &BTreeMap<u32, String>,
    parents: &HashMap<u32, Vec<u32>>,
) -> Option<String> {
    let group = &draft.rule.group_text;
    // Whoever asks for the same missing rule is a sister, and whoever hangs below this rule would make a circle.
    let is_below_or_beside = |id: u32| {
        let mut next = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(id) = next.pop() {
            if Some(id) == draft.id || id == parent.id {
                return true;
            }
            if seen.len() < DEPTH_MAX && next.len() < DEPTH_MAX && seen.insert(id) {
                next.extend(parents.get(&id).into_iter().flatten().copied());
            }
        }
        false
    };
    let candidates = slips(&parent.written)
        .into_iter()
        .filter_map(|id| known.get_key_value(&id))
        .filter(|(id, _)| Some(**id) != draft.id && **id >= ROOT_IDS_END && !is_below_or_beside(**id));
    let (near, _) = candidates.min_by_key(|(id, other)| (*other != group, id.abs_diff(parent.id)))?;
    Some(near.to_string())
}

/// All ids that differ in one digit: changed, added, left out, or swapped with the next.
fn slips(written: &str) -> Vec<u32> {
    let digits = written.as_bytes();
    if digits.len() > 7 {
        return Vec::new();
    }
    let mut slips: Vec<Vec<u8>> = Vec::new();
    for at in 0..=digits.len() {
        let (before, after) = digits.split_at(at);
        for digit in b'0'..=b'9' {
            slips.push([before, &[digit], after].concat());
            if let [_, rest @ ..] = after {
                slips.push([before, &[digit], rest].concat());
            }
        }
        if let [_, rest @ ..] = after {
            slips.push([before, rest].concat());
        }
        if let [first, second, rest @ ..] = after {
            slips.push([before, &[*second, *first], rest].concat());
        }
    }
    slips.iter().filter_map(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).collect()
}

/// The first root with the same category.
fn root_of(draft: &Draft, drafts: &[Draft]) -> Option<usize> {
    drafts.iter().position(|other| other.is_root() && other.category() == draft.category())
}

/// The category of each rule: that of the root below which it hangs (of several the first), whatever it says itself.
fn categories(drafts: &[Draft], children: &[Vec<RuleIndex>], roots: &[RuleIndex]) -> Vec<Category> {
    let mut categories: Vec<Option<Category>> = vec![None; drafts.len()];
    for root in roots {
        let category = drafts[root.0 as usize].category();
        let mut next = vec![*root];
        while let Some(RuleIndex(at)) = next.pop() {
            if categories[at as usize].is_none() {
                categories[at as usize] = Some(category);
                next.extend(&children[at as usize]);
            }
        }
    }
    let own = |(draft, category): (&Draft, Option<Category>)| category.unwrap_or_else(|| draft.category());
    drafts.iter().zip(categories).map(own).collect()
}

/// A rule below others has the category of their root; one of its own that differs has no effect.
fn other_category(drafts: &[Draft], categories: &[Category], findings: &mut Findings) {
    for (draft, actual) in drafts.iter().zip(categories) {
        let Some((own, span)) = draft.category.filter(|(own, _)| own != actual) else { continue };
        let Some((element, hangs)) = draft.hung_by() else { continue };
        if draft.broken || draft.also_under_root || draft.is_root() {
            continue;
        }
        findings.push(
            Finding::new(&codes::CONTRADICTION, format!("`category` has no effect beside `{element}`"))
                .at(span, format!("the rule is tried with lines of category `{actual}`, and with no `{own}`"))
                .related(hangs, "decides where the rule hangs")
                .rule(draft.id)
                .note("OSSEC does the same: only rules at the top ask for a category")
                .help("remove it, or hang the rule under one of that category".to_owned()),
        );
    }
}

fn no_root(draft: &Draft) -> Finding {
    let span = draft.category.map_or(draft.rule.span, |(_, span)| span);
    Finding::new(&codes::NO_ROOT, format!("no root rule has the category `{}`", draft.category()))
        .at(span, "the rule would hang nowhere")
        .rule(draft.id)
        .help("give one rule with an id from 1 to 9 this category".to_owned())
}

/// Every circle of parents, each once, and chains that are too long.
fn cycles_and_depth(drafts: &[Draft], children: &[Vec<RuleIndex>], roots: &[RuleIndex], findings: &mut Findings) {
    // Kahn's order: a rule comes when all its parents have come. What never comes is in a circle or below one.
    let mut waiting = vec![0usize; drafts.len()];
    for child in children.iter().flatten() {
        waiting[child.0 as usize] += 1;
    }
    let mut depth = vec![0usize; drafts.len()];
    let mut order: Vec<usize> = (0..drafts.len()).filter(|at| waiting[*at] == 0).collect();
    debug_assert!(roots.iter().all(|root| waiting[root.0 as usize] == 0));
    let mut next = 0;
    while let Some(&at) = order.get(next) {
        next += 1;
        for child in children[at].iter().map(|child| child.0 as usize) {
            depth[child] = depth[child].max(depth[at] + 1);
            waiting[child] -= 1;
            if waiting[child] == 0 {
                order.push(child);
            }
        }
        if depth[at] == DEPTH_MAX + 1 {
            findings.push(
                Finding::new(&codes::TREE_TOO_DEEP, format!("the rule has more than {DEPTH_MAX} rules above it"))
                    .at(drafts[at].rule.span, "")
                    .rule(drafts[at].id),
            );
        }
    }
    circles(drafts, &waiting, findings);
}

/// Reports circles among the rules that still wait for a parent.
fn circles(drafts: &[Draft], waiting: &[usize], findings: &mut Findings) {
    let place: HashMap<u32, usize> =
        drafts.iter().enumerate().filter_map(|(at, draft)| Some((draft.id?, at))).collect();
    // Going from parent to parent among waiting rules always ends in a circle.
    let mut seen = vec![0usize; drafts.len()];
    for start in (0..drafts.len()).filter(|at| waiting[*at] > 0) {
        let mut path = Vec::new();
        let mut at = start;
        while seen[at] == 0 {
            seen[at] = start + 1;
            let parent = drafts[at]
                .parent_places()
                .find_map(|(id, span)| place.get(&id).filter(|other| waiting[**other] > 0).map(|other| (span, *other)));
            let Some((span, other)) = parent else { break };
            path.push((at, span));
            at = other;
        }
        let Some(begin) = path.iter().position(|(rule, _)| *rule == at) else { continue };
        let circle = &path[begin..];
        let first = (0..circle.len()).min_by_key(|link| circle[*link].1).unwrap_or(0);
        let (rule, span) = circle[first];
        let id = drafts[rule].id;
        let message = if circle.len() == 1 {
            format!("rule {} is its own parent", drafts[rule].rule.id)
        } else {
            let ids: Vec<_> = (0..=circle.len())
                .map(|link| drafts[circle[(first + link) % circle.len()].0].rule.id.to_string())
                .collect();
            let shown = if ids.len() > 12 { format!("{} <- ...", ids[..12].join(" <- ")) } else { ids.join(" <- ") };
            format!("rules are each other's parents: {shown}")
        };
        let mut finding = Finding::new(&codes::CYCLE, message).at(span, "closes the circle").rule(id);
        for link in (1..circle.len()).take(4) {
            finding = finding.related(circle[(first + link) % circle.len()].1, "and here");
        }
        let help = if circle.len() == 1 { "name another rule" } else { "remove one of these" };
        findings.push(finding.help(help.to_owned()));
    }
}

/// What the tree as a whole shows.
fn lints(drafts: &[Draft], children: &[Vec<RuleIndex>], by_id: &HashMap<u32, RuleIndex>, findings: &mut Findings) {
    for (at, draft) in drafts.iter().enumerate() {
        if draft.is_root() {
            shadowed(drafts, &children[at], findings);
        }
    }
    let ours = below(super::ABOUT_RUNS_ID, children, by_id);
    for (at, draft) in drafts.iter().enumerate() {
        let Some(id) = draft.id else { continue };
        if super::RESERVED_IDS.contains(&id) && draft.rule.span.file != Span::BUILT_IN && !ours.contains(&at) {
            findings.push(
                Finding::new(&codes::RESERVED_ID, format!("id {id} belongs to Tripline"))
                    .at(draft.id_span, "990000 to 999999 are reserved")
                    .rule(Some(id))
                    .note("a later version may ship a rule with this id")
                    .help("use an id from 100000 to 989999".to_owned()),
            );
        }
    }
}

/// The rules at and below this one.
fn below(id: u32, children: &[Vec<RuleIndex>], by_id: &HashMap<u32, RuleIndex>) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut next: Vec<usize> = by_id.get(&id).map(|rule| rule.0 as usize).into_iter().collect();
    while let Some(at) = next.pop() {
        if found.insert(at) {
            next.extend(children[at].iter().map(|child| child.0 as usize));
        }
    }
    found
}

/// Rules under one root that an earlier silent sibling keeps all lines from: it takes every line of its decoder, and
/// these ask for the same decoder, or for none where the silent siblings take those of all decoders.
fn shadowed(drafts: &[Draft], siblings: &[RuleIndex], findings: &mut Findings) {
    // Who keeps the lines of a decoder.
    let mut keepers: BTreeMap<&str, &Draft> = BTreeMap::new();
    for sibling in siblings {
        let draft = &drafts[sibling.0 as usize];
        let decoder = draft.rule.conditions.iter().find_map(|condition| match &condition.test {
            Test::DecodedAs(name) => Some(name.as_str()),
            _ => None,
        });
        let keeper = match decoder {
            Some(decoder) => keepers.get(decoder),
            None if draft.category() == Category::Ossec => keepers.get("ossec"),
            None => None,
        };
        if draft.broken {
            continue;
        }
        if let Some(keeper) = keeper {
            let keeper = keeper.rule.id;
            findings.push(
                Finding::new(&codes::NEVER_REACHED, format!("rule {} is never reached", draft.rule.id))
                    .at(draft.rule.span, format!("rule {keeper} keeps every line it could match"))
                    .rule(draft.id)
                    .note(format!("rule {keeper} is silent, so it is tried first, and it ends the search"))
                    .help(format!("add `<if_sid>{}</if_sid>`", if keeper == 500 { 530 } else { keeper })),
            );
            continue;
        }
        let only_decoder = draft.rule.conditions.len() == 1 && draft.rule.check_diff.is_none();
        if let (Some(decoder), true, 0, false) = (decoder, only_decoder, draft.rule.level, draft.rule.noalert) {
            keepers.insert(decoder, draft);
        }
    }
}
