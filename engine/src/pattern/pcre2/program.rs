//! From an expression's tree to the instructions of [`backtrack`](super::backtrack).

use std::sync::Arc;

use super::set::ByteSet;
use super::syntax::{Assertion, Condition, Expression, Kind, Look, Node};

/// The most instructions of a program: counted repeats are written out.
const INSTRUCTIONS_MAX: usize = 100_000;

/// The expression is too large when counted repeats are written out.
#[derive(Debug)]
pub(super) struct TooLarge;

/// Bytes of a set that a program keeps once.
const SET_BYTES: usize = size_of::<ByteSet>();

/// What to do at one place of the text.
#[derive(Clone, Debug)]
pub(super) enum Instruction {
    /// One byte of a set.
    Set(u32),
    /// Several bytes of a set.
    Run {
        set: u32,
        min: u32,
        max: u32,
        kind: Kind,
    },
    Assert(Assertion),
    /// First one way; if that leads nowhere, the other.
    Split {
        first: u32,
        then: u32,
    },
    Jump(u32),
    /// A group begins: remember where.
    Open {
        slot: u32,
    },
    /// A group ends, and with it a call of it.
    Close {
        group: u32,
        slot: u32,
    },
    /// `\K`
    Keep,
    /// Remember where a turn of a loop begins.
    Turn {
        slot: u32,
    },
    /// Leave a loop whose turn took nothing.
    Leave {
        slot: u32,
        exit: u32,
    },
    Reference {
        groups: Arc<[u32]>,
        caseless: bool,
    },
    /// So many bytes back.
    Back(u32),
    /// A part begins that is looked at as a whole. If it leads nowhere, go there.
    Enter {
        otherwise: Option<u32>,
    },
    /// It fits: forget its other ways.
    Settle,
    /// It fits: forget its other ways and go back to where it began.
    Ahead,
    /// It fits, and should not: forget it. Go there, or nowhere.
    Deny {
        otherwise: Option<u32>,
    },
    Call(u32),
    /// Go there unless one of the groups took something.
    UnlessGroup {
        groups: Arc<[u32]>,
        otherwise: u32,
    },
    /// Go there unless within a call of this group, or of any.
    UnlessCall {
        group: Option<u32>,
        otherwise: u32,
    },
    Fail,
    /// The expression ends, or a call of it.
    Match,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub instructions: Vec<Instruction>,
    pub sets: Vec<ByteSet>,
    /// By group: its first instruction.
    pub entries: Vec<u32>,
    /// Two for each group and the whole, then one for each thing to remember.
    pub slots: usize,
    pub groups: u32,
    /// Bytes with which a match can begin; `None` when it can be empty or nothing is known.
    pub first: Option<ByteSet>,
    /// A match can begin only where the text does.
    pub anchored: bool,
}

impl Program {
    pub fn new(expression: &Expression) -> Result<Program, TooLarge> {
        let groups = expression.groups;
        let mut program = Program {
            instructions: Vec::new(),
            sets: Vec::new(),
            entries: vec![0; groups as usize + 1],
            slots: 2 * (groups as usize + 1),
            groups,
            first: first(&expression.node),
            anchored: is_anchored(&expression.node),
        };
        program.write(&expression.node)?;
        program.push(Instruction::Match)?;
        program.make_possessive();
        Ok(program)
    }

    /// How much memory in bytes the program of an expression takes at most, without making it. Refused as [`Program::new`]
    /// refuses.
    pub fn bytes_max(expression: &Expression) -> Result<usize, TooLarge> {
        // The last one says that the expression ends.
        let instructions = instructions(&expression.node).saturating_add(1);
        if instructions > INSTRUCTIONS_MAX {
            return Err(TooLarge);
        }
        // Vectors that grow have room for up to twice what they hold.
        let growing = instructions * size_of::<Instruction>() + leaves(&expression.node) * SET_BYTES;
        Ok(2 * growing + (expression.groups as usize + 1) * size_of::<u32>())
    }

    /// A run that took all it could need not try less where what follows can't begin with one of its bytes: then each
    /// run is one step, and not one for each byte.
    fn make_possessive(&mut self) {
        for at in 1..self.instructions.len() {
            let follows = match &self.instructions[at] {
                Instruction::Set(set) | Instruction::Run { set, min: 1.., .. } => Some(self.sets[*set as usize]),
                Instruction::Assert(Assertion::TextEnd) => None,
                _ => continue,
            };
            let Instruction::Run { set, max: u32::MAX, kind: kind @ Kind::Greedy, .. } = &mut self.instructions[at - 1]
            else {
                continue;
            };
            if follows.is_none_or(|follows| follows.is_disjoint(&self.sets[*set as usize])) {
                *kind = Kind::Possessive;
            }
        }
    }

