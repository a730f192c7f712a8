//! What a backslash means.

use super::super::super::PatternError;
use super::super::set::{self, ByteSet};
use super::{Assertion, Flags, Item, Node, Parser, cr_lf, literal};

impl<'p> Parser<'p> {
    /// What follows a backslash outside of brackets.
    pub(super) fn escape(&mut self, flags: Flags) -> Result<Item, PatternError> {
        let start = self.at - 1;
        let Some(byte) = self.peek() else {
            return Err(self.error(start..start + 1, r"a `\` ends the expression", r"write `\\` for a literal one"));
        };
        if let Some(set) = self.class_escape(start)? {
            return Ok(Item::yes(Node::Set(set)));
        }
        self.at += 1;
        let assert = |assertion| Ok(Item::no(Node::Assert(assertion)));
        match byte {
            b'b' => assert(Assertion::WordBoundary),
            b'B' => assert(Assertion::NotWordBoundary),
            b'A' | b'G' => assert(Assertion::TextStart),
            b'Z' => assert(Assertion::LastLineEnd),
            b'z' => assert(Assertion::TextEnd),
            b'K' if self.looks > 0 => {
                Err(self.error(start..self.at, r"`\K` may not stand in a look-around", "move it out"))
            }
            b'K' => Ok(Item::no(Node::Keep)),
            b'N' if self.peek() == Some(b'{') && !self.is_count() => {
                Err(self.error(start..self.at, r"`\N{ }` needs text that is UTF-8", r"write the bytes: `\xC3\xA9`"))
            }
            b'N' => Ok(Item::yes(Node::Set(ByteSet::of(|byte| byte != b'\n')))),
            b'C' => Ok(Item::yes(Node::Set(ByteSet::ALL))),
            b'R' => {
                let one = Node::Set(ByteSet::of(set::vertical_space));
                Ok(Item::yes(Node::Atomic(Box::new(Node::Alternate(vec![cr_lf(), one])))))
            }
            b'X' => Ok(Item::yes(Node::Atomic(Box::new(Node::Alternate(vec![cr_lf(), Node::Set(ByteSet::ALL)]))))),
            b'k' => {
                let name = self.delimited_name(start)?;
                let groups = self.named(&name, start)?;
                Ok(Item::yes(Node::Reference { groups, caseless: flags.caseless }))
            }
            b'g' => self.g_escape(start, flags),
            b'1'..=b'9' => {
                self.at -= 1;
                self.numbered_reference(start, flags)
            }
            _ => {
                self.at -= 1;
                Ok(Item::yes(literal(self.character_escape(start)?, flags.caseless)))
            }
        }
    }

    fn is_count(&self) -> bool {
        let mut parser = Parser { at: self.at, ..Parser::new(self.text, None) };
        matches!(parser.counts(), Ok(Some(_)))
    }

    /// `\g1`, `\g{-1}`, `\g{name}` refer; `\g<1>`, `\g'name'` call.
    fn g_escape(&mut self, start: usize, flags: Flags) -> Result<Item, PatternError> {
        if let Some(b'<' | b'\'') = self.peek() {
            let close = if self.bytes[self.at] == b'<' { b'>' } else { b'\'' };
            self.at += 1;
            let call = match self.signed_number() {
                Some(number) => self.relative(number, start)?,
                None => self.first_named(start)?,
            };
            self.expect(close, start)?;
            return Ok(Item::yes(Node::Call(call)));
        }
        let braced = self.takes(b"{");
        let groups = match self.signed_number() {
            Some((sign, number)) => {
                let group = self.relative((sign, number), start)?;
                if group == 0 {
                    return Err(self.no_group(start));
                }
                [self.numbered(group, start)?].into()
            }
            None if braced => {
                let name = self.name(start)?;
                self.named(&name, start)?
            }
            None => return Err(self.error(start..self.at, r"`\g` names no group", r"write `\g{1}` or `\g{name}`")),
        };
        if braced {
            self.expect(b'}', start)?;
        }
        Ok(Item::yes(Node::Reference { groups, caseless: flags.caseless }))
    }

    /// `\1` to `\9` refer to a group; larger numbers do when there are so many groups before, else they are octal.
    fn numbered_reference(&mut self, start: usize, flags: Flags) -> Result<Item, PatternError> {
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = self.text[self.at..self.at + digits].parse().unwrap_or(u32::MAX);
        if number < 10 || self.bytes[self.at] >= b'8' || number <= self.groups.count {
            self.at += digits;
            let groups = [self.numbered(number, start)?].into();
            return Ok(Item::yes(Node::Reference { groups, caseless: flags.caseless }));
        }
        Ok(Item::yes(literal(self.octal(start, 3)?, flags.caseless)))
    }

