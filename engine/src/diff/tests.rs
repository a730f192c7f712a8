//! What a difference promises, by example and over random texts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMITS: DiffLimits = DiffLimits { lines_max: 1000, text_bytes_max: 64 * 1024 };

fn texts_of(lines: &[String]) -> Vec<u8> {
    lines.join("\n").into_bytes()
}

#[track_caller]
fn check(old: &str, new: &str, unified: &str) -> LineDiff {
    let found = diff(old.as_bytes(), new.as_bytes(), &LIMITS);
    assert_eq!(found.unified, unified);
    assert!(!found.cut && !found.coarse);
    assert_eq!(found.full.unified_bytes, unified.len());
    found
}

#[test]
fn a_new_line_is_added_and_shown_in_its_surroundings() {
    let found = check("1\n2\n3\n4\n5\n6\n7", "1\n2\n3\n4\nx\n5\n6\n7", "@@ -2,6 +2,7 @@\n 2\n 3\n 4\n+x\n 5\n 6\n 7\n");
    assert_eq!((found.added, found.removed), (vec!["x".to_owned()], vec![]));
    assert_eq!((found.full.added_lines, found.full.added_bytes, found.full.removed_lines), (1, 2, 0));
}

#[test]
fn changes_far_apart_are_hunks_of_their_own() {
    let old: Vec<String> = (1..=20).map(|line| line.to_string()).collect();
    let mut new = old.clone();
    new[1] = "two".to_owned();
    new.remove(18);
    check(
        &old.join("\n"),
        &new.join("\n"),
        "@@ -1,5 +1,5 @@\n 1\n-2\n+two\n 3\n 4\n 5\n@@ -16,5 +16,4 @@\n 16\n 17\n 18\n-19\n 20\n",
    );
}

#[test]
fn an_empty_text_has_no_lines_and_an_empty_line_is_one() {
    check("", "", "");
    check("a\nb", "a\nb", "");
    check("", "a\nb", "@@ -0,0 +1,2 @@\n+a\n+b\n");
    check("a", "", "@@ -1 +0,0 @@\n-a\n");
    check("a", "a\n", "@@ -1 +1,2 @@\n a\n+\n");
    check("a\n\nb", "a\nb", "@@ -1,3 +1,2 @@\n a\n-\n b\n");
}

#[test]
fn bytes_that_are_not_utf_8_are_compared_as_they_are_and_shown_as_replacement_characters() {
    let found = diff(b"a\xFFb\nc", b"a\xFEb\nc", &LIMITS);
    assert_eq!(found.unified, "@@ -1,2 +1,2 @@\n-a\u{FFFD}b\n+a\u{FFFD}b\n c\n");
    assert_eq!((found.added, found.removed), (vec!["a\u{FFFD}b".to_owned()], vec!["a\u{FFFD}b".to_owned()]));
}

#[test]
fn too_many_lines_are_compared_without_order_and_the_text_says_so() {
    let limits = DiffLimits { lines_max: 5, ..LIMITS };
    let found = diff(b"same\na\nb\nb\nc\nend", b"same\nc\nb\na\nx\nend", &limits);
    assert!(found.coarse);
    assert_eq!((found.added, found.removed), (vec!["x".to_owned()], vec!["b".to_owned()]));
    assert_eq!(
        found.unified,
        "\\ 8 lines are too many to compare in order: shown is which came and went, not where\n@@ -2,4 +2,4 @@\n-b\n+x\n"
    );

    let shuffled = diff(b"a\nb\nc", b"c\nb\na", &limits);
    assert!(shuffled.coarse && shuffled.added.is_empty() && shuffled.removed.is_empty());
    assert!(shuffled.unified.ends_with("\\ none did: the same lines are in another order\n"), "{}", shuffled.unified);

    let at_the_bound = |lines_max| diff(b"a\nb\nc", b"c\nb\na", &DiffLimits { lines_max, ..LIMITS }).coarse;
    assert_eq!([5, 6].map(at_the_bound), [true, false]);

    // Nothing to put in order: in order at any size.
    let grown = diff(b"a", b"a\n1\n2\n3\n4\n5\n6\n7", &limits);
    assert!(!grown.coarse);
    assert_eq!(grown.added.len(), 7);
    let both_ends = diff(b"a\n1\n2\n3\n4\n5\nb", b"c\n1\n2\n3\n4\n5\nd", &limits);
    assert!(!both_ends.coarse, "{}", both_ends.unified);
}

#[test]
fn what_has_no_room_is_cut_at_a_line_and_counted() {
    let new: Vec<String> = (100..400).map(|line| line.to_string()).collect();
    let found = diff(b"", &texts_of(&new), &DiffLimits { text_bytes_max: 1000, ..LIMITS });
    assert!(found.cut);
    assert_eq!(found.added, new[..250]);
    assert_eq!((found.full.added_lines, found.full.added_bytes), (300, 1200));
    assert!(found.unified.ends_with("\n+295\n\\ cut: 998 of 1518 bytes\n"), "{}", found.unified);
}

#[test]
fn a_long_line_is_cut_at_a_character_and_never_hides_the_first_change() {
    let limits = DiffLimits { text_bytes_max: 300, ..LIMITS };
    let long = "é".repeat(1000);
    let found = diff(format!("{long}\nold").as_bytes(), format!("{long}\nnew {long}").as_bytes(), &limits);
    assert!(found.cut);
    assert_eq!(found.removed, ["old"]);
    assert_eq!(found.added, [format!("new {}", "é".repeat(147))]);
    assert!(found.unified.starts_with("@@ -2 +2 @@\n-old\n"), "{}", found.unified);

    let only = diff(b"", long.as_bytes(), &limits);
    assert!(only.unified.starts_with("@@ -0,0 +1 @@\n+éé"), "{}", only.unified);
}

