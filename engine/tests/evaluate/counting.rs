//! Composite rules against a counter that keeps everything and looks at all of it each time: random rules, random
//! events, some of them late, with state that goes to disk and back at random times.

use std::collections::BTreeMap;

use tripline_engine::decision::{Input, LogLine};
use tripline_engine::load::{CompileInputs, compile_inputs};
use tripline_engine::{MemoryState, RuleSet, Settings, SourceFile};
use tripline_schemas::Key;

use crate::random::{Random, seeds};
use crate::store::Store;
use crate::world::time;

/// A rule, as it is written and as it is counted by hand.
struct Plain {
    id: u32,
    level: u32,
    group: &'static str,
    noalert: bool,
    ignore: i64,
    /// What the text must hold.
    text: &'static str,
    /// 0 for none: the rule hangs under the root.
    parent: u32,
    counts: Option<Counting>,
}

struct Counting {
    frequency: usize,
    timeframe: i64,
    what: What,
    options: Vec<&'static Opt>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Sid(u32),
    Group(&'static str),
    Regex(&'static str),
}

/// An element that compares a field of the current event with that of an earlier one.
#[derive(Debug, PartialEq)]
struct Opt {
    element: &'static str,
    /// Whether the two must be equal, or else differ.
    same: bool,
    field: Field,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    User,
    Ip,
    Id,
    SourcePort,
    DestinationPort,
    Url,
    /// Agent and place.
    Location,
    Agent,
}

const OPTS: [Opt; 12] = [
    Opt { element: "<same_user />", same: true, field: Field::User },
    Opt { element: "<same_source_ip />", same: true, field: Field::Ip },
    Opt { element: "<same_id />", same: true, field: Field::Id },
    Opt { element: "<same_src_port />", same: true, field: Field::SourcePort },
    Opt { element: "<same_dst_port />", same: true, field: Field::DestinationPort },
    Opt { element: "<same_location />", same: true, field: Field::Location },
    Opt { element: "<different_srcip />", same: false, field: Field::Ip },
    Opt { element: "<different_url />", same: false, field: Field::Url },
    Opt { element: "<not_same_source_ip />", same: false, field: Field::Ip },
    Opt { element: "<not_same_user />", same: false, field: Field::User },
    Opt { element: "<not_same_id />", same: false, field: Field::Id },
    Opt { element: "<not_same_agent />", same: false, field: Field::Agent },
];

impl Opt {
    /// Whether the two ask for opposites.
    fn contradicts(&self, other: &Opt) -> bool {
        let place = |field| matches!(field, Field::Location | Field::Agent);
        self.same != other.same && (self.field == other.field || place(self.field) && place(other.field))
    }

    fn holds(&self, now: &Happening, then: &Happening) -> bool {
        let (now, then) = (now.field(self.field), then.field(self.field));
        !now.is_empty() && !then.is_empty() && (now == then) == self.same
    }
}

/// One event. Fields that are empty are missing.
#[derive(Clone, Debug)]
struct Happening {
    at: i64,
    key: (&'static str, &'static str),
    user: &'static str,
    ip: &'static str,
    id: &'static str,
    ports: (&'static str, &'static str),
    url: &'static str,
    word: &'static str,
}

impl Happening {
    fn text(&self) -> String {
        if self.user.is_empty() {
            return format!("app nobody {}", self.word);
        }
        let Happening { user, ip, id, ports: (from, to), url, word, .. } = self;
        format!("app: user={user} ip={ip} id={id} from={from} to={to} url={url} {word}")
    }

    fn field(&self, field: Field) -> String {
        let text = match field {
            Field::User => self.user,
            Field::Ip => self.ip,
            Field::Id => self.id,
            Field::SourcePort => self.ports.0,
            Field::DestinationPort => self.ports.1,
            Field::Url => self.url,
            Field::Agent => self.key.0,
            Field::Location => return format!("{} {}", self.key.0, self.key.1),
        };
        text.to_owned()
    }
}

/// An event that was recorded, once for all who count it.
struct Past {
    event: Happening,
    text: String,
    rule: u32,
    used: u32,
}

/// The counter by hand.
struct ByHand<'r> {
    rules: &'r [Plain],
    past: Vec<Past>,
    fired: BTreeMap<(u32, &'static str, &'static str), i64>,
}

impl ByHand<'_> {
    /// The rule that alerts, 0 for none.
    fn judge(&mut self, event: &Happening) -> u32 {
        let mut mark = 0;
        let Some(rule) = self.first_result(0, event, &mut mark) else { return 0 };
        let rule = &self.rules[rule];
        if rule.level == 0 {
            return 0;
        }
        let timer = (rule.id, event.key.0, event.key.1);
        if rule.ignore > 0 && self.fired.get(&timer).is_some_and(|fired| event.at < fired + rule.ignore) {
            return 0;
        }
        self.fired.insert(timer, event.at);
        self.past.push(Past { event: event.clone(), text: event.text(), rule: rule.id, used: mark });
        rule.id
    }

