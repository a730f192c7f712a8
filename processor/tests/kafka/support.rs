//! Topics, a small loop, and what it must come to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use tripline_eventlog::kafka::{KafkaPublisher, KafkaReader, KafkaSettings, create_topics};
use tripline_eventlog::topics::TopicNames;
use tripline_eventlog::{Publisher, Reader, Stored};
use tripline_processor::backend::{OutputRecord, OutputTopic, Partition, Polled, StateWrite};
use tripline_processor::kafka::{KafkaBackend, KafkaBackendSettings};
use tripline_processor::{Backend, BackendError, CommitUnit};
use tripline_schemas::{Headers, Record};
use tripline_testkafka::unique;

/// Nothing here may take longer, on a slow and busy machine either.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// An application with topics of its own.
#[derive(Clone)]
pub struct App {
    pub bootstrap: String,
    pub id: String,
    pub partitions: u32,
}

impl App {
    pub fn create(bootstrap: &str, partitions: u32) -> App {
        log();
        let app = App { bootstrap: bootstrap.to_owned(), id: unique("app"), partitions };
        create_topics(&app.kafka(), &app.topics().specs(partitions, 1024 * 1024), 1).unwrap();
        app
    }

    pub fn kafka(&self) -> KafkaSettings {
        KafkaSettings::new(&self.bootstrap)
    }

    pub fn topics(&self) -> TopicNames {
        TopicNames {
            outputs: format!("{}-outputs", self.id),
            alerts: format!("{}-alerts", self.id),
            dead_letters: format!("{}-dead-letters", self.id),
            rulesets: format!("{}-rulesets", self.id),
            ..TopicNames::new(&self.id)
        }
    }

    pub fn settings(&self, state_dir: &Path) -> KafkaBackendSettings {
        let mut settings = KafkaBackendSettings::new(self.kafka(), &self.id, state_dir);
        settings.topics = self.topics();
        settings
    }

    /// Publishes records `numbers` over ten keys.
    pub fn publish(&self, numbers: std::ops::Range<usize>) {
        let records: Vec<_> = numbers.map(|n| record(&format!("key-{}", n % 10), &n.to_string())).collect();
        let mut publisher = KafkaPublisher::new(self.kafka()).unwrap();
        publisher.publish(&self.topics().outputs, &records).unwrap();
    }

    /// Everything that is committed.
    pub fn read(&self, topic: &str) -> Vec<Stored> {
        self.wait_until_decided(topic);
        let mut reader = KafkaReader::open(&self.kafka(), topic).unwrap();
        let ends = self.seek_all(&mut reader);
        let deadline = Instant::now() + PATIENCE;
        let mut records = Vec::new();
        while ends.iter().any(|(partition, end)| reader.position(*partition).unwrap() < *end) {
            assert!(Instant::now() < deadline, "`{topic}` was not read to its end");
            records.extend(reader.read(1000, Duration::from_secs(1)).unwrap());
        }
        records
    }

