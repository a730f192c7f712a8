//! What several tests need.

/// Numbers that follow from a seed, which must not be 0.
pub(crate) struct Random(pub u64);

impl Random {
    /// The next one, below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
