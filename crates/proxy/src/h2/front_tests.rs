//! What a client's connection may do, frame by frame, by a client that does more.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::flood::PREFACE;
use super::front::{Terms, serve};
use super::limits::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://a/` by HPACK's static table and a literal.
const GET: &[u8] = b"\x82\x86\x84\x01\x01a";

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CALM: u32 = 11;

/// A client that writes any frames, and the server it writes them to.
struct Raw {
    io: DuplexStream,
    counters: Rc<Counters>,
    /// Streams that were not answered.
    held: Rc<RefCell<Vec<SendResponse<Bytes>>>>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The code of a reset or of a goodbye.
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

fn terms() -> Terms {
    Terms {
        streams: 4,
        header_list: MAX_HEADER_LIST,
        preface: Duration::from_millis(50),
        idle: Duration::from_secs(60),
        stall: Duration::from_secs(60),
    }
}

impl Raw {
    /// A server that answers `/` with this many bytes, or never.
    fn start(terms: Terms, answer: Option<usize>) -> Raw {
        let (io, server) = duplex(16 * 1024);
        let counters = Rc::new(Counters::default());
        let held = Rc::new(RefCell::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let server = spawn_local({
            let (counters, held) = (counters.clone(), held.clone());
            async move {
                let stop = async move { drop(stopped.await) };
                serve(server, Vec::new(), &terms, &counters, stop, |_, mut respond| {
                    let Some(length) = answer else {
                        held.borrow_mut().push(respond);
                        return None;
                    };
                    Some(async move {
                        let mut send =
                            respond.send_response(Response::new(()), false).expect("open");
                        send.send_data(vec![0; length].into(), true).expect("open");
                    })
                })
                .await;
            }
        });
        Raw { io, counters, held, stop: Some(stop), server }
    }

    async fn greet(&mut self) {
        self.io.write_all(PREFACE).await.expect("open");
        self.send(SETTINGS, 0, 0, &[]).await;
    }

    /// Errors mean that the server has closed; what it said is still to be read.
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let _ = self.io.write_all(&frame).await;
    }

    async fn get(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, GET).await;
    }

    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let read = timeout(Duration::from_secs(10), self.io.read_exact(&mut head)).await;
        read.expect("a frame in time").ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// The next frame of this kind; the others are passed over.
    async fn expect(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection is open");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    async fn closed(&mut self) {
        while self.next().await.is_some() {}
        timeout(Duration::from_secs(10), &mut self.server)
            .await
            .expect("served")
            .expect("no panic");
    }
}

fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.expect("runtime"), test);
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[test]
fn a_request_is_answered() {
    local(async {
        let mut client = Raw::start(terms(), Some(5));
        client.greet().await;
        client.get(1).await;
        let data = client.expect(DATA).await;
        assert_eq!((data.stream, data.flags, data.payload.len()), (1, END_STREAM, 5));
        assert_eq!(value(&client.counters.connections), 1);
        assert_eq!(value(&client.counters.streams), 1);
    });
}

#[test]
fn rapid_resets_end_the_connection() {
    local(async {
        let mut client = Raw::start(terms(), None);
        client.greet().await;
        for n in 0..2 * RESET_BURST + 50 {
            client.get(2 * n + 1).await;
            client.send(RESET, 0, 2 * n + 1, &[0, 0, 0, 8]).await;
            // The server looks at each stream, as it does when resets arrive one by one.
            tokio::task::yield_now().await;
            client.held.borrow_mut().clear();
        }
        assert_eq!(client.expect(GOAWAY).await.code(), CALM);
        client.closed().await;
        assert_eq!(value(&client.counters.reset_floods), 1);
    });
}

#[test]
fn resets_in_one_piece_end_the_connection() {
    local(async {
        let mut client = Raw::start(terms(), None);
        client.greet().await;
        for n in 0..u32::try_from(MAX_PENDING_RESETS).expect("small") + 2 {
            client.get(2 * n + 1).await;
            client.send(RESET, 0, 2 * n + 1, &[0, 0, 0, 8]).await;
        }
        assert_eq!(client.expect(GOAWAY).await.code(), CALM);
        client.closed().await;
        assert_eq!(value(&client.counters.protocol_errors), 1);
    });
}

