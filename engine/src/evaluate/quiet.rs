//! Outputs that nothing came of, so that the next run with the same output need not be judged.
//!
//! Most runs print what the run before printed, and nothing comes of it: no alert, nothing held back, nothing to
//! remember. The engine depends on the event, on what is remembered and on the rules alone, so the same output comes to
//! the same as long as all else that was asked for is the same too. That is what an entry says:
//!
//! | what rules can ask for | the same when |
//! | --- | --- |
//! | output, format, exit code, address, lateness | equal |
//! | duration | within bounds that no condition tells apart |
//! | time of day, day of the week | before the next edge of a condition or of the time zone, and not before the first time |
//! | earlier events (composite rules) | none was recorded since, and time only goes on |
//! | state of the agent and command | unchanged: the entry goes when it changes |
//! | rules, lists, decoders, settings | the rule set is the same: all entries go when it is another |
//!
//! Ignore timers are not among them: whoever asks one has a result, and a result is counted. Runs that failed or were cut
//! and events with a line about them are judged each time.
//!
//! An output is compared byte for byte, which costs next to nothing. That takes memory, of which each cache has so much
//! and no more ([`Room`]); whoever has none of it is known by a digest of the output.
//!
//! It is a cache and never the truth: with it or without it, every decision is the same.

mod room;

use std::cell::OnceCell;
use std::collections::HashMap;

use jiff::Timestamp;
use tripline_schemas::event::Event;
use tripline_schemas::state::TextDigest;
use tripline_schemas::{Ending, Format, Key, Run};

use self::room::{Room, Ticket};
use super::Timing;
use crate::decision::{Body, Decision, Input, StateChange};

/// How many agents and commands are remembered: some hundred bytes each. When there are more, all are forgotten.
const KEYS_MAX: usize = 100_000;

/// So many bytes of outputs are kept: a thousand of 4 KiB. The others are known by their digests.
const ROOM_BYTES: usize = 4 * 1024 * 1024;

/// Who was not asked about while all others could have been so many times gives its room to one that is.
const IDLE_ROUNDS: u64 = 4;

/// Outputs that nothing came of, of one partition, one for each agent and command.
///
/// It belongs to the state beside which it is used: who changes that state otherwise than by decisions that
/// [`QuietCache::changed`] is told of starts with a new one.
#[derive(Debug)]
pub struct QuietCache {
    /// The digest of the rule set that all entries are about.
    rules: Option<[u8; 32]>,
    keys: HashMap<Key, Entry>,
    /// For the outputs of some of `keys`: those that have a ticket.
    room: Room,
    /// How many events were asked about.
    asked: u64,
    /// Grows when anything changes that is not one key's own.
    shared_changes: u64,
    hits: u64,
}

/// An output that nothing came of, and what it was asked with.
#[derive(Debug)]
struct Entry {
    output: Output,
    size: usize,
    /// What [`QuietCache::asked`] was when it was about this one.
    asked: u64,
    format: Format,
    exit_code: i32,
    address: Option<String>,
    late: bool,
    validity: Validity,
    /// What [`QuietCache::shared_changes`] was, for one that depends on it.
    shared_changes: Option<u64>,
}

/// What another output is compared with.
#[derive(Debug)]
enum Output {
    Kept(Ticket, Box<[u8]>),
    Digest(TextDigest),
}

/// For which other events the rules answer the same, as far as they have asked for these things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// The earliest time.
    pub from: Timestamp,
    /// The first time for which it is not known.
    pub until: Timestamp,
    /// The shortest and the longest duration of the run, in milliseconds.
    pub durations: (i64, i64),
    /// Only as long as nothing is recorded for composite rules.
    pub shared: bool,
}

impl Validity {
    /// Nothing was asked for.
    pub const ALWAYS: Validity =
        Validity { from: Timestamp::MIN, until: Timestamp::MAX, durations: (0, i64::MAX), shared: false };

    /// Known for no other event.
    pub const NEVER: Validity = Validity { until: Timestamp::MIN, ..Validity::ALWAYS };
}

/// A run that may be the same as one before.
pub(super) struct Candidate<'a> {
    run: &'a Run,
    exit_code: i32,
    timing: Timing,
    /// Of its output. Costs more than everything else, so it is worked out when all else is the same.
    digest: OnceCell<TextDigest>,
}

impl<'a> Candidate<'a> {
    /// The run of an event that has no other line than those of its output.
    pub fn of(input: &Input<'a>, timing: Timing) -> Option<Candidate<'a>> {
        let Body::Event(Event::Output(run)) = input.body else { return None };
        let Ending::Exited(exit_code) = run.ending else { return None };
        let plain = run.failure().is_none() && run.truncated_from.is_none() && input.duplicate_agent.is_none();
        plain.then_some(Candidate { run, exit_code, timing, digest: OnceCell::new() })
    }

    fn digest(&self) -> TextDigest {
        *self.digest.get_or_init(|| TextDigest::of(&self.run.output))
    }

    fn duration(&self) -> i64 {
        self.run.duration_ms.try_into().unwrap_or(i64::MAX)
    }
}

impl Output {
    fn is_that_of(&self, candidate: &Candidate<'_>) -> bool {
        match self {
            Output::Kept(_, output) => **output == *candidate.run.output,
            Output::Digest(digest) => *digest == candidate.digest(),
        }
    }
}

impl Default for QuietCache {
    fn default() -> QuietCache {
        QuietCache::with_room(ROOM_BYTES)
    }
}

impl QuietCache {
    /// An empty one, which keeps up to 4 MiB of outputs.
    pub fn new() -> QuietCache {
        QuietCache::default()
    }

