//! The header of a log line: date, host, program.
//!
//! A line that starts with a date of a known form loses it, and often names its host and program behind it. Dates are
//! told by the separators at fixed places; most digits are not looked at, and the date itself is never used, since
//! events have the time at which they arrived. Positions count bytes from 0.
//!
//! | form | then |
//! | --- | --- |
//! | `Nov 14 10:00:00 ` | host and program |
//! | `2023-11-14 10:00:00,123` | host and program |
//! | `2023-11-14T10:00:00-04:00 `, with up to six digits of a fraction behind `.` or `,` | host and program |
//! | `2023 Nov 14 10:00:00 ` | host and program |
//! | `2023:11:14-10:00:00 ` | host and program |
//! | `Tue Nov 14 10:00:00 2023 1 ` (transfer logs) | the text |
//! | `11/14-10:00:00.123456  `, `11/14/2023-10:00:00.123456  ` | the text |
//! | `[Tue Nov 14 10:00:00 2023] ` | the text |
//! | `1700000000.368  ` (seconds) | the text |
//! | `[Time 2006.12.28 15:53:55 UTC] [Sender x] [Message y] [Host z]` | each in its brackets |
//!
//! Bytes are bytes: OSSEC removes control characters first, here they stay and are parts of texts like any others.

use std::net::IpAddr;

/// A log line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    /// The host that the header names.
    pub host: Option<&'a [u8]>,
    /// The program that the header names.
    pub program: Option<&'a [u8]>,
    /// The text behind the header: what rules and decoders call the log.
    pub log: &'a [u8],
}

/// Takes the header off a line.
pub(crate) fn header(text: &[u8]) -> Header<'_> {
    // A German March has one byte more, everything else stands at the same places.
    let dated = if text.starts_with("Mär ".as_bytes()) { &text[1..] } else { text };
    if let Some(end) = date_before_host(dated) {
        return host_and_program(&dated[end..]);
    }
    if let Some(end) = date_before_text(dated) {
        return only_log(&dated[end..]);
    }
    in_brackets(text).unwrap_or(only_log(text))
}

/// The host of an event as rules see it: for an agent's event its whole location, whatever a header says; else the
/// header's host, or the name of the machine itself.
pub(crate) fn hostname<'a>(of_agent: Option<&'a [u8]>, in_header: Option<&'a [u8]>, machine: &'a str) -> &'a [u8] {
    of_agent.or(in_header).unwrap_or(short_name(machine).as_bytes())
}

/// A machine's name up to its first dot. An address stays whole.
pub(crate) fn short_name(machine: &str) -> &str {
    match machine.split_once('.') {
        Some((name, _)) if machine.parse::<IpAddr>().is_err() => name,
        _ => machine,
    }
}

fn only_log(log: &[u8]) -> Header<'_> {
    Header { host: None, program: None, log }
}

/// Whether the text has these bytes at these places.
fn has(text: &[u8], places: &[(usize, u8)]) -> bool {
    places.iter().all(|(at, byte)| text.get(*at) == Some(byte))
}

fn digits(text: &[u8], places: impl IntoIterator<Item = usize>) -> bool {
    places.into_iter().all(|at| text.get(at).is_some_and(u8::is_ascii_digit))
}

