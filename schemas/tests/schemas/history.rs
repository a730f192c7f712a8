//! Histories: what is written is read, what is left out has a default, and what is wrong is said with its line.

use proptest::prelude::*;
use tripline_schemas::event::Event;
use tripline_schemas::history::{HistoryBody, HistoryLog, HistoryReader, HistoryRecord, LINE_BYTES_MAX};
use tripline_schemas::{Ending, Format, Key};

use crate::samples::{self, bare_run};
use crate::strategies as any;

/// A history with one record of every kind.
pub fn samples() -> Vec<HistoryRecord> {
    let append_time = "2025-08-14T14:00:01.5Z".parse().unwrap();
    let events = samples::events().into_iter().map(|(_, event)| event);
    let events = events.filter(|event| !matches!(event, Event::Heartbeat(_))).map(HistoryBody::Event);
    let log = |address: Option<&str>, text: &[u8]| {
        HistoryBody::Log(HistoryLog {
            key: Key::new("web-1", "/var/log/auth.log").unwrap(),
            address: address.map(str::to_owned),
            time: "2025-08-14T14:00:00Z".parse().unwrap(),
            text: text.to_vec(),
        })
    };
    let logs = [log(None, b"sshd[1]: a line"), log(Some("192.0.2.10"), b"\xff\xfe")];
    events.chain(logs).map(|body| HistoryRecord { append_time, body }).collect()
}

fn read(text: &str) -> Vec<HistoryRecord> {
    HistoryReader::new(text.as_bytes()).map(Result::unwrap).collect()
}

fn errors(text: &str) -> Vec<String> {
    let results = HistoryReader::new(text.as_bytes());
    results.filter_map(Result::err).map(|err| err.to_string()).collect()
}

fn one_run(text: &str) -> (tripline_schemas::Run, jiff::Timestamp) {
    let [record] = &read(text)[..] else { panic!("one record") };
    let HistoryBody::Event(Event::Output(run)) = &record.body else { panic!("a run") };
    (run.clone(), record.append_time)
}

