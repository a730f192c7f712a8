//! The embedded log: topics, state and positions in one RocksDB, for one machine.
//!
//! One process owns a data directory and opens it as an [`EmbeddedLog`]. Other processes of the machine read it as a
//! [`LocalLog`]: through the owner's socket ([`serve`]), or directly when there is no owner.
//!
//! * [`EmbeddedLog::append`] returns when the records are synced; many appenders share one sync.
//! * [`EmbeddedLog::commit`] writes outputs, state and positions atomically, and does not wait for the sync: after a
//!   power failure the lost end of the log is computed again from what is left, since batches are lost from the last one
//!   backwards.
//! * Readers see synced records only. So what a reader has seen stays, at its offset.
//!
//! Files, in reading order: `layout` and `codec` (what lies on disk), `open`, `manifest`, `store` (reading), `write` (offsets and
//! syncing), `reader`, `retention`, and for other processes `protocol`, `server`, `place`, `local`.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, RwLock},
    thread::JoinHandle,
};

use jiff::Timestamp;
use rocksdb::WriteBatch;
use tripline_faults::{Point, point};
use tripline_schemas::{Record, partition::partition_for};

use crate::{
    LogError,
    topics::{Cleanup, TopicSpec},
};
use layout::RecordHead;
use store::Store;
use topic::Topic;
use write::{Prepared, Writer};

mod backup;
mod codec;
mod layout;
mod local;
mod manifest;
mod open;
mod options;
mod place;
mod protocol;
mod reader;
mod rebuild;
mod retention;
mod server;
mod store;
mod topic;
mod verify;
mod write;

pub use backup::back_up;
pub use local::{LocalLog, LocalPublisher, LocalReader, LocalState, open_for_reading};
pub use open::{FORMAT_VERSION, OpenError, Owner};
pub use options::EmbeddedOptions;
pub use reader::{EmbeddedPublisher, EmbeddedReader};
pub use server::{Guests, ServerHandle, let_pass, serve, socket_path};
pub use store::{StateEntry, StateIter};
pub use verify::{Check, Damage, DamagedPlace, EachValue, verify};

/// A topic has at most this many partitions.
pub const PARTITIONS_MAX: u32 = 1024;

/// The log of a data directory, opened by its owner. Cheap to clone; all clones are one log. The directory is given up
/// when the last clone, reader and publisher are dropped.
#[derive(Clone)]
pub struct EmbeddedLog {
    /// After all clones are gone, the sync thread ends and lets go of its part too.
    owner: Arc<OwnerThread>,
}

/// What the sync thread and the handles share.
struct Shared {
    store: Store,
    topics: RwLock<BTreeMap<String, Arc<Topic>>>,
    writer: Writer,
    options: EmbeddedOptions,
    /// Creating topics and dropping records, one at a time.
    maintenance: Mutex<retention::Progress>,
}

struct OwnerThread {
    shared: Arc<Shared>,
    sync: Option<JoinHandle<()>>,
}

/// What [`EmbeddedLog::commit`] makes durable together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Records to append, in order, each to a given partition.
    pub outputs: Vec<Output>,
    /// State values to write or remove, in order.
    pub state: Vec<StateChange>,
    /// Input positions to save.
    pub positions: Vec<Position>,
}

/// A record for a given partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The topic; it must exist.
    pub topic: String,
    /// Which of its partitions.
    pub partition: u32,
    /// The record.
    pub record: Record,
}

/// A state value to write or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Whose state.
    pub partition: u32,
    /// The key within the partition.
    pub key: Vec<u8>,
    /// The value; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

/// The next offset that a group will process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Who reads, and what: one name stands for one reader of one topic.
    pub group: String,
    /// The partition it reads.
    pub partition: u32,
    /// The first offset not yet processed.
    pub offset: u64,
}

