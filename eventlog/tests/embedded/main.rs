//! The embedded log, through its public interface: one file per subject.

mod append;
mod commit;
mod compaction;
mod crash;
mod damage;
mod local;
mod open;
mod retention;
mod support;
