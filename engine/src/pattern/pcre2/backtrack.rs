//! Searches a text by trying one way after the other, as PCRE2 does, and counts its steps.

use super::program::{Instruction, Program};
use super::set;
use super::syntax::{Assertion, Kind};

/// The most ways and changes that are remembered at one time. Each takes 16 bytes.
const REMEMBERED_MAX: usize = 4_000_000;
/// The most calls within calls.
const CALLS_MAX: usize = 10_000;
/// The most slots that all calls of a search remember. Each takes 4 bytes.
const CALL_SLOTS_MAX: usize = 4_000_000;
/// So many bytes in a row are worth one step.
const BYTES_PER_STEP: usize = 16;

/// Work that is left. Takes away from it are the same for the same expression and text on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps(Option<u64>);

/// A search took more steps than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the search takes too many steps")]
pub struct GaveUp;

impl Steps {
    /// So many steps; one is about five nanoseconds.
    pub fn new(steps: u64) -> Steps {
        Steps(Some(steps))
    }

    /// Whether there was always enough so far.
    pub fn check(&self) -> Result<(), GaveUp> {
        self.0.map(|_| ()).ok_or(GaveUp)
    }

    fn take(&mut self, steps: usize) -> Result<(), GaveUp> {
        self.0 = self.0.and_then(|left| left.checked_sub(steps as u64));
        self.check()
    }

    fn give_up(&mut self) -> GaveUp {
        self.0 = None;
        GaveUp
    }
}

/// No place.
const NOWHERE: u32 = u32::MAX;

/// What to do when a way leads nowhere.
#[derive(Clone, Copy, Debug)]
enum Memory {
    /// Go on there.
    Way { instruction: u32, at: u32 },
    /// A run can be one byte shorter, down to this place.
    Shorter { instruction: u32, at: u32, low: u32 },
    /// A run can be one byte longer, so many times.
    Longer { instruction: u32, at: u32, times: u32 },
    /// A slot held something else.
    Slot { slot: u32, value: u32 },
    /// Another call was going on.
    Call { call: u32 },
    /// A part that is looked at as a whole began here.
    Whole { otherwise: u32, at: u32 },
}

/// A call that is going on, or was.
#[derive(Debug)]
struct Call {
    group: u32,
    /// Where it began in the text.
    at: u32,
    back_to: u32,
    outer: u32,
    /// What the slots held.
    slots: Box<[u32]>,
}

struct Search<'p> {
    program: &'p Program,
    text: &'p [u8],
    slots: Vec<u32>,
    memory: Vec<Memory>,
    /// Places in `memory` where parts began that are looked at as a whole.
    wholes: Vec<usize>,
    calls: Vec<Call>,
    /// The current call.
    call: u32,
}

impl Program {
    /// The first match: where the whole and each group begin and end, in pairs. Empty when there is none.
    pub fn search(&self, text: &[u8], steps: &mut Steps) -> Result<Vec<Option<(usize, usize)>>, GaveUp> {
        steps.check()?;
        if text.len() >= NOWHERE as usize {
            return Err(steps.give_up());
        }
        let mut search = Search {
            program: self,
            text,
            slots: vec![NOWHERE; self.slots],
            memory: Vec::new(),
            wholes: Vec::new(),
            calls: Vec::new(),
            call: NOWHERE,
        };
        let last = if self.anchored { 0 } else { text.len() };
        let mut start = 0;
        while start <= last {
            if let Some(first) = &self.first {
                let Some(skipped) = text[start..].iter().position(|byte| first.contains(*byte)) else { break };
                start += skipped;
                steps.take(skipped / BYTES_PER_STEP)?;
                if start > last {
                    break;
                }
            }
            if search.fits(start as u32, steps)? {
                let pair = |group: usize| match (search.slots[2 * group], search.slots[2 * group + 1]) {
                    (NOWHERE, _) | (_, NOWHERE) => None,
                    (start, end) => Some((start as usize, end as usize)),
                };
                return Ok((0..=self.groups as usize).map(pair).collect());
            }
            start += 1;
        }
        Ok(Vec::new())
    }
}

