//! The cache of outputs that nothing comes of: it answers often, and never otherwise than the rules would.

use jiff::{SignedDuration, Timestamp};
use tripline_engine::decision::{Body, Input};
use tripline_engine::{MemoryState, QuietCache, RuleSet, Settings};
use tripline_schemas::event::{Control, Event, Gap, Order};
use tripline_schemas::{Ending, Format, Key, Run, RunId};
use uuid::Uuid;

use crate::random::{Random, seeds};
use crate::world::{SPOOL, rules_with, run, time};

/// Conditions of rules, of every kind that may answer otherwise for the same output.
const CONDITIONS: [&str; 24] = [
    "<match>LISTEN</match>",
    "<match>22</match>",
    "<match>nowhere</match>",
    "<regex>:\\d\\d\\d </regex>",
    "<time>8:30 - 17:00</time>",
    "<time>10 pm - 2 am</time>",
    "<time>!2:10 - 2:50</time>",
    "<weekday>sunday</weekday>",
    "<weekday>weekdays</weekday>",
    "<run_exit_code>0</run_exit_code>",
    "<run_exit_code>!0</run_exit_code>",
    "<run_duration>>= 1s</run_duration>",
    "<run_duration>10ms-100ms, 5s</run_duration>",
    "<run_output_size>>= 20</run_output_size>",
    "<run_late>yes</run_late>",
    "<hostname>10.0.0.7</hostname>",
    "<check_diff />",
    "<check_diff />",
    "<check_diff><sort /></check_diff>",
    "<check_diff><ignore_lines>22</ignore_lines></check_diff><match on=\"added\">:</match>",
    "<if_matched_sid>100100</if_matched_sid>",
    "<if_matched_sid>100101</if_matched_sid><same_location />",
    "<if_matched_regex>LISTEN</if_matched_regex><same_location />",
    "<if_matched_group>local</if_matched_group>",
];

const OUTPUTS: [&str; 6] = [
    "",
    "tcp :22 LISTEN\n",
    "tcp :443 LISTEN\ntcp :22 LISTEN\n",
    "tcp :22 LISTEN\ntcp :443 LISTEN\n",
    "tcp :443 ESTABLISHED\n",
    "load 0.22\n\nnothing else\n",
];

fn some_rules(random: &mut Random) -> String {
    let mut xml = String::new();
    let count = 2 + random.below(8) as u32;
    for id in 100_100..100_100 + count {
        let parent = match random.below(8) {
            0 => 990_000,
            1..4 if id > 100_100 => 100_100 + random.below(u64::from(id - 100_100)) as u32,
            _ => 530,
        };
        let level = [0, 0, 3, 7][random.below(4) as usize];
        let ignore = if level > 0 && random.one_in(3) { " ignore=\"900\"" } else { "" };
        let noalert = if random.one_in(10) { " noalert=\"1\"" } else { "" };
        let mut conditions = Vec::new();
        // One of each kind at most: some elements may stand in a rule only once, and would contradict each other.
        for _ in 0..1 + random.below(3) {
            let condition = CONDITIONS[random.below(CONDITIONS.len() as u64) as usize];
            let kind = |condition: &str| condition[..5].to_owned();
            if conditions.iter().all(|other: &&str| kind(other) != kind(condition)) {
                conditions.push(condition);
            }
        }
        let counts = conditions.iter().any(|condition| condition.starts_with("<if_matched"));
        // What is counted must be there, and is not the rule itself.
        if counts && id < 100_102 {
            conditions = vec!["<match>LISTEN</match>"];
        }
        let counts = conditions.iter().any(|condition| condition.starts_with("<if_matched"));
        let frequency = if counts { " frequency=\"1\" timeframe=\"4000\"" } else { "" };
        let key = if ignore.is_empty() || random.one_in(2) { "" } else { "<ignore_key>(\\d+) LISTEN</ignore_key>" };
        let options = if random.one_in(10) { "<options>no_log</options>" } else { "" };
        xml += &format!(
            "<rule id=\"{id}\" level=\"{level}\"{ignore}{noalert}{frequency}><if_sid>{parent}</if_sid>{}{key}{options}\
             <description>x</description></rule>\n",
            conditions.concat()
        );
    }
    xml
}

