//! What a collector tells while it works, for a person who watches it. The same goes to `tracing`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tripline_schemas::{Ending, Key, RunId};

/// One step of a collector.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// The spool was opened; this is what an earlier collector left in it.
    Recovered {
        /// Runs that had been started and not ended; they are published as interrupted.
        interrupted: u64,
        /// Damage that was found, one text per place.
        damage: Vec<String>,
    },
    /// What was left of runs that a killed collector had under way was ended.
    LeftBehind {
        /// How many processes.
        processes: usize,
    },
    /// Damage was found in the spool while it was read for publication.
    Damaged {
        /// Where.
        what: String,
    },
    /// Damage has taken runs that were not yet published. Gap events tell it to the processor.
    Lost {
        /// How many runs.
        runs: u64,
    },
    /// Another plan has taken the place of the one before.
    Planned {
        /// How many commands it has.
        commands: usize,
    },
    /// A command was started.
    Started {
        /// Which.
        key: Key,
    },
    /// A run ended and is safe in the spool.
    Finished {
        /// The run.
        id: RunId,
        /// Of which command.
        key: Key,
        /// How it ended.
        ending: Ending,
        /// How long it took, in milliseconds.
        duration_ms: u64,
        /// How many bytes of output were kept.
        output_bytes: usize,
        /// The full size, when the output was cut.
        truncated_from: Option<u64>,
    },
    /// Runs and gaps are durable in the log.
    Published {
        /// How many records.
        records: usize,
    },
    /// A run was larger than the log takes: a part of its output is published, marked as cut.
    Cut {
        /// The run.
        id: RunId,
        /// Of which command.
        key: Key,
        /// How many bytes of its output are left.
        output_bytes: usize,
    },
    /// The log can't be reached; the spool keeps everything until it can.
    PublishRetry {
        /// Why, with all causes.
        error: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The disk is full: no command is started until there is room.
    Paused {
        /// Why.
        error: String,
    },
    /// There is room again.
    Resumed,
    /// The spool was full: runs that were not yet published are gone. Gap events tell it to the processor.
    Dropped {
        /// How many runs.
        runs: u64,
        /// Of how many commands.
        commands: usize,
    },
}

/// Takes a collector's steps; called from several threads, so it should return soon.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Progress) + Send + Sync>);

impl Observer {
    /// Hands every step to this function.
    pub fn new(take: impl Fn(&Progress) + Send + Sync + 'static) -> Observer {
        Observer(Arc::new(take))
    }

    /// Nobody watches.
    pub fn none() -> Observer {
        Observer::new(|_| {})
    }

    /// Tells a step.
    pub(crate) fn tell(&self, progress: Progress) {
        match &progress {
            Progress::Recovered { interrupted, damage } => {
                if *interrupted > 0 {
                    tracing::warn!(interrupted, "runs were interrupted when the collector last went down");
                }
                for what in damage {
                    tracing::error!("the spool is damaged: {what}");
                }
            }
            Progress::LeftBehind { processes } => {
                tracing::warn!(processes, "ended what was left of commands that ran when the collector last went down");
            }
            Progress::Damaged { what } => tracing::error!("the spool is damaged: {what}"),
            Progress::Lost { runs } => {
                tracing::error!(
                    runs,
                    "damage in the spool has taken runs that were not published; gap events tell of them"
                );
            }
            Progress::Planned { commands } => tracing::info!(commands, "the plan was exchanged"),
            Progress::Started { key } => tracing::debug!(command = key.command(), "started"),
            Progress::Finished { id, key, ending, duration_ms, output_bytes, .. } => {
                tracing::debug!(run = %id, command = key.command(), ?ending, duration_ms, output_bytes, "finished");
            }
            Progress::Published { records } => tracing::debug!(records, "published"),
            Progress::Cut { id, key, output_bytes } => {
                let command = key.command();
                tracing::warn!(run = %id, command, output_bytes, "larger than the log takes: its output was cut");
            }
            Progress::PublishRetry { error, retry_in } => {
                tracing::warn!("could not publish, trying again in {}s: {error}", retry_in.as_secs_f64());
            }
            Progress::Paused { error } => tracing::error!("collection pauses until the disk has room: {error}"),
            Progress::Resumed => tracing::warn!("collection goes on, the disk has room"),
            Progress::Dropped { runs, commands } => {
                tracing::error!(runs, commands, "the spool is full: the oldest unpublished runs were dropped");
            }
        }
        (self.0)(&progress);
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
