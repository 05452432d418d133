//! Labels and the rules they are read into, as tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

use std::path::PathBuf;
use std::time::Duration;

use waymark_model::{
    AppEntry, AppId, CheckProtocol, HealthCheck, PortReference, Protocol, Service,
};
use waymark_routing::{
    Backend, BackendProtocol, BackendTls, Balance, BindOptions, Check, HashKey, HostPattern, Mode,
    PathPattern, PortRouting, ProxyVersion, Retries, Rewrite, Routing, Sticky, Timeouts, read,
};

fn app(ports: &[(u16, Protocol)], labels: &[(&str, &str)]) -> AppEntry {
    let mut app = AppEntry::new(AppId::parse("/web").unwrap(), "marathon");
    app.services = ports
        .iter()
        .enumerate()
        .map(|(index, (port, protocol))| Service {
            index,
            port: *port,
            protocol: *protocol,
            name: None,
            labels: Default::default(),
        })
        .collect();
    app.labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    app
}

/// An app with two tcp ports.
fn web(labels: &[(&str, &str)]) -> AppEntry {
    app(&[(10_000, Protocol::Tcp), (10_001, Protocol::Tcp)], labels)
}

fn rules(labels: &[(&str, &str)]) -> PortRouting {
    let routing = read(&web(labels)).unwrap_or_else(|e| panic!("{labels:?}: {e:?}"));
    PortRouting::clone(&routing.ports[0])
}

fn unapplied(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    let routing = read(&web(labels)).unwrap_or_else(|e| panic!("{labels:?}: {e:?}"));
    routing.unapplied.into_iter().map(|u| (u.label, u.reason)).collect()
}

fn hosts(names: &[&str]) -> Vec<HostPattern> {
    names.iter().map(|n| HostPattern::Exact(n.to_string())).collect()
}

fn prefix(text: &str, ignore_case: bool) -> PathPattern {
    PathPattern::Prefix { text: text.into(), ignore_case }
}

