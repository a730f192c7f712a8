//! The real loop with real rules: on Kafka it comes to the same as on the embedded log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tripline_eventlog::embedded::{EmbeddedLog, EmbeddedOptions};
use tripline_eventlog::kafka::KafkaPublisher;
use tripline_eventlog::topics::TopicNames;
use tripline_eventlog::{Publisher, Reader};
use tripline_processor::embedded::EmbeddedBackend;
use tripline_processor::kafka::KafkaBackend;
use tripline_processor::shard::{self, Observer};
use tripline_processor::task::Arrival;
use tripline_processor::{ActiveRules, Backend, Judged, Options};
use tripline_schemas::Record;
use tripline_schemas::alert::Alert;
use tripline_testkafka::shared;

use crate::support::{App, PATIENCE};
use crate::world::{RULES, World, rules};

/// By agent and command: the alerts in order, without their places; and the dead letters' values.
type Outcome = (BTreeMap<Vec<u8>, Vec<Alert>>, BTreeSet<Vec<u8>>);

/// Counts the records that were judged, each once.
#[derive(Default)]
struct Seen(Arc<Mutex<BTreeSet<(u32, u64)>>>);

impl Observer for Seen {
    fn judged(&mut self, arrival: &Arrival, _: &Judged) {
        self.0.lock().unwrap().insert((arrival.partition, arrival.offset));
    }
}

/// Runs the loop until so many records were seen, and lets it commit.
fn run(backend: &mut dyn Backend, records: usize) {
    let mut observer = Seen::default();
    let seen = Arc::clone(&observer.0);
    let deadline = Instant::now() + PATIENCE;
    let stop = || {
        let seen = seen.lock().unwrap().len();
        assert!(Instant::now() < deadline, "{seen} of {records} records were seen");
        seen >= records
    };
    let options = Options {
        batch_records: 50,
        batch_age: Duration::from_millis(20),
        idle_wait: Duration::from_millis(50),
        checkpoint_records: 60,
        ..Options::default()
    };
    shard::run(backend, &ActiveRules::new(Arc::new(rules(RULES))), &options, &stop, &mut observer).unwrap();
}

fn outcome(alerts: Vec<Record>, dead_letters: Vec<Record>) -> Outcome {
    let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in alerts {
        let alert = Alert { source: None, ..Alert::from_record(&record).unwrap() };
        by_key.entry(record.key.unwrap()).or_default().push(alert);
    }
    (by_key, dead_letters.into_iter().map(|record| record.value.unwrap_or_default()).collect())
}

fn on_the_embedded_log(records: &[Record]) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let topics = TopicNames::new("test");
    let log = EmbeddedLog::open(directory.path(), EmbeddedOptions::default()).unwrap();
    log.create_topics(&topics.specs(1, 1 << 20)).unwrap();
    log.append(&topics.outputs, records).unwrap();
    run(&mut EmbeddedBackend::new(log.clone(), topics.clone(), "test"), records.len());
    log.sync().unwrap();
    let read = |topic: &str| {
        let mut reader = log.reader(topic).unwrap();
        let bounds = reader.bounds(0).unwrap();
        reader.seek(0, bounds.first).unwrap();
        let mut records = Vec::new();
        while (records.len() as u64) < bounds.end - bounds.first {
            records
                .extend(reader.read(1_000, Duration::from_secs(10)).unwrap().into_iter().map(|stored| stored.record));
        }
        records
    };
    outcome(read(&topics.alerts), read(&topics.dead_letters))
}

fn process_on_kafka(app: &App, state: &Path, records: usize) {
    let mut backend = KafkaBackend::new(app.settings(state)).unwrap();
    run(&mut backend, records);
}

#[test]
fn kafka_and_the_embedded_log_give_the_same_alerts_across_a_restart_and_the_loss_of_the_state() {
    let records: Vec<_> = World::new(1, 900).records.into_iter().map(|(_, record)| record).collect();
    let app = App::create(shared(), 3);
    let state = tempfile::tempdir().unwrap();
    let mut publisher = KafkaPublisher::new(app.kafka()).unwrap();
    let (first, second) = records.split_at(records.len() / 2);
    publisher.publish(&app.topics().outputs, first).unwrap();
    process_on_kafka(&app, state.path(), first.len());
    for partition in 0..app.partitions {
        fs::remove_dir_all(state.path().join(&app.id).join(partition.to_string())).unwrap();
    }
    publisher.publish(&app.topics().outputs, second).unwrap();
    // Those before the checkpoint are not handed out again.
    process_on_kafka(&app, state.path(), second.len());

    let read = |topic: &str| app.read(topic).into_iter().map(|stored| stored.record).collect::<Vec<_>>();
    let on_kafka = outcome(read(&app.topics().alerts), read(&app.topics().dead_letters));
    let embedded = on_the_embedded_log(&records);
    assert!(embedded.0.values().map(Vec::len).sum::<usize>() > 50 && !embedded.1.is_empty(), "{embedded:?}");
    assert_eq!(on_kafka, embedded);
    assert_eq!(
        read(&app.topics().rulesets).len(),
        1,
        "the rule set was activated once per partition, and published once"
    );
}
