//! OSSEC's dialect of XML: a tree of elements with the places of everything.
//!
//! It is not quite XML. A file has several roots; `\<` is a literal `<` and the backslash stays; `&` is a character
//! like any other, since there are no entities; comments are `<!-- -->` or `<! !>`; an end tag may differ in case from
//! its start tag; white space in texts is kept. A first pass ([`mask`]) rewrites these into plain ASCII XML of the same
//! length, quick-xml reads that, and names, values and texts are then taken from the original bytes at the same places.
//!
//! Reading never stops at the first mistake: each becomes a [`Finding`], and the tree holds what could be understood.
//! It is bounded too, see the `_MAX` constants.

mod mask;

use quick_xml::events::attributes::{AttrError, Attribute as RawAttribute};
use quick_xml::events::{BytesStart, Event};

pub(crate) use mask::BYTE_ORDER_MARK;

use crate::finding::{Finding, Findings, codes, shown};
use crate::source::Span;

/// Files larger than this, in bytes, are refused.
pub const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Elements nested deeper than this are left out. Rule files need 3.
pub const DEPTH_MAX: usize = 32;
/// Elements after this many in one file are left out.
pub const ELEMENTS_MAX: usize = 200_000;
/// Attributes after this many in one tag are left out. OSSEC's rules have at most 9.
pub const ATTRIBUTES_MAX: usize = 32;

/// What word processors write for quotes.
const CURLY_QUOTES: [&str; 5] = ["\u{201c}", "\u{201d}", "\u{201e}", "\u{2018}", "\u{2019}"];

/// What a file holds.
#[derive(Debug, Default)]
pub struct Document {
    /// The elements that stand in no other.
    pub roots: Vec<Element>,
    /// Texts outside of elements, white space alone left out.
    pub stray: Vec<Span>,
}

/// One element with everything in it.
#[derive(Debug)]
pub struct Element {
    /// In lower case: names ignore case.
    pub name: String,
    /// The name in the start tag.
    pub name_span: Span,
    /// The whole start tag, from `<` to `>`.
    pub tag: Span,
    /// In their order; of repeated ones only the first.
    pub attributes: Vec<Attribute>,
    /// The stretches of text, comments and elements between them left out.
    pub texts: Vec<Span>,
    /// The elements in it.
    pub children: Vec<Element>,
    /// The end tag was found. When not, a finding says so, and more may have landed in the element than belongs to it.
    pub closed: bool,
    /// The start tag is broken, and a finding says so: attributes may be missing through no fault of their own.
    pub damaged: bool,
}

/// One attribute.
#[derive(Debug)]
pub struct Attribute {
    /// In lower case: names ignore case.
    pub name: String,
    /// The name.
    pub name_span: Span,
    /// The value, without its quotes.
    pub value: Span,
}

impl Element {
    /// The attribute of this name (in lower case).
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

/// Reads a whole file. `file` is the index that spans get.
pub(crate) fn parse(text: &[u8], file: u32, findings: &mut Findings) -> Document {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file is too large: it has more than {FILE_BYTES_MAX} bytes");
        findings.push(Finding::new(&codes::FILE_TOO_LARGE, message).at(Span { file, start: 0, end: 0 }, ""));
        return Document::default();
    }
    if let Some(finding) = not_utf8(text, file) {
        findings.push(finding);
        return Document::default();
    }
    let masked = mask::mask(text, file, findings);
    Builder {
        text,
        file,
        findings,
        damaged: &masked.damaged,
        document: Document::default(),
        open: Vec::new(),
        too_deep: 0,
        elements: 0,
    }
    .build(&masked.xml, masked.end)
}

/// Turns quick-xml's events into the tree.
struct Builder<'a> {
    text: &'a [u8],
    file: u32,
    findings: &'a mut Findings,
    /// Where the damaged start tags begin, in order.
    damaged: &'a [u32],
    document: Document,
    /// The elements whose end tag has not come yet. Never more than [`DEPTH_MAX`].
    open: Vec<Element>,
    /// How many more are open below those, left out.
    too_deep: usize,
    /// How many elements there were.
    elements: usize,
}

