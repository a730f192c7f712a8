//! Carries what the spool holds to the log, in order, and tells now and then that the agent lives.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tripline_eventlog::{LogError, Publisher};
use tripline_faults::{Point, point};
use tripline_schemas::event::{Event, Heartbeat};
use tripline_schemas::{Record, Run};

use crate::observe::chain;
use crate::spool::Batch;
use crate::spool::thread::SpoolHandle;
use crate::{ActivePlan, Observer, Plan, Progress, Stop};

/// Between two publications there is at least this time, so that on a busy machine runs share one: the log syncs each, and
/// the processor commits for each. What comes after a quiet moment does not wait.
const PUBLISH_PAUSE: Duration = Duration::from_millis(200);
/// The first pause after a failure; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Cut more than is too much, since a cut run says how large it was.
const CUT_MARGIN: usize = 256;

/// The way from the spool to the log.
pub(crate) struct Publication {
    pub(crate) publisher: Box<dyn Publisher>,
    pub(crate) topic: String,
    pub(crate) spool: SpoolHandle,
    /// Rings when the spool has something new, and when `drain` is asked for.
    pub(crate) woken: Receiver<()>,
    /// Asked when nothing new will come: publish what is there, but wait for nothing.
    pub(crate) drain: Stop,
    /// What a heartbeat says; its time and plan are filled in.
    pub(crate) heartbeat: Heartbeat,
    /// A heartbeat tells a new plan at once.
    pub(crate) plan: ActivePlan,
    pub(crate) heartbeat_every: Duration,
    pub(crate) observer: Observer,
}

impl Publication {
    /// Publishes until asked to drain, then what is left. Gives the number of runs and gaps that were published. When
    /// the log can't be reached while draining, the rest stays in the spool.
    pub(crate) fn run(mut self) -> Result<u64, LogError> {
        let mut published = 0;
        let mut next_heartbeat = Instant::now();
        let mut told_plan = self.plan.current();
        loop {
            let plan = self.plan.current();
            let is_time = Instant::now() >= next_heartbeat || !Arc::ptr_eq(&plan, &told_plan);
            if is_time && !self.drain.is_asked() {
                self.beat(&plan)?;
                next_heartbeat = Instant::now() + self.heartbeat_every;
                told_plan = plan;
            }
            let is_draining = self.drain.is_asked();
            let Ok(batch) = self.spool.next_batch() else { return Ok(published) };
            if batch.records.is_empty() {
                if is_draining {
                    return Ok(published);
                }
                let _ = self.woken.recv_timeout(next_heartbeat.saturating_duration_since(Instant::now()));
            } else if self.publish(&batch)? {
                published += batch.records.len() as u64;
                self.observer.tell(Progress::Published { records: batch.records.len() });
                if !is_draining {
                    // Not to be woken by each run that comes meanwhile is half of what the pause is for.
                    std::thread::sleep(PUBLISH_PAUSE);
                }
            } else {
                return Ok(published);
            }
        }
    }

    /// Publishes a batch, again and again as long as the log can't be reached. `false` when it gave up since it drains.
    fn publish(&mut self, batch: &Batch) -> Result<bool, LogError> {
        let mut retry_in = RETRY_MIN;
        loop {
            match self.deliver(&batch.records) {
                Ok(()) => {
                    point(Point::Published);
                    // Without a spool nothing more can be noted; the next batch will find out.
                    let _ = self.spool.published(batch.through);
                    return Ok(true);
                }
                Err(error) if error.is_temporary() => {
                    self.observer.tell(Progress::PublishRetry { error: chain(&error), retry_in });
                    if self.drains_within(retry_in) {
                        return Ok(false);
                    }
                    retry_in = (retry_in * 2).min(RETRY_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands records to the log. A run that is larger than the log takes, since its topic was made or set for smaller ones
    /// than when it ran, is cut to fit: held back it would hold back all that come after it.
    fn deliver(&mut self, records: &[Record]) -> Result<(), LogError> {
        match self.publisher.publish(&self.topic, records) {
            Err(LogError::TooLarge { .. }) => {}
            result => return result,
        }
        for record in records {
            let mut record = Cow::Borrowed(record);
            while let Err(error) = self.publisher.publish(&self.topic, std::slice::from_ref(&record)) {
                let LogError::TooLarge { size, max, .. } = error else { return Err(error) };
                let Some(run) = cut_by(&record, size.saturating_sub(max) + CUT_MARGIN) else { return Err(error) };
                self.observer.tell(Progress::Cut { id: run.id, key: run.key.clone(), output_bytes: run.output.len() });
                record = Cow::Owned(Event::Output(run).to_record());
            }
        }
        Ok(())
    }

    /// Tells that the agent lives. That this does not get through is no loss: the next one will tell it.
    fn beat(&mut self, plan: &Plan) -> Result<(), LogError> {
        let heartbeat = Heartbeat { time: tripline_faults::now(), plan: plan.intervals(), ..self.heartbeat.clone() };
        let record: Record = Event::Heartbeat(heartbeat).to_record();
        match self.publisher.publish(&self.topic, &[record]) {
            Err(error) if error.is_temporary() || matches!(error, LogError::TooLarge { .. }) => {
                tracing::warn!("could not publish a heartbeat: {}", chain(&error));
                Ok(())
            }
            result => result,
        }
    }

    /// Waits; `true` as soon as it is asked to drain.
    fn drains_within(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while !self.drain.is_asked() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if self.woken.recv_timeout(left) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {
                return true; // Nobody is left who could ring: the spool and the collector are gone.
            }
        }
        true
    }
}

/// A run with so many bytes less of its output. `None` when it has not as many, or the record is no run.
fn cut_by(record: &Record, bytes: usize) -> Option<Run> {
    let Ok(Event::Output(mut run)) = Event::from_record(record) else { return None };
    let left = run.output.len().checked_sub(bytes)?;
    run.truncated_from.get_or_insert(run.output.len() as u64);
    run.output.truncate(left);
    Some(run)
}
