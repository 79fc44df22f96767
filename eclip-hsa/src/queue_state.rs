//! What a queue shares with its tokens: the ring, the submissions in flight, and why it is dead.
//!
//! Lives as long as the queue or any token of it. Any thread may call anything; no lock is held while waiting, and no two
//! queues' locks are ever held at once.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hsa_sys::*;

use crate::agent::Agent;
use crate::counts::{Counters, PacketCounts};
use crate::cu_mask::CuMask;
use crate::error::{Error, Failure, Result};
use crate::fault::FaultCell;
use crate::flights::{Flights, Status, Ticket};
use crate::hold::{Hold, Kernargs};
use crate::memory::BufferRef;
use crate::module::Kernel;
use crate::packet::Packet;
use crate::pin::{Awaitable, Awaited, Pin, Seen};
use crate::port::HsaPort;
use crate::ring::{Refused, Ring};
use crate::runtime::Sweep;
use crate::signal::{Signal, TimeCell};

/// What a queue is made of.
pub(crate) struct Parts {
    pub(crate) agent: Agent,
    pub(crate) label: String,
    pub(crate) mask: Option<CuMask>,
    pub(crate) queue: NonNull<hsa_queue_t>,
    pub(crate) kernargs: Arc<Kernargs>,
    pub(crate) profiling: bool,
    /// How long dropping the queue waits.
    pub(crate) drain: Duration,
    pub(crate) fault: Arc<FaultCell>,
}

/// What tokens share with the queue.
pub(crate) struct QueueState {
    parts: Parts,
    ring: Ring<HsaPort>,
    flights: Flights<Signal, Hold>,
    counters: Counters,
    failure: OnceLock<Arc<Failure>>,
    /// What submissions in flight wait for: position of the submission, and the work.
    waiting: Mutex<Vec<Waiting>>,
    /// Entries of `waiting`, so that the common case of none needs no lock.
    waiting_len: AtomicUsize,
    closed: AtomicBool,
}

// SAFETY: the HSA queue in `parts` is only passed to ROCr's thread-safe functions, and only by the owning Queue or before it is dropped; every
// other field is Send and Sync by itself.
unsafe impl Send for QueueState {}
// SAFETY: as for Send.
unsafe impl Sync for QueueState {}

/// What is submitted, as the queue needs it.
pub(crate) trait Work {
    /// Arguments of all kernels.
    fn kernargs(&self) -> &[u8];
    /// Buffers that the kernels use.
    fn buffers(&self) -> &[BufferRef];
    /// The kernels.
    fn kernels(&self) -> &[Kernel];
    /// For each barrier, the dependencies that are not complete.
    fn pins(&self) -> Result<Vec<Vec<Pin>>>;
    /// The packets, and by how much they decrement `signal`.
    fn packets(&self, signal: u64, kernargs: u64, pins: &[Vec<Pin>], agent: &Agent) -> (Vec<Packet>, i64);
}

/// A submission that waits for others.
#[derive(Clone)]
struct Waiting {
    position: u64,
    on: Arc<[Awaited]>,
}

impl QueueState {
    /// # Safety
    /// `parts.queue` must be a fresh multi-producer queue of the agent's runtime that nobody else writes to or destroys.
    pub(crate) unsafe fn new(parts: Parts) -> Self {
        let hsa = parts.agent.runtime().hsa();
        // SAFETY: the queue is alive. Nothing was ever written to it, so both indices stand here.
        let start = unsafe { (hsa.hsa_queue_load_write_index_relaxed)(parts.queue.as_ptr()) };
        // SAFETY: the caller's promise; `close` destroys the queue, after which nothing uses the port.
        let port = unsafe { HsaPort::new(hsa.clone(), parts.queue) };
        let ring = Ring::new(port, start);
        Self {
            flights: Flights::new(ring.size()),
            ring,
            counters: Counters::default(),
            failure: OnceLock::new(),
            waiting: Mutex::new(Vec::new()),
            waiting_len: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            parts,
        }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Packets that the ring holds.
    pub(crate) fn size(&self) -> u32 {
        self.ring.size()
    }

    /// Packets that were published.
    pub(crate) fn packet_counts(&self) -> PacketCounts {
        self.counters.read()
    }

    pub(crate) fn flights(&self) -> &Flights<Signal, Hold> {
        &self.flights
    }

    pub(crate) fn label(&self) -> &str {
        &self.parts.label
    }

    /// Most packets and kernarg bytes of one submission.
    pub(crate) fn limits(&self) -> (u64, u64) {
        (u64::from(self.ring.size()), self.parts.kernargs.ring.largest())
    }

    /// Why the queue takes nothing more, if so: its own error, its GPU's, or that it waits for work that was lost.
    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.failure_at(u64::MAX, &mut Seen::default())
    }

