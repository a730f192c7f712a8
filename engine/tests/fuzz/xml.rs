//! A whole rule file, of any bytes.

use tripline_engine::CompileInputs;

use crate::world;

pub const WORDS: &[&str] = &[
    "<",
    ">",
    "</",
    "/>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE x [<!ENTITY a \"b\">]>",
    "&lt;",
    "&a;",
    "&#0;",
    "&#x10ffff;",
    "\\<",
    "\"",
    "'",
    "=",
    "<group name=\"a,\">",
    "</group>",
    "<rule id=\"1\" level=\"2\">",
    "</rule>",
    "\u{feff}",
    "\0",
    "<var name=\"A\">b</var>",
    "$A",
    "<match>",
    "</match>",
    "<!-- tripline: allow TL0601 because x -->",
];

pub fn target(input: &[u8]) {
    world::checked(&CompileInputs::of_rules(&[world::file("fuzz.xml", input)]));
}
