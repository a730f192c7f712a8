//! The elements of a `<rule>`, one entry each.
//!
//! To add an element: give its entry here a function, and when it is a condition give [`Test`] a variant with its arm
//! in the evaluation. The table stands in the order in which OSSEC tests conditions, and conditions are compiled in
//! the table's order.

use super::dialect::{self, Dialect};
use super::draft::{Draft, Expression, ParentId};
use super::number::number;
use super::text::Text;
use super::{calendar, change, checks, composite, fields, pcre2};
use crate::finding::{Finding, Findings, codes, shown};
use crate::pattern::{OsMatch, OsRegex, PatternError};
use crate::ruleset::{Category, Condition, Test};
use crate::source::Span;
use crate::xml;

/// One element that rules may hold.
pub(crate) struct ElementKind {
    pub name: &'static str,
    pub support: Support,
    /// The attributes it may have.
    pub attributes: &'static [&'static str],
    /// The elements that may stand in it, with their attributes; for most it is text alone.
    pub nested: Nested,
}

/// Names of elements, each with the attributes it may have.
pub(crate) type Nested = &'static [(&'static str, &'static [&'static str])];

/// What Tripline makes of an element.
pub(crate) enum Support {
    /// Builds the rule's part from all of a rule's elements of that name, in their order; never called without one.
    Yes(fn(&mut Draft, &[Occurrence<'_>], &mut Findings)),
    /// Wazuh has it, OSSEC has not; OSSEC may have the same under this name.
    WazuhOnly(Option<&'static str>),
}

/// One element in a rule, with its text.
pub(crate) struct Occurrence<'a> {
    pub element: &'a xml::Element,
    pub text: Text,
    /// The texts of its attributes, in the element's order.
    pub attributes: Vec<Text>,
    /// The elements in it, in their order.
    pub nested: Vec<Occurrence<'a>>,
}

impl Occurrence<'_> {
    /// Its text, or that of an attribute, was too long and is not there; or it is not meant as OSSEC reads it. Findings
    /// say so.
    pub fn is_dropped(&self) -> bool {
        self.text.dropped || self.attributes.iter().any(|text| text.dropped) || checks::is_read_otherwise(self.element)
    }

    /// The text of the attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Text> {
        let at = self.element.attributes.iter().position(|attribute| attribute.name == name)?;
        self.attributes.get(at)
    }
}

/// The names of the elements that a rule may hold.
pub fn element_names() -> impl Iterator<Item = &'static str> {
    ELEMENTS.iter().filter(|kind| matches!(kind.support, Support::Yes(_))).map(|kind| kind.name)
}

/// The entry of this name.
pub(crate) fn find(name: &str) -> Option<usize> {
    ELEMENTS.iter().position(|kind| kind.name == name)
}

