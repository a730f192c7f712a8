//! What rule files become.

use super::*;
use crate::finding::Severity;
use crate::ruleset::{RuleIndex, Test};
use crate::xml::tests::rubbish;
use proptest::prelude::*;

#[track_caller]
fn compiled(texts: &[&str]) -> RuleSet {
    let files = files(texts);
    match compile(&files, &Settings::default()) {
        Ok(rules) => rules,
        Err(findings) => panic!("{}", crate::finding::render(&findings, &files)),
    }
}

fn files(texts: &[&str]) -> Vec<SourceFile> {
    let file = |(text, at): (&&str, u32)| SourceFile { name: format!("{at}.xml"), text: text.as_bytes().to_vec() };
    texts.iter().zip(0..).map(file).collect()
}

fn codes_of(texts: &[&str]) -> Vec<&'static str> {
    check(&files(texts), &Settings::default(), Orphans::Error).findings.iter().map(|finding| finding.code).collect()
}

/// A rule with a description; `attributes` and `elements` go into it.
fn rule(id: u32, attributes: &str, elements: &str) -> String {
    format!("<rule id=\"{id}\" {attributes}>{elements}<description>D.</description></rule>")
}

fn group(rules: &[String]) -> String {
    format!("<group name=\"local,\">{}</group>", rules.concat())
}

/// The tree below a rule, children in the order they are tried: `500(530(100100))`.
fn tree(rules: &RuleSet, id: u32) -> String {
    fn write(rules: &RuleSet, at: RuleIndex) -> String {
        let rule = &rules.rules[at.0 as usize];
        let children: Vec<_> = rule.children.iter().map(|child| write(rules, *child)).collect();
        if children.is_empty() { rule.id.to_string() } else { format!("{}({})", rule.id, children.join(" ")) }
    }
    write(rules, rules.by_id[&id])
}

fn of(rules: &RuleSet, id: u32) -> &crate::ruleset::Rule {
    &rules.rules[rules.by_id[&id].0 as usize]
}

#[test]
fn the_built_in_rules_have_no_findings_and_stand_where_everything_hangs() {
    let rules = compiled(&[&group(&[rule(100_100, "level=\"5\"", "<match>x</match>")])]);
    assert_eq!(rules.findings(), []);
    assert_eq!(
        rules.roots.iter().map(|root| rules.rules[root.0 as usize].id).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7]
    );
    assert_eq!(tree(&rules, 7), "7(500(530) 990000)");
    assert_eq!(tree(&rules, 1), "1(100100)");
    assert_eq!(of(&rules, 530).groups, ["ossec", "process_monitor"]);
    assert_eq!(rules.rule_count(), 11);
}

#[test]
fn siblings_are_tried_silent_first_then_by_level_then_in_load_order() {
    let child = |id, level: u32| rule(id, &format!("level=\"{level}\""), "<if_sid>530</if_sid>");
    let rules = compiled(&[
        &group(&[child(100_101, 3), child(100_102, 0), child(100_103, 12)]),
        &group(&[child(100_104, 3), child(100_105, 0), child(100_106, 100)]),
    ]);
    assert_eq!(tree(&rules, 530), "530(100106 100102 100105 100103 100101 100104)");
}

#[test]
fn parents_may_stand_behind_their_children_and_in_later_files() {
    let rules = compiled(&[
        &group(&[
            rule(100_102, "level=\"5\"", "<if_sid>100101</if_sid>"),
            rule(100_101, "level=\"5\"", "<if_sid>100100</if_sid>"),
        ]),
        &group(&[rule(100_100, "level=\"5\"", "<if_sid>530</if_sid>")]),
    ]);
    assert_eq!(tree(&rules, 530), "530(100100(100101(100102)))");
}

#[test]
fn a_rule_with_several_parents_hangs_under_each() {
    let rules = compiled(&[&group(&[
        rule(100_100, "level=\"3\"", "<if_sid>530</if_sid>"),
        rule(100_200, "level=\"4\"", "<if_sid>530</if_sid>"),
        rule(100_300, "level=\"5\"", "<if_sid>100100,  100200 100100</if_sid>"),
        rule(100_301, "level=\"5\"", "<if_sid>100300</if_sid>"),
    ])]);
    assert_eq!(tree(&rules, 530), "530(100200(100300(100301)) 100100(100300(100301)))");
}

