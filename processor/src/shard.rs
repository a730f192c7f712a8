//! The main loop: one thread, one backend, the partitions it is given.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tripline_engine::RuleSet;
use tripline_faults::{Point, point};

use crate::backend::{Backend, BackendError, CommitUnit, OutputRecord, OutputTopic, Partition, Polled};
use crate::rules::{ActiveRules, rule_set_record};
use crate::task::{Arrival, Counts, Judged, Task};

/// How the loop works. None of it changes an alert: batches and checkpoints are only ways of writing the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The input topic's name, for the place that alerts and dead letters name.
    pub input_topic: String,
    /// A batch is committed when it holds this many records...
    pub batch_records: usize,
    /// ...or this many bytes of outputs and state, roughly...
    pub batch_bytes: usize,
    /// ...or when its first record is this old, or it holds an alert and the backend's commits are cheap
    /// ([`Backend::alert_wait`]): how much an alert may be delayed to save commits.
    pub batch_age: Duration,
    /// How long one poll waits when there is nothing: how soon a stop is noticed.
    pub idle_wait: Duration,
    /// The cursors are stored after this many records of a partition, and at the end. A crash costs reading up to this
    /// many records again, without judging them.
    pub checkpoint_records: u64,
    /// The pause before the first recovery after something was committed; it doubles from one failure to the next...
    pub pause_min: Duration,
    /// ...up to this.
    pub pause_max: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            input_topic: "tripline.outputs".to_owned(),
            batch_records: 1_000,
            batch_bytes: 32 * 1024 * 1024,
            batch_age: Duration::from_millis(100),
            idle_wait: Duration::from_millis(200),
            checkpoint_records: 10_000,
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(10),
        }
    }
}

/// At most this many records per poll: outputs may be large, and a stop waits for what was polled.
const POLL_RECORDS_MAX: usize = 100;

/// What the loop has done. Only what was committed counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What happened to records.
    pub counts: Counts,
    /// Commit units.
    pub commits: u64,
    /// How often the loop forgot everything and started again from what was committed.
    pub recoveries: u64,
}

/// Watches the loop, for a display or for explanations.
pub trait Observer {
    /// Something was judged. Not yet committed: after a recovery it is judged again, with the same answer.
    fn judged(&mut self, arrival: &Arrival, judged: &Judged) {
        let _ = (arrival, judged);
    }

    /// Whether decisions should list every rule that was tried, also where nothing matched: for people who ask why.
    /// Costs time and memory on every line.
    fn wants_detail(&self) -> bool {
        false
    }

    /// A batch is durable: what it held.
    fn committed(&mut self, counts: &Counts) {
        let _ = counts;
    }
}

/// Watches nothing.
impl Observer for () {}

/// Processes what the backend hands out, until `stop` says so, a bounded input ends, or somebody must do something
/// first (the error is then always [`BackendError::Fatal`]).
///
/// A fence, a broken connection, a commit of unknown outcome: the loop forgets what it holds in memory, pauses, and lets
/// the backend find out what was really committed. When it stops, it commits what it has.
pub fn run(
    backend: &mut dyn Backend,
    rules: &ActiveRules,
    options: &Options,
    stop: &dyn Fn() -> bool,
    observer: &mut dyn Observer,
) -> Result<Summary, BackendError> {
    let mut summary = Summary::default();
    let mut failures = 0;
    loop {
        let commits_before = summary.commits;
        let Err(err) = process(backend, rules, options, stop, observer, &mut summary) else { return Ok(summary) };
        if summary.commits > commits_before {
            failures = 0;
        }
        if !recover(backend, err, options, stop, &mut failures)? {
            return Ok(summary);
        }
        summary.recoveries += 1;
    }
}

/// From a clean start to a stop, the input's end, or an error: poll, judge, commit.
fn process(
    backend: &mut dyn Backend,
    rules: &ActiveRules,
    options: &Options,
    stop: &dyn Fn() -> bool,
    observer: &mut dyn Observer,
    summary: &mut Summary,
) -> Result<(), BackendError> {
    let mut shard = Shard::default();
    loop {
        let mut last = stop();
        let polled = if last { Polled::Nothing } else { backend.poll(shard.room(options), shard.patience(options))? };
        let arrivals: Vec<Arrival> = match polled {
            Polled::Nothing => Vec::new(),
            Polled::Records(records) => records.into_iter().map(Arrival::from).collect(),
            Polled::Lines(lines) => lines.into_iter().map(Arrival::from).collect(),
            Polled::Assigned(partitions) => {
                for assigned in partitions {
                    shard.tasks.insert(assigned.partition, Task::new(assigned, backend)?);
                    point(Point::Assigned);
                }
                Vec::new()
            }
            Polled::Revoked(partitions) => {
                shard.tasks.retain(|partition, _| !partitions.contains(partition));
                Vec::new()
            }
            Polled::End => {
                last = true;
                Vec::new()
            }
        };
        for arrival in arrivals {
            shard.judge(arrival, rules, options, backend, observer)?;
            if shard.is_full(options) {
                shard.commit(false, options, backend, observer, summary)?;
            }
        }
        if last || shard.is_due() {
            shard.commit(last, options, backend, observer, summary)?;
        }
        if last {
            return Ok(());
        }
    }
}

/// What the loop holds in memory. After an error all of it is forgotten.
#[derive(Default)]
struct Shard {
    tasks: BTreeMap<Partition, Task>,
    /// The batch that will be committed next; `None` when nothing was judged since the last commit.
    batch: Option<Batch>,
    /// The digest of the rule set whose files this shard has put into the log.
    published: Option<[u8; 32]>,
}

