//! Reading a topic backwards: what a command printed before.

use std::collections::HashMap;
use std::time::Duration;

use tripline_eventlog::{LogError, Reader, Stored};
use tripline_schemas::event::Event;
use tripline_schemas::partition::partition_for;
use tripline_schemas::{Key, Run};

use crate::signals::Stop;

/// How many offsets the first step back takes. Each step takes twice as many as the one before, so that looking for
/// something near is cheap, and reading all of a log costs little more than reading it forwards.
const STEP_MIN: u64 = 256;
const STEP_MAX: u64 = 16_384;

const RECORDS_PER_READ: usize = 256;
const PATIENCE: Duration = Duration::from_millis(250);

/// A partition read backwards, in steps.
struct Backwards {
    partition: u32,
    /// What lies from here on was read.
    end: u64,
    step: u64,
}

impl Backwards {
    /// What lies before this offset.
    fn before(partition: u32, end: u64) -> Backwards {
        Backwards { partition, end, step: STEP_MIN }
    }

    /// Reads the records of one step, in the order of their offsets. `None` when nothing that is kept lies before, or
    /// somebody says to stop.
    fn step(
        &mut self,
        reader: &mut dyn Reader,
        stop: &Stop,
        each: &mut dyn FnMut(Stored),
    ) -> Result<Option<()>, LogError> {
        let first = reader.bounds(self.partition)?.first;
        if self.end <= first || stop.is_set() {
            return Ok(None);
        }
        let start = self.end.saturating_sub(self.step).max(first);
        let mut next = start;
        while let Err(error) = self.read(&mut next, reader, stop, each) {
            let LogError::OutOfRange { .. } = error else { return Err(error) };
            // Retention has come here meanwhile: what it has left counts.
            next = next.max(reader.bounds(self.partition)?.first);
            if next >= self.end {
                break;
            }
        }
        (self.end, self.step) = (start, (self.step * 2).min(STEP_MAX));
        Ok(Some(()))
    }

    /// Reads from an offset on to where the step before began. Moves the offset behind what it has read.
    fn read(
        &self,
        next: &mut u64,
        reader: &mut dyn Reader,
        stop: &Stop,
        each: &mut dyn FnMut(Stored),
    ) -> Result<(), LogError> {
        reader.seek(self.partition, *next)?;
        while !stop.is_set() {
            for stored in reader.read(RECORDS_PER_READ, PATIENCE)? {
                // Other partitions may be read by the same reader, at their ends.
                if stored.partition != self.partition {
                    continue;
                }
                if stored.offset >= self.end {
                    return self.leave(reader);
                }
                *next = stored.offset + 1;
                each(stored);
                if *next == self.end {
                    return self.leave(reader);
                }
            }
            // On Kafka the last offsets may hold no records.
            if reader.position(self.partition).is_some_and(|position| position >= self.end) {
                break;
            }
        }
        self.leave(reader)
    }

    /// Moves the reader out of the way of those of other partitions.
    fn leave(&self, reader: &mut dyn Reader) -> Result<(), LogError> {
        if reader.partitions() > 1 {
            let end = reader.bounds(self.partition)?.end;
            reader.seek(self.partition, end)?;
        }
        Ok(())
    }
}

/// The last observation of each command before the time from which somebody reads. Looked for when it is asked for: commands
/// run again and again, so it mostly lies near. For one that has none before, all that is kept is read, once for all of them.
pub struct Before<'a> {
    reader: Box<dyn Reader>,
    /// Which commands somebody may ask for: outputs of others are not held.
    wanted: &'a dyn Fn(&Key) -> bool,
    stop: &'a Stop,
    partitions: HashMap<u32, Earlier>,
}

/// What is known of a partition.
struct Earlier {
    unread: Option<Backwards>,
    /// The observations that were found; `None` when it was given away.
    last: HashMap<Key, Option<Run>>,
}