#[test]
fn repeated_if_sid_elements_are_joined_as_any_text() {
    let rules = compiled(&[&group(&[
        rule(100_100, "level=\"3\"", "<if_sid>5</if_sid><if_sid>30</if_sid>"),
        rule(100_101, "level=\"3\"", "<if_sid>530,</if_sid><if_sid>100100</if_sid>"),
    ])]);
    assert_eq!(tree(&rules, 530), "530(100100(100101) 100101)");
}

#[test]
fn an_empty_id_in_if_sid_hangs_the_rule_under_its_categorys_root_too() {
    let rules = compiled(&[&group(&[
        rule(100_100, "level=\"3\"", "<if_sid>530,</if_sid>"),
        rule(100_101, "level=\"3\"", "<if_sid>1 </if_sid>"),
    ])]);
    assert_eq!(tree(&rules, 530), "530(100100)");
    assert_eq!(tree(&rules, 1), "1(100100 100101)");
}

#[test]
fn rules_without_if_sid_hang_under_the_root_of_their_category() {
    let rules = compiled(&[&group(&[
        rule(100_100, "level=\"3\"", "<category>web-log</category>"),
        rule(100_101, "level=\"3\"", "<match>x</match>"),
    ])]);
    assert_eq!(tree(&rules, 4), "4(100100)");
    assert_eq!(tree(&rules, 1), "1(100101)");
}

#[test]
fn ids_below_ten_are_roots_in_their_order_of_level() {
    let rules = compiled(&[&group(&[rule(8, "level=\"4\"", "<match>x</match>")])]);
    let roots: Vec<_> = rules.roots.iter().map(|root| rules.rules[root.0 as usize].id).collect();
    assert_eq!(roots, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(matches!(of(&rules, 8).conditions[0].test, Test::Category(crate::ruleset::Category::Syslog)));
}

#[test]
fn a_file_replaces_built_in_rules() {
    let own = rule(530, "level=\"2\"", "<if_sid>500</if_sid><match>^wazuh: output: </match>");
    let rules = compiled(&[&group(&[own, rule(100_100, "level=\"3\"", "<if_sid>530</if_sid>")])]);
    assert_eq!(tree(&rules, 7), "7(500(530(100100)) 990000)");
    assert_eq!(of(&rules, 530).level, 2);
    assert_eq!(rules.rule_count(), 11);
}

#[test]
fn conditions_are_tested_in_one_order_however_they_are_written() {
    let rules = compiled(&[&group(&[rule(
        100_100,
        "level=\"3\"",
        "<check_diff/><regex>b</regex><match>a</match><decoded_as>ossec</decoded_as><category>ids</category>",
    )])]);
    let names: Vec<_> = of(&rules, 100_100).conditions.iter().map(|condition| condition.test.name()).collect();
    assert_eq!(names, ["decoded_as", "match", "regex"]);
    assert!(of(&rules, 100_100).check_diff.is_some());
}

#[test]
fn repeated_patterns_are_joined_with_nothing_between() {
    let rules = compiled(&[&group(&[rule(100_100, "level=\"3\"", "<match>alp</match><match>ha|b</match>")])]);
    let [condition] = &of(&rules, 100_100).conditions[..] else { panic!("one condition") };
    let Test::Match(pattern) = &condition.test else { panic!("a match") };
    assert!(pattern.is_match(b"alpha") && pattern.is_match(b"b") && !pattern.is_match(b"alp ha"));
}

#[test]
fn texts_are_kept_as_written_but_for_the_first_line_break_of_a_description() {
    let text = "<group name=\"a, b,\"><rule id=\"100100\" level=\"3\"><match>x</match><group>c,</group><group> d</group>\
                <description>one </description><description>two\nthree\nfour</description></rule></group>";
    let rules = compiled(&[text]);
    let rule = of(&rules, 100_100);
    assert_eq!(rule.description.as_deref(), Some("one two three\nfour"));
    assert_eq!(rule.group_text, "a, b,c, d");
    assert_eq!(rule.groups, ["a", "b", "c", "d"]);
}

#[test]
fn a_text_of_another_encoding_that_is_only_shown_refuses_no_rule() {
    let var = "<var name=\"DISK\">df -P</var>";
    let text = format!("{var}{}", group(&[rule(100_100, "level=\"5\"", "<match>x</match><info>? $DISK?</info>")]))
        .replace("D.", "Ger?t: $DISK");
    let latin_1 = text.bytes().map(|byte| if byte == b'?' { 0xe4 } else { byte }).collect();
    let file = SourceFile { name: "0.xml".to_owned(), text: latin_1 };
    let checked = check(&[file], &Settings::default(), Orphans::Error);
    let findings: Vec<_> = checked.findings.iter().map(|finding| (finding.code, finding.severity)).collect();
    assert_eq!(findings, [("TL0022", Severity::Warning), ("TL0022", Severity::Warning)]);
    let rules = checked.rules.expect("no errors");
    assert_eq!(of(&rules, 100_100).description.as_deref(), Some("Ger\u{FFFD}t: df -P"));
}

#[test]
fn options_override_levels_and_later_ones_win() {
    let check = |level: u32, options: &[&str]| {
        let options: String = options.iter().map(|option| format!("<options>{option}</options>")).collect();
        let rules =
            compiled(&[&group(&[rule(100_100, &format!("level=\"{level}\""), &(options + "<match>x</match>"))])]);
        (of(&rules, 100_100).log, of(&rules, 100_100).mail)
    };
    assert_eq!(check(1, &[]), (true, false));
    assert_eq!(check(7, &[]), (true, true));
    assert_eq!(check(7, &["no_email_alert"]), (true, false));
    assert_eq!(check(1, &["alert_by_email"]), (true, true));
    assert_eq!(check(1, &["no_email_alert", "alert_by_email", "no_ar"]), (true, true));
    assert_eq!(check(7, &["no_log"]), (false, false), "what is not logged is not mailed");
    assert_eq!(check(7, &["no_log", "log_alert"]), (true, true));
    assert_eq!(check(0, &["log_alert", "alert_by_email"]), (false, false), "level 0 is silent whatever options say");
}

#[test]
fn levels_of_logging_and_mail_come_from_the_settings() {
    let files = files(&[&group(&[rule(100_100, "level=\"3\"", "<match>x</match>")])]);
    let settings = Settings { log_alert_level: 4, email_alert_level: 3, ..Settings::default() };
    let rules = compile(&files, &settings).expect("a good rule");
    assert_eq!((of(&rules, 100_100).log, of(&rules, 100_100).mail), (false, false));
}

#[test]
fn numbers_are_read_as_ossec_reads_them() {
    let rules =
        compiled(&[&group(&[rule(1_234_567, "level=\"00016\" ignore=\"1000000\" noalert=\"0\"", "<match>x</match>")])]);
    let rule = of(&rules, 123_456);
    assert_eq!((rule.level, rule.ignore_seconds, rule.noalert), (1, 100_000, true));
    let codes: Vec<_> = rules.findings().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["TL0305", "TL0305", "TL0305", "TL0311"]);
}

