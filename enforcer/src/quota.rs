//! Limits of permissions: so much per caller and operation, and no more.
//!
//! A limit never alters a decision: the request is decided and recorded as allowed, and then not forwarded. Every permission that
//! the decision names bounds the request; each caller (an identity) and operation has a budget of its own, so that no caller can
//! use up another's (A67). The rate is kept by the generic cell rate algorithm: one number for each budget, no timer, no queue.
//!
//! INVARIANTS: what is counted is bounded by callers with a certificate and by [`limits::QUOTA_CALLERS_MAX`]; a budget is forgotten
//! only when it is whole, which is as if it had never been touched; budgets outlive a reload in which their limit stayed the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use portreeve_engine::SpiffeId;
use portreeve_engine::decision::PolicyRef;
use portreeve_engine::model::{Limit, Rate};

use crate::limits;

/// The budgets of one enforcer.
#[derive(Debug)]
pub struct Quotas {
    start: Instant,
    permissions: RwLock<HashMap<Box<str>, Arc<Permission>>>,
}

/// The budgets under one permission.
#[derive(Debug)]
struct Permission {
    limit: Limit,
    callers: Mutex<HashMap<SpiffeId, Vec<Budget>>>,
}

#[derive(Debug)]
struct Budget {
    operation: Option<Box<str>>,
    meter: Arc<Meter>,
}

/// What one caller has used of one operation under one permission.
#[derive(Debug, Default)]
struct Meter {
    /// When the rate alone would have let everything through that was let through; nanoseconds from the start.
    due: AtomicU64,
    running: AtomicU32,
}

/// Places of a running request among those at once; given back when this is dropped.
#[derive(Debug, Default)]
pub struct Held(Vec<Arc<Meter>>);

/// Why a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Which part of the limit, in a word for the record.
    pub by: &'static str,
    /// When to come back.
    pub retry_after: Duration,
}

impl Limited {
    /// The same in whole seconds, and never so few that coming back is in vain.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        (self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0)).max(1)
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self { start: Instant::now(), permissions: RwLock::default() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for meter in &self.0 {
            meter.running.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Quotas {
    /// Takes one request of `caller` to `operation` out of the budgets of all `policies` that have a limit.
    ///
    /// # Errors
    /// The first budget that is used up.
    pub fn take<'p>(
        &self,
        policies: impl Iterator<Item = &'p PolicyRef>,
        caller: &SpiffeId,
        operation: Option<&str>,
    ) -> Result<Held, Limited> {
        let mut limited = policies.filter(|policy| policy.limit.is_some()).peekable();
        // Most permissions have no limit; then not even a clock is read.
        if limited.peek().is_none() {
            return Ok(Held::default());
        }
        self.take_at(limited, caller, operation, self.start.elapsed())
    }

    fn take_at<'p>(
        &self,
        policies: impl Iterator<Item = &'p PolicyRef>,
        caller: &SpiffeId,
        operation: Option<&str>,
        now: Duration,
    ) -> Result<Held, Limited> {
        let now = nanoseconds(now);
        let mut meters = Vec::new();
        for policy in policies {
            if let Some(limit) = policy.limit {
                meters.push((limit, self.permission(&policy.id, limit).meter(caller, operation, now)?));
            }
        }
        // Looked at before anything is taken, so that a budget is not drawn on for a request that another one stops.
        for (limit, meter) in &meters {
            meter.look(limit, now)?;
        }
        let mut held = Held::default();
        for (limit, meter) in meters {
            meter.draw(&limit, now, &mut held)?;
        }
        Ok(held)
    }

    fn permission(&self, id: &str, limit: Limit) -> Arc<Permission> {
        let known = self.permissions.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(known) = known.filter(|known| known.limit == limit) {
            return known;
        }
        let mut permissions = self.permissions.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = permissions.get(id).filter(|known| known.limit == limit) {
            return Arc::clone(known);
        }
        let new = Arc::new(Permission { limit, callers: Mutex::default() });
        permissions.insert(id.into(), Arc::clone(&new));
        new
    }

    /// Forgets the budgets of every permission whose limit is not the given one any more.
    pub fn keep(&self, limit_of: impl Fn(&str) -> Option<Limit>) {
        self.permissions.write().unwrap_or_else(PoisonError::into_inner).retain(|id, known| limit_of(id) == Some(known.limit));
    }
}

impl Permission {
    fn meter(&self, caller: &SpiffeId, operation: Option<&str>, now: u64) -> Result<Arc<Meter>, Limited> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budgets) = callers.get_mut(caller) {
            if let Some(own) = budgets.iter().find(|b| b.operation.as_deref() == operation) {
                return Ok(Arc::clone(&own.meter));
            }
            let meter = Arc::<Meter>::default();
            budgets.push(Budget { operation: operation.map(Into::into), meter: Arc::clone(&meter) });
            return Ok(meter);
        }
        if callers.len() >= limits::QUOTA_CALLERS_MAX {
            callers.retain(|_, budgets| budgets.iter().any(|b| !b.meter.is_whole(now) || Arc::strong_count(&b.meter) > 1));
            if callers.len() >= limits::QUOTA_CALLERS_MAX {
                return Err(Limited { by: "callers", retry_after: limits::QUOTA_AGAIN });
            }
        }
        let meter = Arc::<Meter>::default();
        callers.insert(caller.clone(), vec![Budget { operation: operation.map(Into::into), meter: Arc::clone(&meter) }]);
        Ok(meter)
    }
}

