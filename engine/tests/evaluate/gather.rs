//! `check_diff` of `command` runs: the lines of a run, compared as one text.

use tripline_engine::MemoryState;
use tripline_engine::decision::{LineKind, Outcome, Verdict};
use tripline_schemas::Format;
use tripline_schemas::event::Event;

use crate::world::{check, judge, printed, printed_lines, ran, rules, run};

#[test]
fn the_lines_that_reach_the_rule_are_compared_as_one_text() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "22 LISTEN\n80 LISTEN\n50000 ESTABLISHED\n")
                .then_baseline(100100, Some("22 LISTEN\n80 LISTEN")),
            printed_lines(10, "22 LISTEN\n51111 ESTABLISHED\n80 LISTEN\n"),
            printed_lines(20, "22 LISTEN\n4444 LISTEN\n80 LISTEN\n")
                .gives(&["alert 100100 gathered"])
                .with_previous("22 LISTEN\n80 LISTEN")
                .then_baseline(100100, Some("22 LISTEN\n4444 LISTEN\n80 LISTEN")),
            printed_lines(30, "80 LISTEN\n22 LISTEN\n4444 LISTEN\n").gives(&["alert 100100 gathered"]),
        ],
    );
}

#[test]
fn a_list_that_becomes_empty_is_a_change_and_so_is_its_return() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "nothing here"),
            printed_lines(10, ""),
            printed_lines(20, "22 LISTEN").then_baseline(100100, Some("22 LISTEN")),
            printed_lines(30, "")
                .gives(&["alert 100100 gathered"])
                .with_previous("22 LISTEN")
                .then_baseline(100100, Some("")),
            printed_lines(40, "nothing here"),
            printed_lines(50, "22 LISTEN").gives(&["alert 100100 gathered"]).with_previous(""),
        ],
    );
}

#[test]
fn children_are_tried_with_the_gathered_text_and_one_alert_comes_of_it() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>
        <rule id="100101" level="12"><if_sid>100100</if_sid><regex>23 LISTEN\.+80</regex></rule>
        <rule id="100102" level="0"><if_sid>100100</if_sid><match>harmless</match></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "22 LISTEN\n80 LISTEN"),
            printed_lines(10, "22 LISTEN\n23 LISTEN\n80 LISTEN").gives(&["alert 100101 gathered"]),
            printed_lines(20, "22 LISTEN\n80 LISTEN\nharmless LISTEN").gives(&["silent 100102 gathered"]),
            printed_lines(30, "22 LISTEN\n80 LISTEN").gives(&["alert 100100 gathered"]),
        ],
    );
}

#[test]
fn lines_that_no_comparison_takes_go_on_in_their_order() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>2</match></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "22 LISTEN\n52 ESTABLISHED\n23 LISTEN").gives(&[
                "alert 100101 line 1",
                "alert 100101 line 2",
                "alert 100101 line 3",
            ]),
            printed_lines(10, "22 LISTEN\n52 ESTABLISHED").gives(&["alert 100101 line 2", "alert 100100 gathered"]),
            printed_lines(20, "22 LISTEN\n52 ESTABLISHED").gives(&["alert 100101 line 1", "alert 100101 line 2"]),
        ],
    );
}

#[test]
fn a_noalert_rule_that_no_child_takes_lets_its_lines_go_on() {
    let rules = r#"
        <rule id="100100" level="7" noalert="1"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>
        <rule id="100101" level="9"><if_sid>100100</if_sid><match>23</match></rule>
        <rule id="100102" level="3"><if_sid>530</if_sid><match>LISTEN</match></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "22 LISTEN").gives(&["alert 100102 line 1"]),
            printed_lines(10, "80 LISTEN").gives(&["alert 100102 line 1"]).then_baseline(100100, Some("80 LISTEN")),
            printed_lines(20, "23 LISTEN").gives(&["alert 100101 gathered"]).with_previous("80 LISTEN"),
        ],
    );
}

