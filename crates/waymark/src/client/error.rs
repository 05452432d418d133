//! Why a client command fails.

use thiserror::Error;

use crate::exit::Exit;

/// Why a client command fails. The text is complete; the exit code follows from the kind.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The command line or a file is wrong.
    #[error("{0}")]
    Usage(String),
    /// No server answers there.
    #[error(
        "no Waymark answers at {url}: {reason}; start one with `waymark run`, or say --api URL"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        reason: String,
    },
    /// Nothing says where the server is.
    #[error("{0}")]
    NotRunning(String),
    /// The server does not know the object.
    #[error("{0}")]
    NotFound(String),
    /// What was asked makes no sense to the server.
    #[error("{0}")]
    BadRequest(String),
    /// The server said no, or something that is not understood.
    #[error("{0}")]
    Refused(String),
    /// The wait is over.
    #[error("{0}")]
    TimedOut(String),
}

impl ClientError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            ClientError::Usage(_) => Exit::Usage,
            ClientError::Unreachable { .. } | ClientError::NotRunning(_) => Exit::Unreachable,
            ClientError::NotFound(_) => Exit::NotFound,
            ClientError::BadRequest(_) | ClientError::Refused(_) => Exit::Failed,
            ClientError::TimedOut(_) => Exit::TimedOut,
        }
    }
}
