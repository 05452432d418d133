//! Why a Marathon's word could not be had. Shown in the log, in the status and as the reason why the
//! catalog is old.

use std::time::Duration;

use waymark_marathon_api::answer::AnswerError;

use crate::client::Failure;

/// What went wrong with a question or the event stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// No answer that is of use.
    #[error("{0}")]
    Client(#[from] Failure),
    /// An answer makes no sense.
    #[error("answer refused: {0}")]
    Answer(#[from] AnswerError),
    /// Nobody leads.
    #[error("no Marathon leads")]
    NoLeader,
    /// Another Marathon leads now.
    #[error("another Marathon leads")]
    Moved,
    /// The event stream broke off.
    #[error("the event stream broke off: {0}")]
    Stream(#[from] hyper::Error),
    /// The event stream ended.
    #[error("the event stream ended")]
    StreamEnded,
    /// The event stream is silent.
    #[error("the event stream has been silent for {0:?}")]
    StreamSilent(Duration),
    /// Nothing is wrong; it is time to begin anew.
    #[error("beginning anew")]
    Again,
}

impl Trouble {
    /// Whether a Marathon says by it that it does not offer the event stream.
    pub fn is_refusal(&self) -> bool {
        let Trouble::Client(Failure::Status(status, _)) = self else { return false };
        matches!(status.as_u16(), 400 | 404 | 405 | 406 | 501)
    }

    /// Whether it is about the server and not about what was asked.
    pub fn is_of_server(&self) -> bool {
        match self {
            Trouble::Answer(_) => false,
            Trouble::Client(Failure::Status(status, _)) => matches!(status.as_u16(), 502..=504),
            _ => true,
        }
    }
}