impl Meter {
    fn look(&self, limit: &Limit, now: u64) -> Result<(), Limited> {
        if limit.concurrency.is_some_and(|most| self.running.load(Ordering::Acquire) >= most) {
            return Err(Limited { by: "concurrency", retry_after: limits::QUOTA_AGAIN });
        }
        if let Some(pace) = Pace::of(limit) {
            pace.after(self.due.load(Ordering::Acquire), now)?;
        }
        Ok(())
    }

    fn draw(self: Arc<Self>, limit: &Limit, now: u64, held: &mut Held) -> Result<(), Limited> {
        if let Some(most) = limit.concurrency {
            if self.running.fetch_add(1, Ordering::AcqRel) >= most {
                self.running.fetch_sub(1, Ordering::AcqRel);
                return Err(Limited { by: "concurrency", retry_after: limits::QUOTA_AGAIN });
            }
            held.0.push(Arc::clone(&self));
        }
        let Some(pace) = Pace::of(limit) else { return Ok(()) };
        let mut due = self.due.load(Ordering::Acquire);
        loop {
            let next = pace.after(due, now)?;
            match self.due.compare_exchange_weak(due, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(other) => due = other,
            }
        }
    }

    /// Whether it is as if it had never been used.
    fn is_whole(&self, now: u64) -> bool {
        self.due.load(Ordering::Acquire) <= now && self.running.load(Ordering::Acquire) == 0
    }
}

/// A rate in the terms of the algorithm.
#[derive(Clone, Copy)]
struct Pace {
    /// Between two requests.
    interval: u64,
    /// How far ahead of the rate a caller may be.
    ahead: u64,
}

impl Pace {
    fn of(limit: &Limit) -> Option<Self> {
        let Rate { requests, period_ms } = limit.rate?;
        let period = period_ms.saturating_mul(1_000_000);
        let interval = (period / u64::from(requests.max(1))).max(1);
        // Where nothing is said: as much at once as the rate gives in a second, and at least one.
        let at_once = limit.burst.map_or_else(|| (SECOND / interval).max(1), u64::from).max(1);
        Some(Self { interval, ahead: interval.saturating_mul(at_once - 1) })
    }

