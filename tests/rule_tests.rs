//! `tripline test`, as people use it.

use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

/// A rule to test: a list that changes, held back for an hour.
const RULES: &str = r#"<group name="local,">
  <rule id="100001" level="8" ignore="3600">
    <if_sid>530</if_sid>
    <match>ossec: output: 'ports'</match>
    <check_diff />
    <description>The ports changed.</description>
  </rule>
  <rule id="100002" level="0">
    <if_sid>100001</if_sid>
    <match>maintenance</match>
    <description>Under maintenance.</description>
  </rule>
</group>
"#;

/// What stands before the tests of a file.
const HEAD: &str = "rules: [rules.xml]\ndefaults: {agent: web-1, command: ports, format: full_command}\n";

/// What a run of the program gave.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn tripline(directory: &Path, arguments: &[&str]) -> Ran {
    let output = Command::cargo_bin("tripline").unwrap().current_dir(directory).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A directory with the rules and one test file.
fn directory(test: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("rules.xml"), RULES).unwrap();
    std::fs::write(directory.path().join("ports_test.yaml"), test).unwrap();
    directory
}

/// Runs the tests of a file that has `HEAD` and these tests.
fn run(tests: &str) -> Ran {
    tripline(directory(&format!("{HEAD}{tests}")).path(), &["test"])
}

/// A file with a mistake: nothing is run, and the message has these parts, in this order.
#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let ran = tripline(directory(text).path(), &["test", "."]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    let mut rest = ran.err.as_str();
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no `{part}` in (or not in this order)\n{}", ran.err));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn tests_that_pass_are_listed_and_counted() {
    let ran = run(r#"
tests:
  - name: a change is told, the next one held back
    steps:
      - {at: 0s, output: "22\n", expect: none}
      - at: 1m
        output: |
          22
          80
        expect:
          - rule: 100001
            level: 8
            level__gte: 7
            description: The ports changed.
            description__contains: ports
            groups: [local]
            groups__contains: local
            agent: web-1
            location: web-1->ports
            mail: true
            firedtimes: 1
            full_log: |
              ossec: output: 'ports':
              22
              80
            full_log__contains: "22\n80"
            previous_output: "ossec: output: 'ports':\n22"
            previous_output__contains: "'ports'"
            diff: {added: ["80"], removed: []}
            suppressed: 0
            returned: 0
      - {at: 2m, same_as: 1, expect: {suppressed: {rule: 100001, until: 1h1m}}}
      - {at: 3m, same_as: 2, expect: none}
      - {at: 1h1m, same_as: 1, expect: [{rule: 100001, suppressed: 1, returned: 1}]}
    expect_total: {100001: 2, 100002: 0}
    never: [100002]
  - name: a level 0 child is silent
    steps:
      - {output: "22\n"}
      - {at: 1m, output: "maintenance\n", expect: {silent: [100002]}}
"#);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let expected = "\
PASS ports_test.yaml :: a change is told, the next one held back
PASS ports_test.yaml :: a level 0 child is silent

coverage: 2 of 2 rules fired in a test
2 passed, 0 failed
";
    assert_eq!(ran.out, expected);
}

