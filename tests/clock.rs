//! The program under a wall clock that jumps.
//!
//! Needs the program that obeys `TRIPLINE_TEST_CLOCK`, as `tests/points.rs` does: `make points` compiles it and runs this.

mod common;

use std::process::Command;
use std::time::Instant;

use common::ledger::{self, Ledger};
use common::{Embedded, Log, Place, Running, json_lines};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const DAY: i64 = 86_400;
const HALF_A_DAY: SignedDuration = SignedDuration::from_hours(12);

/// Sets the clock of what runs here so many seconds ahead. Nobody ever reads half of it.
fn set_clock(place: &Place, ahead: i64) {
    let new = place.write("clock.new", ahead.to_string());
    std::fs::rename(new, place.path("clock")).unwrap();
}

/// The program, by the clock of this place.
fn by_clock(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env("TRIPLINE_TEST_CLOCK", "clock");
    command
}

/// The commands and rules of the ledger.
fn place() -> Place {
    let place = Place::new();
    place.write("tripline.toml", ledger::SETTINGS);
    place.write("rules.xml", ledger::RULES);
    place.write("content", "version 0\n");
    std::fs::create_dir(place.path("executed")).unwrap();
    place
}

fn run(place: &Place) -> Running {
    Running::start(by_clock(place, &["run", "--rules", "rules.xml", "--data-dir", "data"]))
}

/// How often a command was started, as it wrote down itself.
fn executions(place: &Place, command: &str) -> usize {
    std::fs::read_to_string(place.path(&format!("executed/{command}"))).unwrap_or_default().lines().count()
}

/// Waits until each command was started so many times more.
fn goes_on(place: &Place, run: &mut Running, times: usize) {
    for command in COMMANDS {
        let before = executions(place, command);
        run.wait_until(command, |_| executions(place, command) >= before + times);
    }
}

/// The commands of the ledger that write down their executions, each every second.
const COMMANDS: [&str; 5] = ["counter", "slow", "list", "tick", "held"];

fn time(record: &Value, field: &str) -> Timestamp {
    record[field].as_str().unwrap_or_else(|| panic!("{field} in {record}")).parse().unwrap()
}

#[test]
fn a_clock_that_goes_a_day_forward_and_back_loses_nothing_and_starts_nothing_twice() {
    let place = place();
    let began = (Instant::now(), Timestamp::from_second(now().as_second()).unwrap());

    set_clock(&place, 0);
    let mut running = run(&place);
    goes_on(&place, &mut running, 2);
    let follow = |topic: &str| place.start(&[topic, "--follow", "--format", "json", "--data-dir", "data"]);
    let (outputs, alerts) = (follow("outputs"), follow("alerts"));
    let mut starts = 1;
    for (version, (ahead, killed)) in (1..).zip([(DAY, false), (DAY, true), (-DAY, false), (-DAY, true), (0, false)]) {
        if killed {
            running.kill();
            starts += 1;
            running = run(&place);
        }
        ledger::change(&place, version);
        set_clock(&place, ahead);
        goes_on(&place, &mut running, 3);
    }
    running.stop().exits(0);
    let took = began.0.elapsed();
    let (_, history, alerts) = Ledger::close(&place, outputs, alerts);

    // Each start runs each command at once, and nothing else but a second does.
    for command in COMMANDS {
        let most = took.as_secs() as usize + 1 + starts;
        assert!(executions(&place, command) <= most, "{command} ran {} times", executions(&place, command));
    }
    let runs = json_lines(&history);
    for run in &runs {
        let took_ms = u128::from(run["duration_ms"].as_u64().unwrap());
        assert!(took_ms <= took.as_millis(), "{run}");
        // It sleeps for half a second.
        assert!(run["command"] != "slow" || run["ending"] != json!({ "exited": 0 }) || took_ms >= 500, "{run}");
        assert!(u128::from(run["start_delay_ms"].as_u64().unwrap_or(0)) <= took.as_millis(), "{run}");
    }
    let appended: Vec<Timestamp> = runs.iter().map(|run| time(run, "append_time")).collect();
    assert!(appended.is_sorted(), "{appended:?}");
    // The clock was where it should be.
    let (yesterday, tomorrow) = (began.1 - HALF_A_DAY, began.1 + HALF_A_DAY);
    let started = |is_so: &dyn Fn(Timestamp) -> bool| runs.iter().filter(|run| is_so(time(run, "time"))).count();
    assert!(started(&|time| time > tomorrow) > 10 && started(&|time| time < yesterday) > 10);

    what_is_asked_for_by_time_is_found(&place, [yesterday, began.1, tomorrow]);
    // A timer that began tomorrow holds back what is before its end.
    let held = json_lines(&alerts).into_iter().filter(|alert| alert["rule"]["id"] == "100003");
    let held: Vec<Timestamp> = held.map(|alert| time(&alert, "timestamp")).collect();
    assert!(held.last().is_some_and(|last| *last > tomorrow), "{held:?}");
}

#[expect(clippy::disallowed_methods, reason = "the clock of this machine, which the program's is set against")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// `--since` and `--until` leave out what is not asked for and nothing else, although the log does not read all of it.
#[track_caller]
fn what_is_asked_for_by_time_is_found(place: &Place, times: [Timestamp; 3]) {
    let list = |arguments: &[&str]| {
        let arguments = [arguments, &["--format", "json"]].concat();
        json_lines(&Embedded.tripline(place, &arguments).text())
    };
    for (verb, field) in [(&["outputs"][..], "time"), (&["alerts"], "timestamp"), (&["outputs", "--changes"], "time")] {
        let all = list(verb);
        let mut found = 0;
        for at in times {
            let text = at.to_string();
            let (since, until) =
                (list(&[verb, &["--since", &text]].concat()), list(&[verb, &["--until", &text]].concat()));
            let (after, before): (Vec<Value>, Vec<Value>) =
                all.iter().cloned().partition(|record| time(record, field) >= at);
            assert_eq!(since, after, "{verb:?} --since {text}");
            assert_eq!(until, before, "{verb:?} --until {text}");
            found += usize::from(!after.is_empty() && !before.is_empty());
        }
        assert_eq!(found, times.len(), "{verb:?}: there is something on both sides of each time");
    }
}

#[test]
fn a_start_under_a_clock_that_is_a_month_ahead_drops_nothing() {
    let place = place();
    let for_a_second = ["run", "--rules", "rules.xml", "--data-dir", "data", "--for", "1s"];
    let runs = || Embedded.tripline(&place, &["outputs", "--format", "json"]).text();
    set_clock(&place, 0);
    place.run(by_clock(&place, &for_a_second), b"").exits(0);
    let before = runs();
    assert!(!before.is_empty());
    // Outputs are kept for 14 days.
    set_clock(&place, 30 * DAY);
    let ran = place.run(by_clock(&place, &for_a_second), b"").exits(0);
    ran.says(&["the clock shows", "more than expected", "when it has stood for an hour"]);
    set_clock(&place, 0);
    place.run(by_clock(&place, &for_a_second), b"").exits(0);
    let after = runs();
    assert!(after.starts_with(&before) && after.len() > before.len());
}
