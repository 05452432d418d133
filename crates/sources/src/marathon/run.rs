//! Follows the Marathons for ever: one session after the other, whatever ends them. Nothing that a
//! Marathon does or fails to do takes anything out of the catalog except an answer that was
//! understood.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use waymark_catalog::{Freshness, Reader, Writer};
use waymark_marathon_api::answer::Listing;
use waymark_model::{AppId, Catalog};

use super::api::{Api, Place};
use super::error::Trouble;
use super::session::Session;
use super::state::{Patience, State};
use super::{MarathonConfig, MarathonReport, MarathonStatus, Mode};
use crate::backoff;
use crate::hosts::HostCache;
use crate::keep::Word;

/// A session that lasted this long was a good one: the next attempt comes at once.
const GOOD_SESSION: Duration = Duration::from_secs(30);

/// How long a full list waits for host names that are being looked up, when something is published
/// already, and when it is the first.
const HOSTS_WAIT: Duration = Duration::from_millis(200);
const FIRST_HOSTS_WAIT: Duration = Duration::from_secs(5);

pub(super) struct Follower {
    pub config: MarathonConfig,
    pub places: Vec<Place>,
    pub api: Arc<Api>,
    pub reader: Reader,
    pub writer: Writer,
    pub freshness: Freshness,
    pub status: MarathonStatus,
    /// Where the last word is kept.
    pub word: watch::Sender<Word<Arc<Catalog>>>,
    pub state: State,
    pub hosts: HostCache,
    /// Whether anything has been published.
    pub published: bool,
    /// Whether the present trouble stands in the log.
    pub told: bool,
    /// Notified when somebody wants everything asked for again.
    pub refresh: Arc<Notify>,
}

impl Follower {
    /// Follows for ever.
    pub async fn run(mut self) {
        let (mut failures, mut first) = (0, 0);
        loop {
            let count = self.places.len();
            for turn in 0..count {
                let at = (first + turn) % count;
                let Some(place) = self.places.get(at).cloned() else { continue };
                let (start, before) = (Instant::now(), self.status.report().full_reads);
                let trouble = Session::run(&mut self, place.clone()).await;
                let answered = self.status.report().full_reads > before;
                if matches!(trouble, Trouble::Again | Trouble::Moved) {
                    failures = 0;
                }
                self.lost(&place, &trouble);
                if answered {
                    first = at;
                    if start.elapsed() > GOOD_SESSION {
                        failures = 0;
                    }
                    break;
                }
            }
            let pause = backoff::pause(failures, self.config.max_backoff, rand::random());
            self.beside(sleep(pause)).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Waits for something while host names are looked up and what comes of it is published.
    pub async fn beside<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        tokio::pin!(waiting);
        loop {
            let due = self.hosts.next_due().map(Instant::from_std);
            tokio::select! {
                done = &mut waiting => return done,
                found = self.hosts.next() => if let Some(host) = found {
                    self.state.hosts_changed(&HashSet::from([host]));
                    self.publish();
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.hosts.start(std::time::Instant::now());
                }
            }
        }
    }

    /// Takes over a full list and publishes it. Returns when to ask again because something that it
    /// leaves out is kept for now.
    pub async fn take_listing(
        &mut self,
        listing: Listing,
        fresher: &HashSet<AppId>,
    ) -> Option<Instant> {
        let unnamed = listing.unreadable.iter().filter(|element| element.id.is_none()).count();
        let MarathonConfig { believe_gone: gone, believe_empty: empty, .. } = self.config;
        let now = std::time::Instant::now();
        let again = self.state.take_listing(listing, fresher, now, Patience { gone, empty });
        self.hosts.want(self.state.hosts(), now);
        let wait = if self.published { HOSTS_WAIT } else { FIRST_HOSTS_WAIT };
        let patience = sleep(wait);
        tokio::pin!(patience);
        let mut found = HashSet::new();
        while self.hosts.is_busy() {
            tokio::select! {
                host = self.hosts.next() => found.extend(host),
                () = &mut patience => break,
            }
        }
        self.state.hosts_changed(&found);
        self.publish_first();
        self.status.update(|report| {
            report.full_reads += 1;
            report.unnamed = unnamed;
        });
        self.tell_state();
        again.map(Instant::from_std)
    }

    /// Publishes what changed; the first time even if that is nothing.
    fn publish_first(&mut self) {
        self.publish();
        if !self.published {
            self.send(Vec::new());
        }
    }

    /// Publishes what changed.
    pub fn publish(&mut self) {
        let mut changes = self.state.changes(&self.hosts);
        let present = self.reader.latest();
        changes.retain(|(id, entry)| present.apps.get(id).map(|e| &**e) != entry.as_ref());
        if !changes.is_empty() {
            self.send(changes);
        }
    }

    fn send(&mut self, changes: Vec<(AppId, Option<waymark_model::AppEntry>)>) {
        let version = self.writer.publish(changes);
        self.published = true;
        let content = self.reader.latest();
        self.word.send_replace(Word { content, version, saved: SystemTime::now() });
    }

    /// Puts what is known of the apps into the status; a warning when new ones make no sense.
    pub fn tell_state(&mut self) {
        let problems = self.state.problems();
        let before = self.status.report().problems;
        let new = |(app, reason): &(&AppId, &String)| before.get(*app) != Some(*reason);
        let shown = problems.iter().take(MarathonReport::MAX_PROBLEMS);
        for (app, reason) in shown.clone().filter(new) {
            tracing::warn!(%app, reason, "an app makes no sense; its last good entry stays");
        }
        let shown = shown.map(|(app, reason)| (app.clone(), reason.clone())).collect();
        let (apps, doubted) = (self.state.len(), self.state.doubted());
        let (count, unresolved) = (problems.len(), self.hosts.unresolved());
        self.status.update(|report| {
            (report.problems, report.problem_count) = (shown, count);
            (report.apps, report.doubted) = (apps, doubted);
            report.unresolved_hosts = unresolved;
        });
    }

    fn lost(&mut self, place: &Place, trouble: &Trouble) {
        let reason = trouble.to_string();
        // The next attempt shows whether anything is wrong.
        if matches!(trouble, Trouble::Again | Trouble::Moved) {
            tracing::info!(marathon = %place.origin, reason, "beginning anew");
            return;
        }
        self.freshness.lost(&reason);
        self.status.update(|report| {
            report.mode = Mode::Lost;
            report.failures += 1;
            report.last_failure = Some(reason.clone());
        });
        let marathon = place.origin.to_string();
        if std::mem::replace(&mut self.told, true) {
            tracing::debug!(marathon, reason, "still no word of the apps");
        } else if self.reader.latest().version > 0 {
            tracing::warn!(marathon, reason, "the Marathon is lost; its last word stays in use");
        } else {
            tracing::warn!(marathon, reason, "the Marathon does not answer; no app is known yet");
        }
    }
}
