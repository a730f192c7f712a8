//! Any value that a type allows, for property tests.

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tripline_schemas::{Ending, Format, Headers, Key, Record, Run, RunId};
use uuid::Uuid;

/// Text with line breaks, quotes, control characters and letters of all sizes, but without NUL.
pub fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,24}"
}

pub fn name() -> impl Strategy<Value = String> {
    "[^\0]{1,24}"
}

pub fn key() -> impl Strategy<Value = Key> {
    (name(), name()).prop_map(|(agent, command)| Key::new(agent, command).unwrap())
}

pub fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..48)
}

pub fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

pub fn run_id() -> impl Strategy<Value = RunId> {
    (uuid(), any::<u64>()).prop_map(|(spool, sequence)| RunId { spool, sequence })
}

/// All times that RFC 3339 has, to the nanosecond.
pub fn time() -> impl Strategy<Value = Timestamp> {
    let seconds = -62_167_219_200..=Timestamp::MAX.as_second();
    (seconds, 0..=999_999_999)
        .prop_filter_map("past the last nanosecond", |(s, ns)| Timestamp::new(s, ns).ok())
        .prop_filter("before year 0", |time| time.as_second() >= -62_167_219_200)
}

pub fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        any::<i32>().prop_map(Ending::Exited),
        any::<i32>().prop_map(Ending::Signalled),
        any::<u64>().prop_map(Ending::TimedOut),
        Just(Ending::Interrupted),
        text().prop_map(Ending::NotStarted),
    ]
}

pub fn format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Command), Just(Format::FullCommand)]
}

pub fn run() -> impl Strategy<Value = Run> {
    let names = (key(), any::<bool>(), text(), option::of(text()));
    let facts = (run_id(), format(), time(), any::<u64>(), ending(), option::of(any::<u64>()), text());
    let facts = (facts, option::of(any::<u64>()));
    (names, facts, bytes(), bytes()).prop_map(|(names, facts, stderr_tail, output)| {
        let (key, has_alias, text, address) = names;
        let ((id, format, started, duration_ms, ending, truncated_from, collector), start_delay_ms) = facts;
        // Without an alias the key's command is the command line.
        let command_line = if has_alias { text } else { key.command().to_owned() };
        let alias = has_alias.then(|| key.command().to_owned());
        Run {
            id,
            key,
            address,
            command_line,
            alias,
            format,
            started,
            duration_ms,
            start_delay_ms,
            ending,
            truncated_from,
            stderr_tail,
            collector,
            output,
        }
    })
}

/// Any record at all, with header names and values that look like ours more often than chance would have it.
pub fn record() -> impl Strategy<Value = Record> {
    let bytes = || {
        prop_oneof![
            bytes(),
            proptest::sample::select(words()).prop_map(|word| word.into_bytes()),
            any::<u64>().prop_map(|n| n.to_string().into_bytes()),
            Just(b"agent\0command".to_vec()),
        ]
    };
    let header = (prop_oneof![text(), proptest::sample::select(words())], bytes());
    (option::of(bytes()), option::of(bytes()), vec(header, 0..30)).prop_map(|(key, value, headers)| Record {
        key,
        value,
        headers: Headers(headers),
    })
}

/// Header names and texts of real records.
fn words() -> Vec<String> {
    let mut words = Vec::new();
    for (_, event) in crate::samples::events() {
        for (name, value) in event.to_record().headers.0 {
            words.push(name);
            words.extend(String::from_utf8(value));
        }
    }
    words.sort();
    words.dedup();
    words
}

/// What can happen to one of our records on its way.
#[derive(Clone, Debug)]
pub enum Damage {
    Key(Option<Vec<u8>>),
    Value(Option<Vec<u8>>),
    /// One byte of the value becomes another.
    Byte(usize, u8),
    /// The value ends early.
    Cut(usize),
    DropHeader(usize),
    Header(usize, Vec<u8>),
    SwapHeaders(usize, usize),
}

pub fn damage() -> impl Strategy<Value = Damage> {
    let at = || any::<usize>();
    prop_oneof![
        option::of(bytes()).prop_map(Damage::Key),
        option::of(bytes()).prop_map(Damage::Value),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        at().prop_map(Damage::Cut),
        at().prop_map(Damage::DropHeader),
        (at(), bytes()).prop_map(|(at, value)| Damage::Header(at, value)),
        (at(), any::<u64>()).prop_map(|(at, n)| Damage::Header(at, n.to_string().into_bytes())),
        (at(), at()).prop_map(|(a, b)| Damage::SwapHeaders(a, b)),
    ]
}

impl Damage {
    pub fn apply(self, record: &mut Record) {
        let headers = &mut record.headers.0;
        let count = headers.len();
        match self {
            Damage::Key(key) => record.key = key,
            Damage::Value(value) => record.value = value,
            Damage::Byte(at, byte) => {
                if let Some(value) = record.value.as_mut().filter(|value| !value.is_empty()) {
                    let at = at % value.len();
                    value[at] = byte;
                }
            }
            Damage::Cut(at) => {
                if let Some(value) = record.value.as_mut().filter(|value| !value.is_empty()) {
                    value.truncate(at % value.len());
                }
            }
            _ if count == 0 => {}
            Damage::DropHeader(at) => drop(headers.remove(at % count)),
            Damage::Header(at, value) => headers[at % count].1 = value,
            Damage::SwapHeaders(a, b) => {
                let value = headers[a % count].1.clone();
                headers[b % count].1 = value;
            }
        }
    }
}
