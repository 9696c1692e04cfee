//! Lines cut by rotation in ledgers: the same as the audit joins, whatever the threads, the interruptions and the steps.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use portreeve_engine::decision::Effect;
use portreeve_engine::{Authorizer, Digest};

use super::{Build, Built, LedgerError, LedgerFile, RowKey};
use crate::foreign::Reading;
use crate::random::Random;
use crate::source::LogSource;
use crate::testing::{POLICY, authorizer};
use crate::{Assessment, Audit};

fn line(n: usize) -> String {
    let (host, caller) = (["items", "invoices"][n % 2], ["invoices", "users", "gateway"][n % 3]);
    format!(
        concat!(
            r#"{{"start_time":"2026-11-22T10:{:02}:{:02}.000Z","method":"GET","path":"/v1/{}/{}","response_code":200,"response_code_details":"via_upstream","#,
            r#""authority":"{}.shop.svc.cluster.local","upstream_cluster":"inbound|8080||","request_id":"r{}","#,
            r#""downstream_peer_uri_san":"spiffe://market.example/ns/shop/sa/{}","downstream_tls_version":"TLSv1.3","downstream_tls_cipher":"TLS_AES_128_GCM_SHA256","#,
            r#""downstream_peer_fingerprint_256":"{:064}","downstream_peer_cert_v_end":"2026-11-23T10:00:00Z"}}"#,
            "\n"
        ),
        n / 60,
        n % 60,
        host,
        n % 5,
        host,
        n,
        caller,
        n % 3
    )
}

impl Random {
    /// Places in the middle of lines, in order, each in another line.
    fn cuts(&mut self, text: &str, count: usize) -> Vec<usize> {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let share = lines.len() / (count + 1);
        let before = |n: usize| lines.iter().take(n).map(|line| line.len()).sum::<usize>();
        let cut = |random: &mut Self, n: usize| {
            let line = n * share + random.below(share);
            before(line) + 1 + random.below(lines[line].len() - 3)
        };
        (1..=count).map(|n| cut(self, n)).collect()
    }
}

fn build(law: &Authorizer, logs: &[PathBuf], out: &Path, threads: usize) -> Result<Built, LedgerError> {
    Build { law, reading: Reading::default(), threads }.run(logs, out, &|_| {})
}

fn audit(logs: &[PathBuf]) -> Assessment {
    let logs = logs.iter().map(|log| LogSource::File(log.clone()));
    Audit::new(vec![("policy".to_owned(), authorizer(POLICY))]).logs(logs).run(&mut |_| {}).unwrap()
}

/// Who called whom for what, as often as allowed and denied.
type Edges = BTreeMap<(String, String, String), [u64; 2]>;

/// The edges, and the uses of certificates.
fn counted(ledger: &LedgerFile) -> (Edges, u64) {
    let (mut edges, mut uses) = (Edges::new(), 0);
    for row in ledger.rows().unwrap().map(Result::unwrap) {
        match row.key {
            RowKey::Decided(key, _) => {
                let edge = (key.from.clone().unwrap_or_default(), key.to.clone(), key.operation.clone().unwrap_or_default());
                edges.entry(edge).or_default()[usize::from(key.effect == Effect::Deny)] += row.tally.count;
            }
            RowKey::Certificate(..) => uses += row.tally.count,
            RowKey::Refused(_) => {}
        }
    }
    (edges, uses)
}

