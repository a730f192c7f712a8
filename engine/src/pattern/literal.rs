//! One literal, with or without anchors.

/// A literal of a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Literal {
    pub text: String,
    /// The text begins with it.
    pub at_start: bool,
    /// The text ends with it.
    pub at_end: bool,
}

/// Which letters are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    /// a-z and A-Z; every other byte only equals itself.
    Ascii,
    /// What Unicode calls simple case folding: also é and É, `s` and U+017F (long s), `k` and U+212A (Kelvin sign).
    Unicode,
}

/// Whether Unicode folding makes this character equal to others than its ASCII upper and lower case form.
pub(super) fn folds_outside_ascii(character: char) -> bool {
    !character.is_ascii() || matches!(character, 's' | 'S' | 'k' | 'K')
}

impl Literal {
    /// Whether every text fits.
    pub fn is_everywhere(&self) -> bool {
        self.text.is_empty() && !(self.at_start && self.at_end)
    }

    /// Whether the text fits by [`Fold::Ascii`]. Only for a literal with an anchor.
    pub fn is_at_anchor(&self, text: &[u8]) -> bool {
        let literal = self.text.as_bytes();
        let Some(rest) = text.len().checked_sub(literal.len()) else { return false };
        (!self.at_start || text[..literal.len()].eq_ignore_ascii_case(literal))
            && (!self.at_end || text[rest..].eq_ignore_ascii_case(literal))
            && !(self.at_start && self.at_end && rest > 0)
    }

    /// The literal in the language of the crate `regex`.
    pub fn expression(&self) -> String {
        let start = if self.at_start { "^" } else { "" };
        let end = if self.at_end { "$" } else { "" };
        format!("{start}{}{end}", regex::escape(&self.text))
    }
}
