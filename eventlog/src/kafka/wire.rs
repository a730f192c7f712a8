//! Our records as Kafka's messages, and back.

use std::ffi::CStr;
use std::ptr;

use jiff::Timestamp;
use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use tripline_schemas::{Headers, Record};

use crate::Stored;

/// The headers of a record to send.
pub fn to_headers(headers: &Headers) -> OwnedHeaders {
    headers.0.iter().fold(OwnedHeaders::new_with_capacity(headers.0.len()), |all, (name, value)| {
        all.insert(Header { key: name, value: Some(value) })
    })
}

/// A received message as a stored record.
pub fn to_stored(message: &BorrowedMessage<'_>) -> Stored {
    Stored {
        partition: u32::try_from(message.partition()).expect("received messages have a partition"),
        offset: u64::try_from(message.offset()).expect("received messages have an offset"),
        append_time: append_time(message.timestamp().to_millis()),
        record: Record {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: received_headers(message),
        },
    }
}

/// Key, value and headers together, in bytes, as a topic's bound counts them.
pub fn size(record: &Record) -> usize {
    record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len) + record.headers.size()
}

/// A producer may write any number as a record's time; what no calendar holds becomes the nearest time it does hold.
fn append_time(millis: Option<i64>) -> Timestamp {
    let millis = millis.unwrap_or(0);
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// The crate's own iterator panics on a header name that is not UTF-8, and anybody who may write to the topic could send
/// one. Here such a name is replaced by its lossy form.
fn received_headers(message: &BorrowedMessage<'_>) -> Headers {
    let mut headers = Headers::default();
    let mut native = ptr::null_mut();
    // SAFETY: the message lives as long as the borrow; the list belongs to it.
    let found: RDKafkaErrorCode = unsafe { rd_kafka_message_headers(message.ptr(), &mut native) }.into();
    if found != RDKafkaErrorCode::NoError {
        return headers;
    }
    for index in 0.. {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `native` was just given out; out of bounds is an error code; name and value belong to the list.
        let found: RDKafkaErrorCode =
            unsafe { rd_kafka_header_get_all(native, index, &mut name, &mut value, &mut size) }.into();
        if found != RDKafkaErrorCode::NoError {
            break;
        }
        // SAFETY: a name ends with NUL; a value that is not null has `size` bytes.
        let (name, value) = unsafe {
            let value = if value.is_null() { &[][..] } else { std::slice::from_raw_parts(value.cast::<u8>(), size) };
            (CStr::from_ptr(name).to_string_lossy().into_owned(), value.to_vec())
        };
        headers.0.push((name, value));
    }
    headers
}
