//! `tripline run` killed at random times, as a crash kills it, again and again.
//!
//! The commands write down each of their executions by themselves, so that what reached the log can be held against what
//! really happened. `TRIPLINE_KILLS` says how often to kill, `SEED` repeats a run's times.

mod common;

use std::time::Duration;

use common::ledger::{Ledger, RULES, SETTINGS, change};
use common::{Embedded, Log, Place, Random, json_lines, test_setting};
use rustix::process::{Pid, Signal, kill_process};

const KILLS: u64 = 15;

/// A command that waits for ever with a child that has closed the output, and has started a service that is to stay.
const LASTING: &str = r#"
[agent]
name = "box"

[[command]]
name = "lasting"
every = "1h"
splay = 0
command = """
echo $$ > leader
sh -c 'echo $$ > child; exec sleep 1000' > /dev/null 2>&1 &
setsid sh -c 'echo $$ > service; exec sleep 1000' > /dev/null 2>&1 &
wait
"""
"#;

#[test]
fn what_ran_when_the_program_was_killed_is_ended_at_the_next_start_and_services_are_left_alone() {
    let place = Place::new();
    place.write("tripline.toml", LASTING);
    let pid = |name: &str| -> Option<Pid> {
        let text = std::fs::read_to_string(place.path(name)).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    };
    let names = ["leader", "child", "service"];
    let mut running = place.start(&["run", "--data-dir", "data"]);
    running.wait_until("the command to run", |_| names.iter().all(|name| pid(name).is_some()));
    let before = names.map(|name| pid(name).unwrap());
    running.kill();
    // A killed process takes nobody along: that is what is at stake.
    assert_eq!(before.map(is_running), [true; 3]);

    names.iter().for_each(|name| std::fs::remove_file(place.path(name)).unwrap());
    let mut running = place.start(&["run", "--data-dir", "data"]);
    running.wait_for("ended what was left of commands that ran when the collector last went down processes=2");
    running.wait_until("the command to run again", |_| names.iter().all(|name| pid(name).is_some()));
    let is_left = before.map(is_running);
    let services = [before[2], pid("service").unwrap()];
    running.stop().exits(0);
    services.iter().for_each(|pid| kill_process(*pid, Signal::KILL).unwrap());
    assert_eq!(is_left, [false, false, true]);
    let history = place.tripline(&["outputs", "--format", "json", "--data-dir", "data"]).text();
    assert_eq!(json_lines(&history).len(), 2, "{history}");
}

/// Whether a process has not ended; a zombie has.
fn is_running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_process_that_is_killed_at_random_times_loses_nothing_and_doubles_nothing() {
    let kills =
        test_setting("TRIPLINE_KILLS").map_or(KILLS, |kills| kills.parse().expect("TRIPLINE_KILLS is a number"));
    let mut random = Random::seeded();
    println!("{random}, TRIPLINE_KILLS={kills}");
    let place = Place::new();
    place.write("tripline.toml", SETTINGS);
    place.write("rules.xml", RULES);
    place.write("content", "version 0\n");
    std::fs::create_dir(place.path("executed")).unwrap();
    let run = ["run", "--rules", "rules.xml", "--data-dir", "data"];

    // Until somebody has made the directory there is nothing to follow.
    let mut first = place.start(&run);
    first.wait_for("watching with");
    let mut follower = place.start(&["alerts", "--follow", "--format", "json", "--data-dir", "data"]);
    first.kill();
    for kill in 1..kills {
        if random.below(2) == 0 {
            change(&place, kill);
        }
        let running = place.start(&run);
        std::thread::sleep(Duration::from_millis(50 + random.below(1_800)));
        let said = running.kill();
        assert!(!said.contains("ERROR") && !said.contains("tripline:"), "{said}");
    }
    change(&place, kills);
    place.tripline(&[&run[..], &["--for", "2s"]].concat()).exits(0);
    Embedded.judge(&place, &["--rules", "rules.xml"]);

    let history = Embedded.tripline(&place, &["outputs", "--format", "json"]).text();
    let live = Embedded.tripline(&place, &["alerts", "--format", "json"]).text();
    let ledger = Ledger::read(&history);
    ledger.holds(&place, &history, &live);
    follower.wait_until("the last alert", |follower| follower.printed().len() >= live.len());
    assert_eq!(String::from_utf8(follower.stop().exits(0).out).unwrap(), live, "what was seen meanwhile");

    println!("{ledger}; {} alerts", live.lines().count());
}
