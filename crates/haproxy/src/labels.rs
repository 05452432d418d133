//! What an app's labels say, read with marathon-lb's rules: one table of the labels that are
//! settings, and a reader. (`routing` reads the same names for another balancer: there values are
//! checked more strictly, and some say more.)

use std::collections::BTreeMap;
use std::ops::Bound;

use thiserror::Error;

use crate::template::{Template, of_label};

/// A label that is a setting.
#[derive(Clone, Copy, Debug)]
pub struct SettingLabel {
    /// Its name, without `HAPROXY_` and the port's index.
    pub name: &'static str,
    /// Whether it is about the whole app: `HAPROXY_` and the name.
    pub of_app: bool,
    /// What it may be.
    pub value: &'static str,
    /// What it is when absent.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

const fn app(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    doc: &'static str,
) -> SettingLabel {
    SettingLabel { name, of_app: true, value, default, doc }
}

const fn port(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    doc: &'static str,
) -> SettingLabel {
    SettingLabel { name, of_app: false, value, default, doc }
}

/// All labels that are settings: the app's, then those of a port.
#[rustfmt::skip]
pub const SETTING_LABELS: &[SettingLabel] = &[
    app("GROUP", "list, split at commas", "no group", "The groups of every port without an own GROUP."),
    app("DEPLOYMENT_GROUP", "name", "none", "Apps with the same one are written as one app of this id."),
    app("DEPLOYMENT_STARTED_AT", "date and time", "the beginning of time", "Which of the apps is the newer one."),
    app("DEPLOYMENT_TARGET_INSTANCES", "number", "1", "How many tasks the apps should have together; needed with NEW_INSTANCES."),
    app("DEPLOYMENT_NEW_INSTANCES", "number", "none", "The pair stays mixed: the app that was scaled last counts as the newer."),
    app("DEPLOYMENT_ALT_PORT", "port", "none", "For `waymark zdd` alone."),
    app("DEPLOYMENT_COLOUR", "name", "none", "For `waymark zdd` alone."),
    app("APP_ID", "app id", "none", "Written by `waymark zdd`, read by nobody."),
    port("GROUP", "list, split at commas, blanks kept", "`HAPROXY_GROUP`", "The groups of this port."),
    port("ENABLED", "yes or no", "yes; with `--strict-mode` no", "Whether the port is written at all."),
    port("VHOST", "host names, split at commas", "none", "Host names on ports 80 and 443. Makes the mode http where nothing else decides it."),
    port("PATH", "`path_beg`'s arguments: `-i /a /b`", "every path", "Limits the host names to these paths; makes a BACKEND_WEIGHT of 0 one of 1."),
    port("BACKEND_WEIGHT", "number", "0", "Order of the host rules, greatest first; then by app id and port."),
    port("REDIRECT_TO_HTTPS", "yes or no", "no", "301 from port 80 to https for the host names."),
    port("AUTH", "`realm:user:hash`", "none", "Basic authentication for the host names, on ports 80 and 443."),
    port("USE_HSTS", "yes or no", "no", "Mode http: Strict-Transport-Security with a max-age of half a year."),
    port("SSL_CERT", "path; several as `a.pem crt b.pem`", "no TLS", "TLS on the service port; with `--group-https-by-vhost` the host's certificates too."),
    port("BIND_OPTIONS", "options of `bind`", "none", "Added to the service port's bind; with `--group-https-by-vhost` to the host's too."),
    port("BIND_ADDR", "address", "`*`", "Where the service port is bound."),
    port("PORT", "1 to 65535", "the service port", "Takes the service port's place everywhere."),
    port("MODE", "`http` or `tcp`", "`http` with an HTTP health check or a VHOST, else `tcp`", "HAProxy's mode."),
    port("BALANCE", "algorithm", "`roundrobin`", "How a server is chosen."),
    port("STICKY", "yes or no", "no", "Clients come back to their server, by a cookie."),
    port("BACKEND_NETWORK_ALLOWED_ACL", "addresses and networks, split at blanks", "everybody", "Who may ask, on every port."),
    port("HTTP_BACKEND_PROXYPASS_PATH", "path", "none", "Mode http: taken off the path; Host becomes the first host name."),
    port("HTTP_BACKEND_REVPROXY_PATH", "path", "none", "Mode http: put before the path of Location in answers."),
    port("HTTP_BACKEND_REDIR", "URL or path", "none", "Mode http: where `/` of the host names is redirected to."),
    port("BACKEND_HEALTHCHECK_PORT_INDEX", "index in the order of port numbers, negative from the end", "the port itself", "Which port of a task is checked; a port without check takes over that port's check."),
];

/// A label that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("label {label}: {reason}")]
pub struct LabelError {
    /// Its whole name.
    pub label: String,
    /// What is wrong.
    pub reason: String,
}

/// `realm:user:hash`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Auth {
    pub realm: String,
    pub user: String,
    pub hash: String,
}

