//! What is taken over without a restart, and what a running program says to the rest.

use rustix::process::Signal;

use crate::common::{Place, Running};

const SETTINGS: &str = r#"
data_dir = "data"
command_files = ["commands.toml"]

[agent]
name = "box"

[collector]
splay = 0

[rules]
dirs = ["rules.xml"]

[[command]]
name = "tick"
every = "1s"
command = "date +%s%N"
"#;

/// A command of this name.
fn command(name: &str, every: &str, text: &str) -> String {
    format!("[[command]]\nname = \"{name}\"\nevery = \"{every}\"\ncommand = '{text}'\n")
}

fn place(commands: &str) -> Place {
    let place = Place::new();
    place.write("tripline.toml", SETTINGS);
    place.write("rules.xml", crate::RULES);
    place.write("commands.toml", commands);
    place
}

/// What the log has of a command, one output after the other.
fn outputs(place: &Place, command: &str) -> String {
    let ran = place.tripline(&["outputs", "--command", command, "--format", "raw"]);
    String::from_utf8(ran.out).unwrap()
}

/// Waits until the log has this of a command.
#[track_caller]
fn wait_for_output(running: &mut Running, place: &Place, command: &str, text: &str) {
    running.wait_until(&format!("{text} of {command}"), |_| outputs(place, command).contains(text));
}

#[test]
fn changed_commands_are_taken_over_and_a_run_that_goes_on_ends_normally() {
    let waits = "touch started; until [ -e finish ]; do sleep 0.1; done; echo ended by itself";
    let place = place(&[command("waits", "1h", waits), command("changes", "1s", "echo old")].concat());
    let mut running = place.start(&["run"]);
    wait_for_output(&mut running, &place, "changes", "old");
    running.wait_until("the run to go on", |_| place.path("started").exists());

    place.write("commands.toml", [command("new", "1h", "echo new"), command("changes", "1s", "echo other")].concat());
    running.signal(Signal::HUP);
    running.wait_for("tripline: running 3 commands now: added `new`; removed `waits`; changed `changes`\n");
    wait_for_output(&mut running, &place, "new", "new\n");
    wait_for_output(&mut running, &place, "changes", "other\n");
    place.write("finish", "");
    wait_for_output(&mut running, &place, "waits", "ended by itself\n");

    let ran = running.stop().exits(0);
    assert_eq!(outputs(&place, "waits"), "ended by itself\n", "{}", ran.err);
    assert_eq!(outputs(&place, "new"), "new\n");
    let changes = outputs(&place, "changes");
    assert_eq!(changes.trim_start_matches("old\n").trim_start_matches("other\n"), "", "{changes}");
    let facts = place.tripline(&["outputs", "--command", "waits", "--format", "json"]).text();
    assert!(facts.contains("\"ending\":{\"exited\":0}"), "{facts}");
}

#[test]
fn commands_with_errors_are_left_aside_with_their_place_and_the_old_ones_go_on() {
    let place = place(&command("kernel", "1h", "uname -r"));
    let mut running = place.start(&["run"]);
    running.wait_for("watching with 2 commands");

    // Seen without a signal, once it stands still.
    place.write("commands.toml", command("kernel", "1h", "uname -r") + "evrey = 5\n");
    running.wait_for("tripline: the commands are not exchanged, the 2 commands from before go on: ");
    running.wait_for("commands.toml: TOML parse error at line 5, column 1");
    running.wait_for("help: did you mean `every`?");
    place.write("commands.toml", command("tick", "1h", "uname -r"));
    running.signal(Signal::HUP);
    running.wait_for("commands.toml, command 1 (command `tick`): the name is taken by command 1 (`tick`)");
    place.write("commands.toml", command("as", "1h", "id").replace("every", "user = 'no-such-user'\nevery"));
    running.signal(Signal::HUP);
    running.wait_for("command `as`: ");

    // All of them would go: that is a mistake, too.
    place.write("tripline.toml", SETTINGS.split_once("[[command]]").unwrap().0);
    place.write("commands.toml", "");
    running.signal(Signal::HUP);
    running.wait_for("there are no commands to run");
    let before = outputs(&place, "tick").lines().count();
    running.wait_until("tick to go on", |_| outputs(&place, "tick").lines().count() > before);

    place.write("tripline.toml", SETTINGS);
    place.write("commands.toml", command("kernel", "1h", "uname -r"));
    running.signal(Signal::HUP);
    running.wait_for("tripline: the commands have not changed\n");
    running.stop().exits(0);
}

#[test]
fn settings_that_wait_for_the_next_start_are_named() {
    let place = place(&command("kernel", "1h", "uname -r"));
    let mut running = place.start(&["run"]);
    running.wait_for("watching with 2 commands");
    let settings = SETTINGS.replace("\"data\"", "\"elsewhere\"").replace("\"box\"", "\"other\"");
    place.write("tripline.toml", settings + &command("more", "1h", "echo more"));
    running.wait_for(
        "tripline: settings that can't be changed while it runs count from the next start: agent.name, data_dir\n",
    );
    running.wait_for("tripline: running 3 commands now: added `more`\n");
    // Under the old name, into the old log.
    running.wait_until("the new command", |_| {
        let ran = place.tripline(&["outputs", "--data-dir", "data", "--agent", "box", "--command", "more"]);
        String::from_utf8_lossy(&ran.out).contains("more")
    });
    running.stop().exits(0);
    assert!(!place.path("elsewhere").exists());
}

#[test]
fn a_pipe_of_commands_is_not_read_a_second_time() {
    let place = place("");
    let pipe = place.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, command("piped", "1h", "echo piped")).unwrap()
    });
    let mut running = place.start(&["run", "--commands", "pipe"]);
    running.wait_for("watching with 2 commands");
    writer.join().unwrap();
    running.signal(Signal::HUP);
    running.wait_for("`pipe` is no regular file, so it can't be read a second time");
    running.stop().exits(0);
}

#[test]
fn changed_levels_of_alerts_of_ossecs_configuration_are_taken_over() {
    let place = place(&command("kernel", "1h", "uname -r"));
    let conf = |level: u8| {
        format!("<ossec_config><alerts><log_alert_level>{level}</log_alert_level></alerts></ossec_config>\n")
    };
    place.write("tripline.toml", format!("ossec_conf = \"ossec.conf\"\n{SETTINGS}"));
    place.write("ossec.conf", conf(1));
    let mut running = place.start(&["run"]);
    running.wait_for("watching with 2 commands and 1 rule;");
    place.write("ossec.conf", conf(9));
    running.wait_for("tripline: judging by 1 rule now: rule set ");
    running.stop().exits(0);
}

#[test]
fn changed_rules_are_taken_over_and_those_with_errors_are_left_aside() {
    let place = place(&command("kernel", "1h", "uname -r"));
    let mut running = place.start(&["run"]);
    running.wait_for("watching with 2 commands and 1 rule;");
    let more = crate::RULES.replace("</group>", "<rule id=\"100002\" level=\"3\"><if_sid>530</if_sid></rule></group>");
    place.write("rules.xml", more.replace("level=\"3\"", "level=\"many\""));
    running.wait_for("tripline: the new rules have errors; judging goes on by rule set ");
    place.write("rules.xml", more);
    running.wait_for("tripline: judging by 2 rules now: rule set ");
    running.signal(Signal::HUP);
    running.wait_for("tripline: the rules have not changed\n");
    running.wait_for("tripline: the commands have not changed\n");
    running.stop().exits(0);
}
