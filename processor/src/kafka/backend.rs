//! The backend: poll, commit, recover.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tripline_eventlog::{Bounds, Stored};
use tripline_schemas::Headers;
use tripline_schemas::state::StateKey;

use super::errors::Failure;
use super::member::{Loss, Member, Rebalance, Received};
use super::node::Node;
use super::restore::{Begun, INPUT_NEXT, Restorer};
use super::settings::{KafkaBackendSettings, Step};
use super::store::{Identity, PartitionStore, StoreError};
use super::transaction::{Outgoing, Transactor};
use crate::backend::{Assigned, Backend, BackendError, CommitUnit, OutputTopic, Partition, Polled};
use crate::cursors;

/// One shard on Kafka: a group member, a transactional producer, and the local stores of its partitions.
pub struct KafkaBackend {
    settings: KafkaBackendSettings,
    cluster_id: String,
    /// `None` only while a new one could not be made; [`Backend::recover`] makes it.
    member: Option<Member>,
    /// `None` after an outcome that is not known; [`Backend::recover`] makes a new one, which decides it.
    transactor: Option<Transactor>,
    restorer: Restorer,
    /// Ours, restored, and handed out.
    running: BTreeMap<Partition, Running>,
    /// Ours, and not in `running` yet.
    restoring: BTreeSet<Partition>,
    /// Changes the loop has not been told yet. They go before any record.
    changes: VecDeque<Polled>,
    /// Records that arrived together with a change.
    stash: VecDeque<Stored>,
    /// Stores that turned out to be damaged while they were read.
    damaged: RefCell<BTreeSet<Partition>>,
    /// When the member lost its name lately, see [`NAME_LOSSES_MAX`].
    name_losses: VecDeque<Instant>,
    /// The last to be dropped: its lock keeps others away until the clients are closed.
    node: Node,
}

/// Losing the member's name once can be its own doing. This often, within this time, there is somebody else.
const NAME_LOSSES_MAX: usize = 3;
const NAME_LOSSES_WITHIN: Duration = Duration::from_secs(120);

/// A partition whose records are handed out.
struct Running {
    store: PartitionStore,
    /// No record before this offset is handed out: what the client fetched before it was positioned is not ours to see.
    next: u64,
}

impl KafkaBackend {
    /// Connects, fences a predecessor, and joins the group. The topics must exist.
    pub fn new(settings: KafkaBackendSettings) -> Result<KafkaBackend, BackendError> {
        settings.check()?;
        let node = Node::new(&settings.state_dir, &settings.application_id, settings.shard)?;
        let member = Member::join(&settings, &node)?;
        let cluster_id = check_cluster(&settings, &member)?;
        // After the check: the fencing of a predecessor is not undone.
        let transactor = Transactor::start(&settings, &node)?;
        Ok(KafkaBackend {
            restorer: Restorer::new(&settings)?,
            settings,
            cluster_id,
            member: Some(member),
            transactor: Some(transactor),
            running: BTreeMap::new(),
            restoring: BTreeSet::new(),
            changes: VecDeque::new(),
            stash: VecDeque::new(),
            damaged: RefCell::default(),
            name_losses: VecDeque::new(),
            node,
        })
    }

    fn member(&self) -> Result<&Member, BackendError> {
        self.member.as_ref().ok_or_else(|| needs_recovery("the membership in the group"))
    }