    /// An empty one, which keeps so many bytes of outputs. Those for which there is no room are known by their digests:
    /// the answers are the same, and cost more.
    pub fn with_room(bytes_max: usize) -> QuietCache {
        QuietCache {
            rules: None,
            keys: HashMap::new(),
            room: Room::of(bytes_max),
            asked: 0,
            shared_changes: 0,
            hits: 0,
        }
    }

    /// How many events it has answered.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// The state that decisions are made with has changed so.
    pub fn changed(&mut self, changes: &[StateChange]) {
        for change in changes {
            match change {
                StateChange::KeyState(key, _) | StateChange::Text(key, ..) => self.forget(key),
                StateChange::History(..) | StateChange::Seen(..) => self.shared_changes += 1,
            }
        }
    }

    /// Entries of other rules mean nothing under these.
    pub(super) fn take_up(&mut self, rules: &[u8; 32]) {
        if self.rules.as_ref() != Some(rules) {
            self.forget_all();
            self.rules = Some(*rules);
        }
    }

    /// Whether it is known that nothing comes of a run.
    pub(super) fn knows(&mut self, candidate: &Candidate<'_>) -> bool {
        let Candidate { run, timing, .. } = candidate;
        self.asked += 1;
        let Some(entry) = self.keys.get_mut(&run.key) else { return false };
        entry.asked = self.asked;
        let Validity { from, until, durations: (shortest, longest), .. } = entry.validity;
        let known = entry.size == run.output.len()
            && entry.format == run.format
            && entry.exit_code == candidate.exit_code
            && entry.address == run.address
            && entry.late == timing.late
            && (from..until).contains(&timing.time)
            && (shortest..=longest).contains(&candidate.duration())
            && entry.shared_changes.is_none_or(|changes| changes == self.shared_changes)
            && entry.output.is_that_of(candidate);
        if known && matches!(entry.output, Output::Digest(_)) {
            self.keep_from_now_on(run);
        }
        self.hits += u64::from(known);
        known
    }

    /// Nothing came of a run, and nothing comes of others within these bounds.
    pub(super) fn remember(&mut self, candidate: &Candidate<'_>, validity: Validity) {
        let Candidate { run, timing, .. } = candidate;
        if validity.until <= timing.time {
            return;
        }
        self.forget(&run.key);
        if self.keys.len() >= KEYS_MAX {
            self.forget_all();
        }
        let entry = Entry {
            output: self.kept(run).unwrap_or_else(|| Output::Digest(candidate.digest())),
            size: run.output.len(),
            asked: self.asked,
            format: run.format,
            exit_code: candidate.exit_code,
            address: run.address.clone(),
            late: timing.late,
            validity,
            shared_changes: validity.shared.then_some(self.shared_changes),
        };
        self.keys.insert(run.key.clone(), entry);
    }

    fn forget(&mut self, key: &Key) {
        if let Some(Entry { output: Output::Kept(ticket, _), .. }) = self.keys.remove(key) {
            self.room.give_back(ticket);
        }
    }

    fn forget_all(&mut self) {
        self.keys.clear();
        self.room.clear();
    }

    /// The output of a run that is known by its digest is kept, if there is room now.
    fn keep_from_now_on(&mut self, run: &Run) {
        if let Some(kept) = self.kept(run)
            && let Some(entry) = self.keys.get_mut(&run.key)
        {
            entry.output = kept;
        }
    }

    /// The output of a run, if there is room for it.
    fn kept(&mut self, run: &Run) -> Option<Output> {
        let size = run.output.len();
        let mut ticket = self.room.take(&run.key, size);
        if ticket.is_none() && self.room.may_hold(size) {
            self.make_room();
            ticket = self.room.take(&run.key, size);
        }
        Some(Output::Kept(ticket?, run.output.as_slice().into()))
    }

    /// Whoever has had room for the longest time gives it up if it is idle, and has its next turn after all others if
    /// not. Only one is looked at each time: if it was of no use, the next one is asked next time.
    fn make_room(&mut self) {
        let Some(key) = self.room.first().cloned() else { return };
        let idle = IDLE_ROUNDS * self.keys.len() as u64;
        let Some(Entry { output, asked, .. }) = self.keys.get_mut(&key) else { return };
        let Output::Kept(ticket, bytes) = output else { return };
        self.room.give_back(*ticket);
        if self.asked - *asked <= idle
            && let Some(later) = self.room.take(&key, bytes.len())
        {
            *ticket = later;
        } else {
            *output = Output::Digest(TextDigest::of(bytes));
        }
    }
}

impl Decision {
    /// Whether nothing comes of the event: nothing to write, nothing to count.
    pub(super) fn is_quiet(&self) -> bool {
        self.lines.is_empty() && self.alerts.is_empty() && self.changes.is_empty()
    }
}

#[cfg(test)]
mod tests;
