//! What any released version wrote stays readable, and means what it meant.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tripline_schemas::alert::Alert;
use tripline_schemas::dead_letter::DeadLetter;
use tripline_schemas::event::Event;
use tripline_schemas::history::{HistoryReader, HistoryRecord};
use tripline_schemas::ruleset::RuleSetRecord;
use tripline_schemas::state::{Activation, Cursor, Cursors, HistoryBounds, KeyState, RecordedEvent, Seen, StateKey};
use tripline_schemas::{Headers, Key, Record};

use crate::samples;

/// A record as a file: bytes as text where they are UTF-8.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    key: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, Bytes)>,
    value: Option<Bytes>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bytes {
    Text(String),
    Base64(String),
}

impl Bytes {
    fn new(bytes: &[u8]) -> Bytes {
        match std::str::from_utf8(bytes) {
            Ok(text) => Bytes::Text(text.to_owned()),
            Err(_) => Bytes::Base64(BASE64.encode(bytes)),
        }
    }

    fn decode(self) -> Vec<u8> {
        match self {
            Bytes::Text(text) => text.into_bytes(),
            Bytes::Base64(text) => BASE64.decode(text).unwrap(),
        }
    }
}

/// The record in a fixture. With `TRIPLINE_BLESS=1` a fixture that is missing is written; none is ever changed.
fn fixture(name: &str, now: &Record) -> Record {
    let path = crate::crate_dir().join("fixtures/v1").join(format!("{name}.json"));
    if crate::bless()
        && let Ok(mut file) = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)
    {
        let fixture = Fixture {
            key: now.key.as_deref().map(Bytes::new),
            headers: now.headers.0.iter().map(|(name, value)| (name.clone(), Bytes::new(value))).collect(),
            value: now.value.as_deref().map(Bytes::new),
        };
        file.write_all(serde_json::to_string_pretty(&fixture).unwrap().as_bytes()).unwrap();
        file.write_all(b"\n").unwrap();
    }
    let fixture: Fixture = serde_json::from_slice(&crate::read(&path)).unwrap();
    Record {
        key: fixture.key.map(Bytes::decode),
        value: fixture.value.map(Bytes::decode),
        headers: Headers(fixture.headers.into_iter().map(|(name, value)| (name, value.decode())).collect()),
    }
}

/// The fixture decodes to this value, and the value encodes to the fixture's bytes.
fn check<T, E>(name: &str, value: &T, encode: impl Fn(&T) -> Record, decode: impl Fn(&Record) -> Result<T, E>)
where
    T: PartialEq + std::fmt::Debug,
    E: std::fmt::Display,
{
    let now = encode(value);
    let then = fixture(name, &now);
    let decoded = decode(&then).unwrap_or_else(|err| panic!("{name}: {err}"));
    assert_eq!(&decoded, value, "{name}: the fixture no longer means what it meant");
    assert_eq!(now, then, "{name}: the value is written differently now");
}

#[test]
fn events_of_version_1_stay_readable() {
    for (name, event) in samples::events().into_iter().chain(samples::later_events()) {
        check(name, &event, Event::to_record, Event::from_record);
    }
}

#[test]
fn alerts_of_version_1_stay_readable() {
    for (name, alert) in samples::alerts() {
        check(name, &alert, Alert::to_record, Alert::from_record);
    }
}

#[test]
fn dead_letters_of_version_1_stay_readable() {
    for (name, letter) in samples::dead_letters() {
        check(name, &letter, DeadLetter::to_record, DeadLetter::from_record);
    }
}

#[test]
fn rule_sets_of_version_1_stay_readable() {
    check("ruleset", &samples::ruleset(), RuleSetRecord::to_record, RuleSetRecord::from_record);
}

