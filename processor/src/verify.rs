//! Checking stored state: every value can be read, and they fit together.

use std::collections::{BTreeMap, BTreeSet};

use tripline_schemas::Key;
use tripline_schemas::state::{
    Activation, Cursor, Cursors, HistoryBounds, HistoryKey, KeyState, RecordedEvent, Seen, StateKey, TextDigest,
};

use crate::backend::Partition;

/// Gathers the values of a state store, and says what is wrong with them.
#[derive(Debug, Default)]
pub struct StateCheck {
    partitions: BTreeMap<Partition, Values>,
    damage: Vec<StateDamage>,
}

/// What of the state is damaged, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDamage {
    /// The partition.
    pub partition: Partition,
    /// Whose state; `None` for what is shared.
    pub key: Option<Key>,
    /// What is wrong.
    pub what: String,
}

/// What must fit together within a partition.
#[derive(Debug, Default)]
struct Values {
    /// Baseline texts that rules name, with one of the rules.
    named: BTreeMap<(Key, TextDigest), u32>,
    texts: BTreeSet<(Key, TextDigest)>,
    histories: BTreeMap<HistoryKey, HistoryBounds>,
    events: BTreeMap<HistoryKey, BTreeSet<u64>>,
    /// Up to where the cursors are folded.
    folded: Option<u64>,
    /// From where the last rule set judges.
    active_from: Option<u64>,
}

impl StateCheck {
    /// Takes one stored value.
    pub fn value(&mut self, partition: Partition, key: &[u8], value: &[u8]) {
        let values = self.partitions.entry(partition).or_default();
        let key = match StateKey::from_bytes(key) {
            Ok(key) => key,
            Err(err) => {
                let what = format!("a key that can't be read: {err}");
                return self.damage.push(StateDamage { partition, key: None, what });
            }
        };
        if let Err((whose, what)) = values.take(key, value) {
            self.damage.push(StateDamage { partition, key: whose, what });
        }
    }

    /// What is damaged, the input positions (by partition) held against what the state says.
    pub fn finish(mut self, positions: &BTreeMap<Partition, u64>) -> Vec<StateDamage> {
        for (partition, values) in self.partitions {
            let mut damaged =
                |key: Option<&Key>, what| self.damage.push(StateDamage { partition, key: key.cloned(), what });
            for ((key, digest), rule) in &values.named {
                if !values.texts.contains(&(key.clone(), *digest)) {
                    damaged(Some(key), format!("the baseline text of rule {rule} is missing"));
                }
            }
            for (key, digest) in &values.texts {
                if !values.named.contains_key(&(key.clone(), *digest)) {
                    damaged(Some(key), format!("a baseline text that no rule names: {digest:?}"));
                }
            }
            for (history, bounds) in &values.histories {
                let there = values.events.get(history).map(BTreeSet::len).unwrap_or(0) as u64;
                if there != bounds.next.saturating_sub(bounds.first) {
                    let what = format!("{there} events of a history that counts {} to {}", bounds.first, bounds.next);
                    damaged(None, format!("{what}: {:?}", history.counted));
                }
            }
            let position = positions.get(&partition).copied().unwrap_or(0);
            for (offset, what) in
                [(values.folded, "the cursors are folded up to"), (values.active_from, "the rule set judges from")]
            {
                if offset.is_some_and(|offset| offset > position) {
                    let offset = offset.unwrap_or_default();
                    damaged(None, format!("{what} offset {offset}, behind the input position {position}"));
                }
            }
        }
        self.damage
    }
}

impl Values {
    fn take(&mut self, key: StateKey, value: &[u8]) -> Result<(), (Option<Key>, String)> {
        let unreadable = |key: Option<&Key>, err: tripline_schemas::DecodeError| (key.cloned(), err.to_string());
        match key {
            StateKey::Key(key) => {
                let state = KeyState::from_bytes(value).map_err(|err| unreadable(Some(&key), err))?;
                for (rule, state) in &state.rules {
                    if let Some(baseline) = &state.baseline {
                        self.named.insert((key.clone(), baseline.digest), *rule);
                    }
                }
            }
            StateKey::Text(key, digest) => {
                if TextDigest::of(value) != digest {
                    return Err((Some(key), "a baseline text that is not the one that was stored".to_owned()));
                }
                self.texts.insert((key, digest));
            }
            StateKey::Cursor(key) => {
                Cursor::from_bytes(value).map_err(|err| unreadable(Some(&key), err))?;
            }
            StateKey::Cursors => {
                let cursors = Cursors::from_bytes(value).map_err(|err| unreadable(None, err))?;
                self.folded = Some(cursors.position);
            }
            StateKey::Activation => {
                let activation = Activation::from_bytes(value).map_err(|err| unreadable(None, err))?;
                self.active_from = Some(activation.from_offset);
            }
            StateKey::History(history) => {
                let bounds = HistoryBounds::from_bytes(value).map_err(|err| unreadable(None, err))?;
                self.histories.insert(history, bounds);
            }
            StateKey::HistoryEvent(history, number) => {
                RecordedEvent::from_bytes(value).map_err(|err| unreadable(None, err))?;
                self.events.entry(history).or_default().insert(number);
            }
            StateKey::Seen(_) => {
                Seen::from_bytes(value).map_err(|err| unreadable(None, err))?;
            }
        }
        Ok(())
    }
}