    /// A commit returns when it is certain; readers see it a little later, when the partitions have been told.
    fn wait_until_decided(&self, topic: &str) {
        let mut reader = KafkaReader::open(&self.kafka(), topic).unwrap();
        let uncommitted: BaseConsumer =
            self.kafka().client_config("test").unwrap().set("isolation.level", "read_uncommitted").create().unwrap();
        let deadline = Instant::now() + PATIENCE;
        for partition in 0..reader.partitions() {
            let high = || uncommitted.fetch_watermarks(topic, partition as i32, PATIENCE).unwrap().1 as u64;
            while reader.bounds(partition).unwrap().end < high() {
                assert!(Instant::now() < deadline, "a transaction on `{topic}` stays open");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// The offset after the last record of each partition of the input.
    pub fn ends(&self) -> BTreeMap<Partition, u64> {
        self.ends_of(&self.topics().outputs)
    }

    /// The offset after the last committed record of each partition of a topic.
    pub fn ends_of(&self, topic: &str) -> BTreeMap<Partition, u64> {
        let mut reader = KafkaReader::open(&self.kafka(), topic).unwrap();
        self.seek_all(&mut reader)
    }

    fn seek_all(&self, reader: &mut KafkaReader) -> BTreeMap<Partition, u64> {
        let mut ends = BTreeMap::new();
        for partition in 0..reader.partitions() {
            let bounds = reader.bounds(partition).unwrap();
            reader.seek(partition, bounds.first).unwrap();
            ends.insert(partition, bounds.end);
        }
        ends
    }

    /// What the alerts must be, by partition and in order, when every record was processed once.
    pub fn expected_alerts(&self) -> BTreeMap<Partition, Vec<String>> {
        let mut numbers = BTreeMap::new();
        let mut alerts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for stored in self.read(&self.topics().outputs) {
            let number = numbers.entry(stored.record.key.clone()).or_insert(0);
            *number += 1;
            alerts.entry(stored.partition).or_default().push(alert_text(&stored, *number));
        }
        alerts
    }

    /// The alerts that there are, by partition and in order.
    pub fn alerts(&self) -> BTreeMap<Partition, Vec<String>> {
        let mut alerts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for stored in self.read(&self.topics().alerts) {
            alerts.entry(stored.partition).or_default().push(text(&stored.record.value.unwrap()));
        }
        alerts
    }

    /// The last number of each key.
    pub fn expected_state(&self) -> BTreeMap<(Partition, Vec<u8>), String> {
        let mut numbers: BTreeMap<_, u32> = BTreeMap::new();
        for stored in self.read(&self.topics().outputs) {
            *numbers.entry((stored.partition, stored.record.key.unwrap())).or_default() += 1;
        }
        numbers.into_iter().map(|(key, number)| (key, number.to_string())).collect()
    }

    pub fn assert_exactly_once(&self) {
        assert_eq!(self.alerts(), self.expected_alerts());
    }

    /// The backend, with all its partitions assigned, holds the state that it must.
    pub fn assert_state(&self, backend: &KafkaBackend) {
        for ((partition, key), number) in self.expected_state() {
            let found = backend.state(partition, &key).unwrap().map(|value| text(&value));
            assert_eq!(found, Some(number), "partition {partition} key {}", text(&key));
        }
    }
}

/// What the backend and librdkafka say is shown when a test fails.
fn log() {
    let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::INFO).try_init();
}

pub fn record(key: &str, value: &str) -> Record {
    Record { key: Some(key.into()), value: Some(value.into()), headers: Headers::default() }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn alert_text(stored: &Stored, number: u32) -> String {
    let Record { key, value, .. } = &stored.record;
    format!("{} is number {number} of {}", text(value.as_ref().unwrap()), text(key.as_ref().unwrap()))
}

/// The unit for a batch: numbers each record, alerts, and remembers.
pub fn judge(backend: &KafkaBackend, records: &[Stored]) -> Result<CommitUnit, BackendError> {
    let mut numbers: BTreeMap<(Partition, Vec<u8>), u32> = BTreeMap::new();
    let mut positions = BTreeMap::new();
    let mut outputs = Vec::new();
    for stored in records {
        let key = (stored.partition, stored.record.key.clone().unwrap());
        let before = match numbers.get(&key) {
            Some(number) => *number,
            None => backend.state(key.0, &key.1)?.map_or(0, |value| text(&value).parse().unwrap()),
        };
        numbers.insert(key, before + 1);
        positions.insert(stored.partition, stored.offset + 1);
        let alert = record(&text(stored.record.key.as_ref().unwrap()), &alert_text(stored, before + 1));
        outputs.push(OutputRecord { topic: OutputTopic::Alerts, partition: stored.partition, record: alert });
    }
    let state = numbers.into_iter().map(|((partition, key), number)| StateWrite {
        partition,
        key,
        value: Some(number.to_string().into_bytes()),
    });
    Ok(CommitUnit { positions: positions.into_iter().collect(), outputs, state: state.collect() })
}

/// The loop: one batch per poll, recovery after every error, until `done` says so after a step. `seen` is told the
/// positions: those assigned, and those committed.
pub fn drive(
    backend: &mut KafkaBackend,
    batch: usize,
    mut seen: impl FnMut(Partition, u64),
    mut done: impl FnMut() -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    let mut positions: BTreeMap<Partition, u64> = BTreeMap::new();
    while !done() {
        assert!(Instant::now() < deadline, "it did not get done; positions {positions:?}");
        let result = step(backend, batch, &mut positions);
        positions.iter().for_each(|(partition, position)| seen(*partition, *position));
        let Err(mut error) = result else { continue };
        positions.clear();
        tracing::warn!(?error, "recovering");
        loop {
            assert!(!error.is_fatal(), "{error}: {error:?}");
            assert!(Instant::now() < deadline, "no recovery: {error}: {error:?}");
            std::thread::sleep(Duration::from_millis(100));
            match backend.recover() {
                Ok(()) => break,
                Err(again) => error = again,
            }
        }
    }
}

fn step(
    backend: &mut KafkaBackend,
    batch: usize,
    positions: &mut BTreeMap<Partition, u64>,
) -> Result<(), BackendError> {
    match backend.poll(batch, Duration::from_millis(200))? {
        Polled::Assigned(assigned) => positions.extend(assigned.iter().map(|one| (one.partition, one.position))),
        Polled::Revoked(revoked) => positions.retain(|partition, _| !revoked.contains(partition)),
        Polled::Records(mut records) => {
            for stored in &records {
                assert!(positions.contains_key(&stored.partition), "a record of a partition that is not assigned");
            }
            // What comes before the position is there to fold cursors, which this loop has none of.
            records.retain(|stored| stored.offset >= positions[&stored.partition]);
            let unit = judge(backend, &records)?;
            let committed = unit.positions.clone();
            backend.commit(unit)?;
            positions.extend(committed);
        }
        Polled::Nothing => {}
        other => panic!("unexpected: {other:?}"),
    }
    Ok(())
}

/// Runs until everything published is processed.
pub fn drive_to_end(app: &App, backend: &mut KafkaBackend, batch: usize) {
    let ends = app.ends();
    let positions = std::cell::RefCell::new(BTreeMap::new());
    drive(
        backend,
        batch,
        |partition, position| {
            positions.borrow_mut().insert(partition, position);
        },
        || *positions.borrow() == ends,
    );
}
