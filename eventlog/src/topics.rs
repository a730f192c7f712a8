//! The topics of one installation: names, kinds, how long and how large.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a topic needs to exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSpec {
    /// The topic's name.
    pub name: String,
    /// How many partitions; fixed for life.
    pub partitions: u32,
    /// How records go away.
    pub cleanup: Cleanup,
    /// The largest record, key and headers included, in bytes.
    pub record_bytes_max: usize,
}

/// How records go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cleanup {
    /// By age, and by size per partition when set.
    Delete {
        /// Older records go.
        age: Duration,
        /// The oldest go when the partition holds more bytes.
        bytes: Option<u64>,
    },
    /// Only the last record of each key stays.
    Compact,
}

/// The names of an installation's topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNames {
    /// Raw outputs, gaps, control events and heartbeats.
    pub outputs: String,
    /// Alerts.
    pub alerts: String,
    /// Records that could not be decoded.
    pub dead_letters: String,
    /// Rule sets by digest.
    pub rulesets: String,
    /// The state changelog; on Kafka only.
    pub changelog: String,
}

impl TopicNames {
    /// The default names; the changelog's is made of the application id.
    pub fn new(application_id: &str) -> TopicNames {
        TopicNames {
            outputs: "tripline.outputs".to_owned(),
            alerts: "tripline.alerts".to_owned(),
            dead_letters: "tripline.dead-letters".to_owned(),
            rulesets: "tripline.rulesets".to_owned(),
            changelog: format!("{application_id}-state-changelog"),
        }
    }

    /// What each topic needs, for outputs of at most `output_bytes_max` bytes.
    pub fn specs(&self, partitions: u32, output_bytes_max: usize) -> Vec<TopicSpec> {
        const DAY: Duration = Duration::from_secs(86_400);
        // Run facts, the stderr tail and a command line of the largest size travel in headers and key.
        const HEADERS: usize = 256 * 1024;
        let spec = |name: &str, partitions, cleanup, record_bytes_max| TopicSpec {
            name: name.to_owned(),
            partitions,
            cleanup,
            record_bytes_max,
        };
        let kept = |days: u32| Cleanup::Delete { age: DAY * days, bytes: None };
        let output = output_bytes_max + HEADERS;
        // Four capped texts, of 128 KiB at most, the diff's lines, and three times the command's name, each of which JSON may blow up
        // sixfold. An alert that did not fit would hold up all that comes after it.
        let alert = 6 * 1024 * 1024;
        vec![
            spec(&self.outputs, partitions, kept(14), output),
            spec(&self.alerts, partitions, kept(90), alert),
            spec(&self.dead_letters, partitions, kept(30), output + HEADERS),
            spec(&self.rulesets, 1, Cleanup::Compact, 64 * 1024 * 1024),
            spec(&self.changelog, partitions, Cleanup::Compact, output + HEADERS),
        ]
    }
}
