//! The elements that are Tripline's own: facts of the run, `check_diff`'s normaliser, conditions on what changed, and
//! `ignore_key`.

use super::dialect::{self, Dialect};
use super::draft::Draft;
use super::elements::{Nested, Occurrence, joined, none_of, whole};
use super::text::Text;
use crate::change::{ChangeCondition, ChangeTest, ChangedLines, CheckDiff, LinePattern};
use crate::finding::{Finding, Findings, codes};
use crate::normalise::{Columns, Normaliser, Replacement, ReplacementPart, Step};
use crate::numbers::{Numbers, NumbersError, Unit};
use crate::pattern::{OsMatch, OsRegex, PatternError, Pcre2};
use crate::ruleset::{Condition, RuleIndex, Test};
use crate::run_fact::RunFact;

/// The elements that may stand in `check_diff`, with their attributes.
pub(super) const STEPS: Nested = &[
    ("trim", &[]),
    ("sort", &[]),
    ("unique", &[]),
    ("skip_header", &[]),
    ("ignore_lines", &[]),
    ("replace", &["with"]),
    ("columns", &["keep", "drop", "separator"]),
];

/// The attribute that makes of a pattern a condition on what changed.
pub(super) const ON: &str = "on";

/// Lines, columns and the like are counted up to here.
const COUNT_MAX: usize = 1_000_000;

pub(super) fn run_exit_code(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    run_fact(draft, elements, findings, RunFact::ExitCode);
}

pub(super) fn run_duration(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    run_fact(draft, elements, findings, RunFact::Duration);
}

pub(super) fn run_output_size(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    run_fact(draft, elements, findings, RunFact::OutputSize);
}

/// Each element is a condition of its own.
fn run_fact(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings, fact: RunFact) {
    for occurrence in elements {
        if let Some(numbers) = numbers(draft, occurrence, fact.unit(), findings) {
            draft.rule.conditions.push(Condition { test: Test::Run(fact, numbers), span: whole(occurrence) });
        }
    }
}

pub(super) fn run_late(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    for occurrence in elements {
        let late = match occurrence.text.value.trim() {
            "yes" => true,
            "no" => false,
            _ => {
                findings.push(none_of("run_late", &occurrence.text, ["yes", "no"].into_iter(), draft.id));
                continue;
            }
        };
        draft.rule.conditions.push(Condition { test: Test::RunLate(late), span: whole(occurrence) });
    }
}

pub(super) fn added_lines(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    line_count(draft, elements, findings, ChangeTest::AddedLines);
}

pub(super) fn removed_lines(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    line_count(draft, elements, findings, ChangeTest::RemovedLines);
}

