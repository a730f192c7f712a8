//! What a person writes: commands and the collector's settings. Nothing is checked here beyond its form; see
//! [`Plan::check`](crate::Plan::check).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tripline_schemas::Format;

use crate::Interval;

/// Time between runs when a command gives none: 360 seconds, as in OSSEC.
pub const EVERY_DEFAULT: Interval = Interval::from_secs(360);
/// Time limit of a run when a command gives none. Commands that run every minute or more often get nine tenths of
/// their interval.
pub const TIMEOUT_DEFAULT: Interval = Interval::from_secs(60);
/// How much of an output is kept when a command gives no limit, in bytes: 1 MiB.
pub const OUTPUT_BYTES_MAX_DEFAULT: usize = 1024 * 1024;

/// One command as a settings file gives it: a `[[command]]` table of `tripline.toml`, or a `<localfile>` of an
/// `ossec.conf`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// The command's alias: what events, rules and state call it. The command line itself when absent.
    #[serde(default, alias = "alias")]
    pub name: Option<String>,
    /// A text for `/bin/sh -c`, or a list: the program and its arguments, started without a shell.
    pub command: CommandLine,
    /// `command`: one log line per output line. `full_command`: the whole output is one log line.
    #[serde(default)]
    pub format: Format,
    /// Time between the starts of two runs. [`EVERY_DEFAULT`] when absent.
    #[serde(default)]
    pub every: Option<Interval>,
    /// After this time the command and its children are ended, and the run counts as timed out. Shorter than `every`.
    /// See [`TIMEOUT_DEFAULT`].
    #[serde(default)]
    pub timeout: Option<Interval>,
    /// How many bytes of an output are kept; the rest is counted and the output marked as truncated.
    #[serde(default)]
    pub output_bytes_max: Option<usize>,
    /// Variables added to the collector's own environment. `LC_ALL=C` is there unless this overrides it.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Where the command runs; the collector's own working directory when absent.
    #[serde(default)]
    pub working_directory: Option<PathBuf>,
    /// The user it runs as, with all groups of that user; the collector's own when absent. Only root may name another.
    #[serde(default)]
    pub user: Option<String>,
    /// The group it runs as, in place of the user's own group. Only with `user`.
    #[serde(default)]
    pub group: Option<String>,
    /// The first run waits a part of the interval, at most this fraction of it (0 to 1). The settings' `splay` when
    /// absent.
    #[serde(default)]
    pub splay: Option<f64>,
    /// Where it is written, such as `ossec.conf:12`; messages name it.
    #[serde(skip)]
    pub origin: Option<String>,
}

impl CommandSpec {
    /// A command with defaults for everything else.
    pub fn new(command: CommandLine) -> CommandSpec {
        CommandSpec {
            name: None,
            command,
            format: Format::default(),
            every: None,
            timeout: None,
            output_bytes_max: None,
            environment: BTreeMap::new(),
            working_directory: None,
            user: None,
            group: None,
            splay: None,
            origin: None,
        }
    }

    /// What events, rules and state call it: the alias, or the command line.
    pub fn key_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.command.text())
    }
}

/// What to execute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a text for the shell, or a list of program and arguments")]
pub enum CommandLine {
    /// A text for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, started without a shell.
    Program(Vec<String>),
}

impl CommandLine {
    /// One text: the shell's, or program and arguments joined by spaces.
    pub fn text(&self) -> String {
        match self {
            CommandLine::Shell(text) => text.clone(),
            CommandLine::Program(words) => words.join(" "),
        }
    }
}

/// Settings of a collector: the `[collector]` table of `tripline.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many commands run at the same time. A command that has been running for 5 seconds no longer counts, so that
    /// hanging commands delay no other.
    pub concurrency: usize,
    /// The first run of a command waits a part of its interval, at most this fraction of it (0 to 1) and never more
    /// than five minutes, so that not all commands of all hosts start together. The part follows from the agent's and
    /// the command's name. 0 runs everything at once.
    pub splay: f64,
    /// The largest size of the spool on disk, in bytes. When it is full, the oldest runs that are not yet published
    /// are dropped and a gap event tells how many.
    pub spool_bytes_max: u64,
    /// How often the collector tells that it lives, and what its plan is.
    pub heartbeat_every: Interval,
    /// How long running commands may go on when the collector is asked to stop; then they are ended and their runs
    /// count as interrupted.
    pub stop_grace: Interval,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            concurrency: 8,
            splay: 0.1,
            spool_bytes_max: 256 * 1024 * 1024,
            heartbeat_every: Interval::from_secs(300),
            stop_grace: Interval::from_secs(2),
        }
    }
}

/// Whom the collector speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The monitored host's name.
    pub agent: String,
    /// Its address, when configured.
    pub address: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        command: Vec<CommandSpec>,
    }

    fn read(text: &str) -> Result<Vec<CommandSpec>, toml::de::Error> {
        toml::from_str::<File>(text).map(|file| file.command)
    }

    #[test]
    fn a_command_table_is_read_with_all_its_settings() {
        let specs = read(
            r#"
            [[command]]
            command = "df -P"

            [[command]]
            name = "ports"
            command = ["ss", "-tln"]
            format = "full_command"
            every = "1m"
            timeout = "10s"
            output_bytes_max = 4096
            environment = { LC_ALL = "de_DE.UTF-8" }
            working_directory = "/tmp"
            user = "nobody"
            group = "adm"
            splay = 0.5
            "#,
        )
        .unwrap();
        assert_eq!(specs[0], CommandSpec::new(CommandLine::Shell("df -P".into())));
        assert_eq!(specs[1].key_name(), "ports");
        assert_eq!(specs[1].command.text(), "ss -tln");
        assert_eq!(specs[1].format, Format::FullCommand);
        assert_eq!(specs[1].every, Some(Interval::from_secs(60)));
        assert_eq!(specs[1].environment["LC_ALL"], "de_DE.UTF-8");
        assert_eq!((specs[1].user.as_deref(), specs[1].group.as_deref()), (Some("nobody"), Some("adm")));
    }

    #[test]
    fn unknown_and_ill_typed_settings_are_refused() {
        for text in [
            "[[command]]\ncommand = 'w'\nfrequency = 5",
            "[[command]]\nname = 'w'",
            "[[command]]\ncommand = 7",
            "[[command]]\ncommand = 'w'\nevery = 'soon'",
            "[[command]]\ncommand = 'w'\nformat = 'json'",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(toml::from_str::<Settings>("spool = 1").is_err());
        assert_eq!(toml::from_str::<Settings>("").unwrap(), Settings::default());
    }
}
