//! The dispatcher: which kernel's workgroup goes to which CU next.
//!
//! Workgroups go to the mask's shader engines in strict turn: if the engine whose turn it is has no room, the kernel waits
//! although others have (Otterness and Anderson, RTNS 2021, found this on AMD GPUs). Inside an engine they go to the CU with
//! the fewest waves. A workgroup keeps its place for its whole life.
//!
//! **Streams.** When one kernel alone can use the room that its own workgroups leave, each is followed by another of the
//! same kernel on the same CU. Those rounds need no event: the cohort's progress runs past 1 until the waiting workgroups are
//! used up or another kernel could use the room.

use super::Gpu;
use super::cu::Cohort;
use super::run::{Run, Stream};

/// CUs that an older kernel has a claim on, one bit each.
type Blocked = Vec<u64>;

fn is_blocked(blocked: &Blocked, cu: usize) -> bool {
    blocked.get(cu / 64).is_some_and(|word| word >> (cu % 64) & 1 == 1)
}

impl Gpu {
    fn waiting(&self) -> Vec<usize> {
        let waits = |slot: &usize| self.runs[*slot].as_ref().is_some_and(Run::waits);
        self.offered.iter().copied().filter(waits).collect()
    }

    /// Kernels in the order in which they came; a CU that one may use is closed to later ones until all its workgroups
    /// are placed.
    pub(super) fn dispatch_oldest(&mut self) {
        let mut blocked = vec![0u64; self.cus.len().div_ceil(64)];
        for slot in self.waiting() {
            let mask = self.run(slot).mask.clone();
            let free = mask.cus().iter().any(|&cu| !is_blocked(&blocked, cu.into()));
            let whole = mask.cus().iter().all(|&cu| !is_blocked(&blocked, cu.into()));
            if self.run(slot).stream.is_some() && (!whole || self.has_room(slot, &blocked)) {
                self.end_stream(slot);
            }
            if free && self.run(slot).stream.is_none() {
                self.place(slot, u64::MAX, &blocked);
                if whole {
                    self.start_stream(slot);
                }
            }
            if self.run(slot).pending > 0 {
                mask.cus().iter().for_each(|&cu| blocked[usize::from(cu) / 64] |= 1 << (cu % 64));
            }
        }
        self.drop_placed();
    }

    /// Kernels in turn, a workgroup each; one whose next workgroup fits nowhere is passed by.
    pub(super) fn dispatch_in_turn(&mut self) {
        let waiting = self.waiting();
        let none = Blocked::new();
        let freed = std::mem::take(&mut self.freed);
        for &slot in &waiting {
            if self.run(slot).stream.is_some()
                && (self.gains(slot, &freed) || self.has_rival(slot, &waiting))
            {
                self.end_stream(slot);
            }
        }
        let open: Vec<usize> = waiting.iter().copied().filter(|&slot| self.gains(slot, &freed)).collect();
        if let [only] = open[..] {
            self.place(only, u64::MAX, &none);
        } else if !open.is_empty() {
            loop {
                // Several at once while there is plenty of room, one by one when it gets scarce.
                let rooms = open.iter().map(|&slot| self.room(slot, &none)).filter(|&room| room > 0);
                let chunk = (rooms.min().unwrap_or(0) / (2 * open.len() as u64)).max(1);
                let mut placed = 0;
                for turn in 0..open.len() {
                    let slot = open[(self.rotation + turn) % open.len()];
                    placed += self.place(slot, chunk, &none);
                }
                if placed == 0 {
                    break;
                }
                self.rotation = self.rotation.wrapping_add(1);
            }
        }
        for &slot in &waiting {
            self.run_mut(slot).looked = true;
            if self.run(slot).stream.is_none() && !self.has_rival(slot, &waiting) {
                self.start_stream(slot);
            }
        }
        self.freed = freed;
        self.freed.clear();
        self.drop_placed();
    }

    /// Whether there may be room for a kernel that there was not when it was looked at last: on the CUs that were freed since.
    fn gains(&self, slot: usize, freed: &[usize]) -> bool {
        let run = self.run(slot);
        let fits = |&cu: &usize| self.cus[cu].room.fits(&run.cost) > 0 && run.mask.contains(cu);
        !run.looked || freed.iter().any(fits)
    }

    /// Whether another kernel that waits could use the room that one workgroup of this one leaves.
    fn has_rival(&self, slot: usize, waiting: &[usize]) -> bool {
        let run = self.run(slot);
        waiting.iter().any(|&other| {
            let rival = self.run(other);
            other != slot && rival.pending > 0 && run.mask.overlaps(&rival.mask) && self.could_use(run, rival)
        })
    }

