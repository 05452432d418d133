//! The balancer's own checks of tasks, beside what the catalog says of their health.
//!
//! ```text
//! RouteTable ──► Checks::follow ──► Prober (HTTP, HTTPS, TCP; jittered, so many at a time)
//! Endpoint.check ◄── Checks::record ◄── ProbeReport
//! ```
//!
//! A task is checked by its app's check of the port (`healthChecks`), at its own address or where
//! `HAPROXY_n_BACKEND_HEALTHCHECK_PORT_INDEX` says, as marathon-lb has HAProxy do, and as often as the
//! settings or `WAYMARK_n_CHECK_*` say; commands cannot be run from here. A task whose check fails is tried last: what is found here never empties a pool.
//! Nothing here is told to the control plane.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imbl::ordmap::DiffItem;
use tokio::sync::{mpsc, watch};
use tracing::info;
use waymark_health::{
    CheckId, CommandRunner, Config, Expectation, Outcome, Probe, ProbeKind, ProbeReport, Prober,
    Target,
};
use waymark_model::{CheckProtocol, HealthCheck, TaskId};
use waymark_routing::Probe as Rules;

use crate::config::ActiveChecks;
use crate::route::{Candidate, Pool, PoolId, Reason, RouteTable};
use crate::usage::{CheckState, Endpoint};

/// Reports that wait to be read; when full, checking waits.
const REPORTS: usize = 256;

/// Checks the tasks of each table until told to stop.
pub(crate) async fn run(
    settings: ActiveChecks,
    mut tables: watch::Receiver<Arc<RouteTable>>,
    mut stop: watch::Receiver<Option<Instant>>,
) {
    let (reports, mut found) = mpsc::channel(REPORTS);
    let config = Config { seed: rand::random(), ..Config::default() };
    let mut checks = Checks::new(settings, Prober::new(config, Arc::new(NoCommands), reports));
    tables.mark_changed();
    loop {
        tokio::select! {
            // Without a table's thread the last table stays, and so do its checks.
            Ok(()) = tables.changed() => {
                let table = tables.borrow_and_update().clone();
                checks.follow(&table);
            }
            Some(report) = found.recv() => checks.record(&report),
            _ = stop.wait_for(Option::is_some) => return,
        }
    }
}

/// What is checked, and what was found.
struct Checks {
    settings: ActiveChecks,
    prober: Prober,
    table: Arc<RouteTable>,
    pools: HashMap<PoolId, Vec<Watched>>,
    /// By the name under which the prober knows them.
    records: HashMap<TaskId, Record>,
    last_name: u64,
}

/// One endpoint that is checked.
struct Watched {
    endpoint: Arc<Endpoint>,
    how: How,
    name: TaskId,
}

/// How it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct How {
    kind: ProbeKind,
    interval: Duration,
    timeout: Duration,
}

struct Record {
    endpoint: Arc<Endpoint>,
    streak: Streak,
}

/// Results of one kind in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Streak {
    successes: u32,
    failures: u32,
}

impl Streak {
    /// Takes in a result; says what state follows from it, if one does.
    fn record(&mut self, success: bool, settings: &ActiveChecks) -> Option<CheckState> {
        *self = match success {
            true => Streak { successes: self.successes.saturating_add(1), failures: 0 },
            false => Streak { successes: 0, failures: self.failures.saturating_add(1) },
        };
        if self.failures >= settings.fall.max(1) {
            Some(CheckState::Failed)
        } else if self.successes >= settings.rise.max(1) {
            Some(CheckState::Passed)
        } else {
            None
        }
    }
}

impl Checks {
    fn new(settings: ActiveChecks, prober: Prober) -> Checks {
        Checks {
            settings,
            prober,
            table: Arc::default(),
            pools: HashMap::new(),
            records: HashMap::new(),
            last_name: 0,
        }
    }

    /// Watches what the table has, and nothing else; the cost is that of the change.
    fn follow(&mut self, table: &Arc<RouteTable>) {
        let before = std::mem::replace(&mut self.table, table.clone());
        for change in before.pools.diff(&table.pools) {
            match change {
                DiffItem::Add(id, pool) | DiffItem::Update { new: (id, pool), .. } => {
                    self.follow_pool(id, Some(pool));
                }
                DiffItem::Remove(id, _) => self.follow_pool(id, None),
            }
        }
    }

    fn follow_pool(&mut self, id: &PoolId, pool: Option<&Arc<Pool>>) {
        let mut had = self.pools.remove(id).unwrap_or_default();
        let mut has = Vec::new();
        let settings = self.settings;
        for (endpoint, how) in pool.into_iter().flat_map(|pool| wanted(pool, &settings)) {
            let same = |w: &Watched| Arc::ptr_eq(&w.endpoint, endpoint) && w.how == how;
            match had.iter().position(same) {
                Some(at) => has.push(had.swap_remove(at)),
                None => has.push(self.watch(endpoint, how)),
            }
        }
        for gone in had {
            self.prober.forget(&gone.name);
            self.records.remove(&gone.name);
            // What is checked in another way from now on stays what it was found to be until then.
            if !has.iter().any(|w: &Watched| Arc::ptr_eq(&w.endpoint, &gone.endpoint)) {
                gone.endpoint.set_check(CheckState::Unknown);
            }
        }
        if !has.is_empty() {
            self.pools.insert(id.clone(), has);
        }
    }

