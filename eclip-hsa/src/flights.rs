//! Submitted work in flight: one slot a submission, with its completion signal and what it keeps alive.
//!
//! A slot goes `Free -> Pending -> Retiring -> Free` (while it is free, whoever took it from the free list fills it), and its *generation* moves when the work is complete, so a token of
//! earlier work is not taken for later work of the same slot (within 2^32 uses of it). A *pin* keeps a slot (and so its signal) from being used
//! again: barrier packets on other queues name the signal, and so do waiting threads. A *silent* submission has no signal: it is complete when a
//! later one is whose epoch proves it. Signals are made once per slot and reused, and so is the memory of the cargo.
//!
//! Any thread may call anything. Nobody waits here, but for the few instructions in which another thread looks at what a
//! submission waits for ([`Flights::inspect`]), or completes it ([`Flights::settle`]): every transition is one compare-exchange on the slot's state word, and the thread that wins it owns what follows.

use crate::depend::Clock;
use crate::free_list::FreeList;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, UnsafeCell};

/// A completion signal as the table needs it: a counter that the device decrements to zero.
pub(crate) trait Completion {
    /// Whether the counter is zero, with acquire order: the device's writes before completion are visible.
    fn is_done(&self) -> bool;
}

/// What a submission keeps alive until it is complete. It stays in its slot, so that its memory can be used again.
pub(crate) trait Cargo<S>: Default {
    /// Whether it waits for other work, at which others may look with [`Flights::inspect`].
    fn is_watched(&self) -> bool;
    /// The work is over: let go of everything. With the signal if it is complete, so that times can be read before the signal is used
    /// again; without if it is lost.
    fn release(&mut self, complete: Option<&S>);
}

/// Names one submission of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// Where it is in the queue.
    pub(crate) place: Place,
}

/// Where a submission is in its queue, in packet positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Its first packet: what comes later in the queue has a larger one.
    pub(crate) start: u64,
    /// Its last packet.
    pub(crate) end: u64,
    /// When it is complete, so is everything below this.
    pub(crate) proves: u64,
}

/// What became of an attempt to pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinned {
    Yes,
    /// The work is not pending any more: complete or lost.
    Over,
    /// As many pins as the state word can count.
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Done,
    /// The table was closed while the work was unfinished.
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Phase {
    Free = 0,
    Pending = 2,
    Retiring = 3,
    /// Complete, but pinned: the signal may not be used again yet. The generation has moved.
    Held = 4,
    Lost = 5,
}

/// The state word: generation 32..64, pins 8..32, phase 0..8.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    const PIN: u64 = 1 << 8;
    const MAX_PINS: u32 = (1 << 24) - 1;

    fn new(generation: u32, pins: u32, phase: Phase) -> Self {
        Self(u64::from(generation) << 32 | u64::from(pins) << 8 | phase as u64)
    }
    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
    fn pins(self) -> u32 {
        (self.0 >> 8) as u32 & 0x00ff_ffff
    }
    fn phase(self) -> Phase {
        match self.0 as u8 {
            0 => Phase::Free,
            2 => Phase::Pending,
            3 => Phase::Retiring,
            4 => Phase::Held,
            _ => Phase::Lost,
        }
    }
}

// What every submission touches comes first, so that it lies in few cache lines.
#[repr(C, align(64))]
struct Slot<S, C> {
    state: AtomicU64,
    /// [`Place`] of the work, and whether it has no signal. Relaxed is enough: the state word orders them.
    start: AtomicU64,
    end: AtomicU64,
    proves: AtomicU64,
    silent: AtomicBool,
    /// Whether others may look at the cargo. Relaxed, as above.
    watched: AtomicBool,
    /// Whether `clock` knows anything. Touched as that is.
    clocked: AtomicBool,
    /// What the work keeps alive. Touched by the thread that claimed the slot or moved it to `Retiring`; what others may look at is read
    /// while it is `Pending`, under the table's lock.
    cargo: UnsafeCell<C>,
    signal: S,
    /// What its queue knew when the work was submitted. Written by the claim's owner, read while pinned.
    clock: UnsafeCell<Clock>,
}

