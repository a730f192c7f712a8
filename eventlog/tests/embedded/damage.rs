//! Damaged, missing and torn files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::{TempDir, tempdir};
use tripline_eventlog::{
    LogError, Reader as _, Stored,
    embedded::{
        Batch, EmbeddedLog, EmbeddedOptions, OpenError, Output, Position, StateChange, open_for_reading, verify,
    },
};

use crate::support::{OUTPUTS, Random, child, child_command, child_dir, number, open, read_all, record, topic, values};

/// The file of this kind in the database, by the start or the end of its name. There must be one.
fn file(dir: &Path, matches: impl Fn(&str) -> bool) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir(dir.join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| matches(path.file_name().unwrap().to_str().unwrap()) && path.metadata().unwrap().len() > 0)
        .collect();
    found.sort();
    found.pop().expect("there is such a file")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A directory with records in data files: opening it again writes what the write-ahead log held into one.
fn written(dir: &Path) {
    let log = open(dir, 1);
    for n in 0..100 {
        log.append(OUTPUTS, &[record("k", format!("{n} {}", "x".repeat(1000)))]).unwrap();
    }
    log.commit(Batch {
        state: vec![StateChange { partition: 0, key: b"k".to_vec(), value: Some(b"v".to_vec()) }],
        ..Batch::default()
    })
    .unwrap();
    drop(log);
    drop(open(dir, 1));
}

/// The directory is refused for owners and readers, and the message names the file and the directory.
fn refused(dir: &Path, file: &str) {
    let refused = [
        EmbeddedLog::open(dir, EmbeddedOptions::default()).map(drop),
        open_for_reading(dir, EmbeddedOptions::default()).map(drop),
    ];
    for error in refused.map(Result::unwrap_err) {
        let OpenError::Damaged { what, .. } = &error else { panic!("{error:?}") };
        assert!(what.contains(file), "{file} is not named: {what}");
        assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
    }
}

#[test]
fn a_missing_or_damaged_file_is_named() {
    type Damage = (&'static str, fn(&str) -> bool, fn(&Path));
    let damages: [Damage; 8] = [
        ("CURRENT", |name| name == "CURRENT", |path| fs::remove_file(path).unwrap()),
        ("CURRENT", |name| name == "CURRENT", |path| fs::write(path, "").unwrap()),
        ("CURRENT", |name| name == "CURRENT", |path| fs::write(path, [0xff, 0, 0xff]).unwrap()),
        ("MANIFEST", |name| name.starts_with("MANIFEST"), |path| fs::remove_file(path).unwrap()),
        ("MANIFEST", |name| name.starts_with("MANIFEST"), |path| fs::write(path, [7; 5000]).unwrap()),
        ("", |name| name.ends_with(".sst"), |path| fs::remove_file(path).unwrap()),
        ("", |name| name.ends_with(".sst"), |path| cut(path, 10)),
        ("", |name| name.ends_with(".sst"), |path| overwrite_end(path)),
    ];
    for (named, matches, damage) in damages {
        let dir = tempdir().unwrap();
        written(dir.path());
        let path = file(dir.path(), matches);
        damage(&path);
        // RocksDB names data files by their number.
        let name = name(&path);
        let named = if named.is_empty() { name.trim_start_matches('0') } else { named };
        refused(dir.path(), named);
    }
}

#[test]
fn a_missing_or_damaged_write_ahead_log_is_named() {
    let damages: [fn(&Path); 2] = [
        |path| fs::remove_file(path).unwrap(),
        |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        },
    ];
    for damage in damages {
        let dir = tempdir().unwrap();
        let log = open(dir.path(), 1);
        for n in 0..100 {
            log.append(OUTPUTS, &[record("k", format!("{n} {}", "x".repeat(1000)))]).unwrap();
        }
        drop(log);
        damage(&file(dir.path(), |name| name.ends_with(".log")));
        refused(dir.path(), ".log");
    }
}

#[test]
fn a_lost_format_file_is_not_taken_for_a_new_directory() {
    let dir = tempdir().unwrap();
    written(dir.path());
    fs::remove_file(dir.path().join("format")).unwrap();
    let error = EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged { what, .. } if what.contains("format")), "{error:?}");
    fs::write(dir.path().join("format"), "something else").unwrap();
    refused(dir.path(), "format");
}

