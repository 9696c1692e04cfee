//! Processes: started on one processor, looked at through `/proc`, stopped by their id.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A process that ends with its holder.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command` on processor `cpu`; what it says goes into `log`.
    pub(crate) fn start(name: &str, cpu: usize, command: &[String], log: &Path) -> Self {
        let out = File::create(log).unwrap();
        let err = File::create(log.with_extension("err")).unwrap();
        let child = pinned(cpu, command).stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|e| panic!("cannot start `{}`: {e}", command.join(" ")));
        Self { child, name: name.to_owned() }
    }

    pub(crate) fn of(name: &str, child: Child) -> Self {
        Self { child, name: name.to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to reload.
    pub(crate) fn hang_up(&self) {
        signal("HUP", self.pid());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Workers first remembered, then the parent asked: it may end without them.
        let tree = tree(self.pid());
        signal("TERM", self.pid());
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        for pid in tree.into_iter().filter(|pid| *pid != self.pid() && Path::new(&format!("/proc/{pid}")).exists()) {
            signal("KILL", pid);
        }
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            eprintln!("{} did not end when asked", self.name);
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A command on one processor.
pub(crate) fn pinned(cpu: usize, command: &[String]) -> Command {
    let mut out = Command::new("taskset");
    out.arg("-c").arg(cpu.to_string()).args(command);
    out
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
}

/// The process and all its children's children.
fn tree(pid: u32) -> Vec<u32> {
    let mut out = vec![pid];
    let mut at = 0;
    while let Some(pid) = out.get(at).copied() {
        at += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            out.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
    }
    out
}

/// Processor seconds that a process and its children have used, user and system.
///
/// The scheduler's own count is the same time as `utime` and `stime` of `/proc/<pid>/stat`, in nanoseconds instead of ticks of
/// ten milliseconds. Where the kernel keeps none, the ticks are taken.
pub(crate) fn cpu_of_tree(pid: u32) -> f64 {
    tree(pid).into_iter().map(|pid| scheduled(pid).unwrap_or_else(|| ticks(pid) as f64 / ticks_per_second())).sum()
}

fn scheduled(pid: u32) -> Option<f64> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        ns += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(ns as f64 / 1e9)
}

fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold spaces and parentheses; fields 14 to 17 are times, its own and those of ended children.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().skip(11).take(4).filter_map(|n| n.parse::<u64>().ok()).sum()
}

fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let out = Command::new("getconf").arg("CLK_TCK").output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
    })
}

/// Resident kibibytes of a process and its children.
pub(crate) fn rss_kib(pid: u32) -> u64 {
    tree(pid)
        .into_iter()
        .filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

/// How much faster two threads spin than one: 2 on two whole processors, 1 where they share one.
pub(crate) fn spin_efficiency() -> f64 {
    let spin = || {
        let mut n = 1_u64;
        for i in 0..400_000_000_u64 {
            n = std::hint::black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
        }
        n
    };
    let began = Instant::now();
    std::hint::black_box(spin());
    let one = began.elapsed();
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(spin);
        scope.spawn(spin);
    });
    2.0 * one.as_secs_f64() / began.elapsed().as_secs_f64()
}
