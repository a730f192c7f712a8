//! Appending and reading in one process.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use tempfile::tempdir;
use tripline_eventlog::{
    Bounds, LogError, Publisher as _, Reader as _,
    embedded::{EmbeddedLog, EmbeddedOptions},
    topics::TopicSpec,
};
use tripline_schemas::{Headers, Record, partition::partition_for};

use crate::support::{LONG, OUTPUTS, assert_without_gaps, open, read_all, record, topic, values};

#[test]
fn what_was_appended_is_read_back_byte_for_byte() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    let mut headers = Headers::default();
    headers.push("a", vec![0xff, 0]);
    headers.push("a", "second of the same name");
    let records = [
        Record { key: None, value: None, headers: Headers::default() },
        Record { key: Some(vec![]), value: Some(vec![]), headers: Headers::default() },
        Record { key: Some(vec![0, 0xff]), value: Some(vec![0xc3, 0x28, b'\r', b'\n', 0]), headers },
        record("large", vec![7; 3 << 20]),
    ];
    let placed = log.append(OUTPUTS, &records).unwrap();
    assert_eq!(placed, [(0, 0), (0, 1), (0, 2), (0, 3)]);
    let read: Vec<Record> =
        read_all(&mut log.reader(OUTPUTS).unwrap()).into_iter().map(|stored| stored.record).collect();
    assert_eq!(read, records);
}

#[test]
fn a_record_larger_than_one_read_takes_is_handed_out_alone() {
    let dir = tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap();
    log.create_topics(&[TopicSpec { record_bytes_max: 8 << 20, ..topic(OUTPUTS, 1) }]).unwrap();
    let records = [1, 5 << 20, 6 << 20, 1].map(|size| record("k", vec![7; size]));
    log.append(OUTPUTS, &records).unwrap();
    let read = read_all(&mut log.reader(OUTPUTS).unwrap());
    assert!(read.into_iter().map(|stored| stored.record).eq(records));
}

#[test]
fn records_go_to_the_partition_of_their_key_and_stay_in_order() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 5);
    let mut publisher = log.publisher();
    for n in 0..200 {
        publisher.publish(OUTPUTS, &[record(&format!("agent\0command {}", n % 20), n.to_string())]).unwrap();
    }
    let read = read_all(&mut log.reader(OUTPUTS).unwrap());
    assert_eq!(read.len(), 200);
    for stored in &read {
        assert_eq!(stored.partition, partition_for(stored.record.key.as_ref().unwrap(), 5));
    }
    for partition in 0..5 {
        assert_without_gaps(&read, partition, 0);
        let of_partition: Vec<_> = read.iter().filter(|stored| stored.partition == partition).cloned().collect();
        let numbers: Vec<u32> = values(&of_partition).iter().map(|value| value.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "partition {partition}: {numbers:?}");
    }
}

#[test]
fn many_appenders_leave_no_gap_and_every_record_is_where_its_appender_was_told() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 3);
    let placed: Vec<(String, u32, u64)> = std::thread::scope(|scope| {
        let appenders: Vec<_> = (0..8)
            .map(|appender| {
                let log = log.clone();
                scope.spawn(move || {
                    let mut placed = Vec::new();
                    for n in 0..50 {
                        let names: Vec<String> = (0..=n % 3).map(|i| format!("{appender}-{n}-{i}")).collect();
                        let records: Vec<_> = names.iter().map(|name| record(name, name.as_str())).collect();
                        let at = log.append(OUTPUTS, &records).unwrap();
                        placed.extend(names.into_iter().zip(at).map(|(name, (p, o))| (name, p, o)));
                    }
                    placed
                })
            })
            .collect();
        appenders.into_iter().flat_map(|appender| appender.join().unwrap()).collect()
    });
    let read = read_all(&mut log.reader(OUTPUTS).unwrap());
    assert_eq!(read.len(), placed.len());
    for partition in 0..3 {
        assert_without_gaps(&read, partition, 0);
    }
    for (name, partition, offset) in placed {
        let found = read.iter().find(|stored| (stored.partition, stored.offset) == (partition, offset)).unwrap();
        assert_eq!(found.record.value.as_deref(), Some(name.as_bytes()));
    }
}

#[test]
fn an_acknowledged_record_is_readable_at_once() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    let mut reader = log.reader(OUTPUTS).unwrap();
    for n in 0..20 {
        log.append(OUTPUTS, &[record("k", n.to_string())]).unwrap();
        reader.seek(0, n).unwrap();
        assert_eq!(values(&reader.read(10, Duration::ZERO).unwrap()), [n.to_string()]);
        assert_eq!(reader.bounds(0).unwrap(), Bounds { first: 0, end: n + 1 });
    }
}

