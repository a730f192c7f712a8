//! Rules that can't be loaded.

use super::{Place, SETTINGS, common, ticks};

/// Six files, each with mistakes of its own.
fn broken() -> Place {
    let rule = |id: &str, body: &str| {
        format!("  <rule id=\"{id}\" level=\"3\">\n{body}\n    <description>d</description>\n  </rule>\n")
    };
    let group = |rules: &[String]| format!("<group name=\"g,\">\n{}</group>\n", rules.concat());
    let place = Place::new();
    place.write("tripline.toml", SETTINGS);
    place.write(
        "rules/10_unclosed.xml",
        "<group name=\"g,\">\n  <rule id=\"100001\" level=\"3\">\n    <if_sid>530</if_sid>\n</group>\n",
    );
    place.write(
        "rules/20_unknown.xml",
        "<group name=\"g,\">\n  <rule id=\"100010\" levle=\"3\" level=\"5\">\n    <if_sid>530</if_sid>\n    \
         <mach>x</mach>\n    <description>d</description>\n  </rule>\n</group>\n",
    );
    place.write(
        "rules/30_circle.xml",
        group(&[rule("100020", "    <if_sid>100021</if_sid>"), rule("100021", "    <if_sid>100020</if_sid>")]),
    );
    place.write("rules/40_orphan.xml", group(&[rule("100030", "    <if_sid>4711</if_sid>")]));
    place.write(
        "rules/50_pattern.xml",
        group(&[
            rule("100040", "    <if_sid>530</if_sid>\n    <regex>(open</regex>"),
            rule("100041", "    <if_sid>530</if_sid>"),
        ]),
    );
    place.write("rules/local_rules.xml", group(&[rule("100041", "    <if_sid>530</if_sid>\n    <match>x</match>")]));
    place
}

/// What the findings of `broken` say, and where.
const FINDINGS: [(&str, &str); 7] = [
    ("10_unclosed.xml:2", "`rule` is not closed"),
    ("20_unknown.xml:2", "did you mean `level`?"),
    ("20_unknown.xml:4", "did you mean `match`?"),
    ("30_circle.xml:3", "100020"),
    ("40_orphan.xml:3", "there is no rule 4711"),
    ("50_pattern.xml:4", "`(` without `)`"),
    ("local_rules.xml:2", "rule 100041 is defined twice"),
];

#[test]
fn everything_wrong_with_all_rule_files_is_said_at_once_and_nothing_is_started() {
    let place = broken();
    place.write("ticks.jsonl", ticks(2));
    let verbs: [&[&str]; 4] = [
        &["run", "--data-dir", "data", "--for", "1s"],
        &["process", "--data-dir", "data", "--until-caught-up"],
        &["replay", "--from", "file:ticks.jsonl", "--alerts", "alerts.jsonl"],
        &["logtest"],
    ];
    for verb in verbs {
        let ran = place.tripline(&[verb, &["--rules", "rules"]].concat()).exits(2);
        assert!(ran.out.is_empty());
        for (place, what) in FINDINGS {
            let ran = &ran;
            assert!(ran.err.contains(place) && ran.err.contains(what), "{verb:?}: no {place} {what} in\n{}", ran.err);
        }
        assert!(ran.err.contains("nothing was started"), "{}", ran.err);
        assert!(!place.path("data").exists() && !place.path("alerts.jsonl").exists(), "{verb:?} left something");
    }
}

