//! Log lines: to stderr, at the level and in the form that settings say.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::value::LogFormat;

/// Where log lines go: stderr, around the live display where there is one.
#[derive(Clone)]
pub struct Screen {
    live: Option<MultiProgress>,
}

impl Screen {
    /// With a live display when stderr is a terminal.
    pub fn new() -> Screen {
        Screen { live: io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Without a live display.
    pub fn plain() -> Screen {
        Screen { live: None }
    }

    /// The live display, on a terminal.
    pub fn live(&self) -> Option<&MultiProgress> {
        self.live.as_ref()
    }

    /// Writes whole lines without tearing the live display.
    pub fn write(&self, lines: &[u8]) {
        // Without a stderr there is nobody to tell.
        let write = || drop(io::stderr().lock().write_all(lines));
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }
}

/// Starts logging. Once a process. `filter` is a level, or levels by part of the program.
pub fn start(filter: &str, format: LogFormat, screen: &Screen) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(io::stderr().is_terminal() && format == LogFormat::Text)
        .with_writer(screen.clone());
    // A second start has no effect; the first one's settings stay.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// One event's line, written when it is complete.
pub struct Line {
    screen: Screen,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { screen: self.clone(), bytes: Vec::new() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.screen.write(&self.bytes);
    }
}
