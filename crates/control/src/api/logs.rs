//! `GET /v1/tasks/{task}/logs`: what a task wrote, read from its sandbox. Waymark's own.
//!
//! The sandbox belongs to the task, which may be anyone's code while Waymark may be root: so
//! nothing but a regular file is read, and no link is followed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use http::{HeaderValue, StatusCode};
use waymark_marathon_api::ApiError;
use waymark_model::TaskId;

use super::answer::{self, Answer};
use super::{Api, ApiRequest};

/// The most bytes in one answer.
pub const MAX_BYTES: u64 = 1024 * 1024;
/// Bytes in an answer when the request does not say.
pub const DEFAULT_BYTES: u64 = 64 * 1024;
/// The header that tells the file's size in bytes, to go on reading from.
pub const SIZE_HEADER: &str = "X-Waymark-Log-Size";

/// What part of which file is wanted.
struct Part {
    stream: &'static str,
    /// `None` = the last `limit` bytes.
    offset: Option<u64>,
    limit: u64,
}

pub(super) async fn read(api: &Api, request: &ApiRequest, task: &str) -> Result<Answer, ApiError> {
    let part = Part::from_query(request)?;
    let unknown = || ApiError::not_found(format!("Task '{task}' does not exist"));
    let sandbox = api.config.executor.sandbox(&TaskId::from_text(task)).ok_or_else(unknown)?;
    let path = sandbox.join(part.stream);
    let read = tokio::task::spawn_blocking(move || read_part(&path, part.offset, part.limit));
    let (size, bytes) = match read.await.map_err(io::Error::other).and_then(|r| r) {
        Ok(read) => read,
        // Nothing was written yet, or the sandbox is gone between the question and the look.
        Err(error) if error.kind() == io::ErrorKind::NotFound => (0, Vec::new()),
        Err(error) => return Err(ApiError::internal(format!("The log cannot be read: {error}"))),
    };
    let mut answer = answer::bytes(StatusCode::OK, "application/octet-stream", bytes);
    answer.headers_mut().insert("x-waymark-log-size", HeaderValue::from(size));
    Ok(answer)
}

impl Part {
    fn from_query(request: &ApiRequest) -> Result<Part, ApiError> {
        let stream = match request.query.get("stream") {
            None | Some("stdout") => "stdout",
            Some("stderr") => "stderr",
            Some(_) => return Err(ApiError::bad_request("stream must be stdout or stderr")),
        };
        let number = |name: &str| match request.query.get(name).map(str::parse::<i64>) {
            None => Ok(None),
            Some(Ok(n)) => Ok(Some(n)),
            Some(Err(_)) => Err(ApiError::bad_request(format!("{name} must be a number"))),
        };
        let offset = number("offset")?.and_then(|n| u64::try_from(n).ok());
        let limit = match number("limit")?.map(u64::try_from) {
            None => DEFAULT_BYTES,
            Some(Ok(limit)) if limit <= MAX_BYTES => limit,
            Some(_) => {
                return Err(ApiError::bad_request(format!("limit must be 0 to {MAX_BYTES} bytes")));
            }
        };
        Ok(Part { stream, offset, limit })
    }
}

/// The file's size and at most `limit` bytes of it, from `offset` or from the end.
fn read_part(path: &Path, offset: Option<u64>, limit: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut file = open_regular(path)?;
    let size = file.metadata()?.len();
    let start = offset.unwrap_or(size.saturating_sub(limit));
    let mut bytes = Vec::new();
    if start < size {
        file.seek(SeekFrom::Start(start))?;
        file.take(limit.min(size - start)).read_to_end(&mut bytes)?;
    }
    Ok((size, bytes))
}

fn open_regular(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdout");
        std::fs::write(&path, b"0123456789").unwrap();
        for (offset, limit, want) in [
            (None, 4, &b"6789"[..]),
            (None, 40, b"0123456789"),
            (Some(2), 3, b"234"),
            (Some(8), 40, b"89"),
            (Some(10), 1, b""),
            (Some(u64::MAX), 1, b""),
            (Some(0), 0, b""),
        ] {
            let got = read_part(&path, offset, limit).unwrap();
            assert_eq!(got, (10, want.to_vec()), "{offset:?} {limit}");
        }
    }

    #[test]
    fn links_folders_and_pipes_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("stdout");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(read_part(&link, None, 10).is_err());
        assert!(read_part(folder.path(), None, 10).is_err());
        let missing = read_part(&folder.path().join("stderr"), None, 10).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
