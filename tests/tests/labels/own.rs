//! Waymark's own labels.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::client::{Request, connect, parse};
use crate::story::{App, At, Case, expect, holds, seen, seen_path, task_of};

fn one(name: &'static str, app: App, check: fn(&At) -> Result<(), String>) -> Case {
    Case { name, apps: vec![app], check }
}

pub fn cases() -> Vec<Case> {
    [routing(), rewriting(), timeouts(), retries(), limits(), choosing(), upstream()].concat()
}

/// The status for each path.
fn statuses(at: &At, wanted: &[(&str, u16)]) -> Result<(), String> {
    wanted.iter().try_for_each(|(path, status)| expect(path, at.get(path)?.status, *status))
}

fn routing() -> Vec<Case> {
    vec![
        one(
            "own-host",
            App::whoami(&[
                ("HAPROXY_0_VHOST", "not.own-host.lb.test"),
                ("WAYMARK_0_HOST", "{host}"),
            ]),
            |at| {
                expect("its name", at.get("/")?.status, 200)?;
                expect("the sibling's name", at.get_host("not.own-host.lb.test")?.status, 503)
            },
        ),
        one(
            "own-path",
            App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_PATH", "/api /b/")]),
            |at| {
                statuses(
                    at,
                    &[("/api", 200), ("/api/v2?q", 200), ("/b", 200), ("/apix", 503), ("/", 503)],
                )
            },
        ),
        Case {
            name: "longest",
            apps: vec![
                App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_PATH", "/api")]),
                App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_PATH", "/api/v2")]),
                App::whoami(&[
                    ("WAYMARK_0_HOST", "{host}"),
                    ("WAYMARK_0_PATH_EXACT", "/api/v2/me"),
                ]),
                App::whoami(&[
                    ("WAYMARK_0_HOST", "{host}"),
                    ("WAYMARK_0_PATH_REGEX", "/[a-z]+/v3"),
                ]),
            ],
            check: |at| {
                for (path, app) in [
                    ("/api/x", 0),
                    ("/api/v2/x", 1),
                    ("/api/v2/me", 2),
                    ("/abc/v3", 3),
                    ("/api/v3", 0),
                ] {
                    let task = task_of(&at.get(path)?);
                    holds(
                        &format!("{path} goes to {app}, but to {task}"),
                        task.starts_with(&format!("longest-{app}")),
                    )?;
                }
                expect("/api/v2x", task_of(&at.get("/api/v2x")?).starts_with("longest-0"), true)
            },
        },
        one(
            "path-exact",
            App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_PATH_EXACT", "/a /b")]),
            |at| statuses(at, &[("/a", 200), ("/b?q", 200), ("/a/", 503), ("/ab", 503)]),
        ),
        one(
            "path-regex",
            App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_PATH_REGEX", "/u/[0-9]+")]),
            |at| statuses(at, &[("/u/12", 200), ("/u/12/x", 503), ("/x/u/12", 503), ("/u/", 503)]),
        ),
        Case {
            name: "weight",
            apps: vec![
                App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_WEIGHT", "30")]),
                App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_WEIGHT", "10")]),
                App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_WEIGHT", "0")]),
            ],
            check: |at| {
                let mut counts = BTreeMap::new();
                for task in at.tasks(200, "/", &[])? {
                    *counts
                        .entry(task.chars().take("weight-0".len()).collect::<String>())
                        .or_insert(0) += 1;
                }
                let count = |app: &str| counts.get(app).copied().unwrap_or(0);
                holds(
                    &format!("3:1:0, but {counts:?}"),
                    (20..=80).contains(&count("weight-1")) && count("weight-2") == 0,
                )
            },
        },
    ]
}

