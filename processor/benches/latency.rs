//! How long it takes from an append to the alert, on the embedded log at a light load: an output that changed is appended
//! every ten milliseconds (4 KiB, synced before the append returns), and a reader waits for its alert.
//!
//! `cargo bench -p tripline-processor --bench latency` prints quantiles. Criterion measures repeated work, not waiting,
//! so this is a program of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tripline_engine::{Settings, SourceFile, compile};
use tripline_eventlog::Reader;
use tripline_eventlog::embedded::{EmbeddedLog, EmbeddedOptions};
use tripline_eventlog::topics::TopicNames;
use tripline_processor::embedded::EmbeddedBackend;
use tripline_processor::{ActiveRules, Options, shard};
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Format, Key, Run, RunId};

const APPLICATION: &str = "latency";
const RUNS: u64 = 2_000;
const EVERY: Duration = Duration::from_millis(10);
const OUTPUT_BYTES: usize = 4096;
/// An alert that takes longer than this is taken for lost.
const PATIENCE: Duration = Duration::from_secs(30);

const RULES: &str = r#"<group name="bench,">
  <rule id="100001" level="5"><if_sid>530</if_sid><check_diff /><description>It changed.</description></rule>
</group>"#;

fn main() {
    let dir = tempfile::tempdir().expect("a directory for the log");
    let topics = TopicNames::new(APPLICATION);
    let log = EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).expect("a new log");
    log.create_topics(&topics.specs(1, 1 << 20)).expect("new topics");
    let file = SourceFile { name: "latency.xml".to_owned(), text: RULES.into() };
    let rules = ActiveRules::new(Arc::new(compile(&[file], &Settings::default()).expect("the bench's rules are good")));
    let stop = AtomicBool::new(false);

    let mut took = thread::scope(|scope| {
        scope.spawn(|| {
            let mut backend = EmbeddedBackend::new(log.clone(), topics.clone(), APPLICATION);
            shard::run(&mut backend, &rules, &Options::default(), &|| stop.load(Ordering::Relaxed), &mut ())
                .expect("the shard goes on");
        });
        let took = measure(&log, &topics);
        stop.store(true, Ordering::Relaxed);
        took
    });
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{} alerts, from append to alert, in ms, on {}:", took.len(), shown(dir.path()));
    println!("  median {:.2}, 90 % {:.2}, 99 % {:.2}, longest {:.2}", at(0.5), at(0.9), at(0.99), at(1.0));
}

/// How long each alert took.
fn measure(log: &EmbeddedLog, topics: &TopicNames) -> Vec<Duration> {
    let mut alerts = log.reader(&topics.alerts).expect("there is an alerts topic");
    alerts.seek(0, 0).expect("an empty topic begins at 0");
    let mut took = Vec::new();
    // The first output is the first baseline.
    log.append(&topics.outputs, &[run(0).to_record()]).expect("the log takes it");
    for n in 1..=RUNS {
        thread::sleep(EVERY);
        let record = run(n).to_record();
        let began = Instant::now();
        log.append(&topics.outputs, &[record]).expect("the log takes it");
        let came = alerts.read(1, PATIENCE).expect("alerts can be read");
        assert_eq!(came.len(), 1, "no alert for run {n} within {PATIENCE:?}");
        took.push(began.elapsed());
    }
    took
}

/// A run whose output is like no other.
fn run(n: u64) -> Event {
    let mut output = format!("{n}\n");
    while output.len() < OUTPUT_BYTES {
        output.push_str("tcp 0 0 0.0.0.0:22 0.0.0.0:* LISTEN\n");
    }
    Event::Output(Run {
        id: RunId { spool: uuid::Uuid::from_u128(1), sequence: n + 1 },
        key: Key::new("web-1", "netstat").expect("a good key"),
        address: None,
        command_line: "netstat -tan".to_owned(),
        alias: Some("netstat".to_owned()),
        format: Format::FullCommand,
        started: tripline_faults::now(),
        duration_ms: 1,
        start_delay_ms: None,
        ending: Ending::Exited(0),
        truncated_from: None,
        stderr_tail: Vec::new(),
        collector: "bench".to_owned(),
        output: output.into_bytes(),
    })
}

/// Where the log lies decides what a sync costs.
fn shown(dir: &Path) -> String {
    dir.parent().unwrap_or(dir).display().to_string()
}
