//! A backend in memory that fails when it is told to, and checks that the loop keeps its side of the contract.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tripline_eventlog::Stored;
use tripline_processor::backend::{Assigned, Backend, BackendError, CommitUnit, OutputTopic, Partition, Polled};
use tripline_processor::cursors::fold_from;
use tripline_schemas::Record;
use tripline_schemas::state::StateKey;

use crate::world::Random;

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub positions: BTreeMap<Partition, u64>,
    pub outputs: BTreeMap<(OutputTopic, Partition), Vec<Record>>,
    pub state: BTreeMap<(Partition, Vec<u8>), Vec<u8>>,
}

/// What goes wrong at a step. Where a step can't fail that way, it fails in the nearest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another owner got in between.
    Fence,
    /// It did not work.
    Retry,
    /// A commit worked, and its answer was lost.
    RetryAfterCommit,
    /// The process is killed.
    Kill,
    /// The process is killed right after a commit.
    KillAfterCommit,
    /// Partitions are taken away, and come back later.
    Revoke,
}

impl Fault {
    pub const ALL: [Fault; 6] =
        [Fault::Fence, Fault::Retry, Fault::RetryAfterCommit, Fault::Kill, Fault::KillAfterCommit, Fault::Revoke];

    fn error(self) -> BackendError {
        match self {
            Fault::Fence | Fault::Revoke => BackendError::Fenced("simulated".to_owned()),
            Fault::Retry | Fault::RetryAfterCommit => {
                BackendError::Retry { what: "simulated".to_owned(), source: Some("a cause".into()) }
            }
            Fault::Kill | Fault::KillAfterCommit => BackendError::Fatal { what: KILLED.to_owned(), source: None },
        }
    }
}

/// How a killed process's last error reads.
pub const KILLED: &str = "killed";

/// Hands out a log of so many partitions, as one process after the other would see it.
pub struct SimBackend<'a> {
    input: &'a [Vec<Stored>],
    disk: &'a mut Disk,
    /// Which fault comes at which step, steps being counted over all processes.
    plan: &'a dyn Fn(u64) -> Option<Fault>,
    steps: &'a Cell<u64>,
    random: RefCell<Random>,
    /// The next offset to hand out, of partitions that are assigned.
    reading: BTreeMap<Partition, u64>,
    /// After an error nothing works but a recovery.
    broken: Cell<bool>,
}

impl<'a> SimBackend<'a> {
    pub fn new(
        input: &'a [Vec<Stored>],
        disk: &'a mut Disk,
        plan: &'a dyn Fn(u64) -> Option<Fault>,
        steps: &'a Cell<u64>,
        seed: u64,
    ) -> SimBackend<'a> {
        let random = RefCell::new(Random::new(seed));
        SimBackend { input, disk, plan, steps, random, reading: BTreeMap::new(), broken: Cell::new(false) }
    }

    fn fault(&self) -> Option<Fault> {
        assert!(!self.broken.get(), "the loop went on after an error without a recovery");
        self.steps.set(self.steps.get() + 1);
        (self.plan)(self.steps.get())
    }

    fn fail<T>(&self, fault: Fault) -> Result<T, BackendError> {
        self.broken.set(true);
        Err(fault.error())
    }

    fn assign(&mut self, partition: Partition) -> Assigned {
        let position = self.disk.positions.get(&partition).copied().unwrap_or(0);
        let checkpoint = self.disk.state.get(&(partition, StateKey::Cursors.to_bytes()));
        let from = fold_from(checkpoint.map(Vec::as_slice), position).unwrap();
        self.reading.insert(partition, from);
        Assigned { partition, position }
    }

    fn rest(&self, partition: Partition) -> &[Stored] {
        let records = &self.input[partition as usize];
        &records[records.partition_point(|stored| stored.offset < self.reading[&partition])..]
    }
}

