//! Random histories: the alerts of a history do not depend on how it is cut into batches, on what lies in memory and
//! what in bytes, or on which other agents and commands are judged beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use tripline_engine::decision::{Body, Input};
use tripline_engine::history::History;
use tripline_engine::{MemoryState, RuleSet, State, StateChange, StateError};
use tripline_schemas::alert::Alert;
use tripline_schemas::event::{Control, Event, Order};
use tripline_schemas::state::{HistoryKey, KeyState, SeenKey, TextDigest};
use tripline_schemas::{Ending, Format, Key};

use crate::random::{Random, seeds};
use crate::world::{judge, rules, run, time};

const XML: &str = r#"
    <rule id="100100" level="7" ignore="100"><if_sid>530</if_sid><match>tcp</match><check_diff /></rule>
    <rule id="100101" level="9" ignore="40"><if_sid>100100</if_sid><match>22</match></rule>
    <rule id="100102" level="0"><if_sid>100100</if_sid><match>443</match></rule>
    <rule id="100103" level="5" noalert="1"><if_sid>530</if_sid><match>udp</match><check_diff /></rule>
    <rule id="100104" level="6"><if_sid>100103</if_sid><match>53</match></rule>
    <rule id="100105" level="4" ignore="60"><if_sid>530</if_sid><regex>\d\d\d</regex></rule>
    <rule id="100106" level="3"><if_sid>530</if_sid><match>p</match><check_diff /></rule>
    <rule id="100107" level="8"><if_sid>990000</if_sid></rule>
    <rule id="100108" level="10" frequency="1" timeframe="200"><if_matched_sid>100105</if_matched_sid><same_location /></rule>
    <rule id="100109" level="11" frequency="0" timeframe="500" ignore="30"><if_sid>100101</if_sid><if_matched_regex>tcp</if_matched_regex><same_location /></rule>"#;

fn history(random: &mut Random) -> Vec<Event> {
    let mut at = 0;
    let length = 1 + random.below(60);
    let events = (1..=length).map(|sequence| {
        at += i64::try_from(random.below(50)).expect("small") - 5;
        let key =
            Key::new(["a", "b"][random.below(2) as usize], ["x", "y"][random.below(2) as usize]).expect("a good key");
        if random.one_in(20) {
            let rule = random.one_in(2).then_some(100_100);
            let order = Order::Forget { rule };
            return Event::Control(Control {
                key,
                order,
                author: String::new(),
                reason: String::new(),
                time: time(at),
            });
        }
        let lines = ["tcp 22", "tcp 80", "tcp 443", "udp 53", "udp 123", "", "other"];
        let output: String = lines.iter().filter(|_| random.one_in(2)).map(|line| format!("{line}\n")).collect();
        let format = if key.command() == "x" { Format::Command } else { Format::FullCommand };
        let mut run = run(format, sequence, at, output);
        run.key = key;
        if random.one_in(10) {
            run.ending = Ending::TimedOut(30_000);
        }
        run.truncated_from = random.one_in(10).then_some(1 << 30);
        Event::Output(run)
    });
    events.collect()
}

/// What a batch has changed so far, over what was remembered before it.
struct Overlay {
    below: MemoryState,
    keys: BTreeMap<Key, Option<Arc<KeyState>>>,
    texts: BTreeMap<(Key, TextDigest), Option<Vec<u8>>>,
    /// What was recorded.
    recorded: MemoryState,
}

impl State for Overlay {
    fn key_state(&self, key: &Key) -> Result<Option<Arc<KeyState>>, StateError> {
        self.keys.get(key).map_or_else(|| self.below.key_state(key), |state| Ok(state.clone()))
    }

    fn text(&self, key: &Key, digest: &TextDigest) -> Result<Option<Vec<u8>>, StateError> {
        let above = self.texts.get(&(key.clone(), *digest));
        above.map_or_else(|| self.below.text(key, digest), |text| Ok(text.clone()))
    }

    fn history(&self, at: &HistoryKey) -> Result<Option<Arc<History>>, StateError> {
        self.recorded.histories.get(at).map_or_else(|| self.below.history(at), |history| Ok(Some(history.clone())))
    }

    fn has_seen(&self, at: &SeenKey) -> Result<bool, StateError> {
        Ok(self.recorded.has_seen(at)? || self.below.has_seen(at)?)
    }
}

