//! The elements of rules that ask for fields of a line.

use super::dialect::{self, Dialect};
use super::draft::Draft;
use super::elements::{Occurrence, condition, joined, none_of, whole};
use crate::address::AddressEntry;
use crate::decoder::KnownField;
use crate::field_condition::{FieldCondition, FieldPattern, LineField, ListLookup, Lookup};
use crate::finding::{Finding, Findings, codes, shown};
use crate::pattern::{OsMatch, OsRegex, PatternError, Pcre2};
use crate::ruleset::{Condition, Test};
use crate::source::Span;

use super::text::Text;

/// The ending of the names of elements that hold a PCRE2 expression.
const PCRE2: &str = "_pcre2";

/// The elements whose field must fit a pattern: the name of the plain form, that of the other, the field.
const TEXT_FIELDS: [(&str, &str, LineField); 9] = [
    ("program_name", "program_name_pcre2", LineField::Program),
    ("hostname", "hostname_pcre2", LineField::Host),
    ("user", "user_pcre2", LineField::User),
    ("id", "id_pcre2", LineField::Known(KnownField::Id)),
    ("status", "status_pcre2", LineField::Known(KnownField::Status)),
    ("url", "url_pcre2", LineField::Known(KnownField::Url)),
    ("extra_data", "extra_data_pcre2", LineField::Known(KnownField::ExtraData)),
    ("srcport", "srcport_pcre2", LineField::Known(KnownField::SrcPort)),
    ("dstport", "dstport_pcre2", LineField::Known(KnownField::DstPort)),
];

/// The fields that a list can look up.
const LIST_FIELDS: [(&str, LineField); 11] = [
    ("srcip", LineField::Known(KnownField::SrcIp)),
    ("srcport", LineField::Known(KnownField::SrcPort)),
    ("dstip", LineField::Known(KnownField::DstIp)),
    ("dstport", LineField::Known(KnownField::DstPort)),
    ("user", LineField::UserOfList),
    ("url", LineField::Known(KnownField::Url)),
    ("id", LineField::Known(KnownField::Id)),
    ("hostname", LineField::Host),
    ("program_name", LineField::Program),
    ("status", LineField::Known(KnownField::Status)),
    ("action", LineField::Known(KnownField::Action)),
];

const LOOKUPS: [&str; 6] = [
    "match_key",
    "not_match_key",
    "match_key_value",
    "address_match_key",
    "not_address_match_key",
    "address_match_key_value",
];

/// `program_name`, `user_pcre2` and the like.
pub(super) fn text_field(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let name = elements[0].element.name.as_str();
    let Some((plain, pcre2, field)) =
        TEXT_FIELDS.into_iter().find(|(plain, pcre2, _)| [*plain, *pcre2].contains(&name))
    else {
        return;
    };
    let text = joined(elements);
    let (element, dialect, pattern) = if name.ends_with(PCRE2) {
        let beside = draft.rule.conditions.iter().find(|condition| condition.test.name() == plain);
        // With `url` both forms count.
        if let (Some(beside), false) = (beside, plain == "url") {
            findings.push(
                Finding::new(&codes::CONDITION_DROPPED, format!("`{pcre2}` has no effect beside `{plain}`"))
                    .at(whole(&elements[0]), "not tested")
                    .related(beside.span, "wins")
                    .rule(draft.id)
                    .note("OSSEC does the same")
                    .help(format!("write both conditions as one `{pcre2}`")),
            );
            return;
        }
        (pcre2, Dialect::Pcre2, Pcre2::new(&text.value).map(FieldPattern::Pcre2))
    } else {
        (plain, Dialect::Match, OsMatch::new(&text.value).map(FieldPattern::OsMatch))
    };
    match pattern {
        Ok(pattern) => {
            dialect::look_at(elements, dialect, &text, draft.id, findings);
            condition(draft, elements, Test::Field(FieldCondition::Text { element, field, pattern }));
        }
        Err(error) => findings.push(refused(element, &text, error, draft.id)),
    }
}

/// Exact, case counts, no alternatives.
pub(super) fn action(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let text = joined(elements);
    if text.value.contains('|') {
        findings.push(
            Finding::new(&codes::VALUE_IGNORED, "`|` has no meaning in `action`")
                .at(text.span(), "compared as one text")
                .rule(draft.id)
                .note("OSSEC does the same")
                .help("write a rule for each".to_owned()),
        );
    }
    condition(draft, elements, Test::Field(FieldCondition::Action(text.value)));
}

/// Each must hold, unlike other elements of one name.
pub(super) fn dynamic(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    for occurrence in elements {
        let Some(name) = occurrence.attribute("name") else {
            findings.push(missing("field", "name", occurrence, draft.id));
            continue;
        };
        match OsRegex::new(&occurrence.text.value) {
            Ok(pattern) => {
                dialect::look("field", Dialect::Regex, &occurrence.text, draft.id, findings);
                draft.fields.push(name.clone());
                let test = Test::Field(FieldCondition::Dynamic { name: name.value.clone(), pattern });
                draft.rule.conditions.push(Condition { test, span: whole(occurrence) });
            }
            Err(error) => findings.push(refused("field", &occurrence.text, error, draft.id)),
        }
    }
}

