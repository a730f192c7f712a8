//! Which rule files, decoder files and lists an OSSEC configuration names, in the order in which they load.

use std::fmt;
use std::path::{Path, PathBuf};

use super::xml::Element;
use super::{OssecConf, Reading, Severity};

/// A place where rules or decoders come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleEntry {
    /// The line it is written in.
    pub line: usize,
    /// A file or a directory, as written.
    pub path: String,
    /// `Some` for a directory: the OS_Regex that the names of its files fit which count.
    pub directory_pattern: Option<String>,
}

/// The files that count in a directory, where nothing else is said.
const DIRECTORY_PATTERN: &str = ".xml$";

/// Whether a file name fits an OS_Regex, or what is wrong with the expression. The engine knows.
pub type Fits<'a> = dyn Fn(&str, &str) -> Result<bool, String> + 'a;

/// A text list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// The line it is written in.
    pub line: usize,
    /// As written, which is the name that rules give it.
    pub name: String,
}

/// Where the names of an OSSEC configuration are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleDirs {
    /// Where names of rules without `/` are looked for first: rules that someone keeps apart from OSSEC.
    pub rules_first: Option<PathBuf>,
    /// The directory of rule files: names of rules without `/` are taken from here.
    pub rules: PathBuf,
    /// OSSEC's own directory, such as `/var/ossec`: relative names with a `/` start here, and those without that are not
    /// found elsewhere.
    pub home: PathBuf,
    /// The directory of the configuration: names of decoders without `/` are taken from here, and whatever is not found
    /// in `home`.
    pub etc: PathBuf,
}

impl RuleDirs {
    /// The directories that belong to a configuration file at its usual place, `HOME/etc/ossec.conf`.
    pub fn of(conf: &Path) -> RuleDirs {
        let home = match conf.parent().and_then(Path::parent) {
            Some(home) if home != Path::new("") => home.to_owned(),
            Some(home) => home.join("."),
            None => PathBuf::from(".."),
        };
        RuleDirs { rules_first: None, rules: home.join("rules"), home, etc: conf.with_file_name("") }
    }

    /// Where a name lies that is relative to OSSEC's directory.
    fn below_home(&self, name: &str) -> PathBuf {
        let (home, etc) = (self.home.join(name), self.etc.join(name));
        if !home.exists() && etc.exists() { etc } else { home }
    }

    /// Where a name of rules lies.
    fn find_rules(&self, name: &str) -> PathBuf {
        let mut first = self.rules_first.iter().map(|first| first.join(name));
        let first = first.find(|path| !name.contains('/') && path.exists());
        first.unwrap_or_else(|| self.find(&self.rules, name))
    }

    /// Where a name of a file or directory lies that counts from `own` when it has no `/`.
    fn find(&self, own: &Path, name: &str) -> PathBuf {
        let (near, far) = (own.join(name), self.below_home(name));
        if name.contains('/') || (!near.exists() && far.exists()) { far } else { near }
    }
}

/// What entries of a configuration name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// What is there, in the order in which it loads.
    pub found: Vec<T>,
    /// Entries that name nothing that could be loaded, in the file's order.
    pub missing: Vec<Missing>,
}

/// An entry of a configuration that names nothing that could be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The line it is written in.
    pub line: usize,
    /// What is missing, and why.
    pub what: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl Reading<'_> {
    pub(super) fn rules(&mut self, section: &Element) {
        for element in &section.children {
            let (line, path) = (element.line, element.text.trim().to_owned());
            let name = element.name.as_str();
            let pattern = || Some(element.attribute("pattern").unwrap_or(DIRECTORY_PATTERN).to_owned());
            match name {
                "include" | "rule" | "rule_include" | "rule_dir" | "rule_exclude" | "decoder" | "decoder_include"
                | "decoder_dir" | "decoder_exclude" | "list"
                    if path.is_empty() =>
                {
                    self.find(line, Severity::Error, format!("`<{name}>` names no file"));
                }
                "include" | "rule" | "rule_include" => {
                    self.conf.rules.push(RuleEntry { line, path, directory_pattern: None });
                }
                "rule_dir" => self.conf.rules.push(RuleEntry { line, path, directory_pattern: pattern() }),
                "decoder" | "decoder_include" => {
                    self.conf.decoders.push(RuleEntry { line, path, directory_pattern: None });
                }
                "decoder_dir" => self.conf.decoders.push(RuleEntry { line, path, directory_pattern: pattern() }),
                "rule_exclude" => self.conf.rules_excluded.push(path),
                "decoder_exclude" => self.conf.decoders_excluded.push(path),
                "list" => self.conf.lists.push(ListEntry { line, name: path }),
                _ => {
                    let what = format!(
                        "`<{name}>` is not read; rules come from `<include>`, `<rule_dir>`, `<decoder>`, \
                         `<decoder_dir>` and `<list>`"
                    );
                    self.find(line, Severity::Warning, what);
                }
            }
        }
    }
}

