//! What one HTTP/2 connection may have and do, on both sides; and counters of what met a limit.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A request's or an answer's fields, uncompressed, in bytes (SETTINGS_MAX_HEADER_LIST_SIZE). A
/// request with more is answered 431; a client that goes on far beyond is told to go.
pub(crate) const MAX_HEADER_LIST: u32 = 64 * 1024;

/// The longest frame taken (SETTINGS_MAX_FRAME_SIZE): the least that RFC 9113 allows. A longer one
/// ends the connection with FRAME_SIZE_ERROR.
pub(crate) const MAX_FRAME: u32 = 16 * 1024;

/// Bytes of one body that may be on the way to us before its receiver has taken them.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;

/// The same, for all bodies of a connection together: what a peer can make us hold.
pub(crate) const CONNECTION_WINDOW: u32 = 512 * 1024;

/// The same for a connection to a task, which one slow client among many must not hold up.
pub(crate) const TASK_WINDOW: u32 = 2 * 1024 * 1024;

/// Until a task that was asked what it offers has said so.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of one body that wait for a slow receiver's connection; then its sender has to wait.
pub(crate) const SEND_BUFFER: usize = 32 * 1024;

/// Streams that a peer reset and whose late frames are still recognised; more end the connection.
pub(crate) const MAX_RESET_STREAMS: usize = 64;

/// Streams that a client may reset before they were looked at (CVE-2023-44487).
pub(crate) const MAX_PENDING_RESETS: usize = 32;

/// Streams that we reset because the client broke a rule in them; more end the connection.
pub(crate) const MAX_OUR_RESETS: usize = 256;

/// Resets (CVE-2023-44487) a client may send beyond half of its streams. What is used of it comes
/// back at [`RESETS_PER_SECOND`].
pub(crate) const RESET_BURST: u32 = 100;
/// See [`RESET_BURST`].
pub(crate) const RESETS_PER_SECOND: u32 = 10;

/// PING, SETTINGS, PRIORITY and unknown frames a client may send beyond its streams'. What is used
/// of it comes back at [`CONTROL_PER_SECOND`].
pub(crate) const CONTROL_BURST: u32 = 500;
/// See [`CONTROL_BURST`].
pub(crate) const CONTROL_PER_SECOND: u32 = 50;

/// Until a client that was told to go, and has nothing open, has closed the connection.
pub(crate) const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Heads with 1xx before the final one of an answer; a task that sends more gives no answer (502).
pub(crate) const MAX_INTERIM: usize = 16;

/// Requests at once on one connection to a task; for more another connection is opened. The task's
/// own limit holds if it is lower.
pub(crate) const MAX_TASK_STREAMS: usize = 100;

/// Connections of a worker to one task; when all are full, requests wait for a stream.
pub(crate) const MAX_TASK_CONNECTIONS: usize = 32;

/// What happened on HTTP/2 connections, over all services. Only ever grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections of clients that began with HTTP/2.
    pub connections: AtomicU64,
    /// Streams of clients.
    pub streams: AtomicU64,
    /// Streams that a client reset before their answer was complete.
    pub cancelled: AtomicU64,
    /// Streams refused because the request broke a rule of HTTP/2.
    pub malformed: AtomicU64,
    /// Connections ended because of too many resets.
    pub reset_floods: AtomicU64,
    /// Connections ended because of too many PING, SETTINGS, PRIORITY or unknown frames.
    pub control_floods: AtomicU64,
    /// Connections ended because of another broken rule: header lists, CONTINUATION, frames.
    pub protocol_errors: AtomicU64,
    /// Streams and connections ended because their client took nothing for too long.
    pub stalled: AtomicU64,
    /// Connections told to go because they had no stream for long.
    pub idle_closed: AtomicU64,
    /// Connections opened to tasks that speak HTTP/2.
    pub task_connections: AtomicU64,
}