#[test]
fn check_prints_the_findings_for_people_and_for_programs() {
    let place = broken();
    let people = String::from_utf8(place.tripline(&["check", "rules"]).exits(2).out).unwrap();
    let programs = place.tripline(&["check", "rules", "--format", "json"]).exits(2);
    let programs: serde_json::Value = serde_json::from_slice(&programs.out).unwrap();
    let errors: Vec<_> =
        programs["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "error").collect();
    assert_eq!(errors.len(), FINDINGS.len(), "{errors:?}");
    assert_eq!(programs["summary"]["errors"], FINDINGS.len());
    for ((place, what), finding) in FINDINGS.iter().zip(errors) {
        assert!(people.contains(place) && people.contains(what), "{people}");
        let (file, line) = place.split_once(':').unwrap();
        assert_eq!(finding["file"], format!("rules/{file}"));
        assert_eq!(finding["span"]["start"]["line"].to_string(), line);
        let code = finding["code"].as_str().unwrap();
        let explained = super::place().tripline(&["check", "--explain", code]).text();
        assert!(explained.starts_with(code), "{explained}");
    }
}

#[test]
fn a_directory_without_rules_is_refused() {
    let place = super::place();
    std::fs::create_dir(place.path("empty")).unwrap();
    for verb in ["run", "check"] {
        for (rules, said) in [("empty", "`empty` holds no rule files"), ("nowhere", "`nowhere`: No such file")] {
            let ran = place.tripline(&[verb, "--rules", rules]).exits(2);
            let told = ran.err + &String::from_utf8_lossy(&ran.out);
            assert!(told.contains(said) && told.contains("= note: the command line names it"), "{verb}: {told}");
            // That there are no rules follows.
            assert!(!told.contains("TL0104"), "{verb}: {told}");
        }
    }
}

/// OSSEC's configuration with entries of each kind that name what is not there, and good and bad ones among them.
const GAPS: &str = "<ossec_config>\n<rules>\n<include>good.xml</include>\n<include>gone.xml</include>\n\
    <include>folder.xml</include>\n<rule_dir>empty</rule_dir>\n<decoder>gone_decoder.xml</decoder>\n\
    <list>lists/gone</list>\n<nonsense>x</nonsense>\n<include>bad.xml</include>\n</rules>\n</ossec_config>\n";

fn with_gaps() -> Place {
    let place = Place::new();
    place.write("tripline.toml", "");
    place.write("ossec/etc/ossec.conf", GAPS);
    let rule = |id: u32, parent: u32| {
        format!(
            "<group name=\"g,\">\n<rule id=\"{id}\" level=\"3\">\n<if_sid>{parent}</if_sid>\n<match>abc</match>\n\
             <description>d</description>\n</rule>\n</group>\n"
        )
    };
    place.write("ossec/rules/good.xml", rule(100001, 530));
    place.write("ossec/rules/bad.xml", rule(100002, 4711));
    place.write("extra.xml", rule(100003, 4712));
    for dir in ["ossec/rules/folder.xml", "ossec/rules/empty"] {
        std::fs::create_dir_all(place.path(dir)).unwrap();
    }
    place
}

#[test]
fn what_is_named_and_not_there_is_told_beside_everything_else_that_is_wrong() {
    let place = with_gaps();
    let conf = "ossec/etc/ossec.conf";
    let check = ["--ossec-conf", conf, "extra.xml", "--decoders", "nowhere", "--lists", "neither"];
    let all = [
        "TL0016 ossec/etc/ossec.conf:4",
        "TL0016 ossec/etc/ossec.conf:5",
        "TL0016 ossec/etc/ossec.conf:6",
        "TL0016 ossec/etc/ossec.conf:7",
        "TL0016 -:null",
        "TL0016 ossec/etc/ossec.conf:8",
        "TL0016 -:null",
        "TL0018 ossec/etc/ossec.conf:9",
        "TL0201 ossec/rules/bad.xml:3",
        "TL0201 extra.xml:3",
    ];
    assert_eq!(found(&place, &check, 2), all);
    let people = place.tripline(&[&["check"][..], &check].concat()).exits(2);
    let people = String::from_utf8(people.out).unwrap();
    for said in [
        "4 | <include>gone.xml</include>\n  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^\n",
        "error[TL0016]: rule file `ossec/rules/gone.xml` does not exist\n",
        "error[TL0016]: rule file `ossec/rules/folder.xml` is a directory; `<rule_dir>` names one\n",
        "= note: line 6 of `ossec/etc/ossec.conf` names it\n",
        "error[TL0016]: could not read file `nowhere`: No such file or directory",
        "= note: `--decoders` names it\n",
        "error[TL0016]: there is no list or directory of lists `neither`\n",
        "checked 3 rules in 4 files: 9 errors, 1 warning\n",
    ] {
        assert!(people.contains(said), "no {said}: {people}");
    }
    let github = place.tripline(&[&["check", "--format", "github"][..], &check].concat()).exits(2);
    let github = String::from_utf8(github.out).unwrap();
    assert!(github.contains("::error file=ossec/etc/ossec.conf,line=4,"), "{github}");
    // Nothing is started by a part of what is named, and everything is said there as well.
    let run = ["run", "--data-dir", "data", "--for", "1s", "--ossec-conf", conf, "--rules", "extra.xml"];
    place.tripline(&run).exits(2).says(&["gone.xml", "folder.xml", "gone_decoder.xml", "rule 4711", "rule 4712"]);
    assert!(!place.path("data").exists());
}

#[test]
fn what_is_wrong_with_an_ossec_configuration_is_a_finding_in_it() {
    let place = Place::new();
    place.write("tripline.toml", "");
    place.write("ossec.conf", "<ossec_config>\n<rules>\n<nonsense>x</nonsense>\n</rules>\n</ossec_config>\n");
    assert_eq!(found(&place, &["--ossec-conf", "ossec.conf"], 1), ["TL0018 ossec.conf:3"]);
    assert_eq!(found(&place, &["--ossec-conf", "ossec.conf", "--allow", "TL0018"], 0), [""; 0]);
    place.write("ossec.conf", "<ossec_config>\n<rules>\n</ossec_config>\n");
    place.write("a.xml", LINTED);
    let rest = ["TL0017 ossec.conf:3", "TL0601 a.xml:10", "TL0433 a.xml:13"];
    assert_eq!(found(&place, &["--ossec-conf", "ossec.conf", "a.xml"], 2), rest);
    assert_eq!(found(&place, &["--ossec-conf", "nowhere.conf"], 2), ["TL0016 -:null"]);
    // More bytes than any configuration has are not read, and depth is bounded.
    for (text, place_) in [("x".repeat(9_000_000), 1), ("<ossec_config>\n".repeat(100_000), 33)] {
        place.write("ossec.conf", text);
        let expected = format!("TL0017 ossec.conf:{place_}");
        assert_eq!(found(&place, &["--ossec-conf", "ossec.conf"], 2), [expected.as_str()]);
        place.tripline(&["run", "--ossec-conf", "ossec.conf", "--data-dir", "data"]).exits(2).says(&["ossec.conf:"]);
    }
    assert_eq!(found(&place, &["--ossec-conf", "/dev/zero"], 2), ["TL0017 /dev/zero:1"]);
}

#[test]
fn files_named_beside_an_ossec_configuration_are_checked_and_a_directory_of_ones_own_comes_first() {
    let place = with_gaps();
    let conf =
        "<ossec_config><rules>\n<include>good.xml</include>\n<include>bad.xml</include>\n</rules></ossec_config>";
    place.write("ossec/etc/ossec.conf", conf);
    let check = |more: &[&str]| found(&place, &[&["--ossec-conf", "ossec/etc/ossec.conf"], more].concat(), 2);
    assert_eq!(check(&[]), ["TL0201 ossec/rules/bad.xml:3"]);
    // A file that is loaded already is not loaded twice.
    assert_eq!(check(&["ossec/rules/bad.xml"]), ["TL0107 -:null", "TL0201 ossec/rules/bad.xml:3"]);
    assert_eq!(check(&["extra.xml"]), ["TL0201 ossec/rules/bad.xml:3", "TL0201 extra.xml:3"]);
    std::fs::create_dir(place.path("rules")).unwrap();
    std::fs::rename(place.path("extra.xml"), place.path("rules/good.xml")).unwrap();
    assert_eq!(check(&["rules"]), ["TL0201 rules/good.xml:3", "TL0201 ossec/rules/bad.xml:3"]);
}

#[test]
fn a_file_that_is_named_twice_is_loaded_once_whatever_names_it() {
    let place = Place::new();
    place.write("tripline.toml", "");
    let decoder = "<decoder name=\"shop\">\n<program_name>^shop</program_name>\n</decoder>\n";
    place.write("ossec/etc/decoder.xml", decoder);
    let rule = "<group name=\"g,\">\n<rule id=\"100001\" level=\"3\">\n<decoded_as>shop</decoded_as>\n\
                <match>abc</match>\n<description>d</description>\n</rule>\n</group>\n";
    place.write("ossec/rules/a.xml", rule);
    place.write("all/decoder.xml", decoder);
    place.write("all/a.xml", rule);
    let conf = "<ossec_config><rules><include>a.xml</include></rules></ossec_config>";
    place.write("ossec/etc/ossec.conf", conf);
    std::os::unix::fs::symlink("decoder.xml", place.path("all/link.xml")).unwrap();
    let twice = |arguments: &[&str]| {
        let ran = place.tripline(&[&["check"][..], arguments].concat()).exits(0);
        let text = String::from_utf8(ran.out).unwrap();
        let said = text.lines().find_map(|line| line.strip_prefix("info[TL0107]: "));
        said.map(str::to_owned).unwrap_or_else(|| panic!("{text}"))
    };
    assert_eq!(
        twice(&["--rules", "ossec/rules", "--decoders", "all/decoder.xml", "--decoders", "./all/decoder.xml"]),
        "`./all/decoder.xml` is named twice, and loaded once"
    );
    assert_eq!(
        twice(&["--rules", "all", "--decoders", "all/decoder.xml"]),
        "2 files are named twice, and loaded once",
        "the link is one more name"
    );
    assert_eq!(
        twice(&["--ossec-conf", "ossec/etc/ossec.conf", "--decoders", "ossec/etc/decoder.xml"]),
        "`ossec/etc/decoder.xml` is named twice, and loaded once"
    );
    let conf = conf.replace("</rules>", "<include>a.xml</include></rules>");
    place.write("ossec/etc/ossec.conf", conf);
    assert_eq!(twice(&["--ossec-conf", "ossec/etc/ossec.conf"]), "`ossec/rules/a.xml` is named twice, and loaded once");
}

/// Rules of levels 3 and 6, for the second and the third of `ticks`.
const TWO_LEVELS: &str = r#"<group name="local,">
  <rule id="100003" level="3">
    <if_sid>530</if_sid>
    <match>ossec: output: 'tick': 1</match>
    <description>A low one.</description>
  </rule>
  <rule id="100006" level="6">
    <if_sid>530</if_sid>
    <match>ossec: output: 'tick': 2</match>
    <description>A high one.</description>
  </rule>
</group>
"#;

/// OSSEC's configuration for them, with this least level of alerts.
fn with_level(level: &str) -> String {
    format!(
        "<ossec_config>\n<rules><include>two.xml</include></rules>\n<alerts>\n\
         <log_alert_level>{level}</log_alert_level>\n<email_alert_level>5</email_alert_level>\n</alerts>\n\
         </ossec_config>\n"
    )
}

#[test]
fn the_levels_of_ossecs_configuration_say_what_is_written_as_an_alert_and_settings_go_before() {
    let place = Place::new();
    place.write("tripline.toml", SETTINGS);
    place.write("ossec/rules/two.xml", TWO_LEVELS);
    place.write("ticks.jsonl", ticks(3));
    let conf = ["--ossec-conf", "ossec/etc/ossec.conf"];
    let replayed = || {
        let replay = ["replay", "--from", "file:ticks.jsonl", "--alerts", "-"];
        let alerts = place.tripline(&[&replay, &conf[..]].concat()).text();
        let alert = |alert: serde_json::Value| {
            (alert["rule"]["id"].as_str().unwrap().to_owned(), alert["rule"]["mail"] == true)
        };
        common::json_lines(&alerts).into_iter().map(alert).collect::<Vec<_>>()
    };
    let (low, high) = (("100003".to_owned(), false), ("100006".to_owned(), true));
    for (level, alerts) in [("1", vec![low.clone(), high.clone()]), ("5", vec![high.clone()]), ("7", vec![])] {
        place.write("ossec/etc/ossec.conf", with_level(level));
        assert_eq!(replayed(), alerts, "{level}");
        assert_eq!(found(&place, &conf, 0), [""; 0]);
    }
    // What a log is judged by, and what is told when the settings say something else.
    place.write("ossec/etc/ossec.conf", with_level("5"));
    let at = ["--data-dir", "data"];
    place.tripline(&[&["outputs", "import", "ticks.jsonl"], &at[..]].concat()).exits(0);
    place.tripline(&[&["process", "--until-caught-up"], &conf[..], &at].concat()).exits(0);
    let alerts = place.tripline(&["alerts", "--data-dir", "data", "--format", "json"]).text();
    assert_eq!(alerts.lines().count(), 1, "{alerts}");
    place.write("tripline.toml", format!("{SETTINGS}\n[alerts]\nlog_level = 1\nmail_level = 5\n"));
    assert_eq!(replayed(), [low, high]);
    assert_eq!(found(&place, &conf, 1), ["TL0018 ossec/etc/ossec.conf:4"]);
    place.write("ossec/etc/ossec.conf", with_level("high"));
    assert_eq!(found(&place, &conf, 2), ["TL0017 ossec/etc/ossec.conf:4"]);
}

#[test]
fn a_report_that_nobody_reads_to_its_end_or_that_can_not_be_written_changes_no_exit_code() {
    let place = broken();
    let github = ["check", "rules", "--format", "github", "--step-summary", "nowhere/summary.md"];
    place.tripline(&github).exits(2).says(&["could not write the summary of the step"]);
    let head = "tripline check rules | head -n 1 > first; exit ${PIPESTATUS[0]}";
    let many: String = (0..2000).map(|n| format!("<mach id=\"{n}\">x</mach>\n")).collect();
    place.write("rules/many.xml", many);
    let program = assert_cmd::cargo::cargo_bin("tripline");
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", &head.replace("tripline", &program.display().to_string())]).current_dir(place.root());
    assert_eq!(bash.status().unwrap().code(), Some(2));
    assert!(place.read("first").starts_with("error["));
}

#[test]
fn commands_and_settings_that_can_not_be_read_are_findings_beside_those_of_rules() {
    let place = Place::new();
    place.write("tripline.toml", "");
    place.write("a.xml", LINTED);
    place.write("commands.toml", "[[command]]\ncomand = \"true\"\n");
    let all = ["TL0020 -:null", "TL0601 a.xml:10", "TL0433 a.xml:13"];
    assert_eq!(found(&place, &["a.xml", "--commands", "commands.toml"], 2), all);
    let ran = place.tripline(&["check", "a.xml", "--commands", "commands.toml"]).exits(2);
    let text = String::from_utf8(ran.out).unwrap();
    let place_and_reason =
        "error[TL0020]: commands.toml: TOML parse error at line 2, column 1; unknown field `comand`, ";
    assert!(text.contains(place_and_reason) && text.contains("did you mean `command`?"), "{text}");
    place.write("tripline.toml", "[rules]\ndirz = [\"x\"]\n");
    assert_eq!(found(&place, &["a.xml"], 2), ["TL0021 -:null", "TL0601 a.xml:10", "TL0433 a.xml:13"]);
    place.tripline(&["check", "--explain", "TL0021"]).exits(0);
    // The last lines: where to read more, and the counts.
    let last: Vec<&str> = text.lines().rev().take(2).collect();
    assert_eq!(last[1], "explained by `tripline check --explain TL0020`; also TL0433, TL0601");
    assert!(last[0].starts_with("checked 3 rules in 1 file: 1 error, 1 warning"), "{}", last[0]);
}

#[test]
fn rules_decoders_and_lists_have_a_bound_together() {
    let place = with_gaps();
    let rules = place.read("ossec/rules/good.xml").replace(
        "<match>abc</match>",
        "<list field=\"user\" lookup=\"match_key\">lists/a</list><list field=\"id\" lookup=\"match_key\">lists/b</list>",
    );
    place.write("lists.xml", rules);
    for list in ["lists/a", "lists/b"] {
        // No list is too large by itself.
        place.write(list, "k".repeat(20_000_000) + ":v\n");
    }
    let found = found(&place, &["lists.xml"], 2);
    assert_eq!(found[0], "TL0016 -:null", "{found:?}");
    let said = String::from_utf8(place.tripline(&["check", "lists.xml"]).exits(2).out).unwrap();
    assert!(said.contains("have more than 33554432 bytes together; `lists/b` and what follows is left out"), "{said}");
    place.tripline(&["run", "--rules", "lists.xml", "--data-dir", "data"]).exits(2).says(&["TL0016"]);
}

#[test]
fn rules_without_a_parent_can_be_set_aside() {
    let place = broken();
    let orphan = ["check", "rules/40_orphan.xml"];
    place.tripline(&orphan).exits(2);
    let ran = place.tripline(&[&orphan[..], &["--orphans", "warn"]].concat()).exits(1);
    let listed = String::from_utf8(ran.out).unwrap();
    assert!(listed.contains("the rule is set aside: there is no rule 4711"), "{listed}");
}

#[test]
fn the_shipped_rules_and_what_the_demo_uses_have_no_findings() {
    let place = super::place();
    let said = place.tripline(&["check"]).text();
    assert!(said.contains("0 errors, 0 warnings"), "{said}");
}

/// Rules with a lint of each kind that the tests look for: a `match` that is too short, and one baseline for two commands.
const LINTED: &str = r#"<group name="local,">
  <rule id="100001" level="5">
    <if_sid>530</if_sid>
    <match>ossec: output: 'ss -</match>
    <check_diff />
    <description>Ports changed.</description>
  </rule>
  <rule id="100002" level="5">
    <if_sid>530</if_sid>
    <regex>\d\d</regex>
    <description>Two digits.</description>
  </rule>
  <rule id="100003" level="5" timeframe="60">
    <if_sid>530</if_sid>
    <match>100%</match>
    <description>Full.</description>
  </rule>
</group>
"#;

const TWO_COMMANDS: &str = "[[command]]\nname = \"ss -tln\"\ncommand = \"true\"\n\
     [[command]]\nname = \"ss -uln\"\ncommand = \"true\"\n";

/// What `check` found, each as `CODE FILE:LINE`.
fn found(place: &Place, arguments: &[&str], exit: i32) -> Vec<String> {
    let ran = place.tripline(&[&["check", "--format", "json"], arguments].concat()).exits(exit);
    places(&ran.out)
}

/// The findings of a report, each as `CODE FILE:LINE`.
fn places(report: &[u8]) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_slice(report).unwrap();
    let place = |finding: &serde_json::Value| {
        let (code, file) = (finding["code"].as_str().unwrap(), finding["file"].as_str().unwrap_or("-"));
        format!("{code} {file}:{}", finding["span"]["start"]["line"])
    };
    report["findings"].as_array().unwrap().iter().map(place).collect()
}

