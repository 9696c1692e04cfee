//! Ledgers on disk: the same bytes whatever the order, the threads and the interruptions; nothing counted twice; nothing trusted.

use std::path::{Path, PathBuf};

use portreeve_engine::decision::{Effect, Reason};

use super::{Build, LedgerError, LedgerFile, RowKey, merge};
use crate::foreign::{Format, Reading};
use crate::testing::{Log, POLICY, authorizer, id};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

fn build(logs: &[PathBuf], out: &Path, threads: usize) -> Result<super::Built, LedgerError> {
    let law = authorizer(POLICY);
    Build { law: &law, reading: Reading::default(), threads }.run(logs, out, &|_| {})
}

fn istio(lines: usize, salt: usize) -> Vec<u8> {
    let line = |n: usize| {
        let n = n * 7 + salt;
        let (host, caller) = (["items", "invoices"][n % 2], ["invoices", "users", "gateway"][n % 3]);
        format!(
            concat!(
                r#"{{"start_time":"2026-11-22T{:02}:00:00.{:03}Z","method":"GET","path":"/v1/{}/{}","response_code":200,"response_code_details":"via_upstream","#,
                r#""authority":"{}.shop.svc.cluster.local","upstream_cluster":"inbound|8080||","request_id":"r{}","#,
                r#""downstream_peer_uri_san":"spiffe://market.example/ns/shop/sa/{}","downstream_local_uri_san":"spiffe://market.example/ns/shop/sa/{}"}}"#,
                "\n"
            ),
            n % 24,
            n % 1000,
            host,
            n % 5,
            host,
            n,
            caller,
            host
        )
    };
    (0..lines).map(line).collect::<String>().into_bytes()
}

fn ours() -> Vec<u8> {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    for n in 0..40 {
        log.ask(&law, &id(["invoices", "users"][n % 2]), "GET", &format!("/v1/items/{}", n % 3));
    }
    let mut first = log.question("users", "/v1/items/1", Some("read-item"), Effect::Deny, Reason::NoPermission, &[]);
    if let Some(tls) = &mut first.tls {
        (tls.issuer, tls.key) = (Some("CN=shop".to_owned()), Some("EC P-256".to_owned()));
    }
    log.decide(first);
    log.stop();
    log.out
}

#[test]
fn any_order_of_merging_gives_the_same_bytes() {
    let seed = 0x5eed_0020_u64;
    println!("seed {seed:#x}");
    let folder = Folder::new();
    let mut singles = Vec::new();
    let mut logs = Vec::new();
    for n in 0..6 {
        let bytes = if n == 0 { ours() } else { istio(50 + 30 * n, n) };
        let log = folder.write(&format!("log-{n}.ndjson"), &bytes);
        let out = folder.path(&format!("{n}.ledger"));
        build(std::slice::from_ref(&log), &out, 1).unwrap();
        singles.push(out);
        logs.push(log);
    }
    let whole = folder.path("whole.ledger");
    build(&logs, &whole, 2).unwrap();
    let want = std::fs::read(&whole).unwrap();
    let mut random = seed;
    for round in 0..12 {
        // Merge two picked at random until one is left.
        let mut left = singles.clone();
        while left.len() > 1 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let a = left.remove(usize::try_from(random >> 33).unwrap() % left.len());
            let b = left.remove(usize::try_from(random >> 41).unwrap() % left.len());
            let out = folder.path(&format!("m-{round}-{}.ledger", left.len()));
            merge(&[LedgerFile::open(&a).unwrap(), LedgerFile::open(&b).unwrap()], &out).unwrap();
            left.push(out);
        }
        assert_eq!(std::fs::read(&left[0]).unwrap(), want, "round {round}");
    }
    let file = LedgerFile::open(&whole).unwrap();
    let rows: Vec<_> = file.rows().unwrap().map(Result::unwrap).filter(|row| matches!(row.key, RowKey::Decided(..))).collect();
    assert_eq!(rows.iter().map(|row| row.tally.count).sum::<u64>(), file.parts.iter().map(|p| p.decided).sum::<u64>());
    assert!(file.parts.iter().all(|p| p.decided > 0) && file.len() > 50);
}

