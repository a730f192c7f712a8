//! What lies in the outputs topic.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{self, Attributes};
use crate::key::check_agent;
use crate::{DecodeError, Ending, Headers, Key, Record, Run};

/// One record of the outputs topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `tripline.output.v1`: a run and what it printed.
    Output(Run),
    /// `tripline.gap.v1`: runs that the collector had to drop, or that damage has taken.
    Gap(Gap),
    /// `tripline.control.v1`: a person's order to the processor.
    Control(Control),
    /// `tripline.heartbeat.v1`: an agent lives.
    Heartbeat(Heartbeat),
}

/// Runs of one command that are gone: the spool was full, or a part of it can't be read. When nothing is left that tells
/// whose they were, the command is `(unknown)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Gap {
    /// Whose runs, of which command.
    #[serde(flatten)]
    #[schemars(with = "KeySchema")]
    pub key: Key,
    /// The agent's address, when the collector has one configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The spool that lost them.
    pub spool: Uuid,
    /// The first number that is gone.
    pub first: u64,
    /// The last number that is gone; numbers in between may belong to other commands.
    pub last: u64,
    /// How many runs of this command are gone.
    pub runs: u64,
    /// When the gap was noticed, by the collector's clock.
    #[schemars(with = "crate::json_schema::Time")]
    pub time: Timestamp,
}

/// A person's order to the processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Control {
    /// Whose state it is about.
    #[serde(flatten)]
    #[schemars(with = "KeySchema")]
    pub key: Key,
    /// What to do.
    pub order: Order,
    /// Who gave the order.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schemars(with = "crate::json_schema::Time")]
    pub time: Timestamp,
}

/// What a [`Control`] event asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Forget the baselines and ignore timers of the key, or of one rule.
    Forget {
        /// Only this rule's; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<u32>,
    },
}

/// An agent lives, and this is its plan. Keyed `agent NUL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Heartbeat {
    /// The agent.
    pub agent: String,
    /// Its address, when configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its spool.
    pub spool: Uuid,
    /// When, by the collector's clock.
    #[schemars(with = "crate::json_schema::Time")]
    pub time: Timestamp,
    /// The collector's version.
    pub collector: String,
    /// Command name to seconds between runs.
    pub plan: BTreeMap<String, u64>,
}

#[derive(schemars::JsonSchema)]
#[allow(dead_code)] // Only its schema is used: `Key` checks itself on the way in.
pub(crate) struct KeySchema {
    /// The monitored host's name.
    agent: String,
    /// The command's alias, or its command line.
    command: String,
}

/// Headers of an output record, beside the CloudEvents attributes: the facts of the run.
mod header {
    pub const AGENT: &str = "tripline_agent";
    pub const ADDRESS: &str = "tripline_address";
    pub const COMMAND_LINE: &str = "tripline_command_line";
    pub const ALIAS: &str = "tripline_alias";
    pub const FORMAT: &str = "tripline_format";
    pub const DURATION_MS: &str = "tripline_duration_ms";
    pub const START_DELAY_MS: &str = "tripline_start_delay_ms";
    pub const ENDING: &str = "tripline_ending";
    pub const EXIT_CODE: &str = "tripline_exit_code";
    pub const SIGNAL: &str = "tripline_signal";
    pub const TIME_LIMIT_MS: &str = "tripline_time_limit_ms";
    pub const NOT_STARTED: &str = "tripline_not_started";
    pub const TRUNCATED_FROM: &str = "tripline_truncated_from";
    pub const STDERR_TAIL: &str = "tripline_stderr_tail";
    pub const COLLECTOR: &str = "tripline_collector";
}

impl Event {
    /// The record to publish.
    pub fn to_record(&self) -> Record {
        match self {
            Event::Output(run) => output_record(run),
            Event::Gap(gap) => json_record(envelope::GAP, &gap.key, gap.time, gap),
            Event::Control(control) => json_record(envelope::CONTROL, &control.key, control.time, control),
            Event::Heartbeat(heartbeat) => heartbeat_record(heartbeat),
        }
    }