/// What the audit of the same files counts, but for lines that wait for the next build.
fn agrees(ledger: &LedgerFile, audit: &Assessment, waiting: u64) {
    let sum = |of: fn(&super::Part) -> u64| ledger.parts.iter().map(of).sum::<u64>();
    let t = audit.totals;
    assert_eq!((sum(|p| p.lines) + waiting, sum(|p| p.decided)), (t.lines, t.decided));
    assert_eq!((sum(|p| p.rejected) + waiting, sum(|p| p.other)), (t.rejected, t.lifecycle));
    assert!(ledger.parts.iter().all(super::Part::balances));
    let mut edges = Edges::new();
    for edge in audit.edges.iter().filter(|e| e.allowed + e.denied > 0) {
        let of = (edge.from.clone().unwrap_or_default(), edge.to.clone(), edge.operation.clone().unwrap_or_default());
        let counts = edges.entry(of).or_default();
        *counts = [counts[0] + edge.allowed, counts[1] + edge.denied];
    }
    assert_eq!(counted(ledger), (edges, audit.certificates.iter().map(|c| c.requests).sum()));
    // The same lines, in the same places.
    let joined =
        |log: &str| ledger.parts.iter().find(|p| p.log == log).map(|_| ledger.parts.iter().find(|p| p.log == log && p.joined.is_some()));
    for input in &audit.inputs {
        let rest = input.coverage.joined.map(|j| audit.inputs[j.rest_input].path.as_str());
        let told = joined(&input.path).flatten().and_then(|part| part.joined.as_ref()).map(|rest| rest.log.as_str());
        assert_eq!(told, rest, "{}", input.path);
    }
}

/// Evidence of a joined line is the digest of both halves, which stand where its part says.
fn proved(folder: &Path, ledger: &LedgerFile) -> usize {
    let mut proved = 0;
    for row in ledger.rows().unwrap().map(Result::unwrap) {
        for evidence in &row.tally.evidence {
            let part = &ledger.parts[evidence.input];
            let Some(rest) = part.joined.as_ref().filter(|_| part.to > part.from) else { continue };
            let read = |log: &str| std::fs::read(folder.join(log)).unwrap();
            let bytes = |range: std::ops::Range<u64>| usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            let half = read(&part.log)[bytes(part.from..part.to)].to_vec();
            assert_eq!((part.sha256, evidence.line), (Digest::of(&half), 1));
            let next = LogSource::File(folder.join(&rest.log));
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut next.open().unwrap(), &mut text).unwrap();
            let other = &text[bytes(0..rest.bytes)];
            assert_eq!(rest.sha256, Digest::of(other));
            assert_eq!(evidence.sha256, Digest::of(&[&half, other].concat()));
            proved += 1;
        }
    }
    proved
}

/// Names of so many files, the oldest first, and whether names tell that.
fn names(style: usize, count: usize) -> (Vec<String>, bool) {
    let name = |n: usize| match style {
        0 if n + 1 == count => "access.log".to_owned(),
        0 => format!("access.log.{}", count - 1 - n),
        1 => format!("access-2026-11-{:02}.log", n + 10),
        2 => format!("part-{n:03}.ndjson"),
        _ => format!("pod-{}", ["q", "b", "x", "a", "m"][n]),
    };
    ((0..count).map(name).collect(), style < 3)
}

fn packed(bytes: &[u8], how: usize) -> (Vec<u8>, &'static str) {
    match how {
        0 => (zstd::encode_all(bytes, 1).unwrap(), ".zst"),
        1 => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(bytes).unwrap();
            (out.finish().unwrap(), ".gz")
        }
        _ => (bytes.to_vec(), ""),
    }
}

