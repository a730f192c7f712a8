//! The ledger of runs and alerts: what reached the log held against what the commands wrote down themselves, and the alerts
//! against what the rules must have said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::{Embedded, Log, Place, Running, all_of, json_lines, without_source};

/// `counter` and `slow` print something new each time; `slow` is often hit while it runs. `list` is compared line by line,
/// `content` changes when the test changes it, `steady` never, `held` may fire once in two seconds.
pub const SETTINGS: &str = r#"
[agent]
name = "ledger"

[collector]
splay = 0
stop_grace = "100ms"

[[command]]
name = "counter"
format = "full_command"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/counter; echo $t'

[[command]]
name = "slow"
format = "full_command"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/slow; sleep 0.5; echo $t'

[[command]]
name = "list"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/list; echo first; echo $t; echo last'

[[command]]
name = "tick"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/tick; echo $t'

[[command]]
name = "held"
format = "full_command"
every = "1s"
command = 't=$$-$(date +%N); echo $t >> executed/held; echo $t'

[[command]]
name = "content"
format = "full_command"
every = "1s"
command = "cat content"

[[command]]
name = "steady"
format = "full_command"
every = "1s"
command = "echo the same"
"#;

const CHANGED: &str = "100001";
const SEEN: &str = "100002";
const HELD: &str = "100003";
const INTERRUPTED: &str = "100004";
pub const RULES: &str = r#"<group name="ledger,">
  <rule id="100001" level="7">
    <if_sid>530</if_sid>
    <match>'counter'|'slow'|'list'|'content'|'steady'</match>
    <check_diff />
    <description>It changed.</description>
  </rule>
  <rule id="100002" level="3">
    <if_sid>530</if_sid>
    <match>'tick'</match>
    <description>It ran.</description>
  </rule>
  <rule id="100003" level="7" ignore="2">
    <if_sid>530</if_sid>
    <match>'held'</match>
    <check_diff />
    <description>It changed, not too often.</description>
  </rule>
  <rule id="100004" level="3">
    <if_sid>990000</if_sid>
    <match>: interrupted</match>
    <description>It was interrupted.</description>
  </rule>
</group>
"#;

/// Exchanges what `content` prints, such that no half of it is ever seen.
pub fn change(place: &Place, version: u64) {
    let new = place.write("content.new", format!("version {version}\n"));
    std::fs::rename(new, place.path("content")).unwrap();
}

/// What the log holds of runs.
pub struct Ledger {
    /// In the order of their first copies.
    runs: Vec<Run>,
    /// Runs that a full spool has dropped: command, and how many.
    gaps: Vec<(String, u64)>,
    /// Copies that were published again.
    doubled: usize,
}

/// A run as the log holds it.
struct Run {
    spool: String,
    sequence: u64,
    command: String,
    /// What it printed; `None` when it did not end by itself.
    printed: Option<String>,
    /// Rather than timed out, as may happen on a busy machine.
    interrupted: bool,
}

impl Ledger {
    /// Of a place where nothing runs any more: what was collected is judged to its end, the state is sound, and the books hold.
    /// `outputs` and `alerts` have followed from the beginning; what they saw is given back.
    #[track_caller]
    pub fn close(place: &Place, outputs: Running, alerts: Running) -> (Ledger, String, String) {
        Embedded.judge(place, &["--rules", "rules.xml"]);
        Embedded.tripline(place, &["state", "verify"]).exits(0);
        let (history, alerts) = (all_of(place, "outputs", outputs), all_of(place, "alerts", alerts));
        let ledger = Ledger::read(&history);
        println!("{ledger}; {} alerts", alerts.lines().count());
        ledger.holds(place, &history, &alerts);
        (ledger, history, alerts)
    }

    /// From the history that the log gives. A collector that was killed before it knew that a run is published publishes
    /// it again: such a copy must be equal.
    pub fn read(history: &str) -> Ledger {
        let mut ledger = Ledger { runs: Vec::new(), gaps: Vec::new(), doubled: 0 };
        let mut seen: BTreeMap<String, Value> = BTreeMap::new();
        for mut record in json_lines(history) {
            record.as_object_mut().unwrap().remove("append_time");
            let gap = &record["gap"];
            let id = match gap {
                Value::Null => record["run"].as_str().unwrap().to_owned(),
                gap => format!("gap {} {} {}", gap["spool"], gap["first"], gap["last"]),
            };
            if let Some(first) = seen.get(&id) {
                assert_eq!(*first, record, "two runs of one number");
                ledger.doubled += 1;
                continue;
            }
            if gap.is_null() {
                ledger.runs.push(Run::from(&id, &record));
            } else {
                let command = gap["command"].as_str().unwrap().to_owned();
                ledger.gaps.push((command, gap["runs"].as_u64().unwrap()));
            }
            seen.insert(id, record);
        }
        ledger
    }

