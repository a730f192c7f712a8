//! A record as both logs carry it: key, headers, value.

/// A record to publish, or read back. `value: None` is a tombstone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Decides the partition; records of one key stay in order.
    pub key: Option<Vec<u8>>,
    /// The payload, byte for byte.
    pub value: Option<Vec<u8>>,
    /// Names and values, in order.
    pub headers: Headers,
}

/// Record headers in their order. A name may repeat; readers take the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, Vec<u8>)>);

impl Headers {
    /// The last value under this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    /// The last value under this name, when it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Appends a header.
    pub fn push(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Names and values together, in bytes.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// Why a record is none of ours, or a damaged one. Such a record goes to the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A header that must be there is not.
    #[error("header `{0}` is missing")]
    MissingHeader(&'static str),
    /// A header's value can't be read.
    #[error("header `{name}` is `{value}`: expected {expected}")]
    BadHeader {
        /// The header's name.
        name: &'static str,
        /// Its value, as far as it is text.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// `ce_type` names a kind of record that does not belong into this topic, or that this version does not know.
    #[error("record type `{0}` is not known here")]
    UnknownType(String),
    /// The record's key can't be read, or does not fit its headers.
    #[error("the record's key is wrong: {0}")]
    Key(#[from] crate::KeyError),
    /// The record's key is not the one that its headers or its value name.
    #[error("the record's key is `{key}`, but its content belongs to `{content}`")]
    KeyMismatch {
        /// The key, as far as it is text.
        key: String,
        /// The key that the content asks for.
        content: String,
    },
    /// The value was written by a later version of Tripline.
    #[error("{what} has format version {version}; this program reads up to {supported}: use a newer one")]
    NewerVersion {
        /// What was read.
        what: &'static str,
        /// Its version.
        version: u32,
        /// The newest version this program knows.
        supported: u32,
    },
    /// The record has no value.
    #[error("the record has no value")]
    NoValue,
    /// The JSON in the value can't be read.
    #[error("the record's value is not the expected JSON: {0}")]
    BadJson(String),
}