impl EmbeddedLog {
    /// Opens the log in a directory, which is made when missing.
    pub fn open(dir: &Path, options: EmbeddedOptions) -> Result<EmbeddedLog, OpenError> {
        let store = open::open_owned(dir, &options, open::Files::Whole)?;
        backup::remove_leftovers(dir).map_err(|error| open::io_error(dir, "cleared", error))?;
        let failed = |error: LogError| OpenError::Failed { dir: dir.to_owned(), source: error.into() };
        let mut topics = BTreeMap::new();
        let mut tails = HashMap::new();
        for (topic, topic_tails) in store.topics().map_err(failed)? {
            tails.insert(topic.name.clone(), topic_tails);
            topics.insert(topic.name.clone(), Arc::new(topic));
        }
        let shared = Arc::new(Shared {
            writer: Writer::new(tails, &options),
            store,
            topics: RwLock::new(topics),
            options,
            maintenance: Mutex::default(),
        });
        let sync = std::thread::Builder::new().name("log-sync".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.writer.sync_loop(&shared.store)
        });
        let sync = sync.map_err(|error| OpenError::Failed { dir: dir.to_owned(), source: error.into() })?;
        Ok(EmbeddedLog { owner: Arc::new(OwnerThread { shared, sync: Some(sync) }) })
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.shared().store.dir
    }

    /// The topics that exist, by name.
    pub fn topics(&self) -> Vec<TopicSpec> {
        let topics = self.shared().topics.read().expect("not poisoned: nothing panics while it is held");
        topics.values().map(|topic| topic.spec()).collect()
    }

    /// Creates the topics that do not exist yet. Another partition count than an existing topic has is refused; its
    /// other settings are taken over. All are checked before any is made.
    pub fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        let shared = self.shared();
        let _one_at_a_time = shared.maintenance();
        shared.writer.check(&shared.store)?;
        for spec in specs {
            check_spec(spec)?;
            if let Ok(topic) = shared.topic(&spec.name) {
                check_partition_count(&topic, spec)?;
            }
        }
        for spec in specs {
            match shared.topic(&spec.name) {
                Ok(topic) if topic.spec() == *spec => {}
                Ok(topic) => {
                    shared.write_topic(spec)?;
                    topic.set_spec(spec.clone());
                }
                Err(_) => shared.make_topic(spec)?,
            }
        }
        Ok(())
    }

    /// Appends records, each to the partition of its key (0 without one), all or none, and returns when they are
    /// durable: partition and offset of each.
    pub fn append(&self, topic: &str, records: &[Record]) -> Result<Vec<(u32, u64)>, LogError> {
        let shared = self.shared();
        let topic = shared.topic(topic)?;
        let prepared: Result<Vec<_>, LogError> = records
            .iter()
            .map(|record| {
                let partition = record.key.as_deref().map_or(0, |key| partition_for(key, topic.partitions()));
                prepare(&topic, partition, record)
            })
            .collect();
        let prepared = prepared?;
        if prepared.is_empty() {
            return Ok(Vec::new());
        }
        let (placed, ticket) = shared.writer.write(&shared.store, prepared, WriteBatch::default(), true)?;
        shared.writer.wait_synced(&shared.store, ticket)?;
        point(Point::AppendAcknowledged);
        Ok(placed)
    }

    /// Writes the batch atomically. State and positions are seen by the next call; readers see the outputs as soon as
    /// they are durable, a few milliseconds later. A batch never outlives one that was committed before it.
    pub fn commit(&self, batch: Batch) -> Result<(), LogError> {
        let shared = self.shared();
        let prepared: Result<Vec<_>, LogError> = batch
            .outputs
            .iter()
            .map(|output| prepare(&shared.topic(&output.topic)?, output.partition, &output.record))
            .collect();
        let mut write = WriteBatch::default();
        let state = shared.store.family(layout::STATE)?;
        for StateChange { partition, key, value } in &batch.state {
            let key = layout::state_key(*partition, key);
            match value {
                Some(value) => write.put_cf(&state, key, value),
                None => write.delete_cf(&state, key),
            }
        }
        for Position { group, partition, offset } in &batch.positions {
            write.put(layout::position_key(group, *partition), offset.to_be_bytes());
        }
        let prepared = prepared?;
        if prepared.is_empty() && write.is_empty() {
            return Ok(());
        }
        shared.writer.write(&shared.store, prepared, write, false)?;
        Ok(())
    }

    /// Returns when everything written so far is durable.
    pub fn sync(&self) -> Result<(), LogError> {
        let shared = self.shared();
        shared.writer.wait_synced(&shared.store, shared.writer.hurry())
    }

    /// A state value.
    pub fn state_get(&self, partition: u32, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        self.shared().store.state_get(partition, key)
    }

    /// All state of a partition in key order, as it is at this moment.
    pub fn state_iter(&self, partition: u32) -> Result<StateIter<'_>, LogError> {
        self.shared().store.state_iter(partition)
    }

    /// The saved position of a group: the first offset it has not processed; `None` when it never saved one.
    pub fn position(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError> {
        self.shared().store.position(group, partition)
    }

    /// The append time of the log's last record; `None` when it never had one.
    pub fn last_append_time(&self) -> Option<Timestamp> {
        self.shared().writer.last_append_time()
    }

    /// A reader of a topic.
    pub fn reader(&self, topic: &str) -> Result<EmbeddedReader, LogError> {
        Ok(EmbeddedReader::new(self.clone(), self.shared().topic(topic)?))
    }

    /// A publisher.
    pub fn publisher(&self) -> EmbeddedPublisher {
        EmbeddedPublisher::new(self.clone())
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }
}

