//! `tripline replay`: history through a rule set, with a state of its own.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow};
use tripline_engine::finding::codes;
use tripline_engine::format;
use tripline_processor::backend::{OutputRecord, OutputTopic};
use tripline_processor::memory::{Item, Trouble};
use tripline_processor::{jobs, replay};
use tripline_schemas::alert::Alert;
use tripline_schemas::dead_letter::DeadLetter;

use crate::cli::Replay;
use crate::exit::{Exit, Failure, Outcome};
use crate::history::{self, OfLog, Selection};
use crate::local::{self, Log};
use crate::ossec::Ossec;
use crate::print::{self, say};
use crate::rulefiles::Sources;
use crate::settings::Settings;
use crate::signals::Stop;

pub fn run(args: &Replay, settings: Settings) -> Outcome {
    let partitions = settings.partitions(local::uses_kafka(&args.at, &settings));
    let sources = Sources { flags: &args.rules, settings: &settings, partitions };
    let ossec = sources.ossec().map_err(Failure::unusable)?;
    let rules = sources.load(ossec.as_ref())?;
    let jobs = jobs(args.jobs, sources, ossec.as_ref()).map_err(Failure::unusable)?;
    let (history, begins_late) = history(args, &settings)?;
    let mut alerts = writer(&args.alerts).map_err(Failure::unusable)?;
    let stop = Stop::on_signals()?;
    let began = Instant::now();
    let options = replay::options(&settings.topic_names().outputs);
    let mut sink = |output| write_alert(&mut alerts, &output);
    let is_stopped = || stop.is_set();
    let ended = match jobs.get() {
        1 => replay::run(rules, history, &options, &is_stopped, &mut (), &mut sink),
        _ => jobs::run(&rules, history, &options, jobs, &is_stopped, &mut sink),
    };
    alerts.flush().context("could not write the alerts")?;
    let summary = match ended {
        Ok(summary) => summary,
        // A history that can't be read to its end is not complete; what came before it was judged.
        Err(error) => return Err(Failure { exit: Exit::HistoryIncomplete, error: error.into() }),
    };
    let counts = summary.counts;
    say!(
        "replayed {} in {:.1}s: {}, {} held back, {} that could not be judged",
        print::count(counts.arrivals, "event"),
        began.elapsed().as_secs_f64(),
        print::count(counts.alerts, "alert"),
        counts.held_back,
        counts.dead_letters
    );
    Ok(match counts.arrivals {
        _ if stop.by_signal() => Exit::Interrupted,
        0 => Exit::NothingSelected,
        _ if counts.dead_letters > 0 || begins_late => Exit::HistoryIncomplete,
        _ => Exit::Fine,
    })
}

/// How many threads may judge: rules that count across agents and commands want one. They are those that would be refused
/// if the outputs lay in several partitions.
fn jobs(wanted: NonZeroU32, sources: Sources<'_>, ossec: Option<&Ossec>) -> anyhow::Result<NonZeroU32> {
    if wanted.get() == 1 {
        return Ok(wanted);
    }
    let apart = Sources { partitions: 2, ..sources };
    let findings = apart.check(&apart.gather(ossec)?).findings;
    let Some(finding) = findings.iter().find(|finding| finding.code == codes::CROSSES_KEYS.code) else {
        return Ok(wanted);
    };
    let rule = finding.rule.map_or_else(|| "a rule".to_owned(), |id| format!("rule {id}"));
    say!("tripline: {rule} counts across agents and commands, so one job judges all: {}", finding.message);
    Ok(NonZeroU32::MIN)
}

/// The log, or all files one after the other; and whether a part of it may be gone already.
fn history<'a>(args: &'a Replay, settings: &Settings) -> Result<(History<'a>, bool), Failure> {
    let selection = Selection::of(&args.slice, settings)?;
    if args.from == ["log"] {
        let reader = Log::open(&args.at, settings)?.reader(&settings.topic_names().outputs)?;
        let history = OfLog::new(reader, selection)?;
        let begins_late = history.begins_late();
        return Ok((Box::new(history), begins_late));
    }
    let path = |source: &'a String| {
        source.strip_prefix("file:").ok_or_else(|| {
            Failure::unusable(anyhow!(
                "`{source}` is no history: write file:PATH (JSON lines, or .zst), file:- for standard input, or `log` \
                 alone for the outputs in the log"
            ))
        })
    };
    let paths = args.from.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    Ok((Box::new(history::of_files(&paths, selection).map_err(Failure::unusable)?), false))
}

type History<'a> = Box<dyn Iterator<Item = Result<Item, Trouble>> + 'a>;

fn writer(path: &Path) -> anyhow::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(std::io::stdout())));
    }
    let file = File::create(path).with_context(|| format!("could not write alerts to `{}`", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

fn write_alert(alerts: &mut dyn Write, output: &OutputRecord) -> Result<(), Trouble> {
    match output.topic {
        OutputTopic::Alerts => writeln!(alerts, "{}", format::json(&Alert::from_record(&output.record)?))?,
        OutputTopic::DeadLetters => {
            let letter = DeadLetter::from_record(&output.record)?;
            say!("tripline: event {} could not be judged: {}", letter.offset, letter.reason);
        }
        OutputTopic::RuleSets => {}
    }
    Ok(())
}
