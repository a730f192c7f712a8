//! One history, judged in every way there is: the alerts are the same, byte for byte.

use super::Place;
use crate::common::{Random, json_lines, test_setting, without_source};

/// The recordings are older than this program, so that they come late is no news.
const SETTINGS: &str = "[agent]\nname = \"box\"\n[collector]\nsplay = 0\n[outputs]\nlate_after = \"36525d\"\n\
     [[command]]\nname = \"tick\"\nevery = \"1s\"\ncommand = \"date +%s%N\"\n";

/// Baselines, timers and counts, all of one agent and command; and what decoded lines give.
const RULES: &str = r#"<group name="local,">
  <rule id="100001" level="5">
    <if_sid>530</if_sid>
    <check_diff />
    <description>It changed.</description>
  </rule>
  <rule id="100002" level="7" ignore="120">
    <if_sid>100001</if_sid>
    <match on="added">9</match>
    <description>A nine came.</description>
  </rule>
  <rule id="100003" level="10" frequency="2" timeframe="600">
    <if_matched_sid>100001</if_matched_sid>
    <same_location />
    <description>It changes all the time.</description>
  </rule>
  <rule id="100004" level="3">
    <if_sid>990000</if_sid>
    <description>About a run.</description>
  </rule>
  <rule id="100005" level="4">
    <category>syslog</category>
    <match>error</match>
    <description>An error.</description>
  </rule>
</group>
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("tripline.toml", SETTINGS);
    place.write("rules.xml", RULES);
    place
}

