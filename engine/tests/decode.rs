//! Lines that are no command's output: header, decoder, fields, and what rules make of them.

use jiff::Timestamp;
use proptest::prelude::*;
use tripline_engine::decision::{Body, Decision, Input, LineFields, LogLine, Verdict};
use tripline_engine::{
    CompileInputs, MemoryState, RuleSet, Settings, Severity, SourceFile, check_inputs, compile_inputs,
};
use tripline_engine::{Orphans, finding};
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Format, Key, Run, RunId};

const OSSEC: &str = "<decoder name=\"ossec\"><prematch>^ossec: </prematch><type>ossec</type></decoder>";

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.as_bytes().to_vec() }
}

/// Rules (what stands in the group), decoders and a list `lists/users`.
fn inputs(rules: &str, decoders: &str, list: &str) -> CompileInputs {
    CompileInputs {
        rules: vec![file("rules.xml", &format!("<group name=\"local,\">{rules}</group>"))],
        decoders: vec![file("decoders.xml", &format!("{decoders}{OSSEC}"))],
        lists: vec![("lists/users".to_owned(), file("users", list))],
    }
}

fn compiled(inputs: &CompileInputs) -> RuleSet {
    compile_inputs(inputs, &Settings::default()).unwrap_or_else(|findings| {
        panic!("{}", finding::render(&findings, &inputs.files().cloned().collect::<Vec<_>>()))
    })
}

/// A rule that every line of type syslog reaches.
const ANY: &str = "<rule id=\"100100\" level=\"3\"><category>syslog</category></rule>";

fn log_line(agent: &str, address: Option<&str>, text: &[u8]) -> LogLine {
    let location = match address {
        Some(address) => format!("({agent}) {address}->/var/log/x"),
        None => format!("{agent}->/var/log/x"),
    };
    LogLine {
        key: Key::new(agent, "/var/log/x").expect("a good key"),
        address: address.map(str::to_owned),
        location,
        time: Timestamp::UNIX_EPOCH,
        text: text.to_vec(),
    }
}

fn judged(rules: &RuleSet, line: &LogLine) -> Decision {
    let body = Body::Log(line);
    let append_time = Timestamp::UNIX_EPOCH;
    let input = Input { body, append_time, source: None, overtaken: false, duplicate_agent: None };
    rules.explain(&input, &MemoryState::default()).expect("memory can be read")
}

/// The rule that is the result of a line.
fn result(rules: &RuleSet, text: &str) -> Option<u32> {
    match judged(rules, &log_line("manager", None, text.as_bytes())).lines[0].verdict {
        Verdict::Alert { rule, .. } => Some(rule),
        _ => None,
    }
}

