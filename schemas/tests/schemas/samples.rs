//! One value of every kind, as the fixtures hold it. Values never change once their fixture is committed: a new field
//! gets a new sample.

use std::collections::BTreeMap;

use tripline_schemas::alert::{Alert, AlertAgent, AlertDecoder, AlertRule, AlertRuleSet, AlertRun, Diff, Source};
use tripline_schemas::dead_letter::DeadLetter;
use tripline_schemas::event::{Control, Event, Gap, Heartbeat, Order};
use tripline_schemas::ruleset::{RuleFile, RuleFileKind, RuleSetRecord};
use tripline_schemas::state::{
    Activation, Baseline, Counted, Cursor, Cursors, HistoryBounds, HistoryKey, KeyState, KeyedTimer, RecordedEvent,
    RuleState, Scope, Seen, SeenKey, SeenKind, SpoolCursor, TextDigest, Twin,
};
use tripline_schemas::{Ending, Format, Headers, Key, Record, Run, RunId};

const SPOOL: &str = "0191f6f0-7c1e-7a52-8d3b-2f6a1c9e4b70";

pub fn run_id(sequence: u64) -> RunId {
    RunId { spool: SPOOL.parse().unwrap(), sequence }
}

/// A run with every fact set, and an output that is not UTF-8.
pub fn run() -> Run {
    Run {
        id: run_id(42),
        key: Key::new("web-1", "listening ports").unwrap(),
        address: Some("192.0.2.10".to_owned()),
        command_line: "netstat -tan | grep LISTEN | sort".to_owned(),
        alias: Some("listening ports".to_owned()),
        format: Format::FullCommand,
        started: "2025-08-14T13:52:16.026104Z".parse().unwrap(),
        duration_ms: 137,
        start_delay_ms: None,
        ending: Ending::Exited(0),
        truncated_from: None,
        stderr_tail: b"netstat: \xff\xfe\n".to_vec(),
        collector: "0.1.0".to_owned(),
        output: b"tcp 0.0.0.0:22\r\ntcp [::]:22 \xf0\x28\n\n".to_vec(),
    }
}

/// A run with as few facts as there can be.
pub fn bare_run(ending: Ending) -> Run {
    Run {
        id: run_id(7),
        key: Key::new("db-2", "df -P").unwrap(),
        address: None,
        command_line: "df -P".to_owned(),
        alias: None,
        format: Format::Command,
        started: "2025-08-14T13:52:16Z".parse().unwrap(),
        duration_ms: 0,
        start_delay_ms: None,
        ending,
        truncated_from: None,
        stderr_tail: Vec::new(),
        collector: "0.1.0".to_owned(),
        output: Vec::new(),
    }
}

pub fn events() -> Vec<(&'static str, Event)> {
    let key = Key::new("web-1", "listening ports").unwrap();
    let time = "2025-08-14T14:00:00Z".parse().unwrap();
    vec![
        ("output", Event::Output(run())),
        ("output-bare", Event::Output(bare_run(Ending::Exited(1)))),
        ("output-signalled", Event::Output(bare_run(Ending::Signalled(9)))),
        ("output-timed-out", Event::Output(bare_run(Ending::TimedOut(30_000)))),
        ("output-interrupted", Event::Output(bare_run(Ending::Interrupted))),
        ("output-not-started", Event::Output(bare_run(Ending::NotStarted("Too many open files".to_owned())))),
        ("output-truncated", Event::Output(Run { truncated_from: Some(10_737_418_240), ..run() })),
        (
            "gap",
            Event::Gap(Gap {
                key: key.clone(),
                address: Some("192.0.2.10".to_owned()),
                spool: SPOOL.parse().unwrap(),
                first: 43,
                last: 60,
                runs: 12,
                time,
            }),
        ),
        (
            "control-forget",
            Event::Control(Control {
                key: key.clone(),
                order: Order::Forget { rule: None },
                author: "ops".to_owned(),
                reason: "moved to new hardware".to_owned(),
                time,
            }),
        ),
        (
            "control-forget-rule",
            Event::Control(Control {
                key,
                order: Order::Forget { rule: Some(533) },
                author: "ops".to_owned(),
                reason: "nginx is here to stay".to_owned(),
                time,
            }),
        ),
        (
            "heartbeat",
            Event::Heartbeat(Heartbeat {
                agent: "web-1".to_owned(),
                address: None,
                spool: SPOOL.parse().unwrap(),
                time,
                collector: "0.1.0".to_owned(),
                plan: BTreeMap::from([("df -P".to_owned(), 360), ("listening ports".to_owned(), 60)]),
            }),
        ),
    ]
}

/// Events with fields that came after the first ones: not in the history of version 1, which is never changed.
pub fn later_events() -> Vec<(&'static str, Event)> {
    vec![("output-delayed", Event::Output(Run { start_delay_ms: Some(1_250), ..run() }))]
}

