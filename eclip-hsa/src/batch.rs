//! Batches: packets that are submitted together.
//!
//! A batch is a list of kernels and barriers, built on the host and written at once: one reservation, one doorbell, one
//! completion signal. Building checks everything that can be checked; submitting either takes all of it or nothing.

use std::time::Duration;

use crate::agent::Agent;
use crate::dispatch::Dispatch;
use crate::error::{Error, Result};
use crate::memory::BufferRef;
use crate::module::Kernel;
use crate::packet::{BARRIER_DEPENDENCIES, Barrier, FenceScope, Header, KernelDispatch, Packet, PacketKind};
use crate::pin::Pin;
use crate::queue::Queue;
use crate::queue_state::Work;
use crate::token::Token;

/// Packets for one queue, not submitted yet. Made by [`Queue::batch`].
///
/// Kernels run in the order in which they were added, each after the one before ([`Batch::concurrent`] changes that).
#[derive(Debug)]
pub struct Batch<'a> {
    queue: &'a Queue,
    work: Prepared,
}

/// A checked batch.
#[derive(Debug, Default)]
struct Prepared {
    items: Vec<Item>,
    concurrent: bool,
    kernargs: Vec<u8>,
    buffers: Vec<BufferRef>,
    kernels: Vec<Kernel>,
}

#[derive(Debug)]
enum Item {
    Kernel { fields: KernelDispatch, kernargs: Option<usize>, barrier: bool },
    Wait(Vec<Token>),
}

impl<'a> Batch<'a> {
    fn new(queue: &'a Queue) -> Self {
        Self { queue, work: Prepared::default() }
    }

    /// Lets the kernels of this batch run side by side, in any order, unless a dispatch has its barrier bit set.
    #[must_use]
    pub fn concurrent(mut self) -> Self {
        self.work.concurrent = true;
        self
    }

    /// Adds a kernel.
    ///
    /// # Errors
    /// [`Error::Geometry`], [`Error::Arguments`] or [`Error::WrongAgent`] if it cannot be launched; nothing is added then.
    pub fn dispatch(&mut self, dispatch: Dispatch) -> Result<&mut Self> {
        if !dispatch.kernel().agent().is(self.queue.agent()) {
            return Err(Error::WrongAgent {
                what: "the kernel",
                made_for: dispatch.kernel().agent().to_string(),
                used_on: self.queue.agent().to_string(),
            });
        }
        let before = self.work.kernargs.len();
        let (fields, offset) = dispatch.prepare(&mut self.work.kernargs).inspect_err(|_| {
            self.work.kernargs.truncate(before);
        })?;
        let kernargs = (self.work.kernargs.len() > offset).then_some(offset);
        self.work.buffers.extend(dispatch.buffers().cloned());
        self.work.kernels.push(dispatch.kernel().clone());
        self.work.items.push(Item::Kernel { fields, kernargs, barrier: dispatch.has_barrier() });
        Ok(self)
    }

    /// Holds up what is added after this until all of `after` is complete: barrier-AND packets, one for each five.
    /// Work that is complete already costs nothing, nor does a token that is given twice.
    ///
    /// # Errors
    /// [`Error::Failed`] if some of it never will be complete.
    pub fn barrier_and(&mut self, after: &[Token]) -> Result<&mut Self> {
        if let Some(failure) = after.iter().find_map(Token::failure) {
            return Err(failure.into());
        }
        let runtime = self.queue.agent().runtime();
        if !after.iter().all(|token| token.is_of_runtime(runtime)) {
            return Err(Error::Invalid(
                "a token of another Runtime: signals of one cannot be waited for in the other".into(),
            ));
        }
        let mut tokens: Vec<Token> = Vec::with_capacity(after.len());
        for token in after {
            if !tokens.iter().any(|other| other.is_same(token)) {
                tokens.push(token.clone());
            }
        }
        self.work.items.push(Item::Wait(tokens));
        Ok(self)
    }

    /// Packets that the batch takes at most, and bytes of kernargs.
    pub fn size(&self) -> (usize, usize) {
        let packets = |item: &Item| match item {
            Item::Kernel { .. } => 1,
            Item::Wait(tokens) => tokens.len().div_ceil(BARRIER_DEPENDENCIES).max(1),
        };
        (self.work.items.iter().map(packets).sum(), self.work.kernargs.len())
    }

    /// Submits the batch if there is room for all of it now.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if there is no room (nothing was reserved), [`Error::TooLarge`] if there never will be,
    /// [`Error::BufferBusy`] if the host has mapped a buffer, [`Error::Failed`] if the queue is dead,
    /// [`Error::Invalid`] for an empty batch.
    pub fn try_submit(&self) -> Result<Token> {
        self.check()?;
        let (ticket, time) = self.queue.state().try_submit(&self.work)?;
        Ok(Token::new(self.queue.state().clone(), ticket, time))
    }

    /// Submits the batch, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`Batch::try_submit`]; [`Error::WouldBlock`] after the time is over.
    pub fn submit(&self, timeout: Duration) -> Result<Token> {
        self.check()?;
        let (ticket, time) = self.queue.state().submit(&self.work, timeout)?;
        Ok(Token::new(self.queue.state().clone(), ticket, time))
    }

