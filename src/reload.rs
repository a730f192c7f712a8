//! Changed rules, without a restart: checked first, exchanged between two batches; the old set stays when the new one
//! has errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::SIGHUP;
use tripline_engine::{SourceFile, finding, load};
use tripline_processor::ActiveRules;

use crate::cli::RulesFrom;
use crate::print;
use crate::rulefiles;
use crate::settings::Settings;
use crate::signals::Stop;

/// How often the rule files are looked at. A change is taken when it has stood still from one look to the next, so that
/// half-written files are not.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where rules come from, and who judges by them.
pub struct Reload<'a> {
    /// The flags that named them.
    pub flags: &'a RulesFrom,
    /// The settings.
    pub settings: &'a Settings,
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
        let mut taken = seen.clone();
        while !stop.is_set() {
            stop.sleep(LOOK_EVERY);
            let now = self.files();
            let still = now == seen;
            seen = now;
            if asked.swap(false, Ordering::Relaxed) || (still && seen != taken) {
                taken.clone_from(&seen);
                self.exchange(&seen);
            }
        }
    }

    /// The files as they are now, or why they can't be read.
    fn files(&self) -> Result<Vec<SourceFile>, String> {
        rulefiles::gather(self.flags, self.settings).map_err(|error| print::chain(&error))
    }

    fn exchange(&self, files: &Result<Vec<SourceFile>, String>) {
        let files = match files {
            Ok(files) => files,
            Err(error) => return eprintln!("tripline: the rules are not exchanged: {error}"),
        };
        let orphans = rulefiles::orphans(self.flags, self.settings);
        let checked = load::check(files, &self.settings.engine(), orphans);
        let current = self.rules.current().digest_hex();
        match checked.rules {
            None => {
                eprint!("{}", finding::render(&checked.findings, files));
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
