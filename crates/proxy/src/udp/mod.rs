//! UDP services: datagrams of one client to one task, and the answers back.
//!
//! ```text
//! client ─► socket ─► Sessions (client, address asked) ─► Session ─► task
//!    ▲                                                        │
//!    └──── socket, from the address asked ◄──── answers ◄─────┘
//! ```
//!
//! In: datagrams at a service port, the worker's table. Out: the same datagrams at a task. A client
//! stays with its task until neither has sent anything for the time-out, the task gets nothing new
//! any more (then the next datagram goes to another one), or is found not to be there (the datagram
//! that found it out goes to another one too). A session counts as a use of its task.
//!
//! UDP may lose, and so may this: a datagram that finds no task, no room among the sessions or none
//! in the kernel is dropped and counted. Nothing waits here.
//!
//! Sources of datagrams can be false, so room is made in a way that a flood of them hurts least. A
//! service has a share of the sessions ([`Most`]), and only its own make room for its new ones. A
//! client that sends again after its task has answered is *proven*, as with Linux's connection
//! tracking: its session goes only when there is no other.
//!
//! Everything about one service belongs to one worker.

mod counted;
mod most;
mod session;
mod sessions;
mod socket;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval};

use crate::port::{Port, count};
use crate::route::{Affinity, ListenKey, Look, Pick, Pool};
use crate::usage::Endpoint;
use crate::worker::Worker;
use counted::Counted;
pub(crate) use most::Most;
use session::Session;
use sessions::Sessions;
use socket::Peer;
pub(crate) use socket::{Room, bind};

/// Sessions are looked at for their time-out this often in its length.
const SWEEPS: u32 = 4;

/// Tasks that one datagram is offered to, at most.
const TRIES: usize = 3;

/// Answers of one session taken in one go; then others have their turn.
const ANSWERS_AT_ONCE: usize = 32;

/// How long a session that is unused is waited for at the stop, and when its task is to go: whoever
/// asks again then is somebody else's.
const LINGER: Duration = Duration::from_millis(LINGER_MS);

/// The same in milliseconds, as sessions count.
const LINGER_MS: u64 = 5000;

/// A service port of UDP.
struct Service {
    worker: Rc<Worker>,
    key: ListenKey,
    socket: Arc<UdpSocket>,
    sessions: RefCell<Sessions<Peer, Rc<Session>>>,
    /// The version of the table by which all sessions' tasks are good.
    all_stay: Cell<u64>,
}

/// What is known about the service from the table, for one batch of datagrams.
struct Route {
    pool: Arc<Pool>,
    port: Arc<Port>,
    version: u64,
    now: u64,
}

/// Serves the datagrams of a service port until the worker stops, and then those sessions that are
/// still used. When it is dropped the sessions end.
pub(crate) async fn serve(worker: Rc<Worker>, key: ListenKey, socket: Arc<UdpSocket>) {
    let timeout = worker.shared.config.limits.udp_timeout;
    let sessions = RefCell::new(Sessions::new());
    let all_stay = Cell::new(0);
    let service = Ending(Rc::new(Service { worker, key, socket, sessions, all_stay }));
    let service = &service.0;
    let mut sweep = interval((timeout / SWEEPS).clamp(SWEEP.0, SWEEP.1));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = service.worker.stopping() => break,
            _ = sweep.tick() => {
                service.sweep(None);
                service.end_leaving();
            }
            ready = service.socket.readable() => {
                if ready.is_err() {
                    return;
                }
                service.take_in();
            }
        }
    }
    while !service.sessions.borrow().is_empty() {
        sweep.tick().await;
        service.sweep(Some(LINGER));
    }
}

/// The shortest and the longest time between two looks for sessions that are unused.
const SWEEP: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Ends the sessions of a service with it.
struct Ending(Rc<Service>);

impl Drop for Ending {
    fn drop(&mut self) {
        let next = || self.0.sessions.borrow_mut().pop_oldest();
        while let Some(session) = next() {
            session.end();
        }
    }
}

