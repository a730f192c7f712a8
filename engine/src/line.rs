//! From an event to the texts that rules see.
//!
//! | event | lines |
//! | --- | --- |
//! | a `full_command` run | one: `ossec: output: 'NAME':`, a line break, the output |
//! | a `command` run | one per output line that is not empty: `ossec: output: 'NAME': TEXT` |
//! | a failed run | one about the run; its output is judged by nobody |
//! | a truncated run | its output's, and one about the run |
//! | a gap, a duplicate agent | one about it |
//! | a line that is no command's output | itself, without its header ([`crate::predecode`]) |
//!
//! CR LF is LF and one final line break is dropped. Everything else stays: bytes are bytes.

use std::borrow::Cow;
use std::cell::OnceCell;

use tripline_schemas::event::Gap;
use tripline_schemas::run::{Failure, display_name};
use tripline_schemas::state::TextDigest;
use tripline_schemas::{Key, Run};
use uuid::Uuid;

use crate::decision::{LineFields, LineKind};
use crate::decoder::{Decoded, Fields, FirstSeen, KnownField};
use crate::ruleset::Category;

/// The decoder of command outputs, and of other lines that start with `ossec: `.
pub(crate) const DECODER_OSSEC: &str = "ossec";
/// The decoder of the lines that Tripline writes itself.
pub(crate) const DECODER_TRIPLINE: &str = "tripline";

/// One text that rules see.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub part: Part,
    pub text: &'a [u8],
    pub category: Category,
    /// Who understood the line; `None` for a line that nobody did.
    pub decoder: Option<&'a str>,
    /// The host of a line that is no command's output. Outputs have that of their event.
    pub host: Option<&'a [u8]>,
    /// What makes such a line one that was not seen before, if its decoder says so.
    pub first_seen: Option<&'a FirstSeen>,
    /// What header and decoder tell of a line that is no command's output.
    decoded: Option<&'a Decoded<'a>>,
    /// The collector kept only the beginning of the output that this is, or is a part of.
    pub truncated: bool,
    digest: OnceCell<TextDigest>,
}

/// Which part of its event a line is. No two lines of an event are the same part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A line of a `command` run, from 1; 0 for the whole of a `full_command` run.
    Output(u32),
    /// What this `check_diff` rule gathered from a `command` run.
    Gathered(u32),
    /// Something about the run.
    About(Topic),
    /// A line that is no command's output.
    Log,
}

/// What a line about a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Failed,
    Truncated,
    /// `check_diff` of this rule could not compare.
    NotComparable(u32),
    Gap,
    DuplicateAgent,
    /// A pattern of this rule took too many steps.
    GaveUp(u32),
}

impl Part {
    /// The line's number, as decisions and alerts show it.
    pub fn number(self) -> u32 {
        match self {
            Part::Output(number) => number,
            Part::Gathered(_) | Part::About(_) | Part::Log => 0,
        }
    }

    pub fn kind(self) -> LineKind {
        match self {
            Part::Output(_) => LineKind::Output,
            Part::Gathered(_) => LineKind::Gathered,
            Part::About(_) => LineKind::About,
            Part::Log => LineKind::Log,
        }
    }

    /// Two numbers that are the same for no two parts. They go into alert ids, so they never change.
    pub fn code(self) -> (u32, u32) {
        match self {
            Part::Output(number) => (0, number),
            Part::Gathered(rule) => (1, rule),
            Part::Log => (2, 0),
            Part::About(Topic::Failed) => (3, 0),
            Part::About(Topic::Truncated) => (4, 0),
            Part::About(Topic::NotComparable(rule)) => (5, rule),
            Part::About(Topic::Gap) => (6, 0),
            Part::About(Topic::DuplicateAgent) => (7, 0),
            Part::About(Topic::GaveUp(rule)) => (8, rule),
        }
    }
}

