//! `tripline state`: what is remembered, with where it came from and how old it is.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;

use jiff::{Timestamp, tz::TimeZone};
use tripline_engine::format::escaped_line;
use tripline_eventlog::Reader;
use tripline_eventlog::embedded::LocalLog;
use tripline_schemas::Key;
use tripline_schemas::partition::partition_for;
use tripline_schemas::state::{
    Activation, Baseline, Counted, Cursor, Cursors, HistoryBounds, KeyState, RuleState, Scope, Seen, SeenKind, StateKey,
};

use crate::backup;
use crate::cli::{State, StateAction, StateFormat};
use crate::exit::{Exit, Failure, Outcome};
use crate::forget;
use crate::local::Log;
use crate::print::{self, say};
use crate::rebuild;
use crate::scan::{self, From};
use crate::settings::Settings;
use crate::signals::Stop;
use crate::timers::Timers;
use crate::verify;

/// State by partition and key.
pub type Values = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

pub fn run(args: &State, settings: Settings) -> Outcome {
    match &args.action {
        Some(StateAction::Forget { at, agent, command, rule, reason, author }) => {
            forget::run(at, agent, command, *rule, reason, author.as_deref(), &settings)
        }
        Some(StateAction::Verify(args)) => verify::run(args, &settings),
        Some(StateAction::Rebuild(args)) => rebuild::run(args, &settings),
        Some(StateAction::Backup(args)) => backup::run(args, &settings),
        None => show(args, &settings),
    }
}

fn show(args: &State, settings: &Settings) -> Outcome {
    let zone = settings.zone().map_err(Failure::unusable)?;
    let log = Log::open(&args.at, settings)?;
    let values = match &log {
        Log::Embedded { log, .. } => embedded(log, settings)?,
        Log::Kafka { .. } => changelog(&log, settings)?,
    };
    let timers = match args.format {
        StateFormat::Text => Timers::read(&log, &values, settings).unwrap_or_else(|error| {
            say!("tripline: until when ignore timers hold is not known: {}", print::chain(&error));
            Timers::default()
        }),
        StateFormat::Json => Timers::default(),
    };
    let mut out = std::io::stdout().lock();
    let mut shown = 0;
    for ((partition, key), value) in &values {
        let key = StateKey::from_bytes(key)?;
        let entry = Entry { partition: *partition, key, value, values: &values, timers: &timers };
        if !wanted(&entry.key, args) {
            continue;
        }
        let text = match args.format {
            StateFormat::Json => entry.json(args)?,
            StateFormat::Text => entry.text(args, &zone)?,
        };
        if !text.is_empty() {
            out.write_all(text.as_bytes())?;
            shown += 1;
        }
    }
    out.flush()?;
    if shown == 0 {
        say!("tripline: nothing is remembered{}", if values.is_empty() { "" } else { " of what was asked for" });
        return Ok(Exit::NothingSelected);
    }
    Ok(Exit::Fine)
}

/// Whether an embedded log remembers anything of a key that an order to forget takes away: of one rule, or of all.
pub fn is_remembered(log: &LocalLog, settings: &Settings, key: &Key, rule: Option<u32>) -> anyhow::Result<bool> {
    let partitions = log.reader(&settings.topic_names().outputs)?.partitions();
    let partition = partition_for(&key.to_bytes(), partitions);
    let Some(value) = log.state_get(partition, &StateKey::Key(key.clone()).to_bytes())? else { return Ok(false) };
    Ok(match rule {
        Some(rule) => KeyState::from_bytes(&value)?.rules.contains_key(&rule),
        None => true,
    })
}

fn embedded(log: &LocalLog, settings: &Settings) -> anyhow::Result<Values> {
    let partitions = log.reader(&settings.topic_names().outputs)?.partitions();
    let mut values = Values::new();
    for partition in 0..partitions {
        for entry in log.state_iter(partition)? {
            let (key, value) = entry?;
            values.insert((partition, key.to_vec()), value.to_vec());
        }
    }
    Ok(values)
}

