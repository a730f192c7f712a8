//! Rule files that nobody should have written: each is answered with findings that have a place, in bounded time and memory.

use tripline_engine::finding::{self, codes};
use tripline_engine::lint::LintInputs;
use tripline_engine::load::{CompileInputs, check_and_lint};
use tripline_engine::{Checked, Finding, Orphans, Settings, SourceFile};

/// What checking says of one file, with lints. Every finding of it can be shown in every format, and has a place.
fn checked(text: impl Into<Vec<u8>>) -> Checked {
    let file = SourceFile { name: "hostile.xml".to_owned(), text: text.into() };
    let inputs = CompileInputs::of_rules(std::slice::from_ref(&file));
    let commands = ["df -P".to_owned(), "uptime".to_owned()];
    let lints = LintInputs { commands: &commands, today: Some("2026-11-24".parse().expect("a date")) };
    let checked = check_and_lint(&inputs, &Settings::default(), Orphans::Error, &lints);
    let files = [file];
    let text = finding::render(&checked.findings, &files);
    assert!(text.len() < 4 << 20, "{} bytes of findings", text.len());
    finding::to_json(&checked.findings, &files, checked.rule_count);
    finding::to_github(&checked.findings, &files, checked.rule_count);
    for finding in &checked.findings {
        let is_about_all = finding.code == codes::NO_RULES.code;
        let span = finding.span.unwrap_or_default();
        assert!(is_about_all || finding.span.is_some_and(|span| span.start <= span.end), "{finding:?}");
        assert!(span.file == 0 && span.end as usize <= files[0].text.len(), "{finding:?}");
    }
    checked
}

fn codes_of(checked: &Checked) -> Vec<&'static str> {
    let mut codes: Vec<_> = checked.findings.iter().map(|finding| finding.code).collect();
    codes.dedup();
    codes
}

/// A group with one rule that has these elements.
fn rule(elements: &str) -> String {
    format!(
        "<group name=\"local,\">\n<rule id=\"100100\" level=\"5\">\n<if_sid>530</if_sid>\n{elements}\n\
         <description>x</description>\n</rule>\n</group>\n"
    )
}

fn only(checked: &Checked) -> &Finding {
    assert_eq!(checked.findings.len(), 1, "{:#?}", checked.findings);
    &checked.findings[0]
}

#[test]
fn a_file_of_100_megabytes_is_refused_unread() {
    let checked = checked(vec![b'<'; 100 << 20]);
    assert_eq!(only(&checked).code, codes::FILE_TOO_LARGE.code);
}

#[test]
fn a_million_levels_of_nesting_are_one_finding() {
    let open = "<a>".repeat(1_000_000);
    assert!(codes_of(&checked(open.clone())).contains(&codes::TOO_DEEP.code));
    let closed = format!("{open}{}", "</a>".repeat(1_000_000));
    assert!(codes_of(&checked(closed)).contains(&codes::TOO_DEEP.code));
    let steps = "<check_diff>".repeat(100_000);
    assert!(codes_of(&checked(rule(&steps))).contains(&codes::TOO_DEEP.code));
}

#[test]
fn groups_within_groups_of_a_pattern_are_bounded() {
    for (open, close) in [("(", ")"), ("(\\w|", ")+")] {
        let pattern = format!("<regex>{}x{}</regex>", open.repeat(600), close.repeat(600));
        let text: String = pattern.chars().take(2000).collect();
        let checked = checked(rule(&format!("{text}</regex>")));
        assert!(checked.rules.is_none(), "{text}");
    }
}

#[test]
fn entities_are_told_and_expand_to_nothing() {
    let laughs = "<!DOCTYPE lolz [\n<!ENTITY a \"ha\">\n<!ENTITY b \"&a;&a;&a;\">\n]>\n";
    let checked_laughs = checked(format!("{laughs}{}", rule("<match>&b;</match>")));
    // `<!` begins OSSEC's short comment, which ends at `!>`.
    assert_eq!(codes_of(&checked_laughs)[0], codes::COMMENT_NOT_CLOSED.code);
    let ends = checked(format!("{laughs}!>{}", rule("<match>&b; abc</match>")));
    assert_eq!(codes_of(&ends), [codes::ENTITY.code]);
    for text in ["&#x41;", "&#60;", "a &lt; b", "&&amp;", "&gt;", "&quot;", "&apos;"] {
        let told = checked(rule(&format!("<match>{text} abc</match>")));
        assert_eq!(codes_of(&told), [codes::ENTITY.code], "{text}");
    }
    let plain = checked(rule("<match>&b; &# &#x; &#x110000; a&lt b &amp</match>"));
    assert!(plain.findings.is_empty(), "{:#?}", plain.findings);
}

