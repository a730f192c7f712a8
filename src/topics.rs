//! `tripline topics`: create, check and describe the topics.

use std::io::Write;

use tripline_eventlog::embedded::{EmbeddedLog, EmbeddedOptions};
use tripline_eventlog::kafka;
use tripline_eventlog::topics::Cleanup;

use crate::cli::{Topics, TopicsAction, TopicsArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::local::{self, Log};
use crate::settings::Settings;

/// How many partitions new topics get when neither flags nor settings say.
pub const PARTITIONS_KAFKA: u32 = 12;
/// The same in the embedded log: one machine, one shard.
pub const PARTITIONS_EMBEDDED: u32 = 1;

pub fn run(args: &Topics, mut settings: Settings) -> Outcome {
    let (TopicsAction::Create(flags) | TopicsAction::Check(flags) | TopicsAction::Describe(flags)) = &args.action;
    if flags.partitions == Some(0) {
        return Err(Failure::unusable(anyhow::anyhow!("--partitions 0: a topic has at least one partition")));
    }
    settings.topics.partitions = flags.partitions.or(settings.topics.partitions);
    match &args.action {
        TopicsAction::Create(flags) => create(flags, &settings),
        TopicsAction::Check(flags) => check(flags, &settings),
        TopicsAction::Describe(flags) => describe(flags, &settings),
    }
}

fn create(flags: &TopicsArgs, settings: &Settings) -> Outcome {
    if local::uses_kafka(&flags.at, settings) {
        let kafka = settings.kafka(flags.at.kafka.as_deref()).map_err(Failure::unusable)?;
        let specs = settings.topic_specs(PARTITIONS_KAFKA);
        let replication = flags.replication.unwrap_or(settings.kafka.replication);
        let created = kafka::create_topics(&kafka, &specs, replication)?;
        for spec in &specs {
            let what = if created.contains(&spec.name) { "created" } else { "is there already" };
            writeln!(std::io::stdout(), "{} {what}", spec.name)?;
        }
        return report(&kafka::check_topics(&kafka, &specs)?);
    }
    let dir = local::log_dir(&local::data_dir(&flags.at, settings));
    let log = EmbeddedLog::open(&dir, EmbeddedOptions::default())?;
    let specs = embedded_specs(settings);
    log.create_topics(&specs)?;
    for spec in &specs {
        writeln!(std::io::stdout(), "{} is there", spec.name)?;
    }
    Ok(Exit::Fine)
}

/// The topics of an embedded log: it needs no changelog, since state lies in the log's own database.
pub fn embedded_specs(settings: &Settings) -> Vec<tripline_eventlog::topics::TopicSpec> {
    let changelog = settings.topic_names().changelog;
    let mut specs = settings.topic_specs(PARTITIONS_EMBEDDED);
    specs.retain(|spec| spec.name != changelog);
    specs
}

fn check(flags: &TopicsArgs, settings: &Settings) -> Outcome {
    if !local::uses_kafka(&flags.at, settings) {
        return describe(flags, settings);
    }
    let kafka = settings.kafka(flags.at.kafka.as_deref()).map_err(Failure::unusable)?;
    report(&kafka::check_topics(&kafka, &settings.topic_specs(PARTITIONS_KAFKA))?)
}

fn report(differences: &[String]) -> Outcome {
    for difference in differences {
        writeln!(std::io::stdout(), "{difference}")?;
    }
    Ok(if differences.is_empty() { Exit::Fine } else { Exit::Findings })
}

fn describe(flags: &TopicsArgs, settings: &Settings) -> Outcome {
    let log = Log::open(&flags.at, settings)?;
    let specs = if local::uses_kafka(&flags.at, settings) {
        settings.topic_specs(PARTITIONS_KAFKA)
    } else {
        embedded_specs(settings)
    };
    let mut out = std::io::stdout().lock();
    for spec in specs {
        let mut reader = log.reader(&spec.name)?;
        let kept = match spec.cleanup {
            Cleanup::Compact => "compacted".to_owned(),
            Cleanup::Delete { age, .. } => format!("kept for {}h", age.as_secs() / 3600),
        };
        writeln!(out, "{} ({kept})", spec.name)?;
        for partition in 0..reader.partitions() {
            let bounds = reader.bounds(partition)?;
            writeln!(out, "  partition {partition}: offsets {} to {}", bounds.first, bounds.end)?;
        }
    }
    Ok(Exit::Fine)
}
