//! Decoders: what kind of line this is, and which fields it has.
//!
//! A line that names a program is for the decoders with a `program_name` alone, any other for those without. Of these
//! the first that fits is taken; then the first of its children that fits. The taken one's expressions fill the fields.
//! When a decoder has children and none fits, it is the line's decoder all the same, without fields.
//!
//! Children of one parent that share a name form a chain: their expressions are tried in turn, and what does not fit is
//! passed over.
//!
//! The action of a firewall's line gets a common word ([`firewall`]).

mod field;
mod firewall;

use std::ops::Range;

pub(crate) use field::{Field, Fields, KnownField};

use crate::pattern::{OsMatch, OsRegex, Pcre2, Steps};
use crate::predecode::{self, Header};
use crate::ruleset::Category;

/// Steps that the backtracking patterns of all decoders may take for one line, whatever its size.
const STEPS: u64 = 10_000_000;

/// Steps more for each byte of the line.
const STEPS_PER_BYTE: u64 = 64;

/// All decoders of a rule set, in load order.
#[derive(Debug, Default)]
pub(crate) struct Decoders {
    /// Each by its place.
    pub list: Vec<Decoder>,
    /// Without a parent, with a program name.
    pub with_program: Vec<Top>,
    /// Without a parent and without a program name.
    pub without_program: Vec<Top>,
}

/// A decoder without a parent, and those that have it as theirs. Places are those in [`Decoders::list`].
#[derive(Debug)]
pub(crate) struct Top {
    pub decoder: usize,
    /// In the order they are tried. Never empty chains.
    pub children: Vec<Vec<usize>>,
}

/// One `<decoder>`.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The name that it reports: a child's is that of its parent unless it uses its own.
    pub name: String,
    /// What its lines are.
    pub category: Category,
    pub program_name: Option<ProgramPattern>,
    pub prematch: Option<Prematch>,
    pub extract: Option<Extract>,
    /// What makes a line one that was not seen before.
    pub fts: Option<FirstSeen>,
}

/// `program_name` or `program_name_pcre2`.
#[derive(Debug)]
pub(crate) enum ProgramPattern {
    OsMatch(OsMatch),
    Pcre2(Pcre2),
}

/// `prematch`, or `prematch_pcre2`.
#[derive(Debug)]
pub(crate) struct Prematch {
    pub pattern: Expression,
    pub after_parent: bool,
}

/// `regex` or `pcre2`, with the fields that its groups fill.
#[derive(Debug)]
pub(crate) struct Extract {
    pub pattern: Expression,
    pub offset: Offset,
    pub order: Vec<Field>,
}

/// Where a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offset {
    /// At the start of the log.
    Start,
    /// Where the parent's prematch ended.
    AfterParent,
    /// Where its own prematch ended, or the parent's when it has none.
    AfterPrematch,
    /// Where the last expression of the chain that fitted ended, or else as [`Offset::AfterPrematch`].
    AfterRegex,
}

/// An expression of either dialect.
#[derive(Debug)]
pub(crate) enum Expression {
    OsRegex(OsRegex),
    Pcre2(Pcre2),
}

/// The `fts` of a decoder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FirstSeen {
    /// The fields whose values count.
    pub fields: Vec<KnownField>,
    /// The location counts.
    pub location: bool,
}

/// A line, with what its header and the decoders tell of it.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    /// The whole line.
    pub full: &'a [u8],
    pub header: Header<'a>,
    pub decoder: Option<&'a Decoder>,
    pub fields: Fields<'a>,
    /// What is left to patterns that backtrack. One that needs more does not fit.
    pub steps: Steps,
}

impl Decoders {
    /// Reads a line's header and finds its decoder and fields.
    pub fn decode<'a>(&'a self, text: &'a [u8]) -> Decoded<'a> {
        let header = predecode::header(text);
        let steps = Steps::new(STEPS.saturating_add(STEPS_PER_BYTE.saturating_mul(text.len() as u64)));
        let mut decoded = Decoded { full: text, header, decoder: None, fields: Fields::default(), steps };
        let tops = if header.program.is_some() { &self.with_program } else { &self.without_program };
        for top in tops {
            let decoder = &self.list[top.decoder];
            if !decoder.fits_program(header.program, &mut decoded.steps) {
                continue;
            }
            let Some(after_parent) = decoder.prematch_end(header.log, 0, &mut decoded.steps) else { continue };
            decoded.decoder = Some(decoder);
            if top.children.is_empty() {
                self.extract(&[top.decoder], 0, after_parent, &mut decoded);
            } else {
                self.decode_by_child(top, after_parent, &mut decoded);
            }
            break;
        }
        if decoded.decoder.is_some_and(|decoder| decoder.category == Category::Firewall) {
            firewall::normalise(&mut decoded.fields);
        }
        decoded
    }

