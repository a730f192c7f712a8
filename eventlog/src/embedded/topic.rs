//! A topic as the log knows it while it is open.

use std::sync::{
    RwLock,
    atomic::{AtomicU64, Ordering},
};

use super::layout;
use crate::{Bounds, topics::TopicSpec};

/// A topic: its settings, and what may be read of each partition.
pub(super) struct Topic {
    pub(super) name: String,
    /// The name of its column family.
    pub(super) family: String,
    spec: RwLock<TopicSpec>,
    partitions: Vec<Visible>,
}

/// The offsets of a partition that readers see. `end` follows the synced write-ahead log, so that no reader ever sees a
/// record that a power failure could take back.
struct Visible {
    first: AtomicU64,
    end: AtomicU64,
}

impl Topic {
    pub(super) fn new(spec: TopicSpec, bounds: Vec<Bounds>) -> Topic {
        assert_eq!(spec.partitions as usize, bounds.len());
        let visible = |b: Bounds| Visible { first: AtomicU64::new(b.first), end: AtomicU64::new(b.end) };
        Topic {
            name: spec.name.clone(),
            family: layout::topic_cf(&spec.name),
            partitions: bounds.into_iter().map(visible).collect(),
            spec: RwLock::new(spec),
        }
    }

    pub(super) fn spec(&self) -> TopicSpec {
        self.spec.read().expect("not poisoned: nothing panics while it is held").clone()
    }

    /// Takes over settings other than the partition count.
    pub(super) fn set_spec(&self, spec: TopicSpec) {
        assert_eq!(spec.partitions, self.partitions());
        *self.spec.write().expect("not poisoned: nothing panics while it is held") = spec;
    }

    pub(super) fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    /// What readers see of a partition, which must exist.
    pub(super) fn bounds(&self, partition: u32) -> Bounds {
        let visible = &self.partitions[partition as usize];
        // `first` never passes `end`: read in this order, neither does what is returned here.
        let first = visible.first.load(Ordering::Acquire);
        Bounds { first, end: visible.end.load(Ordering::Acquire) }
    }

    /// Lets readers see records up to `end`.
    pub(super) fn show(&self, partition: u32, end: u64) {
        self.partitions[partition as usize].end.fetch_max(end, Ordering::Release);
    }

    /// Lets readers see no record before `first`.
    pub(super) fn hide(&self, partition: u32, first: u64) {
        self.partitions[partition as usize].first.fetch_max(first, Ordering::Release);
    }
}
