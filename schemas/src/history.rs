//! The JSON-lines history format: captures, `outputs import`, `replay --from file:`, tests.
//!
//! One object a line, see [`HistoryLine`]. A line is one of
//!
//! * a run: `agent`, `command`, `time`, and `output` or `output_base64`; everything else has a default;
//! * a log line that is no command's output: `agent`, `time`, and `log` or `log_base64`; `location`, or `command` as in a
//!   run, says where it came from;
//! * a gap or a control event: `gap` or `control` with the record's JSON.
//!
//! [`HistoryReader`] reads them, [`HistoryRecord::to_line`] writes them; a run comes back byte for byte. Compressed
//! files are decompressed by the caller.

use std::io::{self, BufRead, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::{Control, Event, Gap};
use crate::{DecodeError, Ending, Format, Key, KeyError, Run, RunId, alert, envelope};

/// A line is at most this many bytes: an output of the largest sensible size, with every byte escaped.
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The namespace of spool ids for runs that come without one.
const SPOOL_NAMESPACE: Uuid = Uuid::from_u128(0x7a1d_51c3_2f0e_5b8a_9c44_7472_6970_6c6e);

/// Where a log line came from when it does not say so.
const DEFAULT_LOCATION: &str = "log";

/// One line as it is written. Unknown fields are refused, since a misspelt one would be lost in silence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["agent", "command", "time", "output"] },
    { "required": ["agent", "command", "time", "output_base64"] },
    { "required": ["agent", "time", "log"] },
    { "required": ["agent", "time", "log_base64"] },
    { "required": ["gap"] },
    { "required": ["control"] },
]))]
pub struct HistoryLine {
    /// The monitored host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The agent's address, when it has one configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Of a run: the command's alias, or its command line. Of a log line: another name for `location`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Of a run: what was executed; `command` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// Of a run: set, and equal to `command`, when the command has an alias. When absent, `command` is an alias if
    /// `command_line` differs from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Of a run: how the output becomes log lines; `command` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// When the run started, or the log line arrived, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::json_schema::Time>")]
    pub time: Option<Timestamp>,
    /// When the log took it; when absent, `time` plus the duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::json_schema::Time>")]
    pub append_time: Option<Timestamp>,
    /// Of a run: its id; when absent, one that depends on the history's name and the line number alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Of a run: how long it took, in milliseconds; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Of a run: how long after it was due it started, in milliseconds; unknown when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_delay_ms: Option<u64>,
    /// Of a run: how it ended; `{"exited":0}` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Of a run: the full size of the output in bytes, when only its beginning is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_from: Option<u64>,
    /// Of a run: the end of what it wrote to standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// The same, when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_base64: Option<String>,
    /// Of a run: the version of the collector that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<String>,
    /// Of a run: what it wrote to standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The same, when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_base64: Option<String>,
    /// Of a log line: where it came from, such as a file's name; `log` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// A log line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The same, when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_base64: Option<String>,
    /// Runs that were lost, as in a record of the outputs topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// A person's order, as in a record of the outputs topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
}

/// What one line says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRecord {
    /// When the log took it: the bound for the event's own clock.
    pub append_time: Timestamp,
    /// What happened.
    pub body: HistoryBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryBody {
    /// What lies in the outputs topic: a run, a gap, a control event.
    Event(Event),
    /// A line that is no command's output.
    Log(HistoryLog),
}

/// A line that is no command's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLog {
    /// The agent, and where the line came from.
    pub key: Key,
    /// The agent's address; `None` for a local line.
    pub address: Option<String>,
    /// When it arrived.
    pub time: Timestamp,
    /// The text, byte for byte.
    pub text: Vec<u8>,
}

impl HistoryLog {
    /// `(agent) address->source`, or `agent->source`.
    pub fn location(&self) -> String {
        alert::location(self.key.agent(), self.address.as_deref(), self.key.command())
    }
}

/// What is wrong with a line, and which line it is.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct HistoryError {
    /// The line's number, from 1.
    pub line: u64,
    /// What is wrong.
    pub kind: HistoryErrorKind,
}

