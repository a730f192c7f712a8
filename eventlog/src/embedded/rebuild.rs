//! Throwing the state away to fold it again from the log, such that a crash at any step leaves a rebuild that goes on.
//!
//! 1. Per partition it is written down how far the group has *told*: the outputs that follow from records before that
//!    offset are in the log. Together with a mark that the state is to go.
//! 2. The state's column family is dropped and made anew. Its files are not read, so that damaged ones do not matter.
//! 3. The group's positions and the mark go. The group begins again at the first record that is kept.
//!
//! Whoever opens a directory with the mark does steps 2 and 3 first. From then on the group stands before what it has
//! told; its backend gives no outputs until it has come there, be it in this process or, after a crash, in a later one.

use std::path::Path;

use rocksdb::{IteratorMode, PrefixRange, ReadOptions, WriteBatch};
use tripline_faults::{Point, point};

use super::{
    EmbeddedLog,
    layout::{self, DOOMED_STATE},
    open::{self, OpenError},
    options::EmbeddedOptions,
    store::Store,
};
use crate::LogError;

impl EmbeddedLog {
    /// Opens the log of a directory, throws all state away and sends `group`, whose state it is, back to the first records
    /// kept. Damaged files of the state do not keep it from opening. [`EmbeddedLog::told`] says from where on the group's
    /// outputs are news.
    pub fn open_without_state(dir: &Path, options: EmbeddedOptions, group: &str) -> Result<EmbeddedLog, OpenError> {
        let store = open::open_owned(dir, &options, open::Files::MayBeDamaged)?;
        doom(&store, group)
            .and_then(|()| finish(&store, &options))
            .map_err(|error| OpenError::Failed { dir: dir.to_owned(), source: error.into() })?;
        drop(store); // Once more, now with all checks.
        EmbeddedLog::open(dir, options)
    }

    /// Up to which offset of a partition the outputs of a group are in the log although its position may lie before:
    /// its state was thrown away. `None` when that never happened.
    pub fn told(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError> {
        self.shared().store.told(group, partition)
    }
}

/// Step 1.
fn doom(store: &Store, group: &str) -> Result<(), LogError> {
    let mut batch = WriteBatch::default();
    for partition in positions(store, group)? {
        let position = store.position(group, partition)?;
        // Of a rebuild that did not come to its end, the first one's.
        let told = position.max(store.told(group, partition)?).unwrap_or(0);
        batch.put(layout::told_key(group, partition), told.to_be_bytes());
    }
    batch.put(DOOMED_STATE, group);
    write(store, batch)?;
    point(Point::RebuildDoomed);
    Ok(())
}

/// Whether somebody has done step 1, and nobody step 3.
pub(super) fn is_under_way(store: &Store) -> Result<bool, LogError> {
    let doomed = store.db.get(DOOMED_STATE).map_err(|error| store.error("read the mark of a rebuild", error))?;
    Ok(doomed.is_some())
}

/// Steps 2 and 3, when somebody has done step 1.
pub(super) fn finish(store: &Store, options: &EmbeddedOptions) -> Result<(), LogError> {
    let doing = "throw the state away";
    let doomed = store.db.get(DOOMED_STATE).map_err(|error| store.error(doing, error))?;
    let Some(group) = doomed else { return Ok(()) };
    let group = String::from_utf8(group).map_err(|_| store.damage("the mark of a rebuild".to_owned()))?;
    if store.db.cf_handle(layout::STATE).is_some() {
        store.db.drop_cf(layout::STATE).map_err(|error| store.error(doing, error))?;
    }
    point(Point::RebuildDropped);
    let family = options.family(layout::STATE, &store.cache);
    store.db.create_cf(layout::STATE, &family).map_err(|error| store.error(doing, error))?;
    point(Point::RebuildEmptied);
    let mut batch = WriteBatch::default();
    for partition in positions(store, &group)? {
        batch.delete(layout::position_key(&group, partition));
    }
    batch.delete(DOOMED_STATE);
    write(store, batch)?;
    point(Point::RebuildBegun);
    Ok(())
}

/// The partitions in which a group has a position.
fn positions(store: &Store, group: &str) -> Result<Vec<u32>, LogError> {
    let mut options = ReadOptions::default();
    options.set_iterate_range(PrefixRange(layout::POSITION_PREFIX));
    let mut partitions = Vec::new();
    for item in store.db.iterator_opt(IteratorMode::Start, options) {
        let (key, _) = item.map_err(|error| store.error("read the positions", error))?;
        let read = layout::position_from_key(&key);
        let (partition, name) = read.ok_or_else(|| store.damage("the name of a position".to_owned()))?;
        if name == group.as_bytes() {
            partitions.push(partition);
        }
    }
    Ok(partitions)
}

fn write(store: &Store, batch: WriteBatch) -> Result<(), LogError> {
    store.write(batch, true).map_err(|error| store.write_error("throw the state away", error))
}