#[test]
fn lines_too_long_to_be_shown_are_shown_where_they_differ() {
    let limits = DiffLimits { text_bytes_max: 300, ..LIMITS };
    let alike = "é".repeat(1000);
    let [old, new] = ["old", "new"].map(|word| format!("{alike} {word} {alike}"));
    let found = diff(old.as_bytes(), format!("{new}\nmore").as_bytes(), &limits);
    let lines: Vec<&str> = found.unified.lines().collect();
    assert_eq!(lines[..2], ["@@ -1 +1,2 @@", "\\ the first 1960 bytes of these lines are the same"]);
    let begins = |mark: char, word: &str| format!("{mark}{} {word} éé", "é".repeat(20));
    assert!(lines[2].starts_with(&begins('-', "old")), "{}", found.unified);
    assert!(lines[3].starts_with(&begins('+', "new")), "{}", found.unified);
    assert!(lines[4].starts_with("\\ cut: ") && lines.len() == 5, "{}", found.unified);
    assert!(found.cut && found.unified.len() < 340, "{}", found.unified.len());
    // The lists are beginnings, as ever.
    assert!(old.starts_with(&found.removed[0]) && new.starts_with(&found.added[0]));
    assert_eq!((found.full.removed_bytes, found.full.added_lines), (old.len() + 1, 2));
    // Where there is room for both, they are shown whole, however it is shared among them.
    let whole = diff(&old.as_bytes()[..250], b"b\nc", &limits);
    assert_eq!((whole.unified, whole.cut), (format!("@@ -1 +1,2 @@\n-{}\n+b\n+c\n", &old[..250]), false));
    // A line that came for another is shown where it is, with room for what follows.
    let short = diff(b"a", b"b\nc", &limits);
    assert_eq!(short.unified, "@@ -1 +1,2 @@\n-a\n+b\n+c\n");
}

/// Follows a unified text by hand.
fn applied(old: &[String], unified: &str) -> Vec<String> {
    let mut new = Vec::new();
    let mut at = 0;
    for line in unified.lines() {
        let (mark, text) = line.split_at(1);
        match mark {
            "@" => {
                let place = text.split_once('-').unwrap().1.split([',', ' ']).next().unwrap().parse::<usize>().unwrap();
                let nothing_there = text.contains(",0 +");
                let hunk = if nothing_there { place } else { place - 1 };
                new.extend_from_slice(&old[at..hunk]);
                at = hunk;
            }
            "+" => new.push(text.to_owned()),
            _ => {
                assert_eq!(old[at], text, "{unified}");
                if mark == " " {
                    new.push(text.to_owned());
                }
                at += 1;
            }
        }
    }
    new.extend_from_slice(&old[at..]);
    new
}

/// How often each line is there.
fn counted<'a>(lines: impl IntoIterator<Item = &'a String>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    lines.into_iter().for_each(|line| *counts.entry(line.as_str()).or_default() += 1);
    counts
}

fn random_lines() -> impl Strategy<Value = Vec<String>> {
    // A single empty line and no line at all are the same text.
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "-a", "+b", "@@", "", "dd", "ee"]), 0..30)
        .prop_map(|lines| lines.into_iter().map(str::to_owned).collect::<Vec<_>>())
        .prop_filter("a text of its own", |lines| lines.as_slice() != [""])
}

proptest! {
    // A failure prints both texts; PROPTEST_CASES makes it longer.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applied_to_the_old_text_it_gives_the_new(old in random_lines(), new in random_lines()) {
        let found = diff(&texts_of(&old), &texts_of(&new), &LIMITS);
        prop_assert!(!found.coarse && !found.cut);
        prop_assert_eq!(applied(&old, &found.unified), new);
    }

    #[test]
    fn old_lines_without_removed_with_added_are_the_new_lines(
        old in random_lines(), new in random_lines(), lines_max in 0..60usize,
    ) {
        let found = diff(&texts_of(&old), &texts_of(&new), &DiffLimits { lines_max, ..LIMITS });
        prop_assert_eq!(counted(old.iter().chain(&found.added)), counted(new.iter().chain(&found.removed)));
        if found.coarse {
            let [removed, added] = [counted(&found.removed), counted(&found.added)];
            prop_assert!(removed.keys().all(|line| !added.contains_key(line)), "a line both came and went");
        }
    }

    #[test]
    fn a_cut_difference_is_the_beginning_of_the_whole(old in random_lines(), new in random_lines(), long in 0..400usize) {
        let stretch = |lines: &[String]| -> Vec<u8> {
            texts_of(&lines.iter().map(|line| format!("{line}{}", "é".repeat(long))).collect::<Vec<_>>())
        };
        let [old, new] = [stretch(&old), stretch(&new)];
        let cut = diff(&old, &new, &DiffLimits { text_bytes_max: 300, ..LIMITS });
        let whole = diff(&old, &new, &LIMITS);
        for (part, all) in [(&cut.added, &whole.added), (&cut.removed, &whole.removed)] {
            prop_assert!(part.iter().map(|line| line.len() + 1).sum::<usize>() <= 300);
            prop_assert_eq!(part.is_empty(), all.is_empty());
            prop_assert!(part.iter().zip(all).all(|(part, all)| all.starts_with(part.as_str())));
        }
        prop_assert!(cut.unified.len() <= 300 + "\\ cut: 300 of 000000 bytes\n".len());
        prop_assert_eq!(cut.unified.lines().any(|line| line.starts_with(['+', '-'])), old != new);
        prop_assert_eq!(cut.full.added_bytes, whole.full.added_bytes);
        prop_assert_eq!(cut.full.removed_lines, whole.full.removed_lines);
    }
}
