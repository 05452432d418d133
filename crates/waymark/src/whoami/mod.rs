//! `waymark whoami`: a tiny HTTP server to try things with, so that examples need nothing installed.
//!
//! ```text
//! connection ──► server (limits, orderly stop) ──► answer (one function a path) ──► bytes
//! ```
//!
//! It answers who it is and what it was asked, and has switches for what a load balancer must cope
//! with: failing health checks, slow answers, long ones, a sudden end. It keeps nothing.

mod answer;
mod identity;
mod server;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::ArgMatches;

use crate::exit::Exit;
use crate::settings::Surroundings;
use crate::terminal;
use identity::Identity;

/// Runs until SIGTERM or Ctrl-C, or until `/exit`.
pub fn run(matches: &ArgMatches, around: &Surroundings) -> Exit {
    let port = match port(matches.get_one::<u16>("port").copied(), around) {
        Ok(port) => port,
        Err(message) => return terminal::fail(Exit::Usage, &message),
    };
    let listen = matches.get_one::<IpAddr>("listen").copied().unwrap_or_else(|| listen(around));
    let name = matches
        .get_one::<String>("name")
        .map(String::as_str)
        .or_else(|| around.variable("MARATHON_APP_ID"))
        .unwrap_or("whoami");
    let identity = Identity::new(name, around.environment.clone());
    // One thread: many of these run beside each other on one machine.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return terminal::fail(Exit::Failed, &format!("cannot start: {e}")),
    };
    runtime.block_on(async {
        match server::serve(SocketAddr::new(listen, port), identity).await {
            Ok(()) => Exit::Ok,
            Err(e) => terminal::fail(
                Exit::Failed,
                &format!("cannot listen on {listen} port {port}: {e}; take another with --port"),
            ),
        }
    })
}

fn port(flag: Option<u16>, around: &Surroundings) -> Result<u16, String> {
    if let Some(port) = flag {
        return Ok(port);
    }
    let named = ["PORT0", "PORT"].into_iter().find_map(|n| Some((n, around.variable(n)?)));
    let Some((name, text)) = named else {
        return Err("which port? Say --port N, or set PORT0".to_owned());
    };
    text.parse().map_err(|_| format!("{name}={text:?} is not a port; say --port N"))
}

/// Where whoever started this task expects it: at `HOST`. By hand, this machine only.
fn listen(around: &Surroundings) -> IpAddr {
    match around.variable("HOST") {
        None => Ipv4Addr::LOCALHOST.into(),
        Some(host) => host.parse().unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
    }
}
