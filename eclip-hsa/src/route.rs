//! Routing: a worker's stream of AQL packets in, packets on the plan's queues out. Pure: no device, no clock, no thread.
//!
//! The stream is one queue's packets as an HSA program or HIP writes them, in order: that a packet begins after the packets before
//! it have completed is what the worker relies on. [`Router::route`] takes one packet at a time, looks up where it goes
//! ([`Table`]), and keeps that order across queues with as little as possible:
//!
//! * the packet before is on the same queue: the barrier bit;
//! * it is on another queue and complete: nothing;
//! * it is on another queue and not complete: a barrier-AND packet on its completion signal.
//!
//! On a queue that workers share, a barrier bit would wait for the other workers' kernels. There the barrier-AND packet is taken
//! instead (and nothing if the packet before is complete). While it is unresolved it still holds up what the others submit behind
//! it: a default queue for each worker is better where the hardware has queues to spare.
//!
//! Where packets go, what keeps them behind each other and what is counted is decided in one place for the router and for the
//! safe API: a [`crate::Worker`] that submits the same kernels takes the same queues with the same barriers, and counts the same.
//!
//! ```
//! use eclip_hsa::packet::{Header, KernelDispatch, Packet, PacketKind};
//! use eclip_hsa::route::{Boundaries, CallerSignals, Router, Signals, Table};
//! use eclip_hsa::{Plan, Policy};
//!
//! /// What the owner of the queues does with HSA's signals. Here nothing is ever complete.
//! struct Numbers(u64);
//! impl Signals for Numbers {
//!     fn is_complete(&mut self, _handle: u64) -> bool {
//!         false
//!     }
//!     fn fresh(&mut self) -> Option<u64> {
//!         self.0 += 1;
//!         Some(self.0)
//!     }
//!     fn recycle(&mut self, _handle: u64) {}
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let text = r#"
//! # version = 1
//! # device = { isa = "gfx906", shader_engines = 4, cus_per_sh = [15, 15, 15, 15] }
//! # queue = [{ label = "narrow", mask = "0x111111111111111" }, { label = "all" }]
//! # [[worker]]
//! # name = "W1"
//! # default = "all"
//! # kernels = [
//! #   { index = 0, kernel = "matmul", queue = "all" },
//! #   { index = 1, kernel = "bias", queue = "narrow" },
//! # ]
//! # "#;
//! // The plan sends matmul to queue 1 ("all") and bias to queue 0 ("narrow").
//! let table = Table::new(&Plan::parse("example", text)?, "W1", Policy::Eclip)?;
//! let [matmul, bias] = ["matmul", "bias"].map(|name| table.name(name));
//! let mut router = Router::new(table.into(), |_queue| false, CallerSignals::Opaque, Boundaries::ByCount);
//! let mut signals = Numbers(0);
//! // As HIP wrote it.
//! let kernel = Packet::kernel_dispatch(Header::new(PacketKind::KernelDispatch), &KernelDispatch::default());
//! let mut written = Vec::new();
//! for name in [matmul, bias] {
//!     let routed = router.route(kernel, name, &mut signals)?;
//!     // Each goes into the ring of its queue, in this order.
//!     written.extend(routed.packets().iter().map(|(queue, packet)| (*queue, packet.header().unwrap().kind)));
//! }
//! let [kernel, barrier] = [PacketKind::KernelDispatch, PacketKind::BarrierAnd];
//! assert_eq!(written, [(1, kernel), (0, barrier), (0, kernel)]);
//! assert_eq!((router.last_request().switches, router.last_request().barriers), (1, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # Signals
//! A packet whose successor may be on another queue needs a completion signal: one without gets a fresh one from [`Signals`],
//! which comes back when no packet that names it can be unprocessed. A packet that has its own keeps it. Whether a dependency may
//! name that one is the caller's to say: [`CallerSignals`]. Where there is no signal to name, a *marker* (a barrier-AND packet with
//! barrier bit and a fresh signal) follows the packet on its queue. Packets other than kernels are passed on to the queue of the
//! packet before.
//!
//! # Fences
//! A packet that moves to another queue acquires at agent scope at least, whether or not a barrier was needed: eliding a barrier
//! does not elide visibility. Kernels of a worker that uses several queues release at agent scope at least. Wider fences are kept.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::packet::{Barrier, FenceScope, Header, Packet, PacketKind};
use crate::policy::Remask;

mod core;
mod counters;
mod table;
#[cfg(test)]
mod tests;
mod tracker;

