//! Whoever can write into a topic can write anything: reading it gives a value or an error, never a panic.

use proptest::prelude::*;
use tripline_schemas::alert::Alert;
use tripline_schemas::dead_letter::DeadLetter;
use tripline_schemas::event::Event;
use tripline_schemas::history::HistoryReader;
use tripline_schemas::ruleset::RuleSetRecord;
use tripline_schemas::state::{Activation, Cursor, Cursors, HistoryBounds, KeyState, RecordedEvent, Seen, StateKey};
use tripline_schemas::{DecodeError, Key, Record};

use crate::samples;
use crate::strategies::{Damage, bytes, damage, record};

/// Decodes a record as everything; what can be read can be written and read again.
fn decode_as_everything(record: &Record) {
    if let Ok(event) = Event::from_record(record) {
        assert_eq!(Event::from_record(&event.to_record()).as_ref(), Ok(&event));
    }
    if let Ok(alert) = Alert::from_record(record) {
        let again = Alert::from_record(&alert.to_record()).unwrap();
        assert_eq!(again.to_record(), alert.to_record());
    }
    if let Ok(letter) = DeadLetter::from_record(record) {
        assert_eq!(DeadLetter::from_record(&letter.to_record()).as_ref(), Ok(&letter));
    }
    if let Ok(ruleset) = RuleSetRecord::from_record(record) {
        assert_eq!(RuleSetRecord::from_record(&ruleset.to_record()).as_ref(), Ok(&ruleset));
        ruleset.files.iter().for_each(|file| drop(file.bytes()));
    }
}

/// One good record of every kind.
fn good_records() -> Vec<Record> {
    let mut records: Vec<Record> = samples::events().iter().map(|(_, event)| event.to_record()).collect();
    records.extend(samples::alerts().iter().map(|(_, alert)| alert.to_record()));
    records.extend(samples::dead_letters().iter().map(|(_, letter)| letter.to_record()));
    records.push(samples::ruleset().to_record());
    records
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn any_record_is_read_or_refused(record in record()) {
        decode_as_everything(&record);
    }

    #[test]
    fn a_damaged_record_is_read_or_refused(
        record in proptest::sample::select(good_records()),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let mut record = record;
        damages.into_iter().for_each(|damage| Damage::apply(damage, &mut record));
        decode_as_everything(&record);
    }

    #[test]
    fn any_state_bytes_are_read_or_refused(bytes in bytes()) {
        if let Ok(key) = StateKey::from_bytes(&bytes) {
            assert_eq!(key.to_bytes(), bytes);
        }
        drop(KeyState::from_bytes(&bytes));
        drop(Cursor::from_bytes(&bytes));
        drop(Cursors::from_bytes(&bytes));
        drop(Activation::from_bytes(&bytes));
        drop(HistoryBounds::from_bytes(&bytes));
        drop(RecordedEvent::from_bytes(&bytes));
        drop(Seen::from_bytes(&bytes));
    }

    #[test]
    fn any_bytes_are_read_as_a_history_or_refused(bytes in bytes()) {
        HistoryReader::new(&bytes[..]).for_each(drop);
    }
}

/// Fails for a record that is refused as it should be, when the reason is another.
fn refused(change: impl Fn(&mut Record), expected: &str) {
    let mut record = Event::Output(samples::run()).to_record();
    change(&mut record);
    let err = Event::from_record(&record).expect_err("it must be refused");
    assert_eq!(err.to_string(), expected);
}

fn set(record: &mut Record, name: &str, value: &[u8]) {
    record.headers.push(name, value);
}

