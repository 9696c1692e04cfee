//! Threads that do a piece of work at a time, whoever gives it and whatever it is.
//!
//! They are begun when there is something to do, and share one queue. Whoever gives work takes the results in the order in which it was
//! given, so the number of threads shows in nothing but the time.

use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope};

use crate::limits::THREADS_MAX;

type Job<'scope> = Box<dyn FnOnce() + Send + 'scope>;

/// The threads.
pub(crate) struct Workers<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    threads: usize,
    /// `Some(None)` where the system gives no thread.
    jobs: Option<Option<Sender<Job<'scope>>>>,
}

impl<'scope, 'env> Workers<'scope, 'env> {
    pub(crate) fn new(scope: &'scope Scope<'scope, 'env>, threads: usize) -> Self {
        Self { scope, threads: threads.clamp(1, THREADS_MAX), jobs: None }
    }

    /// How many there are.
    pub(crate) const fn threads(&self) -> usize {
        self.threads
    }

    /// Gives work to whichever thread is free; what it gives is received.
    pub(crate) fn give<T: Send + 'scope>(&mut self, work: impl FnOnce() -> T + Send + 'scope) -> Receiver<T> {
        let (done, result) = sync_channel(1);
        // Nobody may wait for it any more.
        let job: Job<'scope> = Box::new(move || drop(done.send(work())));
        match self.jobs.get_or_insert_with(|| begin(self.scope, self.threads)) {
            // The threads end only after this end of the channel is gone.
            Some(jobs) => drop(jobs.send(job)),
            None => job(),
        }
        result
    }
}

/// Begins as many threads as the system gives.
fn begin<'scope>(scope: &'scope Scope<'scope, '_>, threads: usize) -> Option<Sender<Job<'scope>>> {
    let (jobs, taken) = channel::<Job<'scope>>();
    let taken = Arc::new(Mutex::new(taken));
    let begun = (0..threads).filter(|n| {
        let taken = Arc::clone(&taken);
        let work = move || {
            loop {
                let job = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = job else { break };
                job();
            }
        };
        Builder::new().name(format!("lines-{n}")).spawn_scoped(scope, work).is_ok()
    });
    (begun.count() > 0).then_some(jobs)
}
