//! Which frames may come where, and what is no request.

use super::*;
use crate::h2::frame::{CONTINUATION, Code, PADDED, PRIORITY, PUSH_PROMISE, WITH_PRIORITY};
use crate::limits;

#[tokio::test]
async fn requests_are_answered_each_on_its_stream() {
    let mut peer = Peer::begun();
    let sent = peer.ask(&[get(1, "/now/3"), get(3, "/now/0"), get(5, "/now/12000"), get(7, "/trailers/4")].concat());
    assert_eq!(answer(&sent, 1), (vec!["200".to_owned()], 3, WHOLE));
    assert_eq!(answer(&sent, 3), (vec!["200".to_owned()], 0, WHOLE));
    assert_eq!(answer(&sent, 5), (vec!["200".to_owned()], 12_000, WHOLE));
    assert_eq!(answer(&sent, 7), (vec!["200".to_owned()], 4, WHOLE));
    let trailers = sent.iter().rfind(|f| f.stream == 7).unwrap();
    assert_eq!((trailers.kind, trailers.flags), (HEADERS, END_HEADERS | END_STREAM));
    assert_eq!(peer.shop.0.lock().unwrap().requests, ["GET /now/3", "GET /now/0", "GET /now/12000", "GET /trailers/4"]);
    // HEAD has the head alone.
    let sent = peer.ask(&frame(HEADERS, END_HEADERS | END_STREAM, 9, &head("HEAD", "/now/5")));
    assert_eq!(answer(&sent, 9), (vec!["200".to_owned()], 0, WHOLE));
}

/// However the bytes come, they mean the same.
#[tokio::test]
async fn bytes_may_come_one_by_one() {
    let padded = [&[3][..], &head("GET", "/now/2"), &[0; 3]].concat();
    let weighed = [&[0x80, 0, 0, 0, 7][..], &head("GET", "/now/2")].concat();
    let whole = head("POST", "/read");
    let (first, second) = whole.split_at(7);
    let bytes = [
        frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &padded),
        frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 3, &weighed),
        frame(HEADERS, 0, 5, first),
        frame(CONTINUATION, 0, 5, &[]),
        frame(CONTINUATION, END_HEADERS, 5, second),
        frame(PRIORITY, 0, 9, &[0, 0, 0, 1, 9]),
        frame(0x42, 0xff, 5, b"unknown"),
        frame(DATA, PADDED, 5, b"\x02abc\0\0"),
        frame(DATA, 0, 5, b"de"),
        frame(HEADERS, END_HEADERS | END_STREAM, 5, &block(&[("x-sum", "7")])),
        get(11, "/now/1"),
    ]
    .concat();
    let mut at_once = Peer::begun();
    let expected = at_once.ask(&bytes);
    assert_eq!(answer(&expected, 1).2, WHOLE);
    assert_eq!(answer(&expected, 3).2, WHOLE);
    assert_eq!(answer(&expected, 5), (vec!["200".to_owned()], 5, WHOLE));
    assert_eq!(answer(&expected, 11).2, WHOLE);
    let mut slowly = Peer::begun();
    let sent: Vec<_> = bytes.iter().flat_map(|byte| slowly.ask(&[*byte])).collect();
    for stream in [1, 3, 5, 11] {
        assert_eq!(answer(&sent, stream), answer(&expected, stream), "{stream}");
    }
    assert_eq!(at_once.shop.0.lock().unwrap().requests, slowly.shop.0.lock().unwrap().requests);
}

