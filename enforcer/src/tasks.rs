//! Tasks that drive connections of ours, owned by whoever opened them.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::task::JoinSet;

/// Tasks that end with their owner.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    /// Runs a task until it ends or its owner does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Forgets those that have ended.
    pub fn reap(&self) {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

/// The tasks of one connection, ended when this is dropped. The HTTP library drives an HTTP/2 connection in a task of its own,
/// which would outlive a cut.
#[derive(Debug, Default)]
pub struct Parts(Tasks);

impl Parts {
    /// Where the library puts its tasks.
    #[must_use]
    pub fn executor(&self) -> Tasks {
        self.0.clone()
    }

    /// Waits for the last of them.
    pub async fn finish(&self) {
        std::future::poll_fn(|cx| {
            let mut tasks = self.0.lock();
            loop {
                match tasks.poll_join_next(cx) {
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.0.lock().abort_all();
    }
}
