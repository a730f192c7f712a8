//! Rules with a memory beyond one agent's timers and baselines, compiled: composite rules (`frequency`,
//! `if_matched_...`), `if_fts`, and the elements `ignore` and `check_if_ignored`.
//!
//! What a composite rule counts lies in a history. Which results go into which histories is known when all rules are:
//! only what some rule counts is recorded, with the fields that it compares, and no more events than it needs.

use tripline_schemas::Key;
use tripline_schemas::state::{Counted, HistoryKey, Scope};

use crate::decoder::KnownField;
use crate::pattern::{OsMatch, OsRegex};
use crate::ruleset::{Category, RuleIndex};
use crate::source::Span;

/// A rule's results that are remembered for `if_matched_sid` and `if_matched_group`: OSSEC's number.
pub(crate) const RULE_EVENTS_MAX: usize = 128;

/// The events that are remembered for `if_matched_regex`: OSSEC's number. There it counts all events, here those that
/// fit the expression.
pub(crate) const REGEX_EVENTS_MAX: usize = 8192;

/// What one rule remembers, and what is remembered of its results.
#[derive(Debug, Default)]
pub(crate) struct RuleMemory {
    /// It counts earlier events.
    pub composite: Option<Composite>,
    /// It holds the first time that the decoder's key is seen.
    pub if_fts: bool,
    /// The fields that are stored when it fires: its `ignore` element.
    pub stores: Option<StoredFields>,
    /// It is held back when these fields were stored: its `check_if_ignored` element.
    pub held_back_by: Option<StoredFields>,
    /// The histories that its results go into, those of `if_matched_regex` apart.
    pub recorded_in: Vec<HistoryIndex>,
}

impl RuleMemory {
    /// Whether the rule asks what is remembered before it holds.
    pub fn asks(&self) -> bool {
        self.composite.is_some() || self.if_fts
    }
}

/// A composite rule's condition.
#[derive(Debug)]
pub(crate) struct Composite {
    /// It holds with this many earlier events and one more: OSSEC's way of counting, which rule authors know.
    pub frequency: u32,
    /// How far apart, in seconds, the events may be.
    pub timeframe_seconds: u32,
    /// Which earlier events.
    pub counts: Counts,
    /// Earlier events count when they are equal in these.
    pub same: Vec<Field>,
    /// And when they differ in these.
    pub different: Vec<Field>,
    /// Where they are recorded. Known when all rules are.
    pub history: HistoryIndex,
    /// The text of the `if_matched_...` element.
    pub span: Span,
}

impl Composite {
    /// The rule of `if_matched_sid`.
    pub fn counted_rule(&self) -> Option<u32> {
        match self.counts {
            Counts::Rule(rule) => Some(rule),
            Counts::Group(_) | Counts::Regex(_) => None,
        }
    }

    /// How many earlier events must be found.
    pub fn needed(&self) -> usize {
        self.frequency as usize + 1
    }

    /// Only events of the same agent and command count.
    pub fn is_of_one_key(&self) -> bool {
        self.same.contains(&Field::Location)
    }

    /// How many events of its history it may have to look at. Twice the number it needs when all of them count, so that
    /// events which come late find those before them.
    pub fn events_max(&self) -> usize {
        let all = match self.counts {
            Counts::Rule(_) | Counts::Group(_) => RULE_EVENTS_MAX,
            Counts::Regex(_) => REGEX_EVENTS_MAX,
        };
        let all_count = self.different.is_empty() && self.same.iter().all(|field| *field == Field::Location);
        if all_count { all.min(2 * self.needed()) } else { all }
    }
}

/// Which earlier events a composite rule counts.
#[derive(Debug)]
pub(crate) enum Counts {
    /// `if_matched_sid`: those whose result was this rule.
    Rule(u32),
    /// `if_matched_group`: those whose result was a rule with such a group string, loaded before.
    Group(OsMatch),
    /// `if_matched_regex`: those of the same category whose text fits.
    Regex(OsRegex),
}

impl Counts {
    /// How much memory in bytes its pattern takes at most when it is compiled.
    pub fn pattern_bytes_max(&self) -> usize {
        match self {
            Counts::Rule(_) => 0,
            Counts::Group(pattern) => pattern.bytes_max(),
            Counts::Regex(pattern) => pattern.bytes_max(),
        }
    }

