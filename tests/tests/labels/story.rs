//! What the cases share: the running binary, their apps, and where these are reached.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use waymark_stories::{Reply, Waymark, get, repository};

use crate::client::{Request, curl};

/// How long a label may take to show its effect.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one or some labels do.
#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    pub apps: Vec<App>,
    pub check: fn(&At) -> Result<(), String>,
}

/// An app of a case. In labels `{host}` is the case's host name, `{folder}` that of the
/// certificates, `{port}` a free port.
#[derive(Clone, Copy)]
pub struct App {
    pub labels: &'static [(&'static str, &'static str)],
    /// The command; `{task}` is the task of the stories, `{folder}` as above.
    pub cmd: &'static str,
    pub instances: u32,
    pub protocols: &'static [&'static str],
    /// The port that an HTTP health check goes to.
    pub checked: Option<usize>,
}

impl App {
    /// One task of `waymark whoami`.
    pub const fn whoami(labels: &'static [(&'static str, &'static str)]) -> App {
        let cmd = "exec waymark whoami --port $PORT0";
        App { labels, cmd, instances: 1, protocols: &["tcp"], checked: None }
    }

    /// One task of this command.
    pub const fn of(cmd: &'static str, labels: &'static [(&'static str, &'static str)]) -> App {
        App { cmd, ..App::whoami(labels) }
    }

    /// With so many tasks.
    pub const fn times(self, instances: u32) -> App {
        App { instances, ..self }
    }
}

/// A running Waymark with the cases' certificates.
pub struct Story {
    pub waymark: Waymark,
    pub folder: PathBuf,
}

impl Story {
    /// Starts it with these flags, its shared ports wherever they are free.
    pub fn start(flags: &[&str]) -> Story {
        let folder = tempfile::TempDir::with_prefix("waymark-labels-").unwrap().keep();
        certificates(&folder);
        let certs = format!("--ssl-certs={}", folder.join("both.pem").display());
        let own = [
            "--http-port=0",
            "--https-port=0",
            "--appid-port=0",
            "--stats-port=0",
            "--workers=2",
            &certs,
        ];
        let waymark = Waymark::start(&[&own[..], flags].concat());
        Story { waymark, folder }
    }

