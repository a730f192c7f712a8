//! Topics on a real Kafka.

use std::error::Error;
use std::ffi::CString;
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tripline_eventlog::kafka::{
    KafkaPublisher, KafkaReader, KafkaSettings, check_topics, create_topics, describe_topics,
};
use tripline_eventlog::topics::{Cleanup, TopicNames, TopicSpec};
use tripline_eventlog::{Bounds, LogError, Publisher, Reader, Stored};
use tripline_schemas::partition::partition_for;
use tripline_schemas::{Headers, Record};
use tripline_testkafka::{Broker, shared, unique};

const DAY: Duration = Duration::from_secs(86_400);

fn settings() -> KafkaSettings {
    KafkaSettings::new(shared())
}

fn spec(partitions: u32) -> TopicSpec {
    TopicSpec {
        name: unique("topic"),
        partitions,
        cleanup: Cleanup::Delete { age: DAY, bytes: None },
        record_bytes_max: 1024 * 1024,
    }
}

fn topic(partitions: u32) -> String {
    let spec = spec(partitions);
    create_topics(&settings(), std::slice::from_ref(&spec), 1).unwrap();
    spec.name
}

fn record(key: &str, value: &str) -> Record {
    Record { key: Some(key.into()), value: Some(value.into()), headers: Headers::default() }
}

/// Reads every partition from its first offset to its end.
fn read_all(topic: &str) -> Vec<Stored> {
    let mut reader = KafkaReader::open(&settings(), topic).unwrap();
    let mut ends = Vec::new();
    for partition in 0..reader.partitions() {
        let bounds = reader.bounds(partition).unwrap();
        reader.seek(partition, bounds.first).unwrap();
        ends.push(bounds.end);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut records = Vec::new();
    while ends.iter().enumerate().any(|(partition, end)| reader.position(partition as u32).unwrap() < *end) {
        assert!(Instant::now() < deadline, "the end was not reached: {ends:?}, {} records", records.len());
        records.extend(reader.read(1000, Duration::from_secs(1)).unwrap());
    }
    records
}

fn values(records: &[Stored]) -> Vec<String> {
    records.iter().map(|stored| String::from_utf8(stored.record.value.clone().unwrap()).unwrap()).collect()
}

#[test]
fn what_is_published_is_read_back_byte_for_byte() {
    let topic = topic(1);
    let mut headers = Headers::default();
    headers.push("ce_id", "7");
    headers.push("ce_id", "8");
    headers.push("empty", "");
    headers.push("bytes", [0, 0xff, b'\n']);
    let records = [
        Record { key: Some(b"agent\0df -P".to_vec()), value: Some((0..=255).collect()), headers },
        Record { key: Some(b"\xff\xfe".to_vec()), value: Some(Vec::new()), headers: Headers::default() },
        Record { key: Some(b"gone".to_vec()), value: None, headers: Headers::default() },
        Record { key: None, value: Some(vec![b'x'; 1024 * 1024]), headers: Headers::default() },
    ];
    let before = tripline_faults::now();
    KafkaPublisher::new(settings()).unwrap().publish(&topic, &records).unwrap();
    let read = read_all(&topic);
    let read_records: Vec<_> = read.iter().map(|stored| stored.record.clone()).collect();
    assert_eq!(read_records, records);
    assert_eq!(read.iter().map(|stored| stored.offset).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let skew = SignedDuration::from_secs(2);
    assert!(read.iter().all(|stored| before - skew <= stored.append_time), "the broker's clock: {read:?}");
}

#[test]
fn a_key_lies_in_the_partition_that_murmur2_names_and_stays_in_order() {
    let topic = topic(5);
    let keys: Vec<_> = (0..40).map(|n| format!("agent-{n}\0uptime")).collect();
    let records: Vec<_> = (0..400).map(|n| record(&keys[n % keys.len()], &n.to_string())).collect();
    KafkaPublisher::new(settings()).unwrap().publish(&topic, &records).unwrap();
    let read = read_all(&topic);
    assert_eq!(read.len(), records.len());
    for key in &keys {
        let of_key = |record: &Record| record.key.as_deref() == Some(key.as_bytes());
        let stored: Vec<_> = read.iter().filter(|stored| of_key(&stored.record)).collect();
        let wanted: Vec<_> = records.iter().filter(|record| of_key(record)).collect();
        assert_eq!(stored.iter().map(|stored| &stored.record).collect::<Vec<_>>(), wanted);
        assert!(stored.iter().all(|stored| stored.partition == partition_for(key.as_bytes(), 5)));
    }
}

#[test]
fn only_committed_records_are_seen_and_the_end_is_reached_over_transaction_markers() {
    let topic = topic(1);
    let producer: BaseProducer =
        settings().producer_config("test").unwrap().set("transactional.id", &topic).create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    let send = |value: &str| {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<str, str>::to(&topic).key("k").payload(value)).unwrap();
        producer.flush(Duration::from_secs(30)).unwrap();
    };
    send("committed");
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    send("aborted");
    producer.abort_transaction(Duration::from_secs(30)).unwrap();
    // Two records and two markers. The end of a transaction is certain a little before readers are told.
    let mut reader = KafkaReader::open(&settings(), &topic).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while reader.bounds(0).unwrap().end < 4 {
        assert!(Instant::now() < deadline, "the transactions stay open");
    }
    assert_eq!(values(&read_all(&topic)), ["committed"]);

    send("open");
    // The open one does not count.
    assert_eq!(reader.bounds(0).unwrap(), Bounds { first: 0, end: 4 });
    reader.seek(0, 4).unwrap();
    assert_eq!(reader.read(10, Duration::from_millis(500)).unwrap(), []);
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    let read = reader.read(10, Duration::from_secs(30)).unwrap();
    assert_eq!((values(&read), read[0].offset), (vec!["open".to_owned()], 4));
}

#[test]
fn a_reader_starts_at_offsets_and_times() {
    let topic = topic(1);
    let mut publisher = KafkaPublisher::new(settings()).unwrap();
    publisher.publish(&topic, &[record("k", "0"), record("k", "1")]).unwrap();
    thread::sleep(Duration::from_millis(20));
    publisher.publish(&topic, &[record("k", "2")]).unwrap();
    let third = read_all(&topic).pop().unwrap();

    let mut reader = KafkaReader::open(&settings(), &topic).unwrap();
    assert_eq!(reader.offset_at(0, third.append_time).unwrap(), 2);
    assert_eq!(reader.offset_at(0, Timestamp::UNIX_EPOCH).unwrap(), 0);
    assert_eq!(reader.offset_at(0, third.append_time + SignedDuration::from_hours(1)).unwrap(), 3);
    reader.seek(0, 1).unwrap();
    assert_eq!(values(&reader.read(1, Duration::from_secs(30)).unwrap()), ["1"]);
    assert_eq!(values(&reader.read(10, Duration::from_secs(30)).unwrap()), ["2"]);
    reader.seek(0, 0).unwrap();
    assert_eq!(values(&reader.read(1, Duration::from_secs(30)).unwrap()), ["0"]);
    let error = reader.seek(0, 9).unwrap_err();
    assert_eq!(error.to_string(), format!("offset 9 of `{topic}` partition 0 is not kept: it holds 0 to 3"));
}

#[test]
fn records_that_are_no_longer_kept_are_told_with_what_is() {
    let topic = topic(1);
    let records: Vec<_> = (0..10).map(|n| record("k", &n.to_string())).collect();
    KafkaPublisher::new(settings()).unwrap().publish(&topic, &records).unwrap();
    let mut reader = KafkaReader::open(&settings(), &topic).unwrap();
    reader.seek(0, 2).unwrap();

    let admin: AdminClient<_> = settings().client_config("test").unwrap().create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 0, Offset::Offset(5)).unwrap();
    pollster::block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();

    let wanted = |offset| format!("offset {offset} of `{topic}` partition 0 is not kept: it holds 5 to 10");
    assert_eq!(reader.read(10, Duration::from_secs(30)).unwrap_err().to_string(), wanted(2));
    assert_eq!(reader.seek(0, 4).unwrap_err().to_string(), wanted(4));
    reader.seek(0, 5).unwrap();
    assert_eq!(values(&reader.read(1, Duration::from_secs(30)).unwrap()), ["5"]);
}

