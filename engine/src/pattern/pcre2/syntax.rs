//! Reads PCRE2 expressions into a tree. Every byte of an expression is a character of its own.

mod bracket;
mod escape;
mod group;
mod name;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::super::PatternError;
use super::set::{self, ByteSet};
use group::{Ended, Group, Head};

/// Groups within groups, at most; PCRE2 has the same bound.
const DEPTH_MAX: usize = 250;
/// The largest number in `{ }`.
const REPEAT_MAX: u32 = 65_535;
/// The most groups.
const GROUPS_MAX: u32 = 65_535;
/// The longest look-behind, in bytes.
const BEHIND_MAX: usize = 65_535;

/// A part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Fits everywhere, takes nothing.
    Empty,
    /// `(*FAIL)`
    Fail,
    /// One byte of a set.
    Set(ByteSet),
    Assert(Assertion),
    Concat(Vec<Node>),
    /// The first alternative that leads to a match wins.
    Alternate(Vec<Node>),
    Capture(u32, Box<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        kind: Kind,
    },
    /// What it found first is what it keeps.
    Atomic(Box<Node>),
    Look(Look),
    /// What one of these groups took, the first that took something.
    Reference {
        /// Shared, since a part that is written out several times has it as often.
        groups: Arc<[u32]>,
        caseless: bool,
    },
    /// A group's expression once more; 0 for the whole.
    Call(u32),
    Conditional {
        condition: Condition,
        yes: Box<Node>,
        no: Box<Node>,
    },
    /// `\K`: the match begins here.
    Keep,
}

/// How a repeat goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

/// A place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assertion {
    TextStart,
    TextEnd,
    /// `\Z`: the end, or before a line break that ends the text.
    LastLineEnd,
    LineStart,
    LineEnd,
    WordBoundary,
    NotWordBoundary,
}

/// A look-around. Behind, each alternative has a length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub negated: bool,
    /// Where to begin: so many bytes back, and what must fit there.
    pub alternatives: Vec<(usize, Node)>,
}

/// Of `(?(...)yes|no)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// One of these groups took something.
    Group(Arc<[u32]>),
    /// Within a call of this group, or of any.
    InCall(Option<u32>),
    /// Never: the group only defines.
    Define,
    Look(Look),
}

/// An expression.
#[derive(Debug)]
pub(super) struct Expression {
    pub node: Node,
    /// How many groups capture.
    pub groups: u32,
    /// Whether two groups have one number.
    pub shared_numbers: bool,
}

/// Reads an expression.
pub(super) fn parse(pattern: &str) -> Result<Expression, PatternError> {
    // References may name groups that come later, so that the groups must be known first.
    let first = Parser::new(pattern, None).read()?;
    let groups = first.parser.groups;
    let (node, parser) = {
        let second = Parser::new(pattern, Some(&groups)).read()?;
        (second.node, second.parser)
    };
    Ok(Expression { node, groups: parser.groups.count, shared_numbers: parser.groups.shared_numbers })
}

/// The groups of an expression.
#[derive(Debug, Default)]
struct Groups {
    count: u32,
    names: BTreeMap<String, Vec<u32>>,
    shared_numbers: bool,
}

/// The options that can be changed within an expression.
#[derive(Clone, Copy, Debug)]
struct Flags {
    caseless: bool,
    multi_line: bool,
    dot_all: bool,
    extended: bool,
    extended_more: bool,
    no_capture: bool,
    duplicate_names: bool,
    ungreedy: bool,
}

struct Parser<'p> {
    text: &'p str,
    bytes: &'p [u8],
    at: usize,
    /// Within `\Q...\E`.
    quoted: bool,
    /// How many look-arounds are open.
    looks: usize,
    groups: Groups,
    /// All groups, in the second reading.
    known: Option<&'p Groups>,
}

struct Reading<'p> {
    node: Node,
    parser: Parser<'p>,
}

