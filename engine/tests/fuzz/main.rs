//! Bytes that nobody meant: rule text, both dialects against a slow reference matcher, PCRE2, lists, decoders, XML.
//!
//! A target is a function that takes any bytes and panics when a promise is broken. Each has a small corpus beside this
//! file, which is tried as it is, and then with mutations for a second, or for `TRIPLINE_FUZZ_SECONDS`. The input of a
//! panic is saved; put it into the corpus when what it found is mended.

#![allow(
    clippy::disallowed_methods,
    reason = "how long to go on comes from the environment and is measured by the clock"
)]

mod decoders;
mod harness;
mod lists;
mod os_match;
mod os_regex;
mod pcre2;
#[path = "../evaluate/random.rs"]
#[allow(dead_code, reason = "shared with the tests of the evaluation")]
mod random;
#[path = "../../src/pattern/reference.rs"]
mod reference;
mod rules;
mod world;
mod xml;

/// A test for each: its corpus and its mutations.
macro_rules! targets {
    ($($name:ident: $promise:ident),* $(,)?) => {
        $(#[test]
        fn $promise() {
            harness::fuzz(stringify!($name), $name::target, $name::WORDS);
        })*
    };
}

targets! {
    xml: any_bytes_are_a_rule_file_or_findings_that_can_be_shown,
    rules: any_rule_is_refused_or_judges_any_output,
    decoders: any_decoder_is_refused_or_reads_any_line,
    lists: any_list_is_refused_or_looked_up,
    os_match: os_match_answers_as_the_reference_for_any_pattern_and_text,
    os_regex: os_regex_answers_as_the_reference_for_any_pattern_and_text,
    pcre2: any_pcre2_expression_is_refused_or_ends_within_its_steps,
}
