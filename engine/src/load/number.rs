//! Numbers in attributes, as OSSEC reads them.

use super::text::Text;
use crate::finding::{Finding, Findings, codes};

/// The attributes that are given in seconds.
const SECONDS: [&str; 2] = ["ignore", "timeframe"];

/// Reads a number of which only the first `digits` digits count. `None` when it is none; a finding says so.
pub(crate) fn number(text: &Text, name: &str, digits: usize, findings: &mut Findings) -> Option<u32> {
    let value = text.value.as_str();
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        findings.push(
            Finding::new(&codes::BAD_NUMBER, format!("`{name}` is not a number"))
                .at(text.span(), "expected digits only")
                .help(meant(name, value).map(|number| match name.starts_with("if_") {
                    true => format!("write `<{name}>{number}</{name}>`"),
                    false => format!("write `{name}=\"{number}\"`"),
                })),
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

/// What ` 7 `, `2h` where seconds are asked for, and `10O` (with a letter) are meant to be.
fn meant(name: &str, value: &str) -> Option<String> {
    let value = value.trim();
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let seconds = match value[end..].trim_start() {
        "" => return (end > 0).then(|| value.to_owned()),
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        _ => None,
    };
    if let Some(seconds) = seconds.filter(|_| SECONDS.contains(&name)) {
        return value[..end].parse::<u64>().ok()?.checked_mul(seconds).map(|seconds| seconds.to_string());
    }
    let digits: String = value.chars().map(|c| if matches!(c, 'O' | 'o') { '0' } else { c }).collect();
    (end > 0 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn what_a_number_is_meant_to_be_is_told_when_it_is_clear() {
        for (name, value, expected) in [
            ("level", " 7 ", Some("7")),
            ("ignore", "7200s", Some("7200")),
            ("ignore", "2 h", Some("7200")),
            ("timeframe", "5m", Some("300")),
            ("ignore", "1d", Some("86400")),
            ("id", "10001O", Some("100010")),
            ("ignore", "99999999999999999999d", None),
            ("ignore", "2 weeks", None),
            ("level", "7s", None),
            ("level", "-1", None),
            ("level", "7.5", None),
            ("level", "O", None),
            ("level", "", None),
        ] {
            assert_eq!(meant(name, value).as_deref(), expected, "{name}={value}");
        }
    }
}
