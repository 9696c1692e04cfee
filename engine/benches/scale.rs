//! How long and how much memory compiling takes, by size of the policy: `cargo bench -p portreeve-engine --bench scale`.
//!
//! Each size runs in a process of its own, so that the peak of one does not hide that of another.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark ends at the first surprise, reads clocks and tells what it saw"
)]

#[path = "common/mesh.rs"]
mod mesh;

use std::time::Instant;

use mesh::{Conditions, Size, bundle};
use portreeve_engine::Authorizer;

fn main() {
    let sizes = [
        ("10", Size::SMALL),
        ("1000", Size::MEDIUM),
        ("10000", Size { permissions: 10_000, services: 500, operations: 10 }),
        ("100000", Size::LARGE),
    ];
    let asked = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    match asked.and_then(|name| sizes.into_iter().find(|(known, _)| *known == name)) {
        Some((name, size)) => one(name, size),
        None => {
            for (name, _) in sizes {
                let me = std::env::current_exe().unwrap();
                assert!(std::process::Command::new(me).arg(name).status().unwrap().success());
            }
        }
    }
}

fn one(name: &str, size: Size) {
    let conditions = if std::env::var_os("CONDITIONS").is_some() { Conditions::ScopeAndTime } else { Conditions::None };
    let bundle = bundle(size, conditions);
    let bytes: usize = bundle.files.iter().map(|f| f.bytes.len()).sum();
    let base = peak_kib();
    let started = Instant::now();
    let compiled = Authorizer::compile(&bundle);
    let took = started.elapsed();
    assert!(compiled.authorizer.is_some(), "{:?}", compiled.diagnostics.first());
    println!(
        "{name:>7} permissions, {} services, {} operations, {bytes} bytes: {:>8.1} ms, peak {} MiB ({} MiB before)",
        size.services,
        size.services * size.operations,
        took.as_secs_f64() * 1e3,
        peak_kib() / 1024,
        base / 1024
    );
}

/// The most memory this process has held (`VmHWM`), in KiB; 0 where the system does not tell.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or_default()
}
