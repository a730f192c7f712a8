//! The directory of a spool: one owner, one id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tripline_faults::{Point, point};
use uuid::Uuid;

use super::{FORMAT_VERSION, SpoolError, segment};

/// How often, and with which pauses, a lock is tried that somebody holds.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What `spool.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Description {
    format: u32,
    spool: Uuid,
    /// Ids that it had before: it is a copy of a spool, or a copy of a copy. Runs may wait in it under each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<Uuid>,
    /// It is a copy that nobody has opened yet, and needs an id of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    copied: bool,
}

impl Description {
    /// Under which id runs get their numbers.
    pub(super) fn id(&self) -> Uuid {
        self.spool
    }

    /// Whether something of this id may lie in the spool.
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.spool == id || self.former.contains(&id)
    }

    /// What a copy's file says.
    pub(super) fn as_copy(&self) -> Description {
        Description { copied: true, ..self.clone() }
    }
}

/// Takes the lock that the owner of the spool holds.
pub(super) fn lock(dir: &Path) -> Result<File, SpoolError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(SpoolError::io("create", &path))?;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A child that the last owner was just starting holds the lock too, until it becomes the command's program.
            Err(fs::TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(fs::TryLockError::WouldBlock) => return Err(SpoolError::InUse { dir: dir.to_owned() }),
            Err(fs::TryLockError::Error(source)) => return Err(SpoolError::Io { what: "lock", path, source }),
        }
    }
}

/// Reads who the spool is, or makes a new one. A copy gets an id of its own now, before any number is given: the
/// original has gone on.
pub(super) fn identify(dir: &Path) -> Result<Description, SpoolError> {
    match describe(dir) {
        Ok(known) if !known.copied => Ok(known),
        Ok(Description { spool, mut former, .. }) => {
            former.push(spool);
            let own = Description { format: FORMAT_VERSION, spool: Uuid::new_v4(), former, copied: false };
            write_description(dir, &own)?;
            Ok(own)
        }
        Err(SpoolError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let new = Description { format: FORMAT_VERSION, spool: Uuid::new_v4(), former: Vec::new(), copied: false };
            write_description(dir, &new)?;
            point(Point::SpoolMade);
            Ok(new)
        }
        Err(error) => Err(error),
    }
}

/// Reads who the spool is.
pub(super) fn describe(dir: &Path) -> Result<Description, SpoolError> {
    let path = dir.join("spool.json");
    let bytes = fs::read(&path).map_err(SpoolError::io("read", &path))?;
    let description: Description =
        serde_json::from_slice(&bytes).map_err(|source| SpoolError::NotASpool { path: path.clone(), source })?;
    if description.format > FORMAT_VERSION {
        return Err(SpoolError::Newer { dir: dir.to_owned(), found: description.format });
    }
    Ok(description)
}

/// Writes who the spool is, durably: after a crash the old or the new text is there.
pub(super) fn write_description(dir: &Path, description: &Description) -> Result<(), SpoolError> {
    let path = dir.join("spool.json");
    let text = serde_json::to_vec(description).map_err(|e| SpoolError::io("write", &path)(e.into()))?;
    let new = dir.join("spool.json.new");
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    written
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .map_err(SpoolError::io("write", &new))?;
    fs::rename(&new, &path).map_err(SpoolError::io("rename a file to", &path))?;
    segment::sync_dir(dir)
}
