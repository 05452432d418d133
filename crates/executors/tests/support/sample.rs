//! Tasks for tests.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use waymark_model::{Agent, App, PathId, PortDefinition, Task, TaskId, TaskState, Timestamp};

/// An app with one port that runs a shell command.
pub fn shell(cmd: &str) -> App {
    let port_definitions = vec![PortDefinition::default()];
    let id = PathId::parse("/test/app").unwrap();
    App { cmd: Some(cmd.to_owned()), port_definitions, ..App::new(id) }
}

/// A task of an app; `unique` makes its id.
pub fn task(app: App, unique: &str) -> Task {
    Task {
        id: TaskId::new(&app.id, unique, 1),
        app: Arc::new(app),
        agent: Arc::new(Agent {
            id: "a-S0".to_owned(),
            hostname: "box".to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }),
        state: TaskState::Staging,
        host_ports: vec![Some(31005)],
        addresses: Vec::new(),
        staged_at: Timestamp::ZERO,
        started_at: None,
        health: Vec::new(),
        ready: true,
        draining_since: None,
    }
}
