//! The clock that commands are planned by, and the wall clock is held against: it does not jump when somebody sets the time,
//! and it goes on while the host sleeps.

use std::time::Duration;

/// Measures the time since it was made. Setting the wall clock does not touch it. On Linux the time that the host was
/// suspended counts, so that after a night's sleep an hourly command is overdue rather than due in an hour.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Duration,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const SOURCE: libc::clockid_t = libc::CLOCK_BOOTTIME;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SOURCE: libc::clockid_t = libc::CLOCK_MONOTONIC;

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { start: now() }
    }

    /// How long it has been running.
    pub fn elapsed(self) -> Duration {
        now().saturating_sub(self.start)
    }
}

fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is that of a local variable, and the call does nothing but fill it.
    let result = unsafe { libc::clock_gettime(SOURCE, &mut time) };
    debug_assert_eq!(result, 0, "these clocks are always there");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
