//! Decoders and lists beside the rules: from flags, from settings, from an OSSEC installation.

use super::Place;
use crate::common::json_lines;

const DECODERS: &str = r#"<decoder name="shop">
  <prematch>^shop: </prematch>
  <regex offset="after_prematch">^(\w+) from (\S+)</regex>
  <order>user, srcip</order>
</decoder>
"#;

/// A login by somebody who is in the list, and by anybody else.
const RULES: &str = r#"<group name="shop,">
  <rule id="100200" level="3">
    <decoded_as>shop</decoded_as>
    <description>A login.</description>
  </rule>
  <rule id="100201" level="9">
    <if_sid>100200</if_sid>
    <list field="user" lookup="match_key">lists/admins.cdb</list>
    <description>An administrator's login.</description>
  </rule>
</group>
"#;

/// Lines that are no command's output, as a history.
const LINES: &str = r#"{"agent":"box","location":"/var/log/shop","time":"2026-01-01T00:00:00Z","log":"shop: bob from 10.1.2.3"}
{"agent":"box","location":"/var/log/shop","time":"2026-01-01T00:00:10Z","log":"shop: alice from 10.1.2.4"}
"#;

/// The list lies where OSSEC keeps it: in `lists` beside the directory of rules.
fn place() -> Place {
    let place = Place::new();
    place.write("tripline.toml", "");
    place.write("decoders/shop.xml", DECODERS);
    place.write("rules/shop.xml", RULES);
    place.write("lists/admins", "alice:1\n");
    place.write("lines.jsonl", LINES);
    place
}

