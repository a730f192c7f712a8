//! Rules and outputs for the benches.

#![allow(dead_code, reason = "each bench uses some of it")]

use jiff::{SignedDuration, Timestamp};
use tripline_engine::decision::{Body, Input};
use tripline_engine::{MemoryState, RuleSet, Settings, SourceFile, compile};
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Format, Key, Run, RunId};

/// The size of all outputs, in bytes, roughly.
pub const OUTPUT_BYTES: usize = 4096;

/// So many rules as a site may have them, of which one is about listening ports: it compares. The others are about other
/// commands, about phrases, about errors with numbers; none of them applies.
pub fn rules(count: u32) -> RuleSet {
    let others = (100_000..100_000 + count - 1).map(|id| {
        let conditions = match id % 3 {
            0 => format!("<match>ossec: output: 'command-{id}': </match><regex>usage \\d+%</regex>"),
            1 => format!("<match>failure of service-{id}|service-{id} is gone</match>"),
            _ => format!("<regex>error {id}: \\S+ refused</regex>"),
        };
        format!("<rule id=\"{id}\" level=\"7\" ignore=\"7200\"><if_sid>530</if_sid>{conditions}</rule>\n")
    });
    compiled(others.collect())
}

/// A hundred rules with PCRE2 patterns; those that `regex` can't say are matched by backtracking.
pub fn pcre2_rules(backtracking: bool) -> RuleSet {
    let others = (100_000..100_099).map(|id| {
        let pattern = match backtracking {
            true => format!("error {id}(?! none): (\\w+) again \\1"),
            false => format!("error {id}: [^ ]+ (?:refused|reset)\\b"),
        };
        format!("<rule id=\"{id}\" level=\"7\"><if_sid>530</if_sid><pcre2>{pattern}</pcre2></rule>\n")
    });
    compiled(others.collect())
}

fn compiled(others: String) -> RuleSet {
    let text = format!(
        "<group name=\"bench,\">\n{others}<rule id=\"119999\" level=\"7\"><if_sid>530</if_sid>\
         <match>ossec: output: 'netstat -tan</match><check_diff />\
         <description>Listened ports have changed.</description></rule>\n</group>\n"
    );
    let file = SourceFile { name: "bench.xml".to_owned(), text: text.into_bytes() };
    compile(&[file], &Settings::default()).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// A listing of ports, with one line more in its middle or without. All other lines are the same.
pub fn listing(with_one_more: bool) -> Vec<u8> {
    let line = |port: u32| format!("tcp        0      0 0.0.0.0:{port:<12} 0.0.0.0:*               LISTEN\n");
    let lines = (OUTPUT_BYTES / line(0).len()) as u32;
    let mut output = String::new();
    for port in 1000..1000 + lines {
        if port == 1025 && with_one_more {
            output.push_str(&line(31_337));
        }
        output.push_str(&line(port));
    }
    output.into_bytes()
}

/// A run of a command with this output.
pub fn run(command: &str, format: Format, output: Vec<u8>) -> Event {
    Event::Output(Run {
        id: RunId { spool: uuid::Uuid::from_u128(1), sequence: 1 },
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
        output,
    })
}

/// What the log says about an event.
pub fn input(body: Body<'_>) -> Input<'_> {
    let append_time = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1);
    Input { body, append_time, source: None, overtaken: false, duplicate_agent: None }
}

/// What is remembered after an event.
pub fn state_after(rules: &RuleSet, event: &Event) -> MemoryState {
    let mut state = MemoryState::default();
    let decision = rules.evaluate(&input(Body::Event(event)), &state).expect("memory can be read");
    state.apply(&decision.changes);
    state
}
