//! What of the input was seen before: the fold that drops republished runs and notices overtaken ones.
//!
//! A collector publishes a run again when it does not know whether the first time worked. A [`Cursor`] per agent and
//! command holds the last run number of each spool, and whatever is not newer is dropped. That is safe because runs of
//! one command never overlap: their numbers only grow. Numbers of different commands may come in another order, which
//! is why no cursor spans two of them.
//!
//! Cursors are a fold of the input: `cursor(n + 1) = fold(cursor(n), record n)`, and nothing else enters it. So they
//! need not be written with every commit: they are stored now and then ([`Cursors`] says up to where) and folded again
//! from there. A record that is folded twice changes nothing the second time, since its run is seen by then.

use std::collections::HashMap;

use jiff::Timestamp;
use tripline_schemas::Key;
use tripline_schemas::event::Event;
use tripline_schemas::state::{Cursor, Cursors, SpoolCursor, StateKey};
use uuid::Uuid;

use crate::backend::{BackendError, Partition, StateWrite};

/// How many clean cursors stay in memory over a checkpoint.
const CLEAN_KEYS_MAX: usize = 100_000;

/// The input offset from which a backend hands out records after an assignment: the last checkpoint, but never after
/// the committed position. `stored` is the partition's value under [`StateKey::Cursors`].
pub fn fold_from(stored: Option<&[u8]>, position: u64) -> Result<u64, BackendError> {
    match stored {
        None => Ok(0),
        Some(bytes) => Ok(Cursors::from_bytes(bytes).map_err(BackendError::unreadable_state)?.position.min(position)),
    }
}

/// The cursors of one partition.
#[derive(Debug, Default)]
pub struct CursorFold {
    /// What is known of a key. A key that is not here is as it is stored.
    keys: HashMap<Key, Known>,
}

#[derive(Debug)]
struct Known {
    cursor: Cursor,
    /// It differs from what is stored.
    dirty: bool,
}

/// What the cursors say about an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// It was processed before.
    pub seen: bool,
    /// A run of the same command that started later came before it.
    pub overtaken: bool,
    /// Another spool spoke for the same agent and command since this one did last, and that was not reported yet.
    pub alternates_with: Option<Uuid>,
}

impl CursorFold {
    /// Folds an event in. `stored` reads the key's value under [`StateKey::Cursor`].
    pub fn see(
        &mut self,
        event: &Event,
        append_time: Timestamp,
        stored: impl FnOnce(&StateKey) -> Result<Option<Vec<u8>>, BackendError>,
    ) -> Result<Sighting, BackendError> {
        let (key, spool, sequence, started) = match event {
            Event::Output(run) => (&run.key, run.id.spool, run.id.sequence, Some(run.started.min(append_time))),
            Event::Gap(gap) => (&gap.key, gap.spool, gap.last, None),
            // Nobody numbers them, and a repeated one does no harm.
            Event::Control(_) | Event::Heartbeat(_) => return Ok(Sighting::default()),
        };
        if !self.keys.contains_key(key) {
            let cursor = match stored(&StateKey::Cursor(key.clone()))? {
                Some(bytes) => Cursor::from_bytes(&bytes).map_err(BackendError::unreadable_state)?,
                None => Cursor::default(),
            };
            self.keys.insert(key.clone(), Known { cursor, dirty: false });
        }
        let known = self.keys.get_mut(key).expect("inserted above");
        let sighting = fold(&mut known.cursor, spool, sequence, started);
        known.dirty |= !sighting.seen;
        Ok(sighting)
    }

    /// The state writes that store everything folded so far; `position` is the offset after the last record folded.
    pub fn checkpoint(&self, partition: Partition, position: u64) -> Vec<StateWrite> {
        let mut dirty: Vec<_> = self.keys.iter().filter(|(_, known)| known.dirty).collect();
        dirty.sort_unstable_by_key(|(key, _)| *key);
        let cursors = dirty.into_iter().map(|(key, known)| (StateKey::Cursor(key.clone()), known.cursor.to_bytes()));
        cursors
            .chain([(StateKey::Cursors, Cursors { position }.to_bytes())])
            .map(|(key, value)| StateWrite { partition, key: key.to_bytes(), value: Some(value) })
            .collect()
    }

    /// The writes of [`CursorFold::checkpoint`] are committed.
    pub fn checkpointed(&mut self) {
        if self.keys.len() > CLEAN_KEYS_MAX {
            self.keys.clear();
        }
        self.keys.values_mut().for_each(|known| known.dirty = false);
    }
}

/// The fold's one step.
fn fold(cursor: &mut Cursor, spool: Uuid, sequence: u64, started: Option<Timestamp>) -> Sighting {
    let place = cursor.spools.iter().position(|known| known.spool == spool);
    if place.is_some_and(|at| sequence <= cursor.spools[at].sequence) {
        return Sighting { seen: true, ..Sighting::default() };
    }
    let overtaken = started < cursor.started && started.is_some();
    cursor.started = cursor.started.max(started);
    let alternates_with = match place {
        // It was the last to speak: the common case.
        Some(0) => None,
        // It spoke, another one did, and now it speaks again. One that was reinstalled never comes back.
        Some(at) => {
            let returned = cursor.spools.remove(at);
            cursor.spools.insert(0, returned);
            let other = cursor.spools[1].spool;
            let reported = cursor.spools[..2].iter().all(|known| known.reported);
            cursor.spools[..2].iter_mut().for_each(|known| known.reported = true);
            (!reported).then_some(other)
        }
        None => {
            cursor.spools.truncate(Cursor::SPOOLS_MAX - 1);
            cursor.spools.insert(0, SpoolCursor { spool, sequence, reported: false });
            None
        }
    };
    cursor.spools[0].sequence = sequence;
    Sighting { seen: false, overtaken, alternates_with }
}

