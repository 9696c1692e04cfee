//! Judges a connection that is no HTTP: who may reach which port.
//!
//! INV-8 as for requests: a [`Passage`] is made here and nowhere else, from an allow (or, in a dry run, a denial by policy) whose
//! record was accepted; whoever moves bytes takes it by value. INV-9: what cannot be recorded is closed.

use std::sync::Arc;

use portreeve_engine::Request;
use portreeve_engine::request::{Context, Target};

use super::{Caller, Gate, Granted, Running, moment};
use crate::limits;
use crate::log::NotAccepted;
use crate::quota::Held;

/// Leave to move the bytes of one connection.
#[derive(Debug)]
pub struct Passage(Running);

impl Passage {
    /// Uses the leave up, once its record is as durable as `log.durability` asks; `None` if it cannot be, and nothing may move.
    /// Either way the end is recorded.
    pub async fn redeem(self) -> Option<Running> {
        let Self(mut running) = self;
        if !running.is_kept().await {
            running.not_kept();
        } else if running.is_cut() {
            running.denied();
        } else {
            return Some(running);
        }
        running.status = None;
        None
    }
}

impl Gate {
    /// Judges a connection to a port of the service. `None`: it is to be closed; why is in the record, and nobody else is told.
    #[must_use]
    pub fn judge_connection(self: &Arc<Self>, caller: &Arc<Caller>, port: u16) -> Option<Passage> {
        let policy = self.policy.load_full();
        let request_id = self.ids.next();
        let mut request = Request {
            principal: caller.peer().svid().id.clone(),
            service: Arc::clone(&self.service),
            target: Target::Connect { port },
            host: None,
            context: Context { source_ip: Some(caller.ip), ..Context::default() },
        };
        for attempt in 0..=limits::STALE_RETRIES_MAX {
            let now = self.clock.now();
            request.context.time = now;
            let decision = policy.decide(&request);
            let (mut facts, mut context) = policy.request_text(&request, &decision);
            let moment = moment(attempt, now, &mut context);
            facts.id = &request_id;
            facts.protocol = "TCP";
            let share = self.share(caller);
            let accepted = self.spelled(caller, &policy, &facts, &context, &decision, |text| {
                if self.lets_through(&decision) {
                    self.log.allowed_text(moment, share, text).map(Some)
                } else {
                    self.log.denied_text(moment, share, text).map(|()| None)
                }
            });
            let ticket = match accepted {
                Err(NotAccepted::Stale) => continue,
                Err(NotAccepted::Share | NotAccepted::Full | NotAccepted::Down) => return None,
                Ok(ticket) => ticket,
            };
            caller.is_recorded();
            self.decided(&policy, &request, &decision);
            let ticket = ticket?;
            return match self.draw(&decision, &caller.peer().svid().id) {
                Ok(held) => self.passage(caller, &policy, Granted { ticket, held, span: None }, request),
                Err(limited) => {
                    self.running(caller, Granted { ticket, held: Held::default(), span: None }).limited(None, limited.by);
                    None
                }
            };
        }
        self.log.count_unrecorded(NotAccepted::Stale);
        None
    }

    fn passage(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        policy: &Arc<portreeve_engine::Authorizer>,
        granted: Granted,
        request: Request,
    ) -> Option<Passage> {
        let mut running = self.running(caller, granted);
        if self.fresh.is_over(request.context.time) {
            running.stale();
            running.status = None;
            return None;
        }
        running.place = Some(caller.live.enter(request));
        if self.overtakes(policy, caller, &running) {
            running.denied();
            running.status = None;
            return None;
        }
        Some(Passage(running))
    }
}
