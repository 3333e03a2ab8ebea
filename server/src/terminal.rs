//! Standard output for results; standard error for words and for a status line drawn in place.
//!
//! All that goes to standard error passes here, so that a line never lands inside the status.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::Error;

use crate::exit::Failure;

/// Whether the status line is on the screen.
static STATUS: Mutex<bool> = Mutex::new(false);

fn lock() -> MutexGuard<'static, bool> {
    STATUS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether standard error is looked at by a person.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Writes a line to standard error. Where that is closed nobody listens.
pub(crate) fn say(line: &str) {
    let _ = Stderr.write_all(format!("{line}\n").as_bytes());
}

/// Draws the status line in place of the one before it, cut to the terminal's width.
pub(crate) fn show_status(line: &str) {
    let mut shown = lock();
    let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
    let line: String = line.chars().take(width.saturating_sub(1)).collect();
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[2K{line}");
    let _ = stderr.flush();
    *shown = true;
}

/// Removes the status line.
pub(crate) fn clear_status() {
    clear(&mut lock());
}

fn clear(shown: &mut bool) {
    if *shown {
        let _ = io::stderr().write_all(b"\r\x1b[2K");
        *shown = false;
    }
}

/// Standard error without the status line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shown = lock();
        clear(&mut shown);
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::run(
            &Error::invalid("the standard output cannot be written").caused_by(error),
        )),
        _ => Ok(()),
    }
}
