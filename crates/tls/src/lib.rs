//! What every room that speaks TLS as a client needs, written once: which authorities are trusted,
//! and the check of certificates that is none.
//!
//! In: PEM files, the system's store. Out: parts of a `rustls` configuration. Nothing here opens a
//! connection or decides whether a certificate may go unchecked: that is for the caller to argue.

mod any_certificate;
mod authorities;

pub use any_certificate::AnyCertificate;
pub use authorities::{AuthorityError, authorities, certificates, system_authorities};