#[test]
fn damage_within_a_data_file_is_an_error_of_the_read_and_not_other_records() {
    // Small records lie in `.sst` files, large ones in `.blob` files.
    for (size, kind) in [(1_000, "sst"), (10_000, "blob")] {
        let dir = tempdir().unwrap();
        let log = open(dir.path(), 1);
        for n in 0..20 {
            log.append(OUTPUTS, &[record("k", format!("{n} {}", "x".repeat(size)))]).unwrap();
        }
        drop(log);
        drop(open(dir.path(), 1));
        let mut data: Vec<PathBuf> = fs::read_dir(dir.path().join("db"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == kind))
            .collect();
        data.sort_by_key(|path| path.metadata().unwrap().len());
        let path = data.pop().unwrap(); // The records'.
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(&path, bytes).unwrap();

        // Whether the damage is met when the bounds are read or with the records, it is never passed over.
        let error: Box<dyn std::error::Error> = match EmbeddedLog::open(dir.path(), EmbeddedOptions::default()) {
            Err(error) => error.into(),
            Ok(log) => {
                let mut reader = log.reader(OUTPUTS).unwrap();
                reader.seek(0, 0).unwrap();
                reader.read(1, Duration::ZERO).unwrap_err().into()
            }
        };
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(error) = next {
            text.push_str(&format!(": {error}"));
            next = error.source();
        }
        assert!(text.contains("damaged"), "{text}");
        // RocksDB names the file or not, depending on its kind; the record is named in any case.
        assert!(text.contains("record 0 of `outputs` partition 0") || text.contains(&name(&path)), "{text}");
    }
}

#[test]
fn a_torn_end_of_the_write_ahead_log_costs_the_torn_record_only() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    log.append(OUTPUTS, &[record("k", "first")]).unwrap();
    log.append(OUTPUTS, &[record("k", "second")]).unwrap();
    drop(log);
    cut(&file(dir.path(), |name| name.ends_with(".log")), 3);

    let read_only = open_for_reading(dir.path(), EmbeddedOptions::default()).unwrap();
    assert_eq!(values(&read_all(&mut read_only.reader(OUTPUTS).unwrap())), ["first"]);
    drop(read_only);
    let log = open(dir.path(), 1);
    assert_eq!(values(&read_all(&mut log.reader(OUTPUTS).unwrap())), ["first"]);
    assert_eq!(log.append(OUTPUTS, &[record("k", "again")]).unwrap(), [(0, 1)]);
}

#[test]
fn damage_in_the_middle_of_the_write_ahead_log_is_not_passed_over() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    for n in 0..100 {
        log.append(OUTPUTS, &[record("k", format!("{n} {}", "x".repeat(1000)))]).unwrap();
    }
    drop(log);
    let path = file(dir.path(), |name| name.ends_with(".log"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged { .. }), "{error:?}");
}

/// Appends until it may not write any more: the shell that starts it bounds the size of its files.
#[test]
#[ignore = "a child of the test below"]
fn child_without_room() {
    let Some(dir) = child_dir() else { return };
    let log = EmbeddedLog::open(&dir, EmbeddedOptions::default()).unwrap();
    log.create_topics(&[topic(OUTPUTS, 1)]).unwrap();
    for n in 0.. {
        match log.append(OUTPUTS, &[record("k", vec![b'x'; 100_000])]) {
            Ok(_) => println!("acknowledged {n}"),
            Err(error) => {
                let LogError::Failed { what, .. } = &error else { panic!("{error:?}") };
                assert!(what.contains("is full") && what.contains("free some space"), "{what}");
                log.append(OUTPUTS, &[record("k", "nothing may follow")]).unwrap_err();
                log.commit(Batch {
                    state: vec![StateChange { partition: 0, key: vec![], value: None }],
                    ..Batch::default()
                })
                .unwrap_err();
                println!("full");
                return;
            }
        }
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_acknowledged_is_lost_when_there_is_room_again() {
    let dir = tempdir().unwrap();
    // 2 MiB per file in blocks of 512 bytes; without the signal, writing more is an error like that of a full disk.
    let direct = child_command("damage::child_without_room", dir.path());
    let mut bounded = std::process::Command::new("sh");
    bounded.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""]);
    bounded.arg(direct.get_program()).args(direct.get_args()).env("DIR", dir.path());
    let output = bounded.stdout(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("full"), "{text}");
    let acknowledged = text.lines().filter(|line| line.contains("acknowledged")).count();
    assert!(acknowledged > 3, "{text}");

    let log = open(dir.path(), 1);
    let read = read_all(&mut log.reader(OUTPUTS).unwrap());
    assert!(read.len() >= acknowledged, "{} of {acknowledged}", read.len());
    assert!(read.iter().all(|stored| stored.record.value.as_ref().unwrap().len() == 100_000));
    assert_eq!(log.append(OUTPUTS, &[record("k", "room")]).unwrap(), [(0, read.len() as u64)]);
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
}

