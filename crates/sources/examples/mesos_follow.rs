//! Follows a Mesos cluster and prints what comes of it, one line for each version.
//!
//! `cargo run --release -p waymark-sources --example mesos_follow -- zk://host/mesos | host:port…`
//! With `--poll` the event stream is not used; with `--data DIR` the last state is kept there.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::time::{Duration, Instant};

use waymark_catalog::Writer;
use waymark_sources::mesos::{MesosConfig, MesosSource, ZkTarget};

fn config() -> Result<MesosConfig, String> {
    let mut config = MesosConfig { refresh: Duration::from_secs(5), ..MesosConfig::default() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--poll" => config.subscribe = false,
            "--data" => config.data_dir = args.next().map(Into::into),
            zk if zk.starts_with("zk://") || zk.starts_with("file://") => {
                config.zk = Some(ZkTarget::read(zk).map_err(|e| e.to_string())?);
            }
            _ => config.masters.push(arg),
        }
    }
    Ok(config)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let source = MesosSource::new(config()?).map_err(|e| e.to_string())?;
    let (writer, mut reader) = Writer::new(source.last_version());
    let (status, freshness) = (source.status(), source.freshness());
    let start = Instant::now();
    let print = async {
        loop {
            let changed = tokio::time::timeout(Duration::from_secs(5), reader.changed()).await;
            let at = start.elapsed().as_secs_f64();
            let (report, standing) = (status.report(), freshness.standing(Instant::now()));
            if let Ok(Some(catalog)) = changed {
                let cluster = &catalog.cluster;
                let (agents, tasks) = (cluster.agents.len(), cluster.tasks());
                println!("{at:.3} version {}: {agents} agents, {tasks} tasks", catalog.version);
                println!("    {:?}", cluster.masters);
                for group in cluster.groups.values().take(5) {
                    println!("    {:?}: {:?}", group.id, group.tasks.first());
                }
            }
            println!("{at:.3} {standing:?} {report:?}");
        }
    };
    tokio::select! {
        () = source.run(writer) => {}
        () = print => {}
    }
    Ok(())
}
