//! What is remembered, in memory: for replays, rule tests and `logtest`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tripline_schemas::Key;
use tripline_schemas::state::{HistoryKey, KeyState, Seen, SeenKey, TextDigest};

use crate::decision::{State, StateChange, StateError};
use crate::history::History;

/// A [`State`] that lives as long as its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    /// What is remembered of each agent and command.
    pub keys: BTreeMap<Key, Arc<KeyState>>,
    /// The baseline texts that `keys` names.
    pub texts: BTreeMap<(Key, TextDigest), Vec<u8>>,
    /// What composite rules count.
    pub histories: BTreeMap<HistoryKey, Arc<History>>,
    /// What was seen once.
    pub seen: BTreeMap<SeenKey, Seen>,
}

impl MemoryState {
    /// Remembers what a decision says must be remembered.
    pub fn apply(&mut self, changes: &[StateChange]) {
        for change in changes {
            match change.clone() {
                StateChange::KeyState(key, Some(state)) => drop(self.keys.insert(key, state)),
                StateChange::KeyState(key, None) => drop(self.keys.remove(&key)),
                StateChange::Text(key, digest, Some(text)) => drop(self.texts.insert((key, digest), text)),
                StateChange::Text(key, digest, None) => drop(self.texts.remove(&(key, digest))),
                StateChange::History(at, history, _) => drop(self.histories.insert(at, history)),
                StateChange::Seen(at, seen) => drop(self.seen.insert(at, seen)),
            }
        }
    }
}

impl State for MemoryState {
    fn key_state(&self, key: &Key) -> Result<Option<Arc<KeyState>>, StateError> {
        Ok(self.keys.get(key).cloned())
    }

    fn text(&self, key: &Key, digest: &TextDigest) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.texts.get(&(key.clone(), *digest)).cloned())
    }

    fn history(&self, at: &HistoryKey) -> Result<Option<Arc<History>>, StateError> {
        Ok(self.histories.get(at).cloned())
    }

    fn has_seen(&self, at: &SeenKey) -> Result<bool, StateError> {
        Ok(self.seen.contains_key(at))
    }
}