/// What labels of marathon-lb say about port 0, each case changing only what it names.
#[test]
fn haproxy_labels() {
    type Case<'a> = (&'a [(&'a str, &'a str)], fn(&mut PortRouting));
    let host = ("HAPROXY_0_VHOST", "a.test");
    let at_host = |r: &mut PortRouting| {
        r.hosts = hosts(&["a.test"]);
        r.mode = Mode::Http;
    };
    let cases: &[Case] = &[
        (&[], |_| {}),
        (&[("HAPROXY_GROUP", "x,y")], |r| r.groups = vec!["x".into(), "y".into()]),
        (&[("HAPROXY_GROUP", "x"), ("HAPROXY_0_GROUP", "z")], |r| r.groups = vec!["z".into()]),
        (&[("HAPROXY_GROUP", "x"), ("HAPROXY_0_GROUP", "")], |r| r.groups = vec!["".into()]),
        (&[("HAPROXY_0_ENABLED", "True")], |r| r.enabled = Some(true)),
        (&[("HAPROXY_0_ENABLED", "1")], |r| r.enabled = Some(false)),
        (&[("HAPROXY_0_PORT", "8080")], |r| r.port = Some(8080)),
        (&[("HAPROXY_0_BIND_ADDR", "10.0.0.1")], |r| r.bind = Some([10, 0, 0, 1].into())),
        (&[("HAPROXY_0_BIND_ADDR", "[::1]")], |r| r.bind = Some("::1".parse().unwrap())),
        (&[("HAPROXY_0_BIND_ADDR", "*")], |_| {}),
        (&[("HAPROXY_0_MODE", "HTTP")], |r| r.mode = Mode::Http),
        (&[("HAPROXY_0_VHOST", "")], |_| {}),
        (&[("HAPROXY_0_SSL_CERT", "/a.pem crt /b.pem")], |r| {
            r.certificates = vec![PathBuf::from("/a.pem"), PathBuf::from("/b.pem")];
        }),
        (&[("HAPROXY_0_BIND_OPTIONS", "accept-proxy alpn h2,http/1.1 no-sslv3 no-tlsv12")], |r| {
            r.bind_options = BindOptions {
                accept_proxy: true,
                alpn: vec!["h2".into(), "http/1.1".into()],
                tls13_only: true,
            };
        }),
        (&[("HAPROXY_0_BIND_OPTIONS", "ssl crt /x.pem ssl-min-ver TLSv1.2")], |r| {
            r.certificates = vec![PathBuf::from("/x.pem")];
        }),
        (&[("HAPROXY_0_BALANCE", "leastconn")], |r| r.balance = Balance::LeastConnections),
        (&[("HAPROXY_0_BALANCE", "static-rr")], |_| {}),
        (&[("HAPROXY_0_BALANCE", "source")], |r| r.balance = Balance::Hash(HashKey::Source)),
        (&[("HAPROXY_0_BALANCE", "random")], |r| r.balance = Balance::TwoChoices),
        (&[("HAPROXY_0_BALANCE", "random(1)")], |r| r.balance = Balance::Random),
        (&[("HAPROXY_0_BALANCE", "first")], |r| r.balance = Balance::First),
        (&[("HAPROXY_0_MODE", "http"), ("HAPROXY_0_BALANCE", "hdr(X-User)")], |r| {
            r.mode = Mode::Http;
            r.balance = Balance::Hash(HashKey::Header("x-user".into()));
        }),
        (&[("HAPROXY_0_MODE", "http"), ("HAPROXY_0_STICKY", "true")], |r| {
            r.mode = Mode::Http;
            r.sticky = Some(Sticky { cookie: "mesosphere_server_id".into() });
        }),
        (&[("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "127.0.0.1 10.1.2.3/8 ::1")], |r| {
            r.allowed =
                ["127.0.0.1/32", "10.0.0.0/8", "::1/128"].map(|n| n.parse().unwrap()).into();
        }),
        (&[("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/255.255.0.0")], |r| {
            r.allowed = vec!["10.0.0.0/16".parse().unwrap()];
        }),
        (&[("HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX", "1")], |_| {}),
    ];
    for (labels, change) in cases {
        let mut expected = PortRouting::default();
        change(&mut expected);
        assert_eq!(rules(labels), expected, "{labels:?}");
    }
    let cases: &[Case] = &[
        (&[], |_| {}),
        (&[("HAPROXY_0_MODE", "tcp")], |r| r.mode = Mode::Tcp),
        (&[("HAPROXY_0_PATH", "-i /A /b")], |r| {
            r.paths = vec![prefix("/a", true), prefix("/b", true)];
            r.priority = 1;
        }),
        (&[("HAPROXY_0_PATH", "/a"), ("HAPROXY_0_BACKEND_WEIGHT", "0")], |r| {
            r.paths = vec![prefix("/a", false)];
            r.priority = 1;
        }),
        (&[("HAPROXY_0_PATH", "-m str /a"), ("HAPROXY_0_BACKEND_WEIGHT", "-3")], |r| {
            r.paths = vec![PathPattern::Exact("/a".into())];
            r.priority = -3;
        }),
        (&[("HAPROXY_0_REDIRECT_TO_HTTPS", "true")], |r| r.redirect_to_https = true),
        (&[("HAPROXY_0_USE_HSTS", "y")], |r| r.hsts = true),
        (&[("HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "/p/")], |r| {
            r.rewrite = Rewrite::Strip("/p".into());
            r.host_rewrite = Some("a.test".into());
        }),
        (&[("HAPROXY_0_HTTP_BACKEND_REVPROXY_PATH", "/p")], |r| {
            r.location_prefix = Some("/p".into());
        }),
        (&[("HAPROXY_0_HTTP_BACKEND_REDIR", "/app")], |r| r.redirect_root = Some("/app".into())),
    ];
    for (labels, change) in cases {
        let mut expected = PortRouting::default();
        at_host(&mut expected);
        change(&mut expected);
        let labels = [labels, &[host][..]].concat();
        assert_eq!(rules(&labels), expected, "{labels:?}");
    }
}

#[test]
fn waymark_labels() {
    type Case<'a> = (&'a str, &'a str, fn(&mut PortRouting));
    let cases: &[Case] = &[
        ("PATH", "/api/ /", |r| {
            r.paths = vec![PathPattern::Segments("/api".into()), PathPattern::Segments("/".into())];
            r.priority = 1;
        }),
        ("PATH_EXACT", "/a/", |r| {
            r.paths = vec![PathPattern::Exact("/a/".into())];
            r.priority = 1;
        }),
        ("PATH_REGEX", "/u/[0-9]+", |r| {
            r.paths = vec![PathPattern::Regex("^(?:/u/[0-9]+)$".parse().unwrap())];
            r.priority = 1;
        }),
        ("HOST", "B.test., *.c.test, *", |r| {
            r.hosts = vec![
                HostPattern::Exact("b.test".into()),
                HostPattern::Under("c.test".into()),
                HostPattern::Any,
            ];
        }),
        ("STRIP_PREFIX", "/api", |r| r.rewrite = Rewrite::Strip("/api".into())),
        ("STRIP_PREFIX", "/", |_| {}),
        ("REWRITE", "^/old/(.*) /new/$1", |r| {
            r.rewrite =
                Rewrite::Replace { pattern: "^/old/(.*)".parse().unwrap(), with: "/new/$1".into() };
        }),
        ("WEIGHT", "5", |r| r.share = Some(5)),
        ("TIMEOUT_CONNECT", "250ms", |r| r.timeouts.connect = Some(Duration::from_millis(250))),
        ("TIMEOUT_RESPONSE", "30s", |r| r.timeouts.response = Some(Duration::from_secs(30))),
        ("TIMEOUT_IDLE", "1h", |r| r.timeouts.idle = Some(Duration::from_secs(3600))),
        ("TIMEOUT_QUEUE", "2m", |r| {
            r.timeouts = Timeouts { queue: Some(Duration::from_secs(120)), ..Timeouts::default() };
        }),
        ("CHECK_INTERVAL", "100ms", |r| r.probe.interval = Some(Duration::from_millis(100))),
        ("CHECK_TIMEOUT", "2s", |r| r.probe.timeout = Some(Duration::from_secs(2))),
        ("CHECK_PATH", "/up", |r| r.probe.path = Some("/up".into())),
        ("TIMEOUT_UDP", "1s", |r| r.timeouts.udp = Some(Duration::from_secs(1))),
        ("RETRIES", "2", |r| r.retries = Retries { attempts: Some(2), budget_percent: None }),
        ("RETRY_BUDGET", "20%", |r| {
            r.retries = Retries { attempts: None, budget_percent: Some(20) };
        }),
        ("MAX_CONNECTIONS", "7", |r| r.max_connections = Some(7)),
        ("QUEUE", "0", |r| r.queue = Some(0)),
        ("BALANCE", "round-robin", |_| {}),
        ("BALANCE", "least-connections", |r| r.balance = Balance::LeastConnections),
        ("BALANCE", "two-choices", |r| r.balance = Balance::TwoChoices),
        ("BALANCE", "random", |r| r.balance = Balance::Random),
        ("BALANCE", "hash source", |r| r.balance = Balance::Hash(HashKey::Source)),
        ("BALANCE", "hash path", |r| r.balance = Balance::Hash(HashKey::Path)),
        ("BALANCE", "hash header:X-U", |r| {
            r.balance = Balance::Hash(HashKey::Header("x-u".into()));
        }),
        ("BALANCE", "hash cookie:Id", |r| {
            r.balance = Balance::Hash(HashKey::Cookie("Id".into()));
        }),
        ("STICKY", "where", |r| r.sticky = Some(Sticky { cookie: "where".into() })),
        ("BACKEND_PROTOCOL", "grpc", |r| r.backend.protocol = BackendProtocol::Http2),
        ("BACKEND_TLS", "insecure", |r| {
            let tls = BackendTls { insecure: true, ..BackendTls::default() };
            r.backend = Backend { tls: Some(tls), ..Backend::default() };
        }),
        ("BACKEND_CA", "/ca.pem", |_| {}),
        ("SEND_PROXY", "v2", |r| r.backend.send_proxy = Some(ProxyVersion::V2)),
        ("ACCEPT_PROXY", "on", |r| r.bind_options.accept_proxy = true),
    ];
    for (name, value, change) in cases {
        let mut expected =
            PortRouting { hosts: hosts(&["a.test"]), mode: Mode::Http, ..PortRouting::default() };
        change(&mut expected);
        let label = format!("WAYMARK_0_{name}");
        assert_eq!(
            rules(&[("HAPROXY_0_VHOST", "a.test"), (&label, value)]),
            expected,
            "{label}={value}"
        );
    }
    let tls = rules(&[
        ("WAYMARK_0_BACKEND_TLS", "on"),
        ("WAYMARK_0_BACKEND_CA", "/ca.pem"),
        ("WAYMARK_0_BACKEND_SERVER_NAME", "S.test"),
    ]);
    let expected = BackendTls {
        insecure: false,
        ca: Some("/ca.pem".into()),
        server_name: Some("s.test".into()),
    };
    assert_eq!(tls.backend.tls, Some(expected));
}

#[test]
fn a_waymark_label_goes_before_its_sibling() {
    let rules = rules(&[
        ("HAPROXY_0_VHOST", "old.test"),
        ("WAYMARK_0_HOST", "new.test"),
        ("HAPROXY_0_PATH", "/old"),
        ("WAYMARK_0_PATH", "/new"),
        ("WAYMARK_0_PATH_EXACT", "/newer"),
        ("HAPROXY_0_BALANCE", "leastconn"),
        ("WAYMARK_0_BALANCE", "random"),
        ("HAPROXY_0_STICKY", "true"),
        ("WAYMARK_0_STICKY", "off"),
        ("HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "/p"),
        ("WAYMARK_0_STRIP_PREFIX", "/q"),
        ("HAPROXY_0_BIND_OPTIONS", "accept-proxy"),
        ("WAYMARK_0_ACCEPT_PROXY", "off"),
    ]);
    assert_eq!(rules.hosts, hosts(&["new.test"]));
    let paths = [PathPattern::Segments("/new".into()), PathPattern::Exact("/newer".into())];
    assert_eq!(rules.paths, paths);
    assert_eq!((rules.balance, rules.sticky), (Balance::Random, None));
    assert_eq!(rules.rewrite, Rewrite::Strip("/q".into()));
    assert!(!rules.bind_options.accept_proxy);
}

/// Each value is refused with a reason that has this text in it.
#[test]
fn what_cannot_be_read() {
    let cases = [
        ("HAPROXY_0_PORT", "http", "no number from 1 to 65535"),
        ("HAPROXY_0_PORT", "0", "no number from 1"),
        ("HAPROXY_0_BACKEND_WEIGHT", "heavy", "no number"),
        ("HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX", "x", "no number"),
        ("HAPROXY_0_MODE", "health", "http and tcp"),
        ("HAPROXY_0_BALANCE", "fair", "roundrobin"),
        ("HAPROXY_0_BALANCE", "hdr(X", "not closed"),
        ("HAPROXY_0_VHOST", "http://a.test", "without scheme"),
        ("HAPROXY_0_VHOST", "a.*.test", "wildcard"),
        ("HAPROXY_0_VHOST", "a b.test", "letters"),
        ("HAPROXY_0_VHOST", "bücher.test", "punycode"),
        ("HAPROXY_0_PATH", "api", "slash"),
        ("HAPROXY_0_PATH", "-f /paths", "-f is not understood"),
        ("HAPROXY_0_PATH", "-m reg [", "cannot be read"),
        ("HAPROXY_0_AUTH", "realm:user", "2 parts"),
        ("HAPROXY_0_AUTH", "realm:user:pass:word", "4 parts"),
        ("HAPROXY_0_AUTH", "realm:user:secret", "no password hash"),
        ("HAPROXY_0_AUTH", "realm::$1$a$b", "no user"),
        ("HAPROXY_0_AUTH", "realm:u:$y$j9T$abc$def", "cannot be checked"),
        ("HAPROXY_0_AUTH", "realm:u:$6$rounds=999999999$abc$def", "too long"),
        ("HAPROXY_0_BIND_ADDR", "lb.example.com", "no IP address"),
        ("HAPROXY_0_BIND_OPTIONS", "alpn", "lacks its value"),
        ("HAPROXY_0_BIND_OPTIONS", "alpn spdy/3", "h2"),
        ("HAPROXY_0_BIND_OPTIONS", "ssl crt /a.pem verify required", "client certificates"),
        ("HAPROXY_0_SSL_CERT", "'a.pem", "not closed"),
        ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.1,10.0.0.2", "split at blanks"),
        ("HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "p", "slash"),
        ("HAPROXY_0_HTTP_BACKEND_REDIR", "/a b", "blanks"),
        ("HAPROXY_0_HTTP_BACKEND_REDIR", "/%[path]", "expressions"),
        ("HAPROXY_DEPLOYMENT_GROUP", "/", "no group"),
        ("HAPROXY_DEPLOYMENT_STARTED_AT", "yesterday", "no date"),
        ("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "-1", "no number"),
        ("WAYMARK_0_PATH", "/a?b", "query"),
        ("WAYMARK_0_PATH_REGEX", "a)(b", "cannot be read"),
        ("WAYMARK_0_PATH_REGEX", "(a{1000}){1000}", "cannot be read"),
        ("WAYMARK_0_REWRITE", "/a", "what it becomes"),
        ("WAYMARK_0_WEIGHT", "-1", "no number"),
        ("WAYMARK_0_TIMEOUT_CONNECT", "5", "no time"),
        ("WAYMARK_0_TIMEOUT_CONNECT", "0s", "between"),
        ("WAYMARK_0_TIMEOUT_CONNECT", "99999999999999999999s", "no time"),
        ("WAYMARK_0_RETRIES", "11", "0 to 10"),
        ("WAYMARK_0_RETRY_BUDGET", "120%", "0 to 100"),
        ("WAYMARK_0_MAX_CONNECTIONS", "0", "from 1"),
        ("WAYMARK_0_BALANCE", "hash", "lacks its key"),
        ("WAYMARK_0_BALANCE", "hash header:a b", "no way"),
        ("WAYMARK_0_STICKY", "a;b", "no name"),
        ("WAYMARK_0_BACKEND_PROTOCOL", "http3", "http1"),
        ("WAYMARK_0_BACKEND_TLS", "true", "insecure"),
        ("WAYMARK_0_BACKEND_SERVER_NAME", "*.a.test", "one host name"),
        ("WAYMARK_0_SEND_PROXY", "v3", "v1"),
        ("WAYMARK_0_ACCEPT_PROXY", "maybe", "neither"),
    ];
    for (label, value, reason) in cases {
        let errors = read(&web(&[(label, value)])).expect_err(label);
        assert_eq!(errors.len(), 1, "{label}={value}: {errors:?}");
        assert_eq!(errors[0].label, label);
        assert!(errors[0].reason.contains(reason), "{label}={value}: {}", errors[0].reason);
    }
    let both = [("WAYMARK_0_STRIP_PREFIX", "/a"), ("WAYMARK_0_REWRITE", "/a /b")];
    assert!(read(&web(&both)).is_err());
    let pass_through = [
        ("HAPROXY_0_VHOST", "a.test"),
        ("HAPROXY_0_MODE", "tcp"),
        ("HAPROXY_0_AUTH", "r:u:$1$abc$BXBqpb9BZcZhXLgbee.0s/"),
    ];
    assert!(read(&web(&pass_through)).unwrap_err()[0].reason.contains("mode tcp"));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let labels = [("HAPROXY_0_PORT", "x"), ("HAPROXY_1_MODE", "y"), ("WAYMARK_0_QUEUE", "z")];
    assert_eq!(read(&web(&labels)).unwrap_err().len(), 3);
}

#[test]
fn labels_without_effect_are_listed() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("HAPROXY_0_VHOTS", "a")], "HAPROXY_0_VHOST is probably meant"),
        (&[("HAPROXY_00_VHOST", "a")], "HAPROXY_0_VHOST is probably meant"),
        (&[("HAPROXY_0_TOTALLY_UNKNOWN", "a")], "no such label"),
        (&[("HAPROXY_2_VHOST", "a")], "indexes 0 to 1"),
        (&[("HAPROXY_99999999999999999999_VHOST", "a")], "probably meant"),
        (&[("HAPROXY_0_BACKEND_HEAD", "text {x")], "HAPROXY_0_BALANCE"),
        (&[("HAPROXY_0_MAP_HTTP_FRONTEND_ACL", "")], "table"),
        (&[("HAPROXY_0_PATH", "/a")], "needs a host name"),
        (&[("HAPROXY_0_REDIRECT_TO_HTTPS", "true")], "needs a host name"),
        (&[("HAPROXY_0_USE_HSTS", "true")], "needs mode http"),
        (&[("HAPROXY_0_STICKY", "true")], "needs mode http"),
        (&[("HAPROXY_0_ENABLED", "on")], "counts as no"),
        (&[("HAPROXY_GROUP", "a, b")], "blank"),
        (&[("HAPROXY_0_GROUP", " a")], "blank"),
        (&[("HAPROXY_0_BIND_OPTIONS", "ciphers X accept-proxy tfo")], "ciphers X, tfo"),
        (&[("HAPROXY_0_BALANCE", "url_param id")], "roundrobin"),
        (&[("HAPROXY_0_BALANCE", "uri")], "client's address"),
        (&[("WAYMARK_0_BACKEND_CA", "/ca")], "WAYMARK_0_BACKEND_TLS"),
        (&[("WAYMARK_0_TIMEOUT_UDP", "1s")], "does not carry udp"),
        (&[("WAYMARK_0_CHECK_PATH", "/up")], "has no health check of the port"),
    ];
    for (labels, reason) in cases {
        let listed = unapplied(labels);
        let told = listed.iter().any(|(l, r)| l == labels[0].0 && r.contains(reason));
        assert!(told && listed.len() == 1, "{labels:?}: {listed:?}");
    }
    let silent = [
        ("HAPROXY_APP_ID", "x"),
        ("HAPROXY_DEPLOYMENT_COLOUR", "blue"),
        ("owner", "me"),
        ("WAYMARK_DNS_TTL", "5"),
        ("HAPROXY_0_REDIRECT_TO_HTTPS", "false"),
        ("HAPROXY_0_STICKY", ""),
    ];
    assert_eq!(unapplied(&silent), []);
}

