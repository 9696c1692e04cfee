//! A client that is not ours: `curl` with OpenSSL and nghttp2 against the sidecars of a running town, over HTTP/1.1 and HTTP/2.
//!
//! It shows what a person sees at a terminal: 200, 403 with an id and nothing else, no answer without a certificate; and that
//! `portreeve why` leads from that id to the reason. Where there is no `curl`, the test says so and passes.

#![cfg(test)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use portreeve_demo::{Running, Token, Town, TownOptions, books};
use portreeve_engine::{Event, Record};
use serde_json::Value;

/// What `curl` got: its exit code, the status (0 without an answer), the version spoken, the body.
#[derive(Debug)]
struct Got {
    code: Option<i32>,
    status: u16,
    version: String,
    body: String,
}

/// Asks as `who` (or without a certificate), with more arguments if need be.
fn curl(dir: &Path, who: Option<&str>, url: &str, more: &[&str]) -> Got {
    let mut command = Command::new("curl");
    // An SVID has no DNS name, so that `curl` cannot check the server's; the sidecar's checks are what is tested here.
    command.args(["--silent", "--insecure", "--max-time", "20", "--write-out", "\n%{http_code} %{http_version}"]);
    if let Some(who) = who {
        let at = dir.join("svid").join(who);
        command.arg("--cert").arg(at.with_extension("pem")).arg("--key").arg(at.with_extension("key"));
    }
    let output = command.args(more).arg(url).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, last) = text.rsplit_once('\n').unwrap();
    let (status, version) = last.split_once(' ').unwrap();
    Got { code: output.status.code(), status: status.parse().unwrap(), version: version.to_owned(), body: body.to_owned() }
}

/// The id in a refusal, which must hold nothing else.
fn only_an_id(got: &Got) -> String {
    let value: Value = serde_json::from_str(&got.body).unwrap_or_else(|e| panic!("{e}: {got:?}"));
    let object = value.as_object().unwrap();
    assert_eq!(object.keys().collect::<Vec<_>>(), ["request_id"], "{got:?}");
    object["request_id"].as_str().unwrap().to_owned()
}

struct Asked {
    /// A refusal of `users` that asked `items`.
    wrong_caller: String,
    /// A refusal of `gateway` without a token.
    no_token: String,
    /// A path that can be read in two ways.
    two_readings: String,
}

fn ask(running: &Running, flag: &str, version: &str) -> Asked {
    let (dir, stage) = (running.dir(), running.stage());
    let url = |service: &str, path: &str| format!("https://{}{path}", stage.inbound(service).unwrap());
    let token = format!("authorization: Bearer {}", stage.token(Token::good("users", "users:read users:write")).unwrap());

    let got = curl(dir, Some("invoices"), &url("users", "/v1/users/42"), &[flag]);
    assert_eq!((got.code, got.status, got.version.as_str()), (Some(0), 200, version), "{got:?}");
    let got = curl(dir, Some("gateway"), &url("users", "/v1/users/42"), &[flag, "--header", &token]);
    assert_eq!((got.status, got.version.as_str()), (200, version), "{got:?}");

    // A body of many pieces arrives whole.
    let upload = dir.join("upload.bin");
    std::fs::write(&upload, vec![b'm'; 300_000]).unwrap();
    let file = format!("@{}", upload.display());
    let more = [flag, "--request", "PUT", "--header", &token, "--data-binary", &file];
    let got = curl(dir, Some("gateway"), &url("users", "/v1/users/42"), &more);
    assert!(got.status == 200 && got.body.contains("\"received\":300000"), "{got:?}");

    let wrong = curl(dir, Some("users"), &url("items", "/v1/items/42"), &[flag]);
    assert_eq!((wrong.status, wrong.version.as_str()), (403, version), "{wrong:?}");
    let no_token = curl(dir, Some("gateway"), &url("users", "/v1/users/42"), &[flag]);
    assert_eq!(no_token.status, 403, "{no_token:?}");
    let tricky = curl(dir, Some("invoices"), &url("users", "/v1/users/../users/42"), &[flag, "--path-as-is"]);
    assert_eq!(tricky.status, 400, "{tricky:?}");

    let stranger = curl(dir, None, &url("users", "/healthz"), &[flag]);
    assert!(stranger.code != Some(0) && stranger.status == 0 && stranger.body.is_empty(), "{stranger:?}");
    Asked { wrong_caller: only_an_id(&wrong), no_token: only_an_id(&no_token), two_readings: only_an_id(&tricky) }
}

fn portreeve(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portreeve")).args(args).output().unwrap()
}

