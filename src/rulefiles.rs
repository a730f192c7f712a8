//! Which rule files are loaded, and in what order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use tripline_collector::ossec_conf::RuleDirs;
use tripline_engine::load::{self, Checked, Orphans};
use tripline_engine::{RuleSet, Severity, SourceFile, finding};

use crate::cli::{OrphansFlag, RulesFrom};
use crate::commands;
use crate::exit::Failure;
use crate::settings::{self, Settings};

/// The rules that Tripline ships, compiled into the program.
const SHIPPED: &[(&str, &[u8])] = &[("shipped:process_rules.xml", include_bytes!("../rules/process_rules.xml"))];

/// Rule files in load order, from flags first, then from settings, else the shipped ones.
pub fn gather(flags: &RulesFrom, settings: &Settings) -> anyhow::Result<Vec<SourceFile>> {
    let ossec_conf = flags.ossec_conf.as_deref().or(settings.ossec_conf.as_deref());
    let dirs = if flags.rules.is_empty() { &settings.rules.dirs } else { &flags.rules };
    let from_ossec = match ossec_conf {
        Some(conf) => included(conf, dirs, settings)?,
        None => Vec::new(),
    };
    let mut files = Vec::new();
    let nothing_named = dirs.is_empty() && from_ossec.is_empty();
    if settings.rules.shipped.unwrap_or(nothing_named) {
        files.extend(SHIPPED.iter().map(|(name, text)| SourceFile { name: (*name).to_owned(), text: text.to_vec() }));
    }
    if from_ossec.is_empty() {
        for path in dirs {
            files.extend(directory(path)?);
        }
    } else {
        for path in &from_ossec {
            files.push(file(path)?);
        }
    }
    Ok(files)
}

/// The compiled rules, or every finding printed to standard error.
pub fn load(flags: &RulesFrom, settings: &Settings) -> Result<Arc<RuleSet>, Failure> {
    let files = gather(flags, settings).map_err(Failure::unusable)?;
    let Checked { rules, findings, .. } = load::check(&files, &settings.engine(), orphans(flags, settings));
    match rules {
        Some(rules) => {
            let warnings: Vec<_> = findings.into_iter().filter(|finding| finding.severity != Severity::Info).collect();
            if !warnings.is_empty() {
                eprint!("{}", finding::render(&warnings, &files));
            }
            Ok(Arc::new(rules))
        }
        None => {
            eprint!("{}", finding::render(&findings, &files));
            Err(Failure::unusable(anyhow!("the rules have errors; nothing was started")))
        }
    }
}

/// What to do with rules whose parent is missing.
pub fn orphans(flags: &RulesFrom, settings: &Settings) -> Orphans {
    match (flags.orphans, settings.rules.orphans) {
        (Some(OrphansFlag::Warn), _) | (None, settings::Orphans::Warn) => Orphans::SetAside,
        _ => Orphans::Error,
    }
}

/// A directory's `*.xml` in name order, `local_rules.xml` last; or a single file.
pub fn directory(path: &Path) -> anyhow::Result<Vec<SourceFile>> {
    if !path.is_dir() {
        return Ok(vec![file(path)?]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("could not read directory `{}`", path.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(|| format!("could not read directory `{}`", path.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml") && path.is_file());
    in_load_order(&mut paths);
    if paths.is_empty() {
        bail!("`{}` holds no rule files (*.xml)", path.display());
    }
    paths.iter().map(|path| file(path)).collect()
}

/// Name order, `local_rules.xml` last: what is one's own may hang below everything else.
pub fn in_load_order(paths: &mut [PathBuf]) {
    paths.sort_by_key(|path| (path.file_name().is_some_and(|name| name == "local_rules.xml"), path.clone()));
}

fn file(path: &Path) -> anyhow::Result<SourceFile> {
    let text = std::fs::read(path).with_context(|| format!("could not read rule file `{}`", path.display()))?;
    Ok(SourceFile { name: path.display().to_string(), text })
}

/// The rule files that an OSSEC configuration includes, in its order. Names are looked up in the rule directory given,
/// else where OSSEC keeps it beside the configuration.
fn included(conf: &Path, dirs: &[PathBuf], settings: &Settings) -> anyhow::Result<Vec<PathBuf>> {
    let parsed = commands::ossec_conf(conf, settings)?;
    let mut places = RuleDirs::of(conf);
    let beside = conf.with_file_name("rules");
    if let Some(dir) = dirs.first() {
        places.rules.clone_from(dir);
    } else if !places.rules.is_dir() && beside.is_dir() {
        places.rules = beside;
    }
    parsed.rule_files(&places).with_context(|| format!("rule files of `{}`", conf.display()))
}
