//! Every template once: name, who may replace it, what may stand in it, and Waymark's own default.

use crate::apply::Version;

/// Whether a label of a service can replace a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelUse {
    /// It cannot; there is no such label.
    No,
    /// It can.
    Yes,
    /// The label exists and has no effect, as in marathon-lb.
    Ignored,
}

/// One template.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which.
    pub template: Template,
    /// Its name; the variable and the file are called `HAPROXY_` and this.
    pub name: &'static str,
    /// Whether `HAPROXY_n_` and this is a label of it.
    pub label: LabelUse,
    /// What `{…}` may name; `None` = the text is printed as it is, with single braces.
    pub placeholders: Option<&'static [&'static str]>,
    /// Waymark's default for HAProxy up to 2.0.
    default: &'static str,
    /// What it is in later ones, where that is something else.
    since_2_1: Option<&'static str>,
    /// When it is used.
    pub doc: &'static str,
}

impl Entry {
    /// The default for this version of HAProxy; empty for `HEAD`, which is made from the settings.
    pub fn default(&self, version: Version) -> &'static str {
        match self.since_2_1 {
            Some(text) if version > Version::MARATHON_LB => text,
            _ => self.default,
        }
    }

    /// Whether blanks around the text are dropped and one is put before it: it is a part of a line.
    pub(crate) fn is_part_of_line(&self) -> bool {
        use Template::{BackendServerHttpHealthcheckOptions, BackendServerTcpHealthcheckOptions};
        let parts = [BackendServerHttpHealthcheckOptions, BackendServerTcpHealthcheckOptions];
        parts.contains(&self.template)
    }
}

/// What templates about health checks may name.
pub(crate) const HEALTH: &[&str] = &[
    "healthCheck",
    "healthCheckPortIndex",
    "healthCheckPort",
    "healthCheckProtocol",
    "healthCheckPath",
    "healthCheckTimeoutSeconds",
    "healthCheckIntervalSeconds",
    "healthCheckGracePeriodSeconds",
    "healthCheckMaxConsecutiveFailures",
    "healthCheckFalls",
    "healthCheckPortOptions",
];

macro_rules! placeholders {
    (raw) => { None };
    (health) => { Some(HEALTH) };
    ($($name:ident)*) => { Some(&[$(stringify!($name)),*]) };
}

macro_rules! since {
    () => {
        None
    };
    ($text:literal) => {
        Some($text)
    };
}

macro_rules! table {
    ($($template:ident $name:literal $label:ident [$($placeholder:tt)*] $doc:literal $default:literal $(| $since:literal)?;)*) => {
        /// A template.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Template {
            $(#[doc = $doc] $template,)*
        }

        const TABLE: &[Entry] = &[
            $(Entry {
                template: Template::$template,
                name: $name,
                label: LabelUse::$label,
                placeholders: placeholders!($($placeholder)*),
                default: $default,
                since_2_1: since!($($since)?),
                doc: $doc,
            },)*
        ];

        impl Template {
            /// Its entry in the table.
            pub fn entry(self) -> &'static Entry {
                // The variants and the table are made from one list.
                &TABLE[self as usize]
            }
        }
    };
}

/// All templates.
pub fn templates() -> &'static [Entry] {
    TABLE
}