    /// Reads a record of the outputs topic.
    pub fn from_record(record: &Record) -> Result<Event, DecodeError> {
        let event = match envelope::kind(record)? {
            envelope::OUTPUT => return Ok(Event::Output(run(record)?)),
            envelope::GAP => Event::Gap(envelope::json(envelope::value(record)?)?),
            envelope::CONTROL => Event::Control(envelope::json(envelope::value(record)?)?),
            envelope::HEARTBEAT => Event::Heartbeat(envelope::json(envelope::value(record)?)?),
            kind => return Err(envelope::unknown(kind)),
        };
        event.check()?;
        envelope::expect_key(record, &event.record_key())?;
        Ok(event)
    }

    /// The (agent, command) it is about; `None` for a heartbeat, which is about the agent alone.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Event::Output(run) => Some(&run.key),
            Event::Gap(gap) => Some(&gap.key),
            Event::Control(control) => Some(&control.key),
            Event::Heartbeat(_) => None,
        }
    }

    /// The record's key.
    fn record_key(&self) -> Vec<u8> {
        match self {
            Event::Heartbeat(heartbeat) => heartbeat.record_key(),
            Event::Output(Run { key, .. }) | Event::Gap(Gap { key, .. }) | Event::Control(Control { key, .. }) => {
                key.to_bytes()
            }
        }
    }

    /// What the JSON's types alone don't say.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let time = match self {
            Event::Output(run) => run.started,
            Event::Gap(gap) => gap.time,
            Event::Control(control) => control.time,
            Event::Heartbeat(heartbeat) => heartbeat.time,
        };
        if !envelope::is_rfc_3339(&time) {
            return Err(DecodeError::BadJson(format!("`time` is {time}: expected an RFC 3339 time")));
        }
        match self {
            Event::Gap(gap) if gap.last < gap.first => {
                Err(DecodeError::BadJson(format!("a gap from {} to {} is none", gap.first, gap.last)))
            }
            Event::Heartbeat(heartbeat) => Ok(check_agent(&heartbeat.agent)?),
            _ => Ok(()),
        }
    }
}

impl Heartbeat {
    /// `agent NUL`.
    fn record_key(&self) -> Vec<u8> {
        [self.agent.as_bytes(), &[0]].concat()
    }
}

fn output_record(run: &Run) -> Record {
    let attributes = Attributes {
        kind: envelope::OUTPUT,
        id: &run.id.to_string(),
        source: envelope::agent_source(run.key.agent()),
        subject: Some(run.key.command()),
        time: Some(run.started),
        content_type: "application/octet-stream",
    };
    let mut headers = attributes.to_headers();
    headers.push(header::AGENT, run.key.agent());
    if let Some(address) = &run.address {
        headers.push(header::ADDRESS, address.as_str());
    }
    headers.push(header::COMMAND_LINE, run.command_line.as_str());
    if let Some(alias) = &run.alias {
        headers.push(header::ALIAS, alias.as_str());
    }
    headers.push(header::FORMAT, run.format.as_str());
    headers.push(header::DURATION_MS, run.duration_ms.to_string());
    if let Some(delay) = run.start_delay_ms {
        headers.push(header::START_DELAY_MS, delay.to_string());
    }
    push_ending(&mut headers, &run.ending);
    if let Some(size) = run.truncated_from {
        headers.push(header::TRUNCATED_FROM, size.to_string());
    }
    if !run.stderr_tail.is_empty() {
        headers.push(header::STDERR_TAIL, run.stderr_tail.as_slice());
    }
    headers.push(header::COLLECTOR, run.collector.as_str());
    Record { key: Some(run.key.to_bytes()), value: Some(run.output.clone()), headers }
}