/// What is wrong with a line of a history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryErrorKind {
    /// The line can't be read; nothing follows.
    #[error("could not be read: {0}")]
    Read(io::Error),
    /// The line is longer than its bound; nothing follows.
    #[error("longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// The line is not the JSON that is expected.
    #[error("column {column}: {message}")]
    Json {
        /// Where in the line, in bytes from 1.
        column: usize,
        /// What was found, and what was expected.
        message: String,
    },
    /// A field that is needed is not there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// No field says what the line is.
    #[error("nothing happened: expected one of `output`, `output_base64`, `log`, `log_base64`, `gap` and `control`")]
    Nothing,
    /// Two fields exclude each other.
    #[error("`{0}` and `{1}` exclude each other: leave one out")]
    Conflict(&'static str, &'static str),
    /// A field does not belong to this kind of line.
    #[error("`{field}` does not belong to {of}")]
    Misplaced {
        /// The field.
        field: &'static str,
        /// What the line is.
        of: &'static str,
    },
    /// A field's base64 can't be decoded.
    #[error("`{field}` is not base64: {cause}")]
    Base64 {
        /// The field.
        field: &'static str,
        /// Why.
        cause: base64::DecodeError,
    },
    /// A name can't be part of a key.
    #[error("{0}")]
    Key(KeyError),
    /// `alias` and `command` differ.
    #[error("`alias` is not the `command`: a command with an alias is known by it")]
    Alias,
    /// A time that RFC 3339 does not have.
    #[error("`{0}` lies outside the years 0 to 9999")]
    Time(&'static str),
    /// A gap or control event is not a sound one.
    #[error("{0}")]
    Event(DecodeError),
    /// Histories hold no heartbeats: no rule sees them.
    #[error("a heartbeat can't be written to a history: no rule sees it")]
    Heartbeat,
}

/// Reads a history line by line. A bad line is an error and the next one is read all the same; after a line that
/// could not be read at all, there is nothing more. Blank lines are skipped.
///
/// A [`BufRead`] over a byte slice makes it a function of bytes; a reader of a file makes it the caller's I/O.
#[derive(Debug)]
pub struct HistoryReader<R> {
    input: R,
    /// The spool of runs that come without an id: known with the first line.
    spool: Option<Uuid>,
    /// The number of the line read last.
    line: u64,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> HistoryReader<R> {
    /// A reader of this history.
    ///
    /// Runs that come without an id get one by the history's first line that is not blank and the number of their own
    /// line. So a history that is imported again, grown or not, under whatever name, doubles nothing; and one that begins
    /// otherwise is another one.
    pub fn new(input: R) -> HistoryReader<R> {
        HistoryReader { input, spool: None, line: 0, buffer: Vec::new(), ended: false }
    }

    /// Reads the next line into the buffer, without its line break. `false` at the end.
    fn read_line(&mut self) -> Result<bool, HistoryErrorKind> {
        self.buffer.clear();
        let mut bounded = (&mut self.input).take(LINE_BYTES_MAX as u64 + 1);
        let read = bounded.read_until(b'\n', &mut self.buffer).map_err(HistoryErrorKind::Read)?;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        }
        if self.buffer.len() > LINE_BYTES_MAX { Err(HistoryErrorKind::TooLong) } else { Ok(read > 0) }
    }

    fn next_record(&mut self) -> Option<Result<HistoryRecord, HistoryErrorKind>> {
        while !self.ended {
            self.line += 1;
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => self.ended = true,
                Err(err) => {
                    self.ended = true;
                    return Some(Err(err));
                }
            }
            // Windows tools begin a file with a byte order mark.
            let start = if self.line == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let text = self.buffer[start..].trim_ascii();
            if !text.is_empty() {
                let spool = *self.spool.get_or_insert_with(|| Uuid::new_v5(&SPOOL_NAMESPACE, text));
                let run_id = RunId { spool, sequence: self.line };
                return Some(HistoryLine::parse(text).and_then(|line| line.into_record(run_id)));
            }
        }
        None
    }
}

impl<R: BufRead> Iterator for HistoryReader<R> {
    type Item = Result<HistoryRecord, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.next_record()?;
        Some(result.map_err(|kind| HistoryError { line: self.line, kind }))
    }
}

impl HistoryLine {
    /// Reads the JSON of one line.
    pub fn parse(text: &[u8]) -> Result<HistoryLine, HistoryErrorKind> {
        serde_json::from_slice(text).map_err(|err| {
            let message = err.to_string();
            // The parser counts lines from the start of what it is given: always 1 here, and the caller knows better.
            let place = format!(" at line {} column {}", err.line(), err.column());
            let message = message.strip_suffix(&place).unwrap_or(&message);
            HistoryErrorKind::Json { column: err.column(), message: envelope::shown_message(message) }
        })
    }

