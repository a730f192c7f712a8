//! The one thread that writes the spool. Whoever asks at the same time shares one sync.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tripline_faults::{Point, point};
use tripline_schemas::RunId;

use super::{Batch, End, Intent, Spool, SpoolError, Ticket};
use crate::{Observer, Progress};

/// Between two syncs there is at least this time, so that many writers share one: a sync costs more than all the rest of
/// a run's way. Who writes to a spool that was quiet does not wait.
const SYNC_PAUSE: Duration = Duration::from_millis(50);
/// How soon a full disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Asks the thread that owns the spool. The thread ends when all handles are gone.
#[derive(Clone, Debug)]
pub(crate) struct SpoolHandle(Sender<Request>);

/// The thread has ended before it could answer; how it ended says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpoolGone;

enum Request {
    Write(Write),
    Batch(oneshot::Sender<Batch>),
    Published(u64),
}

/// What has to be durable before it is answered.
enum Write {
    Begin(Box<Intent>, oneshot::Sender<Ticket>),
    End(Ticket, Box<End>, oneshot::Sender<RunId>),
}

/// An answer that waits for the sync.
enum Answer {
    Begin(Ticket, oneshot::Sender<Ticket>),
    End(RunId, oneshot::Sender<RunId>),
}

impl Write {
    /// An intent nobody waits for any more: the collector stopped, so the command will not be started.
    fn is_forgotten(&self) -> bool {
        matches!(self, Write::Begin(_, answer) if answer.is_closed())
    }

    /// Writes it, or gives it back.
    fn perform(self, spool: &mut Spool) -> Result<Answer, (SpoolError, Write)> {
        match self {
            Write::Begin(intent, answer) => match spool.begin(&intent) {
                Ok(ticket) => Ok(Answer::Begin(ticket, answer)),
                Err(error) => Err((error, Write::Begin(intent, answer))),
            },
            Write::End(ticket, end, answer) => match spool.end(ticket, &end) {
                Ok(id) => Ok(Answer::End(id, answer)),
                Err(error) => Err((error, Write::End(ticket, end, answer))),
            },
        }
    }
}

impl SpoolHandle {
    /// Gives the ticket of an intent that is durable. Waits as long as the disk is full.
    pub(crate) async fn begin(&self, intent: Intent) -> Result<Ticket, SpoolGone> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Write(Write::Begin(Box::new(intent), answer)))?;
        answered.await.map_err(|_| SpoolGone)
    }

    /// Gives the number of a run whose end is durable. Waits as long as the disk is full.
    pub(crate) async fn end(&self, ticket: Ticket, end: End) -> Result<RunId, SpoolGone> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Write(Write::End(ticket, Box::new(end), answer)))?;
        answered.await.map_err(|_| SpoolGone)
    }

    /// What to publish next. Blocks; not for use in a task.
    pub(crate) fn next_batch(&self) -> Result<Batch, SpoolGone> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Batch(answer))?;
        answered.blocking_recv().map_err(|_| SpoolGone)
    }

    /// Notes that a batch is published.
    pub(crate) fn published(&self, through: u64) -> Result<(), SpoolGone> {
        self.ask(Request::Published(through))
    }

    fn ask(&self, request: Request) -> Result<(), SpoolGone> {
        self.0.send(request).map_err(|_| SpoolGone)
    }
}

/// Starts the thread. It rings `wake` whenever there is something new to publish, and gives the spool back at its end.
pub(crate) fn start(
    spool: Spool,
    wake: SyncSender<()>,
    observer: Observer,
) -> io::Result<(SpoolHandle, JoinHandle<Result<Spool, SpoolError>>)> {
    let (requests, received) = channel();
    let thread = std::thread::Builder::new().name("spool".to_owned());
    let thread = thread.spawn(move || serve(spool, &received, &wake, &observer))?;
    Ok((SpoolHandle(requests), thread))
}

fn serve(
    mut spool: Spool,
    requests: &Receiver<Request>,
    wake: &SyncSender<()>,
    observer: &Observer,
) -> Result<Spool, SpoolError> {
    let mut writes: VecDeque<Write> = VecDeque::new();
    let mut is_paused = false;
    let mut quiet_until = Instant::now();
    loop {
        let first = if is_paused {
            match requests.recv_timeout(RETRY) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break, // Nobody waits for the writes any more.
            }
        } else {
            match requests.recv() {
                Ok(request) => Some(request),
                Err(_) => break,
            }
        };
        for request in first.into_iter().chain(requests.try_iter()) {
            take(request, &mut spool, &mut writes, observer)?;
        }
        let pause = quiet_until.saturating_duration_since(Instant::now());
        if !writes.is_empty() && !pause.is_zero() {
            // Asleep rather than listening: not to be woken by each request is a good part of what sharing saves.
            std::thread::sleep(pause);
            for request in requests.try_iter() {
                take(request, &mut spool, &mut writes, observer)?;
            }
        }
        let is_writing = !writes.is_empty();
        let full = write_all(&mut spool, &mut writes, wake)?;
        if is_writing {
            quiet_until = Instant::now() + SYNC_PAUSE;
        }
        if let runs @ 1.. = spool.take_lost() {
            observer.tell(Progress::Lost { runs });
        }
        if let Some(dropped) = spool.take_dropped() {
            observer.tell(Progress::Dropped { runs: dropped.runs, commands: dropped.commands });
        }
        match full {
            Some(error) if !is_paused => observer.tell(Progress::Paused { error: crate::observe::chain(&error) }),
            None if is_paused => observer.tell(Progress::Resumed),
            _ => {}
        }
        is_paused = !writes.is_empty();
    }
    spool.sync()?;
    Ok(spool)
}

