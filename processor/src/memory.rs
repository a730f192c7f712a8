//! A backend for bounded inputs: records and lines from an iterator, state in memory, outputs to a callback.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::time::Duration;

use tripline_eventlog::Stored;

use crate::backend::{
    Assigned, Backend, BackendError, CommitUnit, OutputRecord, Partition, Polled, StateWrite, StoredLine,
};

/// What a bounded input holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record(Stored),
    /// A line that is no command's output.
    Line(StoredLine),
}

/// What went wrong outside: reading the input, or writing the outputs.
pub type Trouble = Box<dyn Error + Send + Sync>;

/// Hands out an input once, and keeps state as long as it lives. A partition is assigned when its first record comes.
///
/// It never asks for a recovery: whatever goes wrong is for somebody to repair.
pub struct MemoryBackend<'a, I> {
    input: I,
    /// Read from `input`, and not yet handed out.
    next: Option<Item>,
    state: BTreeMap<Partition, BTreeMap<Vec<u8>, Vec<u8>>>,
    sink: &'a mut dyn FnMut(OutputRecord) -> Result<(), Trouble>,
}

impl<'a, I: Iterator<Item = Result<Item, Trouble>>> MemoryBackend<'a, I> {
    /// A backend without state. `sink` gets every committed output, in order.
    pub fn new(input: I, sink: &'a mut dyn FnMut(OutputRecord) -> Result<(), Trouble>) -> MemoryBackend<'a, I> {
        MemoryBackend { input, next: None, state: BTreeMap::new(), sink }
    }

    fn advance(&mut self) -> Result<Option<Item>, BackendError> {
        match self.next.take() {
            Some(item) => Ok(Some(item)),
            None => self.input.next().transpose().map_err(unreadable_input),
        }
    }
}

impl<I: Iterator<Item = Result<Item, Trouble>>> Backend for MemoryBackend<'_, I> {
    /// One item at a time: an input may be typed by a person, who waits for the answer.
    fn poll(&mut self, _max: usize, _wait: Duration) -> Result<Polled, BackendError> {
        let Some(item) = self.advance()? else { return Ok(Polled::End) };
        let (partition, position) = match &item {
            Item::Record(stored) => (stored.partition, stored.offset),
            Item::Line(stored) => (stored.partition, stored.offset),
        };
        if let Entry::Vacant(unassigned) = self.state.entry(partition) {
            unassigned.insert(BTreeMap::new());
            self.next = Some(item);
            return Ok(Polled::Assigned(vec![Assigned { partition, position }]));
        }
        Ok(match item {
            Item::Record(stored) => Polled::Records(vec![stored]),
            Item::Line(stored) => Polled::Lines(vec![stored]),
        })
    }

    fn state(&self, partition: Partition, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(self.state.get(&partition).and_then(|state| state.get(key)).cloned())
    }

    fn commit(&mut self, unit: CommitUnit) -> Result<(), BackendError> {
        for output in unit.outputs {
            (self.sink)(output).map_err(unwritable_output)?;
        }
        for StateWrite { partition, key, value } in unit.state {
            let state = self.state.entry(partition).or_default();
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
        Ok(())
    }

    fn recover(&mut self) -> Result<(), BackendError> {
        let what = "an input that is read once can't be read again".to_owned();
        Err(BackendError::Fatal { what, source: None })
    }
}

pub(crate) fn unreadable_input(err: Trouble) -> BackendError {
    fatal("reading the input failed", err)
}

pub(crate) fn unwritable_output(err: Trouble) -> BackendError {
    fatal("writing the outputs failed", err)
}

fn fatal(what: &str, source: Trouble) -> BackendError {
    BackendError::Fatal { what: what.to_owned(), source: Some(source) }
}
