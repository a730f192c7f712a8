//! The user that a command runs as: names turned into numbers, and the child's change to them.
//!
//! The change is made in the child, after `fork` and before `exec`, in the one order that leaves nothing behind:
//! supplementary groups (those of the user, as at a login), then the group, then the user, then the working directory,
//! so that a directory which the user may not enter is refused. The standard library's own `uid` and `gid` drop all
//! supplementary groups, which would take away `adm` or `disk` from a user who was made for just that.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use serde::Deserialize;
use tokio::process::Command;

/// Whom a command runs as.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RunAs {
    /// The user's name.
    pub user: String,
    /// A group's name; the user's own group when absent.
    pub group: Option<String>,
}

/// Why a command can't run as somebody.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The name is not known here.
    #[error("this machine has no {kind} `{name}`")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The operating system's user database can't be asked.
    #[error("could not look up {kind} `{name}`: {source}")]
    Lookup {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Only root may become somebody else.
    #[error(
        "to run as user `{user}` the collector must be started by root; start it so, or leave `user` out and start it \
         as `{user}`"
    )]
    NotRoot {
        /// Whom to become.
        user: String,
    },
}

/// A user as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    uid: libc::uid_t,
    gid: libc::gid_t,
    /// All groups of the user, `gid` among them.
    groups: Vec<libc::gid_t>,
    name: String,
    home: OsString,
}

impl RunAs {
    /// Looks the names up, and finds out whether this process may become that user. May block for as long as the
    /// host's user database does.
    pub fn look_up(&self) -> Result<Credentials, UserError> {
        let (uid, own_gid, home) = user(&self.user)?;
        let gid = self.group.as_deref().map_or(Ok(own_gid), group)?;
        let credentials = Credentials { uid, gid, groups: groups(&self.user, gid)?, name: self.user.clone(), home };
        if credentials.are_ours() || rustix::process::geteuid().is_root() {
            Ok(credentials)
        } else {
            Err(UserError::NotRoot { user: self.user.clone() })
        }
    }
}

impl Credentials {
    /// Whether this process has them already, so that nothing needs to change.
    fn are_ours(&self) -> bool {
        rustix::process::geteuid().as_raw() == self.uid && rustix::process::getegid().as_raw() == self.gid
    }

    /// Makes a command start as this user, in this directory, with `HOME`, `USER` and `LOGNAME` of the user.
    pub(crate) fn apply(self, process: &mut Command, directory: Option<&Path>) -> io::Result<()> {
        process.env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
        if self.are_ours() {
            if let Some(directory) = directory {
                process.current_dir(directory);
            }
            return Ok(());
        }
        let directory = directory.map(|directory| CString::new(directory.as_os_str().as_bytes())).transpose()?;
        // SAFETY: between fork and exec of a process with threads only async-signal-safe functions may be called.
        // `become_user` makes four system calls on memory that was allocated before, and allocates nothing.
        unsafe { process.pre_exec(move || self.become_user(directory.as_deref())) };
        Ok(())
    }

    /// Changes the calling process for good. Only for a child before its `exec`.
    fn become_user(&self, directory: Option<&CStr>) -> io::Result<()> {
        let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: the pointer and the length are those of one vector; the other calls take plain numbers and a text
        // that ends with NUL.
        unsafe {
            done(libc::setgroups(self.groups.len() as _, self.groups.as_ptr()))?;
            done(libc::setgid(self.gid))?;
            done(libc::setuid(self.uid))?;
            directory.map_or(Ok(()), |directory| done(libc::chdir(directory.as_ptr())))
        }
    }
}