    /// What is due once one more request has passed now.
    fn after(self, due: u64, now: u64) -> Result<u64, Limited> {
        let early = due.saturating_sub(now).saturating_sub(self.ahead);
        if early > 0 {
            return Err(Limited { by: "rate", retry_after: Duration::from_nanos(early) });
        }
        Ok(due.max(now).saturating_add(self.interval))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use portreeve_engine::Effect;
    use portreeve_engine::diagnostic::Location;

    use super::*;

    fn policy(id: &str, rate: Option<(u32, u64)>, burst: Option<u32>, concurrency: Option<u32>) -> PolicyRef {
        let rate = rate.map(|(requests, period_ms)| Rate { requests, period_ms });
        let limit = (rate.is_some() || concurrency.is_some()).then_some(Limit { rate, burst, concurrency });
        PolicyRef { id: id.into(), effect: Effect::Allow, at: Location { file: String::new(), line: 1, column: 1, length: 1 }, limit }
    }

    fn id(name: &str) -> SpiffeId {
        format!("spiffe://market.example/ns/shop/sa/{name}").parse().unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn so_much_at_once_and_then_by_the_rate() {
        let quotas = Quotas::default();
        let policy = policy("p", Some((10, 1000)), Some(3), None);
        let take = |at| quotas.take_at([&policy].into_iter(), &id("a"), Some("read"), at).map(|_| ());
        for _ in 0..3 {
            assert_eq!(take(ms(5000)), Ok(()));
        }
        assert_eq!(take(ms(5000)), Err(Limited { by: "rate", retry_after: ms(100) }));
        assert_eq!(take(ms(5099)), Err(Limited { by: "rate", retry_after: ms(1) }));
        assert_eq!(take(ms(5100)), Ok(()));
        assert!(take(ms(5100)).is_err());
        // Over a long time no more passes than the rate and what may come at once.
        let passed = (0..60_000).filter(|n| take(ms(10_000 + n)).is_ok()).count();
        assert!((600..=603).contains(&passed), "{passed}");
    }

    #[test]
    fn without_a_burst_a_second_of_the_rate_may_come_at_once() {
        for (rate, at_once) in [((200, 1000), 200), ((120, 60_000), 2), ((50, 3_600_000), 1)] {
            let quotas = Quotas::default();
            let policy = policy("p", Some(rate), None, None);
            let passed = (0..1000).filter(|_| quotas.take_at([&policy].into_iter(), &id("a"), None, ms(5000)).is_ok()).count();
            assert_eq!(passed, at_once, "{rate:?}");
        }
    }

    #[test]
    fn a67_each_caller_and_operation_has_a_budget_of_its_own() {
        let quotas = Quotas::default();
        let policy = policy("p", Some((1, 1000)), Some(1), None);
        let take = |who: &str, what| quotas.take_at([&policy].into_iter(), &id(who), what, ms(0)).is_ok();
        assert!(take("a", Some("read")) && !take("a", Some("read")));
        assert!(take("a", Some("write")) && take("a", None));
        assert!(take("b", Some("read")) && !take("b", Some("read")));
    }

    #[test]
    fn every_deciding_permission_bounds_and_none_is_drawn_on_in_vain() {
        let quotas = Quotas::default();
        let (wide, narrow, open) =
            (policy("wide", Some((2, 1000)), Some(2), None), policy("narrow", None, None, Some(1)), policy("open", None, None, None));
        let take = || quotas.take_at([&open, &wide, &narrow].into_iter(), &id("a"), None, ms(0));
        let held = take().unwrap();
        for _ in 0..10 {
            assert_eq!(take().map(|_| ()), Err(Limited { by: "concurrency", retry_after: limits::QUOTA_AGAIN }));
        }
        drop(held);
        let held = take().unwrap();
        drop(held);
        assert_eq!(take().map(|_| ()).unwrap_err().by, "rate");
        assert_eq!(quotas.permission("narrow", narrow.limit.unwrap()).meter(&id("a"), None, 0).unwrap().running.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn budgets_outlive_what_does_not_change_them() {
        let quotas = Quotas::default();
        let before = policy("p", Some((1, 60_000)), Some(1), None);
        let take = |policy: &PolicyRef| quotas.take_at([policy].into_iter(), &id("a"), None, ms(0)).is_ok();
        assert!(take(&before) && !take(&before));
        quotas.keep(|_| before.limit);
        assert!(!take(&before));
        let after = policy("p", Some((2, 60_000)), Some(1), None);
        quotas.keep(|_| after.limit);
        assert!(take(&after) && !take(&after));
        quotas.keep(|_| None);
        assert!(quotas.permissions.read().unwrap().is_empty());
    }

    #[test]
    fn a67_memory_is_bounded_and_used_budgets_are_not_forgotten() {
        let quotas = Quotas::default();
        let policy = policy("p", Some((1, 1000)), Some(1), None);
        let take = |n: usize, at| quotas.take_at([&policy].into_iter(), &id(&format!("c{n}")), None, at).map(|_| ());
        for n in 0..limits::QUOTA_CALLERS_MAX {
            assert_eq!(take(n, ms(0)), Ok(()));
        }
        assert_eq!(take(limits::QUOTA_CALLERS_MAX, ms(0)), Err(Limited { by: "callers", retry_after: limits::QUOTA_AGAIN }));
        assert!(take(0, ms(0)).is_err(), "a used budget was forgotten");
        assert_eq!(take(limits::QUOTA_CALLERS_MAX, ms(1000)), Ok(()), "whole budgets make room");
        assert_eq!(quotas.permission("p", policy.limit.unwrap()).callers.lock().unwrap().len(), 1);
    }

    #[test]
    fn many_threads_draw_no_more_than_there_is() {
        let quotas = Quotas::default();
        let policy = policy("p", Some((1000, 60_000)), Some(500), Some(64));
        let passed = std::thread::scope(|scope| {
            let run = || (0..1000).filter(|_| quotas.take_at([&policy].into_iter(), &id("a"), None, ms(0)).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum::<usize>()
        });
        assert_eq!(passed, 500);
    }
}
