//! `tripline run` at a high rate for a long time: killed again and again at first, then left alone and watched.
//!
//! What reached the log is held against what the commands wrote down themselves and against what the rules must have
//! said, and memory, descriptors, threads and disk must have stopped growing. `TRIPLINE_SOAK_SECONDS` says how long
//! (`make soak`: an hour), `SEED` repeats a run's times.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Place, Random, Running, all_of, json_lines, test_setting};
use serde_json::Value;

const SECONDS: u64 = 12;
/// So many looks are taken at the process while it is left alone.
const LOOKS: u32 = 100;

/// Commands of each kind, each once a second. The short form is quiet enough to run beside other tests.
fn commands_per_kind(seconds: u64) -> usize {
    if seconds > SECONDS { 20 } else { 3 }
}

/// What was written is dropped soon, so that disk and data files must stop growing.
const HEAD: &str = r#"
[agent]
name = "soak"

[collector]
stop_grace = "200ms"

[outputs]
keep = "1m"

[alerts]
keep = "1m"
"#;

/// What a command of each kind runs: a name of its own for each execution, written down before it is printed.
const KINDS: [(&str, &str, &str); 4] = [
    ("changes", "full_command", "echo $t"),
    ("lines", "command", "echo first; echo $t; echo last"),
    ("long", "full_command", "seq 1 4000; echo $t"),
    ("steady", "full_command", "echo the same"),
];

/// Commands as they should not be, beside them.
const ODD: &str = r#"
[[command]]
name = "hangs"
every = "2s"
timeout = "500ms"
command = "sleep 20"

[[command]]
name = "leaves a child that holds the output"
every = "5s"
command = "sleep 20 & echo started"

[[command]]
name = "is missing"
every = "1s"
command = "no-such-program-here"

[[command]]
name = "is no program"
every = "1s"
command = ["/no/such/program"]

[[command]]
name = "writes to standard error"
every = "1s"
command = "seq 1 3000 >&2; exit 3"
"#;

const CHANGED: &str = "100001";
const FAILED: &str = "100002";
const RULES: &str = r#"<group name="soak,">
  <rule id="100001" level="7">
    <if_sid>530</if_sid>
    <match>'changes|'lines|'long|'steady</match>
    <check_diff />
    <description>It changed.</description>
  </rule>
  <rule id="100002" level="3">
    <if_sid>990000</if_sid>
    <match>tripline: run: </match>
    <description>It failed.</description>
  </rule>
</group>
"#;

#[test]
fn a_long_run_under_kills_loses_nothing_doubles_nothing_and_stops_growing() {
    let seconds = test_setting("TRIPLINE_SOAK_SECONDS")
        .map_or(SECONDS, |seconds| seconds.parse().expect("TRIPLINE_SOAK_SECONDS is a number"));
    let mut random = Random::seeded();
    println!("{random}, TRIPLINE_SOAK_SECONDS={seconds}");
    let place = Place::new();
    place.write("tripline.toml", settings(commands_per_kind(seconds)));
    place.write("rules.xml", RULES);
    fs::create_dir(place.path("executed")).unwrap();
    let run = ["run", "--rules", "rules.xml", "--data-dir", "data"];

    // A third of the time it is killed again and again. Until somebody has made the directory there is nothing to follow.
    let mut running = place.start(&run);
    running.wait_for("watching with");
    let follow = |what: &str| place.start(&[what, "--follow", "--format", "json", "--data-dir", "data"]);
    let (outputs, alerts) = (follow("outputs"), follow("alerts"));
    let longest_ms = (seconds * 1000 / 12).clamp(500, 30_000);
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(seconds / 3) {
        std::thread::sleep(Duration::from_millis(50 + random.below(longest_ms)));
        let said = running.kill();
        assert!(!said.contains("ERROR") && !said.contains("tripline:"), "{said}");
        kills += 1;
        running = place.start(&run);
    }
    // Then it is left alone.
    running.wait_for("watching with");
    let looks = watch(&place, &running, Duration::from_secs(seconds - seconds / 3));
    let said = running.stop().exits(0).err;
    assert!(!said.contains("ERROR"), "{said}");
    place.tripline(&["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"]).exits(0);

    let runs = distinct_runs(&all_of(&place, "outputs", outputs));
    let alerts = json_lines(&all_of(&place, "alerts", alerts));
    every_execution_is_accounted_for(&place, &runs);
    every_alert_is_there_once(&runs, &alerts);
    println!("{kills} kills, {} runs, {} alerts", runs.len(), alerts.len());
    report(&looks);
    nothing_grows(&looks);
}

