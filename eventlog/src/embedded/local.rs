//! Reading a data directory beside its owner, or without one.
//!
//! With an owner everything goes through its socket. Without one the files are read directly, as they are at that moment.
//! Readers stay with what is there: one that reads files goes over to the socket as soon as an owner serves, and back when
//! it is gone. So `tripline alerts --follow` does not care whether `tripline run` is there yet, or still.

use std::{
    collections::VecDeque,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tripline_schemas::Record;

use super::{
    open::OpenError,
    options::EmbeddedOptions,
    place::{Connection, Files, OWNER_PATIENCE, Place, Source, changed},
    protocol::{self, Answer, Request},
    reader::Positions,
    store::{StateEntry, check_partition},
};
use crate::{Bounds, LogError, Publisher, Reader, Stored, topics::TopicSpec};

/// How often a reader without an owner looks for one, or for a change of the files.
const LOOK_AROUND: Duration = Duration::from_millis(200);
/// State is read from the files in pages of so many entries.
const STATE_PAGE: usize = 100;

/// Opens a data directory for reading: through its owner when there is one, else from the files.
pub fn open_for_reading(dir: &Path, options: EmbeddedOptions) -> Result<LocalLog, OpenError> {
    let place = Place::new(dir, options);
    super::open::must_exist(dir)?;
    place.attach(OWNER_PATIENCE)?;
    Ok(LocalLog { place: Arc::new(place) })
}

/// A data directory that may belong to another process. Cheap to clone.
#[derive(Clone)]
pub struct LocalLog {
    place: Arc<Place>,
}

impl LocalLog {
    /// The process id of the owner that serves; `None` when the files are read directly.
    pub fn owner(&self) -> Result<Option<u32>, LogError> {
        Ok(match self.place.attach(OWNER_PATIENCE)? {
            Source::Owner(connection) => Some(connection.pid),
            Source::Files(_) => None,
        })
    }

    /// The topics that exist, by name.
    pub fn topics(&self) -> Result<Vec<TopicSpec>, LogError> {
        match self.place.attach(OWNER_PATIENCE)? {
            Source::Owner(mut connection) => connection.topics(),
            Source::Files(files) => Ok(files.topics.values().map(|topic| topic.spec()).collect()),
        }
    }

    /// A reader of a topic.
    pub fn reader(&self, topic: &str) -> Result<LocalReader, LogError> {
        let mut source = self.place.attach(OWNER_PATIENCE)?;
        let partitions = match &mut source {
            Source::Owner(connection) => {
                let topics = connection.topics()?;
                let found = topics.iter().find(|spec| spec.name == topic).map(|spec| spec.partitions);
                found.ok_or_else(|| LogError::NoTopic { topic: topic.to_owned() })?
            }
            Source::Files(files) => files.topic(topic)?.partitions(),
        };
        Ok(LocalReader {
            place: Arc::clone(&self.place),
            source: Some(source),
            topic: topic.to_owned(),
            partitions,
            positions: Positions::default(),
        })
    }

    /// A state value.
    pub fn state_get(&self, partition: u32, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        match self.place.attach(OWNER_PATIENCE)? {
            Source::Owner(mut connection) => {
                match connection.ask(&Request::StateGet { partition }, key, Duration::ZERO)? {
                    (Answer::Value { found }, value) => Ok(found.then_some(value)),
                    other => Err(connection.unexpected(&other.0)),
                }
            }
            Source::Files(files) => files.store.state_get(partition, key),
        }
    }

    /// All state of a partition in key order, as it is at this moment.
    pub fn state_iter(&self, partition: u32) -> Result<LocalState, LogError> {
        let source = match self.place.attach(OWNER_PATIENCE)? {
            Source::Owner(mut connection) => {
                let asked = connection.send(&Request::StateIter { partition }, &[], Duration::ZERO);
                asked.map_err(|error| connection.lost(error))?;
                StateSource::Owner(connection)
            }
            Source::Files(files) => StateSource::Files { files, partition, after: None },
        };
        Ok(LocalState { source: Some(source), entries: VecDeque::new() })
    }

    /// The saved position of a group: the first offset it has not processed; `None` when it never saved one.
    pub fn position(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError> {
        match self.place.attach(OWNER_PATIENCE)? {
            Source::Owner(mut connection) => {
                let request = Request::Position { group: group.to_owned(), partition };
                match connection.ask(&request, &[], Duration::ZERO)? {
                    (Answer::Position { offset }, _) => Ok(offset),
                    other => Err(connection.unexpected(&other.0)),
                }
            }
            Source::Files(files) => files.store.position(group, partition),
        }
    }

    /// A publisher that appends through the owner. Without one the directory is to be opened as an
    /// [`EmbeddedLog`](super::EmbeddedLog).
    pub fn publisher(&self) -> Result<LocalPublisher, LogError> {
        Ok(LocalPublisher { connection: self.place.owner_only("append")? })
    }
}

/// Reads a topic of a data directory that may belong to another process.
pub struct LocalReader {
    place: Arc<Place>,
    /// `None` after the owner went away, until the next look around.
    source: Option<Source>,
    topic: String,
    partitions: u32,
    positions: Positions,
}

impl LocalReader {
    /// What to ask now.
    fn source(&mut self) -> Result<&mut Source, LogError> {
        let source = match self.source.take() {
            Some(source) => source,
            None => self.place.attach(OWNER_PATIENCE)?,
        };
        Ok(self.source.insert(source))
    }

    /// Asks the owner, once more when it went away meanwhile, or reads the files.
    fn ask<T>(
        &mut self,
        request: &Request,
        understand: impl Fn(&Answer) -> Option<T>,
        files: impl Fn(&Files) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let mut again = true;
        loop {
            match self.source()? {
                Source::Files(direct) => return files(direct),
                Source::Owner(connection) => match connection.exchange(request, &[], Duration::ZERO) {
                    Ok((Answer::Error { error }, _)) => return Err(error.into()),
                    Ok((answer, _)) => return understand(&answer).ok_or_else(|| connection.unexpected(&answer)),
                    Err(error) => {
                        let lost = connection.lost(error);
                        self.source = None;
                        if !std::mem::take(&mut again) {
                            return Err(lost);
                        }
                    }
                },
            }
        }
    }

    /// One attempt to read. `None` when the owner went away, or one came.
    fn read_once(&mut self, max: usize, wait: Duration) -> Result<Option<Vec<Stored>>, LogError> {
        let mut positions = self.positions.in_turn();
        let topic = self.topic.clone();
        let dir = self.place.dir.clone();
        let records = match self.source()? {
            Source::Files(files) => {
                let read = files.topic(&topic).and_then(|topic| files.store.read(&topic, &mut positions, max));
                match read {
                    Err(_) if changed(&dir).ok() != Some(files.changed) => {
                        // An owner came, and may have taken away what these files consist of.
                        self.source = None;
                        return Ok(None);
                    }
                    read => read?,
                }
            }
            Source::Owner(connection) => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                let request = Request::Read { topic, positions, max, wait_ms };
                match connection.exchange(&request, &[], wait) {
                    Ok((Answer::Records { positions: next }, body)) => {
                        positions = next;
                        protocol::stored_from_body(&body).ok_or_else(|| connection.nonsense("records"))?
                    }
                    Ok((Answer::Error { error }, _)) => return Err(error.into()),
                    Ok((other, _)) => return Err(connection.unexpected(&other)),
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "the log's owner went away");
                        self.source = None;
                        return Ok(None);
                    }
                }
            }
        };
        self.positions.moved(&positions);
        Ok(Some(records))
    }
}

