//! The event stream of a master: `SUBSCRIBE` of the v1 operator API, JSON in RecordIO.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout, timeout_at};
use waymark_mesos_api::recordio::Decoder;
use waymark_mesos_api::{Document, Event, HostPort, parse_master};

use super::ask::{Client, call};
use super::error::Trouble;
use crate::client::{Ask, Failure, MAX_BODY};

/// So many heartbeats may be missing.
const MISSED: u32 = 3;
/// Heartbeats are waited for as if they came no more often than this, and no more seldom than the
/// next, whatever a master says.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(600);

/// The longest that the small questions beside the stream may take.
const SMALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the leading master says that it is; asked before subscribing, since it is answered at once
/// and shows whether there is a v1 API.
pub(crate) async fn leader(
    client: &Client,
    master: &HostPort,
    known: &[HostPort],
) -> Result<HostPort, Trouble> {
    let ask = call(r#"{"type":"GET_MASTER"}"#);
    match client.fetch(master, &ask, known, SMALL_TIMEOUT).await {
        Ok((_, body)) => Ok(parse_master(&body)?),
        Err(Trouble::Client(Failure::Timeout(within))) => Err(Trouble::Silent(within)),
        Err(trouble) => Err(trouble),
    }
}

/// A document that tells the pids of frameworks.
pub(crate) async fn summary(
    client: &Client,
    master: &HostPort,
    known: &[HostPort],
    within: Duration,
) -> Result<Document, Trouble> {
    let ask = Ask::get("/master/state-summary");
    let (_, body) = client.fetch(master, &ask, known, within).await?;
    Ok(waymark_mesos_api::parse(&body)?)
}

/// A subscription.
pub(crate) struct Stream {
    body: Incoming,
    decoder: Decoder,
    records: VecDeque<Vec<u8>>,
    /// How long it may be silent.
    patience: Duration,
    /// When it was last heard.
    heard: Instant,
}

impl Stream {
    /// Subscribes and waits for the state, which comes first; `within` is for both.
    pub async fn open(
        client: &Client,
        master: &HostPort,
        known: &[HostPort],
        within: Duration,
    ) -> Result<(Stream, Vec<u8>, HostPort), Trouble> {
        let opening = async {
            let answer = client.ask(master, &call(r#"{"type":"SUBSCRIBE"}"#), known).await?;
            let mut stream = Stream {
                body: answer.response.into_body(),
                decoder: Decoder::new(MAX_BODY),
                records: VecDeque::new(),
                patience: within,
                heard: Instant::now(),
            };
            let first = stream.record().await?;
            Ok((stream, first, answer.from))
        };
        timeout(within, opening).await.unwrap_or(Err(Failure::Timeout(within).into()))
    }

    /// Says how often heartbeats come; what makes no sense counts as the nearest that does.
    pub fn expect_heartbeats(&mut self, every: Duration) {
        self.patience = every.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL).saturating_mul(MISSED);
    }

    /// The next record. Can be dropped while waiting without losing anything.
    async fn record(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(record);
            }
            let frame = timeout_at(self.heard + self.patience, self.body.frame())
                .await
                .map_err(|_| Trouble::NoHeartbeat(self.patience))?
                .ok_or(Trouble::StreamEnded)??;
            self.heard = Instant::now();
            let Ok(data) = frame.into_data() else { continue };
            self.decoder.feed(&data, |record| self.records.push_back(record))?;
        }
    }

    /// The next event. Can be dropped while waiting without losing anything.
    pub async fn event(&mut self) -> Result<Event, Trouble> {
        let record = self.record().await?;
        Ok(Event::parse(&record)?)
    }

    /// An event that is there already.
    pub fn event_at_hand(&mut self) -> Option<Result<Event, Trouble>> {
        self.records.pop_front().map(|record| Ok(Event::parse(&record)?))
    }
}
