//! From text lists to lists that rules look up.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::finding::{Finding, Findings, codes, shown};
use crate::list::TextList;
use crate::source::{SourceFile, Span};
use crate::xml;

/// Lists with more bytes than this are refused.
pub const LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The lists of a rule set, by name without `.cdb`.
#[derive(Debug, Default)]
pub(super) struct Lists(BTreeMap<String, Arc<TextList>>);

impl Lists {
    pub fn get(&self, name: &str) -> Option<&Arc<TextList>> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Reads lists. Their spans get file indexes from `first` on. Of two lists of one name the first counts.
pub(super) fn load(files: &[(String, SourceFile)], first: u32, findings: &mut Findings) -> Lists {
    let mut lists = Lists::default();
    for ((name, file), index) in files.iter().zip(first..) {
        let list = read(&file.text, index, findings);
        lists.0.entry(name_of(name).to_owned()).or_insert_with(|| Arc::new(list));
    }
    lists
}

/// The name of a list without the ending of the compiled form: the text beside it is what is read.
pub(super) fn name_of(written: &str) -> &str {
    let name = written.trim();
    name.strip_suffix(".cdb").unwrap_or(name)
}

/// `key:value` lines. The first colon ends the key. A byte-order mark before them is no part of the first key.
fn read(text: &[u8], file: u32, findings: &mut Findings) -> TextList {
    let mut list = TextList::default();
    if text.len() > LIST_BYTES_MAX {
        let message = format!("the list is too large: it has more than {LIST_BYTES_MAX} bytes");
        findings.push(Finding::new(&codes::FILE_TOO_LARGE, message).at(Span { file, start: 0, end: 0 }, ""));
        return list;
    }
    if let Some(finding) = xml::not_utf8(text, file) {
        findings.push(finding);
        return list;
    }
    let mut start = if text.starts_with(xml::BYTE_ORDER_MARK) { xml::BYTE_ORDER_MARK.len() } else { 0 };
    let mut is_empty = true;
    for line in text[start..].split_inclusive(|byte| *byte == b'\n') {
        let span = |length: usize| Span { file, start: start as u32, end: (start + length) as u32 };
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        if !content.trim_ascii().is_empty() {
            is_empty = false;
            let colon = memchr::memchr(b':', content);
            let (key, value) = match colon {
                Some(at) => (&content[..at], &content[at + 1..]),
                None => (content, &[][..]),
            };
            let problem = if colon.is_none() {
                Some(("the line has no `:`", "taken as a key without a value"))
            } else if key.is_empty() {
                Some(("the line has no key", "left out"))
            } else {
                None
            };
            let is_new = key.is_empty() || list.add(key, value);
            if let Some((message, label)) = problem {
                let help = "write `key:value`, one in each line".to_owned();
                findings.push(Finding::new(&codes::LIST_LINE, message).at(span(content.len()), label).help(help));
            } else if !is_new {
                let key = String::from_utf8_lossy(key);
                findings.push(
                    Finding::new(&codes::LIST_LINE, format!("the key `{}` is in the list already", shown(&key)))
                        .at(span(content.len()), "left out: the first one counts")
                        .help("remove one of them".to_owned()),
                );
            } else if !line.ends_with(b"\n") {
                findings.push(
                    Finding::new(&codes::LIST_LINE, "the last line of the list has no line break at its end")
                        .at(span(content.len()), "is it whole?")
                        .note("a list that was cut off while it was written looks like this")
                        .help("write the list anew, or end its last line with a line break".to_owned()),
                );
            }
        }
        start += line.len();
    }
    if is_empty {
        findings.push(
            Finding::new(&codes::LIST_LINE, "the list is empty")
                .at(Span { file, start: 0, end: 0 }, "no line of `key:value`")
                .note("no key is in it, so a rule that asks for one never holds")
                .help("write the list anew if it should not be empty".to_owned()),
        );
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> (TextList, Vec<String>) {
        let mut findings = Findings::default();
        let list = read(text.as_bytes(), 0, &mut findings);
        let findings = findings.into_sorted().into_iter();
        (list, findings.map(|it| format!("{} {:?}", it.message, it.span.map(|span| (span.start, span.end)))).collect())
    }

    #[test]
    fn a_line_is_a_key_and_what_follows_its_first_colon() {
        let (list, findings) = checked("bob:admin\nalice:a:b\r\ncarol:\n\n  \nMixed Case : x \n");
        assert_eq!(findings, Vec::<String>::new());
        let value = |key: &str| list.get(key.as_bytes()).map(|value| std::str::from_utf8(value).expect("text"));
        assert_eq!(value("bob"), Some("admin"));
        assert_eq!(value("alice"), Some("a:b"));
        assert_eq!(value("carol"), Some(""));
        assert_eq!(value("Mixed Case "), Some(" x "));
        assert_eq!(value("Bob"), None);
        assert_eq!(value(""), None);
    }

    #[test]
    fn a_line_that_is_no_entry_is_shown() {
        let (list, findings) = checked("a:1\nhalf\n:x\na:2\n");
        assert_eq!(list.get(b"half"), Some(&b""[..]));
        assert_eq!(list.get(b"a"), Some(&b"1"[..]));
        assert_eq!(
            findings,
            [
                "the line has no `:` Some((4, 8))",
                "the line has no key Some((9, 11))",
                "the key `a` is in the list already Some((12, 15))",
            ]
        );
    }

    #[test]
    fn a_list_that_was_cut_off_is_shown_and_a_mark_before_it_is_no_part_of_a_key() {
        let no_line_break = "the last line of the list has no line break at its end";
        for (text, said) in [
            ("", vec!["the list is empty Some((0, 0))".to_owned()]),
            ("\u{feff}\n \n", vec!["the list is empty Some((0, 0))".to_owned()]),
            ("a:1\nbo", vec!["the line has no `:` Some((4, 6))".to_owned()]),
            ("a:1\n192.168.1.1:", vec![format!("{no_line_break} Some((4, 16))")]),
            ("\u{feff}a:1\nbob:x", vec![format!("{no_line_break} Some((7, 12))")]),
            ("\u{feff}a:1\r\n", vec![]),
        ] {
            let (list, findings) = checked(text);
            assert_eq!(findings, said, "{text:?}");
            assert_eq!(list.get(b"a").is_some(), text.contains("a:1"), "{text:?}");
        }
    }

    #[test]
    fn the_name_of_the_compiled_form_means_the_text() {
        let file = SourceFile { name: "users".to_owned(), text: b"a:1\n".to_vec() };
        let lists = load(&[("lists/users.cdb".to_owned(), file)], 0, &mut Findings::default());
        assert!(lists.get(name_of("lists/users")).is_some() && lists.get(name_of(" lists/users.cdb ")).is_some());
        assert!(lists.get("lists/other").is_none());
    }
}