fn rewriting() -> Vec<Case> {
    vec![
        one(
            "strip",
            App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_STRIP_PREFIX", "/api")]),
            |at| {
                for (path, wanted) in
                    [("/api/x?q=1", "/x"), ("/api", "/"), ("/apix", "/apix"), ("/", "/")]
                {
                    expect(path, seen_path(&at.get(path)?), wanted)?;
                }
                Ok(())
            },
        ),
        one(
            "rewrite",
            App::whoami(&[
                ("WAYMARK_0_HOST", "{host}"),
                ("WAYMARK_0_REWRITE", "^/old/(.*) /new/$1"),
            ]),
            |at| {
                let reply = at.get("/old/a/b?q=1")?;
                expect("path", seen_path(&reply), "/new/a/b")?;
                expect("query", reply.json()["request"]["query"].as_str(), Some("q=1"))?;
                expect("other paths", seen_path(&at.get("/other/old/")?), "/other/old/")
            },
        ),
    ]
}

fn timeouts() -> Vec<Case> {
    vec![
        one(
            "timeout-connect",
            App::of(
                "{task} deaf $PORT0",
                &[
                    ("WAYMARK_0_HOST", "{host}"),
                    ("WAYMARK_0_TIMEOUT_CONNECT", "200ms"),
                    ("WAYMARK_0_RETRIES", "0"),
                ],
            ),
            |at| {
                let began = Instant::now();
                let status = at.get("/")?.status;
                holds(&format!("{status} is 503 or 504"), status == 503 || status == 504)?;
                holds(
                    "it took as long as the label says",
                    (150..3000).contains(&began.elapsed().as_millis()),
                )
            },
        ),
        one(
            "timeout-response",
            App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_TIMEOUT_RESPONSE", "300ms")]),
            |at| {
                let began = Instant::now();
                expect("status", at.get("/slow?ms=8000")?.status, 504)?;
                holds(
                    "it took as long as the label says",
                    began.elapsed() < Duration::from_secs(3),
                )?;
                expect("a fast answer", at.get("/slow?ms=1")?.status, 200)
            },
        ),
        one(
            "timeout-idle",
            App::of("{task} talk $PORT0", &[("WAYMARK_0_TIMEOUT_IDLE", "400ms")]),
            |at| {
                let mut stream = connect(at.service())?;
                let began = Instant::now();
                let mut all = Vec::new();
                // Its end, clean or not.
                let _ = stream.read_to_end(&mut all);
                holds("the task was reached", all.starts_with(b"timeout-idle-0"))?;
                holds(
                    "the connection ends by itself",
                    (300..5000).contains(&began.elapsed().as_millis()),
                )
            },
        ),
        one(
            "timeout-queue",
            App::whoami(&[
                ("WAYMARK_0_HOST", "{host}"),
                ("WAYMARK_0_MAX_CONNECTIONS", "1"),
                ("WAYMARK_0_TIMEOUT_QUEUE", "300ms"),
            ]),
            |at| {
                let busy = occupy(at)?;
                let began = Instant::now();
                expect("status", at.get("/")?.status, 503)?;
                holds("it waited", (250..1900).contains(&began.elapsed().as_millis()))?;
                finish(busy)
            },
        ),
        one(
            "timeout-udp",
            App {
                protocols: &["udp"],
                ..App::of("{task} udp $PORT0", &[("WAYMARK_0_TIMEOUT_UDP", "200ms")])
            }
            .times(2),
            |at| {
                let socket = UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
                socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(|e| e.to_string())?;
                let ask = || -> Result<String, String> {
                    socket.send_to(b"?", at.service()).map_err(|e| e.to_string())?;
                    let mut buffer = [0; 256];
                    let length = socket.recv(&mut buffer).map_err(|e| e.to_string())?;
                    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
                };
                let first = ask()?;
                for _ in 0..5 {
                    expect("at once the same task", ask()?, &*first)?;
                }
                for _ in 0..12 {
                    std::thread::sleep(Duration::from_millis(500));
                    if ask()? != first {
                        return Ok(());
                    }
                }
                Err(String::from("after a pause another task"))
            },
        ),
    ]
}