#[test]
fn a_log_that_grew_is_read_on_and_one_that_changed_is_refused() {
    let folder = Folder::new();
    let all = istio(300, 1);
    let cut = all.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(99).unwrap().0 + 40;
    let log = folder.write("a.ndjson", &all[..cut]);
    let out = folder.path("a.ledger");
    let built = build(std::slice::from_ref(&log), &out, 1).unwrap();
    assert_eq!((built.read, built.kept, built.left), (1, 0, 39));
    assert!(build(std::slice::from_ref(&log), &out, 1).unwrap().is_unchanged());
    std::fs::write(&log, &all).unwrap();
    let built = build(std::slice::from_ref(&log), &out, 1).unwrap();
    assert_eq!((built.read, built.kept, built.left), (1, 1, 0));
    let file = LedgerFile::open(&out).unwrap();
    assert_eq!(file.parts.iter().map(|p| p.decided).collect::<Vec<_>>(), [100, 200]);
    // Apart from how it was cut it counts what a build at once counts.
    let once = folder.path("once.ledger");
    build(std::slice::from_ref(&log), &once, 1).unwrap();
    let counts = |path: &Path| {
        let rows = LedgerFile::open(path).unwrap().rows().unwrap().map(Result::unwrap).collect::<Vec<_>>();
        rows.into_iter().map(|r| (r.key, r.tally.count, r.tally.first, r.tally.last)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&out), counts(&once));
    let mut changed = all;
    changed[20] = b'7';
    std::fs::write(&log, &changed).unwrap();
    assert!(matches!(build(std::slice::from_ref(&log), &out, 1), Err(LedgerError::Changed { from: 0, .. })));
}

#[test]
fn a_build_that_was_broken_off_goes_on() {
    let folder = Folder::new();
    let logs = [folder.write("a.ndjson", &istio(80, 1)), folder.write("b.ndjson", &istio(80, 2))];
    let out = folder.path("x.ledger");
    // The second log is there but cannot be read as one: the build ends with what it has.
    std::fs::write(&logs[1], b"\x1f\x8b\x08 no gzip\n").unwrap();
    let first = build(&logs, &out, 1);
    assert!(first.is_err() || first.unwrap().read == 2);
    let _ = std::fs::remove_file(&out);
    std::fs::create_dir_all(folder.path("y.ledger.parts")).unwrap();
    std::fs::write(&logs[1], istio(80, 2)).unwrap();
    let whole = folder.path("whole.ledger");
    build(&logs, &whole, 1).unwrap();
    // A run of the first log, as a build leaves it when it is broken off.
    let law = authorizer(POLICY);
    let part = LedgerFile::open(&whole).unwrap().parts[0].clone();
    let name = format!("{}\0{}\0{}\0{}\0{:?}", part.log, part.from, part.to, law.revision(), Reading::default().on_threads(1));
    let run = folder.path("y.ledger.parts").join(format!("{}.ledger", portreeve_engine::Digest::of(name.as_bytes()).hex()));
    build(&logs[..1], &run, 1).unwrap();
    super::joined::PartEnds::default().write(&run).unwrap();
    let again = folder.path("y.ledger");
    let built = build(&logs, &again, 1).unwrap();
    assert_eq!((built.read, built.resumed), (1, 1));
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&whole).unwrap());
    assert!(!folder.path("y.ledger.parts").exists());
}

