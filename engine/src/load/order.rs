//! What depends on the order in which rules are loaded: ids that are used twice, `overwrite`, and the parents that
//! `if_group` and `if_level` find among the rules before.

use std::collections::{BTreeMap, HashMap};

use super::draft::Draft;
use super::{Orphans, behind, shipped_help};
use crate::finding::{Finding, Findings, codes, shown};
use crate::source::Span;

/// The most places that rules may be hung by `if_group` and `if_level`, all together.
const PLACES_MAX: usize = 1_000_000;

/// Takes rules one after the other, as they are loaded. A built-in rule gives way to the one of a file.
pub(super) fn settle(drafts: Vec<Draft>, orphans: Orphans, findings: &mut Findings) -> Vec<Draft> {
    let of_files = |draft: &&Draft| draft.rule.span.file != Span::BUILT_IN && !draft.overwrites;
    let replaced: HashMap<u32, Span> =
        drafts.iter().rev().filter(of_files).filter_map(|draft| Some((draft.id?, draft.id_span))).collect();
    let mut rules = Loaded::default();
    for mut draft in drafts {
        let known = draft.id.and_then(|id| rules.by_id.get(&id).copied());
        match (draft.id, known) {
            (Some(id), _) if draft.rule.span.file == Span::BUILT_IN && replaced.contains_key(&id) => {}
            (_, Some(known)) if draft.overwrites => rules.overwrite(known, draft, findings),
            (Some(id), None) if draft.overwrites => {
                if !draft.broken {
                    findings.push(nothing_to_overwrite(id, &draft, replaced.get(&id), &rules));
                }
            }
            (Some(id), Some(known)) => {
                findings.push(
                    Finding::new(&codes::DUPLICATE_ID, format!("rule {id} is defined twice"))
                        .at(draft.id_span, "again")
                        .related(rules.drafts[known].id_span, "first")
                        .rule(Some(id))
                        .help(
                            "give one of them another id, or write `overwrite=\"yes\"` to change the first".to_owned(),
                        ),
                );
                // What else is wrong with it is told in the same run. Its id stays the first one's.
                (draft.id, draft.broken) = (None, true);
                rules.find_parents(&mut draft, findings);
                rules.push(draft);
            }
            _ => {
                rules.find_parents(&mut draft, findings);
                rules.push(draft);
            }
        }
    }
    rules.find_later_parents(orphans, findings);
    if findings.looks_for_lints() {
        behind::report(&rules.drafts, findings);
    }
    rules.drafts.retain(|draft| !draft.set_aside);
    rules.drafts
}

/// Of several elements that say where a rule hangs one decides: `if_sid`, then `if_level`, then `if_group`, as in OSSEC.
pub(super) fn one_place(draft: &Draft, findings: &mut Findings) {
    let Some((winner, wins)) = draft.hung_by().filter(|_| !draft.is_root()) else { return };
    let if_level = draft.if_level.map(|(_, span)| ("if_level", span));
    let if_group = draft.if_group.as_ref().map(|expression| ("if_group", expression.span));
    for (element, span) in [if_level, if_group].into_iter().flatten().filter(|(element, _)| *element != winner) {
        findings.push(
            Finding::new(&codes::CONTRADICTION, format!("`{element}` has no effect beside `{winner}`"))
                .at(span, "ignored")
                .related(wins, "decides where the rule hangs")
                .rule(draft.id)
                .note("OSSEC does the same")
                .help(format!("remove one of them; to ask for both, hang the rule under one that has `{element}`")),
        );
    }
}

/// The rules that are loaded so far.
#[derive(Default)]
struct Loaded {
    drafts: Vec<Draft>,
    by_id: HashMap<u32, usize>,
    /// What was found before.
    found: BTreeMap<Wanted, Found>,
    places: usize,
}

/// The rules that another one wants as its parents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// Those with at least this level.
    Level(u32),
    /// Those with such a group string.
    Group(String),
}

/// The ids of rules that are wanted, among the first so many.
#[derive(Default)]
struct Found {
    ids: Vec<u32>,
    searched: usize,
}

impl Wanted {
    pub fn of(draft: &Draft) -> Option<Wanted> {
        let level = draft.if_level.map(|(level, _)| Wanted::Level(level));
        level.or_else(|| draft.if_group.as_ref().map(|expression| Wanted::Group(expression.text.clone())))
    }

