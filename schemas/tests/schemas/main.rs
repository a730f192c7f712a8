//! What the records, the state and the histories promise: they come back as they were, for ever, and nothing that lies
//! in a topic can stop a reader.

mod fixtures;
mod history;
mod hostile;
mod json_schemas;
mod records;
mod samples;
mod state;
mod strategies;

/// The directory of this crate.
fn crate_dir() -> std::path::PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// Whether files that tests compare with are to be written instead.
#[allow(clippy::disallowed_methods)] // Not the crate: its tests.
fn bless() -> bool {
    std::env::var("TRIPLINE_BLESS").is_ok_and(|value| value == "1")
}

#[allow(clippy::disallowed_methods)] // Not the crate: its tests.
fn read(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|err| {
        panic!("{}: {err}; TRIPLINE_BLESS=1 writes what is missing", path.display());
    })
}