#[test]
fn a_header_name_that_is_not_utf8_stops_nobody() {
    let topic = topic(1);
    let producer: BaseProducer = settings().producer_config("test").unwrap().create().unwrap();
    let name = CString::new(topic.as_str()).unwrap();
    // What another client may send; the crate's own types can't.
    // SAFETY: the arguments are the tagged list that the function takes, all of them alive during the call.
    let error = unsafe {
        use rdkafka::bindings::{rd_kafka_producev, rd_kafka_vtype_t::*};
        rd_kafka_producev(
            producer.client().native_ptr(),
            RD_KAFKA_VTYPE_TOPIC,
            name.as_ptr(),
            RD_KAFKA_VTYPE_HEADER,
            c"caf\xe9".as_ptr(),
            c"v".as_ptr(),
            1isize,
            RD_KAFKA_VTYPE_END,
        )
    };
    assert_eq!(RDKafkaErrorCode::from(error), RDKafkaErrorCode::NoError);
    producer.flush(Duration::from_secs(30)).unwrap();
    let read = read_all(&topic);
    assert_eq!(read[0].record.headers.0, [("caf\u{fffd}".to_owned(), b"v".to_vec())]);
}

#[test]
fn a_record_that_is_too_large_is_told_with_its_size_and_the_bound() {
    let topic = topic(1);
    let mut publisher = KafkaPublisher::new(settings()).unwrap();
    // Not compressible, so that it stays too large.
    let mut state = 1u32;
    let noise = (0..3_000_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let large = Record { key: Some(b"k".to_vec()), value: Some(noise.collect()), headers: Headers::default() };
    let error = publisher.publish(&topic, &[large]).unwrap_err();
    assert!(matches!(error, LogError::TooLarge { size: 3_000_001, max: 1_052_672, .. }), "{error:?}");
    assert!(!error.is_temporary());
    publisher.publish(&topic, &[record("k", "small")]).unwrap();
    assert_eq!(values(&read_all(&topic)), ["small"]);
}

#[test]
fn a_missing_topic_is_told_with_the_way_out() {
    let missing = unique("missing");
    let wanted = format!("topic `{missing}` does not exist; create it with `tripline topics create`");
    let published = KafkaPublisher::new(settings()).unwrap().publish(&missing, &[record("k", "v")]);
    assert_eq!(published.unwrap_err().to_string(), wanted);
    assert_eq!(KafkaReader::open(&settings(), &missing).err().unwrap().to_string(), wanted);
    assert_eq!(describe_topics(&settings(), &[&missing]).unwrap_err().to_string(), wanted);
}

#[test]
fn topics_are_created_once_and_checked() {
    let mut names = TopicNames::new(&unique("app"));
    names.outputs = unique("outputs");
    names.alerts = unique("alerts");
    names.dead_letters = unique("dead-letters");
    names.rulesets = unique("rulesets");
    let specs = names.specs(3, 1024 * 1024);
    assert_eq!(check_topics(&settings(), &specs).unwrap().len(), specs.len(), "none exists yet");
    assert_eq!(create_topics(&settings(), &specs, 1).unwrap().len(), specs.len());
    assert_eq!(create_topics(&settings(), &specs, 1).unwrap(), [] as [&str; 0]);
    assert_eq!(check_topics(&settings(), &specs).unwrap(), [] as [&str; 0]);

    let described = describe_topics(&settings(), &[&names.outputs, &names.changelog]).unwrap();
    assert_eq!((described[0].partitions, described[0].replication), (3, 1));
    assert_eq!(described[0].config["message.timestamp.type"], "LogAppendTime");
    assert_eq!(described[1].config["cleanup.policy"], "compact");

    let more = names.specs(6, 1024 * 1024);
    let differences = check_topics(&settings(), &more).unwrap();
    assert!(differences[0].contains("has 3 partitions instead of 6"), "{differences:?}");
}

#[test]
fn a_replication_the_cluster_cannot_give_is_refused() {
    let error = create_topics(&settings(), &[spec(1)], 3).unwrap_err();
    assert!(matches!(error, LogError::Failed { .. }), "{error:?}");
    assert!(error.to_string().contains("with 3 replicas"), "{error}");
}

#[test]
fn an_unreachable_broker_is_told_with_its_address_and_what_to_check() {
    // A port nobody listens on.
    let settings = KafkaSettings::new("127.0.0.1:1");
    let errors = thread::scope(|scope| {
        let publish = || KafkaPublisher::new(settings.clone()).unwrap().publish("t", &[record("k", "v")]).unwrap_err();
        [
            scope.spawn(publish),
            scope.spawn(|| KafkaReader::open(&settings, "t").err().unwrap()),
            scope.spawn(|| create_topics(&settings, &[spec(1)], 1).unwrap_err()),
        ]
        .map(|asking| asking.join().unwrap())
    });
    for error in errors {
        assert!(error.is_temporary(), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("no Kafka broker answered at `127.0.0.1:1` within 10 s"), "{text}");
        assert!(text.contains("check the address"), "{text}");
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("Connection refused"), "{cause}");
    }
}