/// Cases for a balancer that checks tasks itself, though hardly ever.
pub fn checks() -> Vec<Case> {
    const SLOW: &[(&str, &str)] = &[
        ("WAYMARK_0_CHECK_INTERVAL", "200ms"),
        ("WAYMARK_0_CHECK_TIMEOUT", "100ms"),
        ("WAYMARK_0_CHECK_PATH", "/slow"),
    ];
    let app = |labels| App { checked: Some(0), ..App::whoami(labels) };
    vec![
        one("check-own", app(SLOW), |at| expect("its check", at.states()?, ["check-failed"])),
        one("check-usual", app(&[]), |at| expect("no check yet", at.states()?, ["ready"])),
    ]
}

/// A request that keeps the only task busy for two seconds.
fn occupy(at: &At) -> Result<TcpStream, String> {
    expect("before", at.get("/")?.status, 200)?;
    let to = at.front("http");
    let busy = Request { to, before: b"", host: &at.host, target: "/slow?ms=2000", headers: &[] }
        .begin()?;
    std::thread::sleep(Duration::from_millis(200));
    Ok(busy)
}

fn finish(mut busy: TcpStream) -> Result<(), String> {
    let mut answer = Vec::new();
    busy.read_to_end(&mut answer).map_err(|e| e.to_string())?;
    expect("the busy one", parse(&answer)?.status, 200)
}

/// Of two tasks one takes no connections: whether requests fail shows whether others are tried.
fn retries() -> Vec<Case> {
    fn failures(at: &At) -> Result<usize, String> {
        let mut failures = 0;
        for _ in 0..12 {
            failures += usize::from(at.get("/")?.status != 200);
        }
        Ok(failures)
    }
    vec![
        one(
            "retries",
            App::of(
                "{task} odd $PORT0 {folder}/retries",
                &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_RETRIES", "1")],
            )
            .times(2),
            |at| expect("failures", failures(at)?, 0),
        ),
        one(
            "no-retries",
            App::of(
                "{task} odd $PORT0 {folder}/no-retries",
                &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_RETRIES", "0")],
            )
            .times(2),
            |at| {
                let failed = failures(at)?;
                holds(&format!("some of 12 fail, but {failed}"), (1..12).contains(&failed))
            },
        ),
        one(
            "no-budget",
            App::of(
                "{task} odd $PORT0 {folder}/no-budget",
                &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_RETRY_BUDGET", "0%")],
            )
            .times(2),
            |at| {
                let failed = failures(at)?;
                holds(&format!("some of 12 fail, but {failed}"), (1..12).contains(&failed))
            },
        ),
    ]
}

fn limits() -> Vec<Case> {
    vec![
        one(
            "max-connections",
            App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_MAX_CONNECTIONS", "1")]),
            |at| {
                let busy = occupy(at)?;
                let began = Instant::now();
                expect("one that waits", at.get("/")?.status, 200)?;
                holds("it waited for the other", began.elapsed() > Duration::from_secs(1))?;
                finish(busy)
            },
        ),
        one(
            "queue",
            App::whoami(&[
                ("WAYMARK_0_HOST", "{host}"),
                ("WAYMARK_0_MAX_CONNECTIONS", "1"),
                ("WAYMARK_0_QUEUE", "0"),
            ]),
            |at| {
                let busy = occupy(at)?;
                let began = Instant::now();
                expect("status", at.get("/")?.status, 503)?;
                holds("at once", began.elapsed() < Duration::from_secs(1))?;
                finish(busy)
            },
        ),
    ]
}

fn used(at: &At, headers: &[(&str, &str)]) -> Result<usize, String> {
    let mut tasks = at.tasks(9, "/same", headers)?;
    tasks.sort();
    tasks.dedup();
    Ok(tasks.len())
}