#[cfg(test)]
mod tests {
    use tripline_schemas::event::Gap;

    use super::*;

    const A: Uuid = Uuid::from_u128(0xa);
    const B: Uuid = Uuid::from_u128(0xb);
    const C: Uuid = Uuid::from_u128(0xc);

    fn at(second: i64) -> Option<Timestamp> {
        Some(Timestamp::from_second(second).unwrap())
    }

    /// Folds (spool, sequence) pairs, and gives the positions at which an alternation was reported, with whom.
    fn alternations(runs: &[(Uuid, u64)]) -> Vec<(usize, Uuid)> {
        let mut cursor = Cursor::default();
        let sightings = runs.iter().map(|(spool, sequence)| fold(&mut cursor, *spool, *sequence, None));
        sightings.enumerate().filter_map(|(n, sighting)| Some((n, sighting.alternates_with?))).collect()
    }

    #[test]
    fn a_run_that_is_not_newer_than_the_last_of_its_spool_is_seen() {
        let mut cursor = Cursor::default();
        let seen: Vec<bool> = [(A, 3), (A, 3), (A, 2), (A, 7), (B, 1), (B, 1), (A, 7), (A, 8)]
            .map(|(spool, sequence)| fold(&mut cursor, spool, sequence, None).seen)
            .into();
        assert_eq!(seen, [false, true, true, false, false, true, true, false]);
    }

    #[test]
    fn what_is_stored_is_not_stored_again_before_it_changes() {
        let mut fold = CursorFold::default();
        let mut writes_after = |agent: &str, last: u64| {
            let key = Key::new(agent, "df").unwrap();
            let (runs, time) = (1, Timestamp::UNIX_EPOCH);
            let gap = Event::Gap(Gap { key, address: None, spool: A, first: last, last, runs, time });
            fold.see(&gap, time, |_| Ok(None)).unwrap();
            let writes = fold.checkpoint(0, 1).len();
            fold.checkpointed();
            writes
        };
        // The position is always among them.
        let writes = [("web", 1), ("db", 1), ("web", 1), ("web", 2)].map(|(agent, last)| writes_after(agent, last));
        assert_eq!(writes, [2, 2, 1, 2]);
    }

    #[test]
    fn folding_twice_changes_nothing() {
        let runs = [(A, 1, 10), (A, 2, 5), (B, 1, 20), (A, 3, 30), (B, 2, 1), (C, 9, 2)];
        let mut cursor = Cursor::default();
        for (spool, sequence, second) in runs {
            fold(&mut cursor, spool, sequence, at(second));
        }
        let once = cursor.clone();
        for (spool, sequence, second) in &runs[2..] {
            assert!(fold(&mut cursor, *spool, *sequence, at(*second)).seen);
        }
        assert_eq!(cursor, once);
    }

    #[test]
    fn two_spools_that_alternate_are_reported_once() {
        assert_eq!(alternations(&[(A, 1), (B, 1), (A, 2), (B, 2), (A, 3), (B, 3)]), [(2, B)]);
    }

    #[test]
    fn a_reinstalled_collector_is_not_reported() {
        assert_eq!(alternations(&[(A, 1), (A, 2), (B, 1), (B, 2), (B, 3)]), []);
    }

    #[test]
    fn a_republished_run_of_the_old_spool_is_no_alternation() {
        assert_eq!(alternations(&[(A, 1), (B, 1), (A, 1), (B, 2)]), []);
    }

    #[test]
    fn a_third_spool_that_joins_the_alternation_is_reported_too() {
        assert_eq!(alternations(&[(A, 1), (B, 1), (A, 2), (C, 1), (A, 3), (C, 2), (B, 2)]), [(2, B), (4, C)]);
    }

    #[test]
    fn a_run_that_started_before_one_already_seen_is_overtaken() {
        let mut cursor = Cursor::default();
        let overtaken: Vec<bool> = [(1, 10), (2, 20), (3, 15), (4, 20), (5, 21)]
            .map(|(sequence, second)| fold(&mut cursor, A, sequence, at(second)).overtaken)
            .into();
        assert_eq!(overtaken, [false, false, true, false, false]);
    }

    #[test]
    fn a_gap_overtakes_nothing() {
        let mut cursor = Cursor::default();
        fold(&mut cursor, A, 1, at(10));
        assert_eq!(fold(&mut cursor, A, 5, None), Sighting::default());
        assert_eq!(cursor.started, at(10));
    }

    #[test]
    fn the_spool_that_was_silent_for_longest_is_forgotten() {
        let mut cursor = Cursor::default();
        for n in 0..100 {
            fold(&mut cursor, Uuid::from_u128(n), 1, None);
        }
        assert_eq!(cursor.spools.len(), Cursor::SPOOLS_MAX);
        assert_eq!(cursor.spools[0].spool, Uuid::from_u128(99));
    }

    #[test]
    fn records_are_handed_out_from_the_checkpoint_but_not_after_the_position() {
        let stored = Cursors { position: 70 }.to_bytes();
        assert_eq!(fold_from(Some(&stored), 100).unwrap(), 70);
        assert_eq!(fold_from(Some(&stored), 50).unwrap(), 50);
        assert_eq!(fold_from(None, 100).unwrap(), 0);
        assert!(fold_from(Some(b"{"), 100).unwrap_err().is_fatal());
    }
}
