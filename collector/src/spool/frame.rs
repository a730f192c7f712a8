//! The frames that segments are made of: length, kind, payload, check.
//!
//! ```text
//! length of the payload   4 bytes, little endian
//! the same, inverted      4 bytes: a damaged length is not taken for a frame that is cut off
//! kind                    1 byte
//! payload
//! check                   8 bytes: the beginning of the BLAKE3 hash of segment number, offset, kind and payload, keyed with
//!                         a secret of the spool ([`Seal`])
//! ```
//!
//! Since its place is part of the check, a frame is valid only where it was written. Since the check is keyed, no output of
//! a hostile command holds something that passes for a frame; so after damage the next good one can be searched for.

use serde::{Deserialize, Serialize};
use tripline_schemas::event::Gap;
use tripline_schemas::{Headers, Record};
use uuid::Uuid;

use super::{Intent, Ticket};

/// Everything of a frame but its payload, in bytes.
pub(super) const OVERHEAD: usize = HEADER + 1 + CHECK;
/// Length and inverted length, in bytes.
pub(super) const HEADER: usize = 4 + 4;
/// The check, in bytes.
const CHECK: usize = 8;
/// No frame with the end of a run is shorter, in bytes: it holds at least ticket, number, and the tags of a record.
pub(super) const END_BYTES_MIN: u64 = OVERHEAD as u64 + 8 + 8 + 6;

/// Makes and proves the checks of a segment's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// By everybody: segments of format 1. Damage in them reaches to their end.
    Plain,
    /// By whoever knows the spool's secret.
    Keyed([u8; 32]),
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The first frame of a segment.
    Start(Box<Snapshot>),
    /// A command is about to start.
    Begin { ticket: Ticket, intent: Intent },
    /// A run ended; this is its event.
    End { ticket: Ticket, sequence: u64, record: Record },
    /// All numbers up to here were handed out for publication: the log may have them.
    Offered { through: u64 },
    /// The log has acknowledged all numbers up to here.
    Published { through: u64 },
}

/// Everything that must outlive the segments before this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// The format's version.
    pub(super) format: u32,
    /// The spool that this segment belongs to.
    pub(super) spool: Uuid,
    /// This segment's number.
    pub(super) segment: u64,
    /// The number of the next run that ends.
    pub(super) next_sequence: u64,
    /// The ticket of the next run that starts.
    pub(super) next_ticket: Ticket,
    /// All numbers up to here are acknowledged.
    pub(super) published: u64,
    /// All numbers up to here were handed out for publication.
    pub(super) offered: u64,
    /// Intents without an end.
    pub(super) open: Vec<(Ticket, Intent)>,
    /// Runs that were dropped, and not yet told.
    pub(super) gaps: Vec<Gap>,
    /// The segments before this one that still count; others may be removed.
    pub(super) segments: Vec<u64>,
    /// Numbers, first and last, that no frame has and nothing more is to be told of: their runs were lost by damage and are
    /// in `gaps` or were told already, or they were left out since damage may have used them.
    #[serde(default)]
    pub(super) settled: Vec<(u64, u64)>,
}

impl Snapshot {
    /// The numbers, first and last, that are missing at the end of a segment that this one still counts, the last one before it
    /// that is there: it ends before the run with the number `next`, or, where it `has_numbers` not, at this one's the earliest.
    pub(super) fn missing_of(&self, before: u64, has_numbers: bool, next: u64) -> Option<(u64, u64)> {
        let first = if has_numbers { next } else { next.max(self.first_of(before)) };
        // Where segments stood between the two, they were dropped.
        let end = if before + 1 == self.segment { self.next_sequence } else { self.dropped_after(before).min()?.0 };
        (self.segments.contains(&before) && first < end).then(|| (first, end - 1))
    }

    /// With which number this segment began at the earliest: those before are published, or were dropped with their segments.
    pub(super) fn first_of(&self, before: u64) -> u64 {
        let after: Vec<(u64, u64)> = self.dropped_after(before).collect();
        let dropped = self.dropped().filter(|gap| !after.contains(gap)).map(|(_, last)| last).max();
        self.published.max(dropped.unwrap_or(0)) + 1
    }

    /// First and last numbers of what was dropped behind a segment: that is kept as long as the log may have its runs.
    fn dropped_after(&self, before: u64) -> impl Iterator<Item = (u64, u64)> {
        let follows = before + 1 == self.segment;
        self.dropped().filter(move |(_, last)| !follows && *last > self.offered)
    }

    /// First and last numbers of runs that were dropped with their segments, rather than lost by damage.
    fn dropped(&self) -> impl Iterator<Item = (u64, u64)> {
        self.gaps.iter().filter(|gap| !self.is_settled(gap.last)).map(|gap| (gap.first, gap.last))
    }

