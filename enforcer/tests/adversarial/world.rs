//! A world of one sidecar: its files, its authority, the service behind it, the process itself.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, PATIENCE, answers, rest};
use crate::log::Log;
use crate::pki::{Authority, Leaf, replace};
use crate::upstream::Upstream;

pub(crate) const DOMAIN: &str = "market.example";

/// What most cases are asked of: `invoices` may read and write items; nobody may do what `/admin` is.
pub(crate) const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
headers: {x-tenant: string, x-roles: list}
query: {full: boolean}
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: write-item, method: POST, path: "/v1/items/{id}"}
  - {id: admin, method: [GET, POST], path: "/admin/{rest*}"}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
operations: [{id: read, method: GET, path: "/v1/invoices"}]
---
kind: Service
name: users
identities: [spiffe://market.example/ns/shop/sa/users]
operations: [{id: read, method: GET, path: "/v1/users"}]
---
kind: Permission
name: invoices-items
allow: {from: [invoices], to: items, operations: [read-item, write-item]}
justification: An invoice line names the item sold.
owner: team-billing
"#;

pub(crate) fn spiffe(service: &str) -> String {
    format!("spiffe://{DOMAIN}/ns/shop/sa/{service}")
}

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) root: Authority,
    pub(crate) upstream: Upstream,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[("shop.yaml", SHOP)])
    }

    /// A world under these policy files.
    pub(crate) fn with(policies: &[(&str, &str)]) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), root: Authority::root(DOMAIN), upstream: Upstream::start() };
        replace(&world.path("roots.pem"), world.root.pem.as_bytes());
        world.leaf("items").write(world.dir.path(), "items");
        world.policies(policies);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts these policies in force at the next reload: a new directory, and the symlink moved.
    pub(crate) fn policies(&self, files: &[(&str, &str)]) {
        let n = (0..).find(|n| !self.path(&format!("policies-{n}")).exists()).unwrap();
        let dir = self.path(&format!("policies-{n}"));
        std::fs::create_dir(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(&dir, self.path("policies.new")).unwrap();
        std::fs::rename(self.path("policies.new"), self.path("policies")).unwrap();
    }

    pub(crate) fn leaf(&self, service: &str) -> Leaf {
        self.root.leaf(&[&spiffe(service)])
    }

    pub(crate) fn client(&self, service: &str) -> Client {
        Client::with(&self.leaf(service))
    }

    pub(crate) fn config(&self) -> String {
        format!(
            "service: items\nbundle: {{path: policies}}\nidentity:\n  cert: items.pem\n  key: items.key\n  trust: {{{DOMAIN}: roots.pem}}\n\
             inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{}\"}}]\nlog: {{path: decisions.ndjson, heartbeat: 50ms}}\n\
             admin: {{listen: \"127.0.0.1:0\"}}\nhealth: {{listen: \"127.0.0.1:0\"}}\ndrain: 1s\n",
            self.upstream.address
        )
    }

    pub(crate) fn start(&self) -> Sidecar {
        self.start_with(&self.config())
    }

    /// Starts the program with this configuration; it must come up.
    pub(crate) fn start_with(&self, config: &str) -> Sidecar {
        let path = self.path("enforcer.yaml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer"));
        command.arg("--config").arg(&path);
        Sidecar::spawn(command, &self.path("decisions.ndjson"))
    }

    /// Starts the program where it must not come up: its exit code and what it said.
    pub(crate) fn start_fails(&self, config: &str) -> (Option<i32>, String) {
        let path = self.path("enforcer.yaml");
        std::fs::write(&path, config).unwrap();
        let run = Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer")).arg("--check").arg("--config").arg(&path).output().unwrap();
        (run.status.code(), String::from_utf8_lossy(&run.stderr).into_owned())
    }
}

/// The program, running.
pub(crate) struct Sidecar {
    child: Child,
    pub(crate) inbound: SocketAddr,
    /// All inbound listeners, in the order of the configuration.
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) outbound: Vec<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) health: Option<SocketAddr>,
    said: Arc<Mutex<Vec<String>>>,
    log: PathBuf,
}

impl Sidecar {
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let begun = listen(child.stderr.take().unwrap(), Arc::clone(&said));
        let Ok(line) = begun.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("the sidecar does not start: {:?}", said.lock().unwrap());
        };
        let addresses = |what: &str| -> Vec<SocketAddr> {
            let inside = line.split(&format!("{what} [")).nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
            inside.split(", ").filter_map(|a| a.parse().ok()).collect()
        };
        let (inbound, admin, health) = (addresses("inbound"), addresses("admin"), addresses("health"));
        Self {
            child,
            inbound: inbound.first().copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 1))),
            listeners: inbound,
            outbound: addresses("outbound"),
            admin: admin.first().copied(),
            health: health.first().copied(),
            said,
            log: log.to_owned(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap().success());
    }

    /// Waits until it has said something that holds `what`.
    pub(crate) fn says(&self, what: &str) {
        until(&format!("it says `{what}`"), || self.said.lock().unwrap().iter().any(|line| line.contains(what)));
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// How many of its messages hold `what`.
    pub(crate) fn said_count(&self, what: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|line| line.contains(what)).count()
    }

    /// Ends it in order, and reads its log.
    pub(crate) fn stop(mut self) -> Log {
        self.signal("TERM");
        let code = self.child.wait().unwrap();
        assert_eq!(code.code(), Some(0), "{:?}: {}", code, self.said());
        assert!(!self.said().contains("panicked"), "{}", self.said());
        Log::read(&self.log, false)
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The log as it is now.
    pub(crate) fn log(&self) -> Log {
        Log::read(&self.log, true)
    }

    /// Waits until the log holds what is looked for.
    pub(crate) fn log_until(&self, what: &str, found: impl Fn(&Log) -> bool) -> Log {
        let mut log = self.log();
        until(what, || {
            log = self.log();
            found(&log)
        });
        log
    }

    pub(crate) fn page(&self, target: &str) -> Answer {
        page(self.admin.unwrap(), target)
    }

    /// The value of a metric, summed over its labels that hold `with`.
    pub(crate) fn metric(&self, name: &str, with: &str) -> f64 {
        let text = String::from_utf8(self.page("/metrics").body).unwrap();
        let lines = text.lines().filter(|l| l.split(['{', ' ']).next() == Some(name) && l.contains(with));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Resident memory in bytes.
    pub(crate) fn rss(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Clock ticks of processor time it has used.
    pub(crate) fn ticks(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps what it says, and sends the line that says it is up.
fn listen(stderr: std::process::ChildStderr, said: Arc<Mutex<Vec<String>>>) -> Receiver<String> {
    let (send, begun) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains("is enforced under") {
                let _ = send.send(line.clone());
            }
            said.lock().unwrap().push(line);
        }
    });
    begun
}

pub(crate) fn page(at: SocketAddr, target: &str) -> Answer {
    use std::io::Write as _;
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    answers(&rest(&mut stream)).into_iter().next().unwrap_or_else(|| panic!("no answer to `{target}`"))
}

/// Waits for what must come.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
