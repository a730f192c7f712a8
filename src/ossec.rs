//! An OSSEC installation, known by its configuration: commands, and which rules, decoders and lists it loads.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tripline_collector::ossec_conf::{self, AgentFacts, AlertLevel, Named, OssecConf, RuleDirs, Severity};
use tripline_engine::finding::{self, codes};
use tripline_engine::pattern::OsRegex;
use tripline_engine::{Finding, SourceFile};

use crate::print::say;
use crate::rulefiles;
use crate::settings::Settings;

/// A configuration that was read, and where the files lie that it names.
#[derive(Debug)]
pub struct Ossec {
    /// What it says. Its warnings are in its findings, and, of one that [`Ossec::open`] gave, its errors.
    pub conf: OssecConf,
    source: SourceFile,
    dirs: RuleDirs,
}

/// Decoder files that OSSEC loads when its configuration names none, as far as they are there.
const DEFAULT_DECODERS: [&str; 2] = ["decoder.xml", "local_decoder.xml"];

impl Ossec {
    /// Reads the configuration that the flag names, else the settings. `None` when neither does. One with errors is
    /// refused.
    pub fn read(flag: Option<&Path>, settings: &Settings) -> anyhow::Result<Option<Ossec>> {
        let ossec = Ossec::open(flag, settings)?;
        if let Some(Ossec { conf, source, .. }) = ossec.as_ref().filter(|ossec| ossec.conf.has_errors()) {
            let errors: Vec<String> =
                conf.findings.iter().filter(|f| f.severity == Severity::Error).map(ToString::to_string).collect();
            bail!("`{}` can't be used\n{}", source.name, errors.join("\n"));
        }
        Ok(ossec)
    }

    /// The same, whatever is wrong with what it says: of a configuration with errors only so much is there as could be
    /// understood.
    pub fn open(flag: Option<&Path>, settings: &Settings) -> anyhow::Result<Option<Ossec>> {
        let Some(path) = flag.or(settings.ossec_conf.as_deref()) else { return Ok(None) };
        let source = rulefiles::file(path, ossec_conf::BYTES_MAX)
            .with_context(|| format!("could not read `{}`", path.display()))?;
        let facts = AgentFacts::of_this_machine(&settings.agent_name()?, Vec::new());
        let mut conf = ossec_conf::parse(&source.text, &source.name, &facts);
        overruled(&mut conf, &source.name, settings);
        let mut dirs = RuleDirs::of(path);
        let beside = dirs.etc.join("rules");
        if !dirs.rules.is_dir() && beside.is_dir() {
            dirs.rules = beside;
        }
        Ok(Some(Ossec { conf, source, dirs }))
    }

    /// Says what is odd about it.
    pub fn tell_findings(&self) {
        for finding in &self.conf.findings {
            say!("{finding}");
        }
    }

    /// The configuration itself.
    pub fn source(&self) -> &SourceFile {
        &self.source
    }

    /// What is wrong with it, as findings in the file of this index.
    pub fn findings(&self, index: u32) -> Vec<Finding> {
        let told = |found: &ossec_conf::Finding| {
            let code = match found.severity {
                Severity::Error => &codes::OSSEC_CONF_ERROR,
                Severity::Warning => &codes::OSSEC_CONF_PART,
            };
            Finding::new(code, found.what.clone()).at(self.source.line_span(index, found.line), "")
        };
        let mut worst: Vec<&ossec_conf::Finding> = self.conf.findings.iter().collect();
        // Stable: in the order of the file among equals.
        worst.sort_by_key(|found| std::cmp::Reverse(found.severity));
        let mut findings: Vec<Finding> =
            worst.iter().take(finding::FINDINGS_PER_FILE_MAX).map(|found| told(found)).collect();
        if let Some(more) = worst.get(finding::FINDINGS_PER_FILE_MAX) {
            findings.push(finding::too_many(self.source.line_span(index, more.line), more.severity == Severity::Error));
        }
        findings
    }

    /// The rule files that it names, in its order. Names without `/` are looked up in `rules_dir` when they are there,
    /// else where OSSEC keeps them.
    pub fn rule_files(&self, rules_dir: Option<&Path>) -> Named<PathBuf> {
        let dirs = RuleDirs { rules_first: rules_dir.map(Path::to_owned), ..self.dirs.clone() };
        self.conf.rule_files(&dirs, &fits)
    }

    /// The decoder files that it names, in its order, else those that OSSEC loads by itself.
    pub fn decoder_files(&self) -> Named<PathBuf> {
        if self.conf.decoders.is_empty() {
            let there = |path: &PathBuf| path.is_file();
            let found = DEFAULT_DECODERS.map(|name| self.dirs.etc.join(name)).into_iter().filter(there).collect();
            return Named { found, missing: Vec::new() };
        }
        self.conf.decoder_files(&self.dirs, &fits)
    }

    /// The lists that it names, under the names that rules give them.
    pub fn list_files(&self) -> Named<(String, PathBuf)> {
        self.conf.list_files(&self.dirs)
    }
}

/// Says which levels of alerts have no effect, since settings have others.
fn overruled(conf: &mut OssecConf, file: &str, settings: &Settings) {
    let (levels, alerts) = (conf.alert_levels, &settings.alerts);
    for (element, said, setting, set) in [
        ("log_alert_level", levels.log, "log_level", alerts.log_level),
        ("email_alert_level", levels.mail, "mail_level", alerts.mail_level),
    ] {
        if let (Some(AlertLevel { level, line }), Some(set)) = (said, set)
            && level != set
        {
            let what = format!(
                "`{element}` is {level}, but the settings say `{setting} = {set}` under [alerts], which counts: remove one"
            );
            let finding = ossec_conf::Finding { file: file.to_owned(), line, severity: Severity::Warning, what };
            conf.findings.push(finding);
        }
    }
}

/// Whether the name of a file fits the `pattern` of `rule_dir` or `decoder_dir`.
fn fits(pattern: &str, name: &str) -> Result<bool, String> {
    OsRegex::new(pattern).map(|pattern| pattern.is_match(name.as_bytes())).map_err(|error| error.message)
}
