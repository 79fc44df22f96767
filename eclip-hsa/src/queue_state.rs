//! What a queue shares with its tokens: the ring, the submissions in flight, what it knows, and why it is dead.
//!
//! Lives as long as the queue or any token of it. Any thread may call anything; no lock is held while waiting, and no two
//! queues' locks are ever held at once.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hsa_sys::*;

use crate::agent::Agent;
use crate::clock::SharedClock;
use crate::counts::{Counters, PacketCounts};
use crate::cu_mask::CuMask;
use crate::depend::{Clock, NOTHING, Stamp};
use crate::error::{Error, Failure, Result};
use crate::failures::{Failures, Unharmed};
use crate::fault::FaultCell;
use crate::flights::{Claim, Flights, Place, Status, Ticket};
use crate::hold::{Hold, Kernargs};
use crate::lane::Lane;
use crate::packet::{Barrier, FenceScope, Header, Packet, PacketKind};
use crate::packet_ring::PacketRing;
use crate::pin::{Awaitable, Seen};
use crate::program::Program;
use crate::ring::Refused;
use crate::runtime::Sweep;
use crate::signal::{Signals, Use};

/// What a queue is made of.
pub(crate) struct Parts {
    pub(crate) agent: Agent,
    pub(crate) label: String,
    /// Changed only by [`crate::Queue::remask`].
    pub(crate) mask: Mutex<Option<CuMask>>,
    pub(crate) queue: NonNull<hsa_queue_t>,
    /// ROCr's id of it.
    pub(crate) id: u64,
    pub(crate) kernargs: Arc<Kernargs>,
    pub(crate) profiling: bool,
    /// How long dropping the queue waits.
    pub(crate) drain: Duration,
    pub(crate) fault: Arc<FaultCell>,
    /// Whether the queue is ours, to be destroyed by us.
    pub(crate) owned: bool,
    /// No kernels: a barrier.
    pub(crate) empty: Arc<Program>,
}

/// What tokens share with the queue.
pub(crate) struct QueueState {
    parts: Parts,
    ring: PacketRing,
    flights: Flights<Signals, Hold>,
    counters: Counters,
    lane: Lane,
    clock: SharedClock,
    /// Up to which of the host's writes the queue's packets have acquired at system scope.
    acquired: AtomicU64,
    /// One past the last packet of the newest silent submission, as a position.
    silent_end: AtomicU64,
    /// Everything below this position is proved by a submission with a signal. Behind `silent_end` if silent work needs a marker.
    marked: AtomicU64,
    failure: OnceLock<Arc<Failure>>,
    /// Of the runtime.
    failures: Arc<Failures>,
    unharmed: Unharmed,
    closed: AtomicBool,
    /// Whether the HSA queue is there. Held while somebody else than its owner submits, and taken before it is destroyed.
    open: Mutex<bool>,
}

// SAFETY: the HSA queue in `parts` is only passed to ROCr's thread-safe functions, and only by the owning Queue or before it is dropped; every
// other field is Send and Sync by itself.
unsafe impl Send for QueueState {}
// SAFETY: as for Send.
unsafe impl Sync for QueueState {}

/// A submission that is being prepared.
pub(crate) type SlotClaim<'a> = Claim<'a, Signals, Hold>;

impl QueueState {
    pub(crate) fn new(parts: Parts, ring: PacketRing) -> Self {
        // A slot for each packet of the ring: most submissions in flight are in it.
        let slots = ring.size();
        let lane = parts.agent.runtime().lanes().take();
        Self {
            flights: Flights::new(slots),
            counters: Counters::default(),
            ring,
            lane,
            clock: SharedClock::default(),
            acquired: AtomicU64::new(0),
            silent_end: AtomicU64::new(0),
            marked: AtomicU64::new(lane.base),
            failure: OnceLock::new(),
            failures: parts.agent.runtime().failures().clone(),
            unharmed: Unharmed::default(),
            closed: AtomicBool::new(false),
            open: Mutex::new(true),
            parts,
        }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    pub(crate) fn ring(&self) -> &PacketRing {
        &self.ring
    }

    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    pub(crate) fn acquired(&self) -> &AtomicU64 {
        &self.acquired
    }

    /// Packets that the ring holds.
    pub(crate) fn size(&self) -> u32 {
        self.ring.size()
    }

    /// Packets that were submitted.
    pub(crate) fn packet_counts(&self) -> PacketCounts {
        const TRIES: u32 = 100;
        let PacketRing::Own(ring) = &self.ring else { return self.counters.read() };
        let mut handed_out = ring.handed_out();
        let mut tries = 0;
        loop {
            let mut counts = self.counters.read();
            let now = ring.handed_out();
            tries += 1;
            // Both of the same moment, but for what is being submitted just then; however, nobody is held up by those who submit.
            if now == handed_out || tries == TRIES {
                // Where we alone write, what is not a barrier is a kernel: nobody needs to count it.
                counts.kernels = now.saturating_sub(counts.barriers);
                return counts;
            }
            handed_out = now;
        }
    }

    pub(crate) fn flights(&self) -> &Flights<Signals, Hold> {
        &self.flights
    }

    pub(crate) fn label(&self) -> &str {
        &self.parts.label
    }

    /// Where a submission is, for [`crate::depend`].
    #[inline]
    pub(crate) fn stamp(&self, place: Place) -> Stamp {
        Stamp { queue: self.lane.queue, lane: self.lane.index, end: place.end, proves: place.proves }
    }

    #[cold]
    pub(crate) fn full(&self, what: &'static str) -> Error {
        Error::WouldBlock { queue: self.parts.label.clone(), what }
    }

    /// Why the queue takes nothing more, if so: its own error, its GPU's, or that it waits for work that was lost.
    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.unharmed.look(&self.failures, || self.failure_at(u64::MAX, &mut Seen::default()))
    }

