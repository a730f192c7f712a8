//! What packages install: pages, completions, the example settings, the service.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use super::common::Running;
use super::{Place, RULES};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The verbs that `tripline --help` lists.
fn verbs(place: &Place) -> BTreeSet<String> {
    let help = place.tripline(&["--help"]).text();
    let listed = help.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| !line.is_empty());
    let verbs: BTreeSet<String> = listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|verb| verb != "help")
        .collect();
    assert!(verbs.contains("run") && verbs.contains("state"), "{help}");
    verbs
}

#[test]
fn every_verb_has_a_manual_page() {
    let place = Place::new();
    place.tripline(&["man", "pages"]).exits(0);
    let main = place.read("pages/tripline.1");
    for verb in verbs(&place) {
        let page = place.read(&format!("pages/tripline-{verb}.1"));
        assert!(
            [".SH NAME\n", ".SH SYNOPSIS\n", ".SH OPTIONS\n", ".SH EXIT STATUS\n"]
                .iter()
                .all(|part| page.contains(part)),
            "{page}"
        );
        assert!(main.contains(&format!("tripline\\-{verb}(1)")), "{main}");
    }
    for section in ["EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"] {
        assert!(main.contains(&format!("\n.SH {section}\n")), "{main}");
    }
    let inner = place.read("pages/tripline-state-forget.1");
    assert!(inner.contains("\\fB5\\fR\nfailed while running\n"), "{inner}");
    assert!(inner.contains("\\fBtripline\\fR(1), \\fBtripline\\-state\\fR(1)\n"), "{inner}");
    assert!(place.path("pages/tripline-outputs-import.1").exists());
    assert!(!place.path("pages/tripline-man.1").exists(), "what only packagers use needs no page");
}

#[test]
fn completions_know_every_verb() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.tripline(&["completions", shell]).text();
        for verb in verbs(&place) {
            assert!(script.contains(&verb), "{shell}: {verb}");
        }
        if shell == "bash" {
            let path = place.write("tripline.bash", script);
            assert!(Command::new("bash").arg("-n").arg(path).status().unwrap().success());
        }
    }
}

