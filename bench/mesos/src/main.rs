//! Measures how soon a task that runs on a real Mesos is found by name.
//!
//! ```text
//! executor ─► agent ─► master ─┬─► framework (tells when)
//!    └ tells when              └─► waymark mesos-dns ◄── asked every 100 µs until it knows
//! ```
//!
//! `waymark-bench-mesos [SAMPLES [OTHER TASKS]]`, as root. Prints a Markdown table; see `README.md`
//! beside this crate. `STORY_BINARY` names another program than `target/release/waymark`.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "the table is the output; a measurement that goes wrong ends"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use waymark_stories::{Framework, Mesos, MesosDns, MesosTask};

/// The pause between two questions.
const PAUSE: Duration = Duration::from_micros(100);

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse().expect("a number"));
    let samples: usize = arguments.next().unwrap_or(300);
    let others: usize = arguments.next().unwrap_or(0);
    let mesos = Mesos::start(1);
    let marathon = mesos.framework("marathon");
    let crowd: Vec<String> = (0..others)
        .map(|n| marathon.launch(MesosTask::new(&format!("crowd{}", n % 97)).shared()))
        .collect();
    crowd.iter().for_each(|id| drop(marathon.wait_for(id, "TASK_RUNNING")));
    let dns = MesosDns::start(&mesos, json!({}));
    let (mut by_executor, mut by_master) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        let (executor, master) = one(&marathon, &dns, &format!("n{sample}"));
        by_executor.push(executor);
        by_master.push(master);
    }
    println!("| {samples} tasks beside {others} others, ms | p50 | p90 | p99 | max |");
    println!("|---|---|---|---|---|");
    row("executor says that it runs → first right answer", by_executor);
    row("framework is told by the master → first right answer", by_master);
}

/// Launches a task and asks for its name until the answer is right. Milliseconds from the
/// executor's word, and from the framework's hearing of it.
fn one(marathon: &Framework, dns: &MesosDns, name: &str) -> (f64, f64) {
    let id = marathon.launch(MesosTask::new(name).shared());
    let fqdn = format!("{name}.marathon.mesos");
    while dns.dig(&fqdn, "A").addresses.is_empty() {
        std::thread::sleep(PAUSE);
    }
    let known = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let status = marathon.wait_for(&id, "TASK_RUNNING");
    let ran = status["timestamp"].as_f64().expect("a time");
    let told = status["at"].as_f64().expect("a time");
    ((known - ran) * 1e3, (known - told) * 1e3)
}

fn row(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (values.len() as f64 * share).ceil() as usize;
        values[index.clamp(1, values.len()) - 1]
    };
    println!("| {what} | {:.1} | {:.1} | {:.1} | {:.1} |", at(0.5), at(0.9), at(0.99), at(1.0));
}
