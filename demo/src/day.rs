//! A day in the town: traffic from beginning to end, a new bundle and new certificates in the middle of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use portreeve_engine::Revision;
use tokio::time::sleep;

use crate::error::TownError;
use crate::limits;
use crate::play::{Plan, play};
use crate::running::{Rotated, Running};
use crate::tally::Tally;

/// What happened in a day.
#[derive(Clone, Debug)]
pub struct Day {
    /// What players counted.
    pub tally: Tally,
    /// The bundle taken up.
    pub revision: Revision,
    /// The certificates replaced.
    pub rotated: Rotated,
}

/// Lets a day pass. `done` counts the questions asked, and `tell` hears what happens besides.
///
/// A new bundle is taken up while the second third is asked, and new certificates while the next part is; players wait where a
/// change takes longer, so that some of every day lies before, during and after each.
///
/// # Errors
/// The bundle or the certificates could not be replaced. What players find wrong is in their tally.
pub async fn day(town: &Running, plan: Plan, done: Arc<AtomicU64>, tell: impl Fn(&str)) -> Result<Day, TownError> {
    let stage = town.stage();
    let (first, second, third) = (plan.requests / 3, plan.requests / 3 * 2, plan.requests / 6 * 5);
    stage.set_hold(second);
    let over = AtomicBool::new(false);
    let reached = async |count: u64| {
        while done.load(Ordering::Relaxed) < count && !over.load(Ordering::Relaxed) {
            sleep(limits::CHANGE_POLL).await;
        }
    };
    let changes = async {
        reached(first).await;
        let revision = town.reload_bundle().await?;
        tell("a new bundle is in force everywhere: refunds are open");
        stage.set_hold(third);
        reached(second).await;
        let rotated = town.rotate_certificates().await?;
        tell("every certificate was replaced; open connections went on");
        Ok((revision, rotated))
    };
    let changes = async {
        let changed = changes.await;
        // Whatever came of it, nobody waits any longer.
        stage.set_hold(u64::MAX);
        changed
    };
    let playing = async {
        let tally = play(Arc::clone(stage), plan, Arc::clone(&done)).await;
        over.store(true, Ordering::Relaxed);
        tally
    };
    let (tally, changed): (Tally, Result<_, TownError>) = tokio::join!(playing, changes);
    let (revision, rotated) = changed?;
    Ok(Day { tally, revision, rotated })
}
