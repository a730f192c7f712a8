//! A copy of a log while it is in use: RocksDB's checkpoint, hard links where the file system has them.
//!
//! What is in memory is written to data files first, so that a copy begins with them. It holds a prefix of everything
//! that was ever written: log, state and positions of one moment.

use std::{fs, path::Path, time::Duration};

use rocksdb::checkpoint::Checkpoint;

use super::{
    EmbeddedLog,
    manifest::Mark,
    open::{self, OpenError},
    options::EmbeddedOptions,
    place::{OWNER_PATIENCE, Place, Source},
    protocol::{Answer, Request},
};
use crate::LogError;

/// An owner may take so long: on another file system everything is copied.
const BACKUP_PATIENCE: Duration = Duration::from_secs(24 * 3600);

impl EmbeddedLog {
    /// Copies the log to a directory that must not exist, and that can be opened as a log afterwards. Durable when it
    /// returns; after an error a part may be there.
    pub fn backup(&self, to: &Path) -> Result<(), LogError> {
        let shared = self.shared();
        // Neither retention nor a new topic comes in between.
        let _one_at_a_time = shared.maintenance();
        shared.writer.check(&shared.store)?;
        let doing = format!("copy the log to `{}`", to.display());
        let failed =
            |error: std::io::Error| LogError::Failed { what: format!("could not {doing}"), source: Some(error.into()) };
        open::make_private_dir(to).map_err(failed)?;
        let checkpoint = Checkpoint::new(&shared.store.db).map_err(|error| shared.store.error(&doing, error))?;
        checkpoint.create_checkpoint(open::db_dir(to)).map_err(|error| shared.store.error(&doing, error))?;
        for entry in fs::read_dir(open::db_dir(to)).map_err(failed)? {
            entry.and_then(|entry| fs::File::open(entry.path())?.sync_all()).map_err(failed)?;
        }
        fs::File::open(open::db_dir(to)).and_then(|dir| dir.sync_all()).map_err(failed)?;
        Mark::note(to).map_err(failed)?;
        // Last: a directory without it is not taken for a log.
        open::write_format(to).map_err(LogError::from)
    }
}

/// Copies the log of a data directory, see [`EmbeddedLog::backup`]: its owner does, when there is one. Gives the owner's
/// process id.
pub fn back_up(dir: &Path, options: EmbeddedOptions, to: &Path) -> Result<Option<u32>, OpenError> {
    let failed = |error: LogError| OpenError::Failed { dir: dir.to_owned(), source: error.into() };
    if !dir.exists() {
        return Err(OpenError::NotFound { dir: dir.to_owned() });
    }
    match Place::new(dir, options.clone()).attach(OWNER_PATIENCE)? {
        Source::Owner(mut connection) => {
            let to = std::path::absolute(to).map_err(|error| OpenError::NoAccess {
                dir: to.to_owned(),
                tried: "found",
                source: error.into(),
            })?;
            match connection.ask(&Request::Backup { to }, &[], BACKUP_PATIENCE).map_err(failed)? {
                (Answer::Done, _) => Ok(Some(connection.pid)),
                other => Err(failed(connection.unexpected(&other.0))),
            }
        }
        Source::Files(files) => {
            drop(files); // Own it for as long as it takes.
            EmbeddedLog::open(dir, options)?.backup(to).map_err(failed)?;
            Ok(None)
        }
    }
}
