//! Findings as text for people and as JSON for programs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::{Finding, Severity};
use crate::load::base_rules;
use crate::source::{SourceFile, Span};

/// At most this many characters of a line are shown, around the marked text.
const LINE_CHARS_MAX: usize = 140;

/// Parts of a line shorter than this are left out rather than cut: there is no room for dots and a word.
const SHORTEST: usize = 8;

/// All findings as text, each with its place and the marked lines, a blank line behind each. Control characters of
/// rule text are escaped, so that a rule file can't drive a terminal. The first one of a code says why it matters and what
/// to do even where there is nothing to say of its place in particular.
pub fn render(findings: &[Finding], files: &[SourceFile]) -> String {
    let mut out = String::new();
    let mut told = BTreeSet::new();
    for finding in findings {
        let is_first = told.insert(finding.code);
        // Writing to a String can't fail.
        let _ = write_finding(&mut out, finding, is_first, files);
    }
    out
}

/// What to type to read more about the codes of these findings: a line, when there are any.
pub fn explained_by(findings: &[Finding]) -> Option<String> {
    let codes: BTreeSet<&str> = findings.iter().map(|finding| finding.code).collect();
    let mut codes = codes.into_iter();
    let first = codes.next()?;
    let others: Vec<&str> = codes.collect();
    let others = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
    Some(format!("explained by `tripline check --explain {first}`{others}"))
}

/// The last line: `checked N rules in M files: E errors, W warnings`.
pub fn summary(findings: &[Finding], rule_count: usize, file_count: usize) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    format!(
        "checked {} in {}: {}, {}",
        plural(rule_count, "rule"),
        plural(file_count, "file"),
        plural(count(Severity::Error), "error"),
        plural(count(Severity::Warning), "warning")
    )
}

/// One object with a summary and all findings: `{"schema":"tripline/check/1","summary":{…},"findings":[…]}`.
pub fn to_json(findings: &[Finding], files: &[SourceFile], rule_count: usize) -> Value {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    json!({
        "schema": "tripline/check/1",
        "summary": {
            "files": files.len(),
            "rules": rule_count,
            "errors": count(Severity::Error),
            "warnings": count(Severity::Warning),
        },
        "findings": findings.iter().map(|finding| finding_json(finding, files)).collect::<Vec<_>>(),
    })
}

fn finding_json(finding: &Finding, files: &[SourceFile]) -> Value {
    let labels = finding.related.iter().map(|(span, label)| {
        let mut place = place_json(*span, files);
        place["label"] = json!(label);
        place
    });
    let mut value = json!({
        "code": finding.code,
        "severity": finding.severity.as_str(),
        "message": finding.message,
    });
    if let Some(span) = finding.span {
        let place = place_json(span, files);
        value["file"] = place["file"].clone();
        value["span"] = place["span"].clone();
        value["label"] = json!(finding.label);
    }
    value["rule_id"] = json!(finding.rule);
    value["labels"] = labels.collect();
    value["note"] = json!(finding.note);
    value["help"] = json!(finding.help);
    value["explanation"] = json!(finding.entry().map(|code| json!({"why": code.why, "remedy": code.remedy})));
    value["fix"] = json!(finding.span.zip(finding.replacement.as_ref()).map(|(span, text)| {
        // A guess: what it replaces is wrong, and that it is meant is likely.
        json!({"applicability": "maybe", "edits": [{"start": span.start, "end": span.end, "text": text}]})
    }));
    value
}

fn place_json(span: Span, files: &[SourceFile]) -> Value {
    let file = file_of(span, files);
    let point = |byte: u32| {
        let place = file.line_column(byte);
        json!({"line": place.line, "col": place.column, "byte": byte})
    };
    json!({"file": file.name, "span": {"start": point(span.start), "end": point(span.end)}})
}

fn write_finding(out: &mut String, finding: &Finding, is_first: bool, files: &[SourceFile]) -> std::fmt::Result {
    writeln!(out, "{}[{}]: {}", finding.severity.as_str(), finding.code, escaped(&finding.message))?;
    let places: Vec<(Span, &str, char)> = finding
        .span
        .iter()
        .map(|span| (*span, finding.label.as_str(), '^'))
        .chain(finding.related.iter().map(|(span, label)| (*span, label.as_str(), '-')))
        .collect();
    let width = places
        .iter()
        .map(|(span, ..)| file_of(*span, files).line_column(span.start).line.to_string().len())
        .max()
        .unwrap_or(0);
    for (at, (span, label, mark)) in places.iter().enumerate() {
        let arrow = if at == 0 { "-->" } else { ":::" };
        write_place(out, *span, label, *mark, arrow, width, files)?;
    }
    let (note, help) = match is_first {
        true => (finding.why(), finding.remedy()),
        false => (finding.note.as_deref(), finding.help.as_deref()),
    };
    for (word, text) in [("note", note), ("help", help)] {
        if let Some(text) = text {
            writeln!(out, "{:width$} = {word}: {}", "", escaped(text))?;
        }
    }
    writeln!(out)
}

