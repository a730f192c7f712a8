//! `tripline test`: rule tests with a clock, or conformance vectors.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use tripline_engine::vectors::{self, Standing};

use crate::cli::Test;
use crate::exit::{Exit, Failure, Outcome};
use crate::print::{self, say};
use crate::ruletest::{self, Loader, Report};

pub fn run(args: &Test) -> Outcome {
    if !args.vectors.is_empty() {
        return run_vectors(&args.vectors);
    }
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() { here.as_slice() } else { &args.paths };
    let files = load(paths)?;
    let mut report = Report::default();
    let mut out = std::io::stdout().lock();
    for file in &files {
        for test in &file.tests {
            writeln!(out, "{}", report.add(file, test, &ruletest::run(file, test)))?;
        }
    }
    if report.tests() == 0 {
        say!("tripline: there are no rule tests (*_test.yaml) in {}", ruletest::report::paths(paths));
        return Ok(Exit::NothingSelected);
    }
    write!(out, "{}", report.end())?;
    Ok(if report.has_failures() { Exit::Findings } else { Exit::Fine })
}

/// All test files, or everything that is wrong with them on standard error.
fn load(paths: &[PathBuf]) -> Result<Vec<ruletest::TestFile>, Failure> {
    let found = ruletest::find(paths).map_err(Failure::unusable)?;
    let mut loader = Loader::default();
    let (mut files, mut bad) = (Vec::new(), 0);
    for path in &found {
        match loader.load(path) {
            Ok(file) => files.push(file),
            Err(problems) => {
                say!("{}", print::escaped(problems.as_bytes()).trim_end());
                bad += 1;
            }
        }
    }
    match bad {
        0 => Ok(files),
        _ => {
            let bad = print::count(bad, "test file");
            Err(Failure::unusable(anyhow!("{bad} could not be loaded; no test was run")))
        }
    }
}

/// Runs conformance vectors and prints what is wrong with each failure. Cases that differ on purpose are counted by
/// themselves.
fn run_vectors(paths: &[PathBuf]) -> Outcome {
    let mut files = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()));
        let cases =
            text.and_then(|text| vectors::run(&text).with_context(|| format!("`{}` can't be used", path.display())));
        files.push((path, cases.map_err(Failure::unusable)?));
    }
    let (mut passed, mut on_purpose, mut failed) = (0, 0, 0);
    let mut out = std::io::stdout().lock();
    for (path, cases) in &files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        for (case, standing) in cases.iter().zip(vectors::judge(&name, cases)) {
            let (word, why) = match standing {
                Standing::Holds => {
                    passed += 1;
                    continue;
                }
                Standing::OnPurpose { row } => {
                    on_purpose += 1;
                    ("DIFFERS", format!("on purpose, see `{row}` in docs/compatibility.md"))
                }
                Standing::Fails(why) => {
                    failed += 1;
                    ("FAIL", why)
                }
            };
            let text = format!("{word} {} :: {} ({}): {why}\n", path.display(), case.name, case.area);
            write!(out, "{}", print::escaped(text.as_bytes()))?;
        }
    }
    if passed + on_purpose + failed == 0 {
        say!("tripline: there are no cases in {}", ruletest::report::paths(paths));
        return Ok(Exit::NothingSelected);
    }
    let sum = ruletest::report::sum(passed, failed);
    match on_purpose {
        0 => writeln!(out, "{sum}")?,
        _ => writeln!(out, "{sum}, {on_purpose} different on purpose")?,
    }
    Ok(if failed > 0 { Exit::Findings } else { Exit::Fine })
}
