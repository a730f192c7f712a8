//! One agent and command under some rules, judged event by event.

use jiff::{SignedDuration, Timestamp};
use tripline_engine::decision::{Body, Input, LineDecision, LineKind, Verdict};
use tripline_engine::{Decision, MemoryState, RuleSet, Settings, SourceFile, compile};
use tripline_schemas::alert::Alert;
use tripline_schemas::event::{Control, Event, Order};
use tripline_schemas::state::KeyState;
use tripline_schemas::{Ending, Format, Key, Run, RunId};
use uuid::Uuid;

pub const SPOOL: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

/// 2023-11-14 22:13:20 UTC: time 0 of all tests.
pub fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
}

pub fn rules_with(xml: &str, settings: &Settings) -> RuleSet {
    let file = SourceFile { name: "test.xml".to_owned(), text: format!("<group name=\"local,\">{xml}</group>").into() };
    compile(&[file], settings).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

pub fn rules(xml: &str) -> RuleSet {
    rules_with(xml, &Settings::default())
}

/// A run of `ports` on `web-1`, a second long. Change its fields to taste.
pub fn run(format: Format, sequence: u64, at: i64, output: impl AsRef<[u8]>) -> Run {
    Run {
        id: RunId { spool: SPOOL, sequence },
        key: Key::new("web-1", "ports").expect("a good key"),
        address: None,
        command_line: "ports --all".to_owned(),
        alias: Some("ports".to_owned()),
        format,
        started: time(at),
        duration_ms: 1000,
        start_delay_ms: None,
        ending: Ending::Exited(0),
        truncated_from: None,
        stderr_tail: Vec::new(),
        collector: "test".to_owned(),
        output: output.as_ref().to_vec(),
    }
}

/// Judges an event that reached the log two seconds after it began, and remembers what follows. Every event is judged
/// in both ways, with a state that went to bytes and back: they must agree.
pub fn judge(rules: &RuleSet, state: &mut MemoryState, event: &Event) -> Decision {
    let began = match event {
        Event::Output(run) => run.started,
        Event::Gap(gap) => gap.time,
        Event::Control(control) => control.time,
        Event::Heartbeat(heartbeat) => heartbeat.time,
    };
    let append_time = began + SignedDuration::from_secs(2);
    judge_input(
        rules,
        state,
        &Input { body: Body::Event(event), append_time, source: None, overtaken: false, duplicate_agent: None },
    )
}

pub fn judge_input(rules: &RuleSet, state: &mut MemoryState, input: &Input<'_>) -> Decision {
    for remembered in state.keys.values_mut() {
        let bytes = serde_json::to_vec(&**remembered).expect("state is JSON");
        let back: KeyState = serde_json::from_slice(&bytes).expect("state comes back");
        assert_eq!(back, **remembered);
        *remembered = back.into();
    }
    let full = rules.explain(input, state).expect("memory can be read");
    let lean = rules.evaluate(input, state).expect("memory can be read");
    let came_to_something = |line: &&LineDecision| {
        matches!(line.verdict, Verdict::Alert { .. } | Verdict::HeldBack { .. } | Verdict::NotLogged(_))
    };
    let without_details =
        |line: &LineDecision| LineDecision { text: Vec::new(), decoded: None, tried: Vec::new(), ..line.clone() };
    let lines = full.lines.iter().filter(came_to_something).map(without_details).collect();
    assert_eq!(lean, Decision { lines, ..full.clone() }, "to explain changes nothing");
    state.apply(&full.changes);
    let named: usize = state.keys.values().map(|state| distinct_baselines(state)).sum();
    assert_eq!(state.texts.len(), named, "every baseline has its text, and no text is left over");
    full
}

fn distinct_baselines(state: &KeyState) -> usize {
    let digests = state.rules.values().filter_map(|rule| Some(rule.baseline.as_ref()?.digest));
    digests.collect::<std::collections::BTreeSet<_>>().len()
}

/// What came of an event: one entry per line that came to something, in the order of evaluation.
pub fn shown(decision: &Decision) -> Vec<String> {
    decision.lines.iter().filter_map(|line| shown_line(line, &decision.alerts)).collect()
}

fn shown_line(line: &LineDecision, alerts: &[Alert]) -> Option<String> {
    let place = match line.kind {
        LineKind::Output if line.number == 0 => String::new(),
        LineKind::Output => format!(" line {}", line.number),
        LineKind::Gathered => " gathered".to_owned(),
        LineKind::About => " about".to_owned(),
        LineKind::Log => " log".to_owned(),
    };
    Some(match line.verdict {
        Verdict::NoRule | Verdict::Silent(500 | 530 | 990_000) | Verdict::Gathered(_) => return None,
        Verdict::Silent(rule) => format!("silent {rule}{place}"),
        Verdict::NotLogged(rule) => format!("not logged {rule}{place}"),
        Verdict::HeldBack { rule, until } => {
            format!("held back {rule} until {}{place}", until.duration_since(time(0)).as_secs())
        }
        Verdict::Alert { rule, index } => {
            let alert = &alerts[index];
            assert_eq!(alert.rule.id, rule.to_string());
            let counted = |name: &str, count| if count == 0 { String::new() } else { format!(" {name} {count}") };
            let suppressed = counted("suppressed", alert.suppressed);
            let returned = counted("returned", alert.returned);
            format!("alert {rule}{place}{suppressed}{returned}")
        }
    })
}

/// One event, and what is to come of it.
pub struct Step {
    event: Event,
    expected: Vec<&'static str>,
    baseline: Option<(u32, Option<&'static str>)>,
    previous: Option<&'static str>,
}

/// At this time the command printed this.
pub fn printed(at: i64, output: &'static str) -> Step {
    ran(run(Format::FullCommand, 0, at, output))
}

/// The same, with a line of its own for every output line.
pub fn printed_lines(at: i64, output: &'static str) -> Step {
    ran(run(Format::Command, 0, at, output))
}

/// A run with facts of its own.
pub fn ran(run: Run) -> Step {
    Step { event: Event::Output(run), expected: Vec::new(), baseline: None, previous: None }
}

/// At this time a person orders to forget a rule, or all.
pub fn forget(at: i64, rule: Option<u32>) -> Step {
    let control = Control {
        key: Key::new("web-1", "ports").expect("a good key"),
        order: Order::Forget { rule },
        author: "somebody".to_owned(),
        reason: "the host is new".to_owned(),
        time: time(at),
    };
    Step { event: Event::Control(control), expected: Vec::new(), baseline: None, previous: None }
}

impl Step {
    /// What comes of it, as [`shown`] has it; nothing by default.
    pub fn gives(mut self, expected: &[&'static str]) -> Step {
        self.expected = expected.to_vec();
        self
    }

    /// The rule's baseline afterwards, without its header.
    pub fn then_baseline(mut self, rule: u32, text: Option<&'static str>) -> Step {
        self.baseline = Some((rule, text));
        self
    }

    /// The previous output in the first alert, without its header.
    pub fn with_previous(mut self, text: &'static str) -> Step {
        self.previous = Some(text);
        self
    }
}

/// Judges the events in order, and compares what comes of each.
#[track_caller]
pub fn check(xml: &str, steps: impl IntoIterator<Item = Step>) {
    check_with(xml, &Settings::default(), steps);
}

#[track_caller]
pub fn check_with(xml: &str, settings: &Settings, steps: impl IntoIterator<Item = Step>) {
    let rules = rules_with(xml, settings);
    let mut state = MemoryState::default();
    for (number, mut step) in (1..).zip(steps) {
        if let Event::Output(run) = &mut step.event {
            run.id.sequence = number;
        }
        let decision = judge(&rules, &mut state, &step.event);
        assert_eq!(shown(&decision), step.expected, "step {number}: {:?}", step.event);
        if let Some((rule, expected)) = step.baseline {
            let text = baseline(&state, step.event.key().expect("a key"), rule);
            let text = text.as_deref().map(without_header);
            assert_eq!(text.as_deref(), expected, "step {number}: the baseline of rule {rule}");
        }
        if let Some(expected) = step.previous {
            let previous = decision.alerts[0].previous_output.as_deref().expect("a previous output");
            assert_eq!(without_header(previous.as_bytes()), expected, "step {number}: the previous output");
        }
    }
}

fn baseline(state: &MemoryState, key: &Key, rule: u32) -> Option<Vec<u8>> {
    let digest = state.keys.get(key)?.rules.get(&rule)?.baseline.as_ref()?.digest;
    Some(state.texts[&(key.clone(), digest)].clone())
}

fn without_header(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.split_once(":\n").map_or("a text without header", |(_, rest)| rest).to_owned()
}
