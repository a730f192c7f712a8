//! A decoder file, and the lines that it reads.

use tripline_engine::{CompileInputs, MemoryState};

use crate::{harness, world};

pub const WORDS: &[&str] = &[
    "<decoder name=\"a\">",
    "<decoder name=\"b\">",
    "</decoder>",
    "<parent>a</parent>",
    "<program_name>^app</program_name>",
    "<prematch>^in </prematch>",
    "<prematch offset=\"after_parent\">x</prematch>",
    "<prematch_pcre2>^\\w+</prematch_pcre2>",
    "<regex>(\\S+) (\\d+)</regex>",
    "<regex offset=\"after_prematch\">^(\\S+)</regex>",
    "<pcre2 offset=\"after_regex\">(?!x)(\\w+)</pcre2>",
    "<order>user, srcip</order>",
    "<order>action, x</order>",
    "<fts>name, user, location</fts>",
    "<type>firewall</type>",
    "<type>web-log</type>",
    "<use_own_name>true</use_own_name>",
    "<plugin_decoder>PF_Decoder</plugin_decoder>",
    "<accumulate />",
    "Nov 14 10:00:00 h app[1]: ",
    "2023-11-14T10:00:00.123456-04:00 ",
    "2023:11:14-10:00:00 ",
    "[Time 2006.12.28 15:53:55 UTC] [Sender x] [Message y] [Host z]",
    "1700000000.368  11623 ",
    "[ID 123 x.y] ",
    "kern|severity:info app: ",
    "\n",
    "\n====\n",
];

/// Rules that ask for whatever decoders find.
const RULES: &str = r#"<group name="local,">
  <rule id="100100" level="3"><category>firewall</category><action>DROP</action></rule>
  <rule id="100101" level="3"><decoded_as>a</decoded_as><if_fts /></rule>
  <rule id="100102" level="3"><category>syslog</category><user>bob</user><field name="x">y</field></rule>
  <rule id="100103" level="3"><category>syslog</category></rule>
  <rule id="100104" level="6" frequency="0"><if_matched_sid>100103</if_matched_sid><same_source_ip /></rule>
</group>"#;

pub fn target(input: &[u8]) {
    let (decoders, lines) = harness::parts(input);
    let inputs = CompileInputs {
        rules: vec![world::file("rules.xml", RULES)],
        decoders: vec![world::file("fuzz.xml", decoders)],
        ..CompileInputs::default()
    };
    let Some(rules) = world::checked(&inputs).rules else { return };
    let mut state = MemoryState::default();
    for line in lines.split(|byte| *byte == b'\n') {
        world::judge_line(&rules, line, &mut state);
    }
}