    /// Where a case's apps are reached.
    pub fn at(&self, case: &Case) -> At<'_> {
        let ports = |id: &str| -> Vec<u16> {
            let definitions = self.waymark.app(id)["portDefinitions"].clone();
            let port = |d: &Value| u16::try_from(d["port"].as_u64().unwrap()).unwrap();
            definitions.as_array().unwrap().iter().map(port).collect()
        };
        let ids: Vec<String> = (0..case.apps.len()).map(|n| id_of(case, n)).collect();
        let ports = ids.iter().flat_map(|id| ports(id)).collect();
        At { story: self, host: host_of(case), ports }
    }

    fn text(&self, text: &str, case: &Case) -> String {
        let task = repository().join("tests/support/label_task.py");
        let free = self.waymark.ports.service_min + waymark_stories::PortRanges::SIZE - 1;
        text.replace("{host}", &host_of(case))
            .replace("{folder}", &self.folder.display().to_string())
            .replace("{port}", &free.to_string())
            .replace("{task}", &format!("exec python3 {}", task.display()))
    }

    /// Deploys the apps of all cases.
    pub fn deploy(&self, cases: &[Case]) {
        for case in cases {
            for (n, app) in case.apps.iter().enumerate() {
                let labels: serde_json::Map<String, Value> = app
                    .labels
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), self.text(v, case).into()))
                    .collect();
                let ports: Vec<Value> =
                    app.protocols.iter().map(|p| json!({"port": 0, "protocol": p})).collect();
                let checks: Vec<Value> = app
                    .checked
                    .iter()
                    .map(|n| json!({"protocol": "HTTP", "path": "/health", "portIndex": n, "intervalSeconds": 1}))
                    .collect();
                let app = json!({
                    "id": id_of(case, n), "cmd": self.text(app.cmd, case), "instances": app.instances,
                    "cpus": 0.001, "mem": 1, "disk": 0, "labels": labels, "portDefinitions": ports, "healthChecks": checks,
                });
                let reply = self.waymark.send("POST", "/v2/apps", &app);
                assert_eq!(reply.status, 201, "{}: {}", case.name, reply.body);
            }
        }
        for case in cases {
            for (n, app) in case.apps.iter().enumerate() {
                self.waymark.wait_for_app(&id_of(case, n), app.instances.into());
            }
        }
    }

    /// Looks at a case until it holds.
    pub fn check(&self, case: &Case) -> Result<(), String> {
        let (at, deadline) = (self.at(case), Instant::now() + PATIENCE);
        loop {
            match (case.check)(&at) {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() > deadline => {
                    return Err(format!("{}: {reason}", case.name));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn id_of(case: &Case, n: usize) -> String {
    format!("/{}-{n}", case.name)
}

fn host_of(case: &Case) -> String {
    format!("{}.lb.test", case.name)
}

/// `ca.pem` signs `both.pem` and, in two files, `cert.pem` and `key.pem`: for every
/// name under `lb.test`.
fn certificates(folder: &std::path::Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "stories");
    let authority_cert = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = ["*.lb.test", "localhost", "127.0.0.1"].map(String::from);
    let cert = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("ca.pem", authority_cert.pem());
    write("cert.pem", cert.pem());
    write("key.pem", key.serialize_pem());
    write("both.pem", cert.pem() + &key.serialize_pem());
}

/// A case's apps as clients reach them.
pub struct At<'a> {
    pub story: &'a Story,
    pub host: String,
    /// The apps' service ports, in their order.
    pub ports: Vec<u16>,
}

impl At<'_> {
    /// What the balancer says of each task of the case's only app.
    pub fn states(&self) -> Result<Vec<String>, String> {
        let stats = self.story.waymark.endpoint("stats").ok_or("endpoints.json names no stats")?;
        let app = self.host.trim_end_matches(".lb.test");
        let body = get(&format!("{stats}/v1/services/{app}-0"))?.body;
        let service: Value = serde_json::from_str(&body).map_err(|e| format!("{e}: {body}"))?;
        let endpoints = service["endpoints"].as_array().ok_or(body)?;
        Ok(endpoints.iter().filter_map(|e| Some(e["state"].as_str()?.to_owned())).collect())
    }

    /// A shared port's address: `http`, `https` or `appid`.
    pub fn front(&self, name: &str) -> SocketAddr {
        let url = self
            .story
            .waymark
            .endpoint(name)
            .unwrap_or_else(|| panic!("endpoints.json names no {name}"));
        let address = url.rsplit("//").next().unwrap().trim_end_matches('/').to_owned();
        address.parse().unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    /// The first service port's address.
    pub fn service(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[0]).into()
    }

    /// A request to the http port, for the case's host name.
    pub fn get(&self, target: &str) -> Result<Reply, String> {
        self.get_with(target, &[])
    }

    /// The same with these headers.
    pub fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Result<Reply, String> {
        self.get_from(self.front("http"), &self.host, target, headers)
    }

    /// A request to another host name.
    pub fn get_host(&self, host: &str) -> Result<Reply, String> {
        self.get_from(self.front("http"), host, "/", &[])
    }

    /// A request to the first service port.
    pub fn get_service(&self, target: &str) -> Result<Reply, String> {
        self.get_from(self.service(), &self.host, target, &[])
    }

    fn get_from(
        &self,
        to: SocketAddr,
        host: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Reply, String> {
        Request { to, before: b"", host, target, headers }.send()
    }

    /// curl, with the stories' authority; `{https}` and `{service}` in the arguments are ports at
    /// which `{host}` is reached.
    pub fn curl(&self, args: &[&str]) -> Result<String, String> {
        let (https, service) = (self.front("https"), self.service());
        let fill = |text: &&str| {
            text.replace("{host}", &self.host)
                .replace("{https}", &https.port().to_string())
                .replace("{service}", &service.port().to_string())
        };
        let mut all: Vec<String> = args.iter().map(fill).collect();
        all.push(format!("--cacert={}", self.story.folder.join("ca.pem").display()));
        for to in [https, service] {
            all.push(format!("--resolve={}:{}:{}", self.host, to.port(), to.ip()));
        }
        // curl takes values of long options as the next argument.
        let all: Vec<String> = all
            .iter()
            .flat_map(|a| match a.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    vec![name.to_owned(), value.to_owned()]
                }
                _ => vec![a.clone()],
            })
            .collect();
        curl(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The tasks that answer so many requests with this target and headers.
    pub fn tasks(
        &self,
        count: usize,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Vec<String>, String> {
        (0..count)
            .map(|_| {
                let reply = self.get_with(target, headers)?;
                expect("status", reply.status, 200)?;
                Ok(task_of(&reply))
            })
            .collect()
    }
}

/// The task that answered.
pub fn task_of(reply: &Reply) -> String {
    serde_json::from_str::<Value>(&reply.body)
        .map(|v| v["taskId"].as_str().unwrap_or("").to_owned())
        .unwrap_or_default()
}

/// A header as the task saw it.
pub fn seen(reply: &Reply, header: &str) -> String {
    serde_json::from_str::<Value>(&reply.body)
        .map(|v| v["request"]["headers"][header].as_str().unwrap_or("").to_owned())
        .unwrap_or_default()
}

/// The path as the task saw it.
pub fn seen_path(reply: &Reply) -> String {
    serde_json::from_str::<Value>(&reply.body)
        .map(|v| v["request"]["path"].as_str().unwrap_or("").to_owned())
        .unwrap_or_default()
}

/// Says what was found in place of what was expected.
pub fn expect<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    what: &str,
    found: T,
    wanted: U,
) -> Result<(), String> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("{what}: {found:?} in place of {wanted:?}")),
    }
}

/// Says what does not hold.
pub fn holds(what: &str, is: bool) -> Result<(), String> {
    if is { Ok(()) } else { Err(format!("not: {what}")) }
}
