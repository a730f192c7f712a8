//! A working copy of what rules remember of earlier events, of any agent and command of the partition.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tripline_schemas::state::{HistoryKey, RecordedEvent, Seen, SeenKey, Twin};

use crate::decision::{State, StateChange, StateError};
use crate::history::History;

/// Later lines of an event see what earlier ones recorded. Nothing is read before it is asked for, and no history copied
/// before it changes.
pub(super) struct Records<'a> {
    state: &'a dyn State,
    histories: BTreeMap<HistoryKey, Working>,
    /// Seen in this event for the first time.
    seen: BTreeMap<SeenKey, Seen>,
    /// Somebody wanted to know something.
    asked: Cell<bool>,
}

#[derive(Default)]
struct Working {
    history: Arc<History>,
    /// The numbers of events that are new, changed, or gone.
    changed: BTreeSet<u64>,
}

impl<'a> Records<'a> {
    pub fn new(state: &'a dyn State) -> Records<'a> {
        Records { state, histories: BTreeMap::new(), seen: BTreeMap::new(), asked: Cell::new(false) }
    }

    /// Whether anything was read: then it may be another event that decides what comes of this one.
    pub fn were_asked(&self) -> bool {
        self.asked.get()
    }

    /// The events of a history.
    pub fn history(&mut self, at: &HistoryKey) -> Result<&History, StateError> {
        Ok(&self.working(at)?.history)
    }

    /// Adds an event to all of these histories, each with the number of events that it may hold.
    pub fn record(&mut self, event: RecordedEvent, at: Vec<(HistoryKey, usize)>) -> Result<(), StateError> {
        let mut twins = Vec::new();
        for (history, _) in &at {
            twins.push(Twin::new(history, self.history(history)?.next_number()));
        }
        for (own, (history, events_max)) in at.iter().enumerate() {
            let others = twins.iter().enumerate().filter(|(other, _)| *other != own).map(|(_, twin)| twin.clone());
            let event = RecordedEvent { twins: others.collect(), ..event.clone() };
            let working = self.working(history)?;
            let ring = Arc::make_mut(&mut working.history);
            working.changed.insert(ring.push(event));
            while let Some(gone) = ring.pop_over(*events_max) {
                working.changed.insert(gone);
            }
        }
        Ok(())
    }

    /// A composite rule of this level used an event up, in all histories that hold it.
    pub fn use_up(&mut self, at: &HistoryKey, number: u64, level: u16) -> Result<(), StateError> {
        let Some(event) = self.history(at)?.event(number) else { return Ok(()) };
        let twins = event.twins.clone();
        self.mark(at, number, level)?;
        twins.iter().try_for_each(|twin| self.mark(&twin.history(), twin.number, level))
    }

    fn mark(&mut self, at: &HistoryKey, number: u64, level: u16) -> Result<(), StateError> {
        let working = self.working(at)?;
        if working.history.event(number).is_some_and(|event| event.used < level) {
            if let Some(event) = Arc::make_mut(&mut working.history).event_mut(number) {
                event.used = level;
            }
            working.changed.insert(number);
        }
        Ok(())
    }

    /// Drops the events of a history. Its numbers go on.
    pub fn forget(&mut self, at: &HistoryKey) -> Result<(), StateError> {
        let working = self.working(at)?;
        let ring = Arc::make_mut(&mut working.history);
        while let Some(gone) = ring.pop_over(0) {
            working.changed.insert(gone);
        }
        Ok(())
    }

    /// Whether something was seen before.
    pub fn has_seen(&self, at: &SeenKey) -> Result<bool, StateError> {
        self.asked.set(true);
        Ok(self.seen.contains_key(at) || self.state.has_seen(at)?)
    }

    /// Remembers for ever that something was seen.
    pub fn see(&mut self, at: SeenKey, seen: Seen) {
        self.seen.entry(at).or_insert(seen);
    }

    /// What must be remembered.
    pub fn into_changes(self) -> impl Iterator<Item = StateChange> {
        let changed = self.histories.into_iter().filter(|(_, working)| !working.changed.is_empty());
        let histories = changed.map(|(at, Working { history, changed })| StateChange::History(at, history, changed));
        histories.chain(self.seen.into_iter().map(|(at, seen)| StateChange::Seen(at, seen)))
    }

    fn working(&mut self, at: &HistoryKey) -> Result<&mut Working, StateError> {
        self.asked.set(true);
        if !self.histories.contains_key(at) {
            let history = self.state.history(at)?.unwrap_or_default();
            self.histories.insert(at.clone(), Working { history, changed: BTreeSet::new() });
        }
        Ok(self.histories.get_mut(at).expect("it was put in"))
    }
}
