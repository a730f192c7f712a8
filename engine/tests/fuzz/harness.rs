//! The loop around a target: corpus, mutations, and what is kept of a panic.

use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::random::Random;

/// Inputs are cut to this many bytes: long ones find little that short ones don't, and take their time.
const INPUT_BYTES_MAX: usize = 1024;

/// How long a target is tried when nobody says otherwise.
const SECONDS: u64 = 1;

/// From so many seconds on a run is long enough to tell growth from what every target needs once.
const SECONDS_TO_SEE_GROWTH: u64 = 60;

/// So much memory may come on top in the last three quarters of such a run, in KiB: allocators keep pieces, caches fill.
const GROWTH_KIB_MAX: u64 = 48 << 10;

/// The line between the two parts of an input.
const SEPARATOR: &[u8] = b"\n====\n";

/// The two parts of an input: what stands before the first separator, and what follows it.
pub fn parts(input: &[u8]) -> (&[u8], &[u8]) {
    let at = input.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
    at.map_or((input, &[]), |at| (&input[..at], &input[at + SEPARATOR.len()..]))
}

/// As [`parts`], the first as text: bytes that are none are replaced.
pub fn text_and_bytes(input: &[u8]) -> (String, &[u8]) {
    let (first, second) = parts(input);
    (String::from_utf8_lossy(first).into_owned(), second)
}

/// Tries a target with its corpus, then with mutations of it that come from the seed alone: how many there are depends
/// on the time, which they are and in what order does not.
pub fn fuzz(name: &str, target: impl Fn(&[u8]) + RefUnwindSafe, words: &[&str]) {
    let corpus = corpus(name);
    for (path, input) in &corpus {
        let tried = catch_unwind(|| target(input));
        assert!(tried.is_ok(), "{name}: {} of the corpus panics", path.display());
    }
    let seed = std::env::var("TRIPLINE_TEST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let seconds = std::env::var("TRIPLINE_FUZZ_SECONDS").map_or(SECONDS, |seconds| seconds.parse().expect("seconds"));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&kept).expect("a directory for inputs");
    // Written before each try, so that an input that ends the process, or never ends, is there too.
    let running = kept.join(format!("{name}.running"));
    let inputs: Vec<&[u8]> = corpus.iter().map(|(_, input)| input.as_slice()).collect();
    let (mut random, mut count) = (Random(seed), 0_u64);
    let (mut slowest, start) = (Duration::ZERO, Instant::now());
    let mut settled = None;
    while start.elapsed() < Duration::from_secs(seconds) {
        if settled.is_none() && start.elapsed() > Duration::from_secs(seconds) / 4 {
            settled = Some(memory_kib());
        }
        let input = mutated(&inputs, words, &mut random);
        std::fs::write(&running, &input).expect("the input is written");
        let begin = Instant::now();
        if catch_unwind(|| target(&input)).is_err() {
            let path = kept.join(format!("{name}-{seed}-{count}"));
            std::fs::write(&path, &input).expect("the input is written");
            let input = input.escape_ascii();
            panic!("{name}: TRIPLINE_TEST_SEED={seed}, input {count}, saved as {}: {input}", path.display());
        }
        slowest = slowest.max(begin.elapsed());
        count += 1;
    }
    std::fs::remove_file(&running).ok();
    let (settled, end) = (settled.unwrap_or_default(), memory_kib());
    eprintln!(
        "{name}: TRIPLINE_TEST_SEED={seed}: {count} inputs in {seconds} s, the slowest in {slowest:?}; \
         {settled} KiB after a quarter, {end} KiB at the end"
    );
    if seconds >= SECONDS_TO_SEE_GROWTH {
        assert!(end < settled + GROWTH_KIB_MAX, "{name}: memory grew from {settled} to {end} KiB");
    }
}

/// The memory of this process that is in use, in KiB. 0 where `/proc` does not tell.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}

/// The committed inputs of a target, in the order of their names.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    let read = |path: PathBuf| (std::fs::read(&path).map(|input| (path, input))).expect("an input can be read");
    paths.into_iter().map(read).collect()
}

/// An input of the corpus with some changes.
fn mutated(corpus: &[&[u8]], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[below(random, corpus.len())].to_vec();
    // Mostly few: what is changed in many places is refused at the first.
    let most = 1 + below(random, 6);
    for _ in 0..=below(random, most) {
        change(&mut input, corpus, words, random);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[&[u8]], words: &[&str], random: &mut Random) {
    let at = below(random, input.len() + 1);
    let end = (at + below(random, 16)).min(input.len());
    match below(random, 8) {
        0 if at < input.len() => input[at] ^= 1 << below(random, 8),
        1 if at < input.len() => input[at] = random.below(256) as u8,
        2 => input.insert(at, random.below(256) as u8),
        3 => drop(input.drain(at..end)),
        4 => {
            let piece = input[at..end].to_vec();
            for _ in 0..=below(random, 4) {
                input.splice(at..at, piece.iter().copied());
            }
        }
        5 => {
            let other = corpus[below(random, corpus.len())];
            let from = below(random, other.len() + 1);
            let piece = &other[from..(from + below(random, 40)).min(other.len())];
            input.splice(at..end, piece.iter().copied());
        }
        _ => {
            let word = words[below(random, words.len())];
            match below(random, 3) {
                0 => drop(input.splice(at..at, word.bytes())),
                1 => drop(input.splice(at..end, word.bytes())),
                // Between two elements or lines, where more of it is taken.
                _ => {
                    let ends = |byte: &u8| matches!(byte, b'>' | b'\n');
                    let at = at + input[at..].iter().position(ends).map_or(0, |found| found + 1);
                    drop(input.splice(at..at, word.bytes()));
                }
            }
        }
    }
}

fn below(random: &mut Random, bound: usize) -> usize {
    random.below(bound as u64) as usize
}
