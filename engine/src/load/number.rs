//! Numbers in attributes, as OSSEC reads them.

use super::text::Text;
use crate::finding::{Finding, Findings, codes};

/// Reads a number of which only the first `digits` digits count. `None` when it is none; a finding says so.
pub(crate) fn number(text: &Text, name: &str, digits: usize, findings: &mut Findings) -> Option<u32> {
    let value = text.value.as_str();
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        findings.push(
            Finding::new(&codes::BAD_NUMBER, format!("`{name}` is not a number"))
                .at(text.span(), "expected digits only")
                .help(without_unit(value).map(|digits| format!("write `{name}=\"{digits}\"`"))),
        );
        return None;
    }
    // At most six digits, so it always fits.
    let counted = &value[..value.len().min(digits)];
    if counted.len() < value.len() {
        findings.push(
            Finding::new(&codes::NUMBER_SHORTENED, format!("`{name}` is read as {counted}"))
                .at(text.span(), format!("only the first {digits} digits count"))
                .note("OSSEC does the same"),
        );
    }
    counted.parse().ok()
}

/// The digits of `7200s` and ` 7 `.
fn without_unit(value: &str) -> Option<&str> {
    let digits = value.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}
