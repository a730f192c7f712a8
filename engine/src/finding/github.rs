//! Findings as annotations of a GitHub workflow.

use std::fmt::Write as _;

use super::{Finding, Severity, summary};
use crate::load::base_rules;
use crate::source::{SourceFile, Span};

/// GitHub shows at most this many annotations of one kind for each step.
const ANNOTATIONS_PER_KIND: usize = 10;

/// The bytes that the summary of a step may have: GitHub drops a longer one.
const SUMMARY_BYTES_MAX: usize = 1024 * 1024;

/// Findings for a GitHub workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Github {
    /// Workflow commands for standard output: `::error file=...,line=...::...`, errors first, ten of each kind.
    pub annotations: String,
    /// All findings as a table in Markdown, for the file that `GITHUB_STEP_SUMMARY` names.
    pub summary: String,
}

/// Findings as annotations, and as a table.
pub fn to_github(findings: &[Finding], files: &[SourceFile], rule_count: usize) -> Github {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    // Stable: in the order of files and places among equals.
    sorted.sort_by_key(|finding| finding.severity);
    let mut annotations = String::new();
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        for finding in sorted.iter().filter(|finding| finding.severity == severity).take(ANNOTATIONS_PER_KIND) {
            annotate(&mut annotations, finding, files);
        }
    }
    let mut table = format!("{}\n", summary(findings, rule_count, files.len()));
    if !sorted.is_empty() {
        table.push_str("\n| | code | place | |\n| --- | --- | --- | --- |\n");
    }
    for (shown, finding) in sorted.iter().enumerate() {
        let row = row(finding, files);
        if table.len() + row.len() > SUMMARY_BYTES_MAX - 100 {
            // Writing to a String can't fail.
            let _ = writeln!(table, "\n{} more are left out.", sorted.len() - shown);
            break;
        }
        table.push_str(&row);
    }
    Github { annotations, summary: table }
}

fn annotate(out: &mut String, finding: &Finding, files: &[SourceFile]) {
    let kind = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "notice",
    };
    let mut properties = Vec::new();
    if let Some(span) = finding.span {
        let file = file_of(span, files);
        let (start, end) = (file.line_column(span.start), file.line_column(span.end));
        properties.push(format!("file={}", property(&file.name)));
        properties.push(format!("line={}", start.line));
        properties.push(format!("col={}", start.column));
        properties.push(format!("endLine={}", end.line));
        if start.line == end.line {
            properties.push(format!("endColumn={}", end.column));
        }
    }
    properties.push(format!("title={}", property(finding.code)));
    let mut message = finding.message.clone();
    for (word, text) in [("note", finding.why()), ("help", finding.remedy())] {
        if let Some(text) = text {
            let _ = write!(message, "\n{word}: {text}");
        }
    }
    let _ = writeln!(out, "::{kind} {}::{}", properties.join(","), data(&message));
}

fn row(finding: &Finding, files: &[SourceFile]) -> String {
    let place = finding.span.map_or(String::new(), |span| {
        let file = file_of(span, files);
        format!("{}:{}", file.name, file.line_column(span.start).line)
    });
    format!("| {} | {} | {} | {} |\n", finding.severity.as_str(), finding.code, cell(&place), cell(&finding.message))
}

/// The text of a workflow command: one line, `%` as its own mark.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A").replace(|c: char| c.is_control(), "")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text in a table of Markdown, where rule text must not become markup.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for character in text.chars() {
        match character {
            '|' | '<' | '>' | '\\' | '[' | ']' | '*' | '_' | '!' => cell.extend(['\\', character]),
            character if character.is_control() => cell.push(' '),
            character => cell.push(character),
        }
    }
    cell
}

fn file_of(span: Span, files: &[SourceFile]) -> &SourceFile {
    files.get(span.file as usize).unwrap_or_else(|| base_rules())
}
