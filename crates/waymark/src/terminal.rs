//! What commands say to people: results on stdout, everything else on stderr.

use std::io::{self, Write};

use crate::exit::Exit;

/// Prints a result. A reader that has gone away (`| head`) ends the command quietly.
pub fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Ok,
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(e) => fail(Exit::Failed, &format!("cannot write: {e}")),
    }
}

/// Says something that is not the result.
pub fn note(text: &str) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says why the command fails, and with which code.
pub fn fail(exit: Exit, message: &str) -> Exit {
    note(&format!("error: {message}"));
    exit
}