    fn check(&self) -> Result<()> {
        let (packets, bytes) = self.size();
        let (most_packets, most_bytes) = self.queue.state().limits();
        if packets == 0 {
            return Err(Error::Invalid(
                "an empty batch: there is nothing to submit and nothing to wait for".into(),
            ));
        }
        if packets as u64 > most_packets {
            return Err(Error::TooLarge { what: "packets", asked: packets as u64, limit: most_packets });
        }
        if bytes as u64 > most_bytes {
            return Err(Error::TooLarge {
                what: "bytes of kernargs",
                asked: bytes as u64,
                limit: most_bytes,
            });
        }
        Ok(())
    }
}

impl Queue {
    /// Several packets to be submitted together: one reservation, one doorbell, one signal.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Submits one kernel, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`Batch::submit`].
    pub fn dispatch(&self, dispatch: Dispatch, timeout: Duration) -> Result<Token> {
        let mut batch = self.batch();
        batch.dispatch(dispatch)?;
        batch.submit(timeout)
    }

    /// Submits one kernel without waiting.
    ///
    /// # Errors
    /// As [`Batch::try_submit`].
    pub fn try_dispatch(&self, dispatch: Dispatch) -> Result<Token> {
        let mut batch = self.batch();
        batch.dispatch(dispatch)?;
        batch.try_submit()
    }

    /// Holds up everything that is submitted to this queue later until all of `after` is complete: barrier-AND packets,
    /// one for each five. Waits for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`Batch::submit`].
    pub fn barrier_and(&self, after: &[Token], timeout: Duration) -> Result<Token> {
        let mut batch = self.batch();
        batch.barrier_and(after)?;
        batch.submit(timeout)
    }
}

impl Work for Prepared {
    fn kernargs(&self) -> &[u8] {
        &self.kernargs
    }

    fn buffers(&self) -> &[BufferRef] {
        &self.buffers
    }

    fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// For each barrier, the dependencies that are not complete, held so that their signals stay theirs.
    fn pins(&self) -> Result<Vec<Vec<Pin>>> {
        let pin = |token: &Token| match token.pin() {
            // Not pending any more: complete, and then there is nothing to wait for, or lost.
            Ok(None) => token.failure().map(|failure| Err(failure.into())),
            other => other.transpose(),
        };
        let waits = self.items.iter().filter_map(|item| match item {
            Item::Wait(tokens) => Some(tokens.iter().filter_map(pin).collect()),
            Item::Kernel { .. } => None,
        });
        waits.collect()
    }

    /// The packets, and by how much they decrement `signal`.
    ///
    /// In order: each kernel has the barrier bit, the last packet the signal; host data is acquired by the first packet and
    /// results are released by the last. Side by side: every packet decrements the signal and releases to the host, because
    /// any of them may be the last.
    fn packets(&self, signal: u64, kernargs: u64, pins: &[Vec<Pin>], agent: &Agent) -> (Vec<Packet>, i64) {
        let mut packets = Vec::with_capacity(self.items.len() + 2);
        let mut pins = pins.iter();
        let mut first_kernel = true;
        for item in &self.items {
            match item {
                Item::Kernel { fields, kernargs: offset, barrier } => {
                    let mut fields = *fields;
                    fields.kernarg_address = offset.map_or(0, |offset| kernargs + offset as u64);
                    let ordered = !self.concurrent && !first_kernel;
                    let header = Header {
                        kind: PacketKind::KernelDispatch,
                        barrier: *barrier || ordered,
                        acquire: if first_kernel { FenceScope::System } else { FenceScope::Agent },
                        release: if self.concurrent { FenceScope::System } else { FenceScope::Agent },
                    };
                    packets.push(Packet::kernel_dispatch(header, &fields));
                    first_kernel = false;
                }
                Item::Wait(_) => {
                    let pins = pins.next().map_or(&[][..], Vec::as_slice);
                    // The packet processor goes on only when a barrier-AND is complete, so a chain needs no barrier bits.
                    for five in pins.chunks(BARRIER_DEPENDENCIES) {
                        let mut fields = Barrier::default();
                        fields.dependencies.iter_mut().zip(five).for_each(|(to, pin)| *to = pin.signal());
                        let foreign = five.iter().any(|pin| !pin.agent().is(agent));
                        let acquire = if foreign { FenceScope::System } else { FenceScope::Agent };
                        let header = Header { acquire, ..Header::new(PacketKind::BarrierAnd) };
                        packets.push(Packet::barrier(header, &fields));
                    }
                }
            }
        }
        if packets.is_empty() {
            // Everything waited for is complete: a barrier without dependencies still gives the token its signal.
            packets.push(Packet::barrier(Header::new(PacketKind::BarrierAnd), &Barrier::default()));
        }
        let count = if self.concurrent { packets.len() } else { 1 };
        let first_signalling = packets.len() - count;
        for packet in &mut packets[first_signalling..] {
            packet.set_completion_signal(signal);
        }
        let last = packets.len() - 1;
        let mut header = packets[last].header().expect("made above");
        header.release = FenceScope::System;
        // A barrier at the end of an ordered batch must not signal before the kernels in front of it are complete.
        header.barrier |=
            !self.concurrent && last > 0 && header.kind == PacketKind::BarrierAnd && !first_kernel;
        packets[last].set_header(header);
        (packets, count as i64)
    }
}
