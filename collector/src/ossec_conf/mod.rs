//! Commands and rule order from OSSEC's own configuration: `ossec.conf` and `agent.conf`.
//!
//! Read are the `<localfile>` elements whose `log_format` is `command` or `full_command`, and the rule files, decoder
//! files and lists of `<rules>` (in newer files `<ruleset>`), in their order, and the levels of `<alerts>`. Everything else
//! belongs to other parts of OSSEC and is left alone; other kinds of `<localfile>` are listed in [`OssecConf::ignored`], so that nobody waits for them.

mod rules;
mod xml;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use tripline_schemas::Format;

use crate::config::{CommandLine, CommandSpec};
use crate::duration::Interval;

pub use rules::{ListEntry, Missing, Named, RuleDirs, RuleEntry, stands_for_a_file};
use xml::Element;

/// A configuration with more bytes than this is refused. Whoever reads the file need not read more than one byte beyond.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;

/// What an agent is, for the filters of `<agent_config name="" os="" profile="">`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFacts {
    /// The agent's name.
    pub name: String,
    /// What `uname -a` says: the `os` filter looks for its text in there.
    pub os: String,
    /// The profiles that the agent belongs to.
    pub profiles: Vec<String>,
}

impl AgentFacts {
    /// An agent of this name on this machine.
    pub fn of_this_machine(name: &str, profiles: Vec<String>) -> AgentFacts {
        let uname = rustix::system::uname();
        let words = [uname.sysname(), uname.nodename(), uname.release(), uname.version(), uname.machine()];
        let os = words.map(|word| word.to_string_lossy().into_owned()).join(" ");
        AgentFacts { name: name.to_owned(), os, profiles }
    }
}

/// What an OSSEC configuration says about commands and rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OssecConf {
    /// The commands of this agent, in the file's order.
    pub commands: Vec<CommandSpec>,
    /// Where rules come from, in the file's order; see [`OssecConf::rule_files`].
    pub rules: Vec<RuleEntry>,
    /// Rule files that are not to be loaded, though a directory holds them.
    pub rules_excluded: Vec<String>,
    /// Where decoders come from, in the file's order; see [`OssecConf::decoder_files`].
    pub decoders: Vec<RuleEntry>,
    /// Decoder files that are not to be loaded.
    pub decoders_excluded: Vec<String>,
    /// Text lists that rules look up, in the file's order; see [`OssecConf::list_files`].
    pub lists: Vec<ListEntry>,
    /// Which rules alert.
    pub alert_levels: AlertLevels,
    /// `<localfile>` elements that are no commands.
    pub ignored: Vec<Ignored>,
    /// What is wrong or not supported. With an [`Severity::Error`] among them the configuration should not be used.
    pub findings: Vec<Finding>,
}

/// What `<alerts>` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlertLevels {
    /// `<log_alert_level>`: rules of at least this level are written as alerts.
    pub log: Option<AlertLevel>,
    /// `<email_alert_level>`: rules of at least this level are marked for mail.
    pub mail: Option<AlertLevel>,
}

/// The least level of a rule, and where it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertLevel {
    /// From 0 to 16.
    pub level: u16,
    /// The line, from 1 on.
    pub line: usize,
}

/// OSSEC's levels go from 0 up to this one.
const LEVEL_MAX: u16 = 16;

/// A `<localfile>` that is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its line.
    pub line: usize,
    /// Its `log_format`.
    pub log_format: String,
    /// Its `location`.
    pub location: String,
}

/// Something wrong or not supported in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as it was named to [`parse`].
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// How bad.
    pub severity: Severity,
    /// What, and what to do.
    pub what: String,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Tripline does something else than the author may expect.
    Warning,
    /// The configuration can't be used.
    Error,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}:{}: {word}: {}", self.file, self.line, self.what)
    }
}

