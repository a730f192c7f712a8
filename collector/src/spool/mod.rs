//! Keeps runs safe between their start and their acknowledgement by the log.
//!
//! # What is written when
//!
//! 1. Before a command starts, its *intent* is written and synced, under a *ticket*.
//! 2. When it has ended, its *end* is written and synced: the whole event, under the next *sequence number*.
//! 3. Then, and in the order of their numbers, events are published.
//! 4. What the log has acknowledged is forgotten.
//!
//! An intent without an end is found when the spool is opened again. It gets an end of its own then, with the next
//! number, and is published as an interrupted run. So every run that was started becomes exactly one event with one
//! number, whenever the collector is killed. A publication that was cut off is repeated; the processor drops what
//! it has seen.
//!
//! # Why numbers are given at the end of a run
//!
//! The processor takes the last number it has seen of a spool as "seen up to here", so numbers must reach each
//! partition in increasing order. If a run had its number from its start, all that ended after it would have to
//! wait for it, and one hanging command would delay all others. With numbers in the order of ends nothing waits.
//! The runs of one command do not overlap, so their numbers are in the order of their starts too.
//!
//! # Files
//!
//! `spool.json` holds the format version and the spool id, `lock` is locked by the one process that owns the spool, and
//! `0000000001.seg` and so on are *segments*: append-only files of checked frames (see `frame.rs`). Each segment begins
//! with a snapshot of everything that must outlive the segments before it (numbers, open intents, gaps), so that older
//! segments can go as soon as their runs are published, or when the spool is full.
//!
//! A frame that is cut off at the end of the last segment is what a crash leaves: nobody relied on it. Everything else
//! that can't be read is damage: it is named with its bytes, reading goes on at the next good frame, and the file is
//! kept as `*.damaged`. Runs that it took are told: as interrupted when their intent is left, else by [`Gap`] events, of
//! the command whose run it was or of [`UNKNOWN_COMMAND`] (see `lost.rs`). How many are gone is known from the numbers
//! around them, except at the very end of the last segment; numbers that may have been used there are never used again.
//!
//! A copy ([`copy()`]) takes an id of its own when it is opened, since the original goes on giving numbers.
//!
//! An embedded database would do this too. It is not used since all of it is one queue with one reader: a few hundred
//! lines that say exactly when something is durable, against a store that brings threads, caches and compaction to
//! every host on which a collector runs.

mod copy;
mod dir;
mod error;
mod frame;
mod lost;
mod read;
mod recover;
mod room;
mod segment;
pub(crate) mod thread;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tripline_faults::{Point, point};
use tripline_schemas::event::{Event, Gap};
use tripline_schemas::{Ending, Format, Key, Record, Run, RunId};
use uuid::Uuid;

pub use copy::{SpoolCheck, copy, verify};
use dir::Description;
pub use error::SpoolError;
use frame::{Entry, Snapshot};
pub use lost::UNKNOWN_COMMAND;
use read::Damage;
use segment::{Active, Closed};

/// The smallest bound for a spool's size, in bytes.
pub const SPOOL_BYTES_MIN: u64 = 256 * 1024;
/// The version of the files; a newer one is refused.
const FORMAT_VERSION: u32 = 2;
/// A batch for the log ends with the run that reaches this size, in bytes; in small spools earlier.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// A batch for the log has at most this many records.
const BATCH_RECORDS_MAX: usize = 500;
/// What is known of a run before it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Whose run, of which command.
    pub key: Key,
    /// The agent's address, when configured.
    pub address: Option<String>,
    /// What is executed.
    pub command_line: String,
    /// The command's alias.
    pub alias: Option<String>,
    /// How the output becomes log lines.
    pub format: Format,
    /// When it is about to start, by the wall clock.
    pub started: Timestamp,
    /// The collector's version.
    pub collector: String,
}

/// What is known of a run after its end, the intent's facts left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When it started, by the wall clock.
    pub started: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// How long after it was due it started, in milliseconds; `None` when nobody measured it.
    pub start_delay_ms: Option<u64>,
    /// How it ended.
    pub ending: Ending,
    /// The full size of the output in bytes, when it was cut.
    pub truncated_from: Option<u64>,
    /// The end of standard error.
    pub stderr_tail: Vec<u8>,
    /// The output.
    pub output: Vec<u8>,
}

