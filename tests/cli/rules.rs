//! Rules that can't be loaded.

use super::{Place, SETTINGS, ticks};

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
        place.tripline(&[verb, "--rules", "empty"]).exits(2).says(&["`empty` holds no rule files"]);
        place.tripline(&[verb, "--rules", "nowhere"]).exits(2).says(&["`nowhere`", "No such file"]);
    }
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
