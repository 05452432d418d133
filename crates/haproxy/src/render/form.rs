//! The text of one service, in the pieces that the layout puts in their places.

use std::collections::HashSet;
use std::sync::Arc;

use super::health::Health;
use super::servers;
use super::texts::Texts;
use super::vhost::Vhost;
use crate::labels::LabelError;
use crate::service::{Service, names};
use crate::template::format::Value;
use crate::template::{Template, Templates};
use crate::{Backend, Server, Settings};

/// One service, written.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub app: Arc<str>,
    pub port: u16,
    pub backend: String,
    /// Address and port that it listens on.
    pub bind: String,
    pub userlist: String,
    pub frontend: String,
    /// The backend's section up to the servers' lines, and these.
    pub head: String,
    pub lines: String,
    pub parsed: Backend,
    pub vhost: Option<Vhost>,
    /// What leads the app's id to it: a rule, or with maps the line that asks the map.
    pub appid: Option<String>,
}

/// Writes an app's services that are shown.
///
/// # Errors
/// The first label that makes no sense.
pub(super) fn forms(
    services: &[Service],
    templates: &Templates,
    settings: &Settings,
) -> Result<Vec<Form>, LabelError> {
    let mut forms: Vec<Form> = Vec::new();
    for service in services.iter().filter(|service| service.shown) {
        let texts = Texts { service, templates };
        let first_http = service.mode == "http" && forms.iter().all(|form| form.appid.is_none());
        let (head, lines, parsed) = backend(texts, services)?;
        forms.push(Form {
            app: service.app.clone(),
            port: service.port,
            backend: service.backend.clone(),
            bind: format!("{}:{}", service.rules.bind_addr, service.port),
            userlist: userlist(texts)?,
            frontend: frontend(texts)?,
            head,
            lines,
            parsed,
            vhost: match settings.bind_http_https {
                true => Vhost::new(texts, settings)?,
                false => None,
            },
            appid: first_http.then(|| appid(texts, settings)).transpose()?,
        });
    }
    Ok(forms)
}

fn userlist(texts: Texts<'_>) -> Result<String, LabelError> {
    let service = texts.service;
    let auth = &service.rules.auth;
    if auth.user.is_empty() {
        return Ok(String::new());
    }
    let values = &[
        ("backend", Value::Text(&service.backend)),
        ("user", Value::Text(&auth.user)),
        ("passwd", Value::Text(&auth.hash)),
    ];
    texts.filled(Template::UserlistHead, values)
}

fn frontend(texts: Texts<'_>) -> Result<String, LabelError> {
    let service = texts.service;
    let rules = &service.rules;
    let after = |before: &str, text: &str| match text {
        "" => String::new(),
        text => format!("{before}{text}"),
    };
    let (certificate, options) =
        (after(" ssl crt ", &rules.ssl_cert), after(" ", &rules.bind_options));
    let backend = ("backend", Value::Text(&service.backend));
    let values = &[
        ("bindAddr", Value::Text(&rules.bind_addr)),
        backend,
        ("servicePort", Value::Number(service.port.into())),
        ("mode", Value::Text(&service.mode)),
        ("sslCert", Value::Text(&certificate)),
        ("bindOptions", Value::Text(&options)),
    ];
    let mut out = texts.filled(Template::FrontendHead, values)?;
    texts.fill(Template::FrontendBackendGlue, &[backend], &mut out)?;
    Ok(out)
}

fn appid(texts: Texts<'_>, settings: &Settings) -> Result<String, LabelError> {
    let service = texts.service;
    if settings.maps {
        return texts.map_line(
            Template::MapHttpFrontendAppidAcl,
            Template::HttpFrontendAppidAcl,
            &[("haproxy_dir", Value::Text(&settings.config_dir))],
        );
    }
    let cleaned = names::cleaned(&service.app);
    let values = &[
        ("cleanedUpAppId", Value::Text(&cleaned)),
        ("hostname", hostname(service)),
        ("appId", Value::Text(&service.app)),
        ("backend", Value::Text(&service.backend)),
    ];
    texts.filled(Template::HttpFrontendAppidAcl, values)
}

/// VHOST as it stands; Python's `None` where there is none.
fn hostname(service: &Service) -> Value<'_> {
    match service.rules.vhost.as_str() {
        "" => Value::Nothing,
        vhost => Value::Text(vhost),
    }
}

