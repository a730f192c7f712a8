//! How a process that does not own a data directory reaches it: the owner's socket, or the files.

use std::{
    collections::BTreeMap,
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    open::{self, OpenError},
    options::EmbeddedOptions,
    protocol::{self, Answer, PROTOCOL, Request},
    server::{connect, socket_path},
    store::Store,
    topic::Topic,
};
use crate::{LogError, topics::TopicSpec};

/// How long an owner may take from its lock to its socket: it may be reading its write-ahead log.
pub(super) const OWNER_PATIENCE: Duration = Duration::from_secs(3);
/// How long an owner may take for an answer, beyond the wait that was asked for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A data directory, and how it is reached.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    options: EmbeddedOptions,
    /// Shared by the readers of the files.
    files: Mutex<Option<Arc<Files>>>,
}

/// What answers for the directory.
pub(super) enum Source {
    Owner(Connection),
    Files(Arc<Files>),
}

impl Place {
    pub(super) fn new(dir: &Path, options: EmbeddedOptions) -> Place {
        Place { dir: dir.to_owned(), options, files: Mutex::new(None) }
    }

    /// Finds the owner, or opens the files when there is none. An owner that does not serve yet is waited for.
    pub(super) fn attach(&self, patience: Duration) -> Result<Source, OpenError> {
        let deadline = Instant::now() + patience;
        loop {
            let refused = match self.connect()? {
                Ok(connection) => return Ok(Source::Owner(connection)),
                Err(refused) => refused,
            };
            let Some(owner) = open::owner(&self.dir)? else {
                match self.open_files() {
                    Ok(files) => return Ok(Source::Files(files)),
                    // An owner that started meanwhile takes files away.
                    Err(error) if open::owner(&self.dir)?.is_none() => return Err(error),
                    Err(_) => continue,
                }
            };
            if Instant::now() >= deadline {
                return Err(OpenError::OwnerSilent { dir: self.dir.clone(), owner, source: refused });
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// For a reader of files: what to read instead, when something has changed.
    pub(super) fn look_around(&self, files: &Arc<Files>) -> Option<Source> {
        if let Ok(Ok(connection)) = self.connect() {
            return Some(Source::Owner(connection));
        }
        let unchanged = changed(&self.dir).is_ok_and(|changed| changed == files.changed);
        if unchanged || !matches!(open::owner(&self.dir), Ok(None)) {
            return None;
        }
        self.open_files().ok().map(Source::Files)
    }

    /// A connection to the owner's socket. The inner error when nobody serves there, with the reason if there is a socket.
    fn connect(&self) -> Result<Result<Connection, Option<io::Error>>, OpenError> {
        let stream = match connect(&socket_path(&self.dir)) {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => return Ok(Err(None)),
                // Left over from a process that ended.
                io::ErrorKind::ConnectionRefused => return Ok(Err(Some(error))),
                io::ErrorKind::PermissionDenied => return Err(open::not_for_this_user(&self.dir, error)),
                _ => return Err(OpenError::Failed { dir: self.dir.clone(), source: error.into() }),
            },
        };
        let mut connection = Connection { stream, pid: 0, dir: self.dir.clone() };
        let hello = connection.exchange(&Request::Hello { protocol: PROTOCOL }, &[], Duration::ZERO);
        match hello {
            Ok((Answer::Hello { pid, .. }, _)) => {
                connection.pid = pid;
                Ok(Ok(connection))
            }
            Ok((Answer::Error { error }, _)) => {
                Err(OpenError::Failed { dir: self.dir.clone(), source: LogError::from(error).into() })
            }
            Ok((other, _)) => {
                Err(OpenError::Failed { dir: self.dir.clone(), source: connection.unexpected(&other).into() })
            }
            // It ended between two words.
            Err(error) => Ok(Err(Some(error))),
        }
    }

    /// The files as they are now.
    fn open_files(&self) -> Result<Arc<Files>, OpenError> {
        let mut opened = self.files.lock().unwrap_or_else(|poisoned| poisoned.into_inner()); // A cache.
        let changed = changed(&self.dir).map_err(|error| OpenError::NoAccess {
            dir: self.dir.clone(),
            tried: "read",
            source: error.into(),
        });
        // Without even that directory the way below finds the right words.
        let changed = changed.unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some(files) = opened.as_ref().filter(|files| files.changed == changed) {
            return Ok(Arc::clone(files));
        }
        let store = open::open_read_only(&self.dir, &self.options, open::Files::Whole)?;
        let topics = store.topics();
        let topics = topics.map_err(|error| OpenError::Failed { dir: self.dir.clone(), source: error.into() })?;
        let topics = topics.into_iter().map(|(topic, _)| (topic.name.clone(), Arc::new(topic))).collect();
        let files = Arc::new(Files { store, topics, changed });
        *opened = Some(Arc::clone(&files));
        Ok(files)
    }

    pub(super) fn owner_only(&self, doing: &str) -> Result<Connection, LogError> {
        match self.attach(OWNER_PATIENCE)? {
            Source::Owner(connection) => Ok(connection),
            Source::Files(_) => {
                let what = format!(
                    "could not {doing}: `{}` is open for reading only, since nobody owns it",
                    self.dir.display()
                );
                Err(LogError::Failed { what, source: None })
            }
        }
    }
}

impl From<OpenError> for LogError {
    fn from(error: OpenError) -> LogError {
        let what = "could not open the log again".to_owned();
        match error {
            OpenError::Owned { .. }
            | OpenError::OwnerSilent { .. }
            | OpenError::NotServed { .. }
            | OpenError::Full { .. } => LogError::Unavailable { what, source: Some(error.into()) },
            _ => LogError::Failed { what, source: Some(error.into()) },
        }
    }
}

/// A database that nobody owns, opened for reading. Shows what was there when it was opened.
pub(super) struct Files {
    pub(super) store: Store,
    pub(super) topics: BTreeMap<String, Arc<Topic>>,
    /// When the directory's list of files last changed. Every owner changes it when it opens the database.
    pub(super) changed: SystemTime,
}

impl Files {
    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        self.topics.get(name).cloned().ok_or_else(|| LogError::NoTopic { topic: name.to_owned() })
    }
}

pub(super) fn changed(dir: &Path) -> io::Result<SystemTime> {
    open::db_dir(dir).metadata()?.modified()
}

/// A connection to an owner. After an error it is of no more use.
pub(super) struct Connection {
    stream: UnixStream,
    pub(super) pid: u32,
    dir: PathBuf,
}

impl Connection {
    /// Asks, and gives the owner's refusal back as an error.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        body: &[u8],
        wait: Duration,
    ) -> Result<(Answer, Vec<u8>), LogError> {
        match self.exchange(request, body, wait) {
            Ok((Answer::Error { error }, _)) => Err(error.into()),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.lost(error)),
        }
    }

    pub(super) fn exchange(&mut self, request: &Request, body: &[u8], wait: Duration) -> io::Result<(Answer, Vec<u8>)> {
        self.send(request, body, wait)?;
        protocol::receive(&mut self.stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(super) fn send(&mut self, request: &Request, body: &[u8], wait: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(wait.saturating_add(ANSWER_TIMEOUT)))?;
        self.stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        protocol::send(&mut self.stream, request, body)
    }

    pub(super) fn receive(&mut self) -> Result<(Answer, Vec<u8>), LogError> {
        match protocol::receive(&mut self.stream) {
            Ok(Some((Answer::Error { error }, _))) => Err(error.into()),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.lost(error)),
        }
    }

    pub(super) fn topics(&mut self) -> Result<Vec<TopicSpec>, LogError> {
        match self.ask(&Request::Topics, &[], Duration::ZERO)? {
            (Answer::Topics { topics }, _) => Ok(topics),
            other => Err(self.unexpected(&other.0)),
        }
    }

    pub(super) fn lost(&self, error: io::Error) -> LogError {
        let what = format!("process {}, which owns `{}`, does not answer any more", self.pid, self.dir.display());
        LogError::Unavailable { what, source: Some(error.into()) }
    }

    pub(super) fn unexpected(&self, answer: &Answer) -> LogError {
        let what = format!("process {}, which owns `{}`, gave an unexpected answer", self.pid, self.dir.display());
        LogError::Failed { what, source: Some(format!("{answer:?}").into()) }
    }

    pub(super) fn nonsense(&self, what: &str) -> LogError {
        let what = format!("process {}, which owns `{}`, sent {what} that can't be read", self.pid, self.dir.display());
        LogError::Failed { what, source: None }
    }
}
