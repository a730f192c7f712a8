//! OSSEC's dialect of XML, as far as its configuration files use it, on top of quick-xml.
//!
//! The dialect has no entities, so that `&&` and `2>&1` are plain text; `\<` is a text of these two characters;
//! comments are also written `<! so !>`; a file may have several root elements; names ignore case, also between
//! start and end tag. [`mask`] hides from quick-xml what it would stumble over; it keeps line breaks, so that line
//! numbers hold.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Stands for `\<`. These three are code points that Unicode leaves to private use.
const ESCAPED_LT: char = '\u{f8f0}';
/// Stands for `&`.
const AMPERSAND: char = '\u{f8f1}';
/// Stands for a `<` that starts no markup.
const BARE_LT: char = '\u{f8f2}';

/// Elements nested deeper than this are refused. Configurations need four levels.
const DEPTH_MAX: usize = 32;
/// Texts with more elements than this are refused.
const ELEMENTS_MAX: usize = 200_000;

/// An element with everything in it.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// In lower case.
    pub(super) name: String,
    /// Names in lower case, with values.
    pub(super) attributes: Vec<(String, String)>,
    /// The text of the element itself, that of its children left out.
    pub(super) text: String,
    /// Child elements in order.
    pub(super) children: Vec<Element>,
    /// Where it starts, from 1.
    pub(super) line: usize,
}

impl Element {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The line of the first child of this name, or its own when there is none.
    pub(super) fn child_line(&self, name: &str) -> usize {
        self.child(name).map_or(self.line, |child| child.line)
    }

    /// The value of this attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A text is not in OSSEC's dialect.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct XmlError {
    /// Where, from 1.
    pub(super) line: usize,
    /// What is wrong.
    pub(super) what: String,
}

/// Reads a text to its root elements, in a time that grows with its length and no faster.
pub(super) fn read(text: &str) -> Result<Vec<Element>, XmlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(at) = text.find([ESCAPED_LT, AMPERSAND, BARE_LT]) {
        let what = "a character of Unicode's private use area (U+F8F0 to U+F8F2) can't be read here".to_owned();
        return Err(XmlError { line: line_at(text, at), what });
    }
    let masked = mask(text);
    let mut reader = Reader::from_str(&masked);
    reader.config_mut().check_end_names = false; // Names are compared below, without case.
    reader.config_mut().allow_unmatched_ends = true;

    // The first element is a root of roots; the last is the one that is open.
    let mut open = vec![Element::default()];
    let mut lines = Lines::new(&masked);
    let mut elements = 0;
    loop {
        let line = lines.at(usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX));
        let event = reader.read_event().map_err(|error| {
            let at = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
            XmlError { line: line_at(&masked, at), what: error.to_string() }
        })?;
        match event {
            Event::Start(start) | Event::Empty(start) if elements == ELEMENTS_MAX || open.len() > DEPTH_MAX => {
                return Err(too_much(&start, elements == ELEMENTS_MAX, line));
            }
            Event::Start(start) => {
                elements += 1;
                open.push(element(&start, line)?);
            }
            Event::Empty(start) => {
                elements += 1;
                let element = element(&start, line)?;
                innermost(&mut open).children.push(element);
            }
            Event::End(end) => {
                let name = end.name().as_ref().to_lowercase();
                let closed = innermost(&mut open);
                if is_root_of_roots(closed) || closed.name != name {
                    return Err(mismatch(closed, &name, line));
                }
                let closed = std::mem::take(closed);
                open.pop();
                innermost(&mut open).children.push(closed);
            }
            Event::Text(text) => innermost(&mut open).text.push_str(&unmask(&text.into_inner())),
            Event::CData(text) => innermost(&mut open).text.push_str(&unmask(&text.into_inner())),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::GeneralRef(_) => {}
        }
    }
    if open.len() > 1 {
        let last = innermost(&mut open);
        let what = format!("`<{}>` is never closed; expected `</{}>`", last.name, last.name);
        return Err(XmlError { line: last.line, what });
    }
    Ok(std::mem::take(&mut innermost(&mut open).children))
}

