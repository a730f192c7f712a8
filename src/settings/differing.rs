//! Settings against those that are in use.

use std::collections::BTreeSet;

use anyhow::Context;

use super::Settings;

impl Settings {
    /// These settings, with the commands of others.
    pub fn with_commands_of(&self, other: &Settings) -> Settings {
        let (commands, command_files) = (other.commands.clone(), other.command_files.clone());
        Settings { commands, command_files, ..self.clone() }
    }

    /// The settings, such as `agent.name`, that have another value in `other`. What is said of commands does not count.
    pub fn differing(&self, other: &Settings) -> anyhow::Result<Vec<String>> {
        let table = |settings: &Settings| toml::Table::try_from(settings).context("comparing settings");
        let mut names = Vec::new();
        differing(&table(self)?, &table(other)?, "", &mut names);
        Ok(names)
    }
}

/// Adds the names of values that differ, in order; `within` is the name of the table and a dot.
fn differing(one: &toml::Table, other: &toml::Table, within: &str, names: &mut Vec<String>) {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for key in keys {
        match (one.get(key), other.get(key)) {
            (Some(toml::Value::Table(one)), Some(toml::Value::Table(other))) => {
                differing(one, other, &format!("{within}{key}."), names);
            }
            (one, other) if one != other => names.push(format!("{within}{key}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::parse;

    #[test]
    fn settings_that_differ_are_named_and_commands_are_left_out() {
        let one = parse("t", "data_dir = \"a\"\n[collector]\nsplay = 0.1\n").unwrap();
        let text = "data_dir = \"b\"\ncommand_files = [\"c\"]\n[agent]\nname = \"w\"\n[collector]\nsplay = 0.1\n\
                    stop_grace = \"3s\"\n[kafka.properties]\na = \"b\"\n[[command]]\ncommand = \"w\"\n";
        let names = one.differing(&parse("t", text).unwrap()).unwrap();
        assert_eq!(names, ["agent.name", "collector.stop_grace", "data_dir", "kafka.properties.a"]);
        assert_eq!(one.differing(&one).unwrap(), [""; 0]);
    }
}
