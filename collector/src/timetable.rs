//! The commands of a plan with their timing, and what becomes of it when the plan is exchanged. Pure, as
//! [`schedule`](crate::schedule) is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tripline_schemas::Key;

use crate::schedule::{self, Decision, Job};
use crate::{Plan, PlannedCommand};

/// Commands, each in a slot of its own. A slot keeps its number as long as its command is in the plan or runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timetable {
    commands: Vec<Arc<PlannedCommand>>,
    /// One for each command, in the same slot.
    jobs: Vec<Job>,
}

impl Timetable {
    /// The commands of this plan, none of which has run yet.
    pub(crate) fn new(plan: &Plan) -> Timetable {
        let mut timetable = Timetable::default();
        timetable.exchange(plan, Duration::ZERO);
        timetable
    }

    /// Which slots to start now, and when to look again; see [`schedule::due`].
    pub(crate) fn due(&self, now: Duration, concurrency: usize) -> Decision {
        schedule::due(&self.jobs, now, concurrency)
    }

    /// Notes that a run of the command in this slot begins; gives the command, and when the run was due.
    pub(crate) fn begin(&mut self, slot: usize, now: Duration) -> (Arc<PlannedCommand>, Duration) {
        (Arc::clone(&self.commands[slot]), self.jobs[slot].begin(now))
    }

    /// Notes that the process of this slot's run is gone; its end is still to be written.
    pub(crate) fn free_place(&mut self, slot: usize) {
        self.jobs[slot].free_place();
    }

    /// Notes that the run of this slot ended.
    pub(crate) fn end(&mut self, slot: usize) {
        self.jobs[slot].end();
    }