/// The rules that fired on the lines.
fn fired(place: &Place, arguments: &[&str]) -> Vec<String> {
    let ran = place.tripline(&[&["replay", "--from", "file:lines.jsonl"], arguments].concat());
    json_lines(&ran.text()).iter().map(|alert| alert["rule"]["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn lines_of_a_history_are_taken_apart_and_looked_up() {
    let place = place();
    let flags = ["--rules", "rules", "--decoders", "decoders"];
    assert_eq!(fired(&place, &flags), ["100200", "100201"]);
    let alerts = place.tripline(&[&["replay", "--from", "file:lines.jsonl"][..], &flags].concat()).text();
    let alert = &json_lines(&alerts)[1];
    assert_eq!(alert["decoder"], serde_json::json!({"name": "shop"}));
    assert_eq!(alert["data"], serde_json::json!({"dstuser": "alice", "srcip": "10.1.2.4"}));
    assert_eq!(alert["location"], "box->/var/log/shop");
    // Without decoders the rules are wrong, and say what is missing.
    place.tripline(&["check", "rules"]).exits(2);
    let said = String::from_utf8(place.tripline(&["check", "rules"]).out).unwrap();
    assert!(said.contains("there is no decoder `shop`") && said.contains("decoder file"), "{said}");
    place.tripline(&["check", "rules", "--decoders", "decoders"]).exits(0);
}

#[test]
fn decoders_and_lists_are_found_by_flags_by_settings_and_by_their_contents() {
    let place = place();
    std::fs::rename(place.path("lists"), place.path("elsewhere")).unwrap();
    let flags = ["--rules", "rules", "--decoders", "decoders/shop.xml"];
    // A list that is not found never matches, and that is said.
    assert_eq!(fired(&place, &flags), ["100200", "100200"]);
    place.tripline(&[&["logtest"][..], &flags].concat()).exits(0).says(&["TL0907", "there is no list `lists/admins`"]);
    for lists in ["elsewhere", "elsewhere/admins"] {
        assert_eq!(fired(&place, &[&flags[..], &["--lists", lists]].concat()), ["100200", "100201"], "{lists}");
    }
    let ran = place.tripline(&[&["check"][..], &flags, &["--lists", "nowhere"]].concat()).exits(2);
    assert!(String::from_utf8_lossy(&ran.out).contains("`nowhere`"));
    let settings = "[rules]\ndirs = [\"rules\"]\ndecoders = [\"decoders\"]\nlists = [\"elsewhere\"]\n";
    place.write("tripline.toml", settings);
    assert_eq!(fired(&place, &[]), ["100200", "100201"]);
    // Decoders that lie among the rules are known by what is in them.
    place.write("tripline.toml", "[rules]\ndirs = [\"rules\"]\nlists = [\"elsewhere\"]\n");
    std::fs::rename(place.path("decoders/shop.xml"), place.path("rules/a_decoders.xml")).unwrap();
    assert_eq!(fired(&place, &[]), ["100200", "100201"]);
}

#[test]
fn a_pasted_line_is_decoded() {
    let place = place();
    let logtest = ["logtest", "--rules", "rules", "--decoders", "decoders"];
    let shown = place.with_input(&logtest, b"shop: alice from 10.1.2.4\n").text();
    assert!(shown.contains("\nSrc IP: 10.1.2.4\nUser: alice\n"), "{shown}");
    assert!(shown.contains("rule 100201 \"An administrator's login.\" takes it: ALERT"), "{shown}");
    assert!(shown.contains("decoder shop\n") && shown.contains("  srcip = 10.1.2.4\n"), "{shown}");
    // Rules for other kinds of lines are counted, and shown when asked for.
    let shown = place.with_input(&logtest, b"something else\n").text();
    assert!(shown.contains("rules for other kinds of lines") && !shown.contains("category"), "{shown}");
    let shown = place.with_input(&[&logtest[..], &["--all-rules"]].concat(), b"something else\n").text();
    assert!(shown.contains(" does not hold: category\n") && !shown.contains("other kinds of lines"), "{shown}");
}

#[test]
fn a_rule_test_names_decoders_and_lists() {
    let place = place();
    let test = |more: &str| {
        format!(
            "rules: [rules/]\n{more}tests:\n  - name: logins\n    steps:\n      \
             - {{log: 'shop: bob from 10.1.2.3', location: /var/log/shop, expect: [{{rule: 100200}}]}}\n      \
             - {{log: 'shop: alice from 10.1.2.4', location: /var/log/shop, expect: [{{rule: 100201}}]}}\n"
        )
    };
    place.write("shop_test.yaml", test("decoders: [decoders/]\n"));
    place.tripline(&["test", "shop_test.yaml"]).exits(0);
    std::fs::rename(place.path("lists"), place.path("elsewhere")).unwrap();
    place.tripline(&["test", "shop_test.yaml"]).exits(1);
    place.write("shop_test.yaml", test("decoders: [decoders/]\nlists: [elsewhere]\n"));
    place.tripline(&["test", "shop_test.yaml"]).exits(0);
    place.write("shop_test.yaml", test("decoders: [nowhere]\n"));
    place.tripline(&["test", "shop_test.yaml"]).exits(2).says(&["nowhere", "shop_test.yaml:2"]);
    place.write("shop_test.yaml", test("decoders: [decoders/]\nlists: [nowhere]\n"));
    place.tripline(&["test", "shop_test.yaml"]).exits(2).says(&["nowhere", "shop_test.yaml:3"]);
}

/// An OSSEC installation with these lines in `<rules>`.
fn installation(rules: &str) -> Place {
    let place = Place::new();
    place.write("tripline.toml", "[agent]\nname = \"box\"\n");
    place.write(
        "ossec/etc/ossec.conf",
        format!(
            "<ossec_config>\n<rules>\n{rules}\n</rules>\n<localfile>\n<log_format>full_command</log_format>\n\
             <command>cat ports.txt</command>\n<alias>ports</alias>\n<frequency>1</frequency>\n</localfile>\n\
             </ossec_config>\n"
        ),
    );
    place.write("ossec/etc/decoder.xml", DECODERS);
    place.write("ossec/rules/shop.xml", RULES);
    place.write("ossec/rules/broken.xml", "<group>");
    place.write(
        "ossec/rules/local_rules.xml",
        "<group name=\"local,\">\n<rule id=\"100210\" level=\"7\">\n<if_sid>530</if_sid>\n\
         <match>ossec: output: 'ports'</match>\n<check_diff />\n<description>Ports.</description>\n</rule>\n</group>\n",
    );
    place.write("ossec/lists/admins", "alice:1\n");
    place.write("lines.jsonl", LINES);
    place
}

const CONF: [&str; 2] = ["--ossec-conf", "ossec/etc/ossec.conf"];

#[test]
fn an_ossec_installation_brings_its_rules_decoders_and_lists() {
    let includes = "<include>shop.xml</include>\n<include>local_rules.xml</include>\n<list>lists/admins</list>";
    let place = installation(includes);
    place.tripline(&[&["check"][..], &CONF].concat()).exits(0);
    assert_eq!(fired(&place, &CONF), ["100200", "100201"]);
    // A list that it does not name is none, though it lies in its place.
    let place = installation("<include>shop.xml</include>\n<include>local_rules.xml</include>");
    place.tripline(&[&["check"][..], &CONF].concat()).exits(1);
    assert_eq!(fired(&place, &CONF), ["100200", "100200"]);
    assert_eq!(fired(&place, &[&CONF[..], &["--lists", "ossec/lists"]].concat()), ["100200", "100201"]);
    // As newer configurations write it, with a file left out.
    let place = installation(
        "<decoder_dir>etc/decoders</decoder_dir>\n<rule_dir>rules</rule_dir>\n<rule_exclude>broken.xml</rule_exclude>\n\
         <list>lists/admins</list>",
    );
    place.write("ossec/etc/decoders/shop.xml", DECODERS);
    place.write("ossec/etc/decoder.xml", "<decoder>");
    assert_eq!(fired(&place, &CONF), ["100200", "100201"]);
    // What is named must be there.
    let place = installation("<include>shop.xml</include>\n<decoder>none.xml</decoder>");
    let said = "error[TL0016]: decoder file `ossec/etc/none.xml` does not exist\n --> ossec/etc/ossec.conf:4:1\n";
    let ran = place.tripline(&[&["check"][..], &CONF].concat()).exits(2);
    assert!(String::from_utf8_lossy(&ran.out).contains(said));
    let place = installation("<include>shop.xml</include>\n<list>lists/nobody</list>");
    let said = "error[TL0016]: list `ossec/lists/nobody` does not exist\n --> ossec/etc/ossec.conf:4:1\n";
    let ran = place.tripline(&[&["check"][..], &CONF].concat()).exits(2);
    assert!(String::from_utf8_lossy(&ran.out).contains(said));
}

#[test]
fn an_ossec_installation_is_watched_with_its_commands_and_rules() {
    let place = installation("<include>local_rules.xml</include>");
    place.write("ports.txt", "LISTEN 22\n");
    let mut running = place.start(&[&["run", "--data-dir", "data"][..], &CONF].concat());
    running.wait_for("watching with 1 command and 1 rule;");
    let outputs = |place: &Place| place.tripline(&["outputs", "--data-dir", "data", "--format", "json"]).out;
    running.wait_until("a first output", |_| !outputs(&place).is_empty());
    place.write("ports.txt", "LISTEN 22\nLISTEN 23\n");
    let alerts = |place: &Place| place.tripline(&["alerts", "--data-dir", "data", "--format", "json"]).out;
    running.wait_until("an alert", |_| !alerts(&place).is_empty());
    running.stop().exits(0);
    let alerts = json_lines(&String::from_utf8(alerts(&place)).unwrap());
    assert_eq!(alerts[0]["rule"]["id"], "100210");
    assert_eq!(alerts[0]["location"], "box->ports");
    assert_eq!(alerts[0]["diff"]["added"], serde_json::json!(["LISTEN 23"]));
}

#[test]
fn changed_decoders_and_lists_are_taken_over_while_it_runs() {
    let place = place();
    place.write("tripline.toml", "[agent]\nname = \"box\"\n");
    let process = ["process", "--rules", "rules", "--decoders", "decoders", "--data-dir", "data"];
    let digest = |text: &str| text.rsplit("rule set ").next().unwrap().trim().to_owned();
    let mut running = place.start(&process);
    running.wait_until("its socket", |_| place.path("data/log/tripline.sock").exists());
    place.write("lists/admins", "bob:1\n");
    running.wait_for("judging by 2 rules now: rule set ");
    let first = digest(&running.messages());
    place.write("decoders/shop.xml", DECODERS.replace("user, srcip", "dstuser, srcip"));
    running
        .wait_until("a second rule set", |running| running.messages().matches("judging by 2 rules now").count() == 2);
    assert_ne!(digest(&running.messages()), first, "the digest covers lists and decoders");
    // A change with an error is left aside.
    place.write("decoders/shop.xml", "<decoder name=\"shop\">");
    running.wait_for("the new rules have errors; judging goes on");
    running.stop().exits(0).says(&["decoders/shop.xml:1"]);
}
