//! The collector's main path: commands that are due are run, their runs go through the spool to the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tripline_eventlog::{LogError, Publisher};
use tripline_faults::{Point, point};
use tripline_schemas::event::Heartbeat;
use tripline_schemas::{Run, RunId};
use uuid::Uuid;

use crate::clock::Clock;
use crate::leftbehind::Marker;
use crate::publish::Publication;
use crate::runner::{self, Outcome, execute};
use crate::spool::thread::{self, SpoolGone, SpoolHandle};
use crate::spool::{End, Intent, Spool, SpoolError};
use crate::timetable::Timetable;
use crate::{ActivePlan, Identity, Observer, PlannedCommand, Progress, Settings, Stop, VERSION, leftbehind};

/// A collector, ready to run.
#[derive(Clone, Debug)]
pub struct Collector {
    /// The commands. They may be exchanged while it works.
    pub plan: ActivePlan,
    /// Whom it speaks for; every plan was checked for the same agent.
    pub identity: Identity,
    /// How it works.
    pub settings: Settings,
    /// The directory of its spool; made when it is not there. One collector at a time owns it.
    pub spool_dir: PathBuf,
    /// The outputs topic.
    pub topic: String,
    /// Who is told what happens.
    pub observer: Observer,
}

/// What a collector did before it stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs that ended, however.
    pub runs: u64,
    /// Runs and gaps that are durable in the log.
    pub published: u64,
    /// Whether the spool still holds something; the next start publishes it.
    pub left_in_spool: bool,
}

