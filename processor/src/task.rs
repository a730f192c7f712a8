//! One partition's work between two commits: records in, one part of a [`CommitUnit`](crate::CommitUnit) out.
//!
//! A task decides everything and does nothing: it reads committed state through the backend, and gathers alerts, dead
//! letters and state changes until the shard loop takes them along into a commit. Live processing, `replay` and
//! `logtest` all run it, through the same loop.

use std::any::Any;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use tripline_engine::decision::{Body, Decision, Input, LineDecision, LogLine, StateError, Verdict};
use tripline_engine::{QuietCache, RuleSet};
use tripline_eventlog::Stored;
use tripline_schemas::Record;
use tripline_schemas::alert::Source;
use tripline_schemas::dead_letter::DeadLetter;
use tripline_schemas::event::Event;
use tripline_schemas::state::{Activation, StateKey};

use crate::backend::{Assigned, Backend, BackendError, OutputRecord, OutputTopic, Partition, StateWrite, StoredLine};
use crate::cursors::{CursorFold, Sighting};
use crate::overlay::Overlay;

/// Something to judge, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Where it lies.
    pub partition: Partition,
    /// Where it lies.
    pub offset: u64,
    /// When the log took it.
    pub append_time: Timestamp,
    /// What it is.
    pub content: Content,
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A record, not yet decoded.
    Record(Record),
    /// A line that is no command's output.
    Line(LogLine),
}

/// What became of an arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It lies before the committed position: it was folded into the cursors, no more.
    Folded,
    /// Its run was processed before; dropped.
    Seen,
    /// The rules have judged it.
    Decided(Box<Decision>),
    /// It could not be decoded or judged, and goes to the dead letters for this reason.
    DeadLetter(String),
}

/// What happened to arrivals, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records and lines processed: the sum of the next three.
    pub arrivals: u64,
    /// Those that the rules judged.
    pub judged: u64,
    /// Those that were dropped, since their run was processed before.
    pub seen: u64,
    /// Those that went to the dead letters.
    pub dead_letters: u64,
    /// Alerts written.
    pub alerts: u64,
    /// Results that an ignore timer held back.
    pub held_back: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.arrivals += other.arrivals;
        self.judged += other.judged;
        self.seen += other.seen;
        self.dead_letters += other.dead_letters;
        self.alerts += other.alerts;
        self.held_back += other.held_back;
    }
}

/// The work on one assigned partition.
#[derive(Debug)]
pub struct Task {
    partition: Partition,
    /// The first offset to judge; earlier ones are folded into the cursors.
    judged_from: u64,
    /// One past the last arrival that was judged. Never below `judged_from`.
    next: u64,
    /// One past the last arrival that was folded into the cursors.
    folded_to: u64,
    cursors: CursorFold,
    /// Arrivals since the cursors were stored last.
    since_checkpoint: u64,
    /// The digest of the rule set whose activation is committed.
    activated: Option<[u8; 32]>,
    /// Outputs that nothing comes of with the state as it is, `pending` included.
    quiet: QuietCache,
    pending: Pending,
}

/// What the next commit will make durable.
#[derive(Debug, Default)]
struct Pending {
    overlay: Overlay,
    outputs: Vec<OutputRecord>,
    output_bytes: usize,
    /// The digest of a rule set that was not active before, and the first offset it judged.
    activation: Option<([u8; 32], u64)>,
    counts: Counts,
}

/// A task's part of a commit unit.
#[derive(Debug, Default)]
pub struct Part {
    /// The next offset to process.
    pub position: u64,
    /// Alerts and dead letters.
    pub outputs: Vec<OutputRecord>,
    /// State changes.
    pub state: Vec<StateWrite>,
    /// The rule set judges this partition from here on: its files must be in the log.
    pub activates: bool,
    /// The cursors are stored with it.
    pub checkpoint: bool,
}

impl Task {
    /// Takes up a partition where its last commit left it.
    pub fn new(assigned: Assigned, backend: &dyn Backend) -> Result<Task, BackendError> {
        let Assigned { partition, position } = assigned;
        let activated = match backend.state(partition, &StateKey::Activation.to_bytes())? {
            None => None,
            Some(bytes) => {
                let activation = Activation::from_bytes(&bytes).map_err(BackendError::unreadable_state)?;
                // One that is no digest is none of ours: the rule set is activated anew.
                blake3::Hash::from_hex(activation.digest).ok().map(|digest| *digest.as_bytes())
            }
        };
        Ok(Task {
            partition,
            judged_from: position,
            next: position,
            folded_to: 0,
            cursors: CursorFold::default(),
            since_checkpoint: 0,
            activated,
            quiet: QuietCache::new(),
            pending: Pending::default(),
        })
    }

