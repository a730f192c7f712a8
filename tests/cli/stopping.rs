//! The end of a run while others go on.

use std::sync::atomic::{AtomicBool, Ordering};

use super::common::json_lines;
use super::{Place, RUN, place};

/// Says so when it goes away, be it since something else in the test failed.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The alerts of rule 100001, and the outputs, of the agent that only imports know.
fn imported(place: &Place) -> (usize, usize) {
    let count = |verb: &[&str]| {
        let verb = [verb, &["--agent", "elsewhere", "--data-dir", "data", "--format", "json"]].concat();
        json_lines(&String::from_utf8(place.tripline(&verb).out).unwrap()).len()
    };
    (count(&["alerts", "--rule", "100001"]), count(&["outputs"]))
}

#[test]
fn a_stop_does_not_wait_for_those_who_go_on_publishing_and_the_next_start_goes_on() {
    let place = place();
    let is_over = AtomicBool::new(false);
    let mut run = place.start(&RUN);
    run.wait_for("watching with");
    std::thread::scope(|scope| {
        let _end = SetAtEnd(&is_over);
        for importer in 0..2 {
            let (place, is_over) = (&place, &is_over);
            scope.spawn(move || {
                for number in (0..).take_while(|_| !is_over.load(Ordering::SeqCst)) {
                    let run = format!(
                        r#"{{"agent":"elsewhere","command":"tick","time":"2026-01-01T00:00:00Z","output":"{importer} {number}"}}"#
                    );
                    // While the owner ends it may be refused.
                    place.with_input(&["outputs", "import", "-", "--data-dir", "data"], (run + "\n").as_bytes());
                }
            });
        }
        run.wait_until("alerts on what is imported", |_| imported(&place).0 > 2);
        run.stop().exits(0);
    });
    place.tripline(&["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"]).exits(0);
    let (alerts, outputs) = imported(&place);
    assert_eq!(alerts, outputs - 1, "each output but the first is a change");
}