pub use counters::Counters;
pub use table::{KernelName, Table};
pub use tracker::Boundaries;

pub(crate) use self::core::{Behind, Core};

/// Completion signals of the queues' owner.
pub trait Signals {
    /// Whether the signal's counter is zero: the packet that decrements it is complete, and what it released is visible to agents.
    fn is_complete(&mut self, handle: u64) -> bool;
    /// A signal that nothing else uses, with the value 1; none if all are in use. A handle of 0 is none, too.
    fn fresh(&mut self) -> Option<u64>;
    /// Takes back a signal that `fresh` gave: every packet that names it is complete.
    fn recycle(&mut self, handle: u64);
}

/// What may be done with the completion signals that packets bring along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerSignals {
    /// Nothing: they may be shared by several packets, set again or destroyed by their owner at any time. A dependency on such a
    /// packet takes a marker. Right for packets of which nothing is known.
    Opaque,
    /// Each is of one packet: 1 when the packet is routed, decremented by it alone, alive and not set again until the next two
    /// packets of the worker are complete.
    OnePerPacket,
}

/// Why a packet was not routed. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Not a packet that a packet processor takes.
    #[error(
        "packet header {0:#06x} is none that a packet processor takes: the type must be 0 or 2 to 5, fence scopes 0 to 2"
    )]
    Header(u16),
    /// A dependency needs a signal, and there is none. With two signals or more this ends when earlier packets are complete.
    #[error(
        "no completion signal is free: wait until earlier packets are complete, or give the router more signals"
    )]
    NoSignal,
}

/// What became of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    packets: [(usize, Packet); 3],
    len: usize,
    /// The mask that the last packet's queue must be given first, once it is drained.
    pub remask: Option<Remask>,
    /// Number of the request that the packet belongs to, from 0, for [`Router::record_time`].
    pub request: u64,
    /// Whether this was the last kernel of its request by [`Boundaries::ByCount`]. [`Router::last_request`] has its counters.
    pub ends_request: bool,
}

impl Routed {
    /// Packets with their queues, as indices into the plan. They must be published in this order. The last is the one that was
    /// routed.
    pub fn packets(&self) -> &[(usize, Packet)] {
        &self.packets[..self.len]
    }
}

impl Routed {
    fn push(&mut self, queue: usize, packet: Packet) {
        self.packets[self.len] = (queue, packet);
        self.len += 1;
    }
}

/// A barrier-AND packet that waits for `dependency`, or a marker: one that waits for everything before it on its queue.
fn barrier(dependency: Option<u64>) -> Packet {
    let mut header = Header::new(PacketKind::BarrierAnd);
    let mut fields = Barrier::default();
    match dependency {
        Some(signal) => fields.dependencies[0] = signal,
        None => header.barrier = true,
    }
    Packet::barrier(header, &fields)
}

/// Routes the packets of one worker. One thread at a time.
#[derive(Debug)]
pub struct Router {
    core: Core,
    caller: CallerSignals,
    /// Signal of the packet before, or of the marker behind it.
    signal: Option<u64>,
    /// Packets routed so far: the worker's order.
    number: u64,
    /// Fresh signals in use, with the packet that decrements them, oldest first.
    lent: VecDeque<(u64, u64)>,
}

impl Router {
    /// A router for one worker. `shared` says which of the plan's queues other workers, or anyone else, submit to as well.
    pub fn new(
        table: Arc<Table>,
        shared: impl Fn(usize) -> bool,
        caller: CallerSignals,
        boundaries: Boundaries,
    ) -> Self {
        Self {
            core: Core::new(table, shared, boundaries),
            caller,
            signal: None,
            number: 0,
            lent: VecDeque::with_capacity(64),
        }
    }

    /// The worker's table, to look kernel names up.
    pub fn table(&self) -> &Table {
        &self.core.tracker.table
    }

