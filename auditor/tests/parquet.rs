//! A log and its Parquet copy, by two writers: the same findings, verdicts and numbers, whatever reads them.

#![cfg(test)]

use std::path::{Path, PathBuf};

use portreeve_auditor::controls::BUILT_IN;
use portreeve_auditor::foreign::{Format, Mapping, Reading};
use portreeve_auditor::ledgers::{Build, LedgerFile};
use portreeve_auditor::suggest::Ground;
use portreeve_auditor::{Audit, Catalog, LogSource, ReadError, Sample, suggest, verify};
use portreeve_engine::{Authorizer, Bundle, Digest, SourceFile};
use serde_json::Value;

fn corpus(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/logs").join(file)
}

fn law(folder: &str) -> Authorizer {
    let bytes = std::fs::read(corpus(folder).join("policy.yaml")).unwrap();
    let file = SourceFile { path: "policy.yaml".to_owned(), bytes };
    Authorizer::compile(&Bundle::from_files(folder, vec![file]).unwrap()).authorizer.unwrap()
}

fn reading(folder: &str) -> Reading {
    let mapping = std::fs::read_to_string(corpus(folder).join("mapping.yaml"));
    mapping.map(|text| Reading::of(Mapping::parse("mapping.yaml", &text).unwrap())).unwrap_or_default()
}

fn source(bytes: Vec<u8>) -> LogSource {
    LogSource::Memory { name: "log".to_owned(), bytes }
}

/// The lines of a log that a table can hold: those that are objects, or rows below a head.
fn objects(file: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(corpus(file)).unwrap();
    let is_table = file.ends_with(".csv");
    text.lines().filter(|line| is_table || serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object())).fold(
        Vec::new(),
        |mut out, line| {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
            out
        },
    )
}

/// The assessment without what must differ: the digests of bytes that are others.
fn assess(folder: &str, log: LogSource) -> Value {
    let audit = Audit::new(vec![(folder.to_owned(), law(folder))]).logs([log]).reading(reading(folder));
    let audit = BUILT_IN.into_iter().fold(audit, |audit, id| audit.catalog(Catalog::built_in(id).unwrap()));
    let mut out = serde_json::to_value(audit.run(&mut |_| {}).unwrap()).unwrap();
    let input = out["inputs"][0].as_object_mut().unwrap();
    input.remove("parquet");
    out["method"].as_array_mut().unwrap().retain(|said| !said.as_str().unwrap().contains("row by row"));
    out
}

fn blind(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with("sha256:") => *text = "a digest".to_owned(),
        Value::Array(items) => items.iter_mut().for_each(blind),
        Value::Object(fields) => fields.values_mut().for_each(blind),
        _ => {}
    }
}

fn difference(at: &str, a: &Value, b: &Value, out: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => {
            x.iter().for_each(|(key, a)| difference(&format!("{at}.{key}"), a, &y[key], out))
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            x.iter().zip(y).enumerate().for_each(|(n, (a, b))| difference(&format!("{at}[{n}]"), a, b, out))
        }
        _ if a == b => {}
        _ => out.push(format!("{at}: {a} and {b}")),
    }
}

#[test]
fn a_log_and_its_parquet_copy_say_the_same() {
    for (folder, log, copy) in [
        ("istio", "istio/access.json", "parquet/istio.parquet"),
        ("istio", "istio/access.json", "parquet/istio-duckdb.parquet"),
        ("hubble", "hubble/hipstershop.jsonl", "parquet/hubble.parquet"),
        ("opa", "opa/decisions.jsonl", "parquet/opa.parquet"),
    ] {
        let mut text = assess(folder, source(objects(log)));
        let mut rows = assess(folder, source(std::fs::read(corpus(copy)).unwrap()));
        assert!(text["totals"]["decided"].as_u64().unwrap() > 1, "{log}");
        blind(&mut text);
        blind(&mut rows);
        let mut found = Vec::new();
        difference("", &text, &rows, &mut found);
        assert!(found.is_empty(), "{copy}\n{}", found.join("\n"));
    }
}

/// A table with a head has one line more, which says nothing of a request.
#[test]
fn a_mapping_of_columns_reads_the_columns_of_a_parquet_file() {
    let text = assess("mapped", source(objects("mapped/flows.csv")));
    let rows = assess("mapped", LogSource::File(corpus("parquet/flows.parquet")));
    assert!(text["totals"]["decided"].as_u64().unwrap() > 1);
    for part in ["decided", "allowed", "denied", "duplicates", "rejected", "not_replayable"] {
        assert_eq!(text["totals"][part], rows["totals"][part], "{part}");
    }
    assert_eq!(text["totals"]["lines"].as_u64().unwrap(), rows["totals"]["lines"].as_u64().unwrap() + 1);
    assert_eq!(text["edges"], rows["edges"]);
    let verdicts =
        |a: &Value| a["controls"].as_array().unwrap().iter().map(|c| (c["id"].clone(), c["verdict"].clone())).collect::<Vec<_>>();
    assert_eq!(verdicts(&text), verdicts(&rows));
}

