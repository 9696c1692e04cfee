//! What a connection receives, frame by frame (RFC 9113, 6).

use http::StatusCode;
use tokio::io::AsyncWrite;

use crate::h1::buffer;
use crate::h1::scan::Framing;
use crate::h2::connection::{Begun, Called, Connection, Given, HEARD, Leaving, Partial, Service, Stop};
use crate::h2::frame::{self, Code, Wrong};
use crate::h2::head::{self, Asked};
use crate::h2::inflow::{Inflow, inflow};
use crate::h2::pipe::pipe;
use crate::h2::streams::{Stream, Work};
use crate::limits;

const fn protocol(why: &'static str) -> Stop {
    let Wrong(code, _) = Wrong(Code::Protocol, why);
    Stop::Wrong(code)
}

impl<S: buffer::Source + AsyncWrite, V: Service> Connection<S, V> {
    /// Takes the frames that are here whole, until so many asked for something that others on this thread, or the other side, which has
    /// to take what comes of it, should have their turn.
    pub(super) fn frames(&mut self) -> Result<(), Stop> {
        // Taken out, so that frames are looked at where they lie.
        let mut input = std::mem::take(&mut self.wire.input);
        let (mut used, before) = (0, self.opened);
        let ended = loop {
            if self.opened - before >= limits::H2_HEADS_AT_ONCE || self.wire.output.is_full() {
                self.paused = true;
                self.crowded |= self.wire.output.is_full();
                self.ring_connection();
                break Ok(());
            }
            let bytes = input.filled().get(used..).unwrap_or_default();
            match self.next(bytes) {
                Ok(0) => break Ok(()),
                Ok(n) => used += n,
                Err(stop) => break Err(stop),
            }
        };
        input.consume(used);
        self.wire.input = input;
        ended
    }

    /// Takes what these bytes begin with; how long it was, 0 when it is not whole.
    fn next(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        if self.begun == Begun::Nothing {
            let whole = bytes.get(..frame::PREFACE.len());
            if whole.is_none() && frame::PREFACE.starts_with(bytes) {
                return Ok(0);
            }
            if whole != Some(frame::PREFACE) {
                return Err(protocol("this is no preface"));
            }
            self.begun = Begun::Preface;
            return Ok(frame::PREFACE.len());
        }
        let Some(head) = frame::Head::of(bytes)? else { return Ok(0) };
        let end = frame::HEAD_BYTES + head.length;
        let Some(payload) = bytes.get(frame::HEAD_BYTES..end) else { return Ok(0) };
        self.take(head, payload)?;
        Ok(end)
    }

    fn take(&mut self, head: frame::Head, payload: &[u8]) -> Result<(), Stop> {
        if self.begun == Begun::Preface {
            if head.kind != frame::SETTINGS || head.is(frame::ACK) {
                return Err(protocol("settings come first"));
            }
            self.begun = Begun::Settings;
            return self.settings(payload);
        }
        // A block is whole before anything else comes (RFC 9113, 6.10).
        if let Some(partial) = &self.partial
            && (head.kind != frame::CONTINUATION || head.stream != partial.stream)
        {
            return Err(protocol("something stands in a header block"));
        }
        match head.kind {
            frame::DATA => self.data(head, payload),
            frame::HEADERS => self.headers(head, payload),
            frame::CONTINUATION => self.continuation(head, payload),
            frame::PRIORITY => self.priority(head.stream, payload),
            frame::RST_STREAM => self.was_reset(head.stream),
            frame::SETTINGS if head.is(frame::ACK) => Ok(self.patience.spend(1)?),
            frame::SETTINGS => {
                // Each window in it is held against every stream.
                let windows = frame::settings(payload).filter(|(name, _)| *name == frame::SETTING_WINDOW).count();
                let windows = u32::try_from(windows.max(1)).unwrap_or(u32::MAX);
                self.patience.spend(limits::H2_PATIENCE_DEAR.saturating_mul(windows))?;
                self.settings(payload)
            }
            frame::PING => self.ping(head, payload),
            frame::GOAWAY => Ok(self.patience.spend(1)?),
            frame::WINDOW_UPDATE => self.window(head.stream, frame::number(payload) & frame::LARGEST_STREAM),
            _ => Ok(self.patience.spend(1)?),
        }
    }