    /// How often anything has failed.
    #[inline]
    pub(crate) fn failures(&self) -> u64 {
        self.failures.count()
    }

    /// A submission that waits for other queues was just launched. `before` is [`QueueState::failures`] before it looked whether what it waits
    /// for is lost.
    #[inline]
    pub(crate) fn note_waiting(&self, before: u64) {
        self.unharmed.note_waiting(&self.failures, before);
    }

    /// Why what begins at `start` in the queue will never be complete, if so. Work in front of a barrier that waits for ever is
    /// not affected by it. It looks once at every submission that waits.
    fn failure_at(&self, start: u64, seen: &mut Seen) -> Option<Arc<Failure>> {
        if self.unharmed.is_sure(&self.failures) {
            return None;
        }
        if let Some(failure) = self.own_failure() {
            return Some(failure);
        }
        let first = seen.ask(std::ptr::from_ref(self).cast(), start)?;
        let mut waiting: Vec<Ticket> = self.flights.pending().collect();
        waiting.retain(|ticket| (first..=start).contains(&ticket.place.start));
        // Newest first: its answer holds for the older ones, so each queue is asked once, however long the chain is.
        waiting.sort_by_key(|ticket| std::cmp::Reverse(ticket.place.start));
        let cause = waiting.into_iter().find_map(|ticket| {
            // Copied, so that no two queues' locks are ever held at once.
            let on = self.flights.inspect(ticket, Hold::awaited)?;
            on.iter().map(|work| work.has_happened(seen)).find_map(Result::err)
        })?;
        Some(Arc::new(Failure::Dependency { queue: self.parts.label.clone(), cause }))
    }

    /// Why nobody will ever hear that a pending submission is complete, if so.
    fn failure_of(&self, ticket: Ticket, seen: &mut Seen) -> Option<Arc<Failure>> {
        // Before the table is looked through.
        if self.unharmed.is_sure(&self.failures) {
            return None;
        }
        self.failure_at(self.told_at(ticket), seen)
    }

    /// Position of what tells that a pending submission is complete: of itself, or, if it is silent, of the first one that proves it. The end of
    /// the queue if that is not submitted yet: on a queue that takes nothing more it never will be.
    fn told_at(&self, ticket: Ticket) -> u64 {
        if !self.flights.is_silent(ticket) {
            return ticket.place.start;
        }
        let proves =
            |other: &Ticket| !self.flights.is_silent(*other) && other.place.proves > ticket.place.end;
        self.flights.pending().filter(proves).map(|other| other.place.start).min().unwrap_or(u64::MAX)
    }

    /// The queue's own error or its GPU's. Sticky.
    fn own_failure(&self) -> Option<Arc<Failure>> {
        if let Some(failure) = self.failure.get() {
            return Some(failure.clone());
        }
        let found = match self.parts.fault.status() {
            Some(status) => {
                let text = self.parts.agent.runtime().status_text(status);
                Arc::new(Failure::Queue { queue: self.parts.label.clone(), status, text })
            }
            None => self.parts.agent.failure()?,
        };
        Some(self.failure.get_or_init(|| found).clone())
    }

    /// Ends the queue: what is unfinished is lost, and nothing more is taken.
    pub(crate) fn destroyed(&self) -> Arc<Failure> {
        let failure = || Arc::new(Failure::Destroyed { queue: self.parts.label.clone() });
        let failure = self.failure.get_or_init(failure).clone();
        self.parts.agent.runtime().failures().note();
        failure
    }