impl<'a> Line<'a> {
    /// A line of a command's output, or all of it.
    pub fn output(part: Part, text: &'a [u8], truncated: bool) -> Line<'a> {
        Line { truncated, ..Line::new(part, text, Category::Ossec, Some(DECODER_OSSEC)) }
    }

    /// A line about a run.
    pub fn about(topic: Topic, text: &'a [u8]) -> Line<'a> {
        Line::new(Part::About(topic), text, Category::Ossec, Some(DECODER_TRIPLINE))
    }

    /// A line that is no command's output: what rules see is its text behind the header.
    pub fn log(decoded: &'a Decoded<'a>, host: &'a [u8]) -> Line<'a> {
        let decoder = decoded.decoder;
        let category = decoder.map_or(Category::Syslog, |decoder| decoder.category);
        Line {
            host: Some(host),
            first_seen: decoder.and_then(|decoder| decoder.fts.as_ref()),
            decoded: Some(decoded),
            ..Line::new(Part::Log, decoded.header.log, category, decoder.map(|decoder| decoder.name.as_str()))
        }
    }

    fn new(part: Part, text: &'a [u8], category: Category, decoder: Option<&'a str>) -> Line<'a> {
        Line {
            part,
            text,
            category,
            decoder,
            host: None,
            first_seen: None,
            decoded: None,
            truncated: false,
            digest: OnceCell::new(),
        }
    }

    /// The whole line, header included.
    pub fn full(&self) -> &'a [u8] {
        self.decoded.map_or(self.text, |decoded| decoded.full)
    }

    /// The program that the line's header names.
    pub fn program(&self) -> Option<&'a [u8]> {
        self.decoded?.header.program
    }

    /// What the decoder found.
    pub fn fields(&self) -> Option<&'a Fields<'a>> {
        self.decoded.map(|decoded| &decoded.fields)
    }

    /// A field that the decoder found.
    pub fn field(&self, field: KnownField) -> Option<&'a [u8]> {
        self.fields()?.get(field)
    }

    /// What header and decoder tell, for people.
    pub fn line_fields(&self) -> Option<LineFields> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Some(LineFields {
            hostname: text(self.host?),
            program_name: self.program().map(text),
            decoder: self.decoder.map(str::to_owned),
            fields: self.fields()?.iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
            gave_up: self.decoded?.steps.check().is_err(),
        })
    }

    /// The text's digest, computed once however many rules compare it.
    pub fn digest(&self) -> TextDigest {
        *self.digest.get_or_init(|| TextDigest::of(self.text))
    }
}

/// `ossec: output: 'NAME':`, what every line of a command's output starts with.
pub(crate) fn output_header(command: &str) -> Vec<u8> {
    format!("ossec: output: '{}':", display_name(command)).into_bytes()
}

/// Two texts of one command without the header line that both begin with: it is no line of theirs. As they are when one
/// has none.
pub(crate) fn without_header<'t>(key: &Key, old: &'t [u8], new: &'t [u8]) -> (&'t [u8], &'t [u8]) {
    let mut header = output_header(key.command());
    header.push(b'\n');
    match (old.strip_prefix(&*header), new.strip_prefix(&*header)) {
        (Some(old), Some(new)) => (old, new),
        _ => (old, new),
    }
}

/// The one line of a `full_command` run.
pub(crate) fn full_command_text(header: &[u8], output: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(header.len() + 1 + output.len());
    text.extend_from_slice(header);
    text.push(b'\n');
    for (number, line) in split_lines(output).enumerate() {
        if number > 0 {
            text.push(b'\n');
        }
        text.extend_from_slice(line);
    }
    text
}

/// The texts of a `command` run's lines: those that are not empty, numbered from 1.
pub(crate) fn output_lines(output: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    (1..).zip(split_lines(output).filter(|line| !line.is_empty()))
}

/// The one text that a `check_diff` rule gathers from a `command` run.
pub(crate) fn gathered_text<'t>(header: &[u8], texts: impl IntoIterator<Item = &'t [u8]>) -> Vec<u8> {
    let mut gathered = header.to_vec();
    gathered.push(b'\n');
    for (number, text) in texts.into_iter().enumerate() {
        if number > 0 {
            gathered.push(b'\n');
        }
        gathered.extend_from_slice(text);
    }
    gathered
}

/// Lines without their LF or CR LF. A final line break ends the last line; it does not begin an empty one.
fn split_lines(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = output;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, later) = rest.split_at(end);
        rest = later;
        Some(match line {
            [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
            line => line,
        })
    })
}