impl OssecConf {
    /// Whether the configuration can't be used.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Reads an `ossec.conf` or `agent.conf`, also with several root elements. `file` is its name for messages.
pub fn parse(source: &[u8], file: &str, agent: &AgentFacts) -> OssecConf {
    let mut reading = Reading { conf: OssecConf::default(), file };
    if source.len() > BYTES_MAX {
        let what = format!("the file has more than {BYTES_MAX} bytes; is it OSSEC's configuration?");
        reading.find(1, Severity::Error, what);
        return reading.conf;
    }
    let text = String::from_utf8_lossy(source);
    let roots = match xml::read(&text) {
        Ok(roots) => roots,
        Err(error) => {
            reading.find(error.line, Severity::Error, error.what);
            return reading.conf;
        }
    };
    if roots.is_empty() {
        reading.find(1, Severity::Warning, "the file holds no `<ossec_config>`: nothing is read from it".to_owned());
    }
    for root in &roots {
        match root.name.as_str() {
            "ossec_config" => reading.config(root),
            "agent_config" if applies(root, agent) => reading.config(root),
            "agent_config" => {}
            name => {
                let what = format!("`<{name}>` is not read here; expected `<ossec_config>` or `<agent_config>`");
                reading.find(root.line, Severity::Warning, what);
            }
        }
    }
    reading.drop_repeated();
    reading.conf
}

struct Reading<'a> {
    conf: OssecConf,
    file: &'a str,
}

impl Reading<'_> {
    fn find(&mut self, line: usize, severity: Severity, what: String) {
        self.conf.findings.push(Finding { file: self.file.to_owned(), line, severity, what });
    }

    fn config(&mut self, root: &Element) {
        for section in &root.children {
            match section.name.as_str() {
                "localfile" => self.localfile(section),
                "rules" | "ruleset" => self.rules(section),
                "alerts" => self.alert_levels(section),
                _ => {} // Other parts of OSSEC: syscheck, remote, client, ...
            }
        }
    }

    /// The last of several counts.
    fn alert_levels(&mut self, section: &Element) {
        for element in &section.children {
            let level = match element.name.as_str() {
                "log_alert_level" | "email_alert_level" => element.text.trim().parse().ok(),
                _ => continue,
            };
            let Some(level) = level.filter(|level| *level <= LEVEL_MAX) else {
                let what =
                    format!("`{}` is `{}`; expected a level from 0 to {LEVEL_MAX}", element.name, element.text.trim());
                self.find(element.line, Severity::Error, what);
                continue;
            };
            let AlertLevels { log, mail } = &mut self.conf.alert_levels;
            *(if element.name == "log_alert_level" { log } else { mail }) =
                Some(AlertLevel { level, line: element.line });
        }
    }

    fn localfile(&mut self, section: &Element) {
        let log_format = section.child("log_format").map(|e| e.text.trim().to_ascii_lowercase()).unwrap_or_default();
        match log_format.parse::<Format>() {
            Ok(format) => self.command(section, format),
            Err(()) => {
                let location = section.child("location").map(|e| e.text.trim().to_owned()).unwrap_or_default();
                if !is_file_format(&log_format) {
                    let what = format!("`log_format` is `{log_format}`; commands have `command` or `full_command`");
                    self.find(section.child_line("log_format"), Severity::Warning, what);
                }
                self.conf.ignored.push(Ignored { line: section.line, log_format, location });
            }
        }
    }

    fn command(&mut self, section: &Element, format: Format) {
        let mut spec = CommandSpec { format, ..CommandSpec::new(CommandLine::Shell(String::new())) };
        let mut command_line = None;
        for element in &section.children {
            let text = element.text.trim();
            match element.name.as_str() {
                "log_format" => {}
                "command" => command_line = Some(element),
                "alias" => spec.name = Some(as_written(&element.text)).filter(|name| !name.is_empty()),
                "frequency" => match text.parse::<Interval>() {
                    Ok(every) if every >= Interval::from_secs(1) => spec.every = Some(every),
                    _ => {
                        let what =
                            format!("`frequency` is `{text}`; expected seconds (1 or more), `hourly` or `daily`");
                        self.find(element.line, Severity::Error, what);
                    }
                },
                "location" | "only-future-events" | "query" | "age" => {
                    let what = format!("`<{}>` is for log files; a command has none", element.name);
                    self.find(element.line, Severity::Warning, what);
                }
                name => {
                    let what = format!("`<{name}>` is not supported for commands; it is left out");
                    self.find(element.line, Severity::Warning, what);
                }
            }
        }
        let Some(element) = command_line.filter(|element| !element.text.trim().is_empty()) else {
            let what = "a `<localfile>` with this `log_format` needs a `<command>`".to_owned();
            return self.find(section.child_line("log_format"), Severity::Error, what);
        };
        let text = as_written(&element.text);
        if text.contains(char::REPLACEMENT_CHARACTER) {
            let what = "the command is not UTF-8; save the file as UTF-8".to_owned();
            return self.find(element.line, Severity::Error, what);
        }
        if let Some(entity) = ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;"].iter().find(|e| text.contains(**e)) {
            let what = format!("`{entity}` stays as it is, as in OSSEC; write the character itself (`<` as `\\<`)");
            self.find(element.line, Severity::Warning, what);
        }
        spec.command = CommandLine::Shell(text);
        spec.origin = Some(format!("{}:{}", self.file, section.line));
        self.conf.commands.push(spec);
    }

    /// OSSEC runs a command that is given twice twice. Here the second one has nothing to add when all is equal.
    fn drop_repeated(&mut self) {
        let mut kept: Vec<CommandSpec> = Vec::with_capacity(self.conf.commands.len());
        let mut origins: HashMap<_, String> = HashMap::new();
        for spec in std::mem::take(&mut self.conf.commands) {
            let origin = spec.origin.clone().unwrap_or_default();
            match origins.entry((spec.name.clone(), spec.command.text(), spec.format, spec.every)) {
                Entry::Occupied(first) => {
                    let line = origin.rsplit_once(':').and_then(|(_, line)| line.parse().ok()).unwrap_or(1);
                    let what = format!("the same command stands at {} already; it is run once", first.get());
                    self.find(line, Severity::Warning, what);
                }
                Entry::Vacant(new) => {
                    new.insert(origin);
                    kept.push(spec);
                }
            }
        }
        self.conf.commands = kept;
    }
}

