//! Sets the wall clock by the file that the environment names.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};

/// The variable that names the file. Settings begin with `TRIPLINE_` too, and those with `TRIPLINE_TEST_` are none.
const VARIABLE: &str = "TRIPLINE_TEST_CLOCK";

/// What the clock shows at this moment, as the test has set it.
pub(crate) fn set(now: Timestamp) -> Timestamp {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    match FILE.get_or_init(file) {
        Some(file) => ahead(file).and_then(|ahead| now.checked_add(ahead).ok()).unwrap_or_else(|| refuse(file)),
        None => now,
    }
}

#[expect(clippy::disallowed_methods, reason = "what a test asks for is no setting of the program")]
fn file() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

fn ahead(file: &Path) -> Option<SignedDuration> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok().map(SignedDuration::from_secs)
}

/// A test that misspells it must not pass because nothing happens.
fn refuse(file: &Path) -> ! {
    eprintln!("{VARIABLE}={}: the file must hold a number of seconds", file.display());
    std::process::exit(2);
}
