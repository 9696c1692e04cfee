//! Windows, ours and theirs, and a connection that takes nothing.

use std::collections::BTreeMap;

use super::dice::Dice;
use super::*;
use crate::h2::frame::{Code, SETTING_TABLE, SETTING_WINDOW};
use crate::limits;

/// What came so far on a stream.
fn bytes(sent: &[Sent], stream: u32) -> usize {
    answer(sent, stream).1
}

#[tokio::test]
async fn nothing_is_sent_beyond_a_window() {
    let mut peer = Peer::begun();
    let sent = peer.ask(&get(1, "/now/200000"));
    assert_eq!(bytes(&sent, 1), 65_535);
    assert!(sent.iter().all(|f| f.payload.len() <= limits::H2_FRAME_BYTES_MAX));
    // The stream's window alone, or the connection's, makes no room.
    assert_eq!(bytes(&peer.ask(&number(WINDOW_UPDATE, 1, 70_000)), 1), 0);
    assert_eq!(bytes(&peer.ask(&number(WINDOW_UPDATE, 0, 1_000)), 1), 1_000);
    assert_eq!(bytes(&peer.ask(&number(WINDOW_UPDATE, 0, 100_000)), 1), 69_000);
    // Made smaller, a window may be less than nothing.
    assert_eq!(bytes(&peer.ask(&setting(SETTING_WINDOW, 10)), 1), 0);
    assert_eq!(bytes(&peer.ask(&number(WINDOW_UPDATE, 1, 65_525)), 1), 0);
    assert_eq!(bytes(&peer.ask(&number(WINDOW_UPDATE, 1, 1)), 1), 1);
    assert_eq!(bytes(&peer.ask(&setting(SETTING_WINDOW, 20)), 1), 10);
    let sent = peer.ask(&[number(WINDOW_UPDATE, 1, 1 << 20), number(WINDOW_UPDATE, 0, 1 << 20)].concat());
    assert_eq!((bytes(&sent, 1), answer(&sent, 1).2), (200_000 - 65_535 - 70_000 - 11, WHOLE));
    // A stream that begins later begins with the window that holds then.
    assert_eq!(bytes(&peer.ask(&get(3, "/now/100")), 3), 20);
    let sent = peer.ask(&number(WINDOW_UPDATE, 3, (1 << 31) - 1));
    assert_eq!((bytes(&sent, 3), answer(&sent, 3).2), (80, WHOLE));
    let sent = peer.ask(&[post(5, "/keep"), number(WINDOW_UPDATE, 5, (1 << 31) - 1)].concat());
    assert_eq!(answer(&sent, 5).2, Some(Code::FlowControl as u32));
    let sent = peer.ask(&[post(7, "/keep"), number(WINDOW_UPDATE, 7, 0)].concat());
    assert_eq!(answer(&sent, 7).2, Some(Code::Protocol as u32));
}

/// What is sent on streams, held against windows that are counted apart.
#[derive(Default)]
struct Counted {
    connection: i64,
    initial: i64,
    /// The window of each stream, what is to come on it, and how its answer ended.
    streams: BTreeMap<u32, (i64, usize, Option<u32>)>,
}

impl Counted {
    fn count(&mut self, sent: &[Sent]) {
        for f in sent.iter().filter(|f| f.stream != 0) {
            let (window, left, end) = self.streams.get_mut(&f.stream).unwrap();
            if f.kind == DATA && !f.payload.is_empty() {
                let n = i64::try_from(f.payload.len()).unwrap();
                (*window, self.connection) = (*window - n, self.connection - n);
                assert!(*window >= 0 && self.connection >= 0, "more than a window: {window}, {}", self.connection);
            }
            *left -= if f.kind == DATA { f.payload.len() } else { 0 };
            *end = answer(std::slice::from_ref(f), f.stream).2.or(*end);
        }
    }
}

