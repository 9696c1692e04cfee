//! A signal while files are written: what is not whole goes, and then the program does.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use portreeve_auditor::aside;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::outcome::Failure;

/// From here on, a signal that ends the program leaves no file half. Verbs that run a mesh see to signals themselves.
///
/// # Errors
/// The system has no thread, or no place for a signal.
pub(crate) fn leaves_nothing_half() -> Result<(), Failure> {
    let failed = |e| Failure::new(format_args!("cannot listen for signals: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let entered = runtime.enter();
    let listening = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
        .into_iter()
        .filter(|kind| !is_ignored(*kind))
        .map(|kind| Ok((kind, signal(kind)?)))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    drop(entered);
    let wait = move || {
        let number = runtime.block_on(first_of(listening));
        aside::stop();
        // As shells tell of a process that a signal ended.
        std::process::exit(128 + number)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop).map_err(failed)
}

/// The number of the first signal that comes.
async fn first_of(mut listening: Vec<(SignalKind, Signal)>) -> i32 {
    poll_fn(|context| {
        let come = listening.iter_mut().find_map(|(kind, signal)| signal.poll_recv(context).is_ready().then_some(*kind));
        come.map_or(Poll::Pending, |kind| Poll::Ready(kind.as_raw_value()))
    })
    .await
}

/// Whether whoever started the program had it ignore a signal, as `nohup` does and as shells do for what runs behind them: listening
/// would end that. Where the system does not tell, nothing was said.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