impl Reader for LocalReader {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn bounds(&mut self, partition: u32) -> Result<Bounds, LogError> {
        let topic = self.topic.clone();
        let request = Request::Bounds { topic: topic.clone(), partition };
        let understand = |answer: &Answer| match *answer {
            Answer::Bounds { first, end } => Some(Bounds { first, end }),
            _ => None,
        };
        self.ask(&request, understand, |files| {
            let topic = files.topic(&topic)?;
            check_partition(&topic, partition)?;
            Ok(topic.bounds(partition))
        })
    }

    fn offset_at(&mut self, partition: u32, time: Timestamp) -> Result<u64, LogError> {
        let topic = self.topic.clone();
        let request = Request::OffsetAt { topic: topic.clone(), partition, time };
        let understand = |answer: &Answer| match *answer {
            Answer::Offset { offset } => Some(offset),
            _ => None,
        };
        self.ask(&request, understand, |files| files.store.offset_at(&files.topic(&topic)?.clone(), partition, time))
    }

    fn seek(&mut self, partition: u32, offset: u64) -> Result<(), LogError> {
        if partition >= self.partitions {
            let (topic, count) = (&self.topic, self.partitions);
            let what = format!("`{topic}` has no partition {partition}: it has {count}, numbered from 0");
            return Err(LogError::Failed { what, source: None });
        }
        self.positions.seek(partition, offset);
        Ok(())
    }