    fn push(&mut self, instruction: Instruction) -> Result<usize, TooLarge> {
        if self.instructions.len() >= INSTRUCTIONS_MAX {
            return Err(TooLarge);
        }
        self.instructions.push(instruction);
        Ok(self.instructions.len() - 1)
    }

    fn here(&self) -> u32 {
        self.instructions.len() as u32
    }

    fn slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots as u32 - 1
    }

    fn set(&mut self, set: ByteSet) -> u32 {
        let known = self.sets.iter().rposition(|other| *other == set);
        known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        }) as u32
    }

    fn write(&mut self, node: &Node) -> Result<(), TooLarge> {
        match node {
            Node::Empty => {}
            Node::Fail => drop(self.push(Instruction::Fail)?),
            Node::Set(set) => {
                let set = self.set(*set);
                self.push(Instruction::Set(set))?;
            }
            Node::Assert(assertion) => drop(self.push(Instruction::Assert(*assertion))?),
            Node::Concat(nodes) => nodes.iter().try_for_each(|node| self.write(node))?,
            Node::Alternate(nodes) => self.any_of(nodes, Program::write)?,
            Node::Capture(group, node) => {
                let slot = self.slot();
                let entry = self.push(Instruction::Open { slot })? as u32;
                // Of two groups with one number, and of a group that is written out several times, the first is called.
                if self.entries[*group as usize] == 0 {
                    self.entries[*group as usize] = entry + 1;
                }
                self.write(node)?;
                self.push(Instruction::Close { group: *group, slot })?;
            }
            Node::Repeat { node, min, max, kind } => self.repeat(node, *min, *max, *kind)?,
            Node::Atomic(node) => {
                self.push(Instruction::Enter { otherwise: None })?;
                self.write(node)?;
                self.push(Instruction::Settle)?;
            }
            Node::Look(look) => self.look(look, None)?,
            Node::Reference { groups, caseless } => {
                self.push(Instruction::Reference { groups: groups.clone(), caseless: *caseless })?;
            }
            // A call of the whole keeps what it found first; a call of a group has other ways left.
            Node::Call(0) => {
                self.push(Instruction::Enter { otherwise: None })?;
                self.push(Instruction::Call(0))?;
                self.push(Instruction::Settle)?;
            }
            Node::Call(group) => drop(self.push(Instruction::Call(*group))?),
            Node::Conditional { condition, yes, no } => self.conditional(condition, yes, no)?,
            Node::Keep => drop(self.push(Instruction::Keep)?),
        }
        Ok(())
    }

    fn any_of<T>(
        &mut self,
        all: &[T],
        write: impl Fn(&mut Program, &T) -> Result<(), TooLarge>,
    ) -> Result<(), TooLarge> {
        let mut ends = Vec::new();
        for (at, one) in all.iter().enumerate() {
            if at + 1 == all.len() {
                write(self, one)?;
                break;
            }
            let split = self.push(Instruction::Fail)?;
            write(self, one)?;
            ends.push(self.push(Instruction::Fail)?);
            self.instructions[split] = Instruction::Split { first: split as u32 + 1, then: self.here() };
        }
        for end in ends {
            self.instructions[end] = Instruction::Jump(self.here());
        }
        Ok(())
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, kind: Kind) -> Result<(), TooLarge> {
        if let Node::Set(set) = node {
            let set = self.set(*set);
            self.push(Instruction::Run { set, min, max: max.unwrap_or(u32::MAX), kind })?;
            return Ok(());
        }
        if kind == Kind::Possessive {
            self.push(Instruction::Enter { otherwise: None })?;
            self.repeat(node, min, max, Kind::Greedy)?;
            self.push(Instruction::Settle)?;
            return Ok(());
        }
        if max == Some(0) {
            // Only to be called.
            let jump = self.push(Instruction::Fail)?;
            self.write(node)?;
            self.instructions[jump] = Instruction::Jump(self.here());
            return Ok(());
        }
        for _ in 0..min {
            self.write(node)?;
        }
        let branch = |inside: u32, outside: u32| match kind {
            Kind::Lazy => Instruction::Split { first: outside, then: inside },
            Kind::Greedy | Kind::Possessive => Instruction::Split { first: inside, then: outside },
        };
        let Some(max) = max else {
            let slot = is_nullable(node).then(|| self.slot());
            let split = self.push(Instruction::Fail)?;
            if let Some(slot) = slot {
                self.push(Instruction::Turn { slot })?;
            }
            self.write(node)?;
            let leave = slot.map(|slot| Ok((slot, self.push(Instruction::Fail)?))).transpose()?;
            self.push(Instruction::Jump(split as u32))?;
            let exit = self.here();
            if let Some((slot, leave)) = leave {
                self.instructions[leave] = Instruction::Leave { slot, exit };
            }
            self.instructions[split] = branch(split as u32 + 1, exit);
            return Ok(());
        };
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push(self.push(Instruction::Fail)?);
            self.write(node)?;
        }
        for split in splits {
            self.instructions[split] = branch(split as u32 + 1, self.here());
        }
        Ok(())
    }

    /// `otherwise` is an instruction that is to be told where to go when the look-around does not hold.
    fn look(&mut self, look: &Look, otherwise: Option<u32>) -> Result<(), TooLarge> {
        let enter = self.push(Instruction::Enter { otherwise })?;
        self.any_of(&look.alternatives, |program, (back, node)| {
            if *back > 0 {
                program.push(Instruction::Back(*back as u32))?;
            }
            program.write(node)
        })?;
        if look.negated {
            self.push(Instruction::Deny { otherwise })?;
            self.instructions[enter] = Instruction::Enter { otherwise: Some(self.here()) };
        } else {
            self.push(Instruction::Ahead)?;
        }
        Ok(())
    }

    fn conditional(&mut self, condition: &Condition, yes: &Node, no: &Node) -> Result<(), TooLarge> {
        let test = match condition {
            Condition::Group(groups) => {
                let groups = groups.clone();
                self.push(Instruction::UnlessGroup { groups, otherwise: 0 })?
            }
            Condition::InCall(group) => self.push(Instruction::UnlessCall { group: *group, otherwise: 0 })?,
            Condition::Define => self.push(Instruction::Jump(0))?,
            Condition::Look(look) => {
                // A step in between, which is told below where to go.
                let over = self.push(Instruction::Fail)?;
                let step = self.push(Instruction::Jump(0))?;
                self.instructions[over] = Instruction::Jump(self.here());
                self.look(look, Some(step as u32))?;
                step
            }
        };
        self.write(yes)?;
        let end = self.push(Instruction::Fail)?;
        let no_at = self.here();
        match &mut self.instructions[test] {
            Instruction::UnlessGroup { otherwise, .. }
            | Instruction::UnlessCall { otherwise, .. }
            | Instruction::Jump(otherwise) => *otherwise = no_at,
            _ => {}
        }
        self.write(no)?;
        self.instructions[end] = Instruction::Jump(self.here());
        Ok(())
    }
}

