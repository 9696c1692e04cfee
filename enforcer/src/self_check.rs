//! The self-check: one request in so many is decided again by the reference evaluators, and disagreements are counted.
//!
//! It never changes an answer and never holds one up: the second decision is made on a thread for blocking work, one at a time;
//! a request whose turn comes while one is under way is passed over and counted. A disagreement is a fault of this program,
//! never of a policy; it raises a metric and a message, and `replay` shows afterwards what it concerned.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use portreeve_engine::reference::Reference;
use portreeve_engine::{Authorizer, Decision, Request};
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::report::Report;

/// Decides some requests again.
#[derive(Debug)]
pub struct SelfCheck {
    one_in: NonZeroU32,
    turn: AtomicU32,
    place: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    report: Report,
}

impl SelfCheck {
    /// Checks one request in `one_in`.
    #[must_use]
    pub fn new(one_in: NonZeroU32, metrics: Arc<Metrics>, report: Report) -> Self {
        Self { one_in, turn: AtomicU32::new(0), place: Arc::new(Semaphore::new(1)), metrics, report }
    }

    /// Looks at a decision, if its turn has come.
    pub fn look(&self, policy: &Arc<Authorizer>, request: &Request, decision: &Decision<'_>) {
        if self.turn.fetch_add(1, Ordering::Relaxed) % self.one_in != 0 {
            return;
        }
        let Ok(place) = Arc::clone(&self.place).try_acquire_owned() else {
            self.metrics.self_checks_passed_over.inc();
            return;
        };
        let decided = Reference::new(policy).in_its_terms(decision);
        let (policy, request) = (Arc::clone(policy), request.clone());
        let (metrics, report) = (Arc::clone(&self.metrics), self.report.clone());
        // It ends by itself, and nobody waits for it: at a shutdown an unfinished check is no loss.
        drop(tokio::task::spawn_blocking(move || {
            let _place = place;
            metrics.self_checks.inc();
            match Reference::new(&policy).decide(&request) {
                Ok(reference) if reference == decided => {}
                Ok(reference) => {
                    metrics.self_check_disagreements.inc();
                    report.tell(&format!(
                        "self-check: the table decided {} ({}), the reference {} ({}) for `{}` under {}",
                        decided.effect,
                        decided.reason,
                        reference.effect,
                        reference.reason,
                        request.service,
                        policy.revision()
                    ));
                }
                Err(why) => {
                    metrics.self_check_disagreements.inc();
                    report.tell(&format!("self-check: the reference cannot be asked about `{}`: {why}", request.service));
                }
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portreeve_engine::{Bundle, SourceFile};

    use super::*;

    fn policy(operations: &str) -> Arc<Authorizer> {
        let text = format!(
            "kind: Service\nname: items\nidentities: [spiffe://t.example/sa/items]\noperations: [{{id: read, method: GET, path: /read}}, {{id: write, method: PUT, path: /write}}]\n\
             ---\nkind: Permission\nname: some\nallow: {{from: any-authenticated, to: items, operations: [{operations}]}}\n"
        );
        let file = SourceFile { path: "a.yaml".to_owned(), bytes: text.into_bytes() };
        Arc::new(Authorizer::compile(&Bundle::from_files("test", vec![file]).unwrap()).authorizer.unwrap())
    }

    async fn until(check: &SelfCheck, done: u64) {
        for _ in 0..500 {
            if check.metrics.self_checks.get() >= done && check.place.available_permits() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("only {} checks were made", check.metrics.self_checks.get());
    }

    #[tokio::test]
    async fn a_decision_that_the_policy_does_not_give_is_told() {
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let report = Report::new(move |message| sink.lock().unwrap().push(message.to_owned()));
        let check = SelfCheck::new(NonZeroU32::MIN, Arc::default(), report);
        let (right, wrong) = (policy("read"), policy("write"));
        let line = br#"{"principal":"spiffe://t.example/sa/items","service":"items","method":"GET","path":"/read","context":{"time":"2026-11-22T10:00:00Z"}}"#;
        let request = Request::from_json(line).unwrap();
        check.look(&right, &request, &right.decide(&request));
        until(&check, 1).await;
        assert_eq!(check.metrics.self_check_disagreements.get(), 0);
        check.look(&right, &request, &wrong.decide(&request));
        until(&check, 2).await;
        assert_eq!(check.metrics.self_check_disagreements.get(), 1);
        let told = told.lock().unwrap();
        assert!(
            told[0].starts_with("self-check: the table decided deny (no-permission), the reference allow (permitted) for `items`"),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn one_in_so_many_is_checked() {
        let check = SelfCheck::new(NonZeroU32::new(10).unwrap(), Arc::default(), Report::silent());
        let policy = policy("read");
        let line = br#"{"principal":"spiffe://t.example/sa/items","service":"items","method":"GET","path":"/read","context":{"time":"2026-11-22T10:00:00Z"}}"#;
        let request = Request::from_json(line).unwrap();
        for _ in 0..30 {
            check.look(&policy, &request, &policy.decide(&request));
        }
        until(&check, 1).await;
        assert_eq!(check.metrics.self_checks.get() + check.metrics.self_checks_passed_over.get(), 3);
    }
}
