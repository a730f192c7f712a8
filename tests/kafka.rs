//! The whole program on a real Kafka: OSSEC's four examples, and a processor that is killed at random times.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::kafka::Kafka;
use common::{Log, Place, Random, json_lines, seed, test_setting, without_source};
use rustix::process::Signal;
use serde_json::{Value, json};

const KILLS: u64 = 6;

#[test]
fn a_full_disk_gives_the_alert_block_that_the_documentation_shows() {
    seed::a_full_disk(&Kafka::new());
}

#[test]
fn a_load_average_fires_is_silent_for_two_hours_and_fires_again() {
    seed::a_load_average(&Kafka::new());
}

#[test]
fn an_opened_port_is_reported_with_both_outputs_and_the_diff() {
    seed::listening_ports(&Kafka::new());
}

#[test]
fn a_usb_device_on_windows_is_reported_with_its_backslashes() {
    seed::usb_storage(&Kafka::new());
}

const RULES: &str = r#"<group name="ledger,">
  <rule id="100001" level="7">
    <if_sid>530</if_sid>
    <match>'changing'</match>
    <check_diff />
    <description>It changed.</description>
  </rule>
  <rule id="100002" level="3">
    <if_sid>530</if_sid>
    <match>'line'</match>
    <description>It was printed.</description>
  </rule>
  <rule id="100003" level="7" ignore="120">
    <if_sid>530</if_sid>
    <match>'held'</match>
    <check_diff />
    <description>It changed, not too often.</description>
  </rule>
</group>
"#;

/// The outputs' own partition count decides, whatever settings say, and before anything is started.
#[test]
fn a_rule_that_counts_across_keys_is_refused_by_the_partition_count_of_the_outputs() {
    let rule = |scope: &str| {
        format!(
            "<group name=\"local,\">\n<rule id=\"100001\" level=\"5\">\n<if_sid>530</if_sid>\n\
             <description>d</description>\n</rule>\n<rule id=\"100002\" level=\"9\" frequency=\"2\" timeframe=\"60\">\n\
             <if_matched_sid>100001</if_matched_sid>\n{scope}<description>d</description>\n</rule>\n</group>\n"
        )
    };
    let (log, place) = (Kafka::new(), Place::new());
    let tables = log.setting_tables();
    place.write("tripline.toml", log.settings() + &tables + "[[command]]\ncommand = 'true'\n");
    place.write("rules.xml", rule(""));
    // There is no topic yet, so nothing can be said about it.
    log.tripline(&place, &["run", "--rules", "rules.xml", "--for", "1s"]).exits(5).says(&["tripline topics create"]);
    log.prepare(&place);
    place.write(
        "tripline.toml",
        log.settings() + &tables.replace("partitions = 3\n", "") + "[[command]]\ncommand = 'true'\n",
    );
    for verb in [["run", "--for", "1s"].as_slice(), &["process", "--until-caught-up"]] {
        let ran = log.tripline(&place, &[verb, &["--rules", "rules.xml"]].concat()).exits(2);
        ran.says(&["TL0432", "these lie in 3 partitions", "<same_location />", "nothing was started"]);
        assert!(!place.path("data").exists(), "{verb:?} left something");
    }
    place.write("rules.xml", rule("<same_location />\n"));
    log.tripline(&place, &["process", "--until-caught-up", "--rules", "rules.xml"]).exits(0);
}

#[test]
fn a_collector_takes_changed_commands_over_without_a_restart() {
    let (log, place) = (Kafka::new(), Place::new());
    let settings = |command: &str| {
        let command = format!("[[command]]\nname = '{command}'\ncommand = 'echo {command}'\nevery = '1h'\nsplay = 0\n");
        log.settings() + &log.setting_tables() + &command
    };
    place.write("tripline.toml", settings("old"));
    log.prepare(&place);
    let arguments = log.with_flags(&["collect"]);
    let mut running = place.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let has_output = |command: &str| {
        let ran = log.tripline(&place, &["outputs", "--format", "raw"]);
        String::from_utf8_lossy(&ran.out).contains(command)
    };
    running.wait_until("the first run", |_| has_output("old"));
    place.write("tripline.toml", settings("new"));
    running.signal(Signal::HUP);
    running.wait_for("tripline: running 1 command now: added `new`; removed `old`\n");
    running.wait_until("the new command", |_| has_output("new"));
    running.stop().exits(0);
}