#[test]
fn a_rule_that_misses_lines_which_an_alert_took_waits_for_the_next_run() {
    let rules = r#"
        <rule id="100100" level="9"><if_sid>530</if_sid><match>tcp 22</match><check_diff /></rule>
        <rule id="100101" level="5"><if_sid>530</if_sid><match>tcp</match><check_diff /></rule>
        <rule id="100102" level="4"><if_sid>530</if_sid><match>udp</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "tcp 22\ntcp 80\nudp 53").then_baseline(100101, Some("tcp 22\ntcp 80")),
            printed_lines(10, "tcp 22 x\ntcp 80\nudp 54")
                .gives(&["alert 100100 gathered", "alert 100102 gathered"])
                .then_baseline(100101, Some("tcp 22\ntcp 80")),
            printed_lines(20, "tcp 22 x\ntcp 80\nudp 54")
                .gives(&["alert 100101 gathered"])
                .with_previous("tcp 22\ntcp 80"),
            printed_lines(30, "tcp 22 x\ntcp 80\nudp 54"),
            // All its lines are gone, but not because the list became empty.
            printed_lines(40, "tcp 22 y").gives(&["alert 100100 gathered", "alert 100102 gathered"]),
            printed_lines(50, "tcp 22 y").gives(&["alert 100101 gathered"]).with_previous("tcp 22 x\ntcp 80"),
        ],
    );
}

#[test]
fn held_back_lines_are_taken_and_the_whole_change_is_told_later() {
    let rules = r#"
        <rule id="100100" level="7" ignore="100"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>LISTEN</match></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "1 LISTEN").gives(&["alert 100101 line 1"]),
            printed_lines(10, "2 LISTEN").gives(&["alert 100100 gathered"]),
            printed_lines(20, "3 LISTEN")
                .gives(&["held back 100100 until 110 gathered"])
                .then_baseline(100100, Some("2 LISTEN")),
            printed_lines(30, "2 LISTEN").gives(&["alert 100101 line 1"]),
            printed_lines(110, "4 LISTEN")
                .gives(&["alert 100100 gathered suppressed 1 returned 1"])
                .with_previous("2 LISTEN"),
        ],
    );
}

#[test]
fn a_check_diff_below_another_compares_only_what_the_other_lets_through() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>
        <rule id="100101" level="9"><if_sid>100100</if_sid><match>LISTEN</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "1 LISTEN"),
            printed_lines(10, "2 LISTEN").gives(&["alert 100100 gathered"]).then_baseline(100101, Some("2 LISTEN")),
            // No line came to the child by itself: its list did not become empty.
            printed_lines(20, "2 LISTEN").then_baseline(100101, Some("2 LISTEN")),
            printed_lines(30, "3 LISTEN").gives(&["alert 100101 gathered"]).with_previous("2 LISTEN"),
        ],
    );
}

#[test]
fn a_rule_with_two_parents_compares_once_with_the_lines_of_both() {
    let rules = r#"
        <rule id="100100" level="3"><if_sid>530</if_sid><match>tcp</match></rule>
        <rule id="100101" level="2"><if_sid>530</if_sid><match>udp</match></rule>
        <rule id="100102" level="7"><if_sid>100100, 100101</if_sid><match>LISTEN</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "udp 1 LISTEN\ntcp 1 LISTEN")
                .gives(&["alert 100101 line 1", "alert 100100 line 2"])
                .then_baseline(100102, Some("udp 1 LISTEN\ntcp 1 LISTEN")),
            printed_lines(10, "udp 2 LISTEN\ntcp 1 LISTEN").gives(&["alert 100102 gathered"]),
        ],
    );
}

