//! Randomness that a seed repeats.

/// Small, seeded, the same everywhere (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// A number from 0 up to, and without, `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Once in so many times.
    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// The seeds to try: `TRIPLINE_TEST_SEED` alone, or the first `few`, or as many as `TRIPLINE_SEEDS` says.
pub fn seeds(few: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse().expect("a number"));
    match number("TRIPLINE_TEST_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("TRIPLINE_SEEDS").unwrap_or(few)).collect(),
    }
}