    pub fn is(&self, draft: &Draft) -> bool {
        match self {
            Wanted::Level(level) => u32::from(draft.rank_now) >= *level,
            Wanted::Group(expression) => fits(expression, &draft.rule.group_text),
        }
    }
}

impl Loaded {
    fn push(&mut self, draft: Draft) {
        if let Some(id) = draft.id {
            self.by_id.insert(id, self.drafts.len());
        }
        self.drafts.push(draft);
    }

    /// Puts the contents of one rule in the place of another's. Where it hangs, the rules under it and its place among
    /// its siblings stay.
    fn overwrite(&mut self, known: usize, mut new: Draft, findings: &mut Findings) {
        let old = &mut self.drafts[known];
        if let Some((element, span)) = new.hung_by() {
            let same = new.parents.iter().map(|parent| parent.id).eq(old.parents.iter().map(|parent| parent.id))
                && Wanted::of(&new) == Wanted::of(old);
            if !same {
                let message = match new.hangs_by_count {
                    true => {
                        let element = if new.parents.is_empty() { "if_matched_group" } else { "if_matched_sid" };
                        format!(
                            "`{element}` of a rule that overwrites changes what is counted, and not where the rule hangs"
                        )
                    }
                    false => format!("`{element}` of a rule that overwrites has no effect"),
                };
                findings.push(
                    Finding::new(&codes::VALUE_IGNORED, message)
                        .at(span, "the rule stays where it hangs")
                        .related(old.rule.span, "overwritten")
                        .rule(new.id)
                        .note("OSSEC does the same")
                        .help("change the rule where it is defined, or write one with an id of its own".to_owned()),
                );
            }
        }
        if old.is_root() {
            // A root's first condition is its category, which says where it hangs.
            new.rule.conditions.splice(..1, old.rule.conditions.drain(..1));
        }
        old.rule = new.rule;
        old.rank_now = new.rank_now;
        old.group_span = new.group_span;
        old.broken |= new.broken;
        self.found.clear();
    }

    /// Finds the parents that a rule asks for by group or level. `if_sid` wins over both.
    fn find_parents(&mut self, draft: &mut Draft, findings: &mut Findings) {
        if !draft.parents.is_empty() || draft.also_under_root || draft.parents_unknown {
            return;
        }
        let Some(wanted) = Wanted::of(draft) else { return };
        let found = self.found.entry(wanted.clone()).or_default();
        let new = &self.drafts[found.searched..];
        found.ids.extend(new.iter().filter(|other| wanted.is(other)).filter_map(|other| other.id));
        found.searched = self.drafts.len();
        draft.found_parents.clone_from(&found.ids);
        draft.finds_later = found.ids.is_empty();
        self.count_places(draft, findings);
    }

    /// Rules that find none before them take those behind them, as with `if_sid`.
    fn find_later_parents(&mut self, orphans: Orphans, findings: &mut Findings) {
        let mut found: BTreeMap<Wanted, Vec<u32>> = BTreeMap::new();
        let mut drafts = std::mem::take(&mut self.drafts);
        for at in (0..drafts.len()).filter(|at| drafts[*at].finds_later).collect::<Vec<_>>() {
            let Some(wanted) = Wanted::of(&drafts[at]) else { continue };
            let all = found.entry(wanted).or_insert_with_key(|wanted| {
                drafts.iter().filter(|other| wanted.is(other)).filter_map(|other| other.id).collect()
            });
            let own = drafts[at].id;
            drafts[at].found_parents = all.iter().copied().filter(|id| Some(*id) != own).collect();
            if drafts[at].found_parents.is_empty() {
                findings.push(nothing_found(&drafts[at], &drafts, orphans));
                drafts[at].parents_unknown = true;
                drafts[at].set_aside = orphans == Orphans::SetAside;
            }
            self.count_places(&mut drafts[at], findings);
        }
        self.drafts = drafts;
    }

    fn count_places(&mut self, draft: &mut Draft, findings: &mut Findings) {
        let told = self.places > PLACES_MAX;
        self.places += draft.found_parents.len();
        if self.places > PLACES_MAX {
            let more = std::mem::take(&mut draft.found_parents).len();
            draft.parents_unknown = true;
            // The first one is enough: whatever follows is too much as well.
            if told {
                return;
            }
            let span = draft.hung_by().map_or(draft.rule.span, |(_, span)| span);
            findings.push(
                Finding::new(&codes::TOO_MANY_PLACES, format!("rules hang in more than {PLACES_MAX} places"))
                    .at(span, format!("{more} more"))
                    .rule(draft.id)
                    .note("what follows is not hung at all")
                    .help("use `if_sid`, or narrow the group".to_owned()),
            );
        }
    }
}