#[test]
fn check_says_what_is_probably_not_meant_and_says_less_when_it_is_told_so() {
    let place = Place::new();
    place.write("tripline.toml", "");
    place.write("a.xml", LINTED);
    place.write("commands.toml", TWO_COMMANDS);
    let all = ["TL0420 a.xml:5", "TL0601 a.xml:10", "TL0433 a.xml:13"];
    // Two commands that reach one `check_diff` are known when the commands are.
    assert_eq!(found(&place, &["a.xml"], 1), all[1..]);
    assert_eq!(found(&place, &["a.xml", "--commands", "commands.toml"], 1), all);
    place.write(
        "ossec.conf",
        "<ossec_config><localfile><log_format>command</log_format><command>ss -tln</command></localfile>\
         <localfile><log_format>command</log_format><command>ss -uln</command></localfile></ossec_config>",
    );
    assert_eq!(found(&place, &["a.xml", "--ossec-conf", "ossec.conf"], 1), all);
    // A file that is named twice is loaded once.
    assert_eq!(found(&place, &["a.xml", "./a.xml", "."], 1), ["TL0107 -:null", all[1], all[2]]);
    // Information alone is no reason to fail.
    assert_eq!(found(&place, &["a.xml", "--allow", "tl0433"], 0), all[1..2]);
    place.write("tripline.toml", "[lint]\nallow = [\"TL0433\", \"TL0601\"]\n");
    assert_eq!(found(&place, &["a.xml"], 0), [""; 0]);
    place.write("tripline.toml", "");
    assert_eq!(found(&place, &["a.xml", "--allow", "TL0433,tl0601"], 0), [""; 0]);
    place.tripline(&["check", "a.xml", "--allow", "TL0201"]).exits(2).says(&["--allow: TL0201 is an error"]);
    place.tripline(&["check", "a.xml", "--allow", "TL9999"]).exits(2).says(&["`TL9999` is no code", "TL0601"]);
    place.write("tripline.toml", "[lint]\nallow = [\"nonsense\"]\n");
    place.tripline(&["check", "a.xml"]).exits(2).says(&["`lint.allow`", "`nonsense` is no code"]);
}

