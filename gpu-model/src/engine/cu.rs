//! CUs in the same state: what each holds, and how fast each of its workgroups goes.
//!
//! Rates are in workgroups a ns. A workgroup goes as fast as the scarcest of these lets it: its own latency, its share of the
//! SIMD units' issue slots, its share of memory.

use crate::device::Device;
use crate::kernel::{Cost, REGISTER_UNITS};

/// What is free on a CU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    waves: u32,
    registers: u32,
    lds: u32,
    workgroups: u32,
}

impl Room {
    /// An empty CU.
    pub fn of(device: &Device) -> Self {
        let simds = device.shape.simds_per_cu.count();
        Self {
            waves: simds * device.occupancy.waves_per_simd.count(),
            registers: simds * REGISTER_UNITS,
            lds: device.occupancy.lds_bytes.count(),
            workgroups: device.occupancy.workgroups_per_cu.count() * device.occupancy.barriers_per_cu.count(),
        }
    }

    /// How many more workgroups fit.
    pub fn fits(&self, cost: &Cost) -> u32 {
        if self.waves < cost.waves || self.registers < cost.registers || self.lds < cost.lds {
            return 0;
        }
        let lds = self.lds.checked_div(cost.lds).unwrap_or(u32::MAX);
        (self.waves / cost.waves)
            .min(self.registers / cost.registers)
            .min(lds)
            .min(self.workgroups / cost.workgroups)
    }

    pub fn take(&mut self, cost: &Cost, n: u32) {
        self.waves -= cost.waves * n;
        self.registers -= cost.registers * n;
        self.lds -= cost.lds * n;
        self.workgroups -= cost.workgroups * n;
    }

    pub fn give(&mut self, cost: &Cost, n: u32) {
        self.waves += cost.waves * n;
        self.registers += cost.registers * n;
        self.lds += cost.lds * n;
        self.workgroups += cost.workgroups * n;
    }
}

/// What every workgroup of a kernel must do, as the rates need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub waves: f64,
    /// Issue time of each wave alone on its SIMD unit, ns.
    pub issue_ns: f64,
    pub bytes: f64,
    /// 1 / latency.
    pub latency_rate: f64,
    /// Share of a SIMD unit's issue slots that one wave can use: 1 / saturating waves.
    pub wave_share: f64,
}

/// Workgroups of one kernel that sit on a CU and have come equally far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cohort {
    /// Slot of the kernel's run.
    pub run: usize,
    pub n: u32,
    /// How far each has come: 1 = its end. A stream goes past 1: whenever it passes a whole number, its workgroups have
    /// ended and as many of the same kernel have taken their places.
    pub done: f64,
    pub rate: f64,
    /// Bytes a ns that it would move if only this CU limited it.
    pub demand: f64,
    /// The rate when rates were computed last.
    pub last_rate: f64,
    pub stream: bool,
}

/// CUs of one shader engine, all in the same state; the fields tell of each of them.
#[derive(Clone, Debug)]
pub(crate) struct Cu {
    /// Numbers of the CUs. None: the entry is free.
    pub members: Vec<u16>,
    pub engine: usize,
    pub room: Room,
    pub cohorts: Vec<Cohort>,
    /// Resident waves.
    pub waves: u32,
    /// When `done` of the cohorts was true.
    pub since: f64,
    /// Rates must be computed again.
    pub stale: bool,
}

/// Constants that the rates need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CuRates {
    pub simds: f64,
    pub bandwidth: f64,
    pub interference: f64,
}

/// A workgroup that has nothing to do ends at once, in finite arithmetic.
const INSTANT: f64 = 1e9;

/// Share of a SIMD unit for each wave such that the `load` x min(want, share) add up to `capacity`.
fn water_level(items: &[(f64, f64)], capacity: f64) -> f64 {
    let wanted: f64 = items.iter().map(|(load, want)| load * want).sum();
    if wanted <= capacity {
        return f64::INFINITY;
    }
    // Who wants less than the level leaves the rest to the others. The level only rises: one round for each at most.
    let mut level = 0.0;
    for _ in 0..=items.len() {
        let (mut left, mut load) = (capacity, 0.0);
        for &(weight, want) in items {
            if want <= level {
                left -= weight * want;
            } else {
                load += weight;
            }
        }
        let next = left / load;
        if next <= level || load == 0.0 {
            break;
        }
        level = next;
    }
    level
}

impl Cu {
    /// Empty CUs.
    pub fn new(device: &Device, engine: usize, members: Vec<u16>) -> Self {
        Self {
            members,
            engine,
            room: Room::of(device),
            cohorts: Vec::new(),
            waves: 0,
            since: 0.0,
            stale: false,
        }
    }

    /// How many CUs.
    pub fn count(&self) -> u64 {
        self.members.len() as u64
    }

    /// Whether the other's workgroups are the same, `tolerance` apart in what they have done. Both at the same time, both sorted.
    pub fn is_like(&self, other: &Self, tolerance: f64) -> bool {
        let alike = |(a, b): (&Cohort, &Cohort)| {
            a.run == b.run && a.n == b.n && a.stream == b.stream && (a.done - b.done).abs() <= tolerance
        };
        self.waves == other.waves
            && self.cohorts.len() == other.cohorts.len()
            && self.cohorts.iter().zip(&other.cohorts).all(alike)
    }

