//! Settings and flags that can't be used: where the mistake is, and what was probably meant.

use super::{Place, place};

/// With this settings file, `run` is refused, says these parts, and starts nothing.
#[track_caller]
fn refused(settings: &str, parts: &[&str]) {
    let place = Place::new();
    place.write("other.toml", settings);
    place.tripline(&["--config", "other.toml", "run", "--data-dir", "data"]).exits(2).says(parts);
    assert!(!place.path("data").exists());
}

#[test]
fn an_unknown_setting_is_refused_with_its_place_and_a_suggestion() {
    refused("[alerts]\nmail_levle = 9\n", &["other.toml", "line 2", "did you mean `mail_level`?"]);
    refused("[kafak]\nenabled = true\n", &["other.toml", "line 1", "did you mean `kafka`?"]);
    refused("[[command]]\ncommand = 'w'\nevry = '1m'\n", &["other.toml", "line 3", "did you mean `every`?"]);
}

#[test]
fn an_ill_typed_setting_is_refused_with_its_place() {
    refused("[outputs]\nbytes_max = 'much'\n", &["other.toml", "line 2", "\"much\""]);
    refused("[outputs]\nkeep = '14 fortnights'\n", &["line 2", "`14 fortnights` is not a duration", "`30s`"]);
    refused("[[command]]\ncommand = 7\n", &["line 2", "expected a text for the shell, or a list"]);
    refused("data_dir = \n", &["other.toml", "line 1"]);
}

#[test]
fn all_that_is_wrong_with_commands_is_said_at_once() {
    refused(
        "[[command]]\nname = 'w'\ncommand = 'w'\n[[command]]\nname = 'w'\ncommand = 'who'\n\
         [[command]]\ncommand = 'df'\nevery = '10s'\ntimeout = '1m'\n",
        &["command 2 (`w`): the name is taken by command 1", "command 3 (`df`): `timeout` (60s) is not shorter"],
    );
    refused("", &["there are no commands to run", "[[command]]"]);
    refused(
        "[[command]]\nname = 'w'\ncommand = 'w'\nuser = 'no-such-user'\n",
        &["command `w`: this machine has no user `no-such-user`"],
    );
    refused("command_files = ['nowhere.toml']\n", &["nowhere.toml"]);
}

#[test]
fn a_variable_that_is_no_setting_or_ill_typed_is_refused_by_name() {
    let place = place();
    let with = |name: &str, value: &str| {
        let mut command = place.command(&["run", "--data-dir", "data"]);
        command.env(name, value);
        place.run(command, b"").exits(2)
    };
    with("TRIPLINE_DATA_DIRR", "x").says(&["TRIPLINE_DATA_DIRR", "did you mean `data_dir`?"]);
    with("TRIPLINE_ALERTS__LOG_LEVEL", "high").says(&["TRIPLINE_ALERTS__LOG_LEVEL", "\"high\""]);
    assert!(!place.path("data").exists());
    let mut command = place.command(&["alerts", "--data-dir", "data"]);
    command.env("TRIPLINE_TIME_ZONE", "Europe/Berln");
    place.run(command, b"").exits(2).says(&["time_zone", "`Europe/Berln` is no time zone"]);
}

#[test]
fn a_variable_and_then_a_flag_overrides_the_file() {
    let place = place();
    place.write("ticks.jsonl", super::ticks(2));
    let import = |data_dir: Option<&str>, flags: &[&str]| {
        let mut command = place.command(&[&["outputs", "import", "ticks.jsonl"], flags].concat());
        command.envs(data_dir.map(|dir| ("TRIPLINE_DATA_DIR", dir)));
        place.run(command, b"").exits(0);
    };
    import(None, &[]);
    assert!(place.path("tripline-data/log").exists());
    import(Some("by-variable"), &[]);
    assert!(place.path("by-variable/log").exists());
    import(Some("by-variable-2"), &["--data-dir", "by-flag"]);
    assert!(place.path("by-flag/log").exists() && !place.path("by-variable-2").exists());
}

#[test]
fn an_unknown_flag_verb_or_value_is_refused_with_a_suggestion() {
    let place = place();
    place.tripline(&["alerts", "--fromat", "json"]).exits(2).says(&["--fromat", "--format"]);
    place.tripline(&["alerts", "--format", "jsn"]).exits(2).says(&["jsn", "json"]);
    place.tripline(&["alrts"]).exits(2).says(&["alrts", "alerts"]);
    place.tripline(&["alerts", "--since", "yesterday-ish"]).exits(2).says(&["`yesterday-ish` is not a time"]);
    place.tripline(&["run", "--for", "a while"]).exits(2).says(&["`a while` is not a duration"]);
    place.tripline(&["alerts", "--config", "nowhere.toml"]).exits(2).says(&["nowhere.toml"]);
}

#[test]
fn a_kafka_property_that_exactly_once_depends_on_is_refused() {
    let settings = "[kafka]\nenabled = true\nbootstrap = ['127.0.0.1:1']\nproperties = {'enable.idempotence' = 'false'}\n\
                    [[command]]\ncommand = 'w'\n";
    let place = Place::new();
    place.write("tripline.toml", settings);
    place.tripline(&["run"]).exits(2).says(&["[kafka.properties]", "enable.idempotence"]);
    place.write("tripline.toml", "[kafka]\nenabled = true\n");
    place.tripline(&["alerts"]).exits(2).says(&["no Kafka brokers are named", "kafka.bootstrap"]);
}

#[test]
fn a_broken_ossec_configuration_is_refused_with_its_line() {
    let place = place();
    place.write("ossec.conf", "<ossec_config>\n  <localfile>\n    <command>df -P</command>\n</ossec_config>\n");
    place.tripline(&["run", "--ossec-conf", "ossec.conf", "--data-dir", "data"]).exits(2).says(&["ossec.conf:"]);
    assert!(!place.path("data").exists());
}

#[test]
fn a_broker_that_does_not_answer_is_named_and_not_waited_for_for_ever() {
    let place = place();
    for verb in [&["alerts"][..], &["process", "--rules", "rules.xml"], &["topics", "create"]] {
        let ran = place.tripline(&[verb, &["--kafka", "127.0.0.1:1"]].concat()).exits(5);
        ran.says(&["127.0.0.1:1", "check the address"]);
    }
}
