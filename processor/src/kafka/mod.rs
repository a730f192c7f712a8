//! The backend on Kafka: alerts, state changes and input positions are one Kafka transaction.
//!
//! ```text
//! poll     group member ──records──► loop          assigned: restore from the changelog, then hand out records
//! commit   begin → send alerts, changelog → drain → offsets with the group's generation → commit → local store
//! recover  new producer if needed → committed offsets → changelog tail → assigned again
//! ```
//!
//! The changelog topic holds the state; the RocksDB directory of a partition is a cache of it that is written only after
//! the transaction has committed. So the cache may lag behind the changelog and is then caught up, but is never ahead.
//!
//! What fences a process that lost its partitions without knowing is the generation of its group membership, which every
//! transaction carries ([`member::Lease`]), and not the producer's epoch: epochs follow the order in which producers
//! start, generations follow ownership. It works because every transaction carries the position of every partition it
//! writes for, and because the generation is read anew each time and checked.
//!
//! Reading order: [`backend`], then [`member`] (input), [`transaction`] (output), [`store`] and [`restore`] (state).

mod backend;
mod errors;
mod member;
mod node;
mod restore;
mod settings;
mod store;
mod transaction;

pub use backend::KafkaBackend;
pub use settings::{KafkaBackendSettings, Step};
