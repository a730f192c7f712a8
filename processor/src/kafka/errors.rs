//! What to do after an error of Kafka.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tripline_eventlog::kafka::errors::{code, is_final};

use crate::backend::BackendError;

/// A failed transaction, and what must happen to the producer before the next one.
#[derive(Debug)]
pub(super) enum Failure {
    /// Abort; the producer stays. Nothing was committed.
    Abort(BackendError),
    /// The producer is dead, or the outcome is not known: only a new one with the same transactional id, which fences
    /// whatever is still under way, makes the outcome readable.
    Rebuild(BackendError),
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> BackendError {
        match failure {
            Failure::Abort(error) | Failure::Rebuild(error) => error,
        }
    }
}

/// An error of a transactional call, as librdkafka classifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TransactionError {
    pub code: RDKafkaErrorCode,
    pub text: String,
    /// The client instance is no longer usable.
    pub fatal: bool,
    /// The same call may be made again, and goes on where it stopped.
    pub retriable: bool,
    /// The transaction can be aborted, and then the next one begun.
    pub requires_abort: bool,
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.text, self.code)
    }
}

impl std::error::Error for TransactionError {}

impl From<KafkaError> for TransactionError {
    fn from(error: KafkaError) -> TransactionError {
        match error {
            KafkaError::Transaction(error) => TransactionError {
                code: error.code(),
                text: error.string(),
                fatal: error.is_fatal(),
                retriable: error.is_retriable(),
                requires_abort: error.txn_requires_abort(),
            },
            other => TransactionError {
                code: code(&other).unwrap_or(RDKafkaErrorCode::Fail),
                text: other.to_string(),
                fatal: false,
                retriable: false,
                requires_abort: false,
            },
        }
    }
}

impl TransactionError {
    /// What follows when the call is not made again. An error that librdkafka does not classify counts as fatal, as its
    /// manual says.
    pub(super) fn into_failure(self, doing: &str) -> Failure {
        let aborts = self.requires_abort && !self.fatal;
        let error = backend_error(self.code, doing, self);
        if aborts { Failure::Abort(error) } else { Failure::Rebuild(error) }
    }
}

/// An error told to the loop.
pub(super) fn backend_error(
    code: RDKafkaErrorCode,
    doing: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> BackendError {
    use RDKafkaErrorCode::*;
    match code {
        Fenced
        | ProducerFenced
        | InvalidProducerEpoch
        | InvalidProducerIdMapping
        | IllegalGeneration
        | UnknownMemberId
        | FencedInstanceId
        | UnreleasedInstanceId
        | RebalanceInProgress
        | AssignmentLost => BackendError::Fenced(format!("{doing}: {source}")),
        code if is_final(code) => BackendError::Fatal {
            what: format!("{doing}: Kafka refused it, and will until its configuration or its rights are changed"),
            source: Some(source.into()),
        },
        _ => BackendError::Retry { what: format!("{doing} did not work"), source: Some(source.into()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: RDKafkaErrorCode, fatal: bool, requires_abort: bool) -> TransactionError {
        TransactionError { code, text: "it".to_owned(), fatal, retriable: false, requires_abort }
    }

    #[test]
    fn a_lost_generation_aborts_and_is_a_fence() {
        let failure = error(RDKafkaErrorCode::IllegalGeneration, false, true).into_failure("committing");
        assert!(matches!(failure, Failure::Abort(BackendError::Fenced(_))), "{failure:?}");
    }

    #[test]
    fn a_lost_epoch_needs_a_new_producer_and_is_a_fence() {
        let failure = error(RDKafkaErrorCode::Fenced, true, false).into_failure("committing");
        assert!(matches!(failure, Failure::Rebuild(BackendError::Fenced(_))), "{failure:?}");
    }

    #[test]
    fn an_unknown_outcome_needs_a_new_producer() {
        let failure = error(RDKafkaErrorCode::OperationTimedOut, false, false).into_failure("committing");
        assert!(matches!(failure, Failure::Rebuild(BackendError::Retry { .. })), "{failure:?}");
    }

    #[test]
    fn missing_rights_are_for_somebody_to_repair() {
        let failure = error(RDKafkaErrorCode::TopicAuthorizationFailed, false, true).into_failure("committing");
        assert!(matches!(failure, Failure::Abort(BackendError::Fatal { .. })), "{failure:?}");
    }
}
