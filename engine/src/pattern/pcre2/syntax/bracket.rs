//! Sets in brackets.

use super::super::super::PatternError;
use super::super::set::{self, ByteSet};
use super::{Assertion, Flags, Item, Look, Node, Parser};

/// What stands in brackets.
enum Member {
    Byte(u8),
    Set(ByteSet),
}

impl<'p> Parser<'p> {
    /// What follows `[`.
    pub(super) fn bracket(&mut self, flags: Flags) -> Result<Item, PatternError> {
        let start = self.at - 1;
        for (text, behind) in [(&b"[:<:]]"[..], false), (b"[:>:]]", true)] {
            if self.takes(text) {
                let word = Node::Set(ByteSet::of(set::word));
                let look = Look { negated: false, alternatives: vec![(usize::from(behind), word)] };
                return Ok(Item::no(Node::Concat(vec![Node::Assert(Assertion::WordBoundary), Node::Look(look)])));
            }
        }
        if let Some((length, kind)) = self.posix_at(start) {
            let place = start..start + length;
            return Err(match kind {
                b':' => self.error(place, "a class such as `[:alpha:]` must stand in brackets", "write `[[:alpha:]]`"),
                _ => self.error(place, "PCRE2 has no collating elements", ""),
            });
        }
        let negated = self.takes(b"^");
        let mut set = ByteSet::EMPTY;
        let mut first = true;
        loop {
            self.skip_quotes();
            if flags.extended_more && !self.quoted && matches!(self.peek(), Some(b' ' | b'\t')) {
                self.at += 1;
                continue;
            }
            let Some(byte) = self.peek() else {
                return Err(self.error(
                    start..self.bytes.len(),
                    "a `[` is not closed",
                    r"write `\[` for a literal one",
                ));
            };
            if byte == b']' && !self.quoted && !std::mem::take(&mut first) {
                self.at += 1;
                break;
            }
            first = false;
            match self.member(flags)? {
                Member::Set(members) => {
                    set = set.union(members);
                    self.no_range_after()?;
                }
                Member::Byte(low) => {
                    let range = self.range(low, flags)?;
                    set = set.union(if flags.caseless { range.either_case() } else { range });
                }
            }
        }
        Ok(Item::yes(Node::Set(if negated { set.complement() } else { set })))
    }

    /// Within brackets `\Q` and `\E` may stand anywhere.
    fn skip_quotes(&mut self) {
        loop {
            if self.quoted && self.takes(br"\E") {
                self.quoted = false;
            } else if !self.quoted && self.takes(br"\Q") {
                self.quoted = true;
            } else if self.quoted || !self.takes(br"\E") {
                return;
            }
        }
    }

    /// From this member of a set to another one, if a `-` follows it.
    fn range(&mut self, low: u8, flags: Flags) -> Result<ByteSet, PatternError> {
        let start = self.at - 1;
        self.skip_quotes();
        if self.quoted || self.peek() != Some(b'-') {
            return Ok(ByteSet::one(low));
        }
        let dash = self.at;
        self.at += 1;
        self.skip_quotes();
        while flags.extended_more && !self.quoted && matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        if self.peek() == Some(b']') && !self.quoted || self.peek().is_none() {
            self.at = dash;
            return Ok(ByteSet::one(low));
        }
        match self.member(flags)? {
            Member::Byte(high) if low <= high => Ok(ByteSet::of(|byte| (low..=high).contains(&byte))),
            Member::Byte(_) => {
                Err(self.error(start..self.at, "the range is out of order", r"write the smaller end first, or `\-`"))
            }
            Member::Set(_) => Err(self.no_range(dash)),
        }
    }

    /// After something that stands for several bytes, `-` is literal only where the set ends.
    fn no_range_after(&self) -> Result<(), PatternError> {
        if !self.quoted && self.peek() == Some(b'-') && self.bytes.get(self.at + 1).is_some_and(|byte| *byte != b']') {
            return Err(self.no_range(self.at));
        }
        Ok(())
    }

    fn no_range(&self, dash: usize) -> PatternError {
        self.error(dash..dash + 1, "a range needs single characters as its ends", r"write `\-` for a literal `-`")
    }

    fn member(&mut self, flags: Flags) -> Result<Member, PatternError> {
        let start = self.at;
        let byte = self.bytes[self.at];
        if self.quoted {
            self.at += 1;
            return Ok(Member::Byte(byte));
        }
        if let (b'[', Some((length, kind))) = (byte, self.posix_at(start)) {
            return self.posix(length, kind, flags).map(Member::Set);
        }
        self.at += 1;
        if byte != b'\\' {
            return Ok(Member::Byte(byte));
        }
        let Some(escaped) = self.peek() else {
            return Err(self.error(start..start + 1, r"a `\` ends the expression", r"write `\\` for a literal one"));
        };
        if let Some(set) = self.class_escape(start)? {
            return Ok(Member::Set(set));
        }
        Ok(Member::Byte(match escaped {
            b'b' => {
                self.at += 1;
                0x08
            }
            b'1'..=b'7' => self.octal(start, 3)?,
            b'8' | b'9' => {
                self.at += 1;
                escaped
            }
            b'B' | b'R' | b'X' | b'N' => {
                let message = format!(r"`\{}` may not stand in brackets", char::from(escaped));
                return Err(self.error(start..start + 2, message, ""));
            }
            _ => self.character_escape(start)?,
        }))
    }

    /// The length and kind of a `[:name:]`, `[.x.]` or `[=x=]` that begins here.
    fn posix_at(&self, start: usize) -> Option<(usize, u8)> {
        let text = &self.bytes[start..];
        let kind = *text.get(1).filter(|byte| matches!(byte, b':' | b'.' | b'='))?;
        let mut at = 2;
        loop {
            match *text.get(at)? {
                b'\\' if matches!(text.get(at + 1), Some(b']' | b'\\')) => at += 1,
                b']' => return None,
                b'[' if text.get(at + 1) == Some(&kind) => return None,
                byte if byte == kind && text.get(at + 1) == Some(&b']') => return Some((at + 2, kind)),
                _ => {}
            }
            at += 1;
        }
    }

    fn posix(&mut self, length: usize, kind: u8, flags: Flags) -> Result<ByteSet, PatternError> {
        let start = self.at;
        self.at += length;
        if kind != b':' {
            return Err(self.error(start..self.at, "PCRE2 has no collating elements", ""));
        }
        let name = &self.bytes[start + 2..self.at - 2];
        let (name, negated) = name.strip_prefix(b"^").map_or((name, false), |name| (name, true));
        let name = match name {
            b"upper" | b"lower" if flags.caseless => b"alpha",
            name => name,
        };
        match set::posix_class(name) {
            Some(set) => Ok(if negated { set.complement() } else { set }),
            None => {
                Err(self.error(start..self.at, "there is no such class", "`[:alpha:]` and `[:digit:]` are classes"))
            }
        }
    }
}