fn run(record: &Record) -> Result<Run, DecodeError> {
    let key = envelope::key(record)?;
    if envelope::required(record, header::AGENT)? != key.agent() {
        return Err(envelope::bad(record, header::AGENT, "the agent of the record's key"));
    }
    let alias = envelope::optional(record, header::ALIAS)?;
    if alias.is_some_and(|alias| alias != key.command()) {
        return Err(envelope::bad(record, header::ALIAS, "the command of the record's key"));
    }
    let format = envelope::required(record, header::FORMAT)?.parse();
    Ok(Run {
        id: envelope::id(record)?.parse().map_err(|_| envelope::bad_id(record, "a UUID, `/` and a number"))?,
        address: envelope::optional(record, header::ADDRESS)?.map(str::to_owned),
        command_line: envelope::required(record, header::COMMAND_LINE)?.to_owned(),
        alias: alias.map(str::to_owned),
        format: format.map_err(|()| envelope::bad(record, header::FORMAT, "`command` or `full_command`"))?,
        started: envelope::time(record)?,
        duration_ms: required_number(record, header::DURATION_MS)?,
        start_delay_ms: envelope::number(record, header::START_DELAY_MS)?,
        ending: ending(record)?,
        truncated_from: envelope::number(record, header::TRUNCATED_FROM)?,
        stderr_tail: record.headers.get(header::STDERR_TAIL).unwrap_or_default().to_vec(),
        collector: envelope::required(record, header::COLLECTOR)?.to_owned(),
        output: envelope::value(record)?.to_vec(),
        key,
    })
}

/// A word that a consumer can filter by, and a header for what belongs to it.
fn push_ending(headers: &mut Headers, ending: &Ending) {
    let (word, detail) = match ending {
        Ending::Exited(code) => ("exited", Some((header::EXIT_CODE, code.to_string()))),
        Ending::Signalled(signal) => ("signalled", Some((header::SIGNAL, signal.to_string()))),
        Ending::TimedOut(after) => ("timed_out", Some((header::TIME_LIMIT_MS, after.to_string()))),
        Ending::Interrupted => ("interrupted", None),
        Ending::NotStarted(reason) => ("not_started", Some((header::NOT_STARTED, reason.clone()))),
    };
    headers.push(header::ENDING, word);
    if let Some((name, value)) = detail {
        headers.push(name, value);
    }
}

fn ending(record: &Record) -> Result<Ending, DecodeError> {
    const WORDS: &str = "`exited`, `signalled`, `timed_out`, `interrupted` or `not_started`";
    match envelope::required(record, header::ENDING)? {
        "exited" => Ok(Ending::Exited(required_number(record, header::EXIT_CODE)?)),
        "signalled" => Ok(Ending::Signalled(required_number(record, header::SIGNAL)?)),
        "timed_out" => Ok(Ending::TimedOut(required_number(record, header::TIME_LIMIT_MS)?)),
        "interrupted" => Ok(Ending::Interrupted),
        "not_started" => Ok(Ending::NotStarted(envelope::required(record, header::NOT_STARTED)?.to_owned())),
        _ => Err(envelope::bad(record, header::ENDING, WORDS)),
    }
}

fn required_number<T: FromStr>(record: &Record, name: &'static str) -> Result<T, DecodeError> {
    envelope::number(record, name)?.ok_or(DecodeError::MissingHeader(name))
}

fn heartbeat_record(heartbeat: &Heartbeat) -> Record {
    record_of_json(envelope::HEARTBEAT, heartbeat.record_key(), &heartbeat.agent, None, heartbeat.time, heartbeat)
}

fn json_record(kind: &'static str, key: &Key, time: Timestamp, content: &impl Serialize) -> Record {
    record_of_json(kind, key.to_bytes(), key.agent(), Some(key.command()), time, content)
}

fn record_of_json(
    kind: &'static str,
    key: Vec<u8>,
    agent: &str,
    subject: Option<&str>,
    time: Timestamp,
    content: &impl Serialize,
) -> Record {
    let value = envelope::to_json(content);
    let attributes = Attributes {
        kind,
        id: &envelope::content_id(kind, &key, &value),
        source: envelope::agent_source(agent),
        subject,
        time: Some(time),
        content_type: "application/json",
    };
    Record { headers: attributes.to_headers(), key: Some(key), value: Some(value) }
}
