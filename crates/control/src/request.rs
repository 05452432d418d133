//! What can be asked of the control plane, and how it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;
pub use waymark_marathon_api::Violation;
use waymark_model::{App, AppId, Group, GroupId, Root, TaskId, Timestamp};

/// The id of a deployment, a UUID as text.
pub type DeploymentId = Arc<str>;

/// A read-modify-write of the root group. It runs inside the core, on the current root, so what it
/// sees cannot be stale; it must not block.
pub type ChangeFn = Box<dyn FnOnce(&Root) -> Result<Change, Refusal> + Send>;

/// What a [`ChangeFn`] wants: apps and groups to put (`Some`) or remove (`None`), and apps to
/// restart although nothing about them changed. The cost of a change is its size, not the root's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Apps to put or remove. Service ports may be 0; version stamps are ignored.
    pub apps: BTreeMap<AppId, Option<App>>,
    /// Groups to put or remove; missing parents of apps are made without being named here.
    pub groups: BTreeMap<GroupId, Option<Group>>,
    /// Apps whose tasks are replaced in any case.
    pub restart: BTreeSet<AppId>,
}

/// Something asked of the control plane.
pub enum Request {
    /// Change the root group.
    Change {
        /// How.
        change: ChangeFn,
        /// Cancel deployments that hold the same apps instead of refusing.
        force: bool,
    },
    /// Kill tasks. Unknown ids are skipped.
    Kill {
        /// Which.
        tasks: Vec<TaskId>,
        /// Lower the instance counts by the number killed, so that they are not replaced.
        scale: bool,
        /// As in [`Request::Change`]; matters with `scale` only.
        force: bool,
    },
    /// Forget an app's launch delay.
    ResetDelay(AppId),
}

/// The answer to an accepted request.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    /// The deployment that carries it out; `None` for a kill without scaling and the like.
    pub deployment: Option<DeploymentId>,
    /// The version of the root group it made.
    pub version: Timestamp,
    /// The apps put, as stored: service ports assigned, versions stamped.
    pub apps: Vec<Arc<App>>,
    /// The tasks being killed (as they were before).
    pub killed: Vec<Arc<waymark_model::Task>>,
    /// Things the user should know, one sentence each (service-port conflicts).
    pub warnings: Vec<String>,
}

/// Why a request was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The result would not be valid: 422.
    #[error("Object is not valid")]
    Invalid(Vec<Violation>),
    /// An object is missing: 404. The text is the whole message.
    #[error("{0}")]
    NotFound(String),
    /// Something exists already: 409. The text is the whole message.
    #[error("{0}")]
    Exists(String),
    /// The request contradicts itself: 400.
    #[error("{0}")]
    BadRequest(String),
    /// Running deployments hold an app: 409.
    #[error(
        "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'."
    )]
    Locked(Vec<DeploymentId>),
    /// No automatic service port is left: 500 as in Marathon.
    #[error("All ports in the range [{min}-{max}) are already in use")]
    PortsExhausted {
        /// First of the range.
        min: u16,
        /// Last of the range (included, whatever the bracket says: Marathon's text).
        max: u16,
    },
    /// Too many deployments at once: 403.
    #[error(
        "Max number ({0}) of running deployments is achieved. Wait for one to finish or cancel one."
    )]
    TooManyDeployments(usize),
    /// The store could not keep it: 503.
    #[error("The change could not be stored: {0}")]
    Storage(String),
    /// The control plane is stopping: 503.
    #[error("Waymark is stopping")]
    Stopping,
}
