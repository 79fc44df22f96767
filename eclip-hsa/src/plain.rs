//! A submission that depends on nothing and changes nothing in its group: the way most work goes, so it has a path of its own, without
//! the questions that it need not ask. It writes what [`crate::submit`] would write; a test compares the two.
//!
//! Any thread may submit to any queue; no lock is taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::counts::PacketCounts;
use crate::depend::{Clock, NOTHING};
use crate::error::Result;
use crate::flights::Place;
use crate::frame::{with_acquire, with_release};
use crate::packet::{FenceScope, Packet};
use crate::packet_ring::PacketRing;
use crate::program::Program;
use crate::queue_state::QueueState;
use crate::signal::Use;
use crate::token::Token;
use crate::visibility::Visibility;

/// Submits a program of at least one kernel that has its arguments at hand, with a signal, untimed, on a queue of its own agent.
#[inline]
pub(crate) fn try_submit(
    queue: &Arc<QueueState>,
    program: &Arc<Program>,
    visibility: Visibility,
) -> Result<Token> {
    let agent = &queue.parts().agent;
    let mut claim = queue.claim()?;
    // What locks the bus comes before what is written: a locked instruction waits for all writes in front of it.
    let entered = program.enter(visibility)?;
    let owner = queue.clone();
    let (signals, hold) = claim.parts();
    let (kind, release) = match visibility {
        Visibility::System => (Use::Interrupt, FenceScope::System),
        _ => (Use::Polled, FenceScope::Agent),
    };
    let signal = signals.prepare(agent, kind)?;
    // After the buffers were taken: what the host wrote into them is counted.
    let host_writes = agent.host_writes();
    // Acquire: as in `submit`.
    let acquired = queue.acquired().load(Ordering::Acquire) >= host_writes;
    let acquire = if acquired && matches!(queue.ring(), PacketRing::Own(_)) {
        FenceScope::Agent
    } else {
        FenceScope::System
    };
    let clock = queue.clock();
    let barrier = clock.barrier();
    let mut known = None;
    if !clock.is_empty() {
        clock.load(known.insert(Clock::default()));
    }
    let kernels = program.packets();
    let count = kernels.bodies.len();
    let tail = kernels.last_barrier.unwrap_or(0);
    let start = queue.reserve(count as u64)?;

    // From here on nothing fails.
    hold.program = Some(entered);
    signal.arm((count - tail) as i64);
    let first = queue.lane().base + start;
    let mut place = Place { start: first, end: first + count as u64 - 1, proves: barrier };
    if let Some(offset) = kernels.last_barrier {
        place.proves = first + offset as u64;
        clock.raise_barrier(place.proves);
    }
    if acquire == FenceScope::System && queue.acquired().load(Ordering::Relaxed) < host_writes {
        // Release: as in `submit`.
        queue.acquired().fetch_max(host_writes, Ordering::Release);
    }
    if kernels.barrier_bits > 0 || matches!(queue.ring(), PacketRing::Shared(_)) {
        let (kernels, barrier_bits) = (count as u64, kernels.barrier_bits);
        queue.count(&PacketCounts { kernels, barrier_bits, ..Default::default() });
    }
    let slots = queue.ring().slots(start);
    slots.bodies(0, &kernels.bodies[..tail]);
    for (offset, body) in kernels.bodies.iter().enumerate().skip(tail) {
        slots.body_with(offset, body, &[(Packet::SIGNAL, signal.handle())]);
    }
    let mut acquire = Some(acquire);
    for (offset, &first) in kernels.firsts.iter().enumerate() {
        let first = acquire.take().map_or(first, |acquire| with_acquire(first, acquire));
        slots.first(offset, if offset >= tail { with_release(first, release) } else { first });
    }
    let ticket = claim.launch(place, false, known.as_ref().unwrap_or(&NOTHING));
    queue.ring().publish(start, count as u64);
    queue.note_marked(place, false);
    Ok(Token::new(owner, ticket, visibility, None))
}
