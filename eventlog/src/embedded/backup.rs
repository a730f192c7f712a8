//! A copy of a log while it is in use: RocksDB's checkpoint, hard links where the file system has them.
//!
//! What is in memory is written to data files first, so that a copy begins with them. It holds a prefix of everything
//! that was ever written: log, state and positions of one moment.

use std::{fs, io, path::Path, time::Duration};

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

/// How the name begins of a copy within the log's directory, before it is moved away.
const COPY: &str = "copy-";

/// Removes copies whose taker ended before they were moved. Only for a log's owner, who has just begun to be that.
pub(super) fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(COPY) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Moves a directory to a place where there is none. Durable when it returns. On another file system everything is copied.
fn move_dir(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy_dir(from, to)?;
            fs::remove_dir_all(from)?;
        }
        moved => moved?,
    }
    fs::File::open(to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    open::make_private_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), &copy)?;
            fs::File::open(copy)?.sync_all()?;
        }
    }
    fs::File::open(to)?.sync_all()
}

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
            |error: io::Error| LogError::Failed { what: format!("could not {doing}"), source: Some(error.into()) };
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

/// Copies the log of a data directory, see [`EmbeddedLog::backup`]. Gives the process id of its owner, when there is one.
///
/// An owner copies within its own directory, the only place where it may surely write; from there the copy is moved to where
/// it is wanted, by whoever wants it.
pub fn back_up(dir: &Path, options: EmbeddedOptions, to: &Path) -> Result<Option<u32>, OpenError> {
    let failed = |error: LogError| OpenError::Failed { dir: dir.to_owned(), source: error.into() };
    open::must_exist(dir)?;
    match Place::new(dir, options.clone()).attach(OWNER_PATIENCE)? {
        Source::Owner(mut connection) => {
            let not_found = |error| open::io_error(dir, "found", error);
            let within = std::path::absolute(dir).map_err(not_found)?.join(format!("{COPY}{}", std::process::id()));
            let asked = connection.ask(&Request::Backup { to: within.clone() }, &[], BACKUP_PATIENCE);
            let copied = match asked {
                Ok((Answer::Done, _)) => move_dir(&within, to).map_err(|error| open::io_error(to, "written", error)),
                Ok(other) => Err(failed(connection.unexpected(&other.0))),
                Err(error) => Err(failed(error)),
            };
            if copied.is_err() {
                let _ = fs::remove_dir_all(&within); // A part is no copy.
            }
            copied.map(|()| Some(connection.pid))
        }
        Source::Files(files) => {
            drop(files); // Own it for as long as it takes.
            EmbeddedLog::open(dir, options)?.backup(to).map_err(failed)?;
            Ok(None)
        }
    }
}