/// How many instructions [`Program::write`] makes of a node.
pub(super) fn instructions(node: &Node) -> usize {
    // Of several, each but the last has a way to the next and one to the end.
    let any_of = |sizes: usize, count: usize| sizes.saturating_add(2 * count.saturating_sub(1));
    let look = |look: &Look| {
        let sizes = sum(look.alternatives.iter().map(|(back, node)| instructions(node) + usize::from(*back > 0)));
        any_of(sizes, look.alternatives.len()).saturating_add(2)
    };
    match node {
        Node::Empty => 0,
        Node::Fail | Node::Set(_) | Node::Assert(_) | Node::Reference { .. } | Node::Keep => 1,
        Node::Call(0) => 3,
        Node::Call(_) => 1,
        Node::Concat(nodes) => sum(nodes.iter().map(instructions)),
        Node::Alternate(nodes) => any_of(sum(nodes.iter().map(instructions)), nodes.len()),
        Node::Capture(_, node) | Node::Atomic(node) => instructions(node).saturating_add(2),
        Node::Repeat { node, min, max, kind } => match **node {
            Node::Set(_) => 1,
            _ => instructions_of_repeat(node, *min, *max, *kind),
        },
        Node::Look(it) => look(it),
        Node::Conditional { condition, yes, no } => {
            let test = match condition {
                Condition::Group(_) | Condition::InCall(_) | Condition::Define => 1,
                Condition::Look(it) => look(it).saturating_add(2),
            };
            sum([test, instructions(yes), 1, instructions(no)].into_iter())
        }
    }
}

