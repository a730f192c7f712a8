//! Checking a log: everything is read once, and what can't be read is named.
//!
//! Reading checks RocksDB's checksums of index and data blocks and of blob records. On top of them every record must have
//! its frame, and stand where its neighbours say: offsets without gaps, append times that never go back, sizes that add
//! up.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use rocksdb::{Direction, IteratorMode, ReadOptions};
use serde::{Deserialize, Serialize};

use super::{
    codec,
    layout::{self, RecordHead},
    local::open_for_reading,
    open::{self, OpenError},
    options::EmbeddedOptions,
    place::{Connection, OWNER_PATIENCE, Place, Source},
    protocol::{self, Answer, Request},
    rebuild,
    store::Store,
    topic::Topic,
};
use crate::{Bounds, LogError, Reader as _, topics::Cleanup};

/// An owner may take so long to check its log.
const CHECK_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// No more places than this are named; a log with more is lost as a whole.
const DAMAGES_MAX: usize = 1_000;

/// Takes state values: partition, key, value.
pub type EachValue<'a> = dyn FnMut(u32, &[u8], &[u8]) + 'a;

/// What a check has read, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Records read.
    pub records: u64,
    /// Their size in bytes.
    pub record_bytes: u64,
    /// State values read.
    pub values: u64,
    /// The bounds of each topic's partitions.
    pub bounds: BTreeMap<String, Vec<Bounds>>,
    /// The saved positions: group, partition, offset.
    pub positions: Vec<(String, u32, u64)>,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// One damaged place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Where.
    pub place: DamagedPlace,
    /// What is wrong there, with the file where it is known.
    pub what: String,
}

/// What of a log is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "damaged")]
pub enum DamagedPlace {
    /// Files that the log needs to open.
    Files,
    /// Records of a topic, `first` to `last`.
    Records {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The first damaged or missing record.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// State.
    State,
    /// Topics and positions.
    Positions,
}

/// Checks the log of a directory: its owner does, when there is one, else its files are read. State values are handed to
/// `value` with their partition. Damage is what the answer tells of; errors are what keeps from looking.
pub fn verify(dir: &Path, options: EmbeddedOptions, value: &mut EachValue<'_>) -> Result<Check, OpenError> {
    let failed = |error: LogError| OpenError::Failed { dir: dir.to_owned(), source: error.into() };
    open::must_exist(dir)?;
    match Place::new(dir, options.clone()).attach(OWNER_PATIENCE) {
        Ok(Source::Owner(mut connection)) => verify_owned(dir, options, &mut connection, value).map_err(failed),
        Ok(Source::Files(files)) => {
            let topics: Vec<Arc<Topic>> = files.topics.values().cloned().collect();
            files.store.verify(&topics, &|| false, value).map_err(failed)
        }
        Err(OpenError::Damaged { what, .. }) => Ok(verify_damaged(dir, &options, what, value)),
        // The topics are read when the log is opened.
        Err(OpenError::Failed { source, .. }) if source.to_string().contains("damaged") => {
            Ok(verify_damaged(dir, &options, protocol::chain(&*source), value))
        }
        Err(error) => Err(error),
    }
}

/// The owner reads everything; the values that it holds come over its socket.
fn verify_owned(
    dir: &Path,
    options: EmbeddedOptions,
    connection: &mut Connection,
    value: &mut EachValue<'_>,
) -> Result<Check, LogError> {
    let (answer, _) = connection.ask(&Request::Verify, &[], CHECK_PATIENCE)?;
    let Answer::Verified { mut check } = answer else { return Err(connection.unexpected(&answer)) };
    if check.damage.iter().any(|damage| damage.place == DamagedPlace::State) {
        return Ok(check);
    }
    let log = open_for_reading(dir, options)?;
    let partitions = check.bounds.values().map(Vec::len).max().unwrap_or(0);
    for partition in 0..partitions as u32 {
        for entry in log.state_iter(partition)? {
            let (key, content) = entry?;
            value(partition, &key, &content);
        }
    }
    // Those that belong to what was just read, or later ones.
    for (group, partition, offset) in &mut check.positions {
        *offset = log.position(group, *partition)?.unwrap_or(*offset);
    }
    for (topic, bounds) in &mut check.bounds {
        let mut reader = log.reader(topic)?;
        for (partition, bounds) in (0..).zip(bounds) {
            bounds.end = reader.bounds(partition)?.end;
        }
    }
    Ok(check)
}

/// As far as it goes, when the log does not open as it should.
fn verify_damaged(dir: &Path, options: &EmbeddedOptions, what: String, value: &mut EachValue<'_>) -> Check {
    let mut found = vec![Damage { place: DamagedPlace::Files, what }];
    let opened = open::open_read_only(dir, options, open::Files::MayBeDamaged);
    let checked = opened.and_then(|store| {
        let failed = |error: LogError| OpenError::Failed { dir: dir.to_owned(), source: error.into() };
        let topics = store.topics().map_err(failed)?;
        let topics: Vec<Arc<Topic>> = topics.into_iter().map(|(topic, _)| Arc::new(topic)).collect();
        store.verify(&topics, &|| false, value).map_err(failed)
    });
    // When even that does not work, what was said is all there is.
    let check = checked.unwrap_or_default();
    found.extend(check.damage);
    Check { damage: found, ..check }
}

impl Store {
    /// Reads everything. Ends early, with what it has, when `stop` says so.
    pub(super) fn verify(
        &self,
        topics: &[Arc<Topic>],
        stop: &dyn Fn() -> bool,
        value: &mut EachValue<'_>,
    ) -> Result<Check, LogError> {
        let mut check = Check::default();
        self.verify_positions(&mut check);
        self.verify_state(&mut check, stop, value)?;
        for topic in topics {
            let bounds: Vec<Bounds> = (0..topic.partitions()).map(|partition| topic.bounds(partition)).collect();
            for (partition, bounds) in (0..).zip(&bounds) {
                self.verify_records(topic, partition, *bounds, stop, &mut check)?;
            }
            check.bounds.insert(topic.name.clone(), bounds);
        }
        Ok(check)
    }

