//! Opening a data directory: who owns it, which format it has, what is wrong with it.
//!
//! ```text
//! DIR/format         the format's version; written last when a directory is made, so that a half-made one is made anew
//! DIR/db/            RocksDB's files, its LOCK among them
//! DIR/manifest       how far RocksDB's MANIFEST was written, see `manifest`
//! DIR/tripline.sock  where the owner serves other processes, see `server`
//! ```

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use rocksdb::{Cache, DBRecoveryMode, ErrorKind};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use tripline_faults::{Point, point};

use super::{
    layout,
    manifest::Mark,
    options::EmbeddedOptions,
    rebuild,
    store::{Db, Store},
};

/// The version of the data directory's format that this program writes, and the newest one that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// What to do about damage.
pub(super) const MEND: &str = "`tripline state verify` says what is lost; put a copy of the directory back, or move it away \
                               to start with an empty one";

/// What to do about a file system that takes no writes.
pub(super) const MOUNT: &str =
    "where its disk has failed, `dmesg` says so: mend it, mount it to be written and start again";

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no log in the directory.
    #[error("there is no log in `{}`; `tripline run` makes one", dir.display())]
    NotFound {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another process has the directory open.
    #[error("`{}` is in use by {owner}; stop it first, or name another data directory", dir.display())]
    Owned {
        /// The data directory.
        dir: PathBuf,
        /// Which process, as far as it can be found out.
        owner: Owner,
    },
    /// Another process has the directory open, and does not answer on its socket.
    #[error("`{}` is in use by {owner}, which does not serve other processes; try again, or stop it first", dir.display())]
    OwnerSilent {
        /// The data directory.
        dir: PathBuf,
        /// Which process, as far as it can be found out.
        owner: Owner,
        /// Why it was not reached; absent when it has no socket.
        source: Option<io::Error>,
    },
    /// An owner may serve there, and this user may not ask it.
    #[error(
        "`{}` is not for this user: ask as the user that Tripline runs as there or as root (`sudo`), or let its settings name \
         a group of yours (`[socket] group`)", dir.display()
    )]
    NotForThisUser {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody serves there, and this user may not read the files.
    #[error("Tripline does not run on `{}`, and this user may not read the files there: start it, or use `sudo`", dir.display())]
    NotServed {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A later version of Tripline wrote the directory.
    #[error("`{}` has data format {found}, this version knows {known} at most; use the Tripline that wrote it", dir.display())]
    NewerFormat {
        /// The data directory.
        dir: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The directory can't be read or written.
    #[error("`{}` can't be {tried}; give this user the right to, or name another data directory", dir.display())]
    NoAccess {
        /// The directory or file.
        dir: PathBuf,
        /// "made", "read", "written", "connected to".
        tried: &'static str,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system can only be read.
    #[error(
        "`{}` can't be written: its file system can only be read; {MOUNT}; to a service whose unit confines it \
         (`ProtectSystem=`), `ReadWritePaths=` opens it",
        dir.display()
    )]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk is full.
    #[error("the disk of `{}` is full; free some space and start again: nothing acknowledged is lost", dir.display())]
    Full {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file is damaged or missing.
    #[error("the log in `{}` is damaged: {what}; {MEND}", dir.display())]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// Which file, and what about it.
        what: String,
    },
    /// Something else went wrong.
    #[error("the log in `{}` could not be opened", dir.display())]
    Failed {
        /// The data directory.
        dir: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A process that has a data directory open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This very process.
    Ourselves,
    /// Another one.
    Process {
        /// Its process id.
        pid: i32,
        /// Its name, when it can be read.
        name: Option<String>,
    },
    /// It could not be found out.
    Unknown,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Owner::Ourselves => f.write_str("this process"),
            Owner::Process { pid, name: Some(name) } => write!(f, "process {pid} ({})", name.escape_default()),
            Owner::Process { pid, name: None } => write!(f, "process {pid}"),
            Owner::Unknown => f.write_str("another process"),
        }
    }
}

/// What opening expects of the data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// All are there and can be opened; anything else is refused.
    Whole,
    /// Some may be missing or damaged: reading them is an error then, opening the log is not.
    MayBeDamaged,
}

