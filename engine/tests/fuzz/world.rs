//! What the targets judge with: rule sets, events, and findings that must be fit to be shown.

use jiff::Timestamp;
use tripline_engine::decision::{Body, Decision, Input, LogLine};
use tripline_engine::lint::LintInputs;
use tripline_engine::load::check_and_lint;
use tripline_engine::{Checked, CompileInputs, MemoryState, Orphans, RuleSet, Settings, SourceFile, finding};
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Format, Key, Run, RunId};
use uuid::Uuid;

pub fn file(name: &str, text: impl Into<Vec<u8>>) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.into() }
}

/// What there is to say, lints included. Every finding can be shown in every format, and lies within its file.
pub fn checked(inputs: &CompileInputs) -> Checked {
    let commands = ["df -P".to_owned(), "uptime".to_owned()];
    let lints = LintInputs { commands: &commands, today: Some("2026-11-24".parse().expect("a date")) };
    let settings = Settings { time_zone: Some("Europe/Vienna".to_owned()), ..Settings::default() };
    let checked = check_and_lint(inputs, &settings, Orphans::SetAside, &lints);
    let files: Vec<_> = inputs.files().cloned().collect();
    finding::render(&checked.findings, &files);
    finding::to_json(&checked.findings, &files, checked.rule_count);
    finding::to_github(&checked.findings, &files, checked.rule_count);
    for finding in &checked.findings {
        let Some(span) = finding.span else { continue };
        if let Some(file) = files.get(span.file as usize) {
            assert!(span.start <= span.end && span.end as usize <= file.text.len(), "{finding:?}");
        }
    }
    checked
}

/// Judges the output of a command twice, in a run that follows another: the same state gives the same answer.
pub fn judge_output(rules: &RuleSet, output: &[u8]) {
    let mut state = MemoryState::default();
    for (sequence, output) in [(1, &b"before\n"[..]), (2, output), (3, output)] {
        for format in [Format::FullCommand, Format::Command] {
            let run = Run {
                id: RunId { spool: Uuid::from_u128(7), sequence },
                key: Key::new("web01", "df -P").expect("a good key"),
                address: Some("192.0.2.7".to_owned()),
                command_line: "df -P".to_owned(),
                alias: None,
                format,
                started: Timestamp::UNIX_EPOCH,
                start_delay_ms: None,
                duration_ms: 5,
                ending: Ending::Exited(0),
                truncated_from: None,
                stderr_tail: Vec::new(),
                collector: String::new(),
                output: output.to_vec(),
            };
            let event = Event::Output(run);
            judge(rules, Body::Event(&event), &mut state);
        }
    }
}

/// Judges a line that is no command's output.
pub fn judge_line(rules: &RuleSet, text: &[u8], state: &mut MemoryState) {
    let line = LogLine {
        key: Key::new("manager", "/var/log/x").expect("a good key"),
        address: None,
        location: "manager->/var/log/x".to_owned(),
        time: Timestamp::UNIX_EPOCH,
        text: text.to_vec(),
    };
    judge(rules, Body::Log(&line), state);
}

fn judge(rules: &RuleSet, body: Body<'_>, state: &mut MemoryState) {
    let append_time = Timestamp::UNIX_EPOCH;
    let input = Input { body, append_time, source: None, overtaken: false, duplicate_agent: None };
    let decision: Decision = rules.evaluate(&input, state).expect("memory can be read");
    let explained = rules.explain(&input, state).expect("memory can be read");
    assert_eq!(explained.alerts, decision.alerts);
    assert_eq!(explained.changes, decision.changes);
    state.apply(&decision.changes);
}