fn innermost(open: &mut [Element]) -> &mut Element {
    open.last_mut().expect("the root of roots is never closed")
}

/// Only the root of roots has no line.
fn is_root_of_roots(element: &Element) -> bool {
    element.line == 0
}

fn mismatch(open: &Element, found: &str, line: usize) -> XmlError {
    let what = if is_root_of_roots(open) {
        format!("`</{found}>` closes nothing")
    } else {
        format!(
            "`</{found}>` was found where `</{}>` should close line {}; a literal `<` is written `\\<`",
            open.name, open.line
        )
    };
    XmlError { line, what }
}

fn too_much(start: &BytesStart<'_>, elements: bool, line: usize) -> XmlError {
    let what = match elements {
        true => format!("the file has more than {ELEMENTS_MAX} elements; is it OSSEC's configuration?"),
        false => {
            let name = start.name().as_ref().to_lowercase();
            format!("`<{name}>` is nested more than {DEPTH_MAX} deep; look for elements that are not closed")
        }
    };
    XmlError { line, what }
}

fn element(start: &BytesStart<'_>, line: usize) -> Result<Element, XmlError> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute =
            attribute.map_err(|error| XmlError { line, what: format!("an attribute can't be read: {error}") })?;
        attributes.push((attribute.key.as_ref().to_lowercase(), unmask(&attribute.value)));
    }
    Ok(Element { name: start.name().as_ref().to_lowercase(), attributes, line, ..Element::default() })
}

/// Replaces what quick-xml reads otherwise than OSSEC. Line breaks stay where they are.
fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '\\']) {
        masked.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = if rest.starts_with("\\<") {
            masked.push(ESCAPED_LT);
            2
        } else if rest.starts_with('\\') {
            masked.push('\\');
            1
        } else if rest.starts_with('&') {
            masked.push(AMPERSAND);
            1
        } else if rest.starts_with("<!--") {
            let end = rest.find("-->").map_or(rest.len(), |end| end + 3);
            masked.push_str(&rest[..end]);
            end
        } else if rest.starts_with("<!") && !rest.starts_with("<![CDATA[") && !rest.starts_with("<!DOCTYPE") {
            match rest[2..].find("!>") {
                Some(len) => {
                    masked.push_str("<!--");
                    masked.push_str(&rest[2..2 + len].replace('>', " "));
                    masked.push_str("-->");
                    2 + len + 2
                }
                None => {
                    masked.push_str("<!--"); // Never closed; quick-xml reports it with its place.
                    masked.push_str(&rest[2..].replace('>', " "));
                    rest.len()
                }
            }
        } else if rest[1..]
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/' || c == '?' || c == '!')
        {
            masked.push('<');
            1
        } else {
            masked.push(BARE_LT);
            1
        };
        rest = &rest[taken..];
    }
    masked.push_str(rest);
    masked
}

fn unmask(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ESCAPED_LT => plain.push_str("\\<"),
            AMPERSAND => plain.push('&'),
            BARE_LT => plain.push('<'),
            c => plain.push(c),
        }
    }
    plain
}

/// Counts lines from one position to the next, each byte once.
struct Lines<'a> {
    text: &'a str,
    position: usize,
    line: usize,
}

impl Lines<'_> {
    fn new(text: &str) -> Lines<'_> {
        Lines { text, position: 0, line: 1 }
    }

    /// The line of a position, from 1. Positions never go back.
    fn at(&mut self, position: usize) -> usize {
        let position = position.clamp(self.position, self.text.len());
        let passed = &self.text.as_bytes()[self.position..position];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.position = position;
        self.line
    }
}

fn line_at(text: &str, position: usize) -> usize {
    let end = position.min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
}
