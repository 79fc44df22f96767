//! The way of a submission into its queue: what it needs is taken, what it waits for is worked out, the packets are written at once.
//!
//! Everything that can fail comes before the packet slots are reserved, so a submission is in the queue as a whole or leaves nothing
//! behind. In steady state nothing is allocated. Any thread may submit to any queue; no lock is taken.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::depend::{Clock, Decision, Dep, NO_LANE, NOTHING, Stamp, View, decide, enter};
use crate::dispatch::Arg;
use crate::error::{Error, Result};
use crate::flights::{Place, Status};
use crate::foreign::ForeignSignal;
use crate::frame::Frame;
use crate::hold::Hold;
use crate::packet::FenceScope;
use crate::packet_ring::PacketRing;
use crate::patch::Patch;
use crate::pin::Wait;
use crate::plain;
use crate::program::Program;
use crate::queue_state::QueueState;
use crate::signal::{TimeCell, Use};
use crate::token::Token;
use crate::visibility::Visibility;

/// What is to be submitted.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) program: &'a Arc<Program>,
    pub(crate) after: &'a [Token],
    pub(crate) signals: &'a [ForeignSignal],
    pub(crate) notify: Option<ForeignSignal>,
    pub(crate) patches: &'a [Patch],
    pub(crate) visibility: Visibility,
    /// Waits for work of its own queue, too, by its signal: the barrier bit would wait for everybody's.
    pub(crate) by_signal: bool,
    /// Takes the number of dependencies that a barrier-AND had to name.
    pub(crate) waited: Option<&'a Cell<usize>>,
}

impl<'a> Order<'a> {
    pub(crate) fn new(program: &'a Arc<Program>) -> Self {
        Self {
            program,
            after: &[],
            signals: &[],
            notify: None,
            patches: &[],
            visibility: Visibility::System,
            by_signal: false,
            waited: None,
        }
    }
}

impl Order<'_> {
    /// Whether nothing is to be waited for, changed or told.
    #[inline]
    fn is_plain(&self) -> bool {
        self.after.is_empty()
            && self.signals.is_empty()
            && self.notify.is_none()
            && self.patches.is_empty()
            && self.waited.is_none()
            && self.visibility != Visibility::Queue
            && self.program.len() > 0
            && self.program.has_arguments_at_hand()
    }
}

