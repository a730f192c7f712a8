//! Loading of composite rules, and of the other elements with a memory: `if_fts`, `ignore`, `check_if_ignored`.
//!
//! Elements are read into [`Written`]; [`finish`] makes of it what the rule remembers; when all rules are known,
//! [`plan`] finds what must be recorded of whose results.

use std::collections::{BTreeMap, HashMap};

use super::dialect::{self, Dialect};
use super::draft::{Draft, Expression, ParentId};
use super::elements::{Occurrence, joined, none_of, whole};
use super::number::number;
use super::text::Text;
use super::{Orphans, shipped_help};
use crate::composite::{Composite, Counts, Field, Histories, HistoryIndex, HistoryPlan, REGEX_EVENTS_MAX};
use crate::composite::{RULE_EVENTS_MAX, StoredFields};
use crate::finding::{Finding, Findings, codes, shown};
use crate::pattern::{OsMatch, OsRegex, PatternError};
use crate::ruleset::{Category, RuleIndex, Settings};
use crate::source::Span;
use tripline_schemas::state::Counted;

/// OSSEC's `analysisd.default_timeframe`, in seconds.
const TIMEFRAME_SECONDS: u32 = 360;

/// What a rule says about its memory, as it is read.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The `if_matched_...` elements, in the order of the element table.
    counts: Vec<Counting>,
    flags: Vec<(Flag, &'static str, Span)>,
    if_fts: Option<Span>,
    stored: Vec<(StoredFields, Span)>,
    /// An element could not be read; a finding says so.
    broken: bool,
}

/// An `if_matched_...` element.
#[derive(Debug)]
struct Counting {
    counts: Counts,
    text: Text,
}

/// What an element without text asks of earlier events.
#[derive(Clone, Copy, Debug)]
enum Flag {
    Same(Field),
    Different(Field),
    /// It takes back the first, and asks for a difference in the second.
    NotSame(Field, Field),
}

