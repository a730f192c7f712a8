//! Serving other processes of the machine: the owner of a data directory answers on a Unix socket in it.
//!
//! The socket's file mode decides who may connect: this user and root, who may do everything, and the members of one group
//! where [`serve`] is told of one, who may read and maybe append. One thread accepts, each connection has one of its own.

use std::{
    collections::HashMap,
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{PermissionsExt as _, chown},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags};

use super::{
    EmbeddedLog, open,
    protocol::{self, Answer, PROTOCOL, Request, WireError},
    store::check_partition,
    topic::Topic,
};
use crate::{LogError, Stored};

/// More connections than this at a time are turned away.
const CONNECTIONS_MAX: usize = 64;
/// A guest is turned away when there are so many, so that some are left for others.
const CONNECTIONS_WITH_GUESTS_MAX: usize = 48;
/// A read waits at most so long, so that a client that went away is noticed.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// A client that does not take its answer in this time is let go.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// State is sent in pieces of about so many bytes.
const STATE_BYTES: usize = 64 << 10;

/// The socket of a data directory.
pub fn socket_path(dir: &Path) -> PathBuf {
    dir.join("tripline.sock")
}

/// Who may come to the socket beside this user and root: the members of a group. They may read everything that is in the
/// log, through the socket only: its files stay closed to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guests {
    /// The group's number.
    pub gid: u32,
    /// The one topic that they may also append to.
    pub append_to: Option<String>,
}

/// Serves other processes until the handle is dropped; once per log. A socket left over from a process that ended is
/// replaced.
pub fn serve(log: &EmbeddedLog, socket: &Path, guests: Option<Guests>) -> Result<ServerHandle, LogError> {
    let failed = |error: io::Error| {
        let what = format!("could not serve other processes at `{}`", socket.display());
        LogError::Failed { what, source: Some(error.into()) }
    };
    let gid = guests.as_ref().map(|guests| guests.gid);
    open_way(log.dir(), gid).map_err(failed)?;
    let listener = Arc::new(bind(socket, gid).map_err(failed)?);
    let guests_append_to = guests.and_then(|guests| guests.append_to);
    let stop = AtomicBool::new(false);
    let server = Arc::new(Server { log: log.clone(), guests_append_to, stop, connections: Mutex::default() });
    let accepting = thread::Builder::new().name("log-serve".to_owned()).spawn({
        let server = Arc::clone(&server);
        let listener = Arc::clone(&listener);
        move || server.accept(&listener)
    });
    let accepting = accepting.map_err(failed)?;
    Ok(ServerHandle { server, listener, socket: socket.to_owned(), accepting: Some(accepting) })
}

/// Serves as long as it lives.
pub struct ServerHandle {
    server: Arc<Server>,
    listener: Arc<UnixListener>,
    socket: PathBuf,
    accepting: Option<JoinHandle<()>>,
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.server.stop.store(true, Ordering::Release);
        for connection in self.server.connections().values() {
            // It is gone already when this fails.
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        self.server.log.shared().writer.wake();
        // First the name, so that nobody comes to a door that is about to close.
        let _ = fs::remove_file(&self.socket);
        // Ends the `accept` that is under way.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// What a client may ask for: everything up to this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rights {
    /// What changes nothing and takes little.
    Read,
    /// To add records to the topic that guests may append to.
    Append,
    /// What only this user and root may: to write elsewhere, to keep the owner busy, to make it write where the client says.
    All,
}

impl Rights {
    /// What a client needs for this, where guests may append to this topic.
    fn needed_for(request: &Request, guests_append_to: Option<&str>) -> Rights {
        match request {
            Request::Hello { .. }
            | Request::Topics
            | Request::Bounds { .. }
            | Request::OffsetAt { .. }
            | Request::Read { .. }
            | Request::StateGet { .. }
            | Request::StateIter { .. }
            | Request::Position { .. } => Rights::Read,
            Request::Append { topic } if guests_append_to.is_none_or(|allowed| allowed == topic) => Rights::Append,
            Request::Append { .. } | Request::Verify | Request::Backup { .. } => Rights::All,
        }
    }

