//! Outputs, state and positions, all or nothing.

use std::time::Duration;

use tempfile::tempdir;
use tripline_eventlog::{
    LogError, Reader as _,
    embedded::{Batch, EmbeddedLog, EmbeddedOptions, Output, Position, StateChange},
};

use crate::support::{LONG, OUTPUTS, open, read_all, record, topic, values};

fn output(partition: u32, value: &str) -> Output {
    Output { topic: OUTPUTS.to_owned(), partition, record: record("key", value) }
}

fn put(partition: u32, key: &str, value: &str) -> StateChange {
    StateChange { partition, key: key.into(), value: Some(value.into()) }
}

fn state(log: &EmbeddedLog, partition: u32) -> Vec<(String, String)> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let entries = log.state_iter(partition).unwrap();
    entries.map(|entry| entry.unwrap()).map(|(key, value)| (text(key), text(value))).collect()
}

#[test]
fn a_commit_changes_outputs_state_and_positions_together_and_survives_reopening() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 2);
    let position = Position { group: "app".into(), partition: 1, offset: 7 };
    log.commit(Batch {
        outputs: vec![output(1, "first"), output(0, "other"), output(1, "second")],
        state: vec![put(1, "a", "1"), put(1, "b", "2"), put(1, "a", "3"), put(2, "a", "4")],
        positions: vec![position],
    })
    .unwrap();
    log.commit(Batch {
        state: vec![StateChange { partition: 1, key: b"b".to_vec(), value: None }],
        ..Batch::default()
    })
    .unwrap();

    let check = |log: &EmbeddedLog| {
        assert_eq!(state(log, 1), [("a".to_owned(), "3".to_owned())]);
        assert_eq!(state(log, 2), [("a".to_owned(), "4".to_owned())]);
        assert_eq!(state(log, 0), []);
        assert_eq!(log.state_get(1, b"a").unwrap().as_deref(), Some(b"3".as_slice()));
        assert_eq!(log.state_get(1, b"b").unwrap(), None);
        assert_eq!(log.position("app", 1).unwrap(), Some(7));
        assert_eq!(log.position("app", 0).unwrap(), None);
        assert_eq!(log.position("other", 1).unwrap(), None);
    };
    check(&log);
    log.sync().unwrap();
    let read = |log: &EmbeddedLog| {
        let read = read_all(&mut log.reader(OUTPUTS).unwrap());
        values(&read.into_iter().filter(|stored| stored.partition == 1).collect::<Vec<_>>())
    };
    assert_eq!(read(&log), ["first", "second"]);
    drop(log);
    let log = EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap();
    check(&log);
    assert_eq!(read(&log), ["first", "second"]);
}

#[test]
fn outputs_are_not_seen_before_they_are_synced_and_are_then() {
    let dir = tempdir().unwrap();
    // Nothing is synced unless somebody asks for it.
    let options = EmbeddedOptions { sync_after: LONG, ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(dir.path(), options).unwrap();
    log.create_topics(&[topic(OUTPUTS, 1)]).unwrap();
    log.commit(Batch { outputs: vec![output(0, "unsynced")], state: vec![put(0, "k", "v")], positions: vec![] })
        .unwrap();
    let mut reader = log.reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    assert_eq!(reader.read(1, Duration::from_millis(50)).unwrap(), []);
    assert_eq!(reader.bounds(0).unwrap().end, 0);
    assert_eq!(log.state_get(0, b"k").unwrap().as_deref(), Some(b"v".as_slice()), "state is there at once");

    log.append(OUTPUTS, &[record("k", "synced with it")]).unwrap();
    assert_eq!(values(&reader.read(9, Duration::ZERO).unwrap()), ["unsynced", "synced with it"]);
}

#[test]
fn a_follower_sees_outputs_without_anybody_asking_for_a_sync() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    let mut reader = log.reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    log.commit(Batch { outputs: vec![output(0, "alert")], ..Batch::default() }).unwrap();
    assert_eq!(values(&reader.read(1, LONG).unwrap()), ["alert"]);
}

#[test]
fn a_batch_that_can_not_be_written_changes_nothing() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    let large = Output { topic: OUTPUTS.to_owned(), partition: 0, record: record("k", vec![0; 5 << 20]) };
    let elsewhere = Output { topic: "other".to_owned(), ..output(0, "x") };
    for bad in [large, elsewhere, output(1, "no such partition")] {
        let batch = Batch {
            outputs: vec![output(0, "x"), bad],
            state: vec![put(0, "k", "v")],
            positions: vec![Position { group: "g".into(), partition: 0, offset: 1 }],
        };
        log.commit(batch).unwrap_err();
    }
    log.sync().unwrap();
    assert_eq!(read_all(&mut log.reader(OUTPUTS).unwrap()), []);
    assert_eq!(state(&log, 0), []);
    assert_eq!(log.position("g", 0).unwrap(), None);
}

#[test]
fn state_is_iterated_as_it_was_at_the_start() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    log.commit(Batch { state: vec![put(0, "a", "1"), put(0, "c", "3")], ..Batch::default() }).unwrap();
    let entries = log.state_iter(0).unwrap();
    log.commit(Batch { state: vec![put(0, "b", "2"), put(0, "c", "4")], ..Batch::default() }).unwrap();
    let seen: Vec<_> = entries.map(|entry| entry.unwrap()).collect();
    assert_eq!(seen, [(b"a".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"3".to_vec())]);
}

#[test]
fn a_topic_keeps_its_partition_count_and_takes_over_other_settings() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 3);
    log.create_topics(&[topic(OUTPUTS, 3)]).unwrap();
    let error = log.create_topics(&[topic("new", 1), topic(OUTPUTS, 4)]).unwrap_err();
    assert!(matches!(&error, LogError::Failed { what, .. } if what.contains("has 3 partitions, not 4")), "{error}");
    assert_eq!(log.topics().len(), 1, "all are checked before any is made");

    let mut larger = topic(OUTPUTS, 3);
    larger.record_bytes_max *= 2;
    log.create_topics(&[larger.clone()]).unwrap();
    drop(log);
    assert_eq!(EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap().topics(), [larger]);
}

#[test]
fn names_and_counts_that_no_topic_can_have_are_refused() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    for (name, partitions) in [("", 1), ("a/b", 1), ("a b", 1), ("ü", 1), ("x", 0), ("x", 100_000)] {
        assert!(log.create_topics(&[topic(name, partitions)]).is_err(), "{name:?} {partitions}");
    }
}
