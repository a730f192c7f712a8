//! From an event to lines: outputs, failed runs, truncated runs, gaps, log lines, time.

use jiff::SignedDuration;
use tripline_engine::decision::{Body, Input, LineKind, LogLine};
use tripline_engine::{Decision, MemoryState};
use tripline_schemas::event::{Event, Gap, Heartbeat};
use tripline_schemas::{Ending, Format, Key, Run};
use uuid::Uuid;

use crate::world::{SPOOL, judge, judge_input, rules, run, shown, time};

const ALL: &str = r#"
    <rule id="100100" level="3"><if_sid>500</if_sid></rule>
    <rule id="100101" level="4"><if_sid>530</if_sid></rule>
    <rule id="100102" level="5"><if_sid>990000</if_sid></rule>
    <rule id="100103" level="2"><match>a</match></rule>"#;

/// The texts that rules see, with their numbers.
fn lines_of(event: &Event) -> Vec<(u32, String)> {
    let decision = judge(&rules(ALL), &mut MemoryState::default(), event);
    texts(&decision)
}

fn texts(decision: &Decision) -> Vec<(u32, String)> {
    let text = |text: &[u8]| text.escape_ascii().to_string();
    decision.lines.iter().map(|line| (line.number, text(&line.text))).collect()
}

#[track_caller]
fn check(run: Run, expected: &[(u32, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(number, text)| (*number, (*text).to_owned())).collect();
    assert_eq!(lines_of(&Event::Output(run.clone())), expected, "{run:?}");
}

#[test]
fn an_output_becomes_lines() {
    for (format, output, expected) in [
        (Format::FullCommand, "a\nb\n", &[(0, r"ossec: output: \'ports\':\na\nb")][..]),
        (Format::FullCommand, "a\nb", &[(0, r"ossec: output: \'ports\':\na\nb")]),
        (Format::FullCommand, "a\r\nb\r\n", &[(0, r"ossec: output: \'ports\':\na\nb")]),
        (Format::FullCommand, "a\n\n\nb\n\n", &[(0, r"ossec: output: \'ports\':\na\n\n\nb\n")]),
        (Format::FullCommand, "a\rb\t", &[(0, r"ossec: output: \'ports\':\na\rb\t")]),
        (Format::FullCommand, "", &[(0, r"ossec: output: \'ports\':\n")]),
        (Format::FullCommand, "\n", &[(0, r"ossec: output: \'ports\':\n")]),
        (Format::Command, "a\nb\n", &[(1, r"ossec: output: \'ports\': a"), (2, r"ossec: output: \'ports\': b")]),
        (
            Format::Command,
            "\n\na\r\n\r\n b",
            &[(1, r"ossec: output: \'ports\': a"), (2, r"ossec: output: \'ports\':  b")],
        ),
        // Blanks are something.
        (Format::Command, " \n\n\t", &[(1, r"ossec: output: \'ports\':  "), (2, r"ossec: output: \'ports\': \t")]),
        (Format::Command, "a\r", &[(1, r"ossec: output: \'ports\': a\r")]),
        (Format::Command, "\n\n", &[]),
        (Format::Command, "", &[]),
    ] {
        check(run(format, 1, 0, output), expected);
    }
    check(run(Format::Command, 1, 0, b"\xff\x00\x1b"), &[(1, r"ossec: output: \'ports\': \xff\x00\x1b")]);
}

#[test]
fn colons_in_a_name_are_backslashes_and_no_name_is_cut() {
    let mut long = run(Format::Command, 1, 0, "a");
    let name = format!("reg QUERY HKLM:{}", "x".repeat(500));
    long.key = Key::new("web-1", &name).expect("a good key");
    let shown_name = name.replace(':', r"\\");
    check(long.clone(), &[(1, &format!(r"ossec: output: \'{shown_name}\': a"))]);
    let decision = judge(&rules(ALL), &mut MemoryState::default(), &Event::Output(long));
    let alert = &decision.alerts[0];
    assert_eq!(alert.location, format!("web-1->{}", name.replace(':', "\\")));
    assert_eq!(alert.command, name);
}

#[test]
fn a_failed_run_gives_one_line_of_its_own() {
    let exit = |code| (Ending::Exited(code), "");
    for ((ending, stderr), expected) in [
        ((Ending::TimedOut(30_000), ""), "timed out after 30s"),
        ((Ending::TimedOut(1_500), ""), "timed out after 1.5s"),
        ((Ending::TimedOut(7), ""), "timed out after 0.007s"),
        ((Ending::Signalled(9), ""), "killed by signal 9"),
        ((Ending::Interrupted, ""), "interrupted"),
        (
            (Ending::NotStarted("No such file or directory".to_owned()), ""),
            "could not start: No such file or directory",
        ),
        (exit(127), "could not start: exit code 127"),
        (
            (Ending::Exited(127), "one\r\nsh: 1: nope: not found\r\n\n"),
            "could not start: exit code 127: sh: 1: nope: not found",
        ),
        (exit(126), "could not start: exit code 126"),
    ] {
        for format in [Format::Command, Format::FullCommand] {
            let mut run = run(format, 1, 0, "half an outp");
            run.ending = ending.clone();
            run.stderr_tail = stderr.as_bytes().to_vec();
            run.truncated_from = Some(1 << 20);
            check(run.clone(), &[(0, &format!(r"tripline: run: \'ports\': {expected}"))]);
            let decision = judge(&rules(ALL), &mut MemoryState::default(), &Event::Output(run));
            assert_eq!(shown(&decision), ["alert 100102 about"]);
            assert_eq!(decision.alerts[0].decoder.name, "tripline");
        }
    }
}

#[test]
fn a_failed_run_touches_no_baseline() {
    let rules = rules(r#"<rule id="100100" level="3"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#);
    for format in [Format::FullCommand, Format::Command] {
        let mut state = MemoryState::default();
        judge(&rules, &mut state, &Event::Output(run(format, 1, 0, "a")));
        let before = state.clone();
        let mut failed = run(format, 2, 10, "");
        failed.ending = Ending::Signalled(15);
        assert_eq!(judge(&rules, &mut state, &Event::Output(failed)).changes, []);
        assert_eq!(state, before);
    }
}

#[test]
fn a_non_zero_exit_code_alone_is_an_observation() {
    for code in [1, 2, 125, 128, 255, -1] {
        let mut run = run(Format::Command, 1, 0, "a");
        run.ending = Ending::Exited(code);
        check(run, &[(1, r"ossec: output: \'ports\': a")]);
    }
}

#[test]
fn a_truncated_output_is_judged_and_has_a_line_about_it() {
    let mut run = run(Format::FullCommand, 1, 0, "abcd");
    run.truncated_from = Some(10_737_418_240);
    check(
        run.clone(),
        &[
            (0, r"ossec: output: \'ports\':\nabcd"),
            (0, r"tripline: run: \'ports\': output truncated: 4 of 10737418240 bytes kept"),
        ],
    );
    let decision = judge(&rules(ALL), &mut MemoryState::default(), &Event::Output(run));
    assert_eq!(shown(&decision), ["alert 100101", "alert 100102 about"]);
    assert!(decision.alerts.iter().all(|alert| alert.run.truncated_from == Some(10_737_418_240)));
}

#[test]
fn a_gap_is_a_line_and_a_heartbeat_is_none() {
    let gap = |runs| {
        Event::Gap(Gap {
            key: Key::new("web-1", "ports").expect("a good key"),
            address: Some("10.0.0.1".to_owned()),
            spool: SPOOL,
            first: 3,
            last: 20,
            runs,
            time: time(0),
        })
    };
    assert_eq!(lines_of(&gap(12)), [(0, r"tripline: gap: \'ports\': 12 runs lost".to_owned())]);
    assert_eq!(lines_of(&gap(1)), [(0, r"tripline: gap: \'ports\': 1 run lost".to_owned())]);
    let decision = judge(&rules(ALL), &mut MemoryState::default(), &gap(12));
    let alert = &decision.alerts[0];
    assert_eq!((alert.location.as_str(), alert.run.id), ("(web-1) 10.0.0.1->ports", None));

    let heartbeat = Event::Heartbeat(Heartbeat {
        agent: "web-1".to_owned(),
        address: None,
        spool: SPOOL,
        time: time(0),
        collector: "test".to_owned(),
        plan: [("ports".to_owned(), 60)].into(),
    });
    let decision = judge(&rules(ALL), &mut MemoryState::default(), &heartbeat);
    assert_eq!((decision.lines.len(), decision.alerts.len(), decision.changes.len()), (0, 0, 0));
    assert_eq!(decision.time, time(0));
}

#[test]
fn a_duplicate_agent_is_one_more_line_whatever_became_of_the_run() {
    let other = Uuid::from_u128(7);
    let expected = format!("tripline: agent: 'web-1': duplicate agent: spools {other} and {SPOOL} alternate");
    for ending in [Ending::Exited(0), Ending::Interrupted] {
        let mut run = run(Format::FullCommand, 1, 0, "a");
        run.ending = ending;
        let event = Event::Output(run);
        let input = Input {
            body: Body::Event(&event),
            append_time: time(2),
            source: None,
            overtaken: false,
            duplicate_agent: Some(other),
        };
        let decision = judge_input(&rules(ALL), &mut MemoryState::default(), &input);
        assert_eq!(decision.lines.len(), 2);
        let last = &decision.lines[1];
        assert_eq!((last.kind, &*String::from_utf8_lossy(&last.text)), (LineKind::About, expected.as_str()));
    }
}

#[test]
fn a_log_line_is_ossecs_own_when_it_says_so() {
    let judged = |text: &str| {
        let line = LogLine {
            key: Key::new("web-1", "messages").expect("a good key"),
            address: None,
            location: "web-1->messages".to_owned(),
            time: time(0),
            text: text.as_bytes().to_vec(),
        };
        let input = Input::log(&line);
        shown(&judge_input(&rules(ALL), &mut MemoryState::default(), &input))
    };
    assert_eq!(judged("ossec: a"), ["alert 100100 log"]);
    assert_eq!(judged("OSSEC: a"), ["alert 100100 log"]);
    assert_eq!(judged("ossec: output: 'df': a"), ["alert 100101 log"]);
    assert_eq!(judged("ossec:a"), ["alert 100103 log"]);
    assert_eq!(judged("an ossec: a"), ["alert 100103 log"]);
    assert_eq!(judged("osse"), Vec::<String>::new());
    assert_eq!(judged(""), Vec::<String>::new());
}

#[test]
fn a_clock_that_is_ahead_is_clamped_and_one_that_is_behind_is_late() {
    // (start, append time, in seconds; overtaken) to (time of the rules, clamped, late). The run took a second.
    for (started, appended, overtaken, expected) in [
        (0, 0, false, (0, false, false)),
        (60, 0, false, (60, false, false)),
        (61, 0, false, (0, true, false)),
        (1_000_000_000, 0, false, (0, true, false)),
        (0, 301, false, (0, false, false)),
        (0, 302, false, (0, false, true)),
        (0, 10, true, (0, false, true)),
    ] {
        let event = Event::Output(run(Format::FullCommand, 1, started, "a"));
        let input = Input {
            body: Body::Event(&event),
            append_time: time(appended),
            source: None,
            overtaken,
            duplicate_agent: None,
        };
        let decision = judge_input(&rules(ALL), &mut MemoryState::default(), &input);
        let (at, clamped, late) = expected;
        assert_eq!((decision.time, decision.clamped, decision.late), (time(at), clamped, late), "{started} {appended}");
        let alert = &decision.alerts[0];
        assert_eq!((alert.timestamp, alert.run.clamped, alert.run.late), (time(at), clamped, late));
        assert_eq!(alert.run.started, Some(time(started)));
    }
    let mut long = run(Format::FullCommand, 1, 0, "a");
    long.duration_ms = u64::MAX;
    let event = Event::Output(long);
    let append_time = time(0) + SignedDuration::from_hours(1000);
    let input = Input { body: Body::Event(&event), append_time, source: None, overtaken: false, duplicate_agent: None };
    assert!(!judge_input(&rules(ALL), &mut MemoryState::default(), &input).late);
}
