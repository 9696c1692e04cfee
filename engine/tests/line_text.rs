//! Lines written by hand against the same lines written by serde, which is how readers read them: byte for byte the same.

#![cfg(test)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portreeve_engine::chain::{ChainReader, ChainWriter};
use portreeve_engine::record::{
    Answer, ContextFacts, Decided, Deleted, Destination, Ended, Heartbeat, Mode, Outcome, Refused, RequestFacts, Side, Source, Tls, Why,
};
use portreeve_engine::record_text::{EventText, EventTexts};
use portreeve_engine::request::{AttributeValue, Attributes, Claims, Token};
use portreeve_engine::{Digest, Effect, Event, Reason, Record, SpiffeId, Timestamp};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRunner};

/// The same cases at every run; printed when one fails.
const SEED: u64 = 20_261_126;

/// Texts with everything that JSON escapes, and what it does not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9/._-]{0,20}",
        vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect()),
        vec(
            prop_oneof![Just('"'), Just('\\'), Just('\n'), Just('\u{0}'), Just('\u{1f}'), Just('\u{7f}'), Just('\u{2028}'), Just('é')],
            0..8
        )
        .prop_map(|chars| chars.into_iter().collect()),
    ]
}

fn small(text: impl Strategy<Value = String>) -> impl Strategy<Value = Box<str>> {
    text.prop_map(String::into_boxed_str)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let value = prop_oneof![
        small(text()).prop_map(AttributeValue::Text),
        any::<i64>().prop_map(AttributeValue::Integer),
        any::<bool>().prop_map(AttributeValue::Boolean),
        vec(small(text()), 0..3).prop_map(AttributeValue::List),
    ];
    btree_map(small(text()), value, 0..4)
}

fn token() -> impl Strategy<Value = Token> {
    let claims = (small(text()), small(text()), vec(small(text()), 0..3), option::of(small(text())), attributes());
    prop_oneof![
        small(text()).prop_map(Token::Invalid),
        claims.prop_map(|(iss, sub, aud, scope, other)| Token::Valid(Claims { iss, sub, aud, scope, other })),
    ]
}

fn id() -> impl Strategy<Value = SpiffeId> {
    "spiffe://[a-z]{1,8}\\.example/[a-z]{1,8}/[A-Za-z0-9._-]{1,8}".prop_filter_map("a SPIFFE ID", |text| text.parse().ok())
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_unix_ms)
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|n| IpAddr::V4(Ipv4Addr::from_bits(n))),
        any::<u128>().prop_map(|n| IpAddr::V6(Ipv6Addr::from_bits(n))),
        any::<u32>().prop_map(|n| IpAddr::V6(Ipv4Addr::from_bits(n).to_ipv6_mapped())),
    ]
}

fn request() -> impl Strategy<Value = RequestFacts> {
    let first = (text(), option::of(text()), option::of(text()), text(), option::of(text()), option::of(text()));
    let second = (option::of(text()), option::of(any::<u16>()), option::of(text()), option::of(text()), option::of(text()));
    (first, second).prop_map(|((id, correlation, trace, protocol, method, path), (upgrade, port, host, operation, raw))| RequestFacts {
        id,
        correlation,
        trace,
        protocol,
        method,
        path,
        upgrade,
        port,
        host,
        operation,
        raw,
    })
}

fn decided() -> impl Strategy<Value = Decided> {
    let connection = (
        prop_oneof![Just(Mode::Enforce), Just(Mode::DryRun)],
        digest(),
        option::of(Just(Side::Outbound)),
        (id(), option::of(text()), option::of(ip())),
        (option::of(id()), text()),
        option::of((text(), text(), text(), digest(), time(), option::of(text()), option::of(text()))),
    );
    let context = (attributes(), attributes(), option::of(token()), option::of(time()));
    let answer = (
        prop_oneof![Just(Effect::Allow), Just(Effect::Deny)],
        (0..Reason::ALL.len()).prop_map(|n| Reason::ALL[n]),
        vec(text(), 0..3),
        vec(text(), 0..3),
        vec(text(), 0..3),
    );
    (connection, request(), context, answer).prop_map(|(connection, request, (headers, query, jwt, time), answer)| {
        let (mode, revision, side, source, destination, tls) = connection;
        let (effect, reason, policies, errors, shadow) = answer;
        Decided {
            mode,
            revision,
            side,
            source: Source { id: source.0, service: source.1, ip: source.2 },
            destination: Destination { id: destination.0, service: destination.1 },
            request,
            context: ContextFacts { headers, query, jwt, time },
            tls: tls.map(|(version, suite, serial, sha256, not_after, issuer, key)| Tls {
                version,
                suite,
                serial,
                sha256,
                not_after,
                issuer,
                key,
            }),
            decision: Answer { effect, reason, policies, errors, shadow },
        }
    })
}

