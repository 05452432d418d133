//! Keeps the last word on disk, at most once in a while.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use waymark_catalog::{Freshness, Standing};
use waymark_model::{Cluster, Version};

use super::last_word::{LastWord, mark, save};

/// The time between two writings at least.
const PAUSE: Duration = Duration::from_secs(5);

/// The pause is so many times as long as the writing took, so that large clusters that change all
/// the time cost a fiftieth of a processor at most.
const PAUSE_FACTOR: u32 = 50;

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How often a word that stays is marked as still true.
const MARK: Duration = Duration::from_secs(15);

/// How far versions may get ahead of the one on disk before a crash: what is written is the
/// version from which the next start goes on. At 200 publications a second it lasts longer
/// than [`MAX_PAUSE`].
const RESERVED: Version = 10_000;

/// What was published last.
#[derive(Clone)]
pub(crate) struct Word {
    pub cluster: Cluster,
    pub version: Version,
    /// When it was told.
    pub saved: SystemTime,
}

/// Writes every word that stays for a moment, for ever; and marks the file while the word in it is
/// still true.
pub(crate) async fn keep(
    file: Option<PathBuf>,
    mut words: watch::Receiver<Word>,
    freshness: Freshness,
) {
    let Some(file) = file else { return std::future::pending().await };
    let mut told = false;
    loop {
        match timeout(MARK, words.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => {
                if let Standing::Fresh(age) = freshness.standing(Instant::now()) {
                    // A mark that is lost makes the word look older than it is.
                    let _ = mark(&file, SystemTime::now() - age);
                }
                continue;
            }
        }
        let Word { cluster, version, saved } = words.borrow_and_update().clone();
        let version = version.saturating_add(RESERVED);
        let word = LastWord { cluster, version, saved };
        let (to, start) = (file.clone(), Instant::now());
        let saved = tokio::task::spawn_blocking(move || save(&to, &word)).await;
        match saved.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
            Ok(()) => told = false,
            Err(reason) if !told => {
                told = true;
                let file = file.display();
                tracing::warn!(%file, %reason, "the last state cannot be kept on disk");
            }
            Err(_) => {}
        }
        sleep((start.elapsed() * PAUSE_FACTOR).clamp(PAUSE, MAX_PAUSE)).await;
    }
}

impl Default for Word {
    fn default() -> Word {
        Word { cluster: Cluster::default(), version: 0, saved: std::time::UNIX_EPOCH }
    }
}
