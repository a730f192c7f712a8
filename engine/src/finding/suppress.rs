//! Comments in rule files that allow findings: `<!-- tripline: allow TL0601 until 2027-01-31 because it is short -->`.
//!
//! One allows findings of its codes that begin in the next line, or that are about a rule whose tag begins there. Lines
//! with further such comments do not count as the next line. Errors can't be allowed.

use std::ops::Range;

use jiff::civil::Date;
use memchr::memmem;

use super::{Code, Finding, Severity, codes, shown};
use crate::source::{SourceFile, Span};

/// What a comment must begin with, white space apart.
const MARK: &str = "tripline:";

/// Of one file at most this many are read.
const COUNT_MAX: usize = 1000;

/// A comment that allows something.
#[derive(Debug)]
struct Suppression {
    /// The comment.
    span: Span,
    /// Each with whether there was such a finding.
    codes: Vec<(&'static Code, bool)>,
    until: Option<Date>,
    /// The line that it is about.
    target: Range<u32>,
}

/// Takes the findings out that comments allow. `rule_span` is where a rule's tag stands. With `report`, comments that
/// are wrong, over or of no use become findings themselves.
pub(crate) fn apply(
    findings: Vec<Finding>,
    files: &[&SourceFile],
    today: Option<Date>,
    report: bool,
    rule_span: impl Fn(u32) -> Option<Span>,
) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let mut all: Vec<Suppression> =
        files.iter().zip(0..).flat_map(|(file, index)| read(&file.text, index, &mut wrong)).collect();
    if all.is_empty() && wrong.is_empty() {
        return findings;
    }
    let mut kept: Vec<Finding> =
        findings.into_iter().filter(|finding| !is_allowed(finding, &mut all, today, &rule_span)).collect();
    if report {
        kept.append(&mut wrong);
        kept.extend(all.iter().filter_map(|suppression| suppression.complaint(today)));
        kept.sort_by_key(|finding| (finding.span, finding.code));
    }
    kept
}

/// Marks every comment that is about the finding as used, also those that are over.
fn is_allowed(
    finding: &Finding,
    all: &mut [Suppression],
    today: Option<Date>,
    rule_span: &impl Fn(u32) -> Option<Span>,
) -> bool {
    if finding.severity == Severity::Error {
        return false;
    }
    let places = [finding.span, finding.rule.and_then(rule_span)];
    let mut allowed = false;
    for suppression in all {
        let is_there = |place: &Span| place.file == suppression.span.file && suppression.target.contains(&place.start);
        let is_over = suppression.is_over(today);
        let code = suppression.codes.iter_mut().find(|(code, _)| code.code == finding.code);
        if let Some((_, used)) = code.filter(|_| places.iter().flatten().any(is_there)) {
            *used = true;
            allowed |= !is_over;
        }
    }
    allowed
}

impl Suppression {
    fn is_over(&self, today: Option<Date>) -> bool {
        matches!((self.until, today), (Some(until), Some(today)) if until < today)
    }

    fn complaint(&self, today: Option<Date>) -> Option<Finding> {
        let names = |only_unused: bool| {
            let names = self.codes.iter().filter(|(_, used)| !(only_unused && *used)).map(|(code, _)| code.code);
            names.collect::<Vec<_>>().join(", ")
        };
        match self.until {
            Some(until) if self.is_over(today) => Some(
                Finding::new(&codes::EXPIRED_SUPPRESSION, format!("the suppression of {} is over", names(false)))
                    .at(self.span, format!("it was allowed until {until}"))
                    .help("correct what it allowed, or give it a new date".to_owned()),
            ),
            _ if self.codes.iter().all(|(_, used)| *used) => None,
            _ => Some(
                Finding::new(&codes::UNUSED_SUPPRESSION, format!("there is no {} here to allow", names(true)))
                    .at(self.span, "not needed")
                    .help("remove it".to_owned()),
            ),
        }
    }
}

