//! A place in a test file, shown with its line.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_saphyr::{Location, Spanned};

/// A place in a test file, in bytes; `None` when nobody knows it.
pub type Place = Option<Range<usize>>;

/// Where a value stands.
pub fn place<T>(value: &Spanned<T>, text: &str) -> Place {
    of_location(value.referenced, text)
}

/// A location of the YAML reader as bytes. It knows lines and columns always, bytes mostly; mappings
/// and lists have a start alone.
pub fn of_location(location: Location, text: &str) -> Place {
    if location.line() == 0 {
        return None;
    }
    let (mut start, mut length) = (0, 1);
    match (location.span().byte_offset(), location.span().byte_len()) {
        (Some(offset), Some(len)) => (start, length) = (offset as usize, len as usize),
        _ => {
            let line: usize = text.split_inclusive('\n').take(location.line() as usize - 1).map(str::len).sum();
            let characters = text.get(line..)?.char_indices();
            start = line + characters.map(|(at, _)| at).nth(location.column() as usize - 1).unwrap_or(start);
        }
    }
    let rest = text.get(start..)?;
    let line = rest.find('\n').map_or(rest, |end| &rest[..end]);
    let end = rest.ceil_char_boundary(length.clamp(1, line.len().max(1)));
    Some(start..start + end)
}

/// The place and its line with marks, indented; empty when the place is not known.
pub fn excerpt(name: &str, text: &str, place: &Place, label: &str) -> String {
    let Some(place) = place else { return String::new() };
    let annotation = AnnotationKind::Primary.span(place.clone()).label(label);
    let snippet = Snippet::source(text).path(name).annotation(annotation);
    let group = Level::ERROR.no_name().primary_title("").element(snippet);
    let rendered = Renderer::plain().render(&[group]);
    // The first line holds the title alone.
    let lines = rendered.lines().skip_while(|line| !line.trim_start().starts_with("-->"));
    lines.map(|line| format!("    {line}\n")).collect()
}
