//! What an earlier process left in a spool: a fold over all frames.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use tripline_schemas::event::Gap;
use tripline_schemas::{Key, Record};
use uuid::Uuid;

use super::dir::Description;
use super::frame::{END_BYTES_MIN, Entry, Snapshot};
use super::lost::{Holes, Lost};
use super::read::{Damage, SegmentReader, Step, cut_off};
use super::segment::{self, Closed};
use super::{Cursor, FORMAT_VERSION, Intent, SpoolError, Ticket};

/// The state of a spool at its last frame.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) next_sequence: u64,
    pub(super) next_ticket: Ticket,
    pub(super) published: u64,
    pub(super) offered: u64,
    pub(super) open: BTreeMap<Ticket, Intent>,
    pub(super) gaps: Vec<Gap>,
    pub(super) settled: Vec<(u64, u64)>,
    pub(super) closed: VecDeque<Closed>,
    /// For the segment that is written next.
    pub(super) next_segment: u64,
    pub(super) damage: Vec<String>,
    /// Where damage begins.
    pub(super) damaged_at: BTreeSet<Cursor>,
    /// How many runs are gone by it; gaps tell of them.
    pub(super) lost: u64,
    /// Nothing tells which numbers were given.
    pub(super) numbers_are_gone: bool,
}

/// Reads all segments of a spool in order. Removes those that a later one has dropped, and a last one that was never
/// completely begun. What damage has taken is in gaps then.
pub(super) fn read(dir: &Path, identity: &Description) -> Result<Found, SpoolError> {
    let mut fold = Fold::new(dir, identity);
    let numbers = segment::list(dir)?;
    for (index, &number) in numbers.iter().enumerate() {
        let is_last = index + 1 == numbers.len();
        fold.segment(number, is_last)?;
    }
    fold.tidy()?;
    let lost = fold.lost_in_last();
    Ok(fold.found(lost))
}

/// Looks for what damage has taken of a spool that is in use and is about to begin a segment with this snapshot. Changes no
/// file.
pub(super) fn look(dir: &Path, identity: &Description, snapshot: &Snapshot) -> Result<Lost, SpoolError> {
    let mut fold = Fold::new(dir, identity);
    for number in segment::list(dir)? {
        fold.segment(number, false)?;
    }
    fold.start(snapshot.clone());
    let last = fold.holes.count();
    Ok(fold.holes.lost(fold.published, last, 0))
}

/// An intent, and how many holes there were when it was written.
#[derive(Debug)]
struct Begun {
    intent: Intent,
    holes: usize,
}

struct Fold<'a> {
    dir: &'a Path,
    identity: &'a Description,
    next_sequence: u64,
    next_ticket: Ticket,
    published: u64,
    offered: u64,
    open: BTreeMap<Ticket, Begun>,
    gaps: Vec<Gap>,
    settled: Vec<(u64, u64)>,
    closed: VecDeque<Closed>,
    next_segment: u64,
    damage: Vec<String>,
    damaged_at: BTreeSet<Cursor>,
    holes: Holes,
    /// Holes of segments before the last one.
    holes_before: usize,
    /// Whether it is known which number and which ticket come next: a snapshot was read, or a frame that has one.
    has_numbers: bool,
    /// The same of the segment before.
    had_numbers: bool,
    has_tickets: bool,
    /// The first number that was seen where none was known.
    first_seen: Option<u64>,
    /// Under which id the segment that is read gave numbers.
    spool: Uuid,
    /// Tickets of the last segment whose intent was not seen, and no end either.
    unseen: BTreeSet<Ticket>,
    /// The number that was next before the end of a segment could not be read.
    next_before_end: Option<u64>,
    /// What is to be removed, renamed or shortened when all is read.
    dropped: Vec<Closed>,
    cut: Option<(PathBuf, u64)>,
}

