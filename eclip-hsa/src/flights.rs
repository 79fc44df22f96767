//! Submitted work in flight: one slot a submission, with its completion signal and what it keeps alive.
//!
//! A slot goes `Free -> Filling -> Pending -> Free`, and its *generation* moves when the work is complete, so a token of
//! earlier work is not taken for later work of the same slot (within 2^32 uses of it). A *pin* keeps a slot (and so its signal) from being used
//! again: barrier packets on other queues name the signal, and so do waiting threads. Signals are made once per slot and
//! reused; nothing is allocated per submission after the first lap.
//!
//! Any thread may call anything. Nobody waits here: every transition is one compare-exchange on the slot's state word, and the
//! thread that wins it owns what follows.

use std::sync::OnceLock;

use crossbeam_queue::ArrayQueue;

use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A completion signal as the table needs it: a counter that the device decrements to zero.
pub(crate) trait Completion {
    /// When the device started and ended.
    type Times;
    /// Sets the counter, before the device can see the packets that name it.
    fn arm(&self, count: i64);
    /// Whether the counter is zero, with acquire order: the device's writes before completion are visible.
    fn is_done(&self) -> bool;
    /// Start and end of the packet that decremented the counter last, if the device records them.
    fn times(&self) -> Self::Times;
}

/// What a submission keeps alive until it is complete.
pub(crate) trait Cargo<T> {
    /// The work is complete: take the times, which are read before the signal is used again, and let go of everything.
    fn complete(self, times: impl FnOnce() -> T);
}

/// Names one submission of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// Index of its first packet in the queue: what comes later in the queue has a larger one.
    pub(crate) position: u64,
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
    Filling = 1,
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
            1 => Phase::Filling,
            2 => Phase::Pending,
            3 => Phase::Retiring,
            4 => Phase::Held,
            _ => Phase::Lost,
        }
    }
}

struct Slot<S: Completion, C> {
    state: AtomicU64,
    signal: OnceLock<S>,
    /// [`Ticket::position`] of the work. Relaxed is enough: the state word orders it.
    position: AtomicU64,
    /// What the work keeps alive. Touched only by the thread that moved the slot to `Filling` or `Retiring`.
    cargo: UnsafeCell<Option<C>>,
}

impl<S: Completion, C> Slot<S, C> {
    /// For the thread that moved the slot to `Retiring`.
    fn take_cargo(&self) -> Option<C> {
        // SAFETY: that thread alone touches the cargo.
        self.cargo.with_mut(|place| unsafe { (*place).take() })
    }
}

/// The table. `S` is the signal, `C` what a submission keeps alive until it is complete.
pub(crate) struct Flights<S: Completion, C> {
    slots: Box<[Slot<S, C>]>,
    free: ArrayQueue<u32>,
    /// Slots below this have been used at least once.
    fresh: AtomicU32,
    /// Where the next sweep begins.
    hand: AtomicU32,
}

// SAFETY: `cargo` is the only field that is not Sync by itself. It is touched by one thread at a time, as the state word's
// phases say, and what it holds is moved between threads: hence `Send`.
unsafe impl<S: Completion + Send + Sync, C: Send> Sync for Flights<S, C> {}

impl<S: Completion, C: Cargo<S::Times>> Flights<S, C> {
    pub(crate) fn new(capacity: u32) -> Self {
        let slot = |_| Slot {
            state: AtomicU64::new(State::new(0, 0, Phase::Free).0),
            signal: OnceLock::new(),
            position: AtomicU64::new(0),
            cargo: UnsafeCell::new(None),
        };
        Self {
            slots: (0..capacity).map(slot).collect(),
            free: ArrayQueue::new(capacity as usize),
            fresh: AtomicU32::new(0),
            hand: AtomicU32::new(0),
        }
    }

