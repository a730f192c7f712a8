//! Patterns that compile and mean something else than they seem to: signs of another dialect, line breaks, alternatives
//! that fit everything, texts that run together.
//!
//! Whoever knows other regular expressions writes `.*`, `[0-9]+` or `\.` where they stand for themselves. Such a rule
//! loads, and then never holds. These are lints: nothing is said of what may well be meant, such as `select+` in a URL,
//! `[drivers]` or a path of Windows.

mod everything;
mod in_match;
mod in_regex;
mod line_break;
mod signs;

pub(super) use signs::pcre2_twin;

use super::elements::Occurrence;
use super::text::Text;
use crate::finding::{Finding, Findings, codes, shown};

/// In which of the three dialects a pattern is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Literals alone.
    Match,
    /// OSSEC's small regular expressions.
    Regex,
    /// What everybody knows.
    Pcre2,
}

/// Looks at the pattern of elements that are joined, as [`look`]; what stands in one that is not closed is not known.
pub(super) fn look_at(
    elements: &[Occurrence<'_>],
    dialect: Dialect,
    text: &Text,
    rule: Option<u32>,
    findings: &mut Findings,
) {
    if !elements.iter().all(|occurrence| occurrence.element.closed) || !findings.looks_for_lints() {
        return;
    }
    let name = &elements[0].element.name;
    if text.value.is_empty() {
        findings.push(
            Finding::new(&codes::FITS_EVERYTHING, format!("`{name}` is empty, and fits every text"))
                .at(elements[0].element.tag, "asks for nothing")
                .rule(rule)
                .help("write what is meant, or remove the element".to_owned()),
        );
    }
    if let Some([one, next]) = elements.windows(2).find(|pair| run_together(&pair[0].text, &pair[1].text)) {
        let times = if elements.len() == 2 { "twice".to_owned() } else { format!("{} times", elements.len()) };
        let message = format!("`{name}` stands {times}, and asks for `{}`", shown(&text.value));
        findings.push(
            Finding::new(&codes::TEXTS_RUN_TOGETHER, message)
                .at(next.text.span(), "follows the other with nothing between")
                .related(one.text.span(), "the other")
                .rule(rule),
        );
    }
    look(name, dialect, text, rule, findings);
}

/// Whether two texts are joined in the middle of an alternative. Who goes on in another element for want of room mostly
/// does so at a space.
fn run_together(one: &Text, next: &Text) -> bool {
    let parts = |character: char| character == '|' || character.is_whitespace();
    match (one.value.chars().next_back(), next.value.chars().next()) {
        (Some(last), Some(first)) => !parts(last) && !parts(first),
        _ => false,
    }
}

/// Looks at the pattern of an element, or of an attribute, that has been compiled.
pub(super) fn look(element: &str, dialect: Dialect, text: &Text, rule: Option<u32>, findings: &mut Findings) {
    if !findings.looks_for_lints() {
        return;
    }
    // In decoders, which belong to no rule, they fill fields.
    let takes_groups = rule.is_none() || ["ignore_key", "replace"].contains(&element);
    let found = [
        line_break::found(element, dialect, text),
        signs::found(element, dialect, text, takes_groups),
        everything::found(element, dialect, text),
    ];
    found.into_iter().flatten().for_each(|finding| findings.push(finding.rule(rule)));
}
