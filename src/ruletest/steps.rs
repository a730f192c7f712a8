//! From the steps of a test, as they are written, to what the event loop takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_saphyr::Spanned;
use tripline_engine::RuleSet;
use tripline_schemas::event::{Control, Event, Gap, Order};
use tripline_schemas::history::{HistoryBody, HistoryLog, HistoryRecord};
use tripline_schemas::{Ending, Format, Key, Run, RunId};
use uuid::Uuid;

use super::excerpt::{self, Place};
use super::load::{Arrival, Step, Test};
use super::problem::Problem;
use super::time;
use super::yaml;

/// A step is repeated at most this often: a bound against slips of the keyboard.
const REPEAT_TIMES_MAX: u32 = 100_000;
/// The agent and the location of a log line, when nobody says them.
const AGENT: &str = "agent";
const LOCATION: &str = "log";
/// The namespace of the spool ids of tests.
const SPOOL_NAMESPACE: Uuid = Uuid::from_u128(0x5b1c_8e6a_90d4_4f37_a2c5_7472_6970_7473);

/// Turns one test into what can be run, and notes what is wrong with it.
pub struct Reader<'a> {
    /// What paths are relative to.
    pub base: &'a Path,
    /// The whole file.
    pub text: &'a str,
    /// `None` when the rules could not be loaded; then ids can't be checked.
    pub rules: Option<&'a RuleSet>,
    /// What is wrong is added here.
    pub problems: &'a mut Vec<Problem>,
}

/// What a step takes over from those before it.
#[derive(Default)]
struct Before {
    at: Duration,
    sequence: u64,
    /// What each step's run printed; `None` for a step that is no run.
    outputs: Vec<Option<Vec<u8>>>,
}

