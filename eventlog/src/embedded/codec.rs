//! A record as bytes, in the data files and on the local socket.
//!
//! ```text
//! flags (1): 1 has a key, 2 has a value
//! [length, key] headers' count, each [length, name] [length, value]
//! value: the rest
//! ```
//!
//! Lengths and counts are LEB128, at most five bytes.

use tripline_schemas::{Headers, Record};

const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;

/// Appends the record's bytes.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    let key = record.key.as_deref().unwrap_or_default();
    let value = record.value.as_deref().unwrap_or_default();
    out.reserve(16 + key.len() + record.headers.size() + 10 * record.headers.0.len() + value.len());
    let has_key = if record.key.is_some() { HAS_KEY } else { 0 };
    let has_value = if record.value.is_some() { HAS_VALUE } else { 0 };
    out.push(has_key | has_value);
    if record.key.is_some() {
        put_bytes(out, key);
    }
    put_length(out, record.headers.0.len());
    for (name, value) in &record.headers.0 {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value);
    }
    out.extend_from_slice(value);
}

/// Reads a record back; `None` when these are not the bytes of one.
pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    let (&flags, mut rest) = bytes.split_first()?;
    let key = if flags & HAS_KEY != 0 { Some(take_bytes(&mut rest)?.to_vec()) } else { None };
    let count = take_length(&mut rest)?;
    let mut headers = Vec::with_capacity(count.min(rest.len()));
    for _ in 0..count {
        let name = String::from_utf8(take_bytes(&mut rest)?.to_vec()).ok()?;
        headers.push((name, take_bytes(&mut rest)?.to_vec()));
    }
    let value = match flags & HAS_VALUE {
        0 if rest.is_empty() => None,
        0 => return None,
        _ => Some(rest.to_vec()),
    };
    Some(Record { key, value, headers: Headers(headers) })
}

/// A record's size as topics bound it: key, headers and value together.
pub(super) fn size(record: &Record) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    length(&record.key) + length(&record.value) + record.headers.size()
}

/// Appends a length and the bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Takes bytes that [`put_bytes`] appended off the front.
pub(super) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_length(rest)?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut left = u32::try_from(length).expect("topics bound a record far below 4 GiB");
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0u64;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        length |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return usize::try_from(u32::try_from(length).ok()?).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Record> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
        let headers = proptest::collection::vec((".{0,20}", bytes()), 0..5);
        (proptest::option::of(bytes()), proptest::option::of(bytes()), headers)
            .prop_map(|(key, value, headers)| Record { key, value, headers: Headers(headers) })
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(record in records()) {
            let mut bytes = Vec::new();
            encode(&record, &mut bytes);
            prop_assert_eq!(decode(&bytes), Some(record));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
