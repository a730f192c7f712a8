//! `tripline run`: collector and processor in one process, on the embedded log or on Kafka.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::Context;
use tripline_collector::{ActivePlan, CollectError, Collector, Summary};
use tripline_processor::embedded::EmbeddedBackend;
use tripline_processor::shard::Observer;
use tripline_processor::task::{Arrival, Judged};
use tripline_processor::{ActiveRules, Backend, Options, shard};

use crate::cli::Run;
use crate::commands;
use crate::exit::{Exit, Failure, Outcome};
use crate::local;
use crate::ossec::Ossec;
use crate::owned;
use crate::print::{self, say};
use crate::process;
use crate::reload::{self, Reload};
use crate::rulefiles::{self, Sources};
use crate::service;
use crate::settings::Settings;
use crate::signals::Stop;

/// How long nothing must have come after the collector's end before the processor stops.
const QUIET_BEFORE_STOP: Duration = Duration::from_millis(700);

/// So long after the collector's end it stops although more comes, from other collectors or an import, or much is left.
const STOP_AFTER: Duration = Duration::from_secs(10);

pub fn run(args: &Run, settings: Settings) -> Outcome {
    // First of all: a signal that comes while files are read must not end the program.
    let stop = Stop::on_signals()?;
    let reload = Reload::on_hangup()?;
    let partitions = local::partitions(&args.at, &settings)?;
    let sources = Sources { flags: &args.rules, settings: &settings, partitions };
    let ossec = sources.ossec().map_err(Failure::unusable)?;
    let rules = sources.load(ossec.as_ref())?;
    rulefiles::tell_of_silence(&rules);
    ossec.iter().for_each(Ossec::tell_findings);
    let plan = commands::plan(&settings, args.commands.as_deref(), ossec.as_ref()).map_err(Failure::unusable)?;
    let identity = commands::identity(&settings).map_err(Failure::unusable)?;
    let data_dir = local::data_dir(&args.at, &settings);
    let commands = plan.commands().len();
    let plan = ActivePlan::new(plan);
    let collector = |spool_dir| Collector {
        plan: plan.clone(),
        identity,
        settings: settings.collector.clone(),
        spool_dir,
        topic: settings.topic_names().outputs,
        observer: tripline_collector::Observer::none(),
    };
    let rule_count = rulefiles::count(&rules);
    let parts = |stop: &Stop, backend: &mut dyn Backend, publisher| {
        say!(
            "watching with {} and {}; {}data in `{}`",
            print::count(commands as u64, "command"),
            rule_count,
            if local::uses_kafka(&args.at, &settings) { "outputs go to Kafka; " } else { "" },
            data_dir.display()
        );
        service::started();
        let collector = collector(data_dir.join("spool"));
        let collect = |stop: &tripline_collector::Stop| collector.run(publisher, stop);
        let rules = ActiveRules::new(rules);
        let commands =
            reload::Commands::new(&settings, args.commands.as_deref(), args.rules.ossec_conf.as_deref(), plan.clone());
        let reload = reload.of(reload::Rules { sources, active: &rules }).of(commands);
        together(collect, backend, &rules, &process::options(&settings), reload, args.duration, stop)
    };
    if local::uses_kafka(&args.at, &settings) {
        let mut backend = process::kafka_backend(&args.at, &settings)?;
        let publisher = local::publisher(&args.at, &settings)?;
        return parts(&stop, &mut backend, publisher);
    }
    let log = owned::open(&data_dir, &settings)?;
    let mut backend = EmbeddedBackend::new(log.clone(), settings.topic_names(), &settings.application_id);
    let publisher = Box::new(log.publisher());
    owned::serving(&log, &settings, &stop, || parts(&stop, &mut backend, publisher))?
}

/// Runs both parts until the time is up, a signal comes, or one of them fails; then lets the collector publish what it
/// has, and the processor judge what was published.
fn together(
    collect: impl FnOnce(&tripline_collector::Stop) -> Result<Summary, CollectError> + Send,
    backend: &mut dyn Backend,
    rules: &ActiveRules,
    options: &Options,
    reload: Reload<'_>,
    duration: Option<Duration>,
    stop: &Stop,
) -> Outcome {
    let collector_stop = tripline_collector::Stop::new();
    let collector_ended = Stop::default();
    let mut process = || {
        // The processor stops after the collector, when nothing more comes, so that the last outputs are judged. What it
        // should miss is judged at the next start.
        let (collected, busy) = (Cell::new(Instant::now()), Cell::new(Instant::now()));
        let is_over = || {
            if !collector_ended.is_set() {
                collected.set(Instant::now());
                busy.set(Instant::now());
            }
            busy.get().elapsed() > QUIET_BEFORE_STOP || collected.get().elapsed() > STOP_AFTER
        };
        // However it ends, by a panic too, the collector must hear of it.
        let _end = stop.set_at_end();
        shard::run(backend, rules, options, &is_over, &mut Busy(&busy))
    };
    let both = || {
        std::thread::scope(|scope| {
            let collecting = scope.spawn(|| {
                let _end = (collector_ended.set_at_end(), stop.set_at_end());
                collect(&collector_stop)
            });
            let processed = process();
            (collecting.join().map_err(|_| anyhow::anyhow!("the collector panicked")), processed)
        })
    };
    let (collected, processed) =
        stop.within(duration, || collector_stop.ask(), || stop.beside(|| reload.watch(stop), both));
    let processed = processed.context("the processor stopped")?;
    let collected = collected?.context("the collector stopped")?;
    say!("collected {}; {}", print::count(collected.runs, "run"), process::said(&processed));
    Ok(Exit::Fine)
}

/// Remembers when the collector was last seen at work, or something was judged.
struct Busy<'a>(&'a Cell<Instant>);

impl Observer for Busy<'_> {
    fn judged(&mut self, _: &Arrival, _: &Judged) {
        self.0.set(Instant::now());
    }
}
