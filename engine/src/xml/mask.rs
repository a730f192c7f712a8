//! The pass before quick-xml: the same length, every byte ASCII, and nothing left that is special in XML but not in
//! OSSEC's dialect.

use crate::finding::{Finding, Findings, codes};
use crate::source::Span;

/// A file made readable for quick-xml.
pub(super) struct Masked {
    /// As long as the file, byte for byte.
    pub xml: String,
    /// Where the start tags begin whose attributes are not to be looked at, in order.
    pub damaged: Vec<u32>,
    /// Where a comment or declaration begins that swallows the rest of the file; otherwise the file's length.
    pub end: usize,
}

/// U+FEFF, which some editors put before the text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What begins a declaration of XML behind `<!`. OSSEC reads such a thing as a comment.
const DECLARATIONS: [&str; 5] = ["DOCTYPE", "ENTITY", "ELEMENT", "ATTLIST", "[CDATA["];

/// Stands for any byte that means nothing to XML.
const FILL: u8 = b'x';

/// Masks a file. What is wrong with its tags and comments becomes findings.
pub(super) fn mask(text: &[u8], file: u32, findings: &mut Findings) -> Masked {
    let mut masker = Masker { text, file, findings, out: text.to_vec(), damaged: Vec::new(), end: text.len() };
    let mut at = masker.prologue();
    while at < text.len() {
        at = match text[at] {
            b'\\' if text.get(at + 1) == Some(&b'<') => masker.fill(at, at + 2),
            b'<' if opens_group(text, at) => masker.group(at),
            b'<' if text[at..].starts_with(b"<!--") => masker.comment(at, 4, b"-->"),
            b'<' if text[at..].starts_with(b"<!") => masker.comment(at, 2, b"!>"),
            b'<' if is_tag(&text[at..]) => masker.tag(at),
            b'<' => masker.lone(at),
            b'&' => masker.fill(at, at + 1),
            byte if byte.is_ascii() => at + 1,
            _ => masker.fill(at, at + 1),
        };
    }
    let Masker { out, damaged, end, .. } = masker;
    // All bytes are ASCII by now: `ascii_everywhere` in the tests keeps it so.
    let xml = String::from_utf8(out).unwrap_or_else(|error| {
        error.into_bytes().iter().map(|byte| if byte.is_ascii() { *byte as char } else { FILL as char }).collect()
    });
    Masked { xml, damaged, end }
}

/// One past the last byte of the name that starts at `at`.
pub(super) fn name_end(text: &[u8], at: u32) -> u32 {
    let rest = text.get(at as usize..).unwrap_or_default();
    at + rest.iter().take_while(|byte| is_name(**byte)).count() as u32
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':')
}

/// Whether the `<` at this place belongs to a group of PCRE2.
fn opens_group(text: &[u8], at: usize) -> bool {
    let in_group = text[..at].ends_with(b"(?") || text[..at].ends_with(b"(?P");
    let next = text.get(at + 1).is_some_and(|next| matches!(next, b'=' | b'!' | b'_') || next.is_ascii_alphabetic());
    in_group && next && !text[at..].starts_with(b"<!--")
}

/// Whether a start or end tag begins here.
fn is_tag(rest: &[u8]) -> bool {
    let name = if rest.get(1) == Some(&b'/') { rest.get(2) } else { rest.get(1) };
    name.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
}

struct Masker<'a> {
    text: &'a [u8],
    file: u32,
    findings: &'a mut Findings,
    /// Starts as a copy of `text`; its length never changes.
    out: Vec<u8>,
    damaged: Vec<u32>,
    end: usize,
}

