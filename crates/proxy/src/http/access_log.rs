//! A line for every request, in the Common Log Format with a little more, in the Combined one, or as
//! JSON, to standard output or a file. A request has its line when it is over: an upgraded one, or a
//! stream, when its last byte has gone.
//!
//! Workers append lines to one bounded buffer; a thread of its own writes them, some at a time. When
//! it cannot keep up, lines are dropped and counted, never requests delayed. A file that was renamed
//! or removed (logrotate) is opened anew within a second, or when told so.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::warn;

use crate::config::{AccessLog as Settings, AccessLogFormat as Format};

/// Bytes of lines that wait to be written, at most; what comes then is dropped.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(50);

/// How often it is looked whether the file is still the one with its name.
const LOOK: Duration = Duration::from_secs(1);

/// The longest text of one part of a line (target, user agent …), in bytes; the rest is cut off.
const MAX_PART: usize = 2048;

const CLF_TIME: &[BorrowedFormatItem<'_>] = format_description!(
    "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
);
const JSON_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The access log of all workers.
#[derive(Debug)]
pub(crate) struct AccessLog {
    format: Format,
    waiting: Mutex<Vec<u8>>,
    filled: Condvar,
    dropped: AtomicU64,
    /// The file is to be opened anew before the next line.
    reopen: AtomicBool,
}

/// A request, when its head has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) source: IpAddr,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) target: &'a str,
    /// `HTTP/1.1`
    pub(crate) protocol: &'static str,
    pub(crate) referer: Option<&'a [u8]>,
    pub(crate) user_agent: Option<&'a [u8]>,
}

/// The beginning of a line, kept until the request is over.
#[derive(Debug)]
pub(crate) struct Begun {
    line: Vec<u8>,
    /// What comes behind the status and the bytes.
    tail: Vec<u8>,
}

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended<'a> {
    /// 0 = the client was gone before there was an answer.
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration: Duration,
    /// The pool's name; empty = it met no route.
    pub(crate) service: &'a str,
    pub(crate) task: Option<SocketAddr>,
    /// Why Waymark answered itself; empty = the task did.
    pub(crate) reason: &'a str,
}

impl AccessLog {
    /// Starts the thread that writes; it ends when the log is dropped.
    pub(crate) fn start(settings: &Settings) -> io::Result<Arc<AccessLog>> {
        let log = Arc::new(AccessLog {
            format: settings.format,
            waiting: Mutex::default(),
            filled: Condvar::new(),
            dropped: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
        });
        let (lines, sink) = (Arc::downgrade(&log), Sink::new(settings.file.clone()));
        thread::Builder::new().name("access-log".into()).spawn(move || write_all(&lines, sink))?;
        Ok(log)
    }

    /// Lines that were not written because the file could not keep up or could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Has the file opened anew: what is written from now on goes to the one that has its name.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Begins a line.
    pub(crate) fn begin(&self, asked: &Asked<'_>) -> Box<Begun> {
        let (mut line, mut tail) = (Vec::with_capacity(256), Vec::new());
        let now = OffsetDateTime::now_utc();
        // Writing to memory does not fail.
        let _ = match self.format {
            Format::Common => begin_common(&mut line, asked, now),
            Format::Combined => {
                write_quoted(&mut tail, asked.referer);
                write_quoted(&mut tail, asked.user_agent);
                begin_common(&mut line, asked, now)
            }
            Format::Json => begin_json(&mut line, asked, now),
        };
        Box::new(Begun { line, tail })
    }

    /// Ends it.
    pub(crate) fn end(&self, begun: &Begun, ended: &Ended<'_>) {
        let mut line = begun.line.clone();
        let _ = match self.format {
            Format::Common => end_common(&mut line, ended),
            Format::Combined => end_combined(&mut line, ended, &begun.tail),
            Format::Json => end_json(&mut line, ended),
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + line.len() > MAX_WAITING {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let first = waiting.is_empty();
        waiting.extend_from_slice(&line);
        drop(waiting);
        if first {
            self.filled.notify_one();
        }
    }

    /// What waits, once there is something or `LOOK` has passed.
    fn take(&self) -> Vec<u8> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, _) = self
            .filled
            .wait_timeout_while(waiting, LOOK, |waiting| waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut waiting)
    }
}

