use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

use super::*;
use crate::testing::Random;

fn intent(command: &str) -> Intent {
    Intent {
        key: Key::new("web-1", command).unwrap(),
        address: Some("192.0.2.1".into()),
        command_line: command.to_owned(),
        alias: None,
        format: Format::Command,
        started: Timestamp::UNIX_EPOCH,
        collector: "1".into(),
    }
}

fn end(output: impl Into<Vec<u8>>) -> End {
    End {
        started: Timestamp::UNIX_EPOCH,
        duration_ms: 5,
        start_delay_ms: Some(20),
        ending: Ending::Exited(0),
        truncated_from: None,
        stderr_tail: b"warning".to_vec(),
        output: output.into(),
    }
}

fn open(dir: &Path) -> Spool {
    let (spool, recovered) = Spool::open(dir, SPOOL_BYTES_MIN).unwrap();
    assert_eq!(recovered, Recovered::default());
    spool
}

fn run(spool: &mut Spool, command: &str, output: impl Into<Vec<u8>>) -> u64 {
    let ticket = spool.begin(&intent(command)).unwrap();
    let id = spool.end(ticket, &end(output)).unwrap();
    spool.sync().unwrap();
    id.sequence
}

fn events(batch: &Batch) -> Vec<Event> {
    batch.records.iter().map(|record| Event::from_record(record).unwrap()).collect()
}

fn runs(batch: &Batch) -> Vec<(u64, Vec<u8>)> {
    let run = |event| match event {
        Event::Output(run) => (run.id.sequence, run.output),
        other => panic!("{other:?}"),
    };
    events(batch).into_iter().map(run).collect()
}

fn drain(spool: &mut Spool) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let batch = spool.next_batch().unwrap();
        if batch.records.is_empty() {
            return all;
        }
        all.extend(events(&batch));
        spool.published(batch.through).unwrap();
    }
}

#[test]
fn runs_are_handed_out_in_the_order_of_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let slow = spool.begin(&intent("slow")).unwrap();
    assert!(!spool.is_empty(), "a run is under way");
    let quick = spool.begin(&intent("quick")).unwrap();
    spool.end(quick, &end("q")).unwrap();
    assert_eq!(spool.next_batch().unwrap().records, [], "nothing is handed out before it is durable");
    spool.sync().unwrap();
    assert_eq!(runs(&spool.next_batch().unwrap()), [(1, b"q".to_vec())]);
    spool.end(slow, &end("s")).unwrap();
    spool.sync().unwrap();
    // Not acknowledged, so it comes again.
    let batch = spool.next_batch().unwrap();
    assert_eq!(runs(&batch), [(1, b"q".to_vec()), (2, b"s".to_vec())]);
    assert!(!spool.is_empty());
    spool.published(batch.through).unwrap();
    assert_eq!(spool.next_batch().unwrap().records, []);
    assert!(spool.is_empty());
}

#[test]
fn a_run_comes_back_with_all_its_facts() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let ticket = spool.begin(&intent("df -P")).unwrap();
    let what = End { truncated_from: Some(99), ..end(vec![0, 255, b'\r', b'\n']) };
    let id = spool.end(ticket, &what).unwrap();
    spool.sync().unwrap();
    let expected = intent("df -P").ended(id, what);
    drop(spool);
    assert_eq!(drain(&mut open(dir.path())), [Event::Output(expected)]);
}

#[test]
fn a_spool_goes_on_where_it_stopped_under_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let id = spool.id();
    assert_eq!(run(&mut spool, "a", "1"), 1);
    assert_eq!(run(&mut spool, "a", "2"), 2);
    assert_eq!(drain(&mut spool).len(), 2);
    assert_eq!(run(&mut spool, "a", "3"), 3);
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!(spool.id(), id);
    assert_eq!(run(&mut spool, "a", "4"), 4);
    assert_eq!(runs(&spool.next_batch().unwrap()), [(3, b"3".to_vec()), (4, b"4".to_vec())]);
}

