//! Why an answer could not be had. Shown in the log, in metrics and as the reason why the catalog
//! is old.

use std::time::Duration;

/// What went wrong with a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection.
    #[error("{server}: {reason}")]
    Connect { server: String, reason: String },
    /// The exchange broke off.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The answer took too long.
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    /// A status that is of no use, and the beginning of what came with it.
    #[error("answered {0}")]
    Status(hyper::StatusCode, Vec<u8>),
    /// Sent from one to another too often.
    #[error("redirected more than {0} times")]
    Redirects(usize),
    /// Sent to a place that makes no sense or is less safe.
    #[error("redirected to {0:?}, which is not followed")]
    BadRedirect(String),
    /// The body is longer than allowed.
    #[error("more than {0} bytes")]
    TooLong(usize),
    /// The body is not what its encoding says.
    #[error("body cannot be unpacked: {0}")]
    Encoding(std::io::Error),
    /// The login at the identity service failed.
    #[error("login failed: {0}")]
    Login(String),
    /// Reading was given up because the process ends.
    #[error("interrupted")]
    Interrupted,
}
