//! What the rules can't judge does not stop the rest.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tripline_processor::backend::{Backend, BackendError, CommitUnit, OutputTopic, Partition, Polled};
use tripline_processor::{ActiveRules, shard};
use tripline_schemas::Key;
use tripline_schemas::dead_letter::DeadLetter;
use tripline_schemas::state::StateKey;

use crate::backend::{Disk, SimBackend};
use crate::world::{RULES, World, rules, rules_over_keys};
use crate::{alerts_by_key, calm, options, run};

/// A backend whose state is damaged: `damage` may put another value in a value's place, or panic.
struct Damaged<'a> {
    sound: SimBackend<'a>,
    damage: &'a dyn Fn(StateKey, Option<Vec<u8>>) -> Option<Vec<u8>>,
}

impl Backend for Damaged<'_> {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, BackendError> {
        self.sound.poll(max, wait)
    }

    fn state(&self, partition: Partition, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        let value = self.sound.state(partition, key)?;
        Ok((self.damage)(StateKey::from_bytes(key).unwrap(), value))
    }

    fn commit(&mut self, unit: CommitUnit) -> Result<(), BackendError> {
        self.sound.commit(unit)
    }

    fn recover(&mut self) -> Result<(), BackendError> {
        self.sound.recover()
    }
}

/// The reasons of the dead letters that are runs of this key, and whether the alerts of all other keys are as ever.
fn judge(damaged_key: &Key, damage: &dyn Fn(StateKey, Option<Vec<u8>>) -> Option<Vec<u8>>) -> (Vec<String>, bool) {
    let world = World::new(11, 400);
    let rules = Arc::new(rules(RULES));
    let expected = run(&world, 1, &rules, &options(20, 50), &calm).disk;
    let input = world.partitions(1);
    let (mut disk, steps) = (Disk::default(), Cell::new(0));
    let mut backend = Damaged { sound: SimBackend::new(&input, &mut disk, &calm, &steps, 1), damage };
    shard::run(&mut backend, &ActiveRules::new(rules), &options(20, 50), &|| false, &mut ()).unwrap();

    let sound = |disk: &Disk| {
        let mut alerts = alerts_by_key(disk);
        let damaged = alerts.remove(&(damaged_key.agent().to_owned(), damaged_key.command().to_owned()));
        assert!(damaged.is_some_and(|alerts| !alerts.is_empty()), "the damaged key has alerts too");
        alerts
    };
    let letters = |disk: &Disk| -> Vec<DeadLetter> {
        let records = &disk.outputs[&(OutputTopic::DeadLetters, 0)];
        records.iter().map(|record| DeadLetter::from_record(record).unwrap()).collect()
    };
    let (undecodable, all) = (letters(&expected), letters(&disk));
    let new: Vec<_> = all.into_iter().filter(|letter| !undecodable.contains(letter)).collect();
    assert!(new.iter().all(|letter| letter.original.key == Some(damaged_key.to_bytes())));
    (new.into_iter().map(|letter| letter.reason).collect(), sound(&disk) == sound(&expected))
}

#[test]
fn a_run_on_which_the_engine_panics_becomes_a_dead_letter() {
    let key = Key::new("web", "ports").unwrap();
    let times = Cell::new(0);
    let (reasons, others_as_ever) = judge(&key, &|at, value| {
        if at == StateKey::Key(key.clone()) && times.replace(times.get() + 1) == 0 {
            panic!("a mistake in the engine");
        }
        value
    });
    assert_eq!(reasons, ["the rule engine panicked: a mistake in the engine"]);
    assert!(others_as_ever);
}

#[test]
fn runs_whose_baseline_text_is_gone_become_dead_letters() {
    let key = Key::new("web", "ports").unwrap();
    let (reasons, others_as_ever) = judge(&key, &|at, value| match at {
        StateKey::Text(of, _) if of == key => None,
        _ => value,
    });
    assert!(!reasons.is_empty());
    let expected = "state of (web) ports is damaged: the baseline text of rule 100533 is missing";
    assert!(reasons.iter().all(|reason| reason == expected), "{reasons:?}");
    assert!(others_as_ever);
}

#[test]
fn a_state_value_of_a_newer_version_stops_the_loop_with_a_message() {
    let world = World::new(11, 50);
    let input = world.partitions(1);
    let (mut disk, steps) = (Disk::default(), Cell::new(0));
    let newer = |at, value| match at {
        StateKey::Key(_) => Some(br#"{"version":99,"state":{"something":"else"}}"#.to_vec()),
        _ => value,
    };
    let mut backend = Damaged { sound: SimBackend::new(&input, &mut disk, &calm, &steps, 1), damage: &newer };
    let rules = ActiveRules::new(Arc::new(rules(RULES)));
    let err = shard::run(&mut backend, &rules, &options(20, 50), &|| false, &mut ()).unwrap_err();
    assert!(err.is_fatal());
    assert!(err.to_string().contains("a newer version wrote it"), "{err}");
    assert_eq!(disk, Disk::default());
}

#[test]
fn a_history_that_has_lost_an_event_stops_the_loop_with_a_message() {
    let world = World::new(11, 400);
    let rules = Arc::new(rules_over_keys());
    let (mut disk, steps) = (Disk::default(), Cell::new(0));
    let first_half = World { records: world.records[..200].to_vec() }.partitions(1);
    let mut sound = SimBackend::new(&first_half, &mut disk, &calm, &steps, 1);
    shard::run(&mut sound, &ActiveRules::new(rules.clone()), &options(20, 50), &|| false, &mut ()).unwrap();
    let lost = |at, value| match at {
        StateKey::HistoryEvent(..) => None,
        _ => value,
    };
    let input = world.partitions(1);
    let mut backend = Damaged { sound: SimBackend::new(&input, &mut disk, &calm, &steps, 1), damage: &lost };
    let err = shard::run(&mut backend, &ActiveRules::new(rules), &options(20, 50), &|| false, &mut ()).unwrap_err();
    assert!(err.is_fatal());
    assert!(err.to_string().contains("of a history of events is missing"), "{err}");
}
