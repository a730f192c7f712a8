//! Alerts as text: OSSEC's alert block, its mail text, one line of JSON.
//!
//! Outputs are hostile: whoever can name a process or a file writes into them. So, in every form:
//!
//! * Control characters are shown as escapes (`\x1b`, `\u{9b}`), and so are characters that turn the direction of
//!   writing. What is printed can't drive a terminal. Line breaks and tabs of a log text stay.
//! * A line of a log text that begins like a line of the form itself (`** Alert`, `Previous output:`, ...) gets a
//!   backslash in front. What is printed can't be taken for another alert, or for another part of this one.
//!
//! In JSON both follow from its own escapes.

use std::borrow::Cow;
use std::fmt::Write;

use jiff::tz::TimeZone;
use tripline_schemas::alert::{Alert, Diff};

/// How the lines of the forms begin that a log text must not imitate.
const OWN_LINES: [&str; 13] = [
    "** Alert",
    "OSSEC HIDS Notification",
    "Received From:",
    "Rule:",
    "Src IP:",
    "Src Port:",
    "Dst IP:",
    "Dst Port:",
    "User:",
    "Portion of the log(s):",
    "Previous output:",
    "Changes:",
    "Note:",
];
/// Who and where: the label, the field, whether there is a line without it.
const ADDRESSES: [(&str, &str, bool); 5] = [
    ("Src IP", "srcip", true),
    ("Src Port", "srcport", false),
    ("Dst IP", "dstip", false),
    ("Dst Port", "dstport", false),
    ("User", "dstuser", true),
];
/// The last line of a mail text.
const END: &str = " --END OF NOTIFICATION";

/// OSSEC's alert block, as its alert log has it, with an empty line at the end. Behind the texts stand the lines that came
/// and went, and notes.
///
/// `number` follows the epoch in the first line and tells alerts of one second apart: the alert record's offset. Times
/// are shown in `zone`; OSSEC shows its server's local time.
pub fn ossec(alert: &Alert, number: u64, zone: &TimeZone) -> String {
    let mut block = String::new();
    let mail = if alert.rule.mail { " mail " } else { "" };
    let groups: String = alert.rule.groups.iter().map(|group| format!("{group},")).collect();
    let epoch = alert.timestamp.as_second();
    push_line(&mut block, &format!("** Alert {epoch}.{number}:{mail} - {}", escaped_line(&groups)));
    push_line(&mut block, &format!("{} {}", date(alert, zone), escaped_line(&alert.location)));
    push_line(&mut block, &format!("Rule: {} (level {}) -> '{}'", alert.rule.id, alert.rule.level, description(alert)));
    // Readers of the old form look for the address and the user on every alert; the others are there when they are known.
    for (label, name, always) in ADDRESSES {
        match alert.data.get(name) {
            Some(value) => push_line(&mut block, &format!("{label}: {}", escaped_line(value))),
            None if always => push_line(&mut block, &format!("{label}: (none)")),
            None => {}
        }
    }
    push_texts(&mut block, alert);
    if let Some(diff) = changes(alert) {
        push_changes(&mut block, diff);
    }
    push_notes(&mut block, alert);
    block.push('\n');
    block
}

/// OSSEC's mail text: the new output, the one before, and the lines that came and went.
pub fn mail(alert: &Alert, zone: &TimeZone) -> String {
    let mut text = String::new();
    push_line(&mut text, "OSSEC HIDS Notification.");
    push_line(&mut text, &date(alert, zone));
    push_line(&mut text, "");
    push_line(&mut text, &format!("Received From: {}", escaped_line(&alert.location)));
    let (id, level, description) = (&alert.rule.id, alert.rule.level, description(alert));
    push_line(&mut text, &format!("Rule: {id} fired (level {level}) -> \"{description}\""));
    push_line(&mut text, "Portion of the log(s):");
    push_line(&mut text, "");
    push_texts(&mut text, alert);
    if let Some(diff) = changes(alert) {
        push_line(&mut text, "");
        push_changes(&mut text, diff);
    }
    push_notes(&mut text, alert);
    push_line(&mut text, "");
    push_line(&mut text, END);
    text
}

