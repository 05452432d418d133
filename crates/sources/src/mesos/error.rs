//! Why a master's word could not be had. Shown in the log, in metrics and as the reason why the
//! catalog is old.

use waymark_mesos_api::ParseError;
use waymark_mesos_api::recordio::Broken;

/// What went wrong with a request or a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// No master is known.
    #[error("no master is known")]
    NoMaster,
    /// No connection.
    #[error("{master}: {reason}")]
    Connect { master: String, reason: String },
    /// The exchange broke off.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The answer took too long.
    #[error("no complete answer within {0:?}")]
    Timeout(std::time::Duration),
    /// A status that is of no use.
    #[error("answered {0}")]
    Status(hyper::StatusCode),
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
    /// The body makes no sense.
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// The stream makes no sense.
    #[error("{0}")]
    Framing(#[from] Broken),
    /// The state does not say who leads.
    #[error("the master knows no leader")]
    NoLeader,
    /// The state is of a master that does not lead, and so is that of the one it names.
    #[error("the masters do not agree on who leads")]
    LeaderUnclear,
    /// The stream is that of a master that does not tell everything by it.
    #[error("the event stream is of an old kind: {0}")]
    OldStream(&'static str),
    /// The stream ended.
    #[error("the event stream ended")]
    StreamEnded,
    /// The stream is silent.
    #[error("no heartbeat for {0:?}")]
    NoHeartbeat(std::time::Duration),
    /// An event does not fit what is known.
    #[error("an event is missing")]
    Gap,
    /// The login at the identity service failed.
    #[error("login failed: {0}")]
    Login(String),
    /// Not even a small question is answered.
    #[error("no answer within {0:?}")]
    Silent(std::time::Duration),
    /// Another master leads now.
    #[error("another master leads")]
    Moved,
    /// Nothing is wrong; it is time to begin anew.
    #[error("beginning anew")]
    Again,
    /// Reading was given up because the process ends.
    #[error("interrupted")]
    Interrupted,
}

impl Trouble {
    /// Whether a master says by it that it does not offer the event stream.
    pub fn is_refusal(&self) -> bool {
        let Trouble::Status(status) = self else { return false };
        matches!(status.as_u16(), 400 | 401 | 403 | 404 | 405 | 406 | 415 | 501)
    }
}
