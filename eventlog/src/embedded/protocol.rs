//! What the owner of a data directory and other processes say to each other over its socket.
//!
//! A frame is two lengths (4 bytes each, big endian), a JSON header and a body of raw bytes. The client asks, the owner
//! answers; the first question is [`Request::Hello`] with the version of the protocol. Another version is refused, so
//! anything here may change with [`PROTOCOL`].

use std::io::{self, Read, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tripline_schemas::Record;

use super::{codec, store::StateEntry, verify::Check};
use crate::{LogError, Stored, topics::TopicSpec};

/// The version of this protocol.
pub(super) const PROTOCOL: u32 = 1;

/// A header is at most so many bytes.
const HEADER_BYTES_MAX: u32 = 4 << 20;
/// A body is at most so many bytes: the largest record there can be, and more.
pub(super) const BODY_BYTES_MAX: u32 = 256 << 20;
/// The body of a question that appends nothing: a state key at most, and a command in it has up to 64 KiB.
pub(super) const KEY_BYTES_MAX: u32 = 256 << 10;

/// What a client asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(super) enum Request {
    /// Comes first.
    Hello {
        protocol: u32,
    },
    Topics,
    Bounds {
        topic: String,
        partition: u32,
    },
    OffsetAt {
        topic: String,
        partition: u32,
        time: Timestamp,
    },
    /// The owner may wait less than asked.
    Read {
        topic: String,
        positions: Vec<(u32, u64)>,
        max: usize,
        wait_ms: u64,
    },
    /// Body: records.
    Append {
        topic: String,
    },
    /// Body: the key.
    StateGet {
        partition: u32,
    },
    StateIter {
        partition: u32,
    },
    Position {
        group: String,
        partition: u32,
    },
    /// Takes as long as it takes to read everything.
    Verify,
    /// Takes as long as writing what is in memory does, and copying on another file system.
    Backup {
        to: PathBuf,
    },
}

/// What the owner says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    Hello {
        protocol: u32,
        pid: u32,
    },
    Topics {
        topics: Vec<TopicSpec>,
    },
    Bounds {
        first: u64,
        end: u64,
    },
    Offset {
        offset: u64,
    },
    /// Body: stored records. Where to read next.
    Records {
        positions: Vec<(u32, u64)>,
    },
    Placed {
        placed: Vec<(u32, u64)>,
    },
    /// Body: the value, when there is one.
    Value {
        found: bool,
    },
    /// Body: keys and values. `more` says that another such answer follows.
    State {
        more: bool,
    },
    Position {
        offset: Option<u64>,
    },
    Verified {
        check: Check,
    },
    Done,
    Error {
        error: WireError,
    },
}

/// [`LogError`] on its way to another process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub(super) enum WireError {
    NoTopic { topic: String },
    OutOfRange { topic: String, partition: u32, offset: u64, first: u64, end: u64 },
    TooLarge { topic: String, size: usize, max: usize },
    Unavailable { what: String, cause: Option<String> },
    Failed { what: String, cause: Option<String> },
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let mut chain = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        chain.push_str(": ");
        chain.push_str(&error.to_string());
        next = error.source();
    }
    chain
}

impl From<&LogError> for WireError {
    fn from(error: &LogError) -> WireError {
        let cause = |source: &Option<Box<dyn std::error::Error + Send + Sync>>| source.as_deref().map(chain);
        match error {
            LogError::NoTopic { topic } => WireError::NoTopic { topic: topic.clone() },
            &LogError::OutOfRange { ref topic, partition, offset, first, end } => {
                WireError::OutOfRange { topic: topic.clone(), partition, offset, first, end }
            }
            &LogError::TooLarge { ref topic, size, max } => WireError::TooLarge { topic: topic.clone(), size, max },
            LogError::Unavailable { what, source } => {
                WireError::Unavailable { what: what.clone(), cause: cause(source) }
            }
            LogError::Failed { what, source } => WireError::Failed { what: what.clone(), cause: cause(source) },
        }
    }
}

impl From<WireError> for LogError {
    fn from(error: WireError) -> LogError {
        let source = |cause: Option<String>| cause.map(Into::into);
        match error {
            WireError::NoTopic { topic } => LogError::NoTopic { topic },
            WireError::OutOfRange { topic, partition, offset, first, end } => {
                LogError::OutOfRange { topic, partition, offset, first, end }
            }
            WireError::TooLarge { topic, size, max } => LogError::TooLarge { topic, size, max },
            WireError::Unavailable { what, cause } => LogError::Unavailable { what, source: source(cause) },
            WireError::Failed { what, cause } => LogError::Failed { what, source: source(cause) },
        }
    }
}

