//! HTTP/1 (RFC 9110, 9112) on both sides.
//!
//! ```text
//! client ─► request ─► route::decide ─► patch ─► exchange ─► upstream
//!        ◄──────────── local answer   ◄ patch ◄─ exchange ◄─┘
//! ```
//!
//! * `field`, `request`, `response`, `chunked`, `body`: what came, strictly read. What two readers
//!   could frame in two ways is refused, never repaired;
//! * `patch`: the head as it goes on, made in one pass;
//! * `connection`: one client's requests, one after the other;
//! * `exchange`: one request and its answer between two sockets;
//! * `forward`: a seat, a connection, an exchange; again where that does no harm.
//!
//! What follows a 101 is relayed as it is (`l4`).
//!
//! An idle connection holds no buffer. Nothing here decides where a request goes.

mod admit;
pub(crate) mod body;
mod chunked;
mod connection;
mod deadline;
mod exchange;
pub(crate) mod field;
mod forward;
mod io;
mod job;
mod patch;
mod reading;
mod request;
pub(crate) mod response;

use thiserror::Error;

pub(crate) use body::{Framing, Progress};
pub(crate) use connection::serve;
pub(crate) use field::{Field, Known, check_trailer, find_end};
pub(crate) use io::{ClientIo, Scratch};
pub(crate) use patch::{HSTS, write_framing, write_line};
pub use reading::{Reading, read_request, read_response};
pub(crate) use request::Request;
pub(crate) use response::{Asked, Response};

/// Why a message is not taken. Shown to the client (requests) or logged (responses).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Malformed, or could be understood in two ways: 400.
    #[error("{0}")]
    Request(&'static str),
    /// 405.
    #[error("{0}")]
    Method(&'static str),
    /// The request line is too long: 414.
    #[error("the request target is too long")]
    LongTarget,
    /// 417.
    #[error("{0}")]
    Expectation(&'static str),
    /// The head is too long, or has too many fields: 431.
    #[error("{0}")]
    TooLarge(&'static str),
    /// A coding that is not known: 501.
    #[error("{0}")]
    Coding(&'static str),
    /// Another version of HTTP: 505.
    #[error("{0}")]
    Version(&'static str),
}

impl Bad {
    /// The status of the answer to a request like this.
    pub(crate) fn status(self) -> u16 {
        match self {
            Bad::Request(_) => 400,
            Bad::Method(_) => 405,
            Bad::LongTarget => 414,
            Bad::Expectation(_) => 417,
            Bad::TooLarge(_) => 431,
            Bad::Coding(_) => 501,
            Bad::Version(_) => 505,
        }
    }
}

/// The longest request target, in bytes; a longer one is 414.
pub(crate) const MAX_TARGET: usize = 16 * 1024;
