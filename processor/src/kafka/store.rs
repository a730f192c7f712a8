//! The local store of one partition: a cache of its changelog.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, ErrorKind, Options, WriteBatch};
use serde::{Deserialize, Serialize};

use crate::backend::{BackendError, Partition};

/// The layout of the directories this version writes. A newer one is refused.
const FORMAT_VERSION: u32 = 1;

/// A store that was not written for longer may have missed removals: the changelog forgets that a key was removed after
/// `delete.retention.ms`, 7 days in topics that Tripline creates.
const STALE: Duration = Duration::from_secs(5 * 86_400);

const STATE: &str = "state";
const META: &str = "meta";
const IDENTITY: &[u8] = b"identity";
const PROGRESS: &[u8] = b"progress";

/// Committed state of one partition on disk.
///
/// Written only after the transaction that holds the same changes has committed, each time in one write batch with the
/// changelog offset it corresponds to. The write-ahead log is not synced: after a power failure the store is some
/// batches behind, and the changelog has them.
pub(super) struct PartitionStore {
    db: DB,
    path: PathBuf,
    progress: Progress,
}

/// Whose state a directory holds. A directory of somebody else's is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub format_version: u32,
    pub cluster_id: String,
    pub application_id: String,
    pub input_topic: String,
    pub changelog_topic: String,
    pub partition: Partition,
}

/// How far a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The changelog offset up to which (exclusive) the store holds everything.
    pub changelog_offset: u64,
    /// The input position of the last commit that changed this partition's state. Never behind it, never after the
    /// committed one.
    pub input_next: u64,
    /// When this was written, in milliseconds since 1970. Only to notice a store that is too old to be caught up.
    applied_ms: u64,
}

/// A key and its new value; `None` removes it.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Why a store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("the local store `{}` does not work", path.display())]
pub(super) struct StoreError {
    path: PathBuf,
    source: rocksdb::Error,
}

impl StoreError {
    /// The files are damaged, as opposed to a full disk or missing rights.
    pub(super) fn is_damage(&self) -> bool {
        // A file that the database should have is an I/O error to RocksDB. The directory itself is made when it is opened.
        let file_is_missing = || self.source.to_string().contains("No such file or directory");
        match self.source.kind() {
            ErrorKind::Corruption => true,
            ErrorKind::IOError => file_is_missing(),
            _ => false,
        }
    }
}

impl From<StoreError> for BackendError {
    /// A full disk is emptied, a damaged store is rebuilt: in both cases recovery finds the way.
    fn from(error: StoreError) -> BackendError {
        let what = format!("{error}; is the disk full, or not writable?");
        BackendError::Retry { what, source: Some(Box::new(error.source)) }
    }
}

impl PartitionStore {
    /// Opens the partition's store below `directory`. One that is damaged, another's or too old is put aside, and an
    /// empty one takes its place; the changelog then fills it. One of a newer version is refused.
    pub(super) fn open(directory: &Path, identity: &Identity) -> Result<PartitionStore, BackendError> {
        let path = directory.join(identity.partition.to_string());
        let why = match PartitionStore::open_at(&path) {
            Err(error) if !error.is_damage() => return Err(error.into()),
            Err(error) => format!("it is damaged: {}", error.source),
            Ok(store) => match store.examine(identity)? {
                None => return Ok(store),
                Some(why) => why,
            },
        };
        tracing::warn!(path = %path.display(), why, "a local store is put aside and rebuilt from the changelog");
        PartitionStore::quarantine(directory, identity.partition)?;
        let store = PartitionStore::open_at(&path)?;
        match store.examine(identity)? {
            None => Ok(store),
            Some(why) => Err(BackendError::Fatal {
                what: format!("the new local store `{}` can't be used: {why}", path.display()),
                source: None,
            }),
        }
    }