/// What the log holds of one event.
struct Arrived {
    event: Event,
    append_time: Timestamp,
    overtaken: bool,
    duplicate_agent: Option<Uuid>,
}

/// Two commands of two agents that mostly print what they printed before.
struct Hosts {
    now: Timestamp,
    last: [Run; 2],
}

impl Hosts {
    fn new(random: &mut Random) -> Hosts {
        // Half of them live through the night in which the clocks are set back.
        let now = if random.one_in(2) { time(0) } else { "2025-10-25T22:00:00Z".parse().expect("a time") };
        let runs = [("web-1", "ports", Format::FullCommand), ("web-2", "load", Format::Command)];
        let last = runs.map(|(agent, command, format)| Run {
            key: Key::new(agent, command).expect("a good key"),
            ..run(format, 0, 0, OUTPUTS[random.below(6) as usize])
        });
        Hosts { now, last }
    }

    fn next(&mut self, number: u64, random: &mut Random) -> Arrived {
        let steps = [1, 1, 10, 59, 300, 1500, 7000, 30_000];
        self.now += SignedDuration::from_secs(steps[random.below(8) as usize]);
        let last = &mut self.last[random.below(2) as usize];
        if random.one_in(4) {
            last.output = OUTPUTS[random.below(6) as usize].into();
        }
        if random.one_in(15) {
            last.address = if random.one_in(2) { None } else { Some("10.0.0.7".to_owned()) };
        }
        if random.one_in(30) {
            last.format = if random.one_in(2) { Format::Command } else { Format::FullCommand };
        }
        let late = if random.one_in(12) { random.below(2000) as i64 } else { 0 };
        let hasty = if random.one_in(20) { 500 } else { 0 };
        let started = self.now - SignedDuration::from_secs(late) + SignedDuration::from_secs(hasty);
        let append_time = self.now + SignedDuration::from_secs(2);
        let key = last.key.clone();
        let event = match random.below(40) {
            0 => Event::Gap(Gap {
                key,
                address: None,
                spool: SPOOL,
                first: number,
                last: number,
                runs: 1,
                time: started,
            }),
            1 => Event::Control(Control {
                key,
                order: Order::Forget { rule: if random.one_in(2) { None } else { Some(100_100) } },
                author: "somebody".to_owned(),
                reason: "a test".to_owned(),
                time: started,
            }),
            _ => Event::Output(Run {
                id: RunId { spool: SPOOL, sequence: number },
                started,
                duration_ms: [10, 10, 50, 999, 1000, 5000][random.below(6) as usize],
                start_delay_ms: None,
                ending: match random.below(20) {
                    0 => Ending::TimedOut(30_000),
                    1 => Ending::Exited(127),
                    2 | 3 => Ending::Exited(1),
                    _ => Ending::Exited(0),
                },
                truncated_from: random.one_in(25).then_some(10_000),
                ..last.clone()
            }),
        };
        let duplicate_agent = random.one_in(25).then_some(Uuid::from_u128(7));
        Arrived { event, append_time, overtaken: random.one_in(15), duplicate_agent }
    }
}

