//! What a caller may not have us do for nothing (A26, A27, A28), and what an honest one may.

use super::*;
use crate::h2::frame::{CONTINUATION, Code};
use crate::limits;

const CALM: Option<u32> = Some(Code::Calm as u32);

/// Sends the same again and again; how often until the connection ended, and with what.
fn flood(times: usize, mut nth: impl FnMut(u32) -> Vec<u8>) -> (usize, Option<u32>) {
    let mut peer = Peer::begun();
    for n in 0..times {
        let sent = peer.ask(&nth(u32::try_from(n).unwrap()));
        if let Some(code) = goodbye(&sent) {
            return (n, Some(code));
        }
    }
    (times, None)
}

#[tokio::test]
async fn a26_a27_frames_that_bring_nothing_end_the_connection() {
    let patience = usize::try_from(limits::H2_PATIENCE).unwrap();
    let opened = |n: u32, then: Vec<u8>| if n == 0 { [post(1, "/read"), then].concat() } else { then };
    type Nth = Box<dyn Fn(u32) -> Vec<u8>>;
    let floods: [(&str, Nth); 14] = [
        ("pings", Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        ("answers to no ping", Box::new(|_| frame(PING, ACK, 0, &[0; 8]))),
        ("answers to no settings", Box::new(|_| frame(SETTINGS, ACK, 0, &[]))),
        ("windows of streams", Box::new(|_| setting(frame::SETTING_WINDOW, 0))),
        ("priorities", Box::new(|n| frame(frame::PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1]))),
        ("unknown frames", Box::new(|_| frame(0x77, 0, 0, b"x"))),
        ("goodbyes", Box::new(|_| frame(GOAWAY, 0, 0, &[0; 8]))),
        ("empty data", Box::new(move |n| opened(n, frame(DATA, 0, 1, &[])))),
        ("windows", Box::new(|_| number(WINDOW_UPDATE, 0, 1))),
        (
            "an answer byte by byte",
            Box::new(|n| {
                let begin = [setting(frame::SETTING_WINDOW, 0), get(1, "/now/100000")].concat();
                if n == 0 { begin } else { number(WINDOW_UPDATE, 1, 1) }
            }),
        ),
        (
            "resets of one stream",
            Box::new(move |n| if n == 0 { [get(1, "/now"), number(RST_STREAM, 1, 8)].concat() } else { number(RST_STREAM, 1, 8) }),
        ),
        ("streams opened and given up", Box::new(|n| [get(2 * n + 1, "/keep"), number(RST_STREAM, 2 * n + 1, 8)].concat())),
        ("streams that are too many", Box::new(|n| get(2 * n + 1, "/wait"))),
    ];
    for (what, nth) in floods {
        let (n, code) = flood(3 * patience, nth);
        assert_eq!(code, CALM, "{what}");
        assert!(n >= patience / 8, "{what}: an honest caller may do it {n} times");
    }
}

/// Each is held against every stream, however many of them one frame has.
#[tokio::test]
async fn a26_windows_of_streams_are_priced_one_by_one() {
    let window = &setting(frame::SETTING_WINDOW, 0)[frame::HEAD_BYTES..];
    let (n, code) = flood(10, |_| frame(SETTINGS, 0, 0, &window.repeat(100)));
    let most = limits::H2_PATIENCE / (100 * limits::H2_PATIENCE_DEAR);
    assert_eq!((n, code), (usize::try_from(most).unwrap(), CALM));
}

#[tokio::test]
async fn a26_what_we_are_made_to_reset_is_counted() {
    let (n, code) = flood(1000, |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block(&[(":method", "GET")])));
    assert_eq!((n, code), (limits::H2_LOCAL_RESETS_MAX, CALM));
    let (n, code) = flood(1000, |n| [post(2 * n + 1, "/wait"), number(WINDOW_UPDATE, 2 * n + 1, 0)].concat());
    assert_eq!((n, code), (limits::H2_LOCAL_RESETS_MAX, CALM));
}

#[tokio::test]
async fn a27c_a_head_in_very_many_pieces_ends_the_connection() {
    for piece in [vec![], vec![0x82], [&[0, 1, b'x', 0x7f, 0xa1, 0x7f][..], &vec![b'y'; 16_300]].concat()] {
        let mut peer = Peer::begun();
        let mut sent = peer.ask(&frame(HEADERS, END_STREAM, 1, &[]));
        let mut pieces = 0;
        while goodbye(&sent).is_none() {
            sent = peer.ask(&frame(CONTINUATION, 0, 1, &piece));
            pieces += 1;
            assert!(pieces <= limits::H2_CONTINUATIONS_MAX + 1);
        }
        assert_eq!(goodbye(&sent), CALM);
        assert!(peer.shop.0.lock().unwrap().requests.is_empty());
    }
}

