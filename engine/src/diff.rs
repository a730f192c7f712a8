//! The line difference between two texts, bounded by counts, so that it is the same on every machine and in every replay.
//!
//! Lines that both texts begin and end with are taken off first. What remains is compared in order while at most
//! [`DiffLimits::lines_max`] lines are hard to place; the crate `similar` bounds its own search by counts as well, so
//! the time grows with the number of lines and little more. Beyond that the answer is coarse: which lines came and
//! went, each as often as it did, but not where.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;

use similar::udiff::UnifiedHunkHeader;
use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};

/// Lines around a change in the unified text.
const CONTEXT_LINES: usize = 3;

/// Less room than this would not hold a hunk's header and something of the first change.
const TEXT_BYTES_MIN: usize = 256;

/// How much work and how much text a difference may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffLimits {
    /// Lines of both texts together that may be hard to place; more make the difference coarse. Easy are the lines
    /// that the other text lacks and, among the rest, those both texts begin and end with.
    pub lines_max: usize,
    /// The size in bytes of the added lines, of the removed lines, and of the unified text, each. Below 256 it is 256.
    pub text_bytes_max: usize,
}

impl Default for DiffLimits {
    fn default() -> DiffLimits {
        DiffLimits { lines_max: 20_000, text_bytes_max: 64 * 1024 }
    }
}

/// Which lines came and went. Bytes that are not UTF-8 are U+FFFD in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineDiff {
    /// Lines that are new, in their order, without their line breaks.
    pub added: Vec<String>,
    /// Lines that are gone, in their order.
    pub removed: Vec<String>,
    /// Hunks with three lines of context, without file names. A line that begins with `\` is a remark.
    pub unified: String,
    /// Too many lines differ to compare them in order: `added` and `removed` are right as multisets, and `unified` has
    /// no context.
    pub coarse: bool,
    /// `added`, `removed` or `unified` had to be cut.
    pub cut: bool,
    /// How much there is, whether it was cut or not.
    pub full: FullSizes,
}

/// The sizes of a difference before anything was cut. Each line counts with its line break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullSizes {
    /// How many lines are new.
    pub added_lines: usize,
    /// How many bytes they have.
    pub added_bytes: usize,
    /// How many lines are gone.
    pub removed_lines: usize,
    /// How many bytes they had.
    pub removed_bytes: usize,
    /// How many bytes the unified text has.
    pub unified_bytes: usize,
}

/// Compares two texts line by line. Only LF ends a line; an empty text has no lines.
pub fn diff(old: &[u8], new: &[u8], limits: &DiffLimits) -> LineDiff {
    let texts = Texts { old: lines(old), new: lines(new) };
    let (start, end) = common_ends(&texts.old, &texts.new);
    let (old_middle, new_middle) = (start..texts.old.len() - end, start..texts.new.len() - end);
    let mut report = Report::new(&texts, limits.text_bytes_max.max(TEXT_BYTES_MIN));
    let middles = Numbered::new(&texts.old[old_middle.clone()], &texts.new[new_middle.clone()]);
    if middles.hard_to_place() > limits.lines_max {
        report.coarse(old_middle, new_middle, &middles);
    } else {
        let changes = capture_diff_slices(Algorithm::Myers, &middles.old, &middles.new);
        report.in_order(with_common_ends(changes, start, &texts));
    }
    report.finish()
}

/// The lines of both texts.
struct Texts<'a> {
    old: Vec<&'a [u8]>,
    new: Vec<&'a [u8]>,
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text) {
        lines.push(&text[start..end]);
        start = end + 1;
    }
    lines.push(&text[start..]);
    lines
}

/// How many items both begin with, and how many of the rest both end with.
fn common_ends<T: PartialEq>(old: &[T], new: &[T]) -> (usize, usize) {
    let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let backwards = old[start..].iter().rev().zip(new[start..].iter().rev());
    (start, backwards.take_while(|(old, new)| old == new).count())
}

/// The lines of two texts as numbers, the same for equal lines: compared in no time, and good as indices.
struct Numbered {
    old: Vec<u32>,
    new: Vec<u32>,
    /// All numbers are below it.
    end: usize,
}

impl Numbered {
    fn new(old: &[&[u8]], new: &[&[u8]]) -> Numbered {
        let mut numbers: HashMap<&[u8], u32> = HashMap::new();
        let [old, new] = [old, new].map(|lines| {
            let numbered = lines.iter().map(|&line| {
                let next = numbers.len() as u32;
                *numbers.entry(line).or_insert(next)
            });
            numbered.collect()
        });
        Numbered { old, new, end: numbers.len() }
    }

