//! Records come back as they were.

use proptest::prelude::*;
use tripline_schemas::alert::{Alert, location};
use tripline_schemas::dead_letter::DeadLetter;
use tripline_schemas::event::{Control, Event, Gap, Heartbeat, Order};
use tripline_schemas::run::display_name;
use tripline_schemas::{Ending, Key, KeyError, Record, Run, RunId, key};

use crate::samples;
use crate::strategies::{self as any, record};

proptest! {
    #[test]
    fn a_run_comes_back_with_every_fact_and_byte(run in any::run()) {
        let record = Event::Output(run.clone()).to_record();
        prop_assert_eq!(record.value.as_ref(), Some(&run.output));
        prop_assert_eq!(Event::from_record(&record), Ok(Event::Output(run)));
    }

    #[test]
    fn gaps_orders_and_heartbeats_come_back(
        key in any::key(),
        address in proptest::option::of(any::text()),
        spool in any::uuid(),
        first in 0..u64::MAX / 2,
        runs in 1..u64::MAX / 2,
        time in any::time(),
        rule in proptest::option::of(proptest::num::u32::ANY),
        text in any::text(),
        plan in proptest::collection::btree_map(any::text(), proptest::num::u64::ANY, 0..4),
    ) {
        let agent = key.agent().to_owned();
        let collector = text.clone();
        let gap = Gap { key: key.clone(), address: address.clone(), spool, first, last: first + runs, runs, time };
        let control = Control { key, order: Order::Forget { rule }, author: text.clone(), reason: text, time };
        let heartbeat = Heartbeat { agent, address, spool, time, collector, plan };
        for event in [Event::Gap(gap), Event::Control(control), Event::Heartbeat(heartbeat)] {
            prop_assert_eq!(Event::from_record(&event.to_record()), Ok(event));
        }
    }

    #[test]
    fn a_dead_letter_keeps_the_original_untouched(
        original in record(),
        topic in any::text(),
        partition in proptest::num::u32::ANY,
        offset in proptest::num::u64::ANY,
        reason in any::text(),
    ) {
        let letter = DeadLetter { original, topic, partition, offset, reason };
        let record = letter.to_record();
        prop_assert_eq!(&record.key, &letter.original.key);
        prop_assert_eq!(&record.value, &letter.original.value);
        let count = letter.original.headers.0.len();
        prop_assert_eq!(&record.headers.0[..count], &letter.original.headers.0[..]);
        // Even one that is a dead letter already.
        let twice = DeadLetter { original: record, offset: 0, ..letter.clone() };
        prop_assert_eq!(DeadLetter::from_record(&twice.to_record()), Ok(twice.clone()));
        prop_assert_eq!(DeadLetter::from_record(&twice.original), Ok(letter));
    }

    #[test]
    fn keys_come_back_and_sort_as_their_bytes(a in any::key(), b in any::key()) {
        prop_assert_eq!(Key::from_bytes(&a.to_bytes()), Ok(a.clone()));
        prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        let json = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), a);
    }

    #[test]
    fn run_ids_come_back_from_text(id in any::run_id()) {
        prop_assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<RunId>(&json).unwrap(), id);
    }

    #[test]
    fn an_alert_keeps_its_time_to_the_millisecond(time in any::time()) {
        let mut alert = samples::alerts()[0].1.clone();
        alert.timestamp = time;
        let read = Alert::from_record(&alert.to_record()).unwrap();
        prop_assert_eq!(read.timestamp.as_millisecond(), time.as_nanosecond().div_euclid(1_000_000) as i64);
        prop_assert_eq!(read.to_record().value, alert.to_record().value);
    }
}

#[test]
fn a_run_id_is_a_uuid_a_slash_and_a_number() {
    for text in ["", "/", "1/1", "0191f6f0-7c1e-7a52-8d3b-2f6a1c9e4b70", "0191f6f0-7c1e-7a52-8d3b-2f6a1c9e4b70/-1"] {
        let err = text.parse::<RunId>().unwrap_err();
        assert_eq!(err.to_string(), format!("`{text}` is not a run id: expected a UUID, `/` and a number"));
    }
}

