//! Conditions on fields, tried with a line.

use super::context::Context;
use crate::address;
use crate::decoder::KnownField;
use crate::field_condition::{FieldCondition, FieldPattern, LineField};
use crate::line::Line;

impl FieldCondition {
    /// Whether a line fulfils it, as a condition of the rule of this id.
    pub(super) fn holds(&self, rule: u32, line: &Line<'_>, context: &Context<'_>) -> bool {
        match self {
            FieldCondition::Text { field, pattern, .. } => field.of(line, context).is_some_and(|value| match pattern {
                FieldPattern::OsMatch(pattern) => pattern.is_match(value),
                FieldPattern::Pcre2(pattern) => context.fits(rule, pattern, value),
            }),
            FieldCondition::Action(action) => line.field(KnownField::Action) == Some(action.as_bytes()),
            FieldCondition::Dynamic { name, pattern } => {
                line.fields().and_then(|fields| fields.dynamic(name)).is_some_and(|value| pattern.is_match(value))
            }
            FieldCondition::Address { field, entries } => {
                line.field(*field).is_some_and(|value| address::takes(entries, value))
            }
            FieldCondition::List(list) => list.field.of(line, context).is_some_and(|value| list.holds(value)),
        }
    }
}

impl LineField {
    /// Its value; `None` when the line has none.
    fn of<'l>(self, line: &Line<'l>, context: &'l Context<'_>) -> Option<&'l [u8]> {
        let (source, target) = (KnownField::SrcUser, KnownField::DstUser);
        match self {
            LineField::Program => line.program(),
            LineField::Host => Some(line.host.unwrap_or_else(|| context.hostname())),
            LineField::User => line.field(target).or(line.field(source)),
            LineField::UserOfList => line.field(source).or(line.field(target)),
            LineField::Known(field) => line.field(field),
        }
    }
}
