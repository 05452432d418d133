//! A client's stream and its exchange with a task, both directions, to the end.
//!
//! In: contents and trailers of the request; heads, contents and trailers of the answer. Out: the
//! same on the other side. Nothing is taken from one side that the other has no room for, so a slow
//! receiver slows its sender and holds a bounded number of bytes here.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep};

use super::exchange::{Broken, Exchange, Part};
use super::limits::MAX_INTERIM;
use super::to_h2::poll_send;
use crate::timer;

/// The client's side of an exchange, and what has passed through it.
pub(crate) struct Client {
    pub(crate) respond: SendResponse<Bytes>,
    pub(crate) body: RecvStream,
    /// The answer's stream, once its final head has been sent.
    pub(crate) answer: Option<SendStream<Bytes>>,
    /// Some of the request's contents have been taken: it cannot be sent a second time.
    pub(crate) body_begun: bool,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// How long nothing may move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until the task begins to answer, from when it has the whole request.
    pub(crate) response: Duration,
    /// Whoever is waited for, of the request's contents before that and of an answer's.
    pub(crate) contents: Duration,
    /// Whoever is waited for, after the task has agreed (2xx).
    pub(crate) agreed: Duration,
}

/// Why an exchange was given up.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The client reset the stream or went away.
    #[error("cancelled by the client")]
    Cancelled,
    /// The client sent, or took, nothing for too long.
    #[error("the client stands still")]
    ClientIdle,
    /// The task did not begin to answer in time.
    #[error("no answer in time")]
    Late,
    /// The task went on with nothing for too long.
    #[error("the answer stands still")]
    TaskIdle,
    /// The exchange broke on the task's side.
    #[error(transparent)]
    Task(#[from] Broken),
}

impl Client {
    pub(crate) fn new(respond: SendResponse<Bytes>, body: RecvStream) -> Client {
        Client { respond, body, answer: None, body_begun: false, bytes_in: 0, bytes_out: 0 }
    }

    /// Ready when the client has reset the stream or is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.answer {
            Some(answer) => answer.poll_reset(cx).map(|_| ()),
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }
}

/// Carries both directions until the answer is complete. `scratch` is read into and empty between
/// two waits; `edit` gets each head before the client.
pub(crate) async fn pump<E: Exchange>(
    scratch: &RefCell<Box<[u8]>>,
    client: &mut Client,
    exchange: &mut E,
    patience: Patience,
    edit: impl FnMut(&mut Response<()>),
) -> Result<(), Failure> {
    let tick = patience.response.min(patience.contents).min(patience.agreed) / TICKS;
    let sleep = pin!(sleep(tick));
    let mut clock = Clock { sleep, tick, quiet: Duration::ZERO, moved: false, armed: false };
    let up = if client.body.is_end_stream() { Up::Done } else { Up::Read };
    let down = Down::Head;
    let (agreed, interim, moved) = (false, 0, false);
    let mut pump = Pump { client, exchange, edit, up, down, agreed, interim, moved };
    poll_fn(|cx| {
        let scratch = &mut *scratch.borrow_mut();
        if let Poll::Ready(end) = pump.poll(cx, scratch) {
            return Poll::Ready(end);
        }
        let moved = std::mem::take(&mut pump.moved);
        ready!(clock.poll(cx, moved, pump.limit(patience)));
        Poll::Ready(Err(pump.tardy()))
    })
    .await
}

struct Pump<'a, E, F> {
    client: &'a mut Client,
    exchange: &'a mut E,
    edit: F,
    up: Up,
    down: Down,
    /// The final head has come, and it is 2xx.
    agreed: bool,
    /// Heads that came before it.
    interim: usize,
    /// Whether anything moved since this was last looked at.
    moved: bool,
}

/// Where the request is.
enum Up {
    /// More may come from the client.
    Read,
    /// This waits for the task; so long in the client's window.
    Send(Bytes, usize),
    /// All has come; the task may not have all.
    Flush,
    /// All is with the task, or it wants no more.
    Done,
}

/// Where the answer is.
enum Down {
    Head,
    Part,
    /// This waits for the client; so long in the task's window.
    Send(Bytes, usize),
    Done,
}

