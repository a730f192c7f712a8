//! How far RocksDB's MANIFEST is known to have been written.
//!
//! A MANIFEST that has lost its end looks to RocksDB as after a crash. Opening such a database deletes the data files that
//! the lost end named, and the write-ahead log that they came from is long gone: one column family then falls back behind
//! the others, state behind its position, say, and nothing tells. So the log keeps a mark beside the database: the
//! MANIFEST's name, its size, and a digest of what it held. A MANIFEST is only ever appended to, so one that is shorter than
//! its mark, or begins otherwise, is damaged.
//!
//! The mark is written at each open, soon after data files were added or removed, and at the end. A MANIFEST of another name
//! than the mark's is not compared: it was begun in the moment before a kill, by an opening or since the old one had grown too
//! large, or by an older Tripline, which writes no mark.
//!
//! `DIR/manifest` reads `NAME BYTES DIGEST CHECK`, the last being a digest of the line before it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::open::db_dir;

/// What was written of a MANIFEST, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The name of its file.
    name: String,
    /// It held so many bytes, or more.
    bytes: u64,
    /// The digest of so many bytes, in hexadecimal.
    digest: String,
}

impl Mark {
    /// Writes down how far the MANIFEST goes now.
    pub(super) fn note(dir: &Path) -> io::Result<Mark> {
        let name = current(dir)?;
        let path = db_dir(dir).join(&name);
        let content = fs::read(&path)?;
        // What is marked must not be lost in a power failure.
        File::open(&path)?.sync_all()?;
        let mark = Mark { name, bytes: content.len() as u64, digest: digest(&content) };
        let (new, settled) = (dir.join("manifest.new"), mark_path(dir));
        let mut file = File::create(&new)?;
        file.write_all(mark.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(new, settled)?;
        File::open(dir)?.sync_all()?;
        Ok(mark)
    }

    /// Whether the MANIFEST has changed since, or another one is in use. A look that costs no more than some system calls.
    pub(super) fn is_behind(&self, dir: &Path) -> bool {
        let is_as_marked = || -> io::Result<bool> {
            Ok(current(dir)? == self.name && self.bytes == db_dir(dir).join(&self.name).metadata()?.len())
        };
        !is_as_marked().unwrap_or(false)
    }

    /// What was noted last; `None` when that is not there or can't be read.
    pub(super) fn noted(dir: &Path) -> Option<Mark> {
        Mark::from_text(&fs::read(mark_path(dir)).ok()?)
    }

    /// What is wrong with the MANIFEST by its mark, if anything.
    pub(super) fn check(dir: &Path) -> io::Result<Option<String>> {
        // Before the MANIFEST, which may be growing.
        let mark = match fs::read(mark_path(dir)) {
            Ok(text) => Mark::from_text(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(mark) = mark else {
            return Ok(Some("file `manifest` can't be read".to_owned()));
        };
        let name = &mark.name;
        let in_use = current(dir).map(|current| current == *name);
        let content = match in_use {
            Ok(true) => fs::read(db_dir(dir).join(name)),
            Ok(false) => return Ok(None),
            Err(error) => Err(error),
        };
        let content = match content {
            Ok(content) => content,
            // Whoever opens it says that it is missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(match usize::try_from(mark.bytes).ok().and_then(|bytes| content.get(..bytes)) {
            None => Some(format!(
                "file `db/{name}` has lost its end, {} of {} bytes are left: records, state and positions may be missing, \
                 or older than each other",
                content.len(),
                mark.bytes
            )),
            Some(marked) if digest(marked) != mark.digest => {
                Some(format!("file `db/{name}` does not hold what was written to it"))
            }
            Some(_) => None,
        })
    }

    fn to_text(&self) -> String {
        let line = format!("{} {} {}", self.name, self.bytes, self.digest);
        let check = digest(line.as_bytes());
        format!("{line} {check}\n")
    }

    fn from_text(text: &[u8]) -> Option<Mark> {
        let (line, check) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.rsplit_once(' ')?;
        let mut parts = line.split(' ');
        let (name, bytes, digest_of) = (parts.next()?, parts.next()?, parts.next()?);
        let mark = Mark { name: name.to_owned(), bytes: bytes.parse().ok()?, digest: digest_of.to_owned() };
        (check == digest(line.as_bytes())).then_some(mark)
    }
}

fn mark_path(dir: &Path) -> PathBuf {
    dir.join("manifest")
}

/// The name of the MANIFEST in use.
fn current(dir: &Path) -> io::Result<String> {
    let name = fs::read(db_dir(dir).join("CURRENT"))?;
    Ok(String::from_utf8_lossy(&name).trim_end().to_owned())
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