impl<S, C> Slot<S, C> {
    fn ticket(&self, slot: u32, generation: u32) -> Ticket {
        // Relaxed: ordered by the state word, which the caller has read.
        let [start, end, proves] =
            [&self.start, &self.end, &self.proves].map(|place| place.load(Ordering::Relaxed));
        Ticket { slot, generation, place: Place { start, end, proves } }
    }
}

/// The table. `S` is the signal, `C` what a submission keeps alive until it is complete.
pub(crate) struct Flights<S, C> {
    slots: Box<[Slot<S, C>]>,
    /// Whether each slot is in use, so that nobody goes through the slots themselves to find few. Set before the state word says so and
    /// cleared when the cargo is gone, before the state word says the contrary, by whoever has the slot; who was told of a submission finds it
    /// here.
    used: Box<[AtomicBool]>,
    free: FreeList,
    /// Slots below this have been used at least once.
    fresh: AtomicU32,
    /// Where the next sweep begins.
    hand: AtomicU32,
    /// Every packet below this position is complete.
    proved: AtomicU64,
    /// Held while looking at what a pending submission waits for.
    looking: Mutex<()>,
}

// SAFETY: `cargo` and `clock` are the only fields that are not Sync by themselves. Who may touch them when is decided by the state word's
// phases, the pins and `looking`, as their comments say; what the cargo holds is moved between threads: hence `Send`.
unsafe impl<S: Send + Sync, C: Send> Sync for Flights<S, C> {}

/// What became of a submission that was to be retired.
enum Freed {
    /// It was not pending.
    Not,
    /// The slot is still pinned.
    Later,
    /// The slot, for the caller to use or to give back.
    Slot,
}

impl<S: Completion + Default, C: Cargo<S>> Flights<S, C> {
    pub(crate) fn new(capacity: u32) -> Self {
        let slot = |_| Slot {
            state: AtomicU64::new(State::new(0, 0, Phase::Free).0),
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
            proves: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            clocked: AtomicBool::new(false),
            signal: S::default(),
            clock: UnsafeCell::new(Clock::default()),
            cargo: UnsafeCell::new(C::default()),
        };
        Self {
            slots: (0..capacity).map(slot).collect(),
            used: (0..capacity).map(|_| AtomicBool::new(false)).collect(),
            free: FreeList::new(capacity),
            fresh: AtomicU32::new(0),
            hand: AtomicU32::new(0),
            proved: AtomicU64::new(0),
            looking: Mutex::new(()),
        }
    }