impl<E: Exchange, F: FnMut(&mut Response<()>)> Pump<'_, E, F> {
    fn poll(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<(), Failure>> {
        match self.poll_up(cx) {
            Poll::Ready(Err(failure @ Failure::Cancelled)) => return Poll::Ready(Err(failure)),
            // A task may answer before it has the whole request, and take no more of it.
            Poll::Ready(_) => self.up = Up::Done,
            Poll::Pending => {}
        }
        let awaited = matches!(self.down, Down::Head);
        if let Poll::Ready(end) = self.poll_down(cx, scratch) {
            return Poll::Ready(end);
        }
        if awaited && matches!(self.down, Down::Part) {
            // What waited for the task to agree to an upgrade can go now.
            cx.waker().wake_by_ref();
        }
        self.client.poll_gone(cx).map(|()| Err(Failure::Cancelled))
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            match &mut self.up {
                Up::Read => match self.client.body.poll_data(cx) {
                    Poll::Ready(Some(Ok(data))) => {
                        self.client.body_begun = true;
                        self.client.bytes_in += data.len() as u64;
                        let length = data.len();
                        self.up = Up::Send(data, length);
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Failure::Cancelled)),
                    Poll::Ready(None) => {
                        let trailers = ready!(self.client.body.poll_trailers(cx));
                        let trailers = trailers.map_err(|_| Failure::Cancelled)?;
                        self.client.body_begun = true;
                        self.exchange.finish(trailers)?;
                        self.up = Up::Flush;
                    }
                    Poll::Pending => {
                        ready!(self.exchange.poll_flush(cx))?;
                        return Poll::Pending;
                    }
                },
                Up::Send(data, length) => {
                    ready!(self.exchange.poll_send(cx, data))?;
                    self.moved = true;
                    // It fails only for more than has arrived.
                    let _ = self.client.body.flow_control().release_capacity(*length);
                    self.up = Up::Read;
                }
                Up::Flush => {
                    ready!(self.exchange.poll_flush(cx))?;
                    self.moved = true;
                    self.up = Up::Done;
                }
                Up::Done => {
                    // The head alone may still be to be written.
                    return self.exchange.poll_flush(cx).map_err(Failure::Task);
                }
            }
        }
    }

    fn poll_down(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<(), Failure>> {
        loop {
            match &mut self.down {
                Down::Head => {
                    let head = ready!(self.exchange.poll_head(cx, scratch))?;
                    self.moved = true;
                    self.head(head)?;
                }
                Down::Part => match ready!(self.exchange.poll_part(cx, scratch))? {
                    Part::Data(data) => {
                        let length = data.len();
                        self.client.bytes_out += length as u64;
                        self.down = Down::Send(data, length);
                    }
                    Part::End(trailers) => {
                        let answer = self.client.answer.as_mut().ok_or(Failure::Cancelled)?;
                        match trailers {
                            Some(trailers) => answer.send_trailers(trailers),
                            None => answer.send_data(Bytes::new(), true),
                        }
                        .map_err(|_| Failure::Cancelled)?;
                        self.down = Down::Done;
                    }
                },
                Down::Send(data, length) => {
                    let answer = self.client.answer.as_mut().ok_or(Failure::Cancelled)?;
                    let last = self.exchange.is_complete();
                    ready!(poll_send_last(answer, cx, data, last))
                        .map_err(|_| Failure::Cancelled)?;
                    self.moved = true;
                    self.exchange.release(*length);
                    self.down = if last { Down::Done } else { Down::Part };
                }
                Down::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Passes a head on.
    fn head(&mut self, mut head: Response<()>) -> Result<(), Failure> {
        (self.edit)(&mut head);
        if head.status().is_informational() {
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(Broken::Answer("too many interim heads").into());
            }
            return self.client.respond.send_informational(head).map_err(|_| Failure::Cancelled);
        }
        self.agreed = head.status().is_success();
        let end = self.exchange.is_complete();
        let answer = self.client.respond.send_response(head, end);
        self.client.answer = Some(answer.map_err(|_| Failure::Cancelled)?);
        self.down = if end { Down::Done } else { Down::Part };
        Ok(())
    }

    /// How long whoever is waited for may take.
    fn limit(&self, patience: Patience) -> Duration {
        match (&self.up, &self.down) {
            (Up::Done, Down::Head) => patience.response,
            _ if self.agreed => patience.agreed,
            _ => patience.contents,
        }
    }

    /// Who took too long.
    fn tardy(&self) -> Failure {
        match (&self.up, &self.down) {
            (_, Down::Send(..)) | (Up::Read, Down::Head) => Failure::ClientIdle,
            (_, Down::Head) => Failure::Late,
            _ => Failure::TaskIdle,
        }
    }
}

/// As [`poll_send`], and ends the stream with the last of it if `last`.
fn poll_send_last(
    answer: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    data: &mut Bytes,
    last: bool,
) -> Poll<Result<(), h2::Error>> {
    if last {
        answer.reserve_capacity(data.len());
        if answer.capacity() >= data.len() {
            return Poll::Ready(answer.send_data(std::mem::take(data), true));
        }
    }
    ready!(poll_send(answer, cx, data))?;
    Poll::Ready(if last { answer.send_data(Bytes::new(), true) } else { Ok(()) })
}

/// The clock is looked at this often in the shortest wait; no clock is read for a byte.
const TICKS: u32 = 4;

/// Fires when nothing has moved for a while, at most a tick late.
struct Clock<'a> {
    sleep: Pin<&'a mut Sleep>,
    tick: Duration,
    quiet: Duration,
    moved: bool,
    armed: bool,
}

impl Clock<'_> {
    /// To be called whenever the task wakes; `moved`: something has since.
    fn poll(&mut self, cx: &mut Context<'_>, moved: bool, limit: Duration) -> Poll<()> {
        self.moved |= moved;
        // Once armed the timer has this task's waker, and looking at it is only a load.
        while !self.armed || self.sleep.is_elapsed() {
            if timer::poll(self.sleep.as_mut(), cx).is_pending() {
                self.armed = true;
                break;
            }
            let moved = std::mem::take(&mut self.moved);
            self.quiet = if moved { Duration::ZERO } else { self.quiet + self.tick };
            if self.quiet >= limit {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(Instant::now() + self.tick);
            self.armed = false;
        }
        Poll::Pending
    }
}

/// What a client's stream is reset with.
pub(crate) fn reason(failure: &Failure) -> Reason {
    match failure {
        Failure::Cancelled | Failure::ClientIdle => Reason::CANCEL,
        Failure::Late | Failure::TaskIdle => Reason::INTERNAL_ERROR,
        Failure::Task(broken) => broken.reason(),
    }
}
