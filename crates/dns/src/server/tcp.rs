//! Queries over TCP: any number on one connection, also many at once (RFC 7766).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answer::{Answerer, Outcome, Transport};
use crate::message::qtype;
use crate::output::Dns;
use crate::stats::{Counters, add};
use crate::transfer::Transfer;

/// The longest query that is read, in bytes; a connection that announces a longer one is closed.
const MAX_QUERY: usize = 4096;
/// Answers that wait to be sent are sent when they have grown to this, in bytes.
const SEND_AT: usize = 64 << 10;
/// Room that a connection keeps for answers between queries, in bytes, twice.
const KEPT: usize = 4096;
/// For how long one transfer of the zone may take, however slowly it is read.
const MAX_TRANSFER: Duration = Duration::from_secs(600);
/// The pause after the system could not give us a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts and answers connections, for ever. Dropping it ends them all.
pub(super) async fn serve(
    dns: &Arc<Dns>,
    counters: &Arc<Counters>,
    listeners: Vec<TcpListener>,
    mut seed: u64,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
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
        let Ok(slot) = dns.tcp_slots.clone().try_acquire_owned() else {
            add(&counters.tcp_refused);
            continue;
        };
        add(&counters.tcp_accepted);
        seed = seed.wrapping_add(0x1_0001);
        let connection = Connection {
            stream,
            client: peer.ip(),
            transfer: None,
            answerer: Answerer::new(dns.config.seed ^ seed),
            input: Vec::new(),
            output: Vec::new(),
            reply: Vec::new(),
        };
        let (dns, counters) = (dns.clone(), counters.clone());
        connections.spawn(async move {
            let _slot = slot;
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
    client: IpAddr,
    /// What follows the output: the zone for a secondary.
    transfer: Option<Transfer>,
    answerer: Answerer,
    /// What has been read and not answered.
    input: Vec<u8>,
    /// Answers with their lengths that have not been sent.
    output: Vec<u8>,
    reply: Vec<u8>,
}

impl Connection {
    /// Until the client closes, is silent for too long, or breaks the format.
    async fn run(mut self, dns: &Dns, counters: &Counters) -> io::Result<()> {
        let idle = dns.config.tcp_idle;
        self.stream.set_nodelay(true)?;
        loop {
            let (used, more) = self.answer_whole(dns, counters)?;
            self.input.drain(..used);
            if !self.output.is_empty() {
                timeout(idle, self.stream.write_all(&self.output)).await??;
                self.output.clear();
                // A large answer is rare; its room is not kept for as long as the client stays.
                self.output.shrink_to(KEPT);
                self.reply.shrink_to(KEPT);
            }
            if let Some(transfer) = self.transfer.take() {
                timeout(MAX_TRANSFER, self.send(transfer, idle)).await??;
            }
            if more {
                continue;
            }
            // Room for the rest of the longest query.
            self.input.reserve((2 + MAX_QUERY).saturating_sub(self.input.len()));
            if timeout(idle, self.stream.read_buf(&mut self.input)).await?? == 0 {
                return Ok(());
            }
        }
    }

    /// Sends all messages of a transfer.
    async fn send(&mut self, mut transfer: Transfer, idle: Duration) -> io::Result<()> {
        while let Some(message) = transfer.next().await {
            let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
            self.output.extend(length.to_be_bytes());
            self.output.extend_from_slice(&message);
            timeout(idle, self.stream.write_all(&self.output)).await??;
            self.output.clear();
        }
        Ok(())
    }

    /// Answers the whole queries that have been read, up to [`SEND_AT`] of answers; gives how many
    /// bytes they were, and whether there may be more. Stops behind a query that begins a transfer.
    /// Never waits, since it holds the zone.
    fn answer_whole(&mut self, dns: &Dns, counters: &Counters) -> io::Result<(usize, bool)> {
        let zone = dns.zone();
        let now = dns.moment(Instant::now());
        let mut used = 0;
        while self.output.len() < SEND_AT {
            let rest = self.input.get(used..).unwrap_or_default();
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok((used, false)) };
            let length = usize::from(u16::from_be_bytes(*length));
            if length > MAX_QUERY {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(packet) = rest.get(..length) else { return Ok((used, false)) };
            let (client, reply) = (self.client, &mut self.reply);
            let outcome = self.answerer.answer(&zone, packet, Transport::Tcp, client, now, reply);
            counters.count(Transport::Tcp, outcome);
            match outcome {
                None => return Err(io::ErrorKind::InvalidData.into()),
                Some(Outcome { qtype: Some(qtype::AXFR | qtype::IXFR), .. }) => {
                    let transfers = &dns.transfers;
                    self.transfer = transfers.begin(&zone, packet, self.client, &mut self.reply);
                    if self.transfer.is_some() {
                        return Ok((used + 2 + packet.len(), true));
                    }
                }
                Some(_) => {}
            }
            let length = u16::try_from(self.reply.len()).map_err(|_| io::ErrorKind::InvalidData)?;
            self.output.extend(length.to_be_bytes());
            self.output.extend_from_slice(&self.reply);
            used += 2 + packet.len();
        }
        Ok((used, true))
    }
}
