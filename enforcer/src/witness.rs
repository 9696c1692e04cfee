//! A witness of signed heads: a server elsewhere to which they are sent.
//!
//! INVARIANT: the gate and the writer of the log never wait for a witness. Heads wait in a bounded queue, and when it is full the
//! oldest goes, because every later head vouches for all that an earlier one did. A witness that takes none raises an alarm.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use portreeve_engine::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::config;
use crate::fetch::{Ask, Fetcher};
use crate::limits;
use crate::metrics::Metrics;
use crate::report::Report;
use crate::serve::{Phase, leaving};
use crate::supply::{Schedule, bearer, word};

/// A server that is sent every head.
#[derive(Debug)]
pub struct Witness {
    to: config::Witness,
    metrics: Arc<Metrics>,
    waiting: Mutex<VecDeque<Head>>,
    wake: Notify,
}

#[derive(Clone, Debug)]
struct Head {
    seq: u64,
    at: Timestamp,
    line: Vec<u8>,
}

impl Witness {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(to: &config::Witness, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { to: to.clone(), metrics: Arc::clone(metrics), waiting: Mutex::default(), wake: Notify::new() })
    }

    /// Takes a head, with its newline, to be sent.
    pub fn give(&self, seq: u64, at: Timestamp, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.len() >= limits::HEADS_MAX {
            waiting.pop_front();
            self.metrics.heads("dropped", 1);
        }
        waiting.push_back(Head { seq, at, line: line.to_vec() });
        drop(waiting);
        self.wake.notify_one();
    }

    /// The time of the oldest head that it has not taken.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.waiting().front().map(|head| head.at)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Head>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends until told to end, then what is left, for a moment.
    pub async fn run(self: Arc<Self>, report: Report, mut phase: watch::Receiver<Phase>) {
        let mut schedule = Schedule::within(limits::WITNESS_FIRST_PAUSE, limits::HEADS_BACK_OFF_MAX);
        let mut fetcher = None;
        let mut failing = false;
        loop {
            tokio::select! {
                () = leaving(&mut phase) => break,
                () = self.wake.notified() => {}
            }
            while self.oldest().is_some() {
                let sent = tokio::select! {
                    () = leaving(&mut phase) => break,
                    sent = self.send(&mut fetcher) => sent,
                };
                schedule.asked(sent.is_ok(), None);
                self.metrics.heads_alarm.set(i64::from(sent.is_err()));
                let Err(why) = sent else {
                    if std::mem::take(&mut failing) {
                        report.tell(&format!("the witness `{}` takes signed heads again", self.to.url));
                    }
                    continue;
                };
                self.metrics.heads("failed", 1);
                if !std::mem::replace(&mut failing, true) {
                    report.tell(&format!("the witness `{}` does not take signed heads, they wait: {why}", self.to.url));
                }
                tokio::select! {
                    () = leaving(&mut phase) => break,
                    () = sleep(schedule.pause(word())) => {}
                }
            }
        }
        let rest = async { while self.oldest().is_some() && self.send(&mut fetcher).await.is_ok() {} };
        // At the end of the process a witness that is away is not waited for; the file of heads, if there is one, has them all.
        let _ = timeout(limits::WITNESS_LAST, rest).await;
    }

    /// Sends the oldest ones that wait.
    async fn send(&self, kept: &mut Option<Fetcher>) -> Result<(), String> {
        let batch: Vec<Head> = self.waiting().iter().take(limits::HEADS_BATCH_MAX).cloned().collect();
        let Some(last) = batch.last().map(|head| head.seq) else { return Ok(()) };
        let fetcher = match kept.take() {
            Some(fetcher) => fetcher,
            None => Fetcher::new(self.to.roots.clone(), self.to.reach, None).map_err(|why| why.to_string())?,
        };
        let fetcher = kept.insert(fetcher);
        let lines: Vec<u8> = batch.iter().flat_map(|head| head.line.iter().copied()).collect();
        let mut ask =
            Ask::post(&self.to.url, "application/x-ndjson", Bytes::from(lines), limits::WITNESS_ANSWER_BYTES_MAX, limits::WITNESS_TIMEOUT);
        if let Some(token) = &self.to.token {
            ask = ask.with(http::header::AUTHORIZATION, bearer(token).map_err(|why| why.to_string())?);
        }
        let answer = fetcher.fetch(ask).await.map_err(|why| why.to_string())?;
        if !answer.status.is_success() {
            return Err(format!("it answers {}", answer.status));
        }
        let mut waiting = self.waiting();
        // What found no room in the meantime is gone already.
        while waiting.front().is_some_and(|head| head.seq <= last) {
            waiting.pop_front();
        }
        self.metrics.heads("sent", batch.len());
        Ok(())
    }
}
