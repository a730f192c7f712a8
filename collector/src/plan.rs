//! Checked commands, ready to be run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tripline_schemas::{Format, Key};

use crate::config::{CommandLine, CommandSpec, EVERY_DEFAULT, OUTPUT_BYTES_MAX_DEFAULT, Settings, TIMEOUT_DEFAULT};
use crate::user::RunAs;

/// The shortest time between two runs of a command.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
/// The largest output that can be kept, in bytes: 256 MiB.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// No first run waits longer than this.
const SPLAY_MAX: Duration = Duration::from_secs(300);

/// Commands whose names are unique and whose settings hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    commands: Vec<PlannedCommand>,
}

/// A checked command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCommand {
    /// The agent and the command's name.
    pub key: Key,
    /// Set when the name is an alias.
    pub alias: Option<String>,
    /// What to execute; not empty, without NUL bytes.
    pub command: CommandLine,
    /// How the output becomes log lines.
    pub format: Format,
    /// Time between the starts of two runs; at least [`EVERY_MIN`].
    pub every: Duration,
    /// The time limit of a run; shorter than `every`, not zero.
    pub timeout: Duration,
    /// How many bytes of an output are kept.
    pub output_bytes_max: usize,
    /// Variables added to the collector's own environment.
    pub environment: BTreeMap<String, String>,
    /// Where it runs, when not in the collector's own working directory.
    pub working_directory: Option<PathBuf>,
    /// Whom it runs as, when not as the collector's own user.
    pub run_as: Option<RunAs>,
    /// How long the first run waits after the collector's start.
    pub first_after: Duration,
}

/// Everything that is wrong with the commands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PlanErrors(pub Vec<PlanError>);

/// What is wrong with one command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct PlanError {
    /// Which command: where it is written, or its number among all, and its name.
    pub place: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// Checks commands for one agent, or says everything that is wrong with them.
    pub fn check(specs: &[CommandSpec], agent: &str, settings: &Settings) -> Result<Plan, PlanErrors> {
        let mut errors = Vec::new();
        let mut commands = Vec::with_capacity(specs.len());
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        check_settings(settings, agent, &mut errors);
        for (index, spec) in specs.iter().enumerate() {
            let place = place(index, spec);
            let mut wrong = |what: String| errors.push(PlanError { place: place.clone(), what });
            if let Some(earlier) = places.insert(spec.key_name(), place.clone()) {
                wrong(format!("the name is taken by {earlier}; give one of them another `name` (in OSSEC: `alias`)"));
            }
            commands.extend(check_command(spec, agent, settings, &mut wrong));
        }
        if errors.is_empty() { Ok(Plan { commands }) } else { Err(PlanErrors(errors)) }
    }

    /// The commands in their order.
    pub fn commands(&self) -> &[PlannedCommand] {
        &self.commands
    }

    /// The command of this name.
    pub fn command(&self, name: &str) -> Option<&PlannedCommand> {
        self.commands.iter().find(|command| command.key.command() == name)
    }

    /// Finds out whether this process can start the commands as the users they name. Not a part of [`Plan::check`], since
    /// settings are also checked on machines that don't have those users, and by people who are not root.
    pub fn check_users(&self) -> Result<(), PlanErrors> {
        let errors: Vec<PlanError> = self
            .commands
            .iter()
            .filter_map(|command| {
                let error = command.run_as.as_ref()?.look_up().err()?;
                Some(PlanError { place: format!("command `{}`", command.key.command()), what: error.to_string() })
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(PlanErrors(errors)) }
    }

    /// Command name to seconds between runs, as heartbeats tell it.
    pub fn intervals(&self) -> BTreeMap<String, u64> {
        self.commands.iter().map(|c| (c.key.command().to_owned(), c.every.as_secs())).collect()
    }
}

/// `ossec.conf:12 (command `df -h`)`, or `command 3 (`df -h`)`.
fn place(index: usize, spec: &CommandSpec) -> String {
    let name: String = spec.key_name().chars().take(60).collect();
    match &spec.origin {
        Some(origin) => format!("{origin} (command `{name}`)"),
        None => format!("command {} (`{name}`)", index + 1),
    }
}