/// Submits if there is room for everything. Fails without effect otherwise.
pub(crate) fn try_submit(queue: &Arc<QueueState>, order: &Order<'_>) -> Result<Token> {
    if let Some(failure) = queue.failure() {
        return Err(failure.into());
    }
    let program = order.program;
    let parts = queue.parts();
    if !program.agent().is(&parts.agent) {
        return Err(Error::WrongAgent {
            what: "the kernel group",
            made_for: program.agent().to_string(),
            used_on: parts.agent.to_string(),
        });
    }
    if order.is_plain() && !parts.profiling {
        return plain::try_submit(queue, program, order.visibility);
    }
    let failures = queue.failures();
    let mut claim = queue.claim()?;
    let (signals, hold) = claim.parts();
    // What locks the bus comes before what is written: a locked instruction waits for all writes in front of it.
    let entered = program.enter(order.visibility)?;
    let owner = queue.clone();
    let timed = parts.profiling && order.visibility != Visibility::Queue;
    if timed {
        hold.more().time = Some(TimeCell::default());
    }
    let shift = arguments(queue, order, hold)?;
    // After the buffers were taken: what the host wrote into them is counted.
    let host_writes = parts.agent.host_writes();
    let mut decision = Decision::default();
    if !(order.after.is_empty() && order.signals.is_empty()) {
        dependencies(queue, order, hold, &mut decision)?;
    }
    let clock = queue.clock();
    let barrier = clock.barrier();
    // Made only if there is something to know: most submissions know nothing of other queues.
    let mut view = None;
    let dependent = !hold.waits().is_empty();
    if dependent || (order.visibility != Visibility::Queue && !clock.is_empty()) {
        let view = view.insert(View { queue: queue.lane().queue, barrier, clock: Clock::default() });
        clock.load(&mut view.clock);
    }
    if dependent && let Some(view) = &view {
        let needed = decide(view, &mut hold.more().waits);
        decision.barrier_bit = needed.barrier_bit;
        decision.elsewhere |= needed.elsewhere;
        decision.elided.epoch = needed.elided.epoch;
        decision.elided.waited = needed.elided.waited;
        decision.elided.newest = needed.elided.newest;
    }

    // Acquire: pairs with the release below; whoever acquired reserved his slots in front of ours.
    let system = decision.elsewhere
        || queue.acquired().load(Ordering::Acquire) < host_writes
        || matches!(queue.ring(), PacketRing::Shared(_));
    let waits = hold.waits().len();
    let mut frame = Frame::new(program.packets(), waits, shift, order.notify.map(ForeignSignal::handle));
    frame.barrier_bit = decision.barrier_bit;
    frame.acquire = if system { FenceScope::System } else { FenceScope::Agent };
    frame.release =
        if order.visibility == Visibility::System { FenceScope::System } else { FenceScope::Agent };
    let quiet = order.visibility == Visibility::Queue;
    // A part of the ring at most without a word of what is complete, or kernargs and slots would never come back.
    let silent = quiet && !queue.marker_is_due(frame.count());
    frame.marker = (quiet && !silent) || (timed && frame.signalling() > 1);

    let mut signal = None;
    if !silent {
        let kind = if order.visibility == Visibility::System { Use::Interrupt } else { Use::Polled };
        let made = signals.prepare(&parts.agent, kind)?;
        frame.signal = made.handle();
        signal = Some(made);
        if timed && frame.has_separate_first() {
            frame.first_signal = signals.prepare_first(&parts.agent)?.handle();
            hold.more().timed_first = true;
        }
    }
    let count = frame.count();
    let start = queue.reserve(count)?;

    // From here on nothing fails.
    hold.program = Some(entered);
    if let Some(signal) = signal {
        signal.arm(frame.signalling() as i64);
        if frame.first_signal != 0 {
            signals.arm_first();
        }
    }
    let first = queue.lane().base + start;
    let entry = enter(barrier, first, &frame.extent());
    if waits > 0
        && let Some(view) = &mut view
    {
        view.learn(hold.waits());
        queue.clock().learn(&view.clock);
    }
    if let Some(position) = entry.barrier {
        queue.clock().raise_barrier(position);
    }
    if let Some(known) = entry.known {
        queue.clock().learn_one(queue.lane().index, known);
    }
    if system && queue.acquired().load(Ordering::Relaxed) < host_writes {
        // Release: pairs with the acquire above, in a producer that reserves its slots behind ours.
        queue.acquired().fetch_max(host_writes, Ordering::Release);
    }
    let mut counts = frame.counts();
    counts.elide(&decision.elided);
    queue.count(&counts);
    let place = Place { start: first, end: entry.end, proves: entry.proves };
    let time = if timed { hold.more().time.clone() } else { None };
    frame.write(&queue.ring().slots(start), hold.waits());
    // Pending before it is published: publication is a full fence, which `note_waiting` counts on.
    let ticket = claim.launch(place, silent, view.as_ref().map_or(&NOTHING, |view| &view.clock));
    queue.ring().publish(start, count);
    queue.note_marked(place, silent);
    if waits > 0 {
        queue.note_waiting(failures);
    }
    if let Some(cell) = order.waited {
        cell.set(waits);
    }
    Ok(Token::new(owner, ticket, order.visibility, time))
}

/// Puts the arguments where the kernels will read them, if they cannot use the program's own; returns what to add to the addresses in
/// the packets.
#[inline]
fn arguments(queue: &QueueState, order: &Order<'_>, hold: &mut Hold) -> Result<u64> {
    let program = order.program;
    if order.patches.is_empty() && program.has_arguments_at_hand() {
        return Ok(0);
    }
    let more = hold.more();
    for patch in order.patches {
        if let Arg::Buffer(buffer) = patch.value() {
            // Entered one by one into the hold, which gives back what it has if a later one is refused.
            buffer.block.enter()?;
            if order.visibility != Visibility::System {
                buffer.block.note_unflushed();
            }
            more.buffers.push(buffer.clone());
        }
    }
    if program.image.is_empty() {
        let given = order.patches.len();
        return Err(Error::Invalid(format!("{given} patches for a group whose kernels take no arguments")));
    }
    let kernargs = &queue.parts().kernargs;
    let bytes = program.image.len() as u64;
    let mut range = kernargs.ring.alloc(bytes);
    if range.is_none() {
        let limit = kernargs.ring.largest();
        if bytes > limit {
            return Err(Error::TooLarge { what: "bytes of kernargs", asked: bytes, limit });
        }
        queue.sweep_all();
        range = kernargs.ring.alloc(bytes);
    }
    let range = range.ok_or_else(|| queue.full("kernarg space"))?;
    let place = kernargs.block.address().wrapping_add(range.offset);
    more.kernargs = Some((kernargs.clone(), range));
    // SAFETY: the range lies in the block and is ours until the hold gives it back; no kernel reads it, because its last user's work is
    // complete.
    let out = unsafe {
        std::ptr::copy_nonoverlapping(program.image.as_ptr(), place, program.image.len());
        std::slice::from_raw_parts_mut(place, program.image.len())
    };
    for patch in order.patches {
        patch.apply(program.agent(), &program.kernels, out)?;
    }
    Ok(program.shift_to(place as u64))
}

