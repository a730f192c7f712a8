//! The program killed at each point of `tripline_faults::Point`, the first time that it passes there and a later one.
//!
//! Needs the program that obeys `TRIPLINE_TEST_KILL_AT`: `make points` compiles it with the feature `fault-points`, runs
//! this, and compiles the program for people again. Every point of the list has a scenario, and every kill is one that the
//! program itself reports: a point that is no longer passed fails here. `TRIPLINE_KILLS` (`make soak`) asks for more
//! passings of each point.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use common::kafka::Kafka;
use common::ledger::{self, Ledger};
use common::{Embedded, Log, Place, Ran, Running, all_of, json_lines, test_setting, without_source};
use tripline_faults::Point;

/// How a point is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// `run` in a directory that it makes.
    FirstStart,
    /// `run` again and again.
    Running,
    /// `run` after a kill that left runs unfinished.
    Recovery,
    /// `run` that comes to its end.
    Stopping,
    /// `run` after outputs and alerts have become older than they are kept.
    Retention,
    /// `run` under rules that it ran under before.
    Compaction,
    /// `run` of commands that print more at once than the spool holds.
    FullSpool,
    /// `state rebuild`.
    Rebuild,
    /// `process` on Kafka.
    Kafka,
}

/// The scenario of each point, and whether one run of it passes there more than once.
fn scenario(point: Point) -> (Scenario, bool) {
    use Scenario::*;
    match point {
        Point::LogMade | Point::LogNamed | Point::SpoolMade => (FirstStart, false),
        Point::TopicFamilyMade | Point::TopicSaved => (FirstStart, true),
        Point::Assigned => (Running, false),
        Point::IntentWritten
        | Point::IntentSynced
        | Point::CommandEnded
        | Point::EndWritten
        | Point::EndSynced
        | Point::Offered
        | Point::Published
        | Point::PublishedNoted
        | Point::SegmentFull
        | Point::SegmentMade
        | Point::SegmentRemoved
        | Point::AppendBuilt
        | Point::AppendWritten
        | Point::LogSynced
        | Point::LogShown
        | Point::AppendAcknowledged
        | Point::Judged
        | Point::UnitBuilt
        | Point::UnitCommitted
        | Point::CommitBuilt
        | Point::CommitWritten => (Running, true),
        Point::SpoolRecovered => (Recovery, false),
        Point::CheckpointBuilt | Point::CheckpointCommitted => (Stopping, false),
        Point::RetentionHidden | Point::RetentionDropped | Point::RetentionUnlinked => (Retention, true),
        Point::RetentionCompacted => (Compaction, false),
        Point::SegmentDropped => (FullSpool, true),
        Point::RebuildDoomed | Point::RebuildDropped | Point::RebuildEmptied | Point::RebuildBegun => (Rebuild, false),
        Point::KafkaAssigned | Point::KafkaRestored => (Kafka, false),
        Point::KafkaPolled
        | Point::KafkaBegun
        | Point::KafkaSent
        | Point::KafkaDelivered
        | Point::KafkaOffsetsSent
        | Point::KafkaCommitted
        | Point::KafkaApplied => (Kafka, true),
    }
}

/// The kills of a scenario, in the order of the list: each point at its first passing, and at later ones.
fn kills(of: Scenario) -> Vec<(Point, u64)> {
    let most = if test_setting("TRIPLINE_KILLS").is_some() { 9 } else { 2 };
    let passings = |point: Point| {
        let last = if scenario(point).1 { most } else { 1 };
        (1..=last).map(move |time| (point, time))
    };
    let points = Point::ALL.iter().copied().filter(|point| scenario(*point).0 == of);
    let kills: Vec<_> = points.flat_map(passings).collect();
    assert!(!kills.is_empty(), "{of:?}");
    kills
}

