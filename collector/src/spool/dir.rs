//! The directory of a spool: one owner, one id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FORMAT_VERSION, SpoolError, segment};

/// How often, and with which pauses, a lock is tried that somebody holds.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize)]
struct Description {
    format: u32,
    spool: Uuid,
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

/// Reads the spool's id, or makes one for a new spool.
pub(super) fn identify(dir: &Path) -> Result<Uuid, SpoolError> {
    let path = dir.join("spool.json");
    match fs::read(&path) {
        Ok(bytes) => {
            let description: Description = serde_json::from_slice(&bytes)
                .map_err(|source| SpoolError::NotASpool { path: path.clone(), source })?;
            if description.format > FORMAT_VERSION {
                return Err(SpoolError::Newer { dir: dir.to_owned(), found: description.format });
            }
            Ok(description.spool)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let description = Description { format: FORMAT_VERSION, spool: Uuid::new_v4() };
            let text = serde_json::to_vec(&description).map_err(|e| SpoolError::io("write", &path)(e.into()))?;
            let new = dir.join("spool.json.new");
            let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
            written
                .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
                .map_err(SpoolError::io("write", &new))?;
            fs::rename(&new, &path).map_err(SpoolError::io("rename a file to", &path))?;
            segment::sync_dir(dir)?;
            Ok(description.spool)
        }
        Err(source) => Err(SpoolError::Io { what: "read", path, source }),
    }
}