/// The decoder of a line, and its fields as `name=value`.
fn decoded(decoders: &str, text: &str) -> (Option<String>, Vec<String>) {
    let rules = compiled(&inputs(ANY, decoders, ""));
    let decision = judged(&rules, &log_line("manager", None, text.as_bytes()));
    let LineFields { decoder, fields, .. } = decision.lines[0].decoded.clone().expect("a log line is decoded");
    (decoder, fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// Lines, and the decoder and fields that they have.
fn check_decoded(decoders: &str, lines: &[(&str, Option<&str>, &[&str])]) {
    for (text, decoder, fields) in lines {
        let (found, found_fields) = decoded(decoders, text);
        assert_eq!(
            (found.as_deref(), found_fields),
            (*decoder, fields.iter().map(|it| (*it).to_owned()).collect()),
            "{text}"
        );
    }
}

#[test]
fn lines_with_a_program_are_for_decoders_with_a_program_name_and_others_for_the_rest() {
    let decoders = r#"<decoder name="p"><program_name>^app</program_name><regex>^(\S+)</regex><order>user</order></decoder>
        <decoder name="q"><program_name_pcre2>^x\d$</program_name_pcre2><prematch>^in</prematch></decoder>
        <decoder name="e"><prematch>^bob</prematch></decoder>"#;
    check_decoded(
        decoders,
        &[
            ("Nov 14 10:00:00 h app: bob in", Some("p"), &["dstuser=bob"]),
            ("Nov 14 10:00:00 h APP2[3]: eve in", Some("p"), &["dstuser=eve"]),
            ("Nov 14 10:00:00 h other: bob in", None, &[]),
            ("Nov 14 10:00:00 h x1: in", Some("q"), &[]),
            ("Nov 14 10:00:00 h x1: out", None, &[]),
            ("bob in", Some("e"), &[]),
            ("app: bob", None, &[]),
            ("OSSEC: x", Some("ossec"), &[]),
        ],
    );
}

#[test]
fn the_action_of_a_firewall_is_one_of_four_words_whether_or_not_its_other_fields_are_there() {
    let decoders = r#"<decoder name="fw"><prematch>^fw: </prematch></decoder>
        <decoder name="whole"><parent>fw</parent><type>firewall</type><prematch offset="after_parent">^p</prematch>
        <regex offset="after_parent">^p (\S+) (\S+) (\S+):(\d+) (\S+):(\d+)</regex><order>protocol, action, srcip, srcport, dstip, dstport</order></decoder>
        <decoder name="part"><parent>fw</parent><type>firewall</type><prematch offset="after_parent">^a</prematch>
        <regex offset="after_parent">^a (\S+) (\S+)</regex><order>action, srcip</order></decoder>
        <decoder name="other"><parent>fw</parent><regex offset="after_parent">^(\S+)</regex><order>action</order></decoder>"#;
    check_decoded(
        decoders,
        &[
            (
                "fw: p tcp denied 192.0.2.1:5 192.0.2.2:80",
                Some("fw"),
                &["srcip=192.0.2.1", "dstip=192.0.2.2", "srcport=5", "dstport=80", "protocol=tcp", "action=DROP"],
            ),
            ("fw: a Permitted 192.0.2.1", Some("fw"), &["srcip=192.0.2.1", "action=ALLOW"]),
            ("fw: a Teardown 192.0.2.1", Some("fw"), &["srcip=192.0.2.1", "action=CLOSED"]),
            ("fw: a whatever 192.0.2.1", Some("fw"), &["srcip=192.0.2.1", "action=UNKNOWN"]),
            ("fw: a nothing", Some("fw"), &[]),
            // Only the type of the decoder that was taken counts.
            ("fw: denied", Some("fw"), &["action=denied"]),
        ],
    );
    let rules = r#"<rule id="100100" level="3"><category>firewall</category><action>DROP</action></rule>
        <rule id="100101" level="2"><category>firewall</category></rule>"#;
    let rules = compiled(&inputs(rules, decoders, ""));
    assert_eq!(result(&rules, "fw: a Deny 192.0.2.1"), Some(100_100));
    assert_eq!(result(&rules, "fw: a Allow 192.0.2.1"), Some(100_101));
    assert_eq!(result(&rules, "fw: a nothing"), Some(100_101));
}

#[test]
fn the_first_decoder_that_fits_is_taken_once_and_for_all() {
    let decoders = r#"<decoder name="a"><prematch>^f: </prematch><regex offset="after_prematch">^(\d+)$</regex><order>id</order></decoder>
        <decoder name="b"><prematch>^f: x</prematch><regex offset="after_prematch">(\S+)</regex><order>id</order></decoder>"#;
    check_decoded(decoders, &[("f: 12", Some("a"), &["id=12"]), ("f: xy", Some("a"), &[])]);
}

#[test]
fn of_the_children_the_first_that_fits_is_taken_and_one_without_prematch_always_fits() {
    let decoders = r#"<decoder name="d"><prematch>^app </prematch></decoder>
        <decoder name="in"><parent>d</parent><prematch offset="after_parent">^in </prematch><regex offset="after_prematch">^(\S+)</regex><order>user</order></decoder>
        <decoder name="anywhere"><parent>d</parent><prematch>^app out</prematch><regex offset="after_parent">^(\S+)</regex><order>action</order></decoder>
        <decoder name="rest"><parent>d</parent><regex offset="after_parent">^=(\S+)</regex><order>status</order></decoder>
        <decoder name="never"><parent>d</parent><prematch>.</prematch><regex>^(\S+)</regex><order>id</order></decoder>"#;
    check_decoded(
        decoders,
        &[
            ("app in bob", Some("d"), &["dstuser=bob"]),
            ("app out bob", Some("d"), &["action=out"]),
            ("app =7", Some("d"), &["status=7"]),
            // Taken, though its expression does not fit.
            ("app up.", Some("d"), &[]),
        ],
    );
    let with_prematch_alone = r#"<decoder name="d"><prematch>^app </prematch><regex>^(\S+)</regex><order>id</order></decoder>
        <decoder name="in"><parent>d</parent><prematch>in</prematch></decoder>"#;
    // No child fits: the parent is the decoder, and its own expression is not used.
    check_decoded(with_prematch_alone, &[("app in", Some("d"), &[]), ("app out", Some("d"), &[])]);
}

#[test]
fn a_child_reports_its_parents_name_unless_it_uses_its_own_and_has_its_own_type() {
    let decoders = r#"<decoder name="d"><prematch>^app </prematch><type>ids</type></decoder>
        <decoder name="own"><parent>d</parent><use_own_name>true</use_own_name><prematch>in</prematch><type>web-log</type></decoder>
        <decoder name="plain"><parent>d</parent><prematch>out</prematch></decoder>"#;
    let rules = r#"<rule id="100100" level="3"><category>web-log</category><decoded_as>own</decoded_as></rule>
        <rule id="100101" level="3"><category>syslog</category><decoded_as>d</decoded_as></rule>
        <rule id="100102" level="3"><category>ids</category><decoded_as>d</decoded_as></rule>"#;
    let rules = compiled(&inputs(rules, decoders, ""));
    assert_eq!(result(&rules, "app in"), Some(100_100));
    assert_eq!(result(&rules, "app out"), Some(100_101));
    assert_eq!(result(&rules, "app up"), Some(100_102));
    assert_eq!(result(&rules, "other"), None);
}

#[test]
fn children_of_one_name_are_tried_in_turn() {
    let decoders = r#"<decoder name="d"><prematch>^app </prematch></decoder>
        <decoder name="k"><parent>d</parent><prematch offset="after_parent">^k </prematch><regex offset="after_prematch">^user=(\S+)</regex><order>user</order></decoder>
        <decoder name="k"><parent>d</parent><regex offset="after_regex">^ ip=(\S+)</regex><order>srcip</order></decoder>
        <decoder name="k"><parent>d</parent><regex offset="after_regex"> port=(\d+)</regex><order>srcport</order></decoder>
        <decoder name="l"><parent>d</parent><regex>^(\S+)</regex><order>extra_data</order></decoder>"#;
    check_decoded(
        decoders,
        &[
            ("app k user=bob ip=10.0.0.1 port=22", Some("d"), &["dstuser=bob", "srcip=10.0.0.1", "srcport=22"]),
            // What does not fit is passed over.
            ("app k user=bob port=22", Some("d"), &["dstuser=bob", "srcport=22"]),
            ("app k x port=22", Some("d"), &["srcport=22"]),
            // The head of the chain does not fit: none of the chain is tried.
            ("app l ip=10.0.0.1 port=22", Some("d"), &["extra_data=app"]),
        ],
    );
}

#[test]
fn a_child_of_the_name_without_an_expression_is_no_part_of_the_chain() {
    let decoders = r#"
        <decoder name="d"><prematch>^app </prematch></decoder>
        <decoder name="k"><parent>d</parent><prematch offset="after_parent">^hello</prematch></decoder>
        <decoder name="k">
          <parent>d</parent><prematch offset="after_parent">^in </prematch>
          <regex offset="after_prematch">^user=(\S+)</regex><order>user</order>
        </decoder>
        <decoder name="k"><parent>d</parent><regex offset="after_regex">ip=(\S+)</regex><order>srcip</order></decoder>"#;
    let found = ["dstuser=bob", "srcip=10.0.0.1"];
    check_decoded(decoders, &[("app in user=bob ip=10.0.0.1", Some("d"), &found), ("app hello", Some("d"), &[])]);
}

#[test]
fn children_hang_under_all_decoders_of_their_parents_name_that_stand_before_them() {
    let decoders = r#"<decoder name="d"><prematch>^one </prematch></decoder>
        <decoder name="d"><program_name>^two</program_name></decoder>
        <decoder name="k"><parent>d</parent><regex offset="after_parent">^(\S+)</regex><order>user</order></decoder>
        <decoder name="d"><prematch>^three </prematch></decoder>"#;
    check_decoded(
        decoders,
        &[
            ("one bob", Some("d"), &["dstuser=bob"]),
            ("Nov 14 10:00:00 h two: bob", Some("d"), &["dstuser=bob"]),
            ("three bob", Some("d"), &[]),
        ],
    );
}

#[test]
fn a_group_that_took_no_part_leaves_its_name_to_the_next() {
    let decoders = r#"<decoder name="d"><prematch>^f: </prematch><pcre2 offset="after_prematch">^(?:a=(\w+) )?(?:b=(\w+) )?c=(\w*)(x)?</pcre2><order>id, status, colour</order></decoder>
        <decoder name="few"><prematch>^g: </prematch><regex offset="after_prematch">(\w+) (\w+)</regex><order>id</order></decoder>"#;
    check_decoded(
        decoders,
        &[
            ("f: a=1 b=2 c=3", Some("d"), &["id=1", "status=2", "colour=3"]),
            ("f: b=2 c=3", Some("d"), &["id=2", "status=3"]),
            ("f: c=", Some("d"), &["id="]),
            ("g: 1 2", Some("few"), &["id=1"]),
        ],
    );
}

#[test]
fn plain_forms_win_over_pcre2_forms() {
    let decoders = r#"<decoder name="d"><prematch>^f: </prematch><prematch_pcre2>^g: </prematch_pcre2>
        <regex offset="after_prematch">^(\w+)</regex><pcre2>^f: \w+ (\w+)</pcre2><order>id</order></decoder>"#;
    check_decoded(decoders, &[("f: 1 2", Some("d"), &["id=1"]), ("g: 1 2", None, &[])]);
}

#[test]
fn repeated_expressions_are_joined_and_the_first_ones_offset_counts() {
    let decoders = r#"<decoder name="d"><prematch>^f</prematch><prematch>: </prematch>
        <regex offset="after_prematch">^(\w+)</regex><regex> (\w+)</regex><order>id,status</order></decoder>"#;
    check_decoded(decoders, &[("f: 1 2", Some("d"), &["id=1", "status=2"])]);
}

#[test]
fn variables_of_a_decoder_file_are_put_in() {
    let decoders = r#"<var name="WORD">(\w+)</var><var name="app">^f: </var>
        <decoder name="d"><prematch>$APP</prematch><regex offset="after_prematch">^$WORD</regex><order>id</order></decoder>"#;
    check_decoded(decoders, &[("f: 1", Some("d"), &["id=1"])]);
}

#[test]
fn a_type_that_no_rule_can_ask_for_keeps_a_line_from_all_rules() {
    let decoders = r#"<decoder name="d"><prematch>^f: </prematch><type>host-information</type></decoder>"#;
    let rules = compiled(&inputs(ANY, decoders, ""));
    assert_eq!(result(&rules, "f: 1"), None);
    assert_eq!(result(&rules, "g: 1"), Some(100_100));
}

#[test]
fn plugins_and_accumulate_are_accepted_without_effect() {
    let decoders = r#"<decoder name="pf"><program_name>^pf$</program_name><plugin_decoder>PF_Decoder</plugin_decoder><type>firewall</type></decoder>
        <decoder name="s"><program_name>^slapd</program_name><accumulate/></decoder>"#;
    check_decoded(
        decoders,
        &[("Nov 14 10:00:00 h pf: x", Some("pf"), &[]), ("Nov 14 10:00:00 h slapd: x", Some("s"), &[])],
    );
}

#[test]
fn decoder_files_are_refused_where_ossec_refuses_them() {
    let refused = [
        r#"<decoder name="d"><prematch>^f: </prematch><regex>^(\w+)</regex></decoder>"#,
        r#"<decoder name="d"><regex>^(\w+)</regex><order>user</order></decoder>"#,
        r#"<decoder name="d"><prematch>^f: </prematch><order>user</order></decoder>"#,
        r#"<decoder name="d"><prematch>^f: </prematch><type>magic</type></decoder>"#,
        r#"<decoder name="d"><prematch>^f: </prematch><fts>name</fts></decoder>"#,
        r#"<decoder name="d"><prematch>^f: </prematch><colour>red</colour></decoder>"#,
        r#"<decoder name="d" id="1"><prematch>^f: </prematch></decoder>"#,
        r#"<decoder><prematch>^f: </prematch></decoder>"#,
        r#"<decoder name="d"><prematch>(</prematch></decoder>"#,
        r#"<decoder name="d"><prematch></prematch></decoder>"#,
        r#"<decoder name="k"><parent>d</parent></decoder><decoder name="d"><prematch>^f: </prematch></decoder>"#,
        r#"<decoder name="a"><prematch>x</prematch></decoder><decoder name="b"><parent>a</parent></decoder><decoder name="c"><parent>b</parent></decoder>"#,
        r#"<decoder name="d"><prematch>$NONE x</prematch></decoder><var name="N">x</var><decoder name="e"><prematch>$NONE x</prematch></decoder>"#,
    ];
    for decoders in refused {
        let checked = check_inputs(&inputs(ANY, decoders, ""), &Settings::default(), Orphans::Error);
        assert!(checked.rules.is_none(), "{decoders}");
        assert!(checked.findings.iter().any(|finding| finding.severity == Severity::Error), "{decoders}");
    }
}

#[test]
fn a_text_of_a_decoder_may_be_longer_than_one_of_a_rule() {
    let alternatives = "x".repeat(2500);
    let decoder = |element: &str| format!(r#"<decoder name="d"><{element}>^f: |{alternatives}</{element}></decoder>"#);
    let accepted = |element| {
        check_inputs(&inputs(ANY, &decoder(element), ""), &Settings::default(), Orphans::Error).rules.is_some()
    };
    assert!(accepted("prematch_pcre2"));
    // OS_Regex has its own bound.
    assert!(!accepted("prematch"));
}

#[test]
fn without_a_decoder_of_that_name_the_built_in_one_tells_lines_of_collectors() {
    let rules = CompileInputs::of_rules(&[file("rules.xml", &format!("<group name=\"local,\">{ANY}</group>"))]);
    let only_other = CompileInputs {
        decoders: vec![file("d.xml", r#"<decoder name="d"><prematch>^f: </prematch></decoder>"#)],
        ..rules.clone()
    };
    for inputs in [rules, only_other] {
        let rules = compiled(&inputs);
        let line = log_line("manager", None, b"Ossec: agent started");
        assert_eq!(judged(&rules, &line).lines[0].verdict, Verdict::Silent(500));
    }
}

#[test]
fn an_alert_shows_the_whole_line_and_rules_see_what_follows_the_header() {
    let rule = "<rule id=\"100100\" level=\"3\"><match>^hello$</match><program_name>^sshd$</program_name><hostname>^db1$</hostname></rule>";
    let rules = compiled(&inputs(rule, "", ""));
    let text = "Nov 14 10:00:00 db1 sshd[7]: hello";
    let decision = judged(&rules, &log_line("manager", None, format!("{text}\r\n").as_bytes()));
    assert_eq!(decision.lines[0].text, b"hello");
    assert_eq!(decision.alerts[0].full_log, text);
    let told = decision.lines[0].decoded.clone().expect("a log line is decoded");
    assert_eq!((told.hostname.as_str(), told.program_name.as_deref()), ("db1", Some("sshd")));
}

#[test]
fn a_host_is_the_whole_location_for_an_agent_and_the_machines_short_name_otherwise() {
    let rules = compiled(&inputs(ANY, "", ""));
    let host = |agent, address| {
        let decision = judged(&rules, &log_line(agent, address, b"Nov 14 10:00:00 db1 app: x"));
        decision.lines[0].decoded.clone().expect("a log line is decoded").hostname
    };
    assert_eq!(host("web1", Some("10.0.0.1")), "(web1) 10.0.0.1->/var/log/x");
    assert_eq!(host("web1.example.org", None), "db1");
    let decision = judged(&rules, &log_line("web1.example.org", None, b"x"));
    assert_eq!(decision.lines[0].decoded.as_ref().map(|told| told.hostname.as_str()), Some("web1"));
}

#[test]
fn the_host_of_a_commands_output_is_its_location_or_the_agents_short_name() {
    let rules = r#"<rule id="100100" level="3"><if_sid>530</if_sid><hostname>^(web1.example.org) 10.0.0.1->df -P$</hostname></rule>
        <rule id="100101" level="3"><if_sid>530</if_sid><hostname_pcre2>^web1$</hostname_pcre2></rule>
        <rule id="100102" level="3"><if_sid>530</if_sid><program_name>.</program_name></rule>"#;
    let rules = compiled(&inputs(rules, "", ""));
    let result = |address: Option<&str>| {
        let event = Event::Output(Run {
            id: RunId { spool: uuid::Uuid::nil(), sequence: 1 },
            key: Key::new("web1.example.org", "df -P").expect("a good key"),
            address: address.map(str::to_owned),
            command_line: "df -P".to_owned(),
            alias: None,
            format: Format::FullCommand,
            started: Timestamp::UNIX_EPOCH,
            duration_ms: 1,
            start_delay_ms: None,
            ending: Ending::Exited(0),
            truncated_from: None,
            stderr_tail: Vec::new(),
            collector: "test".to_owned(),
            output: b"Nov 14 10:00:00 db1 app: x\n".to_vec(),
        });
        let (body, append_time) = (Body::Event(&event), Timestamp::UNIX_EPOCH);
        let input = Input { body, append_time, source: None, overtaken: false, duplicate_agent: None };
        let decision = rules.explain(&input, &MemoryState::default()).expect("memory can be read");
        assert_eq!(decision.lines[0].decoded, None);
        decision.alerts.first().map(|alert| alert.rule.id.clone())
    };
    assert_eq!(result(Some("10.0.0.1")).as_deref(), Some("100100"));
    assert_eq!(result(None).as_deref(), Some("100101"));
}

#[test]
fn line_breaks_stay_but_for_the_last_and_cr_lf_is_lf() {
    let rules = compiled(&inputs(ANY, "", ""));
    let seen = |text: &[u8]| judged(&rules, &log_line("manager", None, text)).lines[0].text.clone();
    let cases: [(&[u8], &[u8]); 7] = [
        (b"a\tb\x01", b"a\tb\x01"),
        (b"a\n", b"a"),
        (b"a\r\n", b"a"),
        (b"a\r", b"a\r"),
        (b"a\r\nb\r\n\r\n", b"a\nb\n"),
        (b"\n", b""),
        (b"a\nb\n\n", b"a\nb\n"),
    ];
    for (text, expected) in cases {
        assert_eq!(seen(text), expected, "{}", text.escape_ascii());
    }
}

const WEB: &str = r#"<decoder name="web"><prematch>^web: </prematch></decoder>
    <decoder name="web-fields"><parent>web</parent>
      <regex offset="after_parent">^user=(\S*) ip=(\S+) to=(\S+) port=(\S+) id=(\S+) action=(\S+) url=(\S+) cpu=(\S+)</regex>
      <order>user, srcip, dstip, dstport, id, action, url, Cpu</order></decoder>
    <decoder name="src"><prematch>^src: </prematch><regex offset="after_prematch">^(\S+) (\S+)</regex><order>srcuser, data</order></decoder>"#;

const LINE: &str = "web: user=Bob ip=10.1.2.3 to=192.168.0.9 port=8080 id=77 action=GET url=/a/b.php cpu=95";

/// Conditions of one rule, and whether [`LINE`] fulfils them.
fn check_conditions(cases: &[(&str, bool)], list: &str) {
    for (conditions, holds) in cases {
        let rule = format!("<rule id=\"100100\" level=\"3\">{conditions}</rule>");
        let rules = compiled(&inputs(&rule, WEB, list));
        assert_eq!(result(&rules, LINE).is_some(), *holds, "{conditions}");
    }
}

#[test]
fn conditions_on_fields_hold_as_in_ossec() {
    check_conditions(
        &[
            ("<user>^bob$</user>", true),
            ("<user>^bo$|^bob$</user>", true),
            ("<user>bo</user><user>b</user>", true),
            ("<user_pcre2>^b\\w{2}$</user_pcre2>", true),
            ("<user_pcre2>(?-i)^b</user_pcre2>", false),
            ("<user>bob</user><user_pcre2>eve</user_pcre2>", true),
            ("<url>.php$</url><url_pcre2>^/a</url_pcre2>", true),
            ("<url>.php$</url><url_pcre2>^/b</url_pcre2>", false),
            ("<dstport>80</dstport>", true),
            ("<dstport>^80$</dstport>", false),
            ("<dstport_pcre2>^80\\d0$</dstport_pcre2>", true),
            ("<id>^77$|^78$</id>", true),
            ("<id_pcre2>^7+$</id_pcre2>", true),
            ("<action>GET</action>", true),
            ("<action>GE</action><action>T</action>", true),
            ("<action>get</action>", false),
            ("<action>GET|PUT</action>", false),
            ("<field name=\"cpu\">^9\\d</field>", true),
            ("<field name=\"CPU\">^9\\d</field><field name=\"cpu\">^8</field>", false),
            ("<srcip>10.1.0.0/16</srcip>", true),
            ("<srcip>10.2.0.0/16</srcip><srcip>10.1.2.3</srcip>", true),
            ("<srcip>!10.1.2.3</srcip>", false),
            ("<srcip>!10.1.2.4</srcip><dstip>192.168.0.0/24</dstip>", true),
            ("<dstip>any</dstip>", true),
            // What the line has not fulfils nothing.
            ("<srcport>.</srcport>", false),
            ("<status_pcre2>^</status_pcre2>", false),
            ("<extra_data></extra_data>", false),
            ("<program_name></program_name>", false),
            ("<field name=\"mem\">\\.</field>", false),
            ("<srcgeoip>Austria</srcgeoip>", false),
            ("<dstgeoip_pcre2>.</dstgeoip_pcre2>", false),
        ],
        "",
    );
}

#[test]
fn a_missing_user_is_the_other_one_and_an_address_that_is_none_is_never_covered() {
    let rules = r#"<rule id="100100" level="4"><user>root</user></rule><rule id="100101" level="3"><srcip>!10.0.0.1</srcip></rule>
        <rule id="100102" level="5"><extra_data>^x$</extra_data></rule>"#;
    let rules = compiled(&inputs(rules, WEB, ""));
    assert_eq!(result(&rules, "src: root y"), Some(100_100));
    assert_eq!(result(&rules, "src: bob x"), Some(100_102));
    assert_eq!(result(&rules, &LINE.replace("10.1.2.3", "host")), None);
    assert_eq!(result(&rules, LINE), Some(100_101));
}

#[test]
fn lists_are_looked_up_as_in_ossec() {
    let list = "Bob:admin\n10.1.:internal\n192.168.0.9:bad host\n/a/b.php:\n";
    let element = |field: &str, lookup: &str, value: &str| {
        format!("<list field=\"{field}\" lookup=\"{lookup}\"{value}>lists/users</list>")
    };
    let cases = [
        (element("user", "match_key", ""), true),
        (element("id", "match_key", ""), false),
        (element("user", "not_match_key", ""), false),
        (element("id", "not_match_key", ""), true),
        (element("user", "match_key_value", " check_value=\"^ADM\""), true),
        (element("user", "match_key_value", " check_value=\"^staff\""), false),
        (element("url", "match_key_value", " check_value=\"^$\""), true),
        (element("srcip", "address_match_key", ""), true),
        (element("srcip", "match_key", ""), false),
        (element("dstip", "address_match_key", ""), true),
        (element("dstip", "not_address_match_key", ""), false),
        (element("dstport", "not_address_match_key", ""), true),
        // Inverted.
        (element("srcip", "address_match_key_value", " check_value=\"internal\""), false),
        (element("srcip", "address_match_key_value", " check_value=\"external\""), true),
        (element("dstport", "address_match_key_value", " check_value=\"x\""), true),
        // A field that the line has not, a list that is not known.
        (element("status", "not_match_key", ""), false),
        (element("user", "match_key", "").replace("users", "other"), false),
        (element("user", "not_match_key", "").replace("users", "other"), false),
        // The name of the compiled form, and no lookup.
        ("<list field=\"user\">lists/users.cdb</list>".to_owned(), true),
        ("<list field=\"action\">lists/users</list>".to_owned(), false),
        // All of several must hold: the first of three as well.
        (
            element("id", "match_key", "")
                + &element("user", "match_key", "")
                + &element("srcip", "address_match_key", ""),
            false,
        ),
    ];
    check_conditions(&cases.each_ref().map(|(conditions, holds)| (conditions.as_str(), *holds)), list);
}

#[test]
fn the_user_of_a_list_is_the_one_who_does_something() {
    let decoders = r#"<decoder name="d"><prematch>^f: </prematch><regex offset="after_prematch">^(\S+) (\S+)</regex><order>srcuser, dstuser</order></decoder>"#;
    let rules = r#"<rule id="100100" level="3"><list field="user">lists/users</list></rule><rule id="100101" level="3"><user>^eve$</user></rule>"#;
    let rules = compiled(&inputs(rules, decoders, "bob:\n"));
    assert_eq!(result(&rules, "f: bob x"), Some(100_100));
    assert_eq!(result(&rules, "f: x bob"), None);
    assert_eq!(result(&rules, "f: x eve"), Some(100_101));
}

#[test]
fn a_repeated_line_is_judged_again() {
    let rules = compiled(&inputs(ANY, "", ""));
    assert_eq!(result(&rules, "a1"), Some(100_100));
    assert_eq!(result(&rules, "a1"), Some(100_100));
}

#[test]
fn the_digest_covers_decoders_and_lists() {
    let base = inputs(ANY, "", "a:b\n");
    let digest = |inputs: &CompileInputs| *compiled(inputs).digest();
    let mut others = vec![
        inputs(ANY, "<decoder name=\"d\"><prematch>x</prematch></decoder>", "a:b\n"),
        inputs(ANY, "", "a:c\n"),
        CompileInputs { decoders: Vec::new(), ..base.clone() },
        CompileInputs { lists: Vec::new(), ..base.clone() },
        CompileInputs { lists: vec![("lists/other".to_owned(), base.lists[0].1.clone())], ..base.clone() },
    ];
    others.push(base.clone());
    let digests: std::collections::BTreeSet<_> = others.iter().map(digest).collect();
    assert_eq!(digests.len(), others.len());
    let compiled_name =
        CompileInputs { lists: vec![("lists/users.cdb".to_owned(), base.lists[0].1.clone())], ..base.clone() };
    assert_eq!(digest(&compiled_name), digest(&base));
}

proptest! {
    #[test]
    fn any_bytes_are_decoded(text in proptest::collection::vec(any::<u8>(), 0..80), dated in any::<bool>()) {
        let rules = compiled(&inputs(ANY, WEB, ""));
        let text = if dated { [b"Nov 14 10:00:00 h web: web: ", &text[..]].concat() } else { text };
        let decision = judged(&rules, &log_line("manager", None, &text));
        prop_assert_eq!(decision.lines.len(), 1);
    }

    #[test]
    fn any_decoder_file_is_read_or_refused(text in "(<decoder name=\"[a-c]\">(<(parent|prematch|pcre2|order|fts|type)( offset=\"after_(parent|regex)\")?>[a-c(), ]{0,6}</(parent|prematch|pcre2|order|fts|type)>){0,5}(</decoder>)?){0,4}") {
        let inputs = CompileInputs { decoders: vec![file("d.xml", &text)], ..inputs(ANY, "", "") };
        let checked = check_inputs(&inputs, &Settings::default(), Orphans::Error);
        if let Some(rules) = checked.rules {
            for line in ["a b c", "ab", ""] {
                judged(&rules, &log_line("manager", None, line.as_bytes()));
            }
        }
    }
}
