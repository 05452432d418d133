//! The ports that the load balancer itself has, besides the apps' service ports.

use super::Loaded;
use super::table::Role;
use super::traffic::OptionalPort;

/// The load balancer's own ports, as settings and surroundings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fronts {
    /// Requests by host name and path.
    pub http: OptionalPort,
    /// The same over TLS.
    pub https: OptionalPort,
    /// Requests by `X-Marathon-App-Id`.
    pub appid: OptionalPort,
    /// Statistics.
    pub stats: OptionalPort,
}

impl Fronts {
    /// Each setting's name with its port, for those that are listened on.
    pub fn each(self) -> impl Iterator<Item = (&'static str, u16)> {
        let all = [
            ("http-port", self.http),
            ("https-port", self.https),
            ("appid-port", self.appid),
            ("stats-port", self.stats),
        ];
        all.into_iter().filter_map(|(name, port)| Some((name, port.number()?)))
    }
}

impl Loaded {
    /// The load balancer's own ports.
    pub fn fronts(&self) -> Fronts {
        let s = &self.settings;
        let privileged = self.role == Role::Lb || self.root && !s.listen.is_loopback();
        let default =
            |port, else_port| OptionalPort::Port(if privileged { port } else { else_port });
        let shared = |given: Option<OptionalPort>, default| match s.dont_bind_http_https {
            true => OptionalPort::Off,
            false => given.unwrap_or(default),
        };
        let fronts = Fronts {
            http: shared(s.http_port, default(80, 8000)),
            https: shared(s.https_port, default(443, 8443)),
            appid: s.appid_port,
            stats: s.stats_port,
        };
        match self.role == Role::Run && s.no_proxy {
            true => Fronts {
                http: OptionalPort::Off,
                https: OptionalPort::Off,
                appid: OptionalPort::Off,
                stats: OptionalPort::Off,
            },
            false => fronts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Flags, Surroundings, load};

    fn ports(role: Role, root: bool, values: &[(&str, &str)]) -> Vec<u16> {
        let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let environment = [("HOME".to_owned(), "/home/ann".to_owned())].into();
        let around = Surroundings { root, environment };
        let loaded = load(role, &Flags { config: None, values }, &around).unwrap();
        loaded.fronts().each().map(|(_, port)| port).collect()
    }

    #[test]
    fn defaults_depend_on_command_user_and_address() {
        let any = [("listen", "0.0.0.0")];
        for (role, root, values, want) in [
            (Role::Run, true, &[][..], &[8000, 8443, 9091, 9090][..]),
            (Role::Run, true, &any, &[80, 443, 9091, 9090]),
            (Role::Run, false, &any, &[8000, 8443, 9091, 9090]),
            (Role::Run, false, &[("no-proxy", "true")], &[]),
            (Role::Lb, false, &[], &[80, 443, 9091, 9090]),
            (Role::Lb, true, &[("listen", "127.0.0.1")], &[80, 443, 9091, 9090]),
            (Role::Lb, true, &[("dont-bind-http-https", "true")], &[9091, 9090]),
            (Role::Lb, true, &[("http-port", "0"), ("https-port", "off")], &[0, 9091, 9090]),
        ] {
            assert_eq!(ports(role, root, values), want, "{role:?} {root} {values:?}");
        }
    }
}
