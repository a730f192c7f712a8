//! Finds which of many literals a text holds, in any case of A-Z.
//!
//! Of each literal one *gram* is known, so many bytes in a row, chosen so that few other literals have it. At every place
//! of a text a bit tells whether the gram that begins there is one of them. Nearly always it is not, and one place depends
//! on no other, so that a processor looks at several at a time: this is four times as fast as an automaton, which has to
//! know one state before it can look for the next. Only where the bit is set are literals compared, whole.

use std::collections::HashMap;

/// The length in bytes of most grams. Shorter ones are in too many texts.
const GRAM: usize = 4;

/// Of a shorter literal the gram is all there is.
const SHORT_GRAM: usize = 3;

/// So many bits for each literal, so that most bits are not set.
const BITS_PER_LITERAL: usize = 16;

/// The fewest bits, as a power of two.
const BITS_MIN: u32 = 12;

/// The most bits, as a power of two: 128 KiB, which stays in a processor's second cache.
const BITS_MAX: u32 = 20;

/// Literals share one place in the index of grams by twos to this power of bits.
const BITS_PER_PLACE: u32 = 4;

/// Literals to be found.
#[derive(Debug)]
pub(super) struct Literals {
    short: Grams<SHORT_GRAM>,
    long: Grams<GRAM>,
}

/// The literals that are known by grams of `N` bytes.
#[derive(Debug)]
struct Grams<const N: usize> {
    /// How many bits of a gram's hash tell it from others.
    bits_used: u32,
    /// By hash: whether there is such a gram.
    bits: Vec<u64>,
    /// By the first bits of the hash: where in `entries` its grams begin. They end where the next ones begin.
    places: Vec<u32>,
    entries: Vec<Entry>,
}

/// A literal, and where in it the gram is that it is known by.
#[derive(Debug)]
struct Entry {
    gram: u32,
    at: usize,
    /// Its place among all literals.
    number: usize,
    text: Box<[u8]>,
}

impl Literals {
    /// The shortest literals that can be found, in bytes.
    pub const BYTES_MIN: usize = SHORT_GRAM;

    /// Of these literals, none shorter than [`Literals::BYTES_MIN`]. `common` is a text that many texts hold: its grams
    /// tell none apart.
    pub fn new<'l>(literals: impl Iterator<Item = &'l [u8]> + Clone, common: &[u8]) -> Literals {
        let (short, long) = literals.enumerate().partition(|(_, literal)| literal.len() < GRAM);
        Literals { short: Grams::new(short, common), long: Grams::new(long, common) }
    }

    /// Tells the number of each literal that the text holds, as often as it holds it, in no order.
    pub fn find(&self, text: &[u8], mut found: impl FnMut(usize)) {
        self.short.find(text, &mut found);
        self.long.find(text, &mut found);
    }
}

impl<const N: usize> Grams<N> {
    fn new(literals: Vec<(usize, &[u8])>, common: &[u8]) -> Grams<N> {
        let bits = (literals.len() * BITS_PER_LITERAL).next_power_of_two().ilog2();
        let bits_used = bits.clamp(BITS_MIN, BITS_MAX);
        let mut grams =
            Grams { bits_used, bits: vec![0; 1 << (bits_used - 6)], places: Vec::new(), entries: Vec::new() };
        let mut counts = HashMap::<u32, u32>::new();
        literals.iter().flat_map(|(_, literal)| literal.windows(N)).for_each(|bytes| {
            *counts.entry(gram::<N>(bytes)).or_default() += 1;
        });
        counts.extend(common.windows(N).map(|bytes| (gram::<N>(bytes), u32::MAX)));
        for (number, literal) in literals {
            let rarest = (0..).zip(literal.windows(N).map(gram::<N>)).min_by_key(|(_, gram)| counts[gram]);
            let Some((at, gram)) = rarest else { continue };
            let bit = grams.hash(gram);
            grams.bits[bit as usize / 64] |= 1 << (bit % 64);
            grams.entries.push(Entry { gram, at, number, text: literal.into() });
        }
        grams.index();
        grams
    }

    /// Puts the entries in the order of their hashes, and notes where those of each place begin.
    fn index(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by_key(|entry| (self.hash(entry.gram), entry.number));
        let mut entry = 0;
        for place in 0..=1 << (self.bits_used - BITS_PER_PLACE) {
            while entries.get(entry).is_some_and(|entry| self.hash(entry.gram) >> BITS_PER_PLACE < place) {
                entry += 1;
            }
            self.places.push(entry as u32);
        }
        self.entries = entries;
    }

