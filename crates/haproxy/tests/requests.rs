//! Real requests through a real HAProxy that runs what was rendered: the labels do what they say.
//! Everything listens on sockets in a folder of the test's own; tasks listen on port 0.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waymark_haproxy::apply::Version;
use waymark_model::Timestamp;

const DEADLINE: Duration = Duration::from_secs(20);

/// A task: answers with its name and the request as it came. Lives as long as the test.
fn task(name: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let name = name.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), name) = (stream, name.clone()) else { continue };
            thread::spawn(move || {
                let head = head_of(&mut stream);
                let body = format!("task={name}\n{head}");
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nLocation: /next\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                );
            });
        }
    });
    port
}

fn head_of(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// An app with one port and tasks of these names.
fn app(id: &str, labels: &[(&str, &str)], tasks: &[&str]) -> Value {
    let labels: Value =
        labels.iter().map(|(name, value)| (format!("HAPROXY_0_{name}"), json!(value))).collect();
    let tasks = tasks.iter().map(|name| {
        json!({ "id": name, "host": "127.0.0.1", "ports": [task(name)], "state": "TASK_RUNNING" })
    });
    json!({ "id": id, "labels": labels, "ports": [80], "tasks": tasks.collect::<Vec<_>>() })
}

struct Haproxy {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Haproxy {
    /// Runs what these settings make of these apps.
    fn start(settings: Value, apps: &[Value]) -> Haproxy {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        certificate(folder.path());
        let mut settings = settings;
        let banner = Command::new("haproxy").arg("-v").output().expect("haproxy is installed");
        let version = Version::read(&String::from_utf8_lossy(&banner.stdout)).unwrap();
        settings["haproxy"] = json!(version.to_string());
        settings["ssl_certs"] = json!([format!("{dir}/cert.pem")]);
        let tls =
            if settings["group_https_by_vhost"] == json!(true) { "" } else { " ssl {sslCerts}" };
        let mode = if tls.is_empty() {
            "tcp\n  tcp-request inspect-delay 5s\n  tcp-request content accept if { req_ssl_hello_type 1 }"
        } else {
            "http"
        };
        let https = format!("\nfrontend https\n  bind unix@{dir}/https{tls}\n  mode {mode}\n");
        let case = json!({
            "settings": settings,
            "environment": {
                "HAPROXY_HEAD": format!("global\n  stats socket {dir}/admin expose-fd listeners\ndefaults\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n"),
                "HAPROXY_HTTP_FRONTEND_HEAD": format!("\nfrontend http\n  bind unix@{dir}/http\n  mode http\n"),
                "HAPROXY_HTTP_FRONTEND_APPID_HEAD": format!("\nfrontend appid\n  bind unix@{dir}/appid\n  mode http\n"),
                "HAPROXY_HTTPS_FRONTEND_HEAD": https,
                "HAPROXY_HTTPS_GROUPED_FRONTEND_HEAD": https,
                "HAPROXY_FRONTEND_HEAD": format!("\nfrontend {{backend}}\n  bind unix@{dir}/{{backend}}{{sslCert}}{{bindOptions}}\n  mode {{mode}}\n"),
            },
        });
        let catalog = support::catalog(&json!({ "apps": apps }), 1);
        let rendered = support::renderer(&case).render(&catalog, Timestamp(1)).unwrap();
        assert_eq!(rendered.refused, []);
        for (name, map) in &rendered.maps {
            fs::write(folder.path().join(name), map).unwrap();
        }
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, rendered.config.replace("/etc/haproxy/", &format!("{dir}/"))).unwrap();
        let child =
            Command::new("haproxy").arg("-db").arg("-f").arg(&file).stderr(Stdio::null()).spawn();
        let haproxy = Haproxy { child: child.unwrap(), folder };
        let begin = Instant::now();
        while UnixStream::connect(haproxy.socket("appid")).is_err() {
            assert!(begin.elapsed() < DEADLINE, "HAProxy does not listen: {}", rendered.config);
            thread::sleep(Duration::from_millis(10));
        }
        haproxy
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends a text to a frontend and reads all that comes.
    fn send(&self, frontend: &str, text: &str) -> String {
        let mut stream = UnixStream::connect(self.socket(frontend)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks for a path of a host, with further header lines.
    fn get(&self, frontend: &str, host: &str, path: &str, more: &str) -> String {
        self.send(
            frontend,
            &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"),
        )
    }

    /// The same over TLS.
    fn get_tls(&self, host: &str, path: &str) -> String {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-servername", host, "-unix"])
            .arg(self.socket("https"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        write!(stdin, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let answer = client.wait_with_output().unwrap();
        drop(stdin);
        String::from_utf8_lossy(&answer.stdout).into_owned()
    }
}

fn certificate(folder: &Path) {
    let (key, crt) = (folder.join("key"), folder.join("crt"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&crt)
        .output()
        .unwrap();
    assert!(made.status.success());
    let both = fs::read_to_string(key).unwrap() + &fs::read_to_string(crt).unwrap();
    fs::write(folder.join("cert.pem"), both).unwrap();
}

#[track_caller]
fn says(answer: &str, texts: &[&str]) {
    for text in texts {
        assert!(answer.contains(text), "no {text:?} in {answer:?}");
    }
}

#[test]
fn host_rules() {
    let made = Command::new("openssl").args(["passwd", "-5", "-salt", "saltsalt", "word"]).output();
    let hash = String::from_utf8(made.unwrap().stdout).unwrap().trim().to_owned();
    let auth = format!("Our realm:joe:{hash}");
    let haproxy = Haproxy::start(
        json!({}),
        &[
            app("/one", &[("VHOST", "one.test")], &["one"]),
            app("/many", &[("VHOST", "m1.test,m2.test"), ("PORT", "81")], &["many"]),
            app("/path", &[("VHOST", "one.test"), ("PATH", "-i /p /q"), ("PORT", "82")], &["path"]),
            app(
                "/manypath",
                &[("VHOST", "m1.test,m2.test"), ("PATH", "/mp"), ("PORT", "83")],
                &["manypath"],
            ),
            app("/auth", &[("VHOST", "auth.test"), ("AUTH", &auth), ("PORT", "84")], &["auth"]),
            app(
                "/redirect",
                &[("VHOST", "r.test"), ("REDIRECT_TO_HTTPS", "true"), ("PORT", "85")],
                &["redirect"],
            ),
            app(
                "/first",
                &[("VHOST", "w.test"), ("BACKEND_WEIGHT", "5"), ("PATH", "/x"), ("PORT", "86")],
                &["first"],
            ),
            app("/second", &[("VHOST", "w.test"), ("PATH", "/x/y"), ("PORT", "87")], &["second"]),
            app("/hidden", &[("VHOST", "h.test"), ("ENABLED", "no"), ("PORT", "88")], &["hidden"]),
        ],
    );
    let get = |host, path| haproxy.get("http", host, path, "");
    says(&get("one.test", "/"), &["task=one", "x-forwarded-port: "]);
    says(&get("ONE.test", "/P/1"), &["task=path"]);
    says(&get("one.test", "/q"), &["task=path"]);
    says(&get("m2.test", "/"), &["task=many\n"]);
    says(&get("m2.test", "/mp/1"), &["task=manypath"]);
    says(&get("w.test", "/x/y"), &["task=first"]);
    says(&get("none.test", "/"), &[" 503 "]);
    says(&get("h.test", "/"), &[" 503 "]);
    says(&get("auth.test", "/"), &[" 401 ", "Our realm"]);
    let right = haproxy.get("http", "auth.test", "/", "Authorization: Basic am9lOndvcmQ=\r\n");
    says(&right, &["task=auth"]);
    let wrong = haproxy.get("http", "auth.test", "/", "Authorization: Basic am9lOm5vbmU=\r\n");
    says(&wrong, &[" 401 "]);
    says(&get("r.test", "/a?b"), &[" 301 ", "https://r.test/a?b"]);
    // The service port and the app's id know neither hosts nor passwords.
    says(&haproxy.get("auth_84", "x", "/", ""), &["task=auth"]);
    says(&haproxy.get("appid", "x", "/", "X-Marathon-App-Id: /many\r\n"), &["task=many\n"]);
    // Over TLS.
    says(&haproxy.get_tls("one.test", "/"), &["task=one", "x-forwarded-proto: https"]);
    says(&haproxy.get_tls("m1.test", "/mp"), &["task=manypath"]);
    says(&haproxy.get_tls("r.test", "/"), &["task=redirect"]);
    says(&haproxy.get_tls("auth.test", "/"), &[" 401 "]);
}

#[test]
fn backends() {
    let haproxy = Haproxy::start(
        json!({}),
        &[
            app(
                "/pass",
                &[("VHOST", "p1.test,p2.test"), ("HTTP_BACKEND_PROXYPASS_PATH", "/api/v1")],
                &["pass"],
            ),
            app(
                "/rev",
                &[("VHOST", "rev.test"), ("HTTP_BACKEND_REVPROXY_PATH", "/my"), ("PORT", "81")],
                &["rev"],
            ),
            app(
                "/redir",
                &[("VHOST", "d1.test,d2.test"), ("HTTP_BACKEND_REDIR", "/start"), ("PORT", "82")],
                &["redir"],
            ),
            app("/hsts", &[("MODE", "http"), ("USE_HSTS", "yes"), ("PORT", "83")], &["hsts"]),
            app(
                "/sticky",
                &[("MODE", "http"), ("STICKY", "t"), ("PORT", "84")],
                &["s1", "s2", "s3"],
            ),
            app(
                "/from",
                &[
                    ("MODE", "http"),
                    ("BIND_OPTIONS", "accept-proxy"),
                    ("BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8 192.168.0.7"),
                    ("PORT", "85"),
                ],
                &["from"],
            ),
            app("/tcp", &[("PORT", "86")], &["tcp"]),
        ],
    );
    let pass = haproxy.get("http", "p2.test", "/API/v1/users?x=1", "");
    says(&pass, &["GET /users?x=1 HTTP/1.1", "host: p1.test"]);
    says(&haproxy.get("http", "p1.test", "/api/v1", ""), &["GET / HTTP/1.1"]);
    says(&haproxy.get("http", "p1.test", "/other/api/v1", ""), &["GET /other/api/v1 HTTP/1.1"]);
    says(&haproxy.get("http", "rev.test", "/", "").to_lowercase(), &["location: /my/next\r\n"]);
    let redirected = haproxy.get("http", "d2.test", "/", "").to_lowercase();
    says(&redirected, &[" 301 ", "location: /start\r\n"]);
    says(&haproxy.get("http", "d2.test", "/start", ""), &["task=redir"]);
    let hsts = haproxy.get("hsts_83", "x", "/", "").to_lowercase();
    says(&hsts, &["strict-transport-security: max-age=15768000\r\n"]);
    says(&haproxy.get("tcp_86", "x", "/", ""), &["task=tcp"]);

    let first = haproxy.get("sticky_84", "x", "/", "");
    let name = first.split("task=").nth(1).unwrap().lines().next().unwrap().to_owned();
    let cookie = first.split("mesosphere_server_id=").nth(1).unwrap().split(';').next().unwrap();
    for _ in 0..6 {
        let more = format!("Cookie: mesosphere_server_id={cookie}\r\n");
        says(&haproxy.get("sticky_84", "x", "/", &more), &[&format!("task={name}\n")]);
    }

    let from = |source: &str| {
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        haproxy.send("from_85", &format!("PROXY TCP4 {source} 10.0.0.1 5000 80\r\n{request}"))
    };
    says(&from("10.1.2.3"), &["task=from"]);
    says(&from("192.168.0.7"), &["task=from"]);
    says(&from("192.168.0.8"), &[" 403 "]);
}

#[test]
fn maps_and_hosts_own_frontends() {
    // The hosts' own frontends listen on abstract sockets of these names, which the whole machine shares.
    let host = |name: &str| format!("{name}-{}.test", std::process::id());
    let (one, two, three) = (host("one"), host("two"), host("three"));
    let both = format!("{two},{three}");
    let apps = || {
        [
            app("/one", &[("VHOST", &one)], &["one"]),
            app("/two", &[("VHOST", &both), ("PORT", "81")], &["two"]),
            app("/path", &[("VHOST", &two), ("PATH", "/p"), ("PORT", "82")], &["path"]),
        ]
    };
    for grouped in [false, true] {
        for maps in [false, true] {
            let settings = json!({ "maps": maps, "group_https_by_vhost": grouped });
            let haproxy = Haproxy::start(settings, &apps());
            for (host, path, task) in [
                (&one, "/", "task=one"),
                (&two, "/", "task=two"),
                (&three, "/", "task=two"),
                (&two, "/p/x", "task=path"),
            ] {
                says(&haproxy.get("http", host, path, ""), &[task]);
                says(&haproxy.get_tls(host, path), &[task]);
            }
            says(&haproxy.get("appid", "x", "/", "X-Marathon-App-Id: /two\r\n"), &["task=two"]);
        }
    }
}
