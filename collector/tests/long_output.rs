//! A command that writes very much. Alone in its file, since it looks at the memory of its process.
//!
//! `TRIPLINE_TEST_OUTPUT_BYTES=10737418240` for the long form.

use std::fs;

use tripline_collector::{CommandLine, CommandSpec, Identity, Plan, Settings, Stop, run_once};
use tripline_schemas::Ending;

const BYTES: u64 = 256 * 1024 * 1024;
/// How much more memory reading it may take: buffers, the output that is kept, what an allocator holds back.
const MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[test]
fn an_output_of_any_size_is_counted_to_its_end_in_bounded_memory() {
    let bytes = test_setting("TRIPLINE_TEST_OUTPUT_BYTES").unwrap_or(BYTES);
    let text = format!("head -c {bytes} /dev/zero; head -c {bytes} /dev/zero >&2");
    let spec = CommandSpec {
        every: Some(tripline_collector::Interval::from_secs(7200)),
        timeout: Some(tripline_collector::Interval::from_secs(3600)),
        ..CommandSpec::new(CommandLine::Shell(text))
    };
    let plan = Plan::check(&[spec], "web-1", &Settings::default()).unwrap();
    let identity = Identity { agent: "web-1".into(), address: None };
    let before = peak_memory();
    let run = run_once(&plan.commands()[0], &identity, &Stop::new()).unwrap();
    let grown = peak_memory() - before;
    assert_eq!(run.ending, Ending::Exited(0));
    assert_eq!((run.output.len(), run.truncated_from), (1024 * 1024, Some(bytes)));
    assert_eq!(run.stderr_tail.len(), 4096);
    assert!(grown <= MEMORY_BYTES_MAX, "reading {bytes} bytes twice took {grown} bytes of memory");
}

/// The most memory that this process ever had, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// A setting of the test itself: how much it does.
#[expect(clippy::disallowed_methods, reason = "how much a test does is no setting of the program")]
fn test_setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}