/// Runs the program until it ends itself there.
#[track_caller]
fn killed_at(place: &Place, arguments: &[&str], (point, time): (Point, u64)) {
    let mut command = place.command(arguments);
    command.env("TRIPLINE_TEST_KILL_AT", format!("{}:{time}", point.name()));
    let Ran { status, err, .. } = Running::start(command).ended();
    assert_eq!(status.signal(), Some(9), "{} for the {time}. time: {status}\n{err}", point.name());
    assert!(err.contains(&format!("killed at {}, passing {time}\n", point.name())), "{err}");
    let errors: Vec<&str> = err.lines().filter(|line| line.contains("ERROR") || line.contains("tripline:")).collect();
    let is_expected = |line: &&str| point == Point::SegmentDropped && line.contains("the spool is full");
    assert!(errors.iter().all(is_expected), "{}: {err}", point.name());
}

/// Longer than any point takes to be passed: a run that is not killed ends by itself, and the test fails.
const RUN: [&str; 7] = ["run", "--rules", "rules.xml", "--data-dir", "data", "--for", "40s"];

/// The ledger's rules, for the commands that are here beside its own too.
fn rules() -> String {
    ledger::RULES.replace("'counter'", "'counter'|'long |'burst-")
}

/// Commands that write down each of their executions, in a spool with small segments.
fn watched_place() -> Place {
    let place = Place::new();
    let mut settings = ledger::SETTINGS.replace("[collector]\n", "[collector]\nspool_bytes_max = 262144\n");
    for number in 0..3 {
        settings += &format!(
            "[[command]]\nname = \"long {number}\"\nformat = \"full_command\"\nevery = \"1s\"\n\
             command = 't=$$-$(date +%N); echo $t >> \"executed/long {number}\"; echo $t; seq 1 2500'\n"
        );
    }
    place.write("tripline.toml", settings);
    place.write("rules.xml", rules());
    place.write("content", "version 0\n");
    std::fs::create_dir(place.path("executed")).unwrap();
    place
}

#[test]
fn a_run_killed_at_any_point_of_spool_append_and_commit_loses_nothing_and_doubles_nothing() {
    let place = watched_place();
    for kill in kills(Scenario::FirstStart) {
        killed_at(&place, &RUN, kill);
    }
    let follow = |topic: &str| place.start(&[topic, "--follow", "--format", "json", "--data-dir", "data"]);
    let (outputs, alerts) = (follow("outputs"), follow("alerts"));
    for (version, kill) in (1..).zip(kills(Scenario::Running)) {
        ledger::change(&place, version);
        killed_at(&place, &RUN, kill);
    }
    for kill in kills(Scenario::Recovery) {
        killed_at(&place, &RUN, (Point::CommandEnded, 2));
        killed_at(&place, &RUN, kill);
    }
    for kill in kills(Scenario::Stopping) {
        killed_at(&place, &[&RUN[..6], &["1s"]].concat(), kill);
    }
    place.tripline(&[&RUN[..6], &["1s"]].concat()).exits(0);
    let ledger = closed(&place);
    assert_eq!(ledger.dropped(), 0);
    for (topic, follower) in [("outputs", outputs), ("alerts", alerts)] {
        let seen = all_of(&place, topic, follower);
        assert_eq!(seen, Embedded.tripline(&place, &[topic, "--format", "json"]).text(), "what was seen meanwhile");
    }
}

/// Judges the rest, and holds the log against what the commands wrote down.
#[track_caller]
fn closed(place: &Place) -> Ledger {
    Embedded.judge(place, &["--rules", "rules.xml"]);
    Embedded.tripline(place, &["state", "verify"]).exits(0);
    let history = Embedded.tripline(place, &["outputs", "--format", "json"]).text();
    let alerts = Embedded.tripline(place, &["alerts", "--format", "json"]).text();
    let ledger = Ledger::read(&history);
    println!("{ledger}; {} alerts", alerts.lines().count());
    ledger.holds(place, &history, &alerts);
    ledger
}

/// Outputs and alerts are kept so long.
const KEEP: Duration = Duration::from_secs(5);

