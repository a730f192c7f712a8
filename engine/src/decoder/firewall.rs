//! What a firewall did, in one word.
//!
//! Every product has its own words for it, and rules would have to know them all. So the `action` of a line of type
//! `firewall` becomes one of four words before the rules see it, as in OSSEC.

use super::{Fields, KnownField};

/// What stands somewhere in an action, whatever its case, and what it becomes. The first row that has one counts: an
/// action is often a label that people wrote (`LOG_AND_DROP`, `OPENVPN-REJECT:`), and to stop something is what matters.
const WORDS: [(&str, &[&str]); 3] = [
    ("DROP", &["drop", "deny", "denied", "reject", "block", "discard", "disallow", "prohibit", "refuse"]),
    ("CLOSED", &["close", "teardown"]),
    ("ALLOW", &["accept", "allow", "pass", "permit", "open", "built"]),
];

/// The letters of IP Filter and of AIX, which stand alone.
const LETTERS: [(&str, &[&str]); 2] = [("DROP", &["b", "d", "r"]), ("ALLOW", &["p", "a"])];

/// What an action becomes that says none of these.
const UNKNOWN: &str = "UNKNOWN";

/// Gives the action of a firewall's line its common word. Without an action there is nothing to give.
pub(super) fn normalise(fields: &mut Fields<'_>) {
    if let Some(action) = fields.get(KnownField::Action) {
        fields.set_known(KnownField::Action, common_word(action).as_bytes());
    }
}

fn common_word(action: &[u8]) -> &'static str {
    let action = action.to_ascii_lowercase();
    let is_letter = |letter: &&str| action == letter.as_bytes();
    let has_word = |word: &&str| memchr::memmem::find(&action, word.as_bytes()).is_some();
    let letter = LETTERS.iter().find(|(_, letters)| letters.iter().any(is_letter)).map(|(common, _)| *common);
    let word = || WORDS.iter().find(|(_, words)| words.iter().any(has_word)).map(|(common, _)| *common);
    letter.or_else(word).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_all_products_become_one_of_four() {
        let cases = [
            ("DROP", "DROP drop Deny denied Dropped reject REJECT: Block blocked discarded refused prohibited b B d"),
            ("DROP", "Shorewall:net2all:DROP: LOGDROP IN-reject OPENVPN-DROP accept-not-blocked disallowed"),
            ("ALLOW", "ACCEPT accepted allow Permit permitted pass passed OPEN Built p P"),
            ("CLOSED", "CLOSE closed Teardown"),
            ("UNKNOWN", "L n S x - log dr notice \u{e9}"),
        ];
        for (common, actions) in cases {
            for action in actions.split(' ') {
                assert_eq!(common_word(action.as_bytes()), common, "{action}");
            }
        }
        assert_eq!(common_word(b""), UNKNOWN);
        assert_eq!(common_word(b"\xffdrop\xff"), "DROP");
    }

    #[test]
    fn a_line_without_an_action_gets_none() {
        let mut fields = Fields::default();
        normalise(&mut fields);
        assert_eq!(fields.iter().count(), 0);
    }
}