    /// Takes a free slot for a submission that is being prepared. `None` if all are in use. Completes a little of what is finished, so
    /// that buffers come back even if nobody asks for their tokens.
    #[inline]
    pub(crate) fn claim(&self) -> Option<Claim<'_, S, C>> {
        let index = self.recycle().or_else(|| self.free.pop()).or_else(|| {
            let limit = self.slots.len() as u32;
            // Relaxed: the counter only hands out indices; nothing else is published by it.
            let next = self
                .fresh
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1));
            next.ok()
        })?;
        let slot = &self.slots[index as usize];
        // Acquire: pairs with the release in `retire` and `unpin`; the previous use is over. The word stays: who takes a free slot from the
        // list has it alone, and no token of this generation is out yet.
        let generation = State(slot.state.load(Ordering::Acquire)).generation();
        Some(Claim { table: self, slot: index, generation, launched: false })
    }

    /// Goes round the slots, a few at a time, and completes what is finished; takes one slot for itself. It stops at work that is not
    /// complete, for what comes later is not either, as a rule; but not for ever, so that work which takes long does not hide what is.
    #[inline]
    fn recycle(&self) -> Option<u32> {
        const STEPS: u32 = 8;
        const RETIRED: u32 = 3;
        const LOOKS: u32 = 8;
        // Relaxed, here and below, and not one operation: any choice of slots will do.
        let fresh = self.fresh.load(Ordering::Relaxed);
        let hand = self.hand.load(Ordering::Relaxed);
        let (mut index, looks) = (hand / LOOKS, hand % LOOKS);
        let mut next = None;
        let mut found = None;
        let mut retired = 0;
        for _ in 0..STEPS.min(fresh) {
            if index >= fresh {
                index = 0;
            }
            // Relaxed: a slot that is passed by tells nothing.
            if self.used[index as usize].load(Ordering::Relaxed)
                && let Some(ticket) = self.pending_in(index)
            {
                if !self.is_done(ticket) {
                    let looks = if retired == 0 { looks } else { 0 };
                    next = Some(index * LOOKS + looks + 1);
                    break;
                }
                match self.retire(ticket) {
                    Freed::Slot if found.is_none() => found = Some(index),
                    Freed::Slot => self.free.push(index),
                    Freed::Later | Freed::Not => {}
                }
                retired += 1;
                if retired == RETIRED {
                    index += 1;
                    break;
                }
            }
            index += 1;
        }
        self.hand.store(next.unwrap_or(index * LOOKS), Ordering::Relaxed);
        found
    }

    /// The signal of a slot.
    pub(crate) fn signal(&self, slot: u32) -> &S {
        &self.slots[slot as usize].signal
    }

    /// Whether the submission that is pending in its slot is complete.
    fn is_done(&self, ticket: Ticket) -> bool {
        let slot = &self.slots[ticket.slot as usize];
        // Relaxed: ordered by the state word, which the caller has read.
        if slot.silent.load(Ordering::Relaxed) {
            // Acquire: pairs with the release in `retire`; what proved it acquired the device's writes.
            ticket.place.end < self.proved.load(Ordering::Acquire)
        } else {
            slot.signal.is_done()
        }
    }

    /// Where a submission stands. Completing it here frees what it kept alive, on this thread; `Done` means that this has
    /// happened, here or elsewhere.
    pub(crate) fn poll(&self, ticket: Ticket) -> Status {
        let slot = &self.slots[ticket.slot as usize];
        // Acquire: pairs with the release of the thread that retired it, so its completion is visible here too.
        let state = State(slot.state.load(Ordering::Acquire));
        if state.generation() != ticket.generation {
            return Status::Done;
        }
        match state.phase() {
            Phase::Lost => Status::Lost,
            Phase::Pending if self.is_done(ticket) && self.retire_and_free(ticket) => Status::Done,
            // Retiring elsewhere: what it kept alive is not free yet, so it is not done yet.
            Phase::Free | Phase::Pending | Phase::Retiring | Phase::Held => Status::Pending,
        }
    }

    /// Keeps the slot's signal from being used again until [`Flights::unpin`].
    pub(crate) fn pin(&self, ticket: Ticket) -> Pinned {
        let slot = &self.slots[ticket.slot as usize];
        // AcqRel: acquire pairs with the launch, so the pinner sees the signal; release keeps the pin before whatever
        // the pinner does with it.
        let pinned = slot.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let state = State(word);
            let pending = state.generation() == ticket.generation && state.phase() == Phase::Pending;
            (pending && state.pins() < State::MAX_PINS).then_some(word + State::PIN)
        });
        match pinned.map_err(State) {
            Ok(_) => Pinned::Yes,
            Err(state) if state.generation() == ticket.generation && state.phase() == Phase::Pending => {
                Pinned::TooMany
            }
            Err(_) => Pinned::Over,
        }
    }

    /// What its queue knew when the submission was made.
    ///
    /// # Safety
    /// The slot is pinned as long as the result is used.
    pub(crate) unsafe fn clock(&self, slot: u32) -> &Clock {
        // SAFETY: the clock is written by a claim's owner only, and the caller's pin keeps the slot from being claimed.
        self.slots[slot as usize].clock.with(|clock| unsafe { &*clock })
    }

    /// Undoes one [`Flights::pin`].
    pub(crate) fn unpin(&self, slot_index: u32) {
        let slot = &self.slots[slot_index as usize];
        // AcqRel: release orders the pinner's use before the slot's next use, acquire takes over that duty here.
        let before = State(slot.state.fetch_sub(State::PIN, Ordering::AcqRel));
        debug_assert!(before.pins() > 0);
        if before.pins() == 1 && before.phase() == Phase::Held {
            let held = State::new(before.generation(), 0, Phase::Held);
            let free = State::new(before.generation(), 0, Phase::Free);
            // Release: pairs with the acquire in `claim`. It cannot fail: a held slot cannot be pinned again.
            if slot.state.compare_exchange(held.0, free.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                self.free.push(slot_index);
            }
        }
    }

    /// Lets `look` see the cargo of a submission if it is pending and waits for something. Meanwhile the submission is not completed; keep it short, and let go
    /// of nothing in it.
    pub(crate) fn inspect<R>(&self, ticket: Ticket, look: impl FnOnce(&C) -> R) -> Option<R> {
        let _looking = self.looking.lock().expect("no panic while it is held");
        let slot = &self.slots[ticket.slot as usize];
        // Acquire: pairs with the launch, so the cargo is there.
        let state = State(slot.state.load(Ordering::Acquire));
        let pending = state.generation() == ticket.generation && state.phase() == Phase::Pending;
        // Relaxed: ordered by the state word.
        let watched = pending && slot.watched.load(Ordering::Relaxed);
        // SAFETY: it was pending under the lock. Whoever retires it takes the lock before it touches a cargo that is watched.
        watched.then(|| slot.cargo.with(|cargo| look(unsafe { &*cargo })))
    }

    /// Completes everything that is finished; returns how many submissions.
    pub(crate) fn sweep_all(&self) -> u32 {
        let done = |index: &u32| {
            self.pending_in(*index).is_some_and(|ticket| self.is_done(ticket) && self.retire_and_free(ticket))
        };
        let found = self.in_use().filter(done).count() as u32;
        // Twice if something was found: it may have proved silent ones in earlier slots. Not more often, for others may go on submitting.
        if found == 0 { 0 } else { found + self.in_use().filter(done).count() as u32 }
    }

    /// Waits until what other threads are completing right now is complete, so that what it kept alive is free: a few instructions, unless
    /// such a thread was interrupted. At most until `end`.
    pub(crate) fn settle(&self, end: std::time::Instant) {
        for index in self.in_use() {
            let slot = &self.slots[index as usize];
            // Acquire: pairs with the retirement; the cargo is gone.
            let state = || State(slot.state.load(Ordering::Acquire));
            let generation = state().generation();
            let retiring = |now: State| now.generation() == generation && now.phase() == Phase::Retiring;
            while retiring(state()) && std::time::Instant::now() < end {
                std::thread::yield_now();
            }
        }
    }

    /// The slots that are in use.
    fn in_use(&self) -> impl Iterator<Item = u32> {
        // Relaxed: only how far to look.
        let fresh = self.fresh.load(Ordering::Relaxed);
        // Acquire: pairs with the release in `retire`: of a slot that is left out the cargo is gone.
        (0..fresh).filter(|&index| self.used[index as usize].load(Ordering::Acquire))
    }

    fn pending_in(&self, index: u32) -> Option<Ticket> {
        let slot = &self.slots[index as usize];
        // Acquire: pairs with the launch, so the place and the signal are there.
        let state = State(slot.state.load(Ordering::Acquire));
        (state.phase() == Phase::Pending).then(|| slot.ticket(index, state.generation()))
    }

    /// The submissions that are not complete, but for those that another thread is completing now.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Ticket> {
        self.in_use().filter_map(|index| self.pending_in(index))
    }

    /// Whether a pending submission has no signal. Of another one the answer means nothing.
    pub(crate) fn is_silent(&self, ticket: Ticket) -> bool {
        // Relaxed: ordered by the state word, by which the caller knows that it is pending.
        self.slots[ticket.slot as usize].silent.load(Ordering::Relaxed)
    }

    /// Submissions that are not complete, those included whose cargo is being freed now.
    pub(crate) fn unfinished(&self) -> u32 {
        // Acquire: pairs with the launch and the retirement, as in `poll`.
        let phase = |index: &u32| State(self.slots[*index as usize].state.load(Ordering::Acquire)).phase();
        self.in_use().filter(|index| matches!(phase(index), Phase::Pending | Phase::Retiring)).count() as u32
    }

    /// Marks unfinished work as lost and frees what it kept alive. Call only when the device can no longer touch any of it.
    pub(crate) fn close(&self) {
        self.sweep_all();
        for ticket in self.pending() {
            if self.begin_retiring(ticket).is_some() {
                let slot = &self.slots[ticket.slot as usize];
                self.empty(slot, false);
                // Release: readers see `Lost` after the cargo is gone. Pins may come and go meanwhile, hence the update.
                let _ = slot.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                    Some(State::new(ticket.generation, State(word).pins(), Phase::Lost).0)
                });
            }
        }
    }

    /// True in the one thread that ends the submission.
    fn begin_retiring(&self, ticket: Ticket) -> Option<State> {
        let slot = &self.slots[ticket.slot as usize];
        // Acquire: pairs with the launch, so the cargo is visible. Pins may come and go meanwhile, hence the update.
        let won = slot.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let state = State(word);
            let pending = state.generation() == ticket.generation && state.phase() == Phase::Pending;
            pending.then(|| State::new(state.generation(), state.pins(), Phase::Retiring).0)
        });
        won.ok().map(State)
    }

    /// Lets go of the cargo. For the thread that moved the slot to `Retiring`.
    fn empty(&self, slot: &Slot<S, C>, complete: bool) {
        // Relaxed: ordered by the state word.
        if slot.watched.load(Ordering::Relaxed) {
            // Whoever is looking is done when the lock is ours, and nobody else begins: the slot is not pending.
            drop(self.looking.lock().expect("no panic while it is held"));
        }
        // SAFETY: the slot is `Retiring`, so only this thread has the cargo.
        slot.cargo.with_mut(|cargo| unsafe { (*cargo).release(complete.then_some(&slot.signal)) });
    }

    /// Ends a submission that is complete.
    fn retire(&self, ticket: Ticket) -> Freed {
        let Some(was) = self.begin_retiring(ticket) else { return Freed::Not };
        let slot = &self.slots[ticket.slot as usize];
        // Relaxed: ordered by the state word. A silent submission proves nothing that is not proved.
        if !slot.silent.load(Ordering::Relaxed) && ticket.place.proves > self.proved.load(Ordering::Relaxed) {
            // Release: pairs with the acquire in `is_done`.
            self.proved.fetch_max(ticket.place.proves, Ordering::Release);
        }
        self.empty(slot, true);
        // Release: pairs with the acquire in `in_use`: whoever leaves the slot out may rely on the cargo being gone.
        self.used[ticket.slot as usize].store(false, Ordering::Release);
        let generation = ticket.generation.wrapping_add(1);
        if was.pins() == 0 {
            // Release: pairs with the acquire loads of whoever polls, pins or claims: the cargo is gone. A plain store: only pending
            // slots are pinned, so nobody changes the word.
            slot.state.store(State::new(generation, 0, Phase::Free).0, Ordering::Release);
            return Freed::Slot;
        }
        // Release: as above. Pins may go meanwhile, hence the update.
        let before = slot.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let pins = State(word).pins();
            let phase = if pins == 0 { Phase::Free } else { Phase::Held };
            Some(State::new(generation, pins, phase).0)
        });
        if before.is_ok_and(|word| State(word).pins() == 0) { Freed::Slot } else { Freed::Later }
    }

    /// Ends a submission that is complete; true if this thread did it.
    fn retire_and_free(&self, ticket: Ticket) -> bool {
        match self.retire(ticket) {
            Freed::Not => return false,
            Freed::Later => {}
            Freed::Slot => self.free.push(ticket.slot),
        }
        true
    }
}