    /// How many of these numbers nothing was told of yet: they are neither published nor settled.
    pub(super) fn not_told(&self, (first, last): (u64, u64)) -> u64 {
        if self.is_settled(last) { 0 } else { (last + 1).saturating_sub(first.max(self.published + 1)) }
    }

    fn is_settled(&self, number: u64) -> bool {
        self.settled.iter().any(|(from, to)| (*from..=*to).contains(&number))
    }
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// They end before the frame does: what a crash leaves.
    Torn,
    /// They are damaged.
    Damaged,
}

const START: u8 = 1;
const BEGIN: u8 = 2;
const END: u8 = 3;
const PUBLISHED: u8 = 4;
const OFFERED: u8 = 5;

/// The frame of an entry, at this place.
pub(super) fn encode(entry: &Entry, seal: Seal, segment: u64, offset: u64) -> Vec<u8> {
    let mut frame = vec![0; HEADER + 1];
    frame[HEADER] = match entry {
        Entry::Start(snapshot) => {
            put_json(&mut frame, snapshot);
            START
        }
        Entry::Begin { ticket, intent } => {
            frame.extend_from_slice(&ticket.to_le_bytes());
            put_json(&mut frame, intent);
            BEGIN
        }
        Entry::End { ticket, sequence, record } => {
            frame.extend_from_slice(&ticket.to_le_bytes());
            frame.extend_from_slice(&sequence.to_le_bytes());
            put_record(&mut frame, record);
            END
        }
        Entry::Offered { through } => {
            frame.extend_from_slice(&through.to_le_bytes());
            OFFERED
        }
        Entry::Published { through } => {
            frame.extend_from_slice(&through.to_le_bytes());
            PUBLISHED
        }
    };
    let len = u32::try_from(frame.len() - HEADER - 1).expect("outputs are limited far below 4 GiB");
    frame[..4].copy_from_slice(&len.to_le_bytes());
    frame[4..HEADER].copy_from_slice(&(!len).to_le_bytes());
    let check = check(seal, segment, offset, &frame[HEADER..]);
    frame.extend_from_slice(&check);
    frame
}

/// The length of the whole frame with this header, in bytes.
pub(super) fn frame_len(header: [u8; HEADER]) -> Result<usize, Bad> {
    let (len, inverted) = header.split_at(4);
    let len = u32::from_le_bytes(len.try_into().expect("four bytes"));
    let inverted = u32::from_le_bytes(inverted.try_into().expect("four bytes"));
    if len == !inverted { Ok(OVERHEAD + len as usize) } else { Err(Bad::Damaged) }
}

/// Reads the frame at the beginning of `bytes`, which lie at this place; gives its length too.
pub(super) fn decode(bytes: &[u8], seal: Seal, segment: u64, offset: u64) -> Result<(Entry, usize), Bad> {
    let header = bytes.first_chunk::<HEADER>().ok_or(Bad::Torn)?;
    let len = frame_len(*header)?;
    let body_and_check = bytes.get(HEADER..len).ok_or(Bad::Torn)?;
    let (body, stored) = body_and_check.split_at(len - HEADER - CHECK);
    if check(seal, segment, offset, body) != stored {
        return Err(Bad::Damaged);
    }
    let entry = decode_payload(body[0], &body[1..]).ok_or(Bad::Damaged)?;
    Ok((entry, len))
}

fn decode_payload(kind: u8, payload: &[u8]) -> Option<Entry> {
    let mut payload = payload;
    let entry = match kind {
        START => Entry::Start(serde_json::from_slice(payload).ok()?),
        BEGIN => Entry::Begin { ticket: take_u64(&mut payload)?, intent: serde_json::from_slice(payload).ok()? },
        END => Entry::End {
            ticket: take_u64(&mut payload)?,
            sequence: take_u64(&mut payload)?,
            record: take_record(&mut payload)?,
        },
        PUBLISHED => Entry::Published { through: take_u64(&mut payload)? },
        OFFERED => Entry::Offered { through: take_u64(&mut payload)? },
        _ => return None,
    };
    Some(entry)
}

fn check(seal: Seal, segment: u64, offset: u64, body: &[u8]) -> [u8; CHECK] {
    let mut hasher = match seal {
        Seal::Plain => blake3::Hasher::new(),
        Seal::Keyed(key) => blake3::Hasher::new_keyed(&key),
    };
    hasher.update(&segment.to_le_bytes()).update(&offset.to_le_bytes()).update(body);
    let mut check = [0; CHECK];
    hasher.finalize_xof().fill(&mut check);
    check
}