#[test]
fn lines_of_two_parents_that_no_comparison_takes_go_on_in_their_order() {
    let rules = rules(
        r#"<rule id="100100" level="3"><if_sid>530</if_sid><match>tcp</match></rule>
        <rule id="100101" level="2"><if_sid>530</if_sid><match>udp</match></rule>
        <rule id="100102" level="7"><if_sid>100100, 100101</if_sid><match>LISTEN</match><check_diff /></rule>"#,
    );
    let lines = "tcp 1 LISTEN\nudp 2 LISTEN\ntcp 3 LISTEN\nudp 4 LISTEN";
    let decision = judge(&rules, &mut MemoryState::default(), &Event::Output(run(Format::Command, 1, 0, lines)));
    let told: Vec<_> = decision.alerts.iter().map(|alert| (&*alert.rule.id, alert.run.line)).collect();
    assert_eq!(told, [("100100", 1), ("100101", 2), ("100100", 3), ("100101", 4)]);
}

#[test]
fn a_change_of_format_is_told_once() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed(0, "22 LISTEN\nmore"),
            // Nothing was gathered before, so nothing can have vanished.
            printed_lines(10, "more"),
            printed_lines(20, "22 LISTEN\nmore").gives(&["alert 100100 gathered"]).with_previous("22 LISTEN\nmore"),
            printed_lines(30, "22 LISTEN\nmore"),
        ],
    );
}

#[test]
fn a_cut_run_gathers_nothing_that_could_be_compared() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>
        <rule id="100200" level="3"><if_sid>990000</if_sid><match>cannot compare</match></rule>"#;
    let cut = |at, output| {
        let mut run = run(Format::Command, 0, at, output);
        run.truncated_from = Some(1 << 30);
        ran(run).then_baseline(100100, Some("22 LISTEN"))
    };
    check(
        rules,
        [
            printed_lines(0, "22 LISTEN"),
            cut(10, "22 LISTEN\n23 LISTEN").gives(&["alert 100200 about"]),
            cut(20, "").gives(&["alert 100200 about"]),
        ],
    );
}

#[test]
fn the_explanation_tells_what_was_put_aside_and_what_became_of_it() {
    let rules = rules(
        r#"<rule id="100100" level="7"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>
           <rule id="100101" level="3"><if_sid>530</if_sid><match>LISTEN</match><check_diff /></rule>"#,
    );
    let mut state = MemoryState::default();
    let tried = |kind, state: &mut MemoryState, sequence, output| {
        let run = run(Format::Command, sequence, 10, output);
        let decision = judge(&rules, state, &Event::Output(run));
        let lines: Vec<_> = decision.lines.into_iter().filter(|line| line.kind == kind).collect();
        let own = |rule: u32| (100_000..900_000).contains(&rule);
        let outcomes = lines.iter().flat_map(|line| line.tried.iter().filter(|tried| own(tried.rule)));
        let outcomes: Vec<_> = outcomes.map(|tried| (tried.rule, tried.outcome.clone())).collect();
        (outcomes, lines.into_iter().map(|line| line.verdict).collect::<Vec<_>>())
    };
    let (outcomes, _) = tried(LineKind::Gathered, &mut state, 1, "1 LISTEN");
    assert_eq!(outcomes, [(100100, Outcome::FirstSight), (100101, Outcome::FirstSight)]);
    let (outcomes, verdicts) = tried(LineKind::Output, &mut state, 2, "1 LISTEN");
    assert_eq!(outcomes, [(100100, Outcome::PutAside), (100101, Outcome::PutAside)]);
    assert_eq!(verdicts, [Verdict::Silent(530)]);
    let (outcomes, verdicts) = tried(LineKind::Output, &mut state, 3, "2 LISTEN\nx");
    assert_eq!(outcomes[0], (100100, Outcome::PutAside));
    assert_eq!(verdicts, [Verdict::Gathered(100100), Verdict::Silent(530)]);
    let (outcomes, _) = tried(LineKind::Gathered, &mut state, 4, "2 LISTEN\ny");
    assert_eq!(outcomes, [(100100, Outcome::Unchanged), (100101, Outcome::Holds)]);
}