#[test]
fn a_refused_record_says_what_is_wrong_with_it() {
    refused(|r| r.value = None, "the record has no value");
    refused(|r| r.key = None, "the record's key is wrong: the record's key is not `agent NUL command` in UTF-8");
    refused(|r| r.headers.0.retain(|(name, _)| name != "ce_time"), "header `ce_time` is missing");
    refused(|r| set(r, "ce_specversion", b"0.3"), "header `ce_specversion` is `0.3`: expected `1.0`");
    refused(
        |r| set(r, "ce_time", b"-000005-01-01T00:00:00Z"),
        "header `ce_time` is `-000005-01-01T00:00:00Z`: expected an RFC 3339 time",
    );
    refused(|r| set(r, "ce_type", b"tripline.alert.v1"), "record type `tripline.alert.v1` is not known here");
    refused(|r| set(r, "ce_id", b"42"), "header `ce_id` is `42`: expected a UUID, `/` and a number");
    refused(|r| set(r, "tripline_format", b"\xff"), "header `tripline_format` is `\u{fffd}`: expected UTF-8");
    refused(|r| set(r, "tripline_duration_ms", b"-1"), "header `tripline_duration_ms` is `-1`: expected a number");
    refused(|r| set(r, "tripline_ending", b"timed_out"), "header `tripline_time_limit_ms` is missing");
    refused(
        |r| set(r, "tripline_agent", b"web-2"),
        "header `tripline_agent` is `web-2`: expected the agent of the record's key",
    );
    refused(
        |r| set(r, "tripline_alias", b"df"),
        "header `tripline_alias` is `df`: expected the command of the record's key",
    );
}

#[test]
fn a_record_whose_key_is_not_its_contents_is_refused() {
    for (name, event) in samples::events().into_iter().filter(|(_, event)| !matches!(event, Event::Output(_))) {
        let mut record = event.to_record();
        record.key = Some(Key::new("web-2", "df -P").unwrap().to_bytes());
        let err = Event::from_record(&record).expect_err(name);
        assert!(matches!(err, DecodeError::KeyMismatch { .. }), "{name}: {err}");
    }
    let mut alert = samples::alerts()[0].1.to_record();
    alert.key = None;
    assert!(matches!(Alert::from_record(&alert), Err(DecodeError::KeyMismatch { .. })));
    let mut ruleset = samples::ruleset().to_record();
    ruleset.key = Some(b"other".to_vec());
    assert!(matches!(RuleSetRecord::from_record(&ruleset), Err(DecodeError::KeyMismatch { .. })));
}

#[test]
fn a_gap_that_ends_before_it_begins_is_refused() {
    let (_, gap) = samples::events().into_iter().find(|(name, _)| *name == "gap").unwrap();
    let Event::Gap(mut gap) = gap else { unreachable!() };
    gap.last = gap.first - 1;
    let err = Event::from_record(&Event::Gap(gap).to_record()).unwrap_err();
    assert_eq!(err.to_string(), "the record's value is not the expected JSON: a gap from 43 to 42 is none");
}

#[test]
fn no_message_carries_control_characters_or_a_megabyte() {
    let hostile = b"\x1b[2J\n** Alert 1.1: mail\n".repeat(50_000);
    for header in ["ce_type", "ce_id", "tripline_format", "tripline_agent"] {
        let mut record = Event::Output(samples::run()).to_record();
        set(&mut record, header, &hostile);
        let message = Event::from_record(&record).unwrap_err().to_string();
        assert!(!message.contains(char::is_control), "{message}");
        assert!(message.len() < 1000, "{} bytes", message.len());
    }
    let mut record = Event::Output(samples::run()).to_record();
    set(&mut record, "ce_type", b"tripline.control.v1");
    record.value = Some(br#"{"agent":"a","command":"c","author":"x","reason":"y","order":{"\u001b[2J":{}}}"#.to_vec());
    let message = Event::from_record(&record).unwrap_err().to_string();
    assert!(!message.contains(char::is_control), "{message}");
    // The same of a history: its lines quote what they hold, too.
    let line = format!("{{\"{}\":1}}", "\\u001b[2J".repeat(100_000));
    let message = HistoryReader::new(line.as_bytes()).next().unwrap().unwrap_err().to_string();
    assert!(!message.contains(char::is_control), "{message}");
    assert!(message.len() < 6000, "{} bytes", message.len());
}