fn choosing() -> Vec<Case> {
    const BALANCES: [(&str, &[(&str, &str)]); 5] = [
        ("round-robin", &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_BALANCE", "round-robin")]),
        ("random", &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_BALANCE", "random")]),
        ("two-choices", &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_BALANCE", "two-choices")]),
        ("hash-source", &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_BALANCE", "hash source")]),
        ("hash-path", &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_BALANCE", "hash path")]),
    ];
    let spread = |at: &At| holds("several tasks are used", used(at, &[])? > 1);
    let same = |at: &At| expect("tasks used", used(at, &[])?, 1);
    let mut cases = Vec::new();
    for (n, (name, labels)) in BALANCES.into_iter().enumerate() {
        cases.push(one(name, App::whoami(labels).times(3), if n < 3 { spread } else { same }));
    }
    cases.extend([
        one(
            "hash-header",
            App::whoami(&[
                ("WAYMARK_0_HOST", "{host}"),
                ("WAYMARK_0_BALANCE", "hash header:x-user"),
            ])
            .times(3),
            |at| keyed(at, |n| ("X-User", format!("user{n}"))),
        ),
        one(
            "hash-cookie",
            App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_BALANCE", "hash cookie:id")])
                .times(3),
            |at| keyed(at, |n| ("Cookie", format!("x=y; id=user{n}"))),
        ),
        one(
            "least",
            App::whoami(&[
                ("WAYMARK_0_HOST", "{host}"),
                ("WAYMARK_0_BALANCE", "least-connections"),
            ])
            .times(2),
            |at| {
                let to = at.front("http");
                let mut busy = Request {
                    to,
                    before: b"",
                    host: &at.host,
                    target: "/slow?ms=1500",
                    headers: &[],
                }
                .begin()?;
                std::thread::sleep(Duration::from_millis(100));
                let others = at.tasks(5, "/", &[])?;
                let mut answer = Vec::new();
                busy.read_to_end(&mut answer).map_err(|e| e.to_string())?;
                holds(
                    "the busy task gets nothing more",
                    !others.contains(&task_of(&parse(&answer)?)),
                )
            },
        ),
        one(
            "own-sticky",
            App::whoami(&[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_STICKY", "where")]).times(3),
            |at| {
                let first = at.get("/")?;
                let cookie = first.header("set-cookie").unwrap_or_default();
                let pair = cookie.split(';').next().unwrap_or_default();
                holds(cookie, pair.starts_with("where="))?;
                for task in at.tasks(6, "/", &[("Cookie", pair)])? {
                    expect("task", &task, &task_of(&first))?;
                }
                Ok(())
            },
        ),
    ]);
    cases
}

/// One key always gets the same task, several keys get several.
fn keyed(at: &At, key: fn(usize) -> (&'static str, String)) -> Result<(), String> {
    let (name, value) = key(0);
    expect("tasks for one key", used(at, &[(name, &value)])?, 1)?;
    let mut tasks = Vec::new();
    for n in 0..16 {
        let (name, value) = key(n);
        tasks.extend(at.tasks(1, "/", &[(name, &value)])?);
    }
    tasks.sort();
    tasks.dedup();
    holds("other keys go elsewhere", tasks.len() > 1)
}

fn upstream() -> Vec<Case> {
    const TLS: &str = "{task} tls $PORT0 {folder}/cert.pem {folder}/key.pem";
    vec![
        one(
            "http2",
            App::of(
                "mkdir -p htdocs && echo here > htdocs/index.html && exec nghttpd --no-tls -d htdocs $PORT0",
                &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_BACKEND_PROTOCOL", "http2")],
            ),
            |at| {
                let reply = at.get("/index.html")?;
                expect("status", reply.status, 200)?;
                expect("body", reply.body.trim(), "here")
            },
        ),
        one(
            "tls-insecure",
            App::of(TLS, &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_BACKEND_TLS", "insecure")]),
            |at| expect("status", at.get("/")?.status, 200),
        ),
        one(
            "tls-unknown",
            App::of(
                TLS,
                &[
                    ("WAYMARK_0_HOST", "{host}"),
                    ("WAYMARK_0_BACKEND_TLS", "on"),
                    ("WAYMARK_0_BACKEND_SERVER_NAME", "task.lb.test"),
                ],
            ),
            |at| {
                holds(
                    "a certificate of nobody known is refused",
                    matches!(at.get("/")?.status, 502 | 503),
                )
            },
        ),
        one(
            "tls-verified",
            App::of(
                TLS,
                &[
                    ("WAYMARK_0_HOST", "{host}"),
                    ("WAYMARK_0_BACKEND_TLS", "on"),
                    ("WAYMARK_0_BACKEND_CA", "{folder}/ca.pem"),
                    ("WAYMARK_0_BACKEND_SERVER_NAME", "task.lb.test"),
                ],
            ),
            |at| {
                let reply = at.get("/")?;
                expect("status", reply.status, 200)?;
                holds(&reply.body, reply.body.ends_with(" task.lb.test"))
            },
        ),
        one(
            "tls-by-host",
            App::of(
                TLS,
                &[
                    ("WAYMARK_0_HOST", "{host}"),
                    ("WAYMARK_0_BACKEND_TLS", "on"),
                    ("WAYMARK_0_BACKEND_CA", "{folder}/ca.pem"),
                ],
            ),
            |at| expect("the host's own name is verified", at.get("/")?.status, 200),
        ),
        one(
            "tls-misnamed",
            App::of(
                TLS,
                &[
                    ("WAYMARK_0_HOST", "{host}"),
                    ("WAYMARK_0_BACKEND_TLS", "on"),
                    ("WAYMARK_0_BACKEND_CA", "{folder}/ca.pem"),
                    ("WAYMARK_0_BACKEND_SERVER_NAME", "task.example"),
                ],
            ),
            |at| holds("another name is refused", matches!(at.get("/")?.status, 502 | 503)),
        ),
        one(
            "send-proxy-v1",
            App::of(
                "{task} raw $PORT0",
                &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_SEND_PROXY", "v1")],
            ),
            |at| {
                let reply = at.get("/")?;
                holds(&reply.body, reply.body.starts_with(&hex(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")))
            },
        ),
        one(
            "send-proxy-v2",
            App::of(
                "{task} raw $PORT0",
                &[("WAYMARK_0_HOST", "{host}"), ("WAYMARK_0_SEND_PROXY", "v2")],
            ),
            |at| {
                let reply = at.get("/")?;
                // Signature, version 2 and PROXY, TCP over IPv4, 12 bytes of addresses.
                let begin = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
                holds(&reply.body, reply.body.starts_with(&hex(begin)))
            },
        ),
        one(
            "accept-proxy",
            App::whoami(&[("HAPROXY_0_MODE", "http"), ("WAYMARK_0_ACCEPT_PROXY", "on")]),
            |at| {
                let before = b"PROXY TCP4 192.0.2.7 192.0.2.8 1000 80\r\n";
                let request =
                    Request { to: at.service(), before, host: "x", target: "/", headers: &[] };
                expect("client", seen(&request.send()?, "x-forwarded-for"), "192.0.2.7")
            },
        ),
        one("tcp-proxy", App::of("{task} talk $PORT0", &[("WAYMARK_0_SEND_PROXY", "v1")]), |at| {
            let mut stream = BufReader::new(connect(at.service())?);
            holds("the task greets", line(&mut stream)?.starts_with("tcp-proxy-0"))?;
            let echoed = line(&mut stream)?;
            holds(&echoed, echoed.starts_with("PROXY TCP4 127.0.0.1 "))
        }),
    ]
}

fn line(stream: &mut BufReader<TcpStream>) -> Result<String, String> {
    let mut line = String::new();
    stream.read_line(&mut line).map_err(|e| e.to_string())?;
    Ok(line)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