    /// How many lines there are for which a counterpart must be searched; see [`DiffLimits::lines_max`].
    fn hard_to_place(&self) -> usize {
        let mut known_to = [vec![false; self.end], vec![false; self.end]];
        self.old.iter().for_each(|&number| known_to[0][number as usize] = true);
        self.new.iter().for_each(|&number| known_to[1][number as usize] = true);
        let in_both = |number: &u32| known_to.iter().all(|known| known[*number as usize]);
        let old: Vec<u32> = self.old.iter().copied().filter(in_both).collect();
        let new: Vec<u32> = self.new.iter().copied().filter(in_both).collect();
        let (start, end) = common_ends(&old, &new);
        old.len() + new.len() - 2 * (start + end)
    }

    /// The places of the lines in `of` that are there more often than in `than`: the first ones have their match.
    fn surplus(&self, of: &[u32], than: &[u32]) -> Vec<usize> {
        let mut matches = vec![0_usize; self.end];
        than.iter().for_each(|&number| matches[number as usize] += 1);
        let mut is_surplus = |number: u32| {
            let left = &mut matches[number as usize];
            let none_left = *left == 0;
            *left = left.saturating_sub(1);
            none_left
        };
        (0..of.len()).filter(|&at| is_surplus(of[at])).collect()
    }
}

/// Makes changes between the middles of two texts changes between the texts.
fn with_common_ends(changes: Vec<DiffOp>, start: usize, texts: &Texts<'_>) -> Vec<DiffOp> {
    let Some(last) = changes.last() else { return Vec::new() };
    let (old_end, new_end) = (start + last.old_range().end, start + last.new_range().end);
    let first_lines = DiffOp::Equal { old_index: 0, new_index: 0, len: start };
    let last_lines = DiffOp::Equal { old_index: old_end, new_index: new_end, len: texts.old.len() - old_end };
    let moved = changes.into_iter().map(|change| match change {
        DiffOp::Equal { old_index, new_index, len } => {
            DiffOp::Equal { old_index: old_index + start, new_index: new_index + start, len }
        }
        DiffOp::Delete { old_index, old_len, new_index } => {
            DiffOp::Delete { old_index: old_index + start, old_len, new_index: new_index + start }
        }
        DiffOp::Insert { old_index, new_index, new_len } => {
            DiffOp::Insert { old_index: old_index + start, new_index: new_index + start, new_len }
        }
        DiffOp::Replace { old_index, old_len, new_index, new_len } => {
            DiffOp::Replace { old_index: old_index + start, old_len, new_index: new_index + start, new_len }
        }
    });
    std::iter::once(first_lines)
        .chain(moved)
        .chain(std::iter::once(last_lines))
        .filter(|change| !change.old_range().is_empty() || !change.new_range().is_empty())
        .collect()
}

/// The difference while it is written down.
struct Report<'a> {
    texts: &'a Texts<'a>,
    coarse: bool,
    added: Kept,
    removed: Kept,
    unified: Kept,
}

impl<'a> Report<'a> {
    fn new(texts: &'a Texts<'a>, bytes_max: usize) -> Report<'a> {
        let [added, removed, unified] = [(); 3].map(|()| Kept::new(bytes_max));
        Report { texts, coarse: false, added, removed, unified }
    }

    fn in_order(&mut self, changes: Vec<DiffOp>) {
        for hunk in group_diff_ops(changes, CONTEXT_LINES) {
            self.hunk(&hunk);
        }
    }

    fn hunk(&mut self, mut changes: &[DiffOp]) {
        // Long lines before the first change must not take its room.
        if let [DiffOp::Equal { .. }, rest @ ..] = changes
            && !self.unified.shows_a_change
        {
            let context: usize = self.texts.old[changes[0].old_range()].iter().map(|line| line.len() + 2).sum();
            if context > self.unified.bytes_max / 2 {
                changes = rest;
            }
        }
        self.unified.remark(&UnifiedHunkHeader::new(changes).to_string());
        for change in changes {
            if let DiffOp::Equal { .. } = change {
                self.texts.old[change.old_range()].iter().for_each(|line| self.unified.line(" ", line));
            } else {
                let (mut old, mut new) = (&self.texts.old[change.old_range()], &self.texts.new[change.new_range()]);
                if let ([one, rest @ ..], [other, others @ ..]) = (old, new)
                    && self.unified.begin_with_long_lines(one, other)
                {
                    self.removed.line("", one);
                    self.added.line("", other);
                    (old, new) = (rest, others);
                }
                old.iter().for_each(|line| self.remove(line));
                new.iter().for_each(|line| self.add(line));
            }
        }
    }

    /// Takes the lines that are more often in one middle than in the other for the ones that came and went: the last
    /// of them, in their order.
    fn coarse(&mut self, old_middle: Range<usize>, new_middle: Range<usize>, middles: &Numbered) {
        self.coarse = true;
        self.unified.remark(&format!(
            "\\ {} lines are too many to compare in order: shown is which came and went, not where",
            middles.old.len() + middles.new.len(),
        ));
        let removed = middles.surplus(&middles.old, &middles.new);
        let added = middles.surplus(&middles.new, &middles.old);
        if removed.is_empty() && added.is_empty() {
            self.unified.remark("\\ none did: the same lines are in another order");
            return;
        }
        let whole = DiffOp::Replace {
            old_index: old_middle.start,
            old_len: old_middle.len(),
            new_index: new_middle.start,
            new_len: new_middle.len(),
        };
        self.unified.remark(&UnifiedHunkHeader::new(&[whole]).to_string());
        removed.into_iter().for_each(|at| self.remove(self.texts.old[old_middle.start + at]));
        added.into_iter().for_each(|at| self.add(self.texts.new[new_middle.start + at]));
    }

    fn remove(&mut self, line: &[u8]) {
        self.removed.line("", line);
        self.unified.change("-", line);
    }

    fn add(&mut self, line: &[u8]) {
        self.added.line("", line);
        self.unified.change("+", line);
    }

    fn finish(self) -> LineDiff {
        let full = FullSizes {
            added_lines: self.added.full_lines,
            added_bytes: self.added.full_bytes,
            removed_lines: self.removed.full_lines,
            removed_bytes: self.removed.full_bytes,
            unified_bytes: self.unified.full_bytes,
        };
        let mut unified = String::new();
        for line in &self.unified.lines {
            unified.push_str(line);
            unified.push('\n');
        }
        if self.unified.cut {
            unified.push_str(&format!("\\ cut: {} of {} bytes\n", self.unified.bytes, self.unified.full_bytes));
        }
        LineDiff {
            cut: self.added.cut || self.removed.cut || self.unified.cut,
            added: self.added.lines,
            removed: self.removed.lines,
            unified,
            coarse: self.coarse,
            full,
        }
    }
}

