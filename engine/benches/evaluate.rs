//! What it costs to judge one output of 4 KiB: one that did not change, one with a line more, one that no rule is about;
//! under 10 to 10,000 rules, and under rules with PCRE2 patterns.

mod cases;

use std::cell::LazyCell;
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
        let rules = LazyCell::new(|| rules(count));
        for (format, name) in FORMATS {
            let event = run("netstat -tan", format, listing(false));
            for (room, how) in [(usize::MAX, ""), (0, ", no room to keep it")] {
                group.bench_function(format!("{name}, {count} rules{how}"), |bencher| {
                    let (state, mut cache) = (state_after(&rules, &event), QuietCache::with_room(room));
                    let mut judge = || {
                        rules
                            .evaluate_with(&input(Body::Event(&event)), &state, &mut cache)
                            .expect("memory can be read")
                    };
                    (0..2).for_each(|_| drop(judge()));
                    bencher.iter(|| black_box(judge()));
                    assert!(cache.hits() > 0, "the bench measures what it says");
                });
            }
        }
    }
    group.finish();
}

/// Outputs that the rules are asked about. What is not asked for on the command line is not made either.
fn judged(criterion: &mut Criterion) {
    for (format, name) in FORMATS {
        let mut group = criterion.benchmark_group(name);
        let sets = [10, 100, 1000, 10_000].map(|count| (format!("{count} rules"), Set::Plain(count)));
        let pcre2 = [("100 pcre2 rules", false), ("100 backtracking rules", true)];
        let sets = sets.into_iter().chain(pcre2.map(|(name, back)| (name.to_owned(), Set::Pcre2(back))));
        let (before, now) = (run("netstat -tan", format, listing(false)), run("netstat -tan", format, listing(true)));
        let other = run("nobody's business", format, listing(false));
        for (name, set) in sets {
            let rules = LazyCell::new(|| match set {
                Set::Plain(count) => rules(count),
                Set::Pcre2(backtracking) => pcre2_rules(backtracking),
            });
            for (what, earlier, event, alerts) in [
                ("unchanged, judged anew", Some(&before), &before, 0),
                ("one line more", Some(&before), &now, 1),
                ("no rule applies", None, &other, 0),
            ] {
                group.bench_function(format!("{what}, {name}"), |bencher| {
                    let state = earlier.map_or_else(MemoryState::default, |earlier| state_after(&rules, earlier));
                    let judge = || decide(&rules, event, &state);
                    assert_eq!(judge(), alerts, "the bench measures what it says");
                    bencher.iter(judge);
                });
            }
        }
        group.finish();
    }
}

/// Rules of one kind.
#[derive(Clone, Copy)]
enum Set {
    /// So many.
    Plain(u32),
    /// Whether their patterns need backtracking.
    Pcre2(bool),
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
