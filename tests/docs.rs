//! The examples of the documentation are true: rules compile and take a line, rule tests pass, commands can be typed, histories are
//! read.

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use tripline_engine::lint::LintInputs;
use tripline_engine::load::{check_and_lint, element_names, list_names};
use tripline_engine::{CompileInputs, Orphans, Settings, Severity, SourceFile, finding};
use tripline_schemas::history::{HistoryBody, HistoryReader};

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

/// All examples of docs/rules.md together, each a file of its own, under the shipped rules.
fn examples() -> CompileInputs {
    let shipped = ["process_rules.xml", "run_rules.xml"].map(|name| {
        let text = std::fs::read(root().join("rules").join(name)).unwrap();
        SourceFile { name: name.to_owned(), text }
    });
    let mut inputs = CompileInputs { rules: shipped.to_vec(), ..CompileInputs::default() };
    for example in blocks("rules.md").into_iter().filter(|block| block.language == "xml") {
        let name = format!("docs/rules.md, line {}", example.line);
        let of_decoders = example.text.starts_with("<decoder");
        let kind = if of_decoders { &mut inputs.decoders } else { &mut inputs.rules };
        kind.push(SourceFile { name, text: example.text.into_bytes() });
    }
    let list = |(name, _): (String, usize)| (name.clone(), SourceFile { name, text: b"key:value\n".to_vec() });
    inputs.lists = list_names(&inputs.rules).into_iter().map(list).collect();
    inputs
}

#[test]
fn every_example_of_the_rule_language_compiles_without_a_warning() {
    let inputs = examples();
    assert!(inputs.rules.len() >= 24, "docs/rules.md has {} examples", inputs.rules.len());
    let settings = Settings { time_zone: Some("Europe/Vienna".to_owned()), ..Settings::default() };
    let lints = LintInputs { commands: &[], today: Some("2026-11-24".parse().unwrap()) };
    let checked = check_and_lint(&inputs, &settings, Orphans::Error, &lints);
    let is_bad = |finding: &finding::Finding| match finding.severity {
        Severity::Error => true,
        Severity::Warning => finding.span.is_some_and(|span| span.file > 0),
        Severity::Info => false,
    };
    let findings: Vec<_> = checked.findings.into_iter().filter(is_bad).collect();
    let files: Vec<SourceFile> = inputs.files().cloned().collect();
    assert!(findings.is_empty(), "{}", finding::render(&findings, &files));
}

#[test]
fn every_element_of_the_rule_language_has_an_example() {
    // Read, and never fulfilled: a warning says so, and an example would mislead.
    const WITHOUT_EFFECT: [&str; 6] =
        ["compiled_rule", "srcgeoip", "srcgeoip_pcre2", "dstgeoip", "dstgeoip_pcre2", "different_srcgeoip"];
    let examples: String =
        examples().files().map(|file| String::from_utf8_lossy(&file.text).into_owned() + "\n").collect();
    let page = std::fs::read_to_string(root().join("docs/rules.md")).unwrap();
    for name in element_names() {
        let is_shown = [" ", ">", "/"].iter().any(|end| examples.contains(&format!("<{name}{end}")));
        let is_told = page.contains(name.trim_end_matches("_pcre2"));
        assert!(is_shown || (is_told && WITHOUT_EFFECT.contains(&name)), "docs/rules.md has no example of `{name}`");
    }
}

/// The ids that rule elements of a text define.
fn ids(rules: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(rules);
    let starts = text.split("<rule id=\"").skip(1);
    starts.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()).collect()
}