/// On Kafka the truth about state is the changelog: the last value of each key.
fn changelog(log: &Log, settings: &Settings) -> anyhow::Result<Values> {
    let mut reader = log.reader(&settings.topic_names().changelog)?;
    let mut values = Values::new();
    scan::scan(&mut *reader, &From::Beginning, false, &Stop::on_signals()?, &mut |stored| {
        let Some(key) = stored.record.key else { return Ok(ControlFlow::Continue(())) };
        match stored.record.value {
            Some(value) => values.insert((stored.partition, key), value),
            None => values.remove(&(stored.partition, key)),
        };
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(values)
}

fn wanted(key: &StateKey, args: &State) -> bool {
    match key {
        StateKey::Key(key) => {
            args.agent.as_deref().is_none_or(|agent| agent == key.agent())
                && args.command.as_deref().is_none_or(|command| command == key.command())
        }
        StateKey::Cursor(_) | StateKey::Cursors | StateKey::Activation => {
            args.agent.is_none() && args.command.is_none() && args.rule.is_none()
        }
        StateKey::History(history) => {
            let (Counted::Rule(rule) | Counted::Group(rule) | Counted::Regex(rule)) = history.counted;
            in_scope(&history.scope, args) && args.rule.is_none_or(|wanted| wanted == rule)
        }
        StateKey::Seen(seen) => in_scope(&seen.scope, args) && args.rule.is_none(),
        // Shown with the baseline or history that names it.
        StateKey::Text(..) | StateKey::HistoryEvent(..) => false,
    }
}

fn in_scope(scope: &Scope, args: &State) -> bool {
    match scope {
        Scope::Key(key) => wanted(&StateKey::Key(key.clone()), args),
        Scope::Partition => args.agent.is_none() && args.command.is_none(),
    }
}

struct Entry<'a> {
    partition: u32,
    key: StateKey,
    value: &'a [u8],
    values: &'a Values,
    timers: &'a Timers,
}

impl Entry<'_> {
    fn json(&self, args: &State) -> anyhow::Result<String> {
        let (kind, key) = match &self.key {
            StateKey::Key(key) => ("key", Some(key)),
            StateKey::Cursor(key) => ("cursor", Some(key)),
            StateKey::Cursors => ("cursors", None),
            StateKey::Activation => ("activation", None),
            StateKey::History(history) => ("history", key_of(&history.scope)),
            StateKey::Seen(seen) => ("seen", key_of(&seen.scope)),
            StateKey::Text(..) | StateKey::HistoryEvent(..) => return Ok(String::new()),
        };
        let mut value: serde_json::Value = serde_json::from_slice(self.value)?;
        if let (StateKey::Key(_), Some(wanted), Some(rules)) = (&self.key, args.rule, value["rules"].as_object_mut()) {
            rules.retain(|id, _| *id == wanted.to_string());
            if rules.is_empty() {
                return Ok(String::new());
            }
        }
        let entry = serde_json::json!({ "partition": self.partition, "kind": kind, "key": key, "value": value });
        Ok(format!("{entry}\n"))
    }

    fn text(&self, args: &State, zone: &TimeZone) -> anyhow::Result<String> {
        let partition = self.partition;
        Ok(match &self.key {
            StateKey::Key(key) => {
                let state = KeyState::from_bytes(self.value)?;
                let rules: Vec<_> =
                    state.rules.iter().filter(|(id, _)| args.rule.is_none_or(|wanted| wanted == **id)).collect();
                if rules.is_empty() {
                    return Ok(String::new());
                }
                let mut text = format!("{}\n", escaped_line(&key.to_string()));
                for (id, rule) in rules {
                    text.push_str(&self.rule(key, *id, rule, args.texts, zone));
                }
                text
            }
            StateKey::Cursors => {
                let cursors = Cursors::from_bytes(self.value)?;
                format!("partition {partition}: cursors folded up to offset {}\n", cursors.position)
            }
            StateKey::Cursor(key) => {
                let cursor = Cursor::from_bytes(self.value)?;
                let spools: Vec<String> =
                    cursor.spools.iter().map(|spool| format!("{} at {}", spool.spool, spool.sequence)).collect();
                format!("{}: seen of spool {}\n", escaped_line(&key.to_string()), spools.join(", "))
            }
            StateKey::Activation => {
                let activation = Activation::from_bytes(self.value)?;
                format!(
                    "partition {partition}: rule set {} judges from offset {} on\n",
                    activation.digest, activation.from_offset
                )
            }
            StateKey::History(history) => {
                let HistoryBounds { first, next } = HistoryBounds::from_bytes(self.value)?;
                let what = match history.counted {
                    Counted::Rule(rule) => format!("results of rule {rule}"),
                    Counted::Group(rule) => format!("results in the group that rule {rule} counts"),
                    Counted::Regex(rule) => format!("results with the text that rule {rule} counts"),
                };
                format!("{}: {} {what}\n", whose(&history.scope, partition), print::count(next - first, "event"))
            }
            StateKey::Seen(seen) => {
                let Seen { what, time, rule } = Seen::from_bytes(self.value)?;
                let kind = match seen.kind {
                    SeenKind::FirstTime => "seen by",
                    SeenKind::Ignored => "stored by the `ignore` of",
                };
                let (whose, time) = (whose(&seen.scope, partition), when(time, zone));
                format!("{whose}: {} {kind} rule {rule} at {time}\n", escaped_line(&what))
            }
            StateKey::Text(..) | StateKey::HistoryEvent(..) => String::new(),
        })
    }

    fn rule(&self, key: &Key, id: u32, rule: &RuleState, texts: bool, zone: &TimeZone) -> String {
        let mut text = format!("  rule {id}:");
        if rule.fired_times > 0 {
            text.push_str(&format!(" was the result {}", print::count(rule.fired_times, "time")));
        }
        if let Some(fired) = rule.fired {
            text.push_str(&format!(", {}", self.fired(id, fired, rule.held_back, zone)));
        }
        if rule.returned > 0 {
            text.push_str(&format!(
                ", its output returned to the baseline {} meanwhile",
                print::count(rule.returned, "time")
            ));
        }
        text.push('\n');
        for (captured, timer) in &rule.timers {
            let fired = self.fired(id, timer.fired, timer.held_back, zone);
            text.push_str(&format!("    for `{}`: {fired}\n", escaped_line(captured)));
        }
        if let Some(baseline) = &rule.baseline {
            text.push_str(&self.baseline(key, baseline, texts, zone));
        }
        text
    }

    /// A firing, and the ignore timer that began with it.
    fn fired(&self, rule: u32, fired: Timestamp, held_back: u64, zone: &TimeZone) -> String {
        let mut text = format!("fired last at {}", when(fired, zone));
        if held_back > 0 {
            text.push_str(&format!(", held back {} since", print::count(held_back, "time")));
        }
        let until = self.timers.until(self.partition, rule, fired);
        if let Some(until) = until.filter(|until| *until > tripline_faults::now()) {
            text.push_str(&format!(", quiet until {}", when(until, zone)));
        }
        text
    }

    fn baseline(&self, key: &Key, baseline: &Baseline, texts: bool, zone: &TimeZone) -> String {
        let run = baseline.run.map_or_else(String::new, |run| format!(" of run {run}"));
        let cut = if baseline.truncated { ", cut" } else { "" };
        let mut text =
            format!("    baseline: {}{cut} from {}{run}\n", print::bytes(baseline.size), when(baseline.time, zone));
        if texts {
            let stored = StateKey::Text(key.clone(), baseline.digest).to_bytes();
            match self.values.get(&(self.partition, stored)) {
                Some(content) => {
                    for line in print::escaped(content).lines() {
                        text.push_str(&format!("      | {line}\n"));
                    }
                }
                None => text.push_str("      (its text is missing: the state is damaged)\n"),
            }
        }
        text
    }
}

fn key_of(scope: &Scope) -> Option<&Key> {
    match scope {
        Scope::Key(key) => Some(key),
        Scope::Partition => None,
    }
}

fn whose(scope: &Scope, partition: u32) -> String {
    key_of(scope).map_or_else(|| format!("partition {partition}"), |key| escaped_line(&key.to_string()).to_string())
}

/// A time, and how long ago it was, or is to come.
fn when(time: Timestamp, zone: &TimeZone) -> String {
    let shown = print::time(time, zone);
    let seconds = tripline_faults::now().duration_since(time).as_secs();
    let span = match seconds.unsigned_abs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    };
    if seconds < 0 { format!("{shown} (in {span})") } else { format!("{shown} ({span} ago)") }
}
