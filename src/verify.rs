//! `tripline state verify`: everything in a data directory is read once; what is damaged is named, with what that loses and
//! what to do.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use tripline_collector::spool;
use tripline_eventlog::embedded::{self, Check, DamagedPlace, EmbeddedOptions};
use tripline_processor::verify::StateCheck;

use crate::cli::{StateFormat, StateVerify};
use crate::exit::{Exit, Failure, Outcome};
use crate::local::{self, log_dir, not_opened};
use crate::print::{self, say};
use crate::settings::Settings;

/// One damaged place.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub part: Part,
    /// What is wrong, and where.
    pub what: String,
    /// What is lost by it.
    pub lost: String,
    /// What to do.
    pub help: &'static str,
}

/// What a data directory consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Records and positions.
    Log,
    /// What the processor remembers.
    State,
    /// What the collector has not published yet.
    Spool,
    /// Saved positions of those who take alerts.
    Groups,
}

const RESTORE: &str = "put a backup in place of the data directory, or move it away to start with an empty one";
const REBUILD: &str = "`tripline state rebuild` folds it again from the outputs in the log";

pub fn run(args: &StateVerify, settings: &Settings) -> Outcome {
    if local::uses_kafka(&args.at, settings) {
        let what = "state verify looks at a data directory; on Kafka the state is a copy of the changelog topic, and a \
                    damaged copy can be deleted";
        return Err(Failure::unusable(anyhow::anyhow!(what)));
    }
    let data_dir = local::data_dir(&args.at, settings);
    let (check, mut findings) = log(&data_dir, settings)?;
    let runs = spool(&data_dir, &mut findings)?;
    let groups = groups(&data_dir, &check, &mut findings)?;

    let mut out = std::io::stdout().lock();
    for finding in &findings {
        match args.format {
            StateFormat::Json => writeln!(out, "{}", serde_json::to_string(finding)?)?,
            StateFormat::Text => {
                let Finding { what, lost, help, .. } = finding;
                writeln!(out, "damaged: {what}\n  lost: {lost}\n  help: {help}")?;
            }
        }
    }
    out.flush()?;
    say!(
        "read {} ({}), {}, {} in the spool's files and {}: {}",
        print::count(check.records, "record"),
        print::bytes(check.record_bytes),
        print::count(check.values, "state value"),
        print::count(runs, "run"),
        print::count(groups, "saved position"),
        if findings.is_empty() {
            "all is well".to_owned()
        } else {
            print::count(findings.len() as u64, "damaged place")
        },
    );
    Ok(if findings.is_empty() { Exit::Fine } else { Exit::Findings })
}

/// Log and state.
pub fn log(data_dir: &Path, settings: &Settings) -> Result<(Check, Vec<Finding>), Failure> {
    let mut state = StateCheck::default();
    let check = embedded::verify(&log_dir(data_dir), EmbeddedOptions::default(), &mut |partition, key, value| {
        state.value(partition, key, value);
    })
    .map_err(not_opened)?;
    let mut findings: Vec<Finding> = check.damage.iter().map(|damage| of_log(&damage.place, &damage.what)).collect();
    let ours = check.positions.iter().filter(|(group, ..)| *group == settings.application_id);
    let positions: BTreeMap<u32, u64> = ours.map(|(_, partition, offset)| (*partition, *offset)).collect();

    let outputs = check.bounds.get(&settings.topic_names().outputs);
    for (partition, position) in &positions {
        let end = outputs.and_then(|bounds| bounds.get(*partition as usize)).map_or(0, |bounds| bounds.end);
        if *position > end {
            findings.push(Finding {
                part: Part::Log,
                what: format!("partition {partition} is judged up to offset {position}, and ends at {end}"),
                lost: "the outputs in between; those that come next would not be judged".to_owned(),
                help: RESTORE,
            });
        }
    }
    // Of state that can't be read to its end, what is missing says nothing.
    let is_whole = check.damage.iter().all(|damage| !matches!(damage.place, DamagedPlace::State | DamagedPlace::Files));
    for damage in if is_whole { state.finish(&positions) } else { Vec::new() } {
        let whose = damage.key.map_or_else(|| format!("partition {}", damage.partition), |key| key.to_string());
        findings.push(Finding {
            part: Part::State,
            what: format!("state of {}: {}", tripline_engine::format::escaped_line(&whose), damage.what),
            lost: "what is remembered there: baselines, ignore timers, counters".to_owned(),
            help: REBUILD,
        });
    }
    Ok((check, findings))
}

fn of_log(place: &DamagedPlace, what: &str) -> Finding {
    let (part, what, lost, help) = match place {
        DamagedPlace::Files => {
            let lost = "the log does not open; what of it can still be read was checked, and is named below if damaged";
            (Part::Log, what.to_owned(), lost.to_owned(), RESTORE)
        }
        DamagedPlace::Records { topic, partition, first, last } => {
            let records = if first == last {
                format!("record {first} of `{topic}` partition {partition}")
            } else {
                format!("records {first} to {last} of `{topic}` partition {partition}")
            };
            let lost = print::count(last - first + 1, "record");
            (Part::Log, format!("{records}: {what}"), lost, RESTORE)
        }
        DamagedPlace::State => {
            let lost = "what is remembered: baselines, ignore timers, counters, cursors".to_owned();
            (Part::State, format!("the state: {what}"), lost, REBUILD)
        }
        DamagedPlace::Positions => {
            let lost = "where the processor has come to".to_owned();
            (Part::Log, format!("the positions: {what}"), lost, RESTORE)
        }
    };
    Finding { part, what, lost, help }
}

/// Gives how many runs wait in the spool.
fn spool(data_dir: &Path, findings: &mut Vec<Finding>) -> Result<u64, Failure> {
    let Some(check) = spool::verify(&data_dir.join("spool"))? else { return Ok(0) };
    findings.extend(check.damage.into_iter().map(|what| Finding {
        part: Part::Spool,
        what,
        lost: "the runs in there that were not published yet".to_owned(),
        help: "the next start of the collector publishes what can be read, sets the rest aside as `*.damaged`, and goes on; \
               a damaged `spool.json` must be put back, or the spool be moved away",
    }));
    Ok(check.runs)
}

/// Gives how many saved positions there are.
fn groups(data_dir: &Path, check: &Check, findings: &mut Vec<Finding>) -> Result<u64, Failure> {
    let mut count = 0;
    let dir = data_dir.join("groups");
    let topics = match std::fs::read_dir(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        topics => topics?,
    };
    for topic in topics {
        let topic = topic?;
        let name = topic.file_name();
        let bounds = name.to_str().and_then(|name| check.bounds.get(name));
        for file in std::fs::read_dir(topic.path())? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue; // Left by a crash between writing and renaming.
            }
            count += 1;
            let offsets = serde_json::from_slice::<BTreeMap<u32, u64>>(&std::fs::read(&path)?);
            let what = match offsets {
                Err(error) => Some(error.to_string()),
                Ok(offsets) => offsets.iter().find_map(|(partition, offset)| {
                    let end = bounds.map(|bounds| bounds.get(*partition as usize).map_or(0, |bounds| bounds.end))?;
                    (*offset > end).then(|| format!("offset {offset} of partition {partition}, which ends at {end}"))
                }),
            };
            findings.extend(what.map(|what| Finding {
                part: Part::Groups,
                what: format!("`{}`: {what}", path.display()),
                lost: "how far this group has come".to_owned(),
                help: "delete the file to hand everything that is kept to the group again",
            }));
        }
    }
    Ok(count)
}
