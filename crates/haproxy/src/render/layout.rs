//! All services' forms in the order of the file.

use std::cmp::Reverse;

use std::fmt::Write;

use foldhash::{HashMap, HashMapExt, HashSet};

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
#[derive(Clone, Debug)]
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
        hosts.rules.sort_by_key(|rules| Reverse(rules.weight));
        shared.fill(Template::HttpFrontendHead, &[], &mut config)?;
        hosts.rules.iter().for_each(|rules| rules.push_http(&mut config));
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

/// The rules of the frontend on 9091; returns the map.
fn push_app_ids(forms: &[&Form], settings: &Settings, out: &mut String) -> String {
    let mut map = String::new();
    let mut apps = HashSet::default();
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

/// The rules of one service's hosts.
struct Rules<'a> {
    /// Greatest weight first; within one weight the order of services.
    weight: i64,
    vhost: &'a Vhost,
    /// Whether the maps are asked among them.
    asks_on_http: bool,
    asks_on_https: bool,
}

impl Rules<'_> {
    fn push_http(&self, out: &mut String) {
        let mut asks = self.asks_on_http;
        for step in &self.vhost.steps {
            match step {
                Step::Http(text) => out.push_str(text),
                Step::HttpMap(line) if std::mem::take(&mut asks) => out.push_str(line),
                _ => {}
            }
        }
    }

    fn push_https(&self, out: &mut String) {
        let mut asks = self.asks_on_https;
        for step in &self.vhost.steps {
            match step {
                Step::Https(text) | Step::HttpsHost(_, text) => out.push_str(text),
                Step::HttpsMap(_, line) if std::mem::take(&mut asks) => out.push_str(line),
                _ => {}
            }
        }
    }
}

/// What is collected for ports 80 and 443.
#[derive(Default)]
struct Hosts<'a> {
    rules: Vec<Rules<'a>>,
    groups: Groups<'a>,
    map: String,
    mapped: HashSet<(&'a str, &'a str)>,
    asked_on_http: bool,
    asked_on_https: bool,
}

impl<'a> Hosts<'a> {
    fn take(&mut self, form: &'a Form, grouped: bool) {
        let Some(vhost) = &form.vhost else { return };
        if grouped {
            self.take_binds(vhost);
        }
        let (asked_on_http, asked_on_https) = (self.asked_on_http, self.asked_on_https);
        // A map without an answer ends the search: it must be asked last.
        let mut weight = vhost.weight;
        for step in &vhost.steps {
            match step {
                Step::Http(_) | Step::Https(_) => {}
                Step::HttpsHost(host, text) | Step::Grouped(host, text) => {
                    self.group(host, weight, text);
                }
                Step::HttpMap(_) if !self.asked_on_http => {
                    (self.asked_on_http, weight) = (true, -1);
                }
                Step::HttpMap(_) => {}
                Step::HttpsMap(host, line) => {
                    if !self.asked_on_https {
                        (self.asked_on_https, weight) = (true, -1);
                    }
                    self.group_map(host, line);
                }
                Step::Entry(host) => self.map_entry(host, &form.backend),
            }
        }
        self.rules.push(Rules {
            weight,
            vhost,
            asks_on_http: asked_on_http != self.asked_on_http,
            asks_on_https: asked_on_https != self.asked_on_https,
        });
    }

    fn take_binds(&mut self, vhost: &'a Vhost) {
        for host in &vhost.hosts {
            let group = self.groups.entry(host).or_default();
            let add = |list: &mut Vec<&'a str>, text: &'a str| {
                if !text.is_empty() && !list.contains(&text) {
                    list.push(text);
                }
            };
            add(&mut group.certificates, &vhost.ssl_cert);
            add(&mut group.options, &vhost.bind_options);
        }
    }

    fn group(&mut self, host: &str, weight: i64, text: &'a str) {
        if let Some(group) = self.groups.get_mut(host) {
            group.rules.push((weight, text));
        }
    }

    /// Every host's own frontend asks the map once. (marathon-lb has the first host's do so, and gives the
    /// others none.)
    fn group_map(&mut self, host: &str, line: &'a str) {
        if let Some(group) = self.groups.get_mut(host).filter(|group| !group.asks_map) {
            group.asks_map = true;
            group.rules.push((-1, line));
        }
    }

    fn map_entry(&mut self, host: &'a str, backend: &'a str) {
        if self.mapped.insert((host, backend)) {
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

    fn push_https(self, hosts: &mut Hosts<'_>, out: &mut String) -> Result<(), SharedFault> {
        let certificates = arguments(self.settings.certificates().into_iter());
        if self.settings.group_https_by_vhost {
            return self.push_groups(&mut hosts.groups, &certificates, out);
        }
        let values = &[("sslCerts", Value::Text(&certificates))];
        self.fill(Template::HttpsFrontendHead, values, out)?;
        hosts.rules.iter().for_each(|rules| rules.push_https(out));
        Ok(())
    }

    fn push_groups(
        self,
        groups: &mut Groups<'_>,
        usual: &str,
        out: &mut String,
    ) -> Result<(), SharedFault> {
        self.fill(Template::HttpsGroupedFrontendHead, &[], out)?;
        for host in groups.keys() {
            let name = cleaned(host);
            let values = &[("backend", Value::Text(&name)), ("host", Value::Text(host))];
            self.fill(Template::HttpsGroupedVhostFrontendAcl, values, out)?;
        }
        for (host, group) in groups {
            let name = cleaned(host);
            let name = ("name", Value::Text(&name));
            self.fill(Template::HttpsGroupedVhostBackendHead, &[name], out)?;
            let own = arguments(group.certificates.iter().copied());
            let certificates = if own.is_empty() { usual } else { &own };
            let options: String = group.options.iter().map(|text| format!(" {text}")).collect();
            let values = &[
                name,
                ("sslCerts", Value::Text(certificates)),
                ("bindOpts", Value::Text(&options)),
            ];
            self.fill(Template::HttpsGroupedVhostFrontendHead, values, out)?;
            group.rules.sort_by_key(|(weight, _)| Reverse(*weight));
            group.rules.iter().for_each(|(_, text)| out.push_str(text));
        }
        Ok(())
    }
}

/// `crt A crt B`
fn arguments<'a>(certificates: impl Iterator<Item = &'a str>) -> String {
    certificates.map(|path| format!("crt {path}")).collect::<Vec<_>>().join(" ")
}