    /// Asserts that nothing is lost, doubled or out of order: neither runs nor the alerts on them. `history` is what the
    /// ledger was read from; the rules are in `rules.xml`.
    #[track_caller]
    pub fn holds(&self, place: &Place, history: &str, alerts: &str) {
        place.write("history.jsonl", history);
        place.write("alerts.jsonl", alerts);
        self.every_number_is_there_once();
        for file in std::fs::read_dir(place.path("executed")).unwrap() {
            self.every_execution_is_accounted_for(place, file.unwrap().file_name().to_str().unwrap());
        }
        let alerts = without_source(alerts);
        self.every_alert_is_there_once(&alerts);
        let replay = ["replay", "--rules", "rules.xml", "--from", "file:history.jsonl"];
        assert_eq!(without_source(&place.tripline(&replay).text()), alerts, "the replay of what the log holds");
    }

    /// The numbers of the one spool, from 1 on, in order; none is missing but those of gaps.
    #[track_caller]
    fn every_number_is_there_once(&self) {
        let spools: BTreeSet<&str> = self.runs.iter().map(|run| run.spool.as_str()).collect();
        assert_eq!(spools.len(), 1, "{spools:?}");
        let numbers: Vec<u64> = self.runs.iter().map(|run| run.sequence).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let counted = numbers.len() as u64 + self.gaps.iter().map(|(_, runs)| runs).sum::<u64>();
        assert_eq!(numbers.last(), Some(&counted), "{numbers:?}, gaps {:?}", self.gaps);
    }

    /// What the command wrote down itself: what it printed is in the log once, or one of its runs did not finish, or was
    /// dropped.
    #[track_caller]
    fn every_execution_is_accounted_for(&self, place: &Place, command: &str) {
        let executed = place.read(&format!("executed/{command}"));
        let runs: Vec<&Run> = self.runs.iter().filter(|run| run.command == command).collect();
        let printed: Vec<&str> = runs
            .iter()
            .filter_map(|run| run.printed.as_deref())
            .map(|text| text.lines().find(is_token).unwrap())
            .collect();
        for token in &printed {
            assert_eq!(executed.lines().filter(|line| line == token).count(), 1, "{command} printed {token}");
        }
        let distinct: BTreeSet<&&str> = printed.iter().collect();
        assert_eq!(distinct.len(), printed.len(), "{command}: an execution is in the log twice");
        let unfinished = runs.len() - printed.len();
        let dropped: u64 = self.gaps.iter().filter(|(of, _)| of == command).map(|(_, runs)| runs).sum();
        let missing = executed.lines().count() - printed.len();
        assert!(
            missing <= unfinished + dropped as usize,
            "{command}: {missing} executions are not in the log, {unfinished} are unfinished, {dropped} dropped"
        );
    }

    /// What the rules say, computed from the runs alone.
    #[track_caller]
    fn every_alert_is_there_once(&self, alerts: &[Value]) {
        let mut expected = Vec::new();
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        for run in &self.runs {
            let Some(printed) = &run.printed else {
                expected.extend(run.interrupted.then(|| (INTERRUPTED, run.id())));
                continue;
            };
            let changed = before.insert(&run.command, printed).is_some_and(|before| before != printed);
            match run.command.as_str() {
                "tick" => expected.push((SEEN, run.id())),
                "held" => {} // Depends on the clock: the replay tells.
                _ if changed => expected.push((CHANGED, run.id())),
                _ => {}
            }
        }
        let given: Vec<(&str, String)> = alerts
            .iter()
            .map(|alert| (alert["rule"]["id"].as_str().unwrap(), &alert["run"]["id"]))
            .filter(|(rule, _)| [CHANGED, SEEN, INTERRUPTED].contains(rule))
            .map(|(rule, run)| (rule, run.as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(given, expected);
        let ids: BTreeSet<&str> = alerts.iter().map(|alert| alert["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), alerts.len(), "an alert is there twice");
    }

    /// How many runs a full spool has dropped.
    pub fn dropped(&self) -> u64 {
        self.gaps.iter().map(|(_, runs)| runs).sum()
    }
}

impl Run {
    fn id(&self) -> String {
        format!("{}/{}", self.spool, self.sequence)
    }

    fn from(id: &str, record: &Value) -> Run {
        let (spool, sequence) = id.split_once('/').unwrap();
        let ended = record["ending"].is_null() || record["ending"]["exited"] == 0;
        Run {
            spool: spool.to_owned(),
            sequence: sequence.parse().unwrap(),
            command: record["command"].as_str().unwrap().to_owned(),
            printed: ended.then(|| record["output"].as_str().unwrap().to_owned()),
            interrupted: record["ending"] == "interrupted",
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unfinished = self.runs.iter().filter(|run| run.printed.is_none()).count();
        let (runs, doubled, dropped) = (self.runs.len(), self.doubled, self.dropped());
        write!(f, "{runs} runs, {unfinished} of them unfinished, {doubled} published twice, {dropped} dropped")
    }
}

fn is_token(line: &&str) -> bool {
    line.contains('-')
}
