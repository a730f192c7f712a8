//! A replay on several threads: each has the keys of its share, and the answers come in the order of the input.
//!
//! State belongs to a key, so that keys can be judged apart from each other; rules that count across keys can't, and need
//! [`replay::run`] on one thread. Input is handed out in rounds: while a round is judged the next one is read, and what
//! comes of it is put in order before anything of the next one follows. So memory stays bounded, and neither the number
//! of threads nor their speed changes a byte.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use tripline_engine::RuleSet;
use tripline_schemas::partition::partition_for;

use crate::backend::{BackendError, OutputRecord, OutputTopic};
use crate::memory::{self, Item, Trouble};
use crate::replay;
use crate::shard::{Observer, Options, Summary};
use crate::task::{Arrival, Judged};

/// A round has this many items...
const ROUND_ITEMS: usize = 4_096;
/// ...or items with this many bytes.
const ROUND_BYTES: usize = 32 * 1024 * 1024;

/// Where an item lies: partition and offset.
type Place = (u32, u64);

/// An output, and the item that it comes from.
type Placed = (Place, OutputRecord);

/// As [`replay::run`], on `jobs` threads and without an observer. Places must grow in the order of the input.
pub fn run(
    rules: &Arc<RuleSet>,
    mut input: impl Iterator<Item = Result<Item, Trouble>>,
    options: &Options,
    jobs: NonZeroU32,
    stop: &dyn Fn() -> bool,
    sink: &mut dyn FnMut(OutputRecord) -> Result<(), Trouble>,
) -> Result<Summary, BackendError> {
    thread::scope(|scope| {
        let workers: Vec<Worker<'_>> = (0..jobs.get())
            .map(|_| {
                let (round_sender, rounds) = mpsc::channel();
                let (answer_sender, answers) = mpsc::channel();
                let thread = scope.spawn(move || work(rules, options, rounds, answer_sender));
                Worker { rounds: round_sender, answers, thread }
            })
            .collect();
        let mut failed = None;
        let mut rule_set_is_out = false;
        let mut round = read_round(&mut input, stop, &mut failed);
        'rounds: while !round.is_empty() {
            for (worker, share) in workers.iter().zip(shares(round, jobs)) {
                // A worker that has failed says why when it is joined.
                let _ = worker.rounds.send(share);
            }
            round = read_round(&mut input, stop, &mut failed);
            let mut outputs: Vec<Placed> = Vec::new();
            for worker in &workers {
                let Ok(answers) = worker.answers.recv() else { break 'rounds };
                outputs.extend(answers);
            }
            // Stable: what one item gave stays in its order.
            outputs.sort_by_key(|(place, _)| *place);
            for (_, output) in outputs {
                // Each worker has put it into its log.
                if output.topic == OutputTopic::RuleSets && std::mem::replace(&mut rule_set_is_out, true) {
                    continue;
                }
                sink(output).map_err(memory::unwritable_output)?;
            }
        }
        let mut summary = Summary::default();
        for Worker { rounds, thread, .. } in workers {
            drop(rounds);
            let part = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            summary.counts += part.counts;
            summary.commits += part.commits;
        }
        match failed {
            None => Ok(summary),
            Some(err) => Err(memory::unreadable_input(err)),
        }
    })
}

struct Worker<'scope> {
    rounds: Sender<Vec<Item>>,
    answers: Receiver<Vec<Placed>>,
    thread: ScopedJoinHandle<'scope, Result<Summary, BackendError>>,
}

/// Judges its share of each round and answers with what came of it, until there are no more rounds.
fn work(
    rules: &Arc<RuleSet>,
    options: &Options,
    rounds: Receiver<Vec<Item>>,
    answers: Sender<Vec<Placed>>,
) -> Result<Summary, BackendError> {
    // With a batch for each item, everything is committed when the next item is asked for, and is about the last one.
    let options = Options { batch_age: Duration::ZERO, ..options.clone() };
    let at: Cell<Place> = Cell::default();
    let outputs: RefCell<Vec<Placed>> = RefCell::default();
    let mut share = Vec::new().into_iter();
    let mut is_first = true;
    let input = std::iter::from_fn(|| {
        loop {
            if let Some(item) = share.next() {
                return Some(Ok(item));
            }
            if !std::mem::take(&mut is_first) && answers.send(outputs.take()).is_err() {
                return None;
            }
            share = rounds.recv().ok()?.into_iter();
        }
    });
    let mut watch = Watch { at: &at };
    replay::run(Arc::clone(rules), input, &options, &|| false, &mut watch, &mut |output| {
        outputs.borrow_mut().push((at.get(), output));
        Ok(())
    })
}

/// Notes what is judged now.
struct Watch<'a> {
    at: &'a Cell<Place>,
}

impl Observer for Watch<'_> {
    fn judged(&mut self, arrival: &Arrival, _: &Judged) {
        self.at.set((arrival.partition, arrival.offset));
    }
}

/// The next items, as many as a round takes. An error ends the input.
fn read_round(
    input: &mut impl Iterator<Item = Result<Item, Trouble>>,
    stop: &dyn Fn() -> bool,
    failed: &mut Option<Trouble>,
) -> Vec<Item> {
    let mut round = Vec::new();
    let mut bytes = 0;
    while failed.is_none() && round.len() < ROUND_ITEMS && bytes < ROUND_BYTES && !stop() {
        match input.next() {
            None => break,
            Some(Ok(item)) => {
                bytes += match &item {
                    Item::Record(stored) => stored.record.value.as_ref().map_or(0, Vec::len),
                    Item::Line(stored) => stored.line.text.len(),
                };
                round.push(item);
            }
            Some(Err(err)) => *failed = Some(err),
        }
    }
    round
}

/// A round by the workers that have its keys.
fn shares(round: Vec<Item>, jobs: NonZeroU32) -> Vec<Vec<Item>> {
    let mut shares: Vec<Vec<Item>> = (0..jobs.get()).map(|_| Vec::new()).collect();
    for item in round {
        let worker = match &item {
            Item::Record(stored) => stored.record.key.as_deref().map_or(0, |key| partition_for(key, jobs.get())),
            Item::Line(stored) => partition_for(&stored.line.key.to_bytes(), jobs.get()),
        };
        shares[worker as usize].push(item);
    }
    shares
}
