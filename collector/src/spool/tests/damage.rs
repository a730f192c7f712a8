//! Damage: what it takes is told, whatever it hits.

use super::*;
use crate::spool::frame::Seal;
use crate::spool::read::{SegmentReader, Step};
use crate::spool::segment;

/// A spool on disk, and what is known of it.
struct Written {
    dir: tempfile::TempDir,
    /// How many runs of each command were begun.
    begun: BTreeMap<String, u64>,
    /// What the log has.
    log: Ledger,
    /// Its segments, the last one apart.
    closed: Vec<u64>,
    last: u64,
}

/// Three commands side by side, in turns of which some take longer; `running` of them still run at the end, and the first
/// runs, up to `published` of a hundred, are published.
fn written(runs: usize, published: usize, running: usize) -> Written {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut begun: BTreeMap<String, u64> = BTreeMap::new();
    let mut log = Ledger::default();
    let mut open: VecDeque<(usize, Ticket)> = VecDeque::new();
    let publish_at = runs * published / 100;
    for run in 0..runs {
        let command = run % 3;
        // Who is to begin again has ended.
        if open.len() == 3 {
            let (_, ticket) = open.pop_front().unwrap();
            spool.end(ticket, &end(format!("{ticket}:{}", "x".repeat(run * 37 % 900)))).unwrap();
        }
        let name = ["a", "b", "c"][command];
        open.push_back((command, spool.begin(&intent(name)).unwrap()));
        *begun.entry(name.to_owned()).or_default() += 1;
        spool.sync().unwrap();
        if run + 1 == publish_at {
            drain(&mut spool).into_iter().for_each(|event| log.take(event));
        }
    }
    while open.len() > running {
        let (_, ticket) = open.pop_front().unwrap();
        spool.end(ticket, &end(format!("{ticket}:"))).unwrap();
    }
    spool.sync().unwrap();
    let closed = spool.closed.iter().map(|closed| closed.number).collect();
    Written { dir, begun, log, closed, last: spool.active.number }
}