/// The place, the line, and marks under the part that is meant.
fn write_place(
    out: &mut String,
    span: Span,
    label: &str,
    mark: char,
    arrow: &str,
    width: usize,
    files: &[SourceFile],
) -> std::fmt::Result {
    let file = file_of(span, files);
    let place = file.line_column(span.start);
    writeln!(out, "{:width$}{arrow} {}:{}:{}", "", escaped(&file.name), place.line, place.column)?;
    let excerpt = Excerpt::of(&file.text, span);
    writeln!(out, "{:width$} |", "")?;
    writeln!(out, "{:width$} | {}", place.line, excerpt.line)?;
    let marks: String = std::iter::repeat_n(mark, excerpt.marked).collect();
    let line = format!("{:width$} | {:2$}{marks} {label}", "", "", excerpt.before);
    writeln!(out, "{}", line.trim_end())?;
    writeln!(out, "{:width$} |", "")
}

/// The line of a place as it is shown.
struct Excerpt {
    line: String,
    /// How many columns of a terminal `line` takes before the marked part: wide characters take two.
    before: usize,
    /// How many the marked part takes; at least one.
    marked: usize,
}

impl Excerpt {
    fn of(text: &[u8], span: Span) -> Excerpt {
        let [start, end] = [span.start, span.end.max(span.start)].map(|at| (at as usize).min(text.len()));
        // A place within a character is shown with all of it.
        let is_within = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        let start = (start.saturating_sub(3)..=start).rev().find(|at| !is_within(*at)).unwrap_or(start);
        let end = (end..=end + 3).find(|at| !is_within(*at)).unwrap_or(end);
        let line_start = memchr::memrchr(b'\n', &text[..start]).map_or(0, |at| at + 1);
        let line_end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |at| start + at);
        // A place of several lines is marked to the end of its first.
        let end = end.min(line_end);
        let mut before = shown(&text[line_start..start]);
        let mut marked = shown(&text[start..end]);
        let mut after = shown(text[end..line_end].trim_ascii_end());
        let mut room = LINE_CHARS_MAX;
        room -= keep_start(&mut marked, room * 3 / 4);
        room -= keep_end(&mut before, room * 2 / 3);
        keep_start(&mut after, room);
        Excerpt {
            before: before.width(),
            marked: marked.width().max(1),
            line: format!("{before}{marked}{after}").trim_end().to_owned(),
        }
    }
}

/// Bytes as text: what is no UTF-8 as U+FFFD, control characters escaped, a tab as a space.
fn shown(bytes: &[u8]) -> String {
    // Only so much can be shown; do not turn a line of megabytes into text.
    const ENOUGH: usize = LINE_CHARS_MAX * 8;
    match bytes.len() {
        n if n > 2 * ENOUGH => {
            let ends = [&bytes[..ENOUGH], &bytes[n - ENOUGH..]];
            escaped(&ends.map(|end| String::from_utf8_lossy(end).into_owned()).concat())
        }
        _ => escaped(&String::from_utf8_lossy(bytes)),
    }
}

/// Control characters, those that change the direction of text, and those that are not to be seen, as escapes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if c.is_control()
                || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}') =>
            {
                out.extend(c.escape_default());
            }
            c => out.push(c),
        }
    }
    out
}

/// Cuts a text to its first `room` characters, three dots included; says how many it has then.
fn keep_start(text: &mut String, room: usize) -> usize {
    keep(text, room, |text, left| text.chars().take(left).collect::<String>() + "...")
}

/// The same for its last characters.
fn keep_end(text: &mut String, room: usize) -> usize {
    keep(text, room, |text, left| {
        let passed_over = text.chars().count() - left;
        "...".to_owned() + &text.chars().skip(passed_over).collect::<String>()
    })
}

/// Cuts a text that has no room. `cut` makes the shorter one, of so many characters and the dots.
fn keep(text: &mut String, room: usize, cut: impl FnOnce(&str, usize) -> String) -> usize {
    if text.chars().count() > room {
        *text = if room < SHORTEST { String::new() } else { cut(text, room - 3) };
    }
    text.chars().count()
}

fn file_of(span: Span, files: &[SourceFile]) -> &SourceFile {
    files.get(span.file as usize).unwrap_or_else(|| base_rules())
}

fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}
