//! Why a master's word could not be had. Shown in the log, in metrics and as the reason why the
//! catalog is old.

use waymark_mesos_api::ParseError;
use waymark_mesos_api::recordio::Broken;

use crate::client::Failure;

/// What went wrong with a request or a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// No master is known.
    #[error("no master is known")]
    NoMaster,
    /// No answer that is of use.
    #[error("{0}")]
    Client(#[from] Failure),
    /// The stream broke off.
    #[error("{0}")]
    Http(#[from] hyper::Error),
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
    /// Not even a small question is answered.
    #[error("no answer within {0:?}")]
    Silent(std::time::Duration),
    /// Another master leads now.
    #[error("another master leads")]
    Moved,
    /// Nothing is wrong; it is time to begin anew.
    #[error("beginning anew")]
    Again,
}

impl Trouble {
    /// Whether a master says by it that it does not offer the event stream.
    pub fn is_refusal(&self) -> bool {
        let Trouble::Client(Failure::Status(status, _)) = self else { return false };
        matches!(status.as_u16(), 400 | 401 | 403 | 404 | 405 | 406 | 415 | 501)
    }
}
