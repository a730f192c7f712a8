//! How much memory a cache may take for the outputs themselves, and who has some of it.

use std::collections::BTreeMap;

use tripline_schemas::Key;

/// A longer output is not kept: to compare it is much faster than to work out its digest, but few would fill the room.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Memory for so many bytes of outputs, one for each agent and command.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: usize,
    /// Never more than `bytes_max`.
    bytes: usize,
    /// Whose outputs are kept, by the ticket that each got.
    tickets: BTreeMap<Ticket, Key>,
    next: u64,
}

/// The right to keep an output of this size. The lowest one is looked at first when there is no room left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    number: u64,
    size: usize,
}

impl Room {
    pub fn of(bytes_max: usize) -> Room {
        Room { bytes_max, bytes: 0, tickets: BTreeMap::new(), next: 0 }
    }

    /// Whether an output of this size is short enough, however much room there is now.
    pub fn may_hold(&self, size: usize) -> bool {
        size <= OUTPUT_BYTES_MAX.min(self.bytes_max)
    }

    /// Room for an output of this size, if there is.
    pub fn take(&mut self, key: &Key, size: usize) -> Option<Ticket> {
        if !self.may_hold(size) || self.bytes + size > self.bytes_max {
            return None;
        }
        let ticket = Ticket { number: self.next, size };
        self.next += 1;
        self.bytes += size;
        self.tickets.insert(ticket, key.clone());
        Some(ticket)
    }

    pub fn give_back(&mut self, ticket: Ticket) {
        if self.tickets.remove(&ticket).is_some() {
            self.bytes -= ticket.size;
        }
    }

    /// Who has had room for the longest time.
    pub fn first(&self) -> Option<&Key> {
        self.tickets.values().next()
    }

    /// Nobody has any.
    pub fn clear(&mut self) {
        self.tickets.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
impl Room {
    pub fn owner(&self, ticket: Ticket) -> Option<&Key> {
        self.tickets.get(&ticket)
    }

    /// How much is taken, by how many, and how much there is.
    pub fn taken(&self) -> (usize, usize, usize) {
        (self.bytes, self.tickets.len(), self.bytes_max)
    }
}