    /// Takes a free slot for a submission that is being prepared; `make` creates its signal the first time. `None` if
    /// all are in use.
    pub(crate) fn claim<E>(&self, make: impl FnOnce() -> Result<S, E>) -> Result<Option<Claim<'_, S, C>>, E> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let limit = self.slots.len() as u32;
                // Relaxed: the counter only hands out indices; nothing else is published by it.
                let next = self
                    .fresh
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1));
                match next {
                    Ok(index) => index,
                    Err(_) => return Ok(None),
                }
            }
        };
        let slot = &self.slots[index as usize];
        // Acquire: pairs with the release in `release_slot`; the previous use is over.
        let generation = State(slot.state.load(Ordering::Acquire)).generation();
        // Release: a reader that sees `Filling` sees a consistent slot. Nobody else changes a free slot.
        slot.state.store(State::new(generation, 0, Phase::Filling).0, Ordering::Release);
        let claim = Claim { table: self, slot: index, generation, launched: false };
        if slot.signal.get().is_none() {
            let signal = make()?;
            // Only this thread owns the slot, so this cannot be set already.
            let _ = slot.signal.set(signal);
        }
        Ok(Some(claim))
    }

    /// The signal of a slot that has been claimed at least once.
    pub(crate) fn signal(&self, slot: u32) -> &S {
        self.slots[slot as usize].signal.get().expect("a claimed slot has a signal")
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
            Phase::Pending if self.signal(ticket.slot).is_done() && self.retire(ticket) => Status::Done,
            // Retiring elsewhere: what it kept alive is not free yet, so it is not done yet.
            Phase::Free | Phase::Filling | Phase::Pending | Phase::Retiring | Phase::Held => Status::Pending,
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
                self.push_free(slot_index);
            }
        }
    }

    /// Looks at `limit` slots, going round, and completes what is finished; returns how many submissions.
    pub(crate) fn sweep(&self, limit: u32) -> u32 {
        // Relaxed: only how far to look.
        let fresh = self.fresh.load(Ordering::Relaxed);
        if fresh == 0 {
            return 0;
        }
        let count = limit.min(fresh);
        // Relaxed: any fair choice of slots will do.
        let first = self.hand.fetch_add(count, Ordering::Relaxed);
        (0..count).map(|step| u32::from(self.retire_if_done(first.wrapping_add(step) % fresh))).sum()
    }

    /// Completes everything that is finished; returns how many submissions.
    pub(crate) fn sweep_all(&self) -> u32 {
        // Relaxed: only how far to look.
        let fresh = self.fresh.load(Ordering::Relaxed);
        (0..fresh).map(|slot| u32::from(self.retire_if_done(slot))).sum()
    }

    fn retire_if_done(&self, index: u32) -> bool {
        match self.pending_in(index) {
            Some(ticket) => self.signal(index).is_done() && self.retire(ticket),
            None => false,
        }
    }

    fn pending_in(&self, index: u32) -> Option<Ticket> {
        let slot = &self.slots[index as usize];
        // Acquire: pairs with the launch, so the position and the signal are there.
        let state = State(slot.state.load(Ordering::Acquire));
        let position = slot.position.load(Ordering::Relaxed);
        (state.phase() == Phase::Pending).then_some(Ticket {
            slot: index,
            generation: state.generation(),
            position,
        })
    }

    /// The submissions that are not complete, but for those that another thread is completing now.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Ticket> {
        // Relaxed: only how far to look.
        let fresh = self.fresh.load(Ordering::Relaxed);
        (0..fresh).filter_map(|index| self.pending_in(index))
    }

    /// Submissions that are not complete, those included whose cargo is being freed now.
    pub(crate) fn unfinished(&self) -> u32 {
        // Relaxed: only how far to look.
        let fresh = self.fresh.load(Ordering::Relaxed) as usize;
        // Acquire: pairs with the launch and the retirement, as in `poll`.
        let phase = |slot: &Slot<S, C>| State(slot.state.load(Ordering::Acquire)).phase();
        self.slots[..fresh]
            .iter()
            .filter(|slot| matches!(phase(slot), Phase::Pending | Phase::Retiring))
            .count() as u32
    }

    /// Marks unfinished work as lost and frees what it kept alive. Call only when the device can no longer touch any of it.
    pub(crate) fn close(&self) {
        self.sweep_all();
        for ticket in self.pending() {
            if self.begin_retiring(ticket) {
                let slot = &self.slots[ticket.slot as usize];
                drop(slot.take_cargo());
                // Release: readers see `Lost` after the cargo is gone. Pins may come and go meanwhile, hence the update.
                let _ = slot.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                    Some(State::new(ticket.generation, State(word).pins(), Phase::Lost).0)
                });
            }
        }
    }

    fn begin_retiring(&self, ticket: Ticket) -> bool {
        let slot = &self.slots[ticket.slot as usize];
        // Acquire: pairs with the launch, so the cargo is visible. Pins may come and go meanwhile, hence the update.
        let won = slot.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let state = State(word);
            let pending = state.generation() == ticket.generation && state.phase() == Phase::Pending;
            pending.then(|| State::new(state.generation(), state.pins(), Phase::Retiring).0)
        });
        won.is_ok()
    }

    /// Ends a submission whose signal is at zero; true if this thread did it.
    fn retire(&self, ticket: Ticket) -> bool {
        if !self.begin_retiring(ticket) {
            return false;
        }
        let slot = &self.slots[ticket.slot as usize];
        if let Some(cargo) = slot.take_cargo() {
            cargo.complete(|| self.signal(ticket.slot).times());
        }
        let generation = ticket.generation.wrapping_add(1);
        // Release: pairs with the acquire loads of whoever polls, pins or claims: the cargo is gone.
        let before = slot.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let pins = State(word).pins();
            let phase = if pins == 0 { Phase::Free } else { Phase::Held };
            Some(State::new(generation, pins, phase).0)
        });
        if before.is_ok_and(|word| State(word).pins() == 0) {
            self.push_free(ticket.slot);
        }
        true
    }

    fn push_free(&self, slot: u32) {
        // The queue has one place for each slot, and a slot is freed once for each claim.
        self.free.push(slot).expect("a slot is free once");
    }
}

