//! The cache of outputs that nothing comes of, in the loop: what it leaves behind is what a loop without it leaves.

use std::cell::Cell;
use std::sync::Arc;

use tripline_engine::{RuleSet, Settings, SourceFile, compile};
use tripline_processor::backend::{BackendError, OutputTopic};
use tripline_processor::shard::Observer;
use tripline_processor::{ActiveRules, shard};

use crate::backend::{Disk, Fault, KILLED, SimBackend};
use crate::world::{RULES, Random, World, seeds};
use crate::{assert_same, calm, count, options};

/// Wants every rule that was tried, which no cache can tell.
struct Explains;

impl Observer for Explains {
    fn wants_detail(&self) -> bool {
        true
    }
}

/// The rules of the other tests, and some that ask for more than the output: the time, the exit code, lateness, whether
/// another command was counted.
fn rules() -> RuleSet {
    let more = r#"
      <rule id="100570" level="5"><if_sid>530</if_sid><match>'uptime':</match><time>8:00 - 8:55</time></rule>
      <rule id="100571" level="6"><if_sid>530</if_sid><match>LISTEN</match><run_exit_code>1</run_exit_code></rule>
      <rule id="100572" level="6"><if_sid>530</if_sid><match>'logins':</match><run_late>yes</run_late></rule>
      <rule id="100573" level="9" frequency="1" timeframe="900"><if_sid>530</if_sid><match>tmpfs</match>
        <if_matched_sid>100550</if_matched_sid></rule>
    </group>"#;
    let text = RULES.replace("<same_location />", "").replace("</group>", more);
    let file = SourceFile { name: "sim.xml".to_owned(), text: text.into_bytes() };
    let settings = Settings { time_zone: Some("UTC".to_owned()), ..Settings::default() };
    compile(&[file], &settings).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// Runs one process after the other until the input's end.
fn run(world: &World, rules: &Arc<RuleSet>, observer: &mut dyn Observer, plan: &dyn Fn(u64) -> Option<Fault>) -> Disk {
    let input = world.partitions(1);
    let (mut disk, steps) = (Disk::default(), Cell::new(0));
    let rules = ActiveRules::new(Arc::clone(rules));
    for process in 0.. {
        let mut backend = SimBackend::new(&input, &mut disk, plan, &steps, process);
        match shard::run(&mut backend, &rules, &options(20, 50), &|| false, observer) {
            Ok(_) => break,
            Err(BackendError::Fatal { what, .. }) if what == KILLED => {}
            Err(err) => panic!("{err}"),
        }
    }
    disk
}

#[test]
fn the_quiet_cache_changes_no_byte_of_what_is_written_restarts_included() {
    let rules = Arc::new(rules());
    let mut alerts = 0;
    for seed in seeds(20) {
        let world = World::new(seed, 400);
        let without = run(&world, &rules, &mut Explains, &calm);
        let context = format!("SEED={seed}");
        assert_same(&without, &run(&world, &rules, &mut (), &calm), &context);
        let often = |step: u64| {
            let mut random = Random::new(seed ^ step.wrapping_mul(0x5851_f42d_4c95_7f2d));
            random.one_in(60).then(|| *random.pick(&Fault::ALL))
        };
        assert_same(&without, &run(&world, &rules, &mut (), &often), &format!("{context}, with restarts"));
        alerts += count(&without, OutputTopic::Alerts);
    }
    assert!(alerts > 500, "{alerts} alerts: dull worlds");
}
