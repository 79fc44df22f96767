//! The packets of one submission, in order: barrier-ANDs, kernels, a marker, a notification.
//!
//! Plain data and pure, but for the ring slots that they are written to. Offsets count packets from the submission's first.

use crate::counts::PacketCounts;
use crate::depend::Extent;
use crate::packet::{BARRIER_DEPENDENCIES, FenceScope, Header, Packet, PacketKind};
use crate::pin::Wait;
use crate::ring::{Port, Slots};

/// The kernels of a submission as packets.
#[derive(Clone, Copy)]
pub(crate) struct Kernels<'a> {
    /// The packets, with INVALID headers, without completion signals.
    pub(crate) bodies: &'a [Packet],
    /// Their first dwords: barrier bits for the order inside, agent scope both ways.
    pub(crate) firsts: &'a [u32],
    /// Barrier bits in them.
    pub(crate) barrier_bits: u64,
    /// The last packet with the barrier bit. From it on packets may be complete in any order, so each of them signals.
    pub(crate) last_barrier: Option<usize>,
}

/// See the module's text.
pub(crate) struct Frame<'a> {
    kernels: Kernels<'a>,
    /// Barrier packets in front.
    barriers: usize,
    /// What to add to the kernels' kernarg addresses.
    shift: u64,
    /// Completed by a last packet of its own, in front of which everything is complete; 0 for none.
    notify: Option<u64>,
    /// The first kernel waits for what is in the queue already.
    pub(crate) barrier_bit: bool,
    /// Of the first kernel.
    pub(crate) acquire: FenceScope,
    /// Of the packets that end the submission.
    pub(crate) release: FenceScope,
    /// A barrier packet behind the kernels signals, and not they.
    pub(crate) marker: bool,
    /// Handle of the completion signal; 0 for none.
    pub(crate) signal: u64,
    /// Handle of a signal for the first kernel only; 0 for none.
    pub(crate) first_signal: u64,
}

impl<'a> Frame<'a> {
    /// The packets for kernels behind barriers that name `waits` signals.
    pub(crate) fn new(kernels: Kernels<'a>, waits: usize, shift: u64, notify: Option<u64>) -> Self {
        // Without kernels it is a barrier: there must be a packet to be complete.
        let least = usize::from(kernels.bodies.is_empty());
        Self {
            kernels,
            barriers: waits.div_ceil(BARRIER_DEPENDENCIES).max(least),
            shift,
            notify,
            barrier_bit: false,
            acquire: FenceScope::Agent,
            release: FenceScope::Agent,
            marker: false,
            signal: 0,
            first_signal: 0,
        }
    }

    fn len(&self) -> usize {
        self.kernels.bodies.len()
    }

