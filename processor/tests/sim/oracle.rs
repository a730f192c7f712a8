//! The same world judged without a loop: one engine call after the other, whole histories instead of cursors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tripline_engine::RuleSet;
use tripline_engine::decision::{Body, Input, State, StateChange, StateError, Verdict};
use tripline_engine::history::History as Events;
use tripline_schemas::Key;
use tripline_schemas::alert::{Alert, Source};
use tripline_schemas::event::Event;
use tripline_schemas::state::{HistoryKey, KeyState, Seen, SeenKey, TextDigest};
use uuid::Uuid;

use crate::world::{World, offset_of};

#[derive(Default)]
pub struct Expected {
    pub alerts: Vec<Alert>,
    /// Offsets.
    pub dead_letters: Vec<u64>,
}

/// How often the world showed what.
#[derive(Debug, Default)]
pub struct Kinds {
    pub seen: u64,
    pub overtaken: u64,
    pub alternating: u64,
    pub undecodable: u64,
    pub alerts: u64,
    pub held_back: u64,
}

/// Everything ever judged of a key: spool, number, start.
type History = Vec<(Uuid, u64, Option<Timestamp>)>;

pub fn judge(world: &World, rules: &RuleSet, kinds: &mut Kinds) -> Expected {
    let mut expected = Expected::default();
    let mut state = Maps::default();
    let mut histories: BTreeMap<Key, History> = BTreeMap::new();
    let mut reported: BTreeSet<(Key, Uuid)> = BTreeSet::new();
    for (offset, (append_time, record)) in (0..).map(offset_of).zip(&world.records) {
        let Ok(event) = Event::from_record(record) else {
            kinds.undecodable += 1;
            expected.dead_letters.push(offset);
            continue;
        };
        let numbered = match &event {
            Event::Output(run) => Some((&run.key, run.id.spool, run.id.sequence, Some(run.started.min(*append_time)))),
            Event::Gap(gap) => Some((&gap.key, gap.spool, gap.last, None)),
            Event::Control(_) | Event::Heartbeat(_) => None,
        };
        let (mut overtaken, mut duplicate_agent) = (false, None);
        if let Some((key, spool, sequence, started)) = numbered {
            let history = histories.entry(key.clone()).or_default();
            if history.iter().any(|(of, number, _)| (*of, *number) == (spool, sequence)) {
                kinds.seen += 1;
                continue;
            }
            overtaken = started.is_some() && history.iter().any(|(_, _, earlier)| *earlier > started);
            let last = history.last().map(|(of, ..)| *of);
            if let Some(other) = last.filter(|last| *last != spool && history.iter().any(|(of, ..)| *of == spool)) {
                let new = [spool, other].map(|spool| reported.insert((key.clone(), spool)));
                duplicate_agent = new.contains(&true).then_some(other);
            }
            history.push((spool, sequence, started));
        }
        kinds.overtaken += u64::from(overtaken);
        kinds.alternating += u64::from(duplicate_agent.is_some());
        let source = Source { topic: "tripline.outputs".to_owned(), partition: 0, offset };
        let body = Body::Event(&event);
        let input = Input { body, append_time: *append_time, source: Some(&source), overtaken, duplicate_agent };
        let decision = rules.evaluate(&input, &state).unwrap();
        kinds.alerts += decision.alerts.len() as u64;
        let held_back = |verdict: &Verdict| matches!(verdict, Verdict::HeldBack { .. });
        kinds.held_back += decision.lines.iter().filter(|line| held_back(&line.verdict)).count() as u64;
        expected.alerts.extend(decision.alerts);
        state.apply(decision.changes);
    }
    expected
}

#[derive(Default)]
struct Maps {
    keys: BTreeMap<Key, Arc<KeyState>>,
    texts: BTreeMap<(Key, TextDigest), Vec<u8>>,
    histories: BTreeMap<HistoryKey, Arc<Events>>,
    seen: BTreeMap<SeenKey, Seen>,
}

impl Maps {
    fn apply(&mut self, changes: Vec<StateChange>) {
        for change in changes {
            match change {
                StateChange::KeyState(key, Some(state)) => _ = self.keys.insert(key, state),
                StateChange::KeyState(key, None) => _ = self.keys.remove(&key),
                StateChange::Text(key, digest, Some(text)) => _ = self.texts.insert((key, digest), text),
                StateChange::Text(key, digest, None) => _ = self.texts.remove(&(key, digest)),
                StateChange::History(at, history, _) => _ = self.histories.insert(at, history),
                StateChange::Seen(at, seen) => _ = self.seen.insert(at, seen),
            }
        }
    }
}

impl State for Maps {
    fn key_state(&self, key: &Key) -> Result<Option<Arc<KeyState>>, StateError> {
        Ok(self.keys.get(key).cloned())
    }

    fn text(&self, key: &Key, digest: &TextDigest) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.texts.get(&(key.clone(), *digest)).cloned())
    }

    fn history(&self, at: &HistoryKey) -> Result<Option<Arc<Events>>, StateError> {
        Ok(self.histories.get(at).cloned())
    }

    fn has_seen(&self, at: &SeenKey) -> Result<bool, StateError> {
        Ok(self.seen.contains_key(at))
    }
}