#[test]
fn an_intent_without_an_end_becomes_an_interrupted_run_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    run(&mut spool, "a", "1");
    spool.begin(&intent("b")).unwrap();
    spool.sync().unwrap();
    drop(spool);
    let (spool, recovered) = Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap();
    assert_eq!(recovered, Recovered { interrupted: 1, ..Recovered::default() });
    drop(spool);
    let mut spool = open(dir.path());
    let events = drain(&mut spool);
    assert_eq!(events.len(), 2);
    let Event::Output(run) = &events[1] else { panic!("{events:?}") };
    assert_eq!((run.key.command(), run.id.sequence, &run.ending), ("b", 2, &Ending::Interrupted));
}

#[test]
fn one_process_owns_a_spool_and_only_its_user_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let spool = open(&path);
    assert!(matches!(Spool::open(&path, 0), Err(SpoolError::InUse { .. })));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    drop(spool);
    open(&path);
}

#[test]
fn a_spool_of_a_later_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let description = dir.path().join("spool.json");
    let text = fs::read_to_string(&description).unwrap();
    fs::write(&description, text.replace("\"format\":2", "\"format\":3")).unwrap();
    assert!(matches!(Spool::open(dir.path(), 0), Err(SpoolError::Newer { found: 3, .. })));
    fs::write(&description, "{").unwrap();
    assert!(matches!(Spool::open(dir.path(), 0), Err(SpoolError::NotASpool { .. })));
}

#[test]
fn a_crash_at_any_byte_of_a_write_loses_nothing_that_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    run(&mut spool, "a", "1");
    let synced = spool.active.synced_len;
    let ticket = spool.begin(&intent("b")).unwrap();
    spool.end(ticket, &end("2")).unwrap();
    let (path, len) = (spool.active.path.clone(), spool.active.len);
    drop(spool);
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len() as u64, len);
    for cut in (synced..=len).step_by(3) {
        for zeros in [0, 100] {
            let copy = tempfile::tempdir().unwrap();
            fs::copy(dir.path().join("spool.json"), copy.path().join("spool.json")).unwrap();
            let mut bytes = whole[..cut as usize].to_vec();
            bytes.resize(bytes.len() + zeros, 0);
            fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
            let (mut spool, recovered) = Spool::open(copy.path(), SPOOL_BYTES_MIN).unwrap();
            assert!(recovered.interrupted <= 1);
            let next = run(&mut spool, "c", "3");
            let events = drain(&mut spool);
            assert!(matches!(&events[0], Event::Output(run) if run.output == b"1"));
            drop(spool);
            // Zeros behind a part of a frame look like damage; numbers may be left out then, never used twice.
            if zeros == 0 || cut == synced {
                assert_eq!(recovered.damage, Vec::<String>::new(), "cut at {cut}");
                assert_eq!(events.len() as u64, next, "cut at {cut}");
                // What was cut off is not taken for damage later either.
                open(copy.path());
            }
        }
    }
}

/// Fills several segments; gives their paths.
fn fill(spool: &mut Spool, segments: usize) -> Vec<PathBuf> {
    while spool.closed.len() < segments {
        run(spool, "a", vec![b'x'; 2000]);
    }
    spool.closed.iter().map(|closed| closed.path.clone()).collect()
}