/// Where a date ends that a host follows.
fn date_before_host(text: &[u8]) -> Option<usize> {
    let length = text.len();
    if length >= 17 && has(text, &[(3, b' '), (6, b' '), (9, b':'), (12, b':'), (15, b' ')]) {
        return Some(16);
    }
    if length >= 24 && has(text, &[(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':'), (19, b',')]) {
        return Some(23);
    }
    if length >= 33 && has(text, &[(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')]) {
        if has(text, &[(22, b':'), (25, b' ')]) {
            return Some(26);
        }
        if matches!(text[19], b'.' | b',') {
            // One to six digits, the sign, and the hours of the zone before its colon.
            let colon = (24..=29).find(|at| text[*at] == b':');
            return colon.map(|at| at + 3);
        }
        return None;
    }
    let year = digits(text, [0]);
    if year && length >= 21 && has(text, &[(4, b' '), (8, b' '), (11, b' '), (14, b':'), (17, b':'), (20, b' ')]) {
        return Some(21);
    }
    if year && length >= 20 && has(text, &[(4, b':'), (7, b':'), (10, b'-'), (13, b':'), (16, b':')]) {
        return Some(20);
    }
    None
}

/// Where a date ends that the text itself follows.
fn date_before_text(text: &[u8]) -> Option<usize> {
    let length = text.len();
    // Transfer logs: the space before the seconds stays.
    if has(text, &[(3, b' '), (7, b' '), (10, b' '), (13, b':'), (16, b':'), (19, b' '), (24, b' '), (26, b' ')]) {
        return Some(24);
    }
    if length >= 23 && has(text, &[(2, b'/'), (5, b'-'), (8, b':'), (11, b':'), (14, b'.'), (21, b' ')]) {
        return Some(23);
    }
    if length >= 28 && has(text, &[(2, b'/'), (5, b'/'), (10, b'-'), (13, b':'), (16, b':'), (19, b'.'), (26, b' ')]) {
        return Some(28);
    }
    if length >= 27
        && has(text, &[(0, b'['), (4, b' '), (8, b' '), (11, b' '), (14, b':'), (17, b':'), (20, b' '), (25, b']')])
    {
        return Some(27);
    }
    if digits(text, (0..10).chain(11..14)) && has(text, &[(10, b'.'), (14, b' ')]) {
        let spaces = text[14..].iter().take_while(|byte| **byte == b' ').count();
        return Some(14 + spaces);
    }
    None
}

/// `[Time 2006.12.28 15:53:55 UTC] [Sender x] [Message y] [Host z]`, in any order behind the time.
fn in_brackets(text: &[u8]) -> Option<Header<'_>> {
    if !text.starts_with(b"[Time ") || !has(text, &[(10, b'.'), (13, b'.'), (16, b' '), (19, b':'), (22, b':')]) {
        return None;
    }
    let value = |name: &[u8]| {
        let start = memchr::memmem::find(text, name)? + name.len();
        let rest = &text[start..];
        let end = memchr::memmem::find(rest, b"] [").or(rest.strip_suffix(b"]").map(<[u8]>::len))?;
        Some(&rest[..end])
    };
    Some(Header { host: value(b" [Host "), program: value(b" [Sender "), log: value(b" [Message ")? })
}

/// The characters of hosts and programs.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"()-./_@".contains(&byte)
}

/// The name that a text starts with, and the rest. `None` when it starts with none.
fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| !is_name(*byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn host_and_program(text: &[u8]) -> Header<'_> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let Some((word, rest)) = name(text) else { return only_log(text) };
    if let Some(log) = rest.strip_prefix(b": ") {
        return Header { host: None, program: Some(word), log: without_message_id(log) };
    }
    let Some(rest) = rest.strip_prefix(b" ") else { return only_log(text) };
    let rest = without_facility(rest);
    let (program, log) = match program(rest) {
        Some((program, log)) => (Some(program), log),
        None => (None, rest),
    };
    Header { host: Some(word), program, log: without_message_id(log) }
}

/// `name: `, `name[123]: ` or `name[123] `.
fn program(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (program, rest) = name(text)?;
    if let Some(log) = rest.strip_prefix(b": ") {
        return Some((program, log));
    }
    let number = rest.strip_prefix(b"[")?;
    let end = number.iter().position(|byte| !byte.is_ascii_digit()).filter(|end| *end > 0)?;
    let rest = number[end..].strip_prefix(b"]")?;
    Some((program, rest.strip_prefix(b": ").or(rest.strip_prefix(b" "))?))
}

/// Takes off `facility|severity:info `, as AIX writes it.
fn without_facility(text: &[u8]) -> &[u8] {
    let word = |text: &[u8]| text.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len());
    let skipped = || {
        let (_, rest) = name(text)?;
        let severity = rest.strip_prefix(b"|").filter(|it| it.first().is_some_and(u8::is_ascii_lowercase))?;
        let info = severity[word(severity)..].strip_prefix(b":")?;
        info[word(info)..].strip_prefix(b" ")
    };
    skipped().unwrap_or(text)
}

