//! From a test file to tests that can be run, or to everything that is wrong with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_saphyr::Spanned;
use tripline_engine::load::CompileInputs;
use tripline_engine::{RuleSet, Settings, SourceFile, finding, load};
use tripline_schemas::history::HistoryRecord;

use super::excerpt::{self, Place};
use super::problem::{self, Problem};
use super::rules;
use super::steps::Reader;
use super::yaml;
use crate::rulefiles;

/// A test file, ready to be run.
#[derive(Debug)]
pub struct TestFile {
    /// Its path as the user gave it.
    pub name: String,
    /// What it says.
    pub text: String,
    /// The rules that its tests are about.
    pub rules: Arc<RuleSet>,
    /// The tests, in order.
    pub tests: Vec<Test>,
}

/// One test.
#[derive(Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// When it starts.
    pub start: Timestamp,
    /// Its steps.
    pub steps: Vec<Step>,
    /// What arrives, in order; each belongs to a step.
    pub arrivals: Vec<Arrival>,
    /// Rule to how many alerts it must have given, and where that is said.
    pub totals: Vec<(u32, u64, Place)>,
    /// Rules that must not be the result of anything, and where that is said.
    pub never: Vec<(u32, Place)>,
}

/// What is expected of a step.
#[derive(Debug)]
pub struct Step {
    /// Where it is written.
    pub place: Place,
    /// What must follow, if the test says so.
    pub expect: Option<Spanned<yaml::Expect>>,
}

/// One thing that arrives.
#[derive(Debug)]
pub struct Arrival {
    /// The number of its step, from 0.
    pub step: usize,
    /// Which repetition of how many, from 1.
    pub repetition: Option<(u32, u32)>,
    /// When, since the start of the test.
    pub at: Duration,
    /// What.
    pub record: HistoryRecord,
}

/// Reads test files. Rules that several files name are compiled once.
#[derive(Debug, Default)]
pub struct Loader {
    compiled: Vec<Compiled>,
}

/// Files and the settings that change their answers, and what came of them: rules, or what is wrong with them as text.
#[derive(Debug)]
struct Compiled {
    inputs: CompileInputs,
    settings: Settings,
    rules: Result<Arc<RuleSet>, String>,
}

impl Loader {
    /// Reads a file, or says everything that is wrong with it, as text for people.
    pub fn load(&mut self, path: &Path) -> Result<TestFile, String> {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| format!("could not read `{name}`: {error}\n"))?;
        let text = String::from_utf8(text).map_err(|_| format!("`{name}` is not UTF-8\n"))?;
        let file = problem::parse(&text).map_err(|problem| problem.render(&name, &text))?;
        let mut problems = Vec::new();
        let base = path.parent().unwrap_or(Path::new(""));
        let rules = self.rules(&file, base, &text, &mut problems);
        let mut tests = Vec::new();
        for test in file.tests {
            let reader = Reader { base, text: &text, rules: rules.as_deref(), problems: &mut problems };
            tests.push(reader.test(test, &file.defaults));
        }
        match rules {
            Some(rules) if problems.is_empty() => Ok(TestFile { name, text, rules, tests }),
            _ => Err(problems.iter().map(|problem| problem.render(&name, &text)).collect()),
        }
    }

    fn rules(
        &mut self,
        file: &yaml::File,
        base: &Path,
        text: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<RuleSet>> {
        let before = problems.len();
        // A file that comes up again, as one of a directory does, counts where it comes up first.
        let mut known = BTreeSet::new();
        let mut files = |entries: &[Spanned<String>]| {
            let mut files: Vec<SourceFile> = Vec::new();
            for entry in entries {
                match rules::resolve(&entry.value, base) {
                    Ok(more) => files.extend(more.into_iter().filter(|file| known.insert(file.name.clone()))),
                    Err(error) => problems.push(Problem::at(excerpt::place(entry, text), format!("{error:#}"))),
                }
            }
            files
        };
        let mut inputs = rulefiles::sorted(files(&file.rules));
        inputs.decoders.extend(files(&file.decoders));
        let places: Vec<PathBuf> = file.lists.iter().map(|entry| base.join(&entry.value)).collect();
        if let Err(error) = rulefiles::add_lists(&mut inputs, &places) {
            let place = file.lists.first().and_then(|entry| excerpt::place(entry, text));
            problems.push(Problem::at(place, format!("{error:#}")));
        }
        if problems.len() > before {
            return None;
        }
        let default = Settings::default();
        let log_alert_level = file.log_level.unwrap_or(default.log_alert_level);
        let settings = Settings { time_zone: file.time_zone.clone(), log_alert_level, ..default };
        let is_known = |known: &Compiled| known.inputs == inputs && known.settings == settings;
        let at = self.compiled.iter().position(is_known).unwrap_or_else(|| {
            self.compiled.push(Compiled { rules: compile(&inputs, &settings), inputs, settings });
            self.compiled.len() - 1
        });
        match &mut self.compiled[at].rules {
            Ok(rules) => Some(Arc::clone(rules)),
            Err(findings) => {
                // Said once, however many files name these rules.
                let place = file.rules.first().and_then(|entry| excerpt::place(entry, text));
                problems.push(Problem {
                    place,
                    message: "the rules have errors".to_owned(),
                    details: std::mem::take(findings),
                    ..Problem::default()
                });
                None
            }
        }
    }
}

/// The rules, or what is wrong with them as text.
fn compile(inputs: &CompileInputs, settings: &Settings) -> Result<Arc<RuleSet>, String> {
    let checked = load::check_inputs(inputs, settings, load::Orphans::Error);
    let files: Vec<SourceFile> = inputs.files().cloned().collect();
    checked.rules.map(Arc::new).ok_or_else(|| finding::render(&checked.findings, &files))
}
