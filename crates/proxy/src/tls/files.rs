//! What is on the disk: which files a setting stands for, and those that have changed, read.
//!
//! In: the configured paths and what is known of their files. Out: [`Seen`], which the ledger takes
//! in. It only looks; what follows from it is not decided here.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::bundle::{Certificate, MAX_FILE, Refused};

/// The most files of one folder that are looked at; the others are left out, with a word about it.
pub(crate) const MAX_FILES: usize = 20_000;

/// Ends of names that HAProxy passes over in a folder, and keys, which are read with their
/// certificates.
const PASSED_OVER: [&str; 5] = [".key", ".issuer", ".ocsp", ".sctl", ".dh"];

/// What tells one content of a file from another, without reading it: device, inode, length, and
/// the times of change of content and of inode, with nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: [i128; 5],
    key: Option<[i128; 5]>,
}

/// What is known of a file before looking.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// As it was read last.
    pub(crate) read: Option<Stamp>,
    /// As it was seen last.
    pub(crate) seen: Option<Stamp>,
}

/// One configured path.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) source: PathBuf,
    /// Its files in order of their names; of a path that is a file, itself.
    pub(crate) files: Vec<(PathBuf, FileSeen)>,
    /// Why a folder's list cannot be trusted, or is not whole.
    pub(crate) problem: Option<String>,
    pub(crate) is_folder: bool,
}

/// One file.
#[derive(Debug)]
pub(crate) enum FileSeen {
    /// As it was read last.
    Unchanged,
    /// Not as it was read last, nor as it was seen last: it may be being written.
    Changing(Stamp),
    /// It was read.
    Read(Stamp, Result<Certificate, Refused>),
    /// It is not there, or cannot be read.
    Gone(String),
}

/// Looks at one configured path. With `at_once` every file is read as it is; otherwise only those
/// that changed, and only when they have been the same twice.
pub(crate) fn look(source: &Path, known: &BTreeMap<PathBuf, Known>, at_once: bool) -> Seen {
    let see = |path: PathBuf| {
        let known = known.get(&path).copied().unwrap_or_default();
        let seen = look_at_file(&path, known, at_once);
        (path, seen)
    };
    let (files, problem, is_folder) = match fs::metadata(source) {
        Ok(data) if data.is_dir() => match list(source) {
            Ok((files, problem)) => (files, problem, true),
            Err(error) => (Vec::new(), Some(error.to_string()), true),
        },
        _ => (vec![source.to_owned()], None, false),
    };
    let files = files.into_iter().map(see).collect();
    Seen { source: source.to_owned(), files, problem, is_folder }
}

/// A folder's files in the order of their names, without those in folders of its own.
fn list(folder: &Path) -> io::Result<(Vec<PathBuf>, Option<String>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || PASSED_OVER.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        // A link counts as what it points to; one that points to nothing is told of later.
        let kind = entry.file_type()?;
        let is_folder = kind.is_dir()
            || kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|data| data.is_dir());
        if !is_folder {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    let too_many = files.len() > MAX_FILES;
    files.truncate(MAX_FILES);
    Ok((files, too_many.then(|| format!("only its first {MAX_FILES} files are used"))))
}

fn look_at_file(path: &Path, known: Known, at_once: bool) -> FileSeen {
    let now = match stamp(path) {
        Ok((now, _)) => now,
        Err(error) => return FileSeen::Gone(error.to_string()),
    };
    if at_once || (known.read != Some(now) && known.seen == Some(now)) {
        return read(path);
    }
    match known.read == Some(now) {
        true => FileSeen::Unchanged,
        false => FileSeen::Changing(now),
    }
}

fn read(path: &Path) -> FileSeen {
    let content = (|| {
        let (before, key) = stamp(path)?;
        let text = read_bounded(path)?;
        let beside = key.map(|path| read_bounded(&path)).transpose()?;
        Ok((before, text, beside, stamp(path)?.0))
    })();
    match content {
        Ok((before, text, beside, after)) if before == after => {
            FileSeen::Read(before, parse(text.as_deref(), beside.as_ref().map(|t| t.as_deref())))
        }
        Ok((.., after)) => FileSeen::Changing(after),
        Err(error) => FileSeen::Gone(io::Error::to_string(&error)),
    }
}

fn parse(text: Option<&[u8]>, beside: Option<Option<&[u8]>>) -> Result<Certificate, Refused> {
    let text = text.ok_or(Refused::TooLong)?;
    let beside = beside.map(|text| text.ok_or(Refused::TooLong)).transpose()?;
    Certificate::read(text, beside)
}

/// The file's bytes; `None` when there are too many.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_FILE).then_some(bytes))
}

/// The stamp of a file with that of the key file beside it, and the latter's name: `a.key` for
/// `a.pem`, else `a.pem.key`.
fn stamp(path: &Path) -> io::Result<(Stamp, Option<PathBuf>)> {
    let data = fs::metadata(path)?;
    // Opening a pipe would wait for its other end.
    if !data.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let file = numbers(&data);
    let mut whole = path.as_os_str().to_owned();
    whole.push(".key");
    for name in [path.with_extension("key"), PathBuf::from(whole)] {
        if let Some(data) = fs::metadata(&name).ok().filter(Metadata::is_file) {
            return Ok((Stamp { file, key: Some(numbers(&data)) }, Some(name)));
        }
    }
    Ok((Stamp { file, key: None }, None))
}

fn numbers(data: &Metadata) -> [i128; 5] {
    let nanoseconds = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
    [
        data.dev().into(),
        data.ino().into(),
        data.size().into(),
        nanoseconds(data.mtime(), data.mtime_nsec()),
        nanoseconds(data.ctime(), data.ctime_nsec()),
    ]
}
