//! The rules of one service's host names on ports 80 and 443, as steps that the layout takes one
//! after the other: with maps, what they add depends on who came before.

use std::collections::BTreeMap;

use super::texts::Texts;
use crate::Settings;
use crate::labels::LabelError;
use crate::service::names;
use crate::template::Template;
use crate::template::format::Value;

/// The host rules of a service.
#[derive(Clone, Debug)]
pub(super) struct Vhost {
    pub weight: i64,
    pub steps: Vec<Step>,
    /// Certificates and options of its hosts' own frontends, where these are grouped.
    pub hosts: Vec<String>,
    pub ssl_cert: String,
    pub bind_options: String,
}

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Text on 80.
    Http(String),
    /// Text on 443, and in none of the hosts' own frontends.
    Https(String),
    /// Text on 443 and in the host's own frontend.
    HttpsHost(String, String),
    /// Text in the host's own frontend alone.
    Grouped(String, String),
    /// The line on 80 that asks the map, if none has been written yet.
    HttpMap(String),
    /// The line on 443 that asks the map, if none has been written yet; for this host.
    HttpsMap(String, String),
    /// A line of the map.
    Entry(String),
}

impl Vhost {
    /// The rules; `None` where there are no host names.
    pub fn new(texts: Texts<'_>, settings: &Settings) -> Result<Option<Vhost>, LabelError> {
        let rules = &texts.service.rules;
        let hosts: Vec<&str> = rules.hosts().collect();
        let Some(first) = hosts.first().copied() else { return Ok(None) };
        // Blanks of the label's first name are in this name as in marathon-lb's.
        let named = rules.vhost.split(',').next().unwrap_or_default();
        let acl = format!("{}_{}", names::cleaned(named), texts.service.flat_app());
        let mut writer =
            Writer { texts, settings, acl: &acl, first, host: first, steps: Vec::new() };
        if rules.vhost.contains(',') {
            writer.many(&hosts)?;
        } else {
            writer.one()?;
        }
        Ok(Some(Vhost {
            weight: rules.weight,
            steps: writer.steps,
            hosts: hosts.into_iter().map(str::to_owned).collect(),
            ssl_cert: rules.ssl_cert.clone(),
            bind_options: rules.bind_options.clone(),
        }))
    }
}

struct Writer<'a> {
    texts: Texts<'a>,
    settings: &'a Settings,
    /// What the names of ACLs end with.
    acl: &'a str,
    first: &'a str,
    /// The host that is written now.
    host: &'a str,
    steps: Vec<Step>,
}

impl<'a> Writer<'a> {
    fn has_path(&self) -> bool {
        !self.texts.service.rules.path.is_empty()
    }

    fn has_auth(&self) -> bool {
        !self.texts.service.rules.auth.realm.is_empty()
    }

    fn text(&self, template: Template) -> Result<String, LabelError> {
        let service = self.texts.service;
        let rules = &service.rules;
        let mut values = vec![
            ("cleanedUpHostname", Value::Text(self.acl)),
            ("hostname", Value::Text(self.host)),
            ("backend", Value::Text(&service.backend)),
            ("appId", Value::Text(&service.app)),
            ("bindAddr", Value::Text(&rules.bind_addr)),
        ];
        if self.has_path() {
            values.push(("path", Value::Text(&rules.path)));
        }
        if self.has_auth() {
            values.push(("realm", Value::Text(&rules.auth.realm)));
        }
        self.texts.filled(template, &values)
    }

    fn map_line(&self, map: Template, label: Template) -> Result<String, LabelError> {
        let dir = ("haproxy_dir", Value::Text(self.settings.config_dir.as_str()));
        match map {
            Template::MapHttpsFrontendAcl => {
                self.texts.map_line(map, label, &[dir, ("hostname", Value::Text(self.host))])
            }
            _ => self.texts.map_line(map, label, &[dir]),
        }
    }

    fn http(&mut self, template: Template) -> Result<(), LabelError> {
        let text = self.text(template)?;
        self.steps.push(Step::Http(text));
        Ok(())
    }

    fn https_host(&mut self, template: Template) -> Result<(), LabelError> {
        let text = self.text(template)?;
        self.steps.push(Step::HttpsHost(self.host.to_owned(), text));
        Ok(())
    }

