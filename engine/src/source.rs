//! Rule text and places in it.

/// A file of rules, as bytes: nothing promises that it is UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The name to show, usually its path as the user gave it.
    pub name: String,
    /// Its content.
    pub text: Vec<u8>,
}

/// A stretch of one source file, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Index of the file among those compiled; [`Span::BUILT_IN`] for the built-in base rules.
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The file index of the built-in base rules.
    pub const BUILT_IN: u32 = u32::MAX;
}

/// A place for people: both count from 1, columns in characters (bytes where the line is not UTF-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl SourceFile {
    /// The text of a line, counted from 1, without the white space around it. `file` is the index that the place gets.
    pub fn line_span(&self, file: u32, line: usize) -> Span {
        let mut start = 0;
        for _ in 1..line {
            start += memchr::memchr(b'\n', &self.text[start..]).map_or(self.text.len() - start, |length| length + 1);
        }
        let rest = &self.text[start..];
        let text = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
        let start = start + text.len() - text.trim_ascii_start().len();
        Span { file, start: start as u32, end: (start + text.trim_ascii().len()) as u32 }
    }

    /// The line and column of a byte offset.
    pub fn line_column(&self, offset: u32) -> LineColumn {
        let upto = &self.text[..(offset as usize).min(self.text.len())];
        let line_start = memchr::memrchr(b'\n', upto).map_or(0, |at| at + 1);
        // Files may have megabytes, and reports hundreds of places at their ends.
        let line = memchr::memchr_iter(b'\n', upto).count() as u32 + 1;
        let column = match std::str::from_utf8(&upto[line_start..]) {
            Ok(text) => text.chars().count(),
            Err(_) => upto.len() - line_start,
        };
        LineColumn { line, column: column as u32 + 1 }
    }
}