    fn settings(&mut self, payload: &[u8]) -> Result<(), Stop> {
        for (name, value) in frame::settings(payload) {
            let wrong = |is: bool, code| if is { Err(Stop::Wrong(code)) } else { Ok(()) };
            match name {
                // Whatever its size is, we use none, and say so where it could be smaller than one that might be in use.
                frame::SETTING_TABLE => self.sending.no_table = true,
                frame::SETTING_PUSH => wrong(value > 1, Code::Protocol)?,
                frame::SETTING_WINDOW => {
                    let value = i64::from(value);
                    wrong(value > frame::LARGEST_WINDOW, Code::FlowControl)?;
                    let by = value - std::mem::replace(&mut self.sending.initial, value);
                    for (_, stream) in self.streams.iter_mut() {
                        stream.window += by;
                        wrong(stream.window > frame::LARGEST_WINDOW, Code::FlowControl)?;
                    }
                    self.room_was_made();
                }
                frame::SETTING_FRAME => {
                    let fits = (limits::H2_FRAME_BYTES_MAX..1 << 24).contains(&usize::try_from(value).unwrap_or(usize::MAX));
                    wrong(!fits, Code::Protocol)?;
                }
                _ => {}
            }
        }
        frame::write_head(&mut self.wire.output.bytes, 0, frame::SETTINGS, frame::ACK, 0);
        Ok(())
    }

    fn ping(&mut self, head: frame::Head, payload: &[u8]) -> Result<(), Stop> {
        if !head.is(frame::ACK) {
            self.patience.spend(1)?;
            frame::write_ping(&mut self.wire.output.bytes, frame::ACK, payload);
        } else if payload == HEARD && self.leaving == Leaving::Told {
            self.take_no_more();
        } else {
            self.patience.spend(1)?;
        }
        Ok(())
    }

    fn priority(&mut self, stream: u32, payload: &[u8]) -> Result<(), Stop> {
        self.patience.spend(1)?;
        if payload.len() != 5 {
            return Err(Stop::Wrong(Code::FrameSize));
        }
        depends(stream, payload)
    }

    fn window(&mut self, id: u32, by: u32) -> Result<(), Stop> {
        self.patience.spend(1)?;
        if id == 0 {
            if by == 0 {
                return Err(protocol("a window is opened by nothing"));
            }
            let before = self.sending.window;
            self.sending.window += i64::from(by);
            if self.sending.window > frame::LARGEST_WINDOW {
                return Err(Stop::Wrong(Code::FlowControl));
            }
            if before <= 0 {
                self.room_was_made();
            }
            return Ok(());
        }
        let Some(at) = self.streams.find(id) else { return self.known(id) };
        if by == 0 {
            return self.provoked(id, Code::Protocol);
        }
        if let Some(stream) = self.streams.get(at) {
            stream.window += i64::from(by);
            if stream.window > frame::LARGEST_WINDOW {
                return self.provoked(id, Code::FlowControl);
            }
        }
        self.ring(at);
        Ok(())
    }

    /// A frame on a stream that is not open is one too many, or one too early.
    fn known(&self, id: u32) -> Result<(), Stop> {
        if id > self.last || id.is_multiple_of(2) { Err(protocol("a stream was not opened")) } else { Ok(()) }
    }

    fn was_reset(&mut self, id: u32) -> Result<(), Stop> {
        let Some(at) = self.streams.find(id) else {
            self.patience.spend(1)?;
            return self.known(id);
        };
        let now = self.alive.heard;
        let price = self.streams.get(at).map_or(0, |stream| match stream.is_answered {
            _ if now - stream.since >= limits::H2_GIVEN_UP_EARLY => 0,
            true => 1,
            false => limits::H2_PATIENCE_DEAR,
        });
        self.drop_stream(at, false);
        Ok(self.patience.spend(price)?)
    }