    fn find(&self, text: &[u8], found: &mut impl FnMut(usize)) {
        if self.entries.is_empty() {
            return;
        }
        for (at, bytes) in text.windows(N).enumerate() {
            let gram = gram::<N>(bytes);
            let hash = self.hash(gram);
            if self.bits[hash as usize / 64] & (1 << (hash % 64)) != 0 {
                self.compare(text, at, gram, found);
            }
        }
    }

    /// Compares the literals that are known by a gram which the text has in this place.
    #[inline(never)] // It is rare, and beside it the loop that calls it would run short of registers.
    fn compare(&self, text: &[u8], at: usize, gram: u32, found: &mut impl FnMut(usize)) {
        let place = (self.hash(gram) >> BITS_PER_PLACE) as usize;
        let (first, end) = (self.places[place] as usize, self.places[place + 1] as usize);
        for entry in self.entries[first..end].iter().filter(|entry| entry.gram == gram) {
            let literal = at.checked_sub(entry.at).and_then(|start| text.get(start..start + entry.text.len()));
            if literal.is_some_and(|literal| literal.eq_ignore_ascii_case(&entry.text)) {
                found(entry.number);
            }
        }
    }

    /// The first bits of a product, which depend on all bits of the gram.
    fn hash(&self, gram: u32) -> u32 {
        // 2^32 by the golden ratio.
        gram.wrapping_mul(0x9E37_79B9) >> (32 - self.bits_used)
    }
}

/// `N` bytes, four at most, as a number: the same for a letter in upper and lower case, and for some other bytes.
fn gram<const N: usize>(bytes: &[u8]) -> u32 {
    const LOWER_CASE: u32 = 0x2020_2020;
    let mut four = [0; 4];
    four[..N].copy_from_slice(bytes);
    u32::from_le_bytes(four) | LOWER_CASE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(literals: &[&[u8]], text: &[u8]) -> Vec<usize> {
        let mut numbers = Vec::new();
        Literals::new(literals.iter().copied(), b"ossec: output: '").find(text, |number| numbers.push(number));
        numbers.sort();
        numbers
    }

    /// Every place where one of them is.
    fn found_slowly(literals: &[&[u8]], text: &[u8]) -> Vec<usize> {
        let places =
            |literal: &[u8]| text.windows(literal.len()).filter(|part| part.eq_ignore_ascii_case(literal)).count();
        literals.iter().enumerate().flat_map(|(number, literal)| vec![number; places(literal)]).collect()
    }

    #[test]
    fn literals_are_found_wherever_a_text_holds_them() {
        let literals: [&[u8]; 8] =
            [b"abc", b"abcd", b"ABCD", b"bcdefgh", b"ssec: out", b"[ab", b"{ab}", b"\xFF\xFE\xFD"];
        for text in
            [&b"xabcdefghabc"[..], b"", b"ab", b"aBC", b"{Ab}", b"[ab}", b"ossec: output: 'x'", b"\xff\xfe\xfd\xdf"]
        {
            assert_eq!(found(&literals, text), found_slowly(&literals, text), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_is_found_is_what_a_slow_search_finds() {
        let mut random = 7_u64;
        let mut below = |end: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % end
        };
        let mut hits = 0;
        for _ in 0..500 {
            // A few letters, so that much is found; with bytes that differ from letters in the bit of the case alone.
            let alphabet = &b"aAbB\x01!{[\xE1\xC1"[..2 + below(9)];
            let mut some = |from: usize, to: usize| -> Vec<u8> {
                (0..from + below(to - from)).map(|_| alphabet[below(alphabet.len())]).collect()
            };
            let literals: Vec<_> = (0..40).map(|_| some(3, 12)).collect();
            let literals: Vec<_> = literals.iter().map(Vec::as_slice).collect();
            let text = some(0, 300);
            let expected = found_slowly(&literals, &text);
            assert_eq!(found(&literals, &text), expected, "{literals:?} in {text:?}");
            hits += expected.len();
        }
        assert!(hits > 10_000, "{hits}");
    }

    #[test]
    fn a_literal_is_known_by_what_others_do_not_have() {
        let literals: [&[u8]; 4] =
            [b"the output of one", b"the output of two", b"of twos", b"ossec: output: 'df -P': "];
        let grams = Literals::new(literals.into_iter(), b"ossec: output: '").long;
        let mut known_by: Vec<_> = grams
            .entries
            .iter()
            .map(|entry| (entry.number, &literals[entry.number][entry.at..entry.at + GRAM]))
            .collect();
        known_by.sort();
        let expected: [(usize, &[u8]); 4] = [(0, b"of o"), (1, b"the "), (2, b"twos"), (3, b": 'd")];
        assert_eq!(known_by, expected);
    }
}
