//! What Envoy and Traefik are told; both read JSON.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::Outcome;
use crate::setup::Setup;

/// One cluster and one virtual host a host name.
pub fn envoy(setup: &Setup) -> Outcome<PathBuf> {
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let cluster = |name: String| {
        json!({"name": name, "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(setup.backend.port())}}]}]}})
    };
    let hosts: Vec<Value> = setup
        .names()
        .zip(0..)
        .map(|(name, i)| {
            json!({"name": name, "domains": [name, format!("{name}:*")], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": format!("b{i}")}}],
                "request_headers_to_add": [
                    {"header": {"key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%"}},
                    {"header": {"key": "x-forwarded-port", "value": "%DOWNSTREAM_LOCAL_PORT%"}}]})
        })
        .collect();
    const API: &str = "type.googleapis.com/envoy.extensions";
    let http = json!({"name": "http", "typed_config": {
        "@type": format!("{API}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "http", "codec_type": "AUTO", "use_remote_address": true,
        "common_http_protocol_options": {"idle_timeout": "3600s"},
        "route_config": {"name": "hosts", "virtual_hosts": hosts},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": format!("{API}.filters.http.router.v3.Router")}}]}});
    let relay = json!({"name": "relay", "typed_config": {
        "@type": format!("{API}.filters.network.tcp_proxy.v3.TcpProxy"),
        "stat_prefix": "tcp", "cluster": "b0"}});
    let pem = json!({"filename": setup.certificate()});
    let tls = json!({"name": "tls", "typed_config": {
        "@type": format!("{API}.transport_sockets.tls.v3.DownstreamTlsContext"),
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{"certificate_chain": pem, "private_key": pem}]}}});
    let listener = |port: u16, filter: &Value, tls: Option<&Value>| {
        let mut chain = json!({"filters": [filter]});
        if let Some(tls) = tls {
            chain["transport_socket"] = tls.clone();
        }
        json!({"name": format!("l{port}"), "address": address(port), "filter_chains": [chain]})
    };
    let config = json!({"static_resources": {
        "listeners": [listener(setup.http, &http, None), listener(setup.h2c, &http, None),
            listener(setup.https, &http, Some(&tls)), listener(setup.tcp, &relay, None)],
        "clusters": (0..setup.hosts).map(|i| cluster(format!("b{i}"))).collect::<Vec<_>>()}});
    setup.file("envoy.json", &config.to_string())
}

/// One router and one service a host name.
pub fn traefik(setup: &Setup) -> Outcome<PathBuf> {
    let mut routers = serde_json::Map::new();
    let mut services = serde_json::Map::new();
    for (name, i) in setup.names().zip(0..) {
        let rule = format!("Host(`{name}`)");
        let service = format!("s{i}");
        let clear = json!({"rule": rule, "service": service, "entryPoints": ["http", "h2c"]});
        let tls = json!({"rule": rule, "service": service, "entryPoints": ["https"], "tls": {}});
        routers.insert(format!("c{i}"), clear);
        routers.insert(format!("t{i}"), tls);
        let url = format!("http://{}", setup.backend);
        services.insert(service, json!({"loadBalancer": {"servers": [{"url": url}]}}));
    }
    let pem = setup.certificate();
    let backend = setup.backend.to_string();
    let dynamic = json!({
        "http": {"routers": routers, "services": services},
        "tcp": {
            "routers": {"relay": {
                "rule": "HostSNI(`*`)", "service": "relay", "entryPoints": ["tcp"]}},
            "services": {"relay": {"loadBalancer": {"servers": [{"address": backend}]}}}},
        "tls": {"certificates": [{"certFile": pem, "keyFile": pem}]}});
    // JSON is YAML; the file's name must say the latter.
    let dynamic = setup.file("dynamic.yml", &dynamic.to_string())?;
    let entry = |port: u16| json!({"address": format!("127.0.0.1:{port}")});
    let fixed = json!({
        "global": {"checkNewVersion": false, "sendAnonymousUsage": false},
        "log": {"level": "ERROR"},
        "entryPoints": {"http": entry(setup.http), "h2c": entry(setup.h2c),
            "https": entry(setup.https), "tcp": entry(setup.tcp)},
        "providers": {"file": {"filename": dynamic}}});
    setup.file("traefik.yml", &fixed.to_string())
}
