//! CloudEvents 1.0 in Kafka's binary mode: the attributes are headers, the payload is the value as it is.
//!
//! Not JSON around it: an output is bytes, and what the command printed must come back exactly.

use jiff::Timestamp;

use crate::{DecodeError, Headers, Key, Record};

/// `ce_type` of a run with its raw output.
pub const OUTPUT: &str = "tripline.output.v1";
/// `ce_type` of runs that are gone.
pub const GAP: &str = "tripline.gap.v1";
/// `ce_type` of a person's order to the processor.
pub const CONTROL: &str = "tripline.control.v1";
/// `ce_type` of a sign of life.
pub const HEARTBEAT: &str = "tripline.heartbeat.v1";
/// `ce_type` of an alert.
pub const ALERT: &str = "tripline.alert.v1";
/// `ce_type` of a rule set's files.
pub const RULESET: &str = "tripline.ruleset.v1";

const SPECVERSION: &str = "ce_specversion";
const TYPE: &str = "ce_type";
const ID: &str = "ce_id";
const SOURCE: &str = "ce_source";
const SUBJECT: &str = "ce_subject";
const TIME: &str = "ce_time";
const CONTENT_TYPE: &str = "content-type";

/// The CloudEvents attributes of one record.
pub(crate) struct Attributes<'a> {
    /// What kind of record.
    pub kind: &'static str,
    /// Unique within the source.
    pub id: &'a str,
    /// Where it came from.
    pub source: String,
    /// What it is about, for people and filters; nothing is decoded from it.
    pub subject: Option<&'a str>,
    /// When it happened.
    pub time: Option<Timestamp>,
    /// What the value is.
    pub content_type: &'static str,
}

impl Attributes<'_> {
    /// The headers that every record begins with.
    pub fn to_headers(&self) -> Headers {
        let mut headers = Headers(Vec::with_capacity(24));
        headers.push(SPECVERSION, "1.0");
        headers.push(TYPE, self.kind);
        headers.push(ID, self.id);
        headers.push(SOURCE, self.source.as_str());
        if let Some(subject) = self.subject {
            headers.push(SUBJECT, printable(subject));
        }
        if let Some(time) = self.time {
            headers.push(TIME, time.to_string());
        }
        headers.push(CONTENT_TYPE, self.content_type);
        headers
    }
}

/// The record's `ce_type`, when it is a CloudEvent of a version we know.
pub(crate) fn kind(record: &Record) -> Result<&str, DecodeError> {
    if required(record, SPECVERSION)? != "1.0" {
        return Err(bad(record, SPECVERSION, "`1.0`"));
    }
    required(record, TYPE)
}

/// Fails when the record is not of this kind.
pub(crate) fn expect_kind(record: &Record, expected: &str) -> Result<(), DecodeError> {
    let kind = kind(record)?;
    if kind == expected { Ok(()) } else { Err(unknown(kind)) }
}

/// The error for a kind that does not belong here.
pub(crate) fn unknown(kind: &str) -> DecodeError {
    DecodeError::UnknownType(shown(kind.as_bytes()))
}

/// The record's id.
pub(crate) fn id(record: &Record) -> Result<&str, DecodeError> {
    required(record, ID)
}

/// The error for an id that is not what this kind of record needs.
pub(crate) fn bad_id(record: &Record, expected: &'static str) -> DecodeError {
    bad(record, ID, expected)
}

/// The record's time.
pub(crate) fn time(record: &Record) -> Result<Timestamp, DecodeError> {
    let time = required(record, TIME)?.parse().ok().filter(is_rfc_3339);
    time.ok_or_else(|| bad(record, TIME, "an RFC 3339 time"))
}

/// RFC 3339 ends with the year 9999 and has none before 0; a clock that far off is damage, not a time.
pub(crate) fn is_rfc_3339(time: &Timestamp) -> bool {
    const FIRST: i64 = -62_167_219_200; // 0000-01-01T00:00:00Z; 9999 is the last year a `Timestamp` has.
    time.as_second() >= FIRST
}

