//! Plans and runs commands, spools and publishes their outputs.
//!
//! A run's way: [`CommandSpec`] (as written, in `tripline.toml` or an [`ossec_conf`]) → [`Plan`] (checked) →
//! [`schedule::due`] (when) → [`runner`] (the process) → [`spool`] (on disk, numbered) → a
//! [`Publisher`](tripline_eventlog::Publisher) (the outputs topic). [`Collector::run`] is the main path.
//!
//! What it promises:
//!
//! * every run that was started becomes one event, finished or interrupted, also when the collector is killed at any
//!   moment (see [`spool`] for how, and for the order of sequence numbers);
//! * a command that hangs delays no other command, and never overlaps with itself;
//! * nothing is lost silently: a full spool leaves [`Gap`](tripline_schemas::event::Gap) events, a cut output says so.
//!
//! The plan can be exchanged while a collector works ([`ActivePlan`]).
//!
//! It does not judge outputs: rules live in the processor.

mod clock;
pub mod collect;
pub mod config;
pub mod duration;
pub mod exchange;
mod leftbehind;
pub mod observe;
pub mod ossec_conf;
pub mod plan;
mod publish;
pub mod runner;
pub mod schedule;
pub mod spool;
pub mod stop;
#[cfg(test)]
mod testing;
mod timetable;
pub mod user;

pub use clock::Clock;
pub use collect::{CollectError, Collector, Summary, run_once};
pub use config::{CommandLine, CommandSpec, Identity, Settings};
pub use duration::Interval;
pub use exchange::{ActivePlan, Changes};
pub use observe::{Observer, Progress};
pub use plan::{OUTPUT_BYTES_MAX, Plan, PlanErrors, PlannedCommand};
pub use stop::Stop;
pub use user::RunAs;

/// The version that runs and heartbeats carry.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
