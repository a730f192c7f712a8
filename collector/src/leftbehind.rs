//! Processes that the commands of a killed collector left behind. The kernel does not end them with it, and nobody reads
//! their output any more; so the next collector ends them before it starts the same commands again.
//!
//! Each command carries a mark in its environment: spool, ticket of the run, session. Whatever it starts inherits it.
//! A process is ended when its mark names a run of this spool that was under way when the last collector went down, and
//! when it is still in the session that the command was started in: who has left that (`setsid`) survives the end of a
//! run in every other case, too. Processes are held by descriptors of the kernel (pidfd) from before their mark is read, so
//! that a process number which is given to somebody else in between hits nobody.
//!
//! `PR_SET_PDEATHSIG` would be no help: it reaches the shell and not what the shell has started, is lost where a command
//! runs as another user, comes when a thread ends, and needs a `fork` in place of the much cheaper `posix_spawn`.

use std::time::Duration;

use uuid::Uuid;

use crate::spool::Ticket;

/// The variable that holds the mark.
pub(crate) const VARIABLE: &str = "TRIPLINE_RUN";

/// Makes the marks of a collector's runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    spool: Uuid,
    session: i32,
}

impl Marker {
    /// For the runs of this spool, started in the session of this process.
    pub(crate) fn new(spool: Uuid) -> Marker {
        let session = rustix::process::getsid(None).map_or(0, |session| session.as_raw_nonzero().get());
        Marker { spool, session }
    }

    /// What a run of this ticket is marked with.
    pub(crate) fn mark(self, ticket: Ticket) -> String {
        format!("{}/{ticket}/{}", self.spool, self.session)
    }
}

/// Ends what is left of these runs: with TERM, and with KILL after `grace`. Gives the number of processes that were
/// there. What this user may not see or end goes on.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end(_spool: Uuid, _tickets: &[Ticket], _grace: Duration) -> usize {
    0
}

