//! `tripline outputs`: read or follow raw outputs, see what changed, or import history.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tripline_engine::diff::{DiffLimits, diff};
use tripline_eventlog::Stored;
use tripline_schemas::event::{Control, Event, Gap};
use tripline_schemas::history::{HistoryBody, HistoryReader, HistoryRecord};
use tripline_schemas::{Ending, Key, Run};

use crate::cli::{OutputFormat, Outputs, OutputsAction, Where};
use crate::exit::{Exit, Failure, Outcome};
use crate::local::{self, Log};
use crate::print;
use crate::scan::{self, From};
use crate::settings::Settings;
use crate::signals::Stop;

/// Imported records go to the log in portions of this many.
const IMPORT_BATCH: usize = 500;

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
    let from = args.range.since.map_or(From::Beginning, From::Time);
    let mut before: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
    scan::scan(&mut *reader, &from, args.range.follow, &stop, &mut |stored| {
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
            Event::Output(run) if wanted(run, args) => run,
            // Rules see gaps and orders too, so a history without them would be judged differently.
            Event::Gap(Gap { key, time, .. }) | Event::Control(Control { key, time, .. })
                if args.format == OutputFormat::Json
                    && !args.changes
                    && args.run.is_none()
                    && in_range(key, *time, args) =>
            {
                writeln!(
                    out,
                    "{}",
                    HistoryRecord { append_time: stored.append_time, body: HistoryBody::Event(event) }.to_line()?
                )?;
                return Ok(ControlFlow::Continue(()));
            }
            _ => return Ok(ControlFlow::Continue(())),
        };
        if args.changes {
            // A failed run is no observation: it is neither a change nor something to compare with.
            if run.failure().is_none()
                && let Some(old) = before.insert(run.key.clone(), run.output.clone())
                && old != run.output
            {
                write_change(&mut out, run, &old, args.format, &zone)?;
            }
        } else {
            write_run(&mut out, run, &stored, args.format, &zone)?;
        }
        out.flush()?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(if stop.by_signal() && !args.range.follow { Exit::Interrupted } else { Exit::Fine })
}

fn wanted(run: &Run, args: &Outputs) -> bool {
    in_range(&run.key, run.started, args) && args.run.is_none_or(|id| id == run.id)
}

fn in_range(key: &Key, time: Timestamp, args: &Outputs) -> bool {
    (args.agent.is_empty() || args.agent.iter().any(|agent| agent == key.agent()))
        && (args.command.is_empty() || args.command.iter().any(|command| command == key.command()))
        && args.range.since.is_none_or(|since| time >= since)
        && args.range.until.is_none_or(|until| time < until)
}

fn write_run(
    out: &mut impl Write,
    run: &Run,
    stored: &Stored,
    format: OutputFormat,
    zone: &jiff::tz::TimeZone,
) -> anyhow::Result<()> {
    match format {
        OutputFormat::Raw => out.write_all(&run.output)?,
        OutputFormat::Json => {
            let body = HistoryBody::Event(Event::Output(run.clone()));
            writeln!(out, "{}", HistoryRecord { append_time: stored.append_time, body }.to_line()?)?;
        }
        OutputFormat::Text => {
            writeln!(out, "{}", heading(run, zone))?;
            out.write_all(print::escaped(&run.output).as_bytes())?;
            if !run.output.is_empty() && !run.output.ends_with(b"\n") {
                writeln!(out)?;
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
    zone: &jiff::tz::TimeZone,
) -> anyhow::Result<()> {
    let changed = diff(old, &run.output, &DiffLimits::default());
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

/// `--- 2026-11-24 10:00:00 (web-1) df -P: exit 0 in 12 ms, 1.2 KiB, run ...`
fn heading(run: &Run, zone: &jiff::tz::TimeZone) -> String {
    let time = run.started.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%:z");
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
    tripline_engine::format::escaped_line(&text).into_owned()
}

/// Reads all of the file first, so that a mistake in its last line imports nothing.
fn import(file: &Path, at: &Where, settings: &Settings) -> Outcome {
    let topic = settings.topic_names().outputs;
    let mut records = Vec::new();
    for record in HistoryReader::new(history_file(file).map_err(Failure::unusable)?, &file.display().to_string()) {
        let record = record.with_context(|| file.display().to_string()).map_err(Failure::unusable)?;
        match record.body {
            HistoryBody::Event(event) => records.push(event.to_record()),
            HistoryBody::Log(_) => {
                return Err(Failure::unusable(anyhow::anyhow!(
                    "`{}` holds lines that are no command's output (`log`); only outputs can be imported",
                    file.display()
                )));
            }
        }
    }
    if records.is_empty() {
        eprintln!("tripline: `{}` holds no outputs", file.display());
        return Ok(Exit::NothingSelected);
    }
    let mut publisher = local::publisher(at, settings)?;
    for batch in records.chunks(IMPORT_BATCH) {
        publisher.publish(&topic, batch)?;
    }
    eprintln!("imported {} into `{topic}`", print::count(records.len() as u64, "output"));
    Ok(Exit::Fine)
}

/// Opens a history: `-` is standard input, `.zst` is decompressed.
pub fn history_file(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
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
