//! Numbers and names of groups.

use std::sync::Arc;

use super::super::super::PatternError;
use super::super::set;
use super::Parser;

impl<'p> Parser<'p> {
    /// A number with or without a sign.
    pub(super) fn signed_number(&mut self) -> Option<(Option<u8>, u32)> {
        let sign = self.peek().filter(|byte| matches!(byte, b'+' | b'-'));
        let from = self.at + usize::from(sign.is_some());
        let digits = self.bytes.get(from..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        self.at = from + digits;
        Some((sign, self.text[from..self.at].parse().unwrap_or(u32::MAX)))
    }

    /// The group that a number with or without a sign means. It exists, or is 0.
    pub(super) fn relative(&self, (sign, number): (Option<u8>, u32), start: usize) -> Result<u32, PatternError> {
        let group = match sign {
            None => Some(number),
            Some(_) if number == 0 => None,
            Some(b'+') => self.groups.count.checked_add(number),
            Some(_) => (self.groups.count + 1).checked_sub(number).filter(|group| *group > 0),
        };
        let group = group.ok_or_else(|| self.no_group(start))?;
        if group == 0 { Ok(0) } else { self.numbered(group, start) }
    }

    pub(super) fn numbered(&self, group: u32, start: usize) -> Result<u32, PatternError> {
        match self.known {
            Some(known) if group > known.count || group == 0 => Err(self.no_group(start)),
            _ => Ok(group),
        }
    }

    pub(super) fn named(&self, name: &str, start: usize) -> Result<Arc<[u32]>, PatternError> {
        match self.known {
            Some(known) => match known.names.get(name) {
                Some(groups) => Ok(groups.as_slice().into()),
                None => Err(self.no_group(start)),
            },
            None => Ok(Arc::default()),
        }
    }

    pub(super) fn first_named(&mut self, start: usize) -> Result<u32, PatternError> {
        let name = self.name(start)?;
        Ok(self.named(&name, start)?.first().copied().unwrap_or(0))
    }

    pub(super) fn no_group(&self, start: usize) -> PatternError {
        self.error(start..self.at, "there is no such group", r"groups are counted by their `(`, from 1")
    }

    pub(super) fn name(&mut self, start: usize) -> Result<String, PatternError> {
        let length = self.rest().iter().take_while(|byte| set::word(**byte)).count();
        let name = &self.text[self.at..self.at + length];
        if name.is_empty() || name.len() > 32 || name.as_bytes()[0].is_ascii_digit() {
            let message = "expected a name of letters, digits and `_`, at most 32";
            return Err(self.error(start..self.at + length + 1, message, ""));
        }
        self.at += length;
        Ok(name.to_owned())
    }

    /// A name in `< >`, `' '` or `{ }`.
    pub(super) fn delimited_name(&mut self, start: usize) -> Result<String, PatternError> {
        let close = match self.peek() {
            Some(b'<') => b'>',
            Some(b'\'') => b'\'',
            Some(b'{') => b'}',
            _ => return Err(self.error(start..self.at, r"`\k` names no group", r"write `\k'name'`")),
        };
        self.at += 1;
        let name = self.name(start)?;
        self.expect(close, start)?;
        Ok(name)
    }
}