fn check(protocol: CheckProtocol, port: Option<PortReference>) -> HealthCheck {
    HealthCheck { protocol, port, ..HealthCheck::default() }
}

/// What follows from checks and MODE: (checks, index label, mode label) → (mode, check of port 0).
#[test]
fn the_mode_follows_from_the_check() {
    use CheckProtocol::{Command, Http, Https, MesosHttp, Tcp};
    use PortReference::{Index, Number};
    type Case<'a> = (
        &'a [(CheckProtocol, Option<PortReference>)],
        &'a str,
        &'a str,
        Mode,
        Option<(usize, usize)>,
    );
    let cases: &[Case] = &[
        (&[], "", "", Mode::Tcp, None),
        (&[(Http, Some(Index(0)))], "", "", Mode::Http, Some((0, 0))),
        (&[(Http, None)], "", "", Mode::Http, Some((0, 0))),
        (&[(Http, Some(Index(0)))], "", "tcp", Mode::Tcp, Some((0, 0))),
        (&[(Http, Some(Index(1)))], "", "", Mode::Tcp, None),
        (&[(Https, Some(Index(0)))], "", "", Mode::Tcp, Some((0, 0))),
        (&[(MesosHttp, Some(Index(0)))], "", "", Mode::Tcp, Some((0, 0))),
        (&[(Tcp, Some(Index(0))), (Http, Some(Index(0)))], "", "", Mode::Tcp, Some((0, 0))),
        (&[(Command, None), (Http, Some(Number(81)))], "", "", Mode::Http, Some((1, 0))),
        (&[(Https, Some(Index(1)))], "1", "", Mode::Http, Some((0, 1))),
        (&[(Https, Some(Index(1)))], "-1", "", Mode::Tcp, None),
        (&[(Http, Some(Index(0)))], "-1", "", Mode::Http, Some((0, 1))),
        (&[(Http, Some(Index(1)))], "1", "tcp", Mode::Tcp, Some((0, 1))),
        (&[(Http, Some(Index(0)))], "2", "", Mode::Http, Some((0, 0))),
        (&[(Http, Some(Index(0)))], "-9", "", Mode::Http, Some((0, 0))),
    ];
    for (checks, index, mode, expected, of) in cases {
        let mut labels = Vec::new();
        if !index.is_empty() {
            labels.push(("HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX", *index));
        }
        if !mode.is_empty() {
            labels.push(("HAPROXY_0_MODE", *mode));
        }
        let mut app = web(&labels);
        app.health_checks = checks.iter().map(|(protocol, port)| check(*protocol, *port)).collect();
        let routing = read(&app).unwrap();
        assert_eq!(routing.ports[0].mode, *expected, "{checks:?} {labels:?}");
        let of = of.map(|(check, service)| Check { check, service });
        assert_eq!(routing.ports[0].check, of, "{checks:?} {labels:?}");
    }
}

