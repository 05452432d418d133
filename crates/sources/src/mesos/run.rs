//! Follows a cluster: finds a master that answers, takes its stream or polls it, publishes what
//! changes, and starts over when it is lost. Nothing that a master does or fails to do takes
//! anything out of the catalog except a state that was understood.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use waymark_catalog::{Freshness, Writer};
use waymark_mesos_api::{Applied, Document, Event, HostPort, Hosts, State};
use waymark_model::{Cluster, Master, Masters};

use super::ask::Client;
use super::error::Trouble;
use super::masters::Detected;
use super::stream::{self, Stream};
use super::{MesosConfig, MesosStatus, Mode, poll};
use crate::backoff;
use crate::client::{Failure, blocking};
use crate::hosts::HostCache;
use crate::keep::Word;

/// The longest pause between attempts.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// How long it is no trouble that ZooKeeper has not answered yet.
const DETECTION_WAIT: Duration = Duration::from_secs(1);

/// A session that lasted this long was a good one: the next attempt comes at once.
const GOOD_SESSION: Duration = Duration::from_secs(30);

/// How long a master that refused to stream is polled before it is asked again.
const STREAM_AGAIN: Duration = Duration::from_secs(600);

/// How often a stream is begun anew. Some things happen without an event, an agent's new address
/// among them.
const RESYNC: Duration = Duration::from_secs(600);

/// Changes that come closer together than this are published together; the first one at once.
const COALESCE: Duration = Duration::from_millis(5);

/// How long a full state waits for host names that are being looked up.
const HOSTS_WAIT: Duration = Duration::from_millis(200);

/// How long after an agent came back to a new master the tasks that it does not tell of are ended.
const SETTLE: Duration = Duration::from_secs(2);

/// How long after a new framework its pid is asked for.
const SUMMARY_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Follower {
    pub config: MesosConfig,
    pub client: Arc<Client>,
    pub writer: Writer,
    pub freshness: Freshness,
    pub status: MesosStatus,
    pub detected: watch::Receiver<Detected>,
    /// Where the last word is kept.
    pub word: watch::Sender<Word<Cluster>>,
    pub state: State,
    pub hosts: HostCache,
    /// What was published last.
    pub published: Option<Cluster>,
    pub at: Standpoint,
}

/// Where the follower stands.
#[derive(Default)]
pub(super) struct Standpoint {
    /// The master that is being asked or followed.
    master: Option<HostPort>,
    /// The one that leads, as it says itself.
    leader: Option<HostPort>,
    /// The one that answered last.
    last: Option<HostPort>,
    /// A master that is polled because it does not stream, and until when that is not tried again.
    unstreamed: Option<(HostPort, Instant)>,
    /// When tasks of agents that have come back are ended unless they were told of.
    settle: Option<Instant>,
    /// Whether the present trouble stands in the log.
    told: bool,
    /// When something was published.
    published: Option<Instant>,
}

/// Questions for pids that are under way; the pids of frameworks come only this way when the state
/// comes by stream.
type Summaries = JoinSet<Result<Document, Trouble>>;

impl Follower {
    /// Follows the cluster for ever.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let candidates = self.detected.borrow_and_update().candidates(self.at.last.as_ref());
            if candidates.is_empty() {
                if failures == 0 && self.beside(sleep(DETECTION_WAIT)).await.is_err() {
                    continue;
                }
                self.lost(&Trouble::NoMaster);
            }
            for master in candidates {
                let start = Instant::now();
                let answered = self.status.report().full_states;
                self.at.master = Some(master);
                let trouble = self.session().await;
                self.at.master = None;
                let had_state = self.status.report().full_states > answered;
                if matches!(trouble, Trouble::Again | Trouble::Moved) {
                    failures = 0;
                    break;
                }
                self.lost(&trouble);
                if start.elapsed() > GOOD_SESSION && had_state {
                    failures = 0;
                }
                if had_state {
                    break;
                }
            }
            let pause = sleep(backoff::pause(failures, MAX_PAUSE, rand::random()));
            // A new leader ends the pause.
            let _ = self.beside(pause).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Follows one master until it is lost.
    async fn session(&mut self) -> Trouble {
        let mut unstreamed_for = STREAM_AGAIN;
        if self.config.subscribe && self.may_stream() {
            let before = self.status.report().full_states;
            let trouble = self.stream().await;
            let never_began = self.status.report().full_states == before;
            match trouble {
                trouble if never_began && falls_back(&trouble) => {
                    tracing::debug!(reason = %trouble, "no event stream; asking for the state");
                    if !trouble.is_refusal() {
                        // What is broken or too slow may be so once only.
                        unstreamed_for = self.config.refresh;
                    }
                }
                trouble => return trouble,
            }
        }
        match self.poll(unstreamed_for).await {
            Ok(never) => match never {},
            Err(trouble) => trouble,
        }
    }

