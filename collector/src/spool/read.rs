//! Reads frames back, from one segment or from all of them in order.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tripline_schemas::Record;

use super::frame::{Bad, Entry, HEADER, OVERHEAD, decode, frame_len};
use super::segment::{Active, Closed};
use super::{Cursor, SpoolError};

/// Reads the frames of one segment.
pub(super) struct SegmentReader {
    path: PathBuf,
    file: BufReader<File>,
    number: u64,
    /// Where the next frame begins.
    pub(super) offset: u64,
    /// Where frames end.
    pub(super) end: u64,
}

impl SegmentReader {
    /// Opens a segment to read the frames between `offset` and `end`; without an end, to that of the file.
    pub(super) fn open(path: &Path, number: u64, offset: u64, end: Option<u64>) -> Result<SegmentReader, SpoolError> {
        let mut file = File::open(path).map_err(SpoolError::io("open", path))?;
        let end = match end {
            Some(end) => end,
            None => file.metadata().map_err(SpoolError::io("read", path))?.len(),
        };
        file.seek(SeekFrom::Start(offset)).map_err(SpoolError::io("seek in", path))?;
        Ok(SegmentReader { path: path.to_owned(), file: BufReader::new(file), number, offset, end })
    }

    /// The next frame; `None` at the end. After a bad frame there is nothing more to read.
    pub(super) fn next(&mut self) -> Result<Option<Result<Entry, Bad>>, SpoolError> {
        let rest = self.end.saturating_sub(self.offset);
        if rest == 0 {
            return Ok(None);
        }
        let frame = self.read_frame(rest).map_err(SpoolError::io("read", &self.path))?;
        match frame.and_then(|frame| decode(&frame, self.number, self.offset)) {
            Ok((entry, len)) => {
                self.offset += len as u64;
                Ok(Some(Ok(entry)))
            }
            Err(Bad::Damaged) if self.only_zeros_follow()? => Ok(Some(Err(Bad::Torn))),
            Err(bad) => Ok(Some(Err(bad))),
        }
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
    /// What is still to be opened: path, number, end.
    segments: VecDeque<(PathBuf, u64, u64)>,
    current: Option<SegmentReader>,
    from: Cursor,
}

/// A frame, and the place after it.
pub(super) struct Found {
    pub(super) entry: Entry,
    pub(super) after: Cursor,
}

impl Reader {
    pub(super) fn new(closed: &VecDeque<Closed>, active: &Active, from: Cursor) -> Reader {
        let mut segments: VecDeque<(PathBuf, u64, u64)> =
            closed.iter().map(|closed| (closed.path.clone(), closed.number, closed.len)).collect();
        segments.push_back((active.path.clone(), active.number, active.synced_len));
        segments.retain(|(_, number, _)| *number >= from.segment);
        Reader { segments, current: None, from }
    }

    /// The next frame; `None` when there is no more that is durable. Damage is named, and the rest of its segment
    /// skipped.
    pub(super) fn next(&mut self, damage: &mut Vec<String>) -> Result<Option<Found>, SpoolError> {
        loop {
            if self.current.is_none() {
                let Some((path, number, end)) = self.segments.pop_front() else { return Ok(None) };
                let offset = if number == self.from.segment { self.from.offset } else { 0 };
                self.current = Some(SegmentReader::open(&path, number, offset, Some(end))?);
            }
            let reader = self.current.as_mut().expect("opened above");
            match reader.next()? {
                Some(Ok(entry)) => {
                    let after = Cursor { segment: reader.number, offset: reader.offset };
                    return Ok(Some(Found { entry, after }));
                }
                Some(Err(_)) => {
                    damage.push(named(&reader.path, reader.offset, reader.end));
                    self.current = None;
                }
                None => self.current = None,
            }
        }
    }
}

/// Numbers and events of the runs in a segment, as far as they can be read.
pub(super) fn ends(closed: &Closed) -> Result<Vec<(u64, Record)>, SpoolError> {
    let mut reader = SegmentReader::open(&closed.path, closed.number, 0, Some(closed.len))?;
    let mut ends = Vec::new();
    while let Some(Ok(entry)) = reader.next()? {
        if let Entry::End { sequence, record, .. } = entry {
            ends.push((sequence, record));
        }
    }
    Ok(ends)
}

/// Names a damaged place.
pub(super) fn named(path: &Path, from: u64, to: u64) -> String {
    format!("`{}` can't be read from byte {from} to {to}", path.display())
}

/// Names a segment that ends before its last runs.
pub(super) fn cut_off(path: &Path, runs: u64) -> String {
    format!("`{}` is cut off: {runs} runs that it held are missing", path.display())
}
