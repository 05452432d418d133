//! Follows the masters in ZooKeeper. What it last said stays when it is lost.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zookeeper_client as zk;

use super::detect::ZkTarget;
use super::masters::{Detected, master, nodes};
use crate::backoff;

/// The session time-out that is asked for.
const SESSION: Duration = Duration::from_secs(10);

/// The longest that one exchange with ZooKeeper may take.
const EXCHANGE: Duration = Duration::from_secs(10);

/// The longest pause between attempts.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The most masters that are looked at.
const MAX_MASTERS: usize = 64;

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Client(#[from] zk::Error),
    #[error("no answer within {EXCHANGE:?}")]
    Silent,
    #[error("session ended: {0}")]
    Ended(zk::SessionState),
}

/// Puts what ZooKeeper says into `detected`, for ever.
pub(crate) async fn follow(target: ZkTarget, detected: watch::Sender<Detected>) {
    let mut failures = 0;
    let mut told = false;
    loop {
        let mut heard = false;
        let lost = session(&target, &detected, &mut heard).await;
        if heard {
            (failures, told) = (0, false);
        }
        if let Err(lost) = lost
            && !told
        {
            tracing::warn!(
                servers = target.servers.join(","), path = target.path, reason = %lost,
                "ZooKeeper is lost; the masters that it told last stay in use"
            );
            told = true;
        }
        sleep(backoff::pause(failures, MAX_PAUSE, rand::random())).await;
        failures += 1;
    }
}

/// Warns when ZooKeeper has named no leader for so long; zero never warns. Mesos-DNS ends then.
pub(crate) async fn watch_for_leader(after: Duration, mut detected: watch::Receiver<Detected>) {
    if after.is_zero() {
        return std::future::pending().await;
    }
    loop {
        let leader = detected.wait_for(|known| known.leader.is_some());
        if timeout(after, leader).await.is_err() {
            tracing::warn!(
                ?after,
                "ZooKeeper names no leading master; the last state stays in use"
            );
            if detected.wait_for(|known| known.leader.is_some()).await.is_err() {
                return std::future::pending().await;
            }
        }
        if detected.wait_for(|known| known.leader.is_none()).await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// One session, until it is lost.
async fn session(
    target: &ZkTarget,
    detected: &watch::Sender<Detected>,
    heard: &mut bool,
) -> Result<(), Lost> {
    let mut connector = zk::Client::connector().with_session_timeout(SESSION).with_fail_eagerly();
    if let Some(digest) = &target.digest {
        connector = connector.with_auth("digest", digest.as_bytes());
    }
    let client = within(connector.connect(&target.servers.join(","))).await?;
    let mut state = client.state_watcher();
    loop {
        let (children, watcher) = match within(client.list_and_watch_children(&target.path)).await {
            Ok(found) => found,
            Err(Lost::Client(zk::Error::NoNode)) => {
                // Masters make the node when they come; until then there is none.
                publish(Detected::default(), detected, heard);
                sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(lost) => return Err(lost),
        };
        let found = masters(&client, target, &children).await?;
        publish(found, detected, heard);
        let changed = watcher.changed();
        tokio::pin!(changed);
        loop {
            tokio::select! {
                _ = &mut changed => break,
                state = state.changed() => {
                    if state.is_terminated() {
                        return Err(Lost::Ended(state));
                    }
                }
            }
        }
    }
}

async fn masters(
    client: &zk::Client,
    target: &ZkTarget,
    children: &[String],
) -> Result<Detected, Lost> {
    let mut found = Detected::default();
    for (n, node) in nodes(children.iter().map(String::as_str)).iter().take(MAX_MASTERS).enumerate()
    {
        let path = format!("{}/{}", target.path, node.name);
        let data = match within(client.get_data(&path)).await {
            Ok((data, _)) => data,
            // Gone between the two questions; the watch tells.
            Err(Lost::Client(zk::Error::NoNode)) => continue,
            Err(lost) => return Err(lost),
        };
        let Some(place) = master(node, &data) else {
            tracing::warn!(node = path, "this node of a master makes no sense and is left out");
            continue;
        };
        if n == 0 {
            found.leader = Some(place.clone());
        }
        if !found.all.contains(&place) {
            found.all.push(place);
        }
    }
    Ok(found)
}

async fn within<T>(asking: impl Future<Output = Result<T, zk::Error>>) -> Result<T, Lost> {
    Ok(timeout(EXCHANGE, asking).await.map_err(|_| Lost::Silent)??)
}

/// Without any master what was known before stays: those may live on while ZooKeeper is empty.
fn publish(found: Detected, detected: &watch::Sender<Detected>, heard: &mut bool) {
    *heard = true;
    detected.send_if_modified(|known| {
        let next = match found.all.is_empty() {
            true => Detected { leader: None, all: known.all.clone() },
            false => found,
        };
        let changed = *known != next;
        *known = next;
        changed
    });
}
