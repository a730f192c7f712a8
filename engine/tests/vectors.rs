//! The conformance cases: those of the project, and the recorded ones when they are at hand (`TRIPLINE_SHARED` names the
//! directory that holds `conformance/`).

#![allow(clippy::disallowed_methods, reason = "the recorded vectors are read from where the environment says")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tripline_engine::vectors::{self, CaseReport, Standing};

/// The files of cases in a directory, each with its name without the ending.
fn files(directory: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(directory).expect("a directory of cases");
    let paths = entries.map(|entry| entry.expect("a directory entry").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_stem().expect("a file name").to_string_lossy().into_owned(), path))
        .collect();
    files.sort();
    files
}

fn run(path: &Path) -> Vec<CaseReport> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    vectors::run(&text).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()))
}

/// The recorded files, when they are at hand.
fn recorded() -> Option<Vec<(String, PathBuf)>> {
    let Some(shared) = std::env::var_os("TRIPLINE_SHARED") else {
        eprintln!("TRIPLINE_SHARED is not set: only the project's own cases are tried");
        return None;
    };
    Some(files(&Path::new(&shared).join("conformance")))
}

#[test]
fn the_cases_of_the_project_hold() {
    let own = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/own"));
    let mut names = BTreeSet::new();
    let mut failures = Vec::new();
    for (file, path) in &own {
        for report in run(path) {
            let name = format!("{file} :: {}", report.name);
            failures.extend(report.differences().map(|what| format!("{name}: {what}")));
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(names.len() > 400, "{} cases", names.len());
}

#[test]
fn the_recorded_vectors_hold_but_for_those_that_differ_on_purpose() {
    let Some(files) = recorded() else { return };
    let mut failures = Vec::new();
    let mut on_purpose = BTreeSet::new();
    for (name, path) in files {
        let reports = run(&path);
        eprintln!("{name}: {} cases", reports.len());
        for (report, standing) in reports.iter().zip(vectors::judge(&name, &reports)) {
            match standing {
                Standing::Holds => {}
                Standing::OnPurpose { .. } => drop(on_purpose.insert((name.clone(), report.name.clone()))),
                Standing::Fails(why) => failures.push(format!("{name} :: {}: {why}", report.name)),
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    let listed: BTreeSet<_> =
        vectors::differences().iter().map(|known| (known.file.clone(), known.case.clone())).collect();
    assert_eq!(on_purpose, listed, "every listed case was tried");
}

#[test]
fn every_difference_has_a_row_of_the_compatibility_page_that_names_its_case() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let page = std::fs::read_to_string(&page).expect("the compatibility page");
    let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).collect();
    let named = |row: &str| rows.iter().filter(|(id, _)| *id == row).map(|(_, rest)| *rest).collect::<Vec<_>>();
    let ids: BTreeSet<_> = rows.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), rows.len(), "ids of rows are unique");
    assert!(rows.len() > 20);
    for difference in vectors::differences() {
        let [row] = named(&difference.row)[..] else { panic!("no row `{}`", difference.row) };
        let case = format!("`{}`: {}", difference.file, difference.case);
        assert!(row.contains(&case), "row `{}` does not name {case}", difference.row);
        assert!(!difference.differs.is_empty(), "{case}");
    }
}

/// A case over one rule, 100100, and what the runner is to say of it.
fn check(case: &str, verdict: Option<&str>) {
    let text = format!(
        r#"[{{"name": "own", "area": "own",
              "rules": "<group name=\"local,\"><rule id=\"100100\" level=\"3\" ignore=\"60\"><match>alpha</match></rule></group>", {case}}}]"#
    );
    let reports = vectors::run(&text).expect("a list of cases");
    let failure = reports[0].failure.as_ref().map(ToString::to_string);
    assert_eq!(failure.as_deref(), verdict, "{case}");
}