proptest! {
    #[test]
    fn a_run_comes_back_byte_for_byte(run in any::run(), append_time in any::time()) {
        let record = HistoryRecord { append_time, body: HistoryBody::Event(Event::Output(run)) };
        let line = record.to_line().unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(read(&line), vec![record]);
    }

    #[test]
    fn a_log_line_comes_back_byte_for_byte(
        key in any::key(),
        address in proptest::option::of(any::text()),
        time in any::time(),
        append_time in any::time(),
        text in any::bytes(),
    ) {
        let record = HistoryRecord { append_time, body: HistoryBody::Log(HistoryLog { key, address, time, text }) };
        prop_assert_eq!(read(&record.to_line().unwrap()), vec![record]);
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let line = r#"{"agent":"web-1","command":"df -P","time":"2025-08-14T13:52:16Z","output":"a\n"}"#;
    let (run, append_time) = one_run(line);
    let expected = tripline_schemas::Run {
        id: run.id,
        key: Key::new("web-1", "df -P").unwrap(),
        collector: String::new(),
        output: b"a\n".to_vec(),
        ..bare_run(Ending::Exited(0))
    };
    assert_eq!(run, expected);
    assert_eq!(run.format, Format::Command);
    assert_eq!(append_time, run.started);
}

#[test]
fn the_log_took_a_run_when_it_ended_unless_the_line_says_otherwise() {
    let line = |more: &str| {
        one_run(&format!(r#"{{"agent":"a","command":"c","time":"2025-08-14T13:52:16Z","output":""{more}}}"#))
            .1
            .to_string()
    };
    assert_eq!(line(r#","duration_ms":1500"#), "2025-08-14T13:52:17.5Z");
    assert_eq!(line(r#","duration_ms":1500,"append_time":"2025-08-15T00:00:00Z""#), "2025-08-15T00:00:00Z");
    assert_eq!(line(r#","duration_ms":18446744073709551615"#), jiff::Timestamp::MAX.to_string());
}

#[test]
fn a_command_line_that_is_not_the_command_makes_the_command_an_alias() {
    let line = r#"{"agent":"a","command":"disk","command_line":"df -P","time":"2025-08-14T13:52:16Z","output":""}"#;
    let (run, _) = one_run(line);
    assert_eq!((run.key.command(), run.command_line.as_str(), run.alias.as_deref()), ("disk", "df -P", Some("disk")));
}

#[test]
fn a_run_without_an_id_gets_the_same_one_each_time_its_history_is_read() {
    let line = r#"{"agent":"a","command":"c","time":"2025-08-14T13:52:16Z","output":""}"#;
    let ids = |text: &str| -> Vec<String> {
        let records = HistoryReader::new(text.as_bytes()).map(Result::unwrap);
        let id = |record: HistoryRecord| match record.body {
            HistoryBody::Event(Event::Output(run)) => run.id.to_string(),
            _ => unreachable!(),
        };
        records.map(id).collect()
    };
    let text = format!("\n{line}\n{line}\n");
    let [first, second] = &ids(&text)[..] else { panic!("two runs") };
    // Committed, since an import that is repeated years later must double nothing.
    assert_eq!(first, "5e74c85f-50b9-5888-8b70-0765bc035a76/2");
    assert_eq!(second, "5e74c85f-50b9-5888-8b70-0765bc035a76/3");
    let grown = ids(&format!("{text}{line}\n"));
    assert_eq!(grown[..2], [first.as_str(), second], "a history that has grown is the same one");
    let other = ids(&text.replacen("13:52:16", "13:52:17", 1));
    assert!(other.iter().all(|id| !grown.contains(id)), "one that begins otherwise is another one");
}

#[test]
fn byte_order_marks_blank_lines_and_windows_line_ends_are_no_trouble() {
    let line = r#"{"agent":"a","command":"c","time":"2025-08-14T13:52:16Z","output":""}"#;
    assert_eq!(read(&format!("\u{feff}{line}\r\n\r\n \n{line}")).len(), 2);
    assert_eq!(read(""), []);
}

#[test]
fn a_log_line_has_a_location_also_under_the_name_of_a_runs_command() {
    let line = r#"{"agent":"web-1","time":"2025-08-14T13:52:16Z","log":"x"}"#;
    let local = read(line);
    let remote = read(&line.replace("\"log\"", r#""address":"192.0.2.10","location":"C:\\log.txt","log""#));
    let location = |records: &[HistoryRecord]| match &records[0].body {
        HistoryBody::Log(log) => log.location(),
        _ => unreachable!(),
    };
    assert_eq!(location(&local), "web-1->log");
    assert_eq!(location(&remote), r"(web-1) 192.0.2.10->C\\log.txt");
    // A line of a run in which `output` has become `log`.
    let like_a_run = read(&line.replace("\"log\"", r#""command":"/var/log/auth.log","log""#));
    assert_eq!(location(&like_a_run), "web-1->/var/log/auth.log");
}

#[test]
fn a_bad_line_is_named_and_the_next_one_read() {
    let good = r#"{"agent":"a","command":"c","time":"2025-08-14T13:52:16Z","output":""}"#;
    let results: Vec<_> = HistoryReader::new(format!("{good}\n{{}}\n{good}\n").as_bytes())
        .map(|result| result.map(drop).map_err(|err| err.to_string()))
        .collect();
    let nothing =
        "line 2: nothing happened: expected one of `output`, `output_base64`, `log`, `log_base64`, `gap` and `control`";
    assert_eq!(results, [Ok(()), Err(nothing.to_owned()), Ok(())]);
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let check = |line: &str, expected: &str| assert_eq!(errors(&format!("\n{line}")), [format!("line 2: {expected}")]);
    let time = r#""time":"2025-08-14T13:52:16Z""#;
    check(r#"{"agent":"a","command":"c","output":""}"#, "`time` is missing");
    check(&format!(r#"{{"agent":"a",{time},"output":""}}"#), "`command` is missing");
    check(&format!(r#"{{"command":"c",{time},"output":""}}"#), "`agent` is missing");
    check(&format!(r#"{{"agent":"","command":"c",{time},"output":""}}"#), "the agent is empty");
    check(
        &format!(r#"{{"agent":"a","command":"c",{time},"output":"","output_base64":""}}"#),
        "`output` and `output_base64` exclude each other: leave one out",
    );
    check(
        &format!(r#"{{"agent":"a","command":"c",{time},"output":"","log":""}}"#),
        "`output` and `log` exclude each other: leave one out",
    );
    check(
        &format!(r#"{{"agent":"a","command":"c","location":"x",{time},"log":""}}"#),
        "`location` and `command` exclude each other: leave one out",
    );
    check(&format!(r#"{{"agent":"a",{time},"log":"","alias":"x"}}"#), "`alias` does not belong to a log line");
    check(
        &format!(r#"{{"agent":"a","command":"c","location":"x",{time},"output":""}}"#),
        "`location` does not belong to a run",
    );
    check(
        &format!(r#"{{"agent":"a","command":"c","alias":"x",{time},"output":""}}"#),
        "`alias` is not the `command`: a command with an alias is known by it",
    );
    check(
        &format!(r#"{{"agent":"a","command":"c",{time},"output_base64":"*"}}"#),
        "`output_base64` is not base64: Invalid symbol 42, offset 0.",
    );
    check(
        r#"{"agent":"a","command":"c","time":"-000005-01-01T00:00:00Z","output":""}"#,
        "`time` lies outside the years 0 to 9999",
    );
    let [unknown] = &errors(&format!(r#"{{"agent":"a","comand":"c",{time},"output":""}}"#))[..] else { panic!() };
    assert!(unknown.starts_with("line 1: column 21: unknown field `comand`, expected one of `agent`"), "{unknown}");
    let [broken] = &errors(r#"{"agent":"a","#)[..] else { panic!() };
    assert_eq!(broken, "line 1: column 13: EOF while parsing a value");
}

#[test]
fn a_heartbeat_is_not_written() {
    let (_, heartbeat) = samples::events().pop().unwrap();
    assert!(matches!(heartbeat, Event::Heartbeat(_)));
    let record = HistoryRecord { append_time: jiff::Timestamp::UNIX_EPOCH, body: HistoryBody::Event(heartbeat) };
    let err = record.to_line().unwrap_err();
    assert_eq!(err.to_string(), "a heartbeat can't be written to a history: no rule sees it");
}

#[test]
fn a_line_without_end_does_not_fill_the_memory() {
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    let errors: Vec<String> = HistoryReader::new(endless).map(|result| result.unwrap_err().to_string()).collect();
    assert_eq!(errors, [format!("line 1: longer than {LINE_BYTES_MAX} bytes")]);
}

/// A reader whose disk fails in the middle.
struct Failing;

impl std::io::Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("disk failed"))
    }
}

#[test]
fn a_failing_disk_ends_the_history_with_an_error() {
    let errors: Vec<String> =
        HistoryReader::new(std::io::BufReader::new(Failing)).map(|result| result.unwrap_err().to_string()).collect();
    assert_eq!(errors, ["line 1: could not be read: disk failed"]);
}
