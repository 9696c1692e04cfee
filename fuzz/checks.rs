//! What must hold for any bytes at all. The fuzz targets call these functions with random input, and a test of the engine
//! calls them with the seeds and with everything that was ever found.
//!
//! Nothing here knows what the right answer is; it knows what no answer may do: panic, differ from itself, or point nowhere.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use portreeve_engine::bundle::{BuiltBundle, SourceFile};
use portreeve_engine::chain::{ChainReader, ChainWriter};
use portreeve_engine::path::{CanonicalPath, Paths};
use portreeve_engine::request::{Method, parse_query, parse_target};
use portreeve_engine::yaml::{self, Node, Value};
use portreeve_engine::{Authorizer, Bundle, Diagnostic, Event, Record, Request, SpiffeId, Svid};

/// A certificate: read or refused; what was read can be written and read again.
pub fn svid(data: &[u8]) {
    if let Ok(svid) = Svid::from_der(data) {
        assert_eq!(svid.id.to_string().parse::<SpiffeId>().as_ref(), Ok(&svid.id));
        assert!(svid.id.is_workload());
        assert!(!svid.serial.is_empty());
    }
    let _ = portreeve_engine::svid::check_signing_certificate(data);
}

/// A decision log, line by line: what was read is written as a line that reads the same, and can be asked again.
pub fn record(data: &[u8]) {
    let mut reader = ChainReader::new();
    let mut writer = ChainWriter::new();
    for line in data.split(|b| *b == b'\n') {
        let _ = Request::from_json(line);
        let Ok(record) = Record::from_line(line) else { continue };
        let _ = reader.accept(record.seq, record.prev, line);
        if let Event::Decided(decided) = &record.event {
            for paths in Paths::ALL {
                let _ = decided.request(record.at, paths);
            }
        }
        let mut written = Vec::new();
        writer.append(record.at, &record.event, &mut written);
        let again = Record::from_line(written.trim_ascii_end());
        assert!(again.is_ok_and(|again| again.event == record.event && again.at == record.at), "a record does not survive being written");
    }
}

/// A request target: its canonical form is a fixed point, and has no ambiguous segment.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = CanonicalPath::parse(text) {
        assert_eq!(CanonicalPath::parse(path.as_str()).as_ref(), Ok(&path));
        assert_eq!(CanonicalPath::parse_recorded(path.as_str(), Paths::Strict).as_ref(), Ok(&path));
        assert!(path.segments().all(|s| !matches!(s, "." | "..") && !s.contains(['\\', ';', '#', '?', '\0'])));
        assert!(path.as_str().bytes().all(|b| b.is_ascii_graphic()));
    }
    for paths in Paths::ALL {
        if let Ok(path) = CanonicalPath::parse_recorded(text, paths) {
            assert_eq!(CanonicalPath::parse_recorded(path.as_str(), paths).as_ref(), Ok(&path));
        }
        let _ = parse_target(text, paths);
    }
    if let Ok((_, Some(query))) = parse_target(text, Paths::Strict) {
        let _ = parse_query(query, |_| true);
    }
    let _ = parse_query(text, |_| true);
    let _ = Method::parse(text);
    if let Ok(id) = text.parse::<SpiffeId>() {
        assert_eq!(id.to_string(), text);
    }
}

/// A file of resources: every node and every complaint points into the text.
pub fn yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match yaml::parse("a.yaml", text) {
        Ok(documents) => documents.iter().for_each(|d| points_into(d, text)),
        Err(diagnostic) => sound(&diagnostic, &[("a.yaml", text)]),
    }
}

/// The last line anything may point to: YAML counts a carriage return as a line break too, and the end has a line of its own.
fn lines(text: &str) -> u32 {
    u32::try_from(text.split(['\n', '\r']).count() + 1).unwrap_or(u32::MAX)
}

fn points_into(node: &Node, text: &str) {
    assert!(node.line >= 1 && node.column >= 1 && node.length >= 1);
    assert!(node.line <= lines(text), "line {} of {}", node.line, lines(text));
    match &node.value {
        Value::Scalar(..) => {}
        Value::Sequence(items) => items.iter().for_each(|i| points_into(i, text)),
        Value::Mapping(items) => items.iter().for_each(|(k, v)| {
            points_into(k, text);
            points_into(v, text);
        }),
    }
}