#[test]
fn a_publisher_and_a_reader_outlive_a_broker_that_is_killed() {
    let mut broker = Broker::start();
    let settings = KafkaSettings::new(broker.bootstrap());
    let spec = spec(1);
    create_topics(&settings, std::slice::from_ref(&spec), 1).unwrap();
    let mut publisher = KafkaPublisher::new(settings.clone()).unwrap();
    let mut reader = KafkaReader::open(&settings, &spec.name).unwrap();
    reader.seek(0, 0).unwrap();
    publisher.publish(&spec.name, &[record("k", "before")]).unwrap();
    assert_eq!(values(&reader.read(1, Duration::from_secs(30)).unwrap()), ["before"]);
    broker.kill();

    let name = spec.name.clone();
    let publishing = thread::spawn(move || {
        // As a collector does: again, until it worked.
        while let Err(error) = publisher.publish(&name, &[record("k", "during")]) {
            assert!(error.is_temporary(), "{error:?}");
        }
    });
    thread::sleep(Duration::from_secs(1));
    broker.restart();
    publishing.join().unwrap();

    let deadline = Instant::now() + Duration::from_secs(60);
    let mut read = Vec::new();
    while read.is_empty() && Instant::now() < deadline {
        match reader.read(10, Duration::from_secs(1)) {
            Ok(records) => read.extend(records),
            Err(error) => assert!(error.is_temporary(), "{error:?}"),
        }
    }
    // Never lost; a repeated attempt may have written it twice.
    assert!(values(&read).iter().all(|value| value == "during") && !read.is_empty(), "{read:?}");
}
