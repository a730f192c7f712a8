//! Trying things out: one run of a command, a pasted line, what is remembered.

use super::common::json_lines;
use super::{judged_ticks, place};

#[test]
fn a_command_is_run_once_and_nothing_is_kept() {
    let place = place();
    let ran = place.tripline(&["collect", "--once", "bytes"]).exits(0);
    assert_eq!(ran.out, b"\xff\xfea\0b\r\n");
    ran.says(&["exit code 0", "7 B"]);
    place.tripline(&["collect", "--once", "nope"]).exits(2).says(&["no command `nope`", "tick, bytes"]);
    assert!(!place.path("tripline-data").exists());

    place.write("more.toml", "[[command]]\nname = 'hang'\ncommand = 'echo begun; sleep 60'\ntimeout = '300ms'\n");
    let ran = place.tripline(&["collect", "--commands", "more.toml", "--once", "hang"]).exits(1);
    ran.says(&["timed out after 300 ms", "no observation"]);
    place.tripline(&["collect"]).exits(2).says(&["--kafka", "tripline run"]);
}

#[test]
fn a_pasted_line_shows_the_rules_it_passes() {
    let place = place();
    let line = b"ossec: output: 'df -P': /dev/sda1 9 9 0 100% /\nsomething else\n";
    let shown = place.with_input(&["logtest"], line).text();
    for part in ["531 holds", "532 does not hold: regex", "=> rule 531", "** Alert ", "box->stdin", "=> no rule"] {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    // The text alone, under a command's name; alerts only.
    let shown = place.with_input(&["logtest", "--command", "df -P", "-a"], b"/dev/sda1 9 9 0 100% /\n").text();
    assert!(shown.starts_with("** Alert ") && shown.contains("box->df -P\n"), "{shown}");
    // A whole output.
    let whole = ["logtest", "--command", "tick", "--full", "--rules", "rules.xml"];
    let shown = place.with_input(&whole, b"a\nb\n").text();
    assert!(shown.contains("ossec: output: 'tick':\na\nb\n") && shown.contains("100001 first sight"), "{shown}");
}

#[test]
fn the_last_output_of_a_command_is_judged_again() {
    let place = judged_ticks(3);
    let logtest = ["logtest", "--data-dir", "data", "--rules", "rules.xml", "--agent", "box", "--command"];
    let shown = place.tripline(&[&logtest[..], &["tick"]].concat()).text();
    assert!(shown.contains("100001 holds") && shown.contains("\n2\nPrevious output:\n"), "{shown}");
    place.tripline(&[&logtest[..], &["nope"]].concat()).exits(4).says(&["no output of `nope` from agent `box`"]);
    place.tripline(&["logtest", "--agent", "box"]).exits(2).says(&["--command"]);
}

#[test]
fn what_is_remembered_is_shown() {
    let place = judged_ticks(3);
    let state = ["state", "--data-dir", "data"];
    let shown = place.tripline(&[&state[..], &["--texts"]].concat()).text();
    for part in
        ["(box) tick\n", "rule 100001: was the result 2 times", "baseline: ", "| ossec: output: 'tick':\n", "| 2\n"]
    {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    let json = place.tripline(&[&state[..], &["--command", "tick", "--format", "json"]].concat()).text();
    assert_eq!(json_lines(&json)[0]["key"]["command"], "tick");
    place.tripline(&[&state[..], &["--agent", "other"]].concat()).exits(4);
}

#[test]
fn topics_are_described_with_what_they_hold() {
    let place = judged_ticks(3);
    let shown = place.tripline(&["topics", "describe", "--data-dir", "data"]).text();
    assert!(shown.contains("tripline.outputs (kept for 336h)\n  partition 0: offsets 0 to 3\n"), "{shown}");
    assert!(shown.contains("tripline.alerts (kept for 2160h)\n  partition 0: offsets 0 to 2\n"), "{shown}");
    let refused = place.tripline(&["topics", "create", "--partitions", "4", "--data-dir", "data"]).exits(5);
    refused.says(&["tripline.outputs", "1 partition", "4"]);
}

/// The table of exit codes, where no other test has a line of it.
#[test]
fn exit_codes_tell_programs_how_it_ended() {
    let place = place();
    place.write("empty.jsonl", "\n");
    let warned = "<group name=\"g,\">\n  <rule id=\"100001\" level=\"99\">\n    <if_sid>530</if_sid>\n    \
                  <description>d</description>\n  </rule>\n</group>\n";
    place.write("warned.xml", warned);
    place.tripline(&["--version"]).exits(0);
    place.tripline(&["check", "rules.xml"]).exits(0);
    place.tripline(&["check", "warned.xml"]).exits(1);
    place.tripline(&["replay", "--from", "file:nowhere.jsonl"]).exits(2).says(&["nowhere.jsonl"]);
    place.tripline(&["replay", "--from", "file:empty.jsonl"]).exits(4);
    place.tripline(&["outputs", "import", "empty.jsonl", "--data-dir", "data"]).exits(4);
    assert!(!place.path("data").exists());
}
