//! The report page in a real browser, opened from disk: nothing on it runs, calls out, complains or runs off its edge, and its
//! figures are those of `assessment.json`.
//!
//! The browser is Chromium, without a window; where there is none the tests say so and pass. Names are not resolved, so what a
//! page tries to reach stays on this machine. Two control pages show that the tests would see a script, a request and a refusal
//! of the page's own style.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot read what it tests has failed"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portreeve_auditor::assessment::Assessment;
use serde_json::Value;

#[path = "../reports/tests/sample/mod.rs"]
#[expect(unreachable_pub, reason = "shared with the tests of the renderers")]
#[cfg(test)]
mod sample;

#[test]
fn the_figures_in_the_browser_are_those_of_the_json_file() {
    let Some(browser) = browser() else { return };
    let dir = folder("figures");
    portreeve_reports::write_all(&sample::market(), &dir).unwrap();
    let seen = browser.open(&dir.join("index.html"), &dir);
    let file: Value = serde_json::from_slice(&fs::read(dir.join("assessment.json")).unwrap()).unwrap();
    let figures: Vec<_> = seen.dom.split(" data-field=\"").skip(1).collect();
    assert!(figures.len() > 20, "only {} figures are on the page", figures.len());
    for figure in figures {
        let (field, rest) = figure.split_once('"').unwrap();
        let (_, rest) = rest.split_once('>').unwrap();
        let (shown, _) = rest.split_once('<').unwrap();
        assert_eq!(shown.replace(',', ""), sample::figure(&file, field).unwrap().to_string(), "{field}");
    }
    for control in file["controls"].as_array().unwrap() {
        let (id, verdict) = (control["id"].as_str().unwrap(), control["verdict"].as_str().unwrap());
        let row = format!("data-control=\"pci-dss-4.0.1 {id}\" data-verdict=\"{verdict}\"");
        assert_eq!(seen.dom.matches(&row).count(), 1, "{row}");
    }
    assert_quiet(&seen);
}

#[test]
fn a_hostile_assessment_stays_text() {
    let Some(browser) = browser() else { return };
    let dir = folder("hostile");
    portreeve_reports::write_all(&sample::hostile(), &dir).unwrap();
    let seen = browser.open(&dir.join("index.html"), &dir);
    assert_quiet(&seen);
    for element in ["<img", "<iframe", "<b>bold", "<svg onload"] {
        assert!(!seen.dom.contains(element), "`{element}` became an element");
    }
    // The data block holds no `<`, so every `<script` and `<style` of the dump is an element.
    assert_eq!((seen.dom.matches("<script").count(), seen.dom.matches("<style").count()), (1, 1));
}

#[test]
fn the_test_would_see_a_script_and_a_request() {
    let Some(browser) = browser() else { return };
    let dir = folder("control");
    let page = dir.join("index.html");
    fs::write(&page, "<title>x</title><img src=http://127.0.0.1:9/><script>document.title='owned';console.log('hello')</script>").unwrap();
    let seen = browser.open(&page, &dir);
    assert_eq!(seen.title(), "owned");
    assert_eq!(seen.console.len(), 1, "{:?}", seen.console);
    assert_eq!(seen.requests, ["http://127.0.0.1:9/"]);
}

#[test]
fn only_the_named_style_applies() {
    let Some(browser) = browser() else { return };
    let dir = folder("style");
    let page = portreeve_reports::html(&sample::market()).unwrap().replacen("body{margin:0", "body{margin:1px", 1);
    fs::write(dir.join("index.html"), page).unwrap();
    let seen = browser.open(&dir.join("index.html"), &dir);
    assert!(seen.console.iter().any(|line| line.contains("Content Security Policy")), "{:?}", seen.console);
}

#[test]
fn nothing_runs_off_the_edge() {
    let Some(browser) = browser() else { return };
    for (name, assessment) in [("market", sample::market()), ("hostile", sample::hostile()), ("crowd", sample::crowd(200))] {
        for width in [390, 1200] {
            let dir = folder(&format!("edge-{name}-{width}"));
            let page = dir.join("frame.html");
            fs::write(&page, framed(&assessment, width)).unwrap();
            assert_eq!(browser.open(&page, &dir).title(), format!("{width} of {width}"), "{name}: content is wider than the page");
        }
    }
}

/// The report in a frame of a given width, every fold open, and a script outside it that measures.
fn framed(assessment: &Assessment, width: u32) -> String {
    let page = portreeve_reports::html(assessment).unwrap().replace("<details ", "<details open ");
    let (before, policy) = page.split_once("<meta http-equiv=\"Content-Security-Policy\"").unwrap();
    let (_, after) = policy.split_once('>').unwrap();
    let inner = format!("{before}{after}").replace('&', "&amp;").replace('"', "&quot;");
    let measure = "let e=this.contentDocument.documentElement;document.title=e.scrollWidth+' of '+e.clientWidth";
    format!(
        "<!doctype html><title>-</title><iframe width={width} height=20000 style=border:0 onload=\"{measure}\" srcdoc=\"{inner}\"></iframe>"
    )
}

fn assert_quiet(seen: &Seen) {
    assert!(seen.title().starts_with("Portreeve assessment · "), "{}", seen.title());
    assert!(seen.console.is_empty(), "{:?}", seen.console);
    assert!(seen.requests.is_empty(), "{:?}", seen.requests);
}

/// What the browser made of a page.
struct Seen {
    dom: String,
    console: Vec<String>,
    /// Addresses the page asked for, not those the browser asks for by itself.
    requests: Vec<String>,
}

impl Seen {
    fn title(&self) -> &str {
        let (_, title) = self.dom.split_once("<title>").unwrap();
        title.split_once("</title>").unwrap().0
    }
}

struct Browser(&'static str);

impl Browser {
    fn open(&self, page: &Path, dir: &Path) -> Seen {
        let (out, err, net) = (dir.join("dom.html"), dir.join("console.txt"), dir.join("net.json"));
        let mut child = Command::new(self.0)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", dir.join("profile").display()))
            .arg(format!("--log-net-log={}", net.display()))
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the browser did not end within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let console =
            String::from_utf8_lossy(&fs::read(&err).unwrap()).lines().filter(|l| l.contains(":CONSOLE")).map(Into::into).collect();
        let seen = Seen { dom: fs::read_to_string(&out).unwrap(), console, requests: requests(&fs::read(&net).unwrap()) };
        fs::remove_dir_all(dir.join("profile")).unwrap();
        seen
    }
}

/// Requests that some page began: the browser's own have no origin.
fn requests(net_log: &[u8]) -> Vec<String> {
    let log: Value = serde_json::from_slice(net_log).unwrap();
    let start = &log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"];
    assert!(start.is_u64(), "the network log names its events otherwise than expected");
    let events = log["events"].as_array().unwrap().iter().filter(|e| &e["type"] == start);
    let of_pages = events.map(|e| &e["params"]).filter(|p| p["initiator"].as_str().is_some_and(|i| i != "not an origin"));
    of_pages.filter_map(|p| p["url"].as_str()).map(Into::into).collect()
}

fn browser() -> Option<Browser> {
    let found = BROWSERS.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        eprintln!("skipped: no Chromium at {BROWSERS:?}");
    }
    found.map(Browser)
}

fn folder(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("report-page").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir
}

const BROWSERS: [&str; 4] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium"];

const PATIENCE: Duration = Duration::from_secs(120);

const FLAGS: [&str; 15] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--hide-scrollbars",
    "--window-size=1300,900",
    "--enable-logging=stderr",
    "--v=0",
    "--net-log-capture-mode=Everything",
    "--dump-dom",
];
