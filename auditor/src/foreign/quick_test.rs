//! The quick way against the general way, on lines of all sorts.

use portreeve_engine::Record;

use super::two::{Group, TwoLaws};
use super::{Deciding, ForeignFold, Format, Grade, Names, Place, Reading, Seen, Sketch, Taken};
use crate::fold::Fold;
use crate::heads::VerifiedHeads;
use crate::intake::{Intake, Line, Sink};
use crate::ledger::Tally;
use crate::random::Random;
use crate::replay::Replayer;
use crate::testing::{POLICY, authorizer, memory};

/// A fold that remembers nothing of deciding bytes.
struct GeneralWay<'a>(Fold<'a>);

impl Sink for GeneralWay<'_> {
    fn take(&mut self, line: &Line, record: Record) -> bool {
        self.0.take(line, record)
    }

    fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, _: Option<Deciding<'_>>) -> Taken {
        self.0.seen(format, place, seen, None)
    }
}

impl Random {
    /// Mostly the first.
    fn mostly<'t>(&mut self, of: &[&'t str]) -> &'t str {
        let n = if self.below(5) > 0 { 0 } else { self.below(of.len()) };
        of[n]
    }

    /// A line as Istio writes it, or nearly.
    fn line(&mut self, n: usize) -> String {
        let host = self.mostly(&["items", "invoices", "users", "nobody"]);
        let mut members = vec![
            format!(r#""start_time":"2026-11-22T1{}:{:02}:0{}.{:03}Z""#, self.below(3), n / 60 % 60, n % 10, self.below(1000)),
            format!(r#""method":"{}""#, self.mostly(&["GET", "GET", "GET", "POST", "-"])),
            format!(
                r#""path":"{}""#,
                self.mostly(&["/v1/items/1", "/v1/items/2", "/v1/invoices", "/", "/admin?x=1", "/%2F", "/é", r"/a\u0062"])
            ),
            format!(r#""response_code":{}"#, self.mostly(&["200", "200", "403", "503", "\"200\"", "0", "null", "1e999"])),
            format!(r#""response_code_details":"{}""#, self.mostly(&["via_upstream", "rbac_access_denied_matched_policy[none]", "-"])),
            format!(r#""request_id":"r{}""#, self.below(4 * n / 3 + 1)),
            format!(r#""authority":"{host}.shop.svc.cluster.local:8080""#),
            format!(r#""upstream_cluster":"{}|8080||{host}.shop.svc.cluster.local""#, self.mostly(&["inbound", "inbound", "outbound"])),
            format!(r#""downstream_remote_address":"10.0.0.{}:{}""#, self.below(30), self.below(60_000)),
            format!(r#""downstream_local_address":"10.1.0.{}:8080","upstream_host":"10.1.0.{}:8080""#, self.below(30), self.below(30)),
            format!(r#""downstream_local_uri_san":"spiffe://market.example/ns/shop/sa/{host}""#),
            format!(r#""bytes_sent":{},"user_agent":"a \"quoted\" one {n}""#, self.below(1_000_000)),
            r#""downstream_tls_version":"TLSv1.3","downstream_tls_cipher":"TLS_AES_128_GCM_SHA256""#.to_owned(),
        ];
        if self.below(6) > 0 {
            let caller = self.mostly(&["gateway", "invoices", "users", "stranger"]);
            members.push(format!(r#""downstream_peer_uri_san":"spiffe://market.example/ns/shop/sa/{caller}""#));
            let print = format!("{:0>64}", caller.len());
            members.push(format!(r#""downstream_peer_fingerprint_256":"{print}","downstream_peer_cert_v_end":"2026-11-22T11:00:00.000Z""#));
            members.push(format!(
                r#""downstream_peer_issuer":"{}","downstream_peer_serial":"1f""#,
                self.mostly(&["CN=new CA", "CN=old CA", "-"])
            ));
        }
        if self.below(3) > 0 {
            let direct = self.mostly(&["10.0.0.9:4000", "10.0.0.9:4001", "-", "@", r"10.0.0\u002e9:4000"]);
            members.push(format!(r#""downstream_direct_remote_address":"{direct}""#));
        }
        if self.below(4) == 0 {
            let gone = self.below(members.len());
            members.remove(gone);
        }
        if self.below(4) == 0 {
            let (a, b) = (self.below(members.len()), self.below(members.len()));
            members.swap(a, b);
        }
        match self.below(40) {
            0 => members.push(r#""method":"GET""#.to_owned()),
            1 => members.push(r#""timestamp":"2026-11-22T10:00:00.000Z""#.to_owned()),
            2 => members.push("\t\"x\":{\"y\":[1]}".to_owned()),
            3 => members.push("\"broken".to_owned()),
            _ => {}
        }
        format!("{{{}}}\n", members.join(","))
    }
}

/// Lines as Istio writes them, and some that it would not.
pub(crate) fn logs(seed: u64, lines: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..lines).map(|n| random.line(n)).collect::<String>().into_bytes()
}

#[test]
fn the_quick_way_counts_what_the_general_way_counts() {
    let law = authorizer(POLICY);
    for seed in [0x5eed_0010, 0x5eed_0011, 0x5eed_0012] {
        println!("seed {seed:#x}");
        let sources = [memory("one", &logs(seed, 3_000)), memory("two", &logs(seed + 99, 500))];
        let reading = Reading { format: Some(Format::IstioJson), ..Reading::default() };
        let fold = || Fold::new(Replayer::new([&law]), ForeignFold::new([&law], Names::default()));
        let read = |sink: &mut dyn Sink| -> Intake {
            crate::intake::read(&sources, &VerifiedHeads::default(), &reading, sink, &mut |_| {}).unwrap()
        };
        let (mut quick, mut general) = (fold(), GeneralWay(fold()));
        let (a, b) = (read(&mut quick), read(&mut general));
        let mut general = general.0;
        assert!(quick.foreign.again > 1_000, "{}", quick.foreign.again);
        assert_eq!(general.foreign.again, 0);
        quick.finish();
        general.finish();
        assert_eq!(quick.ledger, general.ledger);
        assert_eq!(quick.totals, general.totals);
        assert_eq!(quick.seen, general.seen);
        assert_eq!(quick.foreign.surplus, general.foreign.surplus);
        assert_eq!(quick.foreign.not_paired(), general.foreign.not_paired());
        println!("{:?}", quick.totals);
        assert!(quick.ledger.certificates.len() > 2 && quick.totals.denied > 50 && quick.totals.undetermined > 0);
        assert_eq!(format!("{:?}", a.inputs), format!("{:?}", b.inputs));
        assert!(a.inputs[0].rejected > 20);
    }
}

/// Two bundles, asked in the quick way or not.
struct Two<'a>(TwoLaws<'a>, bool);

impl Sink for Two<'_> {
    fn take(&mut self, _: &Line, _: Record) -> bool {
        true
    }

    fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<Deciding<'_>>) -> Taken {
        self.0.take(format, place, seen, deciding, |request| vec![request.service.len()])
    }

    fn caller_address_counts(&self) -> bool {
        self.0.caller_address_counts()
    }

    fn remembers(&self) -> bool {
        self.1
    }

    fn seen_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: Deciding<'_>) -> Option<(Taken, Grade)> {
        self.0.take_again(place, sketch, deciding)
    }
}

#[test]
fn two_bundles_are_told_in_the_quick_way_what_they_are_told_in_the_general_way() {
    let before = authorizer(POLICY);
    let after = authorizer(&POLICY.replace("from: [invoices], to: items", "from: [users], to: items"));
    assert_ne!(before.revision(), after.revision());
    let seed = 0x5eed_0013;
    println!("seed {seed:#x}");
    let sources = [memory("one", &logs(seed, 3_000)), memory("two", &logs(seed + 99, 500))];
    let reading = Reading { format: Some(Format::IstioJson), ..Reading::default() };
    let read = |quick: bool| -> (Vec<(Group, Tally)>, u64, u64) {
        let mut sink = Two(TwoLaws::new([&before, &after], Names::default()), quick);
        crate::intake::read(&sources, &VerifiedHeads::default(), &reading, &mut sink, &mut |_| {}).unwrap();
        let again = sink.0.again;
        let (groups, surplus) = sink.0.finish();
        (groups, surplus, again)
    };
    let (quick, general) = (read(true), read(false));
    assert_eq!(general.2, 0);
    assert!(quick.2 > 1_000, "{}", quick.2);
    assert_eq!((quick.0.len(), quick.1), (general.0.len(), general.1));
    assert!(quick.0 == general.0 && quick.0.len() > 20 && quick.1 > 0, "{:?}\n{:?}", quick.0, general.0);
}
