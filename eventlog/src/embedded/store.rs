//! Reading the database: records, state, positions. The same for the owner and for a process that reads a directory
//! which nobody owns.

use std::{
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rocksdb::{
    BoundColumnFamily, Cache, DBIteratorWithThreadMode, DBWithThreadMode, Direction, ErrorKind, IteratorMode,
    MultiThreaded, PrefixRange, ReadOptions, WriteBatch, WriteOptions,
    properties::{self, PropName},
};

use super::{
    codec,
    layout::{self, Kept, RecordHead, Tail},
    open::{Claim, MEND, MOUNT, is_full, is_missing, is_read_only},
    rebuild,
    topic::Topic,
};
use crate::{
    Bounds, LogError, Stored,
    topics::{Cleanup, TopicSpec},
};

pub(super) type Db = DBWithThreadMode<MultiThreaded>;

/// One read hands out about so many bytes of records at most; a single larger record comes alone.
const READ_BYTES: usize = 4 << 20;

/// How soon a write that RocksDB does not take yet is tried again.
const WRITE_AGAIN: Duration = Duration::from_millis(1);

/// Writes that wait while nothing works for them, since it failed, are given up after this time.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// A disk with less room than this, in bytes, is what keeps data files from being written.
const NEARLY_FULL: u64 = 32 << 20;

/// Why a batch was not written.
#[derive(Clone, Debug)]
pub(super) enum WriteError {
    /// RocksDB says why.
    RocksDb(rocksdb::Error),
    /// RocksDB can't write data files, and takes no more into memory.
    Stuck,
}

/// An open database.
pub(super) struct Store {
    pub(super) db: Db,
    pub(super) dir: PathBuf,
    pub(super) cache: Cache,
    /// After `db`, so that it is given up last.
    pub(super) _claim: Option<Claim>,
}

impl Store {
    /// The topics with the bounds of their partitions and where their next records go. To be called before anything is
    /// written: everything that opening recovered is durable.
    pub(super) fn topics(&self) -> Result<Vec<(Topic, Vec<Tail>)>, LogError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(layout::TOPIC_PREFIX));
        let mut topics = Vec::new();
        for item in self.db.iterator_opt(IteratorMode::Start, options) {
            let (key, value) = item.map_err(|error| self.error("read the topics", error))?;
            let spec = layout::topic_from_value(&value).ok_or_else(|| {
                self.damage(format!("the settings of topic `{}` can't be read", String::from_utf8_lossy(&key[1..])))
            })?;
            let mut bounds = Vec::new();
            let mut tails = Vec::new();
            for partition in 0..spec.partitions {
                let kept = self.kept(&spec, partition)?;
                bounds.push(Bounds { first: kept.first, end: kept.tail.next });
                tails.push(kept.tail);
            }
            topics.push((Topic::new(spec, bounds), tails));
        }
        Ok(topics)
    }

    /// First offset and tail of a partition: from its last record, or from what retention left behind.
    fn kept(&self, spec: &TopicSpec, partition: u32) -> Result<Kept, LogError> {
        let doing = || format!("read the bounds of `{}` partition {partition}", spec.name);
        let stored = self.db.get(layout::kept_key(&spec.name, partition));
        let mut kept = match stored.map_err(|error| self.error(&doing(), error))? {
            Some(bytes) => Kept::from_bytes(&bytes)
                .ok_or_else(|| self.damage(format!("the bounds of `{}` partition {partition}", spec.name)))?,
            None => Kept::default(),
        };
        let family = self.family(&layout::topic_cf(&spec.name))?;
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(partition.to_be_bytes()));
        if let Some(item) = self.db.iterator_cf_opt(&family, options, IteratorMode::End).next() {
            let (key, value) = item.map_err(|error| self.error(&doing(), error))?;
            let read = layout::record_offset(&key).zip(RecordHead::split(&value));
            let (offset, (head, record)) =
                read.ok_or_else(|| self.damage(format!("the last record of `{}` partition {partition}", spec.name)))?;
            if offset >= kept.tail.next {
                let bytes = head.bytes_before + record.len() as u64;
                kept.tail = Tail { next: offset + 1, time_ms: head.time_ms, bytes };
            }
        }
        Ok(kept)
    }

    /// Records of a partition from an offset on, at most `max`, and about [`READ_BYTES`] with those already there.
    /// Returns the next offset to read: behind the last record, or the end.
    fn scan(
        &self,
        topic: &Topic,
        partition: u32,
        (from, end): (u64, u64),
        max: usize,
        (out, out_bytes): (&mut Vec<Stored>, &mut usize),
    ) -> Result<u64, LogError> {
        let family = self.family(&topic.family)?;
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(layout::record_key(partition, from));
        options.set_iterate_upper_bound(layout::record_key(partition, end));
        let has_gaps = topic.spec().cleanup == Cleanup::Compact;
        let mut next = from;
        for item in self.db.iterator_cf_opt(&family, options, IteratorMode::Start) {
            let record = || format!("record {next} of `{}` partition {partition}", topic.name);
            let item = item.map_err(|error| self.error(&format!("read {}", record()), error));
            let stored = item.and_then(|(key, value)| {
                let stored = read_record(partition, &key, &value).ok_or_else(|| self.damage(record()))?;
                Ok((stored, value.len()))
            });
            let (stored, size) = match stored {
                Ok(stored) => stored,
                // What lies before a damaged record is handed out first.
                Err(_) if !out.is_empty() => return Ok(next),
                Err(error) => return Err(error),
            };
            if stored.offset != next && !has_gaps {
                // Dropped by retention meanwhile, or lost.
                check_offset(topic, partition, next, topic.bounds(partition))?;
                let missing = || self.missing(topic, partition, next, stored.offset);
                return if out.is_empty() { Err(missing()) } else { Ok(next) };
            }
            next = stored.offset + 1;
            if out.len() >= max || (!out.is_empty() && *out_bytes + size > READ_BYTES) {
                return Ok(stored.offset);
            }
            *out_bytes += size;
            out.push(stored);
        }
        if next < end && !has_gaps && out.is_empty() {
            check_offset(topic, partition, next, topic.bounds(partition))?;
            return Err(self.missing(topic, partition, next, end));
        }
        Ok(if has_gaps { end } else { next })
    }

    /// The damage of records that are not there, from `first` to before `end`.
    fn missing(&self, topic: &Topic, partition: u32, first: u64, end: u64) -> LogError {
        let last = end - 1;
        self.damage(format!("records {first} to {last} of `{}` partition {partition} are missing", topic.name))
    }

    /// The next records of several partitions, each from the given offset on, which is moved behind them.
    pub(super) fn read(
        &self,
        topic: &Topic,
        positions: &mut [(u32, u64)],
        max: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let mut out = Vec::new();
        let mut out_bytes = 0;
        for (partition, offset) in positions {
            check_partition(topic, *partition)?;
            let bounds = topic.bounds(*partition);
            check_offset(topic, *partition, *offset, bounds)?;
            if *offset == bounds.end || out.len() >= max || out_bytes >= READ_BYTES {
                continue;
            }
            let before = out.len();
            let next = self.scan(topic, *partition, (*offset, bounds.end), max, (&mut out, &mut out_bytes))?;
            if out.get(before).is_none_or(|stored| stored.offset != *offset) {
                // Retention may have come between the bounds and the records.
                check_offset(topic, *partition, *offset, topic.bounds(*partition))?;
            }
            *offset = next;
        }
        Ok(out)
    }

    /// The first offset within the bounds whose record answers `true`; the end when none does. Records that answer `true`
    /// must all lie behind those that answer `false`.
    pub(super) fn search(
        &self,
        topic: &Topic,
        partition: u32,
        bounds: Bounds,
        answer: impl Fn(RecordHead) -> bool,
    ) -> Result<u64, LogError> {
        let family = self.family(&topic.family)?;
        let (mut low, mut high) = (bounds.first, bounds.end);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            options.set_iterate_upper_bound(layout::record_key(partition, high));
            let from = layout::record_key(partition, middle);
            let mode = IteratorMode::From(&from, Direction::Forward);
            // A compacted topic has gaps: the next record answers for them.
            match self.db.iterator_cf_opt(&family, options, mode).next() {
                None => high = middle,
                Some(item) => {
                    let doing = || format!("search `{}` partition {partition}", topic.name);
                    let (key, value) = item.map_err(|error| self.error(&doing(), error))?;
                    let (offset, (head, _)) = layout::record_offset(&key)
                        .zip(RecordHead::split(&value))
                        .ok_or_else(|| self.damage(format!("a record of `{}` partition {partition}", topic.name)))?;
                    if answer(head) {
                        high = middle;
                    } else {
                        low = offset + 1;
                    }
                }
            }
        }
        Ok(low)
    }

    /// What stands before the first record within the bounds.
    pub(super) fn head(&self, topic: &Topic, partition: u32, bounds: Bounds) -> Result<Option<RecordHead>, LogError> {
        let family = self.family(&topic.family)?;
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_lower_bound(layout::record_key(partition, bounds.first));
        options.set_iterate_upper_bound(layout::record_key(partition, bounds.end));
        let Some(item) = self.db.iterator_cf_opt(&family, options, IteratorMode::Start).next() else {
            return Ok(None);
        };
        let (_, value) =
            item.map_err(|error| self.error(&format!("read `{}` partition {partition}", topic.name), error))?;
        Ok(RecordHead::split(&value).map(|(head, _)| head))
    }

    /// The first offset whose append time is not before `time`.
    pub(super) fn offset_at(&self, topic: &Topic, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        check_partition(topic, partition)?;
        let bounds = topic.bounds(partition);
        self.search(topic, partition, bounds, |head| head.append_time().is_some_and(|append| append >= time))
    }

    pub(super) fn state_get(&self, partition: u32, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        let family = self.state_family()?;
        let value = self.db.get_cf(&family, layout::state_key(partition, key));
        value.map_err(|error| self.error(&format!("read the state of partition {partition}"), error))
    }

    pub(super) fn state_iter(&self, partition: u32) -> Result<StateIter<'_>, LogError> {
        self.state_after(partition, None)
    }

    /// The state of a partition behind a key.
    pub(super) fn state_after(&self, partition: u32, after: Option<&[u8]>) -> Result<StateIter<'_>, LogError> {
        let family = self.state_family()?;
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(partition.to_be_bytes()));
        if let Some(after) = after {
            let mut next = layout::state_key(partition, after);
            next.push(0); // The smallest key that is larger.
            options.set_iterate_lower_bound(next);
        }
        let entries = self.db.iterator_cf_opt(&family, options, IteratorMode::Start);
        Ok(StateIter { store: self, partition, entries })
    }

    pub(super) fn position(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError> {
        self.offset(&layout::position_key(group, partition), group)
    }

    /// See [`EmbeddedLog::told`](super::EmbeddedLog::told).
    pub(super) fn told(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError> {
        self.offset(&layout::told_key(group, partition), group)
    }

    fn offset(&self, key: &[u8], group: &str) -> Result<Option<u64>, LogError> {
        let value = self.db.get(key);
        let value = value.map_err(|error| self.error(&format!("read the position of `{group}`"), error))?;
        let read = value.map(|bytes| {
            let bytes = bytes.try_into().map_err(|_| self.damage(format!("the position of `{group}`")))?;
            Ok(u64::from_be_bytes(bytes))
        });
        read.transpose()
    }

    fn state_family(&self) -> Result<Arc<BoundColumnFamily<'_>>, LogError> {
        if self.db.cf_handle(layout::STATE).is_none() && rebuild::is_under_way(self)? {
            let what = format!(
                "a rebuild of the state in `{}` was cut off; `tripline state rebuild` or the next start goes on with it",
                self.dir.display()
            );
            return Err(LogError::Failed { what, source: None });
        }
        self.family(layout::STATE)
    }

    pub(super) fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>, LogError> {
        self.db.cf_handle(name).ok_or_else(|| self.damage(format!("column family `{name}` is missing")))
    }

    /// Hands a batch to RocksDB, durably when `synced`.
    ///
    /// RocksDB takes no writes while too much waits in memory for data files to be written. That passes; but when they
    /// can't be written, the disk being full, RocksDB would keep its caller waiting for as long as that lasts. So the
    /// waiting is done here.
    pub(super) fn write(&self, batch: WriteBatch, synced: bool) -> Result<(), WriteError> {
        let mut options = WriteOptions::default();
        options.set_sync(synced);
        options.set_no_slowdown(true);
        // RocksDB takes the batch, and gives none back.
        let bytes = batch.data().to_vec();
        let mut batch = batch;
        let mut nothing_runs_since = None;
        loop {
            match self.db.write_opt(batch, &options) {
                Err(error) if error.kind() == ErrorKind::Incomplete => {}
                written => return written.map_err(WriteError::RocksDb),
            }
            if self.number(properties::NUM_RUNNING_FLUSHES) + self.number(properties::NUM_RUNNING_COMPACTIONS) > 0
                || self.number(properties::BACKGROUND_ERRORS) == 0
            {
                nothing_runs_since = None;
            } else if nothing_runs_since.get_or_insert_with(Instant::now).elapsed() > STUCK_AFTER {
                return Err(WriteError::Stuck);
            }
            thread::sleep(WRITE_AGAIN);
            batch = WriteBatch::from_data(&bytes);
        }
    }

    /// One of RocksDB's own numbers; 0 when it does not say.
    fn number(&self, property: &PropName) -> u64 {
        self.db.property_int_value(property).ok().flatten().unwrap_or(0)
    }

    /// What a failed write means for the user. `doing` completes "could not ...".
    pub(super) fn write_error(&self, doing: &str, error: WriteError) -> LogError {
        let dir = self.dir.display();
        match error {
            WriteError::RocksDb(error) => self.error(doing, error),
            WriteError::Stuck if self.is_nearly_full() => LogError::Failed { what: self.full(doing), source: None },
            WriteError::Stuck => LogError::Failed {
                what: format!(
                    "could not {doing}: data files can't be written in `{dir}`, `db/LOG` there says why; mend that and start \
                     again, nothing acknowledged is lost"
                ),
                source: None,
            },
        }
    }

    /// Whether the disk has less room than a data file may need.
    fn is_nearly_full(&self) -> bool {
        rustix::fs::statvfs(&self.dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < NEARLY_FULL)
    }

    fn full(&self, doing: &str) -> String {
        format!(
            "could not {doing}: the disk of `{}` is full; free some space and start again, nothing acknowledged is lost",
            self.dir.display()
        )
    }

    /// What RocksDB's error means for the user. `doing` completes "could not ...".
    pub(super) fn error(&self, doing: &str, error: rocksdb::Error) -> LogError {
        let dir = self.dir.display();
        let what = match error.kind() {
            _ if is_full(&error) => self.full(doing),
            _ if is_read_only(&error) => format!(
                "could not {doing}: the file system of `{dir}` can only be read; {MOUNT}, nothing acknowledged is lost"
            ),
            ErrorKind::Corruption => format!("could not {doing}: the log in `{dir}` is damaged; {MEND}"),
            ErrorKind::IOError if is_missing(&error) => {
                format!("could not {doing}: the log in `{dir}` is damaged, one of its files is missing; {MEND}")
            }
            _ => format!("could not {doing} in `{dir}`"),
        };
        LogError::Failed { what, source: Some(error.into()) }
    }

    pub(super) fn damage(&self, what: String) -> LogError {
        let dir = self.dir.display();
        let what = format!("the log in `{dir}` is damaged: {what}; {MEND}");
        LogError::Failed { what, source: None }
    }
}

