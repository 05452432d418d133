//! Asking servers over HTTP: connections, TLS, credentials, redirects, bodies. What every source has
//! in common.
//!
//! ```text
//! Origin, Ask ─► connect ─► TLS ─► Authorization ─► redirects ─► status 200 ─► body
//! ```
//!
//! Certificates are verified unless the settings say otherwise, and credentials go to the servers
//! of the settings and to nobody else, wherever a redirect may point. Secrets are never logged.

mod config;
mod failure;
mod http;
mod login;
mod origin;
mod rest;
mod tls;

pub use config::{Auth, ClientError, IamConfig, TlsConfig};
pub use rest::{NoAnswer, Reply, Rest};

pub(crate) use failure::Failure;
pub(crate) use http::{Ask, Client, MAX_BODY};
pub(crate) use login::Credentials;
pub(crate) use origin::Origin;
pub(crate) use tls::connector;

/// Work on so few bytes is done where it comes up.
const SMALL: usize = 256 * 1024;

/// Work on `length` bytes, beside the tasks of the runtime when it is much.
pub(crate) async fn blocking<T: Send + 'static>(
    length: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    if length < SMALL {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::Interrupted)
}
