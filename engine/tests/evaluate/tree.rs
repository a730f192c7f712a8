//! The rule tree against a walk by hand: random rules that hang anywhere, random lines.

use tripline_engine::decision::{Input, LogLine, Verdict};
use tripline_engine::{MemoryState, RuleSet, Settings, SourceFile, compile};
use tripline_schemas::Key;

use crate::random::{Random, seeds};
use crate::world::time;

/// A rule, as it is written and as it is walked by hand.
struct Plain {
    id: u32,
    level: u32,
    accuracy: u32,
    noalert: bool,
    /// What the line must hold.
    word: &'static str,
    group: &'static str,
    parents: Parents,
}

/// Where a rule hangs.
enum Parents {
    /// Under the root.
    Root,
    Ids(Vec<u32>),
    Level(u32),
    Group(&'static str),
}

const WORDS: [&str; 5] = ["", "alpha", "beta", "gamma", "al"];
const GROUPS: [&str; 3] = ["shop,", "workshop,", "mail,"];

impl Plain {
    /// Silent rules are tried before all others, those of accuracy 0 after all others.
    fn rank(&self) -> u32 {
        match (self.accuracy, self.level) {
            (0, _) => 0,
            (_, 0) => 99,
            (_, level) => level,
        }
    }

    fn xml(&self) -> String {
        let Plain { id, level, accuracy, word, group, .. } = self;
        let noalert = if self.noalert { " noalert=\"1\"" } else { "" };
        let parents = match &self.parents {
            Parents::Root => String::new(),
            Parents::Ids(ids) => {
                let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
                format!("<if_sid>{}</if_sid>", ids.join(", "))
            }
            Parents::Level(level) => format!("<if_level>{level}</if_level>"),
            Parents::Group(group) => format!("<if_group>{group}</if_group>"),
        };
        format!(
            r#"<rule id="{id}" level="{level}" accuracy="{accuracy}"{noalert}><match>{word}</match>{parents}<group>{group}</group></rule>"#
        )
    }
}

/// The rules of which this one is a child: of those before it, or of all others when no group before it is meant.
fn parents(rules: &[Plain], child: usize) -> Vec<usize> {
    let meant = |other: &usize| match &rules[child].parents {
        Parents::Root => false,
        Parents::Ids(ids) => ids.contains(&rules[*other].id),
        Parents::Level(level) => rules[*other].rank() >= *level,
        Parents::Group(group) => rules[*other].group.contains(group),
    };
    let before: Vec<_> = (0..child).filter(meant).collect();
    match rules[child].parents {
        Parents::Group(_) if before.is_empty() => (child + 1..rules.len()).filter(meant).collect(),
        _ => before,
    }
}

/// The result below this rule, itself included; `None` for the root.
fn result(rules: &[Plain], at: Option<usize>, line: &str) -> Option<usize> {
    if at.is_some_and(|at| !line.contains(rules[at].word)) {
        return None;
    }
    let is_child = |rule: &usize| match at {
        // The root is silent, so it has any level.
        None => matches!(rules[*rule].parents, Parents::Root | Parents::Level(_)),
        Some(at) => parents(rules, *rule).contains(&at),
    };
    let mut children: Vec<_> = (0..rules.len()).filter(is_child).collect();
    children.sort_by_key(|rule| std::cmp::Reverse(rules[*rule].rank()));
    let below = children.into_iter().find_map(|rule| result(rules, Some(rule), line));
    below.or_else(|| at.filter(|at| !rules[*at].noalert))
}

fn some_rules(random: &mut Random) -> Vec<Plain> {
    let mut rules: Vec<Plain> = Vec::new();
    for number in 0..2 + random.below(12) as u32 {
        let mut of = |many: usize| random.below(many as u64) as usize;
        let group = GROUPS[of(3)];
        let parents = match of(8) {
            0..4 if !rules.is_empty() => {
                let mut ids: Vec<_> = (0..1 + of(2)).map(|_| rules[of(rules.len())].id).collect();
                ids.dedup();
                Parents::Ids(ids)
            }
            4 => Parents::Level([3, 5, 50][of(3)]),
            5 => Parents::Group("shop"),
            _ => Parents::Root,
        };
        rules.push(Plain {
            id: 100_100 + number,
            level: [0, 1, 3, 3, 5, 5, 9][of(7)],
            accuracy: u32::from(of(8) > 0),
            noalert: of(6) == 0,
            word: WORDS[of(5)],
            group,
            parents,
        });
    }
    rules
}

/// Some rules may be refused: a group that no other rule has, or rules that hang below each other.
fn compiled(plain: &[Plain]) -> Option<RuleSet> {
    let xml: String = plain.iter().map(Plain::xml).collect();
    let file = SourceFile { name: "test.xml".to_owned(), text: format!("<group name=\"local,\">{xml}</group>").into() };
    compile(&[file], &Settings::default()).ok()
}

#[test]
fn random_trees_answer_as_a_walk_by_hand() {
    let (mut trees, mut results) = (0, 0);
    for seed in seeds(500) {
        let random = &mut Random(seed);
        let plain = some_rules(random);
        let Some(rules) = compiled(&plain) else { continue };
        trees += 1;
        for _ in 0..8 {
            let words: Vec<_> = (0..random.below(4)).map(|_| WORDS[random.below(5) as usize]).collect();
            let text = words.join(" ");
            let line = LogLine {
                key: Key::new("web-1", "x").expect("a good key"),
                address: None,
                location: "web-1->x".to_owned(),
                time: time(0),
                text: text.clone().into_bytes(),
            };
            let input = Input::log(&line);
            let full = rules.explain(&input, &MemoryState::default()).expect("memory can be read");
            let lean = rules.evaluate(&input, &MemoryState::default()).expect("memory can be read");
            assert_eq!(lean.alerts, full.alerts, "to explain changes nothing");
            let found = match full.lines[0].verdict {
                Verdict::Silent(rule) | Verdict::NotLogged(rule) | Verdict::Alert { rule, .. } => Some(rule),
                _ => None,
            };
            let expected = result(&plain, None, &text).map(|rule| plain[rule].id);
            let xml: Vec<_> = plain.iter().map(Plain::xml).collect();
            assert_eq!(found, expected, "TRIPLINE_TEST_SEED={seed}: {text:?}\n{}", xml.join("\n"));
            results += u32::from(found.is_some());
        }
    }
    assert!(trees > 0 && results > trees, "{trees} trees, {results} results");
}