#[test]
fn ports_are_counted_in_order_of_their_numbers_for_the_check() {
    // Port 0 is moved behind port 1: place 0 is then port 1.
    let mut app =
        web(&[("HAPROXY_0_PORT", "20000"), ("HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX", "0")]);
    app.health_checks = vec![check(CheckProtocol::Http, Some(PortReference::Index(0)))];
    assert_eq!(read(&app).unwrap().ports[0].check, Some(Check { check: 0, service: 1 }));
}

#[test]
fn a_check_that_asks_for_no_path_is_given_none() {
    for (protocol, listed) in [(CheckProtocol::Tcp, 1), (CheckProtocol::MesosHttps, 0)] {
        let mut app = web(&[("WAYMARK_0_CHECK_PATH", "/up"), ("WAYMARK_0_CHECK_TIMEOUT", "1s")]);
        app.health_checks = vec![check(protocol, Some(PortReference::Index(0)))];
        assert_eq!(read(&app).unwrap().unapplied.len(), listed, "{protocol:?}");
    }
}

#[test]
fn a_udp_port_has_no_host_names() {
    let labels = [
        ("HAPROXY_0_VHOST", "a.test"),
        ("WAYMARK_0_TIMEOUT_UDP", "5s"),
        ("HAPROXY_0_AUTH", "r:u:abcdefghijklm"),
    ];
    let routing = read(&app(&[(53, Protocol::Udp)], &labels)).unwrap();
    assert!(routing.ports[0].hosts.is_empty());
    assert_eq!(routing.ports[0].mode, Mode::Tcp);
    assert_eq!(routing.ports[0].timeouts.udp, Some(Duration::from_secs(5)));
    let listed: Vec<_> = routing.unapplied.iter().map(|u| u.label.as_str()).collect();
    assert_eq!(listed, ["HAPROXY_0_AUTH", "HAPROXY_0_VHOST"]);
}

