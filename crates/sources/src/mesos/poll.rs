//! The state document of a master, for masters that do not stream.

use std::time::Duration;

use waymark_mesos_api::{Document, HostPort, parse};

use super::ask::Client;
use super::error::Trouble;
use crate::client::{Ask, Failure, blocking};

/// Asks `master` for the state of the cluster, and the one that leads where that is another. The
/// document, who wrote it, and its length.
pub(crate) async fn state(
    client: &Client,
    master: &HostPort,
    known: &[HostPort],
    within: Duration,
) -> Result<(HostPort, Document, usize), Trouble> {
    let both = async {
        let (from, document, length) = one(client, master, known, within).await?;
        let Some(leader) = leader_elsewhere(&from, &document)? else {
            return Ok((from, document, length));
        };
        // Masters before 1.0 answer for themselves where later ones send on.
        let (from, document, length) = one(client, &leader, known, within).await?;
        match leader_elsewhere(&from, &document)? {
            None => Ok((from, document, length)),
            Some(_) => Err(Trouble::LeaderUnclear),
        }
    };
    tokio::time::timeout(within, both).await.unwrap_or(Err(Failure::Timeout(within).into()))
}

async fn one(
    client: &Client,
    master: &HostPort,
    known: &[HostPort],
    within: Duration,
) -> Result<(HostPort, Document, usize), Trouble> {
    let ask = Ask::get("/master/state");
    let (from, body) = client.fetch(master, &ask, known, within).await?;
    let length = body.len();
    let document = blocking(length, move || parse(&body)).await?;
    Ok((from, document?, length))
}

/// The leader, when the document was not written by it.
fn leader_elsewhere(from: &HostPort, document: &Document) -> Result<Option<HostPort>, Trouble> {
    let leader = document.leader.leader.clone().ok_or(Trouble::NoLeader)?;
    let own = match &document.leader.own {
        Some(own) => *own == leader,
        None => from.host == leader.host,
    };
    Ok((!own).then_some(leader))
}
