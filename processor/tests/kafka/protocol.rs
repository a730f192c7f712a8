//! Commit, restore, and what can't work.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tripline_eventlog::kafka::KafkaSettings;
use tripline_processor::backend::{OutputRecord, OutputTopic, Polled, StateWrite};
use tripline_processor::kafka::{KafkaBackend, KafkaBackendSettings};
use tripline_processor::{Backend, BackendError, CommitUnit};
use tripline_schemas::state::{Cursors, StateKey};
use tripline_testkafka::{Broker, shared, unique};

use crate::support::{App, PATIENCE, drive_to_end, judge, record, text};

/// Polls until there is something else than nothing.
fn next(backend: &mut KafkaBackend) -> Polled {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match backend.poll(100, Duration::from_millis(200)).unwrap() {
            Polled::Nothing => assert!(Instant::now() < deadline, "nothing came"),
            polled => return polled,
        }
    }
}

fn remove_stores(app: &App, state: &Path) {
    for partition in 0..app.partitions {
        fs::remove_dir_all(state.join(&app.id).join(partition.to_string())).unwrap();
    }
}

#[test]
fn every_record_gives_one_alert_and_the_state_survives_a_restart_and_the_loss_of_the_disk() {
    let app = App::create(shared(), 3);
    let state = tempfile::tempdir().unwrap();
    app.publish(0..100);
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    drive_to_end(&app, &mut backend, 7);
    app.assert_exactly_once();
    app.assert_state(&backend);
    drop(backend);

    app.publish(100..150);
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    drive_to_end(&app, &mut backend, 1000);
    app.assert_state(&backend);
    drop(backend);

    remove_stores(&app, state.path());
    app.publish(150..160);
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    drive_to_end(&app, &mut backend, 1000);
    app.assert_state(&backend);
    app.assert_exactly_once();
}

#[test]
fn a_rebalance_is_noticed_however_short_the_polls_are() {
    let app = App::create(shared(), 2);
    let state = tempfile::tempdir().unwrap();
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // The callback of a rebalance outlasts them.
    while backend.poll(100, Duration::from_micros(100)).unwrap() == Polled::Nothing {
        assert!(Instant::now() < deadline, "nothing was assigned");
    }
}

#[test]
fn a_removed_key_stays_removed_after_a_restore() {
    let app = App::create(shared(), 1);
    let state = tempfile::tempdir().unwrap();
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    assert!(matches!(next(&mut backend), Polled::Assigned(_)));
    let write = |key: &str, value: Option<&str>| StateWrite {
        partition: 0,
        key: key.into(),
        value: value.map(|value| value.into()),
    };
    for state in [vec![write("a", Some("1")), write("b", Some("2"))], vec![write("a", None)]] {
        backend.commit(CommitUnit { positions: vec![(0, 0)], state, ..CommitUnit::default() }).unwrap();
    }
    assert_eq!(backend.state(0, b"a").unwrap(), None);
    drop(backend);
    remove_stores(&app, state.path());
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    assert!(matches!(next(&mut backend), Polled::Assigned(_)));
    assert_eq!(backend.state(0, b"a").unwrap(), None);
    assert_eq!(backend.state(0, b"b").unwrap().as_deref(), Some(&b"2"[..]));
}

#[test]
fn nothing_of_an_abandoned_unit_is_seen() {
    let app = App::create(shared(), 1);
    let state = tempfile::tempdir().unwrap();
    app.publish(0..10);
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    assert!(matches!(next(&mut backend), Polled::Assigned(_)));
    let Polled::Records(records) = next(&mut backend) else { panic!("records") };
    let mut unit = judge(&backend, &records).unwrap();
    // The last of its records can't be written: the changelog has one partition.
    unit.outputs.push(OutputRecord { topic: OutputTopic::RuleSets, partition: 7, record: record("k", "v") });
    let error = backend.commit(unit).unwrap_err();
    assert!(error.to_string().contains("rulesets"), "{error}: {error:?}");
    assert_eq!(app.alerts().len(), 0);

    backend.recover().unwrap();
    drive_to_end(&app, &mut backend, 100);
    app.assert_exactly_once();
    app.assert_state(&backend);
}

#[test]
fn records_since_the_last_checkpoint_of_the_cursors_come_again_first() {
    let app = App::create(shared(), 1);
    let state = tempfile::tempdir().unwrap();
    app.publish(0..10);
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    let Polled::Assigned(assigned) = next(&mut backend) else { panic!("assigned") };
    assert_eq!(assigned[0].position, 0);
    let checkpoint =
        StateWrite { partition: 0, key: StateKey::Cursors.to_bytes(), value: Some(Cursors { position: 3 }.to_bytes()) };
    let unit = CommitUnit { positions: vec![(0, 7)], state: vec![checkpoint], ..CommitUnit::default() };
    backend.commit(unit).unwrap();
    // A recovery and a restart start at the same place.
    for restart in [false, true] {
        if restart {
            drop(backend);
            backend = KafkaBackend::new(app.settings(state.path())).unwrap();
        } else {
            backend.recover().unwrap();
        }
        let Polled::Assigned(assigned) = next(&mut backend) else { panic!("assigned") };
        assert_eq!(assigned[0].position, 7);
        let Polled::Records(records) = next(&mut backend) else { panic!("records") };
        assert_eq!(records[0].offset, 3);
    }
}