    /// One arrival's whole way: decode, drop what was seen, judge, gather what follows from it.
    ///
    /// `topic` is the input topic's name; `detail` asks for every rule that was tried. An error means that the backend
    /// failed, and that nothing gathered is worth anything any more.
    pub fn take(
        &mut self,
        arrival: &Arrival,
        topic: &str,
        rules: &RuleSet,
        detail: bool,
        backend: &dyn Backend,
    ) -> Result<Judged, BackendError> {
        let Arrival { offset, append_time, .. } = *arrival;
        let source = Source { topic: topic.to_owned(), partition: self.partition, offset };
        let event;
        let body = match &arrival.content {
            Content::Line(line) => Ok(Body::Log(line)),
            Content::Record(record) => {
                event = Event::from_record(record);
                event.as_ref().map(Body::Event)
            }
        };
        let sighting = match body {
            Ok(Body::Event(event)) => {
                self.cursors.see(event, append_time, |key| backend.state(self.partition, &key.to_bytes()))?
            }
            Ok(Body::Log(_)) | Err(_) => Sighting::default(),
        };
        self.since_checkpoint += 1;
        self.folded_to = offset + 1;
        if offset < self.judged_from {
            return Ok(Judged::Folded);
        }
        self.next = offset + 1;
        self.activate(rules, offset);

        let judged = match body {
            Err(err) => Judged::DeadLetter(err.to_string()),
            Ok(_) if sighting.seen => Judged::Seen,
            Ok(body) => {
                let input = Input {
                    body,
                    append_time,
                    source: Some(&source),
                    overtaken: sighting.overtaken,
                    duplicate_agent: sighting.alternates_with,
                };
                self.evaluate(input, rules, detail, backend)?
            }
        };
        self.gather(&arrival.content, source, &judged);
        Ok(judged)
    }

    /// Asks the rules. What they can't judge is kept from stopping the partition for ever: it goes to the dead letters,
    /// whole and with the reason, and the next event of its key is judged as if it had not been there. That holds for a
    /// panic, which is a mistake in the engine, and for a key whose state has lost a baseline text; `tripline state
    /// forget` repairs the latter. State that can't be read is the backend's error, and stops the batch.
    fn evaluate(
        &mut self,
        input: Input<'_>,
        rules: &RuleSet,
        detail: bool,
        backend: &dyn Backend,
    ) -> Result<Judged, BackendError> {
        let Task { quiet, pending, .. } = self;
        let view = pending.overlay.view(self.partition, backend);
        let judge = || match detail {
            true => rules.explain(&input, &view),
            false => rules.evaluate_with(&input, &view, quiet),
        };
        // Nothing is half done after a panic: overlay and cache change only when there is a whole decision.
        match catch_unwind(AssertUnwindSafe(judge)) {
            Ok(Ok(decision)) => Ok(Judged::Decided(Box::new(decision))),
            Ok(Err(StateError::Read { key, source })) => Err(unread(format!("state of {key}"), source)),
            Ok(Err(StateError::ReadShared { what, source })) => Err(unread(what, source)),
            Ok(Err(err @ StateError::TextMissing { .. })) => Ok(Judged::DeadLetter(err.to_string())),
            Err(panic) => Ok(Judged::DeadLetter(format!("the rule engine panicked: {}", panic_text(&*panic)))),
        }
    }

    /// Notes the rule set when it is not the one that judged this partition before.
    fn activate(&mut self, rules: &RuleSet, from_offset: u64) {
        if self.activated.as_ref() != Some(rules.digest()) && self.pending.activation.is_none() {
            self.pending.activation = Some((*rules.digest(), from_offset));
        }
    }

