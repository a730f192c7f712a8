//! The facts of the dialect, one by one.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// The tree in one line, such as `group(name=local) { rule(id=1) { match["a"] } }`, then the codes of all findings.
fn outline(text: impl AsRef<[u8]>) -> (String, Vec<&'static str>) {
    let text = text.as_ref();
    let mut findings = Findings::default();
    let document = parse(text, 0, &mut findings);
    let mut out = String::new();
    for element in &document.roots {
        write_element(element, text, &mut out);
    }
    for span in &document.stray {
        let _ = write!(out, "stray{:?}", shown(*span, text));
    }
    (out.trim_end().to_owned(), findings.into_sorted().iter().map(|finding| finding.code).collect())
}

fn shown(span: Span, text: &[u8]) -> String {
    String::from_utf8_lossy(&text[span.start as usize..span.end as usize]).into_owned()
}

fn write_element(element: &Element, text: &[u8], out: &mut String) {
    out.push_str(&element.name);
    let attributes: Vec<_> =
        element.attributes.iter().map(|a| format!("{}={}", a.name, shown(a.value, text))).collect();
    if !attributes.is_empty() {
        let _ = write!(out, "({})", attributes.join(" "));
    }
    for span in &element.texts {
        let piece = shown(*span, text);
        if element.children.is_empty() || !piece.trim().is_empty() {
            let _ = write!(out, "[{piece:?}]");
        }
    }
    if !element.children.is_empty() {
        out.push_str(" { ");
        for child in &element.children {
            write_element(child, text, out);
        }
        out.push('}');
    }
    out.push(' ');
}

#[track_caller]
fn reads(text: &str, outlined: &str) {
    assert_eq!(outline(text), (outlined.to_owned(), vec![]));
}

#[track_caller]
fn reports(text: &str, outlined: &str, codes: &[&str]) {
    assert_eq!(outline(text), (outlined.to_owned(), codes.to_vec()));
}

