//! Conditions of rules on fields of a line. A field that a line has not fulfils none of them.

use std::sync::Arc;

use crate::address::AddressEntry;
use crate::decoder::KnownField;
use crate::list::TextList;
use crate::pattern::{OsMatch, OsRegex, Pcre2};
use crate::source::Span;

/// One condition.
#[derive(Debug)]
pub(crate) enum FieldCondition {
    /// The field fits a pattern.
    Text { element: &'static str, field: LineField, pattern: FieldPattern },
    /// `action`: is exactly this.
    Action(String),
    /// `field`: a field that only some decoder knows fits.
    Dynamic { name: String, pattern: OsRegex },
    /// `srcip`, `dstip`: is one of these addresses, or none of those.
    Address { field: KnownField, entries: Vec<AddressEntry> },
    /// `list`
    List(ListLookup),
}

/// A field of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineField {
    /// The program that the header names.
    Program,
    /// The host.
    Host,
    /// The user that something is done to, or else the one who does it.
    User,
    /// The user who does something, or else the one that it is done to. Lists mean it so.
    UserOfList,
    /// One that a decoder finds.
    Known(KnownField),
}

/// A pattern of either dialect.
#[derive(Debug)]
pub(crate) enum FieldPattern {
    OsMatch(OsMatch),
    Pcre2(Pcre2),
}

/// A `list` element.
#[derive(Debug)]
pub(crate) struct ListLookup {
    /// What is looked up.
    pub field: LineField,
    pub lookup: Lookup,
    /// The list's name, without `.cdb`, and where the rule says it.
    pub name: String,
    pub span: Span,
    /// `None` for a list that is not known: the condition never holds then.
    pub list: Option<Arc<TextList>>,
}

/// How a list is asked.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The key is there.
    Key,
    /// It is not.
    NotKey,
    /// It is there, and its value fits.
    KeyValue(OsMatch),
    /// The address or a part of it is there.
    Address,
    /// It is not.
    NotAddress,
    /// The address is not there, or its value does *not* fit: what OSSEC does with `address_match_key_value`.
    AddressValueInverted(OsMatch),
}

impl FieldCondition {
    /// How much memory in bytes its pattern takes at most when it is compiled.
    pub fn pattern_bytes_max(&self) -> usize {
        match self {
            FieldCondition::Text { pattern: FieldPattern::OsMatch(pattern), .. } => pattern.bytes_max(),
            FieldCondition::Text { pattern: FieldPattern::Pcre2(pattern), .. } => pattern.bytes_max(),
            FieldCondition::Dynamic { pattern, .. } => pattern.bytes_max(),
            FieldCondition::List(list) => match &list.lookup {
                Lookup::KeyValue(pattern) | Lookup::AddressValueInverted(pattern) => pattern.bytes_max(),
                Lookup::Key | Lookup::NotKey | Lookup::Address | Lookup::NotAddress => 0,
            },
            FieldCondition::Action(_) | FieldCondition::Address { .. } => 0,
        }
    }

    /// The name of its element.
    pub fn element(&self) -> &'static str {
        match self {
            FieldCondition::Text { element, .. } => element,
            FieldCondition::Action(_) => "action",
            FieldCondition::Dynamic { .. } => "field",
            FieldCondition::Address { field, .. } => field.name(),
            FieldCondition::List(_) => "list",
        }
    }

    /// Whether it holds a pattern whose search can take too long.
    pub fn may_give_up(&self) -> bool {
        match self {
            FieldCondition::Text { pattern: FieldPattern::Pcre2(pattern), .. } => pattern.may_give_up(),
            _ => false,
        }
    }
}

impl ListLookup {
    /// Whether it holds for a field's value.
    pub fn holds(&self, value: &[u8]) -> bool {
        let Some(list) = &self.list else { return false };
        match &self.lookup {
            Lookup::Key => list.get(value).is_some(),
            Lookup::NotKey => list.get(value).is_none(),
            Lookup::KeyValue(pattern) => list.get(value).is_some_and(|value| pattern.is_match(value)),
            Lookup::Address => list.get_address(value).is_some(),
            Lookup::NotAddress => list.get_address(value).is_none(),
            Lookup::AddressValueInverted(pattern) => {
                !list.get_address(value).is_some_and(|value| pattern.is_match(value))
            }
        }
    }
}