fn overwrite_end(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let length = bytes.len();
    bytes[length - 20..].fill(0);
    fs::write(path, bytes).unwrap();
}

/// All that a directory holds, or the first error.
#[derive(Clone, Debug, PartialEq)]
struct Contents {
    records: Vec<Stored>,
    state: Vec<(Vec<u8>, Vec<u8>)>,
    position: Option<u64>,
}

/// What is in the directory by the words of its owner. An error comes with all its causes.
fn contents(dir: &Path) -> Result<Contents, String> {
    let log = EmbeddedLog::open(dir, EmbeddedOptions::default()).map_err(|error| chain(&error))?;
    let mut reader = log.reader(OUTPUTS).map_err(|error| chain(&error))?;
    let bounds = reader.bounds(0).map_err(|error| chain(&error))?;
    reader.seek(0, bounds.first).unwrap();
    let mut records = Vec::new();
    while (records.len() as u64) < bounds.end - bounds.first {
        let more = reader.read(1000, Duration::ZERO).map_err(|error| chain(&error))?;
        assert!(!more.is_empty(), "{} of {bounds:?} and no more", records.len());
        records.extend(more);
    }
    let state: Result<_, _> = log.state_iter(0).map_err(|error| chain(&error))?.collect();
    let state = state.map_err(|error: LogError| chain(&error))?;
    Ok(Contents { records, state, position: log.position("g", 0).map_err(|error| chain(&error))? })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}

/// Records and state, small and large, some in data files and some in the write-ahead log only.
fn filled(dir: &Path) {
    for round in 0..3 {
        let log = open(dir, 1);
        for n in 0..30 {
            let size = if n % 5 == 0 { 9_000 } else { 300 };
            let text = format!("{round} {n} {}", "x".repeat(size));
            log.append(OUTPUTS, &[record("k", text.clone())]).unwrap();
            let position = Position { group: "g".to_owned(), partition: 0, offset: round * 30 + n };
            let value = Some(text.into_bytes());
            let state = vec![StateChange { partition: 0, key: format!("key {n}").into_bytes(), value }];
            log.commit(Batch { state, positions: vec![position], ..Batch::default() }).unwrap();
        }
        log.sync().unwrap();
    }
}

fn copy_of(dir: &Path) -> TempDir {
    let copy = tempdir().unwrap();
    fs::create_dir(copy.path().join("db")).unwrap();
    for from in files(dir) {
        fs::copy(&from, copy.path().join(from.strip_prefix(dir).unwrap())).unwrap();
    }
    copy
}

/// The files of a directory, its lock and RocksDB's own messages apart.
fn files(dir: &Path) -> Vec<PathBuf> {
    let listed = [dir.to_owned(), dir.join("db")].map(|dir| fs::read_dir(dir).unwrap());
    let mut files: Vec<PathBuf> = listed.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file() && !["LOCK", "LOG"].iter().any(|not| name(path).starts_with(not)));
    files.sort();
    files
}

