//! What rules name that stands in other files: decoders, their fields, lists.

use std::collections::BTreeSet;

use super::decoders::Loaded;
use super::draft::Draft;
use super::lists::Lists;
use crate::decoder::{Field, KnownField};
use crate::field_condition::FieldCondition;
use crate::finding::{Finding, Findings, codes, shown};
use crate::line::{DECODER_OSSEC, DECODER_TRIPLINE};
use crate::ruleset::{Settings, Test};
use crate::source::SourceFile;

/// The names of the lists that rules look up, without `.cdb`, each once and with the number of the first rule file that
/// names it: whoever loads the files finds out by them which lists to load. What is wrong with the files is not said.
pub fn list_names(rules: &[SourceFile]) -> Vec<(String, usize)> {
    let mut known = BTreeSet::new();
    let mut names = Vec::new();
    for (number, file) in rules.iter().enumerate().filter(|(_, file)| may_name_a_list(&file.text)) {
        let mut drafts = Vec::new();
        super::rules::read(&file.text, 0, &Settings::default(), &mut drafts, &mut Findings::default());
        for condition in drafts.iter().flat_map(|draft| &draft.rule.conditions) {
            if let Test::Field(FieldCondition::List(lookup)) = &condition.test
                && known.insert(lookup.name.clone())
            {
                names.push((lookup.name.clone(), number));
            }
        }
    }
    names
}

/// Whether there is a `<list`, in any case: most files have none and need not be read twice.
fn may_name_a_list(text: &[u8]) -> bool {
    memchr::memchr_iter(b'<', text)
        .any(|at| text.get(at + 1..at + 5).is_some_and(|name| name.eq_ignore_ascii_case(b"list")))
}

/// Checks decoders and fields that rules name, and gives their lists to them.
pub(super) fn resolve(drafts: &mut [Draft], decoders: &Loaded, lists: &Lists, findings: &mut Findings) {
    for draft in drafts {
        decoder(draft, decoders, findings);
        dynamic_fields(draft, decoders, findings);
        for condition in &mut draft.rule.conditions {
            let Test::Field(FieldCondition::List(lookup)) = &mut condition.test else { continue };
            lookup.list = lists.get(&lookup.name).cloned();
            if lookup.list.is_none() {
                let near = super::suggest(&lookup.name, lists.names()).map(|near| format!("did you mean `{near}`?"));
                findings.push(
                    Finding::new(&codes::UNKNOWN_LIST, format!("there is no list `{}`", shown(&lookup.name)))
                        .at(lookup.span, "the rule never holds")
                        .rule(draft.id)
                        .help(near),
                );
            }
        }
    }
}

/// The decoder that `decoded_as` names.
fn decoder(draft: &mut Draft, decoders: &Loaded, findings: &mut Findings) {
    let Some(text) = &draft.decoded_as else { return };
    let name = text.value.as_str();
    let built_in = [DECODER_OSSEC, DECODER_TRIPLINE];
    if built_in.contains(&name) || decoders.is_reported(name) {
        return;
    }
    if let Some(reported) = decoders.reported_instead(name) {
        findings.push(
            Finding::new(&codes::DECODER_NOT_REPORTED, format!("no line is decoded as `{}`", shown(name)))
                .at(text.span(), format!("its lines are decoded as `{reported}`"))
                .rule(draft.id)
                .note("a child has its parent's name unless it says `use_own_name`")
                .help(format!("write `{reported}`, or add `<use_own_name>true</use_own_name>` to the decoder")),
        );
        return;
    }
    if Loaded::is_internal(name) {
        findings.push(
            Finding::new(&codes::INTERNAL_DECODER, format!("no line is decoded as `{name}`"))
                .at(text.span(), "the rule never holds")
                .rule(draft.id)
                .note("OSSEC's agents check files and settings by themselves; Tripline runs commands"),
        );
        return;
    }
    let near = super::suggest(name, decoders.names().chain(built_in)).map(|near| format!("did you mean `{near}`?"));
    let mut finding = Finding::new(&codes::UNKNOWN_DECODER, format!("there is no decoder `{}`", shown(name)))
        .at(text.span(), "unknown decoder")
        .rule(draft.id)
        .help(near.or(Some("load the decoder file that defines it: `--decoders`, or `--ossec-conf` for those of an OSSEC installation".to_owned())));
    if !decoders.given {
        const NOTE: &str = "without decoder files, lines are decoded as `ossec` (outputs of commands) or `tripline` (lines about runs)";
        finding = finding.note(NOTE);
    }
    findings.push(finding);
    draft.broken = true;
}

/// The fields that `field` names: some decoder must find them.
fn dynamic_fields(draft: &Draft, decoders: &Loaded, findings: &mut Findings) {
    for text in &draft.fields {
        let name = text.value.as_str();
        if decoders.has_dynamic_field(name) {
            continue;
        }
        let help = match Field::of_name(&name.to_ascii_lowercase()) {
            Field::Known(field @ (KnownField::Protocol | KnownField::SystemName | KnownField::Filename)) => {
                format!("`{}` is a field of its own that rules can't ask for: use `match` or `regex`", field.name())
            }
            Field::Known(KnownField::SrcUser | KnownField::DstUser) => "use the element `user`".to_owned(),
            Field::Known(field) => format!("use the element `{}`", field.name()),
            Field::Dynamic(_) => match super::suggest(name, decoders.dynamic_fields()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name it in the `order` of a decoder".to_owned(),
            },
        };
        findings.push(
            Finding::new(&codes::FIELD_NEVER_FILLED, format!("no decoder finds a field `{}`", shown(name)))
                .at(text.span(), "the rule never holds")
                .rule(draft.id)
                .help(help),
        );
    }
}