#[test]
fn a_failure_says_which_step_and_where_and_what_came_and_why() {
    let ran = run(r#"
tests:
  - name: passes
    steps: [{output: "22\n"}]
  - name: fails
    steps:
      - {output: "22\n", expect: none}
      - {at: 90s, output: "22\n80\n", expect: [{rule: 100001, level: 9}]}
      - {at: 2m, same_as: 2, expect: [{rule: 100001}]}
      - {at: 3m, same_as: 1, expect: [{rule: 100001}]}
      - {at: 2h, same_as: 2, expect: none}
"#);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let expected = r#"PASS ports_test.yaml :: passes
FAIL ports_test.yaml :: fails

FAIL ports_test.yaml :: fails
  step 2 (at 1m30s): `level` of the alert of rule 100001 is 8, expected 9
     --> ports_test.yaml:10:70
      |
   10 |       - {at: 90s, output: "22\n80\n", expect: [{rule: 100001, level: 9}]}
      |                                                                      ^ got 8
    expected (-), got (+)
    - rule 100001, level 9
    + rule 100001, level 8, "The ports changed."
        ossec: output: 'ports':
        22
        80
        added ["80"], removed []
  step 3 (at 2m): expected 1 alert, got none
     --> ports_test.yaml:11:38
      |
   11 |       - {at: 2m, same_as: 2, expect: [{rule: 100001}]}
      |                                      ^
    expected (-), got (+)
    - rule 100001
    why: rule 100001: the output is the one before: no change
  step 4 (at 3m): expected 1 alert, got none
     --> ports_test.yaml:12:38
      |
   12 |       - {at: 3m, same_as: 1, expect: [{rule: 100001}]}
      |                                      ^
    expected (-), got (+)
    - rule 100001
    why: rule 100001: held back by its ignore timer until 1h1m30s

coverage: 1 of 2 rules fired in a test; never: 100002
1 passed, 1 failed
"#;
    // The excerpt's indentation is the library's; what it says is ours.
    let squeezed = |text: &str| text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    assert_eq!(squeezed(&ran.out), squeezed(expected), "{}", ran.out);
}

#[test]
fn totals_and_never_fail_a_test_too() {
    let ran = run(r#"
tests:
  - name: counts
    steps:
      - {output: "22\n"}
      - {at: 1m, output: "80\n"}
      - {at: 2h, output: "maintenance\n"}
    expect_total: {100001: 2}
    never: [100002]
"#);
    assert_eq!(ran.code, 1);
    for part in
        ["rule 100001 gave 1 alert, expected 2", "step 3 (at 2h): rule 100002 took a line, expected it never to"]
    {
        assert!(ran.out.contains(part), "no `{part}` in {}", ran.out);
    }
}

#[test]
fn each_repetition_must_be_as_expected() {
    let ran = run(r#"
tests:
  - name: not for ever
    steps:
      - {output: "22\n"}
      - {at: 1m, output: "80\n"}
      - {at: 2m, repeat: {times: 5, every: 20m}, same_as: 1, expect: {suppressed: {rule: 100001}}}
"#);
    assert_eq!(ran.code, 1);
    let what = "step 3, repetition 4 of 5 (at 1h2m): expected no alert, got 1 alert";
    assert!(ran.out.contains(what), "{}", ran.out);
    assert!(!ran.out.contains("repetition 5"), "once is enough: {}", ran.out);
}

#[test]
fn every_kind_of_step_arrives() {
    let tests = r#"
tests:
  - name: all kinds
    steps:
      - {output: "22\n", expect: none}
      - {timed_out: 30s, expect: {silent: 990000}}
      - {signal: 9, output: "80\n", expect: {silent: 990000}}
      - {interrupted: true, expect: {silent: 990000}}
      - {not_started: no such file, expect: {silent: 990000}}
      - {exit_code: 127, stderr: "not found", expect: {silent: 990000}}
      - {exit_code: 1, output: "22\n", expect: {silent: 530}}
      - {gap: 3, expect: {silent: 990000}}
      - {log: "ossec: something", location: /var/log/x, expect: {silent: 500}}
      - {forget: {rule: 100001}, expect: none}
      - {at: 1m, file: output.txt, expect: none}
      - {at: 2m, output: "22\n", expect: [{rule: 100001, previous_output__contains: from a file}]}
      - {forget: {}, expect: none}
      - {at: 3m, same_as: 11, expect: none}
"#;
    let directory = directory(&format!("{HEAD}{tests}"));
    std::fs::write(directory.path().join("output.txt"), "from a file\n").unwrap();
    let ran = tripline(directory.path(), &["test", "ports_test.yaml"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn files_are_found_below_directories_and_rules_by_pattern() {
    let directory = tempfile::tempdir().unwrap();
    let tests = directory.path().join("deep/tests");
    std::fs::create_dir_all(&tests).unwrap();
    std::fs::write(directory.path().join("a_rules.xml"), RULES).unwrap();
    std::fs::write(tests.join("output.txt"), b"22\n\xff\n").unwrap();
    let test = "rules: [shipped, '../../*_rules.xml']\ntests:\n  - name: bytes\n    steps:\n      \
                - {command: ports, format: full_command, file: output.txt}\n      \
                - {at: 1m, command: ports, format: full_command, output: \"22\\n\", expect: [{rule: 100001}]}\n";
    std::fs::write(tests.join("ports_test.yaml"), test).unwrap();
    std::fs::write(tests.join("notes.yaml"), "no test").unwrap();
    let ran = tripline(directory.path(), &["test", "."]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("PASS deep/tests/ports_test.yaml :: bytes\n"), "{}", ran.out);
}

#[test]
fn nothing_to_test_is_no_success() {
    let empty = tempfile::tempdir().unwrap();
    let ran = tripline(empty.path(), &["test"]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""));
    assert!(ran.err.contains("there are no rule tests (*_test.yaml) in `.`"), "{}", ran.err);
    let ran = tripline(empty.path(), &["test", "nowhere"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`nowhere` does not exist"), "{}", ran.err);
    let ran = run("tests: []\n");
    assert_eq!(ran.code, 4, "{}", ran.err);
}

#[test]
fn unknown_keys_are_refused_with_their_place_and_a_suggestion() {
    refused(
        &format!("{HEAD}tests:\n  - name: x\n    steps:\n      - {{outptu: y}}\n"),
        &[
            "unknown key `outptu`",
            "ports_test.yaml:6:10",
            "help: did you mean `output`?",
            "1 test file could not be loaded",
        ],
    );
    refused(
        &format!(
            "{HEAD}tests:\n  - name: x\n    steps:\n      - {{output: y, expect: [{{rule: 100001, levle: 3}}]}}\n"
        ),
        &["unknown key `levle`", "did you mean `level`?"],
    );
    refused(&format!("{HEAD}test: []\n"), &["unknown key `test`", "did you mean `tests`?"]);
}

#[test]
fn yaml_mistakes_are_refused_with_their_place() {
    refused("", &["the file is empty"]);
    refused("rules: [rules.xml]\ntests: [}\n", &["error: ", "ports_test.yaml:2:8"]);
    refused("rules: [rules.xml]\n", &["the key `tests` is missing"]);
    refused(&format!("{HEAD}tests:\n  - name: x\n    name: y\n    steps: []\n"), &["`name` stands here twice", ":5:5"]);
    let step = |step: &str| format!("{HEAD}tests:\n  - name: x\n    steps:\n      - {{output: x}}\n      - {step}\n");
    refused(&step("{output: y, expect: nonne}"), &["expected `none`, a list of alerts", ":7:21"]);
    refused(&step("{output: y, expect: }"), &["expected `none`, a list of alerts"]);
    refused(&step("{output: y, at: soon}"), &["`soon` is not a duration", ":7:25"]);
    refused(
        &step("{output: y, format: full}"),
        &["`full` is not known here", "expected one of `command`, `full_command`"],
    );
}

#[test]
fn everything_else_that_is_wrong_is_said_at_once() {
    let text = format!(
        "{HEAD}tests:\n  - name: x\n    steps:\n      - {{at: 2m, output: x}}\n      - {{at: 1m, output: y}}\n      \
         - {{same_as: 9}}\n      - {{log: a, output: b}}\n      - {{}}\n      - {{output: abc, truncated_from: 2}}\n      \
         - {{output: x, expect: [{{rule: 4711}}]}}\n    never: [4712]\n    expect_total: {{4713: 1}}\n"
    );
    refused(
        &text,
        &[
            "the step goes back in time: the one before is at 2m",
            "no earlier step has this number",
            "`log` and `output` exclude each other",
            "nothing happens in this step",
            "the output is 3 bytes long",
            "the rules hold no rule 4711",
            "the rules hold no rule 4713",
            "the rules hold no rule 4712",
        ],
    );
}

#[test]
fn rules_that_can_not_be_loaded_are_refused() {
    refused("rules: ['*.xlm']\ntests: []\n", &["no file fits `*.xlm`", ":1:9"]);
    refused("rules: [nope.xml]\ntests: []\n", &["there is no file or directory `nope.xml`"]);
    let directory = directory("rules: [bad.xml]\ntests: []\n");
    let bad = r#"<group name="x,"><rule id="1000" level="5"><if_sid>77</if_sid></rule></group>"#;
    std::fs::write(directory.path().join("bad.xml"), bad).unwrap();
    let ran = tripline(directory.path(), &["test"]);
    assert_eq!(ran.code, 2);
    for part in ["the rules have errors", "error[TL0201]", "bad.xml:1:52"] {
        assert!(ran.err.contains(part), "no `{part}` in {}", ran.err);
    }
}

#[test]
fn vectors_are_counted_and_the_first_difference_of_each_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let case = |name: &str, rule: u32| {
        format!(
            r#"{{"name": "{name}", "area": "ignore", "rules": {}, "events": [{{"time": 1, "log": "ossec: output: 'x': up"}}],
                "expected": [{{"rule": {rule}, "level": 5, "alert": true}}]}}"#,
            serde_json::json!(
                "<group name=\"local,\"><rule id=\"100001\" level=\"5\"><if_sid>530</if_sid><match>up</match>\
                 <description>Up.</description></rule></group>"
            )
        )
    };
    let path = directory.path().join("cases.json");
    std::fs::write(&path, format!("[{}, {}]", case("right", 100_001), case("wrong", 530))).unwrap();
    std::fs::write(directory.path().join("empty.json"), "[]").unwrap();
    std::fs::write(directory.path().join("broken.json"), "{").unwrap();
    let ran = tripline(directory.path(), &["test", "--vectors", "cases.json", "empty.json"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    assert!(
        ran.out.starts_with("FAIL cases.json :: wrong (ignore): event 1: `rule` is 100001, expected 530"),
        "{}",
        ran.out
    );
    assert!(ran.out.ends_with("\n1 passed, 1 failed\n"), "{}", ran.out);
    assert_eq!(tripline(directory.path(), &["test", "--vectors", "empty.json"]).code, 4);
    for bad in ["broken.json", "nowhere.json"] {
        let ran = tripline(directory.path(), &["test", "--vectors", bad]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{bad}");
        assert!(ran.err.contains(bad), "{}", ran.err);
    }
}

#[test]
fn times_of_day_are_those_of_the_time_zone_that_a_file_names() {
    let rules = r#"<group name="local,"><rule id="100001" level="8"><if_sid>530</if_sid><time>8 pm - 6 am</time>
        <description>At night.</description></rule></group>"#;
    // Half past seven in the evening in London is half past eight in Berlin.
    let test = |zone: &str, expect: &str| {
        let directory = directory(&format!(
            "rules: [rules.xml]\n{zone}tests:\n  - name: night\n    defaults: {{agent: web-1, command: ports, start: \
             2026-01-01T19:30:00Z}}\n    steps: [{{output: 'x', expect: {expect}}}]\n"
        ));
        std::fs::write(directory.path().join("rules.xml"), rules).unwrap();
        tripline(directory.path(), &["test"])
    };
    for (zone, expect) in [("Europe/Berlin", "[{rule: 100001}]"), ("Europe/London", "none")] {
        let ran = test(&format!("time_zone: {zone}\n"), expect);
        assert_eq!(ran.code, 0, "{zone}: {}{}", ran.out, ran.err);
    }
    let ran = test("", "none");
    assert!(ran.code == 2 && ran.err.contains("TL0314"), "{}", ran.err);
}

#[test]
fn alerts_begin_at_the_level_that_a_file_names() {
    let test = |head: &str, expect: &str| {
        let steps = "{at: 0s, output: \"a\\n\"}, {at: 1m, output: \"b\\n\", expect: EXPECT}".replace("EXPECT", expect);
        let text = format!("{head}{HEAD}tests: [{{name: a change, steps: [{steps}]}}]\n");
        tripline(directory(&text).path(), &["test"])
    };
    for (head, expect) in [("", "[{rule: 100001}]"), ("log_level: 8\n", "[{rule: 100001}]"), ("log_level: 9\n", "none")]
    {
        let ran = test(head, expect);
        assert_eq!(ran.code, 0, "{head}: {}{}", ran.out, ran.err);
    }
}