#[test]
fn variables_that_double_do_not_grow() {
    let mut text = "<var name=\"V0\">aaaaaaaaaaaaaaaa</var>\n".to_owned();
    for level in 1..100 {
        let before = level - 1;
        text.push_str(&format!("<var name=\"V{level}\">$V{before},$V{before}</var>\n"));
    }
    let checked = checked(format!("{text}{}", rule("<match>$V99</match>")));
    assert!(codes_of(&checked).contains(&codes::TEXT_TOO_LONG.code), "{:?}", codes_of(&checked));
}

#[test]
fn numbers_out_of_range_are_findings_with_their_place() {
    for (tag, code) in [
        (r#"<rule id="0" level="5">"#, codes::BAD_ID.code),
        (r#"<rule id="-5" level="5">"#, codes::BAD_NUMBER.code),
        (r#"<rule id="99999999999999999999999999" level="5">"#, codes::NUMBER_SHORTENED.code),
        (r#"<rule id="100100" level="99999999999999999999">"#, codes::NUMBER_SHORTENED.code),
        (r#"<rule id="100100" level="5" ignore="1e9">"#, codes::BAD_NUMBER.code),
        (r#"<rule id="100100" level="0x10">"#, codes::BAD_NUMBER.code),
        (r#"<rule id="" level="">"#, codes::BAD_NUMBER.code),
    ] {
        let text = rule("<match>abc</match>").replace("<rule id=\"100100\" level=\"5\">", tag);
        let checked = checked(text);
        let finding = checked.findings.iter().find(|finding| finding.code == code);
        let finding = finding.unwrap_or_else(|| panic!("{tag}: {:#?}", checked.findings));
        assert!(finding.span.is_some_and(|span| span.start >= 22), "{finding:?}");
    }
    for elements in [
        "<run_exit_code>99999999999999999999</run_exit_code>",
        "<run_duration>> 999999999999999d</run_duration>",
        "<run_output_size>-1</run_output_size>",
        "<check_diff><columns keep=\"99999999999999999999\"/></check_diff>",
        "<check_diff><skip_header>18446744073709551616</skip_header></check_diff>",
    ] {
        let checked = checked(rule(elements));
        assert!(checked.rules.is_none(), "{elements}: {:?}", checked.findings);
    }
}

#[test]
fn an_if_sid_of_hundreds_of_parents_in_hundreds_of_rules_is_read() {
    let parents: Vec<String> = (0..340).map(|n| (100_000 + n).to_string()).collect();
    let parents = parents.join(",");
    assert!(parents.len() < 2048 + 400);
    let parents = &parents[..2030];
    let parents = &parents[..parents.rfind(',').expect("many")];
    let rules: String = (0..800)
        .map(|n| {
            let parent = if n < 340 { "530" } else { parents };
            format!("<rule id=\"{}\" level=\"3\"><if_sid>{parent}</if_sid><match>m{n}</match></rule>\n", 100_000 + n)
        })
        .collect();
    let checked = checked(format!("<group name=\"local,\">{rules}</group>"));
    assert!(checked.rules.is_some(), "{:#?}", &checked.findings[..checked.findings.len().min(5)]);
}

#[test]
fn thousands_of_alike_siblings_are_compared_in_bounded_work() {
    let rules: String = (0..3000)
        .map(|n| {
            format!("<rule id=\"{}\" level=\"3\"><if_sid>530</if_sid><match>text {n} end</match></rule>\n", 100_000 + n)
        })
        .collect();
    let checked = checked(format!("<group name=\"local,\">{rules}</group>"));
    assert!(checked.rules.is_some());
}

#[test]
fn rules_below_each_other_with_many_beginnings_are_compared_in_bounded_work() {
    let rules: String = (0..3000)
        .map(|n| {
            let (depth, id) = (n % 50, 100_000 + n);
            let parent = if depth == 0 { 500 } else { id - 1 };
            // What two of them have in common is the last that is compared.
            let beginnings: String = (0..220).map(|text| format!("^a{depth:02}{text:03}|")).collect();
            format!("<rule id=\"{id}\" level=\"3\"><if_sid>{parent}</if_sid><match>{beginnings}^b</match></rule>\n")
        })
        .collect();
    let checked = checked(format!("<group name=\"local,\">{rules}</group>"));
    assert!(checked.rules.is_some(), "{:#?}", &checked.findings[..checked.findings.len().min(5)]);
}

#[test]
fn contradictions_are_findings() {
    for (text, code) in [
        (rule("<check_diff><columns keep=\"1\" drop=\"1\"/></check_diff>"), codes::BAD_STEP.code),
        (rule("<options>log_alert</options><options>no_log</options><match>abc</match>"), codes::CONTRADICTION.code),
        (rule("<match>abc</match>").replace("level=\"5\"", "level=\"0\" ignore=\"60\""), codes::CONTRADICTION.code),
        (rule("<match>abc</match>").replace("level=\"5\"", "level=\"5\" level=\"6\""), codes::REPEATED_ATTRIBUTE.code),
        (rule("<match>abc</match>").replace("level=\"5\"", "level=\"5\" noalert=\"no\""), codes::VALUE_IGNORED.code),
        (rule("<match on=\"added\">abc</match>"), codes::NO_CHANGE.code),
        (rule("<ignore_key>abc</ignore_key>"), codes::VALUE_IGNORED.code),
    ] {
        let checked = checked(text.clone());
        assert!(codes_of(&checked).contains(&code), "{text}: {:?}", codes_of(&checked));
    }
}

#[test]
fn patterns_that_would_explode_are_refused_or_cheap() {
    let many_groups = format!("<regex>{}</regex>", r"(\w+|\d+|\S+)".repeat(120));
    let repeats = format!("<regex>{}</regex>", r"\.*\S+".repeat(300));
    for elements in [
        many_groups.as_str(),
        repeats.as_str(),
        "<pcre2>(((a{1,1000}){1,1000}){1,1000}){1,1000}</pcre2>",
        "<pcre2>(a+)+$</pcre2>",
        r"<pcre2>(\w+\s?)*(\1)$</pcre2>",
        "<check_diff><replace with=\"\">(\\S+\\S+)+</replace></check_diff>",
    ] {
        let checked = checked(rule(elements));
        let refused = [codes::BAD_PATTERN.code, codes::NOT_SUPPORTED.code];
        let found = codes_of(&checked);
        assert!(checked.rules.is_some() || found.iter().any(|code| refused.contains(code)), "{elements}: {found:?}");
    }
}

#[test]
fn suppressions_without_end_are_bounded() {
    let comments = "<!-- tripline: allow TL0601 because of x -->\n".repeat(150_000);
    let checked = checked(format!("{comments}{}", rule("<match>abc</match>")));
    assert!(checked.rules.is_some());
    let unfinished = "<!-- tripline: allow".repeat(100_000);
    self::checked(format!("{}{unfinished}", rule("<match>abc</match>")));
}

#[test]
fn any_cut_of_a_file_is_answered() {
    let whole = rule(
        "<match on=\"added\">x|y</match><check_diff><trim/><replace with=\"\\1\">(\\d+)</replace><columns drop=\"2-\"/>\
         </check_diff><run_duration>>= 30s</run_duration><ignore_key>(\\w+)</ignore_key>\
         <!-- tripline: allow TL0601 until 2027-01-31 because of it -->",
    );
    for end in 0..=whole.len() {
        let cut = checked(&whole.as_bytes()[..end]);
        assert!(end == whole.len() || end + 1 >= whole.len() || cut.rules.is_none(), "{}", &whole[..end]);
    }
    assert!(checked(whole).rules.is_some());
}

#[test]
fn any_byte_in_any_place_is_answered() {
    let whole =
        rule("<check_diff><columns keep=\"1,3-\"/><sort/></check_diff><added_lines>1-5</added_lines>").into_bytes();
    for at in 0..whole.len() {
        for byte in [0, b'<', b'>', b'"', b'\\', b'$', b'&', 0xff] {
            let mut text = whole.clone();
            text[at] = byte;
            checked(text);
        }
    }
}