/// One file of a sound directory is damaged. Then either everything is there as it was; or whoever meets the damage is
/// told, before anything else than what was written comes out, and so does a check of the directory. Only the end of the
/// write-ahead log can go without a word, since it looks as after a crash: then what is left is an earlier state of the
/// whole.
fn damaged_file(dir: &Path, what: &str, file: &Path, before: &Contents, damage: impl FnOnce(&mut Vec<u8>)) -> bool {
    let copy = copy_of(dir);
    let path = copy.path().join(file.strip_prefix(dir).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let what = format!("{what} of {}", name(file));
    // First, since an owner may mend things.
    let check = verify(copy.path(), EmbeddedOptions::default(), &mut |_, _, _| {});
    let is_log = name(file).ends_with(".log");
    match contents(copy.path()) {
        Ok(after) if after == *before => false,
        Ok(after) => {
            assert!(is_log, "{what}: other contents, and nobody is told");
            let records = after.records.len();
            assert!(records <= before.records.len(), "{what}");
            assert_eq!(after.records, before.records[..records], "{what}");
            let position = after.position.unwrap() as usize;
            assert!(position + 1 == records || position + 2 == records, "{what}: {position} of {records}");
            true
        }
        Err(error) => {
            assert!(error.contains("damaged") || error.contains("data format"), "{what}: {error}");
            match check {
                Ok(check) => assert!(!check.damage.is_empty(), "{what}: the check passes over: {error}"),
                Err(error) => assert!(error.to_string().contains("data format"), "{what}: {error}"),
            }
            true
        }
    }
}

#[test]
fn a_flipped_bit_in_any_file_is_harmless_or_told() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    let before = contents(copy_of(dir.path()).path()).unwrap();
    assert_eq!(before.records.len(), 90);
    let mut random = Random::seeded();
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for file in files(dir.path()) {
        let length = file.metadata().unwrap().len();
        for _ in 0..if length == 0 { 0 } else { flips() } {
            let at = random.below(length) as usize;
            let mask = 1 << random.below(8);
            let what = format!("byte {at} ^ {mask}");
            let kind = name(&file).trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
            let is_told = damaged_file(dir.path(), &what, &file, &before, |bytes| bytes[at] ^= mask);
            *told.entry(kind).or_default() += u64::from(is_told);
        }
    }
    println!("told by kind of file: {told:?}");
    for kind in [".sst", ".blob", ".log"] {
        assert!(told[kind] > 0, "no damage of {kind} was noticed: {told:?}");
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_harmless_or_told() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    let before = contents(copy_of(dir.path()).path()).unwrap();
    let mut random = Random::seeded();
    for file in files(dir.path()) {
        let length = file.metadata().unwrap().len();
        let random = (0..flips()).map(|_| random.below(length.max(1)));
        for at in [0, length.saturating_sub(1)].into_iter().chain(random).filter(|at| *at < length) {
            let what = format!("cut at {at}");
            let is_told = damaged_file(dir.path(), &what, &file, &before, |bytes| bytes.truncate(at as usize));
            assert!(is_told || !name(&file).starts_with("MANIFEST"), "{what} of the MANIFEST");
        }
        let copy = copy_of(dir.path());
        fs::remove_file(copy.path().join(file.strip_prefix(dir.path()).unwrap())).unwrap();
        match contents(copy.path()) {
            Ok(after) => assert!(after == before, "{} is gone and nobody is told", name(&file)),
            Err(error) => assert!(error.contains("damaged"), "{}: {error}", name(&file)),
        }
    }
}

/// How often each file is damaged.
fn flips() -> u64 {
    number("TRIPLINE_SEEDS").unwrap_or(4)
}

#[test]
fn records_that_are_missing_between_others_are_an_error_of_the_read() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    let whole = contents(copy_of(dir.path()).path()).unwrap().records;
    // The edit that named the data files of one round is lost with the end of the MANIFEST.
    let manifest = file(dir.path(), |name| name.starts_with("MANIFEST"));
    let length = manifest.metadata().unwrap().len();
    let mut missing = 0;
    for cut in (1..length / 2).step_by(7) {
        let copy = copy_of(dir.path());
        // As an older Tripline left it: with the mark it would not open.
        fs::remove_file(copy.path().join("manifest")).unwrap();
        let path = copy.path().join("db").join(name(&manifest));
        fs::write(&path, &fs::read(&path).unwrap()[..(length - cut) as usize]).unwrap();
        match contents(copy.path()) {
            Ok(after) => assert_eq!(after.records, whole[..after.records.len()], "cut {cut}"),
            Err(error) => {
                assert!(error.contains("damaged"), "cut {cut}: {error}");
                missing += u64::from(error.contains("are missing"));
            }
        }
    }
    assert!(missing > 0, "no cut lost records between others");
}

/// Rounds that end as a kill ends them: nothing is written for the occasion, and the next start flushes what it finds.
#[test]
#[ignore = "a child of the test below"]
fn child_that_writes_and_is_killed() {
    let Some(dir) = child_dir() else { return };
    // Small buffers, so that data files are written while it runs.
    let log = EmbeddedLog::open(&dir, EmbeddedOptions { write_buffer_bytes: 64 << 10, ..EmbeddedOptions::default() });
    let log = log.unwrap();
    log.create_topics(&[topic(OUTPUTS, 1)]).unwrap();
    let first = log.reader(OUTPUTS).unwrap().bounds(0).unwrap().end;
    for n in first.. {
        let text = format!("{n} {}", "x".repeat(2_000));
        log.append(OUTPUTS, &[record("k", text.clone())]).unwrap();
        let position = Position { group: "g".to_owned(), partition: 0, offset: n + 1 };
        let state = vec![StateChange { partition: 0, key: b"key".to_vec(), value: Some(text.into_bytes()) }];
        log.commit(Batch { state, positions: vec![position], ..Batch::default() }).unwrap();
        if n == first + 100 {
            println!("written");
        }
    }
}