    fn verify_positions(&self, check: &mut Check) {
        for item in self.db.iterator_opt(IteratorMode::Start, unhurried()) {
            let what = match item {
                Err(error) => error.to_string(),
                Ok((key, value)) => match layout::position_from_key(&key) {
                    None => continue, // Topics and bounds: read when the log was opened.
                    Some((partition, group)) => match (std::str::from_utf8(group), <[u8; 8]>::try_from(&*value)) {
                        (Ok(group), Ok(offset)) => {
                            check.positions.push((group.to_owned(), partition, u64::from_be_bytes(offset)));
                            continue;
                        }
                        _ => format!("the position of `{}`", String::from_utf8_lossy(group).escape_default()),
                    },
                },
            };
            check.damage.push(Damage { place: DamagedPlace::Positions, what });
        }
    }

    fn verify_state(
        &self,
        check: &mut Check,
        stop: &dyn Fn() -> bool,
        value: &mut EachValue<'_>,
    ) -> Result<(), LogError> {
        let Some(family) = self.db.cf_handle(layout::STATE) else {
            if !rebuild::is_under_way(self)? {
                let what = layout::NO_STATE.to_owned();
                check.damage.push(Damage { place: DamagedPlace::State, what });
            }
            return Ok(());
        };
        for item in self.db.iterator_cf_opt(&family, unhurried(), IteratorMode::Start) {
            if stop() {
                return Ok(());
            }
            match item {
                Ok((key, content)) => match key.split_first_chunk::<4>() {
                    Some((partition, key)) => {
                        check.values += 1;
                        value(u32::from_be_bytes(*partition), key, &content);
                    }
                    None => {
                        let what = "a key without a partition".to_owned();
                        check.damage.push(Damage { place: DamagedPlace::State, what });
                    }
                },
                // What lies behind can't be told from what does not exist. A rebuild mends all of it.
                Err(error) => {
                    check.damage.push(Damage { place: DamagedPlace::State, what: error.to_string() });
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn verify_records(
        &self,
        topic: &Topic,
        partition: u32,
        bounds: Bounds,
        stop: &dyn Fn() -> bool,
        check: &mut Check,
    ) -> Result<(), LogError> {
        let family = self.family(&topic.family)?;
        let has_gaps = topic.spec().cleanup == Cleanup::Compact;
        let mut next = bounds.first;
        // Of the last good record: its append time, and where the next one's bytes begin. Unknown behind a damage.
        let mut before: Option<(i64, u64)> = None;
        let mut lost = |first: u64, last: u64, what: String| {
            // Neighbours with one fault are one damage.
            if let Some(Damage { place: DamagedPlace::Records { topic: t, partition: p, last: end, .. }, what: same }) =
                check.damage.last_mut()
                && (&*t, *p, *end + 1, &*same) == (&topic.name, partition, first, &what)
            {
                *end = last;
            } else if check.damage.len() < DAMAGES_MAX {
                let place = DamagedPlace::Records { topic: topic.name.clone(), partition, first, last };
                check.damage.push(Damage { place, what });
            }
        };
        'again: while next < bounds.end && !stop() {
            let mut options = unhurried();
            options.set_iterate_upper_bound(layout::record_key(partition, bounds.end));
            let from = layout::record_key(partition, next);
            for item in self.db.iterator_cf_opt(&family, options, IteratorMode::From(&from, Direction::Forward)) {
                if stop() {
                    return Ok(());
                }
                let (key, value) = match item {
                    Ok(entry) => entry,
                    Err(error) => {
                        lost(next, next, error.to_string());
                        next += 1;
                        before = None;
                        continue 'again;
                    }
                };
                let Some(offset) = layout::record_offset(&key).filter(|offset| *offset >= next) else {
                    lost(next, next, "a key that is no offset".to_owned());
                    break;
                };
                if offset > next && !has_gaps {
                    lost(next, offset - 1, "missing".to_owned());
                    before = None;
                }
                next = offset + 1;
                let read = RecordHead::split(&value)
                    .filter(|(head, record)| head.append_time().is_some() && codec::decode(record).is_some());
                let Some((head, record)) = read else {
                    lost(offset, offset, "its bytes are no record".to_owned());
                    before = None;
                    continue;
                };
                let fits = before.is_none_or(|(time, bytes)| {
                    head.time_ms >= time && (head.bytes_before == bytes || has_gaps && head.bytes_before > bytes)
                });
                if !fits {
                    lost(offset, offset, "it does not follow the record before it".to_owned());
                }
                before = Some((head.time_ms, head.bytes_before + record.len() as u64));
                check.records += 1;
                check.record_bytes += record.len() as u64;
            }
            if next < bounds.end && !has_gaps {
                lost(next, bounds.end - 1, "missing".to_owned());
            }
            break;
        }
        Ok(())
    }
}

/// A check goes over everything once: what it reads is not kept in memory.
fn unhurried() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(1 << 20);
    options
}