/// A copy of a spool with other bytes in one of its files.
fn damaged(written: &Written, segment: u64, damage: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(written.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = segment::path(copy.path(), segment);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(path, bytes).unwrap();
    copy
}

/// Where the frames of a segment begin, and where the last one ends.
fn frames(dir: &Path, number: u64) -> Vec<u64> {
    [0].into_iter().chain(entries(dir, number).into_iter().map(|(_, end)| end)).collect()
}

/// The frames of a segment, and where each ends.
fn entries(dir: &Path, number: u64) -> Vec<(Entry, u64)> {
    let seal = dir::describe(dir).unwrap().seal(number);
    let mut reader = SegmentReader::open(&segment::path(dir, number), seal, number, 0, None).unwrap();
    let mut entries = Vec::new();
    while let Step::Frame(entry) = reader.next().unwrap() {
        entries.push((entry, reader.offset));
    }
    entries
}

/// Opens a spool, again and again as after crashes, publishes what it has, and gives what the log has then, by command.
fn told(written: &Written, dir: &Path, what: &str) -> BTreeMap<String, u64> {
    let mut log = written.log.clone();
    let (spool, recovered) = Spool::open(dir, SPOOL_BYTES_MIN).unwrap();
    assert!(!recovered.damage.is_empty(), "{what}: nothing was said");
    drop(spool);
    let (mut spool, again) = Spool::open(dir, SPOOL_BYTES_MIN).unwrap();
    assert_eq!((again.lost, again.interrupted), (0, 0), "{what}: told twice: {again:?}");
    for event in drain(&mut spool) {
        log.take(event);
    }
    assert_eq!(spool.take_lost(), 0, "{what}: found again");
    drop(spool);
    let (mut spool, _) = Spool::open(dir, SPOOL_BYTES_MIN).unwrap();
    assert!(drain(&mut spool).is_empty(), "{what}: told after it was acknowledged");
    log.by_command()
}

#[test]
fn a_flipped_byte_anywhere_in_a_closed_segment_loses_no_run_untold() {
    for published in [0, 45] {
        let written = written(50, published, 2);
        assert!(written.closed.len() >= 2);
        for &segment in &written.closed {
            let frames = frames(written.dir.path(), segment);
            for bounds in frames.windows(2) {
                let len = bounds[1] - bounds[0];
                for at in [bounds[0] as usize % 9, len as usize / 2].map(|at| bounds[0] as usize + at) {
                    let what = format!("{published} % published, segment {segment}, byte {at}");
                    let copy = damaged(&written, segment, |bytes| bytes[at] ^= 0x20);
                    assert_eq!(told(&written, copy.path(), &what), written.begun, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_in_the_last_segment_loses_no_run_untold() {
    for (published, running) in [(0, 0), (0, 2), (60, 0), (60, 2)] {
        let written = written(20, published, running);
        let total: u64 = written.begun.values().sum();
        let mut begin = 0;
        for (entry, end) in entries(written.dir.path(), written.last) {
            let bounds = [std::mem::replace(&mut begin, end), end];
            // Of a run that was under way, begun after all others, nothing is left when its intent is hit.
            let is_all = matches!(entry, Entry::Begin { ticket, .. } if ticket == 20 && running > 0);
            for at in [bounds[0] % 9, end - bounds[0] - 1].map(|at| (bounds[0] + at) as usize) {
                let what = format!("{published} % published, {running} running, byte {at}");
                let copy = damaged(&written, written.last, |bytes| bytes[at] ^= 0x20);
                let told = told(&written, copy.path(), &what);
                assert_eq!(told.values().sum::<u64>(), total - u64::from(is_all), "{what}: {told:?}");
                if is_all {
                    continue;
                }
                // Whose run it was is known, unless it was an intent alone that was hit. Which of those that were under
                // way is in the log already, and which ran on, can't always be known.
                let unknown = told.get(UNKNOWN_COMMAND).copied().unwrap_or(0);
                assert!(unknown <= u64::from(running > 0), "{what}: {told:?}");
                if published == 0 && unknown == 0 {
                    assert_eq!(told, written.begun, "{what}");
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how much a test does is no setting of the program")]
fn seeds() -> u64 {
    std::env::var("TRIPLINE_SEEDS").map_or(60, |seeds| seeds.parse().expect("TRIPLINE_SEEDS is a number"))
}

/// As many bytes as a sector or a page of a disk has, with anything in them.
#[test]
fn damage_of_any_size_loses_no_run_untold() {
    for seed in 1..=seeds() {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let written = written(120, random.below(80) as usize, random.below(3) as usize);
        let segments: Vec<u64> = written.closed.iter().copied().chain([written.last]).collect();
        let segment = segments[random.below(segments.len() as u64) as usize];
        let end = *frames(written.dir.path(), segment).last().unwrap();
        let size = (1 << random.below(13)).min(end);
        let from = random.below(end - size + 1);
        let copy = damaged(&written, segment, |bytes| {
            for byte in &mut bytes[from as usize..(from + size) as usize] {
                *byte ^= 1 + random.below(255) as u8;
            }
        });
        let what = format!("SEED={seed}: {size} bytes from {from} of segment {segment} of {segments:?}");
        let told = told(&written, copy.path(), &what);
        let (told_runs, begun): (u64, u64) = (told.values().sum(), written.begun.values().sum());
        // How many runs the very end has held can't be known.
        let reaches_the_end = segment == written.last && from + size + 1500 > end;
        if reaches_the_end {
            assert!(told_runs <= begun + 3, "{what}: {told:?} of {:?}", written.begun);
        } else {
            assert_eq!(told_runs, begun, "{what}: {told:?} of {:?}", written.begun);
        }
    }
}

#[test]
fn what_is_gone_of_the_beginning_of_a_closed_segment_or_of_all_of_it_is_told() {
    for published in [0, 20, 45, 80] {
        let written = written(120, published, 1);
        assert!(!written.closed.is_empty());
        for &segment in &written.closed {
            let whole = *frames(written.dir.path(), segment).last().unwrap() as usize;
            for (size, is_cut) in [(100, false), (3_000, false), (9_000, false), (whole, false), (whole, true)] {
                let what = format!("{published} % published, {size} bytes of segment {segment}, {is_cut}");
                let copy = damaged(&written, segment, |bytes| match is_cut {
                    true => bytes.clear(),
                    false => bytes[..size].fill(b'?'),
                });
                let told = told(&written, copy.path(), &what);
                let (told_runs, begun): (u64, u64) = (told.values().sum(), written.begun.values().sum());
                assert_eq!(told_runs, begun, "{what}: {told:?}");
            }
        }
    }
}

#[test]
fn what_is_gone_of_a_segment_that_was_kept_while_those_behind_it_were_dropped_is_told() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 5] = [
        |_| {},
        |bytes| bytes.clear(),
        |bytes| bytes.fill(b'?'),
        |bytes| bytes[..6_000].fill(b'?'),
        |bytes| bytes.truncate(6_000),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let place = tempfile::tempdir().unwrap();
        let mut spool = open(place.path());
        run(&mut spool, "published", "x");
        drain(&mut spool);
        fill(&mut spool, 4);
        spool.next_batch().unwrap();
        // The log may have the first of them; those behind go as soon as there are too many.
        for _ in 0..300 {
            run(&mut spool, "a", vec![b'x'; 2_000]);
        }
        let total = spool.next_sequence - 1;
        let kept = segment::list(place.path()).unwrap();
        let last_before = kept.windows(2).find(|pair| pair[0] + 1 < pair[1]).expect("some were dropped")[0];
        let path = segment::path(place.path(), last_before);
        drop(spool);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let check = verify(place.path()).unwrap().unwrap();
        let (mut spool, recovered) = Spool::open(place.path(), SPOOL_BYTES_MIN).unwrap();
        assert_eq!((check.damage.is_empty(), recovered.damage.is_empty()), (number == 0, number == 0), "{number}");
        let mut ledger = Ledger::default();
        drain(&mut spool).into_iter().for_each(|event| ledger.take(event));
        assert_eq!(ledger.by_command().values().sum::<u64>(), total - 1, "damage {number}");
    }
}

#[test]
fn damage_that_comes_while_the_spool_is_in_use_is_told_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let paths = fill(&mut spool, 3);
    let next = spool.next_sequence;
    let at = frames(dir.path(), spool.closed[1].number)[4] as usize + 3;
    let mut bytes = fs::read(&paths[1]).unwrap();
    bytes[at..at + 5000].fill(b'?');
    fs::write(&paths[1], bytes).unwrap();
    let mut ledger = Ledger::default();
    let mut damage = Vec::new();
    loop {
        let batch = spool.next_batch().unwrap();
        damage.extend(batch.damage.clone());
        if batch.records.is_empty() {
            break;
        }
        events(&batch).into_iter().for_each(|event| ledger.take(event));
        spool.published(batch.through).unwrap();
    }
    assert_eq!(damage.len(), 1, "{damage:?}");
    let lost = spool.take_lost();
    assert_eq!(ledger.gaps.iter().map(|gap| gap.runs).sum::<u64>(), lost);
    assert!(lost >= 2, "{lost}");
    assert_eq!(ledger.by_command().values().sum::<u64>(), next - 1);
    assert!(paths[1].with_extension("damaged").exists());
    drop(spool);
    assert!(drain(&mut open(dir.path())).is_empty());
}

#[test]
fn damage_in_a_segment_that_a_full_spool_drops_is_told_with_the_runs_that_were_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let paths = fill(&mut spool, 2);
    let mut bytes = fs::read(&paths[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&paths[0], bytes).unwrap();
    for _ in 0..300 {
        run(&mut spool, "a", vec![b'x'; 2000]);
    }
    assert!(!paths[0].exists());
    assert_eq!(spool.take_lost(), 1);
    let mut ledger = Ledger::default();
    drain(&mut spool).into_iter().for_each(|event| ledger.take(event));
    assert_eq!(ledger.by_command(), [("a".to_owned(), spool.next_sequence - 1)].into());
}

#[test]
fn a_spool_that_does_not_know_its_numbers_any_more_goes_on_under_another_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let id = spool.id();
    for _ in 0..1000 {
        run(&mut spool, "a", "x");
    }
    drain(&mut spool);
    drop(spool);
    let spool = open(dir.path());
    assert_eq!((spool.id(), spool.closed.len()), (id, 0));
    let path = spool.active.path.clone();
    drop(spool);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (mut spool, recovered) = Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap();
    assert_eq!(recovered.damage.len(), 1);
    assert_ne!(spool.id(), id, "numbers that the log has seen would come again");
    run(&mut spool, "a", "new");
    let events = drain(&mut spool);
    assert!(matches!(&events[..], [Event::Output(run)] if run.output == b"new"), "{events:?}");
}

/// What is published of a spool in which an output held a frame that claims another run, checked by this seal, when the
/// frame around it is damaged.
fn published_with_planted(seal: impl Fn(&Spool) -> Seal) -> Vec<Event> {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    run(&mut spool, "a", "before");
    let ticket = spool.begin(&intent("a")).unwrap();
    spool.sync().unwrap();
    let (id, number, begin) = (spool.id(), spool.active.number, spool.active.len);
    let frame = |seal, offset, ticket, output: &[u8]| {
        let run = intent("a").ended(RunId { spool: id, sequence: 2 }, end(output));
        let entry = Entry::End { ticket, sequence: 2, record: Event::Output(run).to_record() };
        frame::encode(&entry, seal, number, offset)
    };
    // Where the output lies in its frame follows from what stands before it.
    let around = frame(spool.active.seal, begin, ticket, b"MARK");
    let at = begin + around.windows(4).position(|bytes| bytes == b"MARK").unwrap() as u64;
    let planted = frame(seal(&spool), at, ticket, b"planted");
    spool.end(ticket, &end(planted)).unwrap();
    spool.sync().unwrap();
    let path = spool.active.path.clone();
    drop(spool);
    let mut bytes = fs::read(&path).unwrap();
    bytes[begin as usize] ^= 1;
    fs::write(&path, bytes).unwrap();
    drain(&mut Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap().0)
}

#[test]
fn a_frame_inside_an_output_is_never_found_behind_damage() {
    let outputs = |events: Vec<Event>| -> Vec<Vec<u8>> {
        let output = |event| if let Event::Output(run) = event { Some(run.output) } else { None };
        events.into_iter().filter_map(output).collect()
    };
    // Whoever plants it knows all but the secret.
    assert_eq!(outputs(published_with_planted(|_| Seal::Plain)), [b"before".to_vec(), b"".to_vec()]);
    assert_eq!(outputs(published_with_planted(|_| Seal::Keyed([7; 32]))), [b"before".to_vec(), b"".to_vec()]);
    // With the secret it would be found: it is the secret that keeps it away.
    assert_eq!(outputs(published_with_planted(|spool| spool.active.seal)), [b"before".to_vec(), b"planted".to_vec()]);
}

#[test]
fn runs_that_wait_in_a_spool_of_format_1_are_published_and_new_segments_are_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let id = spool.id();
    run(&mut spool, "a", "1");
    let begun = spool.begin(&intent("b")).unwrap();
    spool.sync().unwrap();
    // The same frames with the checks of format 1.
    let number = spool.active.number;
    let mut reader = SegmentReader::open(&spool.active.path, spool.active.seal, number, 0, None).unwrap();
    let mut old = Vec::new();
    while let Step::Frame(entry) = reader.next().unwrap() {
        let entry = match entry {
            Entry::Start(snapshot) => Entry::Start(Box::new(Snapshot { format: 1, ..*snapshot })),
            entry => entry,
        };
        old.extend(frame::encode(&entry, Seal::Plain, number, old.len() as u64));
    }
    let path = spool.active.path.clone();
    drop(spool);
    fs::write(&path, &old).unwrap();
    fs::write(dir.path().join("spool.json"), format!("{{\"format\":1,\"spool\":\"{id}\"}}")).unwrap();

    let (mut spool, recovered) = Spool::open(dir.path(), SPOOL_BYTES_MIN).unwrap();
    assert_eq!(recovered, Recovered { interrupted: 1, ..Recovered::default() }, "{begun}");
    assert_eq!((spool.id(), spool.closed[0].seal), (id, Seal::Plain));
    assert!(matches!(spool.active.seal, Seal::Keyed(_)));
    run(&mut spool, "c", "2");
    drop(spool);
    assert_eq!(ids(&drain(&mut open(dir.path()))).len(), 3);
}

#[test]
fn a_look_for_damage_names_it_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    assert_eq!(verify(dir).unwrap(), None);
    let mut spool = open(dir);
    for n in 0..30 {
        run(&mut spool, "big", vec![n; 2_000]);
    }
    assert_eq!(verify(dir).unwrap(), Some(SpoolCheck { runs: 30, damage: Vec::new() }), "beside its owner");
    drop(spool);
    let first = segment::path(dir, *segment::list(dir).unwrap().first().unwrap());
    let mut bytes = fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&first, &bytes).unwrap();
    let check = verify(dir).unwrap().unwrap();
    assert!(check.runs < 30);
    assert!(check.damage.len() == 1 && check.damage[0].contains(first.to_str().unwrap()), "{check:?}");
    assert_eq!(fs::read(&first).unwrap(), bytes);
}

/// Every file of a spool, damaged at random places: what comes out is what was put in, what is missing is told, and no
/// number that the log may have seen is given again. Only the end of the last segment can go without a word, as after a
/// crash.
#[test]
fn a_damaged_file_of_the_spool_is_told_and_nothing_false_comes_out_of_it() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("spool");
    let mut spool = open(&dir);
    let id = spool.id();
    for n in 0..40u8 {
        run(&mut spool, "big", vec![n; 1_500]);
        if n == 5 {
            let batch = spool.next_batch().unwrap();
            spool.published(batch.through).unwrap();
        }
    }
    let published = spool.published;
    drop(spool);
    let mut files: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| !path.ends_with("lock"));
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    let last = segment::path(&dir, *segment::list(&dir).unwrap().last().unwrap());
    let seed = since_epoch_or_seed();
    println!("SEED={seed}");
    let mut state = seed;
    let mut below = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    for (number, file) in files.iter().enumerate() {
        let whole = fs::read(file).unwrap();
        for round in 0..30 {
            let copied = place.path().join(format!("{number}-{round}"));
            fs::create_dir(&copied).unwrap();
            for from in &files {
                fs::copy(from, copied.join(from.file_name().unwrap())).unwrap();
            }
            // Nothing at all is left of it at first.
            let at = if round == 0 { 0 } else { below(whole.len() as u64) as usize };
            let cuts = round % 3 == 0;
            let mut bytes = whole.clone();
            if cuts {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << below(8);
            }
            let damaged = copied.join(file.file_name().unwrap());
            fs::write(&damaged, bytes).unwrap();
            let what = format!("SEED={seed}: {} {at} {cuts}", file.display());

            let check = verify(&copied);
            let (mut spool, recovered) = match Spool::open(&copied, SPOOL_BYTES_MIN) {
                Ok(opened) => opened,
                Err(error) => {
                    let named = [damaged.to_str().unwrap(), "has format"].iter().any(|n| error.to_string().contains(n));
                    assert!(named, "{what}: {error}");
                    assert!(check.is_err() || check.is_ok_and(|c| !c.unwrap().damage.is_empty()), "{what}");
                    continue;
                }
            };
            let found = recovered.damage.len();
            assert_eq!(check.unwrap().unwrap().damage.is_empty(), found == 0, "{what}: {:?}", recovered.damage);
            let mut numbers = BTreeSet::new();
            let mut told = 0;
            for event in drain(&mut spool) {
                let run = match event {
                    Event::Output(run) => run,
                    Event::Gap(gap) => {
                        assert!(found > 0 && gap.first > published && gap.last <= 40, "{what}: {gap:?}");
                        told += gap.runs;
                        continue;
                    }
                    other => panic!("{what}: {other:?}"),
                };
                if run.ending == Ending::Interrupted {
                    // Its end was damaged. It has a number of its own, and is no observation.
                    assert!(found > 0 || *file == last, "{what}");
                    told += 1;
                    continue;
                }
                told += u64::from(run.id.sequence > published);
                assert_eq!(run.id.spool, id, "{what}");
                assert_eq!(run.output, vec![run.id.sequence as u8 - 1; 1_500], "{what}");
                numbers.insert(run.id.sequence);
            }
            let missing = (published + 1..=40).filter(|number| !numbers.contains(number)).count();
            assert!(missing == 0 || found > 0 || (*file == last && cuts), "{what}: {missing} are missing");
            // Of what was cut off the end of a segment, an intent may be all that tells.
            assert!(cuts || told == 40 - published, "{what}: {told} are told of");
            // One whose `spool.json` names another spool has numbers of its own.
            if spool.id() == id && !(*file == last && cuts) {
                assert!(run(&mut spool, "big", "next") > 40, "{what}");
            }
        }
    }
}

/// The number in `SEED`, else one by the clock.
#[expect(clippy::disallowed_methods, reason = "the seed of a test is no setting")]
fn since_epoch_or_seed() -> u64 {
    std::env::var("SEED")
        .map_or_else(|_| tripline_faults::now().as_microsecond() as u64, |seed| seed.parse().expect("SEED is a number"))
}
