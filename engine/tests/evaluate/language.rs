//! Elements of the rule language that ask about a line, a time, or a rule's place: what OSSEC answers, and what happens
//! to a pattern that takes too long.

use tripline_engine::decision::{Outcome, Verdict};
use tripline_engine::{MemoryState, Settings, SourceFile, compile};
use tripline_schemas::Format;
use tripline_schemas::event::Event;

use crate::world::{check, check_with, judge, printed, rules, run, shown, time};

fn in_zone(zone: &str) -> Settings {
    Settings { time_zone: Some(zone.to_owned()), ..Settings::default() }
}

const AT_NIGHT: &str = r#"<rule id="100100" level="5"><if_sid>530</if_sid><time>6 pm - 8 am</time></rule>"#;

#[test]
fn the_time_of_day_is_that_of_the_zone_and_of_the_start_of_the_run() {
    // Time 0 is 22:13:20 UTC, 23:13:20 in Vienna and 17:13:20 in New York.
    check_with(AT_NIGHT, &in_zone("UTC"), [printed(0, "x").gives(&["alert 100100"])]);
    check_with(AT_NIGHT, &in_zone("Europe/Vienna"), [printed(0, "x").gives(&["alert 100100"])]);
    let new_york = in_zone("America/New_York");
    check_with(
        AT_NIGHT,
        &new_york,
        [printed(0, "x"), printed(46 * 60 + 40, "x"), printed(47 * 60 + 40, "x").gives(&["alert 100100"])],
    );
}

#[test]
fn the_time_of_day_follows_daylight_saving() {
    let before_summer = 1_711_836_000 - 1_700_000_000; // 2024-03-30 22:00 UTC, 23:00 in Vienna.
    let rules = r#"<rule id="100100" level="5"><if_sid>530</if_sid><time>23:00 - 23:59</time></rule>"#;
    let day = 24 * 3600;
    check_with(
        rules,
        &in_zone("Europe/Vienna"),
        [
            printed(before_summer, "x").gives(&["alert 100100"]),
            printed(before_summer + day - 3600, "x").gives(&["alert 100100"]),
            printed(before_summer + day, "x"),
        ],
    );
}

#[test]
fn a_weekday_begins_at_midnight_of_the_zone() {
    // Time 0 is a Tuesday; in Auckland it is Wednesday, 11:13.
    let rules = r#"<rule id="100100" level="5"><if_sid>530</if_sid><weekday>wed</weekday></rule>"#;
    check_with(rules, &in_zone("UTC"), [printed(0, "x"), printed(7200, "x").gives(&["alert 100100"])]);
    check_with(rules, &in_zone("Pacific/Auckland"), [printed(0, "x").gives(&["alert 100100"])]);
}

#[test]
fn maxsize_is_the_fewest_bytes_a_text_must_have() {
    // The header and a line break are 24 bytes.
    let rules = r#"<rule id="100100" level="5" maxsize="30"><if_sid>530</if_sid></rule>"#;
    let header = "ossec: output: 'ports':\n".len();
    assert_eq!(header, 24);
    check(rules, [printed(0, "12345"), printed(60, "123456").gives(&["alert 100100"])]);
}

