//! A second, slow and plain reading of both dialects, to compare the fast ones with. It shares no code with them: it
//! walks over characters with backtracking, and knows no other library.

use std::ops::Range;

/// A character of a text, or a byte that belongs to none, with its place.
#[derive(Clone, Debug)]
struct Unit {
    character: Option<char>,
    place: Range<usize>,
}

fn units(text: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let character = (1..=4.min(text.len() - at))
            .find_map(|length| std::str::from_utf8(&text[at..at + length]).ok())
            .and_then(|valid| valid.chars().next());
        let length = character.map_or(1, char::len_utf8);
        units.push(Unit { character, place: at..at + length });
        at += length;
    }
    units
}

fn only<I: Iterator<Item = char>>(mut characters: I, otherwise: char) -> char {
    match (characters.next(), characters.next()) {
        (Some(one), None) => one,
        _ => otherwise,
    }
}

/// Equal for characters that simple case folding makes equal.
fn folded(character: char) -> char {
    match character {
        // The dotless i has I as its capital and is folded to nothing else: outside Turkey i and it are two letters.
        '\u{131}' => return character,
        // These came with Unicode 17: the standard library knows their cases, the crate `regex` not yet.
        '\u{a7ce}' | '\u{a7cf}' | '\u{a7d2}'..='\u{a7d5}' | '\u{16ea0}'..='\u{16ed3}' => return character,
        _ => {}
    }
    let upper = only(character.to_uppercase(), character);
    only(upper.to_lowercase(), upper)
}

fn equal(character: char, unit: &Unit, ascii_only: bool) -> bool {
    unit.character.is_some_and(|there| {
        if ascii_only { there.eq_ignore_ascii_case(&character) } else { folded(there) == folded(character) }
    })
}

/// Whether a text fits an OS_Match pattern.
pub(super) fn os_match(pattern: &str, text: &[u8]) -> bool {
    let ascii_only = !pattern.contains('|') && (pattern.starts_with('^') || pattern.ends_with('$'));
    let units = units(text);
    pattern.split('|').any(|alternative| {
        let wanted: Vec<char> = alternative.chars().collect();
        (0..=units.len()).any(|start| literal_fits(&wanted, &units, start, ascii_only))
    })
}

fn literal_fits(wanted: &[char], units: &[Unit], at: usize, ascii_only: bool) -> bool {
    match wanted.split_first() {
        None => true,
        Some(('^', rest)) => at == 0 && literal_fits(rest, units, at, ascii_only),
        Some(('$', rest)) => at == units.len() && literal_fits(rest, units, at, ascii_only),
        Some((character, rest)) => {
            units.get(at).is_some_and(|unit| equal(*character, unit, ascii_only))
                && literal_fits(rest, units, at + 1, ascii_only)
        }
    }
}

/// One step of an OS_Regex.
#[derive(Clone, Debug)]
enum Step {
    One(Want),
    Start,
    End,
    /// Its number and alternatives.
    Group(usize, Vec<Vec<Step>>),
    Many {
        what: Box<Step>,
        at_least: usize,
        greedy: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Want {
    Character(char),
    Escape(char),
}

/// An OS_Regex pattern, read.
#[derive(Debug)]
pub(super) struct Reference {
    alternatives: Vec<Vec<Step>>,
    groups: usize,
    ascii_only: bool,
    /// A group is repeated; which of its rounds is captured is not promised.
    pub(super) repeats_a_group: bool,
}

struct Reader<'a> {
    pattern: &'a [char],
    at: usize,
    groups: usize,
    repeats_a_group: bool,
}

impl Reader<'_> {
    fn alternatives(&mut self, depth: usize) -> Option<Vec<Vec<Step>>> {
        let mut all = vec![Vec::new()];
        while let Some(&character) = self.pattern.get(self.at) {
            let here = self.at;
            self.at += 1;
            let step = match character {
                '|' => {
                    all.push(Vec::new());
                    continue;
                }
                ')' => return (depth > 0).then_some(all),
                '(' => {
                    self.groups += 1;
                    let number = self.groups;
                    Step::Group(number, self.alternatives(depth + 1)?)
                }
                '^' => Step::Start,
                '$' => Step::End,
                '\\' => {
                    let escaped = *self.pattern.get(self.at)?;
                    self.at += 1;
                    match escaped {
                        'w' | 'W' | 'd' | 'D' | 's' | 'S' | 'p' | 't' | '.' => Step::One(Want::Escape(escaped)),
                        '\\' | '$' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '|' => {
                            Step::One(Want::Character(escaped))
                        }
                        _ => return None,
                    }
                }
                '+' | '*' if here >= 2 && self.pattern[here - 2] == '\\' && self.pattern[here - 1].is_ascii() => {
                    let what = all.last_mut()?.pop()?;
                    match what {
                        Step::One(_) => {}
                        Step::Group(..) => self.repeats_a_group = true,
                        _ => return None,
                    }
                    let mut next = self.at;
                    while self.pattern.get(next) == Some(&')') {
                        next += 1;
                    }
                    let greedy = matches!(self.pattern.get(next), None | Some('|' | '$'));
                    Step::Many { what: Box::new(what), at_least: usize::from(character == '+'), greedy }
                }
                other => Step::One(Want::Character(other)),
            };
            all.last_mut()?.push(step);
        }
        (depth == 0).then_some(all)
    }
}

