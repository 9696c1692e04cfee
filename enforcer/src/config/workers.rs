//! How many threads serve.

use std::num::NonZeroUsize;

use portreeve_engine::yaml::Fields;

use super::reader::Reader;
use crate::limits;

impl<'a> Reader<'a> {
    /// The threads of the inbound side; one for each core the process may use, unless said otherwise.
    pub(super) fn workers(&mut self, f: &mut Fields<'a>) -> Option<NonZeroUsize> {
        let Some(text) = f.text("workers", &mut self.out) else {
            let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            return Some(cores.min(NonZeroUsize::new(limits::WORKERS_MAX).unwrap_or(cores)));
        };
        let found = text.text.parse::<NonZeroUsize>().ok().filter(|n| n.get() <= limits::WORKERS_MAX);
        if found.is_none() {
            let message = format!("`{}` is not a number of threads from 1 to {}", text.text, limits::WORKERS_MAX);
            self.fault(text.node, "invalid-value", &message, "leave it out for one thread for each core");
        }
        found
    }
}