    async fn stream(&mut self) -> Trouble {
        match self.try_stream().await {
            Ok(never) => match never {},
            Err(trouble) => trouble,
        }
    }

    /// Streams from the master; ends only by trouble.
    async fn try_stream(&mut self) -> Result<std::convert::Infallible, Trouble> {
        let (client, known, within) = self.for_request();
        let asked = self.at.master.clone().ok_or(Trouble::NoMaster)?;
        let leader = match self.beside(stream::leader(&client, &asked, &known)).await? {
            Ok(leader) => Some(leader),
            // It may be forbidden to ask this and allowed to subscribe.
            Err(Trouble::Client(Failure::Status(status, _))) if status.as_u16() == 403 => None,
            Err(Trouble::Parse(_)) => None,
            Err(trouble) => return Err(trouble),
        };
        let start = Instant::now();
        let opening = Stream::open(&client, &asked, &known, within);
        let (mut stream, first, from) = self.beside(opening).await??;
        let length = first.len();
        let event = blocking(length, move || Event::parse(&first)).await??;
        let Event::Subscribed { document, heartbeat } = event else {
            return Err(Trouble::OldStream("it does not begin with the state"));
        };
        let Some(heartbeat) = heartbeat else {
            // Such masters tell nothing of frameworks and agents, and are silent when all is quiet.
            return Err(Trouble::OldStream("it promises no heartbeats"));
        };
        stream.expect_heartbeats(heartbeat);
        self.at.leader = Some(leader.unwrap_or_else(|| from.clone()));
        self.take_full(*document, length, start, Mode::Stream).await?;
        let mut summaries = Summaries::new();
        self.ask_for_pids(&mut summaries, &from, Duration::ZERO);
        let resync = sleep(RESYNC.mul_f64(0.75 + rand::random::<f64>() / 4.0));
        tokio::pin!(resync);
        loop {
            let settle = self.at.settle;
            let event = tokio::select! {
                () = &mut resync => return Err(Trouble::Again),
                () = sleep_until(settle.unwrap_or_else(Instant::now)), if settle.is_some() => {
                    self.at.settle = None;
                    self.state.settle();
                    self.refresh_and_publish();
                    continue;
                }
                Some(told) = summaries.join_next() => {
                    self.take_pids(told.unwrap_or(Err(Failure::Interrupted.into())));
                    continue;
                }
                event = self.beside(stream.event()) => event??,
            };
            self.take_event(event, &from, &mut summaries)?;
            while let Some(event) = stream.event_at_hand() {
                self.take_event(event?, &from, &mut summaries)?;
            }
            self.take_burst(&mut stream, &from, &mut summaries).await?;
            self.refresh_and_publish();
        }
    }

    /// Right after a publication, waits a moment for more of what is coming.
    async fn take_burst(
        &mut self,
        stream: &mut Stream,
        from: &HostPort,
        summaries: &mut Summaries,
    ) -> Result<(), Trouble> {
        let Some(until) = self.at.published.map(|at| at + COALESCE) else { return Ok(()) };
        while Instant::now() < until {
            match tokio::time::timeout_at(until, stream.event()).await {
                Err(_) => break,
                Ok(event) => self.take_event(event?, from, summaries)?,
            }
        }
        Ok(())
    }

    fn take_event(
        &mut self,
        event: Event,
        from: &HostPort,
        summaries: &mut Summaries,
    ) -> Result<(), Trouble> {
        self.freshness.heard(std::time::Instant::now());
        let framework = match &event {
            Event::Framework(_) => true,
            Event::TaskAdded(task) => !self.state.knows_framework_of(task),
            _ => false,
        };
        let agent = matches!(event, Event::AgentAdded(_));
        match self.state.apply(event) {
            Applied::Unchanged => return Ok(()),
            Applied::Gap => return Err(Trouble::Gap),
            Applied::Changed => {}
        }
        self.status.update(|report| report.events += 1);
        if agent && self.state.is_unsettled() {
            self.at.settle = Some(Instant::now() + SETTLE);
        }
        if agent || framework {
            self.want_hosts();
        }
        if framework {
            self.ask_for_pids(summaries, from, SUMMARY_PAUSE);
        }
        Ok(())
    }