#[test]
fn control_frames_end_the_connection() {
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[])] {
        local(async move {
            let mut client = Raw::start(terms(), None);
            client.greet().await;
            for sent in 0..CONTROL_BURST + 100 {
                client.send(kind, 0, 0, payload).await;
                // Answers are read, so that only their number is at fault; not after each one, which
                // on a busy machine would give the next ones time to be allowed again.
                if sent % 50 == 0 {
                    while timeout(Duration::ZERO, client.next()).await.is_ok_and(|f| f.is_some()) {}
                }
            }
            client.closed().await;
            assert_eq!(value(&client.counters.control_floods), 1);
        });
    }
}

#[test]
fn continuations_end_the_connection() {
    local(async {
        let mut client = Raw::start(terms(), None);
        client.greet().await;
        client.send(HEADERS, END_STREAM, 1, GET).await;
        for _ in 0..50 {
            client.send(CONTINUATION, 0, 1, &[]).await;
        }
        assert_eq!(client.expect(GOAWAY).await.code(), CALM);
        client.closed().await;
        assert_eq!(value(&client.counters.protocol_errors), 1);
    });
}

#[test]
fn a_long_header_list_is_431() {
    local(async {
        let mut client = Raw::start(terms(), Some(1));
        client.greet().await;
        // `x: yyy…`, a literal that is not indexed, five times 16 KiB.
        let mut block = GET.to_vec();
        let length = 15 * 1024u32;
        block.extend(b"\x00\x01x\x7f");
        let rest = length - 127;
        block.extend([(rest & 127) as u8 | 128, (rest >> 7 & 127) as u8]);
        block.resize(block.len() + length as usize, b'y');
        client.send(HEADERS, END_STREAM, 1, &block).await;
        for n in 0..4 {
            let flags = if n == 3 { END_HEADERS } else { 0 };
            client.send(CONTINUATION, flags, 1, &block[GET.len()..]).await;
        }
        let head = client.expect(HEADERS).await;
        // "431" in Huffman's code.
        assert!(
            head.payload.windows(3).any(|bytes| bytes == b"\x69\x90\xff"),
            "{:x?}",
            head.payload
        );
        assert_eq!(head.flags & END_STREAM, END_STREAM);
        assert_eq!(value(&client.counters.streams), 0, "nobody was asked");
    });
}

#[test]
fn a_long_frame_ends_the_connection() {
    local(async {
        let mut client = Raw::start(terms(), None);
        client.greet().await;
        client.send(DATA, 0, 1, &vec![0; MAX_FRAME as usize + 1]).await;
        assert_eq!(client.expect(GOAWAY).await.code(), FRAME_SIZE_ERROR);
        client.closed().await;
        assert_eq!(value(&client.counters.protocol_errors), 1);
    });
}

#[test]
fn one_stream_too_many_is_refused() {
    local(async {
        let mut client = Raw::start(terms(), None);
        client.greet().await;
        client.expect(SETTINGS).await;
        client.send(SETTINGS, ACK, 0, &[]).await;
        for n in 0..5 {
            client.get(2 * n + 1).await;
        }
        let reset = client.expect(RESET).await;
        assert_eq!((reset.stream, reset.code()), (9, REFUSED_STREAM));
        assert_eq!(client.held.borrow().len(), 4);
    });
}

#[test]
fn malformed_requests_are_reset() {
    let fields: [&[u8]; 13] = [
        b"\x00\x01X\x01y",
        b"\x00\x0aconnection\x05close",
        b"\x00\x11transfer-encoding\x07chunked",
        b"\x00\x02te\x04gzip",
        b"\x00\x07upgrade\x03h2c",
        // A length that is not that of the contents.
        b"\x0f\x0d\x015",
        // Bytes that would end a line in HTTP/1, in a value, a name, the path, the method.
        b"\x00\x01x\x06a\r\nb:c",
        b"\x00\x01x\x03a\nb",
        b"\x00\x01x\x03a\0b",
        b"\x00\x03x\r\n\x01y",
        b"\x00\x03a b\x01y",
        // A pseudo-header that stands twice, and one that does not exist.
        b"\x04\x02/x",
        b"\x00\x02:x\x01y",
    ];
    for field in fields {
        local(async move {
            let mut client = Raw::start(terms(), Some(1));
            client.greet().await;
            client.send(HEADERS, END_HEADERS | END_STREAM, 1, &[GET, field].concat()).await;
            let refused = loop {
                let frame = client.next().await.expect("an answer");
                if matches!(frame.kind, RESET | GOAWAY) {
                    break frame.code();
                }
                assert_ne!(frame.kind, HEADERS, "{field:?} was answered");
            };
            assert_eq!(refused, PROTOCOL_ERROR, "{field:?}");
            assert_eq!(value(&client.counters.streams), 0, "nobody was asked");
        });
    }
}

