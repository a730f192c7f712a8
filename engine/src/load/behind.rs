//! A lint: rules of a group that stand behind one that asks for the group with `if_group`, and so are no parents of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::draft::Draft;
use super::order::Wanted;
use crate::finding::{Finding, Findings, codes};

/// The most rules that are looked at, all together: then it takes parts of a second. In sets for which this is too little
/// some are not told.
const STEPS_MAX: usize = 2_000_000;

/// Reports rules whose `if_group` finds parents before them and none of those behind.
pub(super) fn report(drafts: &[Draft], findings: &mut Findings) {
    let mut steps_left = STEPS_MAX;
    // The places of the rules that are wanted, once for all who want them.
    let mut places: BTreeMap<Wanted, Vec<usize>> = BTreeMap::new();
    let mut children: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        draft.parent_ids().for_each(|parent| children.entry(parent).or_default().push(at));
    }
    for (at, draft) in drafts.iter().enumerate() {
        let Some(wanted @ Wanted::Group(_)) = Wanted::of(draft) else { continue };
        if draft.finds_later || draft.found_parents.is_empty() {
            continue;
        }
        let all = places.entry(wanted).or_insert_with_key(|wanted| {
            steps_left = steps_left.saturating_sub(drafts.len());
            (0..drafts.len()).filter(|other| wanted.is(&drafts[*other])).collect()
        });
        let behind = &all[all.partition_point(|other| *other <= at)..];
        steps_left = steps_left.saturating_sub(behind.len());
        if behind.is_empty() {
            continue;
        }
        let Some(own) = below(at, drafts, &children, &mut steps_left) else { return };
        let behind: Vec<&Draft> =
            behind.iter().filter(|other| !own.contains(other)).map(|other| &drafts[*other]).collect();
        if !behind.is_empty() {
            findings.push(stand_behind(draft, &behind));
        }
    }
}

/// The places of the rules below one, whose children are not its parents. `None` when no more steps are left.
fn below(
    at: usize,
    drafts: &[Draft],
    children: &HashMap<u32, Vec<usize>>,
    steps_left: &mut usize,
) -> Option<BTreeSet<usize>> {
    let mut below = BTreeSet::new();
    let mut next = vec![at];
    while let Some(at) = next.pop() {
        let of_one = drafts[at].id.and_then(|id| children.get(&id)).map_or(&[][..], Vec::as_slice);
        *steps_left = steps_left.checked_sub(of_one.len())?;
        next.extend(of_one.iter().filter(|child| below.insert(**child)));
    }
    Some(below)
}

fn stand_behind(draft: &Draft, behind: &[&Draft]) -> Finding {
    const SHOWN_MAX: usize = 8;
    let (element, span) = draft.hung_by().unwrap_or(("if_group", draft.rule.span));
    let ids: Vec<String> = behind.iter().take(SHOWN_MAX).map(|rule| rule.rule.id.to_string()).collect();
    let more = if behind.len() > SHOWN_MAX { ", ..." } else { "" };
    let message = match behind.len() {
        1 => format!("a rule that `{element}` asks for stands behind rule {} and is no parent of it", draft.rule.id),
        n => {
            format!("{n} rules that `{element}` asks for stand behind rule {} and are no parents of it", draft.rule.id)
        }
    };
    let before = draft.found_parents.len();
    Finding::new(&codes::PARENTS_BEHIND, message)
        .at(span, format!("{before} {} before it", if before == 1 { "stands" } else { "stand" }))
        .related(behind[0].rule.span, "the first of those behind")
        .rule(draft.id)
        .note(format!("as in OSSEC rules find those that are loaded before them: not {}{more}", ids.join(", ")))
        .help("load the file behind those with the group; a directory is read in the order of names, and `local_rules.xml` last".to_owned())
}
