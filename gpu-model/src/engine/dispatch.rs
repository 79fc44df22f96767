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
use super::cu::{Cohort, Cu};
use super::run::{Run, Stream};
use crate::device::DispatchPolicy;
use crate::kernel::Cost;
use crate::mask::Mask;

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
        self.freed.clear();
        let mut blocked = vec![0u64; self.classes.len().div_ceil(64)];
        let waiting = self.waiting();
        for &slot in &waiting {
            let mask = self.run(slot).mask.clone();
            let free = mask.cus().iter().any(|&cu| !is_blocked(&blocked, cu.into()));
            let whole = mask.cus().iter().all(|&cu| !is_blocked(&blocked, cu.into()));
            if self.run(slot).stream.is_some() && (!whole || self.room(slot, &blocked) > 0) {
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
        self.end_uneven(&waiting);
        self.drop_placed();
    }

    /// Kernels in turn, a workgroup each; one whose next workgroup fits nowhere is passed by.
    pub(super) fn dispatch_in_turn(&mut self) {
        let waiting = self.waiting();
        let none = Blocked::new();
        let freed = std::mem::take(&mut self.freed);
        for &slot in &waiting {
            if self.run(slot).stream.is_some() && (self.gains(slot, &freed) || self.has_rival(slot, &waiting))
            {
                self.end_stream(slot);
            }
        }
        let open: Vec<usize> = waiting.iter().copied().filter(|&slot| self.gains(slot, &freed)).collect();
        if let [only] = open[..] {
            self.place(only, u64::MAX, &none);
        } else if !open.is_empty() {
            let mut chunk = u64::MAX;
            loop {
                // Several at once while there is plenty of room, one by one when it gets scarce.
                if chunk > 1 {
                    let rooms = open.iter().map(|&slot| self.room(slot, &none)).filter(|&room| room > 0);
                    chunk = (rooms.min().unwrap_or(0) / (2 * open.len() as u64)).max(1);
                }
                let mut placed = 0;
                for turn in 0..open.len() {
                    let slot = open[(self.rotation + turn) % open.len()];
                    placed += if chunk == 1 { self.place_one(slot) } else { self.place(slot, chunk, &none) };
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
        self.end_uneven(&waiting);
        self.freed = freed;
        self.freed.clear();
        self.drop_placed();
    }

    /// Whether there may be room for a kernel that there was not when it was looked at last: on the CUs that were freed since.
    fn gains(&self, slot: usize, freed: &[usize]) -> bool {
        let run = self.run(slot);
        let fits = |&cu: &usize| self.cus[cu].room.fits(&run.cost) > 0 && self.enables(&run.mask, cu);
        !run.looked || freed.iter().any(fits)
    }

    /// Whether another kernel that waits could use the room that one workgroup of this one leaves.
    fn has_rival(&self, slot: usize, waiting: &[usize]) -> bool {
        let run = self.run(slot);
        waiting.iter().any(|&other| {
            let rival = self.run(other);
            other != slot
                && rival.pending > 0
                && run.mask.overlaps(&rival.mask)
                && self.could_use(run, rival)
                && !self.is_fair(slot, other)
        })
    }

    /// Whether a kernel's workgroups end about as often as its rival's, or less: taking turns, the two have found their shares of
    /// the room, and each may follow itself.
    fn is_fair(&self, slot: usize, rival: usize) -> bool {
        self.precision.unfair > 0.0 && self.ends_a_ns(slot) <= self.precision.unfair * self.ends_a_ns(rival)
    }

    fn ends_a_ns(&self, slot: usize) -> f64 {
        let rate = |cu: &Cu| {
            let own = cu.cohorts.iter().filter(|cohort| cohort.run == slot);
            cu.count() as f64 * own.map(|cohort| f64::from(cohort.n) * cohort.last_rate).sum::<f64>()
        };
        self.cus.iter().map(rate).sum()
    }

    /// Workgroups that end at one moment end one after another. Whether each is followed by another of its kernel because no
    /// other kernel that waits could use the room of one.
    pub(super) fn follows_itself(&self, slot: usize) -> bool {
        let run = self.run(slot);
        if self.device.policy != DispatchPolicy::RoundRobin
            || !run.waits()
            || !run.mask.is_balanced()
            || !self.is_even(slot)
        {
            return false;
        }
        let waiting = self.waiting();
        waiting.len() > 1 && !self.has_rival(slot, &waiting)
    }

    /// Places as many workgroups as have just ended, on the same CUs, if so many wait.
    pub(super) fn follow(&mut self, cu: usize, ended: &Cohort) {
        let n = self.cus[cu].count() * u64::from(ended.n);
        let run = self.run_mut(ended.run);
        if run.groups.front().is_some_and(|front| front.n >= n) {
            let group = run.take(n);
            self.add(cu, ended.run, ended.n, group.done);
        }
    }

    fn could_use(&self, run: &Run, rival: &Run) -> bool {
        (0..self.cus.len()).any(|cu| {
            let mut room = self.cus[cu].room;
            room.give(&run.cost, 1);
            room.fits(&rival.cost) > 0 && self.enables(&run.mask, cu) && self.enables(&rival.mask, cu)
        })
    }

    /// Whether `mask` enables the CUs of an entry: all or none.
    pub(super) fn enables(&self, mask: &Mask, cu: usize) -> bool {
        self.cus[cu].members.first().is_some_and(|&member| mask.contains(member.into()))
    }

    /// Entries of the shader engine of `engine`'s CUs that it enables and no older kernel blocks.
    fn open(&self, engine: &[u16], mask: &Mask, blocked: &Blocked) -> Vec<usize> {
        let number = usize::from(engine[0]) / self.device.shape.cus_per_se.value as usize;
        let free = |cu: &usize| {
            let member = usize::from(self.cus[*cu].members[0]);
            mask.contains(member) && !is_blocked(blocked, member)
        };
        self.engines[number].iter().copied().filter(free).collect()
    }

    /// How many workgroups fit on these entries.
    fn room_on(&self, cus: &[usize], cost: &Cost) -> u64 {
        cus.iter().map(|&cu| self.cus[cu].count() * u64::from(self.cus[cu].room.fits(cost))).sum()
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
        let engines = run.mask.engines().iter();
        engines.map(|engine| self.room_on(&self.open(engine, &run.mask, blocked), &run.cost)).sum()
    }

    /// Places up to `most` workgroups; how many it placed.
    fn place(&mut self, slot: usize, most: u64, blocked: &Blocked) -> u64 {
        let run = self.run(slot);
        let (mask, cost) = (run.mask.clone(), run.cost);
        let engines = mask.engines().len();
        let turn = run.turn % engines;
        let room = |engine: &Vec<u16>| self.room_on(&self.open(engine, &mask, blocked), &cost);
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
                let open = self.open(&mask.engines()[(turn + j) % engines], &mask, blocked);
                self.place_in_engine(slot, &open, share, group.done);
            }
            turn = (turn + (group.n % engines as u64) as usize) % engines;
        }
        self.run_mut(slot).turn = turn;
        allowed
    }

    /// Places one workgroup, if the engine whose turn it is has room; how many it placed.
    fn place_one(&mut self, slot: usize) -> u64 {
        let run = self.run(slot);
        let engines = run.mask.engines().len();
        let turn = run.turn % engines;
        let first = usize::from(run.mask.engines()[turn][0]);
        let number = first / self.device.shape.cus_per_se.value as usize;
        let open = self.engines[number].iter().copied().filter(|&cu| {
            let group = &self.cus[cu];
            group.room.fits(&run.cost) > 0 && run.mask.contains(group.members[0].into())
        });
        let best = open.min_by_key(|&cu| self.cus[cu].waves);
        let (Some(cu), true) = (best, run.pending > 0) else {
            self.run_mut(slot).filled = true;
            return 0;
        };
        let run = self.run_mut(slot);
        run.turn = (turn + 1) % engines;
        let group = run.take(1);
        self.add_to(cu, 1, slot, 1, group.done);
        1
    }

    /// Places `n` workgroups, for which there is room, on an engine's CUs.
    fn place_in_engine(&mut self, slot: usize, open: &[usize], n: u64, done: f64) {
        let run = self.run(slot);
        let cost = run.cost;
        let fill = run.filled && run.kernel.ends_together;
        let mut left = n;
        if fill {
            for &cu in open {
                let (room, count) = (u64::from(self.cus[cu].room.fits(&cost)), self.cus[cu].count());
                let full = left.checked_div(room).unwrap_or(0).min(count);
                self.add_to(cu, full, slot, room, done);
                left -= full * room;
                // What does not fill a CU goes to one of those that are left, still this entry's.
                if left < room && full < count {
                    self.add_to(cu, 1, slot, left, done);
                    left = 0;
                }
                if left == 0 {
                    return;
                }
            }
            return;
        }
        // (entry, CUs, waves, room, workgroups for each CU)
        let mut levels: Vec<(usize, u64, u32, u32, u64)> = open
            .iter()
            .map(|&cu| (cu, self.cus[cu].count(), self.cus[cu].waves, self.cus[cu].room.fits(&cost), 0))
            .filter(|level| level.3 > 0)
            .collect();
        if let [only] = &mut levels[..] {
            only.4 = left / only.1;
            left %= only.1;
            only.3 = 1;
        }
        // One to each of the CUs with the fewest waves, until all are placed.
        let mut extra = None;
        while left > 0 {
            let fewest =
                levels.iter().filter(|level| level.3 > 0).map(|level| level.2).min().expect("there is room");
            for level in levels.iter_mut().filter(|level| level.2 == fewest && level.3 > 0) {
                if left < level.1 {
                    if left > 0 {
                        extra = Some((level.0, left));
                    }
                    left = 0;
                    break;
                }
                level.2 += cost.waves;
                level.3 -= 1;
                level.4 += 1;
                left -= level.1;
            }
        }
        for (cu, count, _, _, share) in levels {
            match extra {
                Some((other, some)) if other == cu => {
                    let part = self.split(cu, some as usize);
                    self.add_to(part, some, slot, share + 1, done);
                    self.add_to(cu, count - some, slot, share, done);
                }
                _ => self.add_to(cu, count, slot, share, done),
            }
        }
    }

    /// Adds `n` workgroups to each of `count` CUs of an entry, splitting it if it has more.
    fn add_to(&mut self, cu: usize, count: u64, slot: usize, n: u64, done: f64) {
        if n == 0 || count == 0 {
            return;
        }
        let cu = if count < self.cus[cu].count() { self.split(cu, count as usize) } else { cu };
        self.add(cu, slot, n as u32, done);
    }

    fn add(&mut self, cu: usize, slot: usize, n: u32, done: f64) {
        self.effort.placed += 1;
        self.retract(cu);
        let count = self.cus[cu].count();
        let run = self.runs[slot].as_mut().expect("a kernel that is placed is in flight");
        run.resident += count * u64::from(n);
        self.cus[cu].room.take(&run.cost, n);
        self.cus[cu].waves += run.cost.waves * n;
        let merge = self.precision.merge;
        let alike = |cohort: &&mut Cohort| {
            cohort.run == slot && !cohort.stream && (cohort.done - done).abs() <= merge
        };
        match self.cus[cu].cohorts.iter_mut().find(alike) {
            Some(cohort) => {
                let (old, new) = (f64::from(cohort.n), f64::from(n));
                cohort.done = (cohort.done * old + done * new) / (old + new);
                cohort.n += n;
            }
            None => self.cus[cu].cohorts.push(Cohort {
                run: slot,
                n,
                done,
                rate: 0.0,
                demand: 0.0,
                last_rate: 0.0,
                stream: false,
            }),
        }
        self.mark_stale(cu);
    }

    /// Lets a kernel's rounds follow one another without events, if it waits for room that only itself can use.
    fn start_stream(&mut self, slot: usize) {
        let run = self.run(slot);
        let fresh = run.groups.len() == 1 && run.groups[0].done == 0.0;
        if !self.precision.coalesce
            || !run.waits()
            || !fresh
            || run.stream.is_some()
            || !run.mask.is_balanced()
        {
            return;
        }
        if run.pending < run.resident || run.resident == 0 || !self.is_even(slot) {
            return;
        }
        let mask = run.mask.clone();
        let (mut consumed, mut residents) = (0.0, 0u64);
        for cu in (0..self.cus.len()).filter(|&cu| self.enables(&mask, cu)).collect::<Vec<_>>() {
            self.cus[cu].progress(self.now);
            let count = self.cus[cu].count();
            for cohort in self.cus[cu].cohorts.iter().filter(|cohort| cohort.run == slot) {
                consumed += count as f64 * f64::from(cohort.n) * cohort.done;
                residents += count * u64::from(cohort.n);
            }
        }
        // At least a whole round, or it is not worth it. Workgroups left on CUs that a former mask enabled end by themselves.
        let run = self.run(slot);
        if residents != run.resident || (run.pending as f64) < consumed + residents as f64 {
            return;
        }
        self.run_mut(slot).stream = Some(Stream { consumed, rate: 0.0, since: self.now });
        for cu in 0..self.cus.len() {
            if self.cus[cu].cohorts.iter().any(|cohort| cohort.run == slot) {
                self.retract(cu);
                self.cus[cu]
                    .cohorts
                    .iter_mut()
                    .filter(|cohort| cohort.run == slot)
                    .for_each(|c| c.stream = true);
                self.mark_stale(cu);
            }
        }
        // What `retract` counted while the cohorts did not stream yet is nothing; the rate is summed up by `refresh`.
        let now = self.now;
        self.run_mut(slot).stream = Some(Stream { consumed, rate: 0.0, since: now });
    }

    /// Whether a kernel's shader engines are in equal states, as far as this matters: then none keeps the others waiting for its turn.
    fn is_even(&self, slot: usize) -> bool {
        let mask = &self.run(slot).mask;
        if mask.engines().len() == 1 {
            return true;
        }
        let (mut least, mut most) = ([f64::INFINITY; 2], [0.0f64; 2]);
        for engine in mask.engines() {
            let number = usize::from(engine[0]) / self.device.shape.cus_per_se.value as usize;
            let (mut own, mut waves) = (0, 0);
            for &cu in self.engines[number].iter().filter(|&&cu| self.enables(mask, cu)) {
                let group = &self.cus[cu];
                waves += group.count() * u64::from(group.waves);
                let cohorts = group.cohorts.iter().filter(|cohort| cohort.run == slot);
                own += group.count() * cohorts.map(|cohort| u64::from(cohort.n)).sum::<u64>();
            }
            for (index, value) in [own as f64, waves as f64].into_iter().enumerate() {
                least[index] = least[index].min(value);
                most[index] = most[index].max(value);
            }
        }
        let tolerance = 1.0 + self.precision.merge.min(0.01);
        (0..2).all(|index| most[index] <= least[index] * tolerance)
    }

    /// Ends streams whose shader engines are no longer in equal states.
    fn end_uneven(&mut self, waiting: &[usize]) {
        for &slot in waiting {
            if self.run(slot).stream.is_some() && !self.is_even(slot) {
                self.end_stream(slot);
            }
        }
    }

    /// Ends a stream: each of its workgroups is where it would be had every round been computed.
    pub(super) fn end_stream(&mut self, slot: usize) {
        let mut placed = 0u64;
        for cu in 0..self.cus.len() {
            if !self.cus[cu].cohorts.iter().any(|cohort| cohort.run == slot && cohort.stream) {
                continue;
            }
            self.retract(cu);
            let count = self.cus[cu].count();
            for cohort in self.cus[cu].cohorts.iter_mut().filter(|cohort| cohort.run == slot && cohort.stream)
            {
                // A round that ends just now has ended, but for rounding.
                let rounds = (cohort.done + 1e-9).floor();
                placed += rounds as u64 * count * u64::from(cohort.n);
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
