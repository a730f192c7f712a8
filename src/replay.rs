//! `tripline replay`: history through a rule set, with a state of its own.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow};
use tripline_engine::format;
use tripline_processor::backend::{OutputRecord, OutputTopic};
use tripline_processor::memory::{Item, Trouble};
use tripline_processor::replay;
use tripline_schemas::alert::Alert;
use tripline_schemas::dead_letter::DeadLetter;
use tripline_schemas::history::HistoryReader;

use crate::cli::Replay;
use crate::exit::{Exit, Failure, Outcome};
use crate::outputs::history_file;
use crate::print;
use crate::rulefiles::Sources;
use crate::settings::Settings;
use crate::signals::Stop;

pub fn run(args: &Replay, settings: Settings) -> Outcome {
    let sources =
        Sources { flags: &args.rules, settings: &settings, partitions: settings.partitions(settings.kafka.enabled) };
    let rules = sources.load(sources.ossec().map_err(Failure::unusable)?.as_ref())?;
    let history = history(&args.from).map_err(Failure::unusable)?;
    let mut alerts = writer(&args.alerts).map_err(Failure::unusable)?;
    let stop = Stop::on_signals()?;
    let began = Instant::now();
    let options = replay::options(&settings.topic_names().outputs);
    let ended = replay::run(rules, history, &options, &|| stop.is_set(), &mut (), &mut |output| {
        write_alert(&mut alerts, &output)
    });
    alerts.flush().context("could not write the alerts")?;
    let summary = match ended {
        Ok(summary) => summary,
        // A history that can't be read to its end is not complete; what came before it was judged.
        Err(error) => return Err(Failure { exit: Exit::HistoryIncomplete, error: error.into() }),
    };
    let counts = summary.counts;
    eprintln!(
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
        _ if counts.dead_letters > 0 => Exit::HistoryIncomplete,
        _ => Exit::Fine,
    })
}

/// All files one after the other.
fn history(from: &[String]) -> anyhow::Result<impl Iterator<Item = Result<Item, Trouble>> + use<>> {
    let mut readers = Vec::new();
    for source in from {
        let path = source.strip_prefix("file:").ok_or_else(|| {
            anyhow!("`{source}` is no history: write file:PATH (JSON lines, or .zst), or file:- for standard input")
        })?;
        let reader = HistoryReader::new(history_file(Path::new(path))?, path);
        let path = path.to_owned();
        readers.push(reader.map(move |record| record.with_context(|| path.clone())));
    }
    Ok(replay::from_history(readers.into_iter().flatten()))
}

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
            eprintln!("tripline: event {} could not be judged: {}", letter.offset, letter.reason);
        }
        OutputTopic::RuleSets => {}
    }
    Ok(())
}
