//! Facts of a run that rules may ask about.

use tripline_schemas::Ending;

use crate::alert::EventFacts;
use crate::numbers::Unit;

/// A fact of a run that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunFact {
    /// The code with which the command ended by itself.
    ExitCode,
    /// How long it took, in milliseconds.
    Duration,
    /// How many bytes it wrote to standard output, those that were not kept included.
    OutputSize,
}

impl RunFact {
    /// What it is for this event: `None` when there is no run, or the run has no such fact.
    pub fn of(self, facts: &EventFacts<'_>) -> Option<i64> {
        let run = facts.run?;
        let number = match self {
            RunFact::ExitCode => match run.ending {
                Ending::Exited(code) => return Some(code.into()),
                _ => return None,
            },
            RunFact::Duration => run.duration_ms,
            RunFact::OutputSize => run.truncated_from.unwrap_or(run.output.len() as u64),
        };
        Some(number.try_into().unwrap_or(i64::MAX))
    }

    /// The name of its element.
    pub fn element(self) -> &'static str {
        match self {
            RunFact::ExitCode => "run_exit_code",
            RunFact::Duration => "run_duration",
            RunFact::OutputSize => "run_output_size",
        }
    }

    /// What its numbers count.
    pub fn unit(self) -> Unit {
        match self {
            RunFact::ExitCode => Unit::Code,
            RunFact::Duration => Unit::Milliseconds,
            RunFact::OutputSize => Unit::Bytes,
        }
    }
}