impl Service {
    /// Reads what is there and sends it on.
    fn take_in(self: &Rc<Self>) {
        let route = self.route();
        let mut room = self.worker.datagrams.borrow_mut();
        // `WouldBlock` is no error; others are those of datagrams sent before, to clients that are
        // not there any more.
        let _ = socket::receive(&self.socket, room.get_or_insert_with(Room::new), |peer, data| {
            if let Some(route) = &route {
                self.forward(route, peer, data);
            }
        });
    }

    fn route(&self) -> Option<Route> {
        let table = self.worker.table();
        let route = table.listeners.get(&self.key)?;
        let now = self.worker.shared.clock_ms();
        Some(Route {
            pool: route.pool.clone(),
            port: route.port.clone(),
            version: table.version,
            now,
        })
    }

    /// One datagram to the session's task, or to another one if that is not there.
    fn forward(self: &Rc<Self>, route: &Route, peer: Peer, data: &[u8]) {
        let counters = &route.port.counters;
        let mut tried: Vec<Arc<Endpoint>> = Vec::new();
        for _ in 0..TRIES {
            let Some(session) = self.session(route, peer, &tried) else {
                count(&counters.udp_dropped);
                return;
            };
            match session.send(data) {
                Ok(()) => {
                    counters.bytes_in.fetch_add(data.len() as u64, Relaxed);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    tried.push(session.seat.endpoint().clone());
                    self.give_up(route, &session);
                }
            }
        }
        count(&counters.udp_dropped);
    }

    /// The task of the session is not there: the session ends.
    fn give_up(&self, route: &Route, session: &Session) {
        count(&route.port.counters.connect_errors);
        session.seat.connect_failed(route.now);
        self.sessions.borrow_mut().remove(&session.peer);
        session.end();
    }

    /// The session of this client, with a task that may have it.
    fn session(
        self: &Rc<Self>,
        route: &Route,
        peer: Peer,
        tried: &[Arc<Endpoint>],
    ) -> Option<Rc<Session>> {
        let known = self.sessions.borrow_mut().touch(&peer, route.now).cloned();
        if let Some(session) = known {
            if session.checked.get() == route.version || self.may_stay(route, &session) {
                session.checked.set(route.version);
                if session.proves() {
                    self.sessions.borrow_mut().prove(&peer, route.now);
                }
                return Some(session);
            }
            self.sessions.borrow_mut().remove(&peer);
            session.end();
        }
        self.open(route, peer, tried)
    }

    /// Whether the present table lets the client stay with its task.
    fn may_stay(&self, route: &Route, session: &Session) -> bool {
        let endpoint = session.seat.endpoint();
        let mut candidates = route.pool.candidates.iter();
        route.pool.allows(session.peer.address.ip())
            && candidates.any(|c| c.withheld.is_none() && Arc::ptr_eq(&c.endpoint, endpoint))
    }

    /// A new session with a task that has not been tried.
    fn open(
        self: &Rc<Self>,
        route: &Route,
        peer: Peer,
        tried: &[Arc<Endpoint>],
    ) -> Option<Rc<Session>> {
        let (worker, counters) = (&self.worker, &route.port.counters);
        if !route.pool.allows(peer.address.ip()) {
            count(&counters.denied);
            return None;
        }
        let room = self.room(&route.port)?;
        let look = Look {
            affinity: &Affinity { source: Some(peer.address), ..Affinity::default() },
            tried,
            now: &|| route.now,
            below: &|n| worker.random_below(n),
            peek: false,
        };
        let Pick::Seat(seat) = route.pool.pick(&look) else {
            count(&counters.no_endpoint);
            return None;
        };
        let session = Session::open(peer, seat, route.version, room).ok()?;
        let reader = spawn_local(self.clone().answers(session.clone()));
        session.set_reader(reader.abort_handle());
        self.sessions.borrow_mut().insert(peer, session.clone(), route.now);
        Some(session)
    }