    /// Goes on by another plan. Who is in both keeps its timing (see [`Job::replan`]) and takes the new definition at its
    /// next start; who is new starts after its splay; who is gone starts no more. What runs is not touched, and keeps
    /// its command from running a second time meanwhile, also when that was taken out and put back.
    pub(crate) fn exchange(&mut self, plan: &Plan, now: Duration) {
        let planned: BTreeSet<&Key> = plan.commands().iter().map(|command| &command.key).collect();
        let mut known: BTreeMap<Key, usize> = BTreeMap::new();
        for (slot, (command, job)) in self.commands.iter().zip(&mut self.jobs).enumerate() {
            if !job.is_over() {
                known.insert(command.key.clone(), slot);
            }
            if !planned.contains(&command.key) {
                job.retire();
            }
        }
        let mut free: Vec<usize> = (0..self.jobs.len()).rev().filter(|slot| self.jobs[*slot].is_over()).collect();
        for command in plan.commands() {
            match known.get(&command.key) {
                Some(&slot) => {
                    self.jobs[slot].replan(command, now);
                    self.commands[slot] = Arc::new(command.clone());
                }
                None => {
                    let (command, job) = (Arc::new(command.clone()), Job::new(command, now));
                    match free.pop() {
                        Some(slot) => (self.commands[slot], self.jobs[slot]) = (command, job),
                        None => {
                            self.commands.push(command);
                            self.jobs.push(job);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use crate::{CommandLine, CommandSpec, Interval, Settings};

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn spec(name: &str, every: u64) -> CommandSpec {
        CommandSpec {
            name: Some(name.to_owned()),
            every: Some(Interval::from_secs(every)),
            ..CommandSpec::new(CommandLine::Shell("true".to_owned()))
        }
    }

    fn plan(specs: &[CommandSpec]) -> Plan {
        Plan::check(specs, "web-1", &Settings { splay: 0.0, ..Settings::default() }).unwrap()
    }

    /// Starts what is due; gives the names, sorted.
    fn start(timetable: &mut Timetable, now: u64) -> Vec<String> {
        let slots = timetable.due(secs(now), 8).start;
        let mut names: Vec<String> =
            slots.iter().map(|slot| timetable.begin(*slot, secs(now)).0.key.command().to_owned()).collect();
        names.sort();
        names
    }

    /// Starts what is due and lets it end at once.
    fn run(timetable: &mut Timetable, now: u64) -> Vec<String> {
        let names = start(timetable, now);
        for name in &names {
            end(timetable, name);
        }
        names
    }

    fn end(timetable: &mut Timetable, name: &str) {
        let is_it = |slot: &usize| timetable.commands[*slot].key.command() == name && !timetable.jobs[*slot].is_over();
        let slot = (0..timetable.jobs.len()).find(is_it).unwrap();
        timetable.end(slot);
    }

    #[test]
    fn who_stays_keeps_its_schedule_and_who_is_new_begins_after_its_splay() {
        let mut timetable = Timetable::new(&plan(&[spec("stays", 10)]));
        assert_eq!(run(&mut timetable, 0), ["stays"]);
        timetable.exchange(&plan(&[spec("new", 60), spec("stays", 10)]), secs(4));
        assert_eq!(run(&mut timetable, 4), ["new"]);
        assert_eq!(timetable.due(secs(5), 8).look_again, Some(secs(10)));
        assert_eq!(run(&mut timetable, 10), ["stays"]);

        let splayed = CommandSpec { splay: Some(1.0), ..spec("splayed", 60) };
        let next = plan(&[spec("new", 60), spec("stays", 10), splayed]);
        let first_after = next.command("splayed").unwrap().first_after;
        assert!(secs(10) < first_after && first_after < secs(60), "{first_after:?}");
        timetable.exchange(&next, secs(20));
        assert_eq!(timetable.jobs[2].next(), Some(secs(20) + first_after));
    }

    #[test]
    fn who_is_removed_starts_no_more_and_its_run_ends_by_itself() {
        let mut timetable = Timetable::new(&plan(&[spec("goes", 10), spec("runs and goes", 10)]));
        assert_eq!(start(&mut timetable, 0), ["goes", "runs and goes"]);
        end(&mut timetable, "goes");
        timetable.exchange(&plan(&[spec("stays", 100)]), secs(1));
        assert_eq!(start(&mut timetable, 1), ["stays"]);
        end(&mut timetable, "runs and goes");
        end(&mut timetable, "stays");
        assert_eq!(timetable.due(secs(99), 8), Decision { start: vec![], look_again: Some(secs(101)) });
    }

    #[test]
    fn a_command_that_is_put_back_while_it_runs_does_not_run_a_second_time_meanwhile() {
        let with = plan(&[spec("a", 10), spec("b", 1000)]);
        let without = plan(&[spec("b", 1000)]);
        let mut timetable = Timetable::new(&with);
        assert_eq!(start(&mut timetable, 0), ["a", "b"]);
        timetable.exchange(&without, secs(1));
        timetable.exchange(&with, secs(2));
        assert_eq!(start(&mut timetable, 50), [""; 0]);
        end(&mut timetable, "a");
        assert_eq!(start(&mut timetable, 51), ["a"]);
        assert_eq!(timetable.jobs.len(), 2);
    }

    #[test]
    fn a_changed_command_takes_its_new_definition_at_its_next_start() {
        let old = plan(&[spec("a", 10)]);
        let new = plan(&[CommandSpec { command: CommandLine::Shell("false".to_owned()), ..spec("a", 10) }]);
        let mut timetable = Timetable::new(&old);
        let (running, _) = timetable.begin(0, secs(0));
        timetable.exchange(&new, secs(3));
        assert_eq!(running.as_ref(), old.command("a").unwrap());
        timetable.end(0);
        assert_eq!(timetable.due(secs(3), 8).look_again, Some(secs(10)));
        assert_eq!(timetable.begin(0, secs(10)).0.as_ref(), new.command("a").unwrap());
    }

    #[test]
    fn another_interval_counts_from_the_last_run() {
        let next_after = |old: u64, new: u64, now: u64| {
            let mut timetable = Timetable::new(&plan(&[spec("a", old)]));
            run(&mut timetable, 0);
            timetable.exchange(&plan(&[spec("a", new)]), secs(now));
            timetable.jobs[0].next().unwrap()
        };
        assert_eq!(next_after(100, 1000, 30), secs(1000));
        assert_eq!(next_after(100, 50, 30), secs(50));
        assert_eq!(next_after(100, 20, 30), secs(30), "what is overdue starts at once, apart from splay");
    }

    #[test]
    fn slots_are_used_again_and_every_plan_is_followed_exactly() {
        for seed in 1..200_u64 {
            let mut random = Random(seed);
            let mut below = |bound| random.below(bound);
            let mut timetable = Timetable::default();
            let mut running: BTreeMap<usize, String> = BTreeMap::new();
            for now in 0..300 {
                if now % 10 == 0 {
                    let mut names = Vec::new();
                    for name in 0..8 {
                        if below(2) == 0 {
                            names.push(spec(&name.to_string(), 1 + below(9)));
                        }
                    }
                    let plan = plan(&names);
                    timetable.exchange(&plan, secs(now));
                    let mut planned: Vec<&str> = plan.commands().iter().map(|command| command.key.command()).collect();
                    let alive = |slot: &usize| timetable.jobs[*slot].next().is_some();
                    let mut kept: Vec<&str> = (0..timetable.jobs.len())
                        .filter(alive)
                        .map(|slot| timetable.commands[slot].key.command())
                        .collect();
                    planned.sort_unstable();
                    kept.sort_unstable();
                    assert_eq!(kept, planned, "SEED={seed}");
                }
                running.retain(|slot, name| {
                    assert_eq!(timetable.commands[*slot].key.command(), *name, "SEED={seed}: a run keeps its slot");
                    let goes_on = below(3) > 0;
                    if !goes_on {
                        timetable.end(*slot);
                    }
                    goes_on
                });
                for slot in timetable.due(secs(now), 100).start {
                    let (command, _) = timetable.begin(slot, secs(now));
                    let name = command.key.command().to_owned();
                    assert!(running.values().all(|other| *other != name), "SEED={seed}: `{name}` runs twice");
                    running.insert(slot, name);
                }
            }
            assert!(timetable.jobs.len() <= 16, "SEED={seed}: {} slots for 8 names", timetable.jobs.len());
        }
    }
}