    /// Takes a slot for a submission.
    #[inline]
    pub(crate) fn claim(&self) -> Result<SlotClaim<'_>> {
        if let Some(claim) = self.flights.claim() {
            return Ok(claim);
        }
        if self.flights.sweep_all() > 0
            && let Some(claim) = self.flights.claim()
        {
            return Ok(claim);
        }
        // Complete work on other queues may still hold pins on ours.
        self.parts.agent.runtime().sweep_queues();
        self.flights.claim().ok_or_else(|| self.full("submission slot"))
    }

    /// Takes consecutive packet slots.
    #[inline]
    pub(crate) fn reserve(&self, count: u64) -> Result<u64> {
        self.ring.reserve(count).map_err(|refused| match refused {
            Refused::Full => self.full("packet slot"),
            Refused::TooLarge => {
                Error::TooLarge { what: "packets", asked: count, limit: u64::from(self.ring.size()) }
            }
        })
    }

    /// Counts a submission.
    #[inline]
    pub(crate) fn count(&self, count: &PacketCounts) {
        let kernels = if matches!(self.ring, PacketRing::Own(_)) { 0 } else { count.kernels };
        self.counters.add(&PacketCounts { kernels, ..*count });
    }

    /// Notes a silent submission, or one with a signal, that was just submitted.
    #[inline]
    pub(crate) fn note_marked(&self, place: Place, silent: bool) {
        // Relaxed: whether silent work still needs a marker is asked again and again; no data hangs on it.
        if silent {
            self.silent_end.fetch_max(place.end + 1, Ordering::Relaxed);
        } else if self.marked.load(Ordering::Relaxed) < place.proves {
            // Not one operation: if a smaller value wins, there is a marker too many.
            self.marked.store(place.proves, Ordering::Relaxed);
        }
    }

    /// Whether `more` silent packets are too many without one that tells when they are complete.
    #[inline]
    pub(crate) fn marker_is_due(&self, more: u64) -> bool {
        // Relaxed: as above.
        let unmarked =
            self.silent_end.load(Ordering::Relaxed).saturating_sub(self.marked.load(Ordering::Relaxed));
        unmarked + more > u64::from(self.size()) / 4
    }

    /// Submits a packet that tells when all earlier silent work is complete, if nothing else will tell.
    fn mark(&self) {
        // Relaxed: as in `note_marked`.
        if self.silent_end.load(Ordering::Relaxed) > self.marked.load(Ordering::Relaxed) {
            // Not if somebody holds it: he submits right now, or takes the queue away.
            // If there is no room, whoever called will come again.
            if let Ok(open) = self.open.try_lock()
                && *open
            {
                let _ = self.barrier(FenceScope::Agent, Use::Polled);
            }
        }
    }

    /// Calls `submit` if the queue is not closed, and keeps it open meanwhile: for those who are not its owner.
    fn while_open<R>(&self, submit: impl FnOnce() -> Result<R>) -> Result<R> {
        let open = self.open.lock().expect("no panic while it is held");
        if *open { submit() } else { Err(self.destroyed().into()) }
    }

    /// Submits a barrier packet behind everything that is in the queue, with a release of this scope.
    fn barrier(&self, release: FenceScope, signal: Use) -> Result<Ticket> {
        // Not `self.claim`: that looks at all queues, this one included, and a lock may be held here.
        let claim = self.flights.claim().or_else(|| {
            self.flights.sweep_all();
            self.flights.claim()
        });
        let claim = claim.ok_or_else(|| self.full("submission slot"))?;
        let signal = claim.signal().prepare(&self.parts.agent, signal)?;
        let index = self.reserve(1)?;
        signal.arm(1);
        let kind = PacketKind::BarrierAnd;
        let header = Header { kind, barrier: true, acquire: release, release };
        let fields = Barrier { completion_signal: signal.handle(), ..Default::default() };
        let packet = Packet::barrier(header, &fields);
        let slots = self.ring.slots(index);
        slots.body(0, &packet);
        slots.first(0, packet.dwords()[0]);
        let position = self.lane.base + index;
        self.clock.raise_barrier(position + 1);
        let place = Place { start: position, end: position, proves: position };
        self.count(&PacketCounts { barriers: 1, barrier_bits: 1, ..Default::default() });
        let ticket = claim.launch(place, false, &NOTHING);
        self.ring.publish(index, 1);
        self.note_marked(place, false);
        Ok(ticket)
    }

    /// Completes what is finished.
    pub(crate) fn sweep_all(&self) -> u32 {
        self.mark();
        self.flights.sweep_all()
    }

    pub(crate) fn drain(&self, timeout: Duration) -> Result<()> {
        let begin = Instant::now();
        let mut pause = Duration::from_micros(20);
        loop {
            self.sweep_all();
            if self.flights.unfinished() == 0 {
                // What was lost when it was closed is not complete.
                return match self.failure.get() {
                    Some(failure) if self.is_closed() => Err(failure.clone().into()),
                    _ => Ok(()),
                };
            }
            // Work in front of a barrier that waits for ever still finishes: give up only when nothing else is left.
            if self.failure().is_some() {
                let first = self.flights.pending().min_by_key(|&ticket| self.told_at(ticket));
                if let Some(failure) = first.and_then(|ticket| self.failure_of(ticket, &mut Seen::default()))
                {
                    return Err(failure.into());
                }
            }
            if begin.elapsed() >= timeout {
                return Err(Error::Timeout {
                    what: format!("draining {}", self.parts.label),
                    after: timeout,
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
    }

    /// Whether [`QueueState::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        // Acquire: pairs with the release in `close`.
        self.closed.load(Ordering::Acquire)
    }

    /// Takes the queue from the hardware. Called once, by its owner. An adopted queue is left alone.
    pub(crate) fn close(self: &Arc<Self>) {
        let runtime = self.parts.agent.runtime();
        *self.open.lock().expect("no panic while it is held") = false;
        // After a memory fault the driver has evicted the queue, so nothing of it runs any more. ROCr's destructor can then
        // wait for ever for a handler that has ended (`AqlQueue::ExceptionHandler`), so the queue is left to the process's end.
        if self.parts.owned && self.parts.agent.failure().is_none() {
            // SAFETY: the queue is ours, this is its only destruction, and its owner is gone, so nobody submits any more.
            unsafe { (runtime.hsa().hsa_queue_destroy)(self.parts.queue.as_ptr()) };
        } else if self.parts.owned {
            // Somebody else in the process may keep ROCr initialised beyond our runtime, and with it this queue's error callback.
            std::mem::forget(self.parts.fault.clone());
        }
        runtime.queue_closed(self.parts.agent.handle());
        // Release: pairs with the acquire in `is_open_on`.
        self.closed.store(true, Ordering::Release);
        self.flights.sweep_all();
        if !self.parts.owned && self.flights.unfinished() > 0 && self.parts.agent.failure().is_none() {
            // The GPU may still use what the work holds, and only its owner could stop the queue: it is never freed.
            self.destroyed();
            std::mem::forget(self.clone());
            return;
        }
        if self.flights.unfinished() > 0 && self.failure().is_none() {
            // Before the slots are marked as lost, so that a token which sees that finds the reason.
            self.destroyed();
        } else if let Some(failure) = self.failure() {
            // A dependency's failure is worked out anew each time, from what is about to be forgotten: keep it.
            let _ = self.failure.get_or_init(|| failure);
        }
        self.flights.close();
    }
}

impl Drop for QueueState {
    fn drop(&mut self) {
        self.parts.agent.runtime().lanes().give_back(self.lane);
    }
}

impl Awaitable for QueueState {
    fn status(&self, ticket: Ticket, seen: &mut Seen) -> std::result::Result<Status, Arc<Failure>> {
        match self.flights.poll(ticket) {
            Status::Done => return Ok(Status::Done),
            Status::Lost => return Err(self.own_failure().unwrap_or_else(|| self.destroyed())),
            Status::Pending => {}
        }
        let failure = self.failure_of(ticket, seen);
        if failure.is_some() && self.flights.is_silent(ticket) {
            // Something that is complete by now may prove it.
            self.flights.sweep_all();
        }
        match failure {
            // It may have completed between the two looks.
            Some(_) if self.flights.poll(ticket) == Status::Done => Ok(Status::Done),
            Some(failure) => Err(failure),
            None => Ok(Status::Pending),
        }
    }

    unsafe fn clock(&self, slot: u32) -> &Clock {
        // SAFETY: the caller's promise.
        unsafe { self.flights.clock(slot) }
    }

    fn unpin(&self, slot: u32) {
        self.flights.unpin(slot);
    }
}

impl Sweep for QueueState {
    fn sweep(&self) {
        // Relaxed: a closed queue is complete or lost.
        if !self.closed.load(Ordering::Relaxed) {
            self.sweep_all();
        }
    }

    fn settle(&self, end: Instant) {
        self.flights.settle(end);
    }

    fn is_open_on(&self, agent: hsa_agent_t) -> bool {
        // Acquire: pairs with the release in `close`.
        self.parts.agent.handle().handle == agent.handle && !self.closed.load(Ordering::Acquire)
    }

    fn is_idle(&self) -> bool {
        self.flights.unfinished() == 0
    }

    fn flush(&self, patience: Duration) -> Result<()> {
        let ticket = self.while_open(|| self.barrier(FenceScope::System, Use::Interrupt))?;
        let begin = Instant::now();
        loop {
            match self.status(ticket, &mut Seen::default()) {
                Ok(Status::Done) => return Ok(()),
                Ok(_) if begin.elapsed() < patience => std::thread::yield_now(),
                Ok(_) => {
                    let what = format!("writing back the GPU's caches through {}", self.parts.label);
                    return Err(Error::Timeout { what, after: patience });
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }
}