impl Builder<'_> {
    fn build(mut self, xml: &str, end: usize) -> Document {
        let mut reader = quick_xml::Reader::from_str(&xml[..end]);
        reader.config_mut().check_end_names = false;
        reader.config_mut().allow_unmatched_ends = true;
        loop {
            let start = reader.buffer_position() as u32;
            let event = reader.read_event();
            let span = Span { file: self.file, start, end: reader.buffer_position() as u32 };
            match event {
                Ok(Event::Start(tag)) => self.start(xml, &tag, span, false),
                Ok(Event::Empty(tag)) => self.start(xml, &tag, span, true),
                Ok(Event::End(_)) => self.end(span),
                Ok(Event::Text(_)) => self.text(span),
                Ok(Event::Eof) => break,
                // Comments and the declaration.
                Ok(_) => {}
                // Masking leaves nothing that quick-xml refuses; should it do so all the same, say it.
                Err(error) => {
                    let at = (reader.error_position() as u32).min(span.end);
                    let place = Span { file: self.file, start: at, end: at };
                    self.findings.push(Finding::new(&codes::BAD_MARKUP, error.to_string()).at(place, ""));
                    break;
                }
            }
        }
        while let Some(element) = self.open.pop() {
            // In a file whose end is lost in a comment the end tags are lost with it: one finding is enough.
            if end < self.text.len() {
                self.attach(element);
            } else {
                self.unclosed(element);
            }
        }
        self.document
    }

    fn start(&mut self, xml: &str, tag: &BytesStart<'_>, span: Span, empty: bool) {
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            if self.elements == ELEMENTS_MAX + 1 {
                let message = format!("the file holds more than {ELEMENTS_MAX} elements");
                self.findings.push(Finding::new(&codes::TOO_MANY_ELEMENTS, message).at(span, "left out from here on"));
            }
            return;
        }
        if self.open.len() == DEPTH_MAX {
            if self.too_deep == 0 {
                let message = format!("elements are nested deeper than {DEPTH_MAX}");
                self.findings.push(Finding::new(&codes::TOO_DEEP, message).at(span, "left out"));
            }
            self.too_deep += usize::from(!empty);
            return;
        }
        let name_span = Span { start: span.start + 1, end: mask::name_end(self.text, span.start + 1), ..span };
        let mut element = Element {
            name: String::from_utf8_lossy(self.bytes(name_span)).to_ascii_lowercase(),
            name_span,
            tag: span,
            attributes: Vec::new(),
            texts: Vec::new(),
            children: Vec::new(),
            closed: empty,
            damaged: self.damaged.binary_search(&span.start).is_ok(),
        };
        if !element.damaged {
            self.attributes(xml, tag, &mut element);
        }
        if empty {
            self.attach(element);
        } else {
            self.open.push(element);
        }
    }

    fn attributes(&mut self, xml: &str, tag: &BytesStart<'_>, element: &mut Element) {
        let found = &mut element.attributes;
        for attribute in tag.attributes().with_checks(false).take(ATTRIBUTES_MAX + 1) {
            let RawAttribute { key, value } = match attribute {
                Ok(attribute) => attribute,
                Err(error) => {
                    let finding = bad_attribute(&error, element.tag);
                    let rest = finding.span.map_or(&b""[..], |at| self.bytes(Span { end: element.tag.end, ..at }));
                    let is_curly = CURLY_QUOTES.iter().any(|quote| rest.starts_with(quote.as_bytes()));
                    let help = is_curly.then(|| "write straight quotes: `\"`".to_owned());
                    self.findings.push(finding.help(help));
                    element.damaged = true;
                    continue;
                }
            };
            let name_span = self.place_of(xml, key.as_ref());
            let name = String::from_utf8_lossy(self.bytes(name_span)).to_ascii_lowercase();
            if found.len() == ATTRIBUTES_MAX {
                let message = format!("a tag has more than {ATTRIBUTES_MAX} attributes");
                self.findings.push(Finding::new(&codes::BAD_ATTRIBUTE, message).at(name_span, "left out from here on"));
            } else if let Some(first) = found.iter().find(|attribute| attribute.name == name) {
                self.findings.push(
                    Finding::new(&codes::REPEATED_ATTRIBUTE, format!("`{}` is given twice", shown(&name)))
                        .at(name_span, "again")
                        .related(first.name_span, "first")
                        .note("the first one is taken here, to look at the rest; OSSEC refuses it")
                        .help(format!("remove one `{}`", shown(&name))),
                );
            } else {
                found.push(Attribute { name, name_span, value: self.place_of(xml, &value) });
            }
        }
    }

    /// Where a part of the masked text lies, from its address: quick-xml hands out parts of what it reads.
    fn place_of(&self, xml: &str, part: &str) -> Span {
        let start = (part.as_ptr() as usize).saturating_sub(xml.as_ptr() as usize).min(xml.len());
        Span { file: self.file, start: start as u32, end: (start + part.len()).min(xml.len()) as u32 }
    }

    fn end(&mut self, span: Span) {
        if self.elements > ELEMENTS_MAX {
            return;
        }
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        let name_span = Span { start: span.start + 2, end: mask::name_end(self.text, span.start + 2), ..span };
        let name = String::from_utf8_lossy(self.bytes(name_span)).to_ascii_lowercase();
        if let Some(at) = self.open.iter().rposition(|element| element.name == name) {
            while self.open.len() > at + 1 {
                let element = self.open.pop().expect("longer than `at`");
                self.unclosed(element);
            }
            let mut element = self.open.pop().expect("`at` is its place");
            element.closed = true;
            self.attach(element);
            return;
        }
        let message = format!("`</{}>` closes nothing", shown(&name));
        let finding = Finding::new(&codes::BAD_END_TAG, message).at(name_span, "no such element is open");
        // A misspelt end tag still ends its element: that gives one finding instead of many.
        match self.open.pop() {
            Some(mut element) if element.children.is_empty() && is_misspelt(&name, &element.name) => {
                let help = format!("write `</{}>`, unless the start tag is the one that is wrong", element.name);
                self.findings.push(finding.related(element.name_span, "this element is open").help(help));
                element.closed = true;
                self.attach(element);
            }
            element => {
                self.findings.push(finding);
                self.open.extend(element);
            }
        }
    }

    fn text(&mut self, mut span: Span) {
        if span.start == 0 && self.text.starts_with(BYTE_ORDER_MARK) {
            span.start = BYTE_ORDER_MARK.len() as u32;
        }
        if self.too_deep > 0 || self.bytes(span).is_empty() {
            return;
        }
        let blank = is_blank(self.bytes(span));
        match self.open.last_mut() {
            Some(element) => element.texts.push(span),
            None if blank => {}
            None => self.document.stray.push(span),
        }
    }

    fn unclosed(&mut self, element: Element) {
        let message = format!("`{}` is not closed", shown(&element.name));
        let help = format!("add `</{}>` where it ends", shown(&element.name));
        self.findings.push(Finding::new(&codes::NOT_CLOSED, message).at(element.tag, "opened here").help(help));
        self.attach(element);
    }

    fn attach(&mut self, element: Element) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.document.roots.push(element),
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        &self.text[span.start as usize..span.end as usize]
    }
}

