//! What an earlier process left in a spool: a fold over all frames.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;

use tripline_schemas::event::Gap;

use super::dir::Description;
use super::frame::{Bad, END_BYTES_MIN, Entry, Snapshot};
use super::read::{SegmentReader, cut_off, named};
use super::segment::{self, Closed};
use super::{FORMAT_VERSION, Intent, SpoolError, Ticket};

/// The state of a spool at its last frame.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) next_sequence: u64,
    pub(super) next_ticket: Ticket,
    pub(super) published: u64,
    pub(super) offered: u64,
    pub(super) open: BTreeMap<Ticket, Intent>,
    pub(super) gaps: Vec<Gap>,
    pub(super) closed: VecDeque<Closed>,
    /// For the segment that is written next.
    pub(super) next_segment: u64,
    pub(super) damage: Vec<String>,
}

/// Reads all segments of a spool in order. Removes those that a later one has dropped, and a last one that was never
/// completely begun.
pub(super) fn read(dir: &Path, identity: &Description) -> Result<Found, SpoolError> {
    let mut found = Found {
        next_sequence: 1,
        next_ticket: 1,
        published: 0,
        offered: 0,
        open: BTreeMap::new(),
        gaps: Vec::new(),
        closed: VecDeque::new(),
        next_segment: 1,
        damage: Vec::new(),
    };
    let numbers = segment::list(dir)?;
    for (index, &number) in numbers.iter().enumerate() {
        let is_last = index + 1 == numbers.len();
        found.next_segment = number + 1;
        found.segment(dir, identity, number, is_last)?;
    }
    found.gaps.retain(|gap| gap.last > found.published);
    found.offered = found.offered.max(found.published);
    Ok(found)
}

impl Found {
    fn segment(&mut self, dir: &Path, identity: &Description, number: u64, is_last: bool) -> Result<(), SpoolError> {
        let path = segment::path(dir, number);
        let mut reader = SegmentReader::open(&path, number, 0, None)?;
        let bad = loop {
            let begin = reader.offset;
            match reader.next()? {
                None => break None,
                Some(Err(bad)) => break Some(bad),
                Some(Ok(Entry::Start(snapshot))) if begin == 0 => {
                    if snapshot.format > FORMAT_VERSION {
                        return Err(SpoolError::Newer { dir: dir.to_owned(), found: snapshot.format });
                    }
                    if !identity.has(snapshot.spool) {
                        self.damage.push(format!("`{}` belongs to another spool and is left out", path.display()));
                        return set_aside(path, number);
                    }
                    self.start(*snapshot)?;
                }
                Some(Ok(entry)) => self.apply(entry),
            }
        };
        let is_damaged = match bad {
            None => false,
            // Never synced: nobody relied on it.
            Some(Bad::Torn) if is_last => {
                if reader.offset == 0 {
                    return fs::remove_file(&path).map_err(SpoolError::io("remove", &path));
                }
                cut(&path, reader.offset)?;
                false
            }
            Some(_) => {
                self.damage.push(named(&path, reader.offset, reader.end));
                // As many numbers may have been given in there, and published. None of them is used again. When a
                // segment follows, its snapshot knows better.
                self.next_sequence += (reader.end - reader.offset) / END_BYTES_MIN + 1;
                self.next_ticket += (reader.end - reader.offset) / END_BYTES_MIN + 1;
                true
            }
        };
        self.closed.push_back(Closed {
            number,
            path,
            len: reader.offset,
            last_sequence: self.next_sequence - 1,
            is_damaged,
        });
        Ok(())
    }

    fn start(&mut self, snapshot: Snapshot) -> Result<(), SpoolError> {
        // Cut off between two frames, or emptied: nothing in the segment itself tells.
        if let Some(before) = self.closed.back_mut()
            && before.number + 1 == snapshot.segment
            && !before.is_damaged
            && let Some(lost) = snapshot.lost_before(self.next_sequence)
        {
            self.damage.push(cut_off(&before.path, lost));
            before.is_damaged = true;
        }
        let (kept, dropped) =
            std::mem::take(&mut self.closed).into_iter().partition(|closed| snapshot.segments.contains(&closed.number));
        self.closed = kept;
        for closed in &mut self.closed {
            closed.last_sequence = closed.last_sequence.min(snapshot.next_sequence - 1); // Damage made it a guess.
        }
        let dropped: VecDeque<Closed> = dropped;
        for closed in dropped {
            closed.remove()?;
        }
        self.next_sequence = snapshot.next_sequence;
        self.next_ticket = snapshot.next_ticket;
        self.published = self.published.max(snapshot.published);
        self.offered = self.offered.max(snapshot.offered);
        self.open = snapshot.open.into_iter().collect();
        self.gaps = snapshot.gaps;
        Ok(())
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Start(_) => {} // Only ever the first frame.
            Entry::Begin { ticket, intent } => {
                self.open.insert(ticket, intent);
                self.next_ticket = ticket + 1;
            }
            Entry::End { ticket, sequence, .. } => {
                self.open.remove(&ticket);
                self.next_sequence = sequence + 1;
            }
            Entry::Offered { through } => self.offered = self.offered.max(through),
            Entry::Published { through } => self.published = self.published.max(through),
        }
    }
}

/// Cuts off what a crash left, so that it is not taken for damage when more segments have followed.
fn cut(path: &Path, len: u64) -> Result<(), SpoolError> {
    let file = fs::OpenOptions::new().write(true).open(path).map_err(SpoolError::io("open", path))?;
    file.set_len(len).and_then(|()| file.sync_all()).map_err(SpoolError::io("shorten", path))
}

fn set_aside(path: std::path::PathBuf, number: u64) -> Result<(), SpoolError> {
    Closed { number, path, len: 0, last_sequence: 0, is_damaged: true }.remove()
}
