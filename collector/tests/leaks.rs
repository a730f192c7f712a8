//! What a collector leaves behind in its process: nothing. Alone in its file, so that no other test has children.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use tripline_collector::{
    Collector, CommandLine, CommandSpec, Identity, Interval, Observer, Plan, Progress, Settings, Stop,
};
use tripline_eventlog::{LogError, Publisher};
use tripline_schemas::{Ending, Record};

struct Nowhere;

impl Publisher for Nowhere {
    fn publish(&mut self, _: &str, _: &[Record]) -> Result<(), LogError> {
        Ok(())
    }
}

#[test]
fn many_commands_leave_neither_zombies_nor_open_files() {
    let dir = tempfile::tempdir().unwrap();
    let specs: Vec<CommandSpec> = (0..100)
        .map(|i| CommandSpec {
            name: Some(i.to_string()),
            every: Some(Interval::from_secs(1)),
            ..CommandSpec::new(CommandLine::Shell("echo; echo >&2".into()))
        })
        .collect();
    let stop = Stop::new();
    let counts: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let observer = {
        let (stop, counts) = (stop.clone(), Arc::clone(&counts));
        Observer::new(move |progress| {
            if let Progress::Finished { key, ending, .. } = progress {
                let mut counts = counts.lock().unwrap();
                *counts.entry(key.command().to_owned()).or_default() += 1;
                if counts.values().sum::<u32>() >= 300 {
                    stop.ask();
                } else {
                    assert_eq!(*ending, Ending::Exited(0));
                }
            }
        })
    };
    let settings = Settings { splay: 0.0, ..Settings::default() };
    let collector = Collector {
        plan: Plan::check(&specs, "web-1", &settings).unwrap(),
        identity: Identity { agent: "web-1".into(), address: None },
        settings,
        spool_dir: dir.path().join("spool"),
        topic: "outputs".into(),
        observer,
    };
    let open_before = open_files();
    let summary = collector.run(Box::new(Nowhere), &stop).unwrap();
    assert!(!summary.left_in_spool);
    assert_eq!(counts.lock().unwrap().len(), 100, "every command had its turn");
    assert_eq!(children(), Vec::<String>::new());
    // The event loop keeps some descriptors for signals as long as the process lives.
    assert!(open_files() <= open_before + 8, "{open_before} files were open before, now {}", open_files());
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
