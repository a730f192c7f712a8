//! Sets of bytes.

/// Some of the 256 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub const EMPTY: ByteSet = ByteSet([0; 4]);
    pub const ALL: ByteSet = ByteSet([u64::MAX; 4]);

    pub fn of(fits: impl Fn(u8) -> bool) -> ByteSet {
        let mut set = ByteSet::EMPTY;
        (0..=u8::MAX).filter(|byte| fits(*byte)).for_each(|byte| set.insert(byte));
        set
    }

    pub fn one(byte: u8) -> ByteSet {
        let mut set = ByteSet::EMPTY;
        set.insert(byte);
        set
    }

    pub fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    pub fn union(self, other: ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    pub fn is_disjoint(&self, other: &ByteSet) -> bool {
        self.0.iter().zip(other.0).all(|(one, other)| one & other == 0)
    }

    pub fn complement(self) -> ByteSet {
        ByteSet(self.0.map(|word| !word))
    }

    /// With the other case of each of its letters a-z and A-Z.
    pub fn either_case(mut self) -> ByteSet {
        // All letters are in one word, and the two cases of each are 32 bits apart.
        const UPPER: u64 = ((1 << 26) - 1) << 1;
        let letters = self.0[1] & (UPPER | UPPER << 32);
        self.0[1] |= (letters & UPPER) << 32 | letters >> 32;
        self
    }

    /// Its bytes, ascending.
    pub fn bytes(&self) -> impl Iterator<Item = u8> {
        let mut words = self.0;
        std::iter::from_fn(move || {
            let at = words.iter().position(|word| *word != 0)?;
            let bit = words[at].trailing_zeros();
            words[at] &= words[at] - 1;
            Some((at as u32 * 64 + bit) as u8)
        })
    }

    /// The one character that it stands for, a letter in either case or in one, in lower case.
    pub fn as_ascii(&self) -> Option<char> {
        let mut bytes = self.bytes();
        let first = bytes.next().filter(u8::is_ascii)?;
        let is_one = match bytes.next() {
            None => true,
            Some(second) => {
                first.is_ascii_uppercase() && second == first.to_ascii_lowercase() && bytes.next().is_none()
            }
        };
        is_one.then(|| first.to_ascii_lowercase().into())
    }

    /// Its bytes as ranges, both ends included.
    pub fn ranges(&self) -> Vec<(u8, u8)> {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in self.bytes() {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == byte => *end = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        ranges
    }
}

/// `\d`
pub(super) fn digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// `\w`
pub(super) fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// `\s`
pub(super) fn space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// `\h`
pub(super) fn horizontal_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b' ' | 0xA0)
}

/// `\v`
pub(super) fn vertical_space(byte: u8) -> bool {
    matches!(byte, b'\n'..=b'\r' | 0x85)
}

/// `[:name:]`
pub(super) fn posix_class(name: &[u8]) -> Option<ByteSet> {
    Some(match name {
        b"alpha" => ByteSet::of(|byte| byte.is_ascii_alphabetic()),
        b"lower" => ByteSet::of(|byte| byte.is_ascii_lowercase()),
        b"upper" => ByteSet::of(|byte| byte.is_ascii_uppercase()),
        b"alnum" => ByteSet::of(|byte| byte.is_ascii_alphanumeric()),
        b"ascii" => ByteSet::of(|byte| byte.is_ascii()),
        b"blank" => ByteSet::of(|byte| matches!(byte, b' ' | b'\t')),
        b"cntrl" => ByteSet::of(|byte| byte.is_ascii_control()),
        b"digit" => ByteSet::of(digit),
        b"graph" => ByteSet::of(|byte| byte.is_ascii_graphic()),
        b"print" => ByteSet::of(|byte| byte.is_ascii_graphic() || byte == b' '),
        b"punct" => ByteSet::of(|byte| byte.is_ascii_punctuation()),
        b"space" => ByteSet::of(space),
        b"word" => ByteSet::of(word),
        b"xdigit" => ByteSet::of(|byte| byte.is_ascii_hexdigit()),
        _ => return None,
    })
}

/// `\p{name}`: the bytes as the first 256 characters of Unicode. Case counts. `None` for a name that means nothing.
pub(super) fn unicode_property(name: &str) -> Option<ByteSet> {
    let plain: String = name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect::<String>().to_ascii_lowercase();
    let class = match plain.as_str() {
        "any" => return Some(ByteSet::ALL),
        "l&" | "lc" => r"[\p{Lu}\p{Ll}\p{Lt}]".to_owned(),
        "xan" => r"[\p{L}\p{N}]".to_owned(),
        "xsp" | "xps" => r"[\p{Z}\t-\r\x{85}]".to_owned(),
        "xwd" => r"[\p{L}\p{N}_]".to_owned(),
        "xuc" => r"[$@`\x{A0}-\x{FF}]".to_owned(),
        _ if plain.is_empty() || !plain.bytes().all(|byte| byte.is_ascii_alphanumeric()) => return None,
        _ => format!(r"\p{{{plain}}}"),
    };
    let class = regex::Regex::new(&format!("^{class}$")).ok()?;
    Some(ByteSet::of(|byte| class.is_match(char::from(byte).encode_utf8(&mut [0; 4]))))
}
