//! The examples of docs/rules.md compile without a finding, lints included, and every element is on the page.

#![allow(clippy::disallowed_methods, reason = "tests read the pages that the engine does not read itself")]

use std::path::Path;

use tripline_engine::lint::LintInputs;
use tripline_engine::load::{CompileInputs, check_and_lint};
use tripline_engine::{Orphans, Settings, Severity, SourceFile, finding};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect("a readable file")
}

/// The XML blocks of the page, each with the line of its fence.
fn examples() -> Vec<(usize, String)> {
    let page = read("docs/rules.md");
    let mut examples: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(page.lines()) {
        match line {
            "```xml" => {
                examples.push((number, String::new()));
                open = true;
            }
            "```" => open = false,
            line if open => examples.last_mut().expect("an open one").1.extend([line, "\n"]),
            _ => {}
        }
    }
    examples
}

#[test]
fn examples_have_no_finding() {
    let shipped = SourceFile { name: "process_rules.xml".to_owned(), text: read("rules/process_rules.xml").into() };
    let lints = LintInputs { commands: &[], today: Some("2026-11-24".parse().expect("a date")) };
    let settings = Settings { time_zone: Some("UTC".to_owned()), ..Settings::default() };
    for (line, text) in examples() {
        let example = SourceFile { name: format!("docs/rules.md, line {line}"), text: text.into() };
        let files = [shipped.clone(), example];
        let checked = check_and_lint(&CompileInputs::of_rules(&files), &settings, Orphans::Error, &lints);
        let is_bad = |finding: &tripline_engine::Finding| {
            let own = finding.span.is_some_and(|span| span.file == 1);
            finding.severity == Severity::Error || own && finding.severity == Severity::Warning
        };
        let findings: Vec<_> = checked.findings.into_iter().filter(is_bad).collect();
        assert!(findings.is_empty(), "{}", finding::render(&findings, &files));
    }
}

#[test]
fn the_elements_of_tripline_are_shown_in_an_example() {
    let all: String = examples().into_iter().map(|(_, text)| text).collect();
    for element in [
        "<run_exit_code>",
        "<run_duration>",
        "<run_output_size>",
        "<run_late>",
        "<check_diff>",
        "<replace ",
        "<columns ",
        "<sort/>",
        "<skip_header/>",
        "on=\"added\"",
        "<added_lines>",
        "<removed_lines>",
        "<ignore_key>",
    ] {
        assert!(all.contains(element), "{element} has no example");
    }
}
