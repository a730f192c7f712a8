//! What a collector leaves behind in its process: nothing. Alone in its file, so that no other test has children.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use tripline_collector::{
    ActivePlan, Collector, CommandLine, CommandSpec, Identity, Interval, Observer, Plan, Progress, Settings, Stop,
};
use tripline_eventlog::{LogError, Publisher};
use tripline_schemas::{Ending, Record};

struct Nowhere;

impl Publisher for Nowhere {
    fn publish(&mut self, _: &str, _: &[Record]) -> Result<(), LogError> {
        Ok(())
    }
}

/// How many runs; `TRIPLINE_RUNS=100000` is the long form.
const RUNS: u64 = 300;
const COMMANDS: usize = 100;
/// How often memory and descriptors are looked at.
const LOOKS: u64 = 10;
/// How much the memory may grow from the first look to the last, in bytes: what an allocator keeps for later.
const GROWTH_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What the process holds after so many runs.
#[derive(Clone, Copy, Debug)]
struct Look {
    runs: u64,
    memory: u64,
    open_files: usize,
    threads: usize,
    zombies: usize,
}

#[test]
fn many_runs_leave_neither_zombies_nor_open_files_nor_memory() {
    let runs = test_setting("TRIPLINE_RUNS").unwrap_or(RUNS);
    let dir = tempfile::tempdir().unwrap();
    // The long form is there for the number of runs: programs as small as they come, as many as the machine can start.
    let (commands, line) = match runs {
        RUNS => (COMMANDS, CommandLine::Shell("echo; echo >&2".into())),
        _ => (1000, CommandLine::Program(vec!["true".into()])),
    };
    let specs: Vec<CommandSpec> = (0..commands)
        .map(|i| CommandSpec {
            name: Some(i.to_string()),
            every: Some(Interval::from_secs(1)),
            ..CommandSpec::new(line.clone())
        })
        .collect();
    let stop = Stop::new();
    let counts: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let looks: Arc<Mutex<Vec<Look>>> = Arc::default();
    let observer = {
        let (stop, counts, looks) = (stop.clone(), Arc::clone(&counts), Arc::clone(&looks));
        Observer::new(move |progress| {
            if let Progress::Finished { key, ending, .. } = progress {
                let mut counts = counts.lock().unwrap();
                *counts.entry(key.command().to_owned()).or_default() += 1;
                let sum = counts.values().sum::<u64>();
                if sum % (runs / LOOKS) == 0 {
                    looks.lock().unwrap().push(look(sum));
                }
                if sum >= runs {
                    stop.ask();
                } else {
                    assert_eq!(*ending, Ending::Exited(0));
                }
            }
        })
    };
    let settings = Settings { splay: 0.0, ..Settings::default() };
    let collector = Collector {
        plan: ActivePlan::new(Plan::check(&specs, "web-1", &settings).unwrap()),
        identity: Identity { agent: "web-1".into(), address: None },
        settings,
        spool_dir: dir.path().join("spool"),
        topic: "outputs".into(),
        observer,
    };
    let open_before = open_files();
    let summary = collector.run(Box::new(Nowhere), &stop).unwrap();
    assert!(!summary.left_in_spool);
    assert_eq!(counts.lock().unwrap().len(), commands, "every command had its turn");
    assert_eq!(children(), Vec::<String>::new());
    // The event loop keeps some descriptors for signals as long as the process lives.
    assert!(open_files() <= open_before + 8, "{open_before} files were open before, now {}", open_files());

    let looks = looks.lock().unwrap();
    for look in looks.iter() {
        let Look { runs, memory, open_files, threads, zombies } = look;
        println!("{runs} runs: {} KiB, {open_files} open files, {threads} threads, {zombies} zombies", memory / 1024);
        // At a look up to eight commands run, and some have ended and are about to be reaped.
        assert!(look.zombies <= 8, "{looks:?}");
        assert!(look.open_files <= open_before + 8 + 8 * 4, "{looks:?}");
    }
    let (first, last) = (looks.first().unwrap(), looks.last().unwrap());
    assert!(last.memory <= first.memory + GROWTH_BYTES_MAX, "{looks:?}");
    assert!(last.threads <= first.threads + 2, "{looks:?}");
}

fn look(runs: u64) -> Look {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let zombies = children().iter().filter(|stat| stat.contains(") Z ")).count();
    Look {
        runs,
        memory: number("VmRSS:") * 1024,
        open_files: open_files(),
        threads: number("Threads:") as usize,
        zombies,
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The children of this process, zombies included, as the kernel lists them.
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let stats = fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let is_child =
        |stat: &String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(own.as_str()));
    stats.filter(is_child).collect()
}

/// A setting of the test itself: how much it does.
#[expect(clippy::disallowed_methods, reason = "how much a test does is no setting of the program")]
fn test_setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}
