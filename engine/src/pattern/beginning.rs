//! How every text begins that fits a pattern. Two patterns that ask for different beginnings fit no text together.

use super::literal::Literal;
use super::syntax::{Node, Sequence};

/// Of the alternatives of an OS_Match, those left out that fit no text.
pub(super) fn of_literals(literals: &[Literal]) -> Option<Vec<String>> {
    one_each(literals.iter().map(|literal| literal.at_start.then(|| literal.text.clone())))
}

/// Of the alternatives of an OS_Regex.
pub(super) fn of_sequences(alternatives: &[Sequence]) -> Option<Vec<String>> {
    one_each(alternatives.iter().map(|sequence| {
        let [Node::Start, rest @ ..] = &sequence[..] else { return None };
        let literal = |node: &Node| if let Node::Literal(character) = node { Some(*character) } else { None };
        Some(rest.iter().map_while(literal).collect())
    }))
}

/// The beginnings of all alternatives; `None` when there is one of which nothing is known.
pub(super) fn one_each(alternatives: impl Iterator<Item = Option<String>>) -> Option<Vec<String>> {
    let beginnings: Vec<String> = alternatives.map(|one| one.filter(|text| !text.is_empty())).collect::<Option<_>>()?;
    (!beginnings.is_empty()).then_some(beginnings)
}

/// Whether no text begins with one of `ones` and with one of `others`.
pub(crate) fn exclude(ones: &[String], others: &[String]) -> bool {
    ones.iter().all(|one| others.iter().all(|other| differ(one, other)))
}

/// Each character of a pattern takes one of a text. Letters outside ASCII may be equal to some within.
fn differ(one: &str, other: &str) -> bool {
    let is_sure = |(a, b): (char, char)| a.is_ascii() && b.is_ascii() && !a.eq_ignore_ascii_case(&b);
    one.chars().zip(other.chars()).any(is_sure)
}

#[cfg(test)]
mod tests {
    use super::super::{OsMatch, OsRegex, Pcre2};
    use super::exclude;

    #[test]
    fn how_texts_begin_is_known_where_all_alternatives_say_so() {
        let of_match = |pattern| OsMatch::new(pattern).unwrap().beginnings();
        let of_regex = |pattern| OsRegex::new(pattern).unwrap().beginnings();
        let of_pcre2 = |pattern| Pcre2::new(pattern).unwrap().beginnings();
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(of_match("^ab|^c d$"), texts(&["ab", "c d"]));
        assert_eq!([of_match("^ab|c"), of_match("ab"), of_match("^"), of_match("^a|")], [const { None }; 4]);
        assert_eq!(of_regex(r"^ab\d+c|^\(x"), texts(&["ab", "(x"]));
        assert_eq!(of_regex(r"^a\)+"), texts(&["a"]));
        assert_eq!([of_regex(r"^\d"), of_regex("^(ab)"), of_regex("a^b"), of_regex("^ab|c")], [const { None }; 4]);
        assert_eq!(of_pcre2("^Ab?c"), texts(&["a"]));
        assert_eq!(of_pcre2(r"(\Aab|^c[de]f)"), texts(&["ab", "c"]));
        assert_eq!([of_pcre2("^[ab]"), of_pcre2("a"), of_pcre2("(?m)^ab"), of_pcre2("^ab|c")], [const { None }; 4]);
    }

    /// Against the patterns themselves, with short texts over few letters: two that are equal to others outside ASCII.
    #[test]
    fn what_is_said_to_exclude_each_other_fits_no_text_together() {
        type Fits = Box<dyn Fn(&[u8]) -> bool>;
        let mut patterns: Vec<(&str, Vec<String>, Fits)> = Vec::new();
        for pattern in ["^a", "^ab", "^b", "^sa", "^s|^kb", "^\u{17f}a", "^a$", "^ab|^1", "^\u{212a}|^b"] {
            let compiled = OsMatch::new(pattern).unwrap();
            let beginnings = compiled.beginnings().unwrap_or_else(|| panic!("{pattern}"));
            patterns.push((pattern, beginnings, Box::new(move |text| compiled.is_match(text))));
        }
        for pattern in [r"^a\d", "^s", "^ka|^b", r"^ab\.*", "^\u{17f}"] {
            let compiled = OsRegex::new(pattern).unwrap();
            let beginnings = compiled.beginnings().unwrap_or_else(|| panic!("{pattern}"));
            patterns.push((pattern, beginnings, Box::new(move |text| compiled.is_match(text))));
        }
        for pattern in ["^a", "^s[ab]", "(^ab|^k)", r"\A1", "^(?-i)Ab"] {
            let compiled = Pcre2::new(pattern).unwrap();
            let Some(beginnings) = compiled.beginnings() else { continue };
            patterns.push((pattern, beginnings, Box::new(move |text| compiled.is_match(text))));
        }
        let mut texts = vec![String::new()];
        for length in 0..3 {
            let longer = texts.iter().filter(|text| text.chars().count() == length);
            let letters = ["a", "A", "b", "s", "\u{17f}", "k", "\u{212a}", "1"];
            let longer: Vec<String> =
                longer.flat_map(|text| letters.iter().map(move |letter| format!("{text}{letter}"))).collect();
            texts.extend(longer);
        }
        let mut excluded = 0;
        for (one, beginnings, fits) in &patterns {
            for (other, others, fits_other) in &patterns {
                if exclude(beginnings, others) {
                    excluded += 1;
                    let both = texts.iter().find(|text| fits(text.as_bytes()) && fits_other(text.as_bytes()));
                    assert_eq!(both, None, "{one} and {other}");
                }
            }
        }
        assert!(excluded > 100, "{excluded}");
    }
}