#[test]
fn an_idle_client_is_told_to_go() {
    local(async {
        let idle = Duration::from_millis(40);
        let mut client = Raw::start(Terms { idle, ..terms() }, None);
        client.greet().await;
        assert_eq!(client.expect(GOAWAY).await.code(), NO_ERROR);
        assert_eq!(value(&client.counters.idle_closed), 1);
        // Who does not care is closed.
        client.closed().await;
    });
}

#[test]
fn a_client_with_a_stream_is_not_idle() {
    local(async {
        let idle = Duration::from_millis(20);
        let mut client = Raw::start(Terms { idle, ..terms() }, None);
        client.greet().await;
        client.get(1).await;
        let goodbye = timeout(Duration::from_millis(200), client.expect(GOAWAY)).await;
        assert!(goodbye.is_err());
    });
}

#[test]
fn who_takes_nothing_is_closed() {
    local(async {
        let stall = Duration::from_millis(50);
        let mut client = Raw::start(Terms { stall, ..terms() }, Some(60_000));
        client.greet().await;
        client.get(1).await;
        let end = timeout(Duration::from_secs(10), &mut client.server).await;
        end.expect("closed in time").expect("no panic");
        assert_eq!(value(&client.counters.stalled), 1);
    });
}

#[test]
fn a_client_without_a_preface_is_closed() {
    local(async {
        let mut client = Raw::start(terms(), None);
        client.closed().await;
        assert_eq!(value(&client.counters.protocol_errors), 1);
    });
}

#[test]
fn open_streams_end_in_peace_when_it_stops() {
    local(async {
        let mut client = Raw::start(terms(), None);
        client.greet().await;
        client.get(1).await;
        while client.held.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(client.stop.take());
        let goodbye = client.expect(GOAWAY).await;
        assert_eq!(goodbye.code(), NO_ERROR);
        let ping = client.expect(PING).await;
        client.send(PING, ACK, 0, &ping.payload).await;
        let last = client.expect(GOAWAY).await;
        assert_eq!(last.payload[..4], [0, 0, 0, 1]);
        let mut respond = client.held.borrow_mut().pop().expect("held");
        respond.send_response(Response::new(()), true).expect("open");
        drop(respond);
        assert_eq!(client.expect(HEADERS).await.flags & END_STREAM, END_STREAM);
        client.closed().await;
    });
}

#[test]
fn malformed_targets_are_reset() {
    let heads: [&[u8]; 5] = [
        // `:path` with blanks, with a line's end, empty; `:method` that is no token; no `:scheme`.
        b"\x82\x86\x04\x04/ HT\x01\x01a",
        b"\x82\x86\x04\x04/\r\nx\x01\x01a",
        b"\x82\x86\x04\x00\x01\x01a",
        b"\x02\x05GET /\x86\x84\x01\x01a",
        b"\x82\x84\x01\x01a",
    ];
    for head in heads {
        local(async move {
            let mut client = Raw::start(terms(), Some(1));
            client.greet().await;
            client.send(HEADERS, END_HEADERS | END_STREAM, 1, head).await;
            let refused = loop {
                let frame = client.next().await.expect("an answer");
                if matches!(frame.kind, RESET | GOAWAY) {
                    break frame.code();
                }
                assert_ne!(frame.kind, HEADERS, "{head:?} was answered");
            };
            assert_eq!(refused, PROTOCOL_ERROR, "{head:?}");
            assert_eq!(value(&client.counters.streams), 0, "nobody was asked");
        });
    }
}
