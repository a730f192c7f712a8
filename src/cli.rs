//! The command line: verbs and their flags.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::tz::TimeZone;

use crate::print;
use crate::units::{self, Span, When};

/// Watches machines by the output of commands, with OSSEC's rules, on Kafka or on an embedded log.
#[derive(Debug, Parser)]
#[command(name = "tripline", version = VERSION, about, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// Settings file [default: ./tripline.toml when it is there, else /etc/tripline/tripline.toml when it is there]
    #[arg(long, short = 'C', global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say more on standard error; repeat for still more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub verb: Verb,
}

/// A program that obeys tests says so wherever its version is asked for: nobody is to install it.
const VERSION: &str = if tripline_faults::ENABLED {
    concat!(env!("CARGO_PKG_VERSION"), " (compiled for tests with fault-points; not for use)")
} else {
    env!("CARGO_PKG_VERSION")
};

/// What the exit codes mean, for people.
pub const EXIT_CODES: &str = "\
Exit codes: 0 fine; 1 findings (lint, failed test, differing replay); 2 usage, or rules or settings could not be \
loaded; 3 history not complete; 4 nothing was selected; 5 failed while running; 130 interrupted.";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a commented tripline.toml, a directory for rules and a commands file to start from
    Init(Init),
    /// Everything on this machine: collector and processor, on the embedded log (or on Kafka with --kafka)
    ///
    /// Runs the commands of the settings on their schedules, keeps every output in the data directory, judges it by
    /// the rules and goes on until it gets a signal (SIGINT, SIGTERM), which ends the commands that run and loses
    /// nothing.
    ///
    /// Changed rule and command files are taken over while it runs, SIGHUP takes them at once; what has errors is
    /// reported and left aside. Other settings are read at the start only. Other verbs reach it over a socket in
    /// the data directory.
    Run(Run),
    /// A collector: runs commands and publishes their outputs
    ///
    /// On Kafka; on one machine `tripline run` is collector and processor in one. What can't be published waits in
    /// the spool of the data directory. With --once it tries one command, here and now, and publishes nothing.
    Collect(Collect),
    /// A processor: judges outputs and writes alerts
    ///
    /// On Kafka, beside others, or on the embedded log of a data directory that no `tripline run` has open, such as
    /// after `outputs import`.
    Process(Process),
    /// Create, check or describe the topics
    Topics(Topics),
    /// Read or follow alerts
    ///
    /// From the beginning of what is kept, or of the time that --since names, to the end, or for ever with
    /// --follow. It works beside a running Tripline and without one, and keeps following when that ends and comes
    /// back.
    ///
    /// With --exec each alert is handed to a program, in order. With --group its position is saved after the
    /// program succeeded, so that every alert is handed over at least once: a program that fails gets the same
    /// alert again, after a second and then after ever longer pauses, up to a minute. Several groups know nothing
    /// of each other.
    Alerts(Alerts),
    /// Read or follow raw outputs, or import history
    ///
    /// One heading for each run, with its time, agent, command, how it ended and its id, then what it printed;
    /// orders to forget a baseline and lost runs stand in their places. With --changes only what differs from the
    /// run before, as a diff of lines.
    Outputs(Outputs),
    /// Copy a slice of the history to a file
    ///
    /// As JSON lines, which `tripline replay --from file:PATH` judges and `tripline outputs import` appends to
    /// another log.
    Capture(Capture),
    /// Check rules and settings, and say everything that is wrong with them
    Check(Check),
    /// Run rule tests, or conformance vectors
    Test(Test),
    /// Paste a line, see which rules it passes
    ///
    /// Lines come from standard input, as rules see them: `ossec: output: 'df -P': /dev/sda1 ...`. With --command
    /// they are what that command printed. With --agent and --command the last real output is judged, after the one
    /// before it, so that comparisons have something to compare with.
    Logtest(Logtest),
    /// Send history through a rule set
    Replay(Replay),
    /// Show what is remembered: baselines, timers, counters, cursors
    ///
    /// For each agent and command and each rule that remembers something: the baseline that `check_diff` compares
    /// with, from which run it is and how old, how often the rule was the result, when it fired last, until when
    /// its `ignore` holds, and how often it held back since.
    State(State),
    /// Write manual pages, one for each verb
    #[command(hide = true)]
    Man(Man),
    /// Print completions for a shell
    #[command(hide = true)]
    Completions(Completions),
}

#[derive(Args, Debug)]
pub struct Man {
    /// The directory to write into; made when it is not there
    pub dir: PathBuf,
}

