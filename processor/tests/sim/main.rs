//! The shard loop in a simulated world whose backend fails at every step: whatever happens, alerts, dead letters and
//! state are those of the calm run. A failure prints the seed that repeats it (`SEED=...`).

#![allow(clippy::disallowed_methods)] // The seeds of a test are no settings.

mod backend;
mod damage;
mod oracle;
mod quiet;
mod replay;
mod world;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tripline_engine::RuleSet;
use tripline_processor::backend::{BackendError, OutputTopic};
use tripline_processor::{ActiveRules, Options, Summary, shard};
use tripline_schemas::alert::Alert;
use tripline_schemas::dead_letter::DeadLetter;
use tripline_schemas::event::Event;
use tripline_schemas::state::{Activation, Cursors, StateKey};

use backend::{Disk, Fault, KILLED, SimBackend};
use world::{RULES, Random, World, offset_of, rules, rules_over_keys, seeds};

/// Options under which nothing but records and bytes decides when a batch ends.
fn options(batch_records: usize, checkpoint_records: u64) -> Options {
    Options {
        batch_records,
        batch_age: Duration::MAX,
        idle_wait: Duration::ZERO,
        checkpoint_records,
        pause_min: Duration::ZERO,
        pause_max: Duration::ZERO,
        ..Options::default()
    }
}

/// What a world left behind.
struct Outcome {
    disk: Disk,
    steps: u64,
    /// Of all processes together.
    processed: u64,
}

/// Runs one process after the other until the input's end.
fn run(
    world: &World,
    partitions: u32,
    rules: &Arc<RuleSet>,
    options: &Options,
    plan: &dyn Fn(u64) -> Option<Fault>,
) -> Outcome {
    let input = world.partitions(partitions);
    let (mut disk, steps, mut processed) = (Disk::default(), Cell::new(0), 0);
    let rules = ActiveRules::new(Arc::clone(rules));
    for process in 0.. {
        assert!(process < 10_000, "it never ends");
        let mut backend = SimBackend::new(&input, &mut disk, plan, &steps, process);
        match shard::run(&mut backend, &rules, options, &|| false, &mut ()) {
            Ok(Summary { counts, .. }) => {
                processed += counts.arrivals;
                break;
            }
            Err(BackendError::Fatal { what, .. }) if what == KILLED => {}
            Err(err) => panic!("{err}"),
        }
    }
    Outcome { disk, steps: steps.get(), processed }
}

fn calm(_: u64) -> Option<Fault> {
    None
}

/// The alerts of each agent and command, in order, without their places.
fn alerts_by_key(disk: &Disk) -> BTreeMap<(String, String), Vec<Alert>> {
    let mut alerts: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ((topic, _), records) in &disk.outputs {
        for record in records.iter().filter(|_| *topic == OutputTopic::Alerts) {
            let mut alert = Alert::from_record(record).unwrap();
            alert.source = None;
            alerts.entry((alert.agent.name.clone(), alert.command.clone())).or_default().push(alert);
        }
    }
    alerts
}

fn count(disk: &Disk, topic: OutputTopic) -> usize {
    disk.outputs.iter().filter(|((of, _), _)| *of == topic).map(|(_, records)| records.len()).sum()
}

/// A rule set may be published again by a process that takes over another partition; everything else is exact.
fn assert_same(calm: &Disk, crashed: &Disk, context: &str) {
    for topic in [OutputTopic::Alerts, OutputTopic::DeadLetters] {
        let records = |disk: &Disk| -> BTreeMap<_, _> {
            let of_topic = disk.outputs.iter().filter(|((of, _), _)| *of == topic);
            of_topic.flat_map(|((_, partition), records)| (0..).map(|n| (*partition, n)).zip(records.clone())).collect()
        };
        assert_same_map(&records(calm), &records(crashed), |record| format!("{record:?}"), context);
    }
    let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
    assert_same_map(&calm.state, &crashed.state, text, context);
    assert_eq!(calm.positions, crashed.positions, "{context}");
    let published = count(crashed, OutputTopic::RuleSets);
    assert!((1..=crashed.positions.len()).contains(&published), "published {published} times: {context}");
}

