//! One session with one Marathon: from the first question until it is lost.
//!
//! The event stream is opened first and everything is asked for then, so that nothing is missed in
//! between. Events name apps, and those are asked for, at once and again a little later, since an
//! event may come before what it tells of can be seen. A stream that is silent is checked by asking
//! who leads.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use waymark_marathon_api::answer::{Info, Listing, Notice};
use waymark_model::AppId;

use super::Mode;
use super::api::{Place, Stream};
use super::error::Trouble;
use super::run::Follower;
use super::state::Told;
use crate::client::Failure;

/// Changes that come closer together than this are asked for together; the first one at once.
const COALESCE: Duration = Duration::from_millis(50);

/// How long after an event an app is asked for again.
const SETTLE: Duration = Duration::from_secs(2);

/// How long after a failure an app is asked for again.
const RETRY: Duration = Duration::from_secs(5);

/// The most questions for single apps at a time.
const MAX_QUESTIONS: usize = 4;

/// When more apps than this are to be asked for, everything is.
const MANY: usize = 200;

/// The shortest time between two questions for everything.
const LIST_PAUSE: Duration = Duration::from_secs(1);

/// How long a Marathon without event stream is asked again and again before the stream is tried
/// anew.
const STREAM_AGAIN: Duration = Duration::from_secs(600);

/// An answer.
enum Done {
    Info(Result<Info, Trouble>),
    Listing(Result<Listing, Trouble>, Instant),
    App(AppId, Result<Told, Trouble>),
    Pods(Option<usize>),
}

pub(super) struct Session<'a> {
    follower: &'a mut Follower,
    place: Place,
    leader: String,
    /// Whether everything has been read once.
    is_read: bool,
    stream: Option<Stream>,
    asking: JoinSet<Done>,
    /// Apps to ask for.
    wanted: BTreeSet<AppId>,
    /// Apps to ask for when the time comes.
    later: BTreeMap<AppId, Instant>,
    /// Apps that are being asked for.
    asked: HashSet<AppId>,
    /// When apps were asked for last.
    asked_at: Option<Instant>,
    /// While everything is being asked for: the apps whose facts are younger.
    listing: Option<HashSet<AppId>>,
    /// When to ask for everything.
    list_at: Instant,
    /// When everything was asked for last.
    listed_at: Option<Instant>,
    /// When to ask who leads if the stream stays silent; `None` while that is being asked.
    probe_at: Option<Instant>,
    /// When to begin anew because there is no stream.
    end_at: Option<Instant>,
}

impl<'a> Session<'a> {
    /// Follows a Marathon until it is lost.
    pub async fn run(follower: &'a mut Follower, place: Place) -> Trouble {
        let mut session = match Session::begin(follower, place).await {
            Ok(session) => session,
            Err(trouble) => return trouble,
        };
        loop {
            if let Err(trouble) = session.step().await {
                return trouble;
            }
        }
    }