#[derive(Args, Debug)]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Where rules come from.
#[derive(Args, Clone, Debug, Default)]
pub struct RulesFrom {
    /// Directory (or single file) of rules; repeat for more. Without any, the shipped rules are loaded
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,
    /// File or directory of decoders, for lines that are no command's output; repeat for more
    #[arg(long, value_name = "PATH")]
    pub decoders: Vec<PathBuf>,
    /// Text list that rules look up, or directory of lists; repeat for more. Lists beside the rules are found without it
    #[arg(long, value_name = "PATH")]
    pub lists: Vec<PathBuf>,
    /// Take rule files, decoders and lists from an OSSEC configuration, and commands where the verb runs or checks them
    #[arg(long, value_name = "FILE")]
    pub ossec_conf: Option<PathBuf>,
    /// What to do with rules whose parent is missing
    #[arg(long, value_enum, value_name = "HOW")]
    pub orphans: Option<OrphansFlag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OrphansFlag {
    /// Refuse the rule set
    Error,
    /// Set such rules aside and list them
    Warn,
}

/// Where data lies.
#[derive(Args, Clone, Debug, Default)]
pub struct Where {
    /// Directory of the embedded log and its state [default: `data_dir` of the settings]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Use Kafka: the brokers, or those of the settings when no value is given
    #[arg(long, value_name = "HOST:PORT,...", num_args = 0..=1, default_missing_value = "")]
    pub kafka: Option<String>,
}

#[derive(Args, Debug)]
pub struct Init {
    /// The directory to write into; made when it is not there
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    pub rules: RulesFrom,
    #[command(flatten)]
    pub at: Where,
    /// File of `[[command]]` tables, in place of the files that the settings name (`command_files`)
    #[arg(long, value_name = "FILE")]
    pub commands: Option<PathBuf>,
    /// Stop after this time, such as 90s or 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    pub duration: Option<Duration>,
}

#[derive(Args, Debug)]
pub struct Collect {
    #[command(flatten)]
    pub at: Where,
    /// Run this command once, print what it printed, publish nothing
    #[arg(long, value_name = "NAME")]
    pub once: Option<String>,
    /// Take commands from an OSSEC configuration
    #[arg(long, value_name = "FILE")]
    pub ossec_conf: Option<PathBuf>,
    /// File of `[[command]]` tables, in place of the files that the settings name (`command_files`)
    #[arg(long, value_name = "FILE")]
    pub commands: Option<PathBuf>,
    /// Stop after this time, such as 90s or 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    pub duration: Option<Duration>,
}

#[derive(Args, Debug)]
pub struct Process {
    #[command(flatten)]
    pub rules: RulesFrom,
    #[command(flatten)]
    pub at: Where,
    /// Stop when everything is judged that was there at the start
    #[arg(long)]
    pub until_caught_up: bool,
    /// Stop after this time, such as 90s or 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    pub duration: Option<Duration>,
}

#[derive(Args, Debug)]
pub struct Topics {
    #[command(subcommand)]
    pub action: TopicsAction,
}

#[derive(Debug, Subcommand)]
pub enum TopicsAction {
    /// Create the topics that are missing
    Create(TopicsArgs),
    /// Compare the topics with what they should be; exit 1 when they differ
    Check(TopicsArgs),
    /// List the topics with their partitions and what they hold
    Describe(TopicsArgs),
}

#[derive(Args, Debug)]
pub struct TopicsArgs {
    #[command(flatten)]
    pub at: Where,
    /// On how many brokers Kafka puts each partition [default: 3]
    #[arg(long, value_name = "N")]
    pub replication: Option<u32>,
    /// How many partitions new topics get; fixed for life
    #[arg(long, value_name = "N")]
    pub partitions: Option<u32>,
}

/// From when to when.
#[derive(Args, Clone, Debug, Default)]
pub struct Period {
    /// From this time on: RFC 3339, a date in the settings' time_zone, or an age such as 2h or 7d
    #[arg(long, value_name = "TIME")]
    pub since: Option<When>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
}

impl Period {
    /// The moments, where clocks show this zone's time.
    pub fn in_zone(&self, zone: &TimeZone) -> anyhow::Result<Span> {
        let moment = |when: Option<When>| when.map(|when| when.in_zone(zone)).transpose();
        let span = Span { since: moment(self.since)?, until: moment(self.until)? };
        if let (Some(since), Some(until)) = (span.since, span.until)
            && since >= until
        {
            let [since, until] = [since, until].map(|time| print::time(time, zone));
            anyhow::bail!(
                "nothing lies between --since ({since}) and --until ({until}): --until must be the later one"
            );
        }
        Ok(span)
    }
}

/// Which part of the past to read, or the present.
#[derive(Args, Clone, Debug)]
pub struct Range {
    #[command(flatten)]
    pub period: Period,
    /// Keep waiting for new ones
    #[arg(long, short)]
    pub follow: bool,
}

/// Which part of a history.
#[derive(Args, Clone, Debug, Default)]
pub struct Slice {
    /// Only of this agent; repeat for more
    #[arg(long, value_name = "NAME")]
    pub agent: Vec<String>,
    /// Only of this command (alias, or command line); repeat for more
    #[arg(long, value_name = "NAME")]
    pub command: Vec<String>,
    #[command(flatten)]
    pub period: Period,
}

#[derive(Args, Debug)]
pub struct Capture {
    #[command(flatten)]
    pub at: Where,
    #[command(flatten)]
    pub slice: Slice,
    /// The file to write (JSON lines); compressed when its name ends in .zst; - is standard output
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Args, Debug)]
pub struct Alerts {
    #[command(flatten)]
    pub at: Where,
    #[command(flatten)]
    pub range: Range,
    /// How to print alerts
    #[arg(long, value_enum, default_value_t = AlertFormat::Ossec, value_name = "FORMAT")]
    pub format: AlertFormat,
    /// Only alerts of this agent; repeat for more
    #[arg(long, value_name = "NAME")]
    pub agent: Vec<String>,
    /// Only alerts of this rule; repeat for more
    #[arg(long, value_name = "ID")]
    pub rule: Vec<u32>,
    /// Only alerts of at least this level
    #[arg(long, value_name = "N")]
    pub min_level: Option<u16>,
    /// Go on after the last alert that this group has taken, and remember how far it came. A new group begins with the
    /// first alert that was written at --since or later, or with the oldest
    #[arg(long, value_name = "NAME", conflicts_with = "until")]
    pub group: Option<String>,
    /// Run this shell command for each alert, the alert on its standard input; --group moves on only after success
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AlertFormat {
    /// One alert a line, as on the wire
    Json,
    /// The blocks of OSSEC's alerts.log
    Ossec,
    /// The text of OSSEC's notification mails, with a diff
    Mail,
}

#[derive(Args, Debug)]
pub struct Outputs {
    #[command(subcommand)]
    pub action: Option<OutputsAction>,
    #[command(flatten)]
    pub at: Where,
    #[command(flatten)]
    pub range: Range,
    /// How to print outputs
    #[arg(long, value_enum, default_value_t = OutputFormat::Text, value_name = "FORMAT")]
    pub format: OutputFormat,
    /// Only outputs of this agent; repeat for more
    #[arg(long, value_name = "NAME")]
    pub agent: Vec<String>,
    /// Only outputs of this command (alias, or command line); repeat for more
    #[arg(long, value_name = "NAME")]
    pub command: Vec<String>,
    /// Only this run, such as the run.id of an alert
    #[arg(long, value_name = "RUN ID")]
    pub run: Option<tripline_schemas::RunId>,
    /// Only outputs that differ from the one before, with a line diff
    #[arg(long)]
    pub changes: bool,
}

#[derive(Debug, Subcommand)]
pub enum OutputsAction {
    /// Append history (JSON lines; .zst is read too) to the outputs
    ///
    /// One JSON object a line, with `agent`, `command`, `time` (RFC 3339) and `output` (or `output_base64`), and if they
    /// are known `format` (`command` or `full_command`), `duration_ms`, `ending`, `stderr`, `run`. A file with a mistake
    /// in any line imports nothing. A running Tripline judges them at once; without one, `tripline process
    /// --until-caught-up` does.
    ///
    /// What comes a second time is judged once: the same `run`, or, in a file without them, the same line number under
    /// the same first line. So a file that has grown can be imported again.
    Import {
        /// History file, or - for standard input
        file: PathBuf,
        #[command(flatten)]
        at: Where,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A heading per run, then its output with control characters escaped
    Text,
    /// The outputs byte for byte, nothing else
    Raw,
    /// JSON lines in the history format, as `outputs import` and `replay` read them
    Json,
}

#[derive(Args, Debug)]
pub struct Check {
    /// Rule files and directories [default: those of the settings, or the shipped ones]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub rules: RulesFrom,
    /// File of `[[command]]` tables, as in tripline.toml: two that one rule compares are a finding
    #[arg(long, value_name = "FILE")]
    pub commands: Option<PathBuf>,
    /// Check for Kafka, where outputs lie in several partitions (as with `kafka.enabled` in the settings)
    #[arg(long)]
    pub kafka: bool,
    /// Say nothing of warnings with this code, such as TL0601; repeat, or write commas, for more
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub allow: Vec<String>,
    /// How to print findings
    #[arg(long, value_enum, default_value_t = FindingFormat::Human, value_name = "FORMAT")]
    pub format: FindingFormat,
    /// With --format github: append a table of all findings to this file
    #[arg(long, value_name = "FILE", env = "GITHUB_STEP_SUMMARY")]
    pub step_summary: Option<PathBuf>,
    /// Explain a finding's code, such as TL0201
    #[arg(long, value_name = "CODE")]
    pub explain: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FindingFormat {
    /// For people
    Human,
    /// For programs
    Json,
    /// Annotations of a GitHub workflow
    Github,
}

#[derive(Args, Debug)]
pub struct Test {
    /// Rule test files (*_test.yaml) and directories that hold them
    pub paths: Vec<PathBuf>,
    /// Run conformance vectors instead
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "paths")]
    pub vectors: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Logtest {
    #[command(flatten)]
    pub rules: RulesFrom,
    #[command(flatten)]
    pub at: Where,
    /// Judge the last real output of this agent (with --command) instead of pasted lines
    #[arg(long, value_name = "NAME", requires = "command")]
    pub agent: Option<String>,
    /// The command whose last output to judge, or under whose name to judge pasted lines
    #[arg(long, value_name = "NAME")]
    pub command: Option<String>,
    /// Take all of standard input as one output of --command (full_command) rather than a line at a time
    #[arg(long, requires = "command")]
    pub full: bool,
    /// Print only alerts, as alerts.log would have them
    #[arg(short = 'a')]
    pub alerts_only: bool,
    /// Show every rule that was tried, those for other decoders and programs too
    #[arg(long, conflicts_with = "alerts_only")]
    pub all_rules: bool,
}

#[derive(Args, Debug)]
pub struct Replay {
    #[command(flatten)]
    pub rules: RulesFrom,
    #[command(flatten)]
    pub at: Where,
    #[command(flatten)]
    pub slice: Slice,
    /// History: `log` (the outputs in the data directory, or on Kafka), or file:PATH (JSON lines; .zst is read too; file:-
    /// is standard input), which may be repeated
    #[arg(long, value_name = "log|file:PATH", required = true)]
    pub from: Vec<String>,
    /// Judge on so many threads; alerts are the same, byte for byte
    #[arg(long, value_name = "N", default_value = "1")]
    pub jobs: NonZeroU32,
    /// Write the alerts here, one JSON object a line; - is standard output
    #[arg(long, value_name = "PATH", default_value = "-")]
    pub alerts: PathBuf,
}

#[derive(Args, Debug)]
pub struct State {
    #[command(subcommand)]
    pub action: Option<StateAction>,
    #[command(flatten)]
    pub at: Where,
    /// Only this agent
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Only this command
    #[arg(long, value_name = "NAME")]
    pub command: Option<String>,
    /// Only this rule
    #[arg(long, value_name = "ID")]
    pub rule: Option<u32>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = StateFormat::Text, value_name = "FORMAT")]
    pub format: StateFormat,
    /// Print the baseline texts too
    #[arg(long)]
    pub texts: bool,
}

