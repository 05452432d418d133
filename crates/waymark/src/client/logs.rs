//! `waymark app logs`.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use clap::ArgMatches;

use super::api::Api;
use super::apps::{id, path};
use super::error::ClientError;
use super::view::Task;

/// Bytes shown of each task's file unless all is asked for.
const LAST_BYTES: u64 = 64 << 10;
/// Bytes asked for at once; the server gives no more.
const PART_BYTES: u64 = 1 << 20;
/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(300);
/// New tasks are looked for once in so many looks.
const POLLS_PER_LIST: u32 = 10;

/// Prints what the tasks have written, and with `--follow` what they go on writing.
pub fn logs(api: &Api, matches: &ArgMatches) -> Result<(), ClientError> {
    let stream = if matches.get_flag("stderr") { "stderr" } else { "stdout" };
    let (follow, all) = (matches.get_flag("follow"), matches.get_flag("all"));
    let wanted = matches.get_one::<String>("task").map(String::as_str);
    let mut tails: Vec<Tail> = Vec::new();
    let mut polls = 0;
    loop {
        if polls % POLLS_PER_LIST == 0 {
            for task in tasks(api, id(matches), wanted)? {
                if !tails.iter().any(|tail| tail.task == task) {
                    tails.push(Tail::new(task, all || polls > 0));
                }
            }
        }
        let prefixed = tails.len() > 1;
        for tail in &mut tails {
            tail.print_new(api, stream, prefixed, follow)?;
        }
        if !follow {
            return Ok(());
        }
        polls += 1;
        sleep(POLL);
    }
}

/// The tasks whose files are shown. One that is named may have ended: its sandbox is kept a while.
fn tasks(api: &Api, app: &str, wanted: Option<&str>) -> Result<Vec<String>, ClientError> {
    let listed = api.list::<Task>(&format!("{}/tasks", path(app)?), "tasks");
    let mut ids: Vec<String> = match (listed, wanted) {
        (Ok(tasks), _) => tasks.into_iter().map(|t| t.id).collect(),
        (Err(ClientError::NotFound(_)), Some(_)) => Vec::new(),
        (Err(error), _) => return Err(error),
    };
    ids.sort();
    let Some(wanted) = wanted else { return Ok(ids) };
    let fitting: Vec<String> = ids.into_iter().filter(|id| id.contains(wanted)).collect();
    match fitting.len() {
        0 => Ok(vec![wanted.to_owned()]),
        1 => Ok(fitting),
        _ => Err(ClientError::Usage(format!(
            "--task {wanted} is part of several ids: {}; write more of one",
            fitting.join(", ")
        ))),
    }
}

/// One task's file and how far it has been read.
struct Tail {
    task: String,
    /// `None` until the first look; then the next byte to read.
    offset: Option<u64>,
    /// A line that has not ended yet.
    rest: Vec<u8>,
}

impl Tail {
    fn new(task: String, from_start: bool) -> Tail {
        Tail { task, offset: from_start.then_some(0), rest: Vec::new() }
    }

    fn print_new(
        &mut self,
        api: &Api,
        stream: &str,
        prefixed: bool,
        follow: bool,
    ) -> Result<(), ClientError> {
        let mut seen = 0;
        loop {
            let part = match self.offset {
                Some(offset) => format!("offset={offset}&limit={PART_BYTES}"),
                None => format!("limit={LAST_BYTES}"),
            };
            let path = format!("/v1/tasks/{}/logs?stream={stream}&{part}", self.task);
            let (bytes, size) = match api.bytes(&path, "X-Waymark-Log-Size") {
                // A task that ended while it was followed.
                Err(ClientError::NotFound(_)) if follow && self.offset.is_some() => return Ok(()),
                other => other?,
            };
            let start = match self.offset {
                Some(offset) if offset <= size => offset,
                // The file was rotated: a new one has begun.
                Some(_) => {
                    self.offset = Some(0);
                    continue;
                }
                None => size.saturating_sub(bytes.len() as u64),
            };
            self.offset = Some(start + bytes.len() as u64);
            seen += bytes.len() as u64;
            self.rest.extend_from_slice(&bytes);
            self.print_lines(prefixed, bytes.is_empty() && !follow).map_err(lost)?;
            // A task that writes faster than this reads must not keep the others from being shown.
            if bytes.is_empty() || (follow && seen >= PART_BYTES) {
                return Ok(());
            }
        }
    }

    /// Prints the lines that have ended; at the end also the one that has not.
    fn print_lines(&mut self, prefixed: bool, end: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let complete = self.rest.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let take =
            if end || self.rest.len() > PART_BYTES as usize { self.rest.len() } else { complete };
        for line in self.rest[..take].split_inclusive(|b| *b == b'\n') {
            if prefixed {
                write!(out, "[{}] ", short(&self.task))?;
            }
            out.write_all(line)?;
            if !line.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
        }
        self.rest.drain(..take);
        out.flush()
    }
}

fn lost(error: io::Error) -> ClientError {
    ClientError::Refused(format!("cannot write: {error}"))
}

/// Enough of a task id to tell tasks of one app apart: the beginning of its UUID.
fn short(task: &str) -> &str {
    let (_, uuid) = task.split_once(".instance-").unwrap_or(("", task));
    uuid.get(..8).unwrap_or(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shortened_to_what_differs() {
        assert_eq!(
            short("shop_web.instance-2f6c1a52-0000-11f0-8a3c-0242ac110002._app.1"),
            "2f6c1a52"
        );
        assert_eq!(short("x"), "x");
    }
}
