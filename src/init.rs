//! `tripline init`: files to start from, and what to do next.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, anyhow};

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
    for (name, text) in FILES {
        write_new(&args.dir.join(name), text)?;
        println!("wrote {}", args.dir.join(name).display());
    }
    let at = |name: &str| args.dir.join(name).display().to_string();
    println!(
        "\nnext:\n  \
         tripline -C {config} check                                    what is wrong with rules and settings\n  \
         tripline -C {config} collect --commands {commands} --once uptime   try a command\n  \
         tripline -C {config} test {rules}                             test the rules\n  \
         tripline -C {config} run --commands {commands}                watch this machine\n  \
         tripline -C {config} alerts --follow                          see alerts while it runs",
        config = at("tripline.toml"),
        commands = at("commands.toml"),
        rules = at("rules"),
    );
    Ok(Exit::Fine)
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
