//! Topics of a Kafka cluster, through librdkafka.
//!
//! * [`KafkaSettings`]: where the cluster is, and what is passed on to librdkafka;
//! * [`admin`]: creates and checks topics;
//! * [`KafkaPublisher`] and [`KafkaReader`]: this crate's two interfaces;
//! * [`GroupPositions`]: how far a consumer group has come;
//! * [`ClientLog`], [`wire`], [`errors`]: shared with the processor's Kafka backend, which has clients of its own.
//!
//! Everything here blocks; a client belongs to one thread. No mock broker stands in for Kafka in the tests.

pub mod admin;
mod client_log;
pub mod errors;
mod group;
mod publisher;
mod reader;
mod settings;
pub mod wire;

pub use admin::{TopicDescription, check_topics, create_topics, describe_topics};
pub use client_log::ClientLog;
pub use group::GroupPositions;
pub use publisher::KafkaPublisher;
pub use reader::KafkaReader;
pub use settings::KafkaSettings;

use std::time::Duration;

/// How long a single question to the cluster may take: metadata, watermarks, offsets.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
