//! The lines of a `command` run, and the texts that `check_diff` rules gather from them.
//!
//! A line that reaches a `check_diff` rule is put aside there. When no line can go on, the rule that comes first in
//! the tree compares what was put aside at it, as one text and once per run:
//!
//! * Different: the rule holds once, for the gathered text. Its children are tried with it, and there is one result,
//!   which takes all its lines. A `noalert` rule that no child takes steps aside: then, and whenever the rule does not
//!   hold, its lines go on with its next sibling.
//! * A rule further on that would have seen some of the lines that a result took saw less than the whole this time. It
//!   does not compare in this run, since the lines that are missing are not gone.
//! * A rule that gathered before and to which no line came now compares the empty text: the list became empty.

use tripline_schemas::state::RuleState;

use super::Evaluation;
use super::walk::{self, Frame, Stop, Trail};
use crate::decision::{Outcome, StateError, Verdict};
use crate::line::{self, Line, Part};
use crate::ruleset::Rule;

/// The lines of one run on their way.
struct Run<'o> {
    /// What every text starts with.
    header: &'o [u8],
    truncated: bool,
    /// The current line: the header, a space, and the text. One buffer for all lines.
    buffer: Vec<u8>,
}

/// The lines that wait at one place in the tree.
struct Group<'r, 'o> {
    rule: &'r Rule,
    place: Vec<Frame<'r>>,
    lines: Vec<Waiting<'o>>,
}

/// A line that was put aside.
struct Waiting<'o> {
    number: u32,
    text: &'o [u8],
    trail: Trail,
}

/// What became of the rules that gather, in this run.
#[derive(Default)]
struct Seen {
    /// Rules that have compared.
    compared: Vec<u32>,
    /// Rules that did not get all their lines.
    incomplete: Vec<u32>,
}

impl Run<'_> {
    fn line(&mut self, number: u32, text: &[u8]) -> Line<'_> {
        self.buffer.clear();
        self.buffer.extend_from_slice(self.header);
        self.buffer.push(b' ');
        self.buffer.extend_from_slice(text);
        Line::output(Part::Output(number), &self.buffer, self.truncated)
    }
}

impl<'a> Evaluation<'a> {
    /// Judges the output of a `command` run.
    pub(super) fn judge_lines(&mut self, header: &[u8], output: &[u8], truncated: bool) -> Result<(), StateError> {
        let mut run = Run { header, truncated, buffer: Vec::new() };
        let mut seen = Seen::default();
        let mut groups: Vec<Group<'a, '_>> = Vec::new();
        for (number, text) in line::output_lines(output) {
            self.walk.start();
            let waiting = Waiting { number, text, trail: self.trail() };
            self.walk_to_check_diff(&mut run, waiting, &mut groups, &seen)?;
        }
        while let Some(rule) = first_in_tree(&groups) {
            let here: Vec<_> = groups.extract_if(.., |group| group.rule.id == rule.id).collect();
            if self.judge_gathered(rule, &run, &here, &mut seen)? {
                self.take(rule, &mut run, here, &mut seen);
            } else {
                self.go_on(&mut run, here, &mut groups, &seen)?;
            }
        }
        self.judge_vanished(&run, &seen)
    }

