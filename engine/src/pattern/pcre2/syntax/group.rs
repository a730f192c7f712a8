//! Groups: what kind one is, and what becomes of what stands in it.

use super::super::super::PatternError;
use super::{BEHIND_MAX, Condition, Flags, GROUPS_MAX, Item, Look, Node, Parser, length, one_or};

/// What kind of group begins.
pub(super) enum Head {
    /// It was all of it, to its `)`.
    Whole(Item),
    Plain,
    Capture(u32),
    Atomic,
    BranchReset,
    Look(LookKind),
    Conditional(Condition),
    ConditionalLook(LookKind),
}

impl Head {
    pub(super) fn looks(&self) -> bool {
        matches!(self, Head::Look(_) | Head::ConditionalLook(_))
    }
}

/// A group that is being read.
pub(super) struct Group {
    pub(super) head: Head,
    /// Its `(`.
    pub(super) start: usize,
    /// The options that hold again behind it.
    pub(super) outside: Flags,
    pub(super) alternatives: Vec<Node>,
    /// Of the current alternative.
    pub(super) nodes: Vec<Node>,
    /// Of `(?|...)`: each alternative counts its groups from the same number.
    pub(super) groups_before: u32,
    pub(super) groups_most: u32,
}

impl Group {
    pub(super) fn new(head: Head, start: usize, outside: Flags, groups: u32) -> Group {
        let (alternatives, nodes) = (Vec::new(), Vec::new());
        Group { head, start, outside, alternatives, nodes, groups_before: groups, groups_most: groups }
    }
}

/// What a `)` ends.
pub(super) enum Ended {
    Item(Item),
    /// A look-around that is a condition: now the group begins that it is the condition of.
    Condition(Group),
}

#[derive(Clone, Copy)]
pub(super) struct LookKind {
    pub(super) behind: bool,
    pub(super) negated: bool,
}

impl<'p> Parser<'p> {
    /// At a `|`, or the end of a group.
    pub(super) fn end_alternative(&mut self, group: &mut Group) {
        group.alternatives.push(one_or(std::mem::take(&mut group.nodes), Node::Concat));
        if matches!(group.head, Head::BranchReset) {
            group.groups_most = group.groups_most.max(self.groups.count);
            self.groups.count = group.groups_before;
        }
    }

    /// At the `)` of a group.
    pub(super) fn end_group(&mut self, mut group: Group) -> Result<Ended, PatternError> {
        let start = group.start;
        self.end_alternative(&mut group);
        self.looks -= usize::from(group.head.looks());
        let alternatives = group.alternatives;
        Ok(Ended::Item(match group.head {
            Head::Whole(item) => item,
            Head::Plain => Item::yes(one_or(alternatives, Node::Alternate)),
            Head::BranchReset => {
                self.groups.count = group.groups_most;
                Item::yes(one_or(alternatives, Node::Alternate))
            }
            Head::Capture(number) => Item::yes(Node::Capture(number, Box::new(one_or(alternatives, Node::Alternate)))),
            Head::Atomic => Item::yes(Node::Atomic(Box::new(one_or(alternatives, Node::Alternate)))),
            Head::Look(kind) => Item::yes(Node::Look(self.look(kind, alternatives, start)?)),
            Head::ConditionalLook(kind) => {
                let condition = Condition::Look(self.look(kind, alternatives, start)?);
                return Ok(Ended::Condition(Group::new(
                    Head::Conditional(condition),
                    start,
                    group.outside,
                    self.groups.count,
                )));
            }
            Head::Conditional(condition) => {
                let mut alternatives = alternatives.into_iter();
                let yes = Box::new(alternatives.next().unwrap_or(Node::Empty));
                let no = Box::new(alternatives.next().unwrap_or(Node::Empty));
                if condition == Condition::Define && *no != Node::Empty {
                    return Err(self.error(start..self.at, "a group that defines has no alternatives", ""));
                }
                Item::yes(Node::Conditional { condition, yes, no })
            }
        }))
    }

    fn look(&self, kind: LookKind, alternatives: Vec<Node>, start: usize) -> Result<Look, PatternError> {
        if !kind.behind {
            return Ok(Look { negated: kind.negated, alternatives: vec![(0, one_or(alternatives, Node::Alternate))] });
        }
        let measured = alternatives.into_iter().map(|node| match length(&node) {
            Some(length) if length <= BEHIND_MAX => Ok((length, node)),
            _ => Err(self.error(
                start..self.at,
                "the length of what it looks back for is not fixed",
                "give each alternative a fixed length, without `*`, `+` and `?`",
            )),
        });
        Ok(Look { negated: kind.negated, alternatives: measured.collect::<Result<_, _>>()? })
    }