fn check_settings(settings: &Settings, agent: &str, errors: &mut Vec<PlanError>) {
    let mut wrong = |place: &str, what: String| errors.push(PlanError { place: place.to_owned(), what });
    if let Err(error) = tripline_schemas::key::check_agent(agent) {
        wrong("agent", format!("{error}; set the agent's name"));
    }
    if settings.concurrency == 0 {
        wrong("collector", "`concurrency` is 0, so no command would ever run; set it to 1 or more".to_owned());
    }
    if !(0.0..=1.0).contains(&settings.splay) {
        wrong("collector", format!("`splay` is {}; it is a fraction between 0 and 1", settings.splay));
    }
    if settings.spool_bytes_max < crate::spool::SPOOL_BYTES_MIN {
        let min = crate::spool::SPOOL_BYTES_MIN;
        wrong("collector", format!("`spool_bytes_max` is {}; at least {min} are needed", settings.spool_bytes_max));
    }
    if settings.heartbeat_every.0 < Duration::from_secs(1) {
        wrong("collector", "`heartbeat_every` is shorter than a second".to_owned());
    }
}

fn check_command(
    spec: &CommandSpec,
    agent: &str,
    settings: &Settings,
    wrong: &mut impl FnMut(String),
) -> Option<PlannedCommand> {
    let text = spec.command.text();
    if text.trim().is_empty() {
        wrong("`command` is empty".to_owned());
    } else if matches!(&spec.command, CommandLine::Program(words) if words[0].is_empty()) {
        wrong("the first word of `command`, the program, is empty".to_owned());
    }
    let environment_has_nul = spec.environment.iter().any(|(name, value)| name.contains('\0') || value.contains('\0'));
    if text.contains('\0') || environment_has_nul {
        wrong("`command` or `environment` holds a NUL byte".to_owned());
    }
    if let Some(name) = spec.environment.keys().find(|name| name.is_empty() || name.contains('=')) {
        wrong(format!("`environment` names a variable `{name}`; a name is not empty and holds no `=`"));
    }
    let every = spec.every.unwrap_or(EVERY_DEFAULT).0;
    if every < EVERY_MIN {
        wrong(format!("`every` is {}s; the shortest interval is 1s", every.as_secs_f64()));
    }
    let timeout = spec.timeout.map_or_else(|| TIMEOUT_DEFAULT.0.min(every - every / 10), |timeout| timeout.0);
    if timeout.is_zero() {
        wrong("`timeout` is 0; leave it out for the default".to_owned());
    } else if timeout >= every {
        let (timeout, every) = (timeout.as_secs_f64(), every.as_secs_f64());
        wrong(format!("`timeout` ({timeout}s) is not shorter than the interval (`every`, {every}s)"));
    }
    let output_bytes_max = spec.output_bytes_max.unwrap_or(OUTPUT_BYTES_MAX_DEFAULT);
    if !(1..=OUTPUT_BYTES_MAX).contains(&output_bytes_max) {
        wrong(format!("`output_bytes_max` is {output_bytes_max}; between 1 and {OUTPUT_BYTES_MAX} bytes can be kept"));
    }
    let run_as = match (&spec.user, &spec.group) {
        (Some(user), _) if user.is_empty() || user.contains('\0') => {
            wrong("`user` is not a user's name; leave it out for the collector's own user".to_owned());
            None
        }
        (Some(user), group) => Some(RunAs { user: user.clone(), group: group.clone() }),
        (None, Some(group)) => {
            wrong(format!("`group` is `{group}` and there is no `user`; a group needs a user to go with it"));
            None
        }
        (None, None) => None,
    };
    let splay = spec.splay.unwrap_or(settings.splay);
    if spec.splay.is_some() && !(0.0..=1.0).contains(&splay) {
        wrong(format!("`splay` is {splay}; it is a fraction between 0 and 1"));
    }
    // An agent's bad name is reported once, with the settings, not once per command.
    let key = match Key::new(agent, spec.key_name()) {
        Ok(key) => key,
        Err(error) => {
            if tripline_schemas::key::check_agent(agent).is_ok() && !spec.key_name().trim().is_empty() {
                wrong(format!("it can't be named so: {error}; give it a short `name`"));
            } else if spec.name.as_deref() == Some("") {
                wrong("`name` is empty; leave it out to name the command by its command line".to_owned());
            }
            return None;
        }
    };
    let first_after = splay_of(&key, every, splay);
    Some(PlannedCommand {
        key,
        alias: spec.name.clone(),
        command: spec.command.clone(),
        format: spec.format,
        every,
        timeout,
        output_bytes_max,
        environment: spec.environment.clone(),
        working_directory: spec.working_directory.clone(),
        run_as,
        first_after,
    })
}