impl Intent {
    /// The whole run.
    pub fn ended(&self, id: RunId, end: End) -> Run {
        Run {
            id,
            key: self.key.clone(),
            address: self.address.clone(),
            command_line: self.command_line.clone(),
            alias: self.alias.clone(),
            format: self.format,
            started: end.started,
            duration_ms: end.duration_ms,
            start_delay_ms: end.start_delay_ms,
            ending: end.ending,
            truncated_from: end.truncated_from,
            stderr_tail: end.stderr_tail,
            collector: self.collector.clone(),
            output: end.output,
        }
    }
}

/// Names an intent until its run has ended. Never used twice in one spool.
pub type Ticket = u64;

/// What opening a spool found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Runs that had an intent and no end. They have an end now.
    pub interrupted: u64,
    /// What was damaged, one text per place.
    pub damage: Vec<String>,
    /// How many runs are gone by that, those that are among the interrupted not counted. Gap events tell of them.
    pub lost: u64,
}

/// Events to publish, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Runs and gaps. Empty when all is published.
    pub records: Vec<Record>,
    /// For [`Spool::published`].
    pub through: u64,
    /// Damage that was found while reading.
    pub damage: Vec<String>,
}

/// Runs that were dropped since the spool was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub runs: u64,
    /// Of how many commands.
    pub commands: usize,
}

/// A collector's spool. One value per directory and machine; see the module for what it promises.
///
/// [`begin`](Spool::begin) and [`end`](Spool::end) write, [`sync`](Spool::sync) makes what was written durable: several
/// writes can share one sync. Only what is durable is handed out for publication.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    identity: Description,
    bytes_max: u64,
    /// New frames go into a next segment when this one has grown so large.
    segment_bytes: u64,
    /// What is in flight is not dropped, so it must not be a large part of a small spool.
    batch_bytes: usize,
    /// Oldest first. Their runs are not all published.
    closed: VecDeque<Closed>,
    active: Active,
    next_sequence: u64,
    next_ticket: Ticket,
    /// Intents without an end.
    open: BTreeMap<Ticket, Intent>,
    /// Runs dropped and not yet told, ordered by `last`. A `last` is the number of a dropped run, so each is
    /// different, and gaps and runs together have one order.
    gaps: Vec<Gap>,
    /// All numbers up to here are acknowledged.
    published: u64,
    /// All numbers up to here were handed out for publication, so the log may have them even when nobody
    /// acknowledged it: they are neither dropped nor merged into gaps, or a gap would count runs that are not lost.
    offered: u64,
    /// Where to read the first run after `published`.
    cursor: Cursor,
    /// The last number of the batch that is being published, and where to read on after it.
    batch: Option<(u64, Cursor)>,
    dropped: Option<Dropped>,
    /// See [`Snapshot::settled`].
    settled: Vec<(u64, u64)>,
    /// Where damage is known to begin.
    damaged_at: BTreeSet<Cursor>,
    /// Damage was found that gaps don't tell of yet.
    has_new_damage: bool,
    /// Runs that are gone by damage, since the last time somebody asked.
    lost: u64,
    /// Locked as long as the spool is open.
    _lock: File,
    #[cfg(test)]
    pub(crate) disk_full: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

/// A place in the sequence of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    segment: u64,
    offset: u64,
}

impl Spool {
    /// Opens the spool in this directory, or makes one; ends the runs that were interrupted. `bytes_max` bounds its
    /// size on disk, apart from the runs that are being published.
    pub fn open(dir: &Path, bytes_max: u64) -> Result<(Spool, Recovered), SpoolError> {
        Spool::open_after(dir, bytes_max, |_, _| {})
    }