#[test]
fn the_quiet_cache_changes_no_decision() {
    let settings = Settings { time_zone: Some("Europe/Vienna".to_owned()), ..Settings::default() };
    let (mut events, mut hits, mut alerts) = (0, 0, 0);
    for seed in seeds(60) {
        let random = &mut Random(seed);
        let texts = [some_rules(random), some_rules(random)];
        let sets: [RuleSet; 2] = texts.each_ref().map(|xml| rules_with(xml, &settings));
        let (mut hosts, mut state, mut set) = (Hosts::new(random), MemoryState::default(), 0);
        // Room for all outputs, for none, for one of the longer ones.
        let room = [1 << 20, 0, 31][random.below(3) as usize];
        let mut cache = QuietCache::with_room(room);
        for number in 1..300 {
            let Arrived { event, append_time, overtaken, duplicate_agent } = hosts.next(number, random);
            // As a process does that is started anew, or given other rules.
            if random.one_in(100) {
                hits += cache.hits();
                cache = QuietCache::with_room(room);
            }
            if random.one_in(60) {
                set = 1 - set;
            }
            let input = Input { body: Body::Event(&event), append_time, source: None, overtaken, duplicate_agent };
            let expected = sets[set].evaluate(&input, &state).expect("memory can be read");
            let got = sets[set].evaluate_with(&input, &state, &mut cache).expect("memory can be read");
            assert_eq!(got, expected, "TRIPLINE_TEST_SEED={seed}: event {number}: {event:?}\n{}", texts[set]);
            state.apply(&expected.changes);
            cache.changed(&expected.changes);
            (events, alerts) = (events + 1, alerts + expected.alerts.len());
        }
        hits += cache.hits();
    }
    // The worlds must show what they are made for.
    assert!(hits * 20 > events, "{hits} of {events} events were answered by the cache");
    assert!(alerts * 20 > events as usize, "{alerts} alerts of {events} events");
}

/// The cache answers the second of two runs, whether it keeps outputs or knows them by their digests.
#[track_caller]
fn answers_again(xml: &str, change: impl Fn(&mut Run), expected: bool) {
    answers_again_with(QuietCache::new(), xml, &change, expected);
    answers_again_with(QuietCache::with_room(0), xml, &change, expected);
}

#[track_caller]
fn answers_again_with(mut cache: QuietCache, xml: &str, change: &impl Fn(&mut Run), expected: bool) {
    let settings = Settings { time_zone: Some("UTC".to_owned()), ..Settings::default() };
    let rules = rules_with(xml, &settings);
    let mut state = MemoryState::default();
    let mut judge = |run: Run| {
        let append_time = run.started + SignedDuration::from_secs(2);
        let event = Event::Output(run);
        let body = Body::Event(&event);
        let input = Input { body, append_time, source: None, overtaken: false, duplicate_agent: None };
        let decision = rules.evaluate_with(&input, &state, &mut cache).expect("memory can be read");
        state.apply(&decision.changes);
        cache.changed(&decision.changes);
        cache.hits()
    };
    let first = run(Format::FullCommand, 1, 0, "output");
    // The first run may set a baseline; nothing comes of the second.
    judge(first.clone());
    let before = judge(first.clone());
    let mut second = Run { started: time(60), ..first };
    change(&mut second);
    assert_eq!(judge(second) > before, expected, "{xml}");
}

#[test]
fn an_unchanged_output_is_answered_by_the_cache() {
    let rule = |inside: &str| format!("<rule id=\"100100\" level=\"7\"><if_sid>530</if_sid>{inside}</rule>");
    let nothing = |_: &mut Run| {};
    answers_again(&rule("<match>nowhere</match>"), nothing, true);
    answers_again(&rule("<check_diff />"), nothing, true);
    answers_again(&rule("<check_diff><sort /></check_diff>"), nothing, true);
    answers_again(&rule("<check_diff />"), |run| run.output = b"another".into(), false);
    answers_again(&rule("<check_diff />"), |run| run.output = b"outpu7".into(), false);
    answers_again(&rule("<match>out</match>"), nothing, false);
    // Half past ten at night.
    answers_again(&rule("<time>22:15 - 22:17</time><match>nowhere</match>"), nothing, true);
    answers_again(&rule("<time>22:16 - 22:17</time>"), |run| run.started = time(120), true);
    answers_again(&rule("<time>22:16 - 22:17</time>"), |run| run.started = time(160), false);
    answers_again(&rule("<weekday>monday</weekday>"), |run| run.started = time(6000), true);
    answers_again(&rule("<weekday>monday</weekday>"), |run| run.started = time(7000), false);
    answers_again(&rule("<run_duration>>= 5s</run_duration>"), |run| run.duration_ms = 4999, true);
    answers_again(&rule("<run_duration>>= 5s</run_duration>"), |run| run.duration_ms = 5000, false);
    answers_again(&rule("<run_exit_code>2</run_exit_code>"), |run| run.ending = Ending::Exited(1), false);
}

