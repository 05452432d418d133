//! Serving HTTP/1.1: connections are accepted, bounded, encrypted where that is wanted, handed to
//! whoever answers, and ended in order.
//!
//! ```text
//! listener ──► connection (limit, TLS, write deadline) ──► hyper ──► the handler's answer
//!     ▲                                                                  │
//!   stop: no new connections; idle ones end; open requests get a while
//! ```
//!
//! Nothing here knows what is asked for. A handler is never called for what is beyond a limit.

mod basic;
pub mod origin;
pub mod query;
mod server;
mod tls;
mod write_deadline;

pub use basic::{BasicAuth, CHALLENGE};
pub use server::{Limits, serve, stop_asked};
pub use tls::{Tls, TlsError};
pub use write_deadline::WriteDeadline;
