//! Ignore timers: per agent, command and rule, in whole seconds of event time.

use jiff::SignedDuration;
use tripline_engine::MemoryState;
use tripline_schemas::event::Event;
use tripline_schemas::{Format, Key};

use crate::world::{check, judge, printed, ran, rules, run, shown};

const LOAD: &str = r#"
    <rule id="100100" level="9" ignore="7200"><if_sid>530</if_sid><match>load 2</match></rule>"#;

#[test]
fn a_rule_is_quiet_until_the_time_is_up() {
    check(
        LOAD,
        [
            printed(0, "load 2.1").gives(&["alert 100100"]),
            printed(1, "load 2.2").gives(&["held back 100100 until 7200"]),
            printed(7199, "load 2.3").gives(&["held back 100100 until 7200"]),
            printed(7200, "load 2.4").gives(&["alert 100100 suppressed 2"]),
            printed(7201, "load 2.5").gives(&["held back 100100 until 14400"]),
            printed(14399, "load 2.6").gives(&["held back 100100 until 14400"]),
            printed(14400, "load 2.7").gives(&["alert 100100 suppressed 2"]),
            printed(30000, "load 2.8").gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn fractions_of_a_second_do_not_count() {
    let at = |at: i64, milliseconds| {
        let mut run = run(Format::FullCommand, 0, at, "load 2.1");
        run.started += SignedDuration::from_millis(milliseconds);
        ran(run)
    };
    check(
        LOAD,
        [
            at(0, 900).gives(&["alert 100100"]),
            at(7199, 999).gives(&["held back 100100 until 7200"]),
            at(7200, 0).gives(&["alert 100100 suppressed 1"]),
        ],
    );
}

#[test]
fn a_clock_that_goes_back_keeps_the_rule_quiet() {
    check(
        LOAD,
        [
            printed(1000, "load 2.1").gives(&["alert 100100"]),
            printed(0, "load 2.1").gives(&["held back 100100 until 8200"]),
            printed(8199, "load 2.1").gives(&["held back 100100 until 8200"]),
            printed(8200, "load 2.1").gives(&["alert 100100 suppressed 2"]),
        ],
    );
}

#[test]
fn zero_is_no_timer() {
    let rules = r#"<rule id="100100" level="5" ignore="0"><if_sid>530</if_sid><match>alpha</match></rule>"#;
    check(
        rules,
        [
            printed(0, "alpha").gives(&["alert 100100"]),
            printed(0, "alpha").gives(&["alert 100100"]),
            printed(-5, "alpha").gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn what_is_held_back_is_not_offered_to_other_rules() {
    let rules = r#"
        <rule id="100100" level="9" ignore="100"><if_sid>530</if_sid><match>alpha</match></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>alpha</match></rule>"#;
    check(
        rules,
        [
            printed(0, "alpha").gives(&["alert 100100"]),
            printed(5, "alpha").gives(&["held back 100100 until 100"]),
            printed(100, "alpha").gives(&["alert 100100 suppressed 1"]),
        ],
    );
}

#[test]
fn the_timer_of_a_parent_does_not_hold_its_child_and_a_child_does_not_start_it() {
    let rules = r#"
        <rule id="100100" level="5" ignore="100"><if_sid>530</if_sid><match>alpha</match></rule>
        <rule id="100101" level="8"><if_sid>100100</if_sid><match>beta</match></rule>"#;
    check(
        rules,
        [
            printed(0, "alpha beta").gives(&["alert 100101"]),
            printed(1, "alpha").gives(&["alert 100100"]),
            printed(2, "alpha").gives(&["held back 100100 until 101"]),
            printed(3, "alpha beta").gives(&["alert 100101"]),
            printed(4, "alpha").gives(&["held back 100100 until 101"]),
        ],
    );
}

#[test]
fn a_silent_result_has_no_timer_and_one_that_is_not_logged_has() {
    let silent = r#"<rule id="100100" level="0" ignore="100"><if_sid>530</if_sid><match>alpha</match></rule>"#;
    check(silent, [printed(0, "alpha").gives(&["silent 100100"]), printed(1, "alpha").gives(&["silent 100100"])]);
    let not_logged = r#"
        <rule id="100100" level="5" ignore="100">
            <if_sid>530</if_sid><match>alpha</match><options>no_log</options>
        </rule>"#;
    check(
        not_logged,
        [printed(0, "alpha").gives(&["not logged 100100"]), printed(1, "alpha").gives(&["held back 100100 until 100"])],
    );
}

#[test]
fn lines_of_one_run_see_each_others_timers() {
    use crate::world::printed_lines;
    let rules = r#"<rule id="100100" level="7" ignore="7200"><if_sid>530</if_sid><match>100%</match></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "a 100%\nb 5%\nc 100%\n")
                .gives(&["alert 100100 line 1", "held back 100100 until 7200 line 3"]),
            printed_lines(7200, "c 100%\n").gives(&["alert 100100 line 1 suppressed 1"]),
        ],
    );
}

#[test]
fn every_agent_and_command_has_its_own_timer_and_count() {
    let rules = rules(LOAD);
    let mut state = MemoryState::default();
    for (agent, command, fired_times) in [("a", "x", 1), ("a", "y", 1), ("b", "x", 1)] {
        let mut run = run(Format::FullCommand, 1, 0, "load 2.1");
        run.key = Key::new(agent, command).expect("a good key");
        let decision = judge(&rules, &mut state, &Event::Output(run));
        assert_eq!(shown(&decision), ["alert 100100"], "{agent} {command}");
        assert_eq!(decision.alerts[0].rule.firedtimes, fired_times);
    }
}

#[test]
fn the_count_of_results_holds_the_held_back_ones_too() {
    let rules = rules(LOAD);
    let mut state = MemoryState::default();
    let mut counts = Vec::new();
    for at in [0, 10, 20, 7200] {
        let run = run(Format::FullCommand, 1, at, "load 2.1");
        let decision = judge(&rules, &mut state, &Event::Output(run));
        counts.extend(decision.alerts.iter().map(|alert| alert.rule.firedtimes));
    }
    assert_eq!(counts, [1, 4]);
}