/// Why a collector can't go on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The spool is not usable.
    #[error("the spool can't be used")]
    Spool(#[from] SpoolError),
    /// The log refused a record for good. The spool keeps it: the next start tries again.
    #[error("could not publish to `{topic}`; the spool keeps what is not published")]
    Publish {
        /// The topic.
        topic: String,
        /// Why.
        source: LogError,
    },
    /// The operating system refused a thread or an event loop.
    #[error("could not start the collector")]
    Start(#[source] std::io::Error),
}

impl Collector {
    /// Runs commands when they are due and publishes their runs, until asked to stop. Blocks; must not be called from
    /// within an asynchronous task.
    ///
    /// The first run of each command is at once, apart from splay. When asked to stop, running commands may finish for
    /// a moment, then they are ended; what can be published at once is published, the rest stays in the spool.
    pub fn run(self, publisher: Box<dyn Publisher>, stop: &Stop) -> Result<Summary, CollectError> {
        let mut left_behind = 0;
        let (spool, recovered) =
            Spool::open_after(&self.spool_dir, self.settings.spool_bytes_max, |spool, under_way| {
                left_behind = leftbehind::end(spool, under_way, self.settings.stop_grace.0);
            })?;
        if left_behind > 0 {
            self.observer.tell(Progress::LeftBehind { processes: left_behind });
        }
        let spool_id = spool.id();
        if recovered.interrupted > 0 || !recovered.damage.is_empty() {
            let (interrupted, damage) = (recovered.interrupted, recovered.damage);
            self.observer.tell(Progress::Recovered { interrupted, damage });
        }
        if recovered.lost > 0 {
            self.observer.tell(Progress::Lost { runs: recovered.lost });
        }

        // `halt` ends the collection, for whatever reason; `drain` then ends the publication.
        let (halt, drain) = (Stop::new(), Stop::new());
        let (wake, woken) = sync_channel(1);
        let (spool, spool_thread) =
            thread::start(spool, wake.clone(), self.observer.clone()).map_err(CollectError::Start)?;
        let publication = Publication {
            publisher,
            topic: self.topic.clone(),
            spool: spool.clone(),
            woken,
            drain: drain.clone(),
            heartbeat: self.heartbeat(spool_id),
            plan: self.plan.clone(),
            heartbeat_every: self.settings.heartbeat_every.0,
            observer: self.observer.clone(),
        };
        let publish_thread = {
            let halt = halt.clone();
            let work = move || {
                let _end = halt.asked_at_end(); // By a panic too: without it runs would gather in the spool untold.
                publication.run()
            };
            std::thread::Builder::new().name("publish".to_owned()).spawn(work).map_err(CollectError::Start)?
        };

        let runs = block_on(self.collect(&spool, Marker::new(spool_id), &wake, stop, &halt))?;

        drain.ask();
        let _ = wake.try_send(()); // When it is full, it rings already.
        let published = joined(publish_thread);
        drop(spool);
        let spool = joined(spool_thread)?;
        let published = published.map_err(|source| CollectError::Publish { topic: self.topic.clone(), source })?;
        Ok(Summary { runs, published, left_in_spool: !spool.is_empty() })
    }

    /// Starts what is due until asked to stop, then ends what still runs. Gives the number of runs that ended.
    async fn collect(
        &self,
        spool: &SpoolHandle,
        marker: Marker,
        wake: &SyncSender<()>,
        stop: &Stop,
        halt: &Stop,
    ) -> u64 {
        let clock = Clock::start();
        let mut plans = self.plan.watch();
        let mut timetable = Timetable::new(&plans.borrow_and_update());
        let mut running: JoinSet<(usize, Result<(), SpoolGone>)> = JoinSet::new();
        // Slots whose process is gone. Told before the run itself is over.
        let (gone, mut is_gone) = mpsc::unbounded_channel();
        let mut runs = 0;
        'working: loop {
            let now = clock.elapsed();
            let decision = timetable.due(now, self.settings.concurrency);
            for slot in decision.start {
                let (command, at) = timetable.begin(slot, now);
                let gone = gone.clone();
                let tell_gone = move || {
                    let _ = gone.send(slot); // Whoever listened has stopped.
                };
                let run = self.one_run(command, Due { at, clock }, spool, marker, halt, tell_gone);
                running.spawn(async move { (slot, run.await) });
            }
            tokio::select! {
                () = stop.asked() => break,
                () = halt.asked() => break,
                () = sleep_some(decision.look_again.map(|at| at.saturating_sub(now).min(LOOK_EVERY))) => {}
                Some(slot) = is_gone.recv() => timetable.free_place(slot),
                Some(first) = running.join_next() => {
                    free_places(&mut is_gone, &mut timetable);
                    // Those that shared a sync are over together.
                    let more = std::iter::from_fn(|| running.try_join_next());
                    for done in std::iter::once(first).chain(more) {
                        let (slot, result) = done.unwrap_or_else(resume);
                        timetable.end(slot);
                        if result.is_err() {
                            break 'working; // Why the spool has gone is known where its thread is joined.
                        }
                        runs += 1;
                    }
                }
                Ok(()) = plans.changed() => {
                    let plan = plans.borrow_and_update().clone();
                    timetable.exchange(&plan, clock.elapsed());
                    let _ = wake.try_send(()); // The next heartbeat tells it. When it is full, it rings already.
                    self.observer.tell(Progress::Planned { commands: plan.commands().len() });
                }
            }
            free_places(&mut is_gone, &mut timetable);
        }
        halt.ask();
        let until = Instant::now() + self.settings.stop_grace.0 * 2 + STOP_MARGIN;
        while let Ok(Some(done)) = timeout_at(until, running.join_next()).await {
            let (_, result) = done.unwrap_or_else(resume);
            runs += u64::from(result.is_ok());
        }
        // Whoever is left waits for a full disk or for the kernel; their intents tell the next start of them.
        running.abort_all();
        runs
    }

    /// One run of one command, from its intent to its end.
    fn one_run(
        &self,
        command: Arc<PlannedCommand>,
        due: Due,
        spool: &SpoolHandle,
        marker: Marker,
        halt: &Stop,
        tell_gone: impl FnOnce() + Send + 'static,
    ) -> impl Future<Output = Result<(), SpoolGone>> + Send + 'static {
        let (spool, halt) = (spool.clone(), halt.clone());
        let (observer, stop_grace) = (self.observer.clone(), self.settings.stop_grace.0);
        let intent = intent(&command, &self.identity);
        async move {
            let ticket = spool.begin(intent).await?;
            observer.tell(Progress::Started { key: command.key.clone() });
            let start_delay = due.clock.elapsed().saturating_sub(due.at);
            let mark = marker.mark(ticket);
            let mut outcome = execute(&command, Some(&mark), &halt, stop_grace).await;
            point(Point::CommandEnded);
            let leftover = outcome.leftover.take();
            tell_gone();
            let end = End { start_delay_ms: Some(runner::millis(start_delay)), ..end(outcome) };
            let mut finished = Progress::Finished {
                id: RunId { spool: Uuid::nil(), sequence: 0 },
                key: command.key.clone(),
                ending: end.ending.clone(),
                duration_ms: end.duration_ms,
                output_bytes: end.output.len(),
                truncated_from: end.truncated_from,
            };
            let number = spool.end(ticket, end).await?;
            if let Progress::Finished { id, .. } = &mut finished {
                *id = number;
            }
            observer.tell(finished);
            if let Some(leftover) = leftover {
                leftover.gone().await; // Until then the command must not be started again.
            }
            Ok(())
        }
    }

    fn heartbeat(&self, spool: Uuid) -> Heartbeat {
        Heartbeat {
            agent: self.identity.agent.clone(),
            address: self.identity.address.clone(),
            spool,
            time: tripline_faults::now(),
            collector: VERSION.to_owned(),
            plan: self.plan.current().intervals(),
        }
    }
}

