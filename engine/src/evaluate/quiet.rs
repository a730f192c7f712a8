//! Outputs that nothing came of, so that the next run with the same output need not be judged.
//!
//! Most runs print what the run before printed, and nothing comes of it: no alert, nothing held back, nothing to
//! remember. The engine depends on the event, on what is remembered and on the rules alone, so the same output comes to
//! the same as long as all else that was asked for is the same too. That is what an entry says:
//!
//! | what rules can ask for | the same when |
//! | --- | --- |
//! | output, format, exit code, address, lateness | equal (the output by its digest) |
//! | duration | within bounds that no condition tells apart |
//! | time of day, day of the week | before the next edge of a condition or of the time zone, and not before the first time |
//! | earlier events (composite rules) | none was recorded since, and time only goes on |
//! | state of the agent and command | unchanged: the entry goes when it changes |
//! | rules, lists, decoders, settings | the rule set is the same: all entries go when it is another |
//!
//! Ignore timers are not among them: whoever asks one has a result, and a result is counted. Runs that failed or were cut
//! and events with a line about them are judged each time.
//!
//! It is a cache and never the truth: with it or without it, every decision is the same.

use std::cell::OnceCell;
use std::collections::HashMap;

use jiff::Timestamp;
use tripline_schemas::event::Event;
use tripline_schemas::state::TextDigest;
use tripline_schemas::{Ending, Format, Key, Run};

use super::Timing;
use crate::decision::{Body, Decision, Input, StateChange};

/// How many agents and commands are remembered: some hundred bytes each. When there are more, all are forgotten.
const KEYS_MAX: usize = 100_000;

/// Outputs that nothing came of, of one partition, one for each agent and command.
///
/// It belongs to the state beside which it is used: who changes that state otherwise than by decisions that
/// [`QuietCache::changed`] is told of starts with a new one.
#[derive(Debug, Default)]
pub struct QuietCache {
    /// The digest of the rule set that all entries are about.
    rules: Option<[u8; 32]>,
    keys: HashMap<Key, Entry>,
    /// Grows when anything changes that is not one key's own.
    shared_changes: u64,
    hits: u64,
}

/// An output that nothing came of, and what it was asked with.
#[derive(Debug)]
struct Entry {
    digest: TextDigest,
    size: usize,
    format: Format,
    exit_code: i32,
    address: Option<String>,
    late: bool,
    validity: Validity,
    /// What [`QuietCache::shared_changes`] was, for one that depends on it.
    shared_changes: Option<u64>,
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
    /// Of its output. Costs about as much as everything else, so it is worked out when all else is the same.
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

impl QuietCache {
    /// An empty one.
    pub fn new() -> QuietCache {
        QuietCache::default()
    }

    /// How many events it has answered.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// The state that decisions are made with has changed so.
    pub fn changed(&mut self, changes: &[StateChange]) {
        for change in changes {
            match change {
                StateChange::KeyState(key, _) | StateChange::Text(key, ..) => drop(self.keys.remove(key)),
                StateChange::History(..) | StateChange::Seen(..) => self.shared_changes += 1,
            }
        }
    }

    /// Entries of other rules mean nothing under these.
    pub(super) fn take_up(&mut self, rules: &[u8; 32]) {
        if self.rules.as_ref() != Some(rules) {
            self.keys.clear();
            self.rules = Some(*rules);
        }
    }

    /// Whether it is known that nothing comes of a run.
    pub(super) fn knows(&mut self, candidate: &Candidate<'_>) -> bool {
        let Candidate { run, timing, .. } = candidate;
        let Some(entry) = self.keys.get(&run.key) else { return false };
        let Validity { from, until, durations: (shortest, longest), .. } = entry.validity;
        let known = entry.size == run.output.len()
            && entry.format == run.format
            && entry.exit_code == candidate.exit_code
            && entry.address == run.address
            && entry.late == timing.late
            && (from..until).contains(&timing.time)
            && (shortest..=longest).contains(&candidate.duration())
            && entry.shared_changes.is_none_or(|changes| changes == self.shared_changes)
            && entry.digest == candidate.digest();
        self.hits += u64::from(known);
        known
    }

    /// Nothing came of a run, and nothing comes of others within these bounds.
    pub(super) fn remember(&mut self, candidate: &Candidate<'_>, validity: Validity) {
        let Candidate { run, timing, .. } = candidate;
        if validity.until <= timing.time {
            return;
        }
        if self.keys.len() >= KEYS_MAX && !self.keys.contains_key(&run.key) {
            self.keys.clear();
        }
        let entry = Entry {
            digest: candidate.digest(),
            size: run.output.len(),
            format: run.format,
            exit_code: candidate.exit_code,
            address: run.address.clone(),
            late: timing.late,
            validity,
            shared_changes: validity.shared.then_some(self.shared_changes),
        };
        self.keys.insert(run.key.clone(), entry);
    }
}

impl Decision {
    /// Whether nothing comes of the event: nothing to write, nothing to count.
    pub(super) fn is_quiet(&self) -> bool {
        self.lines.is_empty() && self.alerts.is_empty() && self.changes.is_empty()
    }
}