fn ended() -> impl Strategy<Value = Ended> {
    let outcome = prop_oneof![Just(Outcome::Forwarded), Just(Outcome::Limited), Just(Outcome::Unavailable)];
    let why = prop_oneof![
        Just(Why::Complete),
        Just(Why::Client),
        Just(Why::Upstream),
        Just(Why::Policy),
        Just(Why::Expired),
        Just(Why::Revoked),
        Just(Why::Shutdown),
        Just(Why::Stale),
        Just(Why::Log),
    ];
    (any::<u64>(), outcome, option::of(any::<u16>()), any::<u64>(), any::<u64>(), why, option::of(any::<u32>()), option::of(text()))
        .prop_map(|(of, outcome, status, duration_us, bytes, why, attempts, detail)| Ended {
            of,
            outcome,
            status,
            duration_us,
            bytes,
            why,
            attempts,
            detail,
        })
}

fn deleted() -> impl Strategy<Value = Deleted> {
    let parts = (text(), text(), any::<u64>(), any::<u64>(), digest(), time());
    parts.prop_map(|(file, instance, first, last, head, until)| Deleted { file, instance, first, last, head, until })
}

fn event() -> impl Strategy<Value = Event> {
    let heartbeat = (digest(), any::<u64>(), any::<u64>(), any::<bool>(), vec(deleted(), 0..3));
    let heartbeat = heartbeat.prop_map(|(revision, unrecorded, refusals_dropped, stale, deleted)| {
        Event::Heartbeat(Heartbeat { revision, mode: Mode::Enforce, unrecorded, refusals_dropped, stale, deleted })
    });
    let refused = (ip(), text(), any::<u64>()).prop_map(|(ip, reason, count)| Event::Refused(Refused { ip, reason, count }));
    prop_oneof![6 => decided().prop_map(|d| Event::Decided(Box::new(d))), 3 => ended().prop_map(Event::Ended), 1 => heartbeat, 1 => refused]
}

fn check<T: std::fmt::Debug>(cases: u32, strategy: impl Strategy<Value = T>, test: impl Fn(&T)) {
    let config = Config {
        cases,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&strategy, |value| {
            test(&value);
            Ok(())
        })
        .unwrap_or_else(|e| panic!("seed {SEED}: {e}"));
}

/// What serde makes of a line, by way of the types that readers use.
fn by_serde(seq: u64, prev: Digest, at: Timestamp, event: &Event) -> String {
    let head = format!(
        "{{\"v\":1,\"seq\":{seq},\"prev\":{},\"at\":{},",
        serde_json::to_string(&prev).unwrap(),
        serde_json::to_string(&at).unwrap()
    );
    head + serde_json::to_string(event).unwrap().strip_prefix('{').unwrap()
}

#[test]
fn lines_are_those_of_serde_and_come_back_as_they_went() {
    check(1_000, vec((time(), event()), 1..4), |events| {
        let (mut writer, mut reader, mut seen) = (ChainWriter::new(), ChainReader::new(), Vec::new());
        let mut texts = EventTexts::default();
        for (at, event) in events {
            let (seq, prev, begin) = (writer.next_seq(), writer.head(), seen.len());
            writer.append(*at, event, &mut seen);
            let line = seen[begin..].strip_suffix(b"\n").unwrap();
            assert_eq!(std::str::from_utf8(line).unwrap(), by_serde(seq, prev, *at, event));
            // A reader of another day takes the same record from it.
            let read = Record::from_line(line).unwrap();
            assert_eq!((read.seq, read.prev, read.at), (seq, prev, *at));
            assert_eq!(serde_json::to_string(&read.event).unwrap(), serde_json::to_string(event).unwrap());
            reader.accept(seq, prev, line).unwrap();
            texts.push(EventText::of(event).borrowed());
        }
        // By way of texts that are kept for a while, the chain is the same.
        let (mut writer, mut again) = (ChainWriter::new(), Vec::new());
        for ((at, _), text) in events.iter().zip(texts.iter()) {
            writer.append_text(*at, text, &mut again);
        }
        assert_eq!(again, seen);
    });
}

#[test]
fn memory_that_is_used_again_holds_nothing_of_before() {
    check(500, (ended(), ended(), decided()), |(first, second, decided)| {
        let mut text = EventText::of(&Event::Decided(Box::new(decided.clone())));
        text.ended(first);
        text.ended(second);
        assert_eq!(text, EventText::of(&Event::Ended(second.clone())));
        let mut texts = EventTexts::default();
        texts.push(text.borrowed());
        texts.clear(0);
        assert_eq!((texts.iter().count(), texts.size()), (0, 0));
        texts.push(EventText::of(&Event::Ended(first.clone())).borrowed());
        assert!(texts.iter().eq([EventText::of(&Event::Ended(first.clone())).borrowed()]));
    });
}
