//! The memory that all patterns of a rule set take together.
//!
//! Each pattern is bounded, and that is not enough: 2,000 that are written in 90 bytes and take 3 MB each are 6 GB.
//! What a pattern takes at most is known before it is compiled, so that a rule set is refused before it takes it.

use super::draft::Draft;
use crate::finding::{Finding, Findings, codes, shown};
use crate::source::Span;

/// The most memory in bytes that all patterns of a rule set may take when they are compiled. OSSEC's own rules and decoders
/// may take a tenth of it, and most of their patterns never are.
pub const PATTERNS_BYTES_MAX: usize = 1 << 30;

/// What is left of [`PATTERNS_BYTES_MAX`].
pub(super) struct Budget {
    left: usize,
    /// A finding says that there is not enough: one is as good as one for each that follows.
    told: bool,
}

impl Budget {
    pub fn new() -> Budget {
        Budget { left: PATTERNS_BYTES_MAX, told: false }
    }

    /// Takes what the patterns of each rule need.
    pub fn take_rules(&mut self, drafts: &[Draft], findings: &mut Findings) {
        for draft in drafts {
            self.take(draft.rule.pattern_bytes_max(), draft.rule.span, || format!("rule {}", draft.rule.id), findings);
        }
    }

    /// Takes what the patterns of a decoder need.
    pub fn take_decoder(&mut self, name: &str, bytes: usize, tag: Span, findings: &mut Findings) {
        self.take(bytes, tag, || format!("decoder `{}`", shown(name)), findings);
    }

    fn take(&mut self, bytes: usize, place: Span, whose: impl Fn() -> String, findings: &mut Findings) {
        let before = PATTERNS_BYTES_MAX - self.left;
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None if !self.told => {
                self.told = true;
                let (whose, most) = (whose(), PATTERNS_BYTES_MAX >> 20);
                findings.push(
                    Finding::new(
                        &codes::PATTERNS_TOO_LARGE,
                        format!("the patterns may take more than {most} MiB of memory together"),
                    )
                    .at(place, format!("those of {whose} may take {}", mib(bytes)))
                    .note(format!("all patterns before it may take {}", mib(before)))
                    .help("count less in `{ }`, where repeats are written out, or load fewer rules".to_owned()),
                );
            }
            None => {}
        }
    }
}

fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
