//! An app as a request or a file states it, and how it becomes a full definition.

use std::collections::BTreeMap;
use std::time::Duration;

use waymark_model::{
    App, AppId, ContainerKind, Docker, Fetch, GroupId, HealthCheck, KillSelection, Network, Opaque,
    PathId, PortDefinition, PortMapping, ReadinessCheck, Timestamp, UnreachableStrategy,
    UpgradeStrategy, Volume,
};

use super::{build, normalize, read, validate};
use crate::error::{ApiError, Violation};
use crate::reader;

/// A definition of an app with every field optional: what a client sent, types checked.
///
/// It becomes an [`App`] by [`complete`](AppUpdate::complete) (defaults for what is absent) or by
/// [`apply_to`](AppUpdate::apply_to) (the stored values for what is absent). Either result is
/// normalised and valid; service ports may still be 0, and version stamps are those of the base.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppUpdate {
    pub(super) id: Option<String>,
    pub(super) version: Option<Timestamp>,
    /// Stamps of a stored definition: last scaling, last change of configuration.
    pub(super) version_info: Option<(Timestamp, Timestamp)>,
    /// Whether nothing but `id` and `version` was given.
    pub(super) is_bare: bool,
    pub(super) cmd: Option<String>,
    pub(super) args: Option<Vec<String>>,
    pub(super) user: Option<String>,
    pub(super) env: Option<BTreeMap<String, EnvValue>>,
    pub(super) has_secrets: bool,
    pub(super) instances: Option<u32>,
    pub(super) cpus: Option<f64>,
    pub(super) mem: Option<f64>,
    pub(super) disk: Option<f64>,
    pub(super) gpus: Option<u32>,
    pub(super) executor: Option<String>,
    pub(super) constraints: Option<Vec<Vec<String>>>,
    pub(super) fetch: Option<Vec<Fetch>>,
    pub(super) container: Option<ContainerUpdate>,
    pub(super) networks: Option<Vec<Network>>,
    pub(super) port_definitions: Option<Vec<PortDefinition>>,
    pub(super) require_ports: Option<bool>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) dependencies: Option<Vec<String>>,
    pub(super) health_checks: Option<Vec<HealthCheck>>,
    pub(super) readiness_checks: Option<Vec<ReadinessCheck>>,
    pub(super) backoff: Option<Duration>,
    pub(super) backoff_factor: Option<f64>,
    pub(super) max_launch_delay: Option<Duration>,
    pub(super) kill_grace_period: Option<Duration>,
    pub(super) upgrade_strategy: Option<UpgradeStrategy>,
    pub(super) kill_selection: Option<KillSelection>,
    pub(super) unreachable_strategy: Option<UnreachableStrategy>,
    pub(super) opaque: Opaque,
    pub(super) old: OldNotations,
}

/// The notations that Marathon 1.5 replaced; empty after normalisation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OldNotations {
    pub uris: Option<Vec<String>>,
    pub ports: Option<Vec<u16>>,
    pub ip_address: Option<IpAddress>,
}

/// `ipAddress`: an address a task, before there were `networks`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct IpAddress {
    pub network_name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub discovery_ports: Vec<PortMapping>,
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum EnvValue {
    Text(String),
    /// A reference to a secret, which Waymark cannot resolve.
    Secret,
}

/// A container as stated: its port mappings may be absent, which is not the same as empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ContainerUpdate {
    pub kind: ContainerKind,
    pub docker: Option<DockerUpdate>,
    pub volumes: Vec<Volume>,
    pub port_mappings: Option<Vec<PortMapping>>,
    pub opaque: Opaque,
}

/// `container.docker` with its old notations.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DockerUpdate {
    pub docker: Docker,
    pub network: Option<DockerNetwork>,
    pub port_mappings: Option<Vec<PortMapping>>,
}

/// `container.docker.network`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DockerNetwork {
    Host,
    Bridge,
    User,
    None,
}

