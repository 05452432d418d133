//! HAProxy mode: the configuration that marathon-lb would write for the catalog's apps, and the ways by which a running
//! HAProxy comes to follow it.
//!
//! Input is the catalog. Output is text ([`Rendered`], pure) and what is done with it (`apply`: validation, HAProxy's
//! runtime API, reloads). It never carries traffic itself.

#![forbid(unsafe_code)]

pub mod apply;
mod rendered;

pub use rendered::{Backend, Refused, Rendered, Server};
