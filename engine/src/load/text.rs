//! Texts of rule files, after variables are put in, that still know where each byte came from.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::finding::codes::Code;
use crate::finding::{Finding, Findings, codes, shown};
use crate::source::Span;

/// One text, or one joined text, of a rule file must be shorter than this, in bytes: OSSEC drops longer ones.
pub(crate) const TEXT_BYTES_LIMIT: usize = 2048;

/// The text of an element or attribute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    pub value: String,
    /// It was too long, so that `value` is empty; a finding says so.
    pub dropped: bool,
    /// Where the parts of `value` came from, in order, without gaps.
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    /// Where the part begins in `value`.
    start: usize,
    /// Where it came from.
    span: Span,
    /// Byte for byte; otherwise the whole part stands for the whole span, as a variable's value does.
    exact: bool,
}

impl Text {
    fn push(&mut self, value: &str, span: Span, exact: bool) {
        if !value.is_empty() || self.parts.is_empty() {
            self.parts.push(Part { start: self.value.len(), span, exact });
            self.value.push_str(value);
        }
    }

    /// Adds another text behind this one with nothing in between, as OSSEC joins repeated elements.
    pub fn join(&mut self, other: &Text) {
        let offset = self.value.len();
        self.parts.extend(other.parts.iter().map(|part| Part { start: offset + part.start, ..part.clone() }));
        self.value.push_str(&other.value);
        self.dropped |= other.dropped;
    }

    /// Where a stretch of `value` came from: from its first byte to its last, with whatever lies between them in the
    /// file. A stretch of a variable's value came from the place where the variable is used.
    pub fn span_of(&self, range: Range<usize>) -> Span {
        let (Some(first), Some(last)) =
            (self.part_at(range.start), self.part_at(range.end.saturating_sub(1).max(range.start)))
        else {
            return Span::default();
        };
        let start = if first.exact { first.span.start + (range.start - first.start) as u32 } else { first.span.start };
        let end = if last.exact { last.span.start + (range.end - last.start) as u32 } else { last.span.end };
        Span { file: first.span.file, start, end: end.max(start) }
    }

    /// Whether a stretch of `value` stands in one place of the file byte for byte, so that it can be replaced there.
    pub fn is_exact(&self, range: Range<usize>) -> bool {
        let last = self.part_at(range.end.saturating_sub(1).max(range.start));
        self.part_at(range.start).zip(last).is_some_and(|(first, last)| first.exact && std::ptr::eq(first, last))
    }

    /// A text that stands at the start of a file.
    #[cfg(test)]
    pub fn of(value: &str) -> Text {
        let mut text = Text::default();
        text.push(value, Span { file: 0, start: 0, end: value.len() as u32 }, true);
        text
    }

    /// Where all of it came from.
    pub fn span(&self) -> Span {
        self.span_of(0..self.value.len())
    }

    fn part_at(&self, at: usize) -> Option<&Part> {
        let after = self.parts.partition_point(|part| part.start <= at);
        self.parts.get(after.saturating_sub(1))
    }
}

/// Takes texts out of one file: checks that they are UTF-8 and not too long, and puts in the file's variables.
pub(crate) struct Texts<'a> {
    file: &'a [u8],
    /// A text must be shorter than this, in bytes.
    bytes_limit: usize,
    /// Those defined so far, by name in lower case.
    variables: BTreeMap<String, Variable>,
}

struct Variable {
    /// As its definition writes it.
    name: String,
    value: String,
    /// Where its name stands.
    place: Span,
}