/// What there is to say of a file of another encoding than UTF-8, once, when its first bytes show it: UTF-16 has a mark of
/// its own, or a NUL in each character of ASCII.
pub(crate) fn not_utf8(text: &[u8], file: u32) -> Option<Finding> {
    let shows = match text {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [first, 0, ..] | [0, first, ..] => *first != 0,
        _ => false,
    };
    shows.then(|| {
        Finding::new(&codes::NOT_UTF8, "the file is UTF-16 and not UTF-8")
            .at(Span { file, start: 0, end: 2 }, "these bytes show it")
            .note("nothing of it is loaded")
            .help("save the file as UTF-8".to_owned())
    })
}

/// White space alone.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.trim_ascii().is_empty()
}

/// Whether a name was probably meant to be the other. Long names are none of OSSEC's and would take long to compare.
fn is_misspelt(name: &str, meant: &str) -> bool {
    name.len() <= 64 && meant.len() <= 64 && strsim::jaro_winkler(name, meant) > 0.75
}

fn bad_attribute(error: &AttrError, tag: Span) -> Finding {
    let (message, at) = match error {
        AttrError::ExpectedEq(at) => ("an attribute has no `=`", *at),
        AttrError::ExpectedValue(at) => ("an attribute has no value", *at),
        AttrError::UnquotedValue(at) => ("an attribute's value has no quotes", *at),
        AttrError::ExpectedQuote(at, _) => ("an attribute's value is not closed", *at),
        AttrError::Duplicated(at, _) => ("an attribute is given twice", *at),
    };
    // quick-xml counts from behind the `<`.
    let at = (tag.start + 1 + at as u32).min(tag.end - 1);
    Finding::new(&codes::BAD_ATTRIBUTE, message).at(Span { start: at, end: at + 1, ..tag }, "expected `name=\"value\"`")
}

#[cfg(test)]
pub(crate) mod tests;