#[test]
fn variables_hold_from_their_definition_on_in_one_file() {
    let with = |text: &str| {
        let rules = compiled(&[&format!(
            "<var name=\"Cmd\">uptime</var><var name=\"BOTH\">$CMD|w</var>{}",
            group(&[rule(100_100, "level=\"3\"", &format!("<match>{text}</match>"))])
        )]);
        let Test::Match(pattern) = &of(&rules, 100_100).conditions[0].test else { panic!("a match") };
        pattern.clone()
    };
    assert!(with("output: $cmd now").is_match(b"output: uptime now"));
    assert!(with("^$CMD$").is_match(b"uptime"));
    assert!(with("x$CMD.y").is_match(b"xuptime.y"));
    assert!(with("^$BOTH").is_match(b"w"));
    assert!(with("$Cmd$Cmd").is_match(b"uptimeuptime"));
    assert!(with("cost$").is_match(b"cost"));
    let level = format!("<var name=\"LEV\">9</var>{}", group(&[rule(100_100, "level=\"$LEV\"", "<match>x</match>")]));
    assert_eq!(of(&compiled(&[&level]), 100_100).level, 9);
    assert_eq!(codes_of(&[&level.replace("LEV", "L")]), ["TL0304"], "two bytes are not searched");
    assert_eq!(codes_of(&[&level, &group(&[rule(100_101, "level=\"3\"", "<match>$LEV</match>")])]), [""; 0]);
}

#[test]
fn variables_that_double_themselves_stay_bounded() {
    let mut text = "<var name=\"V0\">0123456789</var>".to_owned();
    for i in 1..200 {
        text += &format!("<var name=\"V{i}\">$V{0}$V{0}</var>", i - 1);
    }
    text += &group(&[rule(100_100, "level=\"3\"", "<match>$V199</match>")]);
    assert!(codes_of(&[&text]).iter().all(|code| *code == "TL0012"));
}