    /// Checks the line and fills in the defaults. A run without an id gets `run_id`.
    pub fn into_record(mut self, run_id: RunId) -> Result<HistoryRecord, HistoryErrorKind> {
        let output = bytes(self.output.take(), self.output_base64.take(), "output", "output_base64")?;
        let log = bytes(self.log.take(), self.log_base64.take(), "log", "log_base64")?;
        match (output, log, self.gap.take(), self.control.take()) {
            (Some(output), None, None, None) => self.into_run(run_id, output),
            (None, Some(text), None, None) => self.into_log(text),
            (None, None, Some(gap), None) => self.into_event("a gap", gap.time, Event::Gap(gap)),
            (None, None, None, Some(control)) => {
                self.into_event("a control event", control.time, Event::Control(control))
            }
            (None, None, None, None) => Err(HistoryErrorKind::Nothing),
            (Some(_), Some(_), _, _) => Err(HistoryErrorKind::Conflict("output", "log")),
            (Some(_), _, Some(_), _) => Err(HistoryErrorKind::Conflict("output", "gap")),
            (Some(_), _, _, Some(_)) => Err(HistoryErrorKind::Conflict("output", "control")),
            (_, Some(_), Some(_), _) => Err(HistoryErrorKind::Conflict("log", "gap")),
            (_, Some(_), _, Some(_)) => Err(HistoryErrorKind::Conflict("log", "control")),
            (_, _, Some(_), Some(_)) => Err(HistoryErrorKind::Conflict("gap", "control")),
        }
    }

    fn into_run(self, run_id: RunId, output: Vec<u8>) -> Result<HistoryRecord, HistoryErrorKind> {
        self.refuse("a run", &[("location", self.location.is_some())])?;
        let agent = self.agent.ok_or(HistoryErrorKind::Missing("agent"))?;
        let command = self.command.ok_or(HistoryErrorKind::Missing("command"))?;
        let started = checked("time", self.time)?.ok_or(HistoryErrorKind::Missing("time"))?;
        let command_line = self.command_line.unwrap_or_else(|| command.clone());
        let alias = match self.alias {
            Some(alias) if alias == command => Some(alias),
            Some(_) => return Err(HistoryErrorKind::Alias),
            None => (command_line != command).then(|| command.clone()),
        };
        let duration_ms = self.duration_ms.unwrap_or(0);
        let run = Run {
            id: self.run.unwrap_or(run_id),
            key: Key::new(agent, command).map_err(HistoryErrorKind::Key)?,
            address: self.address,
            command_line,
            alias,
            format: self.format.unwrap_or_default(),
            started,
            duration_ms,
            start_delay_ms: self.start_delay_ms,
            ending: self.ending.unwrap_or(Ending::Exited(0)),
            truncated_from: self.truncated_from,
            stderr_tail: bytes(self.stderr, self.stderr_base64, "stderr", "stderr_base64")?.unwrap_or_default(),
            collector: self.collector.unwrap_or_default(),
            output,
        };
        let append_time = checked("append_time", self.append_time)?.unwrap_or_else(|| end(started, duration_ms));
        Ok(HistoryRecord { append_time, body: HistoryBody::Event(Event::Output(run)) })
    }

    fn into_log(self, text: Vec<u8>) -> Result<HistoryRecord, HistoryErrorKind> {
        self.refuse_run_facts("a log line")?;
        if self.location.is_some() && self.command.is_some() {
            return Err(HistoryErrorKind::Conflict("location", "command"));
        }
        let agent = self.agent.ok_or(HistoryErrorKind::Missing("agent"))?;
        let time = checked("time", self.time)?.ok_or(HistoryErrorKind::Missing("time"))?;
        let location = self.location.or(self.command).unwrap_or_else(|| DEFAULT_LOCATION.to_owned());
        let key = Key::new(agent, location).map_err(HistoryErrorKind::Key)?;
        let append_time = checked("append_time", self.append_time)?.unwrap_or(time);
        let log = HistoryLog { key, address: self.address, time, text };
        Ok(HistoryRecord { append_time, body: HistoryBody::Log(log) })
    }

    fn into_event(self, of: &'static str, time: Timestamp, event: Event) -> Result<HistoryRecord, HistoryErrorKind> {
        self.refuse(
            of,
            &[
                ("agent", self.agent.is_some()),
                ("address", self.address.is_some()),
                ("command", self.command.is_some()),
                ("time", self.time.is_some()),
                ("location", self.location.is_some()),
            ],
        )?;
        self.refuse_run_facts(of)?;
        event.check().map_err(HistoryErrorKind::Event)?;
        let append_time = checked("append_time", self.append_time)?.unwrap_or(time);
        Ok(HistoryRecord { append_time, body: HistoryBody::Event(event) })
    }

    fn refuse_run_facts(&self, of: &'static str) -> Result<(), HistoryErrorKind> {
        self.refuse(
            of,
            &[
                ("command_line", self.command_line.is_some()),
                ("alias", self.alias.is_some()),
                ("format", self.format.is_some()),
                ("run", self.run.is_some()),
                ("duration_ms", self.duration_ms.is_some()),
                ("start_delay_ms", self.start_delay_ms.is_some()),
                ("ending", self.ending.is_some()),
                ("truncated_from", self.truncated_from.is_some()),
                ("stderr", self.stderr.is_some()),
                ("stderr_base64", self.stderr_base64.is_some()),
                ("collector", self.collector.is_some()),
            ],
        )
    }