#[tokio::test]
async fn frames_that_may_not_be_end_the_connection() {
    let open = || post(1, "/keep");
    let cut = frame(HEADERS, 0, 3, &head("GET", "/now"));
    for (what, bytes, code) in [
        ("data on no stream", frame(DATA, 0, 0, b"x"), Code::Protocol),
        ("data on a stream that was not opened", frame(DATA, 0, 3, b"x"), Code::Protocol),
        ("all padding", [open(), frame(DATA, PADDED, 1, &[9, 0, 0])].concat(), Code::Protocol),
        ("a head on no stream", frame(HEADERS, END_HEADERS, 0, &head("GET", "/")), Code::Protocol),
        ("a head on a stream of ours", get(2, "/now"), Code::Protocol),
        ("a stream older than the last one", [get(5, "/now"), get(3, "/now")].concat(), Code::Protocol),
        ("a stream that was closed", [get(1, "/now"), get(1, "/now")].concat(), Code::StreamClosed),
        ("data on a stream that was closed", [get(1, "/now"), frame(DATA, 0, 1, b"x")].concat(), Code::StreamClosed),
        ("a stream that its caller reset", [get(1, "/wait"), number(RST_STREAM, 1, 8), get(1, "/now")].concat(), Code::StreamClosed),
        ("a block that is broken", frame(HEADERS, END_HEADERS, 1, &[0x80]), Code::Compression),
        ("a block with something in it", [cut.clone(), get(5, "/now")].concat(), Code::Protocol),
        ("a block that another stream continues", [cut, frame(CONTINUATION, END_HEADERS, 5, &[])].concat(), Code::Protocol),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &[]), Code::Protocol),
        ("a stream that depends on itself", frame(PRIORITY, 0, 3, &[0, 0, 0, 3, 9]), Code::Protocol),
        ("a priority of another length", frame(PRIORITY, 0, 3, &[0; 4]), Code::FrameSize),
        ("a reset of a stream that was not opened", number(RST_STREAM, 3, 8), Code::Protocol),
        ("a reset of another length", [open(), frame(RST_STREAM, 0, 1, &[0; 3])].concat(), Code::FrameSize),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[]), Code::Protocol),
        ("settings of another length", frame(SETTINGS, 0, 0, &[0; 5]), Code::FrameSize),
        ("an answer to settings with something in it", frame(SETTINGS, ACK, 0, &[0; 6]), Code::FrameSize),
        ("push, in part", setting(frame::SETTING_PUSH, 2), Code::Protocol),
        ("a window too large", setting(frame::SETTING_WINDOW, 1 << 31), Code::FlowControl),
        ("a frame too small", setting(frame::SETTING_FRAME, 16_383), Code::Protocol),
        ("a promise", frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 4]), Code::Protocol),
        ("a ping on a stream", frame(PING, 0, 1, &[0; 8]), Code::Protocol),
        ("a ping of another length", frame(PING, 0, 0, &[0; 7]), Code::FrameSize),
        ("a goodbye on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Code::Protocol),
        ("a window opened by nothing", number(WINDOW_UPDATE, 0, 0), Code::Protocol),
        ("a window opened too far", number(WINDOW_UPDATE, 0, (1 << 31) - 1), Code::FlowControl),
        ("a window of a stream that was not opened", number(WINDOW_UPDATE, 3, 1), Code::Protocol),
        ("a frame too long", frame(DATA, 0, 1, &[0; 16_385]), Code::FrameSize),
    ] {
        let mut peer = Peer::begun();
        let sent = peer.ask(&bytes);
        assert_eq!(goodbye(&sent), Some(code as u32), "{what}");
        assert!(peer.io.0.lock().unwrap().shut, "{what}");
        // What comes after it is not looked at, and its end is not waited for without end.
        let sent = peer.ask(&get(101, "/now"));
        assert!(sent.is_empty(), "{what}: {sent:?}");
        peer.io.0.lock().unwrap().closed = true;
        peer.send(&[]);
        peer.run();
        assert!(peer.done, "{what}");
    }
}

#[tokio::test]
async fn a_connection_begins_as_it_must() {
    for bytes in
        [b"GET / HTTP/1.1\r\n".to_vec(), b"PRI * HTTP/2.0\r\n\r\nSX".to_vec(), [frame::PREFACE, &frame(PING, 0, 0, &[0; 8])].concat()]
    {
        let mut peer = Peer::new(&times());
        let sent = peer.ask(&bytes);
        assert_eq!(goodbye(&sent), Some(Code::Protocol as u32), "{bytes:?}");
        assert_eq!((sent[0].kind, sent[0].flags), (SETTINGS, 0), "ours are first");
    }
}

