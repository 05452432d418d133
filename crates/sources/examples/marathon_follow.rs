//! Follows a Marathon and prints what comes of it, one line for each version.
//!
//! `cargo run --release -p waymark-sources --example marathon_follow -- http://host:8080…`
//! With `--data DIR` the last state is kept there.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::time::{Duration, Instant};

use waymark_catalog::Writer;
use waymark_sources::marathon::{MarathonConfig, MarathonSource};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let mut config = MarathonConfig::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--data" => config.data_dir = args.next().map(Into::into),
            _ => config.urls.push(arg),
        }
    }
    let source = MarathonSource::new(config).map_err(|e| e.to_string())?;
    let (writer, mut reader) = Writer::new(source.last_version());
    let (status, freshness) = (source.status(), source.freshness());
    let start = Instant::now();
    let print = async {
        loop {
            let changed = tokio::time::timeout(Duration::from_secs(5), reader.changed()).await;
            let at = start.elapsed().as_secs_f64();
            if let Ok(Some(catalog)) = changed {
                println!("{at:.3} version {}: {} apps", catalog.version, catalog.apps.len());
                for app in catalog.apps.values().take(5) {
                    let ports: Vec<u16> = app.services.iter().map(|s| s.port).collect();
                    println!("    {} {ports:?}", app.id);
                    for task in app.tasks.iter().take(5) {
                        println!("        {} {:?} {:?}", task.id, task.readiness, task.endpoints);
                    }
                }
            }
            println!("{at:.3} {:?} {:?}", freshness.standing(Instant::now()), status.report());
        }
    };
    tokio::select! {
        () = source.run(writer) => {}
        () = print => {}
    }
    Ok(())
}