    fn could_use(&self, run: &Run, rival: &Run) -> bool {
        run.mask.cus().iter().map(|&cu| usize::from(cu)).any(|cu| {
            let mut room = self.cus[cu].room;
            room.give(&run.cost, 1);
            room.fits(&rival.cost) > 0 && rival.mask.contains(cu)
        })
    }

    /// Kernels all of whose workgroups are placed make way on their pipes.
    fn drop_placed(&mut self) {
        let placed: Vec<usize> =
            self.offered.iter().copied().filter(|&slot| self.run(slot).pending == 0).collect();
        if placed.is_empty() {
            return;
        }
        self.offered.retain(|slot| !placed.contains(slot));
        for slot in placed {
            self.turn = self.run(slot).turn;
            self.release_pipe_of(slot);
        }
    }

    fn room(&self, slot: usize, blocked: &Blocked) -> u64 {
        let run = self.run(slot);
        let open = run.mask.cus().iter().map(|&cu| usize::from(cu)).filter(|&cu| !is_blocked(blocked, cu));
        open.map(|cu| u64::from(self.cus[cu].room.fits(&run.cost))).sum()
    }

    fn has_room(&self, slot: usize, blocked: &Blocked) -> bool {
        let run = self.run(slot);
        let cus = run.mask.cus().iter().map(|&cu| usize::from(cu));
        cus.filter(|&cu| !is_blocked(blocked, cu)).any(|cu| self.cus[cu].room.fits(&run.cost) > 0)
    }

    /// Places up to `most` workgroups; how many it placed.
    fn place(&mut self, slot: usize, most: u64, blocked: &Blocked) -> u64 {
        let run = self.run(slot);
        let (mask, cost) = (run.mask.clone(), run.cost);
        let engines = mask.engines().len();
        let turn = run.turn % engines;
        let room = |engine: &Vec<u16>| -> u64 {
            let open = engine.iter().map(|&cu| usize::from(cu)).filter(|&cu| !is_blocked(blocked, cu));
            open.map(|cu| u64::from(self.cus[cu].room.fits(&cost))).sum()
        };
        let rooms: Vec<u64> = mask.engines().iter().map(room).collect();
        // The engine `j` turns from now can take its share until its room is used up; the first that cannot ends it.
        let until =
            |j: usize| rooms[(turn + j) % engines].saturating_mul(engines as u64).saturating_add(j as u64);
        let limit = (0..engines).map(until).min().unwrap_or(0);
        let allowed = run.pending.min(most).min(limit);
        if limit < run.pending.min(most) {
            self.run_mut(slot).filled = true;
        }
        let mut left = allowed;
        let mut turn = turn;
        while left > 0 {
            let group = self.run_mut(slot).take(left);
            left -= group.n;
            for j in 0..engines.min(group.n as usize) {
                let share = (group.n - j as u64).div_ceil(engines as u64);
                self.place_in_engine(slot, &mask.engines()[(turn + j) % engines], share, group.done, blocked);
            }
            turn = (turn + (group.n % engines as u64) as usize) % engines;
        }
        self.run_mut(slot).turn = turn;
        allowed
    }

    /// Places `n` workgroups, for which there is room, on an engine's CUs.
    fn place_in_engine(&mut self, slot: usize, engine: &[u16], n: u64, done: f64, blocked: &Blocked) {
        let run = self.run(slot);
        let cost = run.cost;
        let fill = run.filled && run.kernel.ends_together;
        // (waves, CU, room)
        let mut open: Vec<(u32, usize, u32)> = engine
            .iter()
            .map(|&cu| usize::from(cu))
            .filter(|&cu| !is_blocked(blocked, cu))
            .map(|cu| (self.cus[cu].waves, cu, self.cus[cu].room.fits(&cost)))
            .filter(|&(_, _, room)| room > 0)
            .collect();
        let mut left = n as u32;
        if fill {
            for (_, cu, room) in open {
                let share = room.min(left);
                self.add(cu, slot, share, done);
                left -= share;
                if left == 0 {
                    return;
                }
            }
            return;
        }
        let alike = |a: &(u32, usize, u32), b: &(u32, usize, u32)| a.0 == b.0 && a.2 == b.2;
        if open.windows(2).all(|pair| alike(&pair[0], &pair[1])) {
            let (each, extra) = (left / open.len() as u32, left as usize % open.len());
            for (index, (_, cu, _)) in open.into_iter().enumerate() {
                self.add(cu, slot, each + u32::from(index < extra), done);
            }
            return;
        }
        // One to each of the CUs with the fewest waves, until all are placed.
        let mut shares = vec![0u32; open.len()];
        while left > 0 {
            let fewest = open.iter().filter(|cu| cu.2 > 0).map(|cu| cu.0).min().expect("there is room");
            for (index, cu) in open.iter_mut().enumerate() {
                if cu.0 == fewest && cu.2 > 0 && left > 0 {
                    cu.0 += cost.waves;
                    cu.2 -= 1;
                    shares[index] += 1;
                    left -= 1;
                }
            }
        }
        for (&(_, cu, _), share) in open.iter().zip(shares) {
            self.add(cu, slot, share, done);
        }
    }

