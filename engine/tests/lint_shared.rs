//! OSSEC's stock rule files are linted in bounded work, and always with the same answer, when `TRIPLINE_SHARED` names the
//! directory that holds them.

#![allow(clippy::disallowed_methods, reason = "tests bring the bytes that the engine does not read itself")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tripline_engine::finding::render;
use tripline_engine::lint::LintInputs;
use tripline_engine::load::{CompileInputs, check_and_lint};
use tripline_engine::{Orphans, Settings, Severity, SourceFile};

#[test]
fn stock_rules_are_linted_in_a_stable_order_and_without_an_error() {
    let Some(shared) = std::env::var_os("TRIPLINE_SHARED") else {
        println!("TRIPLINE_SHARED is not set: nothing was tried");
        return;
    };
    let mut paths: Vec<_> = fs::read_dir(PathBuf::from(shared).join("ossec-ruleset"))
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
    let inputs = CompileInputs { rules, decoders, lists: Vec::new() };
    let files: Vec<_> = inputs.files().cloned().collect();
    let settings = Settings { time_zone: Some("UTC".to_owned()), ..Settings::default() };
    let commands = ["df -P".to_owned(), "netstat -tan |grep LISTEN".to_owned(), "w".to_owned()];
    let lints = LintInputs { commands: &commands, today: None };
    let checked = || check_and_lint(&inputs, &settings, Orphans::SetAside, &lints).findings;
    let findings = checked();
    assert_eq!(findings, checked());
    assert!(findings.is_sorted_by_key(|finding| (finding.span, finding.code)));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &findings {
        *counts.entry(finding.code).or_default() += 1;
    }
    println!("findings: {counts:?}");
    let told = findings.iter().filter(|finding| finding.severity != Severity::Info);
    println!("{}", render(&told.cloned().collect::<Vec<_>>(), &files));
    assert!(findings.iter().all(|finding| finding.severity != Severity::Error));
}