/// Answers a request, or puts it with what is to be written.
fn take(
    request: Request,
    spool: &mut Spool,
    writes: &mut VecDeque<Write>,
    observer: &Observer,
) -> Result<(), SpoolError> {
    match request {
        Request::Write(write) => writes.push_back(write),
        Request::Published(through) => spool.published(through)?,
        Request::Batch(answer) => {
            let batch = spool.next_batch()?;
            for what in &batch.damage {
                observer.tell(Progress::Damaged { what: what.clone() });
            }
            let _ = answer.send(batch); // Who asked may have gone; the batch is given again.
        }
    }
    Ok(())
}

/// Writes what is waiting, syncs once, answers. Gives the error when the disk is full; what could not be written waits.
fn write_all(
    spool: &mut Spool,
    writes: &mut VecDeque<Write>,
    wake: &SyncSender<()>,
) -> Result<Option<SpoolError>, SpoolError> {
    let mut answers = Vec::new();
    let mut full = None;
    while let Some(write) = writes.pop_front() {
        if write.is_forgotten() {
            continue;
        }
        match write.perform(spool) {
            Ok(answer) => answers.push(answer),
            Err((error, write)) if error.is_disk_full() => {
                writes.push_front(write);
                full = Some(error);
                break;
            }
            Err((error, _)) => return Err(error),
        }
    }
    if answers.is_empty() {
        return Ok(full);
    }
    spool.sync()?;
    for answer in answers {
        // Who asked may have gone; what is written stands.
        match answer {
            Answer::Begin(ticket, answer) => {
                point(Point::IntentSynced);
                let _ = answer.send(ticket);
            }
            Answer::End(id, answer) => {
                point(Point::EndSynced);
                let _ = answer.send(id);
                let _ = wake.try_send(()); // One ring is enough.
            }
        }
    }
    Ok(full)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::sync::mpsc::sync_channel;
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;
    use tripline_schemas::{Ending, Format, Key};

    use super::*;
    use crate::spool::SPOOL_BYTES_MIN;

    fn intent() -> Intent {
        Intent {
            key: Key::new("web-1", "w").unwrap(),
            address: None,
            command_line: "w".into(),
            alias: None,
            format: Format::Command,
            started: Timestamp::UNIX_EPOCH,
            collector: "1".into(),
        }
    }

    fn end() -> End {
        End {
            started: Timestamp::UNIX_EPOCH,
            duration_ms: 1,
            start_delay_ms: None,
            ending: Ending::Exited(0),
            truncated_from: None,
            stderr_tail: Vec::new(),
            output: b"out".to_vec(),
        }
    }

    #[test]
    fn a_full_disk_pauses_writers_and_lets_them_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap();
        let disk_full = Arc::clone(&spool.disk_full);
        let told: Arc<Mutex<Vec<&str>>> = Arc::default();
        let observer = {
            let (told, disk_full) = (Arc::clone(&told), Arc::clone(&disk_full));
            Observer::new(move |progress| match progress {
                Progress::Paused { error } => {
                    assert!(error.starts_with("could not write to `"), "{error}");
                    told.lock().unwrap().push("paused");
                    disk_full.store(false, Ordering::SeqCst); // Somebody makes room.
                }
                Progress::Resumed => told.lock().unwrap().push("resumed"),
                other => panic!("{other:?}"),
            })
        };
        let (wake, woken) = sync_channel(1);
        let (handle, thread) = start(spool, wake, observer).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (first, second) = runtime.block_on(async {
            let first = handle.begin(intent()).await.unwrap();
            disk_full.store(true, Ordering::SeqCst);
            let writes = tokio::join!(handle.end(first, end()), handle.begin(intent()));
            (writes.0.unwrap(), writes.1.unwrap())
        });
        assert_eq!((first.sequence, second), (1, 2));
        woken.recv().unwrap();
        let batch = handle.next_batch().unwrap();
        assert_eq!(batch.records.len(), 1);
        handle.published(batch.through).unwrap();
        drop(handle);
        let spool = thread.join().unwrap().unwrap();
        assert_eq!(spool.published, 1);
        assert_eq!(*told.lock().unwrap(), ["paused", "resumed"]);
    }

    #[test]
    fn an_intent_that_nobody_waits_for_any_more_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap();
        let (answer, answered) = oneshot::channel();
        drop(answered);
        let mut writes = VecDeque::from([Write::Begin(Box::new(intent()), answer)]);
        let (wake, _woken) = sync_channel(1);
        assert!(write_all(&mut spool, &mut writes, &wake).unwrap().is_none());
        assert!(spool.is_empty() && writes.is_empty());
    }
}
