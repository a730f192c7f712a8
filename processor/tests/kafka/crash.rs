//! kill -9 after every step of the protocol.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};
use tripline_processor::kafka::{KafkaBackend, Step};
use tripline_testkafka::shared;

use crate::support::{App, drive_to_end};

/// What the child is told, in its environment.
const CHILD: &str = "TRIPLINE_CRASH_CHILD";

/// Where this process ends: at the n-th time of a step.
static CRASH: OnceLock<(Step, AtomicU32)> = OnceLock::new();

fn crash_there(step: Step) {
    if let Some((wanted, left)) = CRASH.get()
        && *wanted == step
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how the child of this test is told what to do")]
fn a_process_killed_after_any_step_loses_and_doubles_nothing() {
    if let Ok(told) = std::env::var(CHILD) {
        return child(&told);
    }
    let app = App::create(shared(), 2);
    let state = tempfile::tempdir().unwrap();
    app.publish(0..300);
    let run = |step: Option<Step>, time: u32| -> ExitStatus {
        let step = step.and_then(|step| Step::ALL.iter().position(|known| *known == step));
        let step = step.map_or(String::new(), |index| index.to_string());
        let told = [&app.bootstrap, &app.id, &state.path().display().to_string(), &step, &time.to_string()];
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::a_process_killed_after_any_step_loses_and_doubles_nothing", "--nocapture"])
            .env(CHILD, told.map(String::as_str).join("\n"))
            .status()
            .unwrap()
    };
    // Restoring comes last: at the very first start there is nothing to restore.
    let (first, rest) = Step::ALL.split_first().unwrap();
    for step in rest.iter().chain([first]) {
        for time in [1, 2] {
            // Partitions are restored and assigned once, in one go, when nothing goes wrong.
            if time == 2 && matches!(step, Step::Assigned | Step::Restored) {
                continue;
            }
            let status = run(Some(*step), time);
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{step:?} for the {time}. time: {status}");
        }
    }
    assert!(run(None, 0).success());
    app.assert_exactly_once();

    let mut backend = KafkaBackend::new(app.settings(state.path())).unwrap();
    drive_to_end(&app, &mut backend, 5);
    app.assert_state(&backend);
    app.assert_exactly_once();
}

fn child(told: &str) {
    let told: Vec<&str> = told.split('\n').collect();
    let [bootstrap, id, state, step, time] = told[..] else { panic!("told {told:?}") };
    if let Ok(index) = step.parse::<usize>() {
        CRASH.set((Step::ALL[index], AtomicU32::new(time.parse().unwrap()))).unwrap();
    }
    let app = App { bootstrap: bootstrap.to_owned(), id: id.to_owned(), partitions: 2 };
    let mut settings = app.settings(&PathBuf::from(state));
    settings.on_step = Some(crash_there);
    let mut backend = KafkaBackend::new(settings).unwrap();
    drive_to_end(&app, &mut backend, 5);
}