impl std::fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedLog").field("dir", &self.dir()).finish_non_exhaustive()
    }
}

impl Drop for OwnerThread {
    fn drop(&mut self) {
        self.shared.writer.stop();
        if let Some(sync) = self.sync.take() {
            // It has nothing to say that a failed write would not have said already.
            let _ = sync.join();
        }
    }
}

impl Shared {
    fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        let topics = self.topics.read().expect("not poisoned: nothing panics while it is held");
        topics.get(name).cloned().ok_or_else(|| LogError::NoTopic { topic: name.to_owned() })
    }

    fn make_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let family = layout::topic_cf(&spec.name);
        // It is there already, and empty, when a crash came between the two steps.
        if self.store.db.cf_handle(&family).is_none() {
            let made = self.store.db.create_cf(&family, &self.options.family(&family, &self.store.cache));
            made.map_err(|error| self.store.error(&format!("make topic `{}`", spec.name), error))?;
        }
        point(Point::TopicFamilyMade);
        self.write_topic(spec)?;
        point(Point::TopicSaved);
        self.writer.add_topic(&spec.name, spec.partitions);
        let bounds = vec![crate::Bounds { first: 0, end: 0 }; spec.partitions as usize];
        let topic = Arc::new(Topic::new(spec.clone(), bounds));
        let mut topics = self.topics.write().expect("not poisoned: nothing panics while it is held");
        topics.insert(spec.name.clone(), topic);
        Ok(())
    }

    fn write_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        batch.put(layout::topic_key(&spec.name), layout::topic_value(spec));
        self.write_now(batch, &format!("save topic `{}`", spec.name))
    }

    /// Writes and syncs what has no part in the order of records.
    fn write_now(&self, batch: WriteBatch, doing: &str) -> Result<(), LogError> {
        self.store.write(batch, true).map_err(|error| self.store.write_error(doing, error))
    }

    fn maintenance(&self) -> std::sync::MutexGuard<'_, retention::Progress> {
        self.maintenance.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) // Nothing but hints.
    }
}

fn prepare(topic: &Arc<Topic>, partition: u32, record: &Record) -> Result<Prepared, LogError> {
    store::check_partition(topic, partition)?;
    let spec = topic.spec();
    let (size, max) = (codec::size(record), spec.record_bytes_max);
    if size > max {
        return Err(LogError::TooLarge { topic: topic.name.clone(), size, max });
    }
    if record.key.is_none() && spec.cleanup == Cleanup::Compact {
        let what = format!("`{}` keeps the last record of each key: a record without a key has no place", topic.name);
        return Err(LogError::Failed { what, source: None });
    }
    let mut value = vec![0; RecordHead::SIZE];
    codec::encode(record, &mut value);
    Ok(Prepared { topic: Arc::clone(topic), partition, value })
}

fn check_spec(spec: &TopicSpec) -> Result<(), LogError> {
    let refuse = |what: String| Err(LogError::Failed { what, source: None });
    let name = &spec.name;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 || !name.chars().all(fits) {
        return refuse(format!("`{name}` can't be a topic's name: use 1 to 249 letters, digits, `.`, `_` and `-`"));
    }
    if !(1..=PARTITIONS_MAX).contains(&spec.partitions) {
        return refuse(format!("`{name}` can't have {} partitions: use 1 to {PARTITIONS_MAX}", spec.partitions));
    }
    Ok(())
}

fn check_partition_count(topic: &Topic, spec: &TopicSpec) -> Result<(), LogError> {
    let (has, wanted) = (topic.partitions(), spec.partitions);
    if has == wanted {
        return Ok(());
    }
    let name = &topic.name;
    let what = format!(
        "`{name}` has {has} partitions, not {wanted}: the count is fixed for life, since keys would change their \
         partition; set it to {has}, or use another data directory"
    );
    Err(LogError::Failed { what, source: None })
}
