//! The table of baselines: what happened to the changed output, and what the next one is compared with.

use tripline_schemas::Format;

use crate::world::{Step, check, forget, printed, ran, run};

const PLAIN: &str = r#"
    <rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#;

#[test]
fn the_first_output_is_stored_and_a_change_is_reported_once() {
    check(
        PLAIN,
        [
            printed(0, "a").then_baseline(100100, Some("a")),
            printed(10, "a"),
            printed(20, "b").gives(&["alert 100100"]).with_previous("a").then_baseline(100100, Some("b")),
            printed(30, "b"),
            printed(40, "a").gives(&["alert 100100"]).with_previous("b"),
        ],
    );
}

#[test]
fn an_empty_output_is_a_text() {
    check(
        PLAIN,
        [
            printed(0, "").then_baseline(100100, Some("")),
            printed(10, ""),
            printed(20, "a").gives(&["alert 100100"]).with_previous(""),
            printed(30, "").gives(&["alert 100100"]).with_previous("a"),
        ],
    );
}

#[test]
fn line_breaks_count_but_not_how_they_are_written_and_not_the_last_one() {
    check(
        PLAIN,
        [
            printed(0, "a\nb\n"),
            printed(10, "a\nb"),
            printed(20, "a\r\nb\r\n"),
            printed(30, "ab").gives(&["alert 100100"]),
            printed(40, "ab\n\n").gives(&["alert 100100"]),
            printed(50, "ab\rc").gives(&["alert 100100"]),
            printed(60, "ab\nc").gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn an_alert_of_a_descendant_moves_the_baseline() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
        <rule id="100101" level="9"><if_sid>100100</if_sid><match>x</match></rule>"#;
    check(
        rules,
        [
            printed(0, "a"),
            printed(10, "x").gives(&["alert 100101"]).with_previous("a").then_baseline(100100, Some("x")),
            printed(20, "x"),
            printed(30, "b").gives(&["alert 100100"]).with_previous("x"),
        ],
    );
}

#[test]
fn a_silent_result_moves_the_baseline() {
    for silent in [
        r#"<rule id="100100" level="0"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#,
        r#"<rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
           <rule id="100101" level="0"><if_sid>100100</if_sid></rule>"#,
    ] {
        let id = if silent.contains("100101") { "silent 100101" } else { "silent 100100" };
        check(
            silent,
            [
                printed(0, "a"),
                printed(10, "b").gives(&[id]).then_baseline(100100, Some("b")),
                printed(20, "b"),
                printed(30, "a").gives(&[id]).then_baseline(100100, Some("a")),
            ],
        );
    }
}

#[test]
fn a_noalert_rule_that_no_child_takes_moves_the_baseline() {
    let rules = r#"
        <rule id="100100" level="7" noalert="1"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
        <rule id="100101" level="9"><if_sid>100100</if_sid><match>x</match></rule>
        <rule id="100102" level="3"><if_sid>530</if_sid><match>ports</match></rule>"#;
    check(
        rules,
        [
            printed(0, "a").gives(&["alert 100102"]),
            printed(10, "b").gives(&["alert 100102"]).then_baseline(100100, Some("b")),
            printed(20, "x").gives(&["alert 100101"]).with_previous("b"),
        ],
    );
}

#[test]
fn a_no_log_result_moves_the_baseline() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /><options>no_log</options></rule>"#;
    check(rules, [printed(0, "a"), printed(10, "b").gives(&["not logged 100100"]).then_baseline(100100, Some("b"))]);
}

#[test]
fn what_is_held_back_is_told_with_the_next_alert() {
    let rules = r#"
        <rule id="100100" level="7" ignore="100"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed(0, "a"),
            printed(10, "b").gives(&["alert 100100"]).then_baseline(100100, Some("b")),
            printed(20, "c").gives(&["held back 100100 until 110"]).then_baseline(100100, Some("b")),
            printed(30, "d").gives(&["held back 100100 until 110"]).then_baseline(100100, Some("b")),
            printed(120, "d").gives(&["alert 100100 suppressed 2"]).with_previous("b").then_baseline(100100, Some("d")),
            printed(300, "e").gives(&["alert 100100"]).with_previous("d"),
        ],
    );
}