/// Every rule of docs/rules.md takes a line: an alert, or silently where its text says so. The events and what must come of
/// them are in tests/data/examples/, and an example without an event there fails.
#[test]
fn every_rule_of_the_rule_language_page_takes_the_line_that_its_text_promises() {
    let directory = tempfile::tempdir().unwrap();
    let data = root().join("tests/data/examples");
    std::fs::copy(data.join("events_test.yaml"), directory.path().join("events_test.yaml")).unwrap();
    std::fs::create_dir(directory.path().join("lists")).unwrap();
    for list in ["leavers", "networks", "pages"] {
        let within = Path::new("lists").join(list);
        std::fs::copy(data.join(&within), directory.path().join(&within)).unwrap();
    }
    std::fs::create_dir(directory.path().join("examples")).unwrap();
    let mut shown = BTreeSet::new();
    for example in blocks("rules.md").into_iter().filter(|block| block.language == "xml") {
        for id in ids(example.text.as_bytes()) {
            assert!(shown.insert(id.clone()), "docs/rules.md, line {}: rule {id} has been shown before", example.line);
        }
        // In the order of the page.
        let name = format!("examples/line_{:04}.xml", example.line);
        std::fs::write(directory.path().join(name), example.text).unwrap();
    }
    assert!(shown.len() >= 40, "docs/rules.md shows {} rules", shown.len());

    let run = Command::cargo_bin("tripline").unwrap().arg("test").arg(directory.path()).output().unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{out}{}", String::from_utf8_lossy(&run.stderr));
    let coverage = out.lines().find_map(|line| line.strip_prefix("coverage: ")).expect("the program tells what fired");
    let (_, never) = coverage.split_once("; never: ").expect("some shipped rules have no event here");
    // A long list is cut at its end, and the ids rise: those of the page come before 990002.
    let never: BTreeSet<String> = never.split([',', ' ']).map(str::to_owned).collect();
    let without_event: Vec<&String> = shown.intersection(&never).collect();
    assert!(without_event.is_empty(), "rules of docs/rules.md without an event: {without_event:?}");
    assert!(never.contains("990002"), "the list of rules that never fired is cut: {coverage}");
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
    let coverage = "coverage: 5 of 19 rules fired in a test; never: 532, 534, 535, ";
    assert!(out.contains(coverage), "the page says `{coverage}...`, the program {out}");
}

/// What the operating page says to type can be typed, line by line in its order, by somebody who starts from nothing.
/// Lines for the system's administrator (`sudo`, `systemctl`) are left out.
#[test]
fn every_command_of_the_operating_page_works_in_its_order() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("bin");
    std::fs::create_dir(&program).unwrap();
    std::os::unix::fs::symlink(assert_cmd::cargo::cargo_bin("tripline"), program.join("tripline")).unwrap();
    let history = r#"{"agent":"web-1","command":"uptime","time":"2026-11-24T10:00:00Z","output":"load average: 0.1"}"#;
    std::fs::write(directory.path().join("history.jsonl"), history).unwrap();
    let shell = |line: &str| {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", program.display());
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(directory.path()).env_clear().env("PATH", path);
        command.env("TRIPLINE_AGENT__NAME", "web-1").env("TRIPLINE_COLLECTOR__SPLAY", "0");
        command.output().unwrap()
    };
    let mut typed = 0;
    for block in blocks("operating.md") {
        if block.language == "toml" {
            let commands = directory.path().join("commands.toml");
            let text = std::fs::read_to_string(&commands).expect("`tripline init` comes first") + "\n" + &block.text;
            std::fs::write(commands, text).unwrap();
        }
        if block.language != "sh" {
            continue;
        }
        for line in block.text.lines().map(|line| line.split("  #").next().unwrap().trim()) {
            let line = match line {
                _ if line.starts_with("sudo ") || line.starts_with("systemctl ") => continue,
                "tripline run" => "tripline run --for 4s".to_owned(),
                _ if line.contains(" --follow") => {
                    format!("timeout --foreground --preserve-status --signal=TERM 2 {line}")
                }
                _ => line.to_owned(),
            };
            let ran = shell(&line);
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "docs/operating.md: `{line}`: {}\n{said}", ran.status);
            typed += 1;
        }
    }
    assert!(typed >= 18, "{typed} lines were typed");
}

/// What the pages show as lines of a history can be read as such.
#[test]
fn every_line_of_a_history_on_the_pages_can_be_read() {
    let mut kinds = BTreeSet::new();
    for page in ["operating.md", "rules.md"] {
        for block in blocks(page).into_iter().filter(|block| block.language == "json") {
            for record in HistoryReader::new(block.text.as_bytes()) {
                let record = record.unwrap_or_else(|error| panic!("docs/{page}, line {}: {error}", block.line));
                kinds.insert(matches!(record.body, HistoryBody::Log(_)));
            }
        }
    }
    assert_eq!(kinds, BTreeSet::from([false, true]), "a run and a log line are shown");
}
