//! The way of a task's output: pipe → rotated file.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};

use super::log::RotatedLog;

/// How much is copied at once, in bytes; a pipe holds as much.
const CHUNK: usize = 64 * 1024;
/// How many chunks are copied at the very end. All writers are dead by then, so a pipe holds at
/// most a mebibyte; the bound is for a pipe that was handed to somebody else.
const LAST_CHUNKS: u32 = 17;

/// One output stream of a task.
#[derive(Debug)]
pub struct Output {
    /// `None` when all writers have closed it.
    pipe: Option<File>,
    log: RotatedLog,
}

impl Output {
    /// Copies from `pipe` to `log`.
    ///
    /// # Errors
    /// When the pipe cannot be set to not block.
    pub fn new(pipe: OwnedFd, log: RotatedLog) -> io::Result<Output> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Output { pipe: Some(File::from(pipe)), log })
    }

    /// What to poll for more output.
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.pipe.as_ref().map(|p| PollFd::new(p.as_fd(), PollFlags::POLLIN))
    }

    /// Copies one chunk, if there is any. Whether there may be more.
    pub fn copy_some(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let mut chunk = [0; CHUNK];
        match pipe.read(&mut chunk) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(n) => {
                self.log.write(chunk.get(..n).unwrap_or_default());
                true
            }
            Err(e) => e.kind() == io::ErrorKind::Interrupted,
        }
    }

    /// Copies what is left.
    pub fn drain(&mut self) {
        for _ in 0..LAST_CHUNKS {
            if !self.copy_some() {
                return;
            }
        }
    }
}
