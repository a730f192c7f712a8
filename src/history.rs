//! History: which part of it, where it is read from.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tripline_eventlog::{LogError, Reader, Stored};
use tripline_processor::memory::{Item, Trouble};
use tripline_processor::replay;
use tripline_schemas::Key;
use tripline_schemas::event::Event;
use tripline_schemas::history::{HistoryBody, HistoryErrorKind, HistoryReader, HistoryRecord};

use crate::cli::Slice;
use crate::exit::Failure;
use crate::scan::From;
use crate::settings::Settings;
use crate::units::Span;

/// How many records are read from a log at once, and how long is waited for them.
const RECORDS_PER_READ: usize = 256;
const PATIENCE: Duration = Duration::from_millis(250);

/// A part of a history: of these agents and commands (of all, where none is named), in this time.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    agents: &'a [String],
    commands: &'a [String],
    span: Span,
    /// See [`Selection::holds`].
    clock_skew_max: Duration,
}

impl<'a> Selection<'a> {
    /// What flags ask for, in the time zone of the settings.
    pub fn of(slice: &'a Slice, settings: &Settings) -> Result<Selection<'a>, Failure> {
        let Slice { agent, command, period } = slice;
        let span = settings.zone().and_then(|zone| period.in_zone(&zone)).map_err(Failure::unusable)?;
        Ok(Selection::new(agent, command, span, settings))
    }

    /// Of these agents and commands, in this time.
    pub fn new(agents: &'a [String], commands: &'a [String], span: Span, settings: &Settings) -> Selection<'a> {
        Selection { agents, commands, span, clock_skew_max: settings.outputs.clock_skew_max.0 }
    }

    /// Where to begin to read a log so that nothing of it is passed by: no time lies further behind the append time than
    /// clocks may differ, see [`Selection::holds`], and append times don't go back.
    pub fn start(&self) -> From {
        start_within(self.span.since, self.clock_skew_max)
    }

    /// Whether a time is part of it, as rules see it: what happened later than it was appended, by more than clocks may
    /// differ, happened when it was appended.
    pub fn holds(&self, time: Timestamp, append_time: Timestamp) -> bool {
        let latest = append_time.checked_add(self.clock_skew_max).unwrap_or(Timestamp::MAX);
        self.span.holds(if time > latest { append_time } else { time })
    }

    /// Whether a key is part of it.
    pub fn takes_key(&self, key: &Key) -> bool {
        let takes = |names: &[String], name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
        takes(self.agents, key.agent()) && takes(self.commands, key.command())
    }

    /// Whether an event that was appended then is part of it. Heartbeats are never: rules see none.
    pub fn takes(&self, event: &Event, append_time: Timestamp) -> bool {
        let (key, time) = match event {
            Event::Output(run) => (&run.key, run.started),
            Event::Gap(gap) => (&gap.key, gap.time),
            Event::Control(control) => (&control.key, control.time),
            Event::Heartbeat(_) => return false,
        };
        self.takes_key(key) && self.holds(time, append_time)
    }

    fn takes_record(&self, record: &HistoryRecord) -> bool {
        match &record.body {
            HistoryBody::Event(event) => self.takes(event, record.append_time),
            HistoryBody::Log(log) => self.takes_key(&log.key) && self.holds(log.time, record.append_time),
        }
    }

    /// Records that can't be decoded are taken, so that somebody hears of them.
    fn takes_stored(&self, stored: &Stored) -> bool {
        Event::from_record(&stored.record).map_or(true, |event| self.takes(&event, stored.append_time))
    }
}

/// Where to begin to read a log for what happened from this time on, as rules see it. Its clock may be ahead of the log's.
pub fn start(since: Option<Timestamp>, settings: &Settings) -> From {
    start_within(since, settings.outputs.clock_skew_max.0)
}

fn start_within(since: Option<Timestamp>, skew: Duration) -> From {
    since.map_or(From::Beginning, |since| From::Time(since.checked_sub(skew).unwrap_or(Timestamp::MIN)))
}

/// An event as a line of the history format, without a line break.
pub fn line(append_time: Timestamp, event: Event) -> Result<String, HistoryErrorKind> {
    HistoryRecord { append_time, body: HistoryBody::Event(event) }.to_line()
}