pub fn alerts() -> Vec<(&'static str, Alert)> {
    let full = Alert {
        timestamp: "2025-08-14T13:52:16.026Z".parse().unwrap(),
        id: "3f1c9a0e5d7b42868f00c1d2e3f4a5b6".to_owned(),
        rule: AlertRule {
            id: "533".to_owned(),
            level: 7,
            description: Some("Listened ports status (netstat) changed".to_owned()),
            groups: vec!["ossec".to_owned(), "process_monitor".to_owned()],
            firedtimes: 3,
            mail: true,
        },
        agent: AlertAgent { id: "web-1".to_owned(), name: "web-1".to_owned(), ip: Some("192.0.2.10".to_owned()) },
        command: "listening ports".to_owned(),
        location: "(web-1) 192.0.2.10->listening ports".to_owned(),
        decoder: AlertDecoder { name: "ossec".to_owned() },
        data: BTreeMap::new(),
        full_log: "ossec: output: 'listening ports':\ntcp 22\ntcp 4444 \u{fffd}".to_owned(),
        previous_output: Some("ossec: output: 'listening ports':\ntcp 22".to_owned()),
        diff: Some(Diff {
            added: vec!["tcp 4444 \u{fffd}".to_owned()],
            removed: Vec::new(),
            unified: "@@ -1,2 +1,3 @@\n ossec: output: 'listening ports':\n tcp 22\n+tcp 4444 \u{fffd}\n".to_owned(),
            normalised: false,
        }),
        suppressed: 2,
        returned: 1,
        run: AlertRun {
            id: Some(run_id(42)),
            line: 0,
            command_line: Some("netstat -tan | grep LISTEN | sort".to_owned()),
            format: Some(Format::FullCommand),
            started: Some("2025-08-14T13:52:16.026104Z".parse().unwrap()),
            duration_ms: Some(137),
            ending: Some(Ending::Exited(0)),
            truncated_from: Some(10_737_418_240),
            late: true,
            clamped: true,
        },
        ruleset: AlertRuleSet { digest: "ab".repeat(32) },
        cut: BTreeMap::from([("full_log".to_owned(), 70_000)]),
        not_utf8: vec!["full_log".to_owned()],
        source: Some(Source { topic: "tripline.outputs".to_owned(), partition: 3, offset: 1_234_567 }),
    };
    let bare = Alert {
        timestamp: "2025-08-14T13:52:16Z".parse().unwrap(),
        id: "00000000000000000000000000000001".to_owned(),
        rule: AlertRule {
            id: "990010".to_owned(),
            level: 1,
            description: None,
            groups: Vec::new(),
            firedtimes: 1,
            mail: false,
        },
        agent: AlertAgent { id: "db-2".to_owned(), name: "db-2".to_owned(), ip: None },
        command: "df -P".to_owned(),
        location: "db-2->df -P".to_owned(),
        decoder: AlertDecoder { name: "tripline".to_owned() },
        data: BTreeMap::new(),
        full_log: "tripline: run: 'df -P': timed out after 30s".to_owned(),
        previous_output: None,
        diff: None,
        suppressed: 0,
        returned: 0,
        run: AlertRun {
            id: None,
            line: 0,
            command_line: None,
            format: None,
            started: None,
            duration_ms: None,
            ending: None,
            truncated_from: None,
            late: false,
            clamped: false,
        },
        ruleset: AlertRuleSet { digest: "0".repeat(64) },
        cut: BTreeMap::new(),
        not_utf8: Vec::new(),
        source: None,
    };
    let diff = Diff {
        added: vec!["sshd 22".to_owned()],
        removed: vec!["telnetd 23".to_owned()],
        unified: "@@ -1 +1 @@\n-telnetd 23\n+sshd 22\n".to_owned(),
        normalised: true,
    };
    let normalised = Alert { diff: Some(diff), ..full.clone() };
    let data = [("srcip", "192.0.2.7"), ("dstuser", "root"), ("port", "22")];
    let decoded = Alert {
        location: "(web-1) 192.0.2.10->/var/log/auth.log".to_owned(),
        command: "/var/log/auth.log".to_owned(),
        decoder: AlertDecoder { name: "sshd".to_owned() },
        data: data.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        full_log: "Nov 24 10:00:00 web-1 sshd[7]: Accepted password for root from 192.0.2.7 port 22".to_owned(),
        ..bare.clone()
    };
    vec![("alert", full), ("alert-bare", bare), ("alert-normalised", normalised), ("alert-decoded", decoded)]
}

pub fn dead_letters() -> Vec<(&'static str, DeadLetter)> {
    let original = Record {
        key: Some(b"no NUL, \xff".to_vec()),
        value: Some(b"\x00\x01 something else".to_vec()),
        headers: Headers(vec![
            ("ce_type".to_owned(), b"com.example.other".to_vec()),
            ("ce_type".to_owned(), b"\xff".to_vec()),
        ]),
    };
    let letter = DeadLetter {
        original,
        topic: "tripline.outputs".to_owned(),
        partition: 11,
        offset: 99,
        reason: "header `ce_specversion` is missing".to_owned(),
    };
    let tombstone =
        DeadLetter { original: Record::default(), reason: "ein Grund: ungültig".to_owned(), ..letter.clone() };
    vec![("dead-letter", letter), ("dead-letter-empty", tombstone)]
}

