//! Users beside the one that Tripline runs as. Who is not root can't be another user: then what one user can see of it is
//! tried.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::common::{Ran, Running};
use super::{Place, RULES, RUN, SETTINGS, ticks};

/// A group that every Debian has, and nobody is in.
const GROUP: &str = "adm";

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A number from the user database.
fn id(words: &[&str]) -> u32 {
    let printed = Command::new(words[0]).args(&words[1..]).output().unwrap().stdout;
    let text = String::from_utf8(printed).unwrap();
    text.trim().split(':').nth(if words[0] == "getent" { 2 } else { 0 }).unwrap().parse().unwrap()
}

/// Somebody on this machine: user and group, and no other groups.
#[derive(Clone, Copy)]
pub struct Person {
    pub uid: u32,
    pub gid: u32,
}

impl Person {
    fn nobody() -> Person {
        Person { uid: id(&["id", "-u", "nobody"]), gid: id(&["id", "-g", "nobody"]) }
    }

    fn member() -> Person {
        Person { gid: id(&["getent", "group", GROUP]), ..Person::nobody() }
    }

    pub fn command(self, place: &Place, arguments: &[&str]) -> Command {
        // The program that cargo built may lie where only its builder may go. Nothing of the environment comes along.
        let mut command = Command::new(place.path("tripline"));
        command.args(arguments).current_dir(place.root()).stdin(Stdio::null());
        command.env_clear().env("PATH", "/usr/bin:/bin").uid(self.uid).gid(self.gid);
        command
    }

    fn reads(self, file: &Path) -> Command {
        let mut command = Command::new("cat");
        command.arg(file).uid(self.uid).gid(self.gid);
        command
    }

    #[track_caller]
    fn runs(self, place: &Place, arguments: &[&str]) -> Ran {
        place.run(self.command(place, arguments), b"")
    }
}

