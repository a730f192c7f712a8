//! OSSEC's four examples of process monitoring, on the embedded log.

mod common;

use common::{Embedded, Log, Place, seed, without_source};

#[test]
fn a_full_disk_gives_the_alert_block_that_the_documentation_shows() {
    seed::a_full_disk(&Embedded);
}

#[test]
fn a_load_average_fires_is_silent_for_two_hours_and_fires_again() {
    seed::a_load_average(&Embedded);
}

#[test]
fn an_opened_port_is_reported_with_both_outputs_and_the_diff() {
    seed::listening_ports(&Embedded);
}

#[test]
fn a_usb_device_on_windows_is_reported_with_its_backslashes() {
    seed::usb_storage(&Embedded);
}

/// `tripline run` judges what it finds in the outputs, whoever put it there.
#[test]
fn run_judges_imported_outputs_as_process_does() {
    let history = include_str!("data/seed/ports.jsonl");
    let rules = include_str!("data/seed/ports.xml");
    let alerts = |judge: &dyn Fn(&Place)| {
        let place = Place::new();
        place.write("tripline.toml", "[[command]]\ncommand = 'true'\n");
        place.write("ports.xml", rules);
        place.write("ports.jsonl", history);
        Embedded.tripline(&place, &["outputs", "import", "ports.jsonl"]).exits(0);
        judge(&place);
        without_source(&Embedded.tripline(&place, &["alerts", "--format", "json", "--rule", "140123"]).text())
    };
    let by_run = alerts(&|place| {
        Embedded.tripline(place, &["run", "--rules", "ports.xml", "--for", "1s"]).exits(0);
    });
    let by_process = alerts(&|place| Embedded.judge(place, &["--rules", "ports.xml"]));
    assert_eq!(by_run.len(), 1);
    assert_eq!(by_run, by_process);
}

/// What was judged is not judged again, and what was imported twice counts once.
#[test]
fn an_import_that_is_repeated_doubles_nothing() {
    let place = Place::new();
    place.write("ports.xml", include_str!("data/seed/ports.xml"));
    place.write("ports.jsonl", include_str!("data/seed/ports.jsonl"));
    for _ in 0..2 {
        Embedded.tripline(&place, &["outputs", "import", "ports.jsonl"]).exits(0);
        Embedded.judge(&place, &["--rules", "ports.xml"]);
        let alerts = Embedded.tripline(&place, &["alerts", "--format", "json"]).text();
        assert_eq!(alerts.lines().count(), 1, "{alerts}");
    }
}
