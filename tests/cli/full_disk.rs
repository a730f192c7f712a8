//! No room to write, or no right to.
//!
//! A limit on the size of files stands in for a full disk wherever the tests run; where they may mount, a small file system
//! is really filled.

use std::collections::BTreeSet;
use std::process::Command;

use super::common::{Place, Ran, json_lines, without_source};
use super::{RULES, RUN};

/// `noise` fills the disk, `tick` shows whether something gets lost.
const SETTINGS: &str = r#"
[agent]
name = "box"

[collector]
splay = 0

[[command]]
name = "tick"
every = "1s"
command = "date +%s%N"

[[command]]
name = "noise"
format = "full_command"
every = "1s"
command = "head -c 400000 /dev/urandom"
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("tripline.toml", SETTINGS);
    place.write("rules.xml", RULES);
    place
}

/// The program, allowed files of about a mebibyte. A write beyond is an error rather than a signal.
fn limited(place: &Place, arguments: &[&str]) -> Command {
    within(&["sh", "-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh"], place, arguments)
}

/// The program and its arguments, handed to another command.
fn within(outer: &[&str], place: &Place, arguments: &[&str]) -> Command {
    let program = place.command(arguments);
    let mut command = Command::new(outer[0]);
    command.args(&outer[1..]).arg(program.get_program()).args(program.get_args()).current_dir(place.root());
    for (name, _) in program.get_envs() {
        command.env_remove(name);
    }
    command
}

/// The runs in the log are numbered without a gap, and its alerts are those of a replay.
#[track_caller]
pub fn nothing_is_lost(place: &Place, history: &str, alerts: &str) {
    let numbers: BTreeSet<u64> = json_lines(history)
        .iter()
        .map(|record| record["run"].as_str().unwrap().split_once('/').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect());
    place.write("history.jsonl", history);
    let replayed = place.tripline(&["replay", "--rules", "rules.xml", "--from", "file:history.jsonl"]).text();
    assert_eq!(without_source(&replayed), without_source(alerts));
    assert!(!alerts.is_empty());
}

#[test]
fn when_there_is_room_again_the_next_start_goes_on_without_loss() {
    let place = place();
    for _ in 0..2 {
        let ran = place.run(limited(&place, &[&RUN[..], &["--for", "60s"]].concat()), b"").exits(5);
        ran.says(&["stopped", "File too large"]);
    }
    place.tripline(&[&RUN[..], &["--for", "2s"]].concat()).exits(0);
    let history = place.tripline(&["outputs", "--data-dir", "data", "--format", "json"]).text();
    let alerts = place.tripline(&["alerts", "--data-dir", "data", "--format", "json"]).text();
    nothing_is_lost(&place, &history, &alerts);
}

#[test]
fn an_import_that_does_not_fit_says_so_and_can_be_repeated() {
    let place = place();
    let line = |n: u32| {
        let (hour, minute, output) = (n / 60, n % 60, format!("{n} ").repeat(400));
        format!(
            r#"{{"agent":"box","command":"tick","time":"2026-01-01T{hour:02}:{minute:02}:00Z","output":"{output}"}}"#
        ) + "\n"
    };
    let history: String = (0..1_200).map(line).collect();
    place.write("ticks.jsonl", &history);
    let import = ["outputs", "import", "ticks.jsonl", "--data-dir", "data"];
    let ran = place.run(limited(&place, &import), b"").exits(5);
    ran.says(&["`data/log` is full", "free some space", "nothing acknowledged is lost"]);
    place.tripline(&import).exits(0);
    place.tripline(&["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"]).exits(0);
    let alerts = place.tripline(&["alerts", "--data-dir", "data", "--format", "json"]).text();
    assert_eq!(alerts.lines().count(), 1_199);
    let exported = place.tripline(&["outputs", "--data-dir", "data", "--format", "json"]).text();
    nothing_is_lost(&place, &exported, &alerts);
}

/// A file system of 12 MiB that nobody else sees. The log takes about 9 of them in advance, the filler leaves one.
const FILLED: &str = r#"
mount -t tmpfs -o size=12m tmpfs disk
head -c 2000000 /dev/zero > disk/filler
"$1" run -v --rules rules.xml --data-dir disk/data 2> said &
run=$!
until grep -q 'collection pauses' said; do kill -0 $run; sleep 0.1; done
rm disk/filler
until grep -q 'collection goes on' said; do kill -0 $run; sleep 0.1; done
kill -TERM $run
wait $run
"$1" outputs --data-dir disk/data --format json > history
"$1" alerts --data-dir disk/data --format json > alerts
"#;

/// Runs a script that may mount file systems, which nobody else sees.
pub fn mounted(script: &str, place: &Place, arguments: &[&str]) -> Ran {
    place.run(within(&["unshare", "--mount", "sh", "-e", "-c", script, "sh"], place, arguments), b"")
}

