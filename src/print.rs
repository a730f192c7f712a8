//! Small helpers for printing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Says something to people, on standard error, as a line. That nobody can hear it stops no work: what keeps running may
/// outlive the terminal that it was started from.
macro_rules! say {
    ($($what:tt)*) => {
        $crate::print::to_stderr(format_args!($($what)*))
    };
}
pub(crate) use say;

/// What `say!` does.
pub fn to_stderr(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// An error and its causes, each once, on one line each.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.contains(&cause) {
            let _ = write!(text, "\n  caused by: {cause}");
        }
    }
    text
}

/// Bytes for a terminal: characters that drive one but line breaks and tabs escaped, what is not UTF-8 as `\xNN`.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&tripline_engine::format::escaped(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A time for people: `2026-11-24 10:00:00+01:00`.
pub fn time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
}

/// A file's name, or what `-` stands for.
pub fn path_or(file: &Path, standard: &str) -> String {
    if file == Path::new("-") { standard.to_owned() } else { format!("`{}`", file.display()) }
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// `1 alert`, `2 alerts`.
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_drive_a_terminal_is_escaped_and_the_rest_is_kept() {
        assert_eq!(escaped(b"a\tb\nc\x1b[31m\xff\r"), "a\tb\nc\\x1b[31m\\xff\\r");
        assert_eq!(escaped("é".as_bytes()), "é");
    }

    #[test]
    fn each_cause_is_printed_once() {
        let error = anyhow::anyhow!("disk full").context("could not write: disk full").context("log");
        assert_eq!(chain(&error), "log\n  caused by: could not write: disk full");
    }
}
