//! A made-up world from a seed: agents whose commands run, and what their collectors publish.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tripline_engine::{RuleSet, Settings, SourceFile, compile};
use tripline_eventlog::Stored;
use tripline_schemas::event::{Control, Event, Gap, Heartbeat, Order};
use tripline_schemas::partition::partition_for;
use tripline_schemas::{Ending, Format, Key, Record, Run, RunId};
use uuid::Uuid;

/// Random numbers that a seed repeats (splitmix64).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The seeds to try: the first `few`, or as many as `TRIPLINE_SEEDS` says, or the one that `SEED` names.
pub fn seeds(few: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("TRIPLINE_SEEDS").unwrap_or(few)).collect(),
    }
}

/// Rules that compare, ignore, filter, stay silent, count, and judge failed runs.
pub const RULES: &str = r#"
<group name="sim,">
  <rule id="100530" level="0">
    <if_sid>530</if_sid>
    <match>^ossec: output: 'ports':</match>
    <description>ports</description>
  </rule>
  <rule id="100533" level="7">
    <if_sid>100530</if_sid>
    <check_diff />
    <description>Listening ports changed.</description>
  </rule>
  <rule id="100540" level="5" ignore="300">
    <if_sid>530</if_sid>
    <match>^ossec: output: 'logins':</match>
    <check_diff />
    <description>Logins changed.</description>
  </rule>
  <rule id="100550" level="8" ignore="120">
    <if_sid>530</if_sid>
    <match>^ossec: output: 'disk':</match>
    <regex>100%</regex>
    <description>Disk full.</description>
  </rule>
  <rule id="100551" level="0">
    <if_sid>530</if_sid>
    <match>^ossec: output: 'disk': tmpfs</match>
    <description>Never mind.</description>
  </rule>
  <rule id="100560" level="4">
    <if_sid>990000</if_sid>
    <description>Something about a run.</description>
  </rule>
  <rule id="100561" level="6" frequency="1" timeframe="9999">
    <if_matched_sid>100560</if_matched_sid>
    <same_location />
    <description>Again and again.</description>
  </rule>
  <rule id="100562" level="9" frequency="0" timeframe="9999">
    <if_sid>100533</if_sid>
    <if_matched_regex>ports</if_matched_regex>
    <same_location />
    <description>Ports change all the time.</description>
  </rule>
</group>
"#;

/// Compiles rule text.
pub fn rules(text: &str) -> RuleSet {
    let file = SourceFile { name: "sim.xml".to_owned(), text: text.as_bytes().to_vec() };
    compile(&[file], &Settings::default()).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// The same, with rules that count over all agents and commands: for one partition.
pub fn rules_over_keys() -> RuleSet {
    rules(&RULES.replace("<same_location />", ""))
}

/// What lies in the outputs topic, by the order in which it was appended.
#[derive(Clone)]
pub struct World {
    /// Append time and record.
    pub records: Vec<(Timestamp, Record)>,
}

struct Collector {
    agent: &'static str,
    spool: Uuid,
    sequence: u64,
    /// How far its clock is off, in seconds.
    skew: i64,
    /// What it published lately, and may publish again.
    recent: Vec<Record>,
    /// Command to its present output.
    outputs: BTreeMap<&'static str, Vec<u8>>,
}

const COMMANDS: [(&str, Format); 4] = [
    ("ports", Format::FullCommand),
    ("logins", Format::Command),
    ("disk", Format::Command),
    ("uptime", Format::FullCommand),
];

impl World {
    /// About `size` records.
    pub fn new(seed: u64, size: usize) -> World {
        let mut random = Random::new(seed);
        let mut now = Timestamp::from_second(1_760_000_000).unwrap();
        let mut collector = |agent, skew| Collector {
            agent,
            spool: Uuid::from_u128(u128::from(random.next()) << 64 | u128::from(random.next())),
            sequence: 0,
            skew,
            recent: Vec::new(),
            outputs: BTreeMap::new(),
        };
        // Two collectors speak under one agent's name, and one collector's clock is an hour ahead.
        let mut collectors = [collector("web", 0), collector("db", 3_600), collector("twin", 0), collector("twin", -5)];
        let mut random = Random::new(!seed);
        let mut records = Vec::new();
        while records.len() < size {
            now += SignedDuration::from_millis(random.below(40_000) as i64);
            let collector = random.pick_mut(&mut collectors);
            match random.below(20) {
                0 => {
                    let from = collector.recent.len() - random.below(collector.recent.len().min(6) + 1);
                    records.extend(collector.recent[from..].iter().map(|record| (now, record.clone())));
                }
                1 => records.push((now, garbage(collector, &mut random))),
                2 if random.one_in(3) => collector.reinstall(&mut random),
                2 => records.push((now, collector.beat(now))),
                3 if random.one_in(4) => records.push((now, forget(collector, now, &mut random))),
                3 => records.push((now, collector.lose(now, &mut random))),
                _ => records.push((now, collector.run(now, &mut random))),
            }
        }
        World { records }
    }

    /// The records as a log of so many partitions holds them, with gaps between the offsets as on Kafka.
    pub fn partitions(&self, count: u32) -> Vec<Vec<Stored>> {
        let mut partitions = vec![Vec::new(); count as usize];
        for (append_time, record) in &self.records {
            let partition = partition_for(record.key.as_deref().unwrap_or_default(), count);
            let stored = &mut partitions[partition as usize];
            let offset = offset_of(stored.len());
            stored.push(Stored { partition, offset, append_time: *append_time, record: record.clone() });
        }
        partitions
    }
}

/// The offset of a partition's n-th record.
pub fn offset_of(n: usize) -> u64 {
    (n + n / 3) as u64
}

impl Random {
    fn pick_mut<'a, T>(&mut self, from: &'a mut [T]) -> &'a mut T {
        let at = self.below(from.len());
        &mut from[at]
    }
}

