//! Reading alerts and outputs, beside whoever writes them and afterwards.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use rustix::process::Signal;

use super::common::{json_lines, without_source};
use super::{RUN, alert_count, judged_ticks, place, ticks};

#[test]
fn alerts_are_read_beside_a_running_process_and_after_it() {
    let place = place();
    let mut running = place.start(&RUN);
    running.wait_for("watching with");
    let mut follower = place.start(&["alerts", "--follow", "--format", "json", "--data-dir", "data"]);
    follower.wait_until("two alerts", |follower| follower.printed().iter().filter(|b| **b == b'\n').count() >= 2);
    let beside = place.tripline(&["alerts", "--format", "json", "--data-dir", "data"]).text();
    assert!(beside.lines().count() >= 2);
    running.stop().exits(0);
    let after = place.tripline(&["alerts", "--format", "json", "--data-dir", "data"]).text();
    assert!(after.starts_with(&beside), "what was seen stays");
    follower.wait_until("the last alert", |follower| follower.printed().len() >= after.len());
    assert_eq!(String::from_utf8(follower.stop().exits(0).out).unwrap(), after);
}

#[test]
fn output_that_is_not_text_comes_back_byte_for_byte() {
    let place = place();
    place.tripline(&[&RUN[..], &["--for", "1s"]].concat()).exits(0);
    let bytes = b"\xff\xfea\0b\r\n";
    let outputs = ["outputs", "--command", "bytes", "--data-dir", "data"];
    let history = place.tripline(&[&outputs[..], &["--format", "json"]].concat()).text();
    let runs = history.lines().count();
    assert!(runs > 0);
    let raw = ["--format", "raw"];
    assert_eq!(place.tripline(&[&outputs[..], &raw].concat()).exits(0).out, bytes.repeat(runs));
    // One run alone, by the id that alerts name.
    let run = json_lines(&history)[0]["run"].as_str().unwrap().to_owned();
    assert_eq!(place.tripline(&[&outputs[..], &raw, &["--run", &run]].concat()).exits(0).out, bytes);
    // Through a history into another directory, and for a person's eyes.
    place.write("history.jsonl", history);
    place.tripline(&["outputs", "import", "history.jsonl", "--data-dir", "copy"]).exits(0);
    let copy = place.tripline(&["outputs", "--format", "raw", "--data-dir", "copy"]).exits(0).out;
    assert_eq!(copy, bytes.repeat(runs));
    let shown = place.tripline(&outputs).text();
    assert!(shown.contains(r"\xff\xfea\x00b"), "{shown}");
}

#[test]
fn a_group_moves_on_only_after_its_command_succeeded() {
    let place = judged_ticks(4);
    let take = |command| ["alerts", "--data-dir", "data", "--format", "json", "--group", "mail", "--exec", command];

    // It takes the first alert, and fails at the second until somebody stops it.
    let failing = "cat > tried; if [ -e first ]; then exit 3; fi; mv tried first";
    let mut first = place.start(&take(failing));
    first.wait_for("trying again");
    first.wait_until("the second alert", |_| place.path("tried").exists());
    let ran = first.stop().exits(130);
    assert!(ran.err.contains("exit status: 3"), "{}", ran.err);

    // The next one begins with the alert that failed.
    place.tripline(&take("cat >> taken")).exits(0);
    let all = place.tripline(&["alerts", "--data-dir", "data", "--format", "json"]).text();
    assert_eq!(place.read("first") + &place.read("taken"), all);
    assert_eq!(place.read("tried"), place.read("taken").lines().next().unwrap().to_owned() + "\n");

    // Nothing is left, for this group.
    std::fs::remove_file(place.path("taken")).unwrap();
    place.tripline(&take("cat >> taken")).exits(0);
    assert!(!place.path("taken").exists());
    let other = ["alerts", "--data-dir", "data", "--format", "json", "--group", "pager"];
    assert_eq!(place.tripline(&other).text(), all);
    assert_eq!(place.tripline(&other).text(), "");
    place.tripline(&["alerts", "--data-dir", "data", "--group", "../x"]).exits(2).says(&["`../x` can't name a group"]);
}