/// The suppressions of a file. Comments that are meant as one and are none become findings.
fn read(text: &[u8], file: u32, wrong: &mut Vec<Finding>) -> Vec<Suppression> {
    let mut suppressions = Vec::new();
    // From the last to the first: those in lines that follow each other are about the same line.
    let mut next: Option<(usize, Range<u32>)> = None;
    for comment in comments(text).into_iter().rev() {
        let target = match next.take() {
            Some((start, target)) if is_one_line_break(&text[comment.end..start]) => target,
            _ => next_line(text, comment.end),
        };
        next = Some((comment.start, target.clone()));
        let span = Span { file, start: comment.start as u32, end: comment.end as u32 };
        match parse(&order(&text[comment]).unwrap_or_default()) {
            Ok((codes, until)) => suppressions.push(Suppression { span, codes, until, target }),
            Err(problem) => wrong.push(
                Finding::new(&codes::BAD_SUPPRESSION, format!("the suppression can't be read: {problem}"))
                    .at(span, "allows nothing")
                    .help("write `<!-- tripline: allow TL0601 until 2027-01-31 because REASON -->`".to_owned()),
            ),
        }
    }
    suppressions
}

/// The comments that begin with the mark, in their order.
fn comments(text: &[u8]) -> Vec<Range<usize>> {
    let mut comments = Vec::new();
    if memmem::find(text, MARK.as_bytes()).is_none() {
        return comments;
    }
    let mut at = 0;
    while let Some(start) = memmem::find(&text[at..], b"<!--").map(|start| at + start) {
        let Some(length) = memmem::find(&text[start..], b"-->") else { break };
        at = start + length + "-->".len();
        let escaped = start > 0 && text[start - 1] == b'\\';
        if !escaped && order(&text[start..at]).is_some() {
            comments.push(start..at);
        }
        if comments.len() == COUNT_MAX {
            break;
        }
    }
    comments
}

/// What stands behind the mark of a comment.
fn order(comment: &[u8]) -> Option<String> {
    let inside = comment.strip_prefix(b"<!--")?.strip_suffix(b"-->")?.trim_ascii();
    let order = inside.strip_prefix(MARK.as_bytes())?;
    // Longer than any that makes sense.
    Some(String::from_utf8_lossy(&order[..order.len().min(2000)]).into_owned())
}

fn is_one_line_break(between: &[u8]) -> bool {
    between.iter().all(u8::is_ascii_whitespace) && between.iter().filter(|byte| **byte == b'\n').count() <= 1
}

/// The codes that a suppression names, and until when it holds.
type Order = (Vec<(&'static Code, bool)>, Option<Date>);

/// `allow CODE, CODE until DATE because REASON`; `until DATE` may be missing.
fn parse(order: &str) -> Result<Order, String> {
    let rest = order.trim_start().strip_prefix("allow ").ok_or("`allow` is missing")?;
    let (head, reason) = rest.split_once(" because").ok_or("the reason is missing: `because ...`")?;
    if reason.trim().is_empty() {
        return Err("the reason is empty".to_owned());
    }
    let (list, until) = match head.split_once(" until ") {
        None => (head, None),
        Some((list, date)) => {
            let date = date.trim();
            (list, Some(date.parse().map_err(|_| format!("`{}` is no date: write 2027-01-31", shown(date)))?))
        }
    };
    let code = |name: &str| {
        let name = name.trim();
        match codes::find(name) {
            Some(code) if code.severity == Severity::Error => Err(format!("{} is an error", code.code)),
            Some(code) => Ok((code, false)),
            None => Err(format!("`{}` is no code", shown(name))),
        }
    };
    Ok((list.split(',').map(code).collect::<Result<_, _>>()?, until))
}

/// The line after the one in which `at` lies.
fn next_line(text: &[u8], at: usize) -> Range<u32> {
    let line_end = |start: usize| memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |length| start + length);
    let start = (line_end(at) + 1).min(text.len());
    start as u32..line_end(start) as u32
}