/// A part of the interval that follows from the names alone: hosts and commands spread, and a restart changes nothing.
fn splay_of(key: &Key, every: Duration, splay: f64) -> Duration {
    let digest = blake3::hash(&key.to_bytes());
    let (head, _) = digest.as_bytes().split_at(8);
    let hash = u64::from_le_bytes(head.try_into().expect("eight bytes"));
    let fraction = hash as f64 / u64::MAX as f64;
    every.mul_f64(splay.clamp(0.0, 1.0)).min(SPLAY_MAX).mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interval;

    fn shell(text: &str) -> CommandSpec {
        CommandSpec::new(CommandLine::Shell(text.to_owned()))
    }

    fn errors(specs: &[CommandSpec]) -> Vec<String> {
        Plan::check(specs, "web-1", &Settings::default()).unwrap_err().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_are_those_of_ossec_and_a_time_limit_below_the_interval() {
        let quick = CommandSpec { every: Some(Interval::from_secs(10)), ..shell("w") };
        let plan = Plan::check(&[shell("df -P"), quick], "web-1", &Settings::default()).unwrap();
        assert_eq!(plan.commands()[0].every, Duration::from_secs(360));
        assert_eq!(plan.commands()[0].timeout, Duration::from_secs(60));
        assert_eq!(plan.commands()[0].output_bytes_max, 1024 * 1024);
        assert_eq!(plan.command("w").unwrap().timeout, Duration::from_secs(9));
        assert_eq!(plan.intervals()["df -P"], 360);
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_place() {
        let specs = [
            shell("df -P"),
            CommandSpec { origin: Some("ossec.conf:7".into()), ..shell("df -P") },
            shell("  "),
            CommandSpec { timeout: Some(Interval::from_secs(360)), ..shell("a") },
            CommandSpec { every: Some(Interval(Duration::ZERO)), ..shell("b") },
            CommandSpec { splay: Some(1.5), ..shell("c") },
            CommandSpec { output_bytes_max: Some(0), ..shell("d") },
            CommandSpec { name: Some("n\0ul".into()), ..shell("e") },
            CommandSpec { name: Some(String::new()), ..shell("f") },
            CommandSpec::new(CommandLine::Program(vec![])),
            CommandSpec { environment: [("A=B".to_owned(), String::new())].into(), ..shell("g") },
            CommandSpec { user: Some(String::new()), ..shell("h") },
            CommandSpec { group: Some("adm".into()), ..shell("i") },
        ];
        let errors = errors(&specs);
        for (part, at) in [
            ("ossec.conf:7 (command `df -P`): the name is taken by command 1 (`df -P`)", 0),
            ("command 3 (`  `): `command` is empty", 1),
            ("command 4 (`a`): `timeout` (360s) is not shorter", 2),
            ("command 5 (`b`): `every` is 0s", 3),
        ] {
            assert!(errors[at].starts_with(part), "{at}: {errors:#?}");
        }
        for number in 3..=13 {
            let place = format!("command {number} ");
            assert!(errors.iter().any(|error| error.starts_with(&place)), "{place}: {errors:#?}");
        }
    }

    #[test]
    fn the_splay_follows_from_the_names_and_stays_within_its_bound() {
        let plan = |agent: &str| Plan::check(&[shell("df -P"), shell("w")], agent, &Settings::default()).unwrap();
        assert_eq!(plan("web-1"), plan("web-1"));
        let after = |agent: &str| plan(agent).commands()[0].first_after;
        assert_ne!(after("web-1"), after("web-2"));
        assert!(after("web-1") <= Duration::from_secs(36));
        let none = Settings { splay: 0.0, ..Settings::default() };
        assert_eq!(Plan::check(&[shell("w")], "web-1", &none).unwrap().commands()[0].first_after, Duration::ZERO);
    }
}