#[test]
fn a_text_may_have_2047_bytes() {
    let of_length = |n: usize| group(&[rule(100_100, "level=\"3\"", &format!("<match>{}</match>", "a".repeat(n)))]);
    compiled(&[&of_length(2047)]);
    assert_eq!(codes_of(&[&of_length(2048)]), ["TL0012"]);
}

#[test]
fn orphans_are_set_aside_when_asked_with_all_that_hangs_under_them() {
    let files = files(&[&group(&[
        rule(100_102, "level=\"3\"", "<if_sid>100101</if_sid>"),
        rule(100_101, "level=\"3\"", "<if_sid>100100</if_sid>"),
        rule(100_100, "level=\"3\"", "<if_sid>999</if_sid>"),
        rule(100_103, "level=\"3\"", "<if_sid>100102, 530</if_sid>"),
        rule(100_104, "level=\"3\"", "<if_sid>100103</if_sid>"),
    ])]);
    assert!(check(&files, &Settings::default(), Orphans::Error).rules.is_none());
    let checked = check(&files, &Settings::default(), Orphans::SetAside);
    let rules = checked.rules.expect("the rest can be used");
    assert_eq!(tree(&rules, 530), "530(100103(100104))");
    assert_eq!(rules.rule_count(), 12);
    let about: Vec<_> = checked.findings.iter().map(|finding| (finding.code, finding.rule)).collect();
    assert_eq!(about, [100_102, 100_101, 100_100, 100_103].map(|id| ("TL0204", Some(id))));
}

#[test]
fn all_mistakes_of_all_files_come_in_one_run_in_the_order_of_places() {
    let bad = "<group name=\"a,\"><rule id=\"100100\" level=\"x\"><if_sid>77</if_sid><mach>x</mach></rule></group>";
    let files = files(&[bad, "<group", bad]);
    let findings = compile(&files, &Settings::default()).expect_err("all is wrong");
    let places: Vec<_> =
        findings.iter().filter_map(|finding| finding.span).map(|span| (span.file, span.start)).collect();
    assert!(places.is_sorted(), "{places:?}");
    let codes: Vec<_> = findings.iter().map(|finding| (finding.span.map(|span| span.file), finding.code)).collect();
    for expected in [(0, "TL0201"), (0, "TL0301"), (0, "TL0304"), (1, "TL0004"), (2, "TL0101"), (2, "TL0304")] {
        assert!(codes.contains(&(Some(expected.0), expected.1)), "{expected:?} not in {codes:?}");
    }
}

#[test]
fn no_files_and_files_without_rules_are_refused() {
    assert_eq!(codes_of(&[]), ["TL0104"]);
    assert_eq!(codes_of(&["", "<var name=\"A\">b</var>"]), ["TL0104", "TL0106", "TL0106"]);
}

