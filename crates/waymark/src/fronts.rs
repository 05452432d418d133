//! The load balancer's own ports: which of them can be had.
//!
//! A port that somebody asked for and that cannot be had is an error. One that is merely the default
//! gives way with `waymark run`, where most users need none of them and a second Waymark, or a
//! development server on 8000, is common; with `waymark lb` every port is what it is started for.

use std::net::{IpAddr, TcpListener};

use crate::bind::{bind, is_given_to_apps, tcp};
use crate::endpoints::{Endpoints, here};
use crate::run::StartError;
use crate::settings::traffic::OptionalPort;
use crate::settings::{Loaded, Role};
use crate::takeover::{self, Takeover};

/// The ports that were found free, and the listener of the stats port.
#[derive(Debug, Default)]
pub struct Fronts {
    /// Requests by host name and path.
    pub http: Option<u16>,
    /// The same over TLS.
    pub https: Option<u16>,
    /// Requests by `X-Marathon-App-Id`.
    pub appid: Option<u16>,
    /// Statistics: bound, not yet served.
    pub stats: Option<TcpListener>,
    /// Defaults that gave way, one sentence each.
    pub warnings: Vec<String>,
}

impl Fronts {
    /// Those that settings name, without looking whether they can be had.
    pub fn wanted(loaded: &Loaded) -> Fronts {
        let wanted = loaded.fronts();
        Fronts {
            http: wanted.http.number(),
            https: wanted.https.number(),
            appid: wanted.appid.number(),
            ..Fronts::default()
        }
    }

    /// Looks for them; `taken` are the ports that this process listens on already. What the process
    /// before has is not looked for: its numbers stand for ports that were any free one.
    pub fn find(
        loaded: &Loaded,
        taken: &[u16],
        mut before: Option<&mut Takeover>,
    ) -> Result<Fronts, StartError> {
        let s = &loaded.settings;
        let wanted = loaded.fronts();
        let mut fronts = Fronts::default();
        let mut finder = Finder { loaded, taken: taken.to_vec(), warnings: Vec::new() };
        let stats = wanted.stats.number().zip(before.as_mut());
        let stats =
            stats.and_then(|(port, before)| before.listener(takeover::STATS, s.stats_listen, port));
        fronts.stats = match stats {
            Some(inherited) => Some(inherited),
            None => finder.one("stats-port", s.stats_listen, wanted.stats)?,
        };
        let before = before.as_deref();
        let listens = before.and_then(|before| before.endpoints.as_ref());
        // Whoever carries traffic binds its port itself; here it is only made sure that it can.
        let mut number = |setting, port: OptionalPort, listens: Option<&String>| {
            let before = before.and_then(|before| carried(before, s.listen, port, listens));
            if before.is_some() {
                return Ok(before);
            }
            let listener = finder.one(setting, s.listen, port)?;
            Ok::<_, StartError>(listener.and_then(|l| l.local_addr().ok()).map(|a| a.port()))
        };
        fronts.http = number("http-port", wanted.http, listens.and_then(|e| e.http.as_ref()))?;
        fronts.https = number("https-port", wanted.https, listens.and_then(|e| e.https.as_ref()))?;
        fronts.appid = number("appid-port", wanted.appid, listens.and_then(|e| e.appid.as_ref()))?;
        fronts.warnings = finder.warnings;
        Ok(fronts)
    }

    /// Says where they are reached from this machine.
    pub fn tell(&self, listen: IpAddr, endpoints: &mut Endpoints) {
        let at = |port: Option<u16>| Some(here((listen, port?).into()).to_string());
        endpoints.http = at(self.http);
        endpoints.https = at(self.https);
        endpoints.appid = at(self.appid);
        let stats = self.stats.as_ref().and_then(|stats| stats.local_addr().ok());
        endpoints.stats = stats.map(|address| format!("http://{}", here(address)));
    }

    /// The numbers, for whoever must keep away from them.
    pub fn numbers(&self) -> impl Iterator<Item = u16> {
        let stats = self.stats.as_ref().and_then(|s| s.local_addr().ok()).map(|a| a.port());
        [self.http, self.https, self.appid, stats].into_iter().flatten()
    }
}

/// The number of a port that the process before carries traffic from, if it is the one wanted.
fn carried(
    before: &Takeover,
    listen: IpAddr,
    wanted: OptionalPort,
    listens: Option<&String>,
) -> Option<u16> {
    let port = match wanted.number()? {
        0 => listens?.rsplit_once(':')?.1.parse().ok()?,
        port => port,
    };
    before.carries((listen, port).into()).then_some(port)
}

struct Finder<'a> {
    loaded: &'a Loaded,
    taken: Vec<u16>,
    warnings: Vec<String>,
}

impl Finder<'_> {
    fn one(
        &mut self,
        setting: &'static str,
        ip: IpAddr,
        port: OptionalPort,
    ) -> Result<Option<TcpListener>, StartError> {
        let Some(port) = port.number() else { return Ok(None) };
        let gives_way = self.loaded.role == Role::Run && self.loaded.is_default(setting);
        if gives_way && (self.taken.contains(&port) || is_given_to_apps(self.loaded, port)) {
            self.warn(setting, port, "it is given to something else by another setting");
            return Ok(None);
        }
        match bind(self.loaded, setting, ip, port, tcp) {
            Ok(listener) => {
                self.taken.extend(listener.local_addr().map(|a| a.port()));
                Ok(Some(listener))
            }
            Err(error) if gives_way => {
                let text = error.to_string();
                // The way out follows below.
                self.warn(setting, port, text.split(';').next().unwrap_or(&text));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn warn(&mut self, setting: &str, port: u16, why: &str) {
        let why = why.trim_start_matches(&format!("{setting} (default): ")).to_owned();
        self.warnings.push(format!(
            "{setting} is not listened on (its default is {port}): {why}; --{setting} PORT takes \
             another one, --{setting} off none"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Flags, Surroundings, load};

    fn loaded(role: Role, values: &[(&str, &str)]) -> Loaded {
        let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let around = Surroundings { root: true, ..Surroundings::default() };
        load(role, &Flags { config: None, values }, &around).unwrap()
    }

    /// The ports but `stats-port`, as flags.
    const FREE: [(&str, &str); 3] = [("http-port", "0"), ("https-port", "0"), ("appid-port", "0")];

    #[test]
    fn what_was_asked_for_must_be_had() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        for role in [Role::Run, Role::Lb] {
            let loaded = loaded(role, &[&FREE[..], &[("stats-port", &port)]].concat());
            let error = Fronts::find(&loaded, &[], None).unwrap_err().to_string();
            assert!(error.starts_with("--stats-port: cannot listen on 127.0.0.1:"), "{error}");
        }
    }

    #[test]
    fn defaults_give_way() {
        let values = [&FREE[..], &[("local-port-min", "9000")]].concat();
        let fronts = Fronts::find(&loaded(Role::Run, &values), &[], None).unwrap();
        assert!(fronts.stats.is_none() && fronts.http.is_some_and(|port| port > 20000));
        assert_eq!(
            fronts.warnings,
            ["stats-port is not listened on (its default is 9090): it is given to something else \
              by another setting; --stats-port PORT takes another one, --stats-port off none"]
        );
        let fronts = Fronts::find(&loaded(Role::Run, &FREE), &[9090], None).unwrap();
        assert_eq!((fronts.warnings.len(), fronts.numbers().count()), (1, 3));
    }
}