#[test]
fn a_new_group_begins_where_it_is_told_to_and_passes_nothing_by_after_that() {
    let place = judged_ticks(4);
    let take = ["alerts", "--data-dir", "data", "--format", "json", "--group", "mail", "--since", "0s"];
    assert_eq!(place.tripline(&take).text(), "");
    let later: String = ticks(8).lines().skip(4).map(|line| format!("{line}\n")).collect();
    place.with_input(&["outputs", "import", "-", "--data-dir", "data"], later.as_bytes()).exits(0);
    place.tripline(&["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"]).exits(0);
    // They were written before this start.
    let failing = [&take[..], &["--follow", "--exec", "false"]].concat();
    let mut failing = place.start(&failing);
    failing.wait_for("trying again");
    failing.stop().exits(0);
    let all = place.tripline(&["alerts", "--data-dir", "data", "--format", "json"]).text();
    let new: String = all.lines().skip(3).map(|line| format!("{line}\n")).collect();
    assert_eq!(new.lines().count(), 4);
    assert_eq!(place.tripline(&take).text(), new);
}

#[test]
fn one_process_takes_a_group_s_alerts_and_stops_with_the_one_it_is_about() {
    let place = judged_ticks(4);
    let take = |command| ["alerts", "--data-dir", "data", "--group", "mail", "--exec", command];
    let mut first = place.start(&take("echo x >> taken; sleep 1"));
    first.wait_until("the first alert", |_| place.path("taken").exists());
    place.tripline(&take("true")).exits(5).says(&["another process takes the alerts of group `mail`"]);
    first.stop().exits(130);
    assert_eq!(place.read("taken"), "x\n");
    // The lock ends with its process, and the second alert is the next one.
    place.tripline(&take("echo y >> taken")).exits(0);
    assert_eq!(place.read("taken"), "x\ny\ny\n");
    place.tripline(&["alerts", "--data-dir", "data", "--group", "mail", "--until", "1h"]).exits(2);
}

#[test]
fn a_date_is_one_of_the_time_zone_that_times_are_shown_in() {
    let place = place();
    place.write("tripline.toml", "time_zone = \"Europe/Berlin\"\ndata_dir = \"data\"\n");
    let line = |time: &str, output: &str| {
        format!("{{\"agent\":\"a\",\"command\":\"c\",\"time\":\"{time}\",\"output\":\"{output}\"}}\n")
    };
    // 00:30 in Berlin.
    let history = line("2026-11-22T22:30:00Z", "old") + &line("2026-11-23T23:30:00Z", "new");
    place.with_input(&["outputs", "import", "-"], history.as_bytes()).exits(0);
    let shown = place.tripline(&["outputs", "--changes", "--since", "2026-11-24"]).text();
    assert!(shown.contains("--- 2026-11-24 00:30:00+01:00") && shown.contains("+new"), "{shown}");
    let shown = place.tripline(&["outputs", "--until", "2026-11-24T00:00"]).text();
    assert!(shown.contains("old") && !shown.contains("new"), "{shown}");
    place.tripline(&["outputs", "--agent", "b"]).exits(0).says(&["no output matches"]);
    place.tripline(&["outputs", "--changes", "--since", "2026-11-25"]).exits(0).says(&["no output changed"]);
}

#[test]
fn histories_that_come_one_after_the_other_by_standard_input_are_all_taken() {
    let place = place();
    let import = |second: u32| {
        let line = format!(
            "{{\"agent\":\"a\",\"command\":\"c\",\"time\":\"2026-11-24T10:00:{second:02}Z\",\"output\":\"{second}\"}}\n"
        );
        place.with_input(&["outputs", "import", "-", "--data-dir", "data"], line.as_bytes()).exits(0);
    };
    [10, 20, 10].into_iter().for_each(import);
    let history = place.tripline(&["outputs", "--format", "json", "--data-dir", "data"]).text();
    let ids: Vec<_> = json_lines(&history).iter().map(|line| line["run"].as_str().unwrap().to_owned()).collect();
    assert!(ids.len() == 3 && ids[0] == ids[2] && ids[0] != ids[1], "{ids:?}");
    let process = ["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"];
    place.tripline(&process).exits(0).says(&["1 seen before"]);
}

#[test]
fn what_nobody_hears_stops_no_work() {
    let place = place();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = place.command(&[&RUN[..], &["--for", "2s", "-v"]].concat());
    let status = command.stdout(Stdio::null()).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let outputs = place.tripline(&["outputs", "--data-dir", "data", "--format", "json"]).text();
    assert!(outputs.lines().count() > 0);
}

