//! How tasks are spoken to.

use std::path::PathBuf;

use super::host;
use crate::{BackendTls, HostPattern, ProxyVersion};

/// `WAYMARK_n_BACKEND_TLS`
pub(crate) fn tls(text: &str) -> Result<Option<BackendTls>, String> {
    match text.trim() {
        "" | "off" => Ok(None),
        "on" => Ok(Some(BackendTls::default())),
        "insecure" => Ok(Some(BackendTls { insecure: true, ..BackendTls::default() })),
        other => Err(format!("{other:?} is none of on, insecure and off")),
    }
}

/// `WAYMARK_n_BACKEND_CA`
pub(crate) fn file(text: &str) -> Result<PathBuf, String> {
    match text.trim() {
        "" => Err(String::from("it names no file")),
        path => Ok(PathBuf::from(path)),
    }
}

/// `WAYMARK_n_BACKEND_SERVER_NAME`
pub(crate) fn server_name(text: &str) -> Result<String, String> {
    match host::list(text)?.as_slice() {
        [HostPattern::Exact(name)] => Ok(name.clone()),
        _ => Err(format!("{text:?} is not one host name")),
    }
}

/// `WAYMARK_n_SEND_PROXY`
pub(crate) fn proxy_version(text: &str) -> Result<Option<ProxyVersion>, String> {
    match text.trim() {
        "" | "off" => Ok(None),
        "v1" => Ok(Some(ProxyVersion::V1)),
        "v2" => Ok(Some(ProxyVersion::V2)),
        other => Err(format!("{other:?} is none of v1, v2 and off")),
    }
}
