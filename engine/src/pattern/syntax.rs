//! Reads OS_Regex into a tree.

use super::PatternError;
use super::literal::Literal;

/// Groups within groups, at most; PCRE2 has the same bound.
pub(super) const GROUP_DEPTH_MAX: usize = 250;

/// What stands between two `|`: nodes one after the other.
pub(super) type Sequence = Vec<Node>;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// This character, in any case.
    Literal(char),
    /// One character of a set.
    Set(Set),
    /// The start of the text.
    Start,
    /// The end of the text.
    End,
    /// `( )`, captured. The first alternative that leads to a match wins.
    Group(Vec<Sequence>),
    /// `+` or `*`.
    Repeat {
        /// What is repeated: anything but an anchor or a repeat.
        node: Box<Node>,
        /// Once (`+`) or not at all (`*`), at least.
        at_least: u8,
        /// As often as possible first, or as seldom. Only captures depend on it.
        greedy: bool,
    },
}

/// What an escape stands for when it is not a single character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// `\.`: any character, a line break too.
    Any,
    /// `\w`: A-Z a-z 0-9 _ - @
    Word,
    /// `\W`
    NotWord,
    /// `\d`: 0-9
    Digit,
    /// `\D`
    NotDigit,
    /// `\S`: anything but a space. (`\s` is a literal space.)
    NotSpace,
    /// `\p`: [`PUNCTUATION`]
    Punctuation,
}

/// The set of `\p`.
pub(super) const PUNCTUATION: &str = "()*+,-.:;<=>?[]!\"'#%&$|{}";

/// The characters that `\` makes literal.
const ESCAPABLE: &str = r"\$()[]{}<|";

const ESCAPES_HELP: &str = r"the escapes are \w \W \d \D \s \S \p \t \. and \\ \$ \( \) \[ \] \{ \} \< \|";

/// Reads a pattern.
pub(super) fn parse(pattern: &str) -> Result<Vec<Sequence>, PatternError> {
    if pattern.is_empty() {
        return Err(PatternError::new(0..0, "the pattern is empty", "remove the element: without it every text fits"));
    }
    let mut alternatives = vec![Sequence::new()];
    // The groups that are open: where, and the alternatives around them.
    let mut open: Vec<(usize, Vec<Sequence>)> = Vec::new();
    let mut characters = pattern.char_indices();
    while let Some((at, character)) = characters.next() {
        let node = match character {
            '\\' => escape(at, characters.next().map(|(_, escaped)| escaped))?,
            '^' => Node::Start,
            '$' => Node::End,
            '+' | '*' if repeats(pattern, at) => {
                let before = alternatives.last_mut().and_then(Vec::pop);
                repeat(pattern, at, before)?
            }
            '(' if open.len() == GROUP_DEPTH_MAX => {
                let message = format!("more than {GROUP_DEPTH_MAX} groups within each other");
                return Err(PatternError::new(at..at + 1, message, "remove parentheses that are not needed"));
            }
            '(' => {
                open.push((at, std::mem::replace(&mut alternatives, vec![Sequence::new()])));
                continue;
            }
            ')' => match open.pop() {
                Some((_, around)) => Node::Group(std::mem::replace(&mut alternatives, around)),
                None => {
                    return Err(PatternError::new(
                        at..at + 1,
                        "`)` without `(`",
                        r"write `\)` for the character itself",
                    ));
                }
            },
            '|' => {
                alternatives.push(Sequence::new());
                continue;
            }
            literal => Node::Literal(literal),
        };
        // There is always a last one: each level starts with an empty sequence.
        if let Some(sequence) = alternatives.last_mut() {
            sequence.push(node);
        }
    }
    match open.pop() {
        Some((at, _)) => Err(PatternError::new(
            at..at + 1,
            "`(` without `)`",
            r"close the group, or write `\(` for the character itself",
        )),
        None => Ok(alternatives),
    }
}

fn escape(at: usize, escaped: Option<char>) -> Result<Node, PatternError> {
    let Some(escaped) = escaped else {
        return Err(PatternError::new(at..at + 1, r"`\` at the end", r"write `\\` for a backslash"));
    };
    Ok(match escaped {
        'w' => Node::Set(Set::Word),
        'W' => Node::Set(Set::NotWord),
        'd' => Node::Set(Set::Digit),
        'D' => Node::Set(Set::NotDigit),
        's' => Node::Literal(' '),
        'S' => Node::Set(Set::NotSpace),
        'p' => Node::Set(Set::Punctuation),
        't' => Node::Literal('\t'),
        '.' => Node::Set(Set::Any),
        literal if ESCAPABLE.contains(literal) => Node::Literal(literal),
        unknown => {
            let help = match unknown {
                '+' | '*' => {
                    format!("`{unknown}` is literal unless it follows an escape: write it without the backslash")
                }
                'n' | 'r' | 'x' | 'b' | 'B' => format!(r"{ESCAPES_HELP}; for more, use a `pcre2` element"),
                other if !other.is_alphanumeric() => format!("`{other}` is literal: write it without the backslash"),
                _ => ESCAPES_HELP.to_owned(),
            };
            let end = at + 1 + unknown.len_utf8();
            return Err(PatternError::new(at..end, format!(r"unknown escape `\{unknown}`"), help));
        }
    })
}

/// Whether the `+` or `*` at this byte repeats: only when the character two before is a backslash. That is meant to
/// find the end of an escape, and also takes the character after an escaped backslash for one (`a\\d+`), as in OSSEC.
fn repeats(pattern: &str, at: usize) -> bool {
    at >= 2 && pattern.as_bytes()[at - 2] == b'\\'
}

fn repeat(pattern: &str, at: usize, before: Option<Node>) -> Result<Node, PatternError> {
    let sign = &pattern[at..=at];
    match before {
        None | Some(Node::Start | Node::End | Node::Repeat { .. }) => Err(PatternError::new(
            at - 1..at + 1,
            format!("`{sign}` has nothing to repeat"),
            format!(
                r"two characters after a backslash `{sign}` is always a repeat; there is no way to write it literally there"
            ),
        )),
        Some(node) => {
            let rest = pattern[at + 1..].trim_start_matches(')');
            let greedy = rest.is_empty() || rest.starts_with(['|', '$']);
            Ok(Node::Repeat { node: Box::new(node), at_least: u8::from(sign == "+"), greedy })
        }
    }
}

/// The literal that is the whole pattern. `None` when there is more, and when it can never fit (`a$b`).
pub(super) fn as_literal(alternatives: &[Sequence]) -> Option<Literal> {
    let [sequence] = alternatives else { return None };
    let mut literal = Literal::default();
    for node in sequence {
        match node {
            Node::Literal(_) if literal.at_end => return None,
            Node::Literal(character) => literal.text.push(*character),
            Node::Start if !literal.text.is_empty() => return None,
            Node::Start => literal.at_start = true,
            Node::End => literal.at_end = true,
            Node::Set(_) | Node::Group(_) | Node::Repeat { .. } => return None,
        }
    }
    Some(literal)
}