    /// The name of its element.
    pub fn element(&self) -> &'static str {
        match self {
            Counts::Rule(_) => "if_matched_sid",
            Counts::Group(_) => "if_matched_group",
            Counts::Regex(_) => "if_matched_regex",
        }
    }

    /// Whether a text is one that `if_matched_regex` counts.
    pub fn fits(&self, text: &[u8]) -> bool {
        matches!(self, Counts::Regex(expression) if expression.is_match(text))
    }
}

/// A field that `same_...`, `different_...` and `not_same_...` compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    SourceIp,
    SourcePort,
    DestinationPort,
    /// The user acted on.
    User,
    Id,
    Url,
    /// The host that a log line's header names. Agent and command are told apart by the history.
    Location,
    Agent,
    /// Nothing fills it: there is no data about places of addresses.
    SourceGeoIp,
}

impl Field {
    /// The name under which it is recorded.
    pub fn name(self) -> &'static str {
        match self {
            Field::SourceIp => "srcip",
            Field::SourcePort => "srcport",
            Field::DestinationPort => "dstport",
            Field::User => "dstuser",
            Field::Id => "id",
            Field::Url => "url",
            Field::Location => "hostname",
            Field::Agent => "agent",
            Field::SourceGeoIp => "srcgeoip",
        }
    }

    /// The decoders' field of that meaning.
    pub fn decoded(self) -> Option<KnownField> {
        match self {
            Field::SourceIp => Some(KnownField::SrcIp),
            Field::SourcePort => Some(KnownField::SrcPort),
            Field::DestinationPort => Some(KnownField::DstPort),
            Field::User => Some(KnownField::DstUser),
            Field::Id => Some(KnownField::Id),
            Field::Url => Some(KnownField::Url),
            Field::Location | Field::Agent | Field::SourceGeoIp => None,
        }
    }
}

/// The fields that an `ignore` or `check_if_ignored` element names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredFields {
    /// Their names, in a fixed order. `location` is not among them: it says whose fields they are.
    pub names: Vec<&'static str>,
    /// `location` is named: they belong to one agent and command.
    pub of_one_key: bool,
}

impl StoredFields {
    /// The names that may stand in the element.
    pub const NAMES: [&str; 7] = ["user", "srcip", "dstip", "id", "location", "data", "name"];

    /// What an element's text names: OSSEC looks for each name anywhere in the text. `None` when there is none.
    pub fn parse(text: &str) -> Option<StoredFields> {
        let (location, names): (Vec<&str>, Vec<&str>) =
            StoredFields::NAMES.into_iter().filter(|name| text.contains(name)).partition(|name| *name == "location");
        let of_one_key = !location.is_empty();
        (of_one_key || !names.is_empty()).then_some(StoredFields { names, of_one_key })
    }
}

/// A history's place in [`Histories::plans`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HistoryIndex(pub u32);

/// What must be recorded for the composite rules of a rule set.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    pub plans: Vec<HistoryPlan>,
    /// Of `if_matched_regex`: what events of which category are tried against the expression of which rule.
    pub by_text: Vec<(Category, RuleIndex, HistoryIndex)>,
}

/// One history, or one for each agent and command.
#[derive(Debug)]
pub(crate) struct HistoryPlan {
    pub counted: Counted,
    /// One for each agent and command.
    pub per_key: bool,
    /// How many events are kept; the oldest gives way.
    pub events_max: usize,
    /// The fields that are kept.
    pub fields: Vec<Field>,
}

impl Histories {
    pub fn plan(&self, index: HistoryIndex) -> &HistoryPlan {
        &self.plans[index.0 as usize]
    }
}

impl HistoryPlan {
    /// Where the events of this agent and command are recorded.
    pub fn key(&self, key: &Key) -> HistoryKey {
        let scope = if self.per_key { Scope::Key(key.clone()) } else { Scope::Partition };
        HistoryKey { counted: self.counted, scope }
    }

    /// The rule that it was made for.
    pub fn rule(&self) -> u32 {
        match self.counted {
            Counted::Rule(rule) | Counted::Group(rule) | Counted::Regex(rule) => rule,
        }
    }
}
