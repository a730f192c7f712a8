//! What it costs to judge one event: outputs that did not change, that did, and that no rule is about; of 0.5 and
//! 4 KiB; under 10 and 1,000 rules.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use tripline_engine::decision::{Body, Input};
use tripline_engine::{MemoryState, RuleSet, Settings, SourceFile, compile};
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Format, Key, Run, RunId};

const SIZES: [usize; 2] = [512, 4096];
const RULE_COUNTS: [u32; 2] = [10, 1000];

/// So many rules as a site may have them: each about one command; the last one compares listening ports.
fn rules(count: u32) -> RuleSet {
    let mut text = String::from("<group name=\"bench,\">\n");
    for id in 100_000..100_000 + count - 1 {
        text.push_str(&format!(
            "<rule id=\"{id}\" level=\"7\" ignore=\"7200\"><if_sid>530</if_sid><match>ossec: output: 'command-{id}': </match>\
             <regex>usage \\d+%</regex><description>Rule {id}.</description></rule>\n"
        ));
    }
    text.push_str(
        "<rule id=\"109999\" level=\"7\"><if_sid>530</if_sid><match>ossec: output: 'netstat -tan</match><check_diff />\
         <description>Listened ports have changed.</description></rule>\n</group>\n",
    );
    let file = SourceFile { name: "bench.xml".to_owned(), text: text.into_bytes() };
    compile(&[file], &Settings::default()).expect("the bench's rules are good")
}

/// A run of `netstat`, or of a command that no rule is about.
fn run(command: &str, format: Format, size: usize, first_port: u32) -> Event {
    let mut output = String::new();
    for port in first_port.. {
        let line = format!("tcp        0      0 0.0.0.0:{port:<12} 0.0.0.0:*               LISTEN\n");
        if output.len() + line.len() > size {
            break;
        }
        output.push_str(&line);
    }
    Event::Output(Run {
        id: RunId { spool: uuid::Uuid::from_u128(1), sequence: u64::from(first_port) },
        key: Key::new("web-1", command).expect("a good key"),
        address: None,
        command_line: command.to_owned(),
        alias: None,
        format,
        started: Timestamp::UNIX_EPOCH,
        duration_ms: 12,
        start_delay_ms: None,
        ending: Ending::Exited(0),
        truncated_from: None,
        stderr_tail: Vec::new(),
        collector: "bench".to_owned(),
        output: output.into_bytes(),
    })
}

fn input(event: &Event) -> Input<'_> {
    Input {
        body: Body::Event(event),
        append_time: Timestamp::UNIX_EPOCH,
        source: None,
        overtaken: false,
        duplicate_agent: None,
    }
}

fn evaluate(criterion: &mut Criterion) {
    for count in RULE_COUNTS {
        let rules = rules(count);
        for (command, format, name) in [
            ("netstat -tan", Format::FullCommand, "full_command"),
            ("netstat -tan", Format::Command, "command"),
            ("nobody's business", Format::FullCommand, "full_command of no rule"),
            ("nobody's business", Format::Command, "command of no rule"),
        ] {
            let mut group = criterion.benchmark_group(format!("{name}, {count} rules"));
            for size in SIZES {
                let (first, second) = (run(command, format, size, 1000), run(command, format, size, 1001));
                let mut state = MemoryState::default();
                let decision = rules.evaluate(&input(&first), &state).expect("memory can be read");
                state.apply(&decision.changes);
                group.throughput(Throughput::Bytes(size as u64));
                let mut judge = |what: &str, event: &Event, alerts: usize| {
                    let decide = || rules.evaluate(&input(event), &state).expect("memory can be read");
                    assert_eq!(decide().alerts.len(), alerts, "the bench measures what it says");
                    group.bench_function(BenchmarkId::new(what, size), |bencher| bencher.iter(|| black_box(decide())));
                };
                if command.starts_with("netstat") {
                    judge("unchanged", &first, 0);
                    judge("changed", &second, 1);
                } else {
                    judge("not matching", &first, 0);
                }
            }
            group.finish();
        }
    }
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