/// The files as the package lays them out work without a change, apart from the place of the data.
#[test]
fn the_packaged_settings_watch_a_machine_as_they_are() {
    let place = Place::new();
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let package = &manifest["package"]["metadata"]["deb"];
    let mut configuration = BTreeSet::new();
    for asset in package["assets"].as_array().unwrap() {
        let [from, to] = [0, 1].map(|index| asset[index].as_str().unwrap());
        if to.starts_with("etc/") {
            place.write(to, std::fs::read(root().join(from)).unwrap());
            configuration.insert(format!("/{to}"));
        }
    }
    let kept: BTreeSet<String> =
        package["conf-files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().to_owned()).collect();
    assert_eq!(configuration, kept, "what an administrator changed stays on upgrades");

    let settings = ["-C", "etc/tripline/tripline.toml"];
    place.tripline(&[&settings[..], &["check"]].concat()).exits(0);
    place.tripline(&[&settings[..], &["collect", "--once", "uptime"]].concat()).exits(0);
    place.tripline(&["test", "etc/tripline/rules"]).exits(0);
    let ran = place.tripline(&[&settings[..], &["run", "--for", "1s", "--data-dir", "data"]].concat()).exits(0);
    ran.says(&["watching with 5 commands"]);
    assert!(place.read("etc/tripline/tripline.toml").contains("data_dir = \"/var/lib/tripline\"\n"));
}

#[test]
fn the_service_starts_what_the_package_installs() {
    let unit = std::fs::read_to_string(root().join("packaging/systemd/tripline.service")).unwrap();
    for line in [
        "Type=notify",
        "ExecStart=/usr/bin/tripline --config /etc/tripline/tripline.toml run",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "StateDirectory=tripline",
        "RestartPreventExitStatus=2",
        "OOMPolicy=continue",
        "KillMode=mixed",
    ] {
        assert!(unit.lines().any(|there| there == line), "{line}");
    }
}

#[test]
fn a_service_manager_is_told_of_a_start_that_went_well_and_commands_are_not() {
    let place = Place::new();
    let manager = UnixDatagram::bind(place.path("manager")).unwrap();
    manager.set_nonblocking(true).unwrap();
    let heard = || {
        let mut message = [0; 100];
        manager.recv(&mut message).ok().map(|length| String::from_utf8_lossy(&message[..length]).into_owned())
    };
    let start = || {
        let mut run = place.command(&["run", "--commands", "commands.toml", "--rules", "rules", "--data-dir", "data"]);
        run.env("NOTIFY_SOCKET", place.path("manager")).env("TRIPLINE_COLLECTOR__SPLAY", "0");
        Running::start(run)
    };
    place.write("commands.toml", "[[command]]\nname = \"variables\"\ncommand = \"env\"\nevery = \"1s\"\n");
    place.write("rules/local_rules.xml", "<group name=\"local,\"><rule id=");
    start().ended().exits(2).says(&["nothing was started"]);
    assert_eq!(heard(), None);
    place.write("rules/local_rules.xml", RULES);
    let mut running = start();
    running.wait_for("watching with");
    let printed = ["outputs", "--command", "variables", "--data-dir", "data"];
    running.wait_until("an output", |_| place.tripline(&printed).text().contains("PATH="));
    assert_eq!(heard().as_deref(), Some("READY=1"));
    running.stop().exits(0);
    let printed = place.tripline(&printed).text();
    assert!(!printed.contains("NOTIFY_SOCKET"), "{printed}");
    assert_eq!(heard(), None, "once");
    // A unit may be changed to have a part of its own.
    let mut process = place.command(&["process", "--rules", "rules", "--data-dir", "data"]);
    process.env("NOTIFY_SOCKET", place.path("manager"));
    let mut running = Running::start(process);
    let message = std::cell::OnceCell::new();
    running.wait_until("a message", |_| heard().is_some_and(|heard| message.set(heard).is_ok()));
    assert_eq!(message.get().unwrap(), "READY=1");
    running.stop().exits(0);
}

/// What `init` says to do next can be done, as it stands.
#[test]
fn what_init_says_to_do_next_works() {
    let place = Place::new();
    let said = place.tripline(&["init"]).text();
    let steps: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  tripline ")).collect();
    assert_eq!(steps.len(), 5, "{said}");
    for step in steps {
        let words: Vec<&str> = step.split(" #").next().unwrap().split_whitespace().collect();
        match words[0] {
            "run" => place.tripline(&[&words[..], &["--for", "1s"]].concat()).exits(0),
            "alerts" => place.tripline(&["alerts"]).exits(0),
            _ => place.tripline(&words).exits(0),
        };
    }
    place.tripline(&["init"]).exits(2).says(&["already has tripline.toml", "nothing was written"]);
    let elsewhere = place.tripline(&["init", "box"]).text();
    assert!(elsewhere.contains("  tripline -C box/tripline.toml check"), "{elsewhere}");
    place.tripline(&["-C", "box/tripline.toml", "test", "box/rules"]).exits(0);
}

#[test]
fn init_writes_the_time_zone_of_this_machine_when_it_has_a_name() {
    let place = Place::new();
    let init = |dir: &str, zone: &str| {
        let mut init = place.command(&["init", dir]);
        init.env("TZ", zone);
        place.run(init, b"").exits(0);
        place.read(&format!("{dir}/tripline.toml"))
    };
    let settings = init("named", "Europe/Vienna");
    assert!(settings.contains("\ntime_zone = \"Europe/Vienna\"\n"), "{settings}");
    place.tripline(&["-C", "named/tripline.toml", "check"]).exits(0);
    // A rule of thumb such as this has no name that anybody could look up.
    let settings = init("unnamed", "XYZ-3");
    assert!(settings.contains("\n# time_zone = \"Europe/Berlin\"\n"), "{settings}");
}
