//! One test through the event loop that runs live, with a state of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use tripline_engine::decision::{Decision, Verdict};
use tripline_processor::replay;
use tripline_processor::shard::Observer;
use tripline_processor::task::{Arrival, Judged};

use super::compare::{self, Mismatch};
use super::load::{Test, TestFile};
use super::time;

/// How a test ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// What was not as expected; empty when the test passed.
    pub failures: Vec<Failure>,
    /// Rules that were the result of a line, an alert or not.
    pub fired: BTreeSet<u32>,
}

/// One thing that was not as expected.
#[derive(Debug)]
pub struct Failure {
    /// In which step, as text; `None` when it is about the whole test.
    pub step: Option<String>,
    /// What.
    pub mismatch: Mismatch,
}

/// Runs one test of a file.
pub fn run(file: &TestFile, test: &Test) -> Ended {
    let records = test.arrivals.iter().map(|arrival| Ok::<_, Infallible>(arrival.record.clone()));
    let options = replay::options("rule-test");
    let mut watch = Watch { file, test, ended: Ended::default(), alerts: BTreeMap::new(), failed: BTreeSet::new() };
    let rules = Arc::clone(&file.rules);
    let result = replay::run(rules, replay::from_history(records), &options, &|| false, &mut watch, &mut |_| Ok(()));
    if let Err(error) = result {
        watch.fail(None, Mismatch::plain(format!("the test could not be run: {error}")));
    }
    watch.totals();
    watch.ended
}

/// Compares while the loop goes on.
struct Watch<'a> {
    file: &'a TestFile,
    test: &'a Test,
    ended: Ended,
    /// How many alerts each rule gave.
    alerts: BTreeMap<u32, u64>,
    /// Steps that were not as expected; one that is repeated is reported once.
    failed: BTreeSet<usize>,
}

impl Observer for Watch<'_> {
    fn judged(&mut self, arrival: &Arrival, judged: &Judged) {
        // A history numbers what it holds from 0.
        let number = arrival.offset as usize;
        match judged {
            Judged::Decided(decision) => self.decided(number, decision),
            Judged::DeadLetter(reason) => {
                self.fail(Some(number), Mismatch::plain(format!("could not be judged: {reason}")));
            }
            Judged::Folded | Judged::Seen => {
                self.fail(Some(number), Mismatch::plain("the processor took it for one it had seen before".to_owned()));
            }
        }
    }

    fn wants_detail(&self) -> bool {
        true
    }
}

impl Watch<'_> {
    fn decided(&mut self, number: usize, decision: &Decision) {
        for alert in &decision.alerts {
            let rule = alert.rule.id.parse().unwrap_or_default();
            *self.alerts.entry(rule).or_default() += 1;
        }
        for line in &decision.lines {
            let result = match line.verdict {
                Verdict::Silent(rule) | Verdict::NotLogged(rule) => Some(rule),
                Verdict::HeldBack { rule, .. } | Verdict::Alert { rule, .. } => Some(rule),
                // The line that was gathered has the result.
                Verdict::Gathered(_) | Verdict::NoRule => None,
            };
            let Some(rule) = result else { continue };
            self.ended.fired.insert(rule);
            if let Some((_, place)) = self.test.never.iter().find(|(never, _)| *never == rule)
                && self.ended.failures.iter().all(|known| known.mismatch.place != *place)
            {
                let mut mismatch = Mismatch::plain(format!("rule {rule} took a line, expected it never to"));
                (mismatch.place, mismatch.label) = (place.clone(), "it did".to_owned());
                mismatch.got = vec![compare::line_text(line)];
                self.fail(Some(number), mismatch);
            }
        }
        let step = self.test.arrivals[number].step;
        if let Some(expect) = &self.test.steps[step].expect
            && let Some(mismatch) = compare::compare(expect, decision, self.test.start, &self.file.text)
            && self.failed.insert(step)
        {
            self.fail(Some(number), mismatch);
        }
    }

    fn totals(&mut self) {
        for (rule, expected, place) in &self.test.totals {
            let got = self.alerts.get(rule).copied().unwrap_or_default();
            if got != *expected {
                let mut mismatch = Mismatch::plain(format!("rule {rule} gave {}, expected {expected}", alerts(got)));
                (mismatch.place, mismatch.label) = (place.clone(), format!("got {got}"));
                self.fail(None, mismatch);
            }
        }
    }

    /// Notes what is wrong, in a step or in the whole test.
    fn fail(&mut self, arrival: Option<usize>, mut mismatch: Mismatch) {
        let arrival = arrival.map(|number| &self.test.arrivals[number]);
        let step = arrival.map(|arrival| {
            mismatch.place = mismatch.place.take().or_else(|| self.test.steps[arrival.step].place.clone());
            let number = arrival.step + 1;
            match arrival.repetition {
                Some((n, of)) => format!("step {number}, repetition {n} of {of} (at {})", time::shown(arrival.at)),
                None => format!("step {number} (at {})", time::shown(arrival.at)),
            }
        });
        self.ended.failures.push(Failure { step, mismatch });
    }
}

fn alerts(count: u64) -> String {
    crate::print::count(count, "alert")
}
