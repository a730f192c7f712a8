//! From rule text to decisions: OSSEC's rule language, applied to the outputs of commands.
//!
//! Two calls are the whole crate:
//!
//! * [`compile`] turns rule files into a [`RuleSet`], or says everything that is wrong with them ([`Finding`]s);
//! * [`RuleSet::evaluate`] turns one event and what is remembered ([`State`]) into a [`Decision`], a value that says
//!   everything: which rules were tried, what matched, what was held back and by what, which alerts follow and which
//!   state changes. Live processing, `logtest`, `test` and `replay` all call it, and only it; [`RuleSet::explain`] is the
//!   same with every detail, [`RuleSet::evaluate_with`] the same for less when an output has not changed.
//!
//! It does no I/O and reads no clock, environment or randomness: time comes with the event, state through [`State`].
//!
//! Reading order: [`ruleset`] (what a compiled rule is), [`decision`] (what an answer is), then `evaluate`.

mod address;
mod alert;
mod calendar;
mod change;
mod composite;
pub mod decision;
mod decoder;
pub mod diff;
mod evaluate;
mod field_condition;
pub mod finding;
pub mod format;
pub mod history;
mod ignore_key;
mod line;
pub mod lint;
mod list;
pub mod load;
pub mod memory_state;
mod normalise;
mod numbers;
pub mod pattern;
mod predecode;
pub mod ruleset;
mod run_fact;
pub mod source;
pub mod vectors;
mod xml;

pub use decision::{Decision, Input, State, StateChange, StateError};
pub use evaluate::QuietCache;
pub use finding::{Finding, Severity};
pub use load::{Checked, CompileInputs, Orphans, check, check_inputs, compile, compile_inputs};
pub use memory_state::MemoryState;
pub use ruleset::{RuleSet, Settings};
pub use source::SourceFile;