/// What the labels of one port say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub groups: Option<Vec<String>>,
    pub enabled: Option<bool>,
    pub vhost: String,
    pub path: String,
    pub weight: i64,
    pub redirect: bool,
    pub auth: Auth,
    pub hsts: bool,
    pub ssl_cert: String,
    pub bind_options: String,
    pub bind_addr: String,
    pub port: Option<u16>,
    pub mode: Option<String>,
    pub balance: String,
    pub sticky: bool,
    pub networks: Vec<String>,
    pub proxypass: String,
    pub revproxy: String,
    pub redir: String,
    pub check_index: Option<i64>,
    /// Templates that this port has of its own.
    pub texts: Vec<(Template, String)>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            groups: None,
            enabled: None,
            vhost: String::new(),
            path: String::new(),
            weight: 0,
            redirect: false,
            auth: Auth::default(),
            hsts: false,
            ssl_cert: String::new(),
            bind_options: String::new(),
            bind_addr: String::from("*"),
            port: None,
            mode: None,
            balance: String::from("roundrobin"),
            sticky: false,
            networks: Vec::new(),
            proxypass: String::new(),
            revproxy: String::new(),
            redir: String::new(),
            check_index: None,
            texts: Vec::new(),
        }
    }
}

impl Rules {
    /// Reads the labels of the port at this position. They come in the order of their names, on
    /// which BACKEND_WEIGHT and PATH depend.
    ///
    /// # Errors
    /// The first label that makes no sense.
    pub fn read(labels: &BTreeMap<String, String>, n: usize) -> Result<Rules, LabelError> {
        let prefix = format!("HAPROXY_{n}_");
        let mut rules = Rules::default();
        let begin = labels.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        for (label, value) in begin.take_while(|(label, _)| label.starts_with(&prefix)) {
            let name = label.get(prefix.len()..).unwrap_or_default();
            rules
                .take(name, value)
                .map_err(|reason| LabelError { label: label.clone(), reason })?;
        }
        Ok(rules)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "GROUP" => self.groups = Some(groups(value)),
            "ENABLED" => self.enabled = Some(says_yes(value)),
            "VHOST" => self.vhost = value.to_lowercase(),
            "PATH" => {
                self.path = value.to_owned();
                if self.weight == 0 {
                    self.weight = 1;
                }
            }
            "BACKEND_WEIGHT" => self.weight = whole_number(value)?,
            "REDIRECT_TO_HTTPS" => self.redirect = says_yes(value),
            "AUTH" => self.auth = auth(value)?,
            "USE_HSTS" => self.hsts = says_yes(value),
            "SSL_CERT" => self.ssl_cert = value.to_owned(),
            "BIND_OPTIONS" => self.bind_options = value.to_owned(),
            "BIND_ADDR" => self.bind_addr = value.to_owned(),
            "PORT" => self.port = Some(port_number(value)?),
            "MODE" => self.mode = Some(value.to_lowercase()),
            "BALANCE" => self.balance = value.to_owned(),
            "STICKY" => self.sticky = says_yes(value),
            "BACKEND_NETWORK_ALLOWED_ACL" => self.networks = networks(value)?,
            "HTTP_BACKEND_PROXYPASS_PATH" => self.proxypass = value.to_owned(),
            "HTTP_BACKEND_REVPROXY_PATH" => self.revproxy = value.to_owned(),
            "HTTP_BACKEND_REDIR" => self.redir = value.to_owned(),
            "BACKEND_HEALTHCHECK_PORT_INDEX" => self.check_index = Some(whole_number(value)?),
            _ => {
                if let Some(template) = of_label(name) {
                    self.texts.push((template, value.replace("\r\n", "\n")));
                }
            }
        }
        Ok(())
    }

    /// The port's own text of a template.
    pub fn text(&self, template: Template) -> Option<&str> {
        let mut texts = self.texts.iter();
        texts.find(|(own, _)| *own == template).map(|(_, text)| text.as_str())
    }

    /// The host names, without blanks around them; none where there is no VHOST.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.vhost.split(',').map(str::trim).filter(|host| !host.is_empty())
    }
}