/// A place that everybody may come to, with the program in it.
pub fn open_place(settings: &str) -> Place {
    let place = Place::new();
    fs::set_permissions(place.root(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_tripline"), place.path("tripline")).unwrap();
    for (name, content) in [("tripline.toml", format!("{settings}{SETTINGS}")), ("rules.xml", RULES.to_owned())] {
        place.write(name, content);
    }
    for name in ["tripline.toml", "rules.xml", "tripline"] {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    place
}

fn watching(place: &Place) -> Running {
    let mut running = place.start(&RUN);
    running.wait_for("watching with");
    running
}

#[test]
fn members_of_the_group_may_ask_nobody_else_may_and_the_files_stay_closed() {
    if !is_root() {
        let place = open_place("[socket]\ngroup = \"root\"\n");
        place.tripline(&RUN).exits(2).says(&["socket.group", "is not in group `root`", "SupplementaryGroups=root"]);
        return;
    }
    let (member, stranger) = (Person::member(), Person::nobody());
    let place = open_place(&format!("[socket]\ngroup = \"{GROUP}\"\n"));
    place.write("ticks.jsonl", ticks(5));
    fs::set_permissions(place.path("ticks.jsonl"), fs::Permissions::from_mode(0o644)).unwrap();
    place.tripline(&["outputs", "import", "ticks.jsonl", "--data-dir", "data"]).exits(0);
    stranger.runs(&place, &["alerts", "--data-dir", "data"]).exits(5).says(&["is not for this user", "[socket] group"]);

    let running = watching(&place);
    assert!(!running.messages().contains("can't come to the socket"), "{}", running.messages());
    for looks in [&["outputs", "--agent", "box"][..], &["alerts"], &["logtest", "--agent", "box", "--command", "tick"]]
    {
        let looks = [looks, &["--data-dir", "data"]].concat();
        member.runs(&place, &looks).exits(0);
        stranger.runs(&place, &looks).exits(5).says(&["is not for this user", "sudo", "[socket] group"]);
    }
    let forget = ["state", "forget", "--agent", "box", "--command", "tick", "--reason", "r", "--data-dir", "data"];
    for writes in [&["outputs", "import", "ticks.jsonl", "--data-dir", "data"][..], &forget] {
        member.runs(&place, writes).exits(5).says(&["may read here and not write", "group_may = \"write\""]);
    }
    member.runs(&place, &["alerts", "--group", "g", "--data-dir", "data"]).exits(2).says(&["belongs to root"]);
    let only_owner = "only the user that the log's owner runs as, and root";
    member.runs(&place, &["state", "verify", "--data-dir", "data"]).exits(5).says(&[only_owner]);
    member.runs(&place, &["state", "backup", "copy", "--data-dir", "data"]).exits(2).says(&["belongs to root"]);
    // Nothing but the socket: neither the log's files nor what waits in the spool.
    for closed in ["data/log/db/CURRENT", "data/spool/spool.json"] {
        assert!(place.path(closed).exists());
        let ran = place.run(member.reads(&place.path(closed)), b"");
        assert!(ran.exits(1).err.contains("Permission denied"));
    }

    // Whoever follows goes on when Tripline comes back.
    let mut follower = Running::start(member.command(&place, &["alerts", "--follow", "--data-dir", "data"]));
    follower.wait_until("an alert", |follower| !follower.printed().is_empty());
    running.stop().exits(0);
    let said = member.runs(&place, &["alerts", "--data-dir", "data"]).exits(5);
    said.says(&["Tripline does not run on", "start it"]);
    let seen = follower.printed().len();
    let running = watching(&place);
    follower.wait_until("an alert after the restart", |follower| follower.printed().len() > seen);
    follower.stop().exits(0);
    running.stop().exits(0);
}

#[test]
fn members_of_the_group_may_write_when_the_settings_say_so() {
    let group = if is_root() { GROUP.to_owned() } else { own_group() };
    let place = open_place(&format!("[socket]\ngroup = \"{group}\"\ngroup_may = \"write\"\n"));
    place.write("ticks.jsonl", ticks(5));
    fs::set_permissions(place.path("ticks.jsonl"), fs::Permissions::from_mode(0o644)).unwrap();
    let running = watching(&place);
    let as_member = |arguments: &[&str]| match is_root() {
        true => Person::member().runs(&place, arguments),
        false => place.tripline(arguments),
    };
    as_member(&["outputs", "import", "ticks.jsonl", "--data-dir", "data"]).exits(0);
    let forget = ["state", "forget", "--agent", "box", "--command", "tick", "--reason", "r", "--data-dir", "data"];
    as_member(&forget).exits(0).says(&["the order is in the log"]);
    running.stop().exits(0);
}

#[test]
fn a_member_who_follows_waits_while_nothing_runs_and_says_so_once() {
    if !is_root() {
        return; // Who is not root reads the files of his own log.
    }
    let place = open_place(&format!("[socket]\ngroup = \"{GROUP}\"\n"));
    let running = watching(&place);
    let follow = ["alerts", "--data-dir", "data", "--follow", "--format", "json"];
    let mut follower = Running::start(Person::member().command(&place, &follow));
    follower.wait_until("an alert", |follower| !follower.printed().is_empty());
    running.stop().exits(0);
    follower.wait_for("waiting for the log: ");
    // Several tries go by.
    std::thread::sleep(Duration::from_secs(2));
    let running = watching(&place);
    let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
    let alerts = || lines(&place.tripline(&["alerts", "--data-dir", "data", "--format", "json"]).out);
    let before = alerts();
    follower.wait_for("the log is there again");
    follower.wait_until("an alert after that", |follower| lines(&follower.printed()) > before);
    let ran = follower.stop().exits(0);
    assert_eq!(ran.err.matches("waiting for the log: ").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("Tripline does not run on"), "{}", ran.err);
    running.stop().exits(0);
}

#[test]
fn what_is_in_the_way_of_guests_is_said_and_left_as_it_is() {
    let group = if is_root() { GROUP.to_owned() } else { own_group() };
    let place = open_place(&format!("[socket]\ngroup = \"{group}\"\n"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir(place.path("data")).unwrap();
    set(&place.path("data"), 0o750);
    set(place.root(), 0o700);
    let running = watching(&place);
    let closed = format!("`{}` is closed to them", fs::canonicalize(place.root()).unwrap().display());
    assert!(running.messages().contains(&closed), "{}", running.messages());
    running.stop().exits(0);
    assert_eq!((mode(place.root()), mode(&place.path("data"))), (0o700, 0o750));
}

#[test]
fn the_data_directory_is_closed_again_when_no_group_is_let_in_any_more() {
    let group = if is_root() { GROUP.to_owned() } else { own_group() };
    let place = open_place("");
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    fs::create_dir(place.path("data")).unwrap();
    fs::set_permissions(place.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
    let without = place.read("tripline.toml");
    for (settings, expected) in [(format!("[socket]\ngroup = \"{group}\"\n{without}"), 0o710), (without.clone(), 0o700)]
    {
        place.write("tripline.toml", settings);
        watching(&place).stop().exits(0);
        assert_eq!((mode("data"), mode("data/log")), (expected, expected));
    }
}

fn own_group() -> String {
    let printed = Command::new("id").arg("-gn").output().unwrap().stdout;
    String::from_utf8(printed).unwrap().trim().to_owned()
}

#[test]
fn a_group_that_is_not_there_is_named_and_nothing_is_served() {
    let place = open_place("[socket]\ngroup = \"no-such-group\"\n");
    place.tripline(&["check"]).exits(0).says(&["on this machine", "no group `no-such-group`"]);
    place.tripline(&RUN).exits(2).says(&["socket.group", "this machine has no group `no-such-group`"]);
}

/// All files below a directory, it too.
fn below(path: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(below(&entry.unwrap().path()));
        }
    }
    found
}

/// As by `sudo -u tripline` in root's home directory, where that user may not look for settings.
#[test]
fn a_working_directory_that_is_closed_to_this_user_is_passed_over_when_settings_are_looked_for() {
    let place = open_place("");
    let home = place.path("home");
    fs::create_dir(&home).unwrap();
    place.write("home/tripline.toml", "no settings");
    fs::set_permissions(place.path("home/tripline.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let check = |mode: u32| {
        let close = format!("chmod {mode:o} . && exec {} check", place.path("tripline").display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &close]).current_dir(&home).env_clear().env("PATH", "/usr/bin:/bin");
        if is_root() {
            let nobody = Person::nobody();
            chown(&home, Some(nobody.uid), Some(nobody.gid)).unwrap();
            shell.uid(nobody.uid).gid(nobody.gid);
        }
        let ran = place.run(shell, b"");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        String::from_utf8_lossy(&ran.out).into_owned() + &ran.err
    };
    let said = check(0o000);
    assert!(said.contains("checked ") && !said.contains("`tripline.toml`"), "{said}");
    // One that is there and can't be used is not.
    let said = check(0o700);
    assert!(said.contains("tripline.toml"), "{said}");
}

/// Root looks at, copies and checks what another user's service does, and leaves nothing there that this user could not use.
#[test]
fn root_beside_a_service_of_another_user_takes_nothing_from_it() {
    if !is_root() {
        return; // Nobody to be root: who is not has the tests of one user's backups.
    }
    let nobody = Person::nobody();
    let place = open_place("");
    fs::create_dir(place.path("home")).unwrap();
    chown(place.path("home"), Some(nobody.uid), Some(nobody.gid)).unwrap();
    place.write("ticks.jsonl", ticks(5));
    let data = "home/data";
    let run = ["run", "--rules", "rules.xml", "--data-dir", data];
    let service = || {
        let mut running = Running::start(nobody.command(&place, &run));
        running.wait_for("watching with");
        running
    };
    let mut running = service();
    running.wait_until("a run in the log", |_| !place.tripline(&["outputs", "--data-dir", data]).text().is_empty());
    place.tripline(&["state", "backup", "copy", "--data-dir", data]).exits(0).says(&["which goes on"]);
    place.tripline(&["state", "verify", "--data-dir", data]).exits(0).says(&["all is well"]);
    place.tripline(&["outputs", "import", "ticks.jsonl", "--data-dir", data]).exits(0);
    place
        .tripline(&["alerts", "--group", "g", "--data-dir", data])
        .exits(2)
        .says(&["belongs to nobody", "sudo -u nobody"]);
    running.stop().exits(0);

    // Without the service root would own the log, and what it writes.
    place.tripline(&["alerts", "--data-dir", data]).exits(0);
    place.tripline(&["state", "verify", "--data-dir", data]).exits(0);
    for writes in [&["state", "backup", "another"][..], &["outputs", "import", "ticks.jsonl"], &["process"]] {
        let writes = [writes, &["--data-dir", data]].concat();
        place.tripline(&writes).exits(2).says(&["belongs to nobody", "sudo -u nobody"]);
    }
    assert!(!place.path("another").exists());
    for path in below(&place.path(data)) {
        assert_eq!(fs::metadata(&path).unwrap().uid(), nobody.uid, "{}", path.display());
    }
    service().stop().exits(0);
    // Nor does it make a log where the service has made none yet, as after its installation.
    fs::create_dir(place.path("home/new")).unwrap();
    chown(place.path("home/new"), Some(nobody.uid), Some(nobody.gid)).unwrap();
    for writes in [&["outputs", "import", "ticks.jsonl"][..], &["process"], &RUN[..3]] {
        let writes = [writes, &["--data-dir", "home/new"]].concat();
        place.tripline(&writes).exits(2).says(&["belongs to nobody", "sudo -u nobody"]);
    }
    assert_eq!(fs::read_dir(place.path("home/new")).unwrap().count(), 0);

    // As docs/operating.md has it: in place of the original, given to the service's user.
    place.tripline(&["state", "verify", "--data-dir", "copy"]).exits(0).says(&["all is well"]);
    fs::rename(place.path(data), place.path("home/old")).unwrap();
    let copied = Command::new("cp").args(["-a", "copy", data]).current_dir(place.root()).status().unwrap();
    assert!(copied.success());
    for path in below(&place.path(data)) {
        chown(path, Some(nobody.uid), Some(nobody.gid)).unwrap();
    }
    service().stop().exits(0);
    place.tripline(&["state", "verify", "--data-dir", data]).exits(0).says(&["all is well"]);
}
