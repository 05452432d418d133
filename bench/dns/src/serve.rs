//! The process under test: Waymark's DNS server with one worker and a catalog built here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use waymark_catalog::{Output, Writer};
use waymark_dns::{Dns, DnsConfig, Server, Sockets};

use crate::{Outcome, names};

/// Serves `count` tasks' names for ever. With `changes`, so many apps a second get another task
/// once everything stands, each in a version of its own.
pub fn serve(count: usize, address: SocketAddr, changes: Option<u32>) -> Outcome<()> {
    let dns = Arc::new(Dns::new(DnsConfig::default())?);
    let (mut writer, reader) = Writer::new(0);
    let all: Vec<_> = (0..count).map(|n| names::app(n, 0)).collect::<Result<_, _>>()?;
    let version = writer.publish(all.into_iter().map(|app| (app.id.clone(), Some(app))));
    let follower = dns.clone();
    std::thread::spawn(move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(follower.follow(reader));
        Ok(())
    });
    while dns.applied() < version {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _server = Server::start(&dns, Sockets::bind(&[address], 1)?)?;
    // Without changes: for longer than anybody measures.
    let changes = changes.filter(|changes| *changes > 0);
    let pause = changes.map_or(Duration::from_secs(1 << 30), |n| Duration::from_secs(1) / n);
    let mut next = Instant::now();
    for round in 1usize.. {
        next += pause;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let app = names::app(round * 7919 % count, round)?;
        writer.publish([(app.id.clone(), Some(app))]);
    }
    Ok(())
}
