//! Partitions that move, and processes that do not know it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use tripline_processor::backend::Polled;
use tripline_processor::kafka::KafkaBackend;
use tripline_processor::{Backend, BackendError};
use tripline_testkafka::shared;

use crate::support::{App, PATIENCE, drive, drive_to_end, judge};

/// Polls until records come, as the loop would.
fn first_records(backend: &mut KafkaBackend) -> Vec<tripline_eventlog::Stored> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match backend.poll(100, Duration::from_millis(200)).unwrap() {
            Polled::Records(records) => return records,
            _ => assert!(Instant::now() < deadline, "no record came"),
        }
    }
}

#[test]
fn partitions_move_to_a_new_member_with_their_state() {
    let app = App::create(shared(), 4);
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    app.publish(0..200);
    let positions = Mutex::new(BTreeMap::new());
    let moved = Mutex::new(false);
    let seen = |partition: u32, position: u64| {
        let mut positions = positions.lock().unwrap();
        let known = positions.entry(partition).or_insert(0);
        *known = position.max(*known);
    };
    let member = |state: &std::path::Path, is_new: bool| {
        let mut backend = KafkaBackend::new(app.settings(state)).unwrap();
        let mut own = 0;
        drive(
            &mut backend,
            5,
            |partition, position| {
                seen(partition, position);
                own += 1;
                if is_new {
                    *moved.lock().unwrap() = true;
                }
            },
            || *moved.lock().unwrap() && *positions.lock().unwrap() == app.ends(),
        );
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| member(one.path(), false));
        thread::sleep(Duration::from_secs(2));
        let second = scope.spawn(|| member(other.path(), true));
        thread::sleep(Duration::from_secs(1));
        app.publish(200..400);
        first.join().unwrap();
        second.join().unwrap();
    });
    app.assert_exactly_once();
}

#[test]
fn a_process_that_was_paused_past_its_session_is_fenced() {
    let app = App::create(shared(), 1);
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    app.publish(0..20);
    let mut settings = app.settings(one.path());
    // It loses its partitions when it does not poll for this long.
    for key in ["max.poll.interval.ms", "session.timeout.ms"] {
        settings.kafka.properties.insert(key.to_owned(), "3000".to_owned());
    }
    let mut zombie = KafkaBackend::new(settings).unwrap();
    let records = first_records(&mut zombie);
    let unit = judge(&zombie, &records).unwrap();

    let mut heir = KafkaBackend::new(app.settings(other.path())).unwrap();
    drive_to_end(&app, &mut heir, 100);
    app.assert_exactly_once();

    let error = zombie.commit(unit).unwrap_err();
    assert!(matches!(error, BackendError::Fenced(_)), "{error}: {error:?}");
    app.assert_exactly_once();

    // It is an ordinary event: it recovers, and takes over when the heir is gone.
    zombie.recover().unwrap();
    drop(heir);
    app.publish(20..30);
    drive_to_end(&app, &mut zombie, 100);
    app.assert_exactly_once();
    app.assert_state(&zombie);
}

#[test]
fn a_copy_of_the_state_directory_fences_the_original() {
    let app = App::create(shared(), 1);
    let (one, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    app.publish(0..20);
    let mut original = KafkaBackend::new(app.settings(one.path())).unwrap();
    let records = first_records(&mut original);
    let unit = judge(&original, &records).unwrap();
    fs::create_dir(copy.path().join(&app.id)).unwrap();
    let node_id = |state: &tempfile::TempDir| state.path().join(&app.id).join("node-id");
    fs::copy(node_id(&one), node_id(&copy)).unwrap();

    let mut successor = KafkaBackend::new(app.settings(copy.path())).unwrap();
    drive_to_end(&app, &mut successor, 100);
    app.assert_exactly_once();

    original.commit(unit).unwrap_err();
    app.assert_exactly_once();
    // From now on they fence each other, until one of them says what is wrong.
    let deadline = Instant::now() + PATIENCE;
    let mut pair = [(original, true), (successor, false)];
    let error = 'told: loop {
        assert!(Instant::now() < deadline, "nobody was told");
        for (backend, failed) in &mut pair {
            let result =
                if *failed { backend.recover() } else { backend.poll(100, Duration::from_millis(200)).map(drop) };
            *failed = result.is_err();
            match result {
                Err(error) if error.is_fatal() => break 'told error,
                _ => {}
            }
        }
    };
    assert!(error.to_string().contains("`node-id`"), "{error}");
    app.assert_exactly_once();
}

#[test]
fn two_processes_do_not_share_a_state_directory() {
    let app = App::create(shared(), 1);
    let state = tempfile::tempdir().unwrap();
    let _first = KafkaBackend::new(app.settings(state.path())).unwrap();
    let error = KafkaBackend::new(app.settings(state.path())).err().expect("the directory is in use");
    assert!(error.to_string().starts_with("another process uses the state directory"), "{error}");
}
