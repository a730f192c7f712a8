//! Which runs are gone when frames can't be read. Runs are numbered without a gap, and so are their intents; so whatever is
//! missing between what can be read is known by its number, and mostly whose run it was.

use std::collections::BTreeMap;

use tripline_schemas::Key;
use tripline_schemas::event::Gap;
use uuid::Uuid;

use super::Intent;

/// The command that gaps name when nothing tells whose runs are gone.
pub const UNKNOWN_COMMAND: &str = "(unknown)";

/// Whose run it was.
type Whose = (Key, Option<String>);

/// Numbers that no frame has.
#[derive(Debug)]
struct Hole {
    spool: Uuid,
    first: u64,
    last: u64,
    /// Whose runs are known to have ended in here, in their order.
    known: Vec<Whose>,
    /// Something was told of them already.
    is_settled: bool,
}

/// All numbers that no frame has, found in the order of frames.
#[derive(Debug, Default)]
pub(super) struct Holes {
    holes: Vec<Hole>,
    /// Any intent or run that was seen: all are of one agent.
    somebody: Option<Whose>,
}

/// What follows from holes.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// One for each command and hole, by their last number.
    pub(super) gaps: Vec<Gap>,
    /// First and last numbers that no frame has, those that are published left out.
    pub(super) settled: Vec<(u64, u64)>,
    /// How many runs are gone.
    pub(super) runs: u64,
}

impl Holes {
    /// How many there are by now. Whoever begins now ends in none of them.
    pub(super) fn count(&self) -> usize {
        self.holes.len()
    }

    /// Remembers who works here, for runs of which nothing is left.
    pub(super) fn saw(&mut self, key: &Key, address: Option<&String>) {
        if self.somebody.is_none() {
            self.somebody = Some((key.clone(), address.cloned()));
        }
    }

    /// These numbers, first and last, are missing here.
    pub(super) fn add(&mut self, spool: Uuid, (first, last): (u64, u64)) {
        self.holes.push(Hole { spool, first, last, known: Vec::new(), is_settled: false });
    }

    /// The run of this intent, begun when there were `before` holes, has ended in one that came since. `false` when
    /// there is none.
    pub(super) fn ended(&mut self, intent: &Intent, before: usize) -> bool {
        let has_room = |hole: &&mut Hole| hole.free() > 0 && !hole.is_settled;
        match self.holes[before..].iter_mut().find(has_room) {
            Some(hole) => {
                hole.known.push((intent.key.clone(), intent.address.clone()));
                true
            }
            None => false,
        }
    }

    /// What is missing here was told by whoever noted these numbers.
    pub(super) fn settle(&mut self, settled: &[(u64, u64)]) {
        for hole in &mut self.holes {
            hole.is_settled |= settled.iter().any(|(first, last)| (*first..=*last).contains(&hole.last));
        }
    }

    /// How many runs, of those that ended in holes from this one on, nothing is known of; and of how many of them the
    /// log has heard.
    pub(super) fn free(&self, from: usize, published: u64) -> (u64, u64) {
        let open = self.holes[from..].iter().filter(|hole| !hole.is_settled);
        open.fold((0, 0), |(free, heard), hole| (free + hole.free(), heard + hole.free().min(hole.heard(published))))
    }

    /// The gaps to tell. In the holes from `last` on only so many unknown runs are told, since the others are told
    /// otherwise; in those before, all of them.
    pub(super) fn lost(&self, published: u64, last: usize, mut unknown_in_last: u64) -> Lost {
        let mut lost = Lost::default();
        for (index, hole) in self.holes.iter().enumerate() {
            let first = hole.first.max(published + 1);
            if first > hole.last {
                continue;
            }
            lost.settled.push((first, hole.last));
            if hole.is_settled {
                continue;
            }
            // The numbers of runs that the log has are the first, so their names are, too.
            let numbers = hole.last - first + 1;
            let known = &hole.known[hole.known.len().saturating_sub(numbers as usize)..];
            let mut unknown = numbers - known.len() as u64;
            if index >= last {
                unknown = unknown.min(unknown_in_last);
                unknown_in_last -= unknown;
            }
            self.tell(&mut lost, hole.spool, first, known, unknown);
        }
        lost
    }

    /// Adds the gaps of the runs from one number on: one for each command that is known, one for the unknown. Which number
    /// was whose is not known; all lie between the runs before and after.
    pub(super) fn tell(&self, lost: &mut Lost, spool: Uuid, first: u64, known: &[Whose], unknown: u64) {
        let mut counts: BTreeMap<Whose, u64> = BTreeMap::new();
        for whose in known {
            *counts.entry(whose.clone()).or_default() += 1;
        }
        let nobody = self.somebody.as_ref().filter(|_| unknown > 0).and_then(|(key, address)| {
            let key = Key::new(key.agent(), UNKNOWN_COMMAND).ok()?; // An agent's name that was in a key is fine.
            Some(((key, address.clone()), unknown))
        });
        let mut next = first;
        for ((key, address), runs) in counts.into_iter().chain(nobody) {
            let (first, last) = (next, next + runs - 1);
            next += runs;
            lost.runs += runs;
            lost.gaps.push(Gap { key, address, spool, first, last, runs, time: tripline_faults::now() });
        }
    }
}

impl Hole {
    /// How many runs in here are nobody's yet.
    fn free(&self) -> u64 {
        self.last - self.first + 1 - self.known.len() as u64
    }

    /// How many runs in here the log has.
    fn heard(&self, published: u64) -> u64 {
        (self.last.min(published) + 1).saturating_sub(self.first)
    }
}