table! {
    Head "HEAD" No [raw]
        "Begins the text: `global`, `defaults` and the statistics port. A replacement must contain `expose-fd listeners` and not the word `daemon`."
        "";
    HttpFrontendHead "HTTP_FRONTEND_HEAD" No [raw]
        "Begins the frontend on port 80."
        "\nfrontend marathon_http_in\n  bind *:80\n  mode http\n";
    HttpFrontendAppidHead "HTTP_FRONTEND_APPID_HEAD" No [raw]
        "Begins the frontend on port 9091, where the header X-Marathon-App-Id names the app."
        "\nfrontend marathon_http_appid_in\n  bind *:9091\n  mode http\n";
    HttpsFrontendHead "HTTPS_FRONTEND_HEAD" No [sslCerts]
        "Begins the frontend on port 443."
        "\nfrontend marathon_https_in\n  bind *:443 ssl {sslCerts}\n  mode http\n";
    HttpsGroupedFrontendHead "HTTPS_GROUPED_FRONTEND_HEAD" No [raw]
        "With `--group-https-by-vhost`: begins the frontend on port 443, which switches by server name."
        "\nfrontend marathon_https_in\n  bind *:443\n  mode tcp\n  tcp-request inspect-delay 5s\n  tcp-request content accept if { req_ssl_hello_type 1 }\n";
    HttpsGroupedVhostFrontendAcl "HTTPS_GROUPED_VHOST_FRONTEND_ACL" No [backend host]
        "With `--group-https-by-vhost`: the switch to one host's backend."
        "  use_backend {backend} if {{ req_ssl_sni -i {host} }}\n";
    HttpsGroupedVhostBackendHead "HTTPS_GROUPED_VHOST_BACKEND_HEAD" No [name]
        "With `--group-https-by-vhost`: the backend that leads back to the host's own frontend."
        "\nbackend {name}\n  server loopback-for-tls abns@{name} send-proxy-v2\n";
    HttpsGroupedVhostFrontendHead "HTTPS_GROUPED_VHOST_FRONTEND_HEAD" No [name sslCerts bindOpts]
        "With `--group-https-by-vhost`: begins the host's own frontend, where TLS ends."
        "\nfrontend {name}\n  mode http\n  bind abns@{name} accept-proxy ssl {sslCerts}{bindOpts}\n";
    HttpBackendAclAllowDeny "HTTP_BACKEND_ACL_ALLOW_DENY" No [raw]
        "Mode http, after the lines of BACKEND_NETWORK_ALLOWED_ACL."
        "  http-request allow if network_allowed\n  http-request deny\n";
    TcpBackendAclAllowDeny "TCP_BACKEND_ACL_ALLOW_DENY" No [raw]
        "Mode tcp, after the lines of BACKEND_NETWORK_ALLOWED_ACL."
        "  tcp-request content accept if network_allowed\n  tcp-request content reject\n";
    UserlistHead "USERLIST_HEAD" Yes [backend user passwd]
        "With AUTH: the user and the password's hash."
        "\nuserlist user_{backend}\n  user {user} password {passwd}\n";
    FrontendHead "FRONTEND_HEAD" Yes [bindAddr backend servicePort mode sslCert bindOptions]
        "Begins the service port's frontend. `sslCert` is empty or ` ssl crt …`, `bindOptions` is empty or begins with a blank."
        "\nfrontend {backend}\n  bind {bindAddr}:{servicePort}{sslCert}{bindOptions}\n  mode {mode}\n";
    FrontendBackendGlue "FRONTEND_BACKEND_GLUE" Yes [backend]
        "Ends the service port's frontend."
        "  use_backend {backend}\n";
    BackendHead "BACKEND_HEAD" Yes [backend balance mode]
        "Begins the backend."
        "\nbackend {backend}\n  balance {balance}\n  mode {mode}\n";
    BackendHstsOptions "BACKEND_HSTS_OPTIONS" Yes [raw]
        "Mode http, with USE_HSTS."
        "  rspadd Strict-Transport-Security:\\ max-age=15768000\n"
        | "  http-response add-header Strict-Transport-Security max-age=15768000\n";
    BackendHttpOptions "BACKEND_HTTP_OPTIONS" Yes [raw]
        "Mode http: what tasks learn of the client."
        "  option forwardfor\n  http-request set-header X-Forwarded-Port %[dst_port]\n  http-request add-header X-Forwarded-Proto https if { ssl_fc }\n";
    HttpBackendProxypassGlue "HTTP_BACKEND_PROXYPASS_GLUE" Yes [hostname proxypath]
        "Mode http, with HTTP_BACKEND_PROXYPASS_PATH. `hostname` is the first host name."
        "  http-request set-header Host {hostname}\n  reqirep \"^([^ :]*)\\ {proxypath}/?(.*)\" \"\\1\\ /\\2\"\n"
        | "  http-request set-header Host {hostname}\n  http-request set-path \"%[path,regsub(^{proxypath}/?,/,i)]\"\n";
    HttpBackendRevproxyGlue "HTTP_BACKEND_REVPROXY_GLUE" Yes [hostname rootpath]
        "Mode http, with HTTP_BACKEND_REVPROXY_PATH. `hostname` is the first host name."
        "  acl hdr_location res.hdr(Location) -m found\n  rspirep \"^Location: (https?://{hostname}(:[0-9]+)?)?(/.*)\" \"Location: {rootpath}\\3\" if hdr_location\n"
        | "  acl hdr_location res.hdr(Location) -m found\n  http-response replace-header Location \"^(https?://{hostname}(:[0-9]+)?)?(/.*)\" \"{rootpath}\\3\" if hdr_location\n";
    HttpBackendRedir "HTTP_BACKEND_REDIR" No [hostname redirpath]
        "Mode http, with HTTP_BACKEND_REDIR; the label of this name is that setting. `hostname` is all host names, with blanks between them."
        "  acl is_root path -i /\n  acl is_domain hdr(host) -i {hostname}\n  redirect code 301 location {redirpath} if is_domain is_root\n";
    HttpBackendNetworkAllowedAcl "HTTP_BACKEND_NETWORK_ALLOWED_ACL" Yes [network_allowed]
        "Mode http, for each item of BACKEND_NETWORK_ALLOWED_ACL."
        "  acl network_allowed src {network_allowed}\n";
    TcpBackendNetworkAllowedAcl "TCP_BACKEND_NETWORK_ALLOWED_ACL" Yes [network_allowed]
        "Mode tcp, for each item of BACKEND_NETWORK_ALLOWED_ACL."
        "  acl network_allowed src {network_allowed}\n";
    BackendStickyOptions "BACKEND_STICKY_OPTIONS" Yes [raw]
        "With STICKY."
        "  cookie mesosphere_server_id insert indirect nocache\n";
    BackendHttpHealthcheckOptions "BACKEND_HTTP_HEALTHCHECK_OPTIONS" Yes [health]
        "With a health check, mode http, unless the check is a TCP one."
        "  option httpchk GET {healthCheckPath}\n  timeout check {healthCheckTimeoutSeconds}s\n";
    BackendTcpHealthcheckOptions "BACKEND_TCP_HEALTHCHECK_OPTIONS" Yes [health]
        "With a health check, mode tcp or a TCP check."
        "";
    BackendServerOptions "BACKEND_SERVER_OPTIONS" Yes [host host_ipv4 port serverName serverId cookieOptions healthCheckOptions otherOptions]
        "Each server. The last three are empty or begin with a blank."
        "  server {serverName} {host_ipv4}:{port} id {serverId}{cookieOptions}{healthCheckOptions}{otherOptions}\n";
    BackendServerHttpHealthcheckOptions "BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS" Yes [health]
        "The part of a server's line about a health check, mode http, unless the check is a TCP one."
        "check inter {healthCheckIntervalSeconds}s fall {healthCheckFalls}{healthCheckPortOptions}";
    BackendServerTcpHealthcheckOptions "BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS" Yes [health]
        "The part of a server's line about a health check, mode tcp or a TCP check."
        "check inter {healthCheckIntervalSeconds}s fall {healthCheckFalls}{healthCheckPortOptions}";
    HttpFrontendAcl "HTTP_FRONTEND_ACL" Yes [cleanedUpHostname hostname appId backend]
        "Port 80: one host, neither path nor auth, or with redirect (then without `appId`). With maps its label stands for MAP_HTTP_FRONTEND_ACL."
        "  acl host_{cleanedUpHostname} hdr(host) -i {hostname}\n  use_backend {backend} if host_{cleanedUpHostname}\n";
    HttpFrontendAclWithAuth "HTTP_FRONTEND_ACL_WITH_AUTH" Yes [cleanedUpHostname hostname appId realm backend]
        "Port 80: one host, auth."
        "  acl host_{cleanedUpHostname} hdr(host) -i {hostname}\n  acl auth_{cleanedUpHostname} http_auth(user_{backend})\n  http-request auth realm \"{realm}\" if host_{cleanedUpHostname} !auth_{cleanedUpHostname}\n  use_backend {backend} if host_{cleanedUpHostname}\n";
    HttpFrontendAclWithPath "HTTP_FRONTEND_ACL_WITH_PATH" Yes [cleanedUpHostname hostname path appId backend]
        "Port 80: one host, path."
        "  acl host_{cleanedUpHostname} hdr(host) -i {hostname}\n  acl path_{backend} path_beg {path}\n  use_backend {backend} if host_{cleanedUpHostname} path_{backend}\n";
    HttpFrontendAclWithAuthAndPath "HTTP_FRONTEND_ACL_WITH_AUTH_AND_PATH" Yes [cleanedUpHostname hostname path appId realm backend]
        "Port 80: one host, path and auth."
        "  acl host_{cleanedUpHostname} hdr(host) -i {hostname}\n  acl auth_{cleanedUpHostname} http_auth(user_{backend})\n  acl path_{backend} path_beg {path}\n  http-request auth realm \"{realm}\" if host_{cleanedUpHostname} path_{backend} !auth_{cleanedUpHostname}\n  use_backend {backend} if host_{cleanedUpHostname} path_{backend}\n";
    HttpFrontendAclOnly "HTTP_FRONTEND_ACL_ONLY" Yes [cleanedUpHostname hostname]
        "Port 80: each of several hosts; one host with path and redirect. With maps its label stands for MAP_HTTP_FRONTEND_ACL_ONLY."
        "  acl host_{cleanedUpHostname} hdr(host) -i {hostname}\n";
    HttpFrontendAclOnlyWithPath "HTTP_FRONTEND_ACL_ONLY_WITH_PATH" Yes [cleanedUpHostname hostname path backend]
        "Port 80: several hosts with a path (then without `cleanedUpHostname` and `hostname`); one host with path and redirect."
        "  acl path_{backend} path_beg {path}\n";
    HttpFrontendAclOnlyWithPathAndAuth "HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH" Yes [path cleanedUpHostname hostname realm backend]
        "Port 80: several hosts with path and auth."
        "  acl path_{backend} path_beg {path}\n  acl auth_{cleanedUpHostname} http_auth(user_{backend})\n";
    HttpFrontendRoutingOnly "HTTP_FRONTEND_ROUTING_ONLY" Yes [cleanedUpHostname backend]
        "Port 80: after several hosts."
        "  use_backend {backend} if host_{cleanedUpHostname}\n";
    HttpFrontendRoutingOnlyWithAuth "HTTP_FRONTEND_ROUTING_ONLY_WITH_AUTH" Yes [cleanedUpHostname realm backend]
        "Port 80: after several hosts, auth."
        "  acl auth_{cleanedUpHostname} http_auth(user_{backend})\n  http-request auth realm \"{realm}\" if host_{cleanedUpHostname} !auth_{cleanedUpHostname}\n  use_backend {backend} if host_{cleanedUpHostname}\n";
    HttpFrontendRoutingOnlyWithPath "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH" Yes [cleanedUpHostname backend]
        "Port 80: after several hosts, path."
        "  use_backend {backend} if host_{cleanedUpHostname} path_{backend}\n";
    HttpFrontendRoutingOnlyWithPathAndAuth "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH" Yes [cleanedUpHostname realm backend]
        "Port 80: after several hosts, path and auth."
        "  http-request auth realm \"{realm}\" if host_{cleanedUpHostname} path_{backend} !auth_{cleanedUpHostname}\n  use_backend {backend} if host_{cleanedUpHostname} path_{backend}\n";
    BackendRedirectHttpToHttps "BACKEND_REDIRECT_HTTP_TO_HTTPS" Yes [bindAddr cleanedUpHostname]
        "Port 80: redirect, no path."
        "  redirect scheme https code 301 if !{{ ssl_fc }} host_{cleanedUpHostname}\n";
    BackendRedirectHttpToHttpsWithPath "BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH" Yes [bindAddr cleanedUpHostname backend]
        "Port 80: redirect, path."
        "  redirect scheme https code 301 if !{{ ssl_fc }} host_{cleanedUpHostname} path_{backend}\n";
    MapHttpFrontendAcl "MAP_HTTP_FRONTEND_ACL" Ignored [haproxy_dir]
        "Port 80 with maps: once, by the first app that needs it, if that has one host."
        "  use_backend %[req.hdr(host),lower,regsub(:.*$,,),map({haproxy_dir}/domain2backend.map)]\n";
    MapHttpFrontendAclOnly "MAP_HTTP_FRONTEND_ACL_ONLY" Ignored [haproxy_dir]
        "Port 80 with maps: once, by the first app that needs it, if that has several hosts."
        "  use_backend %[req.hdr(host),lower,regsub(:.*$,,),map({haproxy_dir}/domain2backend.map)]\n";
    HttpsFrontendAcl "HTTPS_FRONTEND_ACL" Yes [cleanedUpHostname hostname appId backend]
        "Port 443: each host, neither path nor auth. With maps its label stands for MAP_HTTPS_FRONTEND_ACL."
        "  use_backend {backend} if {{ ssl_fc_sni {hostname} }}\n";
    HttpsFrontendAclWithAuth "HTTPS_FRONTEND_ACL_WITH_AUTH" Yes [cleanedUpHostname hostname appId realm backend]
        "Port 443: each host, auth."
        "  acl auth_{cleanedUpHostname} http_auth(user_{backend})\n  http-request auth realm \"{realm}\" if {{ ssl_fc_sni {hostname} }} !auth_{cleanedUpHostname}\n  use_backend {backend} if {{ ssl_fc_sni {hostname} }}\n";
    HttpsFrontendAclWithPath "HTTPS_FRONTEND_ACL_WITH_PATH" Yes [cleanedUpHostname hostname appId backend]
        "Port 443: each host, path."
        "  use_backend {backend} if {{ ssl_fc_sni {hostname} }} path_{backend}\n";
    HttpsFrontendAclWithAuthAndPath "HTTPS_FRONTEND_ACL_WITH_AUTH_AND_PATH" Yes [cleanedUpHostname hostname path appId realm backend]
        "Port 443: each host, path and auth. `path` with one host only."
        "  acl auth_{cleanedUpHostname} http_auth(user_{backend})\n  http-request auth realm \"{realm}\" if {{ ssl_fc_sni {hostname} }} path_{backend} !auth_{cleanedUpHostname}\n  use_backend {backend} if {{ ssl_fc_sni {hostname} }} path_{backend}\n";
    HttpsFrontendAclOnlyWithPath "HTTPS_FRONTEND_ACL_ONLY_WITH_PATH" Yes [path cleanedUpHostname hostname realm backend]
        "Port 443: once for each app with a path. The middle three with several hosts and auth only."
        "  acl path_{backend} path_beg {path}\n";
    MapHttpsFrontendAcl "MAP_HTTPS_FRONTEND_ACL" Ignored [hostname haproxy_dir]
        "Port 443 with maps: once, by the first app that needs it."
        "  use_backend %[ssl_fc_sni,lower,map({haproxy_dir}/domain2backend.map)]\n";
    HttpsFrontendAuthAclOnly "HTTPS_FRONTEND_AUTH_ACL_ONLY" No [cleanedUpHostname backend]
        "Never used, as in marathon-lb."
        "  acl auth_{cleanedUpHostname} http_auth(user_{backend})\n";
    HttpsFrontendAuthRequestOnly "HTTPS_FRONTEND_AUTH_REQUEST_ONLY" No [realm hostname cleanedUpHostname]
        "Never used, as in marathon-lb."
        "  http-request auth realm \"{realm}\" if {{ ssl_fc_sni {hostname} }} !auth_{cleanedUpHostname}\n";
    HttpsFrontendRoutingOnlyWithPathAndAuth "HTTPS_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH" No [cleanedUpHostname realm backend]
        "Never used, as in marathon-lb."
        "  http-request auth realm \"{realm}\" if host_{cleanedUpHostname} path_{backend} !auth_{cleanedUpHostname}\n  use_backend {backend} if host_{cleanedUpHostname} path_{backend}\n";
    HttpFrontendAppidAcl "HTTP_FRONTEND_APPID_ACL" Yes [cleanedUpAppId hostname appId backend]
        "Port 9091: each app in mode http, by its first port. With maps its label stands for MAP_HTTP_FRONTEND_APPID_ACL."
        "  acl app_{cleanedUpAppId} hdr(x-marathon-app-id) -i {appId}\n  use_backend {backend} if app_{cleanedUpAppId}\n";
    MapHttpFrontendAppidAcl "MAP_HTTP_FRONTEND_APPID_ACL" Ignored [haproxy_dir]
        "Port 9091 with maps: once, by the first app that needs it."
        "  use_backend %[req.hdr(x-marathon-app-id),lower,map({haproxy_dir}/app2backend.map)]\n";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_marathon_lbs() {
        assert_eq!(templates().len(), 53);
        let labels = templates().iter().filter(|t| t.label != LabelUse::No).count();
        assert_eq!(labels, 39);
        for entry in templates() {
            assert_eq!(entry.template.entry().name, entry.name);
        }
    }
}