#[test]
fn a_follower_is_woken_by_an_append() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 2);
    let mut reader = log.reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    reader.seek(1, 0).unwrap();
    let follower = std::thread::spawn(move || {
        let mut all = Vec::new();
        while all.len() < 100 {
            let records = reader.read(10, LONG).unwrap();
            assert!(!records.is_empty(), "woken without a record");
            all.extend(records);
        }
        all
    });
    for n in 0..100 {
        log.append(OUTPUTS, &[record(&n.to_string(), n.to_string())]).unwrap();
    }
    let read = follower.join().unwrap();
    assert_without_gaps(&read, 0, 0);
    assert_without_gaps(&read, 1, 0);
}

#[test]
fn a_read_that_finds_nothing_returns_empty_handed() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    let mut reader = log.reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    assert_eq!(reader.read(10, Duration::from_millis(10)).unwrap(), []);
}

#[test]
fn one_busy_partition_does_not_hold_up_the_others() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 2);
    let key = |partition| (0..).map(|n: u32| n.to_string()).find(|key| partition_for(key.as_bytes(), 2) == partition);
    let (busy, quiet) = (key(0).unwrap(), key(1).unwrap());
    let many: Vec<_> = (0..100).map(|n: u32| record(&busy, n.to_string())).collect();
    log.append(OUTPUTS, &many).unwrap();
    log.append(OUTPUTS, &[record(&quiet, "quiet")]).unwrap();
    let mut reader = log.reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    reader.seek(1, 0).unwrap();
    let mut first = reader.read(10, Duration::ZERO).unwrap();
    first.extend(reader.read(10, Duration::ZERO).unwrap());
    assert!(first.iter().any(|stored| stored.partition == 1));
}

#[test]
fn a_read_hands_out_large_records_a_few_at_a_time() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    for n in 0..10 {
        log.append(OUTPUTS, &[record("k", vec![n; 1 << 20])]).unwrap();
    }
    let mut reader = log.reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    let some = reader.read(1000, Duration::ZERO).unwrap().len();
    assert!((1..10).contains(&some), "{some} records of 1 MiB in one read");
    assert_without_gaps(&read_all(&mut reader), 0, 0);
}

/// The time that the log's clock shows in the test below, in milliseconds.
static CLOCK: AtomicI64 = AtomicI64::new(0);

#[test]
fn append_times_never_go_back_and_offsets_are_found_by_them() {
    let dir = tempdir().unwrap();
    let at = |ms| Timestamp::from_millisecond(ms).unwrap();
    let clock = || Timestamp::from_millisecond(CLOCK.load(Ordering::Relaxed)).unwrap();
    let options = || EmbeddedOptions { clock, ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    log.create_topics(&[topic(OUTPUTS, 1), topic("alerts", 1)]).unwrap();
    for ms in [1_000, 2_000, 1_500, 3_000] {
        CLOCK.store(ms, Ordering::Relaxed);
        log.append(OUTPUTS, &[record("k", ms.to_string())]).unwrap();
    }
    drop(log);
    CLOCK.store(2_900, Ordering::Relaxed);
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    log.append(OUTPUTS, &[record("k", "after reopening")]).unwrap();
    // What is written on an output has not an earlier time than that.
    log.append("alerts", &[record("k", "the first of its topic")]).unwrap();
    let alerts = read_all(&mut log.reader("alerts").unwrap());
    assert_eq!(alerts[0].append_time, at(3_000));

    let mut reader = log.reader(OUTPUTS).unwrap();
    let times: Vec<i64> = read_all(&mut reader).iter().map(|stored| stored.append_time.as_millisecond()).collect();
    assert_eq!(times, [1_000, 2_000, 2_000, 3_000, 3_000]);
    for (ms, offset) in [(0, 0), (1_000, 0), (1_001, 1), (2_000, 1), (2_001, 3), (3_000, 3), (3_001, 5)] {
        assert_eq!(reader.offset_at(0, at(ms)).unwrap(), offset, "at {ms}");
    }
}

#[test]
fn what_can_not_be_appended_is_refused_as_a_whole() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    let too_large = log.append(OUTPUTS, &[record("k", "small"), record("k", vec![0; 5 << 20])]).unwrap_err();
    assert!(matches!(too_large, LogError::TooLarge { max, .. } if max == 4 << 20), "{too_large}");
    assert!(matches!(log.append("other", &[record("k", "v")]), Err(LogError::NoTopic { topic }) if topic == "other"));
    assert!(matches!(log.reader("other"), Err(LogError::NoTopic { .. })));
    assert_eq!(log.append(OUTPUTS, &[]).unwrap(), []);
    assert_eq!(read_all(&mut log.reader(OUTPUTS).unwrap()), []);
}

#[test]
fn offsets_that_are_not_there_are_an_error() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    log.append(OUTPUTS, &[record("k", "v")]).unwrap();
    let mut reader = log.reader(OUTPUTS).unwrap();
    reader.seek(0, 2).unwrap();
    let error = reader.read(1, Duration::ZERO).unwrap_err();
    assert!(matches!(error, LogError::OutOfRange { offset: 2, first: 0, end: 1, .. }), "{error}");
    assert!(reader.seek(1, 0).is_err(), "there is no partition 1");
}
