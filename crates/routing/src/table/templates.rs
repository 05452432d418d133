//! marathon-lb's labels that are pieces of HAProxy's configuration. There is no HAProxy here that
//! could read them; each entry says what to use in its place.

use super::{Effect, Family, Label, Need, Scope};

const fn text(name: &'static str, instead: &'static str) -> Label {
    Label {
        family: Family::Haproxy,
        scope: Scope::Port,
        name,
        value: "text of HAProxy's configuration",
        default: "",
        doc: "",
        need: Need::Nothing,
        effect: Effect::Text(instead),
    }
}

const AUTH: &str = "HAPROXY_n_AUTH protects a port's host names";
const BIND: &str =
    "HAPROXY_n_BIND_ADDR, HAPROXY_n_BIND_OPTIONS and HAPROXY_n_SSL_CERT describe the listener";
const BACKEND: &str = "HAPROXY_n_BALANCE, WAYMARK_n_TIMEOUT_*, WAYMARK_n_RETRIES, WAYMARK_n_MAX_CONNECTIONS and \
                       WAYMARK_n_QUEUE describe the backend";
const CHECKS: &str = "tasks are followed by the app's own health checks";
const SERVER: &str = "WAYMARK_n_MAX_CONNECTIONS, WAYMARK_n_BACKEND_TLS and WAYMARK_n_SEND_PROXY say how tasks are \
                      spoken to";
const HOST: &str = "HAPROXY_n_VHOST takes wildcards, WAYMARK_n_PATH, WAYMARK_n_PATH_EXACT and WAYMARK_n_PATH_REGEX \
                    match paths, HAPROXY_n_BACKEND_WEIGHT orders rules";
const REDIRECT: &str = "HAPROXY_n_REDIRECT_TO_HTTPS redirects with 301";
const REWRITE: &str = "WAYMARK_n_STRIP_PREFIX and WAYMARK_n_REWRITE change paths";
const MAPS: &str = "host names are always looked up in a table; marathon-lb ignores this label too";
const APPID: &str = "every app in mode http is reached by the header X-Marathon-App-Id";
const UNUSED: &str = "marathon-lb never uses this template either";

pub(super) const PORT: &[Label] = &[
    text("USERLIST_HEAD", AUTH),
    text("FRONTEND_HEAD", BIND),
    text("FRONTEND_BACKEND_GLUE", BIND),
    text("BACKEND_HEAD", BACKEND),
    text("BACKEND_HSTS_OPTIONS", "HAPROXY_n_USE_HSTS sends a max-age of half a year"),
    text(
        "BACKEND_HTTP_OPTIONS",
        "X-Forwarded-For, -Port, -Proto, -Host and Forwarded are always set",
    ),
    text("HTTP_BACKEND_PROXYPASS_GLUE", REWRITE),
    text("HTTP_BACKEND_REVPROXY_GLUE", "HAPROXY_n_HTTP_BACKEND_REVPROXY_PATH changes Location"),
    text("HTTP_BACKEND_NETWORK_ALLOWED_ACL", "HAPROXY_n_BACKEND_NETWORK_ALLOWED_ACL lists sources"),
    text("TCP_BACKEND_NETWORK_ALLOWED_ACL", "HAPROXY_n_BACKEND_NETWORK_ALLOWED_ACL lists sources"),
    text("BACKEND_STICKY_OPTIONS", "WAYMARK_n_STICKY names the cookie"),
    text("BACKEND_HTTP_HEALTHCHECK_OPTIONS", CHECKS),
    text("BACKEND_TCP_HEALTHCHECK_OPTIONS", CHECKS),
    text("BACKEND_SERVER_OPTIONS", SERVER),
    text("BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS", CHECKS),
    text("BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS", CHECKS),
    text("HTTP_FRONTEND_ACL", HOST),
    text("HTTP_FRONTEND_ACL_WITH_AUTH", HOST),
    text("HTTP_FRONTEND_ACL_WITH_PATH", HOST),
    text("HTTP_FRONTEND_ACL_WITH_AUTH_AND_PATH", HOST),
    text("HTTP_FRONTEND_ACL_ONLY", HOST),
    text("HTTP_FRONTEND_ACL_ONLY_WITH_PATH", HOST),
    text("HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH", HOST),
    text("HTTP_FRONTEND_ROUTING_ONLY", HOST),
    text("HTTP_FRONTEND_ROUTING_ONLY_WITH_AUTH", HOST),
    text("HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH", HOST),
    text("HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH", HOST),
    text("BACKEND_REDIRECT_HTTP_TO_HTTPS", REDIRECT),
    text("BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH", REDIRECT),
    text("MAP_HTTP_FRONTEND_ACL", MAPS),
    text("MAP_HTTP_FRONTEND_ACL_ONLY", MAPS),
    text("HTTPS_FRONTEND_ACL", HOST),
    text("HTTPS_FRONTEND_ACL_WITH_AUTH", HOST),
    text("HTTPS_FRONTEND_ACL_WITH_PATH", HOST),
    text("HTTPS_FRONTEND_ACL_WITH_AUTH_AND_PATH", HOST),
    text("HTTPS_FRONTEND_ACL_ONLY_WITH_PATH", HOST),
    text("MAP_HTTPS_FRONTEND_ACL", MAPS),
    text("HTTP_FRONTEND_APPID_ACL", APPID),
    text("MAP_HTTP_FRONTEND_APPID_ACL", MAPS),
    text("HTTPS_FRONTEND_AUTH_ACL_ONLY", UNUSED),
    text("HTTPS_FRONTEND_AUTH_REQUEST_ONLY", UNUSED),
    text("HTTPS_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH", UNUSED),
];
