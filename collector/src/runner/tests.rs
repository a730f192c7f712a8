use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::config::{CommandSpec, Settings};
use crate::{Interval, Plan};

fn plan(spec: CommandSpec) -> PlannedCommand {
    Plan::check(&[spec], "web-1", &Settings::default()).unwrap().commands()[0].clone()
}

fn shell(text: &str) -> CommandSpec {
    CommandSpec::new(CommandLine::Shell(text.to_owned()))
}

fn program(words: &[&str]) -> CommandSpec {
    CommandSpec::new(CommandLine::Program(words.iter().map(|word| (*word).to_owned()).collect()))
}

fn run(spec: CommandSpec) -> Outcome {
    run_until(spec, &Stop::new())
}

fn run_until(spec: CommandSpec, stop: &Stop) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(execute(&plan(spec), None, stop, Duration::ZERO))
}

/// Whether a process is there and not just waiting to be reaped.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Killed processes need a moment to go; waits as long as the test may run.
fn wait_until_gone(pids: &Path) {
    for pid in fs::read_to_string(pids).unwrap().split_whitespace() {
        while is_alive(pid) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Runs it until its time is up, with more time where the machine was too slow for what must have happened by then.
fn timed_out(spec: impl Fn() -> CommandSpec, has_happened: impl Fn(&Outcome) -> bool) -> Outcome {
    let mut timeout = Duration::from_millis(300);
    loop {
        let outcome = run(CommandSpec { timeout: Some(Interval(timeout)), ..spec() });
        assert_eq!(outcome.ending, Ending::TimedOut(millis(timeout)));
        if has_happened(&outcome) {
            return outcome;
        }
        timeout *= 3;
        assert!(timeout < Duration::from_secs(300), "it has not happened in {:?}", timeout / 3);
    }
}

/// Whether process numbers were noted there.
fn are_noted(pids: &Path) -> bool {
    fs::read_to_string(pids).is_ok_and(|text| text.ends_with('\n'))
}

#[test]
fn a_run_comes_with_its_facts() {
    let outcome = run(shell("echo out; echo err >&2; exit 3"));
    assert_eq!(outcome.ending, Ending::Exited(3));
    assert_eq!(outcome.output, b"out\n");
    assert_eq!(outcome.stderr_tail, b"err\n");
    assert_eq!(outcome.truncated_from, None);
    assert!(outcome.leftover.is_none());
}

#[test]
fn an_output_comes_back_byte_for_byte() {
    let outcome = run(shell(r"printf 'a\000b\377\376\r\n\n'"));
    assert_eq!(outcome.output, b"a\0b\xff\xfe\r\n\n");
}

#[test]
fn a_long_output_is_cut_at_the_limit_and_counted_to_its_end() {
    let cut = |size: usize| {
        let spec = shell(&format!("head -c {size} /dev/zero"));
        let outcome = run(CommandSpec { output_bytes_max: Some(100_000), ..spec });
        (outcome.output.len(), outcome.truncated_from, outcome.ending)
    };
    assert_eq!(cut(99_999), (99_999, None, Ending::Exited(0)));
    assert_eq!(cut(100_000), (100_000, None, Ending::Exited(0)));
    assert_eq!(cut(100_001), (100_000, Some(100_001), Ending::Exited(0)));
    assert_eq!(cut(20_000_000), (100_000, Some(20_000_000), Ending::Exited(0)));
}

#[test]
fn the_end_of_standard_error_is_kept() {
    let outcome = run(shell("seq 1 20000 >&2"));
    let all: String = (1..=20_000).map(|i| format!("{i}\n")).collect();
    assert_eq!(outcome.stderr_tail, &all.as_bytes()[all.len() - STDERR_TAIL_BYTES_MAX..]);
    assert_eq!(outcome.output, b"");
}

#[test]
fn what_cannot_be_started_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("not-executable");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let file = file.to_str().unwrap();

    let missing = run(shell("no-such-program-here"));
    assert_eq!(missing.ending, Ending::Exited(127));
    assert!(String::from_utf8_lossy(&missing.stderr_tail).contains("not found"));
    assert_eq!(run(shell(file)).ending, Ending::Exited(126));

    let reason = |spec| match run(spec).ending {
        Ending::NotStarted(reason) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason(program(&["no-such-program-here"])).starts_with("`no-such-program-here`: No such file"));
    assert!(reason(program(&[file, "x"])).contains("Permission denied"));
    let nowhere = CommandSpec { working_directory: Some("/no/such/directory".into()), ..shell("pwd") };
    assert!(reason(nowhere).starts_with("working directory `/no/such/directory`: No such file"));
}

#[test]
fn a_program_gets_its_arguments_as_they_are() {
    let outcome = run(program(&["printf", "%s|", "a b", "$HOME", "*", ""]));
    assert_eq!(outcome.output, b"a b|$HOME|*||");
}

#[test]
fn environment_directory_and_input_are_settled() {
    let text = "echo $LC_ALL $EXTRA; pwd; cat";
    let spec = CommandSpec {
        environment: [("EXTRA".to_owned(), "yes".to_owned())].into(),
        working_directory: Some("/".into()),
        ..shell(text)
    };
    assert_eq!(run(spec.clone()).output, b"C yes\n/\n");
    let german = CommandSpec { environment: [("LC_ALL".to_owned(), "de_DE".to_owned())].into(), ..spec };
    assert_eq!(run(german).output, b"de_DE\n/\n");
}

#[test]
fn a_signal_from_elsewhere_is_a_fact() {
    assert_eq!(run(shell("kill -9 $$")).ending, Ending::Signalled(9));
}

#[test]
fn a_run_that_times_out_ends_with_all_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let text = format!("echo so far; sleep 1000 & echo $$ $! > {}; sleep 1000", pids.display());
    let outcome = timed_out(|| shell(&text), |_| are_noted(&pids));
    assert_eq!(outcome.output, b"so far\n");
    assert!(outcome.leftover.is_none());
    wait_until_gone(&pids);
}

