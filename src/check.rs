//! `tripline check`: everything that is wrong with rules and settings, in one run.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use tripline_collector::Plan;
use tripline_engine::finding::{self, codes};
use tripline_engine::lint::LintInputs;
use tripline_engine::load::{self, Checked};
use tripline_engine::{Finding, Severity, SourceFile};

use crate::cli::{Check, FindingFormat};
use crate::commands;
use crate::exit::{Exit, Failure, Outcome};
use crate::ossec::Ossec;
use crate::print::{self, say};
use crate::rulefiles::Sources;
use crate::settings::Settings;
use crate::sharing;

/// Settings that can't be used are one more finding; what they name is not looked at then.
pub fn run(args: &Check, settings: Result<Settings, Failure>) -> Outcome {
    if let Some(code) = &args.explain {
        return explain(code);
    }
    let (settings, of_settings) = match settings {
        Ok(settings) => (settings, None),
        Err(Failure { error, .. }) => {
            (Settings::default(), Some(Finding::new(&codes::SETTINGS_ERROR, one_line(&print::chain(&error)))))
        }
    };
    let allowed = allowed(&args.allow, &settings.lint.allow).map_err(Failure::unusable)?;
    let mut flags = args.rules.clone();
    flags.rules.extend(args.paths.iter().cloned());
    let partitions = settings.partitions(args.kafka || settings.kafka.enabled);
    let sources = Sources { flags: &flags, settings: &settings, partitions };
    let (ossec, unread) = match Ossec::open(flags.ossec_conf.as_deref(), &settings) {
        Ok(ossec) => (ossec, None),
        Err(error) => (None, Some(Finding::new(&codes::FILE_NOT_READ, format!("{error:#}")))),
    };
    let gathered = sources.look(ossec.as_ref());
    // Commands are part of what would be started, and the rules' findings are worth seeing when they are wrong.
    let plan = commands::checked(&settings, args.commands.as_deref(), ossec.as_ref());
    let names: Vec<String> = plan.iter().flat_map(|plan| plan.commands()).map(|c| c.key.command().to_owned()).collect();
    let of_commands =
        plan.as_ref().err().map(|error| Finding::new(&codes::COMMANDS_ERROR, one_line(&print::chain(error))));
    let today = settings.zone().map_err(Failure::unusable)?.to_datetime(tripline_faults::now()).date();
    let lints = LintInputs { commands: &names, today: Some(today) };
    let of_conf = ossec.as_ref().map(|ossec| ossec.findings(gathered.conf_index())).unwrap_or_default();
    let before = of_settings
        .iter()
        .cloned()
        .chain(unread)
        .chain(of_commands)
        .chain(gathered.findings())
        .chain(of_conf)
        .collect();
    let engine = sources.engine(ossec.as_ref());
    let checked = load::check_and_lint(&gathered.inputs, &engine, sources.orphans(), &lints);
    let mut checked = checked.with(before);
    if of_settings.is_some() {
        // It may be there.
        checked.findings.retain(|finding| finding.code != codes::NO_TIME_ZONE.code);
    }
    // Some codes are an error at times, and an error is never allowed.
    checked.findings.retain(|finding| finding.severity == Severity::Error || !allowed.contains(&finding.code));
    let files = gathered.files();
    // What `run` would refuse is what counts, not what is printed.
    let exit = match checked.findings.iter().map(|finding| finding.severity).min() {
        _ if checked.rules.is_none() => Exit::Unusable,
        Some(Severity::Error) => Exit::Unusable,
        Some(Severity::Warning) => Exit::Findings,
        _ => Exit::Fine,
    };
    match write(&checked, &files, args) {
        Err(error) if exit == Exit::Fine => return Err(error.into()),
        // Whether somebody reads on changes nothing about the rules; nor does a summary that can't be written.
        Err(error) if !crate::is_broken_pipe(&error) => say!("tripline: {}", print::chain(&error)),
        _ => {}
    }
    if let (Ok(plan), None) = (&plan, &of_settings) {
        tell_of_this_machine(plan, &settings);
    }
    Ok(exit)
}

/// Lines of a message as one. An excerpt of the file can't be a part of it; its place can.
fn one_line(text: &str) -> String {
    let is_excerpt = |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    text.lines().map(str::trim).filter(|line| !is_excerpt(line)).collect::<Vec<_>>().join("; ")
}

/// Says what would be refused here and now. It is no finding: what is checked may be meant for another machine or user.
fn tell_of_this_machine(plan: &Plan, settings: &Settings) {
    let users = plan.check_users().map_err(|error| error.to_string());
    let group = sharing::guests(settings).map_err(|failure| format!("{:#}", failure.error));
    for error in [users.err(), group.err()].into_iter().flatten() {
        say!("tripline: started on this machine by this user, `tripline run` would refuse this: {error}");
    }
}

fn write(checked: &Checked, files: &[SourceFile], args: &Check) -> anyhow::Result<()> {
    let Checked { findings, rule_count, .. } = checked;
    let mut out = std::io::stdout().lock();
    match args.format {
        FindingFormat::Json => writeln!(out, "{:#}", finding::to_json(findings, files, *rule_count))?,
        FindingFormat::Human => {
            write!(out, "{}", finding::render(findings, files))?;
            if let Some(line) = finding::explained_by(findings) {
                writeln!(out, "{line}")?;
            }
            writeln!(out, "{}", finding::summary(findings, *rule_count, files.len()))?;
        }
        FindingFormat::Github => {
            let github = finding::to_github(findings, files, *rule_count);
            write!(out, "{}", github.annotations)?;
            if let Some(path) = &args.step_summary {
                append(path, &github.summary)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// Codes of `--allow` and of the settings. Errors can't be allowed.
fn allowed(flags: &[String], settings: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let mut allowed = Vec::new();
    for (place, name) in
        flags.iter().map(|code| ("--allow", code)).chain(settings.iter().map(|code| ("setting `lint.allow`", code)))
    {
        match codes::find(name) {
            Some(code) if code.severity == Severity::Error => {
                bail!("{place}: {} is an error; only warnings and information can be allowed", code.code);
            }
            Some(code) => allowed.push(code.code),
            None => bail!("{place}: {}", unknown(name)),
        }
    }
    Ok(allowed)
}

/// The summaries of a step's commands lie in one file, one behind the other.
fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    let could_not = || format!("could not write the summary of the step to `{}`", path.display());
    let mut file = OpenOptions::new().append(true).create(true).open(path).with_context(could_not)?;
    file.write_all(text.as_bytes()).with_context(could_not)
}

fn explain(code: &str) -> Outcome {
    let Some(code) = codes::find(code) else { return Err(Failure::unusable(anyhow!(unknown(code)))) };
    let (severity, title, why, remedy) = (code.severity.as_str(), code.title, code.why, code.remedy);
    writeln!(std::io::stdout(), "{} ({severity}): {title}\n\n{why}\n\n{remedy}", code.code)?;
    Ok(Exit::Fine)
}

fn unknown(code: &str) -> String {
    let known: Vec<&str> = codes::ALL.iter().map(|code| code.code).collect();
    format!("`{code}` is no code of a finding; there are {}", known.join(", "))
}