#[test]
fn retention_killed_at_any_point_drops_nothing_but_what_is_old() {
    let place = watched_place();
    let keep = format!("[outputs]\nkeep = \"{0}s\"\n[alerts]\nkeep = \"{0}s\"\n", KEEP.as_secs());
    place.write("tripline.toml", place.read("tripline.toml") + &keep);
    let short = [&RUN[..6], &["1s"]].concat();
    place.tripline(&short).exits(0);
    let follow = |topic: &str| place.start(&[topic, "--follow", "--format", "json", "--data-dir", "data"]);
    let (outputs, alerts) = (follow("outputs"), follow("alerts"));
    for kill in kills(Scenario::Retention) {
        place.tripline(&short).exits(0);
        std::thread::sleep(KEEP);
        // It begins with dropping what that run has left.
        killed_at(&place, &RUN, kill);
    }
    place.tripline(&short).exits(0);
    let (_, history, _) = Ledger::close(&place, outputs, alerts);
    let kept = Embedded.tripline(&place, &["outputs", "--format", "json"]).text();
    assert!(kept.lines().count() < history.lines().count() / 2, "most of it is old");
}

#[test]
fn a_spool_killed_while_it_gives_up_runs_counts_each_of_them_once() {
    let place = Place::new();
    let mut settings = "[agent]\nname = \"ledger\"\n\
                        [collector]\nsplay = 0\nconcurrency = 64\nspool_bytes_max = 262144\n"
        .to_owned();
    for number in 0..40 {
        settings += &format!(
            "[[command]]\nname = \"burst-{number}\"\nformat = \"full_command\"\nevery = \"1s\"\n\
             command = 't=$$-$(date +%N); echo $t >> executed/burst-{number}; echo $t; seq 1 4000'\n"
        );
    }
    place.write("tripline.toml", settings);
    place.write("rules.xml", rules());
    std::fs::create_dir(place.path("executed")).unwrap();
    for kill in kills(Scenario::FullSpool) {
        killed_at(&place, &RUN, kill);
    }
    place.tripline(&[&RUN[..6], &["1s"]].concat()).exits(0);
    let ledger = closed(&place);
    assert!(ledger.dropped() > 0);
}

#[test]
fn rule_sets_killed_in_their_compaction_stay_readable_once_each() {
    let place = watched_place();
    let short = [&RUN[..6], &["1s"]].concat();
    for description in ["It ran.", "It ran again.", "It ran."] {
        place.write("rules.xml", rules().replace("It ran.", description));
        place.tripline(&short).exits(0);
    }
    for kill in kills(Scenario::Compaction) {
        killed_at(&place, &RUN, kill);
    }
    place.tripline(&short).exits(0);
    Embedded.tripline(&place, &["state", "verify"]).exits(0);
}

#[test]
fn a_rebuild_killed_at_any_point_gives_the_old_state_and_tells_nothing_twice() {
    let place = watched_place();
    place.write("tripline.toml", ledger::SETTINGS);
    place.tripline(&[&RUN[..6], &["2s"]].concat()).exits(0);
    Embedded.judge(&place, &["--rules", "rules.xml"]);
    let seen = || {
        let state = Embedded.tripline(&place, &["state", "--format", "json"]).text();
        (state, Embedded.tripline(&place, &["alerts", "--format", "json"]).text())
    };
    let before = seen();
    let rebuild = ["state", "rebuild", "--rules", "rules.xml", "--data-dir", "data"];
    let process = ["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"];
    for kill in kills(Scenario::Rebuild) {
        killed_at(&place, &rebuild, kill);
        if kill.0 == Point::RebuildDropped {
            Embedded.tripline(&place, &["state"]).exits(5).says(&["a rebuild of the state", "was cut off"]);
        }
    }
    // Whoever starts next goes on with it.
    killed_at(&place, &rebuild, (Point::RebuildDropped, 1));
    killed_at(&place, &process, (Point::RebuildEmptied, 1));
    place.tripline(&process).exits(0);
    assert_eq!(seen(), before, "a start after the last kill");
    place.tripline(&rebuild).exits(0);
    assert_eq!(seen(), before, "a rebuild after the last kill");
    assert!(!before.1.is_empty());
    Embedded.tripline(&place, &["state", "verify"]).exits(0);
}

