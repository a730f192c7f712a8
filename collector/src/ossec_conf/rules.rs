//! Which rule files an OSSEC configuration names, in the order in which they load.

use std::fmt;
use std::path::{Path, PathBuf};

use super::xml::Element;
use super::{OssecConf, Reading, Severity};

/// A place where rules come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleEntry {
    /// The line it is written in.
    pub line: usize,
    /// A file or a directory, as written.
    pub path: String,
    /// `Some` for a directory: the end of the file names that count, `.xml` by default.
    pub directory_suffix: Option<String>,
}

/// Where the names of an OSSEC configuration are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleDirs {
    /// The directory of rule files: names without `/` are taken from here.
    pub rules: PathBuf,
    /// OSSEC's own directory, such as `/var/ossec`: relative names with a `/` start here.
    pub home: PathBuf,
}

impl RuleDirs {
    /// The directories that belong to a configuration file at its usual place, `HOME/etc/ossec.conf`.
    pub fn of(conf: &Path) -> RuleDirs {
        let home = match conf.parent().and_then(Path::parent) {
            Some(home) if home != Path::new("") => home.to_owned(),
            _ => PathBuf::from(".."),
        };
        RuleDirs { rules: home.join("rules"), home }
    }
}

/// Rule files that are named and can't be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RuleFilesError(pub Vec<String>);

impl fmt::Display for RuleFilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Reading<'_> {
    pub(super) fn rules(&mut self, section: &Element) {
        let mut excluded = Vec::new();
        for element in &section.children {
            let path = element.text.trim().to_owned();
            match element.name.as_str() {
                "include" | "rule" | "rule_include" | "rule_dir" if path.is_empty() => {
                    self.find(element.line, Severity::Error, format!("`<{}>` names no file", element.name));
                }
                "include" | "rule" | "rule_include" => {
                    self.conf.rules.push(RuleEntry { line: element.line, path, directory_suffix: None });
                }
                "rule_dir" => {
                    let suffix = element.attribute("pattern").unwrap_or(".xml").to_owned();
                    self.conf.rules.push(RuleEntry { line: element.line, path, directory_suffix: Some(suffix) });
                }
                "rule_exclude" => excluded.push((element.line, path)),
                _ => {} // Decoders and lists.
            }
        }
        for (line, path) in excluded {
            let what = format!("`<rule_exclude>` is not supported: remove `{path}` from the files that are loaded");
            self.find(line, Severity::Error, what);
        }
    }
}

impl OssecConf {
    /// The rule files in the order in which they load; a directory adds its files in name order, and a file that comes
    /// up twice counts where it is first named. Empty when the configuration names no rules.
    pub fn rule_files(&self, dirs: &RuleDirs) -> Result<Vec<PathBuf>, RuleFilesError> {
        let mut files: Vec<PathBuf> = Vec::new();
        let mut missing = Vec::new();
        for entry in &self.rules {
            let path =
                if entry.path.contains('/') { dirs.home.join(&entry.path) } else { dirs.rules.join(&entry.path) };
            let found = match &entry.directory_suffix {
                None if path.is_file() => Ok(vec![path]),
                None => Err(format!("line {}: rule file `{}` does not exist", entry.line, path.display())),
                Some(suffix) => directory_files(&path, suffix).map_err(|error| {
                    format!("line {}: could not read rule directory `{}`: {error}", entry.line, path.display())
                }),
            };
            match found {
                Ok(found) => {
                    for file in found {
                        if !files.contains(&file) {
                            files.push(file);
                        }
                    }
                }
                Err(what) => missing.push(what),
            }
        }
        if missing.is_empty() { Ok(files) } else { Err(RuleFilesError(missing)) }
    }
}

fn directory_files(directory: &Path, suffix: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(suffix) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