    /// Records within the wait, and whatever rebalances came meanwhile.
    fn receive(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, BackendError> {
        let deadline = Instant::now() + wait;
        let mut records = Vec::new();
        while records.len() < max {
            // The restore wants its turn, and records that came already should not wait for more.
            let idle = records.is_empty() && self.restoring.is_empty();
            let patience = if idle { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            let received = self.member()?.poll(patience)?;
            // Whatever the poll brought, and however late it is: a rebalance may have happened in it.
            let changed = self.rebalance()?;
            match received {
                Received::Record(record) => {
                    if let Some(running) = self.running.get_mut(&record.partition).filter(|r| record.offset >= r.next) {
                        running.next = record.offset + 1;
                        records.push(record);
                    }
                }
                Received::Nothing if idle && Instant::now() < deadline => {}
                Received::Nothing => break,
                Received::Lost(loss) => return Err(self.leave(loss)),
            }
            if changed {
                break;
            }
        }
        records.retain(|record| self.running.contains_key(&record.partition));
        Ok(records)
    }

    /// Gives up a membership that is of no use any more. Recovery joins again, unless the name is in dispute.
    fn leave(&mut self, loss: Loss) -> BackendError {
        tracing::warn!(?loss, "leaving the group, to join it again");
        self.member = None;
        tracing::info!("left the group");
        if loss == Loss::Position {
            return BackendError::Retry {
                what: format!(
                    "records of topic `{}` were dropped by retention before they were read",
                    self.settings.topics.outputs
                ),
                source: None,
            };
        }
        self.name_losses.retain(|lost| lost.elapsed() < NAME_LOSSES_WITHIN);
        self.name_losses.push_back(Instant::now());
        if self.name_losses.len() < NAME_LOSSES_MAX {
            return BackendError::Fenced("the group has seen this member join a second time".to_owned());
        }
        BackendError::Fatal {
            what: format!(
                "another process joins group `{}` under this one's name again and again: a copy of the state directory is \
                 in use. Stop that process, delete the `node-id` file in its copy, and start it again",
                self.settings.application_id
            ),
            source: None,
        }
    }

    /// Takes over what a rebalance has changed. True when something has.
    fn rebalance(&mut self) -> Result<bool, BackendError> {
        let rebalances = self.member()?.rebalances();
        let changed = !rebalances.is_empty();
        // First what is ours now, all of it; then the work that may fail.
        let mut to_restore = BTreeSet::new();
        for rebalance in rebalances {
            match rebalance {
                Rebalance::Assigned(partitions) => {
                    tracing::info!(?partitions, "assigned; restoring");
                    self.restoring.extend(&partitions);
                    to_restore.extend(partitions);
                }
                Rebalance::Revoked(partitions) => {
                    tracing::info!(?partitions, "revoked");
                    to_restore.retain(|partition| !partitions.contains(partition));
                    self.let_go(&partitions);
                }
            }
        }
        self.restore(&to_restore)?;
        Ok(changed)
    }

    /// Opens the stores and begins to catch up with the changelog.
    fn restore(&mut self, partitions: &BTreeSet<Partition>) -> Result<(), BackendError> {
        for &partition in partitions {
            if self.damaged.borrow_mut().remove(&partition) {
                PartitionStore::quarantine(&self.node.directory, partition)?;
            }
            let identity = self.identity(partition);
            let store = PartitionStore::open(&self.node.directory, &identity)?;
            if let Begun::Unrelated { offset, first, high } = self.restorer.begin(partition, store)? {
                tracing::error!(
                    partition,
                    offset,
                    first,
                    high,
                    topic = self.settings.topics.changelog,
                    "the local store is not of this changelog, which was truncated or created anew; rebuilding it from \
                     what the changelog holds"
                );
                PartitionStore::quarantine(&self.node.directory, partition)?;
                let empty = PartitionStore::open(&self.node.directory, &identity)?;
                self.restorer.begin(partition, empty)?;
            }
        }
        Ok(())
    }

    fn identity(&self, partition: Partition) -> Identity {
        let topics = &self.settings.topics;
        Identity::new(&self.cluster_id, &self.settings.application_id, &topics.outputs, &topics.changelog, partition)
    }

    /// Another member's from now on: closes the stores, whose directories stay, and tells the loop.
    fn let_go(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.restorer.forget(*partition);
            self.restoring.remove(partition);
            self.running.remove(partition);
        }
        self.stash.retain(|record| !partitions.contains(&record.partition));
        for change in &mut self.changes {
            if let Polled::Assigned(assigned) = change {
                assigned.retain(|assigned| !partitions.contains(&assigned.partition));
            }
        }
        self.changes.push_back(Polled::Revoked(partitions.to_vec()));
    }

    /// Hands out restored partitions, from where their cursors must be folded.
    fn hand_out(&mut self, restored: Vec<(Partition, PartitionStore)>) -> Result<(), BackendError> {
        if restored.is_empty() {
            return Ok(());
        }
        let partitions: Vec<_> = restored.iter().map(|(partition, _)| *partition).collect();
        let committed = self.member()?.committed(&partitions)?;
        let mut assigned = Vec::new();
        for (partition, store) in restored {
            let bounds = self.member()?.bounds(partition)?;
            let committed = committed.get(&partition).copied().flatten();
            let input_next = store.progress().input_next;
            let position = start_position(&self.settings, partition, committed, input_next, bounds)?;
            let checkpoint = store.get(&StateKey::Cursors.to_bytes())?;
            let from = cursors::fold_from(checkpoint.as_deref(), position)?.max(bounds.first);
            if let Err(error) = self.member()?.resume_at(partition, from) {
                // The client has stopped reading the partition, and only a new one starts again.
                let loss = self.member()?.loss();
                self.member = None;
                return Err(loss.map_or(error, |loss| self.leave(loss)));
            }
            tracing::info!(partition, position, from, "restored");
            assigned.push(Assigned { partition, position });
            self.restoring.remove(&partition);
            self.running.insert(partition, Running { store, next: from });
        }
        self.settings.at(Step::Assigned);
        self.changes.push_back(Polled::Assigned(assigned));
        Ok(())
    }

    /// One transaction, and then the local stores.
    fn transact(&mut self, unit: &CommitUnit) -> Result<(), Failure> {
        let settings = &self.settings;
        let topics = &settings.topics;
        let lost = |error| Failure::Rebuild(error);
        let member = self.member.as_ref().ok_or_else(|| lost(needs_recovery("the membership in the group")))?;
        let transactor = self.transactor.as_mut().ok_or_else(|| lost(needs_recovery("the producer")))?;

        transactor.begin()?;
        settings.at(Step::Begun);
        for output in &unit.outputs {
            let topic = match output.topic {
                OutputTopic::Alerts => &topics.alerts,
                OutputTopic::DeadLetters => &topics.dead_letters,
                OutputTopic::RuleSets => &topics.rulesets,
            };
            transactor.send(&Outgoing {
                topic,
                partition: output.partition,
                key: output.record.key.as_deref(),
                value: output.record.value.as_deref(),
                headers: &output.record.headers,
                is_changelog: false,
            })?;
        }
        for write in &unit.state {
            let next = unit.positions.iter().find(|(partition, _)| *partition == write.partition);
            let next = next.map_or(0, |(_, next)| *next);
            transactor.send(&Outgoing {
                topic: &topics.changelog,
                partition: write.partition,
                key: Some(&write.key),
                value: write.value.as_deref(),
                headers: &Headers(vec![(INPUT_NEXT.to_owned(), next.to_string().into_bytes())]),
                is_changelog: true,
            })?;
        }
        settings.at(Step::Sent);
        transactor.drain()?;
        settings.at(Step::Delivered);
        let lease = member.lease().map_err(Failure::Abort)?;
        transactor.send_positions(&topics.outputs, &unit.positions, &lease)?;
        settings.at(Step::OffsetsSent);
        transactor.commit()?;
        settings.at(Step::Committed);
        Ok(())
    }

    /// The transaction is committed: the local stores follow.
    fn apply(&mut self, unit: CommitUnit) -> Result<(), BackendError> {
        let ends = self.transactor.as_ref().map(Transactor::changelog_ends).unwrap_or_default();
        let mut by_partition: BTreeMap<Partition, Vec<_>> = BTreeMap::new();
        for write in unit.state {
            by_partition.entry(write.partition).or_default().push((write.key, write.value));
        }
        for (partition, changes) in by_partition {
            let next = unit.positions.iter().find(|(p, _)| *p == partition).map_or(0, |(_, next)| *next);
            let end = ends.get(&partition).copied().unwrap_or(0);
            let running = self.running.get_mut(&partition).expect("checked before the transaction");
            if let Err(error) = running.store.apply(changes, end, next) {
                return Err(self.store_failed(partition, error));
            }
        }
        self.settings.at(Step::Applied);
        Ok(())
    }

    /// A damaged store is put aside when it is opened the next time.
    fn store_failed(&self, partition: Partition, error: StoreError) -> BackendError {
        if error.is_damage() {
            self.damaged.borrow_mut().insert(partition);
        }
        error.into()
    }

    /// That the unit is ours to commit, and says the position of every partition it writes for: the positions are what
    /// the coordinator checks our ownership by.
    fn check(&self, unit: &CommitUnit) -> Result<(), BackendError> {
        let outputs = unit.outputs.iter().filter(|output| output.topic != OutputTopic::RuleSets);
        let written = outputs.map(|output| output.partition).chain(unit.state.iter().map(|write| write.partition));
        for partition in written {
            if !unit.positions.iter().any(|(positioned, _)| *positioned == partition) {
                return Err(BackendError::Fatal {
                    what: format!(
                        "a commit writes for partition {partition} without its position: a mistake in the loop"
                    ),
                    source: None,
                });
            }
        }
        for (partition, _) in &unit.positions {
            if !self.running.contains_key(partition) {
                return Err(BackendError::Fenced(format!("partition {partition} is not assigned any more")));
            }
        }
        Ok(())
    }

    /// After a failed transaction: aborts it where that is possible, and otherwise gives up the producer.
    fn give_up(&mut self, failure: Failure) -> BackendError {
        let aborted = match (&failure, &self.transactor) {
            (Failure::Abort(_), Some(transactor)) => transactor.abort().is_ok(),
            _ => false,
        };
        if !aborted {
            self.transactor = None;
        }
        failure.into()
    }
}

impl Backend for KafkaBackend {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, BackendError> {
        if let Some(change) = self.changes.pop_front() {
            return Ok(change);
        }
        let since = Instant::now();
        let records = if self.stash.is_empty() {
            self.receive(max, wait)?
        } else {
            let count = self.stash.len().min(max);
            self.stash.drain(..count).collect()
        };
        if !self.restorer.is_idle() {
            // At least a little, or a busy loop would never finish it.
            let left = if records.is_empty() { wait.saturating_sub(since.elapsed()) } else { Duration::ZERO };
            let restored = self.restorer.advance(left.max(Duration::from_millis(10)))?;
            self.hand_out(restored)?;
        }
        if let Some(change) = self.changes.pop_front() {
            // They come first; records of partitions that stay are not lost over it.
            self.stash.extend(records);
            return Ok(change);
        }
        if records.is_empty() {
            return Ok(Polled::Nothing);
        }
        self.settings.at(Step::Polled);
        Ok(Polled::Records(records))
    }

