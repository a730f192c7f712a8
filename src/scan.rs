//! Reading a topic for a person: from a time or a saved position on, to the end or for ever.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use jiff::Timestamp;
use tripline_eventlog::{LogError, Reader, Stored};

use crate::exit::Exit;
use crate::print::{self, say};
use crate::signals::Stop;

const RECORDS_PER_READ: usize = 256;
const PATIENCE: Duration = Duration::from_millis(250);

/// Where to start in each partition.
pub enum From {
    /// At the first record that is kept.
    Beginning,
    /// At the first record appended at this time or later.
    Time(Timestamp),
    /// At these offsets; partitions without one start at the beginning.
    Offsets(BTreeMap<u32, u64>),
}

/// How a verb ends that showed what it `found`. An empty answer is an answer, but a misspelt name should not look like one:
/// `nothing` is said then. What follows is ended by a signal, so that is its normal end.
pub fn ended(stop: &Stop, follow: bool, found: bool, nothing: &str) -> Exit {
    if follow {
        return Exit::Fine;
    }
    if stop.by_signal() {
        return Exit::Interrupted;
    }
    if !found {
        say!("tripline: {nothing}");
    }
    Exit::Fine
}

/// Hands every record to `each`, in offset order per partition. Ends at the end that each partition had at the start,
/// unless `follow`; and when `each` or `stop` say so.
pub fn scan(
    reader: &mut dyn Reader,
    from: &From,
    follow: bool,
    stop: &Stop,
    each: &mut dyn FnMut(Stored) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let mut left: BTreeMap<u32, u64> = BTreeMap::new();
    for partition in 0..reader.partitions() {
        let bounds = reader.bounds(partition)?;
        let start = match from {
            From::Beginning => bounds.first,
            From::Time(time) => reader.offset_at(partition, *time)?,
            From::Offsets(offsets) => match offsets.get(&partition) {
                // Waiting there would pass over everything that comes next.
                Some(offset) if *offset > bounds.end => anyhow::bail!(
                    "the saved position is offset {offset} of partition {partition}, which ends at {}: the log is not the \
                     one that it was saved for, or an earlier copy; delete the position's file to begin with what is kept",
                    bounds.end
                ),
                Some(offset) if *offset < bounds.first => {
                    tracing::warn!(
                        "retention has dropped offsets {offset} to {} of partition {partition} unread",
                        bounds.first - 1
                    );
                    bounds.first
                }
                offset => offset.copied().unwrap_or(bounds.first),
            },
        };
        // Retention may have moved on between the two calls.
        match reader.seek(partition, start) {
            Err(LogError::OutOfRange { first, .. }) => reader.seek(partition, first)?,
            other => other?,
        }
        if start < bounds.end {
            left.insert(partition, bounds.end);
        }
    }
    // What keeps a follower waiting is told once, however long it lasts.
    let mut waits_for = None;
    while !stop.is_set() && (follow || !left.is_empty()) {
        let records = match reader.read(RECORDS_PER_READ, PATIENCE) {
            Err(error) if follow && error.is_temporary() => {
                let why = print::chain(&error.into());
                if waits_for.as_ref() != Some(&why) {
                    say!("tripline: waiting for the log: {why}");
                    waits_for = Some(why);
                }
                std::thread::sleep(PATIENCE);
                continue;
            }
            // Nobody reads past the end of the log that he read: this is another one, or an earlier copy.
            Err(LogError::OutOfRange { topic, partition, offset, end, .. }) if offset > end => anyhow::bail!(
                "offset {offset} of `{topic}` partition {partition} comes next, and it ends at {end}: the log was put back \
                 to an earlier copy, or replaced, while it was read; start again"
            ),
            Err(LogError::OutOfRange { topic, partition, offset, first, .. }) => {
                let last = first.saturating_sub(1);
                tracing::warn!(
                    "retention has dropped offsets {offset} to {last} of `{topic}` partition {partition} unread"
                );
                reader.seek(partition, first)?;
                // What there was at the start may all be gone.
                if left.get(&partition).is_some_and(|end| first >= *end) {
                    left.remove(&partition);
                }
                continue;
            }
            other => other?,
        };
        // That nothing has come tells nothing: a client of Kafka waits for its broker by itself.
        if waits_for.is_some() && (!records.is_empty() || answers(reader)) {
            say!("tripline: the log is there again");
            waits_for = None;
        }
        for record in records {
            // Handing one over may take long.
            if stop.is_set() {
                return Ok(());
            }
            if let Some(end) = left.get(&record.partition)
                && record.offset + 1 >= *end
            {
                left.remove(&record.partition);
            }
            if each(record)?.is_break() {
                return Ok(());
            }
        }
        left.retain(|partition, end| reader.position(*partition).is_none_or(|position| position < *end));
    }
    Ok(())
}

/// Whether the log says of each partition what it holds.
fn answers(reader: &mut dyn Reader) -> bool {
    (0..reader.partitions()).all(|partition| reader.bounds(partition).is_ok())
}

#[cfg(test)]
mod tests {
    use tripline_eventlog::Bounds;

    use super::*;

    /// A partition whose records all go away before they are read. Nothing comes after them.
    struct Overtaken {
        next: u64,
    }

    impl Reader for Overtaken {
        fn partitions(&self) -> u32 {
            1
        }

        fn bounds(&mut self, _: u32) -> Result<Bounds, LogError> {
            Ok(Bounds { first: 0, end: 10 })
        }

        fn offset_at(&mut self, _: u32, _: Timestamp) -> Result<u64, LogError> {
            Ok(0)
        }

        fn seek(&mut self, _: u32, offset: u64) -> Result<(), LogError> {
            self.next = offset;
            Ok(())
        }

        fn read(&mut self, _: usize, _: Duration) -> Result<Vec<Stored>, LogError> {
            let (topic, offset) = ("outputs".to_owned(), self.next);
            match offset {
                0..10 => Err(LogError::OutOfRange { topic, partition: 0, offset, first: 10, end: 10 }),
                _ => Ok(Vec::new()),
            }
        }
    }

    #[test]
    fn a_reader_that_does_not_follow_comes_to_its_end_also_when_retention_takes_all_of_it() {
        let mut none = |stored: Stored| panic!("{stored:?}");
        scan(&mut Overtaken { next: 0 }, &From::Beginning, false, &Stop::default(), &mut none).unwrap();
    }
}