#[test]
fn a_file_has_several_roots() {
    reads("<a>1</a>\n<b/>\n<c></c>", r#"a["1"] b c"#);
}

#[test]
fn an_escaped_less_than_is_text_and_keeps_its_backslash() {
    reads(r"<regex>a \<b> \</regex> c</regex>", r#"regex["a \\<b> \\</regex> c"]"#);
    reads(r"<regex>\\<a</regex>", r#"regex["\\\\<a"]"#);
}

#[test]
fn there_are_no_entities() {
    reads("<match>&lt; & && &#65; &nothing;</match>", r#"match["&lt; & && &#65; &nothing;"]"#);
    reads("<a b=\"&amp;&\"/>", "a(b=&amp;&)");
}

#[test]
fn comments_of_both_forms_are_left_out() {
    reads("<!-- a --><a>1<!-- <b> & \\< -->2</a><!-- <a> -->", r#"a["1"]["2"]"#);
    reads("<! a !><a>1<! <b> -- > !>2</a><!!>", r#"a["1"]["2"]"#);
    reads("<!----><a/>", "a");
    reads("<!-- !> --><a/>", "a");
}

#[test]
fn names_ignore_case() {
    reads("<Group NAME=\"Local\"><RULE/></gROUP>", "group(name=Local) { rule }");
}

#[test]
fn a_byte_order_mark_and_a_declaration_are_skipped() {
    reads("\u{feff}<a/>", "a");
    reads("<?xml version=\"1.0\" encoding=\"latin-1\"?>\n<a/>", "a");
    reads("\u{feff}<?xml version='1.0'?><a/>", "a");
    reads("\u{feff}", "");
}

#[test]
fn white_space_is_kept() {
    reads("<match> cpu \n\t</match>", r#"match[" cpu \n\t"]"#);
    reads("<match>a\r\n</match>", r#"match["a\r\n"]"#);
}

#[test]
fn tags_may_hold_white_space_and_either_quote() {
    reads("<a\n  b = \"1\"\tc='2\"' ></a\n>", "a(b=1 c=2\")");
    reads("<a b=\"x > y < z / \"/>", "a(b=x > y < z / )");
    reads("<a b=\"1\nc\" d=\"2\"/>", "a(b=1\nc d=2)");
}

#[test]
fn places_are_those_of_the_original_bytes() {
    let text = "\u{feff}<!-- é --><a é=\"1\" b=\"ü\">\\<ä</a>";
    let mut findings = Findings::default();
    let document = parse(text.as_bytes(), 7, &mut findings);
    let a = &document.roots[0];
    assert_eq!(shown(a.tag, text.as_bytes()), "<a é=\"1\" b=\"ü\">");
    assert_eq!(shown(a.attributes[0].name_span, text.as_bytes()), "é");
    assert_eq!(shown(a.attributes[1].value, text.as_bytes()), "ü");
    assert_eq!(shown(a.texts[0], text.as_bytes()), "\\<ä");
    assert_eq!(a.tag.file, 7);
}

#[test]
fn mistakes_are_reported_and_reading_goes_on() {
    reports("<a>x < y</a><b/>", r#"a["x < y"] b"#, &["TL0003"]);
    reports("<a>1</a><<b/>", "a[\"1\"] b stray\"<\"", &["TL0003"]);
    reports("<a>1<b>2</a><c/>", r#"a["1"] { b["2"] } c"#, &["TL0007"]);
    reports("<a>1</a></b><c/>", r#"a["1"] c"#, &["TL0008"]);
    reports("<match>1</mach><c/>", r#"match["1"] c"#, &["TL0008"]);
    reports("<a>1</a x=\"2\"><c/>", r#"a["1"] c"#, &["TL0008"]);
    reports("<a b=\"1\" B='2'/>", "a(b=1)", &["TL0010"]);
    reports("<a b=\"1\"<c/></a>", "a { c }", &["TL0004"]);
    reports("<a>1</a", r#"a["1"]"#, &["TL0004"]);
    reports("<a", "a", &["TL0004", "TL0007"]);
    reports("<a b=1 c=\"2\"/><d/>", "a(c=2) d", &["TL0006"]);
    reports("<a b c=\"2\"/><d/>", "a(c=2) d", &["TL0006"]);
    reports("<a b=\"1>\n<c d=\"2\">3</c></a>", r#"a { c(d=2)["3"] }"#, &["TL0006"]);
    reports("<a b=\"1/>\n<c/>", "a { c }", &["TL0007", "TL0006"]);
    reports("<a>1<!-- <b/>", r#"a["1"]"#, &["TL0005"]);
    reports("<a/><?php x ?>", "a stray\"<?php x ?>\"", &["TL0003"]);
}

#[test]
fn what_is_not_utf_8_outside_of_texts_does_no_harm() {
    assert_eq!(outline(b"<!-- \xff --><a b=\"\xff\">\xff</a>\xff").0, "a(b=\u{fffd})[\"\u{fffd}\"] stray\"\u{fffd}\"");
    assert_eq!(outline(b"<a \xff=\"1\"/>").0, "a(\u{fffd}=1)");
}

#[test]
fn the_built_in_rules_are_read_whole() {
    let text = &crate::load::base_rules().text;
    let mut findings = Findings::default();
    let document = parse(text, 0, &mut findings);
    assert_eq!(findings.into_sorted(), []);
    assert_eq!(document.roots.len(), 8);
}

#[test]
fn long_rubbish_is_read_in_one_go_and_reported_briefly() {
    let most = FILE_BYTES_MAX / 16;
    let repeated = |part: &str| part.repeat(most / part.len());
    for part in [
        "<a>",
        "</a>",
        "<",
        "<a ",
        "<a b=\"",
        "<a '",
        "<a b='>\n\"",
        "<!",
        "<!--",
        "<!-->",
        "&",
        "\\<",
        "\u{e9}",
        "<a/>",
        "<a b=\"\"/>",
        " b=\"\"",
        "</aaaaaaaaaaaaa",
        "<?",
        "\n",
        "<rule>x</ruel>",
    ] {
        let (_, codes) = outline(repeated(part));
        assert!(codes.len() <= crate::finding::FINDINGS_PER_FILE_MAX + 1, "{part:?}: {}", codes.len());
    }
    let (_, codes) = outline(format!("<a {}>", " b=\"\"".repeat(1_000_000)));
    assert!(codes.len() <= ATTRIBUTES_MAX + 4, "{}", codes.len());
    let name = "a".repeat(1_000_000);
    assert_eq!(outline(format!("<{name}></{name}x>")).1, ["TL0007", "TL0008"]);
    assert_eq!(outline("x".repeat(FILE_BYTES_MAX + 1)).1, ["TL0001"]);
    assert_eq!(outline("<a/>".repeat(ELEMENTS_MAX + 10)).1, ["TL0015"]);
}

proptest! {
    #[test]
    fn masking_keeps_the_length_and_leaves_only_ascii(text in rubbish()) {
        let mut findings = Findings::default();
        let masked = mask::mask(&text, 0, &mut findings);
        prop_assert_eq!(masked.xml.len(), text.len());
        prop_assert!(masked.xml.is_ascii());
    }

    #[test]
    fn masking_leaves_nothing_that_quick_xml_refuses(text in rubbish()) {
        let mut findings = Findings::default();
        let masked = mask::mask(&text, 0, &mut findings);
        let mut reader = quick_xml::Reader::from_str(&masked.xml);
        reader.config_mut().check_end_names = false;
        reader.config_mut().allow_unmatched_ends = true;
        loop {
            match reader.read_event() {
                Ok(Event::Eof) => break,
                Ok(_) => {}
                Err(error) => prop_assert!(false, "{error} in {:?}", masked.xml),
            }
        }
    }

    #[test]
    fn any_text_gives_places_inside_of_it(text in rubbish()) {
        let mut findings = Findings::default();
        let document = parse(&text, 0, &mut findings);
        let mut next: Vec<&Element> = document.roots.iter().collect();
        while let Some(element) = next.pop() {
            prop_assert!(element.tag.start < element.tag.end && element.tag.end as usize <= text.len());
            prop_assert_eq!(text[element.tag.start as usize], b'<');
            for span in &element.texts {
                prop_assert!(span.start < span.end && span.end as usize <= text.len());
            }
            next.extend(&element.children);
        }
        for finding in findings.into_sorted() {
            let span = finding.span.expect("a place");
            prop_assert!(span.start <= span.end && span.end as usize <= text.len(), "{finding:?}");
        }
    }
}

/// Bytes that look like rule files often enough to reach every branch.
pub(crate) fn rubbish() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        8 => prop::sample::select(vec![
            "<", ">", "/", "</", "/>", "\"", "'", "=", "!", "?", "-", "--", "-->", "<!", "<!--", "!>", "<?", "?>", "\\", "\\<", "&",
            "$", ",", " ", "\n", "\r", "\t", "\u{feff}", "é", "a", "group", "rule", "match", "regex", "if_sid", "var", "name",
            "id", "level", "<rule id=\"1\" level=\"2\">", "</rule>", "<group name=\"a,\">", "</group>", "<match>", "</match>",
            "<if_sid>", "</if_sid>", "100100", "530", "<var name=\"A\">", "</var>", "$A", "]]>", "<![CDATA[", "<!DOCTYPE",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}
