//! `tripline alerts`: read or follow alerts, print them, or hand each to a command.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::tz::TimeZone;
use tripline_engine::format;
use tripline_eventlog::Stored;
use tripline_schemas::alert::Alert;

use crate::cli::{AlertFormat, Alerts};
use crate::exit::{Failure, Outcome};
use crate::groups::Group;
use crate::history;
use crate::local::Log;
use crate::print::say;
use crate::scan::{self, From};
use crate::settings::Settings;
use crate::signals::Stop;
use crate::units::Span;

/// The pauses between two tries of a failing `--exec` command.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);

pub fn run(args: &Alerts, settings: Settings) -> Outcome {
    let zone = settings.zone().map_err(Failure::unusable)?;
    let log = Log::open(&args.at, &settings)?;
    let topic = settings.topic_names().alerts;
    let mut reader = log.reader(&topic)?;
    let stop = Stop::on_signals()?;
    let mut span = args.range.period.in_zone(&zone).map_err(Failure::unusable)?;
    let mut group = args.group.as_deref().map(|name| Group::open(&log, name, &topic)).transpose()?;
    let from = match &mut group {
        Some(group) => {
            // It says where a new group begins. What the group has not taken later on is not passed by since it is old by then.
            if let (Some(since), true) = (span.since.take(), group.offsets().is_empty()) {
                for partition in 0..reader.partitions() {
                    group.advance(partition, reader.offset_at(partition, since)?);
                }
                group.save()?;
            }
            From::Offsets(group.offsets().clone())
        }
        // An alert has the time of its output, and is appended after that.
        None => history::start(span.since, &settings),
    };
    let sorted = reader.partitions() > 1 && !args.range.follow && group.is_none();
    let mut waiting: BTreeMap<_, (u64, Alert)> = BTreeMap::new();
    let mut found = false;
    let mut sink = Sink { format: args.format, exec: args.exec.as_deref(), zone, stop: &stop };
    scan::scan(&mut *reader, &from, args.range.follow, &stop, &mut |stored| {
        let Stored { partition, offset, .. } = stored;
        let alert = decoded(&stored, &topic).filter(|alert| wanted(alert, args, span));
        let taken = alert.is_some();
        found |= taken;
        if let (Some(group), true) = (&group, taken) {
            group.still_held()?;
        }
        if let Some(alert) = alert {
            if sorted {
                waiting.insert((alert.timestamp, partition, offset), (offset, alert));
            } else if sink.take(&alert, offset)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if let Some(group) = &mut group {
            group.advance(partition, offset + 1);
            // What was passed over need not be saved one by one: passing over it again does no harm.
            if taken {
                group.save()?;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(group) = &group {
        group.save()?;
    }
    for (offset, alert) in waiting.into_values() {
        if sink.take(&alert, offset)?.is_break() {
            break;
        }
    }
    Ok(scan::ended(&stop, args.range.follow, found, "no alert matches"))
}

fn decoded(stored: &Stored, topic: &str) -> Option<Alert> {
    Alert::from_record(&stored.record)
        .inspect_err(|error| {
            tracing::warn!("offset {} of `{topic}` partition {} is no alert: {error}", stored.offset, stored.partition);
        })
        .ok()
}

fn wanted(alert: &Alert, args: &Alerts, span: Span) -> bool {
    (args.agent.is_empty() || args.agent.contains(&alert.agent.name))
        && (args.rule.is_empty() || args.rule.iter().any(|id| alert.rule.id == id.to_string()))
        && args.min_level.is_none_or(|level| alert.rule.level >= level)
        && span.holds(alert.timestamp)
}

/// Where alerts go.
struct Sink<'a> {
    format: AlertFormat,
    exec: Option<&'a str>,
    zone: TimeZone,
    stop: &'a Stop,
}

impl Sink<'_> {
    fn take(&mut self, alert: &Alert, offset: u64) -> anyhow::Result<ControlFlow<()>> {
        let mut text = match self.format {
            AlertFormat::Json => format::json(alert),
            AlertFormat::Ossec => format::ossec(alert, offset, &self.zone),
            AlertFormat::Mail => format::mail(alert, &self.zone),
        };
        if self.format != AlertFormat::Ossec {
            // Blocks end with an empty line by themselves; JSON has no line break, and mails are kept apart by one.
            text.push('\n');
        }
        match self.exec {
            Some(command) => self.hand_over(command, alert, &text),
            None => {
                let mut out = std::io::stdout().lock();
                out.write_all(text.as_bytes())?;
                out.flush()?;
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    /// Runs the command until it succeeds: an alert that was not handed over is not passed by.
    fn hand_over(&self, command: &str, alert: &Alert, text: &str) -> anyhow::Result<ControlFlow<()>> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            match exec(command, text) {
                Ok(()) => return Ok(ControlFlow::Continue(())),
                Err(error) => {
                    let (id, rule, pause) = (&alert.id, &alert.rule.id, pause.as_secs());
                    say!("tripline: alert {id} of rule {rule}: `{command}`: {error:#}; trying again in {pause}s");
                }
            }
            self.stop.sleep(pause);
            if self.stop.is_set() {
                return Ok(ControlFlow::Break(()));
            }
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }
}

fn exec(command: &str, text: &str) -> anyhow::Result<()> {
    let mut child =
        Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::piped()).spawn().context("could not start it")?;
    // A command that does not read its input may still succeed.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let status = child.wait().context("could not wait for it")?;
    if status.success() { Ok(()) } else { Err(anyhow!("it ended with {status}")) }
}