impl<'a> Texts<'a> {
    /// Of a rule file.
    pub fn new(file: &'a [u8]) -> Texts<'a> {
        Texts::with_limit(file, TEXT_BYTES_LIMIT)
    }

    /// Of a file whose texts must be shorter than this, in bytes.
    pub fn with_limit(file: &'a [u8], bytes_limit: usize) -> Texts<'a> {
        Texts { file, bytes_limit, variables: BTreeMap::new() }
    }

    /// The file.
    pub fn file(&self) -> &'a [u8] {
        self.file
    }

    /// Defines a variable for the texts taken from now on; a later definition wins. Gives the place of the name in the
    /// one that it takes the place of.
    pub fn define(&mut self, name: &str, value: &Text, place: Span) -> Option<Span> {
        let variable = Variable { name: name.to_owned(), value: value.value.clone(), place };
        self.variables.insert(name.to_lowercase(), variable).map(|before| before.place)
    }

    /// The text at these spans, which are those of one element or attribute. `owner` is what messages call it, and
    /// `place` the place to show when there is no text.
    pub fn take(&self, spans: &[Span], place: Span, owner: &str, findings: &mut Findings) -> Text {
        self.read(spans, place, owner, &codes::NOT_UTF8, findings)
    }

    /// The same for a text that is only shown to people: what is no character in it is shown as U+FFFD.
    pub fn take_shown(&self, spans: &[Span], place: Span, owner: &str, findings: &mut Findings) -> Text {
        self.read(spans, place, owner, &codes::SHOWN_NOT_UTF8, findings)
    }

    /// `not_utf8` is what to say of bytes that are not UTF-8.
    fn read(&self, spans: &[Span], place: Span, owner: &str, not_utf8: &Code, findings: &mut Findings) -> Text {
        let mut text = Text::default();
        text.push("", place, false);
        let mut length = 0;
        let mut told = false;
        for span in spans {
            let bytes = &self.file[span.start as usize..span.end as usize];
            length += bytes.len();
            let mut at = span.start;
            for chunk in bytes.utf8_chunks() {
                let (valid, invalid) = (chunk.valid(), chunk.invalid());
                let end = at + valid.len() as u32;
                self.put_in_variables(valid, Span { start: at, end, ..*span }, &mut text, findings);
                at = end + invalid.len() as u32;
                if invalid.is_empty() {
                    continue;
                }
                let here = Span { start: end, end: at, ..*span };
                text.push("\u{FFFD}", here, false);
                if !std::mem::replace(&mut told, true) {
                    findings.push(
                        Finding::new(not_utf8, format!("{owner} is not UTF-8"))
                            .at(here, "this is no character of UTF-8")
                            .help("save the file as UTF-8".to_owned()),
                    );
                }
                // It is dropped then: other bytes than text can be many.
                if text.value.len() >= self.bytes_limit {
                    break;
                }
            }
        }
        let length = length.max(text.value.len());
        let limit = self.bytes_limit;
        if length >= limit {
            let whole = Span { start: spans.first().map_or(place.start, |span| span.start), ..text.span() };
            findings.push(
                Finding::new(
                    &codes::TEXT_TOO_LONG,
                    format!("{owner} is {length} bytes long; it must have fewer than {limit}"),
                )
                .at(whole, "")
                .note("OSSEC drops such a text, and with it what it asks for")
                .help(
                    "make it shorter, split the rule or decoder into several, or look its words up in a list"
                        .to_owned(),
                ),
            );
            text.value.clear();
            text.dropped = true;
        }
        text
    }

    /// `$NAME` becomes the variable's value. A name ends at `$`, `.`, `|`, `,`, a space or the end. In a file that has
    /// defined no variable so far, and in texts of one or two bytes, `$` is a character like any other.
    fn put_in_variables(&self, part: &str, span: Span, text: &mut Text, findings: &mut Findings) {
        let place = |range: Range<usize>| Span {
            start: span.start + range.start as u32,
            end: span.start + range.end as u32,
            ..span
        };
        let mut plain = 0;
        if !self.variables.is_empty() && part.len() > 2 {
            for (at, _) in part.match_indices('$') {
                let rest = &part[at + 1..];
                let name = &rest[..rest.find(['$', '.', '|', ',', ' ']).unwrap_or(rest.len())];
                if name.is_empty() || at < plain {
                    continue;
                }
                let end = at + 1 + name.len();
                let Some(Variable { value, .. }) = self.variables.get(&name.to_lowercase()) else {
                    findings.push(self.unknown_variable(name, place(at..end)));
                    continue;
                };
                text.push(&part[plain..at], place(plain..at), true);
                text.push(value, place(at..end), false);
                plain = end;
                // Values may hold further uses, each as long as a text may be: stop before that grows.
                if text.value.len() >= self.bytes_limit {
                    break;
                }
            }
        }
        text.push(&part[plain..], place(plain..part.len()), true);
    }

    fn unknown_variable(&self, name: &str, span: Span) -> Finding {
        let near = super::suggest(&name.to_lowercase(), self.variables.keys().map(String::as_str))
            .and_then(|near| self.variables.get(near));
        let finding = Finding::new(&codes::BAD_VARIABLE, format!("`${}` is not defined", shown(name)))
            .at(span, "no variable above has this name")
            .note("this file defines variables, so `$` starts the name of one");
        // What follows a name without one of the characters that end it belongs to it.
        let length = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        let before = self.variables.get(&name[..length].to_lowercase()).filter(|_| length < name.len());
        finding.help(match (before, near) {
            (Some(before), _) => Some(format!(
                "`${}` ends only at `$`, `.`, `|`, `,`, a space or the end of the text: `{}` belongs to the name here",
                before.name,
                shown(&name[length..])
            )),
            (None, Some(near)) => Some(format!("did you mean `${}`?", near.name)),
            (None, None) if length == 0 => Some(
                "a `$` alone stands before one of `.`, `|`, `,`, a space or the end; `pcre2` has `\\z` for the end of the text"
                    .to_owned(),
            ),
            (None, None) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_take_no_more_room_than_a_text_may() {
        let file = vec![0xff; 1 << 20];
        let all = Span { file: 0, start: 0, end: file.len() as u32 };
        let mut findings = Findings::default();
        let text = Texts::new(&file).take_shown(&[all], all, "`info`", &mut findings);
        assert!(text.dropped && text.parts.len() < TEXT_BYTES_LIMIT, "{}", text.parts.len());
        let messages: Vec<_> = findings.into_sorted().into_iter().map(|finding| finding.message).collect();
        assert_eq!(messages, ["`info` is not UTF-8", "`info` is 1048576 bytes long; it must have fewer than 2048"]);
    }
}
