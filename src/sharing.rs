//! Letting the members of a group ask a running Tripline: settings `[socket]`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use tripline_collector::user;
use tripline_eventlog::embedded::{self, Guests};

use crate::exit::Failure;
use crate::print::say;
use crate::settings::{GroupMay, Settings};
use crate::users;

/// Whom the settings let in beside this user and root.
pub fn guests(settings: &Settings) -> Result<Option<Guests>, Failure> {
    let Some(name) = &settings.socket.group else { return Ok(None) };
    let gid = user::group(name).context("setting `socket.group`").map_err(Failure::unusable)?;
    let own = rustix::process::geteuid();
    let is_ours = rustix::process::getegid().as_raw() == gid
        || rustix::process::getgroups()?.iter().any(|group| group.as_raw() == gid);
    if !own.is_root() && !is_ours {
        let user = users::name(own.as_raw());
        return Err(Failure::unusable(anyhow!(
            "setting `socket.group`: {user}, as whom this runs, is not in group `{name}`, so it can't let its members in; \
             name a group of {user}'s, or put it there: `usermod -aG {name} {user}`, for a service \
             `SupplementaryGroups={name}`"
        )));
    }
    let append_to = (settings.socket.group_may == GroupMay::Write).then(|| settings.topic_names().outputs);
    Ok(Some(Guests { gid, append_to }))
}

/// Opens the way to the log's directory for guests, or closes it again, as far as that takes nothing from anybody. Says what
/// stays in their way.
pub fn open_way(log_dir: &Path, guests: Option<&Guests>) -> Result<(), Failure> {
    let log_dir = fs::canonicalize(log_dir)?;
    let gid = guests.map(|guests| guests.gid);
    if let Some(data_dir) = log_dir.parent()
        && fs::metadata(data_dir)?.uid() == rustix::process::geteuid().as_raw()
    {
        embedded::let_pass(data_dir, gid)
            .with_context(|| format!("could not set who may pass through `{}`", data_dir.display()))?;
    }
    let Some(gid) = gid else { return Ok(()) };
    for dir in log_dir.ancestors().skip(1) {
        let metadata = fs::metadata(dir)?;
        let passable = if metadata.gid() == gid { 0o010 } else { 0o001 };
        if metadata.mode() & passable == 0 {
            say!(
                "tripline: the members of the group that `[socket] group` names can't come to the socket: `{}` is closed to \
                 them; `chmod o+x` (for the directory of a service `StateDirectoryMode=0751`) lets everybody pass through it \
                 without showing what is in it",
                dir.display()
            );
        }
    }
    Ok(())
}
