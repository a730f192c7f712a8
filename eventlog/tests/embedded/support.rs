//! What the tests share: topics, records, children that are killed.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tripline_eventlog::{
    Reader, Stored,
    embedded::{EmbeddedLog, EmbeddedOptions},
    topics::{Cleanup, TopicSpec},
};
use tripline_schemas::{Headers, Record};

pub const OUTPUTS: &str = "outputs";

/// Long enough for anything that is going to happen.
pub const LONG: Duration = Duration::from_secs(60);

pub fn topic(name: &str, partitions: u32) -> TopicSpec {
    let cleanup = Cleanup::Delete { age: Duration::from_secs(86_400), bytes: None };
    TopicSpec { name: name.to_owned(), partitions, cleanup, record_bytes_max: 4 << 20 }
}

/// A log in this directory, with a topic [`OUTPUTS`].
pub fn open(dir: &Path, partitions: u32) -> EmbeddedLog {
    let log = EmbeddedLog::open(dir, EmbeddedOptions::default()).expect("the directory opens");
    log.create_topics(&[topic(OUTPUTS, partitions)]).expect("the topic is made");
    log
}

pub fn record(key: &str, value: impl Into<Vec<u8>>) -> Record {
    let mut headers = Headers::default();
    headers.push("ce_type", "tripline.output.v1");
    Record { key: Some(key.as_bytes().to_vec()), value: Some(value.into()), headers }
}

/// Everything that is kept in a topic, as far as it is readable now.
pub fn read_all(reader: &mut dyn Reader) -> Vec<Stored> {
    for partition in 0..reader.partitions() {
        let first = reader.bounds(partition).expect("bounds").first;
        reader.seek(partition, first).expect("the partition exists");
    }
    let mut all = Vec::new();
    loop {
        let records = reader.read(1000, Duration::ZERO).expect("the records can be read");
        if records.is_empty() {
            return all;
        }
        all.extend(records);
    }
}

pub fn values(records: &[Stored]) -> Vec<String> {
    let text = |stored: &Stored| String::from_utf8(stored.record.value.clone().expect("a value")).expect("UTF-8");
    records.iter().map(text).collect()
}

/// The offsets of a partition are `first..`, in order and without gaps.
pub fn assert_without_gaps(records: &[Stored], partition: u32, first: u64) {
    let offsets: Vec<u64> =
        records.iter().filter(|stored| stored.partition == partition).map(|stored| stored.offset).collect();
    let expected: Vec<u64> = (first..first + offsets.len() as u64).collect();
    assert_eq!(offsets, expected, "partition {partition}");
}

/// Runs the ignored test `name` of this program in a process of its own, with its standard output piped. It learns the
/// directory from `DIR`.
pub fn child(name: &str, dir: &Path) -> Child {
    child_command(name, dir).spawn().expect("the child starts")
}

pub fn child_command(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("DIR", dir).stdout(Stdio::piped());
    command
}

/// The directory that a child works in; `None` when this is no child, but somebody who runs all ignored tests.
#[expect(clippy::disallowed_methods, reason = "how the child of a test is told what to do")]
pub fn child_dir() -> Option<std::path::PathBuf> {
    std::env::var_os("DIR").map(Into::into)
}

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "the seed and the length of a test are no settings of the program")]
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    Some(text.to_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{variable} is not a number")))
}

/// Small random numbers from a printed seed: xorshift64*.
pub struct Random(u64);

impl Random {
    /// From `SEED`, or from the time.
    pub fn seeded() -> Random {
        let seed = number("SEED").unwrap_or_else(|| tripline_faults::now().as_nanosecond() as u64).max(1);
        eprintln!("SEED={seed}");
        Random(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