/// Compares, and shows the first difference only.
fn assert_same_map<K: Ord + Debug, V: PartialEq>(
    expected: &BTreeMap<K, V>,
    got: &BTreeMap<K, V>,
    show: impl Fn(&V) -> String,
    context: &str,
) {
    let differs = |key: &&K| expected.get(key) != got.get(key);
    if let Some(key) = expected.keys().chain(got.keys()).find(differs) {
        let [expected, got] = [expected, got].map(|map| map.get(key).map_or("nothing".to_owned(), &show));
        panic!("{context}: at {key:?}\nexpected {expected}\ngot      {got}");
    }
}

#[test]
fn a_crash_at_any_step_loses_no_alert_and_changes_no_state() {
    let rules = Arc::new(rules(RULES));
    for seed in seeds(3) {
        let world = World::new(seed, 60);
        let options = options(7, 11);
        let calm = run(&world, 2, &rules, &options, &calm);
        assert!(count(&calm.disk, OutputTopic::Alerts) > 5, "SEED={seed}: a dull world");
        for step in 1..=calm.steps {
            for fault in Fault::ALL {
                let crashed = run(&world, 2, &rules, &options, &|at| (at == step).then_some(fault));
                assert_same(&calm.disk, &crashed.disk, &format!("SEED={seed}, {fault:?} at step {step}"));
            }
        }
    }
}

#[test]
fn crashes_at_random_lose_no_alert_and_change_no_state() {
    let rules = Arc::new(rules(RULES));
    for seed in seeds(60) {
        let mut random = Random::new(seed);
        let world = World::new(seed, 200 + random.below(300));
        let partitions = 1 + random.below(4) as u32;
        let options = options(1 + random.below(40), 1 + random.below(100) as u64);
        let calm = run(&world, partitions, &rules, &options, &calm);
        let often = 20 + random.below(300);
        let plan = |step: u64| {
            let mut random = Random::new(seed ^ step.wrapping_mul(0x5851_f42d_4c95_7f2d));
            random.one_in(often).then(|| *random.pick(&Fault::ALL))
        };
        let crashed = run(&world, partitions, &rules, &options, &plan);
        assert_same(&calm.disk, &crashed.disk, &format!("SEED={seed}"));
    }
}

#[test]
fn alerts_depend_neither_on_batches_nor_on_checkpoints() {
    let rules = Arc::new(rules(RULES));
    for seed in seeds(8) {
        let world = World::new(seed, 300);
        let one = run(&world, 1, &rules, &options(1, 1), &calm);
        for (batch, checkpoint) in [(1, u64::MAX), (3, 10), (64, 1), (1_000, 1_000)] {
            let other = run(&world, 1, &rules, &options(batch, checkpoint), &calm);
            assert_same(&one.disk, &other.disk, &format!("SEED={seed}, batch {batch}, checkpoint {checkpoint}"));
        }
        let small = Options { batch_bytes: 1, ..options(1_000, 1_000) };
        assert_same(&one.disk, &run(&world, 1, &rules, &small, &calm).disk, &format!("SEED={seed}, bytes"));
    }
}

#[test]
fn counts_over_all_agents_depend_neither_on_crashes_nor_on_batches() {
    let rules = Arc::new(rules_over_keys());
    let mut counted = 0;
    for seed in seeds(20) {
        let world = World::new(seed, 300);
        let one = run(&world, 1, &rules, &options(1, 1), &calm);
        let plan = |step: u64| {
            let mut random = Random::new(seed ^ step.wrapping_mul(0x5851_f42d_4c95_7f2d));
            random.one_in(30).then(|| *random.pick(&Fault::ALL))
        };
        let crashed = run(&world, 1, &rules, &options(20, 50), &plan);
        assert_same(&one.disk, &crashed.disk, &format!("SEED={seed}"));
        let alerts = alerts_by_key(&one.disk).into_values().flatten();
        counted += alerts.filter(|alert| ["100561", "100562"].contains(&alert.rule.id.as_str())).count();
    }
    assert!(counted > 20, "{counted} alerts of composite rules");
}