/// Reads a history file.
pub fn read(path: &Path) -> anyhow::Result<HistoryReader<Box<dyn BufRead>>> {
    Ok(HistoryReader::new(open(path)?))
}

/// Opens a history file: `-` is standard input, `.zst` is decompressed.
fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("could not read history `{}`", path.display()))?;
    if path.is_dir() {
        bail!("history `{}` is a directory", path.display());
    }
    let file: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "zst") {
        Box::new(zstd::Decoder::new(file).with_context(|| format!("`{}` is no zstd file", path.display()))?)
    } else {
        Box::new(file)
    };
    Ok(Box::new(BufReader::new(file)))
}

/// What of history files is part of the selection, one file after the other.
pub fn of_files<'a>(
    paths: &[&str],
    selection: Selection<'a>,
) -> anyhow::Result<impl Iterator<Item = Result<Item, Trouble>> + use<'a>> {
    let mut readers = Vec::new();
    for path in paths {
        let reader = read(Path::new(path))?;
        let path = (*path).to_owned();
        readers.push(reader.map(move |record| record.with_context(|| path.clone())));
    }
    let records = readers.into_iter().flatten();
    let wanted = records.filter(move |record| record.as_ref().map_or(true, |record| selection.takes_record(record)));
    Ok(replay::from_history(wanted))
}

/// What of a log is part of the selection: one partition after the other, each up to where it ended at the start.
pub struct OfLog<'a> {
    reader: Box<dyn Reader>,
    selection: Selection<'a>,
    /// Where to begin in each partition, and where it ended; the last one is read now.
    left: Vec<(u32, u64, u64)>,
    /// Read and not yet handed out.
    read: std::vec::IntoIter<Stored>,
    /// The partition that is read.
    current: Option<(u32, u64)>,
    /// Whether what was asked for begins before what is kept, as far as can be told.
    begins_late: bool,
}

impl<'a> OfLog<'a> {
    /// Finds out where to read from.
    pub fn new(mut reader: Box<dyn Reader>, selection: Selection<'a>) -> Result<OfLog<'a>, LogError> {
        let (mut left, mut begins_late) = (Vec::new(), false);
        for partition in (0..reader.partitions()).rev() {
            let bounds = reader.bounds(partition)?;
            let from = match selection.start() {
                From::Time(time) => {
                    let from = reader.offset_at(partition, time)?;
                    if from <= bounds.first && bounds.first > 0 {
                        let what = "what was asked for may begin before what is kept";
                        tracing::warn!("{what}: partition {partition} begins at offset {}", bounds.first);
                        begins_late = true;
                    }
                    from
                }
                _ => bounds.first,
            };
            if from < bounds.end {
                left.push((partition, from, bounds.end));
            }
        }
        Ok(OfLog { reader, selection, left, read: Vec::new().into_iter(), current: None, begins_late })
    }

    /// Whether the log may have dropped a part of what was asked for: it has dropped records, and keeps none that is older
    /// than the selection.
    pub fn begins_late(&self) -> bool {
        self.begins_late
    }

    /// The next record of the partition that is read, up to its end; of the next one then.
    fn advance(&mut self) -> Result<Option<Stored>, LogError> {
        loop {
            let Some((partition, end)) = self.current else {
                let Some((partition, from, end)) = self.left.pop() else { return Ok(None) };
                self.reader.seek(partition, from)?;
                self.current = Some((partition, end));
                continue;
            };
            match self.read.next() {
                Some(stored) if stored.partition == partition && stored.offset < end => {
                    if stored.offset + 1 == end {
                        self.current = None;
                    }
                    return Ok(Some(stored));
                }
                // New since the start, or of a partition that is done.
                Some(_) => {}
                None if self.reader.position(partition).is_some_and(|position| position >= end) => self.current = None,
                None => self.read = self.reader.read(RECORDS_PER_READ, PATIENCE)?.into_iter(),
            }
        }
    }
}

impl Iterator for OfLog<'_> {
    type Item = Result<Item, Trouble>;

    fn next(&mut self) -> Option<Result<Item, Trouble>> {
        loop {
            match self.advance() {
                Ok(Some(stored)) if self.selection.takes_stored(&stored) => return Some(Ok(Item::Record(stored))),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