    /// Fails with the first of these fields that is there.
    fn refuse(&self, of: &'static str, fields: &[(&'static str, bool)]) -> Result<(), HistoryErrorKind> {
        match fields.iter().find(|(_, present)| *present) {
            Some((field, _)) => Err(HistoryErrorKind::Misplaced { field, of }),
            None => Ok(()),
        }
    }
}

impl HistoryRecord {
    /// The line to write, without a line break: everything that is known, so that reading it gives the same record.
    pub fn to_line(&self) -> Result<String, HistoryErrorKind> {
        let line = HistoryLine::try_from(self)?;
        Ok(serde_json::to_string(&line).expect("our types have string keys and no serializer that fails"))
    }
}

impl TryFrom<&HistoryRecord> for HistoryLine {
    type Error = HistoryErrorKind;

    fn try_from(record: &HistoryRecord) -> Result<HistoryLine, HistoryErrorKind> {
        let mut line = match &record.body {
            HistoryBody::Event(Event::Output(run)) => HistoryLine::from(run),
            HistoryBody::Event(Event::Gap(gap)) => HistoryLine { gap: Some(gap.clone()), ..HistoryLine::default() },
            HistoryBody::Event(Event::Control(control)) => {
                HistoryLine { control: Some(control.clone()), ..HistoryLine::default() }
            }
            HistoryBody::Event(Event::Heartbeat(_)) => return Err(HistoryErrorKind::Heartbeat),
            HistoryBody::Log(log) => HistoryLine::from(log),
        };
        line.append_time = Some(record.append_time);
        Ok(line)
    }
}

impl From<&Run> for HistoryLine {
    fn from(run: &Run) -> HistoryLine {
        let (output, output_base64) = text_or_base64(&run.output);
        let (stderr, stderr_base64) = match run.stderr_tail.is_empty() {
            true => (None, None),
            false => text_or_base64(&run.stderr_tail),
        };
        HistoryLine {
            agent: Some(run.key.agent().to_owned()),
            address: run.address.clone(),
            command: Some(run.key.command().to_owned()),
            command_line: (run.command_line != run.key.command()).then(|| run.command_line.clone()),
            alias: run.alias.clone(),
            format: Some(run.format),
            time: Some(run.started),
            run: Some(run.id),
            duration_ms: Some(run.duration_ms),
            start_delay_ms: run.start_delay_ms,
            ending: Some(run.ending.clone()),
            truncated_from: run.truncated_from,
            stderr,
            stderr_base64,
            collector: (!run.collector.is_empty()).then(|| run.collector.clone()),
            output,
            output_base64,
            ..HistoryLine::default()
        }
    }
}

impl From<&HistoryLog> for HistoryLine {
    fn from(log: &HistoryLog) -> HistoryLine {
        let (text, base64) = text_or_base64(&log.text);
        HistoryLine {
            agent: Some(log.key.agent().to_owned()),
            address: log.address.clone(),
            location: Some(log.key.command().to_owned()),
            time: Some(log.time),
            log: text,
            log_base64: base64,
            ..HistoryLine::default()
        }
    }
}

/// Text as it is when it is UTF-8, else base64.
fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

/// The bytes of a pair of fields, one of which may be there.
fn bytes(
    text: Option<String>,
    base64: Option<String>,
    text_field: &'static str,
    base64_field: &'static str,
) -> Result<Option<Vec<u8>>, HistoryErrorKind> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => {
            let decoded = BASE64.decode(base64);
            decoded.map(Some).map_err(|cause| HistoryErrorKind::Base64 { field: base64_field, cause })
        }
        (Some(_), Some(_)) => Err(HistoryErrorKind::Conflict(text_field, base64_field)),
    }
}

fn checked(field: &'static str, time: Option<Timestamp>) -> Result<Option<Timestamp>, HistoryErrorKind> {
    match time {
        Some(time) if !envelope::is_rfc_3339(&time) => Err(HistoryErrorKind::Time(field)),
        time => Ok(time),
    }
}

/// When a run ended; at the end of time when the duration is absurd.
fn end(started: Timestamp, duration_ms: u64) -> Timestamp {
    let duration = SignedDuration::from_millis(i64::try_from(duration_ms).unwrap_or(i64::MAX));
    started.checked_add(duration).unwrap_or(Timestamp::MAX)
}
