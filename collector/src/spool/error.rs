//! Why a spool can't be used.

use std::io;
use std::path::{Path, PathBuf};

use super::FORMAT_VERSION;

/// Why a spool can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process owns it.
    #[error("the spool `{}` is used by another collector; stop it first, or choose another directory", dir.display())]
    InUse {
        /// The spool's directory.
        dir: PathBuf,
    },
    /// Written by a later version.
    #[error(
        "the spool `{}` has format {found}, this version knows up to {FORMAT_VERSION}; use a newer version of tripline",
        dir.display()
    )]
    Newer {
        /// The spool's directory.
        dir: PathBuf,
        /// The format found.
        found: u32,
    },
    /// The file that names the spool can't be understood.
    #[error(
        "`{}` does not describe a spool; restore it, or move the directory away to begin a new spool",
        path.display()
    )]
    NotASpool {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The operating system could not make a file durable. What it has dropped then, a second try does not bring back.
    #[error(
        "could not sync `{}`; check the disk and start again, only runs that were under way are affected",
        path.display()
    )]
    Sync {
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file system takes no writes.
    #[error(
        "could not {what} `{}`: its file system can only be read; where its disk has failed, `dmesg` says so: mend it, mount it \
         to be written and start again, only runs that were under way are affected",
        path.display()
    )]
    ReadOnly {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system refused something.
    #[error("could not {what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl SpoolError {
    /// Whether there is no room on the disk. The spool is as before; trying again later may help.
    pub fn is_disk_full(&self) -> bool {
        let SpoolError::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => SpoolError::ReadOnly { what, path, source },
            _ => SpoolError::Io { what, path, source },
        }
    }
}