#[test]
fn a_manifest_that_lost_its_end_after_a_kill_is_told_and_one_that_did_not_is_not() {
    let dir = tempdir().unwrap();
    let mut random = Random::seeded();
    for _ in 0..3 {
        let mut child = child("damage::child_that_writes_and_is_killed", dir.path());
        let mut said = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        while !said.contains("written") {
            assert!(std::io::BufRead::read_line(&mut out, &mut said).unwrap() > 0, "{said}");
        }
        child.kill().unwrap();
        child.wait().unwrap();

        // What is whole opens; state and position belong together.
        let whole = contents(copy_of(dir.path()).path()).unwrap();
        let state = String::from_utf8(whole.state[0].1.clone()).unwrap();
        let position = whole.position.unwrap();
        assert!(state.starts_with(&format!("{} ", position - 1)), "{position}: {}", &state[..20]);
        let manifest = file(dir.path(), |name| name.starts_with("MANIFEST"));
        let length = manifest.metadata().unwrap().len();
        let marked: u64 =
            fs::read_to_string(dir.path().join("manifest")).unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        assert!(marked <= length, "{marked} of {length}");
        let copy = copy_of(dir.path());
        let path = copy.path().join("db").join(name(&manifest));
        let content = fs::read(&path).unwrap();
        for at in [0, marked / 2, random.below(marked), marked - 1] {
            fs::write(&path, &content[..at as usize]).unwrap();
            let check = verify(copy.path(), EmbeddedOptions::default(), &mut |_, _, _| {}).unwrap();
            assert!(check.damage[0].what.contains("has lost its end"), "cut at {at}: {:?}", check.damage);
            refused(copy.path(), "MANIFEST");
        }
    }
}

#[test]
fn the_mark_of_a_manifest_is_no_condition_for_opening() {
    let dir = tempdir().unwrap();
    filled(dir.path());
    let before = contents(copy_of(dir.path()).path()).unwrap();
    let copy = copy_of(dir.path());
    fs::remove_file(copy.path().join("manifest")).unwrap();
    assert_eq!(contents(copy.path()).unwrap(), before, "an older Tripline wrote it");
    assert!(copy.path().join("manifest").exists(), "from now on it is watched");
    fs::write(copy.path().join("manifest"), "nonsense").unwrap();
    refused(copy.path(), "manifest");
}

#[test]
fn a_manifest_is_begun_anew_before_it_is_large_and_its_mark_goes_with_it() {
    let dir = tempdir().unwrap();
    let small =
        || EmbeddedOptions { write_buffer_bytes: 64 << 10, manifest_bytes_max: 4 << 10, ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(dir.path(), small()).unwrap();
    log.create_topics(&[topic(OUTPUTS, 1)]).unwrap();
    let in_use = || fs::read_to_string(dir.path().join("db/CURRENT")).unwrap().trim_end().to_owned();
    let (mut names, mut largest) = (vec![in_use()], 0);
    while names.len() < 4 {
        let outputs =
            (0..40).map(|_| Output { topic: OUTPUTS.to_owned(), partition: 0, record: record("k", "x".repeat(2_000)) });
        log.commit(Batch { outputs: outputs.collect(), ..Batch::default() }).unwrap();
        log.sync().unwrap();
        let now = in_use();
        // It may be gone by now.
        largest = largest.max(dir.path().join("db").join(&now).metadata().map_or(0, |metadata| metadata.len()));
        assert!(largest < 64 << 10, "{now} has {largest} bytes");
        if names.last() != Some(&now) {
            names.push(now);
        }
    }
    drop(log);
    let mark = fs::read_to_string(dir.path().join("manifest")).unwrap();
    let mut words = mark.split(' ');
    let (marked, bytes) = (words.next().unwrap(), words.next().unwrap().parse::<u64>().unwrap());
    assert_eq!(marked, in_use(), "{names:?}");
    let manifest = fs::File::options().write(true).open(dir.path().join("db").join(marked)).unwrap();
    manifest.set_len(bytes - 1).unwrap();
    refused(dir.path(), "MANIFEST");
}
