//! The words on the wire: what collectors publish, what the processor answers, what state looks like.
//!
//! Everything that leaves a process of Tripline is one of these types, turned into a [`Record`] (key, headers, value)
//! and back:
//!
//! * [`event::Event`]: what lies in the outputs topic. A run's raw output with its facts, a gap, a control event, a
//!   heartbeat.
//! * [`alert::Alert`]: what a fired rule appends to the alerts topic, as JSON.
//! * [`dead_letter::DeadLetter`]: a record that could not be decoded, with the reason.
//! * [`ruleset::RuleSetRecord`]: every file of a rule set, under its digest.
//! * [`state`]: what the processor remembers per agent and command, and the keys of the changelog.
//! * [`envelope`]: the CloudEvents attributes that the records of the topics share.
//! * [`history`]: the JSON-lines format of captures, imports, replays and tests.
//! * [`json_schema`]: JSON Schemas of all that is JSON.
//!
//! This crate is pure: no I/O, no clock, no threads. Reading and writing topics is the work of `tripline-eventlog`.

pub mod alert;
pub mod dead_letter;
pub mod envelope;
pub mod event;
pub mod history;
pub mod json_schema;
pub mod key;
pub mod partition;
pub mod record;
pub mod ruleset;
pub mod run;
pub mod state;

pub use key::{Key, KeyError};
pub use record::{DecodeError, Headers, Record};
pub use run::{Ending, Format, Run, RunId};
