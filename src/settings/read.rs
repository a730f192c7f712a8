//! Reads settings: the file, then the variables of the environment.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use serde::Deserialize;
use tripline_collector::CommandSpec;

use super::{Rules, Settings};

/// Where settings are looked for when no file is named; the first that is there counts.
const DEFAULT_FILES: [&str; 2] = ["tripline.toml", "/etc/tripline/tripline.toml"];
/// `TRIPLINE_` variables that are no settings: the mark of a collector's commands, and the tests' own.
const NOT_SETTINGS: [&str; 9] =
    ["RUN", "SHARED", "BLESS", "SEEDS", "KILLS", "CACHE", "SOAK_SECONDS", "RUNS", "FUZZ_SECONDS"];
const PREFIX: &str = "TRIPLINE_";

impl Settings {
    /// Reads the file (`None`: the default places), then the variables.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Settings> {
        let (path, text) = match file {
            Some(path) => (Some(path.to_owned()), read(path)?),
            None => match DEFAULT_FILES.map(Path::new).iter().find(|path| !is_missing(path)) {
                Some(path) => (Some((*path).to_owned()), read(path)?),
                None => (None, String::new()),
            },
        };
        let name = path.as_deref().map_or_else(|| "tripline.toml".to_owned(), |path| path.display().to_string());
        let mut settings = parse(&name, &text)?;
        #[allow(clippy::disallowed_methods)] // The one place.
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        settings = overlay(settings, &text, variables)?;
        if let Some(dir) = path.as_deref().and_then(Path::parent) {
            settings.resolve(dir);
        }
        settings.file = path;
        let wrong = settings.wrong();
        if !wrong.is_empty() {
            bail!("{name}: {}", wrong.join(&format!("\n{name}: ")));
        }
        Ok(settings)
    }

    /// Reads the same file again, or looks for one when there was none.
    pub fn again(&self) -> anyhow::Result<Settings> {
        Settings::load(self.file.as_deref())
    }

    /// Where the settings come from: their file, or those that are looked for.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.file {
            Some(file) => vec![file.clone()],
            None => DEFAULT_FILES.map(PathBuf::from).to_vec(),
        }
    }

    /// Paths in a settings file are relative to the file.
    fn resolve(&mut self, dir: &Path) {
        let Rules { dirs, decoders, lists, .. } = &mut self.rules;
        let rules = dirs.iter_mut().chain(decoders).chain(lists);
        let paths = rules.chain(&mut self.command_files).chain(&mut self.ossec_conf);
        for path in paths.chain([&mut self.data_dir]) {
            *path = dir.join(&*path);
        }
    }
}

/// Whether there is no such file. One that this user may not look at is there: it can't be passed over. But a working
/// directory that is closed to this user holds no settings of his: it is where somebody was who became him (`sudo -u`).
fn is_missing(path: &Path) -> bool {
    let is_closed = || access(".", Access::EXEC_OK) == Err(Errno::ACCESS);
    path.try_exists().is_ok_and(|exists| !exists) || (path.is_relative() && is_closed())
}

/// Reads a file of `[[command]]` tables alone.
pub fn load_commands(path: &Path) -> anyhow::Result<Vec<CommandSpec>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Commands {
        #[serde(default, rename = "command")]
        commands: Vec<CommandSpec>,
    }
    let text = read(path)?;
    let mut commands: Commands =
        toml::from_str(&text).map_err(|error| anyhow!("{}: {}", path.display(), explained(&error.to_string())))?;
    for (index, command) in commands.commands.iter_mut().enumerate() {
        command.origin = Some(format!("{}, command {}", path.display(), index + 1));
    }
    Ok(commands.commands)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()))
}

pub(super) fn parse(name: &str, text: &str) -> anyhow::Result<Settings> {
    toml::from_str(text).map_err(|error| anyhow!("{name}: {}", explained(&error.to_string())))
}