#[test]
fn a_key_has_two_names_without_nul_and_of_bounded_size() {
    assert_eq!(Key::new("", "df"), Err(KeyError::Empty("agent")));
    assert_eq!(Key::new("web", ""), Err(KeyError::Empty("command")));
    assert_eq!(Key::new("web", "d\0f"), Err(KeyError::Nul("command")));
    let x = |count: usize| "x".repeat(count);
    let long = Key::new("web", x(key::COMMAND_BYTES_MAX + 1));
    assert_eq!(long, Err(KeyError::TooLong { part: "command", len: 65_537, max: 65_536 }));
    assert!(Key::new(x(key::AGENT_BYTES_MAX), x(key::COMMAND_BYTES_MAX)).is_ok());
    let long = Key::new(x(key::AGENT_BYTES_MAX + 1), "df");
    assert_eq!(long, Err(KeyError::TooLong { part: "agent", len: 256, max: 255 }));
    assert_eq!(Key::from_bytes(b"web"), Err(KeyError::Malformed));
    assert_eq!(Key::from_bytes(b"web\0\xff"), Err(KeyError::Malformed));
    assert_eq!(Key::from_bytes(b"web\0d\0f"), Err(KeyError::Nul("command")));
}

#[test]
fn an_alerts_timestamp_looks_like_wazuhs() {
    let mut alert = samples::alerts()[0].1.clone();
    let mut written = |time: &str| {
        alert.timestamp = time.parse().unwrap();
        serde_json::to_value(&alert).unwrap()["timestamp"].as_str().unwrap().to_owned()
    };
    assert_eq!(written("2025-08-14T13:52:16.026104Z"), "2025-08-14T13:52:16.026+0000");
    assert_eq!(written("2025-08-14T15:52:16+02:00"), "2025-08-14T13:52:16.000+0000");
    assert_eq!(written("1969-12-31T23:59:59.9999Z"), "1969-12-31T23:59:59.999+0000");
}

/// Header names and values as text, for records whose headers are all text.
fn headers(record: &Record) -> Vec<(&str, &str)> {
    record.headers.0.iter().map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap())).collect()
}

#[test]
fn an_output_is_a_cloud_event_in_binary_mode() {
    let run = Run {
        key: Key::new("web 1", "df -P\n| tail").unwrap(),
        command_line: "df -P\n| tail".to_owned(),
        ..samples::bare_run(Ending::Exited(1))
    };
    let record = Event::Output(run).to_record();
    assert_eq!(record.key.as_deref(), Some(&b"web 1\0df -P\n| tail"[..]));
    assert_eq!(
        headers(&record),
        [
            ("ce_specversion", "1.0"),
            ("ce_type", "tripline.output.v1"),
            ("ce_id", "0191f6f0-7c1e-7a52-8d3b-2f6a1c9e4b70/7"),
            ("ce_source", "/tripline/agents/web%201"),
            ("ce_subject", "df -P | tail"),
            ("ce_time", "2025-08-14T13:52:16Z"),
            ("content-type", "application/octet-stream"),
            ("tripline_agent", "web 1"),
            ("tripline_command_line", "df -P\n| tail"),
            ("tripline_format", "command"),
            ("tripline_duration_ms", "0"),
            ("tripline_ending", "exited"),
            ("tripline_exit_code", "1"),
            ("tripline_collector", "0.1.0"),
        ]
    );
}

#[test]
fn equal_records_have_equal_ids_and_others_do_not() {
    let mut ids: Vec<Vec<u8>> = Vec::new();
    for (_, event) in samples::events() {
        let id = event.to_record().headers.get("ce_id").unwrap().to_vec();
        assert_eq!(event.to_record().headers.get("ce_id"), Some(&id[..]));
        if !matches!(event, Event::Output(_)) {
            ids.push(id);
        }
    }
    ids.sort();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn a_location_is_shown_as_ossec_shows_it() {
    assert_eq!(location("web-1", Some("192.0.2.10"), "df -P"), "(web-1) 192.0.2.10->df -P");
    assert_eq!(location("web-1", None, "df -P"), "web-1->df -P");
    assert_eq!(location("web-1", None, "ss -H sport = :22"), "web-1->ss -H sport = \\22");
    assert_eq!(display_name("a:b::c"), "a\\b\\\\c");
    assert!(matches!(display_name("df -P"), std::borrow::Cow::Borrowed("df -P")));
}

#[test]
fn a_later_version_may_add_fields_and_headers() {
    let mut record = Event::Output(samples::run()).to_record();
    record.headers.push("tripline_from_the_future", "1");
    assert_eq!(Event::from_record(&record), Ok(Event::Output(samples::run())));
    let alert = samples::alerts()[1].1.clone();
    let mut record = alert.to_record();
    let mut json: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
    json["from_the_future"] = 1.into();
    record.value = Some(json.to_string().into_bytes());
    assert_eq!(Alert::from_record(&record), Ok(alert));
}