    /// What to tell somebody who needs these, and has less.
    fn refusal(self) -> WireError {
        let what = match self {
            Rights::All => "only the user that the log's owner runs as, and root, may do this: run it as one of them",
            Rights::Read | Rights::Append => {
                "you may read here and not write: run it as the user that the log's owner runs as, or let its settings say \
                 `[socket] group_may = \"write\"`"
            }
        };
        WireError::Failed { what: what.to_owned(), cause: None }
    }
}

struct Server {
    log: EmbeddedLog,
    /// What clients may append to that are neither this user nor root.
    guests_append_to: Option<String>,
    stop: AtomicBool,
    /// By number, to be shut down at the end.
    connections: Mutex<HashMap<u64, UnixStream>>,
}

impl Server {
    fn accept(&self, listener: &UnixListener) {
        thread::scope(|scope| {
            for number in 0.. {
                let accepted = listener.accept();
                if self.stop.load(Ordering::Acquire) {
                    return;
                }
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of file descriptors, most likely: it passes, and must not spin.
                        tracing::warn!(error = &error as &dyn std::error::Error, "could not accept a local connection");
                        thread::sleep(Duration::from_millis(100));
                        continue;
                    }
                };
                let connection = thread::Builder::new().name("log-conn".to_owned());
                let spawned = connection.spawn_scoped(scope, move || self.connection(number, stream));
                if let Err(error) = spawned {
                    tracing::warn!(error = &error as &dyn std::error::Error, "could not serve a local connection");
                }
            }
        });
    }

    /// Answers one client until it goes.
    fn connection(&self, number: u64, mut stream: UnixStream) {
        let registered = stream.try_clone().map(|clone| {
            let mut connections = self.connections();
            connections.insert(number, clone);
            connections.len()
        });
        let outcome = registered.and_then(|count| {
            // Whoever stops the server shuts down what is registered by then, and asks for this before.
            if self.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            let rights = self.rights_of(&stream)?;
            let most = if rights == Rights::All { CONNECTIONS_MAX } else { CONNECTIONS_WITH_GUESTS_MAX };
            if count > most {
                let what = format!("the owner of the log serves {most} connections already; try again");
                let error = WireError::Unavailable { what, cause: None };
                return protocol::send(&mut stream, &Answer::Error { error }, &[]);
            }
            self.talk(&mut stream, rights)
        });
        if let Err(error) = outcome
            && !self.stop.load(Ordering::Acquire)
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "a local connection ended");
        }
        self.connections().remove(&number);
    }

    /// What the user at the other end may.
    fn rights_of(&self, stream: &UnixStream) -> io::Result<Rights> {
        let client = rustix::net::sockopt::socket_peercred(stream)?.uid;
        let is_guest = !client.is_root() && client != rustix::process::geteuid();
        Ok(match self.guests_append_to {
            _ if !is_guest => Rights::All,
            Some(_) => Rights::Append,
            None => Rights::Read,
        })
    }

    fn talk(&self, stream: &mut UnixStream, rights: Rights) -> io::Result<()> {
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let body_bytes_max = if rights >= Rights::Append { protocol::BODY_BYTES_MAX } else { protocol::KEY_BYTES_MAX };
        let mut greeted = false;
        while let Some((request, body)) = protocol::receive_within(stream, body_bytes_max)? {
            if self.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            let needed = Rights::needed_for(&request, self.guests_append_to.as_deref());
            let (answer, body) = match request {
                Request::Hello { protocol: PROTOCOL } => {
                    greeted = true;
                    (Answer::Hello { protocol: PROTOCOL, pid: std::process::id() }, Vec::new())
                }
                Request::Hello { protocol } => {
                    let what = format!(
                        "the owner of the log speaks version {PROTOCOL} of the local protocol, not {protocol}; use the \
                         same Tripline for both"
                    );
                    let error = WireError::Failed { what, cause: None };
                    return protocol::send(stream, &Answer::Error { error }, &[]);
                }
                _ if !greeted => return Err(io::Error::new(io::ErrorKind::InvalidData, "no greeting")),
                _ if rights < needed => (Answer::Error { error: needed.refusal() }, Vec::new()),
                Request::StateIter { partition } => self.send_state(partition, stream)?,
                request => self.answer(request, &body).unwrap_or_else(|error| error_answer(&error)),
            };
            protocol::send(stream, &answer, &body)?;
        }
        Ok(())
    }

    fn answer(&self, request: Request, body: &[u8]) -> Result<(Answer, Vec<u8>), LogError> {
        let shared = self.log.shared();
        let mut answer_body = Vec::new();
        let answer = match request {
            Request::Topics => Answer::Topics { topics: self.log.topics() },
            Request::Bounds { topic, partition } => {
                let topic = shared.topic(&topic)?;
                check_partition(&topic, partition)?;
                let bounds = topic.bounds(partition);
                Answer::Bounds { first: bounds.first, end: bounds.end }
            }
            Request::OffsetAt { topic, partition, time } => {
                Answer::Offset { offset: shared.store.offset_at(&*shared.topic(&topic)?, partition, time)? }
            }
            Request::Read { topic, mut positions, max, wait_ms } => {
                let records = self.read(&topic, &mut positions, max, Duration::from_millis(wait_ms))?;
                answer_body = protocol::stored_to_body(&records);
                Answer::Records { positions }
            }
            Request::Append { topic } => {
                let records = protocol::records_from_body(body).ok_or_else(|| LogError::Failed {
                    what: "a client sent records that can't be read".to_owned(),
                    source: None,
                })?;
                Answer::Placed { placed: self.log.append(&topic, &records)? }
            }
            Request::StateGet { partition } => {
                let value = self.log.state_get(partition, body)?;
                let found = value.is_some();
                answer_body = value.unwrap_or_default();
                Answer::Value { found }
            }
            Request::Position { group, partition } => {
                Answer::Position { offset: self.log.position(&group, partition)? }
            }
            Request::Verify => {
                let topics = shared.topics.read().expect("not poisoned: nothing panics while it is held");
                let topics: Vec<Arc<Topic>> = topics.values().cloned().collect();
                let stop = || self.stop.load(Ordering::Acquire);
                Answer::Verified { check: shared.store.verify(&topics, &stop, &mut |_, _, _| {})? }
            }
            Request::Backup { to } => {
                self.log.backup(&to)?;
                Answer::Done
            }
            Request::Hello { .. } | Request::StateIter { .. } => unreachable!("answered where it came in"),
        };
        Ok((answer, answer_body))
    }

    fn read(
        &self,
        topic: &str,
        positions: &mut [(u32, u64)],
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, LogError> {
        let shared = self.log.shared();
        let topic = shared.topic(topic)?;
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        loop {
            let seen = shared.writer.seen();
            let records = shared.store.read(&topic, positions, max)?;
            if !records.is_empty() || Instant::now() >= deadline || self.stop.load(Ordering::Acquire) {
                return Ok(records);
            }
            shared.writer.wait_newer(&shared.store, seen, deadline)?;
        }
    }

    /// Sends the state of a partition in pieces; the last one is returned.
    fn send_state(&self, partition: u32, stream: &mut UnixStream) -> io::Result<(Answer, Vec<u8>)> {
        let entries = match self.log.state_iter(partition) {
            Ok(entries) => entries,
            Err(error) => return Ok(error_answer(&error)),
        };
        let mut body = Vec::new();
        for entry in entries {
            match entry {
                Ok((key, value)) => protocol::entry_to_body(&key, &value, &mut body),
                Err(error) => return Ok(error_answer(&error)),
            }
            if body.len() >= STATE_BYTES {
                protocol::send(stream, &Answer::State { more: true }, &body)?;
                body.clear();
            }
        }
        Ok((Answer::State { more: false }, body))
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, UnixStream>> {
        self.connections.lock().expect("not poisoned: nothing panics while it is held")
    }
}

fn error_answer(error: &LogError) -> (Answer, Vec<u8>) {
    (Answer::Error { error: WireError::from(error) }, Vec::new())
}

/// The permission bits of a directory that guests may pass through on their way to the socket, and not list.
const PASSABLE: u32 = 0o710;

/// Lets the members of a group pass through a directory that is this user's alone, or nobody any more. One with other
/// permissions than these two was opened by somebody else, and is left as it is.
pub fn let_pass(dir: &Path, gid: Option<u32>) -> io::Result<()> {
    let mode = fs::metadata(dir)?.permissions().mode() & 0o777;
    let is_ours = mode & 0o077 == 0 || mode == PASSABLE;
    let set = |mode| fs::set_permissions(dir, fs::Permissions::from_mode(mode));
    match gid {
        Some(gid) if is_ours => {
            chown(dir, None, Some(gid))?;
            set(PASSABLE)
        }
        None if mode == PASSABLE => set(0o700),
        _ => Ok(()),
    }
}

/// Lets guests come to the socket in the log's directory and to no data file, or none come any more. What lies beside the
/// data files are the socket and two small files that say how the log is laid out.
fn open_way(dir: &Path, gid: Option<u32>) -> io::Result<()> {
    if gid.is_some() {
        fs::set_permissions(open::db_dir(dir), fs::Permissions::from_mode(0o700))?;
    }
    let_pass(dir, gid)
}

/// Binds beside the socket and moves it there, so that it never stands there with other permissions, and a left-over one
/// is replaced at once. The caller owns the directory.
fn bind(socket: &Path, gid: Option<u32>) -> io::Result<UnixListener> {
    let new = socket.with_extension("sock.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_short_path(&new, |path| UnixListener::bind(path))?;
    if gid.is_some() {
        chown(&new, None, gid)?;
    }
    fs::set_permissions(&new, fs::Permissions::from_mode(if gid.is_some() { 0o660 } else { 0o600 }))?;
    fs::rename(&new, socket)?;
    Ok(listener)
}

/// Connects to a socket, however long its path is.
pub(super) fn connect(socket: &Path) -> io::Result<UnixStream> {
    with_short_path(socket, |path| UnixStream::connect(path))
}

/// A socket's path has room for about a hundred bytes in the system's interface, a directory's for 4096. So a long one is
/// reached by way of its open directory.
fn with_short_path<T>(socket: &Path, then: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    const PATH_BYTES_MAX: usize = 100;
    if socket.as_os_str().len() <= PATH_BYTES_MAX {
        return then(socket);
    }
    let (Some(dir), Some(name)) = (socket.parent(), socket.file_name()) else { return then(socket) };
    // Whoever may pass through a directory may not always list it.
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    then(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_comes_while_the_server_stops_and_says_nothing_does_not_hold_it_up() {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(dir.path(), super::super::EmbeddedOptions::default()).unwrap();
        let stop = AtomicBool::new(true);
        let server = Server { log, guests_append_to: None, stop, connections: Mutex::default() };
        // As when the end of the server has shut down all connections that it knew, just before this one.
        let (stream, _silent) = UnixStream::pair().unwrap();
        server.connection(0, stream);
    }

    #[test]
    fn guests_append_to_one_topic_and_write_nothing_else() {
        let append = |topic: &str| Request::Append { topic: topic.to_owned() };
        let needed = |request: &Request| Rights::needed_for(request, Some("outputs"));
        assert_eq!(needed(&Request::Topics), Rights::Read);
        assert_eq!(needed(&append("outputs")), Rights::Append);
        assert_eq!(needed(&append("alerts")), Rights::All, "nobody may forge an alert");
        assert_eq!(needed(&Request::Backup { to: "/tmp".into() }), Rights::All, "nobody may choose where it writes");
        assert_eq!(Rights::needed_for(&append("outputs"), None), Rights::Append, "who only reads is told how to write");
    }
}