    fn state(&self, partition: Partition, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        let running = self.running.get(&partition);
        let running = running.ok_or_else(|| BackendError::Fenced(format!("partition {partition} is not assigned")))?;
        running.store.get(key).map_err(|error| self.store_failed(partition, error))
    }

    fn commit(&mut self, unit: CommitUnit) -> Result<(), BackendError> {
        if unit.positions.is_empty() && unit.outputs.is_empty() && unit.state.is_empty() {
            return Ok(());
        }
        self.check(&unit)?;
        if self.transactor.as_ref().is_some_and(Transactor::is_stray) {
            // The last commit was slow: whatever of it is still under way is fenced before the next begins.
            self.transactor = None;
            self.transactor = Some(Transactor::start(&self.settings, &self.node)?);
        }
        self.transact(&unit).map_err(|failure| self.give_up(failure))?;
        self.apply(unit)
    }

    fn recover(&mut self) -> Result<(), BackendError> {
        self.changes.clear();
        self.stash.clear();
        // What was ours comes again. Remembered before anything can fail, so that the next recovery knows it too.
        self.restoring.extend(std::mem::take(&mut self.running).into_keys());
        for partition in &self.restoring {
            self.restorer.forget(*partition);
        }
        if self.transactor.is_none() {
            self.transactor = Some(Transactor::start(&self.settings, &self.node)?);
        }
        if let Some(loss) = self.member.as_ref().and_then(Member::loss) {
            return Err(self.leave(loss));
        }
        let Some(member) = &self.member else {
            self.restoring.clear();
            self.member = Some(Member::join(&self.settings, &self.node)?);
            return Ok(());
        };
        for rebalance in member.rebalances() {
            match rebalance {
                Rebalance::Assigned(partitions) => self.restoring.extend(partitions),
                Rebalance::Revoked(partitions) => {
                    self.restoring.retain(|partition| !partitions.contains(partition));
                }
            }
        }
        member.pause(&self.restoring)?;
        self.restore(&self.restoring.clone())
    }
}

fn needs_recovery(what: &str) -> BackendError {
    BackendError::Retry { what: format!("{what} is lost and must be recovered first"), source: None }
}

/// Where to go on in a partition of the input.
///
/// The committed position is where; the state's tells when something is wrong with it. The state's may lag behind, since a
/// record that changes no state leaves no trace in the changelog, but is never ahead.
fn start_position(
    settings: &KafkaBackendSettings,
    partition: Partition,
    committed: Option<u64>,
    input_next: u64,
    bounds: Bounds,
) -> Result<u64, BackendError> {
    let (topic, id) = (&settings.topics.outputs, &settings.application_id);
    let Bounds { first, end } = bounds;
    let fatal = |what| Err(BackendError::Fatal { what, source: None });
    let position = match committed {
        Some(committed) if committed < input_next => {
            return fatal(format!(
                "the state of partition {partition} has seen topic `{topic}` up to offset {input_next}, but group `{id}` is \
                 committed at {committed}: its positions were set back. Set them forward again, or use another \
                 application id to process history anew"
            ));
        }
        Some(committed) if committed > end => {
            return fatal(format!(
                "group `{id}` is committed at offset {committed} in partition {partition} of topic `{topic}`, which ends at \
                 {end}: the topic was created anew, or has lost records. Use another application id, or reset the \
                 group's positions"
            ));
        }
        Some(committed) => committed,
        // A group that was idle for days loses its positions, but the state says what it has seen.
        None if input_next > 0 => {
            tracing::warn!(partition, input_next, "the group has no position any more; going on where the state is");
            input_next
        }
        None => first,
    };
    if position < first {
        tracing::error!(
            topic,
            partition,
            first = position,
            last = first - 1,
            "retention has dropped records that were never processed; going on after them"
        );
    }
    Ok(position.max(first))
}

/// That somebody answers, and that the topics are there and fit each other. Returns the cluster's id.
fn check_cluster(settings: &KafkaBackendSettings, member: &Member) -> Result<String, BackendError> {
    let cluster_id = member.cluster_id()?;
    let topics = &settings.topics;
    let partitions = member.partition_count(&topics.outputs)?;
    member.partition_count(&topics.rulesets)?;
    for topic in [&topics.alerts, &topics.dead_letters, &topics.changelog] {
        let found = member.partition_count(topic)?;
        if found != partitions {
            return Err(BackendError::Fatal {
                what: format!(
                    "topic `{topic}` has {found} partitions and `{}` has {partitions}: they must be equal, since what a \
                     partition produces goes to the partition of the same number",
                    topics.outputs
                ),
                source: None,
            });
        }
    }
    Ok(cluster_id)
}

#[cfg(test)]
mod tests {
    use tripline_eventlog::kafka::KafkaSettings;