    /// What matters to whoever depends on it.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            last: self.last(),
            last_barrier: self.last_barrier(),
            newest_barrier: if self.notify.is_some() { Some(self.last() + 1) } else { self.last_barrier() },
            ends_in_barrier: self.len() == 0 || self.marker || self.notify.is_some(),
        }
    }

    /// Packets in all.
    pub(crate) fn count(&self) -> u64 {
        self.last() + 1 + u64::from(self.notify.is_some())
    }

    /// The last packet, the notification aside.
    fn last(&self) -> u64 {
        (self.barriers + self.len() + usize::from(self.marker) - 1) as u64
    }

    /// The first kernel that may be complete after all others.
    fn tail(&self) -> usize {
        self.kernels.last_barrier.unwrap_or(0)
    }

    /// Packets that decrement the completion signal.
    pub(crate) fn signalling(&self) -> usize {
        if self.marker || self.len() == 0 { 1 } else { self.len() - self.tail() }
    }

    /// Whether the first kernel is not what ends the submission, so that its start is told by a signal of its own.
    pub(crate) fn has_separate_first(&self) -> bool {
        self.len() > 1 && (self.marker || self.tail() > 0)
    }

    /// The newest barrier bit at or before the last packet, the notification aside.
    fn last_barrier(&self) -> Option<u64> {
        let own = self.kernels.last_barrier;
        if self.marker {
            Some(self.last())
        } else if self.len() == 0 {
            self.barrier_bit.then(|| self.last())
        } else {
            let at = own.or(self.barrier_bit.then_some(0))?;
            Some((self.barriers + at) as u64)
        }
    }

    pub(crate) fn counts(&self) -> PacketCounts {
        let extra = u64::from(self.marker) + u64::from(self.notify.is_some());
        // The first kernel may have the bit anyway.
        let first =
            self.barrier_bit && self.kernels.firsts.first().is_none_or(|&first| first & BARRIER_BIT == 0);
        PacketCounts {
            kernels: self.len() as u64,
            barriers: self.barriers as u64 + extra,
            barrier_bits: self.kernels.barrier_bits + u64::from(first) + extra,
            ..Default::default()
        }
    }

    /// Writes all bodies, then all first dwords.
    #[inline]
    pub(crate) fn write<P: Port>(&self, slots: &Slots<'_, P>, waits: &[Wait]) {
        let (kernels, tail) = (self.len(), self.tail());
        let last_barrier = self.barriers.wrapping_sub(1);
        for offset in 0..self.barriers {
            let five = waits.chunks(BARRIER_DEPENDENCIES).nth(offset).unwrap_or_default();
            let mut fields = [(Packet::SIGNAL, 0); BARRIER_DEPENDENCIES + 1];
            for (index, wait) in five.iter().enumerate() {
                fields[index + 1] = (Packet::DEPENDENCIES + 2 * index, wait.signal);
            }
            if kernels == 0 && !self.marker && offset == last_barrier {
                fields[0].1 = self.signal;
            }
            slots.body_with(offset, &Packet::EMPTY_BARRIER, &fields[..five.len() + 1]);
        }
        let bodies = self.kernels.bodies;
        let signals_from = if self.marker { kernels } else { tail };
        let plain = if self.shift == 0 { signals_from } else { 0 };
        // What is as it was recorded is copied at once.
        slots.bodies(self.barriers, &bodies[..plain]);
        for (index, body) in bodies.iter().enumerate().skip(plain) {
            let signal = if index >= signals_from {
                self.signal
            } else if index == 0 {
                self.first_signal
            } else {
                0
            };
            let fields =
                [(Packet::SIGNAL, signal), (Packet::KERNARGS, body.kernargs().wrapping_add(self.shift))];
            let changed = if self.shift == 0 { 1 } else { 2 };
            slots.body_with(self.barriers + index, body, &fields[..changed]);
        }
        if plain > 0 && self.first_signal != 0 {
            slots.body_with(self.barriers, &bodies[0], &[(Packet::SIGNAL, self.first_signal)]);
        }
        let mut behind = self.barriers + kernels;
        for signal in self.marker.then_some(self.signal).into_iter().chain(self.notify) {
            slots.body_with(behind, &Packet::EMPTY_BARRIER, &[(Packet::SIGNAL, signal)]);
            behind += 1;
        }

        for offset in 0..self.barriers {
            let mut header = Header::new(PacketKind::BarrierAnd);
            if kernels == 0 && offset == last_barrier {
                header.barrier = self.barrier_bit;
                header.acquire = self.acquire;
                header.release = self.release;
            }
            slots.first(offset, u32::from(header.bits()));
        }
        for (index, &first) in self.kernels.firsts.iter().enumerate() {
            let mut first = first;
            if index == 0 {
                first = with_acquire(first, self.acquire) | u32::from(self.barrier_bit) << 8;
            }
            if index >= tail {
                first = with_release(first, self.release);
            }
            slots.first(self.barriers + index, first);
        }
        for offset in self.barriers + kernels..behind {
            // The notification is for whoever made its signal.
            let own = self.marker && offset == self.barriers + kernels;
            let release = if own { self.release } else { FenceScope::System };
            let header =
                Header { kind: PacketKind::BarrierAnd, barrier: true, acquire: FenceScope::Agent, release };
            slots.first(offset, u32::from(header.bits()));
        }
    }
}

const BARRIER_BIT: u32 = 1 << 8;

/// Another acquire scope in a first dword.
#[inline]
pub(crate) fn with_acquire(first: u32, scope: FenceScope) -> u32 {
    first & !(3 << 9) | (scope as u32) << 9
}

/// Another release scope in a first dword.
#[inline]
pub(crate) fn with_release(first: u32, scope: FenceScope) -> u32 {
    first & !(3 << 11) | (scope as u32) << 11
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
