//! The facts about both dialects as tables, and both against the reference over random patterns and texts.

use proptest::prelude::*;

use super::reference::{self, Reference};
use super::{OsMatch, OsRegex, PATTERN_BYTES_MAX, PatternError};

#[track_caller]
fn check_match(pattern: &str, fitting: &[&[u8]], others: &[&[u8]]) {
    let compiled = OsMatch::new(pattern).unwrap();
    check(pattern, fitting, others, |text| compiled.is_match(text), |text| reference::os_match(pattern, text));
}

#[track_caller]
fn check_regex(pattern: &str, fitting: &[&[u8]], others: &[&[u8]]) {
    let compiled = OsRegex::new(pattern).unwrap();
    let plain = Reference::read(pattern).unwrap();
    check(pattern, fitting, others, |text| compiled.is_match(text), |text| plain.captures(text).is_some());
}

#[track_caller]
fn check(
    pattern: &str,
    fitting: &[&[u8]],
    others: &[&[u8]],
    is_match: impl Fn(&[u8]) -> bool,
    reference: impl Fn(&[u8]) -> bool,
) {
    for (texts, fits) in [(fitting, true), (others, false)] {
        for text in texts {
            assert_eq!(is_match(text), fits, "`{pattern}` on `{}`", text.escape_ascii());
            assert_eq!(reference(text), fits, "the reference: `{pattern}` on `{}`", text.escape_ascii());
        }
    }
}

#[track_caller]
fn refused(pattern: &str) -> PatternError {
    let error = OsRegex::new(pattern).expect_err(pattern);
    assert!(Reference::read(pattern).is_none(), "the reference reads `{pattern}`");
    error
}

