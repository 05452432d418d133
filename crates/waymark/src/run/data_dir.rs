//! The data folder: made, writable, and used by this process alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StartError;

/// Locked while a Waymark uses the folder; holds its process id.
const LOCK: &str = "lock";
/// What cannot be a process id is not shown as one.
const MAX_PID_BYTES: u64 = 20;

/// How often a lock that another process holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// The data folder. Who holds its lock is who acts.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: Arc<Mutex<Option<File>>>,
}

impl DataDir {
    /// Makes the folder if it is missing, and takes it. The kernel gives the lock back when the
    /// process ends, however it ends. `setting` says where the path comes from and `fix` what to do
    /// about it, for the error.
    pub fn take(path: &Path, setting: &str, fix: &str) -> Result<DataDir, StartError> {
        let unusable = |source: &io::Error| {
            StartError(format!("{setting}: {} cannot be used: {source}; {fix}", path.display()))
        };
        std::fs::create_dir_all(path).map_err(|e| unusable(&e))?;
        let lock_path = path.join(LOCK);
        let mut lock = open(&lock_path).map_err(|e| unusable(&e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StartError(format!(
                    "{setting}: {} is in use by another Waymark ({}); stop that one, or {fix}",
                    path.display(),
                    owner(&mut lock),
                )));
            }
            Err(TryLockError::Error(e)) => return Err(unusable(&e)),
        }
        write_pid(&mut lock).map_err(|e| unusable(&e))?;
        let path = path.canonicalize().map_err(|e| unusable(&e))?;
        Ok(DataDir { path, lock: Arc::new(Mutex::new(Some(lock))) })
    }

    /// The folder beside the process that holds its lock.
    pub fn beside(path: &Path) -> io::Result<DataDir> {
        Ok(DataDir { path: path.canonicalize()?, lock: Arc::default() })
    }

    /// Takes the lock as soon as the process that holds it lets go, on a thread of its own. Who has
    /// dropped the folder meanwhile gets none.
    pub fn lock_later(&self) -> io::Result<()> {
        let mut lock = open(&self.path.join(LOCK))?;
        let place = Arc::downgrade(&self.lock);
        let wait = move || {
            if lock.lock().and_then(|()| write_pid(&mut lock)).is_ok()
                && let Some(place) = place.upgrade()
            {
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
            }
        };
        std::thread::Builder::new().name("data-lock".to_owned()).spawn(wait)?;
        Ok(())
    }

    /// Takes the lock; blocks while another process holds it, until `patience` is over.
    ///
    /// # Errors
    /// `WouldBlock`: it still does.
    pub fn lock_within(&self, patience: Duration) -> io::Result<()> {
        let mut lock = open(&self.path.join(LOCK))?;
        let deadline = Instant::now() + patience;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(TRY_AGAIN);
                }
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            }
        }
        write_pid(&mut lock)?;
        *self.held() = Some(lock);
        Ok(())
    }

    /// Whether this process holds the lock.
    pub fn is_locked(&self) -> bool {
        self.held().is_some()
    }

    /// Lets another process take the lock.
    pub fn release(&self) {
        *self.held() = None;
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        // Only ever assigned to.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn owner(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(MAX_PID_BYTES).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        // It has just been started and has not written it yet.
        _ => "just being started".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let take = || DataDir::take(&folder.path().join("new/data"), "--data-dir", "name another");
        let first = take().unwrap();
        let error = take().unwrap_err().to_string();
        let pid = format!("process {}", std::process::id());
        for part in ["--data-dir", "new/data", &pid, "stop that one, or name another"] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
        let path = folder.path().join("new/data");
        let beside = DataDir::beside(&path).unwrap();
        beside.lock_later().unwrap();
        drop(first);
        while beside.held().is_none() {
            std::thread::yield_now();
        }
        assert!(take().is_err());
        let next = DataDir::beside(&path).unwrap();
        let error = next.lock_within(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        beside.release();
        next.lock_within(Duration::ZERO).unwrap();
        assert!(take().is_err());
        drop(next);
        take().unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made() {
        let path = Path::new("/proc/waymark");
        let error = DataDir::take(path, "--data-dir", "name another").unwrap_err().to_string();
        assert!(error.contains("--data-dir: /proc/waymark cannot be used"), "{error}");
    }
}
