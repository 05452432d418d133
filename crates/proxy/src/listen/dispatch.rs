//! From an accepted connection to whoever speaks its protocol.
//!
//! In: a client's socket with its [`Conn`]. Out: a call of `l4`, `tls` or `h1`, which serve it until
//! it ends. What is decided here depends on the listener and on the name that TLS begins with, never
//! on a request:
//!
//! ```text
//! service port ─► [PROXY] ─► source allowed? ─► [TLS] ─► l4 (tcp), h1 (http)
//! https        ─► [PROXY] ─► server name ─► passed through? ─► l4
//!                                       └─► TLS ─► h1
//! http, appid  ─► [PROXY] ─► h1
//! ```

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::task::spawn_local;
use waymark_routing::Mode;

use super::client_hello::Hello;
use super::conn::Conn;
use super::first_bytes;
use super::terminators::terminator;
use crate::l4::{self, Side};
use crate::port::count;
use crate::route::{Front, ListenKey, Pool};
use crate::worker::Worker;
use crate::{h1, tls};

/// Has the connection served until it ends. Each way is a task of its own, made here: an idle
/// connection takes the space that its own protocol needs, and nothing for those that it is not.
pub(crate) fn serve(worker: Rc<Worker>, client: TcpStream, mut conn: Conn) {
    let Front::Service(key) = conn.front else {
        if conn.front == Front::Https || worker.shared.config.accept_proxy {
            spawn_local(shared_port(worker, client, conn));
        } else {
            with_local(&client, &mut conn);
            spawn_local(h1::serve(worker, client, Vec::new(), conn));
        }
        return;
    };
    let Some(pool) = pool(&worker, &key) else {
        // Without a route the port has just been removed.
        return client.reset();
    };
    let rules = &pool.rules;
    let as_it_comes = rules.certificates.is_empty() && !rules.bind_options.accept_proxy;
    if as_it_comes && rules.mode == Mode::Http {
        with_local(&client, &mut conn);
        spawn_local(h1::serve(worker, client, Vec::new(), conn));
    } else if as_it_comes && rules.allowed.is_empty() && rules.backend.send_proxy.is_none() {
        spawn_local(async move { l4::serve(&worker, &pool, client, Vec::new(), &conn).await });
    } else {
        spawn_local(service_port(worker, pool, key, client, conn));
    }
}

fn pool(worker: &Worker, key: &ListenKey) -> Option<Arc<Pool>> {
    worker.table().listeners.get(key).map(|route| route.pool.clone())
}

/// A connection at a service port that is more than relayed.
async fn service_port(
    worker: Rc<Worker>,
    pool: Arc<Pool>,
    key: ListenKey,
    mut client: TcpStream,
    mut conn: Conn,
) {
    with_local(&client, &mut conn);
    let limits = &worker.shared.config.limits;
    let mut prefix = Vec::new();
    if pool.rules.bind_options.accept_proxy {
        let header = first_bytes::proxy_header(&mut client, &mut conn, limits.hello_timeout).await;
        let Some(rest) = header else { return };
        prefix = rest;
    }
    let http = pool.rules.mode == Mode::Http;
    // In mode http the answer is 403, which is for the decision about the request to say.
    if !http && !pool.allows(conn.source.ip()) {
        count(&conn.port.counters.denied);
        return client.reset();
    }
    if pool.rules.certificates.is_empty() {
        return match http {
            true => Box::pin(h1::serve(worker, client, prefix, conn)).await,
            false => Box::pin(l4::serve(&worker, &pool, client, prefix, &conn)).await,
        };
    }
    let Some(terminator) = terminator(&worker, key, &pool.rules).await else {
        return client.reset();
    };
    let secured = Box::pin(tls::accept(&worker, client, prefix, &mut conn, terminator)).await;
    let Some(client) = secured else { return };
    match http {
        true => Box::pin(h1::serve(worker, client, Vec::new(), conn)).await,
        false => Box::pin(l4::serve(&worker, &pool, client, Vec::new(), &conn)).await,
    }
}

/// A connection at one of the shared ports.
async fn shared_port(worker: Rc<Worker>, mut client: TcpStream, mut conn: Conn) {
    let config = &worker.shared.config;
    with_local(&client, &mut conn);
    let mut prefix = Vec::new();
    if config.accept_proxy {
        let header =
            first_bytes::proxy_header(&mut client, &mut conn, config.limits.hello_timeout).await;
        let Some(rest) = header else { return };
        prefix = rest;
    }
    if conn.front != Front::Https {
        return Box::pin(h1::serve(worker, client, prefix, conn)).await;
    }
    let hello = first_bytes::client_hello(&mut client, &conn, prefix, &config.limits).await;
    let Some((hello, bytes)) = hello else { return };
    if let Hello::Named(name) = hello {
        let passed = worker.table().passthrough(&name);
        conn.sni = Some(name);
        if let Some(pool) = passed {
            return pass_through(&worker, &pool, client, bytes, conn).await;
        }
    }
    Box::pin(tls::serve(worker, client, bytes, conn)).await;
}

/// TLS that is not ended here: the task gets it from the first byte.
async fn pass_through(
    worker: &Worker,
    pool: &Arc<Pool>,
    client: TcpStream,
    bytes: Vec<u8>,
    conn: Conn,
) {
    if !pool.allows(conn.source.ip()) {
        count(&conn.port.counters.denied);
        return client.reset();
    }
    Box::pin(l4::serve(worker, pool, client, bytes, &conn)).await;
}

/// Asks the socket where the client connected to, if the listener has no address of its own.
fn with_local(client: &TcpStream, conn: &mut Conn) {
    if conn.local.ip().is_unspecified() {
        // It fails only for a socket that is no longer connected, which nobody will be told about.
        conn.local = client.local_addr().map_or(conn.local, first_bytes::canonical);
    }
}
