//! A whole collector, with real commands and a log in memory.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tripline_collector::{
    ActivePlan, CollectError, Collector, CommandLine, CommandSpec, Identity, Interval, Observer, Plan, Progress,
    Settings, Stop, Summary, run_once,
};
use tripline_eventlog::{LogError, Publisher};
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Record, Run};

/// A log in memory, and what goes wrong with it.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    records: Vec<Record>,
    /// How many of the next publications fail for now, after half of the records were taken.
    unavailable: u32,
    /// Every publication fails for good.
    broken: bool,
    /// Every publication panics.
    mistaken: bool,
    /// Records with a larger value are not taken.
    bytes_max: Option<usize>,
}

impl Publisher for Memory {
    fn publish(&mut self, topic: &str, records: &[Record]) -> Result<(), LogError> {
        assert_eq!(topic, "outputs");
        let mut log = self.0.lock().unwrap();
        assert!(!log.mistaken, "a mistake in the log's client");
        if log.broken {
            return Err(LogError::Failed { what: "the log is full".into(), source: None });
        }
        let size = |record: &Record| record.value.as_ref().map_or(0, Vec::len);
        if let Some((max, large)) = log.bytes_max.zip(records.iter().max_by_key(|record| size(record)))
            && size(large) > max
        {
            return Err(LogError::TooLarge { topic: topic.into(), size: size(large), max });
        }
        if log.unavailable > 0 {
            log.unavailable -= 1;
            log.records.extend_from_slice(&records[..records.len() / 2]);
            return Err(LogError::Unavailable { what: "the log does not answer".into(), source: None });
        }
        log.records.extend_from_slice(records);
        Ok(())
    }
}

impl Memory {
    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().records.iter().map(|record| Event::from_record(record).unwrap()).collect()
    }

    fn runs(&self) -> Vec<Run> {
        let run = |event| if let Event::Output(run) = event { Some(run) } else { None };
        self.events().into_iter().filter_map(run).collect()
    }
}

fn identity() -> Identity {
    Identity { agent: "web-1".into(), address: Some("192.0.2.1".into()) }
}

fn shell(name: &str, text: &str, every: u64) -> CommandSpec {
    CommandSpec {
        name: Some(name.into()),
        every: Some(Interval::from_secs(every)),
        ..CommandSpec::new(CommandLine::Shell(text.into()))
    }
}

fn collector(dir: &Path, specs: &[CommandSpec], observer: Observer) -> Collector {
    let settings = Settings { splay: 0.0, ..Settings::default() };
    Collector {
        plan: ActivePlan::new(Plan::check(specs, "web-1", &settings).unwrap()),
        identity: identity(),
        settings,
        spool_dir: dir.join("spool"),
        topic: "outputs".into(),
        observer,
    }
}

/// Runs a collector until this says that enough has happened.
fn run_until(
    dir: &Path,
    specs: &[CommandSpec],
    log: &Memory,
    enough: impl Fn(&Progress) -> bool + Send + Sync + 'static,
) -> Result<Summary, CollectError> {
    let stop = Stop::new();
    let observer = {
        let stop = stop.clone();
        Observer::new(move |progress| {
            if enough(progress) {
                stop.ask();
            }
        })
    };
    collector(dir, specs, observer).run(Box::new(log.clone()), &stop)
}

fn published(wanted: usize) -> impl Fn(&Progress) -> bool + Send + Sync + 'static {
    let count = Mutex::new(0);
    move |progress| {
        let mut count = count.lock().unwrap();
        if let Progress::Published { records } = progress {
            *count += records;
        }
        *count >= wanted
    }
}

#[test]
fn a_run_that_is_larger_than_the_log_takes_is_cut_and_holds_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = Memory::default();
    log.0.lock().unwrap().bytes_max = Some(2000);
    let specs = [shell("large", "seq 1 1000", 60), shell("small", "echo x", 60)];
    run_until(dir.path(), &specs, &log, published(2)).unwrap();
    let runs = log.runs();
    let find = |name| runs.iter().find(|run| run.key.command() == name).expect("a run");
    let (large, small) = (find("large"), find("small"));
    assert_eq!((large.truncated_from, small.truncated_from), (Some(3893), None));
    assert!(large.output.starts_with(b"1\n2\n3\n") && (1000..=2000).contains(&large.output.len()), "{large:?}");
    assert_eq!(small.output, b"x\n");
}

