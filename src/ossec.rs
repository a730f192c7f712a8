//! An OSSEC installation, known by its configuration: commands, and which rules, decoders and lists it loads.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tripline_collector::ossec_conf::{self, AgentFacts, OssecConf, RuleDirs, Severity};
use tripline_engine::pattern::OsRegex;

use crate::print::say;
use crate::settings::Settings;

/// A configuration that was read, and where the files lie that it names.
#[derive(Debug)]
pub struct Ossec {
    /// What it says. It has no errors; its warnings are in its findings.
    pub conf: OssecConf,
    path: PathBuf,
    dirs: RuleDirs,
}

/// Decoder files that OSSEC loads when its configuration names none, as far as they are there.
const DEFAULT_DECODERS: [&str; 2] = ["decoder.xml", "local_decoder.xml"];

impl Ossec {
    /// Reads the configuration that the flag names, else the settings. `None` when neither does.
    pub fn read(flag: Option<&Path>, settings: &Settings) -> anyhow::Result<Option<Ossec>> {
        let Some(path) = flag.or(settings.ossec_conf.as_deref()) else { return Ok(None) };
        let text = std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
        let facts = AgentFacts::of_this_machine(&settings.agent_name()?, Vec::new());
        let conf = ossec_conf::parse(&text, &path.display().to_string(), &facts);
        if conf.has_errors() {
            let errors: Vec<String> =
                conf.findings.iter().filter(|f| f.severity == Severity::Error).map(ToString::to_string).collect();
            bail!("`{}` can't be used\n{}", path.display(), errors.join("\n"));
        }
        let mut dirs = RuleDirs::of(path);
        let beside = dirs.etc.join("rules");
        if !dirs.rules.is_dir() && beside.is_dir() {
            dirs.rules = beside;
        }
        Ok(Some(Ossec { conf, path: path.to_owned(), dirs }))
    }

    /// Says what is odd about it.
    pub fn tell_findings(&self) {
        for finding in &self.conf.findings {
            say!("{finding}");
        }
    }

    /// The rule files that it names, in its order. Names without `/` are looked up in `rules_dir` when one is given,
    /// else where OSSEC keeps them.
    pub fn rule_files(&self, rules_dir: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
        let mut dirs = self.dirs.clone();
        if let Some(dir) = rules_dir {
            dir.clone_into(&mut dirs.rules);
        }
        self.conf.rule_files(&dirs, &fits).with_context(|| format!("rule files of `{}`", self.path.display()))
    }

    /// The decoder files that it names, in its order, else those that OSSEC loads by itself.
    pub fn decoder_files(&self) -> anyhow::Result<Vec<PathBuf>> {
        if self.conf.decoders.is_empty() {
            let there = |path: &PathBuf| path.is_file();
            return Ok(DEFAULT_DECODERS.map(|name| self.dirs.etc.join(name)).into_iter().filter(there).collect());
        }
        self.conf
            .decoder_files(&self.dirs, &fits)
            .with_context(|| format!("decoder files of `{}`", self.path.display()))
    }

    /// The lists that it names, under the names that rules give them.
    pub fn list_files(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        self.conf.list_files(&self.dirs).with_context(|| format!("lists of `{}`", self.path.display()))
    }

    /// Where a list lies that rules name and it does not.
    pub fn home(&self) -> &Path {
        &self.dirs.home
    }
}

/// Whether the name of a file fits the `pattern` of `rule_dir` or `decoder_dir`.
fn fits(pattern: &str, name: &str) -> Result<bool, String> {
    OsRegex::new(pattern).map(|pattern| pattern.is_match(name.as_bytes())).map_err(|error| error.message)
}
