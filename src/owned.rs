//! Owning the embedded log of a data directory: its topics, what it serves to other processes, its bounds.

use std::path::Path;
use std::time::Duration;

use tripline_collector::Clock;
use tripline_eventlog::embedded::{self, EmbeddedLog, EmbeddedOptions};

use crate::exit::Failure;
use crate::local;
use crate::print::{self, say};
use crate::settings::Settings;
use crate::settled::SettledClock;
use crate::sharing;
use crate::signals::Stop;
use crate::topics;

const RETENTION_EVERY: Duration = Duration::from_secs(60);

/// The embedded log of a data directory, with its topics. Made when it is not there, and refused when it is another user's.
pub fn open(data_dir: &Path, settings: &Settings) -> Result<EmbeddedLog, Failure> {
    let log_dir = local::log_dir(data_dir);
    local::not_of_another(data_dir)?;
    if !log_dir.exists() {
        say!("making a new log in `{}`", log_dir.display());
    }
    let log = EmbeddedLog::open(&log_dir, EmbeddedOptions::default())?;
    log.create_topics(&topics::embedded_specs(settings))?;
    Ok(log)
}

/// Serves the log to other processes and keeps it within its bounds while `work` goes on. Sets `stop` at its end.
pub fn serving<T>(log: &EmbeddedLog, settings: &Settings, stop: &Stop, work: impl FnOnce() -> T) -> Result<T, Failure> {
    // Before anything is appended by a clock that may be wrong.
    let clock = SettledClock::new(log.last_append_time(), tripline_faults::now());
    let guests = sharing::guests(settings)?;
    sharing::open_way(log.dir(), guests.as_ref())?;
    let server = embedded::serve(log, &embedded::socket_path(log.dir()), guests)?;
    let done = stop.beside(|| keep_within_bounds(log, clock, stop), work);
    drop(server);
    Ok(done)
}

/// Drops what is older than it is kept for: at least once, however soon the work is done, and then now and then.
fn keep_within_bounds(log: &EmbeddedLog, mut clock: SettledClock, stop: &Stop) {
    // It counts the time that the host was suspended: waking up is no jump of the wall clock.
    let steady = Clock::start();
    loop {
        let now = clock.read(tripline_faults::now(), steady.elapsed());
        if let Err(error) = log.enforce_retention(now) {
            tracing::error!("{}", print::chain(&error.into()));
        }
        stop.sleep(RETENTION_EVERY);
        if stop.is_set() {
            return;
        }
    }
}