#[test]
fn every_run_is_published_with_its_facts_and_a_heartbeat_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let log = Memory::default();
    let specs = [shell("greeting", "printf 'a\\377\\n'; echo oops >&2; exit 1", 1), shell("missing", "no-such-x", 60)];
    let summary = run_until(dir.path(), &specs, &log, published(3)).unwrap();
    assert!(summary.runs >= 3);
    assert_eq!((summary.published, summary.left_in_spool), (log.runs().len() as u64, false));

    let Event::Heartbeat(heartbeat) = &log.events()[0] else { panic!("{:?}", log.events()) };
    assert_eq!((heartbeat.agent.as_str(), &heartbeat.plan["missing"]), ("web-1", &60));
    let runs = log.runs();
    for (index, run) in runs.iter().enumerate() {
        assert_eq!((run.id.spool, run.id.sequence), (heartbeat.spool, index as u64 + 1));
        assert_eq!(run.address.as_deref(), Some("192.0.2.1"));
        assert!(run.start_delay_ms.is_some(), "how late a planned run started is a fact of it");
    }
    let greeting = runs.iter().find(|run| run.key.command() == "greeting").unwrap();
    assert_eq!(greeting.output, b"a\xff\n");
    assert_eq!(greeting.stderr_tail, b"oops\n");
    assert_eq!(greeting.ending, Ending::Exited(1));
    assert_eq!(greeting.alias.as_deref(), Some("greeting"));
    let missing: Vec<&Run> = runs.iter().filter(|run| run.key.command() == "missing").collect();
    assert_eq!((missing.len(), &missing[0].ending), (1, &Ending::Exited(127)));
}

#[test]
fn a_command_that_hangs_delays_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = Memory::default();
    // More of them than may run at the same time.
    let mut specs: Vec<CommandSpec> = (0..20).map(|i| shell(&format!("hangs {i}"), "sleep 1000", 3600)).collect();
    specs.push(shell("quick", "echo", 1));
    for spec in &mut specs[..20] {
        spec.timeout = Some(Interval::from_secs(3000));
    }
    run_until(dir.path(), &specs, &log, published(3)).unwrap();
    let runs = log.runs();
    assert!(runs[..3].iter().all(|run| run.key.command() == "quick"), "{runs:?}");
    // The stop ended those that hung, and each is told of.
    let interrupted = runs.iter().filter(|run| run.ending == Ending::Interrupted).count();
    assert_eq!(interrupted, runs.len() - runs.iter().filter(|run| run.key.command() == "quick").count());
    assert!(interrupted >= 8);
}

#[test]
fn runs_wait_in_the_spool_while_the_log_cannot_be_reached() {
    let dir = tempfile::tempdir().unwrap();
    let log = Memory::default();
    log.0.lock().unwrap().unavailable = 4;
    let specs = [shell("a", "echo a", 1), shell("b", "echo b", 1)];
    run_until(dir.path(), &specs, &log, published(4)).unwrap();
    // Some came twice; without those that were seen, each is there once, in order.
    let mut last = 0;
    let mut fresh = 0;
    for run in log.runs() {
        if run.id.sequence > last {
            assert_eq!(run.id.sequence, last + 1);
            last = run.id.sequence;
            fresh += 1;
        }
    }
    assert!(fresh >= 4);
}

#[test]
fn a_log_that_refuses_for_good_is_an_error_and_the_next_start_publishes() {
    let dir = tempfile::tempdir().unwrap();
    let log = Memory::default();
    log.0.lock().unwrap().broken = true;
    let error = run_until(dir.path(), &[shell("a", "echo a", 1)], &log, |_| false).unwrap_err();
    assert!(matches!(&error, CollectError::Publish { topic, .. } if topic == "outputs"), "{error:?}");

    // Started again with nothing to do but to publish what is there.
    let stop = Stop::new();
    stop.ask();
    let ran = {
        let spooled =
            run_until(dir.path(), &[shell("a", "echo a", 1)], &log, |p| matches!(p, Progress::Finished { .. }));
        assert!(spooled.is_err());
        log.0.lock().unwrap().broken = false;
        collector(dir.path(), &[], Observer::none()).run(Box::new(log.clone()), &stop).unwrap()
    };
    assert_eq!((ran.runs, ran.left_in_spool), (0, false));
    assert_eq!(log.runs().len() as u64, ran.published);
}