/// While its broker is away the client waits by itself, and answers that nothing has come.
#[test]
fn a_follower_waits_while_the_broker_is_away_and_says_that_it_is_there_again_when_it_is() {
    let (mut broker, place) = (tripline_testkafka::Broker::start(), Place::new());
    place.write(
        "tripline.toml",
        format!("[kafka]\nenabled = true\nbootstrap = ['{}']\nreplication = 1\n", broker.bootstrap()),
    );
    place.tripline(&["topics", "create"]).exits(0);
    let line = r#"{"agent":"box","command":"tick","time":"2026-01-01T00:00:00Z","output":"tick\n"}"#;
    let import = || place.with_input(&["outputs", "import", "-"], line.as_bytes()).exits(0);
    let told = |running: &common::Running| running.messages().matches("the log is there again").count();
    import();
    let mut follower = place.start(&["outputs", "--follow", "--format", "json"]);
    follower.wait_until("an output", |follower| !follower.printed().is_empty());
    broker.kill();
    follower.wait_for("waiting for the log: ");
    // Several tries go by.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(told(&follower), 0, "{}", follower.messages());
    broker.restart();
    follower.wait_until("the broker", |follower| told(follower) == 1);
    follower.stop().exits(0);
}

/// Outputs come in portions while `tripline process` is killed; what consumers see that read committed records only is
/// what one undisturbed replay gives.
#[test]
fn a_processor_that_is_killed_at_random_times_loses_nothing_and_doubles_nothing() {
    let kills =
        test_setting("TRIPLINE_KILLS").map_or(KILLS, |kills| kills.parse().expect("TRIPLINE_KILLS is a number"));
    let mut random = Random::seeded();
    println!("{random}, TRIPLINE_KILLS={kills}");
    let kafka = Kafka::new();
    let place = Place::new();
    // The times are made up: that the runs come late is no news.
    let settings = kafka.settings() + "[outputs]\nlate_after = '36525d'\n" + &kafka.setting_tables();
    place.write("tripline.toml", settings);
    place.write("rules.xml", RULES);
    kafka.prepare(&place);

    let mut whole = String::new();
    for portion in 0..=kills {
        let history = history(portion, &mut random);
        whole += &history;
        let file = format!("portion-{portion}.jsonl");
        place.write(&file, &history);
        kafka.tripline(&place, &["outputs", "import", &file]).exits(0);
        if portion < kills {
            let arguments = kafka.with_flags(&["process", "--rules", "rules.xml"]);
            let running = place.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            std::thread::sleep(Duration::from_millis(300 + random.below(4_000)));
            running.kill();
        }
    }
    kafka.judge(&place, &["--rules", "rules.xml"]);

    place.write("whole.jsonl", &whole);
    let live = kafka.tripline(&place, &["alerts", "--format", "json"]).text();
    let replay = ["replay", "--rules", "rules.xml", "--from", "file:whole.jsonl"];
    let calm = place.tripline(&replay).text();
    assert!(calm.lines().count() > 50, "the history must bring something about");
    let (live, calm) = (by_key(&live), by_key(&calm));
    assert!(live.keys().eq(calm.keys()), "{:?} instead of {:?}", live.keys(), calm.keys());
    for (key, expected) in &calm {
        assert_eq!(live[key].len(), expected.len(), "alerts of {key:?}");
        for (given, expected) in live[key].iter().zip(expected) {
            assert_eq!(given, expected, "{key:?}");
        }
    }
}