#[test]
fn whoever_has_read_enough_may_go() {
    let place = judged_ticks(900);
    for arguments in [
        &["alerts", "--data-dir", "data"][..],
        &["outputs", "--data-dir", "data"],
        &["replay", "--rules", "rules.xml", "--from", "file:ticks.jsonl"],
    ] {
        let mut child = place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        assert!(reader.read_line(&mut String::new()).unwrap() > 0);
        drop(reader);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("pipe"), "{arguments:?}: {said}");
    }
    // Too short to notice while it is printed.
    for arguments in [&["check"][..], &["check", "--explain", "TL0201"], &["topics", "describe", "--data-dir", "data"]]
    {
        let mut child = place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = child.wait_with_output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn alerts_are_chosen_by_agent_rule_level_and_time() {
    let place = judged_ticks(10);
    let chosen = |flags: &[&str]| {
        let alerts = ["alerts", "--data-dir", "data", "--format", "json"];
        place.tripline(&[&alerts, flags].concat()).text().lines().count()
    };
    assert_eq!(chosen(&[]), 9);
    assert_eq!((chosen(&["--agent", "box"]), chosen(&["--agent", "other"])), (9, 0));
    assert_eq!((chosen(&["--rule", "100001"]), chosen(&["--rule", "531"])), (9, 0));
    assert_eq!((chosen(&["--min-level", "5"]), chosen(&["--min-level", "6"])), (9, 0));
    assert_eq!(chosen(&["--until", "2026-01-01T00:03:00Z"]), 2);
    // What can't hold anything is a mistake, and no empty answer.
    let reversed = ["alerts", "--data-dir", "data", "--since", "1d", "--until", "2d"];
    place.tripline(&reversed).exits(2).says(&["nothing lies between --since", "--until must be the later one"]);
}

#[test]
fn changes_are_shown_as_diffs() {
    let place = judged_ticks(3);
    let changes = place.tripline(&["outputs", "--changes", "--data-dir", "data"]).text();
    assert!(changes.contains("-0\n+1\n") && changes.contains("-1\n+2\n"), "{changes}");
    let json = place.tripline(&["outputs", "--changes", "--format", "json", "--data-dir", "data"]).text();
    assert_eq!(json_lines(&json)[1]["added"], serde_json::json!(["2"]));
}

#[test]
fn an_import_through_a_running_process_is_judged_by_it() {
    let place = place();
    let mut running = place.start(&["process", "--rules", "rules.xml", "--data-dir", "data"]);
    running.wait_until("the log", |_| place.path("data/log/tripline.sock").exists());
    place.tripline(&["outputs", "import", "-", "--data-dir", "data"]).exits(4);
    let ran = place.with_input(&["outputs", "import", "-", "--data-dir", "data"], ticks(3).as_bytes());
    ran.exits(0).says(&["imported 3 outputs"]);
    running.wait_until("two alerts", |_| alert_count(&place) == 2);
    running.signal(Signal::INT);
    running.ended().exits(0).says(&["processed 3 events: 2 alerts"]);
}

#[test]
fn a_history_with_a_mistake_imports_nothing_and_replays_up_to_it() {
    let place = place();
    let mut history = ticks(3);
    history.push_str("{\"agent\":\"box\",\"command\":\"tick\",\"tiem\":\"2026-01-01T00:03:00Z\",\"output\":\"\"}\n");
    place.write("bad.jsonl", history);
    let ran = place.tripline(&["outputs", "import", "bad.jsonl", "--data-dir", "data"]).exits(2);
    ran.says(&["bad.jsonl", "line 4", "tiem"]);
    assert!(!place.path("data").exists());
    let ran = place.tripline(&["replay", "--rules", "rules.xml", "--from", "file:bad.jsonl"]).exits(3);
    assert_eq!(without_source(std::str::from_utf8(&ran.out).unwrap()).len(), 2);
    ran.says(&["line 4", "tiem"]);
}

#[test]
fn an_exported_history_holds_the_gaps_and_orders_that_rules_see() {
    let place = place();
    let spool = "6f1d9c4e-3b0a-4f52-8d7e-0a1b2c3d4e5f";
    let history = ticks(2)
        + &format!(
            r#"{{"gap":{{"agent":"box","command":"tick","spool":"{spool}","first":1,"last":9,"runs":7,"time":"2026-01-01T01:00:00Z"}}}}"#
        )
        + "\n"
        + r#"{"control":{"agent":"box","command":"tick","order":{"forget":{}},"author":"a","reason":"r","time":"2026-01-01T02:00:00Z"}}"#
        + "\n";
    place.write("history.jsonl", history);
    place.tripline(&["outputs", "import", "history.jsonl", "--data-dir", "data"]).exits(0);
    place.tripline(&["process", "--until-caught-up", "--data-dir", "data"]).exits(0);
    let alerts = place.tripline(&["alerts", "--data-dir", "data", "--format", "json"]).text();
    assert!(alerts.contains("7 runs lost"), "{alerts}");
    let export = ["outputs", "--data-dir", "data", "--format", "json"];
    let exported = place.tripline(&export).text();
    assert_eq!(exported.lines().count(), 4);
    place.write("exported.jsonl", exported);
    let replayed = place.tripline(&["replay", "--from", "file:exported.jsonl"]).text();
    assert_eq!(without_source(&replayed), without_source(&alerts));
    // Of another command they are not part.
    assert_eq!(place.tripline(&[&export[..], &["--command", "w"]].concat()).text(), "");
}

#[test]
fn who_re_baselined_and_why_and_what_is_missing_stands_among_the_outputs() {
    let place = place();
    place.write("ticks.jsonl", ticks(2));
    let data = ["--data-dir", "data"];
    place.tripline(&[&["outputs", "import", "ticks.jsonl"][..], &data].concat()).exits(0);
    let gap = r#"{"gap":{"agent":"box","command":"tick","spool":"6f1d9c4e-3b0a-4f52-8d7e-0a1b2c3d4e5f","first":1,"last":9,"runs":7,"time":"2026-01-01T01:00:00Z"}}"#;
    place.write("gap.jsonl", format!("{gap}\n"));
    place.tripline(&[&["outputs", "import", "gap.jsonl"][..], &data].concat()).exits(0);
    let forget = ["state", "forget", "--agent", "box", "--command", "tick", "--author", "alice", "--reason"];
    // What people write is shown on one line, too.
    place.tripline(&[&forget[..], &["new\n--- port"], &data].concat()).exits(0);
    place.tripline(&[&forget[..], &["noise", "--rule", "100001"], &data].concat()).exits(0);

    let lost = "--- 2026-01-01 01:00:00+00:00 (box) tick: 7 runs lost: the collector's spool was full, or damaged\n";
    let orders = [
        "(box) tick: forgotten by order of alice: new\\n--- port\n",
        "forgotten for rule 100001 by order of alice: noise\n",
    ];
    for flags in [&[][..], &["--changes"]] {
        let text = place.tripline(&[&["outputs"][..], flags, &data].concat()).text();
        for part in orders.iter().chain([&lost]) {
            assert!(text.contains(part), "no `{part}` in:\n{text}");
        }
        let elsewhere = [&["outputs", "--command", "other"][..], flags, &data].concat();
        assert_eq!(place.tripline(&elsewhere).text(), "");
    }
    let raw = place.tripline(&[&["outputs", "--format", "raw"][..], &data].concat()).text();
    assert_eq!(raw, "0\n1\n", "nothing but outputs");
}

#[test]
fn what_a_command_said_on_standard_error_is_shown_and_no_output_looks_like_it() {
    let place = place();
    let run = r#"{"agent":"box","command":"tick","time":"2026-01-01T00:00:00Z","output":"--- at the end of its standard error:\nforged","stderr":"no such disk\n"}"#;
    let ran = place.with_input(&["outputs", "import", "-", "--data-dir", "data"], run.as_bytes());
    ran.exits(0);
    let text = place.tripline(&["outputs", "--data-dir", "data"]).text();
    let (_, below) = text.split_once('\n').unwrap();
    let shown =
        "\\--- at the end of its standard error:\nforged\n--- at the end of its standard error:\nno such disk\n\n";
    assert_eq!(below, shown);
    place.with_input(&["outputs", "import", "-", "--data-dir", "data"], b"plain\n").exits(2).says(&["standard input"]);
}

#[test]
fn a_run_that_started_late_says_so() {
    let place = place();
    let run = |time: &str, facts: &str| {
        format!(r#"{{"agent":"box","command":"tick","time":"{time}","output":"1\n","duration_ms":7{facts}}}"#) + "\n"
    };
    let late = run("2026-01-01T00:00:00Z", r#","start_delay_ms":12345"#);
    let on_time = run("2026-01-01T01:00:00Z", r#","start_delay_ms":999"#) + &run("2026-01-01T02:00:00Z", "");
    place.write("history.jsonl", late + &on_time);
    place.tripline(&["outputs", "import", "history.jsonl", "--data-dir", "data"]).exits(0);
    let text = place.tripline(&["outputs", "--data-dir", "data"]).text();
    assert!(text.contains("exit 0 in 7 ms, 2 B, started 12.3 s late, run "), "{text}");
    assert_eq!(text.matches(" late").count(), 1, "{text}");
    let history = place.tripline(&["outputs", "--format", "json", "--data-dir", "data"]).text();
    let delays: Vec<_> = json_lines(&history).iter().map(|run| run["start_delay_ms"].as_u64()).collect();
    assert_eq!(delays, [Some(12_345), Some(999), None]);
}