/// Collects what is not complete of what the submission depends on. Pins the signals, so that they stay theirs.
#[inline]
fn dependencies(
    queue: &Arc<QueueState>,
    order: &Order<'_>,
    hold: &mut Hold,
    decision: &mut Decision,
) -> Result<()> {
    let agent = &queue.parts().agent;
    let waits = &mut hold.more().waits;
    for token in order.after {
        let own = Arc::ptr_eq(token.queue(), queue);
        let elsewhere = !token.queue().parts().agent.is(agent);
        match token.visibility() {
            Visibility::System => {}
            Visibility::Agent if !elsewhere => {}
            Visibility::Queue if own => {}
            _ => return Err(token.not_visible(queue.label())),
        }
        if elsewhere && !token.queue().parts().agent.runtime().is(agent.runtime()) {
            return Err(Error::Invalid(
                "a token of another Runtime: signals of one cannot be waited for in the other".into(),
            ));
        }
        let ticket = token.ticket();
        let mut dep = Dep { stamp: token.queue().stamp(ticket.place), pending: true, elsewhere };
        let mut wait = None;
        if token.status()? == Status::Pending {
            if own && !order.by_signal {
                wait = Some(Wait { pin: None, signal: 0, dep });
            } else if let Some(pin) = token.pin()? {
                if own {
                    // No queue's number: its own work is what the barrier bit is for.
                    dep.stamp.queue = u64::MAX;
                }
                let flights = token.queue().flights();
                let signal = flights.signal(ticket.slot).handle();
                wait = Some(Wait { pin: Some(pin), signal, dep });
            } else if let Some(failure) = token.failure() {
                // Not pending any more: lost, or else complete.
                return Err(failure.into());
            }
        }
        match wait {
            Some(wait) => waits.push(wait),
            None => {
                decision.elsewhere |= elsewhere;
                decision.elided.complete += 1;
            }
        }
    }
    for (number, signal) in order.signals.iter().enumerate() {
        // Its own queue each, which nothing is known of. The same signal twice is waited for once.
        if order.signals[..number].contains(signal) {
            continue;
        }
        let stamp = Stamp { queue: u64::MAX, lane: NO_LANE, end: signal.handle(), proves: 0 };
        let dep = Dep { stamp, pending: true, elsewhere: true };
        waits.push(Wait { pin: None, signal: signal.handle(), dep });
    }
    Ok(())
}

/// As [`try_submit`], waiting for room.
pub(crate) fn submit(queue: &Arc<QueueState>, order: &Order<'_>, timeout: Duration) -> Result<Token> {
    patience(timeout, || try_submit(queue, order))
}

/// Tries until there is room or the time is over. No lock is held while waiting.
#[inline]
pub(crate) fn patience(timeout: Duration, mut attempt: impl FnMut() -> Result<Token>) -> Result<Token> {
    let mut full = match attempt() {
        Err(error @ Error::WouldBlock { .. }) => error,
        other => return other,
    };
    let begin = Instant::now();
    let mut tries = 0u32;
    while begin.elapsed() < timeout {
        // The packet processor needs microseconds to free a slot: first look again at once, then sleep a little.
        match tries {
            0..100 => std::hint::spin_loop(),
            100..200 => std::thread::yield_now(),
            _ => std::thread::sleep(Duration::from_micros(50)),
        }
        tries = tries.saturating_add(1);
        match attempt() {
            Err(error @ Error::WouldBlock { .. }) => full = error,
            other => return other,
        }
    }
    Err(full)
}