#[cfg(target_os = "linux")]
pub(crate) use linux::end;

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use rustix::process::{Pid, PidfdFlags, Signal, getsid, pidfd_open, pidfd_send_signal};

    use super::{Duration, Ticket, Uuid, VARIABLE};

    /// Between two looks for what is left.
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    /// How long is waited after KILL: the kernel may hold a process for longer.
    const KILL_GRACE: Duration = Duration::from_secs(2);

    /// Ends what is left of these runs: with TERM, and with KILL after `grace`. Gives the number of processes that were
    /// there. What this user may not see or end goes on.
    pub(crate) fn end(spool: Uuid, tickets: &[Ticket], grace: Duration) -> usize {
        let mut seen: BTreeSet<i32> = BTreeSet::new();
        let begin = Instant::now();
        while !tickets.is_empty() && begin.elapsed() < grace + KILL_GRACE {
            let left = left(spool, tickets);
            if left.is_empty() {
                break;
            }
            for (pid, process) in &left {
                // Who appears later was started by one of them meanwhile.
                let is_new = seen.insert(pid.as_raw_nonzero().get());
                // One that has ended or may not be ended needs no other treatment than the next look.
                if begin.elapsed() >= grace {
                    let _ = pidfd_send_signal(process, Signal::KILL);
                } else if is_new {
                    let _ = pidfd_send_signal(process, Signal::TERM);
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
        seen.len()
    }

    /// The processes that carry the mark of one of these runs. A zombie carries none.
    fn left(spool: Uuid, tickets: &[Ticket]) -> Vec<(Pid, OwnedFd)> {
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let held = numbers.filter_map(|number| {
            let pid = Pid::from_raw(number)?;
            // Held first, read then: what is read is of the process that is held, or of none.
            let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            let environment = fs::read(format!("/proc/{number}/environ")).ok()?;
            let session = getsid(Some(pid)).ok()?.as_raw_nonzero().get();
            let is_left = is_marked(&environment, spool, tickets, session);
            // If it has ended by now, its number may be somebody else's, and so what was read.
            (is_left && is_alive(&process)).then_some((pid, process))
        });
        held.collect()
    }

    /// Whether the process that is held has not ended yet.
    fn is_alive(process: &OwnedFd) -> bool {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open; signal 0 is sent to nobody, a null pointer says so of its details.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), 0, std::ptr::null::<libc::siginfo_t>(), 0)
        };
        result == 0
    }

    /// Whether this environment carries the mark of one of these runs, in this session.
    pub(super) fn is_marked(environment: &[u8], spool: Uuid, tickets: &[Ticket], session: i32) -> bool {
        let mark = environment.split(|byte| *byte == 0).find_map(|variable| {
            let mark = variable.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(mark).ok()
        });
        let mut parts = mark.unwrap_or_default().split('/');
        let (of_spool, ticket, of_session) = (parts.next(), parts.next(), parts.next());
        of_spool.and_then(|text| text.parse().ok()) == Some(spool)
            && ticket.and_then(|text| text.parse().ok()).is_some_and(|ticket| tickets.contains(&ticket))
            && of_session.and_then(|text| text.parse().ok()) == Some(session)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    const SPOOL: Uuid = Uuid::from_u128(7);

    /// A process that ends only when it is made to, in the session of this one.
    fn process(text: &str, mark: Option<String>) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.env_remove(VARIABLE).envs(mark.map(|mark| (VARIABLE, mark)));
        let mut child = command.spawn().unwrap();
        // It is what it is to be after its first line.
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        child
    }

    fn runs(mut child: Child) -> bool {
        let runs = child.try_wait().unwrap().is_none();
        let _ = child.kill();
        let _ = child.wait();
        runs
    }

    #[test]
    fn what_is_left_of_a_run_that_was_under_way_is_ended_and_nothing_else() {
        let sleeps = "echo; exec sleep 1000";
        let left = process(sleeps, Some(Marker::new(SPOOL).mark(3)));
        let stubborn = process("trap '' TERM; echo; while :; do sleep 0.1; done", Some(Marker::new(SPOOL).mark(4)));
        let others = [
            process(sleeps, None),
            process(sleeps, Some(Marker::new(SPOOL).mark(5))),
            process(sleeps, Some(Marker::new(Uuid::from_u128(8)).mark(3))),
            process("exec setsid sh -c 'echo; exec sleep 1000'", Some(Marker::new(SPOOL).mark(3))),
        ];
        assert_eq!(end(SPOOL, &[], Duration::ZERO), 0);
        // The stubborn one's own `sleep` counts, too, as often as there is a new one.
        assert!(end(SPOOL, &[3, 4], Duration::from_millis(300)) >= 2);
        assert_eq!([left, stubborn].map(runs), [false; 2]);
        assert_eq!(others.map(runs), [true; 4]);
        assert_eq!(end(SPOOL, &[3, 4, 5], Duration::from_millis(300)), 0);
    }

    #[test]
    fn only_a_whole_mark_is_one() {
        let of = |text: &str| linux::is_marked(format!("A=b\0{text}\0C=d\0").as_bytes(), SPOOL, &[3, 12], 99);
        assert!(of(&format!("TRIPLINE_RUN={SPOOL}/3/99")) && of(&format!("TRIPLINE_RUN={SPOOL}/12/99")));
        for text in [
            format!("TRIPLINE_RUN={SPOOL}/1/99"),
            format!("TRIPLINE_RUN={SPOOL}/3/98"),
            format!("TRIPLINE_RUN={SPOOL}/3"),
            format!("TRIPLINE_RUNS={SPOOL}/3/99"),
            format!("X=TRIPLINE_RUN={SPOOL}/3/99"),
            "TRIPLINE_RUN=".to_owned(),
            String::new(),
        ] {
            assert!(!of(&text), "{text}");
        }
    }
}