/// Whether a test may mount file systems that nobody else sees. Where not, the limit on file sizes of the others must do.
fn may_mount() -> bool {
    let may = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !may {
        eprintln!("this user may not mount");
    }
    may
}

#[test]
fn a_full_disk_pauses_the_collection_until_there_is_room() {
    if !may_mount() {
        return;
    }
    let place = place();
    std::fs::create_dir(place.path("disk")).unwrap();
    mounted(FILLED, &place, &[]).exits(0);
    let said = place.read("said");
    assert!(said.contains("No space left on device"), "{said}");
    nothing_is_lost(&place, &place.read("history"), &place.read("alerts"));
}

/// The log alone on a file system of `$2`; the spool has room. The program is left alone until it ends, and started again when
/// there is room. Its input may come from another process as well.
const FULL_LOG: &str = r#"
mkdir -p data/log
mount -t tmpfs -o size=$2 tmpfs data/log
"$1" run --rules rules.xml --data-dir data --for 100s 2> said & run=$!
if test -e bulk.jsonl; then
    until grep -q 'watching with' said; do kill -0 $run; sleep 0.1; done
    "$1" outputs import bulk.jsonl --data-dir data || true
fi
code=0; wait $run || code=$?
test $code = 5
grep -h 'rror: ' data/log/db/LOG* > rocksdb || true
mount -o remount,size=200m data/log
test ! -e bulk.jsonl || "$1" outputs import bulk.jsonl --data-dir data
"$1" run --rules rules.xml --data-dir data --for 2s
"$1" process --until-caught-up --rules rules.xml --data-dir data
"$1" state verify --data-dir data
"$1" outputs --data-dir data --format json > history
"$1" alerts --data-dir data --format json > alerts
"#;

/// Runs the program in a log of this size until it is full, then with room. Gives what RocksDB wrote about it.
fn filled_and_emptied(place: &Place, size: &str) -> String {
    let ran = mounted(FULL_LOG, place, &[size]);
    let said = if place.path("said").exists() { place.read("said") } else { String::new() };
    assert_eq!(ran.status.code(), Some(0), "{}\n{said}", ran.err);
    assert!(said.contains("is full") && said.contains("nothing acknowledged is lost"), "{said}");
    nothing_is_lost(place, &place.read("history"), &place.read("alerts"));
    place.read("rocksdb")
}

/// `tick`, and so many commands that print what this prints, every second.
fn noisy_place(commands: u32, command: &str) -> Place {
    let place = place();
    let (ticks, _) = SETTINGS.split_once("[[command]]\nname = \"noise\"").unwrap();
    let mut settings = ticks.to_owned();
    for number in 0..commands {
        settings += &format!(
            "[[command]]\nname = \"noise {number}\"\nformat = \"full_command\"\nevery = \"1s\"\ncommand = \"{command}\"\n"
        );
    }
    place.write("tripline.toml", settings);
    place
}

#[test]
fn a_disk_that_is_full_when_something_is_appended_ends_the_run_and_loses_nothing() {
    if !may_mount() {
        return;
    }
    // Outputs and alerts fill the write-ahead log before either of them fills a data file.
    let place = noisy_place(6, "head -c 45000 /dev/urandom | base64");
    place.write("rules.xml", RULES.replace("'tick'", "'"));
    let rocksdb = filled_and_emptied(&place, "6m");
    assert!(!rocksdb.contains("background flush error"), "{rocksdb}");
    let said = place.read("said");
    assert!(said.contains(".log: No space left on device"), "{said}");
}

#[test]
fn a_disk_that_is_full_when_a_data_file_is_written_ends_the_run_and_loses_nothing() {
    if !may_mount() {
        return;
    }
    let place = noisy_place(4, "head -c 900000 /dev/urandom");
    filled_and_emptied(&place, "14m");
    // What RocksDB wrote about it may be cut off: its messages lie on the full disk.
    let said = place.read("said");
    assert!(said.contains(".blob: No space left on device"), "{said}");
}

/// RocksDB goes on trying to write the data file then, and would let writers wait for ever.
#[test]
fn a_disk_that_is_full_while_others_append_ends_the_run_rather_than_hang_it() {
    if !may_mount() {
        return;
    }
    let place = place();
    let (ticks, _) = SETTINGS.split_once("[[command]]\nname = \"noise\"").unwrap();
    place.write("tripline.toml", ticks);
    // What does not compress, in records too small for files of their own.
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        char::from(b'a' + (state >> 33) as u8 % 26)
    };
    let line = |n: u32| {
        let output: String = (0..3_900).map(|_| letter()).collect();
        let (hour, minute, second) = (n / 3600, n / 60 % 60, n % 60);
        format!(
            r#"{{"agent":"box","command":"bulk","time":"2026-01-01T{hour:02}:{minute:02}:{second:02}Z","output":"{output}"}}"#
        ) + "\n"
    };
    place.write("bulk.jsonl", (0..8_000).map(line).collect::<String>());
    // Less than what comes takes in data files, however fast they are written.
    filled_and_emptied(&place, "16m");
}

