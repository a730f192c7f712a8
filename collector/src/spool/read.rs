//! Reads frames back, from one segment or from all of them in order.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tripline_schemas::Record;

use super::frame::{Bad, Entry, HEADER, OVERHEAD, Seal, decode, frame_len};
use super::segment::{Active, Closed};
use super::{Cursor, SpoolError};

/// Reads the frames of one segment.
pub(super) struct SegmentReader {
    path: PathBuf,
    file: BufReader<File>,
    seal: Seal,
    number: u64,
    /// Where the next frame begins.
    pub(super) offset: u64,
    /// Where frames end.
    end: u64,
}

/// What lies in a segment at one place.
pub(super) enum Step {
    /// A frame.
    Frame(Entry),
    /// Something that is no frame. More follows, unless it reaches to the end.
    Damage(Damage),
    /// Nothing but what a crash leaves at the end of the last segment. In any other segment it is damage.
    Torn(Damage),
    /// Nothing.
    End,
}

/// A part of a segment that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    path: PathBuf,
    /// The segment and the byte that it begins at.
    pub(super) at: Cursor,
    /// Where it ends, in bytes from the segment's beginning.
    pub(super) end: u64,
}

impl Damage {
    /// How long it is, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.end - self.at.offset
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` can't be read from byte {} to {}", self.path.display(), self.at.offset, self.end)
    }
}

impl SegmentReader {
    /// Opens a segment to read the frames between `offset` and `end`; without an end, to that of the file.
    pub(super) fn open(
        path: &Path,
        seal: Seal,
        number: u64,
        offset: u64,
        end: Option<u64>,
    ) -> Result<SegmentReader, SpoolError> {
        let mut file = File::open(path).map_err(SpoolError::io("open", path))?;
        let end = match end {
            Some(end) => end,
            None => file.metadata().map_err(SpoolError::io("read", path))?.len(),
        };
        file.seek(SeekFrom::Start(offset)).map_err(SpoolError::io("seek in", path))?;
        Ok(SegmentReader { path: path.to_owned(), file: BufReader::new(file), seal, number, offset, end })
    }

    /// What comes next. Behind damage it goes on at the next good frame, if there is one.
    pub(super) fn next(&mut self) -> Result<Step, SpoolError> {
        let rest = self.end.saturating_sub(self.offset);
        if rest == 0 {
            return Ok(Step::End);
        }
        let frame = self.read_frame(rest).map_err(SpoolError::io("read", &self.path))?;
        let bad = match frame.and_then(|frame| decode(&frame, self.seal, self.number, self.offset)) {
            Ok((entry, len)) => {
                self.offset += len as u64;
                return Ok(Step::Frame(entry));
            }
            Err(bad) => bad,
        };
        let at = Cursor { segment: self.number, offset: self.offset };
        let damage = |end| Damage { path: self.path.clone(), at, end };
        if let Some(next) = self.next_good()? {
            let damage = damage(next);
            self.file.seek(SeekFrom::Start(next)).map_err(SpoolError::io("seek in", &self.path))?;
            self.offset = next;
            return Ok(Step::Damage(damage));
        }
        let is_torn = bad == Bad::Torn || self.only_zeros_follow()?;
        let damage = damage(self.end);
        self.end = self.offset;
        Ok(if is_torn { Step::Torn(damage) } else { Step::Damage(damage) })
    }

    /// Where the next good frame begins behind the bad one at `offset`. Only keyed checks are safe to be searched for.
    fn next_good(&self) -> Result<Option<u64>, SpoolError> {
        if self.seal == Seal::Plain {
            return Ok(None);
        }
        let from = self.offset + 1;
        let mut bytes = Vec::new(); // A segment is at most some 16 MiB and one frame long.
        File::open(&self.path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(from))?;
                file.take(self.end.saturating_sub(from)).read_to_end(&mut bytes)
            })
            .map_err(SpoolError::io("read", &self.path))?;
        // Bytes that are not even a header are nearly all of them, and nothing is computed for those.
        let is_header = |header: &[u8]| header.first_chunk().is_some_and(|header| frame_len(*header).is_ok());
        let mut starts = (0..).zip(bytes.windows(HEADER)).filter(|(_, header)| is_header(header));
        let good = starts.find(|(at, _)| decode(&bytes[*at..], self.seal, self.number, from + *at as u64).is_ok());
        Ok(good.map(|(at, _)| from + at as u64))
    }

    fn read_frame(&mut self, rest: u64) -> std::io::Result<Result<Vec<u8>, Bad>> {
        if rest < OVERHEAD as u64 {
            return Ok(Err(Bad::Torn));
        }
        let mut header = [0; HEADER];
        self.file.read_exact(&mut header)?;
        let len = match frame_len(header) {
            Ok(len) if len as u64 <= rest => len,
            Ok(_) => return Ok(Err(Bad::Torn)),
            Err(bad) => return Ok(Err(bad)),
        };
        let mut frame = vec![0; len];
        frame[..HEADER].copy_from_slice(&header);
        self.file.read_exact(&mut frame[HEADER..])?;
        Ok(Ok(frame))
    }

    /// A file system may have made a file longer and not yet written what belongs there when the power failed.
    fn only_zeros_follow(&self) -> Result<bool, SpoolError> {
        let mut file = File::open(&self.path).map_err(SpoolError::io("open", &self.path))?;
        file.seek(SeekFrom::Start(self.offset)).map_err(SpoolError::io("seek in", &self.path))?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer).map_err(SpoolError::io("read", &self.path))? {
                0 => return Ok(true),
                count if buffer[..count].iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }
}

/// Reads the durable frames of all segments, from a cursor on.
pub(super) struct Reader {
    /// What is still to be opened.
    segments: VecDeque<Part>,
    current: Option<SegmentReader>,
    from: Cursor,
}

/// What is durable of a segment.
struct Part {
    path: PathBuf,
    seal: Seal,
    number: u64,
    end: u64,
}

/// A frame, and the place after it.
pub(super) struct Found {
    pub(super) entry: Entry,
    pub(super) after: Cursor,
}

impl Reader {
    pub(super) fn new(closed: &VecDeque<Closed>, active: &Active, from: Cursor) -> Reader {
        let part = |path: &PathBuf, seal, number, end| Part { path: path.clone(), seal, number, end };
        let mut segments: VecDeque<Part> =
            closed.iter().map(|closed| part(&closed.path, closed.seal, closed.number, closed.len)).collect();
        segments.push_back(part(&active.path, active.seal, active.number, active.synced_len));
        segments.retain(|part| part.number >= from.segment);
        Reader { segments, current: None, from }
    }

    /// The next frame; `None` when there is no more that is durable. Damage is named and passed over.
    pub(super) fn next(&mut self, damage: &mut Vec<Damage>) -> Result<Option<Found>, SpoolError> {
        loop {
            if self.current.is_none() {
                let Some(Part { path, seal, number, end }) = self.segments.pop_front() else { return Ok(None) };
                let offset = if number == self.from.segment { self.from.offset } else { 0 };
                self.current = Some(SegmentReader::open(&path, seal, number, offset, Some(end))?);
            }
            let reader = self.current.as_mut().expect("opened above");
            match reader.next()? {
                Step::Frame(entry) => {
                    let after = Cursor { segment: reader.number, offset: reader.offset };
                    return Ok(Some(Found { entry, after }));
                }
                Step::Damage(place) | Step::Torn(place) => damage.push(place),
                Step::End => self.current = None,
            }
        }
    }
}

/// Numbers and events of the runs in a segment, as far as they can be read. Damage is named and passed over.
pub(super) fn ends(closed: &Closed, damage: &mut Vec<Damage>) -> Result<Vec<(u64, Record)>, SpoolError> {
    let mut reader = SegmentReader::open(&closed.path, closed.seal, closed.number, 0, Some(closed.len))?;
    let mut ends = Vec::new();
    loop {
        match reader.next()? {
            Step::Frame(Entry::End { sequence, record, .. }) => ends.push((sequence, record)),
            Step::Frame(_) => {}
            Step::Damage(place) | Step::Torn(place) => damage.push(place),
            Step::End => return Ok(ends),
        }
    }
}

/// Names a segment that ends before its last runs.
pub(super) fn cut_off(path: &Path, runs: u64) -> String {
    format!("`{}` is cut off: {runs} runs that it held are missing", path.display())
}
