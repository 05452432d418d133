//! An exchange with a task that speaks HTTP/2: one stream of a connection that others use too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};

use super::connections::{Load, Shared};
use super::exchange::{Broken, Exchange, Part};

/// One stream. Dropped before its end it is reset with CANCEL.
pub(crate) struct ToH2 {
    send: SendStream<Bytes>,
    answer: Answer,
    _load: Load,
}

enum Answer {
    Awaited(ResponseFuture),
    Begun(RecvStream),
}

impl ToH2 {
    /// Opens a stream. `end`: the request has no contents.
    pub(crate) fn open(
        connection: &mut Shared,
        request: Request<()>,
        end: bool,
    ) -> Result<ToH2, Broken> {
        // Whatever keeps a stream from being opened, nothing of it has been sent.
        let opened =
            connection.sender.send_request(request, end).map_err(|_| Broken::NotProcessed)?;
        let (answer, send) = opened;
        Ok(ToH2 { send, answer: Answer::Awaited(answer), _load: connection.load() })
    }
}

impl Exchange for ToH2 {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<Result<(), Broken>> {
        poll_send(&mut self.send, cx, data).map_err(broken)
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken> {
        match trailers {
            Some(trailers) => self.send.send_trailers(trailers),
            None => self.send.send_data(Bytes::new(), true),
        }
        .map_err(broken)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        // The connection's own task writes.
        Poll::Ready(Ok(()))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<Result<Response<()>, Broken>> {
        let Answer::Awaited(answer) = &mut self.answer else {
            return Poll::Ready(Err(Broken::Answer("its head was read before")));
        };
        if let Some(informational) = ready!(answer.poll_informational(cx)) {
            return Poll::Ready(informational.map_err(broken));
        }
        let (parts, body) = ready!(Pin::new(answer).poll(cx)).map_err(broken)?.into_parts();
        self.answer = Answer::Begun(body);
        Poll::Ready(Ok(Response::from_parts(parts, ())))
    }

    fn poll_part(&mut self, cx: &mut Context<'_>, _: &mut [u8]) -> Poll<Result<Part, Broken>> {
        let Answer::Begun(body) = &mut self.answer else {
            return Poll::Ready(Err(Broken::Answer("contents before the head")));
        };
        match ready!(body.poll_data(cx)) {
            Some(data) => Poll::Ready(data.map(Part::Data).map_err(broken)),
            None => body.poll_trailers(cx).map_ok(Part::End).map_err(broken),
        }
    }

    fn is_complete(&self) -> bool {
        matches!(&self.answer, Answer::Begun(body) if body.is_end_stream())
    }

    fn release(&mut self, length: usize) {
        if let Answer::Begun(body) = &mut self.answer {
            // It fails only for more than has arrived.
            let _ = body.flow_control().release_capacity(length);
        }
    }
}

/// Sends as the window allows; ready when all of `data` has been taken.
pub(crate) fn poll_send(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    data: &mut Bytes,
) -> Poll<Result<(), h2::Error>> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = match stream.capacity() {
            0 => match ready!(stream.poll_capacity(cx)) {
                Some(capacity) => capacity?,
                // The stream is closed; why is said by whoever reads from it.
                None => return Poll::Ready(Err(Reason::CANCEL.into())),
            },
            capacity => capacity,
        };
        let part = data.split_to(capacity.min(data.len()));
        stream.send_data(part, false)?;
    }
    Poll::Ready(Ok(()))
}

fn broken(error: h2::Error) -> Broken {
    match error.reason() {
        // A server that goes away says by this which streams it will not look at (RFC 9113 §6.8).
        _ if error.is_go_away() && error.is_remote() => Broken::NotProcessed,
        Some(Reason::REFUSED_STREAM) if error.is_remote() => Broken::NotProcessed,
        Some(reason) if error.is_remote() => Broken::Reset(reason),
        Some(_) if error.is_library() => Broken::Answer("a rule of HTTP/2 was broken"),
        Some(reason) => Broken::Reset(reason),
        None => Broken::Connection(error.into_io().unwrap_or(io::ErrorKind::BrokenPipe.into())),
    }
}