    /// Why what stands at `position` in the queue will never be complete, if so. Work in front of a barrier that waits for ever is
    /// not affected by it. Costs nothing until something has failed; then it looks once at every submission that waits.
    fn failure_at(&self, position: u64, seen: &mut Seen) -> Option<Arc<Failure>> {
        if let Some(failure) = self.own_failure() {
            return Some(failure);
        }
        // Acquire: pairs with the release in `waits_for`; whoever got the token of a waiting submission sees its entry.
        if !self.parts.agent.runtime().failures().any() || self.waiting_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let first = seen.ask(std::ptr::from_ref(self).cast(), position)?;
        // Copied, so that no two queues' locks are ever held at once.
        let waiting: Vec<Waiting> = {
            let waiting = self.waiting.lock().expect("no panic while it is held");
            waiting.iter().filter(|w| (first..=position).contains(&w.position)).cloned().collect()
        };
        // Newest first: its answer holds for the older ones, so each queue is asked once, however long the chain is.
        let on = waiting.iter().rev().flat_map(|waiting| waiting.on.iter());
        let cause = on.map(|work| work.has_happened(seen)).find_map(Result::err)?;
        Some(Arc::new(Failure::Dependency { queue: self.parts.label.clone(), cause }))
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

    fn destroyed(&self) -> Arc<Failure> {
        let failure = || Arc::new(Failure::Destroyed { queue: self.parts.label.clone() });
        let failure = self.failure.get_or_init(failure).clone();
        self.parts.agent.runtime().failures().note();
        failure
    }

    /// Remembers what a submission waits for.
    fn waits_for(&self, position: u64, on: Arc<[Awaited]>) {
        let len = {
            let mut waiting = self.waiting.lock().expect("no panic while it is held");
            waiting.push(Waiting { position, on });
            // Release: pairs with the acquire in `failure_at`.
            self.waiting_len.store(waiting.len(), Ordering::Release);
            waiting.len()
        };
        // Whenever the list has doubled, so that it stays in proportion to what really waits.
        if len >= 64 && len.is_power_of_two() {
            self.prune_waiting();
        }
    }

    /// Forgets what has been waited for.
    fn prune_waiting(&self) {
        // Acquire: as in `failure_at`.
        if self.waiting_len.load(Ordering::Acquire) == 0 {
            return;
        }
        let waiting: Vec<Waiting> = self.waiting.lock().expect("no panic while it is held").clone();
        // Asked without the lock: it can complete work and free what that kept alive.
        let over = |waiting: &&Waiting| waiting.on.iter().all(Awaited::is_over);
        let mut over: Vec<u64> = waiting.iter().filter(over).map(|waiting| waiting.position).collect();
        over.sort_unstable();
        let mut waiting = self.waiting.lock().expect("no panic while it is held");
        waiting.retain(|waiting| over.binary_search(&waiting.position).is_err());
        // Release: pairs with the acquire in `failure_at`.
        self.waiting_len.store(waiting.len(), Ordering::Release);
    }

    /// Completes what is finished.
    pub(crate) fn sweep_all(&self) -> u32 {
        let retired = self.flights.sweep_all();
        self.prune_waiting();
        retired
    }

    /// Writes the packets, if there is room for everything. Fails without effect otherwise.
    pub(crate) fn try_submit(&self, work: &impl Work) -> Result<(Ticket, Option<TimeCell>)> {
        if let Some(failure) = self.failure() {
            return Err(failure.into());
        }
        // A little of what is complete, each time: so buffers come back even if nobody asks for their tokens.
        self.flights.sweep(2);
        let full = |what| Error::WouldBlock { queue: self.parts.label.clone(), what };
        let mut hold = Hold {
            kernargs: None,
            buffers: Vec::with_capacity(work.buffers().len()),
            _kernels: work.kernels().to_vec(),
            pins: Vec::new(),
            time: None,
        };
        let mut claim = self.flights.claim(|| Signal::new(&self.parts.agent))?;
        if claim.is_none() {
            // Complete work on other queues may still hold pins on ours.
            self.parts.agent.runtime().sweep_queues();
            claim = self.flights.claim(|| Signal::new(&self.parts.agent))?;
        }
        let claim = claim.ok_or_else(|| full("submission slot"))?;
        for buffer in work.buffers() {
            // Entered one by one into the hold, which gives back what it has if a later one is refused.
            buffer.block.enter()?;
            hold.buffers.push(buffer.clone());
        }
        let mut address = 0;
        if !work.kernargs().is_empty() {
            let bytes = work.kernargs().len() as u64;
            let mut range = self.parts.kernargs.ring.alloc(bytes);
            if range.is_none() && self.sweep_all() > 0 {
                range = self.parts.kernargs.ring.alloc(bytes);
            }
            let range = range.ok_or_else(|| full("kernarg space"))?;
            let place = self.parts.kernargs.block.address().wrapping_add(range.offset);
            // SAFETY: the range lies in the block and is ours until the hold gives it back; no kernel reads it, because
            // its last user's work is complete.
            unsafe { std::ptr::copy_nonoverlapping(work.kernargs().as_ptr(), place, work.kernargs().len()) };
            address = place as u64;
            hold.kernargs = Some((self.parts.kernargs.clone(), range));
        }
        if self.parts.profiling {
            hold.time = Some(TimeCell::default());
        }
        // Pins are taken last: a dependency that is complete by now needs none, and its packet none of its slots.
        hold.pins = work.pins()?;
        let (packets, count) = work.packets(claim.signal().handle(), address, &hold.pins, &self.parts.agent);
        claim.arm(count);
        let awaited: Vec<Awaited> = hold.pins.iter().flatten().map(Pin::awaited).collect();
        let time = hold.time.clone();
        let position = match self.ring.try_push(&packets) {
            Ok(position) => position,
            Err(Refused::Full) => return Err(full("packet slot")),
            Err(Refused::TooLarge) => {
                let limit = u64::from(self.ring.size());
                return Err(Error::TooLarge { what: "packets", asked: packets.len() as u64, limit });
            }
        };
        self.counters.add(&packets);
        let ticket = claim.launch(hold, position);
        if !awaited.is_empty() {
            self.waits_for(position, awaited.into());
        }
        Ok((ticket, time))
    }

    /// As [`QueueState::try_submit`], waiting for room. No lock is held while waiting.
    pub(crate) fn submit(&self, work: &impl Work, timeout: Duration) -> Result<(Ticket, Option<TimeCell>)> {
        let begin = Instant::now();
        let mut tries = 0u32;
        loop {
            match self.try_submit(work) {
                Err(Error::WouldBlock { .. }) if begin.elapsed() < timeout => {}
                other => return other,
            }
            // The packet processor needs microseconds to free a slot: first look again at once, then sleep a little.
            match tries {
                0..100 => std::hint::spin_loop(),
                100..200 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(50)),
            }
            tries = tries.saturating_add(1);
        }
    }