    /// Takes a line as far as it goes by itself.
    fn walk_to_check_diff<'o>(
        &mut self,
        run: &mut Run<'_>,
        mut waiting: Waiting<'o>,
        groups: &mut Vec<Group<'a, 'o>>,
        seen: &Seen,
    ) -> Result<(), StateError> {
        let line = run.line(waiting.number, waiting.text);
        let verdict = loop {
            match self.walk.next_stop(&line, &mut waiting.trail) {
                Stop::CheckDiff(rule) if seen.contains(rule.id) => {
                    self.walk.fails(Outcome::Incomplete, &mut waiting.trail);
                }
                Stop::CheckDiff(rule) => {
                    self.walk.fails(Outcome::PutAside, &mut waiting.trail);
                    let place = self.walk.place();
                    match groups.iter_mut().find(|group| walk::order(&group.place).eq(walk::order(place))) {
                        Some(group) => group.lines.push(waiting),
                        None => groups.push(Group { rule, place: place.to_vec(), lines: vec![waiting] }),
                    }
                    return Ok(());
                }
                // A line of its own has no change to ask about: those are found in gathered texts.
                Stop::OnChange(rule) => {
                    self.walk.fails(Outcome::Fails(rule.on_change[0].test.name()), &mut waiting.trail);
                }
                Stop::Memory(rule) => self.hold(rule, &line, None, &mut waiting.trail)?,
                Stop::Result(rule) => break self.settle(rule, &line)?,
                Stop::NoRule => break Verdict::NoRule,
            }
        };
        self.note(&line, waiting.trail, verdict);
        Ok(())
    }

    /// Compares what was put aside at a rule, as one text. Whether there is a result, which takes the lines.
    fn judge_gathered(
        &mut self,
        rule: &'a Rule,
        run: &Run<'_>,
        groups: &[Group<'_, '_>],
        seen: &mut Seen,
    ) -> Result<bool, StateError> {
        let mut lines: Vec<_> = groups.iter().flat_map(|group| &group.lines).collect();
        lines.sort_by_key(|line| line.number);
        let text = line::gathered_text(run.header, lines.iter().map(|line| line.text));
        let line = Line::output(Part::Gathered(rule.id), &text, run.truncated);
        let mut trail = self.trail();
        let compared = if seen.incomplete.contains(&rule.id) {
            Err(Outcome::Incomplete)
        } else {
            seen.compared.push(rule.id);
            self.compare(rule, &line)?
        };
        let compared = match compared {
            Ok(before) => self.remembers(rule, &line)?.map(|row| (before, row)),
            Err(outcome) => Err(outcome),
        };
        let verdict = match compared {
            Ok((before, row)) => {
                trail.push(rule, 0, Outcome::Holds);
                self.walk.start_below(rule, before);
                self.use_up(rule, row)?;
                self.walk_to_end(&line, &mut trail)?
            }
            Err(outcome) => {
                trail.push(rule, 0, outcome);
                Verdict::NoRule
            }
        };
        let has_result = verdict != Verdict::NoRule;
        self.note(&line, trail, verdict);
        Ok(has_result)
    }

    /// The rule's result takes the lines that were gathered. Rules that they would have reached next miss them.
    fn take(&mut self, rule: &Rule, run: &mut Run<'_>, groups: Vec<Group<'a, '_>>, seen: &mut Seen) {
        for group in groups {
            for Waiting { number, text, trail } in group.lines {
                let line = run.line(number, text);
                self.walk.resume(&group.place);
                let mut unwanted = Trail::default();
                loop {
                    match self.walk.next_stop(&line, &mut unwanted) {
                        Stop::CheckDiff(next) if !seen.contains(next.id) => seen.incomplete.push(next.id),
                        Stop::CheckDiff(_) | Stop::OnChange(_) | Stop::Memory(_) => {}
                        Stop::Result(_) | Stop::NoRule => break,
                    }
                    self.walk.fails(Outcome::Incomplete, &mut unwanted);
                }
                self.note(&line, trail, Verdict::Gathered(rule.id));
            }
        }
    }

    /// Lets lines that were put aside go on with the next sibling.
    fn go_on<'o>(
        &mut self,
        run: &mut Run<'_>,
        groups: Vec<Group<'a, 'o>>,
        groups_left: &mut Vec<Group<'a, 'o>>,
        seen: &Seen,
    ) -> Result<(), StateError> {
        let (places, lines): (Vec<_>, Vec<_>) = groups.into_iter().map(|group| (group.place, group.lines)).unzip();
        let mut lines: Vec<_> = places
            .iter()
            .zip(lines)
            .flat_map(|(place, lines)| lines.into_iter().map(move |line| (place, line)))
            .collect();
        lines.sort_by_key(|(_, line)| line.number);
        for (place, line) in lines {
            self.walk.resume(place);
            self.walk_to_check_diff(run, line, groups_left, seen)?;
        }
        Ok(())
    }

    /// Rules that gathered before, and now nothing at all: the empty text is compared.
    fn judge_vanished(&mut self, run: &Run<'_>, seen: &Seen) -> Result<(), StateError> {
        let gathered = |state: &RuleState| state.baseline.as_ref().is_some_and(|baseline| baseline.gathered);
        let remembered = self.memory.rules()?.into_iter().flatten();
        let ids = remembered.filter(|(id, state)| gathered(state) && !seen.contains(**id)).map(|(id, _)| *id);
        for id in ids.collect::<Vec<_>>() {
            let rule = self.rules.by_id.get(&id).map(|index| self.rules.at(*index));
            if let Some(rule) = rule.filter(|rule| rule.check_diff.is_some()) {
                self.judge_gathered(rule, run, &[], &mut Seen::default())?;
            }
        }
        Ok(())
    }
}

impl Seen {
    /// Has compared, or is not going to.
    fn contains(&self, rule: u32) -> bool {
        self.compared.contains(&rule) || self.incomplete.contains(&rule)
    }
}

/// Of the rules at which lines wait, the one that is tried first.
fn first_in_tree<'r>(groups: &[Group<'r, '_>]) -> Option<&'r Rule> {
    let first = groups.iter().min_by(|a, b| walk::order(&a.place).cmp(walk::order(&b.place)));
    first.map(|group| group.rule)
}