    /// The same; before the runs that were under way are ended in the spool, `end` may do it in the world. It gets the id
    /// of the spool and their tickets.
    pub fn open_after(
        dir: &Path,
        bytes_max: u64,
        end: impl FnOnce(Uuid, &[Ticket]),
    ) -> Result<(Spool, Recovered), SpoolError> {
        let bytes_max = bytes_max.max(SPOOL_BYTES_MIN);
        let segment_bytes = (bytes_max / 16).min(16 * 1024 * 1024);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(SpoolError::io("create directory", dir))?;
        let lock = dir::lock(dir)?;
        let mut identity = dir::identify(dir)?;

        let found = recover::read(dir, &identity)?;
        let under_way: Vec<Ticket> = found.open.keys().copied().collect();
        end(identity.id(), &under_way);
        if found.numbers_are_gone {
            identity = dir::rename(dir, identity)?;
        }
        let number = found.next_segment;
        let snapshot = Snapshot {
            format: FORMAT_VERSION,
            spool: identity.id(),
            segment: number,
            next_sequence: found.next_sequence,
            next_ticket: found.next_ticket,
            published: found.published,
            offered: found.offered,
            open: found.open.clone().into_iter().collect(),
            gaps: found.gaps.clone(),
            segments: found.closed.iter().map(|closed| closed.number).collect(),
            settled: found.settled.clone(),
        };
        let active = Active::create(dir, identity.seal(number), &snapshot)?;
        let mut spool = Spool {
            dir: dir.to_owned(),
            identity,
            bytes_max,
            segment_bytes,
            batch_bytes: BATCH_BYTES_MAX.min(usize::try_from(segment_bytes).unwrap_or(BATCH_BYTES_MAX)),
            closed: found.closed,
            active,
            next_sequence: found.next_sequence,
            next_ticket: found.next_ticket,
            open: found.open,
            gaps: found.gaps,
            published: found.published,
            offered: found.offered,
            cursor: Cursor::default(),
            batch: None,
            dropped: None,
            settled: found.settled,
            damaged_at: found.damaged_at,
            has_new_damage: false,
            lost: 0,
            _lock: lock,
            #[cfg(test)]
            disk_full: Default::default(),
        };
        let tickets: Vec<(Ticket, Timestamp)> = spool.open.iter().map(|(t, intent)| (*t, intent.started)).collect();
        for (ticket, started) in &tickets {
            let end = End {
                started: *started,
                duration_ms: 0,
                start_delay_ms: None,
                ending: Ending::Interrupted,
                truncated_from: None,
                stderr_tail: Vec::new(),
                output: Vec::new(),
            };
            spool.end(*ticket, &end)?;
        }
        if !tickets.is_empty() {
            point(Point::SpoolRecovered);
        }
        spool.sync()?;
        spool.forget_published()?;
        Ok((spool, Recovered { interrupted: tickets.len() as u64, damage: found.damage, lost: found.lost }))
    }

    /// Names this spool for ever.
    pub fn id(&self) -> Uuid {
        self.identity.id()
    }

    /// Whether everything is published and nothing runs.
    pub fn is_empty(&self) -> bool {
        self.published + 1 == self.next_sequence && self.gaps.is_empty() && self.open.is_empty()
    }

    /// Writes an intent. The command may be started after the next [`sync`](Spool::sync).
    pub fn begin(&mut self, intent: &Intent) -> Result<Ticket, SpoolError> {
        let ticket = self.next_ticket;
        self.append(&Entry::Begin { ticket, intent: intent.clone() })?;
        point(Point::IntentWritten);
        self.next_ticket += 1;
        self.open.insert(ticket, intent.clone());
        Ok(ticket)
    }

    /// Writes the end of a run and gives its number. It is handed out for publication after the next
    /// [`sync`](Spool::sync).
    ///
    /// # Panics
    ///
    /// When the ticket is not one of an open intent.
    pub fn end(&mut self, ticket: Ticket, end: &End) -> Result<RunId, SpoolError> {
        let id = RunId { spool: self.id(), sequence: self.next_sequence };
        let intent = self.open.get(&ticket).expect("a run that ends has an open intent");
        let record = Event::Output(intent.ended(id, end.clone())).to_record();
        self.append(&Entry::End { ticket, sequence: id.sequence, record })?;
        point(Point::EndWritten);
        self.active.last_sequence = id.sequence;
        self.next_sequence += 1;
        self.open.remove(&ticket);
        Ok(id)
    }

