//! A list, and the lines with what is looked up in it.

use tripline_engine::{CompileInputs, MemoryState};

use crate::{harness, world};

pub const WORDS: &[&str] = &[
    ":",
    "\n",
    "::",
    "key:value",
    "192.0.2.",
    "192.0.2.1:x",
    "10.:y",
    "#",
    "\r\n",
    "bob",
    "\u{fffd}",
    " ",
    "\n====\n",
];

const DECODERS: &str =
    r#"<decoder name="d"><prematch>^</prematch><regex>^(\S+) (\S+)</regex><order>user, srcip</order></decoder>"#;

const RULES: &str = r#"<group name="local,">
  <rule id="100100" level="3"><decoded_as>d</decoded_as><list field="srcip" lookup="address_match_key">lists/fuzz</list></rule>
  <rule id="100101" level="3"><decoded_as>d</decoded_as><list field="user" lookup="match_key_value" check_value="^v">lists/fuzz</list></rule>
  <rule id="100102" level="3"><decoded_as>d</decoded_as><list field="user" lookup="not_match_key">lists/fuzz</list></rule>
</group>"#;

pub fn target(input: &[u8]) {
    let (list, lines) = harness::parts(input);
    let inputs = CompileInputs {
        rules: vec![world::file("rules.xml", RULES)],
        decoders: vec![world::file("decoders.xml", DECODERS)],
        lists: vec![("lists/fuzz".to_owned(), world::file("fuzz", list))],
    };
    let Some(rules) = world::checked(&inputs).rules else { return };
    let mut state = MemoryState::default();
    for line in lines.split(|byte| *byte == b'\n') {
        world::judge_line(&rules, line, &mut state);
    }
}
