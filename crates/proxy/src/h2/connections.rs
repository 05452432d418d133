//! One worker's connections to tasks that speak HTTP/2. Each carries many requests at once, so they
//! are shared, not taken: a request opens a stream on one that has room, or a new connection.
//!
//! A connection holds no seat; its streams' requests do. One that its task is about to close
//! (GOAWAY) takes no new streams and ends with its last one; one that nobody has used for a while is
//! closed. Each holds a descriptor of the balancer's budget.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};
use waymark_routing::Backend;

use super::limits::*;
use crate::port::count;
use crate::proxy_protocol::Addresses;
use crate::upstream::{self, DialError, Opening, Stream};
use crate::usage::Endpoint;
use crate::worker::Worker;

/// Which task a connection leads to, how, and for whom.
pub(crate) struct Way<'a> {
    pub(crate) endpoint: &'a Arc<Endpoint>,
    pub(crate) backend: &'a Backend,
    /// The client and where it connected to, for the PROXY header.
    pub(crate) client: Addresses,
    /// How long opening one may take.
    pub(crate) limit: Duration,
}

/// HTTP/2, as TLS names it (RFC 7301).
const ALPN_H2: &[&[u8]] = &[b"h2"];

impl Way<'_> {
    async fn open(&self, worker: &Worker) -> Result<Stream, DialError> {
        let opening = Opening {
            endpoint: self.endpoint,
            backend: self.backend,
            client: self.client,
            alpn: ALPN_H2,
            limit: self.limit,
        };
        upstream::open(worker, &opening).await
    }
}

/// The right to one more socket to a task, for as long as it is kept.
pub(crate) fn descriptor(worker: &Worker) -> Result<OwnedSemaphorePermit, DialError> {
    let free = worker.shared.descriptors.clone().try_acquire_owned();
    free.map_err(|_| DialError::Here(std::io::Error::other("no descriptor is left")))
}

/// A connection to a task.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) sender: SendRequest<Bytes>,
    number: u64,
    /// How it was opened.
    backend: Backend,
    /// Streams that are open.
    load: Rc<Cell<usize>>,
    /// Until the task is known to have said what it offers.
    ping: Rc<RefCell<Option<PingPong>>>,
}

/// The connections to one endpoint.
#[derive(Debug)]
struct Shelf {
    /// Keeps the endpoint's address from becoming another one's while the shelf stands.
    _endpoint: Arc<Endpoint>,
    open: Vec<Shared>,
    /// Held by who opens one: the others wait, and find room on it.
    opening: Rc<Mutex<()>>,
}

/// The connections of one worker, by endpoint.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    shelves: RefCell<HashMap<usize, Shelf, foldhash::fast::RandomState>>,
    last: Cell<u64>,
}

fn key(endpoint: &Arc<Endpoint>) -> usize {
    Arc::as_ptr(endpoint).addr()
}

impl Connections {
    /// The connection with the most room, or a new one where none has any; all within the limit
    /// (as [`Opening::limit`] says), the wait for others who open one included.
    pub(crate) async fn get(
        &self,
        worker: &Rc<Worker>,
        way: &Way<'_>,
    ) -> Result<Shared, DialError> {
        if let Some(shared) = self.find(way) {
            return Ok(shared);
        }
        // Before the turn: who waits for it would take a file that hangs for the task's fault.
        upstream::rules(worker, way.backend, ALPN_H2, way.limit).await?;
        let opened = timeout(way.limit, self.open(worker, way)).await;
        opened.unwrap_or_else(|_| Err(DialError::Task(std::io::ErrorKind::TimedOut.into())))
    }

    async fn open(&self, worker: &Rc<Worker>, way: &Way<'_>) -> Result<Shared, DialError> {
        let waiting = self.wait(way.endpoint);
        let _turn = waiting.opening.lock().await;
        if let Some(shared) = self.find(way) {
            // Somebody else has just opened it.
            return Ok(shared);
        }
        let descriptor = descriptor(worker)?;
        let (shared, connection) = begin(way.open(worker).await?, self.next(), way.backend).await?;
        count(&worker.shared.h2.task_connections);
        if let Some(shelf) = self.shelves.borrow_mut().get_mut(&key(way.endpoint)) {
            shelf.open.push(shared.clone());
        }
        let endpoint = way.endpoint.clone();
        let driven = drive(worker.clone(), endpoint, shared.clone(), connection);
        spawn_local(async move {
            driven.await;
            drop(descriptor);
        });
        Ok(shared)
    }

    fn find(&self, way: &Way<'_>) -> Option<Shared> {
        let shelves = self.shelves.borrow();
        let open = &shelves.get(&key(way.endpoint))?.open;
        // One that began with a PROXY header is its client's alone.
        let fit =
            |shared: &&Shared| shared.backend == *way.backend && way.backend.send_proxy.is_none();
        let best = open.iter().filter(fit).min_by_key(|shared| shared.load.get())?;
        let most = best.sender.current_max_send_streams().min(MAX_TASK_STREAMS);
        let room = best.load.get() < most;
        (room || open.len() >= MAX_TASK_CONNECTIONS).then(|| best.clone())
    }