    fn http_map(&mut self, map: Template, label: Template) -> Result<(), LabelError> {
        let line = self.map_line(map, label)?;
        self.steps.push(Step::HttpMap(line));
        self.steps.push(Step::Entry(self.host.to_owned()));
        Ok(())
    }

    /// VHOST is one name.
    fn one(&mut self) -> Result<(), LabelError> {
        use Template as T;
        let redirect = self.texts.service.rules.redirect;
        match (self.has_path(), self.has_auth()) {
            (true, _) if redirect => {
                self.http(T::HttpFrontendAclOnly)?;
                self.http(T::HttpFrontendAclOnlyWithPath)?;
                self.http(T::BackendRedirectHttpToHttpsWithPath)?;
            }
            (false, _) if redirect => {
                self.http(T::HttpFrontendAcl)?;
                self.http(T::BackendRedirectHttpToHttps)?;
            }
            (true, true) => self.http(T::HttpFrontendAclWithAuthAndPath)?,
            (true, false) => self.http(T::HttpFrontendAclWithPath)?,
            (false, true) => self.http(T::HttpFrontendAclWithAuth)?,
            (false, false) if self.settings.maps => {
                self.http_map(T::MapHttpFrontendAcl, T::HttpFrontendAcl)?;
            }
            (false, false) => self.http(T::HttpFrontendAcl)?,
        }
        if self.has_path() {
            self.https_host(T::HttpsFrontendAclOnlyWithPath)?;
        }
        self.https()
    }

    /// VHOST is a list.
    fn many(&mut self, hosts: &[&'a str]) -> Result<(), LabelError> {
        use Template as T;
        let redirect = self.texts.service.rules.redirect;
        let mut head = String::new();
        if self.has_path() {
            self.http(match self.has_auth() {
                true => T::HttpFrontendAclOnlyWithPathAndAuth,
                false => T::HttpFrontendAclOnlyWithPath,
            })?;
            head = self.text(T::HttpsFrontendAclOnlyWithPath)?;
            self.steps.push(Step::Https(head.clone()));
        }
        let mapped = self.settings.maps && !self.has_path() && !self.has_auth() && !redirect;
        for host in hosts {
            self.host = host;
            if self.settings.group_https_by_vhost {
                self.steps.push(Step::Grouped(self.host.to_owned(), head.clone()));
            }
            if mapped {
                self.http_map(T::MapHttpFrontendAclOnly, T::HttpFrontendAclOnly)?;
            } else {
                self.http(T::HttpFrontendAclOnly)?;
            }
            self.https()?;
        }
        self.host = self.first;
        match (self.has_path(), self.has_auth()) {
            (true, _) if redirect => self.http(T::BackendRedirectHttpToHttpsWithPath),
            (false, _) if redirect => self.http(T::BackendRedirectHttpToHttps),
            (true, true) => self.http(T::HttpFrontendRoutingOnlyWithPathAndAuth),
            (true, false) => self.http(T::HttpFrontendRoutingOnlyWithPath),
            (false, true) => self.http(T::HttpFrontendRoutingOnlyWithAuth),
            (false, false) if self.settings.maps => Ok(()),
            (false, false) => self.http(T::HttpFrontendRoutingOnly),
        }
    }

    /// The host's rule on 443.
    fn https(&mut self) -> Result<(), LabelError> {
        use Template as T;
        match (self.has_path(), self.has_auth()) {
            (true, true) => self.https_host(T::HttpsFrontendAclWithAuthAndPath),
            (true, false) => self.https_host(T::HttpsFrontendAclWithPath),
            (false, true) => self.https_host(T::HttpsFrontendAclWithAuth),
            (false, false) if self.settings.maps => {
                let line = self.map_line(T::MapHttpsFrontendAcl, T::HttpsFrontendAcl)?;
                self.steps.push(Step::HttpsMap(self.host.to_owned(), line));
                self.steps.push(Step::Entry(self.host.to_owned()));
                Ok(())
            }
            (false, false) => self.https_host(T::HttpsFrontendAcl),
        }
    }
}

/// What all services say of one host, where 443 is grouped by hosts.
#[derive(Debug, Default)]
pub(super) struct Group<'a> {
    pub rules: Vec<(i64, &'a str)>,
    pub certificates: Vec<&'a str>,
    pub options: Vec<&'a str>,
    /// Whether the line that asks the map is among its rules.
    pub asks_map: bool,
}

/// The groups by host.
pub(super) type Groups<'a> = BTreeMap<&'a str, Group<'a>>;
