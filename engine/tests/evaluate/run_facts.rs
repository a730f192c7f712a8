//! Conditions on facts of the run.

use jiff::SignedDuration;
use tripline_engine::MemoryState;
use tripline_engine::decision::{Body, Input};
use tripline_schemas::event::{Event, Gap};
use tripline_schemas::{Ending, Format, Key, Run};

use crate::world::{SPOOL, check, judge, judge_input, printed, ran, rules, run, shown, time};

/// A rule with this condition takes these runs, and no others.
fn takes(condition: &str, runs: &[(Run, bool)]) {
    let rules = rules(&format!(r#"<rule id="100100" level="5"><if_sid>530</if_sid>{condition}</rule>"#));
    for (run, expected) in runs {
        let decision = judge(&rules, &mut MemoryState::default(), &Event::Output(run.clone()));
        assert_eq!(!decision.alerts.is_empty(), *expected, "{condition}: {run:?}");
    }
}

fn with(change: impl Fn(&mut Run)) -> Run {
    let mut run = run(Format::FullCommand, 0, 0, "output");
    change(&mut run);
    run
}

fn exited(code: i32) -> Run {
    with(|run| run.ending = Ending::Exited(code))
}

fn took(milliseconds: u64) -> Run {
    with(|run| run.duration_ms = milliseconds)
}

fn wrote(bytes: usize) -> Run {
    with(|run| run.output = vec![b'x'; bytes])
}

#[test]
fn an_exit_code_is_a_number() {
    takes("<run_exit_code>0</run_exit_code>", &[(exited(0), true), (exited(1), false)]);
    takes("<run_exit_code>!0</run_exit_code>", &[(exited(0), false), (exited(2), true), (exited(-1), true)]);
    takes("<run_exit_code>1-5, 9</run_exit_code>", &[(exited(5), true), (exited(6), false), (exited(9), true)]);
}

#[test]
fn a_duration_and_a_size_have_units() {
    takes("<run_duration>>= 30s</run_duration>", &[(took(30_000), true), (took(29_999), false)]);
    takes(r"<run_duration>\<500ms</run_duration>", &[(took(499), true), (took(500), false)]);
    takes("<run_output_size>0</run_output_size>", &[(wrote(0), true), (wrote(1), false)]);
    takes("<run_output_size>>= 1KiB</run_output_size>", &[(wrote(1024), true), (wrote(1023), false)]);
    let cut = with(|run| run.truncated_from = Some(5000));
    takes("<run_output_size>5000</run_output_size>", &[(cut, true)]);
}

#[test]
fn all_conditions_must_hold() {
    let between = r"<run_duration>>= 1s</run_duration><run_duration>\<2s</run_duration>";
    takes(between, &[(took(999), false), (took(1000), true), (took(2000), false)]);
}

#[test]
fn every_line_of_a_command_has_the_facts_of_its_run() {
    let rules = r#"<rule id="100100" level="5"><if_sid>530</if_sid><run_exit_code>3</run_exit_code></rule>"#;
    let mut failed = run(Format::Command, 0, 0, "a\nb");
    failed.ending = Ending::Exited(3);
    check(rules, [ran(failed).gives(&["alert 100100 line 1", "alert 100100 line 2"]), printed(10, "a\nb")]);
}

#[test]
fn lines_about_a_run_have_its_facts_as_far_as_they_are_known() {
    let rules = r#"
        <rule id="100100" level="5"><if_sid>990000</if_sid><run_exit_code>127</run_exit_code></rule>
        <rule id="100101" level="4"><if_sid>990000</if_sid><run_exit_code>!0</run_exit_code></rule>
        <rule id="100102" level="3"><if_sid>990000</if_sid><run_duration>> 5s</run_duration></rule>"#;
    let failed = |ending: Ending, milliseconds: u64| {
        let mut run = run(Format::Command, 0, 0, "");
        (run.ending, run.duration_ms) = (ending, milliseconds);
        run
    };
    check(
        rules,
        [
            ran(failed(Ending::Exited(127), 1)).gives(&["alert 100100 about"]),
            ran(failed(Ending::Exited(126), 1)).gives(&["alert 100101 about"]),
            // Killed: there is no code, not even one other than 0.
            ran(failed(Ending::Signalled(9), 1)),
            ran(failed(Ending::TimedOut(30_000), 30_000)).gives(&["alert 100102 about"]),
        ],
    );
}

#[test]
fn a_late_run_is_told_from_one_in_time() {
    let rules = rules(
        r#"<rule id="100100" level="5"><if_sid>530</if_sid><run_late>yes</run_late></rule>
           <rule id="100101" level="4"><if_sid>530</if_sid><run_late>no</run_late></rule>
           <rule id="100102" level="4"><if_sid>990000</if_sid><run_late>no</run_late></rule>"#,
    );
    let at = |event: &Event, after: i64| {
        let input = Input {
            body: Body::Event(event),
            append_time: time(0) + SignedDuration::from_secs(after),
            source: None,
            overtaken: false,
            duplicate_agent: None,
        };
        shown(&judge_input(&rules, &mut MemoryState::default(), &input))
    };
    let output = Event::Output(run(Format::FullCommand, 0, 0, "a"));
    assert_eq!(at(&output, 2), ["alert 100101"]);
    assert_eq!(at(&output, 3600), ["alert 100100"]);
    let overtaken = Input {
        body: Body::Event(&output),
        append_time: time(2),
        source: None,
        overtaken: true,
        duplicate_agent: None,
    };
    let decision = judge_input(&rules, &mut MemoryState::default(), &overtaken);
    assert_eq!(shown(&decision), ["alert 100100"], "a run that started later came before it");
    assert!(decision.alerts[0].run.late);
    // A gap is no run: nothing is known of it.
    let key = Key::new("web-1", "ports").unwrap();
    let gap = Gap { key, address: None, spool: SPOOL, first: 1, last: 2, runs: 2, time: time(0) };
    assert_eq!(at(&Event::Gap(gap), 2), Vec::<String>::new());
}