#[test]
fn a_restore_waits_for_transactions_of_others_on_the_changelog() {
    let app = App::create(shared(), 1);
    let state = tempfile::tempdir().unwrap();
    // As a crashed processor on another machine would leave it: open, then aborted by the coordinator.
    let stranger: BaseProducer = app
        .kafka()
        .producer_config("stranger")
        .unwrap()
        .set("transactional.id", unique("stranger"))
        .set("transaction.timeout.ms", "4000")
        .set("message.timeout.ms", "3000")
        .create()
        .unwrap();
    stranger.init_transactions(Duration::from_secs(30)).unwrap();
    let changelog = app.topics().changelog;
    let send = |key: &str| {
        stranger.begin_transaction().unwrap();
        stranger.send(BaseRecord::<str, str>::to(&changelog).partition(0).key(key).payload("1")).unwrap();
        stranger.flush(Duration::from_secs(30)).unwrap();
    };
    send("committed");
    stranger.commit_transaction(Duration::from_secs(30)).unwrap();
    send("open");
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        assert_eq!(backend.poll(100, Duration::from_millis(100)).unwrap(), Polled::Nothing, "too early");
    }
    assert!(matches!(next(&mut backend), Polled::Assigned(_)));
    assert_eq!(backend.state(0, b"committed").unwrap().map(|value| text(&value)), Some("1".to_owned()));
    assert_eq!(backend.state(0, b"open").unwrap(), None);
}

#[test]
fn a_broker_killed_in_the_middle_costs_nothing() {
    let mut broker = Broker::start();
    let app = App::create(broker.bootstrap(), 2);
    let state = tempfile::tempdir().unwrap();
    app.publish(0..400);
    let processing = {
        let (app, state) = (app.clone(), state.path().to_owned());
        thread::spawn(move || {
            let mut backend = KafkaBackend::new(app.settings(&state)).unwrap();
            drive_to_end(&app, &mut backend, 3);
        })
    };
    // Somewhere in the middle: after some alerts are there.
    let deadline = Instant::now() + PATIENCE;
    while app.ends_of(&app.topics().alerts).values().sum::<u64>() < 40 {
        assert!(Instant::now() < deadline && !processing.is_finished());
    }
    broker.kill();
    thread::sleep(Duration::from_millis(500));
    broker.restart();
    processing.join().unwrap();
    app.assert_exactly_once();
}

#[test]
fn an_unreachable_cluster_is_told_with_its_address() {
    let state = tempfile::tempdir().unwrap();
    let settings = KafkaBackendSettings::new(KafkaSettings::new("127.0.0.1:1"), "app", state.path());
    let error = KafkaBackend::new(settings).err().expect("nobody listens there");
    assert!(matches!(error, BackendError::Retry { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no Kafka broker answered at `127.0.0.1:1`"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("Connection refused"), "{cause}");
}

#[test]
fn missing_and_unequal_topics_are_refused_at_the_start() {
    let app = App::create(shared(), 2);
    let state = tempfile::tempdir().unwrap();
    let mut missing = app.settings(state.path());
    missing.topics.alerts = unique("missing");
    let error = KafkaBackend::new(missing).err().expect("a topic is missing");
    assert!(matches!(error, BackendError::Fatal { .. }), "{error:?}");
    assert!(error.to_string().contains("create it with `tripline topics create`"), "{error}");

    let mut unequal = app.settings(state.path());
    unequal.topics.alerts = app.topics().rulesets;
    let error = KafkaBackend::new(unequal).err().expect("the topics do not fit");
    assert!(error.to_string().contains("has 1 partitions and"), "{error}");
}

#[test]
fn a_unit_that_does_not_say_its_position_is_refused() {
    let app = App::create(shared(), 1);
    let state = tempfile::tempdir().unwrap();
    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    assert!(matches!(next(&mut backend), Polled::Assigned(_)));
    let alert = OutputRecord { topic: OutputTopic::Alerts, partition: 0, record: record("k", "v") };
    let error = backend.commit(CommitUnit { outputs: vec![alert], ..CommitUnit::default() }).unwrap_err();
    assert!(matches!(error, BackendError::Fatal { .. }), "{error:?}");
}
