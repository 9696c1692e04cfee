//! What the system says of this process, under the names that Prometheus has for it, read when it is asked for.
//!
//! What cannot be read is left out: a missing value is no zero.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads `/proc/self`.
#[derive(Debug, Default)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let (stat, status, limits) = (Stat::read(&read("stat")), read("status"), read("limits"));
        if let Some(stat) = stat {
            let name =
                encoder.encode_descriptor("process_cpu_seconds", "User and system time of this process", None, MetricType::Counter)?;
            ConstCounter::new(stat.cpu_ticks / TICKS).encode(name)?;
            let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
            if let Some(booted) = field(&booted, "btime ") {
                let help = "When this process began, since 1970";
                let name = encoder.encode_descriptor("process_start_time_seconds", help, None, MetricType::Gauge)?;
                ConstGauge::new(booted + stat.start_ticks / TICKS).encode(name)?;
            }
        }
        let kib = |name: &str| field(&status, name).map(|kib| kib * 1024.0);
        let open = fs::read_dir("/proc/self/fd").ok().and_then(|all| u32::try_from(all.count()).ok()).map(f64::from);
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Memory of this process that is in use", kib("VmRSS:")),
            ("process_virtual_memory_bytes", "Address space of this process", kib("VmSize:")),
            ("process_threads", "Threads of this process", field(&status, "Threads:")),
            // The one that reads the directory is counted too, as everywhere.
            ("process_open_fds", "Open file descriptors", open),
            ("process_max_fds", "File descriptors that may be open", field(&limits, "Max open files")),
        ] {
            if let Some(value) = value {
                ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
            }
        }
        Ok(())
    }
}

struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Stat {
    /// The name of the program, in brackets, may hold anything; what follows the last bracket counts from field 3.
    fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let at = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: at(14)? + at(15)?, start_ticks: at(22)? })
    }
}

/// The first number of the line that begins so.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

/// The unit of times in `/proc`: 100 a second on every system of today, whatever the kernel's own is.
const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = Stat::read("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 4200 20").unwrap();
        assert_eq!((stat.cpu_ticks, stat.start_ticks), (300.0, 4200.0));
        assert!(Stat::read("").is_none());
        assert_eq!(field("VmRSS:\t  123 kB\n", "VmRSS:"), Some(123.0));
        assert_eq!(field("Max open files            1024                 4096   files\n", "Max open files"), Some(1024.0));
    }
}