    async fn begin(follower: &'a mut Follower, place: Place) -> Result<Session<'a>, Trouble> {
        let api = follower.api.clone();
        let info = follower.beside(api.info(&place)).await?;
        let leader = info.leader.clone().ok_or(Trouble::NoLeader)?;
        // Where the leader itself is among those that are known there is no need for a detour.
        let is_leader = |known: &&Place| known.origin.at.to_string() == leader;
        let place = follower.places.iter().find(is_leader).cloned().unwrap_or(place);
        let silence = follower.config.silence;
        let stream = match follower.beside(api.events(&place, silence)).await {
            Ok(stream) => Some(stream),
            Err(trouble) if trouble.is_refusal() => {
                tracing::debug!(reason = %trouble, "no event stream; asking again and again");
                None
            }
            Err(trouble) => return Err(trouble),
        };
        let now = Instant::now();
        let mut session = Session {
            probe_at: stream.as_ref().map(|_| now + follower.config.probe),
            end_at: stream.is_none().then(|| now + STREAM_AGAIN),
            follower,
            place,
            leader,
            is_read: false,
            stream,
            asking: JoinSet::new(),
            wanted: BTreeSet::new(),
            later: BTreeMap::new(),
            asked: HashSet::new(),
            asked_at: None,
            listing: None,
            list_at: now,
            listed_at: None,
        };
        session.take_info(info)?;
        Ok(session)
    }

    /// Waits for the next thing to happen and does what follows from it.
    async fn step(&mut self) -> Result<(), Trouble> {
        self.ask();
        let due = self.next_due();
        let hosts_due = self.follower.hosts.next_due().map(Instant::from_std);
        let due = hosts_due.map_or(due, |hosts| hosts.min(due));
        tokio::select! {
            notices = next(self.stream.as_mut()) => self.take_notices(notices?),
            Some(done) = self.asking.join_next() => {
                self.take(done.map_err(|_| Failure::Interrupted)?).await?;
            }
            found = self.follower.hosts.next() => if let Some(host) = found {
                self.follower.state.hosts_changed(&HashSet::from([host]));
                self.follower.publish();
            },
            () = sleep_until(due) => self.take_time()?,
            () = self.follower.refresh.notified() => self.list_at = Instant::now(),
        }
        Ok(())
    }

    /// When something is due by itself.
    fn next_due(&self) -> Instant {
        let list = self.list_at.max(self.listed_at.map_or(self.list_at, |at| at + LIST_PAUSE));
        let mut due = vec![self.end_at, self.probe_at];
        due.push(self.listing.is_none().then_some(list));
        due.push(self.later.values().min().copied());
        let can_ask = self.asked.len() < MAX_QUESTIONS && self.to_ask().is_some();
        due.push(self.asked_at.map(|at| at + COALESCE).filter(|_| can_ask));
        due.push(self.stream.as_ref().map(|stream| stream.heard() + stream.patience()));
        // There is always one: with a stream its patience, without one its end.
        due.into_iter().flatten().min().unwrap_or(list)
    }

    fn take_time(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        self.follower.hosts.start(now.into_std());
        if self.end_at.is_some_and(|at| at <= now) {
            return Err(Trouble::Again);
        }
        let due: Vec<AppId> =
            self.later.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.later.remove(&id);
            self.wanted.insert(id);
        }
        let Some(stream) = &self.stream else { return Ok(()) };
        if stream.heard() + stream.patience() <= now {
            return Err(Trouble::StreamSilent(stream.patience()));
        }
        let probe = self.follower.config.probe;
        if self.probe_at.is_some_and(|at| at <= now) {
            let silent_since = stream.heard() + probe;
            if silent_since > now {
                self.probe_at = Some(silent_since);
            } else {
                self.probe_at = None;
                let (api, place) = (self.follower.api.clone(), self.place.clone());
                self.asking.spawn(async move {
                    let within = probe * 2;
                    let asked = timeout(within, api.info(&place)).await;
                    Done::Info(asked.unwrap_or(Err(Failure::Timeout(within).into())))
                });
            }
        }
        Ok(())
    }

    /// Asks for what is to be asked for now.
    fn ask(&mut self) {
        let now = Instant::now();
        if self.wanted.len() > MANY {
            self.wanted.clear();
            self.list_at = self.list_at.min(now);
        }
        let rested = self.listed_at.is_none_or(|at| at + LIST_PAUSE <= now);
        if self.listing.is_none() && self.list_at <= now && rested {
            self.ask_for_all(now);
        }
        if self.asked_at.is_some_and(|at| at + COALESCE > now) {
            return;
        }
        while self.asked.len() < MAX_QUESTIONS {
            let Some(id) = self.to_ask().cloned() else { return };
            self.wanted.remove(&id);
            self.asked.insert(id.clone());
            self.asked_at = Some(now);
            let (api, place) = (self.follower.api.clone(), self.place.clone());
            self.asking.spawn(async move {
                let told = api.app(&place, &id).await;
                Done::App(id, told)
            });
        }
    }

    /// An app to ask for that is not being asked for already.
    fn to_ask(&self) -> Option<&AppId> {
        self.wanted.iter().find(|id| !self.asked.contains(*id))
    }

    fn ask_for_all(&mut self, now: Instant) {
        let spread = 0.75 + rand::random::<f64>() / 4.0;
        let pause = match self.stream {
            Some(_) => self.follower.config.refresh.mul_f64(spread),
            None => self.follower.config.poll,
        };
        (self.list_at, self.listed_at) = (now + pause, Some(now));
        self.listing = Some(HashSet::new());
        let (api, place) = (self.follower.api.clone(), self.place.clone());
        self.asking.spawn(async move { Done::Listing(api.listing(&place).await, now) });
        self.ask_for_pods();
    }

