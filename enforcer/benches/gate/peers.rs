//! The contestants: each a proxy in front of the same service, with the same certificates, one worker, a line a request in a file.
//!
//! What each checks: the client's certificate, its name (SPIFFE ID, or common name where the proxy can compare no URI), the method
//! and the form of the path. Session tickets and caches are off everywhere.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::pki::{Pki, id};
use crate::process::Process;

/// The processor of contestants; generator and service have the other one.
pub(crate) const CPU: usize = 0;
/// The processor of everything else.
pub(crate) const OTHER_CPU: usize = 1;

/// A contestant that runs.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// What all contestants share.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) pki: Pki,
    pub(crate) backend: SocketAddr,
}

/// How Envoy is told whom to let in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rbac {
    /// The caller's policy only.
    One,
    /// A list of policies on one operation, for a caller each; the measured caller's at this place.
    List {
        /// How many.
        policies: usize,
        /// Where among them the caller's stands.
        at: usize,
    },
    /// A list of policies on an operation each, the caller's last.
    OwnPaths {
        /// How many.
        policies: usize,
    },
    /// A matcher tree with an exact map of principals.
    Tree {
        /// How many principals.
        principals: usize,
    },
}

impl Place {
    fn start(&self, name: &str, address: SocketAddr, command: &[String]) -> Peer {
        let mut process = Process::start(name, CPU, command, &self.dir.join(format!("{name}.out")));
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            let said = || fs::read_to_string(self.dir.join(format!("{name}.err"))).unwrap_or_default();
            assert!(process.is_running(), "{name} ended: {}", said());
            assert!(Instant::now() < deadline, "{name} does not listen: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        Peer { name: name.to_owned(), address, process }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Writes a configuration with its blanks filled in, and gives its path.
    fn fill(&self, file: &str, template: &str, address: SocketAddr, name: &str) -> String {
        let path = |path: PathBuf| path.display().to_string();
        let blanks = [
            ("@address@", address.to_string()),
            ("@port@", address.port().to_string()),
            ("@backend@", self.backend.to_string()),
            ("@to@", self.backend.port().to_string()),
            ("@dir@", path(self.dir.clone())),
            ("@name@", name.to_owned()),
            ("@cert@", path(self.pki.cert("items"))),
            ("@key@", path(self.pki.key("items"))),
            ("@both@", path(self.pki.both("items"))),
            ("@ca@", path(self.pki.ca())),
        ];
        let text = blanks.iter().fold(template.to_owned(), |text, (blank, value)| text.replace(blank, value));
        self.write(file, &text)
    }

    /// This enforcer, under the bundle in `bundle`; `log` is what stands behind `log:`.
    pub(crate) fn portreeve(&self, name: &str, binary: &Path, bundle: &Path, log: &str) -> Peer {
        let (address, pki) = (free(), &self.pki);
        let text = format!(
            "service: items\nbundle: {{path: {}}}\nidentity: {{cert: {}, key: {}, trust: {{mesh.example: {}}}}}\n\
             inbound: [{{listen: \"{address}\", upstream: \"{}\"}}]\nlog: {{path: {}/{name}.ndjson{log}}}\n",
            bundle.display(),
            pki.cert("items").display(),
            pki.key("items").display(),
            pki.ca().display(),
            self.backend,
            self.dir.display(),
        );
        let config = self.write(&format!("{name}.yaml"), &text);
        self.start(name, address, &[binary.display().to_string(), "--config".to_owned(), config])
    }

    pub(crate) fn nginx(&self, binary: &Path) -> Peer {
        let address = free();
        let config = self.fill("nginx.conf", include_str!("nginx.conf"), address, "nginx");
        self.start("nginx", address, &[binary.display().to_string(), "-c".to_owned(), config])
    }

    pub(crate) fn haproxy(&self, binary: &Path) -> Peer {
        let address = free();
        let config = self.fill("haproxy.cfg", include_str!("haproxy.cfg"), address, "haproxy");
        self.start("haproxy", address, &[binary.display().to_string(), "-db".to_owned(), "-f".to_owned(), config])
    }

    pub(crate) fn envoy(&self, name: &str, binary: &Path, rbac: Rbac) -> Peer {
        let address = free();
        let text = include_str!("envoy.yaml").replace("@rbac@", &rbac.yaml());
        let config = self.fill(&format!("{name}.yaml"), &text, address, name);
        let command = [&binary.display().to_string(), "-c", &config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"];
        self.start(name, address, &command.map(str::to_owned))
    }
}

impl Rbac {
    fn yaml(self) -> String {
        let mut out = String::new();
        match self {
            Self::One => policies(&mut out, 1, 0, false),
            Self::List { policies: n, at } => policies(&mut out, n, at, false),
            Self::OwnPaths { policies: n } => policies(&mut out, n, n - 1, true),
            Self::Tree { principals } => {
                out.push_str(
                    r#"              matcher:
                matcher_tree:
                  input:
                    name: uri
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput}
                  exact_match_map:
                    map:
"#,
                );
                for n in 0..principals {
                    let who = if n == principals / 2 { id("caller") } else { id(&format!("service-{n}")) };
                    writeln!(out, "                      \"{who}\": {{action: {{name: action, typed_config: {{\"@type\": type.googleapis.com/envoy.config.rbac.v3.Action, name: p-{n}, action: ALLOW}}}}}}").unwrap();
                }
                out.push_str("                on_no_match: {action: {name: action, typed_config: {\"@type\": type.googleapis.com/envoy.config.rbac.v3.Action, name: none, action: DENY}}}\n");
            }
        }
        out
    }
}

/// A list of policies as other meshes generate it for one service: an exact principal, a method and a path prefix each. Envoy sorts
/// them by name, and looks at the path before it looks at the principal.
fn policies(out: &mut String, n: usize, caller_at: usize, own_paths: bool) {
    out.push_str("              rules:\n                action: ALLOW\n                policies:\n");
    for at in 0..n {
        let who = if at == caller_at { id("caller") } else { id(&format!("service-{at}")) };
        let prefix = if own_paths && at != caller_at { format!("/v1/things-{at}/") } else { "/v1/items/".to_owned() };
        writeln!(
            out,
            "                  p-{at:05}: {{principals: [{{authenticated: {{principal_name: {{exact: \"{who}\"}}}}}}], permissions: [{{and_rules: {{rules: [{{header: {{name: \":method\", string_match: {{exact: GET}}}}}}, {{url_path: {{path: {{prefix: \"{prefix}\"}}}}}}]}}}}]}}"
        )
        .unwrap();
    }
}

/// A port of loopback that nobody listens on now.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Where a program lies, if it is installed: a path as it is, a name by `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).is_file().then(|| PathBuf::from(program));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).map(|dir| dir.join(program)).find(|p| p.is_file())
}