/// A header that must be there, as text.
pub(crate) fn required<'r>(record: &'r Record, name: &'static str) -> Result<&'r str, DecodeError> {
    optional(record, name)?.ok_or(DecodeError::MissingHeader(name))
}

/// A header that may be there, as text.
pub(crate) fn optional<'r>(record: &'r Record, name: &'static str) -> Result<Option<&'r str>, DecodeError> {
    match record.headers.get(name) {
        None => Ok(None),
        Some(value) => std::str::from_utf8(value).map(Some).map_err(|_| bad(record, name, "UTF-8")),
    }
}

/// A decimal number that may be there.
pub(crate) fn number<T: std::str::FromStr>(record: &Record, name: &'static str) -> Result<Option<T>, DecodeError> {
    let number = |text: &str| text.parse().map_err(|_| bad(record, name, "a number"));
    optional(record, name)?.map(number).transpose()
}

/// The error for a header that can't be read.
pub(crate) fn bad(record: &Record, name: &'static str, expected: &'static str) -> DecodeError {
    DecodeError::BadHeader { name, value: shown(record.headers.get(name).unwrap_or_default()), expected }
}

/// The record's value, which must be there.
pub(crate) fn value(record: &Record) -> Result<&[u8], DecodeError> {
    record.value.as_deref().ok_or(DecodeError::NoValue)
}

/// Reads the value as JSON.
pub(crate) fn json<'de, T: serde::Deserialize<'de>>(value: &'de [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(value).map_err(|err| DecodeError::BadJson(shown_message(&err.to_string())))
}

/// Writes a value as JSON.
pub(crate) fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our types have string keys and no serializer that fails")
}

/// The (agent, command) in the record's key.
pub(crate) fn key(record: &Record) -> Result<Key, DecodeError> {
    let bytes = record.key.as_deref().ok_or(crate::KeyError::Malformed)?;
    Ok(Key::from_bytes(bytes)?)
}

/// Fails when the record's key is not the one that its content asks for.
pub(crate) fn expect_key(record: &Record, expected: &[u8]) -> Result<(), DecodeError> {
    match &record.key {
        Some(key) if key == expected => Ok(()),
        key => {
            Err(DecodeError::KeyMismatch { key: shown(key.as_deref().unwrap_or_default()), content: shown(expected) })
        }
    }
}

/// An id for records that have none of their own: equal records have equal ids.
pub(crate) fn content_id(kind: &str, key: &[u8], value: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("tripline 2025 record id v1");
    // With its length before it, so that no two pairs of key and value run together.
    for part in [kind.as_bytes(), key, value] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// `ce_source` of what an agent sends, and of alerts about it: a URI reference.
pub(crate) fn agent_source(agent: &str) -> String {
    let mut source = "/tripline/agents/".to_owned();
    for byte in agent.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => source.push(char::from(byte)),
            _ => source.push_str(&format!("%{byte:02X}")),
        }
    }
    source
}

/// CloudEvents allows no control characters in attributes; a command line may hold some.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Bytes from outside as a part of a message: escaped, so that they can't drive a terminal or forge a line, and cut.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const CHARS_MAX: usize = 120;
    // Four bytes at most make one character: no need to look at a megabyte to show its beginning.
    let start = &bytes[..bytes.len().min(4 * CHARS_MAX)];
    let mut shown = escaped(&String::from_utf8_lossy(start), CHARS_MAX);
    if start.len() < bytes.len() && !shown.ends_with('…') {
        shown.push('…');
    }
    shown
}

/// A message that quotes what came from outside, treated as [`shown`] does. Long enough for a list of all field names.
pub(crate) fn shown_message(message: &str) -> String {
    escaped(message, 600)
}

fn escaped(text: &str, chars_max: usize) -> String {
    let mut escaped = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(chars_max) {
        if c.is_control() { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    if chars.next().is_some() {
        escaped.push('…');
    }
    escaped
}
