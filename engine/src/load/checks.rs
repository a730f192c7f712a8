//! What is checked of elements in rule and decoder files alike.

use super::text::{Text, Texts};
use crate::finding::{Finding, Findings, codes, shown};
use crate::source::Span;
use crate::xml::{self, Attribute, Element};

/// Defines what a `<var>` says.
pub(super) fn variable(element: &Element, texts: &mut Texts<'_>, findings: &mut Findings) {
    only_text(element, findings);
    only_attributes(element, &["name"], &[], None, findings);
    let value = texts.take(&element.texts, element.tag, "the variable's text", findings);
    let Some(name) = required(element, "name", None, findings) else { return };
    let name = attribute(name, texts, findings);
    if name.value.is_empty() || name.value.contains(['$', '.', '|', ',', ' ']) {
        findings.push(
            Finding::new(&codes::BAD_VARIABLE, "this is no name for a variable")
                .at(name.span(), "")
                .note("a variable's name ends at `$`, `.`, `|`, `,` and space, so `$NAME` could not reach it")
                .help("use letters, digits and `_`".to_owned()),
        );
        return;
    }
    texts.define(&name.value, &value);
}

/// Reports attributes other than these.
pub(super) fn only_attributes(
    element: &Element,
    known: &[&str],
    not_yet: &[&str],
    rule: Option<u32>,
    findings: &mut Findings,
) {
    for attribute in &element.attributes {
        let name = attribute.name.as_str();
        if known.contains(&name) {
            continue;
        }
        let finding = if not_yet.contains(&name) {
            Finding::new(&codes::NOT_SUPPORTED, format!("the attribute `{name}` is not supported yet"))
                .at(attribute.name_span, "OSSEC has it, this version of Tripline does not")
                .help("take the rule out, or write it without this attribute".to_owned())
        } else {
            let near = super::suggest(name, known.iter().chain(not_yet).copied());
            let help = match known {
                [] => format!("`{}` has no attributes", element.name),
                _ => format!("`{}` may have `{}`", element.name, [known, not_yet].concat().join("`, `")),
            };
            let message = format!("`{}` has no attribute `{}`", element.name, shown(name));
            Finding::new(&codes::UNKNOWN_ATTRIBUTE, message)
                .at(attribute.name_span, "unknown attribute")
                .help(help)
                .meant(near)
        };
        findings.push(finding.rule(rule));
    }
}

/// An attribute that must be there.
pub(super) fn required<'e>(
    element: &'e Element,
    name: &str,
    rule: Option<u32>,
    findings: &mut Findings,
) -> Option<&'e Attribute> {
    let attribute = element.attribute(name);
    if attribute.is_none() && !element.damaged {
        findings.push(
            Finding::new(&codes::MISSING_ATTRIBUTE, format!("`{}` has no `{name}`", element.name))
                .at(element.tag, format!("`{name}` is required"))
                .rule(rule),
        );
    }
    attribute
}

/// The text of an attribute.
pub(super) fn attribute(attribute: &Attribute, texts: &Texts<'_>, findings: &mut Findings) -> Text {
    let owner = format!("`{}`", attribute.name);
    texts.take(&[attribute.value], attribute.value, &owner, findings)
}

/// Reports elements in an element that only holds text.
pub(super) fn only_text(element: &Element, findings: &mut Findings) {
    for child in &element.children {
        // Elements that follow one whose end tag is missing landed in it by that mistake.
        if element.closed {
            findings.push(
                Finding::new(
                    &codes::NESTED_ELEMENT,
                    format!("`{}` stands inside of `{}`", shown(&child.name), element.name),
                )
                .at(child.tag, "only text may stand here")
                .related(element.name_span, "in this element"),
            );
        }
    }
}

/// Reports texts in an element that only holds elements.
pub(super) fn stray_texts(element: &Element, file: &[u8], findings: &mut Findings) {
    for span in &element.texts {
        if !xml::is_blank(&file[span.start as usize..span.end as usize]) {
            findings.push(stray(*span, file));
        }
    }
}

/// A text that stands in no element.
pub(super) fn stray(mut span: Span, file: &[u8]) -> Finding {
    let text = &file[span.start as usize..span.end as usize];
    let blank = text.len() - text.trim_ascii_start().len();
    span.start += blank as u32;
    span.end = span.start + text.trim_ascii().len() as u32;
    Finding::new(&codes::STRAY_TEXT, "text between elements is ignored")
        .at(span, "in no element")
        .help("remove it, or make it a comment: `<!-- -->`".to_owned())
}
