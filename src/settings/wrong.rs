//! Settings that can't be as they are, though each value is of its type.

use tripline_engine::load::LEVEL_MAX;

use super::{GroupMay, Settings};

/// As Kafka has it.
const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Far beyond what one cluster does well with.
const PARTITIONS_MAX: u64 = 10_000;
/// Of an alert's text: an alert of the largest size still fits into a record of its topic.
const TEXT_BYTES_MAX: u64 = 128 * 1024;

impl Settings {
    /// What can't be as it is, though each value is of its type.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Err(error) = self.zone() {
            wrong.push(error.to_string());
        }
        let names = self.topic_names();
        let all = [&names.outputs, &names.alerts, &names.dead_letters, &names.rulesets, &names.changelog];
        for (at, name) in all.iter().enumerate() {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if !(1..=TOPIC_NAME_BYTES_MAX).contains(&name.len()) || !name.chars().all(is_plain) {
                wrong.push(format!(
                    "`{name}` can't name a topic: 1 to {TOPIC_NAME_BYTES_MAX} letters, digits, `.`, `_` and `-` can \
                     (`[topics]` and `application_id` make the names)"
                ));
            }
            if all[..at].contains(name) {
                wrong.push(format!("two topics are named `{name}` (`[topics]` and `application_id` make the names)"));
            }
        }
        let mut within = |setting: &str, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                wrong.push(format!("setting `{setting}` is {value}; it can be {min} to {max}"));
            }
        };
        within("topics.partitions", self.topics.partitions.unwrap_or(1).into(), 1, PARTITIONS_MAX);
        within("alerts.log_level", self.alerts.log_level.unwrap_or_default().into(), 0, LEVEL_MAX.into());
        within("alerts.mail_level", self.alerts.mail_level.unwrap_or_default().into(), 0, LEVEL_MAX.into());
        within("alerts.text_bytes_max", self.alerts.text_bytes_max as u64, 1, TEXT_BYTES_MAX);
        within("outputs.bytes_max", self.outputs.bytes_max as u64, 1, tripline_collector::OUTPUT_BYTES_MAX as u64);
        if self.socket.group.is_none() && self.socket.group_may != GroupMay::default() {
            wrong.push(
                "setting `socket.group_may` says what the members of `socket.group` may, which is not set".to_owned(),
            );
        }
        wrong.extend(
            self.kafka_settings(String::new()).check().into_iter().map(|what| format!("[kafka.properties]: {what}")),
        );
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::parse;
    use super::*;

    #[test]
    fn values_that_can_not_be_are_all_named() {
        let text = "time_zone = \"Mars\"\n[topics]\noutputs = \"a/b\"\npartitions = 0\n[alerts]\nlog_level = 17\n\
                    text_bytes_max = 3000000\n[socket]\ngroup_may = \"write\"\n[kafka.properties]\n\"group.id\" = \"x\"\n";
        let wrong = parse("t", text).unwrap().wrong();
        let parts = [
            "Mars",
            "`a/b` can't name a topic",
            "topics.partitions",
            "log_level` is 17",
            "text_bytes_max",
            "socket.group_may",
            "group.id",
        ];
        assert_eq!(wrong.len(), parts.len(), "{wrong:?}");
        for (wrong, part) in wrong.iter().zip(parts) {
            assert!(wrong.contains(part), "{wrong}");
        }
        assert!(Settings::default().wrong().is_empty());
    }
}
