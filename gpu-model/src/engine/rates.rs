//! Bringing rates up to date where something changed, and what ends on a CU.

use super::cu::Cohort;
use super::memory::{self, Claim};
use super::power::Activity;
use super::timer::Timer;
use super::{Gpu, MOMENT};

impl Gpu {
    pub(super) fn mark_stale(&mut self, cu: usize) {
        if !self.cus[cu].stale {
            self.cus[cu].stale = true;
            self.stale.push(cu);
        }
    }

    /// Takes what `cu` contributes to its kernels' sums out of them, at the rates that held until now.
    pub(super) fn retract(&mut self, cu: usize) {
        self.cus[cu].progress(self.now);
        for index in 0..self.cus[cu].cohorts.len() {
            let cohort = self.cus[cu].cohorts[index];
            self.retract_cohort(cu, &cohort);
            let cohort = &mut self.cus[cu].cohorts[index];
            cohort.rate = 0.0;
            cohort.demand = 0.0;
        }
    }

    fn retract_cohort(&mut self, cu: usize, cohort: &Cohort) {
        let now = self.now;
        let count = self.cus[cu].count() as f64;
        let run = self.runs[cohort.run].as_mut().expect("a cohort's kernel is in flight");
        run.demand -= count * cohort.demand;
        if cohort.stream {
            run.touch_stream(now);
            if let Some(stream) = &mut run.stream {
                stream.rate -= count * f64::from(cohort.n) * cohort.rate;
            }
        }
    }

    /// Computes the rates of the stale CUs, and of those whose kernels' share of memory changes.
    pub(super) fn refresh(&mut self) {
        let mut list = std::mem::take(&mut self.stale);
        let mut scratch = std::mem::take(&mut self.scratch);
        for &cu in &list {
            self.retract(cu);
            self.wish(cu, &mut scratch);
        }
        if self.regrant() {
            for cu in 0..self.cus.len() {
                let affected = |cohort: &Cohort| {
                    self.runs[cohort.run].as_ref().is_some_and(|run| run.regranted) && cohort.demand > 0.0
                };
                if !self.cus[cu].stale && self.cus[cu].cohorts.iter().any(affected) {
                    self.retract(cu);
                    self.wish(cu, &mut scratch);
                    list.push(cu);
                }
            }
        }
        for &cu in &list {
            self.apply(cu, &mut scratch);
        }
        self.effort.rated += list.len() as u64;
        self.merge(&list);
        let mut total = Activity::default();
        for activity in &self.activity {
            total.issue += activity.issue;
            total.bytes += activity.bytes;
            total.awake += activity.awake;
        }
        self.total = total;
        list.clear();
        self.stale = list;
        self.scratch = scratch;
    }

    fn wish(&mut self, cu: usize, scratch: &mut Vec<(f64, f64)>) {
        let runs = &self.runs;
        let work = |slot: usize| runs[slot].as_ref().expect("a cohort's kernel is in flight").work;
        self.cus[cu].wish(&self.rates, work, scratch);
        let count = self.cus[cu].count() as f64;
        for index in 0..self.cus[cu].cohorts.len() {
            let cohort = self.cus[cu].cohorts[index];
            let run = self.runs[cohort.run].as_mut().expect("a cohort's kernel is in flight");
            run.demand += count * cohort.demand;
        }
    }

    /// Shares memory out anew; whether any kernel's share changed enough.
    fn regrant(&mut self) -> bool {
        let mut claims = Vec::new();
        let mut owners = Vec::new();
        for (slot, run) in self.runs.iter_mut().enumerate() {
            let Some(run) = run else { continue };
            run.regranted = false;
            if run.resident == 0 {
                run.demand = 0.0;
            } else if run.work.bytes > 0.0 && run.demand > 0.0 {
                claims.push(Claim { demand: run.demand, waves: run.resident as f64 * run.work.waves });
                owners.push(slot);
            }
        }
        let mut grants = Vec::new();
        memory::share(
            &claims,
            self.device.memory.bandwidth.value,
            self.device.memory.knee.value,
            &mut grants,
        );
        let mut changed = false;
        for (slot, grant) in owners.into_iter().zip(grants) {
            let run = self.runs[slot].as_mut().expect("just seen");
            if (grant - run.grant).abs() > self.precision.memory * run.grant {
                run.grant = grant;
                run.regranted = true;
                changed = true;
            }
        }
        changed
    }

    fn apply(&mut self, cu: usize, scratch: &mut Vec<(f64, f64)>) {
        let runs = &self.runs;
        let run = |slot: usize| runs[slot].as_ref().expect("a cohort's kernel is in flight");
        self.cus[cu].settle(&self.rates, |slot| run(slot).work, |slot| run(slot).grant, scratch);
        self.cus[cu].sort();
        let count = self.cus[cu].count();
        let awake = if self.cus[cu].cohorts.is_empty() { 0 } else { count as u32 };
        let mut activity = Activity { awake, ..Activity::default() };
        for index in 0..self.cus[cu].cohorts.len() {
            let cohort = self.cus[cu].cohorts[index];
            let run = self.runs[cohort.run].as_mut().expect("a cohort's kernel is in flight");
            let rate = count as f64 * f64::from(cohort.n) * cohort.rate;
            activity.issue += rate * run.work.issue_ns * run.work.waves;
            activity.bytes += rate * run.work.bytes;
            if cohort.stream
                && let Some(stream) = &mut run.stream
            {
                stream.rate += rate;
            }
        }
        self.activity[cu] = activity;
        self.next[cu] = self.cus[cu].next_end();
    }

    /// Takes the workgroups that end at this moment off `cu`.
    pub(super) fn end_workgroups(&mut self, cu: usize) {
        self.cus[cu].progress(self.now);
        let mut index = 0;
        while index < self.cus[cu].cohorts.len() {
            let cohort = self.cus[cu].cohorts[index];
            if cohort.stream || (1.0 - cohort.done) / cohort.rate > 2.0 * MOMENT {
                index += 1;
                continue;
            }
            let follows = self.follows_itself(cohort.run);
            self.remove_cohort(cu, index);
            if follows {
                self.follow(cu, &cohort);
            }
            self.finish_if_done(cohort.run);
        }
        // Nothing ended by rounding: look again when the time comes.
        self.next[cu] = self.cus[cu].next_end();
    }

    /// Takes a cohort off its CU; its workgroups are gone.
    pub(super) fn remove_cohort(&mut self, cu: usize, index: usize) -> Cohort {
        let cohort = self.cus[cu].cohorts.remove(index);
        self.retract_cohort(cu, &cohort);
        let count = self.cus[cu].count();
        let run = self.runs[cohort.run].as_mut().expect("a cohort's kernel is in flight");
        run.resident -= count * u64::from(cohort.n);
        let cost = run.cost;
        self.cus[cu].room.give(&cost, cohort.n);
        self.cus[cu].waves -= cost.waves * cohort.n;
        self.mark_stale(cu);
        self.freed.push(cu);
        self.dispatch_wanted = true;
        cohort
    }

    fn finish_if_done(&mut self, slot: usize) {
        let run = self.runs[slot].as_ref().expect("a cohort's kernel is in flight");
        if run.resident == 0 && run.pending == 0 {
            self.timers.set(self.now + run.completion_ns, Timer::End(slot));
        }
    }
}