/// Sends a frame.
pub(super) fn send(to: &mut impl Write, header: &impl Serialize, body: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let length = |bytes: &[u8], max: u32| match u32::try_from(bytes.len()) {
        Ok(length) if length <= max => Ok(length.to_be_bytes()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "too much for one frame of the local socket")),
    };
    let mut frame = Vec::with_capacity(8 + header.len() + body.len());
    frame.extend_from_slice(&length(&header, HEADER_BYTES_MAX)?);
    frame.extend_from_slice(&length(body, BODY_BYTES_MAX)?);
    frame.extend_from_slice(&header);
    frame.extend_from_slice(body);
    to.write_all(&frame)
}

/// Receives a frame; `None` when the other side has closed the connection between two.
pub(super) fn receive<H: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<(H, Vec<u8>)>> {
    receive_within(from, BODY_BYTES_MAX)
}

/// The same, refusing a body of more bytes than this.
pub(super) fn receive_within<H: DeserializeOwned>(
    from: &mut impl Read,
    body_bytes_max: u32,
) -> io::Result<Option<(H, Vec<u8>)>> {
    let mut lengths = [0; 8];
    let mut have = 0;
    while have < lengths.len() {
        match from.read(&mut lengths[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [h0, h1, h2, h3, b0, b1, b2, b3] = lengths;
    let header = take(from, u32::from_be_bytes([h0, h1, h2, h3]), HEADER_BYTES_MAX)?;
    let body = take(from, u32::from_be_bytes([b0, b1, b2, b3]), body_bytes_max)?;
    Ok(Some((serde_json::from_slice(&header)?, body)))
}

/// Memory grows with what really comes, not with what is announced.
fn take(from: &mut impl Read, length: u32, max: u32) -> io::Result<Vec<u8>> {
    if length > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame larger than any of the local socket"));
    }
    let mut bytes = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Records to append, as a body.
pub(super) fn records_to_body(records: &[Record]) -> Vec<u8> {
    let (mut body, mut bytes) = (Vec::new(), Vec::new());
    for record in records {
        bytes.clear();
        codec::encode(record, &mut bytes);
        codec::put_bytes(&mut body, &bytes);
    }
    body
}

pub(super) fn records_from_body(mut body: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        records.push(codec::decode(codec::take_bytes(&mut body)?)?);
    }
    Some(records)
}

/// Records as read, as a body: partition (4), offset (8), append time in milliseconds (8), the record.
pub(super) fn stored_to_body(records: &[Stored]) -> Vec<u8> {
    let (mut body, mut bytes) = (Vec::new(), Vec::new());
    for Stored { partition, offset, append_time, record } in records {
        body.extend_from_slice(&partition.to_be_bytes());
        body.extend_from_slice(&offset.to_be_bytes());
        body.extend_from_slice(&append_time.as_millisecond().to_be_bytes());
        bytes.clear();
        codec::encode(record, &mut bytes);
        codec::put_bytes(&mut body, &bytes);
    }
    body
}

pub(super) fn stored_from_body(mut body: &[u8]) -> Option<Vec<Stored>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let (partition, rest) = body.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (time_ms, rest) = rest.split_first_chunk()?;
        body = rest;
        records.push(Stored {
            partition: u32::from_be_bytes(*partition),
            offset: u64::from_be_bytes(*offset),
            append_time: Timestamp::from_millisecond(i64::from_be_bytes(*time_ms)).ok()?,
            record: codec::decode(codec::take_bytes(&mut body)?)?,
        });
    }
    Some(records)
}

/// State, as a body.
pub(super) fn entry_to_body(key: &[u8], value: &[u8], body: &mut Vec<u8>) {
    codec::put_bytes(body, key);
    codec::put_bytes(body, value);
}

pub(super) fn entries_from_body(mut body: &[u8]) -> Option<Vec<StateEntry>> {
    let mut entries = Vec::new();
    while !body.is_empty() {
        let key = codec::take_bytes(&mut body)?.to_vec();
        entries.push((key, codec::take_bytes(&mut body)?.to_vec()));
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_received_up_to_its_bound_and_none_beyond() {
        let frame = |body: &[u8]| {
            let mut sent = Vec::new();
            send(&mut sent, &Request::StateGet { partition: 0 }, body).unwrap();
            sent
        };
        let received = |sent: &[u8]| receive_within::<Request>(&mut &sent[..], 4);
        let (_, body) = received(&frame(b"1234")).unwrap().unwrap();
        assert_eq!(body, b"1234");
        assert_eq!(received(&frame(b"12345")).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(received(&[]).unwrap().is_none());
        assert_eq!(received(&frame(b"1234")[..20]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
