//! A wish to stop, told once and seen by threads and tasks.

use std::sync::Arc;

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

    /// Asks when what this gives goes away: when a part of the collector ends, by a panic too, and others would wait for it
    /// for ever.
    pub(crate) fn asked_at_end(&self) -> AskAtEnd {
        AskAtEnd(self.clone())
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
}

/// See [`Stop::asked_at_end`].
#[must_use]
pub(crate) struct AskAtEnd(Stop);

impl Drop for AskAtEnd {
    fn drop(&mut self) {
        self.0.ask();
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}
