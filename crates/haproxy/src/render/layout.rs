//! All services' forms in the order of the file.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use super::form::Form;
use super::vhost::{Groups, Step, Vhost};
use crate::service::names::cleaned;
use crate::template::format::{FormatError, Value, Values};
use crate::template::{Template, Templates};
use crate::{Conflict, Rendered, Settings};

/// Where hosts' backends are looked up.
const DOMAIN_MAP: &str = "domain2backend.map";
/// Where apps' backends are looked up.
const APP_MAP: &str = "app2backend.map";

/// A shared template that cannot be filled in.
#[derive(Debug)]
pub(super) struct SharedFault {
    pub template: Template,
    pub error: FormatError,
}

/// Puts the forms, in the order of app ids and ports, into one text.
///
/// # Errors
/// A shared template that cannot be filled in.
pub(super) fn layout(
    forms: &[&Form],
    settings: &Settings,
    templates: &Templates,
) -> Result<Rendered, SharedFault> {
    let mut rendered = Rendered::default();
    let forms = without_conflicts(forms, &mut rendered.conflicts);
    let shared = Shared { settings, templates };
    let mut config = String::with_capacity(4096 + forms.iter().map(|f| size(f)).sum::<usize>());
    shared.fill(Template::Head, &[], &mut config)?;
    forms.iter().for_each(|form| config.push_str(&form.userlist));
    let mut hosts = Hosts::default();
    if settings.bind_http_https {
        forms.iter().for_each(|form| hosts.take(form, settings.group_https_by_vhost));
        shared.fill(Template::HttpFrontendHead, &[], &mut config)?;
        push_rules(&mut hosts.http, &mut config);
    }
    shared.fill(Template::HttpFrontendAppidHead, &[], &mut config)?;
    let app_map = push_app_ids(&forms, settings, &mut config);
    if settings.bind_http_https {
        shared.push_https(&mut hosts, &mut config)?;
    }
    forms.iter().for_each(|form| config.push_str(&form.frontend));
    rendered.frame = String::with_capacity(config.len() + config.len() / 2);
    rendered.frame.push_str(&config);
    for form in &forms {
        config.push_str(&form.head);
        config.push_str(&form.lines);
        rendered.frame.push_str(&form.head);
        if form.parsed.servers.iter().any(|server| server.templated) {
            rendered.frame.push_str(&form.lines);
        }
    }
    rendered.config = config;
    let backend = |form: &&Form| (form.backend.clone(), form.parsed.clone());
    rendered.backends = forms.iter().map(backend).collect();
    // Without maps marathon-lb leaves the files there, empty.
    rendered.maps = [(DOMAIN_MAP, hosts.map), (APP_MAP, app_map)]
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text))
        .collect();
    Ok(rendered)
}

fn size(form: &Form) -> usize {
    // Host rules: twice a few hundred letters.
    let rules = if form.vhost.is_some() { 512 } else { 0 };
    form.userlist.len() + form.frontend.len() + form.head.len() + form.lines.len() + rules + 128
}

/// Leaves out services whose name is taken, and notes who shares a port.
fn without_conflicts<'a>(forms: &[&'a Form], conflicts: &mut Vec<Conflict>) -> Vec<&'a Form> {
    let mut names: HashMap<&str, &Form> = HashMap::with_capacity(forms.len());
    let mut binds: HashMap<&str, &Form> = HashMap::with_capacity(forms.len());
    let mut kept = Vec::with_capacity(forms.len());
    for form in forms {
        if let Some(first) = names.get(form.backend.as_str()) {
            conflicts.push(Conflict::Name {
                backend: form.backend.clone(),
                written: first.app.to_string(),
                left_out: form.app.to_string(),
            });
            continue;
        }
        names.insert(&form.backend, form);
        match binds.get(form.bind.as_str()) {
            None => {
                binds.insert(&form.bind, form);
            }
            Some(first) => conflicts.push(Conflict::Bind {
                address: form.bind.rsplit_once(':').map_or("", |(host, _)| host).to_owned(),
                port: form.port,
                backends: [first.backend.clone(), form.backend.clone()],
            }),
        }
        kept.push(*form);
    }
    kept
}

/// Greatest weight first; within one weight the order of services.
fn push_rules(rules: &mut [(i64, String)], out: &mut String) {
    rules.sort_by_key(|(weight, _)| Reverse(*weight));
    rules.iter().for_each(|(_, text)| out.push_str(text));
}

/// The rules of the frontend on 9091; returns the map.
fn push_app_ids(forms: &[&Form], settings: &Settings, out: &mut String) -> String {
    let mut map = String::new();
    let mut apps = HashSet::new();
    for form in forms {
        let Some(text) = form.appid.as_ref().filter(|_| apps.insert(&*form.app)) else { continue };
        if !settings.maps {
            out.push_str(text);
            continue;
        }
        if map.is_empty() {
            out.push_str(text);
        }
        // Writing to a String cannot fail.
        let _ = writeln!(map, "{} {}", form.app, form.backend);
    }
    map
}

