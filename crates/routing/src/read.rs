//! Labels of one app in, [`Routing`] out; or everything that is wrong with them.
//!
//! ```text
//! each label ──► its entry in the table ──► a draft of its port ──► rules, with the mode that follows
//! ```

use std::sync::Arc;

use thiserror::Error;
use waymark_model::{AppEntry, Protocol, Service};

use crate::checks::{check_of, makes_http};
use crate::draft::{AppDraft, Draft};
use crate::name::{Name, is_ours, suggest};
use crate::table::{Effect, Label, Need};
use crate::value::plain;
use crate::{Balance, HashKey, Mode, PortRouting, Routing, Unapplied};

/// A label that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("label {label}: {reason}")]
pub struct LabelError {
    /// The label's name.
    pub label: String,
    /// What is wrong with its value, and what would be right.
    pub reason: String,
}

/// Reads an app's labels. Labels of others are passed over; ours without effect are listed in
/// [`Routing::unapplied`].
///
/// # Errors
/// Everything that is wrong with values of ours, one entry a label. The values themselves are
/// shown except for passwords' hashes.
pub fn read(app: &AppEntry) -> Result<Routing, Vec<LabelError>> {
    let mut reader = Reader::new(app);
    for (label, value) in &app.labels {
        if is_ours(label) {
            reader.take(label, value);
        }
    }
    reader.finish()
}

struct Reader<'a> {
    app: &'a AppEntry,
    draft: AppDraft,
    ports: Vec<Draft>,
    /// The labels of ports that ask for something.
    given: Vec<(usize, &'a str, &'static Label)>,
    unapplied: Vec<Unapplied>,
    errors: Vec<LabelError>,
}

