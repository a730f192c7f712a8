//! Rule tests with a clock: what commands print, step by step, and which alerts must follow.
//!
//! The way of a file: text -> [`yaml`] (what is written) -> [`load`] with [`steps`] (checked tests, and their compiled
//! [`rules`]) -> [`drive`] (one test through the event loop that runs live, with a state of its own) -> [`compare`]
//! (what was expected against what came) -> [`report`] (text for people). [`problem`] says what is wrong with a file,
//! [`excerpt`] shows a place of it.
//!
//! docs/testing.md describes the format.

mod compare;
mod drive;
mod excerpt;
mod load;
mod problem;
pub mod report;
mod rules;
mod steps;
mod time;
mod yaml;

pub use drive::run;
pub use load::{Loader, TestFile};
pub use report::Report;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The ends of the names of test files.
const ENDINGS: [&str; 2] = ["_test.yaml", "_test.yml"];

/// The test files among these paths, each once: files as they are named, directories with all that lie below them, in
/// the order of their names. Directories whose name starts with a dot are left out, and links to directories too.
pub fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            // The working directory is not worth mentioning in every name.
            let from = found.len();
            find_below(path, &mut found)?;
            for path in &mut found[from..] {
                if let Ok(short) = path.strip_prefix(".") {
                    *path = short.to_path_buf();
                }
            }
        } else if path.exists() {
            found.push(path.clone());
        } else {
            bail!("`{}` does not exist", path.display());
        }
    }
    let mut known = std::collections::HashSet::new();
    found.retain(|path| known.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    Ok(found)
}

fn find_below(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let could_not = || format!("could not read directory `{}`", directory.display());
    let mut entries: Vec<_> =
        std::fs::read_dir(directory).with_context(could_not)?.collect::<Result<_, _>>().with_context(could_not)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().with_context(could_not)?.is_dir() {
            if !name.starts_with('.') {
                find_below(&path, found)?;
            }
        } else if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    Ok(())
}