/// A slot whose submission is being prepared. Dropping it gives the slot back.
pub(crate) struct Claim<'a, S: Completion, C: Cargo<S::Times>> {
    table: &'a Flights<S, C>,
    slot: u32,
    generation: u32,
    launched: bool,
}

impl<S: Completion, C: Cargo<S::Times>> Claim<'_, S, C> {
    /// The slot's signal, to be named in packets.
    pub(crate) fn signal(&self) -> &S {
        self.table.signal(self.slot)
    }

    /// Sets the signal to the number of packets that will decrement it. Before any of them is written.
    pub(crate) fn arm(&self, count: i64) {
        self.signal().arm(count);
    }

    /// The packets are in the ring, the first at `position`: from now on the work is pending and keeps `cargo` alive.
    pub(crate) fn launch(mut self, cargo: C, position: u64) -> Ticket {
        let slot = &self.table.slots[self.slot as usize];
        // SAFETY: the slot is `Filling`, and only its claim touches it then.
        slot.cargo.with_mut(|place| unsafe { *place = Some(cargo) });
        slot.position.store(position, Ordering::Relaxed);
        // Release: pairs with the acquire of whoever polls, pins or retires: cargo and position are in place.
        slot.state.store(State::new(self.generation, 0, Phase::Pending).0, Ordering::Release);
        self.launched = true;
        Ticket { slot: self.slot, generation: self.generation, position }
    }
}