    /// No event of an app tells of pods, so they are counted as often as everything is read.
    fn ask_for_pods(&mut self) {
        let (api, place) = (self.follower.api.clone(), self.place.clone());
        self.asking.spawn(async move { Done::Pods(api.pods(&place).await) });
    }

    /// Takes what came over the stream.
    fn take_notices(&mut self, notices: Vec<Notice>) {
        let now = Instant::now();
        // Until everything has been read, what stands in the catalog is not this Marathon's word.
        if self.is_read {
            self.follower.freshness.heard(now.into_std());
        }
        if notices.is_empty() {
            return;
        }
        let count = u64::try_from(notices.len()).unwrap_or(u64::MAX);
        self.follower.status.update(|report| {
            report.events = report.events.saturating_add(count);
            report.last_event = Some(now.into_std());
        });
        for notice in notices {
            match notice {
                Notice::Anything => self.list_at = now,
                Notice::Apps(apps) => {
                    for app in apps {
                        self.later.insert(app.clone(), now + SETTLE);
                        self.wanted.insert(app);
                    }
                }
            }
        }
        if self.later.len() > MANY {
            self.later.clear();
            self.list_at = self.list_at.min(now + SETTLE);
        }
    }

    async fn take(&mut self, done: Done) -> Result<(), Trouble> {
        match done {
            Done::Info(info) => self.take_info(info?)?,
            Done::Listing(listing, start) => self.take_listing(listing?, start).await,
            Done::App(id, told) => self.take_app(id, told)?,
            Done::Pods(pods) => self.follower.status.update(|report| report.pods = pods),
        }
        Ok(())
    }

    fn take_info(&mut self, info: Info) -> Result<(), Trouble> {
        let leader = info.leader.ok_or(Trouble::NoLeader)?;
        if leader != self.leader {
            return Err(Trouble::Moved);
        }
        if let Some(name) = &info.name {
            self.follower.state.set_framework(name);
        }
        self.probe_at = self.stream.as_ref().map(|_| Instant::now() + self.follower.config.probe);
        let endpoint = self.place.origin.to_string();
        self.follower.status.update(|report| {
            (report.endpoint, report.leader) = (Some(endpoint), Some(leader));
            (report.framework, report.version) = (info.name, info.version);
        });
        Ok(())
    }

    async fn take_listing(&mut self, listing: Listing, start: Instant) {
        let fresher = self.listing.take().unwrap_or_default();
        // Which of the two is younger cannot be said.
        self.wanted.extend(self.asked.iter().cloned());
        if let Some(again) = self.follower.take_listing(listing, &fresher).await {
            self.list_at = self.list_at.min(again);
        }
        let mode = if self.stream.is_some() { Mode::Stream } else { Mode::Poll };
        self.is_read = true;
        self.follower.freshness.heard(std::time::Instant::now());
        self.follower.told = false;
        let before = self.follower.status.report();
        if before.mode != mode {
            let (marathon, apps) = (self.place.origin.to_string(), before.apps);
            tracing::info!(marathon, mode = mode.as_str(), apps, "following");
        }
        self.follower.status.update(|report| {
            let anew = report.full_reads > 1 && report.mode == Mode::Lost && mode == Mode::Stream;
            report.reconnects += u64::from(anew);
            (report.mode, report.last_load) = (mode, Some(start.elapsed()));
        });
    }

    fn take_app(&mut self, id: AppId, told: Result<Told, Trouble>) -> Result<(), Trouble> {
        self.asked.remove(&id);
        match told {
            Ok(told) => {
                if let Some(fresher) = &mut self.listing {
                    fresher.insert(id.clone());
                }
                self.follower.state.take_app(&id, told);
                let now = std::time::Instant::now();
                self.follower.hosts.want_also(self.follower.state.hosts_of(&id), now);
                self.follower.publish();
                self.follower.status.update(|report| report.app_reads += 1);
            }
            Err(trouble) if trouble.is_of_server() => return Err(trouble),
            Err(trouble) => {
                self.later.insert(id.clone(), Instant::now() + RETRY);
                self.follower.state.misunderstood(id, trouble.to_string());
            }
        }
        self.follower.tell_state();
        Ok(())
    }
}

/// What the stream brings; for ever nothing without one.
async fn next(stream: Option<&mut Stream>) -> Result<Vec<Notice>, Trouble> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}
