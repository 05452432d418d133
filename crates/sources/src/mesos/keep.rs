//! Keeps the last word on disk: at once, then as often as it costs little, and at the end.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use waymark_catalog::{Freshness, Standing};
use waymark_model::{Cluster, Version};

use super::last_word::{LastWord, mark, save};

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
    places: Vec<String>,
    words: watch::Receiver<Word>,
    freshness: Freshness,
) {
    let Some(file) = file else { return std::future::pending().await };
    let (writing, written) = (Arc::default(), words.borrow().version);
    let mut keeper = Keeper { file, places, words, writing, written };
    let mut told = false;
    loop {
        match timeout(MARK, keeper.words.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => {
                if let Standing::Fresh(age) = freshness.standing(Instant::now()) {
                    // A mark that is lost makes the word look older than it is.
                    let _ = mark(&keeper.file, SystemTime::now() - age);
                }
                continue;
            }
        }
        let start = Instant::now();
        let saved = tokio::task::spawn_blocking(keeper.write()).await;
        match saved.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
            Ok(()) => told = false,
            Err(reason) if !told => {
                told = true;
                let file = keeper.file.display();
                tracing::warn!(%file, %reason, "the last state cannot be kept on disk");
            }
            Err(_) => {}
        }
        sleep(start.elapsed().saturating_mul(PAUSE_FACTOR).min(MAX_PAUSE)).await;
    }
}

/// Writes what is told; when it is dropped, too, if that was not written yet.
struct Keeper {
    file: PathBuf,
    /// Where the cluster is looked for.
    places: Vec<String>,
    words: watch::Receiver<Word>,
    /// Held by whoever writes: all write beside the file under one name.
    writing: Arc<Mutex<()>>,
    /// The version of the word that was written last.
    written: Version,
}

impl Keeper {
    /// The writing of the word as it is now, to be done where it may block.
    fn write(&mut self) -> impl FnOnce() -> std::io::Result<()> + Send + use<> {
        let Word { cluster, version, saved } = self.words.borrow_and_update().clone();
        self.written = version;
        let version = version.saturating_add(RESERVED);
        let word = LastWord { cluster, places: self.places.clone(), version, saved };
        let (file, writing) = (self.file.clone(), self.writing.clone());
        move || {
            let _alone = writing.lock().unwrap_or_else(PoisonError::into_inner);
            save(&file, &word)
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.words.borrow().version == self.written {
            return;
        }
        if let Err(reason) = self.write()() {
            let file = self.file.display();
            tracing::warn!(%file, %reason, "the last state could not be kept on disk");
        }
    }
}

impl Default for Word {
    fn default() -> Word {
        Word { cluster: Cluster::default(), version: 0, saved: std::time::UNIX_EPOCH }
    }
}
