//! `tripline check`: everything that is wrong with rules and settings, in one run.

use std::io::Write;

use anyhow::anyhow;
use tripline_engine::finding::{self, codes};
use tripline_engine::{Severity, load};

use crate::cli::{Check, FindingFormat};
use crate::commands;
use crate::exit::{Exit, Failure, Outcome};
use crate::rulefiles;
use crate::settings::Settings;

pub fn run(args: &Check, settings: Settings) -> Outcome {
    if let Some(code) = &args.explain {
        return explain(code);
    }
    let mut flags = args.rules.clone();
    flags.rules.extend(args.paths.iter().cloned());
    let files = rulefiles::gather(&flags, &settings).map_err(Failure::unusable)?;
    let checked = load::check(&files, &settings.engine(), rulefiles::orphans(&flags, &settings));
    let mut out = std::io::stdout().lock();
    match args.format {
        FindingFormat::Json => {
            writeln!(out, "{:#}", finding::to_json(&checked.findings, &files, checked.rule_count))?;
        }
        FindingFormat::Human => {
            write!(out, "{}", finding::render(&checked.findings, &files))?;
            writeln!(out, "{}", finding::summary(&checked.findings, checked.rule_count, files.len()))?;
        }
    }
    drop(out);
    // Commands are part of what would be started.
    commands::checked(&settings, None, flags.ossec_conf.as_deref()).map_err(Failure::unusable)?;
    let worst = checked.findings.iter().map(|finding| finding.severity).min();
    match worst {
        Some(Severity::Error) => Ok(Exit::Unusable),
        Some(Severity::Warning) => Ok(Exit::Findings),
        _ => Ok(Exit::Fine),
    }
}

fn explain(code: &str) -> Outcome {
    let Some(code) = codes::find(code) else {
        let known: Vec<&str> = codes::ALL.iter().map(|code| code.code).collect();
        return Err(Failure::unusable(anyhow!("`{code}` is no code of a finding; there are {}", known.join(", "))));
    };
    let (severity, title, why, remedy) = (code.severity.as_str(), code.title, code.why, code.remedy);
    writeln!(std::io::stdout(), "{} ({severity}): {title}\n\n{why}\n\n{remedy}", code.code)?;
    Ok(Exit::Fine)
}