/// Opens the directory for its owner, making what is missing.
pub(super) fn open_owned(dir: &Path, options: &EmbeddedOptions, files: Files) -> Result<Store, OpenError> {
    make_dir(dir)?;
    let claim = Claim::new(dir)?;
    // RocksDB looks at its lock too, but only after files that a living owner may be replacing.
    if let Some(owner) = lock_holder(dir)? {
        return Err(OpenError::Owned { dir: dir.to_owned(), owner });
    }
    let is_new = match read_format(dir)? {
        Some(version) => {
            check_format(dir, version)?;
            false
        }
        None => {
            check_nothing_written(dir)?;
            true
        }
    };
    check_writable(dir)?;
    if !is_new {
        check_current(dir)?;
        // Even where files may be damaged: opening deletes what the lost end of a MANIFEST named.
        check_manifest(dir)?;
    }
    let mut database = options.database();
    database.set_paranoid_checks(files == Files::Whole);
    database.create_if_missing(is_new);
    database.create_missing_column_families(is_new);
    let families = if is_new { layout::FAMILIES.map(str::to_owned).to_vec() } else { families(dir, &database)? };
    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    let db = Db::open_cf_descriptors(&database, db_dir(dir), options.families(&families, &cache))
        .map_err(|error| classify_open(dir, error))?;
    Mark::note(dir).map_err(|error| io_error(dir, "written", error))?;
    if is_new {
        point(Point::LogMade);
        write_format(dir)?;
        point(Point::LogNamed);
    }
    let store = Store { db, dir: dir.to_owned(), cache, _claim: Some(claim) };
    rebuild::finish(&store, options)
        .map_err(|error| OpenError::Failed { dir: dir.to_owned(), source: error.into() })?;
    if files == Files::Whole && store.db.cf_handle(layout::STATE).is_none() {
        return Err(damaged(dir, layout::NO_STATE));
    }
    Ok(store)
}

/// Opens a directory that nobody owns, without writing to it. When files may be damaged, what can't be read of the
/// write-ahead log is passed over: that is for looking only.
pub(super) fn open_read_only(dir: &Path, options: &EmbeddedOptions, files: Files) -> Result<Store, OpenError> {
    let version = read_format(dir)?.ok_or_else(|| OpenError::NotFound { dir: dir.to_owned() })?;
    check_format(dir, version)?;
    // RocksDB does not survive every MANIFEST that is cut off, so not even a look is taken.
    check_manifest(dir)?;
    let mut database = options.database();
    match files {
        Files::Whole => check_current(dir)?,
        Files::MayBeDamaged => {
            database.set_paranoid_checks(false);
            database.set_track_and_verify_wals_in_manifest(false);
            database.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
        }
    }
    let families = families(dir, &database)?;
    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    let db = Db::open_cf_descriptors_read_only(&database, db_dir(dir), options.families(&families, &cache), false)
        .map_err(|error| classify_open(dir, error))?;
    Ok(Store { db, dir: dir.to_owned(), cache, _claim: None })
}

/// Which process has the directory open for writing; `None` when none has. Asks about the lock without taking it, so
/// that asking never gets into an owner's way.
pub(super) fn owner(dir: &Path) -> Result<Option<Owner>, OpenError> {
    // Not only because the system does not tell a process about its own locks: closing a file drops the locks that the
    // process holds on it, so the owner itself must not even look.
    let claims = Claim::all();
    if claims.contains(&identity(dir)?) {
        return Ok(Some(Owner::Ourselves));
    }
    lock_holder(dir)
}

/// Which other process holds RocksDB's lock.
fn lock_holder(dir: &Path) -> Result<Option<Owner>, OpenError> {
    let lock = match File::open(db_dir(dir).join("LOCK")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(OpenError::NotServed { dir: dir.to_owned(), source: error });
        }
        Err(error) => return Err(no_access(dir, "read", error)),
    };
    let held = fcntl_getlk(&lock, &Flock::from(FlockType::WriteLock))
        .map_err(|error| OpenError::Failed { dir: dir.to_owned(), source: io::Error::from(error).into() })?;
    Ok(held.map(|lock| match lock.pid {
        Some(pid) => {
            let pid = pid.as_raw_nonzero().get();
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
            Owner::Process { pid, name: name.map(|name| name.trim_end().to_owned()) }
        }
        None => Owner::Unknown, // Of another process-id namespace, a container's.
    }))
}

/// A directory that this process owns, or is opening. Dropped after the database is closed.
pub(super) struct Claim(Identity);

/// Device and inode of a directory: the same by whatever path it is named.
type Identity = (u64, u64);

