//! The last word's file: a line of JSON for the beginning, one for everything it has, and the end,
//! so that a file that was cut is told from a whole one.
//!
//! In: what a source knew. Out: the same at its next start, or why not; never a part of it. What the
//! lines in between mean is the source's to say.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use waymark_model::Version;

use crate::keep;

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// A longer file is not read.
const MAX_FILE: u64 = 4 << 30;

/// The last line.
const END: &[u8] = b"\"end\"";

/// Why a file gives no word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("line {line}: {error}")]
    Line { line: usize, error: serde_json::Error },
    #[error("{0}")]
    Content(&'static str),
}

/// What stands at the beginning.
pub(crate) struct Heading<M> {
    /// No version above this one was published.
    pub version: Version,
    /// When it was last known to be true.
    pub saved: SystemTime,
    /// What the source says about all of it.
    pub more: M,
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum First<M> {
    Begin(Begin<M>),
}

#[derive(Serialize, Deserialize)]
struct Begin<M> {
    format: u32,
    version: Version,
    saved_ms: u64,
    #[serde(flatten)]
    more: M,
}

/// Reads a file, each line of its content into `take`; `None` when there is no file.
pub(crate) fn load<M: DeserializeOwned, L: DeserializeOwned>(
    file: &Path,
    mut take: impl FnMut(L) -> Result<(), Unreadable>,
) -> Result<Option<Heading<M>>, Unreadable> {
    let opened = match File::open(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = opened.metadata()?;
    if metadata.len() > MAX_FILE {
        return Err(Unreadable::Content("the file is too long"));
    }
    let mut lines = BufReader::new(opened).split(b'\n').zip(1..);
    let Some((text, line)) = lines.next() else {
        return Err(Unreadable::Content("the beginning is missing"));
    };
    let First::Begin(Begin::<M> { format, version, saved_ms, more }) = parse(&text?, line)?;
    if format != FORMAT {
        return Err(Unreadable::Content("another format than this version of Waymark writes"));
    }
    let mut whole = false;
    for (text, line) in lines {
        match text? {
            _ if whole => return Err(Unreadable::Content("something follows the end")),
            text if text == END => whole = true,
            text => take(parse(&text, line)?)?,
        }
    }
    if !whole {
        return Err(Unreadable::Content("the end is missing"));
    }
    let written = UNIX_EPOCH.checked_add(Duration::from_millis(saved_ms));
    let marked = metadata.modified().ok();
    let saved = written.max(marked).ok_or(Unreadable::Content("a time out of range"))?;
    Ok(Some(Heading { version, saved, more }))
}

fn parse<T: DeserializeOwned>(text: &[u8], line: usize) -> Result<T, Unreadable> {
    serde_json::from_slice(text).map_err(|error| Unreadable::Line { line, error })
}

/// Puts the lines in the place of those on disk; the old ones stay whole until then.
pub(crate) fn save<M: Serialize, L: Serialize>(
    file: &Path,
    heading: Heading<M>,
    lines: impl Iterator<Item = L>,
) -> io::Result<()> {
    keep::replace(file, heading.saved, |out| write(heading, lines, out))
}

fn write<M: Serialize, L: Serialize>(
    heading: Heading<M>,
    lines: impl Iterator<Item = L>,
    out: &mut impl Write,
) -> io::Result<()> {
    let Heading { version, saved, more } = heading;
    let saved_ms = saved.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let saved_ms = u64::try_from(saved_ms).unwrap_or(u64::MAX);
    let begin = First::Begin(Begin { format: FORMAT, version, saved_ms, more });
    serde_json::to_writer(&mut *out, &begin)?;
    for line in lines {
        out.write_all(b"\n")?;
        serde_json::to_writer(&mut *out, &line)?;
    }
    for part in [b"\n", END, b"\n"] {
        out.write_all(part)?;
    }
    Ok(())
}
