//! Hands spans over to a collector, off the way of requests.
//!
//! INVARIANT: a request never waits for a collector. Spans wait in a bounded queue; what finds no place, and what a collector
//! does not take after a few attempts, is dropped and counted.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::otlp::{Span, Teller, body};
use crate::config;
use crate::fetch::{Ask, Fetcher};
use crate::limits;
use crate::metrics::Metrics;
use crate::serve::{Phase, leaving};

/// Where spans are put.
#[derive(Debug)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    /// New traces whose word is below this are sampled.
    below: u64,
    metrics: Arc<Metrics>,
}

/// Takes spans out of the queue and sends them.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Receiver<Span>,
    fetcher: Option<Fetcher>,
    config: config::Traces,
    teller: Teller,
    metrics: Arc<Metrics>,
}

impl Exporter {
    /// A queue and its other end.
    #[must_use]
    pub fn new(config: &config::Traces, service: &str, instance: &str, metrics: &Arc<Metrics>) -> (Spans, Self) {
        let (sender, queue) = mpsc::channel(limits::SPANS_MAX);
        let teller = Teller { service: service.to_owned(), instance: instance.to_owned() };
        let spans = Spans { queue: sender, below: config.below(), metrics: Arc::clone(metrics) };
        (spans, Self { queue, fetcher: None, config: config.clone(), teller, metrics: Arc::clone(metrics) })
    }

    /// Sends until told to end, then what is left, for a moment.
    pub async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        let mut batch = Vec::new();
        loop {
            let ending = tokio::select! {
                () = leaving(&mut phase) => true,
                got = self.queue.recv_many(&mut batch, limits::SPANS_BATCH_MAX) => got == 0,
            };
            if ending {
                break;
            }
            // What comes within a moment goes along; a busy gate fills a batch at once.
            let more = async {
                while batch.len() < limits::SPANS_BATCH_MAX && self.queue.recv_many(&mut batch, limits::SPANS_BATCH_MAX).await > 0 {}
            };
            tokio::select! {
                () = leaving(&mut phase) => {}
                _ = timeout(limits::SPANS_GATHER, more) => {}
            }
            self.send(&mut batch, &mut phase).await;
        }
        self.queue.close();
        let rest = async {
            while !batch.is_empty() || self.queue.recv_many(&mut batch, limits::SPANS_BATCH_MAX).await > 0 {
                let sent = if self.post(&batch).await.is_ok() { "sent" } else { "refused" };
                self.metrics.spans(sent, batch.len());
                batch.clear();
            }
        };
        // At the end of the process a collector that is away is not waited for.
        let _ = timeout(limits::SPANS_LAST, rest).await;
    }

    /// Sends a batch, which stays where the process ends before it is taken.
    async fn send(&mut self, batch: &mut Vec<Span>, phase: &mut watch::Receiver<Phase>) {
        let mut pause = limits::SPANS_FIRST_PAUSE;
        for attempt in 1..=limits::SPANS_ATTEMPTS {
            let posted = tokio::select! {
                () = leaving(phase) => return,
                posted = self.post(batch) => posted,
            };
            match posted {
                Ok(()) => {
                    self.metrics.spans("sent", batch.len());
                    break;
                }
                Err(again) if again && attempt < limits::SPANS_ATTEMPTS => {
                    tokio::select! {
                        () = leaving(phase) => return,
                        () = sleep(pause) => {}
                    }
                    pause *= 2;
                }
                Err(_) => {
                    self.metrics.spans("refused", batch.len());
                    break;
                }
            }
        }
        batch.clear();
    }

    /// Sends one batch; an error says whether trying again can help.
    async fn post(&mut self, batch: &[Span]) -> Result<(), bool> {
        let fetcher = match self.fetcher.take() {
            Some(fetcher) => fetcher,
            None => Fetcher::new(self.config.roots.clone(), self.config.reach, None).map_err(|_| true)?,
        };
        let fetcher = self.fetcher.insert(fetcher);
        let bytes = Bytes::from(body(&self.teller, batch).to_string());
        let ask = Ask::post(&self.config.otlp, "application/json", bytes, limits::SPANS_ANSWER_BYTES_MAX, limits::SPANS_TIMEOUT);
        match fetcher.fetch(ask).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(matches!(
                answer.status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            )),
            Err(_) => Err(true),
        }
    }
}

impl Spans {
    pub(super) fn samples(&self, word: u64) -> bool {
        word < self.below
    }

    pub(super) fn push(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.metrics.spans("dropped", 1);
        }
    }
}