    fn data(&mut self, head: frame::Head, payload: &[u8]) -> Result<(), Stop> {
        let bytes = frame::unpadded(head, payload)?;
        self.room -= i64::try_from(head.length).unwrap_or(i64::MAX);
        if self.room < 0 {
            return Err(Stop::Wrong(Code::FlowControl));
        }
        let last = head.is(frame::END_STREAM);
        if bytes.is_empty() && !last {
            self.patience.spend(1)?;
        }
        let Some(at) = self.streams.find(head.stream) else {
            self.known(head.stream)?;
            self.throw_away(head.length);
            // What we ended early the other side may not have known of.
            return if self.streams.was(head.stream) == Some(true) { Ok(()) } else { Err(Stop::Wrong(Code::StreamClosed)) };
        };
        let Some(stream) = self.streams.get(at) else { return Ok(()) };
        stream.room -= i64::try_from(head.length).unwrap_or(i64::MAX);
        let n = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let fits = stream.expected.is_none_or(|expected| if last { n == expected } else { n <= expected });
        let code = match &stream.source {
            _ if stream.is_whole => Some(Code::StreamClosed),
            None => Some(Code::StreamClosed),
            Some(_) if stream.room < 0 => Some(Code::FlowControl),
            Some(_) if !fits => Some(Code::Protocol),
            Some(source) => {
                stream.expected = stream.expected.map(|expected| expected - n);
                source.put(bytes);
                stream.read += head.length - bytes.len();
                None
            }
        };
        if let Some(code) = code {
            self.throw_away(head.length);
            return self.provoked(head.stream, code);
        }
        // Padding is read as it comes.
        self.read += head.length - bytes.len();
        self.open_windows(at);
        if last {
            self.came_whole(at, None);
        }
        Ok(())
    }

    /// Nothing more comes on a stream.
    fn came_whole(&mut self, at: usize, trailers: Option<http::HeaderMap>) {
        let Some(stream) = self.streams.get(at) else { return };
        stream.is_whole = true;
        if let Some(source) = &stream.source {
            source.end(trailers);
        }
        self.ring(at);
    }

    fn headers(&mut self, head: frame::Head, payload: &[u8]) -> Result<(), Stop> {
        let mut block = frame::unpadded(head, payload)?;
        if head.is(frame::WITH_PRIORITY) {
            let (priority, rest) = block.split_at_checked(5).ok_or(Stop::Wrong(Code::FrameSize))?;
            depends(head.stream, priority)?;
            block = rest;
        }
        let last = head.is(frame::END_STREAM);
        if head.is(frame::END_HEADERS) {
            return self.header_block(head.stream, last, block);
        }
        self.partial = Some(Partial { stream: head.stream, last, bytes: block.to_vec(), pieces: 0 });
        Ok(())
    }

    fn continuation(&mut self, head: frame::Head, payload: &[u8]) -> Result<(), Stop> {
        let mut partial = self.partial.take().ok_or(protocol("nothing is continued"))?;
        partial.pieces += 1;
        if partial.pieces > limits::H2_CONTINUATIONS_MAX || partial.bytes.len() + payload.len() > limits::H2_BLOCK_BYTES_MAX {
            return Err(Stop::Wrong(Code::Calm));
        }
        partial.bytes.extend_from_slice(payload);
        if head.is(frame::END_HEADERS) {
            return self.header_block(partial.stream, partial.last, &partial.bytes);
        }
        self.partial = Some(partial);
        Ok(())
    }

