//! The shard loop on the embedded log, killed with SIGKILL at random times. A failure prints the seed that repeats the
//! world and the times of the kills (`SEED=...`).

#![allow(clippy::disallowed_methods)] // The seeds of a test, and what its child process is told, are no settings.

#[allow(dead_code)] // It serves several tests, each of which uses a part.
#[path = "sim/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tripline_engine::{Settings, SourceFile, compile};
use tripline_eventlog::Reader;
use tripline_eventlog::embedded::{Batch, EmbeddedLog, EmbeddedOptions, Position};
use tripline_eventlog::topics::TopicNames;
use tripline_processor::embedded::EmbeddedBackend;
use tripline_processor::{ActiveRules, Options, Summary, shard};
use tripline_schemas::alert::Alert;
use tripline_schemas::dead_letter::DeadLetter;
use tripline_schemas::event::Event;
use tripline_schemas::ruleset::RuleSetRecord;
use tripline_schemas::state::{Activation, StateKey};
use tripline_schemas::{Ending, Format, Key, Record, Run, RunId};
use uuid::Uuid;

use world::{RULES, Random, World, rules, seeds};

const APPLICATION: &str = "test";
const RECORDS: usize = 1_500;

fn topics() -> TopicNames {
    TopicNames::new(APPLICATION)
}

fn open(dir: &Path) -> EmbeddedLog {
    let log = EmbeddedLog::open(dir, EmbeddedOptions::default()).unwrap();
    log.create_topics(&topics().specs(1, 1 << 20)).unwrap();
    log
}

/// Small batches and checkpoints, so that kills hit all of them.
fn options() -> Options {
    Options {
        batch_records: 7,
        batch_age: Duration::from_millis(2),
        idle_wait: Duration::from_millis(5),
        checkpoint_records: 50,
        ..Options::default()
    }
}

/// Runs and gaps only: the rest may not be published twice.
fn records(seed: u64) -> Vec<Record> {
    let numbered = |record: &Record| matches!(Event::from_record(record), Ok(Event::Output(_) | Event::Gap(_)));
    World::new(seed, RECORDS).records.into_iter().map(|(_, record)| record).filter(numbered).collect()
}

/// Processes until `ready` says that everything was published, and the position has reached the end.
fn process(log: &EmbeddedLog, ready: &dyn Fn() -> bool) -> Summary {
    let mut backend = EmbeddedBackend::new(log.clone(), topics(), APPLICATION);
    let end = || log.reader(&topics().outputs).unwrap().bounds(0).unwrap().end;
    let stop = || ready() && log.position(APPLICATION, 0).unwrap().unwrap_or(0) == end();
    shard::run(&mut backend, &ActiveRules::new(Arc::new(rules(RULES))), &options(), &stop, &mut ()).unwrap()
}

/// All records of a topic, those that are just being synced too.
fn read(log: &EmbeddedLog, topic: &str) -> Vec<Record> {
    log.sync().unwrap();
    let mut reader = log.reader(topic).unwrap();
    let bounds = reader.bounds(0).unwrap();
    reader.seek(0, bounds.first).unwrap();
    let mut records = Vec::new();
    while (records.len() as u64) < bounds.end - bounds.first {
        records.extend(reader.read(1_000, Duration::from_secs(10)).unwrap().into_iter().map(|stored| stored.record));
    }
    records
}

/// What matters of what a log holds: the alerts without their places, in order, and the state of every key.
#[derive(Debug, PartialEq)]
struct Left {
    alerts: Vec<Alert>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn left(log: &EmbeddedLog) -> Left {
    let without_place = |record: &Record| Alert { source: None, ..Alert::from_record(record).unwrap() };
    let checkpoint = StateKey::Cursors.to_bytes();
    let state = log.state_iter(0).unwrap().map(Result::unwrap).filter(|(key, _)| *key != checkpoint).collect();
    Left { alerts: read(log, &topics().alerts).iter().map(without_place).collect(), state }
}

/// What a run without interruptions leaves.
fn calm(seed: u64) -> Left {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(&topics().outputs, &records(seed)).unwrap();
    process(&log, &|| true);
    left(&log)
}

#[test]
fn an_alert_does_not_wait_for_a_batch_to_fill_or_to_age() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(&topics().outputs, &records(1)).unwrap();
    let mut backend = EmbeddedBackend::new(log.clone(), topics(), APPLICATION);
    // Neither comes to pass: without the rule this would go on for ever.
    let options = Options { batch_records: 1_000_000, batch_age: Duration::from_secs(1_000_000), ..Options::default() };
    let is_told = || log.reader(&topics().alerts).unwrap().bounds(0).unwrap().end > 0;
    shard::run(&mut backend, &ActiveRules::new(Arc::new(rules(RULES))), &options, &is_told, &mut ()).unwrap();
}