/// What `portreeve why` says of a request.
fn why(dir: &Path, id: &str) -> String {
    let logs: Vec<String> = books::logs(dir).iter().map(|path| path.display().to_string()).collect();
    let bundle = dir.join("policies/marketplace-1").display().to_string();
    let mut args = vec!["why", id, "--bundle", &bundle];
    args.extend(logs.iter().map(String::as_str));
    let output = portreeve(&args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    text
}

#[test]
fn curl_is_allowed_denied_and_refused_and_why_explains_it() {
    let Ok(version) = Command::new("curl").arg("--version").output() else {
        eprintln!("skipped: there is no `curl` on this machine");
        return;
    };
    let mut flags = vec![("--http1.1", "1.1")];
    if String::from_utf8_lossy(&version.stdout).contains("HTTP2") {
        flags.push(("--http2", "2"));
    } else {
        eprintln!("HTTP/2 is skipped: this `curl` was built without it");
    }
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let town = Town::build(dir.path(), TownOptions::default()).unwrap();
    let running = runtime.block_on(town.start()).unwrap();
    let asked: Vec<Asked> = flags.iter().map(|(flag, version)| ask(&running, flag, version)).collect();
    // A service asks in the clear on its own machine; its sidecar brings the question there, and the answer back.
    let out = |from: &str, to: &str| -> SocketAddr { running.stage().outbound(from, to).unwrap() };
    let got = curl(dir.path(), None, &format!("http://{}/v1/items/42", out("invoices", "items")), &[]);
    assert_eq!(got.status, 200, "{got:?}");
    let got = curl(dir.path(), None, &format!("http://{}/v1/items/42", out("users", "items")), &[]);
    assert_eq!(got.status, 403, "{got:?}");
    let through = only_an_id(&got);
    runtime.block_on(running.stop());

    for Asked { wrong_caller, no_token, two_readings } in asked {
        for id in [&wrong_caller, &through] {
            let text = why(dir.path(), id);
            assert!(text.contains("deny, no-permission") && text.contains("by        `users`"), "{text}");
            assert!(text.contains("nearest   `invoices-reads-items` at "), "{text}");
        }
        let text = why(dir.path(), &no_token);
        assert!(text.contains("deny, condition-unmet") && text.contains("nearest   `gateway-reads-users` at permissions.yaml:"), "{text}");
        assert!(why(dir.path(), &two_readings).contains("deny, malformed-request"));
    }
    let none = portreeve(&["why", "01jd-0", &books::logs(dir.path())[0].display().to_string()]);
    assert_eq!(none.status.code(), Some(1));
}

/// The sidecar of `users` as a process of its own, whose files cannot grow beyond `kib`. It ends with the test.
struct Sidecar(Child);

impl Sidecar {
    fn start(dir: &Path, kib: u32) -> Self {
        // The signal is ignored, so that a write beyond the limit fails as on a full disk.
        let script = format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$0\" enforce --config \"$1\"");
        let config = dir.join("config/users.yaml");
        let child = Command::new("bash").arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_portreeve")).arg(config).spawn().unwrap();
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn on_a_full_disk_requests_are_refused_and_counted() {
    if ["curl", "bash", "prlimit"].iter().any(|tool| Command::new(tool).arg("--version").output().is_err()) {
        eprintln!("skipped: it needs `curl`, `bash` and `prlimit`");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let stage = Town::build(dir.path(), TownOptions::default()).unwrap().release();
    let url = format!("https://{}/v1/users/42", stage.inbound("users").unwrap());
    let mut sidecar = Sidecar::start(dir.path(), 16);
    let until = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(stage.inbound("users").unwrap()).is_err() {
        assert!(Instant::now() < until, "the sidecar does not start");
        sleep(Duration::from_millis(50));
    }
    // Denied for want of a token: there is no app behind this sidecar.
    let (mut denied, mut refused) = (BTreeSet::new(), BTreeSet::new());
    let mut ask = || {
        let got = curl(dir.path(), Some("gateway"), &url, &["--http1.1"]);
        let id = only_an_id(&got);
        let new = match got.status {
            403 => denied.insert(id),
            503 => refused.insert(id),
            _ => panic!("{got:?}"),
        };
        assert!(new, "{got:?}");
        got.status
    };
    assert!((0..200).any(|_| ask() == 503), "the disk is never full");
    assert!((0..5).all(|_| ask() == 503));
    let raised = Command::new("prlimit").args(["--pid", &sidecar.pid(), "--fsize=unlimited:unlimited"]).status().unwrap();
    assert!(raised.success());
    assert!((0..200).any(|_| ask() == 403), "it never writes again");
    assert!((0..3).all(|_| ask() == 403));
    assert!(Command::new("kill").args(["-TERM", &sidecar.pid()]).status().unwrap().success());
    assert_eq!(sidecar.0.wait().unwrap().code(), Some(0));

    let log = dir.path().join("logs/users.ndjson");
    let (mut decided, mut unrecorded) = (Vec::new(), 0);
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        match Record::from_line(line.as_bytes()).unwrap().event {
            Event::Decided(d) => decided.push(d.request.id),
            Event::Heartbeat(beat) => unrecorded += beat.unrecorded,
            Event::Stopped(stopped) => unrecorded += stopped.unrecorded,
            _ => {}
        }
    }
    let once: BTreeSet<String> = decided.iter().cloned().collect();
    assert_eq!(once.len(), decided.len(), "a request was decided twice");
    assert_eq!(once, denied, "what was answered 403 is what was decided");
    assert_eq!(unrecorded, u64::try_from(refused.len()).unwrap(), "every 503 is counted");
    let heads = log.with_extension("heads.ndjson");
    let files = [&log, &heads, &dir.path().join("heads.pub")].map(|path| path.display().to_string());
    let verified = portreeve(&["verify", &files[0], "--heads", &files[1], "--key", &files[2]]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
}