    fn ask_for_pids(&self, summaries: &mut Summaries, from: &HostPort, pause: Duration) {
        // One that waits already will see this framework, too.
        if summaries.len() > 1 {
            return;
        }
        let (client, known, within) = self.for_request();
        let from = from.clone();
        summaries.spawn(async move {
            sleep(pause).await;
            stream::summary(&client, &from, &known, within).await
        });
    }

    fn take_pids(&mut self, told: Result<Document, Trouble>) {
        match told {
            Ok(document) => {
                if self.state.take_frameworks(&document) == Applied::Changed {
                    self.want_hosts();
                    self.refresh_and_publish();
                }
            }
            // What was known stays; the next subscription asks again.
            Err(reason) => tracing::debug!(%reason, "the frameworks' pids are not told"),
        }
    }

    /// Polls the master; ends only by trouble. After so long streaming is tried again.
    async fn poll(
        &mut self,
        unstreamed_for: Duration,
    ) -> Result<std::convert::Infallible, Trouble> {
        loop {
            let (client, known, within) = self.for_request();
            let asked = self.at.master.clone().ok_or(Trouble::NoMaster)?;
            let start = Instant::now();
            let asking = poll::state(&client, &asked, &known, within);
            let (_, document, length) = self.beside(asking).await??;
            self.at.leader = document.leader.leader.clone();
            self.take_full(document, length, start, Mode::Poll).await?;
            if self.may_stream() {
                self.at.unstreamed = Some((asked, Instant::now() + unstreamed_for));
            }
            self.beside(sleep(self.config.refresh)).await?;
            if self.config.subscribe && self.may_stream() {
                return Err(Trouble::Again);
            }
        }
    }

    /// Whether the master has not just shown that it does not stream.
    fn may_stream(&self) -> bool {
        self.at.unstreamed.as_ref().is_none_or(|(master, until)| {
            Some(master) != self.at.master.as_ref() || Instant::now() >= *until
        })
    }

    /// What a request needs.
    fn for_request(&self) -> (Arc<Client>, Vec<HostPort>, Duration) {
        let known = self.detected.borrow().all.clone();
        (self.client.clone(), known, self.config.state_timeout)
    }

    /// Takes over a full state and publishes it.
    async fn take_full(
        &mut self,
        document: Document,
        length: usize,
        start: Instant,
        mode: Mode,
    ) -> Result<(), Trouble> {
        let skipped = document.skipped.clone();
        self.with_state(length, move |state| state.replace(document)).await?;
        self.want_hosts();
        let patience = sleep(HOSTS_WAIT);
        tokio::pin!(patience);
        while self.hosts.is_busy() {
            tokio::select! {
                _ = self.hosts.next() => {}
                () = &mut patience => break,
            }
        }
        self.state.hosts_changed();
        self.tell_masters();
        let known = self.hosts.known();
        self.with_state(length, move |state| {
            state.refresh(&known);
        })
        .await?;
        self.publish();
        self.heard(mode, skipped, start.elapsed());
        Ok(())
    }

    /// Changes the state beside everything else; it may be large.
    async fn with_state(
        &mut self,
        length: usize,
        change: impl FnOnce(&mut State) + Send + 'static,
    ) -> Result<(), Trouble> {
        let mut state = std::mem::take(&mut self.state);
        let changed = blocking(length, move || {
            change(&mut state);
            state
        });
        match changed.await {
            Ok(state) => self.state = state,
            Err(trouble) => {
                // What was published is never taken back because of that.
                self.state = State::restored(self.published.clone().unwrap_or_default());
                return Err(trouble.into());
            }
        }
        Ok(())
    }

    /// Waits for something, while host names are looked up and what comes of it is published.
    /// Given up when another master leads than the one that is asked.
    async fn beside<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Trouble> {
        tokio::pin!(waiting);
        loop {
            let due = self.hosts.next_due().map(Instant::from_std);
            tokio::select! {
                done = &mut waiting => return Ok(done),
                news = self.hosts.next() => if news.is_some() {
                    self.state.hosts_changed();
                    self.refresh_and_publish();
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.hosts.start(std::time::Instant::now());
                }
                () = changed(&mut self.detected) => {
                    let leader = self.detected.borrow_and_update().leader.clone();
                    if leader.is_some() && leader != self.at.master {
                        return Err(Trouble::Moved);
                    }
                    self.refresh_and_publish();
                }
            }
        }
    }

