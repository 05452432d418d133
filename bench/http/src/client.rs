//! The clients: `wrk` for HTTP/1.1 and what is relayed, `h2load` for HTTP/2 and for a fixed rate,
//! `handshakes` for TLS.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::Outcome;
use crate::contestant::Contestant;
use crate::handshakes;

/// What the clients do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Load {
    KeepAlive,
    Connections,
    Relay,
    Http2,
    TlsKeepAlive,
    TlsHttp2,
    TlsConnections,
    TlsResumed,
    ManyHosts,
}

impl Load {
    pub const ALL: [Load; 9] = [
        Load::KeepAlive,
        Load::Connections,
        Load::Relay,
        Load::Http2,
        Load::TlsKeepAlive,
        Load::TlsHttp2,
        Load::TlsConnections,
        Load::TlsResumed,
        Load::ManyHosts,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Load::KeepAlive => "HTTP/1.1, 64 kept connections, 10 host names",
            Load::Connections => "HTTP/1.1, one connection a request",
            Load::Relay => "TCP, 64 kept connections, a round trip",
            Load::Http2 => "HTTP/2, 16 connections of 8 streams",
            Load::TlsKeepAlive => "HTTP/1.1 in TLS, 64 kept connections",
            Load::TlsHttp2 => "HTTP/2 in TLS, 16 connections of 8 streams",
            Load::TlsConnections => "TLS handshake, one request",
            Load::TlsResumed => "TLS handshake with an earlier session, one request",
            Load::ManyHosts => "HTTP/1.1, 64 kept connections, 10,000 host names",
        }
    }

    pub fn needs_many_hosts(self) -> bool {
        self == Load::ManyHosts
    }
}

/// A short run, not measured.
pub async fn warm_up(load: Load, contestant: &Contestant) -> Outcome<()> {
    if contestant.can(load) {
        run(load, contestant, Duration::from_secs(1)).await?;
    }
    Ok(())
}

/// Runs the load; how many answers came. Any answer but 200 is an error.
pub async fn run(load: Load, contestant: &Contestant, time: Duration) -> Outcome<u64> {
    let setup = &contestant.setup;
    match load {
        Load::KeepAlive | Load::ManyHosts => wrk(contestant, "http", setup.http, 64, false, time),
        Load::Connections => wrk(contestant, "http", setup.http, 16, true, time),
        Load::Relay => wrk(contestant, "http", setup.tcp, 64, false, time),
        Load::TlsKeepAlive => wrk(contestant, "https", setup.https, 64, false, time),
        Load::TlsConnections => return handshakes::run(contestant, false, time).await,
        Load::TlsResumed => return handshakes::run(contestant, true, time).await,
        Load::Http2 => return h2load(contestant, "http", contestant.h2c(), time).await,
        Load::TlsHttp2 => return h2load(contestant, "https", setup.https, time).await,
    }?
    .count()
    .await
}

struct Wrk {
    command: Command,
    what: String,
}

/// `wrk` with one thread, which asks ten hosts in turn.
fn wrk(
    contestant: &Contestant,
    scheme: &str,
    port: u16,
    connections: u32,
    close: bool,
    time: Duration,
) -> Outcome<Wrk> {
    let script = contestant.setup.file("ask.lua", &script(&contestant.setup.asked(), close))?;
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{}s", time.as_secs())]);
    command.arg("-s").arg(script).arg(format!("{scheme}://127.0.0.1:{port}/index.html"));
    Ok(Wrk { command, what: format!("wrk at {}", contestant.kind.name()) })
}

fn script(hosts: &[String], close: bool) -> String {
    let quoted: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
    let connection = if close { "headers[\"Connection\"] = \"close\"" } else { "" };
    format!(
        "local requests, turn = {{}}, 0\n\
        function init()\n\
          for i, host in ipairs({{{}}}) do\n\
            local headers = {{}}\n\
            headers[\"Host\"] = host\n\
            {connection}\n\
            requests[i] = wrk.format(nil, nil, headers)\n\
          end\n\
        end\n\
        function request()\n\
          turn = turn % #requests + 1\n\
          return requests[turn]\n\
        end\n",
        quoted.join(",")
    )
}

impl Wrk {
    async fn count(mut self) -> Outcome<u64> {
        let output = self.command.stdin(Stdio::null()).output().await;
        let output = output.map_err(|error| format!("wrk does not start: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if let Some(bad) = text.lines().find(|line| line.contains("Non-2xx")) {
            return Err(format!("{}: {bad}", self.what).into());
        }
        // `  123456 requests in 3.00s, 40.12MB read`
        let line = text.lines().find(|line| line.contains(" requests in "));
        let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        count.ok_or_else(|| format!("{}: {text}", self.what).into())
    }
}

/// `h2load` with one thread. One host name: all requests of a run are alike.
async fn h2load(contestant: &Contestant, scheme: &str, port: u16, time: Duration) -> Outcome<u64> {
    let mut command = Command::new("h2load");
    command.args(["-t1", "-c16", "-m8", &format!("-D{}", time.as_secs())]);
    let text = ask(&mut command, contestant, scheme, port).await?;
    // `requests: 12 total, 12 started, 12 done, 12 succeeded, 0 failed, 0 errored, 0 timeout`
    let line = text.lines().find_map(|line| line.strip_prefix("requests: "));
    let line = line.ok_or_else(|| format!("h2load: {text}"))?;
    let number = |what: &str| {
        let part = line.split(", ").find(|part| part.ends_with(what))?;
        part.split(' ').next()?.parse::<u64>().ok()
    };
    let (done, succeeded) = (number("done"), number("succeeded"));
    match (done, succeeded) {
        (Some(done), Some(good)) if done == good => Ok(done),
        _ => Err(format!("h2load at {}: {line}", contestant.kind.name()).into()),
    }
}

async fn ask(
    command: &mut Command,
    contestant: &Contestant,
    scheme: &str,
    port: u16,
) -> Outcome<String> {
    let host = contestant.setup.asked().swap_remove(0);
    command.arg(format!("--connect-to=127.0.0.1:{port}"));
    command.arg(format!("{scheme}://{host}:{port}/index.html"));
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| format!("h2load does not start: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Median and 99th percentile, in µs, of requests of HTTP/1.1 that come at this rate.
pub async fn latency(contestant: &Contestant, rate: f64, time: Duration) -> Outcome<(u64, u64)> {
    const CONNECTIONS: u32 = 32;
    let log = contestant.setup.file("latency.log", "")?;
    let mut command = Command::new("h2load");
    command.args(["--h1", "-t1", &format!("-c{CONNECTIONS}"), &format!("-D{}", time.as_secs())]);
    command.arg(format!("--rps={}", (rate / f64::from(CONNECTIONS)).round()));
    command.arg("--warm-up-time=1").arg(format!("--log-file={}", log.display()));
    ask(&mut command, contestant, "http", contestant.setup.http).await?;
    let mut times = durations(&log)?;
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied();
    at(50).zip(at(99)).ok_or_else(|| "h2load logged nothing".into())
}

/// The third column of h2load's log: µs from request to answer.
fn durations(log: &Path) -> Outcome<Vec<u64>> {
    let text = std::fs::read_to_string(log)?;
    std::fs::remove_file(log)?;
    let mut times = Vec::new();
    for line in text.lines() {
        let mut columns = line.split('\t');
        let (status, time) = (columns.nth(1), columns.next());
        if status != Some("200") {
            return Err(format!("an answer was not 200: {line}").into());
        }
        times.extend(time.and_then(|time| time.parse::<u64>().ok()));
    }
    Ok(times)
}