#[test]
fn what_is_allowed_hides_no_error_and_a_rule_set_that_is_refused_is_told_by_the_exit_code() {
    let rule = |n: u32| {
        let element = if n < 600 { "match" } else { "mach" };
        format!(
            "<rule id=\"{}\" level=\"00003\"><if_sid>530</if_sid><{element}>abcd{n}</{element}>\
             <description>x</description></rule>\n",
            100_000 + n
        )
    };
    let place = Place::new();
    place.write("tripline.toml", "[lint]\nallow = [\"TL0013\"]\n");
    let file = |rules: &str| format!("<group name=\"a,\">\n{rules}</group>\n");
    // More warnings than are shown, and behind them an error.
    place.write("many.xml", file(&(0..=600).map(rule).collect::<String>()));
    assert_eq!(found(&place, &["many.xml", "--allow", "TL0305"], 2), ["TL0301 many.xml:602"]);
    // More errors than are shown: the finding that says so is an error as well.
    place.write("many.xml", file(&(600..1200).map(rule).collect::<String>()));
    let found = found(&place, &["many.xml", "--allow", "TL0305", "--allow", "TL0013"], 2);
    assert!(found.len() == 501 && found.contains(&"TL0013 many.xml:502".to_owned()), "{found:?}");
}

#[test]
fn a_comment_allows_a_finding_until_its_day_and_no_longer() {
    let place = Place::new();
    let with = |comment: &str| LINTED.replace("  <rule id=\"100003\"", &format!("{comment}\n  <rule id=\"100003\""));
    place.write("a.xml", with("<!-- tripline: allow TL0433 because the clock matters -->"));
    assert_eq!(found(&place, &["a.xml"], 0), ["TL0601 a.xml:10"]);
    place.write("a.xml", with("<!-- tripline: allow TL0433 until 2999-01-31 because the clock matters -->"));
    assert_eq!(found(&place, &["a.xml"], 0), ["TL0601 a.xml:10"]);
    place.write("a.xml", with("<!-- tripline: allow TL0433 until 2020-01-31 because the clock matters -->"));
    assert_eq!(found(&place, &["a.xml"], 1), ["TL0601 a.xml:10", "TL0711 a.xml:13", "TL0433 a.xml:14"]);
    place.write("a.xml", with("<!-- tripline: allow TL0502 because nothing is known of it -->"));
    assert_eq!(found(&place, &["a.xml"], 1), ["TL0601 a.xml:10", "TL0712 a.xml:13", "TL0433 a.xml:14"]);
}

