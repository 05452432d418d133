//! Rules while their labels are still being read: what one label says, before another one or the
//! app's checks decide what follows from it.

use std::path::PathBuf;

use crate::value::{instant, plain};
use crate::{BackendTls, Deployment, Mode, PathPattern, PortRouting, Rewrite};

/// Of one port.
#[derive(Default)]
pub(crate) struct Draft {
    pub rules: PortRouting,
    /// Whether the port has groups of its own.
    pub own_groups: bool,
    /// `HAPROXY_n_MODE`
    pub mode: Option<Mode>,
    /// `HAPROXY_n_BACKEND_HEALTHCHECK_PORT_INDEX`
    pub check_port: Option<i64>,
    /// `HAPROXY_n_HTTP_BACKEND_PROXYPASS_PATH`
    pub proxypass: Option<String>,
    /// `WAYMARK_n_PATH*`
    pub paths: Vec<PathPattern>,
    /// `WAYMARK_n_STRIP_PREFIX`
    pub strip: Option<String>,
    /// `WAYMARK_n_REWRITE`
    pub replace: Option<Rewrite>,
    /// `WAYMARK_n_BACKEND_TLS`
    pub tls: Option<BackendTls>,
    /// `WAYMARK_n_BACKEND_CA`
    pub ca: Option<PathBuf>,
    /// `WAYMARK_n_BACKEND_SERVER_NAME`
    pub server_name: Option<String>,
    /// What of the label being read has no effect, and why.
    pub notes: Vec<String>,
}

/// Of the app.
#[derive(Default)]
pub(crate) struct AppDraft {
    pub groups: Vec<String>,
    deployment_group: Option<String>,
    started_at: Option<i128>,
    target_instances: Option<u32>,
    new_instances: Option<u32>,
    pub notes: Vec<String>,
}

impl Draft {
    /// Reads yes or no as marathon-lb does; what is neither is no, and noted.
    pub fn flag(&mut self, value: &str) -> bool {
        plain::flag(value, &mut self.notes)
    }

    /// Puts together what several labels say.
    pub fn merge(&mut self) -> Result<(), &'static str> {
        if !self.paths.is_empty() {
            self.rules.paths = std::mem::take(&mut self.paths);
        }
        // marathon-lb: a rule with a path goes before one without, also when its weight says 0.
        if !self.rules.paths.is_empty() && self.rules.priority == 0 {
            self.rules.priority = 1;
        }
        if let Some(prefix) = self.proxypass.take() {
            self.rules.host_rewrite =
                self.rules.hosts.iter().find_map(|h| h.exact().map(Into::into));
            self.rules.rewrite = Rewrite::strip(prefix);
        }
        match (self.strip.take(), self.replace.take()) {
            (Some(_), Some(_)) => return Err("only one of STRIP_PREFIX and REWRITE can be given"),
            (Some(prefix), None) => self.rules.rewrite = Rewrite::strip(prefix),
            (None, Some(rewrite)) => self.rules.rewrite = rewrite,
            (None, None) => {}
        }
        if let Some(tls) = self.tls.take() {
            let (ca, server_name) = (self.ca.take(), self.server_name.take());
            self.rules.backend.tls = Some(BackendTls { ca, server_name, ..tls });
        }
        Ok(())
    }
}

impl AppDraft {
    pub fn deployment_group(&mut self, value: &str) -> Result<(), String> {
        let name = value.trim().trim_start_matches('/');
        if name.is_empty() {
            return Err(String::from("it names no group"));
        }
        self.deployment_group = Some(format!("/{name}"));
        Ok(())
    }

    pub fn started_at(&mut self, value: &str) -> Result<(), String> {
        instant::parse(value).map(|at| self.started_at = Some(at))
    }

    pub fn target_instances(&mut self, value: &str) -> Result<(), String> {
        plain::number(value, 0, u32::MAX).map(|count| self.target_instances = Some(count))
    }

    pub fn new_instances(&mut self, value: &str) -> Result<(), String> {
        plain::number(value, 0, u32::MAX).map(|count| self.new_instances = Some(count))
    }

    /// What the labels say about blue/green.
    pub fn deployment(&mut self) -> Option<Deployment> {
        Some(Deployment {
            group: self.deployment_group.take()?,
            started_at: self.started_at,
            target_instances: self.target_instances,
            new_instances: self.new_instances,
        })
    }
}