#[test]
fn the_digest_names_contents_and_settings_and_nothing_else() {
    let text = group(&[rule(100_100, "level=\"3\"", "<match>x</match>")]);
    let other = group(&[rule(100_101, "level=\"3\"", "<match>x</match>")]);
    let digest =
        |texts: &[&str], settings: &Settings| compile(&files(texts), settings).expect("good rules").digest_hex();
    let settings = Settings::default();
    let first = digest(&[&text], &settings);
    assert_eq!(first.len(), 64);
    let mut renamed = files(&[&text]);
    renamed[0].name = "elsewhere.xml".to_owned();
    assert_eq!(compile(&renamed, &settings).expect("good rules").digest_hex(), first);
    assert_eq!(digest(&[&text], &Settings { application_id: "other".to_owned(), ..settings.clone() }), first);
    let all = [
        first,
        digest(&[&text, &other], &settings),
        digest(&[&other, &text], &settings),
        digest(&[&format!("{text}{other}")], &settings),
        digest(&[&text, ""], &settings),
        digest(&[&format!("{text} ")], &settings),
        digest(&[&text], &Settings { log_alert_level: 2, ..settings.clone() }),
        digest(&[&text], &Settings { email_alert_level: 2, ..settings.clone() }),
        digest(&[&text], &Settings { alert_text_bytes_max: 2, ..settings.clone() }),
        digest(&[&text], &Settings { clock_skew_seconds_max: 2, ..settings.clone() }),
        digest(&[&text], &Settings { late_after_seconds: 2, ..settings.clone() }),
        digest(&[&text], &Settings { time_zone: Some("UTC".to_owned()), ..settings.clone() }),
        check(&files(&[&text]), &settings, Orphans::SetAside).rules.expect("good rules").digest_hex(),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn a_rule_says_where_it_stands_and_what_it_is() {
    let text = group(&[rule(100_100, "level=\"3\"", "<if_sid>530</if_sid><match>x</match>")]);
    let rules = compiled(&[&text]);
    let info = rules.rule(100_100).expect("the rule");
    assert_eq!((info.level, info.description, info.groups), (3, Some("D."), &["local".to_owned()][..]));
    let shown = |span: Span| &text[span.start as usize..span.end as usize];
    assert_eq!(shown(info.span), "<rule id=\"100100\" level=\"3\">");
    assert_eq!(rules.rules().last().map(|rule| rule.id), Some(100_100));
}

#[test]
fn a_name_is_meant_that_is_alike_or_ends_alike() {
    let meant = |word| suggest(word, element_names());
    for (word, name) in [
        ("mtach", "match"),
        ("exit_code", "run_exit_code"),
        ("Duration", "run_duration"),
        ("output_size", "run_output_size"),
        ("late", "run_late"),
        ("source_ip", "same_source_ip"),
        ("sid", "if_sid"),
    ] {
        assert_eq!(meant(word), Some(name), "{word}");
    }
    assert_eq!((meant(""), meant("code_exit"), meant("xyz")), (None, None, None));
    // What says the opposite is not meant, however alike it is.
    assert_eq!(suggest("email_alert", ["no_email_alert"].into_iter()), None);
}

#[test]
fn every_element_of_the_table_stands_in_it_once() {
    let mut names: Vec<_> = elements::ELEMENTS.iter().map(|kind| kind.name).collect();
    names.sort_unstable();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
}

#[test]
fn thousands_of_orphans_in_the_worst_order_take_no_time_to_speak_of() {
    // Each rule's parent stands behind it, and the last one's is missing.
    let chain: Vec<_> =
        (0..5_000).map(|n| rule(100_000 + n, "level=\"3\"", &format!("<if_sid>{}</if_sid>", 100_001 + n))).collect();
    let checked = check(&files(&[&group(&chain)]), &Settings::default(), Orphans::SetAside);
    assert_eq!(checked.rules.map(|rules| rules.rule_count()), Some(10));
    // All as one circle.
    let closed = [chain, vec![rule(105_000, "level=\"3\"", "<if_sid>100000</if_sid>")]].concat();
    assert_eq!(codes_of(&[&group(&closed)]), ["TL0202"]);
}

proptest! {
    #[test]
    fn any_bytes_are_rules_or_findings(text in rubbish()) {
        let files = [SourceFile { name: "a.xml".to_owned(), text }];
        for orphans in [Orphans::Error, Orphans::SetAside] {
            let checked = check(&files, &Settings::default(), orphans);
            let errors = checked.findings.iter().any(|finding| finding.severity == Severity::Error);
            prop_assert_eq!(checked.rules.is_none(), errors);
            let text = crate::finding::render(&checked.findings, &files);
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
            crate::finding::to_json(&checked.findings, &files, checked.rule_count);
        }
    }
}

#[test]
fn findings_of_one_file_are_bounded_and_no_error_is_lost_by_that() {
    let silent: String =
        (0..600).map(|n| format!("<rule id=\"{}\" level=\"99\"><match>x</match></rule>", 100_000 + n)).collect();
    let warnings = format!("<group name=\"a,\">{silent}</group>");
    let checked = check(&files(&[&warnings]), &Settings::default(), Orphans::Error);
    assert_eq!(checked.findings.len(), crate::finding::FINDINGS_PER_FILE_MAX + 1);
    assert!(checked.rules.is_some());
    let with_error = warnings + &group(&[rule(100_000, "level=\"1\"", "<mach>x</mach>")]);
    let checked = check(&files(&[&with_error]), &Settings::default(), Orphans::Error);
    assert!(checked.rules.is_none());
    // It is among what is said, behind all the warnings.
    let errors = checked.findings.iter().filter(|finding| finding.severity == Severity::Error);
    assert_eq!(errors.map(|finding| finding.code).collect::<Vec<_>>(), ["TL0101", "TL0301"]);
    let many_errors = group(&[rule(100_000, "level=\"1\"", &"<mach>x</mach>".repeat(600))]);
    let checked = check(&files(&[&many_errors]), &Settings::default(), Orphans::Error);
    assert_eq!(checked.findings.len(), crate::finding::FINDINGS_PER_FILE_MAX + 1);
    let last = checked.findings.iter().find(|finding| finding.code == "TL0013").expect("the bound is told");
    assert_eq!(last.severity, Severity::Error);
}
