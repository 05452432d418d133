//! Keeps the last word on disk: at once, then as often as it costs little, and at the end.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use waymark_catalog::{Freshness, Standing};
use waymark_model::Version;

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
pub(crate) struct Word<C> {
    pub content: C,
    pub version: Version,
    /// When it was told.
    pub saved: SystemTime,
}

/// Writes every word that stays for a moment, for ever; and marks the file while the word in it is
/// still true. `save` puts a word in the place of the one in the file.
pub(crate) async fn keep<C, S>(
    file: Option<PathBuf>,
    words: watch::Receiver<Word<C>>,
    freshness: Freshness,
    save: S,
) where
    C: Clone + Send + 'static,
    S: Fn(&Path, &Word<C>) -> io::Result<()> + Clone + Send + 'static,
{
    let Some(file) = file else { return std::future::pending().await };
    let (writing, written) = (Arc::default(), words.borrow().version);
    let mut keeper = Keeper { file, save, words, writing, written };
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
        match saved.unwrap_or_else(|e| Err(io::Error::other(e))) {
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

/// Puts what `write` writes in the place of the file, which stays whole until then; `saved` becomes
/// its time.
pub(crate) fn replace(
    file: &Path,
    saved: SystemTime,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let beside = file.with_extension("json.new");
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut out = BufWriter::with_capacity(256 * 1024, File::create(&beside)?);
    write(&mut out)?;
    out.flush()?;
    let out = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    out.set_modified(saved)?;
    out.sync_all()?;
    fs::rename(&beside, file)?;
    if let Some(directory) = file.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Notes, as the file's time, that the word in it was still true then.
pub(crate) fn mark(file: &Path, when: SystemTime) -> io::Result<()> {
    File::options().append(true).open(file)?.set_modified(when)
}

/// Writes what is told; when it is dropped, too, if that was not written yet.
struct Keeper<C: Clone, S: Fn(&Path, &Word<C>) -> io::Result<()> + Clone> {
    file: PathBuf,
    save: S,
    words: watch::Receiver<Word<C>>,
    /// Held by whoever writes: all write beside the file under one name.
    writing: Arc<Mutex<()>>,
    /// The version of the word that was written last.
    written: Version,
}

impl<C: Clone, S: Fn(&Path, &Word<C>) -> io::Result<()> + Clone> Keeper<C, S> {
    /// The writing of the word as it is now, to be done where it may block.
    fn write(&mut self) -> impl FnOnce() -> io::Result<()> + use<C, S> {
        let mut word = self.words.borrow_and_update().clone();
        self.written = word.version;
        word.version = word.version.saturating_add(RESERVED);
        let (file, save, writing) = (self.file.clone(), self.save.clone(), self.writing.clone());
        move || {
            let _alone = writing.lock().unwrap_or_else(PoisonError::into_inner);
            save(&file, &word)
        }
    }
}

impl<C: Clone, S: Fn(&Path, &Word<C>) -> io::Result<()> + Clone> Drop for Keeper<C, S> {
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

impl<C: Default> Default for Word<C> {
    fn default() -> Word<C> {
        Word { content: C::default(), version: 0, saved: std::time::UNIX_EPOCH }
    }
}
