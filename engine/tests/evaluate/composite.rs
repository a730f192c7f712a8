//! Composite rules: what is counted, for how long, and what a result uses up.

use tripline_engine::decision::{Input, LogLine};
use tripline_engine::load::{CompileInputs, check_inputs, compile_inputs};
use tripline_engine::{Orphans, RuleSet, Settings, SourceFile};
use tripline_schemas::Key;
use tripline_schemas::alert::Alert;

use crate::store::Store;
use crate::world::{check, forget, printed_lines, time};

const DECODERS: &str = r#"
    <decoder name="app">
      <prematch>^app: </prematch>
      <regex offset="after_prematch">^user=(\S+) ip=(\S+) id=(\S+)</regex>
      <order>user, srcip, id</order>
      <fts>name, user</fts>
    </decoder>
    <decoder name="by">
      <prematch>^by: </prematch>
      <regex offset="after_prematch">^(\S+) (\S+)</regex>
      <order>srcuser, user</order>
      <fts>name, srcuser</fts>
    </decoder>
    <decoder name="only">
      <prematch>^only: </prematch>
      <regex offset="after_prematch">^(\S+)</regex>
      <order>srcuser</order>
    </decoder>"#;

fn compiled(xml: &str) -> RuleSet {
    let source = |name: &str, text: String| SourceFile { name: name.to_owned(), text: text.into_bytes() };
    let inputs = CompileInputs {
        rules: vec![source("test.xml", format!("<group name=\"local,\">{xml}</group>"))],
        decoders: vec![source("decoder.xml", DECODERS.to_owned())],
        lists: vec![("known".to_owned(), source("known", "192.0.2.1:\n".to_owned()))],
    };
    compile_inputs(&inputs, &Settings::default()).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// Judges log lines, each with its time and the agent and place it is from. State goes to disk and back before each.
fn alerts<'l>(rules: &RuleSet, lines: impl IntoIterator<Item = (i64, &'l str, &'l str)>) -> Vec<Option<Alert>> {
    let mut store = Store::default();
    let judged = lines.into_iter().map(|(at, place, text)| {
        let (agent, file) = place.split_once(' ').expect("an agent and a file");
        let line = LogLine {
            key: Key::new(agent, file).expect("a good key"),
            address: None,
            location: format!("{agent}->{file}"),
            time: time(at),
            text: text.as_bytes().to_vec(),
        };
        let input = Input::log(&line);
        let state = store.load();
        let decision = rules.evaluate(&input, &state).expect("state can be read");
        assert_eq!(rules.explain(&input, &state).expect("state can be read").changes, decision.changes);
        store.apply(&decision.changes);
        decision.alerts.into_iter().next()
    });
    judged.collect()
}

/// The ids of the rules that are the results, 0 for none, at these times, all of one agent.
fn results(xml: &str, lines: &[(i64, &str)]) -> Vec<u32> {
    results_of(xml, &lines.iter().map(|(at, text)| (*at, "a x", *text)).collect::<Vec<_>>())
}

fn results_of(xml: &str, lines: &[(i64, &str, &str)]) -> Vec<u32> {
    let alerts = alerts(&compiled(xml), lines.iter().copied());
    let id = |alert: Option<Alert>| alert.map_or(0, |alert| alert.rule.id.parse::<u32>().expect("an id"));
    // Local ids are told by their last digits.
    alerts.into_iter().map(|alert| id(alert) % 100).collect()
}

const BASE: &str = r#"<rule id="100200" level="3"><match>app</match></rule>"#;

fn composite(attributes: &str, elements: &str) -> String {
    format!(
        r#"{BASE}<rule id="100201" level="10" {attributes}><if_matched_sid>100200</if_matched_sid>{elements}</rule>"#
    )
}

/// One line a second.
fn steadily(text: &str, count: i64) -> Vec<(i64, &str)> {
    (0..count).map(|at| (at, text)).collect()
}