    pub(crate) fn drain(&self, timeout: Duration) -> Result<()> {
        let begin = Instant::now();
        let mut pause = Duration::from_micros(20);
        loop {
            self.sweep_all();
            if self.flights.unfinished() == 0 {
                return Ok(());
            }
            // Work in front of a barrier that waits for ever still finishes: give up only when nothing else is left.
            let lost = |ticket: Ticket| self.failure_at(ticket.position, &mut Seen::default());
            let first = self.flights.pending().min_by_key(|ticket| ticket.position);
            if let Some(failure) = first.and_then(lost) {
                return Err(failure.into());
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

    /// Takes the queue from the hardware. Called once, by its owner.
    pub(crate) fn close(&self) {
        let runtime = self.parts.agent.runtime();
        // After a memory fault the driver has evicted the queue, so nothing of it runs any more. ROCr's destructor can then
        // wait for ever for a handler that has ended (`AqlQueue::ExceptionHandler`), so the queue is left to the process's end.
        if self.parts.agent.failure().is_none() {
            // SAFETY: the queue is ours, this is its only destruction, and its owner is gone, so nobody submits any more.
            unsafe { (runtime.hsa().hsa_queue_destroy)(self.parts.queue.as_ptr()) };
        }
        runtime.queue_closed(self.parts.agent.handle());
        // Release: pairs with the acquire in `is_open_on`.
        self.closed.store(true, Ordering::Release);
        self.sweep_all();
        if self.flights.unfinished() > 0 && self.failure().is_none() {
            // Before the slots are marked as lost, so that a token which sees that finds the reason.
            self.destroyed();
        } else if let Some(failure) = self.failure() {
            // A dependency's failure is worked out anew each time, from what is about to be forgotten: keep it.
            let _ = self.failure.get_or_init(|| failure);
        }
        self.flights.close();
        let waiting = std::mem::take(&mut *self.waiting.lock().expect("no panic while it is held"));
        drop(waiting);
    }
}

impl Awaitable for QueueState {
    fn agent(&self) -> &Agent {
        &self.parts.agent
    }

    fn is_complete(&self, ticket: Ticket) -> bool {
        self.flights.poll(ticket) == Status::Done
    }

    fn status(&self, ticket: Ticket, seen: &mut Seen) -> std::result::Result<Status, Arc<Failure>> {
        match self.flights.poll(ticket) {
            Status::Done => return Ok(Status::Done),
            Status::Lost => return Err(self.own_failure().unwrap_or_else(|| self.destroyed())),
            Status::Pending => {}
        }
        match self.failure_at(ticket.position, seen) {
            // It may have completed between the two looks.
            Some(_) if self.flights.poll(ticket) == Status::Done => Ok(Status::Done),
            Some(failure) => Err(failure),
            None => Ok(Status::Pending),
        }
    }

    fn signal(&self, slot: u32) -> u64 {
        self.flights.signal(slot).handle()
    }

    fn unpin(&self, slot: u32) {
        self.flights.unpin(slot);
    }
}

impl Sweep for QueueState {
    fn sweep(&self) {
        self.sweep_all();
    }

    fn is_open_on(&self, agent: hsa_agent_t) -> bool {
        // Acquire: pairs with the release in `close`.
        self.parts.agent.handle().handle == agent.handle && !self.closed.load(Ordering::Acquire)
    }
}