    fn first_result(&mut self, parent: u32, event: &Happening, mark: &mut u32) -> Option<usize> {
        let mut children: Vec<usize> =
            (0..self.rules.len()).filter(|rule| self.rules[*rule].parent == parent).collect();
        children.sort_by_key(|rule| std::cmp::Reverse(rank(&self.rules[*rule])));
        for child in children {
            if !event.text().contains(self.rules[child].text) || !self.counted(child, event, mark) {
                continue;
            }
            if let Some(result) = self.first_result(self.rules[child].id, event, mark) {
                return Some(result);
            }
            if !self.rules[child].noalert {
                return Some(child);
            }
        }
        None
    }

    /// Whether the rule's count is full; if so, what it uses up is marked.
    fn counted(&mut self, rule: usize, event: &Happening, mark: &mut u32) -> bool {
        let Some(counting) = &self.rules[rule].counts else { return true };
        let level = rank(&self.rules[rule]);
        // All that the rule counts, the newest last, and of these what is still remembered.
        let here = |past: &Past| !has_location(counting) || past.event.key == event.key;
        let mut known: Vec<usize> = (0..self.past.len())
            .filter(|past| here(&self.past[*past]) && self.is_counted(rule, counting.what, &self.past[*past]))
            .collect();
        let remembered = self.remembered(rule, counting);
        known.drain(..known.len().saturating_sub(remembered));
        // Of the same user and so on, near in time, the latest first.
        let holds = |same: bool, past: &Past| {
            counting.options.iter().filter(|opt| opt.same == same).all(|opt| opt.holds(event, &past.event))
        };
        known.retain(|past| {
            let past = &self.past[*past];
            (past.event.at - event.at).abs() <= counting.timeframe && holds(true, past)
        });
        known.sort_by_key(|past| (self.past[*past].event.at, *past));
        known.reverse();
        let Some(newest) = known.first().copied() else { return false };
        if let Some(used) = known.iter().position(|past| self.past[*past].used >= level) {
            known.truncate(used);
        }
        known.retain(|past| holds(false, &self.past[*past]));
        let needed = counting.frequency + 1;
        for first in 0..known.len() {
            let Some(row) = known.get(first..first + needed) else { return false };
            let times = || row.iter().map(|past| self.past[*past].event.at).chain([event.at]);
            if times().max().unwrap() - times().min().unwrap() <= counting.timeframe {
                let last = row[needed - 1];
                let newest = if first == 0 { newest } else { row[0] };
                for used in [newest, last] {
                    self.past[used].used = self.past[used].used.max(level);
                }
                *mark = (*mark).max(level);
                return true;
            }
        }
        false
    }

    fn is_counted(&self, rule: usize, what: What, past: &Past) -> bool {
        let result = self.rules.iter().position(|rule| rule.id == past.rule).expect("a known rule");
        let counts = |rule: &Plain| rule.counts.as_ref().map(|counting| counting.what);
        let by_id = || self.rules.iter().any(|rule| counts(rule) == Some(What::Sid(past.rule)));
        match what {
            What::Sid(id) => past.rule == id,
            What::Group(group) => result < rule && self.rules[result].group == group && !by_id(),
            What::Regex(text) => past.text.contains(text),
        }
    }

