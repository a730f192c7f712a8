//! What the system refuses to a running Tripline: file descriptors, processes, a spool to write to. Each run that it kept
//! from starting is an event, and what follows goes on.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::Place;
use super::common::{Running, json_lines};
use super::other_users::{Person, is_root, open_place};

/// Many commands at the same time, each a process of its own.
fn many_commands(place: &Place) {
    let command = |number| format!("[[command]]\nname = \"c{number}\"\nevery = \"1h\"\ncommand = [\"sleep\", \"1\"]\n");
    place.write("commands.toml", (0..COMMANDS).map(command).collect::<String>());
    fs::set_permissions(place.path("commands.toml"), fs::Permissions::from_mode(0o644)).unwrap();
}

const COMMANDS: u32 = 60;
const SETTINGS: &str =
    "command_files = [\"commands.toml\"]\n[collector]\nconcurrency = 60\nsplay = 0\n[agent]\nname = \"box\"\n";

/// Runs the commands once under a limit of the shell, until each is told.
#[track_caller]
fn limited(place: &Place, limit: &str, person: Option<Person>, data: &str) {
    many_commands(place);
    let mut shell = Command::new("/bin/bash"); // The other one knows no `-u`.
    let run = format!("ulimit {limit} && exec ./tripline run --data-dir {data}");
    shell.args(["-c", &run]).current_dir(place.root()).stdin(Stdio::null());
    shell.env_clear().env("PATH", "/usr/bin:/bin");
    if let Some(Person { uid, gid }) = person {
        shell.uid(uid).gid(gid);
    }
    let mut running = Running::start(shell);
    running.wait_for("watching with");
    // Its descriptors may be used up, so that it can't answer now.
    let told = || place.tripline(&["outputs", "--format", "json", "--data-dir", data]).out;
    running
        .wait_until("an event for each command", |_| told().split(|byte| *byte == b'\n').count() > COMMANDS as usize);
    running.stop().exits(0);
}

/// Every command became one event: it ran, or could not start because of this, and then a rule says so.
#[track_caller]
fn each_is_told(place: &Place, data: &str, refused: &str) {
    let runs = json_lines(&place.tripline(&["outputs", "--format", "json", "--data-dir", data]).text());
    assert_eq!(runs.len(), COMMANDS as usize);
    let reasons: Vec<String> = runs
        .iter()
        .filter(|run| run["ending"]["not_started"].is_string())
        .map(|run| run["ending"].to_string())
        .collect();
    assert!(!reasons.is_empty() && reasons.len() < runs.len(), "{} of {} were refused", reasons.len(), runs.len());
    assert!(reasons.iter().all(|reason| reason.contains(refused)), "{reasons:?}");
    let alerts = place.tripline(&["alerts", "--rule", "990004", "--format", "json", "--data-dir", data]).text();
    assert_eq!(alerts.lines().count(), reasons.len(), "rule 990004 reports each");
}

fn place() -> Place {
    let place = open_place("");
    place.write("tripline.toml", SETTINGS);
    place
}

#[test]
fn a_run_for_which_no_file_descriptor_is_left_is_told_and_the_others_go_on() {
    let place = place();
    limited(&place, "-n 64", None, "data");
    each_is_told(&place, "data", "Too many open files");
}

#[test]
fn a_run_for_which_no_process_is_left_is_told_and_the_others_go_on() {
    // Root has no such limit, and of a user who has other processes it would count those, too.
    let alone = Person { uid: 54_321, gid: 54_321 };
    let place = place();
    if !is_root() {
        return;
    }
    fs::create_dir(place.path("home")).unwrap();
    chown(place.path("home"), Some(alone.uid), Some(alone.gid)).unwrap();
    limited(&place, "-u 60", Some(alone), "home/data");
    each_is_told(&place, "home/data", "Resource temporarily unavailable");
}

#[test]
fn a_spool_that_can_not_be_written_ends_the_run_with_its_name() {
    let place = place();
    many_commands(&place);
    if is_root() {
        let nobody = Person { uid: 54_322, gid: 54_322 };
        fs::create_dir(place.path("home")).unwrap();
        chown(place.path("home"), Some(nobody.uid), Some(nobody.gid)).unwrap();
        fs::create_dir_all(place.path("home/data/spool")).unwrap();
        chown(place.path("home/data"), Some(nobody.uid), Some(nobody.gid)).unwrap();
        let ran = place.run(nobody.command(&place, &["run", "--data-dir", "home/data"]), b"");
        ran.exits(5).says(&["the spool can't be used", "`home/data/spool", "Permission denied"]);
    } else {
        fs::create_dir_all(place.path("data/spool")).unwrap();
        fs::set_permissions(place.path("data/spool"), fs::Permissions::from_mode(0o500)).unwrap();
        let ran = place.tripline(&["run", "--data-dir", "data"]);
        ran.exits(5).says(&["the spool can't be used", "`data/spool", "Permission denied"]);
    }
}
