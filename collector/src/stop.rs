//! A wish to stop, told once and seen by threads and tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Asks a collector to stop. Clones share one wish.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// Nobody asked yet.
    pub fn new() -> Stop {
        Stop(Arc::new(watch::Sender::new(false)))
    }

    /// Asks to stop. Asking again changes nothing.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody asked.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when somebody asks.
    pub async fn asked(&self) {
        // The sender lives in `self`, so waiting can't fail.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }

    /// Asks to stop after a time, from a thread of its own that does not keep the process alive.
    pub fn ask_after(&self, time: Duration) {
        let stop = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(time);
            stop.ask();
        });
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}