/// The alert as one line of JSON, without a line break. As on the wire, but for characters that a terminal may act on:
/// those are written as `\u` escapes, which mean the same.
pub fn json(alert: &Alert) -> String {
    let wire = serde_json::to_string(alert).expect("an alert has no maps with keys other than text");
    if !wire.contains(is_unsafe) {
        return wire;
    }
    let mut line = String::with_capacity(wire.len() + 16);
    for character in wire.chars() {
        match character {
            // Outside ASCII they stand within strings only, and all of them take one UTF-16 unit.
            character if is_unsafe(character) => write!(line, "\\u{:04x}", u32::from(character)).expect("a string"),
            character => line.push(character),
        }
    }
    line
}

/// A text of several lines, fit for a terminal: control characters but line breaks and tabs are escaped.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escape(text, |character| is_unsafe(character) && character != '\n' && character != '\t')
}

/// A text that has to stay on one line, fit for a terminal: all control characters are escaped.
pub fn escaped_line(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe)
}

fn escape(text: &str, is_unsafe: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            character if !is_unsafe(character) => shown.push(character),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            character if character.is_ascii() => write!(shown, "\\x{:02x}", u32::from(character)).expect("a string"),
            character => write!(shown, "\\u{{{:x}}}", u32::from(character)).expect("a string"),
        }
    }
    Cow::Owned(shown)
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and what turns the direction of writing.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `2009 Nov 05 16:02:21`
fn date(alert: &Alert, zone: &TimeZone) -> String {
    zone.to_datetime(alert.timestamp).strftime("%Y %b %d %H:%M:%S").to_string()
}

/// OSSEC writes `(null)` for a rule without a description.
fn description(alert: &Alert) -> Cow<'_, str> {
    alert.rule.description.as_deref().map_or(Cow::Borrowed("(null)"), escaped_line)
}

/// The log text, and the one before.
fn push_texts(form: &mut String, alert: &Alert) {
    push_text(form, &alert.full_log);
    push_cut(form, alert, "full_log");
    if let Some(previous) = &alert.previous_output {
        push_line(form, "Previous output:");
        push_text(form, previous);
        push_cut(form, alert, "previous_output");
    }
}

/// What came and went, if there is something to show of it.
fn changes(alert: &Alert) -> Option<&Diff> {
    alert.diff.as_ref().filter(|diff| !diff.unified.is_empty())
}

/// The lines that came and went.
fn push_changes(form: &mut String, diff: &Diff) {
    push_line(form, "Changes:");
    // Lines that begin with a backslash are remarks: too much to show, or to compare in order.
    for line in diff.unified.lines().filter(|line| line.starts_with(['+', '-', '\\'])) {
        push_line(form, &escaped(line));
    }
}

/// What else a reader must know.
fn push_notes(form: &mut String, alert: &Alert) {
    if alert.suppressed > 0 {
        let mut note = format!("Note: held back since the last alert of this rule: {}", alert.suppressed);
        if alert.returned > 0 {
            write!(note, ", in between back to the previous output: {}", alert.returned).expect("a string");
        }
        push_line(form, &note);
    }
    if let Some(size) = alert.run.truncated_from {
        push_line(form, &format!("Note: the output was truncated, its full size is {size} bytes"));
    }
    if alert.run.late {
        push_line(form, "Note: this run reached the log late, or after a later one");
    }
    if alert.run.clamped {
        push_line(form, "Note: the run's clock was ahead, the time shown is when the log received it");
    }
}

/// A log text, each line such that it is none of the form's own.
fn push_text(form: &mut String, text: &str) {
    let text = escaped(text);
    for line in text.strip_suffix('\n').unwrap_or(&text).split('\n') {
        if OWN_LINES.iter().any(|own| line.starts_with(own)) || line.trim_start().starts_with(END.trim_start()) {
            form.push('\\');
        }
        push_line(form, line);
    }
}

fn push_cut(form: &mut String, alert: &Alert, field: &str) {
    if let Some(size) = alert.cut.get(field) {
        push_line(form, &format!("[cut here; {size} bytes in full]"));
    }
}

fn push_line(form: &mut String, line: &str) {
    form.push_str(line);
    form.push('\n');
}