fn nothing_found(draft: &Draft, drafts: &[Draft], orphans: Orphans) -> Finding {
    let what = match Wanted::of(draft) {
        Some(Wanted::Group(expression)) => format!("no rule is in a group `{}`", shown(&expression)),
        Some(Wanted::Level(level)) => format!("no rule has level {level} or higher"),
        None => String::new(),
    };
    let near = draft.if_group.as_ref().and_then(|expression| {
        let groups = drafts.iter().flat_map(|draft| &draft.rule.groups).map(String::as_str);
        super::suggest(expression.text.trim_start_matches('^'), groups)
    });
    let finding = match orphans {
        Orphans::Error => Finding::new(&codes::NO_PARENT_FOUND, what),
        Orphans::SetAside => Finding::new(&codes::SET_ASIDE, format!("the rule is set aside: {what}")),
    };
    let span = draft.hung_by().map_or(draft.rule.span, |(_, span)| span);
    // Each one alone may be there: they are no list.
    let is_list = draft.if_group.as_ref().is_some_and(|expression| expression.text.trim_end_matches(',').contains(','));
    let help = match near {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => is_list.then(|| "it is one text; alternatives have `|` between them".to_owned()),
    };
    finding.at(span, "finds nothing").rule(draft.id).help(help)
}

/// Whether a group string fits an `if_group`: one of its alternatives, parted by `|`, stands in it, in any case. After
/// `^` it stands at the start.
fn fits(expression: &str, groups: &str) -> bool {
    let groups = groups.as_bytes();
    expression.split('|').any(|alternative| match alternative.strip_prefix('^') {
        Some(start) => groups.get(..start.len()).is_some_and(|groups| groups.eq_ignore_ascii_case(start.as_bytes())),
        None if alternative.is_empty() => true,
        None => groups.windows(alternative.len()).any(|part| part.eq_ignore_ascii_case(alternative.as_bytes())),
    })
}

fn nothing_to_overwrite(id: u32, draft: &Draft, later: Option<&Span>, rules: &Loaded) -> Finding {
    let finding = Finding::new(&codes::NOTHING_TO_OVERWRITE, format!("there is no rule {id} to overwrite"))
        .at(draft.id_span, "no rule loaded before has this id")
        .rule(Some(id));
    match later {
        Some(place) => finding
            .related(*place, "it stands here")
            .help("load the file that overwrites after the one it changes".to_owned()),
        None => {
            let known: Vec<_> = rules.by_id.keys().map(u32::to_string).collect();
            let mut near: Vec<_> = known.iter().filter(|other| is_slip(&id.to_string(), other)).collect();
            near.sort();
            finding.help(
                shipped_help(id).or(near
                    .first()
                    .map(|near| format!("did you mean `{near}`? A rule that is new needs no `overwrite`"))),
            )
        }
    }
}

/// Whether two ids differ in one digit, or two that stand side by side are swapped.
fn is_slip(one: &str, other: &str) -> bool {
    let differing: Vec<_> = one.bytes().zip(other.bytes()).enumerate().filter(|(_, (a, b))| a != b).collect();
    one.len() == other.len()
        && match differing[..] {
            [_] => true,
            [(first, (a, b)), (second, (c, d))] => second == first + 1 && a == d && b == c,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_any_part_of_its_string_in_any_case() {
        for (expression, found) in [
            ("shop", true),
            ("SHOP", true),
            ("workshop,", true),
            ("^work", true),
            ("^shop", false),
            ("other|^work", true),
            ("other|none", false),
            ("shop,extra", true),
            ("work shop", false),
            ("", true),
            ("shop$", false),
            ("a much longer text than the groups have", false),
        ] {
            assert_eq!(fits(expression, "workshop,extra,"), found, "{expression}");
        }
    }

    #[test]
    fn ids_are_near_when_one_digit_differs_or_two_are_swapped() {
        assert!(is_slip("100100", "100200") && is_slip("100100", "101000"));
        assert!(!is_slip("100100", "100100") && !is_slip("100100", "10010") && !is_slip("100100", "200200"));
    }
}
