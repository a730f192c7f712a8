//! Reading and publishing in the owner's process.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tripline_schemas::Record;

use super::{EmbeddedLog, store::check_partition, topic::Topic};
use crate::{Bounds, LogError, Publisher, Reader, Stored};

/// Reads a topic of the embedded log. Sees synced records only.
pub struct EmbeddedReader {
    log: EmbeddedLog,
    topic: Arc<Topic>,
    positions: Positions,
}

impl EmbeddedReader {
    pub(super) fn new(log: EmbeddedLog, topic: Arc<Topic>) -> EmbeddedReader {
        EmbeddedReader { log, topic, positions: Positions::default() }
    }

    /// The offset that a partition is read from next; `None` when it was never positioned.
    pub fn next_offset(&self, partition: u32) -> Option<u64> {
        self.positions.next.get(&partition).copied()
    }
}

impl Reader for EmbeddedReader {
    fn partitions(&self) -> u32 {
        self.topic.partitions()
    }

    fn bounds(&mut self, partition: u32) -> Result<Bounds, LogError> {
        check_partition(&self.topic, partition)?;
        Ok(self.topic.bounds(partition))
    }

    fn offset_at(&mut self, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        self.log.shared().store.offset_at(&self.topic, partition, time)
    }

    fn seek(&mut self, partition: u32, offset: u64) -> Result<(), LogError> {
        check_partition(&self.topic, partition)?;
        self.positions.seek(partition, offset);
        Ok(())
    }

    fn read(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        let deadline = Instant::now() + wait;
        let shared = self.log.shared();
        loop {
            // Before looking, so that nothing can come between looking and waiting.
            let seen = shared.writer.seen();
            let mut positions = self.positions.in_turn();
            let records = shared.store.read(&self.topic, &mut positions, max)?;
            self.positions.moved(&positions);
            if !records.is_empty() || Instant::now() >= deadline {
                return Ok(records);
            }
            shared.writer.wait_newer(&shared.store, seen, deadline)?;
        }
    }
}

/// Appends to the embedded log.
pub struct EmbeddedPublisher {
    log: EmbeddedLog,
}

impl EmbeddedPublisher {
    pub(super) fn new(log: EmbeddedLog) -> EmbeddedPublisher {
        EmbeddedPublisher { log }
    }
}

impl Publisher for EmbeddedPublisher {
    fn publish(&mut self, topic: &str, records: &[Record]) -> Result<(), LogError> {
        self.log.append(topic, records).map(|_| ())
    }
}

/// Where a reader stands in each partition it reads.
#[derive(Default)]
pub(super) struct Positions {
    next: BTreeMap<u32, u64>,
    /// Which partition comes first at the next read, so that a busy one does not hold up the others.
    turn: usize,
}

impl Positions {
    pub(super) fn seek(&mut self, partition: u32, offset: u64) {
        self.next.insert(partition, offset);
    }

    /// Partitions and offsets in the order in which to read them this time.
    pub(super) fn in_turn(&mut self) -> Vec<(u32, u64)> {
        let mut positions: Vec<_> = self.next.iter().map(|(&partition, &offset)| (partition, offset)).collect();
        if !positions.is_empty() {
            let first = self.turn % positions.len();
            positions.rotate_left(first);
            self.turn = first + 1;
        }
        positions
    }

    pub(super) fn moved(&mut self, positions: &[(u32, u64)]) {
        self.next.extend(positions.iter().copied());
    }
}
