//! Saved positions of those who take alerts one after the other: a file in the data directory.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::local::Log;

/// One name's position in one topic.
pub struct Group {
    file: PathBuf,
    offsets: BTreeMap<u32, u64>,
}

impl Group {
    /// Finds where this group has come to. A new group has no offsets.
    pub fn open(log: &Log, name: &str, topic: &str) -> anyhow::Result<Group> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            bail!("`{name}` can't name a group: use letters, digits, `-`, `_` and `.`");
        }
        let dir = log.groups_dir().join(topic);
        std::fs::create_dir_all(&dir).with_context(|| format!("could not make directory `{}`", dir.display()))?;
        let file = dir.join(format!("{name}.json"));
        let offsets = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!("`{}` is damaged; delete it to start the group `{name}` from the beginning", file.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("could not read `{}`", file.display())),
        };
        Ok(Group { file, offsets })
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

/// Replaces a file so that, after a crash, either the old or the new content is there.
fn write_durably(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    let mut new = std::fs::File::create(&beside)?;
    new.write_all(content)?;
    new.sync_all()?;
    std::fs::rename(&beside, file)?;
    std::fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}
