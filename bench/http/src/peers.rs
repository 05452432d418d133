//! What HAProxy and nginx are told: the same as Waymark does by itself, that is host names, the
//! headers `X-Forwarded-*`, kept connections to the backend, no log.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::setup::Setup;

/// One backend a host name, found by a map, which is HAProxy's best form for many.
pub fn haproxy(setup: &Setup) -> Outcome<PathBuf> {
    let map: String = setup.names().zip(0..).map(|(name, i)| format!("{name} b{i}\n")).collect();
    let map = setup.file("hosts.map", &map)?;
    let (map, certificate) = (map.display(), setup.certificate());
    let certificate = certificate.display();
    let Setup { http, h2c, https, tcp, backend, .. } = setup;
    let mut config = format!(
        "global\n  nbthread 1\n  maxconn 9000\n\
        defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  \
        timeout http-keep-alive 1h\n\
        frontend clear\n  bind 127.0.0.1:{http}\n  bind 127.0.0.1:{h2c} proto h2\n  \
        option forwardfor\n  \
        http-request set-header X-Forwarded-Host %[req.hdr(host)]\n  \
        http-request set-header X-Forwarded-Port %[dst_port]\n  \
        http-request set-header X-Forwarded-Proto http\n  \
        use_backend %[req.hdr(host),lower,host_only,map({map})]\n\
        frontend tls\n  bind 127.0.0.1:{https} ssl crt {certificate} alpn h2,http/1.1\n  \
        option forwardfor\n  \
        http-request set-header X-Forwarded-Host %[req.hdr(host)]\n  \
        http-request set-header X-Forwarded-Port %[dst_port]\n  \
        http-request set-header X-Forwarded-Proto https\n  \
        use_backend %[req.hdr(host),lower,host_only,map({map})]\n\
        listen relay\n  mode tcp\n  bind 127.0.0.1:{tcp}\n  \
        server s {backend}\n"
    );
    for i in 0..setup.hosts {
        write!(config, "backend b{i}\n  server s {backend}\n")?;
    }
    setup.file("haproxy.cfg", &config)
}

const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Whether nginx can relay TCP (Debian's `libnginx-mod-stream`).
pub fn nginx_streams() -> bool {
    Path::new(STREAM_MODULE).exists()
}

/// One upstream and one server a host name.
pub fn nginx(setup: &Setup) -> Outcome<PathBuf> {
    let folder = setup.folder();
    let folder = folder.display();
    let (certificate, backend) = (setup.certificate(), setup.backend);
    let certificate = certificate.display();
    let Setup { http, h2c, https, tcp, .. } = setup;
    let mut config = String::new();
    if nginx_streams() {
        writeln!(config, "load_module {STREAM_MODULE};")?;
    }
    write!(
        config,
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;\n\
        pid {folder}/pid; error_log {folder}/nginx.log crit;\n\
        events {{ worker_connections 9500; }}\n"
    )?;
    if nginx_streams() {
        let listen = format!("listen 127.0.0.1:{tcp}; proxy_pass {backend};");
        writeln!(config, "stream {{ server {{ {listen} }} }}")?;
    }
    write!(
        config,
        "http {{\n  access_log off; server_tokens off; keepalive_timeout 1h; tcp_nodelay on;\n  \
        keepalive_requests 1000000000; client_body_temp_path {folder}/b; \
        proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; \
        scgi_temp_path {folder}/s;\n  \
        server_names_hash_max_size 65536; server_names_hash_bucket_size 128;\n  \
        proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;\n  \
        proxy_set_header X-Forwarded-For $remote_addr; \
        proxy_set_header X-Forwarded-Host $host; \
        proxy_set_header X-Forwarded-Port $server_port; \
        proxy_set_header X-Forwarded-Proto $scheme;\n  \
        ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {certificate};\n"
    )?;
    // nginx makes room for all of them at its start.
    let kept = if setup.hosts > 100 { 16 } else { 256 };
    for (name, i) in setup.names().zip(0..) {
        write!(
            config,
            "  upstream b{i} {{ server {backend}; keepalive {kept}; \
            keepalive_requests 1000000000; }}\n  \
            server {{ server_name {name}; listen 127.0.0.1:{http}; listen 127.0.0.1:{h2c} http2; \
            listen 127.0.0.1:{https} ssl http2; location / {{ proxy_pass http://b{i}; }} }}\n"
        )?;
    }
    config += "}\n";
    setup.file("nginx.conf", &config)
}