#[test]
fn os_match_takes_everything_but_bars_and_anchors_literally() {
    check_match("disk full", &[b"disk full", b"the DISK FULL now"], &[b"disk  full", b"diskfull", b"disk ful", b""]);
    check_match("10.0.0.1", &[b"from 10.0.0.1 ok", b"10.0.0.12"], &[b"10a0b0c1", b"10 0 0 1"]);
    check_match(r"C:\Windows", &[br"C:\Windows", br"c:\windows\system32"], &[b"C:Windows", br"C:\\Windows"]);
    check_match("a*", &[b"xa*"], &[b"aaa", b"", b"x"]);
    check_match("(a)", &[b"(a)"], &[b"a"]);
    check_match("[a]{2}?+", &[b"[a]{2}?+"], &[b"a", b"aa"]);
    check_match("!x", &[b"a!x"], &[b"x", b"y"]);
    check_match(" cpu ", &[b"a cpu b", b"a  cpu  b"], &[b"cpu b", b"a cpu", b"acpub"]);
    check_match(r"a\|b", &[br"a\", b"b"], &[b"a|"]);
}

#[test]
fn os_match_anchors_hold_for_their_alternative_and_the_whole_text() {
    check_match("^error", &[b"ERROR here", b"errors"], &[b"an error", b" error", b"erro", b"x\nerror"]);
    check_match("ok$", &[b"not OK", b"ok"], &[b"ok ", b"ok\n"]);
    check_match("^ok$", &[b"ok", b"OK"], &[b"ok ", b"okay", b"not ok", b" ok", b"ok\n"]);
    check_match("^abab$", &[b"abab"], &[b"ab", b"aba", b"ababab"]);
    check_match("^alpha|beta", &[b"alpha x", b"x beta", b"xbetax"], &[b"x alpha", b"zzz"]);
    check_match("alpha|beta$", &[b"xx alpha yy", b"xx beta"], &[b"xx beta yy", b"bet"]);
    check_match("^disk|risk$", &[b"Disk x", b"a RISK"], &[b"a disk", b"risk x"]);
}

#[test]
fn os_match_anchors_inside_never_fit() {
    check_match("a$b", &[], &[b"a$b", b"ab", b"a", b"b", b"a$", b"xa$by"]);
    check_match("a^b", &[], &[b"a^b", b"ab", b"a", b"b"]);
    check_match("a$b|c", &[b"c"], &[b"a$b", b"ab"]);
    check_match("a^", &[], &[b"a", b"a^", b""]);
    check_match("$a", &[], &[b"a", b"$a"]);
    assert_eq!(OsMatch::new("a$b").unwrap().required_literals(), Some([].as_slice()));
}

#[test]
fn an_empty_os_match_alternative_fits_everything() {
    for pattern in ["zzz|", "|zzz", "^a|", "^", "$", "|", "", "a||b", "^^"] {
        check_match(pattern, &[b"zzz", b"anything", b"0", b" ", b"", b"\xFF"], &[]);
        assert_eq!(OsMatch::new(pattern).unwrap().required_literals(), None, "{pattern}");
    }
    check_match("^$", &[b""], &[b"a", b" "]);
}

#[test]
fn os_match_folds_case_by_unicode_except_a_single_anchored_literal() {
    check_match("é", &["É x".as_bytes(), "x é".as_bytes()], &[b"e"]);
    check_match("^é|zzz", &["É x".as_bytes(), b"ZZZ"], &["x é".as_bytes()]);
    check_match("^É", &["É x".as_bytes()], &["é x".as_bytes(), "x É".as_bytes()]);
    check_match("É$", &["x É".as_bytes()], &["x é".as_bytes()]);
    check_match("^xÉ$", &["XÉ".as_bytes()], &["xé".as_bytes()]);
    // The long s and the Kelvin sign are an s and a k to Unicode, and to PCRE2.
    check_match("disk", &["di\u{17F}k".as_bytes(), "DIS\u{212A}".as_bytes()], &["di\u{17E}k".as_bytes()]);
    check_match("^disk", &[b"DISK"], &["di\u{17F}k".as_bytes()]);
    check_match("^disk|x", &["di\u{17F}k".as_bytes()], &["a di\u{17F}k".as_bytes()]);
}

#[test]
fn many_and_long_os_match_alternatives_are_all_found() {
    let words: Vec<String> = (0..60).map(|number| format!("word{number:02}")).collect();
    check_match(&words.join("|"), &[b"word00", b"word59", b"a WORD33 b"], &[b"word60", b"word5"]);
    let long = "ab".repeat(100);
    check_match(&long, &[format!("x{}", long.to_uppercase()).as_bytes()], &[&long.as_bytes()[1..]]);
    let longest = "x".repeat(PATTERN_BYTES_MAX);
    check_match(&longest, &[longest.as_bytes()], &[&longest.as_bytes()[1..]]);
}

#[test]
fn patterns_fit_around_bytes_that_are_not_utf_8() {
    check_match("^load", &[b"load 2 \xE9"], &[b"\xE9load"]);
    check_match("load", &[b"load 2 \xE9", b"\xE9load"], &[b"lo\xE9ad"]);
    check_match("é|x", &[b"\xC3\xC3\xA9", b"\xFFx"], &[b"\xC3", b"\xA9"]);
    check_regex("load", &[b"\xE9load"], &[b"lo\xE9ad"]);
    check_regex(r"load \d+", &[b"\xE9 load 2"], &[b"load \xE9"]);
    check_regex(r"^a\.b$", &[b"a\xE9b", b"a\xC3\xA9b"], &[b"a\xE9\xE9b", b"a\xC3\xA9\xE9b"]);
    check_regex(r"^a\.\.b$", &[b"a\xE2\x82b", b"a\xE9\xC3\xA9b"], &[b"a\xC3\xA9b"]);
    check_regex(r"^\W\D\S$", &[b"\xE9\xFF\x80"], &[b"\xE9\xFF"]);
    check_regex(r"^\w+$", &[b"ab"], &[b"a\xE9b"]);
    check_regex("\u{FFFD}", &["\u{FFFD}".as_bytes()], &[b"\xE9"]);
}

#[test]
fn os_regex_sets_hold_what_ossec_puts_in_them() {
    let members = |escape: &str| -> String {
        let compiled = OsRegex::new(&format!("^{escape}$")).unwrap();
        (' '..='~').filter(|it| compiled.is_match(it.to_string().as_bytes())).collect()
    };
    let word = "-0123456789@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
    let others = |set: &str| -> String { (' '..='~').filter(|it| !set.contains(*it)).collect() };
    assert_eq!(members(r"\w"), word);
    assert_eq!(members(r"\W"), others(word));
    assert_eq!(members(r"\d"), "0123456789");
    assert_eq!(members(r"\D"), others("0123456789"));
    assert_eq!(members(r"\s"), " ");
    assert_eq!(members(r"\S"), others(" "));
    assert_eq!(members(r"\p"), r##"!"#$%&'()*+,-.:;<=>?[]{|}"##);
    assert_eq!(members(r"\."), others(""));
    assert_eq!(members(r"\t"), "");

    check_regex(r"^\w$", &[b"a"], &["é".as_bytes(), "\u{17F}".as_bytes(), "\u{212A}".as_bytes()]);
    check_regex(r"^\W+$", &[b"...", b"$$", "é".as_bytes(), b"/:/", b" \n"], &[b"a", b"--", b"@", b"_", b""]);
    check_regex(r"\d+", &[b"a1", b"2024", b"x9y"], &[b"abc", b"-", "١٢".as_bytes()]);
    check_regex(r"a\sb", &[b"a b", b"A B"], &[b"a\tb", b"ab", b"a  b", "a\u{A0}b".as_bytes()]);
    check_regex(r"a\Sb", &[b"a\tb", b"a\nb", "a\u{A0}b".as_bytes()], &[b"a b"]);
    check_regex(r"a\tb", &[b"a\tb"], &[b"ab", b"atb", br"a\tb"]);
    check_regex(r"^a\pb$", &[b"a(b", b"a?b", b"a|b"], &[b"axb", b"a b", b"ab"]);
}

#[test]
fn os_regex_any_character_is_one_code_point_or_a_line_break() {
    check_regex(r"a\.+b", &[b"axb", b"a1234b", b"a b", b"a\nb"], &[b"ab", b"b a"]);
    check_regex(r"a\.*b", &[b"ab", b"a\n\nb"], &[b"ba"]);
    check_regex(
        r"^à\.é$",
        &["à€é".as_bytes(), "àxé".as_bytes(), "À\nÉ".as_bytes()],
        &["àé".as_bytes(), "àxxé".as_bytes()],
    );
}

#[test]
fn os_regex_takes_other_characters_literally() {
    check_regex("^a.b$", &[b"a.b", b"A.B"], &[b"axb", b"ab"]);
    check_regex("ab*c", &[b"ab*c"], &[b"abbc", b"ac", b"abc"]);
    check_regex("a+", &[b"a+"], &[b"a", b"aa"]);
    check_regex("(ab)+", &[b"ab+"], &[b"ab", b"abab"]);
    check_regex("+", &[b"a+b"], &[b"ab"]);
    check_regex("ab?c", &[b"ab?c"], &[b"ac", b"abc"]);
    check_regex("a{2}", &[b"a{2}"], &[b"aa"]);
    check_regex("[ab]", &[b"[ab]"], &[b"a"]);
    check_regex(r"cost \$\d", &[b"cost $5", b"COST $9"], &[b"cost 5", b"cost $"]);
    check_regex(r"a\|b", &[b"a|b"], &[b"a", b"b"]);
    check_regex(r"\<tag>", &[b"<TAG>"], &[b"tag", b"< tag>"]);
    check_regex(r"\\\(\)\[\]\{\}", &[br"\()[]{}"], &[b"()[]{}"]);
    check_regex("a b~#&-", &[b"a b~#&-"], &[b"ab"]);
}

#[test]
fn os_regex_repeats_only_two_after_a_backslash() {
    check_regex(r"x\)+y", &[b"x)y", b"x))y"], &[b"xy", b"x)+y"]);
    check_regex(r"a\\d+", &[br"a\d+", br"a\d", br"a\ddd"], &[b"a5", br"a\"]);
    check_regex(r"a\\+b", &[br"a\b", br"a\\b"], &[br"a\+b", b"ab"]);
    check_regex(r"^\d++$", &[b"1+", b"12+"], &[b"1", b"1++"]);
    check_regex(r"^\\d*$", &[br"\", br"\dd"], &[b""]);
    check_regex(r"^\\é+$", &[r"\é+".as_bytes()], &[r"\éé".as_bytes()]);
    check_regex(r"^(a\\)+$", &[br"a\", br"a\a\"], &[b"", b"a"]);
    check_regex(r"^\d+1$", &[b"11", b"121", b"0001"], &[b"1", b"12"]);
    check_regex(r"^\w+ed ", &[b"walked off", b"red off"], &[b"ed off", b"walk off"]);
}

#[test]
fn os_regex_alternatives_and_groups_nest() {
    check_regex("(foo|bar)baz", &[b"foobaz", b"BARBAZ"], &[b"baz", b"foobar", b"(foo|bar)baz"]);
    check_regex("((a|b)c|d)e", &[b"ace", b"bce", b"de"], &[b"ce", b"ae"]);
    check_regex("^foo|bar$", &[b"foo x", b"x bar", b"foo"], &[b"x foo x", b"bar x"]);
    check_regex("load averages: 2.|load averages: 3.", &[b"load averages: 3.5"], &[b"load averages: 1.9"]);
    check_regex("foo|", &[b"", b"x"], &[]);
    check_regex("(|a)b", &[b"b"], &[b"a"]);
    check_regex("()", &[b""], &[]);
    check_regex("^(a|b$)", &[b"ax", b"b"], &[b"bx"]);
}

#[test]
fn os_regex_anchors_hold_for_the_whole_text() {
    check_regex("bar$", &[b"x BAR"], &[b"barx", b"bar\n"]);
    check_regex("^foo bar$", &[b"FOO bar"], &[b"foo barx", b"xfoo bar"]);
    check_regex(" $", &[b"a "], &[b"a"]);
    check_regex("a$b", &[], &[b"a$b", b"ab", b"a\nb"]);
    check_regex("a$b|c", &[b"c"], &[b"a$b"]);
    check_regex("^^a$$", &[b"a"], &[b"ab"]);
    check_regex("^", &[b"", b"x"], &[]);
    check_regex("^$", &[b""], &[b"x", b"\n"]);
}

#[test]
fn os_regex_folds_case_by_unicode_except_a_single_anchored_ascii_literal() {
    check_regex("É", &["é".as_bytes()], &[b"e"]);
    check_regex("^É", &["é".as_bytes()], &[b"e"]);
    check_regex("disk", &["di\u{17F}k".as_bytes()], &[]);
    check_regex("^disk", &[b"DISK"], &["di\u{17F}k".as_bytes()]);
    check_regex(r"^disk\d", &["di\u{17F}k1".as_bytes()], &[]);
}

#[test]
fn os_regex_errors_say_what_where_and_what_instead() {
    let place = |pattern: &str| {
        let error = refused(pattern);
        assert!(error.help.is_some_and(|help| !help.is_empty()), "{pattern}");
        (error.start..error.end, error.message)
    };
    for escape in [r"\x", r"\n", r"\q", r"\b", r"\/", r"\+", r"\*", r"\^", r"\é"] {
        assert_eq!(place(&format!("é{escape}z")), (2..2 + escape.len(), format!("unknown escape `{escape}`")));
    }
    assert_eq!(place(r"foo)"), (3..4, "`)` without `(`".to_owned()));
    assert_eq!(place(r"a(b(c)"), (1..2, "`(` without `)`".to_owned()));
    assert_eq!(place("ab\\"), (2..3, r"`\` at the end".to_owned()));
    assert_eq!(place(""), (0..0, "the pattern is empty".to_owned()));
    for pattern in [r"\\(+)", r"\\|+", r"\\^+", r"\\$*", r"\\++"] {
        assert_eq!(place(pattern).0, 2..4, "{pattern}");
    }
}

#[test]
fn sizes_are_bounded_and_everything_within_them_compiles() {
    let too_long = format!("{}é", "x".repeat(PATTERN_BYTES_MAX - 1));
    for error in [OsMatch::new(&too_long).unwrap_err(), OsRegex::new(&too_long).unwrap_err()] {
        assert_eq!((error.start, error.end), (PATTERN_BYTES_MAX - 1, PATTERN_BYTES_MAX + 1));
    }
    for costly in [r"\W", r"\.", r"\W+", r"\.*", r"\S", r"(\W|\.)", "ΐ", "s", r"s|k|", r"\D*\W+"] {
        match OsRegex::new(&costly.repeat(PATTERN_BYTES_MAX / costly.len())) {
            Ok(pattern) => assert!(pattern.is_compilable(), "{costly}"),
            Err(error) => panic!("{costly}: {error}"),
        }
    }
    let nested = |depth: usize| OsRegex::new(&format!("{}a{}", "(".repeat(depth), ")".repeat(depth)));
    assert!(nested(250).unwrap().is_match(b"a"));
    assert_eq!(nested(251).unwrap_err().start, 250);
}

#[test]
fn captures_are_as_long_as_the_place_of_the_repeat_says() {
    let captures = |pattern: &str, text: &'static [u8]| -> Vec<Option<String>> {
        let groups = OsRegex::new(pattern).unwrap().captures(text).unwrap();
        groups.into_iter().map(|group| group.map(|it| text[it].escape_ascii().to_string())).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(captures(r"^(\S+) (\d+)", b"eth0 123 x"), [some("eth0 123"), some("eth0"), some("123")]);
    assert_eq!(captures(r"(\d+)\.", b"1234"), [some("12"), some("1")]);
    assert_eq!(captures(r"(\d+)", b"1234"), [some("1234"), some("1234")]);
    assert_eq!(captures(r"(\d+)$", b"x12"), [some("12"), some("12")]);
    assert_eq!(captures(r"(\d+)|x", b"12"), [some("12"), some("12")]);
    assert_eq!(captures(r"(a)|(b)", b"b"), [some("b"), None, some("b")]);
    assert_eq!(
        captures(r"=(\S+) (\S+)", b"\xFF=a\xFE\xC3\xA9 b\xFD"),
        [some(r"=a\xfe\xc3\xa9 b\xfd"), some(r"a\xfe\xc3\xa9"), some(r"b\xfd")]
    );
    assert_eq!(OsRegex::new("a").unwrap().captures(b"b"), None);
}

#[test]
fn required_literals_are_the_longest_that_must_be_there() {
    let of_match = |pattern| OsMatch::new(pattern).unwrap().required_literals().map(<[String]>::to_vec);
    let of_regex = |pattern| OsRegex::new(pattern).unwrap().required_literals().map(<[String]>::to_vec);
    let some = |literals: &[&str]| Some(literals.iter().map(|&it| it.to_owned()).collect::<Vec<_>>());
    assert_eq!(of_match("^Error"), some(&["error"]));
    assert_eq!(of_match("^SSH"), some(&["ssh"]));
    assert_eq!(of_match("Full|^a"), some(&["a", "full"]));
    assert_eq!(of_match("sum"), some(&["sum", "\u{17F}um"]));
    assert_eq!(of_match("éab"), some(&["ab"]));
    assert_eq!(of_match("é"), None);
    assert_eq!(of_regex(r"^ab\d+cde(f|g)"), some(&["cde"]));
    assert_eq!(of_regex(r"(abc|de)\d"), some(&["abc", "de"]));
    assert_eq!(of_regex(r"(abc|\d)"), None);
    assert_eq!(of_regex(r"\d\\x*"), some(&["\\"]));
    assert_eq!(of_regex(r"\d+%"), some(&["%"]));
}

/// Few characters, so that patterns and texts meet; the odd ones among them.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => prop::sample::select(b"abAsk1 -\\".to_vec()).prop_map(|byte| vec![byte]),
        3 => prop::sample::select(vec!["é", "É", "\u{17F}", "\u{212A}", "€", "\u{10FF80}"]).prop_map(|it| it.as_bytes().to_vec()),
        2 => prop::sample::select(b"\n\t$^+*().|".to_vec()).prop_map(|byte| vec![byte]),
        1 => prop::sample::select(vec![0xE9, 0xC3, 0x80, 0xE2, 0xFF]).prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(part, 0..10).prop_map(|parts| parts.concat())
}

fn patterns(parts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(parts), 0..8).prop_map(|parts| parts.concat())
}

const MATCH_PARTS: &[&str] =
    &["a", "b", "A", "s", "k", "1", " ", "-", "é", "€", "^", "$", "|", "\\", "ab", "sk", "+", ".", "\n"];

const REGEX_PARTS: &[&str] = &[
    "a", "b", "A", "s", "k", "1", " ", "é", "€", "^", "$", "|", "(", ")", "(a", "b)", r"\\", r"\.", r"\.+", r"\.*",
    r"\w", r"\w+", r"\W", r"\W*", r"\d+", r"\D", r"\s", r"\S+", r"\p", r"\t", r"\(", r"\)+", "+", "*", ".", r"\\a+",
    r"\", r"\n",
];

/// What the required literals of a pattern promise.
fn has_one(literals: Option<&[String]>, text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    literals.is_none_or(|literals| literals.iter().any(|one| text.windows(one.len()).any(|it| it == one.as_bytes())))
}

/// PROPTEST_CASES makes all of them longer. A failure prints the pattern and the text.
fn config(times: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: times * default.cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn os_match_answers_as_the_reference(pattern in patterns(MATCH_PARTS), text in texts()) {
        let compiled = OsMatch::new(&pattern).unwrap();
        let fits = compiled.is_match(&text);
        prop_assert_eq!(fits, reference::os_match(&pattern, &text));
        prop_assert!(!fits || has_one(compiled.required_literals(), &text), "{:?}", compiled.required_literals());
    }

    #[test]
    fn os_regex_answers_as_the_reference(pattern in patterns(REGEX_PARTS), text in texts()) {
        let Some(plain) = Reference::read(&pattern) else {
            prop_assert!(OsRegex::new(&pattern).is_err());
            return Ok(());
        };
        let compiled = OsRegex::new(&pattern).unwrap();
        let expected = plain.captures(&text);
        prop_assert_eq!(compiled.is_match(&text), expected.is_some());
        prop_assert!(expected.is_none() || has_one(compiled.required_literals(), &text));
        if !plain.repeats_a_group {
            prop_assert_eq!(compiled.captures(&text), expected);
        }
    }
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn os_match_finds_in_a_text_what_was_put_there(
        before in texts(), literal in "[abs 1-]{1,70}", after in texts(), others in prop::collection::vec("[a-z]{3}", 0..8),
    ) {
        let pattern = others.iter().fold(literal.clone(), |all, one| format!("{all}|{one}"));
        let text = [&before, literal.to_ascii_uppercase().as_bytes(), &after].concat();
        prop_assert!(OsMatch::new(&pattern).unwrap().is_match(&text));
        prop_assert!(OsRegex::new(&pattern).unwrap().is_match(&text));
    }
}

#[test]
fn every_letter_with_a_case_folds_as_in_the_reference() {
    let one = |mut characters: Vec<char>| (characters.len() == 1).then(|| characters.remove(0));
    let mut wrong = Vec::new();
    for character in ('\u{80}'..='\u{1ffff}').filter(|it| it.is_alphabetic()) {
        let others = [character.to_lowercase().collect(), character.to_uppercase().collect::<Vec<_>>()];
        for other in others.into_iter().filter_map(one).filter(|other| *other != character) {
            for (pattern, text) in [(character, other), (other, character)] {
                let (pattern, text) = (pattern.to_string(), text.to_string());
                let fits = OsMatch::new(&pattern).unwrap().is_match(text.as_bytes());
                if fits != reference::os_match(&pattern, text.as_bytes()) {
                    wrong.push((pattern, text, fits));
                }
            }
        }
    }
    assert_eq!(wrong, []);
}
