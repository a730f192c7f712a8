//! `tripline process`: a processor by itself: on Kafka, or on the outputs that an embedded log holds.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use tripline_eventlog::Reader;
use tripline_eventlog::embedded::EmbeddedLog;
use tripline_eventlog::kafka::{GroupPositions, KafkaReader};
use tripline_faults::{Point, point};
use tripline_processor::embedded::EmbeddedBackend;
use tripline_processor::kafka::{KafkaBackend, KafkaBackendSettings, Step};
use tripline_processor::{ActiveRules, Backend, Options, Summary, shard};

use crate::cli::{Process, Where};
use crate::exit::{Exit, Failure, Outcome};
use crate::local;
use crate::owned;
use crate::print::{self, say};
use crate::reload::{self, Reload};
use crate::rulefiles::{self, Sources};
use crate::service;
use crate::settings::Settings;
use crate::signals::Stop;

pub fn run(args: &Process, settings: Settings) -> Outcome {
    // First of all: a signal that comes while files are read must not end the program.
    let stop = Stop::on_signals()?;
    let reload = Reload::on_hangup()?;
    let partitions = local::partitions(&args.at, &settings)?;
    let sources = Sources { flags: &args.rules, settings: &settings, partitions };
    let ossec = sources.ossec().map_err(Failure::unusable)?;
    let rules = sources.load(ossec.as_ref())?;
    rulefiles::tell_of_silence(&rules);
    let rules = ActiveRules::new(rules);
    let reload = reload.of(reload::Rules { sources, active: &rules });
    let judge = |backend: &mut dyn Backend, done: &dyn Fn() -> bool| {
        judge(backend, &rules, &options(&settings), reload, args.duration, &stop, done)
    };
    let summary = if local::uses_kafka(&args.at, &settings) {
        let goal = args.until_caught_up.then(|| KafkaGoal::new(&args.at, &settings)).transpose()?;
        let mut backend = kafka_backend(&args.at, &settings)?;
        let is_there = || goal.as_ref().is_some_and(KafkaGoal::is_reached);
        judge(&mut backend, &is_there)?
    } else {
        let log = owned::open(&local::data_dir(&args.at, &settings), &settings)?;
        let goal =
            if args.until_caught_up { ends(&mut log.reader(&settings.topic_names().outputs)?)? } else { Vec::new() };
        let is_there = || args.until_caught_up && has_come_to(&goal, &log, &settings);
        let mut backend = EmbeddedBackend::new(log.clone(), settings.topic_names(), &settings.application_id);
        owned::serving(&log, &settings, &stop, || judge(&mut backend, &is_there))??
    };
    say!("{}", said(&summary));
    Ok(Exit::Fine)
}

/// Processes until a signal comes, the time is up, or `done`.
fn judge(
    backend: &mut dyn Backend,
    rules: &ActiveRules,
    options: &Options,
    reload: Reload<'_>,
    duration: Option<Duration>,
    stop: &Stop,
    done: &dyn Fn() -> bool,
) -> Result<Summary, Failure> {
    service::started();
    let work = || shard::run(backend, rules, options, &|| stop.is_set() || done(), &mut ());
    Ok(stop.within(duration, || {}, || stop.beside(|| reload.watch(stop), work))?)
}

/// Where the partitions of a topic end now.
fn ends(reader: &mut dyn Reader) -> Result<Vec<u64>, Failure> {
    let partitions = reader.partitions();
    let end = |partition| {
        let bounds = reader.bounds(partition)?;
        // An empty partition has nothing to wait for, whatever its offsets were once.
        Ok(if bounds.first == bounds.end { 0 } else { bounds.end })
    };
    Ok((0..partitions).map(end).collect::<anyhow::Result<_>>()?)
}

/// Whether everything before these offsets is judged. What retention takes before that is judged by nobody.
fn have_come_to(ends: &[u64], judged: impl Fn(u32) -> u64, first_kept: impl Fn(u32) -> u64) -> bool {
    (0..).zip(ends).all(|(partition, end)| judged(partition) >= *end || first_kept(partition) >= *end)
}

/// Whether a processor of the embedded log has come there. An error will come up again where the loop reads.
fn has_come_to(ends: &[u64], log: &EmbeddedLog, settings: &Settings) -> bool {
    let topic = settings.topic_names().outputs;
    let judged = |partition| log.position(&settings.application_id, partition).ok().flatten().unwrap_or(0);
    let first_kept =
        |partition| log.reader(&topic).and_then(|mut reader| reader.bounds(partition)).map_or(0, |bounds| bounds.first);
    have_come_to(ends, judged, first_kept)
}