fn settings(per_kind: usize) -> String {
    let mut settings = HEAD.to_owned();
    for (kind, format, print) in KINDS {
        for number in 0..per_kind {
            let name = format!("{kind} {number}");
            let note = format!("read t < /proc/sys/kernel/random/uuid; echo $t >> 'executed/{name}'");
            settings += &format!(
                "[[command]]\nname = \"{name}\"\nformat = \"{format}\"\nevery = \"1s\"\ncommand = \"{note}; {print}\"\n"
            );
        }
    }
    settings + ODD
}

/// What the process holds at one moment.
#[derive(Clone, Debug)]
struct Look {
    after: Duration,
    memory: u64,
    /// Processor time so far, of the process without its children.
    busy: Duration,
    descriptors: u64,
    threads: u64,
    zombies: BTreeSet<u32>,
    disk: u64,
}

fn watch(place: &Place, running: &Running, time: Duration) -> Vec<Look> {
    let began = Instant::now();
    let mut looks = Vec::new();
    for number in 1..=LOOKS {
        std::thread::sleep((time * number / LOOKS).saturating_sub(began.elapsed()));
        looks.push(look(running.pid(), &place.path("data"), began.elapsed()));
    }
    looks
}

fn look(pid: u32, data: &Path, after: Duration) -> Look {
    let proc = Path::new("/proc").join(pid.to_string());
    let status = fs::read_to_string(proc.join("status")).expect("it still runs");
    let number = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let stat = fs::read_to_string(proc.join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // utime and stime, in ticks of which Linux gives programs a hundred a second.
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Look {
        after,
        memory: number("VmRSS:") * 1024,
        busy: Duration::from_millis(ticks * 10),
        descriptors: fs::read_dir(proc.join("fd")).unwrap().count() as u64,
        threads: number("Threads:"),
        zombies: zombies_of(pid),
        disk: size(data),
    }
}

fn zombies_of(parent: u32) -> BTreeSet<u32> {
    let zombie = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        (fields.next()? == "Z" && fields.next()?.parse() == Ok(parent)).then_some(pid)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(zombie).collect()
}

/// The size of all files below a directory, in bytes. Files that go meanwhile don't count.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

fn report(looks: &[Look]) {
    println!("  after   memory  descriptors  threads  zombies     disk  busy");
    for look in looks.iter().step_by(looks.len() / 10) {
        println!(
            "{:>6.0}s {:>5} MiB {:>12} {:>8} {:>8} {:>4} MiB {:>4.1} %",
            look.after.as_secs_f64(),
            look.memory >> 20,
            look.descriptors,
            look.threads,
            look.zombies.len(),
            look.disk >> 20,
            100.0 * look.busy.as_secs_f64() / look.after.as_secs_f64().max(1.0),
        );
    }
}

/// One number of a look.
type Measure = fn(&Look) -> u64;

/// The last quarter of the time is compared with the second one: the first is for caches to fill. What is compared are
/// medians, which a single busy moment does not move.
fn nothing_grows(looks: &[Look]) {
    let quarter = looks.len() / 4;
    let median = |part: &[Look], of: Measure| {
        let mut values: Vec<u64> = part.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let measures: [(&str, Measure, u64); 4] = [
        ("memory in bytes", |look| look.memory, 16 << 20),
        ("descriptors", |look| look.descriptors, 16),
        ("threads", |look| look.threads, 2),
        ("disk in bytes", |look| look.disk, 64 << 20),
    ];
    for (what, of, allowed) in measures {
        let (early, late) = (median(&looks[quarter..2 * quarter], of), median(&looks[3 * quarter..], of));
        assert!(late <= early + early / 10 + allowed, "{what}: {early}, later {late}: {looks:#?}");
    }
    // Whoever is a zombie at two looks in a row is not waited for.
    for pair in looks.windows(2) {
        let left: Vec<&u32> = pair[0].zombies.intersection(&pair[1].zombies).collect();
        assert!(left.is_empty(), "zombies: {left:?}");
    }
}

/// A run as the log holds it.
struct Run {
    id: String,
    sequence: u64,
    command: String,
    /// What it printed; `None` when it is no observation.
    printed: Option<String>,
}

/// The runs in the order of their numbers, from 1 on without a gap. What a collector was killed over may be there twice:
/// such copies must be equal.
fn distinct_runs(history: &str) -> Vec<Run> {
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    let mut runs: Vec<Run> = Vec::new();
    for mut record in json_lines(history) {
        record.as_object_mut().unwrap().remove("append_time");
        let id = record["run"].as_str().unwrap().to_owned();
        if let Some(first) = seen.get(&id) {
            assert_eq!(*first, record, "two runs of one number");
            continue;
        }
        let exited = record["ending"]["exited"].as_i64();
        let is_observation = exited.is_some_and(|code| code != 126 && code != 127);
        runs.push(Run {
            sequence: id.split_once('/').unwrap().1.parse().unwrap(),
            command: record["command"].as_str().unwrap().to_owned(),
            printed: is_observation.then(|| record["output"].as_str().unwrap().to_owned()),
            id: id.clone(),
        });
        seen.insert(id, record);
    }
    let numbers: Vec<u64> = runs.iter().map(|run| run.sequence).collect();
    assert_eq!(numbers, (1..=runs.len() as u64).collect::<Vec<_>>());
    runs
}

/// What the commands wrote down themselves: what was printed is in the log once, or one of the runs did not finish.
fn every_execution_is_accounted_for(place: &Place, runs: &[Run]) {
    for file in fs::read_dir(place.path("executed")).unwrap() {
        let command = file.unwrap().file_name().into_string().unwrap();
        let executed = place.read(&format!("executed/{command}"));
        let executed: BTreeSet<&str> = executed.lines().collect();
        let of_command: Vec<&Run> = runs.iter().filter(|run| run.command == command).collect();
        let printed: Vec<&str> = of_command.iter().filter_map(|run| run.printed.as_deref()).collect();
        let unfinished = of_command.len() - printed.len();
        let missing = executed.len().abs_diff(printed.len());
        assert!(
            missing <= unfinished,
            "{command}: {missing} executions are not in the log, {unfinished} are unfinished"
        );
        if command.starts_with("steady") {
            continue;
        }
        let tokens: Vec<&str> =
            printed.iter().map(|text| text.lines().find(|line| line.contains('-')).unwrap()).collect();
        assert!(tokens.iter().all(|token| executed.contains(token)), "{command} printed what it did not execute");
        assert_eq!(
            tokens.iter().collect::<BTreeSet<_>>().len(),
            tokens.len(),
            "{command}: an execution is there twice"
        );
    }
}

/// What the rules say, computed from the runs alone.
fn every_alert_is_there_once(runs: &[Run], alerts: &[Value]) {
    let mut expected = Vec::new();
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    for run in runs {
        match &run.printed {
            None => expected.push((FAILED, run.id.as_str())),
            Some(printed) => {
                let changed = before.insert(&run.command, printed).is_some_and(|before| before != printed);
                expected.extend(changed.then_some((CHANGED, run.id.as_str())));
            }
        }
    }
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    let given: Vec<(String, String)> =
        alerts.iter().map(|alert| (text(&alert["rule"]["id"]), text(&alert["run"]["id"]))).collect();
    let first_difference =
        given.iter().zip(&expected).position(|(given, expected)| (&*given.0, &*given.1) != *expected);
    assert_eq!(first_difference, None, "{:?} {:?}", given.get(first_difference.unwrap_or(0)), expected.first());
    assert_eq!(given.len(), expected.len(), "alerts and what the rules must have said");
    let ids: BTreeSet<&str> = alerts.iter().map(|alert| alert["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), alerts.len(), "an alert is there twice");
}
