//! `tripline outputs`: read or follow raw outputs, see what changed, or import history.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use tripline_engine::diff::{DiffLimits, diff};
use tripline_engine::format::escaped_line;
use tripline_eventlog::Stored;
use tripline_schemas::event::{Control, Event, Order};
use tripline_schemas::history::HistoryBody;
use tripline_schemas::{Ending, Key, Record, Run};

use crate::cli::{OutputFormat, Outputs, OutputsAction, Where};
use crate::exit::{Exit, Failure, Outcome};
use crate::history::{self, Selection};
use crate::local::{self, Log};
use crate::lookback::Before;
use crate::print::{self, say};
use crate::scan;
use crate::settings::Settings;
use crate::signals::Stop;

/// Imported records go to the log in portions of this many...
const IMPORT_RECORDS: usize = 500;
/// ...or of so many bytes: a portion is one batch of the log, and one message to the process that owns it.
const IMPORT_BYTES: usize = 4 << 20;

pub fn run(args: &Outputs, settings: Settings) -> Outcome {
    match &args.action {
        Some(OutputsAction::Import { file, at }) => import(file, at, &settings),
        None => show(args, &settings),
    }
}

fn show(args: &Outputs, settings: &Settings) -> Outcome {
    let zone = settings.zone().map_err(Failure::unusable)?;
    let log = Log::open(&args.at, settings)?;
    let topic = settings.topic_names().outputs;
    let mut reader = log.reader(&topic)?;
    let stop = Stop::on_signals()?;
    let span = args.range.period.in_zone(&zone).map_err(Failure::unusable)?;
    let selection = Selection::new(&args.agent, &args.command, span, settings);
    let mut last: BTreeMap<Key, Run> = BTreeMap::new();
    // The first run of the time that was asked for may differ from the one before it.
    let wanted = |key: &Key| selection.takes_key(key);
    let mut before =
        args.changes.then(|| log.reader(&topic)).transpose()?.map(|reader| Before::new(reader, &wanted, &stop));
    let mut found = false;
    scan::scan(&mut *reader, &selection.start(), args.range.follow, &stop, &mut |stored| {
        if let Some(before) = &mut before {
            before.reads_from(stored.partition, stored.offset);
        }
        let event = match Event::from_record(&stored.record) {
            Ok(event) => event,
            Err(error) => {
                let Stored { offset, partition, .. } = stored;
                tracing::warn!("offset {offset} of `{topic}` partition {partition} can't be decoded: {error}");
                return Ok(ControlFlow::Continue(()));
            }
        };
        let mut out = std::io::stdout().lock();
        let run = match &event {
            Event::Output(run) if selection.takes_key(&run.key) => run,
            // Rules see gaps and orders too, so a history without them would be judged differently.
            event if args.format == OutputFormat::Json && !args.changes && args.run.is_none() => {
                if selection.takes(event, stored.append_time) {
                    found = true;
                    writeln!(out, "{}", history::line(stored.append_time, event.clone())?)?;
                }
                return Ok(ControlFlow::Continue(()));
            }
            // What comes next is to be understood by them: a new baseline, or runs that are missing.
            event if args.format == OutputFormat::Text && args.run.is_none() => {
                if selection.takes(event, stored.append_time)
                    && let Some(note) = note(event, &zone)
                {
                    found = true;
                    writeln!(out, "{note}\n")?;
                }
                return Ok(ControlFlow::Continue(()));
            }
            _ => return Ok(ControlFlow::Continue(())),
        };
        let is_wanted = selection.holds(run.started, stored.append_time) && args.run.is_none_or(|id| id == run.id);
        if let Some(before) = &mut before {
            // A failed run is no observation: it is neither a change nor something to compare with.
            if run.failure().is_none()
                && let Some(old) = last
                    .insert(run.key.clone(), run.clone())
                    .map_or_else(|| before.take_last(stored.partition, &run.key), |old| Ok(Some(old)))?
                && old.output != run.output
                // What is cut is never compared with what is whole, as in `check_diff`.
                && old.truncated_from.is_some() == run.truncated_from.is_some()
                && is_wanted
            {
                found = true;
                write_change(&mut out, run, &old.output, args.format, &zone)?;
            }
        } else if is_wanted {
            found = true;
            write_run(&mut out, run, &stored, args.format, &zone)?;
        }
        out.flush()?;
        Ok(ControlFlow::Continue(()))
    })?;
    let nothing = if args.changes { "no output changed" } else { "no output matches" };
    Ok(scan::ended(&stop, args.range.follow, found, nothing))
}

