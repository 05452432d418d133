//! The record of a task: one small file that outlives runner and control plane, and tells who runs
//! the task and how it ended.
//!
//! The file has [`SIZE`] bytes from its first moment (JSON, filled up with spaces) and is then
//! overwritten in place, so that an end can be recorded while the disk is full. A reader that
//! meets a write halfway sees text that is not JSON, and reads again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::procfs;

/// Size of every record, in bytes: one block of a usual file system.
const SIZE: usize = 4096;
/// A reason is cut to this many characters, so that it always fits.
const REASON_LIMIT: usize = 300;
/// How often a record that is not JSON is read again, a millisecond apart.
const READS: u32 = 5;

/// Who runs a task and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The task's id.
    pub task: String,
    /// The boot of the machine in which the numbers below mean something.
    pub boot: String,
    /// The runner's process number.
    pub runner: i32,
    /// The runner's start, in clock ticks since boot.
    pub runner_started: u64,
    /// The number of the task's main process, once it has been started.
    pub command: Option<i32>,
    /// Whether the runner was told to end the task.
    pub told: bool,
    /// How the task ended, once it has.
    pub end: Option<End>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It was never started; why.
    NotStarted(String),
}

impl End {
    /// From the status of a process that has ended.
    pub fn of(status: ExitStatus) -> End {
        match (status.code(), status.signal()) {
            (Some(code), _) => End::Exited(code),
            (None, signal) => End::Signalled(signal.unwrap_or_default()),
        }
    }

    /// One line for people.
    pub fn message(&self) -> String {
        match self {
            End::Exited(status) => format!("Command exited with status {status}"),
            End::Signalled(number) => match Signal::try_from(*number) {
                Ok(signal) => format!("Command terminated by signal {number} ({signal})"),
                Err(_) => format!("Command terminated by signal {number}"),
            },
            End::NotStarted(reason) => reason.clone(),
        }
    }
}

impl Record {
    /// The record of a task that this process is about to run.
    pub fn of_this_process(task: &str) -> Record {
        let pid = nix::unistd::getpid().as_raw();
        Record {
            task: task.to_owned(),
            boot: procfs::boot_id(),
            runner: pid,
            runner_started: procfs::Stat::read(pid).map_or(0, |s| s.started),
            command: None,
            told: false,
            end: None,
        }
    }

    /// Reads a record; `None` when there is none or it is damaged.
    pub fn read(path: &Path) -> Option<Record> {
        for _ in 0..READS {
            if let Ok(record) = serde_json::from_slice(&fs::read(path).ok()?) {
                return Some(record);
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// Whether the process with the runner's number is the runner. A pidfd must have been opened
    /// before, else the answer may be stale when it is used.
    pub fn runner_is_alive(&self) -> bool {
        self.boot == procfs::boot_id()
            && procfs::Stat::read(self.runner).is_some_and(|s| s.started == self.runner_started)
    }

    fn padded(&self) -> io::Result<Vec<u8>> {
        let mut record = self.clone();
        if let Some(End::NotStarted(reason)) = &mut record.end {
            *reason = reason.chars().take(REASON_LIMIT).collect();
        }
        let mut text = serde_json::to_vec(&record)?;
        if text.len() > SIZE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the task's id is too long"));
        }
        text.resize(SIZE, b' ');
        Ok(text)
    }
}

/// A record that is being kept.
#[derive(Debug)]
pub struct RecordFile(File);

impl RecordFile {
    /// Creates the file, whole or not at all.
    ///
    /// # Errors
    /// Those of the file system; above all that the disk is full.
    pub fn create(path: &Path, record: &Record) -> io::Result<RecordFile> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let written = file.write_all_at(&record.padded()?, 0);
        if let Err(error) = written.and_then(|()| fs::rename(&draft, path)) {
            // The draft is worthless; that it stays when even this fails harms nothing.
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        Ok(RecordFile(file))
    }

    /// Overwrites the record.
    ///
    /// # Errors
    /// Those of the device. A full disk is none, except on file systems that copy on write.
    pub fn update(&self, record: &Record) -> io::Result<()> {
        self.0.write_all_at(&record.padded()?, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.1");
        let mut record = Record::of_this_process("a.1");
        let file = RecordFile::create(&path, &record).unwrap();
        assert_eq!(Record::read(&path), Some(record.clone()));
        assert!(record.runner_is_alive());
        record.end = Some(End::NotStarted("\u{1}\"".repeat(5000)));
        file.update(&record).unwrap();
        let read = Record::read(&path).unwrap();
        assert!(matches!(read.end, Some(End::NotStarted(r)) if r.chars().count() == REASON_LIMIT));
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE as u64);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn refuses_what_does_not_fit_and_what_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let record = Record::of_this_process(&"x".repeat(SIZE));
        assert!(RecordFile::create(&path, &record).is_err());
        assert_eq!(Record::read(&path), None);
        fs::write(&path, "{\"task\":\"a\"").unwrap();
        assert_eq!(Record::read(&path), None);
    }

    #[test]
    fn tells_a_number_used_again() {
        let mut record = Record::of_this_process("a");
        record.runner_started += 1;
        assert!(!record.runner_is_alive());
        let mut record = Record::of_this_process("a");
        record.boot = "another".to_owned();
        assert!(!record.runner_is_alive());
    }

    #[test]
    fn messages() {
        assert_eq!(End::Exited(1).message(), "Command exited with status 1");
        assert_eq!(End::Signalled(9).message(), "Command terminated by signal 9 (SIGKILL)");
        assert_eq!(End::Signalled(40).message(), "Command terminated by signal 40");
    }
}
