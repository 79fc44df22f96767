//! What is measured against each other, and the rounds in which it is.
//!
//! In each round every contender has its turn, in an order that is shuffled anew, so that whatever changes over time (other
//! programs, clocks, temperatures) hits all of them alike. Only [`Contender::submit`] is timed, with the device held where that is
//! possible (see [`Hold`]); making room before and draining after is not. Right before it the same was submitted once, untimed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::hold::{Held, Hold};
use super::samples::Samples;

/// Longest that a round's work may take to complete.
pub const DRAIN: Duration = Duration::from_secs(30);

/// One way to submit.
pub trait Contender {
    /// What the results call it.
    fn name(&self) -> &'static str;

    /// Whether the device is to be held while this submits, where it can be.
    fn holds_device(&self) -> bool {
        true
    }

    /// Puts in place what the round's first work follows. Not timed; the device is held already.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Submits some work and returns for how many units it was. **This is what is timed**, the second time that it is called in a
    /// round; there is room for both, and on a device that is held nothing of either is complete meanwhile.
    fn submit(&mut self) -> Result<u32>;

    /// Waits until all work is complete and there is room for the next round. Not timed.
    fn drain(&mut self) -> Result<()>;
}

/// Host nanoseconds a unit of each contender, one sample a round. The first `warm_up` rounds are not counted: they make
/// signals, grow pools, touch memory.
pub fn measure(
    contenders: &mut [Box<dyn Contender>],
    hold: &mut Hold,
    warm_up: u32,
    rounds: u32,
) -> Result<Vec<Samples>> {
    let mut samples: Vec<Samples> = contenders.iter().map(|_| Samples::default()).collect();
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    // Always the same orders, so that two runs do the same.
    let mut random = fastrand::Rng::with_seed(906);
    for round in 0..warm_up + rounds {
        random.shuffle(&mut order);
        for &index in &order {
            let contender = &mut contenders[index];
            let name = contender.name();
            let held = match contender.holds_device() {
                true => hold.begin().with_context(|| format!("{name}: holding the device"))?,
                false => Held::nothing(),
            };
            // Once before, so that code and tables are in the caches, as they are of a program that submits all the time.
            let before = contender.prepare().and_then(|()| contender.submit());
            let begin = Instant::now();
            let units = before.and_then(|_| contender.submit());
            let elapsed = begin.elapsed();
            let let_go = held.end();
            let units = units.with_context(|| format!("{name}: submitting"))?;
            contender.drain().with_context(|| format!("{name}: draining"))?;
            let in_time = let_go.with_context(|| format!("{name}: letting the device go on"))?;
            if round >= warm_up && in_time {
                samples[index].add(elapsed.as_nanos() as f64 / f64::from(units));
            }
        }
    }
    Ok(samples)
}