#[test]
fn a_rule_fires_on_the_event_of_its_frequency_and_two() {
    for frequency in [0, 1, 2, 10, 127] {
        let xml = composite(&format!(r#"frequency="{frequency}" timeframe="9999""#), "");
        let every = frequency + 2;
        let count = 2 * every + 1;
        let expected: Vec<u32> = (1..=count).map(|event| u32::from(event % every == 0)).collect();
        assert_eq!(results(&xml, &steadily("app", count)), expected, "{frequency}");
    }
}

#[test]
fn a_frequency_of_128_never_fires() {
    let xml = composite(r#"frequency="128" timeframe="9999""#, "");
    assert_eq!(results(&xml, &steadily("app", 300)), [0; 300]);
}

#[test]
fn events_count_while_they_are_no_older_than_the_time_frame() {
    let xml = composite(r#"frequency="1" timeframe="10""#, "");
    assert_eq!(results(&xml, &[(0, "app"), (5, "app"), (10, "app")]), [0, 0, 1]);
    assert_eq!(results(&xml, &[(0, "app"), (5, "app"), (11, "app"), (15, "app")]), [0, 0, 0, 1]);
    let xml = composite(r#"frequency="1""#, "");
    assert_eq!(results(&xml, &[(0, "app"), (1, "app"), (360, "app")]), [0, 0, 1]);
    assert_eq!(results(&xml, &[(0, "app"), (1, "app"), (361, "app")]), [0, 0, 0]);
}

#[test]
fn a_late_event_counts_with_those_around_it_when_all_lie_within_the_time_frame() {
    let xml = composite(r#"frequency="1" timeframe="10""#, "");
    // As if it had come in time, the third event within ten seconds is the one too many.
    assert_eq!(results(&xml, &[(0, "app"), (8, "app"), (4, "app")]), [0, 0, 1]);
    assert_eq!(results(&xml, &[(4, "app"), (8, "app"), (0, "app")]), [0, 0, 1]);
    // Twelve seconds apart.
    assert_eq!(results(&xml, &[(0, "app"), (12, "app"), (6, "app")]), [0, 0, 0]);
    // What happened much later has nothing to do with it, and does not hide what was before.
    assert_eq!(results(&xml, &[(0, "app"), (1, "app"), (5000, "app"), (2, "app")]), [0, 0, 0, 1]);
    // It is counted by those that follow.
    assert_eq!(results(&xml, &[(20, "app"), (15, "app"), (24, "app")]), [0, 0, 1]);
}

#[test]
fn only_recorded_results_count() {
    // Silent.
    let silent = r#"<rule id="100200" level="0"><match>app</match></rule>
        <rule id="100201" level="10" frequency="0"><if_matched_sid>100200</if_matched_sid></rule>"#;
    assert_eq!(results(silent, &steadily("app", 4)), [0; 4]);
    // Held back: of seven events those at 0 and 5 count.
    let held_back = r#"<rule id="100200" level="3" ignore="5"><match>app</match></rule>
        <rule id="100201" level="10" frequency="1"><if_matched_sid>100200</if_matched_sid></rule>"#;
    assert_eq!(results(held_back, &steadily("app", 7)), [0, 0, 0, 0, 0, 0, 1]);
    // Taken by a child.
    let xml = composite(r#"frequency="0""#, "")
        + r#"<rule id="100202" level="12"><if_sid>100200</if_sid><match>taken</match></rule>"#;
    assert_eq!(results(&xml, &[(0, "app taken"), (1, "app taken"), (2, "app"), (3, "app")]), [2, 2, 0, 1]);
    // Not logged results count.
    let no_log = r#"<rule id="100200" level="3"><match>app</match><options>no_log</options></rule>
        <rule id="100201" level="10" frequency="0"><if_matched_sid>100200</if_matched_sid></rule>"#;
    assert_eq!(results(no_log, &steadily("app", 2)), [0, 1]);
}

#[test]
fn a_composite_rule_is_a_child_of_what_it_counts_whatever_its_level() {
    let xml = format!(
        r#"{BASE}<rule id="100201" level="2" frequency="0"><if_matched_sid>100200</if_matched_sid></rule>
           <rule id="100202" level="3" frequency="0" timeframe="600"><if_matched_sid>100201</if_matched_sid></rule>"#
    );
    assert_eq!(results(&xml, &steadily("app", 8)), [0, 1, 0, 2, 0, 1, 0, 2]);
    // Results of a composite rule are used up at its level, so one of the same level never counts them.
    assert_eq!(
        results(&xml.replace("level=\"3\" frequency", "level=\"2\" frequency"), &steadily("app", 8)),
        [0, 1, 0, 1, 0, 1, 0, 1]
    );
}

#[test]
fn a_result_that_is_held_back_uses_events_up() {
    let xml = composite(r#"frequency="1" timeframe="60" ignore="10""#, "");
    let expected = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let alerts = alerts(&compiled(&xml), (0..15).map(|at| (at, "a x", "app")));
    let ids: Vec<_> = alerts.iter().map(|alert| alert.as_ref().map(|alert| alert.rule.id.as_str())).collect();
    assert_eq!(ids[5], None, "held back");
    let ids: Vec<_> = ids.into_iter().map(|id| u32::from(id == Some("100201"))).collect();
    assert_eq!(ids, expected);
}

#[test]
fn same_user_counts_each_user_and_a_result_stops_no_other() {
    let xml = composite(r#"frequency="1" timeframe="60""#, "<same_user />");
    let (bob, eve) = ("app: user=bob ip=1.1.1.1 id=1", "app: user=eve ip=1.1.1.1 id=1");
    let lines: Vec<_> = (0..8).map(|at| (at, if at % 2 == 0 { bob } else { eve })).collect();
    assert_eq!(results(&xml, &lines), [0, 0, 0, 0, 1, 1, 0, 0]);
    // Events without a user do not count.
    assert_eq!(results(&xml, &steadily("app: nobody", 6)), [0; 6]);
}

#[test]
fn differences_are_asked_for() {
    let line = |user: u32, ip: u32| format!("app: user=u{user} ip=1.1.1.{ip} id=1");
    let run = |elements: &str, events: &[(u32, u32)]| {
        let texts: Vec<_> = events.iter().map(|(user, ip)| line(*user, *ip)).collect();
        let lines: Vec<_> = (0..).zip(texts.iter().map(String::as_str)).collect();
        results(&composite(r#"frequency="1" timeframe="60""#, elements), &lines)
    };
    let same_ip = [(1, 1), (1, 1), (1, 1), (1, 1)];
    let other_ips = [(1, 1), (1, 2), (1, 3), (1, 4)];
    for element in ["<different_srcip />", "<not_same_source_ip />", "<same_source_ip /><not_same_source_ip />"] {
        assert_eq!(run(element, &same_ip), [0; 4], "{element}");
        assert_eq!(run(element, &other_ips), [0, 0, 1, 0], "{element}");
    }
    // The later one of two that contradict each other counts.
    assert_eq!(run("<not_same_source_ip /><same_source_ip />", &same_ip), [0, 0, 1, 0]);
    assert_eq!(run("<same_user /><not_same_source_ip />", &[(1, 1), (2, 2), (1, 3), (1, 4)]), [0, 0, 0, 1]);
    assert_eq!(run("<different_srcgeoip />", &other_ips), [0; 4]);
}

#[test]
fn same_location_counts_each_agent_and_file_and_not_same_agent_several_agents() {
    let lines: Vec<_> =
        (0..6).map(|at| (at, ["a x", "b x", "a y"][usize::try_from(at).expect("small") % 3], "app")).collect();
    let same = composite(r#"frequency="0""#, "<same_location />");
    assert_eq!(results_of(&same, &lines), [0, 0, 0, 1, 1, 1]);
    let other = composite(r#"frequency="0""#, "<same_location /><not_same_agent />");
    assert_eq!(results_of(&other, &[(0, "a x", "app"), (1, "a y", "app"), (2, "b x", "app")]), [0, 0, 1]);
    let all = composite(r#"frequency="4""#, "");
    assert_eq!(results_of(&all, &lines), [0, 0, 0, 0, 0, 1]);
}

#[test]
fn a_group_is_counted_but_for_rules_that_an_id_counts_and_rules_that_come_later() {
    let xml = r#"
        <rule id="100210" level="3"><match>one</match><group>bad,</group></rule>
        <rule id="100211" level="3"><match>two</match><group>bad,</group></rule>
        <rule id="100212" level="3"><match>three</match><group>bad,</group></rule>
        <rule id="100201" level="10" frequency="1"><if_matched_group>bad</if_matched_group></rule>
        <rule id="100202" level="10" frequency="8"><if_matched_sid>100212</if_matched_sid></rule>
        <rule id="100213" level="3"><match>four</match><group>bad,</group></rule>"#;
    assert_eq!(results(xml, &[(0, "one"), (1, "two"), (2, "one")]), [10, 11, 1]);
    assert_eq!(results(xml, &[(0, "three"), (1, "three"), (2, "one"), (3, "one")]), [12, 12, 10, 10]);
    assert_eq!(results(xml, &[(0, "four"), (1, "four"), (2, "one"), (3, "four")]), [13, 13, 10, 13]);
}

#[test]
fn an_expression_counts_recorded_events_of_all_rules_that_fit_it() {
    let xml = r#"
        <rule id="100210" level="3"><match>one</match></rule>
        <rule id="100211" level="3"><match>two</match></rule>
        <rule id="100214" level="0"><match>silent</match></rule>
        <rule id="100201" level="10" frequency="1"><if_sid>100210</if_sid><if_matched_regex>port \d+</if_matched_regex></rule>"#;
    assert_eq!(results(xml, &[(0, "one"), (1, "two port 22"), (2, "two port 23"), (3, "one")]), [10, 11, 11, 1]);
    assert_eq!(results(xml, &[(0, "silent port 1"), (1, "one port 2"), (2, "one port")]), [0, 10, 10]);
    // The result itself is recorded as well, and used up.
    let lines: Vec<_> = (0..7).map(|at| (at, "one port 1")).collect();
    assert_eq!(results(xml, &lines), [10, 10, 1, 10, 10, 1, 10]);
}

#[test]
fn what_one_rule_uses_up_another_of_its_level_does_not_count_in_any_history() {
    // Both count the same events, one by group and one by text.
    let xml = |level: u32| {
        format!(
            r#"<rule id="100210" level="3"><match>one</match><group>bad,</group></rule>
               <rule id="100201" level="10" frequency="0"><if_matched_group>bad</if_matched_group><match>first</match></rule>
               <rule id="100202" level="{level}" frequency="0"><if_sid>100210</if_sid><if_matched_regex>one</if_matched_regex></rule>"#
        )
    };
    let lines = [(0, "one"), (1, "one first"), (2, "one")];
    assert_eq!(results(&xml(9), &lines[..2]), [10, 1]);
    assert_eq!(results(&xml(9), &lines), [10, 1, 10]);
    assert_eq!(results(&xml(11), &lines), [10, 2, 10]);
    assert_eq!(results(&xml(11), &[(0, "one"), (1, "one")]), [10, 2]);
}

#[test]
fn the_alert_shows_the_second_event_that_was_counted() {
    let rules = compiled(&composite(r#"frequency="2" timeframe="60""#, ""));
    let alerts = alerts(&rules, [(0, "a x", "app 0"), (1, "a x", "app 1"), (2, "a x", "app 2"), (3, "a x", "app 3")]);
    let alert = alerts[3].as_ref().expect("an alert");
    assert_eq!(alert.previous_output.as_deref(), Some("app 1"));
    assert_eq!(alert.diff, None);
    assert!(alerts[..3].iter().flatten().all(|alert| alert.previous_output.is_none()));
}

#[test]
fn a_long_text_is_remembered_by_its_beginning_and_the_alert_says_so() {
    let rules = compiled(&composite(r#"frequency="1""#, ""));
    let long = format!("app {}", "ä".repeat(4000));
    let alerts = alerts(&rules, [(0, "a x", &*long), (1, "a x", "app"), (2, "a x", "app")]);
    let alert = alerts[2].as_ref().expect("an alert");
    let previous = alert.previous_output.as_deref().expect("a previous output");
    assert!(long.starts_with(previous) && previous.len() == 4096, "{}", previous.len());
    assert_eq!(alert.cut["previous_output"], long.len() as u64);
    assert_eq!(alert.not_utf8, Vec::<String>::new());
}

#[test]
fn one_more_event_costs_few_small_writes() {
    let rules = compiled(&composite(r#"frequency="100" timeframe="9999""#, "<same_user />"));
    let (mut store, mut most) = (Store::default(), 0);
    for at in 0..300 {
        let line = LogLine {
            key: Key::new("a", "x").expect("a good key"),
            address: None,
            location: "a->x".to_owned(),
            time: time(at),
            text: format!("app: user=u{} ip=1.1.1.1 id=1", at % 7).into_bytes(),
        };
        let input = Input::log(&line);
        let before = store.writes;
        store.apply(&rules.evaluate(&input, &store.load()).expect("state can be read").changes);
        most = most.max(store.writes - before);
    }
    // Counters, bounds, the event, and the one that gives way.
    assert_eq!(most, 4);
    let history = store.load().histories.into_values().next().expect("a history");
    assert_eq!(history.bounds().next - history.bounds().first, 128);
}

#[test]
fn lines_of_one_run_count_and_an_order_forgets_them() {
    let xml = r#"<rule id="100200" level="3"><if_sid>530</if_sid><match>tcp</match></rule>
        <rule id="100201" level="10" frequency="1"><if_matched_sid>100200</if_matched_sid><same_location /></rule>"#;
    check(
        xml,
        [
            printed_lines(0, "tcp 1\ntcp 2").gives(&["alert 100200 line 1", "alert 100200 line 2"]),
            printed_lines(1, "tcp 3\nudp\ntcp 4").gives(&["alert 100201 line 1", "alert 100200 line 3"]),
            printed_lines(2, "tcp 5").gives(&["alert 100200 line 1"]),
            forget(3, Some(100_200)),
            printed_lines(4, "tcp 6").gives(&["alert 100200 line 1"]),
            printed_lines(5, "tcp 7").gives(&["alert 100200 line 1"]),
            forget(6, Some(533)),
            printed_lines(7, "tcp 8").gives(&["alert 100201 line 1"]),
        ],
    );
}

#[test]
fn with_several_partitions_only_rules_of_one_location_are_good() {
    let check = |xml: &str| {
        let text = format!("<group name=\"local,\">{xml}</group>").into_bytes();
        let inputs = CompileInputs::of_rules(&[SourceFile { name: "test.xml".to_owned(), text }]);
        let settings = Settings { partitions: 12, ..Settings::default() };
        let checked = check_inputs(&inputs, &settings, Orphans::Error);
        checked.findings.iter().filter(|finding| finding.code == "TL0432").count()
    };
    assert_eq!(check(&composite(r#"frequency="1""#, "<same_location />")), 0);
    for crossing in ["", "<same_user />", "<same_location /><not_same_agent />"] {
        assert_eq!(check(&composite(r#"frequency="1""#, crossing)), 1, "{crossing}");
    }
    let memory = |element: &str| format!(r#"<rule id="100200" level="3"><match>app</match>{element}</rule>"#);
    assert_eq!(check(&memory("<ignore>location, id</ignore><check_if_ignored>location</check_if_ignored>")), 0);
    for element in ["<if_fts />", "<ignore>id</ignore>", "<check_if_ignored>srcip</check_if_ignored>"] {
        assert_eq!(check(&memory(element)), 1, "{element}");
    }
}

#[test]
fn if_fts_holds_once_for_each_key_for_ever() {
    let xml = r#"<rule id="100200" level="3"><decoded_as>app</decoded_as></rule>
        <rule id="100201" level="6"><if_sid>100200</if_sid><if_fts /></rule>"#;
    let line = |user: &str, ip: &str| format!("app: user={user} ip={ip} id=1");
    let lines = [line("bob", "1"), line("bob", "2"), line("eve", "1"), line("bob", "1")];
    let lines: Vec<_> = (0..).map(|n| n * 1_000_000).zip(lines.iter().map(String::as_str)).collect();
    assert_eq!(results(xml, &lines), [1, 0, 1, 0]);
    // A decoder without a key.
    let xml = r#"<rule id="100200" level="3"><match>other</match></rule>
        <rule id="100201" level="6"><if_sid>100200</if_sid><if_fts /></rule>"#;
    assert_eq!(results(xml, &[(0, "other")]), [0]);
}

#[test]
fn a_first_time_is_used_up_by_the_first_rule_that_asks() {
    let xml = r#"<rule id="100201" level="6" noalert="1"><decoded_as>app</decoded_as><if_fts /></rule>
        <rule id="100202" level="5"><decoded_as>app</decoded_as><if_fts /></rule>
        <rule id="100203" level="3"><decoded_as>app</decoded_as></rule>"#;
    assert_eq!(results(xml, &[(0, "app: user=bob ip=1 id=1")]), [3]);
}

#[test]
fn srcuser_in_a_first_time_key_is_the_user_who_does_something() {
    let xml = r#"<rule id="100200" level="3"><decoded_as>by</decoded_as></rule>
        <rule id="100201" level="6"><if_sid>100200</if_sid><if_fts /></rule>"#;
    let lines = [(0, "by: bob root"), (1, "by: eve root"), (2, "by: bob daemon"), (3, "by: eve daemon")];
    assert_eq!(results(xml, &lines), [1, 1, 0, 0]);
}

#[test]
fn stored_fields_hold_other_rules_back_for_ever() {
    let xml = |stored: &str, checked: &str| {
        format!(
            r#"<rule id="100200" level="3"><match>first</match><ignore>{stored}</ignore></rule>
               <rule id="100201" level="6"><match>second</match><check_if_ignored>{checked}</check_if_ignored></rule>"#
        )
    };
    let (first, second) = ("app: user=bob ip=1 id=5 first", "app: user=eve ip=1 id=6 second");
    let in_place = [(0, "a x", second), (1, "a x", first), (9_000_000, "a x", second), (9_000_001, "a y", second)];
    let ids = |stored, checked| {
        let alerts = alerts(&compiled(&xml(stored, checked)), in_place);
        alerts.into_iter().map(|alert| alert.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(ids("location", "location"), [true, true, false, true]);
    assert_eq!(ids("srcip", "srcip"), [true, true, false, false]);
    assert_eq!(ids("id", "id"), [true, true, true, true]);
    // Different fields are different lines.
    assert_eq!(ids("srcip", "srcip,id"), [true, true, true, true]);
    // Names are looked for anywhere in the text: `invalid` says `id`.
    assert_eq!(ids("invalid", "id"), ids("id", "id"));
    // The user is the one acted on, or else who acts.
    let of_user = xml("user", "user");
    let by = [(0, "a x", "by: bob root first"), (1, "a x", "by: eve root second"), (2, "a x", "by: bob daemon second")];
    let held_back = |lines| alerts(&compiled(&of_user), lines).iter().map(Option::is_none).collect::<Vec<_>>();
    assert_eq!(held_back(by), [false, true, false]);
    let only = [(0, "a x", "only: bob first"), (1, "a x", "only: eve second"), (2, "a x", "only: bob second")];
    assert_eq!(held_back(only), [false, false, true]);
    // Lines that have none of the fields have nothing in common.
    let without = [(0, "a x", "first"), (1, "a x", "second")];
    assert!(alerts(&compiled(&xml("srcip", "srcip")), without).iter().all(Option::is_some));
}

/// As OSSEC does: lists come after what a rule remembers.
#[test]
fn a_line_that_a_list_rejects_is_remembered_all_the_same() {
    let known = r#"<list field="srcip" lookup="address_match_key">known</list>"#;
    let first = format!(r#"<rule id="100201" level="5"><decoded_as>app</decoded_as><if_fts />{known}</rule>"#);
    let of = |user: &str, ip: &str| format!("app: user={user} ip={ip} id=1");
    let lines = [of("a", "192.0.2.2"), of("a", "192.0.2.1"), of("b", "192.0.2.1")];
    let lines: Vec<_> = lines.iter().enumerate().map(|(at, line)| (at as i64, line.as_str())).collect();
    assert_eq!(results(&first, &lines), [0, 0, 1]);

    let compares = format!(r#"<rule id="100201" level="5"><decoded_as>app</decoded_as>{known}<check_diff /></rule>"#);
    let lines = [of("a", "192.0.2.1"), of("a", "192.0.2.2"), of("a", "192.0.2.1"), of("a", "192.0.2.1")];
    let lines: Vec<_> = lines.iter().enumerate().map(|(at, line)| (at as i64, line.as_str())).collect();
    assert_eq!(results(&compares, &lines), [0, 0, 1, 0]);
}

#[test]
fn if_matched_regex_counts_events_of_the_category_that_the_rule_has_by_its_parents() {
    let rules = r#"
        <rule id="100211" level="3"><if_sid>530</if_sid><match>boom</match></rule>
        <rule id="100212" level="10" frequency="1" timeframe="60">
          <if_sid>530</if_sid><if_matched_regex>boom</if_matched_regex>
        </rule>"#;
    let line = "ossec: output: 'load': boom";
    assert_eq!(results(rules, &steadily(line, 4)), [11, 11, 12, 11]);
    // Results of lines of another category, though their text fits.
    let others = format!(r#"{rules}<rule id="100213" level="3"><match>boom</match></rule>"#);
    let lines = [(0, "app: boom"), (1, "app: boom"), (2, line), (3, line), (4, line)];
    assert_eq!(results(&others, &lines), [13, 13, 11, 11, 12]);
}

#[test]
fn if_level_asks_for_the_level_that_an_overwritten_rule_has_now() {
    let rules = r#"
        <rule id="100211" level="3"><match>app</match></rule>
        <rule id="100211" level="9" overwrite="yes"><match>app</match></rule>
        <rule id="100212" level="10"><if_level>8</if_level><match>app: x</match></rule>"#;
    assert_eq!(results(rules, &[(0, "app: x")]), [12]);
}
