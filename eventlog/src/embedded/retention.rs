//! Dropping old records and giving their disk back.
//!
//! Records of a partition go from the first on: one range deletion, together with the new first offset, in one synced
//! batch. Readers start at the first offset and have an upper bound, so they never walk over deletion marks. Files with
//! nothing but dropped records are unlinked at once; the rest is rewritten without them when enough has gathered.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use rocksdb::{IteratorMode, ReadOptions, WriteBatch};
use tripline_faults::{Point, point};

use super::{
    EmbeddedLog, Shared, codec,
    layout::{self, Kept, RecordHead},
    topic::Topic,
};
use crate::{Bounds, LogError, topics::Cleanup};

/// A tombstone of a compacted topic is kept so long, for readers that have seen the record before it.
const TOMBSTONE_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// A compaction removes so many records with one batch.
const BATCH_RECORDS: usize = 10_000;

/// What earlier calls did, since the log was opened. Hints only.
#[derive(Default)]
pub(super) struct Progress {
    /// Bytes of records dropped, by topic, since its files were last rewritten.
    dropped: BTreeMap<String, u64>,
    /// The end of each partition of a compacted topic when it was last compacted.
    compacted: BTreeMap<(String, u32), u64>,
}

impl EmbeddedLog {
    /// Drops the records that the topics' cleanup does not keep, and gives the disk back. `now` is compared with append
    /// times. A reader that stands before the first kept record gets [`LogError::OutOfRange`] from its next read.
    pub fn enforce_retention(&self, now: Timestamp) -> Result<(), LogError> {
        let shared = self.shared();
        let mut progress = shared.maintenance();
        shared.writer.check(&shared.store)?;
        let topics: Vec<Arc<Topic>> = {
            let topics = shared.topics.read().expect("not poisoned: nothing panics while it is held");
            topics.values().cloned().collect()
        };
        for topic in topics {
            match topic.spec().cleanup {
                Cleanup::Delete { age, bytes } => {
                    // An age that reaches back beyond all time keeps everything.
                    let oldest = now.checked_sub(age).unwrap_or(Timestamp::MIN);
                    for partition in 0..topic.partitions() {
                        let dropped = shared.drop_old(&topic, partition, oldest, bytes)?;
                        *progress.dropped.entry(topic.name.clone()).or_default() += dropped;
                    }
                }
                Cleanup::Compact => {
                    let oldest_tombstone = now.checked_sub(TOMBSTONE_KEPT).unwrap_or(Timestamp::MIN);
                    for partition in 0..topic.partitions() {
                        let compacted = progress.compacted.entry((topic.name.clone(), partition)).or_default();
                        let end = topic.bounds(partition).end;
                        if *compacted == end {
                            continue;
                        }
                        let dropped = shared.compact(&topic, partition, oldest_tombstone)?;
                        *compacted = end;
                        *progress.dropped.entry(topic.name.clone()).or_default() += dropped;
                    }
                }
            }
            let dropped = progress.dropped.entry(topic.name.clone()).or_default();
            if *dropped > 0 && *dropped >= shared.options.rewrite_after_bytes {
                shared.rewrite(&topic)?;
                *dropped = 0;
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Drops the records of a partition that are older than `oldest`, and the oldest of what exceeds `bytes_max`. Returns
    /// how many bytes of records went.
    fn drop_old(
        &self,
        topic: &Topic,
        partition: u32,
        oldest: Timestamp,
        bytes_max: Option<u64>,
    ) -> Result<u64, LogError> {
        let tail = self.writer.tail(topic, partition);
        let bounds = topic.bounds(partition);
        let old = |head: RecordHead| head.append_time().is_some_and(|append| append >= oldest);
        let mut first = self.store.search(topic, partition, bounds, old)?;
        if let Some(bytes_max) = bytes_max {
            let fits = |head: RecordHead| tail.bytes.saturating_sub(head.bytes_before) <= bytes_max;
            first = self.store.search(topic, partition, Bounds { first, end: bounds.end }, fits)?;
        }
        if first == bounds.first {
            return Ok(0);
        }

        let doing = || format!("drop old records of `{}` partition {partition}", topic.name);
        let before = |offset| -> Result<u64, LogError> {
            let at = Bounds { first: offset, end: bounds.end };
            let mut bytes = tail.bytes;
            let head = self.store.head(topic, partition, at)?;
            if let Some(head) = head {
                bytes = head.bytes_before;
            }
            Ok(bytes)
        };
        let dropped = before(first)?.saturating_sub(before(bounds.first)?);

        topic.hide(partition, first);
        point(Point::RetentionHidden);
        let family = self.store.family(&topic.family)?;
        let (from, to) = (layout::record_key(partition, 0), layout::record_key(partition, first));
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(&family, from, to);
        batch.put(layout::kept_key(&topic.name, partition), Kept { first, tail }.to_bytes());
        self.write_now(batch, &doing())?;
        point(Point::RetentionDropped);

        // From offset 0 on, since what unlinking leaves of a file's older versions must stay under the range deletion. The
        // last key is included, unlike above.
        let last = layout::record_key(partition, first - 1);
        let unlinked = self.store.db.delete_file_in_range_cf(&family, from, last);
        unlinked.map_err(|error| self.store.error(&doing(), error))?;
        point(Point::RetentionUnlinked);
        Ok(dropped)
    }

    /// Removes the records of a partition that a later one of the same key replaces, and old tombstones. Returns how many
    /// bytes of records went.
    fn compact(&self, topic: &Topic, partition: u32, oldest_tombstone: Timestamp) -> Result<u64, LogError> {
        let doing = format!("compact `{}` partition {partition}", topic.name);
        let tail = self.writer.tail(topic, partition);
        let bounds = topic.bounds(partition);
        let family = self.store.family(&topic.family)?;
        let mut last: HashMap<Vec<u8>, (u64, u64)> = HashMap::new();
        let mut gone: Vec<u64> = Vec::new();
        let mut dropped = 0;

        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_lower_bound(layout::record_key(partition, bounds.first));
        options.set_iterate_upper_bound(layout::record_key(partition, bounds.end));
        for item in self.store.db.iterator_cf_opt(&family, options, IteratorMode::Start) {
            let (key, value) = item.map_err(|error| self.store.error(&doing, error))?;
            let read = layout::record_offset(&key).zip(RecordHead::split(&value));
            let read = read.and_then(|(offset, (head, bytes))| Some((offset, head, bytes, codec::decode(bytes)?)));
            let Some((offset, head, bytes, record)) = read else {
                return Err(self.store.damage(format!("a record of `{}` partition {partition}", topic.name)));
            };
            let Some(key) = record.key else { continue }; // From the time before the topic was compacted.
            let size = bytes.len() as u64;
            let old = record.value.is_none() && head.append_time().is_some_and(|append| append < oldest_tombstone);
            let earlier = if old { last.remove(&key) } else { last.insert(key, (offset, size)) };
            for (offset, size) in earlier.into_iter().chain(old.then_some((offset, size))) {
                gone.push(offset);
                dropped += size;
            }
        }

        for gone in gone.chunks(BATCH_RECORDS) {
            let mut batch = WriteBatch::default();
            for offset in gone {
                batch.delete_cf(&family, layout::record_key(partition, *offset));
            }
            // The last record may be among them, and it told where the next one goes.
            batch.put(layout::kept_key(&topic.name, partition), Kept { first: bounds.first, tail }.to_bytes());
            self.write_now(batch, &doing)?;
            point(Point::RetentionCompacted);
        }
        Ok(dropped)
    }

    /// Rewrites the files that hold dropped records without them.
    fn rewrite(&self, topic: &Topic) -> Result<(), LogError> {
        let family = self.store.family(&topic.family)?;
        for partition in 0..topic.partitions() {
            let bounds = topic.bounds(partition);
            let end = match topic.spec().cleanup {
                Cleanup::Delete { .. } => bounds.first,
                Cleanup::Compact => bounds.end,
            };
            let (from, to) = (layout::record_key(partition, 0), layout::record_key(partition, end));
            self.store.db.compact_range_cf(&family, Some(from), Some(to));
        }
        Ok(())
    }
}