/// What is asked for by time is read from there on; what came before is looked for backwards.
#[test]
fn changes_since_a_time_are_compared_with_the_runs_before_it() {
    let kafka = Kafka::new();
    let place = Place::new();
    let settings = kafka.settings() + "[outputs]\nclock_skew_max = '0s'\n" + &kafka.setting_tables();
    place.write("tripline.toml", settings);
    kafka.prepare(&place);
    let mut random = Random::seeded();
    println!("{random}");
    let import = |lines: &str| {
        place.write("portion.jsonl", lines);
        kafka.tripline(&place, &["outputs", "import", "portion.jsonl"]).exits(0);
    };
    (0..40).for_each(|portion| import(&history(portion, &mut random)));
    std::thread::sleep(Duration::from_millis(20)); // Append times have whole milliseconds.
    let since = tripline_faults::now();
    // Two agents are new, one has gone.
    let line = |agent: u64, sequence: u64| {
        json!({
            "agent": format!("agent-{agent}"), "command": "changing", "format": "full_command", "time": since.to_string(),
            "run": format!("00000000-0000-4000-8000-00000000000{agent}/{}", 5_000 + sequence),
            "output": format!("version {}\n", sequence * 10),
        })
        .to_string()
            + "\n"
    };
    import(&(1..6).flat_map(|agent| [1, 2].map(|sequence| line(agent, sequence))).collect::<String>());

    let list = |arguments: &[&str]| {
        let listed = kafka.tripline(&place, &[&["outputs", "--format", "json"], arguments].concat()).text();
        let mut listed = json_lines(&listed);
        listed.sort_by_key(|line| line["run"].to_string());
        listed
    };
    let time = since.to_string();
    for arguments in [&["--changes"][..], &[]] {
        let mut all = list(arguments);
        all.retain(|line| line["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() >= since);
        // Five agents run twice; of the two that are new the first run is no change.
        assert_eq!(all.len(), if arguments.is_empty() { 10 } else { 8 }, "{all:?}");
        assert_eq!(list(&[arguments, &["--since", &time]].concat()), all, "{arguments:?}");
    }
    place.write("rules.xml", RULES);
    let logtest = |command: &str| {
        let logtest = ["logtest", "--rules", "rules.xml", "--agent", "agent-3", "--command", command];
        kafka.tripline(&place, &logtest).text()
    };
    assert!(
        logtest("changing").contains("\nversion 20\nPrevious output:\n") && logtest("changing").contains("version 10")
    );
    assert!(logtest("held").contains("'held'"));
}

/// A few minutes of four agents with three commands each; run ids are given, so that each line is a run of its own.
fn history(portion: u64, random: &mut Random) -> String {
    const SPOOL: &str = "00000000-0000-4000-8000-00000000000";
    let mut lines = String::new();
    for minute in 0..8 {
        let sequence = portion * 8 + minute + 1;
        for agent in 0..4 {
            let commands = [("changing", "full_command"), ("line", "command"), ("held", "full_command")];
            for (number, (command, format)) in (0..).zip(commands) {
                let line = json!({
                    "agent": format!("agent-{agent}"), "command": command, "format": format,
                    "time": format!("2026-03-03T{:02}:{:02}:{:02}Z", sequence / 60, sequence % 60, agent),
                    "run": format!("{SPOOL}{agent}/{}", sequence * 3 + number),
                    "output": format!("version {}\n", random.below(3)),
                });
                lines += &format!("{line}\n");
            }
        }
    }
    lines
}

/// The alerts of each agent and command, in their order, without their place in the log.
fn by_key(alerts: &str) -> BTreeMap<(String, String), Vec<Value>> {
    let mut keys: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for alert in without_source(alerts) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        keys.entry((text(&alert["agent"]["name"]), text(&alert["command"]))).or_default().push(alert);
    }
    assert_eq!(keys.values().map(Vec::len).sum::<usize>(), json_lines(alerts).len());
    keys
}
