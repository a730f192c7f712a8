//! Saved positions of those who take alerts one after the other: a file in the data directory.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use rustix::fs::{FlockOperation, flock};

use crate::exit::Failure;
use crate::local::{self, Log};

/// One name's position in one topic.
pub struct Group {
    file: PathBuf,
    offsets: BTreeMap<u32, u64>,
    /// Held as long as this is: two who move one position would hand alerts over twice or not at all.
    _lock: File,
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
        let lock = lock(&dir.join(format!("{name}.lock")), name)?;
        let file = dir.join(format!("{name}.json"));
        Ok(Group { offsets: saved(&file, name)?, file, _lock: lock })
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
        write_durably(&self.file, &serde_json::to_vec(&self.offsets)?)
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

/// Replaces a file so that, after a crash, either the old or the new content is there.
fn write_durably(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    let mut new = File::create(&beside)?;
    new.write_all(content)?;
    new.sync_all()?;
    std::fs::rename(&beside, file)?;
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}
