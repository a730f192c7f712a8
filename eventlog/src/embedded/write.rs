//! Writing the log: offsets without gaps, one sync for many.
//!
//! Everything goes through [`Writer::write`], one at a time: it gives out the next offsets and hands the batch to RocksDB,
//! so the write-ahead log holds all batches in the order of their offsets. Syncing is the work of one thread: it syncs
//! whatever was written meanwhile, then lets readers see it and wakes everybody who waits. While one sync is under way the
//! next batches gather behind it.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Instant,
};

use jiff::Timestamp;
use rocksdb::WriteBatch;
use tripline_faults::{Point, point};

use super::{
    layout::{self, RecordHead, Tail},
    manifest::Mark,
    options::EmbeddedOptions,
    store::{Store, WriteError},
    topic::Topic,
};
use crate::LogError;

/// Gives out offsets, and knows what is synced.
pub(super) struct Writer {
    clock: fn() -> Timestamp,
    sync_after: std::time::Duration,
    state: Mutex<Written>,
    /// The sync thread waits here for work.
    work: Condvar,
    synced: Mutex<Synced>,
    /// Appenders and following readers wait here for the sync thread.
    news: Condvar,
}

/// Numbers the batches from 1 on, in the order of the write-ahead log.
pub(super) type Ticket = u64;

struct Written {
    tails: HashMap<String, Vec<Tail>>,
    /// The last append time of the whole log, in milliseconds. One for all topics: an alert is then never appended at an
    /// earlier time than its output, whatever the clock does in between, so that both are found by their append times.
    time_ms: i64,
    /// The last batch written.
    last: Ticket,
    /// What readers may see once `last` is synced.
    unsynced: Vec<NewEnd>,
    /// Somebody waits for the sync.
    urgent: bool,
    stop: bool,
}

/// Where a partition ends once its records are synced.
struct NewEnd {
    topic: Arc<Topic>,
    partition: u32,
    end: u64,
}

struct Synced {
    last: Ticket,
    /// Why nothing can be written any more. What a failed write or sync left on disk is not known before the log is
    /// opened again, so nothing may follow it.
    failure: Option<Failure>,
    /// Goes up to let waiting readers look around, see [`Writer::wake`].
    wakes: u64,
}

#[derive(Clone)]
struct Failure {
    doing: &'static str,
    error: WriteError,
}

/// A record on its way into a partition: its value in the database, the head still to be filled in.
pub(super) struct Prepared {
    pub(super) topic: Arc<Topic>,
    pub(super) partition: u32,
    pub(super) value: Vec<u8>,
}

impl Writer {
    pub(super) fn new(tails: HashMap<String, Vec<Tail>>, options: &EmbeddedOptions) -> Writer {
        let time_ms = tails.values().flatten().map(|tail| tail.time_ms).max().unwrap_or(0);
        let state = Written { tails, time_ms, last: 0, unsynced: Vec::new(), urgent: false, stop: false };
        Writer {
            clock: options.clock,
            sync_after: options.sync_after,
            state: Mutex::new(state),
            work: Condvar::new(),
            synced: Mutex::new(Synced { last: 0, failure: None, wakes: 0 }),
            news: Condvar::new(),
        }
    }

    /// A topic was made.
    pub(super) fn add_topic(&self, name: &str, partitions: u32) {
        self.state().tails.insert(name.to_owned(), vec![Tail::default(); partitions as usize]);
    }

    pub(super) fn tail(&self, topic: &Topic, partition: u32) -> Tail {
        self.state().tails[&topic.name][partition as usize]
    }

    /// See [`EmbeddedLog::last_append_time`](super::EmbeddedLog::last_append_time).
    pub(super) fn last_append_time(&self) -> Option<Timestamp> {
        Some(self.state().time_ms).filter(|time_ms| *time_ms > 0).and_then(|ms| Timestamp::from_millisecond(ms).ok())
    }

    /// Appends records at the next offsets of their partitions, together with what the batch holds already. Returns the
    /// offsets, and the ticket to wait for; `urgent` when the caller is going to.
    pub(super) fn write(
        &self,
        store: &Store,
        records: Vec<Prepared>,
        mut batch: WriteBatch,
        urgent: bool,
    ) -> Result<(Vec<(u32, u64)>, Ticket), LogError> {
        let mut state = self.state();
        self.check(store)?;
        let time_ms = state.time_ms.max((self.clock)().as_millisecond());
        // The partitions that this batch appends to, with their tails behind it. Few, so a list does.
        let mut moved: Vec<(Arc<Topic>, u32, Tail)> = Vec::new();
        let mut placed = Vec::with_capacity(records.len());
        for Prepared { topic, partition, mut value } in records {
            let at = moved.iter().position(|(t, p, _)| *p == partition && Arc::ptr_eq(t, &topic));
            let at = at.unwrap_or_else(|| {
                let tail = state.tails[&topic.name][partition as usize];
                moved.push((Arc::clone(&topic), partition, tail));
                moved.len() - 1
            });
            let tail = &mut moved[at].2;
            let offset = tail.next;
            tail.time_ms = time_ms;
            RecordHead { time_ms: tail.time_ms, bytes_before: tail.bytes }.write(&mut value);
            tail.bytes += (value.len() - RecordHead::SIZE) as u64;
            tail.next += 1;
            batch.put_cf(&store.family(&topic.family)?, layout::record_key(partition, offset), &value);
            placed.push((partition, offset));
        }
        point(if urgent { Point::AppendBuilt } else { Point::CommitBuilt });
        if let Err(error) = store.write(batch, false) {
            return Err(self.fail(store, Failure { doing: "write", error }));
        }
        point(if urgent { Point::AppendWritten } else { Point::CommitWritten });
        for (topic, partition, tail) in moved {
            state.tails.get_mut(&topic.name).expect("was read above")[partition as usize] = tail;
            state.unsynced.push(NewEnd { topic, partition, end: tail.next });
        }
        if !placed.is_empty() {
            state.time_ms = time_ms;
        }
        state.last += 1;
        state.urgent |= urgent;
        let ticket = state.last;
        drop(state);
        self.work.notify_one();
        Ok((placed, ticket))
    }