/// What is collected for ports 80 and 443.
#[derive(Default)]
struct Hosts {
    http: Vec<(i64, String)>,
    https: Vec<(i64, String)>,
    groups: Groups,
    map: String,
    mapped: HashSet<(String, String)>,
    asked_on_http: bool,
    asked_on_https: bool,
}

impl Hosts {
    fn take(&mut self, form: &Form, grouped: bool) {
        let Some(vhost) = &form.vhost else { return };
        if grouped {
            self.take_binds(vhost);
        }
        let mut weight = vhost.weight;
        let (mut http, mut https) = (String::new(), String::new());
        for step in &vhost.steps {
            match step {
                Step::Http(text) => http.push_str(text),
                Step::Https(text) => https.push_str(text),
                Step::HttpsHost(host, text) => {
                    https.push_str(text);
                    self.group(host, weight, text);
                }
                Step::Grouped(host, text) => self.group(host, weight, text),
                Step::HttpMap(line) if !self.asked_on_http => {
                    // A map without an answer ends the search: it must be asked last.
                    (self.asked_on_http, weight) = (true, -1);
                    http.push_str(line);
                }
                Step::HttpsMap(host, line) => {
                    if !self.asked_on_https {
                        (self.asked_on_https, weight) = (true, -1);
                        https.push_str(line);
                    }
                    self.group_map(host, line);
                }
                Step::HttpMap(_) => {}
                Step::Entry(host) => self.map_entry(host, &form.backend),
            }
        }
        self.http.push((weight, http));
        self.https.push((weight, https));
    }

    fn take_binds(&mut self, vhost: &Vhost) {
        for host in &vhost.hosts {
            let group = self.groups.entry(host.clone()).or_default();
            let add = |list: &mut Vec<String>, text: &String| {
                if !text.is_empty() && !list.contains(text) {
                    list.push(text.clone());
                }
            };
            add(&mut group.certificates, &vhost.ssl_cert);
            add(&mut group.options, &vhost.bind_options);
        }
    }

    fn group(&mut self, host: &str, weight: i64, text: &str) {
        if let Some(group) = self.groups.get_mut(host) {
            group.rules.push((weight, text.to_owned()));
        }
    }

    /// Every host's own frontend asks the map once. (marathon-lb has the first host's do so, and gives the
    /// others none.)
    fn group_map(&mut self, host: &str, line: &str) {
        if let Some(group) = self.groups.get_mut(host).filter(|group| !group.asks_map) {
            group.asks_map = true;
            group.rules.push((-1, line.to_owned()));
        }
    }

    fn map_entry(&mut self, host: &str, backend: &str) {
        if self.mapped.insert((host.to_owned(), backend.to_owned())) {
            // Writing to a String cannot fail.
            let _ = writeln!(self.map, "{host} {backend}");
        }
    }
}

/// What is the same for all services.
#[derive(Clone, Copy)]
struct Shared<'a> {
    settings: &'a Settings,
    templates: &'a Templates,
}

impl Shared<'_> {
    fn fill(
        self,
        template: Template,
        values: Values<'_>,
        out: &mut String,
    ) -> Result<(), SharedFault> {
        let filled = self.templates.get(template).fill(values, out);
        filled.map_err(|error| SharedFault { template, error })
    }

    fn push_https(self, hosts: &mut Hosts, out: &mut String) -> Result<(), SharedFault> {
        let certificates = arguments(self.settings.certificates().into_iter());
        if self.settings.group_https_by_vhost {
            return self.push_groups(&mut hosts.groups, &certificates, out);
        }
        let values = &[("sslCerts", Value::Text(&certificates))];
        self.fill(Template::HttpsFrontendHead, values, out)?;
        push_rules(&mut hosts.https, out);
        Ok(())
    }

    fn push_groups(
        self,
        groups: &mut Groups,
        usual: &str,
        out: &mut String,
    ) -> Result<(), SharedFault> {
        self.fill(Template::HttpsGroupedFrontendHead, &[], out)?;
        let names: BTreeMap<String, String> =
            groups.keys().map(|host| (host.clone(), cleaned(host))).collect();
        for (host, name) in &names {
            let values = &[("backend", Value::Text(name)), ("host", Value::Text(host))];
            self.fill(Template::HttpsGroupedVhostFrontendAcl, values, out)?;
        }
        for (host, group) in groups {
            let name = ("name", Value::Text(names.get(host).map_or("", String::as_str)));
            self.fill(Template::HttpsGroupedVhostBackendHead, &[name], out)?;
            let own = arguments(group.certificates.iter().map(String::as_str));
            let certificates = if own.is_empty() { usual } else { &own };
            let options: String = group.options.iter().map(|text| format!(" {text}")).collect();
            let values = &[
                name,
                ("sslCerts", Value::Text(certificates)),
                ("bindOpts", Value::Text(&options)),
            ];
            self.fill(Template::HttpsGroupedVhostFrontendHead, values, out)?;
            push_rules(&mut group.rules, out);
        }
        Ok(())
    }
}

/// `crt A crt B`
fn arguments<'a>(certificates: impl Iterator<Item = &'a str>) -> String {
    certificates.map(|path| format!("crt {path}")).collect::<Vec<_>>().join(" ")
}
