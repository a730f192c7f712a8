//! Saved positions of those who take alerts one after the other: a file in the data directory.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat, renameat};

use crate::exit::Failure;
use crate::local::{self, Log};

/// One name's position in one topic.
pub struct Group {
    file: PathBuf,
    offsets: BTreeMap<u32, u64>,
    /// Where the position is saved, wherever this directory lies by then.
    dir: File,
    /// Held as long as this is: two who move one position would hand alerts over twice or not at all.
    lock: File,
    lock_file: PathBuf,
}

impl Group {
    /// Finds where this group has come to. A new group has no offsets.
    pub fn open(log: &Log, name: &str, topic: &str) -> Result<Group, Failure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            let error = anyhow!("`{name}` can't name a group: use letters, digits, `-`, `_` and `.`");
            return Err(Failure::unusable(error));
        }
        if let Log::Embedded { dir, .. } = log {
            local::not_of_another(dir)?;
        }
        let dir = log.groups_dir().join(topic);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.with_context(|| format!("could not make directory `{}`", dir.display()))?;
        let lock_file = dir.join(format!("{name}.lock"));
        let lock = lock(&lock_file, name)?;
        let file = dir.join(format!("{name}.json"));
        let dir = File::open(&dir).with_context(|| format!("could not open `{}`", dir.display()))?;
        Ok(Group { offsets: saved(&file, name)?, file, dir, lock, lock_file })
    }

    /// Makes sure that the position is still this one's to move. A backup that was put in the data directory's place has a
    /// position of its own, for a log that may go on otherwise from there, and anybody can lock it.
    pub fn still_held(&self) -> anyhow::Result<()> {
        let held = self.lock.metadata()?;
        match std::fs::metadata(&self.lock_file) {
            Ok(there) if (there.dev(), there.ino()) == (held.dev(), held.ino()) => Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("could not look at `{}`", self.lock_file.display()))
            }
            _ => Err(anyhow!(
                "`{}` is not the file any more that this process has locked: the data directory was replaced; start again",
                self.lock_file.display()
            )),
        }
    }

    /// The next offset of each partition.
    pub fn offsets(&self) -> &BTreeMap<u32, u64> {
        &self.offsets
    }

    /// Everything before `offset` is done with.
    pub fn advance(&mut self, partition: u32, offset: u64) {
        self.offsets.insert(partition, offset);
    }

    /// Makes the position durable.
    pub fn save(&self) -> anyhow::Result<()> {
        self.still_held()?;
        write_durably(&self.dir, &self.file, &serde_json::to_vec(&self.offsets)?)
            .with_context(|| format!("could not save the group's position in `{}`", self.file.display()))
    }
}

/// Makes sure that nobody else takes what this group takes.
fn lock(file: &Path, name: &str) -> anyhow::Result<File> {
    let lock = File::create(file).with_context(|| format!("could not make `{}`", file.display()))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(anyhow!("another process takes the alerts of group `{name}` already: end it, or use another name"))
        }
        Err(error) => Err(error).with_context(|| format!("could not lock `{}`", file.display())),
    }
}

/// The saved offsets: none for a group that nobody has used.
fn saved(file: &Path, name: &str) -> anyhow::Result<BTreeMap<u32, u64>> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| {
            format!("`{}` is damaged; delete it to start the group `{name}` from the beginning", file.display())
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("could not read `{}`", file.display())),
    }
}

/// Replaces a directory's file of this name so that, after a crash, either the old or the new content is there.
fn write_durably(dir: &File, file: &Path, content: &[u8]) -> std::io::Result<()> {
    let (name, beside) = (Path::new(file.file_name().unwrap_or_default()), file.with_extension("new"));
    let beside = beside.file_name().unwrap_or_default();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mut new = File::from(openat(dir, beside, flags, Mode::from_raw_mode(0o666))?);
    new.write_all(content)?;
    new.sync_all()?;
    renameat(dir, beside, dir, name)?;
    dir.sync_all()
}