/// Lines up to a size. What comes after the first line that has no room is only counted.
struct Kept {
    /// Without their line breaks.
    lines: Vec<String>,
    /// Of `lines`, with their line breaks. Never more than `bytes_max`.
    bytes: usize,
    bytes_max: usize,
    cut: bool,
    shows_a_change: bool,
    full_lines: usize,
    full_bytes: usize,
}

impl Kept {
    fn new(bytes_max: usize) -> Kept {
        Kept { lines: Vec::new(), bytes: 0, bytes_max, cut: false, shows_a_change: false, full_lines: 0, full_bytes: 0 }
    }

    /// A line of ours.
    fn remark(&mut self, text: &str) {
        self.push("", text, false);
    }

    /// A line of the texts. The first one of all is shown in part rather than not at all.
    fn line(&mut self, mark: &str, line: &[u8]) {
        self.push(mark, &String::from_utf8_lossy(line), self.lines.is_empty());
    }

    /// A line that came or went. The first one is shown in part rather than not at all.
    fn change(&mut self, mark: &str, line: &[u8]) {
        self.push(mark, &String::from_utf8_lossy(line), !self.shows_a_change);
        self.shows_a_change = true;
    }

    /// The first line that went and the one that came for it, when the first would leave too little room for the second: half
    /// of it for each, from shortly before the place where they differ. An output may be one line, and its beginning is rarely
    /// what changed. Says whether it took them.
    fn begin_with_long_lines(&mut self, old: &[u8], new: &[u8]) -> bool {
        const BYTES_BEFORE: usize = 40;
        const REMARK_BYTES_MAX: usize = 80;
        let room = (self.bytes_max - self.bytes).saturating_sub(REMARK_BYTES_MAX) / 2;
        if self.cut || self.shows_a_change || old.len() + 2 <= room {
            return false;
        }
        let [old, new] = [old, new].map(String::from_utf8_lossy);
        if old.len() + new.len() + 4 <= self.bytes_max - self.bytes {
            return false;
        }
        let alike = old.bytes().zip(new.bytes()).take_while(|(old, new)| old == new).count();
        // What is before it is the same in both.
        let start = old.floor_char_boundary(alike.saturating_sub(BYTES_BEFORE));
        if start > 0 {
            self.remark(&format!("\\ the first {start} bytes of these lines are the same"));
        }
        for (mark, line) in [("-", &old), ("+", &new)] {
            let end = line.floor_char_boundary((start + room.saturating_sub(2)).min(line.len()));
            let shown = format!("{mark}{}", &line[start..end]);
            self.full_lines += 1;
            self.full_bytes += mark.len() + line.len() + 1;
            self.bytes += shown.len() + 1;
            self.lines.push(shown);
        }
        (self.cut, self.shows_a_change) = (true, true);
        true
    }

    fn push(&mut self, mark: &str, line: &str, in_part: bool) {
        let bytes = mark.len() + line.len() + 1;
        self.full_lines += 1;
        self.full_bytes += bytes;
        if self.cut {
            return;
        }
        let room = self.bytes_max - self.bytes;
        let shown = if bytes <= room {
            line
        } else {
            self.cut = true;
            if !in_part || room < mark.len() + 1 {
                return;
            }
            &line[..line.floor_char_boundary(room - mark.len() - 1)]
        };
        self.bytes += mark.len() + shown.len() + 1;
        self.lines.push(format!("{mark}{shown}"));
    }
}
