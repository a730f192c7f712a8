//! Whether one condition follows from another. Every answer "yes" is sure; "no" may only say that it is not known.

use crate::pattern::OsMatch;
use crate::ruleset::{Rule, Test};

/// The conditions of a rule, made ready for many comparisons.
pub(super) struct Conditions<'r>(Vec<Prepared<'r>>);

struct Prepared<'r> {
    test: &'r Test,
    /// Of an OS_Match.
    literals: Option<Literals>,
    /// Of any pattern: a text that fits has one of these.
    required: Option<&'r [String]>,
}

impl<'r> Conditions<'r> {
    pub fn of(rule: &'r Rule) -> Conditions<'r> {
        Conditions(rule.conditions.iter().map(|condition| Prepared::of(&condition.test)).collect())
    }

    /// Whether every line that fulfils these fulfils the others.
    pub fn imply(&self, wide: &Conditions<'_>) -> bool {
        wide.0.iter().all(|wide| wide.is_always_true() || self.0.iter().any(|narrow| narrow.implies(wide)))
    }

    /// Whether both are the same conditions, in whatever order.
    pub fn are(&self, other: &Conditions<'_>) -> bool {
        let has = |all: &Conditions<'_>, one: &Prepared<'_>| all.0.iter().any(|own| is_same(own.test, one.test));
        self.0.iter().all(|one| has(other, one)) && other.0.iter().all(|one| has(self, one))
    }
}

impl<'r> Prepared<'r> {
    fn of(test: &'r Test) -> Prepared<'r> {
        let (literals, required) = match test {
            Test::Match(pattern) => (Some(Literals::of(pattern)), pattern.required_literals()),
            Test::Regex(pattern) => (None, pattern.required_literals()),
            Test::Pcre2(_, pattern) => (None, pattern.required_literals()),
            _ => (None, None),
        };
        Prepared { test, literals, required }
    }

    fn is_always_true(&self) -> bool {
        self.literals.as_ref().is_some_and(|literals| literals.list.iter().any(|literal| literal.text.is_empty()))
    }

    fn implies(&self, wide: &Prepared<'_>) -> bool {
        if let Some(wide) = &wide.literals {
            let by_text = self.literals.as_ref().is_some_and(|narrow| narrow.imply(wide));
            if by_text || self.required.is_some_and(|required| wide.are_in_all(required)) {
                return true;
            }
        }
        match (self.test, wide.test) {
            (Test::SizeMin(narrow), Test::SizeMin(wide)) => narrow >= wide,
            (Test::Run(narrow_fact, narrow), Test::Run(wide_fact, wide)) => {
                narrow_fact == wide_fact && wide.covers(narrow)
            }
            (narrow, wide) => is_same(narrow, wide),
        }
    }
}

fn is_same(one: &Test, other: &Test) -> bool {
    match (one, other) {
        (Test::Category(one), Test::Category(other)) => one == other,
        (Test::DecodedAs(one), Test::DecodedAs(other)) => one == other,
        (Test::Match(one), Test::Match(other)) => one.as_str() == other.as_str(),
        (Test::Regex(one), Test::Regex(other)) => one.as_str() == other.as_str(),
        // One that gives up does not fit, and each rule has its own steps to spend.
        (Test::Pcre2(_, one), Test::Pcre2(_, other)) => one.as_str() == other.as_str() && !one.may_give_up(),
        (Test::SizeMin(one), Test::SizeMin(other)) => one == other,
        (Test::Run(fact, one), Test::Run(other_fact, other)) => fact == other_fact && one == other,
        (Test::RunLate(one), Test::RunLate(other)) => one == other,
        // Others are compared by whoever needs it; not to know is no mistake.
        _ => false,
    }
}

/// The alternatives of an OS_Match that some text fits.
struct Literals {
    list: Vec<Literal>,
    /// Case is ignored in two ways: a single anchored literal goes by ASCII, everything else by Unicode.
    by_ascii: bool,
    /// An alternative is nothing but anchors, or empty.
    asks_for_nothing: bool,
}

struct Literal {
    /// A-Z are a-z.
    text: String,
    at_start: bool,
    at_end: bool,
}

impl Literals {
    fn of(pattern: &OsMatch) -> Literals {
        let written = pattern.as_str();
        Literals {
            list: written.split('|').filter_map(Literal::of).collect(),
            by_ascii: !written.contains('|') && (written.starts_with('^') || written.ends_with('$')),
            asks_for_nothing: written.split('|').any(|part| part.trim_matches(['^', '$']).is_empty()),
        }
    }

    /// Every alternative holds one of `wide`.
    fn imply(&self, wide: &Literals) -> bool {
        if self.asks_for_nothing || wide.by_ascii && !self.by_ascii {
            return false;
        }
        self.list.iter().all(|narrow| wide.list.iter().any(|wide| narrow.holds(wide)))
    }

