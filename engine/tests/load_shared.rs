//! OSSEC's stock rule files and the recorded conformance vectors, when `TRIPLINE_SHARED` names the directory that holds
//! them. They are not part of the project; what they teach is kept in its own tests.

#![allow(clippy::disallowed_methods, reason = "tests bring the bytes that the engine does not read itself")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tripline_engine::finding::{codes, render};
use tripline_engine::load::PATTERNS_BYTES_MAX;
use tripline_engine::{CompileInputs, Orphans, Settings, Severity, SourceFile, check, check_inputs};

fn stock() -> Option<CompileInputs> {
    let directory = PathBuf::from(std::env::var_os("TRIPLINE_SHARED")?).join("ossec-ruleset");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .expect("TRIPLINE_SHARED/ossec-ruleset")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .collect();
    paths.sort();
    let file = |path: &PathBuf| SourceFile {
        name: path.file_name().expect("a name").to_string_lossy().into_owned(),
        text: fs::read(path).expect("a readable file"),
    };
    let (decoders, rules) = paths.iter().map(file).partition(|file| file.name == "decoder.xml");
    Some(CompileInputs { rules, decoders, lists: Vec::new() })
}

fn settings() -> Settings {
    Settings { time_zone: Some("UTC".to_owned()), ..Settings::default() }
}

#[test]
fn stock_rules_and_decoders_load_without_an_error() {
    let Some(inputs) = stock() else {
        println!("TRIPLINE_SHARED is not set: nothing was tried");
        return;
    };
    let files: Vec<_> = inputs.files().cloned().collect();
    let checked = check_inputs(&inputs, &settings(), Orphans::Error);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &checked.findings {
        *counts.entry(finding.code).or_default() += 1;
    }
    println!("{} files, {} rules, findings: {counts:?}", files.len(), checked.rule_count);
    for finding in &checked.findings {
        assert!(finding.severity != Severity::Error, "{}", render(std::slice::from_ref(finding), &files));
    }
    let rules = checked.rules.expect("no errors");
    println!("all patterns compiled take at most {} MiB", rules.pattern_bytes_max() >> 20);
    assert!(rules.pattern_bytes_max() <= PATTERNS_BYTES_MAX / 10);
    // An independent count: tags outside of comments.
    let comment = regex::bytes::Regex::new("(?s)<!--.*?-->").expect("a good pattern");
    let tag = regex::bytes::Regex::new(r"<rule\s").expect("a good pattern");
    let tags = |file: &SourceFile| tag.find_iter(&comment.replace_all(&file.text, &b""[..])).count();
    assert_eq!(checked.rule_count, inputs.rules.iter().map(tags).sum::<usize>());
}

#[test]
fn stock_files_one_by_one_give_the_same_rules() {
    let Some(inputs) = stock() else {
        println!("TRIPLINE_SHARED is not set: nothing was tried");
        return;
    };
    let count = |files: &[SourceFile]| check(files, &settings(), Orphans::SetAside).rule_count;
    let sum: usize = inputs.rules.iter().map(|file| count(std::slice::from_ref(file))).sum();
    assert_eq!(sum, count(&inputs.rules));
}

#[test]
fn recorded_rules_are_refused_where_ossec_refused_them() {
    let Some(shared) = std::env::var_os("TRIPLINE_SHARED") else {
        println!("TRIPLINE_SHARED is not set: nothing was tried");
        return;
    };
    let mut tried = 0;
    for entry in fs::read_dir(PathBuf::from(shared).join("conformance")).expect("TRIPLINE_SHARED/conformance") {
        let path = entry.expect("a directory entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let cases: Vec<serde_json::Value> =
            serde_json::from_slice(&fs::read(&path).expect("a readable file")).expect("a list of cases");
        for case in cases {
            let name = case["name"].as_str().expect("a name");
            let text = |value: &serde_json::Value| value.as_str().map(|text| text.as_bytes().to_vec());
            let file = |name: &str, text| SourceFile { name: name.to_owned(), text };
            let lists = case["lists"].as_object().into_iter().flatten();
            let inputs = CompileInputs {
                rules: text(&case["rules"]).map(|text| file("rules.xml", text)).into_iter().collect(),
                decoders: text(&case["decoders"]).map(|text| file("decoders.xml", text)).into_iter().collect(),
                lists: lists
                    .filter_map(|(name, list)| Some((format!("lists/{name}"), file(name, text(list)?))))
                    .collect(),
            };
            let files: Vec<_> = inputs.files().cloned().collect();
            let checked = check_inputs(&inputs, &settings(), Orphans::Error);
            let errors = checked.findings.iter().filter(|finding| finding.severity == Severity::Error);
            let mut supported = errors.clone().filter(|finding| finding.code != codes::NOT_SUPPORTED.code);
            let shown = || render(&checked.findings, &files);
            tried += 1;
            // Parents may stand behind their children here.
            let accepted_here = name == "parent defined later";
            if case["load_error"] == true {
                assert!(errors.count() > 0 || accepted_here, "{name} is accepted:\n{}", shown());
            } else if case["hang"] != true && case["crash"] != true {
                assert!(supported.next().is_none(), "{name} is refused:\n{}", shown());
            }
        }
    }
    println!("{tried} cases");
    assert!(tried > 100);
}
