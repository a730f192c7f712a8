//! What a pattern is said to take at most is what rule sets are refused for, so it must be no less than what it takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;

use tripline_engine::pattern::{OsMatch, OsRegex, PATTERN_BYTES_MAX, Pcre2, Steps};

thread_local! {
    static IN_USE: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, and how many bytes each thread has from it.
struct Counting;

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.with(|bytes| bytes.set(bytes.get() + layout.size() as isize));
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        IN_USE.with(|bytes| bytes.set(bytes.get() - layout.size() as isize));
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Looks at what a pattern took when it was made and searched with, and says how much that is.
fn took<P>(pattern: &str, new: impl Fn(&str) -> P, search: impl Fn(&P), bytes_max: impl Fn(&P) -> usize) -> usize {
    let before = IN_USE.get();
    let compiled = new(pattern);
    search(&compiled);
    let took = (IN_USE.get() - before) as usize;
    // Its text, and what the search keeps for the next one, come on top of what it is said to take.
    let said = bytes_max(&compiled) + 4 * pattern.len() + (64 << 10);
    assert!(took <= said, "{}: takes {took}, said to take {said}", &pattern[..pattern.floor_char_boundary(60)]);
    took
}

fn os_regex(pattern: &str) -> usize {
    let search = |compiled: &OsRegex| drop(std::hint::black_box(compiled.captures(b"")));
    took(pattern, |pattern| OsRegex::new(pattern).expect(pattern), search, OsRegex::bytes_max)
}

fn os_match(pattern: &str) -> usize {
    let search = |compiled: &OsMatch| assert!(!std::hint::black_box(compiled.is_match(b"\n")));
    took(pattern, |pattern| OsMatch::new(pattern).expect(pattern), search, OsMatch::bytes_max)
}

fn pcre2(pattern: &str) -> usize {
    let search = |compiled: &Pcre2| {
        // With all that it needs, or it is not compiled.
        let text = compiled.required_literals().unwrap_or_default().concat();
        let _ = std::hint::black_box(compiled.try_match(text.as_bytes(), &mut Steps::new(1)));
    };
    took(pattern, |pattern| Pcre2::new(pattern).expect(pattern), search, Pcre2::bytes_max)
}

/// `part` again and again, up to this many bytes, at least once.
fn filled(part: &str, bytes: usize) -> String {
    part.repeat((bytes / part.len()).max(1))
}

#[test]
fn no_pattern_of_ossecs_dialects_takes_more_than_it_is_said_to_take() {
    for bytes in [8, 100, PATTERN_BYTES_MAX] {
        for part in
            [r"\W", r"\.", r"\W+", r"\.*", r"\S+", r"\D*", r"\w+", r"\p", r"\d+", "(a)", "(a|b)", "ab|", "k", "ΐ", "é"]
        {
            os_regex(&filled(part, bytes));
        }
        for part in ["word", "k", "ß", "ΐ", "a|b|", "error 4711 of sshd|"] {
            os_match(filled(part, bytes).trim_end_matches('|'));
        }
        // What tells many bytes apart, with a group: there is a table then.
        let many: String = ('!'..='~').filter(|character| !r"\()[]{}<|$^*+".contains(*character)).collect();
        let wide: String = ('\u{400}'..).take(900).collect();
        for part in [&many, &wide, r"\S", r"\w\W"] {
            for start in ["^(x)", "(x)"] {
                let whole = format!("{start}{}", filled(part, bytes.saturating_sub(start.len())));
                os_regex(&whole[..whole.floor_char_boundary(PATTERN_BYTES_MAX)]);
            }
        }
        let words = (0..).map(|number| format!("word{number}|")).scan(String::new(), |all, word| {
            all.push_str(&word);
            Some(all.clone())
        });
        os_match(words.take_while(|all| all.len() < bytes).last().unwrap_or("word".into()).trim_end_matches('|'));
    }
}

#[test]
fn no_pcre2_expression_takes_more_than_it_is_said_to_take() {
    let ranges = (0x20..0x7F).step_by(2).fold(String::new(), |mut all, byte| {
        let _ = write!(all, r"\x{byte:02x}");
        all
    });
    let mut most = 0;
    for count in [1, 30, 1000, 20_000] {
        for part in [
            "a",
            r"\w",
            "[^a]",
            "(?:a|bc|d)",
            "(a)",
            "(a)?",
            &format!("(x){}", ('0'..='z').filter(char::is_ascii_alphanumeric).collect::<String>()),
            "(a)[^b]c[d-f]",
            "(?:a?b*)+",
            "(?:)",
            r"\b",
            &format!("[{ranges}]"),
            // These are searched by backtracking.
            "(?=a)",
            "(?>ab)",
            r"(a)\1",
            "(?:a(?!b))?",
            "(?(?=a)b|c)",
            "(?1)(a)",
        ] {
            let Ok(known) = Pcre2::new(&format!("^x(?:{part}){{{count}}}")) else {
                assert!(count > 1000, "{part} {count} times");
                continue;
            };
            most = most.max(pcre2(known.as_str()));
        }
    }
    // The longest literals, in a search for them.
    pcre2(&format!("(?:{}|{})(?=x)", "ab".repeat(2000), "cd".repeat(2000)));
    assert!(most > 1 << 20, "nothing that was tried is large");
}

#[test]
fn references_to_many_groups_are_kept_once() {
    let groups = "(?<n>a)?".repeat(1000);
    assert!(pcre2(&format!(r"(?J){groups}(?:\k<n>b){{10000}}")) < 8 << 20);
}