    /// How many events of what a rule counts are remembered: 128, or 8192 of an expression; but twice what is needed
    /// when all of them count. Rules that count the same share them.
    fn remembered(&self, rule: usize, counting: &Counting) -> usize {
        let shares = |other: &Counting| match counting.what {
            What::Sid(_) => other.what == counting.what && has_location(other) == has_location(counting),
            What::Group(_) | What::Regex(_) => false,
        };
        let limit = |counting: &Counting| {
            let most = if matches!(counting.what, What::Regex(_)) { 8192 } else { 128 };
            let all = counting.options.iter().all(|opt| opt.same && opt.field == Field::Location);
            if all { most.min(2 * (counting.frequency + 1)) } else { most }
        };
        let own = self.rules[rule].counts.as_ref().map_or(0, limit);
        let others = self.rules.iter().filter_map(|rule| rule.counts.as_ref()).filter(|other| shares(other)).map(limit);
        others.fold(own, usize::max)
    }
}

/// Whether it counts each agent and place by itself.
fn has_location(counting: &Counting) -> bool {
    counting.options.iter().any(|opt| opt.same && opt.field == Field::Location)
}

fn rank(rule: &Plain) -> u32 {
    if rule.level == 0 { 99 } else { rule.level }
}

/// Some base rules, and composite rules over them and over each other.
fn some_rules(random: &mut Random) -> Vec<Plain> {
    let base = |id, text, group, level, ignore| Plain {
        id,
        level,
        group,
        noalert: false,
        ignore,
        text,
        parent: 0,
        counts: None,
    };
    let ignore = |random: &mut Random| if random.one_in(4) { 7 } else { 0 };
    let mut rules = vec![
        base(100_100, "alpha", "bad", 3, ignore(random)),
        base(100_101, "beta", "bad", 4, ignore(random)),
        base(100_102, "gamma", "good", 5, 0),
        base(100_103, "app", "good", 2, 0),
    ];
    for number in 0..1 + random.below(5) as usize {
        let parent = rules[random.below(rules.len() as u64) as usize].id;
        let what = match random.below(6) {
            0..3 => What::Sid(parent),
            3..5 => What::Group(["bad", "good"][random.below(2) as usize]),
            _ => What::Regex(["alpha", "ip=1", "app", "eve"][random.below(4) as usize]),
        };
        let mut options: Vec<&Opt> = Vec::new();
        for opt in &OPTS {
            if random.one_in(9) && !options.iter().any(|other| opt.contradicts(other)) {
                options.push(opt);
            }
        }
        let counting = Counting {
            frequency: random.below(5) as usize,
            timeframe: [5, 20, 60, 400][random.below(4) as usize],
            what,
            options,
        };
        rules.push(Plain {
            id: 100_200 + number as u32,
            level: [0, 2, 4, 8, 8, 10, 12][random.below(7) as usize],
            group: ["bad", "good"][random.below(2) as usize],
            noalert: random.one_in(8),
            ignore: ignore(random),
            text: ["", "", "", "bob", "a"][random.below(5) as usize],
            parent,
            counts: Some(counting),
        });
    }
    rules
}