impl<'a> Before<'a> {
    /// Looks with a reader of its own.
    pub fn new(reader: Box<dyn Reader>, wanted: &'a dyn Fn(&Key) -> bool, stop: &'a Stop) -> Before<'a> {
        Before { reader, wanted, stop, partitions: HashMap::new() }
    }

    /// Somebody reads a partition forwards from this offset on. The first call for each partition counts.
    pub fn reads_from(&mut self, partition: u32, offset: u64) {
        self.partitions
            .entry(partition)
            .or_insert_with(|| Earlier { unread: Some(Backwards::before(partition, offset)), last: HashMap::new() });
    }

    /// The last observation of a command before that. It is given away: who asks again gets none.
    pub fn take_last(&mut self, partition: u32, key: &Key) -> Result<Option<Run>, LogError> {
        let Some(earlier) = self.partitions.get_mut(&partition) else { return Ok(None) };
        while let Some(unread) = &mut earlier.unread {
            if earlier.last.contains_key(key) {
                break;
            }
            // Of one step the last counts, of several the one that was read first.
            let mut found: HashMap<Key, Option<Run>> = HashMap::new();
            let (last, wanted) = (&earlier.last, self.wanted);
            let step = unread.step(&mut *self.reader, self.stop, &mut |stored| {
                let is_new = key_of(&stored).is_some_and(|key| wanted(&key) && !last.contains_key(&key));
                if let Some(run) = is_new.then(|| observation(&stored)).flatten() {
                    found.insert(run.key.clone(), Some(run));
                }
            })?;
            earlier.last.extend(found);
            if step.is_none() {
                earlier.unread = None;
            }
        }
        Ok(earlier.last.get_mut(key).and_then(Option::take))
    }
}

fn key_of(stored: &Stored) -> Option<Key> {
    Key::from_bytes(stored.record.key.as_deref()?).ok()
}

/// A failed run is no observation: it is neither a change nor something to compare with.
fn observation(stored: &Stored) -> Option<Run> {
    match Event::from_record(&stored.record) {
        Ok(Event::Output(run)) if run.failure().is_none() => Some(run),
        _ => None,
    }
}