/// A line that is no command's output, with CR LF as LF and without its final line break.
pub(crate) fn log_text(text: &[u8]) -> Cow<'_, [u8]> {
    const CR_LF: &[u8] = b"\r\n";
    let mut rest = text.strip_suffix(CR_LF).or(text.strip_suffix(b"\n")).unwrap_or(text);
    let Some(mut at) = memchr::memmem::find(rest, CR_LF) else { return Cow::Borrowed(rest) };
    let mut text = Vec::with_capacity(rest.len());
    loop {
        text.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        match rest.strip_prefix(CR_LF) {
            Some(later) => {
                text.push(b'\n');
                rest = later;
            }
            None => return Cow::Owned(text),
        }
        at = memchr::memmem::find(rest, CR_LF).unwrap_or(rest.len());
    }
}

/// What there is to say about a failed run; `None` when its output is an observation.
pub(crate) fn failed_run(run: &Run) -> Option<Vec<u8>> {
    let mut text = about_run(&run.key);
    match run.failure()? {
        Failure::TimedOut(after) => text.extend_from_slice(format!("timed out after {}", seconds(after)).as_bytes()),
        Failure::Signalled(signal) => text.extend_from_slice(format!("killed by signal {signal}").as_bytes()),
        Failure::Interrupted => text.extend_from_slice(b"interrupted"),
        Failure::NotStarted(reason) => text.extend_from_slice(format!("could not start: {reason}").as_bytes()),
        Failure::ShellCouldNotStart(code) => {
            text.extend_from_slice(format!("could not start: exit code {code}").as_bytes());
            if let Some(reason) = split_lines(&run.stderr_tail).filter(|line| !line.trim_ascii().is_empty()).last() {
                text.extend_from_slice(b": ");
                text.extend_from_slice(reason.trim_ascii());
            }
        }
    }
    Some(text)
}

/// What there is to say about a run whose output was cut; `None` when it was not.
pub(crate) fn truncated_run(run: &Run) -> Option<Vec<u8>> {
    let full = run.truncated_from?;
    let mut text = about_run(&run.key);
    text.extend_from_slice(format!("output truncated: {} of {full} bytes kept", run.output.len()).as_bytes());
    Some(text)
}

/// Which of two texts was cut, so that they can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Baseline,
    Output,
}

/// `check_diff` of a rule could not compare.
pub(crate) fn not_comparable(key: &Key, rule: u32, cut: Cut) -> Vec<u8> {
    let which = match cut {
        Cut::Baseline => "baseline",
        Cut::Output => "output",
    };
    let mut text = about_run(key);
    text.extend_from_slice(format!("check_diff of rule {rule} cannot compare: the {which} is truncated").as_bytes());
    text
}

/// A pattern of a rule took too many steps, so the rule did not hold.
pub(crate) fn gave_up(key: &Key, rule: u32) -> Vec<u8> {
    let mut text = about_run(key);
    text.extend_from_slice(format!("a pattern of rule {rule} takes too long and was given up").as_bytes());
    text
}

/// Runs are gone.
pub(crate) fn gap(gap: &Gap) -> Vec<u8> {
    let runs = if gap.runs == 1 { "run" } else { "runs" };
    format!("tripline: gap: '{}': {} {runs} lost", display_name(gap.key.command()), gap.runs).into_bytes()
}

/// Two collectors speak under one name.
pub(crate) fn duplicate_agent(agent: &str, other: Uuid, this: Uuid) -> Vec<u8> {
    let agent = display_name(agent);
    format!("tripline: agent: '{agent}': duplicate agent: spools {other} and {this} alternate").into_bytes()
}

fn about_run(key: &Key) -> Vec<u8> {
    format!("tripline: run: '{}': ", display_name(key.command())).into_bytes()
}

/// Milliseconds for people: `30s`, `1.5s`.
fn seconds(milliseconds: u64) -> String {
    let (whole, rest) = (milliseconds / 1000, milliseconds % 1000);
    if rest == 0 {
        return format!("{whole}s");
    }
    let fraction = format!("{rest:03}");
    format!("{whole}.{}s", fraction.trim_end_matches('0'))
}