/// A built bundle, given as the archive under the compression: read or refused; what has a manifest is written as it was read.
pub fn archive(data: &[u8]) {
    let _ = BuiltBundle::read("raw", data);
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(2));
    let packed = gzip.write_all(data).and_then(|()| gzip.finish()).unwrap_or_default();
    let Ok(built) = BuiltBundle::read("fuzz", &packed) else { return };
    assert!(built.bundle.files.iter().all(|f| !f.path.starts_with('/') && f.path.split('/').all(|part| !matches!(part, "" | "." | ".."))));
    if built.manifest.is_some() {
        let again = built.to_bytes().map(|bytes| BuiltBundle::read("again", &bytes));
        assert!(again.is_ok_and(|again| again.is_ok_and(|a| a.manifest == built.manifest && a.bundle.files == built.bundle.files)));
    }
}

/// A bundle: compiled or refused; what compiles answers, and answers the same twice. A line `%% path` begins a file.
pub fn bundle(data: &[u8]) {
    compiles(data);
}

/// The same, and whether it compiled.
pub fn compiles(data: &[u8]) -> bool {
    let Ok(bundle) = Bundle::from_files("fuzz", files(data)) else { return false };
    let compiled = Authorizer::compile(&bundle);
    let texts: Vec<(&str, &str)> =
        bundle.files.iter().filter_map(|f| Some((f.path.as_str(), std::str::from_utf8(&f.bytes).ok()?))).collect();
    compiled.diagnostics.iter().for_each(|d| sound(d, &texts));
    let Some(authorizer) = compiled.authorizer else {
        assert!(compiled.diagnostics.iter().any(Diagnostic::is_error), "refused without an error");
        return false;
    };
    assert!(!compiled.diagnostics.iter().any(Diagnostic::is_error), "compiled in spite of an error");
    for line in REQUESTS {
        let Ok(request) = Request::from_json(line.as_bytes()) else { continue };
        let first = authorizer.decide(&request);
        assert_eq!(first, authorizer.decide(&request), "two answers to one question");
        let _ = authorizer.facts(&request, &first);
    }
    true
}

/// A complaint has words, no control characters when shown, and a place in the file it names.
fn sound(diagnostic: &Diagnostic, texts: &[(&str, &str)]) {
    assert!(!diagnostic.message.is_empty());
    assert!(diagnostic.render().chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{diagnostic:?}");
    if let Some(at) = &diagnostic.location
        && let Some((_, text)) = texts.iter().find(|(name, _)| *name == at.file)
    {
        assert!(at.line >= 1 && at.column >= 1 && at.length >= 1, "{diagnostic:?}");
        assert!(at.line <= lines(text), "{diagnostic:?}");
    }
}

fn files(data: &[u8]) -> Vec<SourceFile> {
    let mut files = vec![SourceFile { path: "a.yaml".to_owned(), bytes: Vec::new() }];
    for line in data.split_inclusive(|b| *b == b'\n') {
        let name = line.strip_prefix(b"%% ").and_then(|name| std::str::from_utf8(name.trim_ascii()).ok());
        match (name, files.last_mut()) {
            (Some(name), _) => files.push(SourceFile { path: name.to_owned(), bytes: Vec::new() }),
            (None, Some(file)) => file.bytes.extend_from_slice(line),
            (None, None) => {}
        }
    }
    files
}

const REQUESTS: [&str; 3] = [
    r#"{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"items","method":"GET","path":"/v1/items/42?full=1","context":{"time":"2026-11-22T10:00:00.000Z","source_ip":"10.0.0.7","headers":{"x-tenant":"eu"},"jwt":{"iss":"https://idp.market.example","sub":"ann","aud":["items"],"scope":"items:read"}}}"#,
    r#"{"principal":"spiffe://market.example/ns/shop/sa/users","service":"items","method":"POST","path":"/v1/items","context":{"time":"2027-11-22T10:00:00.000Z"}}"#,
    r#"{"principal":"spiffe://other.example/x","service":"items","port":5432,"context":{"time":"1970-01-01T00:00:00.000Z"}}"#,
];