#[test]
fn a_case_fails_at_its_first_difference() {
    let events = |expected: &str| {
        format!(
            r#""events": [{{"time": 0, "log": "beta"}}, {{"time": 1, "agent": "a", "ip": "10.0.0.1", "log": "alpha"}},
                          {{"time": 2, "agent": "a", "ip": "10.0.0.1", "log": "ALPHA"}}], "expected": [{expected}]"#
        )
    };
    let result = r#"{"rule": 100100, "level": 3, "alert": true, "email": false}"#;
    let held_back = r#"{"rule": 100100, "level": 3, "alert": false, "suppressed": true}"#;
    let cases = [
        (format!("null, {result}, null"), None),
        (format!("null, {result}, {held_back}"), None),
        (format!("null, {result}, {result}"), Some("event 3: no rule is the result, expected rule 100100")),
        ("null, null, null".to_owned(), Some("event 2: rule 100100 is the result, expected none")),
        (format!("null, {}, null", result.replace("false", "true")), Some("event 2: `email` is false, expected true")),
        (
            format!("null, {}, null", result.replace("100100", "100101")),
            Some("event 2: `rule` is 100100, expected 100101"),
        ),
        (format!("null, {}, null", result.replace("}", r#", "location": "(a) 10.0.0.1->oracle"}"#)), None),
        (
            format!("null, {}, null", result.replace("}", r#", "previous_output": "x"}"#)),
            Some("event 2: `previous_output` is None, expected Some(\"x\")"),
        ),
        (
            format!("null, {}, null", result.replace("}", r#", "hostname": "h"}"#)),
            Some("event 2: `hostname` is Some(\"(a) 10.0.0.1->oracle\"), expected Some(\"h\")"),
        ),
        (format!("null, {}, null", result.replace(r#""level": 3, "alert": true, "#, "")), None),
        (
            format!("null, {}, null", result.replace(r#""alert": true, "#, "").replace("3", "4")),
            Some("event 2: `level` is 3, expected 4"),
        ),
        (format!("null, {result}"), Some("the case can't be tried: it has 2 answers for 3 events")),
        (
            format!("null, null, {}", result.replace("}", r#", "colour": "red"}"#)),
            Some("the case can't be tried: the answer to event 3 has a field `colour`, which is not known"),
        ),
    ];
    for (expected, verdict) in cases {
        check(&events(&expected), verdict);
    }
}

#[test]
fn a_case_about_refusal_passes_only_when_the_rules_are_refused() {
    check(
        r#""events": [], "expected": null, "load_error": true"#,
        Some("the rules were loaded, expected them to be refused"),
    );
    let text = |body: &str| {
        format!(
            r#"[{{"name": "own", "area": "own", "events": [], "expected": null, "load_error": true,
                  "rules": "<group name=\"local,\"><rule id=\"100100\" level=\"3\">{body}</rule></group>"}}]"#
        )
    };
    let failure = |body| vectors::run(&text(body)).expect("a list of cases").remove(0).failure;
    assert_eq!(failure("<regex>(</regex>"), None);
    // Refused because this version knows less than OSSEC: that is no agreement.
    let unsupported = failure("<pcre2>(*UTF)a</pcre2>").expect("a failure").to_string();
    assert!(unsupported.starts_with("could not load: TL0303"), "{unsupported}");
}

#[test]
fn levels_of_a_case_are_settings_and_bytes_are_bytes() {
    let result = r#"{"rule": 100100, "level": 3, "alert": ALERT, "email": EMAIL}"#;
    for (levels, alert, email) in [("\"log_level\": 4", "false", "false"), ("\"email_level\": 3", "true", "true")] {
        let result = result.replace("ALERT", alert).replace("EMAIL", email);
        // `alpha`, and a byte that is not UTF-8.
        let event = r#"{"time": 0, "log_b64": "YWxwaGH/"}"#;
        check(&format!(r#""options": {{{levels}}}, "events": [{event}], "expected": [{result}]"#), None);
    }
}

#[test]
fn a_silent_rule_is_told_apart_where_an_answer_names_it_with_or_without_its_level() {
    let run = |expected: &str| {
        let text = format!(
            r#"[{{"name": "own", "area": "own", "expected": [{expected}], "events": [{{"time": 0, "log": "ossec: output: 'x': y"}}],
                  "rules": "<group name=\"local,\"><rule id=\"100100\" level=\"3\"><match>alpha</match></rule></group>"}}]"#
        );
        let reports = vectors::run(&text).expect("a list of cases");
        reports[0].failure.as_ref().map(ToString::to_string)
    };
    assert_eq!(run("null"), None);
    assert_eq!(run(r#"{"rule": 530, "level": 0, "alert": false}"#), None);
    assert_eq!(run(r#"{"rule": 530}"#), None);
    assert_eq!(run(r#"{"rule": 500}"#).as_deref(), Some("event 1: `rule` is 530, expected 500"));
}

#[test]
fn a_case_that_says_more_or_less_than_the_runner_knows_is_named_and_the_others_are_tried() {
    let event = r#""events": [{"time": 0, "log": "beta"}], "expected": [null]"#;
    check(event, None);
    for (case, why) in [
        (format!(r#"{event}, "zone": "Europe/Vienna""#), "it has a field `zone`, which is not known"),
        (
            format!(r#"{event}, "options": {{"accumulate": 1}}"#),
            "`options` has a field `accumulate`, which is not known",
        ),
        (event.replace(r#""time""#, r#""user": "root", "time""#), "event 1 has a field `user`, which is not known"),
        (event.replace("[null]", "null"), "it has neither answers nor one of `load_error`, `crash`, `hang`"),
        (event.replace("[null]", "[null, null]"), "it has 2 answers for 1 events"),
    ] {
        check(&case, Some(&format!("the case can't be tried: {why}")));
    }
    check(&event.replace("[null]", r#"null, "hang": true"#), None);
}

#[test]
fn what_is_no_list_of_cases_is_refused() {
    for text in ["", "{}", r#"[{"name": "x"}]"#] {
        assert!(vectors::run(text).is_err(), "{text}");
    }
}
