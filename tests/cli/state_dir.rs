//! Checking, rebuilding and copying a data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::common::{json_lines, without_source};
use super::{Place, RUN, judged_ticks, place, ticks};

const DATA: [&str; 2] = ["--data-dir", "data"];
const RULES: [&str; 2] = ["--rules", "rules.xml"];

fn with<'a>(verb: &[&'a str], flags: &[&[&'a str]]) -> Vec<&'a str> {
    [verb, &flags.concat()].concat()
}

fn data_files(place: &Place, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(place.path("data/log/db")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

fn flip_the_middle(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// What `state verify` finds: parts, texts.
#[track_caller]
fn damage(place: &Place, data_dir: &str) -> Vec<(String, String)> {
    let ran = place.tripline(&["state", "verify", "--format", "json", "--data-dir", data_dir]);
    let found = json_lines(&String::from_utf8(ran.out.clone()).unwrap());
    let ran = ran.exits(i32::from(!found.is_empty()));
    assert_eq!(ran.err.contains("all is well"), found.is_empty(), "{}", ran.err);
    let text = |finding: &serde_json::Value, name: &str| finding[name].as_str().unwrap().to_owned();
    found.iter().map(|finding| (text(finding, "part"), text(finding, "what"))).collect()
}

fn alerts(place: &Place, data_dir: &str) -> String {
    place.tripline(&["alerts", "--format", "json", "--data-dir", data_dir]).text()
}

/// Appends more ticks and judges them.
fn go_on(place: &Place) {
    place.write("more.jsonl", ticks(80).lines().skip(50).map(|line| format!("{line}\n")).collect::<String>());
    place.tripline(&with(&["outputs", "import", "more.jsonl"], &[&DATA])).exits(0);
    place.tripline(&with(&["process", "--until-caught-up"], &[&RULES, &DATA])).exits(0);
}

#[test]
fn a_sound_directory_is_found_sound_beside_its_owner_and_without_one() {
    let place = judged_ticks(50);
    assert_eq!(damage(&place, "data"), []);
    let mut running = place.start(&RUN);
    running.wait_for("watching with");
    assert_eq!(damage(&place, "data"), []);
    running.kill();
    assert_eq!(damage(&place, "data"), []);
    place.tripline(&with(&["alerts", "--group", "mail", "--exec", "true"], &[&DATA])).exits(0);
    let said = place.tripline(&with(&["state", "verify"], &[&DATA])).exits(0).err;
    assert!(said.contains("1 saved position"), "{said}");
}

#[test]
fn damaged_state_is_named_and_rebuilt_and_what_follows_is_as_if_nothing_had_happened() {
    let calm = judged_ticks(50);
    go_on(&calm);
    let expected = alerts(&calm, "data");
    assert_eq!(expected.lines().count(), 79);

    let mut damaged_states = 0;
    let files = {
        let place = judged_ticks(50);
        place.tripline(&with(&["process", "--until-caught-up"], &[&RULES, &DATA])).exits(0);
        data_files(&place, "sst").len()
    };
    for file in 0..files {
        let place = judged_ticks(50);
        // Opening the log writes what the write-ahead log held into data files.
        place.tripline(&with(&["process", "--until-caught-up"], &[&RULES, &DATA])).exits(0);
        flip_the_middle(&data_files(&place, "sst")[file]);
        let found = damage(&place, "data");
        let parts: BTreeSet<&str> = found.iter().map(|(part, _)| part.as_str()).collect();
        if !parts.contains("state") {
            continue;
        }
        damaged_states += 1;
        assert_eq!(parts, BTreeSet::from(["state"]), "{found:?}");
        assert!(found[0].1.contains(".sst"), "{found:?}");
        let rebuilt = place.tripline(&with(&["state", "rebuild"], &[&RULES, &DATA])).exits(0);
        rebuilt.says(&["rebuilt from 50 outputs"]);
        assert_eq!(damage(&place, "data"), []);
        assert_eq!(alerts(&place, "data").lines().count(), 49, "none is told twice");
        go_on(&place);
        assert_eq!(alerts(&place, "data"), expected);
    }
    assert!(damaged_states > 0);
}

#[test]
fn a_rebuild_beside_an_owner_is_refused() {
    let place = judged_ticks(5);
    let mut running = place.start(&RUN);
    running.wait_for("watching with");
    let pid = running.pid().to_string();
    place.tripline(&with(&["state", "rebuild"], &[&RULES, &DATA])).exits(5).says(&["in use by process", &pid]);
    running.stop().exits(0);
    assert_eq!(damage(&place, "data"), []);
}

#[test]
fn outputs_that_are_damaged_are_named_and_not_left_out_of_a_rebuild() {
    let place = judged_ticks(50);
    place.tripline(&with(&["process", "--until-caught-up"], &[&RULES, &DATA])).exits(0);
    for file in data_files(&place, "sst") {
        let good = fs::read(&file).unwrap();
        flip_the_middle(&file);
        let found = damage(&place, "data");
        if found.iter().any(|(_, what)| what.contains("`tripline.outputs`")) {
            assert!(found.iter().any(|(_, what)| what.contains("records 0 to ") && what.contains(".sst")), "{found:?}");
            let refused = place.tripline(&with(&["state", "rebuild"], &[&RULES, &DATA])).exits(5);
            refused.says(&["not only the state", "tripline.outputs", "backup"]);
            fs::write(&file, good).unwrap();
            assert_eq!(damage(&place, "data"), [], "nothing was touched");
            return;
        }
        fs::write(&file, good).unwrap();
    }
    panic!("no file held the outputs");
}

#[test]
fn a_backup_taken_under_load_goes_on_in_place_of_the_original() {
    let place = place();
    let mut running = place.start(&RUN);
    running.wait_for("watching with");
    place.write("ticks.jsonl", ticks(600));
    let load = place.start(&with(&["outputs", "import", "ticks.jsonl"], &[&DATA]));
    let copies = ["copy-0", "copy-1", "copy-2"];
    for copy in copies {
        let pid = running.pid().to_string();
        place.tripline(&with(&["state", "backup", copy], &[&DATA])).exits(0).says(&[&pid, "which goes on"]);
        std::thread::sleep(std::time::Duration::from_millis(700));
    }
    load.ended().exits(0);
    // A directory with something in it is left alone.
    place.tripline(&with(&["state", "backup", "copy-0"], &[&DATA])).exits(2).says(&["`copy-0` is not empty"]);
    running.kill();
    place.tripline(&with(&["state", "backup", "copy-3"], &[&DATA])).exits(0);
    let original = place.tripline(&with(&["outputs", "--format", "json"], &[&DATA])).text();

    for copy in copies.iter().chain(&["copy-3"]) {
        assert_eq!(damage(&place, copy), [], "{copy}");
        let at = ["--data-dir", copy];
        let before = place.tripline(&with(&["outputs", "--format", "json"], &[&at])).text();
        assert!(original.starts_with(&before), "{copy} is another history");
        place.tripline(&with(&["run", "--for", "2s"], &[&RULES, &at])).exits(0);
        assert_eq!(damage(&place, copy), [], "{copy}");
        let after = place.tripline(&with(&["outputs", "--format", "json"], &[&at])).text();
        assert!(after.starts_with(&before) && after.len() > before.len(), "{copy}");

        // No number is given twice: new runs are numbered under an id of the copy's own.
        let runs = |history: &str| -> BTreeMap<String, String> {
            let line = |record: &serde_json::Value| {
                let mut record = record.clone();
                record.as_object_mut().unwrap().remove("append_time");
                (record["run"].as_str().unwrap().to_owned(), record.to_string())
            };
            let records = json_lines(history);
            let runs: BTreeMap<String, String> = records.iter().map(line).collect();
            for (id, record) in records.iter().map(line) {
                assert_eq!(runs[&id], record, "{copy}: two runs under one id");
            }
            runs
        };
        let (originals, copied) = (runs(&original), runs(&after));
        for (id, record) in &copied {
            assert!(originals.get(id).is_none_or(|known| known == record), "{copy}: {id} is another run");
        }
        assert!(copied.keys().any(|id| !originals.contains_key(id)), "{copy}: nothing new");

        // The alerts are those of a run through its history.
        place.write("history.jsonl", &after);
        let replayed = place.tripline(&with(&["replay", "--from", "file:history.jsonl"], &[&RULES])).text();
        assert_eq!(without_source(&replayed), without_source(&alerts(&place, copy)), "{copy}");
    }
}

#[test]
fn a_saved_position_that_is_damaged_or_of_another_log_is_named_and_nothing_is_passed_over() {
    let place = judged_ticks(20);
    let take = with(&["alerts", "--format", "json", "--group", "mail"], &[&DATA]);
    assert_eq!(place.tripline(&take).text().lines().count(), 19);
    let file = "data/groups/tripline.alerts/mail.json";
    let good = place.read(file);
    assert_eq!(good, r#"{"0":19}"#);
    for (content, said) in [("", "is damaged"), (r#"{"0":1"#, "is damaged"), (r#"{"0":99}"#, "ends at 19")] {
        place.write(file, content);
        assert!(place.tripline(&take).exits(5).says(&[said]).out.is_empty());
        assert_eq!(place.read(file), content);
        let found = damage(&place, "data");
        assert!(found.len() == 1 && found[0].0 == "groups" && found[0].1.contains("mail.json"), "{found:?}");
    }
    place.write(file, good);
    assert_eq!(damage(&place, "data"), []);
    fs::remove_file(place.path(file)).unwrap();
    assert_eq!(place.tripline(&take).text().lines().count(), 19, "all of it again");
}

/// Puts a backup in the place of the data directory.
fn restore(place: &Place, copy: &str) {
    fs::rename(place.path("data"), place.path("data.old")).unwrap();
    fs::rename(place.path(copy), place.path("data")).unwrap();
}

#[test]
fn who_follows_a_log_that_is_put_back_to_a_backup_ends_and_its_group_goes_on_from_the_backup() {
    let place = judged_ticks(4);
    let take = |into: &'static str| with(&["alerts", "--format", "json", "--group", "mail", "--exec", into], &[&DATA]);
    let follow = |into: &'static str| [take(into), vec!["--follow"]].concat();
    let has_saved = |position: &str| place.read("data/groups/tripline.alerts/mail.json") == position;
    let taken = |file: &str| fs::read_to_string(place.path(file)).unwrap_or_default().lines().count();
    place.tripline(&take("cat >> taken")).exits(0);
    for copy in ["short", "grown"] {
        place.tripline(&with(&["state", "backup", copy], &[&DATA])).exits(0);
    }
    go_on(&place);
    let mut group = place.start(&follow("cat >> taken"));
    group.wait_until("all alerts", |_| has_saved(r#"{"0":33}"#));
    assert_eq!(taken("taken"), 33);
    let mut reader = place.start(&with(&["alerts", "--follow", "--format", "json"], &[&DATA]));
    reader.wait_until("all alerts", |reader| reader.printed().iter().filter(|byte| **byte == b'\n').count() == 33);

    // The log ends before what comes next for them.
    restore(&place, "short");
    for follower in [group, reader] {
        follower.ended().exits(5).says(&["the log was put back to an earlier copy", "start again"]);
    }
    assert!(has_saved(r#"{"0":3}"#));
    go_on(&place);
    let mut group = place.start(&follow("cat >> again"));
    group.wait_until("what came after the backup", |_| has_saved(r#"{"0":33}"#));

    // The log has come past that already when the follower looks.
    group.signal(rustix::process::Signal::STOP);
    fs::rename(place.path("data.old"), place.path("data.older")).unwrap();
    restore(&place, "grown");
    go_on(&place);
    place.write("later.jsonl", ticks(90).lines().skip(80).map(|line| format!("{line}\n")).collect::<String>());
    place.tripline(&with(&["outputs", "import", "later.jsonl"], &[&DATA])).exits(0);
    place.tripline(&with(&["process", "--until-caught-up"], &[&RULES, &DATA])).exits(0);
    group.signal(rustix::process::Signal::CONT);
    group.ended().exits(5).says(&["the data directory was replaced", "start again"]);
    assert_eq!(taken("again"), 30);
    place.tripline(&take("cat >> at-last")).exits(0);
    let all = alerts(&place, "data");
    assert_eq!(place.read("at-last"), all.lines().skip(3).map(|line| format!("{line}\n")).collect::<String>());
    assert_eq!(taken("at-last"), 40);
}

#[test]
fn an_order_to_forget_takes_a_new_baseline_and_says_when_there_is_nothing_to_forget() {
    let place = judged_ticks(3);
    let forget = |command: &str| {
        let who = ["--agent", "box", "--command", command, "--reason", "a test"];
        place.tripline(&with(&["state", "forget"], &[&who, &DATA]))
    };
    let ran = forget("tick").exits(0).says(&["the order is in the log"]);
    assert!(!ran.err.contains("nothing is remembered"), "{}", ran.err);
    forget("tock").exits(0).says(&["nothing is remembered of", "the order is in the log"]);
    let of_rule = ["state", "forget", "--agent", "box", "--command", "tick", "--rule", "100009", "--reason", "a test"];
    place
        .tripline(&with(&of_rule, &[&DATA]))
        .exits(0)
        .says(&["nothing is remembered of (box) tick by rule 100009 now"]);
    let alerts = super::alert_count(&place);
    place.write("more.jsonl", ticks(5).lines().skip(3).map(|line| line.to_owned() + "\n").collect::<String>());
    place.tripline(&with(&["outputs", "import", "more.jsonl"], &[&DATA])).exits(0);
    place.tripline(&with(&["process", "--until-caught-up"], &[&RULES, &DATA])).exits(0);
    // The first of the two outputs is the new baseline.
    assert_eq!(super::alert_count(&place), alerts + 1);
    // A directory that is not there is not made.
    let elsewhere = ["--agent", "box", "--command", "tick", "--reason", "a test", "--data-dir", "elsewhere"];
    place.tripline(&with(&["state", "forget"], &[&elsewhere])).exits(2).says(&["there is no log in"]);
    assert!(!place.path("elsewhere").exists());
}

#[test]
fn state_says_until_when_a_rule_stays_quiet_by_the_rules_that_judged() {
    let place = place();
    let rule = |id: u32, facts: &str, more: &str| {
        format!(
            "<rule id=\"{id}\" level=\"5\"{facts}><if_sid>530</if_sid><match>'tick'</match>{more}<description>d</description></rule>\n"
        )
    };
    let change = rule(100001, " ignore=\"7200\"", "<check_diff />");
    let keyed = rule(100002, " ignore=\"7200\"", "<regex>user=(\\w+)</regex><ignore_key>user=(\\w+)</ignore_key>");
    let over = rule(100003, " ignore=\"1\"", "<regex>third</regex>");
    place.write("rules.xml", format!("<group name=\"g,\">{keyed}{over}{change}</group>"));
    let ago = |seconds: i64| tripline_faults::now() - jiff::SignedDuration::from_secs(seconds);
    let run = |time, output: &str| {
        format!(r#"{{"agent":"box","command":"tick","time":"{time}","output":"{output}"}}"#) + "\n"
    };
    let history = [(300, "first"), (240, "second"), (180, "third"), (120, "user=eve"), (60, "user=eve")];
    let history: String = history.iter().map(|(seconds, output)| run(ago(*seconds), output)).collect();
    place.write("history.jsonl", history);
    place.tripline(&with(&["outputs", "import", "history.jsonl"], &[&DATA])).exits(0);
    place.tripline(&with(&["process", "--until-caught-up"], &[&RULES, &DATA])).exits(0);
    // The rules are those in the log, wherever their files are now.
    fs::remove_file(place.path("rules.xml")).unwrap();
    let text = place.tripline(&with(&["state"], &[&DATA])).text();
    let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {text}"));
    for quiet in [line("rule 100001:"), line("for `eve`:")] {
        let (_, until) = quiet.split_once(", quiet until ").unwrap_or_else(|| panic!("{text}"));
        assert!(until.ends_with("m)") && until.contains(" (in 11"), "{text}");
    }
    assert!(line("for `eve`:").contains("held back 1 time since"), "{text}");
    assert!(line("rule 100003:").contains("fired last") && !line("rule 100003:").contains("until"), "{text}");
}