/// What is no request ends its stream, is recorded, and ends nothing else; what is one that is not accepted is answered.
#[tokio::test]
async fn what_is_no_request_is_recorded_and_reset() {
    let pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", "items"), (":path", "/now")];
    let with = |more: &[(&'static str, &'static str)]| [&pseudo[..], more].concat();
    let without = |name: &str| pseudo.iter().copied().filter(|(n, _)| *n != name).collect::<Vec<_>>();
    let instead = |name: &'static str, value: &'static str| [without(name), vec![(name, value)]].concat();
    let long: &'static str = "x".repeat(limits::HEAD_BYTES_MAX).leak();
    for (fields, status) in [
        (without(":method"), None),
        (without(":scheme"), None),
        (without(":path"), None),
        (without(":authority"), None),
        (instead(":path", ""), None),
        (instead(":path", "now"), None),
        (instead(":path", "https://items/now"), None),
        (instead(":method", "G T"), None),
        (instead(":scheme", "ht tp"), None),
        (instead(":authority", ""), None),
        (with(&[(":path", "/other")]), None),
        (with(&[(":status", "200")]), None),
        (with(&[("x-a", "1"), (":protocol", "websocket")]), None),
        (with(&[(":protocol", "websocket")]), None),
        (instead(":method", "CONNECT"), None),
        (vec![(":method", "CONNECT")], None),
        (vec![(":method", "CONNECT"), (":authority", "items:80"), (":protocol", "websocket")], None),
        (with(&[("connection", "close")]), None),
        (with(&[("keep-alive", "1")]), None),
        (with(&[("proxy-connection", "close")]), None),
        (with(&[("transfer-encoding", "chunked")]), None),
        (with(&[("upgrade", "h2c")]), None),
        (with(&[("te", "gzip")]), None),
        (with(&[("x a", "1")]), None),
        (with(&[("", "1")]), None),
        (with(&[("x-a", "1\r\nx-b: 2")]), None),
        (with(&[("x-a", "1\0")]), None),
        (with(&[("content-length", "1")]), None),
        (with(&[("content-length", "0"), ("content-length", "0")]), None),
        (with(&[("content-length", "-1")]), None),
        (instead(":path", "/a#b"), Some("400")),
        (instead(":path", "/a b"), Some("400")),
        (with(&[("x-a", long)]), Some("431")),
        (with(&vec![("x-a", "1"); limits::HEADERS_MAX + 1]), Some("431")),
        (with(&[("expect", "the-worst")]), Some("417")),
    ] {
        let mut peer = Peer::begun();
        let bytes = block(&fields);
        let (first, rest) = bytes.split_at(bytes.len().min(16_384));
        let whole = if rest.is_empty() { END_HEADERS } else { 0 };
        let mut frames = frame(HEADERS, whole | END_STREAM, 1, first);
        if !rest.is_empty() {
            frames.extend(frame(CONTINUATION, END_HEADERS, 1, rest));
        }
        let sent = peer.ask(&[frames, get(3, "/now/1")].concat());
        let (heads, _, end) = answer(&sent, 1);
        match status {
            None => assert_eq!((heads, end), (vec![], Some(Code::Protocol as u32)), "{fields:?}"),
            Some(status) => assert_eq!((heads, end), (vec![status.to_owned()], WHOLE), "{fields:?}"),
        }
        assert_eq!(answer(&sent, 3), (vec!["200".to_owned()], 1, WHOLE), "{fields:?}");
        let seen = peer.shop.0.lock().unwrap();
        assert_eq!((seen.refused.len(), &seen.requests[..]), (1, &["GET /now/1".to_owned()][..]), "{fields:?}");
    }
    // A capital letter cannot be written by ours.
    let mut peer = Peer::begun();
    let capital = [head("GET", "/now"), b"\x00\x03X-a\x011".to_vec()].concat();
    let sent = peer.ask(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &capital));
    assert_eq!(answer(&sent, 1).2, Some(Code::Protocol as u32));
}

#[tokio::test]
async fn pieces_of_a_cookie_are_put_together() {
    let mut peer = Peer::begun();
    let fields = [head("GET", "/now"), block(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")])].concat();
    peer.ask(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields));
    let one = [head("GET", "/now"), block(&[("cookie", "a=1"), ("x", " y\t")])].concat();
    peer.ask(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &one));
    assert_eq!(peer.shop.0.lock().unwrap().requests, ["GET /now cookie=a=1; b=2; c=3,x=y", "GET /now cookie=a=1,x=y"]);
}

