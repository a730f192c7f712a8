//! How the program ends: one table for every verb.

use std::process::ExitCode;

/// What an ended verb tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did its work and there is nothing to report.
    Fine = 0,
    /// It did its work and found something: a lint, a failed test, a differing replay.
    Findings = 1,
    /// Usage, or rules or settings that could not be loaded; nothing was started.
    Unusable = 2,
    /// The history it needed is not complete.
    HistoryIncomplete = 3,
    /// Nothing was selected: an empty input is no success.
    NothingSelected = 4,
    /// It failed while running.
    Failed = 5,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error that ends the program, with the code it ends with.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong, its causes as the chain.
    pub error: anyhow::Error,
}

impl Failure {
    /// Usage, settings or rules are unusable.
    pub fn unusable(error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit: Exit::Unusable, error: error.into() }
    }
}

/// Errors without a better code happened while running.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure { exit: Exit::Failed, error: error.into() }
    }
}

/// What every verb gives back.
pub type Outcome = Result<Exit, Failure>;
