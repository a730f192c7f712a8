//! A collector that is killed at any moment: every run that was started becomes exactly one event, finished or
//! interrupted.
//!
//! The test starts itself again as the collector (`the_collector_that_is_killed`), with a log that is a file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tripline_collector::{
    ActivePlan, Collector, CommandLine, CommandSpec, Identity, Interval, Observer, Plan, Settings, Stop, Summary,
};
use tripline_eventlog::{LogError, Publisher};
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Headers, Record, Run};

const DIR: &str = "TRIPLINE_KILL_TEST_DIR";
const COMMANDS: usize = 12;

/// A log in a file, one record a line. What was written survives the process.
struct FileLog(File);

#[derive(Serialize, Deserialize)]
struct Line {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

impl FileLog {
    /// Opens it; a line that was cut off by a kill was never acknowledged and goes.
    fn open(path: &Path) -> FileLog {
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let bytes = fs::read(path).unwrap();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64).unwrap();
        FileLog(file)
    }
}

impl Publisher for FileLog {
    fn publish(&mut self, _: &str, records: &[Record]) -> Result<(), LogError> {
        for record in records {
            let Record { key, value, headers } = record.clone();
            let mut line = serde_json::to_vec(&Line { key, value, headers: headers.0 }).unwrap();
            line.push(b'\n');
            self.0.write_all(&line).unwrap();
        }
        Ok(())
    }
}

fn collect(dir: &Path, commands: usize, stop: &Stop) -> Summary {
    // Each run notes that it started under a name of its own, and prints that name.
    let text = format!(
        "read name < /proc/sys/kernel/random/uuid; echo $name >> {}; sleep 0.02; echo $name",
        dir.join("started").display()
    );
    let specs: Vec<CommandSpec> = (0..commands)
        .map(|i| CommandSpec {
            name: Some(format!("command {i}")),
            every: Some(Interval::from_secs(1)),
            ..CommandSpec::new(CommandLine::Shell(text.clone()))
        })
        .collect();
    let settings = Settings { splay: 0.3, ..Settings::default() };
    let collector = Collector {
        plan: ActivePlan::new(Plan::check(&specs, "web-1", &settings).unwrap()),
        identity: Identity { agent: "web-1".into(), address: None },
        settings,
        spool_dir: dir.join("spool"),
        topic: "outputs".into(),
        observer: Observer::none(),
    };
    collector.run(Box::new(FileLog::open(&dir.join("log"))), stop).unwrap()
}

/// The runs in the log, copies included. A last line may be cut off.
fn published(dir: &Path) -> Vec<Run> {
    let text = fs::read(dir.join("log")).unwrap_or_default();
    let whole = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let event = |line: &[u8]| {
        let Line { key, value, headers } = serde_json::from_slice(line).unwrap();
        Event::from_record(&Record { key, value, headers: Headers(headers) }).unwrap()
    };
    whole.map(event).filter_map(|event| if let Event::Output(run) = event { Some(run) } else { None }).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how the child of this test is told what to do")]
fn the_collector_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else {
        return; // Only does something when the test below starts it.
    };
    collect(Path::new(&dir), COMMANDS, &Stop::new());
}

#[test]
fn a_collector_killed_at_any_moment_tells_of_every_run_once() {
    let seed = 0x5eed_0007_u64;
    let mut random = seed;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let dir = tempfile::tempdir().unwrap();
    // Where the machine is slow, until some runs have finished between two kills, and one has not.
    let seen = |ending: Ending| published(dir.path()).iter().filter(|run| run.ending == ending).count();
    let mut kills = 0;
    while kills < 25 || seen(Ending::Exited(0)) <= 20 || seen(Ending::Interrupted) == 0 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_collector_that_is_killed"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(below(600 + kills * 10)));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let stop = Stop::new();
    stop.ask();
    let summary = collect(dir.path(), 0, &stop);
    assert!(!summary.left_in_spool, "SEED={seed:#x}");

    // What a processor keeps: it drops what is not above the last number.
    let mut last = 0;
    let mut outputs: BTreeMap<String, u32> = BTreeMap::new();
    for run in published(dir.path()) {
        if run.id.sequence <= last {
            continue;
        }
        assert_eq!(run.id.sequence, last + 1, "SEED={seed:#x}: numbers have no gaps");
        last += 1;
        match run.ending {
            Ending::Exited(0) => {
                *outputs.entry(String::from_utf8(run.output).unwrap().trim().to_owned()).or_default() += 1
            }
            Ending::Interrupted => {}
            other => panic!("SEED={seed:#x}: {other:?}"),
        }
    }
    let started = fs::read_to_string(dir.path().join("started")).unwrap();
    let started: Vec<&str> = started.lines().collect();
    assert!(outputs.values().all(|count| *count == 1), "SEED={seed:#x}: a run was told of twice");
    assert!(outputs.keys().all(|name| started.contains(&name.as_str())), "SEED={seed:#x}");
    // A run may have been interrupted before its command came to note its name.
    assert!(started.len() as u64 <= last, "SEED={seed:#x}: {} runs started, {last} are told of", started.len());
}