impl<'a> Reader<'a> {
    fn new(app: &'a AppEntry) -> Reader<'a> {
        Reader {
            app,
            draft: AppDraft::default(),
            ports: app.services.iter().map(|_| Draft::default()).collect(),
            given: Vec::new(),
            unapplied: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Reads one label. They come in order of their names, so that `WAYMARK_` ones come last and
    /// their word stands.
    fn take(&mut self, label: &'a str, value: &str) {
        let known = Name::parse(label).and_then(|name| Some((name, name.label()?)));
        let Some((name, entry)) = known else {
            let reason = match suggest(label) {
                Some(meant) => format!("there is no such label; {meant} is probably meant"),
                None => String::from("there is no such label"),
            };
            return self.unapplied(label, reason);
        };
        let port = name.port.unwrap_or_default();
        let result = match (entry.effect, self.ports.get_mut(port)) {
            (Effect::Elsewhere, _) => return,
            (Effect::App(read), _) => read(&mut self.draft, value),
            (_, None) => {
                let reason = match self.app.services.len() {
                    0 => String::from("the app has no ports"),
                    1 => String::from("the app has one port, with index 0"),
                    n => format!("the app's ports have the indexes 0 to {}", n - 1),
                };
                return self.unapplied(label, reason);
            }
            (Effect::Text(instead), Some(_)) => {
                let instead = instead.replace("_n_", &format!("_{port}_"));
                return self.unapplied(
                    label,
                    format!("it is a piece of HAProxy's configuration: {instead}"),
                );
            }
            (Effect::Port(read), Some(draft)) => {
                if !plain::says_no(value) {
                    self.given.push((port, label, entry));
                }
                read(draft, value)
            }
        };
        if let Err(reason) = result {
            self.error(label, reason);
        }
        let notes = match name.port {
            None => std::mem::take(&mut self.draft.notes),
            Some(port) => {
                self.ports.get_mut(port).map(|d| std::mem::take(&mut d.notes)).unwrap_or_default()
            }
        };
        for note in notes {
            self.unapplied(label, note);
        }
    }

    fn finish(mut self) -> Result<Routing, Vec<LabelError>> {
        let mut drafts = std::mem::take(&mut self.ports);
        for (draft, service) in drafts.iter_mut().zip(&self.app.services) {
            if let Err(reason) = draft.merge() {
                let label = format!("WAYMARK_{}_REWRITE", service.index);
                self.error(&label, reason.to_owned());
            }
        }
        let numbers: Vec<u16> = drafts
            .iter()
            .zip(&self.app.services)
            .map(|(d, s)| d.rules.port.unwrap_or(s.port))
            .collect();
        let mut ports = Vec::with_capacity(drafts.len());
        for ((n, draft), service) in drafts.into_iter().enumerate().zip(&self.app.services) {
            ports.push(Arc::new(self.port(n, draft, service, &numbers)));
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        Ok(Routing { ports, deployment: self.draft.deployment(), unapplied: self.unapplied })
    }

    /// The rules of a port: what follows from its labels together, from the app's and its checks.
    fn port(&mut self, n: usize, draft: Draft, service: &Service, numbers: &[u16]) -> PortRouting {
        let Draft { mut rules, mode, check_port, own_groups, .. } = draft;
        if !own_groups {
            rules.groups.clone_from(&self.draft.groups);
        }
        let (check, borrowed) = check_of(&self.app.health_checks, numbers, n, check_port);
        rules.check = check;
        let datagrams = service.protocol == Protocol::Udp;
        if datagrams {
            rules.hosts.clear();
        }
        // marathon-lb lets a borrowed HTTP check beat even MODE=tcp; here MODE is the last word.
        let checked = check.and_then(|c| self.app.health_checks.get(c.check));
        rules.mode = match mode {
            _ if datagrams => Mode::Tcp,
            Some(mode) => mode,
            None if checked.is_some_and(|c| makes_http(c.protocol, borrowed)) => Mode::Http,
            None if !rules.hosts.is_empty() => Mode::Http,
            None => Mode::Tcp,
        };
        self.needs(n, &rules, service);
        rules
    }

    /// Lists what has no effect for want of something else.
    fn needs(&mut self, n: usize, rules: &PortRouting, service: &Service) {
        let given: Vec<_> = self.given.iter().filter(|g| g.0 == n).copied().collect();
        for (_, label, entry) in given {
            let missing = missing(entry.need, rules, service);
            if entry.name == "AUTH"
                && rules.auth.is_some()
                && rules.mode == Mode::Tcp
                && !rules.hosts.is_empty()
            {
                // Passing connections through would serve them to everybody.
                self.error(label, String::from("nobody can be asked for a password in mode tcp"));
            } else if let Some(missing) = missing {
                self.unapplied(label, missing.replace("_n_", &format!("_{n}_")));
            } else if entry.name == "CHECK_PATH" && !self.asks_for_a_path(rules) {
                let reason = "the app's health check of the port asks for no path";
                self.unapplied(label, String::from(reason));
            } else if entry.name == "BALANCE"
                && rules.mode == Mode::Tcp
                && needs_requests(&rules.balance)
            {
                self.unapplied(label, String::from("in mode tcp the key is the client's address"));
            }
        }
    }

    /// Whether the check of a port is one of HTTP.
    fn asks_for_a_path(&self, rules: &PortRouting) -> bool {
        let check = rules.check.and_then(|check| self.app.health_checks.get(check.check));
        check.is_some_and(|check| makes_http(check.protocol, true))
    }

    fn unapplied(&mut self, label: &str, reason: String) {
        self.unapplied.push(Unapplied { label: label.to_owned(), reason });
    }

    fn error(&mut self, label: &str, reason: String) {
        self.errors.push(LabelError { label: label.to_owned(), reason });
    }
}

/// What a label lacks to have an effect.
fn missing(need: Need, rules: &PortRouting, service: &Service) -> Option<&'static str> {
    let (http, host) = (rules.mode == Mode::Http, !rules.hosts.is_empty());
    let (tcp, udp) = (service.protocol != Protocol::Udp, service.protocol != Protocol::Tcp);
    match need {
        Need::Nothing => None,
        Need::Stream => (!tcp).then_some("the port carries udp"),
        Need::Datagram => (!udp).then_some("the port does not carry udp"),
        _ if !tcp => Some("the port carries udp"),
        Need::Http => (!http).then_some("it needs mode http, see HAPROXY_n_MODE"),
        Need::HttpHost if !host => Some("it needs a host name, see HAPROXY_n_VHOST"),
        Need::HttpHost => (!http).then_some("it needs mode http, see HAPROXY_n_MODE"),
        Need::BackendTls => rules
            .backend
            .tls
            .is_none()
            .then_some("it needs TLS towards tasks, see WAYMARK_n_BACKEND_TLS"),
        Need::Check => rules.check.is_none().then_some("the app has no health check of the port"),
    }
}

fn needs_requests(balance: &Balance) -> bool {
    matches!(balance, Balance::Hash(HashKey::Path | HashKey::Header(_) | HashKey::Cookie(_)))
}
