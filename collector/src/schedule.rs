//! Which commands to start now. Pure: times come in, decisions go out; the caller owns the clock and the processes.
//!
//! Times are durations since the collector's start, by a clock that does not jump and counts the time that the host is
//! suspended: setting the wall clock neither starts nor delays a command, and after a suspension each command that
//! was missed runs once.

use std::time::Duration;

use crate::PlannedCommand;

/// A command that has been running for this long no longer takes one of the concurrent places: it waits for something
/// rather than using the processor, and must not delay the others. How many can pile up so is bounded by the number of
/// commands, since none overlaps with itself.
pub const PLACE_HELD_MAX: Duration = Duration::from_secs(5);

/// One command's timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    every: Duration,
    /// When it is to be started next, always a whole number of intervals after the first start; `None` when it is to be
    /// started no more.
    next: Option<Duration>,
    /// When the last run that was started was due.
    last: Option<Duration>,
    /// When the run began that has not ended yet.
    running_since: Option<Duration>,
    /// Whether that run takes a place: not any more when its process is gone and only its end is still to be written.
    has_place: bool,
}

/// What [`due`] decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Jobs to start now, by their index, the most overdue first.
    pub start: Vec<usize>,
    /// When to ask again, if no job ends before; `None` when only the end of a job can change anything.
    pub look_again: Option<Duration>,
}

impl Job {
    /// The timing of a command that is new now.
    pub fn new(command: &PlannedCommand, now: Duration) -> Job {
        Job {
            every: command.every,
            next: Some(now + command.first_after),
            last: None,
            running_since: None,
            has_place: false,
        }
    }

    /// Notes that a run begins, and gives the time at which it was due. The next one is due on the grid of intervals;
    /// intervals that passed meanwhile are left out, not caught up with.
    pub fn begin(&mut self, now: Duration) -> Duration {
        debug_assert!(self.running_since.is_none(), "a command never overlaps with itself");
        let due = self.next.unwrap_or(now);
        let passed = now.saturating_sub(due).as_nanos() / self.every.as_nanos();
        let steps = u32::try_from(passed + 1).unwrap_or(u32::MAX);
        self.next = Some(due.saturating_add(self.every.saturating_mul(steps)));
        self.last = Some(due);
        self.running_since = Some(now);
        self.has_place = true;
        due
    }

    /// Notes that the run uses no processor any more. The command is not started again before [`end`](Job::end).
    pub fn free_place(&mut self) {
        self.has_place = false;
    }

    /// Notes that the run ended.
    pub fn end(&mut self) {
        self.running_since = None;
    }

    /// Goes on by what a new plan says of the command. With the same interval nothing moves. Another interval counts
    /// from the last run; what is overdue by it is started as if the command were new, so that many that were changed
    /// together don't start together.
    pub fn replan(&mut self, command: &PlannedCommand, now: Duration) {
        let as_new = now + command.first_after;
        self.next = match (self.next, self.last) {
            (None, _) => Some(as_new),
            (Some(next), _) if self.every == command.every => Some(next),
            (Some(next), None) => Some(next.min(as_new)),
            (Some(_), Some(last)) => Some(last + command.every).map(|at| if at < now { as_new } else { at }),
        };
        self.every = command.every;
    }

    /// Starts it no more. A run that has begun ends by itself.
    pub fn retire(&mut self) {
        self.next = None;
    }

    /// When it is to be started next; `None` when it was retired.
    pub fn next(&self) -> Option<Duration> {
        self.next
    }

    /// Whether it was retired and its last run has ended.
    pub fn is_over(&self) -> bool {
        self.next.is_none() && self.running_since.is_none()
    }
}

