//! `pcre2` and `match_pcre2`.

use super::dialect::{self, Dialect};
use super::draft::Draft;
use super::elements::{Occurrence, condition, joined, whole};
use crate::finding::{Finding, Findings, codes};
use crate::pattern::Pcre2;
use crate::ruleset::Test;

/// `match` wins over it.
pub(super) fn match_pcre2(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    expression(draft, elements, "match_pcre2", "match", findings);
}

/// `regex` wins over it.
pub(super) fn pcre2(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    expression(draft, elements, "pcre2", "regex", findings);
}

fn expression(
    draft: &mut Draft,
    elements: &[Occurrence<'_>],
    name: &'static str,
    winner: &'static str,
    findings: &mut Findings,
) {
    let Some(pattern) = compile(draft, elements, findings) else { return };
    match draft.rule.conditions.iter().find(|condition| condition.test.name() == winner) {
        Some(winning) => findings.push(
            Finding::new(&codes::CONDITION_DROPPED, format!("`{name}` has no effect beside `{winner}`"))
                .at(whole(&elements[0]), "not tested")
                .related(winning.span, "wins")
                .rule(draft.id)
                .note("OSSEC does the same")
                .help(format!("write both conditions as one `{name}`")),
        ),
        None => condition(draft, elements, Test::Pcre2(name, pattern)),
    }
}

/// The expression of some elements that are joined. `None` when it can't be compiled; a finding says so.
pub(super) fn compile(draft: &Draft, elements: &[Occurrence<'_>], findings: &mut Findings) -> Option<Pcre2> {
    let text = joined(elements);
    match Pcre2::new(&text.value) {
        Ok(pattern) => {
            dialect::look_at(elements, Dialect::Pcre2, &text, draft.id, findings);
            Some(pattern)
        }
        Err(error) => {
            let name = &elements[0].element.name;
            let code = if error.unsupported { &codes::NOT_SUPPORTED } else { &codes::BAD_PATTERN };
            findings.push(
                Finding::new(code, format!("`{name}` can't be compiled: {}", error.message))
                    .at(text.span_of(error.start..error.end), "")
                    .rule(draft.id)
                    .help(error.help),
            );
            None
        }
    }
}
