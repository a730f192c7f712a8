//! What the whole-program tests share: a place of its own for each test, the program as people start it, and the log it
//! works on.

#![allow(dead_code)] // Each test binary uses a part of it.

pub mod kafka;
pub mod ledger;
pub mod seed;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Nothing here is measured; this only keeps a test that hangs from hanging for ever.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A directory of one test's own. The program runs in it, so that relative names are names in it. It stays when the test
/// fails.
pub struct Place {
    dir: Option<TempDir>,
}

impl Place {
    pub fn new() -> Place {
        Place { dir: Some(tempfile::Builder::new().prefix("tripline-test-").tempdir().unwrap()) }
    }

    pub fn root(&self) -> &Path {
        self.dir.as_ref().expect("taken in drop only").path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes a file, and the directories above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The program with these arguments, in this place and without settings from the environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
        command.args(arguments).current_dir(self.root()).stdin(Stdio::null());
        for name in settings_of_the_environment() {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn tripline(&self, arguments: &[&str]) -> Ran {
        self.with_input(arguments, b"")
    }

    /// Runs the program to its end, this on its standard input.
    #[track_caller]
    pub fn with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        self.run(self.command(arguments), input)
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, mut command: Command, input: &[u8]) -> Ran {
        command.stdin(Stdio::piped());
        let mut running = Running::start(command);
        // Whoever does not read its input may have ended already.
        let _ = running.child.stdin.take().expect("it is piped").write_all(input);
        running.ended()
    }

    /// Starts the program and lets it run.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }
}

/// The variables that the program would take for settings.
#[expect(clippy::disallowed_methods, reason = "what tests keep from the program")]
fn settings_of_the_environment() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("TRIPLINE_"))
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("the test's files are in {}", dir.keep().display());
        }
    }
}

/// A run of the program that has ended.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    /// Asserts its exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.status.code(), Some(code), "{}\n{}", self.err, String::from_utf8_lossy(&self.out));
        self
    }

    /// Asserts that it succeeded, and gives what it printed.
    #[track_caller]
    pub fn text(self) -> String {
        String::from_utf8(self.exits(0).out).unwrap()
    }

    /// Asserts that its messages hold all of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Ran {
        for part in parts {
            assert!(self.err.contains(part), "no `{part}` in:\n{}", self.err);
        }
        self
    }
}

/// A run of the program that goes on. Killed when dropped.
pub struct Running {
    child: Child,
    /// Files, since nobody reads while the program runs.
    out: File,
    err: File,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        Running { child: command.spawn().unwrap(), out, err }
    }

    /// What it has said so far.
    pub fn messages(&self) -> String {
        String::from_utf8_lossy(&contents(&self.err)).into_owned()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> Vec<u8> {
        contents(&self.out)
    }

    /// Waits until it has said this.
    #[track_caller]
    pub fn wait_for(&mut self, message: &str) {
        self.wait_until(message, |running| running.messages().contains(message));
    }

    /// Waits until this is so, as long as it runs.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, is_so: impl Fn(&Running) -> bool) {
        let since = Instant::now();
        while !is_so(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(is_so(self), "it ended ({status}) before `{what}`:\n{}", self.messages());
                return;
            }
            assert!(since.elapsed() < PATIENCE, "waited in vain for `{what}`:\n{}", self.messages());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to stop, and waits.
    #[track_caller]
    pub fn stop(self) -> Ran {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Kills it as a crash does.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.messages()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(mut self) -> Ran {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ran { status, out: self.printed(), err: self.messages() };
            }
            assert!(since.elapsed() < PATIENCE, "it does not end:\n{}", self.messages());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file that another process is writing.
fn contents(file: &File) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut content = vec![0; file.metadata().unwrap().len() as usize];
    let mut read = 0;
    while let Ok(more @ 1..) = file.read_at(&mut content[read..], read as u64) {
        read += more;
    }
    content.truncate(read);
    content
}

/// The log that a scenario works on.
pub trait Log {
    /// What names it on the command line.
    fn flags(&self) -> Vec<String>;

    /// Settings that must be there, before others: plain keys, no tables.
    fn settings(&self) -> String {
        String::new()
    }

    /// Tables of settings that must be there, after others.
    fn setting_tables(&self) -> String {
        String::new()
    }

    /// The name of the outputs topic.
    fn outputs_topic(&self) -> String {
        "tripline.outputs".to_owned()
    }

    /// Makes the topics, where that is not done by itself. The settings are written.
    fn prepare(&self, place: &Place) {
        let _ = place;
    }

    /// Judges what it holds, with these flags for the rules; returns when all is judged.
    fn judge(&self, place: &Place, rules: &[&str]);

    /// Runs a verb on it to its end.
    #[track_caller]
    fn tripline(&self, place: &Place, arguments: &[&str]) -> Ran {
        place.tripline(&self.with_flags(arguments).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Arguments and the log's flags.
    fn with_flags(&self, arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).chain(self.flags()).collect()
    }
}

/// The embedded log, in the directory `data` of the place.
pub struct Embedded;

impl Log for Embedded {
    fn flags(&self) -> Vec<String> {
        vec!["--data-dir".to_owned(), "data".to_owned()]
    }

    #[track_caller]
    fn judge(&self, place: &Place, rules: &[&str]) {
        self.tripline(place, &[&["process", "--until-caught-up"], rules].concat()).exits(0);
    }
}

/// What a follower of a topic has seen, when it has come to the end.
#[track_caller]
pub fn all_of(place: &Place, topic: &str, mut follower: Running) -> String {
    let kept = place.tripline(&[topic, "--format", "json", "--data-dir", "data"]).text();
    let last = kept.lines().last().expect("something that was written lately is kept").to_owned();
    follower.wait_until("the last record", |follower| {
        let printed = String::from_utf8(follower.printed()).unwrap();
        printed.ends_with('\n') && printed.lines().last() == Some(&*last)
    });
    String::from_utf8(follower.stop().exits(0).out).unwrap()
}

/// JSON lines.
#[track_caller]
pub fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Alerts without what depends on the log they come from.
#[track_caller]
pub fn without_source(alerts: &str) -> Vec<serde_json::Value> {
    let mut alerts = json_lines(alerts);
    for alert in &mut alerts {
        alert.as_object_mut().expect("an alert is an object").remove("source");
    }
    alerts
}

/// A setting of the tests themselves.
#[expect(clippy::disallowed_methods, reason = "how much a test does is no setting of the program")]
pub fn test_setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A small generator (SplitMix64): the same seed, the same times.
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// By `SEED`, else by the clock.
    #[expect(clippy::disallowed_methods, reason = "the seed is another each time, whatever time a test sets")]
    pub fn seeded() -> Random {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed =
            test_setting("SEED").map_or(since_epoch.as_micros() as u64, |seed| seed.parse().expect("SEED is a number"));
        Random { seed, state: seed }
    }

    /// Below `bound`, about evenly.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

impl fmt::Display for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SEED={}", self.seed)
    }
}
