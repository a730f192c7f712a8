//! What an alert holds: ids, texts and their caps, the place of the record.

use std::collections::BTreeSet;

use tripline_engine::decision::{Body, Input, LogLine};
use tripline_engine::{CompileInputs, MemoryState, RuleSet, Settings, SourceFile, compile_inputs};
use tripline_schemas::alert::{Alert, Source};
use tripline_schemas::event::{Event, Gap};
use tripline_schemas::{Format, Key, Run};
use uuid::Uuid;

use crate::world::{SPOOL, judge, judge_input, rules, rules_with, run, time};

fn alerts(rules: &RuleSet, state: &mut MemoryState, run: Run) -> Vec<Alert> {
    judge(rules, state, &Event::Output(run)).alerts
}

#[test]
fn an_alert_names_the_rule_the_agent_and_the_run() {
    let rules = rules(
        r#"<rule id="100100" level="3"><if_sid>530</if_sid><description>Low.</description><group>a,b,</group></rule>"#,
    );
    let mut run = run(Format::Command, 5, 0, "x\ny");
    run.address = Some("10.0.0.1".to_owned());
    let alert = alerts(&rules, &mut MemoryState::default(), run.clone()).remove(1);
    assert_eq!(alert.rule.id, "100100");
    assert_eq!((alert.rule.level, alert.rule.mail, alert.rule.firedtimes), (3, false, 2));
    assert_eq!(alert.rule.description.as_deref(), Some("Low."));
    assert_eq!(alert.rule.groups, ["local", "a", "b"]);
    assert_eq!((&*alert.agent.id, &*alert.agent.name, alert.agent.ip.as_deref()), ("web-1", "web-1", Some("10.0.0.1")));
    assert_eq!((&*alert.command, &*alert.location), ("ports", "(web-1) 10.0.0.1->ports"));
    assert_eq!(alert.full_log, "ossec: output: 'ports': y");
    assert_eq!((alert.previous_output, alert.diff), (None, None));
    assert_eq!((alert.run.id, alert.run.line), (Some(run.id), 2));
    assert_eq!(alert.run.command_line.as_deref(), Some("ports --all"));
    assert_eq!((alert.run.started, alert.run.duration_ms), (Some(time(0)), Some(1000)));
    assert_eq!(alert.ruleset.digest, rules.digest_hex());
    assert_eq!(alert.id.len(), 32);
}