#[test]
fn a_publication_that_panics_ends_the_collector() {
    let dir = tempfile::tempdir().unwrap();
    let log = Memory::default();
    log.0.lock().unwrap().mistaken = true;
    let run = || run_until(dir.path(), &[shell("a", "echo a", 1)], &log, |_| false);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a mistake in the log's client"));
}

#[test]
fn a_stop_leaves_what_cannot_be_published_in_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let log = Memory::default();
    log.0.lock().unwrap().unavailable = u32::MAX;
    let specs = [shell("a", "echo a", 3600)];
    let summary = run_until(dir.path(), &specs, &log, |p| matches!(p, Progress::Finished { .. })).unwrap();
    assert_eq!(summary, Summary { runs: 1, published: 0, left_in_spool: true });
}

#[test]
fn a_second_collector_on_the_same_spool_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Memory::default();
    let path = dir.path().to_owned();
    let refused = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&refused);
    run_until(dir.path(), &[shell("a", "echo a", 3600)], &log, move |progress| {
        if matches!(progress, Progress::Published { .. }) {
            let second = collector(&path, &[], Observer::none());
            *seen.lock().unwrap() = Some(second.run(Box::new(Memory::default()), &Stop::new()).unwrap_err());
            return true;
        }
        false
    })
    .unwrap();
    let error = refused.lock().unwrap().take().unwrap();
    assert!(matches!(error, CollectError::Spool(_)), "{error:?}");
}

#[test]
fn one_run_can_be_had_without_a_spool() {
    let plan = Plan::check(&[shell("w", "echo out; exit 2", 60)], "web-1", &Settings::default()).unwrap();
    let run = run_once(plan.command("w").unwrap(), &identity(), &Stop::new()).unwrap();
    assert_eq!((run.key.agent(), run.key.command(), run.command_line.as_str()), ("web-1", "w", "echo out; exit 2"));
    assert_eq!((run.output.as_slice(), &run.ending), (b"out\n".as_slice(), &Ending::Exited(2)));
    let stop = Stop::new();
    stop.ask();
    let plan = Plan::check(&[shell("s", "sleep 1000", 60)], "web-1", &Settings::default()).unwrap();
    assert_eq!(run_once(plan.command("s").unwrap(), &identity(), &stop).unwrap().ending, Ending::Interrupted);
}

#[test]
fn an_exchanged_plan_is_followed_and_the_next_heartbeat_tells_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = Memory::default();
    let settings = Settings { splay: 0.0, ..Settings::default() };
    let next = Plan::check(&[shell("new", "echo new", 60)], "web-1", &settings).unwrap();
    let (stop, was_exchanged) = (Stop::new(), Mutex::new(false));
    let mut collector = collector(dir.path(), &[shell("old", "echo old", 60)], Observer::none());
    let plan = collector.plan.clone();
    collector.observer = Observer::new({
        let (stop, log, plan) = (stop.clone(), log.clone(), plan.clone());
        move |progress| match progress {
            Progress::Finished { key, .. } if key.command() == "old" => {
                let mut was_exchanged = was_exchanged.lock().unwrap();
                assert!(!std::mem::replace(&mut *was_exchanged, true), "a command that was removed ran again");
                plan.exchange(next.clone());
            }
            Progress::Published { .. } if log.runs().iter().any(|run| run.key.command() == "new") => stop.ask(),
            _ => {}
        }
    });
    let summary = collector.run(Box::new(log.clone()), &stop).unwrap();
    assert_eq!((summary.runs, summary.left_in_spool), (2, false));
    let told: Vec<Vec<String>> = log
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Heartbeat(heartbeat) => Some(heartbeat.plan.into_keys().collect()),
            _ => None,
        })
        .collect();
    assert_eq!(told, [["old"], ["new"]]);
}
