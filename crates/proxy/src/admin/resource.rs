//! Which resource a path names. Pure.

/// Something that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `/haproxy?stats`
    Stats,
    /// `/haproxy?stats;csv`
    StatsCsv,
    /// `/_haproxy_health_check`
    HealthCheck,
    /// `/_haproxy_getvhostmap`
    VhostMap,
    /// `/_haproxy_getappmap`
    AppMap,
    /// `/_haproxy_getpids`
    Pids,
    /// `/_haproxy_getconfig`
    Config,
    /// `/_mlb_signal/{signal}`
    Signal(String),
    /// `/metrics`
    Metrics,
    /// `/v1/status`
    Status,
    /// `/v1/routes`
    Routes,
    /// `/v1/services`
    Services,
    /// `/v1/services/{id}`
    Service(String),
    /// `/v1/quarantine`
    Quarantine,
    /// `/v1/certificates`
    Certificates,
    /// `/v1/source`
    Source,
    /// `/v1/explain`
    Explain,
}

impl Resource {
    /// The resource of a request's path and query.
    pub(super) fn find(path: &str, query: Option<&str>) -> Option<Resource> {
        let path = waymark_http::query::percent_decode(path)?;
        Some(match path.as_str() {
            "/" => Resource::Stats,
            // HAProxy takes what follows the semicolon as an option of its page.
            "/haproxy" if query.is_some_and(|q| q.split(';').any(|part| part == "csv")) => {
                Resource::StatsCsv
            }
            "/haproxy" => Resource::Stats,
            "/_haproxy_health_check" => Resource::HealthCheck,
            "/_haproxy_getvhostmap" => Resource::VhostMap,
            "/_haproxy_getappmap" => Resource::AppMap,
            "/_haproxy_getpids" => Resource::Pids,
            "/_haproxy_getconfig" => Resource::Config,
            "/metrics" => Resource::Metrics,
            "/v1/status" => Resource::Status,
            "/v1/routes" => Resource::Routes,
            "/v1/services" => Resource::Services,
            "/v1/quarantine" => Resource::Quarantine,
            "/v1/certificates" => Resource::Certificates,
            "/v1/source" => Resource::Source,
            "/v1/explain" => Resource::Explain,
            path => {
                if let Some(signal) = path.strip_prefix("/_mlb_signal/") {
                    return Some(Resource::Signal(signal.to_owned()));
                }
                let id = path.strip_prefix("/v1/services/").filter(|id| !id.is_empty())?;
                Resource::Service(id.to_owned())
            }
        })
    }

    /// Whether it is one of Waymark's own views of routes, which the API of `waymark run` has too.
    pub(super) fn is_view(&self) -> bool {
        use Resource::{Certificates, Explain, Quarantine, Routes, Service, Services, Source};
        matches!(
            self,
            Routes | Services | Service(_) | Quarantine | Certificates | Source | Explain
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        for (path, query, want) in [
            ("/haproxy", Some("stats"), Some(Resource::Stats)),
            ("/haproxy", Some("stats;csv"), Some(Resource::StatsCsv)),
            ("/haproxy", Some("stats;csv;norefresh"), Some(Resource::StatsCsv)),
            ("/_mlb_signal/hup", None, Some(Resource::Signal("hup".into()))),
            ("/v1/services/shop/web:0", None, Some(Resource::Service("shop/web:0".into()))),
            ("/v1/services/%2Fshop%2Fweb", None, Some(Resource::Service("/shop/web".into()))),
            ("/v1/services/", None, None),
            ("/v1", None, None),
            ("/haproxyx", None, None),
        ] {
            assert_eq!(Resource::find(path, query), want, "{path}");
        }
        assert!(Resource::Routes.is_view() && !Resource::Signal("hup".into()).is_view());
    }
}