/// White space counts, as in OSSEC; but a text that spreads over lines is one that was indented for the eye.
fn as_written(text: &str) -> String {
    if text.contains('\n') { text.trim().to_owned() } else { text.to_owned() }
}

/// Formats of log files, which OSSEC's other readers know.
fn is_file_format(format: &str) -> bool {
    const FORMATS: [&str; 24] = [
        "apache",
        "audit",
        "djb-multilog",
        "eventchannel",
        "eventlog",
        "eventsystem",
        "iis",
        "journald",
        "json",
        "linux_auditd",
        "macos",
        "mssql_log",
        "multi-line-regex",
        "mysql_log",
        "nmapg",
        "ossecalert",
        "ossec",
        "oslog",
        "postgresql_log",
        "snort-fast",
        "snort-full",
        "squid",
        "syslog",
        "sophos",
    ];
    FORMATS.contains(&format) || format.starts_with("multi-line") || format.starts_with("multi-line_indented")
}

/// Whether an `<agent_config>` is for this agent: every filter it has must fit.
fn applies(root: &Element, agent: &AgentFacts) -> bool {
    root.attributes.iter().all(|(name, pattern)| match name.as_str() {
        "name" => fits(pattern, &agent.name),
        "os" => fits(pattern, &agent.os),
        "profile" => agent.profiles.iter().any(|profile| fits(pattern, profile)),
        _ => true,
    })
}

/// OSSEC's simple pattern: alternatives between `|`, each found anywhere, `^` and `$` anchor, case is ignored.
fn fits(pattern: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    pattern.to_lowercase().split('|').any(|alternative| {
        let (rest, at_start) = alternative.strip_prefix('^').map_or((alternative, false), |rest| (rest, true));
        let (literal, at_end) = rest.strip_suffix('$').map_or((rest, false), |rest| (rest, true));
        match (at_start && !literal.is_empty(), at_end && !literal.is_empty()) {
            (true, true) => text == literal,
            (true, false) => text.starts_with(literal),
            (false, true) => text.ends_with(literal),
            (false, false) => text.contains(literal),
        }
    })
}

#[cfg(test)]
mod tests;