#[test]
fn an_alert_does_not_depend_on_the_place_of_its_record() {
    let rules = rules(r#"<rule id="100100" level="3"><if_sid>530</if_sid><match>ports</match></rule>"#);
    let event = Event::Output(run(Format::FullCommand, 1, 0, "x"));
    let at = |source: Option<&Source>| {
        let input =
            Input { body: Body::Event(&event), append_time: time(2), source, overtaken: false, duplicate_agent: None };
        judge_input(&rules, &mut MemoryState::default(), &input).alerts.remove(0)
    };
    let source = |topic: &str, partition, offset| Source { topic: topic.to_owned(), partition, offset };
    let (one, other) = (source("tripline.outputs", 0, 7), source("outputs", 11, 1 << 40));
    for source in [Some(&one), Some(&other), None] {
        let alert = at(source);
        assert_eq!(alert.source.as_ref(), source);
        let body = |alert: Alert| serde_json::to_vec(&Alert { source: None, ..alert }).expect("JSON");
        assert_eq!(body(alert), body(at(None)));
    }
}

#[test]
fn the_id_of_an_alert_never_changes() {
    let rules = rules(r#"<rule id="100100" level="3"><if_sid>530</if_sid><match>ports</match></rule>"#);
    let alert = alerts(&rules, &mut MemoryState::default(), run(Format::FullCommand, 1, 0, "x")).remove(0);
    // Whoever changes how ids are made makes every consumer see old alerts as new ones.
    assert_eq!(alert.id, "bd3651c5a6f67f1bee35c8a9235f2b8d");
}

#[test]
fn every_alert_of_a_run_has_an_id_of_its_own() {
    // One rule for everything about runs, and one child of two rules that gather.
    let xml = r#"
        <rule id="100100" level="3"><if_sid>990000</if_sid></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><match>tcp</match><check_diff /></rule>
        <rule id="100102" level="3"><if_sid>530</if_sid><match>udp</match><check_diff /></rule>
        <rule id="100103" level="3"><if_sid>100101, 100102</if_sid></rule>
        <rule id="100104" level="2"><if_sid>530</if_sid><match>x</match></rule>"#;
    let rules = rules(xml);
    let mut ids = BTreeSet::new();
    let mut count = 0;
    let mut state = MemoryState::default();
    for (sequence, output, cut) in
        [(1, "tcp 1\nudp 1", false), (2, "tcp 2\nudp 2\nx\nx", false), (3, "tcp 3\nudp 3\nx\nx", true)]
    {
        let mut run = run(Format::Command, sequence, 0, output);
        run.truncated_from = cut.then_some(1 << 30);
        let event = Event::Output(run);
        let duplicate_agent = Some(Uuid::from_u128(9));
        let input =
            Input { body: Body::Event(&event), append_time: time(2), source: None, overtaken: false, duplicate_agent };
        let alerts = judge_input(&rules, &mut state, &input).alerts;
        count += alerts.len();
        ids.extend(alerts.into_iter().map(|alert| alert.id));
    }
    // Run 1: the duplicate agent. Run 2: two gathered, two lines, the duplicate agent. Run 3: two lines, truncated, two
    // that can't be compared, the duplicate agent.
    assert_eq!((count, ids.len()), (1 + 5 + 6, count));
}

#[test]
fn an_id_tells_apart_all_that_names_an_alert() {
    let xml = |id: u32| {
        format!(
            r#"<rule id="{id}" level="3"><if_sid>500</if_sid></rule><rule id="1{id}" level="3"><if_sid>990000</if_sid></rule>"#
        )
    };
    let settings = |application_id: &str| Settings { application_id: application_id.to_owned(), ..Settings::default() };
    let mut ids = Vec::new();
    let mut add = |rules: &RuleSet, event: &Event| {
        let decision = judge(rules, &mut MemoryState::default(), event);
        ids.push(decision.alerts[0].id.clone());
    };
    let base = run(Format::FullCommand, 1, 0, "x");
    let with = |change: fn(&mut Run)| {
        let mut run = base.clone();
        change(&mut run);
        Event::Output(run)
    };
    let rules_0 = rules_with(r#"<rule id="10001" level="3"><if_sid>530</if_sid></rule>"#, &settings("tripline"));
    add(&rules_0, &with(|_| {}));
    add(&rules_0, &with(|run| run.id.sequence = 2));
    add(&rules_0, &with(|run| run.id.spool = Uuid::from_u128(1)));
    // The same letters, cut elsewhere.
    add(&rules_0, &with(|run| run.key = Key::new("web-1p", "orts").expect("a good key")));
    add(&rules_0, &with(|run| run.format = Format::Command));
    add(&rules_with(r#"<rule id="10002" level="3"><if_sid>530</if_sid></rule>"#, &settings("tripline")), &with(|_| {}));
    add(&rules_with(r#"<rule id="10001" level="3"><if_sid>530</if_sid></rule>"#, &settings("other")), &with(|_| {}));
    let gap = |first, last| {
        let key = Key::new("web-1", "ports").expect("a good key");
        Event::Gap(Gap { key, address: None, spool: SPOOL, first, last, runs: 1, time: time(0) })
    };
    let about = rules_with(&xml(10001), &settings("tripline"));
    add(&about, &gap(1, 1));
    add(&about, &gap(1, 2));
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:#?}");
}

#[test]
fn equal_log_lines_of_one_second_have_ids_of_their_own() {
    let rules = rules(r#"<rule id="100100" level="3"><match>alpha</match></rule>"#);
    let mut state = MemoryState::default();
    let line = LogLine {
        key: Key::new("web-1", "messages").expect("a good key"),
        address: None,
        location: "web-1->/var/log/messages".to_owned(),
        time: time(0),
        text: b"alpha".to_vec(),
    };
    let input = Input::log(&line);
    let [one, other] = [(), ()].map(|()| judge_input(&rules, &mut state, &input).alerts.remove(0));
    assert_ne!(one.id, other.id);
    assert_eq!((&*one.location, &*one.decoder.name, one.run.id), ("web-1->/var/log/messages", "", None));
}

#[test]
fn texts_are_capped_within_no_character_and_say_so() {
    const HEADER: usize = "ossec: output: 'ports':\n".len();
    let settings = |max| Settings { alert_text_bytes_max: HEADER + max, ..Settings::default() };
    let xml = r#"<rule id="100100" level="3"><if_sid>530</if_sid><match>ports</match></rule>"#;
    for (output, max, shown, full, not_utf8) in [
        (&b"abcdef"[..], 6, "abcdef", None, false),
        (b"abcdef", 5, "abcde", Some(6), false),
        ("abé".as_bytes(), 4, "abé", None, false),
        ("abéd".as_bytes(), 3, "ab", Some(5), false),
        ("ab\u{1F600}".as_bytes(), 5, "ab", Some(6), false),
        ("ab\u{1F600}".as_bytes(), 3, "ab", Some(6), false),
        (b"a\xffb", 5, "a\u{fffd}b", None, true),
        // Shown, the byte takes three.
        (b"a\xffb", 3, "a", Some(3), true),
        (b"a\xffb", 4, "a\u{fffd}", Some(3), true),
        (b"\x80\x80\x80\x80\x80\x80", 3, "\u{fffd}", Some(6), true),
    ] {
        let rules = rules_with(xml, &settings(max));
        let alert = alerts(&rules, &mut MemoryState::default(), run(Format::FullCommand, 1, 0, output)).remove(0);
        let label = output.escape_ascii();
        assert_eq!(&alert.full_log[HEADER..], shown, "{label} {max}");
        assert_eq!(alert.cut.get("full_log").copied(), full.map(|full: u64| full + HEADER as u64), "{label} {max}");
        assert_eq!(!alert.not_utf8.is_empty(), not_utf8, "{label} {max}");
    }
}

#[test]
fn both_outputs_of_a_change_are_capped_and_the_difference_is_that_of_the_whole() {
    let xml = r#"<rule id="100100" level="3"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#;
    let rules = rules_with(xml, &Settings { alert_text_bytes_max: 100, ..Settings::default() });
    let mut state = MemoryState::default();
    let long = "0123456789\n".repeat(50);
    assert_eq!(alerts(&rules, &mut state, run(Format::FullCommand, 1, 0, &long)), []);
    let alert = alerts(&rules, &mut state, run(Format::FullCommand, 2, 0, long.clone() + "new\n")).remove(0);
    let header = "ossec: output: 'ports':\n".len() as u64;
    assert_eq!(alert.cut["previous_output"], header + long.len() as u64 - 1);
    assert_eq!(alert.cut["full_log"], header + long.len() as u64 + 3);
    assert_eq!((alert.full_log.len(), alert.previous_output.map(|text| text.len())), (100, Some(100)));
    let diff = alert.diff.expect("a difference");
    assert_eq!((diff.added, diff.removed), (vec!["new".to_owned()], vec![]));
}

#[test]
fn rules_that_compare_the_same_output_share_its_text() {
    let rules = rules(
        r#"<rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
           <rule id="100101" level="3"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#,
    );
    let mut state = MemoryState::default();
    alerts(&rules, &mut state, run(Format::FullCommand, 1, 0, "a"));
    assert_eq!(state.texts.len(), 1);
    alerts(&rules, &mut state, run(Format::FullCommand, 2, 0, "b"));
    assert_eq!(state.texts.len(), 2);
    alerts(&rules, &mut state, run(Format::FullCommand, 3, 0, "b"));
    assert_eq!(state.texts.len(), 1);
}

#[test]
fn a_baseline_without_its_text_is_damage_and_stops_the_event() {
    let rules = rules(r#"<rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#);
    let mut state = MemoryState::default();
    alerts(&rules, &mut state, run(Format::FullCommand, 1, 0, "a"));
    state.texts.clear();
    let event = Event::Output(run(Format::FullCommand, 2, 0, "b"));
    let input = Input {
        body: Body::Event(&event),
        append_time: time(0),
        source: None,
        overtaken: false,
        duplicate_agent: None,
    };
    let error = rules.evaluate(&input, &state).expect_err("the text is gone").to_string();
    assert_eq!(error, "state of (web-1) ports is damaged: the baseline text of rule 100100 is missing");
}

#[test]
fn an_unchanged_output_changes_no_state() {
    let rules = rules(r#"<rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#);
    for format in [Format::FullCommand, Format::Command] {
        let mut state = MemoryState::default();
        judge(&rules, &mut state, &Event::Output(run(format, 1, 0, "a\nb")));
        assert_eq!(judge(&rules, &mut state, &Event::Output(run(format, 2, 10, "a\nb"))).changes, []);
    }
}

#[test]
fn an_alert_of_a_decoded_line_carries_its_fields_and_one_of_an_output_none() {
    let source = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.as_bytes().to_vec() };
    let inputs = CompileInputs {
        rules: vec![source(
            "rules.xml",
            "<group name=\"local,\"><rule id=\"100001\" level=\"3\"><decoded_as>app</decoded_as></rule>\
             <rule id=\"100002\" level=\"3\"><if_sid>530</if_sid></rule></group>",
        )],
        decoders: vec![source(
            "decoder.xml",
            "<decoder name=\"app\"><prematch>^app: </prematch><regex offset=\"after_prematch\">^(\\S+) (\\S+) (\\S+)</regex>\
             <order>user, srcip, basket</order></decoder>",
        )],
        lists: Vec::new(),
    };
    let settings = Settings { alert_text_bytes_max: 20, ..Settings::default() };
    let rules = compile_inputs(&inputs, &settings).expect("the rules are good");
    let line = LogLine {
        key: Key::new("web-1", "/var/log/app").expect("a key"),
        address: None,
        location: "web-1->/var/log/app".to_owned(),
        time: time(0),
        text: b"app: r\xffot 10.0.0.1 a-basket-that-is-large".to_vec(),
    };
    let alert = judge_input(&rules, &mut MemoryState::default(), &Input::log(&line)).alerts.remove(0);
    assert_eq!(alert.decoder.name, "app");
    let data: Vec<(&str, &str)> = alert.data.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(data, [("basket", "a-basket-that-is-lar"), ("dstuser", "r\u{fffd}ot"), ("srcip", "10.0.0.1")]);
    assert_eq!(alert.cut.get("data.basket"), Some(&22));
    assert!(alert.not_utf8.contains(&"data.dstuser".to_owned()), "{:?}", alert.not_utf8);
    let alert = alerts(&rules, &mut MemoryState::default(), run(Format::Command, 5, 0, "app: a b c")).remove(0);
    assert!(alert.data.is_empty());
    assert!(!serde_json::to_string(&alert).expect("JSON").contains("\"data\""));
}