/// The longest entry of the user database that is read, in bytes; a group may have very many members.
const ENTRY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// No user is in more groups than this (Linux: `NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// Number, own group and home of a user.
fn user(name: &str) -> Result<(libc::uid_t, libc::gid_t, OsString), UserError> {
    entry("user", name, |name, buffer| {
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the call; `passwd` is a plain struct for which zeros are a value. On success
        // `found` is null or points to `entry`, whose texts lie in `buffer`; they are copied before both go.
        unsafe {
            let mut entry: libc::passwd = std::mem::zeroed();
            let buffer_len = buffer.len();
            let code = libc::getpwnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer_len, &mut found);
            let is_there = code == 0 && !found.is_null();
            let copied = is_there.then(|| {
                let home = OsString::from_vec(CStr::from_ptr(entry.pw_dir).to_bytes().to_vec());
                (entry.pw_uid, entry.pw_gid, home)
            });
            (code, copied)
        }
    })
}

/// The number of a group. May block for as long as the host's user database does.
pub fn group(name: &str) -> Result<libc::gid_t, UserError> {
    entry("group", name, |name, buffer| {
        let mut found = std::ptr::null_mut();
        // SAFETY: as in `user`; only a number is taken from the entry.
        unsafe {
            let mut entry: libc::group = std::mem::zeroed();
            let buffer_len = buffer.len();
            let code = libc::getgrnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer_len, &mut found);
            (code, (code == 0 && !found.is_null()).then_some(entry.gr_gid))
        }
    })
}

/// Asks for an entry with a buffer that grows until the entry fits.
fn entry<T>(
    kind: &'static str,
    name: &str,
    ask: impl Fn(&CStr, &mut [libc::c_char]) -> (libc::c_int, Option<T>),
) -> Result<T, UserError> {
    let unknown = || UserError::Unknown { kind, name: name.to_owned() };
    let c_name = CString::new(name).map_err(|_| unknown())?;
    let mut buffer: Vec<libc::c_char> = vec![0; 4096];
    loop {
        match ask(&c_name, &mut buffer) {
            (libc::ERANGE, _) if buffer.len() < ENTRY_BYTES_MAX => buffer.resize(buffer.len() * 4, 0),
            // Some databases say that they found nothing, others that there is no such file, process or permission.
            (0 | libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM, found) => return found.ok_or_else(unknown),
            (code, _) => {
                let source = io::Error::from_raw_os_error(code);
                return Err(UserError::Lookup { kind, name: name.to_owned(), source });
            }
        }
    }
}

/// All groups of a user, as a login gives them, with `gid` as the first one's group.
fn groups(user: &str, gid: libc::gid_t) -> Result<Vec<libc::gid_t>, UserError> {
    let unknown = || UserError::Unknown { kind: "user", name: user.to_owned() };
    let c_user = CString::new(user).map_err(|_| unknown())?;
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: `count` is the vector's length, so no more than that is written.
        let fits = unsafe { libc::getgrouplist(c_user.as_ptr(), gid as _, groups.as_mut_ptr().cast(), &mut count) };
        if fits >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return Ok(groups);
        }
        if groups.len() >= GROUPS_MAX {
            let source = io::Error::other(format!("it is in more than {GROUPS_MAX} groups"));
            return Err(UserError::Lookup { kind: "user", name: user.to_owned(), source });
        }
        groups.resize(groups.len() * 4, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_known_here_are_named() {
        let as_user =
            |user: &str, group: Option<&str>| RunAs { user: user.to_owned(), group: group.map(str::to_owned) };
        let error = |who: RunAs| who.look_up().unwrap_err().to_string();
        assert_eq!(error(as_user("no-such-user", None)), "this machine has no user `no-such-user`");
        assert_eq!(error(as_user("root", Some("no-such-group"))), "this machine has no group `no-such-group`");
        assert_eq!(error(as_user("", None)), "this machine has no user ``");
    }

    #[test]
    fn a_user_comes_with_all_its_groups() {
        let id = |what: &str| {
            let out = std::process::Command::new("id").args([what, "root"]).output().unwrap();
            String::from_utf8(out.stdout).unwrap().split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<u32>>()
        };
        let (uid, gid, _) = user("root").unwrap();
        assert_eq!((vec![uid], vec![gid]), (id("-u"), id("-g")));
        let sorted = |mut groups: Vec<u32>| {
            groups.sort_unstable();
            groups
        };
        assert_eq!(sorted(groups("root", gid).unwrap()), sorted(id("-G")));
    }
}