/// Runs at these times with these outputs, with and without the cache: gives the rules that fire, with the number of the
/// run.
#[track_caller]
fn fires(xml: &str, zone: &str, runs: &[(Timestamp, &str)]) -> Vec<(usize, String)> {
    let settings = Settings { time_zone: Some(zone.to_owned()), ..Settings::default() };
    let rules = rules_with(xml, &settings);
    let (mut state, mut cache) = (MemoryState::default(), QuietCache::new());
    let mut fired = Vec::new();
    for (number, (started, output)) in runs.iter().enumerate() {
        let event = Event::Output(Run { started: *started, ..run(Format::FullCommand, number as u64, 0, output) });
        let append_time = *started + SignedDuration::from_secs(2);
        let body = Body::Event(&event);
        let input = Input { body, append_time, source: None, overtaken: false, duplicate_agent: None };
        let expected = rules.evaluate(&input, &state).expect("memory can be read");
        let got = rules.evaluate_with(&input, &state, &mut cache).expect("memory can be read");
        assert_eq!(got, expected, "run {number}");
        fired.extend(expected.alerts.into_iter().map(|alert| (number, alert.rule.id)));
        state.apply(&expected.changes);
        cache.changed(&expected.changes);
    }
    fired
}

#[test]
fn a_clock_that_is_set_back_brings_a_time_of_day_again() {
    let rule = r#"<rule id="100100" level="7"><if_sid>530</if_sid><time>2:10 - 2:50</time></rule>"#;
    let at = |text: &str| text.parse().expect("a time");
    // 2:55 in summer time, then 2:15 in winter time.
    let runs = [(at("2025-10-26T00:55:00Z"), "output"), (at("2025-10-26T01:15:00Z"), "output")];
    assert_eq!(fires(rule, "Europe/Vienna", &runs), [(1, "100100".to_owned())]);
}

#[test]
fn a_run_that_comes_late_is_judged_by_its_own_time_of_day() {
    let rule = r#"<rule id="100100" level="7"><if_sid>530</if_sid><time>22:00 - 22:12</time></rule>"#;
    assert_eq!(fires(rule, "UTC", &[(time(0), "output"), (time(-120), "output")]), [(1, "100100".to_owned())]);
}

#[test]
fn a_composite_rule_counts_for_a_late_run_what_was_near_it() {
    let rules = r#"<rule id="100100" level="3"><if_sid>530</if_sid><match>bad</match></rule>
        <rule id="100101" level="7" frequency="0" timeframe="100"><if_sid>530</if_sid><if_matched_sid>100100</if_matched_sid></rule>"#;
    let fired = |runs: &[i64]| {
        let others = runs.iter().map(|at| (time(*at), "other"));
        let runs: Vec<_> = [(time(1000), "bad")].into_iter().chain(others).collect();
        fires(rules, "UTC", &runs)
    };
    let bad = || (0, "100100".to_owned());
    assert_eq!(fired(&[0, 950]), [bad(), (2, "100101".to_owned())], "the counted one seemed to come from the future");
    assert_eq!(fired(&[5000, 1010]), [bad(), (2, "100101".to_owned())], "the counted one was long ago");
}

/// What the shell says of a command that it can't start is in the line about the run, and no part of the output.
#[test]
fn a_run_that_failed_is_judged_each_time() {
    let rules = rules_with(
        r#"<rule id="100100" level="7"><if_sid>990000</if_sid><match>not found</match></rule>"#,
        &Settings::default(),
    );
    let (state, mut cache) = (MemoryState::default(), QuietCache::new());
    let alerts = ["permission denied", "not found"].map(|said| {
        let failed = Run { ending: Ending::Exited(127), ..run(Format::FullCommand, 1, 0, "") };
        let event = Event::Output(Run { stderr_tail: said.into(), ..failed });
        let body = Body::Event(&event);
        let input = Input { body, append_time: time(2), source: None, overtaken: false, duplicate_agent: None };
        rules.evaluate_with(&input, &state, &mut cache).expect("memory can be read").alerts.len()
    });
    assert_eq!(alerts, [0, 1]);
}
