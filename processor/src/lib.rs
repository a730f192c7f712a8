//! The stateful stream processor: records in, alerts and state out, all or nothing.
//!
//! One function is the main path, [`shard::run`]: it takes records from a [`Backend`], lets each partition's
//! [`Task`](task::Task) judge them against an overlay of not yet committed state, and hands one [`CommitUnit`] per
//! batch back. The loop knows only the [`Backend`] interface. There is one backend per kind of log, [`embedded`] and
//! Kafka's, one for bounded histories ([`memory`]), and a simulated one in the tests that crashes at every step.
//!
//! Reading order:
//!
//! * [`backend`]: what the loop needs of a log;
//! * [`shard`]: the loop, its options and what it answers;
//! * [`task`]: one record's way from bytes to alerts and state changes, without any I/O of its own;
//! * [`overlay`] and [`cursors`]: what a task remembers between commits;
//! * [`rules`]: the rule set in use, and how the log learns of it;
//! * [`embedded`], [`memory`]: backends;
//! * [`replay`]: the same loop over a history, with state of its own; [`jobs`]: the same on several threads;
//! * [`verify`]: whether stored state can be read and fits together.
//!
//! What holds, whatever the batch sizes, checkpoints, crashes, rebalances and partition count: the same inputs under
//! the same rules give the same alerts per agent and command, each once, in the order of the inputs.

pub mod backend;
pub mod cursors;
pub mod embedded;
pub mod jobs;
pub mod kafka;
pub mod memory;
pub mod overlay;
pub mod replay;
pub mod rules;
pub mod shard;
pub mod task;
pub mod verify;

pub use backend::{Backend, BackendError, CommitUnit};
pub use rules::ActiveRules;
pub use shard::{Options, Summary};
pub use task::Judged;