#[test]
fn a_workflow_gets_annotations_and_a_table() {
    let place = broken();
    let mut check = place.command(&["check", "rules", "--format", "github"]);
    check.env("GITHUB_STEP_SUMMARY", "summary.md");
    let out = String::from_utf8(place.run(check, b"").exits(2).out).unwrap();
    let annotation = "::error file=rules/40_orphan.xml,line=3,";
    assert!(out.contains(annotation) && out.lines().all(|line| line.starts_with("::")), "{out}");
    let summary = place.read("summary.md");
    assert!(summary.contains("| rules/40\\_orphan.xml:3 |"), "{summary}");
    // The next command of the step writes behind it.
    place.tripline(&["check", "rules", "--format", "github", "--step-summary", "summary.md"]).exits(2);
    assert_eq!(place.read("summary.md"), summary.repeat(2));
}

#[test]
fn findings_of_files_and_directories_come_in_one_order_and_are_counted() {
    let place = broken();
    place.write("one.xml", LINTED);
    let ran = place.tripline(&["check", "--format", "json", "one.xml", "rules"]).exits(2).out;
    assert_eq!(place.tripline(&["check", "--format", "json", "one.xml", "rules"]).exits(2).out, ran);
    let report: serde_json::Value = serde_json::from_slice(&ran).unwrap();
    let names: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(names, ["schema", "summary", "findings"]);
    assert_eq!(report["schema"], "tripline/check/1");
    let findings = report["findings"].as_array().unwrap();
    let errors = findings.iter().filter(|finding| finding["severity"] == "error").count();
    let warnings = findings.iter().filter(|finding| finding["severity"] == "warning").count();
    assert_eq!(report["summary"], serde_json::json!({"files": 7, "rules": 11, "errors": errors, "warnings": warnings}));
    let files: Vec<&str> = findings.iter().map(|finding| finding["file"].as_str().unwrap()).collect();
    let mut in_order = files.clone();
    in_order.sort_by_key(|file| (*file != "one.xml", *file == "rules/local_rules.xml", *file));
    assert_eq!(files, in_order);
}