#[derive(Debug, Subcommand)]
pub enum StateAction {
    /// Forget the baselines and ignore timers of a command on purpose: the next output is the new baseline
    ///
    /// The order is an event in the log, with author, time and reason, and is carried out when the processor comes
    /// to it. `tripline outputs` shows it.
    Forget {
        #[command(flatten)]
        at: Where,
        /// The agent
        #[arg(long, value_name = "NAME")]
        agent: String,
        /// Its command: the alias, or the command line
        #[arg(long, value_name = "NAME")]
        command: String,
        /// Only what this rule remembers
        #[arg(long, value_name = "ID")]
        rule: Option<u32>,
        /// Why; it stays in the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who says so; it stays in the log [default: this user's name]
        #[arg(long, value_name = "NAME")]
        author: Option<String>,
    },
    /// Read all of a data directory and name what is damaged; exit 1 when something is
    ///
    /// Log, state, spool and saved positions; beside a running Tripline or without one. Says what the damage costs
    /// and what to do.
    Verify(StateVerify),
    /// Throw the state of an embedded log away and fold it again from its outputs; no alert comes twice
    Rebuild(StateRebuild),
    /// Copy a data directory, also while it is in use
    ///
    /// The copy is complete when it is there, and can be put in the data directory's place. Settings, rules and
    /// commands are not part of it. By root beside a running Tripline, or by the user that Tripline runs as.
    Backup(StateBackup),
}

#[derive(Args, Debug)]
pub struct StateVerify {
    #[command(flatten)]
    pub at: Where,
    /// How to print what is damaged
    #[arg(long, value_enum, default_value_t = StateFormat::Text, value_name = "FORMAT")]
    pub format: StateFormat,
}

#[derive(Args, Debug)]
pub struct StateRebuild {
    #[command(flatten)]
    pub rules: RulesFrom,
    #[command(flatten)]
    pub at: Where,
}

#[derive(Args, Debug)]
pub struct StateBackup {
    /// The directory to make: a data directory that can be used in place of the present one
    pub dir: PathBuf,
    #[command(flatten)]
    pub at: Where,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}
