//! `check_diff` with a normaliser, and conditions on what changed.

use tripline_engine::MemoryState;
use tripline_schemas::Format;
use tripline_schemas::event::Event;

use crate::world::{check, judge, printed, printed_lines, rules, run};

fn diff(steps: &str, more: &str) -> String {
    format!(r#"<rule id="100100" level="7"><if_sid>530</if_sid><check_diff>{steps}</check_diff>{more}</rule>"#)
}

#[test]
fn what_the_normaliser_takes_away_is_no_change_and_the_baseline_stays_as_printed() {
    check(
        &diff("<sort/>", ""),
        [
            printed(0, "b\na").then_baseline(100100, Some("b\na")),
            printed(10, "a\nb").then_baseline(100100, Some("b\na")),
            printed(20, "a\nb\nc")
                .gives(&["alert 100100"])
                .with_previous("b\na")
                .then_baseline(100100, Some("a\nb\nc")),
            printed(30, "c\nb\na"),
        ],
    );
}

#[test]
fn steps_work_on_the_lines_that_a_command_rule_gathers() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>LISTEN</match>
          <check_diff><columns keep="1"/><sort/></check_diff></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "22 LISTEN 4711\n80 LISTEN 4712\n22 ESTABLISHED"),
            printed_lines(10, "80 LISTEN 99\n22 LISTEN 98"),
            printed_lines(20, "80 LISTEN 99").gives(&["alert 100100 gathered"]),
        ],
    );
}

#[test]
fn a_normaliser_that_is_edited_keeps_the_baseline() {
    let mut state = MemoryState::default();
    let step = |steps: &str, state: &mut MemoryState, at, output: &str| {
        let rules = rules(&diff(steps, ""));
        judge(&rules, state, &Event::Output(run(Format::FullCommand, 0, at, output))).alerts.len()
    };
    assert_eq!(step("", &mut state, 0, "a 1"), 0);
    assert_eq!(step("<columns keep=\"1\"/>", &mut state, 10, "a 2"), 0);
    assert_eq!(step("", &mut state, 20, "a 1"), 0, "it was never forgotten");
    assert_eq!(step("", &mut state, 30, "a 2"), 1);
}