impl Backend for SimBackend<'_> {
    fn poll(&mut self, max: usize, _wait: Duration) -> Result<Polled, BackendError> {
        match self.fault() {
            Some(Fault::Revoke) => {
                let random = self.random.get_mut();
                let revoked: Vec<_> = self.reading.keys().copied().filter(|_| random.one_in(2)).collect();
                revoked.iter().for_each(|partition| _ = self.reading.remove(partition));
                return Ok(Polled::Revoked(revoked));
            }
            Some(fault) => return self.fail(fault),
            None => {}
        }
        let missing: Vec<_> =
            (0..self.input.len() as Partition).filter(|partition| !self.reading.contains_key(partition)).collect();
        let with_more: Vec<_> =
            self.reading.keys().copied().filter(|partition| !self.rest(*partition).is_empty()).collect();
        let random = self.random.get_mut();
        if !missing.is_empty() && (with_more.is_empty() || random.one_in(3)) {
            let some = 1 + random.below(missing.len());
            return Ok(Polled::Assigned(missing[..some].iter().map(|partition| self.assign(*partition)).collect()));
        }
        if with_more.is_empty() {
            return Ok(Polled::End);
        }
        if random.one_in(5) {
            return Ok(Polled::Nothing);
        }
        let partition = *random.pick(&with_more);
        let wanted = 1 + random.below(max);
        let records: Vec<_> = self.rest(partition).iter().take(wanted).cloned().collect();
        self.reading.insert(partition, records.last().expect("there were more").offset + 1);
        Ok(Polled::Records(records))
    }

    fn state(&self, partition: Partition, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        if let Some(fault) = self.fault() {
            return self.fail(fault);
        }
        assert!(self.reading.contains_key(&partition), "state of partition {partition}, which is not assigned");
        Ok(self.disk.state.get(&(partition, key.to_vec())).cloned())
    }

    fn commit(&mut self, unit: CommitUnit) -> Result<(), BackendError> {
        let fault = self.fault();
        if let Some(fault @ (Fault::Fence | Fault::Retry | Fault::Kill | Fault::Revoke)) = fault {
            return self.fail(fault);
        }
        self.check(&unit);
        self.disk.positions.extend(unit.positions);
        for output in unit.outputs {
            self.disk.outputs.entry((output.topic, output.partition)).or_default().push(output.record);
        }
        for write in unit.state {
            let key = (write.partition, write.key);
            match write.value {
                Some(value) => self.disk.state.insert(key, value),
                None => self.disk.state.remove(&key),
            };
        }
        fault.map_or(Ok(()), |fault| self.fail(fault))
    }

    fn recover(&mut self) -> Result<(), BackendError> {
        assert!(self.broken.replace(false), "a recovery without an error");
        self.reading.clear();
        match self.fault() {
            Some(fault) => self.fail(fault),
            None => Ok(()),
        }
    }
}

impl SimBackend<'_> {
    /// The contract of a commit unit.
    fn check(&self, unit: &CommitUnit) {
        let partitions: BTreeSet<_> = unit.positions.iter().map(|(partition, _)| *partition).collect();
        assert_eq!(partitions.len(), unit.positions.len(), "a partition has two positions");
        for (partition, position) in &unit.positions {
            let before = self.disk.positions.get(partition).copied().unwrap_or(0);
            assert!(*position >= before, "partition {partition} goes back from {before} to {position}");
            let handed_out = self.reading.get(partition).expect("a commit of a partition that is not assigned");
            assert!(position <= handed_out, "partition {partition} goes to {position} past {handed_out}");
        }
        for output in unit.outputs.iter().filter(|output| output.topic != OutputTopic::RuleSets) {
            assert!(partitions.contains(&output.partition), "an output of a partition without a position");
        }
        let keys: BTreeSet<_> = unit.state.iter().map(|write| (write.partition, &write.key)).collect();
        assert_eq!(keys.len(), unit.state.len(), "a state key is written twice");
        assert!(keys.iter().all(|(partition, _)| partitions.contains(partition)), "state without a position");
    }
}
