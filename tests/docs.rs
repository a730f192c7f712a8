//! The examples of the documentation are true: rules compile, and rule tests pass.

use std::path::Path;

use assert_cmd::Command;
use tripline_engine::{Orphans, Settings, Severity, SourceFile, check, finding};

/// A fenced block of a Markdown file.
struct Block {
    language: String,
    text: String,
    /// The line of its fence, from 1.
    line: usize,
}

/// The fenced blocks of a page under docs/.
fn blocks(page: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        match line.strip_prefix("```") {
            Some(language) if !open => {
                blocks.push(Block { language: language.to_owned(), text: String::new(), line: number });
                open = true;
            }
            Some(_) => open = false,
            None if open => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    assert!(!open, "docs/{page}: the last block is not closed");
    blocks
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_example_of_the_rule_language_compiles_without_a_warning() {
    let shipped = SourceFile {
        name: "process_rules.xml".to_owned(),
        text: std::fs::read(root().join("rules/process_rules.xml")).unwrap(),
    };
    let examples: Vec<Block> = blocks("rules.md").into_iter().filter(|block| block.language == "xml").collect();
    assert!(examples.len() >= 9, "docs/rules.md has {} examples", examples.len());
    for example in examples {
        let name = format!("docs/rules.md, line {}", example.line);
        let files = [shipped.clone(), SourceFile { name, text: example.text.into_bytes() }];
        let checked = check(&files, &Settings::default(), Orphans::Error);
        let own = |finding: &finding::Finding| finding.span.is_some_and(|span| span.file == 1);
        let findings: Vec<_> =
            checked.findings.into_iter().filter(|f| f.severity == Severity::Error || own(f)).collect();
        assert!(findings.is_empty(), "{}", finding::render(&findings, &files));
    }
}

#[test]
fn the_example_of_the_testing_page_passes() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = 0;
    for block in blocks("testing.md") {
        // The first line of a file names it.
        let first = block.text.lines().next().unwrap_or_default();
        let name = match block.language.as_str() {
            "xml" => first.trim_start_matches("<!-- ").trim_end_matches(" -->"),
            "yaml" => first.trim_start_matches("# "),
            _ => continue,
        };
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &block.text).unwrap();
        files += 1;
    }
    assert_eq!(files, 2, "the page has a rule file and a test file");
    let run = Command::cargo_bin("tripline").unwrap().arg("test").arg(directory.path()).output().unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{out}{}", String::from_utf8_lossy(&run.stderr));
    assert!(out.ends_with("\n2 passed, 0 failed\n"), "{out}");
    let coverage = "coverage: 5 of 18 rules fired in a test; never: 532, 534, 535, ";
    assert!(out.contains(coverage), "the page says `{coverage}...`, the program {out}");
}