    fn decode_by_child<'a>(&'a self, top: &'a Top, after_parent: usize, decoded: &mut Decoded<'a>) {
        for chain in &top.children {
            let head = &self.list[chain[0]];
            let log = decoded.header.log;
            if let Some(after_prematch) = head.prematch_end(log, after_parent, &mut decoded.steps) {
                decoded.decoder = Some(head);
                return self.extract(chain, after_parent, after_prematch, decoded);
            }
        }
    }

    /// Fills the fields by the expressions of a chain.
    fn extract<'a>(&'a self, chain: &[usize], after_parent: usize, after_prematch: usize, decoded: &mut Decoded<'a>) {
        let log = decoded.header.log;
        let mut after_regex = after_prematch;
        for extract in chain.iter().filter_map(|at| self.list[*at].extract.as_ref()) {
            let start = match extract.offset {
                Offset::Start => 0,
                Offset::AfterParent => after_parent,
                Offset::AfterPrematch => after_prematch,
                Offset::AfterRegex => after_regex,
            };
            let rest = &log[start..];
            let Some(groups) = extract.pattern.captures(rest, &mut decoded.steps) else { continue };
            after_regex = start + groups[0].as_ref().map_or(0, |whole| whole.end);
            // A group that took no part leaves its name to the next.
            for (field, group) in extract.order.iter().zip(groups.into_iter().skip(1).flatten()) {
                decoded.fields.set(field, &rest[group]);
            }
        }
    }
}

impl Decoder {
    /// How much memory in bytes its patterns take at most when they are compiled.
    pub fn pattern_bytes_max(&self) -> usize {
        let program_name = self.program_name.iter().map(|pattern| match pattern {
            ProgramPattern::OsMatch(pattern) => pattern.bytes_max(),
            ProgramPattern::Pcre2(pattern) => pattern.bytes_max(),
        });
        let prematch = self.prematch.iter().map(|prematch| prematch.pattern.bytes_max());
        let extract = self.extract.iter().map(|extract| extract.pattern.bytes_max());
        program_name.chain(prematch).chain(extract).sum()
    }

    fn fits_program(&self, program: Option<&[u8]>, steps: &mut Steps) -> bool {
        match (&self.program_name, program) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ProgramPattern::OsMatch(pattern)), Some(program)) => pattern.is_match(program),
            (Some(ProgramPattern::Pcre2(pattern)), Some(program)) => pattern.try_match(program, steps) == Ok(true),
        }
    }

    /// Where its prematch ends; where the parent's does when it has none; `None` when it does not fit.
    fn prematch_end(&self, log: &[u8], after_parent: usize, steps: &mut Steps) -> Option<usize> {
        let Some(prematch) = &self.prematch else { return Some(after_parent) };
        let start = if prematch.after_parent { after_parent } else { 0 };
        let groups = prematch.pattern.captures(&log[start..], steps)?;
        Some(start + groups[0].as_ref().map_or(0, |whole| whole.end))
    }
}

impl Expression {
    /// How many groups it has that capture.
    pub fn group_count(&self) -> usize {
        match self {
            Expression::OsRegex(pattern) => pattern.group_count(),
            Expression::Pcre2(pattern) => pattern.group_count(),
        }
    }

    fn bytes_max(&self) -> usize {
        match self {
            Expression::OsRegex(pattern) => pattern.bytes_max(),
            Expression::Pcre2(pattern) => pattern.bytes_max(),
        }
    }

    /// The whole match and its groups.
    fn captures(&self, text: &[u8], steps: &mut Steps) -> Option<Vec<Option<Range<usize>>>> {
        match self {
            Expression::OsRegex(pattern) => pattern.captures(text),
            Expression::Pcre2(pattern) => pattern.try_captures(text, steps).ok().flatten(),
        }
    }
}
