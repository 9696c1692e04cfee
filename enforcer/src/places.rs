//! Connections of listeners that have few places and that anybody may hold: pages and probes, the token service, the agent.
//!
//! A probe that finds no place is as good as one that says no: whoever could take all places by silent connections would have the
//! process restarted. So one connection too many is served, and in its place the oldest one ends of whoever holds the most.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;

use tokio::task::{AbortHandle, JoinSet};

/// The connections of one listener, by who holds them (an address, a user, or nobody in particular).
#[derive(Debug)]
pub(crate) struct Places<K> {
    max: usize,
    running: JoinSet<()>,
    /// In the order in which they came.
    held: Vec<(K, AbortHandle)>,
}

impl<K: Copy + Eq + Hash> Places<K> {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, running: JoinSet::new(), held: Vec::new() }
    }

    /// Serves a connection.
    pub(crate) fn take(&mut self, who: K, serve: impl Future<Output = ()> + Send + 'static) {
        self.held.retain(|(_, task)| !task.is_finished());
        if self.held.len() >= self.max {
            self.make_room();
        }
        self.held.push((who, self.running.spawn(serve)));
    }

    fn make_room(&mut self) {
        let mut counts = HashMap::new();
        for (who, _) in &self.held {
            *counts.entry(*who).or_insert(0_usize) += 1;
        }
        // Of several with the same number the one whose connection is the oldest.
        let most = counts.values().max().copied();
        if let Some(at) = self.held.iter().position(|(who, _)| counts.get(who).copied() == most) {
            let (_, task) = self.held.remove(at);
            task.abort();
        }
    }

    /// Completes when one of them has ended; never where there is none.
    pub(crate) async fn ended(&mut self) {
        if self.running.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Completes when all of them have ended.
    pub(crate) async fn all_ended(&mut self) {
        while self.running.join_next().await.is_some() {}
    }

    /// Ends what still runs.
    pub(crate) async fn end(mut self) {
        self.running.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Says when it ends.
    struct Says(u32, Arc<Mutex<Vec<u32>>>);

    impl Drop for Says {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[tokio::test]
    async fn a64_who_holds_the_most_makes_room() {
        let (mut places, over) = (Places::new(4), Arc::<Mutex<Vec<u32>>>::default());
        for (n, who) in [(1, 'a'), (2, 'b'), (3, 'b'), (4, 'b'), (5, 'c'), (6, 'c'), (7, 'd'), (8, 'e')] {
            let says = Says(n, Arc::clone(&over));
            places.take(who, async move {
                let _says = says;
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
        }
        // 2 of the three of `b`, 3 of the two of `b`, then one of each is left but for `c`, which has two; at last the oldest.
        assert_eq!(*over.lock().unwrap(), [2, 3, 5, 1]);
        // What has ended by itself needs no other's place.
        for who in ['f', 'g', 'h'] {
            places.take(who, async {});
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            assert_eq!(over.lock().unwrap().len(), 5, "one made room for the first of them");
        }
    }
}
