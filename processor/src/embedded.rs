//! The backend on the embedded log: alerts, state and positions are one write batch in the database that also holds
//! the input.

use std::collections::BTreeMap;
use std::time::Duration;

use tripline_eventlog::embedded::{Batch, EmbeddedLog, EmbeddedReader, Output, Position, StateChange};
use tripline_eventlog::topics::TopicNames;
use tripline_eventlog::{Bounds, Reader};
use tripline_schemas::state::StateKey;

use crate::backend::{Assigned, Backend, BackendError, CommitUnit, OutputRecord, OutputTopic, Partition, Polled};
use crate::cursors;

/// A commit is a write to memory and to the write-ahead log; its sync comes a little later, with others.
const ALERT_WAIT: Duration = Duration::from_millis(1);

/// How long a poll waits at most while a commit must come first.
const HELD: Duration = Duration::from_millis(10);

/// All partitions of an embedded log. Nobody else processes them: the log has one owner.
///
/// A commit is a local fact, so that there are no fences and no unknown outcomes. After a crash the positions, the
/// state and the outputs are those of some commit, and of all before it.
///
/// When the state was thrown away ([`EmbeddedLog::open_without_state`]) it is folded again from the first record kept.
/// Alerts and dead letters that the log holds already are not written a second time.
pub struct EmbeddedBackend {
    log: EmbeddedLog,
    topics: TopicNames,
    /// The name of the input positions in the log: the application id.
    group: String,
    /// `None` until the partitions are handed out.
    reader: Option<EmbeddedReader>,
    /// The partitions whose state is being rebuilt, with the first offset whose outputs are news. A commit unit never
    /// spans that offset.
    told: BTreeMap<Partition, Told>,
}

struct Told {
    until: u64,
    /// All before it is handed out, and not yet committed.
    reached: bool,
}

impl EmbeddedBackend {
    /// A backend that goes on where `application_id` stopped. The topics must exist.
    pub fn new(log: EmbeddedLog, topics: TopicNames, application_id: &str) -> EmbeddedBackend {
        EmbeddedBackend { log, topics, group: application_id.to_owned(), reader: None, told: BTreeMap::new() }
    }

    /// A reader that stands, for every partition, where the cursors must be folded from; and what is assigned.
    fn start(&mut self) -> Result<(EmbeddedReader, Vec<Assigned>), BackendError> {
        self.told.clear();
        let mut reader = self.log.reader(&self.topics.outputs)?;
        let mut assigned = Vec::new();
        for partition in 0..reader.partitions() {
            let Bounds { first, .. } = reader.bounds(partition)?;
            let saved = self.log.position(&self.group, partition)?;
            if let Some(saved) = saved.filter(|saved| *saved < first) {
                tracing::error!(
                    topic = self.topics.outputs,
                    partition,
                    first = saved,
                    last = first - 1,
                    "retention has dropped records that were never processed; going on after them"
                );
            }
            let position = saved.unwrap_or(first).max(first);
            let checkpoint = self.log.state_get(partition, &StateKey::Cursors.to_bytes())?;
            let from = cursors::fold_from(checkpoint.as_deref(), position)?;
            reader.seek(partition, from.max(first))?;
            if let Some(until) = self.log.told(&self.group, partition)?.filter(|until| position < *until) {
                tracing::info!(
                    partition,
                    position,
                    until,
                    "the state is folded again; its outputs are in the log already"
                );
                self.told.insert(partition, Told { until, reached: false });
            }
            assigned.push(Assigned { partition, position });
        }
        Ok((reader, assigned))
    }

    fn topic(&self, topic: OutputTopic) -> String {
        match topic {
            OutputTopic::Alerts => self.topics.alerts.clone(),
            OutputTopic::DeadLetters => self.topics.dead_letters.clone(),
            OutputTopic::RuleSets => self.topics.rulesets.clone(),
        }
    }
}

impl Backend for EmbeddedBackend {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, BackendError> {
        let Some(reader) = &mut self.reader else {
            let (reader, assigned) = self.start()?;
            self.reader = Some(reader);
            return Ok(Polled::Assigned(assigned));
        };
        if self.told.values().any(|told| told.reached) {
            // What follows is news and must not share a unit with what is not.
            std::thread::sleep(wait.min(HELD));
            return Ok(Polled::Nothing);
        }
        let mut records = reader.read(max, wait)?;
        records.retain(|record| self.told.get(&record.partition).is_none_or(|told| record.offset < told.until));
        for (partition, told) in &mut self.told {
            if reader.next_offset(*partition).is_some_and(|next| next >= told.until) {
                reader.seek(*partition, told.until)?;
                told.reached = true;
            }
        }
        Ok(if records.is_empty() { Polled::Nothing } else { Polled::Records(records) })
    }

    fn state(&self, partition: Partition, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(self.log.state_get(partition, key)?)
    }

    fn alert_wait(&self) -> Duration {
        ALERT_WAIT
    }

    fn commit(&mut self, unit: CommitUnit) -> Result<(), BackendError> {
        let position = |(partition, offset)| Position { group: self.group.clone(), partition, offset };
        let told = &self.told;
        let is_news = |output: &OutputRecord| match output.topic {
            OutputTopic::Alerts | OutputTopic::DeadLetters => !told.contains_key(&output.partition),
            OutputTopic::RuleSets => true,
        };
        let outputs = unit.outputs.into_iter().filter(is_news);
        let positions = unit.positions.clone();
        let state = unit.state.into_iter();
        self.log.commit(Batch {
            positions: unit.positions.into_iter().map(position).collect(),
            outputs: outputs
                .map(|output| Output {
                    topic: self.topic(output.topic),
                    partition: output.partition,
                    record: output.record,
                })
                .collect(),
            state: state
                .map(|write| StateChange { partition: write.partition, key: write.key, value: write.value })
                .collect(),
        })?;
        for (partition, position) in positions {
            if self.told.get(&partition).is_some_and(|told| position >= told.until) {
                self.told.remove(&partition);
            }
        }
        Ok(())
    }

    fn recover(&mut self) -> Result<(), BackendError> {
        self.reader = None;
        Ok(())
    }
}