#[test]
fn lines_cut_by_rotation_are_joined_as_the_audit_joins_them() {
    let seed = 0x5eed_0030;
    println!("seed {seed:#x}");
    let (law, mut random, mut all, mut evident) = (authorizer(POLICY), Random(seed), 0, 0);
    let text: String = (0..160).map(line).collect();
    for round in 0..24 {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (names, told) = names(round % 4, 2 + random.below(4));
        let mut cuts = random.cuts(&text, names.len() - 1);
        cuts.push(text.len());
        let mut from = 0;
        let mut logs = Vec::new();
        for (name, to) in names.iter().zip(cuts) {
            let (bytes, end) = packed(&text.as_bytes()[from..to], if told { random.below(5) } else { 9 });
            logs.push(path(&format!("{name}{end}")));
            std::fs::write(logs.last().unwrap(), bytes).unwrap();
            from = to;
        }
        let whole = path("whole.ledger");
        let built = build(&law, &logs, &whole, 1).unwrap();
        let audited = audit(&logs);
        let joined = audited.inputs.iter().filter(|input| input.coverage.joined.is_some()).count();
        // Where only times tell what goes on where, halves that would fit another line, too, are left alone.
        assert!(joined == logs.len() - 1 || !told, "round {round}: {logs:?}");
        assert_eq!((built.joined, built.left == 0), (joined, joined == logs.len() - 1), "round {round}: {logs:?}");
        all += built.joined;
        let want = std::fs::read(&whole).unwrap();
        let ledger = LedgerFile::open(&whole).unwrap();
        agrees(&ledger, &audited, (logs.len() - 1 - joined) as u64);
        evident += proved(folder.path(), &ledger);
        // In any order, on any number of threads.
        let mut turned = logs.clone();
        turned.rotate_left(round % logs.len());
        build(&law, &turned, &path("turned.ledger"), 3).unwrap();
        assert_eq!(std::fs::read(path("turned.ledger")).unwrap(), want, "round {round}");
        assert!(build(&law, &logs, &whole, 1).unwrap().is_unchanged());
        assert_eq!(std::fs::read(&whole).unwrap(), want, "round {round}");
        // Broken off where a log cannot be read, and gone on with.
        let broken = random.below(logs.len());
        let held = std::fs::read(&logs[broken]).unwrap();
        std::fs::write(&logs[broken], "of no format\n".repeat(40)).unwrap();
        assert!(build(&law, &logs, &path("again.ledger"), 1).is_err());
        std::fs::write(&logs[broken], held).unwrap();
        let built = build(&law, &logs, &path("again.ledger"), 2).unwrap();
        assert_eq!((built.resumed, built.joined), (broken, joined), "round {round}");
        assert_eq!(std::fs::read(path("again.ledger")).unwrap(), want, "round {round}");
        // File by file, as they are rotated; where names tell what follows what.
        if told {
            for n in 1..=logs.len() {
                build(&law, &logs[..n], &path("steps.ledger"), 1).unwrap();
            }
            assert_eq!(std::fs::read(path("steps.ledger")).unwrap(), want, "round {round}");
            // And the other way round: the rest was there before the line it belongs to.
            for n in (0..logs.len()).rev() {
                build(&law, &logs[n..], &path("back.ledger"), 1).unwrap();
            }
            assert_eq!(std::fs::read(path("back.ledger")).unwrap(), want, "round {round}");
        }
    }
    assert!(all > 40 && evident > 20, "{all} {evident}");
}

#[test]
fn what_does_not_belong_together_waits_or_stays_rejected() {
    let law = authorizer(POLICY);
    let text: String = (0..90).map(line).collect();
    let folder = tempfile::tempdir().unwrap();
    let cuts = Random(0x5eed_0031).cuts(&text, 2);
    let bytes = text.as_bytes();
    let pieces = [&bytes[..cuts[0]], &bytes[cuts[0]..cuts[1]], &bytes[cuts[1]..]];
    let logs: Vec<PathBuf> = ["log.2", "log.1", "log"].map(|name| folder.path().join(name)).into();
    for (log, piece) in logs.iter().zip(pieces) {
        std::fs::write(log, piece).unwrap();
    }
    // The file between them is missing: the torn line waits, its would-be rest is rejected.
    let some = [logs[0].clone(), logs[2].clone()];
    let out = folder.path().join("some.ledger");
    let built = build(&law, &some, &out, 1).unwrap();
    assert!(built.joined == 0 && built.left > 0, "{built:?}");
    agrees(&LedgerFile::open(&out).unwrap(), &audit(&some), 1);
    // Once it is there everything is joined, into what a build at once gives.
    let built = build(&law, &logs, &out, 1).unwrap();
    assert_eq!((built.joined, built.left), (2, 0));
    build(&law, &logs, &folder.path().join("once.ledger"), 1).unwrap();
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(folder.path().join("once.ledger")).unwrap());
    // A half that stands in a ledger is not counted in another one as well.
    let one = folder.path().join("one.ledger");
    build(&law, &logs[..2], &one, 1).unwrap();
    let both = [LedgerFile::open(&one).unwrap(), LedgerFile::open(&out).unwrap()];
    assert!(matches!(super::merge(&both, &folder.path().join("m.ledger")), Err(LedgerError::Twice { .. })));
}