#[test]
fn damage_is_named_and_the_rest_of_the_spool_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let paths = fill(&mut spool, 3);
    let next = spool.next_sequence;
    drop(spool);
    let mut bytes = fs::read(&paths[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&paths[1], bytes).unwrap();

    let (mut spool, recovered) = Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap();
    assert_eq!(recovered.damage.len(), 1);
    assert!(recovered.damage[0].contains("0000000002.seg` can't be read from byte "), "{:?}", recovered.damage);
    assert_eq!(spool.next_sequence, next);
    // One run is gone, and it is known whose it was.
    assert_eq!(recovered.lost, 1);
    let mut expected = 1;
    for event in drain(&mut spool) {
        let number = match event {
            Event::Output(run) => run.id.sequence,
            Event::Gap(gap) => {
                assert_eq!((gap.key.command(), gap.runs, gap.first), ("a", 1, gap.last));
                assert!(gap.last > next / 3 && gap.last < next - 1);
                gap.last
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(number, expected);
        expected += 1;
    }
    assert_eq!(expected, next);
    assert!(paths[1].with_extension("damaged").exists());
    assert!(!paths[1].exists());
}

#[test]
fn numbers_that_a_damaged_end_may_have_used_are_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for output in ["1", "2", "3"] {
        run(&mut spool, "a", output);
    }
    assert_eq!(drain(&mut spool).len(), 3);
    let path = spool.active.path.clone();
    drop(spool);
    let whole = fs::read(&path).unwrap();
    // Wherever the damage is, the log has seen number 3.
    for at in (0..whole.len()).step_by(3) {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(dir.path().join("spool.json"), copy.path().join("spool.json")).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
        let (mut spool, recovered) = Spool::open(copy.path(), SPOOL_BYTES_MIN).unwrap();
        assert_eq!(recovered.damage.len(), 1, "byte {at}");
        assert!(run(&mut spool, "a", "next") > 3, "byte {at}");
    }
}

#[test]
fn a_full_spool_drops_the_oldest_runs_and_tells_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut begun: BTreeMap<&str, u64> = BTreeMap::new();
    for i in 0..1000 {
        let command = ["a", "b", "c"][i % 3];
        let ticket = spool.begin(&intent(command)).unwrap();
        spool.end(ticket, &end(vec![b'x'; 1000])).unwrap();
        *begun.entry(command).or_default() += 1;
        assert!(spool.bytes() <= SPOOL_BYTES_MIN + spool.segment_bytes);
    }
    spool.sync().unwrap();
    let dropped = spool.take_dropped().unwrap();
    assert!(dropped.runs > 500);
    assert_eq!(dropped.commands, 3);
    drop(spool);

    let mut spool = open(dir.path());
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut last = 0;
    let mut gone = 0;
    for event in drain(&mut spool) {
        let (number, key, count) = match event {
            Event::Output(run) => (run.id.sequence, run.key, 1),
            Event::Gap(gap) => {
                assert_eq!(gap.address.as_deref(), Some("192.0.2.1"));
                assert!(gap.first <= gap.last && gap.runs <= gap.last - gap.first + 1);
                gone += gap.runs;
                (gap.last, gap.key, gap.runs)
            }
            other => panic!("{other:?}"),
        };
        assert!(number > last, "numbers increase, those of gaps included");
        last = number;
        *seen.entry(key.command().to_owned()).or_default() += count;
    }
    assert_eq!(gone, dropped.runs);
    assert_eq!(seen, begun.into_iter().map(|(command, count)| (command.to_owned(), count)).collect());
    assert!(drain(&mut spool).is_empty() && spool.is_empty());
    drop(spool);
    assert!(drain(&mut open(dir.path())).is_empty(), "a gap is told once");
}

