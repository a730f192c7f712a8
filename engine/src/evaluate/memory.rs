//! A working copy of what is remembered of one agent and command while one of its events is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tripline_schemas::Key;
use tripline_schemas::state::{Baseline, KeyState, RuleState, TextDigest};

use crate::decision::{State, StateChange, StateError};

/// Later lines of an event see what earlier ones changed. Nothing is read before it is asked for, and nothing copied
/// before it changes.
pub(super) struct Memory<'a> {
    key: &'a Key,
    state: &'a dyn State,
    /// As of the event before; `None` until it is read.
    before: Option<Option<Arc<KeyState>>>,
    /// With the changes of this event; `None` until there are some.
    now: Option<KeyState>,
    /// Texts that became baselines in this event.
    texts: BTreeMap<TextDigest, Vec<u8>>,
}

impl<'a> Memory<'a> {
    pub fn new(key: &'a Key, state: &'a dyn State) -> Memory<'a> {
        Memory { key, state, before: None, now: None, texts: BTreeMap::new() }
    }

    /// What is remembered of a rule.
    pub fn rule(&mut self, rule: u32) -> Result<Option<&RuleState>, StateError> {
        Ok(self.rules()?.and_then(|rules| rules.get(&rule)))
    }

    /// What is remembered of all rules.
    pub fn rules(&mut self) -> Result<Option<&BTreeMap<u32, RuleState>>, StateError> {
        self.read()?;
        let before = self.before.as_ref().and_then(Option::as_deref);
        Ok(self.now.as_ref().or(before).map(|state| &state.rules))
    }

    /// What is to be remembered of a rule.
    pub fn rule_mut(&mut self, rule: u32) -> Result<&mut RuleState, StateError> {
        self.read()?;
        let before = self.before.as_ref().and_then(Option::as_deref);
        let now = self.now.get_or_insert_with(|| before.cloned().unwrap_or_default());
        Ok(now.rules.entry(rule).or_default())
    }

    /// Forgets one rule, or all.
    pub fn forget(&mut self, rule: Option<u32>) -> Result<(), StateError> {
        self.read()?;
        match rule {
            Some(rule) => *self.rule_mut(rule)? = RuleState::default(),
            None => self.now = Some(KeyState::default()),
        }
        Ok(())
    }

    /// Makes a text the baseline of a rule.
    pub fn set_baseline(&mut self, rule: u32, baseline: Baseline, text: &[u8]) -> Result<(), StateError> {
        debug_assert_eq!(baseline.size, text.len() as u64);
        self.texts.entry(baseline.digest).or_insert_with(|| text.to_vec());
        self.rule_mut(rule)?.baseline = Some(baseline);
        Ok(())
    }

    /// The text of a rule's baseline, or of one that it had when the event began.
    pub fn text(&self, rule: u32, baseline: &Baseline) -> Result<Vec<u8>, StateError> {
        if let Some(text) = self.texts.get(&baseline.digest) {
            return Ok(text.clone());
        }
        let text = self.state.text(self.key, &baseline.digest)?;
        text.ok_or_else(|| StateError::TextMissing { key: self.key.clone(), rule })
    }

    /// What must be remembered: texts that are new, the rules' state, and texts that nobody names any more.
    pub fn into_changes(self) -> Vec<StateChange> {
        let before = self.before.flatten();
        let Some(mut now) = self.now else { return Vec::new() };
        now.rules.retain(|_, state| *state != RuleState::default());
        let nothing = KeyState::default();
        let was = before.as_deref().unwrap_or(&nothing);
        if now == *was {
            return Vec::new();
        }
        let (named_before, named_now) = (named(was), named(&now));
        let key = self.key;
        let put =
            self.texts.into_iter().filter(|(digest, _)| named_now.contains(digest) && !named_before.contains(digest));
        let mut changes: Vec<_> =
            put.map(|(digest, text)| StateChange::Text(key.clone(), digest, Some(text))).collect();
        changes.push(StateChange::KeyState(key.clone(), (!now.rules.is_empty()).then(|| Arc::new(now))));
        changes.extend(named_before.difference(&named_now).map(|digest| StateChange::Text(key.clone(), *digest, None)));
        changes
    }

    fn read(&mut self) -> Result<(), StateError> {
        if self.before.is_none() {
            self.before = Some(self.state.key_state(self.key)?);
        }
        Ok(())
    }
}

/// The digests that a state names.
fn named(state: &KeyState) -> BTreeSet<TextDigest> {
    state.rules.values().filter_map(|rule| Some(rule.baseline.as_ref()?.digest)).collect()
}
