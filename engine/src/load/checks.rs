//! What is checked of elements in rule and decoder files alike.

use super::text::{Text, Texts};
use super::{change, dialect};
use crate::finding::{Finding, Findings, codes, shown};
use crate::source::Span;
use crate::xml::{self, Attribute, Element};

/// Defines what a `<var>` says.
pub(super) fn variable(element: &Element, texts: &mut Texts<'_>, findings: &mut Findings) {
    only_text(element, findings);
    only_attributes(element, &["name"], &[], None, findings);
    entities(element, texts.file(), None, findings);
    let value = texts.take(&element.texts, element.tag, "the variable's text", findings);
    let Some(name) = required(element, "name", None, findings) else { return };
    let place = name.value;
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
    if value.value.is_empty() && element.closed && element.texts.is_empty() {
        findings.push(
            Finding::new(&codes::VALUE_IGNORED, format!("the variable `{}` is empty", shown(&name.value)))
                .at(element.tag, "its uses stand for nothing")
                .help("give it a text, or remove it and its uses".to_owned()),
        );
    }
    if let Some(first) = texts.define(&name.value, &value, place) {
        findings.push(
            Finding::new(&codes::CONTRADICTION, format!("the variable `{}` is defined twice", shown(&name.value)))
                .at(place, "counts from here on")
                .related(first, "counts up to here")
                .help("give one of them another name, or remove it".to_owned()),
        );
    }
}

/// Attributes by which Wazuh has patterns in other dialects, and negated ones.
const WAZUH_ATTRIBUTES: [&str; 2] = ["negate", "type"];

/// Whether an attribute is one that Wazuh has on elements that OSSEC has too.
fn is_of_wazuh(element: &Element, attribute: &Attribute) -> bool {
    const OTHERS: [&str; 6] = ["field", "action", "srcip", "dstip", "if_matched_regex", "if_matched_group"];
    let name = element.name.as_str();
    let has_pattern = dialect::pcre2_twin(name).is_some() || name.ends_with("pcre2") || OTHERS.contains(&name);
    has_pattern && WAZUH_ATTRIBUTES.contains(&attribute.name.as_str())
}

/// Whether an element's pattern is not read as OSSEC reads it: then nothing can be said of it.
pub(super) fn is_read_otherwise(element: &Element) -> bool {
    element.attributes.iter().any(|attribute| is_of_wazuh(element, attribute))
}

fn wazuh_attribute(element: &Element, attribute: &Attribute) -> Finding {
    let twin = match element.attribute(change::ON) {
        Some(_) => Some("pcre2"),
        None => dialect::pcre2_twin(&element.name),
    };
    let (name, element) = (attribute.name.as_str(), element.name.as_str());
    let help = match (name, twin) {
        ("negate", _) => "there is no negation: give the lines that are not meant a rule of level 0 beside this one, or write PCRE2 with `(?!...)`".to_owned(),
        (_, Some(twin)) => format!("remove it: `{element}` has one dialect; PCRE2 is written as `<{twin}>`"),
        (_, None) => format!("remove it: `{element}` has one dialect"),
    };
    Finding::new(&codes::WAZUH_ONLY, format!("the attribute `{name}` of `{element}` is Wazuh's, not OSSEC's"))
        .at(attribute.name_span, "not part of OSSEC's rule language")
        .help(help)
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
        let finding = if is_of_wazuh(element, attribute) {
            wazuh_attribute(element, attribute)
        } else if not_yet.contains(&name) {
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
    if attribute.is_none() && !element.damaged && !is_misspelt(element, name) {
        findings.push(
            Finding::new(&codes::MISSING_ATTRIBUTE, format!("`{}` has no `{name}`", element.name))
                .at(element.tag, format!("`{name}` is required"))
                .rule(rule),
        );
    }
    attribute
}

/// Whether an attribute that is missing is there under a name like it: then the finding about that name is enough.
pub(super) fn is_misspelt(element: &Element, name: &str) -> bool {
    element.attributes.iter().any(|attribute| super::suggest(&attribute.name, std::iter::once(name)).is_some())
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
                .related(element.name_span, "in this element")
                .help(match element.texts.iter().any(|text| text.end > text.start) {
                    true => format!("end `{}` before it, or write `\\<` if a `<` is meant", element.name),
                    false => format!("`{}` holds a text alone: put `{}` beside it", element.name, shown(&child.name)),
                }),
            );
        }
    }
}

/// Reports the first entity of XML in the texts of an element that is a condition: it stands for itself, as in OSSEC.
pub(super) fn entities(element: &Element, file: &[u8], rule: Option<u32>, findings: &mut Findings) {
    let texts = element.texts.iter();
    let found = texts.filter_map(|text| {
        let start = text.start as usize;
        let (at, entity, means) = entity(&file[start..text.end as usize])?;
        let at = (start + at) as u32;
        Some((Span { start: at, end: at + entity.len() as u32, ..*text }, entity, means))
    });
    let Some((span, entity, means)) = { found }.next() else { return };
    let help = match means {
        '<' if reads_escapes(&element.name) => "write `\\<` for a `<`".to_owned(),
        '<' => format!("`{}` can't ask for a `<`: use `regex` or `pcre2` and write `\\<`", element.name),
        other => format!("write `{other}` itself"),
    };
    findings.push(
        Finding::new(&codes::ENTITY, format!("`{entity}` stands for itself and not for `{means}`"))
            .at(span, format!("a text of {} characters", entity.len()))
            .rule(rule)
            .note("OSSEC's rule files have no entities")
            .help(help),
    );
}

/// Whether `\<` in the pattern of such an element fits `<`. In the others a backslash is a backslash.
fn reads_escapes(element: &str) -> bool {
    const OS_REGEX: [&str; 4] = ["field", "prematch", "ignore_lines", "replace"];
    element.contains("regex") || element.contains("pcre2") || OS_REGEX.contains(&element)
}

/// The first entity of a text that XML knows by itself: where it stands, how it is written, what it means in XML.
fn entity(text: &[u8]) -> Option<(usize, &str, char)> {
    memchr::memchr_iter(b'&', text).find_map(|at| {
        let rest = &text[at + 1..];
        // The longest is `&#1114111;`, apart from zeros that nobody writes.
        let length = rest.iter().take(12).position(|byte| *byte == b';')?;
        let name = std::str::from_utf8(&rest[..length]).ok()?;
        let means = match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let digits = name.strip_prefix('#')?;
                let number = match digits.strip_prefix(['x', 'X']) {
                    Some(digits) => u32::from_str_radix(digits, 16),
                    None => digits.parse(),
                };
                number.ok().and_then(char::from_u32)?
            }
        };
        Some((at, std::str::from_utf8(&text[at..at + length + 2]).ok()?, means))
    })
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
