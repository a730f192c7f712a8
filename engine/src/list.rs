//! Text lists: keys with values, as the `list` element of rules looks them up.

use std::collections::HashMap;

/// A list of `key:value` lines. Bytes are bytes, and keys are compared as they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TextList {
    /// Only looked up, so that their order never shows.
    entries: HashMap<Vec<u8>, Vec<u8>>,
}

impl TextList {
    /// Adds an entry; the first one of a key stays. Whether it was added.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> bool {
        if self.entries.contains_key(key) {
            return false;
        }
        self.entries.insert(key.to_vec(), value.to_vec());
        true
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(Vec::as_slice)
    }

    /// The value of an address, or of its first part up to a dot that is a key: `10.1.2.3`, `10.1.2.`, `10.1.`, `10.`.
    pub fn get_address(&self, address: &[u8]) -> Option<&[u8]> {
        let parts = memchr::memrchr_iter(b'.', address).map(|dot| &address[..=dot]);
        std::iter::once(address).chain(parts).find_map(|part| self.get(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_by_itself_or_by_a_part_that_ends_with_a_dot() {
        let mut list = TextList::default();
        for (key, value) in [("10.1.", "internal"), ("10.2.3.4", "bad host"), ("10.2", "no part"), ("10.1.2.3", "one")]
        {
            assert!(list.add(key.as_bytes(), value.as_bytes()));
        }
        assert!(!list.add(b"10.1.", b"again"));
        let found =
            |address: &str| list.get_address(address.as_bytes()).map(|value| std::str::from_utf8(value).expect("text"));
        assert_eq!(found("10.1.2.3"), Some("one"));
        assert_eq!(found("10.1.2.4"), Some("internal"));
        assert_eq!(found("10.2.3.4"), Some("bad host"));
        assert_eq!(found("10.2.3.5"), None);
        assert_eq!(found("10.11.2.3"), None);
        assert_eq!(found(""), None);
        assert_eq!(list.get(b"10.1.2.4"), None);
    }
}