    /// An order in which alike CUs have alike lists.
    pub fn sort(&mut self) {
        self.cohorts
            .sort_by(|a, b| (a.run, a.stream).cmp(&(b.run, b.stream)).then(b.done.total_cmp(&a.done)));
    }

    /// Makes one of the two: both at the same time, and alike. What they have done is kept in sum.
    pub fn absorb(&mut self, other: &mut Self) {
        let (a, b) = (self.count() as f64, other.count() as f64);
        for (mine, theirs) in self.cohorts.iter_mut().zip(&other.cohorts) {
            mine.done = (a * mine.done + b * theirs.done) / (a + b);
        }
        self.members.append(&mut other.members);
        other.cohorts.clear();
    }

    /// Brings `done` up to `now`.
    pub fn progress(&mut self, now: f64) {
        let passed = now - self.since;
        if passed > 0.0 {
            for cohort in &mut self.cohorts {
                cohort.done += cohort.rate * passed;
            }
        }
        self.since = now;
    }

    /// When the first cohort that is no stream ends, if rates stay as they are.
    pub fn next_end(&self) -> f64 {
        let left = |cohort: &Cohort| ((1.0 - cohort.done) / cohort.rate).max(0.0);
        let ends = self.cohorts.iter().filter(|cohort| !cohort.stream).map(left);
        self.since + ends.fold(f64::INFINITY, f64::min)
    }

    /// SIMD units' worth of issue slots that each unit of load may use: waves that do not divide evenly over the SIMD units
    /// go at the pace of the fullest one.
    fn capacity(&self, simds: f64) -> f64 {
        let load = f64::from(self.waves) / simds;
        if load > 0.0 { load / load.ceil() } else { 1.0 }
    }

    /// Rates if memory as a whole did not limit: sets each cohort's `rate` to it, and its `demand`.
    pub fn wish(&mut self, constants: &CuRates, work: impl Fn(usize) -> Work, scratch: &mut Vec<(f64, f64)>) {
        scratch.clear();
        for cohort in &self.cohorts {
            let work = work(cohort.run);
            let want = work.wave_share.min(work.issue_ns * work.latency_rate);
            scratch.push((f64::from(cohort.n) * work.waves / constants.simds, want));
        }
        let level = water_level(scratch, self.capacity(constants.simds));
        let mut bytes = 0.0;
        for (cohort, &(_, want)) in self.cohorts.iter_mut().zip(scratch.iter()) {
            let work = work(cohort.run);
            let issue = if work.issue_ns > 0.0 { want.min(level) / work.issue_ns } else { INSTANT };
            cohort.rate = issue.min(work.latency_rate);
            let each = f64::from(cohort.n) * work.bytes;
            if each > 0.0 {
                cohort.rate = cohort.rate.min(constants.bandwidth / each);
            }
            cohort.demand = each * cohort.rate;
            bytes += cohort.demand;
        }
        if bytes > constants.bandwidth {
            let cut = constants.bandwidth / bytes;
            for cohort in self.cohorts.iter_mut().filter(|cohort| cohort.demand > 0.0) {
                cohort.rate *= cut;
                cohort.demand *= cut;
            }
        }
    }

    /// Rates when kernel `run` gets the share `grant(run)` of the bytes that it would like to move.
    /// Call [`Cu::wish`] first. Issue slots that memory leaves idle go to the others.
    pub fn settle(
        &mut self,
        constants: &CuRates,
        work: impl Fn(usize) -> Work,
        grant: impl Fn(usize) -> f64,
        scratch: &mut Vec<(f64, f64)>,
    ) {
        scratch.clear();
        for cohort in &mut self.cohorts {
            let work = work(cohort.run);
            let limit = if cohort.demand > 0.0 { cohort.rate * grant(cohort.run) } else { work.latency_rate };
            let want = work.wave_share.min(work.issue_ns * limit);
            scratch.push((f64::from(cohort.n) * work.waves / constants.simds, want));
            cohort.rate = limit;
        }
        let level = water_level(scratch, self.capacity(constants.simds));
        for (index, &(_, want)) in scratch.iter().enumerate() {
            let work = work(self.cohorts[index].run);
            let issue = if work.issue_ns > 0.0 { want.min(level) / work.issue_ns } else { INSTANT };
            let crowd = if constants.interference > 0.0 {
                1.0 + constants.interference * self.foreign_share(index, &work)
            } else {
                1.0
            };
            let cohort = &mut self.cohorts[index];
            cohort.rate = cohort.rate.min(issue).min(INSTANT) / crowd;
            cohort.last_rate = cohort.rate;
        }
        self.stale = false;
    }

    /// Which part of the resident waves is other kernels'.
    fn foreign_share(&self, index: usize, work: &Work) -> f64 {
        let run = self.cohorts[index].run;
        let own: u32 = self.cohorts.iter().filter(|cohort| cohort.run == run).map(|cohort| cohort.n).sum();
        1.0 - f64::from(own) * work.waves / f64::from(self.waves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn water_is_shared_out_wholly_and_no_one_gets_more_than_wanted() {
        let items = [(1.0, 0.2), (2.0, 0.5), (1.0, 1.0), (3.0, 0.1)];
        for capacity in [0.1, 0.5, 1.0, 1.7, 2.4] {
            let level = water_level(&items, capacity);
            let used: f64 = items.iter().map(|(load, want)| load * want.min(level)).sum();
            assert!((used - capacity).abs() < 1e-9, "{capacity}: {used}");
        }
        assert_eq!(water_level(&items, 2.6), f64::INFINITY);
    }
}