    /// A text that holds any of these (in lower case) fits.
    fn are_in_all(&self, required: &[String]) -> bool {
        let unanchored = || self.list.iter().filter(|literal| !literal.at_start && !literal.at_end);
        required.iter().all(|text| unanchored().any(|literal| text.contains(&literal.text)))
    }
}

impl Literal {
    fn of(written: &str) -> Option<Literal> {
        let text = written.trim_start_matches('^').trim_end_matches('$');
        let (at_start, at_end) = (written.starts_with('^'), written.ends_with('$'));
        if text.trim_matches(['^', '$']).is_empty() {
            // Only both anchors together ask for something: the empty text.
            let asks = written.contains('^') && written.contains('$');
            return (!asks).then(|| Literal { text: String::new(), at_start: false, at_end: false });
        }
        (!text.contains(['^', '$'])).then(|| Literal { text: text.to_ascii_lowercase(), at_start, at_end })
    }

    fn holds(&self, wide: &Literal) -> bool {
        match (wide.at_start, wide.at_end) {
            (false, false) => self.text.contains(&wide.text),
            (true, false) => self.at_start && self.text.starts_with(&wide.text),
            (false, true) => self.at_end && self.text.ends_with(&wide.text),
            (true, true) => self.at_start && self.at_end && self.text == wide.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::OsRegex;

    fn match_(pattern: &str) -> Test {
        Test::Match(OsMatch::new(pattern).unwrap())
    }

    fn regex(pattern: &str) -> Test {
        Test::Regex(OsRegex::new(pattern).unwrap())
    }

    #[test]
    fn what_follows_from_a_pattern_is_known() {
        for (narrow, wide, expected) in [
            (match_("LISTEN"), match_("list"), true),
            (match_("list"), match_("LISTEN"), false),
            (match_("ab|bc"), match_("b"), true),
            (match_("ab|cd"), match_("b"), false),
            (match_("^abc"), match_("^ab"), true),
            (match_("abc"), match_("^ab"), false),
            (match_("^abc"), match_("^bc"), false),
            (match_("^abc"), match_("bc"), true),
            (match_("abc$"), match_("bc$"), true),
            (match_("^abc$"), match_("^abc$|x"), true),
            // The wide one goes by ASCII, the narrow one also takes U+017F for `s`.
            (match_("^sa|^sb"), match_("^s"), false),
            (match_("^s"), match_("^s|x"), true),
            (match_("a$b"), match_("x"), true),
            (match_("|a"), match_("a"), false),
            (match_("^$"), match_("a"), false),
            (regex(r"pid \d+"), match_("PID "), true),
            (regex(r"pid \d+|x"), match_("PID "), false),
            (regex(r"pid \d+"), regex(r"pid \d+"), true),
            (match_("pid 1"), regex(r"pid \d"), false),
        ] {
            assert_eq!(Prepared::of(&narrow).implies(&Prepared::of(&wide)), expected, "{narrow:?} implies {wide:?}");
        }
    }

    /// Against the patterns themselves, with short texts over few letters.
    #[test]
    fn what_is_said_to_follow_follows() {
        let parts = ["a", "b", "ab", "^a", "b$", "^ab", "^ab$", "", "^", "$", "^$", "a^b", "s", "^s", "S$"];
        let mut patterns: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        patterns.extend(parts.iter().flat_map(|one| parts.iter().map(move |other| format!("{one}|{other}"))));
        let letters = ['a', 'b', 's', '\u{17f}'];
        let mut texts = vec![String::new()];
        for length in 0..3 {
            let longer = texts.iter().filter(|text| text.chars().count() == length);
            let longer: Vec<String> =
                longer.flat_map(|text| letters.iter().map(move |letter| format!("{text}{letter}"))).collect();
            texts.extend(longer);
        }
        let compiled: Vec<OsMatch> = patterns.iter().map(|pattern| OsMatch::new(pattern).unwrap()).collect();
        let fits: Vec<Vec<bool>> = compiled
            .iter()
            .map(|pattern| texts.iter().map(|text| pattern.is_match(text.as_bytes())).collect())
            .collect();
        let mut followed = 0;
        let tests: Vec<Test> = compiled.into_iter().map(Test::Match).collect();
        let prepared: Vec<Prepared<'_>> = tests.iter().map(Prepared::of).collect();
        for (narrow, narrow_fits) in prepared.iter().zip(&fits) {
            for (wide, wide_fits) in prepared.iter().zip(&fits) {
                if wide.is_always_true() || narrow.implies(wide) {
                    followed += 1;
                    let both = narrow_fits.iter().zip(wide_fits);
                    let wrong = texts.iter().zip(both).find(|(_, (narrow, wide))| **narrow && !**wide);
                    assert_eq!(wrong, None, "{:?} does not imply {:?}", narrow.test, wide.test);
                }
            }
        }
        assert!(followed > 1000, "{followed}");
    }
}
