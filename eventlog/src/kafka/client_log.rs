//! What librdkafka says, in our log and in our errors.

use std::sync::Mutex;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// How many events may lie before a complaint. Each poll without a wait serves one, and log lines are events too.
const EVENTS_MAX: usize = 100;

/// Sends librdkafka's log lines to `tracing`, and remembers its last complaint, which says more than the error code of a
/// call that timed out.
#[derive(Debug, Default)]
pub struct ClientLog {
    last_complaint: Mutex<Option<String>>,
}

impl ClientLog {
    /// Lets `poll` serve what is waiting, so that a complaint is known. `poll` is the client's, without a wait.
    pub fn serve(mut poll: impl FnMut()) {
        (0..EVENTS_MAX).for_each(|_| poll());
    }

    /// The last complaint since this was asked: `127.0.0.1:1/bootstrap: Connect to ... failed: Connection refused`.
    pub fn take_complaint(&self) -> Option<String> {
        self.last_complaint.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

impl ClientContext for ClientLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", "{facility}: {message}");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
                tracing::info!(target: "librdkafka", "{facility}: {message}");
            }
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", "{facility}: {message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::info!(target: "librdkafka", "{error}: {reason}");
        // "1/1 brokers are down" follows each connection error and says less.
        let mut last = self.last_complaint.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let is_summary = error.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::AllBrokersDown);
        if !(is_summary && last.is_some()) {
            *last = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for ClientLog {}
