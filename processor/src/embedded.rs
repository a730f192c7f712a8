//! The backend on the embedded log: alerts, state and positions are one write batch in the database that also holds
//! the input.

use std::time::Duration;

use tripline_eventlog::embedded::{Batch, EmbeddedLog, EmbeddedReader, Output, Position, StateChange};
use tripline_eventlog::topics::TopicNames;
use tripline_eventlog::{Bounds, Reader};
use tripline_schemas::state::StateKey;

use crate::backend::{Assigned, Backend, BackendError, CommitUnit, OutputTopic, Partition, Polled};
use crate::cursors;

/// All partitions of an embedded log. Nobody else processes them: the log has one owner.
///
/// A commit is a local fact, so that there are no fences and no unknown outcomes. After a crash the positions, the
/// state and the outputs are those of some commit, and of all before it.
pub struct EmbeddedBackend {
    log: EmbeddedLog,
    topics: TopicNames,
    /// The name of the input positions in the log: the application id.
    group: String,
    /// `None` until the partitions are handed out.
    reader: Option<EmbeddedReader>,
}

impl EmbeddedBackend {
    /// A backend that goes on where `application_id` stopped. The topics must exist.
    pub fn new(log: EmbeddedLog, topics: TopicNames, application_id: &str) -> EmbeddedBackend {
        EmbeddedBackend { log, topics, group: application_id.to_owned(), reader: None }
    }

    /// A reader that stands, for every partition, where the cursors must be folded from; and what is assigned.
    fn start(&self) -> Result<(EmbeddedReader, Vec<Assigned>), BackendError> {
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
        let records = reader.read(max, wait)?;
        Ok(if records.is_empty() { Polled::Nothing } else { Polled::Records(records) })
    }

    fn state(&self, partition: Partition, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(self.log.state_get(partition, key)?)
    }

    fn commit(&mut self, unit: CommitUnit) -> Result<(), BackendError> {
        let position = |(partition, offset)| Position { group: self.group.clone(), partition, offset };
        let outputs = unit.outputs.into_iter();
        let state = unit.state.into_iter();
        Ok(self.log.commit(Batch {
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
        })?)
    }

    fn recover(&mut self) -> Result<(), BackendError> {
        self.reader = None;
        Ok(())
    }
}
