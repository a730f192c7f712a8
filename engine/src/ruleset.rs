//! Compiled rules: immutable, checked, in the order they are tried.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::calendar::{TimeRange, Weekdays};
use crate::change::{ChangeCondition, CheckDiff};
use crate::composite::{Histories, RuleMemory};
use crate::decoder::{Decoder, Decoders};
use crate::evaluate::{Prefilter, timer};
use crate::field_condition::FieldCondition;
use crate::finding::Finding;
use crate::load::Orphans;
use crate::numbers::Numbers;
use crate::pattern::{OsMatch, OsRegex, Pcre2};
use crate::run_fact::RunFact;
use crate::source::{SourceFile, Span};

/// Settings that change what rules answer. They are part of the rule set's digest, except `application_id` and `partitions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Goes into alert ids.
    pub application_id: String,
    /// Rules of at least this level are logged as alerts. OSSEC's `log_alert_level`.
    pub log_alert_level: u16,
    /// Rules of at least this level are marked for mail. OSSEC's `email_alert_level`.
    pub email_alert_level: u16,
    /// Each text in an alert is cut to this many bytes.
    pub alert_text_bytes_max: usize,
    /// A start time later than the append time by more than this many seconds is clamped to the append time.
    pub clock_skew_seconds_max: u32,
    /// A run that reached the log later than this many seconds after its end is marked late.
    pub late_after_seconds: u32,
    /// How many partitions the outputs lie in. State belongs to a partition: with more than one, rules that count events
    /// of several agents or commands together are an error. It changes no answer, and is no part of the digest.
    pub partitions: u32,
    /// Where the clock stands that `time` and `weekday` mean, such as `Europe/Vienna` (IANA). Rules with these elements are
    /// an error without it.
    pub time_zone: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            application_id: "tripline".to_owned(),
            log_alert_level: 1,
            email_alert_level: 7,
            alert_text_bytes_max: 64 * 1024,
            clock_skew_seconds_max: 60,
            late_after_seconds: 300,
            partitions: 1,
            time_zone: None,
        }
    }
}

/// All rules of a compilation, ready to judge events. Cheap to share behind an `Arc`, never changed.
#[derive(Debug)]
pub struct RuleSet {
    /// In load order, the built-in bases first.
    pub(crate) rules: Vec<Rule>,
    /// From id to place in `rules`.
    pub(crate) by_id: HashMap<u32, RuleIndex>,
    /// The rules that have no parent, in the order they are tried.
    pub(crate) roots: Vec<RuleIndex>,
    /// Which of them are worth trying with a line.
    pub(crate) prefilter: Prefilter,
    /// BLAKE3 over files, and the settings that matter.
    pub(crate) digest: [u8; 32],
    /// What could be said about the files without refusing them.
    pub(crate) findings: Vec<Finding>,
    /// The files it was compiled from, for places and for the rule set topic.
    pub(crate) files: Vec<SourceFile>,
    /// How many of them, from the first on, hold rules.
    pub(crate) rule_files: usize,
    /// How many of those that follow hold decoders. The rest are lists.
    pub(crate) decoder_files: usize,
    /// The settings it was compiled with.
    pub(crate) settings: Settings,
    /// Rules whose parent is missing were set aside, if there were any.
    pub(crate) orphans: Orphans,
    /// What takes lines apart that are no command's outputs.
    pub(crate) decoders: Decoders,
    /// What is recorded of events for composite rules.
    pub(crate) histories: Histories,
    /// The zone that they name, for `time` and `weekday`.
    pub(crate) time_zone: Option<jiff::tz::TimeZone>,
}

impl RuleSet {
    /// The digest over files and the settings that matter.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The digest as 64 hex digits.
    pub fn digest_hex(&self) -> String {
        blake3::Hash::from_bytes(self.digest).to_hex().to_string()
    }

    /// The files it was compiled from, in load order: rules, decoders, lists.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Those that hold rules.
    pub fn rule_files(&self) -> &[SourceFile] {
        &self.files[..self.rule_files]
    }

    /// Those that hold decoders.
    pub fn decoder_files(&self) -> &[SourceFile] {
        &self.files[self.rule_files..][..self.decoder_files]
    }

    /// Those that are lists.
    pub fn list_files(&self) -> &[SourceFile] {
        &self.files[self.rule_files + self.decoder_files..]
    }

    /// The settings it was compiled with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was to become of rules whose parent is missing.
    pub fn orphans(&self) -> Orphans {
        self.orphans
    }