    use super::*;

    #[test]
    fn a_shard_may_run_on_a_thread_of_its_own() {
        fn can_be_sent<T: Send>() {}
        can_be_sent::<KafkaBackend>();
    }

    fn start(committed: Option<u64>, input_next: u64, first: u64, end: u64) -> Result<u64, String> {
        let settings = KafkaBackendSettings::new(KafkaSettings::new("localhost:9092"), "app", "state");
        start_position(&settings, 3, committed, input_next, Bounds { first, end }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_partition_goes_on_where_it_was_committed() {
        assert_eq!(start(Some(7), 7, 0, 10), Ok(7));
        // The last records changed no state.
        assert_eq!(start(Some(7), 4, 0, 10), Ok(7));
        assert_eq!(start(Some(10), 4, 0, 10), Ok(10));
    }

    #[test]
    fn a_new_application_starts_at_the_first_record_kept() {
        assert_eq!(start(None, 0, 5, 10), Ok(5));
    }

    #[test]
    fn what_retention_dropped_is_skipped() {
        assert_eq!(start(Some(3), 3, 5, 10), Ok(5));
    }

    #[test]
    fn positions_that_the_group_forgot_are_taken_from_the_state() {
        assert_eq!(start(None, 7, 0, 10), Ok(7));
    }

    #[test]
    fn positions_that_were_set_back_are_refused() {
        let error = start(Some(2), 7, 0, 10).unwrap_err();
        assert!(error.contains("its positions were set back"), "{error}");
    }

    #[test]
    fn a_topic_that_ends_before_the_position_is_refused() {
        let error = start(Some(11), 7, 0, 10).unwrap_err();
        assert!(error.contains("the topic was created anew"), "{error}");
    }
}