#[test]
fn alerts_do_not_depend_on_the_partition_count() {
    let rules = Arc::new(rules(RULES));
    for seed in seeds(20) {
        let world = World::new(seed, 400);
        let one = alerts_by_key(&run(&world, 1, &rules, &options(50, 100), &calm).disk);
        for partitions in [2, 3, 12] {
            let many = run(&world, partitions, &rules, &options(50, 100), &calm);
            assert_eq!(one, alerts_by_key(&many.disk), "SEED={seed}, {partitions} partitions");
        }
    }
}

#[test]
fn every_run_is_judged_once_as_one_call_after_the_other_would_judge_it() {
    let rules = Arc::new(rules(RULES));
    let mut kinds = oracle::Kinds::default();
    for seed in seeds(20) {
        let world = World::new(seed, 400);
        let outcome = run(&world, 1, &rules, &options(32, 64), &calm);
        assert_eq!(outcome.processed, world.records.len() as u64, "SEED={seed}");
        let expected = oracle::judge(&world, &rules, &mut kinds);
        let topic = |topic| outcome.disk.outputs.get(&(topic, 0)).cloned().unwrap_or_default();
        let alerts: Vec<_> =
            topic(OutputTopic::Alerts).iter().map(|record| Alert::from_record(record).unwrap()).collect();
        assert_eq!(alerts, expected.alerts, "SEED={seed}");
        let letters = topic(OutputTopic::DeadLetters);
        let offsets: Vec<_> = letters.iter().map(|record| DeadLetter::from_record(record).unwrap().offset).collect();
        assert_eq!(offsets, expected.dead_letters, "SEED={seed}");
    }
    // The worlds must show what they are made for.
    assert!(kinds.seen > 50 && kinds.overtaken > 50 && kinds.alternating > 5 && kinds.undecodable > 50, "{kinds:?}");
    assert!(kinds.alerts > 500 && kinds.held_back > 50, "{kinds:?}");
}

#[test]
fn a_dead_letter_holds_the_original_its_place_and_the_reason() {
    let rules = Arc::new(rules(RULES));
    let world = World::new(1, 300);
    let outcome = run(&world, 1, &rules, &options(32, 64), &calm);
    for record in &outcome.disk.outputs[&(OutputTopic::DeadLetters, 0)] {
        let letter = DeadLetter::from_record(record).unwrap();
        assert_eq!(letter.topic, "tripline.outputs");
        let at = (0..).find(|n| offset_of(*n) == letter.offset).unwrap();
        assert_eq!(letter.original, world.records[at].1);
        assert_eq!(letter.reason, Event::from_record(&letter.original).unwrap_err().to_string());
    }
}

#[test]
fn cursors_are_stored_at_the_end_and_say_up_to_where() {
    let rules = Arc::new(rules(RULES));
    let world = World::new(7, 100);
    let outcome = run(&world, 1, &rules, &options(32, u64::MAX), &calm);
    let stored = &outcome.disk.state[&(0, StateKey::Cursors.to_bytes())];
    assert_eq!(Cursors::from_bytes(stored).unwrap().position, offset_of(99) + 1);
}

#[test]
fn a_stop_commits_what_was_judged() {
    let rules = Arc::new(rules(RULES));
    let world = World::new(3, 100);
    let input = world.partitions(1);
    let mut disk = Disk::default();
    let steps = Cell::new(0);
    let calls = Cell::new(0);
    let stop = || calls.replace(calls.get() + 1) > 8;
    let mut backend = SimBackend::new(&input, &mut disk, &calm, &steps, 1);
    let summary = shard::run(&mut backend, &ActiveRules::new(rules), &options(1_000, 1_000), &stop, &mut ()).unwrap();
    assert!(summary.counts.arrivals > 0);
    assert_eq!(summary.commits, 1);
    assert_eq!(disk.positions[&0], offset_of(summary.counts.arrivals as usize - 1) + 1);
    assert!(disk.state.contains_key(&(0, StateKey::Cursors.to_bytes())));
}