impl OssecConf {
    /// The rule files in the order in which they are named; a directory adds its files in name order, and a file that comes
    /// up twice is there twice, for whoever loads it once and says so. Files that `<rule_exclude>` names are left out. Empty when the
    /// configuration names no rules.
    pub fn rule_files(&self, dirs: &RuleDirs, fits: &Fits<'_>) -> Named<PathBuf> {
        files("rule", &self.rules, &self.rules_excluded, |name| dirs.find_rules(name), fits)
    }

    /// The decoder files, likewise.
    pub fn decoder_files(&self, dirs: &RuleDirs, fits: &Fits<'_>) -> Named<PathBuf> {
        files("decoder", &self.decoders, &self.decoders_excluded, |name| dirs.find(&dirs.etc, name), fits)
    }

    /// The text lists, each with the name that rules give it. A name of the compiled form, `NAME.cdb`, means the text
    /// beside it.
    pub fn list_files(&self, dirs: &RuleDirs) -> Named<(String, PathBuf)> {
        let mut lists = Named { found: Vec::new(), missing: Vec::new() };
        for ListEntry { line, name } in &self.lists {
            let path = dirs.below_home(name.strip_suffix(".cdb").unwrap_or(name));
            match not_a_file("list", &path) {
                None => lists.found.push((name.clone(), path)),
                Some(what) => lists.missing.push(Missing { line: *line, what }),
            }
        }
        lists
    }
}

/// The files that entries name, those left out that are excluded, by their name or by the end of their path.
fn files(
    kind: &str,
    entries: &[RuleEntry],
    excluded: &[String],
    find: impl Fn(&str) -> PathBuf,
    fits: &Fits<'_>,
) -> Named<PathBuf> {
    let mut files = Named { found: Vec::new(), missing: Vec::new() };
    for entry in entries {
        let path = find(&entry.path);
        let found = match &entry.directory_pattern {
            None => match not_a_file(&format!("{kind} file"), &path) {
                None => Ok(vec![path]),
                Some(what) if path.is_dir() => Err(format!("{what}; `<{kind}_dir>` names one")),
                Some(what) => Err(what),
            },
            Some(pattern) => directory_files(&path, pattern, fits)
                .map_err(|error| format!("{kind} directory `{}`: {error}", path.display())),
        };
        match found {
            Ok(found) => {
                files.found.extend(found.into_iter().filter(|file| !excluded.iter().any(|end| file.ends_with(end))));
            }
            Err(what) => files.missing.push(Missing { line: entry.line, what }),
        }
    }
    files
}

/// Why a path is no file that could be read; `None` when it is one.
fn not_a_file(kind: &str, path: &Path) -> Option<String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Some(format!("{kind} `{shown}` is a directory")),
        Ok(metadata) if metadata.is_file() => None,
        Ok(_) => Some(format!("{kind} `{shown}` is no file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(format!("{kind} `{shown}` does not exist")),
        Err(error) => Some(format!("{kind} `{shown}` can't be looked at: {error}")),
    }
}

/// Whether an entry of a directory of rules is meant as a file: a link that leads nowhere is one that is missing, unless it
/// is hidden, as the marks of editors are.
pub fn stands_for_a_file(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !path.is_dir() && (path.exists() || !is_hidden)
}

/// At least one: a pattern that takes none is a mistake that would go unnoticed.
fn directory_files(directory: &Path, pattern: &str, fits: &Fits<'_>) -> Result<Vec<PathBuf>, String> {
    let could_not = |error: std::io::Error| format!("could not read it: {error}");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(could_not)? {
        let entry = entry.map_err(could_not)?;
        let wanted = fits(pattern, &entry.file_name().to_string_lossy());
        if wanted.map_err(|error| format!("pattern `{pattern}`: {error}"))? && stands_for_a_file(&entry.path()) {
            files.push(entry.path());
        }
    }
    if files.is_empty() {
        return Err(format!("no file in it fits the pattern `{pattern}`"));
    }
    files.sort();
    Ok(files)
}
