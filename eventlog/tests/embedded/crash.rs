//! kill -9 at random times.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::tempdir;
use tripline_eventlog::{
    Stored,
    embedded::{Batch, EmbeddedLog, EmbeddedOptions, Output, Position, StateChange},
};

use crate::support::{
    LONG, OUTPUTS, Random, assert_without_gaps, child, child_dir, number, open, read_all, record, topic, values,
};

const ALERTS: &str = "alerts";
const APPENDERS: u64 = 3;

/// Small buffers, so that a few seconds see many flushes and compactions.
fn options() -> EmbeddedOptions {
    EmbeddedOptions { write_buffer_bytes: 128 << 10, wal_bytes_max: 1 << 20, ..EmbeddedOptions::default() }
}

/// Appends with several threads, says what was acknowledged, and beside them commits batches whose output, state and
/// position all hold the same number. Both go on where the log stands.
#[test]
#[ignore = "a child of the test below, killed by it"]
fn child_that_writes() {
    let Some(dir) = child_dir() else { return };
    let log = EmbeddedLog::open(&dir, options()).unwrap();
    log.create_topics(&[topic(OUTPUTS, 2), topic(ALERTS, 2)]).unwrap();
    let life = read_all(&mut log.reader(OUTPUTS).unwrap()).len();
    std::thread::scope(|scope| {
        for appender in 0..APPENDERS {
            let log = log.clone();
            scope.spawn(move || {
                for n in 0.. {
                    let name = format!("{life}-{appender}-{n}");
                    // Some in blob files, some not.
                    let value = format!("{name} {}", "x".repeat(if n % 3 == 0 { 10_000 } else { 10 }));
                    let at = log.append(OUTPUTS, &[record(&appender.to_string(), value)]).unwrap()[0];
                    // One write call, so that a kill leaves no half line that looks like a whole one.
                    let line = format!("\nacknowledged {name} {} {}\n", at.0, at.1);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
        let mut next = log.position("app", 0).unwrap().unwrap_or(0);
        loop {
            log.commit(Batch {
                outputs: vec![
                    Output { topic: ALERTS.to_owned(), partition: 0, record: record("k", next.to_string()) },
                    Output { topic: ALERTS.to_owned(), partition: 1, record: record("k", next.to_string()) },
                ],
                state: vec![StateChange { partition: 0, key: b"n".to_vec(), value: Some(next.to_string().into()) }],
                positions: vec![Position { group: "app".to_owned(), partition: 0, offset: next + 1 }],
            })
            .unwrap();
            next += 1;
            if next.is_multiple_of(16) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
}

#[test]
fn a_log_whose_owner_is_killed_keeps_every_acknowledged_record_once_in_order_and_whole_batches() {
    let mut random = Random::seeded();
    let dir = tempdir().unwrap();
    let mut acknowledged: BTreeMap<(u32, u64), String> = BTreeMap::new();
    for round in 0..kills() {
        let mut writer = child("crash::child_that_writes", dir.path());
        let output = writer.stdout.take().unwrap();
        let lines = std::thread::spawn(move || {
            let whole = BufReader::new(output).lines().map_while(Result::ok);
            whole.filter(|line| line.starts_with("acknowledged ")).collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(20 + random.below(500)));
        writer.kill().unwrap();
        writer.wait().unwrap();
        for line in lines.join().unwrap() {
            let words: Vec<&str> = line.split(' ').collect();
            // The last line may be cut.
            if let [_, name, partition, offset] = words[..] {
                let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else { continue };
                acknowledged.entry((partition, offset)).or_insert_with(|| name.to_owned());
            }
        }
        let log = EmbeddedLog::open(dir.path(), options()).unwrap();
        check(&log, &acknowledged, round);
    }
    assert!(!acknowledged.is_empty(), "no child lived long enough to write anything");
}

fn check(log: &EmbeddedLog, acknowledged: &BTreeMap<(u32, u64), String>, round: u64) {
    log.create_topics(&[topic(OUTPUTS, 2), topic(ALERTS, 2)]).unwrap();
    let outputs = read_all(&mut log.reader(OUTPUTS).unwrap());
    let named: BTreeMap<(u32, u64), String> = outputs
        .iter()
        .zip(values(&outputs))
        .map(|(stored, value)| ((stored.partition, stored.offset), value.split(' ').next().unwrap().to_owned()))
        .collect();
    for partition in 0..2 {
        assert_without_gaps(&outputs, partition, 0);
    }
    for (place, name) in acknowledged {
        assert_eq!(named.get(place), Some(name), "round {round}: acknowledged at {place:?}");
    }
    // Once, and in each appender's order.
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for name in named.values() {
        let (appender, n) = name.rsplit_once('-').unwrap();
        numbers.entry(appender.to_owned()).or_default().push(n.parse().unwrap());
    }
    for (appender, numbers) in numbers {
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "round {round}: of {appender}");
    }

    // Whole batches: both outputs, state and position say the same.
    let next = log.position("app", 0).unwrap().unwrap_or(0);
    let state = log.state_get(0, b"n").unwrap().map(|value| String::from_utf8(value).unwrap());
    assert_eq!(state, next.checked_sub(1).map(|last| last.to_string()), "round {round}");
    let alerts = read_all(&mut log.reader(ALERTS).unwrap());
    let expected: Vec<String> = (0..next).map(|n| n.to_string()).collect();
    for partition in 0..2 {
        assert_without_gaps(&alerts, partition, 0);
        let of_partition: Vec<Stored> = alerts.iter().filter(|stored| stored.partition == partition).cloned().collect();
        assert_eq!(values(&of_partition), expected, "round {round}, partition {partition}");
    }
}

/// How many times the owner is killed: `KILLS`, or a few.
fn kills() -> u64 {
    number("KILLS").unwrap_or(12)
}

#[test]
fn a_power_failure_takes_nothing_that_a_reader_saw_and_no_part_of_a_batch() {
    let mut random = Random::seeded();
    let dir = tempdir().unwrap();
    // Synced only where this test says so.
    let options = || EmbeddedOptions { sync_after: LONG, ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(dir.path(), options()).unwrap();
    log.create_topics(&[topic(ALERTS, 2)]).unwrap();
    let commit = |n: u64| {
        let output = |partition| Output { topic: ALERTS.to_owned(), partition, record: record("k", n.to_string()) };
        log.commit(Batch {
            outputs: vec![output(0), output(1)],
            state: vec![StateChange { partition: 0, key: b"n".to_vec(), value: Some(n.to_string().into()) }],
            positions: vec![Position { group: "app".to_owned(), partition: 0, offset: n + 1 }],
        })
        .unwrap();
    };
    (0..20).for_each(commit);
    log.sync().unwrap();
    let seen = read_all(&mut log.reader(ALERTS).unwrap()).len() as u64 / 2;
    assert_eq!(seen, 20);
    let synced = write_ahead_log(dir.path()).metadata().unwrap().len();
    (20..40).for_each(commit);
    assert_eq!(read_all(&mut log.reader(ALERTS).unwrap()).len() as u64 / 2, seen);
    let written = write_ahead_log(dir.path()).metadata().unwrap().len();
    assert!(written > synced);

    for _ in 0..20 {
        // Whatever was not synced may be on disk or not; the file ends somewhere behind the sync.
        let end = synced + random.below(written - synced + 1);
        let copy = tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        File::options().write(true).open(write_ahead_log(copy.path())).unwrap().set_len(end).unwrap();
        let log = EmbeddedLog::open(copy.path(), options()).unwrap();
        let next = log.position("app", 0).unwrap().unwrap();
        assert!((seen..=40).contains(&next), "cut at {end} of {synced} to {written}: {next}");
        let state = log.state_get(0, b"n").unwrap().unwrap();
        assert_eq!(String::from_utf8(state).unwrap(), (next - 1).to_string());
        let alerts = read_all(&mut log.reader(ALERTS).unwrap());
        for partition in 0..2 {
            let of_partition: Vec<Stored> =
                alerts.iter().filter(|stored| stored.partition == partition).cloned().collect();
            assert_without_gaps(&of_partition, partition, 0);
            assert_eq!(values(&of_partition), (0..next).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    }
}

fn write_ahead_log(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
    logs.sort();
    logs.pop().expect("there is a write-ahead log")
}

/// As the disk is found after a power failure. The log is open: what it puts in the place of another file may vanish between
/// the look at the directory and the copy.
fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => match fs::copy(entry.path(), target) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            },
        }
    }
}

#[test]
fn a_log_that_was_closed_in_peace_opens_where_it_was() {
    let dir = tempdir().unwrap();
    for n in 0..5 {
        let log = open(dir.path(), 1);
        assert_eq!(log.append(OUTPUTS, &[record("k", n.to_string())]).unwrap(), [(0, n)]);
    }
}
