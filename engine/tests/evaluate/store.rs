//! State as the processor stores it: keys and values as bytes, written change by change, and read back after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use tripline_engine::history::History;
use tripline_engine::{MemoryState, StateChange};
use tripline_schemas::state::{HistoryBounds, HistoryKey, KeyState, RecordedEvent, Seen, StateKey};

/// What is on disk.
#[derive(Default)]
pub struct Store {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How many values were written or removed.
    pub writes: usize,
}

impl Store {
    /// Writes what a decision says must be remembered, and no more.
    pub fn apply(&mut self, changes: &[StateChange]) {
        for change in changes {
            match change {
                StateChange::KeyState(key, state) => {
                    self.write(StateKey::Key(key.clone()), state.as_ref().map(|state| state.to_bytes()));
                }
                StateChange::Text(key, digest, text) => {
                    self.write(StateKey::Text(key.clone(), *digest), text.clone());
                }
                StateChange::History(at, history, changed) => {
                    self.write(StateKey::History(at.clone()), Some(history.bounds().to_bytes()));
                    for number in changed {
                        let event = history.event(*number).map(|event| event.to_bytes());
                        self.write(StateKey::HistoryEvent(at.clone(), *number), event);
                    }
                }
                StateChange::Seen(at, seen) => self.write(StateKey::Seen(at.clone()), Some(seen.to_bytes())),
            }
        }
    }

    fn write(&mut self, key: StateKey, value: Option<Vec<u8>>) {
        self.writes += 1;
        match value {
            Some(value) => drop(self.values.insert(key.to_bytes(), value)),
            None => drop(self.values.remove(&key.to_bytes())),
        }
    }

    /// Everything, as it is read after a restart. No event may be left over that is not live, and none be missing.
    pub fn load(&self) -> MemoryState {
        let mut state = MemoryState::default();
        let mut bounds: BTreeMap<HistoryKey, HistoryBounds> = BTreeMap::new();
        let mut events: BTreeMap<HistoryKey, BTreeMap<u64, RecordedEvent>> = BTreeMap::new();
        for (key, value) in &self.values {
            match StateKey::from_bytes(key).expect("a key comes back") {
                StateKey::Key(key) => {
                    drop(state.keys.insert(key, Arc::new(KeyState::from_bytes(value).expect("a state comes back"))))
                }
                StateKey::Text(key, digest) => drop(state.texts.insert((key, digest), value.clone())),
                StateKey::History(at) => {
                    bounds.insert(at, HistoryBounds::from_bytes(value).expect("bounds come back"));
                }
                StateKey::HistoryEvent(at, number) => {
                    let event = RecordedEvent::from_bytes(value).expect("an event comes back");
                    events.entry(at).or_default().insert(number, event);
                }
                StateKey::Seen(at) => drop(state.seen.insert(at, Seen::from_bytes(value).expect("it comes back"))),
                other => panic!("the engine asks for no {other:?}"),
            }
        }
        for (at, HistoryBounds { first, next }) in bounds {
            let events = events.remove(&at).unwrap_or_default();
            assert!(events.keys().copied().eq(first..next), "{at:?}: {:?} of {first}..{next}", events.keys());
            state.histories.insert(at, Arc::new(History::new(first, events.into_values())));
        }
        assert_eq!(events, BTreeMap::new(), "events of no history");
        state
    }
}
