//! The event stream: what happens, sent to whoever listens (server-sent events).
//!
//! ```text
//! core, API ──► Handle::announce ──► broadcast ──► one stream a subscriber ──► frames
//! ```
//!
//! Nobody waits for a subscriber: one that falls too far behind is cut off and has to look at the
//! state again after it comes back, as Marathon's clients do. Nothing is replayed.

mod frame;
mod stream;

pub(crate) use stream::attach;