#[test]
fn evidence_is_the_row_and_the_digest_of_its_text() {
    let path = corpus("parquet/istio.parquet");
    let rows = {
        let mut out = String::new();
        std::io::Read::read_to_string(&mut LogSource::File(path.clone()).open().unwrap(), &mut out).unwrap();
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let bytes = std::fs::read(&path).unwrap();
    let assessed = assess("istio", LogSource::File(path.clone()));
    assert_eq!(assessed["inputs"][0]["sha256"], Digest::of(&bytes).to_string());
    let mut seen = 0;
    for finding in assessed["findings"].as_array().unwrap() {
        for evidence in finding["evidence"].as_array().unwrap() {
            let row = &rows[usize::try_from(evidence["line"].as_u64().unwrap()).unwrap() - 1];
            assert_eq!(evidence["sha256"], Digest::of(row.as_bytes()).to_string());
            seen += 1;
        }
    }
    assert!(seen > 10);
    // A sample for an assessor proves its rows, too.
    let draw = portreeve_auditor::sample::Draw { size: 9, seed: 7, digests_only: false };
    let sample = Sample::draw(&[LogSource::File(path.clone())], draw).unwrap();
    assert!(
        sample.entries.len() == 9
            && sample.entries.iter().all(|e| e.text.as_deref() == rows.get(usize::try_from(e.line).unwrap() - 1).map(String::as_str))
    );
    assert_eq!(sample.check(&[LogSource::File(path)]).unwrap().faults.len(), 0);
}

#[test]
fn policy_is_drafted_of_the_copy_as_of_the_log() {
    let draft = |log| suggest(&[log], &Reading::default(), Ground::default(), &mut |_| {}).unwrap();
    let text = draft(source(objects("istio/access.json")));
    let rows = draft(source(std::fs::read(corpus("parquet/istio.parquet")).unwrap()));
    assert!(text.files == rows.files && !text.files.is_empty());
}

#[test]
fn a_ledger_has_it_as_one_part() {
    let dir = tempfile::tempdir().unwrap();
    let law = law("istio");
    let text = dir.path().join("log.json");
    std::fs::write(&text, objects("istio/access.json")).unwrap();
    let build = |log: &Path, name: &str| {
        let out = dir.path().join(name);
        let build = Build { law: &law, reading: Reading::default(), threads: 2 };
        build.run(&[log.to_owned()], &out, &|_| {}).unwrap();
        // Known by its bytes, and nothing is read twice.
        assert_eq!(build.run(&[log.to_owned()], &out, &|_| {}).unwrap().read, 0);
        LedgerFile::open(&out).unwrap()
    };
    let (a, b) = (build(&text, "a.ledger"), build(&corpus("parquet/istio.parquet"), "b.ledger"));
    let ([of_text], [of_rows]) = (&*a.parts, &*b.parts) else { panic!("{:?}", b.parts) };
    assert_eq!(
        (a.len(), of_text.lines, of_text.decided, of_text.undetermined),
        (b.len(), of_rows.lines, of_rows.decided, of_rows.undetermined)
    );
    assert_eq!((of_rows.from, of_rows.to), (0, std::fs::metadata(corpus("parquet/istio.parquet")).unwrap().len()));
}

#[test]
fn what_a_parquet_file_cannot_be_is_refused_with_the_way_out() {
    let rows = || LogSource::File(corpus("parquet/istio.parquet"));
    let told = |error: &ReadError| format!("{error}; {}", error.help().unwrap_or_default());
    let run = |log, reading| Audit::new(vec![("istio".to_owned(), law("istio"))]).logs([log]).reading(reading).run(&mut |_| {});
    let refused = |log, reading| match run(log, reading) {
        Err(portreeve_auditor::AuditError::Read(error)) => told(&error),
        other => panic!("{:?}", other.map(|a| a.totals)),
    };
    let as_text = Reading { format: Some(Format::IstioText), ..Reading::default() };
    assert!(refused(rows(), as_text).contains("`istio-text` is a format of lines of text; columns are read as keys of JSON"));
    assert!(refused(rows(), Reading::ours()).contains("evidence by the bytes of its lines; give the log as the enforcer wrote it"));
    let verified = verify(&[rows()], &Default::default(), &mut |_| {}).unwrap_err();
    assert!(told(&verified).contains("evidence by the bytes of its lines"));
    let types = LogSource::File(corpus("parquet/types-v1-none.parquet"));
    assert!(refused(types, Reading::default()).contains("is of a format that is known; say which it is with `--log-format`"));
    let bytes = std::fs::read(corpus("parquet/istio.parquet")).unwrap();
    let mut damaged = bytes.clone();
    damaged[200] ^= 0xff;
    let why = refused(source(damaged), Reading::default());
    assert!(why.contains("cannot read `log` after line ") && why.contains("row group 1, column `"), "{why}");
    let cut = source(bytes[..9000].to_vec());
    assert!(refused(cut, Reading::default()).contains("cannot open `log`: the Parquet file is cut off"));
    let packed = source(zstd::encode_all(&*bytes, 1).unwrap());
    assert!(refused(packed, Reading::default()).contains("compressed as a whole; unpack it first"));
}
