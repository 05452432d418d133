//! What an applier does between two changes: it looks whether HAProxy is still the one it knows, deletes servers that have
//! nothing left to do, hands renewed certificates on, and counts old workers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::answers::busy;
use super::applier::Applier;
use super::command::{Command, Name};
use super::frame;
use super::plan::Why;
use super::reload::lingering;
use super::socket::Socket;

/// How long a server stays in maintenance before it is deleted. HAProxy before 2.9 may still have a request in hand that
/// goes to it and that no counter shows.
const REST: Duration = Duration::from_secs(10);
/// Most backends that are looked through at a time.
const MOST_BACKENDS: usize = 50;
/// Longest certificate file that is read.
const LONGEST_PEM: u64 = 12 * 1024;
/// As many old workers, or one as old as this, are worth an advice.
const MANY_WORKERS: usize = 5;
const OLD_WORKER: Duration = Duration::from_secs(3600);

/// What a file looked like: its size and when it was changed.
type Stamp = (u64, SystemTime);

/// What the looks remember of each other.
#[derive(Debug, Default)]
pub(super) struct Memory {
    certificates: BTreeMap<PathBuf, Stamp>,
    advised: bool,
}

impl Applier {
    /// Looks. True when HAProxy no longer runs what was applied, so that it has to be applied again; a reason when only a
    /// reload can hand something on.
    pub(super) async fn look(&mut self, memory: &mut Memory) -> (bool, Option<Why>) {
        let knew = self.applied.is_some();
        if self.options.worker.is_some() {
            self.observe().await;
            self.say_silent();
            self.delete_idle().await;
        }
        self.count_old_workers(memory).await;
        let why = self.renew_certificates(memory).await;
        self.status.leaving = self.leaving.len();
        (knew && self.applied.is_none(), why)
    }

    async fn delete_idle(&mut self) {
        let rested = self.left_at.is_none_or(|at| at.elapsed() >= REST);
        let Some(worker) = self.options.worker.clone().filter(|_| rested) else { return };
        let backends: BTreeSet<String> =
            self.leaving.keys().map(|name| name.backend().to_owned()).collect();
        for backend in backends.iter().take(MOST_BACKENDS) {
            if self.delete_idle_of(&worker, backend).await.is_none() {
                return;
            }
        }
    }

    /// None when HAProxy does not say what it takes to know that a server is idle.
    async fn delete_idle_of(&mut self, worker: &Socket, backend: &str) -> Option<()> {
        let servers = worker.servers(Some(backend)).await.ok()?.remove(backend).unwrap_or_default();
        let answer = match servers.first() {
            Some(server) => worker.ask(&format!("show stat {} 4 -1", server.backend)).await.ok()?,
            None => String::new(),
        };
        let busy = if servers.is_empty() { HashMap::new() } else { busy(&answer)? };
        let names: Vec<Name> =
            self.leaving.keys().filter(|name| name.backend() == backend).cloned().collect();
        for name in names {
            let there = servers.iter().any(|server| server.name == name.server());
            let idle = busy.get(name.server()) == Some(&0);
            // It is refused as long as connections are kept open to it.
            if !there || idle && worker.run(&Command::Delete(name.clone())).await.is_ok() {
                self.leaving.remove(&name);
            }
        }
        Some(())
    }

    async fn count_old_workers(&mut self, memory: &mut Memory) {
        let Some(master) = &self.options.master else { return };
        let Ok(old) = lingering(master).await else { return };
        if (old.workers >= MANY_WORKERS || old.oldest >= OLD_WORKER) && !memory.advised {
            memory.advised = true;
            let bounded =
                self.applied.as_ref().is_some_and(|applied| frame::stops_hard(&applied.config));
            let advice = if bounded {
                "hard-stop-after is set and ends them"
            } else {
                "set hard-stop-after in the global section to end them"
            };
            tracing::warn!(workers = old.workers, oldest = ?old.oldest, connections = old.connections, advice, "old workers of HAProxy still have connections");
        }
        self.status.lingering = old;
    }

    /// Certificates whose files changed since the last look are given to HAProxy.
    async fn renew_certificates(&mut self, memory: &mut Memory) -> Option<Why> {
        let applied = self.applied.clone()?;
        let mut now = BTreeMap::new();
        let mut why = None;
        for path in frame::certificates(&applied.config) {
            let Ok(found) = std::fs::metadata(&path) else { continue };
            let Ok(changed) = found.modified() else { continue };
            let stamp = (found.len(), changed);
            let renewed = memory.certificates.get(&path).is_some_and(|before| *before != stamp);
            now.insert(path.clone(), stamp);
            if renewed
                && let Err(reason) =
                    self.renew(&path, found.is_file() && found.len() <= LONGEST_PEM).await
            {
                why = Some(Why::Certificate(reason));
            }
        }
        memory.certificates = now;
        why
    }

    async fn renew(&mut self, path: &std::path::Path, sendable: bool) -> Result<(), String> {
        let shown = path.to_string_lossy();
        let worker =
            self.options.worker.as_ref().filter(|_| sendable && super::command::is_word(&shown));
        let Some(worker) = worker else { return Err(format!("{shown} was renewed")) };
        let pem = std::fs::read_to_string(path)
            .map_err(|error| format!("{shown} was renewed and cannot be read: {error}"))?;
        worker.replace_certificate(&shown, &pem).await.map_err(|error| error.to_string())?;
        tracing::info!(certificate = %shown, "HAProxy has the renewed certificate, without a reload");
        self.status.commands += 2;
        self.status.reloads_avoided += 1;
        Ok(())
    }
}
