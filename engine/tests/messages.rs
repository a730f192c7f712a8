//! docs/messages.md is the table of codes. `TRIPLINE_BLESS=1 cargo test` writes it anew.

#![allow(clippy::disallowed_methods, reason = "tests read the pages that the engine does not read itself")]

use std::fmt::Write as _;
use std::path::Path;

use tripline_engine::finding::codes;

const INTRODUCTION: &str = r#"# Messages

Every finding of `tripline check` has a code. Codes never change their meaning, so they can stand in scripts and in
comments that allow a finding (see [rules.md](rules.md#allowing-a-finding)). `tripline check --explain CODE` prints what
stands here.

An *error* keeps the rules from being loaded; a *warning* says that a rule probably does not do what was meant; an *info*
is worth knowing.

`--format json` prints one object, `{"schema":"tripline/check/1","summary":{...},"findings":[...]}`. A finding has `code`, `severity`, `message`,
`file`, `span` (first byte and one past the last, each with line and column), `label` (what is said of this place), `labels` (further places),
`rule_id`, `note` (why it matters here), `help` (what to do here), `explanation` (`why` and `remedy`, what stands here of its code) and `fix`: where a slip of the finger is likely, the bytes of the file to replace
and what to put there. It is a guess (`"applicability":"maybe"`). A finding about no place has neither `file` nor `span` nor `label`.
"#;

/// What the first digits of a code stand for.
const FAMILIES: [(&str, &str); 10] = [
    ("TL00", "Files and markup"),
    ("TL01", "Ids"),
    ("TL02", "Where rules hang"),
    ("TL03", "Attributes and elements"),
    ("TL04", "State and scope"),
    ("TL05", "Rules that are never reached"),
    ("TL06", "Cost"),
    ("TL07", "Style, and comments that allow findings"),
    ("TL08", "Compatibility"),
    ("TL09", "Decoders and lists"),
];

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut family = "";
    for code in codes::ALL {
        if !code.code.starts_with(family) || family.is_empty() {
            family = &code.code[..4];
            let title = FAMILIES.iter().find(|(digits, _)| *digits == family).map_or("Others", |(_, title)| title);
            write!(page, "\n## {title}\n").expect("a string");
        }
        let (severity, title) = (code.severity.as_str(), code.title);
        write!(page, "\n### {}: {title}\n\n*{severity}.* {}\n\n{}\n", code.code, code.why, code.remedy)
            .expect("a string");
    }
    page
}

#[test]
fn the_page_of_messages_is_the_table_of_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/messages.md");
    let page = page();
    if std::env::var_os("TRIPLINE_BLESS").is_some() {
        std::fs::write(&path, &page).expect("a writable page");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/messages.md is not the table of codes: run `TRIPLINE_BLESS=1 cargo test -p tripline-engine`"
    );
}

#[test]
fn every_family_of_codes_has_a_title_and_every_title_a_code() {
    for (digits, title) in FAMILIES {
        assert!(codes::ALL.iter().any(|code| code.code.starts_with(digits)), "{title} is empty");
    }
    for code in codes::ALL {
        let is_in = |(digits, _): &(&str, &str)| code.code.starts_with(digits);
        assert!(FAMILIES.iter().any(is_in), "{} is of no family", code.code);
    }
}