impl Fold<'_> {
    fn new<'a>(dir: &'a Path, identity: &'a Description) -> Fold<'a> {
        Fold {
            dir,
            identity,
            next_sequence: 1,
            next_ticket: 1,
            published: 0,
            offered: 0,
            open: BTreeMap::new(),
            gaps: Vec::new(),
            settled: Vec::new(),
            closed: VecDeque::new(),
            next_segment: 1,
            damage: Vec::new(),
            damaged_at: BTreeSet::new(),
            holes: Holes::default(),
            holes_before: 0,
            has_numbers: false,
            had_numbers: false,
            has_tickets: false,
            first_seen: None,
            spool: identity.id(),
            unseen: BTreeSet::new(),
            next_before_end: None,
            dropped: Vec::new(),
            cut: None,
        }
    }

    fn segment(&mut self, number: u64, is_last: bool) -> Result<(), SpoolError> {
        let (path, seal) = (segment::path(self.dir, number), self.identity.seal(number));
        self.had_numbers = self.has_numbers;
        if number != self.next_segment {
            // Segments in between were dropped on purpose; only a snapshot tells what was in them.
            (self.has_numbers, self.has_tickets) = (false, false);
        }
        self.next_segment = number + 1;
        self.holes_before = self.holes.count();
        self.unseen.clear();
        let mut reader = SegmentReader::open(&path, seal, number, 0, None)?;
        let mut is_damaged = false;
        loop {
            let begin = reader.offset;
            match reader.next()? {
                Step::End => break,
                Step::Frame(Entry::Start(snapshot)) if begin == 0 => {
                    if snapshot.format > FORMAT_VERSION {
                        return Err(SpoolError::Newer { dir: self.dir.to_owned(), found: snapshot.format });
                    }
                    if !self.identity.has(snapshot.spool) {
                        self.damage.push(format!("`{}` belongs to another spool and is left out", path.display()));
                        let other = Closed { number, path, seal, len: 0, last_sequence: 0, is_damaged: true };
                        self.dropped.push(other);
                        return Ok(());
                    }
                    self.start(*snapshot);
                }
                Step::Frame(entry) => self.apply(entry),
                // Never synced: nobody relied on it.
                Step::Torn(_) if is_last => {
                    self.cut = Some((path.clone(), begin));
                    if begin == 0 {
                        return Ok(());
                    }
                }
                Step::Damage(damage) | Step::Torn(damage) => {
                    is_damaged = true;
                    let reaches_the_end = reader.offset == damage.at.offset;
                    self.damaged(&damage, reaches_the_end);
                }
            }
        }
        let last_sequence = self.next_sequence - 1;
        self.closed.push_back(Closed { number, path, seal, len: reader.offset, last_sequence, is_damaged });
        Ok(())
    }

    /// Notes a place that can't be read. At the end of a segment nothing tells how many numbers it has used.
    fn damaged(&mut self, damage: &Damage, reaches_the_end: bool) {
        self.damage.push(damage.to_string());
        self.damaged_at.insert(damage.at);
        if reaches_the_end {
            self.next_before_end = Some(self.next_sequence);
            // As many numbers may have been given in there, and published. None of them is used again. When a segment
            // follows, its snapshot knows better.
            self.next_sequence += damage.len() / END_BYTES_MIN + 1;
            self.next_ticket += damage.len() / END_BYTES_MIN + 1;
        }
    }

    /// A segment begins with what must be known of those before it.
    fn start(&mut self, snapshot: Snapshot) {
        let next_sequence = self.next_before_end.take().unwrap_or(self.next_sequence);
        let first_seen = self.first_seen.take();
        // What is missing and was not dropped is lost.
        if let Some(before) = self.closed.back_mut()
            && snapshot.segments.contains(&before.number)
        {
            let at_the_beginning = first_seen.map(|seen| (snapshot.first_of(before.number), seen - 1));
            let at_the_end = snapshot.missing_of(before.number, self.had_numbers, next_sequence);
            let missing = at_the_beginning.filter(|(first, last)| first <= last).into_iter().chain(at_the_end);
            for missing in missing {
                // Cut off between two frames, or emptied: nothing in the segment itself tells.
                let lost = snapshot.not_told(missing);
                if lost > 0 && !before.is_damaged {
                    self.damage.push(cut_off(&before.path, lost));
                }
                before.is_damaged = true;
                self.holes.add(self.spool, missing);
            }
        }
        for (ticket, begun) in &self.open {
            if !snapshot.open.iter().any(|(open, _)| open == ticket) {
                self.holes.ended(&begun.intent, begun.holes);
            }
        }
        self.holes.settle(&snapshot.settled);
        for closed in std::mem::take(&mut self.closed) {
            if snapshot.segments.contains(&closed.number) {
                // Damage made the number a guess.
                let last_sequence = closed.last_sequence.min(snapshot.next_sequence - 1);
                self.closed.push_back(Closed { last_sequence, ..closed });
            } else {
                self.dropped.push(closed);
            }
        }
        self.next_sequence = snapshot.next_sequence;
        self.next_ticket = snapshot.next_ticket;
        self.published = self.published.max(snapshot.published);
        self.offered = self.offered.max(snapshot.offered);
        let holes = self.holes.count();
        self.holes_before = holes;
        for (_, intent) in &snapshot.open {
            self.holes.saw(&intent.key, intent.address.as_ref());
        }
        for gap in &snapshot.gaps {
            self.holes.saw(&gap.key, gap.address.as_ref());
        }
        self.open = snapshot.open.into_iter().map(|(ticket, intent)| (ticket, Begun { intent, holes })).collect();
        self.gaps = snapshot.gaps;
        self.settled = snapshot.settled;
        self.spool = snapshot.spool;
        (self.has_numbers, self.has_tickets) = (true, true);
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Start(_) => {} // Only ever the first frame.
            Entry::Begin { ticket, intent } => {
                self.holes.saw(&intent.key, intent.address.as_ref());
                self.pass_over(ticket);
                self.ended_before(ticket, &intent.key);
                self.open.insert(ticket, Begun { intent, holes: self.holes.count() });
            }
            Entry::End { ticket, sequence, record } => {
                if !self.has_numbers {
                    self.first_seen.get_or_insert(sequence);
                } else if sequence > self.next_sequence {
                    self.holes.add(self.spool, (self.next_sequence, sequence - 1));
                }
                self.pass_over(ticket);
                if let Some(key) = key(&record) {
                    self.holes.saw(&key, None);
                    self.ended_before(ticket, &key);
                }
                self.open.remove(&ticket);
                self.unseen.remove(&ticket);
                self.next_sequence = sequence + 1;
                self.has_numbers = true;
            }
            Entry::Offered { through } => self.offered = self.offered.max(through),
            Entry::Published { through } => self.published = self.published.max(through),
        }
    }

    /// Notes the tickets before this one that nothing was seen of.
    fn pass_over(&mut self, ticket: Ticket) {
        if ticket >= self.next_ticket {
            if self.has_tickets {
                self.unseen.extend(self.next_ticket..ticket);
            }
            self.next_ticket = ticket + 1;
        }
        self.has_tickets = true;
    }

    /// Runs of one command do not overlap: one whose end was not seen has ended before the next began.
    fn ended_before(&mut self, ticket: Ticket, key: &Key) {
        if self.holes.count() == 0 {
            return;
        }
        let is_before = |(other, begun): &(&Ticket, &Begun)| **other < ticket && begun.intent.key == *key;
        let ended: Vec<Ticket> = self.open.iter().filter(is_before).map(|(ticket, _)| *ticket).collect();
        for ticket in ended {
            if self.holes.ended(&self.open[&ticket].intent, self.open[&ticket].holes) {
                self.open.remove(&ticket);
            }
        }
    }

    /// Does to the files what was found to be needed.
    fn tidy(&mut self) -> Result<(), SpoolError> {
        match self.cut.take() {
            Some((path, 0)) => fs::remove_file(&path).map_err(SpoolError::io("remove", &path))?,
            Some((path, len)) => cut(&path, len)?,
            None => {}
        }
        self.dropped.drain(..).try_for_each(Closed::remove)
    }

    /// What is lost, when the process that wrote the last segment is no more.
    ///
    /// No snapshot tells which runs were still going on then. Who is open is told as interrupted, whether its end can't be
    /// read or never was. So of the missing numbers only those need a gap that none of them can have had.
    fn lost_in_last(&mut self) -> Lost {
        let last = self.holes_before;
        let (mut free, mut heard) = self.holes.free(last, self.published);
        let maybe_ended: Vec<Ticket> =
            self.open.iter().filter(|(_, begun)| begun.holes < self.holes.count()).map(|(ticket, _)| *ticket).collect();
        let mut unknown = (self.unseen.len() as u64).max(free.saturating_sub(maybe_ended.len() as u64));
        // What the log has is not told again.
        let unknown_heard = unknown.min(heard);
        unknown -= unknown_heard;
        heard -= unknown_heard;
        for ticket in maybe_ended.iter().take(usize::try_from(heard).unwrap_or(usize::MAX)) {
            self.open.remove(ticket);
        }
        free = free.saturating_sub(unknown_heard + heard);
        // Runs that had not ended, and whose intent can't be read: they get numbers now.
        let without_number = unknown.saturating_sub(free);
        let mut lost = self.holes.lost(self.published, last, unknown - without_number);
        if let Some(next) = self.next_before_end.take() {
            lost.settled.push((next, self.next_sequence - 1));
        }
        if without_number > 0 {
            self.holes.tell(&mut lost, self.spool, self.next_sequence, &[], without_number);
            lost.settled.push((self.next_sequence, self.next_sequence + without_number - 1));
            self.next_sequence += without_number;
        }
        lost
    }

    fn found(self, lost: Lost) -> Found {
        let published = self.published;
        let mut gaps = self.gaps;
        gaps.extend(lost.gaps);
        gaps.retain(|gap| gap.last > published);
        gaps.sort_by_key(|gap| gap.last);
        let mut settled = self.settled;
        settled.extend(lost.settled);
        settled.retain(|(_, last)| *last > published);
        settled.sort_unstable();
        settled.dedup();
        let is_damaged = !self.damaged_at.is_empty();
        Found {
            next_sequence: self.next_sequence,
            next_ticket: self.next_ticket,
            published,
            offered: self.offered.max(published),
            open: self.open.into_iter().map(|(ticket, begun)| (ticket, begun.intent)).collect(),
            gaps,
            settled,
            closed: self.closed,
            next_segment: self.next_segment,
            damage: self.damage,
            damaged_at: self.damaged_at,
            lost: lost.runs,
            numbers_are_gone: !self.has_numbers && is_damaged,
        }
    }
}

/// Whose run this is the event of.
fn key(record: &Record) -> Option<Key> {
    Key::from_bytes(record.key.as_deref()?).ok()
}

/// Cuts off what a crash left, so that it is not taken for damage when more segments have followed.
fn cut(path: &Path, len: u64) -> Result<(), SpoolError> {
    let file = fs::OpenOptions::new().write(true).open(path).map_err(SpoolError::io("open", path))?;
    file.set_len(len).and_then(|()| file.sync_all()).map_err(SpoolError::io("shorten", path))
}