impl<'p> Parser<'p> {
    fn new(text: &'p str, known: Option<&'p Groups>) -> Parser<'p> {
        let bytes = text.as_bytes();
        Parser { text, bytes, at: 0, quoted: false, looks: 0, groups: Groups::default(), known }
    }

    fn read(mut self) -> Result<Reading<'p>, PatternError> {
        let flags = Flags {
            caseless: true,
            multi_line: false,
            dot_all: true,
            extended: false,
            extended_more: false,
            no_capture: false,
            duplicate_names: false,
            ungreedy: false,
        };
        // Groups are kept in a list, not on the stack, so that they can nest.
        let mut outer: Vec<Group> = Vec::new();
        let mut group = Group::new(Head::Plain, 0, flags, 0);
        let mut flags = flags;
        loop {
            self.skip_comments(flags)?;
            let start = self.at;
            let item = match self.peek() {
                None => break,
                Some(b'|') if !self.quoted => {
                    self.at += 1;
                    if matches!(group.head, Head::Conditional(_)) && group.alternatives.len() == 1 {
                        let message = "a conditional group has two alternatives at most";
                        return Err(self.error(start..start + 1, message, "put them into a group of their own"));
                    }
                    self.end_alternative(&mut group);
                    continue;
                }
                Some(b')') if !self.quoted => {
                    self.at += 1;
                    let Some(around) = outer.pop() else {
                        return Err(self.error(
                            start..start + 1,
                            "a `)` closes nothing",
                            r"write `\)` for a literal one",
                        ));
                    };
                    flags = group.outside;
                    match self.end_group(std::mem::replace(&mut group, around))? {
                        Ended::Item(item) => item,
                        Ended::Condition(next) => {
                            outer.push(std::mem::replace(&mut group, next));
                            continue;
                        }
                    }
                }
                Some(b'(') if !self.quoted => {
                    self.at += 1;
                    let mut inside = flags;
                    match self.head(&mut flags, &mut inside, start)? {
                        Head::Whole(item) => item,
                        head => {
                            if outer.len() == DEPTH_MAX {
                                let message = format!("groups are nested more than {DEPTH_MAX} deep");
                                return Err(self.error(start..start + 1, message, ""));
                            }
                            self.looks += usize::from(head.looks());
                            let next = Group::new(head, start, flags, self.groups.count);
                            outer.push(std::mem::replace(&mut group, next));
                            flags = inside;
                            continue;
                        }
                    }
                }
                Some(_) => self.item(flags)?,
            };
            group.nodes.extend(self.repeated(item, flags, start)?);
        }
        if !outer.is_empty() {
            let place = group.start..group.start + 1;
            return Err(self.error(place, "a `(` is not closed", r"write `\(` for a literal one"));
        }
        self.end_alternative(&mut group);
        Ok(Reading { node: one_or(group.alternatives, Node::Alternate), parser: self })
    }

    /// An item with the quantifier that may follow it; `None` when it is nothing.
    fn repeated(&mut self, item: Item, flags: Flags, start: usize) -> Result<Option<Node>, PatternError> {
        self.skip_comments(flags)?;
        let node = match self.quantifier(flags)? {
            None => item.node,
            Some(_) if !item.repeatable => return Err(self.nothing_to_repeat(start)),
            Some((min, max, kind)) => repeat(item.node, min, max, kind),
        };
        Ok((node != Node::Empty).then_some(node))
    }

    fn error(&self, place: Range<usize>, message: impl Into<String>, help: &str) -> PatternError {
        let end = place.end.min(self.bytes.len());
        let start = self.text.floor_char_boundary(place.start.min(end));
        let end = self.text.ceil_char_boundary(end);
        let help = (!help.is_empty()).then(|| help.to_owned());
        PatternError { start, end, message: message.into(), help, unsupported: false }
    }

    fn unsupported(&self, place: Range<usize>, what: &str) -> PatternError {
        let error = self.error(place, format!("{what} is not supported"), "write the expression without it");
        PatternError { unsupported: true, ..error }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'p [u8] {
        &self.bytes[self.at..]
    }

    fn takes(&mut self, text: &[u8]) -> bool {
        let taken = self.rest().starts_with(text);
        self.at += if taken { text.len() } else { 0 };
        taken
    }

    fn nothing_to_repeat(&self, start: usize) -> PatternError {
        self.error(
            start..self.at,
            "there is nothing to repeat",
            r"put a backslash before a literal `*`, `+`, `?` or `{`",
        )
    }

    /// Comments, white space in extended expressions, `\E`, and the start of `\Q`.
    fn skip_comments(&mut self, flags: Flags) -> Result<(), PatternError> {
        loop {
            if self.quoted {
                if !self.takes(br"\E") {
                    return Ok(());
                }
                self.quoted = false;
            } else if self.takes(br"\Q") {
                self.quoted = true;
            } else if self.takes(br"\E") {
            } else if self.rest().starts_with(b"(?#") {
                let start = self.at;
                let Some(length) = self.rest().iter().position(|byte| *byte == b')') else {
                    return Err(self.error(start..self.bytes.len(), "the comment does not end", "end it with `)`"));
                };
                self.at += length + 1;
            } else if flags.extended && self.peek().is_some_and(set::space) {
                self.at += 1;
            } else if flags.extended && self.peek() == Some(b'#') {
                self.at += self.rest().iter().position(|byte| *byte == b'\n').map_or(self.rest().len(), |at| at + 1);
            } else {
                return Ok(());
            }
        }
    }

    fn item(&mut self, flags: Flags) -> Result<Item, PatternError> {
        let start = self.at;
        let byte = self.bytes[self.at];
        self.at += 1;
        if self.quoted {
            return Ok(Item::yes(literal(byte, flags.caseless)));
        }
        Ok(match byte {
            b'.' if flags.dot_all => Item::yes(Node::Set(ByteSet::ALL)),
            b'.' => Item::yes(Node::Set(ByteSet::of(|byte| byte != b'\n'))),
            b'^' if flags.multi_line => Item::no(Node::Assert(Assertion::LineStart)),
            b'^' => Item::no(Node::Assert(Assertion::TextStart)),
            b'$' if flags.multi_line => Item::no(Node::Assert(Assertion::LineEnd)),
            b'$' => Item::no(Node::Assert(Assertion::TextEnd)),
            b'[' => self.bracket(flags)?,
            b'\\' => self.escape(flags)?,
            b'*' | b'+' | b'?' => return Err(self.nothing_to_repeat(start)),
            b'{' => {
                self.at = start;
                if self.counts()?.is_some() {
                    return Err(self.nothing_to_repeat(start));
                }
                self.at = start + 1;
                Item::yes(literal(byte, flags.caseless))
            }
            _ => Item::yes(literal(byte, flags.caseless)),
        })
    }

    /// `*`, `+`, `?` or `{ }`, with what may follow it.
    fn quantifier(&mut self, flags: Flags) -> Result<Option<(u32, Option<u32>, Kind)>, PatternError> {
        if self.quoted {
            return Ok(None);
        }
        let (min, max) = if self.takes(b"*") {
            (0, None)
        } else if self.takes(b"+") {
            (1, None)
        } else if self.takes(b"?") {
            (0, Some(1))
        } else if self.peek() == Some(b'{') {
            match self.counts()? {
                Some(counts) => counts,
                None => return Ok(None),
            }
        } else {
            return Ok(None);
        };
        self.skip_comments(flags)?;
        let kind = if self.quoted {
            if flags.ungreedy { Kind::Lazy } else { Kind::Greedy }
        } else if self.takes(b"+") {
            Kind::Possessive
        } else if self.takes(b"?") != flags.ungreedy {
            Kind::Lazy
        } else {
            Kind::Greedy
        };
        Ok(Some((min, max, kind)))
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else is no quantifier, and nothing is taken.
    fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let start = self.at;
        let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = start + 1;
        let first = at..at + digits(&self.bytes[at..]);
        at = first.end;
        let mut second = first.clone();
        if self.bytes.get(at) == Some(&b',') {
            at += 1;
            second = at..at + digits(&self.bytes[at..]);
            at = second.end;
        }
        if first.is_empty() || self.bytes.get(at) != Some(&b'}') {
            return Ok(None);
        }
        let number = |digits: Range<usize>| match self.text[digits.clone()].parse() {
            Ok(number) if number <= REPEAT_MAX => Ok(number),
            _ => Err(self.error(digits, format!("a repeat counts at most to {REPEAT_MAX}"), "")),
        };
        let min = number(first)?;
        let max = if second.is_empty() { None } else { Some(number(second)?) };
        if max.is_some_and(|max| max < min) {
            return Err(self.error(start..at + 1, "the numbers are out of order", "write the smaller one first"));
        }
        self.at = at + 1;
        Ok(Some((min, max)))
    }
}