/// All of them.
pub(crate) const ELEMENTS: &[ElementKind] = &[
    supported("decoded_as", decoded_as),
    supported("program_name", fields::text_field),
    supported("program_name_pcre2", fields::text_field),
    supported("id", fields::text_field),
    supported("id_pcre2", fields::text_field),
    with_attributes(supported("match", match_), &[change::ON]),
    supported("match_pcre2", pcre2::match_pcre2),
    with_attributes(supported("regex", regex), &[change::ON]),
    with_attributes(supported("pcre2", pcre2::pcre2), &[change::ON]),
    supported("action", fields::action),
    supported("url", fields::text_field),
    supported("url_pcre2", fields::text_field),
    with_attributes(supported("field", fields::dynamic), &["name"]),
    supported("srcip", fields::address),
    supported("dstip", fields::address),
    supported("srcport", fields::text_field),
    supported("srcport_pcre2", fields::text_field),
    supported("dstport", fields::text_field),
    supported("dstport_pcre2", fields::text_field),
    supported("compiled_rule", compiled_rule),
    supported("user", fields::text_field),
    supported("user_pcre2", fields::text_field),
    supported("srcgeoip", fields::geoip),
    supported("srcgeoip_pcre2", fields::geoip),
    supported("dstgeoip", fields::geoip),
    supported("dstgeoip_pcre2", fields::geoip),
    supported("time", calendar::time),
    supported("weekday", calendar::weekday),
    supported("extra_data", fields::text_field),
    supported("extra_data_pcre2", fields::text_field),
    supported("hostname", fields::text_field),
    supported("hostname_pcre2", fields::text_field),
    supported("status", fields::text_field),
    supported("status_pcre2", fields::text_field),
    supported("run_exit_code", change::run_exit_code),
    supported("run_duration", change::run_duration),
    supported("run_output_size", change::run_output_size),
    supported("run_late", change::run_late),
    ElementKind { nested: change::STEPS, ..supported("check_diff", change::check_diff) },
    supported("added_lines", change::added_lines),
    supported("removed_lines", change::removed_lines),
    supported("if_fts", composite::if_fts),
    with_attributes(supported("list", fields::list), &["field", "lookup", "check_value"]),
    // Where the rule hangs, and history.
    supported("category", category),
    supported("if_sid", if_sid),
    supported("if_group", if_group),
    supported("if_level", if_level),
    supported("if_matched_sid", composite::if_matched_sid),
    supported("if_matched_group", composite::if_matched_group),
    supported("if_matched_regex", composite::if_matched_regex),
    supported("same_source_ip", composite::flag),
    supported("same_src_port", composite::flag),
    supported("same_dst_port", composite::flag),
    supported("same_user", composite::flag),
    supported("same_location", composite::flag),
    supported("same_id", composite::flag),
    supported("different_url", composite::flag),
    supported("different_srcip", composite::flag),
    supported("different_srcgeoip", composite::flag),
    supported("not_same_source_ip", composite::flag),
    supported("not_same_user", composite::flag),
    supported("not_same_agent", composite::flag),
    supported("not_same_id", composite::flag),
    // Results and text.
    supported("description", description),
    supported("group", group),
    supported("options", options),
    with_attributes(supported("info", info), &["type"]),
    supported("cve", accepted),
    supported("ignore", composite::ignore),
    supported("ignore_key", change::ignore_key),
    supported("check_if_ignored", composite::check_if_ignored),
    // Wazuh's own.
    wazuh_only("location", None),
    wazuh_only("mitre", None),
    wazuh_only("global_frequency", None),
    wazuh_only("protocol", None),
    wazuh_only("system_name", None),
    wazuh_only("data", None),
    wazuh_only("var", None),
    wazuh_only("same_field", None),
    wazuh_only("different_field", None),
    wazuh_only("not_same_field", None),
    wazuh_only("same_srcip", Some("same_source_ip")),
    wazuh_only("same_srcport", Some("same_src_port")),
    wazuh_only("same_dstport", Some("same_dst_port")),
    wazuh_only("same_srcuser", None),
    wazuh_only("different_user", Some("not_same_user")),
    wazuh_only("different_srcuser", None),
    wazuh_only("different_id", Some("not_same_id")),
    wazuh_only("same_dstip", None),
    wazuh_only("same_protocol", None),
    wazuh_only("same_action", None),
    wazuh_only("same_url", None),
    wazuh_only("same_data", None),
    wazuh_only("same_extra_data", None),
    wazuh_only("same_status", None),
    wazuh_only("same_system_name", None),
    wazuh_only("same_srcgeoip", None),
    wazuh_only("same_dstgeoip", None),
    wazuh_only("different_dstip", None),
    wazuh_only("different_srcport", None),
    wazuh_only("different_dstport", None),
    wazuh_only("different_location", None),
    wazuh_only("different_protocol", None),
    wazuh_only("different_action", None),
    wazuh_only("different_data", None),
    wazuh_only("different_extra_data", None),
    wazuh_only("different_status", None),
    wazuh_only("different_system_name", None),
    wazuh_only("different_dstgeoip", None),
];

const fn supported(name: &'static str, build: fn(&mut Draft, &[Occurrence<'_>], &mut Findings)) -> ElementKind {
    ElementKind { name, support: Support::Yes(build), attributes: &[], nested: &[] }
}

const fn wazuh_only(name: &'static str, alike: Option<&'static str>) -> ElementKind {
    ElementKind { name, support: Support::WazuhOnly(alike), attributes: &[], nested: &[] }
}

const fn with_attributes(kind: ElementKind, attributes: &'static [&'static str]) -> ElementKind {
    ElementKind { attributes, ..kind }
}

