//! The way of a line through the tree, as explanations show it.

use tripline_engine::MemoryState;
use tripline_engine::decision::{Outcome, Verdict};
use tripline_schemas::Format;
use tripline_schemas::event::Event;

use crate::world::{judge, rules, run};

const XML: &str = r#"
    <rule id="100100" level="9"><if_sid>530</if_sid><match>nowhere</match></rule>
    <rule id="100101" level="7" noalert="1"><if_sid>530</if_sid><match>ports</match></rule>
    <rule id="100102" level="5"><if_sid>100101</if_sid><match>ports</match><regex>\d+ ssh</regex></rule>
    <rule id="100103" level="4"><if_sid>530</if_sid><match>ports</match><check_diff /></rule>
    <rule id="100104" level="3"><if_sid>530</if_sid><match>ports</match></rule>
    <rule id="100105" level="2"><if_sid>530</if_sid><match>ports</match></rule>"#;

/// Depth, rule and outcome of every rule from 500 on that was tried.
fn tried(output: &str) -> (Vec<(u16, u32, Outcome)>, Verdict) {
    let decision =
        judge(&rules(XML), &mut MemoryState::default(), &Event::Output(run(Format::FullCommand, 1, 0, output)));
    let line = decision.lines.into_iter().next().expect("a line");
    let tried = line.tried.into_iter().filter(|tried| tried.rule >= 500);
    (tried.map(|tried| (tried.depth, tried.rule, tried.outcome)).collect(), line.verdict)
}

#[test]
fn rules_are_tried_depth_first_until_one_is_the_result() {
    use Outcome::{Fails, FirstSight, Holds};
    let (tried_rules, verdict) = tried("22 telnet");
    let expected = [
        (1, 500, Holds),
        (2, 530, Holds),
        (3, 100100, Fails("match")),
        (3, 100101, Holds),
        (4, 100102, Fails("regex")),
        (3, 100103, FirstSight),
        (3, 100104, Holds),
    ];
    assert_eq!(tried_rules, expected);
    assert_eq!(verdict, Verdict::Alert { rule: 100104, index: 0 });

    let (tried_rules, verdict) = tried("22 ssh");
    assert_eq!(tried_rules[2..], [(3, 100100, Fails("match")), (3, 100101, Holds), (4, 100102, Holds)]);
    assert_eq!(verdict, Verdict::Alert { rule: 100102, index: 0 });
}

#[test]
fn leaving_out_hopeless_rules_changes_no_answer() {
    let patterns = [
        "<match>disk</match>",
        "<match>^ossec: output: 'PORTS'</match>",
        "<match>kiss|tcp 22</match>",
        "<match>full$</match>",
        "<match>a</match>",
        "<match></match>",
        "<match>a$b</match>",
        "<regex>disk \\d+%</regex>",
        "<regex>(tcp|udp) \\d+ LISTEN</regex>",
        "<regex>kiss|\\w+ wors\\w</regex>",
        "<regex>größe</regex>",
        "<match>disk</match><regex>sda\\d</regex>",
    ];
    let rules_of = patterns.iter().zip(0..).map(|(pattern, place)| {
        // Each takes the line only if none above does, so that every order of outcomes is tried.
        format!(r#"<rule id="{}" level="{}"><if_sid>530</if_sid>{pattern}</rule>"#, 100_100 + place, 15 - place)
    });
    let rules = rules(&rules_of.collect::<String>().replace("<match></match>", "<match>|</match>"));
    let texts = [
        "disk sda1 97% FULL",
        "DIS\u{212a} 5%",
        "dis\u{212a} 5",
        "\u{17f}omething wor\u{17f}e",
        "kiss",
        "\u{212a}i\u{17f}s",
        "TCP 22 listen",
        "udp 53 listen",
        "GRÖSSE größe GRÖßE",
        "b\u{fffd}",
        "",
        "nothing",
        "x\nfull",
    ];
    for text in texts.iter().map(|text| text.as_bytes()).chain([&b"\xff disk \xfe"[..], b"dis\xe2\x84k"]) {
        for format in [Format::FullCommand, Format::Command] {
            // `judge` compares the answer that leaves rules out with the one that tries them all.
            judge(&rules, &mut MemoryState::default(), &Event::Output(run(format, 1, 0, text)));
        }
    }
}
