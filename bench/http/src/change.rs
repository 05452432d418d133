//! What it takes until a change of one app counts, among ten thousand.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use waymark_catalog::{Output, Writer};
use waymark_proxy::{Proxy, ProxyConfig};

use crate::{HOSTS, Outcome, contestant, waymark};

/// Changes of each kind that are measured.
const CHANGES: usize = 500;

/// Between the start and the first change.
const SETTLE: Duration = Duration::from_secs(3);

/// Prints how long it takes from the publication until all workers pick by it.
pub fn measure() -> Outcome<()> {
    contestant::pin_to(&[contestant::BALANCER_CPU, contestant::LOAD_CPU])?;
    let backend: SocketAddr = "127.0.0.1:9".parse()?;
    let other: SocketAddr = "127.0.0.1:10".parse()?;
    let (mut writer, reader) = Writer::new(0);
    let proxy = Proxy::start(ProxyConfig { workers: 1, ..ProxyConfig::default() }, reader)?;
    let output = proxy.output();
    let begun = Instant::now();
    let apps = (0..HOSTS.1).map(|i| waymark::app(i, backend)).collect::<Outcome<Vec<_>>>()?;
    wait(&*output, writer.publish(apps));
    println!("Changes among {} apps with host names and service ports, Waymark:\n", HOSTS.1);
    println!("| change | median µs | p99 µs | most µs |\n|---|---|---|---|");
    let all = begun.elapsed();
    println!("| all of them at once | {} | – | – |", all.as_micros());
    // What the start left to be done is not of the changes.
    std::thread::sleep(SETTLE);
    let mut replaced = Vec::new();
    for i in 0..CHANGES {
        let app = waymark::app(i * (HOSTS.1 / CHANGES), other)?;
        replaced.push(timed(&mut writer, &*output, app));
    }
    row("a task replaced", replaced);
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for i in 0..CHANGES {
        let app = waymark::app(i, backend)?;
        removed.push(timed(&mut writer, &*output, (app.0.clone(), None)));
        added.push(timed(&mut writer, &*output, app));
    }
    row("an app removed, its service port closed", removed);
    row("an app added, its service port opened", added);
    println!();
    Ok(())
}

type Change = (waymark_model::AppId, Option<waymark_model::AppEntry>);

fn timed(writer: &mut Writer, output: &dyn Output, change: Change) -> Duration {
    let begun = Instant::now();
    let version = writer.publish([change]);
    wait(output, version);
    begun.elapsed()
}

fn wait(output: &dyn Output, version: u64) {
    while output.applied() < version {
        std::thread::yield_now();
    }
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_micros();
    println!("| {what} | {} | {} | {} |", at(50), at(99), at(100));
}