fn decoded_as(draft: &mut Draft, elements: &[Occurrence<'_>], _: &mut Findings) {
    let name = joined(elements);
    condition(draft, elements, Test::DecodedAs(name.value.clone()));
    draft.decoded_as = Some(name);
}

fn match_(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    pattern(draft, elements, Dialect::Match, findings, |text| OsMatch::new(text).map(Test::Match));
}

fn regex(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    pattern(draft, elements, Dialect::Regex, findings, |text| OsRegex::new(text).map(Test::Regex));
}

fn pattern(
    draft: &mut Draft,
    elements: &[Occurrence<'_>],
    dialect: Dialect,
    findings: &mut Findings,
    compile: impl Fn(&str) -> Result<Test, PatternError>,
) {
    let text = joined(elements);
    let name = &elements[0].element.name;
    match compile(&text.value) {
        Ok(test) => {
            dialect::look_at(elements, dialect, &text, draft.id, findings);
            condition(draft, elements, test);
        }
        Err(error) => {
            let span = text.span_of(error.start..error.end);
            findings.push(
                Finding::new(&codes::BAD_PATTERN, format!("`{name}` can't be compiled: {}", error.message))
                    .at(span, "")
                    .rule(draft.id)
                    .help(error.help),
            );
        }
    }
}

fn category(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let name = joined(elements);
    match name.value.parse::<Category>() {
        Ok(category) => draft.category = Some((category, name.span())),
        Err(_) => findings.push(none_of("category", &name, Category::NAMES.iter().copied(), draft.id)),
    }
}

/// Ids separated by commas or spaces.
fn if_sid(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let text = joined(elements);
    if let Some((at, wrong)) = text.value.char_indices().find(|(_, c)| !c.is_ascii_digit() && !matches!(c, ',' | ' ')) {
        findings.push(
            Finding::new(&codes::BAD_PARENT_ID, "`if_sid` is not a list of ids")
                .at(text.span_of(at..at + wrong.len_utf8()), "expected digits, commas and spaces only")
                .rule(draft.id)
                .help("write the ids in one line: `<if_sid>530, 531</if_sid>`".to_owned()),
        );
        draft.parents_unknown = true;
        return;
    }
    let ids = text.value.split([',', ' ']).filter(|id| !id.is_empty());
    for id in ids {
        let start = id.as_ptr() as usize - text.value.as_ptr() as usize;
        let span = text.span_of(start..start + id.len());
        let of_one = |occurrence: &Occurrence<'_>| {
            let whole = occurrence.text.span();
            whole.start <= span.start && span.end <= whole.end
        };
        let joined = !elements.iter().any(of_one);
        // A number that does not fit is no rule's id either.
        let parent = ParentId { id: id.parse().unwrap_or(u32::MAX), written: id.to_owned(), joined, span };
        if !draft.parents.iter().any(|known| known.id == parent.id) {
            draft.parents.push(parent);
        }
    }
    if text.value.ends_with([',', ' ']) || draft.parents.is_empty() {
        let end = text.value.len();
        let span = text.span_of(end.saturating_sub(1)..end);
        let (message, label, help) = match (draft.parents.is_empty(), text.value.ends_with(' ')) {
            (true, _) => (
                "`if_sid` names no rule",
                "empty",
                "write the ids of the rules that this one hangs under, or remove it",
            ),
            (false, true) => ("`if_sid` ends with an empty id", "nothing follows", "remove the space"),
            (false, false) => ("`if_sid` ends with an empty id", "nothing follows", "remove the comma"),
        };
        findings.push(
            Finding::new(&codes::EMPTY_PARENT_ID, message)
                .at(span, label)
                .rule(draft.id)
                .note("it also hangs the rule under the root of its category, as in OSSEC")
                .help(help.to_owned()),
        );
        draft.also_under_root = true;
    }
}

/// One expression, see [`order`](super::order).
fn if_group(draft: &mut Draft, elements: &[Occurrence<'_>], _: &mut Findings) {
    let text = joined(elements);
    draft.if_group = Some(Expression { span: text.span(), text: text.value });
}

fn if_level(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let text = joined(elements);
    match number(&text, "if_level", 4, findings) {
        Some(level) => draft.if_level = Some((level, text.span())),
        None => draft.parents_unknown = true,
    }
}

/// OSSEC's functions in C are not part of Tripline.
fn compiled_rule(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let text = joined(elements);
    let message = format!("the function `{}` is not there, so the rule never holds", shown(&text.value));
    findings.push(
        Finding::new(&codes::NEVER_HOLDS, message)
            .at(text.span(), "compiled into OSSEC")
            .rule(draft.id)
            .help("write the condition with `pcre2` or `regex`, or remove the rule".to_owned()),
    );
    condition(draft, elements, Test::Never("compiled_rule"));
}

/// The first line break becomes a space.
fn description(draft: &mut Draft, elements: &[Occurrence<'_>], _: &mut Findings) {
    let text = joined(elements).value.replacen('\n', " ", 1);
    draft.rule.description = (!text.is_empty()).then_some(text);
}

fn group(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let text = joined(elements);
    let before = &draft.rule.group_text;
    if !before.is_empty() && !before.ends_with([',', ' ']) && !text.value.starts_with([',', ' ']) {
        findings.push(
            Finding::new(
                &codes::GROUPS_RUN_TOGETHER,
                format!("the groups become `{}`", shown(&format!("{before}{}", text.value))),
            )
            .at(text.span(), "joined with nothing between")
            .related(draft.group_span, "the file group does not end with a comma")
            .rule(draft.id)
            .help(format!("write `name=\"{},\"`", shown(before))),
        );
    }
    draft.rule.group_text.push_str(&text.value);
    let pairs = elements.iter().zip(&elements[1..]);
    let parts = |text: &str, ends: bool| {
        let last = if ends { text.chars().last() } else { text.chars().next() };
        last.is_none_or(|character| matches!(character, ',' | ' '))
    };
    for (one, next) in pairs.filter(|(one, next)| !parts(&one.text.value, true) && !parts(&next.text.value, false)) {
        let joined = format!("{}{}", one.text.value, next.text.value);
        findings.push(
            Finding::new(&codes::GROUPS_RUN_TOGETHER, format!("the groups become `{}`", shown(&joined)))
                .at(next.text.span(), "joined with nothing between")
                .related(one.text.span(), "the first one does not end with a comma")
                .rule(draft.id)
                .help(format!("write `<group>{},</group>`", shown(&one.text.value))),
        );
    }
}

/// One word in each element; later ones win.
fn options(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    contradicting_options(draft, elements, findings);
    const OPTIONS: [&str; 5] = ["alert_by_email", "no_email_alert", "log_alert", "no_log", "no_ar"];
    for Occurrence { text, .. } in elements {
        match text.value.as_str() {
            "alert_by_email" => draft.rule.mail = true,
            "no_email_alert" => draft.rule.mail = false,
            "log_alert" => draft.rule.log = true,
            "no_log" => draft.rule.log = false,
            // There are no active responses that it could keep from running.
            "no_ar" => {}
            _ => {
                let mut finding = none_of("options", text, OPTIONS.into_iter(), draft.id);
                if text.value.contains(',') {
                    finding = finding.help("write one `<options>` element for each word".to_owned());
                    finding.replacement = None;
                }
                findings.push(finding);
            }
        }
    }
}

/// Two words of which the later one undoes the first.
fn contradicting_options(draft: &Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    for pair in [["alert_by_email", "no_email_alert"], ["log_alert", "no_log"]] {
        let mut places = elements.iter().filter(|occurrence| pair.contains(&occurrence.text.value.as_str()));
        let Some(first) = places.next() else { continue };
        let Some(later) = places.find(|later| later.text.value != first.text.value) else { continue };
        findings.push(
            Finding::new(&codes::CONTRADICTION, format!("`{}` undoes `{}`", later.text.value, first.text.value))
                .at(later.text.span(), "the later one wins")
                .related(first.text.span(), "no effect")
                .rule(draft.id)
                .help("remove one of them".to_owned()),
        );
    }
}

/// Shown by OSSEC's test tool alone. An unknown `type` makes OSSEC load for ever.
fn info(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    for attribute in elements.iter().flat_map(|occurrence| &occurrence.attributes) {
        const TYPES: [&str; 4] = ["text", "link", "cve", "osvdb"];
        if !TYPES.contains(&attribute.value.as_str()) {
            findings.push(none_of("type", attribute, TYPES.into_iter(), draft.id));
        }
    }
}

/// Carries nothing that rules answer.
fn accepted(_: &mut Draft, _: &[Occurrence<'_>], _: &mut Findings) {}

/// The texts of all elements with nothing in between.
pub(super) fn joined(elements: &[Occurrence<'_>]) -> Text {
    let mut text = elements[0].text.clone();
    for occurrence in &elements[1..] {
        text.join(&occurrence.text);
    }
    text
}

pub(super) fn condition(draft: &mut Draft, elements: &[Occurrence<'_>], test: Test) {
    draft.rule.conditions.push(Condition { test, span: whole(&elements[0]) });
}

/// From the start tag to the end of the text.
pub(super) fn whole(occurrence: &Occurrence<'_>) -> Span {
    let tag = occurrence.element.tag;
    Span { end: occurrence.element.texts.last().map_or(tag.end, |text| text.end), ..tag }
}

pub(super) fn none_of(
    name: &str,
    text: &Text,
    allowed: impl Iterator<Item = &'static str> + Clone,
    rule: Option<u32>,
) -> Finding {
    let list: Vec<_> = allowed.clone().map(|word| format!("`{word}`")).collect();
    let near = super::suggest(text.value.trim(), allowed);
    Finding::new(&codes::BAD_VALUE, format!("`{name}` can't be `{}`", shown(&text.value)))
        .at(text.span(), format!("expected one of {}", list.join(", ")))
        .rule(rule)
        .meant(near)
}
