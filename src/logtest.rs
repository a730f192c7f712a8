//! `tripline logtest`: paste a line, see which rules it passes. The loop and the engine are those of live processing.

mod view;

use std::io::{BufRead, IsTerminal, Read};

use anyhow::{Context, anyhow};
use tripline_engine::decision::LogLine;
use tripline_eventlog::Stored;
use tripline_processor::backend::StoredLine;
use tripline_processor::memory::{Item, Trouble};
use tripline_processor::replay;
use tripline_schemas::alert::location;
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Format, Key, Run, RunId};

use crate::cli::Logtest;
use crate::exit::{Exit, Failure, Outcome};
use crate::local::{self, Log};
use crate::lookback;
use crate::print::say;
use crate::rulefiles::Sources;
use crate::settings::Settings;
use crate::signals::Stop;

use view::{Detail, View};

pub fn run(args: &Logtest, settings: Settings) -> Outcome {
    let partitions = settings.partitions(local::uses_kafka(&args.at, &settings));
    let sources = Sources { flags: &args.rules, settings: &settings, partitions };
    let rules = sources.load(sources.ossec().map_err(Failure::unusable)?.as_ref())?;
    let zone = settings.zone().map_err(Failure::unusable)?;
    let host = settings.agent_name().map_err(Failure::unusable)?;
    let stop = Stop::on_signals()?;
    let input: Box<dyn Iterator<Item = Result<Item, Trouble>>> = match (&args.agent, &args.command) {
        (Some(agent), Some(command)) => {
            let last = last_outputs(args, &settings, agent, command, &stop)?;
            if last.is_empty() {
                say!("tripline: there is no output of `{command}` from agent `{agent}`");
                return Ok(Exit::NothingSelected);
            }
            Box::new(last.into_iter().map(|stored| Ok(Item::Record(stored))))
        }
        (None, Some(command)) if args.full => {
            let mut output = Vec::new();
            std::io::stdin().read_to_end(&mut output).context("could not read standard input")?;
            let key = Key::new(host, command).map_err(Failure::unusable)?;
            Box::new(std::iter::once(Ok(Item::Record(pasted_output(key, output)))))
        }
        (None, command) => {
            let key = Key::new(host.clone(), command.clone().unwrap_or_else(|| "stdin".to_owned()))
                .map_err(Failure::unusable)?;
            if std::io::stdin().is_terminal() {
                say!("tripline: type one log line per line, such as  ossec: output: 'df -P': /dev/sda1 9 9 0 100% /");
            }
            Box::new(pasted_lines(key, host, args.command.clone()))
        }
        (Some(_), None) => return Err(Failure::unusable(anyhow!("--agent goes with --command"))),
    };
    let detail = match (args.alerts_only, args.all_rules) {
        (true, _) => Detail::Alerts,
        (false, false) => Detail::Candidates,
        (false, true) => Detail::AllRules,
    };
    let mut view = View::new(&rules, zone, detail);
    let options = replay::options("stdin");
    replay::run(rules.clone(), input, &options, &|| stop.is_set(), &mut view, &mut |_| Ok(()))?;
    match view.failure() {
        Some(error) => Err(error.into()),
        None if stop.by_signal() => Ok(Exit::Interrupted),
        None => Ok(Exit::Fine),
    }
}

/// The last output of a command, and before it the one before, so that `check_diff` has something to compare with.
fn last_outputs(
    args: &Logtest,
    settings: &Settings,
    agent: &str,
    command: &str,
    stop: &Stop,
) -> Result<Vec<Stored>, Failure> {
    // No command has a name that can't be in a key.
    let Ok(key) = Key::new(agent, command) else { return Ok(Vec::new()) };
    let mut reader = Log::open(&args.at, settings)?.reader(&settings.topic_names().outputs)?;
    Ok(lookback::last_outputs(&mut *reader, &key, 2, stop)?)
}

/// Lines of standard input. Under the name of a command they become its lines; else they are taken as they are.
fn pasted_lines(key: Key, host: String, command: Option<String>) -> impl Iterator<Item = Result<Item, Trouble>> {
    let header = command.map(|command| format!("ossec: output: '{}': ", tripline_schemas::run::display_name(&command)));
    let location = location(&host, None, key.command());
    std::io::stdin().lock().split(b'\n').zip(0..).map(move |(line, offset)| {
        let mut text = header.clone().unwrap_or_default().into_bytes();
        text.extend(line?);
        if text.last() == Some(&b'\r') {
            text.pop();
        }
        let time = tripline_faults::now();
        let line = LogLine { key: key.clone(), address: None, location: location.clone(), time, text };
        Ok(Item::Line(StoredLine { partition: 0, offset, append_time: time, line }))
    })
}

fn pasted_output(key: Key, output: Vec<u8>) -> Stored {
    let now = tripline_faults::now();
    let run = Run {
        id: RunId { spool: uuid::Uuid::nil(), sequence: 1 },
        command_line: key.command().to_owned(),
        key,
        address: None,
        alias: None,
        format: Format::FullCommand,
        started: now,
        duration_ms: 0,
        start_delay_ms: None,
        ending: Ending::Exited(0),
        truncated_from: None,
        stderr_tail: Vec::new(),
        collector: env!("CARGO_PKG_VERSION").to_owned(),
        output,
    };
    Stored { partition: 0, offset: 0, append_time: now, record: Event::Output(run).to_record() }
}
