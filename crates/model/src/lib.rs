//! The domain of Waymark: what an app, a task, a service port and the catalog *are*.
//!
//! Input: plain values, made by the rooms that read the outside world (`marathon-api`, `control`).
//! Output: plain values, read by everything to the right (`dns`, `proxy`).
//!
//! Nothing here does I/O, reads a clock, draws a random number or knows a wire format. Time and
//! randomness are arguments, so that property tests and simulations drive the same code as the
//! running program.

mod app;
mod catalog;
mod cluster;
mod health;
pub mod host_ports;
mod path_id;
mod ports;
mod root;
pub mod service_ports;
mod strategy;
mod task;
mod timestamp;

pub use app::{
    Agent, App, Constraint, Container, ContainerKind, DEFAULT_CPUS, DEFAULT_MEM_MIB, Docker, Fetch,
    Network, NetworkMode, Opaque, Parameter, Resources, Volume,
};
pub use catalog::{
    AppEntry, Catalog, Change, DiscoveryPort, Endpoint, Readiness, Service, TaskEntry, Version,
};
pub use cluster::{
    Cluster, ClusterAgent, ClusterPort, ClusterTask, Framework, GroupChange, Master, Masters,
    TaskAddresses, TaskGroup, TaskGroupId,
};
pub use health::{CheckProtocol, HealthCheck, HealthResult, PortReference, ReadinessCheck};
pub use host_ports::{HostPorts, PortDemand, PortShortage};
pub use path_id::{AppId, GroupId, PathId, PathIdError};
pub use ports::{PortDefinition, PortMapping, PortView, Protocol};
pub use root::{Group, Root};
pub use service_ports::{AppUpdate, Conflict, Exhausted, ServicePorts};
pub use strategy::{Backoff, KillSelection, UnreachableStrategy, UpgradeStrategy};
pub use task::{InstanceId, Task, TaskId, TaskState};
pub use timestamp::Timestamp;