impl Masker<'_> {
    /// Skips a byte-order mark and the `<?xml ?>` declaration.
    fn prologue(&mut self) -> usize {
        let mut at = 0;
        if self.text.starts_with(BYTE_ORDER_MARK) {
            at = BYTE_ORDER_MARK.len();
            self.out[..at].fill(b' ');
        }
        if self.text[at..].starts_with(b"<?") { self.comment(at, 2, b"?>") } else { at }
    }

    fn fill(&mut self, start: usize, end: usize) -> usize {
        for byte in &mut self.out[start..end] {
            // Line breaks stay, so that positions in messages of quick-xml stay readable.
            if *byte != b'\n' {
                *byte = FILL;
            }
        }
        end
    }

    /// A comment becomes a processing instruction, the one thing XML has that may be as short as `<!!>`.
    fn comment(&mut self, start: usize, opening: usize, closing: &[u8]) -> usize {
        let rest = &self.text[start + opening..];
        let end = memmem(rest, closing).map(|length| start + opening + length + closing.len());
        let is_declared = |name: &&str| closing == b"!>" && starts_with(rest, name);
        match DECLARATIONS.into_iter().find(is_declared) {
            Some(name) => {
                let span = self.span(start, start + opening + name.len());
                self.findings.push(declares_nothing(name, end.is_some()).at(span, "begins a comment"));
            }
            None if end.is_none() => {
                let span = self.span(start, start + opening);
                let closing = String::from_utf8_lossy(closing);
                self.findings.push(
                    Finding::new(&codes::COMMENT_NOT_CLOSED, format!("a comment does not end: `{closing}` is missing"))
                        .at(span, "starts here")
                        .note("the rest of the file is part of it"),
                );
            }
            None => {}
        }
        let Some(end) = end else {
            self.end = start;
            self.out[start..].fill(b' ');
            return self.text.len();
        };
        self.fill(start, end);
        self.out[start..start + 2].copy_from_slice(b"<?");
        self.out[end - 2..end].copy_from_slice(b"?>");
        end
    }

    /// `(?<=`, `(?<!` and `(?<name>` of PCRE2: here each has a form without `<`.
    fn group(&mut self, at: usize) -> usize {
        let (instead, what) = match self.text[at + 1] {
            b'=' => ("(*plb:...)", "a look-behind"),
            b'!' => ("(*nlb:...)", "a negative look-behind"),
            _ => ("(?'NAME'...)", "a named group"),
        };
        self.findings.push(
            Finding::new(&codes::BAD_MARKUP, format!("{what} can't be written with `<`, which starts a tag"))
                .at(self.span(at, at + 1), "taken as a tag or a comment by OSSEC")
                .help(format!("write `{instead}`, which means the same")),
        );
        self.fill(at, at + 1)
    }

    fn lone(&mut self, at: usize) -> usize {
        self.findings.push(
            Finding::new(&codes::BAD_MARKUP, "`<` starts no tag")
                .at(self.span(at, at + 1), "no name follows")
                .help("write `\\<` for a literal `<`".to_owned()),
        );
        self.fill(at, at + 1)
    }

    /// A tag from its `<` to behind its `>`. A tag without one gets it in place of its last byte.
    fn tag(&mut self, start: usize) -> usize {
        let is_end = self.text[start + 1] == b'/';
        let mut at = name_end(self.text, start as u32 + if is_end { 2 } else { 1 }) as usize;
        let mut damage = None;
        loop {
            match self.text.get(at) {
                Some(b'>') => {
                    at += 1;
                    break;
                }
                Some(quote @ (b'"' | b'\'')) if damage.is_none() => match self.quoted(at, *quote) {
                    Some(end) => {
                        self.fill(at + 1, end - 1);
                        at = end;
                    }
                    None => {
                        damage = Some(
                            Finding::new(&codes::BAD_ATTRIBUTE, "an attribute's value is not closed")
                                .at(self.span(at, at + 1), "this quote has no partner"),
                        );
                    }
                },
                None | Some(b'<') => {
                    let name = String::from_utf8_lossy(&self.text[start..at.min(start + 40)]).trim_end().to_owned();
                    damage = Some(damage.take().unwrap_or_else(|| {
                        Finding::new(&codes::TAG_NOT_CLOSED, format!("the tag `{}` has no `>`", one_line(&name)))
                            .at(self.span(start, at), "starts here")
                    }));
                    break;
                }
                Some(byte) => {
                    if !byte.is_ascii() {
                        self.fill(at, at + 1);
                    }
                    at += 1;
                }
            }
        }
        let name_end = name_end(self.text, start as u32 + if is_end { 2 } else { 1 }) as usize;
        let extra = &self.text[name_end..at.saturating_sub(1).max(name_end)];
        if is_end && damage.is_none() && !extra.trim_ascii().is_empty() {
            damage = Some(
                Finding::new(&codes::BAD_END_TAG, "an end tag holds more than its name")
                    .at(self.span(name_end, at - 1), "remove this"),
            );
        }
        if let Some(finding) = damage {
            self.findings.push(finding);
            // quick-xml sees `<xxx>` or `</xx>`; the name is read from the original.
            self.out[start..at].fill(FILL);
            self.out[start] = b'<';
            if is_end {
                self.out[start + 1] = b'/';
            }
            self.out[at - 1] = b'>';
            self.damaged.push(start as u32);
        }
        at
    }

    /// Where the value that opens with the quote at `open` ends, one past its closing quote. `None` when a quote is
    /// missing: there is none in the file, or the next one lies beyond a line break or a tag and is followed by
    /// something that can't follow a value, so that it opens another value.
    fn quoted(&self, open: usize, quote: u8) -> Option<usize> {
        let value = &self.text[open + 1..];
        let length = value.iter().position(|byte| *byte == quote)?;
        let beyond = value[..length].iter().any(|byte| matches!(byte, b'\n' | b'<' | b'>'));
        let fits = matches!(value.get(length + 1), None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>'));
        (fits || !beyond).then_some(open + 1 + length + 1)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, start: start as u32, end: end as u32 }
    }
}

fn starts_with(text: &[u8], name: &str) -> bool {
    text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
}

/// What looks like a declaration of XML, behind its `<!`, is a comment.
fn declares_nothing(name: &str, ends: bool) -> Finding {
    let comment = format!("`<!{name}` begins a comment here");
    let finding = match ends {
        true => Finding::new(&codes::ENTITY, comment).note("it ends at the next `!>`, whatever stands before that"),
        false => Finding::new(&codes::COMMENT_NOT_CLOSED, format!("{comment}, and it does not end: `!>` is missing"))
            .note("rule files have no declarations; the rest of the file is part of the comment"),
    };
    finding.help(match name {
        "[CDATA[" => "write the text itself, with `\\<` for a `<`".to_owned(),
        _ => "remove it: entities mean nothing here, and every character but `<` is written as it is".to_owned(),
    })
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn memmem(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
