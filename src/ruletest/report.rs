//! Test results as text: a line per test, then the failures in detail, the coverage, and the sum.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tripline_engine::RuleSet;
use tripline_engine::source::Span;

use super::drive::{Ended, Failure};
use super::excerpt;
use super::load::{Test, TestFile};
use crate::print;

/// At most this many rules that never fired are listed.
const NEVER_MAX: usize = 20;

/// Gathers what is printed at the end.
#[derive(Debug, Default)]
pub struct Report {
    passed: usize,
    failed: usize,
    details: String,
    /// Rules by id and file (one id may stand in several rule sets), and whether they fired in some test.
    rules: BTreeMap<(u32, String), bool>,
}

impl Report {
    /// Takes a test's end down, and gives its line.
    pub fn add(&mut self, file: &TestFile, test: &Test, ended: &Ended) -> String {
        self.cover(&file.rules, &ended.fired);
        let title = print::escaped(format!("{} :: {}", file.name, test.name).as_bytes());
        if ended.failures.is_empty() {
            self.passed += 1;
            return format!("PASS {title}");
        }
        self.failed += 1;
        self.details.push_str(&format!("\nFAIL {title}\n"));
        for failure in &ended.failures {
            self.details.push_str(&detail(file, failure));
        }
        format!("FAIL {title}")
    }

    fn cover(&mut self, rules: &RuleSet, fired: &BTreeSet<u32>) {
        for rule in rules.rules().filter(|rule| rule.span.file != Span::BUILT_IN) {
            let file = &rules.files()[rule.span.file as usize];
            *self.rules.entry((rule.id, file.name.clone())).or_default() |= fired.contains(&rule.id);
        }
    }

    /// How many tests there were.
    pub fn tests(&self) -> usize {
        self.passed + self.failed
    }

    /// Whether a test failed.
    pub fn has_failures(&self) -> bool {
        self.failed > 0
    }

    /// The failures, the coverage, and the sum, which is the last line.
    pub fn end(&self) -> String {
        format!("{}\n{}\n{}\n", self.details, self.coverage(), sum(self.passed, self.failed))
    }

    fn coverage(&self) -> String {
        let never: Vec<String> =
            self.rules.iter().filter(|(_, fired)| !**fired).map(|((id, _), _)| id.to_string()).collect();
        let (all, fired) = (self.rules.len(), self.rules.len() - never.len());
        let mut text = format!("coverage: {fired} of {} fired in a test", print::count(all as u64, "rule"));
        if !never.is_empty() {
            text.push_str("; never: ");
            text.push_str(&never[..never.len().min(NEVER_MAX)].join(", "));
        }
        if never.len() > NEVER_MAX {
            text.push_str(&format!(" and {} more", never.len() - NEVER_MAX));
        }
        text
    }
}

/// The last line, for rule tests as for conformance vectors.
pub fn sum(passed: usize, failed: usize) -> String {
    format!("{passed} passed, {failed} failed")
}

fn detail(file: &TestFile, failure: &Failure) -> String {
    let mismatch = &failure.mismatch;
    let mut text = match &failure.step {
        Some(step) => format!("  {step}: {}\n", mismatch.what),
        None => format!("  {}\n", mismatch.what),
    };
    text.push_str(&excerpt::excerpt(&file.name, &file.text, &mismatch.place, &mismatch.label));
    if !mismatch.expected.is_empty() || !mismatch.got.is_empty() {
        text.push_str("    expected (-), got (+)\n");
        for (sign, entries) in [('-', &mismatch.expected), ('+', &mismatch.got)] {
            for entry in entries {
                text.push_str(&format!("    {sign} {}\n", entry.replace('\n', "\n    ")));
            }
        }
    }
    for why in &mismatch.why {
        text.push_str(&format!("    why: {why}\n"));
    }
    print::escaped(text.as_bytes())
}

/// A path list for messages.
pub fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}