struct Batch {
    /// A batch is judged by one rule set: exchanged rules take over with the next one.
    rules: Arc<RuleSet>,
    records: usize,
    /// When it is committed, full or not; `None` when it waits until it is full.
    due: Option<Instant>,
}

impl Batch {
    /// Commits it no later than `wait` from now.
    fn commit_within(&mut self, wait: Duration) {
        // A wait that no clock reaches (`Duration::MAX`) sets no time.
        let due = Instant::now().checked_add(wait);
        self.due = [self.due, due].into_iter().flatten().min();
    }
}

impl Shard {
    /// How many records to poll.
    fn room(&self, options: &Options) -> usize {
        let taken = self.batch.as_ref().map_or(0, |batch| batch.records);
        options.batch_records.saturating_sub(taken).clamp(1, POLL_RECORDS_MAX)
    }

    /// How long to wait for them: no longer than the batch that is open may wait.
    fn patience(&self, options: &Options) -> Duration {
        let due = self.batch.as_ref().and_then(|batch| batch.due);
        due.map_or(options.idle_wait, |due| due.saturating_duration_since(Instant::now()).min(options.idle_wait))
    }

    fn judge(
        &mut self,
        arrival: Arrival,
        rules: &ActiveRules,
        options: &Options,
        backend: &dyn Backend,
        observer: &mut dyn Observer,
    ) -> Result<(), BackendError> {
        let batch = self.batch.get_or_insert_with(|| {
            let mut batch = Batch { rules: rules.current(), records: 0, due: None };
            batch.commit_within(options.batch_age);
            batch
        });
        let task = self.tasks.get_mut(&arrival.partition).ok_or_else(|| BackendError::Fatal {
            what: format!(
                "a record of partition {} arrived, which is not assigned: a mistake in the log's client",
                arrival.partition
            ),
            source: None,
        })?;
        batch.records += 1;
        let judged = task.take(&arrival, &options.input_topic, &batch.rules, observer.wants_detail(), backend)?;
        if matches!(&judged, Judged::Decided(decision) if !decision.alerts.is_empty()) {
            batch.commit_within(backend.alert_wait());
        }
        observer.judged(&arrival, &judged);
        point(Point::Judged);
        Ok(())
    }

    fn is_full(&self, options: &Options) -> bool {
        let records = self.batch.as_ref().map_or(0, |batch| batch.records);
        records >= options.batch_records
            || self.tasks.values().map(Task::pending_bytes).sum::<usize>() >= options.batch_bytes
    }

    fn is_due(&self) -> bool {
        self.batch.as_ref().and_then(|batch| batch.due).is_some_and(|due| Instant::now() >= due)
    }

    /// Makes everything judged so far durable, in one unit. The `last` one stores the cursors too.
    fn commit(
        &mut self,
        last: bool,
        options: &Options,
        backend: &mut dyn Backend,
        observer: &mut dyn Observer,
        summary: &mut Summary,
    ) -> Result<(), BackendError> {
        let batch = self.batch.take();
        let mut unit = CommitUnit::default();
        let mut parts = Vec::new();
        let mut activated = None;
        for (partition, task) in &mut self.tasks {
            let checkpoint = last || task.checkpoint_due(options.checkpoint_records);
            let Some(part) = task.part(checkpoint) else { continue };
            if part.activates {
                activated = batch.as_ref().map(|batch| &batch.rules);
            }
            unit.positions.push((*partition, part.position));
            unit.outputs.extend(part.outputs);
            unit.state.extend(part.state);
            parts.push((*partition, part.checkpoint));
        }
        if parts.is_empty() {
            return Ok(());
        }
        let publish = activated.filter(|rules| self.published.as_ref() != Some(rules.digest()));
        if let Some(rules) = publish {
            let record = rule_set_record(rules);
            unit.outputs.push(OutputRecord { topic: OutputTopic::RuleSets, partition: 0, record });
        }
        let has_checkpoint = parts.iter().any(|(_, checkpoint)| *checkpoint);
        point(if has_checkpoint { Point::CheckpointBuilt } else { Point::UnitBuilt });
        backend.commit(unit)?;
        point(if has_checkpoint { Point::CheckpointCommitted } else { Point::UnitCommitted });
        summary.commits += 1;
        if let Some(rules) = publish {
            self.published = Some(*rules.digest());
        }
        for (partition, checkpoint) in parts {
            let task = self.tasks.get_mut(&partition).expect("parts are of tasks");
            let counts = task.committed(checkpoint);
            summary.counts += counts;
            observer.committed(&counts);
        }
        Ok(())
    }
}

/// Lets the backend start again from what is committed, as often as it takes. False when a stop came first.
fn recover(
    backend: &mut dyn Backend,
    mut err: BackendError,
    options: &Options,
    stop: &dyn Fn() -> bool,
    failures: &mut u32,
) -> Result<bool, BackendError> {
    loop {
        if err.is_fatal() {
            return Err(err);
        }
        let pause = options.pause_min.saturating_mul(1 << (*failures).min(16)).min(options.pause_max);
        *failures += 1;
        tracing::warn!(error = &err as &dyn Error, ?pause, "starting again from what is committed");
        if !sleep(pause, options.idle_wait, stop) {
            return Ok(false);
        }
        match backend.recover() {
            Ok(()) => return Ok(true),
            Err(again) => err = again,
        }
    }
}

/// Sleeps in steps, so that a stop is noticed. False when it came.
fn sleep(pause: Duration, step: Duration, stop: &dyn Fn() -> bool) -> bool {
    let mut left = pause;
    while !stop() {
        if left.is_zero() {
            return true;
        }
        let now = left.min(step.max(Duration::from_millis(1)));
        std::thread::sleep(now);
        left -= now;
    }
    false
}
