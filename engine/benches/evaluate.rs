//! What it costs to judge one output of 4 KiB: one that did not change, one with a line more, one that no rule is about;
//! under 10 to 10,000 rules, and under rules with PCRE2 patterns.

mod cases;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tripline_engine::decision::Body;
use tripline_engine::{MemoryState, QuietCache, RuleSet};
use tripline_schemas::Format;
use tripline_schemas::event::Event;
use tripline_schemas::state::TextDigest;

use cases::{input, listing, pcre2_rules, rules, run, state_after};

const FORMATS: [(Format, &str); 2] = [(Format::FullCommand, "full_command"), (Format::Command, "command")];

/// An output that nothing came of before, kept or known by its digest; and what a digest costs by itself.
fn unchanged(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unchanged");
    let output = listing(false);
    group.bench_function("the digest alone", |bencher| bencher.iter(|| TextDigest::of(black_box(&output))));
    for count in [10, 10_000] {
        let rules = rules(count);
        for (format, name) in FORMATS {
            let event = run("netstat -tan", format, listing(false));
            let state = state_after(&rules, &event);
            for (mut cache, how) in [(QuietCache::new(), ""), (QuietCache::with_room(0), ", no room to keep it")] {
                let judge = |cache: &mut QuietCache| {
                    rules.evaluate_with(&input(Body::Event(&event)), &state, cache).expect("memory can be read")
                };
                (0..2).for_each(|_| drop(judge(&mut cache)));
                assert_eq!(cache.hits(), 1, "the bench measures what it says");
                group.bench_function(format!("{name}, {count} rules{how}"), |bencher| {
                    bencher.iter(|| black_box(judge(&mut cache)));
                });
            }
        }
    }
    group.finish();
}

/// Outputs that the rules are asked about.
fn judged(criterion: &mut Criterion) {
    for (format, name) in FORMATS {
        let mut group = criterion.benchmark_group(name);
        let sets = [10, 100, 1000, 10_000].map(|count| (format!("{count} rules"), rules(count)));
        let pcre2 = [("100 pcre2 rules", false), ("100 backtracking rules", true)];
        let sets = sets.into_iter().chain(pcre2.map(|(name, back)| (name.to_owned(), pcre2_rules(back))));
        let (before, now) = (run("netstat -tan", format, listing(false)), run("netstat -tan", format, listing(true)));
        let other = run("nobody's business", format, listing(false));
        for (set, rules) in sets {
            let state = state_after(&rules, &before);
            let nothing = MemoryState::default();
            for (what, event, state, alerts) in [
                ("unchanged, judged anew", &before, &state, 0),
                ("one line more", &now, &state, 1),
                ("no rule applies", &other, &nothing, 0),
            ] {
                let judge = || decide(&rules, event, state);
                assert_eq!(judge(), alerts, "the bench measures what it says");
                group.bench_function(format!("{what}, {set}"), |bencher| bencher.iter(judge));
            }
        }
        group.finish();
    }
}

/// The number of alerts.
fn decide(rules: &RuleSet, event: &Event, state: &MemoryState) -> usize {
    let decision = rules.evaluate(&input(Body::Event(event)), state).expect("memory can be read");
    black_box(decision).alerts.len()
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = unchanged, judged
}
criterion_main!(benches);
