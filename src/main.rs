//! `tripline`, the command-line program. It reads flags and settings, wires the crates together and prints; it decides
//! nothing. One file per verb; [`exit`] has the exit codes.

// Both end the program when nobody reads what they write: `say!` does not, nor does `writeln!` to standard output.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod alerts;
mod backup;
mod capture;
mod check;
mod cli;
mod collect;
mod commands;
mod exit;
mod forget;
mod groups;
mod history;
mod init;
mod local;
mod logtest;
mod lookback;
mod manual;
mod ossec;
mod outputs;
mod owned;
mod print;
mod process;
mod rebuild;
mod reload;
mod replay;
mod rulefiles;
mod ruletest;
mod run;
mod scan;
mod service;
mod settings;
mod settled;
mod sharing;
mod signals;
mod state;
mod test;
mod timers;
mod topics;
mod units;
mod users;
mod verify;

use std::io::{ErrorKind, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Verb};
use exit::{Exit, Failure, Outcome};
use print::say;
use settings::Settings;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.verbose);
    match dispatch(&cli) {
        Ok(exit) => exit.into(),
        Err(Failure { error, .. }) if is_broken_pipe(&error) => Exit::Fine.into(),
        Err(Failure { exit, error }) => {
            say!("tripline: {}", print::chain(&error));
            exit.into()
        }
    }
}

fn dispatch(cli: &Cli) -> Outcome {
    let settings = || Settings::load(cli.config.as_deref()).map_err(Failure::unusable);
    match &cli.verb {
        Verb::Init(args) => init::run(args),
        Verb::Run(args) => run::run(args, settings()?),
        Verb::Collect(args) => collect::run(args, settings()?),
        Verb::Process(args) => process::run(args, settings()?),
        Verb::Topics(args) => topics::run(args, settings()?),
        Verb::Alerts(args) => alerts::run(args, settings()?),
        Verb::Outputs(args) => outputs::run(args, settings()?),
        Verb::Capture(args) => capture::run(args, settings()?),
        Verb::Check(args) => check::run(args, settings()),
        Verb::Test(args) => test::run(args),
        Verb::Logtest(args) => logtest::run(args, settings()?),
        Verb::Replay(args) => replay::run(args, settings()?),
        Verb::State(args) => state::run(args, settings()?),
        Verb::Man(args) => manual::pages(args),
        Verb::Completions(args) => manual::completions(args),
    }
}

/// Messages of the crates go to standard error; data goes to standard output.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::new(format!("{level},librdkafka=off"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        // What can't be written can't be complained about there either: it would panic.
        .log_internal_errors(false)
        .init();
}

/// Whoever read our output, such as `head`, has seen enough: no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe))
}
