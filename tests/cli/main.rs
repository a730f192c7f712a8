//! The program as people use it, and as they misuse it: exit codes, messages, what is left behind.

#[path = "../common/mod.rs"]
mod common;

mod data_dir;
mod dead_letters;
mod decoders;
mod full_disk;
mod limits;
mod other_users;
mod packaging;
mod power_failure;
mod reading;
mod reloading;
mod replaying;
mod rules;
mod settings;
mod state_dir;
mod stopping;
mod trying;

use common::Place;

/// Two commands: one that prints something new each time, and one whose output is no text.
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
name = "bytes"
format = "full_command"
every = "1s"
command = "printf '\\377\\376a\\000b\\r\\n'"
"#;

/// An alert for each change of `tick`.
const RULES: &str = r#"<group name="local,">
  <rule id="100001" level="5">
    <if_sid>530</if_sid>
    <match>ossec: output: 'tick'</match>
    <check_diff />
    <description>The tick changed.</description>
  </rule>
</group>
"#;

/// `tripline run` on these settings and rules.
const RUN: [&str; 5] = ["run", "--rules", "rules.xml", "--data-dir", "data"];

fn place() -> Place {
    let place = Place::new();
    place.write("tripline.toml", SETTINGS);
    place.write("rules.xml", RULES);
    place
}

/// So many runs of `tick` in the history format, each with another output, a minute apart.
fn ticks(count: u32) -> String {
    let line = |n| {
        let (hour, minute) = (n / 60, n % 60);
        format!(r#"{{"agent":"box","command":"tick","time":"2026-01-01T{hour:02}:{minute:02}:00Z","output":"{n}\n"}}"#)
            + "\n"
    };
    (0..count).map(line).collect()
}

/// A place whose log holds `ticks`, judged: one alert less than runs.
fn judged_ticks(count: u32) -> Place {
    let place = place();
    place.write("ticks.jsonl", ticks(count));
    place.tripline(&["outputs", "import", "ticks.jsonl", "--data-dir", "data"]).exits(0);
    place.tripline(&["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"]).exits(0);
    place
}

fn alert_count(place: &Place) -> usize {
    place.tripline(&["alerts", "--data-dir", "data", "--format", "json"]).text().lines().count()
}
