//! The rule set in use, and the record that lets anybody look it up later.

use std::sync::{Arc, Mutex, PoisonError};

use tripline_engine::{Orphans, RuleSet, Settings, SourceFile};
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
    // Without `..`, as where the digest is made: what is in it must be told here too.
    let Settings {
        application_id: _,
        log_alert_level,
        email_alert_level,
        alert_text_bytes_max,
        clock_skew_seconds_max,
        late_after_seconds,
        partitions: _,
        time_zone,
    } = rules.settings();
    let orphans = match rules.orphans() {
        Orphans::Error => "error",
        Orphans::SetAside => "warn",
    };
    let settings = [
        ("log_alert_level", Some(log_alert_level.to_string())),
        ("email_alert_level", Some(email_alert_level.to_string())),
        ("alert_text_bytes_max", Some(alert_text_bytes_max.to_string())),
        ("clock_skew_seconds_max", Some(clock_skew_seconds_max.to_string())),
        ("late_after_seconds", Some(late_after_seconds.to_string())),
        ("time_zone", time_zone.clone()),
        ("orphans", Some(orphans.to_owned())),
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
        settings: settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
    }
    .to_record()
}

#[cfg(test)]
mod tests {
    use tripline_engine::check;

    use super::*;

    #[test]
    fn the_record_of_a_rule_set_tells_every_setting_that_its_digest_depends_on() {
        let text =
            b"<group name=\"local,\"><rule id=\"100001\" level=\"3\"><if_sid>530</if_sid></rule></group>".to_vec();
        let file = SourceFile { name: "local_rules.xml".to_owned(), text };
        let told = |settings: &Settings, orphans| {
            let rules = check(std::slice::from_ref(&file), settings, orphans).rules.expect("good rules");
            let record = RuleSetRecord::from_record(&rule_set_record(&rules)).expect("a rule set");
            assert_eq!(record.digest, rules.digest_hex());
            record
        };
        let plain = told(&Settings::default(), Orphans::Error);
        let zone = Settings { time_zone: Some("Europe/Vienna".to_owned()), ..Settings::default() };
        let levels = Settings { log_alert_level: 5, email_alert_level: 9, ..Settings::default() };
        let bounds = Settings { alert_text_bytes_max: 500, clock_skew_seconds_max: 3, ..Settings::default() };
        let late = Settings { late_after_seconds: 7, ..Settings::default() };
        for (settings, orphans) in [
            (&zone, Orphans::Error),
            (&levels, Orphans::Error),
            (&bounds, Orphans::Error),
            (&late, Orphans::Error),
            (&Settings::default(), Orphans::SetAside),
        ] {
            let other = told(settings, orphans);
            assert_ne!(other.digest, plain.digest, "{settings:?}");
            assert_ne!(other.settings, plain.settings, "{settings:?}");
        }
        assert_eq!(told(&zone, Orphans::SetAside).settings["time_zone"], "Europe/Vienna");
        assert_eq!(told(&zone, Orphans::SetAside).settings["orphans"], "warn");
    }
}
