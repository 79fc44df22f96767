//! Which barriers a submission needs: pure, from what the queue knows and what the submission depends on.
//!
//! Packets of one queue may complete in any order, but they are launched in order, and a packet with the barrier bit is launched
//! only when every earlier one is complete. So when a packet is complete, everything in front of the newest barrier bit at or before
//! it is complete, too: its *epoch* proves all older ones. A barrier-AND is launched in order as well, and nothing behind it is launched
//! before it is complete: whatever one waits for has happened for everything behind it. All that is left out here rests on these two
//! facts (HSA System Architecture 1.2, 2.9.1 and 2.9.8).
//!
//! Each queue has a *lane*, a small number, and keeps a [`Clock`]: what is known to be complete on every lane before anything that is
//! submitted now can start. A submission keeps a copy of its queue's clock; when it is complete, so is everything in it.

/// Queues that can be told apart in a [`Clock`]. Queues beyond that work, but nothing is left out on their account.
pub const LANES: usize = if cfg!(loom) { 2 } else { 12 };
/// The lane of a queue that has none.
pub const NO_LANE: u8 = u8::MAX;

/// Where a submission is: positions count a lane's packets and never repeat, not even when another queue gets the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Number of its queue, unique in the runtime.
    pub queue: u64,
    /// Lane of its queue, or [`NO_LANE`].
    pub lane: u8,
    /// Position of its last packet.
    pub end: u64,
    /// When it is complete, so is every packet below this position: that of the newest barrier bit at or before `end`.
    pub proves: u64,
}

/// What is known to be complete on one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Every packet below this position.
    pub below: u64,
    /// The submission that ends right before this position; 0 for none.
    pub next: u64,
}

impl Known {
    fn covers(self, end: u64) -> bool {
        end < self.below || end + 1 == self.next
    }
}

/// A clock that knows nothing.
pub static NOTHING: Clock = Clock { used: 0, known: [Known { below: 0, next: 0 }; LANES] };

/// What is known to be complete, lane by lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    used: u32,
    known: [Known; LANES],
}

const _: () = assert!(LANES <= 32);

impl Clock {
    /// Whether it knows nothing.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Whether the submission is known to be complete.
    pub fn covers(&self, stamp: &Stamp) -> bool {
        if self.used == 0 {
            return false;
        }
        self.known.get(usize::from(stamp.lane)).is_some_and(|known| known.covers(stamp.end))
    }

    /// Adds what is known of a lane.
    #[inline]
    pub fn raise(&mut self, lane: u8, known: Known) {
        if let Some(mine) = self.known.get_mut(usize::from(lane)) {
            // What was never raised is not read: it was cleared with wide stores just now, for which a narrow load would have to wait.
            *mine = if self.used >> lane & 1 == 0 {
                known
            } else {
                Known { below: mine.below.max(known.below), next: mine.next.max(known.next) }
            };
            self.used |= 1 << lane;
        }
    }

    /// Adds what follows from the completion of a submission itself.
    pub fn complete(&mut self, stamp: &Stamp) {
        self.raise(stamp.lane, Known { below: stamp.proves, next: stamp.end + 1 });
    }

    /// Adds all that another clock knows.
    #[inline]
    pub fn join(&mut self, other: &Clock) {
        other.lanes().for_each(|(lane, known)| self.raise(lane, known));
    }

    /// The lanes that something is known of.
    pub fn lanes(&self) -> impl Iterator<Item = (u8, Known)> {
        let mut left = self.used;
        std::iter::from_fn(move || {
            let lane = (left != 0).then(|| left.trailing_zeros() as u8)?;
            left &= left - 1;
            Some((lane, self.known[usize::from(lane)]))
        })
    }
}

/// One thing that a submission depends on.
#[derive(Clone, Copy, Debug)]
pub struct Dep {
    /// Where it is.
    pub stamp: Stamp,
    /// Whether it may be unfinished.
    pub pending: bool,
    /// Whether its data comes from another agent (or from someone unknown).
    pub elsewhere: bool,
}

/// Something that carries a [`Dep`].
pub trait Dependency {
    /// The dependency.
    fn dep(&self) -> &Dep;
    /// Its queue's clock when it was submitted. Not asked for if it is not pending.
    fn clock(&self) -> &Clock;
}

/// A dependency with its clock.
#[derive(Clone, Copy, Debug)]
pub struct Clocked {
    /// The dependency.
    pub dep: Dep,
    /// Its queue's clock when it was submitted.
    pub clock: Clock,
}

impl Dependency for Clocked {
    fn dep(&self) -> &Dep {
        &self.dep
    }
    fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// What the submitting queue knows.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The queue's number.
    pub queue: u64,
    /// Everything below this position of the queue is complete before anything that is submitted now starts: position of its newest barrier
    /// bit, or one more if a barrier packet has it.
    pub barrier: u64,
    /// What it has waited for.
    pub clock: Clock,
}

/// A submission's packets, as far as others depend on them. Offsets count packets from its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The last packet whose completion belongs to it.
    pub last: u64,
    /// The newest barrier bit at or before that.
    pub last_barrier: Option<u64>,
    /// The newest barrier bit of all its packets.
    pub newest_barrier: Option<u64>,
    /// The last packet of all is a barrier: nothing behind it is launched before it is complete.
    pub ends_in_barrier: bool,
}

