//! What a full state costs: reading it, making the catalog's cluster of it, and taking over the
//! same once more; then what one changed task costs.
//!
//! `cargo run --release -p waymark-mesos-api --example state_costs -- [TASKS] [AGENTS]`
#![allow(clippy::print_stdout)]

use std::net::IpAddr;
use std::time::Duration;

use waymark_mesos_api::{Event, Hosts, State, parse, sample};

/// What the program uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Literals;

impl Hosts for Literals {
    fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        host.parse().ok().map(|address| vec![address])
    }
}

/// The process's present and greatest resident memory, in MB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    (field("VmRSS:").unwrap_or(0) / 1024, field("VmHWM:").unwrap_or(0) / 1024)
}

/// The processor time used so far, since others may use the processors too.
fn used() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let tasks = numbers.next().unwrap_or(20_000);
    let agents = numbers.next().unwrap_or(1_000);
    let text = sample::state(agents, tasks);
    println!("{tasks} tasks on {agents} agents: {:.1} MB", text.len() as f64 / 1e6);
    println!("memory with the text: {:?} MB", memory());
    let mut state = State::default();
    for round in 0..4 {
        let start = used();
        let Ok(document) = parse(text.as_bytes()) else { return };
        let parsed = used() - start;
        state.replace(document);
        let replaced = used() - start;
        let groups = state.refresh(&Literals).groups.len();
        let all = used() - start;
        println!(
            "round {round}: read {parsed:.1?}, taken over {:.1?}, cluster {:.1?}, all {all:.1?}; \
             {groups} groups; memory now and peak {:?} MB",
            replaced - parsed,
            all - replaced,
            memory(),
        );
    }
    changes(&mut state);
}

/// What one changed task costs from its event's bytes to the cluster.
fn changes(state: &mut State) {
    const CHANGES: u32 = 1_000;
    let events: Vec<String> = state
        .cluster()
        .groups
        .values()
        .filter_map(|group| group.tasks.first())
        .zip(0..CHANGES)
        .map(|(task, n)| {
            format!(
                r#"{{"type":"TASK_UPDATED","task_updated":{{"framework_id":{{"value":"f-0000"}},"state":"TASK_RUNNING","status":{{"task_id":{{"value":"{}"}},"state":"TASK_RUNNING","timestamp":{n}.5,"healthy":false}}}}}}"#,
                task.id.as_str(),
            )
        })
        .collect();
    let start = used();
    for event in &events {
        if let Ok(event) = Event::parse(event.as_bytes()) {
            state.apply(event);
        }
        state.refresh(&Literals);
    }
    let changes = u32::try_from(events.len()).unwrap_or(CHANGES).max(1);
    println!("one change: {:.1?}", (used() - start) / changes);
}
