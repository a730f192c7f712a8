//! State of one partition as the engine sees it: what is not yet committed, over what is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tripline_engine::decision::{State, StateChange, StateError};
use tripline_engine::history::History;
use tripline_schemas::Key;
use tripline_schemas::state::{
    HistoryBounds, HistoryKey, KeyState, RecordedEvent, Seen, SeenKey, StateKey, TextDigest,
};

use crate::backend::{Backend, BackendError, Partition, StateWrite};

/// How many clean key states stay in memory over a commit.
const CLEAN_KEYS_MAX: usize = 100_000;
/// How many events of clean histories stay in memory over a commit.
const CLEAN_EVENTS_MAX: usize = 100_000;
/// What a changed key state counts for in [`Overlay::bytes`]; they are small, and rather alike.
const KEY_STATE_BYTES: usize = 512;
/// What a recorded event counts for beside its text.
const EVENT_BYTES: usize = 256;

/// Changes of one partition since its last commit, and key states that were read lately.
#[derive(Debug, Default)]
pub struct Overlay {
    /// In a cell since the engine reads through a shared reference, and what it reads is kept. Nobody else writes the
    /// partition's state, so that a committed value stays true until the partition is taken away.
    keys: RefCell<HashMap<Key, Option<Arc<KeyState>>>>,
    /// Keys whose state differs from what is committed. All of them are in `keys`.
    dirty: BTreeSet<Key>,
    /// Only changed texts: they are large, and read only when an output has changed.
    texts: BTreeMap<(Key, TextDigest), Option<Vec<u8>>>,
    /// Histories that were read or changed.
    histories: RefCell<HashMap<HistoryKey, Arc<History>>>,
    /// Their events that differ from what is committed. All of these histories are in `histories`.
    dirty_events: BTreeMap<HistoryKey, BTreeSet<u64>>,
    /// What was seen for the first time.
    seen: BTreeMap<SeenKey, Seen>,
    /// The size of the changes, roughly.
    bytes: usize,
}

impl Overlay {
    /// The overlay over the committed state of a backend, for the engine.
    pub fn view<'a>(&'a self, partition: Partition, backend: &'a dyn Backend) -> View<'a> {
        View { overlay: self, partition, backend }
    }

    /// Takes over what the engine wants remembered.
    pub fn apply(&mut self, changes: Vec<StateChange>) {
        for change in changes {
            match change {
                StateChange::KeyState(key, state) => {
                    self.bytes += KEY_STATE_BYTES;
                    self.keys.get_mut().insert(key.clone(), state);
                    self.dirty.insert(key);
                }
                StateChange::Text(key, digest, text) => {
                    self.bytes += text.as_ref().map_or(0, Vec::len);
                    self.texts.insert((key, digest), text);
                }
                StateChange::History(at, history, changed) => {
                    let events = changed.iter().filter_map(|number| history.event(*number));
                    self.bytes += events.map(|event| event.text.len() + EVENT_BYTES).sum::<usize>();
                    self.histories.get_mut().insert(at.clone(), history);
                    self.dirty_events.entry(at).or_default().extend(changed);
                }
                StateChange::Seen(at, seen) => {
                    self.bytes += seen.what.len() + EVENT_BYTES;
                    self.seen.insert(at, seen);
                }
            }
        }
    }

    /// The size of the changes, roughly, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes as state writes: one per key, its last value.
    pub fn writes(&self, partition: Partition) -> Vec<StateWrite> {
        let keys = self.keys.borrow();
        let states =
            self.dirty.iter().map(|key| (StateKey::Key(key.clone()), keys[key].as_ref().map(|state| state.to_bytes())));
        let texts = self.texts.iter().map(|((key, digest), text)| (StateKey::Text(key.clone(), *digest), text.clone()));
        let seen = self.seen.iter().map(|(at, seen)| (StateKey::Seen(at.clone()), Some(seen.to_bytes())));
        let histories = self.histories.borrow();
        let events = self.dirty_events.iter().flat_map(|(at, changed)| event_writes(at, &histories[at], changed));
        let writes = states.chain(texts).chain(seen).chain(events);
        writes.map(|(key, value)| StateWrite { partition, key: key.to_bytes(), value }).collect()
    }

    /// The writes of [`Overlay::writes`] are committed.
    pub fn committed(&mut self) {
        let keys = self.keys.get_mut();
        if keys.len() > CLEAN_KEYS_MAX {
            keys.clear();
        }
        self.dirty.clear();
        self.texts.clear();
        let histories = self.histories.get_mut();
        if histories.values().map(|history| 1 + events(history.bounds())).sum::<u64>() > CLEAN_EVENTS_MAX as u64 {
            histories.clear();
        }
        self.dirty_events.clear();
        self.seen.clear();
        self.bytes = 0;
    }
}

/// The writes of a history: its bounds, and the events that are new, changed or gone.
fn event_writes<'a>(
    at: &'a HistoryKey,
    history: &'a History,
    changed: &'a BTreeSet<u64>,
) -> impl Iterator<Item = (StateKey, Option<Vec<u8>>)> + 'a {
    let events = changed.iter().map(|number| {
        let event = history.event(*number).map(|event| event.to_bytes());
        (StateKey::HistoryEvent(at.clone(), *number), event)
    });
    [(StateKey::History(at.clone()), Some(history.bounds().to_bytes()))].into_iter().chain(events)
}

fn events(bounds: HistoryBounds) -> u64 {
    bounds.next - bounds.first
}

/// See [`Overlay::view`].
#[derive(Clone, Copy)]
pub struct View<'a> {
    overlay: &'a Overlay,
    partition: Partition,
    backend: &'a dyn Backend,
}