fn line_count(
    draft: &mut Draft,
    elements: &[Occurrence<'_>],
    findings: &mut Findings,
    test: fn(Numbers) -> ChangeTest,
) {
    for occurrence in elements {
        if let Some(numbers) = numbers(draft, occurrence, Unit::Count, findings) {
            draft.rule.on_change.push(ChangeCondition { test: test(numbers), span: whole(occurrence) });
        }
    }
}

fn numbers(draft: &Draft, occurrence: &Occurrence<'_>, unit: Unit, findings: &mut Findings) -> Option<Numbers> {
    let Occurrence { element, text, .. } = occurrence;
    match Numbers::parse(&text.value, unit) {
        Ok(numbers) => Some(numbers),
        Err(NumbersError { place, message, help }) => {
            findings.push(
                Finding::new(&codes::BAD_NUMBERS, format!("`{}` can't be read: {message}", element.name))
                    .at(text.span_of(place), "")
                    .rule(draft.id)
                    .help(help.to_owned()),
            );
            None
        }
    }
}

/// What the rule's `match`, `regex` and `pcre2` elements with `on="..."` say. Those of one name and place are joined, as without
/// `on`.
pub(super) fn patterns(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    const LINES: [(&str, ChangedLines); 3] =
        [("added", ChangedLines::Added), ("removed", ChangedLines::Removed), ("output", ChangedLines::Output)];
    let mut groups: Vec<(&str, ChangedLines, &Occurrence<'_>, Text)> = Vec::new();
    for occurrence in elements {
        let Some(on) = occurrence.attribute(ON) else { continue };
        let Some((_, lines)) = LINES.iter().find(|(name, _)| *name == on.value) else {
            findings.push(none_of(ON, on, LINES.iter().map(|(name, _)| *name), draft.id));
            continue;
        };
        let name = occurrence.element.name.as_str();
        match groups.iter_mut().find(|(other, place, ..)| *other == name && place == lines) {
            Some((.., text)) => text.join(&occurrence.text),
            None => groups.push((name, *lines, occurrence, occurrence.text.clone())),
        }
    }
    for (name, lines, first, text) in groups {
        let (dialect, pattern) = match name {
            "match" => (Dialect::Match, OsMatch::new(&text.value).map(LinePattern::Match)),
            "regex" => (Dialect::Regex, OsRegex::new(&text.value).map(LinePattern::Regex)),
            _ => (Dialect::Pcre2, linear_pcre2(&text.value).map(LinePattern::Pcre2)),
        };
        match pattern {
            Ok(pattern) => {
                let test = ChangeTest::AnyLine(lines, pattern);
                dialect::look(test.name(), dialect, &text, draft.id, findings);
                draft.rule.on_change.push(ChangeCondition { test, span: whole(first) });
            }
            Err(error) => findings.push(bad_pattern(draft, name, &text, error)),
        }
    }
}

/// There may be very many lines, so an expression must be one whose search is short whatever a line holds.
fn linear_pcre2(text: &str) -> Result<Pcre2, PatternError> {
    let pattern = Pcre2::new(text)?;
    if pattern.may_give_up() {
        return Err(PatternError {
            start: 0,
            end: text.len(),
            message: "look-around, back references and the like can't be used with `on`".to_owned(),
            help: Some("write it without them".to_owned()),
            unsupported: true,
        });
    }
    Ok(pattern)
}

/// Rules that ask about a change must have a `check_diff`, or stand below a rule that has one.
pub(super) fn need_a_change(drafts: &[Draft], children: &[Vec<RuleIndex>], findings: &mut Findings) {
    let mut has_change = vec![false; drafts.len()];
    let mut next: Vec<usize> = (0..drafts.len()).filter(|at| drafts[*at].rule.check_diff.is_some()).collect();
    while let Some(at) = next.pop() {
        if !has_change[at] {
            has_change[at] = true;
            next.extend(children[at].iter().map(|child| child.0 as usize));
        }
    }
    for draft in drafts.iter().zip(has_change).filter_map(|(draft, has)| (!has && !draft.broken).then_some(draft)) {
        let Some(condition) = draft.rule.on_change.first() else { continue };
        let name = condition.test.name();
        findings.push(
            Finding::new(&codes::NO_CHANGE, format!("`{name}` has no change to ask about"))
                .at(condition.span, "neither this rule nor one above it has `check_diff`")
                .rule(draft.id)
                .help("add `<check_diff/>`, or hang the rule under one that has it".to_owned()),
        );
    }
}

pub(super) fn ignore_key(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let text = joined(elements);
    match OsRegex::new(&text.value) {
        Ok(pattern) => {
            dialect::look("ignore_key", Dialect::Regex, &text, draft.id, findings);
            draft.rule.ignore_key = Some(pattern);
        }
        Err(error) => findings.push(bad_pattern(draft, "ignore_key", &text, error)),
    }
    if draft.rule.ignore_seconds == 0 {
        findings.push(
            Finding::new(&codes::VALUE_IGNORED, "`ignore_key` has no effect without an ignore timer")
                .at(whole(&elements[0]), "the rule has no `ignore`")
                .rule(draft.id)
                .help("add `ignore=\"SECONDS\"` to the rule, or remove the element".to_owned()),
        );
    }
}

/// What is compared, after which steps. The steps of repeated elements follow one another.
pub(super) fn check_diff(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let mut steps = Vec::new();
    for occurrence in elements {
        if !occurrence.text.value.trim().is_empty() {
            findings.push(
                Finding::new(&codes::VALUE_IGNORED, "the text of `check_diff` has no effect")
                    .at(occurrence.text.span(), "ignored")
                    .rule(draft.id)
                    .help("write `<check_diff/>`".to_owned()),
            );
        }
        steps.extend(occurrence.nested.iter().filter_map(|nested| step(draft, nested, findings)));
    }
    for again in &elements[1..] {
        findings.push(
            Finding::new(&codes::CONTRADICTION, "`check_diff` stands twice, and makes one comparison")
                .at(whole(again), "its steps, if any, follow those of the first")
                .related(whole(&elements[0]), "the first")
                .rule(draft.id)
                .help("write one `check_diff` with all steps; a second comparison needs a rule of its own".to_owned()),
        );
    }
    draft.rule.check_diff = Some(CheckDiff { span: whole(&elements[0]), normaliser: Normaliser { steps } });
}

fn step(draft: &Draft, step: &Occurrence<'_>, findings: &mut Findings) -> Option<Step> {
    let text = &step.text;
    match step.element.name.as_str() {
        name @ ("trim" | "sort" | "unique") => {
            if !text.value.trim().is_empty() {
                findings.push(
                    Finding::new(&codes::VALUE_IGNORED, format!("the text of `{name}` has no effect"))
                        .at(text.span(), "ignored")
                        .rule(draft.id)
                        .help(format!("write `<{name}/>`")),
                );
            }
            Some(match name {
                "trim" => Step::Trim,
                "sort" => Step::Sort,
                _ => Step::Unique,
            })
        }
        "skip_header" => skip_header(draft, text, findings),
        "ignore_lines" => line_regex(draft, "ignore_lines", text, findings).map(Step::IgnoreLines),
        "replace" => replace(draft, step, findings),
        "columns" => columns(draft, step, findings).map(Step::Columns),
        other => unreachable!("`{other}` is no step"),
    }
}

/// How many lines; one when it does not say.
fn skip_header(draft: &Draft, text: &Text, findings: &mut Findings) -> Option<Step> {
    let lines = match text.value.trim() {
        "" => Some(1),
        digits => digits.parse().ok().filter(|lines| (1..=COUNT_MAX).contains(lines)),
    };
    if lines.is_none() {
        findings.push(bad_step(
            draft,
            text,
            "`skip_header` is no number of lines",
            "write `<skip_header/>` for one line",
        ));
    }
    lines.map(Step::SkipHeader)
}

fn line_regex(draft: &Draft, name: &str, text: &Text, findings: &mut Findings) -> Option<OsRegex> {
    let pattern =
        OsRegex::new(&text.value).map_err(|error| findings.push(bad_pattern(draft, name, text, error))).ok()?;
    dialect::look(name, Dialect::Regex, text, draft.id, findings);
    Some(pattern)
}

fn replace(draft: &Draft, step: &Occurrence<'_>, findings: &mut Findings) -> Option<Step> {
    let text = &step.text;
    let pattern = line_regex(draft, "replace", text, findings);
    let Some(with) = step.attribute("with") else {
        findings.push(
            Finding::new(&codes::MISSING_ATTRIBUTE, "`replace` has no `with`")
                .at(step.element.tag, "`with` is required")
                .rule(draft.id)
                .help("write `with=\"\"` to remove what fits".to_owned()),
        );
        return None;
    };
    let replacement = match Replacement::parse(&with.value) {
        Ok(replacement) => replacement,
        Err(at) => {
            let end = with.value[at + 1..].chars().next().map_or(at + 1, |next| at + 1 + next.len_utf8());
            findings.push(
                Finding::new(&codes::BAD_STEP, "`\\` stands for nothing here")
                    .at(with.span_of(at..end), "")
                    .rule(draft.id)
                    .help(
                        "write `\\1` to `\\9` for a group, `\\0` for the whole match, `\\\\` for a backslash"
                            .to_owned(),
                    ),
            );
            return None;
        }
    };
    let pattern = pattern?;
    if pattern.is_match(b"") {
        findings.push(bad_step(draft, text, "the pattern of `replace` fits the empty text", "use `+` instead of `*`"));
        return None;
    }
    let groups = pattern.group_count();
    let unknown = replacement.parts.iter().find_map(|part| match part {
        ReplacementPart::Group(number) if *number > groups => Some(*number),
        _ => None,
    });
    if let Some(number) = unknown {
        let help = match groups {
            0 => "the pattern has no `( )`; write `\\0` for the whole match".to_owned(),
            1 => "the pattern has one group, `\\1`".to_owned(),
            _ => format!("the pattern has {groups} groups, counted by their `(`"),
        };
        findings.push(bad_step(draft, with, &format!("the pattern has no group {number}"), &help));
        return None;
    }
    Some(Step::Replace(pattern, replacement))
}

fn columns(draft: &Draft, step: &Occurrence<'_>, findings: &mut Findings) -> Option<Columns> {
    const HELP: &str = "write `keep=\"1,3-5\"` or `drop=\"6-\"`; columns count from 1";
    if !step.text.value.trim().is_empty() {
        findings.push(bad_step(draft, &step.text, "`columns` holds no text", HELP));
        return None;
    }
    let (list, keep) = match (step.attribute("keep"), step.attribute("drop")) {
        (Some(list), None) => (list, true),
        (None, Some(list)) => (list, false),
        (keep, _) => {
            let problem = if keep.is_some() { "has both `keep` and `drop`" } else { "has neither `keep` nor `drop`" };
            findings.push(
                Finding::new(&codes::BAD_STEP, format!("`columns` {problem}"))
                    .at(step.element.tag, "expected one of them")
                    .rule(draft.id)
                    .help(HELP.to_owned()),
            );
            return None;
        }
    };
    let separator = step.attribute("separator");
    if let Some(separator) = separator.filter(|separator| separator.value.is_empty()) {
        findings.push(bad_step(draft, separator, "the separator is empty", "leave it out for white space"));
        return None;
    }
    let ranges = list.value.split(',').map(column_range).collect::<Option<Vec<_>>>();
    if ranges.is_none() {
        findings.push(bad_step(draft, list, "this is no list of columns", HELP));
    }
    Some(Columns { ranges: ranges?, keep, separator: separator.map(|separator| separator.value.clone()) })
}

/// `3`, `3-5` or `3-`.
fn column_range(text: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let number = |text: &str| text.trim().parse().ok().filter(|number| (1..=COUNT_MAX).contains(number));
    let (start, end) = match text.split_once('-') {
        None => (number(text)?, number(text)?),
        Some((start, end)) if end.trim().is_empty() => (number(start)?, usize::MAX),
        Some((start, end)) => (number(start)?, number(end)?),
    };
    (start <= end).then_some(start..=end)
}

fn bad_step(draft: &Draft, text: &Text, message: &str, help: &str) -> Finding {
    Finding::new(&codes::BAD_STEP, message).at(text.span(), "").rule(draft.id).help(help.to_owned())
}

fn bad_pattern(draft: &Draft, name: &str, text: &Text, error: PatternError) -> Finding {
    Finding::new(&codes::BAD_PATTERN, format!("`{name}` can't be compiled: {}", error.message))
        .at(text.span_of(error.start..error.end), "")
        .rule(draft.id)
        .help(error.help)
}
