//! Where a queue's kernels really run: a probe kernel reads the hardware id register in every workgroup.
//!
//! The driver reports no mask, and ROCr's report is not to be trusted, so this is the only proof that a mask is in force.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cu_mask::CuMask;
use crate::error::{Error, Result};
use crate::hw_id::{HardwareQueue, HwId};
use crate::module::Kernel;
use crate::queue::Queue;

/// What the probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Compute units, as (shader engine, shader array, CU).
    pub cus: BTreeSet<(u32, u32, u32)>,
    /// Hardware queues, where the register tells; more than one if the driver moved the queue meanwhile.
    pub hardware_queues: BTreeSet<HardwareQueue>,
    /// Workgroups that reported.
    pub workgroups: u32,
}

impl Observed {
    /// Compute units seen in each shader engine.
    pub fn cus_by_engine(&self, engines: u32) -> Vec<u32> {
        (0..engines).map(|se| self.cus.iter().filter(|cu| cu.0 == se).count() as u32).collect()
    }

    /// Whether exactly as many CUs of each shader engine were seen as the mask enables. CU numbers are not compared:
    /// they may be physical ones on harvested parts. With several XCCs the register does not tell which. On gfx10 and later it
    /// tells workgroup processors, which are pairs of CUs, and those are compared.
    pub fn agrees_with(&self, mask: &CuMask) -> bool {
        let asked = mask.cus_by_engine();
        let xccs = asked.len() as u32;
        let engines = mask.topology().shader_engines();
        let each = if mask.topology().wgp_pairs() { 2 } else { 1 };
        let total: Vec<u32> = (0..engines as usize)
            .map(|se| asked.iter().map(|xcc| xcc[se]).max().unwrap_or(0) / each)
            .collect();
        xccs >= 1 && self.cus_by_engine(engines) == total
    }
}

/// Runs `probe` on `queue` with `workgroups` workgroups of one wavefront and collects where they ran.
///
/// The kernel takes a buffer of `u32` and a `u32`; each workgroup writes its hardware id register (`HW_ID`, or `HW_ID1` from
/// gfx10 on) to the buffer's element of its number, after keeping its CU busy for `spin` rounds, so that others are used too.
///
/// # Errors
/// As [`Queue::dispatch`] and [`crate::Token::wait_timeout`].
pub fn observe(
    queue: &Queue,
    probe: &Kernel,
    workgroups: u32,
    spin: u32,
    timeout: Duration,
) -> Result<Observed> {
    let agent = queue.agent();
    let isa = agent.isa().ok_or_else(|| Error::Invalid(format!("{agent} is not a GPU")))?;
    let wave = agent.wave_size();
    let out = agent.alloc_host::<u32>(workgroups as usize)?;
    let items = workgroups
        .checked_mul(wave)
        .ok_or_else(|| Error::Invalid(format!("{workgroups} workgroups are more than a grid can have")))?;
    let dispatch = probe.dispatch([items, 1, 1], [wave, 1, 1]).arg(&out).arg(spin);
    queue.dispatch(dispatch, timeout)?.wait_timeout(timeout)?;
    let ids: Vec<HwId> = out.map()?.iter().map(|&word| HwId::decode(isa.gfx_major(), word)).collect();
    Ok(Observed {
        cus: ids.iter().map(|id| (id.se, id.sh, id.cu)).collect(),
        hardware_queues: ids.iter().filter_map(|id| id.queue).collect(),
        workgroups,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::topology::CuTopology;

    fn seen(places: impl IntoIterator<Item = (u32, u32, u32)>) -> Observed {
        let cus: BTreeSet<_> = places.into_iter().collect();
        Observed { workgroups: cus.len() as u32, cus, hardware_queues: BTreeSet::new() }
    }

    #[test]
    fn counts_of_each_engine_are_compared() {
        let topology = Arc::new(CuTopology::uniform(4, 1, 15).unwrap());
        let mask = CuMask::shader_engines(&topology, &[1, 3]).unwrap();
        let right = |se: u32| (0..15).map(move |cu| (se, 0, cu));
        assert!(seen(right(1).chain(right(3))).agrees_with(&mask));
        assert!(!seen(right(1).chain(right(2))).agrees_with(&mask));
        assert!(!seen(right(1)).agrees_with(&mask));
        assert!(!seen(right(1).chain(right(3)).chain([(0, 0, 0)])).agrees_with(&mask));
    }

    #[test]
    fn gfx10_shows_pairs() {
        let topology = Arc::new(CuTopology::new(1, 2, 1, vec![10, 10], true).unwrap());
        let mask = CuMask::per_shader_engine(&topology, &[4, 4]).unwrap();
        assert!(seen([(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]).agrees_with(&mask));
        assert!(!seen([(0, 0, 0), (0, 0, 1), (1, 0, 0)]).agrees_with(&mask));
    }
}