    /// Has the connection get no new streams; it ends with its last one.
    pub(crate) fn forget(&self, endpoint: &Arc<Endpoint>, gone: &Shared) {
        let mut shelves = self.shelves.borrow_mut();
        if let Some(shelf) = shelves.get_mut(&key(endpoint)) {
            shelf.open.retain(|shared| shared.number != gone.number);
            if shelf.open.is_empty() && Rc::strong_count(&shelf.opening) == 1 {
                // Who waits removes it, if that comes to nothing.
                shelves.remove(&key(endpoint));
            }
        }
    }

    fn wait<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Waiting<'a> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.entry(key(endpoint)).or_insert_with(|| Shelf {
            _endpoint: endpoint.clone(),
            open: Vec::new(),
            opening: Rc::default(),
        });
        Waiting { connections: self, endpoint, opening: shelf.opening.clone() }
    }

    fn next(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }
}

/// Who waits for a connection to be opened. However the wait ends, by an error, by the limit or
/// because the client has gone, no empty shelf stays behind: it would keep the endpoint for ever.
struct Waiting<'a> {
    connections: &'a Connections,
    endpoint: &'a Arc<Endpoint>,
    opening: Rc<Mutex<()>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut shelves = self.connections.shelves.borrow_mut();
        if let Some(shelf) = shelves.get(&key(self.endpoint)) {
            // The shelf's and ours: nobody else waits.
            if shelf.open.is_empty() && Rc::strong_count(&shelf.opening) == 2 {
                shelves.remove(&key(self.endpoint));
            }
        }
    }
}

/// Counts a stream of a connection while it exists.
#[derive(Debug)]
pub(crate) struct Load(Rc<Cell<usize>>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Shared {
    /// Counts a stream from now.
    pub(crate) fn load(&self) -> Load {
        self.load.set(self.load.get() + 1);
        Load(self.load.clone())
    }

    /// Whether the task takes extended CONNECT (RFC 8441). It says so in its first frame, which has
    /// come when it has answered a PING.
    pub(crate) async fn offers_upgrades(&mut self) -> bool {
        let ping = self.ping.borrow_mut().take();
        if let Some(mut ping) = ping {
            // A task that does not answer offers nothing.
            let _ = timeout(PING_TIMEOUT, ping.ping(Ping::opaque())).await;
        }
        self.sender.is_extended_connect_protocol_enabled()
    }
}

type Connection = client::Connection<Stream, Bytes>;

async fn begin(
    stream: Stream,
    number: u64,
    backend: &Backend,
) -> Result<(Shared, Connection), DialError> {
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(TASK_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .initial_max_send_streams(MAX_TASK_STREAMS)
        .max_concurrent_reset_streams(MAX_RESET_STREAMS);
    let (sender, mut connection) = builder.handshake(stream).await.map_err(|error| {
        DialError::Task(error.into_io().unwrap_or(std::io::ErrorKind::ConnectionAborted.into()))
    })?;
    let ping = Rc::new(RefCell::new(connection.ping_pong()));
    let backend = backend.clone();
    Ok((Shared { sender, number, backend, load: Rc::default(), ping }, connection))
}

/// Lets a connection work until it has ended, and ends it when nobody has used it for a while.
async fn drive(
    worker: Rc<Worker>,
    endpoint: Arc<Endpoint>,
    shared: Shared,
    connection: Connection,
) {
    let idle = worker.shared.config.limits.upstream_idle;
    let tick = idle / 2;
    let mut clock = pin!(sleep(tick));
    let mut connection = pin!(connection);
    let mut handle = Some(shared.clone());
    let mut quiet = Duration::ZERO;
    poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while clock.as_mut().poll(cx).is_ready() {
            clock.as_mut().reset(Instant::now() + tick);
            let Some(shared) = &handle else { continue };
            let busy = shared.load.get() > 0;
            quiet = if busy { Duration::ZERO } else { quiet + tick };
            if quiet >= idle {
                // Without a handle it ends by itself.
                worker.http.h2.forget(&endpoint, shared);
                handle = None;
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    })
    .await;
    worker.http.h2.forget(&endpoint, &shared);
}

#[cfg(test)]
mod tests {
    use waymark_model::{Agent, Readiness, TaskEntry, TaskId};

    use super::*;
    use crate::Usage;

    fn endpoint() -> Arc<Endpoint> {
        let agent = Agent {
            id: "m-S0".into(),
            hostname: "agent-a.example.com".into(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let task = TaskEntry {
            id: TaskId::from_text("t"),
            agent: Arc::new(agent),
            addresses: Vec::new(),
            host_ports: Vec::new(),
            discovery: Vec::new(),
            endpoints: Vec::new(),
            readiness: Readiness::Ready,
        };
        Usage::default().endpoint(&task, "127.0.0.1:1".parse().unwrap(), &Arc::default())
    }

    #[test]
    fn nothing_is_kept_of_a_task_that_no_connection_led_to() {
        let (connections, endpoint) = (Connections::default(), endpoint());
        let (first, second) = (connections.wait(&endpoint), connections.wait(&endpoint));
        assert!(Rc::ptr_eq(&first.opening, &second.opening), "one opens, the other waits");
        drop(first);
        assert_eq!(Arc::strong_count(&endpoint), 2, "somebody still waits");
        drop(second);
        assert_eq!(Arc::strong_count(&endpoint), 1);
        assert!(connections.shelves.borrow().is_empty());
    }
}