#[test]
fn children_that_ignore_term_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let text = format!(
        "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $$ $! > {}; while :; do sleep 1; done",
        pids.display()
    );
    timed_out(|| shell(&text), |_| are_noted(&pids));
    wait_until_gone(&pids);
}

#[test]
fn a_child_that_ignores_term_is_killed_also_when_its_parent_obeys_and_it_holds_no_output() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let text = format!(
        "(trap '' TERM; while :; do sleep 1; done) >/dev/null 2>&1 & echo $! > {}; exec sleep 1000",
        pids.display()
    );
    timed_out(|| shell(&text), |_| are_noted(&pids));
    wait_until_gone(&pids);
}

#[test]
fn a_grandchild_that_holds_the_output_does_not_hold_up_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let outcome = run(shell(&format!("echo started; sleep 1000 & echo $! > {}", pids.display())));
    assert_eq!(outcome.ending, Ending::Exited(0));
    assert_eq!(outcome.output, b"started\n");
    wait_until_gone(&pids);
}

#[test]
fn a_process_that_left_the_group_and_holds_the_output_does_not_hold_up_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    // The shell in the new session writes its own number, then becomes the sleeper.
    let text = format!(
        "setsid sh -c 'echo $$ > {0}; exec sleep 1000' & until [ -s {0} ]; do sleep 0.01; done; echo started",
        pids.display()
    );
    let outcome = run(shell(&text));
    assert_eq!(outcome.ending, Ending::Exited(0));
    assert_eq!(outcome.output, b"started\n");
    let pid = fs::read_to_string(&pids).unwrap();
    assert!(is_alive(pid.trim()));
    std::process::Command::new("kill").arg(pid.trim()).status().unwrap();
}