/// What a submission makes true. Positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// See [`Stamp::end`].
    pub end: u64,
    /// See [`Stamp::proves`].
    pub proves: u64,
    /// For [`View::barrier`] of what is submitted later.
    pub barrier: Option<u64>,
    /// What is known of its own lane by what is submitted later, beside that: it is complete, if it is a barrier without the bit.
    pub known: Option<Known>,
}

/// What a submission makes true whose first packet is at position `first`. `barrier` is [`View::barrier`] from before it reserved its slots.
#[inline]
pub fn enter(barrier: u64, first: u64, extent: &Extent) -> Entry {
    let end = first + extent.last;
    let proves = extent.last_barrier.map_or(barrier, |offset| first + offset);
    let bit = extent.newest_barrier.map(|offset| first + offset);
    Entry {
        end,
        proves,
        // Only barrier packets come behind the last kernel, and they have the bit.
        barrier: bit.map(|bit| bit + u64::from(extent.ends_in_barrier)),
        known: (extent.ends_in_barrier && bit.is_none()).then_some(Known { below: proves, next: end + 1 }),
    }
}

impl View {
    /// Adds to the clock what is complete when everything named in a submission's barrier-ANDs is.
    pub fn learn<D: Dependency>(&mut self, named: &[D]) {
        for by in named {
            self.clock.join(by.clock());
            self.clock.complete(&by.dep().stamp);
        }
    }
}

/// Dependencies that cost nothing, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elided {
    /// Complete already.
    pub complete: u64,
    /// In the same queue, with a barrier bit since.
    pub epoch: u64,
    /// Waited for by this queue before, directly or through something else.
    pub waited: u64,
    /// Proved by another dependency of the same submission.
    pub newest: u64,
}

/// What a submission needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The first packet must wait for what is in the queue already.
    pub barrier_bit: bool,
    /// Data of another agent is read: acquire at system scope. It stays even where the barrier is not needed.
    pub elsewhere: bool,
    /// What was left out.
    pub elided: Elided,
}

/// Decides what a submission to `queue` needs, and leaves in `deps` only what a barrier-AND must name.
///
/// Never too little. No more than the least, but for three cases:
/// - A clock remembers, for each lane, the newest epoch and one submission, the newest. Somebody who waits for two submissions of one
///   queue that no barrier bit separates so forgets the older one, and it is named again if it is asked for again.
/// - Above 32 dependencies those that another one proves are looked for by epochs only.
/// - Nothing is remembered of queues beyond [`LANES`], and a producer may just miss what another one of the same queue is writing down.
pub fn decide<D: Dependency>(queue: &View, deps: &mut Vec<D>) -> Decision {
    let mut decision = Decision::default();
    let elided = &mut decision.elided;
    let mut elsewhere = false;
    let mut own_queue = false;
    deps.retain(|dep| {
        let dep = dep.dep();
        elsewhere |= dep.elsewhere;
        let own = dep.stamp.queue == queue.queue;
        let rule = if !dep.pending {
            &mut elided.complete
        } else if own && dep.stamp.end < queue.barrier {
            &mut elided.epoch
        } else if queue.clock.covers(&dep.stamp) {
            &mut elided.waited
        } else {
            own_queue |= own;
            return true;
        };
        *rule += 1;
        false
    });
    decision.elsewhere = elsewhere;
    if deps.len() > 1 {
        elided.newest += drop_proved(deps);
    }
    if own_queue {
        deps.retain(|dep| {
            let own = dep.dep().stamp.queue == queue.queue;
            decision.barrier_bit |= own;
            !own
        });
    }
    decision
}

/// Up to so many dependencies are compared pair by pair.
const EXACT: usize = 32;

/// Removes what another dependency proves, and what is there twice. Returns how many.
fn drop_proved<D: Dependency>(deps: &mut Vec<D>) -> u64 {
    let before = deps.len();
    if before <= EXACT {
        // Downwards, and each against all that are left: proof is a strict order, so the last of a chain stays.
        for index in (0..before).rev() {
            let dep = deps[index].dep();
            let proved = deps.iter().enumerate().any(|(other, by)| {
                other != index
                    && (proves(by, &dep.stamp) || (other < index && same(&by.dep().stamp, &dep.stamp)))
            });
            if proved {
                deps.remove(index);
            }
        }
    } else {
        let mut all = Clock::default();
        for by in deps.iter() {
            all.join(by.clock());
            all.raise(by.dep().stamp.lane, Known { below: by.dep().stamp.proves, next: 0 });
        }
        // Without single submissions: one of them could be the dependency's own. `below` never reaches its own end.
        all.known.iter_mut().for_each(|known| known.next = 0);
        deps.retain(|dep| !all.covers(&dep.dep().stamp));
        deps.sort_unstable_by_key(|dep| (dep.dep().stamp.queue, dep.dep().stamp.end));
        deps.dedup_by(|a, b| same(&a.dep().stamp, &b.dep().stamp));
    }
    (before - deps.len()) as u64
}

fn same(a: &Stamp, b: &Stamp) -> bool {
    a.queue == b.queue && a.end == b.end
}

/// Whether `stamp` is complete whenever `by` is.
fn proves(by: &impl Dependency, stamp: &Stamp) -> bool {
    let own = &by.dep().stamp;
    (own.queue == stamp.queue && stamp.end < own.proves) || by.clock().covers(stamp)
}

#[cfg(all(test, not(loom)))]
mod tests;