impl Search<'_> {
    /// Whether the expression fits from this place on.
    fn fits(&mut self, start: u32, steps: &mut Steps) -> Result<bool, GaveUp> {
        self.slots.fill(NOWHERE);
        self.slots[0] = start;
        self.memory.clear();
        self.wholes.clear();
        self.calls.clear();
        self.call = NOWHERE;
        let (mut instruction, mut at) = (0, start);
        loop {
            steps.take(1)?;
            if self.memory.len() > REMEMBERED_MAX {
                return Err(steps.give_up());
            }
            let next = match &self.program.instructions[instruction as usize] {
                Instruction::Match => match self.calls.get(self.call as usize) {
                    Some(call) if call.group == 0 => Some((self.end_call(), at)),
                    _ => {
                        self.slots[1] = at;
                        return Ok(true);
                    }
                },
                step => self.step(step, instruction, at, steps)?,
            };
            match next.or_else(|| self.turn_back(steps)) {
                Some(next) => (instruction, at) = next,
                None => return Ok(false),
            }
        }
    }

    /// The next instruction and place; `None` when this way leads nowhere.
    fn step(
        &mut self,
        step: &Instruction,
        instruction: u32,
        at: u32,
        steps: &mut Steps,
    ) -> Result<Option<(u32, u32)>, GaveUp> {
        let next = instruction + 1;
        Ok(match step {
            Instruction::Set(set) => {
                let fits =
                    self.text.get(at as usize).is_some_and(|byte| self.program.sets[*set as usize].contains(*byte));
                fits.then_some((next, at + 1))
            }
            Instruction::Run { set, min, max, kind } => {
                let (set, rest) = (&self.program.sets[*set as usize], &self.text[at as usize..]);
                let wanted = if *kind == Kind::Lazy { *min } else { *max };
                let most = &rest[..rest.len().min(wanted as usize)];
                let length = most.iter().position(|byte| !set.contains(*byte)).unwrap_or(most.len());
                steps.take(length / BYTES_PER_STEP)?;
                let length = length as u32;
                if length < *min {
                    return Ok(None);
                }
                match kind {
                    Kind::Greedy if length > *min => {
                        self.memory.push(Memory::Shorter { instruction: next, at: at + length, low: at + min });
                    }
                    Kind::Lazy if max > min => {
                        self.memory.push(Memory::Longer { instruction, at: at + length, times: max - min });
                    }
                    _ => {}
                }
                Some((next, at + length))
            }
            Instruction::Assert(assertion) => self.holds(*assertion, at as usize).then_some((next, at)),
            Instruction::Split { first, then } => {
                self.memory.push(Memory::Way { instruction: *then, at });
                Some((*first, at))
            }
            Instruction::Jump(to) => Some((*to, at)),
            Instruction::Open { slot } | Instruction::Turn { slot } => {
                self.put(*slot, at);
                Some((next, at))
            }
            Instruction::Close { group, slot } => {
                match self.calls.get(self.call as usize) {
                    Some(call) if call.group == *group => return Ok(Some((self.end_call(), at))),
                    _ => {}
                }
                let start = self.slots[*slot as usize];
                self.put(2 * group, start);
                self.put(2 * group + 1, at);
                Some((next, at))
            }
            Instruction::Keep => {
                self.put(0, at);
                Some((next, at))
            }
            Instruction::Leave { slot, exit } => {
                Some((if self.slots[*slot as usize] == at { *exit } else { next }, at))
            }
            Instruction::Reference { groups, caseless } => {
                self.refer(groups, *caseless, at, steps)?.map(|at| (next, at))
            }
            Instruction::Back(bytes) => at.checked_sub(*bytes).map(|at| (next, at)),
            Instruction::Enter { otherwise } => {
                self.wholes.push(self.memory.len());
                self.memory.push(Memory::Whole { otherwise: otherwise.unwrap_or(NOWHERE), at });
                Some((next, at))
            }
            Instruction::Settle => {
                self.settle(steps)?;
                Some((next, at))
            }
            Instruction::Ahead => {
                let began = self.settle(steps)?;
                Some((next, began))
            }
            Instruction::Deny { otherwise } => {
                let began = self.forget(steps)?;
                otherwise.map(|otherwise| (otherwise, began))
            }
            Instruction::Call(group) => Some((self.begin_call(*group, next, at, steps)?, at)),
            Instruction::UnlessGroup { groups, otherwise } => {
                let took = groups.iter().any(|group| self.slots[2 * *group as usize + 1] != NOWHERE);
                Some((if took { next } else { *otherwise }, at))
            }
            Instruction::UnlessCall { group, otherwise } => {
                let call = self.calls.get(self.call as usize);
                let within = call.is_some_and(|call| group.is_none_or(|group| group == call.group));
                Some((if within { next } else { *otherwise }, at))
            }
            Instruction::Fail | Instruction::Match => None,
        })
    }

    fn put(&mut self, slot: u32, value: u32) {
        let before = std::mem::replace(&mut self.slots[slot as usize], value);
        self.memory.push(Memory::Slot { slot, value: before });
    }

    /// Undoes what was done since the last place with another way, and goes that way.
    fn turn_back(&mut self, steps: &mut Steps) -> Option<(u32, u32)> {
        loop {
            match self.memory.pop()? {
                Memory::Way { instruction, at } => return Some((instruction, at)),
                Memory::Shorter { instruction, at, low } => {
                    let at = at - 1;
                    if at > low {
                        self.memory.push(Memory::Shorter { instruction, at, low });
                    }
                    return Some((instruction, at));
                }
                Memory::Longer { instruction, at, times } => {
                    let Instruction::Run { set, .. } = &self.program.instructions[instruction as usize] else {
                        continue;
                    };
                    let set = &self.program.sets[*set as usize];
                    if self.text.get(at as usize).is_some_and(|byte| set.contains(*byte)) {
                        if times > 1 {
                            self.memory.push(Memory::Longer { instruction, at: at + 1, times: times - 1 });
                        }
                        return Some((instruction + 1, at + 1));
                    }
                }
                Memory::Slot { slot, value } => {
                    // The result shows in the next step.
                    let _ = steps.take(1);
                    self.slots[slot as usize] = value;
                }
                Memory::Call { call } => self.call = call,
                Memory::Whole { otherwise, at } => {
                    self.wholes.pop();
                    if otherwise != NOWHERE {
                        return Some((otherwise, at));
                    }
                }
            }
        }
    }

    /// Ends the innermost part that is looked at as a whole: its ways are forgotten, what it changed stays, and can be
    /// undone. Says where it began.
    fn settle(&mut self, steps: &mut Steps) -> Result<u32, GaveUp> {
        let from = self.wholes.pop().unwrap_or(0);
        steps.take((self.memory.len() - from) / BYTES_PER_STEP)?;
        let began = match self.memory.get(from) {
            Some(Memory::Whole { at, .. }) => *at,
            _ => 0,
        };
        let mut kept = from;
        for at in from..self.memory.len() {
            if let Memory::Slot { .. } | Memory::Call { .. } = self.memory[at] {
                self.memory[kept] = self.memory[at];
                kept += 1;
            }
        }
        self.memory.truncate(kept);
        Ok(began)
    }

    /// The same, and what it changed is undone.
    fn forget(&mut self, steps: &mut Steps) -> Result<u32, GaveUp> {
        let from = self.wholes.pop().unwrap_or(0);
        steps.take((self.memory.len() - from) / BYTES_PER_STEP)?;
        let mut began = 0;
        for memory in self.memory.drain(from..).rev() {
            match memory {
                Memory::Slot { slot, value } => self.slots[slot as usize] = value,
                Memory::Call { call } => self.call = call,
                Memory::Whole { at, .. } => began = at,
                Memory::Way { .. } | Memory::Shorter { .. } | Memory::Longer { .. } => {}
            }
        }
        Ok(began)
    }

    fn begin_call(&mut self, group: u32, back_to: u32, at: u32, steps: &mut Steps) -> Result<u32, GaveUp> {
        // Calls that can never end, since each begins where the one before began.
        let mut outer = self.call;
        while let Some(call) = self.calls.get(outer as usize) {
            if call.at != at {
                break;
            }
            if call.group == group {
                return Err(steps.give_up());
            }
            outer = call.outer;
        }
        if self.calls.len() >= CALLS_MAX || self.calls.len() * self.slots.len() >= CALL_SLOTS_MAX {
            return Err(steps.give_up());
        }
        steps.take(self.slots.len() / BYTES_PER_STEP)?;
        self.memory.push(Memory::Call { call: self.call });
        self.calls.push(Call { group, at, back_to, outer: self.call, slots: self.slots.clone().into_boxed_slice() });
        self.call = self.calls.len() as u32 - 1;
        Ok(match group {
            0 => 0,
            // Entries are counted from 1.
            group => self.program.entries[group as usize] - 1,
        })
    }

    /// The current call ends: groups hold what they held before it. Says where to go on.
    fn end_call(&mut self) -> u32 {
        let call = &self.calls[self.call as usize];
        let (back_to, outer) = (call.back_to, call.outer);
        for slot in 0..self.slots.len() {
            let value = self.calls[self.call as usize].slots[slot];
            // Where the match begins is no group's.
            if slot > 0 && self.slots[slot] != value {
                self.put(slot as u32, value);
            }
        }
        self.memory.push(Memory::Call { call: self.call });
        self.call = outer;
        back_to
    }

    /// The place behind what a group took, if the same stands here.
    fn refer(&self, groups: &[u32], caseless: bool, at: u32, steps: &mut Steps) -> Result<Option<u32>, GaveUp> {
        steps.take(groups.len() / BYTES_PER_STEP)?;
        let taken = groups.iter().find_map(|group| {
            let (start, end) = (self.slots[2 * *group as usize], self.slots[2 * *group as usize + 1]);
            (end != NOWHERE).then(|| &self.text[start as usize..end as usize])
        });
        let Some(taken) = taken else { return Ok(None) };
        steps.take(taken.len() / BYTES_PER_STEP)?;
        let Some(here) = self.text.get(at as usize..at as usize + taken.len()) else { return Ok(None) };
        let same = if caseless { here.eq_ignore_ascii_case(taken) } else { here == taken };
        Ok(same.then_some(at + taken.len() as u32))
    }

    fn holds(&self, assertion: Assertion, at: usize) -> bool {
        let word = |byte: Option<&u8>| byte.is_some_and(|byte| set::word(*byte));
        let at_word_boundary = || word(at.checked_sub(1).and_then(|at| self.text.get(at))) != word(self.text.get(at));
        match assertion {
            Assertion::TextStart => at == 0,
            Assertion::TextEnd => at == self.text.len(),
            Assertion::LastLineEnd => at == self.text.len() || self.text[at..] == *b"\n",
            Assertion::LineStart => at == 0 || at < self.text.len() && self.text[at - 1] == b'\n',
            Assertion::LineEnd => at == self.text.len() || self.text[at] == b'\n',
            Assertion::WordBoundary => at_word_boundary(),
            Assertion::NotWordBoundary => !at_word_boundary(),
        }
    }
}