/// A part of a sequence, and whether a quantifier may follow it.
struct Item {
    node: Node,
    repeatable: bool,
}

impl Item {
    fn yes(node: Node) -> Item {
        Item { node, repeatable: true }
    }

    fn no(node: Node) -> Item {
        Item { node, repeatable: false }
    }
}

fn literal(byte: u8, caseless: bool) -> Node {
    let one = ByteSet::one(byte);
    Node::Set(if caseless { one.either_case() } else { one })
}

fn cr_lf() -> Node {
    Node::Concat(vec![Node::Set(ByteSet::one(b'\r')), Node::Set(ByteSet::one(b'\n'))])
}

fn one_or(mut nodes: Vec<Node>, many: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match nodes.len() {
        0 => Node::Empty,
        1 => nodes.remove(0),
        _ => many(nodes),
    }
}

fn repeat(node: Node, min: u32, max: Option<u32>, kind: Kind) -> Node {
    match (&node, min, max) {
        (Node::Empty, _, _) => Node::Empty,
        // Looking twice shows nothing new.
        (Node::Look(_), ..) => {
            Node::Repeat { node: Box::new(node), min: min.min(1), max: Some(max.map_or(1, |max| max.min(1))), kind }
        }
        (_, 1, Some(1)) => node,
        _ => Node::Repeat { node: Box::new(node), min, max, kind },
    }
}

/// How many bytes a node takes, when that is always the same.
fn length(node: &Node) -> Option<usize> {
    match node {
        Node::Empty | Node::Fail | Node::Assert(_) | Node::Look(_) | Node::Keep => Some(0),
        Node::Set(_) => Some(1),
        Node::Concat(nodes) => {
            nodes.iter().try_fold(0usize, |sum, node| sum.checked_add(length(node)?).filter(|sum| *sum <= BEHIND_MAX))
        }
        Node::Alternate(nodes) => {
            let mut lengths = nodes.iter().map(length);
            let first = lengths.next()??;
            lengths.all(|length| length == Some(first)).then_some(first)
        }
        Node::Capture(_, node) | Node::Atomic(node) => length(node),
        Node::Repeat { node, min, max, .. } => match length(node)? {
            0 => Some(0),
            one if Some(*min) == *max => one.checked_mul(*min as usize),
            _ => None,
        },
        Node::Conditional { condition: Condition::Define, .. } => Some(0),
        Node::Conditional { yes, no, .. } => length(yes).filter(|yes| length(no) == Some(*yes)),
        Node::Reference { .. } | Node::Call(_) => None,
    }
}
