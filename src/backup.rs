//! `tripline state backup`: a copy of a data directory, taken while it is in use, that can be used in its place.
//!
//! The order matters. First what says how far somebody has come (the spool, saved positions), then the log: so the log of
//! the copy holds everything that they rely on. A run that was published in between is in the log and maybe in the spool
//! too; the processor drops the second copy, as always.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Serialize;
use tripline_collector::spool::{self, SpoolError};
use tripline_eventlog::embedded::{self, EmbeddedOptions};

use crate::cli::StateBackup;
use crate::exit::{Exit, Failure, Outcome};
use crate::local::{self, log_dir, not_opened};
use crate::print::say;
use crate::settings::Settings;

/// The version of a backup's layout: that of a data directory, with this description.
const FORMAT_VERSION: u32 = 1;

/// `backup.json`: for people, and for programs that keep backups.
#[derive(Serialize)]
struct Description {
    format: u32,
    tripline: &'static str,
    time: Timestamp,
    data_dir: PathBuf,
}

pub fn run(args: &StateBackup, settings: &Settings) -> Outcome {
    if local::uses_kafka(&args.at, settings) {
        let what = "state backup copies the data directory of an embedded log; on Kafka the topics are the truth, and \
                    Kafka keeps copies of them";
        return Err(Failure::unusable(anyhow::anyhow!(what)));
    }
    let data_dir = local::data_dir(&args.at, settings);
    // Where nobody serves, this process owns the log for as long as it copies it, and root would own what it writes.
    if !rustix::process::geteuid().is_root() || !is_served(&data_dir)? {
        local::not_of_another(&data_dir)?;
    }
    let partial = prepare(&args.dir).map_err(Failure::unusable)?;
    let copied = copy(&data_dir, &partial);
    let owner = copied.and_then(|owner| {
        let moved = fs::rename(&partial, &args.dir).and_then(|()| sync(&beside(&args.dir)));
        moved
            .map_err(|error| anyhow::Error::from(error).context("could not give the backup its name").into())
            .map(|()| owner)
    });
    let owner = match owner {
        Ok(owner) => owner,
        Err(failure) => {
            let _ = fs::remove_dir_all(&partial); // What was copied is no backup.
            return Err(failure);
        }
    };
    let by = owner.map_or_else(String::new, |pid| format!(", the log by process {pid}, which goes on"));
    say!(
        "copied `{}` to `{}`{by}; to restore it, stop Tripline and put the copy in the data directory's place",
        data_dir.display(),
        args.dir.display()
    );
    Ok(Exit::Fine)
}

/// Whether a process owns the log, and serves others.
fn is_served(data_dir: &Path) -> Result<bool, Failure> {
    let log = embedded::open_for_reading(&log_dir(data_dir), EmbeddedOptions::default()).map_err(not_opened)?;
    Ok(log.owner()?.is_some())
}

/// Makes the directory that becomes the backup when everything is in it. The backup itself must not be there, or be empty.
fn prepare(dir: &Path) -> anyhow::Result<PathBuf> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("`{}` can't be used for a backup", dir.display())),
        Ok(mut entries) => {
            if entries.next().is_some() {
                bail!("`{}` is not empty; name a directory that is not there yet", dir.display());
            }
        }
    }
    let Some(name) = dir.file_name() else { bail!("`{}` has no name; name a directory to make", dir.display()) };
    let mut partial = name.to_owned();
    partial.push(".partial");
    let partial = beside(dir).join(partial);
    match DirBuilder::new().mode(0o700).create(&partial) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
            "`{}` is there: another backup is being made, or one was cut off; delete it when none is",
            partial.display()
        ),
        made => made.with_context(|| format!("could not make directory `{}`", partial.display()))?,
    }
    Ok(partial)
}

/// Copies everything. Gives the process id of the log's owner.
fn copy(data_dir: &Path, to: &Path) -> Result<Option<u32>, Failure> {
    match spool::copy(&data_dir.join("spool"), &to.join("spool")) {
        Err(SpoolError::Io { source, what: "read", .. }) if source.kind() == io::ErrorKind::NotFound => {} // None yet.
        copied => copied?,
    }
    copy_groups(&data_dir.join("groups"), &to.join("groups")).context("could not copy the saved positions")?;
    let owner = embedded::back_up(&log_dir(data_dir), EmbeddedOptions::default(), &log_dir(to)).map_err(not_opened)?;
    let description = Description {
        format: FORMAT_VERSION,
        tripline: env!("CARGO_PKG_VERSION"),
        time: tripline_faults::now(),
        data_dir: std::path::absolute(data_dir)?,
    };
    let mut file = File::create_new(to.join("backup.json"))?;
    serde_json::to_writer(&mut file, &description)?;
    file.write_all(b"\n").and_then(|()| file.sync_all())?;
    sync(to)?;
    Ok(owner)
}

/// Files in directories per topic. They are replaced by renaming, so each is whole.
fn copy_groups(from: &Path, to: &Path) -> io::Result<()> {
    let topics = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        topics => topics?,
    };
    let make = |dir: &Path| DirBuilder::new().mode(0o700).create(dir);
    make(to)?;
    for topic in topics {
        let topic = topic?;
        let copied = to.join(topic.file_name());
        make(&copied)?;
        for file in fs::read_dir(topic.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let copied = copied.join(path.file_name().unwrap_or_default());
                fs::copy(&path, &copied)?;
                sync(&copied)?;
            }
        }
        sync(&copied)?;
    }
    sync(to)
}

/// The directory that a file or directory lies in.
fn beside(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