/// Judges the history in batches of random size; after each, all that is remembered goes to bytes and back.
fn in_batches(rules: &RuleSet, history: &[Event], random: &mut Random) -> (Vec<Alert>, MemoryState) {
    let (mut state, mut alerts, mut rest) = (MemoryState::default(), Vec::new(), history);
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(1 + random.below(rest.len() as u64) as usize);
        rest = later;
        let mut overlay =
            Overlay { below: state, keys: BTreeMap::new(), texts: BTreeMap::new(), recorded: MemoryState::default() };
        let mut changes = Vec::new();
        for event in batch {
            let append_time = began(event) + SignedDuration::from_secs(2);
            let input =
                Input { body: Body::Event(event), append_time, source: None, overtaken: false, duplicate_agent: None };
            let decision = rules.evaluate(&input, &overlay).expect("memory can be read");
            for change in &decision.changes {
                match change.clone() {
                    StateChange::KeyState(key, state) => drop(overlay.keys.insert(key, state)),
                    StateChange::Text(key, digest, text) => drop(overlay.texts.insert((key, digest), text)),
                    recorded => overlay.recorded.apply(&[recorded]),
                }
            }
            changes.extend(decision.changes);
            alerts.extend(decision.alerts);
        }
        state = overlay.below;
        state.apply(&changes);
        for remembered in state.keys.values_mut() {
            let bytes = serde_json::to_vec(&**remembered).expect("state is JSON");
            *remembered = Arc::new(serde_json::from_slice(&bytes).expect("state comes back"));
        }
    }
    (alerts, state)
}

fn began(event: &Event) -> jiff::Timestamp {
    match event {
        Event::Output(run) => run.started,
        Event::Control(control) => control.time,
        Event::Gap(gap) => gap.time,
        Event::Heartbeat(heartbeat) => heartbeat.time,
    }
}

fn one_by_one<'e>(rules: &RuleSet, history: impl IntoIterator<Item = &'e Event>) -> (Vec<Alert>, MemoryState) {
    let mut state = MemoryState::default();
    let alerts = history.into_iter().flat_map(|event| judge(rules, &mut state, event).alerts).collect();
    (alerts, state)
}

#[test]
fn batches_and_restarts_change_no_alert() {
    let rules = rules(XML);
    let mut alerts_seen = 0;
    for seed in seeds(100) {
        let random = &mut Random(seed);
        let history = history(random);
        let calm = one_by_one(&rules, &history);
        alerts_seen += calm.0.len();
        for _ in 0..3 {
            assert_eq!(in_batches(&rules, &history, random), calm, "TRIPLINE_TEST_SEED={seed}");
        }
    }
    assert!(alerts_seen > 0, "the histories are about something");
}

#[test]
fn agents_and_commands_do_not_touch_each_other() {
    let rules = rules(XML);
    for seed in seeds(100) {
        let history = history(&mut Random(seed));
        let (together, _) = one_by_one(&rules, &history);
        for (agent, command) in [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")] {
            let key = Key::new(agent, command).expect("a good key");
            let (alone, _) = one_by_one(&rules, history.iter().filter(|event| event.key() == Some(&key)));
            let mine = |alert: &&Alert| alert.agent.name == agent && alert.command == command;
            let of_key: Vec<_> = together.iter().filter(mine).cloned().collect();
            assert_eq!(alone, of_key, "TRIPLINE_TEST_SEED={seed}");
        }
    }
}

#[test]
fn ids_are_distinct_over_a_history() {
    let rules = rules(XML);
    for seed in seeds(100) {
        let (alerts, _) = one_by_one(&rules, &history(&mut Random(seed)));
        let ids: std::collections::BTreeSet<_> = alerts.iter().map(|alert| &alert.id).collect();
        assert_eq!(ids.len(), alerts.len(), "TRIPLINE_TEST_SEED={seed}");
    }
}

#[test]
fn every_change_is_told_against_the_text_of_the_last_one_told() {
    // One rule, one command: what an alert shows as the previous output is what the alert before showed as the output.
    let rules = rules(
        r#"<rule id="100100" level="7" ignore="60"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>"#,
    );
    for seed in seeds(100) {
        let random = &mut Random(seed);
        let mut state = MemoryState::default();
        let (mut told, mut at) = (None, 0);
        for sequence in 0..40 {
            at += i64::try_from(random.below(40)).expect("small");
            let output = ["a", "b", "c"][random.below(3) as usize];
            let decision = judge(&rules, &mut state, &Event::Output(run(Format::FullCommand, sequence, at, output)));
            let text = format!("ossec: output: 'ports':\n{output}");
            for alert in decision.alerts {
                assert_eq!(alert.previous_output, told, "TRIPLINE_TEST_SEED={seed}");
                assert_eq!(alert.full_log, text);
                told = Some(alert.full_log);
            }
            told = told.or(Some(text));
        }
    }
}