impl View<'_> {
    fn read(&self, key: &Key, at: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
        self.backend.state(self.partition, &at.to_bytes()).map_err(|err| unreadable(key, err))
    }

    fn read_history(&self, at: &HistoryKey) -> Result<History, BackendError> {
        let stored = |key: StateKey| self.backend.state(self.partition, &key.to_bytes());
        let Some(bounds) = stored(StateKey::History(at.clone()))? else { return Ok(History::default()) };
        let bounds = HistoryBounds::from_bytes(&bounds).map_err(BackendError::unreadable_state)?;
        let mut events = Vec::new();
        for number in bounds.first..bounds.next {
            let Some(event) = stored(StateKey::HistoryEvent(at.clone(), number))? else {
                let what = format!("the stored state is damaged: event {number} of a history of events is missing");
                return Err(BackendError::Fatal { what, source: None });
            };
            events.push(RecordedEvent::from_bytes(&event).map_err(BackendError::unreadable_state)?);
        }
        Ok(History::new(bounds.first, events))
    }
}

impl State for View<'_> {
    fn key_state(&self, key: &Key) -> Result<Option<Arc<KeyState>>, StateError> {
        if let Some(state) = self.overlay.keys.borrow().get(key) {
            return Ok(state.clone());
        }
        let state = match self.read(key, &StateKey::Key(key.clone()))? {
            None => None,
            Some(bytes) => match KeyState::from_bytes(&bytes) {
                Ok(state) => Some(Arc::new(state)),
                Err(err) => return Err(unreadable(key, BackendError::unreadable_state(err))),
            },
        };
        self.overlay.keys.borrow_mut().insert(key.clone(), state.clone());
        Ok(state)
    }

    fn text(&self, key: &Key, digest: &TextDigest) -> Result<Option<Vec<u8>>, StateError> {
        if let Some(text) = self.overlay.texts.get(&(key.clone(), *digest)) {
            return Ok(text.clone());
        }
        self.read(key, &StateKey::Text(key.clone(), *digest))
    }

    fn history(&self, at: &HistoryKey) -> Result<Option<Arc<History>>, StateError> {
        if let Some(history) = self.overlay.histories.borrow().get(at) {
            return Ok(Some(history.clone()));
        }
        let history = Arc::new(self.read_history(at).map_err(|err| unreadable_shared("a history of events", err))?);
        self.overlay.histories.borrow_mut().insert(at.clone(), history.clone());
        Ok(Some(history))
    }

    fn has_seen(&self, at: &SeenKey) -> Result<bool, StateError> {
        if self.overlay.seen.contains_key(at) {
            return Ok(true);
        }
        let stored = self.backend.state(self.partition, &StateKey::Seen(at.clone()).to_bytes());
        let stored = stored.map_err(|err| unreadable_shared("what was seen once", err))?;
        Ok(stored.is_some())
    }
}

/// As [`unreadable`], for what is shared by many keys.
fn unreadable_shared(what: &str, err: BackendError) -> StateError {
    StateError::ReadShared { what: what.to_owned(), source: Box::new(err) }
}

/// Carries a backend's error through the engine; [`crate::task::Task`] takes it out again.
fn unreadable(key: &Key, err: BackendError) -> StateError {
    StateError::Read { key: key.clone(), source: Box::new(err) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tripline_schemas::state::{Baseline, Counted, RuleState, Scope, SeenKind};

    use super::*;
    use crate::memory::{Item, MemoryBackend, Trouble};

    /// A change of each kind.
    fn changes() -> Vec<StateChange> {
        let (key, time) = (Key::new("web-1", "df").unwrap(), Timestamp::UNIX_EPOCH);
        let digest = TextDigest::of(b"text");
        let baseline = Baseline { digest, size: 4, truncated: false, gathered: false, run: None, time };
        let rules = [(533, RuleState { baseline: Some(baseline), ..RuleState::default() })].into();
        let event = RecordedEvent {
            time,
            rule: 533,
            used: 0,
            not_utf8: false,
            cut_from: 0,
            fields: BTreeMap::new(),
            twins: Vec::new(),
            text: "line".to_owned(),
        };
        let counted = HistoryKey { counted: Counted::Rule(533), scope: Scope::Partition };
        vec![
            StateChange::Text(key.clone(), digest, Some(b"text".to_vec())),
            StateChange::KeyState(key, Some(Arc::new(KeyState { rules }))),
            StateChange::History(counted, Arc::new(History::new(7, [event])), [7].into()),
            StateChange::Seen(seen(), Seen { what: "user=bob".to_owned(), time, rule: 533 }),
        ]
    }

    fn seen() -> SeenKey {
        SeenKey { kind: SeenKind::FirstTime, scope: Scope::Partition, digest: TextDigest::of(b"bob") }
    }

    #[test]
    fn a_change_is_seen_before_it_is_committed_and_written_once() {
        let mut sink = |_| Ok(());
        let nothing_stored = MemoryBackend::new(std::iter::empty::<Result<Item, Trouble>>(), &mut sink);
        let mut overlay = Overlay::default();
        let has_seen = |overlay: &Overlay| overlay.view(0, &nothing_stored).has_seen(&seen()).unwrap();
        assert!(!has_seen(&overlay));
        overlay.apply(changes());
        assert!(has_seen(&overlay));
        // The history's bounds are a write of their own.
        assert_eq!((overlay.writes(0).len(), overlay.bytes() > 0), (5, true));
        overlay.committed();
        assert_eq!((overlay.writes(0), overlay.bytes()), (Vec::new(), 0));
    }
}
