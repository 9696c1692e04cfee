//! The gate beside other proxies, in interleaved rounds: `tests/bench/gate.sh`, or `cargo bench -p portreeve-enforcer --bench gate`.
//!
//! One program with several parts, because the load has to come from another process than the one that measures: it starts
//! itself again as the service behind the proxies (`backend`) and as the generator of load (`load`, `hs`, `idle`). The metric
//! is processor time of a contestant's whole process tree for one unit of work; what is compared are ratios within a round.
//! Loopback only, bounded in time and in connections; what was started is stopped by its process id.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark ends at the first surprise and tells what it saw"
)]

mod backend;
mod client;
mod goals;
mod load;
mod mesh;
mod options;
mod peers;
mod pki;
mod process;
mod reload;
mod rounds;

use options::Options;

const USAGE: &str =
    "usage: gate [all|p1|p2|p4|p5|p6|memory|groups|log] [--rounds N] [--seconds S] [--enforcer PATH] [--unauthorised PATH] [--only NAME,…]
       gate backend | load … | hs … | idle …        (its own parts)
  p2 holds P2 and P3; `--only portreeve,nginx` leaves the other contestants out";

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let verb = arguments.next().unwrap_or_else(|| "all".to_owned());
    let options = Options::read(arguments);
    match verb.as_str() {
        "backend" => backend::run(),
        "load" => load::run(&load::Plan::of(&options, load::Mode::Load)),
        "hs" => load::run(&load::Plan::of(&options, load::Mode::Handshakes)),
        "idle" => load::idle(&load::Plan::of(&options, load::Mode::Load)),
        "help" | "--help" | "-h" => println!("{USAGE}"),
        // `cargo test --benches` passes through here too: nothing is measured in a debug build.
        _ if cfg!(debug_assertions) => println!("benchmarks are measured in release builds: tests/bench/gate.sh"),
        goal => goals::run(goal, &options),
    }
}
