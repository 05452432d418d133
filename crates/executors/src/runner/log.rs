//! One output file of a task, rotated: `stdout`, `stdout.1` (the last full one), `stdout.2`, …
//!
//! Writing never fails and never holds the task up beyond the disk's own speed: what the disk does
//! not take is dropped and counted, and the file says so once it takes something again.
//!
//! The folder belongs to the task's user, so nothing in it is trusted: files are made anew and
//! links are not followed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// A rotated output file.
#[derive(Debug)]
pub struct RotatedLog {
    path: PathBuf,
    max_bytes: u64,
    max_files: u32,
    file: Option<File>,
    size: u64,
    lost: u64,
}

impl RotatedLog {
    /// A log at `path` of at most `max_files` files (the current one included, at least 1) of at
    /// most `max_bytes` each. Creates the first file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: PathBuf, max_bytes: u64, max_files: u32) -> io::Result<RotatedLog> {
        let file = Some(fresh(&path)?);
        let max_bytes = max_bytes.max(1);
        Ok(RotatedLog { path, max_bytes, max_files: max_files.max(1), file, size: 0, lost: 0 })
    }

    /// Appends output.
    pub fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.size >= self.max_bytes {
                self.rotate();
            }
            let room = usize::try_from(self.max_bytes - self.size).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if !self.append(now) {
                self.lost += later.len() as u64;
                return;
            }
            bytes = later;
        }
    }

    /// Whether all of it was written; if not, the rest is counted as lost.
    fn append(&mut self, bytes: &[u8]) -> bool {
        let lost = self.lost;
        if lost > 0 && self.put(note(lost).as_bytes()).is_err() {
            self.lost += bytes.len() as u64;
            return false;
        }
        self.lost = 0;
        match self.put(bytes) {
            Ok(()) => true,
            Err(written) => {
                self.lost = (bytes.len() - written) as u64;
                false
            }
        }
    }

    /// Writes all, or tells how much was written.
    fn put(&mut self, bytes: &[u8]) -> Result<(), usize> {
        if self.file.is_none() {
            self.file = fresh(&self.path).ok();
            self.size = 0;
        }
        let Some(file) = &mut self.file else { return Err(0) };
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|r| !r.is_empty()) {
            match file.write(rest) {
                Ok(0) => return Err(written),
                Ok(n) => {
                    written += n;
                    self.size += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(written),
            }
        }
        Ok(())
    }

    /// Moves every file one number up; the last one falls off. Where the task has put something in
    /// the way, the current file goes instead: the bound on the disk holds.
    fn rotate(&mut self) {
        for number in (1..self.max_files).rev() {
            let from = if number == 1 { self.path.clone() } else { self.numbered(number - 1) };
            let _ = fs::rename(from, self.numbered(number));
        }
        let _ = fs::remove_file(&self.path);
        self.file = fresh(&self.path).ok();
        self.size = 0;
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

fn note(lost: u64) -> String {
    format!("\n[waymark: {lost} bytes of output were lost, the disk did not take them]\n")
}

/// A new, empty file; never one that was there, nor what a link points to.
fn fresh(path: &PathBuf) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create_new(true).mode(0o644);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn rotates() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RotatedLog::create(folder.path().join("stdout"), 4, 3).unwrap();
        log.write(b"aaaabbbbccccdddd");
        log.write(b"ee");
        let files = ["stdout", "stdout.1", "stdout.2", "stdout.3"];
        assert_eq!(files.map(|f| read(folder.path().join(f))), ["ee", "dddd", "cccc", ""]);
    }

    #[test]
    fn one_file_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RotatedLog::create(folder.path().join("stdout"), 4, 1).unwrap();
        log.write(b"aaaabb");
        assert_eq!(read(folder.path().join("stdout")), "bb");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn follows_no_link_and_keeps_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let path = folder.path().join("stdout");
        let mut log = RotatedLog::create(path.clone(), 4, 2).unwrap();
        fs::create_dir(folder.path().join("stdout.1")).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        log.write(b"aaaabb");
        assert_eq!(read(victim), "precious");
        assert_eq!(read(path), "bb");
    }

    #[test]
    fn says_what_was_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdout");
        let mut log = RotatedLog::create(path.clone(), 1000, 2).unwrap();
        // A device that takes nothing stands in for a full disk.
        log.file = File::options().append(true).open("/dev/full").ok();
        log.write(b"abc");
        log.write(b"de");
        log.file = File::options().append(true).open(&path).ok();
        log.write(b"f");
        assert_eq!(read(path), format!("{}f", note(5)));
    }

    proptest! {
        #[test]
        fn loses_nothing_within_its_bound(chunks in prop::collection::vec(0usize..40, 1..30)) {
            let folder = tempfile::tempdir().unwrap();
            let mut log = RotatedLog::create(folder.path().join("stdout"), 25, 4).unwrap();
            let mut all = String::new();
            for (n, len) in chunks.into_iter().enumerate() {
                let chunk = char::from(b'a' + (n % 26) as u8).to_string().repeat(len);
                log.write(chunk.as_bytes());
                all.push_str(&chunk);
            }
            let names = ["stdout.3", "stdout.2", "stdout.1", "stdout"];
            let kept: String = names.iter().map(|n| read(folder.path().join(n))).collect();
            prop_assert!(all.ends_with(&kept));
            prop_assert!(kept.len() == all.len() || kept.len() > 75);
        }
    }
}
