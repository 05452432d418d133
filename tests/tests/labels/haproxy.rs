//! marathon-lb's labels.

use std::collections::BTreeSet;
use std::io::Read;

use crate::client::{Request, connect};
use crate::story::{App, At, Case, expect, holds, seen, seen_path, task_of};

/// The password is `password`.
const HASHED: &str = "The realm:ann:$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";

fn one(name: &'static str, app: App, check: fn(&At) -> Result<(), String>) -> Case {
    Case { name, apps: vec![app], check }
}

pub fn cases() -> Vec<Case> {
    [routing(), access(), listeners(), choosing(), rewriting(), deployment()].concat()
}

fn routing() -> Vec<Case> {
    vec![
        one("vhost", App::whoami(&[("HAPROXY_0_VHOST", "{host},Second.test,*.wild.test")]), |at| {
            for host in [at.host.as_str(), "SECOND.test", "second.test:8080", "a.b.wild.test"] {
                expect(host, at.get_host(host)?.status, 200)?;
            }
            for host in ["third.test", "wild.test"] {
                expect(host, at.get_host(host)?.status, 503)?;
            }
            let over_tls = at.curl(&["https://{host}:{https}/"])?;
            holds("it answers over TLS", over_tls.contains("/vhost-0"))
        }),
        one(
            "enabled",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_ENABLED", "false")]),
            |at| {
                expect("by host", at.get("/")?.status, 503)?;
                holds("its service port is closed", connect(at.service()).is_err())
            },
        ),
        one(
            "path",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_PATH", "-i /api /b")]),
            |at| {
                for (path, status) in
                    [("/api", 200), ("/APIx?q", 200), ("/b/c", 200), ("/", 503), ("/a", 503)]
                {
                    expect(path, at.get(path)?.status, status)?;
                }
                Ok(())
            },
        ),
        Case {
            name: "backend-weight",
            apps: vec![
                App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_PATH", "/api")]),
                App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_BACKEND_WEIGHT", "5")]),
            ],
            check: |at| {
                let task = task_of(&at.get("/api/x")?);
                holds("the greater weight goes first", task.starts_with("backend-weight-1"))
            },
        },
        one(
            "redirect",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_REDIRECT_TO_HTTPS", "true")]),
            |at| {
                let reply = at.get("/a?b=c")?;
                expect("status", reply.status, 301)?;
                let place = reply.header("location").unwrap_or_default();
                holds(
                    place,
                    place.starts_with("https://redirect.lb.test") && place.ends_with("/a?b=c"),
                )?;
                holds(
                    "https answers",
                    at.curl(&["https://{host}:{https}/"])?.contains("/redirect-0"),
                )
            },
        ),
        one("mode-http", App::whoami(&[("HAPROXY_0_MODE", "http")]), |at| {
            let reply = at.get_service("/")?;
            expect("X-Forwarded-For", seen(&reply, "x-forwarded-for"), "127.0.0.1")?;
            let headers = [("X-Marathon-App-Id", "/mode-http-0")];
            let to = at.front("appid");
            let request = Request { to, before: b"", host: "x", target: "/", headers: &headers };
            expect("by its id", task_of(&request.send()?).starts_with("mode-http-0"), true)
        }),
        one("mode-tcp", App::whoami(&[("HAPROXY_0_MODE", "tcp")]), |at| {
            let reply = at.get_service("/")?;
            expect("status", reply.status, 200)?;
            expect("X-Forwarded-For", seen(&reply, "x-forwarded-for"), "")
        }),
        one(
            "passthrough",
            App::of(
                "{task} tls $PORT0 {folder}/cert.pem {folder}/key.pem",
                &[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_MODE", "tcp")],
            ),
            |at| {
                let answer = at.curl(&["https://{host}:{https}/"])?;
                holds(
                    &answer,
                    answer.contains("passthrough-0") && answer.ends_with(" passthrough.lb.test"),
                )
            },
        ),
        one(
            "check-port",
            App {
                cmd: "waymark whoami --port $PORT1 & exec waymark whoami --port $PORT0",
                protocols: &["tcp", "tcp"],
                checked: Some(1),
                ..App::whoami(&[("HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX", "1")])
            },
            |at| expect("mode http", seen(&at.get_service("/")?, "x-forwarded-for"), "127.0.0.1"),
        ),
    ]
}

fn access() -> Vec<Case> {
    const AUTH: &[(&str, &str)] = &[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_AUTH", HASHED)];
    vec![
        one("auth", App::whoami(AUTH), |at| {
            let reply = at.get("/")?;
            expect("without password", reply.status, 401)?;
            let asked = reply.header("www-authenticate").unwrap_or_default();
            holds(asked, asked.starts_with("Basic realm=\"The realm\""))?;
            let basic = |text: &str| format!("Basic {}", base64(text));
            let wrong = at.get_with("/", &[("Authorization", &basic("ann:wrong"))])?;
            expect("with the wrong one", wrong.status, 401)?;
            let right = at.get_with("/", &[("Authorization", &basic("ann:password"))])?;
            expect("with the right one", right.status, 200)?;
            for target in ["//", "/%2e/", "/x/..", "/;a=b/", &format!("http://{}/", at.host)] {
                expect(target, at.get(target)?.status, 401)?;
            }
            expect("on the service port", at.get_service("/")?.status, 200)
        }),
        one(
            "allowed",
            App::whoami(&[
                ("HAPROXY_0_VHOST", "{host}"),
                ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.1.2.3 127.0.0.0/8"),
            ]),
            |at| {
                expect("by host", at.get("/")?.status, 200)?;
                expect("on the service port", at.get_service("/")?.status, 200)
            },
        ),
        one(
            "denied",
            App::whoami(&[
                ("HAPROXY_0_VHOST", "{host}"),
                ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.1.2.3 ::2"),
            ]),
            |at| {
                expect("by host", at.get("/")?.status, 403)?;
                expect("on the service port", at.get_service("/")?.status, 403)
            },
        ),
        one(
            "denied-tcp",
            App::whoami(&[("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.1.2.3")]),
            |at| {
                holds("the connection is closed", at.get_service("/").is_err())?;
                holds("the service port listens", connect(at.service()).is_ok())
            },
        ),
        one(
            "hsts",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_USE_HSTS", "true")]),
            |at| {
                let plain = at.get("/")?;
                expect("without TLS", plain.header("strict-transport-security"), None)?;
                let secure =
                    at.curl(&["--include", "https://{host}:{https}/"])?.to_ascii_lowercase();
                holds(&secure, secure.contains("strict-transport-security: max-age=15768000"))
            },
        ),
    ]
}

fn listeners() -> Vec<Case> {
    vec![
        one("port", App::whoami(&[("HAPROXY_0_PORT", "{port}")]), |at| {
            let ranges = &at.story.waymark.ports;
            let port = ranges.service_min + waymark_stories::PortRanges::SIZE - 1;
            let to = ([127, 0, 0, 1], port).into();
            let request = Request { to, before: b"", host: "x", target: "/", headers: &[] };
            expect("on the label's port", request.send()?.status, 200)?;
            holds("not on the service port", connect(at.service()).is_err())
        }),
        one("bind-addr", App::whoami(&[("HAPROXY_0_BIND_ADDR", "127.0.0.2")]), |at| {
            let to = ([127, 0, 0, 2], at.ports[0]).into();
            let request = Request { to, before: b"", host: "x", target: "/", headers: &[] };
            expect("on its address", request.send()?.status, 200)?;
            holds("not on the configured one", connect(at.service()).is_err())
        }),
        one(
            "ssl-cert",
            App::whoami(&[("HAPROXY_0_MODE", "http"), ("HAPROXY_0_SSL_CERT", "{folder}/both.pem")]),
            |at| holds("TLS", at.curl(&["https://{host}:{service}/"])?.contains("/ssl-cert-0")),
        ),
        one(
            "bind-options",
            App::whoami(&[
                ("HAPROXY_0_MODE", "http"),
                (
                    "HAPROXY_0_BIND_OPTIONS",
                    "ssl crt {folder}/both.pem alpn http/1.1 ssl-min-ver TLSv1.3 tfo",
                ),
            ]),
            |at| {
                let version =
                    at.curl(&["https://{host}:{service}/", "--write-out=\n%{http_version}"])?;
                holds("alpn", version.ends_with("\n1.1"))?;
                holds(
                    "TLS 1.2 is refused",
                    at.curl(&["https://{host}:{service}/", "--tls-max=1.2"]).is_err(),
                )
            },
        ),
        one(
            "bind-proxy",
            App::whoami(&[("HAPROXY_0_MODE", "http"), ("HAPROXY_0_BIND_OPTIONS", "accept-proxy")]),
            |at| {
                let before = b"PROXY TCP4 192.0.2.7 192.0.2.8 1000 80\r\n";
                let request =
                    Request { to: at.service(), before, host: "x", target: "/", headers: &[] };
                expect("client", seen(&request.send()?, "x-forwarded-for"), "192.0.2.7")
            },
        ),
    ]
}

/// Which tasks answer, for a balance that goes by what is the same in all requests.
fn distinct(tasks: &[String]) -> usize {
    tasks.iter().collect::<BTreeSet<_>>().len()
}

fn choosing() -> Vec<Case> {
    vec![
        one(
            "roundrobin",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_BALANCE", "roundrobin")])
                .times(3),
            |at| expect("tasks used", distinct(&at.tasks(12, "/", &[])?), 3),
        ),
        one(
            "leastconn",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_BALANCE", "leastconn")])
                .times(2),
            |at| {
                let to = at.front("http");
                let slow = Request {
                    to,
                    before: b"",
                    host: &at.host,
                    target: "/slow?ms=1500&json=1",
                    headers: &[],
                };
                let mut busy = slow.begin()?;
                std::thread::sleep(std::time::Duration::from_millis(100));
                let others = at.tasks(6, "/", &[])?;
                let mut answer = Vec::new();
                busy.read_to_end(&mut answer).map_err(|e| e.to_string())?;
                let busy = task_of(&crate::client::parse(&answer)?);
                holds("the busy task gets nothing more", !others.contains(&busy))
            },
        ),
        one(
            "source",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_BALANCE", "source")]).times(3),
            |at| expect("tasks used", distinct(&at.tasks(8, "/", &[])?), 1),
        ),
        one(
            "uri",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_BALANCE", "uri")]).times(3),
            |at| {
                expect("tasks for one path", distinct(&at.tasks(6, "/same?x", &[])?), 1)?;
                let many: Result<Vec<_>, _> =
                    (0..16).map(|n| at.get(&format!("/{n}")).map(|r| task_of(&r))).collect();
                holds("other paths go elsewhere", distinct(&many?) > 1)
            },
        ),
        one(
            "hdr",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_BALANCE", "hdr(X-User)")])
                .times(3),
            |at| {
                expect(
                    "tasks for one user",
                    distinct(&at.tasks(6, "/", &[("X-User", "ann")])?),
                    1,
                )?;
                let user =
                    |n| at.get_with("/", &[("x-user", &format!("{n}"))]).map(|r| task_of(&r));
                let many: Result<Vec<_>, _> = (0..16).map(user).collect();
                holds("other users go elsewhere", distinct(&many?) > 1)
            },
        ),
        one(
            "first",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_BALANCE", "first")]).times(2),
            |at| expect("tasks used", distinct(&at.tasks(6, "/", &[])?), 1),
        ),
        one(
            "sticky",
            App::whoami(&[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_STICKY", "true")]).times(3),
            |at| {
                let first = at.get("/")?;
                let cookie = first.header("set-cookie").unwrap_or_default();
                let pair = cookie.split(';').next().unwrap_or_default();
                let value = pair.strip_prefix("mesosphere_server_id=").unwrap_or_default();
                holds(cookie, value.len() == 10 && value.bytes().all(|b| b.is_ascii_hexdigit()))?;
                for task in at.tasks(6, "/", &[("Cookie", &format!("a=b; {pair}"))])? {
                    expect("task", &task, &task_of(&first))?;
                }
                let unknown = at.get_with("/", &[("Cookie", "mesosphere_server_id=0000000000")])?;
                expect("an unknown value", unknown.status, 200)
            },
        ),
    ]
}

fn rewriting() -> Vec<Case> {
    vec![
        one(
            "proxypass",
            App::whoami(&[
                ("HAPROXY_0_VHOST", "{host},other.proxypass.lb.test"),
                ("HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "/p"),
            ]),
            |at| {
                for (path, wanted) in
                    [("/p/x?q=1", "/x"), ("/p", "/"), ("/px", "/px"), ("/q", "/q")]
                {
                    expect(path, seen_path(&at.get(path)?), wanted)?;
                }
                let reply = at.get_host("other.proxypass.lb.test")?;
                expect("host", seen(&reply, "host"), &*at.host)
            },
        ),
        one(
            "revproxy",
            App::of(
                "{task} location $PORT0",
                &[("HAPROXY_0_VHOST", "{host}"), ("HAPROXY_0_HTTP_BACKEND_REVPROXY_PATH", "/p")],
            ),
            |at| {
                for (given, wanted) in [
                    ("/x", "/p/x"),
                    ("http://revproxy.lb.test/y", "/p/y"),
                    ("http://else.test/z", "http://else.test/z"),
                ] {
                    let reply = at.get(&format!("/?{given}"))?;
                    expect("status", reply.status, 302)?;
                    let found = reply.header("location").unwrap_or_default().to_owned();
                    let found = found.strip_prefix("http://revproxy.lb.test").unwrap_or(&found);
                    expect(given, found, wanted)?;
                }
                Ok(())
            },
        ),
        one(
            "redir",
            App::whoami(&[
                ("HAPROXY_0_VHOST", "{host}"),
                ("HAPROXY_0_HTTP_BACKEND_REDIR", "/app/"),
            ]),
            |at| {
                let reply = at.get("/")?;
                expect("status", reply.status, 301)?;
                expect("place", reply.header("location"), Some("/app/"))?;
                expect("elsewhere", at.get("/x")?.status, 200)
            },
        ),
    ]
}

/// A pair: the newer one has taken over, so the older one's only task is drained.
fn deployment() -> Vec<Case> {
    const OLD: &[(&str, &str)] = &[
        ("HAPROXY_DEPLOYMENT_GROUP", "pair"),
        ("HAPROXY_DEPLOYMENT_STARTED_AT", "2016-03-01T10:20:30.123456"),
        ("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "1"),
        ("HAPROXY_0_VHOST", "{host}"),
    ];
    const NEW: &[(&str, &str)] = &[
        ("HAPROXY_DEPLOYMENT_GROUP", "pair"),
        ("HAPROXY_DEPLOYMENT_STARTED_AT", "2016-03-02T10:20:30+01:00"),
        ("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "1"),
        ("HAPROXY_0_VHOST", "{host}"),
    ];
    const MIXED_OLD: &[(&str, &str)] = &[
        ("HAPROXY_DEPLOYMENT_GROUP", "/mixed-pair"),
        ("HAPROXY_DEPLOYMENT_STARTED_AT", "2016-03-01T10:20:30"),
        ("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "2"),
        ("HAPROXY_0_VHOST", "{host}"),
    ];
    const MIXED_NEW: &[(&str, &str)] = &[
        ("HAPROXY_DEPLOYMENT_GROUP", "/mixed-pair"),
        ("HAPROXY_DEPLOYMENT_STARTED_AT", "2016-03-02T10:20:30"),
        ("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "2"),
        ("HAPROXY_DEPLOYMENT_NEW_INSTANCES", "1"),
        ("HAPROXY_0_VHOST", "{host}"),
    ];
    vec![
        Case {
            name: "blue-green",
            apps: vec![App::whoami(OLD), App::whoami(NEW)],
            check: |at| {
                let tasks = at.tasks(8, "/", &[])?;
                holds(
                    "only the newer one answers",
                    tasks.iter().all(|t| t.starts_with("blue-green-1")),
                )
            },
        },
        Case {
            name: "mixed",
            apps: vec![App::whoami(MIXED_OLD), App::whoami(MIXED_NEW)],
            check: |at| expect("tasks used", distinct(&at.tasks(8, "/", &[])?), 2),
        },
    ]
}

/// Under `--group=external --strict-mode`.
pub fn exposure() -> Vec<Case> {
    vec![
        one(
            "external",
            App::whoami(&[
                ("HAPROXY_GROUP", "internal,external"),
                ("HAPROXY_0_VHOST", "{host}"),
                ("HAPROXY_0_ENABLED", "true"),
            ]),
            |at| {
                expect("by host", at.get("/")?.status, 200)?;
                expect("on the service port", at.get_service("/")?.status, 200)
            },
        ),
        one(
            "own-group",
            App::whoami(&[
                ("HAPROXY_GROUP", "internal"),
                ("HAPROXY_0_GROUP", "external"),
                ("HAPROXY_0_VHOST", "{host}"),
                ("HAPROXY_0_ENABLED", "true"),
            ]),
            |at| expect("by host", at.get("/")?.status, 200),
        ),
        one(
            "internal",
            App::whoami(&[
                ("HAPROXY_GROUP", "external"),
                ("HAPROXY_0_GROUP", "internal"),
                ("HAPROXY_0_VHOST", "{host}"),
                ("HAPROXY_0_ENABLED", "true"),
            ]),
            |at| {
                expect("by host", at.get("/")?.status, 503)?;
                holds("its service port is closed", connect(at.service()).is_err())
            },
        ),
        one(
            "not-enabled",
            App::whoami(&[("HAPROXY_GROUP", "external"), ("HAPROXY_0_VHOST", "{host}")]),
            |at| {
                expect("by host", at.get("/")?.status, 503)?;
                holds("its service port is closed", connect(at.service()).is_err())
            },
        ),
    ]
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
