//! Where the topics are, for verbs that look at them: on Kafka, or in a data directory, which another process may own.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use tripline_eventlog::embedded::{self, EmbeddedOptions, LocalLog, OpenError};
use tripline_eventlog::kafka::{KafkaPublisher, KafkaReader, KafkaSettings};
use tripline_eventlog::{LogError, Publisher, Reader};

use crate::cli::Where;
use crate::exit::{Exit, Failure};
use crate::owned;
use crate::settings::Settings;
use crate::users;

/// An opened log.
pub enum Log {
    /// The embedded log of a data directory.
    Embedded {
        /// The log.
        log: LocalLog,
        /// The data directory.
        dir: PathBuf,
    },
    /// A Kafka cluster.
    Kafka {
        /// Where it is.
        kafka: KafkaSettings,
        /// Where saved positions lie.
        dir: PathBuf,
    },
}

impl Log {
    /// Opens what flags and settings name: the owner's socket when somebody runs, else the files.
    pub fn open(at: &Where, settings: &Settings) -> Result<Log, Failure> {
        let dir = data_dir(at, settings);
        if uses_kafka(at, settings) {
            let kafka = settings.kafka(at.kafka.as_deref()).map_err(Failure::unusable)?;
            return Ok(Log::Kafka { kafka, dir });
        }
        let log = embedded::open_for_reading(&log_dir(&dir), EmbeddedOptions::default())
            .map_err(|error| unfound(not_opened(error), at, settings))?;
        Ok(Log::Embedded { log, dir })
    }

    /// A reader of one topic.
    pub fn reader(&self, topic: &str) -> anyhow::Result<Box<dyn Reader>> {
        Ok(match self {
            Log::Embedded { log, .. } => Box::new(log.reader(topic)?),
            Log::Kafka { kafka, .. } => Box::new(KafkaReader::open(kafka, topic)?),
        })
    }

    /// Where saved positions of this log lie.
    pub fn groups_dir(&self) -> PathBuf {
        match self {
            Log::Embedded { dir, .. } => dir.join("groups"),
            Log::Kafka { kafka, dir } => dir.join("kafka-groups").join(kafka.bootstrap.replace(['/', ':', ','], "_")),
        }
    }
}

/// Why a data directory did not open. One that is not there was named wrongly: that is usage.
pub fn not_opened(error: OpenError) -> Failure {
    match error {
        OpenError::NotFound { .. } => Failure::unusable(error),
        _ => error.into(),
    }
}

/// Where nobody said where the data is, a log that is not there is one that was looked for in the wrong place.
fn unfound(mut failure: Failure, at: &Where, settings: &Settings) -> Failure {
    if failure.exit == Exit::Unusable && at.data_dir.is_none() && settings.file.is_none() {
        failure.error = failure.error.context(
            "no settings were found (tripline.toml here, or /etc/tripline/tripline.toml): name the file with -C, or the \
             data directory with --data-dir",
        );
    }
    failure
}

/// Whether flags or settings say Kafka. A data directory says nothing about it: on Kafka it holds state and spool.
pub fn uses_kafka(at: &Where, settings: &Settings) -> bool {
    at.kafka.is_some() || settings.kafka.enabled
}

/// How many partitions the outputs lie in: as the log says, or as they will be made where there is no log yet.
pub fn partitions(at: &Where, settings: &Settings) -> Result<u32, Failure> {
    let topic = settings.topic_names().outputs;
    if uses_kafka(at, settings) {
        let kafka = settings.kafka(at.kafka.as_deref()).map_err(Failure::unusable)?;
        return Ok(KafkaReader::open(&kafka, &topic)?.partitions());
    }
    let reader = match embedded::open_for_reading(&log_dir(&data_dir(at, settings)), EmbeddedOptions::default()) {
        Ok(log) => log.reader(&topic),
        Err(OpenError::NotFound { .. }) => return Ok(settings.partitions(false)),
        Err(error) => return Err(error.into()),
    };
    match reader {
        Ok(reader) => Ok(reader.partitions()),
        Err(LogError::NoTopic { .. }) => Ok(settings.partitions(false)),
        Err(error) => Err(error.into()),
    }
}

/// The data directory.
pub fn data_dir(at: &Where, settings: &Settings) -> PathBuf {
    at.data_dir.clone().unwrap_or_else(|| settings.data_dir.clone())
}

/// Where the embedded log lies in a data directory.
pub fn log_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("log")
}

/// Somebody who appends to the topics: through the owner's socket, else as the owner.
pub fn publisher(at: &Where, settings: &Settings) -> Result<Box<dyn Publisher>, Failure> {
    if uses_kafka(at, settings) {
        let kafka = settings.kafka(at.kafka.as_deref()).map_err(Failure::unusable)?;
        return Ok(Box::new(KafkaPublisher::new(kafka)?));
    }
    let dir = data_dir(at, settings);
    match embedded::open_for_reading(&log_dir(&dir), EmbeddedOptions::default()) {
        Ok(log) if log.owner()?.is_some() => return Ok(Box::new(log.publisher()?)),
        Ok(_) | Err(OpenError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // Nobody runs: own the log for as long as it takes.
    Ok(Box::new(owned::open(&dir, settings)?.publisher()))
}

/// Refuses to write into the directory of another user: what is made there would belong to this one, and the service of the
/// other could not start any more.
pub fn not_of_another(data_dir: &Path) -> Result<(), Failure> {
    let own = rustix::process::geteuid().as_raw();
    // Where there is no log yet, root alone could make one in a directory that somebody else is to use.
    let data_dir_counts = own == 0;
    let dirs = [log_dir(data_dir), data_dir.to_owned()];
    let looked_at = if data_dir_counts { &dirs[..] } else { &dirs[..1] };
    let Some(metadata) = looked_at.iter().find_map(|dir| std::fs::metadata(dir).ok()) else { return Ok(()) };
    let owner = metadata.uid();
    if owner == own {
        return Ok(());
    }
    let owner = users::name(owner);
    Err(Failure::unusable(anyhow!(
        "`{}` belongs to {owner}, who could not read what this would write: run it as that user (`sudo -u {owner} tripline ...`)",
        data_dir.display()
    )))
}