/// Takes off a leading `[ID 123 x.y] `, as Solaris writes it.
fn without_message_id(text: &[u8]) -> &[u8] {
    if !text.starts_with(b"[ID ") {
        return text;
    }
    memchr::memmem::find(text, b"] ").map_or(text, |end| &text[end + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line, and its host, program (empty for none) and log.
    const LINES: &[(&str, &str, &str, &str)] = &[
        ("Nov 14 10:00:00 host1 sshd[123]: hello", "host1", "sshd", "hello"),
        ("Nov  4 10:00:00 host1 cron: hello", "host1", "cron", "hello"),
        ("Nov 14 10:00:00 host1 app hello", "host1", "", "app hello"),
        ("Nov 14 10:00:00 host1 a/b.c-d_e: hello", "host1", "a/b.c-d_e", "hello"),
        ("Nov 14 10:00:00 host1 sshd(pam_unix)[23164]: hello", "host1", "sshd(pam_unix)", "hello"),
        // Without a host.
        ("Nov 14 10:00:00 sshd: hello", "", "sshd", "hello"),
        ("Nov 14 10:00:00 sshd[1]: hello", "", "", "sshd[1]: hello"),
        ("Nov 14 10:00:00 [x] hello", "", "", "[x] hello"),
        // How a program ends.
        ("Nov 14 10:00:00 host1 app[77] hello", "host1", "app", "hello"),
        ("Nov 14 10:00:00 host1 app[7x]: hello", "host1", "", "app[7x]: hello"),
        ("Nov 14 10:00:00 host1 app[]: hello", "host1", "", "app[]: hello"),
        ("Nov 14 10:00:00 host1 app[7]:hello", "host1", "", "app[7]:hello"),
        ("Nov 14 10:00:00 host1 app:hello", "host1", "", "app:hello"),
        ("Nov 14 10:00:00 host1 app:", "host1", "", "app:"),
        ("Nov 14 10:00:00 host1 app+x: hello", "host1", "", "app+x: hello"),
        ("Nov 14 10:00:00 host1 app: ", "host1", "app", ""),
        // Short lines have no header.
        ("", "", "", ""),
        ("Nov 14 10:00:00 ", "", "", "Nov 14 10:00:00 "),
        ("Nov 14 10:00:00 h", "", "", "h"),
        ("Nov 14 10:00:00 h x", "h", "", "x"),
        // The other dates before a host, each with its shortest line.
        ("2023-11-14 10:00:00,123 host1 app: hello", "host1", "app", "hello"),
        ("2023-11-14 10:00:00,123h x", "h", "", "x"),
        ("2023-11-14 10:00:00,123", "", "", "2023-11-14 10:00:00,123"),
        ("2023-11-14T10:00:00-04:00 host1 app: hello", "host1", "app", "hello"),
        ("2023-11-14T10:00:00-04:00 hello ", "", "", "2023-11-14T10:00:00-04:00 hello "),
        ("2023-11-14T10:00:00-04:00 hello x", "hello", "", "x"),
        ("2023-11-14T10:00:00.1-04:00 host1 app: hello", "host1", "app", "hello"),
        ("2023-11-14T10:00:00,123+00:00 host1 app: hello", "host1", "app", "hello"),
        ("2023-11-14T10:00:00.123456-04:00 host1 app: hello", "host1", "app", "hello"),
        ("2023-11-14T10:00:00.1234567-04:00 host1 app: hi", "", "", "2023-11-14T10:00:00.1234567-04:00 host1 app: hi"),
        ("2023-11-14T10:00:00Z host1 app: hello there", "", "", "2023-11-14T10:00:00Z host1 app: hello there"),
        ("2023 Nov 14 10:00:00 host1 app: hello", "host1", "app", "hello"),
        ("2023 Nov 14 10:00:00 ", "", "", ""),
        ("y023 Nov 14 10:00:00 h x", "", "", "y023 Nov 14 10:00:00 h x"),
        ("2023:11:14-10:00:00 host1 app: hello", "host1", "app", "hello"),
        ("2023:11:14-10:00:00 h x", "h", "", "x"),
        // One more space is skipped, a second is not.
        ("Nov 14 10:00:00  host1 app: hello", "host1", "app", "hello"),
        ("Nov 14 10:00:00   host1 app: hello", "", "", " host1 app: hello"),
        // AIX and Solaris.
        ("Nov 14 10:00:00 host1 auth|security:info sshd[12]: hello", "host1", "sshd", "hello"),
        ("Nov 14 10:00:00 host1 auth|security:info hello", "host1", "", "hello"),
        ("Nov 14 10:00:00 host1 auth|Security:info sshd: x", "host1", "", "auth|Security:info sshd: x"),
        ("Nov 14 10:00:00 host1 su: [ID 810491 auth.crit] hello", "host1", "su", "hello"),
        ("Nov 14 10:00:00 su: [ID 810491 auth.crit] hello", "", "su", "hello"),
        ("Nov 14 10:00:00 host1 [ID 810491 auth.crit] hello", "host1", "", "hello"),
        ("Nov 14 10:00:00 host1 su: [ID 810491", "host1", "su", "[ID 810491"),
        ("Nov 14 10:00:00 host1 su: [XD 1 a] hello", "host1", "su", "[XD 1 a] hello"),
        // Dates before the text.
        ("Tue Nov 14 10:00:00 2023 1 10.0.0.1 hello", "", "", " 1 10.0.0.1 hello"),
        ("11/14-10:00:00.123456  [**] hello", "", "", "[**] hello"),
        ("11/14-10:00:00.123456 hello", "", "", "ello"),
        ("11/14/2023-10:00:00.123456  [**] hello", "", "", "[**] hello"),
        ("[Tue Nov 14 10:00:00 2023] [warn] hello", "", "", "[warn] hello"),
        ("1700000000.368  11623 10.0.0.1 TCP_MISS/200", "", "", "11623 10.0.0.1 TCP_MISS/200"),
        ("1700000000.36x  11623", "", "", "1700000000.36x  11623"),
        // A German March.
        ("Mär 14 10:00:00 host1 app: hello", "host1", "app", "hello"),
        ("Mär 14 x", "", "", "Mär 14 x"),
        // In brackets.
        (
            "[Time 2006.12.28 15:53:55 UTC] [Facility auth] [Sender sshd] [PID 483] [Message a [b] c] [Level 3] [Host mike]",
            "mike",
            "sshd",
            "a [b] c",
        ),
        ("[Time 2006.12.28 15:53:55 UTC] [Message y]", "", "", "y"),
        ("[Time 2006.12.28 15:53:55 UTC] [Sender y]", "", "", "[Time 2006.12.28 15:53:55 UTC] [Sender y]"),
        ("[Time flies]", "", "", "[Time flies]"),
    ];

    #[test]
    fn a_header_is_taken_off_as_ossec_takes_it_off() {
        let named = |name: &'static str| (!name.is_empty()).then_some(name);
        for (line, host, program, log) in LINES {
            let found = header(line.as_bytes());
            let text = |bytes| std::str::from_utf8(bytes).expect("UTF-8");
            assert_eq!(
                (found.host.map(text), found.program.map(text), text(found.log)),
                (named(host), named(program), *log),
                "{line}"
            );
        }
    }

    #[test]
    fn a_line_cut_anywhere_or_with_any_byte_in_it_is_read() {
        for (line, ..) in LINES {
            for at in 0..line.len() {
                let log = header(&line.as_bytes()[..at]).log;
                assert!(log.len() <= at);
                for byte in [0, b'\n', b' ', b'[', b']', b':', 0xff] {
                    let mut bytes = line.as_bytes().to_vec();
                    bytes[at] = byte;
                    header(&bytes);
                }
            }
        }
    }

    #[test]
    fn control_bytes_are_kept() {
        let found = header(b"Nov 14 10:00:00 h app: a\tb\x01\nc\x7f");
        assert_eq!(found.log, b"a\tb\x01\nc\x7f");
    }

    #[test]
    fn an_agent_event_has_its_location_as_host_and_others_a_short_name() {
        let location: &[u8] = b"(web) 10.0.0.1->/var/log/x";
        assert_eq!(hostname(Some(location), Some(b"db1"), "manager"), location);
        assert_eq!(hostname(None, Some(b"db1.example.org"), "manager"), b"db1.example.org");
        assert_eq!(hostname(None, None, "manager.example.org"), b"manager");
        assert_eq!(hostname(None, None, "10.0.0.1"), b"10.0.0.1");
        assert_eq!(hostname(None, None, "manager"), b"manager");
    }
}