    fn want_hosts(&mut self) {
        let detected = self.detected.borrow().clone();
        let masters = detected.all.iter().chain(&self.at.leader).map(|master| &master.host);
        self.hosts.want(self.state.hosts().chain(masters), std::time::Instant::now());
    }

    /// Says who the masters are, as soon as one has said who leads.
    fn tell_masters(&mut self) {
        let Some(leader) = &self.at.leader else { return };
        let detected = self.detected.borrow().clone();
        let before = self.state.cluster().masters.clone();
        let master = |place: &HostPort| Master {
            addresses: self.hosts.addresses(&place.host).unwrap_or_default(),
            port: place.port,
        };
        let mut leader = master(leader);
        let known = before.and_then(|before| before.leader.clone());
        if let Some(known) = known.filter(|_| leader.addresses.is_empty()) {
            leader = known;
        }
        let all = detected.all.iter().map(master).collect();
        self.state.set_masters(Masters { leader: Some(leader), all });
    }

    fn refresh_and_publish(&mut self) {
        if self.published.is_none() && self.at.leader.is_none() {
            return;
        }
        self.tell_masters();
        self.state.refresh(&self.hosts);
        self.publish();
    }

    /// Publishes the cluster if it is another than before.
    fn publish(&mut self) {
        let cluster = self.state.cluster();
        if self.published.as_ref().is_some_and(|before| same(before, cluster)) {
            return;
        }
        let cluster = cluster.clone();
        self.published = Some(cluster.clone());
        self.at.published = Some(Instant::now());
        let version = self.writer.publish_cluster(|present| {
            *present = cluster.clone();
            true
        });
        let unresolved = self.hosts.unresolved();
        self.status.update(|report| report.unresolved_hosts = unresolved);
        let (version, saved) = (version.unwrap_or_default(), SystemTime::now());
        self.word.send_replace(Word { content: cluster, version, saved });
    }

    fn heard(&mut self, mode: Mode, skipped: waymark_mesos_api::Skipped, took: Duration) {
        self.freshness.heard(std::time::Instant::now());
        self.at.last = self.at.master.clone();
        let leader = self.at.leader.as_ref().map(HostPort::to_string);
        let before = self.status.report();
        if before.mode != mode || before.leader != leader {
            let leader = leader.as_deref().unwrap_or_default();
            tracing::info!(leader, mode = mode.as_str(), tasks = self.state.tasks(), "following");
        }
        if before.skipped != skipped && !skipped.is_empty() {
            tracing::warn!(?skipped, "parts of the state make no sense and are left out");
        }
        let unresolved = self.hosts.unresolved();
        self.status.update(|report| {
            report.reconnects += u64::from(report.full_states > 0 && mode == Mode::Stream);
            (report.mode, report.leader, report.skipped) = (mode, leader, skipped);
            (report.last_load, report.unresolved_hosts) = (Some(took), unresolved);
            report.full_states += 1;
        });
        self.at.told = false;
    }

    fn lost(&mut self, trouble: &Trouble) {
        let reason = trouble.to_string();
        self.freshness.lost(&reason);
        self.status.update(|report| {
            report.mode = Mode::Lost;
            report.failures += 1;
        });
        let master = self.at.master.as_ref().or(self.at.last.as_ref());
        let master = master.map(HostPort::to_string).unwrap_or_default();
        if std::mem::replace(&mut self.at.told, true) {
            tracing::debug!(master, reason, "still no word of the cluster");
        } else {
            tracing::warn!(master, reason, "the cluster is lost; its last state stays in use");
        }
    }
}

/// Whether polling may work where streaming failed in this way. Not after 503: a master that has just
/// been elected says so until it knows its agents again, and its state is empty meanwhile.
fn falls_back(trouble: &Trouble) -> bool {
    let broken = match trouble {
        Trouble::Parse(_) | Trouble::Framing(_) | Trouble::OldStream(_) => true,
        Trouble::Client(Failure::Timeout(_)) => true,
        Trouble::Client(Failure::Status(status, _)) => matches!(status.as_u16(), 500 | 502 | 504),
        _ => false,
    };
    broken || trouble.is_refusal()
}

/// Whether two clusters are the same snapshot.
fn same(a: &Cluster, b: &Cluster) -> bool {
    a.masters == b.masters
        && a.frameworks.ptr_eq(&b.frameworks)
        && a.agents.ptr_eq(&b.agents)
        && a.groups.ptr_eq(&b.groups)
}

/// Waits for news of the masters; for ever when there can be none.
async fn changed(detected: &mut watch::Receiver<Detected>) {
    if detected.changed().await.is_err() {
        std::future::pending().await
    }
}
