//! The data folder: made, writable, and used by this process alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::StartError;

/// Locked while a Waymark uses the folder; holds its process id.
const LOCK: &str = "lock";
/// What cannot be a process id is not shown as one.
const MAX_PID_BYTES: u64 = 20;

/// The data folder, held by this process until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Arc<OnceLock<File>>,
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
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|e| unusable(&e))?;
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
        Ok(DataDir { path, _lock: Arc::new(OnceLock::from(lock)) })
    }

    /// Uses the folder beside the process that has it and is about to end; takes it as soon as that
    /// one lets go.
    pub fn beside(path: &Path) -> io::Result<DataDir> {
        let path = path.canonicalize()?;
        let mut lock = OpenOptions::new().read(true).write(true).open(path.join(LOCK))?;
        let held = Arc::new(OnceLock::new());
        let place = Arc::downgrade(&held);
        let wait = move || {
            // Whoever has dropped the folder meanwhile wants no lock.
            if lock.lock().and_then(|()| write_pid(&mut lock)).is_ok()
                && let Some(place) = place.upgrade()
            {
                let _ = place.set(lock);
            }
        };
        std::thread::Builder::new().name("data-lock".to_owned()).spawn(wait)?;
        Ok(DataDir { path, _lock: held })
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
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
        drop(first);
        while beside._lock.get().is_none() {
            std::thread::yield_now();
        }
        assert!(take().is_err());
        drop(beside);
        take().unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made() {
        let path = Path::new("/proc/waymark");
        let error = DataDir::take(path, "--data-dir", "name another").unwrap_err().to_string();
        assert!(error.contains("--data-dir: /proc/waymark cannot be used"), "{error}");
    }
}