fn write_all(log: &Weak<AccessLog>, mut sink: Sink) {
    // When the log is gone, what it held at last has been taken: nobody can add to it any more.
    while let Some(log) = log.upgrade() {
        let lines = log.take();
        if log.reopen.swap(false, Relaxed) {
            sink.file = None;
        }
        if !lines.is_empty() && !sink.write(&lines) {
            let count = memchr::memchr_iter(b'\n', &lines).count();
            log.dropped.fetch_add(count as u64, Relaxed);
        }
        drop(log);
        thread::sleep(GATHER);
    }
}

/// Where lines go.
struct Sink {
    path: Option<PathBuf>,
    file: Option<File>,
    looked: Instant,
    failed: bool,
}

impl Sink {
    fn new(path: Option<PathBuf>) -> Sink {
        Sink { path, file: None, looked: Instant::now(), failed: false }
    }

    /// Whether it was written. A failure is logged once, until it succeeds again.
    fn write(&mut self, lines: &[u8]) -> bool {
        match self.try_write(lines) {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    warn!(%error, path = ?self.path, "the access log cannot be written: lines are lost");
                }
                self.file = None;
            }
        }
        !self.failed
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(path) = &self.path else { return io::stdout().lock().write_all(lines) };
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.file.take_if(|file| !is_at(file, path));
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(OpenOptions::new().append(true).create(true).open(path)?),
        };
        file.write_all(lines)
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), path.metadata()) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

fn begin_common(line: &mut Vec<u8>, asked: &Asked<'_>, now: OffsetDateTime) -> io::Result<()> {
    let time = now.format(CLF_TIME).unwrap_or_default();
    write!(line, "{} - - [{time}] \"{} ", asked.source.to_canonical(), asked.method)?;
    write_escaped(line, asked.target.as_bytes());
    write!(line, " {}\"", asked.protocol)
}

/// What a client sent, so that it can neither end the quotes nor the line (as nginx writes it).
fn write_escaped(line: &mut Vec<u8>, text: &[u8]) {
    for byte in cut(text) {
        match byte {
            0x20..0x7f if !matches!(byte, b'"' | b'\\') => line.push(*byte),
            // Writing to memory does not fail.
            _ => drop(write!(line, "\\x{byte:02X}")),
        }
    }
}

fn write_quoted(line: &mut Vec<u8>, text: Option<&[u8]>) {
    line.extend_from_slice(b" \"");
    write_escaped(line, text.unwrap_or(b"-"));
    line.push(b'"');
}

/// Status and bytes, as everywhere.
fn end_plain(line: &mut Vec<u8>, ended: &Ended<'_>) -> io::Result<()> {
    write!(line, " {} {}", or_dash(ended.status), or_dash(ended.bytes_out))
}

/// Then where the client came from and what it is, and nothing else: the format is a fixed one.
fn end_combined(line: &mut Vec<u8>, ended: &Ended<'_>, tail: &[u8]) -> io::Result<()> {
    end_plain(line, ended)?;
    line.extend_from_slice(tail);
    writeln!(line)
}

/// Then the service, the task, and milliseconds.
fn end_common(line: &mut Vec<u8>, ended: &Ended<'_>) -> io::Result<()> {
    end_plain(line, ended)?;
    let service = if ended.service.is_empty() { "-" } else { ended.service };
    let task = ended.task.map_or_else(|| "-".to_owned(), |task| task.to_string());
    writeln!(line, " {service} {task} {:.3}", ended.duration.as_secs_f64() * 1000.0)
}

fn begin_json(line: &mut Vec<u8>, asked: &Asked<'_>, now: OffsetDateTime) -> io::Result<()> {
    let time = now.format(JSON_TIME).unwrap_or_default();
    write!(line, "{{\"time\":\"{time}\",\"source\":\"{}\"", asked.source.to_canonical())?;
    let parts = [
        ("method", Some(asked.method.as_bytes())),
        ("host", Some(asked.host.as_bytes())),
        ("target", Some(asked.target.as_bytes())),
        ("protocol", Some(asked.protocol.as_bytes())),
        ("referer", asked.referer),
        ("userAgent", asked.user_agent),
    ];
    for (name, value) in parts {
        let Some(value) = value else { continue };
        write!(line, ",\"{name}\":")?;
        serde_json::to_writer(&mut *line, &String::from_utf8_lossy(cut(value)))?;
    }
    Ok(())
}

