//! Paths.

use waymark_http::query::percent_decode;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/v1/version`
    Version,
    /// `/v1/config`
    Config,
    /// `/v1/hosts/{host}`
    Host(String),
    /// `/v1/hosts/{host}/ports`
    HostPorts,
    /// `/v1/services/{service}`
    Service(String),
    /// `/v1/enumerate`
    Enumerate,
    /// `/v1/axfr`
    Axfr,
    /// `/v1/watch`: Waymark's own.
    Watch,
    /// `/v1/lease`: Waymark's own.
    Lease,
    /// `/v1/ready`: Waymark's own.
    Ready,
    /// `/metrics`: Waymark's own.
    Metrics,
}

impl Resource {
    /// The resource that a path names. Percent-encoding is undone first, so that an encoded slash
    /// parts segments; one slash at the end does not count.
    pub fn find(path: &str) -> Option<Resource> {
        let path = percent_decode(path)?;
        let path = path.strip_suffix('/').unwrap_or(&path);
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        Some(match segments.as_slice() {
            ["v1", "version"] => Resource::Version,
            ["v1", "config"] => Resource::Config,
            ["v1", "hosts", host] if !host.is_empty() => Resource::Host((*host).to_owned()),
            ["v1", "hosts", host, "ports"] if !host.is_empty() => Resource::HostPorts,
            ["v1", "services", name] if !name.is_empty() => Resource::Service((*name).to_owned()),
            ["v1", "enumerate"] => Resource::Enumerate,
            ["v1", "axfr"] => Resource::Axfr,
            ["v1", "watch"] => Resource::Watch,
            ["v1", "lease"] => Resource::Lease,
            ["v1", "ready"] => Resource::Ready,
            ["metrics"] => Resource::Metrics,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Resource::*;
    use super::*;

    #[test]
    fn paths() {
        for (path, want) in [
            ("/v1/version", Some(Version)),
            ("/v1/version/", Some(Version)),
            ("/v1/hosts/web.marathon.mesos", Some(Host("web.marathon.mesos".to_owned()))),
            ("/v1/hosts/web%2emarathon.mesos.", Some(Host("web.marathon.mesos.".to_owned()))),
            ("/v1/hosts/a%2Fb", None),
            ("/v1/hosts/a%2Fports", Some(HostPorts)),
            ("/v1/hosts/a/ports/", Some(HostPorts)),
            ("/v1/services/_a._tcp.b", Some(Service("_a._tcp.b".to_owned()))),
            ("/v1/hosts/", None),
            ("/v1/hosts//", None),
            ("/v1/enumerate", Some(Enumerate)),
            ("/v1/axfr", Some(Axfr)),
            ("/v1/watch", Some(Watch)),
            ("/v1/lease", Some(Lease)),
            ("/metrics", Some(Metrics)),
            ("/", None),
            ("/v1", None),
            ("/v1/nothing", None),
            ("/v1/hosts/%zz", None),
            ("*", None),
        ] {
            assert_eq!(Resource::find(path), want, "{path}");
        }
    }
}
