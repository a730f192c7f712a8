//! `tripline init`: files to start from, and what to do next.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use jiff::tz::TimeZone;

use crate::cli::Init;
use crate::exit::{Exit, Failure, Outcome};

/// What is written, by name.
const FILES: &[(&str, &str)] = &[
    ("tripline.toml", include_str!("init/tripline.toml")),
    ("commands.toml", include_str!("../rules/commands.toml")),
    ("rules/local_rules.xml", include_str!("init/local_rules.xml")),
    ("rules/local_test.yaml", include_str!("init/local_test.yaml")),
];

pub fn run(args: &Init) -> Outcome {
    let there: Vec<&str> = FILES.iter().map(|(name, _)| *name).filter(|name| args.dir.join(name).exists()).collect();
    if !there.is_empty() {
        return Err(Failure::unusable(anyhow!(
            "`{}` already has {}; nothing was written",
            args.dir.display(),
            there.join(", ")
        )));
    }
    let zone = TimeZone::system();
    for (name, text) in FILES {
        write_new(&args.dir.join(name), &in_zone(text, zone.iana_name()))?;
    }
    let mut out = std::io::stdout().lock();
    for (name, _) in FILES {
        writeln!(out, "wrote {}", shown(&args.dir, name))?;
    }
    write!(out, "{}", next_steps(&args.dir))?;
    Ok(Exit::Fine)
}

/// The settings with this machine's time zone, when it has a name that is known here. People mean the clock on their wall;
/// written down, it stays the same when the machine's setting changes, and so do answers.
fn in_zone(text: &str, zone: Option<&str>) -> String {
    match zone.filter(|zone| TimeZone::get(zone).is_ok()) {
        Some(zone) => text.replace("# time_zone = \"Europe/Berlin\"", &format!("time_zone = \"{zone}\"")),
        None => text.to_owned(),
    }
}

/// What to type next. Nothing more than the verb where the settings are found by themselves.
fn next_steps(dir: &Path) -> String {
    let tripline = match dir == Path::new(".") {
        true => "tripline".to_owned(),
        false => format!("tripline -C {}", shown(dir, "tripline.toml")),
    };
    let steps = [
        ("check", "what is wrong with rules, commands and settings"),
        ("collect --once uptime", "try a command"),
        (&format!("test {}", shown(dir, "rules")), "try the rules, with a clock"),
        ("run", "watch this machine"),
        ("alerts --follow", "in another terminal: alerts as they come"),
    ]
    .map(|(verb, what)| (format!("{tripline} {verb}"), what));
    let width = steps.iter().map(|(step, _)| step.chars().count()).max().unwrap_or(0);
    let lines: String = steps.iter().map(|(step, what)| format!("  {step:width$}   # {what}\n")).collect();
    format!(
        "\nnext:\n{lines}\nCommands are in commands.toml, your own rules in rules/local_rules.xml; changes of either are \
         taken over while it runs.\n"
    )
}

/// A file as the user would name it.
fn shown(dir: &Path, name: &str) -> String {
    if dir == Path::new(".") { name.to_owned() } else { dir.join(name).display().to_string() }
}

/// Writes a file that was not there.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let what = || format!("could not write `{}`", path.display());
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(what)?;
    }
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).with_context(what),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(anyhow!("{}: it is already there", what())),
        Err(error) => Err(error).with_context(what),
    }
}
