//! What is wrong with a test file, and where.

use super::excerpt::{self, Place};
use super::yaml;

/// Something that is wrong with a test file.
#[derive(Debug, Default)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Further text, ready to print.
    pub details: String,
}

impl Problem {
    /// A problem that one line says all about.
    pub fn at(place: Place, message: impl Into<String>) -> Problem {
        Problem { place, message: message.into(), ..Problem::default() }
    }

    /// As text for people.
    pub fn render(&self, name: &str, text: &str) -> String {
        let mut out = format!("error: {}\n", self.message);
        match excerpt::excerpt(name, text, &self.place, "") {
            excerpt if excerpt.is_empty() => out.push_str(&format!("    --> {name}\n")),
            excerpt => out.push_str(&excerpt),
        }
        if let Some(help) = &self.help {
            out.push_str(&format!("    = help: {help}\n"));
        }
        if !self.details.is_empty() {
            out.push('\n');
            out.push_str(&self.details);
        }
        out.push('\n');
        out
    }
}

/// The file as it is written.
pub fn parse(text: &str) -> Result<yaml::File, Problem> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().and_then(|location| excerpt::of_location(location, text));
        let (message, help) = explained(&error);
        Problem { place, message, help, ..Problem::default() }
    })
}

/// What is wrong with the YAML, in the words of test files, and what to do.
fn explained(error: &serde_saphyr::Error) -> (String, Option<String>) {
    use serde_saphyr::Error as E;
    match error.without_snippet() {
        E::SerdeUnknownField { field, expected, .. } => {
            let near = nearest(field, expected);
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected one of {}", list(expected)),
            };
            (format!("unknown key `{field}`"), Some(help))
        }
        E::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("`{variant}` is not known here"), Some(format!("expected one of {}", list(expected))))
        }
        E::SerdeMissingField { field, .. } => (format!("the key `{field}` is missing"), None),
        E::DuplicateMappingKey { key, .. } => {
            (format!("the key `{}` stands here twice", key.as_deref().unwrap_or("?")), None)
        }
        E::Eof { .. } => ("the file is empty".to_owned(), Some("see docs/testing.md".to_owned())),
        error => {
            let message = error.render();
            // The place is shown anyway.
            let message = match (message.rfind(" at line "), error.location()) {
                (Some(end), Some(_)) => message[..end].to_owned(),
                _ => message,
            };
            (message, None)
        }
    }
}

fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// The known word that is most like the given one, when one is near enough.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    const NEAR_ENOUGH: f64 = 0.8;
    let rated = known.iter().map(|known| (strsim::jaro_winkler(word, known), *known));
    rated.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(rating, _)| *rating >= NEAR_ENOUGH).map(|(_, known)| known)
}
