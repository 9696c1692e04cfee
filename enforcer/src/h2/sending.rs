//! What a stream sends: the head of its answer, the body as far as the windows and the connection have room, trailers, or a tunnel.
//!
//! INVARIANT: no more than both windows allow is ever sent, and a stream holds one piece of its answer at most.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{HeaderMap, HeaderValue};
use http::{Response, StatusCode, header};
use tokio::time::Instant;

use crate::h1::call::Piece;
use crate::h1::write;
use crate::h2::frame::{self, Code};
use crate::h2::hpack;
use crate::h2::pipe::End;
use crate::h2::spelled::Spelled;
use crate::h2::streams::{Reply, Stream, Turn, Work};
use crate::limits;
use crate::tether::Holds;

/// The way out of a connection, as its streams see it.
#[derive(Debug)]
pub(super) struct Sending {
    /// How much may be sent on all streams together.
    pub(super) window: i64,
    /// What every stream begins with.
    pub(super) initial: i64,
    /// The other side has made its table smaller, and is told that we use none.
    pub(super) no_table: bool,
    /// Frames with something in them that were sent since this was looked at.
    pub(super) frames: u32,
    /// Those of them that are small because the other side leaves no more room.
    drips: u32,
    /// How much was in them.
    pub(super) bytes: usize,
}

impl Default for Sending {
    fn default() -> Self {
        Self { window: FIRST_WINDOW, initial: FIRST_WINDOW, no_table: false, frames: 0, drips: 0, bytes: 0 }
    }
}

/// What holds where nobody says another (RFC 9113, 6.9.2).
pub(super) const FIRST_WINDOW: i64 = 65_535;

impl Sending {
    /// Writes a head. What an answer has to say and does not is added.
    fn head(&mut self, out: &mut Vec<u8>, id: u32, (status, headers): (StatusCode, &HeaderMap), length: Option<u64>, last: bool) {
        let at = self.begin(out);
        hpack::write_status(out, status.as_u16());
        write_fields(out, headers);
        if !status.is_informational() {
            if !headers.contains_key(header::DATE) {
                write::with_date(|date| hpack::write_field(out, b"date", date, false));
            }
            if let Some(length) = length.filter(|_| !headers.contains_key(header::CONTENT_LENGTH)) {
                hpack::write_field(out, b"content-length", length.to_string().as_bytes(), false);
            }
        }
        frame::finish_block(out, at, id, last);
    }

    fn spelled(&mut self, out: &mut Vec<u8>, id: u32, head: Spelled, last: bool) {
        let at = self.begin(out);
        head.write(out);
        frame::finish_block(out, at, id, last);
    }

    fn trailers(&mut self, out: &mut Vec<u8>, id: u32, trailers: &HeaderMap) {
        let at = self.begin(out);
        write_fields(out, trailers);
        frame::finish_block(out, at, id, true);
    }

    /// Tells a caller that it may send its body.
    pub(super) fn go_on(&mut self, out: &mut Vec<u8>, id: u32) {
        self.head(out, id, (StatusCode::CONTINUE, &HeaderMap::new()), None, false);
    }

    fn begin(&mut self, out: &mut Vec<u8>) -> usize {
        let at = out.len();
        out.resize(at + frame::HEAD_BYTES, 0);
        if std::mem::take(&mut self.no_table) {
            hpack::write_no_table(out);
        }
        at
    }

    /// How many bytes the next frame of a stream may have.
    fn room(&self, window: i64) -> usize {
        let most = i64::try_from(limits::H2_FRAME_BYTES_MAX).unwrap_or(0);
        usize::try_from(window.min(self.window).min(most)).unwrap_or(0)
    }

    /// How much of the patience with the other side comes back with what was sent since this was asked last.
    pub(super) fn worth(&mut self) -> u32 {
        let (frames, bytes) = (std::mem::take(&mut self.frames) - std::mem::take(&mut self.drips), std::mem::take(&mut self.bytes));
        let bytes = u32::try_from(bytes / limits::H2_PATIENCE_BYTES).unwrap_or(u32::MAX);
        (limits::H2_PATIENCE_FRAME * frames).saturating_add(bytes)
    }