/// `srcip` or `dstip`: one list of all its elements.
pub(super) fn address(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let name = elements[0].element.name.as_str();
    let field = if name == "srcip" { KnownField::SrcIp } else { KnownField::DstIp };
    let mut entries = Vec::new();
    for occurrence in elements {
        let text = &occurrence.text;
        match AddressEntry::read(&text.value) {
            Some(entry) => entries.push(entry),
            None => {
                let trimmed = text.value.trim();
                let help = if AddressEntry::read(trimmed).is_some() {
                    format!("write `{trimmed}`, without white space")
                } else if trimmed.contains(['|', ',']) {
                    format!("write one `{name}` element for each address")
                } else {
                    "an address is written as 10.1.2.3, 10.1.0.0/16 or 2001:db8::/32".to_owned()
                };
                findings.push(
                    Finding::new(&codes::BAD_VALUE, format!("`{name}` can't be `{}`", shown(&text.value)))
                        .at(text.span(), "expected an address, a network or `any`")
                        .rule(draft.id)
                        .help(help),
                );
            }
        }
    }
    condition(draft, elements, Test::Field(FieldCondition::Address { field, entries }));
}

/// `srcgeoip` and the like: OSSEC has them only when it is built for it.
pub(super) fn geoip(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let name = elements[0].element.name.as_str();
    findings.push(
        Finding::new(&codes::FIELD_NEVER_FILLED, format!("`{name}` never holds"))
            .at(whole(&elements[0]), "Tripline does not know where addresses lie")
            .rule(draft.id)
            .help("remove the rule, or write it with `srcip`, `dstip` or `list`".to_owned()),
    );
    let name = match name {
        "srcgeoip" => "srcgeoip",
        "srcgeoip_pcre2" => "srcgeoip_pcre2",
        "dstgeoip" => "dstgeoip",
        _ => "dstgeoip_pcre2",
    };
    condition(draft, elements, Test::Never(name));
}

/// All must hold.
pub(super) fn list(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    for occurrence in elements {
        let field = list_field(occurrence, draft.id, findings);
        let lookup = lookup(occurrence, draft.id, findings);
        if let (Some(field), Some(lookup)) = (field, lookup) {
            let text = &occurrence.text;
            let name = super::lists::name_of(&text.value).to_owned();
            let list = ListLookup { field, lookup, name, span: text.span(), list: None };
            let test = Test::Field(FieldCondition::List(list));
            draft.rule.conditions.push(Condition { test, span: whole(occurrence) });
        }
    }
}

fn list_field(occurrence: &Occurrence<'_>, rule: Option<u32>, findings: &mut Findings) -> Option<LineField> {
    let Some(name) = occurrence.attribute("field") else {
        findings.push(missing("list", "field", occurrence, rule));
        return None;
    };
    let field = LIST_FIELDS.iter().find(|(known, _)| *known == name.value).map(|(_, field)| *field);
    if field.is_none() {
        findings.push(none_of("field", name, LIST_FIELDS.iter().map(|(known, _)| *known), rule));
    }
    field
}

fn lookup(occurrence: &Occurrence<'_>, rule: Option<u32>, findings: &mut Findings) -> Option<Lookup> {
    let name = occurrence.attribute("lookup");
    let lookup = match name.map_or("match_key", |name| name.value.as_str()) {
        "match_key" => Lookup::Key,
        "not_match_key" => Lookup::NotKey,
        "match_key_value" => Lookup::KeyValue(check_value(occurrence, rule, findings)?),
        "address_match_key" => Lookup::Address,
        "not_address_match_key" => Lookup::NotAddress,
        "address_match_key_value" => {
            let pattern = check_value(occurrence, rule, findings)?;
            findings.push(
                Finding::new(&codes::LIST_INVERTED, "`address_match_key_value` holds when the value does not fit")
                    .at(name.map_or(occurrence.element.tag, Text::span), "also when the address is not in the list")
                    .rule(rule)
                    .note("OSSEC does the same")
                    .help("to ask for a value, keep the addresses that have it in a list of their own and use `address_match_key`".to_owned()),
            );
            return Some(Lookup::AddressValueInverted(pattern));
        }
        _ => {
            if let Some(name) = name {
                findings.push(none_of("lookup", name, LOOKUPS.into_iter(), rule));
            }
            return None;
        }
    };
    let is_asked = matches!(lookup, Lookup::KeyValue(_));
    if let Some(value) = occurrence.attribute("check_value").filter(|_| !is_asked) {
        findings.push(
            Finding::new(&codes::VALUE_IGNORED, "`check_value` has no effect: the lookup does not ask for values")
                .at(value.span(), "ignored")
                .rule(rule)
                .help("add `lookup=\"match_key_value\"`, or remove it".to_owned()),
        );
    }
    Some(lookup)
}

fn check_value(occurrence: &Occurrence<'_>, rule: Option<u32>, findings: &mut Findings) -> Option<OsMatch> {
    let Some(text) = occurrence.attribute("check_value") else {
        findings.push(missing("list", "check_value", occurrence, rule));
        return None;
    };
    let pattern =
        OsMatch::new(&text.value).map_err(|error| findings.push(refused("check_value", text, error, rule))).ok()?;
    dialect::look("check_value", Dialect::Match, text, rule, findings);
    Some(pattern)
}

fn missing(element: &str, name: &str, occurrence: &Occurrence<'_>, rule: Option<u32>) -> Finding {
    Finding::new(&codes::MISSING_ATTRIBUTE, format!("`{element}` has no `{name}`"))
        .at(occurrence.element.tag, format!("`{name}` is required"))
        .rule(rule)
}

fn refused(name: &str, text: &Text, error: PatternError, rule: Option<u32>) -> Finding {
    let span: Span = text.span_of(error.start..error.end);
    Finding::new(&codes::BAD_PATTERN, format!("`{name}` can't be compiled: {}", error.message))
        .at(span, "")
        .rule(rule)
        .help(error.help)
}