    /// What could be said about the files without refusing them.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How much memory in bytes the patterns of all rules and decoders take at most when they are compiled, which each is
    /// when a text comes that it could fit. What threads keep of their searches comes on top.
    pub fn pattern_bytes_max(&self) -> usize {
        let decoders = self.decoders.list.iter().map(Decoder::pattern_bytes_max);
        self.rules.iter().map(Rule::pattern_bytes_max).chain(decoders).sum()
    }

    /// How many rules there are, the built-in ones included.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// All rules in load order, the built-in ones first.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = RuleInfo<'_>> {
        self.rules.iter().map(RuleInfo::of)
    }

    /// Whether lines about runs, such as failed and lost ones, can be reported: a rule hangs below
    /// [`ABOUT_RUNS_ID`](crate::load::ABOUT_RUNS_ID).
    pub fn judges_runs(&self) -> bool {
        let about_runs = self.by_id.get(&crate::load::ABOUT_RUNS_ID);
        about_runs.is_some_and(|index| !self.rules[index.0 as usize].children.is_empty())
    }

    /// The rule of this id.
    pub fn rule(&self, id: u32) -> Option<RuleInfo<'_>> {
        self.by_id.get(&id).map(|index| RuleInfo::of(&self.rules[index.0 as usize]))
    }
}

/// What a rule says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleInfo<'a> {
    /// Its id.
    pub id: u32,
    /// 0 is silent.
    pub level: u16,
    /// Its description, if it has one.
    pub description: Option<&'a str>,
    /// Its groups.
    pub groups: &'a [String],
    /// Its start tag, in one of [`RuleSet::files`] or among the built-in rules.
    pub span: Span,
    /// Seconds of silence after firing; 0 for none.
    pub ignore_seconds: u32,
}

impl RuleInfo<'_> {
    fn of(rule: &Rule) -> RuleInfo<'_> {
        let Rule { id, level, description, groups, span, ignore_seconds, .. } = rule;
        let description = description.as_deref();
        RuleInfo { id: *id, level: *level, description, groups, span: *span, ignore_seconds: *ignore_seconds }
    }

    /// When an ignore timer ends that began at this firing; `None` for a rule that has none.
    pub fn ignored_until(&self, fired: Timestamp) -> Option<Timestamp> {
        (self.ignore_seconds > 0).then(|| timer::end_of(fired, self.ignore_seconds))
    }
}

/// A rule's place in [`RuleSet::rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RuleIndex(pub u32);

/// One compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub id: u32,
    /// 0 is silent: it ends the search and emits nothing.
    pub level: u16,
    /// Seconds of silence after firing; 0 for none.
    pub ignore_seconds: u32,
    /// Never the final rule, only a parent.
    pub noalert: bool,
    /// Whether a result is written as an alert: from the level, then the rule's options.
    pub log: bool,
    /// Whether an alert is marked for mail: from the level, then the rule's options.
    pub mail: bool,
    /// The words of `group_text`.
    pub groups: Vec<String>,
    /// The file group's string and the rule's own, joined as OSSEC joins them.
    pub group_text: String,
    pub description: Option<String>,
    /// What must hold, in the order it is tested, lists last. All of it is about the line alone.
    pub conditions: Vec<Condition>,
    /// Tested after `conditions`, against what is remembered.
    pub check_diff: Option<CheckDiff>,
    /// Tested after `check_diff`, on the change that it or the nearest rule above found. Without such a change they
    /// fail.
    pub on_change: Vec<ChangeCondition>,
    /// By what it captures of a line there are several ignore timers.
    pub ignore_key: Option<OsRegex>,
    /// What it asks of earlier events, and what of its own is recorded.
    pub memory: RuleMemory,
    /// The rules hung under this one, in the order they are tried.
    pub children: Vec<RuleIndex>,
    /// The `<rule …>` tag.
    pub span: Span,
}

impl Rule {
    /// The conditions that are tested before what is remembered is asked, and those after: lists, as in OSSEC. So a line
    /// that a list rejects has become the baseline, and is no longer the first of its kind.
    pub fn conditions_around_memory(&self) -> (&[Condition], &[Condition]) {
        let asks = self.check_diff.is_some() || !self.on_change.is_empty() || self.memory.asks();
        let before = |condition: &Condition| !(asks && matches!(condition.test, Test::Field(FieldCondition::List(_))));
        self.conditions.split_at(self.conditions.partition_point(before))
    }

