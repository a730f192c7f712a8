//! The rule set in use, and the record that lets anybody look it up later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tripline_engine::{RuleSet, SourceFile};
use tripline_schemas::Record;
use tripline_schemas::ruleset::{RuleFile, RuleFileKind, RuleSetRecord};

/// The rule set that shards judge by. It can be exchanged while they run: a shard takes the new one over between two
/// batches, and writes down from which input offset on it judges each partition.
#[derive(Debug)]
pub struct ActiveRules(Mutex<Arc<RuleSet>>);

impl ActiveRules {
    /// Starts with this rule set.
    pub fn new(rules: Arc<RuleSet>) -> ActiveRules {
        ActiveRules(Mutex::new(rules))
    }

    /// The rule set to judge by now.
    pub fn current(&self) -> Arc<RuleSet> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Judges by this rule set from now on.
    pub fn exchange(&self, rules: Arc<RuleSet>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }
}

/// Every file of a rule set, for the rule set topic.
pub fn rule_set_record(rules: &RuleSet) -> Record {
    let settings = rules.settings();
    let numbers = [
        ("log_alert_level", u64::from(settings.log_alert_level)),
        ("email_alert_level", u64::from(settings.email_alert_level)),
        ("alert_text_bytes_max", settings.alert_text_bytes_max as u64),
        ("clock_skew_seconds_max", u64::from(settings.clock_skew_seconds_max)),
        ("late_after_seconds", u64::from(settings.late_after_seconds)),
    ];
    let of_kind = |kind, files: &[SourceFile]| -> Vec<RuleFile> {
        files.iter().map(|file| RuleFile::new(kind, file.name.clone(), &file.text)).collect()
    };
    RuleSetRecord {
        digest: rules.digest_hex(),
        files: [
            of_kind(RuleFileKind::Rules, rules.rule_files()),
            of_kind(RuleFileKind::Decoders, rules.decoder_files()),
            of_kind(RuleFileKind::List, rules.list_files()),
        ]
        .concat(),
        settings: BTreeMap::from(numbers.map(|(name, number)| (name.to_owned(), number.to_string()))),
    }
    .to_record()
}