    fn read(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.read_once(max, left) {
                Err(error) if error.is_temporary() && !left.is_zero() => {
                    // Between two owners, or while one starts.
                    tracing::debug!(error = &error as &dyn std::error::Error, "waiting for the log's owner");
                    thread::sleep(left.min(LOOK_AROUND));
                }
                Err(error) => return Err(error),
                Ok(Some(records)) if !records.is_empty() || left.is_zero() => return Ok(records),
                Ok(Some(_)) => {
                    if let Some(Source::Files(files)) = &self.source {
                        // Files do not change by themselves: somebody must own the directory first.
                        thread::sleep(left.min(LOOK_AROUND));
                        if let Some(source) = self.place.look_around(files) {
                            self.source = Some(source);
                        }
                    }
                }
                Ok(None) => {}
            }
        }
    }
}

/// Appends through the owner.
pub struct LocalPublisher {
    connection: Connection,
}

impl Publisher for LocalPublisher {
    fn publish(&mut self, topic: &str, records: &[Record]) -> Result<(), LogError> {
        let request = Request::Append { topic: topic.to_owned() };
        match self.connection.ask(&request, &protocol::records_to_body(records), Duration::ZERO)? {
            (Answer::Placed { .. }, _) => Ok(()),
            other => Err(self.connection.unexpected(&other.0)),
        }
    }
}

/// All state of a partition in key order: key and value.
pub struct LocalState {
    /// `None` at the end.
    source: Option<StateSource>,
    entries: VecDeque<StateEntry>,
}

enum StateSource {
    Owner(Connection),
    Files { files: Arc<Files>, partition: u32, after: Option<Vec<u8>> },
}

impl Iterator for LocalState {
    type Item = Result<StateEntry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.entries.is_empty() {
            let (more, entries) = match self.source.as_mut()?.next_page() {
                Ok(page) => page,
                Err(error) => {
                    self.source = None;
                    return Some(Err(error));
                }
            };
            self.entries.extend(entries);
            if !more {
                self.source = None;
            }
        }
        self.entries.pop_front().map(Ok)
    }
}

impl StateSource {
    fn next_page(&mut self) -> Result<(bool, Vec<StateEntry>), LogError> {
        match self {
            StateSource::Owner(connection) => match connection.receive()? {
                (Answer::State { more }, body) => {
                    let entries = protocol::entries_from_body(&body).ok_or_else(|| connection.nonsense("state"))?;
                    Ok((more, entries))
                }
                other => Err(connection.unexpected(&other.0)),
            },
            StateSource::Files { files, partition, after } => {
                // The files' contents stay as they were opened, so pages fit together.
                let entries: Result<Vec<_>, _> =
                    files.store.state_after(*partition, after.as_deref())?.take(STATE_PAGE).collect();
                let entries = entries?;
                *after = entries.last().map(|(key, _)| key.clone());
                Ok((entries.len() == STATE_PAGE, entries))
            }
        }
    }
}
