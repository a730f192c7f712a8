//! The engine's answer for one event: a value that says everything.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tripline_schemas::Key;
use tripline_schemas::alert::{Alert, Source};
use tripline_schemas::event::Event;
use tripline_schemas::state::{HistoryKey, KeyState, Seen, SeenKey, TextDigest};

use crate::history::History;

/// One event to judge, with what the log says about it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What happened.
    pub body: Body<'a>,
    /// When the record was appended to the log: the bound for the event's own clock.
    pub append_time: Timestamp,
    /// The record's place, for the alert.
    pub source: Option<&'a Source>,
    /// A run of this command that started later was already processed.
    pub overtaken: bool,
    /// Another spool that speaks under the same agent name: this event gets one more line that says so.
    pub duplicate_agent: Option<uuid::Uuid>,
}

impl<'a> Input<'a> {
    /// A line that is no command's output, by itself: it arrived at its own time, and lies in no log.
    pub fn log(line: &'a LogLine) -> Input<'a> {
        Input { body: Body::Log(line), append_time: line.time, source: None, overtaken: false, duplicate_agent: None }
    }
}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A record of the outputs topic.
    Event(&'a Event),
    /// A line that is no command's output, as history files and conformance vectors hold it.
    Log(&'a LogLine),
}

/// A line that is no command's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Whose line it is; the command is the line's location.
    pub key: Key,
    /// The agent's address. `None` for a local line.
    pub address: Option<String>,
    /// `(agent) address->location` or `host->location`.
    pub location: String,
    /// When it arrived.
    pub time: Timestamp,
    /// The text.
    pub text: Vec<u8>,
}

/// What is remembered, as of the event before.
pub trait State {
    /// What is remembered of this agent and command.
    fn key_state(&self, key: &Key) -> Result<Option<Arc<KeyState>>, StateError>;
    /// A baseline text of this agent and command. `None` for a digest that a [`KeyState`] names is damage.
    fn text(&self, key: &Key, digest: &TextDigest) -> Result<Option<Vec<u8>>, StateError>;
    /// The events of a history. It may be shared by all agents and commands of the partition.
    fn history(&self, at: &HistoryKey) -> Result<Option<Arc<History>>, StateError>;
    /// Whether something was seen before.
    fn has_seen(&self, at: &SeenKey) -> Result<bool, StateError>;
}

/// State could not be read; the event was not judged.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The state store failed.
    #[error("state of {key} could not be read")]
    Read {
        /// Whose state.
        key: Key,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The state store failed, at something that all agents and commands of the partition share.
    #[error("{what} could not be read")]
    ReadShared {
        /// What of the state.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A baseline names a text that is not there.
    #[error("state of {key} is damaged: the baseline text of rule {rule} is missing")]
    TextMissing {
        /// Whose state.
        key: Key,
        /// Which rule's baseline.
        rule: u32,
    },
}

/// What must be remembered after the event, in the order of application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// Everything about an agent and command; `None` forgets it.
    KeyState(Key, Option<Arc<KeyState>>),
    /// A baseline text; `None` drops it.
    Text(Key, TextDigest, Option<Vec<u8>>),
    /// A history as it is now, and the numbers of the events that are new, changed or gone: only these, and the bounds,
    /// need to be written.
    History(HistoryKey, Arc<History>, BTreeSet<u64>),
    /// Something was seen for the first time. It is never forgotten.
    Seen(SeenKey, Seen),
}

/// Everything the engine has to say about one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The time rules used: the start of the run, clamped to the append time.
    pub time: Timestamp,
    /// The start lay too far after the append time.
    pub clamped: bool,
    /// The run was overtaken by a later one, or reached the log late.
    pub late: bool,
    /// The event's lines, each with what the rules said: those of the output in their order, then gathered texts and
    /// lines about the run in the order of their evaluation. All of them from [`RuleSet::explain`](crate::RuleSet::explain);
    /// from [`RuleSet::evaluate`](crate::RuleSet::evaluate) those that came to an alert, were held back or not logged.
    pub lines: Vec<LineDecision>,
    /// What to append to the alerts topic, in this order.
    pub alerts: Vec<Alert>,
    /// What to remember.
    pub changes: Vec<StateChange>,
}

/// What the rules said to one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineDecision {
    /// From 1 in the order of the output; 0 for the run as a whole (`full_command`, a gathered `check_diff`, lines
    /// about the run).
    pub number: u32,
    /// What the line is.
    pub kind: LineKind,
    /// The text that rules saw. Empty in an answer of [`RuleSet::evaluate`](crate::RuleSet::evaluate).
    pub text: Vec<u8>,
    /// What header and decoder tell of the line. `None` for one that is a command's output or about a run, and in an
    /// answer of [`RuleSet::evaluate`](crate::RuleSet::evaluate).
    pub decoded: Option<LineFields>,
    /// The rules that were tried, in order, with their depth in the tree. Empty in an answer of
    /// [`RuleSet::evaluate`](crate::RuleSet::evaluate).
    pub tried: Vec<Tried>,
    /// What came of it.
    pub verdict: Verdict,
}

/// What header and decoder tell of a line that is no command's output. Bytes that are not UTF-8 are shown as U+FFFD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineFields {
    /// The host as rules see it.
    pub hostname: String,
    /// The program that the header names.
    pub program_name: Option<String>,
    /// The decoder; `None` when no decoder fits.
    pub decoder: Option<String>,
    /// The fields that the decoder found, by the name in its `order` (`user` is `dstuser`, `data` is `extra_data`).
    pub fields: Vec<(String, String)>,
    /// Patterns of decoders took too many steps and were taken not to fit.
    pub gave_up: bool,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A line of the output, or all of it (`full_command`).
    Output,
    /// The lines of a `command` run that a `check_diff` rule gathered, compared as one text.
    Gathered,
    /// A line about the run: failed, truncated, not comparable, a gap, a duplicate agent.
    About,
    /// A line that is no command's output.
    Log,
}

/// One rule that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The rule's id.
    pub rule: u32,
    /// 0 for roots.
    pub depth: u16,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of trying a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All conditions hold.
    Holds,
    /// A condition does not hold: its element's name, such as `match`.
    Fails(&'static str),
    /// `check_diff` has seen this key for the first time: stored, does not hold.
    FirstSight,
    /// `check_diff`: equal to the baseline, does not hold.
    Unchanged,
    /// `check_diff`: could not compare a cut text with an uncut one.
    NotComparable,
    /// `check_diff` of a `command` run: the line was put aside until the last one.
    PutAside,
    /// `check_diff` of a `command` run: some of the lines that the rule would have seen were taken by an earlier result,
    /// or the rule had compared before this line came. Not compared in this run, does not hold.
    Incomplete,
}

/// What came of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No rule is its result.
    NoRule,
    /// A level-0 rule took it, silently.
    Silent(u32),
    /// A rule is the result, but its options or the log level keep it out of the alerts.
    NotLogged(u32),
    /// A rule is the result, held back by its ignore timer until this time.
    HeldBack {
        /// The rule.
        rule: u32,
        /// When the timer ends; [`Timestamp::MAX`] when `check_if_ignored` holds the rule back, which never ends.
        until: Timestamp,
    },
    /// An alert: its place in [`Decision::alerts`].
    Alert {
        /// The rule.
        rule: u32,
        /// Index into [`Decision::alerts`].
        index: usize,
    },
    /// It became part of a gathered text; see the [`LineKind::Gathered`] line.
    Gathered(u32),
}
