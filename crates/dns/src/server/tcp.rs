//! Queries over TCP: any number on one connection, also many at once (RFC 7766).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answer::{Outcome, Transport};
use crate::forward::Begun;
use crate::message::{self, Options, qtype};
use crate::output::Dns;
use crate::respond::{Client, Responder, Verdict};
use crate::stats::{Counters, add};
use crate::transfer::Transfer;

/// The longest query that is read, in bytes; a connection that announces a longer one is closed.
const MAX_QUERY: usize = 4096;
/// Queries of one connection that others are asked about at once; no more is read until one is
/// answered. Each reply may have 64 KiB, and waits here when the client does not take it.
const MAX_WAITING: usize = 32;
/// Answers that wait to be sent are sent when they have grown to this, in bytes.
const SEND_AT: usize = 64 << 10;
/// Room that a connection keeps for answers between queries, in bytes, twice.
const KEPT: usize = 4096;
/// For how long one transfer of the zone may take, however slowly it is read.
const MAX_TRANSFER: Duration = Duration::from_secs(600);
/// The pause after the system could not give us a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections and answers them, until `stopping`. What it returns are the connections that
/// are still open, which close when they are idle; dropping it ends them.
pub(super) async fn serve(
    dns: &Arc<Dns>,
    counters: &Arc<Counters>,
    listeners: Vec<TcpListener>,
    mut seed: u64,
    mut stopping: watch::Receiver<()>,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            // The sender is only ever dropped.
            _ = stopping.changed() => return connections,
            accepted = accept(&listeners) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer) = match stream {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept DNS connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let address = peer.ip().to_canonical();
        let Some(place) = dns.places.take(address) else {
            add(&counters.tcp_refused);
            continue;
        };
        add(&counters.tcp_accepted);
        seed = seed.wrapping_add(0x1_0001);
        let connection = Connection {
            stream,
            client: Client { address, transport: Transport::Tcp },
            responder: Responder::unlimited(dns.config.seed ^ seed),
            input: Vec::new(),
            output: Vec::new(),
            reply: Vec::new(),
            transfer: None,
            forwards: VecDeque::new(),
            waiting: JoinSet::new(),
            stopping: stopping.clone(),
            is_new: true,
        };
        let (dns, counters) = (dns.clone(), counters.clone());
        connections.spawn(async move {
            let _place = place;
            if let Err(e) = connection.run(&dns, &counters).await {
                tracing::trace!(error = %e, "DNS connection ended");
            }
        });
    }
}