fn write_run(
    out: &mut impl Write,
    run: &Run,
    stored: &Stored,
    format: OutputFormat,
    zone: &TimeZone,
) -> anyhow::Result<()> {
    match format {
        OutputFormat::Raw => out.write_all(&run.output)?,
        OutputFormat::Json => {
            writeln!(out, "{}", history::line(stored.append_time, Event::Output(run.clone()))?)?;
        }
        OutputFormat::Text => {
            writeln!(out, "{}", heading(run, zone))?;
            write_lines(out, &run.output)?;
            if !run.stderr_tail.is_empty() {
                writeln!(out, "--- at the end of its standard error:")?;
                write_lines(out, &run.stderr_tail)?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn write_change(
    out: &mut impl Write,
    run: &Run,
    old: &[u8],
    format: OutputFormat,
    zone: &TimeZone,
) -> anyhow::Result<()> {
    // The last line break ends a line and begins none.
    let changed = diff(without_last_break(old), without_last_break(&run.output), &DiffLimits::default());
    match format {
        OutputFormat::Raw => out.write_all(&run.output)?,
        OutputFormat::Json => {
            let change = serde_json::json!({
                "agent": run.key.agent(), "command": run.key.command(), "time": run.started, "run": run.id,
                "added": changed.added, "removed": changed.removed,
            });
            writeln!(out, "{change}")?;
        }
        OutputFormat::Text => {
            writeln!(out, "{}\n{}", heading(run, zone), print::escaped(changed.unified.as_bytes()))?;
        }
    }
    Ok(())
}

fn without_last_break(output: &[u8]) -> &[u8] {
    output.strip_suffix(b"\n").unwrap_or(output)
}

/// What is told of events that are no outputs, in the form of a heading; `None` of those that only say that an agent lives.
fn note(event: &Event, zone: &TimeZone) -> Option<String> {
    let (key, time, what) = match event {
        Event::Output(_) | Event::Heartbeat(_) => return None,
        Event::Gap(gap) => {
            let runs = print::count(gap.runs, "run");
            (&gap.key, gap.time, format!("{runs} lost: the collector's spool was full, or damaged"))
        }
        Event::Control(Control { key, order: Order::Forget { rule }, author, reason, time }) => {
            let whose = rule.map_or_else(String::new, |rule| format!(" for rule {rule}"));
            (key, *time, format!("forgotten{whose} by order of {author}: {reason}"))
        }
    };
    Some(escaped_line(&format!("--- {} {key}: {what}", print::time(time, zone))).into_owned())
}

/// `--- 2026-11-24 10:00:00+01:00 (web-1) df -P: exit 0 in 12 ms, 1.2 KiB, run ...`
pub fn heading(run: &Run, zone: &TimeZone) -> String {
    let time = print::time(run.started, zone);
    let ending = match &run.ending {
        Ending::Exited(code) => format!("exit {code}"),
        Ending::Signalled(signal) => format!("killed by signal {signal}"),
        Ending::TimedOut(after) => format!("timed out after {} ms", after),
        Ending::Interrupted => "interrupted".to_owned(),
        Ending::NotStarted(reason) => format!("not started: {reason}"),
    };
    let cut = run.truncated_from.map_or_else(String::new, |full| format!(" of {}", print::bytes(full)));
    // A start within the second is as good as on time.
    let delay = run.start_delay_ms.filter(|delay| *delay >= 1_000);
    let delay =
        delay.map_or_else(String::new, |delay| format!(", started {}.{} s late", delay / 1_000, delay % 1_000 / 100));
    let text = format!(
        "--- {time} {}: {ending} in {} ms, {}{cut}{delay}, run {}",
        run.key,
        run.duration_ms,
        print::bytes(run.output.len() as u64),
        run.id
    );
    escaped_line(&text).into_owned()
}

/// What a command printed, to the end of a line.
fn write_lines(out: &mut impl Write, printed: &[u8]) -> std::io::Result<()> {
    out.write_all(unlike_headings(&print::escaped(printed)).as_bytes())?;
    if !printed.is_empty() && !printed.ends_with(b"\n") {
        writeln!(out)?;
    }
    Ok(())
}

/// No output can look like another run: a line that begins like a heading gets a backslash in front.
fn unlike_headings(text: &str) -> String {
    let text = text.replace("\n--- ", "\n\\--- ");
    if text.starts_with("--- ") { format!("\\{text}") } else { text }
}

/// A mistake in the last line imports nothing: all of the file is read before anything goes to the log.
fn import(file: &Path, at: &Where, settings: &Settings) -> Outcome {
    let topic = settings.topic_names().outputs;
    let (count, records) = read_through(file)?;
    if count == 0 {
        say!("tripline: {} holds no outputs", print::path_or(file, "standard input"));
        return Ok(Exit::NothingSelected);
    }
    let mut publisher = local::publisher(at, settings)?;
    for portion in portions(records) {
        publisher.publish(&topic, &portion?)?;
    }
    say!("imported {} into `{topic}`", print::count(count as u64, "output"));
    Ok(Exit::Fine)
}

type Records = Box<dyn Iterator<Item = anyhow::Result<Record>>>;

/// How many records a history file holds, and these. What can't be read a second time is kept in memory.
fn read_through(file: &Path) -> Result<(usize, Records), Failure> {
    if !file.is_file() || file == Path::new("-") {
        let all = to_import(file)?.collect::<anyhow::Result<Vec<Record>>>().map_err(Failure::unusable)?;
        return Ok((all.len(), Box::new(all.into_iter().map(Ok))));
    }
    let count = to_import(file)?.try_fold(0, |count, record| record.map(|_| count + 1)).map_err(Failure::unusable)?;
    // The file may have grown by then.
    Ok((count, Box::new(to_import(file)?.take(count))))
}

/// What a history file holds for the log.
fn to_import(file: &Path) -> Result<impl Iterator<Item = anyhow::Result<Record>> + 'static, Failure> {
    let name = print::path_or(file, "standard input");
    Ok(history::read(file).map_err(Failure::unusable)?.map(move |record| {
        match record.with_context(|| name.clone())?.body {
            HistoryBody::Event(event) => Ok(event.to_record()),
            HistoryBody::Log(_) => {
                bail!("{name} holds lines that are no command's output (`log`); only outputs can be imported")
            }
        }
    }))
}

/// The records in portions that a log takes at once.
fn portions(
    mut records: impl Iterator<Item = anyhow::Result<Record>>,
) -> impl Iterator<Item = anyhow::Result<Vec<Record>>> {
    std::iter::from_fn(move || {
        let (mut portion, mut bytes) = (Vec::new(), 0);
        while portion.len() < IMPORT_RECORDS && bytes < IMPORT_BYTES {
            match records.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(record)) => {
                    bytes += record.value.as_ref().map_or(0, Vec::len) + record.headers.size();
                    portion.push(record);
                }
            }
        }
        (!portion.is_empty()).then_some(Ok(portion))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_has_grown_by_since_it_was_read_through_is_not_imported() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history.jsonl");
        let line = r#"{"agent":"box","command":"tick","time":"2026-01-01T00:00:00Z","output":"1"}"#;
        std::fs::write(&file, format!("{line}\n{line}\n")).unwrap();
        let (count, records) = read_through(&file).unwrap_or_else(|_| panic!("it can be read"));
        let mut grown = std::fs::File::options().append(true).open(&file).unwrap();
        // As when somebody is about to write another one.
        grown.write_all(&line.as_bytes()[..20]).unwrap();
        let records = records.collect::<anyhow::Result<Vec<Record>>>().unwrap();
        assert_eq!((count, records.len()), (2, 2));
    }

    #[test]
    fn what_is_imported_goes_to_the_log_in_portions_of_bounded_size() {
        let record = |bytes| Ok(Record { value: Some(vec![b'x'; bytes]), ..Record::default() });
        let sizes = [vec![10; 1_200], vec![3 << 20; 3], vec![9 << 20, 1]].concat();
        let portions: Vec<Vec<Record>> = portions(sizes.iter().copied().map(record)).map(Result::unwrap).collect();
        let counts: Vec<usize> = portions.iter().map(Vec::len).collect();
        assert_eq!(counts, [500, 500, 202, 2, 1]);
        let imported = portions.concat().into_iter().map(|record| record.value.unwrap().len());
        assert!(imported.eq(sizes));
    }
}
