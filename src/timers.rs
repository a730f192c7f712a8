//! When ignore timers end. State holds when they began; how long they hold is said by the rules that judge, which are in the
//! log with it. So this needs no rule files.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use jiff::Timestamp;
use tripline_collector::ossec_conf::AlertLevels;
use tripline_engine::load::list_names;
use tripline_engine::{CompileInputs, Orphans, RuleSet, SourceFile, check_inputs};
use tripline_schemas::ruleset::{RuleFileKind, RuleSetRecord};
use tripline_schemas::state::{Activation, StateKey};

use crate::local::Log;
use crate::scan::{self, From};
use crate::settings::Settings;
use crate::signals::Stop;
use crate::state::Values;

/// The rules that judge each partition, as far as the log holds them.
#[derive(Debug, Default)]
pub struct Timers {
    digests: BTreeMap<u32, String>,
    /// By digest.
    rules: BTreeMap<String, RuleSet>,
}

impl Timers {
    /// Reads the rule sets that are active by these values.
    pub fn read(log: &Log, values: &Values, settings: &Settings) -> anyhow::Result<Timers> {
        let activation = StateKey::Activation.to_bytes();
        let mut timers = Timers::default();
        for ((partition, _), value) in values.iter().filter(|((_, key), _)| *key == activation) {
            timers.digests.insert(*partition, Activation::from_bytes(value)?.digest);
        }
        if timers.digests.is_empty() {
            return Ok(timers);
        }
        let partitions = timers.digests.len() as u32;
        let mut reader = log.reader(&settings.topic_names().rulesets)?;
        scan::scan(&mut *reader, &From::Beginning, false, &Stop::on_signals()?, &mut |stored| {
            // What can't be read is no rule set that this version knows: nothing is said of its timers.
            if let Ok(record) = RuleSetRecord::from_record(&stored.record)
                && timers.digests.values().any(|digest| *digest == record.digest)
                && let Some(rules) = compiled(&record, settings, partitions)
            {
                timers.rules.insert(record.digest, rules);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(timers)
    }

    /// When the ignore timer of a rule ends that began at this firing; `None` when it has none, or that is not known.
    pub fn until(&self, partition: u32, rule: u32, fired: Timestamp) -> Option<Timestamp> {
        self.rules.get(self.digests.get(&partition)?)?.rule(rule)?.ignored_until(fired)
    }
}

/// The rules of a record. Their lists stay empty: nothing is judged by them here.
fn compiled(record: &RuleSetRecord, settings: &Settings, partitions: u32) -> Option<RuleSet> {
    let of_kind = |kind| {
        let files = record.files.iter().filter(move |file| file.kind == kind);
        files.map(|file| Some(SourceFile { name: file.name.clone(), text: file.bytes()? })).collect::<Option<Vec<_>>>()
    };
    let mut inputs = CompileInputs {
        rules: of_kind(RuleFileKind::Rules)?,
        decoders: of_kind(RuleFileKind::Decoders)?,
        lists: Vec::new(),
    };
    let empty = |(name, _): (String, usize)| (name.clone(), SourceFile { name, text: Vec::new() });
    inputs.lists = list_names(&inputs.rules).into_iter().map(empty).collect();
    // Nor does it matter from which level on an alert is written, and what o'clock it is where; but rules may ask for a zone.
    let zone = settings.time_zone.clone().or_else(|| Some("UTC".to_owned()));
    let engine = Settings { time_zone: zone, ..settings.clone() }.engine(partitions, AlertLevels::default());
    check_inputs(&inputs, &engine, Orphans::SetAside).rules
}