    /// Puts a store aside, as `PARTITION.damaged`, so that somebody can look at it. The one before goes.
    pub(super) fn quarantine(directory: &Path, partition: Partition) -> Result<(), BackendError> {
        let path = directory.join(partition.to_string());
        let aside = directory.join(format!("{partition}.damaged"));
        let moved = match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(&path, &aside),
        };
        moved.map_err(|error| BackendError::Fatal {
            what: format!("the damaged local store `{}` can't be put aside; delete it", path.display()),
            source: Some(error.into()),
        })
    }

    fn open_at(path: &Path) -> Result<PartitionStore, StoreError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // One database per partition, so each is kept small; see also the write-ahead log below.
        options.set_max_total_wal_size(64 * 1024 * 1024);
        options.set_keep_log_file_num(2);
        let mut state = Options::default();
        state.set_write_buffer_size(16 * 1024 * 1024);
        state.set_compression_type(rocksdb::DBCompressionType::Lz4);
        let mut meta = Options::default();
        meta.set_write_buffer_size(1024 * 1024);
        let families = [ColumnFamilyDescriptor::new(STATE, state), ColumnFamilyDescriptor::new(META, meta)];
        let failed = |source| StoreError { path: path.to_owned(), source };
        let db = DB::open_cf_descriptors(&options, path, families).map_err(failed)?;
        let mut store = PartitionStore { db, path: path.to_owned(), progress: Progress::default() };
        if let Some(bytes) = store.meta(PROGRESS)? {
            // Unreadable progress is found again, with the reason, when the identity is examined.
            store.progress = serde_json::from_slice(&bytes).unwrap_or_default();
        }
        Ok(store)
    }

    /// Why the store can't be used as it is; None when it can. A new one is given its identity.
    fn examine(&self, identity: &Identity) -> Result<Option<String>, BackendError> {
        let Some(bytes) = self.meta(IDENTITY)? else {
            if self.meta(PROGRESS)?.is_some() {
                return Ok(Some("it does not say whose it is".to_owned()));
            }
            let bytes = serde_json::to_vec(identity).expect("an identity is plain data");
            self.db.put_cf(self.family(META), IDENTITY, bytes).map_err(|source| self.failed(source))?;
            return Ok(None);
        };
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let version = serde_json::from_slice::<Version>(&bytes).map(|version| version.format_version);
        if version.as_ref().is_ok_and(|version| *version > FORMAT_VERSION) {
            return Err(BackendError::Fatal {
                what: format!(
                    "the local store `{}` was written by a newer version of Tripline; use that version, or delete the \
                     directory to have it rebuilt from the changelog",
                    self.path.display()
                ),
                source: None,
            });
        }
        Ok(match serde_json::from_slice::<Identity>(&bytes) {
            Ok(found) if found != *identity => Some(format!("it belongs to {found:?}")),
            Ok(_) if self.is_stale() => Some("it was not written for days".to_owned()),
            Ok(_) => None,
            Err(error) => Some(format!("it does not say whose it is: {error}")),
        })
    }

    fn is_stale(&self) -> bool {
        self.progress.changelog_offset > 0
            && Duration::from_millis(now_ms().saturating_sub(self.progress.applied_ms)) > STALE
    }

    /// How far the store is.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(STATE), key).map_err(|source| self.failed(source))
    }

    /// Applies changes that the changelog holds up to `changelog_offset`, all or none.
    pub(super) fn apply(
        &mut self,
        changes: impl IntoIterator<Item = Change>,
        changelog_offset: u64,
        input_next: u64,
    ) -> Result<(), StoreError> {
        let progress = Progress {
            changelog_offset: changelog_offset.max(self.progress.changelog_offset),
            input_next: input_next.max(self.progress.input_next),
            applied_ms: now_ms(),
        };
        let mut batch = WriteBatch::default();
        let state = self.family(STATE);
        for (key, value) in changes {
            match value {
                Some(value) => batch.put_cf(state, key, value),
                None => batch.delete_cf(state, key),
            }
        }
        batch.put_cf(self.family(META), PROGRESS, serde_json::to_vec(&progress).expect("progress is plain data"));
        self.db.write(batch).map_err(|source| self.failed(source))?;
        self.progress = progress;
        Ok(())
    }

    fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(META), key).map_err(|source| self.failed(source))
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("both families are opened with the database")
    }

    fn failed(&self, source: rocksdb::Error) -> StoreError {
        StoreError { path: self.path.clone(), source }
    }
}

impl Identity {
    /// Whose state a store of this version holds.
    pub(super) fn new(
        cluster_id: &str,
        application_id: &str,
        input_topic: &str,
        changelog_topic: &str,
        partition: Partition,
    ) -> Identity {
        Identity {
            format_version: FORMAT_VERSION,
            cluster_id: cluster_id.to_owned(),
            application_id: application_id.to_owned(),
            input_topic: input_topic.to_owned(),
            changelog_topic: changelog_topic.to_owned(),
            partition,
        }
    }
}

fn now_ms() -> u64 {
    u64::try_from(tripline_faults::now().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(partition: Partition) -> Identity {
        Identity::new("cluster", "app", "in", "changelog", partition)
    }

    fn change(key: &str, value: Option<&str>) -> Change {
        (key.into(), value.map(Into::into))
    }

    fn filled(directory: &Path) {
        let mut store = PartitionStore::open(directory, &identity(0)).unwrap();
        store.apply([change("a", Some("1")), change("b", Some("2"))], 10, 5).unwrap();
        store.apply([change("b", None)], 12, 7).unwrap();
    }

    #[test]
    fn changes_and_progress_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let store = PartitionStore::open(directory.path(), &identity(0)).unwrap();
        assert_eq!(store.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(store.get(b"b").unwrap(), None);
        assert_eq!((store.progress().changelog_offset, store.progress().input_next), (12, 7));
    }

    #[test]
    fn another_partitions_directory_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        fs::rename(directory.path().join("0"), directory.path().join("1")).unwrap();
        let store = PartitionStore::open(directory.path(), &identity(1)).unwrap();
        assert_eq!((store.get(b"a").unwrap(), store.progress().changelog_offset), (None, 0));
        assert!(directory.path().join("1.damaged").is_dir());
    }

    #[test]
    fn a_damaged_store_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        fs::write(directory.path().join("0/CURRENT"), "MANIFEST-999999\n").unwrap();
        match PartitionStore::open(directory.path(), &identity(0)) {
            Ok(store) => assert_eq!((store.get(b"a").unwrap(), store.progress().changelog_offset), (None, 0)),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_newer_versions_store_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let newer = Identity { format_version: FORMAT_VERSION + 1, ..identity(0) };
        drop(PartitionStore::open(directory.path(), &newer).unwrap());
        let refused = PartitionStore::open(directory.path(), &identity(0)).err().expect("refused");
        assert!(matches!(refused, BackendError::Fatal { .. }), "{refused:?}");
        assert!(refused.to_string().contains("newer version"), "{refused}");
    }

    #[test]
    fn a_stale_store_is_rebuilt() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = PartitionStore::open(directory.path(), &identity(0)).unwrap();
        store.apply([change("a", Some("1"))], 10, 5).unwrap();
        let old = Progress { applied_ms: now_ms() - 2 * STALE.as_millis() as u64, ..store.progress() };
        store.db.put_cf(store.family(META), PROGRESS, serde_json::to_vec(&old).unwrap()).unwrap();
        drop(store);
        let store = PartitionStore::open(directory.path(), &identity(0)).unwrap();
        assert_eq!((store.get(b"a").unwrap(), store.progress().changelog_offset), (None, 0));
    }
}