/// Cursors that lack records before the position, stored as if they had them, would let runs through a second time.
#[test]
fn a_stop_while_cursors_are_folded_stores_none() {
    let rules = ActiveRules::new(Arc::new(rules(RULES)));
    let input = World::new(3, 200).partitions(1);
    let (mut disk, steps) = (Disk::default(), Cell::new(0));
    let killed = |step: u64| (step > 400).then_some(Fault::Kill);
    let mut backend = SimBackend::new(&input, &mut disk, &killed, &steps, 1);
    shard::run(&mut backend, &rules, &options(1, u64::MAX), &|| false, &mut ()).expect_err("it is killed");
    assert!(disk.positions[&0] > offset_of(20), "{:?}", disk.positions);
    assert!(!disk.state.contains_key(&(0, StateKey::Cursors.to_bytes())));

    let (before, calls) = (disk.clone(), Cell::new(0));
    let stop = || calls.replace(calls.get() + 1) > 8;
    let mut backend = SimBackend::new(&input, &mut disk, &calm, &steps, 1);
    let summary = shard::run(&mut backend, &rules, &options(1, u64::MAX), &stop, &mut ()).unwrap();
    assert_eq!(summary, Summary::default());
    assert_eq!(disk, before);
}

#[test]
fn a_batch_ends_with_so_many_records_or_bytes() {
    let rules = ActiveRules::new(Arc::new(rules(RULES)));
    let input = World::new(3, 110).partitions(1);
    let commits = |options: &Options| {
        let (mut disk, steps) = (Disk::default(), Cell::new(0));
        let mut backend = SimBackend::new(&input, &mut disk, &calm, &steps, 1);
        shard::run(&mut backend, &rules, options, &|| false, &mut ()).unwrap().commits
    };
    let records = input[0].len() as u64;
    assert!((110..120).contains(&records), "{records} records tell 10 from 11");
    // The last one stores the cursors.
    assert_eq!(commits(&options(10, u64::MAX)), records / 10 + 1);
    let by_bytes = commits(&Options { batch_bytes: 1, ..options(1_000, u64::MAX) });
    assert!(by_bytes > records / 4, "{by_bytes} commits of {records} records");
}

#[test]
fn a_stop_ends_a_loop_that_can_not_recover() {
    let rules = Arc::new(rules(RULES));
    let input = World::new(3, 10).partitions(1);
    let mut disk = Disk::default();
    let steps = Cell::new(0);
    let plan = |_| Some(Fault::Retry);
    let stop = || steps.get() > 100;
    let mut backend = SimBackend::new(&input, &mut disk, &plan, &steps, 1);
    let summary = shard::run(&mut backend, &ActiveRules::new(rules), &options(10, 10), &stop, &mut ()).unwrap();
    assert_eq!(summary, Summary::default());
    assert_eq!(disk, Disk::default());
}

#[test]
fn an_exchanged_rule_set_is_activated_and_published_once() {
    let (old, new) = (Arc::new(rules(RULES)), Arc::new(rules(&RULES.replace("Disk full", "The disk is full"))));
    let world = World::new(5, 200);
    let first = World { records: world.records[..120].to_vec() };
    let mut disk = Disk::default();
    let steps = Cell::new(0);
    for (world, rules) in [(&first, &old), (&first, &old), (&world, &new), (&world, &new)] {
        let input = world.partitions(1);
        let mut backend = SimBackend::new(&input, &mut disk, &calm, &steps, 1);
        shard::run(&mut backend, &ActiveRules::new(Arc::clone(rules)), &options(9, 20), &|| false, &mut ()).unwrap();
    }
    let published: Vec<_> =
        disk.outputs[&(OutputTopic::RuleSets, 0)].iter().map(|record| record.key.clone().unwrap()).collect();
    assert_eq!(published, [old.digest_hex().into_bytes(), new.digest_hex().into_bytes()]);
    let stored = Activation::from_bytes(&disk.state[&(0, StateKey::Activation.to_bytes())]).unwrap();
    assert_eq!(stored, Activation { digest: new.digest_hex(), from_offset: offset_of(120) });
}