/// The last outputs of a command that are kept, at most so many, the oldest first.
pub fn last_outputs(reader: &mut dyn Reader, key: &Key, count: usize, stop: &Stop) -> Result<Vec<Stored>, LogError> {
    let bytes = key.to_bytes();
    let partition = partition_for(&bytes, reader.partitions());
    let mut unread = Backwards::before(partition, reader.bounds(partition)?.end);
    let mut last: Vec<Stored> = Vec::new();
    while last.len() < count {
        let mut found = Vec::new();
        let step = unread.step(reader, stop, &mut |stored| {
            let is_of_key = stored.record.key.as_deref() == Some(&*bytes);
            if is_of_key && matches!(Event::from_record(&stored.record), Ok(Event::Output(_))) {
                if found.len() == count {
                    found.remove(0);
                }
                found.push(stored);
            }
        })?;
        found.append(&mut last);
        last = found.split_off(found.len().saturating_sub(count));
        if step.is_none() {
            break;
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use tripline_eventlog::Bounds;
    use tripline_schemas::{Ending, Format, Record, RunId};
    use uuid::Uuid;

    use super::*;

    /// Partitions in memory, whose first offsets are gone; each record is a run.
    struct Memory {
        first: u64,
        /// Where retention comes to with each read.
        retention: Vec<u64>,
        partitions: Vec<Vec<Record>>,
        next: BTreeMap<u32, u64>,
        read: u64,
    }

    impl Reader for Memory {
        fn partitions(&self) -> u32 {
            self.partitions.len() as u32
        }

        fn bounds(&mut self, partition: u32) -> Result<Bounds, LogError> {
            Ok(Bounds { first: self.first, end: self.partitions[partition as usize].len() as u64 })
        }

        fn offset_at(&mut self, _: u32, _: Timestamp) -> Result<u64, LogError> {
            unreachable!("nobody asks for a time")
        }

        fn seek(&mut self, partition: u32, offset: u64) -> Result<(), LogError> {
            self.next.insert(partition, offset);
            Ok(())
        }

        fn read(&mut self, max: usize, _: Duration) -> Result<Vec<Stored>, LogError> {
            self.first = self.retention.pop().unwrap_or(self.first);
            let mut read = Vec::new();
            if let Some((&partition, &offset)) = self.next.iter().find(|(_, next)| **next < self.first) {
                let (topic, first, end) = (String::new(), self.first, self.bounds(partition)?.end);
                return Err(LogError::OutOfRange { topic, partition, offset, first, end });
            }
            for (&partition, next) in &mut self.next {
                let records = self.partitions[partition as usize].iter().enumerate().skip(*next as usize);
                for (offset, record) in records.take(max - read.len()) {
                    let offset = offset as u64;
                    read.push(Stored { partition, offset, append_time: Timestamp::UNIX_EPOCH, record: record.clone() });
                    *next = offset + 1;
                }
            }
            self.read += read.len() as u64;
            Ok(read)
        }
    }

    fn run(command: &str, sequence: u64, ending: Ending) -> Record {
        let run = Run {
            id: RunId { spool: Uuid::nil(), sequence },
            key: Key::new("box", command).unwrap(),
            address: None,
            command_line: command.to_owned(),
            alias: None,
            format: Format::FullCommand,
            started: Timestamp::UNIX_EPOCH,
            duration_ms: 0,
            start_delay_ms: None,
            ending,
            truncated_from: None,
            stderr_tail: Vec::new(),
            collector: String::new(),
            output: Vec::new(),
        };
        Event::Output(run).to_record()
    }

    /// So many runs in each of two partitions, the n-th of command `n % 7`; each third of them failed.
    fn memory(count: u64, first: u64) -> Memory {
        let ending = |n: u64| if n.is_multiple_of(3) { Ending::Interrupted } else { Ending::Exited(0) };
        let records: Vec<Record> = (0..count).map(|n| run(&(n % 7).to_string(), n, ending(n))).collect();
        Memory { first, retention: Vec::new(), partitions: vec![records; 2], next: BTreeMap::new(), read: 0 }
    }

    #[test]
    fn the_observation_before_is_the_last_one_that_did_not_fail_however_far_it_lies() {
        let stop = Stop::default();
        for first in [0, 5, 990] {
            for from in [0_u64, 3, 7, 11, 255, 256, 257, 1_000] {
                let from = from.max(first);
                let mut before = Before::new(Box::new(memory(1_000, first)), &|_| true, &stop);
                for partition in [0, 1] {
                    before.reads_from(partition, from);
                    before.reads_from(partition, from + 1);
                }
                for (command, partition) in (0..8).flat_map(|command| [(command, 0), (command, 1)]) {
                    let is_it = |n: &u64| n % 7 == command && !n.is_multiple_of(3);
                    let expected = (first..from).rev().find(is_it);
                    let key = Key::new("box", command.to_string()).unwrap();
                    let found = before.take_last(partition, &key).unwrap().map(|run| run.id.sequence);
                    assert_eq!(found, expected, "command {command} from {from} on, {first} is the first");
                }
            }
        }
    }

    #[test]
    fn what_retention_leaves_while_somebody_looks_counts() {
        let stop = Stop::default();
        // The second step reads 488 to 744 when the offsets up to 500 go, after it has come to there from 232.
        for (kept, expected) in [(490, vec![490]), (520, vec![520]), (600, vec![600])] {
            let mut memory = memory(1_000, 0);
            memory.partitions.truncate(1);
            memory.partitions[0][300] = run("rare", 1, Ending::Exited(0));
            memory.partitions[0][kept] = run("rare", 2, Ending::Exited(0));
            memory.retention = vec![489, 0, 0];
            let key = Key::new("box", "rare").unwrap();
            let found = last_outputs(&mut memory, &key, 1, &stop).unwrap();
            assert_eq!(found.iter().map(|stored| stored.offset as usize).collect::<Vec<_>>(), expected);
        }
        let mut memory = memory(1_000, 0);
        memory.retention = vec![744, 0];
        assert!(last_outputs(&mut memory, &Key::new("box", "never").unwrap(), 1, &stop).unwrap().is_empty());
    }

    #[test]
    fn the_last_outputs_of_a_command_are_found_from_the_end_without_reading_all() {
        let stop = Stop::default();
        let last = |memory: &mut Memory, command: &str, count| {
            let key = Key::new("box", command).unwrap();
            let found = last_outputs(memory, &key, count, &stop).unwrap();
            found.iter().map(|stored| stored.offset).collect::<Vec<_>>()
        };
        assert_eq!(last(&mut memory(1_000, 0), "5", 2), [992, 999]);
        assert_eq!(last(&mut memory(10, 0), "5", 2), [5]);
        assert_eq!(last(&mut memory(0, 0), "5", 2), [] as [u64; 0]);
        let mut large = memory(100_000, 0);
        assert_eq!(last(&mut large, "3", 2).len(), 2);
        assert!(large.read < 1_000, "{} records were read", large.read);
        // Far apart: one at the beginning, one at the end.
        let mut sparse = memory(50_000, 0);
        for records in &mut sparse.partitions {
            records[17] = run("rare", 1, Ending::Exited(0));
            records.push(run("rare", 2, Ending::Exited(0)));
        }
        assert_eq!(last(&mut sparse, "rare", 2), [17, 50_000]);
        assert_eq!(last(&mut sparse, "rare", 1), [50_000]);
        assert_eq!(last(&mut sparse, "never", 2), [] as [u64; 0]);
    }
}
