//! One request and its answer at a task, whatever protocol the task speaks.
//!
//! Everything is a poll, so that both directions of one exchange move in one task of the event
//! loop without a lock or a channel between them.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use thiserror::Error;

/// The task's side of an exchange. The request's head has been given to whoever made it.
pub(crate) trait Exchange {
    /// Takes contents of the request; ready when it has taken all of `data`.
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<Result<(), Broken>>;

    /// The request ends here. To be called once.
    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken>;

    /// Has what was taken written; ready when nothing is left.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;

    /// The next head of the answer: any number of informational ones (1xx), then the final one.
    /// `scratch` may be used in any way.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<Response<()>, Broken>>;

    /// The next part of the answer's contents.
    fn poll_part(&mut self, cx: &mut Context<'_>, scratch: &mut [u8])
    -> Poll<Result<Part, Broken>>;

    /// The answer, whose final head was read, is complete: neither contents nor trailers follow.
    fn is_complete(&self) -> bool;

    /// Contents that came by `poll_part` have been taken by the client.
    fn release(&mut self, length: usize);
}

/// A part of an answer's contents.
#[derive(Debug)]
pub(crate) enum Part {
    /// Contents.
    Data(Bytes),
    /// The end, after all contents.
    End(Option<HeaderMap>),
}

/// Why an exchange did not go to its end.
#[derive(Debug, Error)]
pub(crate) enum Broken {
    /// The task has not looked at the request, whatever its method: it can go to another one.
    #[error("not processed by the task")]
    NotProcessed,
    /// The connection ended or broke.
    #[error("connection to the task: {0}")]
    Connection(#[from] io::Error),
    /// The task broke a rule of its protocol.
    #[error("answer of the task: {0}")]
    Answer(&'static str),
    /// The task answered a request for an upgrade with contents. Over HTTP/2 its 2xx would mean
    /// that it had agreed (RFC 8441 §5).
    #[error("answer of the task: it does not upgrade")]
    NoUpgrade,
    /// The task reset the stream.
    #[error("reset by the task: {0}")]
    Reset(h2::Reason),
}

impl Broken {
    /// What the client's stream is reset with, when the answer has begun.
    pub(crate) fn reason(&self) -> h2::Reason {
        match self {
            // The client may hear what the task said of the contents, not what it said of the
            // connection between the two of us.
            Broken::Reset(
                reason @ (h2::Reason::NO_ERROR
                | h2::Reason::CANCEL
                | h2::Reason::REFUSED_STREAM
                | h2::Reason::ENHANCE_YOUR_CALM
                | h2::Reason::HTTP_1_1_REQUIRED),
            ) => *reason,
            Broken::NotProcessed => h2::Reason::REFUSED_STREAM,
            _ => h2::Reason::INTERNAL_ERROR,
        }
    }
}