/// A key and its value.
pub type StateEntry = (Vec<u8>, Vec<u8>);

/// All state of a partition in key order, as it was when the iterator was made.
pub struct StateIter<'a> {
    store: &'a Store,
    partition: u32,
    entries: DBIteratorWithThreadMode<'a, Db>,
}

impl Iterator for StateIter<'_> {
    type Item = Result<StateEntry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.entries.next()? {
            Ok((key, value)) => Ok((key[4..].to_vec(), value.into_vec())),
            Err(error) => Err(self.store.error(&format!("read the state of partition {}", self.partition), error)),
        })
    }
}

/// Whether the topic has the partition.
pub(super) fn check_partition(topic: &Topic, partition: u32) -> Result<(), LogError> {
    if partition < topic.partitions() {
        return Ok(());
    }
    let (name, count) = (&topic.name, topic.partitions());
    let what = format!("`{name}` has no partition {partition}: it has {count}, numbered from 0");
    Err(LogError::Failed { what, source: None })
}

fn check_offset(topic: &Topic, partition: u32, offset: u64, bounds: Bounds) -> Result<(), LogError> {
    let Bounds { first, end } = bounds;
    if (first..=end).contains(&offset) {
        return Ok(());
    }
    Err(LogError::OutOfRange { topic: topic.name.clone(), partition, offset, first, end })
}

fn read_record(partition: u32, key: &[u8], value: &[u8]) -> Option<Stored> {
    let (head, record) = RecordHead::split(value)?;
    let append_time = head.append_time()?;
    Some(Stored { partition, offset: layout::record_offset(key)?, append_time, record: codec::decode(record)? })
}