#[test]
fn an_app_without_ports() {
    let routing =
        read(&app(&[], &[("HAPROXY_0_VHOST", "a.test"), ("HAPROXY_GROUP", "x")])).unwrap();
    assert_eq!(routing, Routing { unapplied: routing.unapplied.clone(), ..Routing::default() });
    assert_eq!(routing.unapplied[0].reason, "the app has no ports");
}

#[test]
fn blue_and_green() {
    let at = |text: &str| {
        let labels = [
            ("HAPROXY_DEPLOYMENT_GROUP", "shop"),
            ("HAPROXY_DEPLOYMENT_STARTED_AT", text),
            ("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "4"),
            ("HAPROXY_DEPLOYMENT_NEW_INSTANCES", "0"),
        ];
        read(&web(&labels)).map(|r| r.deployment.unwrap())
    };
    let deployment = at("2016-03-01T10:20:30.5").unwrap();
    assert_eq!(deployment.group, "/shop");
    assert_eq!((deployment.target_instances, deployment.new_instances), (Some(4), Some(0)));
    let second = 1_000_000_000_i128;
    let base = 1_456_827_630 * second;
    for (text, expected) in [
        ("2016-03-01T10:20:30.5", base + second / 2),
        ("2016-03-01T10:20:30.123456", base + 123_456_000),
        ("2016-03-01 10:20:30", base),
        ("2016-03-01T10:20:30Z", base),
        ("2016-03-01T10:20:30+01:00", base - 3600 * second),
        ("2016-03-01T10:20:30-0130", base + 5400 * second),
        ("2016-03-01T10:20:30+02", base - 7200 * second),
        ("2016-03-01T10:20", base - 30 * second),
        ("2016-03-01", base - (10 * 3600 + 20 * 60 + 30) * second),
    ] {
        assert_eq!(at(text).unwrap().started_at, Some(expected), "{text}");
    }
    for text in [
        "",
        "2016",
        "2016-13-01",
        "2016-02-30",
        "2016-03-01T",
        "2016-03-01T25:00",
        "2016-03-01X10:20",
        "2016-03-01T10:20:30.1234567890",
        "2016-03-01T10:20:30+",
        "2016-03-01T10:20:30ZZ",
        "2016-03-01T10:20:30+99:00",
        "é16-03-01T10:20",
    ] {
        assert!(at(text).is_err(), "{text}");
    }
    assert_eq!(
        read(&web(&[("HAPROXY_DEPLOYMENT_STARTED_AT", "2016-03-01")])).unwrap().deployment,
        None
    );
}

/// What is taken here can be checked later: the hashes are made by the crate that checks them.
#[test]
#[allow(deprecated, reason = "what marathon-lb's users have, not what anybody should make")]
fn hashes_of_every_kind_that_can_be_checked() {
    use pwhash::{bcrypt, md5_crypt, sha1_crypt, sha256_crypt, sha512_crypt, unix_crypt};
    let hashes = [
        unix_crypt::hash("secret"),
        md5_crypt::hash("secret"),
        sha1_crypt::hash("secret"),
        sha256_crypt::hash("secret"),
        sha512_crypt::hash("secret"),
        bcrypt::hash("secret"),
        Ok(bcrypt::hash("secret").unwrap().replace("$2b$", "$2y$")),
        Ok(String::from("$5$rounds=1000$salt$") + &"a".repeat(43)),
    ];
    for hash in hashes.map(Result::unwrap) {
        let value = format!("My realm:user:{hash}");
        let rules = rules(&[("HAPROXY_0_VHOST", "a.test"), ("HAPROXY_0_AUTH", &value)]);
        let auth = rules.auth.unwrap();
        assert_eq!((auth.realm.as_str(), auth.user.as_str()), ("My realm", "user"));
        assert_eq!(auth.hash, hash);
        assert!(!format!("{auth:?}").contains(&hash));
    }
}

#[test]
fn hosts_are_compared_without_port_and_case() {
    for (text, expected) in [
        ("A.Test,a.test:8080, b.test.,", vec!["a.test", "b.test"]),
        ("10.0.0.1:80", vec!["10.0.0.1"]),
        ("[::1]:80,localhost", vec!["[::1]", "localhost"]),
        ("under_score.test", vec!["under_score.test"]),
    ] {
        assert_eq!(rules(&[("HAPROXY_0_VHOST", text)]).hosts, hosts(&expected), "{text}");
    }
}