#[tokio::test]
async fn a_body_is_as_long_as_it_says() {
    let said = |stream, length: &str| {
        let fields = [head("POST", "/read"), block(&[("content-length", length)])].concat();
        frame(HEADERS, END_HEADERS, stream, &fields)
    };
    let protocol = Some(Code::Protocol as u32);
    for (frames, end) in [
        (vec![frame(DATA, END_STREAM, 1, b"abc")], WHOLE),
        (vec![frame(DATA, 0, 1, b"ab"), frame(DATA, END_STREAM, 1, b"c")], WHOLE),
        (vec![frame(DATA, 0, 1, b"abc"), frame(DATA, END_STREAM, 1, b"")], WHOLE),
        (vec![frame(DATA, 0, 1, b"abc"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &[])], WHOLE),
        (vec![frame(DATA, END_STREAM, 1, b"abcd")], protocol),
        (vec![frame(DATA, 0, 1, b"abcd")], protocol),
        (vec![frame(DATA, END_STREAM, 1, b"ab")], protocol),
        (vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[])], protocol),
        (vec![frame(DATA, 0, 1, b"abc"), frame(HEADERS, END_HEADERS, 1, &[])], protocol),
        (vec![frame(DATA, 0, 1, b"abc"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":path", "/")]))], protocol),
        (vec![frame(DATA, 0, 1, b"abc"), frame(DATA, END_STREAM, 1, b""), frame(DATA, 0, 1, b"x")], Some(Code::StreamClosed as u32)),
    ] {
        let mut peer = Peer::begun();
        let sent: Vec<_> = [vec![said(1, "3")], frames.clone()].concat().iter().flat_map(|f| peer.ask(f)).collect();
        let on = answer(&sent, 1);
        if end == Some(Code::StreamClosed as u32) {
            assert_eq!(goodbye(&sent), end, "the answer was whole, so the stream is closed: {frames:?}");
        } else {
            assert_eq!(on.2, end, "{frames:?}: {on:?}");
        }
        assert_eq!(goodbye(&sent).is_none(), end != Some(Code::StreamClosed as u32));
    }
}

#[tokio::test]
async fn a_caller_that_waits_for_leave_gets_it_once_its_body_is_asked_for() {
    let expecting = |path| [head("POST", path), block(&[("expect", "100-continue")])].concat();
    let mut peer = Peer::begun();
    let sent = peer.ask(&frame(HEADERS, END_HEADERS, 1, &expecting("/read")));
    assert_eq!(answer(&sent, 1), (vec!["100".to_owned()], 0, None));
    let sent = peer.ask(&frame(DATA, END_STREAM, 1, b"ab"));
    assert_eq!(answer(&sent, 1), (vec!["200".to_owned()], 2, WHOLE));
    // Nobody asked: the answer is all it gets, and the rest is not wanted.
    let sent = peer.ask(&frame(HEADERS, END_HEADERS, 3, &expecting("/now/1")));
    assert_eq!(answer(&sent, 3), (vec!["200".to_owned()], 1, WHOLE));
}

/// Some callers take a reset right behind an answer for all of it; one that goes on sending has its stream reset in the end.
#[tokio::test]
async fn what_is_left_of_a_request_may_come_for_a_while_after_its_answer() {
    let mut peer = Peer::begun();
    let piece = frame(DATA, 0, 1, &[0; 16_000]);
    let sent = peer.ask(&[post(1, "/now/1"), post(3, "/now/1"), post(5, "/now/1"), piece.clone()].concat());
    assert!([1, 3, 5].iter().all(|stream| answer(&sent, *stream) == (vec!["200".to_owned()], 1, WHOLE)));
    // Its caller gives it up, or sends the rest: that is the end of it.
    let mut sent = peer.ask(&[number(RST_STREAM, 3, 0), frame(DATA, END_STREAM, 5, b"x")].concat());
    let (mut room, mut put) = (usize::try_from(limits::H2_STREAM_WINDOW).unwrap() - 16_000, 16_000);
    while room >= 16_000 {
        let came = peer.ask(&piece);
        (room, put) = (room - 16_000, put + 16_000);
        let windows = came.iter().filter(|f| f.kind == WINDOW_UPDATE && f.stream == 1);
        room += windows.map(|f| usize::try_from(frame::number(&f.payload)).unwrap()).sum::<usize>();
        sent.extend(came);
    }
    let most = limits::LINGER_BYTES_MAX + 2 * usize::try_from(limits::H2_STREAM_WINDOW).unwrap();
    assert!((limits::LINGER_BYTES_MAX..most).contains(&put), "{put} bytes came of what nobody wants");
    assert!(sent.iter().all(|f| f.kind == WINDOW_UPDATE), "{sent:?}");
    peer.until(|peer| {
        sent.extend(peer.sent());
        sent.iter().any(|f| f.kind != WINDOW_UPDATE)
    })
    .await;
    assert_eq!((answer(&sent, 1).2, goodbye(&sent)), (Some(Code::NoError as u32), None));
    assert!(peer.ask(&frame(DATA, 0, 1, b"x")).is_empty(), "what was on its way is thrown away");
}