/// Runs one command once, now, and gives its run; nothing is spooled or published. The run id is made up. When asked
/// to stop, the command is ended and its run is interrupted.
pub fn run_once(command: &PlannedCommand, identity: &Identity, stop: &Stop) -> Result<Run, CollectError> {
    let outcome = block_on(execute(command, None, stop, Duration::ZERO))?;
    let id = RunId { spool: Uuid::new_v4(), sequence: 1 };
    Ok(intent(command, identity).ended(id, end(outcome)))
}

/// How long ending commands may take at a stop beyond twice the grace: for KILL, and for the disk.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// How long is slept at most before the clock is looked at again: sleeping timers stand still while the host is
/// suspended, and the clock that commands are planned by does not.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Gives back the places of processes that are gone. Before the end of their runs is noted: afterwards the slot may have
/// begun another one.
fn free_places(is_gone: &mut mpsc::UnboundedReceiver<usize>, timetable: &mut Timetable) {
    while let Ok(slot) = is_gone.try_recv() {
        timetable.free_place(slot);
    }
}

/// When a run was due.
#[derive(Clone, Copy)]
struct Due {
    at: Duration,
    clock: Clock,
}

fn intent(command: &PlannedCommand, identity: &Identity) -> Intent {
    Intent {
        key: command.key.clone(),
        address: identity.address.clone(),
        command_line: command.command.text(),
        alias: command.alias.clone(),
        format: command.format,
        started: tripline_faults::now(),
        collector: VERSION.to_owned(),
    }
}

fn end(outcome: Outcome) -> End {
    End {
        started: outcome.started,
        duration_ms: runner::millis(outcome.duration),
        start_delay_ms: None,
        ending: outcome.ending,
        truncated_from: outcome.truncated_from,
        stderr_tail: outcome.stderr_tail,
        output: outcome.output,
    }
}

/// Runs an event loop until this is done. Questions to the host's user database that have no answer by then are given up: one
/// that hangs must not keep the collector from ending.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CollectError> {
    // One thread is enough: it waits for processes and pipes. Files and the log have threads of their own.
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CollectError::Start)?;
    let done = event_loop.block_on(work);
    event_loop.shutdown_background();
    Ok(done)
}

async fn sleep_some(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn resume<T>(error: tokio::task::JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => unreachable!("no run is aborted while it is waited for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_without_an_answer_does_not_keep_the_collector_from_ending() {
        let (_never, answer) = std::sync::mpsc::channel::<()>();
        let (asks, asked) = tokio::sync::oneshot::channel();
        let work = async {
            tokio::task::spawn_blocking(move || {
                asks.send(()).unwrap();
                answer.recv()
            });
            asked.await
        };
        block_on(work).unwrap().unwrap();
    }
}