    /// Up to so many octal digits.
    pub(super) fn octal(&mut self, start: usize, digits: usize) -> Result<u8, PatternError> {
        let length = self.rest().iter().take(digits).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
        let number = u32::from_str_radix(&self.text[self.at..self.at + length], 8).unwrap_or(0);
        self.at += length;
        self.byte(number, start)
    }

    fn byte(&self, number: u32, start: usize) -> Result<u8, PatternError> {
        let help = "expressions work on bytes: write each byte of the character";
        u8::try_from(number).map_err(|_| self.error(start..self.at, "no byte is larger than 255", help))
    }

    /// An escape that stands for several bytes, in brackets or not: `\d`, `\p{L}` and the like. Nothing is taken when it
    /// is none.
    pub(super) fn class_escape(&mut self, start: usize) -> Result<Option<ByteSet>, PatternError> {
        let byte = self.bytes[self.at];
        let set = match byte.to_ascii_lowercase() {
            b'd' => ByteSet::of(set::digit),
            b'w' => ByteSet::of(set::word),
            b's' => ByteSet::of(set::space),
            b'h' => ByteSet::of(set::horizontal_space),
            b'v' => ByteSet::of(set::vertical_space),
            b'p' => {
                self.at += 1;
                let set = self.property(start)?;
                return Ok(Some(if byte == b'P' { set.complement() } else { set }));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(if byte.is_ascii_uppercase() { set.complement() } else { set }))
    }

    fn property(&mut self, start: usize) -> Result<ByteSet, PatternError> {
        let mut negated = false;
        let name = if self.takes(b"{") {
            negated = self.takes(b"^");
            let Some(length) = self.rest().iter().position(|byte| *byte == b'}') else {
                return Err(self.error(
                    start..self.bytes.len(),
                    "the name of the property does not end",
                    "end it with `}`",
                ));
            };
            let name = &self.text[self.at..self.at + length];
            self.at += length + 1;
            name
        } else {
            let length = self.peek().filter(u8::is_ascii_alphabetic).map_or(0, |_| 1);
            self.at += length;
            &self.text[self.at - length..self.at]
        };
        match set::unicode_property(name) {
            Some(set) => Ok(if negated { set.complement() } else { set }),
            None => Err(self.error(start..self.at, "there is no such property", r"`\p{L}` and `\p{N}` are properties")),
        }
    }

    /// An escape that stands for one byte, in brackets or not.
    pub(super) fn character_escape(&mut self, start: usize) -> Result<u8, PatternError> {
        let byte = self.bytes[self.at];
        self.at += 1;
        Ok(match byte {
            b'a' => 0x07,
            b'e' => 0x1B,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'c' => match self.peek() {
                Some(control @ b' '..=b'~') => {
                    self.at += 1;
                    control.to_ascii_uppercase() ^ 0x40
                }
                _ => return Err(self.error(start..self.at, r"`\c` needs a character", r"write `\x1B` or the like")),
            },
            b'0' => {
                self.at -= 1;
                self.octal(start, 3)?
            }
            b'o' => {
                if !self.takes(b"{") {
                    return Err(self.error(start..self.at, r"`\o` needs a number in braces", r"write `\o{101}`"));
                }
                self.braced(start, 8)?
            }
            b'x' if self.takes(b"{") => self.braced(start, 16)?,
            b'x' => {
                let length = self.rest().iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
                let digits = &self.text[self.at..self.at + length];
                self.at += length;
                u8::from_str_radix(digits, 16).unwrap_or(0)
            }
            _ if byte.is_ascii_alphanumeric() => {
                let message = format!(r"there is no escape `\{}`", char::from(byte));
                return Err(self.error(start..self.at, message, "write the character without the backslash"));
            }
            _ => byte,
        })
    }

    fn braced(&mut self, start: usize, radix: u32) -> Result<u8, PatternError> {
        let digits = self.rest().iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
        let number = u32::from_str_radix(&self.text[self.at..self.at + digits], radix).unwrap_or(u32::MAX);
        self.at += digits;
        if digits == 0 || self.peek() != Some(b'}') {
            return Err(self.error(start..self.at + 1, "this is no number in braces", r"write `\x41` or `\x{41}`"));
        }
        self.at += 1;
        self.byte(number, start)
    }
}
