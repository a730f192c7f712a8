//! `tripline logtest`: paste a line, see which rules it passes. The loop and the engine are those of live processing.

use std::io::{BufRead, IsTerminal, Read, Write};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tripline_engine::decision::{Decision, LineDecision, LogLine, Outcome as RuleOutcome, Verdict};
use tripline_engine::{RuleSet, format};
use tripline_eventlog::Stored;
use tripline_processor::backend::StoredLine;
use tripline_processor::memory::{Item, Trouble};
use tripline_processor::replay;
use tripline_processor::shard::Observer;
use tripline_processor::task::{Arrival, Judged};
use tripline_schemas::alert::location;
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Format, Key, Run, RunId};

use crate::cli::Logtest;
use crate::exit::{Exit, Failure, Outcome};
use crate::local::{self, Log};
use crate::print;
use crate::rulefiles::Sources;
use crate::scan::{self, From};
use crate::settings::Settings;
use crate::signals::Stop;

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
                eprintln!("tripline: there is no output of `{command}` from agent `{agent}`");
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
                eprintln!(
                    "tripline: type one log line per line, such as  ossec: output: 'df -P': /dev/sda1 9 9 0 100% /"
                );
            }
            Box::new(pasted_lines(key, host, args.command.clone()))
        }
        (Some(_), None) => return Err(Failure::unusable(anyhow!("--agent goes with --command"))),
    };
    let mut view = View { rules: &rules, zone, alerts_only: args.alerts_only, printed: 0, failed: None };
    let options = replay::options("stdin");
    replay::run(rules.clone(), input, &options, &|| stop.is_set(), &mut view, &mut |_| Ok(()))?;
    match view.failed {
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
    let log = Log::open(&args.at, settings)?;
    let mut reader = log.reader(&settings.topic_names().outputs)?;
    let mut last: Vec<Stored> = Vec::new();
    scan::scan(&mut *reader, &From::Beginning, false, stop, &mut |stored| {
        let is_it = stored
            .record
            .key
            .as_deref()
            .and_then(|key| Key::from_bytes(key).ok())
            .is_some_and(|key| key.agent() == agent && key.command() == command);
        if is_it && matches!(Event::from_record(&stored.record), Ok(Event::Output(_))) {
            if last.len() == 2 {
                last.remove(0);
            }
            last.push(stored);
        }
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    Ok(last)
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
        let time = Timestamp::now();
        let line = LogLine { key: key.clone(), address: None, location: location.clone(), time, text };
        Ok(Item::Line(StoredLine { partition: 0, offset, append_time: time, line }))
    })
}

fn pasted_output(key: Key, output: Vec<u8>) -> Stored {
    let now = Timestamp::now();
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

/// Prints what the rules said.
struct View<'a> {
    rules: &'a RuleSet,
    zone: TimeZone,
    alerts_only: bool,
    printed: u64,
    failed: Option<std::io::Error>,
}

impl Observer for View<'_> {
    fn judged(&mut self, _: &Arrival, judged: &Judged) {
        let text = match judged {
            Judged::Decided(decision) => self.decision(decision),
            Judged::DeadLetter(reason) => format!("could not be judged: {reason}\n"),
            Judged::Folded | Judged::Seen => String::new(),
        };
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            self.failed.get_or_insert(error);
        }
    }

    fn wants_detail(&self) -> bool {
        true
    }
}

impl View<'_> {
    fn decision(&mut self, decision: &Decision) -> String {
        let mut text = String::new();
        if !self.alerts_only {
            for line in &decision.lines {
                text.push_str(&self.line(line));
            }
        }
        for alert in &decision.alerts {
            text.push_str(&format::ossec(alert, self.printed, &self.zone));
            self.printed += 1;
        }
        text
    }

    /// The line, the rules that were tried, what came of it.
    fn line(&self, line: &LineDecision) -> String {
        let mut text = format!("{}\n", print::escaped(&line.text));
        for tried in &line.tried {
            let outcome = match &tried.outcome {
                RuleOutcome::Holds => "holds".to_owned(),
                RuleOutcome::Fails(element) => format!("does not hold: {element}"),
                RuleOutcome::FirstSight => "first sight: stored, does not hold".to_owned(),
                RuleOutcome::Unchanged => "unchanged, does not hold".to_owned(),
                RuleOutcome::NotComparable => "not comparable: one of the two texts is cut".to_owned(),
                RuleOutcome::PutAside => "put aside until the run's last line".to_owned(),
                RuleOutcome::Incomplete => "not compared: an earlier result took some of its lines".to_owned(),
            };
            text.push_str(&format!("  {}{} {outcome}\n", "  ".repeat(tried.depth.into()), tried.rule));
        }
        let verdict = match &line.verdict {
            Verdict::NoRule => "no rule".to_owned(),
            Verdict::Silent(rule) => format!("rule {} takes it, silently (level 0)", self.named(*rule)),
            Verdict::NotLogged(rule) => format!("rule {} takes it, not logged (options or level)", self.named(*rule)),
            Verdict::HeldBack { rule, until } => {
                let until = until.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
                format!("rule {} takes it, held back by its ignore timer until {until}", self.named(*rule))
            }
            Verdict::Alert { rule, .. } => format!("rule {} takes it: ALERT", self.named(*rule)),
            Verdict::Gathered(rule) => format!("part of the text that rule {} compares", self.named(*rule)),
        };
        text.push_str(&format!("=> {verdict}\n\n"));
        text
    }

    fn named(&self, id: u32) -> String {
        match self.rules.rule(id).and_then(|rule| rule.description) {
            Some(description) => format!("{id} \"{}\"", format::escaped_line(description)),
            None => id.to_string(),
        }
    }
}
