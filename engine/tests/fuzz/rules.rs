//! What stands in a group of rules, and the output that they judge.

use tripline_engine::CompileInputs;

use crate::{harness, world};

pub const WORDS: &[&str] = &[
    "<rule id=\"100107\" level=\"5\"><if_sid>100100</if_sid><check_diff /><description>x</description></rule>",
    "<rule id=\"100108\" level=\"0\"><if_sid>530</if_sid><match>a</match><description>x</description></rule>",
    "<rule id=\"100109\" level=\"9\" frequency=\"0\"><if_matched_sid>100100</if_matched_sid><same_location /></rule>",
    "<rule id=\"100101\" level=\"5\">",
    "</rule>",
    "<if_sid>530</if_sid>",
    "<if_sid>100100</if_sid>",
    "<if_group>local</if_group>",
    "<if_level>3</if_level>",
    "<match>df</match>",
    "<regex>\\d+%</regex>",
    "<pcre2>(?<=a)b</pcre2>",
    "<match on=\"added\">x</match>",
    "<check_diff />",
    "<check_diff><sort /><unique /></check_diff>",
    "<ignore_lines>x</ignore_lines>",
    "<replace with=\"N\">\\d+</replace>",
    "<skip_header />",
    "<columns keep=\"1-2\" />",
    "<trim />",
    " ignore=\"60\"",
    " frequency=\"2\"",
    " timeframe=\"60\"",
    " overwrite=\"yes\"",
    " maxsize=\"9\"",
    " noalert=\"1\"",
    "<if_matched_sid>100100</if_matched_sid>",
    "<same_location />",
    "<different_url />",
    "<time>6 pm - 8:30 am</time>",
    "<weekday>weekends</weekday>",
    "<ignore_key>(\\S+)</ignore_key>",
    "<run_exit_code>!0</run_exit_code>",
    "<run_duration>>=5ms</run_duration>",
    "<run_output_size>10</run_output_size>",
    "<run_late>no</run_late>",
    "<options>no_log</options>",
    "<group>a,b,</group>",
    "<description>x</description>",
    "<list field=\"user\" lookup=\"match\">lists/x</list>",
    "<var name=\"A\">b</var>",
    "$A",
    "<field name=\"x\">y</field>",
    "100100",
    "99999999999",
    "</group><group name=\"other,\">",
    "\n====\n",
];

pub fn target(input: &[u8]) {
    let (rules, output) = harness::parts(input);
    let text = [b"<group name=\"local,\">", rules, b"</group>"].concat();
    if let Some(rules) = world::checked(&CompileInputs::of_rules(&[world::file("fuzz.xml", text)])).rules {
        world::judge_output(&rules, output);
    }
}
