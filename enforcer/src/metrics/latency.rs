//! Histograms of times that many threads count into without a lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// How long something took. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Latency(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: &'static [f64],
    /// One for each bound, and one for what is longer than all.
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Latency {
    /// Counts by these upper bounds, in seconds, rising.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, counts, sum_ns: AtomicU64::new(0) }))
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = self.0.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.0.bounds.len());
        if let Some(count) = self.0.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        // The total is that of the buckets as they were read, so that a page never contradicts itself.
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.counts.iter().map(|c| c.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        #[expect(clippy::cast_precision_loss, reason = "a sum of times needs no more than 53 bits of precision")]
        let sum = self.0.sum_ns.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A decision: tens of nanoseconds in the table, milliseconds where a policy has to be evaluated.
pub(super) const OF_DECISIONS: [f64; 12] = [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2];
/// A write of the decision log: into the page cache, or for as long as a disk holds it up.
pub(super) const OF_WRITES: [f64; 10] = [1e-4, 1e-3, 5e-3, 2e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// A request: from loopback to a slow service.
pub(super) const OF_REQUESTS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
