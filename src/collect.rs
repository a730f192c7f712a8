//! `tripline collect`: a collector by itself, publishing to Kafka; or one run of one command, to try it.

use std::io::{IsTerminal, Write};

use anyhow::anyhow;
use tripline_collector::{ActivePlan, Collector, Observer, Plan, run_once};
use tripline_schemas::Ending;

use crate::cli::Collect;
use crate::commands;
use crate::exit::{Exit, Failure, Outcome};
use crate::local;
use crate::ossec::Ossec;
use crate::print::{self, say};
use crate::reload::{self, Reload};
use crate::service;
use crate::settings::Settings;
use crate::signals::Stop;

pub fn run(args: &Collect, settings: Settings) -> Outcome {
    if let Some(name) = &args.once {
        return once(name, args, &settings);
    }
    // First of all: a signal that comes while files are read must not end the program.
    let stop = Stop::on_signals()?;
    let reload = Reload::on_hangup()?;
    let plan = plan(args, &settings).map_err(Failure::unusable)?;
    if !local::uses_kafka(&args.at, &settings) {
        return Err(Failure::unusable(anyhow!(
            "`tripline collect` publishes to Kafka: name it with --kafka; on the embedded log, `tripline run` is \
             collector and processor in one"
        )));
    }
    let publisher = local::publisher(&args.at, &settings)?;
    let plan = ActivePlan::new(plan);
    let collector = Collector {
        plan: plan.clone(),
        identity: commands::identity(&settings).map_err(Failure::unusable)?,
        settings: settings.collector.clone(),
        spool_dir: local::data_dir(&args.at, &settings).join("spool"),
        topic: settings.topic_names().outputs,
        observer: Observer::none(),
    };
    let commands = reload::Commands::new(&settings, args.commands.as_deref(), args.ossec_conf.as_deref(), plan);
    let reload = reload.of(commands);
    let asked = tripline_collector::Stop::new();
    service::started();
    let collect = || collector.run(publisher, &asked);
    let summary = stop.within(args.duration, || asked.ask(), || stop.beside(|| reload.watch(&stop), collect))?;
    say!(
        "collected {}, published {}{}",
        print::count(summary.runs, "run"),
        summary.published,
        if summary.left_in_spool { "; the rest waits in the spool for the next start" } else { "" }
    );
    Ok(Exit::Fine)
}

/// The commands, with what is odd about OSSEC's configuration said.
fn plan(args: &Collect, settings: &Settings) -> anyhow::Result<Plan> {
    let ossec = Ossec::read(args.ossec_conf.as_deref(), settings)?;
    ossec.iter().for_each(Ossec::tell_findings);
    commands::plan(settings, args.commands.as_deref(), ossec.as_ref())
}

fn once(name: &str, args: &Collect, settings: &Settings) -> Outcome {
    let plan = plan(args, settings).map_err(Failure::unusable)?;
    let Some(command) = plan.commands().iter().find(|command| command.key.command() == name) else {
        let known: Vec<&str> = plan.commands().iter().map(|command| command.key.command()).collect();
        return Err(Failure::unusable(anyhow!("there is no command `{name}`; there are: {}", known.join(", "))));
    };
    let identity = commands::identity(settings).map_err(Failure::unusable)?;
    let (stop, asked) = (Stop::on_signals()?, tripline_collector::Stop::new());
    // Told to stop, the command is ended first: it would go on by itself.
    let run = stop.within(None, || asked.ask(), || run_once(command, &identity, &asked))?;
    let mut out = std::io::stdout().lock();
    // What a command prints must not drive the terminal of whoever tries it.
    match out.is_terminal() {
        true => out.write_all(print::escaped(&run.output).as_bytes())?,
        false => out.write_all(&run.output)?,
    }
    drop(out);
    let ending = match &run.ending {
        Ending::Exited(code) => format!("exit code {code}"),
        Ending::Signalled(signal) => format!("killed by signal {signal}"),
        Ending::TimedOut(after) => format!("timed out after {after} ms"),
        Ending::Interrupted => "interrupted".to_owned(),
        Ending::NotStarted(reason) => format!("could not be started: {reason}"),
    };
    say!("{ending}, {} ms, {}", run.duration_ms, print::bytes(run.output.len() as u64));
    if let Some(full) = run.truncated_from {
        say!("the output was cut: {} in full", print::bytes(full));
    }
    if !run.stderr_tail.is_empty() {
        say!("standard error ended with:\n{}", print::escaped(&run.stderr_tail));
    }
    if stop.by_signal() {
        return Ok(Exit::Interrupted);
    }
    if run.failure().is_some() {
        say!("such a run is no observation: rules see a line about its failure instead of its output");
        return Ok(Exit::Findings);
    }
    Ok(Exit::Fine)
}