#[test]
fn runs_that_the_log_may_have_are_not_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    run_many(&mut spool, 100);
    let through = spool.next_batch().unwrap().through;
    drop(spool); // Nobody knows whether the batch has arrived.
    let mut spool = open(dir.path());
    run_many(&mut spool, 1000);
    assert!(spool.take_dropped().is_some());
    let mut next = 1;
    let mut gaps = 0;
    for event in drain(&mut spool) {
        match event {
            Event::Output(run) => {
                assert_eq!(run.id.sequence, next);
                next += 1;
            }
            Event::Gap(gap) => {
                assert!(gap.first > through);
                assert_eq!((gap.first, gap.runs), (next, gap.last - gap.first + 1));
                next = gap.last + 1;
                gaps += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((next, gaps), (1101, 1));
}

/// It may be there with the runs that it counts: one that counts more would count those a second time.
#[test]
fn a_gap_that_the_log_may_have_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    run_many(&mut spool, 1000);
    let offered = events(&spool.next_batch().unwrap()).into_iter().find(|event| matches!(event, Event::Gap(_)));
    assert!(offered.is_some());
    run_many(&mut spool, 1000);
    let mut next = 1;
    let mut gaps = Vec::new();
    for event in drain(&mut spool) {
        next = match event {
            Event::Output(run) if run.id.sequence == next => next + 1,
            Event::Gap(gap) if (gap.first, gap.runs) == (next, gap.last - gap.first + 1) => {
                let after = gap.last + 1;
                gaps.push(Event::Gap(gap));
                after
            }
            other => panic!("{next} is not next: {other:?}"),
        };
    }
    assert_eq!((next, gaps.len(), gaps.first()), (2001, 2, offered.as_ref()));
}

fn run_many(spool: &mut Spool, count: usize) {
    for _ in 0..count {
        let ticket = spool.begin(&intent("a")).unwrap();
        spool.end(ticket, &end(vec![b'x'; 1000])).unwrap();
    }
    spool.sync().unwrap();
}

#[test]
fn a_long_run_outlives_the_segment_of_its_intent() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let long = spool.begin(&intent("long")).unwrap();
    spool.sync().unwrap();
    fill(&mut spool, 2);
    drain(&mut spool);
    assert!(spool.closed.is_empty());
    drop(spool);
    let (mut spool, recovered) = Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap();
    assert_eq!(recovered.interrupted, 1);
    let events = drain(&mut spool);
    assert!(matches!(&events[..], [Event::Output(run)] if run.key.command() == "long"), "{events:?} {long}");
}

#[test]
fn a_full_disk_changes_nothing_and_work_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    run(&mut spool, "a", "1");
    let ticket = spool.begin(&intent("a")).unwrap();
    spool.disk_full.store(true, Ordering::SeqCst);
    assert!(spool.end(ticket, &end("2")).unwrap_err().is_disk_full());
    assert!(spool.begin(&intent("b")).unwrap_err().is_disk_full());
    spool.disk_full.store(false, Ordering::SeqCst);
    assert_eq!(spool.end(ticket, &end("2")).unwrap().sequence, 2);
    spool.sync().unwrap();
    assert_eq!(runs(&spool.next_batch().unwrap()), [(1, b"1".to_vec()), (2, b"2".to_vec())]);
}

/// What a processor sees of a spool: it drops what is not above the last number.
#[derive(Clone, Default)]
struct Ledger {
    last: u64,
    runs: BTreeMap<u64, Run>,
    gaps: Vec<Gap>,
}

impl Ledger {
    /// How many runs were told of, by command.
    fn by_command(&self) -> BTreeMap<String, u64> {
        let runs = self.runs.values().map(|run| (&run.key, 1));
        let mut counts = BTreeMap::new();
        for (key, count) in runs.chain(self.gaps.iter().map(|gap| (&gap.key, gap.runs))) {
            *counts.entry(key.command().to_owned()).or_default() += count;
        }
        counts
    }

    fn take(&mut self, event: Event) {
        let number = match &event {
            Event::Output(run) => run.id.sequence,
            Event::Gap(gap) => gap.last,
            other => panic!("{other:?}"),
        };
        if number <= self.last {
            return;
        }
        self.last = number;
        match event {
            Event::Output(run) => assert!(self.runs.insert(number, run).is_none()),
            Event::Gap(gap) => {
                // A gap that grew before it was acknowledged is told again, larger.
                self.gaps.retain(|other| (&other.key, other.first) != (&gap.key, gap.first));
                self.gaps.push(gap);
            }
            _ => unreachable!("matched above"),
        }
    }
}

