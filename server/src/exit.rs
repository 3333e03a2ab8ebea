//! How a command ends: exit codes, and the last words.

use std::process::ExitCode;

use engine::{Error, ErrorKind};

use crate::terminal;

/// What `--help` says about exit codes.
pub(crate) const CODES: &str = "Exit codes: 0 all went well, 1 it failed while running, \
                                2 the SQL, an option or an argument is wrong";

/// Why a command ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// What was asked for is wrong: nothing was run. A damaged file is a failure whenever it is
    /// met, whether its end shows it or a page.
    pub(crate) fn input(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Corrupt => Self::run(error),
            _ => Self::usage(&error.chain()),
        }
    }

    /// An argument is wrong.
    pub(crate) fn usage(message: &str) -> Self {
        Self {
            code: 2,
            text: format!("error: {message}"),
        }
    }

    /// A script is wrong; the text is complete.
    pub(crate) fn script(text: String) -> Self {
        Self { code: 2, text }
    }

    /// A file that a script or a query reads is damaged; the text is complete.
    pub(crate) fn damaged(text: String) -> Self {
        Self { code: 1, text }
    }

    /// It failed while running.
    pub(crate) fn run(error: &Error) -> Self {
        Self::failed(&error.chain())
    }

    /// It failed while running.
    pub(crate) fn failed(message: &str) -> Self {
        Self {
            code: 1,
            text: format!("error: {message}"),
        }
    }

    /// It did its work, and the answer is no.
    pub(crate) fn negative() -> Self {
        Self {
            code: 1,
            text: String::new(),
        }
    }
}

/// Says what went wrong and gives the exit code.
pub(crate) fn code(outcome: Result<(), Failure>) -> ExitCode {
    terminal::clear_status();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, text }) => {
            if !text.is_empty() {
                terminal::say(&text);
            }
            ExitCode::from(code)
        }
    }
}
