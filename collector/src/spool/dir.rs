//! The directory of a spool: one owner, one id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tripline_faults::{Point, point};
use uuid::Uuid;

use super::frame::Seal;
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
    /// Keys the checks of frames. Absent in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<Secret>,
    /// The BLAKE3 hash of all this without it: another secret would make all segments look damaged. Absent in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

/// What nobody knows but who may read the spool.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Secret {
    /// Two random numbers of 122 bits.
    key: [Uuid; 2],
    /// The first segment that it is for; those before it are of format 1.
    from_segment: u64,
}

impl Description {
    fn new(spool: Uuid, former: Vec<Uuid>) -> Description {
        Description { format: FORMAT_VERSION, spool, former, copied: false, secret: None, check: None }
    }

    /// With a secret for all segments from this one on.
    fn with_secret(self, from_segment: u64) -> Description {
        let secret = Secret { key: [Uuid::new_v4(), Uuid::new_v4()], from_segment };
        Description { format: FORMAT_VERSION, secret: Some(secret), ..self }
    }

    /// With an id of its own; what waits keeps the one it has.
    fn renamed(self) -> Description {
        let Description { spool, mut former, secret, .. } = self;
        former.push(spool);
        Description { secret, ..Description::new(Uuid::new_v4(), former) }
    }

    /// How the frames of a segment are checked.
    pub(super) fn seal(&self, segment: u64) -> Seal {
        match &self.secret {
            Some(secret) if segment >= secret.from_segment => {
                let mut key = [0; 32];
                key[..16].copy_from_slice(secret.key[0].as_bytes());
                key[16..].copy_from_slice(secret.key[1].as_bytes());
                Seal::Keyed(key)
            }
            _ => Seal::Plain,
        }
    }

    fn with_check(self) -> Result<Description, serde_json::Error> {
        let unchecked = Description { check: None, ..self };
        let hash = blake3::hash(&serde_json::to_vec(&unchecked)?);
        Ok(Description { check: Some(hash.to_string()), ..unchecked })
    }

    /// The same, unless it is not what was written.
    fn checked(self) -> Result<Description, serde_json::Error> {
        let is_as_written = self.format == 1 || self.check == self.clone().with_check()?.check;
        // What a newer version writes is its own affair.
        if is_as_written || self.format > FORMAT_VERSION {
            Ok(self)
        } else {
            Err(serde::de::Error::custom("its check does not fit: it is damaged, or was edited"))
        }
    }

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
    let known = match describe(dir) {
        Ok(known) if !known.copied && known.secret.is_some() => return Ok(known),
        Ok(known) => known,
        Err(SpoolError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Description::new(Uuid::new_v4(), Vec::new()).with_secret(0)
        }
        Err(error) => return Err(error),
    };
    let known = match known {
        copy if copy.copied => copy.renamed(),
        known => known,
    };
    let known = match known.secret {
        Some(_) => known,
        None => known.with_secret(segment::list(dir)?.last().map_or(0, |last| last + 1)),
    };
    write_description(dir, &known)?;
    point(Point::SpoolMade);
    Ok(known)
}

/// Gives the spool another id: which numbers were given under the one it has is no longer known.
pub(super) fn rename(dir: &Path, known: Description) -> Result<Description, SpoolError> {
    let renamed = known.renamed();
    write_description(dir, &renamed)?;
    Ok(renamed)
}

/// Reads who the spool is.
pub(super) fn describe(dir: &Path) -> Result<Description, SpoolError> {
    let path = dir.join("spool.json");
    let bytes = fs::read(&path).map_err(SpoolError::io("read", &path))?;
    let description: Description = serde_json::from_slice(&bytes)
        .and_then(Description::checked)
        .map_err(|source| SpoolError::NotASpool { path: path.clone(), source })?;
    if description.format > FORMAT_VERSION {
        return Err(SpoolError::Newer { dir: dir.to_owned(), found: description.format });
    }
    Ok(description)
}

/// Writes who the spool is, durably: after a crash the old or the new text is there.
pub(super) fn write_description(dir: &Path, description: &Description) -> Result<(), SpoolError> {
    let path = dir.join("spool.json");
    let text = description
        .clone()
        .with_check()
        .and_then(|d| serde_json::to_vec(&d))
        .map_err(|e| SpoolError::io("write", &path)(e.into()))?;
    let new = dir.join("spool.json.new");
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    written
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .map_err(SpoolError::io("write", &new))?;
    fs::rename(&new, &path).map_err(SpoolError::io("rename a file to", &path))?;
    segment::sync_dir(dir)
}