#[test]
fn a_second_run_over_the_same_input_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(&topics().outputs, &records(1)).unwrap();
    let first = process(&log, &|| true);
    assert!(first.counts.alerts > 20 && first.counts.seen > 20, "{first:?}");
    let before = left(&log);
    drop(log);

    let log = open(dir.path());
    assert_eq!(process(&log, &|| true).counts, Default::default());
    assert_eq!(left(&log), before);
    assert_eq!(read(&log, &topics().rulesets).len(), 1);
}

#[test]
fn a_run_published_again_after_a_restart_is_not_judged_again() {
    let dir = tempfile::tempdir().unwrap();
    let published = records(2);
    let log = open(dir.path());
    log.append(&topics().outputs, &published).unwrap();
    process(&log, &|| true);
    let before = left(&log);
    drop(log);

    let log = open(dir.path());
    log.append(&topics().outputs, &published[published.len() - 30..]).unwrap();
    let again = process(&log, &|| true);
    assert_eq!((again.counts.seen, again.counts.judged), (30, 0));
    assert_eq!(left(&log), before);
}

#[test]
fn a_record_nobody_can_read_goes_to_the_dead_letters_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let key = Key::new("web", "ports").unwrap();
    let garbage = Record { key: Some(key.to_bytes()), value: Some(vec![0xff; 1 << 20]), ..Record::default() };
    log.append(&topics().outputs, std::slice::from_ref(&garbage)).unwrap();
    let summary = process(&log, &|| true);
    assert_eq!(summary.counts.dead_letters, 1);
    let letters = read(&log, &topics().dead_letters);
    assert_eq!(DeadLetter::from_record(&letters[0]).unwrap().original, garbage);
}

#[test]
fn an_alert_of_the_largest_texts_and_names_fits_its_topic() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    // Nothing takes more room in JSON.
    let control = |bytes: usize| "\u{1}".repeat(bytes);
    let key = Key::new(control(255), control(64 * 1024)).unwrap();
    let run = |sequence: u64| {
        let lines = (0..900).map(|line| format!("{}{}\n", control(990), line * 4 + sequence)).collect::<String>();
        Run {
            id: RunId { spool: Uuid::from_u128(1), sequence },
            key: key.clone(),
            address: Some(control(255)),
            command_line: control(64 * 1024),
            alias: None,
            format: Format::FullCommand,
            started: Timestamp::from_second(1_800_000_000 + sequence as i64).unwrap(),
            duration_ms: 1,
            start_delay_ms: None,
            ending: Ending::Exited(0),
            truncated_from: None,
            stderr_tail: control(4096).into_bytes(),
            collector: "1".to_owned(),
            output: lines.into_bytes(),
        }
    };
    let outputs: Vec<Record> = (1..=3).map(|sequence| Event::Output(run(sequence)).to_record()).collect();
    log.append(&topics().outputs, &outputs).unwrap();
    let rule = r#"<group name="large,"><rule id="100001" level="5"><if_sid>530</if_sid><check_diff /><description>It changed.</description></rule></group>"#;
    let file = SourceFile { name: "large.xml".to_owned(), text: rule.as_bytes().to_vec() };
    // As much as settings may ask for.
    let settings = Settings { alert_text_bytes_max: 128 * 1024, ..Settings::default() };
    let rules = ActiveRules::new(Arc::new(compile(&[file], &settings).unwrap()));
    let mut backend = EmbeddedBackend::new(log.clone(), topics(), APPLICATION);
    let stop = || log.position(APPLICATION, 0).unwrap() == Some(3);
    shard::run(&mut backend, &rules, &options(), &stop, &mut ()).unwrap();
    let alerts = read(&log, &topics().alerts);
    assert_eq!(alerts.len(), 2);
    assert!(alerts.iter().all(|alert| alert.value.as_ref().unwrap().len() > 4 << 20));
}

#[test]
fn records_that_retention_dropped_before_they_were_processed_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (log, published) = (open(dir.path()), records(3));
    log.append(&topics().outputs, &published[..10]).unwrap();
    process(&log, &|| true);
    log.append(&topics().outputs, &published[10..30]).unwrap();
    log.enforce_retention(tripline_faults::now() + SignedDuration::from_hours(15 * 24)).unwrap();
    assert_eq!(log.reader(&topics().outputs).unwrap().bounds(0).unwrap().first, 30);
    log.append(&topics().outputs, &published[30..]).unwrap();
    let summary = process(&log, &|| true);
    assert_eq!(summary.counts.arrivals, published.len() as u64 - 30);
    assert_eq!(log.position(APPLICATION, 0).unwrap(), Some(published.len() as u64));
}