    fn gather(&mut self, content: &Content, source: Source, judged: &Judged) {
        let Task { quiet, pending: Pending { overlay, outputs, output_bytes, counts, .. }, .. } = self;
        let partition = self.partition;
        let mut output = |topic, record: Record| {
            let parts = [&record.key, &record.value].map(|part| part.as_ref().map_or(0, Vec::len));
            *output_bytes += record.headers.size() + parts[0] + parts[1];
            outputs.push(OutputRecord { topic, partition, record });
        };
        counts.arrivals += 1;
        match judged {
            Judged::Folded => unreachable!("what is folded only is not gathered"),
            Judged::Seen => counts.seen += 1,
            Judged::Decided(decision) => {
                counts.judged += 1;
                counts.alerts += decision.alerts.len() as u64;
                let held_back = |line: &&_| matches!(line, LineDecision { verdict: Verdict::HeldBack { .. }, .. });
                counts.held_back += decision.lines.iter().filter(held_back).count() as u64;
                decision.alerts.iter().for_each(|alert| output(OutputTopic::Alerts, alert.to_record()));
                quiet.changed(&decision.changes);
                overlay.apply(decision.changes.clone());
            }
            Judged::DeadLetter(reason) => {
                counts.dead_letters += 1;
                tracing::error!(topic = source.topic, partition, offset = source.offset, reason, "dead letter");
                let Source { topic, offset, .. } = source;
                let original = match content {
                    Content::Record(record) => record.clone(),
                    Content::Line(line) => line_record(line),
                };
                let letter = DeadLetter { original, topic, partition, offset, reason: reason.clone() };
                output(OutputTopic::DeadLetters, letter.to_record());
            }
        }
    }

    /// The size of what the next commit holds, roughly, in bytes.
    pub fn pending_bytes(&self) -> usize {
        self.pending.overlay.bytes() + self.pending.output_bytes
    }

    /// Whether the cursors should be stored: every `records` arrivals.
    pub fn checkpoint_due(&self, records: u64) -> bool {
        self.since_checkpoint >= records.max(1)
    }

    /// What must be committed; `None` when nothing has happened. With `checkpoint` the cursors are stored too. The task
    /// goes on after [`Task::committed`], or is dropped when the commit did not work.
    pub fn part(&mut self, checkpoint: bool) -> Option<Part> {
        // Never while records below the position are still to be folded in.
        let checkpoint = checkpoint && self.since_checkpoint > 0 && self.folded_to >= self.judged_from;
        if self.pending.counts.arrivals == 0 && !checkpoint {
            return None;
        }
        let mut state = self.pending.overlay.writes(self.partition);
        if let Some((digest, from_offset)) = self.pending.activation {
            let activation = Activation { digest: blake3::Hash::from_bytes(digest).to_hex().to_string(), from_offset };
            let (key, value) = (StateKey::Activation.to_bytes(), Some(activation.to_bytes()));
            state.push(StateWrite { partition: self.partition, key, value });
        }
        if checkpoint {
            state.extend(self.cursors.checkpoint(self.partition, self.next));
        }
        let outputs = std::mem::take(&mut self.pending.outputs);
        Some(Part { position: self.next, outputs, state, activates: self.pending.activation.is_some(), checkpoint })
    }

    /// The part is durable, with the cursors or without: what follows builds on it. Gives what it held, in numbers.
    pub fn committed(&mut self, checkpoint: bool) -> Counts {
        if let Some((digest, _)) = self.pending.activation.take() {
            self.activated = Some(digest);
        }
        if checkpoint {
            self.cursors.checkpointed();
            self.since_checkpoint = 0;
        }
        self.pending.overlay.committed();
        self.pending.output_bytes = 0;
        std::mem::take(&mut self.pending.counts)
    }
}

impl From<Stored> for Arrival {
    fn from(stored: Stored) -> Arrival {
        let Stored { partition, offset, append_time, record } = stored;
        Arrival { partition, offset, append_time, content: Content::Record(record) }
    }
}

impl From<StoredLine> for Arrival {
    fn from(stored: StoredLine) -> Arrival {
        let StoredLine { partition, offset, append_time, line } = stored;
        Arrival { partition, offset, append_time, content: Content::Line(line) }
    }
}

/// The backend's error when state could not be read.
fn unread(what: String, source: Box<dyn std::error::Error + Send + Sync>) -> BackendError {
    match source.downcast::<BackendError>() {
        Ok(err) => *err,
        Err(source) => BackendError::Fatal { what: format!("{what} could not be read"), source: Some(source) },
    }
}

/// A line in the shape of a record, for the dead letters.
fn line_record(line: &LogLine) -> Record {
    Record { key: Some(line.key.to_bytes()), value: Some(line.text.clone()), ..Record::default() }
}

/// What a panic says, as far as it is text.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
