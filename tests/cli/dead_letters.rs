//! Records that nobody can read.

use std::time::Duration;

use tripline_eventlog::embedded::{EmbeddedOptions, LocalLog, open_for_reading};
use tripline_eventlog::{Publisher, Reader};
use tripline_schemas::Record;
use tripline_schemas::dead_letter::DeadLetter;

use super::{Place, RUN, alert_count, judged_ticks, place};

fn open(place: &Place) -> LocalLog {
    open_for_reading(&place.path("data/log"), EmbeddedOptions::default()).unwrap()
}

/// Records such as a program with a mistake may send.
fn garbage() -> Vec<Record> {
    let record =
        |key: &[u8], value: &[u8]| Record { key: Some(key.to_vec()), value: Some(value.to_vec()), ..Record::default() };
    let mut lies = record(b"box\0tick", b"{}");
    lies.headers.push("ce_type", "tripline.output.v1");
    vec![record(b"box\0tick", b"junk"), record(b"\xff\xfe", b""), lies, Record::default()]
}

#[test]
fn what_can_not_be_read_goes_to_the_dead_letters_and_processing_goes_on() {
    let place = place();
    let mut running = place.start(&RUN);
    running.wait_for("watching with");
    running.wait_until("an alert", |_| alert_count(&place) > 0);
    open(&place).publisher().unwrap().publish("tripline.outputs", &garbage()).unwrap();
    let alerts = alert_count(&place);
    running.wait_until("alerts behind the garbage", |_| alert_count(&place) > alerts + 1);
    running.stop().exits(0).says(&["4 to the dead letters"]);

    let mut reader = open(&place).reader("tripline.dead-letters").unwrap();
    reader.seek(0, 0).unwrap();
    let letters = reader.read(100, Duration::ZERO).unwrap();
    assert_eq!(letters.len(), 4);
    for (stored, original) in letters.iter().zip(garbage()) {
        let letter = DeadLetter::from_record(&stored.record).unwrap();
        assert_eq!(letter.original, original);
        assert_eq!(letter.topic, "tripline.outputs");
        assert!(!letter.reason.is_empty());
    }

    // Readers say that something is there, and show the rest.
    let outputs = place.tripline(&["outputs", "--data-dir", "data", "--format", "json"]).exits(0);
    assert!(outputs.out.starts_with(b"{") && outputs.err.contains("can't be decoded"), "{}", outputs.err);
}

#[test]
fn a_dead_letter_is_written_once() {
    let place = judged_ticks(2);
    {
        let log = tripline_eventlog::embedded::EmbeddedLog::open(&place.path("data/log"), EmbeddedOptions::default());
        log.unwrap().append("tripline.outputs", &garbage()).unwrap();
    }
    let process = ["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"];
    place.tripline(&process).exits(0).says(&["4 to the dead letters"]);
    let again = place.tripline(&process).exits(0);
    assert!(!again.err.contains("dead letters"), "{}", again.err);
    let mut reader = open(&place).reader("tripline.dead-letters").unwrap();
    assert_eq!(reader.bounds(0).unwrap().end, 4);
}