/// Whatever is wrong with a request, an answer to HEAD is a head.
#[tokio::test]
async fn a_head_that_is_refused_has_no_body() {
    let large = [head("HEAD", "/now/1"), block(&[("x", &"x".repeat(limits::HEAD_BYTES_MAX))])].concat();
    let (first, rest) = large.split_at(limits::H2_FRAME_BYTES_MAX);
    let mut peer = Peer::begun();
    let sent = peer.ask(&[frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat());
    assert_eq!(answer(&sent, 1), (vec!["431".to_owned()], 0, WHOLE));
    assert_eq!(sent.len(), 1, "{sent:?}");
}

/// A head that stands for more than it is: few bytes, each of them a long field of the table.
#[tokio::test]
async fn a28_what_a_head_stands_for_is_counted() {
    let mut peer = Peer::begun();
    let mut bomb = head("GET", "/now");
    // Remembered once, and then said ten thousand times by a byte each.
    bomb.extend_from_slice(&[0x40 | 32, 0x7f, 0xa1, 0x1e]);
    bomb.extend_from_slice(&vec![b'c'; 4000]);
    assert!(bomb.len() < 5000);
    bomb.extend_from_slice(&[0xbe; 10_000]);
    let sent = peer.ask(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb));
    assert_eq!(answer(&sent, 1), (vec!["431".to_owned()], 1, WHOLE));
    assert!(peer.shop.0.lock().unwrap().requests.is_empty());
    // Both tables are still the same.
    let again = [head("GET", "/now"), vec![0xbe]].concat();
    let sent = peer.ask(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &again));
    assert_eq!(answer(&sent, 3).2, WHOLE);
    assert!(peer.shop.0.lock().unwrap().requests[0].ends_with(&"c".repeat(4000)));
}

#[tokio::test]
async fn streams_that_are_too_many_are_refused_and_others_served() {
    let mut peer = Peer::begun();
    let streams = limits::H2_STREAMS_MAX;
    let open: Vec<_> = (0..streams).flat_map(|n| post(2 * n + 1, "/read")).collect();
    assert!(peer.ask(&open).is_empty());
    let sent = peer.ask(&get(2 * streams + 1, "/now"));
    assert_eq!(answer(&sent, 2 * streams + 1), (vec![], 0, Some(Code::Refused as u32)));
    assert_eq!(answer(&peer.ask(&frame(DATA, END_STREAM, 77, b"abc")), 77), (vec!["200".to_owned()], 3, WHOLE));
    assert_eq!(answer(&peer.ask(&get(2 * streams + 3, "/now/1")), 2 * streams + 3).2, WHOLE);
}

/// All that a connection may have open, given up at once and more than once while others are served, is nothing to end it for.
#[tokio::test]
async fn an_honest_caller_may_give_up() {
    let mut peer = Peer::begun();
    let mut next = 1;
    for _ in 0..20 {
        let streams: Vec<_> = (0..100).map(|n| next + 2 * n).collect();
        next += 200;
        peer.ask(&streams.iter().flat_map(|s| get(*s, "/wait")).collect::<Vec<_>>());
        let sent = peer.ask(&streams.iter().flat_map(|s| number(RST_STREAM, *s, 8)).collect::<Vec<_>>());
        assert_eq!(goodbye(&sent), None);
        for _ in 0..100 {
            assert_eq!(answer(&peer.ask(&get(next, "/now/1")), next).2, WHOLE);
            next += 2;
        }
    }
}

/// Some libraries say after each few kilobytes that they read them, on the stream and on the connection: Go's, where a program reads by
/// as many.
#[tokio::test]
async fn an_honest_caller_may_read_in_small_pieces() {
    let mut peer = Peer::begun();
    let all = 64 << 20;
    let mut sent = peer.ask(&get(1, &format!("/now/{all}")));
    let (mut got, mut unread) = (0, 0);
    while got < all {
        assert_eq!(goodbye(&sent), None, "after {got} bytes");
        let came = answer(&sent, 1).1;
        (got, unread) = (got + came, unread + came);
        let mut windows = Vec::new();
        while unread >= 4096 || (got == all && unread > 0) {
            let n = unread.min(4096);
            unread -= n;
            windows.extend([0, 1].iter().flat_map(|stream| number(WINDOW_UPDATE, *stream, u32::try_from(n).unwrap())));
        }
        sent = peer.ask(&windows);
    }
}

/// Whoever has a deadline gives up all that is late, however much it is: streams that had their time are bounded by how many there may be.
#[tokio::test]
async fn an_honest_caller_may_give_up_what_is_late_all_day_long() {
    let mut peer = Peer::begun();
    let mut next = 1;
    for _ in 0..20 {
        let streams: Vec<_> = (0..limits::H2_STREAMS_MAX).map(|n| next + 2 * n).collect();
        next += 2 * limits::H2_STREAMS_MAX;
        peer.ask(&streams.iter().flat_map(|s| get(*s, "/wait")).collect::<Vec<_>>());
        tokio::time::sleep(limits::H2_GIVEN_UP_EARLY).await;
        let sent = peer.ask(&streams.iter().flat_map(|s| number(RST_STREAM, *s, 8)).collect::<Vec<_>>());
        assert_eq!(goodbye(&sent), None);
    }
}
