//! Values that are read when somebody asks, not counted when they change.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portreeve_engine::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::limits;

/// How things stand at one moment. What is not known is not told: a missing value is no zero.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The moment.
    pub now: Timestamp,
    /// Whether `/readyz` says yes.
    pub ready: bool,
    /// Readings of a clock that had gone back.
    pub steps_back: u64,
    /// How far the times given are ahead of the system's clock.
    pub held: Duration,
    /// When the own certificate ends.
    pub certificate_until: Option<Timestamp>,
    /// The serial and the issue of the bundle in force, if it is signed.
    pub bundle: Option<(u64, Timestamp)>,
    /// The oldest record that waits to be written.
    pub log_oldest: Option<Timestamp>,
    /// The oldest signed head that a witness has not taken; `None` where there is no witness or none waits.
    pub heads_oldest: Option<Timestamp>,
    /// Records that wait to be written.
    pub log_depth: usize,
}

/// The last sample.
#[derive(Clone, Debug, Default)]
pub(super) struct Sampled(Arc<Mutex<Sample>>);

impl Sampled {
    pub(super) fn set(&self, sample: &Sample) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sample.clone();
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sample = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seconds = |at: Timestamp| at.unix_ms().div_euclid(1000);
        let lag = |since: Option<Timestamp>| since.map_or(0, |at| (sample.now.unix_ms() - at.unix_ms()).max(0).div_euclid(1000));
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("ready", "Is 1 while everything is there that a decision needs", Some(i64::from(sample.ready))),
            ("clock_steps_back", "Readings of a clock that had gone back", i64::try_from(sample.steps_back).ok()),
            ("clock_held_seconds", "How far records run ahead of a clock that went back", i64::try_from(sample.held.as_secs()).ok()),
            (
                "certificate_expiry_seconds",
                "Seconds until the own certificate ends",
                sample.certificate_until.map(|until| (until.unix_ms() - sample.now.unix_ms()).div_euclid(1000)),
            ),
            ("certificate_expiry_timestamp_seconds", "When the own certificate ends, since 1970", sample.certificate_until.map(seconds)),
            ("bundle_serial", "Serial of the bundle in force", sample.bundle.and_then(|(serial, _)| i64::try_from(serial).ok())),
            (
                "bundle_issued_timestamp_seconds",
                "When the bundle in force was issued, since 1970",
                sample.bundle.map(|(_, at)| seconds(at)),
            ),
            ("log_lag_seconds", "Age of the oldest record that waits to be written", Some(lag(sample.log_oldest))),
            ("heads_lag_seconds", "Age of the oldest signed head that a witness has not taken", Some(lag(sample.heads_oldest))),
            ("log_queue", "Records in the queue of the decision log", Some(count(sample.log_depth))),
            ("log_queue_capacity", "Records that the queue of the decision log can hold", Some(count(limits::LOG_QUEUE_MAX))),
        ] {
            if let Some(value) = value {
                ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
            }
        }
        Ok(())
    }
}