static CLAIMS: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());

impl Claim {
    fn new(dir: &Path) -> Result<Claim, OpenError> {
        let identity = identity(dir)?;
        if !Claim::all().insert(identity) {
            return Err(OpenError::Owned { dir: dir.to_owned(), owner: Owner::Ourselves });
        }
        Ok(Claim(identity))
    }

    fn all() -> MutexGuard<'static, BTreeSet<Identity>> {
        CLAIMS.lock().expect("not poisoned: nothing panics while it is held")
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        Claim::all().remove(&self.0);
    }
}

fn identity(dir: &Path) -> Result<Identity, OpenError> {
    let metadata = fs::metadata(dir).map_err(|error| io_error(dir, "read", error))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Whether the directory is there: one that this user may not look into is another matter than none.
pub(super) fn must_exist(dir: &Path) -> Result<(), OpenError> {
    match dir.try_exists() {
        Ok(true) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(not_for_this_user(dir, error)),
        Err(error) if error.kind() != io::ErrorKind::NotADirectory => Err(io_error(dir, "read", error)),
        Ok(false) | Err(_) => Err(OpenError::NotFound { dir: dir.to_owned() }),
    }
}

pub(super) fn db_dir(dir: &Path) -> PathBuf {
    dir.join("db")
}

/// Outputs of commands are nobody else's business, so a directory made here is its user's alone.
fn make_dir(dir: &Path) -> Result<(), OpenError> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    let make = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // A power failure must not take away a directory with acknowledged records in it.
        for made in missing {
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    };
    make().map_err(|error| io_error(dir, "made", error))
}

/// Makes a directory that was not there, for this user alone.
pub(super) fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(dir)
}

fn read_format(dir: &Path) -> Result<Option<u32>, OpenError> {
    match fs::read_to_string(dir.join("format")) {
        Ok(text) => match text.strip_prefix("tripline log ").and_then(|version| version.trim_end().parse().ok()) {
            Some(version) => Ok(Some(version)),
            None => Err(damaged(dir, "file `format` does not read `tripline log VERSION`")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged(dir, "file `format` is not text")),
        Err(error) => Err(io_error(dir, "read", error)),
    }
}

fn check_format(dir: &Path, found: u32) -> Result<(), OpenError> {
    if found > FORMAT_VERSION {
        return Err(OpenError::NewerFormat { dir: dir.to_owned(), found, known: FORMAT_VERSION });
    }
    Ok(())
}

pub(super) fn write_format(dir: &Path) -> Result<(), OpenError> {
    let write = || {
        let (new, settled) = (dir.join("format.new"), dir.join("format"));
        let mut file = File::create(&new)?;
        writeln!(file, "tripline log {FORMAT_VERSION}")?;
        file.sync_all()?;
        fs::rename(new, settled)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|error| io_error(dir, "written", error))
}

/// A directory without `format` was never finished: no record can be in it. If there are some, `format` got lost.
fn check_nothing_written(dir: &Path) -> Result<(), OpenError> {
    let entries = match fs::read_dir(db_dir(dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(dir, "read", error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| io_error(dir, "read", error))?;
        let size = entry.metadata().map_err(|error| io_error(dir, "read", error))?.len();
        let path = entry.path();
        let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if matches!(kind, "sst" | "blob" | "log") && size > 0 {
            return Err(damaged(dir, "file `format` is missing"));
        }
    }
    Ok(())
}

/// Says so at once when the user may not write, rather than through the first file that RocksDB happens to open.
fn check_writable(dir: &Path) -> Result<(), OpenError> {
    let probe = dir.join("format.probe");
    let written = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&probe);
    written.and_then(|_| fs::remove_file(&probe)).map_err(|error| io_error(dir, "written", error))
}

/// Without its `CURRENT` RocksDB would take the directory for an empty one.
fn check_current(dir: &Path) -> Result<(), OpenError> {
    let current = db_dir(dir).join("CURRENT");
    let text = match fs::read_to_string(&current) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged(dir, "file `db/CURRENT` is missing"));
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(io_error(dir, "read", error)),
    };
    let Some(manifest) = text.strip_suffix('\n').filter(|name| name.starts_with("MANIFEST-")) else {
        return Err(damaged(dir, "file `db/CURRENT` does not name a MANIFEST file"));
    };
    if !db_dir(dir).join(manifest).exists() {
        return Err(damaged(dir, &format!("file `db/{manifest}` is missing")));
    }
    // There always is one, be it empty; RocksDB would take its absence for that.
    if write_ahead_logs(dir).map_err(|error| io_error(dir, "read", error))?.is_empty() {
        return Err(damaged(dir, "its write-ahead log, file `db/*.log`, is missing"));
    }
    Ok(())
}