#[test]
fn an_output_that_returned_while_held_back_is_counted_once_per_return() {
    let rules = r#"
        <rule id="100100" level="7" ignore="100"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed(0, "a"),
            printed(10, "b").gives(&["alert 100100"]),
            printed(20, "c").gives(&["held back 100100 until 110"]),
            printed(30, "b"),
            printed(40, "b"),
            printed(50, "c").gives(&["held back 100100 until 110"]),
            printed(60, "c").gives(&["held back 100100 until 110"]),
            printed(120, "b"),
            printed(130, "b"),
            printed(140, "d").gives(&["alert 100100 suppressed 3 returned 2"]).with_previous("b"),
            printed(300, "e").gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn an_output_that_stays_after_its_alert_has_returned_to_nothing() {
    let rules = r#"
        <rule id="100100" level="7" ignore="100"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed(0, "a"),
            printed(10, "b").gives(&["alert 100100"]),
            printed(20, "c").gives(&["held back 100100 until 110"]),
            printed(120, "c").gives(&["alert 100100 suppressed 1"]),
            printed(130, "c"),
            printed(300, "d").gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn a_child_that_is_held_back_leaves_the_baseline_of_its_parent() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
        <rule id="100101" level="9" ignore="100"><if_sid>100100</if_sid><match>x</match></rule>"#;
    check(
        rules,
        [
            printed(0, "a"),
            printed(10, "x1").gives(&["alert 100101"]),
            printed(20, "x2").gives(&["held back 100101 until 110"]).then_baseline(100100, Some("x1")),
            printed(30, "x1"),
            printed(120, "x3").gives(&["alert 100101 suppressed 1 returned 1"]).with_previous("x1"),
        ],
    );
}

/// Two rules on the way compared, each with its own baseline: the alert shows the change that the nearer one found.
#[test]
fn an_alert_shows_the_baseline_of_the_nearest_comparison() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
        <rule id="100101" level="9"><if_sid>100100</if_sid><match>x</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed(0, "a"),
            printed(10, "x1").gives(&["alert 100100"]).with_previous("a").then_baseline(100101, Some("x1")),
            printed(20, "b").gives(&["alert 100100"]).with_previous("x1"),
            printed(30, "x2").gives(&["alert 100101"]).with_previous("x1").then_baseline(100100, Some("x2")),
        ],
    );
}

#[test]
fn a_higher_sibling_that_takes_the_output_hides_it() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed(0, "a"),
            printed(10, "b").gives(&["alert 100100"]).then_baseline(100101, Some("a")),
            printed(20, "b").gives(&["alert 100101"]).with_previous("a").then_baseline(100101, Some("b")),
            printed(30, "b"),
        ],
    );
}

#[test]
fn an_output_that_fails_a_condition_is_not_stored() {
    let rules = r#"
        <rule id="100100" level="7">
            <if_sid>530</if_sid><match>ports</match><regex>tcp \d+</regex><check_diff />
        </rule>"#;
    check(
        rules,
        [
            printed(0, "tcp 22"),
            printed(10, "none").then_baseline(100100, Some("tcp 22")),
            printed(20, "tcp 22"),
            printed(30, "tcp 80").gives(&["alert 100100"]).with_previous("tcp 22"),
        ],
    );
}

fn cut(at: i64, output: &'static str) -> Step {
    let mut run = run(Format::FullCommand, 0, at, output);
    run.truncated_from = Some(1 << 30);
    ran(run)
}

#[test]
fn a_cut_output_is_never_compared_with_an_uncut_one() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
        <rule id="100200" level="3"><if_sid>990000</if_sid><match>cannot compare</match></rule>
        <rule id="100201" level="2"><if_sid>990000</if_sid><match>output truncated</match></rule>"#;
    check(
        rules,
        [
            printed(0, "a"),
            cut(10, "b").gives(&["alert 100201 about", "alert 100200 about"]).then_baseline(100100, Some("a")),
            cut(20, "a").gives(&["alert 100201 about", "alert 100200 about"]),
            printed(30, "a"),
            printed(40, "b").gives(&["alert 100100"]).with_previous("a"),
            forget(50, None),
            cut(60, "a").gives(&["alert 100201 about"]).then_baseline(100100, Some("a")),
            printed(70, "a").gives(&["alert 100200 about"]).then_baseline(100100, Some("a")),
            cut(80, "b").gives(&["alert 100100", "alert 100201 about"]).with_previous("a"),
        ],
    );
}

#[test]
fn what_cannot_be_compared_goes_on_to_the_next_sibling() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>ports</match></rule>"#;
    check(rules, [printed(0, "a").gives(&["alert 100101"]), cut(10, "b").gives(&["alert 100101"])]);
}

#[test]
fn what_is_forgotten_is_seen_for_the_first_time() {
    let rules = r#"
        <rule id="100100" level="7" ignore="100"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#;
    check(
        rules,
        [
            printed(0, "a"),
            printed(10, "b").gives(&["alert 100100"]).then_baseline(100101, Some("a")),
            forget(20, Some(100100)).then_baseline(100100, None),
            printed(30, "c").gives(&["alert 100101"]).then_baseline(100100, Some("c")),
            printed(40, "d").gives(&["alert 100100"]),
            forget(50, None).then_baseline(100101, None),
            printed(60, "e").then_baseline(100101, Some("e")),
        ],
    );
}

/// A rule below two parents is reached twice by one output.
#[test]
fn that_an_output_cannot_be_compared_is_told_once_however_often_the_rule_is_reached() {
    let rules = r#"
        <rule id="100100" level="3" noalert="1"><if_sid>530</if_sid><match>ports</match></rule>
        <rule id="100101" level="3" noalert="1"><if_sid>530</if_sid><match>ports</match></rule>
        <rule id="100102" level="7"><if_sid>100100, 100101</if_sid><check_diff /></rule>
        <rule id="100200" level="3"><if_sid>990000</if_sid><match>cannot compare</match></rule>"#;
    check(rules, [printed(0, "a"), cut(10, "b").gives(&["alert 100200 about"])]);
}