    /// Room for one more session, if need be that of another one of the service.
    fn room(&self, port: &Arc<Port>) -> Option<session::Room> {
        let shared = &self.worker.shared;
        let take = || {
            if self.sessions.borrow().len() >= shared.udp.each {
                return None;
            }
            let _descriptor = shared.descriptors.clone().try_acquire_owned().ok()?;
            let _counted = Counted::new(shared, self.worker.index, port)?;
            Some(session::Room { _counted, _descriptor })
        };
        take().or_else(|| {
            let oldest = self.sessions.borrow_mut().pop_oldest()?;
            count(&port.counters.udp_evicted);
            oldest.end();
            take()
        })
    }

    /// Passes answers on until the session ends.
    async fn answers(self: Rc<Self>, session: Rc<Session>) {
        loop {
            let ready = session.upstream.ready(Interest::READABLE | Interest::ERROR).await;
            match ready {
                Ok(ready) if ready.is_error() && session.is_refused() => {
                    return self.move_on(&session);
                }
                Ok(_) => {}
                Err(_) => return,
            }
            for _ in 0..ANSWERS_AT_ONCE {
                let mut room = self.worker.datagrams.borrow_mut();
                let buffer = room.get_or_insert_with(Room::new).one();
                match session.upstream.try_recv(buffer) {
                    Ok(length) => self.answer(&session, buffer.get(..length).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        drop(room);
                        self.move_on(&session);
                        return;
                    }
                }
            }
        }
    }

    fn answer(&self, session: &Session, data: &[u8]) {
        session.answered();
        let now = self.worker.shared.clock_ms();
        self.sessions.borrow_mut().touch(&session.peer, now);
        let sent = socket::send(&self.socket, &session.peer, data);
        let Some(port) = self.worker.port(&self.key) else { return };
        match sent {
            Ok(()) => {
                session.seat.succeeded();
                port.counters.bytes_out.fetch_add(data.len() as u64, Relaxed);
            }
            Err(_) => count(&port.counters.udp_dropped),
        }
    }

    /// The session's task has refused a datagram: another one gets it.
    fn move_on(self: &Rc<Self>, session: &Rc<Session>) {
        let Some(route) = self.route() else { return };
        self.give_up(&route, session);
        if let Some(data) = session.take_unanswered() {
            self.forward(&route, session.peer, &data);
        }
    }

    /// Ends the sessions that have been unused for the time-out, or for `most` if that is shorter.
    fn sweep(&self, most: Option<Duration>) {
        let worker = &self.worker;
        let of_service = {
            let table = worker.table();
            table.listeners.get(&self.key).and_then(|route| route.pool.rules.timeouts.udp)
        };
        let timeout = of_service.unwrap_or(worker.shared.config.limits.udp_timeout);
        let timeout = most.map_or(timeout, |most| most.min(timeout)).as_millis();
        let now = worker.shared.clock_ms();
        let end = now.saturating_sub(u64::try_from(timeout).unwrap_or(u64::MAX));
        let next = || self.sessions.borrow_mut().pop_unused_since(end);
        while let Some(session) = next() {
            session.end();
        }
    }

    /// Ends the sessions whose task is to go and that have been unused for a while: clients that
    /// nothing more is heard of must not keep a task from ending for the whole time-out.
    fn end_leaving(&self) {
        let Some(route) = self.route().filter(|route| route.version != self.all_stay.get()) else {
            return;
        };
        let unused_since = route.now.saturating_sub(LINGER_MS);
        let (mut leaving, mut due) = (false, Vec::new());
        for (session, used) in self.sessions.borrow().iter() {
            if session.checked.get() == route.version || self.may_stay(&route, session) {
                session.checked.set(route.version);
            } else if used <= unused_since {
                due.push(session.peer);
            } else {
                leaving = true;
            }
        }
        for peer in due {
            let ended = self.sessions.borrow_mut().remove(&peer);
            if let Some(session) = ended {
                session.end();
            }
        }
        if !leaving {
            self.all_stay.set(route.version);
        }
    }
}