/// RocksDB takes a MANIFEST that has lost its end for one that a crash cut off.
fn check_manifest(dir: &Path) -> Result<(), OpenError> {
    match Mark::check(dir).map_err(|error| io_error(dir, "read", error))? {
        None => Ok(()),
        Some(what) => Err(damaged(dir, &what)),
    }
}

/// The files of the write-ahead log, by name.
fn write_ahead_logs(dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(db_dir(dir))? {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| name.ends_with(".log")).map(str::to_owned));
    }
    Ok(names)
}

fn families(dir: &Path, database: &rocksdb::Options) -> Result<Vec<String>, OpenError> {
    Db::list_cf(database, db_dir(dir)).map_err(|error| match classify(dir, error) {
        // `list_cf` reads the manifest and nothing else, but does not say so.
        OpenError::Damaged { dir, what } if !what.contains("MANIFEST") => {
            OpenError::Damaged { dir, what: format!("file `db/MANIFEST-...`: {what}") }
        }
        error => error,
    })
}

/// What an error at opening means, once the manifest is read.
fn classify_open(dir: &Path, error: rocksdb::Error) -> OpenError {
    match classify(dir, error) {
        // Of the write-ahead log RocksDB does not say that it was reading it.
        OpenError::Damaged { dir, what } if !["MANIFEST", ".sst", ".blob", ".log"].iter().any(|f| what.contains(f)) => {
            let files: Vec<String> = write_ahead_logs(&dir).unwrap_or_default().into_iter().collect();
            OpenError::Damaged { what: format!("{what} in its write-ahead log, db/{}", files.join(", db/")), dir }
        }
        error => error,
    }
}

/// What RocksDB's error at opening means for the user.
fn classify(dir: &Path, error: rocksdb::Error) -> OpenError {
    let dir = dir.to_owned();
    let text = error.to_string();
    if text.contains("While lock file") {
        // The lock was not got, so looking at it drops nothing.
        let owner = lock_holder(&dir).ok().flatten().unwrap_or(Owner::Unknown);
        return OpenError::Owned { dir, owner };
    }
    if is_full(&error) {
        return OpenError::Full { dir, source: error.into() };
    }
    if is_read_only(&error) {
        return OpenError::ReadOnly { dir, source: error.into() };
    }
    if text.contains("Permission denied") {
        return OpenError::NoAccess { dir, tried: "written", source: error.into() };
    }
    if error.kind() == ErrorKind::Corruption || is_missing(&error) {
        return OpenError::Damaged { dir, what: text };
    }
    OpenError::Failed { dir, source: error.into() }
}

/// Whether there is no room, or no more of it for this user or file.
pub(super) fn is_full(error: &rocksdb::Error) -> bool {
    let text = error.as_ref();
    ["No space left on device", "Disk quota exceeded", "File too large"].iter().any(|full| text.contains(full))
}

/// Whether the file system takes no writes.
pub(super) fn is_read_only(error: &rocksdb::Error) -> bool {
    error.as_ref().contains("Read-only file system")
}

/// Whether a file is not there that must be.
pub(super) fn is_missing(error: &rocksdb::Error) -> bool {
    error.kind() == ErrorKind::IOError && error.as_ref().contains("No such file or directory")
}

fn damaged(dir: &Path, what: &str) -> OpenError {
    OpenError::Damaged { dir: dir.to_owned(), what: what.to_owned() }
}

fn no_access(dir: &Path, tried: &'static str, error: io::Error) -> OpenError {
    OpenError::NoAccess { dir: dir.to_owned(), tried, source: error.into() }
}

pub(super) fn not_for_this_user(dir: &Path, error: io::Error) -> OpenError {
    OpenError::NotForThisUser { dir: dir.to_owned(), source: error }
}

pub(super) fn io_error(dir: &Path, tried: &'static str, error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            OpenError::Full { dir: dir.to_owned(), source: error.into() }
        }
        io::ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { dir: dir.to_owned(), source: error.into() },
        _ => no_access(dir, tried, error),
    }
}