/// Which jobs to start now, and when to look again.
///
/// A job is due when its time has come and its last run has ended. At most `concurrency` places are taken; a job that
/// has been running for [`PLACE_HELD_MAX`] has given its place back.
pub fn due(jobs: &[Job], now: Duration, concurrency: usize) -> Decision {
    let frees_place_at = |job: &Job| {
        let since = job.running_since.filter(|_| job.has_place);
        since.map(|since| since + PLACE_HELD_MAX).filter(|at| *at > now)
    };
    let places_taken = jobs.iter().filter_map(frees_place_at).count();

    let mut ready: Vec<usize> = Vec::new();
    let mut next_due: Option<Duration> = None;
    for (index, job) in jobs.iter().enumerate() {
        match job.next {
            Some(_) if job.running_since.is_some() => {}
            Some(next) if next <= now => ready.push(index),
            Some(next) => next_due = Some(next_due.map_or(next, |at| at.min(next))),
            None => {}
        }
    }
    ready.sort_by_key(|&index| (jobs[index].next, index));
    let all_start = ready.len() <= concurrency.saturating_sub(places_taken);
    ready.truncate(concurrency.saturating_sub(places_taken));

    // When some have to wait for a place, look again as soon as one of the running or just started jobs gives it back.
    let next_place = if all_start {
        None
    } else {
        let of_started = (!ready.is_empty()).then_some(now + PLACE_HELD_MAX);
        jobs.iter().filter_map(frees_place_at).chain(of_started).min()
    };
    Decision { start: ready, look_again: next_due.into_iter().chain(next_place).min() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn job(every: u64, first: u64) -> Job {
        Job { every: secs(every), next: Some(secs(first)), last: None, running_since: None, has_place: false }
    }

    fn started(jobs: &mut [Job], now: u64, concurrency: usize) -> Vec<usize> {
        let decision = due(jobs, secs(now), concurrency);
        for &index in &decision.start {
            jobs[index].begin(secs(now));
        }
        decision.start
    }

    #[test]
    fn the_first_run_is_at_once_and_the_others_follow_at_their_interval() {
        let mut jobs = [job(10, 0), job(60, 3)];
        assert_eq!(due(&jobs, secs(0), 8), Decision { start: vec![0], look_again: Some(secs(3)) });
        assert_eq!(started(&mut jobs, 0, 8), [0]);
        jobs[0].end();
        assert_eq!(started(&mut jobs, 3, 8), [1]);
        jobs[1].end();
        assert_eq!(due(&jobs, secs(9), 8), Decision { start: vec![], look_again: Some(secs(10)) });
        assert_eq!(started(&mut jobs, 10, 8), [0]);
    }

    #[test]
    fn a_command_does_not_overlap_with_itself_and_starts_when_its_last_run_ends() {
        let mut jobs = [job(10, 0)];
        assert_eq!(started(&mut jobs, 0, 8), [0]);
        assert_eq!(due(&jobs, secs(25), 8), Decision::default());
        jobs[0].end();
        assert_eq!(started(&mut jobs, 27, 8), [0]);
        jobs[0].end();
        // Back on the grid, with what was missed left out.
        assert_eq!(due(&jobs, secs(29), 8).look_again, Some(secs(30)));
    }

    #[test]
    fn a_host_that_slept_runs_each_command_once_not_once_per_missed_interval() {
        let mut jobs = [job(10, 0)];
        started(&mut jobs, 0, 8);
        jobs[0].end();
        assert_eq!(due(&jobs, secs(100_005), 8).start, [0]);
        assert_eq!(jobs[0].begin(secs(100_005)), secs(10), "how late it is counts from the first run that was missed");
        jobs[0].end();
        assert_eq!(due(&jobs, secs(100_005), 8), Decision { start: vec![], look_again: Some(secs(100_010)) });
    }

    #[test]
    fn the_most_overdue_start_first_and_no_more_than_allowed() {
        let mut jobs = [job(60, 2), job(60, 1), job(60, 0)];
        assert_eq!(due(&jobs, secs(3), 2), Decision { start: vec![2, 1], look_again: Some(secs(3) + PLACE_HELD_MAX) });
        assert_eq!(started(&mut jobs, 3, 2), [2, 1]);
        assert_eq!(due(&jobs, secs(4), 2), Decision { start: vec![], look_again: Some(secs(3) + PLACE_HELD_MAX) });
        jobs[2].end();
        assert_eq!(started(&mut jobs, 4, 2), [0]);
    }

    #[test]
    fn commands_that_hang_give_their_place_to_the_others() {
        let mut jobs = [job(60, 0), job(60, 0), job(10, 1)];
        assert_eq!(started(&mut jobs, 0, 2), [0, 1]);
        let decision = due(&jobs, secs(1), 2);
        assert_eq!(decision, Decision { start: vec![], look_again: Some(PLACE_HELD_MAX) });
        assert_eq!(started(&mut jobs, 5, 2), [2]);
    }

    #[test]
    fn a_run_whose_end_is_being_written_leaves_its_place_to_others_and_does_not_overlap() {
        let mut jobs = [job(10, 0), job(60, 1)];
        assert_eq!(started(&mut jobs, 0, 1), [0]);
        assert_eq!(started(&mut jobs, 1, 1), [0; 0]);
        jobs[0].free_place();
        assert_eq!(started(&mut jobs, 1, 1), [1]);
        jobs[1].end();
        assert_eq!(started(&mut jobs, 20, 1), [0; 0]);
        jobs[0].end();
        assert_eq!(started(&mut jobs, 20, 1), [0]);
    }

    #[test]
    fn a_thousand_commands_that_become_due_together_share_the_places_fairly() {
        // Each takes 20 ms; eight at a time need 2.5 s for all of them, within the 10 s of the interval.
        const TAKES: Duration = Duration::from_millis(20);
        let mut jobs = vec![job(10, 0); 1000];
        let mut runs = vec![0_u32; jobs.len()];
        let mut running: Vec<(Duration, usize)> = Vec::new();
        let mut latest = Duration::ZERO;
        let mut now = Duration::ZERO;
        while now < secs(100) {
            running.retain(|&(end, index)| {
                if end <= now {
                    jobs[index].end();
                }
                end > now
            });
            let decision = due(&jobs, now, 8);
            for &index in &decision.start {
                latest = latest.max(now - jobs[index].begin(now));
                runs[index] += 1;
                running.push((now + TAKES, index));
            }
            assert!(running.len() <= 8);
            now = running.iter().map(|&(end, _)| end).chain(decision.look_again).min().expect("there is always more");
        }
        assert!(runs.iter().all(|&count| count == 10), "{runs:?}");
        assert_eq!(latest, TAKES * (1000 / 8 - 1), "nobody waits longer than for those before it");
    }

    #[test]
    fn at_most_the_allowed_number_ever_starts_and_every_command_gets_its_turn() {
        for seed in 1..200_u64 {
            let mut random = Random(seed);
            let mut below = |bound| random.below(bound);
            let mut jobs: Vec<Job> = (0..1 + below(20)).map(|_| job(1 + below(30), below(5))).collect();
            let concurrency = 1 + below(4) as usize;
            let mut runs = vec![0_u32; jobs.len()];
            for now in 0..600 {
                for job in &mut jobs {
                    // Some hang, most end within the second.
                    if job.running_since.is_some() && below(10) > 0 {
                        job.end();
                    }
                }
                let fresh = |job: &Job| job.running_since.is_some_and(|since| since + PLACE_HELD_MAX > secs(now));
                let starting = started(&mut jobs, now, concurrency);
                assert!(jobs.iter().filter(|job| fresh(job)).count() <= concurrency, "SEED={seed}");
                for index in starting {
                    runs[index] += 1;
                }
            }
            assert!(runs.iter().all(|runs| *runs > 0), "SEED={seed}: {runs:?}");
        }
    }
}