#[test]
fn state_of_version_1_stays_readable() {
    let key = Key::new("web-1", "listening ports").unwrap();
    check_state(
        "state-key",
        StateKey::Key(key.clone()),
        samples::key_state(),
        KeyState::to_bytes,
        KeyState::from_bytes,
    );
    check_state(
        "state-key-timers",
        StateKey::Key(key.clone()),
        samples::key_state_with_timers(),
        KeyState::to_bytes,
        KeyState::from_bytes,
    );
    check_state("state-cursor", StateKey::Cursor(key.clone()), samples::cursor(), Cursor::to_bytes, Cursor::from_bytes);
    check_state("state-cursors", StateKey::Cursors, samples::cursors(), Cursors::to_bytes, Cursors::from_bytes);
    let activation = samples::activation();
    check_state("state-activation", StateKey::Activation, activation, Activation::to_bytes, Activation::from_bytes);

    let (history, bounds) = (samples::history_key(), samples::history_bounds());
    let at = StateKey::History(history.clone());
    check_state("state-history", at, bounds, HistoryBounds::to_bytes, HistoryBounds::from_bytes);
    for (name, number, event) in [
        ("state-history-event", 130, samples::recorded_event()),
        ("state-history-event-bare", 0x0102_0304_0506_0708, samples::recorded_event_bare()),
    ] {
        let at = StateKey::HistoryEvent(history.clone(), number);
        check_state(name, at, event, RecordedEvent::to_bytes, RecordedEvent::from_bytes);
    }
    let at = StateKey::Seen(samples::seen_key());
    check_state("state-seen", at, samples::seen(), Seen::to_bytes, Seen::from_bytes);

    let text = b"ossec: output: 'listening ports':\ntcp 22".to_vec();
    let raw = |bytes: &[u8]| Ok(bytes.to_vec());
    check_state("state-text", StateKey::Text(key, samples::text_digest()), text, Vec::clone, raw);
}

fn check_state<T>(
    name: &str,
    key: StateKey,
    value: T,
    to_bytes: impl Fn(&T) -> Vec<u8>,
    from_bytes: impl Fn(&[u8]) -> Result<T, tripline_schemas::DecodeError>,
) where
    T: PartialEq + std::fmt::Debug,
{
    let encode = |(key, value): &(StateKey, T)| Record {
        key: Some(key.to_bytes()),
        value: Some(to_bytes(value)),
        headers: Headers::default(),
    };
    let decode = |record: &Record| {
        let key = StateKey::from_bytes(record.key.as_deref().unwrap())?;
        Ok::<_, tripline_schemas::DecodeError>((key, from_bytes(record.value.as_deref().unwrap())?))
    };
    check(name, &(key, value), encode, decode);
}

#[test]
fn histories_of_version_1_stay_readable() {
    let records = crate::history::samples();
    let lines: String = records.iter().map(|record| record.to_line().unwrap() + "\n").collect();
    let path = crate::crate_dir().join("fixtures/v1/history.jsonl");
    if crate::bless()
        && let Ok(mut file) = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)
    {
        file.write_all(lines.as_bytes()).unwrap();
    }
    let then = crate::read(&path);
    let decoded: Vec<HistoryRecord> = HistoryReader::new(&then[..]).map(Result::unwrap).collect();
    assert_eq!(decoded, records, "the fixture no longer means what it meant");
    assert_eq!(lines.as_bytes(), then, "the records are written differently now");
}

#[test]
fn every_fixture_is_tested() {
    let dir = crate::crate_dir().join("fixtures/v1");
    let mut found: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let records = samples::events().into_iter().chain(samples::later_events()).map(|(name, _)| name);
    let records = records.chain(samples::alerts().into_iter().map(|(name, _)| name));
    let records = records.chain(samples::dead_letters().into_iter().map(|(name, _)| name));
    let others =
        ["ruleset", "state-key", "state-key-timers", "state-cursor", "state-cursors", "state-activation", "state-text"];
    let memories = ["state-history", "state-history-event", "state-history-event-bare", "state-seen"];
    let mut tested: Vec<String> = records.chain(others).chain(memories).map(|name| format!("{name}.json")).collect();
    tested.push("history.jsonl".to_owned());
    found.sort();
    tested.sort();
    assert_eq!(found, tested);
}