/// Whatever the other side does with its windows: no more is sent than they allow, and all of it in the end.
#[tokio::test]
async fn windows_that_change_at_random_are_kept_and_stop_nothing() {
    for seed in 1..=300 {
        let (mut peer, mut dice) = (Peer::begun(), Dice(seed));
        let mut counted = Counted { connection: 65_535, initial: 65_535, ..Counted::default() };
        let some = |dice: &mut Dice, most| u32::try_from(1 + dice.roll(most)).unwrap();
        for _ in 0..60 {
            let opened = u32::try_from(counted.streams.len()).unwrap();
            let frames = match dice.roll(5) {
                0 => {
                    let (stream, n) = (2 * opened + 1, dice.roll(200_000));
                    counted.streams.insert(stream, (counted.initial, n, None));
                    get(stream, &format!("/{}/{n}", if n % 2 == 0 { "now" } else { "trailers" }))
                }
                1 => {
                    let initial = some(&mut dice, 100_000) - 1;
                    let by = i64::from(initial) - std::mem::replace(&mut counted.initial, i64::from(initial));
                    counted.streams.values_mut().for_each(|(window, ..)| *window += by);
                    setting(SETTING_WINDOW, initial)
                }
                2 => {
                    let n = some(&mut dice, 100_000);
                    counted.connection += i64::from(n);
                    number(WINDOW_UPDATE, 0, n)
                }
                _ if opened == 0 => continue,
                _ => {
                    let (stream, n) = (2 * (some(&mut dice, counted.streams.len()) - 1) + 1, some(&mut dice, 50_000));
                    counted.streams.get_mut(&stream).unwrap().0 += i64::from(n);
                    number(WINDOW_UPDATE, stream, n)
                }
            };
            let sent = peer.ask(&frames);
            assert_eq!(goodbye(&sent), None);
            counted.count(&sent);
        }
        counted.connection += 1 << 24;
        counted.streams.values_mut().for_each(|(window, ..)| *window += (1 << 20) - counted.initial);
        let sent = peer.ask(&[number(WINDOW_UPDATE, 0, 1 << 24), setting(SETTING_WINDOW, 1 << 20)].concat());
        counted.count(&sent);
        assert!(counted.streams.values().all(|(_, left, end)| (*left, *end) == (0, WHOLE)), "seed {seed}: {:?}", counted.streams);
    }
}

/// Answers whose ends come behind their last byte end without a window.
#[tokio::test]
async fn an_end_needs_no_window() {
    let mut peer = Peer::begun();
    let sent = peer.ask(&[get(1, "/trailers/65535"), get(3, "/now/0")].concat());
    assert_eq!(answer(&sent, 1), (vec!["200".to_owned()], 65_535, WHOLE));
    assert_eq!(answer(&sent, 3).2, WHOLE);
}

#[tokio::test]
async fn streams_share_what_room_there_is() {
    let mut peer = Peer::begun();
    peer.ask(&[setting(SETTING_WINDOW, 1 << 20), get(1, "/now/65535")].concat());
    let streams = [3, 5, 7, 9];
    let sent = peer.ask(&streams.map(|stream| get(stream, "/now/500000")).concat());
    assert!(streams.iter().all(|stream| bytes(&sent, *stream) == 0), "the connection's window is used up");
    let mut all = BTreeMap::<u32, usize>::new();
    for _ in 0..40 {
        for f in peer.ask(&number(WINDOW_UPDATE, 0, 16_384)).iter().filter(|f| f.kind == DATA) {
            *all.entry(f.stream).or_default() += f.payload.len();
        }
    }
    assert_eq!(all.values().sum::<usize>(), 40 * 16_384);
    assert!(streams.iter().all(|stream| all[stream] >= 5 * 16_384), "{all:?}");
}

/// What was read makes room, whoever read it or threw it away; what was not read makes none.
#[tokio::test]
async fn the_windows_for_callers_open_by_what_is_read() {
    let piece = vec![0; 16_000];
    for (path, times) in [("/read", 200), ("/drop", 200), ("/keep", 1_000)] {
        let mut peer = Peer::begun();
        peer.ask(&post(1, path));
        let mut room = (i64::from(limits::H2_STREAM_WINDOW), i64::from(limits::H2_CONNECTION_WINDOW));
        let mut put = 0;
        for _ in 0..times {
            if room.0 < 16_000 || room.1 < 16_000 {
                break;
            }
            put += 1;
            room = (room.0 - 16_000, room.1 - 16_000);
            for f in peer.ask(&frame(DATA, 0, 1, &piece)) {
                assert_eq!(f.kind, WINDOW_UPDATE, "{path}");
                let by = i64::from(frame::number(&f.payload));
                if f.stream == 0 { room.1 += by } else { room.0 += by }
            }
            assert!(room.0 <= i64::from(limits::H2_STREAM_WINDOW) && room.1 <= i64::from(limits::H2_CONNECTION_WINDOW));
        }
        let all = usize::try_from(limits::H2_STREAM_WINDOW).unwrap() / 16_000;
        assert_eq!(put, if path == "/keep" { all } else { 200 }, "{path}");
    }
}

