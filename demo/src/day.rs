//! A day in the town: traffic from beginning to end, a new bundle after a third of it, new certificates after two thirds.

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
/// # Errors
/// The bundle or the certificates could not be replaced. What players find wrong is in their tally.
pub async fn day(town: &Running, plan: Plan, done: Arc<AtomicU64>, tell: impl Fn(&str)) -> Result<Day, TownError> {
    let over = AtomicBool::new(false);
    let reached = async |count: u64| {
        while done.load(Ordering::Relaxed) < count && !over.load(Ordering::Relaxed) {
            sleep(limits::CHANGE_POLL).await;
        }
    };
    let changes = async {
        reached(plan.requests / 3).await;
        let revision = town.reload_bundle().await?;
        tell("a new bundle is in force everywhere: refunds are open");
        reached(plan.requests / 3 * 2).await;
        let rotated = town.rotate_certificates().await?;
        tell("every certificate was replaced; open connections went on");
        Ok((revision, rotated))
    };
    let playing = async {
        let tally = play(Arc::clone(town.stage()), plan, Arc::clone(&done)).await;
        over.store(true, Ordering::Relaxed);
        tally
    };
    let (tally, changed): (Tally, Result<_, TownError>) = tokio::join!(playing, changes);
    let (revision, rotated) = changed?;
    Ok(Day { tally, revision, rotated })
}
