//! A source of identities followed in the background: what it told last, for whoever needs an identity now or wants to know when
//! it changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::source::{News, Source};
use crate::tls::Identity;

/// What was told last.
#[derive(Clone, Debug, Default)]
pub struct Latest {
    /// The identity, unless there was none yet or it was taken away.
    pub identity: Option<Arc<Identity>>,
    /// Why it was taken away.
    pub withdrawn: Option<String>,
    /// Why nothing newer can be had.
    pub failed: Option<String>,
}

/// A source that is followed.
#[derive(Clone, Debug)]
pub struct Following(watch::Receiver<Latest>);

impl Following {
    /// Follows a source. The second part is what does it, to be run by whoever owns it.
    pub fn begin(mut source: impl Source) -> (Self, impl Future<Output = ()> + Send) {
        let sender = watch::Sender::new(Latest::default());
        let following = Self(sender.subscribe());
        let follow = async move {
            loop {
                let news = source.next().await;
                sender.send_modify(|latest| match news {
                    News::Identity(identity) => *latest = Latest { identity: Some(Arc::from(identity)), ..Latest::default() },
                    News::Withdrawn(why) => *latest = Latest { withdrawn: Some(why), ..Latest::default() },
                    // What was given stays good until it ends.
                    News::Failed(why) => latest.failed = Some(why),
                });
            }
        };
        (following, follow)
    }

    /// What was told last.
    #[must_use]
    pub fn latest(&self) -> Latest {
        self.0.borrow().clone()
    }

    /// Completes when something was told since the last time. Never, where nobody tells any more.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for the first news, good or bad, at most for `limit`.
    pub async fn first(&mut self, limit: Duration) {
        let told = |latest: &Latest| latest.identity.is_some() || latest.withdrawn.is_some() || latest.failed.is_some();
        // Without any news there is no identity, which is for the caller to see.
        let _ = timeout(limit, self.0.wait_for(told)).await;
    }
}
