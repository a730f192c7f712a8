//! Other processes beside the owner.

use std::{
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

use tempfile::tempdir;
use tripline_eventlog::{
    LogError, Publisher as _, Reader as _,
    embedded::{
        Batch, EmbeddedLog, EmbeddedOptions, Guests, LocalLog, Position, ServerHandle, StateChange, open_for_reading,
        serve, socket_path,
    },
};

use crate::support::{LONG, OUTPUTS, child_command, child_dir, open, read_all, record, values};

/// Serves the directory until its standard input ends. Appends one record for each line it gets.
#[test]
#[ignore = "a child of the tests below"]
fn child_that_serves() {
    let Some(dir) = child_dir() else { return };
    let log = open(&dir, 1);
    let _server = serve(&log, &socket_path(&dir), None).unwrap();
    println!("\nserves");
    for line in std::io::stdin().lines() {
        log.append(OUTPUTS, &[record("k", line.unwrap())]).unwrap();
    }
}

/// An owner in another process. Its output is kept open, since it has a last word.
struct Neighbour(Child, Lines<BufReader<ChildStdout>>);

impl Neighbour {
    fn start(dir: &Path) -> Neighbour {
        let mut command = child_command("local::child_that_serves", dir);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line == "serves"));
        Neighbour(child, lines)
    }

    fn append(&mut self, value: &str) {
        writeln!(self.0.stdin.as_ref().unwrap(), "{value}").unwrap();
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.1.by_ref().for_each(drop);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn reading(dir: &Path) -> LocalLog {
    open_for_reading(dir, EmbeddedOptions::default()).unwrap()
}

fn served(dir: &Path) -> (EmbeddedLog, ServerHandle) {
    let log = open(dir, 3);
    let server = serve(&log, &socket_path(dir), None).unwrap();
    (log, server)
}

#[test]
fn the_socket_the_files_and_the_owner_show_the_same() {
    let dir = tempdir().unwrap();
    let (log, server) = served(dir.path());
    for n in 0..300 {
        log.append(OUTPUTS, &[record(&n.to_string(), vec![n as u8; n * 40])]).unwrap();
    }
    let state = |n: u32| StateChange { partition: 1, key: format!("{n:05}").into(), value: Some(vec![7; 500]) };
    log.commit(Batch {
        state: (0..1000).map(state).collect(),
        positions: vec![Position { group: "g".into(), partition: 2, offset: 9 }],
        ..Batch::default()
    })
    .unwrap();
    let records = read_all(&mut log.reader(OUTPUTS).unwrap());
    let entries: Vec<_> = log.state_iter(1).unwrap().map(Result::unwrap).collect();
    assert_eq!((records.len(), entries.len()), (300, 1000));
    let middle = records[records.len() / 2].append_time;
    let offsets: Vec<u64> =
        (0..3).map(|partition| log.reader(OUTPUTS).unwrap().offset_at(partition, middle).unwrap()).collect();
    let topics = log.topics();

    let check = |local: &LocalLog| {
        assert_eq!(local.topics().unwrap(), topics);
        let mut reader = local.reader(OUTPUTS).unwrap();
        let sorted = |mut records: Vec<tripline_eventlog::Stored>| {
            records.sort_by_key(|stored| (stored.partition, stored.offset));
            records
        };
        assert!(sorted(read_all(&mut reader)) == sorted(records.clone()), "the records differ");
        for (partition, offset) in (0..).zip(&offsets) {
            assert_eq!(reader.offset_at(partition, middle).unwrap(), *offset);
        }
        assert!(local.state_iter(1).unwrap().map(Result::unwrap).eq(entries.clone()), "the state differs");
        assert_eq!(local.state_iter(0).unwrap().count(), 0);
        assert_eq!(local.state_get(1, b"00007").unwrap(), Some(vec![7; 500]));
        assert_eq!(local.state_get(1, b"7").unwrap(), None);
        assert_eq!(local.position("g", 2).unwrap(), Some(9));
        assert_eq!(local.position("g", 1).unwrap(), None);
        assert!(matches!(local.reader("other"), Err(LogError::NoTopic { .. })));
        reader.seek(0, 1_000_000).unwrap();
        let error = reader.read(1, Duration::ZERO).unwrap_err();
        assert!(matches!(error, LogError::OutOfRange { offset: 1_000_000, .. }), "{error:?}");
        assert!(reader.seek(3, 0).is_err());
        assert!(reader.bounds(3).is_err());
    };
    let local = reading(dir.path());
    assert_eq!(local.owner().unwrap(), Some(std::process::id()));
    check(&local);
    drop(server);
    drop(log);
    assert!(!socket_path(dir.path()).exists());
    assert_eq!(local.owner().unwrap(), None);
    check(&local);
    check(&reading(dir.path()));
}

#[test]
fn another_process_appends_through_the_owner() {
    let dir = tempdir().unwrap();
    let (log, server) = served(dir.path());
    let local = reading(dir.path());
    local.publisher().unwrap().publish(OUTPUTS, &[record("k", "imported")]).unwrap();
    assert_eq!(values(&read_all(&mut log.reader(OUTPUTS).unwrap())), ["imported"]);
    let error = local.publisher().unwrap().publish("other", &[record("k", "v")]).unwrap_err();
    assert!(matches!(error, LogError::NoTopic { .. }), "{error:?}");

    drop(server);
    drop(log);
    let Err(error) = local.publisher() else { panic!("nobody is there to append") };
    assert!(error.to_string().contains("nobody owns it"), "{error}");
}

#[test]
fn a_follower_of_another_process_is_woken() {
    let dir = tempdir().unwrap();
    let mut neighbour = Neighbour::start(dir.path());
    let mut reader = reading(dir.path()).reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    for n in 0..20 {
        let value = n.to_string();
        neighbour.append(&value);
        assert_eq!(values(&reader.read(1, LONG).unwrap()), [value]);
    }
    neighbour.end();
}

#[test]
fn a_follower_stays_while_owners_come_and_go() {
    let dir = tempdir().unwrap();
    drop(open(dir.path(), 1));
    let mut reader = reading(dir.path()).reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    assert_eq!(reader.read(1, Duration::ZERO).unwrap(), []);

    let mut first = Neighbour::start(dir.path());
    first.append("from the first");
    assert_eq!(values(&reader.read(1, LONG).unwrap()), ["from the first"]);
    first.append("at its end");
    first.end();
    assert_eq!(values(&reader.read(1, LONG).unwrap()), ["at its end"]);
    assert_eq!(reader.read(1, Duration::from_millis(10)).unwrap(), []);

    // One that ends without taking its socket away.
    let mut second = Neighbour::start(dir.path());
    second.append("from the second");
    assert_eq!(values(&reader.read(1, LONG).unwrap()), ["from the second"]);
    second.kill();
    assert!(socket_path(dir.path()).exists());
    assert_eq!(reader.read(1, Duration::from_millis(10)).unwrap(), []);
    assert_eq!(reader.bounds(0).unwrap().end, 3);

    // One that never serves, and is gone before anybody looks.
    open(dir.path(), 1).append(OUTPUTS, &[record("k", "from a silent one")]).unwrap();
    assert_eq!(values(&reader.read(1, LONG).unwrap()), ["from a silent one"]);

    let mut third = Neighbour::start(dir.path());
    third.append("from the third");
    assert_eq!(values(&reader.read(1, LONG).unwrap()), ["from the third"]);
}

#[test]
fn a_socket_left_over_is_replaced_and_does_not_keep_readers_out() {
    let dir = tempdir().unwrap();
    let neighbour = Neighbour::start(dir.path());
    neighbour.kill();
    assert!(socket_path(dir.path()).exists());
    assert_eq!(reading(dir.path()).owner().unwrap(), None);
    let again = Neighbour::start(dir.path());
    assert_eq!(reading(dir.path()).owner().unwrap(), Some(again.0.id()));
}

#[test]
fn a_directory_with_a_long_path_is_served_too() {
    let dir = tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
    let (log, _server) = served(&deep);
    log.append(OUTPUTS, &[record("k", "v")]).unwrap();
    let local = reading(&deep);
    assert_eq!(local.owner().unwrap(), Some(std::process::id()));
    assert_eq!(read_all(&mut local.reader(OUTPUTS).unwrap()).len(), 1);
}

#[test]
fn the_way_to_the_socket_is_open_to_guests_while_there_are_some_and_the_data_files_never() {
    let above = tempdir().unwrap();
    let dir = above.path().join("log");
    let log = open(&dir, 1);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let gid = rustix::process::getegid().as_raw();
    let found = [None, Some(Guests { gid, append_to: None }), None].map(|guests| {
        let _server = serve(&log, &socket_path(&dir), guests).unwrap();
        (mode(&socket_path(&dir)), mode(&dir))
    });
    assert_eq!(found, [(0o600, 0o700), (0o660, 0o710), (0o600, 0o700)]);
    assert_eq!(mode(&dir.join("db")), 0o700);
}

#[test]
fn a_client_of_another_version_is_told_and_nonsense_ends_its_connection_only() {
    let dir = tempdir().unwrap();
    let (_log, _server) = served(dir.path());
    let say = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(socket_path(dir.path())).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // The owner may hang up before everything was said.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let frame = |header: &str| {
        let length = (header.len() as u32).to_be_bytes();
        [&length, &[0; 4], header.as_bytes()].concat()
    };
    let answer = say(&frame(r#"{"ask":"hello","protocol":99}"#));
    assert!(answer.contains("version 1") && answer.contains("not 99"), "{answer}");
    assert_eq!(say(&frame(r#"{"ask":"topics"}"#)), "", "who does not greet gets no answer");
    assert_eq!(say(&frame("{}")), "");
    assert_eq!(say(&[0xff; 100]), "");
    assert_eq!(say(b"GET"), "");
    assert_eq!(reading(dir.path()).topics().unwrap().len(), 1);
}

#[test]
fn the_end_of_the_server_ends_its_connections_and_gives_the_directory_up() {
    let dir = tempdir().unwrap();
    let (log, server) = served(dir.path());
    let mut reader = reading(dir.path()).reader(OUTPUTS).unwrap();
    reader.seek(0, 0).unwrap();
    let follower = std::thread::spawn(move || reader.read(1, LONG).map(|records| values(&records)));
    // Ends also while somebody waits; the follower goes on with whatever is there then.
    std::thread::sleep(Duration::from_millis(50));
    drop(server);
    drop(log);
    let log = open(dir.path(), 3);
    let _server = serve(&log, &socket_path(dir.path()), None).unwrap();
    log.append(OUTPUTS, &[record("5", "after all")]).unwrap();
    let partition = read_all(&mut log.reader(OUTPUTS).unwrap())[0].partition;
    if partition != 0 {
        log.commit(Batch {
            outputs: vec![tripline_eventlog::embedded::Output {
                topic: OUTPUTS.to_owned(),
                partition: 0,
                record: record("5", "after all"),
            }],
            ..Batch::default()
        })
        .unwrap();
    }
    assert_eq!(follower.join().unwrap().unwrap(), ["after all"]);
}
