//! Being told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

/// How soon a wish to stop is seen: a signal handler can do no more than set a flag.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Set when the program is to stop: by a signal, by its time limit, or by a part that failed.
#[derive(Clone, Default)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    by_signal: Arc<AtomicBool>,
}

impl Stop {
    /// Stops on SIGINT and SIGTERM; a second one ends the program at once.
    pub fn on_signals() -> std::io::Result<Stop> {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.by_signal))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.by_signal))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.flag))?;
        }
        Ok(stop)
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Whether a signal said so.
    pub fn by_signal(&self) -> bool {
        self.by_signal.load(Ordering::Relaxed)
    }

    /// Says so.
    pub fn set(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Says so when what this gives goes away: when a part of the program ends, by a panic too, and others would wait for
    /// it for ever.
    pub fn set_at_end(&self) -> SetAtEnd {
        SetAtEnd(self.clone())
    }

    /// Does some work, and something else beside it that goes on until this is set: by the end of the work at the latest.
    pub fn beside<T>(&self, other: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            scope.spawn(other);
            let _end = self.set_at_end();
            work()
        })
    }

    /// Does some work; meanwhile says to stop when the time is up (`None`: never), and then does `at_stop`.
    pub fn within<T>(&self, time: Option<Duration>, at_stop: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
        let timer = || {
            self.wait(time);
            self.set();
            at_stop();
        };
        self.beside(timer, work)
    }

    /// Sleeps, but not longer than until something says to stop.
    pub fn sleep(&self, time: Duration) {
        self.wait(Some(time));
    }

    /// Sleeps, but not longer than until something says to stop, or this is set.
    pub fn sleep_unless(&self, time: Duration, woken: &AtomicBool) {
        self.wait_while(Some(time), || !woken.load(Ordering::Relaxed));
    }

    /// Waits until the time is up (`None`: for ever) or something says to stop.
    pub fn wait(&self, time: Option<Duration>) {
        self.wait_while(time, || true);
    }

    fn wait_while(&self, time: Option<Duration>, goes_on: impl Fn() -> bool) {
        let started = Instant::now();
        while !self.is_set() && goes_on() && time.is_none_or(|time| started.elapsed() < time) {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// See [`Stop::set_at_end`].
#[must_use]
pub struct SetAtEnd(Stop);

impl Drop for SetAtEnd {
    fn drop(&mut self) {
        self.0.set();
    }
}
