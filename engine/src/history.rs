//! The last results that composite rules count, in memory: a ring of numbered events.

use std::collections::VecDeque;
use std::sync::Arc;

use tripline_schemas::state::{HistoryBounds, RecordedEvent};

/// The live events of one history, in the order in which they were judged. Cheap to clone: its events are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    first: u64,
    events: VecDeque<Arc<RecordedEvent>>,
}

impl History {
    /// A history as it is stored: the events from number `first` on.
    pub fn new(first: u64, events: impl IntoIterator<Item = RecordedEvent>) -> History {
        History { first, events: events.into_iter().map(Arc::new).collect() }
    }

    /// Which numbers are live.
    pub fn bounds(&self) -> HistoryBounds {
        HistoryBounds { first: self.first, next: self.next_number() }
    }

    /// The number that the next event gets.
    pub fn next_number(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// The event of this number; `None` when it is no longer live, or not yet.
    pub fn event(&self, number: u64) -> Option<&Arc<RecordedEvent>> {
        self.events.get(self.place(number)?)
    }

    /// All events with their numbers, the one that was judged last first.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, &Arc<RecordedEvent>)> {
        self.events.iter().enumerate().rev().map(|(place, event)| (self.first + place as u64, event))
    }

    /// Adds an event, and gives its number.
    pub(crate) fn push(&mut self, event: RecordedEvent) -> u64 {
        let number = self.next_number();
        self.events.push_back(Arc::new(event));
        number
    }

    /// Drops the oldest event when there are more than `capacity`, and gives its number.
    pub(crate) fn pop_over(&mut self, capacity: usize) -> Option<u64> {
        if self.events.len() <= capacity {
            return None;
        }
        self.events.pop_front();
        self.first += 1;
        Some(self.first - 1)
    }

    /// An event to change.
    pub(crate) fn event_mut(&mut self, number: u64) -> Option<&mut RecordedEvent> {
        let place = self.place(number)?;
        self.events.get_mut(place).map(Arc::make_mut)
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }
}
