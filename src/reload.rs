//! Changed rules, without a restart: checked first, exchanged between two batches; the old set stays when the new one
//! has errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::SIGHUP;
use tripline_engine::load::CompileInputs;
use tripline_engine::{SourceFile, finding};
use tripline_processor::ActiveRules;

use crate::print;
use crate::rulefiles::Sources;
use crate::signals::Stop;

/// How often the rule files are looked at. A change is taken when it has stood still from one look to the next, so that
/// half-written files are not.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where rules come from, and who judges by them.
pub struct Reload<'a> {
    /// Rules, decoders and lists.
    pub sources: Sources<'a>,
    /// The rules in use.
    pub rules: &'a ActiveRules,
}

impl Reload<'_> {
    /// Watches for SIGHUP and for changed files until `stop` is set.
    pub fn watch(&self, stop: &Stop) {
        let asked = Arc::new(AtomicBool::new(false));
        if let Err(error) = signal_hook::flag::register(SIGHUP, Arc::clone(&asked)) {
            tracing::warn!("SIGHUP will not reload the rules: {error}");
        }
        let mut seen = self.files();
        // What changed after the rules were loaded and before this first look is a change, too.
        let is_loaded = |inputs: &CompileInputs| inputs.files().eq(self.rules.current().files());
        let mut taken = seen.as_ref().is_ok_and(is_loaded).then(|| seen.clone());
        while !stop.is_set() {
            stop.sleep(LOOK_EVERY);
            let now = self.files();
            let still = now == seen;
            seen = now;
            if asked.swap(false, Ordering::Relaxed) || (still && taken.as_ref() != Some(&seen)) {
                taken = Some(seen.clone());
                self.exchange(&seen);
            }
        }
    }

    /// The files as they are now, or why they can't be read.
    fn files(&self) -> Result<CompileInputs, String> {
        let ossec = self.sources.ossec();
        ossec.and_then(|ossec| self.sources.gather(ossec.as_ref())).map_err(|error| print::chain(&error))
    }

    fn exchange(&self, inputs: &Result<CompileInputs, String>) {
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(error) => return eprintln!("tripline: the rules are not exchanged: {error}"),
        };
        let checked = self.sources.check(inputs);
        let current = self.rules.current().digest_hex();
        match checked.rules {
            None => {
                let files: Vec<SourceFile> = inputs.files().cloned().collect();
                eprint!("{}", finding::render(&checked.findings, &files));
                eprintln!("tripline: the new rules have errors; judging goes on by rule set {current}");
            }
            Some(rules) if rules.digest_hex() == current => eprintln!("tripline: the rules have not changed"),
            Some(rules) => {
                let digest = rules.digest_hex();
                self.rules.exchange(Arc::new(rules));
                eprintln!(
                    "tripline: judging by {} now: rule set {digest}",
                    print::count(checked.rule_count as u64, "rule")
                );
            }
        }
    }
}