fn instructions_of_repeat(node: &Node, min: u32, max: Option<u32>, kind: Kind) -> usize {
    let one = instructions(node);
    let around = if kind == Kind::Possessive { 2 } else { 0 };
    let turns = one.saturating_mul(min as usize);
    let rest = match max {
        Some(0) => one.saturating_add(1),
        Some(max) => one.saturating_add(1).saturating_mul(max.saturating_sub(min) as usize),
        None if is_nullable(node) => one.saturating_add(4),
        None => one.saturating_add(2),
    };
    sum([around, turns, rest].into_iter())
}

/// How many sets an expression writes down, at most.
fn leaves(node: &Node) -> usize {
    let of_look = |look: &Look| sum(look.alternatives.iter().map(|(_, node)| leaves(node)));
    match node {
        Node::Set(_) => 1,
        Node::Concat(nodes) | Node::Alternate(nodes) => sum(nodes.iter().map(leaves)),
        Node::Capture(_, node) | Node::Atomic(node) | Node::Repeat { node, .. } => leaves(node),
        Node::Look(look) => of_look(look),
        Node::Conditional { condition, yes, no } => {
            let condition = if let Condition::Look(look) = condition { of_look(look) } else { 0 };
            sum([condition, leaves(yes), leaves(no)].into_iter())
        }
        Node::Empty | Node::Fail | Node::Assert(_) | Node::Reference { .. } | Node::Call(_) | Node::Keep => 0,
    }
}

fn sum(sizes: impl Iterator<Item = usize>) -> usize {
    sizes.fold(0, usize::saturating_add)
}

/// Whether a node can fit without taking anything.
pub(super) fn is_nullable(node: &Node) -> bool {
    match node {
        Node::Set(_) | Node::Fail => false,
        Node::Empty | Node::Assert(_) | Node::Look(_) | Node::Keep => true,
        // What they refer to is not looked up.
        Node::Reference { .. } | Node::Call(_) | Node::Conditional { .. } => true,
        Node::Concat(nodes) => nodes.iter().all(is_nullable),
        Node::Alternate(nodes) => nodes.iter().any(is_nullable),
        Node::Capture(_, node) | Node::Atomic(node) => is_nullable(node),
        Node::Repeat { node, min, .. } => *min == 0 || is_nullable(node),
    }
}

/// The bytes with which a node can begin; `None` when it can be empty.
fn first(node: &Node) -> Option<ByteSet> {
    match node {
        Node::Set(set) => Some(*set),
        Node::Fail => Some(ByteSet::EMPTY),
        Node::Concat(nodes) => {
            // What stands before the first part that takes something takes nothing.
            let takes = nodes.iter().position(|node| !is_empty_always(node))?;
            let mut all = ByteSet::EMPTY;
            for node in &nodes[takes..] {
                match first(node) {
                    Some(set) => return Some(all.union(set)),
                    None => all = all.union(first_of_optional(node)?),
                }
            }
            None
        }
        Node::Alternate(nodes) => nodes.iter().try_fold(ByteSet::EMPTY, |all, node| Some(all.union(first(node)?))),
        Node::Capture(_, node) | Node::Atomic(node) => first(node),
        Node::Repeat { node, min, .. } if *min > 0 => first(node),
        _ => None,
    }
}

fn first_of_optional(node: &Node) -> Option<ByteSet> {
    match node {
        Node::Repeat { node, .. } => first(node),
        Node::Capture(_, node) | Node::Atomic(node) => first_of_optional(node),
        _ if is_empty_always(node) => Some(ByteSet::EMPTY),
        _ => None,
    }
}

fn is_empty_always(node: &Node) -> bool {
    matches!(node, Node::Empty | Node::Assert(_) | Node::Look(_) | Node::Keep)
}

fn is_anchored(node: &Node) -> bool {
    match node {
        Node::Assert(Assertion::TextStart) => true,
        Node::Concat(nodes) => nodes.first().is_some_and(is_anchored),
        Node::Alternate(nodes) => nodes.iter().all(is_anchored),
        Node::Capture(_, node) | Node::Atomic(node) => is_anchored(node),
        _ => false,
    }
}