fn put_json(frame: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(frame, value).expect("plain structs of texts and numbers always become JSON");
}

fn put_bytes(frame: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("outputs are limited far below 4 GiB");
    frame.extend_from_slice(&len.to_le_bytes());
    frame.extend_from_slice(bytes);
}

fn put_optional(frame: &mut Vec<u8>, bytes: Option<&Vec<u8>>) {
    frame.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(frame, bytes);
    }
}

fn put_record(frame: &mut Vec<u8>, record: &Record) {
    put_optional(frame, record.key.as_ref());
    put_optional(frame, record.value.as_ref());
    let count = u32::try_from(record.headers.0.len()).expect("a record has a handful of headers");
    frame.extend_from_slice(&count.to_le_bytes());
    for (name, value) in &record.headers.0 {
        put_bytes(frame, name.as_bytes());
        put_bytes(frame, value);
    }
}

fn take_u32(payload: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = payload.split_first_chunk::<4>()?;
    *payload = rest;
    Some(u32::from_le_bytes(*bytes))
}

fn take_u64(payload: &mut &[u8]) -> Option<u64> {
    let (bytes, rest) = payload.split_first_chunk::<8>()?;
    *payload = rest;
    Some(u64::from_le_bytes(*bytes))
}

fn take_bytes(payload: &mut &[u8]) -> Option<Vec<u8>> {
    let len = take_u32(payload)? as usize;
    let (bytes, rest) = payload.split_at_checked(len)?;
    *payload = rest;
    Some(bytes.to_vec())
}

fn take_optional(payload: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let (tag, rest) = payload.split_first()?;
    *payload = rest;
    match tag {
        0 => Some(None),
        1 => take_bytes(payload).map(Some),
        _ => None,
    }
}

fn take_record(payload: &mut &[u8]) -> Option<Record> {
    let key = take_optional(payload)?;
    let value = take_optional(payload)?;
    let mut headers = Headers::default();
    for _ in 0..take_u32(payload)? {
        let name = String::from_utf8(take_bytes(payload)?).ok()?;
        headers.0.push((name, take_bytes(payload)?));
    }
    payload.is_empty().then_some(Record { key, value, headers })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tripline_schemas::{Format, Key};

    use super::*;

    const SEAL: Seal = Seal::Keyed([7; 32]);

    fn entries() -> Vec<Entry> {
        let intent = Intent {
            key: Key::new("web-1", "df -P").unwrap(),
            address: None,
            command_line: "df -P".into(),
            alias: None,
            format: Format::Command,
            started: Timestamp::UNIX_EPOCH,
            collector: "1".into(),
        };
        let headers = Headers(vec![("ce_id".into(), b"x/1".to_vec()), ("empty".into(), vec![])]);
        vec![
            Entry::Begin { ticket: 7, intent },
            Entry::End {
                ticket: 7,
                sequence: 3,
                record: Record { key: Some(b"a\0b".to_vec()), value: Some(vec![0, 255, 10]), headers },
            },
            Entry::End { ticket: 8, sequence: 4, record: Record::default() },
            Entry::Published { through: 9 },
            Entry::Offered { through: 10 },
        ]
    }

    #[test]
    fn an_entry_comes_back_as_it_was_written() {
        for entry in entries() {
            let frame = encode(&entry, SEAL, 2, 100);
            assert_eq!(decode(&frame, SEAL, 2, 100), Ok((entry.clone(), frame.len())));
            if matches!(entry, Entry::End { .. }) {
                assert!(frame.len() as u64 >= END_BYTES_MIN);
            }
        }
    }

    #[test]
    fn a_frame_that_is_cut_off_anywhere_is_torn() {
        for entry in entries() {
            let frame = encode(&entry, SEAL, 2, 100);
            for len in 0..frame.len() {
                assert_eq!(decode(&frame[..len], SEAL, 2, 100), Err(Bad::Torn));
            }
        }
    }

    #[test]
    fn a_flipped_bit_or_another_place_is_never_taken_for_a_frame() {
        for entry in entries() {
            let frame = encode(&entry, SEAL, 2, 100);
            assert!(decode(&frame, SEAL, 3, 100).is_err());
            assert!(decode(&frame, SEAL, 2, 101).is_err());
            assert!(decode(&frame, Seal::Keyed([8; 32]), 2, 100).is_err());
            assert!(decode(&frame, Seal::Plain, 2, 100).is_err());
            for bit in 0..frame.len() * 8 {
                let mut damaged = frame.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&damaged, SEAL, 2, 100), Err(Bad::Damaged), "bit {bit}");
            }
        }
    }
}
