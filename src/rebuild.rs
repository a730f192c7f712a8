//! `tripline state rebuild`: the state of an embedded log, folded again from the outputs that it keeps.

use std::collections::BTreeMap;

use tripline_eventlog::Reader;
use tripline_eventlog::embedded::{DamagedPlace, EmbeddedLog, EmbeddedOptions};
use tripline_processor::embedded::EmbeddedBackend;
use tripline_processor::{ActiveRules, shard};

use crate::cli::StateRebuild;
use crate::exit::{Exit, Failure, Outcome};
use crate::local::{self, log_dir};
use crate::print::{self, say};
use crate::process;
use crate::rulefiles::Sources;
use crate::settings::Settings;
use crate::signals::Stop;
use crate::topics;
use crate::verify;

pub fn run(args: &StateRebuild, settings: &Settings) -> Outcome {
    if local::uses_kafka(&args.at, settings) {
        let what = "state rebuild is for an embedded log; on Kafka the state is a copy of the changelog topic: delete the \
                    processor's directory, and the next start reads the topic";
        return Err(Failure::unusable(anyhow::anyhow!(what)));
    }
    let data_dir = local::data_dir(&args.at, settings);
    let names = settings.topic_names();
    // What is damaged of the outputs would be missing from the state, and nobody would notice.
    let (check, findings) = verify::log(&data_dir, settings)?;
    let partitions = check.bounds.get(&names.outputs).map_or(settings.partitions(false), |bounds| bounds.len() as u32);
    let sources = Sources { flags: &args.rules, settings, partitions };
    let rules = ActiveRules::new(sources.load(sources.ossec().map_err(Failure::unusable)?.as_ref())?);
    let is_state = |place: &DamagedPlace| *place == DamagedPlace::State;
    let state_is_damaged = check.damage.iter().any(|damage| is_state(&damage.place));
    let hinders = |place: &DamagedPlace| match place {
        DamagedPlace::State => false,
        // The state's files, by the look of it.
        DamagedPlace::Files => !state_is_damaged,
        DamagedPlace::Records { topic, .. } => *topic == names.outputs,
        DamagedPlace::Positions => true,
    };
    if check.damage.iter().any(|damage| hinders(&damage.place)) {
        let found: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
        let what = "not only the state is damaged, so that it can't be folded again; put a backup in place of the data \
                    directory";
        return Err(anyhow::anyhow!(found.join("; ")).context(what).into());
    }

    local::not_of_another(&data_dir)?;
    let log =
        EmbeddedLog::open_without_state(&log_dir(&data_dir), EmbeddedOptions::default(), &settings.application_id)?;
    log.create_topics(&topics::embedded_specs(settings))?;
    let mut reader = log.reader(&names.outputs)?;
    let mut told = BTreeMap::new();
    for partition in 0..reader.partitions() {
        let first = reader.bounds(partition)?.first;
        if let Some(until) = log.told(&settings.application_id, partition)?.filter(|until| first < *until) {
            told.insert(partition, until);
        }
        if first > 0 {
            say!(
                "partition {partition}: outputs before offset {first} are no longer kept; what they were remembered for \
                 begins anew there"
            );
        }
    }
    drop(reader);

    let stop = Stop::on_signals()?;
    let position = |partition| log.position(&settings.application_id, partition).ok().flatten().unwrap_or(0);
    let is_rebuilt = || told.iter().all(|(partition, until)| position(*partition) >= *until);
    let mut backend = EmbeddedBackend::new(log.clone(), names, &settings.application_id);
    let options = process::options(settings);
    let summary = shard::run(&mut backend, &rules, &options, &|| stop.is_set() || is_rebuilt(), &mut ())?;
    log.sync()?;
    if !is_rebuilt() {
        say!("stopped before the end; the next `tripline state rebuild` begins anew, any other start goes on");
        return Ok(Exit::Interrupted);
    }
    say!("the state is rebuilt from {}", print::count(summary.counts.arrivals, "output"));
    Ok(Exit::Fine)
}