    fn watch(&mut self, endpoint: &Arc<Endpoint>, how: How) -> Watched {
        self.last_name += 1;
        let name = TaskId::from_text(&self.last_name.to_string());
        let record = Record { endpoint: endpoint.clone(), streak: Streak::default() };
        self.records.insert(name.clone(), record);
        let probe = Probe {
            check: CheckId::Health(0),
            kind: how.kind.clone(),
            expect: Expectation::Usual { ignore_1xx: false },
            interval: how.interval,
            timeout: how.timeout,
            // The catalog calls it healthy, so there is no hurry.
            succeeded: true,
        };
        self.prober.watch(Target { task: name.clone(), probes: vec![probe] });
        Watched { endpoint: endpoint.clone(), how, name }
    }

    fn record(&mut self, report: &ProbeReport) {
        // What was under way when its endpoint went is of no interest.
        let Some(record) = self.records.get_mut(&report.task) else { return };
        let success = match &report.outcome {
            Outcome::Success => true,
            Outcome::Failure(_) => false,
            Outcome::Neutral => return,
        };
        let Some(state) = record.streak.record(success, &self.settings) else { return };
        let endpoint = &record.endpoint;
        if endpoint.check() != state {
            info!(task = %endpoint.task, address = %endpoint.address, outcome = ?report.outcome,
                "the balancer's check says otherwise now");
            endpoint.set_check(state);
        }
    }
}

/// The endpoints of a pool that can be checked, and how.
fn wanted<'p>(
    pool: &'p Pool,
    settings: &ActiveChecks,
) -> impl Iterator<Item = (&'p Arc<Endpoint>, How)> {
    let check = pool.check.as_ref().map(|check| &check.check);
    let used = |c: &&Candidate| matches!(c.withheld, None | Some(Reason::Unhealthy));
    let rules = &pool.rules.probe;
    let interval = rules.interval.unwrap_or(settings.interval);
    let timeout = rules.timeout.unwrap_or(settings.timeout);
    check.into_iter().flat_map(move |check| {
        pool.candidates.iter().filter(used).filter_map(move |candidate| {
            let endpoint = &candidate.endpoint;
            let address = candidate.check_address.unwrap_or(endpoint.address);
            Some((endpoint, How { kind: kind(check, rules, address)?, interval, timeout }))
        })
    })
}

fn kind(check: &HealthCheck, rules: &Rules, addr: SocketAddr) -> Option<ProbeKind> {
    use CheckProtocol::{Command, Http, Https, MesosHttp, MesosHttps, MesosTcp, Tcp};
    let path = || rules.path.clone().or(check.path.clone()).unwrap_or_else(|| "/".to_owned());
    match check.protocol {
        Http | MesosHttp => Some(ProbeKind::Http { addr, path: path(), host: addr.to_string() }),
        Https | MesosHttps => Some(ProbeKind::Https { addr, path: path(), host: addr.to_string() }),
        Tcp | MesosTcp => Some(ProbeKind::Tcp { addr }),
        Command => None,
    }
}

/// No command is ever asked for.
struct NoCommands;

impl CommandRunner for NoCommands {
    fn run(
        &self,
        _task: &TaskId,
        _command: &str,
        _timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        Box::pin(async { Err("commands are not run from here".to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_follows_from_so_many_results_in_a_row() {
        let settings = ActiveChecks { fall: 3, rise: 2, ..ActiveChecks::default() };
        let mut streak = Streak::default();
        let mut after = |results: &str| {
            results.chars().map(|c| streak.record(c == '+', &settings)).last().flatten()
        };
        assert_eq!(after("--"), None);
        assert_eq!(after("-"), Some(CheckState::Failed));
        assert_eq!(after("+"), None);
        assert_eq!(after("+"), Some(CheckState::Passed));
        assert_eq!(after("--+--"), None);
        assert_eq!(after("-"), Some(CheckState::Failed));
    }

    #[test]
    fn commands_are_not_checked_from_here() {
        let (address, rules) = (SocketAddr::from(([10, 0, 0, 1], 80)), Rules::default());
        let by = |protocol, rules: &Rules| {
            kind(&HealthCheck { protocol, ..HealthCheck::default() }, rules, address)
        };
        assert_eq!(by(CheckProtocol::Command, &rules), None);
        assert_eq!(by(CheckProtocol::MesosTcp, &rules), Some(ProbeKind::Tcp { addr: address }));
        let path = |rules: &Rules| match by(CheckProtocol::Http, rules) {
            Some(ProbeKind::Http { path, .. }) => path,
            kind => panic!("{kind:?}"),
        };
        assert_eq!(path(&rules), "/");
        assert_eq!(path(&Rules { path: Some("/up".to_owned()), ..rules }), "/up");
    }
}
