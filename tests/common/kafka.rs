//! A real Kafka as the log of a scenario, with topics and an application of its own.

use super::{Log, Place};

/// Partitions of each topic: more than one, so that keys lie apart.
const PARTITIONS: &str = "3";

/// The shared broker, names of its own.
pub struct Kafka {
    name: String,
}

impl Kafka {
    pub fn new() -> Kafka {
        Kafka { name: tripline_testkafka::unique("whole") }
    }
}

impl Log for Kafka {
    fn flags(&self) -> Vec<String> {
        ["--kafka", tripline_testkafka::shared(), "--data-dir", "data"].map(str::to_owned).to_vec()
    }

    fn settings(&self) -> String {
        format!("application_id = '{}'\n", self.name)
    }

    fn setting_tables(&self) -> String {
        let topic = |kind: &str| format!("{kind} = '{}.{kind}'\n", self.name);
        let names: String = ["outputs", "alerts", "dead_letters", "rulesets"].map(topic).concat();
        format!("[topics]\npartitions = {PARTITIONS}\n{names}[kafka]\nreplication = 1\n")
    }

    fn outputs_topic(&self) -> String {
        format!("{}.outputs", self.name)
    }

    fn prepare(&self, place: &Place) {
        self.tripline(place, &["topics", "create"]).exits(0);
    }

    #[track_caller]
    fn judge(&self, place: &Place, rules: &[&str]) {
        self.tripline(place, &[&["process", "--until-caught-up"], rules].concat()).exits(0);
    }
}