/// `HAPROXY_GROUP` and its like: blanks stay, as in marathon-lb.
pub(crate) fn groups(value: &str) -> Vec<String> {
    value.split(',').map(str::to_owned).collect()
}

/// marathon-lb's idea of yes; everything else is no.
fn says_yes(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "true" | "t" | "yes" | "y")
}

/// A whole number as Python's `int` reads it.
pub(crate) fn whole_number(value: &str) -> Result<i64, String> {
    let text = value.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let separated = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let number = text.replace('_', "").parse().ok().filter(|_| separated && plain);
    number.ok_or_else(|| format!("{value:?} is no whole number"))
}

fn port_number(value: &str) -> Result<u16, String> {
    let number = u16::try_from(whole_number(value)?).ok().filter(|port| *port != 0);
    number.ok_or_else(|| format!("{value:?} is no port number"))
}

fn auth(value: &str) -> Result<Auth, String> {
    let mut parts = value.split(':').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(realm), Some(user), Some(hash), None) => Ok(Auth { realm, user, hash }),
        // The value is a secret and not shown.
        _ => Err(String::from("it has not the form realm:user:hash")),
    }
}

fn networks(value: &str) -> Result<Vec<String>, String> {
    let networks: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
    // Nobody meant everybody by blanks.
    match networks.is_empty() && !value.is_empty() {
        true => Err(String::from("it names no network")),
        false => Ok(networks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{LabelUse, templates};

    fn read(labels: &[(&str, &str)]) -> Result<Rules, LabelError> {
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Rules::read(&labels, 0)
    }

    #[test]
    fn there_are_59_labels_of_ports() {
        let settings = SETTING_LABELS.iter().filter(|label| !label.of_app).count();
        let texts = templates().iter().filter(|entry| entry.label != LabelUse::No).count();
        assert_eq!((settings, texts), (20, 39));
    }

    #[test]
    fn every_setting_is_read() {
        for label in SETTING_LABELS.iter().filter(|label| !label.of_app) {
            let name = format!("HAPROXY_0_{}", label.name);
            let value = match label.name {
                "AUTH" => "a:b:c",
                "ENABLED" | "STICKY" | "USE_HSTS" | "REDIRECT_TO_HTTPS" => "yes",
                _ => "7",
            };
            assert_ne!(read(&[(&name, value)]).unwrap(), Rules::default(), "{name}");
        }
    }

    #[test]
    fn values() {
        let weight = |labels: &[_]| read(labels).unwrap().weight;
        assert_eq!(weight(&[("HAPROXY_0_PATH", "/a"), ("HAPROXY_0_BACKEND_WEIGHT", "0")]), 1);
        assert_eq!(
            weight(&[("HAPROXY_0_PATH", "/a"), ("HAPROXY_0_BACKEND_WEIGHT", " -1_0 ")]),
            -10
        );
        assert_eq!(
            read(&[("HAPROXY_00_PATH", "/a"), ("HAPROXY_1_PATH", "/")]),
            Ok(Rules::default())
        );
        let yes = |text| read(&[("HAPROXY_0_STICKY", text)]).unwrap().sticky;
        assert!(yes("T") && yes("YES") && !yes("1") && !yes("on"));
        for (label, value) in [
            ("AUTH", "a:b"),
            ("AUTH", "a:b:c:d"),
            ("PORT", "0"),
            ("PORT", "70000"),
            ("PORT", "eighty"),
            ("BACKEND_WEIGHT", "1.5"),
            ("BACKEND_WEIGHT", ""),
            ("BACKEND_HEALTHCHECK_PORT_INDEX", "_1"),
            ("BACKEND_NETWORK_ALLOWED_ACL", " "),
        ] {
            let name = format!("HAPROXY_0_{label}");
            assert_eq!(read(&[(&name, value)]).unwrap_err().label, name, "{value}");
        }
    }

    #[test]
    fn a_label_of_a_template_is_kept_as_it_is() {
        let rules =
            read(&[("HAPROXY_0_BACKEND_HEAD", "a\r\nb {"), ("HAPROXY_0_HEAD", "x")]).unwrap();
        assert_eq!(rules.texts, [(Template::BackendHead, "a\nb {".to_owned())]);
        assert_eq!(rules.text(Template::BackendHead), Some("a\nb {"));
        assert_eq!(rules.text(Template::FrontendHead), None);
    }
}
