//! The files that frames lie in: one is written, the others wait for the publication of their runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::SpoolError;
use super::frame::{Entry, Seal, Snapshot, encode};

/// Where a segment lies.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.seg"))
}

/// The segments in a directory, by number.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, SpoolError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(SpoolError::io("read directory", dir))? {
        let name = entry.map_err(SpoolError::io("read directory", dir))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), SpoolError> {
    File::open(dir).and_then(|dir| durable(&dir)).map_err(SpoolError::io("sync directory", dir))
}

/// Makes a file durable. This crate's own tests crash by cutting files off at what was synced; for them the disk has
/// nothing to do, which makes thousands of crashes affordable.
fn durable(file: &File) -> io::Result<()> {
    if cfg!(test) { Ok(()) } else { file.sync_all() }
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    file: File,
    /// How its frames are checked.
    pub(super) seal: Seal,
    /// Whole frames end here; nothing is behind.
    pub(super) len: u64,
    /// What is durable of them.
    pub(super) synced_len: u64,
    /// The number of the last run in here, or in an earlier segment.
    pub(super) last_sequence: u64,
}

impl Active {
    /// Makes a new segment that begins with this snapshot; durable when it returns. Nothing is left when it can't.
    pub(super) fn create(dir: &Path, seal: Seal, snapshot: &Snapshot) -> Result<Active, SpoolError> {
        let path = path(dir, snapshot.segment);
        let frame = encode(&Entry::Start(Box::new(snapshot.clone())), seal, snapshot.segment, 0);
        let written =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).and_then(|mut file| {
                file.write_all(&frame)?;
                durable(&file)?;
                Ok(file)
            });
        let file = written.map_err(|error| {
            let _ = fs::remove_file(&path); // If it stays, the next start finds it torn, or begun and empty.
            SpoolError::io("write", &path)(error)
        })?;
        sync_dir(dir)?;
        let len = frame.len() as u64;
        let last_sequence = snapshot.next_sequence - 1;
        Ok(Active { number: snapshot.segment, path, file, seal, len, synced_len: len, last_sequence })
    }

    /// Writes a frame; not yet durable. When it can't be written whole, the file is as before.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<(), SpoolError> {
        let frame = encode(entry, self.seal, self.number, self.len);
        if let Err(error) = self.file.write_all(&frame) {
            self.file.set_len(self.len).map_err(SpoolError::io("shorten", &self.path))?;
            self.file.seek(SeekFrom::Start(self.len)).map_err(SpoolError::io("seek in", &self.path))?;
            return Err(SpoolError::io("write to", &self.path)(error));
        }
        self.len += frame.len() as u64;
        Ok(())
    }

    /// Makes all frames durable.
    pub(super) fn sync(&mut self) -> Result<(), SpoolError> {
        if self.synced_len < self.len {
            durable(&self.file).map_err(|source| SpoolError::Sync { path: self.path.clone(), source })?;
            self.synced_len = self.len;
        }
        Ok(())
    }

    /// Nothing more is written to it.
    pub(super) fn close(self) -> Closed {
        debug_assert_eq!(self.synced_len, self.len, "a segment is durable before the next one begins");
        Closed {
            number: self.number,
            path: self.path,
            seal: self.seal,
            len: self.len,
            last_sequence: self.last_sequence,
            is_damaged: false,
        }
    }
}

/// A segment that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// How its frames are checked.
    pub(super) seal: Seal,
    /// Where its last good frame ends, in bytes.
    pub(super) len: u64,
    /// The number of the last run in here, or in an earlier segment.
    pub(super) last_sequence: u64,
    /// Something in the file can't be read.
    pub(super) is_damaged: bool,
}

impl Closed {
    /// Removes the file; a damaged one is kept under another name for whoever wants to look into it.
    pub(super) fn remove(self) -> Result<(), SpoolError> {
        if self.is_damaged {
            let kept = self.path.with_extension("damaged");
            fs::rename(&self.path, &kept).map_err(SpoolError::io("rename", &self.path))
        } else {
            fs::remove_file(&self.path).map_err(SpoolError::io("remove", &self.path))
        }
    }
}
