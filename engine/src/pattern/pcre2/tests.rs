use super::*;
use std::fmt::Write;

/// The same, searched by trying one way after the other.
fn backtracking(pattern: &str) -> Pcre2 {
    let expression = syntax::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let search = Backtrack::new(&expression, None).unwrap_or_else(|error| panic!("{pattern}: {error:?}"));
    let search = Search::Backtrack(Box::new(search));
    Pcre2 { pattern: pattern.to_owned(), search, groups: expression.groups as usize, required: None }
}

fn compiled(pattern: &str) -> Pcre2 {
    Pcre2::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"))
}

fn shown(captures: Option<Vec<Option<Range<usize>>>>) -> String {
    let Some(captures) = captures else { return "none".to_owned() };
    let shown = captures.iter().map(|group| match group {
        Some(range) => format!("{}-{}", range.start, range.end),
        None => "-".to_owned(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// `\xHH` and `\\` in texts of the file of facts.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, later @ ..] = rest {
        rest = later;
        match (byte, later) {
            (b'\\', [b'\\', later @ ..]) => {
                bytes.push(b'\\');
                rest = later;
            }
            (b'\\', [b'x', high, low, later @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("two digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                rest = later;
            }
            _ => bytes.push(*byte),
        }
    }
    bytes
}

#[test]
fn expressions_fit_where_pcre2_says() {
    let mut wrong = String::new();
    let mut count = 0;
    for line in include_str!("facts.txt").lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let parts: Vec<_> = line.split('\t').collect();
        let [pattern, text, expected] = parts[..] else { panic!("three parts: {line}") };
        let text = unescaped(text);
        for search in [compiled(pattern), backtracking(pattern)] {
            let found = shown(search.captures(&text));
            if found != expected {
                let _ = writeln!(wrong, "{line}\n  found {found} by {:?}", search.may_give_up());
            }
            assert_eq!(search.is_match(&text), found != "none", "{line}");
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 300);
}

#[test]
fn what_is_no_expression_is_refused_at_its_place() {
    let cases = [
        ("", 0..0),
        ("[z", 0..2),
        (r"(?P\<n", 0..4),
        ("(a", 0..1),
        ("a)", 1..2),
        ("*a", 0..1),
        ("a**", 2..3),
        ("a|+", 2..3),
        ("^*", 0..2),
        (r"\b+", 0..3),
        ("x{3,2}", 1..6),
        ("x{65536}", 2..7),
        (r"a\", 1..2),
        (r"\i", 0..2),
        (r"\u0041", 0..2),
        (r"\8", 0..2),
        (r"\400", 0..4),
        (r"\x{100}", 0..7),
        (r"\x{41", 0..5),
        ("[z-a]", 1..4),
        (r"[\d-z]", 3..4),
        ("[[:foo:]]", 1..8),
        ("[:alpha:]", 0..9),
        (r"\p{Foo}", 0..7),
        ("(?<=a+)b", 0..7),
        ("(?<n>a)(?<n>b)", 7..12),
        ("(?1)", 0..3),
        (r"\k<x>", 0..5),
        ("(?(2)a)(x)", 0..4),
        ("(?(1)a|b|c)(x)", 8..9),
        ("(?z)", 0..3),
        ("(?i-i-i)a", 5..6),
        ("(?#abc", 0..6),
        (r"(?=a\K)", 4..6),
        ("(*UTF)a", 0..6),
        ("é{2}(", 5..6),
    ];
    for (pattern, place) in cases {
        let error = Pcre2::new(pattern).expect_err(pattern);
        assert_eq!(error.start..error.end, place, "{pattern}: {error}");
        assert!(pattern.get(place).is_some(), "{pattern}");
    }
}

#[test]
fn case_is_ignored_and_bytes_are_no_characters() {
    assert!(compiled("^Started ").is_match(b"STARTED x"));
    assert!(!compiled("^caf.$").is_match("café".as_bytes()) && compiled("^caf..$").is_match("café".as_bytes()));
    assert!(compiled("É").is_match("É".as_bytes()) && !compiled("É").is_match("é".as_bytes()));
    // U+212A, which Unicode folds to k.
    assert!(!compiled("k").is_match("\u{212A}".as_bytes()));
    assert!(compiled(r"\<b>").is_match(b"<B>"));
}

#[test]
fn only_expressions_that_need_it_are_searched_way_by_way() {
    for pattern in ["a+b|c", r"^\S+ (\d+)$", "(?-i)x{2,5}?", "(?m)a.b", r"\bdf\b", "[^a]*"] {
        assert!(!compiled(pattern).may_give_up(), "{pattern}");
    }
    for pattern in [r"(a)\1", "(?=a)", "(?<!a)b", "a++", "(?>a)", "(?R)?a", "(?m)^a", r"a\Z", "(a*)*"] {
        assert!(compiled(pattern).may_give_up(), "{pattern}");
    }
}

#[test]
fn a_search_that_explodes_ends_and_says_so() {
    let many = [b"a".repeat(40), b"b".to_vec()].concat();
    let long = b"ab".repeat(500_000);
    let cases = [
        (r"(a+)+(?=c)", &many[..]),
        (r"(?:a|a)*+\1()", &many),
        (r"^(?:a?){40}a{40}(?=c)", &many),
        (r"(?=.*x)b", &long),
        (r"(.*)\1x", &long),
        (r"(?:(a)|b)*(?=c)", &long),
        (r"(?R)?a(?=c)", &many),
        (r"(?1)(x|(?1))", &many),
    ];
    for (pattern, text) in cases {
        let search = compiled(pattern);
        let mut steps = Steps::new(1_000_000);
        let outcome = search.try_match(text, &mut steps);
        assert!(outcome == Err(GaveUp) || outcome == Ok(false), "{pattern}");
        if outcome == Err(GaveUp) {
            assert_eq!(steps.check(), Err(GaveUp));
            // What is used up stays used up, but for texts that need no search.
            assert_eq!(search.try_match(text, &mut steps), Err(GaveUp), "{pattern}");
            let empty = search.try_match(b"", &mut steps);
            assert_eq!(empty, search.required_literals().map_or(Err(GaveUp), |_| Ok(false)), "{pattern}");
            assert!(!search.is_match(text) && search.captures(text).is_none(), "{pattern}");
        }
    }
    assert_eq!(compiled(r"(a+)+(?=c)").try_match(&many, &mut Steps::new(1_000_000)), Err(GaveUp));
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    assert!(Pcre2::new(&"a".repeat(EXPRESSION_BYTES_MAX)).is_ok());
    assert!(Pcre2::new(&"a".repeat(EXPRESSION_BYTES_MAX + 1)).is_err());
    assert!(Pcre2::new(&format!("{}a{}", "(".repeat(250), ")".repeat(250))).is_ok());
    assert!(Pcre2::new(&format!("{}a{}", "(".repeat(251), ")".repeat(251))).is_err());
    assert!(Pcre2::new("(?:(?:(?=a)b{1000}c){1000}d){1000}").is_err());
}

/// A small source of numbers. The same seed gives the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn expression(&mut self, depth: usize, parts: &[&str]) -> String {
        let mut text = String::new();
        for _ in 0..1 + self.below(4) {
            match self.below(8) {
                0 => text.push('|'),
                1 | 2 if depth > 0 => {
                    text.push_str(self.one(&["(", "(?:", "(?i:", "(?-i:", "("]));
                    text.push_str(&self.expression(depth - 1, parts));
                    text.push(')');
                }
                _ => text.push_str(self.one(parts)),
            }
            if self.below(3) == 0 {
                text.push_str(self.one(&["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?", "{2,}"]));
            }
        }
        text
    }

    fn text(&mut self) -> String {
        (0..self.below(9)).map(|_| self.one(&["a", "b", "c", "A", "B", "1", " ", "\n", "é"])).collect()
    }
}

#[test]
fn both_ways_to_search_find_the_same() {
    let parts =
        ["a", "b", "A", ".", r"\d", r"\w", r"\s", "[ab]", "[^a]", "^", "$", r"\b", "é", "ab", "(?i)", "(?-i)", "(?U)"];
    let mut tried = 0;
    for seed in 0..4000 {
        let mut numbers = Numbers(seed);
        let pattern = numbers.expression(3, &parts);
        let Ok(search) = Pcre2::new(&pattern) else { continue };
        if search.may_give_up() {
            continue;
        }
        let other = backtracking(&pattern);
        tried += 1;
        for _ in 0..8 {
            let text = numbers.text();
            let (one, other) = (search.captures(text.as_bytes()), other.captures(text.as_bytes()));
            assert_eq!(one, other, "seed {seed}: {pattern:?} on {text:?}");
            if one.is_some() {
                let text = text.to_ascii_lowercase();
                let held = |literals: &[String]| literals.iter().any(|literal| text.contains(literal.as_str()));
                assert!(search.required_literals().is_none_or(held), "seed {seed}: {pattern:?} on {text:?}");
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn a_text_without_the_literals_of_an_expression_does_not_fit_it_however_it_is_searched() {
    let parts = [
        "a",
        "b",
        "A",
        ".",
        "ab",
        "bc",
        r"\d",
        "[ab]",
        "^",
        "$",
        r"\b",
        "(?i)",
        "(?-i)",
        "(?=a)",
        "(?!b)",
        "(?<=a)",
        "(?<!b)",
        "(?>ab)",
        "(?>a+)",
        r"\1",
        r"\K",
        "a++",
        "(?R)?",
        "(?1)",
        "(?(1)a|b)",
        "(?=.*c)",
        "(?:a|bc)",
    ];
    let (mut tried, mut had_literals) = (0, 0);
    for seed in 0..6000 {
        let mut numbers = Numbers(seed);
        let pattern = numbers.expression(2, &parts);
        let Ok(search) = Pcre2::new(&pattern) else { continue };
        if !search.may_give_up() {
            continue;
        }
        let other = backtracking(&pattern);
        tried += 1;
        had_literals += u32::from(search.required_literals().is_some());
        for _ in 0..8 {
            let text = numbers.text();
            let Ok(expected) = other.try_captures(text.as_bytes(), &mut Steps::new(100_000)) else { continue };
            assert_eq!(search.captures(text.as_bytes()), expected, "seed {seed}: {pattern:?} on {text:?}");
        }
    }
    assert!(tried > 1000 && had_literals > 500, "{tried}, {had_literals} of them with literals");
}

#[test]
fn any_text_is_an_expression_or_refused() {
    let parts = [
        "(", ")", "[", "]", "{", "}", "\\", "?", "*", "+", "|", "^", "$", "-", ":", "<", ">", "=", "!", "'", "1", ",",
        "&", "P", "R", "Q", "E", "p", "k", "g", "#", " ", "x", "a", "é", "[:", ":]", "(?", "(?(", "(*", "\\E", "\\Q",
        "(?<", "\n",
    ];
    for seed in 0..20_000 {
        let mut numbers = Numbers(seed);
        let pattern: String = (0..1 + numbers.below(12)).map(|_| numbers.one(&parts)).collect();
        match Pcre2::new(&pattern) {
            Ok(search) => drop(search.try_match(b"a1x (b)\n", &mut Steps::new(10_000))),
            Err(error) => assert!(pattern.get(error.start..error.end).is_some(), "seed {seed}: {pattern:?}: {error}"),
        }
    }
}

#[test]
fn how_many_instructions_a_program_has_is_known_before() {
    let parts = [
        "a",
        "b",
        "[^a]",
        "^",
        r"\b",
        r"\R",
        "(?=a)",
        "(?!b|c)",
        "(?<=a|bc)",
        "(?>ab)",
        "a++",
        "(?:ab)*+",
        r"\1",
        r"\K",
        "(?R)?",
        "(?1)",
        "(?(1)a|b)",
        "(?(?=a)b)",
        "(?(DEFINE)(c))",
        "(?:a|bc)",
        "(?:)",
        "(?:a?)*",
        "(?:ab){0}",
        "(?:ab){2,4}?",
        "(*FAIL)",
    ];
    let mut tried = 0;
    for seed in 0..10_000 {
        let pattern = Numbers(seed).expression(3, &parts);
        let Ok(expression) = syntax::parse(&pattern) else { continue };
        let program = Program::new(&expression).expect("a small program");
        assert_eq!(program::instructions(&expression.node) + 1, program.instructions.len(), "seed {seed}: {pattern}");
        tried += 1;
    }
    assert!(tried > 3000, "{tried}");
}

#[test]
fn an_expression_that_is_compiled_later_is_never_too_large_then() {
    // Many ranges, in few and in many sets, and literals; some near the bound.
    let ranges: String = (0x20..0x7F).step_by(2).map(|byte| format!(r"\x{byte:02x}")).collect();
    for pattern in [
        format!("(?:[{ranges}]{{400}})"),
        format!("(?:[{ranges}]|b){{400}}"),
        "a{19000}".to_owned(),
        r"[^a]\w{50000}".to_owned(),
        format!("(?:[{ranges}]{{1400}}){{10}}"),
        "(?:(a)?b|(c)){2000}".to_owned(),
        "(?-i)".to_owned() + &"(?:a|b|c|d)".repeat(1300),
    ] {
        let search = compiled(&pattern);
        assert!(!search.may_give_up(), "{}", &pattern[..12]);
        let Search::Linear(linear) = &search.search else { panic!("not linear") };
        assert!(linear.is_compilable(), "{}", &pattern[..12]);
    }
    assert!(compiled("(?:[^a]{65535}b){2}").may_give_up());
}