#[test]
fn a_processor_killed_at_any_point_of_a_transaction_loses_nothing_and_doubles_nothing() {
    let kafka = Kafka::new();
    let place = Place::new();
    // The times are made up: that the runs come late is no news.
    let settings = kafka.settings() + "[outputs]\nlate_after = '36525d'\n" + &kafka.setting_tables();
    place.write("tripline.toml", settings);
    place.write("rules.xml", ledger::RULES);
    kafka.prepare(&place);
    let process = kafka.with_flags(&["process", "--rules", "rules.xml", "--for", "60s"]);
    let process: Vec<&str> = process.iter().map(String::as_str).collect();

    // Restoring comes last: at the very first start there is nothing to restore.
    let (restoring, mut kills): (Vec<_>, Vec<_>) =
        kills(Scenario::Kafka).into_iter().partition(|(point, _)| *point == Point::KafkaRestored);
    kills.extend(restoring);
    let mut whole = String::new();
    for (portion, kill) in (0..).zip(kills) {
        if kill.0 == Point::KafkaRestored {
            std::fs::remove_dir_all(place.path("data/state")).unwrap();
        }
        let history = history(portion);
        place.write("portion.jsonl", &history);
        kafka.tripline(&place, &["outputs", "import", "portion.jsonl"]).exits(0);
        whole += &history;
        killed_at(&place, &process, kill);
    }
    kafka.judge(&place, &["--rules", "rules.xml"]);

    place.write("whole.jsonl", &whole);
    let live = without_source(&kafka.tripline(&place, &["alerts", "--format", "json"]).text());
    let replay = ["replay", "--rules", "rules.xml", "--from", "file:whole.jsonl"];
    let calm = without_source(&place.tripline(&replay).text());
    let of = |alerts: &[serde_json::Value], agent: &str| -> Vec<serde_json::Value> {
        alerts.iter().filter(|alert| alert["agent"]["name"] == agent).cloned().collect()
    };
    for agent in AGENTS {
        assert!(of(&calm, agent).len() > 50, "the history must bring something about");
        assert_eq!(of(&live, agent), of(&calm, agent), "{agent}");
    }
    assert_eq!(live.len(), calm.len());
}

/// Keys in several partitions.
const AGENTS: [&str; 3] = ["web-1", "web-2", "db-1"];

/// Some outputs of each agent; run ids are given, so that each line is a run of its own.
fn history(portion: u64) -> String {
    let line = |(second, (number, agent)): (u64, (usize, &str))| {
        let sequence = portion * 20 + second + 1;
        format!(
            r#"{{"agent":"{agent}","command":"counter","format":"full_command","time":"2026-03-03T{:02}:{:02}:{second:02}Z","run":"00000000-0000-4000-8000-00000000000{number}/{sequence}","output":"version {sequence}"}}"#,
            portion / 60,
            portion % 60
        ) + "\n"
    };
    let lines: String =
        (0..20).flat_map(|second| AGENTS.into_iter().enumerate().map(move |of| (second, of))).map(line).collect();
    assert_eq!(json_lines(&lines).len(), 60);
    lines
}

#[test]
fn the_switched_program_says_what_it_is_and_a_misspelt_point_is_refused() {
    let place = Place::new();
    let version = place.tripline(&["--version"]).text();
    assert!(version.contains("compiled for tests"), "{version}");
    let mut command = place.command(&["run", "--data-dir", "data", "--for", "1s"]);
    place.write("tripline.toml", "[[command]]\ncommand = 'true'\n");
    command.env("TRIPLINE_TEST_KILL_AT", "spool.end-writen");
    place.run(command, b"").exits(2).says(&["spool.end-writen is no point"]);
}