#[test]
fn whatever_a_rule_file_holds_is_a_finding_with_its_place() {
    let rule =
        |body: &str| format!("<group name=\"a,\">\n  <rule id=\"100001\" level=\"3\">\n{body}\n  </rule>\n</group>\n");
    let list =
        rule("<if_sid>530</if_sid><list field=\"user\" lookup=\"match_key\">users</list><description>d</description>");
    let mut not_utf8 = rule("<if_sid>530</if_sid><match>caf?</match>").into_bytes();
    let at = not_utf8.iter().position(|byte| *byte == b'?').unwrap();
    not_utf8[at] = 0xe9;
    let entities = "<!DOCTYPE a [\n<!ENTITY a \"aaaaaaaaaa\">\n<!ENTITY b \"&a;&a;&a;\">\n]>\n".to_owned();
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("huge.xml", [rule("").into_bytes(), vec![b' '; 100_000_000]].concat(), "TL0001 huge.xml:1"),
        ("not_utf8.xml", not_utf8, "TL0002 not_utf8.xml:3"),
        ("deep.xml", ["<group name=\"a,\">\n", &"<a>".repeat(1_000_000)].concat().into(), "TL0009 deep.xml:2"),
        ("entities.xml", (entities + &rule("<match>&b;</match>")).into(), "TL0005 entities.xml:1"),
        ("nul.xml", vec![0; 1_000_000], "TL0011 nul.xml:1"),
        ("explodes.xml", rule("<pcre2>((a{1,1000}){1,1000}){1,1000}</pcre2>").into(), "TL0307 explodes.xml:3"),
        ("id.xml", rule("").replace("100001", "0").into(), "TL0102 id.xml:2"),
        (
            "silent.xml",
            rule("<if_sid>530</if_sid>").replace("\"3\"", "\"0\" ignore=\"60\"").into(),
            "TL0322 silent.xml:2",
        ),
        ("list.xml", list.into(), "TL0908 users:3"),
    ];
    let place = Place::new();
    place.write("users", "alice:admin\nbob:user\ncar");
    for (name, text, expected) in cases {
        place.write(name, &text);
        let ran = place.tripline(&["check", "--format", "json", name]);
        assert!(matches!(ran.status.code(), Some(1 | 2)), "{name}: {}", ran.err);
        let places = places(&ran.out);
        assert!(places.iter().any(|place| place == expected), "no {expected}: {places:?}");
        // People get the same places, and nothing that drives their terminal.
        let text = String::from_utf8(place.tripline(&["check", name]).out).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{name}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_a_rule_file_that_is_missing() {
    let place = Place::new();
    place.write("tripline.toml", "");
    place.write("rules/local_rules.xml", crate::RULES);
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, place.path(from)).unwrap();
    // As an editor marks a file that somebody works on.
    link("somebody@somewhere.4711", "rules/.#local_rules.xml");
    place.tripline(&["check", "rules"]).exits(0);
    let conf = "<ossec_config><rules><rule_dir>rules</rule_dir></rules></ossec_config>";
    place.write("ossec.conf", conf);
    place.tripline(&["check", "--ossec-conf", "ossec.conf"]).exits(0);
    link("gone.xml", "rules/site_rules.xml");
    for named in [&["check", "rules"][..], &["check", "--ossec-conf", "ossec.conf"]] {
        let ran = place.tripline(named).exits(2);
        let said = String::from_utf8(ran.out).unwrap();
        assert!(said.contains("error[TL0016]: could not read"), "{said}");
        assert!(said.contains("rules/site_rules.xml`: No such file or directory"), "{said}");
    }
}

#[test]
fn a_named_pipe_is_refused_rather_than_waited_for_and_standard_input_is_read() {
    let place = Place::new();
    // Else a Tripline that is installed here would have its own rules counted.
    place.write("tripline.toml", "");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, place.path("rules.xml"), mode).unwrap();
    let told = ["could not read file `rules.xml`: it is a named pipe", "/dev/stdin"];
    let ran = place.tripline(&["check", "rules.xml"]).exits(2);
    let said = String::from_utf8(ran.out).unwrap();
    assert!(told.iter().all(|part| said.contains(part)), "{said}");
    place.tripline(&["logtest", "--rules", "rules.xml"]).exits(2).says(&told);
    let ran = place.with_input(&["check", "/dev/stdin", "--format", "json"], crate::RULES.as_bytes()).exits(0);
    let report: serde_json::Value = serde_json::from_slice(&ran.out).unwrap();
    assert_eq!(report["summary"]["rules"], 1);
}