    /// How much memory in bytes its patterns take at most when they are compiled.
    pub fn pattern_bytes_max(&self) -> usize {
        let conditions = self.conditions.iter().map(|condition| condition.test.pattern_bytes_max());
        let on_change = self.on_change.iter().map(|condition| condition.test.pattern_bytes_max());
        let check_diff = self.check_diff.iter().map(|check_diff| check_diff.normaliser.pattern_bytes_max());
        let ignore_key = self.ignore_key.iter().map(OsRegex::bytes_max);
        let counts = self.memory.composite.iter().map(|composite| composite.counts.pattern_bytes_max());
        conditions.chain(on_change).chain(check_diff).chain(ignore_key).chain(counts).sum()
    }

    /// Its level as OSSEC compares it: silent rules come before all others.
    pub fn rank(&self) -> u16 {
        if self.level == 0 { 99 } else { self.level }
    }
}

/// One thing a line must fulfil, and where the rule says so.
#[derive(Debug)]
pub(crate) struct Condition {
    pub test: Test,
    /// The element, for explanations.
    pub span: Span,
}

/// The tests of a line. One more element of the rule language is one more variant here, one entry in the loader's
/// element table, and one arm in its evaluation.
#[derive(Debug)]
pub(crate) enum Test {
    /// The line's category is this one. Only roots have it.
    Category(Category),
    /// The line's decoder has this name.
    DecodedAs(String),
    /// `match`
    Match(OsMatch),
    /// `regex`
    Regex(OsRegex),
    /// `pcre2` or `match_pcre2`, as the name says.
    Pcre2(&'static str, Pcre2),
    /// `maxsize`, which despite its name is the fewest bytes that the text must have.
    SizeMin(u32),
    /// `time`
    Time(TimeRange),
    /// `weekday`
    Weekday(Weekdays),
    /// The element of this name never holds.
    Never(&'static str),
    /// A field that a header, a decoder or the event's host gives.
    Field(FieldCondition),
    /// `run_exit_code`, `run_duration`, `run_output_size`: a fact of the run.
    Run(RunFact, Numbers),
    /// `run_late`: whether the run is marked late.
    RunLate(bool),
}

impl Test {
    /// How much memory in bytes its pattern takes at most when it is compiled.
    pub fn pattern_bytes_max(&self) -> usize {
        match self {
            Test::Match(pattern) => pattern.bytes_max(),
            Test::Regex(pattern) => pattern.bytes_max(),
            Test::Pcre2(_, pattern) => pattern.bytes_max(),
            Test::Field(condition) => condition.pattern_bytes_max(),
            Test::Category(_) | Test::DecodedAs(_) | Test::SizeMin(_) | Test::Time(_) | Test::Weekday(_) => 0,
            Test::Never(_) | Test::Run(..) | Test::RunLate(_) => 0,
        }
    }

    /// Whether it holds a pattern whose search can take too long.
    pub fn may_give_up(&self) -> bool {
        match self {
            Test::Pcre2(_, pattern) => pattern.may_give_up(),
            Test::Field(condition) => condition.may_give_up(),
            _ => false,
        }
    }
}

/// The kind of line a decoder makes, and the root rules' filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Anything without a better one.
    Syslog,
    /// Firewall logs.
    Firewall,
    /// Intrusion detection logs.
    Ids,
    /// Web server logs.
    WebLog,
    /// Web proxy logs.
    Squid,
    /// Windows event logs.
    Windows,
    /// OSSEC's own lines, command outputs among them, and Tripline's.
    Ossec,
    /// What decoders of type `host-information` make. No rule can ask for it.
    HostInformation,
}

impl Category {
    /// The words of `category`, in the order of root ids 1 to 7.
    pub const NAMES: [&str; 7] = ["syslog", "firewall", "ids", "web-log", "squid", "windows", "ossec"];

    const ALL: [Category; 7] = [
        Category::Syslog,
        Category::Firewall,
        Category::Ids,
        Category::WebLog,
        Category::Squid,
        Category::Windows,
        Category::Ossec,
    ];
}

impl std::str::FromStr for Category {
    type Err = ();

    fn from_str(word: &str) -> Result<Category, ()> {
        Category::NAMES.iter().position(|name| *name == word).map(|at| Category::ALL[at]).ok_or(())
    }
}

impl std::fmt::Display for Category {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = Category::ALL.iter().position(|category| category == self);
        f.write_str(at.map_or("host-information", |at| Category::NAMES[at]))
    }
}
