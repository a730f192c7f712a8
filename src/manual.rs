//! `tripline man` and `tripline completions`: what packages install beside the program, made from its own flags, so that
//! they can't differ from it.

use std::io::Write;

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::{Cli, Completions, Man};
use crate::exit::{Exit, Outcome};

/// Writes a page for the program and for each verb.
pub fn pages(args: &Man) -> Outcome {
    let what = || format!("could not write manual pages into `{}`", args.dir.display());
    std::fs::create_dir_all(&args.dir).with_context(what)?;
    clap_mangen::generate_to(Cli::command(), &args.dir).with_context(what)?;
    Ok(Exit::Fine)
}

/// Prints the completions for one shell.
pub fn completions(args: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tripline", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Fine)
}
