//! What health checks cost: CPU time a probe, and memory a watched check.
//!
//! `cargo run --release -p waymark-health --example prober_bench`
//!
//! Each of 20,000 tasks has one check every 10 s against a server in the same process, so the CPU
//! time holds the server's half as well.
#![allow(clippy::print_stdout, reason = "it prints its measurements")]

use std::error::Error;
use std::fs;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use waymark_health::{
    CheckId, CommandRunner, Config, Expectation, Probe, ProbeKind, Prober, Target,
};
use waymark_model::TaskId;

const CHECKS: usize = 20_000;
const REPORTS: u32 = 60_000;
const INTERVAL: Duration = Duration::from_secs(10);

struct NoCommands;

impl CommandRunner for NoCommands {
    fn run(
        &self,
        _: &TaskId,
        _: &str,
        _: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        Box::pin(ready(Err("no commands here".to_owned())))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Many addresses, so that closed connections (TIME_WAIT) do not use up the ports of one.
    let mut addresses = Vec::new();
    for _ in 0..100 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        addresses.push(listener.local_addr()?);
        tokio::spawn(serve(listener));
    }
    let http = |addr| ProbeKind::Http { addr, path: "/health".into(), host: "localhost".into() };
    measure("TCP", &addresses, |addr| ProbeKind::Tcp { addr }).await?;
    measure("HTTP", &addresses, http).await
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) {
    let mut request = [0; 1024];
    if !matches!(stream.read(&mut request).await, Ok(0) | Err(_)) {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        let _ = stream.write_all(answer).await;
    }
}

async fn measure(
    name: &str,
    addresses: &[SocketAddr],
    kind: impl Fn(SocketAddr) -> ProbeKind,
) -> Result<(), Box<dyn Error>> {
    let (sender, mut reports) = mpsc::channel(256);
    let prober = Prober::new(Config::default(), Arc::new(NoCommands), sender);
    let memory = resident_kib()?;
    for (n, addr) in (0..CHECKS).zip(addresses.iter().cycle()) {
        let probe = Probe {
            check: CheckId::Health(0),
            kind: kind(*addr),
            expect: Expectation::Usual { ignore_1xx: false },
            interval: INTERVAL,
            timeout: INTERVAL,
            succeeded: true,
        };
        let task = TaskId::from_text(&format!("app-{n}.instance-{n}._app.1"));
        prober.watch(Target { task, probes: vec![probe] });
    }
    let memory = (resident_kib()? - memory) * 1024.0 / CHECKS as f64;
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    let mut slowest = Duration::ZERO;
    for _ in 0..REPORTS {
        let report = reports.recv().await.ok_or("the prober ended")?;
        slowest = slowest.max(report.latency);
    }
    println!(
        "{name:>5}: {REPORTS} probes in {:.1} s, {:.1} us CPU a probe, slowest {slowest:?}, \
         {memory:.0} bytes a check",
        start.elapsed().as_secs_f64(),
        (cpu_seconds()? - cpu) * 1e6 / f64::from(REPORTS),
    );
    Ok(())
}

fn resident_kib() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// User and system time of this process; the kernel counts in hundredths of a second.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).ok_or("no ticks");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