pub fn ruleset() -> RuleSetRecord {
    RuleSetRecord {
        digest: "cd".repeat(32),
        files: vec![
            RuleFile::new(RuleFileKind::Rules, "rules/local_rules.xml", b"<group name=\"local,\">\n</group>\n"),
            RuleFile::new(RuleFileKind::Rules, "rules/latin1_rules.xml", b"<!-- f\xfcr -->\n"),
            RuleFile::new(RuleFileKind::List, "lists/ports", b"22:ssh\n"),
            RuleFile::new(RuleFileKind::Decoders, "decoder.xml", b""),
        ],
        settings: BTreeMap::from([("log_alert_level".to_owned(), "1".to_owned())]),
    }
}

pub fn text_digest() -> TextDigest {
    TextDigest::of(b"ossec: output: 'listening ports':\ntcp 22")
}

pub fn key_state() -> KeyState {
    let all = RuleState {
        fired: Some("2025-08-14T13:52:16.026104Z".parse().unwrap()),
        fired_times: 3,
        held_back: 2,
        returned: 1,
        away: true,
        baseline: Some(Baseline {
            digest: text_digest(),
            size: 40,
            truncated: true,
            gathered: true,
            run: Some(run_id(41)),
            time: "2025-08-14T13:51:16Z".parse().unwrap(),
        }),
        ..RuleState::default()
    };
    let counted = RuleState { fired_times: 1, ..RuleState::default() };
    KeyState { rules: BTreeMap::from([(533, all), (990_010, counted)]) }
}

/// A state with ignore timers by captured text.
pub fn key_state_with_timers() -> KeyState {
    let fired = "2025-08-14T13:52:16.026104Z".parse().unwrap();
    let timers = BTreeMap::from([
        ("/dev/sda1".to_owned(), KeyedTimer { fired, held_back: 2 }),
        (String::new(), KeyedTimer { fired, held_back: 0 }),
    ]);
    KeyState { rules: BTreeMap::from([(531, RuleState { fired_times: 4, timers, ..RuleState::default() })]) }
}

pub fn cursor() -> Cursor {
    let other = "5d0d4b1e-31d5-4c0e-9f9e-0a6f6b7c8d9e".parse().unwrap();
    Cursor {
        spools: vec![
            SpoolCursor { spool: SPOOL.parse().unwrap(), sequence: 42, reported: false },
            SpoolCursor { spool: other, sequence: u64::MAX, reported: true },
        ],
        started: Some("2025-08-14T13:52:16.026104Z".parse().unwrap()),
    }
}

pub fn cursors() -> Cursors {
    Cursors { position: 1_234_568 }
}

pub fn activation() -> Activation {
    Activation { digest: "cd".repeat(32), from_offset: 1_234_000 }
}

pub fn history_key() -> HistoryKey {
    HistoryKey { counted: Counted::Rule(533), scope: Scope::Key(Key::new("web-1", "listening ports").unwrap()) }
}

pub fn history_bounds() -> HistoryBounds {
    HistoryBounds { first: 3, next: 131 }
}

pub fn recorded_event() -> RecordedEvent {
    let everyone = HistoryKey { counted: Counted::Group(100_200), scope: Scope::Partition };
    RecordedEvent {
        time: "2025-08-14T13:52:16.026104Z".parse().unwrap(),
        rule: 533,
        used: 10,
        text: "sshd: Failed password for root from 10.1.1.1 \u{fffd}".to_owned(),
        cut_from: 5000,
        not_utf8: true,
        fields: BTreeMap::from([
            ("dstuser".to_owned(), "root".to_owned()),
            ("srcip".to_owned(), "10.1.1.1".to_owned()),
        ]),
        twins: vec![
            Twin::new(&everyone, 7),
            Twin::new(&HistoryKey { counted: Counted::Regex(100_201), ..history_key() }, u64::MAX),
        ],
    }
}

pub fn recorded_event_bare() -> RecordedEvent {
    RecordedEvent {
        time: "2025-08-14T13:52:16Z".parse().unwrap(),
        rule: 5716,
        used: 0,
        text: String::new(),
        cut_from: 0,
        not_utf8: false,
        fields: BTreeMap::new(),
        twins: Vec::new(),
    }
}

pub fn seen_key() -> SeenKey {
    SeenKey { kind: SeenKind::Ignored, scope: Scope::Partition, digest: TextDigest::of(seen().what.as_bytes()) }
}

pub fn seen() -> Seen {
    Seen { what: "srcip=10.1.1.1 id=5".to_owned(), time: "2025-08-14T13:52:16Z".parse().unwrap(), rule: 20_161 }
}