/// Random work, cut off at random places. When the process is killed, what it wrote stays; when the power fails,
/// whatever was not synced may be lost, from any byte on.
#[test]
fn crashes_neither_lose_nor_double_a_run() {
    for seed in 1..=60_u64 {
        let power_fails = seed % 2 == 0;
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::default();
        // Tickets whose intent is durable, and what became of them as far as it is durable.
        let mut begun: BTreeSet<Ticket> = BTreeSet::new();
        let mut ended: BTreeMap<Ticket, Vec<u8>> = BTreeMap::new();
        let crashes = 1 + random.below(6);
        for crash in 0..=crashes {
            let (mut spool, recovered) = Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap();
            assert_eq!(recovered.damage, Vec::<String>::new(), "SEED={seed}");
            let mut begun_unsynced: Vec<Ticket> = Vec::new();
            let mut ended_unsynced: Vec<(Ticket, Vec<u8>)> = Vec::new();
            for _ in 0..random.below(400) {
                match random.below(40) {
                    0..17 => {
                        begun_unsynced.push(spool.begin(&intent(["a", "b", "c"][random.below(3) as usize])).unwrap())
                    }
                    17..32 => {
                        let open: Vec<Ticket> = spool.open.keys().copied().collect();
                        if !open.is_empty() {
                            let ticket = open[random.below(open.len() as u64) as usize];
                            let mut output = format!("{ticket}\n").into_bytes();
                            output.resize(output.len() + random.below(4000) as usize, b'x');
                            spool.end(ticket, &end(output.clone())).unwrap();
                            ended_unsynced.push((ticket, output));
                        }
                    }
                    32..34 => {
                        spool.sync().unwrap();
                        begun.extend(begun_unsynced.drain(..));
                        ended.extend(ended_unsynced.drain(..));
                    }
                    _ => {
                        let batch = spool.next_batch().unwrap();
                        let events = events(&batch);
                        let taken = random.below(events.len() as u64 + 1) as usize;
                        let is_acknowledged = taken == events.len() && random.below(3) > 0;
                        events.into_iter().take(taken).for_each(|event| ledger.take(event));
                        if is_acknowledged {
                            spool.published(batch.through).unwrap();
                        }
                    }
                }
            }
            // A segment that was closed is durable; the end of the active one may be lost from any byte on.
            let (path, synced, len) = (spool.active.path.clone(), spool.active.synced_len, spool.active.len);
            drop(spool);
            if power_fails && crash < crashes {
                let cut = synced + random.below(len - synced + 1);
                OpenOptions::new().write(true).open(path).unwrap().set_len(cut).unwrap();
            }
        }
        let (mut spool, _) = Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap();
        drain(&mut spool).into_iter().for_each(|event| ledger.take(event));

        let gone: u64 = ledger.gaps.iter().map(|gap| gap.runs).sum();
        let told = ledger.runs.len() as u64 + gone;
        assert!(told >= begun.len() as u64, "SEED={seed}: {told} of {} runs are told of", begun.len());
        let numbers = spool.next_sequence - 1;
        // After a power failure a gap may count runs that the log has, since nobody remembers that they were offered.
        assert!(told == numbers || power_fails && told > numbers, "SEED={seed}: {told} for {numbers} numbers");
        let mut outputs: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for run in ledger.runs.values() {
            if run.ending != Ending::Interrupted {
                *outputs.entry(run.output.clone()).or_default() += 1;
            }
        }
        assert!(outputs.values().all(|count| *count == 1), "SEED={seed}: an output came twice");
        let missing = ended.values().filter(|output| !outputs.contains_key(*output)).count() as u64;
        assert!(missing <= gone, "SEED={seed}: {missing} finished runs are missing, {gone} were dropped");
    }
}

/// The ids of the runs among these events.
fn ids(events: &[Event]) -> Vec<RunId> {
    let id = |event: &Event| match event {
        Event::Output(run) => Some(run.id),
        _ => None,
    };
    events.iter().filter_map(id).collect()
}

mod copies;
mod damage;