#[test]
fn alerts_survive_sigkill_at_random_times_exactly_once_and_in_order() {
    for seed in seeds(3) {
        let expected = calm(seed);
        assert!(expected.alerts.len() > 20, "a dull world");
        let dir = tempfile::tempdir().unwrap();
        let mut random = Random::new(seed);
        // Where processing stood at each kill. On a slow machine kills come later, until they hit something.
        let mut places = vec![0];
        let mut life_max = 50_000;
        let mut child = start(dir.path(), seed);
        loop {
            thread::sleep(Duration::from_micros(random.below(life_max) as u64));
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "SEED={seed}: the process failed, kills at {places:?}: {status}");
                break;
            }
            // At last one is left alone.
            if places.len() < 40 {
                child.kill().unwrap();
                child.wait().unwrap();
                let place = open(dir.path()).position(APPLICATION, 0).unwrap().unwrap_or(0);
                if Some(&place) == places.last() {
                    life_max += 10_000;
                }
                places.push(place);
                child = start(dir.path(), seed);
            }
        }
        println!("SEED={seed}: kills at {places:?}");
        assert!(places.len() > 1, "SEED={seed}: it was over before the first kill");
        let log = open(dir.path());
        let got = left(&log);
        assert_eq!(got.alerts, expected.alerts, "SEED={seed}, kills at {places:?}");
        assert_eq!(got.state, expected.state, "SEED={seed}, kills at {places:?}");
    }
}

const CHILD_DIR: &str = "TRIPLINE_TEST_CHILD_DIR";
const CHILD_SEED: &str = "TRIPLINE_TEST_CHILD_SEED";

/// This test program again, as the process that is killed.
fn start(dir: &Path, seed: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_process_that_is_killed", "--nocapture"]).stdout(Stdio::null());
    command.env(CHILD_DIR, dir).env(CHILD_SEED, seed.to_string()).spawn().unwrap()
}

/// No test by itself: one thread publishes as a collector does, going on from the last position that was noted, and so
/// publishing some runs again; the other one processes.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let seed: u64 = std::env::var(CHILD_SEED).unwrap().parse().unwrap();
    let log = open(Path::new(&dir));
    let records = records(seed);
    let published = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| publish(&log, &records, &published));
        process(&log, &|| published.load(Ordering::SeqCst) == records.len() as u64);
    });
}

fn publish(log: &EmbeddedLog, records: &[Record], published: &AtomicU64) {
    const COLLECTOR: &str = "collector";
    let mut next = log.position(COLLECTOR, 0).unwrap().unwrap_or(0) as usize;
    while next < records.len() {
        let some = (next + 1 + next % 11).min(records.len());
        log.append(&topics().outputs, &records[next..some]).unwrap();
        next = some;
        let position = Position { group: COLLECTOR.to_owned(), partition: 0, offset: next as u64 };
        log.commit(Batch { positions: vec![position], ..Batch::default() }).unwrap();
    }
    published.store(next as u64, Ordering::SeqCst);
}

/// Throws the state away, as `tripline state rebuild` does.
fn without_state(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open_without_state(dir, EmbeddedOptions::default(), APPLICATION).unwrap()
}

#[test]
fn a_rebuilt_state_is_the_old_one_and_no_alert_comes_twice() {
    for seed in seeds(3) {
        let published = records(seed);
        let (first, rest) = published.split_at(published.len() / 2);
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        log.append(&topics().outputs, first).unwrap();
        process(&log, &|| true);
        let before = left(&log);
        let letters = read(&log, &topics().dead_letters).len();
        // Some of what follows waits when the state is rebuilt.
        log.append(&topics().outputs, &rest[..50]).unwrap();
        drop(log);

        let log = without_state(dir.path());
        assert_eq!(log.state_iter(0).unwrap().count(), 0);
        assert_eq!(log.told(APPLICATION, 0).unwrap(), Some(first.len() as u64));
        let mut backend = EmbeddedBackend::new(log.clone(), topics(), APPLICATION);
        let told = || log.position(APPLICATION, 0).unwrap().unwrap_or(0) >= first.len() as u64;
        let now = ActiveRules::new(Arc::new(rules(RULES)));
        let one_batch = Options { batch_records: 1_000_000, ..options() };
        shard::run(&mut backend, &now, &one_batch, &told, &mut ()).unwrap();
        assert_eq!(log.position(APPLICATION, 0).unwrap(), Some(first.len() as u64), "a unit spans the told offset");
        assert_eq!(left(&log), before, "SEED={seed}");
        assert_eq!(read(&log, &topics().dead_letters).len(), letters, "SEED={seed}");

        log.append(&topics().outputs, &rest[50..]).unwrap();
        process(&log, &|| true);
        assert_eq!(left(&log), calm(seed), "SEED={seed}");
    }
}

