//! Old records go, and their disk comes back.

use std::{path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tempfile::tempdir;
use tripline_eventlog::{
    Bounds, LogError, Reader as _,
    embedded::{EmbeddedLog, EmbeddedOptions},
    topics::{Cleanup, TopicSpec},
};
use tripline_schemas::Record;

use crate::support::{OUTPUTS, Random, assert_without_gaps, open, read_all, record, topic, values};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn kept(bytes: Option<u64>) -> TopicSpec {
    TopicSpec { cleanup: Cleanup::Delete { age: Duration::from_secs(86_400), bytes }, ..topic(OUTPUTS, 1) }
}

/// Rewrites files as soon as anything was dropped.
fn options() -> EmbeddedOptions {
    EmbeddedOptions { write_buffer_bytes: 1 << 20, rewrite_after_bytes: 0, ..EmbeddedOptions::default() }
}

/// Bytes that do not compress.
fn noise(random: &mut Random, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| random.below(256) as u8).collect()
}

fn data_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let data = files.filter(|path| path.extension().is_some_and(|kind| kind == "sst" || kind == "blob"));
    // A file may be unlinked between the listing and here.
    data.filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn records_that_are_too_old_go_and_the_disk_comes_back() {
    let dir = tempdir().unwrap();
    let mut random = Random::seeded();
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    log.create_topics(&[kept(None)]).unwrap();
    for n in 0..200 {
        let size = if n % 2 == 0 { 100_000 } else { 1_000 };
        log.append(OUTPUTS, &[record("k", noise(&mut random, size))]).unwrap();
    }
    let now = tripline_faults::now();
    log.enforce_retention(now).unwrap();
    assert_eq!(read_all(&mut log.reader(OUTPUTS).unwrap()).len(), 200, "nothing is too old yet");
    let before = data_bytes(dir.path());
    assert!(before > 5 << 20, "{before} bytes in data files");

    log.enforce_retention(now + DAY + SignedDuration::from_secs(60)).unwrap();
    let mut reader = log.reader(OUTPUTS).unwrap();
    assert_eq!(reader.bounds(0).unwrap(), Bounds { first: 200, end: 200 });
    let after = data_bytes(dir.path());
    assert!(after < before / 10, "{before} bytes before, {after} after");

    // Offsets go on, also when nothing is left to tell them.
    drop((reader, log));
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    let mut reader = log.reader(OUTPUTS).unwrap();
    assert_eq!(reader.bounds(0).unwrap(), Bounds { first: 200, end: 200 });
    assert_eq!(log.append(OUTPUTS, &[record("k", "next")]).unwrap(), [(0, 200)]);
    assert_eq!(values(&read_all(&mut reader)), ["next"]);
}

#[test]
fn one_topic_gives_its_disk_back_although_another_keeps_its_records() {
    let dir = tempdir().unwrap();
    let mut random = Random::seeded();
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    let long = TopicSpec {
        cleanup: Cleanup::Delete { age: Duration::from_secs(90 * 86_400), bytes: None },
        ..topic("alerts", 1)
    };
    log.create_topics(&[kept(None), long]).unwrap();
    for n in 0..100 {
        log.append(OUTPUTS, &[record("k", noise(&mut random, 100_000))]).unwrap();
        log.append("alerts", &[record("k", format!("{n} {}", "x".repeat(5_000)))]).unwrap();
    }
    let before = data_bytes(dir.path());
    log.enforce_retention(tripline_faults::now() + DAY * 2).unwrap();
    let after = data_bytes(dir.path());
    assert!(after < before / 5, "{before} bytes before, {after} after");
    assert_eq!(read_all(&mut log.reader("alerts").unwrap()).len(), 100);
}

#[test]
fn the_oldest_go_when_a_partition_is_too_large() {
    let dir = tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    log.create_topics(&[kept(Some(50_000))]).unwrap();
    for n in 0..100 {
        log.append(OUTPUTS, &[record("k", format!("{n:03} {}", "x".repeat(996)))]).unwrap();
    }
    for _ in 0..2 {
        log.enforce_retention(tripline_faults::now()).unwrap();
        let read = read_all(&mut log.reader(OUTPUTS).unwrap());
        let bytes: usize = read.iter().map(|stored| stored.record.value.as_ref().unwrap().len()).sum();
        assert!((40_000..=50_000).contains(&bytes), "{bytes} bytes in {} records", read.len());
        assert_without_gaps(&read, 0, 100 - read.len() as u64);
    }
}