    fn spend(&mut self, window: &mut i64, n: usize) {
        self.bytes += n;
        let all = i64::try_from(n).unwrap_or(i64::MAX);
        *window -= all;
        self.window -= all;
        self.frames += 1;
        if n < limits::H2_DRIP_BYTES && (*window).min(self.window) <= 0 {
            self.drips += 1;
        }
    }
}

fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        // What concerns one connection of HTTP/1 has no place here.
        if *name != header::CONNECTION {
            hpack::write_field(out, name.as_str().as_bytes(), value.as_bytes(), HeaderValue::is_sensitive(value));
        }
    }
}

/// Whether the connection takes no more for now. Heads always find room: there is one for each stream.
fn is_crowded(out: &[u8]) -> bool {
    out.len() >= limits::GATHERED_BYTES_MAX
}

impl<B: Holds> Stream<B> {
    /// Does what can be done for it.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>, sending: &mut Sending, out: &mut Vec<u8>) -> Turn {
        loop {
            match &mut self.work {
                Work::Asking(asking) => match asking.as_mut().poll(cx) {
                    Poll::Pending => return Turn::Waits,
                    Poll::Ready(Reply::Answer(response)) => self.answer(response, sending, out),
                    Poll::Ready(Reply::Spelled(head, body)) => {
                        let last = self.is_last(head.status, &body);
                        sending.spelled(out, self.id, head, last);
                        self.began(body, last);
                    }
                    Poll::Ready(Reply::Tunnel(head, task)) => {
                        sending.spelled(out, self.id, head, false);
                        self.is_answered = true;
                        self.work = Work::Tunnel { task: Some(task), told: false };
                    }
                },
                Work::Answering(_) => match self.pump(cx, sending, out) {
                    Turn::Sent => {}
                    other => return other,
                },
                Work::Tunnel { .. } => return self.carry(cx, sending, out),
                Work::Sent => return self.linger(cx),
            }
        }
    }

    /// Lets the rest of the request come for a little after the answer: some callers take a reset right behind an answer for all of it,
    /// and stop sending by themselves once they have it.
    fn linger(&mut self, cx: &mut Context<'_>) -> Turn {
        if self.is_whole {
            return Turn::Sent;
        }
        let until = *self.lingers.get_or_insert_with(|| Instant::now() + limits::H2_LINGER);
        match self.timer.get_or_insert_default().poll(cx, until) {
            Poll::Pending => Turn::Waits,
            Poll::Ready(()) => Turn::Sent,
        }
    }

    /// Begins an answer.
    pub(super) fn answer(&mut self, response: Response<B>, sending: &mut Sending, out: &mut Vec<u8>) {
        let (parts, body) = response.into_parts();
        let last = self.is_last(parts.status, &body);
        // What HEAD would have got is for the service alone to say.
        let length = body.size_hint().exact().filter(|_| !last);
        sending.head(out, self.id, (parts.status, &parts.headers), length, last);
        self.began(body, last);
    }

    /// Whether a head is all there is of an answer.
    fn is_last(&self, status: StatusCode, body: &B) -> bool {
        self.head_only || body.is_end_stream() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// The head was written.
    fn began(&mut self, body: B, last: bool) {
        self.is_answered = true;
        self.drain = None;
        self.work = if last { Work::Sent } else { Work::Answering(body) };
    }

    /// Sends of its answer what there is room for.
    fn pump(&mut self, cx: &mut Context<'_>, sending: &mut Sending, out: &mut Vec<u8>) -> Turn {
        loop {
            let step = if self.piece.is_empty() { self.next_piece(cx, sending, out) } else { self.send_piece(cx, sending, out) };
            if let ControlFlow::Break(turn) = step {
                if turn == Turn::Sent {
                    self.work = Work::Sent;
                }
                return turn;
            }
        }
    }

    /// Gets the next piece of its answer, and sends with it what there is room for.
    fn next_piece(&mut self, cx: &mut Context<'_>, sending: &mut Sending, out: &mut Vec<u8>) -> ControlFlow<Turn> {
        let Work::Answering(body) = &mut self.work else { return ControlFlow::Break(Turn::Sent) };
        let (room, at) = (sending.room(self.window), out.len());
        let direct = if room > 0 && !is_crowded(out) { body.direct() } else { None };
        let next = match direct {
            Some(answer) => {
                // Written where it leaves from, behind room for the head of its frame.
                out.resize(at + frame::HEAD_BYTES, 0);
                answer.poll_piece(cx, room, out)
            }
            None => Pin::new(body).poll_frame(cx).map(|next| next.map(|frame| frame.map(Piece::of))),
        };
        if let Poll::Ready(Some(Ok(Piece::Data { rest }))) = next {
            self.piece = rest;
            return if out.len() > at { self.sent_data(at, sending, out) } else { ControlFlow::Continue(()) };
        }
        out.truncate(at);
        ControlFlow::Break(match next {
            Poll::Pending => Turn::Waits,
            // A caller must not take what there is for all of it.
            Poll::Ready(Some(Err(_))) => Turn::Broken(Code::Internal),
            Poll::Ready(Some(Ok(Piece::Trailers(trailers)))) => {
                sending.trailers(out, self.id, &trailers);
                Turn::Sent
            }
            Poll::Ready(_) => {
                frame::write_head(out, 0, frame::DATA, frame::END_STREAM, self.id);
                Turn::Sent
            }
        })
    }

    /// Sends of the piece that is here what there is room for.
    fn send_piece(&mut self, cx: &mut Context<'_>, sending: &mut Sending, out: &mut Vec<u8>) -> ControlFlow<Turn> {
        let Work::Answering(body) = &mut self.work else { return ControlFlow::Break(Turn::Sent) };
        let room = sending.room(self.window);
        if room == 0 || is_crowded(out) {
            return ControlFlow::Break(self.hold(cx));
        }
        if let Some(held) = self.held.take() {
            body.take_back(held);
        }
        let at = out.len();
        out.resize(at + frame::HEAD_BYTES, 0);
        out.extend_from_slice(&self.piece.split_to(room.min(self.piece.len())));
        self.sent_data(at, sending, out)
    }

    /// Makes a frame of what stands from `at` on, behind room for its head.
    fn sent_data(&mut self, at: usize, sending: &mut Sending, out: &mut [u8]) -> ControlFlow<Turn> {
        let n = out.len() - at - frame::HEAD_BYTES;
        let last = self.piece.is_empty() && matches!(&self.work, Work::Answering(body) if body.is_end_stream());
        frame::write_head_at(out, at, n, frame::DATA, if last { frame::END_STREAM } else { 0 }, self.id);
        sending.spend(&mut self.window, n);
        if last { ControlFlow::Break(Turn::Sent) } else { ControlFlow::Continue(()) }
    }

    /// Holds a piece that there is no room for, until what ends the answer does.
    fn hold(&mut self, cx: &mut Context<'_>) -> Turn {
        let Work::Answering(body) = &mut self.work else { return Turn::Sent };
        if self.held.is_none() {
            self.held = body.held();
        }
        let over = self.held.as_mut().is_some_and(|held| held.poll_over(cx, &mut self.timer).is_ready());
        if !over {
            return Turn::Crowded;
        }
        if let Some(held) = self.held.take() {
            body.take_back(held);
        }
        Turn::Broken(Code::Cancel)
    }

    /// Moves a tunnel on, and sends of it what there is room for.
    fn carry(&mut self, cx: &mut Context<'_>, sending: &mut Sending, out: &mut Vec<u8>) -> Turn {
        let (Work::Tunnel { task, told }, Some(drain)) = (&mut self.work, &self.drain) else { return Turn::Broken(Code::Internal) };
        loop {
            if task.as_mut().is_some_and(|task| task.as_mut().poll(cx).is_ready()) {
                *task = None;
            }
            if *told {
                // The caller may still have something to say.
                return if task.is_none() { Turn::Sent } else { Turn::Waits };
            }
            let (waits, end) = drain.waits();
            let room = sending.room(self.window);
            match end {
                End::Broken => return Turn::Broken(Code::Cancel),
                End::Open if waits == 0 => return if task.is_none() { Turn::Broken(Code::Cancel) } else { Turn::Waits },
                _ if waits > 0 && (room == 0 || is_crowded(out)) => return Turn::Crowded,
                End::Open | End::Whole => {}
            }
            let n = room.min(waits);
            *told = n == waits && end == End::Whole;
            frame::write_head(out, n, frame::DATA, if *told { frame::END_STREAM } else { 0 }, self.id);
            drain.take(n, out);
            sending.spend(&mut self.window, n);
        }
    }
}