type Captured = Vec<Option<Range<usize>>>;

impl Reference {
    /// `None` when the pattern must be refused.
    pub(super) fn read(pattern: &str) -> Option<Reference> {
        let characters: Vec<char> = pattern.chars().collect();
        let mut reader = Reader { pattern: &characters, at: 0, groups: 0, repeats_a_group: false };
        let alternatives = reader.alternatives(0)?;
        if pattern.is_empty() {
            return None;
        }
        let all_literal = |steps: &Vec<Step>| {
            steps.iter().all(|step| matches!(step, Step::Start | Step::End | Step::One(Want::Character(_))))
        };
        let anchored = |steps: &Vec<Step>| steps.iter().any(|step| matches!(step, Step::Start | Step::End));
        Some(Reference {
            ascii_only: pattern.is_ascii()
                && matches!(alternatives.as_slice(), [one] if all_literal(one) && anchored(one)),
            groups: reader.groups,
            repeats_a_group: reader.repeats_a_group,
            alternatives,
        })
    }

    /// The whole match and the groups, as byte ranges.
    pub(super) fn captures(&self, text: &[u8]) -> Option<Captured> {
        let units = units(text);
        (0..=units.len()).find_map(|start| {
            let mut captured: Captured = vec![None; self.groups + 1];
            let mut end = None;
            let found = self.alternatives.iter().any(|steps| {
                self.run(steps, &units, start, &mut captured, &mut |at, _| {
                    end = Some(at);
                    true
                })
            });
            found.then(|| {
                let place = |at: usize| units.get(at).map_or(text.len(), |unit| unit.place.start);
                captured[0] = Some(start..end.unwrap());
                captured.into_iter().map(|group| group.map(|it| place(it.start)..place(it.end))).collect()
            })
        })
    }

    fn run(
        &self,
        steps: &[Step],
        units: &[Unit],
        at: usize,
        captured: &mut Captured,
        then: &mut dyn FnMut(usize, &mut Captured) -> bool,
    ) -> bool {
        let Some((step, rest)) = steps.split_first() else { return then(at, captured) };
        self.step(step, units, at, captured, &mut |at, captured| self.run(rest, units, at, captured, then))
    }

    fn step(
        &self,
        step: &Step,
        units: &[Unit],
        at: usize,
        captured: &mut Captured,
        then: &mut dyn FnMut(usize, &mut Captured) -> bool,
    ) -> bool {
        match step {
            Step::Start => at == 0 && then(at, captured),
            Step::End => at == units.len() && then(at, captured),
            Step::One(want) => units.get(at).is_some_and(|unit| self.takes(*want, unit)) && then(at + 1, captured),
            Step::Group(number, alternatives) => alternatives.iter().any(|steps| {
                self.run(steps, units, at, captured, &mut |end, captured| {
                    let before = captured[*number].replace(at..end);
                    let found = then(end, captured);
                    if !found {
                        captured[*number] = before;
                    }
                    found
                })
            }),
            Step::Many { what, at_least, greedy } => self.many(what, *at_least, *greedy, units, at, captured, then),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one step, and where it stands")]
    fn many(
        &self,
        what: &Step,
        at_least: usize,
        greedy: bool,
        units: &[Unit],
        at: usize,
        captured: &mut Captured,
        then: &mut dyn FnMut(usize, &mut Captured) -> bool,
    ) -> bool {
        if at_least == 0 && !greedy && then(at, captured) {
            return true;
        }
        let once_more = self.step(what, units, at, captured, &mut |next, captured| {
            // A round that takes nothing is not followed by another.
            if next == at && at_least == 0 {
                return false;
            }
            self.many(what, at_least.saturating_sub(1), greedy, units, next, captured, then)
        });
        once_more || (at_least == 0 && greedy && then(at, captured))
    }

    fn takes(&self, want: Want, unit: &Unit) -> bool {
        let is = |set: fn(char) -> bool| unit.character.is_some_and(set);
        match want {
            Want::Character(character) => equal(character, unit, self.ascii_only),
            Want::Escape('.') => true,
            Want::Escape('w') => is(|it| it.is_ascii_alphanumeric() || "_-@".contains(it)),
            Want::Escape('W') => !self.takes(Want::Escape('w'), unit),
            Want::Escape('d') => is(|it| it.is_ascii_digit()),
            Want::Escape('D') => !self.takes(Want::Escape('d'), unit),
            Want::Escape('s') => is(|it| it == ' '),
            Want::Escape('S') => !self.takes(Want::Escape('s'), unit),
            Want::Escape('t') => is(|it| it == '\t'),
            Want::Escape(_) => is(|it| it.is_ascii_punctuation() && !"/\\_@~^`".contains(it)),
        }
    }
}
