//! Findings as annotations of a GitHub workflow: bounded, errors first, and no rule text that could be a command.

use tripline_engine::finding::{self, Github};
use tripline_engine::{Orphans, Settings, SourceFile, check};

fn github(text: &str) -> Github {
    let files = [SourceFile { name: "rules/a,b.xml".to_owned(), text: text.into() }];
    let checked = check(&files, &Settings::default(), Orphans::Error);
    finding::to_github(&checked.findings, &files, checked.rule_count)
}

#[test]
fn a_finding_is_one_annotation_and_one_row() {
    let Github { annotations, summary } = github(
        "<group name=\"local,\">\n  <rule id=\"100100\" level=\"5\">\n    <if_sid>5300</if_sid>\n    <match>x</match>\n  \
         </rule>\n</group>\n",
    );
    assert_eq!(
        annotations,
        "::error file=rules/a%2Cb.xml,line=3,col=13,endLine=3,endColumn=17,title=TL0201::there is no rule 5300%0Anote: The \
         rule would hang nowhere and never be tried.%0Ahelp: did you mean `530`?\n::notice file=rules/a%2Cb.xml,line=2,col=3,endLine=2,endColumn=31,title=TL0701::the rule has no \
         description%0Anote: its alerts say `(null)` instead%0Ahelp: Add a `description`.\n"
    );
    assert_eq!(
        summary,
        "checked 1 rule in 1 file: 1 error, 0 warnings\n\n| | code | place | |\n| --- | --- | --- | --- |\n\
         | error | TL0201 | rules/a,b.xml:3 | there is no rule 5300 |\n\
         | info | TL0701 | rules/a,b.xml:2 | the rule has no description |\n"
    );
}

#[test]
fn ten_of_each_kind_are_annotated_and_all_are_in_the_table() {
    let rules: String =
        (0..30).map(|n| format!("<rule id=\"1000{n:02}\" level=\"5\"><if_sid>77</if_sid></rule>")).collect();
    let Github { annotations, summary } = github(&format!("<group name=\"local,\">{rules}</group>"));
    assert_eq!(annotations.matches("::error").count(), 10);
    assert_eq!(annotations.matches("::notice").count(), 10);
    assert!(annotations.starts_with("::error"));
    assert_eq!(summary.matches("\n| error").count(), 30);
}

#[test]
fn rule_text_is_no_command_and_no_markup() {
    let Github { annotations, summary } = github(
        "<group name=\"local,\"><rule id=\"1\" level=\"5\"><a|b[x](y)<c>\n::error::forged\r\u{1b}[2J</c></rule></group>",
    );
    assert!(annotations.lines().all(|line| line.starts_with("::")), "{annotations}");
    assert_eq!(annotations.lines().filter(|line| line.starts_with("::error::")).count(), 0, "{annotations}");
    assert!(!annotations.contains('\u{1b}') && !summary.contains('\u{1b}'));
    assert!(summary.lines().skip(2).all(|line| line.replace("\\|", "").matches('|').count() == 5), "{summary}");
}
