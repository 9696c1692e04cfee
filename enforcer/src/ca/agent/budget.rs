//! How many identities each user is signed in a time.
//!
//! A stream gets an identity as soon as it is opened, so whoever opens and leaves streams without end would have the agent sign without
//! end, on the one thread that all users share. What a user asks for beyond its budget waits, in the order in which it was asked;
//! other users' streams do not.
//!
//! INVARIANT: a budget is remembered until it is whole again, so that nobody gets a new one by leaving.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::ca::limits::{AGENT_SIGNATURES_BURST, AGENT_SIGNATURES_EVERY, AGENT_TOLD_AGAIN};
use crate::report::Report;

/// The budgets of all users.
#[derive(Debug)]
pub(super) struct Budgets {
    of: Mutex<HashMap<u32, Arc<Budget>>>,
    report: Report,
}

/// One user's budget.
#[derive(Debug)]
pub(super) struct Budget {
    uid: u32,
    /// When it is whole again. Whoever waits for its turn holds this, so that turns come in order.
    whole_at: tokio::sync::Mutex<Instant>,
    told: Mutex<Option<Instant>>,
    report: Report,
}

impl Budgets {
    pub(super) fn new(report: Report) -> Self {
        Self { of: Mutex::default(), report }
    }

    /// The budget of a user.
    pub(super) fn of(&self, uid: u32) -> Arc<Budget> {
        let mut all = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = all.get(&uid) {
            return Arc::clone(found);
        }
        // Only users with an entry come here; those of earlier configurations go.
        all.retain(|_, budget| Arc::strong_count(budget) > 1 || !budget.is_whole());
        let whole_at = tokio::sync::Mutex::new(Instant::now());
        let new = Arc::new(Budget { uid, whole_at, told: Mutex::default(), report: self.report.clone() });
        all.insert(uid, Arc::clone(&new));
        new
    }
}

impl Budget {
    /// Whose it is.
    pub(super) const fn uid(&self) -> u32 {
        self.uid
    }

    /// Completes when so many signatures may be made, which counts them. Whoever gives up before has taken nothing.
    pub(super) async fn take(&self, signatures: usize) {
        let mut whole_at = self.whole_at.lock().await;
        let now = Instant::now();
        let (then, begins) = turn(*whole_at, now, signatures);
        if begins > now {
            self.tell();
            sleep_until(begins).await;
        }
        *whole_at = then;
    }

    fn is_whole(&self) -> bool {
        self.whole_at.try_lock().is_ok_and(|whole_at| *whole_at <= Instant::now())
    }

    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= AGENT_TOLD_AGAIN) {
            *told = Some(Instant::now());
            let second = Duration::from_secs(1).as_millis() / AGENT_SIGNATURES_EVERY.as_millis().max(1);
            self.report.tell(&format!(
                "user {} asks for more identities than it is signed ({AGENT_SIGNATURES_BURST} at once, {second} a second): its streams wait",
                self.uid
            ));
        }
    }
}

/// When a budget is whole again of which so many signatures are taken, and when they may be made.
fn turn(whole_at: Instant, now: Instant, signatures: usize) -> (Instant, Instant) {
    let time = |signatures: usize| AGENT_SIGNATURES_EVERY * u32::try_from(signatures.min(AGENT_SIGNATURES_BURST)).unwrap_or(u32::MAX);
    let then = whole_at.max(now) + time(signatures);
    (then, now + then.saturating_duration_since(now).saturating_sub(time(AGENT_SIGNATURES_BURST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many times so many can be had up to this moment.
    fn had(whole_at: &mut Instant, now: Instant, signatures: usize) -> usize {
        let mut times = 0;
        loop {
            let (then, begins) = turn(*whole_at, now, signatures);
            if begins > now {
                return times;
            }
            (*whole_at, times) = (then, times + 1);
        }
    }

    #[test]
    fn a_budget_is_so_many_at_once_and_then_one_in_a_time() {
        let start = Instant::now();
        let after = |n: usize| start + AGENT_SIGNATURES_EVERY * u32::try_from(n).unwrap();
        let mut whole_at = start;
        assert_eq!(had(&mut whole_at, start, 1), AGENT_SIGNATURES_BURST);
        assert_eq!(had(&mut whole_at, after(0), 1), 0);
        assert_eq!(had(&mut whole_at, after(10), 1), 10);
        assert_eq!(had(&mut whole_at, after(22), 4), 3);
        // It is whole again, and no more than that however long nothing was asked.
        assert_eq!(had(&mut whole_at, after(AGENT_SIGNATURES_BURST * 9), 4), AGENT_SIGNATURES_BURST / 4);
        // Who has more identities than are signed at once gets them all the same, and has used the budget up.
        assert_eq!(had(&mut start.clone(), start, AGENT_SIGNATURES_BURST * 2), 1);
    }

    #[tokio::test]
    async fn whoever_asks_first_is_served_first_and_who_leaves_keeps_nobody_waiting() {
        let budgets = Budgets::new(Report::silent());
        let budget = budgets.of(1);
        budget.take(AGENT_SIGNATURES_BURST).await;
        let order = Arc::<Mutex<Vec<u32>>>::default();
        let wait = |n: u32| {
            let (budget, order) = (Arc::clone(&budget), Arc::clone(&order));
            tokio::spawn(async move {
                budget.take(1).await;
                order.lock().unwrap().push(n);
            })
        };
        let mut tasks = Vec::new();
        for n in 0..4 {
            tasks.push(wait(n));
            tokio::task::yield_now().await;
        }
        tasks[0].abort();
        tasks[2].abort();
        let begins = Instant::now();
        for task in tasks {
            let _ = task.await;
        }
        assert_eq!(*order.lock().unwrap(), [1, 3]);
        assert!(begins.elapsed() >= AGENT_SIGNATURES_EVERY, "both were let through at once");
    }

    #[tokio::test]
    async fn budgets_that_are_whole_and_of_nobody_are_forgotten() {
        let budgets = Budgets::new(Report::silent());
        budgets.of(1).take(20).await;
        let held = budgets.of(2);
        let known = || {
            let mut all: Vec<_> = budgets.of.lock().unwrap().keys().copied().collect();
            all.sort_unstable();
            all
        };
        drop(budgets.of(3));
        assert_eq!(known(), [1, 2, 3]);
        drop(budgets.of(4));
        assert_eq!(known(), [1, 2, 4], "what was used is remembered, and what is in use");
        tokio::time::sleep(AGENT_SIGNATURES_EVERY * 20).await;
        drop(budgets.of(5));
        assert_eq!(known(), [2, 5]);
        drop(held);
    }
}
