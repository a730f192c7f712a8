//! Alerts as text: what hostile outputs can't do in them.

use jiff::tz::TimeZone;
use tripline_engine::{MemoryState, format};
use tripline_schemas::Format;
use tripline_schemas::alert::Alert;
use tripline_schemas::event::Event;

use crate::world::{judge, rules, run};

const XML: &str = r#"
    <rule id="100100" level="7"><if_sid>530</if_sid><match>ports</match><check_diff />
        <description>Changed.</description></rule>"#;

/// The alert of an output that changed from one text to another.
fn change(before: &str, after: &str) -> Alert {
    let mut state = MemoryState::default();
    let rules = rules(XML);
    judge(&rules, &mut state, &Event::Output(run(Format::FullCommand, 1, 0, before)));
    let decision = judge(&rules, &mut state, &Event::Output(run(Format::FullCommand, 2, 60, after)));
    decision.alerts.into_iter().next().expect("a change is an alert")
}

const FORGED: &str = "x

** Alert 1257451341.28290: mail  - ossec,
2009 Nov 05 16:02:21 (bank) 10.0.0.1->df -h
Rule: 1002 (level 15) -> 'Forged.'
Src IP: (none)
Dst Port: 22
User: (none)
Previous output:
Portion of the log(s):
Received From: bank->df
OSSEC HIDS Notification.
Changes:
Note: nothing
--END OF NOTIFICATION
   --END OF NOTIFICATION
last";

#[test]
fn no_output_can_forge_a_part_of_an_alert() {
    for alert in [change("a", FORGED), change(FORGED, "a")] {
        let block = format::ossec(&alert, 1, &TimeZone::UTC);
        let mail = format::mail(&alert, &TimeZone::UTC);
        let count = |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        for (start, in_block, in_mail) in [
            ("** Alert", 1, 0),
            ("Rule:", 1, 1),
            ("Src IP:", 1, 0),
            ("Dst Port:", 0, 0),
            ("User:", 1, 0),
            ("Previous output:", 1, 1),
            ("OSSEC HIDS Notification", 0, 1),
            ("Received From:", 0, 1),
            ("Portion of the log(s):", 0, 1),
            ("Changes:", 1, 1),
            ("Note:", 0, 0),
        ] {
            assert_eq!((count(&block, start), count(&mail, start)), (in_block, in_mail), "{start}\n{block}\n{mail}");
        }
        let ends = |text: &str| text.lines().filter(|line| line.trim() == "--END OF NOTIFICATION").count();
        assert_eq!((ends(&block), ends(&mail)), (0, 1));
        assert!(block.contains("\n\\** Alert 1257451341.28290"), "the line is shown, marked");
    }
}

#[test]
fn no_output_can_drive_a_terminal() {
    let hostile = "a\x1b[2J\x07\r\x08\u{9b}31m\u{202e}txt\u{2028}\x7f\ttab";
    let mut alert = change("", hostile);
    alert.location = format!("(web-1\n** Alert) any->{hostile}");
    alert.rule.description = Some(format!("x\n{hostile}"));
    alert.rule.groups = vec![hostile.to_owned()];
    let harmless = |character: char| {
        let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
        !turns && (!character.is_control() || matches!(character, '\n' | '\t'))
    };
    let block = format::ossec(&alert, 1, &TimeZone::UTC);
    for form in [&block, &format::mail(&alert, &TimeZone::UTC), &format::json(&alert)] {
        assert!(form.chars().all(harmless), "{form:?}");
    }
    assert!(block.contains("\na\\x1b[2J\\x07\\r\\x08\\u{9b}31m\\u{202e}txt\\u{2028}\\x7f\ttab\n"), "{block}");
    assert_eq!(block.lines().filter(|line| line.starts_with("** Alert")).count(), 1);
    assert_eq!(block.lines().nth(1).map(|line| line.contains("(web-1\\n** Alert) any->a\\x1b[2J")), Some(true));
}

#[test]
fn json_is_one_line_that_reads_back_as_the_alert() {
    let alert = change("a\u{9b}", "b\n\u{202e}\u{7f}\x1b");
    let line = format::json(&alert);
    assert!(!line.contains('\n'));
    assert_eq!(serde_json::from_str::<Alert>(&line).expect("an alert"), alert);
    let plain = change("a", "b");
    assert_eq!(format::json(&plain), serde_json::to_string(&plain).expect("JSON"));
}

#[test]
fn the_block_shows_both_outputs_what_changed_and_what_a_reader_must_know() {
    let mut alert = change("", "b\nc");
    alert.suppressed = 3;
    alert.returned = 1;
    alert.run.late = true;
    alert.run.clamped = true;
    alert.run.truncated_from = Some(2_000_000);
    alert.cut.insert("full_log".to_owned(), 70_000);
    alert.rule.description = None;
    alert.rule.mail = false;
    let zone = TimeZone::get("America/New_York").expect("zones are compiled in");
    let block = "\
** Alert 1700000060.7: - local,
2023 Nov 14 17:14:20 web-1->ports
Rule: 100100 (level 7) -> '(null)'
Src IP: (none)
User: (none)
ossec: output: 'ports':
b
c
[cut here; 70000 bytes in full]
Previous output:
ossec: output: 'ports':
Changes:
+b
+c
Note: held back since the last alert of this rule: 3, in between back to the previous output: 1
Note: the output was truncated, its full size is 2000000 bytes
Note: this run reached the log late, or after a later one
Note: the run's clock was ahead, the time shown is when the log received it

";
    assert_eq!(format::ossec(&alert, 7, &zone), block);
}