#[tokio::test]
async fn more_than_a_window_ends_the_stream_or_the_connection() {
    let piece = vec![0; 16_384];
    let mut peer = Peer::begun();
    let mut frames: Vec<_> = std::iter::once(post(1, "/keep")).chain((0..17).map(|_| frame(DATA, 0, 1, &piece))).collect();
    let sent = peer.ask(&frames.concat());
    assert_eq!((answer(&sent, 1).2, goodbye(&sent)), (Some(Code::FlowControl as u32), None));
    // Sixteen fill a stream's window, and four streams the connection's.
    frames =
        [1, 3, 5, 7].iter().flat_map(|s| std::iter::once(post(*s, "/keep")).chain((0..16).map(|_| frame(DATA, 0, *s, &piece)))).collect();
    let mut peer = Peer::begun();
    let sent = peer.ask(&[frames.concat(), post(9, "/keep")].concat());
    assert!(sent.is_empty(), "{sent:?}");
    assert_eq!(goodbye(&peer.ask(&frame(DATA, 0, 9, b"x"))), Some(Code::FlowControl as u32));
}

/// The room that a stream took comes back with its end, however it ends and whoever still holds its body.
#[tokio::test]
async fn room_comes_back_when_streams_end() {
    let mut peer = Peer::begun();
    let piece = vec![0; 16_000];
    for stream in (0..200).map(|n| 2 * n + 1) {
        let sent = peer.ask(&[post(stream, "/keep"), frame(DATA, 0, stream, &piece), number(RST_STREAM, stream, 8)].concat());
        assert_eq!(goodbye(&sent), None, "{stream}");
    }
    assert_eq!(peer.shop.0.lock().unwrap().kept.len(), 200);
}

/// A caller that takes nothing has nothing read of it beyond what its answers need (A26), and no answer is lost by that.
#[tokio::test]
async fn a26_a_connection_that_takes_nothing_is_not_read() {
    let mut peer = Peer::begun();
    peer.takes(Some(100));
    peer.send(&get(1, "/now/30000"));
    let last = 20_001;
    for stream in (3..=last).step_by(2) {
        peer.send(&get(stream, "/now"));
        peer.run();
    }
    assert!(!peer.done);
    let (unread, seen) = (peer.io.0.lock().unwrap().sent.len(), peer.shop.0.lock().unwrap().requests.len());
    assert!(unread > 0 && seen < 8_000, "{seen} were looked at, {unread} bytes are left where they are");
    peer.takes(None);
    peer.run();
    let sent = peer.sent();
    assert_eq!(answer(&sent, 1), (vec!["200".to_owned()], 30_000, WHOLE));
    assert_eq!((answer(&sent, last).2, goodbye(&sent)), (WHOLE, None));
    assert_eq!(sent.iter().filter(|f| f.kind == HEADERS).count(), 10_001);
}

/// A65: an answer that cannot be sent sees its end all the same.
#[tokio::test]
async fn a65_an_answer_that_is_not_taken_ends() {
    let mut peer = Peer::begun();
    let sent = peer.ask(&get(1, "/short/100000"));
    assert_eq!(bytes(&sent, 1), 65_535);
    let mut end = None;
    peer.until(|peer| {
        end = answer(&peer.sent(), 1).2;
        end.is_some()
    })
    .await;
    assert_eq!((end, peer.shop.0.lock().unwrap().broken), (Some(Code::Cancel as u32), 1));
}

/// Who makes its table smaller is told that none is used (RFC 7541, 4.2).
#[tokio::test]
async fn a_smaller_table_is_answered() {
    let mut peer = Peer::begun();
    let sent = peer.ask(&[setting(SETTING_TABLE, 0), get(1, "/now/1"), get(3, "/now/1")].concat());
    let first: Vec<_> = sent.iter().filter(|f| f.kind == HEADERS).map(|f| f.payload[0]).collect();
    assert_eq!(first, [0x20, 0x88]);
}