fn end_json(line: &mut Vec<u8>, ended: &Ended<'_>) -> io::Result<()> {
    let millis = ended.duration.as_secs_f64() * 1000.0;
    write!(
        line,
        ",\"status\":{},\"bytesIn\":{},\"bytesOut\":{},\"milliseconds\":{millis:.3}",
        ended.status, ended.bytes_in, ended.bytes_out
    )?;
    for (name, value) in [("service", ended.service), ("reason", ended.reason)] {
        if !value.is_empty() {
            write!(line, ",\"{name}\":")?;
            serde_json::to_writer(&mut *line, value)?;
        }
    }
    if let Some(task) = ended.task {
        write!(line, ",\"task\":\"{task}\"")?;
    }
    line.extend_from_slice(b"}\n");
    Ok(())
}

fn cut(part: &[u8]) -> &[u8] {
    part.get(..MAX_PART).unwrap_or(part)
}

fn or_dash(number: impl Into<u64>) -> String {
    match number.into() {
        0 => "-".to_owned(),
        number => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked {
        source: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        method: "GET",
        host: "a.test",
        target: "/x\"y",
        protocol: "HTTP/1.1",
        referer: None,
        user_agent: Some(b"curl\xff\n"),
    };
    const ENDED: Ended<'_> = Ended {
        status: 200,
        bytes_in: 0,
        bytes_out: 42,
        duration: Duration::from_micros(1500),
        service: "web_10000",
        task: None,
        reason: "",
    };

    fn log(format: Format, file: &Path) -> Arc<AccessLog> {
        AccessLog::start(&Settings { file: Some(file.to_owned()), format }).unwrap()
    }

    fn wait_for(file: &Path, what: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if what(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "{text}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn lines_are_written_and_a_renamed_file_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        let log = log(Format::Common, &file);
        log.end(&log.begin(&ASKED), &ENDED);
        let text = wait_for(&file, |text| text.ends_with('\n'));
        assert!(text.starts_with("10.0.0.1 - - ["), "{text}");
        assert!(
            text.ends_with("+0000] \"GET /x\\x22y HTTP/1.1\" 200 42 web_10000 - 1.500\n"),
            "{text}"
        );
        std::fs::rename(&file, folder.path().join("access.log.1")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !file.exists() {
            assert!(Instant::now() < deadline);
            log.end(&log.begin(&ASKED), &ENDED);
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn a_combined_line_is_what_its_readers_expect() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        let log = log(Format::Combined, &file);
        log.end(&log.begin(&ASKED), &ENDED);
        log.end(&log.begin(&Asked { referer: Some(b"http://b/\""), ..ASKED }), &ENDED);
        let text = wait_for(&file, |text| text.lines().count() == 2);
        let ends: Vec<&str> =
            text.lines().filter_map(|line| line.split("HTTP/1.1").nth(1)).collect();
        let agent = r#""curl\xFF\x0A""#;
        let expected =
            [format!(r#"" 200 42 "-" {agent}"#), format!(r#"" 200 42 "http://b/\x22" {agent}"#)];
        assert_eq!(ends, expected);
    }

    #[test]
    fn a_file_is_opened_anew_when_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let (file, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log = log(Format::Common, &file);
        log.end(&log.begin(&ASKED), &ENDED);
        wait_for(&file, |text| text.ends_with('\n'));
        std::fs::rename(&file, &old).unwrap();
        log.reopen();
        log.end(&log.begin(&ASKED), &ENDED);
        wait_for(&file, |text| text.lines().count() == 1);
        assert_eq!(std::fs::read_to_string(&old).unwrap().lines().count(), 1);
    }

    #[test]
    fn json_is_json() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        let log = log(Format::Json, &file);
        log.end(&log.begin(&ASKED), &ENDED);
        let text = wait_for(&file, |text| text.ends_with('\n'));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["target"], "/x\"y");
        assert_eq!(line["userAgent"], "curl\u{fffd}\n");
        assert_eq!((&line["status"], &line["milliseconds"]), (&200.into(), &1.5.into()));
        assert_eq!((&line["service"], line.get("task")), (&"web_10000".into(), None));
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let log = log(Format::Common, Path::new("/nonexistent/access.log"));
        log.end(&log.begin(&ASKED), &ENDED);
        let deadline = Instant::now() + Duration::from_secs(10);
        while log.dropped() == 0 {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(5));
        }
    }
}
