//! What it costs to follow a Marathon: reading everything, and one event.
//!
//! `cargo run --release -p waymark-sources --example marathon_costs -- [APPS] [TASKS] [EVENTS]`
//! The Marathon is another process of this program; only the follower's CPU time and memory count.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

use std::convert::Infallible;
use std::io::BufRead;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use waymark_catalog::Writer;
use waymark_sources::marathon::{MarathonConfig, MarathonSource};

/// The pause between two events: longer than changes are collected for.
const PAUSE: Duration = Duration::from_millis(60);

fn app(n: usize, tasks: usize) -> String {
    let task = |t: usize| {
        format!(
            r#"{{"id":"shop_app-{n}.instance-2f6c1a52-0000-11f0-8a3c-{n:06}{t:06}._app.1",
"appId":"/shop/app-{n}","state":"TASK_RUNNING","host":"10.1.{}.{}",
"ipAddresses":[{{"ipAddress":"10.1.0.1","protocol":"IPv4"}}],"ports":[{},{}],"servicePorts":[],
"slaveId":"6f0b7c2e-1111-2222-3333-444455556666-S{}","stagedAt":"2026-01-05T10:00:00.120Z",
"startedAt":"2026-01-05T10:00:02.440Z","version":"2026-01-05T09:59:59.871Z","localVolumes":[],
"healthCheckResults":[{{"alive":true,"consecutiveFailures":0,
"firstSuccess":"2026-01-05T10:00:05.000Z","lastSuccess":"2026-01-05T10:03:05.000Z",
"lastFailure":null,"lastFailureCause":null,"instanceId":"shop_app-{n}.instance-{t}"}}]}}"#,
            (n + t) % 8,
            t % 250 + 1,
            31000 + t % 1000,
            32000 + t % 1000,
            (n + t) % 2000
        )
    };
    let tasks: Vec<String> = (0..tasks).map(task).collect();
    format!(
        r#"{{"id":"/shop/app-{n}","cmd":"python3 -m http.server $PORT0","instances":{},"cpus":0.1,
"mem":128,"disk":0,"gpus":0,"executor":"","networks":[{{"mode":"host"}}],"requirePorts":false,
"portDefinitions":[{{"port":{},"protocol":"tcp","name":"http"}},{{"port":{},"protocol":"tcp"}}],
"labels":{{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"app-{n}.example.org","owner":"team"}},
"healthChecks":[{{"protocol":"MESOS_HTTP","path":"/health","portIndex":0,"intervalSeconds":10}}],
"env":{{"A":"one","B":"two"}},"backoffSeconds":1,"backoffFactor":1.15,"deployments":[],
"version":"2026-01-05T09:59:59.871Z","versionInfo":{{"lastScalingAt":"2026-01-05T09:59:59.871Z",
"lastConfigChangeAt":"2026-01-05T09:59:59.871Z"}},"tasks":[{}]}}"#,
        tasks.len(),
        10000 + n % 20000,
        30000 + n % 20000,
        tasks.join(",")
    )
}

/// The Marathon.
struct World {
    list: Bytes,
    tasks: usize,
    apps: usize,
    events: usize,
}

type Body = BoxBody<Bytes, Infallible>;

impl World {
    fn reply(&self, request: &Request<Incoming>) -> Body {
        let whole = |bytes: Bytes| Full::new(bytes).boxed();
        match request.uri().path() {
            "/v2/info" => whole(Bytes::from_static(br#"{"name":"m","leader":"l:1"}"#)),
            "/v2/apps" => whole(self.list.clone()),
            "/v2/events" => self.stream(),
            "/v2/pods" => whole(Bytes::from_static(b"[]")),
            path => {
                let n = path.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                // One task fewer, so that there is something to publish.
                let app = app(n, self.tasks.saturating_sub(1));
                whole(Bytes::from(format!(r#"{{"app":{app}}}"#)))
            }
        }
    }

    /// Begins to send when everything should have been read.
    fn stream(&self) -> Body {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let (apps, events) = (self.apps, self.events);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            for n in 0..events {
                let id = n * 7 % apps;
                let data =
                    format!(r#"{{"eventType":"status_update_event","appId":"/shop/app-{id}"}}"#);
                let text = format!("event: status_update_event\r\ndata: {data}\r\n\r\n");
                if sender.send(Bytes::from(text)).await.is_err() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
            std::future::pending::<()>().await;
        });
        let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let bytes = receiver.recv().await?;
            Some((Ok(Frame::data(bytes)), receiver))
        });
        StreamBody::new(frames).boxed()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(apps: usize, tasks: usize, events: usize) {
    let list: Vec<String> = (0..apps).map(|n| app(n, tasks)).collect();
    let list = Bytes::from(format!(r#"{{"apps":[{}]}}"#, list.join(",")));
    eprintln!("the list has {} MiB", list.len() >> 20);
    let world = Arc::new(World { list, tasks, apps, events });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    while let Ok((tcp, _)) = listener.accept().await {
        let world = world.clone();
        tokio::spawn(async move {
            let answer = |request: Request<Incoming>| {
                let body = world.reply(&request);
                async move { Ok::<_, Infallible>(Response::new(body)) }
            };
            let service = hyper::service::service_fn(answer);
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(tcp), service).await;
        });
    }
}

/// CPU time of this process so far, in steps of 10 ms.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit(')').next().unwrap().split_whitespace();
    // User and system time, counted from behind the name, in hundredths of a second.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Memory of this process now, and the most so far, in MiB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn follow(url: String, events: u64) {
    let source = MarathonSource::new(MarathonConfig { urls: vec![url], ..Default::default() });
    let source = source.unwrap();
    let status = source.status();
    let (writer, reader) = Writer::new(0);
    let start = Instant::now();
    tokio::spawn(source.run(writer));
    let until = |wanted: fn(&waymark_sources::marathon::MarathonReport, u64) -> bool| {
        let status = status.clone();
        async move {
            while !wanted(&status.report(), events) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    until(|report, _| report.full_reads > 0).await;
    let (took, used) = (start.elapsed(), cpu());
    let tasks: usize = reader.latest().apps.values().map(|app| app.tasks.len()).sum();
    println!("{} apps, {tasks} tasks published", reader.latest().apps.len());
    println!("first full list: {took:?} after the start, {used:?} of CPU time");
    println!("memory: {:?} MiB now and at most", memory());
    until(|report, _| report.events > 0).await;
    let before = (cpu(), reader.latest().version);
    // Every event leads to two questions, one of them later.
    until(|report, events| report.app_reads + 1 >= 2 * events).await;
    let (used, versions) = (cpu() - before.0, reader.latest().version - before.1);
    let each = used / u32::try_from(events).unwrap();
    println!("{events} events: {each:?} of CPU time each (both questions), {versions} versions");
    println!("memory: {:?} MiB now and at most", memory());
}

fn main() {
    let args: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let or = |n: usize, usual| args.get(n).copied().unwrap_or(usual);
    let (apps, tasks, events) = (or(0, 10_000), or(1, 10), or(2, 200));
    if std::env::args().any(|arg| arg == "serve") {
        return serve(apps, tasks, events);
    }
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args([apps, tasks, events].map(|n| n.to_string()))
        .arg("serve")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    follow(format!("http://{}", line.trim()), events as u64);
    let _ = server.kill();
    let _ = server.wait();
}
