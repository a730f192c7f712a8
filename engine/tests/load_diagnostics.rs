//! Golden pairs: for each `diagnostics/NAME.xml` the findings as people see them, in `NAME.txt`.
//!
//! Inputs of many megabytes are made here, see `made`: of these the `.txt` file has the findings of their own code alone.
//!
//! `NAME.2.xml` is a second file of the same rule set, `NAME.decoders.xml` its decoder file, and `NAME.list` its list
//! `lists/users`. A file that begins with `<!-- orphans=warn -->` is checked with
//! orphans set aside, one that begins with `<!-- partitions=12 -->` for so many, one that begins with
//! `<!-- time_zone=UTC -->` with that zone. `TRIPLINE_BLESS=1 cargo test` writes the `.txt` files anew; read the difference before committing.

#![allow(clippy::disallowed_methods, reason = "tests bring the bytes that the engine does not read itself")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tripline_engine::finding::{self, codes};
use tripline_engine::lint::LintInputs;
use tripline_engine::load::{FILE_BYTES_MAX, check_and_lint};
use tripline_engine::{CompileInputs, Finding, Orphans, Settings, SourceFile, check_inputs};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics")
}

/// The cases: the first file of each.
fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(directory())
        .expect("the directory of golden files")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .filter(|path| !path.to_string_lossy().ends_with(".2.xml"))
        .filter(|path| !path.to_string_lossy().ends_with(".decoders.xml"))
        .collect();
    cases.sort();
    cases
}

fn source(path: &Path) -> SourceFile {
    let name = path.file_name().expect("a file name").to_string_lossy().into_owned();
    SourceFile { name, text: fs::read(path).expect("a readable golden file") }
}

/// The value of a file that begins with `<!-- NAME=VALUE -->`.
fn header(text: &[u8], name: &str) -> Option<String> {
    let line = std::str::from_utf8(text).ok()?.lines().next()?;
    let value = line.strip_prefix("<!-- ")?.strip_prefix(name)?.strip_prefix('=')?.strip_suffix(" -->")?;
    Some(value.to_owned())
}

/// The files of a case and what checking says about them.
fn checked(case: &Path) -> (Vec<SourceFile>, tripline_engine::Checked) {
    let inputs = inputs(case);
    (inputs.files().cloned().collect(), checked_inputs(&inputs))
}

fn inputs(case: &Path) -> CompileInputs {
    let beside =
        |extension| Some(case.with_extension(extension)).filter(|path| path.exists()).map(|path| source(&path));
    CompileInputs {
        rules: [source(case)].into_iter().chain(beside("2.xml")).collect(),
        decoders: beside("decoders.xml").into_iter().collect(),
        lists: beside("list").map(|file| ("lists/users".to_owned(), file)).into_iter().collect(),
    }
}

fn checked_inputs(inputs: &CompileInputs) -> tripline_engine::Checked {
    let orphans =
        if inputs.rules[0].text.starts_with(b"<!-- orphans=warn -->") { Orphans::SetAside } else { Orphans::Error };
    let partitions = if inputs.rules[0].text.starts_with(b"<!-- partitions=12 -->") { 12 } else { 1 };
    let time_zone = header(&inputs.rules[0].text, "time_zone");
    let settings = Settings { partitions, time_zone, ..Settings::default() };
    match lint_header(&inputs.rules[0].text) {
        Some((commands, today)) => {
            check_and_lint(inputs, &settings, orphans, &LintInputs { commands: &commands, today })
        }
        None => check_inputs(inputs, &settings, orphans),
    }
}