impl<S: Completion, C: Cargo<S::Times>> Drop for Claim<'_, S, C> {
    fn drop(&mut self) {
        if !self.launched {
            let slot = &self.table.slots[self.slot as usize];
            let next = self.generation.wrapping_add(1);
            // Release: pairs with the acquire in `claim`.
            slot.state.store(State::new(next, 0, Phase::Free).0, Ordering::Release);
            self.table.push_free(self.slot);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;

    #[derive(Default)]
    struct Counter(AtomicI64);

    impl Completion for Counter {
        type Times = i64;
        fn arm(&self, count: i64) {
            self.0.store(count, Ordering::Release);
        }
        fn is_done(&self) -> bool {
            self.0.load(Ordering::Acquire) <= 0
        }
        fn times(&self) -> i64 {
            7
        }
    }

    /// Counts what is still kept alive.
    struct Kept(Arc<AtomicI64>);

    impl Cargo<i64> for Kept {
        fn complete(self, times: impl FnOnce() -> i64) {
            assert_eq!(times(), 7);
        }
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    type Table = Flights<Counter, Kept>;

    fn launch(table: &Table, kept: &Arc<AtomicI64>) -> Option<Ticket> {
        let claim = table.claim(|| Ok::<_, ()>(Counter::default())).unwrap()?;
        claim.arm(1);
        kept.fetch_add(1, Ordering::Relaxed);
        Some(claim.launch(Kept(kept.clone()), 7))
    }

    fn finish(table: &Table, ticket: Ticket) {
        table.signal(ticket.slot).0.fetch_sub(1, Ordering::Release);
    }

    #[test]
    fn cargo_lives_until_completion_and_the_slot_is_used_again() {
        let (table, kept) = (Table::new(1), Arc::default());
        let first = launch(&table, &kept).unwrap();
        assert_eq!((table.poll(first), table.unfinished()), (Status::Pending, 1));
        assert!(launch(&table, &kept).is_none(), "the only slot is in use");
        finish(&table, first);
        assert_eq!(kept.load(Ordering::Relaxed), 1);
        assert_eq!(table.poll(first), Status::Done);
        assert_eq!(kept.load(Ordering::Relaxed), 0);
        let second = launch(&table, &kept).unwrap();
        assert_eq!(second.slot, first.slot);
        assert_eq!((table.poll(first), table.poll(second)), (Status::Done, Status::Pending));
    }

    #[test]
    fn a_pinned_signal_is_not_used_again() {
        let (table, kept) = (Table::new(1), Arc::default());
        let first = launch(&table, &kept).unwrap();
        assert_eq!(table.pin(first), Pinned::Yes);
        finish(&table, first);
        assert_eq!(table.sweep_all(), 1);
        assert_eq!(table.poll(first), Status::Done);
        assert_eq!(kept.load(Ordering::Relaxed), 0, "a pin holds the signal, not the cargo");
        assert!(launch(&table, &kept).is_none());
        table.unpin(first.slot);
        assert_eq!(table.pin(first), Pinned::Over, "complete work has nothing to pin");
        assert!(launch(&table, &kept).is_some());
    }

    #[test]
    fn an_abandoned_claim_gives_its_slot_back() {
        let (table, kept) = (Table::new(1), Arc::default());
        drop(table.claim(|| Ok::<_, ()>(Counter::default())).unwrap());
        assert!(table.claim(|| Ok::<_, ()>(Counter::default())).unwrap().is_some());
        assert!(launch(&table, &kept).is_some());
    }

    #[test]
    fn a_signal_that_cannot_be_made_loses_no_slot() {
        let (table, kept) = (Table::new(1), Arc::default());
        assert!(table.claim(|| Err::<Counter, _>("out of events")).is_err());
        assert!(launch(&table, &kept).is_some());
    }

    #[test]
    fn closing_loses_the_unfinished_and_only_those() {
        let (table, kept) = (Table::new(4), Arc::default());
        let done = launch(&table, &kept).unwrap();
        let unfinished = launch(&table, &kept).unwrap();
        assert_eq!(table.pin(unfinished), Pinned::Yes);
        finish(&table, done);
        table.close();
        assert_eq!((table.poll(done), table.poll(unfinished)), (Status::Done, Status::Lost));
        assert_eq!(kept.load(Ordering::Relaxed), 0);
        table.unpin(unfinished.slot);
        assert_eq!(table.poll(unfinished), Status::Lost);
    }

    #[test]
    fn pins_do_not_overflow_into_the_generation() {
        let (table, kept) = (Table::new(1), Arc::default());
        let ticket = launch(&table, &kept).unwrap();
        let full = State::new(ticket.generation, State::MAX_PINS, Phase::Pending);
        table.slots[0].state.store(full.0, Ordering::Relaxed);
        assert_eq!(table.pin(ticket), Pinned::TooMany);
        table.unpin(0);
        assert_eq!(table.pin(ticket), Pinned::Yes);
    }

    #[test]
    fn done_means_that_the_cargo_is_free() {
        let (table, kept) = (Table::new(1), Arc::<AtomicI64>::default());
        let ticket = launch(&table, &kept).unwrap();
        finish(&table, ticket);
        assert!(table.begin_retiring(ticket), "as another thread does that is interrupted right then");
        assert_eq!((table.poll(ticket), table.unfinished()), (Status::Pending, 1));
    }

    #[test]
    fn threads_retire_each_submission_once() {
        let (table, kept) = (Table::new(8), Arc::<AtomicI64>::default());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut launched = 0;
                    while launched < 5_000 {
                        if let Some(ticket) = launch(&table, &kept) {
                            launched += 1;
                            if launched % 3 == 0 && table.pin(ticket) == Pinned::Yes {
                                finish(&table, ticket);
                                table.sweep(2);
                                // Another thread may be freeing its cargo; then it is done soon.
                                while table.poll(ticket) != Status::Done {
                                    std::hint::spin_loop();
                                }
                                table.unpin(ticket.slot);
                            } else {
                                finish(&table, ticket);
                            }
                        }
                        table.sweep(2);
                    }
                });
            }
        });
        table.sweep_all();
        assert_eq!((table.unfinished(), kept.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(table.free.len(), table.fresh.load(Ordering::Relaxed) as usize);
    }
}