/// A file system that can be read only, as after an error of the disk below it.
const READ_ONLY: &str = r#"
mount -t tmpfs -o size=40m tmpfs disk
"$1" run --rules rules.xml --data-dir disk/data --for 3s
mount -o remount,ro disk
"$1" run --rules rules.xml --data-dir disk/data --for 3s 2> said && exit 9
"$1" outputs --data-dir disk/data --format json > history
"$1" alerts --data-dir disk/data --format json > alerts
"$1" state --data-dir disk/data > state
"$1" state verify --data-dir disk/data
"#;

#[test]
fn what_can_only_be_read_can_be_read_and_a_start_says_that_it_can_not_write() {
    if !may_mount() {
        return;
    }
    let place = place();
    std::fs::create_dir(place.path("disk")).unwrap();
    let ran = mounted(READ_ONLY, &place, &[]);
    ran.exits(0).says(&["all is well"]);
    let said = place.read("said");
    let parts = ["`disk/data/log` can't be written", "can only be read", "`ReadWritePaths=`", "Read-only file system"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    assert!(place.read("state").contains("(box) tick"));
    nothing_is_lost(&place, &place.read("history"), &place.read("alerts"));
}

/// A disk of its own for `$2`, whose file system becomes read-only under the program, as after an error of the disk. It is left
/// alone until it ends, what can be read is read, and it is started again when the file system was mended.
const BECOMES_READ_ONLY: &str = r#"
truncate -s 96m image
mkfs.ext4 -q -F image
mkdir -p "$2"
mount -o loop,errors=remount-ro image "$2"
trap 'umount "$2"' EXIT
device=$(awk -v on="$PWD/$2" '$2 == on { print substr($1, 6) }' /proc/mounts)
case $device in loop*) ;; *) exit 9 ;; esac
"$1" run --rules rules.xml --data-dir data --for 100s 2> said & run=$!
until test "$("$1" alerts --data-dir data --format json 2> /dev/null | wc -l)" -gt 2; do kill -0 $run; sleep 0.2; done
echo "as if the disk had failed" > /sys/fs/ext4/$device/trigger_fs_error
code=0; wait $run || code=$?
test $code = 5
"$1" outputs --data-dir data --format json > readable
"$1" alerts --data-dir data --format json > /dev/null
"$1" state --data-dir data > /dev/null
"$1" state verify --data-dir data > /dev/null
code=0; "$1" run --rules rules.xml --data-dir data --for 3s 2> said-again || code=$?
test $code = 5
umount "$2"
e2fsck -fp image > checked || test $? = 1
mount -o loop image "$2"
"$1" run --rules rules.xml --data-dir data --for 2s
"$1" process --until-caught-up --rules rules.xml --data-dir data
"$1" state verify --data-dir data
"$1" outputs --data-dir data --format json > history
"$1" alerts --data-dir data --format json > alerts
"#;

/// Whether a test may mount an ext4 in a file, and whether the kernel pretends an error of it when asked to.
pub fn may_fail_a_disk() -> bool {
    const TRY: &str =
        "truncate -s 8m $0 && mkfs.ext4 -q -F $0 && mkdir $0.on && mount -o loop $0 $0.on && umount $0.on";
    let place = Place::new();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", TRY]).arg(place.path("try"));
    let may = std::path::Path::new("/sys/fs/ext4").exists() && command.output().is_ok_and(|ran| ran.status.success());
    if !may {
        eprintln!("this user may not mount an ext4 in a file");
    }
    may
}

/// All of the data on the disk, the log alone, the spool alone.
#[test]
fn a_file_system_that_becomes_read_only_ends_the_run_and_loses_nothing() {
    if !may_fail_a_disk() {
        return;
    }
    for on in ["data", "data/log", "data/spool"] {
        let place = place();
        let (ticks, _) = SETTINGS.split_once("[[command]]\nname = \"noise\"").unwrap();
        place.write("tripline.toml", ticks);
        let ran = mounted(BECOMES_READ_ONLY, &place, &[on]);
        let said = |name: &str| std::fs::read_to_string(place.path(name)).unwrap_or_default();
        assert_eq!(ran.status.code(), Some(0), "{on}: {}\n{}\n{}", ran.err, said("said"), said("said-again"));
        for said in [said("said"), said("said-again")] {
            let parts = ["can only be read; where its disk has failed", "start again", "Read-only file system"];
            assert!(parts.iter().all(|part| said.contains(part)), "{on}: {said}");
        }
        assert!(place.read("history").starts_with(&place.read("readable")), "{on}: what could be read stayed");
        nothing_is_lost(&place, &place.read("history"), &place.read("alerts"));
    }
}