/// The commands and the day of a file that begins with `<!-- lint today=2026-11-24 commands=df -P;uptime -->`; both may
/// be missing.
fn lint_header(text: &[u8]) -> Option<(Vec<String>, Option<jiff::civil::Date>)> {
    let line = std::str::from_utf8(text).ok()?.lines().next()?;
    let mut words = line.strip_prefix("<!-- lint")?.strip_suffix("-->")?.trim();
    let mut today = None;
    if let Some(rest) = words.strip_prefix("today=") {
        let (date, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        today = Some(date.parse().expect("a date"));
        words = rest.trim();
    }
    let commands = words.strip_prefix("commands=").map(|list| list.split(';').map(str::to_owned).collect());
    Some((commands.unwrap_or_default(), today))
}

/// Cases that are too large to be stored: their names, and their only file.
fn made() -> Vec<(&'static str, String)> {
    let rule = |id: usize, elements: &str| format!("<rule id=\"{id}\" level=\"3\">\n{elements}\n</rule>\n");
    let group = |rules: String| format!("<group name=\"many,\">\n{rules}</group>\n");
    let places = (0..2_000).map(|n| match n {
        0..1_000 => rule(100_000 + n, "<if_sid>530</if_sid>"),
        _ => rule(100_000 + n, "<if_group>many</if_group>"),
    });
    vec![
        ("TL0001-file-too-large", " ".repeat(FILE_BYTES_MAX + 1)),
        ("TL0013-too-many-findings", group((0..600).map(|n| rule(100_000 + n, "<if_sid>53O</if_sid>")).collect())),
        ("TL0015-too-many-elements", group(rule(100_000, &"<match/>".repeat(200_000)))),
        ("TL0210-too-many-places", group(places.collect())),
    ]
}

#[test]
fn findings_of_inputs_too_large_to_be_stored_read_as_recorded() {
    let mut wrong = Vec::new();
    for (name, text) in made() {
        let files = [SourceFile { name: format!("{name}.xml"), text: text.into_bytes() }];
        let checked = check_inputs(&CompileInputs::of_rules(&files), &Settings::default(), Orphans::Error);
        let of_code = |finding: &&Finding| finding.code == &name[..6];
        let own: Vec<Finding> = checked.findings.iter().filter(of_code).cloned().collect();
        assert!(!own.is_empty(), "{name}: {:?}", checked.findings.first());
        let text = finding::render(&own, &files) + &finding::summary(&own, checked.rule_count, files.len()) + "\n";
        wrong.extend(differs(&directory().join(name).with_extension("txt"), &text));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is now read, when it is not what was recorded. With `TRIPLINE_BLESS` it is recorded.
fn differs(golden: &Path, text: &str) -> Option<String> {
    if std::env::var_os("TRIPLINE_BLESS").is_some() {
        fs::write(golden, text).expect("a writable golden file");
    }
    let is_same = fs::read_to_string(golden).is_ok_and(|recorded| recorded == text);
    (!is_same).then(|| format!("{}\nis now:\n{text}", golden.display()))
}

#[test]
fn findings_read_as_recorded() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (files, checked) = checked(&case);
        let text = finding::render(&checked.findings, &files)
            + &finding::summary(&checked.findings, checked.rule_count, files.len())
            + "\n";
        wrong.extend(differs(&case.with_extension("txt"), &text));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_case_shows_the_code_that_its_name_begins_with() {
    for case in cases() {
        let name = case.file_name().expect("a file name").to_string_lossy().into_owned();
        let code = &name[..6];
        let (_, checked) = checked(&case);
        let found: Vec<_> = checked.findings.iter().map(|finding| finding.code).collect();
        assert!(found.contains(&code), "{name}: {found:?}");
    }
}

#[test]
fn every_code_has_a_case() {
    let shown: BTreeSet<String> =
        cases().iter().map(|case| case.file_name().expect("a file name").to_string_lossy()[..6].to_owned()).collect();
    // What is wrong with names of files, and with OSSEC's configuration, is found by the program, whose tests record it
    // (`tests/cli/rules.rs`).
    let found_elsewhere = [
        codes::FILE_NOT_READ.code,
        codes::OSSEC_CONF_ERROR.code,
        codes::OSSEC_CONF_PART.code,
        codes::FILE_NAMED_TWICE.code,
        codes::COMMANDS_ERROR.code,
        codes::SETTINGS_ERROR.code,
    ];
    let made: BTreeSet<&str> = made().iter().map(|(name, _)| &name[..6]).collect();
    let missing: Vec<_> = codes::ALL
        .iter()
        .map(|code| code.code)
        .filter(|code| !shown.contains(*code) && !made.contains(code) && !found_elsewhere.contains(code))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn codes_are_unique_in_order_and_explained() {
    let codes: Vec<_> = codes::ALL.iter().map(|code| code.code).collect();
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    for code in codes::ALL {
        assert!(!code.title.is_empty() && !code.why.is_empty() && !code.remedy.is_empty(), "{}", code.code);
        assert_eq!(codes::find(&code.code.to_lowercase()), Some(code));
    }
    assert_eq!(codes::find("TL9999"), None);
}

#[test]
fn json_tells_the_same_places_as_text() {
    for case in cases() {
        let (files, checked) = checked(&case);
        let json = finding::to_json(&checked.findings, &files, checked.rule_count);
        assert_eq!(json["findings"].as_array().map(Vec::len), Some(checked.findings.len()), "{}", case.display());
        let text = finding::render(&checked.findings, &files);
        for finding in json["findings"].as_array().into_iter().flatten() {
            let start = &finding["span"]["start"];
            if !start.is_null() {
                let file = finding["file"].as_str().expect("a file name");
                let place = format!("--> {file}:{}:{}\n", start["line"], start["col"]);
                assert!(text.contains(&place), "{place} is not in\n{text}");
            }
        }
    }
}

#[test]
fn what_a_finding_puts_in_place_of_the_marked_text_mends_it() {
    let mut mended = BTreeSet::new();
    for case in cases() {
        for finding in checked(&case).1.findings {
            let (Some(span), Some(replacement)) = (finding.span, &finding.replacement) else { continue };
            let mut inputs = inputs(&case);
            let mut files = inputs.rules.iter_mut().chain(&mut inputs.decoders);
            let file = files.nth(span.file as usize).expect("a file of rules or decoders");
            file.text.splice(span.start as usize..span.end as usize, replacement.bytes());
            let still_there = |other: &Finding| {
                other.code == finding.code
                    && other.span.is_some_and(|it| (it.file, it.start) == (span.file, span.start))
            };
            let after = checked_inputs(&inputs).findings;
            assert!(!after.iter().any(still_there), "{}: {finding:?}", case.display());
            mended.insert(finding.code);
        }
    }
    assert_eq!(mended.into_iter().collect::<Vec<_>>(), ["TL0201", "TL0302", "TL0306", "TL0323", "TL0324", "TL0325"]);
}