/// Where the outputs on Kafka ended at the start, and whether the group has come there.
struct KafkaGoal {
    ends: Vec<u64>,
    group: GroupPositions,
    outputs: RefCell<KafkaReader>,
    /// Asking costs a round trip, so it is not done at every turn of the loop.
    asked: Cell<Instant>,
}

impl KafkaGoal {
    const ASK_EVERY: Duration = Duration::from_millis(500);

    fn new(at: &Where, settings: &Settings) -> Result<KafkaGoal, Failure> {
        let kafka = settings.kafka(at.kafka.as_deref()).map_err(Failure::unusable)?;
        let topic = settings.topic_names().outputs;
        let mut outputs = KafkaReader::open(&kafka, &topic)?;
        let ends = ends(&mut outputs)?;
        let group = GroupPositions::open(&kafka, &settings.application_id, &topic, ends.len() as u32)?;
        let outputs = RefCell::new(outputs);
        Ok(KafkaGoal { ends, group, outputs, asked: Cell::new(Instant::now()) })
    }

    fn is_reached(&self) -> bool {
        if self.asked.get().elapsed() < KafkaGoal::ASK_EVERY {
            return false;
        }
        self.asked.set(Instant::now());
        // An error will come up again where the loop reads and commits.
        let committed = self.group.committed().unwrap_or_default();
        let judged = |partition| committed.get(&partition).copied().unwrap_or(0);
        let first_kept = |partition| self.outputs.borrow_mut().bounds(partition).map_or(0, |bounds| bounds.first);
        have_come_to(&self.ends, judged, first_kept)
    }
}

/// The backend on Kafka, its local stores under the data directory.
pub fn kafka_backend(at: &Where, settings: &Settings) -> Result<KafkaBackend, Failure> {
    let kafka = settings.kafka(at.kafka.as_deref()).map_err(Failure::unusable)?;
    let state_dir = local::data_dir(at, settings).join("state");
    let mut backend = KafkaBackendSettings::new(kafka, &settings.application_id, state_dir);
    backend.topics = settings.topic_names();
    backend.on_step = tripline_faults::ENABLED.then_some(at_step);
    Ok(KafkaBackend::new(backend)?)
}

/// The steps of the protocol, as points at which tests end the program.
fn at_step(step: Step) {
    point(match step {
        Step::Polled => Point::KafkaPolled,
        Step::Begun => Point::KafkaBegun,
        Step::Sent => Point::KafkaSent,
        Step::Delivered => Point::KafkaDelivered,
        Step::OffsetsSent => Point::KafkaOffsetsSent,
        Step::Committed => Point::KafkaCommitted,
        Step::Applied => Point::KafkaApplied,
        Step::Restored => Point::KafkaRestored,
        Step::Assigned => Point::KafkaAssigned,
    });
}

/// How the shard loop works under these settings.
pub fn options(settings: &Settings) -> Options {
    Options { input_topic: settings.topic_names().outputs, ..Options::default() }
}

/// What a processor did, in one line.
pub fn said(summary: &Summary) -> String {
    let counts = summary.counts;
    let mut text = format!(
        "processed {}: {}, {} held back",
        print::count(counts.arrivals, "event"),
        print::count(counts.alerts, "alert"),
        counts.held_back
    );
    if counts.seen > 0 {
        text.push_str(&format!(", {} seen before", counts.seen));
    }
    if counts.dead_letters > 0 {
        text.push_str(&format!(", {} to the dead letters", counts.dead_letters));
    }
    text
}

#[cfg(test)]
mod tests {
    use tripline_eventlog::embedded::EmbeddedOptions;
    use tripline_schemas::Record;

    use super::*;
    use crate::topics;

    #[test]
    fn what_retention_took_before_it_was_judged_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let topic = settings.topic_names().outputs;
        let log = EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap();
        log.create_topics(&topics::embedded_specs(&settings)).unwrap();
        log.append(&topic, &[Record::default(), Record::default()]).unwrap();
        let goal = ends(&mut log.reader(&topic).unwrap()).unwrap();
        assert_eq!(goal, [2]);
        assert!(!has_come_to(&goal, &log, &settings));
        log.enforce_retention(tripline_faults::now() + jiff::SignedDuration::from_hours(15 * 24)).unwrap();
        assert!(has_come_to(&goal, &log, &settings));
    }
}