#[test]
fn nothing_is_counted_twice_and_nothing_broken_is_believed() {
    let folder = Folder::new();
    let log = folder.write("a.ndjson", &istio(120, 3));
    let (one, two) = (folder.path("1.ledger"), folder.path("2.ledger"));
    for out in [&one, &two] {
        build(std::slice::from_ref(&log), out, 1).unwrap();
    }
    let both = [LedgerFile::open(&one).unwrap(), LedgerFile::open(&two).unwrap()];
    assert!(matches!(merge(&both, &folder.path("m.ledger")), Err(LedgerError::Twice { .. })));
    let bytes = std::fs::read(&one).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    for at in (0..bytes.len()).step_by(97) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let path = folder.write("changed.ledger", &changed);
        assert!(LedgerFile::open(&path).is_err(), "byte {at}");
        let path = folder.write("cut.ledger", &bytes[..at]);
        assert!(LedgerFile::open(&path).is_err(), "cut at {at}");
    }
    // Rewritten with a digest of its own: the books do not balance.
    let body = text.rsplit_once("{\"sha256\"").unwrap().0.replacen("\"count\":1,", "\"count\":2,", 1);
    assert_ne!(body, text.rsplit_once("{\"sha256\"").unwrap().0);
    let forged = format!("{body}{{\"sha256\":\"{}\"}}\n", portreeve_engine::Digest::of(body.as_bytes()));
    let error = LedgerFile::open(&folder.write("forged.ledger", forged.as_bytes())).unwrap_err();
    assert!(error.to_string().contains("do not add up"), "{error}");
    // What cannot be read is told with the line of the file and its column.
    for (number, what) in [(1, "it is no head of a ledger"), (2, "it is no part"), (3, "it is no row"), (5, "it is no row")] {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.pop();
        lines[number - 1] = lines[number - 1].replacen(':', " ", 1);
        let body = lines.join("\n") + "\n";
        let forged = format!("{body}{{\"sha256\":\"{}\"}}\n", portreeve_engine::Digest::of(body.as_bytes()));
        let error = LedgerFile::open(&folder.write("forged.ledger", forged.as_bytes())).unwrap_err().to_string();
        assert!(error.contains(&format!(": line {number}: {what}: expected `:` at column ")), "{error}");
        assert_eq!(error.matches("line ").count(), 1, "{error}");
    }
}

#[test]
fn every_row_survives_being_written() {
    let folder = Folder::new();
    let out = folder.path("x.ledger");
    build(&[folder.write("ours.ndjson", &ours()), folder.write("istio.ndjson", &istio(60, 1))], &out, 2).unwrap();
    let file = LedgerFile::open(&out).unwrap();
    let rows: Vec<_> = file.rows().unwrap().map(Result::unwrap).collect();
    for row in &rows {
        assert_eq!(super::Row::read(&row.write().unwrap()).unwrap(), *row);
    }
    assert!(rows.iter().any(|r| matches!(&r.key, RowKey::Decided(k, _) if k.origin == Format::Portreeve)));
    let issued = rows.iter().filter_map(|r| r.certificate.as_ref()).map(|c| (c.4.issuer.as_deref(), c.4.key.as_deref()));
    let issued: Vec<_> = issued.filter(|(issuer, _)| issuer.is_some()).collect();
    assert_eq!(issued, [(Some("CN=shop"), Some("EC P-256"))]);
}

/// A table names its columns once, and a part of it that begins later has them all the same.
#[test]
fn a_mapped_log_is_continued_behind_the_head_of_its_columns() {
    let folder = Folder::new();
    let mapping = "lines: csv\nfields: {time: at, caller: who, callee: to, method: verb, path: target, status: code}\ngrade: B\n";
    let reading = || Reading::of(crate::foreign::Mapping::parse("m.yaml", mapping).unwrap());
    let line = |n: usize| {
        format!("{},2026-11-22T10:00:{:02}Z,spiffe://market.example/ns/shop/sa/invoices,items,GET,/v1/items/{},200\n", n, n % 60, n % 3)
    };
    let table = |range: std::ops::Range<usize>| range.map(line).collect::<String>();
    let law = authorizer(POLICY);
    let build = |log: &PathBuf, out: &str| {
        let out = folder.path(out);
        let built = Build { law: &law, reading: reading(), threads: 1 }.run(std::slice::from_ref(log), &out, &|_| {}).unwrap();
        (built.read, LedgerFile::open(&out).unwrap())
    };
    let head = "no,at,who,to,verb,target,code\n";
    let log = folder.write("log.csv", format!("{head}{}", table(0..30)).as_bytes());
    assert_eq!(build(&log, "a.ledger").0, 1);
    std::fs::write(&log, format!("{head}{}", table(0..50))).unwrap();
    let (read, ledger) = build(&log, "a.ledger");
    let [first, second] = ledger.parts.as_slice() else { panic!("{:?}", ledger.parts) };
    assert_eq!((read, first.lines, first.decided, first.other), (1, 31, 30, 1));
    assert_eq!((second.lines, second.decided, second.rejected, second.format.as_str()), (20, 20, 0, "mapped"));
    let (_, whole) = build(&log, "b.ledger");
    assert_eq!((whole.parts[0].decided, whole.len()), (50, ledger.len()));
}