#[test]
fn a_reader_that_retention_overtook_is_told_what_is_left() {
    let dir = tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    log.create_topics(&[kept(None)]).unwrap();
    let mut reader = log.reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    for n in 0..10 {
        log.append(OUTPUTS, &[record("k", n.to_string())]).unwrap();
    }
    assert_eq!(reader.read(3, Duration::ZERO).unwrap().len(), 3);
    log.enforce_retention(tripline_faults::now() + DAY * 2).unwrap();
    let error = reader.read(3, Duration::ZERO).unwrap_err();
    assert!(matches!(error, LogError::OutOfRange { offset: 3, first: 10, end: 10, .. }), "{error}");
}

#[test]
fn readers_beside_retention_see_every_record_in_order_or_are_told() {
    let dir = tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    log.create_topics(&[kept(Some(200_000))]).unwrap();
    const RECORDS: u64 = 1_000;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut reader = log.reader(OUTPUTS).unwrap();
            scope.spawn(move || {
                let mut next = 0;
                reader.seek(0, 0).unwrap();
                while next < RECORDS {
                    match reader.read(50, crate::support::LONG) {
                        Ok(records) => {
                            for stored in records {
                                assert_eq!(stored.offset, next);
                                let value = stored.record.value.unwrap();
                                assert!(value.starts_with(format!("{next} ").as_bytes()));
                                next += 1;
                            }
                        }
                        Err(LogError::OutOfRange { offset, first, .. }) => {
                            assert!(offset == next && first > next, "{offset} {first} {next}");
                            next = first;
                            reader.seek(0, first).unwrap();
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
        let retention = log.clone();
        let cleaner = scope.spawn(move || {
            let mut reader = retention.reader(OUTPUTS).unwrap();
            while reader.bounds(0).unwrap().end < RECORDS {
                retention.enforce_retention(tripline_faults::now()).unwrap();
            }
        });
        for n in 0..RECORDS {
            log.append(OUTPUTS, &[record("k", format!("{n} {}", "x".repeat(2_000)))]).unwrap();
        }
        cleaner.join().unwrap();
    });
    log.enforce_retention(tripline_faults::now()).unwrap();
    assert!(log.reader(OUTPUTS).unwrap().bounds(0).unwrap().first > 0, "retention had something to do");
}

#[test]
fn a_compacted_topic_keeps_the_last_record_of_each_key() {
    let dir = tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    log.create_topics(&[TopicSpec { cleanup: Cleanup::Compact, ..topic("rulesets", 1) }]).unwrap();
    let tombstone = |key: &str| Record { value: None, ..record(key, "") };
    let records =
        [record("a", "1"), record("b", "1"), record("a", "2"), tombstone("b"), record("c", "1"), tombstone("c")];
    log.append("rulesets", &records).unwrap();
    let read = |log: &EmbeddedLog| -> Vec<(u64, String)> {
        let records = read_all(&mut log.reader("rulesets").unwrap());
        records.into_iter().map(|s| (s.offset, String::from_utf8(s.record.key.unwrap()).unwrap())).collect()
    };
    log.enforce_retention(tripline_faults::now()).unwrap();
    let expected = [(2, "a"), (3, "b"), (5, "c")].map(|(offset, key)| (offset, key.to_owned()));
    assert_eq!(read(&log), expected, "tombstones stay for a while");

    assert_eq!(log.append("rulesets", &[record("d", "1"), tombstone("d")]).unwrap(), [(0, 6), (0, 7)]);
    log.enforce_retention(tripline_faults::now() + DAY * 2).unwrap();
    assert_eq!(read(&log), [(2, "a".to_owned())]);
    drop(log);
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    assert_eq!(read(&log), [(2, "a".to_owned())]);
    assert_eq!(log.append("rulesets", &[record("a", "3")]).unwrap(), [(0, 8)], "offsets are not given out again");

    let keyless = log.append("rulesets", &[Record { key: None, ..record("", "x") }]).unwrap_err();
    assert!(keyless.to_string().contains("without a key"), "{keyless}");
}

#[test]
fn retention_leaves_alone_what_is_kept_for_ever() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    let forever = Cleanup::Delete { age: Duration::MAX, bytes: None };
    log.create_topics(&[TopicSpec { cleanup: forever, ..topic(OUTPUTS, 1) }]).unwrap();
    log.append(OUTPUTS, &[record("k", "v")]).unwrap();
    log.enforce_retention(Timestamp::MAX).unwrap();
    assert_eq!(read_all(&mut log.reader(OUTPUTS).unwrap()).len(), 1);
}