    /// Asks for a sync of all that was written so far, and returns its ticket.
    pub(super) fn hurry(&self) -> Ticket {
        let mut state = self.state();
        state.urgent = true;
        self.work.notify_one();
        state.last
    }

    /// Returns when everything up to this ticket is durable.
    pub(super) fn wait_synced(&self, store: &Store, ticket: Ticket) -> Result<(), LogError> {
        let waiting = |synced: &mut Synced| synced.last < ticket && synced.failure.is_none();
        let synced = self.news.wait_while(self.synced(), waiting).expect("not poisoned, see `synced`");
        match &synced.failure {
            Some(failure) if synced.last < ticket => Err(failure.to_error(store)),
            _ => Ok(()),
        }
    }

    /// The last ticket whose records readers see.
    pub(super) fn seen(&self) -> Ticket {
        self.synced().last
    }

    /// Waits until there is more to see than at `seen`, or until the deadline, or until somebody calls
    /// [`Writer::wake`].
    pub(super) fn wait_newer(&self, store: &Store, seen: Ticket, deadline: Instant) -> Result<(), LogError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let synced = self.synced();
        let wakes = synced.wakes;
        let waiting = |synced: &mut Synced| synced.last <= seen && synced.failure.is_none() && synced.wakes == wakes;
        let (synced, _) = self.news.wait_timeout_while(synced, left, waiting).expect("not poisoned, see `synced`");
        match &synced.failure {
            Some(failure) if synced.last <= seen => Err(failure.to_error(store)),
            _ => Ok(()),
        }
    }

    /// Ends all [`Writer::wait_newer`] that are under way.
    pub(super) fn wake(&self) {
        self.synced().wakes += 1;
        self.news.notify_all();
    }

    /// Whether the log still takes writes.
    pub(super) fn check(&self, store: &Store) -> Result<(), LogError> {
        match &self.synced().failure {
            Some(failure) => Err(failure.to_error(store)),
            None => Ok(()),
        }
    }

    /// The sync thread. Ends after [`Writer::stop`], when all is synced, or when a sync fails.
    pub(super) fn sync_loop(&self, store: &Store) {
        let mut done = 0;
        let mut mark = Mark::noted(&store.dir); // By whoever opened the log.
        while let Some((ticket, visible)) = self.next_sync(done) {
            if let Err(error) = store.db.flush_wal(true) {
                self.fail(store, Failure { doing: "sync", error: WriteError::RocksDb(error) });
                return;
            }
            point(Point::LogSynced);
            for NewEnd { topic, partition, end } in visible {
                topic.show(partition, end);
            }
            point(Point::LogShown);
            self.synced().last = ticket;
            self.news.notify_all();
            done = ticket;
            mark_manifest(&store.dir, &mut mark);
        }
        mark_manifest(&store.dir, &mut mark);
    }

    /// Waits for something to sync: the last ticket, and what readers may see then. `None` when there is no more.
    fn next_sync(&self, done: Ticket) -> Option<(Ticket, Vec<NewEnd>)> {
        let idle = |state: &mut Written| state.last == done && !state.stop;
        let state = self.work.wait_while(self.state(), idle).expect("not poisoned, see `state`");
        // Nobody waits for a commit, so more of them may gather before they are synced together.
        let lazy = |state: &mut Written| !state.urgent && !state.stop;
        let (mut state, _) =
            self.work.wait_timeout_while(state, self.sync_after, lazy).expect("not poisoned, see `state`");
        if state.last == done {
            return None;
        }
        state.urgent = false;
        Some((state.last, std::mem::take(&mut state.unsynced)))
    }

    /// Lets the sync thread end.
    pub(super) fn stop(&self) {
        self.state().stop = true;
        self.work.notify_one();
    }

    fn fail(&self, store: &Store, failure: Failure) -> LogError {
        let mut synced = self.synced();
        let failure = synced.failure.get_or_insert(failure).clone();
        self.news.notify_all();
        failure.to_error(store)
    }

    fn state(&self) -> MutexGuard<'_, Written> {
        self.state.lock().expect("not poisoned: a panic between write and bookkeeping must not be written over")
    }

    fn synced(&self) -> MutexGuard<'_, Synced> {
        self.synced.lock().expect("not poisoned: nothing panics while it is held")
    }
}

/// Marks how far the MANIFEST goes, when data files have come or gone since the last mark.
fn mark_manifest(dir: &Path, mark: &mut Option<Mark>) {
    if mark.as_ref().is_none_or(|mark| mark.is_behind(dir)) {
        match Mark::note(dir) {
            Ok(noted) => *mark = Some(noted),
            // The old mark holds, it only notices less. A full disk is told by what fails for it.
            Err(error) => tracing::debug!("could not mark the MANIFEST: {error}"),
        }
    }
}

impl Failure {
    fn to_error(&self, store: &Store) -> LogError {
        store.write_error(&format!("{} the log", self.doing), self.error.clone())
    }
}
