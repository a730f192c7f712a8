//! `tripline capture`: a slice of the history to a file, as `replay`, `outputs import` and rule tests read it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use tripline_processor::memory::Item;
use tripline_schemas::event::Event;

use crate::cli::Capture;
use crate::exit::{Exit, Failure, Outcome};
use crate::history::{self, OfLog, Selection};
use crate::local::Log;
use crate::print::{self, say};
use crate::settings::Settings;
use crate::signals::Stop;

/// The level of compression, of 1 to 22. Outputs of one command are much alike, so a low one does nearly as well.
const ZSTD_LEVEL: i32 = 3;

pub fn run(args: &Capture, settings: Settings) -> Outcome {
    let log = Log::open(&args.at, &settings)?;
    let reader = log.reader(&settings.topic_names().outputs)?;
    let history = OfLog::new(reader, Selection::of(&args.slice, &settings)?)?;
    let begins_late = history.begins_late();
    let stop = Stop::on_signals()?;
    // Made when there is something to write: a mistyped agent leaves no empty file.
    let mut out = None;
    let (mut written, mut undecoded) = (0, 0);
    for item in history {
        if stop.is_set() {
            break;
        }
        let Item::Record(stored) = item.map_err(|error| anyhow!(error))? else { continue };
        let Ok(event) = Event::from_record(&stored.record) else {
            undecoded += 1;
            continue;
        };
        let line = history::line(stored.append_time, event)?;
        let file = match &mut out {
            Some(file) => file,
            None => out.insert(Out::create(&args.out).map_err(Failure::unusable)?),
        };
        file.line(&line).with_context(|| could_not(&args.out))?;
        written += 1;
    }
    let Some(file) = out else {
        say!("tripline: nothing was selected; nothing was written");
        return Ok(Exit::NothingSelected);
    };
    file.finish().with_context(|| could_not(&args.out))?;
    say!("captured {} in {}", print::count(written, "event"), print::path_or(&args.out, "standard output"));
    if undecoded > 0 {
        say!("tripline: {} could not be decoded and left out", print::count(undecoded, "record"));
    }
    Ok(match stop.by_signal() {
        true => Exit::Interrupted,
        false if begins_late || undecoded > 0 => Exit::HistoryIncomplete,
        false => Exit::Fine,
    })
}

fn could_not(path: &Path) -> String {
    format!("could not write `{}`", path.display())
}

/// A history file that is being written.
enum Out {
    Plain(Box<dyn Write>),
    Zstd(zstd::Encoder<'static, File>),
}

impl Out {
    fn create(path: &Path) -> anyhow::Result<Out> {
        if path == Path::new("-") {
            return Ok(Out::Plain(Box::new(BufWriter::new(std::io::stdout()))));
        }
        let file = File::create(path).with_context(|| could_not(path))?;
        Ok(match path.extension().is_some_and(|extension| extension == "zst") {
            true => Out::Zstd(zstd::Encoder::new(file, ZSTD_LEVEL).with_context(|| could_not(path))?),
            false => Out::Plain(Box::new(BufWriter::new(file))),
        })
    }

    fn line(&mut self, line: &str) -> std::io::Result<()> {
        match self {
            Out::Plain(file) => writeln!(file, "{line}"),
            Out::Zstd(file) => writeln!(file, "{line}"),
        }
    }

    /// A compressed file has an end; without it, it can't be read.
    fn finish(self) -> std::io::Result<()> {
        match self {
            Out::Plain(mut file) => file.flush(),
            Out::Zstd(file) => file.finish()?.sync_all(),
        }
    }
}
