//! A Chromium without a window, driven by a test over its debugging pipe: no port, no further program.
//!
//! It opens pages from disk, presses keys, asks for values, and keeps every noise a page makes: messages, exceptions, dialogs,
//! requests, further windows. Names are not resolved, so what a page tries to reach stays on this machine. It ends with the test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::{Value, json};

/// Where browsers are.
pub const BROWSERS: [&str; 4] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium"];

/// A running browser with one page.
pub struct Chromium {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    next: u64,
    session: Option<String>,
    events: Vec<Value>,
    /// Everything a page did that a report must not do.
    pub noises: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts it, or says why not.
    pub fn start() -> Option<Self> {
        let Some(program) = BROWSERS.into_iter().find(|path| Path::new(path).exists()) else {
            eprintln!("skipped: no Chromium at {BROWSERS:?}");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // The pipe is on descriptors 3 and 4, which a shell can make of the two that a child gets anyway.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", program])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, from) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut out, mut message) = (BufReader::new(out), Vec::new());
            while out.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { return };
                if tell.send(value).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut it = Self { child, to, from, next: 0, session: None, events: Vec::new(), noises: Vec::new(), _profile: profile };
        let target = it.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let session = it.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}))["sessionId"].clone();
        it.session = Some(session.as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            it.call(&format!("{domain}.enable"), json!({}));
        }
        Some(it)
    }

    /// Opens a page from disk at a width, light or dark, and waits until it is loaded.
    pub fn open(&mut self, page: &Path, width: u32, dark: bool) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}),
        );
        self.media("screen", dark);
        self.noises.clear();
        self.events.clear();
        self.call("Page.navigate", json!({"url": format!("file://{}", page.display())}));
        self.wait("Page.loadEventFired");
        self.noises.clear();
        // What was said while the page loaded was said to `hear`, too.
        for event in std::mem::take(&mut self.events) {
            self.hear(&event);
        }
    }

    /// As on a screen or on paper.
    pub fn media(&mut self, media: &str, dark: bool) {
        let scheme = json!([{"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": media, "features": scheme}));
    }

    /// The value of an expression, awaited where it is a promise.
    pub fn eval(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true, "awaitPromise": true}));
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The text of an expression.
    pub fn text(&mut self, expression: &str) -> String {
        self.eval(expression).as_str().unwrap_or_default().to_owned()
    }

    /// The number of an expression.
    pub fn number(&mut self, expression: &str) -> u64 {
        self.eval(expression).as_u64().unwrap()
    }

    /// Presses a key as a person does: `Tab`, `Enter`, `ArrowDown`, or a letter.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Space" => 32,
            "Home" => 36,
            "ArrowDown" => 40,
            letter => u32::from(letter.to_ascii_uppercase().as_bytes()[0]),
        };
        let text = match key {
            "Enter" => "\r",
            "Space" => " ",
            letter if letter.len() == 1 => letter,
            _ => "",
        };
        let key = if key == "Space" { " " } else { key };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        self.call("Input.dispatchKeyEvent", json!({"type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text}));
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}));
    }

    /// Asks the browser itself.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method});
        message["params"] = params;
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let answer = self.from.recv_timeout(PATIENCE).expect("the browser does not answer");
            if answer["id"] == id {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.hear(&answer);
            self.events.push(answer);
        }
    }

    fn wait(&mut self, event: &str) {
        while !self.events.iter().any(|e| e["method"] == event) {
            let next = self.from.recv_timeout(PATIENCE).expect("the page does not load");
            self.hear(&next);
            self.events.push(next);
        }
    }

    fn hear(&mut self, event: &Value) {
        let params = &event["params"];
        let noise = match event["method"].as_str().unwrap_or_default() {
            "Runtime.consoleAPICalled" => format!("console: {}", params["args"]),
            "Runtime.exceptionThrown" => format!("exception: {}", params["exceptionDetails"]),
            "Log.entryAdded" => format!("log: {}", params["entry"]),
            "Page.javascriptDialogOpening" => format!("dialog: {}", params["message"]),
            "Page.windowOpen" => format!("window: {}", params["url"]),
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                if params["type"] == "Document" && url.starts_with("file:") || url.starts_with("data:,") {
                    return;
                }
                format!("request: {url}")
            }
            _ => return,
        };
        self.noises.push(noise);
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const PATIENCE: Duration = Duration::from_secs(240);

const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
];