#[test]
fn a_rebuild_that_is_killed_again_and_again_goes_on_where_it_was() {
    let seed = 4;
    let expected = calm(seed);
    let published = records(seed);
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(&topics().outputs, &published).unwrap();
    process(&log, &|| true);
    drop(log);
    for _ in 0..10 {
        // Wiped anew, or gone on with.
        let log = if random.one_in(3) { without_state(dir.path()) } else { open(dir.path()) };
        let polls = AtomicU64::new(random.below(60) as u64);
        let enough = || polls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
        let mut backend = EmbeddedBackend::new(log.clone(), topics(), APPLICATION);
        shard::run(&mut backend, &ActiveRules::new(Arc::new(rules(RULES))), &options(), &enough, &mut ()).unwrap();
    }
    drop(without_state(dir.path()));
    let log = open(dir.path());
    process(&log, &|| true);
    assert_eq!(left(&log), expected);
}

#[test]
fn a_rebuild_begins_with_the_first_output_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (log, published) = (open(dir.path()), records(3));
    log.append(&topics().outputs, &published[..500]).unwrap();
    process(&log, &|| true);
    log.enforce_retention(tripline_faults::now() + SignedDuration::from_hours(15 * 24)).unwrap();
    log.append(&topics().outputs, &published[500..]).unwrap();
    process(&log, &|| true);
    let alerts = left(&log).alerts;
    drop(log);
    let log = without_state(dir.path());
    process(&log, &|| true);
    assert_eq!(left(&log).alerts, alerts);

    // As if the world had begun there.
    let dir = tempfile::tempdir().unwrap();
    let late = open(dir.path());
    late.append(&topics().outputs, &published[500..]).unwrap();
    process(&late, &|| true);
    let without = |left: Left| -> BTreeMap<Vec<u8>, Vec<u8>> {
        left.state.into_iter().filter(|(key, _)| *key != StateKey::Activation.to_bytes()).collect()
    };
    assert_eq!(without(left(&log)), without(left(&late)));
}

#[test]
fn an_exchanged_rule_set_is_noted_with_its_first_offset_and_its_files_are_in_the_log_once() {
    let dir = tempfile::tempdir().unwrap();
    let (log, published) = (open(dir.path()), records(5));
    let (old, new) = (Arc::new(rules(RULES)), Arc::new(rules(&RULES.replace("Logins changed.", "Logins differ."))));
    let active = ActiveRules::new(old.clone());
    let judge = |until: usize| {
        log.append(&topics().outputs, &published[until - 100..until]).unwrap();
        let is_done = || log.position(APPLICATION, 0).unwrap() == Some(until as u64);
        let mut backend = EmbeddedBackend::new(log.clone(), topics(), APPLICATION);
        shard::run(&mut backend, &active, &options(), &is_done, &mut ()).unwrap();
        let stored = log.state_get(0, &StateKey::Activation.to_bytes()).unwrap().unwrap();
        let Activation { digest, from_offset } = Activation::from_bytes(&stored).unwrap();
        (digest, from_offset)
    };
    assert_eq!(judge(100), (old.digest_hex(), 0));
    active.exchange(new.clone());
    assert_eq!(judge(200), (new.digest_hex(), 100));
    assert_eq!(judge(300), (new.digest_hex(), 100), "no restart activates it again");
    let sets: Vec<RuleSetRecord> =
        read(&log, &topics().rulesets).iter().map(|record| RuleSetRecord::from_record(record).unwrap()).collect();
    let digests: Vec<&str> = sets.iter().map(|set| set.digest.as_str()).collect();
    assert_eq!(digests, [old.digest_hex(), new.digest_hex()]);
    assert!(sets[1].files.iter().any(|file| file.text.contains("Logins differ.")), "every file is in there");
    let later = read(&log, &topics().alerts).iter().any(|record| {
        let alert = Alert::from_record(record).unwrap();
        alert.source.unwrap().offset >= 100 && alert.ruleset.digest == new.digest_hex()
    });
    assert!(later, "alerts name the set that made them");
}