    fn add(&mut self, cu: usize, slot: usize, n: u32, done: f64) {
        if n == 0 {
            return;
        }
        self.effort.placed += 1;
        self.retract(cu);
        let run = self.runs[slot].as_mut().expect("a kernel that is placed is in flight");
        run.resident += u64::from(n);
        self.cus[cu].room.take(&run.cost, n);
        self.cus[cu].waves += run.cost.waves * n;
        let alike = |cohort: &&mut Cohort| {
            cohort.run == slot && !cohort.stream && (cohort.done - done).abs() < 1e-9
        };
        match self.cus[cu].cohorts.iter_mut().find(alike) {
            Some(cohort) => cohort.n += n,
            None => {
                self.cus[cu].cohorts.push(Cohort { run: slot, n, done, rate: 0.0, demand: 0.0, stream: false })
            }
        }
        self.mark_stale(cu);
    }

    /// Lets a kernel's rounds follow one another without events, if it waits for room that only itself can use.
    fn start_stream(&mut self, slot: usize) {
        let run = self.run(slot);
        let fresh = run.groups.len() == 1 && run.groups[0].done == 0.0;
        if !self.precision.coalesce || !run.waits() || !fresh || run.stream.is_some() || !run.mask.is_balanced()
        {
            return;
        }
        if run.pending < run.resident || run.resident == 0 {
            return;
        }
        let mask = run.mask.clone();
        let (mut consumed, mut residents) = (0.0, 0u64);
        for &cu in mask.cus() {
            self.cus[usize::from(cu)].progress(self.now);
            for cohort in self.cus[usize::from(cu)].cohorts.iter().filter(|cohort| cohort.run == slot) {
                consumed += f64::from(cohort.n) * cohort.done;
                residents += u64::from(cohort.n);
            }
        }
        // At least a whole round, or it is not worth it. Workgroups left on CUs that a former mask enabled end by themselves.
        let run = self.run(slot);
        if residents != run.resident || (run.pending as f64) < consumed + residents as f64 {
            return;
        }
        self.run_mut(slot).stream = Some(Stream { consumed, rate: 0.0, since: self.now });
        for &cu in mask.cus() {
            let cu = usize::from(cu);
            if self.cus[cu].cohorts.iter().any(|cohort| cohort.run == slot) {
                self.retract(cu);
                self.cus[cu].cohorts.iter_mut().filter(|cohort| cohort.run == slot).for_each(|c| c.stream = true);
                self.mark_stale(cu);
            }
        }
        // What `retract` counted while the cohorts did not stream yet is nothing; the rate is summed up by `refresh`.
        let now = self.now;
        self.run_mut(slot).stream = Some(Stream { consumed, rate: 0.0, since: now });
    }

    /// Ends a stream: each of its workgroups is where it would be had every round been computed.
    pub(super) fn end_stream(&mut self, slot: usize) {
        let mask = self.run(slot).mask.clone();
        let mut placed = 0u64;
        for &cu in mask.cus() {
            let cu = usize::from(cu);
            if !self.cus[cu].cohorts.iter().any(|cohort| cohort.run == slot && cohort.stream) {
                continue;
            }
            self.retract(cu);
            for cohort in self.cus[cu].cohorts.iter_mut().filter(|cohort| cohort.run == slot && cohort.stream) {
                // A round that ends just now has ended, but for rounding.
                let rounds = (cohort.done + 1e-9).floor();
                placed += rounds as u64 * u64::from(cohort.n);
                cohort.done = (cohort.done - rounds).max(0.0);
                cohort.stream = false;
            }
            self.mark_stale(cu);
        }
        let run = self.run_mut(slot);
        run.stream = None;
        let taken = run.take(placed);
        debug_assert_eq!(taken.n, placed, "a stream places what waits and no more");
    }
}