/// A slot whose submission is being prepared. Dropping it gives the slot back.
pub(crate) struct Claim<'a, S: Completion + Default, C: Cargo<S>> {
    table: &'a Flights<S, C>,
    slot: u32,
    generation: u32,
    launched: bool,
}

impl<S: Completion + Default, C: Cargo<S>> Claim<'_, S, C> {
    /// The slot's signal: to be armed before any packet that names it is written.
    pub(crate) fn signal(&self) -> &S {
        self.table.signal(self.slot)
    }

    /// The signal, and what the submission will keep alive: empty at first.
    #[inline]
    pub(crate) fn parts(&mut self) -> (&S, &mut C) {
        let slot = &self.table.slots[self.slot as usize];
        let cargo = slot.cargo.with_mut(|cargo| cargo);
        // SAFETY: the slot is claimed, and only its claim touches the cargo then, through this unique borrow.
        (&slot.signal, unsafe { &mut *cargo })
    }

    /// What the submission will keep alive: empty at first.
    #[inline]
    pub(crate) fn cargo<R>(&mut self, fill: impl FnOnce(&mut C) -> R) -> R {
        let slot = &self.table.slots[self.slot as usize];
        // SAFETY: the slot is claimed, and only its claim touches the cargo then, through this unique borrow.
        slot.cargo.with_mut(|cargo| fill(unsafe { &mut *cargo }))
    }

    /// The packets are written, if not yet published: from now on the work is pending and keeps its cargo alive. `silent` work has no signal; `clock` is
    /// what its queue knew.
    #[inline]
    pub(crate) fn launch(self, place: Place, silent: bool, clock: &Clock) -> Ticket {
        self.launch_with(place, silent, clock, 0)
    }

    /// What [`Claim::launch`] will return.
    pub(crate) fn ticket(&self, place: Place) -> Ticket {
        Ticket { slot: self.slot, generation: self.generation, place }
    }

    /// As [`Claim::launch`], pinned once from the beginning.
    pub(crate) fn launch_pinned(self, place: Place, clock: &Clock) -> Ticket {
        self.launch_with(place, false, clock, 1)
    }

    #[inline]
    fn launch_with(mut self, place: Place, silent: bool, clock: &Clock, pins: u32) -> Ticket {
        let slot = &self.table.slots[self.slot as usize];
        // Relaxed: the slot's owner alone touches it; the state word orders owners.
        if !clock.is_empty() || slot.clocked.load(Ordering::Relaxed) {
            // SAFETY: the slot is claimed, so nobody has it pinned and nobody reads the clock.
            slot.clock.with_mut(|to| unsafe { *to = *clock });
            slot.clocked.store(!clock.is_empty(), Ordering::Relaxed);
        }
        // SAFETY: as in `cargo`.
        let watched = slot.cargo.with_mut(|cargo| unsafe { (*cargo).is_watched() });
        // Relaxed, all of them: published by the release below.
        slot.start.store(place.start, Ordering::Relaxed);
        slot.end.store(place.end, Ordering::Relaxed);
        slot.proves.store(place.proves, Ordering::Relaxed);
        slot.silent.store(silent, Ordering::Relaxed);
        self.table.used[self.slot as usize].store(true, Ordering::Relaxed);
        slot.watched.store(watched, Ordering::Relaxed);
        // Release: pairs with the acquire of whoever polls, pins or retires: cargo and place are there.
        slot.state.store(State::new(self.generation, pins, Phase::Pending).0, Ordering::Release);
        self.launched = true;
        self.ticket(place)
    }
}

impl<S: Completion + Default, C: Cargo<S>> Drop for Claim<'_, S, C> {
    fn drop(&mut self) {
        if !self.launched {
            self.cargo(|cargo| cargo.release(None));
            let slot = &self.table.slots[self.slot as usize];
            let next = self.generation.wrapping_add(1);
            // Release: pairs with the acquire in `claim`.
            slot.state.store(State::new(next, 0, Phase::Free).0, Ordering::Release);
            self.table.free.push(self.slot);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