impl Reader<'_> {
    /// Reads one test.
    pub fn test(mut self, test: yaml::Test, of_file: &yaml::Defaults) -> Test {
        let defaults = combined(test.defaults, of_file);
        let start = defaults.start.unwrap_or_else(|| time::START.parse().expect("it is RFC 3339"));
        if test.steps.is_empty() {
            self.wrong(&test.name, "the test has no steps");
        }
        let mut before = Before::default();
        let (mut steps, mut arrivals) = (Vec::new(), Vec::new());
        for (number, step) in test.steps.into_iter().enumerate() {
            let place = excerpt::place(&step, self.text);
            self.step(number, &step, start, &defaults, &mut before, &mut arrivals);
            let expect = step.value.expect;
            if let Some(expect) = &expect {
                self.expected_rules(expect);
            }
            steps.push(Step { place, expect });
        }
        let mut totals = Vec::new();
        for (rule, count) in test.expect_total {
            let place = excerpt::place(&count, self.text);
            self.known_rule(rule, &place);
            totals.push((rule, count.value, place));
        }
        let mut never = Vec::new();
        for rule in test.never {
            let place = excerpt::place(&rule, self.text);
            self.known_rule(rule.value, &place);
            never.push((rule.value, place));
        }
        Test { name: test.name.value, start, steps, arrivals, totals, never }
    }

    /// What happens in a step, once or several times.
    fn step(
        &mut self,
        number: usize,
        step: &Spanned<yaml::Step>,
        start: Timestamp,
        defaults: &yaml::Defaults,
        before: &mut Before,
        arrivals: &mut Vec<Arrival>,
    ) {
        if let Some(at) = &step.value.at {
            if at.value.0 < before.at {
                let problem = format!("the step goes back in time: the one before is at {}", time::shown(before.at));
                self.wrong(at, problem);
            }
            before.at = at.value.0;
        }
        let (times, every) = match &step.value.repeat {
            Some(repeat) if !(1..=REPEAT_TIMES_MAX).contains(&repeat.value.times) => {
                self.wrong(repeat, format!("`times` is between 1 and {REPEAT_TIMES_MAX}"));
                return;
            }
            Some(repeat) => (repeat.value.times, repeat.value.every.0),
            None => (1, Duration::ZERO),
        };
        let Some(what) = self.happening(step, before) else {
            before.outputs.push(None);
            return;
        };
        for repetition in 1..=times {
            if repetition > 1 {
                before.at += every;
            }
            before.sequence += 1;
            let Some(record) = self.record(step, &what, start, defaults, before) else { break };
            let repetition = step.value.repeat.as_ref().map(|_| (repetition, times));
            arrivals.push(Arrival { step: number, repetition, at: before.at, record });
        }
        before.outputs.push(match what {
            Happening::Run { output, .. } => Some(output),
            _ => None,
        });
    }

    /// The one thing that happens in a step; `None` when the step is not clear about it.
    fn happening(&mut self, step: &Spanned<yaml::Step>, before: &Before) -> Option<Happening> {
        let it = &step.value;
        let output = [("output", it.output.is_some()), ("file", it.file.is_some()), ("same_as", it.same_as.is_some())];
        let ending = [
            ("exit_code", it.exit_code.is_some()),
            ("signal", it.signal.is_some()),
            ("timed_out", it.timed_out.is_some()),
            ("interrupted", it.interrupted.is_some()),
            ("not_started", it.not_started.is_some()),
        ];
        let more_of_run = [
            ("truncated_from", it.truncated_from.is_some()),
            ("stderr", it.stderr.is_some()),
            ("duration", it.duration.is_some()),
            ("format", it.format.is_some()),
        ];
        let other = [("log", it.log.is_some()), ("gap", it.gap.is_some()), ("forget", it.forget.is_some())];
        let given = |keys: &[(&'static str, bool)]| -> Vec<&'static str> {
            keys.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect()
        };
        let (outputs, endings, others) = (given(&output), given(&ending), given(&other));
        let of_run = [outputs.clone(), endings.clone(), given(&more_of_run)].concat();
        let clash = match (outputs.as_slice(), endings.as_slice(), others.as_slice(), of_run.as_slice()) {
            ([a, b, ..], ..) | (_, [a, b, ..], ..) | (_, _, [a, b, ..], _) => Some((a, b)),
            (_, _, [a], [b, ..]) => Some((a, b)),
            _ => None,
        };
        if let Some((a, b)) = clash {
            self.wrong(step, format!("`{a}` and `{b}` exclude each other: one thing happens in a step"));
            return None;
        }
        if let (Some(location), None) = (&it.location, &it.log) {
            self.wrong(location, "`location` belongs to `log`");
        }
        if let Some(log) = &it.log {
            return Some(Happening::Log(log.value.clone().into_bytes()));
        }
        if let Some(runs) = &it.gap {
            if runs.value == 0 {
                self.wrong(runs, "a gap of no runs is none");
            }
            return Some(Happening::Gap(runs.value));
        }
        if let Some(forget) = &it.forget {
            let rule = forget.value.rule.as_ref();
            if let Some(rule) = rule {
                self.known_rule(rule.value, &excerpt::place(rule, self.text));
            }
            return Some(Happening::Forget(rule.map(|rule| rule.value)));
        }
        if outputs.is_empty() && endings.is_empty() {
            self.problems.push(Problem {
                place: excerpt::place(step, self.text),
                message: "nothing happens in this step".to_owned(),
                help: Some("give `output`, `file`, `same_as`, how a run failed, `log`, `gap` or `forget`".to_owned()),
                ..Problem::default()
            });
            return None;
        }
        let output = self.output(it, before)?;
        if let Some(full) = it.truncated_from.as_ref().filter(|full| full.value <= output.len() as u64) {
            self.wrong(full, format!("the output is {} bytes long: that is no beginning of it", output.len()));
        }
        Some(Happening::Run { output, ending: self.ending(it) })
    }

    /// What the run of a step printed.
    fn output(&mut self, step: &yaml::Step, before: &Before) -> Option<Vec<u8>> {
        if let Some(name) = &step.file {
            let path: PathBuf = self.base.join(&name.value);
            return match std::fs::read(&path) {
                Ok(output) => Some(output),
                Err(error) => {
                    self.wrong(name, format!("could not read `{}`: {error}", path.display()));
                    None
                }
            };
        }
        if let Some(number) = &step.same_as {
            let earlier = number.value.checked_sub(1).and_then(|at| before.outputs.get(at));
            return match earlier {
                Some(Some(output)) => Some(output.clone()),
                Some(None) => {
                    self.wrong(number, format!("step {} has no output", number.value));
                    None
                }
                None => {
                    self.wrong(number, "no earlier step has this number; steps count from 1");
                    None
                }
            };
        }
        Some(step.output.as_ref().map(|output| output.value.clone().into_bytes()).unwrap_or_default())
    }

    fn ending(&mut self, step: &yaml::Step) -> Ending {
        if let Some(interrupted) = step.interrupted.as_ref().filter(|interrupted| !interrupted.value) {
            self.wrong(interrupted, "a run that was not interrupted need not say so");
        }
        let code = step.exit_code.as_ref().map_or(0, |code| code.value);
        let signal = step.signal.as_ref().map(|signal| Ending::Signalled(signal.value));
        let timed_out = step.timed_out.as_ref().map(|limit| Ending::TimedOut(millis(limit.value.0)));
        let interrupted = step.interrupted.as_ref().map(|_| Ending::Interrupted);
        let not_started = step.not_started.as_ref().map(|reason| Ending::NotStarted(reason.value.clone()));
        signal.or(timed_out).or(interrupted).or(not_started).unwrap_or(Ending::Exited(code))
    }

    /// What arrives, in the form the event loop takes.
    fn record(
        &mut self,
        step: &Spanned<yaml::Step>,
        what: &Happening,
        start: Timestamp,
        defaults: &yaml::Defaults,
        before: &mut Before,
    ) -> Option<HistoryRecord> {
        let it = &step.value;
        let agent = it.agent.clone().or_else(|| defaults.agent.clone()).unwrap_or_else(|| AGENT.to_owned());
        let address = it.address.clone().or_else(|| defaults.address.clone());
        let command = match (what, &it.command, &defaults.command) {
            (Happening::Log(_), ..) => it.location.as_ref().map_or(LOCATION, |location| &location.value).to_owned(),
            (_, Some(command), _) => command.value.clone(),
            (_, None, Some(command)) => command.clone(),
            (_, None, None) => {
                self.wrong(step, "the step has no `command`, and neither have the `defaults`");
                return None;
            }
        };
        let key = match Key::new(agent, command) {
            Ok(key) => key,
            Err(error) => {
                self.wrong(step, error.to_string());
                return None;
            }
        };
        let spool = it.spool.as_ref().map_or("", |spool| &spool.value);
        let spool = Uuid::new_v5(&SPOOL_NAMESPACE, spool.as_bytes());
        let Ok(time) = start.checked_add(before.at) else {
            self.wrong(step, "the time is out of range");
            return None;
        };
        let mut append_time = time;
        let body = match what {
            Happening::Log(text) => HistoryBody::Log(HistoryLog { key, address, time, text: text.clone() }),
            Happening::Forget(rule) => HistoryBody::Event(Event::Control(Control {
                key,
                order: Order::Forget { rule: *rule },
                author: "a rule test".to_owned(),
                reason: "a step of the test".to_owned(),
                time,
            })),
            Happening::Gap(runs) => {
                let first = before.sequence;
                before.sequence += runs.saturating_sub(1);
                let last = before.sequence;
                HistoryBody::Event(Event::Gap(Gap { key, address, spool, first, last, runs: *runs, time }))
            }
            Happening::Run { output, ending } => {
                let duration_ms = match (&it.duration, ending) {
                    (Some(duration), _) => millis(duration.value.0),
                    (None, Ending::TimedOut(limit)) => *limit,
                    (None, _) => 0,
                };
                append_time = time.checked_add(Duration::from_millis(duration_ms)).unwrap_or(time);
                HistoryBody::Event(Event::Output(Run {
                    id: RunId { spool, sequence: before.sequence },
                    command_line: key.command().to_owned(),
                    key,
                    address,
                    alias: None,
                    format: it
                        .format
                        .as_ref()
                        .map(|format| format.value)
                        .or(defaults.format)
                        .unwrap_or(Format::Command),
                    started: time,
                    duration_ms,
                    start_delay_ms: None,
                    ending: ending.clone(),
                    truncated_from: it.truncated_from.as_ref().map(|full| full.value),
                    stderr_tail: it.stderr.as_ref().map(|text| text.value.clone().into_bytes()).unwrap_or_default(),
                    collector: env!("CARGO_PKG_VERSION").to_owned(),
                    output: output.clone(),
                }))
            }
        };
        Some(HistoryRecord { append_time, body })
    }

    /// Rules that an expectation names must exist: otherwise it would fail for ever, or never.
    fn expected_rules(&mut self, expect: &Spanned<yaml::Expect>) {
        let (alerts, results) = match &expect.value {
            yaml::Expect::None => (&[][..], None),
            yaml::Expect::Alerts(alerts) => (alerts.as_slice(), None),
            yaml::Expect::Results(results) => (results.alerts.as_slice(), Some(results)),
        };
        for alert in alerts {
            if let Some(rule) = &alert.value.rule {
                self.known_rule(rule.value, &excerpt::place(rule, self.text));
            }
        }
        let Some(results) = results else { return };
        for suppressed in results.suppressed.iter().flat_map(|suppressed| &suppressed.value.0) {
            self.known_rule(suppressed.rule.value, &excerpt::place(&suppressed.rule, self.text));
        }
        if let Some(silent) = &results.silent {
            for rule in &silent.value.0 {
                self.known_rule(*rule, &excerpt::place(silent, self.text));
            }
        }
    }

    fn known_rule(&mut self, id: u32, place: &Place) {
        if self.rules.is_some_and(|rules| rules.rule(id).is_none()) {
            self.problems.push(Problem::at(place.clone(), format!("the rules hold no rule {id}")));
        }
    }

    fn wrong<T>(&mut self, value: &Spanned<T>, message: impl Into<String>) {
        self.problems.push(Problem::at(excerpt::place(value, self.text), message));
    }
}

/// The one thing that happens in a step.
enum Happening {
    Run {
        output: Vec<u8>,
        ending: Ending,
    },
    Log(Vec<u8>),
    /// So many runs are lost.
    Gap(u64),
    /// What is remembered, or of this rule alone.
    Forget(Option<u32>),
}

/// The defaults of a test, and where it has none those of its file.
fn combined(test: yaml::Defaults, file: &yaml::Defaults) -> yaml::Defaults {
    yaml::Defaults {
        agent: test.agent.or_else(|| file.agent.clone()),
        address: test.address.or_else(|| file.address.clone()),
        command: test.command.or_else(|| file.command.clone()),
        format: test.format.or(file.format),
        start: test.start.or(file.start),
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
