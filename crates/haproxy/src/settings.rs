//! What the whole text depends on beside the apps: marathon-lb's flags, as values.

use std::collections::BTreeSet;

use crate::apply::Version;

/// marathon-lb's flags that the text depends on, and where Waymark has a choice that marathon-lb
/// has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `--group`: only services of these groups; `*` takes all.
    pub groups: BTreeSet<String>,
    /// `--strict-mode`: services are hidden unless `HAPROXY_n_ENABLED` says yes.
    pub strict: bool,
    /// `--health-check`: tasks of apps with checks are left out until one of them passes.
    pub health_check: bool,
    /// Not `--dont-bind-http-https`: whether there are frontends for 80 and 443.
    pub bind_http_https: bool,
    /// `--ssl-certs`: certificates on 443; none = [`Settings::USUAL_CERTIFICATE`].
    pub ssl_certs: Vec<String>,
    /// `--haproxy-map`: hosts and app ids are looked up in files.
    pub maps: bool,
    /// `--group-https-by-vhost`: a TLS frontend of its own for each host name.
    pub group_https_by_vhost: bool,
    /// Folder of `--haproxy-config`, in which the map files are; without a slash at its end.
    pub config_dir: String,
    /// Which HAProxy will read the text.
    pub haproxy: Version,
    /// `FRAMEWORK_NAME`: the app with this id (without leading slash) is passed over.
    pub framework_name: Option<String>,
    /// Whether tasks that are about to be stopped stay, disabled. marathon-lb drops them.
    pub keep_draining: bool,
    /// What the default `HEAD` says.
    pub head: Head,
}

/// What the default `HEAD` template says; none of it matters when the template is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `HAPROXY_GLOBAL_DEFAULT_OPTIONS`: comma list of `option` lines in `defaults`.
    pub default_options: String,
    /// HAProxy's control socket.
    pub socket: String,
    /// Whether the socket may change servers. marathon-lb's may not, and never needs to.
    pub socket_admin: bool,
    /// Folder of the file with the servers' state, for reloads; `None` = the state is not kept.
    pub state_dir: Option<String>,
    /// Where statistics, metrics and the endpoints are served.
    pub stats_bind: String,
    /// Whether HAProxy was built with its Prometheus exporter.
    pub prometheus: bool,
    /// Who answers marathon-lb's endpoints.
    pub endpoints: Endpoints,
    /// How long an old process may finish its connections after a reload, in seconds.
    pub hard_stop_after: Option<u32>,
}

/// Who answers `/_haproxy_getconfig` and its like on the statistics port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// marathon-lb's Lua files, in this folder.
    Lua(String),
    /// Somebody at this `host:port`, to whom HAProxy forwards.
    Forward(String),
    /// Nobody.
    None,
}

impl Settings {
    /// marathon-lb's certificate where none is named.
    pub const USUAL_CERTIFICATE: &'static str = "/etc/ssl/cert.pem";

    /// marathon-lb's defaults, for these groups.
    pub fn new(groups: impl IntoIterator<Item = String>) -> Settings {
        Settings {
            groups: groups.into_iter().collect(),
            strict: false,
            health_check: false,
            bind_http_https: true,
            ssl_certs: Vec::new(),
            maps: false,
            group_https_by_vhost: false,
            config_dir: String::from("/etc/haproxy"),
            haproxy: Version::MARATHON_LB,
            framework_name: None,
            keep_draining: false,
            head: Head::default(),
        }
    }

    /// Whether a service with these groups is taken.
    pub(crate) fn takes<'a>(&self, mut groups: impl Iterator<Item = &'a str>) -> bool {
        self.groups.contains("*") || groups.any(|group| self.groups.contains(group))
    }

    /// The certificates on 443, each once.
    pub(crate) fn certificates(&self) -> Vec<&str> {
        if self.ssl_certs.is_empty() {
            return vec![Settings::USUAL_CERTIFICATE];
        }
        let mut seen = BTreeSet::new();
        self.ssl_certs.iter().map(String::as_str).filter(|cert| seen.insert(*cert)).collect()
    }
}

impl Default for Head {
    /// marathon-lb's, but that the socket may change servers.
    fn default() -> Head {
        Head {
            default_options: String::from("redispatch,http-server-close,dontlognull"),
            socket: String::from("/var/run/haproxy/socket"),
            socket_admin: true,
            state_dir: Some(String::from("/var/state/haproxy/")),
            stats_bind: String::from("0.0.0.0:9090"),
            prometheus: true,
            endpoints: Endpoints::Lua(String::from("/marathon-lb")),
            hard_stop_after: None,
        }
    }
}