fn compiled(rules: &[Plain]) -> RuleSet {
    let mut xml = String::new();
    for rule in rules {
        let Plain { id, level, group, ignore, .. } = rule;
        let noalert = if rule.noalert { " noalert=\"1\"" } else { "" };
        xml += &format!("<group name=\"{group}\"><rule id=\"{id}\" level=\"{level}\" ignore=\"{ignore}\"{noalert}");
        if let Some(Counting { frequency, timeframe, .. }) = &rule.counts {
            xml += &format!(" frequency=\"{frequency}\" timeframe=\"{timeframe}\"");
        }
        xml += "><description>x</description>";
        if !rule.text.is_empty() {
            xml += &format!("<match>{}</match>", rule.text);
        }
        if rule.parent > 0 {
            xml += &format!("<if_sid>{}</if_sid>", rule.parent);
        }
        if let Some(counting) = &rule.counts {
            xml += &match counting.what {
                What::Sid(id) => format!("<if_matched_sid>{id}</if_matched_sid>"),
                What::Group(group) => format!("<if_matched_group>{group}</if_matched_group>"),
                What::Regex(text) => format!("<if_matched_regex>{text}</if_matched_regex>"),
            };
            counting.options.iter().for_each(|opt| xml += opt.element);
        }
        xml += "</rule></group>\n";
    }
    let decoders = r#"<decoder name="app"><prematch>^app: </prematch>
        <regex offset="after_prematch">^user=(\S+) ip=(\S+) id=(\S+) from=(\S+) to=(\S+) url=(\S+)</regex>
        <order>user, srcip, id, srcport, dstport, url</order></decoder>"#;
    let source = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.as_bytes().to_vec() };
    let inputs = CompileInputs {
        rules: vec![source("test.xml", &xml)],
        decoders: vec![source("decoder.xml", decoders)],
        ..CompileInputs::default()
    };
    compile_inputs(&inputs, &Settings::default()).unwrap_or_else(|findings| panic!("{xml}\n{findings:#?}"))
}

fn some_events(random: &mut Random) -> Vec<Happening> {
    let late = random.one_in(2);
    let mut at = 0;
    let pick = |random: &mut Random, from: &[&'static str]| from[random.below(from.len() as u64) as usize];
    let events = (0..random.below(300)).map(|_| {
        at += random.below(6) as i64;
        let back = if late && random.one_in(4) { random.below(40) as i64 } else { 0 };
        let nobody = random.one_in(10);
        Happening {
            at: at - back,
            key: (pick(random, &["web-1", "web-2"]), pick(random, &["x", "y"])),
            user: if nobody { "" } else { pick(random, &["bob", "eve"]) },
            ip: if nobody { "" } else { pick(random, &["10", "11", "20"]) },
            id: if nobody { "" } else { pick(random, &["1", "2"]) },
            ports: if nobody { ("", "") } else { (pick(random, &["3", "4"]), pick(random, &["5", "6"])) },
            url: if nobody { "" } else { pick(random, &["/x", "/y"]) },
            word: pick(random, &["alpha", "beta", "gamma", "delta"]),
        }
    });
    events.collect()
}

fn log_line(event: &Happening) -> LogLine {
    let (agent, file) = event.key;
    LogLine {
        key: Key::new(agent, file).expect("a good key"),
        address: Some("10.0.0.1".to_owned()),
        location: format!("({agent}) 10.0.0.1->{file}"),
        time: time(event.at),
        text: event.text().into_bytes(),
    }
}

#[test]
fn random_composite_rules_answer_as_a_counter_by_hand() {
    let mut by_rule: BTreeMap<bool, u32> = BTreeMap::new();
    for seed in seeds(100) {
        let random = &mut Random(seed);
        let plain = some_rules(random);
        let rules = compiled(&plain);
        let mut by_hand = ByHand { rules: &plain, past: Vec::new(), fired: BTreeMap::new() };
        let (mut store, mut state) = (Store::default(), MemoryState::default());
        for (number, event) in some_events(random).iter().enumerate() {
            if random.one_in(10) {
                state = store.load();
            }
            let line = log_line(event);
            let input = Input::log(&line);
            let decision = rules.evaluate(&input, &state).expect("state can be read");
            state.apply(&decision.changes);
            store.apply(&decision.changes);
            let alert = decision.alerts.first().map_or(0, |alert| alert.rule.id.parse::<u32>().expect("an id"));
            let expected = by_hand.judge(event);
            assert_eq!(alert, expected, "TRIPLINE_TEST_SEED={seed}: event {number}: {event:?}\n{}", shown(&rules));
            *by_rule.entry(alert >= 100_200).or_default() += 1;
        }
        assert_eq!(store.load().histories, state.histories, "TRIPLINE_TEST_SEED={seed}");
    }
    assert!(by_rule.values().all(|count| *count > 0), "composite rules fire, and others do: {by_rule:?}");
}

fn shown(rules: &RuleSet) -> String {
    rules.files().iter().map(|file| String::from_utf8_lossy(&file.text)).collect()
}