/// Puts `TRIPLINE_DATA_DIR`, `TRIPLINE_KAFKA__BOOTSTRAP` (two underscores between levels) over the file, one after the
/// other, so that a wrong one can be named.
fn overlay(file: Settings, text: &str, mut variables: Vec<(String, String)>) -> anyhow::Result<Settings> {
    variables.retain(|(name, _)| {
        name.strip_prefix(PREFIX).is_some_and(|rest| !NOT_SETTINGS.contains(&rest) && !rest.starts_with("TEST_"))
    });
    if variables.is_empty() {
        return Ok(file);
    }
    variables.sort();
    let mut table: toml::Table = text.parse().context("settings file")?;
    let mut settings = file;
    for (name, value) in variables {
        let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
        settings = [as_toml(&value), toml::Value::String(value.clone())]
            .into_iter()
            .map(|value| {
                let mut with = table.clone();
                put(&mut with, &path, value)?;
                let settings: Settings = with.clone().try_into().map_err(|e| anyhow!("{e}"))?;
                Ok((with, settings))
            })
            .reduce(|first: anyhow::Result<_>, second| first.or(second))
            .expect("two attempts")
            .map(|(with, settings)| {
                table = with;
                settings
            })
            .map_err(|error| anyhow!("variable {name}: {}", explained(&error.to_string())))?;
    }
    Ok(settings)
}

/// `true`, `5` and `["a"]` are taken as TOML, anything else as text.
fn as_toml(value: &str) -> toml::Value {
    format!("v = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()))
}

fn put(table: &mut toml::Table, path: &[String], value: toml::Value) -> anyhow::Result<()> {
    let [first, rest @ ..] = path else { bail!("it names no setting") };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return Ok(());
    }
    match table.entry(first.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new())) {
        toml::Value::Table(inner) => put(inner, rest, value),
        _ => bail!("`{first}` is no table"),
    }
}

/// Adds "did you mean" to serde's message about an unknown field.
fn explained(message: &str) -> String {
    let message = message.trim_end();
    let suggestion = message.split_once("unknown field `").and_then(|(_, rest)| {
        let (unknown, rest) = rest.split_once('`')?;
        let known = rest.split('`').skip(1).step_by(2);
        let (distance, best) =
            known.map(|known| (strsim::damerau_levenshtein(unknown, known), known)).min_by_key(|(d, _)| *d)?;
        (distance <= 3.max(unknown.len() / 3)).then(|| format!("\nhelp: did you mean `{best}`?"))
    });
    format!("{message}{}", suggestion.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_a_suggestion() {
        let error = parse("tripline.toml", "[alerts]\nmail_levle = 9\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("did you mean `mail_level`?"), "{error}");
    }

    #[test]
    fn an_ill_typed_value_is_refused_with_its_place() {
        let error = parse("tripline.toml", "[outputs]\nbytes_max = \"much\"\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let error = parse("tripline.toml", "[outputs]\nkeep = \"14 fortnights\"\n").unwrap_err().to_string();
        assert!(error.contains("is not a duration"), "{error}");
    }

    #[test]
    fn variables_override_the_file_and_keep_the_rest() {
        let text = "data_dir = \"a\"\n[alerts]\nlog_level = 3\n";
        let variables = vars(&[
            ("TRIPLINE_DATA_DIR", "b"),
            ("TRIPLINE_ALERTS__MAIL_LEVEL", "9"),
            ("TRIPLINE_KAFKA__BOOTSTRAP", "[\"k:9092\"]"),
            ("TRIPLINE_AGENT__NAME", "42"),
            ("TRIPLINE_SHARED", "no setting"),
            ("TRIPLINE_TEST_KAFKA", "no setting"),
            ("PATH", "/bin"),
        ]);
        let settings = overlay(parse("t", text).unwrap(), text, variables).unwrap();
        assert_eq!(settings.data_dir, Path::new("b"));
        assert_eq!((settings.alerts.log_level, settings.alerts.mail_level), (Some(3), Some(9)));
        assert_eq!(settings.kafka.bootstrap, ["k:9092"]);
        assert_eq!(settings.agent.name.as_deref(), Some("42"), "a number is a fine name");
    }

    #[test]
    fn a_variable_that_is_no_setting_is_refused_by_name() {
        let error = overlay(Settings::default(), "", vars(&[("TRIPLINE_DATA_DIRR", "b")])).unwrap_err().to_string();
        assert!(error.contains("TRIPLINE_DATA_DIRR") && error.contains("did you mean `data_dir`?"), "{error}");
    }
}
