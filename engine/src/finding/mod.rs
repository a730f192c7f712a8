//! What is wrong with rules: an error or a lint, with its place, the reason and the way out.

use std::collections::BTreeMap;

use crate::source::Span;

pub mod codes;
mod github;
mod render;
pub(crate) mod suppress;

pub use codes::Code;
pub use github::{Github, to_github};
pub use render::{explained_by, render, summary, to_json};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The rule set can't be used.
    Error,
    /// It can, but probably does not do what its author wanted.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The word people and JSON see.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// One thing to say about rule text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable, `TL` and four digits: TL00xx XML, TL01xx ids and duplicates, TL02xx references and cycles, TL03xx
    /// attributes and elements, TL04xx state and scope, TL05xx reachability, TL06xx cost, TL07xx style, TL08xx
    /// compatibility. [`codes`] lists them all.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, names in backquotes, no final period.
    pub message: String,
    /// Where; `None` when it is about no place, such as an empty directory.
    pub span: Option<Span>,
    /// What to write beside the marked text. May be empty.
    pub label: String,
    /// Further places with their labels, such as the first definition of a duplicate id.
    pub related: Vec<(Span, String)>,
    /// Why it matters.
    pub note: Option<String>,
    /// What to do, such as ``did you mean `if_sid`?``.
    pub help: Option<String>,
    /// What to put in place of the marked text, where that can be guessed.
    pub replacement: Option<String>,
    /// The rule it is about.
    pub rule: Option<u32>,
}

impl Finding {
    /// A finding about no place, of the code's usual severity.
    pub fn new(code: &Code, message: impl Into<String>) -> Finding {
        Finding {
            code: code.code,
            severity: code.severity,
            message: message.into(),
            span: None,
            label: String::new(),
            related: Vec::new(),
            note: None,
            help: None,
            replacement: None,
            rule: None,
        }
    }

    /// Where it is, and what to write beside the marked text.
    pub fn at(mut self, span: Span, label: impl Into<String>) -> Finding {
        self.span = Some(span);
        self.label = label.into();
        self
    }

    /// One more place.
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Finding {
        self.related.push((span, label.into()));
        self
    }

    /// Why it matters.
    pub fn note(mut self, note: impl Into<String>) -> Finding {
        self.note = Some(note.into());
        self
    }

    /// What to do.
    pub fn help(mut self, help: impl Into<Option<String>>) -> Finding {
        self.help = help.into().or(self.help);
        self
    }

    /// What the marked text was probably meant to be, if there is something near: the help asks for it.
    pub fn meant(self, near: Option<impl Into<String>>) -> Finding {
        let Some(near) = near.map(Into::into) else { return self };
        Finding { help: Some(format!("did you mean `{near}`?")), replacement: Some(near), ..self }
    }

    /// Its entry in the table of codes.
    fn entry(&self) -> Option<&'static Code> {
        codes::find(self.code)
    }

    /// Why it matters: what is said of this place, else of its code.
    fn why(&self) -> Option<&str> {
        self.note.as_deref().or_else(|| self.entry().map(|code| code.why))
    }

    /// What to do: what is said of this place, else of its code.
    fn remedy(&self) -> Option<&str> {
        self.help.as_deref().or_else(|| self.entry().map(|code| code.remedy))
    }

    /// The rule it is about.
    pub fn rule(mut self, id: Option<u32>) -> Finding {
        self.rule = id;
        self
    }
}

/// Collects findings while rules load. Bounded, since a file of rubbish would otherwise be reported byte by byte.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    errors: usize,
    /// Somebody reads them who wants to know what is probably not meant, too.
    lints: bool,
    /// What was said of each file (`None` for what is about no file), errors apart: however much else there is to say, no
    /// error is left out for it.
    files: BTreeMap<(Option<u32>, bool), FileCount>,
}

#[derive(Debug, Default)]
struct FileCount {
    findings: usize,
    /// One more says that others are left out.
    left_out: bool,
}

/// More errors of one file than this are left out, and more of its other findings; one more of each kind says so.
pub const FINDINGS_PER_FILE_MAX: usize = 500;

impl Findings {
    /// For somebody who wants to know what is probably not meant, too.
    pub fn with_lints() -> Findings {
        Findings { lints: true, ..Findings::default() }
    }

    /// Whether to look for what is probably not meant: that takes time.
    pub fn looks_for_lints(&self) -> bool {
        self.lints
    }

    pub fn push(&mut self, finding: Finding) {
        let is_error = finding.severity == Severity::Error;
        self.errors += usize::from(is_error);
        let file = self.files.entry((finding.span.map(|span| span.file), is_error)).or_default();
        if file.findings < FINDINGS_PER_FILE_MAX {
            file.findings += 1;
            self.list.push(finding);
            return;
        }
        if !std::mem::replace(&mut file.left_out, true) {
            self.list.push(too_many(finding.span.unwrap_or_default(), is_error));
        }
    }

    /// In the order of files, places and codes; those about no place come first.
    pub fn into_sorted(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|finding| (finding.span, finding.code));
        self.list
    }

    /// The rules that findings of this code are about.
    pub fn rules_with(&self, code: &str) -> std::collections::BTreeSet<u32> {
        self.list.iter().filter(|finding| finding.code == code).filter_map(|finding| finding.rule).collect()
    }

    /// How many errors there are so far, those left out included.
    pub fn errors(&self) -> usize {
        self.errors
    }
}

/// Says that a file has more findings than are told, and where the first of those begins that are left out. An error
/// stays one when it is left out.
pub fn too_many(place: Span, errors: bool) -> Finding {
    let kind = if errors { "errors" } else { "findings that are no errors" };
    let message = format!("the file has more than {FINDINGS_PER_FILE_MAX} {kind}");
    let finding = Finding::new(&codes::TOO_MANY_FINDINGS, message)
        .at(Span { end: place.start, ..place }, "this one and others are left out")
        .help("correct those above and check again".to_owned());
    Finding { severity: if errors { Severity::Error } else { finding.severity }, ..finding }
}

/// A stretch of rule text inside of a message: at most 60 characters of it. [`render`] escapes what must not reach a
/// terminal.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
