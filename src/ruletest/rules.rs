//! The rules that a test file names.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tripline_engine::SourceFile;

use crate::rulefiles;
use crate::settings::Shipped;

/// The word that stands for the rules that Tripline ships.
const SHIPPED: &str = "shipped";

/// Rule files of one entry of `rules`, in load order: `shipped`, a file, a directory, or a pattern with `*`, `?` or
/// `[...]`. Paths are relative to `base`. An entry that names nothing is an error: its tests would test nothing.
pub fn resolve(entry: &str, base: &Path) -> anyhow::Result<Vec<SourceFile>> {
    if entry == SHIPPED {
        return Ok(rulefiles::shipped(Shipped::All).collect());
    }
    let mut files = Vec::new();
    for path in paths(entry, base)? {
        files.extend(rulefiles::directory(&path, "local_rules.xml")?);
    }
    for file in &mut files {
        file.name = short(Path::new(&file.name));
    }
    Ok(files)
}

fn paths(entry: &str, base: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !entry.contains(['*', '?', '[']) {
        let path = base.join(entry);
        if !path.exists() {
            bail!("there is no file or directory `{}`", path.display());
        }
        return Ok(vec![path]);
    }
    let base = base.to_str().with_context(|| format!("`{}` is not UTF-8", base.display()))?;
    let pattern = Path::new(&glob::Pattern::escape(base)).join(entry);
    let pattern = pattern.to_string_lossy();
    let found = glob::glob(&pattern).with_context(|| format!("`{entry}` is no pattern for file names"))?;
    let mut paths = found.collect::<Result<Vec<_>, _>>().context("could not look for rule files")?;
    rulefiles::in_load_order(&mut paths, "local_rules.xml");
    if paths.is_empty() {
        bail!("no file fits `{pattern}`");
    }
    Ok(paths)
}

/// A path without detours, and below the working directory relative to it: one file has one name, whichever test names
/// it.
fn short(path: &Path) -> String {
    let Ok(full) = path.canonicalize() else { return path.display().to_string() };
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    let short = here.ok().and_then(|here| full.strip_prefix(here).ok().map(Path::to_path_buf));
    short.unwrap_or(full).display().to_string()
}
