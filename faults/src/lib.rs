//! What tests need to reach inside the program: named points at which they end it, and the wall clock.
//!
//! A [`Point`] stands between two steps that must hold together although a crash comes between them. Compiled with the
//! feature `fault-points`, a program whose environment has `TRIPLINE_TEST_KILL_AT=NAME` or `NAME:N` ends with SIGKILL when
//! it passes that point for the N-th time (the first when no N is given), and says so on standard error. Without
//! the feature [`point`] is empty, and nothing is read.
//!
//! All points are in one list, so that a test can go through it: see `tests/points.rs` of the program.
//!
//! The program reads the wall clock by [`now`] alone. With the feature, `TRIPLINE_TEST_CLOCK=FILE` sets it: the file holds by
//! how many seconds it is ahead, or behind when they are negative, and is read each time.

use jiff::Timestamp;

#[cfg(feature = "fault-points")]
mod clock;
#[cfg(feature = "fault-points")]
mod kill;

/// Whether this program was compiled to obey tests.
pub const ENABLED: bool = cfg!(feature = "fault-points");

/// Ends the program when a test has asked for it here.
#[cfg(feature = "fault-points")]
pub fn point(point: Point) {
    kill::pass(point);
}

/// Ends the program when a test has asked for it here: never, as this program is compiled.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_: Point) {}

/// What the wall clock shows. It may jump, back too: what it is used for, and what a jump does there, is in docs/delivery.md.
#[expect(clippy::disallowed_methods, reason = "this is the one place that the others are sent to")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    #[cfg(feature = "fault-points")]
    let now = clock::set(now);
    now
}

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place in the program between two steps: what has just been done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All points.
            pub const ALL: &[Point] = &[$(Point::$point,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// A new log's database is made; the file that makes the directory one is not.
    LogMade = "log.made",
    /// The directory of a new log is complete.
    LogNamed = "log.named",
    /// A new topic's column family is there; the topic is not yet.
    TopicFamilyMade = "topic.family-made",
    /// A new topic is durable; nobody in the program knows it yet.
    TopicSaved = "topic.saved",

    /// A new spool has its id, and no segment.
    SpoolMade = "spool.made",
    /// At a start, the runs that an earlier process left unfinished have ends, which are not synced.
    SpoolRecovered = "spool.recovered",
    /// An intent is written, not synced.
    IntentWritten = "spool.intent-written",
    /// An intent is durable; the command was not started.
    IntentSynced = "spool.intent-synced",
    /// A command has ended; nobody has written that down.
    CommandEnded = "run.ended",
    /// The end of a run is written and numbered, not synced.
    EndWritten = "spool.end-written",
    /// The end of a run is durable; it was not offered to anybody.
    EndSynced = "spool.end-synced",
    /// Runs are about to be published: the spool has noted that the log may have them.
    Offered = "spool.offered",
    /// The log has acknowledged runs; the spool does not know.
    Published = "spool.published",
    /// The spool has noted that runs are acknowledged; it has not forgotten them.
    PublishedNoted = "spool.published-noted",
    /// A full segment of the spool is synced; there is no next one.
    SegmentFull = "spool.segment-full",
    /// The next segment is durable; the spool has given up nothing for it.
    SegmentMade = "spool.segment-made",
    /// A segment that had to make room is removed, unpublished runs in it: a gap stands for them.
    SegmentDropped = "spool.segment-dropped",
    /// A segment whose runs are all published is removed.
    SegmentRemoved = "spool.segment-removed",

    /// Records to append have their offsets; nothing is written.
    AppendBuilt = "append.built",
    /// Appended records are in the write-ahead log, not synced.
    AppendWritten = "append.written",
    /// The write-ahead log is synced; readers do not see the records yet.
    LogSynced = "log.synced",
    /// Readers see records; who appended them does not know that they are durable.
    LogShown = "log.shown",
    /// Who appended records is about to learn that they are durable.
    AppendAcknowledged = "append.acknowledged",

    /// Readers no longer see old records; all of them are there.
    RetentionHidden = "retention.hidden",
    /// Old records are dropped; their files are there.
    RetentionDropped = "retention.dropped",
    /// The files of old records are gone.
    RetentionUnlinked = "retention.unlinked",
    /// Records of a compacted topic that later ones replace are gone.
    RetentionCompacted = "retention.compacted",

    /// Partitions are taken up, cursors and state read.
    Assigned = "judge.assigned",
    /// Records were judged; nothing of it is written.
    Judged = "judge.judged",
    /// A commit unit is built: positions, alerts, state.
    UnitBuilt = "judge.unit-built",
    /// A unit is committed; the loop has not taken note.
    UnitCommitted = "judge.unit-committed",
    /// A unit with the cursors in it is built.
    CheckpointBuilt = "judge.checkpoint-built",
    /// A unit with the cursors in it is committed.
    CheckpointCommitted = "judge.checkpoint-committed",
    /// The outputs of a commit have their offsets; state, positions and outputs are not written, so nobody sees them.
    CommitBuilt = "commit.built",
    /// Outputs, state and positions of a commit are in the write-ahead log, not synced. State is seen from here on.
    CommitWritten = "commit.written",

    /// State is to be thrown away, and how far its alerts go is written down.
    RebuildDoomed = "rebuild.doomed",
    /// The old state is gone; there is no family for the new one.
    RebuildDropped = "rebuild.dropped",
    /// The state is empty; the positions are still those of the old one.
    RebuildEmptied = "rebuild.emptied",
    /// State and positions are to begin anew.
    RebuildBegun = "rebuild.begun",

    /// On Kafka: records were handed out.
    KafkaPolled = "kafka.polled",
    /// On Kafka: a transaction was begun.
    KafkaBegun = "kafka.begun",
    /// On Kafka: outputs and changelog records were handed to the producer.
    KafkaSent = "kafka.sent",
    /// On Kafka: the cluster has them.
    KafkaDelivered = "kafka.delivered",
    /// On Kafka: the input positions are part of the transaction.
    KafkaOffsetsSent = "kafka.offsets-sent",
    /// On Kafka: the transaction is committed; the local store does not know yet.
    KafkaCommitted = "kafka.committed",
    /// On Kafka: the local store knows.
    KafkaApplied = "kafka.applied",
    /// On Kafka: some of the changelog was applied to a local store.
    KafkaRestored = "kafka.restored",
    /// On Kafka: a partition is about to be handed out.
    KafkaAssigned = "kafka.assigned",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_points_have_one_name() {
        let names: BTreeSet<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
