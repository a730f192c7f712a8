//! `tripline run` killed at random times, as a crash kills it, again and again.
//!
//! The commands write down each of their executions by themselves, so that what reached the log can be held against what
//! really happened. `TRIPLINE_KILLS` says how often to kill, `SEED` repeats a run's times.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{Embedded, Log, Place, Random, json_lines, test_setting, without_source};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const KILLS: u64 = 15;

/// `counter` and `slow` print something new each time; `slow` is often hit while it runs. `list` is compared line by line,
/// `content` changes when the test changes it, `steady` never, `held` may fire once in two seconds.
const SETTINGS: &str = r#"
[agent]
name = "ledger"

[collector]
splay = 0
stop_grace = "100ms"

[[command]]
name = "counter"
format = "full_command"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/counter; echo $t'

[[command]]
name = "slow"
format = "full_command"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/slow; sleep 0.5; echo $t'

[[command]]
name = "list"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/list; echo first; echo $t; echo last'

[[command]]
name = "tick"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/tick; echo $t'

[[command]]
name = "held"
format = "full_command"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/held; echo $t'

[[command]]
name = "content"
format = "full_command"
every = "1s"
command = "cat content"

[[command]]
name = "steady"
format = "full_command"
every = "1s"
command = "echo the same"
"#;

const CHANGED: &str = "100001";
const SEEN: &str = "100002";
const HELD: &str = "100003";
const INTERRUPTED: &str = "100004";
const RULES: &str = r#"<group name="ledger,">
  <rule id="100001" level="7">
    <if_sid>530</if_sid>
    <match>'counter'|'slow'|'list'|'content'|'steady'</match>
    <check_diff />
    <description>It changed.</description>
  </rule>
  <rule id="100002" level="3">
    <if_sid>530</if_sid>
    <match>'tick'</match>
    <description>It ran.</description>
  </rule>
  <rule id="100003" level="7" ignore="2">
    <if_sid>530</if_sid>
    <match>'held'</match>
    <check_diff />
    <description>It changed, not too often.</description>
  </rule>
  <rule id="100004" level="3">
    <if_sid>990000</if_sid>
    <match>: interrupted</match>
    <description>It was interrupted.</description>
  </rule>
</group>
"#;

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
    place.write("history.jsonl", &history);
    place.write("alerts.jsonl", &live);

    let runs = distinct_runs(&history);
    every_number_is_there_once(&runs);
    for command in ["counter", "slow", "list", "tick", "held"] {
        every_execution_is_accounted_for(&place, command, &runs);
    }
    let alerts = without_source(&live);
    every_alert_is_there_once(&runs, &alerts);
    let replay = ["replay", "--rules", "rules.xml", "--from", "file:history.jsonl"];
    assert_eq!(without_source(&place.tripline(&replay).text()), alerts, "the replay of what the log holds");
    follower.wait_until("the last alert", |follower| follower.printed().len() >= live.len());
    assert_eq!(String::from_utf8(follower.stop().exits(0).out).unwrap(), live, "what was seen meanwhile");

    let interrupted = runs.iter().filter(|run| run.printed.is_none()).count();
    let doubled = history.lines().count() - runs.len();
    println!(
        "{} runs, {interrupted} of them unfinished, {doubled} published twice; {} alerts",
        runs.len(),
        alerts.len()
    );
}

/// Exchanges what `content` prints, such that no half of it is ever seen.
fn change(place: &Place, version: u64) {
    let new = place.write("content.new", format!("version {version}\n"));
    std::fs::rename(new, place.path("content")).unwrap();
}

/// A run as the log holds it.
struct Run {
    spool: String,
    sequence: u64,
    command: String,
    /// What it printed; `None` when it did not end by itself.
    printed: Option<String>,
    /// Rather than timed out, as may happen on a busy machine.
    interrupted: bool,
}

impl Run {
    fn id(&self) -> String {
        format!("{}/{}", self.spool, self.sequence)
    }
}

/// The runs in the order of their first copies. A collector that was killed before it knew that a run is published
/// publishes it again: such a copy must be equal.
fn distinct_runs(history: &str) -> Vec<Run> {
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    let mut runs = Vec::new();
    for mut record in json_lines(history) {
        record.as_object_mut().unwrap().remove("append_time");
        let id = record["run"].as_str().unwrap().to_owned();
        if let Some(first) = seen.get(&id) {
            assert_eq!(*first, record, "two runs of one number");
            continue;
        }
        let (spool, sequence) = id.split_once('/').unwrap();
        let ended = record["ending"].is_null() || record["ending"]["exited"] == 0;
        runs.push(Run {
            spool: spool.to_owned(),
            sequence: sequence.parse().unwrap(),
            command: record["command"].as_str().unwrap().to_owned(),
            printed: ended.then(|| record["output"].as_str().unwrap().to_owned()),
            interrupted: record["ending"] == "interrupted",
        });
        seen.insert(id, record);
    }
    runs
}

/// The numbers of the one spool, from 1 on, without a gap, in order.
fn every_number_is_there_once(runs: &[Run]) {
    let spools: BTreeSet<&str> = runs.iter().map(|run| run.spool.as_str()).collect();
    assert_eq!(spools.len(), 1, "{spools:?}");
    let numbers: Vec<u64> = runs.iter().map(|run| run.sequence).collect();
    assert_eq!(numbers, (1..=runs.len() as u64).collect::<Vec<_>>());
}

/// What the command wrote down itself: what it printed is in the log once, or one of its runs did not finish.
fn every_execution_is_accounted_for(place: &Place, command: &str, runs: &[Run]) {
    let executed = place.read(&format!("executed/{command}"));
    let runs: Vec<&Run> = runs.iter().filter(|run| run.command == command).collect();
    let printed: Vec<&str> =
        runs.iter().filter_map(|run| run.printed.as_deref()).map(|text| text.lines().find(is_token).unwrap()).collect();
    for token in &printed {
        assert_eq!(executed.lines().filter(|line| line == token).count(), 1, "{command} printed {token}");
    }
    let distinct: BTreeSet<&&str> = printed.iter().collect();
    assert_eq!(distinct.len(), printed.len(), "{command}: an execution is in the log twice");
    let unfinished = runs.len() - printed.len();
    let missing = executed.lines().count() - printed.len();
    assert!(missing <= unfinished, "{command}: {missing} executions are not in the log, {unfinished} are unfinished");
}

fn is_token(line: &&str) -> bool {
    line.contains('-')
}

/// What the rules say, computed from the runs alone.
fn every_alert_is_there_once(runs: &[Run], alerts: &[Value]) {
    let mut expected = Vec::new();
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    for run in runs {
        let Some(printed) = &run.printed else {
            expected.extend(run.interrupted.then(|| (INTERRUPTED, run.id())));
            continue;
        };
        let changed = before.insert(&run.command, printed).is_some_and(|before| before != printed);
        match run.command.as_str() {
            "tick" => expected.push((SEEN, run.id())),
            "held" => {} // Depends on the clock: the replay tells.
            _ if changed => expected.push((CHANGED, run.id())),
            _ => {}
        }
    }
    let given: Vec<(&str, String)> = alerts
        .iter()
        .map(|alert| (alert["rule"]["id"].as_str().unwrap(), alert["run"]["id"].as_str().unwrap().to_owned()))
        .filter(|(rule, _)| *rule != HELD)
        .collect();
    assert_eq!(given, expected);
    let ids: BTreeSet<&str> = alerts.iter().map(|alert| alert["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), alerts.len(), "an alert is there twice");
}