    /// Routes one packet. `name` is the kernel's, or [`KernelName::ANY`] if only its place in the request is known.
    ///
    /// # Errors
    /// Nothing has changed then, and the same packet can be routed again.
    pub fn route(
        &mut self,
        packet: Packet,
        name: KernelName,
        signals: &mut impl Signals,
    ) -> Result<Routed, RouteError> {
        let header = packet.header().filter(|header| header.kind != PacketKind::Invalid);
        let mut header = header.ok_or(RouteError::Header(packet.dwords()[0] as u16))?;
        let kernel = header.kind == PacketKind::KernelDispatch;
        let step = |core: &Core| if kernel { core.kernel(name) } else { core.other() };
        let mut next = step(&self.core);
        let queue = next.placement.queue;
        let mut out = Routed {
            packets: [(queue, packet); 3],
            len: 0,
            remask: next.placement.remask,
            request: self.core.tracker.number(),
            ends_request: false,
        };

        header.barrier = next.behind == Behind::Bit;
        let mut waited = false;
        if let Behind::Marker(behind) = next.behind {
            let marker = self.fresh(signals).ok_or(RouteError::NoSignal)?;
            let mut packet = barrier(None);
            packet.set_completion_signal(marker);
            out.push(behind, packet);
            self.lent.push_back((self.number - 1, marker));
            self.signal = Some(marker);
            self.core.marked();
            next = step(&self.core);
            waited = true;
        } else if next.behind == Behind::Signal {
            waited = !self.is_complete(signals);
        }
        if waited {
            out.push(queue, barrier(self.signal));
        }
        if next.moved {
            header.acquire = header.acquire.max(FenceScope::Agent);
        }
        if kernel && self.core.tracker.table.switches() {
            header.release = header.release.max(FenceScope::Agent);
        }
        let mut packet = packet;
        packet.set_header(header);
        let own = packet.completion_signal();
        let may_lend = matches!(
            header.kind,
            PacketKind::KernelDispatch | PacketKind::BarrierAnd | PacketKind::BarrierOr
        );
        let signal = match own {
            // Without one, a marker follows if it comes to that.
            0 if may_lend && next.tells => self.fresh(signals),
            own => Some(own).filter(|own| *own != 0 && self.caller == CallerSignals::OnePerPacket),
        };
        if let Some(handle) = signal.filter(|_| own == 0) {
            packet.set_completion_signal(handle);
            self.lent.push_back((self.number, handle));
        }
        out.push(queue, packet);
        self.signal = signal;
        self.number += 1;
        out.ends_request = self.core.submitted(next, signal.is_some(), waited);
        Ok(out)
    }

    /// Whether the packet before is complete, by its signal. What it and earlier ones needed comes back then.
    fn is_complete(&mut self, signals: &mut impl Signals) -> bool {
        let complete = self.signal.is_some_and(|signal| signals.is_complete(signal));
        if complete {
            self.reclaim(self.number - 1, signals);
        }
        complete
    }

    /// A fresh signal; looks for returned ones if there is none.
    fn fresh(&mut self, signals: &mut impl Signals) -> Option<u64> {
        // 0 is AQL's word for no signal: a barrier that named it would wait for nothing.
        let next = |signals: &mut _| Signals::fresh(signals).filter(|handle| *handle != 0);
        next(signals).or_else(|| {
            let newest = self.lent.iter().rev().find(|(_, handle)| signals.is_complete(*handle)).copied();
            self.reclaim(newest?.0, signals);
            next(signals)
        })
    }

    /// The packet `number` is complete, and so are all before it: no packet up to it names a signal any more. Those of earlier
    /// packets are named by no later one.
    fn reclaim(&mut self, number: u64, signals: &mut impl Signals) {
        while let Some(&(_, handle)) = self.lent.front().filter(|(of, _)| *of < number) {
            self.lent.pop_front();
            signals.recycle(handle);
        }
    }

    /// The next kernel is the first of a request.
    pub fn begin_request(&mut self) {
        self.core.tracker.begin_request();
    }

    /// The request in progress is over: its counters. Without a kernel there was none, and these are those of the one before.
    pub fn end_request(&mut self) -> &Counters {
        self.core.tracker.end_request()
    }

    /// Counters of the request that ended last.
    pub fn last_request(&self) -> &Counters {
        &self.core.tracker.finished
    }

    /// Counters of everything routed so far.
    pub fn total(&self) -> Counters {
        self.core.tracker.total()
    }

    /// Adds the execution time of a kernel, once it is known, to the counters of its request ([`Routed::request`]; the one in
    /// progress and the one before are kept) and of the worker. Of a queue that the plan does not have, nothing is added.
    pub fn record_time(&mut self, request: u64, queue: usize, ns: u64) {
        self.core.tracker.record_time(request, queue, ns);
    }

    /// Gives back all signals. Everything that was routed must be complete.
    pub fn idle(&mut self, signals: &mut impl Signals) {
        self.core.idle();
        self.lent.drain(..).for_each(|(_, handle)| signals.recycle(handle));
    }
}