/// The next connection on any of the listeners.
async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    std::future::poll_fn(|context| {
        let accepted = listeners.iter().map(|listener| listener.poll_accept(context));
        accepted.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

struct Connection {
    stream: TcpStream,
    client: Client,
    responder: Responder,
    /// What has been read and not answered.
    input: Vec<u8>,
    /// Answers with their lengths that have not been sent.
    output: Vec<u8>,
    reply: Vec<u8>,
    /// What follows the output: the zone for a secondary.
    transfer: Option<Transfer>,
    /// Queries that others are to be asked about: where they stand in the input.
    forwards: VecDeque<(Range<usize>, Options)>,
    /// Replies of others that are on their way. They are sent as they come (RFC 7766 §6.2.1.1).
    waiting: JoinSet<Vec<u8>>,
    /// Its sender is dropped when the server stops.
    stopping: watch::Receiver<()>,
    /// Whether it has asked nothing yet.
    is_new: bool,
}

impl Connection {
    /// Until the client closes, is silent for too long, or breaks the format.
    async fn run(mut self, dns: &Dns, counters: &Counters) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        loop {
            let (used, more) = self.answer_whole(dns, counters)?;
            self.forward(dns)?;
            self.send(dns.config.tcp_idle).await?;
            while !self.forwards.is_empty() {
                self.forward(dns)?;
                self.send(dns.config.tcp_idle).await?;
            }
            self.input.drain(..used);
            if let Some(transfer) = self.transfer.take() {
                timeout(MAX_TRANSFER, self.transfer(transfer, dns.config.tcp_idle)).await??;
            }
            if !more && !self.wait(dns.config.tcp_idle).await? {
                return Ok(());
            }
        }
    }

    /// Sends what waits in the output.
    async fn send(&mut self, idle: Duration) -> io::Result<()> {
        if !self.output.is_empty() {
            timeout(idle, self.stream.write_all(&self.output)).await??;
            self.output.clear();
            // A large answer is rare; its room is not kept for as long as the client stays.
            self.output.shrink_to(KEPT);
            self.reply.shrink_to(KEPT);
        }
        Ok(())
    }

    /// Sends all messages of a transfer.
    async fn transfer(&mut self, mut transfer: Transfer, idle: Duration) -> io::Result<()> {
        while let Some(message) = transfer.next().await {
            frame(&message, &mut self.output)?;
            timeout(idle, self.stream.write_all(&self.output)).await??;
            self.output.clear();
        }
        Ok(())
    }

    /// Waits for more of the input, or for a reply of others, which goes to the output. Says
    /// whether anything is left to do.
    async fn wait(&mut self, idle: Duration) -> io::Result<bool> {
        // Room for the rest of the longest query.
        self.input.reserve((2 + MAX_QUERY).saturating_sub(self.input.len()));
        let nobody = self.waiting.is_empty();
        let reads = self.waiting.len() < MAX_WAITING;
        let idle_now = nobody && self.input.is_empty() && !self.is_new;
        let ended = tokio::select! {
            // Who is in the middle of a query, or about to send its first one, is not cut off.
            _ = self.stopping.changed(), if idle_now => true,
            read = timeout(idle, self.stream.read_buf(&mut self.input)), if reads => match read {
                Ok(read) => read? == 0,
                // Whoever waits for an answer is not idle.
                Err(_) if nobody => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => false,
            },
            Some(reply) = self.waiting.join_next() => {
                frame(&reply.unwrap_or_default(), &mut self.output)?;
                false
            }
        };
        if ended {
            // What was asked before is still answered.
            while let Some(reply) = self.waiting.join_next().await {
                frame(&reply.unwrap_or_default(), &mut self.output)?;
                self.send(idle).await?;
            }
        }
        Ok(!ended)
    }

    /// Answers the whole queries that have been read, up to [`SEND_AT`] of answers; gives how many
    /// bytes they were, and whether there may be more. Stops behind a query that begins a transfer.
    /// Never waits, since it holds the zone.
    fn answer_whole(&mut self, dns: &Dns, counters: &Counters) -> io::Result<(usize, bool)> {
        let zone = dns.zone();
        let here = dns.here(&zone);
        let mut used = 0;
        while self.output.len() < SEND_AT {
            if self.waiting.len() + self.forwards.len() >= MAX_WAITING {
                // Some of these may be answered at once.
                return Ok((used, !self.forwards.is_empty()));
            }
            let rest = self.input.get(used..).unwrap_or_default();
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok((used, false)) };
            let length = usize::from(u16::from_be_bytes(*length));
            if length > MAX_QUERY {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(packet) = rest.get(..length) else { return Ok((used, false)) };
            let verdict =
                self.responder.respond(here, self.client, message::read(packet), &mut self.reply);
            counters.judge(Transport::Tcp, &verdict);
            match verdict {
                Verdict::Reply(Outcome { qtype: Some(qtype::AXFR | qtype::IXFR), .. }) => {
                    let (transfers, client) = (&dns.transfers, self.client.address);
                    self.transfer = transfers.begin(&zone, packet, client, &mut self.reply);
                    if self.transfer.is_some() {
                        return Ok((used + 2 + length, true));
                    }
                    frame(&self.reply, &mut self.output)?;
                }
                Verdict::Reply(_) | Verdict::Slipped(_) => frame(&self.reply, &mut self.output)?,
                Verdict::Forward(options) => {
                    self.forwards.push_back((used + 2..used + 2 + length, options));
                }
                Verdict::Silence | Verdict::Limited => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            used += 2 + length;
            self.is_new = false;
        }
        Ok((used, true))
    }

    /// Asks others about the queries that are for them, until there is [`SEND_AT`] of answers.
    fn forward(&mut self, dns: &Dns) -> io::Result<()> {
        let Some(forwarder) = &dns.config.policy.forwarder else {
            self.forwards.clear();
            return Ok(());
        };
        while self.output.len() < SEND_AT
            && let Some((place, options)) = self.forwards.pop_front()
        {
            let packet = self.input.get(place).unwrap_or_default();
            let (limit, options) = (usize::from(u16::MAX), options.as_bytes());
            match forwarder.begin(packet, limit, Transport::Tcp, options, &mut self.reply) {
                Begun::Reply => frame(&self.reply, &mut self.output)?,
                Begun::Silence => return Err(io::ErrorKind::InvalidData.into()),
                Begun::Pending(pending) => {
                    self.waiting.spawn(pending.reply());
                }
            }
        }
        Ok(())
    }
}

/// Appends a message behind its length; an empty one is none.
fn frame(message: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    if !message.is_empty() {
        let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        output.extend(length.to_be_bytes());
        output.extend_from_slice(message);
    }
    Ok(())
}