/// Runs of five commands on seven agents, some of them failed, with orders to forget among them; with lines of a log file,
/// if these are wanted.
fn history(random: &mut Random, events: u32, with_lines: bool) -> String {
    let mut text = String::new();
    for n in 0..events {
        let (agent, command) = (random.below(7), random.below(5));
        let who = format!(r#""agent":"agent-{agent}","command":"command {command}""#);
        let time = format!("2026-01-{:02}T{:02}:{:02}:{:02}Z", 1 + n / 86_400, n / 3600 % 24, n / 60 % 60, n % 60);
        let (a, b) = (random.below(4), random.below(20));
        text += &match random.below(40) {
            0 => format!(r#"{{{who},"time":"{time}","output":"","ending":{{"timed_out":5000}}}}"#),
            1 => format!(
                r#"{{"control":{{{who},"order":{{"forget":{{}}}},"author":"a","reason":"r","time":"{time}"}}}}"#
            ),
            2..6 if with_lines => {
                format!(r#"{{"agent":"agent-{agent}","location":"/var/log/a","time":"{time}","log":"error {b}"}}"#)
            }
            6..20 => format!(r#"{{{who},"time":"{time}","format":"full_command","output":"{a}\n{b}\n"}}"#),
            _ => format!(r#"{{{who},"time":"{time}","output":"{a}\n{b}\n"}}"#),
        };
        text.push('\n');
    }
    text
}

fn replay(place: &Place, arguments: &[&str]) -> String {
    place.tripline(&[&["replay", "--rules", "rules.xml"], arguments].concat()).text()
}

fn alerts(place: &Place, data: &str) -> String {
    place.tripline(&["alerts", "--format", "json", "--data-dir", data]).text()
}

/// How many events a history has here; TRIPLINE_SEEDS asks for more.
fn events() -> u32 {
    test_setting("TRIPLINE_SEEDS").map_or(6_000, |seeds| 6_000 + 60 * seeds.parse::<u32>().expect("a number"))
}

#[test]
fn any_number_of_jobs_gives_the_same_bytes() {
    let mut random = Random::seeded();
    eprintln!("{random}");
    let place = place();
    place.write("history.jsonl", history(&mut random, events(), true));
    let one = replay(&place, &["--from", "file:history.jsonl", "--jobs", "1"]);
    let fired = |rule: &str| json_lines(&one).iter().filter(|alert| alert["rule"]["id"] == rule).count();
    for rule in ["100001", "100002", "100003", "100004", "100005"] {
        assert!(fired(rule) > 10, "rule {rule} fired {} times", fired(rule));
    }
    for jobs in ["2", "7"] {
        let many = replay(&place, &["--from", "file:history.jsonl", "--jobs", jobs]);
        assert!(many == one, "{jobs} jobs gave other alerts than one");
    }
    // Compressed it is the same history.
    let text = place.read("history.jsonl");
    place.write("history.jsonl.zst", zstd::encode_all(text.as_bytes(), 3).unwrap());
    assert!(replay(&place, &["--from", "file:history.jsonl.zst", "--jobs", "3"]) == one);
}

#[test]
fn a_replay_gives_what_process_and_run_gave_and_wiped_state_gives_it_again() {
    let mut random = Random::seeded();
    eprintln!("{random}");
    let place = place();
    place.write("history.jsonl", history(&mut random, events(), false));
    let judge: [(&str, &[&str]); 3] = [
        ("a", &["process", "--until-caught-up"]),
        // The state lies in the data directory, so this starts from nothing.
        ("b", &["process", "--until-caught-up"]),
        ("c", &["run", "--for", "2s", "--commands", "none.toml"]),
    ];
    place.write("none.toml", "");
    let replayed = without_source(&replay(&place, &["--from", "file:history.jsonl", "--jobs", "2"]));
    assert!(replayed.len() > 1000, "{} alerts", replayed.len());
    for (data, judge) in judge {
        place.tripline(&["outputs", "import", "history.jsonl", "--data-dir", data]).exits(0);
        let with_rules = ["--rules", "rules.xml", "--data-dir", data];
        place.tripline(&[judge, &with_rules].concat()).exits(0);
        // A run that is to end leaves what is too much for the next start.
        place.tripline(&[&["process", "--until-caught-up"], &with_rules[..]].concat()).exits(0);
        let live = alerts(&place, data);
        let of_history = |alerts: &str| {
            let mut alerts = without_source(alerts);
            alerts.retain(|alert| alert["command"] != "tick");
            alerts
        };
        assert!(of_history(&live) == replayed, "{judge:?} gave other alerts");
        // From the log itself even the places are the same.
        for jobs in ["1", "2", "7"] {
            let from_log = replay(&place, &["--from", "log", "--data-dir", data, "--jobs", jobs]);
            assert!(from_log == live, "{judge:?}, and a replay of its log with {jobs} jobs");
        }
    }
}

#[test]
fn a_rule_that_counts_across_keys_is_judged_by_one_job_and_refused_where_there_are_partitions() {
    let place = place();
    let rules = RULES.replace("    <same_location />\n", "");
    place.write("rules.xml", &rules);
    let mut random = Random::seeded();
    eprintln!("{random}");
    place.write("history.jsonl", history(&mut random, 500, true));
    let one = replay(&place, &["--from", "file:history.jsonl"]);
    let ran =
        place.tripline(&["replay", "--rules", "rules.xml", "--from", "file:history.jsonl", "--jobs", "7"]).exits(0);
    assert!(ran.out == one.as_bytes());
    ran.says(&["rule 100003 counts across agents and commands, so one job judges all"]);
    // Where outputs lie in several partitions it can't work, and the way out is named, before anything starts.
    place.tripline(&["check", "rules.xml"]).exits(0);
    let said = String::from_utf8(place.tripline(&["check", "rules.xml", "--kafka"]).exits(2).out).unwrap();
    assert!(said.contains("these lie in 12 partitions") && said.contains("<same_location />"), "{said}");
    place.tripline(&["topics", "create", "--partitions", "3", "--data-dir", "data"]).exits(0);
    for verb in [["run", "--for", "1s"].as_slice(), &["process", "--until-caught-up"]] {
        let ran = place.tripline(&[verb, &["--rules", "rules.xml", "--data-dir", "data"]].concat()).exits(2);
        ran.says(&["these lie in 3 partitions", "<same_location />", "nothing was started"]);
    }
}

#[test]
fn a_slice_of_the_history_is_captured_and_replayed_to_the_same_alerts() {
    let mut random = Random::seeded();
    eprintln!("{random}");
    let place = place();
    place.write("history.jsonl", history(&mut random, 2_000, false));
    place.tripline(&["outputs", "import", "history.jsonl", "--data-dir", "data"]).exits(0);
    place.tripline(&["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"]).exits(0);
    let live = without_source(&alerts(&place, "data"));
    for out in ["all.jsonl", "all.jsonl.zst"] {
        place.tripline(&["capture", "--data-dir", "data", "--out", out]).exits(0).says(&["captured 2000 events"]);
        assert!(without_source(&replay(&place, &["--from", &format!("file:{out}")])) == live, "{out}");
    }
    let slice =
        ["--agent", "agent-1", "--agent", "agent-2", "--command", "command 3", "--since", "2026-01-01T00:05:00Z"];
    let slice = [&slice[..], &["--until", "2026-01-01T00:25:00Z"]].concat();
    place.tripline(&[&["capture", "--data-dir", "data", "--out", "slice.jsonl"], &slice[..]].concat()).exits(0);
    let captured = json_lines(&place.read("slice.jsonl"));
    assert!(captured.len() > 10, "{} events", captured.len());
    for event in &captured {
        let event = event.get("control").unwrap_or(event);
        assert!(event["agent"] == "agent-1" || event["agent"] == "agent-2", "{event}");
        assert_eq!(event["command"], "command 3");
        let time = event["time"].as_str().unwrap();
        assert!(("2026-01-01T00:05:00Z".."2026-01-01T00:25:00Z").contains(&time), "{event}");
    }
    // A replay that chooses for itself sees the same.
    let of_slice = without_source(&replay(&place, &["--from", "file:slice.jsonl"]));
    assert!(!of_slice.is_empty());
    let of_log = [&["--from", "log", "--data-dir", "data"], &slice[..]].concat();
    assert_eq!(without_source(&replay(&place, &of_log)), of_slice);
    let of_file = [&["--from", "file:all.jsonl.zst"], &slice[..]].concat();
    assert_eq!(without_source(&replay(&place, &of_file)), of_slice);
    // To standard output; and nothing at all is said to be nothing.
    let out = place.tripline(&[&["capture", "--data-dir", "data", "--out", "-"], &slice[..]].concat()).text();
    assert_eq!(out, place.read("slice.jsonl"));
    let nobody = ["capture", "--data-dir", "data", "--out", "nobody.jsonl", "--agent", "nobody"];
    place.tripline(&nobody).exits(4).says(&["nothing was selected"]);
    assert!(!place.path("nobody.jsonl").exists());
}

#[test]
fn the_first_change_of_a_time_is_one_from_the_run_before_it() {
    let place = super::judged_ticks(5);
    let since = |since: &str| {
        let changes = ["outputs", "--changes", "--data-dir", "data", "--format", "json", "--since", since];
        json_lines(&place.tripline(&changes).text())
    };
    let changes = since("2026-01-01T00:03:00Z");
    assert_eq!(changes.len(), 2);
    assert_eq!((&changes[0]["removed"], &changes[0]["added"]), (&serde_json::json!(["2"]), &serde_json::json!(["3"])));
    assert_eq!(since("2026-01-01T00:05:00Z").len(), 0);
}

#[test]
fn a_history_whose_beginning_the_log_has_dropped_is_not_complete() {
    let place = place();
    let import = |output: &str| {
        // A start ahead of all clocks, so that `--since` takes it whatever the time is.
        let run =
            format!(r#"{{"agent":"box","command":"tick","time":"2999-01-01T00:00:00Z","output":"{output}"}}"#) + "\n";
        place.with_input(&["outputs", "import", "-", "--data-dir", "data"], run.as_bytes()).exits(0);
    };
    import("old");
    std::thread::sleep(std::time::Duration::from_millis(5_500));
    // Again where the machine was so slow that the new one has become old by then.
    for number in 0.. {
        import(&format!("new {number}"));
        let process = ["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"];
        let mut process = place.command(&process);
        process.env("TRIPLINE_OUTPUTS__KEEP", "5s");
        place.run(process, b"").exits(0);
        if !place.tripline(&["outputs", "--format", "raw", "--data-dir", "data"]).out.is_empty() {
            break;
        }
    }

    let capture =
        |since: &[&str]| place.tripline(&[&["capture", "--data-dir", "data", "--out", "kept.jsonl"], since].concat());
    capture(&["--since", "1d"]).exits(3).says(&["may begin before what is kept", "captured 1 event"]);
    capture(&[]).exits(0).says(&["captured 1 event"]);
    let replay = ["replay", "--rules", "rules.xml", "--from", "log", "--data-dir", "data", "--alerts", "alerts.jsonl"];
    place.tripline(&[&replay[..], &["--since", "1d"]].concat()).exits(3).says(&["replayed 1 event"]);
}
