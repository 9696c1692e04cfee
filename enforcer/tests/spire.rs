//! Two enforcers that get their identities from real SPIRE: a server and an agent of it run here where `spire-server` and `spire-agent`
//! can be executed; elsewhere the reason is printed. `.ci/run` builds them.

#![cfg(test)]

#[path = "common/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::config::Config;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::tls::Standing;
use portreeve_engine::Timestamp;
use portreeve_engine::record::Why;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use world::{SHOP, World, decided, ended, fixed, rest, status};

/// How long SVIDs live here: renewed at half of it, so that a test sees that.
const LIFE: &str = "20";
const PARENT: &str = "spiffe://market.example/agent";

/// A server and an agent, ended with this.
struct Spire {
    dir: PathBuf,
    server: Option<Running>,
    _agent: Running,
}

/// A process that is ended, by its id, with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn started(program: &str, config: &Path, more: &[&str]) -> Running {
    let log = std::fs::File::create(config.with_extension("log")).unwrap();
    let (out, err) = (Stdio::from(log.try_clone().unwrap()), Stdio::from(log));
    Running(Command::new(program).args(["run", "-config"]).arg(config).args(more).stdout(out).stderr(err).spawn().unwrap())
}

/// Waits for something that comes about by itself.
async fn until<T>(what: &str, dir: &Path, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        if began.elapsed() > Duration::from_secs(60) {
            let log = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
            panic!("{what} did not come about\n{}\n{}", log("server.log"), log("agent.log"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Spire {
    async fn start(dir: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for folder in ["server", "agent"] {
            std::fs::create_dir(dir.join(folder)).unwrap();
        }
        for (name, text) in [("server.conf", include_str!("spire/server.conf")), ("agent.conf", include_str!("spire/agent.conf"))] {
            let text = text.replace("@DIR@", dir.to_str().unwrap()).replace("@PORT@", &port.to_string());
            std::fs::write(dir.join(name), text).unwrap();
        }
        let server = started("spire-server", &dir.join("server.conf"), &[]);
        let asked = async || Self::asks(dir, &["token", "generate", "-spiffeID", PARENT]);
        let token = until("a join token", dir, asked).await;
        let token = token.lines().next().unwrap().trim_start_matches("Token:").trim().to_owned();
        let agent = started("spire-agent", &dir.join("agent.conf"), &["-joinToken", &token]);
        Self { dir: dir.to_owned(), server: Some(server), _agent: agent }
    }

    /// What the server says to a command; `None` while it does not answer well.
    fn asks(dir: &Path, command: &[&str]) -> Option<String> {
        let out = Command::new("spire-server").args(command).arg("-socketPath").arg(dir.join("server.sock")).output().unwrap();
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    }

    fn says(&self, command: &[&str]) -> String {
        Self::asks(&self.dir, command).unwrap_or_else(|| panic!("{command:?}"))
    }

    /// Lets everything that this user runs be this service. Gives the entry's name.
    fn admit(&self, service: &str) -> String {
        use std::os::unix::fs::MetadataExt as _;
        let selector = format!("unix:uid:{}", std::fs::metadata(&self.dir).unwrap().uid());
        let id = world::spiffe(service).to_string();
        let said = self.says(&["entry", "create", "-parentID", PARENT, "-spiffeID", &id, "-selector", &selector, "-x509SVIDTTL", LIFE]);
        said.lines().find_map(|line| line.strip_prefix("Entry ID")).unwrap().trim_start_matches([' ', ':']).to_owned()
    }
}

async fn enforcer(world: &World, spire: &Spire, service: &str, more: &str) -> Enforcer {
    let (socket, id) = (spire.dir.join("agent.sock"), world::spiffe(service));
    let text = format!(
        "service: {service}\nbundle: {{path: policies}}\nidentity: {{workload_api: \"unix://{}\", id: \"{id}\"}}\n\
         log: {{path: {service}.ndjson}}\ndrain: 500ms\n{more}",
        socket.display()
    );
    let config = Config::parse("test.yaml", &text, world.dir.path());
    let config = config.unwrap_or_else(|faults| panic!("{}", faults.iter().map(|f| f.render()).collect::<String>()));
    Enforcer::start(config, Report::silent()).await.unwrap()
}

async fn get(to: SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n").await.unwrap();
    status(&rest(&mut stream).await)
}

fn serial(enforcer: &Enforcer) -> String {
    enforcer.gate().identity.load().svid().serial.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_of_real_spire_are_used_renewed_and_taken_away() {
    for program in ["spire-server", "spire-agent"] {
        if !there(program) {
            return eprintln!("skipped: `{program}` cannot be executed here");
        }
    }
    let world = World::new(SHOP);
    // Paths of sockets are short, and those of build folders are not.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let mut spire = Spire::start(dir.path()).await;
    let entries = ["items", "invoices"].map(|service| spire.admit(service));
    let socket = dir.path().join("agent.sock");
    until("an agent that issues identities", dir.path(), async || {
        let fetch = Command::new("spire-agent").args(["api", "fetch", "x509", "-socketPath"]).arg(&socket).output().unwrap();
        String::from_utf8_lossy(&fetch.stdout).contains("Received 2 svid").then_some(())
    })
    .await;
    let upstream = fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let items = enforcer(&world, &spire, "items", &format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{upstream}\"}}]\n")).await;
    let way = format!("outbound: [{{listen: \"127.0.0.1:0\", service: items, connect: \"{}\"}}]\n", items.inbound()[0]);
    let invoices = enforcer(&world, &spire, "invoices", &way).await;
    let local = invoices.outbound()[0];
    assert_eq!(get(local).await, 200);
    assert_eq!(items.gate().identity.load().id(), &world::spiffe("items"));

    // Renewed by the agent, taken up at once, and no request notices.
    let first = serial(&items);
    until("a renewal", dir.path(), async || {
        assert_eq!(get(local).await, 200);
        (serial(&items) != first).then_some(())
    })
    .await;
    assert_eq!(get(local).await, 200);
    // A server that is away takes nothing away as long as the identity lasts.
    drop(spire.server.take());
    assert_eq!(get(local).await, 200);
    spire.server = Some(started("spire-server", &dir.path().join("server.conf"), &[]));

    // The caller is no longer admitted: the agent says so, and it can call nobody.
    let delete = ["entry", "delete", "-entryID", entries[1].as_str()];
    until("the server again", dir.path(), async || Spire::asks(dir.path(), &delete)).await;
    until("an identity that is gone", dir.path(), async || {
        let standing = invoices.gate().identity.load().standing(now());
        matches!(standing, Standing::Withdrawn | Standing::Over).then_some(())
    })
    .await;
    assert_eq!(get(local).await, 502);
    invoices.shutdown().await;
    items.shutdown().await;
    let records = world::records(&world.path("items.ndjson"));
    let asked = decided(&records);
    assert!(asked.len() > 3 && asked.iter().all(|d| d.source.id == world::spiffe("invoices") && d.decision.effect.as_str() == "allow"));
    let issued = asked.iter().find_map(|d| d.tls.as_ref()?.issuer.clone()).unwrap();
    assert!(issued.contains("SPIFFE"), "{issued}");
    assert!(ended(&records).iter().all(|e| e.why == Why::Complete));
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap())
}
