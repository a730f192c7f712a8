//! Replay is the same loop: it gives what live processing gave.

use std::sync::Arc;

use tripline_processor::backend::{OutputRecord, OutputTopic};
use tripline_processor::memory::{Item, Trouble};
use tripline_processor::shard::Observer;
use tripline_processor::task::Arrival;
use tripline_processor::{Judged, Summary, replay};
use tripline_schemas::alert::Alert;
use tripline_schemas::history::HistoryReader;

use crate::world::{RULES, World, rules};
use crate::{calm, options, run};

fn replay(
    input: impl Iterator<Item = Result<Item, Trouble>>,
    observer: &mut dyn Observer,
) -> (Summary, Vec<OutputRecord>) {
    let mut outputs = Vec::new();
    let mut sink = |output| {
        outputs.push(output);
        Ok(())
    };
    let options = replay::options("tripline.outputs");
    let summary = replay::run(Arc::new(rules(RULES)), input, &options, &|| false, observer, &mut sink).unwrap();
    (summary, outputs)
}

#[test]
fn replay_of_a_log_gives_what_live_processing_gave() {
    for partitions in [1, 3] {
        let world = World::new(21, 500);
        let live = run(&world, partitions, &Arc::new(rules(RULES)), &options(32, 64), &calm).disk;
        let input = world.partitions(partitions).concat().into_iter().map(|stored| Ok(Item::Record(stored)));
        let (summary, outputs) = replay(input, &mut ());
        assert_eq!(summary.counts.arrivals, 500);
        for ((topic, partition), records) in live.outputs {
            let of = |output: &&OutputRecord| (output.topic, output.partition) == (topic, partition);
            let replayed: Vec<_> = outputs.iter().filter(of).map(|output| output.record.clone()).collect();
            assert_eq!(replayed, records, "{topic:?} {partition}");
        }
    }
}

const HISTORY: &str = r#"
{"agent":"web","command":"ports","format":"full_command","time":"2025-10-09T08:00:00Z","output":"tcp 22 LISTEN\n"}
{"agent":"web","command":"ports","format":"full_command","time":"2025-10-09T08:06:00Z","output":"tcp 22 LISTEN\ntcp 4444 LISTEN\n"}
{"agent":"web","time":"2025-10-09T08:07:00Z","log":"a line that no rule knows"}
{"agent":"web","command":"ports","format":"full_command","time":"2025-10-09T08:12:00Z","output":"tcp 22 LISTEN\ntcp 4444 LISTEN\n"}
"#;

fn history() -> impl Iterator<Item = Result<Item, Trouble>> {
    replay::from_history(HistoryReader::new(HISTORY.trim_start().as_bytes()))
}

#[test]
fn an_observer_sees_every_decision_in_order() {
    #[derive(Default)]
    struct Seen(Vec<(u64, usize)>);
    impl Observer for Seen {
        fn judged(&mut self, arrival: &Arrival, judged: &Judged) {
            let Judged::Decided(decision) = judged else { panic!("{judged:?}") };
            self.0.push((arrival.offset, decision.alerts.len()));
        }
    }
    let mut seen = Seen::default();
    let (_, outputs) = replay(history(), &mut seen);
    assert_eq!(seen.0, [(0, 0), (1, 1), (2, 0), (3, 0)]);
    let topics: Vec<_> = outputs.iter().map(|output| output.topic).collect();
    assert_eq!(topics, [OutputTopic::Alerts, OutputTopic::RuleSets]);
    let alert = Alert::from_record(&outputs[0].record).unwrap();
    assert_eq!((&*alert.rule.id, alert.source.unwrap().offset), ("100533", 1));
}

#[test]
fn a_sink_that_fails_ends_the_replay() {
    let mut sink = |_| Err("no space left".into());
    let options = replay::options("tripline.outputs");
    let result = replay::run(Arc::new(rules(RULES)), history(), &options, &|| false, &mut (), &mut sink);
    let err = result.unwrap_err();
    assert!(err.is_fatal());
    assert_eq!(std::error::Error::source(&err).unwrap().to_string(), "no space left");
}

#[test]
fn an_input_that_fails_ends_the_replay() {
    let input = history().take(2).chain([Err("line 3 is cut".into())]);
    let mut sink = |_| Ok(());
    let options = replay::options("tripline.outputs");
    let result = replay::run(Arc::new(rules(RULES)), input, &options, &|| false, &mut (), &mut sink);
    assert_eq!(std::error::Error::source(&result.unwrap_err()).unwrap().to_string(), "line 3 is cut");
}
