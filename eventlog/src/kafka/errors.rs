//! Which of Kafka's errors pass by themselves, and how they are told.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{ClientLog, KafkaSettings, REQUEST_TIMEOUT};
use crate::LogError;

/// Whether somebody must do something before trying again can help: rights, names, configuration, versions.
pub fn is_final(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        TopicAuthorizationFailed
            | GroupAuthorizationFailed
            | ClusterAuthorizationFailed
            | TransactionalIdAuthorizationFailed
            | Authentication
            | SaslAuthenticationFailed
            | UnsupportedSASLMechanism
            | SSL
            | UnsupportedVersion
            | UnsupportedFeature
            | UnsupportedForMessageFormat
            | UnsupportedCompressionType
            | PolicyViolation
            | InvalidTopic
            | InvalidConfig
            | InvalidArgument
            | InvalidPartitions
            | InvalidReplicationFactor
            | InvalidRequiredAcks
            | InvalidTransactionTimeout
            | InvalidSessionTimeout
            | InvalidGroupId
            | InconsistentGroupProtocol
            | MessageSizeTooLarge
            | InvalidRecord
            | SecurityDisabled
    )
}

/// Whether the cluster did not answer, as opposed to answering with an error.
pub fn is_silence(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        BrokerTransportFailure | AllBrokersDown | Resolve | OperationTimedOut | TimedOutQueue | MessageTimedOut
    )
}

/// The error code, where there is one.
pub fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        // The crate leaves these out.
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// Turns an error of librdkafka into ours. `doing` says what was tried, as in "reading topic `x`".
pub fn log_error(settings: &KafkaSettings, log: &ClientLog, doing: &str, error: KafkaError) -> LogError {
    match code(&error) {
        Some(code) if is_silence(code) => unreachable_cluster(settings, log, doing, error.to_string()),
        Some(code) if is_final(code) => LogError::Failed {
            what: format!("Kafka at `{}` refused {doing}", settings.bootstrap),
            source: Some(Box::new(error)),
        },
        Some(_) => LogError::Unavailable {
            what: format!("{doing} did not work on Kafka at `{}`", settings.bootstrap),
            source: Some(Box::new(error)),
        },
        // Calls that tell their error as text only. They fail for the moment's state: a fetcher that has not started.
        None if matches!(error, KafkaError::Seek(_) | KafkaError::PauseResume(_) | KafkaError::Subscription(_)) => {
            LogError::Unavailable {
                what: format!("{doing} did not work on Kafka at `{}`", settings.bootstrap),
                source: Some(Box::new(error)),
            }
        }
        None => LogError::Failed {
            what: format!("{doing} did not work on Kafka at `{}`", settings.bootstrap),
            source: Some(Box::new(error)),
        },
    }
}

/// Nobody answered. The cause is what the client complained about, or else `fallback`.
pub fn unreachable_cluster(settings: &KafkaSettings, log: &ClientLog, doing: &str, fallback: String) -> LogError {
    let cause = log.take_complaint().unwrap_or(fallback);
    LogError::Unavailable {
        what: format!(
            "no Kafka broker answered at `{}` within {} s ({doing}); check the address, that a broker runs there, that \
             it advertises an address reachable from here, and the security settings",
            settings.bootstrap,
            REQUEST_TIMEOUT.as_secs()
        ),
        source: Some(cause.into()),
    }
}