#[test]
fn a_service_that_a_command_starts_in_the_background_is_left_alone() {
    let outcome = run(shell("sleep 1000 >/dev/null 2>&1 & echo $!"));
    let pid = String::from_utf8(outcome.output).unwrap();
    assert!(is_alive(pid.trim()));
    std::process::Command::new("kill").arg(pid.trim()).status().unwrap();
}

#[test]
fn an_endless_output_ends_at_the_time_limit_and_stays_within_its_bound() {
    let spec = || CommandSpec { output_bytes_max: Some(1000), ..shell("yes") };
    let outcome = timed_out(spec, |outcome| !outcome.output.is_empty());
    assert_eq!(outcome.output.len(), 1000);
    assert!(outcome.truncated_from.is_some());
}

#[test]
fn a_run_is_interrupted_when_the_collector_stops() {
    let dir = tempfile::tempdir().unwrap();
    let started = dir.path().join("started");
    let stop = Stop::new();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !started.exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
            stop.ask();
        });
        run_until(shell(&format!("echo so far; touch {}; sleep 1000", started.display())), &stop)
    });
    assert_eq!((outcome.ending, outcome.output.as_slice()), (Ending::Interrupted, b"so far\n".as_slice()));
}

/// What `id` and the like print on this machine for a user.
fn printed(words: &[&str]) -> String {
    let out = std::process::Command::new(words[0]).args(&words[1..]).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

/// Root's collector runs the command as the user, with the user's groups and nobody else's; anybody else's refuses to
/// start it and says what to do.
#[test]
fn a_command_runs_as_the_user_that_it_names_or_not_at_all() {
    let text = "id -u; id -g; id -G; echo $HOME $USER $LOGNAME";
    let outcome = run(CommandSpec { user: Some("nobody".into()), ..shell(text) });
    if !rustix::process::geteuid().is_root() {
        let Ending::NotStarted(reason) = outcome.ending else { panic!("{outcome:?}") };
        assert!(reason.contains("must be started by root"), "{reason}");
        return;
    }
    let home = printed(&["sh", "-c", "echo ~nobody"]);
    let ids = ["-u", "-g", "-G"].map(|what| printed(&["id", what, "nobody"])).concat();
    assert_eq!(String::from_utf8(outcome.output).unwrap(), format!("{ids}{} nobody nobody\n", home.trim()));

    // `adm` instead of the user's own group; what the settings say about the environment stands.
    let spec = CommandSpec {
        user: Some("nobody".into()),
        group: Some("adm".into()),
        environment: [("HOME".to_owned(), "/elsewhere".to_owned())].into(),
        ..shell("id -g; id -G | tr ' ' '\\n' | sort -n | uniq -d; echo $HOME")
    };
    let adm = printed(&["sh", "-c", "getent group adm | cut -d: -f3"]);
    assert_eq!(String::from_utf8(run(spec).output).unwrap(), format!("{adm}/elsewhere\n"));

    // Nothing of root's is left: neither a file nor a directory that is root's alone.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "x").unwrap();
    let as_nobody = |spec| CommandSpec { user: Some("nobody".into()), ..spec };
    let outcome = run(as_nobody(shell(&format!("cat {}", secret.display()))));
    assert_eq!((outcome.ending, outcome.output.len()), (Ending::Exited(1), 0));
    let inside = CommandSpec { working_directory: Some(dir.path().to_owned()), ..as_nobody(shell("pwd")) };
    let Ending::NotStarted(reason) = run(inside).ending else { panic!("it entered a directory of root's") };
    assert!(reason.ends_with("as user `nobody`: Permission denied (os error 13)"), "{reason}");
}

#[test]
fn a_user_who_is_not_known_is_named_and_nothing_is_started() {
    let outcome = run(CommandSpec { user: Some("no-such-user".into()), ..shell("echo") });
    assert_eq!(outcome.ending, Ending::NotStarted("this machine has no user `no-such-user`".into()));
}