    /// Makes everything that was written durable.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        self.active.sync()
    }

    /// The next runs and gaps to publish, in order. Called again before [`published`](Spool::published), it gives the
    /// same ones again, and maybe more.
    pub fn next_batch(&mut self) -> Result<Batch, SpoolError> {
        let mut damage = Vec::new();
        let mut batch = self.readable(&mut damage)?;
        damage.retain(|place| self.damaged_at.insert(place.at));
        if damage.is_empty() {
            return Ok(batch);
        }
        self.has_new_damage = true;
        match self.rotate() {
            // The gaps are there now, in their order among the runs.
            Ok(()) => batch = self.readable(&mut Vec::new())?,
            // Without room they can't be kept; the next segment will have them.
            Err(error) if error.is_disk_full() => {}
            Err(error) => return Err(error),
        }
        batch.damage = damage.iter().map(ToString::to_string).collect();
        Ok(batch)
    }

    /// The next runs and gaps, as far as frames can be read.
    fn readable(&mut self, damage: &mut Vec<Damage>) -> Result<Batch, SpoolError> {
        let mut batch = Batch { through: self.published, ..Batch::default() };
        let mut gaps = self.gaps.iter().peekable();
        let mut bytes = 0;
        let mut reader = read::Reader::new(&self.closed, &self.active, self.cursor);
        let mut after = self.cursor;
        let mut is_full = false;
        while let Some(found) = reader.next(damage)? {
            if let Entry::End { sequence, record, .. } = found.entry
                && sequence > self.published
            {
                while let Some(gap) = gaps.next_if(|gap| gap.last < sequence) {
                    batch.records.push(Event::Gap(gap.clone()).to_record());
                }
                bytes += record.value.as_ref().map_or(0, Vec::len) + record.headers.size();
                batch.records.push(record);
                batch.through = sequence;
            }
            after = found.after;
            is_full = bytes >= self.batch_bytes || batch.records.len() >= BATCH_RECORDS_MAX;
            if is_full {
                break;
            }
        }
        if !is_full {
            for gap in gaps {
                batch.records.push(Event::Gap(gap.clone()).to_record());
                batch.through = batch.through.max(gap.last);
            }
        }
        if batch.records.is_empty() {
            self.cursor = after; // Nothing in there is of interest any more.
            return Ok(batch);
        }
        if batch.through > self.offered {
            // Needs no sync of its own: only after a power failure that comes at the same time as a full spool, a gap
            // may count runs that the log has.
            self.note(&Entry::Offered { through: batch.through })?;
            self.offered = batch.through;
            point(Point::Offered);
        }
        self.batch = Some((batch.through, after));
        Ok(batch)
    }

    /// Notes that the log has acknowledged the last batch, and forgets what it no longer needs.
    pub fn published(&mut self, through: u64) -> Result<(), SpoolError> {
        let after = match self.batch.take() {
            Some((last, after)) if last == through => after,
            _ => return Ok(()), // Not the last batch.
        };
        self.published = through;
        self.cursor = after;
        self.gaps.retain(|gap| gap.last > through);
        self.settled.retain(|(_, last)| *last > through);
        // Needs no sync of its own: without it the log gets a batch once more after a restart.
        self.note(&Entry::Published { through })?;
        point(Point::PublishedNoted);
        self.forget_published()
    }

    /// What was dropped since the last call, because the spool was full.
    pub fn take_dropped(&mut self) -> Option<Dropped> {
        self.dropped.take()
    }

    /// How many runs damage has taken, as far as it was found since the last call. Gap events tell of them.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Its size on disk, in bytes.
    pub fn bytes(&self) -> u64 {
        self.closed.iter().map(|closed| closed.len).sum::<u64>() + self.active.len
    }

    fn append(&mut self, entry: &Entry) -> Result<(), SpoolError> {
        #[cfg(test)]
        if self.disk_full.load(std::sync::atomic::Ordering::SeqCst) {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(SpoolError::Io { what: "write to", path: self.active.path.clone(), source });
        }
        if self.active.len >= self.segment_bytes {
            self.rotate()?;
        }
        self.active.append(entry)
    }

    /// Writes what is useful and not essential, so that a full disk does not keep us from giving room back.
    fn note(&mut self, entry: &Entry) -> Result<(), SpoolError> {
        match self.active.append(entry) {
            Err(error) if !error.is_disk_full() => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes segments whose runs are all published.
    fn forget_published(&mut self) -> Result<(), SpoolError> {
        while let Some(closed) = self.closed.front() {
            if closed.last_sequence > self.published {
                break;
            }
            let closed = self.closed.pop_front().expect("there is a first one");
            closed.remove()?;
            point(Point::SegmentRemoved);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