    /// A whole header block: of a request, or of trailers.
    fn header_block(&mut self, id: u32, last: bool, bytes: &[u8]) -> Result<(), Stop> {
        self.block.clear();
        self.decoder.decode(bytes, &mut self.block).map_err(|_| Stop::Wrong(Code::Compression))?;
        if id.is_multiple_of(2) {
            return Err(protocol("a client opens streams of odd numbers"));
        }
        if let Some(at) = self.streams.find(id) {
            return self.trailers(at, id, last);
        }
        if id <= self.last {
            return match self.streams.was(id) {
                Some(true) => Ok(()),
                Some(false) => Err(Stop::Wrong(Code::StreamClosed)),
                None => Err(protocol("a stream is older than one that was opened")),
            };
        }
        self.last = id;
        self.opened += 1;
        if self.leaving == Leaving::Last {
            return self.not_taken(id);
        }
        self.request(id, last)
    }

    fn trailers(&mut self, at: usize, id: u32, last: bool) -> Result<(), Stop> {
        let Some(stream) = self.streams.get(at) else { return Ok(()) };
        if stream.is_whole {
            return self.provoked(id, Code::StreamClosed);
        }
        let short = stream.expected.is_some_and(|expected| expected > 0);
        match head::trailers(&self.block) {
            Ok(trailers) if last && !short => self.came_whole(at, Some(trailers)),
            _ => return self.provoked(id, Code::Protocol),
        }
        Ok(())
    }

    /// A stream that is not looked at: its caller may try again elsewhere (RFC 9113, 8.7).
    fn not_taken(&mut self, id: u32) -> Result<(), Stop> {
        self.patience.spend(limits::H2_PATIENCE_DEAR)?;
        frame::write_numbers(&mut self.wire.output.bytes, frame::RST_STREAM, id, &[Code::Refused as u32]);
        self.streams.remember(id, true);
        Ok(())
    }

    fn request(&mut self, id: u32, last: bool) -> Result<(), Stop> {
        let Some((at, rings)) = self.streams.free() else { return self.not_taken(id) };
        self.block.join_cookies();
        let mut stream = Stream::new(id, self.alive.heard, self.sending.initial, last);
        let (head, framing) = match head::request(&self.block, last) {
            Err(head::Wrong::Malformed(why)) => {
                drop(self.refused(why, StatusCode::BAD_REQUEST));
                return self.provoked(id, Code::Protocol);
            }
            Err(head::Wrong::Refused((why, status))) => {
                let response = self.refused(why, status);
                if !last {
                    // What still comes of it is thrown away.
                    stream.source = Some(inflow(Framing::Chunked, rings).1);
                }
                stream.head_only = head::method(&self.block) == Some(b"HEAD");
                stream.answer(response, &mut self.sending, &mut self.wire.output.bytes);
                self.streams.put(at, stream);
                return Ok(());
            }
            Ok(Asked { head, framing, expects_continue }) => {
                stream.waits = expects_continue;
                (head, framing)
            }
        };
        stream.head_only = head.method == "HEAD";
        stream.expected = if let Framing::Fixed(length) = framing { Some(length) } else { None };
        let body = if framing == Framing::None {
            Inflow::none()
        } else {
            let (body, source) = inflow(framing, rings);
            stream.source = Some(source);
            body
        };
        let given = if head.method == "CONNECT" {
            let (pipe, drain) = pipe(body);
            stream.drain = Some(drain);
            Given::Stream(pipe)
        } else {
            Given::Body(body)
        };
        match self.service.call(head, given) {
            Called::Later(task) => stream.work = Work::Asking(task),
            Called::Answer(response) => stream.answer(response, &mut self.sending, &mut self.wire.output.bytes),
        }
        if matches!(stream.work, Work::Sent) && last {
            // It is over before it took a place.
            self.patience.gain(limits::H2_PATIENCE_ANSWER);
            self.streams.remember(id, false);
        } else {
            self.streams.put(at, stream);
        }
        Ok(())
    }
}

/// A stream that depends on itself (RFC 7540, 5.3.1). Priorities have no other meaning here.
fn depends(stream: u32, priority: &[u8]) -> Result<(), Stop> {
    if frame::number(priority) & frame::LARGEST_STREAM == stream { Err(protocol("a stream depends on itself")) } else { Ok(()) }
}
