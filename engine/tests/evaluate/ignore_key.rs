//! `ignore_key`: a timer for each text that a pattern captures.

use tripline_engine::MemoryState;
use tripline_schemas::event::Event;
use tripline_schemas::state::RuleState;
use tripline_schemas::{Format, Key};

use crate::world::{check, judge, printed, printed_lines, rules, run, shown};

const DISKS: &str = r#"
    <rule id="100100" level="7" ignore="7200"><if_sid>530</if_sid><match>100%</match>
      <ignore_key>/dev/\S+</ignore_key></rule>"#;

#[test]
fn a_second_full_disk_is_not_silenced_by_the_first() {
    check(
        DISKS,
        [
            printed_lines(0, "/dev/sda 100%\n/dev/sdb 50%").gives(&["alert 100100 line 1"]),
            printed_lines(60, "/dev/sda 100%\n/dev/sdb 100%")
                .gives(&["held back 100100 until 7200 line 1", "alert 100100 line 2"]),
            printed_lines(7200, "/dev/sda 100%\n/dev/sdb 100%")
                .gives(&["alert 100100 line 1 suppressed 1", "held back 100100 until 7260 line 2"]),
            printed_lines(7260, "/dev/sdb 100%").gives(&["alert 100100 line 1 suppressed 1"]),
        ],
    );
}

#[test]
fn texts_without_a_key_share_a_timer() {
    check(
        DISKS,
        [
            printed(0, "tmpfs 100%").gives(&["alert 100100"]),
            printed(10, "overlay 100%").gives(&["held back 100100 until 7200"]),
            printed(20, "/dev/sda 100%").gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn a_change_that_is_held_back_for_one_key_is_still_to_be_told() {
    let rules = r#"
        <rule id="100100" level="7" ignore="100"><if_sid>530</if_sid><check_diff/><ignore_key>user (\w+)</ignore_key></rule>"#;
    check(
        rules,
        [
            printed(0, "user anna"),
            printed(10, "user bert").gives(&["alert 100100"]),
            printed(20, "user carl").gives(&["alert 100100"]).with_previous("user bert"),
            printed(30, "user bert").gives(&["held back 100100 until 110"]).then_baseline(100100, Some("user carl")),
            printed(110, "user bert").gives(&["alert 100100 suppressed 1"]).with_previous("user carl"),
        ],
    );
}

#[test]
fn the_number_of_timers_is_bounded_and_those_that_are_over_go() {
    let rules = rules(DISKS);
    let mut state = MemoryState::default();
    let lines = |from: usize, to: usize| (from..to).map(|n| format!("/dev/d{n} 100%\n")).collect::<String>();
    let timers = |state: &MemoryState| state.keys[&Key::new("web-1", "ports").unwrap()].rules[&100_100].timers.len();
    let event = |at, output: String, state: &mut MemoryState| {
        shown(&judge(&rules, state, &Event::Output(run(Format::Command, 0, at, output)))).len()
    };
    let more = RuleState::TIMERS_MAX + 5;
    assert_eq!(event(0, lines(0, more), &mut state), more);
    assert_eq!(timers(&state), RuleState::TIMERS_MAX);
    event(7200, lines(0, 1), &mut state);
    assert_eq!(timers(&state), 1);
}

#[test]
fn without_a_timer_there_is_nothing_to_narrow() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>100%</match><ignore_key>/dev/\S+</ignore_key></rule>"#;
    let alert = || printed(0, "/dev/sda 100%").gives(&["alert 100100"]);
    check(rules, [alert(), alert(), alert()]);
}
