//! OSSEC's stock rules and decoders, which `TRIPLINE_SHARED` names the directory of: how long they take to load, and
//! what an output and a log line cost under them.

#![allow(clippy::disallowed_methods, reason = "a bench brings the bytes that the engine does not read itself")]

mod cases;

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use tripline_engine::decision::{Body, LogLine};
use tripline_engine::{CompileInputs, MemoryState, Settings, SourceFile, compile_inputs};
use tripline_schemas::{Format, Key};

use cases::{input, listing, run};

fn stock() -> Option<CompileInputs> {
    let directory = PathBuf::from(std::env::var_os("TRIPLINE_SHARED")?).join("ossec-ruleset");
    let entries = fs::read_dir(directory).expect("TRIPLINE_SHARED/ossec-ruleset");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml"));
    paths.sort();
    let file = |path: &PathBuf| SourceFile {
        name: path.file_name().expect("a name").to_string_lossy().into_owned(),
        text: fs::read(path).expect("a readable file"),
    };
    let (decoders, rules) = paths.iter().map(file).partition(|file| file.name == "decoder.xml");
    Some(CompileInputs { rules, decoders, lists: Vec::new() })
}

fn stock_rules(criterion: &mut Criterion) {
    let Some(inputs) = stock() else {
        eprintln!(
            "TRIPLINE_SHARED is not set: it names the directory with ossec-ruleset/, without which nothing is measured"
        );
        return;
    };
    let settings = Settings { time_zone: Some("UTC".to_owned()), ..Settings::default() };
    let load = || compile_inputs(&inputs, &settings).expect("the stock rules load");
    let mut group = criterion.benchmark_group("stock rules");
    group.sample_size(20).bench_function("load", |bencher| bencher.iter(load));

    let rules = load();
    let state = MemoryState::default();
    let mut judge = |what: &str, body: Body<'_>| {
        let decide = || rules.evaluate(&input(body), &state).expect("memory can be read");
        decide();
        group.bench_function(what, |bencher| bencher.iter(|| black_box(decide())));
    };
    for (format, name) in [(Format::FullCommand, "full_command"), (Format::Command, "command")] {
        judge(&format!("{name} of 4 KiB"), Body::Event(&run("nobody's business", format, listing(false))));
    }
    let line = LogLine {
        key: Key::new("web-1", "/var/log/auth.log").expect("a good key"),
        address: None,
        location: "web-1->/var/log/auth.log".to_owned(),
        time: Timestamp::UNIX_EPOCH,
        text: b"Nov 24 10:00:00 web-1 sshd[4711]: Failed password for root from 10.0.0.7 port 4711 ssh2".to_vec(),
    };
    judge("a line of sshd", Body::Log(&line));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
    targets = stock_rules
}
criterion_main!(benches);