#[test]
fn the_difference_is_that_of_the_normalised_texts_and_the_texts_are_raw() {
    let rules = rules(&diff(r#"<columns drop="2"/><sort/>"#, ""));
    let mut state = MemoryState::default();
    let mut alerts =
        |at, output: &str| judge(&rules, &mut state, &Event::Output(run(Format::FullCommand, 0, at, output))).alerts;
    assert!(alerts(0, "nginx 17\nsshd 4").is_empty());
    let alert = alerts(10, "sshd 5\ncrond 9\nnginx 18").remove(0);
    let diff = alert.diff.expect("a diff");
    assert_eq!((diff.added, diff.removed), (vec!["crond".to_owned()], vec![]));
    assert!(diff.normalised);
    assert_eq!(alert.full_log, "ossec: output: 'ports':\nsshd 5\ncrond 9\nnginx 18");
    assert_eq!(alert.previous_output.as_deref(), Some("ossec: output: 'ports':\nnginx 17\nsshd 4"));
}

#[test]
fn a_pattern_can_ask_for_lines_that_came_or_went() {
    check(
        &diff("", r#"<match on="added">telnet</match>"#),
        [
            printed(0, "ssh"),
            printed(10, "ssh\ntelnet").gives(&["alert 100100"]),
            printed(20, "ssh\ntelnet"),
            printed(30, "ssh"),
            printed(40, "telnet\nssh").gives(&["alert 100100"]),
        ],
    );
    check(
        &diff("", r#"<regex on="removed">^ssh$</regex>"#),
        [printed(0, "ssh\nsshd"), printed(10, "ssh"), printed(20, "ftp").gives(&["alert 100100"])],
    );
    check(
        &diff("", r#"<regex on="output">^\d+$</regex>"#),
        [printed(0, "a"), printed(10, "b\n17").gives(&["alert 100100"]), printed(20, "x17"), printed(30, "")],
    );
}

#[test]
fn patterns_of_one_place_are_joined_and_those_of_two_must_both_fit() {
    let joined = r#"<match on="added">a|</match><match on="added">b</match>"#;
    check(&diff("", joined), [printed(0, ""), printed(10, "xb").gives(&["alert 100100"]), printed(20, "xb\nc")]);
    let both = r#"<match on="added">a</match><match on="removed">b</match>"#;
    check(&diff("", both), [printed(0, "b"), printed(10, "a\nb"), printed(20, "a\na").gives(&["alert 100100"])]);
}

#[test]
fn counts_of_lines_are_conditions() {
    check(
        &diff("", "<added_lines>>= 2</added_lines><removed_lines>0</removed_lines>"),
        [
            printed(0, "a"),
            printed(10, "a\nb"),
            printed(20, "a\nb\nc\nd").gives(&["alert 100100"]),
            printed(30, "a\nb\nc\nx\ny"),
        ],
    );
}

#[test]
fn a_change_that_a_condition_rejects_is_the_baseline_and_goes_to_the_next_sibling() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><check_diff/><match on="added">telnet</match></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>ftp</match></rule>"#;
    check(
        rules,
        [
            printed(0, "ssh"),
            printed(10, "ftp").gives(&["alert 100101"]).then_baseline(100100, Some("ftp")),
            printed(20, "ftp\ntelnet").gives(&["alert 100100"]).with_previous("ftp"),
        ],
    );
}

#[test]
fn a_rule_below_asks_about_the_change_above() {
    let rules = r#"
        <rule id="100100" level="3"><if_sid>530</if_sid><check_diff><columns keep="1"/></check_diff></rule>
        <rule id="100101" level="9"><if_sid>100100</if_sid><match on="added">telnet</match></rule>
        <rule id="100102" level="8"><if_sid>100100</if_sid><removed_lines>>0</removed_lines></rule>
        <rule id="100103" level="10"><if_sid>100101</if_sid><added_lines>> 1</added_lines></rule>"#;
    check(
        rules,
        [
            printed(0, "ssh 1"),
            printed(10, "ssh 2\ntelnet 7").gives(&["alert 100101"]).with_previous("ssh 1"),
            printed(20, "ssh 3").gives(&["alert 100102"]),
            printed(30, "ssh 3\nftp telnet").gives(&["alert 100100"]),
            printed(40, "ssh\nftp\ntelnet\nx").gives(&["alert 100103"]),
        ],
    );
    check(
        rules,
        [
            printed_lines(0, "ssh 1"),
            printed_lines(10, "ssh 2\ntelnet 7").gives(&["alert 100101 gathered"]),
            printed_lines(20, "ssh 2").gives(&["alert 100102 gathered"]),
        ],
    );
}

#[test]
fn what_is_held_back_is_asked_about_again() {
    let rules = r#"
        <rule id="100100" level="7" ignore="100"><if_sid>530</if_sid><check_diff/><match on="added">telnet</match></rule>"#;
    check(
        rules,
        [
            printed(0, "ssh"),
            printed(10, "ssh\ntelnet 1").gives(&["alert 100100"]),
            printed(20, "telnet 2").gives(&["held back 100100 until 110"]).then_baseline(100100, Some("ssh\ntelnet 1")),
            printed(110, "telnet 2").gives(&["alert 100100 suppressed 1"]).with_previous("ssh\ntelnet 1"),
        ],
    );
}

#[test]
fn moved_lines_came_and_went_unless_they_are_sorted() {
    let moved = [printed(0, "a\nb"), printed(10, "b\na").gives(&["alert 100100"])];
    check(&diff("", "<added_lines>1</added_lines><removed_lines>1</removed_lines>"), moved);
    check(&diff("<sort/>", "<added_lines>> 0</added_lines>"), [printed(0, "a\nb"), printed(10, "b\na")]);
}

#[test]
fn lines_that_are_not_utf_8_are_found() {
    let rules = rules(&diff("<sort/>", r#"<match on="added">evil</match>"#));
    let mut state = MemoryState::default();
    let mut alerts = |at, output: &[u8]| {
        judge(&rules, &mut state, &Event::Output(run(Format::FullCommand, 0, at, output))).alerts.len()
    };
    assert_eq!(alerts(0, b"good"), 0);
    assert_eq!(alerts(10, b"good\n\xffevil\xfe"), 1);
}
