//! History through a rule set: the same loop as live processing, with a state of its own that starts empty.
//!
//! `replay`, `logtest`, `explain` and `test` are views of it: what they want to see, they see through an
//! [`Observer`].

use std::sync::Arc;

use tripline_engine::RuleSet;
use tripline_engine::decision::LogLine;
use tripline_eventlog::Stored;
use tripline_schemas::history::{HistoryBody, HistoryRecord};

use crate::backend::{BackendError, OutputRecord, StoredLine};
use crate::memory::{self, Item, MemoryBackend, Trouble};
use crate::rules::ActiveRules;
use crate::shard::{self, Observer, Options, Summary};

/// Judges an input to its end, or until `stop` says so.
///
/// `sink` gets alerts and dead letters in the order of the input, and once the rule set, as they would be appended to
/// their topics; a little later than `observer` sees them judged. An error of the input or of `sink` ends the replay;
/// what came before an error of the input is judged and handed to `sink` first.
///
/// Items keep the partition and the offset they have in their log; see [`from_history`] for those that have none.
pub fn run(
    rules: Arc<RuleSet>,
    input: impl Iterator<Item = Result<Item, Trouble>>,
    options: &Options,
    stop: &dyn Fn() -> bool,
    observer: &mut dyn Observer,
    sink: &mut dyn FnMut(OutputRecord) -> Result<(), Trouble>,
) -> Result<Summary, BackendError> {
    let mut failed = None;
    let input = input.map_while(|item| match item {
        Ok(item) => Some(Ok(item)),
        Err(err) => {
            failed = Some(err);
            None
        }
    });
    let summary = shard::run(&mut MemoryBackend::new(input, sink), &ActiveRules::new(rules), options, stop, observer)?;
    match failed {
        None => Ok(summary),
        Some(err) => Err(memory::unreadable_input(err)),
    }
}

/// Options for a replay that names `input_topic` as the place its alerts come from.
pub fn options(input_topic: impl Into<String>) -> Options {
    // There is nothing to start again from, so that cursors need not be stored.
    Options { input_topic: input_topic.into(), checkpoint_records: u64::MAX, ..Options::default() }
}

/// Records of a history as items of one partition, numbered from 0.
pub fn from_history<E: Into<Trouble>>(
    records: impl Iterator<Item = Result<HistoryRecord, E>>,
) -> impl Iterator<Item = Result<Item, Trouble>> {
    let partition = 0;
    (0..).zip(records).map(move |(offset, record)| {
        let HistoryRecord { append_time, body } = record.map_err(Into::into)?;
        Ok(match body {
            HistoryBody::Event(event) => {
                Item::Record(Stored { partition, offset, append_time, record: event.to_record() })
            }
            HistoryBody::Log(log) => {
                let location = log.location();
                let line = LogLine { key: log.key, address: log.address, location, time: log.time, text: log.text };
                Item::Line(StoredLine { partition, offset, append_time, line })
            }
        })
    })
}
