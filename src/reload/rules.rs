//! Changed rules, decoders and lists, exchanged between two batches.

use std::sync::Arc;

use tripline_engine::{SourceFile, finding};
use tripline_processor::ActiveRules;

use super::Exchange;
use crate::print::{self, say};
use crate::rulefiles::{self, Sources, Wanted};

/// Where rules come from, and who judges by them.
pub struct Rules<'a> {
    /// Rules, decoders and lists.
    pub sources: Sources<'a>,
    /// The rules in use.
    pub active: &'a ActiveRules,
}

impl Exchange for Rules<'_> {
    /// What they are compiled from, or why it can't be read.
    type Texts = Result<Wanted, String>;

    fn texts(&mut self) -> Self::Texts {
        let ossec = self.sources.ossec();
        ossec.and_then(|ossec| self.sources.gather(ossec.as_ref())).map_err(|error| print::chain(&error))
    }

    fn is_in_use(&self, texts: &Self::Texts) -> bool {
        let current = self.active.current();
        texts
            .as_ref()
            .is_ok_and(|wanted| wanted.inputs.files().eq(current.files()) && wanted.engine == *current.settings())
    }

    fn exchange(&mut self, texts: &Self::Texts) {
        let wanted = match texts {
            Ok(wanted) => wanted,
            Err(error) => return say!("tripline: the rules are not exchanged: {error}"),
        };
        let checked = self.sources.check(wanted);
        let files: Vec<SourceFile> = wanted.inputs.files().cloned().collect();
        let current = self.active.current().digest_hex();
        match checked.rules {
            None => {
                say!("{}", finding::render(&checked.findings, &files).trim_end());
                say!("tripline: the new rules have errors; judging goes on by rule set {current}");
            }
            Some(rules) if rules.digest_hex() == current => say!("tripline: the rules have not changed"),
            Some(rules) => {
                let digest = rules.digest_hex();
                rulefiles::warn(&checked.findings, &files);
                let count = rulefiles::count(&rules);
                self.active.exchange(Arc::new(rules));
                say!("tripline: judging by {count} now: rule set {digest}");
            }
        }
    }
}