/// The backend's section, its servers' lines, and these in typed form.
fn backend(
    texts: Texts<'_>,
    siblings: &[Service],
) -> Result<(String, String, Backend), LabelError> {
    let service = texts.service;
    let mut head = String::new();
    let values = &[
        ("backend", Value::Text(&service.backend)),
        ("balance", Value::Text(&service.rules.balance)),
        ("mode", Value::Text(&service.mode)),
    ];
    texts.fill(Template::BackendHead, values, &mut head)?;
    if service.mode == "http" {
        push_http(texts, &mut head)?;
    }
    push_networks(texts, &mut head)?;
    if service.rules.sticky {
        texts.fill(Template::BackendStickyOptions, &[], &mut head)?;
    }
    let health = Health::new(texts, siblings);
    health.push_backend_options(&mut head)?;
    let (lines, known) = servers(texts, &health)?;
    // A template that makes something else of a server leaves only what it was made from.
    let servers = servers::read(&lines).filter(|read| read.len() == known.len());
    let app = service.app.to_string();
    Ok((head, lines, Backend { app, servers: servers.unwrap_or(known) }))
}

fn push_http(texts: Texts<'_>, out: &mut String) -> Result<(), LabelError> {
    let service = texts.service;
    let rules = &service.rules;
    if rules.hsts {
        texts.fill(Template::BackendHstsOptions, &[], out)?;
    }
    texts.fill(Template::BackendHttpOptions, &[], out)?;
    let first = rules.hosts().next().map_or(Value::Nothing, Value::Text);
    if !rules.proxypass.is_empty() {
        let values = &[("hostname", first), ("proxypath", Value::Text(&rules.proxypass))];
        texts.fill(Template::HttpBackendProxypassGlue, values, out)?;
    }
    if !rules.revproxy.is_empty() {
        let values = &[("hostname", first), ("rootpath", Value::Text(&rules.revproxy))];
        texts.fill(Template::HttpBackendRevproxyGlue, values, out)?;
    }
    if !rules.redir.is_empty() {
        let hosts = rules.hosts().collect::<Vec<_>>().join(" ");
        let hosts = if hosts.is_empty() { Value::Nothing } else { Value::Text(&hosts) };
        let values = &[("hostname", hosts), ("redirpath", Value::Text(&rules.redir))];
        texts.fill(Template::HttpBackendRedir, values, out)?;
    }
    Ok(())
}

fn push_networks(texts: Texts<'_>, out: &mut String) -> Result<(), LabelError> {
    let service = texts.service;
    let (acl, allow_deny) = match service.mode.as_str() {
        "http" => (Template::HttpBackendNetworkAllowedAcl, Template::HttpBackendAclAllowDeny),
        "tcp" => (Template::TcpBackendNetworkAllowedAcl, Template::TcpBackendAclAllowDeny),
        _ => return Ok(()),
    };
    if service.rules.networks.is_empty() {
        return Ok(());
    }
    for network in &service.rules.networks {
        texts.fill(acl, &[("network_allowed", Value::Text(network))], out)?;
    }
    texts.fill(allow_deny, &[], out)
}

/// The servers' lines, and what they were made from.
fn servers(texts: Texts<'_>, health: &Health<'_>) -> Result<(String, Vec<Server>), LabelError> {
    let service = texts.service;
    let line = texts.get(Template::BackendServerOptions)?;
    let mut taken = HashSet::with_capacity(service.servers.len());
    let (mut out, mut known) = (String::new(), Vec::with_capacity(service.servers.len()));
    let mut checks = String::new();
    for (at, server) in service.servers.iter().enumerate() {
        let name = names::server(server);
        let id = names::id(&name, &mut taken).ok_or_else(|| too_many(service))?;
        let cookie = match service.rules.sticky {
            true => format!(" check cookie {}", names::cookie(&name)),
            false => String::new(),
        };
        checks.clear();
        health.push_server_options(at, &mut checks)?;
        let address = server.address.to_string();
        let values = &[
            ("host", Value::Text(&server.host)),
            ("host_ipv4", Value::Text(&address)),
            ("port", Value::Number(server.port.into())),
            ("serverName", Value::Text(&name)),
            ("serverId", Value::Number(id.into())),
            ("cookieOptions", Value::Text(&cookie)),
            ("healthCheckOptions", Value::Text(&checks)),
            ("otherOptions", Value::Text(if server.draining { " disabled" } else { "" })),
        ];
        let filled = line.fill(values, &mut out);
        filled.map_err(|error| texts.error(Template::BackendServerOptions, &error))?;
        let (options, disabled) = (String::new(), server.draining);
        let (port, templated) = (server.port, true);
        known.push(Server { name, id, address, port, options, disabled, templated });
    }
    Ok((out, known))
}

fn too_many(service: &Service) -> LabelError {
    let reason = format!("{} has more servers than there are ids", service.backend);
    LabelError { label: format!("HAPROXY_{}_PORT", service.index), reason }
}
