//! JSON Schemas of everything that is JSON on the wire, in state or in a history, generated from the types.
//!
//! They are committed under `schemas/json/`; a test fails when types and files drift apart.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::alert::Alert;
use crate::event::{Control, Gap, Heartbeat};
use crate::history::HistoryLine;
use crate::ruleset::RuleSetRecord;
use crate::state::{Activation, Cursor, Cursors, HistoryBounds, KeyState, RecordedEvent, Seen, Versioned};

/// Every schema, with the name of its file without `.schema.json`. The value of an output record has none: it is the raw
/// output.
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("alert.v1", of::<Alert>()),
        ("control.v1", of::<Control>()),
        ("gap.v1", of::<Gap>()),
        ("heartbeat.v1", of::<Heartbeat>()),
        ("history-line", of::<HistoryLine>()),
        ("ruleset.v1", of::<RuleSetRecord>()),
        ("state-activation.v1", of::<Versioned<Activation>>()),
        ("state-cursor.v1", of::<Versioned<Cursor>>()),
        ("state-cursors.v1", of::<Versioned<Cursors>>()),
        ("state-history.v1", of::<Versioned<HistoryBounds>>()),
        ("state-history-event.v1", of::<Versioned<RecordedEvent>>()),
        ("state-key.v1", of::<Versioned<KeyState>>()),
        ("state-seen.v1", of::<Versioned<Seen>>()),
    ]
}

fn of<T: JsonSchema>() -> Schema {
    SchemaGenerator::default().into_root_schema_for::<T>()
}

/// Stands for a [`jiff::Timestamp`], which has no schema of its own.
pub(crate) struct Time;

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}