/// A field that an element of this name compares.
type Asked = (Field, &'static str, Span);

/// The elements that compare fields, with what each asks.
const FLAGS: [(&str, Flag); 13] = [
    ("same_source_ip", Flag::Same(Field::SourceIp)),
    ("same_src_port", Flag::Same(Field::SourcePort)),
    ("same_dst_port", Flag::Same(Field::DestinationPort)),
    ("same_user", Flag::Same(Field::User)),
    ("same_location", Flag::Same(Field::Location)),
    ("same_id", Flag::Same(Field::Id)),
    ("different_url", Flag::Different(Field::Url)),
    ("different_srcip", Flag::Different(Field::SourceIp)),
    ("different_srcgeoip", Flag::Different(Field::SourceGeoIp)),
    ("not_same_source_ip", Flag::NotSame(Field::SourceIp, Field::SourceIp)),
    ("not_same_user", Flag::NotSame(Field::User, Field::User)),
    ("not_same_agent", Flag::NotSame(Field::Location, Field::Agent)),
    ("not_same_id", Flag::NotSame(Field::Id, Field::Id)),
];

pub(super) fn if_matched_sid(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let text = joined(elements);
    if text.value.trim().contains([',', ' ', '|']) {
        draft.memory.broken = true;
        findings.push(
            Finding::new(&codes::BAD_NUMBER, "`if_matched_sid` takes one id")
                .at(text.span(), "these are several")
                .rule(draft.id)
                .note("OSSEC refuses a list too")
                .help("give these rules a group of their own and count it by `if_matched_group`".to_owned()),
        );
        return;
    }
    match number(&text, "if_matched_sid", 6, findings) {
        Some(id) => draft.memory.counts.push(Counting { counts: Counts::Rule(id), text }),
        None => draft.memory.broken = true,
    }
}

pub(super) fn if_matched_group(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    counted_by_pattern(draft, elements, findings, |text| OsMatch::new(text).map(Counts::Group));
}

pub(super) fn if_matched_regex(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    counted_by_pattern(draft, elements, findings, |text| OsRegex::new(text).map(Counts::Regex));
}

fn counted_by_pattern(
    draft: &mut Draft,
    elements: &[Occurrence<'_>],
    findings: &mut Findings,
    compile: impl Fn(&str) -> Result<Counts, PatternError>,
) {
    let text = joined(elements);
    match compile(&text.value) {
        Ok(counts) => {
            let dialect = if let Counts::Regex(_) = counts { Dialect::Regex } else { Dialect::Match };
            dialect::look(counts.element(), dialect, &text, draft.id, findings);
            draft.memory.counts.push(Counting { counts, text });
        }
        Err(error) => {
            let name = &elements[0].element.name;
            draft.memory.broken = true;
            findings.push(
                Finding::new(&codes::BAD_PATTERN, format!("`{name}` can't be compiled: {}", error.message))
                    .at(text.span_of(error.start..error.end), "")
                    .rule(draft.id)
                    .help(error.help),
            );
        }
    }
}

/// `same_...`, `different_...`, `not_same_...`
pub(super) fn flag(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let Some((name, flag)) = FLAGS.iter().find(|(name, _)| *name == elements[0].element.name) else { return };
    without_text(name, draft, elements, findings);
    // The last one counts where it contradicts another.
    let last = &elements[elements.len() - 1];
    draft.memory.flags.push((*flag, name, whole(last)));
}

pub(super) fn if_fts(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    without_text("if_fts", draft, elements, findings);
    draft.memory.if_fts = Some(whole(&elements[0]));
}

fn without_text(name: &str, draft: &Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    for occurrence in elements.iter().filter(|occurrence| !occurrence.text.value.trim().is_empty()) {
        findings.push(
            Finding::new(&codes::VALUE_IGNORED, format!("the text of `{name}` has no effect"))
                .at(occurrence.text.span(), "ignored")
                .rule(draft.id)
                .help(format!("write `<{name} />`")),
        );
    }
}

/// The element `ignore`: what is stored when the rule fires.
pub(super) fn ignore(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let Some((fields, span)) = stored_fields("ignore", draft.id, &joined(elements), findings) else { return };
    draft.memory.stored.push((fields.clone(), span));
    draft.rule.memory.stores = Some(fields);
}

pub(super) fn check_if_ignored(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let Some((fields, span)) = stored_fields("check_if_ignored", draft.id, &joined(elements), findings) else { return };
    draft.memory.stored.push((fields.clone(), span));
    draft.rule.memory.held_back_by = Some(fields);
}

fn stored_fields(name: &str, rule: Option<u32>, text: &Text, findings: &mut Findings) -> Option<(StoredFields, Span)> {
    let Some(fields) = StoredFields::parse(&text.value) else {
        findings.push(none_of(name, text, StoredFields::NAMES.into_iter(), rule));
        return None;
    };
    let is_name = |word: &&str| StoredFields::NAMES.contains(word) || word.is_empty();
    let words = text.value.split([',', ' ']);
    if let Some(wrong) = words.clone().find(|word| !is_name(word)) {
        let start = wrong.as_ptr() as usize - text.value.as_ptr() as usize;
        let read = StoredFields::NAMES.into_iter().filter(|name| text.value.contains(name)).collect::<Vec<_>>();
        findings.push(
            Finding::new(&codes::VALUE_IGNORED, format!("`{}` is no field of `{name}`", shown(wrong)))
                .at(text.span_of(start..start + wrong.len()), format!("read as `{}`", read.join(", ")))
                .rule(rule)
                .note("OSSEC looks for the names of fields anywhere in the text, and so does Tripline"),
        );
    }
    Some((fields, text.span()))
}

/// Makes of what is written what the rule remembers.
pub(super) fn finish(draft: &mut Draft, settings: &Settings, findings: &mut Findings) {
    let written = std::mem::take(&mut draft.memory);
    crossing_of_stored(draft, &written, settings, findings);
    draft.rule.memory.if_fts = written.if_fts.is_some();
    draft.rule.memory.composite = composite(draft, written, settings, findings);
}

fn composite(
    draft: &mut Draft,
    mut written: Written,
    settings: &Settings,
    findings: &mut Findings,
) -> Option<Composite> {
    let frequency = draft.frequency.map_or(0, |(frequency, _)| frequency);
    if written.counts.is_empty() {
        if !written.broken {
            without_context(draft, &written, findings);
        }
        return None;
    }
    let Counting { counts, text } = written.counts.remove(0);
    let span = text.span();
    for other in &written.counts {
        findings.push(
            Finding::new(&codes::OVERRULED, format!("`{}` has no effect", other.counts.element()))
                .at(other.text.span(), format!("`{}` decides what is counted", counts.element()))
                .rule(draft.id)
                .help(format!("remove `{}`, or count both in rules of their own", other.counts.element())),
        );
    }
    if let (None, Some((_, span))) = (draft.frequency, draft.timeframe) {
        findings.push(
            Finding::new(&codes::TIMEFRAME_ALONE, "the rule has a `timeframe`, and no `frequency`")
                .at(span, "")
                .rule(draft.id)
                .note("the frequency is 0 then: the rule holds with the second event")
                .help("add `frequency=\"0\"` if that is meant".to_owned()),
        );
    }
    let events_max = match counts {
        Counts::Rule(_) | Counts::Group(_) => RULE_EVENTS_MAX,
        Counts::Regex(_) => REGEX_EVENTS_MAX,
    };
    if let Some((frequency, span)) = draft.frequency.filter(|(frequency, _)| *frequency as usize >= events_max) {
        findings.push(
            Finding::new(&codes::FREQUENCY_TOO_HIGH, format!("the rule can't find {} earlier events", frequency + 1))
                .at(span, format!("at most {} works", events_max - 1))
                .rule(draft.id)
                .note(format!("only the last {events_max} events are remembered, as in OSSEC")),
        );
    }
    let (same, different) = compared(draft, &mut written.flags, findings);
    let composite = Composite {
        frequency,
        timeframe_seconds: draft.timeframe.map_or(TIMEFRAME_SECONDS, |(seconds, _)| seconds),
        counts,
        same,
        different,
        history: HistoryIndex::default(),
        span,
    };
    if settings.partitions > 1 && !composite.is_of_one_key() {
        let finding = Finding::new(&codes::CROSSES_KEYS, "the rule counts events of all agents and commands together")
            .at(span, format!("these lie in {} partitions", settings.partitions))
            .rule(draft.id)
            .note("what is remembered belongs to a partition, so no partition sees all of them")
            .help("add `<same_location />` to count each agent and command by itself, or use one partition".to_owned());
        findings.push(finding);
    }
    hang_at(draft, &composite, text.value);
    Some(composite)
}

/// Composite rules without `if_sid`, `if_group` or `if_level` hang under what they count.
fn hang_at(draft: &mut Draft, composite: &Composite, written: String) {
    if draft.also_under_root || draft.parents_unknown || draft.hung_by().is_some() {
        return;
    }
    draft.hangs_by_count = true;
    match &composite.counts {
        Counts::Rule(id) => draft.parents.push(ParentId { id: *id, written, joined: false, span: composite.span }),
        Counts::Group(_) => draft.if_group = Some(Expression { text: written, span: composite.span }),
        Counts::Regex(_) => {}
    }
}

/// The fields that must be equal, and those that must differ. Of two that contradict each other the later one counts.
fn compared(
    draft: &Draft,
    flags: &mut [(Flag, &'static str, Span)],
    findings: &mut Findings,
) -> (Vec<Field>, Vec<Field>) {
    flags.sort_by_key(|(_, _, span)| *span);
    let (mut same, mut different) = (Vec::<Asked>::new(), Vec::<Asked>::new());
    for (flag, name, span) in flags.iter() {
        let mut take_back = |from: &mut Vec<Asked>, field: Field| {
            for (_, before, place) in from.extract_if(.., |(known, _, _)| *known == field) {
                findings.push(
                    Finding::new(&codes::OVERRULED, format!("`{name}` contradicts `{before}`"))
                        .at(*span, "the later one counts")
                        .related(place, "no effect")
                        .rule(draft.id)
                        .help(format!("remove `{name}` or `{before}`")),
                );
            }
        };
        match *flag {
            Flag::Same(field) => {
                take_back(&mut different, field);
                if field == Field::Location {
                    take_back(&mut different, Field::Agent);
                }
                same.push((field, name, *span));
            }
            Flag::Different(field) => {
                take_back(&mut same, field);
                different.push((field, name, *span));
            }
            Flag::NotSame(field, other) => {
                take_back(&mut same, field);
                different.push((other, name, *span));
            }
        }
        if matches!(flag, Flag::Different(Field::SourceGeoIp)) {
            findings.push(
                Finding::new(&codes::COUNTS_NOTHING, "no event has a place, so the rule never holds")
                    .at(*span, "there is no data about where addresses are")
                    .rule(draft.id)
                    .help("remove it".to_owned()),
            );
        }
    }
    let fields = |flags: Vec<Asked>| flags.into_iter().map(|(field, ..)| field).collect();
    (fields(same), fields(different))
}

/// What there is to say of a rule that counts nothing.
fn without_context(draft: &Draft, written: &Written, findings: &mut Findings) {
    let compares = draft.rule.check_diff.is_some();
    let frequency = draft.frequency.filter(|(frequency, _)| *frequency > 0).map(|(_, span)| ("frequency", span));
    let flags = written.flags.iter().map(|(_, name, span)| (*name, *span));
    let mut alone = frequency.into_iter().chain(flags).peekable();
    let is_alone = alone.peek().is_none();
    for (name, span) in alone {
        findings.push(if compares {
            Finding::new(&codes::VALUE_IGNORED, format!("`{name}` has no effect beside `check_diff`"))
                .at(span, "ignored")
                .rule(draft.id)
        } else {
            Finding::new(&codes::NO_CONTEXT, format!("`{name}` needs an `if_matched_...` element"))
                .at(span, "there is nothing to count")
                .rule(draft.id)
                .help("say what is counted: `<if_matched_sid>ID</if_matched_sid>`".to_owned())
        });
    }
    if let (true, Some((_, span))) = (is_alone, draft.timeframe) {
        findings.push(
            Finding::new(&codes::TIMEFRAME_ALONE, "`timeframe` has no effect without an `if_matched_...` element")
                .at(span, "ignored")
                .rule(draft.id)
                .help("remove it, or add what is counted".to_owned()),
        );
    }
}

/// First-time keys and stored fields belong to a partition as well.
fn crossing_of_stored(draft: &Draft, written: &Written, settings: &Settings, findings: &mut Findings) {
    if settings.partitions <= 1 {
        return;
    }
    let crosses = |what: &str, span: Span| {
        Finding::new(&codes::CROSSES_KEYS, format!("{what} of all agents and commands count together"))
            .at(span, format!("these lie in {} partitions", settings.partitions))
            .rule(draft.id)
            .note("what is remembered belongs to a partition, so no partition sees all of them")
    };
    if let Some(span) = written.if_fts {
        findings.push(crosses("first-time keys", span).help("use one partition".to_owned()));
    }
    for (_, span) in written.stored.iter().filter(|(fields, _)| !fields.of_one_key) {
        let help = "add `location` to the fields, here and where they are stored, or use one partition";
        findings.push(crosses("the stored fields", *span).help(help.to_owned()));
    }
}

/// Says what must be recorded of whose results, and where each composite rule finds it. `categories` are those that the
/// rules have by their roots.
pub(super) fn plan(
    drafts: &mut [Draft],
    by_id: &HashMap<u32, RuleIndex>,
    categories: &[Category],
    orphans: Orphans,
    findings: &mut Findings,
) -> Histories {
    let mut histories = Histories::default();
    let counts = |draft: &Draft| draft.rule.memory.composite.as_ref().map(|composite| composite.counted_rule());
    let mut by_itself = CountedByItself::new();
    for draft in drafts.iter() {
        if let (Some(id), Some(composite)) = (counts(draft).flatten(), &draft.rule.memory.composite) {
            by_itself.entry(id).or_insert((draft.rule.id, composite.span));
        }
    }
    for at in 0..drafts.len() {
        let Some(composite) = &drafts[at].rule.memory.composite else { continue };
        let id = drafts[at].rule.id;
        let (counted, sources) = match &composite.counts {
            Counts::Rule(rule) => {
                let source = by_id.get(rule).map(|index| index.0 as usize);
                counts_a_result(&drafts[at], composite, *rule, source.map(|source| &drafts[source]), orphans, findings);
                (Counted::Rule(*rule), source.into_iter().collect())
            }
            Counts::Group(group) => {
                let sources = of_group(drafts, at, (group, composite.span), &by_itself, findings);
                (Counted::Group(id), sources)
            }
            Counts::Regex(_) => (Counted::Regex(id), Vec::new()),
        };
        let index = history(&mut histories, counted, composite);
        if let Counts::Regex(_) = composite.counts {
            histories.by_text.push((categories[at], RuleIndex(at as u32), index));
        }
        if let Some(composite) = &mut drafts[at].rule.memory.composite {
            composite.history = index;
        }
        for source in sources {
            let recorded_in = &mut drafts[source].rule.memory.recorded_in;
            if !recorded_in.contains(&index) {
                recorded_in.push(index);
            }
        }
    }
    histories
}

/// A rule that is counted by its id is not counted with its group, as in OSSEC. By id: who counts it, where.
type CountedByItself = BTreeMap<u32, (u32, Span)>;

/// The rules whose results count for a rule that counts a group.
fn of_group(
    drafts: &[Draft],
    at: usize,
    (group, span): (&OsMatch, Span),
    by_itself: &CountedByItself,
    findings: &mut Findings,
) -> Vec<usize> {
    let draft = &drafts[at];
    let end = if draft.finds_later { drafts.len() } else { at };
    let is_of_group = |other: &usize| *other != at && group.is_match(drafts[*other].rule.group_text.as_bytes());
    let is_counted_apart = |other: &usize| drafts[*other].id.is_some_and(|id| by_itself.contains_key(&id));
    let (apart, sources): (Vec<usize>, Vec<usize>) = (0..end).filter(is_of_group).partition(is_counted_apart);
    let lost = apart.iter().map(|lost| &drafts[*lost]).filter(|lost| is_recorded(lost));
    let lost: Vec<u32> = lost.map(|lost| lost.rule.id).collect();
    let counts_some = sources.iter().any(|source| is_recorded(&drafts[*source]) || drafts[*source].broken);
    if findings.looks_for_lints() && counts_some && !lost.is_empty() {
        findings.push(counted_apart(draft, span, &lost, by_itself));
    }
    if !counts_some && !draft.parents_unknown {
        findings.push(
            Finding::new(&codes::COUNTS_NOTHING, "no rule before this one gives results to count")
                .at(span, "the rule never holds")
                .rule(draft.id)
                .note("results of silent rules, and of rules that an `if_matched_sid` counts, do not count"),
        );
    }
    sources
}

/// Of a rule that counts a group: some rules of the group are counted by their id elsewhere, and only there.
fn counted_apart(draft: &Draft, span: Span, lost: &[u32], by_itself: &CountedByItself) -> Finding {
    const SHOWN_MAX: usize = 8;
    let ids = lost.iter().take(SHOWN_MAX).map(|id| match by_itself.get(id) {
        Some((by, _)) => format!("{id} (by {by})"),
        None => id.to_string(),
    });
    let more = if lost.len() > SHOWN_MAX { ", ..." } else { "" };
    let (what, verb) = if lost.len() == 1 { ("a rule", "is") } else { ("rules", "are") };
    let message = format!("results of {what} of this group do not count here, as an `if_matched_sid` counts them");
    let finding = Finding::new(&codes::COUNTED_APART, message)
        .at(span, format!("{} of its rules {verb} counted apart", lost.len()))
        .rule(draft.id)
        .note(format!("a result counts in one place, as in OSSEC: {}{more}", ids.collect::<Vec<_>>().join(", ")))
        .help("count the lines themselves by `if_matched_regex`, or each rule of the group by an `if_matched_sid` of its own".to_owned());
    match lost.first().and_then(|id| by_itself.get(id)) {
        Some((by, place)) => finding.related(*place, format!("rule {by} counts {}", lost[0])),
        None => finding,
    }
}

/// The history that a composite rule counts in, made to hold what it needs.
fn history(histories: &mut Histories, counted: Counted, composite: &Composite) -> HistoryIndex {
    let per_key = composite.is_of_one_key();
    let known = histories.plans.iter().position(|plan| plan.counted == counted && plan.per_key == per_key);
    let place = known.unwrap_or_else(|| {
        histories.plans.push(HistoryPlan { counted, per_key, events_max: 0, fields: Vec::new() });
        histories.plans.len() - 1
    });
    let plan = &mut histories.plans[place];
    plan.events_max = plan.events_max.max(composite.events_max());
    for field in composite.same.iter().chain(&composite.different) {
        if !plan.fields.contains(field) {
            plan.fields.push(*field);
        }
    }
    HistoryIndex(place as u32)
}

/// Whether the rule that `if_matched_sid` names exists, and has results that are recorded.
fn counts_a_result(
    draft: &Draft,
    composite: &Composite,
    counted: u32,
    source: Option<&Draft>,
    orphans: Orphans,
    findings: &mut Findings,
) {
    let finding = match source {
        // Of one that could not be read nothing is known.
        Some(source) if is_recorded(source) || source.broken => return,
        Some(source) => {
            let why = if source.rule.level == 0 { "it is silent" } else { "it is `noalert`" };
            Finding::new(&codes::COUNTS_NOTHING, format!("rule {counted} has no results to count"))
                .at(composite.span, "the rule never holds")
                .related(source.rule.span, why)
        }
        // As a missing parent it is reported already.
        None if draft.parents.iter().any(|parent| parent.id == counted) => return,
        None if orphans == Orphans::Error => {
            Finding::new(&codes::MISSING_PARENT, format!("there is no rule {counted}"))
                .at(composite.span, "no rule has this id")
                .help(shipped_help(counted))
        }
        None => Finding::new(&codes::COUNTS_NOTHING, format!("there is no rule {counted}"))
            .at(composite.span, "the rule never holds"),
    };
    findings.push(finding.rule(draft.id));
}

fn is_recorded(draft: &Draft) -> bool {
    draft.rule.level > 0 && !draft.rule.noalert
}