impl AppUpdate {
    /// Reads one app.
    ///
    /// Errors: 400 when the text is empty or not JSON, 422 when a value has a wrong type.
    pub fn from_json(text: &[u8]) -> Result<AppUpdate, ApiError> {
        reader::from_text(text, read::app)
    }

    /// Reads an array of apps (`PUT /v2/apps`). Errors as [`AppUpdate::from_json`].
    pub fn list_from_json(text: &[u8]) -> Result<Vec<AppUpdate>, ApiError> {
        reader::from_text(text, reader::list(read::app))
    }

    /// The id that the definition names; a relative one is below the root.
    pub fn id(&self) -> Result<Option<AppId>, ApiError> {
        self.id_in(&PathId::root())
    }

    /// The id that the definition names, relative to `group`. 422 when it is no id of an app.
    pub fn id_in(&self, group: &GroupId) -> Result<Option<AppId>, ApiError> {
        let wrong = |message: String| ApiError::invalid(vec![Violation::new("/id", message)]);
        let Some(text) = &self.id else { return Ok(None) };
        match group.resolve(text) {
            Ok(id) if id.is_root() => Err(wrong("must not be empty".to_owned())),
            Ok(id) if !id.is_below(group) => {
                Err(wrong(format!("Identifier is not child of '{group}'")))
            }
            Ok(id) => Ok(Some(id)),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// The id that the definition must name: 422 when it names none.
    pub fn need_id(&self) -> Result<AppId, ApiError> {
        let missing = || ApiError::invalid_json(vec![Violation::new("/id", reader::code::MISSING)]);
        self.id()?.ok_or_else(missing)
    }

    /// The version to roll back to, for the form `{"version":…}`: 422 when it comes together with
    /// fields other than `id`.
    pub fn version(&self) -> Result<Option<Timestamp>, ApiError> {
        if self.version.is_some() && !self.is_bare {
            let text = "The 'version' field may only be combined with the 'id' field.";
            return Err(ApiError::invalid(vec![Violation::new("/", text)]));
        }
        Ok(self.version)
    }

    /// The full definition of the app `id`, with defaults for what is absent. 422 when the result
    /// is not valid. Version stamps are zero.
    pub fn complete(self, id: AppId) -> Result<App, ApiError> {
        self.onto(App::new(id), false)
    }

    /// The definition `stored` with the given fields put in place of the stored ones, each as a
    /// whole (`labels`, `env`, `container` are not merged). 422 when the result is not valid.
    /// Version stamps are those of `stored`.
    pub fn apply_to(self, stored: &App) -> Result<App, ApiError> {
        self.onto(stored.clone(), true)
    }

    fn onto(self, base: App, is_stored: bool) -> Result<App, ApiError> {
        let mut violations = validate::update(&self);
        if !violations.is_empty() {
            return Err(ApiError::invalid(violations));
        }
        let update = normalize::canonical(self).map_err(ApiError::invalid)?;
        let app = build::app(update, base, is_stored).map_err(ApiError::invalid)?;
        violations = validate::app(&app);
        if violations.is_empty() { Ok(app) } else { Err(ApiError::invalid(violations)) }
    }
}

/// The text under which an app is stored: its definition with its version stamps.
pub fn app_to_stored(app: &App) -> String {
    crate::wire::to_text(&super::AppView::plain(app))
}

/// The app of a stored text, exactly as it was. Rules that came later than the text do not apply.
pub fn app_from_stored(text: &str) -> Result<App, ApiError> {
    let update = AppUpdate::from_json(text.as_bytes())?;
    let id = update.need_id()?;
    let version = update.version.unwrap_or_default();
    let (last_scaling_at, last_config_change_at) =
        update.version_info.unwrap_or((version, version));
    let update = normalize::canonical(update).map_err(ApiError::invalid)?;
    let app = build::app(update, App::new(id), false).map_err(ApiError::invalid)?;
    Ok(App { version, last_scaling_at, last_config_change_at, ..app })
}