/// INV: what was sent before the caller heard of our going is served; what comes later it may send elsewhere (RFC 9113, 6.8).
#[tokio::test]
async fn a_connection_that_goes_takes_what_was_sent_before_that_was_heard() {
    let mut peer = Peer::begun();
    peer.ask(&post(1, "/read"));
    peer.connection.as_mut().wind_down();
    peer.connection.as_mut().wind_down();
    peer.run();
    let sent = peer.sent();
    assert_eq!((sent.len(), goodbye(&sent), frame::number(&sent[0].payload)), (2, Some(0), frame::LARGEST_STREAM));
    let asks = sent[1].payload.clone();
    let sent = peer.ask(&get(3, "/now/1"));
    assert_eq!(answer(&sent, 3).2, WHOLE);
    // Not its own ping's answer.
    peer.ask(&frame(PING, ACK, 0, b"somebody"));
    let sent = peer.ask(&frame(PING, ACK, 0, &asks));
    assert_eq!((goodbye(&sent), frame::number(&sent[0].payload)), (Some(0), 3));
    let sent = peer.ask(&get(5, "/now/1"));
    assert_eq!(answer(&sent, 5), (vec![], 0, Some(Code::Refused as u32)));
    assert!(!peer.done && !peer.io.0.lock().unwrap().shut);
    let sent = peer.ask(&frame(DATA, END_STREAM, 1, b"ab"));
    assert_eq!(answer(&sent, 1), (vec!["200".to_owned()], 2, WHOLE));
    assert!(peer.io.0.lock().unwrap().shut, "with the last stream it ends");
    peer.io.0.lock().unwrap().closed = true;
    peer.send(&[]);
    peer.run();
    assert!(peer.done);
}

/// A caller that never says that it heard of our going is not served for ever.
#[tokio::test]
async fn who_does_not_hear_of_our_going_has_heard_of_it_in_the_end() {
    let mut peer = Peer::new(&Times { pong: Duration::from_millis(50), ..times() });
    peer.ask(&[frame::PREFACE, &frame(SETTINGS, 0, 0, &[]), &post(1, "/read")].concat());
    peer.connection.as_mut().wind_down();
    peer.run();
    let (mut stream, mut last) = (1, peer.sent());
    peer.until(|peer| {
        stream += 2;
        last = peer.ask(&get(stream, "/now/1"));
        answer(&last, stream).2 != WHOLE
    })
    .await;
    assert_eq!(answer(&last, stream), (vec![], 0, Some(Code::Refused as u32)));
    let sent = peer.ask(&frame(DATA, END_STREAM, 1, b"ab"));
    assert_eq!(answer(&sent, 1), (vec!["200".to_owned()], 2, WHOLE), "what was begun is answered");
    assert!(peer.io.0.lock().unwrap().shut, "with the last stream it ends");
}