#[test]
fn a_rule_of_accuracy_0_is_tried_after_all_others() {
    let rules = r#"
        <rule id="100100" level="9" accuracy="0"><if_sid>530</if_sid></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>alpha</match></rule>
        <rule id="100102" level="3" accuracy="5"><if_sid>530</if_sid><match>beta</match></rule>"#;
    check(
        rules,
        [
            printed(0, "alpha").gives(&["alert 100101"]),
            printed(60, "beta").gives(&["alert 100102"]),
            printed(120, "gamma").gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn a_silent_rule_of_accuracy_0_takes_a_line_without_a_log() {
    let rules = r#"
        <rule id="100100" level="0" accuracy="0"><if_sid>530</if_sid><options>log_alert</options></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>alpha</match></rule>"#;
    check(rules, [printed(0, "alpha").gives(&["alert 100101"]), printed(60, "beta").gives(&["not logged 100100"])]);
}

#[test]
fn match_and_regex_win_over_their_twins() {
    let rules = r#"
        <rule id="100100" level="5"><if_sid>530</if_sid><match>alpha</match><match_pcre2>beta</match_pcre2></rule>
        <rule id="100101" level="4"><if_sid>530</if_sid><regex>gamma</regex><pcre2>delta</pcre2></rule>
        <rule id="100102" level="3"><if_sid>530</if_sid><match>eta</match><pcre2>\d{2}%</pcre2></rule>
        <rule id="100103" level="2"><if_sid>530</if_sid><match_pcre2>^ossec.*iota$</match_pcre2><pcre2>ka</pcre2><pcre2>ppa</pcre2></rule>"#;
    check(
        rules,
        [
            printed(0, "alpha").gives(&["alert 100100"]),
            printed(60, "beta"),
            printed(120, "gamma").gives(&["alert 100101"]),
            printed(180, "delta"),
            printed(240, "eta 90%").gives(&["alert 100102"]),
            printed(300, "eta"),
            printed(360, "90%"),
            printed(420, "kappa\niota").gives(&["alert 100103"]),
            printed(480, "kappa\niota\nx"),
            printed(540, "iota"),
        ],
    );
}

#[test]
fn a_compiled_rule_never_holds() {
    let rules = r#"
        <rule id="100100" level="5"><if_sid>530</if_sid><compiled_rule>is_simple_http_request</compiled_rule></rule>"#;
    check(rules, [printed(0, "GET / HTTP/1.1")]);
}

/// Two rules over a list of processes; the pattern of one explodes on a long row of `a`.
const EXPLODING: &str = r#"
    <rule id="100100" level="5"><if_sid>530</if_sid><pcre2>(a+)+(?=c)</pcre2></rule>
    <rule id="100101" level="4"><if_sid>530</if_sid><match>zebra</match></rule>
    <rule id="100102" level="6"><if_sid>990000</if_sid><match>was given up</match></rule>"#;

#[test]
fn a_pattern_that_takes_too_long_does_not_hold_and_is_reported_once_per_run() {
    let rules = rules(EXPLODING);
    let mut state = MemoryState::default();
    let row = "a".repeat(60);
    let lines = format!("aac\n{row}\nzebra\naac\n{row}");
    let decision = judge(&rules, &mut state, &Event::Output(run(Format::Command, 1, 0, lines)));
    let came: Vec<_> = decision.lines.iter().map(|line| (line.number, &line.verdict)).collect();
    assert!(
        matches!(
            came[..],
            [
                (1, Verdict::Alert { rule: 100_100, .. }),
                (2, Verdict::NoRule | Verdict::Silent(530)),
                (3, Verdict::Alert { rule: 100_101, .. }),
                // Given up once in a run, it is not tried again.
                (4 | 5, Verdict::NoRule | Verdict::Silent(530)),
                (4 | 5, Verdict::NoRule | Verdict::Silent(530)),
                (0, Verdict::Alert { rule: 100_102, .. }),
            ]
        ),
        "{came:?}"
    );
    let log = &decision.alerts.last().expect("an alert about it").full_log;
    assert_eq!(log, "tripline: run: 'ports': a pattern of rule 100100 takes too long and was given up");
    let tried = |number: usize| {
        decision.lines[number].tried.iter().find(|tried| tried.rule == 100_100).map(|tried| tried.outcome.clone())
    };
    assert_eq!(tried(1), Some(Outcome::Fails("pcre2")));

    // The next run has its own share.
    let next = judge(&rules, &mut state, &Event::Output(run(Format::Command, 2, 60, "aac")));
    assert!(matches!(next.lines[..], [ref line] if matches!(line.verdict, Verdict::Alert { rule: 100_100, .. })));
}

fn tree_of(files: &[&str]) -> impl Fn(&str) -> Option<u32> {
    let file = |(text, at): (&&str, usize)| SourceFile { name: format!("{at}.xml"), text: text.as_bytes().to_vec() };
    let files: Vec<_> = files.iter().zip(0..).map(file).collect();
    let rules = compile(&files, &Settings::default()).unwrap_or_else(|findings| panic!("{findings:#?}"));
    move |output| {
        let event = Event::Output(run(Format::FullCommand, 1, 0, output));
        let decision = judge(&rules, &mut MemoryState::default(), &event);
        match decision.lines[0].verdict {
            Verdict::NoRule => None,
            Verdict::Silent(rule) | Verdict::Alert { rule, .. } => Some(rule),
            ref other => panic!("{other:?}"),
        }
    }
}

#[test]
fn if_group_finds_the_rules_before_it_in_all_files_before() {
    let result = tree_of(&[
        r#"<group name="workshop,"><rule id="100100" level="3"><if_sid>530</if_sid><match>one</match></rule></group>"#,
        r#"<group name="other,">
            <rule id="100101" level="9"><if_group>^other|SHOP</if_group><match>bad</match></rule>
            <rule id="100102" level="3"><if_sid>530</if_sid><match>two</match></rule>
            <rule id="100103" level="8"><if_group>other</if_group><match>worse</match></rule></group>
           <group name="workshop,"><rule id="100104" level="3"><if_sid>530</if_sid><match>three</match></rule></group>"#,
    ]);
    assert_eq!(result("one bad"), Some(100_101));
    assert_eq!(result("two bad"), Some(100_102), "it is loaded after 100101");
    assert_eq!(result("three bad"), Some(100_104), "it is loaded after 100101");
    assert_eq!(result("two worse"), Some(100_103));
    // By the group of 100101 it hangs under that rule, too.
    assert_eq!(result("one bad worse"), Some(100_103));
    assert_eq!(result("one worse"), Some(100_100));
}

#[test]
fn if_group_finds_the_rules_behind_it_when_there_are_none_before() {
    let result = tree_of(&[
        r#"<group name="attacks,">
            <rule id="100100" level="9"><if_group>logins</if_group><match>bad</match></rule></group>"#,
        r#"<group name="logins,">
            <rule id="100102" level="3"><if_sid>530</if_sid><match>one</match></rule>
            <rule id="100103" level="13"><if_sid>530</if_sid><match>two</match></rule></group>"#,
    ]);
    assert_eq!(result("one bad"), Some(100_100));
    assert_eq!(result("two bad"), Some(100_100));
    assert_eq!(result("one"), Some(100_102));
    assert_eq!(result("bad"), Some(530));
}

#[test]
fn if_level_finds_silent_rules_and_none_of_accuracy_0() {
    let result = tree_of(&[r#"<group name="local,">
        <rule id="100100" level="3"><if_sid>530</if_sid><match>low</match></rule>
        <rule id="100200" level="8"><if_sid>530</if_sid><match>high</match></rule>
        <rule id="100300" level="9" accuracy="0"><if_sid>530</if_sid><match>last</match></rule>
        <rule id="100400" level="12"><if_level>7</if_level><match>now</match></rule></group>"#]);
    assert_eq!(result("high now"), Some(100_400));
    assert_eq!(result("low now"), Some(100_400), "by way of the silent rules above");
    assert_eq!(result("high"), Some(100_200));
    assert_eq!(result("last"), Some(100_300));
}

#[test]
fn overwriting_changes_a_rule_where_it_stands() {
    let result = tree_of(&[
        r#"<group name="local,">
            <rule id="100100" level="5"><if_sid>530</if_sid><match>alpha</match><regex>\d</regex></rule>
            <rule id="100101" level="4"><if_sid>530</if_sid><match>beta</match></rule>
            <rule id="100102" level="7"><if_sid>100101</if_sid><match>child</match></rule></group>"#,
        r#"<group name="changed,">
            <rule id="100101" level="12" overwrite="yes"><if_sid>500</if_sid><match>alpha</match></rule>
            <rule id="100103" level="9"><if_group>changed</if_group><match>grandchild</match></rule>
            <rule id="100100" level="6" overwrite="yes"><pcre2>^(?!.*none)</pcre2><match>al</match></rule>
            <rule id="100104" level="9"><if_group>^changed</if_group><match>gone</match></rule></group>"#,
    ]);
    // 100100 stays before 100101, whose level is higher now, and its regex is gone.
    assert_eq!(result("alpha"), Some(100_100));
    assert_eq!(result("alpha none"), Some(100_101));
    assert_eq!(result("beta"), Some(530));
    assert_eq!(result("alpha none child"), Some(100_102), "children stay");
    assert_eq!(result("alpha none grandchild"), Some(100_103), "it is in the group `changed` now");
    assert_eq!(result("alpha gone"), Some(100_104));
}

#[test]
fn overwriting_twice_leaves_the_last_contents() {
    let result = tree_of(&[r#"<group name="local,">
        <rule id="100100" level="5"><if_sid>530</if_sid><match>alpha</match></rule>
        <rule id="100100" level="6" overwrite="yes"><match>beta</match></rule>
        <rule id="100100" level="7" overwrite="yes"><match>gamma</match></rule></group>"#]);
    assert_eq!(result("alpha"), Some(530));
    assert_eq!(result("beta"), Some(530));
    assert_eq!(result("gamma"), Some(100_100));
}

#[test]
fn check_diff_can_be_added_by_overwriting() {
    let rules = r#"
        <rule id="100100" level="5"><if_sid>530</if_sid><match>ports</match></rule>
        <rule id="100100" level="5" overwrite="yes"><match>ports</match><check_diff /></rule>"#;
    check(rules, [printed(0, "a"), printed(60, "a"), printed(120, "b").gives(&["alert 100100"])]);
}

#[test]
fn a_base_rule_can_be_overwritten() {
    let result = tree_of(&[r#"<group name="local,">
        <rule id="530" level="3" overwrite="yes"><match>^ossec: output: 'ports'</match></rule>
        <rule id="1" level="0" noalert="1" overwrite="yes"><description>Of the same category.</description></rule></group>"#]);
    assert_eq!(result("x"), Some(530));
}

#[test]
fn variables_hold_from_their_definition_to_the_end_of_their_file() {
    let result = tree_of(&[
        r#"<group name="local,"><rule id="100100" level="5"><if_sid>530</if_sid><regex>cost \$FEE</regex></rule></group>
           <var name="FEE">alpha|beta</var>
           <group name="local,"><rule id="100101" level="4"><if_sid>530</if_sid><pcre2>^.+(?:$FEE |x)</pcre2></rule></group>"#,
        r#"<group name="local,"><rule id="100102" level="3"><if_sid>530</if_sid><regex>also \$FEE</regex></rule></group>"#,
    ]);
    assert_eq!(result("cost $fee"), Some(100_100));
    assert_eq!(result("some beta x"), Some(100_101));
    assert_eq!(result("also $fee"), Some(100_102));
}

#[test]
fn an_escaped_less_than_is_one_to_regex_and_pcre2_and_two_characters_to_match() {
    let result = tree_of(&[r#"<group name="local,">
        <rule id="100100" level="5"><if_sid>530</if_sid><match>m \<b></match></rule>
        <rule id="100101" level="4"><if_sid>530</if_sid><regex>r \<b></regex></rule>
        <rule id="100102" level="3"><if_sid>530</if_sid><pcre2>p \<b></pcre2></rule></group>"#]);
    assert_eq!(result(r"m \<b>"), Some(100_100));
    assert_eq!(result("m <b>"), Some(530));
    assert_eq!(result("r <b>"), Some(100_101));
    assert_eq!(result("p <b>"), Some(100_102));
}

#[test]
fn time_is_that_of_the_event_and_not_of_its_arrival() {
    let rules = crate::world::rules_with(AT_NIGHT, &in_zone("UTC"));
    // Began at 17:59:50, and reached the log after 18:01.
    let began = -(4 * 3600 + 13 * 60 + 30);
    assert_eq!(time(began).to_string(), "2023-11-14T17:59:50Z");
    let event = Event::Output(run(Format::FullCommand, 1, began, "x"));
    let input = tripline_engine::Input {
        body: tripline_engine::decision::Body::Event(&event),
        append_time: time(began + 120),
        source: None,
        overtaken: false,
        duplicate_agent: None,
    };
    let decision = crate::world::judge_input(&rules, &mut MemoryState::default(), &input);
    assert!(decision.alerts.is_empty());
}

/// Whether a rule is tried must not depend on what stands behind a pattern that may give up: it would be told when somebody
/// asks why, and not otherwise.
#[test]
fn a_pattern_that_takes_too_long_is_told_whatever_stands_behind_it() {
    let rules = rules(
        r#"<rule id="100100" level="5"><if_sid>530</if_sid><match_pcre2>(a+)+(?=c)</match_pcre2><regex>zebra</regex></rule>
           <rule id="100102" level="6"><if_sid>990000</if_sid><match>was given up</match></rule>"#,
    );
    let event = Event::Output(run(Format::FullCommand, 1, 0, "a".repeat(60)));
    assert_eq!(shown(&judge(&rules, &mut MemoryState::default(), &event)), ["alert 100102 about"]);
}
