//! `tripline run` killed at random times, as a crash kills it, again and again.
//!
//! The commands write down each of their executions by themselves, so that what reached the log can be held against what
//! really happened. `TRIPLINE_KILLS` says how often to kill, `SEED` repeats a run's times.

mod common;

use std::time::Duration;

use common::ledger::{Ledger, RULES, SETTINGS, change};
use common::{Embedded, Log, Place, Random, test_setting};

const KILLS: u64 = 15;

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