/// What was on its way to a stream that we ended early spoils nothing, however many streams end before it is here.
#[tokio::test]
async fn what_comes_late_on_a_stream_that_we_ended_spoils_nothing() {
    let mut peer = Peer::begun();
    let sent = peer.ask(&[post(1, "/read"), number(WINDOW_UPDATE, 1, 0)].concat());
    assert_eq!(answer(&sent, 1).2, Some(Code::Protocol as u32));
    for stream in (3..600).step_by(2) {
        assert_eq!(answer(&peer.ask(&get(stream, "/now/1")), stream).2, WHOLE);
    }
    let late = [frame(DATA, 0, 1, b"abc"), frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-sum", "7")]))];
    assert_eq!(peer.ask(&late.concat()), []);
    assert_eq!(answer(&peer.ask(&get(601, "/now/1")), 601).2, WHOLE);
    // On one that ended in order nothing may come.
    assert_eq!(goodbye(&peer.ask(&frame(DATA, 0, 601, b"abc"))), Some(Code::StreamClosed as u32));
}

#[tokio::test]
async fn a_silent_peer_is_asked_for_a_sign_of_life() {
    let times = Times { ping: Duration::from_millis(30), pong: Duration::from_millis(60), ..times() };
    let mut peer = Peer::new(&times);
    peer.ask(&[frame::PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
    for _ in 0..3 {
        let mut asked = None;
        peer.until(|peer| {
            asked = peer.sent().iter().find(|f| f.kind == PING).cloned();
            asked.is_some()
        })
        .await;
        peer.ask(&frame(PING, ACK, 0, &asked.unwrap().payload));
        assert!(!peer.done);
    }
    peer.until(|peer| peer.done).await;
}

/// The last stream that is named never grows (RFC 9113, 6.8).
#[tokio::test]
async fn a_connection_that_goes_and_then_fails_names_no_later_stream() {
    let mut peer = Peer::begun();
    peer.ask(&post(1, "/keep"));
    peer.connection.as_mut().wind_down();
    peer.run();
    let asks = peer.sent()[1].payload.clone();
    let named = |sent: &[Sent]| sent.iter().rfind(|f| f.kind == GOAWAY).map(|f| frame::number(&f.payload));
    assert_eq!(named(&peer.ask(&frame(PING, ACK, 0, &asks))), Some(1));
    let sent = peer.ask(&[get(3, "/now"), frame(PING, 0, 0, &[0; 7])].concat());
    assert_eq!((goodbye(&sent), named(&sent)), (Some(Code::FrameSize as u32), Some(1)));
}

/// What came at once is judged in turns, so that others have theirs in between, and all of it is.
#[tokio::test]
async fn very_many_requests_at_once_give_way() {
    let mut peer = Peer::begun();
    let all = 2_000;
    peer.send(&(0..all).flat_map(|n| get(2 * n + 1, "/now")).collect::<Vec<_>>());
    let (mut turns, mut before) = (0, 0);
    loop {
        let done = peer.connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(done.is_pending());
        turns += 1;
        let now = peer.shop.0.lock().unwrap().requests.len();
        // In a round what was left and what is read then are two.
        let most = 2 * limits::H2_ROUNDS_MAX * usize::try_from(limits::H2_HEADS_AT_ONCE).unwrap();
        assert!(now - before <= most, "{now} after {before}");
        if now == usize::try_from(all).unwrap() {
            break;
        }
        assert!(now > before, "it stops at {now}");
        before = now;
    }
    assert!(turns >= 4);
    peer.run();
    assert_eq!(peer.sent().iter().filter(|f| f.flags & END_STREAM != 0).count(), usize::try_from(all).unwrap());
}

/// What concerns one connection of HTTP/1 makes trailers malformed, as it does heads (RFC 9113, 8.2.2).
#[tokio::test]
async fn trailers_say_nothing_of_a_connection() {
    let protocol = Some(Code::Protocol as u32);
    for (name, value, end) in [
        ("x-sum", "7", WHOLE),
        ("te", "trailers", WHOLE),
        ("te", "gzip", protocol),
        ("transfer-encoding", "chunked", protocol),
        ("connection", "close", protocol),
        ("keep-alive", "5", protocol),
        ("upgrade", "websocket", protocol),
        (":path", "/", protocol),
    ] {
        let mut peer = Peer::begun();
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(name, value)]));
        let sent = peer.ask(&[post(1, "/read"), frame(DATA, 0, 1, b"abc"), trailers].concat());
        assert_eq!(answer(&sent, 1).2, end, "{name}: {value}");
    }
}