    /// What follows `(` and says what kind of group it is. `flags` are those outside of it.
    pub(super) fn head(&mut self, flags: &mut Flags, inside: &mut Flags, start: usize) -> Result<Head, PatternError> {
        if self.peek() == Some(b'*') {
            return self.verb(start);
        }
        if !self.takes(b"?") {
            return if flags.no_capture { Ok(Head::Plain) } else { self.capture(None, *flags, start) };
        }
        let Some(byte) = self.peek() else { return Err(self.unknown_group(start)) };
        self.at += 1;
        Ok(match byte {
            b':' => Head::Plain,
            b'|' => {
                self.groups.shared_numbers = true;
                Head::BranchReset
            }
            b'>' => Head::Atomic,
            b'=' | b'!' => Head::Look(LookKind { behind: false, negated: byte == b'!' }),
            b'*' => return Err(self.unsupported(start..self.at, "a look-around that is not atomic")),
            b'<' => match self.peek() {
                Some(sign @ (b'=' | b'!')) => {
                    self.at += 1;
                    Head::Look(LookKind { behind: true, negated: sign == b'!' })
                }
                Some(b'*') => return Err(self.unsupported(start..self.at + 1, "a look-around that is not atomic")),
                _ => self.named_capture(b'>', *flags, start)?,
            },
            b'\'' => self.named_capture(b'\'', *flags, start)?,
            b'P' => match self.peek() {
                Some(b'<') => {
                    self.at += 1;
                    self.named_capture(b'>', *flags, start)?
                }
                Some(sign @ (b'=' | b'>')) => {
                    self.at += 1;
                    let item = if sign == b'=' {
                        let name = self.name(start)?;
                        Node::Reference { groups: self.named(&name, start)?, caseless: flags.caseless }
                    } else {
                        Node::Call(self.first_named(start)?)
                    };
                    self.expect(b')', start)?;
                    Head::Whole(Item::yes(item))
                }
                _ => return Err(self.unknown_group(start)),
            },
            b'&' => {
                let call = self.first_named(start)?;
                self.expect(b')', start)?;
                Head::Whole(Item::yes(Node::Call(call)))
            }
            b'R' => {
                self.expect(b')', start)?;
                Head::Whole(Item::yes(Node::Call(0)))
            }
            b'0'..=b'9' | b'+' => Head::Whole(self.call(start)?),
            b'-' if self.peek().is_some_and(|byte| byte.is_ascii_digit()) => Head::Whole(self.call(start)?),
            b'(' => self.condition(start)?,
            b'C' => {
                // Nobody is there to be called out to.
                while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                    self.at += 1;
                }
                self.expect(b')', start)?;
                Head::Whole(Item::no(Node::Empty))
            }
            _ => {
                self.at -= 1;
                self.options(flags, inside, start)?
            }
        })
    }

    fn unknown_group(&self, start: usize) -> PatternError {
        // The backslash that rule files want before a `<` stays in the text.
        let help = match &self.text[start..] {
            text if text.starts_with(r"(?\<=") => "write `(*plb:...)` for a look-behind",
            text if text.starts_with(r"(?\<!") => "write `(*nlb:...)` for a negative look-behind",
            text if text.starts_with(r"(?\<") || text.starts_with(r"(?P\<") => "write `(?'NAME'...)` for a named group",
            _ => r"write `(?:...)` for a group that does not capture, `\(` for a literal `(`",
        };
        self.error(start..self.at + 1, "this is no kind of group", help)
    }

    pub(super) fn expect(&mut self, byte: u8, start: usize) -> Result<(), PatternError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.error(start..self.at + 1, format!("expected `{}` here", char::from(byte)), ""))
    }

    fn capture(&mut self, name: Option<&str>, flags: Flags, start: usize) -> Result<Head, PatternError> {
        self.groups.count += 1;
        let number = self.groups.count;
        if number > GROUPS_MAX {
            return Err(self.error(start..start + 1, format!("there are more than {GROUPS_MAX} groups"), ""));
        }
        if let Some(name) = name {
            let shared_numbers = self.groups.shared_numbers;
            let numbers = self.groups.names.entry(name.to_owned()).or_default();
            let allowed = flags.duplicate_names || shared_numbers && numbers.contains(&number);
            let again = !numbers.is_empty() && !allowed;
            if !numbers.contains(&number) {
                numbers.push(number);
            }
            if again {
                return Err(self.error(start..self.at, "two groups have this name", "give one of them another"));
            }
        }
        Ok(Head::Capture(number))
    }

    fn named_capture(&mut self, close: u8, flags: Flags, start: usize) -> Result<Head, PatternError> {
        let name = self.name(start)?;
        self.expect(close, start)?;
        self.capture(Some(&name), flags, start)
    }

    fn call(&mut self, start: usize) -> Result<Item, PatternError> {
        self.at -= 1;
        let number = self.signed_number().ok_or_else(|| self.unknown_group(start))?;
        let group = self.relative(number, start)?;
        self.expect(b')', start)?;
        Ok(Item::yes(Node::Call(group)))
    }

    /// The condition of `(?(condition)yes|no)`; a look-around is only begun.
    fn condition(&mut self, start: usize) -> Result<Head, PatternError> {
        if self.takes(b"?") {
            for (sign, behind, negated) in
                [(&b"="[..], false, false), (b"!", false, true), (b"<=", true, false), (b"<!", true, true)]
            {
                if self.takes(sign) {
                    return Ok(Head::ConditionalLook(LookKind { behind, negated }));
                }
            }
            return Err(self.unknown_group(start));
        }
        let condition = if let Some(number) = self.signed_number() {
            let group = self.relative(number, start)?;
            if group == 0 {
                return Err(self.no_group(start));
            }
            Condition::Group([self.numbered(group, start)?].into())
        } else if let Some(b'<' | b'\'') = self.peek() {
            let name = self.delimited_name(start)?;
            Condition::Group(self.named(&name, start)?)
        } else if self.takes(b"R&") {
            let group = self.first_named(start)?;
            Condition::InCall(Some(group))
        } else {
            let name = self.name(start)?;
            let number = name.strip_prefix('R').map(|digits| (digits.is_empty(), digits.parse()));
            match number {
                _ if self.known.is_some_and(|known| known.names.contains_key(&name)) => {
                    Condition::Group(self.named(&name, start)?)
                }
                Some((true, _)) => Condition::InCall(None),
                Some((_, Ok(group))) => Condition::InCall(Some(self.numbered(group, start)?)),
                _ if name == "DEFINE" => Condition::Define,
                _ => Condition::Group(self.named(&name, start)?),
            }
        };
        self.expect(b')', start)?;
        Ok(Head::Conditional(condition))
    }

    /// `(*FAIL)` and the spelled-out look-arounds. The verbs that steer backtracking, and those that set options at the
    /// start, are not supported.
    fn verb(&mut self, start: usize) -> Result<Head, PatternError> {
        self.at += 1;
        let length = self.rest().iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let name = &self.text[self.at..self.at + length];
        self.at += length;
        let look = |behind, negated| Ok(Head::Look(LookKind { behind, negated }));
        match (name, self.peek()) {
            ("F" | "FAIL", Some(b')')) => {
                self.at += 1;
                Ok(Head::Whole(Item::no(Node::Fail)))
            }
            (_, Some(b':')) => {
                self.at += 1;
                match name {
                    "pla" | "positive_lookahead" => look(false, false),
                    "nla" | "negative_lookahead" => look(false, true),
                    "plb" | "positive_lookbehind" => look(true, false),
                    "nlb" | "negative_lookbehind" => look(true, true),
                    "atomic" => Ok(Head::Atomic),
                    _ => Err(self.unsupported(start..self.at, "this verb")),
                }
            }
            ("", _) => Err(self.nothing_to_repeat(start + 1)),
            _ => Err(self.unsupported(start..self.at + 1, "this verb")),
        }
    }

    /// `(?i)` and `(?i:...)`
    fn options(&mut self, flags: &mut Flags, inside: &mut Flags, start: usize) -> Result<Head, PatternError> {
        let mut changed = *flags;
        let mut on = true;
        let reset = self.takes(b"^");
        if reset {
            changed = Flags { caseless: false, multi_line: false, dot_all: false, no_capture: false, ..changed };
            (changed.extended, changed.extended_more) = (false, false);
        }
        loop {
            let Some(byte) = self.peek() else { return Err(self.unknown_group(start)) };
            self.at += 1;
            match byte {
                b'-' if on && !reset => on = false,
                b'-' => return Err(self.error(self.at - 1..self.at, "one `-` too many", "")),
                b'i' => changed.caseless = on,
                b'm' => changed.multi_line = on,
                b's' => changed.dot_all = on,
                b'n' => changed.no_capture = on,
                b'J' => changed.duplicate_names = on,
                b'U' => changed.ungreedy = on,
                b'x' => {
                    changed.extended = on;
                    changed.extended_more = on && self.takes(b"x");
                    while self.takes(b"x") {}
                }
                b')' => {
                    *flags = changed;
                    return Ok(Head::Whole(Item::no(Node::Empty)));
                }
                b':' => {
                    *inside = changed;
                    return Ok(Head::Plain);
                }
                _ => {
                    self.at -= 1;
                    return Err(self.unknown_group(start));
                }
            }
        }
    }
}