impl Collector {
    fn key(&self, command: &str) -> Key {
        Key::new(self.agent, command).unwrap()
    }

    fn publish(&mut self, event: Event) -> Record {
        let record = event.to_record();
        self.recent.push(record.clone());
        record
    }

    fn run(&mut self, now: Timestamp, random: &mut Random) -> Record {
        let (command, format) = *random.pick(&COMMANDS);
        self.sequence += 1;
        let output = self.outputs.entry(command).or_default();
        if output.is_empty() || random.one_in(3) {
            *output = new_output(command, random);
        }
        let output = output.clone();
        let ending = match random.below(24) {
            0 => Ending::TimedOut(30_000),
            1 => Ending::Signalled(9),
            2 => Ending::Interrupted,
            3 => Ending::NotStarted("no such file".to_owned()),
            4 => Ending::Exited(127),
            5..8 => Ending::Exited(1),
            _ => Ending::Exited(0),
        };
        // Now and then one was held up on its way, and comes after a later one.
        let delay = if random.one_in(10) { random.below(600) as i64 } else { 0 };
        self.publish(Event::Output(Run {
            id: RunId { spool: self.spool, sequence: self.sequence },
            key: self.key(command),
            address: (self.agent == "web").then(|| "10.0.0.1".to_owned()),
            command_line: command.to_owned(),
            alias: None,
            format,
            started: now + SignedDuration::from_secs(self.skew - delay),
            duration_ms: 10,
            start_delay_ms: None,
            ending,
            truncated_from: random.one_in(15).then_some(output.len() as u64 + 1_000),
            stderr_tail: Vec::new(),
            collector: "sim".to_owned(),
            output,
        }))
    }

    fn lose(&mut self, now: Timestamp, random: &mut Random) -> Record {
        let first = self.sequence + 1;
        self.sequence += 1 + random.below(5) as u64;
        let key = self.key(random.pick(&COMMANDS).0);
        let (spool, last) = (self.spool, self.sequence);
        self.publish(Event::Gap(Gap { key, address: None, spool, first, last, runs: last - first + 1, time: now }))
    }

    fn beat(&mut self, now: Timestamp) -> Record {
        let (agent, spool) = (self.agent.to_owned(), self.spool);
        let plan = BTreeMap::from([("ports".to_owned(), 360)]);
        self.publish(Event::Heartbeat(Heartbeat {
            agent,
            address: None,
            spool,
            time: now,
            collector: "sim".to_owned(),
            plan,
        }))
    }

    /// The spool is gone: the collector starts again from 1 under another name, and repeats nothing.
    fn reinstall(&mut self, random: &mut Random) {
        self.spool = Uuid::from_u128(u128::from(random.next()));
        self.sequence = 0;
        self.recent.clear();
    }
}

fn new_output(command: &str, random: &mut Random) -> Vec<u8> {
    let lines = random.below(4);
    let line = |random: &mut Random| match command {
        "ports" => format!("tcp 0.0.0.0:{} LISTEN\n", 20 + random.below(4)).into_bytes(),
        "logins" => format!("user{} pts/{}\r\n", random.below(3), random.below(2)).into_bytes(),
        "disk" => format!("{} {}%\n", random.pick(&["/dev/sda1", "tmpfs"]), random.pick(&[40, 100])).into_bytes(),
        _ => vec![0xff, 0xfe, random.below(256) as u8, b'\n'],
    };
    (0..lines).flat_map(|_| line(random)).collect()
}

fn forget(collector: &Collector, time: Timestamp, random: &mut Random) -> Record {
    let rule = random.one_in(2).then_some(100_533);
    let (author, reason) = ("sim".to_owned(), "a test".to_owned());
    let key = collector.key(random.pick(&COMMANDS).0);
    Event::Control(Control { key, order: Order::Forget { rule }, author, reason, time }).to_record()
}

/// A record that nobody can read, under the key of one that could be.
fn garbage(collector: &Collector, random: &mut Random) -> Record {
    let mut record = collector.recent.last().cloned().unwrap_or_default();
    match random.below(4) {
        0 => record.headers.0.clear(),
        1 => record.headers.push("ce_type", "tripline.unheard-of.v9"),
        2 => record.headers.push("ce_id", [0xff, 0xfe]),
        _ => {
            let key = collector.key("ports").to_bytes();
            record = Record { key: Some(key), value: None, ..Record::default() };
        }
    }
    record
}
