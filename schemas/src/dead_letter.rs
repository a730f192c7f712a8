//! A record that could not be decoded: the original, and why.
//!
//! Key, value and headers of the original stay as they are, so that it can be sent again. Four headers follow them, with
//! the suffixes that Kafka Streams uses (KIP-1034).

use crate::{DecodeError, Record, envelope};

const TOPIC: &str = "__tripline.errors.topic";
const PARTITION: &str = "__tripline.errors.partition";
const OFFSET: &str = "__tripline.errors.offset";
const MESSAGE: &str = "__tripline.errors.message";

/// An input record on its way to the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The original, untouched.
    pub original: Record,
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Why it could not be processed, for a person.
    pub reason: String,
}

impl DeadLetter {
    /// The record to append to the dead-letter topic.
    pub fn to_record(&self) -> Record {
        let mut record = self.original.clone();
        record.headers.push(TOPIC, self.topic.as_str());
        record.headers.push(PARTITION, self.partition.to_string());
        record.headers.push(OFFSET, self.offset.to_string());
        record.headers.push(MESSAGE, self.reason.as_str());
        record
    }

    /// Reads a record of the dead-letter topic.
    ///
    /// The last header of each name counts: the original may be a dead letter itself, with such headers of its own.
    pub fn from_record(record: &Record) -> Result<DeadLetter, DecodeError> {
        let mut letter = DeadLetter {
            original: Record::default(),
            topic: envelope::required(record, TOPIC)?.to_owned(),
            partition: envelope::number(record, PARTITION)?.ok_or(DecodeError::MissingHeader(PARTITION))?,
            offset: envelope::number(record, OFFSET)?.ok_or(DecodeError::MissingHeader(OFFSET))?,
            reason: envelope::required(record, MESSAGE)?.to_owned(),
        };
        letter.original = record.clone();
        let headers = &mut letter.original.headers.0;
        for name in [TOPIC, PARTITION, OFFSET, MESSAGE] {
            let last = headers.iter().rposition(|(header, _)| header == name);
            headers.remove(last.ok_or(DecodeError::MissingHeader(name))?);
        }
        Ok(letter)
    }
}
